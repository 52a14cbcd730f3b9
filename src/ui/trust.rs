//! The table of `regprov trust`.

use comfy_table::{ContentArrangement, Table, presets};

use super::line;

/// One key of one server.
pub struct Row {
    /// What people call the server.
    pub host: String,
    /// The name under which known_hosts has it, or would.
    pub known_as: String,
    /// The key's type; empty where there is none to show.
    pub kind: String,
    /// `SHA256:...`
    pub fingerprint: String,
    /// What is known of it.
    pub says: String,
}

/// One line a key.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["host", "known as", "type", "fingerprint", "known_hosts says"]);
    for row in rows {
        table.add_row([&row.host, &row.known_as, &row.kind, &row.fingerprint, &row.says].map(|cell| line(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}
