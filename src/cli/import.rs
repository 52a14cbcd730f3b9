//! `regprov import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AuditArgs;

/// `regprov import ...`.
#[derive(Debug, Subcommand)]
pub enum ImportVerb {
    /// Docker's config.json
    DockerConfig {
        /// The file; `-` is stdin [default: $DOCKER_CONFIG/config.json, else ~/.docker/config.json]
        file: Option<PathBuf>,
        /// Ask the credential helpers that the file names (docker-credential-NAME) for the passwords that they keep
        #[arg(long, help_heading = "What")]
        ask_helpers: bool,
        /// What becomes of the logins.
        #[command(flatten)]
        import: ImportArgs,
    },
    /// The auth.json of podman, skopeo and buildah
    Podman {
        /// The file; `-` is stdin [default: the first that is there of $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json,
        /// ~/.config/containers/auth.json]
        file: Option<PathBuf>,
        /// Ask the credential helpers that the file names (docker-credential-NAME) for the passwords that they keep
        #[arg(long, help_heading = "What")]
        ask_helpers: bool,
        /// What becomes of the logins.
        #[command(flatten)]
        import: ImportArgs,
    },
    /// enroot's .credentials
    Enroot {
        /// The file; `-` is stdin [default: $ENROOT_CONFIG_PATH/.credentials, else ~/.config/enroot/.credentials]
        file: Option<PathBuf>,
        /// What becomes of the logins.
        #[command(flatten)]
        import: ImportArgs,
    },
    /// Pull Secrets of Kubernetes, in YAML or JSON
    K8sSecret {
        /// The file, as of `kubectl get secret -o yaml`; `-` is stdin
        file: PathBuf,
        /// What becomes of the logins.
        #[command(flatten)]
        import: ImportArgs,
    },
    /// SINGULARITY_DOCKER_* and APPTAINER_DOCKER_* of the environment, or of a file that sets them
    Env {
        /// A file of `export NAME=VALUE` lines, for sh or systemd; `-` is stdin [default: the environment]
        file: Option<PathBuf>,
        /// The registry that they are for; they name none
        #[arg(long, value_name = "HOST", help_heading = "What")]
        registry: String,
        /// What becomes of the logins.
        #[command(flatten)]
        import: ImportArgs,
    },
}

/// What becomes of the logins that are found.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "What")]
pub struct ImportArgs {
    /// Seal them into this vault; one that is not there yet is made for the recipients of -r
    #[arg(long, value_name = "VAULT", required_unless_present = "check")]
    pub vault: Option<PathBuf>,
    /// Public key that can open a new vault: age1..., ssh-ed25519 ... or ssh-rsa ... (repeatable)
    #[arg(short, long = "recipient", value_name = "RECIPIENT", requires = "vault")]
    pub recipients: Vec<String>,
    /// Call the login for this registry so (repeatable) [default: after the registry: hub, ngc, ...]
    #[arg(long = "name", value_name = "REGISTRY=NAME")]
    pub names: Vec<String>,
    /// Seal what was found in place of the password that the vault has for the same account
    #[arg(long)]
    pub replace: bool,
    /// Show what was found, and write nothing
    #[arg(long, conflicts_with = "yes", help_heading = "Run")]
    pub check: bool,
    /// Do not ask before sealing
    #[arg(short, long, help_heading = "Run")]
    pub yes: bool,
    /// What makes the passwords' fingerprints.
    #[command(flatten)]
    pub audit: AuditArgs,
}
