//! A terminal of the test's own, with a program in it and a person before it; it needs no other program.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a word may be waited for.
const PATIENCE_MILLISECONDS: i32 = 30_000;

/// A program in a terminal.
pub(crate) struct Terminal {
    master: File,
    slave: OwnedFd,
    pub(crate) child: Child,
    /// Whether it echoed control characters before the program began.
    pub(crate) echoed: bool,
    /// All that it showed so far.
    pub(crate) seen: String,
}

impl Terminal {
    /// Starts it as a session of its own, with all three standard streams there.
    pub(crate) fn start(mut command: Command) -> Terminal {
        let size = libc::winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut master, mut slave) = (0, 0);
        // SAFETY: it writes two integers, and reads a struct that lives.
        let opened = unsafe { libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), std::ptr::null(), &size) };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both were opened just now, for nobody else.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        let again = || slave.try_clone().unwrap();
        command.stdin(again()).stdout(again()).stderr(again());
        // SAFETY: two system calls, which are allowed between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                true => Err(std::io::Error::last_os_error()),
                false => Ok(()),
            })
        };
        let echoed = echoes_control_characters(&slave);
        let child = command.spawn().unwrap();
        Terminal { master, slave, child, echoed, seen: String::new() }
    }

    /// Reads until the words stand on the terminal.
    #[track_caller]
    pub(crate) fn until(&mut self, words: &str) {
        while !self.seen.contains(words) {
            assert!(self.read(PATIENCE_MILLISECONDS), "no {words:?} in {:?}", self.seen);
        }
    }

    /// Reads until the program ends, and returns its exit code; everything that it said is in `seen` then.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => drop(self.read(10)),
            }
            assert!(start.elapsed() < Duration::from_millis(PATIENCE_MILLISECONDS as u64), "it does not end: {:?}", self.seen);
        };
        while self.read(0) {}
        status.code()
    }

    /// What a person types.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads what is there within so many milliseconds; whether there was anything.
    fn read(&mut self, milliseconds: i32) -> bool {
        let mut part = [0; 4096];
        let mut ready = libc::pollfd { fd: self.master.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one struct, which lives until it returns.
        if unsafe { libc::poll(&mut ready, 1, milliseconds) } <= 0 {
            return false;
        }
        let read = self.master.read(&mut part).unwrap_or_else(|e| panic!("{e}, after {:?}", self.seen));
        self.seen += &String::from_utf8_lossy(&part[..read]);
        true
    }

    /// Whether a control character is echoed as `^C`.
    pub(crate) fn echoes_control_characters(&self) -> bool {
        echoes_control_characters(&self.slave)
    }
}

fn echoes_control_characters(terminal: &OwnedFd) -> bool {
    // SAFETY: termios is a struct of integers, for which zeros are a value; tcgetattr overwrites it.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and the struct lives until it returns.
    assert_eq!(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut settings) }, 0);
    settings.c_lflag & libc::ECHOCTL != 0
}
