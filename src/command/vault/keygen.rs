//! `vault keygen` and `vault init`: the first two steps.

use std::path::Path;
use std::time::SystemTime;

use super::{RecipientSources, VaultFile, people};
use crate::command::console::Console;
use crate::command::files;
use crate::error::{Error, Result};
use crate::vault::identity;

/// `vault keygen`: a new age identity, as age-keygen writes it, in a file of its own (0600, never overwritten); `-` is stdout.
/// Without `output` it goes to `default`, whose directory is made. The recipient is printed.
pub fn keygen(output: Option<&Path>, default: Option<&Path>, console: &mut Console<'_>) -> Result<()> {
    let (secret, recipient) = identity::generate();
    let created = time::OffsetDateTime::from(SystemTime::now()).replace_nanosecond(0).expect("zero is a nanosecond");
    let created = created.format(&time::format_description::well_known::Rfc3339).map_err(|e| Error::internal(format!("the date cannot be written: {e}")))?;
    let text = zeroize::Zeroizing::new(format!("# created: {created}\n# public key: {recipient}\n{}\n", secret.as_str()));
    if output == Some(Path::new("-")) {
        console.secret_may_be_printed(false).map_err(|e| e.hint("name a file with -o, or send it to a program"))?;
        console.print(text.as_bytes())?;
        console.note(format_args!("Public key: {recipient}"));
        return Ok(());
    }
    let path = output.or(default).ok_or_else(|| Error::usage("neither XDG_CONFIG_HOME nor HOME says where to put the identity").hint("name a file with -o"))?;
    if output.is_none() {
        path.parent().map_or(Ok(()), files::create_dir_private)?;
    }
    files::create(path, text.as_bytes(), 0o600)?;
    console.note(format_args!("the identity is in {}; its recipient, for `vault init -r`:", path.display()));
    console.print(format!("{recipient}\n").as_bytes())
}

/// `vault init`: a new vault for these recipients, without logins.
pub fn init(vault: &Path, recipients: &RecipientSources, console: &mut Console<'_>) -> Result<()> {
    let recipients = recipients.load(console)?;
    if recipients.is_empty() {
        return Err(Error::usage("a vault needs a recipient").hint("name one with -r; `regprov vault keygen` prints yours"));
    }
    let fresh = VaultFile::fresh(vault, &recipients)?;
    fresh.write(fresh.text())?;
    console.note(format_args!(
        "{} is made for {}; add a login with `regprov vault set {} LOGIN --registry R --username U`",
        vault.display(),
        people(recipients.len()),
        vault.display()
    ));
    Ok(())
}
