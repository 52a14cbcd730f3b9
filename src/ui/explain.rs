//! `regprov explain`: which login each program of a host would use, as text and as JSON. No password is known here.

use std::fmt::Write as _;

use serde::Serialize;

use super::line;
use crate::model::sight::{Answer, Step, Verdict};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.explain/1";

/// What was asked.
pub struct Asked<'a> {
    /// The host.
    pub host: &'a str,
    /// The registry, as the inventory would have it.
    pub registry: &'a str,
    /// Whose programs.
    pub user: &'a str,
    /// The inventory's targets into whose files none of them looks.
    pub unread: &'a [String],
}

/// One paragraph for each program: its verdict, and the files that it looks into in its order. Programs that were not found come last, on one
/// line, unless none was found.
pub fn text(asked: &Asked<'_>, answers: &[Answer]) -> String {
    let mut out = format!("{} on {}, programs of {}\n\n", line(asked.registry), line(asked.host), line(asked.user));
    let none = answers.iter().all(|a| !a.installed);
    let shown = |a: &&Answer| a.installed || none;
    let width = answers.iter().filter(shown).map(|a| a.program.len()).max().unwrap_or(0);
    for answer in answers.iter().filter(shown) {
        let _ = writeln!(out, "{:width$}  {}", answer.program, line(&verdict(&answer.verdict)));
        for step in &answer.steps {
            let mark = if step.ours { " (this inventory's)" } else { "" };
            let _ = writeln!(out, "{:width$}    {}{mark}: {}", "", line(&step.file), line(&step.found));
        }
        for note in &answer.notes {
            let _ = writeln!(out, "{:width$}    note: {}", "", line(note));
        }
    }
    let absent: Vec<&str> = answers.iter().filter(|a| !a.installed).map(|a| a.program).collect();
    for target in asked.unread {
        let _ = writeln!(out, "\nnone of them looks into the file of this inventory's {}; a variable or a flag has to name it", line(target));
    }
    match () {
        () if none => out.push_str("\nnone of these programs was found in /usr/bin and the like\n"),
        () if absent.is_empty() => {}
        () => {
            let _ = writeln!(out, "\nnot found in /usr/bin and the like: {} (--json tells of them too)", absent.join(", "));
        }
    }
    out
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Sends { username, file, entry, login } => {
            let whose = login.as_ref().map_or_else(|| "no login of this inventory for it".to_string(), |name| format!("login \"{name}\""));
            format!("sends {username}, entry {entry} of {file}: {whose}")
        }
        Verdict::Indirect { file, entry, what } => format!("sends what the file does not tell: entry {entry} of {file} is for {what}"),
        Verdict::Anonymous => "sends no login: pulls are anonymous".to_string(),
        Verdict::Fails { file, why } => format!("fails at {file}: {why}"),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    host: String,
    registry: String,
    user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
    programs: Vec<ProgramJson<'a>>,
}

#[derive(Serialize)]
struct ProgramJson<'a> {
    program: &'a str,
    installed: bool,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    looked: Vec<StepJson>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct StepJson {
    file: String,
    found: String,
    inventory: bool,
}

/// The document. Equal nodes give equal bytes.
pub fn json(asked: &Asked<'_>, answers: &[Answer]) -> String {
    let programs = answers.iter().map(program).collect();
    let unread = asked.unread.iter().map(|target| line(target)).collect();
    let document = Document { schema: SCHEMA, host: line(asked.host), registry: line(asked.registry), user: line(asked.user), unread, programs };
    let mut text = serde_json::to_string_pretty(&document).expect("text and plain values are always JSON");
    text.push('\n');
    text
}

fn program(answer: &Answer) -> ProgramJson<'_> {
    let mut json = ProgramJson {
        program: answer.program,
        installed: answer.installed,
        verdict: "anonymous",
        file: None,
        entry: None,
        username: None,
        login: None,
        reason: None,
        looked: answer.steps.iter().map(|Step { file, found, ours }| StepJson { file: line(file), found: line(found), inventory: *ours }).collect(),
        notes: answer.notes.iter().map(|note| line(note)).collect(),
    };
    match &answer.verdict {
        Verdict::Sends { file, entry, username, login } => {
            (json.verdict, json.file, json.entry, json.username) = ("sends", Some(line(file)), Some(line(entry)), Some(line(username)));
            json.login = login.as_ref().map(|name| line(name));
        }
        Verdict::Indirect { file, entry, what } => {
            (json.verdict, json.file, json.entry, json.reason) = ("indirect", Some(line(file)), Some(line(entry)), Some(line(what)));
        }
        Verdict::Fails { file, why } => (json.verdict, json.file, json.reason) = ("fails", Some(line(file)), Some(line(why))),
        Verdict::Anonymous => {}
    }
    json
}
