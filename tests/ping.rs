//! `regprov ping` against real sshd: behind jump hosts and through sudo, past hosts that are skipped or stalled, and stopped by a person.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/sudo.rs"]
mod sudo;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use fleet::{Fleet, Options, Ran, Site, signal, wait_until};
use sudo::{SUDO_PASSWORD, bed, seal};

fn connections(fleet: &Fleet, node: usize) -> usize {
    fleet.log(node).matches("Connection from").count()
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn through_a_jump_host_and_sudo() {
    let Some((fleet, site)) = bed(4, Options { sshd: "MaxSessions 1", ..Options::default() }, "ops ALL=(root) ALL") else { return };
    seal(&site, SUDO_PASSWORD);
    site.inventory(&fleet, "user: ops\n    become: true\n    targets: [docker]\n    jump: n0", "");
    let before: Vec<_> = fleet.nodes.iter().map(|n| n.snapshot()).collect();
    site.run(&["ping", "inventory.yml", "--limit", "n[1-3]"]).ended(0, &["3 hosts: 3 reached", "/root/.docker"]);
    assert_eq!((0..4).map(|n| connections(&fleet, n)).collect::<Vec<_>>(), [1; 4]);
    assert!(before.iter().zip(&fleet.nodes).all(|(b, n)| *b == n.snapshot()), "nothing was written");

    seal(&site, "wrong");
    let ran = site.run(&["ping", "inventory.yml", "--limit", "n[1-3]", "--forks", "1", "--json"]).ended(7, &["not_attempted", "was refused on n1"]);
    let doc: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let outcomes: Vec<&str> = (0..3).map(|i| doc["hosts"][i]["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failed", "not_attempted", "not_attempted"]);
    assert_eq!((connections(&fleet, 2), connections(&fleet, 3)), (1, 1), "nobody else was asked");

    site.known_hosts("");
    site.run(&["ping", "inventory.yml", "--limit", "n1"]).ended(4, &["unreachable at handshake: through n0: the host's key is not known", "1 unreachable"]);
}

#[test]
#[ignore = "needs sshd and dash"]
fn a_host_that_its_source_calls_down_is_skipped() {
    let Some(fleet) = Fleet::start(2, Options::default()) else { return };
    let site = Site::new(&fleet);
    // simulated: a sinfo that calls n1 down.
    fs::create_dir(site.path("bin")).unwrap();
    fs::write(site.path("bin/sinfo"), "#!/bin/sh\nprintf 'n0|gpu|idle|none\\nn1|gpu|down*|fan failed\\n'\n").unwrap();
    fs::set_permissions(site.path("bin/sinfo"), fs::Permissions::from_mode(0o755)).unwrap();
    let hosts: String = fleet.nodes.iter().enumerate().map(|(i, n)| format!("  n{i}: {{address: {}}}\n", n.address)).collect();
    let group = "  nodes: {hosts: [{slurm: {}}], logins: [ngc], targets: [docker]}\n";
    fs::write(site.path("inventory.yml"), format!("version: 1\nvault: vault.yml\ndefaults: {{port: {}}}\ngroups:\n{group}hosts:\n{hosts}", fleet.port))
        .unwrap();
    let mut command = site.command(&["ping", "inventory.yml"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", site.path("bin").display()));
    Ran::from(command.output().unwrap()).ended(0, &["skipped: ", "fan failed", "2 hosts: 1 reached, 1 skipped"]);
    assert_eq!((connections(&fleet, 0), connections(&fleet, 1)), (1, 0));
}

/// Nodes whose login shell comes late: one second is a deadline for them, and a person who has seen enough need not wait for them.
#[test]
#[ignore = "needs sshd and dash"]
fn stalled_nodes_have_a_deadline_and_a_person_can_stop() {
    let Some(fleet) = Fleet::start(3, Options { shells: "dash slow dash", slow: 600, ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    let start = Instant::now();
    let ran = site
        .run(&["ping", "inventory.yml", "--command-timeout", "2"])
        .ended(3, &["failed at observe: the node gave no answer within 2 s", "2 reached, 1 failed"]);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?} {}", start.elapsed(), ran.all());
    site.run(&["ping", "inventory.yml", "--host-timeout", "2"]).ended(4, &["not done within 2 s", "2 reached, 1 unreachable"]);

    for (number, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let before = connections(&fleet, 1);
        let child = site.command(&["ping", "inventory.yml", "--limit", "n[0-1]", "--json"]).spawn().unwrap();
        wait_until("it waits for the slow one", || connections(&fleet, 1) > before && fleet.nodes[1].processes().iter().any(|(_, name)| name == "slow"));
        wait_until("it is done with the other one", || fleet.nodes[0].processes().is_empty());
        let start = Instant::now();
        signal(&child, number);
        let ran = Ran::from(child.wait_with_output().unwrap()).ended(code, &["stopped by a signal"]);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        let doc: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&doc["hosts"][0]["outcome"], &doc["hosts"][1]["outcome"]), (&"reached".into(), &"not_attempted".into()), "{}", ran.all());
    }
    wait_until("nothing runs on", || fleet.nodes.iter().all(|n| n.processes().iter().all(|(_, name)| name == "sleep" || name == "slow")));
}
