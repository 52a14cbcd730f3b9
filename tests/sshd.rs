//! `regprov apply` over real OpenSSH sshd: shells, keys, host keys, exit codes, signals.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet::{Fleet, Options, Site, signal, wait_until};
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
