//! What a look at an inventory finds, or at a file of Kubernetes objects, before anyone connects.

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `apply` refuses it, or a login that cannot work.
    Error,
    /// It may fail on a node or with a program, or is most likely not meant.
    Warning,
    /// Good to know.
    Note,
}

impl Level {
    /// The word in reports, which is SARIF's as well.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// A rule, by which things are found.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, which never changes: `netrc-keyword`.
    pub id: &'static str,
    /// What its findings weigh. A fault that ends `apply` is an error whatever the rule says.
    pub level: Level,
    /// What it finds.
    pub title: &'static str,
    /// Why that is bad, and what to do.
    pub help: &'static str,
    /// Whether it looks at passwords, and so finds everything only when all of them are opened.
    pub password: bool,
}

/// One thing that was found. It never holds a password nor anything of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// By which rule.
    pub rule: &'static Rule,
    /// What it weighs.
    pub level: Level,
    /// The file as the admin named it.
    pub file: String,
    /// Line, from 1; 0 when it belongs to the file as a whole.
    pub line: u64,
    /// Column in characters, from 1; 0 when unknown.
    pub column: u64,
    /// What it is.
    pub message: String,
    /// What to do about it, where there is more to say than [`Rule::help`].
    pub hint: Option<String>,
}

/// What a look at an inventory came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order of the places.
    pub found: Vec<Finding>,
    /// Logins that were looked at.
    pub logins: usize,
    /// Hosts that were looked at.
    pub hosts: usize,
    /// Namespaces that were looked at; a selector is one.
    pub namespaces: usize,
    /// Pull Secrets that were looked at, in a file of Kubernetes objects; `None` for an inventory.
    pub secrets: Option<usize>,
    /// Whether it is known what hosts get: where the inventory has faults, they may be in the way.
    pub resolved: bool,
    /// Passwords that stayed sealed, so that rules about passwords did not see them.
    pub sealed: usize,
}

impl Findings {
    /// How many there are of a level.
    pub fn count(&self, level: Level) -> usize {
        self.found.iter().filter(|f| f.level == level).count()
    }

    /// 10 with an error, else 0.
    pub fn exit_code(&self) -> u8 {
        if self.count(Level::Error) > 0 { 10 } else { 0 }
    }
}
