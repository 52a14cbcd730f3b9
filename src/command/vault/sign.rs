//! `vault sign`: signatures beside vaults.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::command::console::Console;
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::command::load::now;
use crate::command::seen::Seen;
use crate::command::signed;
use crate::command::signing::{SigningKey, sign_beside};
use crate::error::{Error, Result};
use crate::model::text::escape;
use crate::vault::{VaultDocument, is_age_file, stamp};

/// `vault sign`: makes the signature of each vault (or inventory) beside it, or of none when one is not to be signed. The line of the key for
/// `allowed_signers` goes to stdout where none is known that names it.
///
/// # Errors
/// A file is none that should be signed; no key is given, or it signs nothing.
pub fn sign(vaults: &[PathBuf], key: Option<&Path>, console: &mut Console<'_>) -> Result<()> {
    let key = SigningKey::of_process(key)?.ok_or_else(|| {
        Error::usage("no signing key was given").hint(
            "give --key FILE, or let REGPROV_SIGNING_KEY name it: an SSH private key, or a .pub whose private half the agent has; \
             `ssh-keygen -t ed25519 -f FILE` makes one",
        )
    })?;
    let demand = signed::demand()?;
    let mut problems = Vec::new();
    let mut chosen = Vec::new();
    for path in vaults {
        match look(path).and_then(|bytes| Ok((bytes, signed::signers_beside(path)?))) {
            Ok((bytes, beside)) => chosen.push((path, bytes, beside)),
            Err(e) => problems.push(e),
        }
    }
    if let Some(first) = problems.pop() {
        let lines = problems.iter().chain([&first]).map(|e| e.message.clone()).collect::<Vec<_>>();
        return Err(Error { message: format!("{}\nnothing was signed", lines.join("\n")), ..first });
    }
    let mut line = None;
    for (path, bytes, beside) in chosen {
        let made = sign_beside(&key, path, &bytes, demand.as_ref())?;
        let signers = demand.as_ref().map(|demand| demand.signers()).or(beside.as_deref());
        let by = signers.and_then(|signers| signers.verify(&made.armored, &bytes, "it", now()).ok()).map(|signed| signed.principals);
        let known = by.as_deref().map_or(String::new(), |by| format!(" of {}", escape(by)));
        console.note(format_args!("{} is signed with {}{known}: {}", path.display(), made.fingerprint, signed::of(path).display()));
        if by.is_none() {
            line = Some(made.line);
        }
    }
    let Some(line) = line else { return Ok(()) };
    console.note("the signature counts where an allowed_signers holds this line; who may sign is for people to decide, so look whose key it is:");
    console.print(format!("{line}\n").as_bytes())
}

/// The content of a file that is to be signed. A signature says that somebody looked: so it is text without marks of a conflict, and not rolled back.
fn look(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let name = path.display().to_string();
    let bytes = files::read(path, FILE_BYTES_MAX)?;
    files::replaceable(path)?;
    if is_age_file(&bytes) {
        return Ok(bytes);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{name} is not text")))?;
    let document = VaultDocument::parse(&name, text)?;
    let stamp = stamp::of(&document).map_err(|why| Error::vault(format!("{name}: {why}")).hint("restore it as it was, from git or a copy"))?;
    // An inventory without logins has no stamp, and is no vault that lost it.
    if stamp.is_some() || document.logins().next().is_some() {
        Seen::of_process().check(path, stamp.as_ref())?;
    }
    Ok(bytes)
}
