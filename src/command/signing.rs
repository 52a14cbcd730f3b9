//! Signing vaults with `ssh-keygen -Y sign`, so that hardware keys, agents and passphrases work as they do for ssh.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::signed::{self, Demand};
use super::{files, program};
use crate::error::{Error, Result};
use crate::vault::signature::{self, NAMESPACE, SIGNATURE_BYTES_MAX};

/// The file of an SSH private key, or of a public one whose private half the agent has.
pub struct SigningKey(PathBuf);

/// A signature that was made, and verified.
pub struct Made {
    /// It, as it stands in its file.
    pub armored: Vec<u8>,
    /// The key's fingerprint, as ssh-keygen shows it.
    pub fingerprint: String,
    /// The line that lets the key in, for an `allowed_signers`.
    pub line: String,
}

impl SigningKey {
    /// That of the flag, else of `REGPROV_SIGNING_KEY`.
    ///
    /// # Errors
    /// The variable is set and empty; there is no such file.
    pub fn of_process(flag: Option<&Path>) -> Result<Option<Self>> {
        let file = match (flag, std::env::var_os("REGPROV_SIGNING_KEY")) {
            (Some(file), _) => file.to_path_buf(),
            (None, Some(empty)) if empty.is_empty() => {
                return Err(Error::vault("REGPROV_SIGNING_KEY is set but empty").hint("unset it, or let it name a file"));
            }
            (None, Some(file)) => PathBuf::from(file),
            (None, None) => return Ok(None),
        };
        std::fs::metadata(&file).map_err(|e| Error::vault(format!("the signing key {} cannot be read: {e}", file.display())))?;
        Ok(Some(SigningKey(file)))
    }

    /// Whose it may be: the comment of its public half, where that can stand for a principal.
    fn principal(&self) -> String {
        let public = if self.0.extension().is_some_and(|e| e == "pub") { self.0.clone() } else { PathBuf::from(format!("{}.pub", self.0.display())) };
        let text = files::read(&public, SIGNATURE_BYTES_MAX).ok();
        let comment = text.and_then(|text| std::str::from_utf8(&text).ok()?.split_whitespace().nth(2).map(str::to_string));
        let is_plain = |c: &String| !c.starts_with('-') && c.chars().all(|c| c.is_ascii_alphanumeric() || "@._-".contains(c));
        comment.filter(is_plain).unwrap_or("NAME".to_string())
    }
}

/// Signs what a vault holds and puts the signature beside it, in one step; an old one stays until the new one was verified, here and against the
/// signers that are demanded.
///
/// # Errors
/// ssh-keygen makes no signature, or one that does not count; it cannot be written.
pub fn sign_beside(key: &SigningKey, vault: &Path, content: &[u8], demanded: Option<&Demand>) -> Result<Made> {
    let armored = ssh_keygen(key, content)?;
    let (name, signature) = (vault.display().to_string(), signed::of(vault));
    let (public, fingerprint) = signature::signer_of(&armored, content, &name)
        .map_err(|why| Error::vault(format!("what ssh-keygen made of {name} {why}")).hint("no signature was written"))?;
    let made = Made { armored, fingerprint, line: signature::line_for(&key.principal(), &public) };
    if let Some(demand) = demanded {
        signed::verify(demand.signers(), vault, &made.armored, content).map_err(|e| {
            Error::vault(e.message).hint(format!(
                "no signature was written; let in, the key would have this line in {}:\n        {}",
                demand.signers().name(),
                made.line
            ))
        })?;
    }
    match signature.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => files::create(&signature, &made.armored, 0o666)?,
        _ => files::replace(&signature, &files::read(&signature, files::FILE_BYTES_MAX)?, &made.armored)?,
    }
    Ok(made)
}

/// `ssh-keygen -Y sign` of this content. It asks on the terminal, or through an askpass program, as it does for ssh; what it says is shown.
fn ssh_keygen(key: &SigningKey, content: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new("ssh-keygen");
    // Quiet, it says nothing of standard input, and all that matters.
    command.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]).arg(&key.0).stdin(Stdio::piped()).stdout(Stdio::piped());
    program::keep_ours(&mut command);
    program::die_with_us(&mut command);
    let mut child = command.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::vault("ssh-keygen is not in PATH, and nothing is signed without it").hint("it is part of OpenSSH's client"),
        _ => Error::vault(format!("ssh-keygen cannot be run: {e}")),
    })?;
    // It prints nothing before it has read everything; one that ends early closes the pipe, and its exit status says more.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(content);
    }
    let output = child.wait_with_output().map_err(|e| Error::vault(format!("ssh-keygen cannot be read from: {e}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::vault(format!("ssh-keygen made no signature with {} ({}); what it said stands above", key.0.display(), output.status))
        .hint("it needs version 8.1 or later, and a key that is yours alone (0600), in a file or in the agent"))
}
