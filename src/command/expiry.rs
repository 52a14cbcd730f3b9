//! `regprov expiry`: when logins end, for cron and pipelines. Contacts nobody; what is sealed is opened when an identity is at hand.

use std::collections::BTreeMap;

use super::load::{Opener, now};
use crate::cli::ExpiryArgs;
use crate::error::{Error, Result};
use crate::model::expiry::Endings;
use crate::model::{Login, LoginEntry};
use crate::ui;

/// Prints the table, or the document with `--json`, and returns 10 when a login has ended or ends within `--within`.
pub fn expiry(args: &ExpiryArgs) -> Result<u8> {
    let mut opener = Opener::of_process(&args.identity)?.allow_commands(args.sources.allow_commands);
    let inventory = opener.inventory_without_ends(&args.inventory)?;
    let entries: Vec<&LoginEntry> = inventory.logins.iter().collect();
    let mut opened: BTreeMap<String, Login> = BTreeMap::new();
    for (name, login) in opener.open_each(&entries)? {
        match login {
            Ok(login) => drop(opened.insert(name, login)),
            Err(error) => ui::warning(&error.to_string()),
        }
    }
    let endings = Endings::new(inventory.logins.iter().map(|entry| (entry, opened.get(&entry.name))), now(), args.within);
    let text = if args.json { ui::expiry::json(&endings) } else { ui::expiry::table(&endings) };
    ui::out(&text).map_err(|e| Error::internal(format!("the table cannot be written to stdout: {e}")))?;
    Ok(endings.exit_code())
}
