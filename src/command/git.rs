//! `git` as a child: asked without a shell, with the environment that git gave us when it is the one that runs us.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::program;
use crate::error::{Error, Result};
use crate::model::text::sanitize;

/// Git with these arguments, to run in `dir`. What opens vaults is not in its environment.
pub(in crate::command) fn command(dir: Option<&Path>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new("git");
    command.args(args).stdin(Stdio::null());
    if let Some(dir) = dir.filter(|dir| !dir.as_os_str().is_empty()) {
        command.current_dir(dir);
    }
    program::keep_ours(&mut command);
    // What it says is quoted, and compared in places.
    command.env("LC_ALL", "C");
    command
}

/// Runs git to its end, whatever its exit status.
///
/// # Errors
/// It cannot be run.
pub(in crate::command) fn output(dir: Option<&Path>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Output> {
    command(dir, args).output().map_err(|e| cannot_run(&e))
}

/// The first line of what git said on standard error, without its `fatal:`.
pub(in crate::command) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().next().unwrap_or_default().trim_start_matches("fatal: ").trim_start_matches("error: ");
    if line.is_empty() { format!("failed ({})", output.status) } else { sanitize(line) }
}

/// The error of a git that does not start.
pub(in crate::command) fn cannot_run(e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::NotFound => Error::usage("git is not in PATH"),
        _ => Error::usage(format!("git cannot be run: {e}")),
    }
}

/// The top of the work tree that we are in.
///
/// # Errors
/// There is none.
pub(in crate::command) fn top() -> Result<PathBuf> {
    let output = output(None, ["rev-parse", "--show-toplevel"])?;
    let path = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
    if !output.status.success() || path.is_empty() {
        return Err(Error::usage(format!("this is no work tree of git: {}", said(&output))).hint("run it in the clone whose vaults you mean"));
    }
    Ok(PathBuf::from(OsStr::from_bytes(path)))
}
