//! What a node is like, as far as `regprov ping` can see.

use super::{CurlVersion, RemotePath, Stage};

/// One host's row of `regprov ping`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingRow {
    /// The host's name in the inventory.
    pub host: String,
    /// What it is like, or why that is not known.
    pub result: Result<NodeState, Unseen>,
}

/// Why a host was not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It failed at this stage, for this reason.
    Failed(Stage, String),
    /// A source of hosts says that it is down, in these words; it was not contacted.
    Skipped(String),
    /// Its turn never came to an end, for this reason.
    NotAttempted(String),
}

/// What is told while hosts are looked at.
#[derive(Clone, Debug)]
pub enum PingEvent {
    /// The turn of the host at this position came.
    Started(usize),
    /// The host at this position ended.
    Ended(usize, PingRow),
}

impl PingRow {
    /// The word in reports.
    pub fn outcome(&self) -> &'static str {
        match &self.result {
            Ok(_) => "reached",
            Err(unseen) => unseen.outcome(),
        }
    }
}

impl Unseen {
    /// The word in reports.
    pub fn outcome(&self) -> &'static str {
        match self {
            Unseen::Failed(stage, _) if *stage <= Stage::Authenticate => "unreachable",
            Unseen::Failed(..) => "failed",
            Unseen::Skipped(_) => "skipped",
            Unseen::NotAttempted(_) => "not_attempted",
        }
    }
}

/// What a reached node told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// The consumers of logins that are installed.
    pub consumers: Vec<String>,
    /// curl's version.
    pub curl: Option<CurlVersion>,
    /// Whether SELinux is enforcing; `None` where there is none.
    pub selinux_enforcing: Option<bool>,
    /// What is free where files are written.
    pub space: Vec<Space>,
    /// What would keep `apply` from its work, or should be looked at. One line each.
    pub warnings: Vec<String>,
}

/// What is free at a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// The directory, the host's `root:` included.
    pub dir: RemotePath,
    /// Rounded down to a power of two, so that a second look gives the same: `16 GiB`. `None` where `df` does not tell.
    pub free: Option<String>,
    /// Free inodes, rounded likewise: `64 k`.
    pub inodes: Option<String>,
    /// Whether we can write there.
    pub writable: bool,
}
