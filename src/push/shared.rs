//! Files that several hosts of a run see: one host writes, the others look afterwards.
//!
//! What is [known](super::same) of a file makes hosts a group. The first of them that has to write leads, the others of the group go on with
//! their own files, and then wait until the lead is over and look again. **Who waits leads nothing**: a host gives up every lead before it
//! waits, so leads end by themselves, in whatever order hosts came, and however few of them are in flight: only hosts in flight lead. A lead
//! ends with the task that has it: by success, by failure, by a deadline, by a panic.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::job::{Job, What, append};
use super::same::{Name, Place};
use crate::model::{HostRow, RemotePath};
use crate::transport::clock::Clock;

/// How often a host waits for one file, whose writers differ in what they want, before it writes beside them.
const WAITS_MAX: u32 = 16;
/// How often a lead may be lost without a word before all others write by themselves.
const LOSSES_MAX: u32 = 2;
/// How long a host waits for what another has written to be seen at its own mount, before each further look: 10 s in all. NFS looks at a
/// directory again when that is opened, which a look does, so the first mostly finds it.
const PAUSES: [Duration; 7] = {
    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
    [ms(0), ms(200), ms(500), ms(1000), ms(2000), ms(3000), ms(3300)]
};

/// The groups of a run.
#[derive(Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Default)]
struct State {
    groups: Vec<Group>,
    /// Groups of one name are told apart by their directories.
    by_name: HashMap<Name, Vec<usize>>,
    /// Counts what was written, so that a host knows whether it looked before or after.
    moment: u64,
    /// The nonces of the programs that write in this run.
    at_work: HashSet<String>,
    /// Files that would be written, with `--check`: the group, the hash of the content, the host, the row.
    would: Vec<(usize, String, String, Row)>,
}

struct Group {
    dirs: Vec<(String, u64)>,
    led: bool,
    /// Dropped when the lead is over; made for the first who waits, since most files are nobody else's.
    over: Option<watch::Sender<()>>,
    losses: u32,
    /// Everybody writes by themselves: it is not one file after all, or it cannot be written.
    split: bool,
    written: Option<Written>,
}

/// A file among the rows of its host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// By its place among all files that the host shall have.
    File(usize),
    /// By consumer and path, for a file that loses what we wrote.
    Held(&'static str, String),
}

/// What a lead came to.
#[derive(Clone)]
struct Written {
    host: String,
    hash: String,
    /// `None` when the file has gone.
    inode: Option<u64>,
    moment: u64,
}

/// What a host is told that wants to write.
enum Claim {
    /// It leads.
    Lead(Lead),
    /// It writes, and nobody waits for it.
    Alone,
    /// Another leads; the sender goes when that is over.
    Wait(watch::Receiver<()>),
    /// It was written since the host looked.
    Look,
    /// It was written before the host looked, and the host did not see it.
    Unseen,
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a staging directory belongs to a program of this run, and so is not stale.
    pub(super) fn is_at_work(&self, staging: &str) -> bool {
        staging.rsplit_once(".regprov.").is_some_and(|(_, nonce)| self.state().at_work.contains(nonce))
    }

    /// Says of each file that would be written by more than one host, with `--check`, which one would do it: the first in the report.
    pub(super) fn tell(&self, rows: &mut [HostRow]) {
        let position: HashMap<String, usize> = rows.iter().enumerate().map(|(i, row)| (row.host.clone(), i)).collect();
        let mut files: BTreeMap<(usize, String), BTreeSet<(usize, Row)>> = BTreeMap::new();
        for (group, hash, host, file) in std::mem::take(&mut self.state().would) {
            files.entry((group, hash)).or_default().insert((position[&host], file));
        }
        for hosts in files.into_values() {
            let mut hosts = hosts.into_iter();
            let Some((first, _)) = hosts.next() else { continue };
            let note = via(&rows[first].host);
            for (host, row) in hosts.filter(|(host, _)| *host != first) {
                let files = &mut rows[host].files;
                let file = match row {
                    Row::File(i) => files.get_mut(i),
                    Row::Held(target, path) => files.iter_mut().find(|f| (f.target, &f.path) == (target, &path)),
                };
                if let Some(file) = file {
                    append(&mut file.reason, &note);
                }
            }
        }
    }
}

impl State {
    fn known(&self, place: &Place) -> Option<usize> {
        self.by_name.get(&place.name)?.iter().copied().find(|g| place.is_among(&self.groups[*g].dirs))
    }

    fn group(&mut self, place: &Place) -> usize {
        let group = self.known(place).unwrap_or_else(|| {
            self.by_name.entry(place.name.clone()).or_default().push(self.groups.len());
            self.groups.push(Group { dirs: Vec::new(), led: false, over: None, losses: 0, split: false, written: None });
            self.groups.len() - 1
        });
        // Directories that were made meanwhile tell further hosts.
        for dir in &place.dirs {
            if !self.groups[group].dirs.iter().any(|(d, _)| *d == dir.0) {
                self.groups[group].dirs.push(dir.clone());
            }
        }
        group
    }
}

/// `shared via gpu01`.
fn via(host: &str) -> String {
    format!("shared via {host}")
}

/// The right to write a file while the others wait. Dropped, it is lost.
struct Lead {
    registry: Arc<Registry>,
    group: usize,
    over: bool,
}

impl Lead {
    fn end(&mut self, what: impl FnOnce(&mut Group)) {
        if !std::mem::replace(&mut self.over, true) {
            let mut state = self.registry.state();
            let group = &mut state.groups[self.group];
            what(group);
            group.led = false;
            group.over = None;
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(|group| {
            group.losses += 1;
            group.split |= group.losses >= LOSSES_MAX;
        });
    }
}

/// What one host has to do with files that others see too, in one part of it.
pub(super) struct Sharing {
    registry: Option<Arc<Registry>>,
    host: String,
    /// When the host looked.
    looked: u64,
    leads: BTreeMap<What, Lead>,
    /// Files that others write, or wrote.
    waits: BTreeMap<What, Option<watch::Receiver<()>>>,
    waited: BTreeMap<What, u32>,
    unseen: BTreeMap<What, usize>,
    alone: BTreeSet<What>,
    /// Directories to look into, since what they hold may have been seen before and be remembered wrongly.
    open: BTreeSet<RemotePath>,
}

impl Sharing {
    /// Without a registry every file is the host's own.
    pub(super) fn new(registry: Option<&Arc<Registry>>, host: &str) -> Self {
        Sharing {
            registry: registry.cloned(),
            host: host.to_string(),
            looked: 0,
            leads: BTreeMap::new(),
            waits: BTreeMap::new(),
            waited: BTreeMap::new(),
            unseen: BTreeMap::new(),
            alone: BTreeSet::new(),
            open: BTreeSet::new(),
        }
    }

    /// Whether there is anybody to share with.
    pub(super) fn asks(&self) -> bool {
        self.registry.is_some()
    }

    /// The host is about to look. Returns directories to look into beside its own.
    pub(super) fn looks(&mut self) -> impl Iterator<Item = &RemotePath> {
        self.looked = self.registry.as_ref().map_or(0, |r| r.state().moment);
        self.open.iter()
    }

    /// Takes the lead of what is to be written, as far as it has a place, and returns what is left to others for now.
    pub(super) fn claim(&mut self, jobs: &[Job], places: &BTreeMap<What, Place>) -> BTreeSet<What> {
        let Some(registry) = self.registry.clone() else { return BTreeSet::new() };
        for job in jobs {
            let Some(place) = places.get(&job.what) else { continue };
            let what = job.what.clone();
            if self.alone.contains(&what) || self.leads.contains_key(&what) {
                continue;
            }
            let wait = match self.claim_one(&registry, job, place) {
                Claim::Lead(lead) => {
                    self.leads.insert(what, lead);
                    continue;
                }
                Claim::Alone => {
                    self.alone.insert(what);
                    continue;
                }
                Claim::Wait(over) => {
                    *self.waited.entry(what.clone()).or_default() += 1;
                    Some(over)
                }
                Claim::Look => {
                    *self.waited.entry(what.clone()).or_default() += 1;
                    None
                }
                Claim::Unseen => {
                    *self.unseen.entry(what.clone()).or_default() += 1;
                    None
                }
            };
            self.waits.insert(what, wait);
            self.open.insert(job.missing.first().unwrap_or(&job.path).parent());
        }
        self.waits.keys().cloned().collect()
    }

    fn claim_one(&self, registry: &Arc<Registry>, job: &Job, place: &Place) -> Claim {
        let mut state = registry.state();
        let index = state.group(place);
        let group = &mut state.groups[index];
        let waited = self.waited.get(&job.what).copied().unwrap_or_default();
        if group.split || waited >= WAITS_MAX {
            return Claim::Alone;
        }
        if group.led {
            return Claim::Wait(group.over.get_or_insert_with(|| watch::Sender::new(())).subscribe());
        }
        if let Some(written) = group.written.as_ref().filter(|w| w.host != self.host) {
            if written.moment > self.looked {
                return Claim::Look;
            }
            // Whoever sees the other's file and wants another mode or more logins writes that.
            if job.new_hash() == written.hash && job.old.as_ref() != Some(&written.hash) {
                let looks = self.unseen.get(&job.what).copied().unwrap_or_default();
                if place.may_be_late() && looks < PAUSES.len() {
                    return Claim::Unseen;
                }
                group.split = true;
                return Claim::Alone;
            }
        }
        group.led = true;
        Claim::Lead(Lead { registry: registry.clone(), group: index, over: false })
    }

    /// The note for a file that is as it should be, when another host of this run wrote it: the very file that it read back, by its inode.
    pub(super) fn via(&mut self, what: &What, place: &Place) -> Option<String> {
        if let Some(mut lead) = self.leads.remove(what) {
            // Somebody else brought it to that state; nobody is to blame.
            lead.end(|_| {});
            return None;
        }
        let state = self.registry.as_ref()?.state();
        let written = state.groups[state.known(place)?].written.as_ref()?;
        // Where the inode could be another filesystem's, the host has to have seen that the file came.
        let it_is = written.inode == place.inode && ((written.inode.is_some() && place.inode_tells()) || self.waited.contains_key(what));
        (written.host != self.host && it_is).then(|| via(&written.host))
    }

    /// With `--check`: this file would be written. What only a look afterwards could tell from another file is said of nobody.
    pub(super) fn would(&self, job: &Job, place: Option<&Place>, row: Row) {
        let (Some(registry), Some(place)) = (&self.registry, place.filter(|p| p.inode_tells())) else { return };
        let mut state = registry.state();
        let group = state.group(place);
        state.would.push((group, job.new_hash(), self.host.clone(), row));
    }

    /// The program with this nonce is about to write.
    pub(super) fn writes(&self, nonce: &str) {
        if let Some(registry) = &self.registry {
            registry.state().at_work.insert(nonce.to_string());
        }
    }

    /// A file of ours was written and read back, or has gone.
    pub(super) fn written(&mut self, job: &Job, inode: Option<u64>) {
        let Some(mut lead) = self.leads.remove(&job.what) else { return };
        let moment = {
            let mut state = lead.registry.state();
            state.moment += 1;
            state.moment
        };
        let host = self.host.clone();
        lead.end(|group| {
            // Without an inode, nobody can be told that theirs is the same; a file that has gone has none for anybody.
            let inode = inode.filter(|_| job.content.is_some());
            let tells = inode.is_some() || job.content.is_none();
            group.written = tells.then(|| Written { host, hash: job.new_hash(), inode, moment });
        });
    }

    /// A file of ours cannot be written, for a reason that may be this host's own: the others try it all at once.
    pub(super) fn failed(&mut self, what: &What) {
        if let Some(mut lead) = self.leads.remove(what) {
            lead.end(|group| group.split = true);
        }
    }

    /// Gives up what is led still, waits for what others lead, and returns what to look at again. The waits count against no deadline of
    /// the host; each of them has one of its own.
    pub(super) async fn wait(&mut self, clock: &Clock, each: Duration) -> BTreeSet<What> {
        self.leads.clear();
        let _paused = clock.pause();
        let waits = std::mem::take(&mut self.waits);
        let mut pause = Duration::ZERO;
        for (what, over) in &waits {
            match over.clone() {
                Some(mut over) => {
                    // Nothing is ever sent, so it ends with the sender.
                    if tokio::time::timeout(each, over.changed()).await.is_err() {
                        self.alone.insert(what.clone());
                    }
                }
                None => pause = pause.max(self.unseen.get(what).and_then(|looks| PAUSES.get(looks - 1)).copied().unwrap_or_default()),
            }
        }
        tokio::time::sleep(pause).await;
        waits.into_keys().collect()
    }
}

#[cfg(test)]
mod tests;
