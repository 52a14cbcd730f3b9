//! What people and programs see. [`recap`], [`json`], [`hosts`], [`explain`], [`lint`] and their like turn a report into text and are pure; [`progress`] draws
//! while the run goes on. Everything that comes from a report passes [`printable`] on its way out.

mod caret;
pub mod expiry;
pub mod explain;
pub mod fold;
pub mod hosts;
pub mod import;
pub mod json;
pub mod lint;
pub mod log;
pub mod ping;
pub mod progress;
pub mod recap;
pub mod robots;
pub mod rotation;
pub mod sarif;
pub mod status;
pub mod trust;
pub mod verify;

use std::io::{self, IsTerminal, Write};

use crate::model::text::printable;

/// The longest reason that is shown, in characters. What a node said in it was capped before.
const REASON_CHARS_MAX: usize = 1000;

/// `120 hosts`, `1 host and 3 namespaces`: every namespace has a slash in its name, and no host has.
fn counted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let (namespaces, hosts): (Vec<&str>, Vec<&str>) = names.partition(|name| name.contains('/'));
    let of = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (hosts.len(), namespaces.len()) {
        (hosts, 0) => of(hosts, "host"),
        (0, namespaces) => of(namespaces, "namespace"),
        (hosts, namespaces) => format!("{} and {}", of(hosts, "host"), of(namespaces, "namespace")),
    }
}

/// A text of a report, fit to be shown on one line.
fn line(text: &str) -> String {
    printable(text, REASON_CHARS_MAX)
}

/// Writes to stdout. A reader that went away (`| head`) is no error; a full disk is.
pub fn out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Tells on stderr why the run ended, and the way out. Each line of the message is kept as a line.
pub fn error(message: &str, hint: Option<&str>) {
    tell("error", message);
    if let Some(hint) = hint {
        tell("  hint", hint);
    }
}

/// Tells something on stderr that does not end the run.
pub fn warning(message: &str) {
    tell("warning", message);
}

/// Tells on stderr what was done.
pub fn note(message: &str) {
    tell("note", message);
}

/// `label: first line`, then the other lines. If stderr is closed there is nobody to tell.
fn tell(label: &str, message: &str) {
    let lines: Vec<String> = message.lines().map(line).collect();
    let _ = writeln!(io::stderr().lock(), "{label}: {}", lines.join("\n"));
}

/// Whether stdout gets colours: a terminal, and NO_COLOR is not set (<https://no-color.org>: set and not empty).
pub fn stdout_has_colors() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// The colours of outcomes, as SGR parameters.
#[derive(Clone, Copy)]
enum Color {
    Green = 32,
    Yellow = 33,
    Red = 31,
    Plain = 0,
}

/// `text` in a colour, where there are colours.
fn paint(text: &str, color: Color, colors: bool) -> String {
    match color {
        Color::Plain => text.to_string(),
        _ if !colors => text.to_string(),
        color => format!("\x1b[{}m{text}\x1b[0m", color as u8),
    }
}
