//! Sources of hosts: directories that are looked into, programs that are run, and whether they may be.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::inventory::{Entry, Program};
use crate::model::text::sanitize;

/// How long a program may take to name hosts.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(30);

/// The most that a program may print, in bytes: 100,000 hosts with their variables fit.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// The most that is kept of what it says on standard error, in bytes.
const COMPLAINT_BYTES_KEPT: usize = 8 << 10;

/// Names that one directory may have.
const ENTRIES_MAX: usize = 200_000;

/// How often a program that closed its output is looked at, until it ends.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The names in a directory, sorted; `None` when there is none.
///
/// # Errors
/// Says that it cannot be looked into.
pub fn list(path: &Path) -> Result<Option<Vec<Entry>>> {
    let trouble = |e: &io::Error| Error::usage(format!("{} cannot be looked into: {e}", path.display()));
    if !path.is_dir() {
        return Ok(None);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| trouble(&e))? {
        let name = entry.map_err(|e| trouble(&e))?.file_name();
        // A name that is no text names no host and no group.
        entries.extend(name.into_string().ok().map(|name| Entry { name }));
        if entries.len() > ENTRIES_MAX {
            return Err(Error::usage(format!("{} has more than {ENTRIES_MAX} files", path.display())));
        }
    }
    entries.sort();
    Ok(Some(entries))
}

/// Why what this file says must not run programs, as the end of a sentence: in CI a file may come from a merge request, and what others can
/// write may be theirs.
pub fn may_not_run(file: &Path) -> Option<String> {
    if is_ci() {
        return Some("CI is set".to_string());
    }
    let shown = sanitize(&file.display().to_string());
    let Ok(meta) = fs::metadata(file) else { return Some(format!("{shown} cannot be looked at")) };
    // SAFETY: geteuid takes and touches nothing.
    let me = unsafe { libc::geteuid() };
    if meta.uid() != me && meta.uid() != 0 {
        return Some(format!("{shown} belongs to another user (uid {})", meta.uid()));
    }
    let others = if meta.mode() & 0o002 != 0 { "everybody" } else { "its group" };
    (meta.mode() & 0o022 != 0).then(|| format!("{others} can write {shown} (mode {:04o})", meta.mode() & 0o7777))
}

/// Whether a CI system runs us: what we are given may come from a merge request, and others read what we print.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false")
}

/// Why a file is none of the repository in which an inventory lies (in the directory `beside`), as the end of a sentence. Where there is no
/// repository, that directory takes its place. Links count as what they lead to, and Git's own files, which hold a CI job's token, as outside.
pub fn outside_of_repository(path: &Path, beside: &Path) -> Option<String> {
    let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
    let Ok(beside) = fs::canonicalize(beside) else { return Some(format!("{} cannot be looked at", beside.display())) };
    let root = beside.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(&beside);
    // What is not there is told when it is read.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(e) => return Some(e.to_string()),
    };
    let inside = path.strip_prefix(root).is_ok_and(|rest| rest.components().all(|c| c.as_os_str() != ".git"));
    (!inside).then(|| format!("CI is set, and it is no file of the repository at {}", root.display()))
}

/// Runs a program without a shell and without input, and returns what it printed. At the deadline it is killed with all that it started.
/// What opens vaults is not in its environment.
///
/// # Errors
/// It cannot be started, fails, takes too long or prints too much; what it said on standard error is quoted.
pub fn run(program: &Program) -> Result<Vec<u8>> {
    run_within(program, PROGRAM_DEADLINE, OUTPUT_BYTES_MAX)
}

fn run_within(program: &Program, deadline: Duration, bytes_max: usize) -> Result<Vec<u8>> {
    let name = sanitize(&program.argv[0]);
    let mut command = Command::new(&program.argv[0]);
    command.args(&program.argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    for (key, _) in std::env::vars_os() {
        // Those of sinfo would change what it prints.
        if key.to_string_lossy().starts_with("REGPROV_") || key.to_string_lossy().starts_with("SINFO_") || key == "SLURM_CLUSTERS" {
            command.env_remove(key);
        }
    }
    die_with_us(&mut command);
    let child = command.spawn().map_err(|e| {
        let why = match e.kind() {
            io::ErrorKind::NotFound if !program.argv[0].contains('/') => "it is not in PATH".to_string(),
            io::ErrorKind::NotFound => "there is no such program".to_string(),
            io::ErrorKind::PermissionDenied => "it is not executable".to_string(),
            _ => e.to_string(),
        };
        Error::usage(format!("`{name}` cannot be run: {why}")).hint(program.hint.clone())
    })?;
    let mut running = Running { child, ended: false };
    let told = running.talk(Instant::now() + deadline, bytes_max);
    let complaint = |stderr: &[u8]| match sanitize(String::from_utf8_lossy(stderr).trim()) {
        said if said.is_empty() => String::new(),
        said => format!("; it said: {said}"),
    };
    match told {
        Ok((status, stdout, _)) if status.success() => Ok(stdout),
        Ok((status, _, stderr)) => Err(Error::usage(format!("`{name}` failed ({status}){}", complaint(&stderr)))),
        Err(Cut::Late(stderr)) => Err(Error::usage(format!("`{name}` did not end within {} s and was killed{}", deadline.as_secs(), complaint(&stderr)))),
        Err(Cut::Long) => Err(Error::usage(format!("`{name}` printed more than {bytes_max} bytes and was killed"))),
        Err(Cut::Io(e)) => Err(Error::internal(format!("`{name}` cannot be read from: {e}"))),
    }
}

/// Lets the child end when this process does, also by a signal that only we get: it has a process group of its own.
fn die_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe and PR_SET_PDEATHSIG takes one integer.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

/// Why a program's output was not waited for any longer.
enum Cut {
    /// With what it said on standard error.
    Late(Vec<u8>),
    Long,
    Io(io::Error),
}

/// A child with a process group of its own, which does not outlive this value.
struct Running {
    child: Child,
    ended: bool,
}

impl Running {
    /// Reads both streams to their ends and waits for the exit status.
    fn talk(&mut self, deadline: Instant, bytes_max: usize) -> std::result::Result<(ExitStatus, Vec<u8>, Vec<u8>), Cut> {
        let mut out = self.child.stdout.take();
        let mut err = self.child.stderr.take();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
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
                return Ok((status, stdout, stderr));
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
        if !self.ended
            && let Ok(group) = libc::pid_t::try_from(self.child.id())
        {
            // SAFETY: kill takes two integers. The child was not waited for, so its process group is still its own.
            unsafe { libc::kill(-group, libc::SIGKILL) };
            let _ = self.child.wait();
        }
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
    let mut chunk = [0; 16 << 10];
    // A bounded number of reads, so that one stream cannot keep the other and the deadline waiting.
    for _ in 0..64 {
        if into.len() >= most {
            return Ok(false);
        }
        match stream.read(&mut chunk) {
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn sh(script: &str) -> Program {
        Program { argv: ["/bin/sh", "-c", script].map(str::to_string).to_vec(), hint: "a hint".into() }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_comes_back_whole() {
        assert_eq!(run(&sh("echo a; echo b >&2; echo c")).unwrap(), b"a\nc\n");
        let much = run_within(&sh("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"), LONG, 3_000_000).unwrap();
        assert_eq!(much.len(), 3_000_000);
        assert_eq!(run(&sh("cat; echo end")).unwrap(), b"end\n", "its input is empty");
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

    #[test]
    fn files_of_others_run_nothing() {
        // What is asked here is the file alone; CI is for the tests of the command line, which set it for a process of its own.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("i.yml");
        fs::write(&file, "").unwrap();
        for (mode, want) in [(0o644, None), (0o600, None), (0o664, Some("its group can write")), (0o646, Some("everybody can write"))] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let got = may_not_run(&file);
            if std::env::var_os("CI").is_none() {
                assert_eq!(got.is_some(), want.is_some(), "{mode:o}: {got:?}");
                assert!(want.is_none_or(|w| got.unwrap().contains(w)));
            }
        }
    }
}
