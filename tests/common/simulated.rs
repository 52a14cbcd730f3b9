//! Simulated nodes that share a filesystem: the conversation of the node program over trees in memory, with the faults and the late
//! sight that real ones have, in paused time.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use regprov::model::{Host, Stage};
use regprov::node::protocol::{Reply, ReplyReader};
use regprov::node::run_as::RunAs;
use regprov::transport::clock::Clock;
use regprov::transport::{Connector, Session, Trouble};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

/// How long a replacement takes.
pub(crate) const WRITE: Duration = Duration::from_millis(100);

/// Files and directories by path.
#[derive(Default)]
struct Tree {
    /// What became of each path, in order.
    log: Vec<(Instant, String, Thing)>,
    inodes: u64,
    /// Staging directories of programs that are at work.
    staged: BTreeSet<String>,
    /// How often each path was replaced.
    writes: BTreeMap<String, u32>,
    /// Staging directories that were swept while their program was at work.
    torn_away: Vec<String>,
}

struct Thing {
    inode: u64,
    /// None of a directory.
    content: Option<Vec<u8>>,
    /// It is not there any more.
    gone: bool,
}

impl Tree {
    fn put(&mut self, path: &str, content: Option<Vec<u8>>) {
        self.inodes += 1;
        self.log.push((Instant::now(), path.to_string(), Thing { inode: self.inodes, content, gone: false }));
    }

    fn remove(&mut self, path: &str) {
        self.log.push((Instant::now(), path.to_string(), Thing { inode: 0, content: None, gone: true }));
    }

    /// As it was so long ago: inodes and contents.
    fn seen(&self, late: Duration) -> BTreeMap<&str, (u64, Option<&[u8]>)> {
        let then = self.log.iter().filter(|(when, ..)| when.elapsed() >= late);
        let last: BTreeMap<&str, &Thing> = then.map(|(_, path, thing)| (path.as_str(), thing)).collect();
        last.into_iter().filter(|(_, thing)| !thing.gone).map(|(path, thing)| (path, (thing.inode, thing.content.as_deref()))).collect()
    }
}

/// A server's filesystem, or a node's own.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Tree>>);

impl Disk {
    /// With these directories, whose inodes are 1, 2, ... in this order.
    pub(crate) fn new(dirs: &[&str]) -> Self {
        let disk = Disk::default();
        dirs.iter().for_each(|dir| disk.tree().put(dir, None));
        disk
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap()
    }

    pub(crate) fn mkdir(&self, path: &str) {
        self.tree().put(path, None);
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        self.tree().put(path, Some(content.as_bytes().to_vec()));
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let tree = self.tree();
        Some(String::from_utf8(tree.seen(Duration::ZERO).get(path)?.1?.to_vec()).unwrap())
    }

    /// How often a file was replaced, or taken away.
    pub(crate) fn writes(&self, path: &str) -> u32 {
        self.tree().writes.get(path).copied().unwrap_or_default()
    }

    /// Staging directories that somebody removed while their program was at work.
    pub(crate) fn torn_away(&self) -> Vec<String> {
        self.tree().torn_away.clone()
    }
}

/// What goes wrong on a node when it is to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The connection ends before anything is in its place.
    Dies,
    /// The connection ends when all is in its place.
    DiesAfter,
    /// It says nothing any more.
    Stalls,
    /// The shared directory is not to be written.
    Denied,
    /// The task that talks to it has a defect.
    Panics,
}

/// One simulated node: its own disk, and a shared one at `/home`.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) own: Disk,
    pub(crate) shared: Disk,
    /// `TYPE SOURCE ROOT` of what is mounted at /home; none for a node that does not tell.
    pub(crate) mount: &'static str,
    pub(crate) fault: Fault,
    /// How long it takes to connect.
    pub(crate) connect: Duration,
    /// How long what others wrote stays unseen, until it writes something there itself.
    pub(crate) late: Duration,
}

impl Node {
    pub(crate) fn new(shared: &Disk, mount: &'static str) -> Self {
        let own = Disk::new(&["/", "/root", "/var", "/var/lib", "/etc", "/etc/profile.d"]);
        Node { own, shared: shared.clone(), mount, fault: Fault::None, connect: Duration::ZERO, late: Duration::ZERO }
    }

    fn disk(&self, path: &str) -> &Disk {
        if path == "/home" || path.starts_with("/home/") { &self.shared } else { &self.own }
    }
}

/// The way to simulated nodes, by the hosts' names.
pub(crate) struct Simulation(pub(crate) BTreeMap<String, Node>);

impl Connector for Simulation {
    type Session = Talk;

    async fn connect(&self, host: &Host, _: &Arc<Clock>) -> Result<Talk, Trouble> {
        let node = self.0[&host.name].clone();
        sleep(node.connect).await;
        Ok(Talk { node, boot: host.name.clone(), nonce: String::new(), shared: false })
    }

    fn login(&self, _: &Host) -> String {
        "root".to_string()
    }
}

/// A conversation with a simulated node.
pub(crate) struct Talk {
    node: Node,
    boot: String,
    nonce: String,
    shared: bool,
}

impl Session for Talk {
    fn use_program(&mut self, _: regprov::node::Program) {
        unreachable!("nothing here runs a task")
    }

    async fn start(&mut self, _: &RunAs) -> Result<(), Trouble> {
        (self.nonce, self.shared) = (String::new(), false);
        Ok(())
    }

    async fn exchange(&mut self, request: Zeroizing<Vec<u8>>, last: bool, reader: &mut ReplyReader) -> Result<Reply, Trouble> {
        let text = String::from_utf8(request.to_vec()).unwrap();
        let mut lines = text.lines();
        if self.nonce.is_empty() {
            self.nonce = lines.next().unwrap().to_string();
        }
        sleep(Duration::from_millis(5)).await;
        let reply = match last {
            true => self.replace(&text).await?,
            false => self.observe(lines),
        };
        Ok(reader.feed(reply.as_bytes()).unwrap().expect("it is whole"))
    }

    async fn close(self) {}
}

impl Talk {
    fn observe<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> String {
        let mut paths = Vec::new();
        for line in lines {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("path", path) => paths.push(path.to_string()),
                ("shared", _) => self.shared = true,
                _ => {}
            }
        }
        self.look(&paths)
    }

    /// The reply that tells what lies there.
    fn look(&self, paths: &[String]) -> String {
        let n = &self.nonce;
        let (mut told, mut contents) = (format!("{n} l {}dr-xr-xr-x 9 0 0 0 Nov 21 02:41 /proc/self/\n", self.inode(1)), String::new());
        for asked in paths {
            let disk = self.node.disk(asked);
            let tree = disk.tree();
            let late = if Arc::ptr_eq(&disk.0, &self.node.shared.0) { self.node.late } else { Duration::ZERO };
            let staged = tree.staged.iter().map(|s| (s.as_str(), (0, None)));
            for (path, (inode, content)) in tree.seen(late).into_iter().chain(staged) {
                let matches = match asked.split_once('*') {
                    None => path == asked,
                    Some((start, end)) => path.strip_prefix(start).is_some_and(|rest| rest.ends_with(end) && !rest.contains('/')),
                };
                if matches {
                    let mode = if content.is_some() { "-rw-------" } else { "drwx------" };
                    told += &format!("{n} l {}{mode} 1 0 0 {} Nov 21 02:18 {path}\n", self.inode(inode), content.map_or(0, <[u8]>::len));
                    contents += content.map_or("", |c| std::str::from_utf8(c).unwrap());
                }
            }
        }
        if self.shared {
            let boot: String = format!("{:0>36}", self.boot.bytes().fold(String::new(), |hex, b| hex + &format!("{b:02x}")));
            told += &format!("{n} boot {boot}\n{n} mount 8:1 xfs /dev/sda1 / /\n");
            if let [kind, source, root] = self.node.mount.split(' ').collect::<Vec<_>>()[..] {
                told += &format!("{n} mount 0:52 {kind} {source} {root} /home\n");
            }
        }
        format!("{told}{n} cat\n{contents}\n{n} end\n")
    }

    fn inode(&self, inode: u64) -> String {
        if self.shared { format!("{inode} ") } else { String::new() }
    }

    async fn replace(&mut self, request: &str) -> Result<String, Trouble> {
        let (head, body) = request.split_once("\n.\n").unwrap();
        let swaps: Vec<Vec<&str>> = head.lines().skip_while(|l| !l.starts_with("replace ")).skip(1).map(|l| l.split(' ').collect()).collect();
        let at_home = swaps.iter().any(|s| s[2].starts_with("/home"));
        let fault = if at_home { self.node.fault } else { Fault::None };
        let lock = head.strip_prefix("lock ").and_then(|l| l.split(' ').next()).unwrap();
        if !self.node.own.tree().seen(Duration::ZERO).contains_key(lock) {
            self.node.own.tree().put(lock, None);
        }
        for dir in head.lines().filter_map(|l| l.strip_prefix("sweep ")) {
            let mut tree = self.node.disk(dir).tree();
            let gone: Vec<String> = tree.staged.iter().filter(|s| s.starts_with(&format!("{dir}/.regprov."))).cloned().collect();
            tree.torn_away.extend(gone);
        }
        let staging = |s: &Vec<&str>| format!("{}/.regprov.{}", s[2], self.nonce);
        for swap in &swaps {
            self.node.disk(swap[2]).tree().staged.insert(staging(swap));
        }
        sleep(WRITE).await;
        for swap in &swaps {
            self.node.disk(swap[2]).tree().staged.remove(&staging(swap));
        }
        let gone = || Trouble::new(Stage::Observe, "the connection ended");
        match fault {
            Fault::Dies => return Err(gone()),
            Fault::Stalls => std::future::pending().await,
            Fault::Panics => panic!("a defect, on purpose"),
            _ => {}
        }
        let mut said = String::new();
        let mut paths = Vec::new();
        let staged = staged(body);
        for (i, swap) in swaps.iter().enumerate() {
            let &[new, old, dir, name] = &swap[..] else { panic!("{swap:?}") };
            let path = format!("{dir}/{name}");
            let mut tree = self.node.disk(dir).tree();
            let is = tree.seen(Duration::ZERO).get(path.as_str()).and_then(|(_, content)| content.map(sha));
            if fault == Fault::Denied && dir.starts_with("/home") {
                said += &format!("{} unstaged {i}\nmkdir: cannot create {dir}: Permission denied\n", self.nonce);
            } else if is.as_deref().unwrap_or("-") != old {
                said += &format!("{} conflict {i}\n", self.nonce);
            } else if new == "-" {
                tree.remove(&path);
                *tree.writes.entry(path.clone()).or_default() += 1;
            } else {
                let content = staged[&format!("{dir}/.regprov.{}/{name}", self.nonce)].clone();
                assert_eq!(sha(&content), new);
                let missing: Vec<String> = staged.keys().filter(|p| path.starts_with(&format!("{p}/")) && !p.contains("/.regprov.")).cloned().collect();
                for dir in missing {
                    if !tree.seen(Duration::ZERO).contains_key(dir.as_str()) {
                        tree.put(&dir, None);
                    }
                }
                tree.put(&path, Some(content));
                *tree.writes.entry(path.clone()).or_default() += 1;
                paths.push(path);
            }
        }
        if at_home {
            // A client that has made something in a directory knows what is there.
            self.node.late = Duration::ZERO;
        }
        if fault == Fault::DiesAfter {
            return Err(gone());
        }
        Ok(said + &self.look(&paths))
    }
}

/// The payload of lines: each path with its content; a directory has none.
fn staged(body: &str) -> BTreeMap<String, Vec<u8>> {
    let mut staged = BTreeMap::new();
    let mut lines = body.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let &[what, _, _, count, path] = &words[..] else { panic!("{line}") };
        if what == "end" {
            break;
        }
        let mut content: String = (0..count.parse::<usize>().unwrap()).map(|_| lines.next().unwrap()).collect();
        if what == "cut" {
            content.pop();
        }
        staged.insert(path.to_string(), content.into_bytes());
    }
    staged
}

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
