//! Programs that are run for what they print: names of hosts, identities, passwords.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::inventory::Program;
use crate::model::text::sanitize;

/// The most that is kept of what it says on standard error, in bytes.
const COMPLAINT_BYTES_KEPT: usize = 8 << 10;

/// How often a program that closed its output is looked at, until it ends.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The most that is read at a time, in bytes.
const CHUNK_BYTES: usize = 16 << 10;

/// What a program may take, and how it is listened to.
#[derive(Clone, Copy)]
pub struct Terms {
    /// How long it may take.
    pub deadline: Duration,
    /// The most that it may print, in bytes.
    pub output_bytes_max: usize,
    /// Whether what it prints is a secret: then no copy of it is left behind in memory.
    pub is_secret: bool,
    /// Whether it may have to ask somebody, as a password manager does. Then its standard error is ours, and where there is a terminal
    /// it reads from that and stays in our process group: a group of its own would be stopped when it asks.
    pub with_person: bool,
}

impl Terms {
    /// Room for all that it may print when that is a secret, so that it does not move and leave copies behind.
    fn room(&self) -> usize {
        if self.is_secret { self.output_bytes_max + 1 + CHUNK_BYTES } else { 0 }
    }
}

/// Runs a program without a shell, and returns what it printed. Without a person its input is empty, and at the deadline it is killed with
/// all that it started; with one and a terminal, it is killed alone. What opens vaults is not in its environment.
///
/// # Errors
/// It cannot be started, fails, takes too long or prints too much; what it said on standard error is quoted, unless that is ours. Nothing
/// that it printed is.
pub fn run(program: &Program, terms: &Terms) -> Result<Zeroizing<Vec<u8>>> {
    let reply = converse(program, terms, None)?;
    if reply.success { Ok(reply.stdout) } else { Err(Error::usage(reply.failure)) }
}

/// The longest question, in bytes: a pipe takes it at once, so that asking never waits.
const QUESTION_BYTES_MAX: usize = 4 << 10;

/// What a program answered.
pub struct Reply {
    /// Whether it ended well.
    pub success: bool,
    /// What it printed.
    pub stdout: Zeroizing<Vec<u8>>,
    /// How it ended, with what it said on standard error, for a message; nothing that it printed.
    pub failure: String,
}

/// As [`run`], of a program that is asked something on its standard input and may answer that it fails. Nobody is there to help it.
///
/// # Errors
/// As there, but for a program that fails; the question is too long.
pub fn ask(program: &Program, terms: &Terms, question: &[u8]) -> Result<Reply> {
    if question.len() > QUESTION_BYTES_MAX {
        return Err(Error::usage(format!("`{}` cannot be asked with more than {QUESTION_BYTES_MAX} bytes", sanitize(&program.argv[0]))));
    }
    converse(program, &Terms { with_person: false, ..*terms }, Some(question))
}

fn converse(program: &Program, terms: &Terms, question: Option<&[u8]>) -> Result<Reply> {
    let name = sanitize(&program.argv[0]);
    let mut command = Command::new(&program.argv[0]);
    command.args(&program.argv[1..]).stdout(Stdio::piped());
    let terminal = if terms.with_person { terminal() } else { None };
    let has_group = terminal.is_none();
    match terminal {
        Some(terminal) => command.stdin(terminal),
        None => command.stdin(if question.is_some() { Stdio::piped() } else { Stdio::null() }).process_group(0),
    };
    command.stderr(if terms.with_person { Stdio::inherit() } else { Stdio::piped() });
    keep_ours(&mut command);
    for (key, _) in std::env::vars_os() {
        // Those of sinfo would change what it prints.
        if key.to_string_lossy().starts_with("SINFO_") || key == "SLURM_CLUSTERS" {
            command.env_remove(key);
        }
    }
    die_with_us(&mut command);
    let mut child = command.spawn().map_err(|e| {
        let why = match e.kind() {
            io::ErrorKind::NotFound if !program.argv[0].contains('/') => "it is not in PATH".to_string(),
            io::ErrorKind::NotFound => "there is no such program".to_string(),
            io::ErrorKind::PermissionDenied => "it is not executable".to_string(),
            _ => e.to_string(),
        };
        Error::usage(format!("`{name}` cannot be run: {why}")).hint(program.hint.clone())
    })?;
    // Closed at once behind the question. Who does not read it closes the pipe, and what it prints says more.
    if let (Some(mut stdin), Some(question)) = (child.stdin.take(), question) {
        let _ = stdin.write_all(question);
    }
    let mut running = Running { child, has_group, ended: false };
    let told = running.talk(terms);
    let complaint = |stderr: &[u8]| match sanitize(String::from_utf8_lossy(stderr).trim()) {
        said if said.is_empty() => String::new(),
        said => format!("; it said: {said}"),
    };
    match told {
        Ok(Ended { status, stdout, stderr }) => {
            Ok(Reply { success: status.success(), stdout, failure: format!("`{name}` failed ({status}){}", complaint(&stderr)) })
        }
        Err(Cut::Late(stderr)) => Err(Error::usage(format!("`{name}` did not end within {} s and was killed{}", terms.deadline.as_secs(), complaint(&stderr)))),
        Err(Cut::Long) => Err(Error::usage(format!("`{name}` printed more than {} bytes and was killed", terms.output_bytes_max))),
        Err(Cut::Io(e)) => Err(Error::internal(format!("`{name}` cannot be read from: {e}"))),
    }
}

/// Reads a file or a pipe to its end, as what a program prints is read; a pipe that nobody writes into is waited for until the deadline.
///
/// # Errors
/// It cannot be read, takes too long or holds too much; the end of a sentence that names it.
pub fn read(mut file: File, terms: &Terms) -> std::result::Result<Zeroizing<Vec<u8>>, String> {
    let deadline = Instant::now() + terms.deadline;
    let told = |e: io::Error| format!("cannot be read: {e}");
    let mut content = Zeroizing::new(Vec::with_capacity(terms.room()));
    never_block(file.as_raw_fd()).map_err(told)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("did not end within {} s", terms.deadline.as_secs()));
        }
        wait_for([Some(file.as_raw_fd()), None], left).map_err(told)?;
        let ended = drain(&mut Some(&mut file), &mut content, terms.output_bytes_max + 1).map_err(told)?;
        if content.len() > terms.output_bytes_max {
            return Err(format!("holds more than {} bytes", terms.output_bytes_max));
        }
        if ended {
            return Ok(content);
        }
    }
}

/// The controlling terminal, to read from and write to; `None` without one.
fn terminal() -> Option<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/tty").ok()
}

/// Takes what is for us alone, such as what opens vaults, out of a child's environment.
pub(in crate::command) fn keep_ours(command: &mut Command) {
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("REGPROV_")) {
        command.env_remove(key);
    }
}

/// Lets the child end when this process does, also by a signal that only we get: it has a process group of its own.
pub(super) fn die_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe and PR_SET_PDEATHSIG takes one integer.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

/// How a program ended, and what it said.
struct Ended {
    status: ExitStatus,
    stdout: Zeroizing<Vec<u8>>,
    stderr: Vec<u8>,
}

/// Why a program's output was not waited for any longer.
enum Cut {
    /// With what it said on standard error.
    Late(Vec<u8>),
    Long,
    Io(io::Error),
}

/// A child that does not outlive this value, nor what it started when it has a process group of its own.
struct Running {
    child: Child,
    has_group: bool,
    ended: bool,
}

impl Running {
    /// Reads both streams to their ends and waits for the exit status.
    fn talk(&mut self, terms: &Terms) -> std::result::Result<Ended, Cut> {
        let deadline = Instant::now() + terms.deadline;
        let bytes_max = terms.output_bytes_max;
        let mut out = self.child.stdout.take();
        let mut err = self.child.stderr.take();
        let (mut stdout, mut stderr) = (Zeroizing::new(Vec::with_capacity(terms.room())), Vec::new());
        for fd in [out.as_ref().map(AsRawFd::as_raw_fd), err.as_ref().map(AsRawFd::as_raw_fd)].into_iter().flatten() {
            never_block(fd).map_err(Cut::Io)?;
        }
        while out.is_some() || err.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Cut::Late(stderr));
            }
            wait_for([out.as_ref().map(AsRawFd::as_raw_fd), err.as_ref().map(AsRawFd::as_raw_fd)], left).map_err(Cut::Io)?;
            if drain(&mut out, &mut stdout, bytes_max + 1).map_err(Cut::Io)? {
                out = None;
            }
            if drain(&mut err, &mut stderr, usize::MAX).map_err(Cut::Io)? {
                err = None;
            }
            if stdout.len() > bytes_max {
                return Err(Cut::Long);
            }
            stderr.truncate(COMPLAINT_BYTES_KEPT);
        }
        loop {
            if let Some(status) = self.child.try_wait().map_err(Cut::Io)? {
                self.ended = true;
                return Ok(Ended { status, stdout, stderr });
            }
            if Instant::now() >= deadline {
                return Err(Cut::Late(stderr));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let (true, Ok(group)) = (self.has_group, libc::pid_t::try_from(self.child.id())) {
            // SAFETY: kill takes two integers. The child was not waited for, so its process group is still its own.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn never_block(fd: RawFd) -> io::Result<()> {
    // SAFETY: fcntl with these commands takes integers; the descriptor is open, its owner is borrowed by the caller.
    let done = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        flags >= 0 && libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) >= 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Until one of the descriptors has something to read or has ended, or the time is over.
fn wait_for(fds: [Option<RawFd>; 2], most: Duration) -> io::Result<()> {
    // poll passes over negative descriptors.
    let mut polled = fds.map(|fd| libc::pollfd { fd: fd.unwrap_or(-1), events: libc::POLLIN, revents: 0 });
    let millis = libc::c_int::try_from(most.as_millis() + 1).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer and the count describe the array, which lives until poll returns.
    if unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, millis) } >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        e if e.kind() == io::ErrorKind::Interrupted => Ok(()),
        e => Err(e),
    }
}

/// Reads what is there, up to a bound of the buffer; whether the stream ended.
fn drain(stream: &mut Option<impl Read>, into: &mut Vec<u8>, most: usize) -> io::Result<bool> {
    let Some(stream) = stream else { return Ok(true) };
    let mut chunk = Zeroizing::new([0; CHUNK_BYTES]);
    // A bounded number of reads, so that one stream cannot keep the other and the deadline waiting.
    for _ in 0..64 {
        if into.len() >= most {
            return Ok(false);
        }
        match stream.read(&mut chunk[..]) {
            Ok(0) => return Ok(true),
            Ok(n) => into.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sh(script: &str) -> Program {
        Program { argv: ["/bin/sh", "-c", script].map(str::to_string).to_vec(), hint: "a hint".into() }
    }

    const LONG: Duration = Duration::from_secs(60);

    fn run_within(program: &Program, deadline: Duration, output_bytes_max: usize) -> Result<Vec<u8>> {
        run(program, &Terms { deadline, output_bytes_max, is_secret: false, with_person: false }).map(|out| out.to_vec())
    }

    fn printed(script: &str) -> Vec<u8> {
        run_within(&sh(script), LONG, 1000).unwrap()
    }

    #[test]
    fn output_comes_back_whole() {
        assert_eq!(printed("echo a; echo b >&2; echo c"), b"a\nc\n");
        let much = run_within(&sh("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"), LONG, 3_000_000).unwrap();
        assert_eq!(much.len(), 3_000_000);
        assert_eq!(printed("cat; echo end"), b"end\n", "its input is empty");
    }

    #[test]
    fn a_program_is_asked_on_its_input() {
        let terms = Terms { deadline: LONG, output_bytes_max: 1000, is_secret: true, with_person: false };
        let reply = ask(&sh("read -r x; echo got $x; cat; echo no >&2; exit 3"), &terms, b"it\nall").unwrap();
        assert_eq!((reply.success, reply.stdout.as_slice()), (false, b"got it\nall".as_slice()));
        assert!(reply.failure.contains("failed (exit status: 3); it said: no"), "{}", reply.failure);
        // One that does not read is no error of ours.
        assert!(ask(&sh("exec <&-; sleep 0.1; echo x"), &terms, b"it").unwrap().success);
        assert!(ask(&sh("cat"), &terms, &[b'x'; QUESTION_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_secret_does_not_move_in_memory() {
        for (is_secret, room) in [(true, 40_000 + 1 + CHUNK_BYTES), (false, 0)] {
            let terms = Terms { deadline: LONG, output_bytes_max: 40_000, is_secret, with_person: false };
            let out = run(&sh("for i in 1 2 3 4; do head -c 10000 /dev/zero; done"), &terms).unwrap();
            assert_eq!(out.len(), 40_000);
            assert_eq!(out.capacity() == room, is_secret, "it is as large as it was made");
        }
    }

    #[test]
    fn a_pipe_is_read_to_its_end_or_its_deadline() {
        use std::io::Write as _;
        let terms = Terms { deadline: Duration::from_secs(1), output_bytes_max: 100, is_secret: true, with_person: false };
        let piped = |text: &[u8], stays: bool| {
            let (reader, mut writer) = io::pipe().unwrap();
            writer.write_all(text).unwrap();
            let writer = stays.then_some(writer);
            let got = read(File::from(std::os::fd::OwnedFd::from(reader)), &terms).map(|bytes| bytes.to_vec());
            drop(writer);
            got
        };
        assert_eq!(piped(b"abc\n", false).unwrap(), b"abc\n");
        assert_eq!(piped(&[7; 100], false).unwrap(), [7; 100]);
        assert_eq!(piped(&[7; 101], true).unwrap_err(), "holds more than 100 bytes");
        assert_eq!(piped(b"abc", true).unwrap_err(), "did not end within 1 s");
    }

    #[test]
    fn faults_say_what_and_why() {
        #[track_caller]
        fn check(program: &Program, want: &str) {
            let why = run_within(program, LONG, 1000).unwrap_err().message;
            assert!(why.contains(want), "{why}");
        }
        check(&sh("echo 'no \u{1b}[31mluck' >&2; exit 3"), r"`/bin/sh` failed (exit status: 3); it said: no \u{1b}[31mluck");
        check(&sh("kill -9 $$"), "failed (signal: 9");
        check(&sh("head -c 1001 /dev/zero; sleep 600"), "printed more than 1000 bytes");
        check(&Program { argv: vec!["no-such-program-anywhere".into()], hint: String::new() }, "it is not in PATH");
        check(&Program { argv: vec!["/etc/no-such".into()], hint: String::new() }, "there is no such program");
        check(&Program { argv: vec!["/etc/passwd".into()], hint: String::new() }, "it is not executable");
    }

    /// Whether the process is there and no zombie.
    fn lives(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
    }

    #[test]
    fn at_the_deadline_all_that_it_started_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        for ending in ["wait", "exec >&- 2>&-; wait"] {
            let script = format!("sleep 600 & echo $! > {0}; echo $$ >> {0}; echo stuck >&2; {ending}", pids.display());
            let start = Instant::now();
            let why = run_within(&sh(&script), Duration::from_secs(1), 1000).unwrap_err().message;
            assert!(why.contains("did not end within 1 s and was killed; it said: stuck"), "{why}");
            assert!(start.elapsed() < Duration::from_secs(20));
            for pid in fs::read_to_string(&pids).unwrap().lines() {
                let gone = (0..1000).any(|_| {
                    !lives(pid) || {
                        std::thread::sleep(LOOK_EVERY);
                        false
                    }
                });
                assert!(gone, "{pid} lives");
            }
        }
    }
}
