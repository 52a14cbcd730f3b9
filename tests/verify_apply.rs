//! `apply --verify`: registries are asked while hosts are connected to and looked at, and no host is written before they have answered, nor
//! when one refuses. The controls write.

#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/registry.rs"]
mod registry;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use embedded::{Fault, Fleet};
use registry::{Reply, Request, Server, http};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use serde_json::Value;

const PASSWORD: &str = "right-plantedSecret7391";
/// What a node has before the run.
const BEFORE: &str = "{\"auths\": {\"other.example\": {\"auth\": \"b3RoZXI6cHc=\"}}}";

/// Nodes, of which the first has a file already, and an inventory for them.
struct Site {
    dir: tempfile::TempDir,
    fleet: Fleet,
    _runtime: tokio::runtime::Runtime,
}

impl Site {
    fn new(nodes: &[Fault]) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
        let id = dir.path().join("id");
        fs::write(&id, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&id, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        for i in 0..nodes.len() {
            fs::create_dir_all(dir.path().join(format!("n{i}/root/.docker"))).unwrap();
            fs::create_dir_all(dir.path().join(format!("n{i}/var/lib"))).unwrap();
        }
        fs::write(dir.path().join("n0/root/.docker/config.json"), BEFORE).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let fleet = runtime.block_on(embedded::start(key.public_key().clone(), nodes)).unwrap();
        Site { dir, fleet, _runtime: runtime }
    }

    fn file(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("n{node}/root/.docker/config.json"))
    }

    /// Runs `apply` with logins for these registries, all with this password.
    fn apply(&self, registries: &[&Server], password: &str, defaults: &str, args: &[&str]) -> Output {
        let root = self.dir.path().display();
        let host = |(i, node): (usize, &std::net::SocketAddr)| {
            format!("  n{i}: {{address: 127.0.0.1, port: {}, root: {root}/n{i}, host_key: \"{}\"}}\n", node.port(), self.fleet.host_key_line())
        };
        let hosts: String = self.fleet.nodes.iter().enumerate().map(host).collect();
        let login = |(i, server): (usize, &&Server)| format!("  l{i}: {{registry: \"127.0.0.1:{}\", username: alice, password: '{password}'}}\n", server.port);
        let logins: String = registries.iter().enumerate().map(login).collect();
        let names: Vec<String> = (0..registries.len()).map(|i| format!("l{i}")).collect();
        let text = format!(
            "version: 1\ndefaults: {{{defaults}}}\ngroups: {{g: {{hosts: \"n[0-{}]\", logins: [{}], targets: [docker]}}}}\nhosts:\n{hosts}logins:\n{logins}",
            self.fleet.nodes.len() - 1,
            names.join(", ")
        );
        fs::write(self.dir.path().join("inventory.yml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(["apply", "inventory.yml", "--allow-plaintext", "--ssh-key", "id", "--json"]).args(args).current_dir(self.dir.path());
        let out = command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output().unwrap();
        assert!(!String::from_utf8_lossy(&[&out.stdout[..], &out.stderr[..]].concat()).contains("plantedSecret"), "the password leaks");
        out
    }

    fn is_untouched(&self) -> bool {
        let records = (0..self.fleet.nodes.len()).any(|i| fs::read_dir(self.dir.path().join(format!("n{i}/var/lib"))).unwrap().next().is_some());
        fs::read_to_string(self.file(0)).unwrap() == BEFORE && (1..self.fleet.nodes.len()).all(|i| !self.file(i).exists()) && !records
    }
}

/// The outcomes of the hosts, the verdicts of the logins, and the exit code.
fn came(out: &Output) -> (Vec<String>, Vec<String>, Option<i32>) {
    let document: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
    let words = |list: &str, key: &str| {
        let rows = document[list].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().map(|row| row[key].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    (words("hosts", "outcome"), words("logins", "verdict"), out.status.code())
}

#[track_caller]
fn check(out: &Output, hosts: &[&str], logins: &[&str], code: i32) {
    let got = came(out);
    assert_eq!(
        (got.0.iter().map(String::as_str).collect::<Vec<_>>(), got.1.iter().map(String::as_str).collect(), got.2),
        (hosts.to_vec(), logins.to_vec(), Some(code))
    );
}

fn basic() -> Server {
    Server::start("127.0.0.1", None, |r, _| by_password(r))
}

fn by_password(request: &Request) -> Reply {
    match request.basic() {
        Some(login) if login == format!("alice:{PASSWORD}") => http("200 OK", "{}"),
        _ => http("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"", "{}"),
    }
}

fn down() -> Server {
    Server::start("127.0.0.1", None, |_, _| http("503 Service Unavailable", ""))
}

const OK: [Fault; 2] = [Fault::None, Fault::None];

#[test]
fn a_refused_login_is_written_nowhere() {
    let (site, server) = (Site::new(&OK), basic());
    for args in [
        &["--verify"][..],
        &["--verify", "--check"],
        &["--verify=required"],
        &["--verify", "--canary", "1", "--max-fail", "0"],
        &["--verify", "--forks", "1"],
        &["--verify", "-vvv"],
    ] {
        let out = site.apply(&[&server], "wrong-plantedSecret7391", "", args);
        check(&out, &["not_attempted", "not_attempted"], &["wrong_password"], 6);
        assert!(site.is_untouched(), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&out.stdout).matches("answers 401").count(), 1, "told once");
    }
    // Controls: it is the check that keeps hosts from being written, and only with a wrong password.
    check(&site.apply(&[&server], PASSWORD, "", &["--verify", "--check"]), &["changed", "changed"], &["valid"], 0);
    assert!(site.is_untouched());
    check(&site.apply(&[&server], PASSWORD, "", &["--verify"]), &["changed", "changed"], &["valid"], 0);
    assert!(!site.is_untouched() && site.file(1).exists());
    check(&site.apply(&[&server], PASSWORD, "", &["--verify", "--detailed-exitcode"]), &["unchanged", "unchanged"], &["valid"], 0);
    let asked = server.seen().len();
    check(&site.apply(&[&server], "wrong-plantedSecret7391", "", &[]), &["changed", "changed"], &[], 0);
    assert_eq!(server.seen().len(), asked, "without the flag nobody is asked");
}

#[test]
fn one_refused_login_of_two_stops_all() {
    let (site, server, refuses) = (
        Site::new(&OK),
        basic(),
        Server::start("127.0.0.1", None, |r, _| match r.authorization {
            Some(_) => http("403 Forbidden", ""),
            None => http("401 Unauthorized\r\nWWW-Authenticate: Basic realm=x", ""),
        }),
    );
    check(&site.apply(&[&server, &refuses], PASSWORD, "", &["--verify"]), &["not_attempted", "not_attempted"], &["valid", "wrong_password"], 6);
    assert!(site.is_untouched());
    check(&site.apply(&[&server, &refuses], PASSWORD, "", &["--verify", "--login", "l0"]), &["changed", "changed"], &["valid"], 0);
}

#[test]
fn a_registry_that_is_down_is_a_warning_or_a_refusal() {
    let (site, server) = (Site::new(&OK), down());
    check(&site.apply(&[&server], PASSWORD, "", &["--verify=required"]), &["not_attempted", "not_attempted"], &["server_error"], 6);
    check(&site.apply(&[&server], PASSWORD, "verify: required", &[]), &["not_attempted", "not_attempted"], &["server_error"], 6);
    assert!(site.is_untouched());
    check(&site.apply(&[&server], PASSWORD, "verify: true", &["--check"]), &["changed", "changed"], &["server_error"], 0);
    check(&site.apply(&[&server], PASSWORD, "verify: required", &["--verify=off", "--check"]), &["changed", "changed"], &[], 0);
    check(&site.apply(&[&server], PASSWORD, "verify: false", &["--check"]), &["changed", "changed"], &[], 0);
    check(&site.apply(&[&server], PASSWORD, "", &["--verify"]), &["changed", "changed"], &["server_error"], 0);
    assert!(!site.is_untouched());
}

/// Who is unreachable is known sooner or later than the refusal; the report does not depend on it.
#[test]
fn a_refusal_counts_before_what_hosts_came_to() {
    let (site, server) = (Site::new(&[Fault::None, Fault::DropsFirst(1000, ""), Fault::StallBanner, Fault::DenyAuthentication]), basic());
    for password in ["wrong-plantedSecret7391", "wrong2-plantedSecret7391"] {
        let started = Instant::now();
        check(&site.apply(&[&server], password, "", &["--verify"]), &["not_attempted"; 4], &["wrong_password"], 6);
        assert!(started.elapsed() < Duration::from_secs(9), "nobody waits for the host that says nothing");
        assert!(site.is_untouched());
    }
    let out = site.apply(&[&server], PASSWORD, "", &["--verify", "--handshake-timeout", "1", "--connect-timeout", "2"]);
    check(&out, &["changed", "unreachable", "unreachable", "unreachable"], &["valid"], 4);
}

/// The registry answers when it has seen that the nodes are being looked at; were they waiting for it, it never would.
#[test]
fn a_slow_registry_delays_neither_connecting_nor_looking_and_nobody_writes_before_it() {
    for password in [PASSWORD, "wrong-plantedSecret7391"] {
        let site = Site::new(&OK);
        let (received, channels) = (site.fleet.received.clone(), site.fleet.channels.clone());
        let quiet = Arc::new(Mutex::new(Vec::new()));
        let (files, seen) = ([site.file(0), site.file(1)], quiet.clone());
        let looked = Arc::new(AtomicUsize::new(0));
        let counted = looked.clone();
        let server = Server::start("127.0.0.1", None, move |request, _| {
            // What a node is asked goes with the opening of its channel; what is to be written would be the first bytes on it.
            let until = Instant::now() + Duration::from_millis(1800);
            while Instant::now() < until && channels.load(Ordering::Relaxed) < 2 {
                std::thread::sleep(Duration::from_millis(10));
            }
            counted.fetch_add(usize::from(channels.load(Ordering::Relaxed) >= 2), Ordering::Relaxed);
            // Time to do what they must not.
            std::thread::sleep(Duration::from_millis(700));
            let untouched = fs::read_to_string(&files[0]).unwrap() == BEFORE && !files[1].exists();
            seen.lock().unwrap().push(untouched && received.load(Ordering::Relaxed) == 0);
            by_password(request)
        });
        // Deadlines that would be over if waiting counted.
        let out = site.apply(&[&server], password, "", &["--verify", "--command-timeout", "1", "--host-timeout", "1"]);
        match password {
            PASSWORD => check(&out, &["changed", "changed"], &["valid"], 0),
            _ => check(&out, &["not_attempted", "not_attempted"], &["wrong_password"], 6),
        }
        assert_eq!(site.is_untouched(), password != PASSWORD);
        assert_eq!(site.fleet.received.load(Ordering::Relaxed) > 0, password == PASSWORD, "what was to be written was sent afterwards, or never");
        let seen = quiet.lock().unwrap();
        assert!(seen.len() >= 2 && seen.iter().all(|untouched| *untouched), "written before the registry had answered: {seen:?}");
        assert_eq!(looked.load(Ordering::Relaxed), seen.len(), "the nodes were looked at while the registry had not answered");
    }
}
