//! Nodes on which an ordinary user `ops` may use the real sudo, as the test's sudoers lines say.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::io::Write as _;
use std::process::Stdio;

use super::fleet::{Fleet, Node, Options, Ran, Site};
use super::peers::need;

/// The password of the user `ops` on the nodes.
pub(crate) const SUDO_PASSWORD: &str = "sudo pass'word#7391";
/// What stands in a file that regprov wrote.
pub(crate) const WRITTEN: &str = "https://index.docker.io/v1/";

/// Nodes with a user `ops`, who may become root with a password, and a site that logs in as ops.
pub(crate) fn bed(n: usize, options: Options<'_>, sudoers: &str) -> Option<(Fleet, Site)> {
    need("sudo")?;
    need("nsenter")?;
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        // sudo works only where root is root.
        need("a real root user")?;
    }
    let fleet = Fleet::start(n, options)?;
    for node in &fleet.nodes {
        sh(node, &format!("useradd -m -s /bin/sh ops && useradd -m -s /bin/sh alice && echo 'ops:{}' | chpasswd", SUDO_PASSWORD.replace('\'', "'\\''")));
        rules(node, sudoers);
    }
    let site = Site::new(&fleet);
    site.inventory(&fleet, "user: ops\n    become: true\n    targets: [docker]", "");
    Some((fleet, site))
}

/// Runs a script as root on a node.
#[track_caller]
pub(crate) fn sh(node: &Node, script: &str) -> String {
    let out = std::process::Command::new("nsenter").args(["-t", &node.pid.to_string(), "-m", "-p", "--", "sh", "-c", script]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Puts lines of sudoers in place of all others on a node; visudo must take them. Failed attempts go to /etc/fleet/sudo.log.
#[track_caller]
pub(crate) fn rules(node: &Node, lines: &str) {
    node.write("/etc/sudoers", format!("Defaults !fqdn, logfile=/etc/fleet/sudo.log\nroot ALL=(ALL:ALL) ALL\n{lines}\n"));
    sh(node, "chmod 440 /etc/sudoers && visudo -c -q");
}

/// The sudo log of a node.
pub(crate) fn log(node: &Node) -> String {
    String::from_utf8(node.read("/etc/fleet/sudo.log").unwrap_or_default()).unwrap()
}

/// Failed attempts in the sudo log of a node.
pub(crate) fn failures(node: &Node) -> usize {
    log(node).matches("incorrect password attempt").count()
}

/// Seals the password of sudo in the site's vault.
pub(crate) fn seal(site: &Site, password: &str) {
    let mut child = site.command(&["vault", "set", "vault.yml", "--become"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    Ran::from(child.wait_with_output().unwrap()).ended(0, &["the password of sudo is sealed"]);
}

#[track_caller]
pub(crate) fn written(node: &Node) -> bool {
    node.read("/root/.docker/config.json").is_some_and(|f| String::from_utf8_lossy(&f).contains(WRITTEN))
}
