//! What a command reads from and writes to, so that tests can stand in for a terminal.

use std::fmt;
use std::io::{self, IsTerminal, Read, Write};

use zeroize::Zeroizing;

use super::{given, terminal};
use crate::error::{Error, Result};
use crate::model::Secret;
use crate::model::login::{self, PASSWORD_BYTES_MAX, check_password};
use crate::model::text::escape;

/// The streams of a command and the one way to ask its user.
pub struct Console<'a> {
    /// Where a password may come from.
    pub stdin: &'a mut dyn Read,
    /// Whether nobody pipes anything in.
    pub stdin_is_terminal: bool,
    /// For results.
    pub stdout: &'a mut dyn Write,
    /// Whether a person (and a scrollback) reads the results.
    pub stdout_is_terminal: bool,
    /// For what is told beside the results.
    pub stderr: &'a mut dyn Write,
    /// Asks on the terminal, without echo, for what its argument names.
    pub ask: &'a mut dyn FnMut(&str) -> Result<Secret>,
}

impl Console<'_> {
    /// Runs a command with the streams of this process.
    pub fn of_process<T>(run: impl FnOnce(&mut Console<'_>) -> T) -> T {
        run(&mut Console {
            stdin: &mut io::stdin().lock(),
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout: &mut io::stdout().lock(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr: &mut io::stderr().lock(),
            ask: &mut ask_terminal,
        })
    }

    /// As [`Console::of_process`], for a command that waits for others.
    pub async fn of_process_async<T>(run: impl AsyncFnOnce(&mut Console<'_>) -> T) -> T {
        run(&mut Console {
            stdin: &mut io::stdin().lock(),
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout: &mut io::stdout().lock(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr: &mut io::stderr().lock(),
            ask: &mut ask_terminal,
        })
        .await
    }

    /// Writes a result.
    pub fn print(&mut self, result: &[u8]) -> Result<()> {
        self.stdout.write_all(result).and_then(|()| self.stdout.flush()).map_err(|e| Error::vault(format!("the result cannot be written to stdout: {e}")))
    }

    /// Tells something beside the result; a closed stderr changes nothing.
    ///
    /// Whatever stands in it, a file's name for one, steers no terminal: line breaks stay, other control characters are shown.
    pub fn note(&mut self, line: impl fmt::Display) {
        let lines: Vec<String> = line.to_string().split('\n').map(escape).collect();
        let _ = writeln!(self.stderr, "{}", lines.join("\n"));
    }

    /// Refuses to show a secret on a terminal unless that was asked for.
    pub fn secret_may_be_printed(&self, reveal: bool) -> Result<()> {
        if self.stdout_is_terminal && !reveal {
            return Err(Error::usage("the result is secret and stdout is a terminal").hint("add --reveal, or send it to a file or a program"));
        }
        Ok(())
    }

    /// A password that somebody knows: from stdin when something is piped in (one line break at its end is taken off), else asked for once.
    pub fn password(&mut self, what: &str) -> Result<Secret> {
        let password = if self.stdin_is_terminal { (self.ask)(what)? } else { read_password(self.stdin)? };
        check_password(password.expose()).map_err(Error::usage)?;
        Ok(password)
    }

    /// A new password: from stdin when something is piped in (one line break at its end is taken off), else asked for twice.
    pub fn new_password(&mut self, what: &str) -> Result<Secret> {
        let password = if self.stdin_is_terminal {
            let first = (self.ask)(what)?;
            let second = (self.ask)(&format!("{what}, again"))?;
            if first.expose() != second.expose() {
                return Err(Error::usage("the two passwords differ; nothing was written"));
            }
            first
        } else if given::stdin_is_taken() {
            return Err(Error::usage(format!("{what}: stdin holds the identity already (--identity-fd 0)")).hint("give the identity another descriptor"));
        } else {
            read_password(self.stdin)?
        };
        check_password(password.expose()).map_err(|why| Error::usage(format!("{why}; nothing was written")))?;
        let no_password =
            [("-----BEGIN AGE ENCRYPTED FILE-----", "a sealed value"), ("AGE-SECRET-KEY-1", "a secret key of age"), ("REGPROV-AUDIT-KEY-1", "an audit key")];
        if let Some((_, held)) = no_password.iter().find(|(mark, _)| password.expose().contains(mark)) {
            return Err(Error::usage(format!("{what}: what was given is no password, it holds {held}; nothing was written")));
        }
        Ok(password)
    }
}

/// Reads a password to the end of the stream. Exactly one trailing LF or CRLF is taken off, inner bytes stay.
fn read_password(stdin: &mut dyn Read) -> Result<Secret> {
    // Room for more than is read, so that the buffer never moves and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX + 64));
    stdin.take(PASSWORD_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|e| Error::usage(format!("the password cannot be read from stdin: {e}")))?;
    login::read_password(&bytes).map_err(|why| Error::usage(format!("what comes over stdin {why}")))
}

/// Asks on the controlling terminal, without echo. An error without one.
pub fn ask_terminal(what: &str) -> Result<Secret> {
    // rpassword shows the question first and takes the echo away then.
    let _quiet = terminal::quiet();
    rpassword::prompt_password(format!("{what}: ")).map(Secret::new).map_err(|_| Error::vault(format!("{what} is needed, and there is no terminal to ask on")))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A console in memory: what is piped in, what is typed, and what came out.
    #[derive(Default)]
    pub(crate) struct Scene {
        pub(crate) piped: Option<&'static str>,
        pub(crate) typed: Vec<&'static str>,
        pub(crate) on_terminal: bool,
        pub(crate) out: Vec<u8>,
        pub(crate) err: Vec<u8>,
        pub(crate) asked: Vec<String>,
    }

    impl Scene {
        pub(crate) fn run<T>(&mut self, run: impl FnOnce(&mut Console<'_>) -> T) -> T {
            let mut typed = std::mem::take(&mut self.typed).into_iter();
            let asked = &mut self.asked;
            run(&mut Console {
                stdin: &mut self.piped.unwrap_or("").as_bytes(),
                stdin_is_terminal: self.piped.is_none(),
                stdout: &mut self.out,
                stdout_is_terminal: self.on_terminal,
                stderr: &mut self.err,
                ask: &mut |what| {
                    asked.push(what.to_string());
                    typed.next().map(|t| Secret::new(t.to_string())).ok_or_else(|| Error::vault("nobody answers"))
                },
            })
        }

        pub(crate) fn out(&self) -> &str {
            std::str::from_utf8(&self.out).unwrap()
        }

        pub(crate) fn err(&self) -> &str {
            std::str::from_utf8(&self.err).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Scene;
    use super::*;

    #[track_caller]
    fn piped(text: &'static str, want: std::result::Result<&str, &str>) {
        let mut scene = Scene { piped: Some(text), ..Scene::default() };
        match (scene.run(|c| c.new_password("password")), want) {
            (Ok(p), Ok(want)) => assert_eq!(p.expose(), want),
            (Err(e), Err(why)) => assert!(e.to_string().contains(why), "{e}"),
            (got, _) => panic!("{text:?}: {:?}", got.map(|p| p.expose().to_string())),
        }
        assert!(scene.asked.is_empty());
    }

    #[test]
    fn one_line_break_at_the_end_of_stdin_is_taken_off() {
        piped("secret", Ok("secret"));
        piped("secret\n", Ok("secret"));
        piped("secret\r\n", Ok("secret"));
        piped("secret\n\n", Ok("secret\n"));
        piped("secret\r\n\r\n", Ok("secret\r\n"));
        piped("secret\r", Ok("secret\r"));
        piped(" se\ncret ", Ok(" se\ncret "));
        piped("", Err("password is empty"));
        piped("\n", Err("password is empty"));
        piped("\r\n", Err("password is empty"));
        piped("a\0b", Err("NUL"));
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let read = |bytes: &[u8]| read_password(&mut &*bytes).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(read(&vec![b'a'; PASSWORD_BYTES_MAX + 1]).contains("longer than 64 KiB"));
        assert_eq!(read(&vec![b'a'; PASSWORD_BYTES_MAX]), "");
        assert!(read(b"\xff").contains("not UTF-8"));
    }

    #[test]
    fn a_person_types_it_twice() {
        let ask = |typed: Vec<&'static str>| {
            let mut scene = Scene { typed, ..Scene::default() };
            (scene.run(|c| c.new_password("password of `x`")).map(|p| p.expose().to_string()).map_err(|e| e.to_string()), scene.asked)
        };
        assert_eq!(ask(vec!["a", "a"]), (Ok("a".into()), vec!["password of `x`".into(), "password of `x`, again".into()]));
        assert!(ask(vec!["hunter2", "hunter3"]).0.is_err_and(|e| e.contains("differ") && !e.contains("hunter")));
        assert!(ask(vec!["", ""]).0.is_err_and(|e| e.contains("empty")));
        assert!(ask(vec![]).0.is_err_and(|e| e.contains("nobody answers")));
    }
}
