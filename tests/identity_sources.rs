//! Every way to give an identity, through the program itself: in which order they count, what is wrong with one, and that no child of the
//! program gets hold of it.

#[path = "common/pty.rs"]
mod pty;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use age::secrecy::SecretString;
use pty::Terminal;
use regprov::model::{Registry, Secret, Username};
use regprov::vault::{Recipients, SealedValue, identity, seal};

const PASSWORD: &str = "planted-Secret_9x7";
const PASSPHRASE: &str = "open sesame";

/// A folder with an identity `id.txt`, one of somebody else `other.txt`, and `vault.yml` and `i.yml` for the first.
struct Site {
    dir: tempfile::TempDir,
    key: String,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, recipient) = identity::generate();
        let site = Site { dir, key: key.to_string() };
        site.private("id.txt", &format!("{}\n", site.key));
        site.private("other.txt", &format!("{}\n", identity::generate().0.as_str()));
        let value = SealedValue {
            registry: Registry::parse("nvcr.io").unwrap().0,
            username: Username::parse("$oauthtoken").unwrap(),
            auth_hosts: Vec::new(),
            password: Secret::new(PASSWORD.to_string()),
        };
        let armored = seal(&value, &Recipients::parse([recipient.as_str()]).unwrap()).unwrap().replace('\n', "\n      ");
        let login = format!("  ngc:\n    registry: nvcr.io\n    username: $oauthtoken\n    password: |\n      {}\n", armored.trim_end());
        site.private("vault.yml", &format!("version: 1\nrecipients: [{recipient}]\nlogins:\n{login}vault_id: v0123456789abcdef\nvault_serial: 1\n"));
        site.private("i.yml", "version: 1\nvault: vault.yml\ngroups:\n  g: {hosts: here, logins: [ngc], targets: [docker], connection: local}\n");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file for its owner alone.
    fn private(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A program for sh.
    fn program(&self, name: &str, script: &str) {
        self.private(name, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// A line for bash, in which `regprov` is the program under test. No terminal is near.
    fn command(&self, line: &str) -> Command {
        let regprov = Path::new(env!("CARGO_BIN_EXE_regprov")).parent().unwrap();
        let mut command = Command::new("setsid");
        command.args(["-w", "bash", "-uc", line]).current_dir(&self.dir).env_clear();
        command.env("PATH", format!("{}:{}:/usr/bin:/bin", regprov.display(), self.dir.path().display())).env("HOME", self.path("home"));
        command
    }

    /// Runs that; exit code, stdout and stderr.
    fn run(&self, line: &str) -> (i32, String, String) {
        let out = self.command(line).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    #[track_caller]
    fn opens(&self, line: &str) {
        let (code, out, err) = self.run(line);
        assert!(code == 0 && out.contains(PASSWORD), "{line}: {code} {err}");
        assert!(!err.contains(&self.key), "{line}: {err}");
    }

    #[track_caller]
    fn fails(&self, line: &str, code: i32, words: &[&str]) {
        let (got, out, err) = self.run(line);
        assert_eq!((got, out.as_str()), (code, ""), "{line}: {err}");
        for word in words {
            assert!(err.contains(word), "{line}: no {word:?} in {err}");
        }
        assert!(!err.contains(&self.key) && !err.contains(PASSWORD), "{line}: {err}");
    }

    /// The identity, sealed with the passphrase.
    fn locked(&self, work_factor: u8) -> String {
        let mut recipient = age::scrypt::Recipient::new(SecretString::from(PASSPHRASE.to_string()));
        recipient.set_work_factor(work_factor);
        age::encrypt_and_armor(&recipient, self.key.as_bytes()).unwrap()
    }
}

const SHOW: &str = "regprov vault show vault.yml --reveal";

#[test]
fn every_source_opens_the_vault() {
    let site = Site::new();
    site.private("a file", &format!("{}\n", site.key));
    site.fails(SHOW, 5, &["none was given", "--identity FILE", "--identity-command", "--identity-fd", "REGPROV_IDENTITY_COMMAND"]);
    for flags in [
        "--identity id.txt",
        "--identity <(cat id.txt)",
        "--identity-command 'cat id.txt'",
        "--identity-command \"  cat   'a file' \"",
        "--identity-command 'cat \"a file\"'",
        "--identity-fd 3 3<id.txt",
        "--identity-fd 3 3< <(cat id.txt)",
        "--identity-fd 7 7<<<\"$(cat id.txt)\"",
        "--identity-fd 0 <id.txt",
        // All flags count together.
        "--identity other.txt --identity-command 'cat id.txt'",
        "--identity-command 'cat other.txt' --identity-command 'cat id.txt'",
        "--identity-fd 3 --identity-fd 4 3<other.txt 4<id.txt",
    ] {
        site.opens(&format!("{SHOW} {flags}"));
    }
    for variable in ["REGPROV_IDENTITY_FILE=id.txt", "REGPROV_IDENTITY_COMMAND='cat id.txt'", "REGPROV_IDENTITY=\"$(cat id.txt)\""] {
        site.opens(&format!("{variable} {SHOW}"));
    }
    site.private("home/.config/regprov/identity.txt", &site.key);
    site.opens(SHOW);
}

#[test]
fn the_first_that_says_anything_is_taken() {
    let site = Site::new();
    // Each before the next; of two, the one that opens nothing decides.
    let sources = [
        ("--identity FILE", "", "--identity FILE"),
        ("REGPROV_IDENTITY_FILE", "REGPROV_IDENTITY_FILE=FILE", ""),
        ("REGPROV_IDENTITY_COMMAND", "REGPROV_IDENTITY_COMMAND='cat FILE'", ""),
        ("REGPROV_IDENTITY", "REGPROV_IDENTITY=\"$(cat FILE)\"", ""),
    ];
    site.private("home/.config/regprov/identity.txt", &fs::read_to_string(site.path("other.txt")).unwrap());
    let line = |first: usize, second: Option<usize>| {
        let words = |i: usize, file: &str| {
            (sources[i].1.replace("FILE", file).replace(&format!("REGPROV_IDENTITY_{file}"), "REGPROV_IDENTITY_FILE"), sources[i].2.replace("FILE", file))
        };
        let (before, after) = words(first, "id.txt");
        let (before_second, after_second) = second.map(|i| words(i, "other.txt")).unwrap_or_default();
        format!("{before} {before_second} {SHOW} {after} {after_second}")
    };
    for first in 0..sources.len() {
        site.opens(&line(first, None));
        for second in first + 1..sources.len() {
            site.opens(&line(first, Some(second)));
            // The control: the later one alone decides nothing, and the other way round it would open.
            let (code, _, err) = site.run(&line(second, Some(first)));
            assert!(code == 5 && err.contains("not sealed for any of the identities"), "{} before {}: {err}", sources[first].0, sources[second].0);
        }
    }
}

#[test]
fn what_is_wrong_with_one_is_told() {
    let site = Site::new();
    site.program("complains", "echo nobody is logged in >&2; echo \"$(cat id.txt)\"; exit 3");
    site.program("talks", "head -c 1048577 /dev/zero");
    fs::create_dir(site.path("folder")).unwrap();
    fs::copy(site.path("id.txt"), site.path("open.txt")).unwrap();
    fs::set_permissions(site.path("open.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    for (flags, code, words) in [
        (
            "--identity-command 'no-such-program-anywhere x'",
            5,
            &["--identity-command: `no-such-program-anywhere` cannot be run: it is not in PATH", "without a shell"][..],
        ),
        ("--identity-command './complains --token visible'", 5, &["nobody is logged in\n", "`./complains` failed (exit status: 3)"]),
        ("--identity-command ./talks", 5, &["`./talks` printed more than 1048576 bytes"]),
        ("--identity-command true", 5, &["identity from `true` holds no key"]),
        ("--identity-command 'cat other.txt'", 5, &["not sealed for any of the identities"]),
        // There is no shell.
        ("--identity-command 'echo $(cat id.txt)'", 5, &["identity from `echo`, line 1: is no age secret key"]),
        ("--identity-command 'cat id.txt | cat'", 5, &["No such file or directory", "`cat` failed"]),
        ("--identity-command ''", 2, &["--identity-command names no program", "pass show"]),
        ("--identity-command \"cat 'id.txt\"", 2, &["has a quote that is not closed"]),
        ("--identity-fd 9 9<&-", 2, &["--identity-fd: descriptor 9 is not open", "9< FILE"]),
        ("--identity-fd 1", 2, &["descriptor 1 is for what is told"]),
        ("--identity-fd 2", 2, &["descriptor 2 is for what is told"]),
        ("--identity-fd=-1", 2, &["--identity-fd"]),
        ("--identity-fd 3 --identity-fd 3 3<id.txt", 2, &["descriptor 3 is not open"]),
        ("--identity-fd 3 3<folder", 5, &["identity from descriptor 3: this is neither a file nor a pipe"]),
        ("--identity-fd 3 3<open.txt", 5, &["identity from descriptor 3 can be read or changed by others (mode 0644)", "chmod 600"]),
        ("--identity-fd 3 3>/dev/null", 5, &["neither a file nor a pipe"]),
        ("--identity-fd 3 3>>id.txt", 5, &["identity from descriptor 3 cannot be read"]),
        ("--identity-fd 0", 5, &["neither a file nor a pipe"]),
        ("--identity-fd 3 3< <(true)", 5, &["identity from descriptor 3 holds no key"]),
        ("--identity none.txt --identity-command false --identity-fd 3 3<other.txt", 5, &["none.txt", "no such file", "`false` failed"]),
    ] {
        site.fails(&format!("{SHOW} {flags}"), code, words);
    }
    site.fails(&format!("REGPROV_IDENTITY_COMMAND=./complains {SHOW}"), 5, &["REGPROV_IDENTITY_COMMAND: `./complains` failed"]);
    site.fails(&format!("REGPROV_IDENTITY_COMMAND= {SHOW}"), 2, &["REGPROV_IDENTITY_COMMAND names no program"]);
    // stdin is one thing or the other.
    site.fails("regprov rotate start i.yml ngc --identity-fd 0 <id.txt", 2, &["stdin holds the identity already"]);
}

/// What the program starts does not get its identities: not by the environment, not by a descriptor. What is looked at is there for who looks.
#[test]
fn no_child_gets_an_identity() {
    let site = Site::new();
    let planted = identity::generate().0;
    // Which descriptors it has but its own, and its environment.
    let look = "tr '\\0' '\\n' </proc/$$/environ >$0.environ; for fd in /proc/$$/fd/*; do readlink $fd; done >$0.fds; echo x >>$0.runs";
    site.program("spy", &format!("{look}; cat id.txt"));
    site.program("hosts", &format!("{look}; echo here"));
    let inventory = fs::read_to_string(site.path("i.yml")).unwrap().replace("hosts: here", "hosts: {command: [./hosts]}");
    site.private("i.yml", &inventory);
    // An encrypted vault needs the identity, and hosts runs what the inventory names.
    let (code, _, err) = site.run("regprov vault encrypt vault.yml");
    assert_eq!(code, 0, "{err}");
    for (line, has_fd) in [
        ("regprov hosts i.yml --identity-command ./spy --identity-fd 3 3<id.txt", false),
        // The control: a descriptor that was not named is nobody's business.
        ("regprov hosts i.yml --identity-command ./spy 3<id.txt", true),
    ] {
        let line = format!("MARK=here REGPROV_IDENTITY={} {line}", planted.as_str());
        let (code, out, err) = site.run(&line);
        assert!(code == 0 && out.contains("here"), "{line}: {err}");
        for name in ["spy", "hosts"] {
            let environ = fs::read_to_string(site.path(&format!("{name}.environ"))).unwrap();
            assert!(environ.contains("MARK=here") && !environ.contains("REGPROV_") && !environ.contains(planted.as_str()), "{name}: {environ}");
            let fds = fs::read_to_string(site.path(&format!("{name}.fds"))).unwrap();
            assert_eq!(fds.contains("id.txt"), has_fd, "{line}: {name}: {fds}");
        }
    }
    assert_eq!(fs::read_to_string(site.path("spy.runs")).unwrap(), "x\nx\n", "once for each process, however much is opened");
}

/// Git, the editor, what makes a password and what a docker configuration names are children as well.
#[test]
#[ignore = "needs git"]
fn no_program_of_the_vault_commands_gets_an_identity() {
    let site = Site::new();
    let spy = "tr '\\0' '\\n' </proc/$$/environ >$SITE/seen.${0##*/};";
    site.program("git", &format!("{spy} exec /usr/bin/git \"$@\""));
    site.program("ed-spy", &format!("{spy} exit 0"));
    site.program("token", &format!("{spy} echo x"));
    site.program("docker-credential-spy", &format!("{spy} echo '{{\"ServerURL\": \"\", \"Username\": \"u\", \"Secret\": \"s\"}}'"));
    site.private("config.json", r#"{"credHelpers": {"registry.example.org": "spy"}}"#);
    let login = "  it: {registry: registry.example.org, username: u, password_command: [./token]}\n";
    site.private("dynamic.yml", &format!("version: 1\nlogins:\n{login}"));
    for dir in ["node/root", "node/var/lib"] {
        fs::create_dir_all(site.path(dir)).unwrap();
    }
    let group = format!(
        "groups:\n  g: {{hosts: here, logins: [it], targets: [docker]}}\nhosts:\n  here: {{connection: local, root: {}}}\n",
        site.path("node").display()
    );
    site.private("i.yml", &format!("version: 1\nvault: dynamic.yml\n{group}"));
    for (line, name) in [
        ("/usr/bin/git init -q . && /usr/bin/git add vault.yml && regprov vault diff :vault.yml vault.yml", "git"),
        ("EDITOR=ed-spy regprov vault edit vault.yml", "ed-spy"),
        ("regprov apply i.yml", "token"),
        ("regprov import docker-config config.json --check --ask-helpers", "docker-credential-spy"),
    ] {
        let (_, out, err) = site.run(&format!("export MARK=here SITE=$PWD REGPROV_IDENTITY={}; {line}", site.key));
        let seen = fs::read_to_string(site.path(&format!("seen.{name}"))).unwrap_or_else(|_| panic!("{name} was not run: {out}{err}"));
        assert!(seen.contains("MARK=here") && !seen.contains("REGPROV_") && !seen.contains("AGE-SECRET-KEY"), "{name}: {seen}");
    }
}

/// The kernel's copy of the environment is wiped too. The program is looked at while it waits for a program that has none of it.
#[test]
fn the_environment_of_the_program_itself_shows_no_identity() {
    let site = Site::new();
    site.program("waits", "echo $PPID >ppid.new; mv ppid.new ppid; while [ ! -e go ]; do sleep 0.02; done; echo here");
    let inventory = fs::read_to_string(site.path("i.yml")).unwrap().replace("hosts: here", "hosts: {command: [./waits]}");
    site.private("i.yml", &inventory);
    let child = site.command("MARK=here exec regprov hosts i.yml").env("REGPROV_IDENTITY", &site.key).stdout(Stdio::null()).spawn().unwrap();
    // The control: a program that does nothing about it.
    let mut control = Command::new("sleep").arg("60").env_clear().env("REGPROV_IDENTITY", &site.key).spawn().unwrap();
    let start = Instant::now();
    while !site.path("ppid").exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "the program was not run");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = fs::read_to_string(site.path("ppid")).unwrap();
    let environ = |pid: &str| fs::read(format!("/proc/{}/environ", pid.trim())).map(|b| String::from_utf8_lossy(&b).into_owned());
    let shown = environ(&control.id().to_string()).unwrap();
    assert!(shown.contains(&site.key), "{shown}");
    match environ(&pid) {
        Ok(environ) => assert!(environ.contains("MARK=here") && !environ.contains("AGE-SECRET-KEY"), "{environ}"),
        // Another user than root may not look at all (PR_SET_DUMPABLE).
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::PermissionDenied),
    }
    fs::write(site.path("go"), "").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    control.kill().unwrap();
    control.wait().unwrap();
}

#[test]
fn a_passphrase_is_asked_for_once_by_name_and_only_on_a_terminal() {
    let site = Site::new();
    site.private("locked.age", &site.locked(4));
    let flag = "--identity locked.age";
    site.fails(&format!("{SHOW} {flag}"), 5, &["passphrase of identity locked.age is needed, and there is no terminal", "--identity-command"]);
    // Nor is it taken from stdin.
    site.fails(&format!("echo '{PASSPHRASE}' | {SHOW} {flag}"), 5, &["there is no terminal"]);
    let on_terminal = |line: &str| {
        let mut command = Command::new("bash");
        let plain = site.command("");
        command.args(["-uc", line]).current_dir(&site.dir).env_clear().envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        Terminal::start(command)
    };
    for (typed, code) in [(PASSPHRASE, 0), ("Wr0ng-one", 5)] {
        let mut terminal = on_terminal(&format!("{SHOW} {flag} >out"));
        terminal.until("passphrase of identity locked.age: ");
        terminal.type_in(&format!("{typed}\n"));
        assert_eq!(terminal.end(), Some(code), "{}", terminal.seen);
        assert_eq!(terminal.seen.matches("passphrase of").count(), 1, "{}", terminal.seen);
        assert!(!terminal.seen.contains(typed), "{}", terminal.seen);
        assert_eq!(fs::read_to_string(site.path("out")).unwrap().contains(PASSWORD), code == 0);
        assert_eq!(terminal.seen.contains("identity locked.age does not open with this passphrase"), code != 0, "{}", terminal.seen);
    }
    // However an identity comes, its passphrase is asked for; two are two questions.
    let mut terminal = on_terminal(&format!("{SHOW} --identity-command 'cat locked.age' --identity-fd 3 3<locked.age >out"));
    for name in ["from descriptor 3", "from `cat`"] {
        terminal.until(&format!("passphrase of identity {name}: "));
        terminal.type_in(&format!("{PASSPHRASE}\n"));
    }
    assert_eq!(terminal.end(), Some(0), "{}", terminal.seen);
    // A descriptor that is the terminal itself is refused.
    let mut terminal = on_terminal(&format!("{SHOW} --identity-fd 0"));
    assert_eq!(terminal.end(), Some(2));
    assert!(terminal.seen.contains("descriptor 0 is a terminal"), "{}", terminal.seen);
}

/// As `pass`, `op` and `age` do: it asks on the terminal, and nothing else than the identity comes out of it.
#[test]
fn a_command_may_ask_on_the_terminal() {
    let site = Site::new();
    let asks = "printf 'PIN please: ' >&2; stty -echo; read -r pin; stty echo; [ \"$pin\" = 4711 ] && cat id.txt";
    site.program("asks", asks);
    site.program("asks-tty", "exec </dev/tty; exec ./asks");
    for (program, pin, code) in [("./asks", "4711", 0), ("./asks-tty", "4711", 0), ("./asks", "1234", 5)] {
        let plain = site.command("");
        let mut command = Command::new("bash");
        // Standard input is something else, and the output goes to a pager.
        let line = format!("set -o pipefail; echo new-password | {SHOW} --identity-command {program} | cat >out");
        command.args(["-uc", &line]).current_dir(&site.dir).env_clear().envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let mut terminal = Terminal::start(command);
        terminal.until("PIN please: ");
        std::thread::sleep(Duration::from_millis(100));
        terminal.type_in(&format!("{pin}\n"));
        assert_eq!(terminal.end(), Some(code), "{program}: {}", terminal.seen);
        assert_eq!(fs::read_to_string(site.path("out")).unwrap().contains(PASSWORD), code == 0, "{program}: {}", terminal.seen);
    }
    // Without one it finds nobody, and does not wait.
    let start = Instant::now();
    site.program("asks-plain", "read -r pin && cat id.txt");
    site.fails(&format!("echo 4711 | {SHOW} --identity-command ./asks-plain"), 5, &["`./asks-plain` failed"]);
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_identity_that_asks_for_too_much_scrypt_is_refused_before_it_works() {
    let site = Site::new();
    // The header says 2^21; nobody computes it to make the file.
    let sealed = site.locked(4);
    let body = sealed.lines().filter(|l| !l.starts_with("-----")).collect::<String>();
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let at = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    let end = at + bytes[at..].iter().position(|b| *b == b'\n').unwrap();
    let stanza = std::str::from_utf8(&bytes[at..end]).unwrap();
    for (factor, words) in [("21", "refused as a trap"), ("4", "does not open")] {
        let stanza = format!("{} {factor}", stanza.rsplit_once(' ').unwrap().0);
        let mut changed = bytes[..at].to_vec();
        changed.extend_from_slice(stanza.as_bytes());
        changed.extend_from_slice(&bytes[end..]);
        fs::File::create(site.path("trap.age")).unwrap().write_all(&changed).unwrap();
        fs::set_permissions(site.path("trap.age"), fs::Permissions::from_mode(0o600)).unwrap();
        let plain = site.command("");
        let mut command = Command::new("bash");
        command
            .args(["-uc", &format!("{SHOW} --identity trap.age >out")])
            .current_dir(&site.dir)
            .env_clear()
            .envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let start = Instant::now();
        let mut terminal = Terminal::start(command);
        terminal.until("passphrase of identity trap.age: ");
        terminal.type_in("Wr0ng-one\n");
        assert_eq!(terminal.end(), Some(5), "{}", terminal.seen);
        assert!(terminal.seen.contains(words), "{factor}: {}", terminal.seen);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
