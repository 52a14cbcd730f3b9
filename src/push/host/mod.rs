//! One host: connect, and have each part of it done; one row at the end, whatever happens.

mod conversation;
mod link;
mod looking;
mod parts;
mod row;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::auto;
use super::clearance::Clearance;
use super::decide::{record_path, record_path_of_user};
use super::job::{Done, items};
use super::memo::Memos;
use super::remove::Task;
use super::{Push, not_attempted};
use crate::model::status::FileStatus;
use crate::model::text::sanitize;
use crate::model::{Host, HostRow, Outcome, RemotePath, Stage, Target};
use crate::node::protocol::{Nonce, Observe, Reply};
use crate::node::run_as::RunAs;
use crate::transport::clock::Clock;
use crate::transport::{Connector, Session, Trouble};
pub(super) use conversation::{ATTEMPTS_MAX, PartRun};
pub(super) use link::Link;
use looking::Look;
pub(super) use looking::{look, parted};
pub(super) use parts::{Part, run_as};

/// How far a host got, for the row of one that is cut off.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) stage: Option<Stage>,
    pub(super) sent: bool,
    pub(super) done: BTreeMap<usize, Done>,
    /// What became of files that lost what we wrote: consumer and path as reports show it.
    pub(super) held: BTreeMap<(&'static str, String), Done>,
    /// What a look found, by the place of each file among all files of the host.
    found: BTreeMap<usize, FileStatus>,
    /// What a look found in files that no target names.
    found_beside: Vec<FileStatus>,
    /// What the admin should know of the host itself.
    pub(super) notes: Vec<String>,
    /// Paths for reports that only the node could tell, by the place of the file among all of the host.
    pub(super) shown: BTreeMap<usize, String>,
}

/// Brings one host to its wanted state. `sent` is called when what shall be written leaves, which is not before `clearance` is given;
/// a host that it is refused to is left where it is.
pub(super) async fn push_host<C: Connector>(
    push: &Push<C>,
    task: &Task,
    host: &Host,
    memos: &Memos,
    sent: &(dyn Fn() + Send + Sync),
    clearance: &Clearance,
) -> HostRow {
    let progress = Mutex::new(Progress::default());
    // Nothing is asked of a node by these, which name the rows.
    let items = items(host, &push.logins, 0);
    let clock = Arc::new(Clock::default());
    let run = HostRun { push, task, host, memos, sent, clearance, look: None, progress: &progress, clock: &clock };
    let whole = async {
        let ended = run.in_time().await;
        clearance.wait().await;
        ended
    };
    let ended = tokio::select! {
        biased;
        () = clearance.refused() => return not_attempted(host, Outcome::NotAttempted),
        ended = whole => ended,
    };
    let progress = progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    row::row(host, &items, progress, ended)
}

/// One host, from connecting to the end.
pub(super) struct HostRun<'a, C> {
    pub(super) push: &'a Push<C>,
    pub(super) task: &'a Task,
    pub(super) host: &'a Host,
    pub(super) memos: &'a Memos,
    pub(super) sent: &'a (dyn Fn() + Send + Sync),
    clearance: &'a Clearance,
    /// Nothing is written then.
    look: Option<Look<'a>>,
    progress: &'a Mutex<Progress>,
    pub(super) clock: &'a Arc<Clock>,
}

impl<C: Connector> HostRun<'_, C> {
    pub(super) fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
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
        for mut part in parts::parts(self.host, self.has_bare_root()) {
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
        let (mut record, mut uid) = (record_path(self.host), 0);
        let paths = auto::questions(&part.host);
        let (mut home, mut unplaced) = (None, false);
        if part.user.is_some() || !paths.is_empty() {
            let (nonce, reply) = self.ahead(session, &run_as, part.user.as_deref(), paths).await?;
            home = part.user.as_deref().map(|user| home_of(user, &reply)).transpose()?;
            let settled = auto::settle(part, &reply);
            let mut progress = self.progress();
            progress.shown.extend(settled.shown);
            unplaced = !settled.failed.is_empty();
            // What is taken out lies where the record says.
            if !matches!(self.task, Task::Remove(_)) {
                progress.done.extend(settled.failed.into_iter().map(|(i, why)| (i, Done::failed(Stage::Observe, why))));
            }
            greeted = Some(nonce);
        }
        if part.host.targets.is_empty() && self.record_of().is_none() {
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
        let user = part.user.as_deref();
        let home = home.map_or_else(|| RemotePath::parse("/root").expect("a constant"), |(_, home)| home);
        let items = items(&part.host, &self.push.logins, uid);
        let run = PartRun { run: self, host: &part.host, run_as, user, home, unplaced, record: &record, items: &items, index: &part.index };
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
