//! `harbor robot delete`: a robot ends, and its login leaves the vault.

use std::path::Path;

use super::{Undisturbed, admin, find, registry, sealed, told};
use crate::cli::RobotDeleteArgs;
use crate::command::load::Opener;
use crate::command::terminal::Terminal;
use crate::command::vault::VaultFile;
use crate::command::verify::client;
use crate::error::{Error, Result};
use crate::model::text::{escape, shell_word};
use crate::model::{LoginEntry, PasswordText, Registry, Robot};
use crate::registry::harbor::Harbor;
use crate::ui;
use crate::vault::edit::remove_login;

/// Deletes the robot of a login or of a number, after asking.
pub(super) async fn delete(args: &RobotDeleteArgs) -> Result<()> {
    let mut opener = Opener::of_process(&args.admin.identity)?;
    match (args.id, &args.vault, &args.login) {
        (Some(id), ..) => {
            let registry = registry(args.harbor.as_deref().unwrap_or_default())?;
            let admin = admin(&args.admin, &registry, None, &mut opener)?;
            let client = client(&args.admin.cas)?;
            let harbor = Harbor::of(&client, &admin).await.map_err(told)?;
            let robot = harbor.robot(id).await.map_err(told)?;
            confirm(args, &registry, &robot).await?;
            end(&harbor, &robot).await
        }
        (None, Some(vault), Some(login)) => delete_login(args, vault, login, &mut opener).await,
        _ => Err(Error::usage("name a vault and a login, or --harbor and --id")),
    }
}

async fn delete_login(args: &RobotDeleteArgs, path: &Path, login: &str, opener: &mut Opener) -> Result<()> {
    let vault = VaultFile::read(path, "no login can be taken out of it")?;
    let entry = sealed(&vault.name, &vault.document, login)?;
    let entry = of_which(args, entry)?;
    // What the vault cannot be is known before the robot is gone.
    let without = if args.keep || args.previous { None } else { Some(remove_login(&vault.name, vault.text(), login)?) };
    if let Some(without) = &without {
        vault.can_be_written(without)?;
    }
    proven(&entry, opener)?;
    let admin = admin(&args.admin, &entry.registry, Some(path), opener)?;
    if admin.username == entry.username {
        return Err(
            Error::usage(format!("login `{}` is the very account that Harbor is asked with", escape(login))).hint("delete it with another admin's login")
        );
    }
    let client = client(&args.admin.cas)?;
    let harbor = Harbor::of(&client, &admin).await.map_err(told)?;
    let robot = find(&harbor, &entry.username, args.project.as_ref()).await.map_err(|e| gone(e, &vault, login, without.is_some()))?;
    confirm(args, &entry.registry, &robot).await?;
    let _undisturbed = Undisturbed::new()?;
    end(&harbor, &robot).await?;
    let Some(without) = without else {
        if args.previous {
            ui::note(&format!("{} still has it as `previous`: `regprov rotate finish INVENTORY {}` drops that", vault.name, shell_word(login)));
        }
        return Ok(());
    };
    vault.write(&without).map_err(|e| Error {
        hint: Some(format!("the robot is gone; take the login out with `regprov vault unset {} {}`", shell_word(&vault.name), shell_word(login))),
        ..e
    })?;
    ui::note(&format!("login `{}` is taken out of {}; take it out of the `logins:` of your inventories too", escape(login), vault.name));
    Ok(())
}

/// The account that is meant: the login's own, or with `--previous` that which its rotation replaces.
fn of_which(args: &RobotDeleteArgs, entry: LoginEntry) -> Result<LoginEntry> {
    let name = escape(&entry.name);
    let place = entry.place.clone();
    match (args.previous, entry.previous.is_some()) {
        (false, false) => Ok(entry),
        (false, true) => Err(Error::usage(format!("{place}: a rotation of login `{name}` is under way"))
            .hint("end it first with `regprov rotate finish`; --previous deletes the old robot, with which hosts may pull still")),
        (true, _) => {
            let before = entry.before_rotation().filter(|before| before.username != entry.username);
            before.ok_or_else(|| Error::usage(format!("{place}: login `{name}` has no rotation under way in which a robot replaces another")))
        }
    }
}

/// Demands that the seal says the same registry and account as the lines beside it, which anybody can write who can write the file: they decide
/// where an admin's password goes and whose robot ends.
fn proven(entry: &LoginEntry, opener: &mut Opener) -> Result<()> {
    const BY_NUMBER: &str = "to delete a robot that no seal names, name it yourself: `regprov harbor robot list --harbor HOST` shows the numbers, \
                             `regprov harbor robot delete --harbor HOST --id N` deletes it";
    let PasswordText::Sealed(_) = entry.password else {
        return Err(Error::usage(format!(
            "{}: the password of login `{}` is not sealed, so nothing says that the robot is its own",
            entry.place,
            escape(&entry.name)
        ))
        .hint(BY_NUMBER));
    };
    match opener.logins(&[entry], false) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error { hint: Some(e.hint.map_or(BY_NUMBER.to_string(), |hint| format!("{hint}; {BY_NUMBER}"))), ..e }),
    }
}

/// A robot that is not there any more leaves a login that can go.
fn gone(error: Error, vault: &VaultFile, login: &str, takes_out: bool) -> Error {
    let unset = || format!("if the robot is gone, take the login out with `regprov vault unset {} {}`", shell_word(&vault.name), shell_word(login));
    match error.kind {
        crate::error::Kind::Registry if takes_out => Error { hint: Some(error.hint.map_or_else(unset, |hint| format!("{hint}; {}", unset()))), ..error },
        _ => error,
    }
}

async fn confirm(args: &RobotDeleteArgs, registry: &Registry, robot: &Robot) -> Result<()> {
    let what = format!("robot {} ({}) at {registry}, which may {}", escape(&robot.name), robot.id, ui::robots::may(robot));
    if args.yes {
        return Ok(());
    }
    let Some(terminal) = Terminal::of_process() else {
        return Err(Error::usage(format!("there is no terminal to ask on whether {what} is to be deleted")).hint("add --yes"));
    };
    let prompt = format!("Delete {what}? Whoever has it cannot pull with it any more. Type yes: ");
    match terminal.ask(prompt, true).await {
        Some(answer) if answer.expose().trim() == "yes" => Ok(()),
        _ => Err(Error::usage("you did not say yes; nothing was deleted")),
    }
}

async fn end(harbor: &Harbor<'_>, robot: &Robot) -> Result<()> {
    harbor.delete(robot.id).await.map_err(told)?;
    ui::note(&format!("robot {} ({}) is deleted at {}", escape(&robot.name), robot.id, harbor.registry()));
    Ok(())
}
