//! What stands in the files of many hosts, compared with what the inventory wants. Nothing is written there, and nothing locked.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Push;
use super::decide::number_of;
use super::host::{look, parted};
use super::job::{Item, shown};
use super::observe::{Seen, backup_path, facts};
use crate::format::helper::{self, Question};
use crate::format::owned::Claim;
use crate::format::{Entry, Judge, Merge, MergeOptions, NodeFacts, consumer};
pub use crate::format::{Previous, SamePassword};
use crate::model::ping::Unseen;
use crate::model::status::{FOREIGN_MAX, FileStatus, Finding, FindingKind, StatusEvent, StatusRow, Verdict};
use crate::model::text::sanitize;
use crate::model::{Host, Observed, ObservedFile, RemotePath, Stage, StatKind, TargetKind};
use crate::plan::{self, Located};
use crate::transport::Connector;

/// Everything that the hosts' tasks share.
pub struct Status<C> {
    /// How hosts are reached, and the logins. Their passwords are not looked at and may be any.
    pub push: Push<C>,
    /// Compares passwords.
    pub same: Box<SamePassword>,
    /// What they were before rotations that are under way.
    pub previous: Previous,
    /// The inventory's name in the nodes' record; without one the record is not looked at.
    pub inventory_id: Option<String>,
    /// Now, in seconds since 1970-01-01 UTC.
    pub now: i64,
}

/// A destination that is no host, and the look at it: it begins at its turn, and ends in its row, always and within a time of its own.
pub struct OtherLook {
    /// What it is called.
    pub name: String,
    /// The look.
    pub work: Pin<Box<dyn Future<Output = StatusRow> + Send>>,
}

/// Looks at every host, and then at every other destination, and tells `events` as it goes; a row for each comes back, in the order of `hosts` and
/// then of `others`. A connector that halts keeps the rest from being tried, and a host to [skip](Host::skip) is not contacted. Dropped, it
/// leaves them as they are.
pub async fn status_all<C: Connector>(
    status: Arc<Status<C>>,
    hosts: Vec<Host>,
    others: Vec<OtherLook>,
    events: mpsc::UnboundedSender<StatusEvent>,
) -> Vec<StatusRow> {
    let names: Vec<String> = hosts.iter().map(|h| h.name.clone()).chain(others.iter().map(|o| o.name.clone())).collect();
    let mut rows: Vec<Option<StatusRow>> = names.iter().map(|_| None).collect();
    let hosts: Vec<Arc<Host>> = hosts.into_iter().map(Arc::new).collect();
    let mut others = others.into_iter();
    let mut running = JoinSet::new();
    let mut next = 0;
    loop {
        while running.len() < status.push.options.forks.max(1) && next < names.len() && status.push.connector.halted().is_none() {
            let index = next;
            next += 1;
            let Some(host) = hosts.get(index).cloned() else {
                let other = others.next().expect("each position has one turn");
                let _ = events.send(StatusEvent::Started(index));
                running.spawn(async move { (index, other.work.await) });
                continue;
            };
            if host.skip.is_some() {
                let row = before(&host, "");
                // Whoever draws may have gone; the look goes on.
                let _ = events.send(StatusEvent::Ended(index, row.clone()));
                rows[index] = Some(row);
                continue;
            }
            let _ = events.send(StatusEvent::Started(index));
            let status = status.clone();
            running.spawn(async move {
                let result = look(&status, &host).await;
                (index, StatusRow { host: host.name.clone(), result: result.map_err(|t| Unseen::Failed(t.stage, t.reason)) })
            });
        }
        let Some(ended) = running.join_next().await else { break };
        // A task that panicked leaves its row open.
        if let Ok((index, row)) = ended {
            let _ = events.send(StatusEvent::Ended(index, row.clone()));
            rows[index] = Some(row);
        }
    }
    let halted = status.push.connector.halted();
    let missing = |(index, name): (usize, &String)| match (&halted, hosts.get(index)) {
        (Some(why), Some(host)) if index >= next => before(host, why),
        (Some(why), None) if index >= next => StatusRow { host: name.clone(), result: Err(Unseen::NotAttempted(why.to_string())) },
        _ => {
            let defect = "regprov itself failed here; this is a defect, please report it".to_string();
            StatusRow { host: name.clone(), result: Err(Unseen::Failed(Stage::Start, defect)) }
        }
    };
    rows.into_iter().zip(names.iter().enumerate()).map(|(row, at)| row.unwrap_or_else(|| missing(at))).collect()
}

/// The row of a host before its turn: skipped when a source of hosts says so, else not attempted for this reason.
pub fn before(host: &Host, why: &str) -> StatusRow {
    let unseen = host.skip.clone().map_or_else(|| Unseen::NotAttempted(why.to_string()), Unseen::Skipped);
    StatusRow { host: host.name.clone(), result: Err(unseen) }
}

/// A part of a host as it was seen.
pub(super) struct SeenPart<'a> {
    pub(super) host: &'a Host,
    pub(super) items: &'a [Item<'a>],
    /// What the node's record says that we wrote.
    pub(super) claims: &'a [Claim],
    /// Whether enroot's file has no place, so that what the record has may be it.
    pub(super) unplaced: bool,
    /// The user whose files these are, and their home.
    pub(super) home: Option<(&'a str, &'a RemotePath)>,
    pub(super) seen: &'a Seen,
}

impl Judge<'_> {
    /// The files of the part: those of its items in their order, and those that only the record names.
    pub(super) fn part(&self, part: &SeenPart<'_>) -> (Vec<FileStatus>, Vec<FileStatus>) {
        let claim = |item: &Item<'_>| part.claims.iter().find(|c| c.spec.path == item.spec.path);
        let files = part.items.iter().map(|item| self.file(part, item, claim(item))).collect();
        let is_wanted = |claim: &Claim| part.items.iter().any(|item| item.spec.path == claim.spec.path) || (part.unplaced && claim.kind == TargetKind::Enroot);
        (files, part.claims.iter().filter(|c| !is_wanted(c)).filter_map(|c| left_over(part, c)).collect())
    }

    fn file(&self, part: &SeenPart<'_>, item: &Item<'_>, claim: Option<&Claim>) -> FileStatus {
        let mut status = FileStatus { target: item.target.kind.name(), path: shown(part.host, item.target, &item.spec.path), ..FileStatus::default() };
        let (path, observed) = located(part, &item.wanted);
        let logins = if item.spec.secret { &item.logins[..] } else { &[] };
        match observed {
            Observed::Absent => {
                status.findings.push(finding(FindingKind::Missing, "there is no such file"));
                status.logins = self.all(logins, Verdict::Missing);
            }
            Observed::Refused(why) => {
                status.findings.push(finding(FindingKind::Refused, why));
                status.logins = self.all(logins, Verdict::Unseen);
            }
            Observed::File(file) => {
                let facts = facts(part.host, item, &part.seen.reply);
                if item.spec.secret {
                    match (item.consumer.entries)(&item.spec, &file.content, &facts) {
                        Ok(entries) => {
                            let merge = Merge { logins: &[], ..item.merge(Some(&file.content), &facts, MergeOptions::default()) };
                            // Without logins a merge is about the helpers that the inventory names.
                            if !item.target.cred_helpers.is_empty() && !(item.consumer.merge)(&merge).is_ok_and(|merged| merged.write.is_none()) {
                                status.findings.push(finding(FindingKind::Different, "its `credHelpers` are not those of the inventory"));
                            }
                            let asked = helper::questions(&item.merge(Some(&file.content), &facts, MergeOptions::default())).unwrap_or_default();
                            self.entries(item, claim, &entries, &asked, &mut status);
                        }
                        Err(why) => {
                            status.findings.push(finding(FindingKind::Unreadable, why));
                            status.logins = self.all(logins, Verdict::Missing);
                        }
                    }
                } else {
                    // Its content follows from what is no secret.
                    match (item.consumer.merge)(&item.merge(Some(&file.content), &facts, MergeOptions::default())) {
                        Ok(merged) if merged.write.is_none() => {}
                        Ok(_) => status.findings.push(finding(FindingKind::Different, "its content is not what regprov writes")),
                        Err(why) => status.findings.push(finding(FindingKind::Unreadable, why)),
                    }
                    let mirror = item.target.mirror.as_ref().map(ToString::to_string);
                    let is_wanted = |key: &str| mirror.as_deref() == Some(key);
                    let old = claim.map(|claim| ours(claim, &file)).unwrap_or_default();
                    status.findings.extend(old.iter().filter(|key| !is_wanted(key)).map(|key| finding(FindingKind::LeftOver, left(key))));
                }
                self.metadata(part, item, &path, &file, &mut status);
            }
        }
        for backup in [backup_path(&item.wanted), backup_path(&path)] {
            let is_there = part.seen.reply.stats.get(backup.as_str()).is_some_and(|s| s.kind == StatKind::File);
            let detail = format!("older logins lie beside it in {}; remove that when nobody needs it", backup.file_name());
            if is_there && status.findings.iter().all(|f| f.kind != FindingKind::StaleBackup) {
                status.findings.push(finding(FindingKind::StaleBackup, detail));
            }
        }
        status
    }

    /// A file whose place the node does not tell, and why.
    pub(super) fn no_place(&self, item: &Item<'_>, why: String) -> FileStatus {
        let logins = self.all(&item.logins, Verdict::Unseen);
        FileStatus { target: item.target.kind.name(), findings: vec![finding(FindingKind::Refused, why)], logins, ..FileStatus::default() }
    }

    /// Each login by its entries, and the entries that belong to none.
    fn entries(&self, item: &Item<'_>, claim: Option<&Claim>, entries: &[Entry], asked: &[Question], status: &mut FileStatus) {
        let accounts = claim.map(|c| &c.accounts[..]).unwrap_or_default();
        let mut known: Vec<&str> = Vec::new();
        for login in &item.logins {
            let registry = login.registry.to_string();
            let mut keys = (item.consumer.keys)(&login.registry, &login.auth_hosts);
            // Its auth hosts stand inside the seal; the record knows them too.
            keys.extend(accounts.iter().filter(|a| a.registry == registry).map(|a| a.key.clone()));
            keys.sort();
            keys.dedup();
            let (verdict, detail) = match asked.iter().find(|question| question.login == login.name) {
                // Its login is in the helper's own store, and only the helper could tell.
                Some(Question { helper, .. }) => (Verdict::NotAsked, Some(format!("{helper} is to have it, which `apply --check` asks"))),
                None => self.verdict(login, &keys, entries, item.consumer.is_alias),
            };
            status.logins.push(self.login(login, verdict, detail));
            let ours = |e: &&Entry| keys.contains(&e.key) || (item.consumer.is_alias)(&e.key, &login.registry);
            known.extend(entries.iter().filter(ours).map(|e| e.key.as_str()));
        }
        let named = |e: &&Entry| item.target.cred_helpers.iter().any(|h| e.login.is_none() && e.key == h.registry.docker_key());
        known.extend(entries.iter().filter(named).map(|e| e.key.as_str()));
        for entry in entries.iter().filter(|e| !known.contains(&e.key.as_str())) {
            if accounts.iter().any(|a| a.key == entry.key && is_theirs(a.username.as_deref(), entry)) {
                status.findings.push(finding(FindingKind::LeftOver, left(&entry.key)));
                continue;
            }
            status.foreign_count += 1;
            if status.foreign.len() < FOREIGN_MAX {
                status.foreign.push(sanitize(&entry.key));
            }
        }
    }

    /// Mode, owner, and who else can read it.
    fn metadata(&self, part: &SeenPart<'_>, item: &Item<'_>, path: &RemotePath, file: &ObservedFile, status: &mut FileStatus) {
        let (wanted, is) = (item.spec.mode.bits(), file.stat.mode);
        let (my_uid, my_gid) = part.seen.me();
        let mut number = |name: &Option<String>, kind: &str, mine: u32| match name {
            Some(name) if item.spec.secret => {
                number_of(name, kind, &part.seen.reply).map_err(|why| status.findings.push(finding(FindingKind::WrongOwner, why))).ok()
            }
            _ => Some(mine),
        };
        let (uid, gid) = (number(&item.target.owner, "passwd", my_uid), number(&item.target.group, "group", my_gid));
        if is != wanted {
            status.findings.push(finding(FindingKind::WrongMode, format!("{is:04o} instead of {wanted:04o}")));
        }
        if let (Some(uid), Some(gid)) = (uid, gid)
            && (file.stat.uid, file.stat.gid) != (uid, gid)
        {
            let (a, b) = (file.stat.uid, file.stat.gid);
            status.findings.push(finding(FindingKind::WrongOwner, format!("{a}:{b} instead of {uid}:{gid}")));
        }
        if !item.spec.secret {
            return;
        }
        let root = &part.host.root;
        // No group has this number, so what stops it is what stops everybody.
        let open_to_all = is & 0o004 != 0 && plan::barrier(path, root, u32::MAX, part.seen).is_none();
        let strange_group = is & 0o040 != 0 && (wanted & 0o040 == 0 || Some(file.stat.gid) != gid);
        let open_to_group = strange_group && file.stat.gid != 0 && plan::barrier(path, root, file.stat.gid, part.seen).is_none();
        if open_to_all {
            status.findings.push(finding(FindingKind::ReadableByOthers, "everybody on the node can read it; consider its logins known"));
        } else if open_to_group {
            status.findings.push(finding(FindingKind::ReadableByOthers, format!("group {} can read it; consider its logins known to it", file.stat.gid)));
        }
    }
}

/// A file that no target wants any more, as far as something of ours still stands in it.
fn left_over(part: &SeenPart<'_>, claim: &Claim) -> Option<FileStatus> {
    let (_, Observed::File(file)) = located(part, &claim.spec.path.below(&part.host.root)) else { return None };
    let mut status = FileStatus { target: claim.kind.name(), path: parted(part.host, part.home, &claim.spec.path), ..FileStatus::default() };
    if !claim.has_entries() {
        status.findings.push(finding(FindingKind::LeftOver, "no target wants this file any more; `apply --prune` takes it away"));
        return Some(status);
    }
    status.findings.extend(ours(claim, &file).iter().map(|key| finding(FindingKind::LeftOver, left(key))));
    (!status.findings.is_empty()).then_some(status)
}

/// The keys of a file's entries that are still as this inventory wrote them; none of a file that is wholly ours.
fn ours(claim: &Claim, file: &ObservedFile) -> Vec<String> {
    if !claim.has_entries() {
        return Vec::new();
    }
    let entries = (consumer(claim.kind).entries)(&claim.spec, &file.content, &NodeFacts::default()).unwrap_or_default();
    let is_ours = |e: &Entry| claim.accounts.iter().any(|a| a.key == e.key && is_theirs(a.username.as_deref(), e));
    entries.into_iter().filter(is_ours).map(|e| e.key).collect()
}

fn left(key: &str) -> String {
    format!("{}: this inventory wrote it and does not want it there any more; `apply --prune` takes it out", sanitize(key))
}

/// Whether an entry is still that of the account that was written; what an older version did not note cannot differ.
fn is_theirs(username: Option<&str>, entry: &Entry) -> bool {
    match (username, &entry.login) {
        (None, _) => true,
        (Some(username), Some(account)) => account.username == username,
        (Some(_), None) => false,
    }
}

fn located(part: &SeenPart<'_>, wanted: &RemotePath) -> (RemotePath, Observed) {
    match plan::locate(wanted, &part.host.root, part.seen.me().0, part.seen) {
        Located::At { path, observed, .. } => (path, observed),
        Located::Ask(_) => unreachable!("observe asks until nothing is open"),
    }
}

fn finding(kind: FindingKind, detail: impl Into<String>) -> Finding {
    Finding { kind, detail: detail.into() }
}

/// Whether what a target of this kind reads depends on the node's curl, which is asked for then.
pub(super) fn needs_curl(items: &[Item<'_>]) -> bool {
    items.iter().any(|item| item.target.kind == TargetKind::Enroot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn names_of_a_node_steer_no_terminal() {
        let same = |_: &str, _: &Secret| None;
        let judge = Judge { same: &same, previous: &Previous::default(), now: 0 };
        let mut status = FileStatus::default();
        let host = Host::named("n");
        let host = Host { targets: vec![crate::model::Target::at(TargetKind::Docker, RemotePath::parse("/a/b").unwrap())], ..host };
        let logins = Default::default();
        let items = crate::push::job::items(&host, &logins, 0);
        let many: Vec<String> = (0..50).map(|i| format!("{i}\u{1b}[2J::error:: x y")).collect();
        let lines: Vec<&str> = many.iter().map(String::as_str).collect();
        let all: Vec<Entry> = lines.iter().map(|l| Entry { key: l.to_string(), login: None, note: None }).collect();
        judge.entries(&items[0], None, &all, &[], &mut status);
        assert_eq!((status.foreign.len(), status.foreign_count), (FOREIGN_MAX, 50));
        assert!(status.foreign.iter().all(|key| !key.contains('\u{1b}')) && !status.has_drift());
    }
}
