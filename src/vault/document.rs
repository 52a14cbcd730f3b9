//! What a vault file says without any key: recipients, and logins without their passwords' content.
//!
//! The reader is tolerant: the file may be an inventory with `logins:` in it, and keys that a vault has no use for are the
//! inventory's business.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_yaml::Spanned;

use crate::error::{Error, Problem, Result, rule};
use crate::model::conflict;
use crate::model::text::escape;

/// The parts of a YAML file that the vault commands use.
#[derive(Deserialize, Default)]
pub struct VaultDocument {
    /// Recipients as written; they are parsed by [`super::Recipients::parse`].
    #[serde(default)]
    pub recipients: Option<Vec<String>>,
    /// The password of sudo: armor, or text in the clear. It is never shown.
    #[serde(default)]
    pub become_password: Option<String>,
    /// What tells it from other vaults.
    #[serde(default)]
    pub vault_id: Option<String>,
    /// What tells it from its earlier states.
    #[serde(default)]
    pub vault_serial: Option<u64>,
    #[serde(default)]
    logins: Option<BTreeMap<String, Spanned<VaultLogin>>>,
}

/// A login as the file holds it. Every field may be missing; the inventory's reader is the one that minds.
#[derive(Deserialize, Clone, PartialEq, Eq)]
pub struct VaultLogin {
    /// The registry as written.
    #[serde(default)]
    pub registry: Option<String>,
    /// The account as written.
    #[serde(default)]
    pub username: Option<String>,
    /// The expiry as written.
    #[serde(default)]
    pub expires: Option<String>,
    /// The fingerprint as written.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// The repository that it is to pull, as written.
    #[serde(default)]
    pub canary: Option<String>,
    /// The password: armor, or text in the clear. It is never shown.
    #[serde(default)]
    pub password: Option<String>,
    /// What prints the password for each run, instead of a password that stands here.
    #[serde(default)]
    pub password_command: Option<Vec<String>>,
    /// The file that has it for each run.
    #[serde(default)]
    pub password_file: Option<String>,
    /// The auth hosts beside those two.
    #[serde(default)]
    pub auth_hosts: Option<Vec<String>>,
    /// What a rotation that is under way replaces.
    #[serde(default)]
    pub previous: Option<VaultPrevious>,
}

impl VaultLogin {
    /// The key by which the password comes anew for each run, when it does.
    pub fn dynamic_key(&self) -> Option<&'static str> {
        let command = self.password_command.as_ref().map(|_| "password_command");
        command.or(self.password_file.as_ref().map(|_| "password_file"))
    }

    /// Refuses to set a password where one comes anew for each run: two ways at once are an error of the inventory.
    pub fn settable(&self, file: &str, name: &str) -> Result<()> {
        let Some(key) = self.dynamic_key() else { return Ok(()) };
        let message = format!("{file}: login `{}` takes its password from `{key}`, anew for each run; nothing was written", escape(name));
        Err(Error::usage(message).hint(format!("take `{key}` out of it first, or set another login")))
    }
}

/// The account and the password that a login had before its rotation; see [`super::rotation`].
#[derive(Deserialize, Clone, PartialEq, Eq)]
pub struct VaultPrevious {
    /// The account as written.
    #[serde(default)]
    pub username: Option<String>,
    /// The expiry as written.
    #[serde(default)]
    pub expires: Option<String>,
    /// The fingerprint as written.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// The password: armor. It is never shown.
    #[serde(default)]
    pub password: Option<String>,
}

/// Where a seal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealPlace {
    /// The password of sudo.
    Become,
    /// The password of this login.
    Login(String),
    /// What a rotation of this login replaces.
    Previous(String),
}

impl fmt::Display for SealPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealPlace::Become => write!(f, "the password of sudo (`become_password`)"),
            SealPlace::Login(name) => write!(f, "the password of login `{}`", escape(name)),
            SealPlace::Previous(name) => write!(f, "the `previous` password of login `{}`", escape(name)),
        }
    }
}

impl VaultDocument {
    /// Every password that it holds, sealed or not, with the line and the column of its login (0 for that of sudo).
    pub fn passwords(&self) -> Vec<(SealPlace, &str, (u64, u64))> {
        let sudo = self.become_password.as_deref().map(|text| (SealPlace::Become, text, (0, 0)));
        let logins = self.logins().flat_map(|(name, login, line, column)| {
            let own = login.password.as_deref().map(|text| (SealPlace::Login(name.to_string()), text, (line, column)));
            let previous = login.previous.as_ref().and_then(|p| p.password.as_deref());
            own.into_iter().chain(previous.map(|text| (SealPlace::Previous(name.to_string()), text, (line, column))))
        });
        sudo.into_iter().chain(logins).collect()
    }

    /// Reads a file's text. The error names file, line and column, and nothing that stands there but names of logins.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        if let Some(conflict) = conflict::find(text) {
            return Err(Error::vault(format!("{file}:{}: {}", conflict.first, conflict.text())).hint(conflict::hint(file)));
        }
        serde_yaml::from_str_with_options::<Option<VaultDocument>>(text, quiet()).map(Option::unwrap_or_default).map_err(|e| yaml_error(file, &e))
    }

    /// The logins by name, each with its line and column (both from 1).
    pub fn logins(&self) -> impl Iterator<Item = (&str, &VaultLogin, u64, u64)> {
        self.logins.iter().flatten().map(|(name, login)| (name.as_str(), &login.value, login.referenced.line(), login.referenced.column()))
    }

    /// One login.
    pub fn login(&self, name: &str) -> Option<&VaultLogin> {
        self.logins.as_ref()?.get(name).map(|login| &login.value)
    }
}

/// Options under which the parser keeps no text for its messages.
pub(super) fn quiet() -> serde_yaml::Options {
    serde_yaml::options! { with_snippet: false }
}

/// The parser's error in our words: its own quote what stands near.
pub(super) fn yaml_error(file: &str, error: &serde_yaml::Error) -> Error {
    use serde_yaml::Error as E;
    let message = match error.without_snippet() {
        E::DuplicateMappingKey { .. } => "a key stands here twice",
        E::MultipleDocuments { .. } => "there is a second YAML document; a vault is one",
        E::UnknownAnchor { .. } => "an alias names no anchor",
        _ => "this is not YAML, or not of the kind that belongs here",
    };
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let problem = Problem { rule: rule::INPUT, file: file.to_string(), line, column, message: message.to_string(), hint: None };
    Error::vault(problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_vault_needs_and_leaves_the_rest() {
        let text = "version: 1\nrecipients: [age1x]\ngroups: {g: {hosts: a}}\nlogins:\n  hub: {registry: docker.io, username: yes, password: p, expires: 2027-03-01}\n  ngc:\n    registry: nvcr.io\n";
        let doc = VaultDocument::parse("v.yml", text).unwrap();
        assert_eq!(doc.recipients.as_deref(), Some(&["age1x".to_string()][..]));
        let names: Vec<_> = doc.logins().map(|(name, _, line, _)| (name, line)).collect();
        assert_eq!(names, [("hub", 5), ("ngc", 7)]);
        let hub = doc.login("hub").unwrap();
        assert_eq!((hub.username.as_deref(), hub.expires.as_deref()), (Some("yes"), Some("2027-03-01")));
        assert!(doc.login("none").is_none());
    }

    #[test]
    fn empty_files_are_empty_vaults() {
        for text in ["", "# nothing\n", "logins:\n", "logins: {}\n", "recipients:\n"] {
            assert_eq!(VaultDocument::parse("v.yml", text).unwrap().logins().count(), 0, "{text:?}");
        }
    }

    #[track_caller]
    fn refused(text: &str, want: &str) {
        let error = VaultDocument::parse("v.yml", text).err().expect("refused").to_string();
        assert!(error.starts_with(want), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn errors_name_a_place_and_no_value() {
        refused("logins:\n  a: {}\n  a: {}\n", "v.yml:3:3: a key stands here twice");
        refused("logins:\n  a: {registry: x}\n  hunter2\n", "v.yml:");
        refused("logins: hunter2\n", "v.yml:1:9: this is not YAML, or");
        refused("logins:\n  a: {password: [hunter2]}\n", "v.yml:2:");
        refused("a: 1\n---\nb: 2\n", "v.yml:");
        refused("logins:\n  a: *hunter2\n", "v.yml:2:");
        let sides = "logins:\n  a:\n<<<<<<< ours\n    password: hunter2\n=======\n    password: hunter22\n>>>>>>> theirs\n";
        refused(sides, "v.yml:3: an unresolved merge conflict (lines 3 to 7, in login `a`)\n  hint: keep one side");
    }
}
