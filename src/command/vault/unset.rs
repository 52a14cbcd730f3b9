//! `vault unset`: logins leave a vault.

use std::path::Path;

use zeroize::Zeroizing;

use super::{VaultFile, unknown};
use crate::command::console::Console;
use crate::error::{Error, Result};
use crate::model::text::{escape, shell_word};
use crate::vault::edit::{remove_become, remove_login};

/// `vault unset`: takes these logins out of the vault, all of them or none. One whose rotation is under way goes only `with_previous`: its old
/// password may be what hosts still have, and goes with it.
pub fn unset(vault: &Path, logins: &[String], with_previous: bool, console: &mut Console<'_>) -> Result<()> {
    let vault = VaultFile::read(vault, "no login can be taken out of it")?;
    let file = &vault.name;
    let mut names: Vec<&str> = Vec::new();
    logins.iter().for_each(|name| {
        if !names.contains(&name.as_str()) {
            names.push(name)
        }
    });
    let missing: Vec<&str> = names.iter().copied().filter(|name| vault.document.login(name).is_none()).collect();
    if !missing.is_empty() {
        return Err(unknown(file, &vault.document, &missing));
    }
    let rotating: Vec<String> = names.iter().filter(|n| vault.document.login(n).is_some_and(|l| l.previous.is_some())).map(|n| escape(n)).collect();
    if !with_previous && !rotating.is_empty() {
        let them = rotating.join("`, `");
        return Err(Error::usage(format!("{file}: a rotation of login `{them}` is under way; the old password would go too, and hosts may have it still"))
            .hint("end it first (`regprov rotate finish` or `regprov rotate undo`), or let both passwords go with --with-previous"));
    }
    let mut text = Zeroizing::new(vault.text().to_string());
    for name in &names {
        text = Zeroizing::new(remove_login(file, &text, name)?);
    }
    vault.write(&text)?;
    for name in &names {
        let login = vault.document.login(name).expect("unknown names were refused above");
        let account = |username: Option<&str>| escape(username.unwrap_or("its account"));
        let at = login.registry.as_deref().map_or(String::new(), |r| format!(" at {}", escape(r)));
        let previous = login.previous.as_ref().map_or(String::new(), |p| format!(", and that of {} which it replaces", account(p.username.as_deref())));
        console.note(format_args!("login `{}` is taken out of {file}: the password of {}{at}{previous}", escape(name), account(login.username.as_deref())));
    }
    console.note(format_args!(
        "note: take it out of the `logins:` of your inventories too; the nodes keep it until `regprov remove` or `regprov apply --prune`, and git keeps each seal \
         that was committed: revoke it at its registry"
    ));
    Ok(())
}

/// `vault unset --become`: takes the password of sudo out of the vault.
pub fn unset_become_password(vault: &Path, console: &mut Console<'_>) -> Result<()> {
    let vault = VaultFile::read(vault, "nothing can be taken out of it")?;
    if vault.document.become_password.is_none() {
        return Err(Error::usage(format!("{} has no password of sudo", vault.name)));
    }
    vault.write(&remove_become(&vault.name, vault.text())?)?;
    console.note(format_args!(
        "the password of sudo is taken out of {}; `regprov vault set {} --become` seals another, and -K asks for it",
        vault.name,
        shell_word(&vault.name)
    ));
    Ok(())
}
