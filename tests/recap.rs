//! The recap and the JSON report, as golden folders: `tests/recap/<case>/` holds `run.txt`, what is to come out (`recap.txt`,
//! and where it is worth reading `report.json`). The folder's name is the claim. `REGPROV_BLESS=1` writes what comes out.
//!
//! `run.txt`: a first line `options: check diff colors interrupted command`, then
//!
//! ```text
//! gpu[001-117] changed
//!   docker /root/.docker/config.json updated
//!     + auths."nvcr.io"
//!     ! a note
//!   ! a note on the host
//! gpu118 failed render: why
//!   enroot /etc/enroot/.credentials failed
//!     ! why
//! ```
//!
//! A line `login: NAME VERDICT why` is a login that was shown to its registry. A line `stopped: why` is the guard that ended the run. `\e`, `\n` and `\u{202e}` in it stand for what a hostile node sends; `%h` for the host's name.

use std::fs;
use std::path::Path;

use nodeset::NodeSet;
use regprov::model::verify::{LoginCheck, Scheme, Verdict, Verified};
use regprov::model::{Change, FileRow, HostRow, Outcome, Report, Stage};
use regprov::ui::{json, recap};

#[test]
fn golden_folders() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recap");
    let mut cases: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 8, "the folders are gone");
    for case in cases {
        let (report, options) = parse(&fs::read_to_string(case.join("run.txt")).unwrap());
        check(&case.join("recap.txt"), &recap::recap(&report, options));
        let document = json::json(&report, options.check, options.diff);
        if case.join("report.json").exists() {
            check(&case.join("report.json"), &document);
        }
        nothing_to_obey(&case, &recap::recap(&report, recap::Options { diff: true, colors: false, ..options }));
        nothing_to_obey(&case, &document);
    }
}

#[track_caller]
fn check(file: &Path, got: &str) {
    if std::env::var_os("REGPROV_BLESS").is_some() {
        fs::write(file, got).unwrap();
    }
    let want = fs::read_to_string(file).unwrap_or_default();
    assert!(got == want, "{}\n--- wanted\n{want}\n--- got\n{got}", file.display());
}

/// Holds whatever the report says: no line that a terminal or a CI system would obey.
#[track_caller]
fn nothing_to_obey(case: &Path, text: &str) {
    let bad = |c: char| c != '\n' && (c.is_control() || "\u{200b}\u{202e}\u{2066}\u{feff}\u{2028}".contains(c));
    assert!(!text.contains(bad), "{}: {text:?}", case.display());
    for line in text.lines() {
        let starts = line.trim_start().starts_with("::") && line.trim_start()[2..].starts_with(|c: char| c.is_ascii_alphabetic());
        assert!(!starts && !line.contains("##"), "{}: {line}", case.display());
    }
}

/// `ngc wrong_password why`.
fn checked(line: &str) -> LoginCheck {
    let (login, rest) = line.split_once(' ').unwrap();
    let (verdict, why) = rest.split_once(' ').unwrap();
    let all = [Verdict::Valid, Verdict::WrongPassword, Verdict::NoPullRight, Verdict::ServerError, Verdict::RealmNotTrusted, Verdict::Tls];
    LoginCheck {
        login: login.to_string(),
        registry: format!("{login}.example.org"),
        username: "robot$ci".to_string(),
        verdict: all.into_iter().find(|v| v.name() == verdict).unwrap(),
        reason: unescape(why, ""),
        hint: (verdict != "valid").then(|| "do something".to_string()),
        scheme: Some(Scheme::Bearer),
        auth_host: Some("auth.example.org".to_string()),
        can_be_confirmed: false,
        granted: if verdict == "valid" { vec!["repository:proj/tiny:pull".to_string()] } else { Vec::new() },
    }
}

fn parse(text: &str) -> (Report, recap::Options<'static>) {
    let mut lines = text.lines();
    let words: Vec<&str> = lines.next().unwrap().strip_prefix("options:").unwrap().split_whitespace().collect();
    let has = |w| words.contains(&w);
    let options =
        recap::Options { check: has("check"), diff: has("diff"), colors: has("colors"), command: has("command").then_some("regprov apply inventory.yml") };
    let mut report = Report { hosts: Vec::new(), interrupted: has("interrupted").then_some(130), ..Report::default() };
    let mut block: Vec<&str> = Vec::new();
    for line in lines.filter(|l| !l.is_empty()) {
        if let Some(why) = line.strip_prefix("stopped: ") {
            report.stopped = Some(why.to_string());
            continue;
        }
        if let Some(login) = line.strip_prefix("login: ") {
            report.verified.get_or_insert_with(|| Verified { logins: Vec::new(), required: has("required") }).logins.push(checked(login));
            continue;
        }
        if !line.starts_with(' ') {
            report.hosts.extend(hosts(&block));
            block.clear();
        }
        block.push(line);
    }
    report.hosts.extend(hosts(&block));
    (report, options)
}

/// The hosts of one block.
fn hosts(block: &[&str]) -> Vec<HostRow> {
    let Some((head, rest)) = block.split_first() else { return Vec::new() };
    let (names, outcome) = head.split_once(' ').unwrap();
    let names: NodeSet = names.parse().unwrap();
    names.iter().map(|host| HostRow { outcome: parse_outcome(&unescape(outcome, &host)), files: files(rest, &host), notes: notes(rest, &host), host }).collect()
}

fn parse_outcome(text: &str) -> Outcome {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let trouble = || {
        let (name, reason) = rest.split_once(": ").unwrap();
        let all = [
            Stage::Resolve,
            Stage::Connect,
            Stage::Handshake,
            Stage::Authenticate,
            Stage::Start,
            Stage::Observe,
            Stage::Render,
            Stage::Replace,
            Stage::PullTest,
        ];
        (all.into_iter().find(|s| s.name() == name).unwrap(), reason.to_string())
    };
    match word {
        "changed" => Outcome::Changed,
        "unchanged" => Outcome::Unchanged,
        "not_attempted" => Outcome::NotAttempted,
        "skipped" => Outcome::Skipped { reason: rest.to_string() },
        "failed" => Outcome::Failed { stage: trouble().0, reason: trouble().1 },
        "unreachable" => Outcome::Unreachable { stage: trouble().0, reason: trouble().1 },
        "unknown" => Outcome::Unknown { stage: trouble().0, reason: trouble().1 },
        other => panic!("{other}"),
    }
}

/// Notes on the host itself.
fn notes(lines: &[&str], host: &str) -> Vec<String> {
    lines.iter().filter_map(|l| l.strip_prefix("  ! ")).map(|note| unescape(note, host)).collect()
}

fn files(lines: &[&str], host: &str) -> Vec<FileRow> {
    let mut files: Vec<FileRow> = Vec::new();
    for line in lines.iter().filter(|l| !l.starts_with("  ! ")) {
        if let Some(detail) = line.strip_prefix("    ") {
            let file = files.last_mut().unwrap();
            match detail.strip_prefix("! ") {
                Some(reason) => {
                    let before = file.reason.take().map(|r| r + "\n").unwrap_or_default();
                    file.reason = Some(before + &unescape(reason, host));
                }
                None => file.diff.push(unescape(detail, host)),
            }
        } else {
            let words: Vec<&str> = line.split_whitespace().collect();
            let target = ["docker", "enroot", "singularity"].into_iter().find(|t| *t == words[0]).unwrap();
            let all = [Change::Created, Change::Updated, Change::Metadata, Change::Unchanged, Change::Failed, Change::NotAttempted];
            let change = all.into_iter().find(|c| c.name() == words[2]).unwrap();
            files.push(FileRow { target, path: unescape(words[1], host), change, reason: None, diff: Vec::new() });
        }
    }
    files
}

fn unescape(text: &str, host: &str) -> String {
    text.replace("%h", host).replace("\\e", "\x1b").replace("\\n", "\n").replace("\\u{202e}", "\u{202e}").replace("\\u{200b}", "\u{200b}")
}
