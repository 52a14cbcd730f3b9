//! `vault show`: what a vault says.

use std::path::Path;

use super::entry;
use super::read::ReadVault;
use crate::command::console::Console;
use crate::command::identity::IdentitySources;
use crate::error::{Error, Result};
use crate::model::text::escape;
use crate::vault::file::recipient_count;
use crate::vault::{is_age_file, open_login};

/// `vault show`: who can open it, and its logins as a table. With `reveal` the passwords too, and then all of them open or
/// nothing is shown.
pub fn show(vault: &Path, reveal: bool, sources: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    let ReadVault { name: file, document, identities } = ReadVault::new(vault, reveal, sources, console)?;
    let recipients = document.recipients.as_deref().unwrap_or_default();

    let mut head = vec!["LOGIN", "REGISTRY", "USERNAME", "EXPIRES", "SEALED FOR"];
    let mut rows: Vec<Vec<zeroize::Zeroizing<String>>> = Vec::new();
    let mut problems = Vec::new();
    let cell = |text: Option<&str>| zeroize::Zeroizing::new(text.map_or("-".to_string(), escape));
    for (name, login, line, column) in document.logins() {
        let dynamic = login.dynamic_key();
        let sealed = dynamic.map_or_else(|| sealed_for(login.password.as_deref(), recipients.len()), |key| format!("nobody: {key}"));
        let mut row = vec![cell(Some(name)), cell(login.registry.as_deref()), cell(login.username.as_deref()), cell(login.expires.as_deref()), sealed.into()];
        let opening = identities.as_ref().filter(|_| reveal);
        let entry = || entry(name, login, format!("{file}:{line}:{column}"));
        if let (Some(_), Some(_)) = (opening, dynamic) {
            // It is had by whoever runs with it, not here.
            row.push(cell(None));
        } else if let Some(identities) = opening {
            match entry().and_then(|entry| open_login(&entry, identities, true)) {
                Ok(opened) => row.push(cell(Some(opened.password.expose()))),
                Err(e) => problems.push(e.to_string()),
            }
        }
        rows.push(row);
        // What a rotation replaces has a row of its own below.
        let Some(previous) = &login.previous else { continue };
        let sealed = sealed_for(previous.password.as_deref(), recipients.len());
        let mut row = vec![
            cell(Some("  previous")),
            cell(login.registry.as_deref()),
            cell(previous.username.as_deref()),
            cell(previous.expires.as_deref()),
            sealed.into(),
        ];
        if let Some(identities) = opening {
            match entry().map(|entry| entry.before_rotation()) {
                Ok(Some(entry)) => match open_login(&entry, identities, false) {
                    Ok(opened) => row.push(cell(Some(opened.password.expose()))),
                    Err(e) => problems.push(e.to_string()),
                },
                Ok(None) => problems.push(format!("{file}:{line}:{column}: `previous` of login `{}` is not complete", escape(name))),
                // Told already.
                Err(_) => {}
            }
        }
        rows.push(row);
    }
    if !problems.is_empty() {
        return Err(Error::vault(problems.join("\n")));
    }
    if reveal {
        head.push("PASSWORD");
    }
    let mut out = zeroize::Zeroizing::new(String::new());
    for recipient in recipients {
        out.push_str(&format!("recipient {}\n", escape(recipient)));
    }
    if rows.is_empty() {
        out.push_str("no logins\n");
    } else {
        push_table(&mut out, &head, &rows);
    }
    console.print(out.as_bytes())
}

/// The table's word for how a password is kept; `listed` is how many recipients the file names.
fn sealed_for(password: Option<&str>, listed: usize) -> String {
    let Some(password) = password else { return "no password".into() };
    match recipient_count(password.as_bytes()) {
        None if is_age_file(password.as_bytes()) => "nobody: it is damaged".into(),
        None => "nobody: it stands in the clear".into(),
        Some(n) if n == listed || listed == 0 => n.to_string(),
        Some(n) => format!("{n} (the file lists {listed}: set it again)"),
    }
}

/// Appends columns that are as wide as their widest cell, two spaces apart.
fn push_table(out: &mut String, head: &[&str], rows: &[Vec<zeroize::Zeroizing<String>>]) {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).chain([head[i].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut push = |cells: &mut dyn Iterator<Item = &str>| {
        for (i, cell) in cells.enumerate() {
            out.push_str(cell);
            if i + 1 < widths.len() {
                out.extend(std::iter::repeat_n(' ', widths[i] - cell.chars().count() + 2));
            }
        }
        out.push('\n');
    };
    push(&mut head.iter().copied());
    rows.iter().for_each(|row| push(&mut row.iter().map(|cell| cell.as_str())));
}
