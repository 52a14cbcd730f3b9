//! What is asked of a node: constant POSIX sh programs (one that writes, one that only looks), and the lines that go to it and come back. Pure.

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
}

impl Program {
    /// The command that a node is asked to run. The login shell (sh, bash, zsh, csh or fish) sees one `exec` with single-quoted words.
    pub fn command(self) -> &'static str {
        static FILES: LazyLock<String> = LazyLock::new(|| command_of(include_str!("program.sh")));
        static PROBE: LazyLock<String> = LazyLock::new(|| command_of(include_str!("probe.sh")));
        match self {
            Program::Files => &FILES,
            Program::Probe => &PROBE,
        }
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
        for program in [Program::Files, Program::Probe] {
            reads_alike(program.command());
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
