//! Real sshd nodes (tests/fleet/fleet.sh), and a site to reach them from: a home, an inventory, a vault, and the program under
//! test.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::peers::need;

/// What the nodes are like; see fleet.sh for each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// Root's login shells, separated by spaces; dash when empty.
    pub(crate) shells: &'a str,
    /// Seconds that the shell `slow` waits.
    pub(crate) slow: u32,
    /// A line that rc files print.
    pub(crate) rc: &'a str,
    /// Types of host keys, separated by spaces; ed25519 when empty.
    pub(crate) host_keys: &'a str,
    /// Lines for sshd_config.
    pub(crate) sshd: &'a str,
    /// Further lines for authorized_keys.
    pub(crate) authorized: &'a str,
    /// A directory that all nodes share.
    pub(crate) shared: &'a str,
}

/// Nodes that end with this value.
pub(crate) struct Fleet {
    dir: tempfile::TempDir,
    /// The port of all nodes.
    pub(crate) port: u16,
    /// The nodes, in order.
    pub(crate) nodes: Vec<Node>,
}

/// One node.
pub(crate) struct Node {
    /// Its address on loopback.
    pub(crate) address: String,
    /// Its first process, as this machine numbers it: the sshd that listens.
    pub(crate) pid: u32,
}

impl Fleet {
    /// Starts `n` nodes; `None` where a program for it is missing, which has been said.
    #[track_caller]
    pub(crate) fn start(n: usize, options: Options<'_>) -> Option<Fleet> {
        let tools = ["sshd", "ssh-keygen", "unshare"];
        let shells = options.shells.split(' ').filter(|s| !matches!(*s, "" | "slow")).map(|s| if s == "traced" { "strace" } else { s });
        for program in tools.into_iter().chain(shells) {
            need(program)?;
        }
        // SAFETY: it takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            // sshd changes its user, so one mapped id is not enough.
            need("newuidmap")?;
        }
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let me = std::process::id().wrapping_add(STARTED.fetch_add(1, Ordering::Relaxed).wrapping_mul(7919));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::Builder::new().prefix("fleet").tempdir().unwrap();
        fs::write(dir.path().join("authorized_keys"), options.authorized).unwrap();
        let or = |value: &str, default: &str| if value.is_empty() { default.to_string() } else { value.to_string() };
        let out = script("up", dir.path())
            .arg(n.to_string())
            .env("FLEET_PORT", port.to_string())
            .env("FLEET_NET", format!("127.{}.{}", 10 + me % 240, 1 + me / 240 % 250))
            .env("FLEET_SHELLS", or(options.shells, "dash"))
            .env("FLEET_SLOW", options.slow.to_string())
            .env("FLEET_RC", options.rc)
            .env("FLEET_HOSTKEYS", or(options.host_keys, "ed25519"))
            .env("FLEET_SSHD", options.sshd)
            .env("FLEET_SHARED", options.shared)
            .output()
            .unwrap();
        let mut fleet = Fleet { dir, port, nodes: Vec::new() };
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let nodes = fs::read_to_string(fleet.dir.path().join("nodes")).unwrap();
        fleet.nodes =
            nodes.lines().map(|l| l.split_once(' ').unwrap()).map(|(address, pid)| Node { address: address.to_string(), pid: pid.parse().unwrap() }).collect();
        assert_eq!(fleet.nodes.len(), n);
        Some(fleet)
    }

    /// The private key that all nodes accept.
    pub(crate) fn key(&self) -> PathBuf {
        self.dir.path().join("id")
    }

    /// A host key of the nodes, `ssh-ed25519 AAAA...`.
    pub(crate) fn host_key(&self, kind: &str) -> String {
        let text = fs::read_to_string(self.dir.path().join(format!("key.{kind}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// What the nodes share, as it lies here.
    pub(crate) fn shared(&self) -> PathBuf {
        self.dir.path().join("shared")
    }

    /// What a node's sshd said so far.
    pub(crate) fn log(&self, node: usize) -> String {
        fs::read_to_string(self.dir.path().join(format!("{node}.log"))).unwrap()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = script("down", self.dir.path()).status();
    }
}

fn script(verb: &str, dir: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fleet/fleet.sh"));
    command.arg(verb).arg(dir);
    command
}

impl Node {
    /// Where a path of the node lies for us.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// A file of the node; `None` where there is none.
    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    /// Writes a file on the node, with its directories.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Everything below the directories that a run may touch: path to mode, owner, inode, time of change and content.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Seen> {
        let mut all = BTreeMap::new();
        for dir in ["/root", "/home", "/tmp", "/var/tmp", "/var/lib/regprov", "/etc/regprov", "/etc/profile.d", "/etc/enroot"] {
            walk(&self.path(dir), &mut |path, meta| {
                let name = path.to_str().unwrap().split_once("/root/").unwrap().1.to_string();
                let content = if meta.is_file() { fs::read(path).unwrap_or_default() } else { Vec::new() };
                all.insert(
                    name,
                    Seen { mode: meta.mode(), owner: (meta.uid(), meta.gid()), ino: meta.ino(), mtime: (meta.mtime(), meta.mtime_nsec()), content },
                );
            });
        }
        all
    }

    /// Staging directories that lie on the node.
    pub(crate) fn staged(&self) -> Vec<String> {
        self.snapshot().into_keys().filter(|p| p.contains("/.regprov.")).collect()
    }

    /// The processes on the node but its listening sshd: as this machine numbers them, with their names.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        let mut open = vec![self.pid];
        while let Some(pid) = open.pop() {
            let Ok(children) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) else { continue };
            for child in children.split_whitespace().map(|c| c.parse().unwrap()) {
                let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
                found.push((child, name.trim().to_string()));
                open.push(child);
            }
        }
        found
    }
}

/// What a snapshot holds of one path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) ino: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) content: Vec<u8>,
}

/// Shows `path` and everything below it; links are not followed, and what goes away meanwhile is passed over.
pub(crate) fn walk(path: &Path, see: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    see(path, &meta);
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&entry.path(), see);
        }
    }
}

/// The machine of an admin: a home with a key and known_hosts, an inventory of hosts n0, n1, ... with a sealed vault.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
}

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(out: Output) -> Self {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Ran { code: out.status.code(), stdout: text(&out.stdout), stderr: text(&out.stderr) }
    }
}

impl Ran {
    /// Both streams, for messages.
    pub(crate) fn all(&self) -> String {
        format!("exit {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }

    /// Demands an exit code and that the output holds some words.
    #[track_caller]
    pub(crate) fn ended(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.all());
        for word in words {
            assert!(self.all().contains(word), "{word} is not in: {}", self.all());
        }
        self
    }
}

/// The passwords of the logins `ngc` and `hub`.
pub(crate) const PASSWORDS: [(&str, &str, &str, &str); 2] = [("ngc", "nvcr.io", "$oauthtoken", "nvapi-AbC_123"), ("hub", "docker.io", "acme", "dckr_pat_xyz")];

impl Site {
    /// For a fleet: its key is ours, its nodes are known, n0, n1, ... get both logins in all three targets.
    pub(crate) fn new(fleet: &Fleet) -> Site {
        let site = Site { dir: tempfile::Builder::new().prefix("site").tempdir().unwrap() };
        fs::create_dir_all(site.path("home/.ssh")).unwrap();
        fs::create_dir(site.path("tmp")).unwrap();
        fs::copy(fleet.key(), site.path("home/.ssh/id_ed25519")).unwrap();
        let lines = fleet.nodes.iter().map(|n| format!("[{}]:{} {}\n", n.address, fleet.port, fleet.host_key("ed25519")));
        if fleet.dir.path().join("key.ed25519.pub").exists() {
            site.known_hosts(&lines.collect::<String>());
        }
        site.vault("vault.yml", &PASSWORDS);
        site.inventory(fleet, "targets: [docker, enroot, {singularity: {login: ngc}}]", "");
        site
    }

    /// A path in the site's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces the home's known_hosts.
    pub(crate) fn known_hosts(&self, text: &str) {
        fs::write(self.path("home/.ssh/known_hosts"), text).unwrap();
    }

    /// Makes a vault of logins (name, registry, username, password), with the default identity.
    pub(crate) fn vault(&self, name: &str, logins: &[(&str, &str, &str, &str)]) {
        if !self.path("home/.config/regprov/identity.txt").exists() {
            self.run(&["vault", "keygen"]).ended(0, &[]);
        }
        let identity = fs::read_to_string(self.path("home/.config/regprov/identity.txt")).unwrap();
        let recipient = identity.lines().find_map(|l| l.split_once("age1")).map(|(_, rest)| format!("age1{}", rest.trim())).unwrap();
        let file = self.path(name);
        let _ = fs::remove_file(&file);
        self.run(&["vault", "init", name, "-r", &recipient]).ended(0, &[]);
        for (login, registry, username, password) in logins {
            let mut command = self.command(&["vault", "set", name, login, "--registry", registry, "--username", username]);
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
            Ran::from(child.wait_with_output().unwrap()).ended(0, &[]);
        }
    }

    /// Writes inventory.yml: all nodes in one group with these lines for it, and `hosts` lines for hosts of other names.
    pub(crate) fn inventory(&self, fleet: &Fleet, group: &str, more: &str) {
        let (last, port) = (fleet.nodes.len() - 1, fleet.port);
        let hosts = fleet.nodes.iter().enumerate().map(|(i, n)| format!("  n{i}: {{address: {}}}\n", n.address)).collect::<String>();
        let text = format!(
            "version: 1\nvault: vault.yml\ndefaults: {{port: {port}}}\ngroups:\n  nodes:\n    hosts: n[0-{last}]\n    logins: [ngc, hub]\n    {group}\nhosts:\n{hosts}{more}"
        );
        fs::write(self.path("inventory.yml"), text).unwrap();
    }

    /// The program under test, in this site, with nothing of this machine's user in its environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.path("home"));
        command.env("TMPDIR", self.path("tmp")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Runs `apply inventory.yml` with flags.
    pub(crate) fn apply(&self, flags: &[&str]) -> Ran {
        self.run(&[&["apply", "inventory.yml"], flags].concat())
    }
}

/// Waits until something holds, at most 15 seconds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(15), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ends a daemon of ours with the test.
pub(crate) struct Daemon(pub(crate) Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal to a child of ours.
pub(crate) fn signal(child: &Child, signal: i32) {
    // SAFETY: kill takes two numbers; the child has not been waited for, so its number is its own.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
}
