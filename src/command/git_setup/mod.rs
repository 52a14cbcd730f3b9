//! `regprov git-setup`: lets git show, merge and check vaults by their logins, in one clone.
//!
//! Which files are vaults is told by `.gitattributes`, which is committed. What git runs for them is told by the clone's own configuration and
//! hooks, which git takes from no repository; so each clone is set up once. A clone that is not, shows and merges vaults by lines as before.

mod attributes;
mod hooks;

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::console::Console;
use super::files::{self, FILE_BYTES_MAX};
use super::git;
use crate::cli::GitSetupArgs;
use crate::error::{Error, Result};
use crate::model::text::{escape, shell_word};
use crate::vault::looks::looks_like_vault;
use attributes::Attributes;

/// `git-setup`: sets the clone up, tells what that would be (`--check`), or takes it back (`--undo`).
pub fn git_setup(args: &GitSetupArgs, console: &mut Console<'_>) -> Result<()> {
    let top = git::top()?;
    let mut told = Told { check: args.check, lines: Vec::new(), later: Vec::new() };
    if args.undo {
        Attributes::read(&top)?.undo(&mut told)?;
        configure(&top, &[], &mut told)?;
        hooks::undo(&top, &mut told)?;
    } else {
        let vaults = if args.vaults.is_empty() { find(&top)? } else { args.vaults.iter().map(|vault| within(&top, vault)).collect::<Result<_>>()? };
        if vaults.is_empty() {
            told.later.push("no vault was found here; name one, or run this again when there is one: `regprov git-setup VAULT`".to_string());
        }
        let program = program()?;
        Attributes::read(&top)?.set(&vaults, &mut told)?;
        configure(&top, &settings(&program), &mut told)?;
        hooks::install(&top, &program, &mut told)?;
        if !args.check {
            told.later.extend(overridden(&top, &vaults)?);
        }
        told.later.push("each clone runs `regprov git-setup` once: git takes neither configuration nor hooks from a repository".to_string());
    }
    if told.lines.is_empty() {
        told.lines.push("nothing to do".to_string());
    }
    console.print(told.lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes())?;
    told.later.iter().for_each(|line| console.note(format_args!("note: {line}")));
    Ok(())
}

/// What was done, or would be.
struct Told {
    check: bool,
    lines: Vec<String>,
    later: Vec<String>,
}

impl Told {
    /// Tells of a change and makes it, unless it is only asked for.
    fn change(&mut self, what: impl Into<String>, make: impl FnOnce() -> Result<()>) -> Result<()> {
        let what = what.into();
        if self.check {
            self.lines.push(format!("would change: {what}"));
            return Ok(());
        }
        make()?;
        self.lines.push(what);
        Ok(())
    }
}

/// How git is to call this program: by its name where that is found in PATH, so that an update changes nothing; else by its path.
fn program() -> Result<String> {
    let own = std::env::current_exe().and_then(std::fs::canonicalize).map_err(|e| Error::internal(format!("this program's path is not known: {e}")))?;
    let is_program = |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let in_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).map(|dir| dir.join("regprov")).find(is_program);
    if in_path.and_then(|path| std::fs::canonicalize(path).ok()).as_ref() == Some(&own) {
        return Ok("regprov".to_string());
    }
    let own = own.into_os_string().into_string().map_err(|_| Error::usage("this program's path is not text").hint("put it into a directory of PATH"))?;
    Ok(shell_word(&own))
}

/// What git's configuration is to say. Git hands driver and textconv to a shell, and takes `%` in a driver for its own.
fn settings(program: &str) -> [(&'static str, String); 4] {
    [
        ("diff.regprov.textconv", format!("{program} vault textconv --")),
        ("merge.regprov.name", "vaults, login by login".to_string()),
        // A shell without regprov says 127. Git then takes ours as it is, which whoever adds it takes for merged: markers show theirs.
        (
            "merge.regprov.driver",
            format!(
                "{} vault merge-driver -- %O %A %B %P %L %S %X %Y; s=$?; test $s != 127 || git merge-file --marker-size=%L -L ours -L base -L theirs %A %O %B; exit $s",
                program.replace('%', "%%")
            ),
        ),
        // Of several common ancestors a base is made first. Where that has conflicts the base of the bases does, and no markers come into it.
        ("merge.regprov.recursive", "binary".to_string()),
    ]
}

/// The keys that are ours.
const KEYS: [&str; 4] = ["diff.regprov.textconv", "merge.regprov.name", "merge.regprov.driver", "merge.regprov.recursive"];

/// Makes the clone's configuration say this of our keys, and nothing else of them.
fn configure(top: &Path, wanted: &[(&'static str, String)], told: &mut Told) -> Result<()> {
    for key in KEYS {
        let output = git::output(Some(top), ["config", "--local", "--null", "--get-all", key])?;
        let there: Vec<String> = output.stdout.split(|b| *b == 0).filter(|v| !v.is_empty()).map(|v| String::from_utf8_lossy(v).into_owned()).collect();
        let wanted = wanted.iter().find(|(name, _)| *name == key).map(|(_, value)| value);
        let args = match wanted {
            Some(value) if there == [value.clone()] => continue,
            Some(value) => vec!["config", "--local", "--replace-all", key, value.as_str()],
            None if there.is_empty() => continue,
            None => vec!["config", "--local", "--unset-all", key],
        };
        let what = if wanted.is_some() { format!("configuration: {key} is set") } else { format!("configuration: {key} is taken out") };
        told.change(what, || succeed(&git::output(Some(top), args)?))?;
    }
    Ok(())
}

/// The files that look like vaults, from the top of the work tree: tracked ones, and new ones that are not ignored.
fn find(top: &Path) -> Result<Vec<PathBuf>> {
    let output = git::output(Some(top), ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.yml", "*.yaml"])?;
    succeed(&output)?;
    let paths: std::collections::BTreeSet<PathBuf> =
        output.stdout.split(|b| *b == 0).filter(|path| !path.is_empty()).map(|path| PathBuf::from(OsStr::from_bytes(path))).collect();
    let is_vault = |path: &PathBuf| {
        let path = top.join(path);
        let is_file = path.symlink_metadata().is_ok_and(|m| m.is_file());
        is_file && files::read(&path, FILE_BYTES_MAX).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok_and(looks_like_vault))
    };
    Ok(paths.into_iter().filter(is_vault).collect())
}

/// A vault that was named, from the top of the work tree.
fn within(top: &Path, vault: &Path) -> Result<PathBuf> {
    let shown = escape(&vault.display().to_string());
    files::replaceable(vault)?;
    let real = |path: &Path| std::fs::canonicalize(path).map_err(|e| Error::usage(format!("{} cannot be looked at: {e}", path.display())));
    let path = real(vault)?.strip_prefix(real(top)?).map(Path::to_path_buf);
    path.map_err(|_| Error::usage(format!("{shown} is no file of this work tree ({})", top.display())))
}

/// Which vaults other attributes keep from being shown and merged by login.
fn overridden(top: &Path, vaults: &[PathBuf]) -> Result<Vec<String>> {
    if vaults.is_empty() {
        return Ok(Vec::new());
    }
    let args = ["check-attr", "-z", "diff", "merge", "--"].map(OsStr::new).into_iter().chain(vaults.iter().map(|vault| vault.as_os_str()));
    let output = git::output(Some(top), args)?;
    let parts: Vec<&[u8]> = output.stdout.split(|b| *b == 0).collect();
    let text = |bytes: &[u8]| escape(&String::from_utf8_lossy(bytes));
    let others = parts.chunks_exact(3).filter(|part| part[2] != b"regprov");
    Ok(others.map(|part| format!("{}: another line of git's attributes sets `{}` to `{}`", text(part[0]), text(part[1]), text(part[2]))).collect())
}

fn succeed(output: &std::process::Output) -> Result<()> {
    if output.status.success() { Ok(()) } else { Err(Error::usage(format!("git: {}", git::said(output)))) }
}

/// A line of git's output as a path.
fn path_of(output: &std::process::Output) -> PathBuf {
    let bytes = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
    PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()))
}
