//! What `render` takes.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::{OpenArgs, RecipientArgs, SourceArgs};
use crate::model::{TargetKind, kubernetes};

/// `regprov render`.
#[derive(Args, Debug)]
pub struct RenderArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// The target of hosts (repeatable), or kubernetes: the Secrets of namespaces
    #[arg(long = "target", value_name = "TARGET", value_parser = target_parser(), required = true, help_heading = "What")]
    pub targets: Vec<RenderTarget>,
    /// Only these hosts, or these namespaces: names (`context/namespace`), host lists, groups and blocks; `a,b` adds, `!a` leaves out, `&a`
    /// keeps common ones, `@./FILE` reads, `@failed` is the last apply's
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// Only this login (repeatable)
    #[arg(long = "login", value_name = "NAME", help_heading = "What")]
    pub logins: Vec<String>,
    /// Use logins whose `expires:` is past
    #[arg(long, help_heading = "What")]
    pub allow_expired: bool,
    /// Folder for the hosts' files, DIR/HOST/PATH; file for manifests, or folder (DIR/) for a file of each context [default: stdout, for
    /// manifests]. What is written is readable by you alone
    #[arg(short, long, value_name = "PATH", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Encrypt each file, or what goes to stdout, as a whole, for the recipients of the inventory and its vaults, or those of -r and -R; in a
    /// folder as FILE.age
    #[arg(long, value_name = "HOW", value_enum, help_heading = "Output")]
    pub sealed: Option<Sealing>,
    /// Replace files that hold something else
    #[arg(long, help_heading = "Output")]
    pub overwrite: bool,
    /// Write manifests to a terminal
    #[arg(long, help_heading = "Output")]
    pub reveal: bool,
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

/// What can be rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderTarget {
    /// The Secrets of namespaces.
    Kubernetes,
    /// A target of hosts.
    Host(TargetKind),
}

/// How a result is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sealing {
    /// As an armored file of age
    Age,
}

fn target_parser() -> impl TypedValueParser<Value = RenderTarget> {
    let names = TargetKind::ALL.map(TargetKind::name).into_iter().chain([kubernetes::TARGET]);
    PossibleValuesParser::new(names).map(|name| TargetKind::parse(&name).map_or(RenderTarget::Kubernetes, RenderTarget::Host))
}
