//! The command line as it was typed, which may hold a secret in a place where none belongs: what is wrong with it is told without that.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use super::Cli;
use crate::model::holds_secret_key;

/// Verbs whose words may be passwords that were typed in the wrong place.
const NEAR_SECRETS: [&str; 4] = ["vault", "import", "harbor", "rotate"];

/// The characters of a key behind its name without which an argument is talk of one.
const KEY_CHARS_MIN: usize = 16;

/// What stands in a message for a word that is not shown.
const NOT_SHOWN: &str = "(not shown)";

/// Reads the command line; the first word is the program's name.
///
/// # Errors
/// It does not do, or help was asked for: what to print, and the exit code. No word that may be a secret is in it.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    if let Some(nth) = words.iter().skip(1).position(|word| holds_secret_key(&word.to_string_lossy(), KEY_CHARS_MIN)) {
        let message = format!(
            "argument {} is or holds a secret key, which is not shown: who looks at this machine's processes, shell history or logs has seen it, so make a new one.\n\
             A key is read from a file (--identity FILE), a program (--identity-command), a descriptor (--identity-fd) or REGPROV_IDENTITY",
            nth + 1
        );
        return Err(Cli::command().error(ErrorKind::ValueValidation, message));
    }
    let near = words.iter().skip(1).find(|word| !word.to_string_lossy().starts_with('-')).is_some_and(|verb| NEAR_SECRETS.iter().any(|near| verb == near));
    Cli::try_parse_from(words).map_err(|e| if near { without_words(e) } else { e })
}

/// A message without the words that were not understood: one of them may be a password.
fn without_words(mut error: clap::Error) -> clap::Error {
    let is_flag = |value: &ContextValue| matches!(value, ContextValue::String(text) if text.starts_with('-'));
    let is_word = error.get(ContextKind::InvalidArg).is_some_and(|arg| !is_flag(arg));
    let hidden = || ContextValue::String(NOT_SHOWN.to_string());
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let names_password = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(flag)) if flag.contains("pass"));
            if is_word {
                error.insert(ContextKind::InvalidArg, hidden());
            }
            if is_word || names_password {
                error.remove(ContextKind::SuggestedArg);
                let tip = "a password is never an argument: it is asked for, or comes over standard input".into();
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if error.get(ContextKind::InvalidValue).is_some() => {
            error.insert(ContextKind::InvalidValue, hidden());
        }
        ErrorKind::TooManyValues => {
            error.insert(ContextKind::InvalidValue, hidden());
        }
        _ => {}
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        let words = std::iter::once("regprov").chain(line.split('|')).map(OsString::from);
        parse(words).err().unwrap_or_else(|| panic!("{line} is taken")).to_string()
    }

    #[test]
    fn no_secret_comes_back() {
        let key = "AGE-SECRET-KEY-1HUNTER2HUNTER2HUNTER2";
        let ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----";
        for (line, want) in [
            (format!("vault|get|v.yml|ngc|--identity|{key}"), "argument 6 is or holds a secret key"),
            (format!("vault|get|v.yml|ngc|--identity={key}"), "argument 5 is"),
            (format!("apply|i.yml|--identity-command|echo {key}"), "argument 4 is"),
            (format!("vault|init|v.yml|-r|{ssh}"), "argument 5 is"),
            ("vault|set|v.yml|ngc|hunter2".to_string(), "a password is never an argument"),
            ("vault|set|v.yml|ngc|--password=hunter2".to_string(), "a password is never an argument"),
            ("vault|set|v.yml|ngc|--password|hunter2".to_string(), "a password is never an argument"),
            ("vault|set|v.yml|ngc|--generate=hunter2".to_string(), "--generate"),
            ("vault|get|v.yml|ngc|--field|hunter2".to_string(), "possible values: password"),
            ("vault|hunter2".to_string(), "unrecognized subcommand"),
            ("harbor|robot|delete|v.yml|gpu|hunter2".to_string(), "a password is never an argument"),
        ] {
            let told = told(&line);
            assert!(told.contains(want), "{line}: {told}");
            assert!(line == "vault|hunter2" || !told.to_ascii_lowercase().contains("hunter2"), "{line}: {told}");
        }
        // The control: elsewhere the word is told, and what only looks like a key is one word of many.
        assert!(told("hosts|i.yml|hunter2").contains("hunter2"));
        assert!(told("apply|AGE-SECRET-KEY-1...|--nonsense").contains("--nonsense"));
    }
}
