//! `vault rename`: a login gets another name.

use std::path::Path;

use super::{VaultFile, unknown};
use crate::command::console::Console;
use crate::error::{Error, Result};
use crate::model::login::check_name;
use crate::model::text::escape;
use crate::vault::edit::rename_login;

/// `vault rename`: the login `old` is called `new`, and nothing else changes: no seal names it, so none is made anew.
pub fn rename(vault: &Path, old: &str, new: &str, console: &mut Console<'_>) -> Result<()> {
    check_name(new).map_err(Error::usage)?;
    let vault = VaultFile::read(vault, "no login can be renamed in it")?;
    let file = &vault.name;
    if vault.document.login(old).is_none() {
        return Err(unknown(file, &vault.document, &[old]));
    }
    if old == new {
        return Err(Error::usage(format!("login `{new}` has that name already")));
    }
    if vault.document.login(new).is_some() {
        return Err(Error::usage(format!("{file}: there is a login `{new}` already; nothing was written"))
            .hint("take that one out first (`regprov vault unset`), or choose another name"));
    }
    vault.write(&rename_login(file, vault.text(), old, new)?)?;
    console.note(format_args!("login `{}` is called `{new}` in {file}", escape(old)));
    console.note("note: inventories name logins: change it in the `logins:` and `login:` of yours too; `regprov lint` tells which name nobody defines");
    Ok(())
}
