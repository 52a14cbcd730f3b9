//! What a person is asked for on a terminal, once each, and that what is waited for meanwhile costs no host its deadline. Against real
//! sshd and the real sudo.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/sudo.rs"]
mod sudo;
#[path = "common/terminal.rs"]
mod terminal;

use std::fs;
use std::process::Command;
use std::time::Duration;

use fleet::{Fleet, Options, Site, wait_until};
use peers::need;
use sudo::{SUDO_PASSWORD, bed, failures, log, seal, sh, written};
use terminal::converse;

const APPLY: [&str; 2] = ["apply", "inventory.yml"];

#[test]
#[ignore = "needs sshd, dash, ssh-keygen and script"]
fn a_passphrase_is_asked_for_once_whatever_hosts_want_its_key() {
    let Some(keygen) = need("ssh-keygen") else { return };
    let Some(fleet) = Fleet::start(6, Options::default()) else { return };
    let site = Site::new(&fleet);
    let key = site.path("home/.ssh/id_ed25519");
    let sealed = Command::new(keygen).args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"]).arg(&key).status().unwrap();
    assert!(sealed.success());
    let prompt = format!("passphrase of {}: ", key.display());
    let asked = |ran: &fleet::Ran| ran.stdout.matches("passphrase of ").count();

    let Some(ran) = converse(&site, &APPLY, &[(&prompt, "open sesame\n")]) else { return };
    assert_eq!(asked(&ran), 1, "{}", ran.all());
    assert!(!ran.stdout.contains("open sesame"));
    ran.ended(0, &["6 hosts: 6 changed"]);
    // The same file by each host's own name for it is one file, asked for once.
    site.inventory(&fleet, "targets: [docker]\n    ssh_key: ~/.ssh/id_ed25519\n  again:\n    hosts: n[0-2]\n    logins: [ngc]\n    targets: [docker]", "");
    let ran = converse(&site, &APPLY, &[("passphrase of ", "open sesame\n")]).unwrap();
    assert_eq!(asked(&ran), 1, "{}", ran.all());
    ran.ended(0, &["6 hosts: 6 unchanged"]);

    let connections = || (0..6).map(|n| fleet.log(n).matches("Connection from").count()).sum::<usize>();
    let before = connections();
    let ran = converse(&site, &APPLY, &[("passphrase of ", "Wr0ng-one\n")]).unwrap();
    assert_eq!((asked(&ran), connections()), (1, before), "{}", ran.all());
    assert!(!ran.stdout.contains("Wr0ng-one"));
    ran.ended(2, &["id_ed25519", "passphrase"]);
}

#[test]
#[ignore = "needs sshd, sudo, root and script"]
fn the_password_of_sudo_is_typed_once() {
    let Some((fleet, site)) = bed(4, Options::default(), "ops ALL=(root) ALL") else { return };
    let args = ["apply", "inventory.yml", "-K"];
    let Some(ran) = converse(&site, &[&args[..], &["--forks", "2"]].concat(), &[("password of sudo: ", "Wr0ng-one\n")]) else { return };
    assert_eq!(ran.stdout.matches("password of sudo: ").count(), 1);
    assert!(!ran.stdout.contains("Wr0ng-one"), "{}", ran.all());
    ran.ended(7, &["sudo did not take the password", "the sudo password was refused on n", "4 hosts: 2 failed, 2 not attempted"]);
    wait_until("sudo has logged it", || fleet.nodes.iter().any(|n| failures(n) > 0));
    assert_eq!(fleet.nodes.iter().map(|n| log(n).matches("1 incorrect password attempt").count()).sum::<usize>(), 1);
    assert!(!fleet.nodes.iter().any(written));

    // What is typed goes before what the vault holds.
    seal(&site, "not this one");
    let ran = converse(&site, &args, &[("password of sudo: ", &format!("{SUDO_PASSWORD}\n"))]).unwrap();
    assert!(!ran.stdout.contains(SUDO_PASSWORD));
    ran.ended(0, &["4 hosts: 4 changed"]);
    assert!(fleet.nodes.iter().all(written));
}

/// `openssl passwd -6 -salt fleetfleet 'correct horse'`
const SHADOW: &str = "$6$fleetfleet$YbChveAsXdDuCmadv03qkN6Oi5bZ74QRHSFjV67MLcUgknjjyTZ5XhYlnkLAamjk5zgID/e2TZbNB4mM7kGjh.";

#[test]
#[ignore = "needs sshd, dash and script"]
fn a_refused_ssh_password_leaves_the_rest_not_attempted() {
    let sshd = "AuthenticationMethods password\nPasswordAuthentication yes\nPermitRootLogin yes";
    let Some(fleet) = Fleet::start(6, Options { sshd, ..Options::default() }) else { return };
    for node in &fleet.nodes {
        node.write("/etc/shadow", format!("root:{SHADOW}:19000:0:99999:7:::\n"));
    }
    let site = Site::new(&fleet);
    let args = ["apply", "inventory.yml", "--ask-pass", "--forks", "1"];
    let Some(ran) = converse(&site, &args, &[("SSH password: ", "wrong\n")]) else { return };
    ran.ended(7, &["the SSH password was refused on n0", "not attempted:", "n[1-5]", "6 hosts: 1 unreachable, 5 not attempted"]);
    let log: String = (0..6).map(|n| fleet.log(n)).collect();
    assert_eq!((log.matches("Failed password for root").count(), log.matches("Connection from").count()), (1, 1), "{log}");
}

/// Each host's sudo takes two seconds to think, as with a slow directory service behind PAM; the password goes to one host, then to two,
/// to four. Whoever waits for its turn waits for longer than its deadlines, and is none the worse for it.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn waiting_for_the_turn_of_sudo_s_password_costs_no_deadline() {
    let Some((fleet, site)) = bed(20, Options::default(), "ops ALL=(root) ALL") else { return };
    seal(&site, SUDO_PASSWORD);
    for node in &fleet.nodes {
        node.write("/etc/pam.d/sudo", "auth required pam_unix.so\nauth optional pam_exec.so quiet /etc/fleet/think\naccount required pam_unix.so\n");
        node.write("/etc/fleet/think", "#!/bin/sh\nexec sleep 2\n");
        sh(node, "chmod 755 /etc/fleet/think");
    }
    let start = std::time::Instant::now();
    site.apply(&["--host-timeout", "7", "--command-timeout", "5"]).ended(0, &["20 hosts: 20 changed"]);
    assert!(start.elapsed() > Duration::from_secs(8), "nobody waited for longer than the deadlines: {:?}", start.elapsed());
    assert!(fleet.nodes.iter().all(written));
    // The deadline of the one who is slow itself holds all the same, and what it was sent counts as refused, since nobody has taken it yet.
    sh(&fleet.nodes[0], "printf '#!/bin/sh\\nexec sleep 60\\n' >/etc/fleet/think");
    site.apply(&["--host-timeout", "7", "--command-timeout", "5", "--limit", "n0"])
        .ended(7, &["sudo let nobody in within 5 s", "the sudo password was refused on n0"]);
}

/// The same for the password of SSH.
#[test]
#[ignore = "needs sshd, sudo, root and script"]
fn waiting_for_the_turn_of_the_ssh_password_costs_no_deadline() {
    let sshd = "UsePAM yes\nAuthenticationMethods password\nPasswordAuthentication yes\nPermitRootLogin yes";
    let Some((fleet, site)) = bed(8, Options { sshd, ..Options::default() }, "") else { return };
    for node in &fleet.nodes {
        node.write("/etc/shadow", format!("root:{SHADOW}:19000:0:99999:7:::\n"));
        node.write("/etc/fleet/think", "#!/bin/sh\nexec sleep 2\n");
        sh(node, "chmod 755 /etc/fleet/think");
        let session = "account required pam_unix.so\nsession required pam_permit.so\n";
        node.write("/etc/pam.d/sshd", format!("auth required pam_unix.so\nauth optional pam_exec.so quiet /etc/fleet/think\n{session}"));
    }
    site.inventory(&fleet, "targets: [docker]", "");
    let start = std::time::Instant::now();
    let args = ["apply", "inventory.yml", "--ask-pass", "--host-timeout", "5"];
    let Some(ran) = converse(&site, &args, &[("SSH password: ", "correct horse\n")]) else { return };
    ran.ended(0, &["8 hosts: 8 changed"]);
    assert!(start.elapsed() > Duration::from_secs(6), "nobody waited for longer than the deadline: {:?}", start.elapsed());
}

/// A bastion asks a person who takes a while: all hosts behind it wait, and none is late for it.
#[test]
#[ignore = "needs sshd, dash and script"]
fn a_person_who_thinks_costs_no_host_its_deadline() {
    let Some(nodes) = Fleet::start(4, Options::default()) else { return };
    let authorized = fs::read_to_string(nodes.key().with_extension("pub")).unwrap();
    let sshd = "AuthenticationMethods publickey,password\nPasswordAuthentication yes\nPermitRootLogin yes";
    let Some(bastion) = Fleet::start(1, Options { sshd, authorized: &authorized, ..Options::default() }) else { return };
    bastion.nodes[0].write("/etc/shadow", format!("root:{SHADOW}:19000:0:99999:7:::\n"));
    let site = Site::new(&nodes);
    let known = fs::read_to_string(site.path("home/.ssh/known_hosts")).unwrap();
    let at = format!("{}:{}", bastion.nodes[0].address, bastion.port);
    site.known_hosts(&format!("{known}[{}]:{} {}\n", bastion.nodes[0].address, bastion.port, bastion.host_key("ed25519")));
    site.inventory(&nodes, &format!("targets: [docker]\n    jump: [\"{at}\"]"), "");
    let late = terminal::Late(Duration::from_secs(4));
    let args = ["apply", "inventory.yml", "--host-timeout", "3", "--auth-timeout", "2"];
    let Some(ran) = terminal::converse_slowly(&site, &args, &[("password of root on ", "correct horse\n")], late) else { return };
    assert_eq!(ran.stdout.matches("password of root on ").count(), 1, "{}", ran.all());
    ran.ended(0, &["4 hosts: 4 changed"]);
    assert_eq!(bastion.log(0).matches("Accepted password").count(), 1);
}
