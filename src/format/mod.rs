//! What each consumer reads: logins, and what is there already, to bytes. One file a consumer, one row in [`CONSUMERS`].
//!
//! Everything here is pure. Messages for a person never hold a password, nor a value found on a node.

mod apptainer;
mod auths;
mod containerd;
mod crio;
mod docker;
pub mod enroot;
mod helm;
pub mod helper;
pub(crate) mod json;
mod judge;
mod kubelet;
pub mod kubernetes;
pub(crate) mod mirror;
mod netrc;
pub mod owned;
mod podman;
mod rancher;
mod shell;
mod singularity;
pub(crate) mod yaml;

pub use apptainer::auth_file as apptainer_auth_file;
pub use auths::{Holding, Holds};
pub use containerd::{imports, logins as containerd_logins};
pub use crio::auth_file as crio_auth_file;
pub use docker::held as held_by_docker;
pub(crate) use judge::Judge;
pub use judge::{Previous, SamePassword};
pub use kubelet::held as held_by_kubelet;
pub use podman::{held as held_by_podman, stops as stops_podman};

use zeroize::Zeroizing;

use crate::model::text::escape;
use crate::model::{CurlVersion, FileMode, Login, Registry, RemotePath, Secret, ServiceUnit, Target, TargetKind};

/// The consumers, in the order of [`TargetKind::ALL`].
pub static CONSUMERS: [Consumer; 12] = [
    docker::CONSUMER,
    podman::CONSUMER,
    enroot::CONSUMER,
    singularity::CONSUMER,
    apptainer::CONSUMER,
    helm::CONSUMER,
    kubelet::CONSUMER,
    crio::CONSUMER,
    rancher::K3S,
    rancher::RKE2,
    containerd::CONSUMER,
    mirror::CONSUMER,
];

/// The row of a kind of target.
pub fn consumer(kind: TargetKind) -> &'static Consumer {
    CONSUMERS.iter().find(|c| c.kind == kind).expect("the table has a row for every kind; a test counts them")
}

/// A consumer of logins: a row of functions.
pub struct Consumer {
    /// Which one.
    pub kind: TargetKind,
    /// The path when the inventory names none: a file, or a directory for consumers of several files.
    pub default_path: &'static str,
    /// Whether it can serve only one registry, so that a target with several logins must name one.
    pub one_login: bool,
    /// Whether the path is a directory that holds several files.
    pub directory: bool,
    /// Whether a `user:` may have it in that user's home; else it is a file of the whole node.
    pub in_home: bool,
    /// Whether it gets logins; a target without is kept though none flows into it.
    pub logins: bool,
    /// The services that read it when they start, of which a node runs one; `restart: true` is for targets that name some. Docker's is
    /// reloaded instead: that is enough for mirrors, and a restart may stop containers.
    pub restart: &'static [ServiceUnit],
    /// The files that a target consists of, in the order in which they are written.
    pub files: fn(&Target) -> Vec<FileSpec>,
    /// What is wrong whatever the node is like, one message a problem.
    pub check: fn(&Target, &[&Login]) -> Vec<String>,
    /// What must be known of the node beside the files themselves.
    pub wants: fn(&Target, &[&Login]) -> Wants,
    /// The file's new content. `Err` fails this file only.
    pub merge: fn(&Merge<'_>) -> Result<Merged, String>,
    /// Reads the file by the consumer's own rules and demands that each login is found as it was meant.
    pub read_back: fn(&Merge<'_>, &[u8]) -> Result<(), String>,
    /// The keys under which a login for this registry, with these auth hosts, must stand in the file: all of them.
    pub keys: fn(&Registry, &[String]) -> Vec<String>,
    /// Whether another key of the file means the same registry too; a merge removes such keys.
    pub is_alias: fn(&str, &Registry) -> bool,
    /// The logins that the file holds, in its order, as the consumer reads them; files without secrets hold none. `Err` says why the
    /// consumer reads nothing of the file.
    pub entries: fn(&FileSpec, &[u8], &NodeFacts) -> Entries,
    /// The file without the entries of these keys; everything else stays as it is.
    pub remove: fn(&Removal<'_>) -> Result<Removed, String>,
}

/// One login in a file.
pub struct Entry {
    /// Its key there: a registry as the file names it, a netrc host, the prefix of variables.
    pub key: String,
    /// What the consumer would send; `None` when the entry holds no login of its own, and `note` says what it is instead.
    pub login: Option<Account>,
    /// What stands before or beside the login: a credential helper, an identity token.
    pub note: Option<String>,
}

/// A username and a password as a file holds them.
pub struct Account {
    /// The username.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// The logins of a file, or why its consumer reads nothing of it.
pub type Entries = Result<Vec<Entry>, String>;

/// What is to be taken out of a file.
pub struct Removal<'a> {
    /// Which of the target's files.
    pub spec: &'a FileSpec,
    /// What is there.
    pub existing: &'a [u8],
    /// The keys of the entries that go, as they stand in the file.
    pub gone: &'a [String],
    /// The node.
    pub facts: &'a NodeFacts,
}

/// What is left of a file when entries are taken out.
pub struct Removed {
    /// Its content; `None` when nothing is left that its consumer would miss, so that the file goes too.
    pub content: Option<Zeroizing<Vec<u8>>>,
    /// What goes, as shape without values: lines that start with `- `. Empty when none of the keys is there.
    pub diff: Vec<String>,
}

/// One file of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Which of the target's files; empty when there is one only.
    pub part: &'static str,
    /// Where it lies, without the host's `root:`.
    pub path: RemotePath,
    /// Its permission bits.
    pub mode: FileMode,
    /// Whether it holds secrets; then the target's owner and group are its own, else it belongs to root.
    pub secret: bool,
    /// Whether a service reads it only when it starts, one of [`Consumer::restart`].
    pub at_start: bool,
    /// Permission bits of directories that have to be made for it.
    pub dir_mode: FileMode,
}

/// What must be known of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// curl's version (one more fork on the node: only when a password needs it).
    pub curl: bool,
    /// Files to read in the same exchange, without the host's `root:`; the last component may hold `*`, and [`Wants::UID`] stands
    /// for the number of the user whose files these are.
    pub conf: Vec<String>,
    /// Paths of which it is asked only whether something is there.
    pub paths: Vec<String>,
}

impl Wants {
    /// What stands in a path for the user's number.
    pub const UID: &'static str = "{uid}";

    /// With the user's number in its paths.
    pub fn of_user(mut self, uid: u32) -> Self {
        for path in self.conf.iter_mut().chain(&mut self.paths) {
            *path = path.replace(Self::UID, &uid.to_string());
        }
        self
    }
}

/// What is known of the node.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// curl's version; `None` when it was not asked for, is absent or says nothing usable.
    pub curl: Option<CurlVersion>,
    /// The files of [`Wants::conf`] that exist, path (without `root:`) and content, pattern by pattern and then in the order of their
    /// paths. Some hold secrets, so they are wiped on drop.
    pub conf: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// The paths of [`Wants::paths`] at which something is.
    pub there: Vec<String>,
    /// What credential helpers answered, where [`helper::questions`] asks any.
    pub helpers: Vec<helper::Answer>,
}

/// What to do with a file on the node that is not as it should be; flags of `apply`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeOptions {
    /// Replace a file that cannot be read, after a backup beside it.
    pub replace_invalid: bool,
    /// Drop entries that void the whole file for its consumer.
    pub drop_bad_entries: bool,
}

/// Everything that one file's content depends on.
pub struct Merge<'a> {
    /// The target.
    pub target: &'a Target,
    /// Which of its files.
    pub spec: &'a FileSpec,
    /// Its logins, in the order of `target.logins`.
    pub logins: &'a [&'a Login],
    /// What is there; `None` when there is no file.
    pub existing: Option<&'a [u8]>,
    /// The node.
    pub facts: &'a NodeFacts,
    /// What the admin allows.
    pub options: MergeOptions,
}

/// A file's new content, or that there is none.
#[derive(Clone)]
pub struct Merged {
    /// The bytes to write; `None` when what is there is equal in value. Wiped on drop.
    pub write: Option<Zeroizing<Vec<u8>>>,
    /// What changes, as shape without values: lines that start with `+ `, `- ` or `~ `. Empty when nothing is written.
    pub diff: Vec<String>,
    /// What the admin should know, changed or not: warnings, one line each.
    pub notes: Vec<String>,
    /// The existing file is kept beside the new one as a backup (with [`MergeOptions::replace_invalid`]).
    pub backup: bool,
}

/// The mode of a directory that is made for a file of logins: private, unless a group is to read the file; what protects
/// that file is its own mode.
fn dir_mode(target: &Target) -> FileMode {
    FileMode::public(if target.mode.bits() & 0o040 != 0 { 0o755 } else { 0o700 })
}

/// A file without secrets that is wholly ours, with these bytes; `what` is its word in a diff.
fn merge_whole(existing: Option<&[u8]>, bytes: String, what: &str) -> Merged {
    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    match existing {
        Some(existing) if existing == bytes.as_bytes() => return merged,
        Some(_) => {
            merged.diff.push(format!("~ {what}"));
            merged.notes.push("this file is wholly regprov's: what else stood there is replaced".into());
        }
        None => merged.diff.push(format!("+ {what}")),
    }
    merged.write = Some(Zeroizing::new(bytes.into_bytes()));
    merged
}

/// Bytes that a file holds as text, wiped on drop; what is no UTF-8 is replaced, so it equals no password.
fn lossy(bytes: &[u8]) -> Zeroizing<String> {
    match String::from_utf8_lossy(bytes) {
        std::borrow::Cow::Borrowed(text) => Zeroizing::new(text.to_string()),
        std::borrow::Cow::Owned(text) => Zeroizing::new(text),
    }
}

/// The note that a changed file counts from the next start of a service on.
fn restart_note(unit: &str, why: &str) -> String {
    format!("restart needed: {unit}: {why} (`restart: true` does it)")
}

/// What is wrong with a target for every consumer: two logins for one registry, a registry with a path, no login at all,
/// a password or a mode that no consumer may get.
fn check_common(target: &Target, logins: &[&Login]) -> Vec<String> {
    let mut problems = Vec::new();
    if logins.is_empty() && target.cred_helpers.is_empty() {
        problems.push(format!("{} {}: no login goes there; name one under `logins:`, or leave the target out", target.kind, target.path));
    }
    if target.mode.bits() & 0o040 != 0 && target.group.is_none() {
        problems.push(format!("{} {}: mode {} is for the group that `group:` names; set it, or use 0600", target.kind, target.path, target.mode));
    }
    for (i, login) in logins.iter().enumerate() {
        if let Err(why) = crate::model::login::check_password(login.password.expose()) {
            problems.push(format!("login \"{}\" ({}): {why}; seal another password", login.name, login.registry));
        }
        if login.registry.path().is_some() && !target.kind.knows_paths() {
            problems.push(format!(
                "login \"{}\": registry `{}` has a path, and {} knows hosts only; write `{}`",
                login.name,
                login.registry,
                target.kind,
                login.registry.authority()
            ));
        }
        let same = |o: &Login| o.registry.authority() == login.registry.authority() && (!target.kind.knows_paths() || o.registry == login.registry);
        if let Some(other) = logins[..i].iter().find(|o| same(o)) {
            problems.push(format!(
                "logins \"{}\" and \"{}\" are both for {} in {} {}; give the target one of them with `logins:`",
                other.name, login.name, login.registry, target.kind, target.path
            ));
        }
    }
    problems
}

/// What is wrong with a target whatever the node is like, as people write its path.
pub fn problems(target: &Target, logins: &[&Login]) -> Vec<String> {
    let problems = (consumer(target.kind).check)(target, logins);
    match &target.user {
        Some(user) => problems.into_iter().map(|p| p.replace(&format!("{}/", Target::HOME), &format!("~{user}/"))).collect(),
        None => problems,
    }
}

/// A name for a message: [`escape`]d, and cut at 120 characters.
fn shown(name: &str) -> String {
    escape(&name.chars().take(120).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_may_read_a_file_can_get_to_it() {
        let target = |mode| Target {
            group: Some("users".into()),
            mode: FileMode::secret(mode).unwrap(),
            ..Target::at(TargetKind::Enroot, RemotePath::parse("/etc/enroot/.credentials").unwrap())
        };
        for kind in [TargetKind::Docker, TargetKind::Enroot] {
            assert_eq!((consumer(kind).files)(&target(0o640))[0].dir_mode.bits(), 0o755);
            assert_eq!((consumer(kind).files)(&target(0o600))[0].dir_mode.bits(), 0o700);
        }
    }

    #[test]
    fn the_table_has_a_row_for_every_kind_in_order() {
        let kinds: Vec<TargetKind> = CONSUMERS.iter().map(|c| c.kind).collect();
        assert_eq!(kinds, TargetKind::ALL);
        for c in &CONSUMERS {
            assert!(RemotePath::parse(c.default_path).is_ok_and(|p| p.as_str() == c.default_path));
        }
    }

    #[test]
    fn names_of_a_node_cannot_steer_a_terminal() {
        assert_eq!(shown("CORP\\j'd\u{1b}[2J\u{202e}x"), "CORP\\j'd\\u{1b}[2J\\u{202e}x");
        assert_eq!(shown(&"a".repeat(500)).len(), 120);
    }
}
