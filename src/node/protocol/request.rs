//! What is asked of the node program, as the lines that it reads.

use std::fmt::Write as _;

use super::Nonce;
use crate::model::RemotePath;

/// Seconds after which the node program ends by itself once it holds a lock.
const WATCHDOG_SECONDS: u32 = 90;

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    /// Paths; the last component may hold `*`.
    pub paths: Vec<String>,
    /// Users whose numbers are needed.
    pub users: Vec<String>,
    /// Groups whose numbers are needed.
    pub groups: Vec<String>,
    /// The user whose home is needed.
    pub home: Option<String>,
    /// Whether curl's version is needed.
    pub curl: bool,
    /// A directory to lock first, when an earlier attempt met a conflict.
    pub lock: Option<RemotePath>,
    /// Whether it is needed by what another host can tell that it sees the same files: inodes, the boot, mounts.
    pub shared: bool,
}

impl Observe {
    /// The request's bytes. The first one of a connection starts with [`hello`].
    pub fn encode(&self, root: &RemotePath) -> String {
        let mut out = String::new();
        if let Some(lock) = &self.lock {
            let _ = writeln!(out, "lock {lock} {WATCHDOG_SECONDS}");
        }
        if self.shared {
            out.push_str("shared\n");
        }
        for path in &self.paths {
            let _ = writeln!(out, "path {path}");
        }
        let file = |kind| RemotePath::parse("/etc").expect("a constant").join(kind).below(root);
        if let Some(name) = &self.home {
            let _ = writeln!(out, "home {name} {}", file("passwd"));
        }
        for (kind, names) in [("passwd", &self.users), ("group", &self.groups)] {
            let file = file(kind);
            for name in names {
                let _ = writeln!(out, "id {kind} {name} {file}");
            }
        }
        if self.curl {
            out.push_str("curl\n");
        }
        out.push_str("observe\n");
        out
    }
}

/// The first line of a connection: the nonce.
pub fn hello(nonce: &Nonce) -> String {
    format!("{}\n", nonce.0)
}

/// How the payload of a replacement travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As a tar archive.
    Tar,
    /// As lines, for nodes without tar.
    Lines,
}

/// One file to replace or to take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// SHA-256 of the new content, in hexadecimal, or [`Swap::NOTHING`].
    pub new: String,
    /// SHA-256 of what was observed; `None` when nothing is to be there.
    pub old: Option<String>,
    /// The file, links resolved.
    pub path: RemotePath,
}

impl Swap {
    /// The new content of a file that goes; nothing of it stands in the payload.
    pub const NOTHING: &str = "-";
}

/// What to replace. The payload follows it, then the end of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// The directory to lock.
    pub lock: RemotePath,
    /// Directories in which stale staging directories of ours are removed.
    pub sweep: Vec<RemotePath>,
    /// The files; those of one directory stand together.
    pub swaps: Vec<Swap>,
    /// How the payload travels.
    pub packing: Packing,
}

impl Replace {
    /// The request's bytes, without the payload.
    pub fn encode(&self) -> String {
        let mut out = format!("lock {} {WATCHDOG_SECONDS}\n", self.lock);
        for dir in &self.sweep {
            let _ = writeln!(out, "sweep {dir}");
        }
        let _ = writeln!(out, "replace {}", if self.packing == Packing::Tar { "tar" } else { "lines" });
        for swap in &self.swaps {
            let old = swap.old.as_deref().unwrap_or("-");
            let _ = writeln!(out, "{} {old} {} {}", swap.new, swap.path.parent(), swap.path.file_name());
        }
        out.push_str(".\n");
        out
    }
}

/// Where a file is staged: in a directory of ours beside it.
pub fn staging_dir(dir: &RemotePath, nonce: &Nonce) -> RemotePath {
    dir.join(&format!(".regprov.{}", nonce.0))
}

/// The pattern of staging directories, stale ones of earlier runs among them.
pub fn staging_pattern(dir: &RemotePath) -> String {
    format!("{}/.regprov.*", dir.as_str().trim_end_matches('/'))
}
