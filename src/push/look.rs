//! Reading files of one host as the programs there would find them, without writing anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::host::{Link, run_as};
use super::observe::{below, matches};
use crate::model::sight::{Sight, Who};
use crate::model::text::sanitize;
use crate::model::{CurlVersion, Host, RemotePath, Stage, Stat, StatKind};
use crate::node::protocol::{Nonce, Observe, Reply};
use crate::transport::clock::Clock;
use crate::transport::{Connector, Session, Trouble};

/// How many links one path may go through.
const LINKS_MAX: usize = 8;
/// How many times the node is asked: each link is a round, and so is each file that another one names.
const ROUNDS_MAX: usize = 24;
/// How many times one path is asked for that changes while it is read.
const TIMES_MAX: usize = 3;

/// Deadlines of a look.
#[derive(Clone, Copy, Debug)]
pub struct LookOptions {
    /// How long the program may take for one answer.
    pub command: Duration,
    /// How long it may take in all.
    pub host: Duration,
}

/// What a caller wants to know next, for what was seen so far: paths, whose last component may hold `*`.
pub type Asks<'a> = &'a (dyn Fn(&Sight) -> Vec<String> + Sync);

/// Reads the files that `asks` names, for this user of the host, until it names no new ones. They are read with the rights of the host's
/// files: those of root, or of who logs in.
///
/// # Errors
/// Says at which step the host failed, and why.
pub async fn look<C: Connector>(connector: &C, host: &Host, user: &str, asks: Asks<'_>, options: LookOptions) -> Result<Sight, Trouble> {
    let clock = Arc::new(Clock::default());
    let late = || Trouble::new(Stage::Connect, format!("not done within {} s", options.host.as_secs()));
    let work = async {
        let mut session = connector.connect(host, &clock).await?;
        let result = match run_as(host, &connector.login(host), None) {
            Ok(run_as) => {
                let mut link = Link { session: &mut session, nonce: Nonce::random(), greeted: false, deadline: options.command, clock: &clock };
                match link.start(&run_as).await {
                    Ok(()) => converse(&mut link, host, user, asks).await,
                    Err(trouble) => Err(trouble),
                }
            }
            Err(trouble) => Err(trouble),
        };
        session.close().await;
        result
    };
    clock.limit(options.host, work).await.unwrap_or_else(|| Err(late()))
}

async fn converse<S: Session>(link: &mut Link<'_, S>, host: &Host, user: &str, asks: Asks<'_>) -> Result<Sight, Trouble> {
    let first = Observe { home: Some(user.to_string()), curl: host.curl.is_none(), ..Observe::default() };
    let reply = asked(link, host, &first).await?;
    let (who, curl) = (who(user, &reply)?, host.curl.or(reply.curl));
    let mut seen = Seen::default();
    let mut sight = seen.sight(&who, curl);
    for _ in 0..ROUNDS_MAX {
        let paths = seen.open(&asks(&sight));
        if paths.is_empty() {
            return Ok(sight);
        }
        gather(link, host, paths, &mut seen).await?;
        sight = seen.sight(&who, curl);
    }
    Err(Trouble::new(Stage::Observe, "the links there lead further than regprov follows"))
}

/// Reads these paths. A file that who logs in may not read spoils the whole reply, so it is found by halves, and stays without content.
async fn gather<S: Session>(link: &mut Link<'_, S>, host: &Host, paths: Vec<String>, seen: &mut Seen) -> Result<(), Trouble> {
    let mut open = vec![(paths, 1)];
    while let Some((mut paths, times)) = open.pop() {
        let full = paths.iter().map(|path| below(path, &host.root)).collect();
        let reply = asked(link, host, &Observe { paths: full, ..Observe::default() }).await?;
        match reply.torn {
            true if paths.len() > 1 => {
                let rest = paths.split_off(paths.len() / 2);
                open.extend([(rest, 1), (paths, 1)]);
            }
            // It may have changed while it was read.
            true if times < TIMES_MAX => open.push((paths, times + 1)),
            true => seen.unread.extend(paths),
            false => seen.add(reply, &host.root),
        }
    }
    Ok(())
}

async fn asked<S: Session>(link: &mut Link<'_, S>, host: &Host, request: &Observe) -> Result<Reply, Trouble> {
    let reply = link.exchange(request.encode(&host.root).as_bytes(), false).await?;
    if let Some(why) = reply.refused {
        return Err(Trouble::new(Stage::Start, format!("the node program does not work here: {}", sanitize(&why))));
    }
    Ok(reply)
}

fn who(name: &str, reply: &Reply) -> Result<Who, Trouble> {
    let trouble = |why: String| Trouble::new(Stage::Observe, why);
    let Some(home) = &reply.home else {
        // An image without a list of users has this one all the same.
        if name == "root" {
            return Ok(Who { name: name.to_string(), uid: 0, gid: 0, home: RemotePath::parse("/root").expect("a constant") });
        }
        return Err(trouble(format!("there is no user `{name}` on the node")));
    };
    let dir = RemotePath::parse(&home.dir).map_err(|_| trouble(format!("the home of {name} there is no plain path")))?;
    Ok(Who { name: name.to_string(), uid: home.uid, gid: home.gid, home: dir })
}

/// What the node told, by paths without the host's `root:`.
#[derive(Default)]
struct Seen {
    stats: BTreeMap<String, Stat>,
    files: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// Everything that was asked for.
    asked: BTreeSet<String>,
    /// What `asks` named of it: only this is told.
    wanted: BTreeSet<String>,
    /// What of it could not be read.
    unread: BTreeSet<String>,
}

impl Seen {
    fn add(&mut self, reply: Reply, root: &RemotePath) {
        let inside = |path: &str| if root.as_str() == "/" { Some(path.to_string()) } else { path.strip_prefix(root.as_str()).map(str::to_string) };
        let asked = |path: &String| self.asked.iter().any(|asked| matches(asked, path));
        self.stats.extend(reply.stats.into_iter().filter_map(|(path, stat)| Some((inside(&path).filter(asked)?, stat))));
        self.files.extend(reply.files.into_iter().filter_map(|(path, file)| Some((inside(&path).filter(asked)?, file.content))));
    }

    /// What was not asked for yet: these paths, where links lead, and the directories that lead to what is there.
    fn open(&mut self, wanted: &[String]) -> Vec<String> {
        self.wanted.extend(wanted.iter().cloned());
        let targets = self.stats.iter().filter_map(|(path, stat)| target(path, stat));
        let dirs = self.stats.keys().flat_map(|path| path.match_indices('/').skip(1).map(|(at, _)| path[..at].to_string()));
        let all: BTreeSet<String> = wanted.iter().cloned().chain(targets).chain(dirs).collect();
        all.into_iter().filter(|path| self.asked.insert(path.clone())).collect()
    }

    /// What a path comes to behind its links; `None` where they lead to nothing.
    fn end(&self, path: &str) -> Option<String> {
        let mut at = path.to_string();
        for _ in 0..=LINKS_MAX {
            match target(&at, self.stats.get(&at)?) {
                Some(next) => at = next,
                None => return Some(at),
            }
        }
        None
    }

    fn sight(&self, who: &Who, curl: Option<CurlVersion>) -> Sight {
        let mut sight = Sight { who: who.clone(), curl, files: BTreeMap::new(), stats: BTreeMap::new(), ends: BTreeMap::new(), unread: self.unread.clone() };
        for (path, stat) in &self.stats {
            let is_wanted = self.wanted.iter().any(|asked| matches(asked, path));
            let Some(end) = self.end(path).filter(|_| is_wanted) else {
                // A directory that leads somewhere.
                sight.stats.extend((!is_wanted).then(|| (path.clone(), stat.clone())));
                continue;
            };
            sight.files.extend(self.files.get(&end).map(|content| (path.clone(), content.clone())));
            sight.stats.extend(self.stats.get(&end).map(|stat| (path.clone(), stat.clone())));
            if end != *path {
                sight.ends.insert(path.clone(), end);
            }
        }
        sight
    }
}

/// Where a link leads, as a plain path; `None` for what is no link, or leads to a path that regprov does not look at.
fn target(path: &str, stat: &Stat) -> Option<String> {
    let StatKind::Symlink(to) = &stat.kind else { return None };
    let from = if to.starts_with('/') { String::new() } else { path.rsplit_once('/').map(|(dir, _)| dir.to_string()).unwrap_or_default() };
    let mut parts: Vec<&str> = from.split('/').filter(|p| !p.is_empty()).collect();
    for part in to.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    RemotePath::parse(&format!("/{}", parts.join("/"))).ok().map(|p| p.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(to: &str) -> Stat {
        Stat { kind: StatKind::Symlink(to.into()), mode: 0o777, uid: 0, gid: 0, size: 0 }
    }

    #[test]
    fn links_are_followed_to_their_end() {
        let file = Stat { kind: StatKind::File, ..link("") };
        let mut seen = Seen::default();
        seen.stats.insert("/a/b".into(), link("../c/./d"));
        assert_eq!(seen.open(&["/a/b".into()]), ["/a", "/a/b", "/c/d"]);
        assert_eq!(seen.open(&["/a/b".into()]), Vec::<String>::new(), "each is asked for once");
        assert_eq!(seen.end("/a/b"), None);
        seen.stats.insert("/c/d".into(), file);
        seen.files.insert("/c/d".into(), Zeroizing::new(b"x".to_vec()));
        assert_eq!(seen.end("/a/b").as_deref(), Some("/c/d"));
        let who = Who { name: "alice".into(), uid: 1000, gid: 1000, home: RemotePath::parse("/home/alice").unwrap() };
        let sight = seen.sight(&who, None);
        assert_eq!(sight.files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect::<Vec<_>>(), [("/a/b", &b"x"[..])]);
        assert_eq!((sight.ends["/a/b"].as_str(), &sight.stats["/a/b"].kind), ("/c/d", &StatKind::File));
        seen.stats.insert("/x".into(), link("y"));
        seen.stats.insert("/y".into(), link("/x"));
        assert_eq!(seen.end("/x"), None, "a loop has no end");
        assert_eq!(target("/a", &link("/with space")), None);
        assert_eq!(target("/a", &link("../../etc/x")).as_deref(), Some("/etc/x"));
    }
}
