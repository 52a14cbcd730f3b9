//! A vault that is being changed.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::recipients_of;
use crate::command::files::{self, FILE_BYTES_MAX, Replacement};
use crate::command::seen::Seen;
use crate::command::signed;
use crate::error::{Error, Result};
use crate::model::text::escape;
use crate::model::{LoginEntry, PasswordText, VaultStamp};
use crate::vault::{Recipients, VaultDocument, edit, is_age_file, stamp};

/// A vault as it was read, or an inventory with `logins:` in it; and the one door through which its changed text goes back.
pub(in crate::command) struct VaultFile {
    /// Its path as the admin named it, for messages.
    pub(in crate::command) name: String,
    /// What it says without any key.
    pub(in crate::command) document: VaultDocument,
    path: PathBuf,
    text: Zeroizing<String>,
    /// Whether the file is still to be made.
    is_new: bool,
}

impl VaultFile {
    /// Reads a file in which a password is to be set.
    pub(in crate::command) fn read_for_set(path: &Path) -> Result<Self> {
        Self::read(path, "no login can be set in it")
    }

    /// Reads a file that is to be changed; `not` says what cannot be done to one that is encrypted as a whole.
    pub(in crate::command) fn read(path: &Path, not: &str) -> Result<Self> {
        let name = path.display().to_string();
        let mut bytes = files::read(path, FILE_BYTES_MAX).map_err(|e| e.hint(format!("a new vault is made with `regprov vault init {name} -r RECIPIENT`")))?;
        signed::verified(path, &bytes)?;
        signed::may_change(path)?;
        files::replaceable(path)?;
        if is_age_file(&bytes) {
            return Err(Error::vault(format!("{name} is encrypted as a whole, so {not}")).hint(format!(
                "decrypt it (`regprov vault decrypt {name} -o PLAIN`), change PLAIN, and use that: passwords in it are sealed one by one; or encrypt it again"
            )));
        }
        std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{name} is not text")))?;
        // Moved, not copied: a copy would have to be wiped too.
        let text = Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).expect("it was checked two lines above"));
        let document = VaultDocument::parse(&name, &text)?;
        let stamp = stamp::of(&document).map_err(|why| Error::vault(format!("{name}: {why}")).hint("restore it as it was, from git or a copy"))?;
        Seen::of_process().check(path, stamp.as_ref())?;
        Ok(VaultFile { name, document, path: path.to_path_buf(), text, is_new: false })
    }

    /// A vault without logins for these recipients, which is made when it is first written.
    pub(in crate::command) fn fresh(path: &Path, recipients: &Recipients) -> Result<Self> {
        let name = path.display().to_string();
        let list: String = recipients.iter().map(|r| format!("  - {}\n", edit::recipient_item(r))).collect();
        let text = Zeroizing::new(format!("version: 1\nrecipients:\n{list}logins: {{}}\n"));
        let document = VaultDocument::parse(&name, &text)?;
        Ok(VaultFile { name, document, path: path.to_path_buf(), text, is_new: true })
    }

    /// Reads the file of a login of an inventory, which must hold it as the inventory was read.
    pub(in crate::command) fn of(entry: &LoginEntry) -> Result<Self> {
        let vault = Self::read_for_set(Path::new(entry.file()))?;
        let there = vault.document.login(&entry.name).and_then(|l| l.password.as_deref()).map(str::trim);
        if !matches!(&entry.password, PasswordText::Sealed(armored) if there == Some(armored.trim())) {
            return Err(
                Error::vault(format!("{}: login `{}` was changed meanwhile; nothing was written", vault.name, escape(&entry.name))).hint("run it again")
            );
        }
        Ok(vault)
    }

    /// The text as it was read.
    pub(in crate::command) fn text(&self) -> &str {
        &self.text
    }

    /// Finds out whether this text could be written, and writes nothing: for what must not fail later.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), but that somebody may change the file until then.
    pub(in crate::command) fn can_be_written(&self, text: &str) -> Result<()> {
        edit::stamp(&self.name, text, &stamp::next(&self.document)).map(Zeroizing::new)?;
        files::can_be_replaced(&self.path)
    }

    /// What the file will hold once [`write`](Self::write) is given this text.
    ///
    /// # Errors
    /// The text is no vault.
    pub(in crate::command) fn as_written(&self, text: &str) -> Result<Zeroizing<String>> {
        self.stamped(text, &Seen::of_process()).map(|(_, text)| text)
    }

    /// Those for whom it is sealed.
    ///
    /// # Errors
    /// There is none, or one is no public key.
    pub(in crate::command) fn recipients(&self) -> Result<Recipients> {
        recipients_of(&self.name, &self.document)
    }

    /// The file's text gives way to this one, with the next serial; a new file is made. What was signed is signed again, or it is told that
    /// it was not ([`signed::was_written`]).
    ///
    /// # Errors
    /// Somebody else changed the file since it was read, or made it meanwhile, or it cannot be written; then it is what it was.
    pub(in crate::command) fn write(&self, text: &str) -> Result<()> {
        if self.is_new {
            let seen = Seen::of_process();
            let (stamp, stamped) = self.stamped(text, &seen)?;
            files::create(&self.path, stamped.as_bytes(), 0o666)?;
            seen.keep_own(&self.path, &stamp, stamped.as_bytes());
            signed::was_written(&self.path, stamped.as_bytes());
            return Ok(());
        }
        Self::write_all(&[(self, text)])
    }

    /// As [`VaultFile::write`], of several files that were read: all of them change, or none.
    ///
    /// # Errors
    /// As [`files::replace_all`].
    pub(in crate::command) fn write_all(changes: &[(&VaultFile, &str)]) -> Result<()> {
        let seen = Seen::of_process();
        let stamped = changes.iter().map(|(file, text)| file.stamped(text, &seen)).collect::<Result<Vec<_>>>()?;
        let files = || changes.iter().map(|(file, _)| *file).zip(&stamped);
        let all: Vec<_> = files().map(|(file, (_, new))| Replacement { path: &file.path, old: file.text.as_bytes(), new: new.as_bytes() }).collect();
        files::replace_all(&all)?;
        files().for_each(|(file, (stamp, new))| seen.keep_own(&file.path, stamp, new.as_bytes()));
        files().for_each(|(file, (_, new))| signed::was_written(&file.path, new.as_bytes()));
        Ok(())
    }

    /// A text of this vault with the next serial, and that.
    fn stamped(&self, text: &str, seen: &Seen) -> Result<(VaultStamp, Zeroizing<String>)> {
        let stamp = seen.next(stamp::next(&self.document));
        let text = Zeroizing::new(edit::stamp(&self.name, text, &stamp)?);
        Ok((stamp, text))
    }
}
