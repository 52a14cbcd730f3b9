//! Vaults in git, with git itself: what it shows, merges and refuses.

#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regprov::model::{Registry, Secret, Username};
use regprov::vault::edit::{self, LoginText};
use regprov::vault::{Recipients, SealedValue, VaultDocument, identity, seal, stamp};

const BIN: &str = env!("CARGO_BIN_EXE_regprov");

/// A repository in a folder of its own, with an identity for its vaults; nothing of this machine's configuration reaches it.
struct Repo {
    dir: tempfile::TempDir,
    recipient: String,
}

impl Repo {
    /// `None` without git.
    #[track_caller]
    fn new() -> Option<Self> {
        peers::need("git")?;
        let dir = tempfile::tempdir().unwrap();
        for sub in ["home", "work"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let (secret, recipient) = identity::generate();
        let identity = dir.path().join("identity.txt");
        fs::write(&identity, secret.as_bytes()).unwrap();
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
        let repo = Repo { dir, recipient };
        repo.git("init -q -b main .");
        repo.git("config user.name alice");
        repo.git("config user.email alice@example.org");
        repo.write("vault.yml", &format!("version: 1\nrecipients:\n  - {} # alice\nlogins: {{}}\n", repo.recipient));
        repo.write("vault.yml", &edit::stamp("vault.yml", &repo.read("vault.yml"), &stamp::new()).unwrap());
        Some(repo)
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A program in `dir`, below nobody's home.
    fn program(&self, program: &Path, dir: &Path, args: &[&str]) -> Output {
        Command::new(program)
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path().join("home"))
            .env("XDG_CONFIG_HOME", self.dir.path().join("home/.config"))
            .env("XDG_STATE_HOME", self.dir.path().join("home/.local/state"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.dir.path().join("gitconfig"))
            .env("REGPROV_IDENTITY_FILE", self.dir.path().join("identity.txt"))
            .output()
            .unwrap()
    }

    /// Git with these words, and what it exits with and says.
    fn try_git(&self, line: &str) -> (i32, String, String) {
        said(&self.program(&peers::need("git").unwrap(), &self.work(), &line.split(' ').collect::<Vec<_>>()))
    }

    /// Git, which must succeed.
    #[track_caller]
    fn git(&self, line: &str) -> String {
        let (code, out, err) = self.try_git(line);
        assert_eq!(code, 0, "git {line}: {out}{err}");
        out
    }

    /// regprov with these words.
    fn ours(&self, line: &str) -> (i32, String, String) {
        said(&self.program(Path::new(BIN), &self.work(), &line.split(' ').collect::<Vec<_>>()))
    }

    #[track_caller]
    fn commit(&self, message: &str) {
        self.git("add -A");
        self.git(&format!("commit -q -m {message}"));
    }

    /// A password sealed for the repository's recipients.
    fn seal(&self, registry: &str, password: &str) -> String {
        let value = SealedValue {
            registry: Registry::parse(registry).unwrap().0,
            username: Username::parse("ci").unwrap(),
            auth_hosts: vec![],
            password: Secret::new(password.to_string()),
        };
        seal(&value, &Recipients::parse([self.recipient.as_str()]).unwrap()).unwrap()
    }

    /// Sets a login of the vault as `vault set` does.
    fn set(&self, login: &str, registry: &str, password: &str) {
        let armored = self.seal(registry, password);
        let want = LoginText { registry, username: "ci", expires: None, fingerprint: None, canary: None, armored: &armored };
        self.change(|text| edit::set_login("vault.yml", text, login, want).unwrap());
    }

    /// Changes the vault as a command does: with the next serial.
    fn change(&self, change: impl FnOnce(&str) -> String) {
        let changed = change(&self.read("vault.yml"));
        let next = stamp::next(&VaultDocument::parse("vault.yml", &self.read("vault.yml")).unwrap());
        self.write("vault.yml", &edit::stamp("vault.yml", &changed, &next).unwrap());
    }
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
#[ignore = "needs git"]
fn two_revisions_are_compared() {
    let Some(repo) = Repo::new() else { return };
    repo.set("hub", "docker.io", "hunter2");
    repo.set("ngc", "nvcr.io", "hunter3");
    repo.commit("first");
    repo.set("ngc", "nvcr.io", "hunter3");
    repo.set("quay", "quay.io", "hunter4");
    repo.change(|text| edit::remove_login("vault.yml", text, "hub").unwrap());
    repo.commit("second");
    let want = "removed  hub (docker.io, ci)\nchanged  ngc: password sealed anew\nadded    quay (quay.io, ci)\n";
    for line in ["vault diff HEAD~:vault.yml vault.yml", "vault diff HEAD~:./vault.yml :vault.yml", "vault diff HEAD~:vault.yml HEAD:vault.yml"] {
        assert_eq!(repo.ours(line), (0, want.into(), String::new()), "{line}");
        assert_eq!(repo.ours(&format!("{line} --detailed-exitcode")).0, 10);
    }
    let deep = repo.ours("vault diff HEAD~:vault.yml vault.yml --deep");
    assert_eq!(deep, (0, want.replace("anew", "anew: the same password"), String::new()));
    repo.set("ngc", "nvcr.io", "hunter5");
    assert_eq!(repo.ours("vault diff HEAD:vault.yml vault.yml --deep").1, "changed  ngc: password sealed anew: another password\n");
    let (code, out, err) = repo.ours("vault diff vault.yml vault.yml --detailed-exitcode");
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "the two are equal\n"));
    // A name that git does not know, and one that it might take for an option.
    let (code, out, err) = repo.ours("vault diff nope:vault.yml vault.yml");
    assert!(code == 2 && out.is_empty() && err.contains("nope:vault.yml is no file, and git has none"), "{err}");
    let (code, _, err) = repo.ours("vault diff -- --textconv:vault.yml vault.yml");
    assert!(code == 5 && err.contains("--textconv:vault.yml cannot be read"), "{err}");
}
