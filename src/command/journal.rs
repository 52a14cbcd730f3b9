//! What each host of the last runs came to, on disk: for `--limit @failed` and `--resume`. One file a run, one JSON line for what
//! happened, each written at once, so that the file is right at whatever moment the process is killed: a host without a line
//! that tells its end has no confirmed end. It holds names and outcomes, no login and nothing secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::files;
use crate::error::{Error, Kind, Result};
use crate::model::text::printable;
use crate::model::{Event, HostRow, Outcome, Report, TargetKind};
use crate::transport::clock::since_1970;

/// The version of the format.
const VERSION: u32 = 1;
/// Journals that are kept of one inventory.
const KEPT_MAX: usize = 20;
/// The largest journal that is read, in bytes: a run over 100,000 hosts writes less than half of it.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// The longest reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 1000;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// The first one.
    Run(Run),
    /// This host was sent what shall be written: from here on it may have changed.
    Sent(String),
    /// A host ended.
    Ended(Ended),
    /// The last one: the run came to its end, with this exit code.
    Finished(u8),
}

/// What a run is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    version: u32,
    regprov: String,
    inventory: String,
    #[serde(default)]
    id: Option<String>,
    /// Its hosts, in order.
    hosts: Vec<String>,
    /// `--login`, as far as it was given.
    logins: Vec<String>,
    /// `--target`, as far as it was given.
    targets: Vec<String>,
}

/// How a host ended.
#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    host: String,
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default)]
    files: Vec<FileEnded>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileEnded {
    target: String,
    path: String,
    change: String,
}

impl Ended {
    fn of(row: &HostRow) -> Self {
        Ended {
            host: row.host.clone(),
            outcome: row.outcome.name().to_string(),
            stage: row.outcome.trouble().map(|(stage, _)| stage.name().to_string()),
            reason: row.outcome.reason().map(|reason| printable(reason, REASON_CHARS_MAX)),
            files: row.files.iter().map(|f| FileEnded { target: f.target.to_string(), path: f.path.clone(), change: f.change.name().to_string() }).collect(),
        }
    }
}

/// Where the journals of an inventory lie: `$XDG_STATE_HOME/regprov/runs/KEY`, else below `~/.local/state`, where KEY stands for
/// the inventory's canonical path. `None` without a home. A relative XDG_STATE_HOME counts as none (XDG Base Directory Specification).
pub fn folder(inventory: &Path) -> Option<PathBuf> {
    let state = state_home()?;
    let key = Sha256::digest(canonical(inventory).as_os_str().as_encoded_bytes());
    let key: String = key.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Some(state.join("regprov/runs").join(key))
}

/// `$XDG_STATE_HOME`, else `~/.local/state`; see [`folder`].
pub fn state_home() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

fn canonical(inventory: &Path) -> PathBuf {
    fs::canonicalize(inventory).unwrap_or_else(|_| inventory.to_path_buf())
}

/// A run's journal while it is written.
pub struct Journal {
    path: PathBuf,
    file: File,
    hosts: Vec<String>,
    /// Hosts whose end is written.
    ended: BTreeSet<usize>,
    /// Why nothing more is written.
    broken: Option<String>,
}

impl Journal {
    /// Starts one in this folder, and removes old ones there.
    ///
    /// # Errors
    /// Says what cannot be made or written. Nothing stays behind.
    pub fn start(folder: &Path, inventory: &Path, id: Option<&str>, hosts: Vec<String>, selection: &Selection) -> std::result::Result<Self, String> {
        files::create_dir_private(folder).map_err(|e| e.message)?;
        let millis = since_1970().as_millis();
        let path = folder.join(format!("{millis:014}-{}.jsonl", std::process::id()));
        let trouble = |e: io::Error| format!("{}: {e}", path.display());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(trouble)?;
        let run = Run {
            version: VERSION,
            regprov: env!("CARGO_PKG_VERSION").to_string(),
            inventory: canonical(inventory).display().to_string(),
            id: id.map(str::to_string),
            hosts: hosts.clone(),
            logins: selection.logins.clone(),
            targets: selection.targets.iter().map(|t| t.name().to_string()).collect(),
        };
        if let Err(e) = write_line(&file, &Line::Run(run)) {
            let _ = fs::remove_file(&path);
            return Err(trouble(e));
        }
        for old in journals(folder).into_iter().skip(KEPT_MAX) {
            let _ = fs::remove_file(old);
        }
        Ok(Journal { path, file, hosts, ended: BTreeSet::new(), broken: None })
    }

    /// Notes what happened. Once a line could not be written, no other is, and this says why, once: the run goes on without.
    pub fn event(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Started { .. } => None,
            Event::Sent { index } => self.write(&Line::Sent(self.hosts[*index].clone())),
            Event::Ended { index, row } => {
                self.ended.insert(*index);
                self.write(&Line::Ended(Ended::of(row)))
            }
        }
    }

    /// Ends it: what the report says of hosts that were cut off by the run's end, then the exit code; all of it on disk. Whether it
    /// holds the whole run.
    pub fn finish(mut self, report: &Report, code: u8) -> bool {
        for (index, row) in report.hosts.iter().enumerate() {
            if !self.ended.contains(&index) && row.outcome != Outcome::NotAttempted {
                self.write(&Line::Ended(Ended::of(row)));
            }
        }
        self.write(&Line::Finished(code));
        self.broken.is_none() && self.file.sync_all().is_ok()
    }

    fn write(&mut self, line: &Line) -> Option<String> {
        if self.broken.is_some() {
            return None;
        }
        let error = write_line(&self.file, line).err()?;
        self.broken = Some(format!("{}: {error}", self.path.display()));
        self.broken.clone()
    }
}

/// One write for the whole line, so that a kill cuts at most the last one.
fn write_line(mut file: &File, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
    text.push('\n');
    file.write_all(text.as_bytes())
}

/// The journals in a folder, the newest first. A name that is none of ours is passed over.
fn journals(folder: &Path) -> Vec<PathBuf> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let ours = |name: &str| name.strip_suffix(".jsonl").and_then(|n| n.split_once('-')).is_some_and(|(millis, pid)| digits(millis) && digits(pid));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| ours(n)).collect();
    names.sort();
    names.into_iter().rev().map(|name| folder.join(name)).collect()
}

/// `--login` and `--target`: the part of what hosts get that a run is about; empty lists mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names of logins.
    pub logins: Vec<String>,
    /// Kinds of target.
    pub targets: Vec<TargetKind>,
}

/// A run of which a journal is left.
#[derive(Debug)]
pub struct LastRun {
    /// The journal.
    pub path: PathBuf,
    run: Run,
    /// The last word on each host that has one.
    outcomes: BTreeMap<String, String>,
}

impl LastRun {
    /// The last run of this inventory that was no `--check`.
    ///
    /// # Errors
    /// There is none, or its journal is not one that this version reads; says where it looked.
    pub fn of(inventory: &Path) -> Result<Self> {
        let folder = folder(inventory).ok_or_else(|| Error::usage("there is no journal of runs: neither XDG_STATE_HOME nor HOME is an absolute path"))?;
        for path in journals(&folder) {
            let text = files::read(&path, JOURNAL_BYTES_MAX).map_err(|e| Error { kind: Kind::Usage, ..e })?;
            let parsed = parse(&path, &String::from_utf8_lossy(&text)).map_err(|why| {
                Error::usage(format!("journal {}: {why}", path.display())).hint("remove it to go by the run before it, or name hosts with --limit")
            })?;
            // One without a first line was killed before it contacted anybody.
            if let Some(last) = parsed {
                return Ok(last);
            }
        }
        Err(Error::usage(format!("there is no journal of a run of {} in {}", inventory.display(), folder.display()))
            .hint("runs with --check leave none; name hosts with --limit"))
    }

    /// What it was about.
    pub fn selection(&self) -> Selection {
        Selection { logins: self.run.logins.clone(), targets: self.run.targets.iter().filter_map(|t| TargetKind::parse(t)).collect() }
    }

    /// The hosts that ended failed, unknown or unreachable, in the run's order. One that was sent something and has no end is unknown.
    pub fn failed(&self) -> Vec<&str> {
        self.hosts(|outcome| matches!(outcome, "failed" | "unknown" | "unreachable"))
    }

    /// The hosts without a confirmed good end, in the run's order.
    pub fn unfinished(&self) -> Vec<&str> {
        self.hosts(|outcome| !matches!(outcome, "changed" | "unchanged" | "skipped"))
    }

    fn hosts(&self, want: impl Fn(&str) -> bool) -> Vec<&str> {
        let outcome = |host: &str| self.outcomes.get(host).map_or("not_attempted", String::as_str);
        self.run.hosts.iter().map(String::as_str).filter(|host| want(outcome(host))).collect()
    }
}

/// A journal's text. `None` when not even its first line is whole.
fn parse(path: &Path, text: &str) -> std::result::Result<Option<LastRun>, String> {
    let mut run = None;
    let mut outcomes = BTreeMap::new();
    // Behind the last line feed stands nothing, or a line that was cut.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (i, line) in whole.lines().enumerate() {
        let line = serde_json::from_str(line).map_err(|e| format!("line {} is none of a journal's: {e}", i + 1))?;
        match (line, &run) {
            (Line::Run(first), None) if first.version == VERSION => {
                // Passed over, it would make the selection a larger one.
                if let Some(unknown) = first.targets.iter().find(|t| TargetKind::parse(t).is_none()) {
                    return Err(format!("target {unknown:?} is not known"));
                }
                run = Some(first);
            }
            (Line::Run(first), None) => return Err(format!("version {} is not known; this regprov reads version {VERSION}", first.version)),
            (Line::Run(_), Some(_)) | (_, None) => return Err(format!("line {} does not stand in its place", i + 1)),
            (Line::Sent(host), _) => drop(outcomes.insert(host, "unknown".to_string())),
            (Line::Ended(ended), _) => drop(outcomes.insert(ended.host, ended.outcome)),
            (Line::Finished(_), _) => {}
        }
    }
    Ok(run.map(|run| LastRun { path: path.to_path_buf(), run, outcomes }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::model::{Change, FileRow, Stage};

    fn row(host: &str, outcome: Outcome) -> HostRow {
        let file = FileRow { target: "docker", path: "/root/.docker/config.json".into(), change: Change::Updated, reason: None, diff: vec!["+ x".into()] };
        HostRow { host: host.into(), outcome, files: vec![file], notes: vec![] }
    }

    fn trouble(word: &str) -> Outcome {
        let (stage, reason) = (Stage::Connect, "no\u{1b}[2J\n::error::x".to_string());
        match word {
            "failed" => Outcome::Failed { stage, reason },
            "unknown" => Outcome::Unknown { stage, reason },
            _ => Outcome::Unreachable { stage, reason },
        }
    }

    /// A run of eight hosts in which everything occurs; h6 is in flight, h7 did not start.
    fn example(folder: &Path) -> Journal {
        let hosts = (0..8).map(|i| format!("h{i}")).collect();
        let selection = Selection { logins: vec!["hub".into()], targets: vec![TargetKind::Enroot] };
        let mut journal = Journal::start(folder, Path::new("i.yml"), Some("site"), hosts, &selection).unwrap();
        let outcomes = [
            Outcome::Changed,
            Outcome::Unchanged,
            trouble("failed"),
            trouble("unreachable"),
            trouble("unknown"),
            Outcome::Skipped { reason: "Slurm: down".into() },
        ];
        for (index, outcome) in outcomes.into_iter().enumerate() {
            journal.event(&Event::Started { index });
            if index % 2 == 0 {
                assert_eq!(journal.event(&Event::Sent { index }), None);
            }
            assert_eq!(journal.event(&Event::Ended { index, row: row(&format!("h{index}"), outcome) }), None);
        }
        journal.event(&Event::Sent { index: 6 });
        journal
    }

    fn last(text: &str) -> Option<LastRun> {
        parse(Path::new("j"), text).unwrap()
    }

    #[test]
    fn a_journal_tells_who_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let journal = example(&folder);
        let path = journal.path.clone();
        let run = last(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(run.failed(), ["h2", "h3", "h4", "h6"]);
        assert_eq!(run.unfinished(), ["h2", "h3", "h4", "h6", "h7"]);
        assert_eq!(run.selection(), Selection { logins: vec!["hub".into()], targets: vec![TargetKind::Enroot] });
        // What the recap says of hosts that were cut off stands in it too.
        let mut report = Report { hosts: (0..8).map(|i| row(&format!("h{i}"), Outcome::NotAttempted)).collect(), ..Report::default() };
        report.hosts[6].outcome = trouble("unknown");
        assert!(journal.finish(&report, 130));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(last(&text).unwrap().failed(), ["h2", "h3", "h4", "h6"]);
        assert!(text.ends_with("{\"finished\":130}\n"));
        assert!(!text.contains('\u{1b}') && text.contains("\"reason\":\"no\\\\u{1b}[2J ::error::x\""), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for dir in [&folder, folder.parent().unwrap()] {
            assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    /// At whatever byte a journal is cut: no host has an end that it did not have before.
    #[test]
    fn a_journal_that_is_cut_anywhere_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let journal = example(dir.path());
        let text = fs::read_to_string(&journal.path).unwrap();
        let all = last(&text).unwrap();
        let header = text.find('\n').unwrap();
        let mut before = all.run.hosts.len();
        for cut in 0..=text.len() {
            let Some(run) = last(&text[..cut]) else {
                assert!(cut <= header, "nothing is known of a run that was cut at {cut}");
                continue;
            };
            let left = run.unfinished();
            assert!(left.len() <= before && all.unfinished().iter().all(|h| left.contains(h)), "cut at {cut}: {left:?}");
            before = left.len();
        }
        assert_eq!(before, 5);
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert!(parse(Path::new("j"), text).unwrap_err().contains(want), "{text}");
        }
        let run = r#"{"run":{"version":1,"regprov":"0","inventory":"/i","hosts":["a"],"logins":[],"targets":[]}}"#;
        assert_eq!(last(&format!("{run}\n")).unwrap().unfinished(), ["a"]);
        check("{\"sent\":\"a\"}\n", "line 1 does not stand in its place");
        check(&format!("{run}\n{run}\n"), "line 2 does not stand in its place");
        check(&format!("{run}\nnonsense\n"), "line 2 is none of a journal's");
        check(&format!("{}\n", run.replace("\"targets\":[]", "\"targets\":[\"nerdctl\"]")), "target \"nerdctl\" is not known");
        check(&run.replace("\"version\":1", "\"version\":2").replace("}}", "}}\n"), "version 2 is not known");
    }

    #[test]
    fn twenty_journals_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        for millis in 1..=30 {
            fs::write(dir.path().join(format!("{millis:014}-7.jsonl")), "").unwrap();
        }
        let newest = example(dir.path());
        let left = journals(dir.path());
        assert_eq!((left.len(), &left[0]), (20, &newest.path));
        assert!(left[19].ends_with("00000000000012-7.jsonl"), "{:?}", left[19]);
        assert!(dir.path().join("notes.txt").exists());
    }

    #[test]
    fn a_disk_that_is_full_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = example(dir.path());
        journal.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(journal.event(&Event::Sent { index: 7 }).unwrap().contains("No space left on device"));
        assert_eq!(journal.event(&Event::Sent { index: 7 }), None);
        assert!(!journal.finish(&Report::default(), 0));
        fs::write(dir.path().join("file"), "").unwrap();
        let why = Journal::start(&dir.path().join("file/x"), Path::new("i.yml"), None, vec![], &Selection::default()).err().unwrap();
        assert!(why.contains("file/x"), "{why}");
    }
}
