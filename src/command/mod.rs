//! The verbs: one file each, and what they share.

pub mod apply;
pub mod audit;
pub mod auth_hosts;
pub mod become_password;
mod clusters;
pub mod console;
mod dynamic;
pub mod expiry;
pub mod explain;
pub mod files;
mod git;
pub mod git_setup;
pub mod given;
pub mod harbor;
pub mod hosts;
pub mod identity;
pub mod import;
pub mod journal;
pub mod lint;
pub mod load;
mod namespaces;
pub mod ping;
pub mod process;
pub mod program;
pub mod reach;
pub mod remove;
pub mod rotate;
pub mod rotation;
mod routes;
pub mod seen;
pub mod signed;
pub mod signing;
pub mod sources;
pub mod status;
pub mod terminal;
pub mod trust;
pub mod vault;
pub mod verify;
mod watch;

use crate::cli::{Cli, RotateVerb, VaultVerb, Verb};
use crate::error::Result;
use console::Console;
use identity::IdentitySources;

/// Runs the verb and returns the exit code.
pub async fn run(cli: &Cli) -> Result<u8> {
    seen::start(cli.allow_rollback);
    signed::start(cli.allowed_signers.as_deref())?;
    signed::finish(run_verb(cli).await)
}

async fn run_verb(cli: &Cli) -> Result<u8> {
    match &cli.verb {
        Verb::Apply(args) => apply::apply(args, cli.verbose).await,
        Verb::Explain(args) => explain::explain(args).await,
        Verb::Hosts(args) => hosts::hosts(args),
        Verb::Lint(args) => lint::lint(args),
        Verb::Expiry(args) => expiry::expiry(args),
        Verb::Verify(args) => verify::verify(args).await,
        Verb::Ping(args) => ping::ping(args, cli.verbose).await,
        Verb::Status(args) => status::status(args, cli.verbose).await,
        Verb::Remove(args) => remove::remove(args, cli.verbose).await,
        Verb::Trust(args) => trust::trust(args, cli.verbose).await,
        Verb::Rotate(RotateVerb::Start(args)) => rotate::start(args, cli.verbose).await,
        Verb::Rotate(RotateVerb::Undo(args)) => rotate::undo(args, cli.verbose).await,
        Verb::Rotate(RotateVerb::Status(args)) => rotation::status(args, cli.verbose).await,
        Verb::Rotate(RotateVerb::Finish(args)) => rotation::finish(args, cli.verbose).await,
        Verb::Harbor(verb) => harbor::harbor(verb).await,
        Verb::GitSetup(args) => Console::of_process(|console| git_setup::git_setup(args, console)).map(|()| 0),
        Verb::Import(verb) => import::import(verb).await,
        Verb::Vault(verb) => Console::of_process_async(async |console| run_vault(verb, console).await).await,
    }
}

/// Runs a verb of `regprov vault` with these streams and returns the exit code.
pub async fn run_vault(verb: &VaultVerb, console: &mut Console<'_>) -> Result<u8> {
    vault::sweep(console);
    let done = match verb {
        VaultVerb::MergeDriver(args) => return vault::merge_driver(args, console),
        VaultVerb::PreCommit => return vault::pre_commit(console),
        VaultVerb::Textconv { file } => vault::textconv(file, console),
        VaultVerb::Diff(args) => return vault::diff(args, &IdentitySources::of_process(&args.identity)?, console),
        VaultVerb::Keygen { output } => vault::keygen(output.as_deref(), identity::default_path().as_deref(), console),
        VaultVerb::Init { vault, recipients } => vault::init(vault, &vault::RecipientSources::of(recipients), console),
        VaultVerb::Set(args) if args.become_password => vault::set_become_password(&args.vault, console),
        VaultVerb::Set(args) => {
            let options = vault::SetOptions {
                vault: args.vault.clone(),
                login: args.login.clone().unwrap_or_default(),
                registry: args.registry.clone(),
                username: args.username.clone(),
                expires: args.expires.clone(),
                canary: args.canary.clone(),
                auth_hosts: args.auth_hosts.clone(),
                generate: args.generate,
                audit_key: audit::AuditKeySources::of_process(args.audit.audit_key.as_deref()),
            };
            vault::set(&options, console)
        }
        VaultVerb::Edit { vault, login, audit, identity } => {
            let options = vault::EditOptions {
                vault: vault.clone(),
                login: login.clone(),
                identities: IdentitySources::of_process(identity)?,
                audit_key: audit::AuditKeySources::of_process(audit.audit_key.as_deref()),
            };
            return vault::edit(&options, console).await;
        }
        VaultVerb::Unset { vault, become_password: true, .. } => vault::unset_become_password(vault, console),
        VaultVerb::Unset { vault, logins, with_previous, .. } => vault::unset(vault, logins, *with_previous, console),
        VaultVerb::Rename { vault, old, new } => vault::rename(vault, old, new, console),
        VaultVerb::Get(args) => {
            let options = vault::GetOptions {
                vault: args.vault.clone(),
                login: args.login.clone(),
                field: args.field,
                previous: args.previous,
                reveal: args.reveal,
                output: args.output.clone(),
            };
            vault::get(&options, &IdentitySources::of_process(&args.identity)?, console)
        }
        VaultVerb::List { vault, json, identity } => vault::list(vault, *json, &IdentitySources::of_process(identity)?, console),
        VaultVerb::Show { vault, reveal, identity } => vault::show(vault, *reveal, &IdentitySources::of_process(identity)?, console),
        VaultVerb::AuditKey { output } => audit::audit_key(output.as_deref(), audit::default_path().as_deref(), console),
        VaultVerb::Fingerprint { vault, audit, identity } => {
            let key = audit::AuditKeySources::of_process(audit.audit_key.as_deref());
            audit::fingerprint(vault, &key, &IdentitySources::of_process(identity)?, console)
        }
        VaultVerb::Rekey(args) => {
            let add = vault::RecipientSources { keys: args.add.clone(), files: args.recipients_file.clone() };
            let options = vault::RekeyOptions { vaults: args.vaults.clone(), add, remove: args.remove.clone() };
            vault::rekey(&options, &IdentitySources::of_process(&args.identity)?, console)
        }
        VaultVerb::Check { vaults, deep, identity } => vault::check(vaults, *deep, &IdentitySources::of_process(identity)?, console),
        VaultVerb::Sign { vaults, key } => vault::sign(vaults, key.as_deref(), console),
        VaultVerb::Encrypt { file, recipients, output } => vault::encrypt(file, &vault::RecipientSources::of(recipients), output.as_deref(), console),
        VaultVerb::Decrypt { file, output, reveal, identity } => {
            vault::decrypt(file, output.as_deref(), *reveal, &IdentitySources::of_process(identity)?, console)
        }
        VaultVerb::View { file, reveal, identity } => vault::decrypt(file, None, *reveal, &IdentitySources::of_process(identity)?, console),
    };
    done.map(|()| 0)
}
