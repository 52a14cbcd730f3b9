//! The command line: clap's types and their help, nothing else. No flag takes a secret.

mod apply;
mod harbor;
mod import;
mod look;
mod parse;
mod render;
mod rotate;
mod vault;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

pub use apply::{ApplyArgs, ApplyOutputArgs, ApplyVerifyArgs, RemoveArgs, RunArgs, SecretArgs, WhatArgs};
pub use harbor::{HarborArgs, HarborVerb, RobotCreateArgs, RobotDeleteArgs, RobotListArgs, RobotRotateArgs, RobotVerb};
pub use import::{DeepopsArgs, ImportArgs, ImportVerb, VaultPasswordArgs};
pub use look::{ExpiryArgs, ExplainArgs, HostsArgs, LintArgs, PingArgs, StatusArgs, TrustArgs, VerifyArgs};
pub use parse::parse;
pub use render::{RenderArgs, RenderTarget, Sealing};
pub use rotate::{RotateFinishArgs, RotateLookArgs, RotateRunArgs, RotateStartArgs, RotateStatusArgs, RotateVerb};
pub use vault::{GitSetupArgs, MergeDriverArgs, RecipientArgs, VaultDiffArgs, VaultField, VaultGetArgs, VaultRekeyArgs, VaultSetArgs, VaultVerb};

use crate::model::TargetKind;

/// Provisions container registry logins on clusters over SSH.
#[derive(Debug, Parser)]
#[command(name = "regprov", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 done, 2 wrong usage or inventory, 3 a host failed, 4 hosts unreachable, 5 vault, 6 a registry refused, 7 stopped by a guard, 10 changes or findings, 130 by Ctrl-C; \
all of them in the README."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Take a vault that is older than what was seen of it on this machine, or another one than stood there
    #[arg(long, global = true, help_heading = "Vault")]
    pub allow_rollback: bool,
    /// Take only inventories and vaults that are signed (FILE.sig) by whom this file names, as ssh-keygen's ALLOWED SIGNERS has them
    /// [default: REGPROV_ALLOWED_SIGNERS]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Vault")]
    pub allowed_signers: Option<PathBuf>,
    /// Tell more on stderr: -v a line per host, -vv decisions, -vvv everything but secrets
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Output")]
    pub verbose: u8,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write the logins of an inventory to its hosts
    Apply(Box<ApplyArgs>),
    /// Show who gets what, as a table; needs no identity and contacts nobody
    Hosts(HostsArgs),
    /// Write what `apply` would write to files of yours: hosts' files to a folder, Secrets of Kubernetes as manifests; contacts nobody
    Render(Box<RenderArgs>),
    /// Look for traps in an inventory and its logins; contacts nobody, and opens passwords when an identity is at hand
    Lint(LintArgs),
    /// Show when logins end, for cron and pipelines; contacts nobody
    Expiry(ExpiryArgs),
    /// Show the logins of an inventory to their registries; contacts no host
    Verify(VerifyArgs),
    /// Look whether the hosts can be reached and worked on; writes nothing there
    Ping(Box<PingArgs>),
    /// Show which login each program of a host would use for a registry, and why; writes nothing there
    Explain(Box<ExplainArgs>),
    /// Show what differs on the hosts from the inventory; writes nothing there and needs no identity
    Status(Box<StatusArgs>),
    /// Take out what this inventory wrote to its hosts, and nothing else; needs no identity
    Remove(Box<RemoveArgs>),
    /// Show the hosts' SSH keys and add new ones to known_hosts, after asking; logs in to jump hosts alone
    Trust(Box<TrustArgs>),
    /// Give a login a new password: beside the old one until every host has it
    #[command(subcommand)]
    Rotate(RotateVerb),
    /// Seal into a vault the logins that you have today
    #[command(subcommand)]
    Import(ImportVerb),
    /// Make, fill and read vaults
    #[command(subcommand)]
    Vault(VaultVerb),
    /// Robot accounts of Harbor, from its API into a vault
    #[command(subcommand)]
    Harbor(HarborVerb),
    /// Let git show, merge and check vaults by their logins, in this clone
    GitSetup(GitSetupArgs),
}

/// What an inventory may do, for every verb that reads one.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What")]
pub struct SourceArgs {
    /// Let the inventory run programs (`command:`, `proxy_command:`, `password_command:`) and read any `password_file:` in CI, or when others
    /// can write it
    #[arg(long)]
    pub allow_commands: bool,
}

/// Which clusters are spoken with, and whether.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Kubernetes")]
pub struct ClusterArgs {
    /// Only hosts, or only namespaces of clusters
    #[arg(long, value_name = "hosts|kubernetes", value_parser = PossibleValuesParser::new(["hosts", "kubernetes"]).map(|word| if word == "hosts" { Only::Hosts } else { Only::Kubernetes }))]
    pub only: Option<Only>,
    /// kubeconfig file [default: those of KUBECONFIG, ~/.kube/config, the service account of the Pod in which this runs]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// One kind of destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// Hosts.
    Hosts,
    /// Namespaces of clusters.
    Kubernetes,
}

/// How hosts are reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "SSH")]
pub struct SshArgs {
    /// Log in as this user, whatever the inventory says
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Connect to this port, whatever the inventory says
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Private key file, and no other keys (repeatable) [default: `ssh_key:`, else the agent's, ssh_config's and those in ~/.ssh]
    #[arg(long = "ssh-key", value_name = "FILE")]
    pub ssh_keys: Vec<PathBuf>,
    /// known_hosts file (repeatable; `trust` adds to the first) [default: those of ssh]; unknown and changed keys are always refused
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Vec<PathBuf>,
    /// Do not ask the SSH agent
    #[arg(long)]
    pub no_agent: bool,
    /// Ask once for an SSH password, for hosts that take no key; tried on one host first, and a wrong one stops the run
    #[arg(long)]
    pub ask_pass: bool,
    /// Ask once for the password of sudo, for hosts with `become: true`; it comes before the vault's
    #[arg(short = 'K', long)]
    pub ask_become_pass: bool,
    /// Read this ssh_config instead of ssh's own files, as with `ssh -F`
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
    /// Do not ask ssh for its configuration
    #[arg(long, conflicts_with = "ssh_config")]
    pub no_ssh_config: bool,
    /// Log-ins under way at a time with one server
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub starting: u32,
    /// Hosts in flight at a time
    #[arg(long, value_name = "N", help_heading = "Run", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub forks: u32,
    /// Deadlines, one for each phase.
    #[command(flatten)]
    pub timeouts: TimeoutArgs,
}

/// Deadlines in seconds.
#[derive(Args, Clone, Debug)]
pub struct TimeoutArgs {
    /// Seconds to look a name up
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = seconds())]
    pub resolve_timeout: u64,
    /// Seconds to connect, further tries included
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    pub connect_timeout: u64,
    /// Seconds for banner and key exchange
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    pub handshake_timeout: u64,
    /// Seconds to authenticate
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    pub auth_timeout: u64,
    /// Seconds for what runs on the node
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = seconds())]
    pub command_timeout: u64,
    /// Seconds for a host in all
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = seconds())]
    pub host_timeout: u64,
}

/// What opens sealed values.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Vault")]
pub struct IdentityArgs {
    /// age identity file or SSH private key (repeatable) [default: REGPROV_IDENTITY_FILE, REGPROV_IDENTITY_COMMAND,
    /// REGPROV_IDENTITY (the key itself), $XDG_CONFIG_HOME/regprov/identity.txt]
    #[arg(long = "identity", value_name = "FILE")]
    pub identities: Vec<PathBuf>,
    /// Program that prints an identity, with its arguments, such as 'pass show regprov/identity' (repeatable); no shell reads it
    #[arg(long = "identity-command", value_name = "COMMAND")]
    pub commands: Vec<String>,
    /// Read an identity from this descriptor, a file or a pipe that your shell opened (repeatable)
    #[arg(long = "identity-fd", value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub descriptors: Vec<i32>,
}

impl IdentityArgs {
    /// Whether any of them was given.
    pub fn is_given(&self) -> bool {
        !(self.identities.is_empty() && self.commands.is_empty() && self.descriptors.is_empty())
    }
}

/// What compares passwords without opening them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Vault")]
pub struct AuditArgs {
    /// Audit key file, by which passwords are known again [default: REGPROV_AUDIT_KEY_FILE, $XDG_CONFIG_HOME/regprov/audit-key.txt]
    #[arg(long, value_name = "FILE")]
    pub audit_key: Option<PathBuf>,
}

/// How an inventory's passwords are had.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Vault")]
pub struct OpenArgs {
    /// The identities.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Accept passwords that stand in the inventory in the clear
    #[arg(long)]
    pub allow_plaintext: bool,
}

/// A number of seconds, from 1 to an hour.
fn seconds() -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(1..=3600)
}

/// One of the targets by its name.
fn target_parser() -> impl TypedValueParser<Value = TargetKind> {
    PossibleValuesParser::new(TargetKind::ALL.map(TargetKind::name)).map(|name| TargetKind::parse(&name).expect("clap let only names of targets pass"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_readme() {
        let Verb::Apply(a) = Cli::try_parse_from(["regprov", "apply", "i.yml"]).unwrap().verb else { panic!("not apply") };
        assert_eq!((a.ssh.forks, a.ssh.starting), (50, 30));
        let t = &a.ssh.timeouts;
        assert_eq!([t.resolve_timeout, t.connect_timeout, t.handshake_timeout, t.auth_timeout, t.command_timeout, t.host_timeout], [5, 10, 10, 10, 30, 60]);
        assert!(!a.what.check && !a.vault.allow_plaintext && !a.ssh.no_agent);
    }

    #[test]
    fn repeatable_flags_repeat() {
        let line = "regprov apply i.yml --target docker --target enroot --login ngc --identity a --identity b --ssh-key k --known-hosts h -vv";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(cli.verbose, 2);
        let Verb::Apply(a) = cli.verb else { panic!("not apply") };
        assert_eq!(a.what.targets, [TargetKind::Docker, TargetKind::Enroot]);
        assert_eq!((a.vault.identity.identities.len(), a.ssh.ssh_keys.len(), a.ssh.known_hosts.len()), (2, 1, 1));
    }

    #[track_caller]
    fn refused(line: &str, kind: ErrorKind) {
        let e = Cli::try_parse_from(line.split(' ')).expect_err(line);
        assert_eq!((e.kind(), e.exit_code()), (kind, 2), "{line}");
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        refused("regprov apply", ErrorKind::MissingRequiredArgument);
        refused("regprov apply i.yml --forks 0", ErrorKind::ValueValidation);
        refused("regprov apply i.yml --host-timeout 0", ErrorKind::ValueValidation);
        refused("regprov apply i.yml --target nerdctl", ErrorKind::InvalidValue);
        refused("regprov apply i.yml --force", ErrorKind::UnknownArgument);
        refused("regprov vault init v.yml", ErrorKind::MissingRequiredArgument);
        refused("regprov vault set v.yml", ErrorKind::MissingRequiredArgument);
        refused("regprov vault set v.yml ngc --password x", ErrorKind::UnknownArgument);
    }
}
