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

/// Replaces a regular file's content in one step: readers see the old or the new, also after a crash. Mode and owner stay.
/// `old` is what was read; when something else is there by now, nothing is written. Links are refused: the file behind one
/// is to be named itself.
pub fn replace(path: &Path, old: &[u8], content: &[u8]) -> Result<()> {
    let meta = replaceable(path)?;
    let (temporary, mut file) = temporary_beside(path)?;
    let written = (|| {
        file.write_all(content)?;
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (meta.uid(), meta.gid()) {
            fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))?;
        file.sync_all()
    })();
    let result = written.map_err(|e| trouble(path, "cannot be written", &e)).and_then(|()| {
        if read(path, FILE_BYTES_MAX)?.as_slice() != old {
            return Err(Error::vault(format!("{} was changed by somebody else meanwhile; nothing was written", path.display())).hint("run the command again"));
        }
        fs::rename(&temporary, path).map_err(|e| trouble(path, "cannot be replaced", &e))
    });
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_parent(path).map_err(|e| trouble(path, "was replaced, but its directory cannot be synced", &e))
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
