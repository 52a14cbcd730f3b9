//! The program as a process: few open files, a disk that fills up, another run beside it, and signals at every moment.

// What was swept goes to whoever reads the output.
#![allow(clippy::print_stdout)]

#[path = "common/alone.rs"]
mod alone;
#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/peers.rs"]
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bed::{Bed, PASSWORD};
use embedded::Fault;

/// A bed whose nodes live in a runtime of its own, so that the test may wait for processes.
fn bed(runtime: &tokio::runtime::Runtime, nodes: usize) -> Bed {
    let bed = runtime.block_on(Bed::new(&vec![Fault::None; nodes]));
    bed.inventory(PASSWORD);
    bed
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The host names of a `--json` report whose outcome is one of these.
fn hosts(json: &str, outcomes: &[&str]) -> BTreeSet<String> {
    let report: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    let rows = report["hosts"].as_array().unwrap().iter();
    rows.filter(|h| outcomes.contains(&h["outcome"].as_str().unwrap())).map(|h| h["host"].as_str().unwrap().to_string()).collect()
}

#[test]
fn sixty_four_open_files_are_enough() {
    let runtime = runtime();
    let bed = bed(&runtime, 60);
    let plain = bed.command(&["--forks", "60", "--json"]);
    let agent = bed.dir.path().join("agent");
    let _agent = std::os::unix::net::UnixListener::bind(&agent).unwrap();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    limited.current_dir(bed.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", bed.dir.path().join("home")).env("SSH_AUTH_SOCK", agent);
    let out = limited.stdin(Stdio::null()).output().unwrap();
    let (json, told) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!((out.status.code(), hosts(&json, &["changed"]).len()), (Some(0), 60), "{told}");
    assert!(told.contains(" hosts at a time instead of 60: this process may not open more files"), "{told}");
    assert!(!told.contains("no journal"), "{told}");
    assert_eq!(ended(&journal(&bed)).len(), 60);
}

#[test]
fn two_runs_at_once_converge() {
    let runtime = runtime();
    let bed = bed(&runtime, 16);
    let text = fs::read_to_string(bed.dir.path().join("inventory.yml")).unwrap();
    let other = text.replace("hub", "quay").replace("docker.io", "quay.io").replace("version: 1", "version: 1\nid: other").replace(", singularity]", "]");
    fs::write(bed.dir.path().join("inventory.yml"), text.replace(", singularity]", "]")).unwrap();
    fs::write(bed.dir.path().join("other.yml"), other).unwrap();
    let second = |mut command: Command| {
        let args: Vec<_> = command.get_args().map(|a| if a == "inventory.yml" { "other.yml".into() } else { a.to_os_string() }).collect();
        let mut other = Command::new(command.get_program());
        other.args(args).current_dir(bed.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", bed.dir.path().join("home"));
        command = other;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let runs = [bed.command(&[]).spawn().unwrap(), second(bed.command(&[]))];
    for run in runs {
        let out = run.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    }
    for i in 0..16 {
        let file: serde_json::Value = serde_json::from_str(&fs::read_to_string(bed.docker_file(i)).unwrap()).unwrap();
        let names: Vec<&String> = file["auths"].as_object().unwrap().keys().collect();
        assert!(names.len() == 2 && names.iter().any(|n| *n == "quay.io"), "n{i}: {names:?}");
        let record = fs::read_to_string(bed.dir.path().join(format!("n{i}/var/lib/regprov/owned.json"))).unwrap();
        assert!(record.contains("quay.io") && record.contains("docker.io"), "{record}");
    }
}

/// The state directory is one page large.
#[test]
#[ignore = "needs unshare and ip"]
fn a_disk_that_fills_up_under_the_journal_ends_no_run() {
    if !alone::alone("a_disk_that_fills_up_under_the_journal_ends_no_run") {
        return;
    }
    let runtime = runtime();
    let bed = bed(&runtime, 24);
    let state = bed.dir.path().join("home/.local/state");
    fs::create_dir_all(&state).unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "small"]).arg(&state).status().unwrap().success());
    let (code, out, err) = bed.run(&[]);
    assert!(Command::new("umount").arg(&state).status().unwrap().success());
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("24 hosts: 24 changed"), "{out}");
    assert_eq!(err.matches("warning: no journal of this run").count(), 1, "{err}");
    assert!(err.contains("No space left on device"), "{err}");
}

/// The newest journal.
fn newest(bed: &Bed) -> PathBuf {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in fs::read_dir(bed.dir.path().join("home/.local/state/regprov/runs")).unwrap().flatten() {
        files.extend(fs::read_dir(folder.path()).unwrap().flatten().map(|e| e.path()));
    }
    files.sort();
    files.pop().unwrap()
}

/// The newest journal's lines.
fn journal(bed: &Bed) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(newest(bed)).unwrap();
    // A line that was cut is no line.
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// What the journal says of the hosts that ended: the name and the outcome.
fn ended(journal: &[serde_json::Value]) -> BTreeMap<String, String> {
    let of = |v: &serde_json::Value, key: &str| v[key].as_str().unwrap().to_string();
    journal.iter().filter_map(|l| l.get("ended")).map(|e| (of(e, "host"), of(e, "outcome"))).collect()
}

/// Numbers that look random and are the same each time.
struct Chance(u64);

impl Chance {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: kill takes two numbers; the child has not been waited for, so its number is its own.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
}

/// Files and directories of ours that lie there for the time of a run.
fn staged(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|e| {
            usize::from(e.file_name().to_string_lossy().starts_with(".regprov.")) + e.file_type().map_or(0, |t| if t.is_dir() { staged(&e.path()) } else { 0 })
        })
        .sum()
}

/// A run over a hundred nodes is ended at any moment, by SIGINT, SIGTERM and SIGKILL in turn. `REGPROV_ROUNDS` says how often (9).
#[test]
fn a_run_that_is_ended_at_any_moment_leaves_old_or_new_and_a_journal_that_is_right() {
    const NODES: usize = 100;
    let rounds = std::env::var("REGPROV_ROUNDS").map_or(9, |n| n.parse().expect("REGPROV_ROUNDS is a number"));
    let runtime = runtime();
    let bed = bed(&runtime, NODES);
    let password = |version: usize| format!("{PASSWORD}-v{version}");
    // What a node has: the version that its file holds.
    let versions: Vec<String> = (0..2)
        .map(|v| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(format!("alice:{}", password(v)))
        })
        .collect();
    let version = |i: usize| {
        let text = fs::read_to_string(bed.docker_file(i)).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("n{i} has half a file: {e}: {text}"));
        let auth = file["auths"].as_object().unwrap().values().next().unwrap()["auth"].as_str().unwrap().to_string();
        versions.iter().position(|v| *v == auth).unwrap_or_else(|| panic!("n{i} has neither version: {text}"))
    };
    bed.inventory(&password(1));
    let start = Instant::now();
    assert_eq!(bed.run(&["--forks", "20"]).0, 0);
    let whole = start.elapsed();
    let mut chance = Chance(0x5eed);
    let mut inside = 0;
    for round in 0..rounds {
        let (new, number) = (round % 2, [libc::SIGINT, libc::SIGTERM, libc::SIGKILL][round % 3]);
        bed.inventory(&password(new));
        let before = newest(&bed);
        let run = bed.command(&["--forks", "20", "--json"]).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(chance.next()));
        signal(&run, number);
        let out = run.wait_with_output().unwrap();
        let updated = (0..NODES).filter(|i| version(*i) == new).count();
        inside += usize::from((1..NODES).contains(&updated));
        if newest(&bed) == before || journal(&bed).is_empty() {
            // It ended before its journal began, so it contacted nobody.
            assert_eq!(updated, 0, "round {round}");
            assert_eq!(hosts(&bed.run(&["--forks", "20", "--json"]).1, &["changed"]).len(), NODES, "round {round}");
        } else {
            let good = |outcome: &String| ["changed", "unchanged"].contains(&outcome.as_str());
            let confirmed: BTreeSet<String> = ended(&journal(&bed)).into_iter().filter(|(_, outcome)| good(outcome)).map(|(host, _)| host).collect();
            for i in (0..NODES).filter(|i| confirmed.contains(&format!("n{i}"))) {
                assert_eq!(version(i), new, "round {round}: the journal says that n{i} was changed");
            }
            if out.status.code().is_some() {
                assert_eq!(hosts(&String::from_utf8_lossy(&out.stdout), &["changed", "unchanged"]), confirmed, "round {round}: report and journal");
                assert!(journal(&bed).last().unwrap().get("finished").is_some());
            }
            let left: BTreeSet<String> = (0..NODES).map(|i| format!("n{i}")).filter(|host| !confirmed.contains(host)).collect();
            if !left.is_empty() {
                let (code, json, err) = bed.run(&["--forks", "20", "--json", "--resume"]);
                assert_eq!((code, hosts(&json, &["changed", "unchanged"])), (0, left), "round {round}: {err}");
            }
        }
        assert!((0..NODES).all(|i| version(i) == new), "round {round}: the next run converges");
        let tidy = Instant::now();
        while (0..NODES).any(|i| staged(&bed.dir.path().join(format!("n{i}"))) > 0) {
            assert!(tidy.elapsed() < Duration::from_secs(10), "round {round}: something is left");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(bed.run(&["--resume"]).1.matches("nothing is left").count(), 1);
    }
    println!("{inside} of {rounds} runs were ended in their middle; a whole one took {whole:?}");
    assert!(inside * 5 >= rounds, "only {inside} of {rounds} were ended in their middle");
}
