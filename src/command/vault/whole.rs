//! `vault encrypt`, `vault decrypt` and `vault view`: files that are sealed as a whole.

use std::path::Path;

use super::{RecipientSources, people, recipients_of};
use crate::command::console::Console;
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::command::identity::IdentitySources;
use crate::command::signed;
use crate::error::{Error, Result};
use crate::vault::file::{decrypt_with_passphrase, is_passphrase_file};
use crate::vault::{VaultDocument, decrypt as open_file, encrypt as seal_file, is_age_file};

/// `vault encrypt`: a whole file, in place or to a new file `output`, for the recipients given, else for those that the file
/// itself lists under `recipients:`.
pub fn encrypt(file: &Path, recipients: &RecipientSources, output: Option<&Path>, console: &mut Console<'_>) -> Result<()> {
    let name = file.display().to_string();
    let bytes = files::read(file, FILE_BYTES_MAX)?;
    if is_age_file(&bytes) {
        return Err(Error::vault(format!("{name} is encrypted already")));
    }
    let recipients = if recipients.is_empty() {
        let text = std::str::from_utf8(&bytes).ok();
        let document = text
            .and_then(|text| VaultDocument::parse(&name, text).ok())
            .ok_or_else(|| Error::usage(format!("{name} is no vault that lists its recipients, so they must be named")).hint("add -r RECIPIENT or -R FILE"))?;
        recipients_of(&name, &document)?
    } else {
        recipients.load(console)?
    };
    let armored = seal_file(&bytes, &recipients)?;
    match output {
        Some(output) => files::create(output, armored.as_bytes(), 0o666)?,
        None => {
            files::replace(file, &bytes, armored.as_bytes())?;
            signed::was_written(file, armored.as_bytes());
        }
    }
    console.note(format_args!("{} is encrypted for {}", output.unwrap_or(file).display(), people(recipients.len())));
    Ok(())
}

/// `vault decrypt` and (without `output`) `vault view`: a whole file's content, to a new file (0600) or to stdout, which must
/// not be a terminal unless `reveal`. A file sealed with a passphrase asks for it.
pub fn decrypt(file: &Path, output: Option<&Path>, reveal: bool, sources: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    if output.is_none() {
        console.secret_may_be_printed(reveal)?;
    }
    let name = file.display().to_string();
    let bytes = signed::read(file, FILE_BYTES_MAX)?;
    if !is_age_file(&bytes) {
        return Err(
            Error::vault(format!("{name} is not encrypted as a whole")).hint("`regprov vault show` shows a vault whose passwords are sealed one by one")
        );
    }
    let opened = if is_passphrase_file(&bytes) {
        decrypt_with_passphrase(&bytes, &(console.ask)(&format!("passphrase of {name}"))?)
    } else {
        open_file(&bytes, &sources.load(console.ask)?)
    };
    let content = opened.map_err(|e| e.explain(&name))?;
    match output {
        Some(output) => files::create(output, &content, 0o600),
        None => console.print(&content),
    }
}
