//! What an import reads: a file of somebody's, or stdin.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::command::files;
use crate::error::{Error, Kind, Result};
use crate::model::text::{escape, shell_word};
use crate::ui;

/// The largest file that is imported, in bytes; the largest that Kubernetes takes for a Secret is 1 MiB.
const SOURCE_BYTES_MAX: u64 = 4 << 20;

/// Where logins came from, for what is told in the end.
pub(super) struct Source {
    /// The file, or what else it is, as the admin knows it.
    name: String,
    /// Whether it is a file that stays.
    is_file: bool,
}

impl Source {
    /// Something that is no file.
    pub(super) fn named(name: &str) -> Self {
        Source { name: name.to_string(), is_file: false }
    }

    /// Reads the text of a file, or of stdin for `-`. One that others can read is told.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is not UTF-8; one with a byte order mark is refused, since nobody who reads such files takes it.
    pub(super) fn read(path: &Path) -> Result<(Self, Zeroizing<String>)> {
        let source = if path == Path::new("-") { Source::named("stdin") } else { Source { name: escape(&path.display().to_string()), is_file: true } };
        let wrong = |e: Error| Error { kind: Kind::Usage, ..e };
        let mut bytes = if source.is_file { open(path, &source.name)? } else { stdin()? };
        if source.is_file {
            warn_of_readers(path, &source.name);
        }
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(wrong(Error::usage(format!("{} starts with a byte order mark, which no program that reads such files takes", source.name)))
                .hint("save it without one"));
        }
        if std::str::from_utf8(&bytes).is_err() {
            return Err(Error::usage(format!("{} is not UTF-8", source.name)).hint("convert it, as with `iconv -t UTF-8`"));
        }
        // Moved, not copied: a copy would have to be wiped too.
        let text = Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).expect("it was checked just before"));
        Ok((source, text))
    }

    /// What is wrong with it; `why` goes on from its name.
    pub(super) fn wrong(&self, why: &str) -> Error {
        Error::usage(format!("{} {why}", self.name))
    }

    /// What is left to be done about it, once the logins are sealed.
    pub(super) fn what_is_left(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.is_file {
            lines.push(format!("{} still holds the passwords in the clear; remove them there once nobody needs them", self.name));
        } else {
            lines.push(format!("what was read from {} is still there in the clear", self.name));
        }
        lines.push("name the logins in an inventory, beside `vault:`, and look with `regprov hosts INVENTORY` and `regprov lint INVENTORY`".to_string());
        lines
    }
}

fn open(path: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>> {
    if let (Ok(meta), Err(e)) = (fs::symlink_metadata(path), fs::metadata(path))
        && meta.is_symlink()
    {
        let to = fs::read_link(path).map_or_else(|_| "elsewhere".to_string(), |to| escape(&to.display().to_string()));
        let why = if e.kind() == io::ErrorKind::NotFound { "which is not there".to_string() } else { e.to_string() };
        return Err(Error::usage(format!("{name} is a link to {to}, {why}")));
    }
    files::read(path, SOURCE_BYTES_MAX).map_err(|e| Error { kind: Kind::Usage, ..e })
}

fn stdin() -> Result<Zeroizing<Vec<u8>>> {
    // Room for more than is read, so that the buffer never moves and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SOURCE_BYTES_MAX as usize + 64));
    io::stdin().lock().take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| Error::usage(format!("stdin cannot be read: {e}")))?;
    if bytes.len() as u64 > SOURCE_BYTES_MAX {
        return Err(Error::usage(format!("what comes over stdin is larger than {} KiB", SOURCE_BYTES_MAX >> 10)));
    }
    Ok(bytes)
}

/// Who can read it has the passwords already. A pipe belongs to its reader.
fn warn_of_readers(path: &Path, name: &str) {
    let Ok(meta) = fs::metadata(path) else { return };
    if meta.is_file() && meta.mode() & 0o044 != 0 {
        let mode = meta.mode() & 0o7777;
        ui::warning(&format!("{name} can be read by others (mode {mode:04o}), so its passwords may be known; chmod 600 {}, and change them", shell_word(name)));
    }
}
