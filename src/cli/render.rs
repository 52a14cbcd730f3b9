//! What `render` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{OpenArgs, RecipientArgs, SourceArgs, target_parser};
use crate::model::TargetKind;

/// `regprov render`.
#[derive(Args, Debug)]
pub struct RenderArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// The target (repeatable)
    #[arg(long = "target", value_name = "TARGET", value_parser = target_parser(), required = true, help_heading = "What")]
    pub targets: Vec<TargetKind>,
    /// Only these hosts: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads, `@failed` is the
    /// last apply's
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// Only this login (repeatable)
    #[arg(long = "login", value_name = "NAME", help_heading = "What")]
    pub logins: Vec<String>,
    /// Use logins whose `expires:` is past
    #[arg(long, help_heading = "What")]
    pub allow_expired: bool,
    /// Folder for the hosts' files, DIR/HOST/PATH, all readable by you alone
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub output: PathBuf,
    /// Encrypt each file as a whole, as FILE.age, for the recipients of the inventory and its vaults, or those of -r and -R
    #[arg(long, value_name = "HOW", value_enum, help_heading = "Output")]
    pub sealed: Option<Sealing>,
    /// Replace files that hold something else
    #[arg(long, help_heading = "Output")]
    pub overwrite: bool,
    /// Who can open what is sealed, instead of the inventory's recipients.
    #[command(flatten)]
    pub recipients: RecipientArgs,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens the vault.
    #[command(flatten)]
    pub vault: OpenArgs,
}

/// How a result is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sealing {
    /// As an armored file of age
    Age,
}
