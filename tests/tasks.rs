//! The program that runs tasks, under the shells that nodes have: what goes in reaches the command through standard input alone, what
//! comes out forges nothing, and whatever the command does ends in time.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regprov::model::{HelperName, RemotePath, ServiceUnit};
use regprov::node::Program;
use regprov::node::protocol::{Ended, HelperVerb, NOT_RUNNING, Nonce, OUTPUT_BYTES_MAX, ReplyReader, Task, hello};

#[path = "common/peers.rs"]
mod peers;

const SECRET: &str = "pl$nted 'Secret'\\n `9x7`";
const SHELLS: [&str; 4] = ["/bin/sh", "/bin/bash --posix", "/bin/busybox sh", "/bin/zsh --emulate sh"];

/// A node: a folder with programs of ours, which come before all others there.
struct Node {
    dir: tempfile::TempDir,
    shell: &'static str,
}

impl Node {
    fn new(shell: &'static str) -> Option<Self> {
        peers::need(Path::new(shell.split(' ').next().unwrap()).file_name().unwrap().to_str().unwrap())?;
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        Some(Node { dir, shell })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a program there.
    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nD={}\n{script}\n", self.dir.path().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The command, with this shell, our programs, and a folder that tells whether systemd runs.
    fn command(&self) -> String {
        let command = Program::Tasks.command().replace("/bin/sh -c", &format!("{} -c", self.shell));
        let ours = command.replace("bins=\"/usr/local/sbin", &format!("bins=\"{}", self.path("bin").display()));
        assert_ne!(ours, command);
        ours.replace("/etc/environment", self.path("environment").to_str().unwrap()).replace("/run/systemd/system", self.path("systemd").to_str().unwrap())
    }

    /// Runs tasks in one program: what came of each, for as long as the program goes on.
    fn run(&self, tasks: &[(Task<'_>, u64, &str)]) -> Vec<Ended> {
        let mut child = Command::new("/bin/sh");
        child.arg("-c").arg(self.command()).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = child.spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let nonce = Nonce::random();
        stdin.write_all(hello(&nonce).as_bytes()).unwrap();
        let mut ended = Vec::new();
        for (task, seconds, input) in tasks {
            stdin.write_all(&task.encode(*seconds, input)).unwrap();
            let mut reader = ReplyReader::new(nonce.clone());
            let mut piece = [0; 4096];
            let reply = loop {
                let n = stdout.read(&mut piece).unwrap();
                assert!(n > 0, "{}: it ended without an answer", self.shell);
                match reader.feed(&piece[..n]) {
                    Ok(Some(reply)) => break reply,
                    Ok(None) => {}
                    Err(broken) => panic!("{}: {}", self.shell, broken.reason()),
                }
            };
            ended.push(reply.task.unwrap_or_else(|| panic!("{}: {:?}", self.shell, reply.refused)));
        }
        drop(stdin);
        child.wait().unwrap();
        ended
    }

    /// Runs one task of a helper: exit status, standard output, standard error.
    fn helper(&self, verb: HelperVerb, name: &str, input: &str) -> (u8, String, String) {
        let (name, home) = (HelperName::parse(name).unwrap(), RemotePath::parse("/home/alice").unwrap());
        told(self.run(&[(Task::Helper { verb, name: &name, home: &home }, 10, input)]).remove(0))
    }
}

#[track_caller]
fn told(ended: Ended) -> (u8, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match ended {
        Ended::Ran(ran) => (ran.status, text(&ran.out), text(&ran.err)),
        Ended::TooMuch => panic!("too much"),
        Ended::Late => panic!("late"),
    }
}

/// Nodes with every shell that is here.
fn nodes() -> Vec<Node> {
    SHELLS.into_iter().filter_map(Node::new).collect()
}

/// A helper that keeps what it is given in a file, and notes what it was started with.
const KEEPER: &str = r#"
tr '\0' ' ' </proc/$$/cmdline >>"$D/argv"; tr '\0' '\n' </proc/$$/environ >>"$D/environ"
case $1 in
  store) cat >"$D/store" ;;
  get) [ -s "$D/store" ] && cat "$D/store" || { echo "credentials not found in native keychain"; exit 1; } ;;
  erase) cat >"$D/erased"; rm -f "$D/store" ;;
esac"#;

#[test]
#[ignore = "needs bash, busybox and zsh"]
fn a_helper_stores_gets_and_erases() {
    for node in nodes() {
        node.program("docker-credential-keeper", KEEPER);
        let login = format!("{{\"ServerURL\":\"nvcr.io\",\"Secret\":{}}}", serde_json::to_string(SECRET).unwrap());
        assert_eq!(
            node.helper(HelperVerb::Get, "keeper", "nvcr.io"),
            (1, "credentials not found in native keychain\n".into(), String::new()),
            "{}",
            node.shell
        );
        assert_eq!(node.helper(HelperVerb::Store, "keeper", &login), (0, String::new(), String::new()), "{}", node.shell);
        assert_eq!(node.read("store"), format!("{login}\n"));
        assert_eq!(node.helper(HelperVerb::Get, "keeper", "nvcr.io").1, format!("{login}\n"), "{}", node.shell);
        assert_eq!(node.helper(HelperVerb::Erase, "keeper", "nvcr.io").0, 0);
        assert_eq!((node.read("erased"), node.read("store")), ("nvcr.io\n".into(), String::new()));
        // What a helper sees beside its input is constant.
        assert!(node.read("argv").contains("docker-credential-keeper store"), "the log of arguments is dead");
        assert!(!node.read("argv").contains("9x7") && !node.read("environ").contains("9x7"), "{}", node.shell);
        let environ = node.read("environ");
        let mut names: Vec<&str> = environ.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, ["HOME", "LC_ALL", "PATH"], "{}", node.shell);
        assert!(environ.contains("HOME=/home/alice\n"));
    }
}

#[test]
#[ignore = "needs bash, busybox and zsh"]
fn whatever_a_command_says_forges_no_line() {
    for node in nodes() {
        // The nonce stands in no argument and no environment; lines with another word are data, and so are ends within the data.
        node.program("docker-credential-forger", "printf 'x end\\nx ran 1 0\\n\\n0\\nx end\\n\\n\\n'; echo 'x late' >&2; printf '\\377\\303 \\\\n' ; exit 7");
        let (status, out, err) = node.helper(HelperVerb::Get, "forger", "");
        assert_eq!((status, err.as_str()), (7, "x late"), "{}", node.shell);
        assert_eq!(out, "x end\nx ran 1 0\n\n0\nx end\n\n\n\u{fffd}\u{fffd} \\n", "{}", node.shell);
        // One that reads nothing, though it is sent a lot; what it leaves is not taken for a request.
        node.program("docker-credential-deaf", "exec </dev/null; exit 3");
        let (name, home) = (HelperName::parse("deaf").unwrap(), RemotePath::parse("/h").unwrap());
        let task = Task::Helper { verb: HelperVerb::Store, name: &name, home: &home };
        let ended = node.run(&[(task, 10, &"task 1 0 log\n".repeat(6000)), (task, 10, "")]);
        assert_eq!(ended.into_iter().map(|e| told(e).0).collect::<Vec<_>>(), [3, 3], "{}", node.shell);
        node.program("docker-credential-signalled", "kill -KILL $$");
        assert_eq!(node.helper(HelperVerb::Get, "signalled", "").0, 137, "{}", node.shell);
        let (status, _, err) = node.helper(HelperVerb::Get, "missing-one", "");
        assert!(status == 127 && err.contains("docker-credential-missing-one"), "{}: {status} {err}", node.shell);
    }
}

#[test]
#[ignore = "needs bash, busybox and zsh"]
fn a_chatty_command_is_cut() {
    for node in nodes() {
        for (bytes, fits) in [(OUTPUT_BYTES_MAX, true), (OUTPUT_BYTES_MAX + 100, false), (5 << 20, false)] {
            node.program("docker-credential-chatty", &format!("head -c {bytes} /dev/zero | tr '\\0' x; head -c 100000 /dev/zero | tr '\\0' y >&2"));
            let (name, home) = (HelperName::parse("chatty").unwrap(), RemotePath::parse("/h").unwrap());
            let ended = node.run(&[(Task::Helper { verb: HelperVerb::Get, name: &name, home: &home }, 10, "")]).remove(0);
            match ended {
                Ended::Ran(ran) => assert!(fits && ran.out.len() == bytes && ran.err.len() == 4096, "{}: {}", node.shell, ran.out.len()),
                Ended::TooMuch => assert!(!fits, "{}", node.shell),
                Ended::Late => panic!("{}: late", node.shell),
            }
        }
    }
}

#[test]
#[ignore = "needs bash, busybox and zsh"]
fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    for node in nodes() {
        node.program("docker-credential-slow", "sleep 60 & echo $! >\"$D/pid\"; sleep 60");
        let (name, home) = (HelperName::parse("slow").unwrap(), RemotePath::parse("/h").unwrap());
        let start = Instant::now();
        let ended = node.run(&[(Task::Helper { verb: HelperVerb::Get, name: &name, home: &home }, 1, "")]).remove(0);
        assert!(ended == Ended::Late && start.elapsed() < Duration::from_secs(4), "{}: {:?}", node.shell, start.elapsed());
        let left = format!("/proc/{}/stat", node.read("pid").trim());
        let runs = || fs::read_to_string(&left).is_ok_and(|s| !s.contains(") Z "));
        while runs() && start.elapsed() < Duration::from_secs(6) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!runs(), "{}: it was left", node.shell);
        // A deadline is the task's: many quick ones together may take longer.
        node.program("docker-credential-slow", "sleep 0.7");
        let task = (Task::Helper { verb: HelperVerb::Get, name: &name, home: &home }, 2, "");
        assert_eq!(node.run(&[task, task, task, task]).into_iter().map(|e| told(e).0).collect::<Vec<_>>(), [0; 4], "{}", node.shell);
    }
}

#[test]
#[ignore = "needs bash, busybox and zsh"]
fn the_log_gets_its_lines_and_curl_its_configuration() {
    for node in nodes() {
        node.program("logger", "echo \"$*\" >>\"$D/args\"; cat >>\"$D/log\"");
        let lines = "LANG=de\nhttps_proxy=http://u:p w@proxy:3128/\nNO_PROXY=\"localhost,.example\"\nexport BAD\nhttps_proxyx=1";
        fs::write(node.path("environment"), lines).unwrap();
        node.program("curl", "env >\"$D/env\"; echo \"$*\" >>\"$D/args\"; cat >\"$D/config\"; echo 200");
        let config = format!("url = \"https://h/\"\nuser = {}\n", serde_json::to_string(SECRET).unwrap());
        let ended = node.run(&[(Task::Log, 5, "updated one\nupdated two"), (Task::Curl, 5, &config)]);
        assert_eq!(ended.into_iter().map(|e| told(e).1).collect::<Vec<_>>(), ["", "200\n"], "{}", node.shell);
        // This busybox prefers its own logger to all others.
        let own = node.shell.contains("busybox") && node.read("log").is_empty();
        let (log, args) = if own { ("", "-q -K -\n") } else { ("updated one\nupdated two\n", "-t regprov\n-q -K -\n") };
        assert_eq!((node.read("log").as_str(), node.read("args").as_str()), (log, args), "{}", node.shell);
        assert_eq!(node.read("config"), config, "{}", node.shell);
        let env = node.read("env");
        let mut known: Vec<&str> = env.lines().filter(|l| !["_=", "PWD=", "SHLVL=", "OLDPWD=", "PATH=", "LOGNAME="].iter().any(|n| l.starts_with(n))).collect();
        known.sort_unstable();
        assert_eq!(known, ["LC_ALL=C", "NO_PROXY=localhost,.example", "https_proxy=http://u:p w@proxy:3128/"], "{}", node.shell);
    }
}

#[test]
#[ignore = "needs bash, busybox and zsh"]
fn a_service_is_restarted_where_it_runs() {
    for node in nodes() {
        let restart = || told(node.run(&[(Task::Restart(ServiceUnit::K3sAgent), 5, "")]).remove(0)).0;
        let fake = "echo \"${0##*/} $*\" >>\"$D/calls\"; [ -e \"$D/runs\" ] || case $* in *restart*) ;; *) exit 3 ;; esac";
        for program in ["systemctl", "rc-service", "service"] {
            node.program(program, fake);
        }
        fs::create_dir(node.path("systemd")).unwrap();
        assert_eq!(restart(), NOT_RUNNING, "{}", node.shell);
        fs::write(node.path("runs"), "").unwrap();
        assert_eq!(restart(), 0);
        fs::remove_dir(node.path("systemd")).unwrap();
        assert_eq!(restart(), 0);
        fs::remove_file(node.path("bin/rc-service")).unwrap();
        if !Path::new("/usr/sbin/rc-service").exists() {
            assert_eq!(restart(), 0);
            fs::remove_file(node.path("runs")).unwrap();
            assert_eq!(restart(), NOT_RUNNING);
        }
        let want = "systemctl -q is-active k3s-agent\nsystemctl -q is-active k3s-agent\nsystemctl restart k3s-agent\nrc-service k3s-agent status\nrc-service k3s-agent restart\n";
        assert!(node.read("calls").starts_with(want), "{}: {}", node.shell, node.read("calls"));
        assert!(node.read("calls").contains("service k3s-agent restart\n"));
        node.program("systemctl", "case $* in restart*) echo 'Job failed' >&2; exit 1 ;; esac");
        fs::create_dir(node.path("systemd")).unwrap();
        assert_eq!(restart(), 1);
    }
}

#[test]
#[ignore = "needs mksh"]
fn a_shell_without_builtin_printf_runs_nothing() {
    let Some(node) = Node::new("/bin/mksh") else { return };
    let mut child = Command::new("/bin/sh");
    let mut child = child.arg("-c").arg(node.command()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"n0\n").unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&said), "n0 refuse /bin/sh has no builtin printf\n");
}

#[test]
fn units_are_the_ones_that_the_program_knows() {
    let program = include_str!("../src/node/tasks.sh");
    let line = program.lines().find(|l| l.contains("k3s |")).unwrap();
    let known = line.split_once(" in ").unwrap().1.split_once(')').unwrap().0;
    assert_eq!(known.split(" | ").collect::<Vec<_>>(), ServiceUnit::ALL.map(ServiceUnit::name));
}

/// A first flight of TCP holds ten segments of 1460 bytes; the program of files is not made longer by tasks.
#[test]
fn the_program_fits_a_first_flight() {
    assert!(Program::Tasks.command().len() < 4 << 10, "{}", Program::Tasks.command().len());
    assert!(!Program::Files.command().contains("docker-credential"));
}
