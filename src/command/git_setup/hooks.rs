//! The hooks that look at vaults before they are committed.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Told, path_of, succeed};
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::command::git;
use crate::error::{Error, Result};
use crate::model::text::escape;

/// The hooks that are run before a commit is made: by `git commit`, and by `git merge` where nothing is in conflict.
const NAMES: [&str; 2] = ["pre-commit", "pre-merge-commit"];

/// By which a hook is known as ours.
const MARK: &str = "# Written by `regprov git-setup`; `regprov git-setup --undo` takes it away.";

fn text(program: &str) -> String {
    let missing =
        "regprov is not here, and this hook checks vaults with it: put it into PATH (\\`regprov git-setup\\` writes the hook anew), or commit with --no-verify";
    format!("#!/bin/sh\n{MARK}\ncommand -v {program} >/dev/null || {{ echo \"{missing}\" >&2; exit 1; }}\nexec {program} vault pre-commit\n")
}

/// Writes the hooks that are not there. One that is not ours stays as it is, and what to add to it is told.
pub(super) fn install(top: &Path, program: &str, told: &mut Told) -> Result<()> {
    let place = Place::of(top)?;
    let line = format!("{program} vault pre-commit || exit 1");
    for name in NAMES {
        let path = place.dir.join(name);
        let shown = escape(&path.display().to_string());
        match read(&path)? {
            Some(there) if there.as_slice() == text(program).as_bytes() => {}
            Some(there) if is_ours(&there) => {
                told.change(format!("{shown}: written anew"), || files::replace(&path, &there, text(program).as_bytes()))?;
            }
            Some(there) if String::from_utf8_lossy(&there).contains("vault pre-commit") => {}
            Some(_) => told.later.push(format!("{shown} is a hook of yours and stays as it is; for the check of vaults add this line to it: {line}")),
            None if place.is_shared => {
                told.later.push(format!(
                    "core.hooksPath leads to a folder of more than this clone ({}); for the check of vaults add a hook {name} there: {line}",
                    escape(&place.dir.display().to_string())
                ));
            }
            None => told.change(format!("{shown}: written"), || {
                fs::create_dir_all(&place.dir).map_err(|e| Error::usage(format!("{} cannot be made: {e}", place.dir.display())))?;
                files::create(&path, text(program).as_bytes(), 0o777)
            })?,
        }
    }
    Ok(())
}

/// Takes our hooks away.
pub(super) fn undo(top: &Path, told: &mut Told) -> Result<()> {
    let place = Place::of(top)?;
    for name in NAMES {
        let path = place.dir.join(name);
        let shown = escape(&path.display().to_string());
        match read(&path)? {
            Some(there) if is_ours(&there) => {
                told.change(format!("{shown}: taken away"), || fs::remove_file(&path).map_err(|e| Error::usage(format!("{shown} cannot be removed: {e}"))))?;
            }
            Some(there) if String::from_utf8_lossy(&there).contains("vault pre-commit") => {
                told.later.push(format!("{shown} is a hook of yours that calls `regprov vault pre-commit`; take that line out"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where git looks for hooks.
struct Place {
    dir: PathBuf,
    /// Whether it is configured for more than this clone.
    is_shared: bool,
}

impl Place {
    fn of(top: &Path) -> Result<Self> {
        let output = git::output(Some(top), ["rev-parse", "--git-path", "hooks"])?;
        succeed(&output)?;
        let configured = git::output(Some(top), ["config", "--show-scope", "--get", "core.hooksPath"])?;
        let scope = String::from_utf8_lossy(&configured.stdout);
        let scope = scope.split('\t').next().unwrap_or_default();
        Ok(Place { dir: top.join(path_of(&output)), is_shared: !matches!(scope, "" | "local" | "worktree") })
    }
}

fn read(path: &Path) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    path.symlink_metadata().is_ok().then(|| files::read(path, FILE_BYTES_MAX)).transpose()
}

fn is_ours(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).lines().nth(1) == Some(MARK)
}
