//! `regprov vault`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
    Init {
        /// The vault to make; never overwritten
        vault: PathBuf,
        /// Who can open it.
        #[command(flatten)]
        recipients: RecipientArgs,
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
