//! Taking out what the node's record says that this inventory wrote there, and nothing else. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Logins;
use super::decide::{Decision, Open};
use super::job::{Done, Item, Job, NO_TAR_FOR_NUL, What, sha256};
use super::observe::Seen;
use super::same::Place;
use super::status::SamePassword;
use crate::format::owned::{self, Claim, OwnedAccount, Release, Update};
use crate::format::{Entry, Merge, MergeOptions, NodeFacts, Removal, Removed, consumer};
use crate::model::text::sanitize;
use crate::model::{Change, Host, Observed, ObservedFile, RemotePath, Stage, Target, TargetKind};
use crate::plan::{self, Located};

/// What a run does.
#[derive(Default)]
pub enum Task {
    /// Writes what the inventory wants.
    #[default]
    Apply,
    /// Writes it, and takes out what this inventory wrote and does not want there any more.
    Prune,
    /// Takes out what this inventory wrote, as far as it is selected.
    Remove(Selection),
}

/// Which of what this inventory wrote is meant; an empty list means all.
#[derive(Default)]
pub struct Selection {
    /// Names of logins, also of those that the inventory does not have any more.
    pub logins: Vec<String>,
    /// Kinds of targets.
    pub targets: Vec<TargetKind>,
    /// Keeps entries whose password is another one than the vault's.
    pub same: Option<Arc<SamePassword>>,
}

/// A part of a host as it was seen, for a task that takes something out.
pub(super) struct Taker<'a> {
    pub(super) task: &'a Task,
    pub(super) host: &'a Host,
    pub(super) items: &'a [Item<'a>],
    /// The logins of the inventory, by name.
    pub(super) logins: &'a Logins,
    /// What the record says.
    pub(super) claims: &'a [Claim],
    /// Whether enroot's file has no place on the node at present, so that what the record has may be it.
    pub(super) unplaced: bool,
    pub(super) seen: &'a Seen,
}

/// What one claim comes to.
#[derive(Default)]
pub(super) struct Outgoing {
    /// The keys of the entries that go.
    gone: Vec<String>,
    /// What is given up of the claim without a change of the file: it is not there any more, or not ours alone.
    release: BTreeSet<String>,
    /// The file as a whole is given up, or goes.
    whole: bool,
    /// What stays although the record names it, and why.
    pub(super) kept: Vec<String>,
    /// The file without what goes; `None` when nothing does.
    pub(super) removed: Option<Removed>,
    /// Why nothing can be taken out.
    failed: Option<String>,
    /// Whether the task is about this claim at all.
    concerned: bool,
}

impl Outgoing {
    /// Whether something of ours will stand in the file afterwards, as far as is known.
    fn leaves(&self, claim: &Claim) -> bool {
        self.failed.is_some() || claim.accounts.iter().any(|a| !self.gone.contains(&a.key) && !self.release.contains(&a.key))
    }
}

impl Taker<'_> {
    /// What each claim comes to, in their order.
    pub(super) fn outgoing(&self) -> Vec<Outgoing> {
        let mut all: Vec<Outgoing> = self.claims.iter().map(|c| if c.has_entries() { self.entries(c) } else { Outgoing::default() }).collect();
        for (i, claim) in self.claims.iter().enumerate().filter(|(_, c)| !c.has_entries()) {
            let of_same = |other: &Claim| other.spec.secret && (other.kind, &other.of) == (claim.kind, &claim.of);
            let is_needed = self.claims.iter().zip(&all).any(|(other, out)| of_same(other) && out.leaves(other));
            let is_wanted = self.item(claim).is_some() && matches!(self.task, Task::Prune);
            // A file that no login comes with does not go with logins.
            let is_meant = consumer(claim.kind).logins || !matches!(self.task, Task::Remove(Selection { logins, .. }) if !logins.is_empty());
            if !is_needed && !is_wanted && is_meant && self.is_kind_selected(claim.kind) {
                all[i] = self.without_secrets(claim);
            }
        }
        all
    }

    fn item(&self, claim: &Claim) -> Option<&Item<'_>> {
        self.items.iter().find(|item| item.spec.path == claim.spec.path)
    }

    fn is_kind_selected(&self, kind: TargetKind) -> bool {
        match self.task {
            Task::Apply => false,
            Task::Prune => !(self.unplaced && kind == TargetKind::Enroot),
            Task::Remove(selection) => selection.targets.is_empty() || selection.targets.contains(&kind),
        }
    }

    fn is_selected(&self, claim: &Claim, account: &OwnedAccount) -> bool {
        if !self.is_kind_selected(claim.kind) {
            return false;
        }
        match self.task {
            Task::Apply => false,
            Task::Prune => self.item(claim).is_none_or(|item| {
                let mut wanted = item.logins.iter().flat_map(|l| (item.consumer.keys)(&l.registry, &l.auth_hosts));
                let mirror = item.target.mirror.as_ref().map(ToString::to_string);
                mirror.as_ref() != Some(&account.key) && !wanted.any(|key| key == account.key)
            }),
            Task::Remove(Selection { logins, .. }) if logins.is_empty() => true,
            Task::Remove(Selection { logins, .. }) => match &account.login {
                Some(name) => logins.contains(name),
                None => logins.iter().filter_map(|name| self.logins.get(name)).any(|l| l.registry.to_string() == account.registry),
            },
        }
    }

    /// A file of logins.
    fn entries(&self, claim: &Claim) -> Outgoing {
        let mut out = Outgoing::default();
        let selected: Vec<&OwnedAccount> = claim.accounts.iter().filter(|a| self.is_selected(claim, a)).collect();
        out.concerned = !selected.is_empty();
        let release = |out: &mut Outgoing, account: &OwnedAccount| {
            out.release.insert(account.key.clone());
        };
        let (_, observed) = self.located(claim);
        let file = match observed {
            Observed::File(file) => file,
            Observed::Absent => {
                selected.iter().for_each(|account| release(&mut out, account));
                return out;
            }
            Observed::Refused(why) => {
                out.failed = Some(why).filter(|_| out.concerned);
                return out;
            }
        };
        let facts = self.facts();
        let entries = match (consumer(claim.kind).entries)(&claim.spec, &file.content, &facts) {
            Ok(entries) => entries,
            Err(why) => {
                out.failed = Some(format!("{why}; nothing of it was taken out")).filter(|_| out.concerned);
                return out;
            }
        };
        for account in selected {
            let Some(entry) = entries.iter().find(|e| e.key == account.key) else {
                release(&mut out, account);
                continue;
            };
            match self.why_kept(claim, account, entry) {
                None => out.gone.push(account.key.clone()),
                Some((why, is_given_up)) => {
                    out.kept.push(format!("kept: {}: {why}", sanitize(&account.key)));
                    if is_given_up {
                        release(&mut out, account);
                    }
                }
            }
        }
        self.take(claim, &file, &entries, &facts, &mut out);
        out
    }

    /// Why an entry stays although the record names it, and whether the record then forgets it.
    fn why_kept(&self, claim: &Claim, account: &OwnedAccount, entry: &Entry) -> Option<(String, bool)> {
        if let Some((id, _)) = claim.others.iter().find(|(_, keys)| keys.contains(&account.key)) {
            return Some((format!("also owned by inventory {}", sanitize(id)), true));
        }
        if !consumer(claim.kind).logins {
            return None;
        }
        let by_others = |what: &str| Some((format!("changed by others: {what}"), true));
        let Some(found) = &entry.login else { return by_others("it holds no login of ours") };
        match &account.username {
            Some(username) if *username != found.username => return by_others("another account"),
            Some(_) => {}
            // An older version noted the registry alone, so the account must be one of the inventory's.
            None if self.logins.values().any(|l| l.registry.to_string() == account.registry && l.username.as_str() == found.username) => {}
            None => return Some(("an older regprov wrote it and did not note whose it is; take it out by hand".to_string(), true)),
        }
        let Task::Remove(Selection { same: Some(same), .. }) = self.task else { return None };
        let name = account.login.as_deref().or_else(|| {
            let of_it = |l: &&crate::model::Login| l.registry.to_string() == account.registry && l.username.as_str() == found.username;
            self.logins.values().find(of_it).map(|l| l.name.as_str())
        });
        match name.and_then(|name| same(name, &found.password)) {
            Some(true) => None,
            Some(false) => Some(("its password is not the vault's".to_string(), false)),
            None => Some(("its password could not be compared".to_string(), false)),
        }
    }

    /// Works out the file without what goes, and makes sure that nothing else goes with it.
    fn take(&self, claim: &Claim, file: &ObservedFile, entries: &[Entry], facts: &NodeFacts, out: &mut Outgoing) {
        if out.gone.is_empty() {
            return;
        }
        let consumer = consumer(claim.kind);
        let removal = Removal { spec: &claim.spec, existing: &file.content, gone: &out.gone, facts };
        match (consumer.remove)(&removal) {
            Ok(removed) => {
                let stays: Vec<&str> = entries.iter().map(|e| e.key.as_str()).filter(|key| !out.gone.iter().any(|g| g == key)).collect();
                let left = match &removed.content {
                    None => Vec::new(),
                    Some(content) => (consumer.entries)(&claim.spec, content, facts).unwrap_or_default(),
                };
                if left.iter().map(|e| e.key.as_str()).eq(stays) {
                    out.removed = Some(removed);
                } else {
                    out.failed = Some("what others wrote in it would go too; take ours out by hand".to_string());
                }
            }
            Err(why) => out.failed = Some(why),
        }
        if out.failed.is_some() {
            out.gone.clear();
        }
    }

    /// A file without secrets goes when it is as we wrote it and nobody else's.
    fn without_secrets(&self, claim: &Claim) -> Outgoing {
        let mut out = Outgoing { concerned: true, whole: true, ..Outgoing::default() };
        let file = match self.located(claim).1 {
            Observed::File(file) => file,
            Observed::Absent => return out,
            Observed::Refused(why) => return Outgoing { failed: Some(why), whole: false, ..out },
        };
        if let Some(id) = claim.others.keys().next() {
            out.kept.push(format!("kept: also owned by inventory {}", sanitize(id)));
            return out;
        }
        let facts = self.facts();
        let as_written = |target: &Target| {
            let merge = Merge { target, spec: &claim.spec, logins: &[], existing: Some(&file.content), facts: &facts, options: MergeOptions::default() };
            (consumer(claim.kind).merge)(&merge).is_ok_and(|merged| merged.write.is_none())
        };
        if !claim.targets().iter().any(as_written) {
            out.kept.push("kept: changed by others".to_string());
            return out;
        }
        let gone: Vec<String> = claim.accounts.iter().map(|a| a.key.clone()).collect();
        match (consumer(claim.kind).remove)(&Removal { spec: &claim.spec, existing: &file.content, gone: &gone, facts: &facts }) {
            Ok(removed) => out.removed = Some(removed).filter(|r| r.content.is_none() || !r.diff.is_empty()),
            Err(why) => return Outgoing { failed: Some(why), whole: false, ..out },
        }
        out
    }

    fn located(&self, claim: &Claim) -> (RemotePath, Observed) {
        match plan::locate(&claim.spec.path.below(&self.host.root), &self.host.root, self.seen.me().0, self.seen) {
            Located::At { path, observed, .. } => (path, observed),
            Located::Ask(_) => unreachable!("observe asks until nothing is open"),
        }
    }

    fn facts(&self) -> NodeFacts {
        NodeFacts { curl: self.host.curl.or(self.seen.reply.curl), ..NodeFacts::default() }
    }

    /// Adds what becomes of the files that no item of the task writes, but for those that failed before or are left to other hosts.
    pub(super) fn add(&self, outgoing: &[Outgoing], open: &Open, decision: &mut Decision) {
        let mut settled = Vec::new();
        let mut taken: BTreeSet<RemotePath> = decision.plan.jobs.iter().map(|job| job.path.clone()).collect();
        for (claim, out) in self.claims.iter().zip(outgoing) {
            let what = What::Held(claim.spec.path.clone());
            let is_written_with_item = matches!(self.task, Task::Prune) && self.item(claim).is_some();
            if !out.concerned || is_written_with_item || open.failed.contains(&what) || open.left.contains(&what) {
                continue;
            }
            let (path, observed) = self.located(claim);
            decision.same.extend(Place::of(self.seen, &path).map(|place| (what.clone(), place)));
            let notes = (!out.kept.is_empty()).then(|| out.kept.join("\n"));
            match (&out.failed, &out.removed) {
                (Some(why), _) => settled.push((what, Done::failed(Stage::Render, why.clone()))),
                (None, None) => settled.push((what, Done { change: Change::Unchanged, stage: Stage::Render, reason: notes, diff: Vec::new() })),
                (None, Some(removed)) => {
                    let Observed::File(old) = observed else { continue };
                    if !taken.insert(path.clone()) {
                        settled.push((what, Done::failed(Stage::Render, format!("a link leads it to {path}, which another target writes"))));
                        continue;
                    }
                    if !self.seen.reply.tar && removed.content.as_ref().is_some_and(|c| c.contains(&0)) {
                        settled.push((what, Done::failed(Stage::Render, NO_TAR_FOR_NUL)));
                        continue;
                    }
                    let change = if removed.content.is_none() { Change::Removed } else { Change::Updated };
                    decision.plan.jobs.push(Job {
                        what,
                        path,
                        missing: Vec::new(),
                        dir_mode: 0o700,
                        content: removed.content.clone(),
                        old: Some(sha256(&old.content)),
                        mode: old.stat.mode,
                        uid: old.stat.uid,
                        gid: old.stat.gid,
                        change,
                        notes,
                        diff: removed.diff.clone(),
                    });
                }
            }
        }
        decision.settled.extend(settled);
    }

    /// The job that makes the record forget what is not there any more, or not ours alone. It comes after the files are as they shall be,
    /// so that what a broken run left is still known to the next one.
    pub(super) fn forget(&self, outgoing: &[Outgoing], record: &RemotePath, inventory_id: &str) -> Option<Job> {
        let released = self.claims.iter().zip(outgoing).filter(|(_, out)| out.failed.is_none() && out.removed.is_none());
        let released = released.filter_map(|(claim, out)| {
            let path = claim.spec.path.to_string();
            match out.whole {
                true => Some(Release { path, keys: None }),
                false if out.release.is_empty() => None,
                false => Some(Release { path, keys: Some(out.release.iter().cloned().collect()) }),
            }
        });
        let released: Vec<Release> = released.collect();
        let Located::At { path, observed: Observed::File(old), .. } = plan::locate(record, &self.host.root, self.seen.me().0, self.seen) else {
            return None;
        };
        let content = match owned::update(Some(&old.content), inventory_id, &[], &released) {
            Ok(Some(Update::Write(bytes))) => Some(bytes.into()),
            Ok(Some(Update::Remove)) => None,
            Ok(None) | Err(_) => return None,
        };
        let (uid, gid) = self.seen.me();
        Some(Job {
            what: What::Record,
            path,
            missing: Vec::new(),
            dir_mode: 0o700,
            content,
            old: Some(sha256(&old.content)),
            mode: 0o600,
            uid,
            gid,
            change: Change::Updated,
            notes: None,
            diff: Vec::new(),
        })
    }

    /// For each file that an item writes: what goes from it in the same write, by the file's path.
    pub(super) fn with_items<'o>(&self, outgoing: &'o [Outgoing]) -> BTreeMap<RemotePath, &'o Outgoing> {
        let pairs = self.claims.iter().zip(outgoing).filter(|(_, out)| out.concerned);
        pairs.filter(|(claim, _)| matches!(self.task, Task::Prune) && self.item(claim).is_some()).map(|(claim, out)| (claim.spec.path.clone(), out)).collect()
    }
}

impl Outgoing {
    /// Why nothing of it can be taken out, for the file that is written all the same.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}
