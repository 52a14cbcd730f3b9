//! `regprov expiry`: when logins end, the next one first.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::line;
use super::lint::not_looked_at;
use crate::model::expiry::{Ending, Endings};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.expiry/1";

/// A table with a row for each login.
pub fn table(endings: &Endings) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["login", "registry", "expires", "known from", "state"]);
    for row in &endings.rows {
        let expires = row.expiry.as_ref().map_or("-".to_string(), |e| line(&e.text));
        table.add_row([line(&row.login), line(&row.registry), expires, known_from(row).unwrap_or("-").to_string(), row.state.name().to_string()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let due = endings.due();
    let sum = format!(
        "{due} of {} within {}",
        if endings.rows.len() == 1 { "1 login".to_string() } else { format!("{} logins", endings.rows.len()) },
        endings.within
    );
    let sealed = not_looked_at(endings.sealed).map(|s| format!("{s}\n")).unwrap_or_default();
    format!("{}\n\n{sum}\n{sealed}", table.trim_fmt())
}

/// Where the end was found.
fn known_from(row: &Ending) -> Option<&'static str> {
    row.expiry.as_ref().map(|_| if row.in_password { "password" } else { "expires" })
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    within: String,
    logins: Vec<LoginJson>,
    due: usize,
    sealed: usize,
}

#[derive(Serialize)]
struct LoginJson {
    login: String,
    registry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_from: Option<&'static str>,
    state: &'static str,
}

/// The same as one JSON document with a final line feed. `due` counts those that have expired too.
pub fn json(endings: &Endings) -> String {
    let logins = endings.rows.iter().map(|row| LoginJson {
        login: line(&row.login),
        registry: line(&row.registry),
        expires: row.expiry.as_ref().map(|e| line(&e.text)),
        known_from: known_from(row),
        state: row.state.name(),
    });
    let document = Document { schema: SCHEMA, within: endings.within.to_string(), logins: logins.collect(), due: endings.due(), sealed: endings.sealed };
    serde_json::to_string_pretty(&document).expect("strings, numbers and lists are JSON") + "\n"
}
