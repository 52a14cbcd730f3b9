//! `regprov rotate` on nodes in this process, with a registry that is told which passwords it takes: a rotation from its start to its end and
//! back, what stops it, and that neither password goes where it does not belong.

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/estate.rs"]
mod estate;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/registry.rs"]
mod registry;
#[path = "common/signing.rs"]
mod signing;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use estate::{DOCKER, ENROOT, Estate, Ran};
use registry::{Server, http};

const OLD: &str = "planted-Old_4x1";
const NEW: &str = "planted-New_5y2";

/// An estate whose nodes have the login `reg` with its old password.
struct Site {
    estate: Estate,
    server: Server,
    /// What the registry takes, as `account:password`.
    taken: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// With so many nodes.
    async fn new(nodes: usize) -> Site {
        let estate = Estate::new(nodes).await;
        let taken: Arc<Mutex<Vec<String>>> = Arc::default();
        let takes = taken.clone();
        let server = Server::start("127.0.0.1", None, move |request, _| match request.basic() {
            Some(login) if takes.lock().unwrap().contains(&login) => http("200 OK", "{}"),
            _ => http("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"", "{}"),
        });
        let site = Site { estate, server, taken };
        let name = site.registry();
        let set =
            ["vault", "set", "vault.yml", "reg", "--registry", &name, "--username", "robot-a", "--auth-host", "auth.example.org", "--expires", "2099-01-01"];
        site.estate.piped(&set, OLD).ended(0, &[]);
        site.estate.inventory("inventory.yml", "id: site\n", "hub, reg", "docker, enroot");
        site.takes(&["robot-a", OLD]);
        site.estate.apply(&["inventory.yml"]).ended(0, &["changed"]);
        assert!((0..nodes).all(|i| site.has(i, "robot-a", OLD)));
        site
    }

    fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.server.port)
    }

    /// Lets the registry take these accounts and passwords and no others.
    fn takes(&self, pairs: &[&str]) {
        *self.taken.lock().unwrap() = pairs.chunks(2).map(|p| format!("{}:{}", p[0], p[1])).collect();
    }

    fn vault(&self) -> String {
        let text = fs::read_to_string(self.estate.path("vault.yml")).unwrap();
        // All but the serial, which grows with each change.
        text.lines().filter(|l| !l.starts_with("vault_serial:")).map(|l| format!("{l}\n")).collect()
    }

    /// Whether the files of a node hold this account and password for the registry, and the other password nowhere.
    fn has(&self, node: usize, username: &str, password: &str) -> bool {
        let docker: serde_json::Value = serde_json::from_str(&self.estate.read(node, DOCKER)).unwrap_or_default();
        let auth = docker["auths"][self.registry()]["auth"].as_str().unwrap_or_default().to_string();
        let netrc = self.estate.read(node, ENROOT);
        let line = |machine: &str| netrc.lines().any(|l| l.contains(machine) && l.contains(username) && l.contains(password));
        let other = if password == OLD { NEW } else { OLD };
        auth == STANDARD.encode(format!("{username}:{password}")) && line("127.0.0.1") && line("auth.example.org") && !netrc.contains(other)
    }

    /// Runs `rotate VERB inventory.yml reg` with the new password on stdin, and holds what it says to hold neither password.
    fn rotate(&self, verb: &str, words: &[&str], input: &str) -> Ran {
        let key = self.estate.bed.key.to_str().unwrap();
        let ran = self.estate.piped(&[&["rotate", verb, "inventory.yml", "reg", "--ssh-key", key, "--no-agent"], words].concat(), input);
        assert!(![OLD, NEW].iter().any(|p| ran.out.contains(p) || ran.err.contains(p)), "a password is said: {}{}", ran.out, ran.err);
        ran
    }

    fn start(&self, words: &[&str], input: &str) -> Ran {
        self.rotate("start", &[words, &["--identity", "id.txt"]].concat(), input)
    }

    /// Lets nobody answer for a node, or its own server again.
    fn absent(&self, node: usize, is_absent: bool) {
        let own = format!("{{port: {}, root: {}}}", self.estate.bed.fleet.nodes[node].port(), self.estate.on(node, "").display());
        let gone = own.replace("port: ", "address: 127.0.0.2, port: ");
        let text = fs::read_to_string(self.estate.path("inventory.yml")).unwrap();
        let text = if is_absent { text.replace(&own, &gone) } else { text.replace(&gone, &own) };
        fs::write(self.estate.path("inventory.yml"), text).unwrap();
    }

    /// Neither password lies in the clear in the vault, and the admin's folder has no file that the test did not put there.
    fn holds_its_secrets(&self) {
        let vault = self.vault();
        assert!(!vault.contains(OLD) && !vault.contains(NEW));
        let mut names: Vec<String> = fs::read_dir(self.estate.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|n| !n.starts_with('n'));
        names.sort();
        let left: Vec<&String> = names.iter().filter(|n| !["home", "id", "id.txt", "inventory.yml", "vault.yml", "audit.txt"].contains(&n.as_str())).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The lines of a login in a vault.
fn lines_of(vault: &str, login: &str) -> Vec<String> {
    let from = vault.lines().skip_while(|l| *l != format!("  {login}:")).skip(1);
    from.take_while(|l| l.starts_with("    ")).map(|l| l.trim().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_rotated_and_taken_back() {
    let site = Site::new(3).await;
    let before = site.vault();
    site.takes(&["robot-a", OLD, "robot-b", NEW]);
    let ran = site.start(&["--username", "robot-b", "--expires", "2099-06-01"], NEW).ended(0, &["3 changed", "kept there as `previous`"]);
    assert!(ran.err.contains("regprov rotate finish inventory.yml reg"), "{}", ran.err);
    assert!((0..3).all(|i| site.has(i, "robot-b", NEW)));
    // The registry saw the new one before any node did, and the old seal is there as it was.
    assert!(site.server.logins().contains(&format!("robot-b:{NEW}")));
    let under_way = site.vault();
    let old_lines = lines_of(&before, "reg");
    let lines = lines_of(&under_way, "reg");
    let at = lines.iter().position(|l| l == "previous:").expect("it is kept");
    let sealed = old_lines.iter().skip_while(|l| !l.starts_with("-----BEGIN"));
    assert_eq!(lines[at + 1..at + 4], ["username: robot-a", "expires: 2099-01-01", "password: |"]);
    assert!(lines[at + 4..].iter().eq(sealed), "the old seal is moved and not made anew");
    assert!(lines.contains(&"username: robot-b".to_string()) && lines.contains(&"expires: 2099-06-01".to_string()));
    for login in ["hub", "ngc", "corp"] {
        assert_eq!(lines_of(&before, login), lines_of(&under_way, login));
    }
    site.holds_its_secrets();
    // Whoever applies gets the new one.
    site.estate.apply(&["inventory.yml"]).ended(0, &["3 unchanged"]);
    site.start(&[], "planted-Third").ended(2, &["under way already", "regprov rotate finish inventory.yml reg", "regprov rotate undo inventory.yml reg"]);
    assert_eq!(site.vault(), under_way);

    site.rotate("undo", &["--identity", "id.txt"], "").ended(0, &["3 changed", "has its old password again"]);
    assert_eq!(site.vault(), before, "byte for byte");
    assert!((0..3).all(|i| site.has(i, "robot-a", OLD)));
    site.rotate("undo", &["--identity", "id.txt"], "").ended(2, &["no rotation of login `reg` is under way"]);
}

/// Under `signed: required` each step leaves a vault that the next one takes, or says that it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen"]
async fn a_rotation_of_a_signed_vault_signs_it_again() {
    let Some(_) = peers::need("ssh-keygen") else { return };
    let site = Site::new(1).await;
    let inventory = fs::read_to_string(site.estate.path("inventory.yml")).unwrap();
    fs::write(site.estate.path("inventory.yml"), inventory.replace("id: site\n", "id: site\nsigned: required\n")).unwrap();
    for (name, text) in [("alice", signing::key(1).to_openssh(ssh_key::LineEnding::LF).unwrap().to_string()), ("broken", "no key\n".to_string())] {
        fs::write(site.estate.path(name), text).unwrap();
        fs::set_permissions(site.estate.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(site.estate.path("allowed_signers"), signing::line("alice", &signing::key(1))).unwrap();
    let sign = || site.estate.run(&["vault", "sign", "vault.yml", "--key", "alice"]).ended(0, &["of alice: vault.yml.sig"]);
    sign();
    site.takes(&["robot-a", OLD, "robot-b", NEW]);
    let ssh = site.estate.bed.key.to_str().unwrap();
    let rotate = |key: &str, verb: &str, words: &[&str], input: &str| {
        let words = [&["rotate", verb, "inventory.yml", "reg", "--ssh-key", ssh, "--no-agent", "--identity", "id.txt"], words].concat();
        site.estate.piped_in(&[("REGPROV_SIGNING_KEY", key)], &words, input)
    };
    site.start(&["--username", "robot-b"], NEW).ended(5, &["vault.yml would lose its signature"]);
    assert!(site.has(0, "robot-a", OLD));
    rotate("alice", "start", &["--username", "robot-b"], NEW).ended(0, &["1 changed", "vault.yml is signed again (vault.yml.sig)"]);
    assert!(site.has(0, "robot-b", NEW));
    site.estate.apply(&["inventory.yml"]).ended(0, &["1 unchanged"]);
    // A key that does not sign: what was begun is ended, and told.
    let stale = "vault.yml was written and not signed again, so vault.yml.sig does not fit it any more";
    rotate("broken", "undo", &[], "").ended(5, &["1 changed", stale, "regprov vault sign vault.yml"]);
    assert!(site.has(0, "robot-a", OLD));
    site.estate.apply(&["inventory.yml"]).ended(5, &["vault.yml.sig does not fit vault.yml"]);
    sign();
    site.estate.apply(&["inventory.yml"]).ended(0, &["1 unchanged"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_not_taken_changes_nothing() {
    let site = Site::new(2).await;
    let before = (site.vault(), site.estate.snapshot(0), site.estate.snapshot(1));
    site.start(&[], NEW).ended(6, &["wrong password", "vault.yml was not changed", "2 not attempted"]);
    let doc = site.start(&["--json"], NEW).ended(6, &[]).json();
    assert_eq!((doc["hosts"][0]["outcome"].as_str(), doc["logins"][0]["verdict"].as_str()), (Some("not_attempted"), Some("wrong_password")));
    site.takes(&["robot-a", NEW, "robot-a", OLD]);
    site.start(&["--check"], NEW).ended(0, &["2 would be changed"]);
    site.start(&[], OLD).ended(2, &["the password that login `reg` has already"]);
    site.start(&[], "").ended(2, &["password is empty"]);
    site.start(&["--expires", "2020-01-01"], NEW).ended(2, &["--expires is in the past"]);
    site.start(&["--username", "a:b"], NEW).ended(2, &["username contains `:`"]);
    site.start(&["--limit", "n9"], NEW).ended(2, &["n9"]);
    site.rotate("start", &[], NEW).ended(5, &["an identity is needed"]);
    let key = site.estate.bed.key.to_str().unwrap();
    site.estate
        .piped(&["rotate", "start", "inventory.yml", "rge", "--ssh-key", key, "--identity", "id.txt"], NEW)
        .ended(2, &["there is no login `rge`", "corp, hub, ngc, reg"]);
    // `ngc` goes to no host.
    site.estate
        .piped(&["rotate", "start", "inventory.yml", "ngc", "--ssh-key", key, "--identity", "id.txt", "--no-verify"], NEW)
        .ended(2, &["--login ngc: no host gets that"]);
    assert_eq!((site.vault(), site.estate.snapshot(0), site.estate.snapshot(1)), before);
    // The control, and that nobody is asked when the admin wants that.
    let asked = site.server.seen().len();
    site.takes(&[]);
    site.start(&["--no-verify"], NEW).ended(0, &["2 changed"]);
    assert!((0..2).all(|i| site.has(i, "robot-a", NEW)) && site.server.seen().len() == asked);
    site.rotate("undo", &["--identity", "id.txt"], "").ended(6, &["wrong password", "vault.yml was not changed"]);
    assert!(site.vault().contains("previous:") && site.has(0, "robot-a", NEW));
    site.rotate("undo", &["--identity", "id.txt", "--no-verify"], "").ended(0, &["2 changed"]);
    assert!(site.has(1, "robot-a", OLD));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rotated_is_told_before_anything_is_asked_for() {
    let site = Site::new(1).await;
    site.takes(&["robot-a", NEW, "robot-a", OLD]);
    let before = site.vault();
    let told = |vault: &str, code: i32, words: &[&str]| {
        let serial = if vault.starts_with("version:") { "vault_serial: 99\n" } else { "" };
        fs::write(site.estate.path("vault.yml"), format!("{vault}{serial}")).unwrap();
        site.start(&["--allow-plaintext"], NEW).ended(code, words);
        assert_eq!(site.vault(), vault);
    };
    let sealed = lines_of(&before, "reg").iter().skip_while(|l| !l.starts_with("-----BEGIN")).map(|l| format!("      {l}\n")).collect::<String>();
    told(&before.replace(&format!("password: |\n{sealed}"), "password: hunter2\n"), 2, &["stands in the clear", "regprov vault set vault.yml reg"]);
    let whole = before.replace("  reg:\n", "  reg: &r\n");
    told(&whole, 2, &["anchor"]);
    // Encrypted as a whole.
    fs::write(site.estate.path("vault.yml"), format!("{before}vault_serial: 99\n")).unwrap();
    site.estate.run(&["vault", "encrypt", "vault.yml"]).ended(0, &[]);
    told(&site.vault(), 5, &["encrypted as a whole", "regprov vault decrypt vault.yml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_fails_keeps_the_fleet_at_the_old_password() {
    let site = Site::new(3).await;
    site.takes(&["robot-a", OLD, "robot-a", NEW]);
    let before = site.vault();
    // The canary's directory is not one any more.
    fs::remove_dir_all(site.estate.on(0, "root/.docker")).unwrap();
    fs::write(site.estate.on(0, "root/.docker"), "x").unwrap();
    let ran = site.start(&[], NEW).ended(7, &["1 failed, 2 not attempted", "continue: regprov apply inventory.yml"]);
    assert!(ran.err.contains("`regprov apply inventory.yml --resume` goes on") && ran.err.contains("regprov rotate undo inventory.yml reg"), "{}", ran.err);
    assert!(ran.out.contains("--login reg --resume") && !ran.out.contains("rotate"), "{}", ran.out);
    assert!((1..3).all(|i| site.has(i, "robot-a", OLD)) && site.vault().contains("previous:"));
    // Taken back: the canary has its enroot file already.
    fs::remove_file(site.estate.on(0, "root/.docker")).unwrap();
    site.rotate("undo", &["--identity", "id.txt"], "").ended(0, &["1 changed, 2 unchanged"]);
    assert!((0..3).all(|i| site.has(i, "robot-a", OLD)) && site.vault() == before);
    // Or put right and gone on with.
    fs::remove_dir_all(site.estate.on(0, "root/.docker")).unwrap();
    fs::write(site.estate.on(0, "root/.docker"), "x").unwrap();
    site.start(&[], NEW).ended(7, &[]);
    fs::remove_file(site.estate.on(0, "root/.docker")).unwrap();
    site.estate.apply(&["inventory.yml", "--resume"]).ended(0, &["3 changed"]);
    assert!((0..3).all(|i| site.has(i, "robot-a", NEW)));
}

/// What `rotate status` says of the hosts, by their names, and its exit code.
#[track_caller]
fn told(site: &Site, words: &[&str], want: &[&str], code: i32) {
    let ran = site.rotate("status", &[words, &["--json", "--connect-timeout", "2"]].concat(), "").ended(code, &[]);
    let doc = ran.json();
    assert_eq!(doc["schema"], "regprov.rotate/1");
    let login = &doc["logins"][0];
    let has: Vec<&str> = login["hosts"].as_array().unwrap().iter().map(|h| h["has"].as_str().unwrap()).collect();
    assert_eq!((has, login["done"].as_bool()), (want.to_vec(), Some(code == 0)), "{}", ran.out);
}

const IDENTITY: [&str; 2] = ["--identity", "id.txt"];
const AUDIT: [&str; 2] = ["--audit-key", "audit.txt"];

/// From a password that all have to the next: the registry takes the old one, then both, then the new one alone. One host is down at first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_ends_when_every_host_has_the_new_password() {
    let site = Site::new(4).await;
    site.estate.run(&["vault", "audit-key", "-o", "audit.txt"]).ended(0, &[]);
    site.estate.run(&["vault", "fingerprint", "vault.yml", "--audit-key", "audit.txt", "--identity", "id.txt"]).ended(0, &[]);
    site.rotate("status", &IDENTITY, "").ended(2, &["no rotation of login `reg` is under way", "rotate start"]);
    site.rotate("finish", &IDENTITY, "").ended(2, &["no rotation of login `reg` is under way"]);
    let key = site.estate.bed.key.to_str().unwrap().to_string();
    site.estate.run(&["rotate", "status", "inventory.yml", "--ssh-key", &key]).ended(0, &["no rotation is under way"]);

    site.takes(&["robot-a", OLD, "robot-b", NEW]);
    site.absent(3, true);
    let words = ["--username", "robot-b", "--audit-key", "audit.txt", "--connect-timeout", "2"];
    let ran = site.start(&words, NEW).ended(4, &["3 changed", "1 unreachable", "again: regprov apply inventory.yml"]);
    assert!(ran.err.contains("--resume` goes on") && ran.err.contains("rotate status inventory.yml reg"), "{}", ran.err);
    let under_way = site.vault();
    assert_eq!(under_way.matches("fingerprint: ").count(), 5, "hub, ngc, corp, and both of reg");
    told(&site, &AUDIT, &["new", "new", "new", "unreachable"], 4);
    told(&site, &IDENTITY, &["new", "new", "new", "unreachable"], 4);
    site.rotate("finish", &[&AUDIT[..], &["--connect-timeout", "2"]].concat(), "").ended(4, &["unreachable: n3 (1)", "vault.yml was not changed"]);
    // Back again, it has the old one.
    site.absent(3, false);
    let before = (0..4).map(|i| site.estate.snapshot(i)).collect::<Vec<_>>();
    told(&site, &AUDIT, &["new", "new", "new", "old"], 10);
    told(&site, &IDENTITY, &["new", "new", "new", "old"], 10);
    let ran = site
        .rotate("status", &AUDIT, "")
        .ended(10, &["login reg: robot-b at 127.0.0.1:", ", before robot-a", "new: n[0-2] (3)", "old: n3 (1)", "4 hosts: 3 new, 1 old"]);
    assert_eq!(ran.out, site.rotate("status", &IDENTITY, "").out, "both tell the same");
    site.rotate("finish", &AUDIT, "").ended(10, &["old: n3 (1)", "regprov apply inventory.yml --login reg", "--without"]);
    assert_eq!((0..4).map(|i| site.estate.snapshot(i)).collect::<Vec<_>>(), before, "a look writes nothing");
    assert_eq!(site.vault(), under_way);

    site.estate.apply(&["inventory.yml", "--resume"]).ended(0, &["1 changed"]);
    told(&site, &AUDIT, &["new", "new", "new", "new"], 0);
    site.takes(&["robot-b", NEW]);
    let ran = site.rotate("finish", &AUDIT, "").ended(0, &["4 hosts: 4 new", "is gone from vault.yml"]);
    assert!(ran.err.contains("now revoke it at 127.0.0.1:") && ran.err.contains("account robot-a"), "{}", ran.err);
    // `previous` and nothing else is gone.
    let finished = site.vault();
    let (from, to) = (under_way.find("    previous:\n").unwrap(), under_way.find("    previous:\n").unwrap() + under_way.len() - finished.len());
    assert_eq!(finished, format!("{}{}", &under_way[..from], &under_way[to..]));
    site.holds_its_secrets();
    site.estate.apply(&["inventory.yml", "--verify=required", "--login", "reg"]).ended(0, &["4 unchanged"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_has_is_told_by_its_worst_file() {
    let site = Site::new(5).await;
    site.takes(&["robot-a", OLD, "robot-a", NEW]);
    let old = (site.estate.read(0, DOCKER), site.estate.read(0, ENROOT));
    site.start(&[], NEW).ended(0, &["5 changed"]);
    let new = (site.estate.read(0, DOCKER), site.estate.read(0, ENROOT));
    told(&site, &IDENTITY, &["new"; 5], 0);
    // n0: one file was restored from a backup; n1: only one of two machines in it; n2: another password; n3: nothing; n4: no place to look at.
    site.estate.write(0, DOCKER, &old.0);
    site.estate.write(1, ENROOT, &new.1.replacen(NEW, OLD, 1));
    site.estate.write(2, ENROOT, &new.1.replace(NEW, "somebody-else"));
    fs::remove_file(site.estate.on(3, ENROOT)).unwrap();
    fs::remove_file(site.estate.on(4, DOCKER)).unwrap();
    fs::create_dir(site.estate.on(4, DOCKER)).unwrap();
    told(&site, &IDENTITY, &["old", "old", "other", "missing", "other"], 10);
    site.rotate("status", &IDENTITY, "")
        .ended(10, &["old:     n[0-1] (2)", "other:   n2 (1): another password", "missing: n3 (1)"])
        .without(&["somebody-else"]);
    let vault = site.vault();
    // Whoever is left out need not have it, and is not asked.
    for without in ["n0", "n[0-1]", "n[0-3]", "n4"] {
        site.rotate("finish", &[&IDENTITY[..], &["--without", without]].concat(), "").ended(10, &["was not changed"]);
    }
    site.rotate("finish", &[&IDENTITY[..], &["--without", "n9"]].concat(), "").ended(2, &["n9"]);
    assert_eq!(site.vault(), vault);
    for node in 1..5 {
        site.absent(node, true);
    }
    site.estate.write(0, DOCKER, &new.0);
    let ran = site
        .rotate("finish", &[&IDENTITY[..], &["--without", "n[1-4]"]].concat(), "")
        .ended(0, &["1 host: 1 new", "now revoke it", "left out, and maybe with the old one still: n[1-4] (4)"]);
    assert!(!ran.out.contains("unreachable") && !site.vault().contains("previous"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_tell_passwords_apart_without_an_identity_or_an_audit_key() {
    let site = Site::new(1).await;
    site.start(&["--no-verify"], NEW).ended(0, &["1 changed"]);
    for verb in ["status", "finish"] {
        site.rotate(verb, &[], "").ended(2, &["nothing is at hand that tells the new password from the old one", "--identity", "--audit-key"]);
    }
    site.estate.run(&["vault", "audit-key", "-o", "audit.txt"]).ended(0, &[]);
    site.rotate("status", &AUDIT, "").ended(2, &["without a fingerprint", "regprov vault fingerprint vault.yml"]);
    // Both passwords get theirs.
    site.estate.run(&["vault", "fingerprint", "vault.yml", "--audit-key", "audit.txt", "--identity", "id.txt"]).ended(0, &[]);
    told(&site, &AUDIT, &["new"], 0);
    // Who gives no vault away: neither table nor status knows a password.
    site.estate.run(&["vault", "show", "vault.yml"]).ended(0, &["previous", "robot-a"]).without(&[OLD, NEW]);
    site.estate.there(&["status", "inventory.yml", "--audit-key", "audit.txt"]).ended(0, &["1 same"]).without(&[OLD, NEW]);
}
