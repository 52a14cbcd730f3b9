//! Where the trials are done.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder on a disk that is the home of whoever works there, and its temporary directory.
pub(crate) struct Desk(tempfile::TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Desk(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        for dir in ["home", "tmp", "run", "bin"] {
            fs::create_dir(desk.path(dir)).unwrap();
        }
        fs::set_permissions(desk.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let program = if words[0] == "regprov" { env!("CARGO_BIN_EXE_regprov") } else { words[0] };
        let mut command = Command::new(program);
        command.args(&words[1..]).current_dir(self.0.path()).env_clear();
        for (key, dir) in [("HOME", "home"), ("TMPDIR", "tmp"), ("XDG_STATE_HOME", "home/state"), ("XDG_CONFIG_HOME", "home/config")] {
            command.env(key, self.path(dir));
        }
        let dirs = [self.path("bin").into_os_string()].into_iter().chain(std::env::var_os("REGPROV_PEERS")).chain(std::env::var_os("PATH"));
        let path = std::env::join_paths(dirs.flat_map(|v| std::env::split_paths(&v).collect::<Vec<_>>())).unwrap();
        command.env("PATH", path).env("LC_ALL", "C.UTF-8").env("SOPS_DISABLE_VERSION_CHECK", "1").env("SOPS_AGE_KEY_FILE", self.path("alice"));
        for (key, value) in [("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_AUTHOR_NAME", "alice"), ("GIT_AUTHOR_EMAIL", "alice@example.org")] {
            command.env(key, value);
        }
        command.env("GIT_COMMITTER_NAME", "alice").env("GIT_COMMITTER_EMAIL", "alice@example.org").env("EDITOR", self.path("editor"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn runs(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    /// Runs what has to go well, and returns what it prints.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let output = self.runs(words);
        assert!(output.status.success(), "{words:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Desk::run`], with this on its standard input.
    #[track_caller]
    pub(crate) fn feed(&self, input: &str, words: &[&str]) {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A key pair of age by this name; its recipient.
    pub(crate) fn key(&self, name: &str) -> String {
        self.run(&["age-keygen", "-o", name]);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        self.run(&["age-keygen", "-y", name]).trim().to_string()
    }

    pub(crate) fn script(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o700)).unwrap();
    }

    pub(crate) fn editor(&self, script: &str) {
        self.script("editor", script);
    }

    /// Whether the values of such files are sealed each by itself: names can still be read, values cannot.
    pub(crate) fn seals_values(&self, mut seal: impl FnMut(&str)) -> bool {
        [("f.json", "{\"token\": \"planted\"}\n"), ("f.env", "token=planted\n"), ("f.ini", "[one]\ntoken = planted\n")].into_iter().all(|(name, text)| {
            self.write(name, text);
            seal(name);
            let sealed = self.read(name);
            assert!(!sealed.contains("planted"));
            sealed.contains("token")
        })
    }

    /// Whether bytes that are no text come back as they were.
    pub(crate) fn seals_any(&self, seal: impl FnOnce(&str), open: &[&str]) -> bool {
        let bytes: Vec<u8> = (0..=255).collect();
        fs::write(self.path("f.bin"), &bytes).unwrap();
        seal("f.bin");
        assert_ne!(fs::read(self.path("f.bin")).unwrap(), bytes);
        self.runs(open).stdout == bytes
    }

    /// Whether Ansible itself finds a password in the variables of `v.yml`, by this template.
    pub(crate) fn is_read_by_ansible(&self, template: &str, more: &[&str]) -> bool {
        let words = [&["ansible", "localhost", "-i", "localhost,", "-c", "local", "-e", "@v.yml", "-m", "debug", "-a", template], more].concat();
        String::from_utf8_lossy(&self.runs(&words).stdout).contains("planted-ngc")
    }

    /// Whether the archive of Debian that apt knows here, or what it installed, has this package.
    pub(crate) fn is_in_debian(&self, package: &str) -> super::Verdict {
        // A machine with that archive has its base system.
        if !self.command(&["apt-cache", "show", "base-files"]).output().is_ok_and(|o| o.status.success()) {
            return super::Verdict::Untried("needs a Debian");
        }
        self.runs(&["apt-cache", "show", package]).status.success().into()
    }

    /// Whether the file system of the place that an editor is shown lives in memory.
    pub(crate) fn edits_in_memory(&self, words: &[&str]) -> bool {
        self.editor("stat -f -c %T \"$1\" >seen");
        let _ = self.runs(words);
        matches!(self.read("seen").trim(), "tmpfs" | "ramfs")
    }

    /// Whether nothing is left of an edit that was killed once `again` has edited.
    pub(crate) fn sweeps(&self, words: &[&str]) -> bool {
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
    pub(crate) fn merges(&self, file: &str, ours: impl FnOnce(), theirs: impl FnOnce()) -> bool {
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
pub(crate) const PLAIN: &str = "ngc:\n  registry: nvcr.io\n  password: planted-ngc\nhub:\n  registry: docker.io\n  password: planted-hub\n";

/// Whether all lines of the first that do not stand in the second (and the other way round) are of these.
pub(crate) fn differ_only_in(before: &str, after: &str, allowed: impl Fn(&str) -> bool) -> bool {
    assert_ne!(before, after);
    let missing = |a: &str, b: &str| a.lines().filter(|l| !b.lines().any(|other| other == *l)).all(&allowed);
    missing(before, after) && missing(after, before)
}

/// A plugin of age that holds no key: it hands the file's key out, and takes it back. The last line of a stanza's body has less than
/// 64 characters, and stanzas of kinds that nobody knows may stand between.
pub(crate) const PLUGIN: &str = r#"stanza() {
    read -r _ kind rest && body= || exit 1
    while read -r line; do
        body=$body$line
        [ ${#line} -eq 64 ] || return 0
    done
    exit 1
}
while stanza; do
    case "$kind $rest" in
    'wrap-file-key '*) key=$body say='recipient-stanza 0 fake' ;;
    'recipient-stanza 0 fake') key=$body say='file-key 0' ;;
    'done '*) break ;;
    esac
done
printf -- '-> %s\n%s\n' "$say" "$key"
stanza
printf -- '-> done\n\n'"#;
pub(crate) const PLUGIN_RECIPIENT: &str = "age1fake1v3exzam9wghgx8d4";
pub(crate) const PLUGIN_IDENTITY: &str = "AGE-PLUGIN-FAKE-1V3EXZAM9WG2QJ5WU\n";

/// A key pair that `age-keygen -pq` of age 1.3.2 made for these tests.
pub(crate) const HYBRID: &str = include_str!("hybrid.txt");

pub(crate) fn hybrid_recipient() -> &'static str {
    HYBRID.lines().find_map(|l| l.strip_prefix("# public key: ")).expect("age-keygen writes it there")
}
