//! By what two hosts know that a path of theirs is the same file. Pure.
//!
//! It is a reason to let one of them write and the others wait, never a proof: what a host then finds at its own path is. So an
//! identity that is wrongly equal costs time, and one that is wrongly different a useless write.

use super::observe::Seen;
use crate::model::RemotePath;
use crate::node::protocol::Mount;

/// What a file is called, for every host alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// On a filesystem that hosts share: its type, and what is mounted with the way to the file.
    Network(&'static str, String),
    /// On one boot of one machine: nodes that are containers there, or images. The device where it is known.
    Machine(String, Option<String>, String),
}

/// A file as one host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: Name,
    /// The directories on the way that are there, the deepest first: what they are called, and their inodes.
    pub(super) dirs: Vec<(String, u64)>,
    /// The file's own inode, when it is there.
    pub(super) inode: Option<u64>,
}

impl Place {
    /// Where the file at `path` (links resolved) lies; `None` when nothing there could tell it from another of that name.
    pub(super) fn of(seen: &Seen, path: &RemotePath) -> Option<Self> {
        let reply = &seen.reply;
        let root = RemotePath::parse("/").expect("a constant");
        // Of two mounts at one place the later one is seen.
        let mount = reply.mounts.iter().filter(|m| path.is_within(&m.at)).max_by_key(|m| m.at.chain_from(&root).len() + usize::from(m.at != root));
        let inode_of = |dir: &RemotePath| reply.inodes.get(dir.as_str()).copied();
        let chain = |from: &RemotePath| path.chain_from(from).into_iter().rev();
        let (name, dirs): (Name, Vec<(String, u64)>) = match mount.and_then(|m| Some((m, network(m)?))) {
            Some((mount, kind)) => {
                let called = |p: &RemotePath| called(mount, p);
                // A filesystem's first directory has the same inode in each that was ever made, so where its name may be another's too it tells nothing.
                let counts = |dir: &RemotePath| *dir != mount.at || names_a_server(kind, &mount.source);
                let dirs = chain(&mount.at).filter(counts).filter_map(|d| Some((called(&d), inode_of(&d)?))).collect();
                (Name::Network(kind, called(path)), dirs)
            }
            None => {
                let dirs = chain(&root).filter_map(|d| Some((d.to_string(), inode_of(&d)?))).collect();
                (Name::Machine(reply.boot.clone()?, mount.map(|m| m.device.clone()), path.to_string()), dirs)
            }
        };
        (!dirs.is_empty()).then(|| Place { name, dirs, inode: inode_of(path) })
    }

    /// Whether a host that knows these directories of this name sees the same ones: the deepest that both know decides, since those above
    /// it may be another host's own.
    pub(super) fn is_among(&self, dirs: &[(String, u64)]) -> bool {
        let both = self.dirs.iter().find_map(|(dir, inode)| Some((*inode, dirs.iter().find(|(d, _)| d == dir)?.1)));
        both.is_some_and(|(mine, other)| mine == other)
    }

    /// Whether an inode of this name is one file: on a filesystem that is known, and not on any that a machine has.
    pub(super) fn inode_tells(&self) -> bool {
        !matches!(self.name, Name::Machine(_, None, _))
    }

    /// Whether what another host wrote may be seen late, since attributes and names are cached for a while.
    pub(super) fn may_be_late(&self) -> bool {
        matches!(self.name, Name::Network(..))
    }
}

/// The type of a filesystem that hosts share, one word for all versions of a protocol.
fn network(mount: &Mount) -> Option<&'static str> {
    Some(match mount.kind.as_str() {
        "nfs" | "nfs4" => "nfs",
        "cifs" | "smb3" => "cifs",
        "lustre" => "lustre",
        "gpfs" => "gpfs",
        "beegfs" => "beegfs",
        "ceph" => "ceph",
        _ => return None,
    })
}

/// Whether what is mounted is said with the server that has it. GPFS says a device that each cluster names as it likes, BeeGFS always
/// `beegfs_nodev`, and behind a tunnel (amazon-efs-utils) every export is this machine's.
fn names_a_server(kind: &str, source: &str) -> bool {
    let server = match kind {
        "nfs" => source.rsplit_once(":/").map_or("", |(server, _)| server),
        "cifs" => source.trim_start_matches('/').split('/').next().unwrap_or_default(),
        "lustre" | "ceph" => source,
        _ => "",
    };
    !(server.is_empty() || server == "localhost" || server.starts_with("127.") || server.trim_matches(['[', ']']) == "::1")
}

/// What `path` below a mount is called on the server: `nfs01:/export/home` at `/home` and `nfs01:/export/home/alice` at `/home/alice` give one
/// name to one file.
fn called(mount: &Mount, path: &RemotePath) -> String {
    let inside = if mount.at.as_str() == "/" { path.as_str() } else { path.as_str().strip_prefix(mount.at.as_str()).unwrap_or_default() };
    let parts = [&mount.source, &mount.root, inside].into_iter().flat_map(|s| s.split('/')).filter(|p| !p.is_empty());
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::protocol::{Nonce, ReplyReader};

    /// A host that has these mounts (the lines of its /proc/self/mountinfo), and these directories and files: `PATH INODE`.
    fn place(mountinfo: &str, boot: char, inodes: &str, path: &str) -> Option<Place> {
        let mut seen = Seen::default();
        let nonce = Nonce::random();
        let n = nonce.as_str().to_string();
        let mut text = format!("{n} boot {}\n", "00000000-0000-0000-0000-000000000000".replace('0', &boot.to_string()));
        for line in mountinfo.lines() {
            // As the node program cuts it.
            let words: Vec<&str> = line.split(' ').collect();
            let dash = words.iter().position(|w| *w == "-").unwrap();
            text += &format!("{n} mount {} {} {} {} {}\n", words[2], words[dash + 1], words[dash + 2], words[3], words[4]);
        }
        for line in inodes.split(", ") {
            let (path, inode) = line.split_once(' ').unwrap();
            text += &format!("{n} l {inode} drwx------ 2 0 0 9 Nov 21 02:18 {path}\n");
        }
        let reply = ReplyReader::new(nonce).feed(format!("{text}{n} cat\n\n{n} end\n").as_bytes()).unwrap().unwrap();
        let paths = inodes.split(", ").map(|l| l.split_once(' ').unwrap().0.to_string()).collect();
        seen.add(&crate::node::protocol::Observe { paths, ..Default::default() }, reply);
        Place::of(&seen, &RemotePath::parse(path).unwrap())
    }

    /// The lines of a node in tests/samples/mountinfo.
    fn sample(name: &str) -> String {
        let file = format!("{}/tests/samples/mountinfo/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect()
    }

    /// Whether the host `b` knows the file of host `a`, and the other way round.
    #[track_caller]
    fn check(a: &(&str, &str, &str), b: &(&str, &str, &str), want: bool) {
        let of = |(mounts, inodes, path): &(&str, &str, &str), boot| place(mounts, boot, inodes, path);
        let same = |a: &Option<Place>, b: &Option<Place>| matches!((a, b), (Some(a), Some(b)) if a.name == b.name && a.is_among(&b.dirs));
        let (one, other) = (of(a, 'a'), of(b, 'b'));
        assert_eq!(same(&one, &other), want, "{one:?} {other:?}");
        assert_eq!(same(&other, &one), want);
    }

    const ALICE: &str = "/ 2, /home 128, /home/alice 5001, /home/alice/.docker 5002";
    const FILE: &str = "/home/alice/.docker/config.json";

    #[test]
    fn simulated_nodes_with_one_home_know_it() {
        for name in ["nfs3", "nfs4", "nfs4-autofs", "lustre", "gpfs", "beegfs", "ceph", "cifs"] {
            let mounts = sample(name);
            check(&(&mounts, ALICE, FILE), &(&mounts, ALICE, FILE), true);
            // One that came after the leader had made the directory.
            check(&(&mounts, "/ 2, /home 128, /home/alice 5001", FILE), &(&mounts, ALICE, FILE), true);
            // Their own `/` is none of it.
            check(&(&mounts, &ALICE.replace("/ 2", "/ 99"), FILE), &(&mounts, ALICE, FILE), true);
            // Another directory by the same name: a second cluster that calls its filesystem alike.
            check(&(&mounts, ALICE, FILE), &(&mounts, &ALICE.replace("5002", "7002"), FILE), false);
            check(&(&mounts, ALICE, FILE), &(&mounts, &ALICE.replace("alice", "bob"), "/home/bob/.docker/config.json"), false);
            // Root's home is each host's own.
            check(&(&mounts, "/ 2, /root 7", "/root/.docker/config.json"), &(&mounts, "/ 2, /root 7", "/root/.docker/config.json"), false);
            check(&(&mounts, "/ 2", FILE), &(&mounts, "/ 2", FILE), false);
        }
    }

    #[test]
    fn simulated_mounts_of_one_export_at_several_places_are_one() {
        let (whole, each) = (sample("nfs4"), sample("nfs4-autofs"));
        check(&(&whole, ALICE, FILE), &(&each, ALICE, FILE), true);
        let bound = sample("nfs4-bind");
        check(&(&whole, ALICE, FILE), &(&bound, "/ 2, /data 5001, /data/.docker 5002", "/data/.docker/config.json"), true);
        check(&(&sample("nfs3"), ALICE, FILE), &(&sample("lustre"), ALICE, FILE), false);
    }

    #[test]
    fn simulated_names_that_any_cluster_has_need_a_directory_below_their_first() {
        let top = "/ 2, /home 128";
        for (name, want) in [("gpfs", false), ("beegfs", false), ("nfs4-tunnel", false), ("nfs4", true), ("lustre", true)] {
            let mounts = sample(name);
            check(&(&mounts, top, "/home/config.json"), &(&mounts, top, "/home/config.json"), want);
            check(&(&mounts, ALICE, FILE), &(&mounts, ALICE, FILE), true);
        }
    }

    #[test]
    fn simulated_local_filesystems_below_and_over_shared_ones_are_the_host_s_own() {
        // A disk at /home/scratch, an overlay over the whole root that lies on NFS.
        let mounts = sample("nested");
        let scratch = ("/ 2, /home 128, /home/scratch 128", "/home/scratch/config.json");
        check(&(&mounts, scratch.0, scratch.1), &(&mounts, scratch.0, scratch.1), false);
        check(&(&mounts, ALICE, FILE), &(&mounts, ALICE, FILE), true);
        let overlay = sample("nfs-root-overlay");
        check(&(&overlay, "/ 2, /root 7", "/root/.docker/config.json"), &(&overlay, "/ 2, /root 7", "/root/.docker/config.json"), false);
        let plain = sample("nfs-root");
        check(&(&plain, "/ 2, /root 7", "/root/.docker/config.json"), &(&plain, "/ 2, /root 7", "/root/.docker/config.json"), true);
    }

    #[test]
    fn a_machine_s_own_files_are_one_on_one_boot_only() {
        let root = |boot, mounts: &str, inodes: &str| place(mounts, boot, inodes, "/root/.docker/config.json").unwrap();
        let same = |a: &Place, b: &Place| a.name == b.name && a.is_among(&b.dirs);
        let dirs = "/ 2, /root 7";
        assert!(same(&root('a', "", dirs), &root('a', "", dirs)));
        assert!(!same(&root('a', "", dirs), &root('b', "", dirs)));
        assert!(!same(&root('a', "", dirs), &root('a', "", "/ 2, /root 8")));
        // Where devices are told, they count.
        let (one, other) = ("21 1 259:2 / / rw - ext4 /dev/a rw", "21 1 259:3 / / rw - ext4 /dev/b rw");
        assert!(!same(&root('a', one, dirs), &root('a', other, dirs)));
        assert!(root('a', one, dirs).inode_tells() && !root('a', "", dirs).inode_tells());
    }

    #[test]
    fn without_inodes_nothing_is_known() {
        assert_eq!(place(&sample("nfs4"), 'a', "/elsewhere 1", FILE), None);
    }
}
