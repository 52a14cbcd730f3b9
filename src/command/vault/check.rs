//! `vault check`: whether vaults are in order, without an identity.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{entry, people};
use crate::command::console::Console;
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::command::identity::IdentitySources;
use crate::command::signed;
use crate::error::{Error, Problem, Result};
use crate::inventory;
use crate::model::text::escape;
use crate::model::{PasswordText, conflict};
use crate::vault::check::{self, Found};
use crate::vault::document::SealPlace;
use crate::vault::signature::{Signed, signer_of};
use crate::vault::{Identities, VaultDocument, decrypt, file, is_age_file, open_become, open_login};

/// `vault check`: form, recipients, seals and signature of each vault, or inventory with logins; with `deep` everything is opened too. One line says of
/// each that is in order what it holds.
///
/// # Errors
/// All that is wrong with all of them, with their places.
pub fn check(vaults: &[PathBuf], deep: bool, sources: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    let identities = if deep { Some(sources.load(console.ask)?) } else { None };
    let mut problems = Vec::new();
    for path in vaults {
        let before = problems.len();
        let looked = files::read(path, FILE_BYTES_MAX).and_then(|bytes| {
            // What must be signed and is not is not looked into.
            let signed = signature(path, &bytes)?;
            let signed = signed.unwrap_or_else(|e| {
                problems.push(e.to_string());
                String::new()
            });
            let looked = look(path, bytes, identities.as_ref(), &mut problems)?;
            Ok(Looked { summary: format!("{}{signed}", looked.summary), ..looked })
        });
        match looked {
            Err(e) => problems.push(e.to_string()),
            Ok(Looked { notes, summary }) => {
                notes.iter().for_each(|note| console.note(format_args!("note: {note}")));
                if problems.len() == before {
                    console.print(format!("{}: {summary}\n", path.display()).as_bytes())?;
                }
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::vault(problems.join("\n"))) }
}

/// What there is to say of a file beside its problems.
struct Looked {
    notes: Vec<String>,
    summary: String,
}

/// Who signed a file, as the end of its summary; inside, what is wrong with a signature that nobody demands.
///
/// # Errors
/// One is demanded, and none counts.
fn signature(path: &Path, bytes: &[u8]) -> Result<Result<String>> {
    let by = |signed: Signed| format!("; signed by {} ({})", escape(&signed.principals), signed.fingerprint);
    if let Some(demand) = signed::demand()? {
        return demand.check(path, bytes).map(|signed| Ok(by(signed)));
    }
    Ok((|| {
        let Some(signature) = signed::read_signature(path)? else { return Ok(String::new()) };
        if let Some(signers) = signed::signers_beside(path)? {
            return signed::verify(&signers, path, &signature, bytes).map(by);
        }
        let name = path.display().to_string();
        let (_, fingerprint) = signer_of(&signature, bytes, &name).map_err(|why| {
            Error::vault(format!("{} {why}", signed::of(path).display())).hint(format!("look at what changed, then `{}`", signed::line(path)))
        })?;
        Ok(format!("; signed with {fingerprint}, and no allowed_signers beside it says whose that is"))
    })())
}

fn look(path: &Path, mut bytes: Zeroizing<Vec<u8>>, identities: Option<&Identities>, problems: &mut Vec<String>) -> Result<Looked> {
    let name = path.display().to_string();
    if is_age_file(&bytes) {
        let header = file::whole_header(&bytes).map_err(|e| e.explain(&name))?;
        let Some(identities) = identities else {
            let whom = if header.is_passphrase() { "with a passphrase".to_string() } else { format!("for {}", people(header.recipients().count())) };
            return Ok(Looked { notes: Vec::new(), summary: format!("encrypted as a whole, {whom}; only --deep sees what is in it") });
        };
        bytes = decrypt(&bytes, identities).map_err(|e| e.explain(&name))?;
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{name} is not text")))?;
    // Before the form, which a conflict breaks in many places.
    if conflict::find(text).is_some() {
        VaultDocument::parse(&name, text)?;
    }
    let mut found = inventory::examine(&name, text);
    let Ok(document) = VaultDocument::parse(&name, text).map_err(|e| {
        if found.is_empty() {
            problems.push(e.to_string())
        }
    }) else {
        problems.extend(found.iter().map(Problem::to_string));
        return Ok(Looked { notes: Vec::new(), summary: String::new() });
    };
    let elsewhere = password_elsewhere(text);
    let Found { problems: more, notes, sealed } = check::check(&name, text, &document, &|login| elsewhere.iter().any(|name| name == login));
    // What the reader of the form told of a line is not told twice.
    found.extend(more.into_iter().filter(|p| p.line == 0 || !found.iter().any(|f| f.line == p.line)).collect::<Vec<_>>());
    found.sort_by_key(|p| (p.line, p.column));
    problems.extend(found.iter().map(Problem::to_string));
    if let Some(identities) = identities {
        open_all(&name, &document, identities, problems);
    }
    let logins = document.logins().count();
    let recipients = document.recipients.as_deref().unwrap_or_default().len();
    let opened = if identities.is_some() { "sealed and opened" } else { "sealed" };
    let summary = format!("{logins} login{}, {sealed} password{} {opened} for {}", plural(logins), plural(sealed), people(recipients));
    Ok(Looked { notes: notes.iter().map(Problem::to_string).collect(), summary })
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// The logins that say where their password comes from.
fn password_elsewhere(text: &str) -> Vec<String> {
    let value: serde_json::Value = serde_yaml::from_str_with_options(text, serde_yaml::options! { with_snippet: false }).unwrap_or_default();
    let logins = value.get("logins").and_then(|l| l.as_object()).into_iter().flatten();
    let has = |login: &serde_json::Value| ["password_command", "password_file"].iter().any(|key| login.get(key).is_some());
    logins.filter(|(_, login)| has(login)).map(|(name, _)| name.clone()).collect()
}

/// Opens every seal, and holds what is in it against what stands beside it.
fn open_all(file: &str, document: &VaultDocument, identities: &Identities, problems: &mut Vec<String>) {
    for (place, sealed, (line, column)) in document.passwords() {
        // What stands in the clear has been told.
        if !is_age_file(sealed.as_bytes()) {
            continue;
        }
        let opened = match &place {
            SealPlace::Become => open_become(&PasswordText::Sealed(sealed.to_string()), &format!("{file}:0:0"), identities, false).map(drop),
            SealPlace::Login(name) | SealPlace::Previous(name) => {
                let Some(entry) = document.login(name).and_then(|login| entry(name, login, format!("{file}:{line}:{column}")).ok()) else {
                    continue;
                };
                match &place {
                    SealPlace::Previous(_) => match entry.before_rotation() {
                        Some(entry) => open_login(&entry, identities, false).map(drop),
                        None => Err(Error::vault(format!("{file}:{line}:{column}: `previous` of login `{}` is not complete", escape(name)))),
                    },
                    _ => open_login(&entry, identities, false).map(drop),
                }
            }
        };
        if let Err(e) = opened {
            problems.push(e.to_string());
        }
    }
}
