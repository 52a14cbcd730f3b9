//! What regprov owns on real sshd nodes, root's and a user's: seen by `status` without a trace, and taken by `remove` and `--prune` with the
//! rights with which it was written.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/sudo.rs"]
mod sudo;

use std::fs;

use fleet::{Fleet, Options, Ran, Site};
use sudo::{bed, sh};

const ROOT_S: &str = "/root/.docker/config.json";
const ALICE_S: &str = "/home/alice/.docker/config.json";
const RECORD: &str = "/var/lib/regprov/owned.json";
const ALICE_S_RECORD: &str = "/home/alice/.local/state/regprov/owned.json";

/// An inventory with a name of its own.
fn inventory(site: &Site, fleet: &Fleet, group: &str) {
    site.inventory(fleet, group, "");
    let text = fs::read_to_string(site.path("inventory.yml")).unwrap();
    fs::write(site.path("inventory.yml"), text.replace("version: 1\n", "version: 1\nid: site\n")).unwrap();
}

/// Runs it without any identity.
fn bare(site: &Site, words: &[&str]) -> Ran {
    let (identity, away) = (site.path("home/.config/regprov/identity.txt"), site.path("away"));
    fs::rename(&identity, &away).unwrap();
    let ran = site.run(words);
    fs::rename(&away, &identity).unwrap();
    for (.., password) in fleet::PASSWORDS {
        assert!(!ran.all().contains(password), "{words:?} says a password");
    }
    ran
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn of_root_and_of_a_user_through_sudo_and_su() {
    let Some((fleet, site)) = bed(1, Options { sshd: "MaxSessions 1", ..Options::default() }, "ops ALL=(ALL) NOPASSWD: ALL") else { return };
    let node = &fleet.nodes[0];
    for (login, become_root) in [("root", false), ("ops", true)] {
        let who = format!("user: {login}\n    become: {become_root}\n    ");
        inventory(&site, &fleet, &format!("{who}targets: [docker, docker: {{user: alice}}]"));
        site.apply(&[]).ended(0, &["changed: n0"]);
        let before = node.snapshot();
        bare(&site, &["status", "inventory.yml"]).ended(0, &["same: n0 (1)"]);
        sh(node, &format!("chmod 640 {ALICE_S} && chown alice {ROOT_S}"));
        bare(&site, &["status", "inventory.yml"]).ended(10, &["~alice/.docker/config.json", "wrong mode: 0640 instead of 0600", "wrong owner: "]);
        sh(node, &format!("chmod 600 {ALICE_S} && chown root {ROOT_S}"));
        assert!(before == node.snapshot(), "nothing was written");

        // Alice's target changes its place, root's goes.
        inventory(&site, &fleet, &format!("{who}targets: [docker: {{user: alice, path: ~/other/auth.json}}]"));
        bare(&site, &["status", "inventory.yml"])
            .ended(10, &["left over: nvcr.io", "docker ~alice/.docker/config.json", "docker /root/.docker/config.json", "missing"]);
        site.apply(&["--prune", "--json"]).ended(0, &["~alice/.docker/config.json", "~alice/other/auth.json", "removed", "created"]);
        let left: Vec<&str> = [ROOT_S, ALICE_S, RECORD].into_iter().filter(|file| node.read(file).is_some()).collect();
        assert_eq!(left, Vec::<&str>::new(), "as {login}");
        let record = String::from_utf8(node.read(ALICE_S_RECORD).unwrap()).unwrap();
        assert!(record.contains("/home/alice/other/auth.json") && !record.contains("/.docker/"), "{record}");
        bare(&site, &["status", "inventory.yml"]).ended(0, &["same: n0 (1)"]);

        bare(&site, &["remove", "inventory.yml", "--all", "--check"]).ended(0, &["would be changed: n0"]);
        assert!(node.read("/home/alice/other/auth.json").is_some());
        bare(&site, &["remove", "inventory.yml", "--all"]).ended(0, &["changed: n0"]);
        assert!(["/home/alice/other/auth.json", ALICE_S_RECORD].iter().all(|file| node.read(file).is_none()));
        bare(&site, &["remove", "inventory.yml", "--all"]).ended(0, &["unchanged: n0"]);
        assert!(node.staged().is_empty());
    }
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_file_that_cannot_be_taken_away_is_told_and_not_forgotten() {
    let Some((fleet, site)) = bed(2, Options::default(), "") else { return };
    let node = &fleet.nodes[0];
    inventory(&site, &fleet, "user: root\n    targets: [docker, enroot]");
    site.apply(&[]).ended(0, &["changed: n[0-1]"]);
    // A file that is a mount point of itself is in nobody's power.
    sh(node, &format!("mount --bind {ROOT_S} {ROOT_S}"));
    let ran = bare(&site, &["remove", "inventory.yml", "--all", "--json"]).ended(3, &["the file could not be taken away: device or resource busy"]);
    let doc: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let changes = |host: usize| [0, 1].map(|file| doc["hosts"][host]["files"][file]["change"].as_str().unwrap().to_string());
    assert_eq!((changes(0), changes(1)), (["failed".into(), "removed".into()], ["removed".into(), "removed".into()]));
    let record = String::from_utf8(node.read(RECORD).unwrap()).unwrap();
    assert!(record.contains(ROOT_S) && !record.contains(".credentials"), "{record}");
    assert!(fleet.nodes[1].read(RECORD).is_none());
    sh(node, &format!("umount {ROOT_S}"));
    bare(&site, &["remove", "inventory.yml", "--all"]).ended(0, &["2 hosts: 1 changed, 1 unchanged"]);
    assert!([ROOT_S, RECORD].iter().all(|file| node.read(file).is_none()));
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_host_that_gets_nothing_and_lets_nobody_be_root_is_no_failure() {
    let Some((fleet, site)) = bed(1, Options::default(), "") else { return };
    inventory(&site, &fleet, "user: ops\n    targets: []");
    bare(&site, &["status", "inventory.yml"]).ended(0, &["same: n0 (1)"]);
    site.apply(&["--prune"]).ended(0, &["1 host: 1 unchanged"]);
    inventory(&site, &fleet, "user: root\n    targets: [docker]");
    site.apply(&[]).ended(0, &["1 changed"]);
    inventory(&site, &fleet, "user: root\n    targets: []");
    bare(&site, &["status", "inventory.yml"]).ended(10, &["left over"]);
    site.apply(&["--prune"]).ended(0, &["1 host: 1 changed"]);
    assert!([ROOT_S, RECORD].iter().all(|file| fleet.nodes[0].read(file).is_none()));
}
