//! Inventories as an admin writes them, each in a folder under tests/inventory: `inventory.yml`, what it needs beside it,
//! and `expect.txt` with either the problems or the resolved hosts. With `REGPROV_BLESS` set, expect.txt is written.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use regprov::error::{Error, Result};
use regprov::inventory::{self, Inventory, LoadOptions};
use regprov::model::Host;

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// What no message may show; some cases plant it.
const PLANTED: &str = "hunter2";

#[test]
fn inventories_resolve_or_are_refused_as_expected() {
    let mut cases: Vec<PathBuf> = std::fs::read_dir("tests/inventory").unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 7, "the cases are there");
    let mut failed = Vec::new();
    for case in &cases {
        let mut read = |path: &Path| {
            let bytes = std::fs::read(case.join(path)).map_err(|_| Error::usage(format!("{}: cannot be read", path.display())))?;
            inventory::decode(path, bytes)
        };
        let got = shown(inventory::load(Path::new("inventory.yml"), &mut read, LoadOptions { now: NOW, ..LoadOptions::default() }));
        assert!(!got.contains(PLANTED), "{}: a secret is shown", case.display());
        let expect = case.join("expect.txt");
        if std::env::var_os("REGPROV_BLESS").is_some() {
            std::fs::write(&expect, &got).unwrap();
        }
        if std::fs::read_to_string(&expect).unwrap_or_default() != got {
            failed.push(format!("{}:\n{got}", case.display()));
        }
    }
    assert!(failed.is_empty(), "not as in expect.txt:\n{}", failed.join("\n"));
}

fn shown(loaded: Result<Inventory>) -> String {
    let inventory = match loaded {
        Ok(inventory) => inventory,
        Err(error) => return format!("{:?}\n{error}\n", error.kind),
    };
    let mut out = String::new();
    writeln!(out, "id {}", inventory.id.as_deref().unwrap_or("-")).unwrap();
    for recipient in &inventory.recipients {
        writeln!(out, "recipient {recipient}").unwrap();
    }
    for login in &inventory.logins {
        let expires = login.expires.as_ref().map_or("-", |e| &e.text);
        writeln!(out, "login {} {} {} expires {expires} at {}", login.name, login.registry, login.username, login.place).unwrap();
        if let Some(previous) = login.before_rotation() {
            writeln!(out, "    before its rotation {} expires {}", previous.username, previous.expires.as_ref().map_or("-", |e| &e.text)).unwrap();
        }
    }
    for host in &inventory.hosts {
        host_lines(&mut out, host);
    }
    for (group, members) in &inventory.groups {
        writeln!(out, "group {group} {}", members.len()).unwrap();
    }
    for note in &inventory.notes {
        writeln!(out, "note {note}").unwrap();
    }
    out
}

fn host_lines(out: &mut String, host: &Host) {
    let or_dash = |o: &Option<String>| o.clone().unwrap_or_else(|| "-".into());
    let curl = host.curl.map(|c| c.to_string());
    writeln!(
        out,
        "host {} at {} user {} root {} curl {} pins {} alias {} in {}",
        host.name,
        host.inventory_address(),
        or_dash(&host.user),
        host.root,
        or_dash(&curl),
        host.host_keys.len(),
        or_dash(&host.host_key_alias),
        host.groups.join(",")
    )
    .unwrap();
    for t in &host.targets {
        let helped = t.cred_helpers.iter().map(|c| format!(" {} by {}", c.registry, c.helper)).collect::<String>();
        let gets = match &t.mirror {
            Some(mirror) => format!("{} through {mirror} by {:?}", mirror.registry, mirror.runtimes),
            None => format!("{}{helped}", t.logins.join(",")),
        };
        let restart = if t.restart { " restart" } else { "" };
        let shown = if t.is_auto() { format!("auto of {}", or_dash(&t.user)) } else { t.shown_path() };
        writeln!(out, "  {} {shown} {}:{} {} {:?} {gets}{restart}", t.kind, or_dash(&t.owner), or_dash(&t.group), t.mode, t.helper).unwrap();
    }
}
