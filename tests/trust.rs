//! `regprov trust` against real sshd: what it shows, what it writes, and when it writes nothing.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/terminal.rs"]
mod terminal;

use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use fleet::{Fleet, Options, Ran, Site};
use peers::need;
use sha2::{Digest as _, Sha256};
use terminal::converse;

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
    words.extend(["ecdsa-sha2-nistp256", "ssh-rsa", "new", "not learned: n[0-1]", "no --fingerprint was given"]);
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
    let Some(_) = need("script") else { return };
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let site = Site::new(&fleet);
    let answer = |text: &str| converse(&site, &["trust", "inventory.yml"], &[("Type yes to add this new key", text)]).unwrap();
    site.known_hosts("");
    for no in ["\n", "y\n", "no\n", "YES\n"] {
        answer(no).ended(3, &["you did not say yes"]);
        assert_eq!(known(&site), "", "{no:?}");
    }
    answer("yes\n").ended(0, &["1 key was added"]);
    assert_eq!(known(&site), format!("[{}]:{} {}\n", fleet.nodes[0].address, fleet.port, fleet.host_key("ed25519")));
    // Nothing is asked any more.
    trust(&site, &[]).ended(0, &["known"]);
}

/// A server that lets in who the nodes of another fleet let in, with a host key of its own.
fn bastion(nodes: &Fleet) -> Option<Fleet> {
    let authorized = fs::read_to_string(nodes.key().with_extension("pub")).unwrap();
    Fleet::start(1, Options { sshd: "LogLevel DEBUG1", authorized: &authorized, ..Options::default() })
}

fn name(fleet: &Fleet, node: usize) -> String {
    format!("[{}]:{}", fleet.nodes[node].address, fleet.port)
}

fn line(fleet: &Fleet, node: usize) -> String {
    format!("{} {}\n", name(fleet, node), fleet.host_key("ed25519"))
}

/// The nodes behind a chain of jump hosts.
fn behind(site: &Site, nodes: &Fleet, chain: &[&Fleet]) {
    let hops: Vec<String> = chain.iter().map(|b| format!("\"{}:{}\"", b.nodes[0].address, b.port)).collect();
    site.inventory(nodes, &format!("targets: [docker]\n    jump: [{}]", hops.join(", ")), "");
}

fn logins(fleet: &Fleet, node: usize) -> usize {
    fleet.log(node).matches("Accepted publickey").count()
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn hosts_behind_a_chain_are_learned_after_those_on_the_way() {
    let Some(nodes) = Fleet::start(2, Options { sshd: "LogLevel DEBUG1", ..Options::default() }) else { return };
    let (Some(outer), Some(inner)) = (bastion(&nodes), bastion(&nodes)) else { return };
    let site = Site::new(&nodes);
    behind(&site, &nodes, &[&outer, &inner]);
    let prints = [&outer, &inner, &nodes].map(|f| fingerprint(&f.host_key("ed25519")));
    let all = || [line(&outer, 0), line(&inner, 0), line(&nodes, 0), line(&nodes, 1)].concat();

    // Nobody says that the first one is right: nothing is logged in to, and the others are not even shown.
    site.known_hosts("");
    let ran = trust(&site, &[]).ended(3, &[&prints[0], "not learned: ", "no --fingerprint was given"]);
    assert!(!ran.all().contains(&prints[1]) && !ran.all().contains(&prints[2]), "{}", ran.all());
    assert_eq!((known(&site), logins(&outer, 0)), (String::new(), 0));

    // The first one only: it is logged in to then, the second one shows its key, and that is the end.
    trust(&site, &["--fingerprint", &prints[0]]).ended(3, &[&prints[0], &prints[1], "1 key was added", "no --fingerprint fits"]);
    assert_eq!(known(&site), line(&outer, 0));
    assert!(logins(&outer, 0) > 0 && logins(&inner, 0) == 0);

    site.known_hosts("");
    let flags: Vec<&str> = prints.iter().flat_map(|p| ["--fingerprint", p]).collect();
    trust(&site, &flags).ended(0, &[&prints[0], &prints[1], &prints[2], "1 key was added", "2 keys were added"]);
    assert_eq!(known(&site), all());
    for node in 0..2 {
        assert_eq!(nodes.log(node).matches("userauth-request").count(), 0, "the hosts themselves are not logged in to");
    }
    site.apply(&[]).ended(0, &["changed: n[0-1] (2)"]);

    // A person says yes for each, in the order in which they can be asked.
    site.known_hosts("");
    let yes = ("Type yes to add this new key", "yes\n");
    let Some(ran) = converse(&site, &["trust", "inventory.yml"], &[yes, yes, ("Type yes to add these 2 new keys", "yes\n")]) else { return };
    ran.ended(0, &[]);
    assert_eq!(known(&site), all());
    site.known_hosts("");
    converse(&site, &["trust", "inventory.yml"], &[yes, ("Type yes to add this new key", "no\n")]).unwrap().ended(3, &["you did not say yes"]);
    assert_eq!(known(&site), line(&outer, 0), "the others cannot be asked without it");
}

/// Two ways: what lies behind the one that is not learned waits, what lies behind the other one does not.
#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn one_way_that_is_not_learned_leaves_the_other_one_open() {
    let Some(nodes) = Fleet::start(3, Options::default()) else { return };
    let (Some(good), Some(strange)) = (bastion(&nodes), bastion(&nodes)) else { return };
    let site = Site::new(&nodes);
    let at = |b: &Fleet| format!("[\"{}:{}\"]", b.nodes[0].address, b.port);
    behind(&site, &nodes, &[&good]);
    let text = fs::read_to_string(site.path("inventory.yml")).unwrap();
    let (n1, n2) = (&nodes.nodes[1].address, &nodes.nodes[2].address);
    let text = text.replace(&format!("{{address: {n1}}}"), &format!("{{address: {n1}, jump: {}}}", at(&strange)));
    let text = text.replace(&format!("{{address: {n2}}}"), &format!("{{address: {n2}, jump: none}}"));
    fs::write(site.path("inventory.yml"), text).unwrap();
    let prints = [&good, &nodes].map(|f| fingerprint(&f.host_key("ed25519")));

    for learned_before in [false, true] {
        let mut want = line(&good, 0);
        site.known_hosts(if learned_before { &want } else { "" });
        let words = ["not learned: 127.", "no --fingerprint fits", "2 keys were added", "unreachable at handshake: through "];
        let ran = trust(&site, &["--fingerprint", &prints[0], "--fingerprint", &prints[1]]).ended(3, &words);
        assert_eq!(ran.all().matches("not learned: ").count(), 1, "it is told once: {}", ran.all());
        want += &(line(&nodes, 0) + &line(&nodes, 2));
        assert_eq!(known(&site), want);
        assert_eq!(logins(&strange, 0), 0);
    }
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn a_changed_key_on_the_way_closes_it() {
    let Some(nodes) = Fleet::start(1, Options::default()) else { return };
    let (Some(outer), Some(inner)) = (bastion(&nodes), bastion(&nodes)) else { return };
    let site = Site::new(&nodes);
    let prints = [&outer, &inner, &nodes].map(|f| fingerprint(&f.host_key("ed25519")));
    let flags: Vec<&str> = prints.iter().flat_map(|p| ["--fingerprint", p]).collect();
    let changed = |fleet: &Fleet| format!("{} {}\n", name(fleet, 0), other(&site));

    behind(&site, &nodes, &[&outer]);
    site.known_hosts(&changed(&outer));
    trust(&site, &flags).ended(3, &["CHANGED: another key in ", "known_hosts:1", "unreachable at handshake: through ", "ssh-keygen -f "]);
    assert_eq!((known(&site), logins(&outer, 0)), (changed(&outer), 0), "a fingerprint that was given replaces nothing");

    // In the middle of a chain: what lies before it is learned all the same.
    behind(&site, &nodes, &[&outer, &inner]);
    site.known_hosts(&changed(&inner));
    trust(&site, &flags).ended(3, &["1 key was added", "CHANGED: another key in ", "unreachable at handshake: through "]);
    assert_eq!(known(&site), changed(&inner) + &line(&outer, 0));
    assert_eq!(logins(&inner, 0), 0);
}

#[test]
#[ignore = "needs sshd, ssh, dash and ssh-keygen"]
fn hosts_behind_a_proxy_command_are_asked_through_it() {
    let (Some(_), Some(nodes)) = (need("ssh"), Fleet::start(2, Options { sshd: "LogLevel DEBUG1", ..Options::default() })) else { return };
    let Some(gate) = bastion(&nodes) else { return };
    let site = Site::new(&nodes);
    // ssh itself knows the gate; regprov does not care.
    fs::write(site.path("gate_known"), line(&gate, 0)).unwrap();
    let (key, gate_known) = (site.path("home/.ssh/id_ed25519"), site.path("gate_known"));
    let options = format!("-F none -p {} -i {} -o UserKnownHostsFile={} root@{}", gate.port, key.display(), gate_known.display(), gate.nodes[0].address);
    site.inventory(&nodes, &format!("targets: [docker]\n    proxy_command: ssh -W [%h]:%p {options}"), "");
    let print = fingerprint(&nodes.host_key("ed25519"));
    site.known_hosts("");
    trust(&site, &[]).ended(3, &[&print, "not learned: n[0-1]"]);
    trust(&site, &["--fingerprint", &print]).ended(0, &["2 keys were added"]);
    assert_eq!(known(&site), line(&nodes, 0) + &line(&nodes, 1));
    assert!((0..2).all(|n| nodes.log(n).matches("userauth-request").count() == 0));
    site.apply(&["--check"]).ended(0, &["would be changed: n[0-1] (2)"]);
    site.inventory(&nodes, "targets: [docker]\n    proxy_command: sh -c 'echo closed >&2; exit 3'", "");
    trust(&site, &[]).ended(4, &["unreachable at "]);
}
