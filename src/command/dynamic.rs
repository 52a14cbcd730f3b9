//! Passwords that no file of ours holds: `password_command:` and `password_file:`, had anew for each run, on this machine.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::identity::owner_alone;
use super::program::{self, Terms};
use super::sources;
use crate::error::{Error, Kind, Result};
use crate::inventory::Program;
use crate::model::login::{PASSWORD_BYTES_MAX, check_password, read_password};
use crate::model::text::{escape, sanitize};
use crate::model::{Dynamic, DynamicSource, LoginEntry, Secret};

/// A program that prints a password, or a file that holds one. A line break may stand behind it.
const PASSWORD: Terms = Terms { deadline: Duration::from_secs(30), output_bytes_max: PASSWORD_BYTES_MAX + 2, is_secret: true, with_person: false };

/// Why a login's password must not be had, without having it: whoever could have written what names it could have any file and any program of
/// ours sent to a registry or a host of theirs.
///
/// # Errors
/// Says why, and that `--allow-commands` allows it.
pub(super) fn may_be_had(entry: &LoginEntry, dynamic: &Dynamic) -> Result<()> {
    let key = dynamic.source.key();
    let (why, does) = match &dynamic.source {
        DynamicSource::Command(_) => (sources::may_not_run(Path::new(entry.file())), "runs a program"),
        DynamicSource::File(path) if sources::is_ci() => {
            (place_of(entry, path).map_or_else(|why| Some(why.message), |path| sources::outside_of_repository(&path, beside(entry))), "reads a file")
        }
        DynamicSource::File(_) => (sources::may_not_run(Path::new(entry.file())), "reads a file"),
    };
    let Some(why) = why else { return Ok(()) };
    let verb = does.split(' ').next().unwrap_or_default();
    Err(Error::usage(format!("{}: `{key}` of login `{}` {does}, and {why}", entry.place, escape(&entry.name)))
        .hint(format!("look at what it {verb}, then allow it with --allow-commands")))
}

/// Has the password of a login.
///
/// # Errors
/// Of [`Kind::Vault`]: there is none, or it breaks a rule of passwords. Nothing of it is told.
pub(super) fn password(entry: &LoginEntry, dynamic: &Dynamic) -> Result<Secret> {
    let what = format!("{}: the password of login `{}`", entry.place, escape(&entry.name));
    let (bytes, from) = match &dynamic.source {
        DynamicSource::Command(argv) => {
            let hint = "`password_command` is run on this machine, without a shell: write `[PROGRAM, ARGUMENT]`";
            let printed = program::run(&Program { argv: argv.clone(), hint: hint.to_string() }, &PASSWORD);
            let printed = printed.map_err(|e| Error { kind: Kind::Vault, message: format!("{what}: {}", e.message), ..e })?;
            (printed, format!("what `{}` printed", sanitize(&argv[0])))
        }
        DynamicSource::File(path) => {
            let path = place_of(entry, path)?;
            let shown = escape(&path.display().to_string());
            (read(&path, &shown).map_err(|e| Error { message: format!("{what}: {}", e.message), ..e })?, shown)
        }
    };
    let password = read_password(&bytes).map_err(|why| Error::vault(format!("{what}: {from} {why}")))?;
    check_password(password.expose()).map_err(|why| Error::vault(format!("{what}: {from}: {why}")))?;
    Ok(password)
}

/// Reads the file, which must be its owner's alone; a pipe belongs to its reader.
fn read(path: &Path, shown: &str) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    let unreadable = |e: std::io::Error| {
        let why = if e.kind() == std::io::ErrorKind::NotFound { "there is no such file".to_string() } else { e.to_string() };
        Error::vault(format!("{shown} cannot be read: {why}"))
    };
    // Without waiting for somebody to write into a pipe: that has a deadline.
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() && !meta.file_type().is_fifo() {
        return Err(Error::vault(format!("{shown} is neither a file nor a pipe")));
    }
    owner_alone(shown, &meta, &format!("chmod 600 {shown}"))?;
    program::read(file, &PASSWORD).map_err(|why| Error::vault(format!("{shown} {why}")))
}

/// Where a `password_file:` lies.
fn place_of(entry: &LoginEntry, path: &str) -> Result<PathBuf> {
    match path.strip_prefix("~/") {
        None => Ok(beside(entry).join(path)),
        Some(rest) => match std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()) {
            Some(home) => Ok(home.join(rest)),
            None => Err(Error::vault(format!("{}: `~` in `password_file` means nothing here: HOME is not set", entry.place))),
        },
    }
}

/// The directory of the file that holds the login.
fn beside(entry: &LoginEntry) -> &Path {
    Path::new(entry.file()).parent().unwrap_or(Path::new(""))
}
