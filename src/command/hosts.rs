//! `regprov hosts`: who gets what. Contacts nobody and opens no seal.

use super::load::Opener;
use crate::cli::HostsArgs;
use crate::error::{Error, Result};
use crate::model::{Host, Namespace};
use crate::ui;

/// Prints the table, or the document with `--json`.
pub fn hosts(args: &HostsArgs) -> Result<u8> {
    let mut opener = Opener::of_process(&args.identity)?.allow_commands(args.sources.allow_commands);
    // What it says of passwords is only where they stand, so plain and expired ones do no harm here.
    let inventory = opener.inventory(&args.inventory, true, true)?;
    let chosen = opener.limit(&inventory, args.limit.as_deref())?;
    let hosts: Vec<Host> = chosen.hosts.into_iter().map(|i| inventory.hosts[i].clone()).collect();
    let namespaces: Vec<Namespace> = chosen.namespaces.into_iter().map(|i| inventory.namespaces[i].clone()).collect();
    let text = if args.json { ui::hosts::json(&hosts, &namespaces) } else { ui::hosts::table(&hosts, &namespaces) };
    ui::out(&text).map_err(|e| Error::internal(format!("the table cannot be written to stdout: {e}")))?;
    Ok(0)
}
