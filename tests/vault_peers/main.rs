//! README's table beside ansible-vault and SOPS: each of its cells is what came of doing it here, with the real programs.
//!
//! SOPS is in no release of Debian: where `REGPROV_PEERS` and `PATH` have none its cells are not tried, and that is said. With
//! `REGPROV_REQUIRE_SOPS` set that is a failure.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

mod ansible;
mod desk;
mod ours;
#[path = "../common/peers.rs"]
mod peers;
mod sops;

use std::fs;
use std::path::{Path, PathBuf};

use desk::Desk;

/// The heading of the table.
const HEADING: &str = "### Beside ansible-vault and SOPS";

/// What came of trying a claim.
#[derive(Debug)]
enum Verdict {
    Yes,
    No,
    /// The question has no sense there: a dash.
    Senseless,
    /// No program here tells: `yes` has to be a link to where it stands, `no` needs none.
    Cited,
    /// It cannot be tried on this machine, for this reason.
    Untried(&'static str),
}

impl From<bool> for Verdict {
    fn from(is_so: bool) -> Self {
        if is_so { Verdict::Yes } else { Verdict::No }
    }
}

impl Verdict {
    /// Whether README's cell says so.
    fn allows(&self, cell: &str) -> bool {
        let word = cell.trim_start_matches('[').split([' ', ',', ']']).next();
        match self {
            Verdict::Yes => word == Some("yes"),
            Verdict::No => word == Some("no"),
            Verdict::Senseless => cell == "-",
            Verdict::Cited => cell.starts_with("[yes](https://") || cell == "no",
            Verdict::Untried(_) => matches!(word, Some("yes" | "no")),
        }
    }
}

type Trial = fn(&Desk) -> Verdict;

/// A question that has no sense for a tool.
fn senseless(_: &Desk) -> Verdict {
    Verdict::Senseless
}

fn cited(_: &Desk) -> Verdict {
    Verdict::Cited
}

/// Each claim, and how ansible-vault, SOPS and regprov come to their answers.
const ROWS: [(&str, [Trial; 3]); 23] = [
    ("a changed password changes the lines of its login alone, beside a counter", [ansible::changes_one, sops::changes_one, ours::changes_one]),
    ("a password that is moved to another login is refused", [ansible::refuses_moved, sops::refuses_moved, ours::refuses_moved]),
    ("a change to what stands beside a password, such as when it ends, is refused", [ansible::refuses_changed, sops::refuses_changed, ours::refuses_changed]),
    ("an older state of the file is refused", [ansible::refuses_older, sops::refuses_older, ours::refuses_older]),
    // ansible-vault has no public keys: whoever can write can read.
    ("what somebody wrote who knows the public keys alone is refused", [senseless, sops::refuses_forged, ours::refuses_forged]),
    ("branches that change different logins merge", [ansible::merges, sops::merges, ours::merges]),
    ("several files get new keys together, or none does", [ansible::rekeys_all_or_none, sops::rekeys_all_or_none, ours::rekeys_all_or_none]),
    // ansible-vault has no keys of several people.
    ("who takes a key out is told which passwords it could read", [senseless, sops::tells_what_was_read, ours::tells_what_was_read]),
    ("an editor gets the plaintext in memory, never on a disk", [ansible::edits_in_memory, sops::edits_in_memory, ours::edits_in_memory]),
    ("what a killed edit left is swept by the next one", [ansible::sweeps, sops::sweeps, ours::sweeps]),
    ("an SSH key opens it", [ansible::takes_ssh_keys, sops::takes_ssh_keys, ours::takes_ssh_keys]),
    ("a password that a team shares opens it, without keys", [ansible::takes_a_password, sops::takes_a_password, ours::takes_a_password]),
    ("keys stay in a key service (KMS)", [ansible::takes_key_services, cited, ours::takes_key_services]),
    ("plugins of age hold keys (YubiKey, TPM)", [senseless, sops::takes_plugins, ours::takes_plugins]),
    ("post-quantum keys of age", [senseless, sops::takes_hybrid_keys, ours::takes_hybrid_keys]),
    ("several people have to open it together", [ansible::demands_several, sops::demands_several, ours::demands_several]),
    ("rules by path say for whom a new file is sealed", [ansible::has_rules, sops::has_rules, ours::has_rules]),
    ("single values of JSON, dotenv and INI files", [ansible::seals_values, sops::seals_values, ours::seals_values]),
    ("any file as a whole", [ansible::seals_any, sops::seals_any, ours::seals_any]),
    ("a program runs with the values in its environment", [ansible::fills_environments, sops::fills_environments, ours::fills_environments]),
    ("playbooks and templates of Ansible read it", [ansible::is_read_by_ansible, sops::is_read_by_ansible, ours::is_read_by_ansible]),
    ("Debian has it", [ansible::is_in_debian, sops::is_in_debian, ours::is_in_debian]),
    ("VS Code has an extension for it", [cited, cited, cited]),
];

#[test]
#[ignore = "needs ansible-vault, age, git and ssh-keygen"]
fn the_table_says_what_the_programs_do() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let table: Vec<Vec<&str>> = readme
        .split_once(HEADING)
        .expect("README has the table")
        .1
        .lines()
        .skip_while(|l| !l.starts_with("|---"))
        .skip(1)
        .take_while(|l| l.starts_with('|'))
        .map(|l| l.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let claims: Vec<&str> = table.iter().map(|cells| cells[0]).collect();
    assert_eq!(claims, ROWS.map(|(claim, _)| claim), "README's claims, and those that are tried");
    assert!(table.iter().all(|cells| cells.len() == 4), "one cell for each tool");
    // `.is_none()` of each, so that all that are missing are told.
    if ["ansible-vault", "age", "git", "ssh-keygen"].map(|p| peers::need(p).is_none()).contains(&true) {
        return;
    }
    let dirs: Vec<PathBuf> =
        ["REGPROV_PEERS", "PATH"].iter().filter_map(std::env::var_os).flat_map(|v| std::env::split_paths(&v).collect::<Vec<_>>()).collect();
    let has_sops = peers::look("sops", &dirs, false).is_some();
    assert!(has_sops || std::env::var_os("REGPROV_REQUIRE_SOPS").is_none(), "needs sops, and REGPROV_REQUIRE_SOPS is set");
    let mut wrong = Vec::new();
    for ((claim, trials), cells) in ROWS.iter().zip(&table) {
        for ((tool, trial), cell) in ["ansible-vault", "SOPS", "regprov"].iter().zip(trials).zip(&cells[1..]) {
            if *tool == "SOPS" && !has_sops {
                println!("skipped: {claim}: needs sops");
                continue;
            }
            // What cannot be told is told with the others.
            match std::panic::catch_unwind(|| trial(&Desk::new())) {
                Ok(verdict) => {
                    if let Verdict::Untried(why) = verdict {
                        println!("skipped: {claim}: {tool}: {why}");
                    }
                    if !verdict.allows(cell) {
                        wrong.push(format!("{claim}: README says `{cell}` of {tool}, and it is `{verdict:?}`"));
                    }
                }
                Err(_) => wrong.push(format!("{claim}: the trial of {tool} failed")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
