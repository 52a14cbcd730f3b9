//! `regprov render`: what `apply` would write, to files of the admin's own. Contacts nobody.

mod hosts;
mod in_git;
mod output;

use output::Output;

use super::console::Console;
use super::load::Opener;
use super::vault::RecipientSources;
use crate::cli::RenderArgs;
use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::vault::Recipients;

/// Renders, and returns the exit code.
///
/// # Errors
/// All that is wrong with the input, and files that cannot be written.
pub fn render(args: &RenderArgs, console: &mut Console<'_>) -> Result<u8> {
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    let inventory = opener.inventory(&args.inventory, args.vault.allow_plaintext, args.allow_expired)?;
    let recipients = recipients(args, &inventory, console)?;
    let output = Output { recipients, overwrite: args.overwrite };
    hosts::render(args, &mut opener, inventory, &output, console)
}

/// For whom the result is sealed; `None` where it is not.
fn recipients(args: &RenderArgs, inventory: &Inventory, console: &mut Console<'_>) -> Result<Option<Recipients>> {
    let given = RecipientSources::of(&args.recipients);
    match (args.sealed.is_some(), given.is_empty()) {
        (false, true) => Ok(None),
        (false, false) => Err(Error::usage("recipients are for what is sealed").hint("add --sealed age")),
        (true, false) => given.load(console).map(Some),
        (true, true) => {
            let listed = Recipients::parse(inventory.recipients.iter().map(String::as_str))?;
            if listed.is_empty() {
                return Err(Error::usage(format!("{} and its vaults list no recipient to seal for", inventory.path)).hint("name them with -r or -R"));
            }
            Ok(Some(listed))
        }
    }
}
