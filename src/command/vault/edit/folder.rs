//! The one folder in which a vault lies in the clear while it is edited: in memory (tmpfs), for its owner alone, and swept when whoever made
//! it is gone.
//!
//! A folder is alive as long as its maker holds a lock (flock) on it; the kernel lets go of that however the maker ends, and no child
//! inherits it. Everything below the folder is reached from its descriptor and by no link, so that whoever sweeps removes nothing else.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, statfs, unlinkat};
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::command::files::{self, FILE_BYTES_MAX};
use crate::error::{Error, Result};

/// How the folders are named; 16 hexadecimal digits follow.
const PREFIX: &str = "regprov-edit-";

/// `f_type` of tmpfs and of ramfs (statfs(2)): what they hold is in memory, or in swap.
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// Folders inside each other that are swept; an editor has no reason to make more.
const DEPTH_MAX: usize = 32;

/// How often a folder into which somebody still writes is emptied again, with [`EMPTY_EVERY`] between.
const EMPTY_TIMES: usize = 200;
const EMPTY_EVERY: Duration = Duration::from_millis(5);

/// Where such a folder may be, the best place first: the user's own folder for the time of a session, that of logind where the environment
/// does not name it, and the memory that all share.
pub(super) fn places() -> Vec<PathBuf> {
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute());
    let of_logind = PathBuf::from(format!("/run/user/{}", geteuid().as_raw()));
    let mut places: Vec<PathBuf> = named.into_iter().chain([of_logind, PathBuf::from("/dev/shm")]).collect();
    places.dedup();
    places
}

/// A folder of this process's own. It is wiped and removed when this is dropped; [`Folder::close`] says whether that went well.
pub(super) struct Folder {
    path: PathBuf,
    /// Open and locked.
    dir: Option<File>,
}

impl Folder {
    /// Makes one in the first of these places that will do.
    ///
    /// # Errors
    /// None is in memory and safe: a disk is never taken.
    pub(super) fn make(places: &[PathBuf]) -> Result<Self> {
        let mut reasons = Vec::new();
        for place in places {
            match unfit(place) {
                Some(why) => reasons.push(format!("{} {why}", place.display())),
                None => match Self::make_in(place) {
                    Ok(folder) => return Ok(folder),
                    Err(e) => reasons.push(format!("in {} no folder can be made: {e}", place.display())),
                },
            }
        }
        Err(Error::vault(format!("there is no place in memory for the passwords while they are edited:\n{}", reasons.join("\n")))
            .hint("set XDG_RUNTIME_DIR to a folder of your own on a tmpfs; a disk is never written to. `regprov vault set` needs no such place"))
    }

    fn make_in(place: &Path) -> io::Result<Self> {
        // Somebody who sweeps may take a folder that is not locked yet for a dead one.
        for _ in 0..16 {
            let path = place.join(format!("{PREFIX}{:016x}", random()?));
            std::fs::DirBuilder::new().mode(0o700).create(&path)?;
            let opened = open_dir(CWD, path.as_os_str()).map(File::from);
            let Ok(dir) = opened else { continue };
            // Whatever the umask is.
            dir.set_permissions(Permissions::from_mode(0o700))?;
            let ours = dir.try_lock().is_ok() && std::fs::symlink_metadata(&path).is_ok_and(|m| dir.metadata().is_ok_and(|d| d.ino() == m.ino()));
            if ours {
                return Ok(Folder { path, dir: Some(dir) });
            }
        }
        Err(io::Error::other("others remove it again and again"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn dir(&self) -> &File {
        self.dir.as_ref().expect("it is open until it is closed")
    }

    /// Writes a file that nobody else can read; one of that name gives way.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let trouble = |e: io::Error| Error::vault(format!("the text to edit cannot be written into {}: {e}", self.path.display()));
        remove_entry(self.dir(), OsStr::new(name), 0).map_err(trouble)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(self.dir(), name, flags, Mode::RUSR | Mode::WUSR).map_err(|e| trouble(e.into()))?;
        File::from(file).write_all(content).map_err(trouble)
    }

    /// Reads a file back, which may be another by now but no link.
    pub(super) fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        let trouble = |why: String| Error::vault(format!("the edited text cannot be read back: {why}; nothing was written"));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(self.dir(), name, flags, Mode::empty()).map_err(|e| match io::Error::from(e) {
            e if e.kind() == io::ErrorKind::NotFound => trouble("the editor removed it".into()),
            e => trouble(e.to_string()),
        })?;
        let file = File::from(file);
        if !file.metadata().is_ok_and(|m| m.is_file()) {
            return Err(trouble("it is no file any more".into()));
        }
        files::read_open(&self.path.join(name), file, FILE_BYTES_MAX)
    }

    /// Wipes and removes the folder with all that the editor left in it.
    ///
    /// # Errors
    /// Something could not be removed, which names the folder.
    pub(super) fn close(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        let Some(dir) = self.dir.take() else { return Ok(()) };
        remove_folder(&self.path, &dir)
            .map_err(|e| Error::vault(format!("{} holds passwords in the clear and cannot be removed: {e}", self.path.display())).hint("remove it yourself"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

/// Removes what edits that were killed have left in these places, and returns what it was.
pub(super) fn sweep(places: &[PathBuf]) -> Vec<String> {
    let mut told = Vec::new();
    for place in places.iter().filter(|place| unfit(place).is_none()) {
        let Ok(entries) = std::fs::read_dir(place) else { continue };
        let named = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX));
        for path in named.map(|e| e.path()) {
            // A real folder of our own that nobody holds; everything else is somebody else's.
            let Ok(dir) = open_dir(CWD, path.as_os_str()).map(File::from) else { continue };
            if !dir.metadata().is_ok_and(|m| m.uid() == geteuid().as_raw()) || dir.try_lock().is_err() {
                continue;
            }
            match remove_folder(&path, &dir) {
                Ok(()) => told.push(format!("note: removed {}, which a `vault edit` that was killed had left", path.display())),
                Err(e) => told.push(format!("note: {}, which a `vault edit` that was killed had left, cannot be removed: {e}", path.display())),
            }
        }
    }
    told
}

/// Why no folder can be made in a place, if so.
fn unfit(place: &Path) -> Option<String> {
    let meta = match std::fs::metadata(place) {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => return Some("is no directory".into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Some("does not exist".into()),
        Err(e) => return Some(format!("cannot be looked at: {e}")),
    };
    let shared = meta.mode() & 0o022 != 0;
    if shared && meta.mode() & 0o1000 == 0 {
        return Some("can be written by others".into());
    }
    if ![0, geteuid().as_raw()].contains(&meta.uid()) {
        return Some("belongs to somebody else".into());
    }
    match statfs(place) {
        Ok(fs) if IN_MEMORY.contains(&(fs.f_type as u32)) => None,
        Ok(_) => Some("is no tmpfs: it may be on a disk".into()),
        Err(e) => Some(format!("cannot be looked at: {e}")),
    }
}

/// Empties a folder and removes it. It gets another name first: whoever still writes into it by its path writes nowhere.
fn remove_folder(path: &Path, dir: &File) -> io::Result<()> {
    let other = path.with_file_name(format!("{PREFIX}{:016x}", random()?));
    let path = if std::fs::rename(path, &other).is_ok() { &*other } else { path };
    let mut last = io::Error::other("somebody writes into it");
    for _ in 0..EMPTY_TIMES {
        // Whoever has the folder open (or for a current directory) can still make files there; not for ever.
        match empty(dir, 0).and_then(|()| std::fs::remove_dir(path)) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => last = e,
        }
        std::thread::sleep(EMPTY_EVERY);
    }
    Err(last)
}

/// Overwrites and removes everything in a folder, and goes on where something cannot be removed.
fn empty(dir: &impl AsFd, depth: usize) -> io::Result<()> {
    let mut result = Ok(());
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            let name = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
            result = remove_entry(dir, name, depth).and(result);
        }
    }
    result
}

/// Overwrites and removes what has this name in a folder; nothing is as good.
fn remove_entry(dir: &impl AsFd, name: &OsStr, depth: usize) -> io::Result<()> {
    let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let flags = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory if depth < DEPTH_MAX => {
            let inner = open_dir(dir, name).or_else(|_| {
                // The owner may have taken the rights from itself. Nobody else can exchange it for a link in here.
                rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
                open_dir(dir, name)
            })?;
            // What is mounted there is no part of the folder.
            if rustix::fs::fstat(&inner)?.st_dev == rustix::fs::fstat(dir)?.st_dev {
                empty(&inner, depth + 1)?;
            }
            AtFlags::REMOVEDIR
        }
        FileType::RegularFile => {
            // What cannot be overwritten is removed all the same. One with holes would grow to its full size.
            if stat.st_blocks.saturating_mul(512) >= stat.st_size {
                let _ = overwrite(dir, name, stat.st_size);
            }
            AtFlags::empty()
        }
        _ => AtFlags::empty(),
    };
    match unlinkat(dir, name, flags) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn overwrite(dir: &impl AsFd, name: &OsStr, size: i64) -> io::Result<()> {
    let open = || openat(dir, name, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let file = open().or_else(|_| {
        rustix::fs::chmodat(dir, name, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
        open()
    })?;
    let mut zeros = io::repeat(0).take(u64::try_from(size).unwrap_or(0));
    io::copy(&mut zeros, &mut File::from(file)).map(drop)
}

fn open_dir(at: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder in memory; the program needs the same of the machine.
    fn memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    #[test]
    fn only_memory_that_nobody_else_can_write_will_do() {
        let place = memory();
        assert_eq!(unfit(place.path()), None);
        assert_eq!(unfit(Path::new("/dev/shm")), None);
        // /proc is no tmpfs on any machine.
        for (path, why) in [("/proc", "is no tmpfs"), ("/proc/version", "is no directory"), ("/no-such", "does not exist")] {
            assert!(unfit(Path::new(path)).unwrap().contains(why), "{path}");
        }
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(unfit(place.path()).unwrap().contains("written by others"));
        let why = Folder::make(&["/proc".into(), place.path().into(), "/no-such".into()]).map(|_| ()).unwrap_err().to_string();
        assert!(why.contains("/proc is no tmpfs") && why.contains("written by others") && why.contains("/no-such does not exist"), "{why}");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_lives_as_long_as_its_maker() {
        let place = memory();
        let places = [place.path().to_path_buf()];
        let folder = Folder::make(&places).unwrap();
        folder.write("f", b"secret").unwrap();
        folder.write("f", b"another").unwrap();
        assert_eq!(folder.read("f").unwrap().as_slice(), b"another");
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(folder.path()), mode(&folder.path().join("f"))), (0o700, 0o600));
        assert!(sweep(&places).is_empty() && folder.path().exists());
        // What it was is overwritten, not only removed: seen through a name that stays.
        std::fs::hard_link(folder.path().join("f"), place.path().join("kept")).unwrap();
        folder.close().unwrap();
        assert_eq!(std::fs::read(place.path().join("kept")).unwrap(), [0; 7]);

        let dead = place.path().join(format!("{PREFIX}dead"));
        std::fs::create_dir_all(dead.join("a/b")).unwrap();
        std::fs::write(dead.join("a/b/c"), "secret").unwrap();
        std::fs::write(place.path().join("regprov-edi"), "").unwrap();
        assert_eq!(sweep(&places).len(), 1);
        assert!(sweep(&places).is_empty());
        let mut left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["kept", "regprov-edi"]);
    }

    #[test]
    fn no_link_leads_out_of_it() {
        let (place, outside) = (memory(), memory());
        let keep = outside.path().join("keep");
        std::fs::write(&keep, "x").unwrap();
        let folder = Folder::make(&[place.path().into()]).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("dir")).unwrap();
        std::os::unix::fs::symlink(&keep, folder.path().join("f")).unwrap();
        assert!(folder.read("f").is_err());
        folder.write("f", b"y").unwrap();
        folder.close().unwrap();
        assert_eq!(std::fs::read(&keep).unwrap(), b"x");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
