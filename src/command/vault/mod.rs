//! `regprov vault`: make, fill and read vaults. A file a verb; what they share stands here.

mod check;
mod diff;
mod edit;
mod file;
mod get;
mod git;
mod keygen;
mod list;
mod read;
mod recipients;
mod rekey;
mod rename;
mod set;
mod show;
mod sign;
#[cfg(test)]
mod tests;
mod unset;
mod whole;

pub use check::check;
pub use diff::diff;
pub use edit::{EditOptions, edit, sweep};
pub use get::{GetOptions, get};
pub use git::{merge_driver, pre_commit, textconv};
pub use keygen::{init, keygen};
pub use list::list;
pub use recipients::RecipientSources;
pub use rekey::{RekeyOptions, rekey};
pub use rename::rename;
pub use set::{SetOptions, set, set_become_password};
pub use show::show;
pub use sign::sign;
pub use unset::{unset, unset_become_password};
pub use whole::{decrypt, encrypt};

pub(super) use crate::vault::recipients::people;
pub(super) use file::VaultFile;

use crate::error::{Error, Result};
use crate::inventory::hint_for;
use crate::model::text::escape;
use crate::model::{Dynamic, DynamicSource, LoginEntry, PasswordText, PreviousPassword, Registry, Secret, Username};
use crate::vault::{Recipients, VaultDocument, is_age_file};

/// The recipients that a file lists, perhaps none.
pub(super) fn listed_of(file: &str, document: &VaultDocument) -> Result<Recipients> {
    let texts = document.recipients.as_deref().unwrap_or_default();
    Recipients::parse(texts.iter().map(String::as_str)).map_err(|mut e| {
        e.message = e.message.lines().map(|line| format!("{file}: {line}")).collect::<Vec<_>>().join("\n");
        e.hint("mend its `recipients` in an editor; `regprov vault check` says in which lines")
    })
}

pub(super) fn recipients_of(file: &str, document: &VaultDocument) -> Result<Recipients> {
    let recipients = listed_of(file, document)?;
    if recipients.is_empty() {
        return Err(Error::vault(format!("{file} names no recipient to seal for"))
            .hint("add\n    recipients:\n      - age1...\n  to it; `regprov vault keygen` prints your recipient"));
    }
    Ok(recipients)
}

pub(super) fn entry(name: &str, login: &crate::vault::document::VaultLogin, place: String) -> Result<LoginEntry> {
    let wrong = |why: String| Error::vault(format!("{place}: login `{}`: {why}", escape(name)));
    let missing = |field: &str| wrong(format!("{field} is missing"));
    let (registry, _) = Registry::parse(login.registry.as_deref().ok_or_else(|| missing("registry"))?).map_err(wrong)?;
    let username = Username::parse(login.username.as_deref().ok_or_else(|| missing("username"))?).map_err(wrong)?;
    let command = login.password_command.clone().map(DynamicSource::Command);
    let password = match (command.or(login.password_file.clone().map(DynamicSource::File)), login.password.clone()) {
        (Some(source), _) => PasswordText::Dynamic(Dynamic { source, auth_hosts: login.auth_hosts.clone().unwrap_or_default() }),
        (None, None) => return Err(missing("password")),
        (None, Some(text)) if is_age_file(text.as_bytes()) => PasswordText::Sealed(text),
        (None, Some(text)) => PasswordText::Plain(Secret::new(text)),
    };
    let previous = login.previous.as_ref().and_then(|previous| {
        let username = Username::parse(previous.username.as_deref()?).ok()?;
        Some(PreviousPassword { username, sealed: previous.password.clone().filter(|p| is_age_file(p.as_bytes()))?, expires: None, fingerprint: None })
    });
    Ok(LoginEntry { name: name.to_string(), registry, username, password, expires: None, fingerprint: None, canary: None, previous, place })
}

/// That there are no logins of these names, each with the one that may be meant.
pub(super) fn unknown(file: &str, document: &VaultDocument, names: &[&str]) -> Error {
    let there: Vec<&str> = document.logins().map(|(name, ..)| name).collect();
    let one =
        |name: &str| Error { hint: hint_for(name, there.iter().copied(), "logins"), ..Error::usage(format!("{file}: there is no login `{}`", escape(name))) };
    match names {
        [name] => one(name),
        _ => Error::usage(names.iter().map(|name| one(name).to_string()).collect::<Vec<_>>().join("\n")),
    }
}
