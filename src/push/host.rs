//! One host: connect, observe, merge, replace, read back; one row at the end, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::observe::{Seen, backup_path, facts, first_request};
use super::{Logins, Push, not_attempted};
use crate::format::owned::{self, OwnedFile};
use crate::format::{self, Consumer, FileSpec, Merge, Merged, Wants};
use crate::model::{Change, Host, HostRow, Login, Observed, ObservedFile, Outcome, RemotePath, Stage, Target};
use crate::node::payload::{self, Entry};
use crate::node::protocol::{Nonce, Observe, Packing, Replace, Reply, ReplyReader, Swap, Verdict, hello, staging_dir};
use crate::plan::{self, Desired, Located};
use crate::transport::{Connector, Session, Trouble};

/// How often a file that others keep changing is merged again.
const ATTEMPTS_MAX: u32 = 5;
/// How many links deep we ask before giving up.
const ROUNDS_MAX: u32 = 6;

/// One file that a host shall have.
pub(super) struct Item<'a> {
    pub(super) consumer: &'static Consumer,
    pub(super) target: &'a Target,
    pub(super) spec: FileSpec,
    /// Where it is wanted, the host's root included.
    pub(super) wanted: RemotePath,
    pub(super) logins: Vec<&'a Login>,
}

impl Item<'_> {
    pub(super) fn wants(&self) -> Wants {
        (self.consumer.wants)(self.target, &self.logins)
    }
}

/// The files of a host, in the order in which reports name them.
pub(super) fn items<'a>(host: &'a Host, logins: &'a Logins) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    for target in &host.targets {
        let consumer = format::consumer(target.kind);
        for spec in (consumer.files)(target) {
            let wanted = spec.path.below(&host.root);
            items.push(Item { consumer, target, spec, wanted, logins: target.logins.iter().filter_map(|l| logins.get(l)).collect() });
        }
    }
    items
}

/// How far a host got, for the row of one that is cut off.
#[derive(Default)]
struct Progress {
    stage: Option<Stage>,
    sent: bool,
    done: BTreeMap<usize, Done>,
}

/// What became of one item.
struct Done {
    change: Change,
    stage: Stage,
    reason: Option<String>,
    diff: Vec<String>,
}

/// Brings one host to its wanted state.
pub(super) async fn push_host<C: Connector>(push: &Push<C>, host: &Host) -> HostRow {
    let progress = Mutex::new(Progress::default());
    let items = items(host, &push.logins);
    let run = HostRun { push, host, items: &items, progress: &progress };
    let ended = match tokio::time::timeout(push.options.host, run.run()).await {
        Ok(ended) => ended,
        Err(_) => Err(Trouble::new(run.progress().stage.unwrap_or(Stage::Connect), format!("not done within {} s", push.options.host.as_secs()))),
    };
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
            first_failure = Some((done.stage, format!("{}: {}", items[i].wanted, done.reason.as_deref().unwrap_or_default())));
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

/// What a file to be written is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// This item's file.
    Item(usize),
    /// Our record.
    Record,
    /// A file that could not be read, kept before it is replaced.
    Backup,
}

/// One file that is to be written.
struct Job {
    what: What,
    path: RemotePath,
    missing: Vec<RemotePath>,
    dir_mode: u32,
    content: Zeroizing<Vec<u8>>,
    old: Option<String>,
    mode: u32,
    uid: u32,
    gid: u32,
    change: Change,
    notes: Option<String>,
    diff: Vec<String>,
}

impl Job {
    fn item(&self) -> Option<usize> {
        match self.what {
            What::Item(item) => Some(item),
            What::Record | What::Backup => None,
        }
    }
}

struct HostRun<'a, C> {
    push: &'a Push<C>,
    host: &'a Host,
    items: &'a [Item<'a>],
    progress: &'a Mutex<Progress>,
}

impl<C: Connector> HostRun<'_, C> {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn at(&self, stage: Stage) {
        self.progress().stage = Some(stage);
    }

    fn done(&self, item: usize, change: Change, stage: Stage, reason: Option<String>, diff: Vec<String>) {
        self.progress().done.insert(item, Done { change, stage, reason, diff });
    }

    fn fail(&self, item: usize, stage: Stage, reason: impl Into<String>) {
        self.done(item, Change::Failed, stage, Some(reason.into()), Vec::new());
    }

    async fn run(&self) -> Result<(), Trouble> {
        self.at(Stage::Connect);
        let mut session = self.push.connector.connect(self.host).await?;
        let result = self.converse(&mut session).await;
        session.close().await;
        result
    }

    async fn converse(&self, session: &mut C::Session) -> Result<(), Trouble> {
        let mut open = Open { items: (0..self.items.len()).collect(), record: false };
        let mut lock = None;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(jitter(attempt)).await;
            }
            self.at(Stage::Start);
            let mut link = Link { session: &mut *session, nonce: Nonce::random(), greeted: false, deadline: self.push.options.command };
            link.start().await?;
            self.at(Stage::Observe);
            let seen = self.observe(&mut link, lock.take()).await?;
            if seen.reply.busy || seen.reply.torn {
                continue;
            }
            self.at(Stage::Render);
            let mut plan = self.decide(&seen, &open)?;
            if self.push.options.check {
                for job in plan.jobs {
                    if let Some(item) = job.item() {
                        self.done(item, job.change, Stage::Render, job.notes, job.diff);
                    }
                }
                return Ok(());
            }
            if plan.jobs.is_empty() && plan.sweep.is_empty() {
                return Ok(());
            }
            self.at(Stage::Replace);
            lock = Some(plan.lock.clone());
            if plan.jobs.iter().any(|j| j.what == What::Backup) {
                // What is to be kept is kept for certain before its file is replaced, in the next attempt.
                plan.jobs.retain(|j| j.what == What::Backup);
                self.replace(&mut link, plan, &seen).await?;
                continue;
            }
            open = self.replace(&mut link, plan, &seen).await?;
            if open.items.is_empty() && !open.record {
                return Ok(());
            }
        }
        for item in open.items {
            self.fail(item, Stage::Replace, "contended: other programs kept changing it, or held the lock, while regprov tried 5 times; run again");
        }
        Ok(())
    }

    /// Asks until every link on the way to a file has been followed.
    async fn observe(&self, link: &mut Link<'_, C::Session>, lock: Option<RemotePath>) -> Result<Seen, Trouble> {
        let record = record_path(self.host);
        let (mut request, mut paths) = first_request(self.host, self.items, &record, self.push.options.merge.replace_invalid);
        request.lock = lock;
        let mut seen = Seen::default();
        for _ in 0..ROUNDS_MAX {
            let text = request.encode(&self.host.root);
            let reply = link.exchange(text.as_bytes(), false).await?;
            if let Some(why) = reply.refused {
                return Err(Trouble::new(Stage::Start, format!("the node program does not work here: {}", crate::model::text::sanitize(&why))));
            }
            seen.add(paths, reply);
            if seen.reply.busy || seen.reply.torn {
                return Ok(seen);
            }
            let Some((uid, _)) = seen.reply.me else {
                return Err(Trouble::new(Stage::Observe, "the node does not tell who we are there; is /proc mounted?"));
            };
            if uid != 0 && self.host.root.as_str() == "/" {
                return Err(Trouble::new(Stage::Observe, format!("the SSH user has user id {uid} there, but these files are root's; set `user: root`")));
            }
            paths = self
                .items
                .iter()
                .map(|i| &i.wanted)
                .chain([&record])
                .filter_map(|p| match plan::locate(p, &self.host.root, uid, &seen) {
                    Located::Ask(more) => Some(more),
                    Located::At { .. } => None,
                })
                .flatten()
                .collect();
            if paths.is_empty() {
                return Ok(seen);
            }
            request = Observe { paths: paths.iter().map(ToString::to_string).collect(), ..Observe::default() };
        }
        Err(Trouble::new(Stage::Observe, "the links there lead further than regprov follows"))
    }

    /// What has to be written for the open items; those that need nothing or cannot be done are settled here.
    fn decide(&self, seen: &Seen, open: &Open) -> Result<Plan, Trouble> {
        let (my_uid, my_gid) = seen.reply.me.expect("observe asks until it knows");
        let locate = |path: &RemotePath| match plan::locate(path, &self.host.root, my_uid, seen) {
            Located::At { path, missing, observed } => (path, missing, observed),
            Located::Ask(_) => unreachable!("observe asks until nothing is open"),
        };
        let (record, record_missing, record_seen) = locate(&record_path(self.host));
        if let Observed::Refused(why) = &record_seen {
            return Err(Trouble::new(Stage::Observe, format!("no place for regprov's record and lock: {why}")));
        }
        let mut plan = Plan { jobs: Vec::new(), sweep: Vec::new(), lock: record.parent() };
        let mut owned_files = Vec::new();
        for (i, item) in self.items.iter().enumerate() {
            let (path, missing, observed) = locate(&item.wanted);
            if seen.has_stale_staging(&path.parent()) && !plan.sweep.contains(&path.parent()) {
                plan.sweep.push(path.parent());
            }
            if open.items.contains(&i) {
                match self.decide_one(item, &observed, &seen.reply, my_uid, my_gid) {
                    Err(why) => {
                        self.fail(i, Stage::Render, why);
                        continue;
                    }
                    Ok(wish) => {
                        let notes = (!wish.merged.notes.is_empty()).then(|| wish.merged.notes.join("\n"));
                        let desired = Desired { write: wish.merged.write.as_ref().map(|w| &w[..]), mode: item.spec.mode.bits(), uid: wish.uid, gid: wish.gid };
                        let Some(change) = plan::diff(&desired, &observed) else {
                            self.done(i, Change::Unchanged, Stage::Render, notes, Vec::new());
                            owned_files.push(owned_file(item));
                            continue;
                        };
                        let old = match observed {
                            Observed::File(file) => Some(file),
                            _ => None,
                        };
                        if wish.merged.backup
                            && let Some(old) = &old
                        {
                            match self.backup(item, old, seen) {
                                Ok(job) => plan.jobs.extend(job),
                                Err(why) => {
                                    self.fail(i, Stage::Render, why);
                                    continue;
                                }
                            }
                        }
                        let mut diff = wish.merged.diff;
                        if let Some(old) = &old {
                            diff.extend(metadata_diff(old, &desired));
                        }
                        let hash = old.as_ref().map(|o| sha256(&o.content));
                        let content = match (wish.merged.write, old) {
                            (Some(new), _) => new,
                            (None, Some(old)) => old.content,
                            (None, None) => continue,
                        };
                        let (mode, dir_mode) = (item.spec.mode.bits(), item.spec.dir_mode.bits());
                        plan.jobs.push(Job {
                            what: What::Item(i),
                            path,
                            missing,
                            dir_mode,
                            content,
                            old: hash,
                            mode,
                            uid: wish.uid,
                            gid: wish.gid,
                            change,
                            notes,
                            diff,
                        });
                    }
                }
            }
            owned_files.push(owned_file(item));
        }
        if open.record || plan.jobs.iter().any(|j| j.item().is_some()) {
            let existing = match &record_seen {
                Observed::File(file) => Some(file),
                _ => None,
            };
            match owned::merge(existing.map(|f| &f.content[..]), &self.push.options.inventory_id, &owned_files) {
                Ok(Some(content)) => plan.jobs.push(Job {
                    what: What::Record,
                    path: record,
                    missing: record_missing,
                    dir_mode: 0o700,
                    content: content.into(),
                    old: existing.map(|f| sha256(&f.content)),
                    mode: 0o600,
                    uid: my_uid,
                    gid: my_gid,
                    change: Change::Updated,
                    notes: None,
                    diff: Vec::new(),
                }),
                Ok(None) => {}
                // The logins do not wait for it; the first file's row tells.
                Err(why) => {
                    if let Some(job) = plan.jobs.iter_mut().find(|j| j.item().is_some()) {
                        let notes = job.notes.take().map(|n| n + "\n").unwrap_or_default();
                        job.notes = Some(format!("{notes}{why}"));
                    }
                }
            }
        }
        Ok(plan)
    }

    fn decide_one(&self, item: &Item<'_>, observed: &Observed, reply: &Reply, my_uid: u32, my_gid: u32) -> Result<Wish, String> {
        let existing = match observed {
            Observed::Absent => None,
            Observed::File(file) => Some(&file.content[..]),
            Observed::Refused(why) => return Err(why.clone()),
        };
        let facts = facts(self.host, &item.wants(), reply);
        let merge = item.merge(existing, &facts, self.push.options.merge);
        let merged = (item.consumer.merge)(&merge)?;
        let number = |name: &Option<String>, kind: &str, mine: u32| match name {
            Some(name) if item.spec.secret => number_of(name, kind, reply),
            _ => Ok(mine),
        };
        Ok(Wish { merged, uid: number(&item.target.owner, "passwd", my_uid)?, gid: number(&item.target.group, "group", my_gid)? })
    }

    /// The job that keeps a file that could not be read, unless it is kept already.
    fn backup(&self, item: &Item<'_>, old: &ObservedFile, seen: &Seen) -> Result<Option<Job>, String> {
        let (uid, _) = seen.reply.me.expect("observe asks until it knows");
        let Located::At { path, observed, .. } = plan::locate(&backup_path(&item.wanted), &self.host.root, uid, seen) else {
            return Err("its directory is a link, and regprov keeps backups only beside files that are none".to_string());
        };
        match observed {
            Observed::Absent => Ok(Some(Job {
                what: What::Backup,
                path,
                missing: Vec::new(),
                dir_mode: 0o700,
                content: old.content.clone(),
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

    /// Sends the payload, and settles each item by what can be read afterwards; those that met a conflict come back.
    async fn replace(&self, link: &mut Link<'_, C::Session>, mut plan: Plan, seen: &Seen) -> Result<Open, Trouble> {
        plan.jobs.sort_by_key(|j| (j.path.parent(), j.path.clone()));
        let request = self.request(&plan, seen, link)?;
        self.progress().sent = true;
        let reply = link.exchange(&request, true).await.map_err(|t| Trouble::new(Stage::Replace, t.reason))?;
        self.progress().sent = false;
        if reply.busy || reply.torn {
            return Ok(Open { items: plan.jobs.iter().filter_map(Job::item).collect(), record: true });
        }
        let complaints = &reply.complaints;
        let mut again = Open::default();
        for (position, job) in plan.jobs.iter().enumerate() {
            let outcome = match reply.verdicts.get(&position) {
                Some(Verdict::Conflict) => {
                    again.items.extend(job.item());
                    again.record |= job.what == What::Record;
                    continue;
                }
                Some(Verdict::Unstaged) => Err((Stage::Replace, format!("the new file could not be written: {}", complaint(complaints, &job.path)))),
                None => self.read_back(job, &reply, seen).map_err(|(stage, why)| {
                    (stage, if why.is_empty() { format!("the new file could not be put in its place: {}", complaint(complaints, &job.path)) } else { why })
                }),
            };
            match (job.item(), outcome) {
                (Some(item), Ok(())) => self.done(item, job.change, Stage::ReadBack, job.notes.clone(), job.diff.clone()),
                (Some(item), Err((stage, why))) => self.fail(item, stage, why),
                (None, Ok(())) => {}
                (None, Err((stage, why))) => return Err(Trouble::new(stage, format!("{}: {why}", job.path))),
            }
        }
        Ok(again)
    }

    fn request(&self, plan: &Plan, seen: &Seen, link: &Link<'_, C::Session>) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let (uid, gid) = seen.reply.me.expect("observe asks until it knows");
        let mut entries: Vec<Entry<'_>> = Vec::new();
        let mut made = BTreeSet::new();
        for job in &plan.jobs {
            // The lock's directory is made before the payload comes.
            for dir in job.missing.iter().filter(|d| !(plan.lock.as_str().starts_with(d.as_str()))) {
                if made.insert(dir.clone()) {
                    entries.push(Entry { path: dir.clone(), uid, gid, mode: job.dir_mode, content: None });
                }
            }
            let staging = staging_dir(&job.path.parent(), &link.nonce);
            if made.insert(staging.clone()) {
                entries.push(Entry { path: staging.clone(), uid, gid, mode: 0o700, content: None });
            }
            entries.push(Entry { path: staging.join(job.path.file_name()), uid: job.uid, gid: job.gid, mode: job.mode, content: Some(&job.content) });
        }
        let swaps = plan.jobs.iter().map(|j| Swap { new: sha256(&j.content), old: j.old.clone(), path: j.path.clone() }).collect();
        let packing = if seen.reply.tar { Packing::Tar } else { Packing::Lines };
        let head = Replace { lock: plan.lock.clone(), sweep: plan.sweep.clone(), swaps, packing }.encode();
        let body = match packing {
            Packing::Tar => payload::tar(&entries).map_err(|_| Trouble::new(Stage::Replace, "a path is longer than a tar archive can hold"))?,
            Packing::Lines => payload::lines(&entries)
                .map_err(|path| Trouble::new(Stage::Replace, format!("{path} holds a NUL byte, which only tar can carry, and there is no tar")))?,
        };
        let mut request = Zeroizing::new(Vec::with_capacity(head.len() + body.len()));
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(&body);
        Ok(request)
    }

    /// An empty reason means that the old file is still there.
    fn read_back(&self, job: &Job, reply: &Reply, seen: &Seen) -> Result<(), (Stage, String)> {
        let Some(file) = reply.files.get(job.path.as_str()) else { return Err((Stage::Replace, String::new())) };
        if file.content != job.content {
            let untouched = job.old.as_ref().is_some_and(|old| *old == sha256(&file.content));
            return Err(if untouched {
                (Stage::Replace, String::new())
            } else {
                (Stage::ReadBack, "another program replaced it right after regprov had written it; run again".to_string())
            });
        }
        if (file.stat.mode, file.stat.uid, file.stat.gid) != (job.mode, job.uid, job.gid) {
            let is = format!("{:04o} {}:{}", file.stat.mode, file.stat.uid, file.stat.gid);
            return Err((Stage::ReadBack, format!("it was written, but its mode and owner are {is} instead of {:04o} {}:{}", job.mode, job.uid, job.gid)));
        }
        let Some(item) = job.item().map(|i| &self.items[i]) else { return Ok(()) };
        let facts = facts(self.host, &item.wants(), &seen.reply);
        let merge = item.merge(Some(&file.content), &facts, self.push.options.merge);
        (item.consumer.read_back)(&merge, &file.content).map_err(|why| (Stage::ReadBack, why))
    }
}

impl Item<'_> {
    fn merge<'a>(&'a self, existing: Option<&'a [u8]>, facts: &'a format::NodeFacts, options: format::MergeOptions) -> Merge<'a> {
        Merge { target: self.target, spec: &self.spec, logins: &self.logins, existing, facts, options }
    }
}

/// What is still to be done.
#[derive(Default)]
struct Open {
    items: BTreeSet<usize>,
    record: bool,
}

/// What is to be written on a host.
struct Plan {
    jobs: Vec<Job>,
    sweep: Vec<RemotePath>,
    lock: RemotePath,
}

/// What one file shall be.
struct Wish {
    merged: Merged,
    uid: u32,
    gid: u32,
}

/// A conversation with one node program.
struct Link<'a, S> {
    session: &'a mut S,
    nonce: Nonce,
    greeted: bool,
    deadline: Duration,
}

impl<S: Session> Link<'_, S> {
    async fn start(&mut self) -> Result<(), Trouble> {
        let late = || Trouble::new(Stage::Start, format!("no channel was opened within {} s", self.deadline.as_secs()));
        tokio::time::timeout(self.deadline, self.session.start()).await.map_err(|_| late())?
    }

    async fn exchange(&mut self, request: &[u8], last: bool) -> Result<Reply, Trouble> {
        let hello = if self.greeted { String::new() } else { hello(&self.nonce) };
        self.greeted = true;
        let mut bytes = Zeroizing::new(Vec::with_capacity(hello.len() + request.len()));
        bytes.extend_from_slice(hello.as_bytes());
        bytes.extend_from_slice(request);
        let mut reader = ReplyReader::new(self.nonce.clone());
        let late = || Trouble::new(Stage::Observe, format!("the node program gave no answer within {} s", self.deadline.as_secs()));
        tokio::time::timeout(self.deadline, self.session.exchange(bytes, last, &mut reader)).await.map_err(|_| late())?
    }
}

fn record_path(host: &Host) -> RemotePath {
    RemotePath::parse(owned::PATH).expect("a constant").below(&host.root)
}

fn owned_file(item: &Item<'_>) -> OwnedFile {
    let registries = if item.spec.secret { item.logins.iter().map(|l| l.registry.to_string()).collect() } else { Vec::new() };
    OwnedFile { path: item.spec.path.to_string(), target: item.target.kind.name(), registries }
}

fn number_of(name: &str, kind: &str, reply: &Reply) -> Result<u32, String> {
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

/// The tools' reason for one path, as one of the phrases of the C library, so that equal states give equal reports.
fn complaint(complaints: &str, path: &RemotePath) -> &'static str {
    const PHRASES: [&str; 11] = [
        "No space left on device",
        "Disk quota exceeded",
        "Read-only file system",
        "Operation not permitted",
        "Permission denied",
        "Device or resource busy",
        "Stale file handle",
        "Input/output error",
        "File name too long",
        "Too many links",
        "Not a directory",
    ];
    let dir = path.parent();
    let near = complaints.lines().filter(|l| l.contains(path.file_name()) || l.contains(dir.as_str().trim_start_matches('/')));
    let found = near.chain(complaints.lines()).find_map(|l| PHRASES.into_iter().find(|p| l.contains(p)));
    match found {
        Some("Operation not permitted") => "operation not permitted (an immutable file or directory?)",
        Some("Device or resource busy") => "device or resource busy (is the file itself a mount point?)",
        Some(phrase) => phrase,
        None => "the node's tools gave no reason",
    }
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// Some 50 ms for the second attempt, more for later ones, with chance in it.
fn jitter(attempt: u32) -> Duration {
    let mut byte = [0u8; 1];
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(u64::from(attempt) * 40 + u64::from(byte[0]) / 2)
}
