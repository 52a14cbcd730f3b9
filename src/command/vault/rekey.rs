//! `vault rekey`: vaults for other recipients.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::{RecipientSources, VaultFile, listed_of, people};
use crate::command::console::Console;
use crate::command::identity::IdentitySources;
use crate::error::{Error, Result};
use crate::model::text::escape;
use crate::vault::document::SealPlace;
use crate::vault::edit::recipient_places;
use crate::vault::rekey::Plan;
use crate::vault::{Recipient, Recipients, VaultDocument};

/// The fewest characters by which a recipient may be named; fewer are typed by mistake.
const PREFIX_CHARS_MIN: usize = 12;

/// What `vault rekey` is told.
#[derive(Clone, Debug, Default)]
pub struct RekeyOptions {
    /// The vaults, or inventories with `logins:` in them.
    pub vaults: Vec<PathBuf>,
    /// `--add` and `-R`.
    pub add: RecipientSources,
    /// `--remove`.
    pub remove: Vec<String>,
}

/// `vault rekey`: the lists of recipients change, and what is sealed for others than a list says is sealed anew. All files change, or none,
/// and none before each new seal was opened again. Without `--add` and `--remove` the seals follow the lists as they are. The passwords that
/// a removed recipient could read go to stdout.
///
/// # Errors
/// A file, a recipient or a seal does not do; the identities given would not open the result.
pub fn rekey(options: &RekeyOptions, sources: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    let files = read(&options.vaults)?;
    let listed = files.iter().map(|file| listed_of(&file.name, &file.document)).collect::<Result<Vec<_>>>()?;
    let add = options.add.load(console)?;
    let remove = removed(&options.remove, &files, &listed)?;
    if let Some(both) = remove.iter().find(|r| add.holds(r)) {
        return Err(Error::usage(format!("one key is both to be added and to be removed: {}", escape(&both.key()))));
    }
    let plans = files.iter().zip(&listed).map(|(file, listed)| Plan::new(&file.name, file.text(), &file.document, listed, &remove, &add));
    let plans = plans.collect::<Result<Vec<_>>>()?;
    let stamped = |document: &VaultDocument| document.vault_id.is_some() && document.vault_serial.is_some();
    let due: Vec<(&VaultFile, &Plan<'_>)> = files.iter().zip(&plans).filter(|(file, plan)| !plan.is_done() || !stamped(&file.document)).collect();
    if !due.is_empty() {
        let changes = carry_out(&due, sources, console)?;
        VaultFile::write_all(&changes.iter().map(|(file, text)| (*file, text.as_str())).collect::<Vec<_>>())?;
    }
    for ((file, listed), plan) in files.iter().zip(&listed).zip(&plans) {
        console.note(told(file, plan));
        // A comment says whose a key is, and anybody may have written it: the keys themselves are told.
        let told = |what: &str, who: &Recipient| format!("  {what} {}", escape(who.text()));
        listed.iter().filter(|r| remove.holds(r)).for_each(|r| console.note(told("removed", r)));
        plan.recipients().iter().filter(|r| !listed.holds(r)).for_each(|r| console.note(told("added  ", r)));
    }
    if !remove.is_empty() {
        tell_readable(&files, &listed, &plans, &remove, console)?;
    }
    tell_unlisted(&files, &plans, &remove, console)
}

/// The files, each once.
fn read(vaults: &[PathBuf]) -> Result<Vec<VaultFile>> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in vaults {
        match VaultFile::read(path, "its seals cannot be made anew one by one") {
            // Also by another path, or another hard link, of which each would get seals of its own.
            Ok(file) if seen.insert(std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok()) => files.push(file),
            Ok(file) => problems.push(Error::usage(format!("{} is a file that is named before already", file.name))),
            Err(e) => problems.push(e),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(Error::together(problems)) }
}

/// The new texts of the files that change.
fn carry_out<'a>(
    due: &[(&'a VaultFile, &Plan<'_>)],
    sources: &IdentitySources,
    console: &mut Console<'_>,
) -> Result<Vec<(&'a VaultFile, zeroize::Zeroizing<String>)>> {
    let identities = sources.load(console.ask)?;
    let mut changes = Vec::new();
    let mut problems = Vec::new();
    for (file, plan) in due {
        match plan.carry_out(&identities) {
            Ok(text) => changes.push((*file, text)),
            Err(e) => problems.push(e),
        }
    }
    if problems.is_empty() { Ok(changes) } else { Err(Error::together(problems)) }
}

/// The recipients that `--remove` names, by their whole key, their comment or how they begin.
fn removed(names: &[String], files: &[VaultFile], listed: &[Recipients]) -> Result<Recipients> {
    let mut all: BTreeMap<String, (Recipient, BTreeSet<String>)> = BTreeMap::new();
    for (file, listed) in files.iter().zip(listed) {
        for (recipient, place) in listed.iter().zip(recipient_places(file.text(), &file.document)) {
            let (_, comments) = all.entry(recipient.key()).or_insert_with(|| (recipient.clone(), BTreeSet::new()));
            comments.extend(recipient.comment().map(str::to_string).into_iter().chain(place.comment));
        }
    }
    let mut found = Vec::new();
    for (i, name) in names.iter().map(|name| name.trim()).enumerate() {
        // What is named is never quoted: it may be a secret key in the wrong place.
        let nth = format!("--remove number {}", i + 1);
        let key = Recipients::parse([name]).ok().and_then(|one| one.iter().next().map(Recipient::key)).unwrap_or_else(|| name.to_string());
        let begins = |key: &str| name.chars().count() >= PREFIX_CHARS_MIN && key.split(' ').chain([key]).any(|part| part.starts_with(name));
        let matching = |way: &dyn Fn(&str, &BTreeSet<String>) -> bool| -> Vec<&Recipient> {
            all.iter().filter(|(key, (_, comments))| way(key, comments)).map(|(_, (recipient, _))| recipient).collect()
        };
        let ways = [matching(&|k, _| k == key), matching(&|_, comments| comments.contains(name)), matching(&|k, _| begins(k))];
        match ways.into_iter().find(|m| !m.is_empty()).as_deref() {
            Some([one]) => found.push((*one).clone()),
            Some(several) => {
                let keys: Vec<String> = several.iter().map(|r| format!("    {}", escape(r.text()))).collect();
                return Err(Error::usage(format!("{nth} names {} recipients:\n{}", several.len(), keys.join("\n"))).hint("give the whole key"));
            }
            None => {
                let hint = format!("`regprov vault show` lists them; give a whole key, at least {PREFIX_CHARS_MIN} characters that begin it, or its comment");
                return Err(Error::usage(format!("{nth} is no recipient of these vaults; nothing was written")).hint(hint));
            }
        }
    }
    Ok(Recipients::of(found))
}

fn told(file: &VaultFile, plan: &Plan<'_>) -> String {
    let (new, gone) = plan.counts();
    let mut parts = vec![people(plan.recipients().len())];
    if new > 0 || gone > 0 {
        parts[0].push_str(&format!(" ({new} added, {gone} removed)"));
    }
    parts.push(format!("{} sealed anew, {} kept", plan.stale.len(), plan.kept));
    if !plan.clear.is_empty() {
        parts.push(format!("{} in the clear, which stay so: see `regprov vault check`", plan.clear.len()));
    }
    format!("{}: {}", file.name, parts.join("; "))
}

/// The list of passwords to change.
fn tell_readable(files: &[VaultFile], listed: &[Recipients], plans: &[Plan<'_>], remove: &Recipients, console: &mut Console<'_>) -> Result<()> {
    let mut rows = String::new();
    for ((file, listed), plan) in files.iter().zip(listed).zip(plans) {
        let gone = Recipients::of(listed.iter().filter(|r| remove.holds(r)).cloned());
        if gone.is_empty() {
            console.note(format_args!("note: {} did not list {}", file.name, if remove.len() == 1 { "it" } else { "them" }));
            continue;
        }
        plan.readable_by(&gone).iter().for_each(|place| rows.push_str(&format!("{}: {}\n", file.name, account(&file.document, place))));
    }
    if rows.is_empty() {
        console.note("nothing was sealed for who was removed");
        return Ok(());
    }
    console.note("who was removed could read these, and still can from older states of the files (git keeps them); change each at its registry:");
    console.print(rows.as_bytes())
}

/// The passwords that somebody could read who was taken out of a list by hand, but for those told already.
fn tell_unlisted(files: &[VaultFile], plans: &[Plan<'_>], remove: &Recipients, console: &mut Console<'_>) -> Result<()> {
    let mut rows = String::new();
    for (file, plan) in files.iter().zip(plans) {
        let told = plan.readable_by(remove);
        let untold = plan.unlisted.iter().filter(|place| !told.contains(place));
        untold.for_each(|place| rows.push_str(&format!("{}: {}\n", file.name, account(&file.document, place))));
    }
    if rows.is_empty() {
        return Ok(());
    }
    console.note("these were sealed for somebody whom `recipients` did not name, and who still can read them from older states; change each at its registry:");
    console.print(rows.as_bytes())
}

/// What a password is for: `ngc: $oauthtoken at nvcr.io`.
fn account(document: &VaultDocument, place: &SealPlace) -> String {
    let of = |name: &str, username: Option<&str>, word: &str| {
        let login = document.login(name);
        let registry = login.and_then(|l| l.registry.as_deref()).unwrap_or("-");
        format!("{}{word}: {} at {}", escape(name), escape(username.unwrap_or("-")), escape(registry))
    };
    match place {
        SealPlace::Become => "become_password: the password of sudo".to_string(),
        SealPlace::Login(name) => of(name, document.login(name).and_then(|l| l.username.as_deref()), ""),
        SealPlace::Previous(name) => {
            let previous = document.login(name).and_then(|l| l.previous.as_ref());
            of(name, previous.and_then(|p| p.username.as_deref()), " (previous)")
        }
    }
}
