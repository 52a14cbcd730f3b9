//! What `regprov status` finds on a node.

use super::ping::Unseen;

/// One host's row of `regprov status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRow {
    /// The host's name in the inventory, or a namespace's as reports have it.
    pub host: String,
    /// Its files, in the order of its targets and then those that only the node's record names; or why they were not seen.
    pub result: Result<Vec<FileStatus>, Unseen>,
}

/// What is told while hosts are looked at.
#[derive(Clone, Debug)]
pub enum StatusEvent {
    /// The turn of the host at this position came.
    Started(usize),
    /// The host at this position ended.
    Ended(usize, StatusRow),
}

/// A file as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStatus {
    /// The consumer's name.
    pub target: &'static str,
    /// The path on the node, `root:` included.
    pub path: String,
    /// What is wrong with the file itself.
    pub findings: Vec<Finding>,
    /// The logins that it shall hold.
    pub logins: Vec<LoginStatus>,
    /// Keys of entries that others wrote, the first [`FOREIGN_MAX`]; `apply` leaves them alone, and they are no drift.
    pub foreign: Vec<String>,
    /// How many entries others wrote.
    pub foreign_count: usize,
}

/// Keys of others that are named; the rest are counted.
pub const FOREIGN_MAX: usize = 20;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// It in words, for a person.
    pub detail: String,
}

/// The kinds of [`Finding`], in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// There is no file.
    Missing,
    /// It lies where regprov does not touch it: others could exchange it, or it is no regular file.
    Refused,
    /// Its consumer reads nothing of it.
    Unreadable,
    /// It holds no logins and not what it should, or something beside them differs.
    Different,
    /// A Secret of another type, of which no pull takes anything.
    WrongType,
    /// Somebody else says what stands in it.
    OtherManager,
    /// A copy of the logins stands in an annotation of it.
    CopyInAnnotation,
    /// A service account does not name a Secret, so pods that run as it pull without.
    NotReferenced,
    /// Other permission bits.
    WrongMode,
    /// Another owner or group.
    WrongOwner,
    /// Somebody can read it who should not.
    ReadableByOthers,
    /// A copy of an older state lies beside it.
    StaleBackup,
    /// A login stands in it that this inventory wrote and does not want there any more.
    LeftOver,
}

impl FindingKind {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Missing => "missing",
            FindingKind::Refused => "refused",
            FindingKind::Unreadable => "unreadable",
            FindingKind::Different => "different",
            FindingKind::WrongType => "wrong_type",
            FindingKind::OtherManager => "other_manager",
            FindingKind::CopyInAnnotation => "copy_in_annotation",
            FindingKind::NotReferenced => "not_referenced",
            FindingKind::WrongMode => "wrong_mode",
            FindingKind::WrongOwner => "wrong_owner",
            FindingKind::ReadableByOthers => "readable_by_others",
            FindingKind::StaleBackup => "stale_backup",
            FindingKind::LeftOver => "left_over",
        }
    }
}

/// A login as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginStatus {
    /// Its name in the inventory.
    pub login: String,
    /// How it stands there.
    pub verdict: Verdict,
    /// More of it, for a person.
    pub detail: Option<String>,
    /// When it ended, as the inventory writes that; `None` while it is valid.
    pub expired: Option<String>,
}

/// How a login stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Account and password are the vault's.
    Same,
    /// The account is; the password was not compared.
    SameAccount,
    /// Account and password are those before the login's rotation.
    Previous,
    /// Its consumer would send something else, or ask somebody else.
    Different,
    /// Its consumer finds none.
    Missing,
    /// The file was not looked into.
    Unseen,
    /// A credential helper is to have it, and was not asked.
    NotAsked,
}

impl Verdict {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::SameAccount => "same_account",
            Verdict::Previous => "previous",
            Verdict::Different => "different",
            Verdict::Missing => "missing",
            Verdict::Unseen => "unseen",
            Verdict::NotAsked => "not_asked",
        }
    }
}

impl FileStatus {
    /// Whether anything is not as the inventory wants it.
    pub fn has_drift(&self) -> bool {
        let well = |l: &LoginStatus| matches!(l.verdict, Verdict::Same | Verdict::SameAccount | Verdict::NotAsked) && l.expired.is_none();
        !self.findings.is_empty() || !self.logins.iter().all(well)
    }
}

impl StatusRow {
    /// The word in reports.
    pub fn outcome(&self) -> &'static str {
        match &self.result {
            Ok(files) if files.iter().any(FileStatus::has_drift) => "drift",
            Ok(_) => "same",
            Err(unseen) => unseen.outcome(),
        }
    }
}
