//! `vault set`: a password goes into a vault.

use std::path::{Path, PathBuf};

use super::{VaultFile, people};
use crate::command::audit::AuditKeySources;
use crate::command::console::Console;
use crate::command::load::now;
use crate::error::{Error, Result};
use crate::model::login::check_name;
use crate::model::registry::NameNote;
use crate::model::text::{escape, shell_word};
use crate::model::{Expiry, Registry, Repository, Username};
use crate::vault::edit::{LoginText, set_become, set_login};
use crate::vault::seal::{check_auth_host, check_become_password};
use crate::vault::{SealedValue, password, seal, seal_become};

/// What `vault set` is told.
#[derive(Clone, Debug, Default)]
pub struct SetOptions {
    /// The vault, or an inventory with `logins:` in it.
    pub vault: PathBuf,
    /// The login's name.
    pub login: String,
    /// `--registry`; may be left out for an existing login.
    pub registry: Option<String>,
    /// `--username`; may be left out for an existing login.
    pub username: Option<String>,
    /// `--expires`; left out, an existing one stays.
    pub expires: Option<String>,
    /// `--canary`; left out, an existing one stays.
    pub canary: Option<String>,
    /// `--auth-host`.
    pub auth_hosts: Vec<String>,
    /// `--generate`: the password is made, of so many characters, and nobody is asked for it.
    pub generate: Option<u8>,
    /// Where the audit key is, when it is at hand.
    pub audit_key: AuditKeySources,
}

/// `vault set`: seals a password for the vault's recipients and writes it, with what it belongs to, into the vault. Touches
/// that login's lines only. What is wrong with the flags is told before a password is asked for.
pub fn set(options: &SetOptions, console: &mut Console<'_>) -> Result<()> {
    let vault = VaultFile::read_for_set(&options.vault)?;
    let file = &vault.name;
    let audit_key = options.audit_key.load()?;
    let recipients = vault.recipients()?;
    let old = vault.document.login(&options.login);
    old.map_or(Ok(()), |old| old.settable(file, &options.login))?;
    let wanted = Wanted::check(options, old.and_then(|o| o.registry.as_deref()), old.and_then(|o| o.username.as_deref()))?;
    match wanted.note {
        NameNote::None => {}
        NameNote::HubWebsite => console.note("note: hub.docker.com is a web site; the registry is docker.io"),
        NameNote::Normalised | NameNote::HubAlias => console.note(format_args!("note: the registry is written as {}", wanted.registry)),
    }
    if wanted.registry.path().is_some() {
        console.note(format_args!("note: only podman targets take a registry with a path; for the others write {}", wanted.registry.authority()));
    }
    let password = match options.generate {
        Some(length) => password::generate(length),
        None => console.new_password(&format!("password of {} at {}", escape(wanted.username.as_str()), wanted.registry))?,
    };
    let value = SealedValue { registry: wanted.registry, username: wanted.username, auth_hosts: options.auth_hosts.clone(), password };
    let armored = seal(&value, &recipients)?;
    let registry = value.registry.to_string();
    let fingerprint = audit_key.map(|(key, _)| key.fingerprint(&value.registry, &value.username, &value.password).text());
    let login = LoginText {
        registry: &registry,
        username: value.username.as_str(),
        expires: wanted.expires.as_ref().map(|e| e.text.as_str()),
        fingerprint: fingerprint.as_deref(),
        canary: options.canary.as_deref(),
        armored: &armored,
    };
    vault.write(&set_login(file, vault.text(), &options.login, login)?)?;
    console.note(format_args!("login `{}` for {registry} is sealed in {file} for {}", options.login, people(recipients.len())));
    if let Some(length) = options.generate {
        console.note(format_args!(
            "its password was made here: {length} letters and digits, {} bits; {registry} has to be given it too: regprov vault get {} {} | ...",
            password::bits(length),
            shell_word(file),
            options.login
        ));
    }
    if fingerprint.is_none() && old.is_some_and(|o| o.fingerprint.is_some()) {
        console.note(format_args!(
            "note: its fingerprint was that of the old password and is taken out; `regprov vault fingerprint {file}` writes the new one, or give --audit-key"
        ));
    }
    if old.is_some_and(|o| o.password.is_some()) && options.auth_hosts.is_empty() {
        console.note("note: auth hosts stand inside the seal; if the old one named any, give them again with --auth-host");
    }
    if old.is_some_and(|o| o.previous.is_some()) {
        console.note("note: a rotation of this login is under way; its `previous` stays as it is");
    }
    Ok(())
}

/// `vault set --become`: seals the password of sudo for the vault's recipients and writes it as the vault's `become_password`.
pub fn set_become_password(vault: &Path, console: &mut Console<'_>) -> Result<()> {
    let vault = VaultFile::read_for_set(vault)?;
    let file = &vault.name;
    let recipients = vault.recipients()?;
    let password = console.new_password("password of sudo")?;
    check_become_password(&password).map_err(|why| Error::usage(format!("{why}; nothing was written")))?;
    vault.write(&set_become(file, vault.text(), &seal_become(&password, &recipients)?)?)?;
    console.note(format_args!("the password of sudo is sealed in {file} for {}", people(recipients.len())));
    Ok(())
}

/// The flags of `vault set`, checked.
struct Wanted {
    registry: Registry,
    note: NameNote,
    username: Username,
    expires: Option<Expiry>,
}

impl Wanted {
    /// Checks all of them and tells all problems at once.
    fn check(options: &SetOptions, old_registry: Option<&str>, old_username: Option<&str>) -> Result<Self> {
        let mut problems = Vec::new();
        problems.extend(check_name(&options.login).err());
        let registry = match options.registry.as_deref().or(old_registry) {
            Some(text) => match Registry::parse(text) {
                Ok(parsed) => Some(parsed),
                Err(why) => {
                    problems.push(why);
                    None
                }
            },
            None => {
                problems.push(format!("login `{}` has no registry yet: give --registry", escape(&options.login)));
                None
            }
        };
        let username = match options.username.as_deref().or(old_username) {
            Some("") => {
                problems.push("--username is empty; where it begins with `$`, put it into single quotes, or the shell replaces it".to_string());
                None
            }
            Some(text) => Username::parse(text).map_err(|why| problems.push(why)).ok(),
            None => {
                problems.push(format!("login `{}` has no username yet: give --username", escape(&options.login)));
                None
            }
        };
        let expires = options.expires.as_deref().and_then(|text| Expiry::parse(text).map_err(|why| problems.push(why)).ok());
        if expires.as_ref().is_some_and(|e| e.is_past(now())) {
            problems.push("--expires is in the past".to_string());
        }
        problems.extend(options.canary.as_deref().and_then(|text| Repository::parse(text).err()).map(|why| format!("--canary: {why}")));
        problems.extend(options.auth_hosts.iter().filter_map(|host| check_auth_host(host).err()));
        match (registry, username) {
            (Some((registry, note)), Some(username)) if problems.is_empty() => Ok(Wanted { registry, note, username, expires }),
            _ => Err(Error::usage(problems.join("\n"))),
        }
    }
}
