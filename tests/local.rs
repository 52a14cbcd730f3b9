//! `connection: local`: this machine itself, through its own sudo, in mounts of its own; and images below `root:`, which need neither
//! SSH nor root.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/sudo.rs"]
mod sudo;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use fleet::{Node, Options, Ran, Site};
use sudo::{SUDO_PASSWORD, bed, failures, log, rules, seal, sh, written};

/// Runs the program on a node, as a user there, in the site's folder, with nothing of the user's but HOME.
fn on(node: &Node, user: &str, site: &Site, args: &[&str]) -> Ran {
    let mut command = Command::new("nsenter");
    // The node has a /tmp of its own, and the site lies in ours.
    let line = "cd /mnt && exec setpriv --reuid \"$0\" --regid \"$0\" --init-groups \"$@\"";
    command.args(["-t", &node.pid.to_string(), "-m", "-p", "--", "sh", "-c", line, user, "/mnt/regprov"]).args(args);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/mnt/home").env("TMPDIR", "/mnt/tmp");
    assert!(site.path("home").is_dir());
    command.output().unwrap().into()
}

/// Shows the site's folder to the node as /mnt, for this user, with the program, which may lie where the node has a folder of its own.
fn lend(node: &Node, site: &Site, user: &str) {
    let pid = node.pid.to_string();
    // A copy, since the node's mounts do not reach ours.
    let copy = node.path("/mnt");
    assert!(copy.is_dir());
    sh(node, "mount -t tmpfs -o mode=755 mnt /mnt");
    let copied = Command::new("cp").arg("-a").arg(format!("{}/.", site.dir.path().display())).arg(format!("/proc/{pid}/root/mnt/")).status().unwrap();
    assert!(copied.success());
    fs::copy(env!("CARGO_BIN_EXE_regprov"), node.path("/mnt/regprov")).unwrap();
    sh(node, &format!("chown -R {user}: /mnt"));
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn through_this_machine_s_own_sudo_with_a_sealed_password() {
    let Some((fleet, site)) = bed(1, Options::default(), "ops ALL=(root) ALL") else { return };
    let node = &fleet.nodes[0];
    let group = "{hosts: here, logins: [ngc, hub], targets: [docker, enroot, {docker: {user: alice}}], connection: local, become: true}";
    fs::write(site.path("inventory.yml"), format!("version: 1\nvault: vault.yml\ngroups:\n  g: {group}\n")).unwrap();
    let apply = ["apply", "inventory.yml"];

    seal(&site, "wrong");
    lend(node, &site, "ops");
    on(node, "ops", &site, &apply).ended(7, &["sudo did not take the password", "the sudo password was refused on here"]);
    fleet::wait_until("sudo has logged it", || failures(node) > 0);
    assert_eq!(log(node).matches("1 incorrect password attempt").count(), 1, "{}", log(node));
    assert!(!written(node));

    seal(&site, SUDO_PASSWORD);
    sh(node, "umount /mnt");
    lend(node, &site, "ops");
    // Root alone: alice's files need a rule for alice.
    on(node, "ops", &site, &apply).ended(3, &["as alice: "]);
    assert!(written(node), "root's files are written all the same");
    rules(node, "ops ALL=(ALL) ALL");
    on(node, "ops", &site, &apply).ended(0, &["changed: here"]);
    on(node, "ops", &site, &apply).ended(0, &["unchanged: here"]);
    let meta = |path: &str| fs::metadata(node.path(path)).map(|m| (m.uid(), m.mode() & 0o7777)).unwrap();
    let alice: u32 = sh(node, "id -u alice").trim().parse().unwrap();
    assert_eq!(meta("/root/.docker/config.json"), (0, 0o600));
    assert_eq!(meta("/root/.config/enroot/.credentials"), (0, 0o600));
    assert_eq!(meta("/home/alice/.docker/config.json"), (alice, 0o600));
    on(node, "ops", &site, &["ping", "inventory.yml"]).ended(0, &["1 host: 1 reached"]);
    assert_eq!(fleet.log(0).matches("Connection from").count(), 0, "nobody needed SSH");
    // Whoever is root already asks nobody.
    rules(node, "");
    sh(node, "rm -rf /root/.docker /mnt/home/.local; chown -R root: /mnt");
    fs::write(node.path("/mnt/inventory.yml"), format!("version: 1\nvault: vault.yml\ngroups:\n  g: {group}\n")).unwrap();
    on(node, "root", &site, &apply).ended(0, &["changed: here"]);
    assert!(written(node));
}

/// Images of diskless nodes: folders of a user who is not root, several of them in one run.
#[test]
fn images_below_a_root_are_written_without_root() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut hosts = String::new();
    for image in ["gpu", "login", "shared"] {
        for sub in ["root", "etc/profile.d", "var/lib"] {
            fs::create_dir_all(at(image).join(sub)).unwrap();
        }
        let mode = if image == "shared" { 0o777 } else { 0o755 };
        fs::set_permissions(at(image), fs::Permissions::from_mode(mode)).unwrap();
        hosts += &format!("  {image}: {{root: {}}}\n", at(image).display());
    }
    fs::create_dir(at("gpu/root/.docker")).unwrap();
    fs::set_permissions(at("gpu/root/.docker"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(at("gpu/root/.docker/config.json"), "{\n\t\"auths\": {\"other.example\": {\"auth\": \"eDp5\"}},\n\t\"psFormat\": \"x\"\n}\n").unwrap();
    let text = format!(
        "version: 1\ngroups:\n  images: {{hosts: [gpu, login, shared], logins: [hub], targets: [docker, enroot, singularity], connection: local}}\nhosts:\n{hosts}\
         logins:\n  hub: {{registry: docker.io, username: a, password: planted}}\n"
    );
    fs::write(at("i.yml"), text).unwrap();
    let run = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(["apply", "i.yml", "--allow-plaintext"]).args(flags).current_dir(&dir).env_clear().env("PATH", "/usr/bin:/bin");
        Ran::from(command.output().unwrap())
    };
    run(&[]).ended(3, &["changed: gpu,login (2)", "failed:  shared (1)", "others can exchange what lies below it"]);
    let files = ["root/.docker/config.json", "root/.config/enroot/.credentials", "etc/regprov/singularity.sh", "var/lib/regprov/owned.json"];
    for file in files {
        for image in ["gpu", "login"] {
            let meta = fs::metadata(at(image).join(file)).unwrap();
            assert_eq!(meta.mode() & 0o7777, 0o600, "{image} {file}");
        }
        assert!(!at("shared").join(file).exists(), "{file}");
    }
    let docker = fs::read_to_string(at("gpu/root/.docker/config.json")).unwrap();
    assert!(docker.contains("other.example") && docker.contains("psFormat") && docker.contains("index.docker.io"), "what was there stays: {docker}");
    let stub = at("gpu").join("etc/profile.d");
    assert!(fs::read_dir(stub).unwrap().count() > 0);
    // Paths inside of an image are those of the node that boots it.
    for entry in walk(&at("gpu")) {
        let text = fs::read_to_string(&entry).unwrap_or_default();
        assert!(!text.contains(dir.path().to_str().unwrap()), "{} names where the image lies", entry.display());
    }
    fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o755)).unwrap();
    run(&[]).ended(0, &["changed:   shared (1)", "unchanged: gpu,login (2)"]);
}

/// All files below a folder.
fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    fleet::walk(dir, &mut |path, meta| found.extend(meta.is_file().then(|| path.to_path_buf())));
    found
}
