//! The machine of an admin beside a cluster of its own (`kube.rs`): a home with a kubeconfig, a sealed vault, an inventory of namespaces, and the
//! program under test.

// Each user takes what it needs.
#![allow(dead_code)]

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::fleet::{Ran, Site};
use super::kube::Kube;

/// Logins of the vault: name, registry, username, password. That of `harbor` is one that Go's JSON escapes for HTML.
pub(crate) const LOGINS: [(&str, &str, &str, &str); 3] = [
    ("hub", "docker.io", "alice", "planted-Hub_1"),
    ("ngc", "nvcr.io", "$oauthtoken", "planted-Ngc_2"),
    ("harbor", "harbor.example.org", "robot$team+ci", "planted-<H>&\"b\\_3"),
];

pub(crate) struct KubeSite {
    pub(crate) site: Site,
    pub(crate) kube: Kube,
}

impl KubeSite {
    /// With a cluster that has these namespaces, labelled `team: ml`, and the context `prod` of who may do everything; `None` where a program for it is
    /// missing, which has been said.
    #[track_caller]
    pub(crate) fn start(namespaces: &[&str]) -> Option<KubeSite> {
        let kube = Kube::start()?;
        let site = Site { dir: tempfile::Builder::new().prefix("site").tempdir().unwrap() };
        for dir in ["home/.kube", "tmp"] {
            fs::create_dir_all(site.path(dir)).unwrap();
        }
        site.vault("vault.yml", &LOGINS);
        let site = KubeSite { site, kube };
        site.context("prod", &site.kube.admin());
        if !namespaces.is_empty() {
            site.kube.namespaces(namespaces, "{team: ml}");
        }
        Some(site)
    }

    /// Makes `~/.kube/config` one with this context alone, for a user with these keys.
    pub(crate) fn context(&self, context: &str, user: &str) {
        self.write("home/.kube/config", &self.kube.kubeconfig(context, user));
    }

    /// The context `prod` as one of the users who may do only what a test's roles say.
    pub(crate) fn as_user(&self, user: &str) {
        self.context("prod", &format!("token: token-{user}"));
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.site.path(name), text).unwrap();
    }

    /// Writes `inventory.yml` with these blocks of `kubernetes:`, one a line.
    pub(crate) fn inventory(&self, blocks: &str) {
        let blocks: String = blocks.lines().map(|line| format!("  {}\n", line.trim())).collect();
        self.write("inventory.yml", &format!("version: 1\nid: site\nvault: vault.yml\nkubernetes:\n{blocks}"));
    }

    /// Sets the password of a login of the vault anew, with flags.
    #[track_caller]
    pub(crate) fn password(&self, login: &str, password: &str, flags: &[&str]) {
        use std::io::Write as _;
        let mut child = self.site.command(&[&["vault", "set", "vault.yml", login], flags].concat()).stdin(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        Ran::from(child.wait_with_output().unwrap()).ended(0, &[]);
    }

    /// Lets a login of the vault be past its time.
    #[track_caller]
    pub(crate) fn expire(&self, login: &str) {
        let password = LOGINS.iter().find(|(name, ..)| *name == login).unwrap().3;
        self.password(login, password, &["--expires", "2999-01-01"]);
        let text = fs::read_to_string(self.site.path("vault.yml")).unwrap();
        assert!(text.contains("2999-01-01"));
        self.write("vault.yml", &text.replace("2999-01-01", "2020-01-01"));
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.site.command(words)
    }

    /// Runs the program to its end. Nothing that it says holds a password.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        quiet(words, self.site.run(words))
    }

    /// `apply inventory.yml` with flags.
    #[track_caller]
    pub(crate) fn apply(&self, flags: &[&str]) -> Ran {
        self.run(&[&["apply", "inventory.yml"], flags].concat())
    }

    /// `apply inventory.yml --json --diff` with flags, which ends so; its report.
    #[track_caller]
    pub(crate) fn report(&self, code: i32, flags: &[&str]) -> Rows {
        self.rows(code, &[&["apply", "inventory.yml", "--json", "--diff"], flags].concat())
    }

    /// A command with `--json` that ends so; its report.
    #[track_caller]
    pub(crate) fn rows(&self, code: i32, words: &[&str]) -> Rows {
        let ran = self.run(words).ended(code, &[]);
        Rows(serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.all())))
    }

    /// What regprov asked of the cluster since then, as `verb resource`, with ` dry` behind what was a dry run; reviews of rights are left out.
    pub(crate) fn asked(&self, since: usize) -> Vec<String> {
        self.answered(since).into_iter().map(|(line, _)| line).collect()
    }

    /// The same, each with what it was answered.
    fn answered(&self, since: usize) -> Vec<(String, u64)> {
        let events = self.kube.audit(since, "regprov/");
        let events = events.iter().filter(|e| e["objectRef"]["apiGroup"] != "authorization.k8s.io" && e["objectRef"]["apiGroup"] != "authentication.k8s.io");
        let word = |v: &Value| v.as_str().unwrap_or("-").to_string();
        let line = |e: &Value| {
            let dry = if word(&e["requestURI"]).contains("dryRun=All") { " dry" } else { "" };
            (format!("{} {}{dry}", word(&e["verb"]), word(&e["objectRef"]["resource"])), e["responseStatus"]["code"].as_u64().unwrap_or(0))
        };
        events.map(line).collect()
    }

    /// The same, but only what wrote: the server did it.
    pub(crate) fn writes(&self, since: usize) -> Vec<String> {
        let is_write = |l: &String| !l.ends_with(" dry") && !["get ", "list ", "watch "].iter().any(|verb| l.starts_with(verb));
        self.answered(since).into_iter().filter(|(line, code)| is_write(line) && (200..300).contains(code)).map(|(line, _)| line).collect()
    }
}

/// Demands that no password is said.
#[track_caller]
pub(crate) fn quiet(words: &[&str], ran: Ran) -> Ran {
    assert!(!ran.all().contains("planted-"), "{words:?} says a secret: {}", ran.all());
    ran
}

/// A report for programs.
pub(crate) struct Rows(pub(crate) Value);

impl Rows {
    /// The row of a destination.
    #[track_caller]
    pub(crate) fn row(&self, host: &str) -> &Value {
        let found = self.0["hosts"].as_array().and_then(|all| all.iter().find(|row| row["host"] == host));
        found.unwrap_or_else(|| panic!("no row of {host}: {:#}", self.0))
    }

    /// All destinations with their outcomes, in order: `prod/team-a changed`.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        self.0["hosts"].as_array().unwrap().iter().map(|r| format!("{} {}", r["host"].as_str().unwrap(), r["outcome"].as_str().unwrap())).collect()
    }

    /// What became of each object of a destination: `secret/regcred created`.
    #[track_caller]
    pub(crate) fn objects(&self, host: &str) -> Vec<String> {
        let files = self.row(host)["files"].as_array().unwrap();
        files.iter().map(|f| format!("{} {}", f["path"].as_str().unwrap(), f["change"].as_str().unwrap())).collect()
    }

    /// The lines of a change.
    #[track_caller]
    pub(crate) fn diff(&self, host: &str, path: &str) -> Vec<String> {
        let files = self.row(host)["files"].as_array().unwrap();
        let file = files.iter().find(|f| f["path"] == path).unwrap_or_else(|| panic!("no row of {path}: {:#}", self.0));
        file["diff"].as_array().unwrap().iter().map(|d| d.as_str().unwrap().to_string()).collect()
    }

    /// Demands these words among a destination's reasons and notes.
    #[track_caller]
    pub(crate) fn says(&self, host: &str, words: &[&str]) {
        let text = self.row(host).to_string();
        for word in words {
            // As it stands in JSON.
            let word = Value::from(*word).to_string();
            assert!(text.contains(&word[1..word.len() - 1]), "{word} is not in: {:#}", self.row(host));
        }
    }
}
