//! `vault diff`: what differs between two states of a vault.

use std::path::Path;

use zeroize::Zeroizing;

use super::entry;
use crate::cli::VaultDiffArgs;
use crate::command::console::Console;
use crate::command::files::FILE_BYTES_MAX;
use crate::command::git;
use crate::command::identity::IdentitySources;
use crate::command::signed;
use crate::error::{Error, Result};
use crate::model::text::sanitize;
use crate::vault::diff::{self, Difference, Side};
use crate::vault::document::VaultLogin;
use crate::vault::{Identities, decrypt, is_age_file, open_login};

/// The exit code of a difference, with `--detailed-exitcode`.
const DIFFERENT: u8 = 10;

/// `vault diff`: names the logins that differ, and what of them. A side is a file, or one in git (`HEAD:vault.yml`). Returns the exit code.
pub fn diff(args: &VaultDiffArgs, sources: &IdentitySources, console: &mut Console<'_>) -> Result<u8> {
    let mut bytes = [read(&args.a)?, read(&args.b)?];
    let whole = bytes.iter().any(|bytes| is_age_file(bytes));
    let identities = if args.deep || whole { Some(sources.load(console.ask)?) } else { None };
    for (bytes, name) in bytes.iter_mut().zip([&args.a, &args.b]) {
        if let Some(identities) = identities.as_ref().filter(|_| is_age_file(bytes)) {
            *bytes = decrypt(bytes, identities).map_err(|e| e.explain(&sanitize(name)))?;
        }
    }
    let [a, b] = &bytes;
    let mut same = |a: (&str, &VaultLogin), b: (&str, &VaultLogin)| match identities.as_ref().filter(|_| args.deep) {
        Some(identities) => Ok(Some(password(&args.a, a, identities)? == password(&args.b, b, identities)?)),
        None => Ok(None),
    };
    let differences = diff::diff(side(&args.a, a)?, side(&args.b, b)?, &mut same)?;
    console.print(differences.iter().map(line).collect::<String>().as_bytes())?;
    if differences.is_empty() {
        console.note(if a == b { "the two are equal" } else { "no login differs, and no recipient; comments, order, formatting or the serial do" });
    }
    Ok(if args.detailed_exitcode && !differences.is_empty() { DIFFERENT } else { 0 })
}

/// A side's text: the file of that name, else what git has under it.
fn read(name: &str) -> Result<Zeroizing<Vec<u8>>> {
    let path = Path::new(name);
    let in_git = name.split_once(':').filter(|(revision, _)| !revision.starts_with('-'));
    if in_git.is_none() || path.symlink_metadata().is_ok() {
        return signed::read(path, FILE_BYTES_MAX);
    }
    let output = git::output(None, ["cat-file", "blob", name])?;
    if output.status.success() {
        return Ok(Zeroizing::new(output.stdout));
    }
    let shown = sanitize(name);
    Err(Error::usage(format!("{shown} is no file, and git has none of that name: {}", git::said(&output)))
        .hint("in git a file is named from the top of the repository (HEAD:site/vault.yml) or from here (HEAD:./vault.yml)"))
}

fn side<'a>(name: &'a str, bytes: &'a [u8]) -> Result<Side<'a>> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::vault(format!("{} is not text", sanitize(name))))?;
    Ok(Side { file: name, text })
}

/// A login's password, opened to be compared.
fn password(file: &str, (name, login): (&str, &VaultLogin), identities: &Identities) -> Result<Zeroizing<String>> {
    let opened = open_login(&entry(name, login, file.to_string())?, identities, true)?;
    Ok(Zeroizing::new(opened.password.expose().to_string()))
}

/// A difference as a line: `changed  ngc: expires 2027-01-01 -> 2027-06-01; password sealed anew`.
fn line(difference: &Difference) -> String {
    let Difference { what, to, details } = difference;
    let details = match (*what, details.is_empty()) {
        (_, true) => String::new(),
        ("added" | "removed", false) => format!(" ({})", details.join(", ")),
        _ => format!(": {}", details.join("; ")),
    };
    format!("{what:<8} {to}{details}\n")
}
