//! `regprov rotate start` and `undo`: a login's password is changed in its vault and then on the hosts, over the line of `apply`.
//!
//! One command does both, since that is what a rotation is to the admin. In between nothing is lost: what the vault holds is decided before
//! the first host is contacted, so a run that stops is gone on with by `apply --resume`, or taken back with `undo`.

use std::ffi::OsString;

use clap::CommandFactory as _;

use super::apply::Ready;
use super::audit::AuditKeySources;
use super::clusters::{Clusters, narrow};
use super::console::Console;
use super::journal::Selection;
use super::load::{Opener, now};
use super::vault::{VaultFile, people};
use crate::cli::{ApplyArgs, ApplyVerifyArgs, Cli, RotateRunArgs, RotateStartArgs, RunArgs, SecretArgs, WhatArgs};
use crate::error::{Error, Result};
use crate::inventory::{self, Inventory};
use crate::model::text::{escape, shell_word};
use crate::model::verify::VerifyMode;
use crate::model::{Expiry, Fingerprint, LoginEntry, PasswordText, PreviousPassword, Username};
use crate::ui;
use crate::vault::rotation::{self, NewPassword};
use crate::vault::{SealedValue, seal};

/// Rotates a login and returns the exit code: that of the run, or 6 where the registry does not take the new password. Then, and with
/// `--check`, nothing is written.
pub async fn start(args: &RotateStartArgs, verbose: u8) -> Result<u8> {
    let mut opener = opener(&args.run)?;
    let inventory = opener.inventory(&args.run.inventory, args.run.vault.allow_plaintext, true)?;
    let entry = login(&inventory, &args.run.login)?.clone();
    let name = escape(&entry.name);
    if entry.previous.is_some() {
        let (finish, undo) = (line("finish", &args.run), line("undo", &args.run));
        return Err(Error::usage(format!("{}: a rotation of login `{name}` is under way already", entry.place))
            .hint(format!("end it with `{finish}`, or take it back with `{undo}`")));
    }
    if let PasswordText::Dynamic(dynamic) = &entry.password {
        let message =
            format!("{}: the password of login `{name}` comes from `{}`, anew for each run; no vault holds one to rotate", entry.place, dynamic.source.key());
        return Err(Error::usage(message).hint("change it where it comes from, then `regprov apply`"));
    }
    let PasswordText::Sealed(sealed) = &entry.password else {
        let set = format!("regprov vault set {} {}", shell_word(entry.file()), shell_word(&entry.name));
        return Err(Error::usage(format!("{}: the password of login `{name}` stands in the clear, and would stay there beside the new one", entry.place))
            .hint(format!("seal it first: {set}")));
    };
    let username = match args.username.as_deref() {
        Some("") => return Err(Error::usage("--username is empty; where it begins with `$`, put it into single quotes, or the shell replaces it")),
        Some(text) => Username::parse(text).map_err(Error::usage)?,
        None => entry.username.clone(),
    };
    let expires = args.expires.as_deref().map(Expiry::parse).transpose().map_err(|why| Error::usage(format!("--expires: {why}")))?;
    if expires.as_ref().is_some_and(|e| e.is_past(now())) {
        return Err(Error::usage("--expires is in the past"));
    }
    let key = AuditKeySources::of_process(args.audit.audit_key.as_deref()).load()?;
    let vault = VaultFile::of(&entry)?;
    let recipients = vault.recipients()?;
    let end = expires.as_ref().map(|e| e.text.as_str());
    // Whether the file can take it is known before anybody types a password.
    let trial = NewPassword { username: username.as_str(), expires: end, fingerprint: None, armored: sealed };
    rotation::begin(&vault.name, vault.text(), &entry.name, trial)?;
    let old = opener.logins(&[&entry], false)?.remove(0);
    let password = Console::of_process(|console| console.new_password(&format!("new password of {} at {}", escape(username.as_str()), entry.registry)))?;
    if password.expose() == old.password.expose() && username == entry.username {
        return Err(Error::usage(format!("this is the password that login `{name}` has already; nothing was written")).hint("make a new one at the registry"));
    }
    let value = SealedValue { registry: entry.registry.clone(), username: username.clone(), auth_hosts: old.auth_hosts, password };
    let armored = seal(&value, &recipients)?;
    let fingerprint = key.map(|(key, _)| key.fingerprint(&value.registry, &value.username, &value.password));
    let mark = fingerprint.as_ref().map(Fingerprint::text);
    if mark.is_none() && entry.fingerprint.is_some() {
        ui::note(&format!("no audit key is at hand, so the new password has no fingerprint: `regprov vault fingerprint {}` makes it", shell_word(&vault.name)));
    }
    let previous =
        PreviousPassword { username: entry.username.clone(), sealed: sealed.clone(), expires: entry.expires.clone(), fingerprint: entry.fingerprint.clone() };
    let new = LoginEntry {
        username,
        fingerprint,
        expires: expires.clone(),
        password: PasswordText::Sealed(armored.clone()),
        previous: Some(previous),
        ..entry.clone()
    };
    let with = NewPassword { username: new.username.as_str(), expires: end, fingerprint: mark.as_deref(), armored: &armored };
    let spliced = rotation::begin(&vault.name, vault.text(), &entry.name, with)?;
    let people = people(recipients.len());
    let written = format!("login `{name}` has its new password in {}, sealed for {people}; the old one is kept there as `previous`", vault.name);
    let ended = carry_out(&mut opener, inventory, Change { new, vault, spliced, written }, &args.run, ("start", Some(1)), verbose).await?;
    if let Ended::Run(code) = ended
        && !args.run.check
    {
        let (status, finish) = (line("status", &args.run), line("finish", &args.run));
        let done = format!("`{status}` tells who has the old password still; when nobody has, type `{finish}`");
        way_on(code, &args.run, &done, &format!(", `{status}` tells how far it is, `{}` takes it back", line("undo", &args.run)));
    }
    Ok(ended.code())
}

/// Takes a rotation back and returns the exit code, as [`start`] does. The old password is shown to its registry too: it may be revoked by now.
pub async fn undo(args: &RotateRunArgs, verbose: u8) -> Result<u8> {
    let mut opener = opener(args)?;
    let inventory = opener.inventory(&args.inventory, args.vault.allow_plaintext, true)?;
    let entry = login(&inventory, &args.login)?.clone();
    let name = escape(&entry.name);
    let new = under_way(&entry)?;
    let vault = VaultFile::of(&entry)?;
    let spliced = rotation::undo(&vault.name, vault.text(), &entry.name)?;
    let written = format!("login `{name}` has its old password again in {}; the new one is gone from there", vault.name);
    let ended = carry_out(&mut opener, inventory, Change { new, vault, spliced, written }, args, ("undo", None), verbose).await?;
    if let Ended::Run(code) = ended
        && !args.check
    {
        way_on(code, args, "the new password is dropped: revoke it at the registry", "");
    }
    Ok(ended.code())
}

fn opener(args: &RotateRunArgs) -> Result<Opener> {
    Ok(Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands))
}

/// The login of this name.
pub(super) fn login<'a>(inventory: &'a Inventory, name: &str) -> Result<&'a LoginEntry> {
    inventory.logins.iter().find(|l| l.name == name).ok_or_else(|| {
        let there: Vec<&str> = inventory.logins.iter().map(|l| l.name.as_str()).collect();
        let hint = if there.is_empty() { "the inventory has none".to_string() } else { format!("the logins are {}", there.join(", ")) };
        Error::usage(format!("there is no login `{}`", escape(name))).hint(hint)
    })
}

/// The login as it was before its rotation.
pub(super) fn under_way(entry: &LoginEntry) -> Result<LoginEntry> {
    entry.before_rotation().ok_or_else(|| {
        Error::usage(format!("{}: no rotation of login `{}` is under way", entry.place, escape(&entry.name))).hint("`regprov rotate start` begins one")
    })
}

/// The command that does this with the login, ready to type.
fn line(verb: &str, args: &RotateRunArgs) -> String {
    format!("regprov rotate {verb} {} {}", shell_word(&args.inventory.display().to_string()), shell_word(&escape(&args.login)))
}

/// Tells what comes next: `done` when the run went well, else how to go on, and what `or_else`.
fn way_on(code: u8, args: &RotateRunArgs, done: &str, or_else: &str) {
    let inventory = shell_word(&args.inventory.display().to_string());
    match code {
        0 | 10 => ui::note(done),
        _ => ui::warning(&format!("the vault is changed, and not all hosts are: `regprov apply {inventory} --resume` goes on{or_else}")),
    }
}

/// What becomes of a login.
struct Change {
    /// It, as it will be.
    new: LoginEntry,
    /// Where it stands.
    vault: VaultFile,
    /// That file's text with it.
    spliced: String,
    /// What is told when that is written.
    written: String,
}

/// How it ended.
#[derive(Clone, Copy)]
enum Ended {
    /// Before anything was written.
    Before(u8),
    /// With a run.
    Run(u8),
}

impl Ended {
    fn code(self) -> u8 {
        match self {
            Ended::Before(code) | Ended::Run(code) => code,
        }
    }
}

/// Finds all that is wrong with the input, shows the password to its registry, writes the vault, and goes to the hosts. `how` is the verb, and
/// its canary where the flags name none.
async fn carry_out(
    opener: &mut Opener,
    mut inventory: Inventory,
    change: Change,
    args: &RotateRunArgs,
    how: (&str, Option<u32>),
    verbose: u8,
) -> Result<Ended> {
    let Change { new, vault, spliced, written } = change;
    let apply = apply_args(args, &new.name, how.1);
    let clusters = Clusters::of(&mut inventory, &apply.clusters, &apply.ssh.timeouts).await?;
    let chosen = narrow(opener.limit(&inventory, args.limit.as_deref())?, apply.clusters.only);
    let selection = Selection { logins: apply.what.logins.clone(), targets: Vec::new() };
    inventory::select(&mut inventory, &selection.logins, &selection.targets)?;
    for login in inventory.logins.iter_mut().filter(|l| l.name == new.name) {
        *login = new.clone();
    }
    let mut ready = Ready::new(opener, inventory, clusters, &chosen, selection, &apply).await?;
    if let Some(code) = ready.verify_first(&apply).await? {
        ui::note(&format!("{} was not changed", vault.name));
        return Ok(Ended::Before(code));
    }
    if !args.check {
        vault.write(&spliced)?;
        ui::note(&written);
    }
    let words = words_of_apply(std::env::args_os().skip(1), how.0);
    Ok(Ended::Run(ready.run(&apply, verbose, words.into_iter()).await?))
}

/// The run as `apply` would have it. The password has to be proven: who goes without that says so.
fn apply_args(args: &RotateRunArgs, login: &str, canary: Option<u32>) -> ApplyArgs {
    ApplyArgs {
        inventory: args.inventory.clone(),
        what: WhatArgs {
            limit: args.limit.clone(),
            resume: false,
            logins: vec![login.to_string()],
            targets: Vec::new(),
            check: args.check,
            replace_invalid: args.replace_invalid,
            drop_bad_entries: args.drop_bad_entries,
            allow_expired: false,
            prune: false,
            pull_test: args.pull_test.clone(),
        },
        run: RunArgs { canary: args.pace.canary.or(canary), ..args.pace.clone() },
        verify: ApplyVerifyArgs { verify: Some(if args.no_verify { VerifyMode::Off } else { VerifyMode::Required }), cas: args.cas.clone() },
        ssh: args.ssh.clone(),
        clusters: args.clusters.clone(),
        secrets: SecretArgs::default(),
        sources: args.sources.clone(),
        vault: args.vault.clone(),
        output: args.output.clone(),
    }
}

/// The words of an `apply` that goes on with this run: those of this command, without what only it knows.
fn words_of_apply(words: impl Iterator<Item = OsString>, verb: &str) -> Vec<OsString> {
    const OWN: [&str; 4] = ["username", "expires", "no-verify", "check"];
    let cli = Cli::command();
    let flags: Vec<_> = cli.find_subcommand("rotate").and_then(|c| c.find_subcommand(verb)).into_iter().flat_map(clap::Command::get_arguments).collect();
    let mut out = Vec::new();
    let mut positionals = ["apply", "", "INVENTORY", ""].into_iter();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.to_str().and_then(|w| w.strip_prefix('-')) else {
            match positionals.next() {
                Some("") => {}
                Some("apply") => out.push("apply".into()),
                _ => out.push(word),
            }
            continue;
        };
        let (name, has_value) = flag.trim_start_matches('-').split_once('=').map_or((flag.trim_start_matches('-'), false), |(name, _)| (name, true));
        let takes_value = flags.iter().any(|f| f.get_long() == Some(name) && f.get_action().takes_values()) && !has_value;
        let value = if takes_value { words.next() } else { None };
        if !OWN.contains(&name) {
            out.push(word);
            out.extend(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_is_gone_on_with_by_apply() {
        #[track_caller]
        fn check(line: &str, want: &str) {
            let words = line.split(' ').skip(1).map(OsString::from);
            let got: Vec<String> = words_of_apply(words, "start").into_iter().map(|w| w.into_string().unwrap()).collect();
            assert_eq!(got.join(" "), want);
        }
        check("regprov rotate start i.yml ngc", "apply i.yml");
        check("regprov -v rotate start --username robot --no-verify i.yml --ssh-key ngc ngc -K", "-v apply i.yml --ssh-key ngc -K");
        check(
            "regprov rotate start --expires=2027-03-01 i.yml --batch=1,10% --canary 2 --forks 9 ngc --json",
            "apply i.yml --batch=1,10% --canary 2 --forks 9 --json",
        );
        check("regprov rotate start i.yml -vv ngc --expires 2027-03-01 --limit gpu1", "apply i.yml -vv --limit gpu1");
    }
}
