//! The sample unit for boot: systemd takes it, its command line is one of ours, and its inventory needs nothing but this machine.

#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use regprov::cli::{Cli, Verb};

const UNIT: &str = include_str!("../examples/boot/regprov.service");

/// The value of a key that stands once.
fn value(key: &str) -> &'static str {
    let mut found = UNIT.lines().filter_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    let value = found.next().unwrap_or_else(|| panic!("there is no {key}="));
    assert_eq!(found.next(), None, "{key}= stands twice");
    value
}

#[test]
fn its_command_line_is_understood() {
    let mut words = value("ExecStart").split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/regprov"));
    let cli = Cli::try_parse_from(["regprov"].into_iter().chain(words)).unwrap();
    let Verb::Apply(args) = cli.verb else { panic!("it is no apply") };
    assert_eq!(args.inventory, Path::new("/etc/regprov/inventory.yml"));
    assert_eq!((value("Type"), value("After")), ("oneshot", "network-online.target"));
    // The identity comes from systemd's credentials; %d is their directory.
    let (name, file) = value("LoadCredential").split_once(':').unwrap();
    assert!(UNIT.contains(&format!("\nEnvironment=REGPROV_IDENTITY_FILE=%d/{name}\n")) && file.starts_with("/etc/regprov/"));
    assert!(UNIT.contains(&format!("\nEnvironment=XDG_STATE_HOME=%S/{}\n", value("StateDirectory"))));
}

#[test]
fn its_inventory_names_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("inventory.yml"), include_str!("../examples/boot/inventory.yml")).unwrap();
    let logins = "  ngc: {registry: nvcr.io, username: u, password: x}\n  hub: {registry: docker.io, username: u, password: x}\n";
    fs::write(dir.path().join("vault.yml"), format!("version: 1\nlogins:\n{logins}")).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        let out = command.args(args).current_dir(dir.path()).env_clear().env("HOME", dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let hosts: serde_json::Value = serde_json::from_str(&run(&["hosts", "inventory.yml", "--json"])).unwrap();
    let names: Vec<&str> = hosts["hosts"].as_array().unwrap().iter().map(|h| h["host"].as_str().unwrap()).collect();
    assert_eq!(names, ["localhost"], "{hosts}");
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_takes_it() {
    let Some(analyze) = peers::need("systemd-analyze") else { return };
    let dir = tempfile::tempdir().unwrap();
    let verify = |text: &str| {
        let file = dir.path().join("regprov.service");
        fs::write(&file, text).unwrap();
        let out = Command::new(&analyze).args(["verify", "--man=no"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        // Other units of this machine are none of ours.
        let ours: Vec<String> = said.lines().filter(|l| l.contains("regprov")).map(str::to_string).collect();
        (out.status.success(), ours)
    };
    // The program is where this build put it.
    let here = UNIT.replace("/usr/local/bin/regprov", env!("CARGO_BIN_EXE_regprov"));
    assert_eq!(verify(&here).1, Vec::<String>::new());
    assert!(!verify(&here.replace("Restart=on-failure", "Restart=whenever")).1.is_empty(), "the control passes too");
}
