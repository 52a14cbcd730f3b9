//! `regprov lint` for people and as JSON; for code scanning there is [`sarif`](super::sarif).

use serde::Serialize;

use super::{Color, line, paint};
use crate::model::finding::{Finding, Findings, Level};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.lint/1";

/// A line for each finding as compilers write them, `vault.yml:12:3: error: what it is [rule]`, with what to do below it, and a sum.
pub fn text(findings: &Findings, colors: bool) -> String {
    let mut out = String::new();
    for finding in &findings.found {
        let color = match finding.level {
            Level::Error => Color::Red,
            Level::Warning => Color::Yellow,
            Level::Note => Color::Plain,
        };
        let level = paint(finding.level.name(), color, colors);
        out.push_str(&format!("{}: {level}: {} [{}]\n", place(finding), line(&finding.message), finding.rule.id));
        let hint = finding.hint.as_deref().unwrap_or(finding.rule.help);
        for (i, hint) in hint.lines().enumerate() {
            out.push_str(&if i == 0 { format!("  hint: {}\n", line(hint)) } else { format!("        {}\n", line(hint.trim_start())) });
        }
    }
    if !findings.found.is_empty() {
        out.push('\n');
    }
    out.push_str(&sum(findings));
    out
}

fn place(finding: &Finding) -> String {
    let file = line(&finding.file);
    match (finding.line, finding.column) {
        (0, _) => file,
        (at, 0) => format!("{file}:{at}"),
        (at, column) => format!("{file}:{at}:{column}"),
    }
}

/// How many there are, what they are of, and what was not looked at.
fn sum(findings: &Findings) -> String {
    let n = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let [errors, warnings, notes] = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "note")].map(|(l, one)| n(findings.count(l), one));
    let found = if findings.found.is_empty() { "nothing found".to_string() } else { format!("{errors}, {warnings}, {notes}") };
    let mut out = match findings.secrets {
        Some(secrets) => format!("{found} in {}\n", n(secrets, "pull Secret")),
        None if findings.namespaces == 0 => format!("{found} in {} and {}\n", n(findings.logins, "login"), n(findings.hosts, "host")),
        None => format!("{found} in {}, {} and {}\n", n(findings.logins, "login"), n(findings.hosts, "host"), n(findings.namespaces, "namespace")),
    };
    for missed in missed(findings) {
        out.push_str(&format!("{missed}\n"));
    }
    out
}

/// What could not be looked at, and what to do about it.
pub(super) fn missed(findings: &Findings) -> Vec<String> {
    let hosts = (!findings.resolved).then(|| "what the hosts get is not looked at before these errors are gone".to_string());
    hosts.into_iter().chain(not_looked_at(findings.sealed)).collect()
}

/// What rules about passwords did not see.
pub(super) fn not_looked_at(sealed: usize) -> Option<String> {
    match sealed {
        0 => None,
        1 => Some("1 password sealed and not looked at; give --identity".to_string()),
        n => Some(format!("{n} passwords sealed and not looked at; give --identity")),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    findings: Vec<FindingJson<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    rule: &'a str,
    level: &'a str,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u64>,
    message: String,
    hint: String,
}

#[derive(Serialize)]
struct Summary {
    errors: usize,
    warnings: usize,
    notes: usize,
    logins: usize,
    hosts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<usize>,
    resolved: bool,
    sealed: usize,
}

/// The same as one JSON document with a final line feed. `sealed` counts passwords that were not looked at; without `resolved`, what hosts
/// get was not.
pub fn json(findings: &Findings) -> String {
    let known = |n: u64| Some(n).filter(|n| *n > 0);
    let document = Document {
        schema: SCHEMA,
        findings: findings
            .found
            .iter()
            .map(|f| FindingJson {
                rule: f.rule.id,
                level: f.level.name(),
                file: line(&f.file),
                line: known(f.line),
                column: known(f.line).and(known(f.column)),
                message: line(&f.message),
                hint: hint(f),
            })
            .collect(),
        summary: Summary {
            errors: findings.count(Level::Error),
            warnings: findings.count(Level::Warning),
            notes: findings.count(Level::Note),
            logins: findings.logins,
            hosts: findings.hosts,
            namespaces: Some(findings.namespaces).filter(|n| *n > 0),
            secrets: findings.secrets,
            resolved: findings.resolved,
            sealed: findings.sealed,
        },
    };
    serde_json::to_string_pretty(&document).expect("strings, numbers and lists are JSON") + "\n"
}

/// What to do, on one line.
pub(super) fn hint(finding: &Finding) -> String {
    let hint = finding.hint.as_deref().unwrap_or(finding.rule.help);
    hint.lines().map(|l| line(l.trim_start())).collect::<Vec<_>>().join("; ")
}
