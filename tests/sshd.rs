//! `regprov apply` over real OpenSSH sshd: shells, keys, host keys, exit codes, signals.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet::{Daemon, Fleet, Options, Ran, Site, signal, wait_until};
use peers::need;

const CONFIG: &str = "/root/.docker/config.json";

/// The words after `"outcome":` in a JSON report, in the order of the hosts.
fn outcomes(json: &str) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_str(json).unwrap();
    report["hosts"].as_array().unwrap().iter().map(|h| h["outcome"].as_str().unwrap().to_string()).collect()
}

#[test]
#[ignore = "needs sshd, dash, bash, busybox, tcsh, fish and zsh"]
fn every_login_shell_that_prints_on_top_is_served() {
    let shells = "dash bash busybox tcsh fish zsh";
    let options = Options { shells, rc: "Welcome; all use is recorded", ..Options::default() };
    let Some(fleet) = Fleet::start(6, options) else { return };
    let site = Site::new(&fleet);

    site.apply(&["--check", "--detailed-exitcode"]).ended(10, &["would be changed: n[0-5] (6)"]);
    assert!(fleet.nodes.iter().all(|n| n.read(CONFIG).is_none()), "--check writes nothing");

    site.apply(&["--diff"]).ended(0, &["changed: n[0-5] (6)", "6 hosts: 6 changed"]);
    for (node, shell) in fleet.nodes.iter().zip(shells.split(' ')) {
        let snapshot = node.snapshot();
        for (path, mode) in [
            ("root/.docker", 0o040700),
            ("root/.docker/config.json", 0o100600),
            ("root/.config/enroot/.credentials", 0o100600),
            ("etc/regprov/singularity.sh", 0o100600),
            ("etc/regprov/singularity.env", 0o100600),
            ("etc/profile.d/regprov-singularity.sh", 0o100644),
            ("var/lib/regprov/owned.json", 0o100600),
        ] {
            let seen = snapshot.get(path).unwrap_or_else(|| panic!("{shell}: there is no {path}"));
            assert_eq!((format!("{:o}", seen.mode), seen.owner), (format!("{mode:o}"), (0, 0)), "{shell}: {path}");
        }
    }

    // A second run changes nothing, not even a time.
    let before: Vec<_> = fleet.nodes.iter().map(|n| n.snapshot()).collect();
    let first = site.apply(&["--json", "--detailed-exitcode"]).ended(0, &[]);
    let second = site.apply(&["--json", "--detailed-exitcode"]).ended(0, &[]);
    assert_eq!(outcomes(&first.stdout), ["unchanged"; 6]);
    assert_eq!(first.stdout, second.stdout, "equal state gives equal bytes");
    assert!(before.iter().zip(&fleet.nodes).all(|(b, n)| *b == n.snapshot()));
}

#[test]
#[ignore = "needs sshd and dash"]
fn a_server_of_one_session_is_served_by_a_second_program_too() {
    let Some(fleet) = Fleet::start(1, Options { sshd: "MaxSessions 1", ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    fleet.nodes[0].write(CONFIG, "not JSON");
    site.apply(&[]).ended(3, &["failed: n0", "/root/.docker/config.json"]);
    // The backup is one program, the replacement the next.
    site.apply(&["--replace-invalid"]).ended(0, &["changed: n0"]);
    assert_eq!(fleet.nodes[0].read("/root/.docker/config.json.regprov-backup").unwrap(), b"not JSON");
    assert_eq!(fleet.log(0).matches("Starting session").count(), 3, "{}", fleet.log(0));
}

/// Makes a key with ssh-keygen and returns its public line.
fn keygen(path: &Path, kind: &str, passphrase: &str) -> String {
    let bits = if kind == "rsa" { "2048" } else { "256" };
    let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-b", bits, "-N", passphrase, "-C", kind, "-f"]).arg(path).status().unwrap();
    assert!(made.success());
    fs::read_to_string(path.with_extension("pub")).unwrap()
}

#[test]
#[ignore = "needs sshd, dash, ssh-agent and ssh-add"]
fn key_files_and_the_agent_log_in() {
    let dir = tempfile::tempdir().unwrap();
    let Some(keygen_program) = need("ssh-keygen") else { return };
    assert!(keygen_program.is_absolute());
    let path = |kind: &str| dir.path().join(format!("id_{kind}"));
    let kinds = ["ed25519", "ecdsa", "rsa"];
    let mut authorized: String = kinds.map(|k| keygen(&path(k), k, "")).concat();
    authorized += &keygen(&dir.path().join("locked"), "ed25519", "correct horse");
    let (Some(agent), Some(add)) = (need("ssh-agent"), need("ssh-add")) else { return };
    let Some(fleet) = Fleet::start(1, Options { authorized: &authorized, ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    fs::remove_file(site.path("home/.ssh/id_ed25519")).unwrap();
    let check = ["apply", "inventory.yml", "--check"];
    site.run(&check).ended(2, &["there is no SSH key to log in with", "--ssh-key"]);

    for kind in kinds {
        // Named, and as one of the usual files.
        site.apply(&["--check", "--ssh-key", path(kind).to_str().unwrap()]).ended(0, &["would be changed: n0"]);
        let usual = site.path(&format!("home/.ssh/id_{kind}"));
        fs::copy(path(kind), &usual).unwrap();
        site.run(&check).ended(0, &["would be changed: n0"]);
        fs::remove_file(usual).unwrap();
    }

    let locked = dir.path().join("locked");
    let locked = locked.to_str().unwrap();
    site.apply(&["--check", "--ssh-key", locked]).ended(2, &["locked is encrypted and there is no terminal to ask for its passphrase", "agent"]);

    let stranger = dir.path().join("stranger");
    keygen(&stranger, "ed25519", "");
    site.apply(&["--check", "--ssh-key", stranger.to_str().unwrap()]).ended(4, &["unreachable at authenticate", "none of these keys", "stranger"]);

    let socket = dir.path().join("agent");
    let _agent = Daemon(Command::new(agent).arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap());
    wait_until("the agent listens", || socket.exists());
    let with_agent = |args: &[&str]| Ran::from(site.command(args).env("SSH_AUTH_SOCK", &socket).output().unwrap());
    with_agent(&check).ended(2, &["there is no SSH key to log in with"]);
    for kind in kinds {
        let keys = |args: &[&str]| assert!(Command::new(&add).args(args).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status().unwrap().success());
        keys(&["-q", path(kind).to_str().unwrap()]);
        with_agent(&check).ended(0, &["would be changed: n0"]);
        with_agent(&["apply", "inventory.yml", "--check", "--no-agent"]).ended(2, &["there is no SSH key to log in with"]);
        keys(&["-q", "-D"]);
    }
    let log = fleet.log(0);
    for (algorithm, times) in [("ED25519", 3), ("ECDSA", 3), ("RSA", 3)] {
        let accepted = log.lines().filter(|l| l.starts_with("Accepted publickey") && l.contains(&format!("ssh2: {algorithm} "))).count();
        assert_eq!(accepted, times, "{algorithm}: {log}");
    }
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn a_host_key_that_is_not_known_ends_it_before_authentication() {
    let options = Options { host_keys: "ed25519 ecdsa rsa", sshd: "LogLevel DEBUG1", ..Options::default() };
    let Some(fleet) = Fleet::start(1, options) else { return };
    let site = Site::new(&fleet);
    let name = format!("[{}]:{}", fleet.nodes[0].address, fleet.port);
    let other = keygen(&site.path("other"), "ed25519", "");
    let other = other.rsplit_once(' ').unwrap().0;
    let key = fleet.host_key("ed25519");
    let userauth = || fleet.log(0).matches("userauth-request").count();

    let mut before = 0;
    let refused = |known_hosts: &str, words: &[&str]| {
        site.known_hosts(known_hosts);
        site.apply(&[]).ended(4, words).ended(4, &["unreachable at handshake"]);
        assert_eq!(userauth(), before, "nobody asked to log in: {known_hosts}");
    };
    refused("", &["the host's key is not known", "known_hosts"]);
    refused(&format!("elsewhere {key}\n"), &["the host's key is not known"]);
    refused(&format!("{name} {other}\n"), &["is not the one in known_hosts", "known_hosts:1"]);
    refused(&format!("{name} {key}\n@revoked * {key}\n"), &["revoked"]);
    refused(&format!("@cert-authority {name} {key}\n"), &["the host's key is not known"]);

    let mut accepted = |what: &str| {
        site.apply(&["--check"]).ended(0, &[]);
        assert!(userauth() > before, "the control logs in: {what}");
        before = userauth();
    };
    for kind in ["ed25519", "ecdsa", "rsa"] {
        site.known_hosts(&format!("{name} {}\n", fleet.host_key(kind)));
        accepted(kind);
    }
    let hash = |name: &str| {
        site.known_hosts(&format!("{name} {key}\n"));
        let file = site.path("home/.ssh/known_hosts");
        assert!(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).stderr(Stdio::null()).stdout(Stdio::null()).status().unwrap().success());
        assert!(fs::read_to_string(file).unwrap().starts_with("|1|"));
    };
    hash(&name);
    accepted("hashed");
    // Where no line has the port, the plain name counts.
    hash(&fleet.nodes[0].address);
    accepted("hashed, without the port");

    // What the inventory pins counts alone.
    let pin = |key: &str| {
        let host = format!("{{address: {}, host_key: \"{key}\"}}", fleet.nodes[0].address);
        let text = fs::read_to_string(site.path("inventory.yml")).unwrap();
        let (head, _) = text.split_once("  n0: ").unwrap();
        fs::write(site.path("inventory.yml"), format!("{head}  n0: {host}\n")).unwrap();
    };
    site.known_hosts("");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        pin(&fleet.host_key(kind));
        accepted(kind);
    }
    site.known_hosts(&format!("{name} {key}\n"));
    pin(other);
    site.apply(&[]).ended(4, &["another key than the inventory's `host_key:`"]);
    assert_eq!(userauth(), before, "nobody asked to log in");
    assert!(fleet.nodes[0].read(CONFIG).is_none());
}

#[test]
#[ignore = "needs sshd and dash"]
fn each_end_has_its_exit_code() {
    let Some(fleet) = Fleet::start(3, Options::default()) else { return };
    let site = Site::new(&fleet);
    let all = "targets: [docker, enroot]";
    site.inventory(&fleet, all, "");
    site.apply(&["--detailed-exitcode", "--limit", "n0"]).ended(10, &["changed: n0 (1)", "1 host: 1 changed"]);
    assert!(fleet.nodes[1].read(CONFIG).is_none(), "--limit leaves others alone");
    site.apply(&["--detailed-exitcode"]).ended(10, &["changed:   n[1-2] (2)", "unchanged: n0 (1)"]);
    site.apply(&["--detailed-exitcode"]).ended(0, &["unchanged: n[0-2] (3)"]);

    // Somebody else's port, where nobody listens, and one host in trouble.
    let dead = format!("{all}\n  dead: {{hosts: dead, logins: [hub], targets: [docker]}}");
    site.inventory(&fleet, &dead, &format!("  dead: {{address: 127.0.0.1, port: {}}}\n", fleet.port));
    site.apply(&[]).ended(4, &["unchanged:   n[0-2] (3)", "unreachable: dead (1)", "unreachable at connect: connection refused"]);
    fleet.nodes[1].write(CONFIG, "{\"auths\": [");
    let run = site.apply(&["--json"]).ended(3, &[]);
    assert_eq!(outcomes(&run.stdout), ["unchanged", "failed", "unchanged", "unreachable"]);
    assert_eq!(run.stdout, site.apply(&["--json"]).stdout, "equal state gives equal bytes");
    site.apply(&["--limit", "n1"]).ended(3, &["failed: n1 (1)", "docker /root/.docker/config.json"]);
    site.apply(&["--limit", "nodes,!n1"]).ended(0, &["unchanged: n[0,2] (2)"]);
    site.apply(&["--limit", "n1", "--target", "enroot"]).ended(0, &["unchanged: n1 (1)"]);

    // A failed file does not keep the host's other files from being written.
    fs::remove_file(fleet.nodes[1].path("/root/.config/enroot/.credentials")).unwrap();
    site.apply(&["--limit", "n1"]).ended(3, &["failed: n1 (1)"]);
    assert!(fleet.nodes[1].read("/root/.config/enroot/.credentials").is_some());

    // Nothing is contacted for these.
    let connections = |n: usize| fleet.log(n).matches("Connection from").count();
    let before = connections(0);
    site.apply(&["--limit", "nobody"]).ended(2, &["nobody"]);
    site.apply(&["--forks", "0"]).ended(2, &[]);
    site.run(&["apply", "missing.yml"]).ended(2, &["missing.yml"]);
    site.apply(&["--known-hosts", "missing"]).ended(2, &["missing"]);
    fs::rename(site.path("home/.config/regprov/identity.txt"), site.path("away")).unwrap();
    site.apply(&[]).ended(5, &["an identity is needed"]);
    assert_eq!(connections(0), before);
}

#[test]
#[ignore = "needs sshd and dash"]
fn login_and_target_narrow_a_run() {
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let site = Site::new(&fleet);
    let node = &fleet.nodes[0];
    let text = || String::from_utf8(node.read(CONFIG).unwrap()).unwrap();
    site.apply(&["--login", "hub", "--target", "docker"]).ended(0, &["changed: n0"]);
    assert!(text().contains("index.docker.io") && !text().contains("nvcr.io"));
    assert!(node.read("/root/.config/enroot/.credentials").is_none());
    site.apply(&["--login", "ngc", "--target", "docker", "--target", "enroot"]).ended(0, &["changed: n0"]);
    assert!(text().contains("index.docker.io") && text().contains("nvcr.io"), "what the last run wrote stays");
    let enroot = String::from_utf8(node.read("/root/.config/enroot/.credentials").unwrap()).unwrap();
    assert!(enroot.contains("machine nvcr.io login $oauthtoken") && !enroot.contains("docker.io"), "{enroot}");
    assert!(node.read("/etc/regprov/singularity.sh").is_none());
    site.apply(&["--login", "nobodys"]).ended(2, &["nobodys"]);
}

#[test]
#[ignore = "needs sshd, dash and nologin"]
fn who_may_not_run_our_program_is_told_why() {
    let Some(forced) = Fleet::start(1, Options { sshd: "ForceCommand echo backups only", ..Options::default() }) else { return };
    let words = ["failed at start", "it said: backups only; another command ran in its place: look for ForceCommand"];
    Site::new(&forced).apply(&[]).ended(3, &words);

    let Some(none) = Fleet::start(1, Options { shells: "nologin", ..Options::default() }) else { return };
    let ran =
        Site::new(&none).apply(&[]).ended(3, &["failed at start: the login shell did not start the node program", "This account is currently not available"]);
    assert!(!ran.stdout.contains("ForceCommand"), "{}", ran.all());
}

/// Neither rule is for root.
#[test]
#[ignore = "needs sshd and dash"]
fn who_may_not_log_in_is_told_why() {
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let (site, node) = (Site::new(&fleet), &fleet.nodes[0]);
    let append = |path: &str, line: &str| fs::write(node.path(path), [node.read(path).unwrap(), line.as_bytes().to_vec()].concat()).unwrap();
    append("/etc/passwd", "worker:x:1234:1234::/tmp:/bin/sh\ngone:x:1235:1235::/tmp:/bin/sh\n");
    append("/etc/shadow", "worker:*:19000:0:99999:7:::\ngone:*:19000:0:99999:7::19001:\n");
    // The control: it logs in, and is not root.
    site.apply(&["--user", "worker"]).ended(3, &["failed at observe: the SSH user has user id 1234 there"]);
    site.apply(&["--user", "gone"]).ended(4, &["unreachable at authenticate: the host lets gone in with none of these keys"]);
    assert!(fleet.log(0).contains("Account gone has expired"), "{}", fleet.log(0));
    node.write("/etc/nologin", "Maintenance until noon\n");
    fs::set_permissions(node.path("/etc/nologin"), fs::Permissions::from_mode(0o644)).unwrap();
    site.apply(&["--user", "worker"]).ended(3, &["failed at start", "Maintenance until noon"]);
    site.apply(&["--check"]).ended(0, &["would be changed: n0"]);
}

/// Starts a run of hosts whose shells are slow, and waits until `n` programs run on them.
fn started(site: &Site, fleet: &Fleet, flags: &[&str], n: usize) -> Child {
    let run = site.command(&[&["apply", "inventory.yml"], flags].concat()).spawn().unwrap();
    wait_until("shells run", || fleet.nodes.iter().filter(|n| n.processes().iter().any(|(_, name)| name == "sleep")).count() >= n);
    run
}

#[test]
#[ignore = "needs sshd"]
fn an_interrupt_lets_those_in_flight_finish() {
    let Some(fleet) = Fleet::start(6, Options { shells: "slow", slow: 2, ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    for (number, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let run = started(&site, &fleet, &["--forks", "2"], 2);
        signal(&run, number);
        let told = if code == 130 { "changed:       n[0-1] (2)" } else { "unchanged:     n[0-1] (2)" };
        Ran::from(run.wait_with_output().unwrap()).ended(code, &[told, "not attempted: n[2-5] (4)", "stopped by a signal", "no other starts"]);
    }
    assert!(fleet.nodes[..2].iter().all(|n| n.read(CONFIG).is_some()) && fleet.nodes[2..].iter().all(|n| n.read(CONFIG).is_none()));
    assert!(fleet.nodes[2..].iter().enumerate().all(|(i, _)| !fleet.log(i + 2).contains("Connection from")), "they were not even connected to");
}

#[test]
#[ignore = "needs sshd"]
fn a_second_interrupt_stops_at_once() {
    let Some(fleet) = Fleet::start(3, Options { shells: "slow", slow: 30, ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    let run = started(&site, &fleet, &["--forks", "2", "--command-timeout", "60"], 2);
    signal(&run, libc::SIGINT);
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    signal(&run, libc::SIGINT);
    let ran = Ran::from(run.wait_with_output().unwrap());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    // The slow shells never got what shall be written, so nothing can have changed.
    ran.ended(130, &["not attempted: n[0-2] (3)"]);
    assert!(fleet.nodes.iter().all(|n| n.read(CONFIG).is_none()));
}
