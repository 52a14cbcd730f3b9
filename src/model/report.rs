//! What happened, as data: one row per host, one row per file.

use std::fmt;

use super::verify::Verified;

/// The step at which a host or a file failed. The words are the report's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Looking its name up.
    Resolve,
    /// TCP.
    Connect,
    /// Banner, key exchange and host key.
    Handshake,
    /// Proving who we are.
    Authenticate,
    /// Opening the channel and starting the node program.
    Start,
    /// Asking the API server whether we may do what is to be done.
    Rights,
    /// Reading what is there.
    Observe,
    /// Computing what shall be there.
    Render,
    /// Writing it.
    Replace,
    /// Reading it again as the consumer does.
    ReadBack,
    /// Restarting a service that reads its logins when it starts.
    Restart,
    /// Asking a registry from the node.
    PullTest,
}

impl Stage {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Resolve => "resolve",
            Stage::Connect => "connect",
            Stage::Handshake => "handshake",
            Stage::Authenticate => "authenticate",
            Stage::Start => "start",
            Stage::Rights => "rights",
            Stage::Observe => "observe",
            Stage::Render => "render",
            Stage::Replace => "replace",
            Stage::ReadBack => "read back",
            Stage::Restart => "restart",
            Stage::PullTest => "pull test",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// It was not there.
    Created,
    /// Its content changed.
    Updated,
    /// Only mode, owner or group changed.
    Metadata,
    /// It held nothing but what was taken out, and went as a whole.
    Removed,
    /// Equal in value and as wanted.
    Unchanged,
    /// Not written; the reason stands beside it.
    Failed,
    /// The host did not get so far.
    NotAttempted,
}

impl Change {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Updated => "updated",
            Change::Metadata => "metadata",
            Change::Removed => "removed",
            Change::Unchanged => "unchanged",
            Change::Failed => "failed",
            Change::NotAttempted => "not_attempted",
        }
    }

    /// Whether the file was written or taken away (or would be, with `--check`).
    pub fn is_change(self) -> bool {
        matches!(self, Change::Created | Change::Updated | Change::Metadata | Change::Removed)
    }
}

/// One file's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// The consumer's name.
    pub target: &'static str,
    /// The path on the node, `root:` included.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// Why it failed, or what the admin should know of it.
    pub reason: Option<String>,
    /// What changed, as shape without values, for `--diff`: lines that start with `+`, `-` or `~`.
    pub diff: Vec<String>,
}

/// How a host ended. Exactly one for each host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every file was as wanted.
    Unchanged,
    /// At least one file was written (or would be, with `--check`), none failed.
    Changed,
    /// A file failed, or the host at a stage after it was reached.
    Failed {
        /// Where.
        stage: Stage,
        /// Why, for a person.
        reason: String,
    },
    /// No connection that could be trusted and used.
    Unreachable {
        /// Where.
        stage: Stage,
        /// Why, for a person.
        reason: String,
    },
    /// Cut after the payload was sent: the files are old or new, each whole.
    Unknown {
        /// Where.
        stage: Stage,
        /// Why, for a person.
        reason: String,
    },
    /// The run ended before its turn.
    NotAttempted,
    /// Left out: a source of hosts says that it is down.
    Skipped {
        /// Why, in the source's words.
        reason: String,
    },
}

impl Outcome {
    /// The word in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Unchanged => "unchanged",
            Outcome::Changed => "changed",
            Outcome::Failed { .. } => "failed",
            Outcome::Unreachable { .. } => "unreachable",
            Outcome::Unknown { .. } => "unknown",
            Outcome::NotAttempted => "not_attempted",
            Outcome::Skipped { .. } => "skipped",
        }
    }

    /// Stage and reason, where the outcome has them.
    pub fn trouble(&self) -> Option<(Stage, &str)> {
        match self {
            Outcome::Failed { stage, reason } | Outcome::Unreachable { stage, reason } | Outcome::Unknown { stage, reason } => Some((*stage, reason)),
            _ => None,
        }
    }

    /// Why, where there is something to say.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Outcome::Skipped { reason } => Some(reason),
            other => other.trouble().map(|(_, reason)| reason),
        }
    }
}

/// One host's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// The host's name in the inventory.
    pub host: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its files, in the order of its targets.
    pub files: Vec<FileRow>,
    /// What the admin should know of the host itself, one line each.
    pub notes: Vec<String>,
}

/// The whole run: a row for every targeted host, in inventory order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The rows.
    pub hosts: Vec<HostRow>,
    /// The signal that ended the run early (130 for SIGINT, 143 for SIGTERM as exit codes), if one did.
    pub interrupted: Option<u8>,
    /// What registries said of the logins, if they were asked.
    pub verified: Option<Verified>,
    /// Why a guard (a failed canary, too many failures, a refused password) ended the run early, if one did.
    pub stopped: Option<String>,
}

impl Report {
    /// The exit code, in the order of the README's table: signal, a refused login (6), guard (7), failed or unknown (3), only unreachable or not
    /// attempted (4), changes found when `detailed` (10), else 0. A skipped host counts for nothing.
    pub fn exit_code(&self, detailed: bool) -> u8 {
        if let Some(code) = self.interrupted {
            return code;
        }
        if self.verified.as_ref().is_some_and(|v| v.refused().next().is_some()) {
            return 6;
        }
        if self.stopped.is_some() {
            return 7;
        }
        let any = |f: fn(&Outcome) -> bool| self.hosts.iter().any(|h| f(&h.outcome));
        if any(|o| matches!(o, Outcome::Failed { .. } | Outcome::Unknown { .. })) {
            3
        } else if any(|o| matches!(o, Outcome::Unreachable { .. } | Outcome::NotAttempted)) {
            4
        } else if detailed && any(|o| matches!(o, Outcome::Changed)) {
            10
        } else {
            0
        }
    }
}

/// What is told while the run goes on, to whoever draws it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A host's turn came.
    Started {
        /// Position in the report.
        index: usize,
    },
    /// A host was sent what shall be written: from here on it may have changed, until its end tells.
    Sent {
        /// Position in the report.
        index: usize,
    },
    /// A host ended.
    Ended {
        /// Position in the report.
        index: usize,
        /// Its row.
        row: HostRow,
    },
}
