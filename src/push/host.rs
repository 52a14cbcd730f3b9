//! One host: connect, observe, merge, replace, read back; one row at the end, whatever happens.

mod looking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zeroize::Zeroizing;

use super::decide::{Decider, Decision, Open, record_path, record_path_of_user};
use super::job::{Came, Done, Item, Job, Plan, What, complaint, items, read_back};
use super::memo::Memos;
use super::observe::{Seen, first_request};
use super::remove::{Taker, Task};
use super::status::needs_curl;
use super::{Push, PushOptions, not_attempted};
use crate::format::consumer;
use crate::format::owned::Claim;
use crate::model::status::FileStatus;
use crate::model::text::sanitize;
use crate::model::{Change, FileRow, Host, HostRow, Outcome, RemotePath, Stage, Target};
use crate::node::protocol::{Nonce, Observe, Reply, ReplyReader, hello, staging_pattern};
use crate::node::run_as::RunAs;
use crate::plan::{self, Located};
use crate::transport::clock::Clock;
use crate::transport::{Connector, Session, Trouble};
use looking::Look;
pub(super) use looking::{look, parted};

/// How often a file that others keep changing is merged again.
const ATTEMPTS_MAX: u32 = 5;
/// How many links deep we ask before giving up.
const ROUNDS_MAX: u32 = 6;

/// How far a host got, for the row of one that is cut off.
#[derive(Default)]
struct Progress {
    stage: Option<Stage>,
    sent: bool,
    done: BTreeMap<usize, Done>,
    /// What became of files that lost what we wrote: consumer and path as reports show it.
    held: BTreeMap<(&'static str, String), Done>,
    /// What a look found, by the place of each file among all files of the host.
    found: BTreeMap<usize, FileStatus>,
    /// What a look found in files that no target names.
    found_beside: Vec<FileStatus>,
}

/// Brings one host to its wanted state. `sent` is called when what shall be written leaves.
pub(super) async fn push_host<C: Connector>(push: &Push<C>, task: &Task, host: &Host, memos: &Memos, sent: &(dyn Fn() + Send + Sync)) -> HostRow {
    let progress = Mutex::new(Progress::default());
    let items = items(host, &push.logins);
    let clock = Arc::new(Clock::default());
    let run = HostRun { push, task, host, memos, sent, look: None, progress: &progress, clock: &clock };
    let ended = run.in_time().await;
    let progress = progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    row(host, &items, progress, ended)
}

/// The host's row from what its files came to and from how the conversation ended.
fn row(host: &Host, items: &[Item<'_>], mut progress: Progress, ended: Result<(), Trouble>) -> HostRow {
    let mut row = not_attempted(host, Outcome::Unchanged);
    let mut first_failure = None;
    for (i, file) in row.files.iter_mut().enumerate() {
        let Some(done) = progress.done.remove(&i) else { continue };
        if done.change == Change::Failed && first_failure.is_none() {
            let why = done.reason.as_deref().unwrap_or_default();
            // Most reasons name the file themselves.
            let named = why.contains(items[i].wanted.as_str()) || why.contains(items[i].spec.path.as_str());
            first_failure = Some((done.stage, if named { why.to_string() } else { format!("{}: {why}", file.path) }));
        }
        (file.change, file.reason, file.diff) = (done.change, done.reason, done.diff);
    }
    for ((target, path), done) in progress.held {
        if done.change == Change::Failed && first_failure.is_none() {
            first_failure = Some((done.stage, format!("{path}: {}", done.reason.as_deref().unwrap_or_default())));
        }
        let file = FileRow { target, path, change: done.change, reason: done.reason, diff: done.diff };
        match row.files.iter_mut().find(|f| (f.target, &f.path) == (target, &file.path)) {
            Some(same) => *same = file,
            None => row.files.push(file),
        }
    }
    let wrote = row.files.iter().any(|f| f.change.is_change());
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
struct HostRun<'a, C> {
    push: &'a Push<C>,
    task: &'a Task,
    host: &'a Host,
    memos: &'a Memos,
    sent: &'a (dyn Fn() + Send + Sync),
    /// Nothing is written then.
    look: Option<Look<'a>>,
    progress: &'a Mutex<Progress>,
    clock: &'a Arc<Clock>,
}

impl<C: Connector> HostRun<'_, C> {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The whole of it, within the time that a host may take.
    async fn in_time(&self) -> Result<(), Trouble> {
        let limit = self.push.options.host;
        match self.clock.limit(limit, self.run()).await {
            Some(ended) => ended,
            None => Err(Trouble::new(self.progress().stage.unwrap_or(Stage::Connect), format!("not done within {} s", limit.as_secs()))),
        }
    }

    async fn run(&self) -> Result<(), Trouble> {
        self.progress().stage = Some(Stage::Connect);
        let mut session = self.push.connector.connect(self.host, self.clock).await?;
        let result = self.all_parts(&mut session).await;
        session.close().await;
        result
    }

    /// The files of each user after those of root; one user's trouble does not keep the others from theirs.
    async fn all_parts(&self, session: &mut C::Session) -> Result<(), Trouble> {
        let mut places = BTreeMap::new();
        let mut result = Ok(());
        for mut part in parts(self.host, self.has_bare_root()) {
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

    /// The inventory whose part of the record this run is about, if it is about any.
    fn record_of(&self) -> Option<&str> {
        match (&self.look, self.task) {
            (Some(look), _) => look.inventory_id,
            (None, Task::Apply) => None,
            (None, Task::Prune | Task::Remove(_)) => Some(&self.push.options.inventory_id),
        }
    }

    /// Whether root's record counts although no target of root's is left: where it is read at all, and can be.
    fn has_bare_root(&self) -> bool {
        let reads = self.record_of().is_some();
        let is_image = self.host.targets.is_empty() && self.host.root.as_str() != "/";
        reads && (is_image || self.host.becomes_root || self.push.connector.login(self.host) == "root")
    }

    async fn part(&self, session: &mut C::Session, part: &mut Part, places: &mut BTreeMap<RemotePath, RemotePath>) -> Result<(), Trouble> {
        let run_as = run_as(self.host, &self.push.connector.login(self.host), part.user.as_deref())?;
        let mut greeted = None;
        let mut record = record_path(self.host);
        let mut own_home = None;
        if let Some(user) = &part.user {
            let (nonce, home) = self.home(session, &run_as, user).await?;
            record = record_path_of_user(self.host, &home);
            own_home = Some((user.as_str(), home.clone()));
            for target in &mut part.host.targets {
                if let Some(rest) = Target::below_home(&target.path) {
                    target.path = RemotePath::parse(&format!("{home}/{rest}")).map_err(|why| Trouble::new(Stage::Observe, why))?;
                }
            }
            greeted = Some(nonce);
        }
        let items = items(&part.host, &self.push.logins);
        let home = own_home.as_ref().map(|(user, home)| (*user, home));
        let run = PartRun { run: self, host: &part.host, run_as, record: &record, items: &items, index: &part.index, home };
        run.converse(session, greeted, places).await
    }

    /// Starts a program with a user's rights and asks it for that user's home.
    async fn home(&self, session: &mut C::Session, run_as: &RunAs, user: &str) -> Result<(Nonce, RemotePath), Trouble> {
        let trouble = |why: String| Trouble::new(Stage::Observe, why);
        self.progress().stage = Some(Stage::Start);
        let mut link = Link { session, nonce: Nonce::random(), greeted: false, deadline: self.push.options.command, clock: self.clock };
        link.start(run_as).await?;
        let request = Observe { home: Some(user.to_string()), ..Observe::default() };
        let reply = link.exchange(request.encode(&self.host.root).as_bytes(), false).await?;
        if let Some(why) = reply.refused {
            return Err(Trouble::new(Stage::Start, format!("the node program does not work here: {}", sanitize(&why))));
        }
        let Some(home) = reply.home else { return Err(trouble(format!("there is no user `{user}` on the node; create it, or name another `user:`"))) };
        match reply.me {
            Some((uid, _)) if uid == home.uid => {}
            Some((uid, _)) => return Err(trouble(format!("its number is {} in the passwd file there, but the program runs as {uid}", home.uid))),
            None => return Err(trouble("the node does not tell who we are there; is /proc mounted?".to_string())),
        }
        let dir = RemotePath::parse(&home.dir).ok().filter(|d| d.as_str() != "/");
        let dir = dir.ok_or_else(|| trouble("its home is no directory in which regprov writes: absolute, without white space, quotes and `..`".to_string()))?;
        Ok((link.nonce, dir))
    }
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
struct Part {
    /// Whose; `None` is root, or who logs in.
    user: Option<String>,
    /// The host with these targets only.
    host: Host,
    /// The place of each file of theirs among all files of the host.
    index: Vec<usize>,
}

/// The parts of a host, root's first and then the users in the order of their targets; with `root` there is one of root's in any case.
fn parts(host: &Host, root: bool) -> Vec<Part> {
    let part = |user: Option<String>| Part { user, host: Host { targets: Vec::new(), ..host.clone() }, index: Vec::new() };
    let mut parts: Vec<Part> = root.then(|| part(None)).into_iter().collect();
    let mut position = 0;
    for target in &host.targets {
        let files = (consumer(target.kind).files)(target).len();
        let at = parts.iter().position(|p| p.user == target.user).unwrap_or_else(|| {
            parts.push(part(target.user.clone()));
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
struct PartRun<'a, C> {
    run: &'a HostRun<'a, C>,
    host: &'a Host,
    run_as: RunAs,
    /// Where the record is wanted.
    record: &'a RemotePath,
    items: &'a [Item<'a>],
    index: &'a [usize],
    /// The user whose files these are, and their home; `None` when they are root's.
    home: Option<(&'a str, &'a RemotePath)>,
}

impl<C: Connector> PartRun<'_, C> {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.run.progress()
    }

    fn options(&self) -> &PushOptions {
        &self.run.push.options
    }

    fn at(&self, stage: Stage) {
        tracing::debug!(host = %self.host.name, "{stage}");
        self.progress().stage = Some(stage);
    }

    fn done(&self, item: usize, done: Done) {
        self.progress().done.insert(self.index[item], done);
    }

    /// `greeted` is the nonce of a program that runs already; `places` are the files of other parts.
    async fn converse(&self, session: &mut C::Session, mut greeted: Option<Nonce>, places: &mut BTreeMap<RemotePath, RemotePath>) -> Result<(), Trouble> {
        let others = places.clone();
        let mut open = Open { items: (0..self.items.len()).collect(), ..Open::default() };
        let mut lock = None;
        // What goes is forgotten by the record once it is gone.
        let mut to_forget = !matches!(self.run.task, Task::Apply);
        let mut failed_claims = BTreeSet::new();
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
            let seen = self.observe(&mut link, lock.take()).await?;
            open.busy = seen.reply.busy;
            if seen.reply.busy || seen.reply.torn {
                tracing::info!(host = %self.host.name, attempt, busy = seen.reply.busy, "another program is at work there");
                continue;
            }
            if let Some(look) = &self.run.look {
                self.look(look, &seen)?;
                return Ok(());
            }
            self.at(Stage::Render);
            let (options, memos) = (self.options(), self.run.memos);
            let claims = self.read_claims(&seen)?;
            let taker = Taker { task: self.run.task, host: self.host, items: self.items, logins: &self.run.push.logins, claims: &claims, seen: &seen };
            let outgoing = taker.outgoing();
            let with_items = taker.with_items(&outgoing);
            let decider = Decider { host: self.host, own: self.record, others: &others, items: self.items, options, memos, seen: &seen, outgoing: with_items };
            let mut decision = match self.run.task {
                Task::Remove(_) => self.unwanted(decider.decide(&Open::default())?),
                Task::Apply | Task::Prune => decider.decide(&open)?,
            };
            for (claim, done) in taker.add(&outgoing, &failed_claims, &mut decision) {
                self.held(&claims[claim], done);
            }
            let mut forgets = false;
            if to_forget && decision.plan.jobs.is_empty() {
                to_forget = false;
                decision.plan.jobs.extend(taker.forget(&outgoing, self.record, &self.options().inventory_id));
                forgets = !decision.plan.jobs.is_empty();
            }
            let Decision { mut plan, settled, places: found } = decision;
            places.extend(found);
            for (item, done) in settled {
                // Else, when a backup comes first and no later attempt gets through, it would be called contended.
                open.items.remove(&item);
                if done.change == Change::Failed {
                    open.failed.insert(item);
                }
                self.done(item, done);
            }
            if self.options().check {
                for job in plan.jobs {
                    let done = Done { change: job.change, stage: Stage::Render, reason: job.notes, diff: job.diff };
                    match job.what {
                        What::Item(item) => self.done(item, done),
                        What::Held(claim) => self.held(&claims[claim], done),
                        What::Record | What::Backup => {}
                    }
                }
                return Ok(());
            }
            if plan.jobs.is_empty() && plan.sweep.is_empty() {
                return Ok(());
            }
            for job in &plan.jobs {
                tracing::debug!(host = %self.host.name, path = %job.path, bytes = job.content.as_ref().map_or(0, |c| c.len()), change = job.change.name(), "to write");
            }
            self.at(Stage::Replace);
            lock = Some(plan.lock.clone());
            if plan.jobs.iter().any(|j| j.what == What::Backup) {
                // What is to be kept is kept for certain before its file is replaced, in the next attempt.
                plan.jobs.retain(|j| j.what == What::Backup);
                self.replace(&mut link, plan, &seen, &claims).await?;
                continue;
            }
            let failed = std::mem::take(&mut open.failed);
            open = self.replace(&mut link, plan, &seen, &claims).await?;
            open.failed.extend(failed);
            failed_claims.append(&mut open.failed_claims);
            to_forget |= forgets && open.record;
            if open.items.is_empty() && !open.record && !to_forget {
                return Ok(());
            }
        }
        let lock = if self.home.is_none() { "/var/lib/regprov" } else { "~/.local/state/regprov" };
        let why = match open.busy {
            true => format!("contended: another run of regprov, or a process that holds the lock of {lock}, did not let go; run again"),
            false => "contended: other programs kept changing it while regprov tried 5 times; run again".to_string(),
        };
        if self.run.look.is_some() {
            return Err(Trouble::new(Stage::Observe, why));
        }
        for item in open.items {
            self.done(item, Done::failed(Stage::Replace, why.clone()));
        }
        if to_forget { Err(Trouble::new(Stage::Replace, why)) } else { Ok(()) }
    }

    /// Asks until every link on the way to a file has been followed.
    async fn observe(&self, link: &mut Link<'_, C::Session>, lock: Option<RemotePath>) -> Result<Seen, Trouble> {
        let mut request = first_request(self.host, self.items, self.record, self.options().merge.replace_invalid);
        request.lock = lock;
        request.curl |= self.run.look.is_some() && self.host.curl.is_none() && needs_curl(self.items);
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
            if uid != 0 && self.home.is_none() && self.host.root.as_str() == "/" {
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
            request = Observe { paths: paths.into_iter().collect(), ..Observe::default() };
        }
        Err(Trouble::new(Stage::Observe, "the links there lead further than regprov follows"))
    }

    /// Sends the payload, and settles each item by what can be read afterwards; those that met a conflict come back.
    async fn replace(&self, link: &mut Link<'_, C::Session>, mut plan: Plan, seen: &Seen, claims: &[Claim]) -> Result<Open, Trouble> {
        plan.jobs.sort_by_key(|j| (j.path.parent(), j.path.clone()));
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
            if let What::Held(claim) = job.what {
                match came {
                    Came::Written => self.held(&claims[claim], Done { change: job.change, stage: Stage::ReadBack, reason: job.notes, diff: job.diff }),
                    Came::Failed(stage, why) => {
                        again.failed_claims.insert(claims[claim].spec.path.clone());
                        self.held(&claims[claim], Done::failed(stage, why));
                    }
                    // The record still names it, so the next attempt finds it again.
                    Came::Conflict => {}
                }
                continue;
            }
            match (came, item) {
                (Came::Conflict, item) => {
                    again.items.extend(item);
                    again.record |= job.what == What::Record;
                }
                (Came::Written, Some(item)) => self.done(item, Done { change: job.change, stage: Stage::ReadBack, reason: job.notes, diff: job.diff }),
                (Came::Failed(stage, why), Some(item)) => {
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
struct Link<'a, S> {
    session: &'a mut S,
    nonce: Nonce,
    greeted: bool,
    deadline: Duration,
    clock: &'a Clock,
}

impl<S: Session> Link<'_, S> {
    async fn start(&mut self, run_as: &RunAs) -> Result<(), Trouble> {
        let what = match run_as {
            RunAs::Login => "no channel was opened",
            RunAs::Sudo { .. } => "sudo let nobody in",
            RunAs::Su { .. } => "su let nobody in",
        };
        let late = || Trouble::new(Stage::Start, format!("{what} within {} s", self.deadline.as_secs()));
        self.clock.limit(self.deadline, self.session.start(run_as)).await.unwrap_or_else(|| Err(late()))
    }

    async fn exchange(&mut self, request: &[u8], last: bool) -> Result<Reply, Trouble> {
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
