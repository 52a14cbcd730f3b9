//! `regprov vault`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::{AuditArgs, IdentityArgs};

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
    #[command(group(ArgGroup::new("who").required(true).multiple(true).args(["recipients", "recipients_file"])))]
    Init {
        /// The vault to make; never overwritten
        vault: PathBuf,
        /// Who can open it.
        #[command(flatten)]
        recipients: RecipientArgs,
    },
    /// Add or change a login; the password comes from stdin, or from a prompt without echo
    Set(VaultSetArgs),
    /// Open the logins in your editor ($VISUAL, $EDITOR, vi), and seal what you change
    Edit {
        /// The vault
        vault: PathBuf,
        /// The one login to edit [default: all of them, and the password of sudo]
        login: Option<String>,
        /// What makes the fingerprints of passwords that change.
        #[command(flatten)]
        audit: AuditArgs,
        /// What opens it.
        #[command(flatten)]
        identity: IdentityArgs,
    },
    /// Take logins out of a vault: all that are named, or none
    Unset {
        /// The vault
        vault: PathBuf,
        /// The logins' names
        #[arg(required_unless_present = "become_password")]
        logins: Vec<String>,
        /// Take the password of sudo out (`become_password:`) instead of logins
        #[arg(long = "become", conflicts_with_all = ["logins", "with_previous"], help_heading = "What")]
        become_password: bool,
        /// Take out a login under rotation too, whose old password goes with it
        #[arg(long, help_heading = "What")]
        with_previous: bool,
    },
    /// Give a login another name; its seal stays
    Rename {
        /// The vault
        vault: PathBuf,
        /// The login's name
        old: String,
        /// Its new name
        new: String,
    },
    /// Write one field of a login to stdout, for scripts
    Get(VaultGetArgs),
    /// List the logins' names, one a line; needs no identity
    List {
        /// The vault
        vault: PathBuf,
        /// One JSON document on stdout, with all that is not secret (schema regprov.vault/1)
        #[arg(long, help_heading = "Output")]
        json: bool,
        /// What opens a vault that is encrypted as a whole; nothing else needs it.
        #[command(flatten)]
        identity: IdentityArgs,
    },
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
    /// For git: the structure of a vault, with marks for what is sealed
    #[command(hide = true)]
    Textconv {
        /// The file
        file: PathBuf,
    },
    /// For git: merge a vault by login
    #[command(hide = true)]
    MergeDriver(MergeDriverArgs),
    /// For git: refuse staged vaults that must not be committed
    #[command(hide = true)]
    PreCommit,
    /// Name the logins that differ between two states of a vault; needs no identity without --deep
    Diff(VaultDiffArgs),
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
    /// Add and remove recipients of vaults, and seal what they hold anew for those; all files change, or none
    Rekey(VaultRekeyArgs),
    /// Check vaults without an identity: form, recipients, every password sealed for exactly those
    Check {
        /// The vaults, or inventories with `logins:` in them
        #[arg(required = true, value_name = "VAULT")]
        vaults: Vec<PathBuf>,
        /// Open everything too; needs the identity
        #[arg(long, help_heading = "What")]
        deep: bool,
        /// What opens it.
        #[command(flatten)]
        identity: IdentityArgs,
    },
    /// Sign vaults with an SSH key: makes VAULT.sig beside each, by `ssh-keygen -Y sign`
    Sign {
        /// The vaults, or inventories
        #[arg(required = true, value_name = "VAULT")]
        vaults: Vec<PathBuf>,
        /// SSH private key, or a .pub whose private half the agent has [default: REGPROV_SIGNING_KEY]
        #[arg(long, value_name = "FILE", help_heading = "What")]
        key: Option<PathBuf>,
    },
    /// Encrypt a whole file; without -r and -R for those in its own `recipients:`
    Encrypt {
        /// The file
        file: PathBuf,
        /// Who can open it.
        #[command(flatten)]
        recipients: RecipientArgs,
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

/// Public keys to seal for.
#[derive(Args, Debug)]
pub struct RecipientArgs {
    /// Public key that can open it: age1..., ssh-ed25519 ... or ssh-rsa ... (repeatable)
    #[arg(short, long = "recipient", value_name = "RECIPIENT", help_heading = "Who can open it")]
    pub recipients: Vec<String>,
    /// File of such keys, one a line, as `age -R` or GitHub's lists have them; `-` is stdin (repeatable)
    #[arg(short = 'R', long, value_name = "FILE", help_heading = "Who can open it")]
    pub recipients_file: Vec<PathBuf>,
}

/// `regprov vault get`.
#[derive(Args, Debug)]
pub struct VaultGetArgs {
    /// The vault
    pub vault: PathBuf,
    /// The login's name
    pub login: String,
    /// Which field; a password has no line break behind it, the others one
    #[arg(long, value_name = "FIELD", value_enum, default_value_t = VaultField::Password, help_heading = "What")]
    pub field: VaultField,
    /// That of the old password, which a rotation under way keeps
    #[arg(long, help_heading = "What")]
    pub previous: bool,
    /// Write a password to a terminal
    #[arg(long, help_heading = "Output")]
    pub reveal: bool,
    /// A new file for it, readable by you alone [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What opens the seal; only `password` and `auth-hosts` stand in it.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// A field of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VaultField {
    /// Its password
    Password,
    /// Its account
    Username,
    /// Its registry
    Registry,
    /// When it ends; empty where that is not known
    Expires,
    /// Further hosts that are handed it, one a line
    AuthHosts,
}

/// `regprov vault rekey`.
#[derive(Args, Debug)]
pub struct VaultRekeyArgs {
    /// The vaults, or inventories with `logins:` in them
    #[arg(required = true, value_name = "VAULT")]
    pub vaults: Vec<PathBuf>,
    /// Public key to add to each (repeatable)
    #[arg(long, value_name = "RECIPIENT", help_heading = "Who can open it")]
    pub add: Vec<String>,
    /// File of such keys, one a line, as `age -R` or GitHub's lists have them; `-` is stdin (repeatable)
    #[arg(short = 'R', long, value_name = "FILE", help_heading = "Who can open it")]
    pub recipients_file: Vec<PathBuf>,
    /// Recipient to take out: its key, 12 or more characters that begin only it, or its comment (repeatable)
    #[arg(long, value_name = "RECIPIENT", help_heading = "Who can open it")]
    pub remove: Vec<String>,
    /// What opens it.
    #[command(flatten)]
    pub identity: IdentityArgs,
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
    /// Make the password, of so many letters and digits, and show it to nobody; stdin is not read [default length: 32]
    #[arg(
        long,
        value_name = "LENGTH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "32",
        value_parser = clap::value_parser!(u8).range(16..=128),
        conflicts_with = "become_password",
        help_heading = "What"
    )]
    pub generate: Option<u8>,
    /// What makes the password's fingerprint.
    #[command(flatten)]
    pub audit: AuditArgs,
}

/// `regprov vault merge-driver`, as git calls it: `%O %A %B %P %L %S %X %Y`.
#[derive(Args, Debug)]
pub struct MergeDriverArgs {
    /// The common ancestor
    pub base: PathBuf,
    /// Ours; the result is written here
    pub ours: PathBuf,
    /// Theirs
    pub theirs: PathBuf,
    /// The vault's path, for messages
    #[arg(default_value = "the vault")]
    pub path: String,
    /// How many characters a conflict marker has
    #[arg(default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub marker_size: u16,
    /// What the common ancestor is called
    pub label_base: Option<String>,
    /// What ours is called; a git older than 2.44 leaves `%X`
    pub label_ours: Option<String>,
    /// What theirs is called
    pub label_theirs: Option<String>,
}

/// `regprov vault diff`.
#[derive(Args, Debug)]
pub struct VaultDiffArgs {
    /// The older state: a file, or one in git (`HEAD:vault.yml`, `main:./vault.yml`)
    pub a: String,
    /// The newer state
    pub b: String,
    /// Open passwords that were sealed anew and say whether they are the same; shows none
    #[arg(long, help_heading = "What")]
    pub deep: bool,
    /// Exit with 10 when something differs
    #[arg(long, help_heading = "Output")]
    pub detailed_exitcode: bool,
    /// What opens them.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// `regprov git-setup`.
#[derive(Args, Debug)]
pub struct GitSetupArgs {
    /// The vaults [default: the files of this work tree that look like vaults]
    #[arg(value_name = "VAULT")]
    pub vaults: Vec<PathBuf>,
    /// Tell what would be done, and do nothing
    #[arg(long, help_heading = "What")]
    pub check: bool,
    /// Take out what git-setup made, and nothing else
    #[arg(long, conflicts_with = "vaults", help_heading = "What")]
    pub undo: bool,
}
