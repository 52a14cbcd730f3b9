//! An admin's folder with a sealed vault, an audit key and inventories, and nodes in this process (`fleet/embedded.rs`) whose files are
//! folders; the program itself is run on them.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::bed::Bed;
use super::embedded::Fault;

/// Passwords of the logins `hub`, `ngc` and `corp`; no output may hold them.
pub(crate) const PASSWORDS: [(&str, &str, &str, &str); 3] =
    [("hub", "docker.io", "alice", "planted-Hub_1"), ("ngc", "nvcr.io", "$oauthtoken", "planted-Ngc_2"), ("corp", "reg.example.org", "bob", "planted-Corp_3")];

pub(crate) const DOCKER: &str = "root/.docker/config.json";
pub(crate) const ENROOT: &str = "root/.config/enroot/.credentials";
pub(crate) const RECORD: &str = "var/lib/regprov/owned.json";

pub(crate) struct Estate {
    pub(crate) bed: Bed,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Demands this exit code and these words on stdout or stderr.
    #[track_caller]
    pub(crate) fn ended(self, code: i32, words: &[&str]) -> Self {
        let both = format!("{}\n{}", self.out, self.err);
        assert_eq!(self.code, code, "{both}");
        for word in words {
            assert!(both.contains(word), "{word:?} is not in\n{both}");
        }
        self
    }

    /// Demands that nothing of this was said.
    #[track_caller]
    pub(crate) fn without(self, words: &[&str]) -> Self {
        for word in words {
            assert!(!self.out.contains(word) && !self.err.contains(word), "{word:?} is in\n{}\n{}", self.out, self.err);
        }
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

impl Estate {
    /// With so many nodes, `home` with an identity, and `vault.yml` with the logins of [`PASSWORDS`].
    pub(crate) async fn new(nodes: usize) -> Self {
        let estate = Estate { bed: Bed::new(&vec![Fault::None; nodes]).await };
        fs::create_dir_all(estate.path("home")).unwrap();
        let made = estate.run(&["vault", "keygen", "-o", "id.txt"]).ended(0, &[]);
        estate.run(&["vault", "init", "vault.yml", "-r", made.out.trim()]).ended(0, &[]);
        for (login, registry, username, password) in PASSWORDS {
            estate.piped(&["vault", "set", "vault.yml", login, "--registry", registry, "--username", username], password).ended(0, &[]);
        }
        estate
    }

    pub(crate) fn path(&self, p: &str) -> PathBuf {
        self.bed.dir.path().join(p)
    }

    /// A file of a node.
    pub(crate) fn on(&self, node: usize, p: &str) -> PathBuf {
        self.path(&format!("n{node}/{p}"))
    }

    pub(crate) fn read(&self, node: usize, p: &str) -> String {
        fs::read_to_string(self.on(node, p)).unwrap_or_default()
    }

    /// Writes a file of a node, 0600, with the directories before it.
    pub(crate) fn write(&self, node: usize, p: &str, text: &str) {
        let path = self.on(node, p);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn chmod(&self, node: usize, p: &str, mode: u32) {
        fs::set_permissions(self.on(node, p), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Writes an inventory in which all nodes have these logins and targets: `id: site\n` and the like come first.
    pub(crate) fn inventory(&self, name: &str, head: &str, logins: &str, targets: &str) {
        let hosts =
            (0..self.bed.fleet.nodes.len()).map(|i| format!("  n{i}: {{port: {}, root: {}}}\n", self.bed.fleet.nodes[i].port(), self.on(i, "").display()));
        let text = format!(
            "version: 1\n{head}vault: vault.yml\ndefaults: {{address: 127.0.0.1, curl: \"8.5.0\", host_key: {}}}\ngroups:\n  nodes: {{hosts: 'n[0-{}]', logins: \
             [{logins}], targets: [{targets}]}}\nhosts:\n{}",
            self.bed.fleet.host_key_line(),
            self.bed.fleet.nodes.len() - 1,
            hosts.collect::<String>()
        );
        fs::write(self.path(name), text).unwrap();
    }

    /// The program with these words, with nothing of this process's environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(words).current_dir(self.bed.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.path("home"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program with these words to its end, with no identity and no audit key at hand. Whatever it says holds no password.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.piped(words, "")
    }

    /// As [`run`](Self::run), for what contacts the nodes.
    pub(crate) fn there(&self, words: &[&str]) -> Ran {
        let key = self.bed.key.to_str().unwrap();
        self.run(&[words, &["--ssh-key", key, "--no-agent"]].concat())
    }

    /// `apply`, with the identity.
    pub(crate) fn apply(&self, words: &[&str]) -> Ran {
        self.there(&[&["apply"], words, &["--identity", "id.txt"]].concat())
    }

    /// Starts it for the nodes, and kills it after a time.
    pub(crate) fn killed_after(&self, words: &[&str], after: std::time::Duration) {
        let key = self.bed.key.to_str().unwrap();
        let mut child = self.command(&[words, &["--ssh-key", key, "--no-agent"]].concat()).stdin(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it, and leaves it to whoever asked.
    pub(crate) fn started(&self, words: &[&str]) -> std::process::Child {
        self.command(words).stdin(Stdio::null()).spawn().unwrap()
    }

    /// Runs it on a terminal of its own (`script`), where somebody has typed this; all that the terminal showed is `out`. The words are plain.
    pub(crate) fn on_terminal(&self, script: &Path, words: &[&str], typed: &str) -> Ran {
        let plain = self.command(words);
        let line = format!("{} {}", env!("CARGO_BIN_EXE_regprov"), words.join(" "));
        let mut command = Command::new(script);
        command.args(["-qec", &line, "/dev/null"]).current_dir(self.bed.dir.path()).env_clear().envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let mut child = command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        Ran { code: out.status.code().expect("no signal ends it"), out: String::from_utf8(out.stdout).unwrap(), err: String::new() }
    }

    pub(crate) fn piped(&self, words: &[&str], input: &str) -> Ran {
        self.piped_in(&[], words, input)
    }

    /// As [`piped`](Self::piped), with these variables too.
    pub(crate) fn piped_in(&self, variables: &[(&str, &str)], words: &[&str], input: &str) -> Ran {
        let mut child = self.command(words).envs(variables.iter().copied()).stdin(Stdio::piped()).spawn().unwrap();
        // Whoever reads nothing may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let out = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ran = Ran { code: out.status.code().expect("no signal ends it"), out: text(out.stdout), err: text(out.stderr) };
        for secret in PASSWORDS.map(|p| p.3).into_iter().chain(["AUDIT-KEY-1", "AGE-SECRET-KEY-1", "hmac-sha256:"]) {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{words:?} says a secret");
        }
        ran
    }

    /// Everything that lies on a node: path, mode, times of change in nanoseconds, content.
    pub(crate) fn snapshot(&self, node: usize) -> Vec<(PathBuf, u32, i128, i128, Vec<u8>)> {
        let mut found = Vec::new();
        walk(&self.on(node, ""), &mut |path| {
            let meta = fs::symlink_metadata(path).unwrap();
            let nanoseconds = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
            let content = if meta.is_file() { fs::read(path).unwrap() } else { Vec::new() };
            found.push((path.to_path_buf(), meta.mode(), nanoseconds(meta.mtime(), meta.mtime_nsec()), nanoseconds(meta.ctime(), meta.ctime_nsec()), content));
        });
        found.sort();
        found
    }
}

fn walk(dir: &Path, see: &mut dyn FnMut(&Path)) {
    see(dir);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() { walk(&path, see) } else { see(&path) }
    }
}
