//! A vault that is looked at, and not changed.

use std::path::Path;

use crate::command::console::Console;
use crate::command::files::FILE_BYTES_MAX;
use crate::command::identity::IdentitySources;
use crate::command::seen::Seen;
use crate::command::signed;
use crate::error::{Error, Result};
use crate::vault::document::VaultLogin;
use crate::vault::{Identities, VaultDocument, decrypt, is_age_file, stamp};

/// A vault as it was read; one that is encrypted as a whole was opened.
pub(super) struct ReadVault {
    /// Its path as the admin named it, for messages.
    pub(super) name: String,
    /// What it says.
    pub(super) document: VaultDocument,
    /// What opens it, where that was needed or asked for.
    pub(super) identities: Option<Identities>,
}

impl ReadVault {
    /// Reads it. The identities are loaded when `opens` says that values are to be opened, and when nothing can be read without them.
    ///
    /// # Errors
    /// The file cannot be read or opened, or is no vault; or a newer state of it was seen.
    pub(super) fn new(vault: &Path, opens: bool, sources: &IdentitySources, console: &mut Console<'_>) -> Result<Self> {
        let name = vault.display().to_string();
        let mut bytes = signed::read(vault, FILE_BYTES_MAX)?;
        let whole = is_age_file(&bytes);
        let identities = if opens || whole { Some(sources.load(console.ask)?) } else { None };
        if let Some(identities) = identities.as_ref().filter(|_| whole) {
            bytes = decrypt(&bytes, identities).map_err(|e| e.explain(&name))?;
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{name} is not text")))?;
        let document = VaultDocument::parse(&name, text)?;
        let stamp = stamp::of(&document).map_err(|why| Error::vault(format!("{name}: {why}")).hint("restore it as it was, from git or a copy"))?;
        Seen::of_process().check(vault, stamp.as_ref())?;
        Ok(ReadVault { document, name, identities })
    }

    /// The login of this name, and its place in the file.
    ///
    /// # Errors
    /// There is none; the hint names one that may be meant.
    pub(super) fn login(&self, login: &str) -> Result<(&VaultLogin, String)> {
        let found = self.document.logins().find(|(name, ..)| *name == login);
        let (_, found, line, column) = found.ok_or_else(|| super::unknown(&self.name, &self.document, &[login]))?;
        Ok((found, format!("{}:{line}:{column}", self.name)))
    }
}
