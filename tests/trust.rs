//! `regprov trust` against real sshd: what it shows, what it writes, and when it writes nothing.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use fleet::{Fleet, Options, Ran, Site};
use peers::need;
use sha2::{Digest as _, Sha256};

/// As ssh-keygen -l prints it, computed here.
fn fingerprint(key: &str) -> String {
    let blob = STANDARD.decode(key.split(' ').nth(1).unwrap()).unwrap();
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

fn trust(site: &Site, flags: &[&str]) -> Ran {
    site.run(&[&["trust", "inventory.yml"], flags].concat())
}

fn known(site: &Site) -> String {
    fs::read_to_string(site.path("home/.ssh/known_hosts")).unwrap_or_default()
}

/// Somebody else's key, `ssh-ed25519 AAAA...`.
fn other(site: &Site) -> String {
    let file = site.path("other");
    if !file.exists() {
        assert!(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "x", "-f"]).arg(&file).status().unwrap().success());
    }
    fs::read_to_string(file.with_extension("pub")).unwrap().rsplit_once(' ').unwrap().0.to_string()
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn without_a_terminal_only_fingerprints_that_were_given_are_learned() {
    let options = Options { host_keys: "ed25519 ecdsa rsa", sshd: "LogLevel DEBUG1", ..Options::default() };
    let Some(fleet) = Fleet::start(2, options) else { return };
    let site = Site::new(&fleet);
    site.known_hosts("# mine");
    let keys = ["ed25519", "ecdsa", "rsa"].map(|kind| fleet.host_key(kind));
    let prints = keys.each_ref().map(|key| fingerprint(key));

    // It needs no key of ours, and logs in nowhere.
    fs::rename(site.path("home/.ssh/id_ed25519"), site.path("id")).unwrap();
    let mut words: Vec<&str> = prints.iter().map(String::as_str).collect();
    words.extend(["ecdsa-sha2-nistp256", "ssh-rsa", "new", "not learned: n0, n1", "no --fingerprint was given"]);
    trust(&site, &[]).ended(3, &words);
    trust(&site, &["--fingerprint", &fingerprint(&other(&site))]).ended(3, &["no --fingerprint fits"]);
    trust(&site, &["--fingerprint", "SHA256:short"]).ended(2, &["no fingerprint as"]);
    assert_eq!(known(&site), "# mine", "nothing was written");

    trust(&site, &["--fingerprint", &prints[0], "--limit", "n0"]).ended(0, &["1 key was added"]);
    let name = |i: usize| format!("[{}]:{}", fleet.nodes[i].address, fleet.port);
    let first = format!("# mine\n{} {}\n", name(0), keys[0]);
    assert_eq!(known(&site), first);
    // What is known stays as it is, and its other keys are not needed.
    trust(&site, &["--limit", "n0"]).ended(0, &["known", "the host is known by another key"]);
    assert_eq!(known(&site), first);
    trust(&site, &["--fingerprint", &prints[2], "--fingerprint", &prints[1]]).ended(0, &["2 keys were added"]);
    assert_eq!(known(&site), format!("{first}{0} {1}\n{0} {2}\n", name(1), keys[1], keys[2]));
    for node in 0..2 {
        assert_eq!(fleet.log(node).matches("userauth-request").count(), 0, "{}", fleet.log(node));
    }

    fs::rename(site.path("id"), site.path("home/.ssh/id_ed25519")).unwrap();
    site.apply(&["--check"]).ended(0, &["would be changed: n[0-1]"]);
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn changed_revoked_and_pinned_keys_are_shown_and_left_alone() {
    let Some(fleet) = Fleet::start(2, Options::default()) else { return };
    let site = Site::new(&fleet);
    let (key, other) = (fleet.host_key("ed25519"), other(&site));
    let name = format!("[{}]:{}", fleet.nodes[0].address, fleet.port);
    let print = fingerprint(&key);
    for (lines, words) in [
        (format!("{name} {other}\n"), ["CHANGED: another key in ", "known_hosts:1", "ssh-keygen -f "]),
        (format!("@revoked * {key}\n"), ["REVOKED in ", "known_hosts:1", "is not learned"]),
    ] {
        site.known_hosts(&lines);
        trust(&site, &["--limit", "n0", "--fingerprint", &print]).ended(3, &words);
        assert_eq!(known(&site), lines);
    }
    // The line that it prints does what it says.
    site.known_hosts(&format!("{name} {other}\n"));
    let told = trust(&site, &["--limit", "n0"]);
    let line = told.stderr.split("ssh-keygen ").nth(1).unwrap().lines().next().unwrap().to_string();
    let forgot = Command::new("sh").arg("-c").arg(format!("ssh-keygen {line}")).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(forgot.success(), "{line}");
    trust(&site, &["--limit", "n0", "--fingerprint", &print]).ended(0, &["1 key was added"]);
    assert_eq!(known(&site), format!("{name} {key}\n"));

    let text = fs::read_to_string(site.path("inventory.yml")).unwrap();
    let pinned =
        text.replace(&format!("n1: {{address: {}}}", fleet.nodes[1].address), &format!("n1: {{address: {}, host_key: \"{other}\"}}", fleet.nodes[1].address));
    assert_ne!(pinned, text);
    fs::write(site.path("inventory.yml"), pinned).unwrap();
    trust(&site, &["--limit", "n1"]).ended(0, &["pinned in the inventory", &fingerprint(&other)]);
    assert!(!fleet.log(1).contains("Connection from"), "a pinned host is not even asked");
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn two_runs_at_once_both_append() {
    let Some(fleet) = Fleet::start(8, Options::default()) else { return };
    let site = Site::new(&fleet);
    site.known_hosts("# no line break at its end");
    let print = fingerprint(&fleet.host_key("ed25519"));
    let start = |limit| site.command(&["trust", "inventory.yml", "--limit", limit, "--fingerprint", &print]).spawn().unwrap();
    for run in [start("n[0-4]"), start("n[3-7]")] {
        Ran::from(run.wait_with_output().unwrap()).ended(0, &[]);
    }
    let text = known(&site);
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.remove(0), "# no line break at its end");
    lines.sort_unstable();
    let mut want: Vec<String> = fleet.nodes.iter().map(|n| format!("[{}]:{} {}", n.address, fleet.port, fleet.host_key("ed25519"))).collect();
    want.sort_unstable();
    assert_eq!(lines, want, "each line once");
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn what_cannot_be_written_or_reached_is_told() {
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let site = Site::new(&fleet);
    let print = fingerprint(&fleet.host_key("ed25519"));
    fs::create_dir(site.path("dir")).unwrap();
    trust(&site, &["--fingerprint", &print, "--known-hosts", "new/file"]).ended(0, &["1 key was added to new/file"]);
    assert!(fs::read_to_string(site.path("new/file")).unwrap().contains(&fleet.host_key("ed25519")));
    // A file below a file cannot be made by anybody, root included.
    fs::write(site.path("plain"), "").unwrap();
    trust(&site, &["--fingerprint", &print, "--known-hosts", "plain/file"]).ended(3, &["plain/file cannot be written", "no key was learned"]);

    site.known_hosts("");
    let group = "targets: [docker]\n  dead: {hosts: dead, logins: [hub], targets: [docker]}";
    site.inventory(&fleet, group, &format!("  dead: {{address: 127.0.0.1, port: {}}}\n", fleet.port));
    trust(&site, &["--fingerprint", &print]).ended(4, &["1 key was added", "unreachable at connect: connection refused"]);
    trust(&site, &[]).ended(4, &["known", "unreachable at connect"]);
}

#[test]
#[ignore = "needs sshd, dash, ssh-keygen and script"]
fn a_person_says_yes_and_nothing_else() {
    let Some(script) = need("script") else { return };
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let site = Site::new(&fleet);
    let answer = |text: &str| {
        let line = format!("{} trust inventory.yml", env!("CARGO_BIN_EXE_regprov"));
        let mut command = site.command(&[]);
        let env: Vec<_> = command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
        command = Command::new(&script);
        command.args(["-qec", &line, "/dev/null"]).current_dir(site.dir.path()).env_clear().envs(env);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        drop(stdin);
        ran
    };
    site.known_hosts("");
    for no in ["\n", "y\n", "no\n", "YES\n"] {
        answer(no).ended(3, &["Type yes to add this new key", "you did not say yes"]);
        assert_eq!(known(&site), "", "{no:?}");
    }
    answer("yes\n").ended(0, &["1 key was added"]);
    assert_eq!(known(&site), format!("[{}]:{} {}\n", fleet.nodes[0].address, fleet.port, fleet.host_key("ed25519")));
    // Nothing is asked any more.
    trust(&site, &[]).ended(0, &["known"]);
}
