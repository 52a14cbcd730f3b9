//! The files that a host shall have, and what is sent to bring them there: jobs, the request that carries them, and the
//! judgement of what came of each.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Logins;
use super::memo::Memos;
use super::observe::{Seen, facts};
use crate::format::helper::Answer;
use crate::format::{self, Consumer, FileSpec, Merge, MergeOptions, NodeFacts, Wants};
use crate::model::{Change, Host, Login, RemotePath, Stage, Target};
use crate::node::payload::{self, Entry};
use crate::node::protocol::{Nonce, Packing, Replace, Reply, Swap, Verdict, staging_dir};
use crate::transport::Trouble;

/// Why a file cannot travel to a node without tar.
pub(super) const NO_TAR_FOR_NUL: &str = "it holds a NUL byte, which only tar can carry, and there is no tar";

/// One file that a host shall have.
pub(super) struct Item<'a> {
    pub(super) consumer: &'static Consumer,
    pub(super) target: &'a Target,
    pub(super) spec: FileSpec,
    /// Where it is wanted, the host's root included.
    pub(super) wanted: RemotePath,
    pub(super) logins: Vec<&'a Login>,
    /// The number of the user whose file it is.
    uid: u32,
    wants: OnceLock<Wants>,
    /// What credential helpers answered, once they were asked.
    answers: OnceLock<Vec<Answer>>,
}

impl Item<'_> {
    /// What its format wants to know of the node.
    pub(super) fn wants(&self) -> &Wants {
        self.wants.get_or_init(|| (self.consumer.wants)(self.target, &self.logins).of_user(self.uid))
    }

    /// What credential helpers answered; empty before they were asked, and where there are none.
    pub(super) fn answers(&self) -> &[Answer] {
        self.answers.get().map_or(&[], |answers| answers)
    }

    /// Keeps what credential helpers answered. The first answers stay.
    pub(super) fn answered(&self, answers: Vec<Answer>) {
        let _ = self.answers.set(answers);
    }

    /// The format's input.
    pub(super) fn merge<'a>(&'a self, existing: Option<&'a [u8]>, facts: &'a NodeFacts, options: MergeOptions) -> Merge<'a> {
        Merge { target: self.target, spec: &self.spec, logins: &self.logins, existing, facts, options }
    }
}

/// The files of a host, in the order in which reports name them; `uid` is the number of the user whose they are.
pub(super) fn items<'a>(host: &'a Host, logins: &'a Logins, uid: u32) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    for target in &host.targets {
        let consumer = format::consumer(target.kind);
        for spec in (consumer.files)(target) {
            let wanted = spec.path.below(&host.root);
            let logins = target.logins.iter().filter_map(|l| logins.get(l)).collect();
            items.push(Item { consumer, target, spec, wanted, logins, uid, wants: OnceLock::new(), answers: OnceLock::new() });
        }
    }
    items
}

/// A path as reports show it: one in a user's home as `~alice/...`, whatever that home is called on each node.
pub(super) fn shown(host: &Host, target: &Target, path: &RemotePath) -> String {
    match target.in_home(path) {
        _ if path.as_str() == Target::AUTO => "auto".to_string(),
        Some(shown) if host.root.as_str() == "/" => shown,
        Some(shown) => format!("{}/{shown}", host.root),
        None => path.below(&host.root).to_string(),
    }
}

/// What became of one file.
#[derive(Clone)]
pub(super) struct Done {
    pub(super) change: Change,
    pub(super) stage: Stage,
    pub(super) reason: Option<String>,
    pub(super) diff: Vec<String>,
}

impl Done {
    /// It was not written, for this reason.
    pub(super) fn failed(stage: Stage, reason: impl Into<String>) -> Self {
        Done { change: Change::Failed, stage, reason: Some(reason.into()), diff: Vec::new() }
    }
}

/// Adds a note to what is said of a file.
pub(super) fn append(reason: &mut Option<String>, note: &str) {
    *reason = Some(reason.take().map_or_else(|| note.to_string(), |before| format!("{before}\n{note}")));
}

/// What is to be written on a host.
pub(super) struct Plan {
    pub(super) jobs: Vec<Job>,
    /// Directories in which an earlier run left staged files.
    pub(super) sweep: Vec<RemotePath>,
    /// The directory to lock.
    pub(super) lock: RemotePath,
}

/// One file that is to be written.
pub(super) struct Job {
    pub(super) what: What,
    /// Where, links resolved.
    pub(super) path: RemotePath,
    /// Directories that have to be made for it, top first.
    pub(super) missing: Vec<RemotePath>,
    pub(super) dir_mode: u32,
    /// What the file shall hold; `None` when it shall go.
    pub(super) content: Option<Zeroizing<Vec<u8>>>,
    /// The hash of what was observed; `None` when nothing is there.
    pub(super) old: Option<String>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) change: Change,
    pub(super) notes: Option<String>,
    pub(super) diff: Vec<String>,
}

/// What a file to be written is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// This item's file.
    Item(usize),
    /// The file of the record's claim to this path (without the host's `root:`), which loses what we wrote.
    Held(RemotePath),
    /// Our record.
    Record,
    /// A file that could not be read, kept before it is replaced.
    Backup,
}

impl What {
    /// The item whose file it is.
    pub(super) fn item(&self) -> Option<usize> {
        match self {
            What::Item(item) => Some(*item),
            What::Held(_) | What::Record | What::Backup => None,
        }
    }
}

impl Job {
    /// The item whose file it is.
    pub(super) fn item(&self) -> Option<usize> {
        self.what.item()
    }

    /// The hash of what the file shall hold, or the word for none.
    pub(super) fn new_hash(&self) -> String {
        self.content.as_ref().map_or_else(|| Swap::NOTHING.to_string(), |content| sha256(content))
    }
}

/// What came of a job.
pub(super) enum Came {
    /// The file is as it was meant.
    Written,
    /// Somebody changed it since it was observed: merge again.
    Conflict,
    /// It is not, and why.
    Failed(Stage, String),
}

impl Plan {
    /// The request's bytes, the payload included. `seen` tells who writes and whether there is a tar.
    pub(super) fn request(&self, seen: &Seen, nonce: &Nonce) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let (uid, gid) = seen.me();
        // Nobody but root gets a file's group from tar, but whoever is in a group may give it with chgrp.
        let own_groups = uid == 0 || self.jobs.iter().all(|j| j.gid == gid);
        let packing = if seen.reply.tar && own_groups { Packing::Tar } else { Packing::Lines };
        // Root's tar makes the staging directories by itself, with the program's umask; half a KiB less for each of them keeps
        // the payload of an ordinary first run within TCP's first ten segments. For anybody else a staging directory would
        // pass a parent's set-group-ID bit on.
        let tar_makes_staging = packing == Packing::Tar && uid == 0;
        let mut entries: Vec<Entry<'_>> = Vec::new();
        let mut made = BTreeSet::new();
        for job in &self.jobs {
            // The lock's directory is made before the payload comes.
            for dir in job.missing.iter().filter(|d| !self.lock.is_within(d)) {
                if made.insert(dir.clone()) {
                    entries.push(Entry { path: dir.clone(), uid, gid, mode: job.dir_mode, content: None });
                }
            }
            let Some(content) = &job.content else { continue };
            let staging = staging_dir(&job.path.parent(), nonce);
            if made.insert(staging.clone()) && !tar_makes_staging {
                entries.push(Entry { path: staging.clone(), uid, gid, mode: 0o700, content: None });
            }
            entries.push(Entry { path: staging.join(job.path.file_name()), uid: job.uid, gid: job.gid, mode: job.mode, content: Some(content) });
        }
        let swaps = self.jobs.iter().map(|j| Swap { new: j.new_hash(), old: j.old.clone(), path: j.path.clone() }).collect();
        let head = Replace { lock: self.lock.clone(), sweep: self.sweep.clone(), swaps, packing }.encode();
        let body = match packing {
            Packing::Tar => payload::tar(&entries, Entry { path: self.lock.clone(), uid, gid, mode: 0o700, content: None })
                .map_err(|_| Trouble::new(Stage::Replace, "a path is longer than a tar archive can hold"))?,
            Packing::Lines => payload::lines(&entries, &self.lock).map_err(|path| Trouble::new(Stage::Replace, format!("{path}: {NO_TAR_FOR_NUL}")))?,
        };
        let mut request = Zeroizing::new(Vec::with_capacity(head.len() + body.len()));
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(&body);
        Ok(request)
    }
}

impl Job {
    /// What came of it: by the node's verdict, and by what can be read afterwards.
    pub(super) fn came(&self, verdict: Option<Verdict>, reply: &Reply, read_back: impl FnOnce(&[u8]) -> Result<(), String>) -> Came {
        match verdict {
            Some(Verdict::Conflict) => return Came::Conflict,
            Some(Verdict::Unstaged) => {
                return Came::Failed(Stage::Replace, format!("the new file could not be written: {}", complaint(&reply.complaints, &self.path)));
            }
            None => {}
        }
        let Some(content) = &self.content else { return self.went(reply) };
        let not_replaced = || Came::Failed(Stage::Replace, format!("the new file could not be put in its place: {}", complaint(&reply.complaints, &self.path)));
        let Some(file) = reply.files.get(self.path.as_str()) else { return not_replaced() };
        if file.content != *content {
            if self.old.as_ref().is_some_and(|old| *old == sha256(&file.content)) {
                return not_replaced();
            }
            return Came::Failed(Stage::ReadBack, "another program replaced it right after regprov had written it; run again".to_string());
        }
        if (file.stat.mode, file.stat.uid, file.stat.gid) != (self.mode, self.uid, self.gid) {
            let is = format!("{:04o} {}:{}", file.stat.mode, file.stat.uid, file.stat.gid);
            let why = format!("it was written, but its mode and owner are {is} instead of {:04o} {}:{}", self.mode, self.uid, self.gid);
            return Came::Failed(Stage::ReadBack, why);
        }
        match read_back(&file.content) {
            Ok(()) => Came::Written,
            Err(why) => Came::Failed(Stage::ReadBack, why),
        }
    }
}

impl Job {
    /// What came of a file that was to go.
    fn went(&self, reply: &Reply) -> Came {
        if !reply.stats.contains_key(self.path.as_str()) {
            return Came::Written;
        }
        let is_old = reply.files.get(self.path.as_str()).is_some_and(|file| self.old.as_ref() == Some(&sha256(&file.content)));
        match is_old {
            true => Came::Failed(Stage::Replace, format!("the file could not be taken away: {}", complaint(&reply.complaints, &self.path))),
            false => Came::Failed(Stage::ReadBack, "another program made it anew right after regprov had taken it away; run again".to_string()),
        }
    }
}

/// Reads an item's file as its consumer does.
pub(super) fn read_back(host: &Host, item: &Item<'_>, seen: &Seen, options: MergeOptions, memos: &Memos, content: &[u8]) -> Result<(), String> {
    let facts = facts(host, item, &seen.reply);
    let merge = item.merge(Some(content), &facts, options);
    memos.read_back.get(&merge, || (item.consumer.read_back)(&merge, content))
}

/// The hash by which contents are compared, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// The tools' reason for one path, as one of the phrases of the C library, so that equal states give equal reports.
pub(super) fn complaint(complaints: &str, path: &RemotePath) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(complaints: &str, want: &str) {
        assert_eq!(complaint(complaints, &RemotePath::parse("/root/.docker/config.json").unwrap()), want);
    }

    #[test]
    fn the_tools_words_become_ours() {
        check("", "the node's tools gave no reason");
        check("tar: root/.docker/.regprov.0/config.json: Cannot open: Disk quota exceeded\n", "Disk quota exceeded");
        check("mv: cannot move 'a' to 'b': Operation not permitted", "operation not permitted (an immutable file or directory?)");
        check("sh: 1: cannot create x: Read-only file system", "Read-only file system");
        // The line that names the file or its directory comes before another file's.
        check("mv: /etc/x: Device or resource busy\nmv: /root/.docker/config.json: Permission denied\n", "Permission denied");
        check("\u{1b}]52;c;x\u{7}::error::No space left on device", "No space left on device");
        check("something else went wrong", "the node's tools gave no reason");
    }
}
