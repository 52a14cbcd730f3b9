//! Hosts that are known by the authority that signs their certificates: real sshd, whole runs.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::process::{Command, Stdio};

use fleet::{Fleet, Options, Site, wait_until};
use peers::need;

/// A site with authorities `ca` and `ca2`, and a node that shows what they sign.
struct Bed {
    fleet: Fleet,
    site: Site,
}

impl Bed {
    fn new() -> Option<Bed> {
        need("ssh-keygen")?;
        let fleet = Fleet::start(1, Options { sshd: "LogLevel DEBUG1\nHostCertificate /etc/fleet/shown.pub", ..Options::default() })?;
        let bed = Bed { site: Site::new(&fleet), fleet };
        for file in ["ca", "ca2"] {
            bed.keygen(&["-t", "ed25519", "-N", "", "-C", "x", "-f", file]);
        }
        Some(bed)
    }

    fn keygen(&self, args: &[&str]) {
        let made = Command::new("ssh-keygen").arg("-q").args(args).current_dir(self.site.dir.path()).stdout(Stdio::null()).status().unwrap();
        assert!(made.success(), "{args:?}");
    }

    /// Lets the node show a certificate for its key, signed by `authority` in this way.
    fn show(&self, authority: &str, how: &[&str]) {
        fs::write(self.site.path("key.pub"), format!("{} host\n", self.fleet.host_key("ed25519"))).unwrap();
        self.keygen(&[&["-s", authority, "-I", "x"], how, &["key.pub"]].concat());
        let node = &self.fleet.nodes[0];
        node.write("/etc/fleet/shown.pub", fs::read(self.site.path("key-cert.pub")).unwrap());
        let listening = || self.fleet.log(0).matches("Server listening").count();
        let before = listening();
        // SAFETY: kill takes two numbers; the process is the node's sshd, which lives as long as the fleet.
        assert_eq!(unsafe { libc::kill(node.pid.cast_signed(), libc::SIGHUP) }, 0);
        wait_until("sshd has read its certificate", || listening() > before);
    }

    /// The `@cert-authority` line of an authority for some names.
    fn authority(&self, names: &str, file: &str) -> String {
        format!("@cert-authority {names} {}", fs::read_to_string(self.site.path(file).with_extension("pub")).unwrap())
    }

    fn known(&self, text: &str) {
        self.site.known_hosts(text);
    }

    fn log_ins(&self) -> usize {
        self.fleet.log(0).matches("userauth-request").count()
    }
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn a_host_is_known_by_its_authority() {
    let Some(bed) = Bed::new() else { return };
    let address = bed.fleet.nodes[0].address.clone();
    bed.show("ca", &["-h", "-n", &address]);
    // Nothing names the host, its port or its key.
    let line = bed.authority("127.*,!127.0.0.1", "ca");
    bed.known(&line);
    bed.site.run(&["trust", "inventory.yml"]).ended(0, &["known by its certificate"]);
    assert_eq!(bed.log_ins(), 0, "trust logs in nowhere");
    bed.site.apply(&[]).ended(0, &["changed: n0"]);
    bed.site.apply(&[]).ended(0, &["unchanged: n0"]);
    assert_eq!(fs::read_to_string(bed.site.path("home/.ssh/known_hosts")).unwrap(), line, "and nothing is learned");

    // A certificate for a name, by an alias.
    bed.show("ca", &["-h", "-n", "node.example"]);
    bed.known(&bed.authority("*.example", "ca"));
    let text = fs::read_to_string(bed.site.path("inventory.yml")).unwrap();
    fs::write(
        bed.site.path("inventory.yml"),
        text.replace(&format!("{{address: {address}}}"), &format!("{{address: {address}, host_key_alias: node.example}}")),
    )
    .unwrap();
    bed.site.apply(&[]).ended(0, &["unchanged: n0"]);
}

/// Each of these ends before anybody has said who they are.
#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn what_does_not_count_is_refused_before_a_log_in() {
    let Some(bed) = Bed::new() else { return };
    let address = bed.fleet.nodes[0].address.clone();
    let good = bed.authority("127.*", "ca");
    let mine = ["-h", "-n", &address];
    let expired = [&mine[..], &["-V", "20200101:20200201"]].concat();
    let early = [&mine[..], &["-V", "20400101:20410101"]].concat();
    for (authority, how, known, words) in [
        ("ca", &expired[..], good.clone(), "the host's certificate has expired"),
        ("ca", &early, good.clone(), "is not valid yet"),
        ("ca", &["-h", "-n", "other.example"], good.clone(), &format!("is not for the name {address}")),
        ("ca", &["-n", "root"], good.clone(), "is for a user, not for a host"),
        ("ca2", &mine, good.clone(), "which known_hosts does not have as @cert-authority"),
        ("ca", &mine, bed.authority("10.*", "ca"), "the host's key is not known"),
        ("ca", &mine, format!("@revoked * {}{good}", bed.authority("", "ca").split_once("  ").unwrap().1), "revoked"),
        ("ca", &mine, format!("@revoked * {}\n{good}", bed.fleet.host_key("ed25519")), "revoked"),
    ] {
        bed.show(authority, how);
        bed.known(&known);
        bed.site.apply(&[]).ended(4, &["unreachable at handshake", words]);
        let ran = bed.site.run(&["trust", "inventory.yml"]);
        assert!(ran.code == Some(3) && !ran.all().contains("by its certificate"), "{}", ran.all());
        assert_eq!(bed.log_ins(), 0, "{words}: {}", bed.fleet.log(0));
    }
    // The control: the same node, with what counts.
    bed.show("ca", &mine);
    bed.known(&good);
    bed.site.apply(&[]).ended(0, &["changed: n0"]);
    assert!(bed.log_ins() > 0);
}
