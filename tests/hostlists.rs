//! Host lists beside what Slurm and ClusterShell make of them: tests/hostlists/table.txt has a line for each list, its columns between
//! tabs: the list, our names, those of `scontrol show hostnames`, those of `nodeset -e`. `=` stands for the same as ours (with nodeset, in any
//! order: it sorts), `-` for a refusal. `REGPROV_BLESS=1` writes our column, with the
//! ignored test the others too.

#[path = "common/peers.rs"]
mod peers;
#[path = "slurm/slurm.rs"]
mod slurm;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use peers::need;
use regprov::error::Result;
use regprov::inventory::{self, LoadOptions};

struct Row {
    list: String,
    ours: String,
    scontrol: String,
    nodeset: String,
}

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostlists/table.txt")
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(file()).unwrap();
    let rows = text.lines().map(|line| {
        let mut columns = line.split('\t').map(str::to_string);
        let mut next = || columns.next().unwrap_or_default();
        Row { list: next(), ours: next(), scontrol: next(), nodeset: next() }
    });
    rows.collect()
}

fn write(rows: &[Row]) {
    let lines = rows.iter().map(|r| format!("{}\t{}\t{}\t{}\n", r.list, r.ours, r.scontrol, r.nodeset));
    fs::write(file(), lines.collect::<String>()).unwrap();
}

fn blesses() -> bool {
    std::env::var_os("REGPROV_BLESS").is_some()
}

/// The names in their order, or `-`.
fn expanded(list: &str) -> String {
    let text = format!("version: 1\ngroups: {{g: {{hosts: '{list}'}}}}\n");
    let mut read = |_: &Path| -> Result<String> { Ok(text.clone()) };
    match inventory::load(Path::new("i.yml"), &mut read, LoadOptions::default()) {
        Ok(inventory) => inventory.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>().join(","),
        Err(error) => {
            assert!(error.message.contains("host list of group `g`"), "{list}: {error}");
            "-".to_string()
        }
    }
}

#[test]
fn host_lists_expand_as_the_table_says() {
    let mut rows = rows();
    assert!(rows.len() >= 40, "the table is gone");
    for row in &mut rows {
        let got = expanded(&row.list);
        if blesses() {
            row.ours.clone_from(&got);
        }
        assert_eq!(got, row.ours, "{}", row.list);
    }
    if blesses() {
        write(&rows);
    }
    // Where two of them take a list, they mean the same names; in which order is said in the README.
    for row in rows.iter().filter(|r| r.ours != "-") {
        let set = |names: &str| names.split(',').map(str::to_string).collect::<BTreeSet<_>>();
        for theirs in [&row.scontrol, &row.nodeset].into_iter().filter(|t| *t != "=" && *t != "-") {
            assert_eq!(set(theirs), set(&row.ours), "{}", row.list);
        }
    }
}

#[test]
#[ignore = "needs scontrol (Debian package slurm-client) and nodeset (clustershell)"]
fn the_table_is_what_slurm_and_clustershell_say() {
    let (Some(scontrol), Some(nodeset)) = (need("scontrol"), need("nodeset")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let conf = slurm::conf(dir.path(), 1);
    let mut rows = rows();
    let mut wrong = Vec::new();
    for row in &mut rows {
        let told = |command: &mut Command| {
            let output = command.output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            // An inventory has each host once.
            let mut seen = BTreeSet::new();
            let names = text.split_whitespace().filter(|n| seen.insert(*n)).map(str::to_string).collect::<Vec<_>>();
            if output.status.success() { names } else { Vec::new() }
        };
        let by_slurm = told(Command::new(&scontrol).args(["show", "hostnames", &row.list]).env("SLURM_CONF", &conf));
        let by_nodeset = told(Command::new(&nodeset).args(["-e", "-S", "\n", &row.list]));
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        let ours: Vec<String> = row.ours.split(',').map(str::to_string).collect();
        let column = |names: Vec<String>, same: bool| {
            if same {
                "=".to_string()
            } else if names.is_empty() {
                "-".into()
            } else {
                names.join(",")
            }
        };
        let refused = row.ours == "-";
        let same_in_order = if refused { by_slurm.is_empty() } else { by_slurm == ours };
        let same_set = if refused { by_nodeset.is_empty() } else { set(&by_nodeset) == set(&ours) };
        let got = [column(by_slurm, same_in_order), column(by_nodeset, same_set)];
        if blesses() {
            [row.scontrol, row.nodeset] = got;
        } else if got != [row.scontrol.clone(), row.nodeset.clone()] {
            wrong.push(format!("{}: {got:?}", row.list));
        }
    }
    if blesses() {
        write(&rows);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
