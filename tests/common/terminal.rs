//! The program under test on a terminal of its own (`script`), and a person who answers what it asks.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::fleet::{Ran, Site};
use super::peers::need;

/// How long a person thinks before an answer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Late(pub(crate) Duration);

/// [`converse_slowly`], at once.
#[track_caller]
pub(crate) fn converse(site: &Site, args: &[&str], dialogue: &[(&str, &str)]) -> Option<Ran> {
    converse_slowly(site, args, dialogue, Late::default())
}

/// Runs the program with these arguments on a terminal. Each time that it has said the first of `dialogue`, the second is typed.
/// Everything that the terminal showed is in `stdout`. `None` where there is no `script`.
#[track_caller]
pub(crate) fn converse_slowly(site: &Site, args: &[&str], dialogue: &[(&str, &str)], late: Late) -> Option<Ran> {
    let plain = site.command(args);
    let words: Vec<String> = plain.get_args().map(|a| format!("'{}'", a.to_str().unwrap())).collect();
    let line = format!("{} {}", env!("CARGO_BIN_EXE_regprov"), words.join(" "));
    let (ran, answers) = run(site, &line, dialogue, late)?;
    if let Some((prompt, _)) = dialogue.get(answers) {
        panic!("it never said {prompt}: {}", ran.all());
    }
    Some(ran)
}

/// Runs a line of shell on a terminal; says also how much of `dialogue` was asked for.
#[track_caller]
pub(crate) fn converse_in_shell(site: &Site, line: &str, dialogue: &[(&str, &str)]) -> Option<(Ran, usize)> {
    run(site, line, dialogue, Late::default())
}

#[track_caller]
fn run(site: &Site, line: &str, dialogue: &[(&str, &str)], late: Late) -> Option<(Ran, usize)> {
    let plain = site.command(&[]);
    let mut command = Command::new(need("script")?);
    command.args(["-qec", line, "/dev/null"]).current_dir(site.dir.path()).env_clear().envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let mut child = command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut said, mut heard) = (Vec::new(), 0);
    let mut rest = dialogue.iter().peekable();
    let mut part = [0; 4096];
    loop {
        let read = stdout.read(&mut part).unwrap();
        if read == 0 {
            break;
        }
        said.extend_from_slice(&part[..read]);
        // One read may bring several questions.
        while let Some((prompt, answer)) = rest.peek() {
            let Some(at) = said[heard..].windows(prompt.len()).position(|w| w == prompt.as_bytes()) else { break };
            heard += at + prompt.len();
            std::thread::sleep(late.0);
            stdin.write_all(answer.as_bytes()).unwrap();
            rest.next();
        }
    }
    let code = child.wait().unwrap().code();
    let ran = Ran { code, stdout: String::from_utf8_lossy(&said).into_owned(), stderr: String::new() };
    Some((ran, dialogue.len() - rest.count()))
}
