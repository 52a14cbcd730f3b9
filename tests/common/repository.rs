//! A repository of git with a vault in it, in a folder of its own.

// Each test crate uses another part.
#![allow(dead_code)]

#[path = "peers.rs"]
mod peers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regprov::error::Error;
use regprov::model::{Registry, Secret, Username};
use regprov::vault::edit::{self, LoginText};
use regprov::vault::{Identities, Recipients, SealedValue, VaultDocument, decrypt, identity, seal, stamp};

const BIN: &str = env!("CARGO_BIN_EXE_regprov");

/// Nothing of this machine's configuration reaches it, or anything that it runs.
pub(crate) struct Repo {
    dir: tempfile::TempDir,
    identities: Identities,
    seals: RefCell<BTreeMap<String, String>>,
}

impl Repo {
    /// A repository with an empty vault in it, not committed. `None` without git.
    #[track_caller]
    pub(crate) fn new() -> Option<Self> {
        peers::need("git")?;
        let dir = tempfile::tempdir().unwrap();
        for sub in ["home", "work"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let (secret, recipient) = identity::generate();
        let path = dir.path().join("identity.txt");
        fs::write(&path, secret.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut identities = Identities::default();
        identities.add("alice", secret.as_bytes(), &mut |_| Err(Error::vault("nobody is asked"))).unwrap();
        let repo = Repo { dir, identities, seals: RefCell::default() };
        repo.git("init -q -b main .");
        repo.git("config user.name alice");
        repo.git("config user.email alice@example.org");
        repo.write("vault.yml", &format!("# ours\nversion: 1\nrecipients:\n  - {recipient} # alice\nlogins: {{}}\n"));
        repo.write("vault.yml", &edit::stamp("vault.yml", &repo.read("vault.yml"), &stamp::new()).unwrap());
        Some(repo)
    }

    /// One whose vault is committed, in a clone that is set up.
    #[track_caller]
    pub(crate) fn set_up() -> Option<Self> {
        let repo = Repo::new()?;
        let (code, out, err) = repo.ours("git-setup");
        assert!(code == 0 && out.contains("vault.yml"), "{out}{err}");
        repo.set("hub", "docker.io", "hunter2");
        repo.set("ngc", "nvcr.io", "hunter3");
        repo.commit("first");
        Some(repo)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Where other things of the test can lie.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A program in `dir`, with a home of its own.
    pub(crate) fn program(&self, program: &Path, dir: &Path, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(program)
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.beside("home"))
            .env("XDG_CONFIG_HOME", self.beside("home/.config"))
            .env("XDG_STATE_HOME", self.beside("home/.local/state"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.beside("gitconfig"))
            .env("GIT_EDITOR", "true")
            .env("REGPROV_IDENTITY_FILE", self.beside("identity.txt"))
            .output()
            .unwrap();
        said(&output)
    }

    /// Git with these words: exit code, stdout, stderr.
    pub(crate) fn try_git(&self, line: &str) -> (i32, String, String) {
        self.program(&peers::need("git").unwrap(), &self.work(), &line.split(' ').collect::<Vec<_>>())
    }

    /// Git, which must succeed; what it printed.
    #[track_caller]
    pub(crate) fn git(&self, line: &str) -> String {
        let (code, out, err) = self.try_git(line);
        assert_eq!(code, 0, "git {line}: {out}{err}");
        out
    }

    /// regprov with these words: exit code, stdout, stderr.
    pub(crate) fn ours(&self, line: &str) -> (i32, String, String) {
        self.ours_in(&self.work(), line)
    }

    pub(crate) fn ours_in(&self, dir: &Path, line: &str) -> (i32, String, String) {
        self.program(Path::new(BIN), dir, &line.split(' ').collect::<Vec<_>>())
    }

    /// Commits everything, past the hook.
    #[track_caller]
    pub(crate) fn commit(&self, message: &str) {
        self.git("add -A");
        self.git(&format!("commit -q --no-verify -m {message}"));
    }

    /// A password, sealed for those listed. Sealed once for each list: two sides that seal one password hold the same seal here.
    pub(crate) fn seal(&self, registry: &str, password: &str) -> String {
        let listed = VaultDocument::parse("vault.yml", &self.read("vault.yml")).unwrap().recipients.unwrap_or_default();
        let value = SealedValue {
            registry: Registry::parse(registry).unwrap().0,
            username: Username::parse("ci").unwrap(),
            auth_hosts: vec![],
            password: Secret::new(password.to_string()),
        };
        let new = || seal(&value, &Recipients::parse(listed.iter().map(String::as_str)).unwrap()).unwrap();
        self.seals.borrow_mut().entry(format!("{registry} {password} {listed:?}")).or_insert_with(new).clone()
    }

    /// From now on everything is sealed anew.
    pub(crate) fn forget_seals(&self) {
        self.seals.borrow_mut().clear();
    }

    /// Sets a login of the vault as `vault set` does.
    pub(crate) fn set(&self, login: &str, registry: &str, password: &str) {
        let armored = self.seal(registry, password);
        let want = LoginText { registry, username: "ci", expires: None, fingerprint: None, canary: None, armored: &armored };
        self.change(|text| edit::set_login("vault.yml", text, login, want).unwrap());
    }

    /// Seals every password again, for those listed now.
    pub(crate) fn seal_all(&self) {
        for (login, password) in self.passwords("vault.yml") {
            let document = VaultDocument::parse("vault.yml", &self.read("vault.yml")).unwrap();
            let registry = document.login(&login).unwrap().registry.clone().unwrap();
            let armored = self.seal(&registry, &password);
            self.change(|text| edit::replace_seal("vault.yml", text, &login, false, &armored).unwrap());
        }
    }

    /// Changes the vault as a command does: with the next serial.
    pub(crate) fn change(&self, change: impl FnOnce(&str) -> String) {
        let changed = change(&self.read("vault.yml"));
        let next = stamp::next(&VaultDocument::parse("vault.yml", &self.read("vault.yml")).unwrap());
        self.write("vault.yml", &edit::stamp("vault.yml", &changed, &next).unwrap());
    }

    /// Every login with its password, opened.
    #[track_caller]
    pub(crate) fn passwords(&self, file: &str) -> BTreeMap<String, String> {
        let document = VaultDocument::parse(file, &self.read(file)).unwrap();
        let open = |armored: &str| {
            let json = decrypt(armored.as_bytes(), &self.identities).unwrap_or_else(|e| panic!("{e:?}"));
            serde_json::from_slice::<serde_json::Value>(&json).unwrap()["password"].as_str().unwrap().to_string()
        };
        document.logins().filter_map(|(name, login, ..)| Some((name.to_string(), open(login.password.as_deref()?)))).collect()
    }

    /// A file's serial.
    #[track_caller]
    pub(crate) fn serial(&self, file: &str) -> Option<u64> {
        VaultDocument::parse(file, &self.read(file)).unwrap().vault_serial
    }
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
