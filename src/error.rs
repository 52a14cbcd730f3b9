//! What ends a run, told to a tired admin: what, where, why and what to do next. Never a secret.

use std::fmt;

/// Why the run ended; decides the exit code (see the table in the README).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A defect of regprov itself.
    Internal,
    /// Wrong usage or a wrong inventory; nothing was contacted.
    Usage,
    /// A vault could not be opened, written or trusted.
    Vault,
    /// A registry did not do what it was asked for.
    Registry,
}

impl Kind {
    /// The process's exit code for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Usage => 2,
            Kind::Vault => 5,
            Kind::Registry => 6,
        }
    }
}

/// An error for a person: a message that names the thing and the reason, and a hint that names the way out.
#[derive(Clone, Debug)]
pub struct Error {
    /// What kind of failure this is; decides the exit code.
    pub kind: Kind,
    /// One or more complete lines; every line stands for itself.
    pub message: String,
    /// What to do next, when there is something.
    pub hint: Option<String>,
}

impl Error {
    /// Wrong usage or a wrong inventory (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Error { kind: Kind::Usage, message: message.into(), hint: None }
    }

    /// A vault, seal or identity that does not do (exit 5).
    pub fn vault(message: impl Into<String>) -> Self {
        Error { kind: Kind::Vault, message: message.into(), hint: None }
    }

    /// A registry that refused, or did not answer (exit 6).
    pub fn registry(message: impl Into<String>) -> Self {
        Error { kind: Kind::Registry, message: message.into(), hint: None }
    }

    /// A defect of regprov (exit 1).
    pub fn internal(message: impl Into<String>) -> Self {
        Error { kind: Kind::Internal, message: message.into(), hint: None }
    }

    /// Several errors as one, in their order; of the kind that tells most of what to do: wrong usage before all others.
    ///
    /// # Panics
    /// Without any.
    pub fn together(mut errors: Vec<Error>) -> Self {
        if errors.len() == 1 {
            return errors.remove(0);
        }
        let kind = errors.iter().map(|e| e.kind).find(|kind| *kind == Kind::Usage).unwrap_or(errors[0].kind);
        Error { kind, message: errors.iter().map(Error::to_string).collect::<Vec<_>>().join("\n"), hint: None }
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// The ids of what reading an inventory finds, as `regprov lint` names them; `lint::RULES` says more of each.
pub mod rule {
    /// Whatever has no name of its own.
    pub const INPUT: &str = "input";
    /// A seal that does not open, is damaged, or belongs to another login.
    pub const SEAL: &str = "seal";
    /// Two logins for one registry in one file.
    pub const TWO_LOGINS: &str = "two-logins";
    /// Two logins where the consumer knows one.
    pub const ENV_TWO_LOGINS: &str = "env-two-logins";
    /// One login in two files.
    pub const LOGIN_TWICE: &str = "login-twice";
    /// A registry with a path.
    pub const REGISTRY_PATH: &str = "registry-path";
    /// A registry with scheme, slash or upper case.
    pub const REGISTRY_NAME: &str = "registry-name";
    /// Docker Hub under one of its other names.
    pub const HUB_ALIAS: &str = "hub-alias";
    /// Docker Hub's web site.
    pub const HUB_WEBSITE: &str = "hub-website";
    /// A password in the clear.
    pub const PLAINTEXT: &str = "plaintext-password";
    /// No password.
    pub const NO_PASSWORD: &str = "no-password";
    /// A login that has ended.
    pub const EXPIRED: &str = "expired";
    /// A login that ends soon.
    pub const EXPIRES_SOON: &str = "expires-soon";
    /// A token of Amazon ECR whose end nobody wrote down.
    pub const ECR_EXPIRY: &str = "ecr-without-expiry";
    /// A login that goes nowhere.
    pub const UNUSED_LOGIN: &str = "unused-login";
    /// What a source of hosts says that may not be meant.
    pub const SOURCE: &str = "source";
    /// A group or a host for which nothing happens.
    pub const NO_EFFECT: &str = "no-effect";
}

/// One thing that is wrong in a file of the admin's, with its place. Problems are collected, so that all are told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem it is: an id of [`rule`].
    pub rule: &'static str,
    /// The file as the admin named it.
    pub file: String,
    /// Line, from 1; 0 when the problem belongs to the file as a whole.
    pub line: u64,
    /// Column in characters, from 1; 0 when unknown.
    pub column: u64,
    /// What is wrong. Never quotes a value that might be secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// One at a place such as `vault.yml:12:3`.
    pub fn at(place: &str, rule: &'static str, message: String) -> Self {
        let mut parts = place.rsplitn(3, ':');
        let mut number = || parts.next().and_then(|p| p.parse().ok()).unwrap_or(0);
        let (column, line) = (number(), number());
        Problem { rule, file: parts.next().unwrap_or(place).to_string(), line, column, message, hint: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}: {}", self.file, self.message)?,
            (line, 0) => write!(f, "{}:{line}: {}", self.file, self.message)?,
            (line, column) => write!(f, "{}:{line}:{column}: {}", self.file, self.message)?,
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<Vec<Problem>> for Error {
    /// All problems as one error of kind [`Kind::Usage`], one after the other.
    fn from(problems: Vec<Problem>) -> Self {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Error::usage(lines.join("\n"))
    }
}
