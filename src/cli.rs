//! The command line: clap's types and their help, nothing else. No flag takes a secret.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::model::verify::VerifyMode;
use crate::model::{Image, Portion, TargetKind, Within};

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
    /// Make, fill and read vaults
    #[command(subcommand)]
    Vault(VaultVerb),
}

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

/// What an inventory may do, for every verb that reads one.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What")]
pub struct SourceArgs {
    /// Let the inventory run programs (`command:`, `proxy_command:`) in CI, or when others can write it
    #[arg(long)]
    pub allow_commands: bool,
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
    /// age identity file (repeatable) [default: REGPROV_IDENTITY_FILE, REGPROV_IDENTITY (the key itself),
    /// $XDG_CONFIG_HOME/regprov/identity.txt]
    #[arg(long = "identity", value_name = "FILE")]
    pub identities: Vec<PathBuf>,
}

/// What compares passwords without opening them.
#[derive(Args, Debug, Default)]
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
    /// The inventory
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

fn within(text: &str) -> Result<Within, String> {
    text.parse().map_err(|why| format!("it {why}"))
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
    /// Hosts that need not have the new password, such as those that are gone: as with --limit of `apply`; they are not contacted
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

/// `regprov vault ...`.
#[derive(Debug, Subcommand)]
pub enum VaultVerb {
    /// Make an age identity, readable by you alone; prints its recipient
    Keygen {
        /// Where to write it [default: $XDG_CONFIG_HOME/regprov/identity.txt]; never overwritten
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make an empty vault for these recipients
    Init {
        /// The vault to make; never overwritten
        vault: PathBuf,
        /// Public key that can open it: age1..., ssh-ed25519 ... or ssh-rsa ... (repeatable)
        #[arg(short, long = "recipient", value_name = "RECIPIENT", required = true)]
        recipients: Vec<String>,
    },
    /// Add or change a login; the password comes from stdin, or from a prompt without echo
    Set(VaultSetArgs),
    /// Show a vault's structure; needs no identity without --reveal
    Show {
        /// The vault
        vault: PathBuf,
        /// Show the passwords too; needs the identity
        #[arg(long, help_heading = "Output")]
        reveal: bool,
        /// What opens it.
        #[command(flatten)]
        identity: IdentityArgs,
    },
    /// Make an audit key, readable by you alone; prints its id
    AuditKey {
        /// Where to write it [default: $XDG_CONFIG_HOME/regprov/audit-key.txt]; never overwritten
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write beside each sealed password its fingerprint, by which `status` knows it with the audit key alone
    Fingerprint {
        /// The vault
        vault: PathBuf,
        /// What makes the fingerprints.
        #[command(flatten)]
        audit: AuditArgs,
        /// What opens it.
        #[command(flatten)]
        identity: IdentityArgs,
    },
    /// Encrypt a whole file
    Encrypt {
        /// The file
        file: PathBuf,
        /// Public key that can open it (repeatable) [default: the file's own `recipients:`]
        #[arg(short, long = "recipient", value_name = "RECIPIENT")]
        recipients: Vec<String>,
        /// Where to write it [default: in place]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Decrypt a whole file
    Decrypt {
        /// The file
        file: PathBuf,
        /// Where to write it, readable by you alone [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Write to a terminal
        #[arg(long, help_heading = "Output")]
        reveal: bool,
        /// What opens it.
        #[command(flatten)]
        identity: IdentityArgs,
    },
    /// Write a whole encrypted file to stdout
    View {
        /// The file
        file: PathBuf,
        /// Write to a terminal
        #[arg(long, help_heading = "Output")]
        reveal: bool,
        /// What opens it.
        #[command(flatten)]
        identity: IdentityArgs,
    },
}

/// `regprov vault set`.
#[derive(Args, Debug)]
pub struct VaultSetArgs {
    /// The vault
    pub vault: PathBuf,
    /// The login's name
    #[arg(required_unless_present = "become_password")]
    pub login: Option<String>,
    /// Set the password of sudo (`become_password:`) instead of a login
    #[arg(long = "become", conflicts_with_all = ["login", "registry", "username", "expires", "canary", "auth_hosts"], help_heading = "What")]
    pub become_password: bool,
    /// The registry, `host` or `host:port`; needed for a new login
    #[arg(long, value_name = "HOST", help_heading = "What")]
    pub registry: Option<String>,
    /// The account; needed for a new login. Taken literally: quote `$oauthtoken` for your shell
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub username: Option<String>,
    /// Last day of validity (2027-03-01, UTC) or a moment (RFC 3339)
    #[arg(long, value_name = "DATE", help_heading = "What")]
    pub expires: Option<String>,
    /// A repository that it is to pull, such as nvidia/cuda: `verify` asks whether it may
    #[arg(long, value_name = "REPO", help_heading = "What")]
    pub canary: Option<String>,
    /// A further host that is handed this login, such as the token server (repeatable)
    #[arg(long = "auth-host", value_name = "HOST", help_heading = "What")]
    pub auth_hosts: Vec<String>,
    /// What makes the password's fingerprint.
    #[command(flatten)]
    pub audit: AuditArgs,
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
