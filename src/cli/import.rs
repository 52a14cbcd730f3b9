//! `regprov import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AuditArgs, SourceArgs};

/// `regprov import ...`.
#[derive(Debug, Subcommand)]
pub enum ImportVerb {
    /// The logins of DeepOps' role docker-login, and an inventory that names Ansible's as the source of its hosts
    Deepops(DeepopsArgs),
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

/// `regprov import deepops`.
#[derive(Args, Debug)]
#[command(next_help_heading = "What")]
pub struct DeepopsArgs {
    /// Ansible's inventory, a file or a directory
    #[arg(long, value_name = "PATH", default_value = "config/inventory")]
    pub inventory: PathBuf,
    /// Variables with docker_login_registries, in the clear or sealed by ansible-vault; of several files the later win (repeatable)
    #[arg(long = "vault", value_name = "FILE", default_value = "config/docker-login.yml")]
    pub variables: Vec<PathBuf>,
    /// The group of Ansible's that gets the logins [default: `hostlist` of the variables, else all]
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Where inventory.yml and vault.yml are made; neither is overwritten
    #[arg(short, long, value_name = "DIRECTORY", default_value = ".")]
    pub output: PathBuf,
    /// Public key that can open the vault: age1..., ssh-ed25519 ... or ssh-rsa ... (repeatable)
    #[arg(short, long = "recipient", value_name = "RECIPIENT", required_unless_present = "check")]
    pub recipients: Vec<String>,
    /// Call the login for this registry so (repeatable) [default: after the registry: hub, ngc, ...]
    #[arg(long = "name", value_name = "REGISTRY=NAME")]
    pub names: Vec<String>,
    /// The passwords of ansible-vault.
    #[command(flatten)]
    pub passwords: VaultPasswordArgs,
    /// Show what was found, and write nothing
    #[arg(long, conflicts_with = "yes", help_heading = "Run")]
    pub check: bool,
    /// Do not ask before writing
    #[arg(short, long, help_heading = "Run")]
    pub yes: bool,
    /// What may be run.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What makes the passwords' fingerprints.
    #[command(flatten)]
    pub audit: AuditArgs,
}

/// Where the passwords of ansible-vault come from. Without any they are asked for.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Ansible's vault")]
pub struct VaultPasswordArgs {
    /// A file with the password, or an executable one that prints it (repeatable) [also: ANSIBLE_VAULT_PASSWORD_FILE]
    #[arg(long = "vault-password-file", value_name = "FILE")]
    pub vault_password_files: Vec<PathBuf>,
    /// Program that prints the password, with its arguments, such as 'pass show ansible' (repeatable); no shell reads it
    #[arg(long = "vault-password-command", value_name = "COMMAND")]
    pub vault_password_commands: Vec<String>,
    /// As --vault-password-file, for values with this label; `LABEL@prompt` asks (repeatable)
    #[arg(long = "vault-id", value_name = "LABEL@FILE")]
    pub vault_ids: Vec<String>,
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
