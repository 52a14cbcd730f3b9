//! Whose rights the node program runs with, and the way to them through sudo or su. Pure: command lines, and a reader of what comes
//! back before the program speaks.
//!
//! sudo is given one constant command, so that a sudoers rule can name it: [`BOOTSTRAP`]. It reads one line byte by byte, which
//! is the node program as the login shell would have got it, and what follows on standard input is the program's. The line is sent only when
//! [`BOOTSTRAP`] has said that it runs: before that, sudo would take it for a password.
//!
//! Whether sudo keeps a copy of what passes is not asked of its configuration, which may lie in a directory server or a plugin, but
//! seen: a sudo that logs a standard stream puts a pipe of its own in its place (sudo 1.8.20 and newer, `src/exec_pty.c`), so the streams before
//! and behind sudo are compared by the names that the kernel gives them.

use std::borrow::Cow;

use super::Program;
use crate::model::text::sanitize;

/// Whose rights the node program runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// Those of the user who logged in.
    Login,
    /// Those of this user, through sudo; `None` is root.
    Sudo {
        /// The user.
        user: Option<String>,
    },
    /// Those of this user, through su, which asks root for no password.
    Su {
        /// The user.
        user: String,
    },
}

/// The prompt that we tell sudo to show. It names no user, so that nothing in it is expanded.
pub const PROMPT: &str = "[regprov] sudo password: ";

/// The command that sudo and su run: the same on every host and in every run.
pub const BOOTSTRAP: &str = r#"echo regprov; readlink /proc/self/fd/0; readlink /proc/self/fd/1; IFS= read -r p && eval "$p""#;

/// Before sudo or su: says which streams they get, and speaks the language whose sentences are known here. Its arguments are the command.
const BEFORE: &str = "cd /; LC_ALL=C; export LC_ALL; echo; echo regprov; readlink /proc/self/fd/0; readlink /proc/self/fd/1; \
    command -v \"$1\" >/dev/null || { echo regprov-none; exit 1; }; exec \"$@\"";

/// What may come before the program is started, on standard output or standard error.
const NOISE_BYTES_MAX: usize = 64 << 10;

impl RunAs {
    /// What the login shell (sh, csh or fish) is asked to run.
    pub fn command(&self, program: Program, password: bool) -> Cow<'static, str> {
        let way = match self {
            RunAs::Login => return Cow::Borrowed(program.command()),
            RunAs::Sudo { user } => {
                let user = user.as_deref().unwrap_or("root");
                let asks = if password { format!("-S -k -p '{PROMPT}'") } else { "-n".to_string() };
                format!("sudo {asks} -u '{user}' -- /bin/sh -c '{BOOTSTRAP}'")
            }
            // busybox wants the options first.
            RunAs::Su { user } => format!("su -s /bin/sh -c '{BOOTSTRAP}' '{user}'"),
        };
        Cow::Owned(format!("exec /bin/sh -c '{BEFORE}' regprov {way}"))
    }

    /// The program that gives the rights.
    fn way(&self) -> &'static str {
        if matches!(self, RunAs::Su { .. }) { "su" } else { "sudo" }
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read on.
    Wait,
    /// sudo asks for the password, with our prompt.
    Password,
    /// Send the node program as one line.
    Send,
    /// The password was wrong: nothing more is sent, and the connection ends.
    WrongPassword,
    /// There is no way, and why.
    Refused(String),
}

/// What the password that was sent has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// sudo took it: the command behind it runs.
    Right,
    /// sudo refuses for another reason, which it says only to who gave the right one, or needed none.
    NotWrong,
    /// Nobody can say.
    Unknown,
}

/// Reads what comes until the node program can be sent.
pub struct Entrance<'a> {
    run_as: &'a RunAs,
    /// Standard output that is not read yet.
    out: Vec<u8>,
    /// Standard error since the answer, or since the start.
    err: Vec<u8>,
    /// Lines of interest: a word, and the names of two streams; twice.
    lines: Vec<String>,
    bytes: usize,
    answered: bool,
}

impl<'a> Entrance<'a> {
    /// Nothing has come yet.
    pub fn new(run_as: &'a RunAs) -> Self {
        Entrance { run_as, out: Vec::new(), err: Vec::new(), lines: Vec::new(), bytes: 0, answered: false }
    }

    /// Takes what came on standard output.
    pub fn out(&mut self, bytes: &[u8]) -> Step {
        if let Some(step) = self.count(bytes) {
            return step;
        }
        self.out.extend_from_slice(bytes);
        while let Some(end) = self.out.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.out.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).trim_end_matches('\r').to_string();
            if line == "regprov-none" && self.lines.len() == 3 {
                let (way, out) = match self.run_as.way() {
                    "sudo" => ("sudo", "install it, or log in as root without `become`"),
                    way => (way, "install it (util-linux)"),
                };
                return Step::Refused(format!("there is no {way} on the node; {out}"));
            }
            match self.lines.len() % 3 {
                0 if line == "regprov" => self.lines.push(line),
                0 => {}
                _ if is_stream(&line) => self.lines.push(line),
                _ => return Step::Refused("the node does not tell which streams its programs have; it needs readlink, and /proc".to_string()),
            }
            if self.lines.len() == 6 {
                return self.compare();
            }
        }
        Step::Wait
    }

    /// Takes what came on standard error.
    pub fn err(&mut self, bytes: &[u8]) -> Step {
        if let Some(step) = self.count(bytes) {
            return step;
        }
        self.err.extend_from_slice(bytes);
        if self.answered {
            let wrong = [PROMPT, "Sorry, try again"].iter().any(|said| find(&self.err, said).is_some());
            return if wrong { Step::WrongPassword } else { Step::Wait };
        }
        match find(&self.err, PROMPT) {
            None => Step::Wait,
            Some(at) => {
                let rest = self.err.split_off(at + PROMPT.len());
                self.err = rest;
                self.answered = true;
                Step::Password
            }
        }
    }

    /// Whether somebody may be waiting for an answer that we do not give: the last line of a stream has no end.
    pub fn asks(&self) -> bool {
        let open = |bytes: &[u8]| bytes.last().is_some_and(|b| *b != b'\n');
        open(&self.out) || open(&self.err)
    }

    /// What to say when [`Entrance::asks`] and nothing more comes.
    pub fn unanswered(&self) -> String {
        let last = [&self.err, &self.out].into_iter().filter(|b| b.last().is_some_and(|b| *b != b'\n')).find_map(|b| b.rsplit(|b| *b == b'\n').next());
        let said = sanitize(&String::from_utf8_lossy(last.unwrap_or_default()));
        format!("{} asks what regprov does not answer: \"{said}\"; a PAM module on the node asks for more than the password of sudo", self.run_as.way())
    }

    /// What to say when everything ended before the program could be sent.
    pub fn ended(&self) -> Step {
        let text = String::from_utf8_lossy(&self.err);
        let way = self.way();
        match self.known_sentence() {
            Some(means) => Step::Refused(means.to_string()),
            // Whatever sudo calls it: nobody else is to get this password.
            None if self.answered => Step::WrongPassword,
            None => {
                let out = String::from_utf8_lossy(&self.out);
                let said = text.lines().rev().chain(out.lines()).map(str::trim).find(|l| !l.is_empty()).map(sanitize);
                let said = said.map_or("; it said nothing".to_string(), |s| format!("; it said: {s}"));
                let who = if self.lines.is_empty() { "the login shell" } else { way };
                Step::Refused(format!("{who} did not start the node program{said}"))
            }
        }
    }

    /// What the password has come to, when there is no way in.
    pub fn password_counted(&self) -> Counted {
        match self.lines.len() > 3 {
            true => Counted::Right,
            false if self.known_sentence().is_some() => Counted::NotWrong,
            false => Counted::Unknown,
        }
    }

    /// What sudo's own words mean, where they are known.
    fn known_sentence(&self) -> Option<&'static str> {
        let text = String::from_utf8_lossy(&self.err);
        SENTENCES.iter().find(|(sentence, _)| self.way() == "sudo" && text.contains(sentence)).map(|(_, means)| *means)
    }

    fn way(&self) -> &'static str {
        self.run_as.way()
    }

    fn count(&mut self, bytes: &[u8]) -> Option<Step> {
        self.bytes += bytes.len();
        (self.bytes > NOISE_BYTES_MAX)
            .then(|| Step::Refused("more than 64 KiB were printed before the node program could start; check the rc files".to_string()))
    }

    /// Whether anything stands between us and the program.
    fn compare(&self) -> Step {
        let (before, behind) = self.lines.split_at(3);
        let which = match (before[1] == behind[1], before[2] == behind[2]) {
            (true, true) => return Step::Send,
            (false, _) => "input",
            (true, false) => "output",
        };
        let way = self.run_as.way();
        Step::Refused(format!(
            "{way} passes the {which} of its programs through its own hands, as it does when it records them (log_input, log_output), and would keep \
             passwords in clear; nothing was sent. Exempt the command in sudoers: `Defaults!/bin/sh !log_input, !log_output` (before sudo 1.8.20 also !use_pty)"
        ))
    }
}

/// Where a text stands; what stands before it may be no UTF-8.
fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|w| w == text.as_bytes())
}

/// `pipe:[123]`, `socket:[123]`, or a path: what the kernel calls an open file.
fn is_stream(line: &str) -> bool {
    line.ends_with(']') && line.contains(":[") || line.starts_with('/')
}

/// What sudo says in the C locale (sudo 1.8 and 1.9, `src/` and `plugins/sudoers/`), and what it means here.
const SENTENCES: [(&str, &str); 12] = [
    ("is not in the sudoers file", "the SSH user is not in sudoers there; add a rule (examples/sudoers), or set `user: root`"),
    ("is not allowed to run sudo", "the SSH user may not run sudo there; add a rule (examples/sudoers), or set `user: root`"),
    ("may not run sudo", "the SSH user may not run sudo there; add a rule (examples/sudoers), or set `user: root`"),
    ("is not allowed to execute", "sudoers there does not allow the SSH user the command of regprov; add a rule (examples/sudoers)"),
    (
        "a password is required",
        "sudo there wants a password; give it with --ask-become-pass (-K) or `become_password:`, or add a NOPASSWD rule (examples/sudoers)",
    ),
    ("you must have a tty", "sudo there wants a terminal (requiretty), which regprov never has; exempt its user in sudoers: `Defaults:USER !requiretty`"),
    (
        "a terminal is required",
        "sudo there wants a password; give it with --ask-become-pass (-K) or `become_password:`, or add a NOPASSWD rule (examples/sudoers)",
    ),
    ("account validation failure", "the SSH user's account is locked there, says sudo; unlock it"),
    ("ccount or password is expired", "the SSH user's account or password has expired there, says sudo; renew it"),
    ("ccount expired", "the SSH user's account has expired there, says sudo; renew it"),
    ("unknown user", "the user of the target does not exist there, says sudo"),
    ("no new privileges", "the login there may not gain privileges (no_new_privs), so that sudo cannot work; log in as root"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: RunAs = RunAs::Sudo { user: None };
    const BEFORE_SUDO: &[u8] = b"Welcome\nprompt> \nregprov\nsocket:[1]\nsocket:[1]\n";

    /// What comes, `!` before standard error, and the last step that is not a wait.
    #[track_caller]
    fn check(pieces: &[&str], want: &Step) {
        let mut entrance = Entrance::new(&ROOT);
        let mut last = Step::Wait;
        for piece in pieces {
            let step = match (piece.strip_prefix('!'), *piece) {
                (_, "END") => entrance.ended(),
                (Some(err), _) => entrance.err(err.as_bytes()),
                (None, out) => entrance.out(out.as_bytes()),
            };
            last = if step == Step::Wait { last } else { step };
        }
        match (&last, want) {
            (Step::Refused(why), Step::Refused(want)) => assert!(why.contains(want), "{why}"),
            _ => assert_eq!(&last, want),
        }
    }

    #[test]
    fn the_way_in() {
        let before = std::str::from_utf8(BEFORE_SUDO).unwrap();
        let prompt = format!("!{PROMPT}");
        let refused = |why: &str| Step::Refused(why.to_string());
        check(&[before], &Step::Wait);
        check(&[before, "regprov\nsocket:[1]\nsocket:[1]\n"], &Step::Send);
        check(&[before, "We trust you\nregprov\nsocket:[1]\nsoc", "ket:[1]\n"], &Step::Send);
        check(&[before, "regprov\npipe:[7]\nsocket:[1]\n"], &refused("passes the input"));
        check(&[before, "regprov\nsocket:[1]\npipe:[7]\n"], &refused("passes the output"));
        check(&[before, "regprov\nregprov\n"], &refused("needs readlink"));
        check(&[before, "regprov-none\n"], &refused("there is no sudo"));
        check(&[before, "!lecture\n\n[regprov] sudo pass", "!word: "], &Step::Password);
        check(&[before, &prompt, "!Sorry, try again.\n"], &Step::WrongPassword);
        check(&[before, &prompt, &prompt], &Step::WrongPassword);
        check(&[before, &prompt, "!\n", "regprov\nsocket:[1]\nsocket:[1]\n"], &Step::Send);
        check(&[before, &prompt, "!sudo: 1 incorrect password attempt\n", "END"], &Step::WrongPassword);
        check(&[before, &prompt, "!a is not in the sudoers file.\n", "END"], &refused("not in sudoers"));
        check(&[before, "!sudo: a password is required\n", "END"], &refused("--ask-become-pass"));
        check(&[before, "!sudo: \x1b[2Jsome plugin failed\n", "END"], &refused("sudo did not start the node program; it said: sudo: \\u{1b}[2Jsome"));
        check(&["!sh: not allowed\n", "END"], &refused("the login shell did not start"));
        check(&[&"x".repeat(NOISE_BYTES_MAX + 1)], &refused("64 KiB"));
        check(&[&"x\n".repeat(NOISE_BYTES_MAX)], &refused("64 KiB"));
    }

    #[test]
    fn a_lecture_in_another_encoding_is_read_past() {
        let mut entrance = Entrance::new(&ROOT);
        assert_eq!(entrance.err(&[&b"\xfc\xe4\xf6\xff\n"[..], PROMPT.as_bytes()].concat()), Step::Password);
        assert_eq!(entrance.err(b"\xff\xff\xff\n"), Step::Wait);
        assert_eq!(entrance.err(PROMPT.as_bytes()), Step::WrongPassword);
    }

    #[test]
    fn who_asks_is_seen() {
        let asks = |err: &str| {
            let mut e = Entrance::new(&ROOT);
            e.out(BEFORE_SUDO);
            e.err(err.as_bytes());
            (e.asks(), e.unanswered())
        };
        assert!(!asks("").0 && !asks("lecture\n").0);
        // Ours is no longer open once it was found.
        assert!(!asks(PROMPT).0);
        let (open, why) = asks("lecture\nVerification code\x1b[0m: ");
        assert!(open && why.contains("\"Verification code\\u{1b}[0m:\""), "{why}");
    }

    #[test]
    fn the_command_lines_read_alike_in_sh_csh_and_fish() {
        for run_as in [ROOT, RunAs::Sudo { user: Some("alice".into()) }, RunAs::Su { user: "alice".into() }] {
            for password in [true, false] {
                let line = run_as.command(Program::Files, password);
                assert!(!line.contains(['\n', '!', '\\']), "{line}");
                assert_eq!(line.matches('\'').count() % 2, 0, "{line}");
            }
        }
        assert!(ROOT.command(Program::Files, true).ends_with(&format!("sudo -S -k -p '{PROMPT}' -u 'root' -- /bin/sh -c '{BOOTSTRAP}'")));
        assert!(ROOT.command(Program::Files, false).ends_with(&format!("sudo -n -u 'root' -- /bin/sh -c '{BOOTSTRAP}'")));
    }
}
