//! `regprov harbor robot`: robot accounts of a Harbor, from its API straight into a vault. A file a verb; what they share stands here.
//!
//! Harbor tells a secret once. So whatever can be wrong with the vault is found before a robot is made, nothing interrupts what comes after
//! that, and a robot whose secret cannot be kept is deleted again.

mod create;
mod delete;
mod list;
mod rotate;

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::console::Console;
use super::load::{Opener, now};
use super::vault::{VaultFile, entry, unknown};
use crate::cli::{HarborArgs, HarborVerb, RobotVerb};
use crate::error::{Error, Result};
use crate::inventory::World as _;
use crate::model::text::{escape, shell_word};
use crate::model::{Expiry, HarborName, Lifetime, Login, LoginEntry, Registry, Robot, Username, robot};
use crate::registry::harbor::{Harbor, Of, Refusal};
use crate::ui;
use crate::vault::VaultDocument;

/// Runs a verb and returns the exit code.
pub async fn harbor(verb: &HarborVerb) -> Result<u8> {
    let HarborVerb::Robot(verb) = verb;
    match verb {
        RobotVerb::Create(args) => create::create(args).await,
        RobotVerb::List(args) => list::list(args).await,
        RobotVerb::Rotate(args) => rotate::rotate(args).await,
        RobotVerb::Delete(args) => delete::delete(args).await,
    }
    .map(|()| 0)
}

/// The registry that a flag calls a Harbor.
fn registry(text: &str) -> Result<Registry> {
    let (registry, _) = Registry::parse(text).map_err(Error::usage)?;
    match registry.path() {
        Some(_) => Err(Error::usage(format!("--harbor: {registry} has a path")).hint("write the host alone; projects are named with --project")),
        None if registry.is_hub() => Err(Error::usage("--harbor: Docker Hub is no Harbor")),
        None => Ok(registry),
    }
}

/// The login with which Harbor is asked: one of a vault that is sealed for this very Harbor, or one whose password is typed or piped in.
/// `vault` is the one that is worked on.
fn admin(args: &HarborArgs, registry: &Registry, vault: Option<&Path>, opener: &mut Opener) -> Result<Login> {
    let Some(name) = &args.admin_login else {
        let username = args.admin_username.as_deref().expect("clap demands one of the two");
        let username = Username::parse(username).map_err(|why| Error::usage(format!("--admin-username: {why}")))?;
        let password = Console::of_process(|console| console.password(&format!("password of {} at {registry}", escape(username.as_str()))))?;
        return Ok(Login { name: "admin".into(), registry: registry.clone(), username, password, auth_hosts: Vec::new(), expires: None });
    };
    let path = args.admin_vault.as_deref().or(vault);
    let path = path.ok_or_else(|| Error::usage("--admin-login needs the vault that has it").hint("name it with --admin-vault"))?;
    let file = path.display().to_string();
    let text = opener.read_vault(path)?;
    let document = VaultDocument::parse(&file, &text)?;
    let entry = sealed(&file, &document, name)?;
    if entry.registry != *registry {
        return Err(Error::usage(format!("--admin-login: login `{}` is for {}, and is not sent to {registry}", escape(name), entry.registry))
            .hint("name a login of this Harbor, or give --admin-username"));
    }
    Ok(opener.logins(&[&entry], false)?.remove(0))
}

/// A login of a vault, which must be there and sealed.
fn sealed(file: &str, document: &VaultDocument, name: &str) -> Result<LoginEntry> {
    let found = document.logins().find(|(there, ..)| *there == name);
    let (_, login, line, column) = found.ok_or_else(|| unknown(file, document, &[name]))?;
    entry(name, login, format!("{file}:{line}:{column}"))
}

/// The robot of this account, with the project that it names, or `project`.
async fn find(harbor: &Harbor<'_>, account: &Username, project: Option<&HarborName>) -> Result<Robot> {
    let shown = escape(account.as_str());
    let named = match project {
        Some(project) => Some(project.clone()),
        None => robot::project_of(account)
            .map_err(|_| Error::usage(format!("which project {shown} belongs to cannot be told from its name")).hint("name it with --project"))?,
    };
    let of = named.as_ref().map_or(Of::System, Of::Project);
    let found = harbor.robots(of).await.map_err(told)?.into_iter().find(|robot| robot.name == account.as_str());
    found.ok_or_else(|| {
        let place = named.as_ref().map_or("on system level".to_string(), |p| format!("in project {p}"));
        Error::registry(format!("{}: there is no robot {shown} {place}", harbor.registry()))
            .hint("`regprov harbor robot list` shows those that are there; is the login one of a robot?")
    })
}

/// Harbor's refusal as an error of the command.
fn told(refusal: Refusal) -> Error {
    Error::registry(refusal.message).hint(refusal.hint)
}

/// Keeps Ctrl-C, Ctrl-\, a terminal that goes away and SIGTERM from ending the process while it lives: from the moment in which a secret is made
/// until it is kept. Every request in between has a deadline.
struct Undisturbed {
    _signals: [Signal; 4],
}

impl Undisturbed {
    fn new() -> Result<Self> {
        let of = |kind| signal(kind).map_err(|e| Error::internal(format!("signals cannot be heard: {e}")));
        let (hangup, quit) = (of(SignalKind::hangup())?, of(SignalKind::quit())?);
        Ok(Undisturbed { _signals: [of(SignalKind::interrupt())?, of(SignalKind::terminate())?, hangup, quit] })
    }
}

/// Deletes a robot whose secret could not be kept, since nobody knows it; the error says what became of both.
async fn take_back(harbor: &Harbor<'_>, id: i64, account: &Username, error: Error) -> Error {
    let (registry, shown) = (harbor.registry(), escape(account.as_str()));
    let became = match harbor.delete(id).await {
        Ok(()) => format!("robot {shown}, which was made for it, is deleted again at {registry}"),
        Err(refusal) => format!(
            "robot {shown} was made for it, nobody knows its secret, and it could not be deleted again ({}): delete it with `regprov harbor robot delete --harbor {} --id {id}`",
            refusal.message,
            shell_word(&registry.to_string())
        ),
    };
    Error { message: format!("{}\n{became}", error.message), ..error }
}

/// Tells what a new robot is.
fn tell_robot(registry: &Registry, robot: &Robot) {
    let level = robot.level.map_or("-", |level| level.name());
    ui::note(&format!(
        "robot {} ({}, {level} level) at {registry}: {}, expires: {}",
        escape(&robot.name),
        robot.id,
        ui::robots::may(robot),
        ui::robots::end(robot)
    ));
}

/// Warns of a robot that ends at another time than it was asked for.
fn tell_end(robot: &Robot) {
    let Some(asked) = robot.lifetime else { return };
    let wanted = match asked {
        Lifetime::Days(days) => Some(now() + i64::from(days) * DAY),
        Lifetime::Never => None,
    };
    let is_near = |(wanted, end): (i64, i64)| wanted.abs_diff(end) <= END_SECONDS_OFF_MAX;
    if wanted.is_none() && robot.expires.is_none() || wanted.zip(robot.expires).is_some_and(is_near) {
        return;
    }
    let wanted = wanted.and_then(Expiry::of_unix).map_or("never".to_string(), |end| format!("{asked} days from now ({})", end.text));
    ui::warning(&format!(
        "robot {} was asked to end {wanted}, and Harbor says that it ends {}: it may have a rule of its own; if that is not what you want, delete the robot",
        escape(&robot.name),
        robot.expires.map_or("never".to_string(), |_| ui::robots::end(robot))
    ));
}

const DAY: i64 = 86_400;

/// How far the end of a new robot may be from the one that was asked for, in seconds: a day, for whoever rounds to days, and an hour, for clocks.
const END_SECONDS_OFF_MAX: u64 = 25 * 3600;

/// `VAULT LOGIN` for a command to type.
fn words(vault: &VaultFile, login: &str) -> String {
    format!("{} {}", shell_word(&vault.name), shell_word(login))
}

/// What a login's lines will be at least as hard to place as: for finding out before a secret is made whether the vault can take it.
const TRIAL_SEAL: &str = "-----BEGIN AGE ENCRYPTED FILE-----\ntrial\n-----END AGE ENCRYPTED FILE-----\n";
