//! Taking out of one namespace what this inventory wrote there, and nothing else: the names that regprov appended to service accounts, then
//! the Secrets. In this order, since a service account that names no Secret is harmless, and a Secret that is still there keeps the record of
//! what was appended: a run that is cut off is just repeated.
//!
//! What is ours is what says so itself: our label, and the annotation with the inventory's `id:`. What others manage in it stays.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::sleep;
use zeroize::Zeroizing;

use super::answer::Refusal;
use super::apply::{ATTEMPTS_MAX, Done, Options, Run, Wanted, before, jitter};
use super::leftover;
use super::secret::Found;
use super::service_account::Account;
use super::{Cluster, Method, Need, Trouble};
use crate::format::kubernetes::entries;
use crate::format::{Entry, FileSpec, NodeFacts, Removal, SamePassword, consumer};
use crate::model::kubernetes::{APPENDED_TO, MANAGER, SECRET_KEY, SECRET_TYPE, TARGET};
use crate::model::registry::without_user;
use crate::model::text::sanitize;
use crate::model::{Change, FileMode, FileRow, HostRow, Login, Namespace, Outcome, RemotePath, Stage, TargetKind};

/// Which of what this inventory wrote is meant.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    /// Names of logins; none means all.
    pub logins: &'a [String],
    /// The logins of the inventory, by name. Their passwords are not looked at and may be any.
    pub known: &'a BTreeMap<String, Login>,
    /// Keeps entries whose password is another one than the vault's.
    pub same: Option<&'a SamePassword>,
}

/// Takes out of a namespace what is selected, and tells what became of each object. `sent` is called before the first request that writes something.
pub async fn remove(cluster: &Cluster, namespace: &Namespace, inventory_id: &str, selection: Selection<'_>, check: bool, sent: &(dyn Fn() + Sync)) -> HostRow {
    let mut row = before(namespace, Outcome::Unchanged);
    let wanted = empty(namespace, inventory_id, check);
    let mut taking = Taking::new(cluster, &wanted, sent, &mut row);
    let ended = taking.remove(selection).await;
    taking.end(ended)
}

/// Takes away what this inventory wrote and does not want there any more: Secrets, and the names of Secrets in service accounts. `row` is how the
/// namespace was [brought](super::apply::bring) to what is wanted; where that did not succeed nothing is taken away.
pub async fn prune(cluster: &Cluster, namespace: &Namespace, inventory_id: &str, check: bool, sent: &(dyn Fn() + Sync), mut row: HostRow) -> HostRow {
    if !matches!(row.outcome, Outcome::Unchanged | Outcome::Changed) {
        return row;
    }
    let wanted = empty(namespace, inventory_id, check);
    let mut taking = Taking::new(cluster, &wanted, sent, &mut row);
    let ended = taking.prune().await;
    taking.end(ended)
}

/// The namespace, without anything that would be written.
fn empty(namespace: &Namespace, inventory_id: &str, check: bool) -> Wanted {
    let options = Options { check, ..Options::default() };
    Wanted { namespace: namespace.clone(), documents: BTreeMap::new(), inventory_id: inventory_id.to_string(), options }
}

/// What becomes of a Secret.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It stays as it is.
    Stay,
    /// It goes.
    Go,
    /// It is applied anew, without the entries that go.
    Less(Zeroizing<Vec<u8>>),
    /// Others manage data in it too: the object stays, and what is ours in it goes.
    GiveUp {
        /// The logins are ours alone. Their key has to stay, as the type demands it, and holds no login then.
        emptied: bool,
    },
}

/// That, and what is told of it.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    fate: Fate,
    /// What stays although it was meant, and why.
    reasons: Vec<String>,
    diff: Vec<String>,
}

impl Decision {
    fn stay(reasons: Vec<String>) -> Self {
        Decision { fate: Fate::Stay, reasons, diff: Vec::new() }
    }
}

/// What becomes of a Secret that is there. `Err` says why nothing can be taken out of it.
fn decide(found: &Found, id: &str, selection: Selection<'_>) -> Result<Decision, String> {
    match found.inventory() {
        Some(of) if of == id => {}
        Some(of) => return Ok(Decision::stay(vec![format!("left alone: it is that of inventory {}", sanitize(of))])),
        None => return Ok(Decision::stay(vec!["left alone: regprov did not write it".to_string()])),
    }
    // A label and an annotation are written by anybody who may write the Secret; who owns which field is written by the API server.
    if !found.has_ours() {
        let why = "left alone: by its label and annotation it is regprov's, but no server-side apply of regprov owns anything of it; delete it by hand";
        return Ok(Decision::stay(vec![why.to_string()]));
    }
    if found.kind != SECRET_TYPE {
        return Ok(Decision::stay(vec![format!("left alone: it is of type {}, which regprov does not write", sanitize(&found.kind))]));
    }
    if let Some(why) = found.going() {
        return Err(why);
    }
    let is_ours = found.is_ours(&["data", SECRET_KEY]);
    let others = found.others_within("data").join(", ");
    let document = found.document();
    let read = document.as_ref().map_or_else(|| Ok(Vec::new()), |document| entries(document));
    let line = |key: &str| format!("- auths \"{}\"", sanitize(&without_user(key)));
    if selection.logins.is_empty() && selection.same.is_none() {
        let mut diff: Vec<String> = read.unwrap_or_default().iter().map(|e| line(&e.key)).collect();
        if others.is_empty() && is_ours {
            return Ok(Decision { fate: Fate::Go, reasons: Vec::new(), diff });
        }
        let emptied = is_ours && found.others(&["data", SECRET_KEY]).is_empty();
        if emptied && found.is_immutable() {
            return Err(format!("is immutable (`immutable: true`), and {others} manages other data in it; take it out by hand"));
        }
        let reason = match emptied {
            true => format!("kept: other data in it is managed by {others}; its logins go, and what regprov wrote beside them"),
            false if !is_ours => "kept: its logins are not managed by regprov; what regprov wrote beside them goes".to_string(),
            false => format!("kept: its logins are managed by {others} too; what regprov wrote beside them goes"),
        };
        if !emptied {
            diff = vec![format!("- field manager {MANAGER}")];
        }
        return Ok(Decision { fate: Fate::GiveUp { emptied }, reasons: vec![reason], diff });
    }
    let read = read.map_err(|why| format!("{why}; its logins cannot be told apart, so take it out as a whole, without --login and --same-password"))?;
    let (mut gone, mut reasons) = (Vec::new(), Vec::new());
    for entry in &read {
        match meant(entry, selection) {
            Meant::No => {}
            Meant::Goes => gone.push(entry.key.clone()),
            Meant::Stays(why) => reasons.push(format!("kept: {}: {why}", sanitize(&without_user(&entry.key)))),
        }
    }
    if gone.is_empty() {
        return Ok(Decision::stay(reasons));
    }
    if !is_ours {
        reasons.push("kept: its logins are not managed by regprov".to_string());
        return Ok(Decision::stay(reasons));
    }
    if !others.is_empty() {
        reasons.push(format!("kept: its data is managed by {others} too"));
        return Ok(Decision::stay(reasons));
    }
    let diff = gone.iter().map(|key| line(key)).collect();
    let document = document.unwrap_or_default();
    let less = if gone.len() == read.len() { None } else { without(&document, &gone)? };
    match less {
        Some(_) if found.is_immutable() => Err("is immutable (`immutable: true`): take it out as a whole, without --login and --same-password".to_string()),
        Some(less) => Ok(Decision { fate: Fate::Less(less), reasons, diff }),
        None => Ok(Decision { fate: Fate::Go, reasons, diff }),
    }
}

/// Whether an entry is one of those that go.
enum Meant {
    No,
    Goes,
    Stays(String),
}

fn meant(entry: &Entry, selection: Selection<'_>) -> Meant {
    let kubelet = consumer(TargetKind::Kubelet);
    let is_of = |login: &&Login| (kubelet.keys)(&login.registry, &login.auth_hosts).contains(&entry.key) || (kubelet.is_alias)(&entry.key, &login.registry);
    let selected: Vec<&Login> = selection.known.values().filter(|l| selection.logins.is_empty() || selection.logins.contains(&l.name)).filter(is_of).collect();
    if !selection.logins.is_empty() && selected.is_empty() {
        return Meant::No;
    }
    let account = entry.login.as_ref();
    let login = selected.into_iter().find(|l| account.is_some_and(|a| a.username == l.username.as_str()));
    match (login, account, selection.same) {
        (None, ..) if !selection.logins.is_empty() => Meant::Stays("changed by others: another account".to_string()),
        (None, ..) | (_, None, _) => Meant::Stays("its password could not be compared".to_string()),
        (Some(_), Some(_), None) => Meant::Goes,
        (Some(login), Some(account), Some(same)) => match same(&login.name, &account.password) {
            Some(true) => Meant::Goes,
            Some(false) => Meant::Stays("its password is not the vault's".to_string()),
            None => Meant::Stays("its password could not be compared".to_string()),
        },
    }
}

/// The document without the entries of these keys; `None` when nothing is left.
fn without(document: &[u8], gone: &[String]) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let path = RemotePath::parse("/secret").expect("it is absolute");
    let (mode, dir_mode) = (FileMode::secret(0o600).expect("it is for the owner alone"), FileMode::public(0o700));
    let spec = FileSpec { part: "", path, mode, secret: true, at_start: false, dir_mode };
    let removed = (consumer(TargetKind::Kubelet).remove)(&Removal { spec: &spec, existing: document, gone, facts: &NodeFacts::default() })?;
    Ok(removed.content)
}

/// One namespace's turn.
struct Taking<'a> {
    run: Run<'a>,
    wanted: &'a Wanted,
    row: &'a mut HostRow,
    /// The stage of the first failure.
    failed: Option<Stage>,
}

impl<'a> Taking<'a> {
    fn new(cluster: &'a Cluster, wanted: &'a Wanted, sent: &'a (dyn Fn() + Sync), row: &'a mut HostRow) -> Self {
        let mut run = Run::new(cluster, wanted);
        run.sent = Some(sent);
        Taking { run, wanted, row, failed: None }
    }

    fn end(self, ended: Result<(), Trouble>) -> HostRow {
        let Taking { row, failed, .. } = self;
        let first = row.files.iter().find(|f| f.change == Change::Failed).map(|f| format!("{}: {}", f.path, f.reason.as_deref().unwrap_or_default()));
        row.outcome = match (ended, first) {
            (Err(trouble), _) => trouble.into(),
            (Ok(()), Some(reason)) => Outcome::Failed { stage: failed.unwrap_or(Stage::Replace), reason },
            (Ok(()), None) if row.files.iter().any(|f| f.change.is_change()) => Outcome::Changed,
            (Ok(()), None) => Outcome::Unchanged,
        };
        row.clone()
    }

    async fn remove(&mut self, selection: Selection<'_>) -> Result<(), Trouble> {
        let mut names: Vec<String> = self.wanted.namespace.secrets.iter().map(|s| s.name.clone()).collect();
        let left = self.left_over(&names).await?;
        names.extend(left);
        let mut found = BTreeMap::new();
        self.may(names.iter().map(|name| Need::secret("get", name)).collect()).await?;
        for name in &names {
            found.insert(name.clone(), self.secret(name).await?);
        }
        let id = self.wanted.inventory_id.as_str();
        self.may_take(&found, id, selection).await?;
        for name in names {
            let there = found.remove(&name).flatten();
            self.take(&name, there, selection).await?;
        }
        // What no Secret's record names was not ours to take out.
        for file in self.row.files.iter_mut().filter(|f| f.change == Change::NotAttempted) {
            file.change = Change::Unchanged;
        }
        Ok(())
    }

    async fn prune(&mut self) -> Result<(), Trouble> {
        let known = BTreeMap::new();
        let everything = Selection { logins: &[], known: &known, same: None };
        let id = self.wanted.inventory_id.as_str();
        let wanted: Vec<String> = self.wanted.namespace.secrets.iter().map(|s| s.name.clone()).collect();
        // Those that are wanted may have been appended to service accounts that are not wanted any more.
        self.may(wanted.iter().map(|name| Need::secret("get", name)).collect()).await?;
        let mut too_many = Vec::new();
        for secret in &self.wanted.namespace.secrets {
            let Some(found) = self.secret(&secret.name).await?.filter(|f| f.inventory() == Some(id) && f.has_ours()) else { continue };
            let gone: Vec<String> = found.appended_to().into_iter().filter(|account| !secret.service_accounts.contains(account)).collect();
            if !gone.is_empty() {
                too_many.push((secret.name.clone(), found, gone));
            }
        }
        let left = self.left_over(&wanted).await?;
        self.may(left.iter().map(|name| Need::secret("get", name)).collect()).await?;
        let mut found = BTreeMap::new();
        for name in &left {
            found.insert(name.clone(), self.secret(name).await?);
        }
        let mut needs: Vec<Need> = too_many.iter().map(|(name, ..)| Need::secret("patch", name)).collect();
        needs.extend(too_many.iter().flat_map(|(.., gone)| gone).flat_map(|account| ["get", "update"].map(|verb| Need::service_account(verb, account))));
        self.may(needs).await?;
        self.may_take(&found, id, everything).await?;
        for (name, found, gone) in too_many {
            self.forget(&name, found, &gone).await?;
        }
        for name in left {
            let there = found.remove(&name).flatten();
            self.take(&name, there, everything).await?;
        }
        Ok(())
    }

    /// The Secrets of this inventory that are there beside those `named`; where we may not list them, that is told.
    async fn left_over(&mut self, named: &[String]) -> Result<Vec<String>, Trouble> {
        let namespace = self.wanted.namespace.name().unwrap_or_default();
        match leftover::in_namespace(self.run.cluster, namespace, &self.wanted.inventory_id).await? {
            Ok(there) => Ok(there.into_iter().map(|left| left.name).filter(|name| !named.contains(name)).collect()),
            Err(why) => {
                self.row.notes.push(format!("Secrets that are left over were not looked for: {why}"));
                Ok(Vec::new())
            }
        }
    }

    async fn secret(&mut self, name: &str) -> Result<Option<Found>, Trouble> {
        let found = self.run.secret(name).await?;
        if let Some(found) = &found {
            self.run.redaction.of_found(found);
        }
        Ok(found)
    }

    async fn may(&self, needs: Vec<Need>) -> Result<(), Trouble> {
        match self.run.cluster.missing_right(self.run.namespace, &needs).await? {
            Some(why) => Err(Trouble::Failed(Stage::Rights, why)),
            None => Ok(()),
        }
    }

    /// Demands the rights for what becomes of these Secrets, before anything is written.
    async fn may_take(&self, found: &BTreeMap<String, Option<Found>>, id: &str, selection: Selection<'_>) -> Result<(), Trouble> {
        let mut needs = Vec::new();
        for (name, found) in found {
            let Some(found) = found else { continue };
            let verb = match decide(found, id, selection).map(|decision| decision.fate) {
                Err(_) | Ok(Fate::Stay) => continue,
                Ok(Fate::Less(_)) => {
                    needs.push(Need::secret("patch", name));
                    continue;
                }
                Ok(Fate::Go) => "delete",
                Ok(Fate::GiveUp { .. }) => "patch",
            };
            needs.push(Need::secret(verb, name));
            needs.extend(found.appended_to().iter().flat_map(|account| ["get", "update"].map(|verb| Need::service_account(verb, account))));
        }
        self.may(needs).await
    }

    /// Takes one Secret out, as far as it is meant.
    async fn take(&mut self, name: &str, mut found: Option<Found>, selection: Selection<'_>) -> Result<(), Trouble> {
        let path = format!("secret/{name}");
        // What a first attempt found to do, when a later one finds it done.
        let mut told: Option<Done> = None;
        for attempt in 1.. {
            let Some(there) = &found else {
                let done = told.unwrap_or_else(|| Done::of(Change::Unchanged));
                self.tell(path, done);
                return Ok(());
            };
            let Decision { fate, reasons, diff } = match decide(there, &self.wanted.inventory_id, selection) {
                Ok(decision) => decision,
                Err(why) => {
                    self.tell(path, Done::failed(Stage::Observe, why));
                    return Ok(());
                }
            };
            let change = match fate {
                Fate::Stay => {
                    self.tell(path, Done { reasons, ..told.unwrap_or_else(|| Done::of(Change::Unchanged)) });
                    return Ok(());
                }
                Fate::Go => Change::Removed,
                Fate::Less(_) => Change::Updated,
                Fate::GiveUp { emptied: true } => Change::Updated,
                Fate::GiveUp { emptied: false } => Change::Metadata,
            };
            if !matches!(fate, Fate::Less(_)) && !self.drop_from_all(name, &there.appended_to()).await? {
                let why = "stays, since a service account could not be changed that regprov made name it".to_string();
                self.tell(path, Done::failed(Stage::Replace, why));
                return Ok(());
            }
            told = Some(Done { reasons, diff, ..Done::of(change) });
            let written = match fate {
                Fate::Go => self.run.delete_secret(name, Some(there)).await?,
                Fate::Less(document) => self.apply(name, there.ours_with(name, Some(&document), &there.appended_to())).await?,
                Fate::GiveUp { emptied } => self.apply(name, there.ours_given_up(name, emptied)).await?,
                Fate::Stay => unreachable!("it was told above"),
            };
            match written {
                Ok(()) => break,
                Err(Refusal::Stale | Refusal::NotFound) if attempt < ATTEMPTS_MAX => {
                    sleep(jitter(attempt)).await;
                    found = self.secret(name).await?;
                }
                Err(refusal) => {
                    let done = self.run.failed(refusal)?;
                    self.tell(path, done);
                    return Ok(());
                }
            }
        }
        self.tell(path, told.expect("it was set before the loop was left"));
        Ok(())
    }

    /// Takes the name of a wanted Secret out of service accounts that shall not name it any more, and then out of its record.
    async fn forget(&mut self, name: &str, found: Found, gone: &[String]) -> Result<(), Trouble> {
        let path = format!("secret/{name}");
        let gone: BTreeSet<String> = gone.iter().cloned().collect();
        if !self.drop_from_all(name, &gone).await? {
            return Ok(());
        }
        let mut found = Some(found);
        for attempt in 1.. {
            let Some(there) = &found else { return Ok(()) };
            let left: BTreeSet<String> = there.appended_to().difference(&gone).cloned().collect();
            match self.apply(name, there.ours_with(name, None, &left)).await? {
                Ok(()) => break,
                Err(Refusal::Stale | Refusal::NotFound) if attempt < ATTEMPTS_MAX => {
                    sleep(jitter(attempt)).await;
                    found = self.secret(name).await?.filter(|f| f.inventory() == Some(self.wanted.inventory_id.as_str()));
                }
                Err(refusal) => {
                    let done = self.run.failed(refusal)?;
                    self.tell(path, done);
                    return Ok(());
                }
            }
        }
        self.tell(path, Done { diff: vec![format!("~ annotation {APPENDED_TO}")], ..Done::of(Change::Metadata) });
        Ok(())
    }

    /// Sends what shall be ours of a Secret from now on, and holds what was stored to it.
    async fn apply(&self, name: &str, body: Zeroizing<Vec<u8>>) -> Result<Result<(), Refusal>, Trouble> {
        let path = format!("{}?fieldManager={MANAGER}", self.run.path("secrets", name));
        let sent = Found::parse(&body);
        let request = self.run.change(Method::Patch, path).content("application/apply-patch+yaml", body);
        Ok(self.run.ask(self.run.asked("patch", "secrets", name), &request).await?.and_then(|answer| {
            match (sent, Found::parse(&answer.body)) {
                (Some(sent), Some(stored)) => stored.holds(&sent),
                _ => Err("the API server's answer is no Secret; look at it with `regprov status`".to_string()),
            }
            .map_err(|why| Refusal::Failed(Stage::ReadBack, why))
        }))
    }

    /// Whether none of these service accounts has the Secret from regprov any more.
    async fn drop_from_all(&mut self, secret: &str, accounts: &BTreeSet<String>) -> Result<bool, Trouble> {
        let mut well = true;
        for account in accounts {
            let done = self.drop_from(account, secret).await?;
            well &= done.change != Change::Failed;
            self.tell(format!("serviceaccount/{account}"), done);
        }
        Ok(well)
    }

    async fn drop_from(&self, name: &str, secret: &str) -> Result<Done, Trouble> {
        let mut done = Done::of(Change::Unchanged);
        for attempt in 1.. {
            // Without it there is nothing to take out.
            let Some(account) = self.run.account(name).await?.filter(|a| !a.is_going()) else { break };
            let without = match account.without(secret) {
                Ok(Some(without)) => without,
                Ok(None) => break,
                Err(why) => return Ok(Done::failed(Stage::Observe, why)),
            };
            done = Done { diff: vec![format!("- imagePullSecrets {}", sanitize(secret))], ..Done::of(Change::Updated) };
            let path = format!("{}?fieldManager={MANAGER}", self.run.path("serviceaccounts", name));
            let request = self.run.change(Method::Put, path).content("application/json", Zeroizing::new(without.body()));
            match self.run.ask(self.run.asked("update", "serviceaccounts", name), &request).await? {
                Ok(answer) if Account::parse(&answer.body).is_some_and(|stored| stored.names_as(&without)) => break,
                Ok(_) => {
                    let what = "was stored with other `imagePullSecrets` than were sent: something in the cluster (an admission webhook) changes them";
                    return Ok(Done::failed(Stage::ReadBack, what.to_string()));
                }
                Err(Refusal::Stale | Refusal::NotFound) if attempt < ATTEMPTS_MAX => sleep(jitter(attempt)).await,
                Err(refusal) => return self.run.failed(refusal),
            }
        }
        Ok(done)
    }

    /// Puts into the row what became of an object; what several Secrets come to in one service account is one row.
    fn tell(&mut self, path: String, done: Done) {
        let Done { change, stage, reasons, diff } = done;
        if change == Change::Failed {
            self.failed.get_or_insert(stage);
        }
        let reason = if reasons.is_empty() { None } else { Some(reasons.join("\n")) };
        let path = sanitize(&path);
        match self.row.files.iter_mut().find(|f| f.path == path) {
            Some(file) => {
                let is_more = change == Change::Failed || (file.change != Change::Failed && (change.is_change() || file.change == Change::NotAttempted));
                if is_more {
                    file.change = if file.change.is_change() && change.is_change() { file.change } else { change };
                }
                file.diff.extend(diff);
                file.reason = match (file.reason.take(), reason) {
                    (Some(a), Some(b)) if a != b => Some(format!("{a}\n{b}")),
                    (a, b) => a.or(b),
                };
            }
            None => self.row.files.push(FileRow { target: TARGET, path, change, reason, diff }),
        }
    }
}

#[cfg(test)]
mod tests;
