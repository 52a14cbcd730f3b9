//! What [`Program::Tasks`](crate::node::Program::Tasks) is asked to run, as the lines that it reads, and what came of it.

use zeroize::Zeroizing;

use crate::model::{HelperName, RemotePath, ServiceUnit};

/// The most that is taken of what a task says on standard output, in bytes; tasks.sh has the same number, with room for the status.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// The most that is taken of what it says on standard error, in bytes; the same number stands in tasks.sh.
pub const ERRORS_BYTES_MAX: usize = 4 << 10;
/// The exit status of a [`Task::Restart`] of a service that was not running.
pub const NOT_RUNNING: u8 = 99;

/// What a credential helper is asked (docker/docker-credential-helpers, `credentials/credentials.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperVerb {
    /// Tell the login of the server whose name is the input.
    Get,
    /// Keep the login that is the input.
    Store,
    /// Forget the login of the server whose name is the input.
    Erase,
}

impl HelperVerb {
    /// The word of the command line.
    pub fn name(self) -> &'static str {
        match self {
            HelperVerb::Get => "get",
            HelperVerb::Store => "store",
            HelperVerb::Erase => "erase",
        }
    }
}

/// Something that a node runs. What is secret in it is its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task<'a> {
    /// `docker-credential-NAME VERB`, with this home.
    Helper {
        /// What it is asked.
        verb: HelperVerb,
        /// Which one.
        name: &'a HelperName,
        /// The home of the user whose logins it keeps.
        home: &'a RemotePath,
    },
    /// `curl -q -K -`: the input is its configuration.
    Curl,
    /// `logger -t regprov`: each line of the input is a line of the system's log.
    Log,
    /// Restarts a service, if it runs; [`NOT_RUNNING`] if it does not.
    Restart(ServiceUnit),
}

impl Task<'_> {
    /// The request's bytes: the task with its deadline, and its input as lines; a last line without its end gets one.
    pub fn encode(&self, seconds: u64, input: &str) -> Zeroizing<Vec<u8>> {
        let kind = match self {
            Task::Helper { verb, name, home } => format!("helper {} {} {home}", verb.name(), name.as_str()),
            Task::Curl => "curl".to_string(),
            Task::Log => "log".to_string(),
            Task::Restart(unit) => format!("restart {unit}"),
        };
        let head = format!("task {seconds} {} {kind}\n", input.lines().count());
        let mut out = Zeroizing::new(Vec::with_capacity(head.len() + input.len() + 1));
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(input.as_bytes());
        if !input.is_empty() && !input.ends_with('\n') {
            out.push(b'\n');
        }
        out
    }
}

/// What a task came to. Its words are data, and may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit status, 128 and the signal's number for a command that a signal ended.
    pub status: u8,
    /// Standard output.
    pub out: Zeroizing<Vec<u8>>,
    /// Standard error, at most [`ERRORS_BYTES_MAX`].
    pub err: Zeroizing<Vec<u8>>,
}

/// What came of a task, as the reply tells it.
#[derive(Clone, PartialEq, Eq)]
pub enum Ended {
    /// It ended by itself.
    Ran(Ran),
    /// It said more than [`OUTPUT_BYTES_MAX`], or went on talking behind its end.
    TooMuch,
    /// It took longer than it may, and was ended with the program.
    Late,
}

/// The body of a reply: standard output, a line feed, the exit status, and `err` bytes of standard error.
pub(super) fn ended(body: &[u8], err: usize) -> Option<Ended> {
    let (out, err) = body.split_at_checked(body.len().checked_sub(err)?)?;
    let status = out.iter().rposition(|b| *b == b'\n').and_then(|at| {
        let number = std::str::from_utf8(&out[at + 1..]).ok().filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
        Some((at, number.parse::<u8>().ok()?))
    });
    Some(match status {
        Some((at, status)) if at <= OUTPUT_BYTES_MAX => Ended::Ran(Ran { status, out: Zeroizing::new(out[..at].to_vec()), err: Zeroizing::new(err.to_vec()) }),
        _ => Ended::TooMuch,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let home = RemotePath::parse("/home/alice").unwrap();
        let name = HelperName::parse("ecr-login").unwrap();
        #[track_caller]
        fn check(task: Task<'_>, input: &str, want: &str) {
            assert_eq!(String::from_utf8_lossy(&task.encode(7, input)), want);
        }
        check(Task::Helper { verb: HelperVerb::Get, name: &name, home: &home }, "nvcr.io", "task 7 1 helper get ecr-login /home/alice\nnvcr.io\n");
        check(Task::Helper { verb: HelperVerb::Store, name: &name, home: &home }, "{}\n", "task 7 1 helper store ecr-login /home/alice\n{}\n");
        check(Task::Curl, "url = \"x\"\nhead\n", "task 7 2 curl\nurl = \"x\"\nhead\n");
        check(Task::Log, "one\n\ntwo", "task 7 3 log\none\n\ntwo\n");
        check(Task::Restart(ServiceUnit::Rke2Agent), "", "task 7 0 restart rke2-agent\n");
    }

    #[test]
    fn replies() {
        let ran = |status, out: &str, err: &str| {
            Some(Ended::Ran(Ran { status, out: Zeroizing::new(out.as_bytes().to_vec()), err: Zeroizing::new(err.as_bytes().to_vec()) }))
        };
        #[track_caller]
        fn check(body: &[u8], err: usize, want: Option<Ended>) {
            assert!(ended(body, err) == want, "{}", String::from_utf8_lossy(body));
        }
        check(b"hello\n0", 0, ran(0, "hello", ""));
        check(b"hello\n\n\n127oops", 4, ran(127, "hello\n\n", "oops"));
        check(b"\n1", 0, ran(1, "", ""));
        check(b"0", 0, Some(Ended::TooMuch));
        check(b"", 0, Some(Ended::TooMuch));
        check(b"x\n0late words", 0, Some(Ended::TooMuch));
        check(b"x\n256", 0, Some(Ended::TooMuch));
        check(b"x\n+1", 0, Some(Ended::TooMuch));
        check(b"x\n0", 4, None);
        check(&[&vec![b'x'; OUTPUT_BYTES_MAX + 1][..], b"\n0"].concat(), 0, Some(Ended::TooMuch));
    }
}
