//! `regprov vault edit` with editors that do what editors do: save, give up, crash, fork, spill. After each, a search for the planted
//! password wherever an editor could have left it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Behind the planted word in one of the passwords: what needs every kind of quote.
const ODD: &str = " 'a' \"b\" \\ : # é $(x) %n";

/// A home, a folder on tmpfs for the session, a vault with two logins, and an identity that opens it.
struct Site {
    dir: tempfile::TempDir,
    runtime: tempfile::TempDir,
    /// Part of every password here, so that a search for it finds all of them; nowhere else in the machine.
    planted: String,
    /// What has changed since then is searched.
    since: i64,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The tests need a real tmpfs, as the program does.
        let runtime = tempfile::Builder::new().prefix("runtime").tempdir_in("/dev/shm").unwrap();
        for sub in ["home", "bin", "tmp", "home/.config", "home/.config/regprov"] {
            fs::DirBuilder::new().mode(0o755).create(dir.path().join(sub)).unwrap();
        }
        let planted = format!("planted-{}", runtime.path().to_str().unwrap().trim_start_matches("/dev/shm/runtime"));
        let since = fs::metadata(dir.path()).unwrap().ctime();
        let site = Site { dir, runtime, planted, since };
        site.ok(&["vault", "keygen"], "");
        let recipient = fs::read_to_string(site.path("home/.config/regprov/identity.txt")).unwrap();
        let recipient = recipient.lines().find_map(|l| l.strip_prefix("# public key: ")).unwrap().to_string();
        site.ok(&["vault", "init", "vault.yml", "-r", &recipient], "");
        site.ok(&["vault", "set", "vault.yml", "ngc", "--registry", "nvcr.io", "--username", "$oauthtoken", "--auth-host", "authn.example.org"], &site.odd());
        site.ok(
            &["vault", "set", "vault.yml", "hub", "--registry", "docker.io", "--username", "acme", "--expires", "2099-03-01"],
            &format!("{}-hub", site.planted),
        );
        let text = site.vault().replace("  hub:", "  # the hub\n  hub: # ours");
        fs::write(site.path("vault.yml"), text).unwrap();
        site
    }

    /// The password of the other login.
    fn odd(&self) -> String {
        format!("{}{ODD}", self.planted)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn vault(&self) -> String {
        fs::read_to_string(self.path("vault.yml")).unwrap()
    }

    /// The program in an environment of its own.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.path("home")).env("XDG_RUNTIME_DIR", self.runtime.path()).env("TMPDIR", self.path("tmp")).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn ok(&self, args: &[&str], input: &str) -> String {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The password of a login, as the program itself opens it.
    #[track_caller]
    fn password(&self, login: &str) -> String {
        self.ok(&["vault", "get", "vault.yml", login, "--field", "password"], "")
    }

    /// An editor: a script that is handed the file as its last argument, `$f` in `body`.
    fn editor(&self, body: &str) -> PathBuf {
        let path = self.path("bin/fake-editor");
        fs::write(&path, format!("#!/bin/sh\nfor f; do :; done\nd=${{f%/*}}\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Edits with such an editor; nothing of what it was shown may be anywhere afterwards.
    #[track_caller]
    fn edit(&self, body: &str, args: &[&str]) -> Output {
        let output = self.editing(body, args).output().unwrap();
        self.nothing_stays();
        assert!(!said(&output).contains(&self.planted), "{}", said(&output));
        output
    }

    fn editing(&self, body: &str, args: &[&str]) -> Command {
        let mut command = self.command(&[&["vault", "edit", "vault.yml"], args].concat());
        command.env("EDITOR", self.editor(body));
        command
    }

    /// Neither password nor folder is left at home, in the site's own temporary and runtime folders, nor in those of the machine.
    #[track_caller]
    fn nothing_stays(&self) {
        assert_eq!(fs::read_dir(self.runtime.path()).unwrap().count(), 0, "something is left in the runtime folder");
        let found = self.search();
        assert!(found.is_empty(), "the password is in {found:?}");
    }

    /// All files that hold the planted password.
    fn search(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for place in [self.dir.path(), self.runtime.path(), Path::new("/tmp"), Path::new("/var/tmp"), Path::new("/dev/shm")] {
            search(place, &self.planted, self.since, &mut found);
        }
        let own = self.path("bin/fake-editor");
        found.retain(|path| *path != own);
        found
    }
}

/// Files below a folder that have changed since then and hold this. What others remove meanwhile holds nothing.
fn search(dir: &Path, planted: &str, since: i64, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            search(&path, planted, since, found);
        } else if meta.ctime() >= since && meta.is_file() && !found.contains(&path) {
            let content = fs::read(&path).unwrap_or_default();
            if content.windows(planted.len()).any(|w| w == planted.as_bytes()) {
                found.push(path);
            }
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn ended(output: &Output, code: i32, parts: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

/// The lines of one text that are not in the other.
fn lines_without<'a>(text: &'a str, other: &str) -> Vec<&'a str> {
    text.lines().filter(|line| !other.lines().any(|l| l == *line)).collect()
}

#[test]
fn the_search_finds_what_is_left_on_purpose() {
    let site = Site::new();
    site.nothing_stays();
    // An editor that copies what it sees to each of the places.
    let body = "mkdir -p ~/.cache/x; cp \"$f\" ~/.cache/x/y; cp \"$f\" \"$HOME/../tmp/z\"; cp \"$f\" \"$XDG_RUNTIME_DIR/w\"; cp \"$f\" /dev/shm/$LEAK; cp \"$f\" /tmp/$LEAK";
    let name = format!("leak-{}", std::process::id());
    let output = site.editing(body, &[]).env("LEAK", &name).output().unwrap();
    ended(&output, 0, &["nothing changed"]);
    let mut found = site.search();
    let shared = ["/dev/shm", "/tmp"].map(|dir| Path::new(dir).join(&name));
    shared.iter().for_each(|path| fs::remove_file(path).unwrap());
    found.sort();
    let mut want = vec![site.path("home/.cache/x/y"), site.path("tmp/z"), site.runtime.path().join("w"), shared[0].clone(), shared[1].clone()];
    want.sort();
    assert_eq!(found, want);
}

#[test]
fn the_editor_sees_all_in_one_private_file_in_memory() {
    let site = Site::new();
    let body = "stat -c '%a %F' \"$f\" \"$d\"; stat -f -c %T \"$d\"; ls -a \"$d\"; echo \"$TMPDIR\" | sed \"s|$d|PRIVATE|\"; env | grep -c ^REGPROV_; \
                ls -l /proc/$$/fd | grep -c regprov-edit; grep -v '^#' \"$f\" | tr a-z n-za-m";
    let key = fs::read_to_string(site.path("home/.config/regprov/identity.txt")).unwrap();
    let output = site.editing(body, &[]).env("REGPROV_IDENTITY", key).output().unwrap();
    site.nothing_stays();
    ended(&output, 0, &["nothing changed; nothing was written: vault.yml is as it was", "`", "is not known here", "VISUAL='code --wait'"]);
    let shown: String = String::from_utf8(output.stdout).unwrap();
    let rotated = |text: &str| -> String {
        let turn = |c: char| if c.is_ascii_lowercase() { (b'a' + (c as u8 - b'a' + 13) % 26) as char } else { c };
        text.chars().map(turn).collect()
    };
    let want = format!(
        "600 regular file\n700 directory\ntmpfs\n.\n..\nvault.yml\nPRIVATE\n0\n0\n{}",
        rotated(&format!(
            "\nlogins:\n  hub:\n    registry: docker.io\n    username: acme\n    expires: 2099-03-01\n    password: '{0}-hub'\n\n  ngc:\n    registry: nvcr.io\n    \
             username: $oauthtoken\n    auth_hosts:\n      - authn.example.org\n    password: '{0}{1}'\n",
            site.planted,
            ODD.replace('\'', "''")
        ))
    );
    let (shown, want): (Vec<&str>, Vec<&str>) = (shown.lines().collect(), want.lines().collect());
    // The order is that of the vault; both logins are there.
    let (mut shown, mut want) = (shown, want);
    shown.sort_unstable();
    want.sort_unstable();
    assert_eq!(shown, want);
}

#[test]
fn what_is_unchanged_is_not_written() {
    let site = Site::new();
    let before = (site.vault(), fs::metadata(site.path("vault.yml")).unwrap().ino());
    for (body, told) in [
        ("exit 0", "nothing changed"),
        ("cp \"$f\" \"$d/x\"; mv \"$d/x\" \"$f\"", "nothing changed"),
        ("echo '# a word' >>\"$f\"; sed -i 's/ acme/ \"acme\"/' \"$f\"", "nothing changed"),
        (": >\"$f\"", "nothing is left in the text"),
        ("sed -i '/^#/!d' \"$f\"", "nothing is left in the text"),
    ] {
        ended(&site.edit(body, &[]), 0, &[told, "nothing was written"]);
        assert_eq!((site.vault(), fs::metadata(site.path("vault.yml")).unwrap().ino()), before, "{body}");
    }
}

#[test]
fn what_is_changed_is_sealed_and_nothing_else_is_touched() {
    let site = Site::new();
    let before = site.vault();
    ended(&site.edit("sed -i 's/-hub/-new/' \"$f\"", &[]), 0, &["vault.yml: changed `hub` (sealed for 1 recipient)"]);
    let after = site.vault();
    assert_eq!((site.password("hub"), site.password("ngc")), (format!("{}-new", site.planted), site.odd()));
    // The seal of the other login and all comments are there byte for byte; the rest is one seal and the serial.
    assert!(after.contains("  # the hub\n  hub: # ours\n    registry: docker.io\n"), "{after}");
    let gone = lines_without(&before, &after);
    assert!(gone.iter().all(|l| l.starts_with("      ") || l.starts_with("vault_serial")), "{gone:?}");
    let ngc = |text: &str| text[text.find("  ngc:").unwrap()..].split("\n  hub").next().unwrap().split("\nvault_id").next().unwrap().to_string();
    assert_eq!(ngc(&before), ngc(&after));

    // What stands outside of the seal changes without a new one.
    let before = site.vault();
    ended(
        &site.edit("sed -i 's/2099-03-01/2098-01-01/; s/^    auth_hosts/    canary: nvidia\\/cuda\\n    auth_hosts/' \"$f\"", &[]),
        0,
        &["changed `ngc`, `hub`"],
    );
    let after = site.vault();
    assert_eq!(lines_without(&after, &before), ["    canary: nvidia/cuda", "    expires: 2098-01-01", "vault_serial: 5"]);
    assert_eq!(lines_without(&before, &after), ["    expires: 2099-03-01", "vault_serial: 4"]);
    ended(&site.edit("sed -i '/expires/d; /canary/d' \"$f\"", &[]), 0, &["changed `ngc`, `hub`"]);
    assert!(!site.vault().contains("expires") && !site.vault().contains("canary"));

    // One more, one less, one with another name, one alone.
    let seal = |text: &str| text.lines().filter(|l| l.starts_with("      ")).collect::<Vec<_>>().join("\n");
    let before = site.vault();
    ended(&site.edit("sed -i 's/^  ngc:/  nvidia:/' \"$f\"", &["ngc"]), 0, &["renamed `ngc` to `nvidia`"]);
    assert_eq!(seal(&site.vault()), seal(&before));
    let planted = &site.planted;
    let add = format!("printf '  quay:\\n    registry: quay.io\\n    username: bob\\n    password: |-\\n      {planted}\\n      two lines\\n' >>\"$f\"");
    ended(&site.edit(&add, &[]), 0, &["added `quay`"]);
    assert_eq!(site.password("quay"), format!("{planted}\ntwo lines"));
    ended(&site.edit("sed -i '/^  hub:/,/password/d' \"$f\"", &[]), 0, &["removed `hub`"]);
    assert!(!site.vault().contains("hub"), "{}", site.vault());
    assert_eq!((site.password("nvidia"), site.password("quay")), (site.odd(), format!("{planted}\ntwo lines")));
    let only = format!("grep -q quay \"$f\" && exit 3; sed -i 's/password: .*/password: {planted}-3/' \"$f\"");
    ended(&site.edit(&only, &["nvidia"]), 0, &["changed `nvidia`"]);
    assert_eq!(site.password("nvidia"), format!("{planted}-3"));
    ended(&site.edit("exit 0", &["nvida"]), 2, &["there is no login `nvida`", "did you mean `nvidia`?"]);
}

#[test]
fn an_editor_that_fails_leaves_nothing_and_changes_nothing() {
    let site = Site::new();
    let before = site.vault();
    let change = "sed -i 's/-hub/-new/' \"$f\"; cp \"$f\" \"$d/.vault.yml.swp\"; mkdir -p \"$d/deep/er\"; cp \"$f\" \"$d/deep/er/#x#\"; ln -s /etc/passwd \"$d/l\"; \
                  mkfifo \"$d/p\"; chmod 000 \"$d/deep\"";
    for (end, told) in [
        ("exit 1", "failed (exit status 1)"),
        ("kill -9 $$", "was killed by signal 9"),
        ("kill -SEGV $$", "was killed by signal 11"),
        ("rm \"$f\"", "the editor removed it"),
        ("rm \"$f\"; ln -s ~/.config/regprov/identity.txt \"$f\"", "cannot be read back"),
        ("rm \"$f\"; mkfifo \"$f\"", "it is no file any more"),
        ("printf '\\377' >\"$f\"", "not UTF-8"),
    ] {
        ended(&site.edit(&format!("{change}; {end}"), &[]), 5, &[told, "nothing was written"]);
        assert_eq!(site.vault(), before, "{end}");
    }
    // All of that beside an edit that went well is wiped too.
    ended(&site.edit(change, &[]), 0, &["changed `hub`"]);
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_child_that_writes_on_is_shut_out() {
    let site = Site::new();
    // It sits in the folder, and makes a swap file there again and again, long after the editor is gone.
    let body = "(cd \"$d\"; text=$(cat \"$f\"); n=0; while [ $n -lt 400 ]; do echo \"$text\" >\"$d/swap$n\"; echo \"$text\" >swap.$n; n=$((n+1)); done; \
                echo done >\"$HOME/child\") >/dev/null 2>&1 & sleep 0.2; sed -i 's/-hub/-new/' \"$f\"";
    ended(&site.edit(body, &[]), 0, &["changed `hub`"]);
    wait_until("the child has ended", || site.path("home/child").exists());
    site.nothing_stays();
}

#[test]
fn a_signal_wipes_and_ends_both() {
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
        let site = Site::new();
        let before = site.vault();
        let mut child = waiting(&site);
        // Those of the keyboard go to the editor alone.
        kill(&child, libc::SIGINT);
        kill(&child, libc::SIGQUIT);
        std::thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none());
        kill(&child, signal);
        let output = end(child);
        ended(&output, code, &["nothing was written: vault.yml is as it was"]);
        site.nothing_stays();
        assert_eq!(site.vault(), before);
        assert!(!lives(&site), "the editor lives");
    }
}

#[test]
fn what_a_killed_one_left_is_swept_at_the_next_start() {
    let site = Site::new();
    let mut child = waiting(&site);
    kill(&child, libc::SIGKILL);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    wait_until("the editor has ended too", || !lives(&site));
    // The control: it is there, and found.
    let left: Vec<_> = fs::read_dir(site.runtime.path()).unwrap().flatten().map(|e| e.path()).collect();
    assert_eq!((left.len(), site.search().len()), (1, 2), "{left:?} {:?}", site.search());
    // Another edit that goes on is not swept, nor is what is no folder of ours.
    let alive = waiting(&site);
    let outside = site.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("keep"), "x").unwrap();
    std::os::unix::fs::symlink(&outside, site.runtime.path().join("regprov-edit-0123456789abcdef")).unwrap();
    fs::write(site.runtime.path().join("regprov-edit-file"), "x").unwrap();
    fs::write(site.runtime.path().join("other"), "x").unwrap();

    assert!(!left[0].exists(), "the next edit did not sweep it");
    let output = site.command(&["vault", "list", "vault.yml"]).output().unwrap();
    assert!(!said(&output).contains("removed"), "{}", said(&output));
    let names = || {
        let mut names: Vec<String> = fs::read_dir(site.runtime.path()).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names().len(), 4, "{:?}", names());
    assert!(outside.join("keep").exists());

    // Every verb of `vault` sweeps, and says so.
    kill(&alive, libc::SIGKILL);
    end(alive);
    let output = site.command(&["vault", "list", "vault.yml"]).output().unwrap();
    ended(&output, 0, &["note: removed ", "which a `vault edit` that was killed had left"]);
    assert_eq!(names(), ["other", "regprov-edit-0123456789abcdef", "regprov-edit-file"]);
    assert!(site.search().is_empty());
}

#[test]
fn without_a_terminal_what_is_wrong_is_told_and_nothing_is_written() {
    let site = Site::new();
    let before = site.vault();
    for (body, parts) in [
        ("echo ']' >>\"$f\"", &["edited text:", "not YAML"][..]),
        (
            "sed -i 's/registry: nvcr.io/registry: nvcr.io\\/a b/; s/expires: .*/expires: 2001-01-01/; s/username: acme/username: a:b/; /authn/s/authn/AUTHN/' \"$f\"",
            &["login `ngc`", "`expires` is in the past", "username contains `:`", "auth host"],
        ),
        ("sed -i 's/password: .*/password: 0123/' \"$f\"", &["must be text, not a number", "single quotes"]),
        ("sed -i \"s/password: .*/password: ''/\" \"$f\"", &["the password of login `hub` is empty", "the password of login `ngc` is empty"]),
        ("sed -i '/password:/d' \"$f\"", &["login `hub` has no `password`"]),
        ("sed -i 's/password: /pasword: /' \"$f\"", &["unknown key", "did you mean `password`?"]),
        ("sed -i 's/  ngc:/  hub:/' \"$f\"", &["`hub` stands twice"]),
        ("sed -i 's/^logins:/login:/' \"$f\"", &["`logins` is missing"]),
        ("sed -i '/^logins:/q' \"$f\"", &["`logins` is empty", "`logins: {}`"]),
        ("sed -i 's/password: .*-hub.*/password: |\\n      abc/' \"$f\"", &["ends with a line break", "|-"]),
    ] {
        let output = site.edit(body, &[]);
        ended(&output, 5, parts);
        ended(&output, 5, &["nothing was written: vault.yml is as it was", "no terminal"]);
        assert_eq!(site.vault(), before, "{body}");
    }
}

#[test]
fn no_disk_is_ever_written_to() {
    let site = Site::new();
    // Not of ours, no tmpfs, not there: the next place is taken, and that is one in memory.
    let mut command = site.editing("stat -f -c %T \"$d\"", &[]);
    let output = command.env("XDG_RUNTIME_DIR", site.path("tmp")).output().unwrap();
    ended(&output, 0, &["tmpfs", "nothing changed"]);
    assert_eq!(fs::read_dir(site.path("tmp")).unwrap().count(), 0);
    site.nothing_stays();
}

/// An edit whose editor waits for ever, once that has begun; its number is in `home/pid`.
fn waiting(site: &Site) -> Child {
    let _ = fs::remove_file(site.path("home/pid"));
    let child = site.editing("cp \"$f\" \"$d/.vault.yml.swp\"; echo $$ >~/pid.new; mv ~/pid.new ~/pid; exec sleep 600", &[]).spawn().unwrap();
    wait_until("the editor runs", || site.path("home/pid").exists());
    child
}

/// Whether the editor of [`waiting`] is there and no zombie.
fn lives(site: &Site) -> bool {
    let pid = fs::read_to_string(site.path("home/pid")).unwrap();
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|s| !s.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

fn kill(child: &Child, signal: i32) {
    // SAFETY: kill takes two integers; the child was not waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// What it said. The editor may hold its streams for longer.
fn end(mut child: Child) -> Output {
    let status = child.wait().unwrap();
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    child.stdout.take().unwrap().read_to_end(&mut output.stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
    output
}

#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
