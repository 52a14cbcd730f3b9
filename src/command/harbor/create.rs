//! `harbor robot create`: a robot that can pull, and its login in a vault.

use super::{TRIAL_SEAL, Undisturbed, admin, registry, take_back, tell_end, tell_robot, told};
use crate::cli::RobotCreateArgs;
use crate::command::audit::AuditKeySources;
use crate::command::load::Opener;
use crate::command::vault::{VaultFile, people};
use crate::command::verify::client;
use crate::error::{Error, Result};
use crate::model::login::check_name;
use crate::model::robot::{Level, Permission};
use crate::model::text::{escape, shell_word};
use crate::model::{HarborName, Registry, Robot};
use crate::registry::harbor::{Harbor, Made, NewRobot};
use crate::ui;
use crate::vault::edit::{LoginText, set_login};
use crate::vault::{AuditKey, Recipients, SealedValue, seal};

/// Makes the robot and seals its secret.
pub(super) async fn create(args: &RobotCreateArgs) -> Result<()> {
    let registry = registry(&args.harbor)?;
    let new = wanted(args)?;
    let vault = VaultFile::read_for_set(&args.vault)?;
    if vault.document.login(&args.login).is_some() {
        return Err(Error::usage(format!("{}: there is a login `{}` already", vault.name, args.login)).hint(format!(
            "choose another name, or give that one another robot: regprov harbor robot rotate {} {}",
            shell_word(&vault.name),
            shell_word(&args.login)
        )));
    }
    let recipients = vault.recipients()?;
    let key = AuditKeySources::of_process(args.audit.audit_key.as_deref()).load()?.map(|(key, _)| key);
    let trial = LoginText { registry: &registry.to_string(), username: "robot$trial", expires: None, fingerprint: None, canary: None, armored: TRIAL_SEAL };
    vault.can_be_written(&set_login(&vault.name, vault.text(), &args.login, trial)?)?;
    let admin = admin(&args.admin, &registry, Some(&args.vault), &mut Opener::of_process(&args.admin.identity)?)?;
    let client = client(&args.admin.cas)?;
    let harbor = Harbor::of(&client, &admin).await.map_err(told)?;
    if args.projects.len() > 1 && !args.system {
        ui::note("several projects make it a robot of system level, which takes a system administrator");
    }

    let _undisturbed = Undisturbed::new()?;
    let made = harbor.create(&new).await.map_err(told)?;
    let (id, account) = (made.id, made.username.clone());
    let expires = made.expires.as_ref().map(|e| e.unix);
    if let Err(e) = put(args, &vault, &recipients, key.as_ref(), &registry, made) {
        return Err(take_back(&harbor, id, &account, e).await);
    }
    let NewRobot { level, lifetime, permissions, .. } = new;
    let robot = Robot { id, name: account.to_string(), level: Some(level), permissions, lifetime: Some(lifetime), expires, disabled: false };
    tell_robot(&registry, &robot);
    tell_end(&robot);
    ui::note(&format!("its secret is sealed in {} for {} as login `{}`, and was shown to nobody", vault.name, people(recipients.len()), escape(&args.login)));
    Ok(())
}

/// What is asked for, checked: the least that does, which is pulling.
fn wanted(args: &RobotCreateArgs) -> Result<NewRobot> {
    check_name(&args.login).map_err(Error::usage)?;
    let own =
        || HarborName::parse(&args.login).map_err(|why| Error::usage(format!("the login's name `{}` {why}", args.login)).hint("name the robot with --name"));
    let name = args.name.clone().map_or_else(own, Ok)?;
    let mut projects: Vec<&HarborName> = args.projects.iter().collect();
    projects.sort();
    projects.dedup();
    Ok(NewRobot {
        name,
        description: format!("login {} of regprov", args.login),
        level: if args.system || projects.len() > 1 { Level::System } else { Level::Project },
        lifetime: args.duration,
        permissions: projects.into_iter().map(|project| Permission::repositories(project, args.push)).collect(),
    })
}

/// Seals what was made and writes it.
fn put(args: &RobotCreateArgs, vault: &VaultFile, recipients: &Recipients, key: Option<&AuditKey>, registry: &Registry, made: Made) -> Result<()> {
    let Made { username, secret, expires, .. } = made;
    let value = SealedValue { registry: registry.clone(), username, auth_hosts: Vec::new(), password: secret };
    let armored = seal(&value, recipients)?;
    let fingerprint = key.map(|key| key.fingerprint(&value.registry, &value.username, &value.password).text());
    let login = LoginText {
        registry: &registry.to_string(),
        username: value.username.as_str(),
        expires: expires.as_ref().map(|e| e.text.as_str()),
        fingerprint: fingerprint.as_deref(),
        canary: args.canary.as_ref().map(|c| c.as_str()),
        armored: &armored,
    };
    vault.write(&set_login(&vault.name, vault.text(), &args.login, login)?)
}
