//! `vault get`: one field of a login, for scripts.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::entry;
use super::read::ReadVault;
use crate::cli::VaultField as Field;
use crate::command::console::Console;
use crate::command::files;
use crate::command::identity::IdentitySources;
use crate::error::{Error, Result};
use crate::model::text::escape;
use crate::vault::open_login;

/// What `vault get` is told.
#[derive(Clone, Debug)]
pub struct GetOptions {
    /// The vault, or an inventory with `logins:` in it.
    pub vault: PathBuf,
    /// The login's name.
    pub login: String,
    /// What is wanted of it.
    pub field: Field,
    /// Of what its rotation replaces, instead of itself.
    pub previous: bool,
    /// A password may go to a terminal.
    pub reveal: bool,
    /// A new file (0600) instead of stdout.
    pub output: Option<PathBuf>,
}

/// `vault get`: writes the field and nothing else. A password is written byte for byte, without a line break at its end, and not to a terminal
/// unless that is asked for; the other fields end with one, and one that the login does not have is nothing.
pub fn get(options: &GetOptions, sources: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    if options.field == Field::Password && options.output.is_none() {
        console.secret_may_be_printed(options.reveal)?;
    }
    let vault = ReadVault::new(&options.vault, matches!(options.field, Field::Password | Field::AuthHosts), sources, console)?;
    let (login, place) = vault.login(&options.login)?;
    let (registry, username, expires) = match (&login.previous, options.previous) {
        (Some(previous), true) => (&login.registry, &previous.username, &previous.expires),
        (None, true) => return Err(Error::usage(format!("{place}: no rotation of login `{}` is under way", escape(&options.login)))),
        (_, false) => (&login.registry, &login.username, &login.expires),
    };
    let written = |field: &str, value: &Option<String>| {
        value.clone().ok_or_else(|| Error::vault(format!("{place}: login `{}`: {field} is missing", escape(&options.login))))
    };
    let opened = || {
        let entry = entry(&options.login, login, place.clone())?;
        let entry = if options.previous { entry.before_rotation() } else { Some(entry) };
        let entry = entry.ok_or_else(|| Error::vault(format!("{place}: `previous` of login `{}` is not complete", escape(&options.login))))?;
        open_login(&entry, vault.identities.as_ref().expect("they were loaded for a sealed field"), false)
    };
    let lines =
        |values: Vec<String>| Zeroizing::new(values.iter().map(|v| format!("{}\n", if console.stdout_is_terminal { escape(v) } else { v.clone() })).collect());
    let text: Zeroizing<String> = match options.field {
        Field::Password => {
            let password = opened()?.password;
            let end = if options.output.is_none() && console.stdout_is_terminal { "\n" } else { "" };
            Zeroizing::new(format!("{}{end}", password.expose()))
        }
        Field::AuthHosts => lines(opened()?.auth_hosts),
        Field::Username => lines(vec![written("username", username)?]),
        Field::Registry => lines(vec![normalised(&written("registry", registry)?, &place, &options.login)?]),
        Field::Expires => lines(expires.iter().cloned().collect()),
    };
    match &options.output {
        Some(output) => write_new(output, text.as_bytes(), console),
        None => console.print(text.as_bytes()),
    }
}

fn normalised(registry: &str, place: &str, login: &str) -> Result<String> {
    let (registry, _) = crate::model::Registry::parse(registry).map_err(|why| Error::vault(format!("{place}: login `{}`: {why}", escape(login))))?;
    Ok(registry.to_string())
}

fn write_new(output: &Path, bytes: &[u8], console: &mut Console<'_>) -> Result<()> {
    files::create(output, bytes, 0o600)?;
    console.note(format_args!("{} is written, readable by you alone", output.display()));
    Ok(())
}
