//! The files that are written: sealed or for nobody else to read, and none that holds something else.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::in_git;
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::command::load::Opener;
use crate::error::{Error, Result};
use crate::vault::file::{encrypt_value, whole_header};
use crate::vault::{Fit, Recipients};

/// How files are written.
pub(super) struct Output<'a> {
    /// Where to; `None` for stdout.
    pub(super) path: Option<&'a Path>,
    /// For whom they are sealed; `None` where they are not.
    pub(super) recipients: Option<Recipients>,
    /// Whether a file that holds something else gives way.
    pub(super) overwrite: bool,
}

/// A file to be.
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    /// What it says, before it is sealed.
    pub(super) content: Zeroizing<Vec<u8>>,
}

/// What became of the files.
pub(super) struct Written {
    written: usize,
    unchanged: usize,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} written, {} unchanged", self.written, self.unchanged)
    }
}

/// What has to be done for a file.
enum Step {
    /// Nothing: it says that already.
    Leave,
    /// It is to be made.
    Make,
    /// It gives way.
    Replace,
}

impl Output<'_> {
    /// The path of a file below a folder; `path` is where it lies from there on.
    pub(super) fn named(&self, folder: &Path, path: &str) -> PathBuf {
        let suffix = if self.recipients.is_some() { ".age" } else { "" };
        folder.join(format!("{}{suffix}", path.trim_start_matches('/')))
    }

    /// What goes out: the content, sealed where it shall be.
    pub(super) fn sealed(&self, content: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        match &self.recipients {
            // With what says for whom it is, so that it is sealed anew when they change, and only then.
            Some(recipients) => encrypt_value(content, recipients).map(|armored| Zeroizing::new(armored.into_bytes())),
            None => Ok(Zeroizing::new(content.to_vec())),
        }
    }

    /// Writes files below a folder, 0600, with the directories that lead to them, 0700. Each is made or replaced in one step.
    ///
    /// # Errors
    /// Nothing is written where a file holds something else, or git would commit what is not sealed.
    pub(super) fn write_below(&self, folder: &Path, all: &[NewFile], opener: &mut Opener) -> Result<Written> {
        if self.recipients.is_none() {
            in_git::check(folder, all.iter().map(|file| file.path.as_path()))?;
        }
        let mut steps = Vec::with_capacity(all.len());
        let mut problems = Vec::new();
        for file in all {
            match self.step(file, opener) {
                Ok(step) => steps.push(step),
                Err(e) => problems.push(e),
            }
        }
        if !problems.is_empty() {
            let hint = "move them away, name another place, or let --overwrite replace them";
            return Err(Error::together(problems).hint(hint));
        }
        let mut written = 0;
        for (file, step) in all.iter().zip(&steps) {
            if matches!(step, Step::Leave) {
                continue;
            }
            if let Some(parent) = file.path.parent().filter(|p| !p.as_os_str().is_empty()) {
                files::create_dir_private(parent)?;
            }
            let content = self.sealed(&file.content)?;
            match step {
                Step::Make => files::create(&file.path, &content, 0o600)?,
                _ => files::put_private(&file.path, &content)?,
            }
            written += 1;
        }
        Ok(Written { written, unchanged: all.len() - written })
    }

    fn step(&self, file: &NewFile, opener: &mut Opener) -> Result<Step> {
        let path = file.path.display();
        let meta = match fs::symlink_metadata(&file.path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Step::Make),
            Err(e) => return Err(Error::usage(format!("{path} cannot be looked at: {e}"))),
        };
        if !meta.is_file() {
            return Err(Error::usage(format!("{path} is no regular file and is not replaced")));
        }
        let there = files::read(&file.path, FILE_BYTES_MAX)?;
        let (says, is_done) = match &self.recipients {
            None => (Some(there.clone()), meta.mode() & 0o077 == 0),
            Some(recipients) => (opener.opened(&there)?, whole_header(&there).is_ok_and(|header| recipients.fit(&header) == Fit::Same)),
        };
        match says {
            Some(says) if says[..] == file.content[..] => Ok(if is_done { Step::Leave } else { Step::Replace }),
            _ if self.overwrite => Ok(Step::Replace),
            Some(_) => Err(Error::usage(format!("{path} exists already and holds something else"))),
            None => Err(Error::usage(format!("{path} exists already, and no identity at hand opens it to see what it holds"))),
        }
    }
    /// Refuses a folder in which others could put another file in the place of ours, for what is not sealed.
    pub(super) fn only_ours(&self, folder: &Path) -> Result<()> {
        let Ok(meta) = fs::metadata(folder) else { return Ok(()) };
        let shown = folder.display();
        if !meta.is_dir() {
            return Err(Error::usage(format!("{shown} is no folder")));
        }
        let me = rustix::process::geteuid().as_raw();
        if self.recipients.is_none() && (meta.uid() != me || meta.mode() & 0o022 != 0) {
            return Err(Error::usage(format!("others can write in {shown}")).hint("name a folder of your own, such as a new one in it"));
        }
        Ok(())
    }
}
