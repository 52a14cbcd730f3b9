//! What `regprov import` found, before anything is written: never a value.

use comfy_table::{ContentArrangement, Table, presets};

use super::line;

/// A login that would be sealed.
pub struct Row {
    /// Its name in the vault.
    pub login: String,
    /// Its registry.
    pub registry: String,
    /// The account.
    pub username: String,
    /// When it ends; empty where nobody says.
    pub expires: String,
    /// Where in the source it stands.
    pub from: String,
}

/// One line a login, then one for each thing that is left (what, why).
pub fn table(rows: &[Row], left: &[(String, String)]) -> String {
    let mut out = String::new();
    if rows.is_empty() {
        out.push_str("no login to seal\n");
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["LOGIN", "REGISTRY", "USERNAME", "EXPIRES", "FROM"]);
        for row in rows {
            let expires = if row.expires.is_empty() { "-" } else { &row.expires };
            table.add_row([&row.login, &row.registry, &row.username, expires, &row.from].map(line));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        out.push_str(&format!("{}\n", table.trim_fmt()));
    }
    if !left.is_empty() {
        out.push_str("\nleft where it is:\n");
        left.iter().for_each(|(what, why)| out.push_str(&format!("  {}: {}\n", line(what), line(why))));
    }
    out
}

/// What of a source of hosts becomes what, and for how many hosts: a line each.
pub fn mapped(rows: &[[String; 3]]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["ANSIBLE", "REGPROV", "HOSTS"]);
    for row in rows {
        table.add_row(row.each_ref().map(|cell| line(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_file_cannot_steer_a_terminal() {
        let row = |text: &str| Row { login: text.into(), registry: text.into(), username: text.into(), expires: String::new(), from: text.into() };
        let shown = table(&[row("a\u{1b}[2J\nb")], &[("c\rd".into(), "e\u{202e}".into())]);
        assert_eq!(shown.lines().count(), 5, "{shown}");
        assert!(!shown.contains(['\u{1b}', '\r', '\u{202e}']), "{shown:?}");
        assert_eq!(table(&[], &[]), "no login to seal\n");
    }
}
