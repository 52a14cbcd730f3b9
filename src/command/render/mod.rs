//! `regprov render`: what `apply` would write, to files of the admin's own. Contacts nobody.

mod hosts;
mod in_git;
mod manifests;
mod output;

use std::path::Path;

use output::Output;

use super::apply;
use super::console::Console;
use super::load::{Opener, check_expiry};
use super::vault::RecipientSources;
use crate::cli::{RenderArgs, RenderTarget};
use crate::error::{Error, Result};
use crate::inventory::{self, Inventory};
use crate::model::{Host, Namespace, TargetKind};
use crate::push::Logins;
use crate::vault::Recipients;

/// Renders, and returns the exit code.
///
/// # Errors
/// All that is wrong with the input, and files that cannot be written.
pub fn render(args: &RenderArgs, console: &mut Console<'_>) -> Result<u8> {
    let kinds = kinds(&args.targets)?;
    let path = args.output.as_deref().filter(|path| *path != Path::new("-"));
    if kinds.is_empty() && path.is_none() && args.sealed.is_none() {
        console.secret_may_be_printed(args.reveal)?;
    }
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    let mut inventory = opener.inventory(&args.inventory, args.vault.allow_plaintext, args.allow_expired)?;
    let output = Output { path, recipients: recipients(args, &inventory, console)?, overwrite: args.overwrite };
    let chosen = opener.limit(&inventory, args.limit.as_deref())?;
    inventory::select(&mut inventory, &args.logins, &kinds)?;
    match kinds.is_empty() {
        true => manifests::render(args, &mut opener, &inventory, &chosen.namespaces, &output, console),
        false => hosts::render(args, &mut opener, &inventory, &chosen.hosts, &output, console),
    }
}

/// The targets of hosts; none for Kubernetes.
fn kinds(targets: &[RenderTarget]) -> Result<Vec<TargetKind>> {
    let hosts: Vec<TargetKind> = targets.iter().filter_map(|target| if let RenderTarget::Host(kind) = target { Some(*kind) } else { None }).collect();
    if hosts.is_empty() || hosts.len() == targets.len() {
        return Ok(hosts);
    }
    Err(Error::usage("manifests and the files of hosts are rendered one after the other").hint("leave --target kubernetes to a run of its own"))
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

/// Opens the logins that these get, and refuses what is wrong with them for their targets.
fn open(args: &RenderArgs, opener: &mut Opener, inventory: &Inventory, hosts: &[Host], namespaces: &[Namespace]) -> Result<Logins> {
    let logins = apply::open(opener, inventory, hosts, namespaces, args.vault.allow_plaintext)?;
    check_expiry(logins.values(), &inventory.logins, args.allow_expired)?;
    apply::check(hosts, namespaces, &logins)?;
    Ok(logins)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Verb};
    use crate::command::console::testing::Scene;

    #[test]
    fn manifests_go_to_no_terminal_unless_that_is_asked_for() {
        let told = |line: &str, on_terminal| {
            let line = format!("regprov render /nonexistent/inventory.yml --target kubernetes{line}");
            let Verb::Render(args) = Cli::try_parse_from(line.split(' ')).unwrap().verb else { panic!("another verb") };
            Scene { on_terminal, ..Scene::default() }.run(|console| render(&args, console)).unwrap_err().to_string()
        };
        assert!(told("", true).contains("--reveal"));
        assert!(told(" -o -", true).contains("--reveal"));
        for (line, on_terminal) in [("", false), (" --reveal", true), (" --sealed age", true), (" -o x.yaml", true)] {
            assert!(told(line, on_terminal).contains("/nonexistent/inventory.yml"), "{line}: it comes to read the inventory");
        }
    }
}
