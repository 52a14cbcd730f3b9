//! Sources of hosts: directories that are looked into, programs that are run, and whether they may be.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::program::{self, Terms};
use crate::error::{Error, Result};
use crate::inventory::{Entry, Program};
use crate::model::text::sanitize;

/// A program that names hosts; 100,000 of them with their variables fit.
const HOSTS: Terms = Terms { deadline: Duration::from_secs(30), output_bytes_max: 64 << 20, is_secret: false, with_person: false };

/// Names that one directory may have.
const ENTRIES_MAX: usize = 200_000;

/// The names in a directory, sorted; `None` when there is none.
///
/// # Errors
/// Says that it cannot be looked into.
pub fn list(path: &Path) -> Result<Option<Vec<Entry>>> {
    let trouble = |e: &io::Error| Error::usage(format!("{} cannot be looked into: {e}", path.display()));
    if !path.is_dir() {
        return Ok(None);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| trouble(&e))? {
        let name = entry.map_err(|e| trouble(&e))?.file_name();
        // A name that is no text names no host and no group.
        entries.extend(name.into_string().ok().map(|name| Entry { name }));
        if entries.len() > ENTRIES_MAX {
            return Err(Error::usage(format!("{} has more than {ENTRIES_MAX} files", path.display())));
        }
    }
    entries.sort();
    Ok(Some(entries))
}

/// Why what this file says must not run programs, as the end of a sentence: in CI a file may come from a merge request, and what others can
/// write may be theirs.
pub fn may_not_run(file: &Path) -> Option<String> {
    if is_ci() {
        return Some("CI is set".to_string());
    }
    // Who can write its folder can put another file in its place, and take it away again; where the sticky bit is set, only their own.
    let real = fs::canonicalize(file).unwrap_or(file.to_path_buf());
    others_write(file, 0).or_else(|| others_write(real.parent()?, STICKY))
}

/// The bit of a folder in which everybody can touch only their own files.
const STICKY: u32 = 0o1000;

/// Whether others can write a file or a folder, unless it has one of the bits in `but`; as the end of a sentence.
fn others_write(path: &Path, but: u32) -> Option<String> {
    let shown = sanitize(&path.display().to_string());
    let Ok(meta) = fs::metadata(path) else { return Some(format!("{shown} cannot be looked at")) };
    // SAFETY: geteuid takes and touches nothing.
    let me = unsafe { libc::geteuid() };
    if meta.uid() != me && meta.uid() != 0 {
        return Some(format!("{shown} belongs to another user (uid {})", meta.uid()));
    }
    let others = if meta.mode() & 0o002 != 0 { "everybody" } else { "its group" };
    (meta.mode() & 0o022 != 0 && meta.mode() & but == 0).then(|| format!("{others} can write {shown} (mode {:04o})", meta.mode() & 0o7777))
}

/// Whether a CI system runs us: what we are given may come from a merge request, and others read what we print.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false")
}

/// Why a file is none of the repository in which an inventory lies (in the directory `beside`), as the end of a sentence. Where there is no
/// repository, that directory takes its place. Links count as what they lead to, and Git's own files, which hold a CI job's token, as outside.
pub fn outside_of_repository(path: &Path, beside: &Path) -> Option<String> {
    let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
    let Ok(beside) = fs::canonicalize(beside) else { return Some(format!("{} cannot be looked at", beside.display())) };
    let root = beside.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(&beside);
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        // A pipe, and a file that was deleted, have no path but can be opened: `/dev/stdin`, `/proc/self/fd/3`.
        Err(e) if e.kind() == io::ErrorKind::NotFound && fs::metadata(path).is_ok() => {
            return Some("CI is set, and it is a descriptor of a process".to_string());
        }
        // What is not there is told when it is read.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(e) => return Some(e.to_string()),
    };
    let inside = path.strip_prefix(root).is_ok_and(|rest| rest.components().all(|c| c.as_os_str() != ".git"));
    (!inside).then(|| format!("CI is set, and it is no file of the repository at {}", root.display()))
}

/// Runs a program that names hosts and returns what it printed; see [`program::run`].
///
/// # Errors
/// As there.
pub fn run(program: &Program) -> Result<Vec<u8>> {
    program::run(program, &HOSTS).map(|mut printed| std::mem::take(&mut *printed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_of_others_run_nothing() {
        // What is asked here is the file alone; CI is for the tests of the command line, which set it for a process of its own.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("i.yml");
        fs::write(&file, "").unwrap();
        for (mode, want) in [(0o644, None), (0o600, None), (0o664, Some("its group can write")), (0o646, Some("everybody can write"))] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let got = may_not_run(&file);
            if std::env::var_os("CI").is_none() {
                assert_eq!(got.is_some(), want.is_some(), "{mode:o}: {got:?}");
                assert!(want.is_none_or(|w| got.unwrap().contains(w)));
            }
        }
        // A folder in which they can put another file in its place is no better, unless they can only touch their own there.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        for (mode, want) in [(0o755, None), (0o775, Some("its group can write")), (0o777, Some("everybody can write")), (0o1777, None)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            let got = may_not_run(&file);
            if std::env::var_os("CI").is_none() {
                assert_eq!(got.is_some(), want.is_some(), "{mode:o}: {got:?}");
                assert!(want.is_none_or(|w| got.unwrap().contains(w)));
            }
        }
    }
}
