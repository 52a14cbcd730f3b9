//! What is asked of a node: constant POSIX sh programs (one that writes, one that only looks, one that runs tasks), and the lines that go to it and come back. Pure.

pub mod payload;
pub mod protocol;
pub mod run_as;

use std::sync::LazyLock;

/// A program that runs on nodes: constant, the same on every host and in every run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// The one that looks at files and replaces them.
    #[default]
    Files,
    /// The one that tells what a node is like, and writes nothing.
    Probe,
    /// The one that runs what a run needs beside files: credential helpers, curl, logger, a restart.
    Tasks,
}

impl Program {
    /// The command that a node is asked to run. The login shell (sh, bash, zsh, csh or fish) sees one `exec` with single-quoted words.
    pub fn command(self) -> &'static str {
        static FILES: LazyLock<String> = LazyLock::new(|| command_of(include_str!("program.sh")));
        static PROBE: LazyLock<String> = LazyLock::new(|| command_of(include_str!("probe.sh")));
        static TASKS: LazyLock<String> = LazyLock::new(|| command_of(include_str!("tasks.sh")));
        match self {
            Program::Files => &FILES,
            Program::Probe => &PROBE,
            Program::Tasks => &TASKS,
        }
    }
}

/// The longest request that travels as arguments, in bytes; Linux takes 128 KiB for the whole command.
const ARGUMENTS_BYTES_MAX: usize = 32 << 10;

impl Program {
    /// The command with the lines of its first request as arguments. They hold no secret: the nonce, paths, names of users. `None` for
    /// one that is too long, or with a character that a login shell might not hand on as it is, and for every one to
    /// [`Program::Tasks`], whose lines may be secret; those go over standard input.
    pub fn command_with(self, request: &[u8]) -> Option<String> {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b" \n/._*~@%+,:=-".contains(b);
        let lines = std::str::from_utf8(request).ok().filter(|r| self != Program::Tasks && r.len() <= ARGUMENTS_BYTES_MAX && r.bytes().all(|b| plain(&b)))?;
        Some(lines.lines().fold(self.command().to_string(), |command, line| command + " '" + line + "'"))
    }
}

fn command_of(source: &str) -> String {
    format!("exec /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C /bin/sh -c ': regprov; {}' regprov", join_lines(source))
}

/// The command of [`Program::Files`].
pub fn command() -> &'static str {
    Program::Files.command()
}

/// Drops comments and indentation and joins the lines with the separators that sh needs between them.
fn join_lines(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for line in source.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if !out.is_empty() {
            let open = [";", "&", "{", "(", "do", "then", "else", "in", "|", "*)", "file | cut)", "curl)", "lock)", "observe)", "probe)"];
            out.push_str(if open.iter().any(|end| out.ends_with(end)) { " " } else { "; " });
        }
        out.push_str(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_reads_alike_in_sh_csh_and_fish() {
        for program in [Program::Files, Program::Probe, Program::Tasks] {
            reads_alike(program.command());
        }
    }

    #[test]
    fn a_request_becomes_arguments_where_every_shell_hands_it_on() {
        let with = |request: &str| Program::Files.command_with(request.as_bytes()).map(|c| c[Program::Files.command().len()..].to_string());
        assert_eq!(with("0f\npath /root/.docker/.regprov.*\nobserve\n").as_deref(), Some(" '0f' 'path /root/.docker/.regprov.*' 'observe'"));
        for odd in ["path /a'b", "path /a!b", "path /a\\b", "path /a$b", "path /ä", "path /a\tb", &"x".repeat(ARGUMENTS_BYTES_MAX + 1)] {
            assert_eq!(with(odd), None, "{odd}");
        }
    }

    #[track_caller]
    fn reads_alike(command: &str) {
        let inside = command.split_once('\'').unwrap().1.rsplit_once('\'').unwrap().0;
        assert!(!inside.contains('\''), "a single quote ends the argument");
        assert!(!inside.contains('\n'), "csh has no line breaks inside quotes");
        assert!(!inside.contains("\\\\"), "fish joins two backslashes inside single quotes");
        for (i, _) in inside.match_indices('!') {
            assert!(matches!(inside.as_bytes()[i + 1], b' ' | b'='), "csh's history would read: {}", &inside[i..i + 10]);
        }
    }
}
