//! Where a wanted file really lies on a node, whether it may be touched there, and what would change. Pure.

use crate::model::{Change, Observed, ObservedFile, RemotePath, Stat, StatKind};

/// How many links one path may go through, as the kernel's own limit (MAXSYMLINKS) in spirit, but smaller.
const LINKS_MAX: usize = 8;

/// What is known of a path.
pub enum Known<'a> {
    /// It was not asked for yet.
    Nothing,
    /// Nothing is there.
    Absent,
    /// Something is.
    Is(&'a Stat),
}

/// A node's view of its files, as far as it was asked.
pub trait View {
    /// What is known of this path (the host's `root:` included).
    fn at(&self, path: &RemotePath) -> Known<'_>;
    /// The regular file at this path, when it was read.
    fn file(&self, path: &RemotePath) -> Option<&ObservedFile>;
}

/// Where a wanted file is.
pub enum Located {
    /// There, links resolved.
    At {
        /// The real path.
        path: RemotePath,
        /// Directories that have to be made, top first.
        missing: Vec<RemotePath>,
        /// What is there now.
        observed: Observed,
    },
    /// These paths must be looked at first: a link led somewhere else.
    Ask(Vec<RemotePath>),
}

/// Walks from `root` to `wanted` as the kernel would, and refuses what somebody else could have prepared: every
/// directory and link on the way belongs to root or to `uid` (who writes), and nobody else can write in the directories.
/// A directory with the sticky bit counts as writable by others. Links are followed under these rules, so that
/// `/home -> /lustre/home` works; absolute ones lead from `root`, as they would on the booted node.
pub fn locate(wanted: &RemotePath, root: &RemotePath, uid: u32, view: &dyn View) -> Located {
    let refused = |path: &RemotePath, why: String| Located::At { path: path.clone(), missing: Vec::new(), observed: Observed::Refused(why) };
    let mut todo = below(wanted, root);
    let mut at = root.clone();
    let mut links = 0;
    match view.at(&at) {
        Known::Is(stat) => {
            if let Err(why) = safe_directory(&at, stat, uid) {
                return refused(&at, why);
            }
        }
        Known::Absent => return refused(&at, format!("{at} does not exist; `root:` must name a directory that does")),
        Known::Nothing => return Located::Ask(wanted.chain_from(root).into_iter().chain([wanted.clone()]).collect()),
    }
    while let Some(part) = todo.pop() {
        if part == ".." {
            at = if at == *root { at } else { at.parent() };
            continue;
        }
        let next = at.join(&part);
        let last = todo.is_empty();
        match view.at(&next) {
            Known::Nothing => {
                let mut ask = vec![next.clone()];
                for part in todo.iter().rev().filter(|p| *p != "..") {
                    let deeper = ask.last().expect("it starts with one").join(part);
                    ask.push(deeper);
                }
                return Located::Ask(ask);
            }
            Known::Absent => {
                if todo.iter().any(|p| p == "..") {
                    return refused(&next, format!("{next} does not exist, and a link leads through it"));
                }
                let mut missing = Vec::new();
                let mut path = next;
                while let Some(part) = todo.pop() {
                    missing.push(path.clone());
                    path = path.join(&part);
                }
                return found(path, missing, Observed::Absent);
            }
            Known::Is(stat) => match &stat.kind {
                StatKind::Symlink(to) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return refused(&next, format!("{wanted} goes through more than {LINKS_MAX} links"));
                    }
                    if stat.uid != 0 && stat.uid != uid {
                        return refused(&next, format!("{next} is a link that belongs to user {}; only links of root are followed", stat.uid));
                    }
                    let Ok(parts) = link_parts(to) else {
                        return refused(&next, format!("{next} is a link to a path with white space, quotes or control characters"));
                    };
                    if to.starts_with('/') {
                        at = root.clone();
                    }
                    todo.extend(parts.into_iter().rev());
                    if todo.is_empty() {
                        return refused(&next, format!("{next} is a link to a directory"));
                    }
                }
                StatKind::Dir if last => return refused(&next, format!("{next} is a directory")),
                StatKind::Dir => {
                    if let Err(why) = safe_directory(&next, stat, uid) {
                        return refused(&next, why);
                    }
                    at = next;
                }
                StatKind::File if last => {
                    let observed = match view.file(&next) {
                        Some(file) => Observed::File(file.clone()),
                        None => Observed::Refused(format!("{next} has {} bytes; files above 1 MiB are not touched", stat.size)),
                    };
                    return found(next, Vec::new(), observed);
                }
                StatKind::File => return refused(&next, format!("{next} is a file where a directory is needed")),
                StatKind::Other(what) => return refused(&next, format!("{next} is {what}")),
            },
        }
    }
    refused(&at, format!("{wanted} leads to the directory {at}"))
}

/// A file is staged in a directory beside it, and `/` itself is no place for that.
fn found(path: RemotePath, missing: Vec<RemotePath>, observed: Observed) -> Located {
    let observed = match path.parent().as_str() {
        "/" => Observed::Refused(format!("{path} lies in / itself; regprov writes only into directories below it")),
        _ => observed,
    };
    Located::At { path, missing, observed }
}

/// The components of `path` below `root`, the first one last.
fn below(path: &RemotePath, root: &RemotePath) -> Vec<String> {
    let rest = if root.as_str() == "/" { path.as_str() } else { path.as_str().strip_prefix(root.as_str()).unwrap_or(path.as_str()) };
    rest.split('/').filter(|p| !p.is_empty()).map(str::to_string).rev().collect()
}

/// A link's text as components; `..` stays, `.` goes.
fn link_parts(to: &str) -> Result<Vec<String>, String> {
    to.split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .map(|p| if p == ".." { Ok(p.to_string()) } else { RemotePath::parse(&format!("/{p}")).map(|_| p.to_string()) })
        .collect()
}

fn safe_directory(path: &RemotePath, stat: &Stat, uid: u32) -> Result<(), String> {
    if stat.kind != StatKind::Dir {
        return Err(format!("{path} is no directory"));
    }
    if stat.uid != 0 && stat.uid != uid {
        return Err(format!("{path} belongs to user {}, who could exchange what lies below it; it must belong to root", stat.uid));
    }
    if stat.mode & 0o022 != 0 {
        return Err(format!("{path} has mode {:04o}: others can exchange what lies below it; `chmod go-w {path}` on the node", stat.mode));
    }
    Ok(())
}

/// The first directory from `root` down to the file that members of group `gid` cannot pass, with its mode: what lies
/// below it is not read by them, whatever its own mode. Directories that are still to be made do not count.
pub fn barrier(file: &RemotePath, root: &RemotePath, gid: u32, view: &dyn View) -> Option<(RemotePath, u32)> {
    file.chain_from(root).into_iter().find_map(|dir| match view.at(&dir) {
        Known::Is(stat) => {
            let pass = if stat.gid == gid { 0o010 } else { 0o001 };
            (stat.kind == StatKind::Dir && stat.mode & pass == 0).then_some((dir, stat.mode))
        }
        Known::Absent | Known::Nothing => None,
    })
}

/// A file as it shall be.
pub struct Desired<'a> {
    /// New content; `None` when what is there is equal in value.
    pub write: Option<&'a [u8]>,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

/// What has to change, if anything has.
pub fn diff(desired: &Desired<'_>, observed: &Observed) -> Option<Change> {
    match observed {
        Observed::Absent => desired.write.map(|_| Change::Created),
        Observed::File(file) => {
            let same = (file.stat.mode, file.stat.uid, file.stat.gid) == (desired.mode, desired.uid, desired.gid);
            match (desired.write, same) {
                (Some(new), _) if new != &file.content[..] => Some(Change::Updated),
                (_, false) => Some(Change::Metadata),
                _ => None,
            }
        }
        Observed::Refused(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A view in which everything that is not listed is absent, but for what lies below `/far`, which was not asked.
    struct Fake(BTreeMap<String, ObservedFile>);

    impl View for Fake {
        fn at(&self, path: &RemotePath) -> Known<'_> {
            match self.0.get(path.as_str()) {
                Some(f) => Known::Is(&f.stat),
                None if path.as_str().starts_with("/far") => Known::Nothing,
                None => Known::Absent,
            }
        }
        fn file(&self, path: &RemotePath) -> Option<&ObservedFile> {
            self.0.get(path.as_str()).filter(|f| f.stat.size <= 1 << 20)
        }
    }

    fn p(s: &str) -> RemotePath {
        RemotePath::parse(s).unwrap()
    }

    /// `path mode uid` lines; a mode starts with d, - or l, and a link's target follows.
    fn view(lines: &str) -> Fake {
        let entry = |l: &str| {
            let w: Vec<&str> = l.split_whitespace().collect();
            let kind = match &w[1][..1] {
                "d" => StatKind::Dir,
                "l" => StatKind::Symlink(w[3].into()),
                "p" => StatKind::Other("a fifo"),
                _ => StatKind::File,
            };
            let size = if w.len() > 3 && kind == StatKind::File { w[3].parse().unwrap() } else { 0 };
            let stat = Stat { kind, mode: u32::from_str_radix(&w[1][1..], 8).unwrap(), uid: w[2].parse().unwrap(), gid: 0, size };
            (w[0].to_string(), ObservedFile { stat, content: Vec::new().into() })
        };
        Fake(lines.lines().map(str::trim).filter(|l| !l.is_empty()).map(entry).collect())
    }

    #[track_caller]
    fn check(lines: &str, want: &str) {
        let view = view(&format!("/ d755 0\n{lines}"));
        let got = match locate(&p("/root/.docker/config.json"), &p("/"), 0, &view) {
            Located::Ask(paths) => format!("ask {}", paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
            Located::At { path, missing, observed } => match observed {
                Observed::Absent => format!("absent {path} after {}", missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
                Observed::File(_) => format!("file {path}"),
                Observed::Refused(why) => format!("refused {why}"),
            },
        };
        assert!(got.starts_with(want), "{got}\nwanted {want}");
    }

    #[test]
    fn paths_are_walked_as_the_kernel_would_and_refused_where_others_could_have_laid_them() {
        check("/root d700 0", "absent /root/.docker/config.json after /root/.docker");
        check("/root d700 0\n/root/.docker d700 0\n/root/.docker/config.json -600 0", "file /root/.docker/config.json");
        check("/root d777 0", "refused /root has mode 0777");
        check("/root d1777 0", "refused /root has mode 1777");
        check("/root d775 0", "refused /root has mode 0775");
        check("/root d700 1000", "refused /root belongs to user 1000");
        check("/root -600 0", "refused /root is a file where");
        check("/root d700 0\n/root/.docker d700 0\n/root/.docker/config.json d700 0", "refused /root/.docker/config.json is a directory");
        check("/root d700 0\n/root/.docker d700 0\n/root/.docker/config.json p600 0", "refused /root/.docker/config.json is a fifo");
        check("/root d700 0\n/root/.docker d700 0\n/root/.docker/config.json -600 0 2000000", "refused /root/.docker/config.json has 2000000 bytes");
    }

    #[test]
    fn links_of_root_are_followed() {
        let docker = "/root d700 0\n/root/.docker d700 0\n";
        check(&format!("{docker}/root/.docker/config.json l777 0 ../real.json\n/root/real.json -600 0"), "file /root/real.json");
        check(&format!("{docker}/root/.docker/config.json l777 0 /srv/new.json\n/srv d755 0"), "absent /srv/new.json after ");
        check("/root d700 0\n/root/.docker l777 0 /data/docker\n/data d755 0\n/data/docker d700 0", "absent /data/docker/config.json after ");
        check(&format!("{docker}/root/.docker/config.json l777 0 /far/x/y.json"), "ask /far");
        check(&format!("{docker}/root/.docker/config.json l777 1000 ../real.json"), "refused /root/.docker/config.json is a link that belongs to user 1000");
        check(&format!("{docker}/root/.docker/config.json l777 0 /tmp/x\n/tmp d1777 0"), "refused /tmp has mode 1777");
        check(&format!("{docker}/root/.docker/config.json l777 0 config.json"), "refused /root/.docker/config.json goes through more than 8 links");
        check(&format!("{docker}/root/.docker/config.json l777 0 ../../../../../etc/x\n/etc d755 0"), "absent /etc/x after ");
        check(&format!("{docker}/root/.docker/config.json l777 0 a b"), "absent /root/.docker/a after ");
        check(&format!("{docker}/root/.docker/config.json l777 0 /x"), "refused /x lies in / itself");
        check(&format!("{docker}/root/.docker/config.json l777 0 /x\n/x -600 0"), "refused /x lies in / itself");
    }

    #[test]
    fn a_group_is_stopped_by_a_directory_that_it_cannot_pass() {
        let check = |lines: &str, gid, want: Option<&str>| {
            let view = view(&format!("/ d755 0\n{lines}"));
            assert_eq!(barrier(&p("/etc/enroot/.credentials"), &p("/"), gid, &view).map(|(d, _)| d.to_string()).as_deref(), want, "{lines}");
        };
        check("/etc d755 0\n/etc/enroot d755 0", 100, None);
        check("/etc d755 0", 100, None);
        check("/etc d755 0\n/etc/enroot d700 0", 100, Some("/etc/enroot"));
        check("/etc d750 0\n/etc/enroot d700 0", 100, Some("/etc"));
        check("/etc d755 0\n/etc/enroot d710 0", 0, None);
    }

    #[test]
    fn formatting_alone_is_no_change() {
        let file = |mode| Observed::File(ObservedFile { stat: Stat { kind: StatKind::File, mode, uid: 0, gid: 0, size: 1 }, content: b"x".to_vec().into() });
        let want = |write| Desired { write, mode: 0o600, uid: 0, gid: 0 };
        assert_eq!(diff(&want(Some(b"y")), &Observed::Absent), Some(Change::Created));
        assert_eq!(diff(&want(None), &file(0o600)), None);
        assert_eq!(diff(&want(None), &file(0o644)), Some(Change::Metadata));
        assert_eq!(diff(&want(Some(b"x")), &file(0o600)), None);
        assert_eq!(diff(&want(Some(b"y")), &file(0o644)), Some(Change::Updated));
    }
}
