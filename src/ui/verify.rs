//! What registries said of logins, for people and for programs. Equal answers give equal bytes.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Color, line, paint};
use crate::model::verify::{LoginCheck, Standing, Verified};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.verify/1";

/// A line for each login, the way out below it where there is one, and a last line that counts.
pub fn text(verified: &Verified, colors: bool) -> String {
    let mut out = lines(verified.logins.iter(), verified.required, colors);
    let of = |standing| verified.logins.iter().filter(|l| l.verdict.standing() == standing).count();
    let words = [(Standing::Works, "valid"), (Standing::Refused, "refused"), (Standing::Unknown, "not known")];
    let counts: Vec<String> = words.iter().map(|(s, word)| (of(*s), word)).filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let total = verified.logins.len();
    let _ = writeln!(out, "\n{total} {}: {}", if total == 1 { "login" } else { "logins" }, counts.join(", "));
    out
}

/// Those that are not valid, as [`text`] has them.
pub(super) fn troubles(verified: &Verified, colors: bool) -> String {
    lines(verified.logins.iter().filter(|l| l.verdict.standing() != Standing::Works), verified.required, colors)
}

fn lines<'a>(logins: impl Iterator<Item = &'a LoginCheck>, required: bool, colors: bool) -> String {
    let mut out = String::new();
    for l in logins {
        let color = match l.verdict.standing() {
            Standing::Works => Color::Green,
            Standing::Unknown if !required => Color::Yellow,
            _ => Color::Red,
        };
        let _ = writeln!(
            out,
            "login {}: {}: {} at {}: {}",
            line(&l.login),
            paint(l.verdict.words(), color, colors),
            line(&l.username),
            line(&l.registry),
            line(&l.reason)
        );
        if let Some(hint) = &l.hint {
            let _ = writeln!(out, "    {}", line(hint));
        }
    }
    out
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    required: bool,
    logins: Vec<Login>,
    summary: Summary,
}

#[derive(Serialize)]
pub(super) struct Login {
    login: String,
    registry: String,
    username: String,
    verdict: &'static str,
    refused: bool,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_host: Option<String>,
    granted: Vec<String>,
}

#[derive(Serialize)]
struct Summary {
    valid: usize,
    refused: usize,
    unknown: usize,
    total: usize,
}

/// The logins as documents have them.
pub(super) fn logins(verified: &Verified) -> Vec<Login> {
    let refused: Vec<&str> = verified.refused().map(|l| l.login.as_str()).collect();
    let login = |l: &LoginCheck| Login {
        login: line(&l.login),
        registry: line(&l.registry),
        username: line(&l.username),
        verdict: l.verdict.name(),
        refused: refused.contains(&l.login.as_str()),
        reason: line(&l.reason),
        hint: l.hint.as_deref().map(line),
        scheme: l.scheme.map(|s| s.name()),
        auth_host: l.auth_host.as_deref().map(line),
        granted: l.granted.iter().map(|g| line(g)).collect(),
    };
    verified.logins.iter().map(login).collect()
}

/// The document, with a final line feed.
pub fn json(verified: &Verified) -> String {
    let of = |standing| verified.logins.iter().filter(|l| l.verdict.standing() == standing).count();
    let summary = Summary { valid: of(Standing::Works), refused: of(Standing::Refused), unknown: of(Standing::Unknown), total: verified.logins.len() };
    let document = Document { schema: SCHEMA, required: verified.required, logins: logins(verified), summary };
    serde_json::to_string_pretty(&document).expect("strings, numbers and lists are JSON") + "\n"
}
