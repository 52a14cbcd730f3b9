//! The key that opens vaults, when it stands in the environment, is for this program alone: no program that it starts has it.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fleet::{Fleet, Options, Ran, Site};
use peers::need;

/// Programs of these names, found first, write their environment to a file each before they are what they are called.
fn spies(site: &Site, programs: &[(&str, &str)]) {
    fs::create_dir_all(site.path("bin")).unwrap();
    fs::create_dir_all(site.path("seen")).unwrap();
    for (name, then) in programs {
        let file = site.path("bin").join(name);
        // env prints what it was given; a shell would add to it.
        fs::write(&file, format!("#!/bin/sh\ntr '\\0' '\\n' </proc/$$/environ >{}/{name}.$$\n{then}\n", site.path("seen").display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
#[ignore = "needs sshd, ssh and dash"]
fn the_identity_reaches_no_program_that_is_started() {
    let (Some(ssh), Some(fleet)) = (need("ssh"), Fleet::start(3, Options::default())) else { return };
    let site = Site::new(&fleet);
    let identity = fs::read_to_string(site.path("home/.config/regprov/identity.txt")).unwrap();
    let key = identity.lines().find(|l| l.starts_with("AGE-SECRET-KEY-")).unwrap().to_string();
    fs::remove_file(site.path("home/.config/regprov/identity.txt")).unwrap();
    spies(
        &site,
        &[
            ("ssh", &format!("exec {} \"$@\"", ssh.display())),
            ("sinfo", "echo 'n1|gpu|idle|none'"),
            ("hosts-of-mine", "echo n2"),
            (
                "way",
                &format!(
                    "exec {} -F none -p \"$2\" -i {} -o UserKnownHostsFile={} -W \"[$1]:$2\" \"root@$1\"",
                    ssh.display(),
                    site.path("home/.ssh/id_ed25519").display(),
                    site.path("home/.ssh/known_hosts").display()
                ),
            ),
            ("matches", "exit 0"),
        ],
    );
    // Each host tells hosts apart, so that ssh is asked.
    fs::write(site.path("home/.ssh/config"), format!("Match host 127.* exec \"{}/bin/matches\"\n  ServerAliveInterval 7\n", site.dir.path().display()))
        .unwrap();
    let hosts: String = fleet.nodes.iter().enumerate().map(|(i, n)| format!("  n{i}: {{address: {}}}\n", n.address)).collect();
    let sources = "[n0, {slurm: {}}, {command: [hosts-of-mine]}]";
    let group = format!("  nodes: {{hosts: {sources}, logins: [ngc], targets: [docker], proxy_command: \"way %h %p\"}}\n");
    let rest = format!("hosts:\n{hosts}  here: {{connection: local, root: {}, proxy_command: none}}\n", site.path("image").display());
    let local = "  local: {hosts: here, logins: [ngc], targets: [docker]}\n";
    for sub in ["root", "var/lib"] {
        fs::create_dir_all(site.path("image").join(sub)).unwrap();
    }
    fs::write(site.path("inventory.yml"), format!("version: 1\nvault: vault.yml\ndefaults: {{port: {}}}\ngroups:\n{group}{local}{rest}", fleet.port)).unwrap();
    let mut command = site.command(&["apply", "inventory.yml"]);
    command.env("REGPROV_IDENTITY", &key).env("PATH", format!("{}:/usr/bin:/bin", site.path("bin").display())).env("MARK", "here");
    Ran::from(command.output().unwrap()).ended(0, &["4 hosts: 4 changed"]);
    let mut seen: Vec<String> = Vec::new();
    for entry in fs::read_dir(site.path("seen")).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap().split_once('.').unwrap().0.to_string();
        assert!(text.contains("MARK=here"), "the environment was looked at: {name}: {text}");
        assert!(!text.contains("REGPROV_IDENTITY") && !text.contains(&key), "{name}");
        seen.push(name);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["hosts-of-mine", "matches", "sinfo", "ssh", "way"], "each was run");
}
