//! Ansible's inventories read as Ansible reads them: each folder of tests/ansible has an inventory, `source` with its name, and
//! `expect.json`: who is in which group, and the connection variables of each host, as `ansible-inventory --list` told them.
//! `REGPROV_BLESS=1` with the ignored test writes that down anew.

#[path = "common/peers.rs"]
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peers::need;
use regprov::command::sources;
use regprov::error::{Error, Result};
use regprov::inventory::{self, Entry, Inventory, LoadOptions, World};
use regprov::model::{Connection, Host};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// The variables that say how a host is reached.
const USED: [&str; 13] = [
    "ansible_host",
    "ansible_ssh_host",
    "ansible_port",
    "ansible_ssh_port",
    "ansible_user",
    "ansible_ssh_user",
    "ansible_private_key_file",
    "ansible_ssh_private_key_file",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_become",
    "ansible_connection",
    "ansible_group_priority",
];

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ansible");
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 6, "the folders are gone");
    found
}

fn source(case: &Path) -> String {
    fs::read_to_string(case.join("source")).unwrap().trim().to_string()
}

/// The case's files, and an inventory of ours that stands in none.
struct Disk<'a> {
    case: &'a Path,
    text: String,
}

impl World for Disk<'_> {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        if path == self.case.join("ours.yml") {
            return Ok(self.text.clone().into());
        }
        inventory::decode(path, fs::read(path).map_err(|e| Error::usage(e.to_string()))?)
    }

    fn list(&mut self, path: &Path) -> Result<Option<Vec<Entry>>> {
        sources::list(path)
    }
}

/// Our reading: a group of ours for each of Ansible's.
fn ours(case: &Path, groups: &[&str]) -> Inventory {
    let rows = groups.iter().enumerate().map(|(i, g)| format!("  g{i}: {{hosts: {{ansible: {}, group: {g}}}}}\n", source(case)));
    let text = format!("version: 1\ngroups:\n{}", rows.collect::<String>());
    inventory::load(&case.join("ours.yml"), &mut Disk { case, text }, LoadOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", case.display()))
}

#[test]
fn inventories_are_read_as_ansible_reads_them() {
    for case in cases() {
        let expect: Value = serde_json::from_str(&fs::read_to_string(case.join("expect.json")).unwrap()).unwrap();
        let groups = expect["groups"].as_object().unwrap();
        let names: Vec<&str> = groups.keys().map(String::as_str).collect();
        let inventory = ours(&case, &names);
        for (i, name) in names.iter().enumerate() {
            let got: BTreeSet<&str> = inventory.groups[&format!("g{i}")].iter().map(|h| inventory.hosts[*h].name.as_str()).collect();
            let want: BTreeSet<&str> = groups[*name].as_array().unwrap().iter().map(|h| h.as_str().unwrap()).collect();
            assert_eq!(got, want, "{}: group {name}", case.display());
        }
        let hosts = expect["hosts"].as_object().unwrap();
        assert_eq!(inventory.hosts.len(), hosts.len(), "{}", case.display());
        for host in &inventory.hosts {
            same(host, hosts[&host.name].as_object().unwrap(), &case);
        }
    }
}

/// What a host's variables say, put beside what we made of them.
#[track_caller]
fn same(host: &Host, vars: &Map<String, Value>, case: &Path) {
    let at = format!("{}: {}: {vars:?}", case.display(), host.name);
    let text = |names: [&str; 2]| {
        let value = names.iter().rev().find_map(|n| vars.get(*n).filter(|v| !v.is_null()));
        value.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_string))
    };
    assert_eq!(host.address, text(["ansible_host", "ansible_ssh_host"]), "{at}");
    assert_eq!(host.port.map(|p| p.to_string()), text(["ansible_port", "ansible_ssh_port"]), "{at}");
    assert_eq!(host.user, text(["ansible_user", "ansible_ssh_user"]), "{at}");
    assert_eq!(host.ssh_keys.first().cloned(), text(["ansible_private_key_file", "ansible_ssh_private_key_file"]), "{at}");
    let becomes = text(["ansible_become", "ansible_become"]).is_some_and(|t| ["true", "yes", "1", "on"].contains(&t.to_lowercase().as_str()));
    assert_eq!(host.becomes_root, becomes, "{at}");
    assert_eq!(host.connection == Connection::Local, vars.get("ansible_connection").is_some_and(|c| c == "local"), "{at}");
    let args = text(["ansible_ssh_extra_args", "ansible_ssh_common_args"]).unwrap_or_default();
    let jump = host.jump.as_ref().map(ToString::to_string).unwrap_or_default();
    // The arguments themselves are held to their meaning where they are read; here: they belong to this host.
    assert!(if args.is_empty() { jump.is_empty() } else { !jump.is_empty() && args.contains(&jump) }, "{at}: {jump}");
}

#[test]
#[ignore = "needs ansible-inventory (Debian package ansible-core)"]
fn the_expectations_are_what_ansible_says() {
    let Some(program) = need("ansible-inventory") else { return };
    // A configuration of the machine's or the user's must not have a say.
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ansible.cfg");
    fs::write(&config, "").unwrap();
    for case in cases() {
        let output = Command::new(&program)
            .args(["-i", &source(&case), "--list"])
            .current_dir(&case)
            .env("ANSIBLE_CONFIG", &config)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", case.display(), String::from_utf8_lossy(&output.stderr));
        let told = serde_json::to_string_pretty(&reduced(&serde_json::from_slice(&output.stdout).unwrap())).unwrap() + "\n";
        let file = case.join("expect.json");
        if std::env::var_os("REGPROV_BLESS").is_some() {
            fs::write(&file, &told).unwrap();
        }
        assert_eq!(told, fs::read_to_string(&file).unwrap_or_default(), "{}", case.display());
    }
}

#[test]
#[ignore = "needs ansible (Debian package ansible-core)"]
fn limits_choose_as_ansible_s_patterns_do() {
    let Some(program) = need("ansible") else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ansible.cfg");
    fs::write(&config, "").unwrap();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ansible/precedence");
    // The same groups under the same names, but for the two that Ansible makes by itself.
    let expect: Value = serde_json::from_str(&fs::read_to_string(case.join("expect.json")).unwrap()).unwrap();
    let groups = expect["groups"].as_object().unwrap().keys().filter(|n| *n != "all");
    let rows = groups.map(|g| format!("  {g}: {{hosts: {{ansible: {}, group: {g}}}}}\n", source(&case)));
    let text = format!("version: 1\ngroups:\n{}", rows.collect::<String>());
    let inventory = inventory::load(&case.join("ours.yml"), &mut Disk { case: &case, text }, LoadOptions::default()).unwrap();
    for pattern in [
        "p1",
        "gpu",
        "p1,p4",
        "p1:p4",
        "gpu:!p3",
        "gpu,!p3",
        "!p3:gpu",
        "gpu:&two",
        "&two:gpu",
        "two:!alpha:&gpu",
        "all",
        "*",
        "all:!two",
        "!two",
        "&two",
        "p*",
        "p?",
        "*5",
        "mid*",
        "d*:two",
        "deep:one:&gpu:!p4",
        "gpu:!*",
        "alpha:beta",
        "top,!deeper,!one",
    ] {
        let output = Command::new(&program)
            .args(["-i", &source(&case), "--list-hosts", pattern])
            .current_dir(&case)
            .env("ANSIBLE_CONFIG", &config)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let want: BTreeSet<&str> = listed.lines().filter(|l| l.starts_with("    ")).map(str::trim).collect();
        let chosen = inventory::limit(&inventory, pattern, &mut |_| panic!("no file is named"), &mut || panic!("no run is named")).unwrap_or_default();
        let got: BTreeSet<&str> = chosen.hosts.iter().map(|h| inventory.hosts[*h].name.as_str()).collect();
        assert_eq!(got, want, "{pattern}");
    }
}

/// Every group with the hosts in and below it, sorted, and of each host the variables that are used.
fn reduced(listed: &Value) -> Value {
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in listed.as_object().unwrap().keys().filter(|n| *n != "_meta") {
        groups.insert(name, members(listed, name));
    }
    let vars = listed["_meta"]["hostvars"].as_object().unwrap();
    let all = groups["all"].iter().map(|h| {
        let used = vars.get(*h).and_then(Value::as_object).into_iter().flatten().filter(|(k, _)| USED.contains(&k.as_str()));
        (*h, used.map(|(k, v)| (k.clone(), v.clone())).collect::<BTreeMap<_, _>>())
    });
    json!({"groups": groups, "hosts": all.collect::<BTreeMap<_, _>>()})
}

fn members<'v>(listed: &'v Value, group: &str) -> BTreeSet<&'v str> {
    let names = |key: &str| listed[group][key].as_array().into_iter().flatten().map(|n| n.as_str().unwrap());
    names("hosts").chain(names("children").flat_map(|c| members(listed, c))).collect()
}
