//! `regprov import`: logins that people have today go into a vault.
//!
//! A kind reads its source to [`Found`]; `Sealing` shows what was found, asks, and writes all of it or nothing.

mod ansible_vault;
mod deepops;
mod env;
mod files;
mod helper;
mod sealing;
mod source;

use super::terminal::Terminal;
use crate::cli::{ImportArgs, ImportVerb};
use crate::error::{Error, Result};
use crate::import::Found;
use crate::ui;
use sealing::Sealing;
use source::Source;

/// Reads, shows, asks and seals. Returns the exit code.
pub async fn import(verb: &ImportVerb) -> Result<u8> {
    match verb {
        ImportVerb::Deepops(args) => deepops::import(args).await,
        ImportVerb::DockerConfig { file, ask_helpers, import } => {
            let (found, source) = files::docker(file.as_deref(), *ask_helpers)?;
            seal(found, &source, import).await
        }
        ImportVerb::Podman { file, ask_helpers, import } => {
            let (found, source) = files::podman(file.as_deref(), *ask_helpers)?;
            seal(found, &source, import).await
        }
        ImportVerb::Enroot { file, import } => {
            let (found, source) = files::enroot(file.as_deref())?;
            seal(found, &source, import).await
        }
        ImportVerb::K8sSecret { file, import } => {
            let (found, source) = files::kubernetes(file)?;
            seal(found, &source, import).await
        }
        ImportVerb::Env { file, registry, import } => {
            let (found, source) = env::read(file.as_deref(), registry)?;
            seal(found, &source, import).await
        }
    }
}

/// What every kind ends with that brings logins alone.
async fn seal(found: Found, source: &Source, args: &ImportArgs) -> Result<u8> {
    let sealing = Sealing::plan(found, args)?;
    sealing.show()?;
    if args.check {
        return Ok(0);
    }
    if sealing.is_empty() {
        return sealing.nothing();
    }
    agree(&sealing.question(), args.yes).await?;
    sealing.seal()?.write()?;
    for line in source.what_is_left() {
        ui::note(&line);
    }
    Ok(0)
}

/// Demands that somebody says yes: the flag, or a person at the terminal.
///
/// # Errors
/// Nobody did; nothing was written.
async fn agree(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let Some(terminal) = Terminal::of_process() else {
        return Err(Error::usage("there is no terminal to ask on; nothing was written").hint("add --yes, or --check to see what would be done"));
    };
    let answer = terminal.ask(format!("{question} [y/N] "), true).await;
    match answer.is_some_and(|a| matches!(a.expose().trim(), "y" | "Y" | "yes")) {
        true => Ok(()),
        false => Err(Error::usage("you did not say yes; nothing was written")),
    }
}
