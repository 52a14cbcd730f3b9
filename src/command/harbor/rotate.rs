//! `harbor robot rotate`: a login gets another robot, or its robot another secret.

use std::collections::BTreeSet;

use super::{TRIAL_SEAL, Undisturbed, admin, find, sealed, take_back, tell_end, tell_robot, told, words};
use crate::cli::RobotRotateArgs;
use crate::command::audit::AuditKeySources;
use crate::command::load::{Opener, now};
use crate::command::vault::{VaultFile, people};
use crate::command::verify::client;
use crate::error::{Error, Result};
use crate::model::robot::Level;
use crate::model::text::{escape, shell_word};
use crate::model::{Expiry, HarborName, Lifetime, Login, LoginEntry, PasswordText, Robot, Secret, Username};
use crate::registry::harbor::{Harbor, NewRobot, Of};
use crate::ui;
use crate::vault::edit::{LoginText, set_login};
use crate::vault::rotation::{self, NewPassword};
use crate::vault::{AuditKey, Recipients, SealedValue, seal};

/// What a rotation works on.
struct Work {
    vault: VaultFile,
    recipients: Recipients,
    key: Option<AuditKey>,
    entry: LoginEntry,
    /// It, opened: its auth hosts go into the new seal.
    old: Login,
}

/// Rotates, and says what comes next.
pub(super) async fn rotate(args: &RobotRotateArgs) -> Result<()> {
    let vault = VaultFile::read_for_set(&args.vault)?;
    let entry = sealed(&vault.name, &vault.document, &args.login)?;
    let name = escape(&entry.name);
    if vault.document.login(&args.login).is_some_and(|l| l.previous.is_some()) {
        return Err(Error::usage(format!("{}: a rotation of login `{name}` is under way already", entry.place))
            .hint("end it first with `regprov rotate finish`, or take it back with `regprov rotate undo`"));
    }
    let PasswordText::Sealed(armored) = &entry.password else {
        return Err(Error::usage(format!("{}: the password of login `{name}` stands in the clear", entry.place))
            .hint(format!("seal it first: regprov vault set {}", words(&vault, &entry.name))));
    };
    let recipients = vault.recipients()?;
    let key = AuditKeySources::of_process(args.audit.audit_key.as_deref()).load()?.map(|(key, _)| key);
    // Whether the file can take it is known before a secret is made.
    let trial = NewPassword { username: entry.username.as_str(), expires: None, fingerprint: None, armored };
    vault.can_be_written(&rotation::begin(&vault.name, vault.text(), &entry.name, trial)?)?;
    let registry = entry.registry.to_string();
    let trial = login_text(&registry, entry.username.as_str(), None, TRIAL_SEAL);
    vault.can_be_written(&set_login(&vault.name, vault.text(), &entry.name, trial)?)?;
    let mut opener = Opener::of_process(&args.admin.identity)?;
    let old = opener.logins(&[&entry], false)?.remove(0);
    let admin = admin(&args.admin, &entry.registry, Some(&args.vault), &mut opener)?;
    if admin.username == entry.username {
        return Err(Error::usage(format!("login `{name}` is the very account that Harbor is asked with")).hint("rotate it with another admin's login"));
    }
    let client = client(&args.admin.cas)?;
    let harbor = Harbor::of(&client, &admin).await.map_err(told)?;
    let robot = find(&harbor, &entry.username, args.project.as_ref()).await?;
    if key.is_none() && vault.document.login(&args.login).is_some_and(|l| l.fingerprint.is_some()) {
        ui::note(&format!("no audit key is at hand, so the new secret has no fingerprint: `regprov vault fingerprint {}` makes it", shell_word(&vault.name)));
    }
    if robot.disabled {
        return Err(Error::registry(format!("{}: robot {} is disabled", harbor.registry(), escape(&robot.name)))
            .hint("somebody switched it off: ask who did, and enable it in Harbor, or make another with `regprov harbor robot create`"));
    }
    let work = Work { vault, recipients, key, entry, old };
    if args.in_place { in_place(&harbor, work, &robot).await } else { another(&harbor, work, &robot, args).await }
}

/// Makes a robot with the same rights, whose secret takes the place of the old one's, which is kept: nodes pull with either until the old robot
/// is deleted.
async fn another(harbor: &Harbor<'_>, work: Work, old: &Robot, args: &RobotRotateArgs) -> Result<()> {
    let level = old.level.filter(|_| !old.permissions.is_empty());
    let level = level.ok_or_else(|| {
        Error::registry(format!("{}: robot {} has no rights that another could be given", harbor.registry(), escape(&old.name)))
            .hint("its projects may be gone; make another with `regprov harbor robot create`")
    })?;
    let lifetime = args.duration.or(old.lifetime).unwrap_or(Lifetime::Days(365));
    let name = match &args.name {
        Some(name) => name.clone(),
        None => free_name(harbor, old, level).await?,
    };
    let description = format!("login {} of regprov, in place of {}", work.entry.name, old.name);
    let new = NewRobot { name, description, level, lifetime, permissions: old.permissions.clone() };
    let _undisturbed = Undisturbed::new()?;
    let made = harbor.create(&new).await.map_err(told)?;
    let (id, account, expires) = (made.id, made.username.clone(), made.expires);
    let written = work.begin(&account, made.secret, expires.as_ref());
    if let Err(e) = written {
        return Err(take_back(harbor, id, &account, e).await);
    }
    let robot = Robot { id, name: account.to_string(), lifetime: Some(lifetime), expires: expires.map(|e| e.unix), ..old.clone() };
    tell_robot(harbor.registry(), &robot);
    tell_end(&robot);
    let login = shell_word(&work.entry.name);
    ui::note(&format!(
        "its secret is sealed in {} for {} as login `{}`; that of {} is kept there as `previous`, and both work",
        work.vault.name,
        people(work.recipients.len()),
        escape(&work.entry.name),
        escape(&old.name)
    ));
    ui::note(&format!(
        "what is left to do: `regprov apply INVENTORY`, `regprov rotate finish INVENTORY {login}`, and then `regprov harbor robot delete --harbor {} --id {}`",
        shell_word(&harbor.registry().to_string()),
        old.id
    ));
    Ok(())
}

/// Has Harbor make a new secret for the same robot. The old one ends with that, so there is nothing to keep.
async fn in_place(harbor: &Harbor<'_>, work: Work, robot: &Robot) -> Result<()> {
    let (registry, shown) = (harbor.registry(), escape(&robot.name));
    if robot.expires.is_some_and(|at| at <= now()) {
        return Err(Error::registry(format!("{registry}: robot {shown} has expired ({}), and a new secret does not change that", ui::robots::end(robot)))
            .hint("leave --in-place away: another robot gets a lifetime of its own"));
    }
    let _undisturbed = Undisturbed::new()?;
    let secret = harbor.new_secret(robot.id).await.map_err(told)?;
    let expires = robot.expires.and_then(Expiry::of_unix);
    work.replace(secret, expires.as_ref()).map_err(|e| Error {
        message: format!("{}\n{registry} has made a new secret for {shown} by then, which is lost: nobody can pull with it", e.message),
        hint: Some(format!("put the vault right, and run it again: it makes another ({})", e.hint.as_deref().unwrap_or("see above"))),
        ..e
    })?;
    tell_robot(registry, robot);
    ui::note(&format!(
        "its new secret is sealed in {} for {} as login `{}`, and was shown to nobody; when it expires did not change",
        work.vault.name,
        people(work.recipients.len()),
        escape(&work.entry.name)
    ));
    ui::warning("the old secret is worth nothing any more: nodes cannot pull with this login until `regprov apply INVENTORY` has been there");
    Ok(())
}

/// The next name that no robot beside it has.
async fn free_name(harbor: &Harbor<'_>, old: &Robot, level: Level) -> Result<HarborName> {
    let unclear = |why: String| {
        Error::usage(format!("robot {}: its own name cannot be told from its account: it {why}", escape(&old.name))).hint("name the new robot with --name")
    };
    let mut name = old.short_name().map_err(unclear)?;
    // On project level there is one permission, which names the project.
    let project = match level {
        Level::Project => old.permissions.first().and_then(|p| HarborName::parse(&p.namespace).ok()),
        Level::System => None,
    };
    let there = harbor.robots(project.as_ref().map_or(Of::System, Of::Project)).await.map_err(told)?;
    let taken: BTreeSet<HarborName> = there.iter().filter_map(|robot| robot.short_name().ok()).collect();
    loop {
        name = name.next();
        if !taken.contains(&name) {
            return Ok(name);
        }
    }
}

impl Work {
    /// Writes the new account and its secret into the vault, beside the old ones.
    fn begin(&self, account: &Username, secret: Secret, expires: Option<&Expiry>) -> Result<()> {
        let (armored, fingerprint) = self.sealed(account, secret)?;
        let new = NewPassword { username: account.as_str(), expires: expires.map(|e| e.text.as_str()), fingerprint: fingerprint.as_deref(), armored: &armored };
        self.vault.write(&rotation::begin(&self.vault.name, self.vault.text(), &self.entry.name, new)?)
    }

    /// Writes the secret over the old one.
    fn replace(&self, secret: Secret, expires: Option<&Expiry>) -> Result<()> {
        let (armored, fingerprint) = self.sealed(&self.entry.username, secret)?;
        let registry = self.entry.registry.to_string();
        let text = login_text(&registry, self.entry.username.as_str(), fingerprint.as_deref(), &armored);
        let text = LoginText { expires: expires.map(|e| e.text.as_str()), ..text };
        self.vault.write(&set_login(&self.vault.name, self.vault.text(), &self.entry.name, text)?)
    }

    fn sealed(&self, account: &Username, secret: Secret) -> Result<(String, Option<String>)> {
        let value = SealedValue { registry: self.entry.registry.clone(), username: account.clone(), auth_hosts: self.old.auth_hosts.clone(), password: secret };
        let fingerprint = self.key.as_ref().map(|key| key.fingerprint(&value.registry, &value.username, &value.password).text());
        Ok((seal(&value, &self.recipients)?, fingerprint))
    }
}

fn login_text<'a>(registry: &'a str, username: &'a str, fingerprint: Option<&'a str>, armored: &'a str) -> LoginText<'a> {
    LoginText { registry, username, expires: None, fingerprint, canary: None, armored }
}
