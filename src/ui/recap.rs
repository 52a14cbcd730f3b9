//! The words after a run: who ended how, folded; every reason once, with the hosts and the file it concerns.

use std::fmt::Write;

use super::fold::{Groups, destinations, fold_counted};
use super::{Color, line, paint};
use crate::model::kubernetes::TARGET;
use crate::model::text::printable;
use crate::model::{Change, FileRow, HostRow, Outcome, Report, Stage};

/// How the recap is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Nothing was written: say what would be.
    pub check: bool,
    /// Show the shape of every change.
    pub diff: bool,
    /// Use colours.
    pub colors: bool,
    /// The command that repeats the run, when a journal knows who is left: `regprov apply inventory.yml`.
    pub command: Option<&'a str>,
}

/// The outcomes in the order of the recap: the word in reports, the word here, its colour.
const ORDER: [(&str, &str, Color); 7] = [
    ("changed", "changed", Color::Green),
    ("unchanged", "unchanged", Color::Plain),
    ("failed", "failed", Color::Red),
    ("unreachable", "unreachable", Color::Red),
    ("unknown", "unknown", Color::Red),
    ("not_attempted", "not attempted", Color::Yellow),
    ("skipped", "skipped", Color::Yellow),
];

/// The whole recap. It ends with one line that says how many hosts ended how.
pub fn recap(report: &Report, options: Options<'_>) -> String {
    let mut sections = vec![outcomes(report, options), troubles(report, options), notes(report, options)];
    if options.diff {
        sections.push(diffs(report, options));
    }
    sections.push(logins(report, options));
    sections.push(stopped(report, options));
    sections.push(summary(report, options.check) + &way_on(report, options));
    sections.retain(|s| !s.is_empty());
    sections.join("\n")
}

/// Logins that did not prove right, and what follows from that.
fn logins(report: &Report, options: Options<'_>) -> String {
    let Some(verified) = &report.verified else { return String::new() };
    let mut out = super::verify::troubles(verified, options.colors);
    let refused = verified.refused().count();
    if refused > 0 {
        let (logins, was) = if refused == 1 { ("1 login".to_string(), "is") } else { (format!("{refused} logins"), "are") };
        let why = if verified.required { "not proven at the registry" } else { "refused" };
        let _ = writeln!(out, "{}: {logins} {was} {why}; no host was written", paint("stopped", Color::Red, options.colors));
    }
    out
}

/// Why a guard ended the run.
fn stopped(report: &Report, options: Options<'_>) -> String {
    let why = report.stopped.iter().map(|why| format!("{}: {}\n", paint("stopped", Color::Red, options.colors), line(why)));
    why.collect()
}

/// `120 hosts and 4 namespaces: 121 changed, 3 failed`, as one line.
pub fn summary(report: &Report, check: bool) -> String {
    let counts: Vec<String> = ORDER
        .iter()
        .map(|(outcome, word, _)| (count(report, outcome), word_of(word, check)))
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    let total = destinations(report.hosts.iter().map(|row| row.host.as_str()));
    let stopped = if report.interrupted.is_some() { "stopped by a signal; " } else { "" };
    if counts.is_empty() { format!("{stopped}{total}\n") } else { format!("{stopped}{total}: {}\n", counts.join(", ")) }
}

/// What to type when something is left.
fn way_on(report: &Report, options: Options<'_>) -> String {
    let any = |words: &[&str]| report.hosts.iter().any(|h| words.contains(&h.outcome.name()));
    // Not cut as a reason is: half a command is another one.
    match options.command.map(|command| printable(command, usize::MAX - 1)) {
        Some(command) if any(&["not_attempted"]) => format!("continue: {command} --resume\n"),
        Some(command) if any(&["failed", "unreachable", "unknown"]) => format!("again: {command} --limit @failed\n"),
        _ => String::new(),
    }
}

/// How many hosts ended so, by the word in reports.
pub(super) fn count(report: &Report, outcome: &str) -> usize {
    report.hosts.iter().filter(|h| h.outcome.name() == outcome).count()
}

pub(super) fn word_of(word: &'static str, check: bool) -> &'static str {
    if check && word == "changed" { "would be changed" } else { word }
}

/// One line for each outcome that occurred, with its hosts.
fn outcomes(report: &Report, options: Options<'_>) -> String {
    let mut rows = Vec::new();
    for (outcome, word, color) in ORDER {
        let hosts: Vec<&str> = report.hosts.iter().filter(|h| h.outcome.name() == outcome).map(|h| h.host.as_str()).collect();
        if !hosts.is_empty() {
            rows.push((format!("{}:", word_of(word, options.check)), color, fold_counted(&hosts)));
        }
    }
    let width = rows.iter().map(|(label, ..)| label.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut out, (label, color, hosts)| {
        // The padding stands outside the colour, so that it can be counted.
        let pad = " ".repeat(width - label.len());
        let _ = writeln!(out, "{}{pad} {hosts}", paint(label, *color, options.colors));
        out
    })
}

/// Why hosts failed or were skipped: each reason once.
fn troubles(report: &Report, options: Options<'_>) -> String {
    let mut groups = Groups::new();
    for row in &report.hosts {
        let Some(why) = row.outcome.reason() else { continue };
        let stage = row.outcome.trouble().map(|(stage, _)| stage);
        let failed: Vec<(&FileRow, &str)> = row.files.iter().filter(|f| f.change == Change::Failed).filter_map(|f| Some((f, f.reason.as_deref()?))).collect();
        for (file, reason) in &failed {
            groups.add((row.outcome.name(), stage, shared(reason, &row.host)), (Some(*file), row, *reason));
        }
        // The host's reason often is that of a file: then it has been told.
        if !failed.iter().any(|(_, reason)| why.contains(reason)) {
            groups.add((row.outcome.name(), stage, shared(why, &row.host)), (None, row, why));
        }
    }
    let mut rows = groups.into_rows();
    rows.sort_by_key(|((outcome, stage, _), _)| (ORDER.iter().position(|(o, ..)| o == outcome), *stage));
    let mut out = String::new();
    for ((outcome, stage, template), members) in rows {
        let label = match stage {
            Some(stage) => paint(&format!("{outcome} at {stage}"), Color::Red, options.colors),
            None => paint(outcome, Color::Yellow, options.colors),
        };
        // A reason of one host is shown as it was; the shared form names no host.
        let why = if members.iter().all(|m| m.2 == members[0].2) { members[0].2 } else { &template };
        let _ = writeln!(out, "{label}: {}", line(why));
        let mut places = Groups::new();
        for (file, row, _) in members {
            places.add(file.map(|f| place(f, &row.host)), (file, row.host.as_str()));
        }
        write_places(&mut out, places);
    }
    out
}

/// What the admin should know of hosts, and of files that did not fail: each note once.
fn notes(report: &Report, options: Options<'_>) -> String {
    let mut groups = Groups::new();
    for row in &report.hosts {
        for file in row.files.iter().filter(|f| f.change != Change::Failed) {
            for note in file.reason.iter().flat_map(|r| r.lines()).filter(|n| !n.is_empty()) {
                groups.add(shared(note, &row.host), (Some(file), row, note));
            }
        }
        for note in &row.notes {
            groups.add(shared(note, &row.host), (None, row, note.as_str()));
        }
    }
    let mut out = String::new();
    for (template, members) in groups.into_rows() {
        let note = if members.iter().all(|m| m.2 == members[0].2) { members[0].2 } else { &template };
        let _ = writeln!(out, "{}: {}", paint("note", Color::Yellow, options.colors), line(note));
        let mut places = Groups::new();
        for (file, row, _) in members {
            places.add(file.map(|f| place(f, &row.host)), (file, row.host.as_str()));
        }
        write_places(&mut out, places);
    }
    out
}

/// What changed in each file, equal changes once.
fn diffs(report: &Report, options: Options<'_>) -> String {
    let mut groups = Groups::new();
    for row in &report.hosts {
        for file in row.files.iter().filter(|f| f.change.is_change() || !f.diff.is_empty()) {
            groups.add((place(file, &row.host), file.change, &file.diff), (Some(file), row.host.as_str()));
        }
    }
    let mut out = String::new();
    for ((place, change, diff), members) in groups.into_rows() {
        let (place, hosts) = named(place, &members);
        let word = match change {
            Change::Metadata if members.iter().all(|(file, _)| file.is_some_and(|f| f.target == TARGET)) => {
                ["labels or annotations changed", "labels or annotations would be changed"][usize::from(options.check)]
            }
            change => change_word(change, options.check),
        };
        let _ = writeln!(out, "{place}: {word} on {}", fold_counted(&hosts));
        for text in diff {
            let color = match text.as_bytes().first() {
                Some(b'+') => Color::Green,
                Some(b'-') => Color::Red,
                Some(b'~') => Color::Yellow,
                _ => Color::Plain,
            };
            let _ = writeln!(out, "    {}", paint(&line(text), color, options.colors));
        }
    }
    out
}

/// A file of a host, or the host itself.
type Member<'a> = (Option<&'a FileRow>, &'a str);

fn write_places(out: &mut String, places: Groups<Option<String>, Member<'_>>) {
    for (place, members) in places.into_rows() {
        let (place, hosts) = named(place.unwrap_or_default(), &members);
        let colon = if place.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "    {place}{colon}{}", fold_counted(&hosts));
    }
}

/// `enroot /etc/enroot/.credentials`, with `<host>` where the host's name stands in it: `root:` often holds that.
fn place(file: &FileRow, host: &str) -> String {
    format!("{} {}", file.target, line(&shared(&file.path, host)))
}

/// The place as it is named to people, and its hosts. That of one host is named as it was.
fn named<'a>(place: String, members: &[Member<'a>]) -> (String, Vec<&'a str>) {
    let place = match members {
        [(Some(file), _)] => format!("{} {}", file.target, line(&file.path)),
        _ => place,
    };
    (place, members.iter().map(|(_, host)| *host).collect())
}

fn change_word(change: Change, check: bool) -> &'static str {
    match (change, check) {
        (Change::Created, true) => "would be created",
        (Change::Updated, true) => "would be updated",
        (Change::Removed, true) => "would be removed",
        (Change::Metadata, true) => "mode or owner would be changed",
        (Change::Metadata, false) => "mode or owner changed",
        (Change::NotAttempted, _) => "not attempted",
        (change, _) => change.name(),
    }
}

/// A reason with `<host>` for the host's own name and `SHA256:...` for its key's fingerprint, so that reasons that differ by
/// these alone are one. Only names with a digit or a dot: a host that is called `login` is not meant by every "login" in a
/// sentence.
pub(super) fn shared(reason: &str, host: &str) -> String {
    let mut parts = reason.split("SHA256:");
    let first = parts.next().unwrap_or_default().to_string();
    let reason = parts.fold(first, |out, part| out + "SHA256:..." + part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/'));
    if host.contains(|c: char| c.is_ascii_digit() || c == '.') { replace_word(&reason, host, "<host>") } else { reason }
}

/// Replaces `word` where it is not part of a longer name.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let alone = !before.ends_with(in_name) && !after.starts_with(in_name);
        out.push_str(before);
        out.push_str(if alone { with } else { word });
        rest = after;
    }
    out + rest
}

/// One line about a host that has ended, for plain output: `failed: gpu042: connect: connection refused`.
pub(super) fn host_line(row: &HostRow, check: bool) -> String {
    let word = ORDER.iter().find(|(o, ..)| *o == row.outcome.name()).map_or(row.outcome.name(), |(_, w, _)| word_of(w, check));
    let host = line(&row.host);
    match &row.outcome {
        Outcome::Failed { stage, reason } | Outcome::Unreachable { stage, reason } | Outcome::Unknown { stage, reason } => {
            trouble_line(word, &host, *stage, reason)
        }
        Outcome::Skipped { reason } => format!("{word}: {host}: {}", line(reason)),
        _ => format!("{word}: {host}"),
    }
}

pub(super) fn trouble_line(word: &str, host: &str, stage: Stage, reason: &str) -> String {
    format!("{word}: {host}: {stage}: {}", line(reason))
}
