//! What was seen of the files of one host, as a program of one user there would find them.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::{CurlVersion, RemotePath, Stat, StatKind};

/// A user of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of the first group. The others are not known.
    pub gid: u32,
    /// The home, without the host's `root:`.
    pub home: RemotePath,
}

impl Who {
    /// A path below the home.
    pub fn in_home(&self, rest: &str) -> String {
        format!("{}/{rest}", self.home.as_str().trim_end_matches('/'))
    }
}

/// What was seen. Paths are without the host's `root:`.
pub struct Sight {
    /// Whose programs are asked about.
    pub who: Who,
    /// curl's version, where one is found.
    pub curl: Option<CurlVersion>,
    /// The contents of regular files of at most 1 MiB, at the paths that were asked for, links followed.
    pub files: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// What is there at the paths that were asked for, links followed.
    pub stats: BTreeMap<String, Stat>,
    /// Where links lead: a path that was asked for, and the one at which its links end.
    pub ends: BTreeMap<String, String>,
    /// Paths, or patterns, at which something is that could not be read with the rights of who logs in.
    pub unread: BTreeSet<String>,
}

/// Whether a user may read a file, by the modes of it and of the directories that lead to it. Access lists are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// They may.
    Yes,
    /// If they are in the group of this number.
    Group(u32),
    /// They may not, for the mode of this path.
    No(String),
}

impl Sight {
    /// Whether the user may read this file.
    pub fn access(&self, file: &str) -> Access {
        if self.who.uid == 0 {
            return Access::Yes;
        }
        let mut access = Access::Yes;
        for path in [file, self.ends.get(file).map_or(file, String::as_str)] {
            let dirs = path.match_indices('/').skip(1).map(|(at, _)| (&path[..at], 0o1));
            for (at, bit) in dirs.chain([(path, 0o4)]) {
                match self.stats.get(at).map(|stat| allows(stat, &self.who, bit)) {
                    None | Some(Access::Yes) => {}
                    Some(Access::Group(gid)) => access = Access::Group(gid),
                    Some(Access::No(_)) => return Access::No(at.to_string()),
                }
            }
        }
        access
    }
}

fn allows(stat: &Stat, who: &Who, bit: u32) -> Access {
    let (owner, group, others) = (stat.mode & bit << 6 != 0, stat.mode & bit << 3 != 0, stat.mode & bit != 0);
    match () {
        () if matches!(stat.kind, StatKind::Symlink(_)) => Access::Yes,
        () if stat.uid == who.uid && owner => Access::Yes,
        () if stat.uid == who.uid => Access::No(String::new()),
        () if stat.gid == who.gid && group || others => Access::Yes,
        () if stat.gid != who.gid && group => Access::Group(stat.gid),
        () => Access::No(String::new()),
    }
}

/// What one program would do for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The program's name.
    pub program: &'static str,
    /// Whether it was found on the node, where programs usually lie.
    pub installed: bool,
    /// What it would do.
    pub verdict: Verdict,
    /// The files in the order in which it looks, and what it finds in each.
    pub steps: Vec<Step>,
    /// What cannot be seen in files, or should be known beside them.
    pub notes: Vec<String>,
}

/// What a program would do for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It sends a login.
    Sends {
        /// The file that it takes it from.
        file: String,
        /// The entry in it.
        entry: String,
        /// The account; the password is never told.
        username: String,
        /// The inventory's login that this is meant to be, as far as file, registry and account tell.
        login: Option<String>,
    },
    /// It takes an entry whose login is not in the file as username and password: a credential helper, a token.
    Indirect {
        /// The file.
        file: String,
        /// The entry in it.
        entry: String,
        /// What stands in the place of a login.
        what: String,
    },
    /// It sends no login: the pull is anonymous.
    Anonymous,
    /// It gives up, and why.
    Fails {
        /// The file that it stumbles over.
        file: String,
        /// Why.
        why: String,
    },
}

/// One file that a program looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The file.
    pub file: String,
    /// What the program finds there.
    pub found: String,
    /// Whether it is the file of a target of the inventory.
    pub ours: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_reads_what_modes_let_through() {
        let stat = |kind, mode, uid, gid| Stat { kind, mode, uid, gid, size: 1 };
        let who = |uid| Who { name: "alice".into(), uid, gid: 100, home: RemotePath::parse("/home/alice").unwrap() };
        #[track_caller]
        fn check(sight: &Sight, want: Access) {
            assert_eq!(sight.access("/a/f"), want);
        }
        let sight = |dir: u32, file: (u32, u32, u32), uid| {
            let stats = [("/a".to_string(), stat(StatKind::Dir, dir, 0, 0)), ("/a/f".to_string(), stat(StatKind::File, file.0, file.1, file.2))];
            Sight { who: who(uid), curl: None, files: BTreeMap::new(), stats: stats.into(), ends: BTreeMap::new(), unread: BTreeSet::new() }
        };
        check(&sight(0o755, (0o644, 0, 0), 1000), Access::Yes);
        check(&sight(0o755, (0o600, 1000, 0), 1000), Access::Yes);
        check(&sight(0o755, (0o600, 0, 0), 1000), Access::No("/a/f".into()));
        check(&sight(0o700, (0o644, 0, 0), 1000), Access::No("/a".into()));
        check(&sight(0o755, (0o640, 0, 100), 1000), Access::Yes);
        check(&sight(0o755, (0o640, 0, 7), 1000), Access::Group(7));
        check(&sight(0o755, (0o044, 1000, 100), 1000), Access::No("/a/f".into()));
        check(&sight(0o700, (0o000, 7, 7), 0), Access::Yes);
        let mut linked = sight(0o755, (0o600, 0, 0), 1000);
        linked.stats.insert("/a/f".into(), stat(StatKind::File, 0o644, 0, 0));
        linked.stats.insert("/secret".into(), stat(StatKind::Dir, 0o700, 0, 0));
        linked.ends.insert("/a/f".into(), "/secret/f".into());
        check(&linked, Access::No("/secret".into()));
    }
}
