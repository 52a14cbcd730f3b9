//! What `apply` and `remove` take.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{AuditArgs, ClusterArgs, OpenArgs, SourceArgs, SshArgs, target_parser};
use crate::model::verify::VerifyMode;
use crate::model::{Image, Portion, TargetKind};

/// `regprov apply`.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// What is written, and to whom.
    #[command(flatten)]
    pub what: WhatArgs,
    /// In what order, and when it stops.
    #[command(flatten)]
    pub run: RunArgs,
    /// Whether the logins are right.
    #[command(flatten)]
    pub verify: ApplyVerifyArgs,
    /// How the hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// Which clusters are spoken with.
    #[command(flatten)]
    pub clusters: ClusterArgs,
    /// What they may lose.
    #[command(flatten)]
    pub secrets: SecretArgs,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens the vault.
    #[command(flatten)]
    pub vault: OpenArgs,
    /// What is told.
    #[command(flatten)]
    pub output: ApplyOutputArgs,
}

/// What `apply` writes.
#[derive(Args, Debug)]
#[command(next_help_heading = "What")]
pub struct WhatArgs {
    /// Only these hosts: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads, `@failed` is the
    /// last run's
    #[arg(long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Go on with the last run: the hosts that it left failed, unreachable, unknown or not attempted, with its --login and --target
    #[arg(long, conflicts_with = "limit")]
    pub resume: bool,
    /// Only this login (repeatable)
    #[arg(long = "login", value_name = "NAME")]
    pub logins: Vec<String>,
    /// Only this target (repeatable)
    #[arg(long = "target", value_name = "TARGET", value_parser = target_parser())]
    pub targets: Vec<TargetKind>,
    /// Say what would be changed, change nothing
    #[arg(long)]
    pub check: bool,
    /// Replace a node's file that its consumer could not read, after a backup beside it
    #[arg(long)]
    pub replace_invalid: bool,
    /// Drop entries in a node's file that make its consumer ignore the whole file
    #[arg(long)]
    pub drop_bad_entries: bool,
    /// Take out what this inventory wrote to these hosts and does not want there any more; needs `id:`
    #[arg(long, conflicts_with_all = ["logins", "targets"])]
    pub prune: bool,
    /// Use logins whose `expires:` is past
    #[arg(long)]
    pub allow_expired: bool,
    /// Then let each host itself ask the registry for this image with its curl and its login; a host that is not granted it fails
    #[arg(long, value_name = "IMAGE")]
    pub pull_test: Option<Image>,
}

/// What `apply` may do to Secrets that are not as it left them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Kubernetes")]
pub struct SecretArgs {
    /// Take over what another manager owns in a Secret, and name who it was
    #[arg(long)]
    pub force_conflicts: bool,
    /// Delete a Secret that cannot be changed (another type, `immutable: true`) and make it anew
    #[arg(long)]
    pub replace: bool,
}

/// How the run goes through the hosts.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Waves of so many hosts, each over before the next starts: `10`, `25%` or `1,10,25%`; the last size repeats [default: `serial:`]
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = wave)]
    pub batch: Vec<Portion>,
    /// The first N hosts alone; unless all of them end changed or unchanged, the run stops
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub canary: Option<u32>,
    /// Start no further host once more than so many ended failed, unknown or unreachable: `3`, `5%`, or 0 to stop at the first
    #[arg(long, value_name = "N|P%", value_parser = portion)]
    pub max_fail: Option<Portion>,
}

/// What `apply` tells.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct ApplyOutputArgs {
    /// Show what changes in each file: its shape, never a value
    #[arg(long)]
    pub diff: bool,
    /// One JSON document on stdout (schema regprov.report/1)
    #[arg(long)]
    pub json: bool,
    /// Exit 10 instead of 0 when something changed, or would change with --check
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// `regprov remove`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("which").args(["limit", "logins", "targets", "all"]).required(true).multiple(true)))]
pub struct RemoveArgs {
    /// The inventory; it must have an `id:`
    pub inventory: PathBuf,
    /// Only from these hosts: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads, `@failed` is
    /// the last apply's
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// Only this login (repeatable), also one that has left the inventory
    #[arg(long = "login", value_name = "NAME", help_heading = "What")]
    pub logins: Vec<String>,
    /// Only from this target (repeatable)
    #[arg(long = "target", value_name = "TARGET", value_parser = target_parser(), help_heading = "What")]
    pub targets: Vec<TargetKind>,
    /// All logins of all hosts, where none of the other three says less
    #[arg(long, conflicts_with_all = ["limit", "logins", "targets"], help_heading = "What")]
    pub all: bool,
    /// Keep entries whose password is not the vault's; needs the audit key or an identity
    #[arg(long, help_heading = "What")]
    pub same_password: bool,
    /// Say what would be taken out, change nothing
    #[arg(long, help_heading = "What")]
    pub check: bool,
    /// In what order, and when it stops.
    #[command(flatten)]
    pub run: RunArgs,
    /// How the hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// Which clusters are spoken with.
    #[command(flatten)]
    pub clusters: ClusterArgs,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What compares passwords.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// What opens an inventory that is encrypted as a whole, and the password of sudo.
    #[command(flatten)]
    pub vault: OpenArgs,
    /// What is told.
    #[command(flatten)]
    pub output: ApplyOutputArgs,
}

/// The size of a wave.
fn wave(text: &str) -> Result<Portion, String> {
    match portion(text)? {
        Portion::Hosts(0) | Portion::Percent(0) => Err("a wave has at least 1 host".to_string()),
        size => Ok(size),
    }
}

fn portion(text: &str) -> Result<Portion, String> {
    text.parse().map_err(|why| format!("it {why}"))
}

/// Whether `apply` asks registries first.
#[derive(Args, Debug)]
#[command(next_help_heading = "Run")]
pub struct ApplyVerifyArgs {
    /// Show the logins to their registries before any host is written, and write none when one is refused; with `=required`, when one is
    /// not proven [default: `verify:`, else off]
    #[arg(long, value_name = "on|off|required", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = verify_parser())]
    pub verify: Option<VerifyMode>,
    /// Trust the CAs in this PEM file too, for registries (repeatable)
    #[arg(long = "ca", value_name = "FILE")]
    pub cas: Vec<PathBuf>,
}

/// One of the modes by its name.
fn verify_parser() -> impl TypedValueParser<Value = VerifyMode> {
    PossibleValuesParser::new(VerifyMode::ALL.map(VerifyMode::name)).map(|name| VerifyMode::parse(&name).expect("clap let only names of modes pass"))
}
