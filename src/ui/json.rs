//! The report for programs: one JSON document, schema `regprov.report/1`. Equal reports give equal bytes.

use serde::Serialize;

use super::line;
use super::recap::count;
use crate::model::Report;

/// The schema's name; its number changes when a reader of the old one could break.
pub const SCHEMA: &str = "regprov.report/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    check: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logins: Option<Vec<super::verify::Login>>,
    hosts: Vec<Host<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Host<'a> {
    host: String,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    files: Vec<File>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Serialize)]
struct File {
    target: &'static str,
    path: String,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Summary {
    changed: usize,
    unchanged: usize,
    failed: usize,
    unreachable: usize,
    unknown: usize,
    not_attempted: usize,
    skipped: usize,
    total: usize,
}

/// The document, with a final line feed. `check` says that nothing was written, the words stay the same; with `diff`, each
/// file has the lines of its change.
pub fn json(report: &Report, check: bool, diff: bool) -> String {
    let hosts = report
        .hosts
        .iter()
        .map(|row| Host {
            host: line(&row.host),
            outcome: row.outcome.name(),
            stage: row.outcome.trouble().map(|(stage, _)| stage.name()),
            reason: row.outcome.reason().map(lines),
            files: row
                .files
                .iter()
                .map(|f| File {
                    target: f.target,
                    path: line(&f.path),
                    change: f.change.name(),
                    reason: f.reason.as_deref().map(lines),
                    diff: diff.then(|| f.diff.iter().map(|d| line(d)).collect()),
                })
                .collect(),
            notes: row.notes.iter().map(|n| line(n)).collect(),
        })
        .collect();
    let n = |outcome| count(report, outcome);
    let summary = Summary {
        changed: n("changed"),
        unchanged: n("unchanged"),
        failed: n("failed"),
        unreachable: n("unreachable"),
        unknown: n("unknown"),
        not_attempted: n("not_attempted"),
        skipped: n("skipped"),
        total: report.hosts.len(),
    };
    let logins = report.verified.as_ref().map(super::verify::logins);
    let document = Document { schema: SCHEMA, check, stopped: report.stopped.as_deref().map(lines), logins, hosts, summary };
    serde_json::to_string_pretty(&document).expect("strings, numbers and lists are JSON") + "\n"
}

/// Several notes in one text stand on lines of their own; here they share one.
fn lines(text: &str) -> String {
    text.lines().map(line).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
}
