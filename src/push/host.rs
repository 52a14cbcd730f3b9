//! One host: connect, observe, merge, replace, read back; one row at the end, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zeroize::Zeroizing;

use super::auto;
use super::clearance::Clearance;
use super::decide::{Decider, Decision, Open, record_path, record_path_of_user};
use super::job::{Came, Done, Item, Job, Plan, What, append, complaint, items, read_back};
use super::memo::Memos;
use super::observe::{Seen, first_request};
use super::shared::Sharing;
use super::{Push, PushOptions, not_attempted};
use crate::format::consumer;
use crate::model::text::sanitize;
use crate::model::{Change, Host, HostRow, Outcome, RemotePath, Stage, Target};
use crate::node::protocol::{Nonce, Observe, Reply, ReplyReader, hello, staging_pattern};
use crate::node::run_as::RunAs;
use crate::plan::{self, Located};
use crate::transport::clock::Clock;
use crate::transport::{Connector, Session, Trouble};

/// How often a file that others keep changing is merged again.
pub(super) const ATTEMPTS_MAX: u32 = 5;
/// How many links deep we ask before giving up.
const ROUNDS_MAX: u32 = 6;

/// How far a host got, for the row of one that is cut off.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) stage: Option<Stage>,
    pub(super) sent: bool,
    pub(super) done: BTreeMap<usize, Done>,
    /// What the admin should know of the host itself.
    pub(super) notes: Vec<String>,
    /// Paths for reports that only the node could tell, by the place of the file among all of the host.
    pub(super) shown: BTreeMap<usize, String>,
}

/// Brings one host to its wanted state. `sent` is called when what shall be written leaves, which is not before `clearance` is given;
/// a host that it is refused to is left where it is.
pub(super) async fn push_host<C: Connector>(push: &Push<C>, host: &Host, memos: &Memos, sent: &(dyn Fn() + Send + Sync), clearance: &Clearance) -> HostRow {
    let progress = Mutex::new(Progress::default());
    // Nothing is asked of a node by these, which name the rows.
    let items = items(host, &push.logins, 0);
    let clock = Arc::new(Clock::default());
    let run = HostRun { push, host, memos, sent, clearance, progress: &progress, clock: &clock };
    let whole = async {
        let ended = clock.limit(push.options.host, run.run()).await;
        clearance.wait().await;
        ended
    };
    let ended = tokio::select! {
        biased;
        () = clearance.refused() => return not_attempted(host, Outcome::NotAttempted),
        ended = whole => ended,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => Err(Trouble::new(run.progress().stage.unwrap_or(Stage::Connect), format!("not done within {} s", push.options.host.as_secs()))),
    };
    let progress = progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    row(host, &items, progress, ended)
}

/// The host's row from what its files came to and from how the conversation ended.
fn row(host: &Host, items: &[Item<'_>], mut progress: Progress, ended: Result<(), Trouble>) -> HostRow {
    let mut row = not_attempted(host, Outcome::Unchanged);
    row.notes = std::mem::take(&mut progress.notes);
    let mut first_failure = None;
    for (i, file) in row.files.iter_mut().enumerate() {
        if let Some(shown) = progress.shown.remove(&i) {
            file.path = shown;
        }
        let Some(done) = progress.done.remove(&i) else { continue };
        if done.change == Change::Failed && first_failure.is_none() {
            let why = done.reason.as_deref().unwrap_or_default();
            // Most reasons name the file themselves.
            let named = why.contains(items[i].wanted.as_str()) || why.contains(items[i].spec.path.as_str()) || why.contains(&file.path);
            first_failure = Some((done.stage, if named { why.to_string() } else { format!("{}: {why}", file.path) }));
        }
        (file.change, file.reason, file.diff) = (done.change, done.reason, done.diff);
    }
    let wrote = row.files.iter().any(|f| matches!(f.change, Change::Created | Change::Updated | Change::Metadata));
    row.outcome = match (ended, first_failure) {
        (Err(Trouble { stage, reason }), _) if progress.sent => Outcome::Unknown { stage, reason },
        (Err(Trouble { stage, reason }), _) if stage <= Stage::Authenticate => Outcome::Unreachable { stage, reason },
        (Err(Trouble { stage, reason }), _) => Outcome::Failed { stage, reason },
        (Ok(()), Some((stage, reason))) => Outcome::Failed { stage, reason },
        (Ok(()), None) if wrote => Outcome::Changed,
        (Ok(()), None) => Outcome::Unchanged,
    };
    row
}

/// One host, from connecting to the end.
pub(super) struct HostRun<'a, C> {
    pub(super) push: &'a Push<C>,
    pub(super) host: &'a Host,
    pub(super) memos: &'a Memos,
    pub(super) sent: &'a (dyn Fn() + Send + Sync),
    clearance: &'a Clearance,
    progress: &'a Mutex<Progress>,
    pub(super) clock: &'a Arc<Clock>,
}

impl<C: Connector> HostRun<'_, C> {
    pub(super) fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn run(&self) -> Result<(), Trouble> {
        self.progress().stage = Some(Stage::Connect);
        let mut session = self.push.connector.connect(self.host, self.clock).await?;
        let mut result = self.all_parts(&mut session).await;
        if !self.progress().sent {
            let after = self.afterwards(&mut session, result.is_ok()).await;
            result = result.and(after);
        }
        session.close().await;
        result
    }

    /// The files of each user after those of root; one user's trouble does not keep the others from theirs.
    async fn all_parts(&self, session: &mut C::Session) -> Result<(), Trouble> {
        let mut places = BTreeMap::new();
        let mut result = Ok(());
        for mut part in parts(self.host) {
            let ended = self.part(session, &mut part, &mut places).await;
            if self.progress().sent {
                return ended;
            }
            result = result.and(ended.map_err(|t| match &part.user {
                Some(user) => Trouble::new(t.stage, format!("as {user}: {}", t.reason)),
                None => t,
            }));
        }
        result
    }

    async fn part(&self, session: &mut C::Session, part: &mut Part, places: &mut BTreeMap<RemotePath, RemotePath>) -> Result<(), Trouble> {
        let run_as = run_as(self.host, &self.push.connector.login(self.host), part.user.as_deref())?;
        let mut greeted = None;
        let (mut record, mut uid) = (record_path(self.host), 0);
        let paths = auto::questions(&part.host);
        let mut home = None;
        if part.user.is_some() || !paths.is_empty() {
            let (nonce, reply) = self.ahead(session, &run_as, part.user.as_deref(), paths).await?;
            home = part.user.as_deref().map(|user| home_of(user, &reply)).transpose()?;
            let settled = auto::settle(part, &reply);
            let mut progress = self.progress();
            progress.shown.extend(settled.shown);
            progress.done.extend(settled.failed.into_iter().map(|(i, why)| (i, Done::failed(Stage::Observe, why))));
            greeted = Some(nonce);
        }
        if part.host.targets.is_empty() {
            return Ok(());
        }
        if let Some((number, home)) = &home {
            (record, uid) = (record_path_of_user(self.host, home), *number);
            for target in &mut part.host.targets {
                if let Some(rest) = Target::below_home(&target.path) {
                    target.path = RemotePath::parse(&format!("{home}/{rest}")).map_err(|why| Trouble::new(Stage::Observe, why))?;
                }
            }
        }
        let home = home.map_or_else(|| RemotePath::parse("/root").expect("a constant"), |(_, home)| home);
        let items = items(&part.host, &self.push.logins, uid);
        let run = PartRun { run: self, host: &part.host, run_as, home, record: &record, items: &items, index: &part.index, is_root_s: part.user.is_none() };
        run.converse(session, greeted, places).await
    }

    /// Starts a program with these rights, and asks it what must be known before the files can be named: its user's home, these paths.
    async fn ahead(&self, session: &mut C::Session, run_as: &RunAs, user: Option<&str>, paths: Vec<String>) -> Result<(Nonce, Reply), Trouble> {
        self.progress().stage = Some(Stage::Start);
        let mut link = Link { session, nonce: Nonce::random(), greeted: false, deadline: self.push.options.command, clock: self.clock };
        link.start(run_as).await?;
        let request = Observe { home: user.map(str::to_string), paths, ..Observe::default() };
        let reply = link.exchange(request.encode(&self.host.root).as_bytes(), false).await?;
        if let Some(why) = reply.refused {
            return Err(Trouble::new(Stage::Start, format!("the node program does not work here: {}", sanitize(&why))));
        }
        if reply.torn {
            return Err(Trouble::new(Stage::Observe, "enroot's configuration changed while it was read; run again"));
        }
        Ok((link.nonce, reply))
    }
}

/// The number and the home that the node tells of the user as whom its program runs.
fn home_of(user: &str, reply: &Reply) -> Result<(u32, RemotePath), Trouble> {
    let trouble = |why: String| Trouble::new(Stage::Observe, why);
    let Some(home) = &reply.home else { return Err(trouble(format!("there is no user `{user}` on the node; create it, or name another `user:`"))) };
    match reply.me {
        Some((uid, _)) if uid == home.uid => {}
        Some((uid, _)) => return Err(trouble(format!("its number is {} in the passwd file there, but the program runs as {uid}", home.uid))),
        None => return Err(trouble("the node does not tell who we are there; is /proc mounted?".to_string())),
    }
    let dir = RemotePath::parse(&home.dir).ok().filter(|d| d.as_str() != "/");
    let dir = dir.ok_or_else(|| trouble("its home is no directory in which regprov writes: absolute, without white space, quotes and `..`".to_string()))?;
    Ok((home.uid, dir))
}

/// Whose rights the files of `user` need (`None`: root's) on a host where we log in as `login`, and how they are had.
pub(super) fn run_as(host: &Host, login: &str, user: Option<&str>) -> Result<RunAs, Trouble> {
    let becomes = host.becomes_root;
    match user {
        None if becomes && login != "root" => Ok(RunAs::Sudo { user: None }),
        None => Ok(RunAs::Login),
        Some(user) if user == login => Ok(RunAs::Login),
        Some(user) if becomes && login != "root" => Ok(RunAs::Sudo { user: Some(user.to_string()) }),
        Some(user) if login == "root" => Ok(RunAs::Su { user: user.to_string() }),
        Some(user) => {
            let why = format!("files of {user} cannot be written by {login}; log in as root or as {user}, or set `become: true`");
            Err(Trouble::new(Stage::Start, why))
        }
    }
}

/// The targets of a host that are written with one user's rights.
pub(super) struct Part {
    /// Whose; `None` is root, or who logs in.
    pub(super) user: Option<String>,
    /// The host with these targets only.
    pub(super) host: Host,
    /// The place of each file of theirs among all files of the host.
    pub(super) index: Vec<usize>,
}

/// The parts of a host, root's first and then the users in the order of their targets.
fn parts(host: &Host) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut position = 0;
    for target in &host.targets {
        let files = (consumer(target.kind).files)(target).len();
        let at = parts.iter().position(|p| p.user == target.user).unwrap_or_else(|| {
            parts.push(Part { user: target.user.clone(), host: Host { targets: Vec::new(), ..host.clone() }, index: Vec::new() });
            parts.len() - 1
        });
        parts[at].host.targets.push(target.clone());
        parts[at].index.extend(position..position + files);
        position += files;
    }
    parts.sort_by_key(|p| p.user.is_some());
    parts
}

/// One part of a host: its files, and one program at a time that writes them.
pub(super) struct PartRun<'a, C> {
    pub(super) run: &'a HostRun<'a, C>,
    pub(super) host: &'a Host,
    pub(super) run_as: RunAs,
    /// The home of the user whose files they are, without the host's `root:`.
    pub(super) home: RemotePath,
    /// Where the record is wanted.
    record: &'a RemotePath,
    pub(super) items: &'a [Item<'a>],
    index: &'a [usize],
    /// The files are root's, and not those of a user.
    is_root_s: bool,
}

impl<C: Connector> PartRun<'_, C> {
    pub(super) fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.run.progress()
    }

    pub(super) fn options(&self) -> &PushOptions {
        &self.run.push.options
    }

    pub(super) fn at(&self, stage: Stage) {
        tracing::debug!(host = %self.host.name, "{stage}");
        self.progress().stage = Some(stage);
    }

    fn done(&self, item: usize, done: Done) {
        self.progress().done.insert(self.index[item], done);
    }

    /// `greeted` is the nonce of a program that runs already; `places` are the files of other parts.
    async fn converse(&self, session: &mut C::Session, mut greeted: Option<Nonce>, places: &mut BTreeMap<RemotePath, RemotePath>) -> Result<(), Trouble> {
        self.hand_over(session, &mut greeted).await?;
        let others = places.clone();
        let mut open = Open { items: (0..self.items.len()).collect(), ..Open::default() };
        let mut sharing = Sharing::new(self.run.memos.shared.as_ref(), &self.host.name);
        loop {
            greeted = self.attempts(session, greeted, places, &others, &mut open, &mut sharing).await?;
            if open.left.is_empty() {
                return Ok(());
            }
            let again = sharing.wait(self.run.clock, self.options().host).await;
            open = Open { items: again, failed: open.failed, ..Open::default() };
        }
    }

    /// Does what is open, but for items that are left to other hosts. Returns the nonce of a program that still waits for a request.
    async fn attempts(
        &self,
        session: &mut C::Session,
        mut greeted: Option<Nonce>,
        places: &mut BTreeMap<RemotePath, RemotePath>,
        others: &BTreeMap<RemotePath, RemotePath>,
        open: &mut Open,
        sharing: &mut Sharing,
    ) -> Result<Option<Nonce>, Trouble> {
        let mut lock = None;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(jitter(attempt)).await;
            }
            self.at(Stage::Start);
            let (deadline, clock) = (self.options().command, &**self.run.clock);
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
            self.at(Stage::Render);
            let (options, memos) = (self.options(), self.run.memos);
            let decider = Decider { host: self.host, own: self.record, others, items: self.items, options, memos, seen: &seen };
            let mut decision = decider.decide(open)?;
            let notes = if options.check { BTreeMap::new() } else { self.shared(&decision, open, sharing) };
            if !notes.is_empty() || !open.left.is_empty() {
                decision = decider.decide(open)?;
            }
            let Decision { mut plan, settled, places: found, same } = decision;
            places.extend(found);
            for (item, mut done) in settled {
                // Else, when a backup comes first and no later attempt gets through, it would be called contended.
                open.items.remove(&item);
                if let Some(note) = notes.get(&item) {
                    match self.reads(item, &seen) {
                        Ok(()) => append(&mut done.reason, note),
                        Err(why) => done = Done::failed(Stage::ReadBack, why),
                    }
                }
                if done.change == Change::Failed {
                    sharing.failed(item);
                    open.failed.insert(item);
                }
                self.done(item, done);
            }
            if options.check {
                for job in plan.jobs {
                    if let Some(item) = job.item() {
                        sharing.would(&job, same.get(&item), self.index[item]);
                        self.done(item, Done { change: job.change, stage: Stage::Render, reason: job.notes, diff: job.diff });
                    }
                }
                return Ok(None);
            }
            if plan.jobs.is_empty() && plan.sweep.is_empty() {
                return Ok(Some(link.nonce));
            }
            for job in &plan.jobs {
                tracing::debug!(host = %self.host.name, path = %job.path, bytes = job.content.len(), change = job.change.name(), "to write");
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
                self.replace(&mut link, plan, &seen, sharing).await?;
                continue;
            }
            let (failed, left) = (std::mem::take(&mut open.failed), std::mem::take(&mut open.left));
            *open = self.replace(&mut link, plan, &seen, sharing).await?;
            open.failed.extend(failed);
            open.left = left;
            if open.items.is_empty() && !open.record {
                return Ok(None);
            }
        }
        let lock = if self.is_root_s { "/var/lib/regprov" } else { "~/.local/state/regprov" };
        let why = match open.busy {
            true => format!("contended: another run of regprov, or a process that holds the lock of {lock}, did not let go; run again"),
            false => "contended: other programs kept changing it while regprov tried 5 times; run again".to_string(),
        };
        for item in std::mem::take(&mut open.items) {
            self.done(item, Done::failed(Stage::Replace, why.clone()));
        }
        Ok(None)
    }

    /// Leaves to other hosts what they write already, and returns the notes for files that they wrote. Those are ours in the record too:
    /// the host that wrote them may be gone when they are to be taken away.
    fn shared(&self, decision: &Decision, open: &mut Open, sharing: &mut Sharing) -> BTreeMap<usize, String> {
        let left = sharing.claim(&decision.plan.jobs, &decision.same);
        open.items.retain(|item| !left.contains(item));
        open.left.extend(left);
        let unchanged = decision.settled.iter().filter(|(_, done)| done.change == Change::Unchanged);
        let notes: BTreeMap<_, _> = unchanged.filter_map(|(i, _)| Some((*i, sharing.via(*i, decision.same.get(i)?)?))).collect();
        open.record |= !notes.is_empty();
        notes
    }

    /// Reads an item's file, as it is seen here, by its consumer's rules.
    fn reads(&self, item: usize, seen: &Seen) -> Result<(), String> {
        let Located::At { path, .. } = plan::locate(&self.items[item].wanted, &self.host.root, seen.me().0, seen) else { return Ok(()) };
        let Some(file) = seen.reply.files.get(path.as_str()) else { return Ok(()) };
        read_back(self.host, &self.items[item], seen, self.options().merge, self.run.memos, &file.content)
    }

    /// Asks until every link on the way to a file has been followed.
    pub(super) async fn observe(&self, link: &mut Link<'_, C::Session>, lock: Option<RemotePath>, sharing: &mut Sharing) -> Result<Seen, Trouble> {
        let mut request = first_request(self.host, self.items, self.record, self.options().merge.replace_invalid);
        request.lock = lock;
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
            if uid != 0 && self.is_root_s && self.host.root.as_str() == "/" {
                let why = format!("the SSH user has user id {uid} there, but these files are root's; set `user: root`, or `become: true`");
                return Err(Trouble::new(Stage::Observe, why));
            }
            let mut paths = BTreeSet::new();
            for wanted in self.items.iter().map(|i| &i.wanted).chain([self.record]) {
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

    /// Sends the payload, and settles each item by what can be read afterwards; those that met a conflict come back.
    async fn replace(&self, link: &mut Link<'_, C::Session>, mut plan: Plan, seen: &Seen, sharing: &mut Sharing) -> Result<Open, Trouble> {
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
            let item = job.item();
            let came = job.came(reply.verdicts.get(&position).copied(), &reply, |content| match item {
                Some(item) => read_back(self.host, &self.items[item], seen, self.options().merge, self.run.memos, content),
                None => Ok(()),
            });
            match (came, item) {
                (Came::Conflict, item) => {
                    again.items.extend(item);
                    again.record |= job.what == What::Record;
                }
                (Came::Written, Some(item)) => {
                    sharing.written(item, &job.content, reply.inodes.get(job.path.as_str()).copied());
                    self.done(item, Done { change: job.change, stage: Stage::ReadBack, reason: job.notes, diff: job.diff });
                }
                (Came::Failed(stage, why), Some(item)) => {
                    sharing.failed(item);
                    again.failed.insert(item);
                    self.done(item, Done::failed(stage, why));
                }
                (Came::Written, None) => {}
                // The host has failed, but its other files are what they are.
                (Came::Failed(stage, why), None) => trouble = Some(Trouble::new(stage, format!("{}: {why}", job.path))),
            }
        }
        trouble.map_or(Ok(again), Err)
    }
}

/// A conversation with one node program.
pub(super) struct Link<'a, S> {
    pub(super) session: &'a mut S,
    pub(super) nonce: Nonce,
    pub(super) greeted: bool,
    pub(super) deadline: Duration,
    pub(super) clock: &'a Clock,
}

impl<S: Session> Link<'_, S> {
    pub(super) async fn start(&mut self, run_as: &RunAs) -> Result<(), Trouble> {
        let what = match run_as {
            RunAs::Login => "no channel was opened",
            RunAs::Sudo { .. } => "sudo let nobody in",
            RunAs::Su { .. } => "su let nobody in",
        };
        let late = || Trouble::new(Stage::Start, format!("{what} within {} s", self.deadline.as_secs()));
        self.clock.limit(self.deadline, self.session.start(run_as)).await.unwrap_or_else(|| Err(late()))
    }

    pub(super) async fn exchange(&mut self, request: &[u8], last: bool) -> Result<Reply, Trouble> {
        let (hello, mut reader) = match self.greeted {
            true => (String::new(), ReplyReader::again(self.nonce.clone())),
            false => (hello(&self.nonce), ReplyReader::new(self.nonce.clone())),
        };
        self.greeted = true;
        let mut bytes = Zeroizing::new(Vec::with_capacity(hello.len() + request.len()));
        bytes.extend_from_slice(hello.as_bytes());
        bytes.extend_from_slice(request);
        let late = || Trouble::new(Stage::Observe, format!("the node program gave no answer within {} s", self.deadline.as_secs()));
        tokio::time::timeout(self.deadline, self.session.exchange(bytes, last, &mut reader)).await.map_err(|_| late())?
    }
}

/// 40 to 167 ms before the second attempt, 40 more before each further one.
fn jitter(attempt: u32) -> Duration {
    let mut byte = [0u8; 1];
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(u64::from(attempt) * 40 + u64::from(byte[0]) / 2)
}
