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
}

impl Kind {
    /// The process's exit code for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Usage => 2,
            Kind::Vault => 5,
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

    /// A defect of regprov (exit 1).
    pub fn internal(message: impl Into<String>) -> Self {
        Error { kind: Kind::Internal, message: message.into(), hint: None }
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

/// One thing that is wrong in a file of the admin's, with its place. Problems are collected, so that all are told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
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
