//! `regprov status`: what differs on the nodes, as text and as JSON. Equal nodes give equal bytes.

use std::fmt::Write as _;

use serde::Serialize;

use super::fold::{Groups, fold_counted};
use super::line;
use super::recap::{shared, trouble_line};
use crate::model::ping::Unseen;
use crate::model::status::{FOREIGN_MAX, FileStatus, FindingKind, LoginStatus, StatusRow, Verdict};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.status/1";

/// The outcomes in the order in which they are told, and the words for people.
const OUTCOMES: [(&str, &str); 6] =
    [("same", "same"), ("drift", "drift"), ("failed", "failed"), ("unreachable", "unreachable"), ("not_attempted", "not attempted"), ("skipped", "skipped")];

/// Which hosts are as wanted and which are not; then each file with what differs there, each difference once; then what others wrote, and
/// why hosts were not seen.
pub fn text(rows: &[StatusRow]) -> String {
    let mut sections = vec![outcomes(rows), files(rows), foreign(rows), troubles(rows), summary(rows)];
    sections.retain(|s| !s.is_empty());
    sections.join("\n")
}

fn outcomes(rows: &[StatusRow]) -> String {
    let mut out = String::new();
    let there = |outcome: &str| rows.iter().filter(|r| r.outcome() == outcome).map(|r| r.host.as_str()).collect::<Vec<_>>();
    let width = OUTCOMES.iter().filter(|(o, _)| !there(o).is_empty()).map(|(_, word)| word.len()).max().unwrap_or(0) + 1;
    for (outcome, word) in OUTCOMES {
        let hosts = there(outcome);
        if !hosts.is_empty() {
            let _ = writeln!(out, "{:width$} {}", format!("{word}:"), fold_counted(&hosts));
        }
    }
    out
}

/// `docker /root/.docker/config.json`, and below it what differs, with the hosts.
fn files(rows: &[StatusRow]) -> String {
    let mut places: Groups<(String, String), (&str, &FileStatus)> = Groups::new();
    for row in rows {
        for file in row.result.iter().flatten().filter(|f| f.has_drift()) {
            places.add((file.target.to_string(), shared(&file.path, &row.host)), (row.host.as_str(), file));
        }
    }
    let mut out = String::new();
    for ((target, path), members) in places.into_rows() {
        let path = if let [(_, file)] = &members[..] { &file.path } else { &path };
        let _ = writeln!(out, "{target} {}", line(path));
        let mut differences = Groups::new();
        for (host, file) in &members {
            for words in differences_of(file) {
                differences.add(shared(&words, host), (*host, words));
            }
        }
        for (template, members) in differences.into_rows() {
            let words = if members.iter().all(|m| m.1 == members[0].1) { &members[0].1 } else { &template };
            let hosts: Vec<&str> = members.iter().map(|m| m.0).collect();
            let _ = writeln!(out, "    {}: {}", line(words), fold_counted(&hosts));
        }
    }
    out
}

/// What differs in one file, a line each. A file that is not there says nothing of its logins.
fn differences_of(file: &FileStatus) -> Vec<String> {
    let gone = file.findings.iter().any(|f| matches!(f.kind, FindingKind::Missing | FindingKind::Refused | FindingKind::Unreadable));
    let mut out: Vec<String> = file.findings.iter().map(|f| format!("{}: {}", f.kind.name().replace('_', " "), f.detail)).collect();
    for login in &file.logins {
        if !gone && !matches!(login.verdict, Verdict::Same | Verdict::SameAccount) {
            let detail = login.detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default();
            out.push(format!("login {}: {}{detail}", login.login, login.verdict.name().replace('_', " ")));
        }
        out.extend(login.expired.iter().map(|date| format!("login {}: expired ({date})", login.login)));
    }
    out
}

/// Entries that others wrote, by their keys.
fn foreign(rows: &[StatusRow]) -> String {
    let mut groups = Groups::new();
    for row in rows {
        for file in row.result.iter().flatten().filter(|f| f.foreign_count > 0) {
            groups.add((file.target, shared(&file.path, &row.host), foreign_of(file)), row.host.as_str());
        }
    }
    groups.into_rows().into_iter().fold(String::new(), |mut out, ((target, path, keys), hosts)| {
        let _ = writeln!(out, "written by others, and left alone: {target} {}: {}\n    {}", line(&path), line(&keys), fold_counted(&hosts));
        out
    })
}

fn foreign_of(file: &FileStatus) -> String {
    let more = file.foreign_count.saturating_sub(FOREIGN_MAX);
    let keys = file.foreign.join(", ");
    if more > 0 { format!("{keys} and {more} more") } else { keys }
}

fn troubles(rows: &[StatusRow]) -> String {
    let mut groups = Groups::new();
    for row in rows {
        let Err(unseen) = &row.result else { continue };
        let (how, why) = match unseen {
            Unseen::Failed(stage, why) => (format!("{} at {}", unseen.outcome(), stage.name()), why),
            Unseen::Skipped(why) => ("skipped".to_string(), why),
            Unseen::NotAttempted(why) => ("not attempted".to_string(), why),
        };
        groups.add((how, line(&shared(why, &row.host))), row.host.as_str());
    }
    groups.into_rows().into_iter().fold(String::new(), |mut out, ((how, why), hosts)| {
        let _ = writeln!(out, "{how}: {why}\n    {}", fold_counted(&hosts));
        out
    })
}

fn summary(rows: &[StatusRow]) -> String {
    let counts: Vec<String> = OUTCOMES.iter().map(|(o, word)| (count(rows, o), word)).filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    format!("{}: {}\n", super::counted(rows.iter().map(|r| r.host.as_str())), counts.join(", "))
}

fn count(rows: &[StatusRow], outcome: &str) -> usize {
    rows.iter().filter(|r| r.outcome() == outcome).count()
}

/// One line about a host that has ended, for plain output.
pub fn host_line(row: &StatusRow) -> String {
    let host = line(&row.host);
    match &row.result {
        Ok(_) => format!("{}: {host}", row.outcome()),
        Err(Unseen::Failed(stage, why)) => trouble_line(row.outcome(), &host, *stage, why),
        Err(Unseen::Skipped(why)) => format!("skipped: {host}: {}", line(why)),
        Err(Unseen::NotAttempted(why)) => format!("not attempted: {host}: {}", line(why)),
    }
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    hosts: Vec<HostJson>,
    summary: Summary,
}

#[derive(Serialize)]
struct HostJson {
    host: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    files: Vec<FileJson>,
}

#[derive(Serialize)]
struct FileJson {
    target: &'static str,
    path: String,
    drift: bool,
    findings: Vec<FindingJson>,
    logins: Vec<LoginJson>,
    foreign: Vec<String>,
    foreign_count: usize,
}

#[derive(Serialize)]
struct FindingJson {
    kind: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct LoginJson {
    login: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    same: usize,
    drift: usize,
    failed: usize,
    unreachable: usize,
    not_attempted: usize,
    skipped: usize,
    total: usize,
}

/// The document, with a final line feed.
pub fn json(rows: &[StatusRow]) -> String {
    let n = |outcome| count(rows, outcome);
    let summary = Summary {
        same: n("same"),
        drift: n("drift"),
        failed: n("failed"),
        unreachable: n("unreachable"),
        not_attempted: n("not_attempted"),
        skipped: n("skipped"),
        total: rows.len(),
    };
    let document = Document { schema: SCHEMA, hosts: rows.iter().map(host_json).collect(), summary };
    serde_json::to_string_pretty(&document).expect("strings, numbers and lists are JSON") + "\n"
}

fn host_json(row: &StatusRow) -> HostJson {
    let (stage, reason) = match &row.result {
        Ok(_) => (None, None),
        Err(Unseen::Failed(stage, why)) => (Some(stage.name()), Some(line(why))),
        Err(Unseen::Skipped(why) | Unseen::NotAttempted(why)) => (None, Some(line(why))),
    };
    let files = row.result.iter().flatten().map(|file| FileJson {
        target: file.target,
        path: line(&file.path),
        drift: file.has_drift(),
        findings: file.findings.iter().map(|f| FindingJson { kind: f.kind.name(), detail: line(&f.detail) }).collect(),
        logins: file.logins.iter().map(login_json).collect(),
        foreign: file.foreign.iter().map(|key| line(key)).collect(),
        foreign_count: file.foreign_count,
    });
    HostJson { host: line(&row.host), outcome: row.outcome(), stage, reason, files: files.collect() }
}

fn login_json(login: &LoginStatus) -> LoginJson {
    LoginJson { login: login.login.clone(), verdict: login.verdict.name(), detail: login.detail.as_deref().map(line), expired: login.expired.clone() }
}
