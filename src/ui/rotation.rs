//! `regprov rotate status`: who has which password, as text and as JSON. Equal nodes give equal bytes.

use std::fmt::Write as _;

use serde::Serialize;

use super::fold::{Groups, destinations, fold_counted};
use super::line;
use super::recap::shared;
use crate::model::ping::Unseen;
use crate::model::rotation::{HostState, RotationRow};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.rotate/1";

/// The words of states in the order in which they are told, and those for people.
const STATES: [(&str, &str); 8] = [
    ("new", "new"),
    ("old", "old"),
    ("other", "other"),
    ("missing", "missing"),
    ("failed", "failed"),
    ("unreachable", "unreachable"),
    ("not_attempted", "not attempted"),
    ("skipped", "skipped"),
];

/// For each login its hosts by what they have, folded, and a line that counts them.
pub fn text(rows: &[RotationRow]) -> String {
    if rows.is_empty() {
        return "no rotation is under way\n".to_string();
    }
    let sections: Vec<String> = rows.iter().map(section).collect();
    sections.join("\n")
}

fn section(row: &RotationRow) -> String {
    let account = |username: &str| line(username);
    let mut out = format!("login {}: {} at {}", line(&row.login), account(&row.username), line(&row.registry));
    if row.username != row.previous_username {
        let _ = write!(out, ", before {}", account(&row.previous_username));
    }
    out.push('\n');
    let there: Vec<_> = STATES.iter().filter(|(name, _)| count(row, name) > 0).collect();
    let width = there.iter().map(|(_, word)| word.len()).max().unwrap_or(0) + 1;
    for (name, word) in &there {
        let mut groups = Groups::new();
        for (host, state) in row.hosts.iter().filter(|(_, state)| state.name() == *name) {
            groups.add(why(state).map(|why| line(&shared(&why, host))), host.as_str());
        }
        for (why, hosts) in groups.into_rows() {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let _ = writeln!(out, "    {:width$} {}{why}", format!("{word}:"), fold_counted(&hosts));
        }
    }
    let counts: Vec<String> = there.iter().map(|(name, word)| format!("{} {word}", count(row, name))).collect();
    let total = destinations(row.hosts.iter().map(|(host, _)| host.as_str()));
    let _ = writeln!(out, "{total}{}{}", if row.hosts.is_empty() { "" } else { ": " }, counts.join(", "));
    out
}

fn count(row: &RotationRow, name: &str) -> usize {
    row.hosts.iter().filter(|(_, state)| state.name() == name).count()
}

/// Why a host does not have the new password, where there is something to say.
fn why(state: &HostState) -> Option<String> {
    match state {
        HostState::Other(why) => why.clone(),
        HostState::Unseen(Unseen::Failed(stage, why)) => Some(format!("{}: {why}", stage.name())),
        HostState::Unseen(Unseen::Skipped(why) | Unseen::NotAttempted(why)) => Some(why.clone()).filter(|why| !why.is_empty()),
        _ => None,
    }
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    logins: Vec<LoginJson>,
}

#[derive(Serialize)]
struct LoginJson {
    login: String,
    registry: String,
    username: String,
    previous_username: String,
    hosts: Vec<HostJson>,
    done: bool,
}

#[derive(Serialize)]
struct HostJson {
    host: String,
    has: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// One JSON document, schema `regprov.rotate/1`.
pub fn json(rows: &[RotationRow]) -> String {
    let host = |(host, state): &(String, HostState)| HostJson { host: host.clone(), has: state.name(), reason: why(state).map(|why| line(&why)) };
    let logins = rows.iter().map(|row| LoginJson {
        login: row.login.clone(),
        registry: row.registry.clone(),
        username: row.username.clone(),
        previous_username: row.previous_username.clone(),
        hosts: row.hosts.iter().map(host).collect(),
        done: row.is_done(),
    });
    serde_json::to_string_pretty(&Document { schema: SCHEMA, logins: logins.collect() }).expect("strings and lists are JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;

    #[test]
    fn hosts_are_told_by_what_they_have() {
        let down = || HostState::Unseen(Unseen::Failed(Stage::Connect, "connection\u{1b}[2J refused".into()));
        let states = [HostState::New, HostState::New, HostState::Old, HostState::Other(Some("another account".into())), HostState::Missing, down(), down()];
        let hosts = states.into_iter().enumerate().map(|(i, state)| (format!("gpu{}", i + 1), state)).collect();
        let row = RotationRow { login: "ngc".into(), registry: "nvcr.io".into(), username: "robot-b".into(), previous_username: "robot-a".into(), hosts };
        let want = "\
login ngc: robot-b at nvcr.io, before robot-a
    new:         gpu[1-2] (2)
    old:         gpu3 (1)
    other:       gpu4 (1): another account
    missing:     gpu5 (1)
    unreachable: gpu[6-7] (2): connect: connection\\u{1b}[2J refused
7 hosts: 2 new, 1 old, 1 other, 1 missing, 2 unreachable
";
        assert_eq!(text(std::slice::from_ref(&row)), want);
        let doc: serde_json::Value = serde_json::from_str(&json(std::slice::from_ref(&row))).unwrap();
        assert_eq!((&doc["schema"], &doc["logins"][0]["done"]), (&SCHEMA.into(), &false.into()));
        assert_eq!(doc["logins"][0]["hosts"][5]["has"], "unreachable");
        let done = RotationRow { hosts: vec![("gpu1".into(), HostState::New)], previous_username: "robot-b".into(), ..row };
        assert_eq!(text(&[done]), "login ngc: robot-b at nvcr.io\n    new: gpu1 (1)\n1 host: 1 new\n");
        assert_eq!(text(&[]), "no rotation is under way\n");
    }
}
