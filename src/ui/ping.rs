//! `regprov ping`: which hosts can be worked on, as a table and as JSON. Equal nodes give equal bytes.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::fold::{Groups, fold, fold_counted};
use super::line;
use super::recap::trouble_line;
use crate::model::ping::{NodeState, PingRow, Unseen};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.ping/1";

/// A table in which nodes that are alike share a row, then the warnings, and why the others were not reached: each once.
pub fn table(rows: &[PingRow]) -> String {
    let mut alike = Groups::new();
    let mut troubles = Groups::new();
    for row in rows {
        match &row.result {
            Ok(state) => alike.add(cells(state), row.host.as_str()),
            Err(Unseen::Failed(stage, why)) => troubles.add((format!("{} at {}", row.outcome(), stage.name()), line(why)), row.host.as_str()),
            Err(Unseen::Skipped(why)) => troubles.add(("skipped".to_string(), line(why)), row.host.as_str()),
            Err(Unseen::NotAttempted(why)) => troubles.add(("not attempted".to_string(), line(why)), row.host.as_str()),
        }
    }
    let mut out = String::new();
    let alike = alike.into_rows();
    if !alike.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["hosts", "count", "curl", "SELinux", "consumers", "free"]);
        for (cells, names) in alike {
            table.add_row([fold(&names), names.len().to_string()].into_iter().chain(cells));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let _ = writeln!(out, "{}\n", table.trim_fmt());
    }
    let mut warnings = Groups::new();
    for row in rows {
        for warning in row.result.iter().flat_map(|s| &s.warnings) {
            warnings.add(line(warning), row.host.as_str());
        }
    }
    for (warning, names) in warnings.into_rows() {
        let _ = writeln!(out, "warning: {warning}\n    {}", fold_counted(&names));
    }
    for ((how, why), names) in troubles.into_rows() {
        let _ = writeln!(out, "{how}: {why}\n    {}", fold_counted(&names));
    }
    if !out.ends_with("\n\n") {
        out.push('\n');
    }
    let words = [("reached", "reached"), ("failed", "failed"), ("unreachable", "unreachable"), ("not_attempted", "not attempted"), ("skipped", "skipped")];
    let counts: Vec<String> = words.iter().map(|(o, word)| (count(rows, o), word)).filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let _ = writeln!(out, "{} {}: {}", rows.len(), if rows.len() == 1 { "host" } else { "hosts" }, counts.join(", "));
    out
}

fn cells(state: &NodeState) -> [String; 4] {
    let none = || "-".to_string();
    let selinux = state.selinux_enforcing.map_or_else(none, |e| if e { "enforcing" } else { "permissive" }.to_string());
    let consumers = if state.consumers.is_empty() { none() } else { state.consumers.join(", ") };
    let space = |s: &crate::model::ping::Space| format!("{} {}", line(s.dir.as_str()), s.free.as_deref().unwrap_or("?"));
    let free = state.space.iter().map(space).collect::<Vec<_>>().join("\n");
    [state.curl.map_or_else(none, |v| v.to_string()), selinux, consumers, if free.is_empty() { none() } else { free }]
}

fn count(rows: &[PingRow], outcome: &str) -> usize {
    rows.iter().filter(|r| r.outcome() == outcome).count()
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    hosts: Vec<HostJson<'a>>,
}

#[derive(Serialize)]
struct HostJson<'a> {
    host: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeJson>,
}

#[derive(Serialize)]
struct NodeJson {
    curl: Option<String>,
    selinux_enforcing: Option<bool>,
    consumers: Vec<String>,
    space: Vec<SpaceJson>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct SpaceJson {
    dir: String,
    free: Option<String>,
    inodes: Option<String>,
    writable: bool,
}

/// One line about a host that has ended, for plain output.
pub fn host_line(row: &PingRow) -> String {
    let host = line(&row.host);
    match &row.result {
        Ok(_) => format!("reached: {host}"),
        Err(Unseen::Failed(stage, why)) => trouble_line(row.outcome(), &host, *stage, why),
        Err(Unseen::Skipped(why)) => format!("skipped: {host}: {}", line(why)),
        Err(Unseen::NotAttempted(why)) => format!("not attempted: {host}: {}", line(why)),
    }
}

/// The same as one JSON document with a final line feed, a row for every host in inventory order.
pub fn json(rows: &[PingRow]) -> String {
    let node = |s: &NodeState| NodeJson {
        curl: s.curl.map(|v| v.to_string()),
        selinux_enforcing: s.selinux_enforcing,
        consumers: s.consumers.clone(),
        space: s.space.iter().map(|s| SpaceJson { dir: line(s.dir.as_str()), free: s.free.clone(), inodes: s.inodes.clone(), writable: s.writable }).collect(),
        warnings: s.warnings.iter().map(|w| line(w)).collect(),
    };
    let hosts = rows
        .iter()
        .map(|row| {
            let (stage, reason) = match &row.result {
                Ok(_) => (None, None),
                Err(Unseen::Failed(stage, why)) => (Some(stage.name()), Some(line(why))),
                Err(Unseen::Skipped(why) | Unseen::NotAttempted(why)) => (None, Some(line(why))),
            };
            HostJson { host: &row.host, outcome: row.outcome(), stage, reason, node: row.result.as_ref().ok().map(node) }
        })
        .collect();
    serde_json::to_string_pretty(&Document { schema: SCHEMA, hosts }).expect("strings, numbers and lists are JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CurlVersion, Stage};

    #[test]
    fn alike_nodes_share_a_row_and_each_reason_stands_once() {
        let state = |warnings: &[&str]| NodeState {
            consumers: vec!["docker".into(), "enroot".into()],
            curl: Some(CurlVersion(8, 5, 0)),
            warnings: warnings.iter().map(ToString::to_string).collect(),
            ..NodeState::default()
        };
        let row = |host: &str, result| PingRow { host: host.into(), result };
        let rows = [
            row("n1", Ok(state(&[]))),
            row("n2", Ok(state(&["its clock is days behind"]))),
            row("n3", Err(Unseen::Failed(Stage::Connect, "connection refused".into()))),
            row("n4", Err(Unseen::Failed(Stage::Connect, "connection refused".into()))),
            row("n5", Err(Unseen::Failed(Stage::Start, "there is no sudo on the node".into()))),
            row("n6", Err(Unseen::NotAttempted("stopped by a signal".into()))),
        ];
        let want = "\
hosts   count  curl   SELinux  consumers       free
n[1-2]  2      8.5.0  -        docker, enroot  -

warning: its clock is days behind
    n2 (1)
unreachable at connect: connection refused
    n[3-4] (2)
failed at start: there is no sudo on the node
    n5 (1)
not attempted: stopped by a signal
    n6 (1)

6 hosts: 2 reached, 1 failed, 2 unreachable, 1 not attempted
";
        assert_eq!(table(&rows), want);
        let doc: serde_json::Value = serde_json::from_str(&json(&rows)).unwrap();
        assert_eq!((&doc["schema"], doc["hosts"].as_array().unwrap().len()), (&SCHEMA.into(), 6));
        assert_eq!(doc["hosts"][1]["node"]["warnings"][0], "its clock is days behind");
        assert_eq!(doc["hosts"][3]["stage"], "connect");
        assert_eq!(doc["hosts"][5]["outcome"], "not_attempted");
        assert_eq!(host_line(&rows[2]), "unreachable: n3: connect: connection refused");
    }
}
