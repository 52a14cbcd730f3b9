//! The admin's own files: read with a limit, made exclusively, replaced atomically.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The largest vault, inventory or whole encrypted file that is read, in bytes. age's own test vectors reach 17 MB.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// Reads a file whole; what it holds is wiped on drop. Errors name the file and the reason.
pub fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).map_err(|e| trouble(path, "cannot be read", &e))?;
    read_open(path, file, bytes_max)
}

/// As [`read`], of a file that is open already.
pub fn read_open(path: &Path, file: File, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>> {
    let size = file.metadata().map_or(0, |m| m.len()).min(bytes_max);
    // Room for all of it, so that the buffer does not move and leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(size as usize + 64));
    file.take(bytes_max + 1).read_to_end(&mut content).map_err(|e| trouble(path, "cannot be read", &e))?;
    if content.len() as u64 > bytes_max {
        return Err(Error::vault(format!("{} is larger than {} KiB", path.display(), bytes_max >> 10)));
    }
    Ok(content)
}

/// Makes a file that must not exist yet, with these permission bits (less the umask), on disk when this returns. Nothing
/// stays behind when it fails.
pub fn create(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::vault(format!("{} exists already and is not overwritten", path.display())).hint("name another file, or move it away first")
        }
        _ => trouble(path, "cannot be made", &e),
    })?;
    file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path)).map_err(|e| {
        let _ = fs::remove_file(path);
        trouble(path, "cannot be written", &e)
    })
}

/// Makes a directory of the admin's own (0700), with those above it.
pub fn create_dir_private(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| trouble(path, "cannot be made", &e))
}

/// Writes a file of regprov's own (0600), whatever is there: readers see the old or the new.
pub fn put_private(path: &Path, content: &[u8]) -> Result<()> {
    let (temporary, mut file) = temporary_beside(path)?;
    let result = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    result.map_err(|e| {
        let _ = fs::remove_file(&temporary);
        trouble(path, "cannot be written", &e)
    })
}

/// A regular file's new content.
pub struct Replacement<'a> {
    /// The file. A link is refused: the file behind it is to be named itself.
    pub path: &'a Path,
    /// What was read; when something else is there by now, nothing is written.
    pub old: &'a [u8],
    /// What it is to hold.
    pub new: &'a [u8],
}

/// Replaces a regular file's content in one step: readers see the old or the new, also after a crash. Mode and owner stay.
/// `old` is what was read; when something else is there by now, nothing is written. Links are refused: the file behind one
/// is to be named itself.
pub fn replace(path: &Path, old: &[u8], content: &[u8]) -> Result<()> {
    replace_all(&[Replacement { path, old, new: content }])
}

/// As [`replace`], of several files, all or none of them: everything is on disk beside them and checked before the first is replaced, and
/// when one then cannot be, those before it are put back as they were.
///
/// A crash (or SIGKILL) in between leaves each file whole, some old and some new, and temporary files beside them.
pub fn replace_all(files: &[Replacement<'_>]) -> Result<()> {
    let staged = files.iter().map(|file| Staged::new(file, files.len() > 1)).collect::<Result<Vec<_>>>()?;
    staged.iter().try_for_each(Staged::check)?;
    for (i, file) in staged.iter().enumerate() {
        if let Err(e) = file.new.put(file.replaced.path) {
            let mut error = trouble(file.replaced.path, "cannot be replaced", &e);
            for put in &staged[..i] {
                let back = put.old.as_ref().expect("of several files each has its old content beside it");
                if let Err(e) = back.put(put.replaced.path) {
                    error.message.push_str(&format!("\n{}", trouble(put.replaced.path, "has its new content, and cannot be put back", &e).message));
                }
            }
            return Err(error);
        }
    }
    let synced = staged.iter().map(|file| file.replaced.path).map(|path| (path, sync_parent(path)));
    synced.into_iter().try_for_each(|(path, synced)| synced.map_err(|e| trouble(path, "was replaced, but its directory cannot be synced", &e)))
}

/// A file's new content, on disk beside it; its old content too, when it may have to be put back.
struct Staged<'a> {
    replaced: &'a Replacement<'a>,
    meta: Metadata,
    new: Temporary,
    old: Option<Temporary>,
}

impl<'a> Staged<'a> {
    fn new(replaced: &'a Replacement<'a>, keep_old: bool) -> Result<Self> {
        let meta = replaceable(replaced.path)?;
        let new = Temporary::beside(replaced.path, replaced.new, &meta)?;
        let old = if keep_old { Some(Temporary::beside(replaced.path, replaced.old, &meta)?) } else { None };
        Ok(Staged { replaced, meta, new, old })
    }

    /// Refuses when somebody else changed the file since it was read.
    fn check(&self) -> Result<()> {
        let path = self.replaced.path;
        let now = replaceable(path)?;
        let same = (now.uid(), now.gid(), now.mode()) == (self.meta.uid(), self.meta.gid(), self.meta.mode());
        if !same || read(path, FILE_BYTES_MAX)?.as_slice() != self.replaced.old {
            return Err(Error::vault(format!("{} was changed by somebody else meanwhile; nothing was written", path.display())).hint("run the command again"));
        }
        Ok(())
    }
}

/// A file beside another, which goes with this value unless it took the other's place.
struct Temporary(PathBuf);

impl Temporary {
    /// With this content, and the mode and the owner of the other; on disk when this returns.
    fn beside(path: &Path, content: &[u8], meta: &Metadata) -> Result<Self> {
        let (temporary, mut file) = temporary_beside(path)?;
        let temporary = Temporary(temporary);
        let written = (|| {
            file.write_all(content)?;
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (meta.uid(), meta.gid()) {
                fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))?;
            file.sync_all()
        })();
        written.map(|()| temporary).map_err(|e| trouble(path, "cannot be written", &e))
    }

    /// It takes the other's place.
    fn put(&self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // One that took its place is not there any more.
        let _ = fs::remove_file(&self.0);
    }
}

/// Checks that a path is what [`replace`] replaces, and returns what it is; for asking before a password is typed.
pub fn replaceable(path: &Path) -> Result<Metadata> {
    let meta = fs::symlink_metadata(path).map_err(|e| trouble(path, "cannot be looked at", &e))?;
    if meta.is_symlink() {
        let hint = fs::canonicalize(path).map_or("name the file itself".to_string(), |real| format!("name the file itself: {}", real.display()));
        return Err(Error::vault(format!("{} is a symbolic link and is not replaced", path.display())).hint(hint));
    }
    if !meta.is_file() {
        return Err(Error::vault(format!("{} is no regular file and is not replaced", path.display())));
    }
    Ok(meta)
}

/// Finds out whether [`replace`] could write beside this file: makes a file there, and takes it away again.
pub fn can_be_replaced(path: &Path) -> Result<()> {
    let (temporary, file) = temporary_beside(path)?;
    drop(file);
    fs::remove_file(&temporary).map_err(|e| trouble(&temporary, "cannot be taken away", &e))
}

/// A new file, 0600, in the same directory, under a name that nobody can foresee.
fn temporary_beside(path: &Path) -> Result<(PathBuf, File)> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = parent(path).join(format!(".{name}.{:016x}.tmp", u64::from_le_bytes(nonce)));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(|e| trouble(path, "cannot be written beside", &e))?;
    Ok((temporary, file))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

fn trouble(path: &Path, what: &str, error: &io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or directory".to_string(),
        io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        io::ErrorKind::IsADirectory => "it is a directory".to_string(),
        _ => error.to_string(),
    };
    Error::vault(format!("{} {what}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        create(&path, b"one", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o600));
        let error = create(&path, b"two", 0o600).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), dir.path().join("link")).unwrap();
        assert!(create(&dir.path().join("link"), b"x", 0o600).is_err());
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"old", b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"new".to_vec(), 0o640));
        let changed = replace(&path, b"old", b"newer").unwrap_err().to_string();
        assert!(changed.contains("changed by somebody else"), "{changed}");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn several_files_are_replaced_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c"].map(|name| dir.path().join(name));
        let write = || paths.iter().for_each(|path| fs::write(path, "old").unwrap());
        let change = |olds: [&[u8]; 3]| {
            let all: Vec<Replacement<'_>> = paths.iter().zip(olds).map(|(path, old)| Replacement { path, old, new: b"new" }).collect();
            replace_all(&all).map_err(|e| e.to_string())
        };
        let content = || paths.each_ref().map(|path| fs::read_to_string(path).unwrap());
        let beside = || fs::read_dir(dir.path()).unwrap().count() - paths.len();

        write();
        assert!(change([b"old", b"OLD", b"old"]).unwrap_err().contains("b was changed by somebody else"));
        assert_eq!((content(), beside()), (["old"; 3].map(String::from), 0));
        change([b"old"; 3]).unwrap();
        assert_eq!((content(), beside()), (["new"; 3].map(String::from), 0));
        write();
        fs::remove_file(&paths[1]).unwrap();
        assert!(change([b"old"; 3]).unwrap_err().contains("no such file"));
        assert_eq!((fs::read(&paths[0]).unwrap(), fs::read(&paths[2]).unwrap()), (b"old".to_vec(), b"old".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let error = replace(&link, b"old", b"new").unwrap_err().to_string();
        assert!(error.contains("symbolic link") && error.contains("real"), "{error}");
        assert!(replace(dir.path(), b"", b"new").unwrap_err().to_string().contains("no regular file"));
        assert_eq!(fs::read(&real).unwrap(), b"old");
    }

    #[test]
    fn large_files_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, [b'x'; 2049]).unwrap();
        assert!(read(&path, 2048).unwrap_err().to_string().contains("larger than 2 KiB"));
        assert_eq!(read(&path, 2049).unwrap().len(), 2049);
        assert!(read(&dir.path().join("none"), 1).unwrap_err().to_string().contains("no such file"));
    }
}
