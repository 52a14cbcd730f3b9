//! A registry login, opened.

use std::fmt;

use super::text::escape;
use super::{Expiry, Fingerprint, Registry, Repository, Secret, expiry};

/// One login: what a consumer needs to pull from one registry.
#[derive(Clone)]
pub struct Login {
    /// The name that the inventory gives it (`ngc`, `hub`).
    pub name: String,
    /// The registry it is for.
    pub registry: Registry,
    /// The account.
    pub username: Username,
    /// The password or token.
    pub password: Secret,
    /// Further hosts that are handed this login (the token realm), confirmed by the admin and sealed with the password.
    pub auth_hosts: Vec<String>,
    /// After this the login is not used any more.
    pub expires: Option<Expiry>,
}

impl Login {
    /// The end that its password itself names; see [`expiry::in_password`].
    pub fn expiry_in_password(&self) -> Option<Expiry> {
        expiry::in_password(&self.registry, &self.username, &self.password)
    }
}

/// One login as a file holds it: everything but the password is readable, the password usually sealed.
#[derive(Clone)]
pub struct LoginEntry {
    /// The name that the inventory gives it (`ngc`, `hub`).
    pub name: String,
    /// The registry it is for.
    pub registry: Registry,
    /// The account.
    pub username: Username,
    /// Sealed or plain.
    pub password: PasswordText,
    /// After this the login is not used any more.
    pub expires: Option<Expiry>,
    /// By which the holder of the audit key knows the password again.
    pub fingerprint: Option<Fingerprint>,
    /// A repository that it is to pull; not sealed, no secret.
    pub canary: Option<Repository>,
    /// What a rotation that is under way replaces.
    pub previous: Option<PreviousPassword>,
    /// Where it stands, for messages: `vault.yml:12:3`.
    pub place: String,
}

/// The account and the password that a login had before a rotation. No node gets them any more.
#[derive(Clone)]
pub struct PreviousPassword {
    /// The account.
    pub username: Username,
    /// Armored; it is never taken in the clear.
    pub sealed: String,
    /// When it ends.
    pub expires: Option<Expiry>,
    /// By which the holder of the audit key knows the password again.
    pub fingerprint: Option<Fingerprint>,
}

impl LoginEntry {
    /// The login as it was before the rotation that is under way.
    pub fn before_rotation(&self) -> Option<LoginEntry> {
        let previous = self.previous.as_ref()?;
        let password = PasswordText::Sealed(previous.sealed.clone());
        let (username, expires, fingerprint) = (previous.username.clone(), previous.expires.clone(), previous.fingerprint.clone());
        Some(LoginEntry { username, password, expires, fingerprint, previous: None, ..self.clone() })
    }

    /// The file that holds it, as the admin named it: [`LoginEntry::place`] without line and column.
    pub fn file(&self) -> &str {
        self.place.rsplitn(3, ':').last().unwrap_or(&self.place)
    }
}

/// A password as a file holds it.
#[derive(Clone)]
pub enum PasswordText {
    /// An armored age file; what is inside names the registry and username it belongs to.
    Sealed(String),
    /// In the clear; accepted only with `--allow-plaintext`.
    Plain(Secret),
    /// Not in the file: had anew for each run.
    Dynamic(Dynamic),
}

/// A password that is had anew for each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dynamic {
    /// Where it comes from.
    pub source: DynamicSource,
    /// Further hosts that are handed the login (the token realm). There is no seal for them to stand in.
    pub auth_hosts: Vec<String>,
}

/// Where a password comes from that no file of ours holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DynamicSource {
    /// What this program prints; program and arguments, no shell.
    Command(Vec<String>),
    /// What this file holds, by its path as written: relative to the file that names it, or with `~/`.
    File(String),
}

impl DynamicSource {
    /// The key that names it.
    pub fn key(&self) -> &'static str {
        match self {
            DynamicSource::Command(_) => "password_command",
            DynamicSource::File(_) => "password_file",
        }
    }
}

impl PasswordText {
    /// What it is had from anew for each run, when it is.
    pub fn dynamic(&self) -> Option<&Dynamic> {
        if let PasswordText::Dynamic(dynamic) = self { Some(dynamic) } else { None }
    }
}

/// A registry account name: not empty, without `:` (Docker's `auth` splits at the first one, docker/cli
/// `configfile/file.go` decodeAuth), without NUL and line breaks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// Checks a name. The error says which rule it broke and never quotes the name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let rule = match name {
            "" => "is empty",
            n if n.contains(':') => "contains `:`, where every consumer splits user and password",
            n if n.contains('\0') => "contains a NUL byte",
            n if n.contains(['\n', '\r']) => "contains a line break",
            _ => return Ok(Username(name.to_string())),
        };
        Err(format!("username {rule}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a login's name: letters, digits, `.`, `_` and `-`, begun by a letter or digit.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fits { Ok(()) } else { Err("a login's name is made of letters, digits, `.`, `_` and `-`, and begins with a letter or digit".into()) }
}

/// The longest password, in bytes. Tokens of cloud registries reach 2 KiB, key files 3 KiB.
pub const PASSWORD_BYTES_MAX: usize = 64 << 10;

/// The password that a stream or a file holds: exactly one LF or CRLF at its end is taken off, inner bytes stay. The error says which rule it
/// broke, as the end of a sentence, and nothing of it.
pub fn read_password(bytes: &[u8]) -> Result<Secret, String> {
    if bytes.len() > PASSWORD_BYTES_MAX {
        return Err(format!("is longer than {} KiB; that is no password", PASSWORD_BYTES_MAX >> 10));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_string())?;
    Ok(Secret::new(text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text).to_string()))
}

/// Checks an auth host: a host's name in lower case, without scheme, port and path, as netrc knows hosts.
pub fn check_auth_host(host: &str) -> Result<(), String> {
    let plain = host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b));
    if plain && Registry::parse(host).is_ok() {
        Ok(())
    } else {
        Err(format!("auth host `{}` is no host name; write it in lower case, without scheme, port and path", escape(host)))
    }
}

/// Checks a password by the rules that hold for every consumer: not empty, no NUL.
pub fn check_password(password: &str) -> Result<(), String> {
    match password {
        "" => Err("password is empty".into()),
        p if p.contains('\0') => Err("password contains a NUL byte".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_keep_case_45() {
        for bad in ["", "a:b", "a\0b", "a\nb", "a\rb"] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["$oauthtoken", "robot$test_library+gpu_default", "CORP\\jdoe", "_json_key"] {
            assert_eq!(Username::parse(good).unwrap().as_str(), good);
        }
    }
}
