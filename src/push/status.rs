//! What stands in the files of many hosts, compared with what the inventory wants. Nothing is written there, and nothing locked.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::decide::number_of;
use super::host::{look, parted};
use super::job::{Item, shown};
use super::observe::{Seen, backup_path, facts};
use super::{Logins, Push};
use crate::format::helper::{self, Question};
use crate::format::owned::Claim;
use crate::format::{Entry, Merge, MergeOptions, NodeFacts, consumer};
use crate::model::ping::Unseen;
use crate::model::status::{FOREIGN_MAX, FileStatus, Finding, FindingKind, LoginStatus, StatusEvent, StatusRow, Verdict};
use crate::model::text::{escape, sanitize};
use crate::model::{Host, Login, Observed, ObservedFile, RemotePath, Secret, Stage, StatKind, TargetKind};
use crate::plan::{self, Located};
use crate::transport::Connector;

/// Whether this is the password of the login of this name; `None` where nobody can tell.
pub type SamePassword = dyn Fn(&str, &Secret) -> Option<bool> + Send + Sync;

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

/// Logins as they were before a rotation, by their names.
pub struct Previous {
    /// Their accounts. Their passwords are not looked at and may be any.
    pub logins: Logins,
    /// Compares passwords with those that they had.
    pub same: Box<SamePassword>,
}

impl Default for Previous {
    /// No rotation is under way.
    fn default() -> Self {
        Previous { logins: Logins::default(), same: Box::new(|_, _| None) }
    }
}

/// Looks at every host, and tells `events` as it goes; a row for each comes back, in the order of `hosts`. A connector that halts keeps the
/// rest from being tried, and a host to [skip](Host::skip) is not contacted. Dropped, it leaves the hosts as they are.
pub async fn status_all<C: Connector>(status: Arc<Status<C>>, hosts: Vec<Host>, events: mpsc::UnboundedSender<StatusEvent>) -> Vec<StatusRow> {
    let mut rows: Vec<Option<StatusRow>> = hosts.iter().map(|_| None).collect();
    let hosts: Vec<Arc<Host>> = hosts.into_iter().map(Arc::new).collect();
    let mut running = JoinSet::new();
    let mut next = 0;
    loop {
        while running.len() < status.push.options.forks.max(1) && next < hosts.len() && status.push.connector.halted().is_none() {
            let (status, host, index) = (status.clone(), hosts[next].clone(), next);
            next += 1;
            if host.skip.is_some() {
                let row = before(&host, "");
                // Whoever draws may have gone; the look goes on.
                let _ = events.send(StatusEvent::Ended(index, row.clone()));
                rows[index] = Some(row);
                continue;
            }
            let _ = events.send(StatusEvent::Started(index));
            running.spawn(async move { (index, look(&status, &host).await) });
        }
        let Some(ended) = running.join_next().await else { break };
        // A task that panicked leaves its row open.
        if let Ok((index, result)) = ended {
            let row = StatusRow { host: hosts[index].name.clone(), result: result.map_err(|t| Unseen::Failed(t.stage, t.reason)) };
            let _ = events.send(StatusEvent::Ended(index, row.clone()));
            rows[index] = Some(row);
        }
    }
    let halted = status.push.connector.halted();
    let missing = |(index, host): (usize, &Arc<Host>)| match &halted {
        Some(why) if index >= next => before(host, why),
        _ => {
            let defect = "regprov itself failed here; this is a defect, please report it".to_string();
            StatusRow { host: host.name.clone(), result: Err(Unseen::Failed(Stage::Start, defect)) }
        }
    };
    rows.into_iter().zip(hosts.iter().enumerate()).map(|(row, host)| row.unwrap_or_else(|| missing(host))).collect()
}

/// The row of a host before its turn: skipped when a source of hosts says so, else not attempted for this reason.
pub fn before(host: &Host, why: &str) -> StatusRow {
    let unseen = host.skip.clone().map_or_else(|| Unseen::NotAttempted(why.to_string()), Unseen::Skipped);
    StatusRow { host: host.name.clone(), result: Err(unseen) }
}

/// What files are compared with.
pub(super) struct Judge<'a> {
    pub(super) same: &'a SamePassword,
    pub(super) previous: &'a Previous,
    pub(super) now: i64,
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

    fn all(&self, logins: &[&Login], verdict: Verdict) -> Vec<LoginStatus> {
        logins.iter().map(|login| self.login(login, verdict, None)).collect()
    }

    fn login(&self, login: &Login, verdict: Verdict, detail: Option<String>) -> LoginStatus {
        let expired = login.expires.as_ref().filter(|e| e.is_past(self.now)).map(|e| e.text.clone());
        LoginStatus { login: login.name.clone(), verdict, detail, expired }
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

    /// How a login stands among the entries of its file; the worst of its keys counts.
    fn verdict(&self, login: &Login, keys: &[String], entries: &[Entry], is_alias: fn(&str, &crate::model::Registry) -> bool) -> (Verdict, Option<String>) {
        let found: Vec<&Entry> = entries.iter().filter(|e| keys.contains(&e.key)).collect();
        // Whatever else is there: somebody may still be sent it.
        if entries.iter().any(|e| (keys.contains(&e.key) || is_alias(&e.key, &login.registry)) && self.is_previous(&login.name, e)) {
            return (Verdict::Previous, None);
        }
        if found.is_empty() {
            return (Verdict::Missing, None);
        }
        if let Some(key) = keys.iter().find(|key| found.iter().all(|e| e.key != **key)) {
            return (Verdict::Missing, Some(format!("there is none for {}", escape(key))));
        }
        let mut compared = true;
        for entry in found {
            let different = |why: &str| (Verdict::Different, Some(why.to_string()));
            match (&entry.note, &entry.login) {
                (Some(note), _) => return different(&format!("shadowed by {}", sanitize(note))),
                (None, None) => return different("its entry holds no login"),
                (None, Some(account)) if account.username != login.username.as_str() => return different("another account"),
                (None, Some(account)) => match (self.same)(&login.name, &account.password) {
                    Some(true) => {}
                    Some(false) => return different("another password"),
                    None => compared = false,
                },
            }
        }
        if let Some(alias) = entries.iter().find(|e| is_alias(&e.key, &login.registry)) {
            return (Verdict::Different, Some(format!("it stands there under an old name too: {}", sanitize(&alias.key))));
        }
        if compared { (Verdict::Same, None) } else { (Verdict::SameAccount, None) }
    }

    fn is_previous(&self, login: &str, entry: &Entry) -> bool {
        let previous = self.previous.logins.get(login).zip(entry.login.as_ref());
        previous.is_some_and(|(old, account)| account.username == old.username.as_str() && (self.previous.same)(login, &account.password) == Some(true))
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
    use crate::format::Account;
    use crate::model::{Expiry, Registry, Username};

    fn hub(auth_hosts: &[&str]) -> Login {
        Login {
            name: "hub".into(),
            registry: Registry::parse("docker.io").unwrap().0,
            username: Username::parse("alice").unwrap(),
            password: Secret::new("-".to_string()),
            auth_hosts: auth_hosts.iter().map(ToString::to_string).collect(),
            expires: Some(Expiry::parse("2027-03-01").unwrap()),
        }
    }

    /// Entries from lines `KEY USERNAME PASSWORD`, `KEY` (no login) or `KEY !NOTE`.
    fn entries(lines: &[&str]) -> Vec<Entry> {
        let entry = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            let note = words.get(1).and_then(|w| w.strip_prefix('!')).map(str::to_string);
            let login = match &words[..] {
                [_, username, password] => Some(Account { username: username.to_string(), password: Secret::new(password.to_string()) }),
                _ => None,
            };
            Entry { key: words[0].to_string(), login, note }
        };
        lines.iter().map(entry).collect()
    }

    #[test]
    fn verdicts() {
        const KEY: &str = "https://index.docker.io/v1/";
        #[track_caller]
        fn check(lines: &[&str], knows: bool, want: (Verdict, Option<&str>)) {
            let same = move |name: &str, password: &Secret| knows.then(|| name == "hub" && password.expose() == "right");
            let judge = Judge { same: &same, previous: &Previous::default(), now: 0 };
            let (verdict, detail) = judge.verdict(&hub(&[]), &[KEY.to_string()], &entries(lines), consumer(TargetKind::Docker).is_alias);
            assert_eq!((verdict, detail.as_deref()), want, "{lines:?}");
        }
        let line = |rest: &str| format!("{KEY} {rest}");
        check(&[], true, (Verdict::Missing, None));
        check(&["nvcr.io alice right"], true, (Verdict::Missing, None));
        check(&[&line("alice right")], true, (Verdict::Same, None));
        check(&[&line("alice right"), "nvcr.io x y"], true, (Verdict::Same, None));
        check(&[&line("alice wrong")], true, (Verdict::Different, Some("another password")));
        check(&[&line("alice wrong")], false, (Verdict::SameAccount, None));
        check(&[&line("bob right")], true, (Verdict::Different, Some("another account")));
        check(&[&line("bob right")], false, (Verdict::Different, Some("another account")));
        check(&[KEY], true, (Verdict::Different, Some("its entry holds no login")));
        check(&[&line("!helper")], true, (Verdict::Different, Some("shadowed by helper")));
        check(&[&line("alice right"), "docker.io alice right"], true, (Verdict::Different, Some("it stands there under an old name too: docker.io")));
        check(&["docker.io alice right"], true, (Verdict::Missing, None));
    }

    #[test]
    fn the_password_before_a_rotation_is_told_wherever_it_stands() {
        const KEY: &str = "https://index.docker.io/v1/";
        let same = |_: &str, password: &Secret| Some(password.expose() == "right");
        let old = Login { username: Username::parse("robot").unwrap(), ..hub(&[]) };
        let previous = Previous { logins: [("hub".to_string(), old)].into(), same: Box::new(|_, password| Some(password.expose() == "old")) };
        let judge = Judge { same: &same, previous: &previous, now: 0 };
        let keys = [KEY.to_string(), "b".to_string()];
        let verdict = |lines: &[&str]| judge.verdict(&hub(&[]), &keys, &entries(lines), consumer(TargetKind::Docker).is_alias).0;
        let line = |rest: &str| format!("{KEY} {rest}");
        assert_eq!(verdict(&[&line("robot old"), "b robot old"]), Verdict::Previous);
        assert_eq!(verdict(&[&line("alice right"), "b robot old"]), Verdict::Previous);
        assert_eq!(verdict(&[&line("robot old")]), Verdict::Previous);
        assert_eq!(verdict(&[&line("alice right"), "b alice right", "docker.io robot old"]), Verdict::Previous);
        assert_eq!(verdict(&[&line("alice right"), "b alice right"]), Verdict::Same);
        assert_eq!(verdict(&[&line("robot right"), "b alice right"]), Verdict::Different);
        assert_eq!(verdict(&[&line("alice old"), "b alice right"]), Verdict::Different);
        assert_eq!(verdict(&["nvcr.io robot old"]), Verdict::Missing);
    }

    #[test]
    fn every_key_of_a_login_counts() {
        let same = |_: &str, password: &Secret| Some(password.expose() == "right");
        let judge = Judge { same: &same, previous: &Previous::default(), now: 0 };
        let keys = ["a".to_string(), "b".to_string()];
        let verdict = |lines: &[&str]| judge.verdict(&hub(&[]), &keys, &entries(lines), |_, _| false);
        assert_eq!(verdict(&["a alice right", "b alice right"]), (Verdict::Same, None));
        assert_eq!(verdict(&["a alice right", "b alice wrong"]).0, Verdict::Different);
        assert_eq!(verdict(&["a alice right"]), (Verdict::Missing, Some("there is none for b".to_string())));
    }

    #[test]
    fn a_login_ends_with_its_last_second() {
        let same = |_: &str, _: &Secret| None;
        let end = hub(&[]).expires.unwrap().unix;
        let expired = |now| Judge { same: &same, previous: &Previous::default(), now }.login(&hub(&[]), Verdict::Same, None).expired;
        assert_eq!((expired(end - 1), expired(end)), (None, Some("2027-03-01".to_string())));
    }

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
