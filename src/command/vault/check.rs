//! `vault check`: whether vaults are in order, without an identity.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{entry, people};
use crate::command::console::Console;
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::command::identity::IdentitySources;
use crate::command::seen::Seen;
use crate::command::signed;
use crate::error::{Error, Problem, Result, rule};
use crate::inventory;
use crate::model::text::escape;
use crate::model::{PasswordText, conflict};
use crate::vault::check::{self, Found};
use crate::vault::document::SealPlace;
use crate::vault::signature::{Signed, signer_of};
use crate::vault::{Identities, VaultDocument, decrypt, file, is_age_file, open_become, open_login, stamp};

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
                    console.print(format!("{}: {summary}\n", escape(&path.display().to_string())).as_bytes())?;
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
    let judged = judge(&name, text);
    problems.extend(judged.problems);
    let Some(document) = judged.document else { return Ok(Looked { notes: Vec::new(), summary: String::new() }) };
    // What is wrong with the stamp itself was judged.
    if let Ok(stamp) = stamp::of(&document) {
        problems.extend(Seen::of_process().check(path, stamp.as_ref()).err().map(|e| e.to_string()));
    }
    if let Some(identities) = identities {
        open_all(&name, &document, identities, problems);
    }
    let (logins, sealed) = (document.logins().count(), judged.sealed);
    let recipients = document.recipients.as_deref().unwrap_or_default().len();
    let opened = if identities.is_some() { "sealed and opened" } else { "sealed" };
    if logins == 0 && recipients == 0 {
        return Ok(Looked { notes: judged.notes, summary: "no logins, so there is nothing of a vault to check in it".to_string() });
    }
    let summary = format!("{logins} login{}, {sealed} password{} {opened} for {}", plural(logins), plural(sealed), people(recipients));
    Ok(Looked { notes: judged.notes, summary })
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// What can be said of the text of a vault, or of an inventory with logins, without an identity.
#[derive(Default)]
pub(super) struct Judged {
    /// What is wrong, each with its place.
    pub(super) problems: Vec<String>,
    /// What cannot be told.
    pub(super) notes: Vec<String>,
    /// What it says; `None` when it is no vault.
    document: Option<VaultDocument>,
    /// The seals that are right, as far as they can be seen.
    sealed: usize,
}

/// The one judge of vaults, for `vault check` and for the hook: form, recipients, seals, and what stands in the clear.
pub(super) fn judge(name: &str, text: &str) -> Judged {
    let document = VaultDocument::parse(name, text);
    // Before the form, which a conflict breaks in many places.
    if let (Some(_), Err(e)) = (conflict::find(text), &document) {
        return Judged { problems: vec![e.to_string()], ..Judged::default() };
    }
    let mut found = inventory::examine(name, text);
    found.extend(check::secrets_beside(name, text));
    let told = |mut found: Vec<Problem>| {
        found.sort_by_key(|p| (p.line, p.column));
        found.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    let document = match document {
        Ok(document) => document,
        Err(e) => {
            let problems = if found.is_empty() { vec![e.to_string()] } else { told(found) };
            return Judged { problems, ..Judged::default() };
        }
    };
    let Found { problems, notes, sealed } = check::check(name, text, &document);
    // What the reader of the form told of a seal's line is not told twice, nor that a seal is damaged, which it tells of the line below the key. A
    // password in the clear is told, unless it said that.
    let is_damage = |p: &Problem| p.message.contains(" is damaged: ");
    let is_told = |p: &Problem| {
        let same = |f: &Problem| f.line == p.line && (p.rule != rule::PLAINTEXT || f.column == p.column);
        found.iter().any(|f| same(f) || f.line == p.line + 1 && is_damage(f) && is_damage(p))
    };
    let more: Vec<Problem> = problems.into_iter().filter(|p| p.line == 0 || !is_told(p)).collect();
    found.extend(more);
    Judged { problems: told(found), notes: notes.iter().map(Problem::to_string).collect(), document: Some(document), sealed }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Registry, Secret, Username};
    use crate::vault::testing::{ALICE, alice_recipient, to_alice};
    use crate::vault::{SealedValue, seal};

    fn vault(password: &str) -> String {
        format!(
            "version: 1\nrecipients: [{}]\nlogins:\n  hub:\n    registry: docker.io\n    username: acme\n    password: {password}\nvault_id: v0f00ff00ff00ff00\nvault_serial: 1\n",
            alice_recipient()
        )
    }

    fn sealed() -> String {
        let (registry, username) = (Registry::parse("docker.io").unwrap().0, Username::parse("acme").unwrap());
        let value = SealedValue { registry, username, auth_hosts: vec![], password: Secret::new("hunter2".to_string()) };
        seal(&value, &to_alice()).unwrap().lines().map(|l| format!("      {l}\n")).collect()
    }

    #[track_caller]
    fn judged(text: &str, want: &[&str]) {
        let got = judge("v.yml", text).problems;
        assert_eq!(got.len(), want.len(), "{got:?}");
        for (got, want) in got.iter().zip(want) {
            assert!(got.starts_with(want) && !got.contains("hunter2") && !got.contains(ALICE), "{got}");
        }
    }

    #[test]
    fn each_fault_has_its_place_and_is_told_once() {
        let good = vault(&format!("|\n{}", sealed()));
        judged(&good, &[]);
        judged(&vault("hunter2"), &["v.yml:7:5: the password of login `hub` stands in the clear"]);
        judged(&vault("'hunter2'"), &["v.yml:7:5: the password of login `hub` stands in the clear"]);
        judged(&vault("|-\n      hunter2"), &["v.yml:7:5: the password of login `hub` stands in the clear"]);
        judged(&vault("|\n      -----BEGIN AGE ENCRYPTED FILE-----\n      hunter2"), &["v.yml:8: the seal of login `hub` that stands here is damaged"]);
        let another = crate::vault::identity::generate().1;
        judged(&good.replace("recipients: [", &format!("recipients: [{another}, ")), &["v.yml:7:5: the password of login `hub` is not sealed for the 2"]);
        judged(
            &good.replace(&alice_recipient(), &another),
            &["v.yml:7:5: the password of login `hub` is not sealed for the 1 in `recipients`, but for 1, but other"],
        );
        judged(&good.replace(&alice_recipient(), "age1x"), &["v.yml: recipient 1 begins as an age key"]);
        judged(&good.lines().filter(|l| !l.starts_with("recipients")).map(|l| format!("{l}\n")).collect::<String>(), &["v.yml: has no `recipients`"]);
        let sudo = format!("v.yml:{}:1: the password of sudo (`become_password`) stands in the clear", good.lines().count() - 1);
        judged(&good.replace("vault_id", "become_password: hunter2\nvault_id"), &[&sudo]);
        judged(
            &good.replace("    username", "    previous:\n      username: acme\n      password: hunter2\n    username"),
            &["v.yml:8:7: the password of `previous` of login `hub` stands in the clear"],
        );
        judged(&format!("# {ALICE}\n{good}"), &["v.yml:1:1: a secret key"]);
        judged(&format!("# {}{}\n{good}", "REGPROV-AUDIT-KEY-1", "0F".repeat(32)), &["v.yml:1:1: a secret key"]);
        judged(&format!("# -----BEGIN OPENSSH {}-----\n{good}", "PRIVATE KEY"), &["v.yml:1:1: a secret key"]);
        judged(&format!("# keys begin with AGE-SECRET-KEY-1...\n{good}"), &[]);
        judged(&format!("<<<<<<< a\n{good}>>>>>>> b\n"), &["v.yml:1: an unresolved merge conflict (lines 1 to"]);
    }

    #[test]
    fn what_no_reader_takes_is_told_with_its_place() {
        let good = vault(&format!("|\n{}", sealed()));
        judged(&good.replace("  hub:", "  hub: {registry: a.io, username: u}\n  hub:"), &["v.yml:5:3: `hub` stands twice in `logins`; first on line 4"]);
        judged(&good.replace("    username", "\tusername"), &["v.yml:5:15: not YAML: a tab where YAML wants spaces"]);
        judged(&format!("{good}---\nlogins: {{}}\n"), &["v.yml:"]);
        // A key is seen in what is no YAML too.
        judged(&format!("{good}a: [\n# {ALICE}\n"), &["v.yml:", "v.yml:"]);
    }

    #[test]
    fn all_faults_are_told_in_the_order_of_their_places() {
        let text = format!("{}# {ALICE}\n", vault("hunter2").replace("logins:", "become_password: hunter2\nlogins:"));
        judged(&text, &["v.yml:3:1: the password of sudo", "v.yml:8:5: the password of login `hub`", "v.yml:11:1: a secret key"]);
        // A fault of form beside it hides nothing.
        let flow = "version: 1\nlogins:\n  hub: {registry: docker.io, username: acme, password: hunter2, pasword: x}\n";
        judged(flow, &["v.yml: has no `recipients`", "v.yml:3:8: the password of login `hub` stands in the clear", "v.yml:3:"]);
    }
}
