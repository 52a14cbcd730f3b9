//! What it takes to open and change a vault of 500 logins: `cargo bench --bench vault [-- [--rounds R] [N]]`.
//!
//! Each figure is the wall time of one run of a program, from its start to its end: regprov as it is built here, and beside it
//! ansible-vault and SOPS where `REGPROV_PEERS` or `PATH` has them, with the same logins. A round runs all of them by turns; the
//! median is told. Every run's result is looked at: one that did nothing would be fast.

#![allow(clippy::print_stdout, reason = "a benchmark tells its figures")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What opening may take, all of its logins with one X25519 identity.
const OPENING_MAX: Duration = Duration::from_millis(500);
/// Makes single values of Ansible as `ansible-vault encrypt_string` does, all in one process: one run of that takes half a second.
const INLINE: &str = r#"
import sys
from ansible.parsing.vault import VaultLib, VaultSecret
vault = VaultLib([("default", VaultSecret(b"a password"))])
secret = vault.secrets[0][1]
print("logins:")
for n in range(int(sys.argv[1])):
    print(f"  l{n}:\n    registry: r{n}.example.org\n    username: ci\n    password: !vault |")
    for line in vault.encrypt(f"planted-{n}", secret=secret).decode().splitlines():
        print("      " + line)
"#;

fn main() {
    let (mut logins, mut rounds) = (500, 7);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // cargo bench adds it.
            "--bench" => {}
            "--rounds" => rounds = words.next().and_then(|r| r.parse().ok()).filter(|r| *r > 0).expect("--rounds needs a number"),
            n => logins = n.parse().ok().filter(|n| *n > 0).expect("a number of logins"),
        }
    }
    let desk = Desk::new(logins);
    let trials: Vec<Trial> = [ours(), sops(), ansible()].into_iter().flatten().filter(|t| desk.has(t.words[0])).collect();
    let mut walls = vec![Vec::new(); trials.len()];
    for _ in 0..rounds {
        for (trial, walls) in trials.iter().zip(&mut walls) {
            walls.push(desk.time(trial));
        }
    }
    println!("| {logins} logins, median of {rounds} rounds | program | wall ms | least | most |\n|---|---|---|---|---|");
    let mut is_slow = false;
    for (trial, mut walls) in trials.iter().zip(walls) {
        walls.sort();
        let [median, least, most] = [walls[rounds / 2], walls[0], walls[rounds - 1]].map(|w| w.as_secs_f64() * 1e3);
        println!("| {} | {} | {median:.0} | {least:.0} | {most:.0} |", trial.what, trial.words[0]);
        is_slow |= trial.words[0] == "regprov" && trial.what == OPEN && walls[rounds / 2] > OPENING_MAX;
    }
    assert!(!is_slow, "opening all of them takes more than {OPENING_MAX:?}");
}

/// What is measured, whoever does it.
const OPEN: &str = "open all";
const LIST: &str = "list the names";
const CHECK: &str = "check, without an identity";
const CHANGE: &str = "change one password";
const REKEY: &str = "a new key for everything";

/// One run of a program.
struct Trial {
    what: &'static str,
    words: Vec<&'static str>,
    /// The file that it is run on, which is as it was made before each run.
    file: &'static str,
    /// What it is handed on its standard input.
    input: &'static str,
    /// Whether it did it, by what it printed and what is in the file now.
    did: fn(&Desk, &str, &str) -> bool,
}

/// Whether this has the password of every login.
fn has_all(desk: &Desk, text: &str) -> bool {
    (0..desk.logins).all(|n| text.contains(&format!("planted-{n}\n")) || text.contains(&format!("planted-{n}\"")))
}

fn ours() -> Vec<Trial> {
    let trial = |what, words: &[&'static str], input, did| Trial { what, words: words.to_vec(), file: "v.yml", input, did };
    vec![
        trial(OPEN, &["regprov", "vault", "show", "v.yml", "--reveal", "--identity", "alice"], "", |desk, out, _| has_all(desk, out)),
        trial(LIST, &["regprov", "vault", "list", "v.yml"], "", |desk, out, _| out.lines().count() == desk.logins),
        trial(CHECK, &["regprov", "vault", "check", "v.yml"], "", |_, _, _| true),
        trial(CHANGE, &["regprov", "vault", "set", "v.yml", "l7"], "changed", |desk, _, file| file != desk.read("v.yml.made")),
        trial(REKEY, &["regprov", "vault", "rekey", "v.yml", "-R", "bob.pub", "--identity", "alice"], "", |desk, _, file| {
            file.contains(desk.read("bob.pub").trim()) && file.matches("BEGIN AGE").count() == desk.logins
        }),
    ]
}

fn sops() -> Vec<Trial> {
    let trial = |what, words: &[&'static str], did| Trial { what, words: words.to_vec(), file: "sops.yml", input: "", did };
    vec![
        trial(OPEN, &["sops", "decrypt", "sops.yml"], |desk, out, _| has_all(desk, out)),
        trial(CHANGE, &["sops", "set", "sops.yml", "[\"logins\"][\"l7\"][\"password\"]", "\"changed\""], |desk, _, file| file != desk.read("sops.yml.made")),
        trial(REKEY, &["sops", "rotate", "-i", "sops.yml"], |desk, _, file| {
            let sealed = |text: &str| text.lines().find(|l| l.contains("password:")).map(str::to_string);
            sealed(file) != sealed(&desk.read("sops.yml.made"))
        }),
    ]
}

fn ansible() -> Vec<Trial> {
    let trial = |what, words: &[&'static str], file, did| Trial { what, words: words.to_vec(), file, input: "", did };
    let changed: fn(&Desk, &str, &str) -> bool = |desk, _, file| file != desk.read("whole.yml.made");
    let shows = ["ansible", "localhost", "-i", "localhost,", "-c", "local", "--vault-password-file", "pass", "-e", "@inline.yml", "-m", "debug"];
    vec![
        trial(OPEN, &["ansible-vault", "view", "--vault-password-file", "pass", "whole.yml"], "whole.yml", |desk, out, _| has_all(desk, out)),
        trial(CHANGE, &["ansible-vault", "edit", "--vault-password-file", "pass", "whole.yml"], "whole.yml", changed),
        trial(REKEY, &["ansible-vault", "rekey", "--vault-password-file", "pass", "--new-vault-password-file", "other", "whole.yml"], "whole.yml", changed),
        trial(OPEN, &[&shows[..], &["-a", "msg={{ logins }}"]].concat(), "inline.yml", |desk, out, _| has_all(desk, out)),
    ]
}

/// A folder with the same logins for each program.
struct Desk {
    dir: tempfile::TempDir,
    logins: usize,
}

impl Desk {
    fn new(logins: usize) -> Self {
        let desk = Desk { dir: tempfile::tempdir().expect("there is a temporary directory"), logins };
        for name in ["alice", "bob"] {
            let recipient = desk.run(&["regprov", "vault", "keygen", "-o", name], "");
            desk.write(&format!("{name}.pub"), &recipient);
        }
        desk.run(&["regprov", "vault", "init", "v.yml", "-R", "alice.pub"], "");
        let mut plain = "logins:\n".to_string();
        for n in 0..logins {
            let (registry, password) = (format!("r{n}.example.org"), format!("planted-{n}"));
            desk.run(&["regprov", "vault", "set", "v.yml", &format!("l{n}"), "--registry", &registry, "--username", "ci"], &password);
            plain += &format!("  l{n}:\n    registry: {registry}\n    username: ci\n    password: {password}\n");
        }
        if desk.has("sops") {
            desk.write("sops.yml", &plain);
            desk.run(&["sops", "encrypt", "-i", "--age", desk.read("alice.pub").trim(), "sops.yml"], "");
        }
        if desk.has("ansible-vault") {
            desk.write("pass", "a password\n");
            desk.write("other", "another password\n");
            desk.write("whole.yml", &plain);
            desk.run(&["ansible-vault", "encrypt", "--vault-password-file", "pass", "whole.yml"], "");
            desk.write("editor", "#!/bin/sh\nsed -i s/planted-7$/changed/ \"$1\"\n");
            fs::set_permissions(desk.path("editor"), fs::Permissions::from_mode(0o700)).expect("it was written just now");
            let inline = desk.run(&["/usr/bin/python3", "-c", INLINE, &logins.to_string()], "");
            desk.write("inline.yml", &inline);
        }
        for name in ["v.yml", "sops.yml", "whole.yml", "inline.yml"] {
            if desk.path(name).exists() {
                fs::copy(desk.path(name), desk.path(&format!("{name}.made"))).expect("there is room");
            }
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it was written before")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("there is room");
    }

    /// Where programs are looked for.
    fn dirs() -> Vec<PathBuf> {
        ["REGPROV_PEERS", "PATH"].iter().filter_map(std::env::var_os).flat_map(|v| std::env::split_paths(&v).collect::<Vec<_>>()).collect()
    }

    fn has(&self, program: &str) -> bool {
        program == "regprov" || Desk::dirs().iter().any(|d| d.join(program).exists())
    }

    fn output(&self, words: &[&str], input: &str) -> Output {
        let program = if words[0] == "regprov" { env!("CARGO_BIN_EXE_regprov") } else { words[0] };
        let mut command = Command::new(program);
        command.args(&words[1..]).current_dir(self.dir.path()).env_clear();
        command.env("PATH", std::env::join_paths(Desk::dirs()).expect("they were in such a list")).env("LC_ALL", "C.UTF-8");
        for key in ["HOME", "TMPDIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
            command.env(key, self.dir.path());
        }
        command.env("EDITOR", self.path("editor")).env("SOPS_DISABLE_VERSION_CHECK", "1").env("SOPS_AGE_KEY_FILE", self.path("alice"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        // One that does not read it may have ended.
        let _ = child.stdin.take().expect("it was piped").write_all(input.as_bytes());
        child.wait_with_output().expect("it was started just now")
    }

    fn run(&self, words: &[&str], input: &str) -> String {
        let output = self.output(words, input);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text")
    }

    /// One run of this on a file as it was made; what regprov saw of it before is forgotten.
    fn time(&self, trial: &Trial) -> Duration {
        fs::copy(self.path(&format!("{}.made", trial.file)), self.path(trial.file)).expect("there is room");
        let _ = fs::remove_dir_all(self.path("regprov"));
        let start = Instant::now();
        let printed = self.run(&trial.words, trial.input);
        let wall = start.elapsed();
        assert!((trial.did)(self, &printed, &self.read(trial.file)), "{:?} did not do it", trial.words);
        wall
    }
}
