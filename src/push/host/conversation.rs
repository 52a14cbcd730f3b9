//! The conversation with the nodes' programs about one part of a host: look, decide, replace, look again, until nothing is open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::PushOptions;
use super::super::decide::{Decider, Decision, Open};
use super::super::job::{Came, Done, Item, Job, Plan, What, append, complaint, read_back};
use super::super::observe::{Seen, first_request};
use super::super::remove::{Taker, Task};
use super::super::same::Place;
use super::super::shared::{Row, Sharing};
use super::super::status::needs_curl;
use super::{HostRun, Link, Progress, parted};
use crate::format::owned::Claim;
use crate::model::text::sanitize;
use crate::model::{Change, Host, RemotePath, Stage};
use crate::node::protocol::{Nonce, Observe, staging_pattern};
use crate::node::run_as::RunAs;
use crate::plan::{self, Located};
use crate::transport::{Connector, Trouble};

/// How often a file that others keep changing is merged again.
pub(in super::super) const ATTEMPTS_MAX: u32 = 5;
/// How many links deep we ask before giving up.
const ROUNDS_MAX: u32 = 6;

/// One part of a host: its files, and one program at a time that writes them.
pub(in super::super) struct PartRun<'a, C> {
    pub(in super::super) run: &'a HostRun<'a, C>,
    pub(in super::super) host: &'a Host,
    pub(in super::super) run_as: RunAs,
    /// The user whose files these are; `None` when they are root's.
    pub(super) user: Option<&'a str>,
    /// The home of the user whose files they are, without the host's `root:`.
    pub(in super::super) home: RemotePath,
    /// Whether the node does not tell where a file of enroot's lies.
    pub(super) unplaced: bool,
    /// Where the record is wanted.
    pub(super) record: &'a RemotePath,
    pub(in super::super) items: &'a [Item<'a>],
    /// The place of each item among all files of the host.
    pub(super) index: &'a [usize],
}

impl<C: Connector> PartRun<'_, C> {
    pub(in super::super) fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.run.progress()
    }

    pub(in super::super) fn options(&self) -> &PushOptions {
        &self.run.push.options
    }

    pub(in super::super) fn at(&self, stage: Stage) {
        tracing::debug!(host = %self.host.name, "{stage}");
        self.progress().stage = Some(stage);
    }

    /// What became of a file. The record is nobody's row.
    fn done(&self, what: &What, claims: &[Claim], done: Done) {
        match what {
            What::Item(item) => drop(self.progress().done.insert(self.index[*item], done)),
            What::Held(path) => claims.iter().filter(|c| c.spec.path == *path).take(1).for_each(|claim| self.held(claim, done.clone())),
            What::Record | What::Backup => {}
        }
    }

    /// `greeted` is the nonce of a program that runs already; `places` are the files of other parts.
    pub(super) async fn converse(
        &self,
        session: &mut C::Session,
        mut greeted: Option<Nonce>,
        places: &mut BTreeMap<RemotePath, RemotePath>,
    ) -> Result<(), Trouble> {
        if self.run.look.is_none() && !matches!(self.run.task, Task::Remove(_)) {
            self.hand_over(session, &mut greeted).await?;
        }
        let others = places.clone();
        let mut open = Open { items: (0..self.items.len()).collect(), ..Open::default() };
        let mut sharing = Sharing::new(self.run.memos.shared.as_ref(), &self.host.name);
        loop {
            greeted = self.attempts(session, greeted, places, &others, &mut open, &mut sharing).await?;
            if open.left.is_empty() {
                return Ok(());
            }
            let again = sharing.wait(self.run.clock, self.options().host).await;
            open = Open { items: again.iter().filter_map(What::item).collect(), failed: open.failed, ..Open::default() };
        }
    }

    /// Does what is open, but for files that are left to other hosts. Returns the nonce of a program that still waits for a request.
    async fn attempts(
        &self,
        session: &mut C::Session,
        mut greeted: Option<Nonce>,
        places: &mut BTreeMap<RemotePath, RemotePath>,
        others: &BTreeMap<RemotePath, RemotePath>,
        open: &mut Open,
        sharing: &mut Sharing,
    ) -> Result<Option<Nonce>, Trouble> {
        let (options, memos) = (self.options(), self.run.memos);
        let mut lock = None;
        // What goes is forgotten by the record once it is gone.
        let mut to_forget = !matches!(self.run.task, Task::Apply);
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(jitter(attempt)).await;
            }
            self.at(Stage::Start);
            let (deadline, clock) = (options.command, &**self.run.clock);
            let mut link = match greeted.take() {
                Some(nonce) => Link { session: &mut *session, nonce, greeted: true, deadline, clock },
                None => {
                    let mut link = Link { session: &mut *session, nonce: Nonce::random(), greeted: false, deadline, clock };
                    link.start(&self.run_as).await?;
                    link
                }
            };
            self.at(Stage::Observe);
            let seen = self.observe(&mut link, lock.take(), sharing).await?;
            open.busy = seen.reply.busy;
            if seen.reply.busy || seen.reply.torn {
                tracing::info!(host = %self.host.name, attempt, busy = seen.reply.busy, "another program is at work there");
                continue;
            }
            if let Some(look) = &self.run.look {
                self.look(look, &seen)?;
                return Ok(None);
            }
            self.at(Stage::Render);
            let claims = self.read_claims(&seen)?;
            let taker = Taker {
                task: self.run.task,
                host: self.host,
                items: self.items,
                logins: &self.run.push.logins,
                claims: &claims,
                unplaced: self.unplaced,
                seen: &seen,
            };
            let outgoing = taker.outgoing();
            let with_items = taker.with_items(&outgoing);
            let decider = Decider { host: self.host, own: self.record, others, items: self.items, options, memos, seen: &seen, outgoing: with_items };
            let decide = |open: &Open| {
                let mut decision = match self.run.task {
                    Task::Remove(_) => self.unwanted(decider.decide(&Open::default())?),
                    Task::Apply | Task::Prune => decider.decide(open)?,
                };
                taker.add(&outgoing, open, &mut decision);
                Ok::<Decision, Trouble>(decision)
            };
            let mut decision = decide(open)?;
            let notes = if options.check { BTreeMap::new() } else { self.shared(&decision, open, sharing) };
            if !notes.is_empty() || !open.left.is_empty() {
                decision = decide(open)?;
            }
            let mut forgets = false;
            if to_forget && !options.check && decision.plan.jobs.is_empty() && open.left.is_empty() {
                to_forget = false;
                forgets = self.forget(taker.forget(&outgoing, self.record, &options.inventory_id), &seen, open, sharing, &mut decision);
            }
            let Decision { mut plan, settled, places: found, same } = decision;
            places.extend(found);
            for (what, mut done) in settled {
                let item = what.item();
                // Else, when a backup comes first and no later attempt gets through, it would be called contended.
                if let Some(item) = item {
                    open.items.remove(&item);
                }
                if let Some(note) = notes.get(&what) {
                    match item.map_or(Ok(()), |item| self.reads(item, &seen)) {
                        Ok(()) => append(&mut done.reason, note),
                        Err(why) => done = Done::failed(Stage::ReadBack, why),
                    }
                }
                if done.change == Change::Failed {
                    sharing.failed(&what);
                    open.failed.insert(what.clone());
                }
                self.done(&what, &claims, done);
            }
            if options.check {
                for job in plan.jobs {
                    let row = match &job.what {
                        What::Item(item) => Some(Row::File(self.index[*item])),
                        What::Held(path) => claims.iter().find(|c| c.spec.path == *path).map(|c| self.place_in_report(c)),
                        What::Record | What::Backup => None,
                    };
                    if let Some(row) = row {
                        sharing.would(&job, same.get(&job.what), row);
                    }
                    self.done(&job.what, &claims, Done { change: job.change, stage: Stage::Render, reason: job.notes, diff: job.diff });
                }
                return Ok(None);
            }
            if plan.jobs.is_empty() && plan.sweep.is_empty() {
                return Ok(Some(link.nonce));
            }
            for job in &plan.jobs {
                tracing::debug!(host = %self.host.name, path = %job.path, bytes = job.content.as_ref().map_or(0, |c| c.len()), change = job.change.name(), "to write");
            }
            {
                let _paused = clock.pause();
                self.run.clearance.wait().await;
            }
            self.at(Stage::Replace);
            lock = Some(plan.lock.clone());
            if plan.jobs.iter().any(|j| j.what == What::Backup) {
                // What is to be kept is kept for certain before its file is replaced, in the next attempt.
                plan.jobs.retain(|j| j.what == What::Backup);
                self.replace(&mut link, plan, &seen, &claims, sharing).await?;
                continue;
            }
            let (failed, left) = (std::mem::take(&mut open.failed), std::mem::take(&mut open.left));
            *open = self.replace(&mut link, plan, &seen, &claims, sharing).await?;
            open.failed.extend(failed);
            open.left = left;
            to_forget |= forgets && open.record;
            // What is left to others is looked at again, and what is to be forgotten with it.
            if open.items.is_empty() && !open.record && (!to_forget || !open.left.is_empty()) {
                return Ok(None);
            }
        }
        let lock = if self.user.is_none() { "/var/lib/regprov" } else { "~/.local/state/regprov" };
        let why = match open.busy {
            true => format!("contended: another run of regprov, or a process that holds the lock of {lock}, did not let go; run again"),
            false => "contended: other programs kept changing it while regprov tried 5 times; run again".to_string(),
        };
        if self.run.look.is_some() {
            return Err(Trouble::new(Stage::Observe, why));
        }
        for item in std::mem::take(&mut open.items) {
            self.done(&What::Item(item), &[], Done::failed(Stage::Replace, why.clone()));
        }
        if to_forget { Err(Trouble::new(Stage::Replace, why)) } else { Ok(None) }
    }

    /// Leaves to other hosts what they write already, and returns the notes for files that they wrote. Files of ours are so in the record
    /// too: the host that wrote them may be gone when they are to be taken away.
    fn shared(&self, decision: &Decision, open: &mut Open, sharing: &mut Sharing) -> BTreeMap<What, String> {
        let left = sharing.claim(&decision.plan.jobs, &decision.same);
        open.items.retain(|item| !left.contains(&What::Item(*item)));
        open.left.extend(left);
        let unchanged = decision.settled.iter().filter(|(_, done)| done.change == Change::Unchanged);
        let notes: BTreeMap<_, _> = unchanged.filter_map(|(what, _)| Some((what.clone(), sharing.via(what, decision.same.get(what)?)?))).collect();
        open.record |= notes.keys().any(|what| what.item().is_some());
        notes
    }

    /// Plans what makes the record forget, unless another host that sees the same record is at it. Whether it is planned.
    fn forget(&self, job: Option<Job>, seen: &Seen, open: &mut Open, sharing: &mut Sharing, decision: &mut Decision) -> bool {
        let Some(job) = job else { return false };
        decision.same.extend(Place::of(seen, &job.path).map(|place| (What::Record, place)));
        let left = sharing.claim(std::slice::from_ref(&job), &decision.same);
        if left.contains(&What::Record) {
            open.left.extend(left);
            return false;
        }
        decision.plan.jobs.push(job);
        true
    }

    /// Reads an item's file, as it is seen here, by its consumer's rules.
    fn reads(&self, item: usize, seen: &Seen) -> Result<(), String> {
        let Located::At { path, .. } = plan::locate(&self.items[item].wanted, &self.host.root, seen.me().0, seen) else { return Ok(()) };
        let Some(file) = seen.reply.files.get(path.as_str()) else { return Ok(()) };
        read_back(self.host, &self.items[item], seen, self.options().merge, self.run.memos, &file.content)
    }

    /// Asks until every link on the way to a file has been followed.
    pub(in super::super) async fn observe(&self, link: &mut Link<'_, C::Session>, lock: Option<RemotePath>, sharing: &mut Sharing) -> Result<Seen, Trouble> {
        let mut request = first_request(self.host, self.items, self.record, self.options().merge.replace_invalid);
        request.lock = lock;
        request.curl |= self.run.look.is_some() && self.host.curl.is_none() && needs_curl(self.items);
        request.shared = sharing.asks();
        request.paths.extend(sharing.looks().map(staging_pattern));
        let mut seen = Seen::default();
        for _ in 0..ROUNDS_MAX {
            let text = request.encode(&self.host.root);
            let reply = link.exchange(text.as_bytes(), false).await?;
            if let Some(why) = reply.refused {
                return Err(Trouble::new(Stage::Start, format!("the node program does not work here: {}", sanitize(&why))));
            }
            seen.add(&request, reply);
            if seen.reply.busy || seen.reply.torn {
                return Ok(seen);
            }
            let Some((uid, _)) = seen.reply.me else {
                return Err(Trouble::new(Stage::Observe, "the node does not tell who we are there; is /proc mounted?"));
            };
            if uid != 0 && self.user.is_none() && self.host.root.as_str() == "/" {
                let why = format!("the SSH user has user id {uid} there, but these files are root's; set `user: root`, or `become: true`");
                return Err(Trouble::new(Stage::Observe, why));
            }
            let mut paths = BTreeSet::new();
            // What cannot be read is told when it is decided what to do.
            let claimed: Vec<RemotePath> = self.claims(&seen).unwrap_or_default().iter().map(|c| c.spec.path.below(&self.host.root)).collect();
            for wanted in self.items.iter().map(|i| &i.wanted).chain([self.record]).chain(&claimed) {
                match plan::locate(wanted, &self.host.root, uid, &seen) {
                    Located::Ask(more) => paths.extend(more.iter().map(ToString::to_string)),
                    // Behind a link, stale staging directories lie where we did not look yet.
                    Located::At { path, .. } => paths.extend(Some(staging_pattern(&path.parent())).filter(|p| !seen.asked(p))),
                }
            }
            if paths.is_empty() {
                return Ok(seen);
            }
            request = Observe { paths: paths.into_iter().collect(), shared: request.shared, ..Observe::default() };
        }
        Err(Trouble::new(Stage::Observe, "the links there lead further than regprov follows"))
    }

    /// Sends the payload, and settles each file by what can be read afterwards; those that met a conflict come back.
    async fn replace(&self, link: &mut Link<'_, C::Session>, mut plan: Plan, seen: &Seen, claims: &[Claim], sharing: &mut Sharing) -> Result<Open, Trouble> {
        plan.jobs.sort_by_key(|j| (j.path.parent(), j.path.clone()));
        sharing.writes(link.nonce.as_str());
        let request = plan.request(seen, &link.nonce)?;
        self.progress().sent = true;
        (self.run.sent)();
        let reply = link.exchange(&request, true).await.map_err(|t| Trouble::new(Stage::Replace, t.reason))?;
        self.progress().sent = false;
        if let Some(why) = &reply.refused {
            let reason = complaint(&reply.complaints, &plan.lock);
            return Err(Trouble::new(Stage::Replace, format!("the node program does not work here: {}: {reason}", sanitize(why))));
        }
        if reply.busy || reply.torn {
            return Ok(Open { items: plan.jobs.iter().filter_map(Job::item).collect(), record: true, busy: reply.busy, ..Open::default() });
        }
        let mut again = Open::default();
        let mut trouble = None;
        for (position, job) in plan.jobs.into_iter().enumerate() {
            let came = job.came(reply.verdicts.get(&position).copied(), &reply, |content| match job.item() {
                Some(item) => read_back(self.host, &self.items[item], seen, self.options().merge, self.run.memos, content),
                None => Ok(()),
            });
            match came {
                // Of a file that loses what we wrote the record still tells, so the next attempt finds it again.
                Came::Conflict => {
                    again.items.extend(job.item());
                    again.record |= job.what == What::Record;
                }
                Came::Written => {
                    sharing.written(&job, reply.inodes.get(job.path.as_str()).copied());
                    self.done(&job.what, claims, Done { change: job.change, stage: Stage::ReadBack, reason: job.notes, diff: job.diff });
                }
                Came::Failed(stage, why) => {
                    sharing.failed(&job.what);
                    match job.what {
                        // The host has failed, but its other files are what they are.
                        What::Record | What::Backup => trouble = Some(Trouble::new(stage, format!("{}: {why}", job.path))),
                        what => {
                            self.done(&what, claims, Done::failed(stage, why));
                            again.failed.insert(what);
                        }
                    }
                }
            }
        }
        trouble.map_or(Ok(again), Err)
    }

    /// A path of this part as reports show it.
    pub(super) fn shown(&self, path: &RemotePath) -> String {
        parted(self.host, self.user.map(|user| (user, &self.home)), path)
    }
}

/// 40 to 167 ms before the second attempt, 40 more before each further one.
fn jitter(attempt: u32) -> Duration {
    let mut byte = [0u8; 1];
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(u64::from(attempt) * 40 + u64::from(byte[0]) / 2)
}
