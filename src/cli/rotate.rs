//! `regprov rotate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ApplyOutputArgs, AuditArgs, ClusterArgs, OpenArgs, RunArgs, SourceArgs, SshArgs};
use crate::model::Image;

/// `regprov rotate ...`.
#[derive(Debug, Subcommand)]
pub enum RotateVerb {
    /// Show a new password to its registry, put it into the vault beside the old one, and write it to the hosts: one, then the rest
    Start(Box<RotateStartArgs>),
    /// Put the old password back into its place and write it to the hosts; the new one is dropped
    Undo(Box<RotateRunArgs>),
    /// Show which hosts have the new password, and which the old one still; writes nothing
    Status(Box<RotateStatusArgs>),
    /// Drop the old password from the vault, when every host has the new one or is left out
    Finish(Box<RotateFinishArgs>),
}

/// `regprov rotate status`.
#[derive(Args, Debug)]
pub struct RotateStatusArgs {
    /// How it is looked.
    #[command(flatten)]
    pub look: RotateLookArgs,
    /// The login's name [default: all that are under rotation]
    pub login: Option<String>,
    /// One JSON document on stdout (schema regprov.rotate/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `regprov rotate finish`.
#[derive(Args, Debug)]
pub struct RotateFinishArgs {
    /// How it is looked.
    #[command(flatten)]
    pub look: RotateLookArgs,
    /// The login's name
    pub login: String,
    /// Hosts and namespaces that need not have the new password, such as those that are gone: as with --limit of `apply`; they are not contacted
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub without: Option<String>,
}

/// A look at the hosts of a login under rotation.
#[derive(Args, Debug)]
pub struct RotateLookArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// How the hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// kubeconfig file [default: those of KUBECONFIG, ~/.kube/config, the service account of the Pod in which this runs]
    #[arg(long, value_name = "FILE", help_heading = "Kubernetes")]
    pub kubeconfig: Option<PathBuf>,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What compares passwords by their fingerprints.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// What opens the passwords, to compare them where there are no fingerprints.
    #[command(flatten)]
    pub vault: OpenArgs,
}

/// `regprov rotate start`. The new password comes from stdin, or from a prompt without echo.
#[derive(Args, Debug)]
#[command(mut_arg("canary", |arg| arg.help("The first N hosts alone; unless all of them end changed or unchanged, the run stops [default: 1]")))]
pub struct RotateStartArgs {
    /// What is written, and how.
    #[command(flatten)]
    pub run: RotateRunArgs,
    /// The account of the new password, where that changes too. Taken literally: quote `$oauthtoken` for your shell
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub username: Option<String>,
    /// Last day of validity of the new password (2027-03-01, UTC) or a moment (RFC 3339); that of the old one says nothing of it
    #[arg(long, value_name = "DATE", help_heading = "What")]
    pub expires: Option<String>,
    /// What makes the password's fingerprint.
    #[command(flatten)]
    pub audit: AuditArgs,
}

/// A run of `regprov rotate`.
#[derive(Args, Debug)]
pub struct RotateRunArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// The login's name
    pub login: String,
    /// Only these hosts now: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// Say what would be changed, change nothing; the password is shown to its registry
    #[arg(long, help_heading = "What")]
    pub check: bool,
    /// Replace a node's file that its consumer could not read, after a backup beside it
    #[arg(long, help_heading = "What")]
    pub replace_invalid: bool,
    /// Drop entries in a node's file that make its consumer ignore the whole file
    #[arg(long, help_heading = "What")]
    pub drop_bad_entries: bool,
    /// Then let each host itself ask the registry for this image with its curl and its login; a host that is not granted it fails
    #[arg(long, value_name = "IMAGE", help_heading = "What")]
    pub pull_test: Option<Image>,
    /// Take the password without showing it to its registry
    #[arg(long, help_heading = "Run")]
    pub no_verify: bool,
    /// Trust the CAs in this PEM file too, for registries (repeatable)
    #[arg(long = "ca", value_name = "FILE", help_heading = "Run")]
    pub cas: Vec<PathBuf>,
    /// In what order, and when it stops.
    #[command(flatten)]
    pub pace: RunArgs,
    /// How the hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// Which clusters are spoken with.
    #[command(flatten)]
    pub clusters: ClusterArgs,
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
