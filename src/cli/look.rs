//! The verbs that only look.

use std::path::PathBuf;

use clap::Args;

use super::{AuditArgs, ClusterArgs, IdentityArgs, OpenArgs, SourceArgs, SshArgs, target_parser};
use crate::model::{TargetKind, Within};

/// `regprov verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// Only this login (repeatable)
    #[arg(long = "login", value_name = "NAME", help_heading = "What")]
    pub logins: Vec<String>,
    /// A login counts as refused too when nothing was learned of it: no answer, 429, 5xx, TLS
    #[arg(long, help_heading = "What")]
    pub required: bool,
    /// Use logins whose `expires:` is past
    #[arg(long, help_heading = "What")]
    pub allow_expired: bool,
    /// Ask, for each token server that is not trusted, whether it may get the login, and seal it with the login; without a terminal, none is
    #[arg(long, help_heading = "What", conflicts_with = "json")]
    pub add_auth_hosts: bool,
    /// Trust the CAs in this PEM file too (repeatable)
    #[arg(long = "ca", value_name = "FILE", help_heading = "What")]
    pub cas: Vec<PathBuf>,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens the vault.
    #[command(flatten)]
    pub vault: OpenArgs,
    /// One JSON document on stdout (schema regprov.verify/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `regprov hosts`.
#[derive(Args, Debug)]
pub struct HostsArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// Only these hosts: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads, `@failed` is the
    /// last apply's
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens an inventory or vault that is encrypted as a whole; nothing else needs it.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// One JSON document on stdout (schema regprov.hosts/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `regprov lint`.
#[derive(Args, Debug)]
pub struct LintArgs {
    /// The inventory; or a file of Kubernetes objects, whose pull Secrets are looked at (`-` is stdin)
    pub inventory: PathBuf,
    /// Only what these hosts get: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads, `@failed` is
    /// the last apply's. What is wrong with the inventory is told all the same
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// A login that has ended is a warning
    #[arg(long, help_heading = "What")]
    pub allow_expired: bool,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens the passwords, for the rules about them.
    #[command(flatten)]
    pub vault: OpenArgs,
    /// One JSON document on stdout (schema regprov.lint/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// One SARIF 2.1.0 document on stdout, for code scanning; paths are relative to the current directory
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    pub sarif: bool,
}

/// `regprov expiry`.
#[derive(Args, Debug)]
pub struct ExpiryArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// Exit 10 when a login has ended or ends within that time: `14d`, `12h`, `90m`
    #[arg(long, value_name = "TIME", help_heading = "What", default_value_t = Within::WARNING, value_parser = within)]
    pub within: Within,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens the passwords: some name their own end.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// One JSON document on stdout (schema regprov.expiry/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `regprov trust`. It logs in to jump hosts alone and runs nothing, so some flags of `apply` do nothing here; they are taken all the same,
/// so that one set of flags does for all verbs.
#[derive(Args, Debug)]
#[command(mut_args(|arg| if ["ask_become_pass", "command_timeout", "host_timeout"].contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg }))]
pub struct TrustArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// Only these hosts: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads, `@failed` is the
    /// last apply's
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// Learn the new keys with this fingerprint, as `ssh-keygen -l` prints it, and ask nobody (repeatable); without a terminal no other is
    /// learned
    #[arg(long = "fingerprint", value_name = "SHA256:...", help_heading = "What")]
    pub fingerprints: Vec<String>,
    /// How the hosts are reached; new keys go to the first --known-hosts.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens an inventory that is encrypted as a whole; nothing else needs it.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// `regprov ping`.
#[derive(Args, Debug)]
pub struct PingArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// Only these hosts: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads, `@failed` is the
    /// last apply's
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// How the hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens an inventory that is encrypted as a whole, and the password of sudo.
    #[command(flatten)]
    pub vault: OpenArgs,
    /// One JSON document on stdout (schema regprov.ping/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `regprov status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// Only these hosts: names, host lists, groups; `a,b` adds, `!a` leaves out, `&a` keeps common ones, `@./FILE` reads, `@failed` is the
    /// last apply's
    #[arg(long, value_name = "PATTERN", help_heading = "What")]
    pub limit: Option<String>,
    /// Only this login (repeatable)
    #[arg(long = "login", value_name = "NAME", help_heading = "What")]
    pub logins: Vec<String>,
    /// Only this target (repeatable)
    #[arg(long = "target", value_name = "TARGET", value_parser = target_parser(), help_heading = "What")]
    pub targets: Vec<TargetKind>,
    /// How the hosts are reached.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// Which clusters are looked at.
    #[command(flatten)]
    pub clusters: ClusterArgs,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What compares the passwords.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// What opens an inventory that is encrypted as a whole, and the password of sudo; `--identity` compares the passwords too.
    #[command(flatten)]
    pub vault: OpenArgs,
    /// One JSON document on stdout (schema regprov.status/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `regprov explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The inventory
    pub inventory: PathBuf,
    /// The host
    pub host: String,
    /// The registry, with a repository where it matters: `nvcr.io`, `harbor.example.org/team/image`
    pub registry: String,
    /// Whose programs: their home, and where their sessions look
    #[arg(long = "as", value_name = "NAME", default_value = "root", help_heading = "What")]
    pub r#as: String,
    /// How the host is reached.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// What the inventory may do.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What opens an inventory that is encrypted as a whole, and the password of sudo.
    #[command(flatten)]
    pub vault: OpenArgs,
    /// One JSON document on stdout (schema regprov.explain/1)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

fn within(text: &str) -> Result<Within, String> {
    text.parse().map_err(|why| format!("it {why}"))
}
