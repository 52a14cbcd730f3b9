//! In a terminal of its own: the bar of each verb that contacts hosts, and Ctrl-C as a person types it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

const CTRL_C: &[u8] = b"\x03";

/// How long a word may be waited for.
const PATIENCE_MILLISECONDS: i32 = 30_000;

/// A program in a terminal.
struct Terminal {
    master: File,
    slave: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(mut command: Command) -> Terminal {
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
        let child = command.spawn().unwrap();
        Terminal { master, slave, child, seen: String::new() }
    }

    /// Reads until the words stand on the terminal.
    fn until(&mut self, words: &str) {
        let mut part = [0; 4096];
        while !self.seen.contains(words) {
            use std::os::fd::AsRawFd as _;
            let mut ready = libc::pollfd { fd: self.master.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one struct, which lives until it returns.
            let ready = unsafe { libc::poll(&mut ready, 1, PATIENCE_MILLISECONDS) };
            assert!(ready > 0, "no {words:?} in {:?}", self.seen);
            let read = self.master.read(&mut part).unwrap_or_else(|e| panic!("{e}, and no {words:?} in {:?}", self.seen));
            self.seen += &String::from_utf8_lossy(&part[..read]);
        }
    }

    /// Whether a control character is echoed as `^C`.
    fn echoes_control_characters(&self) -> bool {
        use std::os::fd::AsRawFd as _;
        // SAFETY: termios is a struct of integers, for which zeros are a value; tcgetattr overwrites it.
        let mut settings: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open and the struct lives until it returns.
        assert_eq!(unsafe { libc::tcgetattr(self.slave.as_raw_fd(), &mut settings) }, 0);
        settings.c_lflag & libc::ECHOCTL != 0
    }
}

/// Two hosts that take connections and never say a word.
fn site(silent: &TcpListener) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("home/.ssh")).unwrap();
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
    let file = dir.path().join("home/.ssh/id_ed25519");
    fs::write(&file, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let inventory = format!(
        "version: 1\ndefaults: {{port: {port}, targets: [docker]}}\ngroups:\n  n: {{hosts: \"n[1-2]\", logins: [hub]}}\n\
         hosts:\n  n1: {{address: 127.0.0.1}}\n  n2: {{address: 127.0.0.2}}\nlogins:\n  hub: {{registry: docker.io, username: a, password: planted}}\n"
    );
    fs::write(dir.path().join("inventory.yml"), inventory).unwrap();
    dir
}

#[test]
fn every_verb_that_contacts_hosts_shows_them_and_hears_ctrl_c() {
    let silent = TcpListener::bind("0.0.0.0:0").unwrap();
    let site = site(&silent);
    let apply = ["apply", "inventory.yml", "--allow-plaintext", "--no-ssh-config"];
    let cases: [(&[&str], usize, &[&str]); 3] = [
        (&["ping", "inventory.yml", "--no-ssh-config"], 1, &["not attempted: stopped by a signal", "n[1-2] (2)", "2 hosts: 2 not attempted"]),
        (&["trust", "inventory.yml", "--no-ssh-config"], 1, &["stopped by a signal before all hosts had shown their keys"]),
        (&apply, 2, &["a second signal stops at once", "not attempted: n[1-2] (2)", "--resume"]),
    ];
    for (args, presses, words) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command
            .args(args)
            .current_dir(&site)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", site.path().join("home"))
            .env("TERM", "xterm")
            .env("NO_COLOR", "1");
        let mut terminal = Terminal::start(command);
        assert!(terminal.echoes_control_characters(), "the kernel's default");
        terminal.until("] 0/2 hosts");
        assert!(!terminal.seen.contains("asking ssh"), "it is not asked");
        terminal.until("n2");
        assert!(!terminal.echoes_control_characters(), "{args:?}: ^C would push the bar down");
        terminal.master.write_all(CTRL_C).unwrap();
        if presses == 2 {
            terminal.until("a second signal stops at once");
            terminal.master.write_all(CTRL_C).unwrap();
        }
        for word in words {
            terminal.until(word);
        }
        assert_eq!(terminal.child.wait().unwrap().code(), Some(130), "{args:?}");
        assert!(!terminal.seen.contains("^C"), "{:?}", terminal.seen);
        assert!(terminal.echoes_control_characters(), "{args:?}: the terminal is left as it was found");
    }
}
