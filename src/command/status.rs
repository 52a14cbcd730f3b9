//! `regprov status`: what differs on the nodes and in the namespaces. Writes nothing there, and opens no password unless it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::apply::{forks, some, with_flags};
use super::audit::AuditKeySources;
use super::become_password::become_password;
use super::clusters::{self, Clusters};
use super::load::{Opener, now};
use super::namespaces::{Notes, add_those_that_left, looks};
use super::reach::{Purpose, reach};
use super::watch::{Watched, watch};
use crate::cli::{AuditArgs, SshArgs, StatusArgs};
use crate::error::{Error, Result};
use crate::format::MergeOptions;
use crate::inventory::{self, Inventory};
use crate::model::ping::Unseen;
use crate::model::status::{FindingKind, StatusEvent, StatusRow};
use crate::model::{Fingerprint, Host, Login, LoginEntry, Namespace, PasswordText, Secret};
use crate::node::Program;
use crate::push::status::{Previous, SamePassword, Status, before, status_all};
use crate::push::{Logins, Push, PushOptions};
use crate::transport::Connector;
use crate::transport::local::Local;
use crate::transport::reach::Reach;
use crate::ui;
use crate::vault::AuditKey;

/// Looks at the hosts' files and the namespaces' Secrets, prints what differs, and returns the exit code: 10 where something does. Nothing is written, so a signal ends
/// it at once, with what is known by then.
pub async fn status(args: &StatusArgs, verbose: u8) -> Result<u8> {
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    // Plain and expired logins do no harm here; the latter are told on their rows.
    let mut inventory = opener.inventory(&args.inventory, true, true)?;
    let mut clusters = Clusters::of(&mut inventory, &args.clusters, &args.ssh.timeouts).await?;
    let whole = args.logins.is_empty() && args.targets.is_empty();
    if whole {
        add_those_that_left(&mut inventory, &mut clusters, args.limit.as_deref()).await;
    }
    let chosen = clusters::narrow(opener.limit(&inventory, args.limit.as_deref())?, args.clusters.only);
    let inventory_id = inventory.id.clone();
    // What gets nothing any more may still hold something.
    let bare = whole && inventory_id.is_some();
    let mut hosts = with_flags(&inventory, &chosen.hosts, &args.ssh, bare)?;
    if !whole {
        inventory::select(&mut inventory, &args.logins, &args.targets)?;
        // The targets as a whole, since the logins that were not chosen are no strangers there.
        let chosen = with_flags(&inventory, &chosen.hosts, &args.ssh, false)?;
        hosts.retain_mut(|host| {
            let targets = chosen.iter().find(|c| c.name == host.name).map(|c| &c.targets[..]).unwrap_or_default();
            host.targets.retain(|t| targets.iter().any(|c| (c.kind, &c.user, &c.path) == (t.kind, &t.user, &t.path)));
            !host.targets.is_empty()
        });
    }
    let namespaces = clusters::targeted(&inventory, &chosen.namespaces, bare);
    if namespaces.is_empty() {
        some(&hosts)?;
    }
    let used = inventory::used(&hosts, &namespaces);
    let entries: Vec<&LoginEntry> = inventory.logins.iter().filter(|entry| used.contains(entry.name.as_str())).collect();
    let is_chosen = |name: &str| args.logins.is_empty() || args.logins.iter().any(|l| l == name);
    let (logins, same) = comparison(&mut opener, &entries, &is_chosen, &args.audit, args.vault.identity.is_given())?;
    let narrowed = |mut row: StatusRow| {
        for files in row.result.iter_mut().filter(|_| !whole) {
            // Targets that were not chosen are not gone.
            files.retain(|f| !f.logins.is_empty() || f.findings.iter().any(|f| f.kind != FindingKind::LeftOver) || f.findings.is_empty());
            files.iter_mut().for_each(|file| file.logins.retain(|l| is_chosen(&l.login)));
        }
        row
    };
    let wanted = Wanted { hosts, namespaces, logins, same, previous: Previous::default(), inventory_id, left_over: whole };
    let looked = look(&mut opener, &inventory, &clusters, wanted, (&args.ssh, args.vault.allow_plaintext), verbose, narrowed).await?;
    let text = if args.json { ui::status::json(&looked.rows) } else { ui::status::text(&looked.rows) };
    ui::out(&text).map_err(|e| Error::internal(format!("the status cannot be written to stdout: {e}")))?;
    Ok(looked.exit_code(looked.rows.iter().any(|r| r.outcome() == "drift")))
}

/// What is looked at, and what it is compared with.
pub(super) struct Wanted {
    pub(super) hosts: Vec<Host>,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) logins: Logins,
    pub(super) same: Box<SamePassword>,
    pub(super) previous: Previous,
    pub(super) inventory_id: Option<String>,
    /// Whether namespaces are searched for what is left over.
    pub(super) left_over: bool,
}

/// What was seen.
pub(super) struct Looked {
    /// A row for each host and then for each namespace, in their order.
    pub(super) rows: Vec<StatusRow>,
    interrupted: Option<u8>,
    halted: bool,
}

impl Looked {
    /// Of hosts that nobody had to look at.
    pub(super) fn nothing() -> Looked {
        Looked { rows: Vec::new(), interrupted: None, halted: false }
    }

    /// The exit code, in the order of the README's table; 10 where something `differs`.
    pub(super) fn exit_code(&self, differs: bool) -> u8 {
        let any = |outcome| self.rows.iter().any(|r| r.outcome() == outcome);
        match self.interrupted {
            Some(code) => code,
            None if self.halted => 7,
            None if any("failed") => 3,
            None if any("unreachable") => 4,
            None if differs => 10,
            None => 0,
        }
    }
}

/// Looks at hosts and namespaces, and draws it. `ssh` is how they are reached, and whether a plain password of sudo is taken; each row is `narrowed` before
/// anybody sees it.
pub(super) async fn look(
    opener: &mut Opener,
    inventory: &Inventory,
    clusters: &Clusters,
    wanted: Wanted,
    ssh: (&SshArgs, bool),
    verbose: u8,
    narrowed: impl Fn(StatusRow) -> StatusRow,
) -> Result<Looked> {
    let Wanted { hosts, namespaces, logins, same, previous, inventory_id, left_over } = wanted;
    let (args, allow_plaintext) = ssh;
    let become_password = become_password(opener, inventory, &hosts, args.ask_become_pass, allow_plaintext)?;
    let (ssh, files_each) = reach(&hosts, &inventory.hosts, args, Purpose::LogIn).await?;
    let options = PushOptions {
        forks: forks(args.forks, files_each),
        pace: Default::default(),
        check: true,
        // Backups beside the files are looked for.
        merge: MergeOptions { replace_invalid: true, drop_bad_entries: false },
        inventory_id: inventory_id.clone().unwrap_or_default(),
        pull_test: None,
        command: Duration::from_secs(args.timeouts.command_timeout),
        host: Duration::from_secs(args.timeouts.host_timeout),
    };
    let connector = Reach { ssh, local: Local::default(), become_password, program: Program::Files };
    let status = Arc::new(Status { push: Push { connector, logins, options }, same, previous, inventory_id, now: now() });
    let notes = Notes::default();
    let others = looks(clusters, namespaces, &status, left_over, status.push.options.host, &notes);
    let stopped = "stopped by a signal";
    let of_others = others.iter().map(|o| StatusRow { host: o.name.clone(), result: Err(Unseen::NotAttempted(stopped.to_string())) });
    let mut so_far: Vec<StatusRow> = hosts.iter().map(|h| before(h, stopped)).chain(of_others).collect();
    let mut progress = ui::progress::Progress::new(so_far.iter().map(|row| row.host.clone()).collect(), verbose > 0, false);
    let (sender, events) = mpsc::unbounded_channel();
    let ended = watch(status_all(status.clone(), hosts, others, sender), events, |event| match event {
        StatusEvent::Started(index) => progress.started(index),
        StatusEvent::Ended(index, row) => {
            let row = narrowed(row);
            let in_trouble = matches!(row.outcome(), "failed" | "unreachable");
            progress.ended(index, row.outcome(), in_trouble, || ui::status::host_line(&row));
            so_far[index] = row;
        }
    });
    let ended = ended.await?;
    progress.finish();
    notes.tell();
    let halted = status.push.connector.halted().is_some();
    Ok(match ended {
        Watched::Done(rows) => Looked { rows: rows.into_iter().map(narrowed).collect(), interrupted: None, halted },
        Watched::Interrupted(code) => Looked { rows: so_far, interrupted: Some(code), halted },
    })
}

/// The logins, and what compares a node's password with those of the chosen ones: with the audit key by their fingerprints, with `identity` by opening them.
/// What cannot be compared is told once, here. A password in the clear is always compared.
pub(super) fn comparison(
    opener: &mut Opener,
    entries: &[&LoginEntry],
    is_chosen: &dyn Fn(&str) -> bool,
    audit: &AuditArgs,
    identity: bool,
) -> Result<(BTreeMap<String, Login>, Box<SamePassword>)> {
    let mut logins: BTreeMap<String, Login> = BTreeMap::new();
    let mut known: BTreeMap<String, Fingerprint> = BTreeMap::new();
    let given = match entries.iter().any(|e| is_chosen(&e.name)) {
        true => AuditKeySources::of_process(audit.audit_key.as_deref()).load()?,
        false => None,
    };
    // What is opened here is held as a fingerprint too, under a key of this run: one comparison for all, in constant time.
    let own = AuditKey::generate();
    let (mut foreign, mut without, mut dynamic) = (Vec::new(), Vec::new(), Vec::new());
    let mut to_open: Vec<&LoginEntry> = Vec::new();
    for &entry in entries {
        match (&entry.fingerprint, &given) {
            _ if !is_chosen(&entry.name) => {}
            // It may be another one each time.
            _ if entry.password.dynamic().is_some() => dynamic.push(entry.name.as_str()),
            _ if identity || matches!(entry.password, PasswordText::Plain(_)) => to_open.push(entry),
            (Some(fingerprint), Some((key, path))) if fingerprint.key_id() != key.id() => {
                foreign.push(format!(
                    "{}: the fingerprint of login `{}` was made with the audit key {}, and {} is {}",
                    entry.place,
                    entry.name,
                    fingerprint.key_id(),
                    path.display(),
                    key.id()
                ));
            }
            (Some(fingerprint), Some(_)) => drop(known.insert(entry.name.clone(), fingerprint.clone())),
            _ => without.push(entry.name.as_str()),
        }
        let login = Login {
            name: entry.name.clone(),
            registry: entry.registry.clone(),
            username: entry.username.clone(),
            password: Secret::new("-".to_string()),
            auth_hosts: entry.password.dynamic().map(|d| d.auth_hosts.clone()).unwrap_or_default(),
            expires: entry.expires.clone(),
        };
        logins.insert(entry.name.clone(), login);
    }
    if !foreign.is_empty() {
        return Err(Error::vault(foreign.join("\n")).hint("give the key they were made with, or make them anew with `regprov vault fingerprint VAULT`"));
    }
    let mut opened: BTreeMap<String, Fingerprint> = BTreeMap::new();
    for login in opener.logins(&to_open, true)? {
        opened.insert(login.name.clone(), own.fingerprint(&login.registry, &login.username, &login.password));
        // Its auth hosts are known now too; its password goes no further.
        let known = Login { password: Secret::new("-".to_string()), ..login };
        logins.insert(known.name.clone(), known);
    }
    if !without.is_empty() {
        let why = match given {
            Some(_) => "they have no fingerprint; `regprov vault fingerprint VAULT` writes it",
            None => "give --audit-key or --identity",
        };
        ui::warning(&format!("passwords were not compared for {}: {why}", without.join(", ")));
    }
    if !dynamic.is_empty() {
        ui::warning(&format!("passwords were not compared for {}: they come anew for each run", dynamic.join(", ")));
    }
    let accounts: BTreeMap<String, _> = logins.values().map(|l| (l.name.clone(), (l.registry.clone(), l.username.clone()))).collect();
    let same = move |name: &str, password: &Secret| {
        let (registry, username) = accounts.get(name)?;
        match (opened.get(name), known.get(name), &given) {
            (Some(fingerprint), ..) => Some(own.is(fingerprint, registry, username, password)),
            (None, Some(fingerprint), Some((key, _))) => Some(key.is(fingerprint, registry, username, password)),
            _ => None,
        }
    };
    Ok((logins, Box::new(same)))
}
