//! What has to be written on a host, from what was seen there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::PushOptions;
use super::job::{Done, Item, Job, NO_TAR_FOR_NUL, Plan, What, sha256};
use super::memo::Memos;
use super::observe::{Seen, backup_path, facts};
use super::remove::Outgoing;
use super::same::Place;
use crate::format::owned::{self, OwnedAccount, OwnedFile};
use crate::format::{Merged, helper};
use crate::model::{Change, Host, Login, Observed, ObservedFile, RemotePath, Stage};
use crate::node::protocol::{FILE_BYTES_MAX, Reply};
use crate::plan::{self, Desired, Located};
use crate::transport::Trouble;

/// What is still to be done.
#[derive(Default)]
pub(super) struct Open {
    pub(super) items: BTreeSet<usize>,
    pub(super) record: bool,
    /// Files that failed in an earlier attempt.
    pub(super) failed: BTreeSet<What>,
    /// Files that another host writes at present.
    pub(super) left: BTreeSet<What>,
    /// Another run, or whoever holds the lock, did not let go of it.
    pub(super) busy: bool,
}

/// The most lines that are told of one file: a file of 1 MiB, which any user may leave, holds tens of thousands of entries to speak of.
const LINES_MAX: usize = 200;

/// The first lines, and how many more there are.
fn first(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > LINES_MAX {
        let more = lines.len() - (LINES_MAX - 1);
        lines.truncate(LINES_MAX - 1);
        lines.push(format!("and {more} more"));
    }
    lines
}

/// What was decided.
pub(super) struct Decision {
    pub(super) plan: Plan,
    /// Files that need nothing or cannot be done.
    pub(super) settled: Vec<(What, Done)>,
    /// Where each file really lies, and where it was wanted.
    pub(super) places: BTreeMap<RemotePath, RemotePath>,
    /// By what other hosts know each file.
    pub(super) same: BTreeMap<What, Place>,
}

/// What one file shall be.
struct Wish {
    merged: Merged,
    uid: u32,
    gid: u32,
}

/// Where the record of what we own lies on a host; its directory is what runs lock.
pub(super) fn record_path(host: &Host) -> RemotePath {
    RemotePath::parse(owned::PATH).expect("a constant").below(&host.root)
}

/// Where the record of what we own for one user lies, who cannot write root's: in that user's home.
pub(super) fn record_path_of_user(host: &Host, home: &RemotePath) -> RemotePath {
    RemotePath::parse(&format!("{home}{}", owned::PATH_IN_HOME)).expect("a home and a constant").below(&host.root)
}

/// A host as it is wanted and as it was seen.
pub(super) struct Decider<'a> {
    pub(super) host: &'a Host,
    /// Where the record is wanted.
    pub(super) own: &'a RemotePath,
    /// Files that were decided with other users' rights, and where they were wanted.
    pub(super) others: &'a BTreeMap<RemotePath, RemotePath>,
    pub(super) items: &'a [Item<'a>],
    pub(super) options: &'a PushOptions,
    pub(super) memos: &'a Memos,
    pub(super) seen: &'a Seen,
    /// What is taken out of files that are written, by their paths.
    pub(super) outgoing: BTreeMap<RemotePath, &'a Outgoing>,
}

impl Decider<'_> {
    /// What has to be written for the open items. `Err` when nothing can be written on this host.
    pub(super) fn decide(&self, open: &Open) -> Result<Decision, Trouble> {
        let (record, missing, record_seen) = self.locate(self.own);
        if let Observed::Refused(why) = &record_seen {
            return Err(Trouble::new(Stage::Observe, format!("no place for regprov's record and lock: {why}")));
        }
        let mut plan = Plan { jobs: Vec::new(), sweep: Vec::new(), lock: record.parent() };
        let mut settled = Vec::new();
        let mut owned_files = Vec::new();
        let mut same = BTreeMap::new();
        let mut taken: BTreeMap<RemotePath, &RemotePath> = BTreeMap::from([(record.clone(), self.own)]);
        self.sweep(&mut plan, &record);
        for (i, item) in self.items.iter().enumerate() {
            let (path, missing, observed) = self.locate(&item.wanted);
            self.sweep(&mut plan, &path);
            if self.others.contains_key(&path) {
                settled.push((
                    What::Item(i),
                    Done::failed(Stage::Render, format!("{path} is a target of another user of this host too; give one of them another `path:`")),
                ));
                continue;
            }
            let first = taken.entry(path.clone()).or_insert(&item.wanted);
            if **first != item.wanted {
                settled.push((
                    What::Item(i),
                    Done::failed(Stage::Render, format!("a link leads it to {path}, where {first} lies; give one of them another `path:`")),
                ));
                continue;
            }
            if open.items.contains(&i) {
                same.extend(Place::of(self.seen, &path).map(|place| (What::Item(i), place)));
                match self.item(i, path, missing, observed) {
                    Ok(Step::Settled(done)) => settled.push((What::Item(i), done)),
                    Ok(Step::Write(jobs)) => plan.jobs.extend(jobs),
                    Err(why) => {
                        settled.push((What::Item(i), Done::failed(Stage::Render, why)));
                        continue;
                    }
                }
            } else if open.failed.contains(&What::Item(i)) || open.left.contains(&What::Item(i)) {
                continue;
            }
            owned_files.push(owned_file(item));
        }
        if open.record || plan.jobs.iter().any(|j| j.item().is_some()) {
            self.record(&mut plan, record, missing, &record_seen, &owned_files);
        }
        let places = taken.into_iter().map(|(path, wanted)| (path, wanted.clone())).collect();
        Ok(Decision { plan, settled, places, same })
    }

    /// Notes the directory of `path` when an earlier run left staged files there.
    fn sweep(&self, plan: &mut Plan, path: &RemotePath) {
        let dir = path.parent();
        let is_at_work = |staging: &str| self.memos.shared.as_ref().is_some_and(|shared| shared.is_at_work(staging));
        if self.seen.has_stale_staging(&dir, is_at_work) && !plan.sweep.contains(&dir) {
            plan.sweep.push(dir);
        }
    }

    fn locate(&self, path: &RemotePath) -> (RemotePath, Vec<RemotePath>, Observed) {
        match plan::locate(path, &self.host.root, self.seen.me().0, self.seen) {
            Located::At { path, missing, observed } => (path, missing, observed),
            Located::Ask(_) => unreachable!("observe asks until nothing is open"),
        }
    }

    /// What has to be done for one item.
    fn item(&self, i: usize, path: RemotePath, missing: Vec<RemotePath>, observed: Observed) -> Result<Step, String> {
        let item = &self.items[i];
        let wish = self.wish(item, &observed)?;
        let mode = item.spec.mode.bits();
        let mut notes = wish.merged.notes;
        if mode & 0o040 != 0
            && let Some((dir, bits)) = plan::barrier(&path, &self.host.root, wish.gid, self.seen)
        {
            notes.push(format!("written, but its group cannot get to it: {dir} has mode {bits:04o}; `chmod go+x {dir}` on the node, or another `path:`"));
        }
        let notes = (!notes.is_empty()).then(|| first(notes).join("\n"));
        let desired = Desired { write: wish.merged.write.as_ref().map(|w| &w[..]), mode, uid: wish.uid, gid: wish.gid };
        let Some(change) = plan::diff(&desired, &observed) else {
            // What a credential helper was handed is a change of this file's logins, though the file is as wanted.
            let diff = helper::diff(item.answers());
            let change = if diff.is_empty() { Change::Unchanged } else { Change::Updated };
            return Ok(Step::Settled(Done { change, stage: Stage::Render, reason: notes, diff }));
        };
        let old = match observed {
            Observed::File(file) => Some(file),
            _ => None,
        };
        let mut jobs = Vec::new();
        let mut diff = first(wish.merged.diff);
        diff.extend(helper::diff(item.answers()));
        if let Some(old) = &old {
            if wish.merged.backup {
                jobs.extend(self.backup(item, old)?);
            }
            diff.extend(metadata_diff(old, &desired));
        }
        let hash = old.as_ref().map(|o| sha256(&o.content));
        let content = Some(wish.merged.write.or(old.map(|o| o.content)).expect("a file that is absent and not written has no change"));
        let (uid, gid, dir_mode) = (wish.uid, wish.gid, item.spec.dir_mode.bits());
        jobs.push(Job { what: What::Item(i), path, missing, dir_mode, content, old: hash, mode, uid, gid, change, notes, diff });
        if jobs.iter().filter_map(|j| j.content.as_ref()).any(|c| c.len() as u64 > FILE_BYTES_MAX) {
            return Err("with the logins it would be larger than 1 MiB, which regprov does not touch; take from it what is not needed".to_string());
        }
        if !self.seen.reply.tar && jobs.iter().filter_map(|j| j.content.as_ref()).any(|c| c.contains(&0)) {
            return Err(NO_TAR_FOR_NUL.to_string());
        }
        Ok(Step::Write(jobs))
    }

    /// What the file shall be, by its format.
    fn wish(&self, item: &Item<'_>, observed: &Observed) -> Result<Wish, String> {
        let mut existing = match observed {
            Observed::Absent => None,
            Observed::File(file) => Some(&file.content[..]),
            Observed::Refused(why) => return Err(why.clone()),
        };
        let outgoing = self.outgoing.get(&item.spec.path);
        let removed = outgoing.and_then(|out| out.removed.as_ref());
        if let Some(removed) = removed {
            existing = removed.content.as_ref().map(|c| &c[..]);
        }
        let reply = &self.seen.reply;
        let facts = facts(self.host, item, reply);
        let merge = item.merge(existing, &facts, self.options.merge);
        let mut merged = self.memos.merged.get(&merge, || (item.consumer.merge)(&merge))?;
        if let Some(removed) = removed {
            merged.diff.splice(0..0, removed.diff.iter().cloned());
            merged.write = merged.write.or_else(|| removed.content.clone());
        }
        if let Some(outgoing) = outgoing {
            merged.notes.extend(outgoing.kept.iter().cloned());
            merged.notes.extend(outgoing.failure().map(|why| format!("nothing was pruned: {why}")));
        }
        let (my_uid, my_gid) = self.seen.me();
        let number = |name: &Option<String>, kind: &str, mine: u32| match name {
            Some(name) if item.spec.secret => number_of(name, kind, reply),
            _ => Ok(mine),
        };
        Ok(Wish { merged, uid: number(&item.target.owner, "passwd", my_uid)?, gid: number(&item.target.group, "group", my_gid)? })
    }

    /// The job that keeps a file that could not be read, unless it is kept already.
    fn backup(&self, item: &Item<'_>, old: &ObservedFile) -> Result<Option<Job>, String> {
        let Located::At { path, observed, .. } = plan::locate(&backup_path(&item.wanted), &self.host.root, self.seen.me().0, self.seen) else {
            return Err("its directory is a link, and regprov keeps backups only beside files that are none".to_string());
        };
        match observed {
            Observed::Absent => Ok(Some(Job {
                what: What::Backup,
                path,
                missing: Vec::new(),
                dir_mode: 0o700,
                content: Some(old.content.clone()),
                old: None,
                mode: 0o600,
                uid: old.stat.uid,
                gid: old.stat.gid,
                change: Change::Created,
                notes: None,
                diff: Vec::new(),
            })),
            Observed::File(kept) if kept.content == old.content => Ok(None),
            _ => Err(format!("the backup would overwrite {path}; move that away first")),
        }
    }

    /// Adds the job that writes our record, when it changes.
    fn record(&self, plan: &mut Plan, path: RemotePath, missing: Vec<RemotePath>, observed: &Observed, files: &[OwnedFile]) {
        let existing = match observed {
            Observed::File(file) => Some(file),
            _ => None,
        };
        let (uid, gid) = self.seen.me();
        match owned::merge(existing.map(|f| &f.content[..]), &self.options.inventory_id, files) {
            Ok(Some(content)) => plan.jobs.push(Job {
                what: What::Record,
                path,
                missing,
                dir_mode: 0o700,
                content: Some(content.into()),
                old: existing.map(|f| sha256(&f.content)),
                mode: 0o600,
                uid,
                gid,
                change: Change::Updated,
                notes: None,
                diff: Vec::new(),
            }),
            Ok(None) => {}
            // The logins do not wait for it; the first file's row tells.
            Err(why) => {
                if let Some(job) = plan.jobs.iter_mut().find(|j| j.item().is_some()) {
                    let notes = job.notes.take().map(|n| n + "\n").unwrap_or_default();
                    job.notes = Some(format!("{notes}{}", why.replace(owned::PATH, self.own.as_str())));
                }
            }
        }
    }
}

/// What one item needs.
enum Step {
    /// Nothing.
    Settled(Done),
    /// These files.
    Write(Vec<Job>),
}

fn owned_file(item: &Item<'_>) -> OwnedFile {
    let logins = if item.spec.secret { &item.logins[..] } else { &[] };
    let registries = match &item.target.mirror {
        Some(mirror) => vec![mirror.to_string()],
        None => logins.iter().map(|l| l.registry.to_string()).collect(),
    };
    let account = |login: &&Login| {
        let keys = (item.consumer.keys)(&login.registry, &login.auth_hosts);
        let (registry, username, name) = (login.registry.to_string(), login.username.to_string(), login.name.clone());
        keys.into_iter().map(move |key| OwnedAccount { key, registry: registry.clone(), username: Some(username.clone()), login: Some(name.clone()) })
    };
    OwnedFile {
        path: item.spec.path.to_string(),
        target: item.target.kind.name(),
        part: item.spec.part,
        of: (item.target.path != item.spec.path).then(|| item.target.path.to_string()),
        registries,
        accounts: logins.iter().flat_map(account).collect(),
    }
}

pub(super) fn number_of(name: &str, kind: &str, reply: &Reply) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let what = if kind == "passwd" { "user" } else { "group" };
    let known = reply.ids.get(&(kind.to_string(), name.to_string())).copied().flatten();
    known.ok_or_else(|| format!("there is no {what} `{name}` on the node; create it, or name another `{}:`", if what == "user" { "owner" } else { "group" }))
}

fn metadata_diff(old: &ObservedFile, want: &Desired<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if old.stat.mode != want.mode {
        lines.push(format!("~ mode {:04o} -> {:04o}", old.stat.mode, want.mode));
    }
    if (old.stat.uid, old.stat.gid) != (want.uid, want.gid) {
        lines.push(format!("~ owner {}:{} -> {}:{}", old.stat.uid, old.stat.gid, want.uid, want.gid));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_fills_no_report() {
        let lines = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        for n in [0, 1, LINES_MAX] {
            assert_eq!(first(lines(n)), lines(n));
        }
        let told = first(lines(60_000));
        assert_eq!((told.len(), &told[0][..], &told[LINES_MAX - 1][..]), (LINES_MAX, "0", "and 59801 more"));
    }
}
