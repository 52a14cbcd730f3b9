//! README's table beside ansible-vault and SOPS: each of its cells is what came of doing it here, with the real programs.
//!
//! SOPS is in no release of Debian and on no index of packages: where `REGPROV_PEERS` or `PATH` has none, its column is not held.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The heading of the table.
const HEADING: &str = "### Beside ansible-vault and SOPS";

/// What is claimed, and how each tool comes to its answer. `None` is a dash: the question has no sense there.
struct Row {
    claim: &'static str,
    ansible: fn(&Desk) -> Option<bool>,
    sops: fn(&Desk) -> Option<bool>,
    regprov: fn(&Desk) -> Option<bool>,
}

const ROWS: [Row; 10] = [
    Row {
        claim: "a changed password changes the lines of its login alone, beside a counter",
        ansible: ansible::changes_one,
        sops: sops::changes_one,
        regprov: ours::changes_one,
    },
    Row {
        claim: "a password that is moved to another login is refused",
        ansible: ansible::refuses_moved,
        sops: sops::refuses_moved,
        regprov: ours::refuses_moved,
    },
    Row { claim: "an older state of the file is refused", ansible: ansible::refuses_older, sops: sops::refuses_older, regprov: ours::refuses_older },
    Row {
        claim: "what somebody wrote who knows the public keys alone is refused",
        ansible: ansible::refuses_forged,
        sops: sops::refuses_forged,
        regprov: ours::refuses_forged,
    },
    Row { claim: "branches that change different logins merge", ansible: ansible::merges, sops: sops::merges, regprov: ours::merges },
    Row {
        claim: "several files get new keys together, or none does",
        ansible: ansible::rekeys_all_or_none,
        sops: sops::rekeys_all_or_none,
        regprov: ours::rekeys_all_or_none,
    },
    Row {
        claim: "who takes a key out is told which passwords it could read",
        ansible: ansible::tells_what_was_read,
        sops: sops::tells_what_was_read,
        regprov: ours::tells_what_was_read,
    },
    Row {
        claim: "an editor gets the plaintext in memory, never on a disk",
        ansible: ansible::edits_in_memory,
        sops: sops::edits_in_memory,
        regprov: ours::edits_in_memory,
    },
    Row { claim: "what a killed edit left is swept by the next one", ansible: ansible::sweeps, sops: sops::sweeps, regprov: ours::sweeps },
    Row { claim: "an SSH key opens it", ansible: ansible::takes_ssh_keys, sops: sops::takes_ssh_keys, regprov: ours::takes_ssh_keys },
];

#[test]
#[ignore = "needs ansible-vault, age, git and ssh-keygen"]
fn the_table_says_what_the_programs_do() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let table: Vec<Vec<&str>> = readme
        .split_once(HEADING)
        .expect("README has the table")
        .1
        .lines()
        .skip_while(|l| !l.starts_with("|---"))
        .skip(1)
        .take_while(|l| l.starts_with('|'))
        .map(|l| l.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let claims: Vec<&str> = table.iter().map(|cells| cells[0]).collect();
    assert_eq!(claims, ROWS.map(|r| r.claim), "README's claims, and those that are tried");
    for peer in ["ansible-vault", "age", "git", "ssh-keygen"] {
        if peers::need(peer).is_none() {
            return;
        }
    }
    let dirs: Vec<PathBuf> =
        ["REGPROV_PEERS", "PATH"].iter().filter_map(std::env::var_os).flat_map(|v| std::env::split_paths(&v).collect::<Vec<_>>()).collect();
    let has_sops = peers::look("sops", &dirs, false).is_some();
    let mut wrong = Vec::new();
    for (row, cells) in ROWS.iter().zip(&table) {
        let mut hold = |tool: &str, cell: &str, verdict: fn(&Desk) -> Option<bool>| {
            // What cannot be tried is told with the others.
            let got = match std::panic::catch_unwind(|| verdict(&Desk::new())) {
                Ok(Some(true)) => "yes",
                Ok(Some(false)) => "no",
                Ok(None) => "-",
                Err(_) => "not to be told",
            };
            if cell.split([' ', ',']).next() != Some(got) {
                wrong.push(format!("{}: README says `{cell}` of {tool}, and it is `{got}`", row.claim));
            }
        };
        hold("ansible-vault", cells[1], row.ansible);
        if has_sops {
            hold("SOPS", cells[2], row.sops);
        }
        hold("regprov", cells[3], row.regprov);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A folder on a disk that is the home of whoever works there, and its temporary directory.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Desk(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        for dir in ["home", "tmp", "run"] {
            fs::create_dir(desk.path(dir)).unwrap();
        }
        fs::set_permissions(desk.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let program = if words[0] == "regprov" { env!("CARGO_BIN_EXE_regprov") } else { words[0] };
        let mut command = Command::new(program);
        command.args(&words[1..]).current_dir(self.0.path()).env_clear();
        for (key, dir) in [("HOME", "home"), ("TMPDIR", "tmp"), ("XDG_STATE_HOME", "home/state"), ("XDG_CONFIG_HOME", "home/config")] {
            command.env(key, self.path(dir));
        }
        let dirs = std::env::var_os("REGPROV_PEERS").into_iter().chain(std::env::var_os("PATH"));
        let path = std::env::join_paths(dirs.flat_map(|v| std::env::split_paths(&v).collect::<Vec<_>>())).unwrap();
        command.env("PATH", path).env("LC_ALL", "C.UTF-8").env("SOPS_DISABLE_VERSION_CHECK", "1").env("SOPS_AGE_KEY_FILE", self.path("alice"));
        for (key, value) in [("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_AUTHOR_NAME", "alice"), ("GIT_AUTHOR_EMAIL", "alice@example.org")] {
            command.env(key, value);
        }
        command.env("GIT_COMMITTER_NAME", "alice").env("GIT_COMMITTER_EMAIL", "alice@example.org").env("EDITOR", self.path("editor"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn runs(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    /// Runs what has to go well, and returns what it prints.
    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        let output = self.runs(words);
        assert!(output.status.success(), "{words:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Desk::run`], with this on its standard input.
    #[track_caller]
    fn feed(&self, input: &str, words: &[&str]) {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A key pair of age by this name; its recipient.
    fn key(&self, name: &str) -> String {
        self.run(&["age-keygen", "-o", name]);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        self.run(&["age-keygen", "-y", name]).trim().to_string()
    }

    fn editor(&self, script: &str) {
        self.write("editor", &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path("editor"), fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// Whether the file system of the place that an editor is shown lives in memory.
    fn edits_in_memory(&self, words: &[&str]) -> bool {
        self.editor("stat -f -c %T \"$1\" >seen");
        let _ = self.runs(words);
        matches!(self.read("seen").trim(), "tmpfs" | "ramfs")
    }

    /// Whether nothing is left of an edit that was killed once `again` has edited.
    fn sweeps(&self, words: &[&str]) -> bool {
        self.editor("dirname \"$1\" >seen; echo $$ >pid; exec sleep 600");
        let mut child = self.command(words).spawn().unwrap();
        let start = Instant::now();
        while fs::read_to_string(self.path("pid")).map_or(true, |p| !p.ends_with('\n')) {
            assert!(start.elapsed() < Duration::from_secs(60), "no editor was started");
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let _ = self.runs(&["kill", self.read("pid").trim()]);
        let place = PathBuf::from(self.read("seen").trim());
        assert!(place.exists(), "a killed edit leaves its folder");
        self.editor("exit 0");
        let _ = self.runs(words);
        let swept = !place.exists();
        let _ = fs::remove_dir_all(place);
        swept
    }

    /// Commits `change` of each side to a branch of its own and merges them; whether that went by itself.
    fn merges(&self, file: &str, ours: impl FnOnce(), theirs: impl FnOnce()) -> bool {
        let git = |words: &[&str]| self.run(&[&["git"], words].concat());
        git(&["init", "-q", "-b", "main"]);
        let commit = || {
            git(&["add", file]);
            git(&["commit", "-q", "-m", "a change"]);
        };
        commit();
        git(&["checkout", "-q", "-b", "other"]);
        theirs();
        commit();
        git(&["checkout", "-q", "main"]);
        ours();
        commit();
        self.runs(&["git", "merge", "-q", "-m", "both", "other"]).status.success()
    }
}

/// Two logins in the clear.
const PLAIN: &str = "ngc:\n  registry: nvcr.io\n  password: planted-ngc\nhub:\n  registry: docker.io\n  password: planted-hub\n";

/// Whether all lines of the first that do not stand in the second (and the other way round) are of these.
fn differ_only_in(before: &str, after: &str, allowed: impl Fn(&str) -> bool) -> bool {
    assert_ne!(before, after);
    let missing = |a: &str, b: &str| a.lines().filter(|l| !b.lines().any(|other| other == *l)).all(&allowed);
    missing(before, after) && missing(after, before)
}

/// ansible-vault: one password for everybody, a whole file or single values.
mod ansible {
    use super::*;

    const PASS: [&str; 2] = ["--vault-password-file", "vault-pass"];

    fn whole(desk: &Desk, name: &str) {
        desk.write("vault-pass", "a password\n");
        desk.write(name, PLAIN);
        desk.run(&["ansible-vault", "encrypt", PASS[0], PASS[1], name]);
    }

    /// The file with another password of ngc.
    fn set(desk: &Desk, name: &str, login: &str) {
        desk.editor(&format!("sed -i s/planted-{login}/planted-new/ \"$1\""));
        desk.run(&["ansible-vault", "edit", PASS[0], PASS[1], name]);
    }

    pub(super) fn changes_one(desk: &Desk) -> Option<bool> {
        whole(desk, "v.yml");
        let before = desk.read("v.yml");
        set(desk, "v.yml", "ngc");
        Some(before.lines().zip(desk.read("v.yml").lines()).skip(1).any(|(a, b)| a == b))
    }

    pub(super) fn refuses_moved(desk: &Desk) -> Option<bool> {
        desk.write("vault-pass", "a password\n");
        let value = |secret| desk.run(&["ansible-vault", "encrypt_string", PASS[0], PASS[1], secret, "--name", "password"]);
        let (ngc, hub) = (value("planted-ngc"), value("planted-hub"));
        let shown = |a: &str, b: &str| {
            let block = |v: &str| v.lines().map(|l| format!("  {l}\n")).collect::<String>();
            desk.write("v.yml", &format!("ngc:\n{}hub:\n{}", block(a), block(b)));
            let words =
                ["ansible", "localhost", "-i", "localhost,", "-c", "local", PASS[0], PASS[1], "-e", "@v.yml", "-m", "debug", "-a", "msg={{ ngc.password }}"];
            String::from_utf8(desk.runs(&words).stdout).unwrap()
        };
        assert!(shown(&ngc, &hub).contains("planted-ngc"));
        Some(!shown(&hub, &ngc).contains("planted-hub"))
    }

    pub(super) fn refuses_older(desk: &Desk) -> Option<bool> {
        whole(desk, "v.yml");
        let old = desk.read("v.yml");
        set(desk, "v.yml", "ngc");
        let view = || desk.run(&["ansible-vault", "view", PASS[0], PASS[1], "v.yml"]);
        assert!(view().contains("planted-new"));
        desk.write("v.yml", &old);
        Some(!view().contains("planted-ngc"))
    }

    /// It has no public keys: whoever can write can read.
    pub(super) fn refuses_forged(_: &Desk) -> Option<bool> {
        None
    }

    pub(super) fn merges(desk: &Desk) -> Option<bool> {
        whole(desk, "v.yml");
        Some(desk.merges("v.yml", || set(desk, "v.yml", "ngc"), || set(desk, "v.yml", "hub")))
    }

    pub(super) fn rekeys_all_or_none(desk: &Desk) -> Option<bool> {
        for name in ["a.yml", "b.yml", "c.yml"] {
            whole(desk, name);
        }
        desk.write("b.yml", &desk.read("b.yml").replacen('3', "4", 6));
        let before = desk.read("a.yml");
        desk.write("new-pass", "another password\n");
        let rekeyed = desk.runs(&["ansible-vault", "rekey", PASS[0], PASS[1], "--new-vault-password-file", "new-pass", "a.yml", "b.yml", "c.yml"]);
        assert!(!rekeyed.status.success());
        Some(desk.read("a.yml") == before)
    }

    /// It has no keys of several people.
    pub(super) fn tells_what_was_read(_: &Desk) -> Option<bool> {
        None
    }

    pub(super) fn edits_in_memory(desk: &Desk) -> Option<bool> {
        whole(desk, "v.yml");
        Some(desk.edits_in_memory(&["ansible-vault", "edit", PASS[0], PASS[1], "v.yml"]))
    }

    pub(super) fn sweeps(desk: &Desk) -> Option<bool> {
        whole(desk, "v.yml");
        Some(desk.sweeps(&["ansible-vault", "edit", PASS[0], PASS[1], "v.yml"]))
    }

    pub(super) fn takes_ssh_keys(desk: &Desk) -> Option<bool> {
        whole(desk, "v.yml");
        desk.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"]);
        Some(desk.runs(&["ansible-vault", "view", PASS[0], "key", "v.yml"]).status.success())
    }
}

/// SOPS with age.
mod sops {
    use super::*;

    fn made(desk: &Desk, name: &str) -> String {
        let alice = if desk.path("alice").exists() { desk.run(&["age-keygen", "-y", "alice"]).trim().to_string() } else { desk.key("alice") };
        desk.write(name, PLAIN);
        desk.run(&["sops", "encrypt", "-i", "--age", &alice, name]);
        alice
    }

    fn set(desk: &Desk, name: &str, login: &str) {
        desk.run(&["sops", "set", name, &format!("[\"{login}\"][\"password\"]"), "\"planted-new\""]);
    }

    fn opens(desk: &Desk, name: &str) -> bool {
        desk.runs(&["sops", "decrypt", name]).status.success()
    }

    pub(super) fn changes_one(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        let before = desk.read("v.yml");
        set(desk, "v.yml", "ngc");
        let after = desk.read("v.yml");
        let hub = |text: &str| text[text.find("hub:").unwrap()..text.find("sops:").unwrap()].to_string();
        Some(hub(&before) == hub(&after) && differ_only_in(&before, &after, |l| ["password:", "mac:", "lastmodified:"].iter().any(|k| l.trim().starts_with(k))))
    }

    pub(super) fn refuses_moved(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        assert!(opens(desk, "v.yml"));
        let text = desk.read("v.yml");
        let sealed: Vec<&str> = text.lines().filter(|l| l.trim().starts_with("password:")).collect();
        let swapped: String = text
            .lines()
            .map(|l| {
                if l == sealed[0] {
                    sealed[1]
                } else if l == sealed[1] {
                    sealed[0]
                } else {
                    l
                }
            })
            .map(|l| format!("{l}\n"))
            .collect();
        assert_ne!(text, swapped);
        desk.write("v.yml", &swapped);
        Some(!opens(desk, "v.yml"))
    }

    pub(super) fn refuses_older(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        let old = desk.read("v.yml");
        set(desk, "v.yml", "ngc");
        assert!(opens(desk, "v.yml"));
        desk.write("v.yml", &old);
        Some(!opens(desk, "v.yml"))
    }

    pub(super) fn refuses_forged(desk: &Desk) -> Option<bool> {
        let alice = made(desk, "v.yml");
        // Mallory has no identity: the recipient is all.
        desk.write("forged.yml", &PLAIN.replace("planted-ngc", "of mallory"));
        let forged = desk.command(&["sops", "encrypt", "-i", "--age", &alice, "forged.yml"]).env_remove("SOPS_AGE_KEY_FILE").output().unwrap();
        assert!(forged.status.success());
        Some(!opens(desk, "forged.yml"))
    }

    pub(super) fn merges(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        Some(desk.merges("v.yml", || set(desk, "v.yml", "ngc"), || set(desk, "v.yml", "hub")))
    }

    pub(super) fn rekeys_all_or_none(desk: &Desk) -> Option<bool> {
        let mut alice = String::new();
        for name in ["a.yml", "b.yml", "c.yml"] {
            alice = made(desk, name);
        }
        let bob = desk.key("bob");
        desk.write(".sops.yaml", &format!("creation_rules:\n  - age: {alice},{bob}\n"));
        // The second is not what it was.
        desk.write("b.yml", &desk.read("b.yml").replace("YWdl", "YWdm"));
        let before = desk.read("a.yml");
        assert!(!desk.runs(&["sops", "updatekeys", "-y", "a.yml", "b.yml", "c.yml"]).status.success());
        Some(desk.read("a.yml") == before)
    }

    pub(super) fn tells_what_was_read(desk: &Desk) -> Option<bool> {
        let alice = made(desk, "v.yml");
        let bob = desk.key("bob");
        let told = |keys: &str| {
            desk.write(".sops.yaml", &format!("creation_rules:\n  - age: {keys}\n"));
            let output = desk.runs(&["sops", "updatekeys", "-y", "v.yml"]);
            assert!(output.status.success());
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        };
        told(&format!("{alice},{bob}"));
        let told = told(&alice);
        assert!(told.contains(&bob), "{told}");
        Some(told.contains("ngc") && told.contains("hub"))
    }

    pub(super) fn edits_in_memory(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        Some(desk.edits_in_memory(&["sops", "edit", "v.yml"]))
    }

    pub(super) fn sweeps(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        Some(desk.sweeps(&["sops", "edit", "v.yml"]))
    }

    pub(super) fn takes_ssh_keys(desk: &Desk) -> Option<bool> {
        desk.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"]);
        desk.write("v.yml", PLAIN);
        desk.run(&["sops", "encrypt", "-i", "--age", desk.read("key.pub").trim(), "v.yml"]);
        Some(
            desk.command(&["sops", "decrypt", "v.yml"])
                .env_remove("SOPS_AGE_KEY_FILE")
                .env("SOPS_AGE_SSH_PRIVATE_KEY_FILE", desk.path("key"))
                .output()
                .unwrap()
                .status
                .success(),
        )
    }
}

/// regprov.
mod ours {
    use super::*;

    fn made_for(desk: &Desk, name: &str, recipient: &str) {
        desk.run(&["regprov", "vault", "init", name, "-r", recipient]);
        set(desk, name, "ngc", "planted-ngc", &["--registry", "nvcr.io", "--username", "alice"]);
        set(desk, name, "hub", "planted-hub", &["--registry", "docker.io", "--username", "alice"]);
    }

    fn made(desk: &Desk, name: &str) -> String {
        let alice = if desk.path("alice").exists() { desk.run(&["age-keygen", "-y", "alice"]).trim().to_string() } else { desk.key("alice") };
        made_for(desk, name, &alice);
        alice
    }

    fn set(desk: &Desk, name: &str, login: &str, password: &str, more: &[&str]) {
        desk.feed(password, &[&["regprov", "vault", "set", name, login], more].concat());
    }

    fn opens(desk: &Desk, name: &str) -> bool {
        desk.runs(&["regprov", "vault", "show", name, "--reveal", "--identity", "alice"]).status.success()
    }

    /// Whether a run would go on: nothing is written, and nobody is contacted.
    fn applies(desk: &Desk, more: &[&str]) -> bool {
        let output = desk.runs(&[&["regprov", "apply", "inventory.yml", "--check", "--identity", "alice"], more].concat());
        let told = String::from_utf8_lossy(&output.stderr).to_string();
        assert!(matches!(output.status.code(), Some(0 | 5)), "{told}");
        output.status.success()
    }

    fn inventory(desk: &Desk, more: &str) {
        fs::create_dir_all(desk.path("node")).unwrap();
        let root = desk.path("node").display().to_string();
        desk.write(
            "inventory.yml",
            &format!("version: 1\nvault: v.yml\n{more}defaults: {{connection: local, root: {root}, targets: [docker]}}\ngroups:\n  here: {{hosts: here, logins: [ngc, hub]}}\n"),
        );
    }

    pub(super) fn changes_one(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        let before = desk.read("v.yml");
        set(desk, "v.yml", "ngc", "planted-new", &[]);
        let after = desk.read("v.yml");
        let without_ngc = |text: &str| {
            let ngc = text.find("  ngc:").unwrap();
            let end = ngc + text[ngc..].find("END AGE").unwrap();
            format!("{}{}", &text[..ngc], &text[end..])
        };
        Some(differ_only_in(&without_ngc(&before), &without_ngc(&after), |l| l.starts_with("vault_serial:")))
    }

    pub(super) fn refuses_moved(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        assert!(opens(desk, "v.yml"));
        let text = desk.read("v.yml");
        desk.write("v.yml", &text.replace("nvcr.io", "X").replace("docker.io", "nvcr.io").replace("registry: X", "registry: docker.io"));
        Some(!opens(desk, "v.yml"))
    }

    pub(super) fn refuses_older(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        inventory(desk, "");
        let old = desk.read("v.yml");
        set(desk, "v.yml", "ngc", "planted-new", &[]);
        assert!(applies(desk, &[]));
        desk.write("v.yml", &old);
        Some(!applies(desk, &[]) && applies(desk, &["--allow-rollback"]))
    }

    pub(super) fn refuses_forged(desk: &Desk) -> Option<bool> {
        let alice = made(desk, "v.yml");
        inventory(desk, "signed: required\n");
        desk.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f", "key"]);
        desk.write("allowed_signers", &format!("alice {}", desk.read("key.pub")));
        desk.run(&["regprov", "vault", "sign", "v.yml", "--key", "key"]);
        assert!(applies(desk, &[]));
        // Mallory has no identity and no signing key: the recipient is all.
        let stamp: String = desk.read("v.yml").lines().filter(|l| l.starts_with("vault_")).map(|l| format!("{l}\n")).collect();
        made_for(desk, "forged.yml", &alice);
        let forged: String = desk.read("forged.yml").lines().filter(|l| !l.starts_with("vault_")).map(|l| format!("{l}\n")).collect();
        desk.write("v.yml", &(forged + &stamp));
        assert!(opens(desk, "v.yml"), "age alone does not tell");
        Some(!applies(desk, &[]))
    }

    pub(super) fn merges(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        desk.run(&["git", "init", "-q", "-b", "main"]);
        desk.run(&["regprov", "git-setup", "v.yml"]);
        let is_merged = desk.merges("v.yml", || set(desk, "v.yml", "ngc", "planted-new", &[]), || set(desk, "v.yml", "hub", "planted-newer", &[]));
        let shown = desk.run(&["regprov", "vault", "show", "v.yml", "--reveal", "--identity", "alice"]);
        Some(is_merged && shown.contains("planted-new\n") && shown.contains("planted-newer\n"))
    }

    pub(super) fn rekeys_all_or_none(desk: &Desk) -> Option<bool> {
        for name in ["a.yml", "b.yml", "c.yml"] {
            made(desk, name);
        }
        let bob = desk.key("bob");
        desk.write("b.yml", &desk.read("b.yml").replacen("YWdl", "YWdm", 1));
        let before = desk.read("a.yml");
        let rekeyed = desk.runs(&["regprov", "vault", "rekey", "a.yml", "b.yml", "c.yml", "--add", &bob, "--identity", "alice"]);
        assert!(!rekeyed.status.success());
        Some(desk.read("a.yml") == before)
    }

    pub(super) fn tells_what_was_read(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        let bob = desk.key("bob");
        desk.run(&["regprov", "vault", "rekey", "v.yml", "--add", &bob, "--identity", "alice"]);
        let output = desk.runs(&["regprov", "vault", "rekey", "v.yml", "--remove", &bob, "--identity", "alice"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        Some(told.contains("ngc") && told.contains("hub"))
    }

    pub(super) fn edits_in_memory(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        Some(desk.edits_in_memory(&["regprov", "vault", "edit", "v.yml", "--identity", "alice"]))
    }

    pub(super) fn sweeps(desk: &Desk) -> Option<bool> {
        made(desk, "v.yml");
        Some(desk.sweeps(&["regprov", "vault", "edit", "v.yml", "--identity", "alice"]))
    }

    pub(super) fn takes_ssh_keys(desk: &Desk) -> Option<bool> {
        desk.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "alice"]);
        made_for(desk, "v.yml", desk.read("alice.pub").trim());
        Some(opens(desk, "v.yml"))
    }
}
