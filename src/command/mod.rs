//! The verbs: one file each, and what they share.

pub mod console;
pub mod files;
pub mod harden;
pub mod identity;
pub mod vault;

use crate::cli::{Cli, Verb};
use crate::error::{Error, Result};

/// Runs the verb and returns the exit code.
pub async fn run(cli: &Cli) -> Result<u8> {
    let verb = match &cli.verb {
        Verb::Apply(_) => "apply",
        Verb::Hosts(_) => "hosts",
        Verb::Vault(_) => "vault",
    };
    Err(Error::internal(format!("this build has no `{verb}`")))
}
