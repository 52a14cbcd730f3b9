//! Secrets in the clear do not go where git would commit them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::command::git;
use crate::error::{Error, Result};

/// Paths in one question to git.
const PATHS_MAX: usize = 500;

/// Refuses paths below `folder` that lie in a work tree of git and are not ignored there.
///
/// # Errors
/// Names the work tree, or why git does not say.
pub(super) fn check<'a>(folder: &Path, paths: impl Iterator<Item = &'a Path>) -> Result<()> {
    let absolute = std::path::absolute(folder).map_err(|e| Error::usage(format!("{}: {e}", folder.display())))?;
    let Some(existing) = absolute.ancestors().find(|dir| dir.is_dir()) else { return Ok(()) };
    let real = fs::canonicalize(existing).map_err(|e| Error::usage(format!("{}: {e}", existing.display())))?;
    let Some(tree) = real.ancestors().find(|dir| fs::symlink_metadata(dir.join(".git")).is_ok()) else { return Ok(()) };
    let base = real.join(absolute.strip_prefix(existing).expect("it is one of its ancestors"));
    // A file of the current directory is named without it.
    let within = |path: &Path| Some(base.join(std::path::absolute(path).ok()?.strip_prefix(&absolute).ok()?));
    let all: Vec<_> = paths.map(|path| within(path).unwrap_or_else(|| base.clone())).collect();
    for some in all.chunks(PATHS_MAX) {
        let words = ["check-ignore", "--"].map(OsStr::new).into_iter().chain(some.iter().map(|path| path.as_os_str()));
        let output = git::output(Some(&real), words)?;
        let ignored = output.stdout.iter().filter(|b| **b == b'\n').count();
        if ignored < some.len() {
            let failed = if output.status.code().is_some_and(|code| code <= 1) { String::new() } else { format!(" ({})", git::said(&output)) };
            let why =
                format!("{} lies in the git work tree {}, and what is written there in the clear may be committed{failed}", folder.display(), tree.display());
            return Err(Error::usage(why).hint("use --sealed age, a folder outside of it, or one that its .gitignore names"));
        }
    }
    Ok(())
}
