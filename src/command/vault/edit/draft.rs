//! What a person edits: the logins with their passwords in the clear, as values and as the text that is shown.

use zeroize::Zeroizing;

use crate::command::vault::{VaultFile, entry};
use crate::error::{Error, Result};
use crate::model::text::escape;
use crate::model::{Expiry, PasswordText, Registry, Repository, Secret, Username};
use crate::vault::edit::{needs_escape, push_quoted, scalar};
use crate::vault::{Identities, is_age_file, open_become, open_login};

/// The opened logins of a vault, or one of them.
#[derive(Clone, Default)]
pub(super) struct Draft {
    /// The password of sudo; `None` where there is none, or where one login alone is edited.
    pub(super) become_password: Option<Secret>,
    /// In the file's order.
    pub(super) logins: Vec<DraftLogin>,
}

/// One login, opened.
#[derive(Clone)]
pub(super) struct DraftLogin {
    pub(super) name: String,
    pub(super) registry: Registry,
    pub(super) username: Username,
    pub(super) expires: Option<Expiry>,
    pub(super) canary: Option<Repository>,
    pub(super) auth_hosts: Vec<String>,
    /// `None` where the vault has none: it comes from elsewhere, or is still to be set.
    pub(super) password: Option<Secret>,
}

impl DraftLogin {
    /// Whether this is the same login, but for its name and what stands outside of the seal.
    pub(super) fn seals_as(&self, other: &DraftLogin) -> bool {
        self.is_account_of(other) && self.auth_hosts == other.auth_hosts
    }

    /// Whether account and password are the same: what a fingerprint is made of.
    pub(super) fn is_account_of(&self, other: &DraftLogin) -> bool {
        self.registry == other.registry && self.username == other.username && exposed(&self.password) == exposed(&other.password)
    }

    /// Whether nothing differs but perhaps the name.
    pub(super) fn equals(&self, other: &DraftLogin) -> bool {
        self.seals_as(other) && self.expires == other.expires && self.canary == other.canary
    }
}

pub(super) fn exposed(secret: &Option<Secret>) -> Option<&str> {
    secret.as_ref().map(Secret::expose)
}

impl Draft {
    /// Opens what is to be edited: everything, or the login that is named. All problems are told at once.
    ///
    /// # Errors
    /// A seal does not open, or a login lacks what it needs; nothing is shown then.
    pub(super) fn open(vault: &VaultFile, only: Option<&str>, identities: &Identities) -> Result<Self> {
        let mut found: Vec<_> = vault.document.logins().filter(|(name, ..)| only.is_none_or(|only| only == *name)).collect();
        found.sort_by_key(|(_, _, line, column)| (*line, *column));
        let mut problems = Vec::new();
        let mut draft = Draft::default();
        for (name, login, line, column) in found {
            let place = format!("{}:{line}:{column}", vault.name);
            match open(name, login, place, identities) {
                Ok(login) => draft.logins.push(login),
                Err(e) => problems.push(e.to_string()),
            }
        }
        if let Some(text) = vault.document.become_password.as_ref().filter(|_| only.is_none()) {
            let text = if is_age_file(text.as_bytes()) { PasswordText::Sealed(text.clone()) } else { PasswordText::Plain(Secret::new(text.clone())) };
            match open_become(&text, &vault.name, identities, true) {
                Ok(password) => draft.become_password = Some(password),
                Err(e) => problems.push(e.to_string()),
            }
        }
        match problems.is_empty() {
            true => Ok(draft),
            false if only.is_some() => Err(Error::vault(problems.join("\n"))),
            false => Err(Error::vault(problems.join("\n")).hint("`regprov vault edit VAULT LOGIN` opens that login alone")),
        }
    }

    /// The login of this name.
    pub(super) fn login(&self, name: &str) -> Option<&DraftLogin> {
        self.logins.iter().find(|login| login.name == name)
    }

    /// The text that is shown, below these lines of comment.
    pub(super) fn text(&self, head: &[String]) -> Zeroizing<String> {
        let passwords = self.logins.iter().filter_map(|l| l.password.as_ref()).chain(&self.become_password);
        // Room for all of it, escaped, so that the buffer never moves and leaves no copy behind.
        let capacity =
            4096 + head.iter().map(|l| l.len() + 3).sum::<usize>() + self.logins.len() * 1024 + passwords.map(|p| 10 * p.expose().len()).sum::<usize>();
        let mut out = Zeroizing::new(String::with_capacity(capacity));
        for line in head {
            out.push_str(if line.is_empty() { "#" } else { "# " });
            out.push_str(line);
            out.push('\n');
        }
        if let Some(password) = &self.become_password {
            out.push_str("\nbecome_password:");
            push_secret(&mut out, password.expose(), 2);
        }
        out.push_str(if self.logins.is_empty() { "\nlogins: {}\n" } else { "\nlogins:\n" });
        for (n, login) in self.logins.iter().enumerate() {
            push_login(&mut out, login, n == 0);
        }
        out
    }
}

fn open(name: &str, login: &crate::vault::document::VaultLogin, place: String, identities: &Identities) -> Result<DraftLogin> {
    let wrong = |why: String| Error::vault(format!("{place}: login `{}`: {why}", escape(name)));
    let expires = login.expires.as_deref().map(Expiry::parse).transpose().map_err(wrong)?;
    let canary = login.canary.as_deref().map(Repository::parse).transpose().map_err(wrong)?;
    let (registry, username, auth_hosts, password) = if login.password.is_some() {
        let opened = open_login(&entry(name, login, place.clone())?, identities, true)?;
        (opened.registry, opened.username, opened.auth_hosts, Some(opened.password))
    } else {
        let missing = |field: &str| wrong(format!("{field} is missing"));
        let (registry, _) = Registry::parse(login.registry.as_deref().ok_or_else(|| missing("registry"))?).map_err(wrong)?;
        let username = Username::parse(login.username.as_deref().ok_or_else(|| missing("username"))?).map_err(wrong)?;
        (registry, username, Vec::new(), None)
    };
    Ok(DraftLogin { name: name.to_string(), registry, username, expires, canary, auth_hosts, password })
}

fn push_login(out: &mut String, login: &DraftLogin, first: bool) {
    if !first {
        out.push('\n');
    }
    out.push_str("  ");
    push_text(out, &login.name);
    out.push_str(":\n");
    let registry = login.registry.to_string();
    for (key, value) in [
        ("registry", Some(registry.as_str())),
        ("username", Some(login.username.as_str())),
        ("expires", login.expires.as_ref().map(|e| e.text.as_str())),
        ("canary", login.canary.as_ref().map(Repository::as_str)),
    ] {
        if let Some(value) = value {
            out.push_str("    ");
            out.push_str(key);
            out.push_str(": ");
            push_text(out, value);
            out.push('\n');
        }
    }
    if !login.auth_hosts.is_empty() {
        out.push_str("    auth_hosts:\n");
        for host in &login.auth_hosts {
            out.push_str("      - ");
            push_text(out, host);
            out.push('\n');
        }
    }
    if let Some(password) = &login.password {
        out.push_str("    password:");
        push_secret(out, password.expose(), 6);
    }
}

/// What is no secret, as the vault itself would write it.
fn push_text(out: &mut String, text: &str) {
    out.push_str(&scalar(text));
}

/// A password behind its key, with the line break: always in quotes, so that nothing of it is YAML; one of several lines, such as a key of
/// Google's, as a block that is indented by `indent`. What is read back is the same, byte for byte.
fn push_secret(out: &mut String, text: &str, indent: usize) {
    let as_block = text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && text.split('\n').all(|line| !line.ends_with(' ') && !line.chars().any(needs_escape))
        && !text.ends_with('\n');
    if as_block {
        out.push_str(" |-\n");
        for line in text.split('\n') {
            if !line.is_empty() {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str(line);
            }
            out.push('\n');
        }
        return;
    }
    out.push(' ');
    push_quoted(out, text);
    out.push('\n');
}
