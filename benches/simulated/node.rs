//! A node that exists in memory only and speaks the node program's protocol: the requests of `regprov::node::protocol`
//! in, the replies of `program.sh` out. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use sha2::{Digest as _, Sha256};

/// What lies at a path.
struct Thing {
    mode: u32,
    uid: u64,
    gid: u64,
    /// `None` for a directory.
    content: Option<Vec<u8>>,
}

/// One node's files, as far as anybody asks for them.
pub(crate) struct Node {
    things: BTreeMap<String, Thing>,
}

impl Node {
    /// Freshly installed: the directories that every machine has.
    pub(crate) fn new() -> Self {
        let mut node = Node { things: BTreeMap::new() };
        for (path, mode) in [("/", 0o755), ("/root", 0o700), ("/etc", 0o755), ("/etc/profile.d", 0o755), ("/var", 0o755), ("/var/lib", 0o755)] {
            node.make_dir(path, mode);
        }
        node
    }

    /// Regular files on it.
    pub(crate) fn files(&self) -> usize {
        self.things.values().filter(|t| t.content.is_some()).count()
    }

    fn make_dir(&mut self, path: &str, mode: u32) {
        self.things.entry(path.to_string()).or_insert(Thing { mode, uid: 0, gid: 0, content: None });
    }

    fn content(&self, path: &str) -> Option<&[u8]> {
        self.things.get(path)?.content.as_deref()
    }

    fn matching<'a>(&'a self, pattern: &'a str) -> Vec<&'a str> {
        match pattern.split_once('*') {
            None => self.things.get_key_value(pattern).map(|(path, _)| path.as_str()).into_iter().collect(),
            Some((start, end)) => {
                let fits = |rest: &str| rest.ends_with(end) && !rest.contains('/');
                self.things
                    .range(start.to_string()..)
                    .map(|(p, _)| p.as_str())
                    .take_while(|p| p.starts_with(start))
                    .filter(|p| fits(&p[start.len()..]))
                    .collect()
            }
        }
    }
}

/// One file of a `replace` request.
struct Swap {
    new: String,
    old: Option<String>,
    dir: String,
    name: String,
}

enum State {
    Hello,
    Requests,
    Plan,
    /// The archive, until the input ends.
    Payload,
    Done,
}

/// One running node program.
pub(crate) struct Program {
    state: State,
    nonce: String,
    paths: Vec<String>,
    /// Whether inodes and the boot are told; each program is on a machine of its own.
    shared: bool,
    swaps: Vec<Swap>,
    input: Vec<u8>,
}

impl Program {
    pub(crate) fn new() -> Self {
        Program { state: State::Hello, nonce: String::new(), paths: Vec::new(), shared: false, swaps: Vec::new(), input: Vec::new() }
    }

    /// Takes input and returns what the program prints.
    pub(crate) fn feed(&mut self, node: &mut Node, bytes: &[u8]) -> String {
        self.input.extend_from_slice(bytes);
        let mut out = String::new();
        let mut at = 0;
        while !matches!(self.state, State::Payload | State::Done) {
            let Some(end) = self.input[at..].iter().position(|b| *b == b'\n') else { break };
            let line = String::from_utf8_lossy(&self.input[at..at + end]).into_owned();
            at += end + 1;
            self.line(node, &line, &mut out);
        }
        self.input.drain(..at);
        out
    }

    /// The input ended: what is printed before the program exits.
    pub(crate) fn end(&mut self, node: &mut Node) -> String {
        let mut out = String::new();
        if matches!(std::mem::replace(&mut self.state, State::Done), State::Payload) {
            self.replace(node, &mut out);
        }
        out
    }

    fn line(&mut self, node: &mut Node, line: &str, out: &mut String) {
        let words: Vec<&str> = line.split(' ').collect();
        match (&self.state, words.as_slice()) {
            (State::Hello, [nonce]) => {
                self.nonce = nonce.to_string();
                self.state = State::Requests;
            }
            (State::Requests, ["shared"]) => self.shared = true,
            (State::Requests, ["path", path]) => self.paths.push(path.to_string()),
            (State::Requests, ["id", kind, name, _]) => {
                let _ = writeln!(out, "{} id {kind} {name} {}", self.nonce, if *name == "root" { "0" } else { "-" });
            }
            (State::Requests, ["curl"]) => {
                let _ = writeln!(out, "{} curl curl 8.5.0 (x86_64-pc-linux-gnu)", self.nonce);
            }
            (State::Requests, ["lock", dir, _]) => {
                for (i, _) in dir.match_indices('/').skip(1) {
                    node.make_dir(&dir[..i], 0o755);
                }
                node.make_dir(dir, 0o700);
            }
            (State::Requests, ["sweep", dir]) => {
                let stale = format!("{dir}/.regprov.");
                node.things.retain(|path, _| !path.starts_with(&stale));
            }
            (State::Requests, ["observe"]) => {
                let _ = writeln!(out, "{} tar", self.nonce);
                let paths = std::mem::take(&mut self.paths);
                self.look(node, paths.iter().flat_map(|p| node.matching(p)), out);
            }
            (State::Requests, ["replace", "tar"]) => self.state = State::Plan,
            (State::Plan, ["."]) => self.state = State::Payload,
            (State::Plan, [new, old, dir, name]) => {
                self.swaps.push(Swap { new: new.to_string(), old: (*old != "-").then(|| old.to_string()), dir: dir.to_string(), name: name.to_string() })
            }
            // The real program passes over what it does not know; here it is a fault of the benchmark.
            (_, other) => panic!("a simulated node does not know the request `{}`", other.join(" ")),
        }
    }

    fn look<'a>(&self, node: &Node, paths: impl Iterator<Item = &'a str>, out: &mut String) {
        let k = &self.nonce;
        let inode = |n: usize| if self.shared { format!("{:>8} ", 100_000 + n) } else { String::new() };
        let _ = writeln!(out, "{k} l {}dr-xr-xr-x 9 0 0 0 Nov 21 02:41 /proc/self/", inode(0));
        let mut contents = String::new();
        for (n, path) in paths.enumerate() {
            let Some(thing) = node.things.get(path) else { continue };
            let kind = if thing.content.is_some() { '-' } else { 'd' };
            let bits: String = (0..9).map(|i| if thing.mode >> (8 - i) & 1 == 1 { ['r', 'w', 'x'][i % 3] } else { '-' }).collect();
            let size = thing.content.as_ref().map_or(4096, Vec::len);
            let _ = writeln!(out, "{k} l {}{kind}{bits} 1 {} {} {size} Nov 21 02:18 {path}", inode(n), thing.uid, thing.gid);
            contents.push_str(thing.content.as_deref().map_or("", |c| std::str::from_utf8(c).expect("the payloads of this benchmark are text")));
        }
        if self.shared {
            let _ = writeln!(out, "{k} boot {}-{}", &k[..18], &k[..17]);
        }
        let _ = write!(out, "{k} cat\n{contents}\n{k} end\n");
    }

    /// Unpacks the archive and swaps the files whose staged and present content have the hashes that were announced.
    fn replace(&mut self, node: &mut Node, out: &mut String) {
        let staged = unpack(&self.input).unwrap_or_default();
        let marker = format!("/.regprov.{}", self.nonce);
        for (path, thing) in &staged {
            if thing.content.is_none() && !path.ends_with(&marker) {
                node.make_dir(path, thing.mode);
            }
        }
        let mut staged = staged;
        let mut done = Vec::new();
        for (i, swap) in self.swaps.iter().enumerate() {
            let at = format!("{}/{}", swap.dir, swap.name);
            let new = staged.remove(&format!("{}{marker}/{}", swap.dir, swap.name));
            let new = new.filter(|t| t.content.as_deref().is_some_and(|c| sha256(c) == swap.new));
            let as_seen = node.content(&at).map(sha256) == swap.old;
            match new {
                _ if !as_seen => drop(writeln!(out, "{} conflict {i}", self.nonce)),
                Some(thing) if node.things.contains_key(&swap.dir) => {
                    node.things.insert(at.clone(), thing);
                    done.push(at);
                }
                _ => drop(writeln!(out, "{} unstaged {i}", self.nonce)),
            }
        }
        self.look(node, done.iter().map(String::as_str), out);
    }
}

/// The archive's entries by absolute path; `None` when it is cut or damaged anywhere.
fn unpack(bytes: &[u8]) -> Option<BTreeMap<String, Thing>> {
    let mut things = BTreeMap::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let header = entry.header();
        let (mode, uid, gid) = (header.mode().ok()?, header.uid().ok()?, header.gid().ok()?);
        let is_dir = header.entry_type().is_dir();
        let size = usize::try_from(header.size().ok()?).ok()?;
        let path = format!("/{}", entry.path().ok()?.to_str()?.trim_end_matches('/'));
        let mut content = Vec::with_capacity(size);
        entry.read_to_end(&mut content).ok()?;
        if content.len() != size {
            return None;
        }
        things.insert(path, Thing { mode, uid, gid, content: (!is_dir).then_some(content) });
    }
    Some(things)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// The benchmark's own check, run at its start: a node takes what is whole and refuses wrong lengths and hashes.
pub(crate) fn self_test() {
    use regprov::model::RemotePath;
    use regprov::node::payload::{self, Entry};

    let nonce = "n0";
    let entry = |path: &str, content: Option<&'static [u8]>| Entry { path: RemotePath::parse(path).expect("a constant"), uid: 0, gid: 0, mode: 0o600, content };
    let staged = [entry("/etc/.regprov.n0", None), entry("/etc/.regprov.n0/x", Some(b"new\n"))];
    let archive = payload::tar(&staged, entry("/var/lib/regprov", None)).expect("the paths are short");
    let check = |claim: &str, hash: &str, old: &str, archive: &[u8], want: &str| {
        let (mut node, mut program) = (Node::new(), Program::new());
        let head = format!("{nonce}\nlock /var/lib/regprov 90\nreplace tar\n{hash} {old} /etc x\n.\n");
        let mut out = program.feed(&mut node, head.as_bytes());
        out += &program.feed(&mut node, archive);
        out += &program.end(&mut node);
        assert!(out.contains(want), "{claim}: {out}");
        assert_eq!(node.content("/etc/x").is_some(), want.contains("new"), "{claim}");
    };
    let hash = sha256(b"new\n");
    let damaged: Vec<u8> = archive.iter().map(|b| if *b == b'w' { b'W' } else { *b }).collect();
    check("whole", &hash, "-", &archive, "cat\nnew\n\nn0 end\n");
    check("another hash", &sha256(b"other"), "-", &archive, "n0 unstaged 0");
    check("another byte", &hash, "-", &damaged, "n0 unstaged 0");
    check("a cut archive", &hash, "-", &archive[..1540], "n0 unstaged 0");
    check("another old file", &hash, &hash, &archive, "n0 conflict 0");
}
