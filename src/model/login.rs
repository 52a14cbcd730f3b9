//! A registry login, opened.

use std::fmt;

use super::{Fingerprint, Registry, Secret};

/// One login: what a consumer needs to pull from one registry.
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
    /// Where it stands, for messages: `vault.yml:12:3`.
    pub place: String,
}

/// A password as a file holds it.
#[derive(Clone)]
pub enum PasswordText {
    /// An armored age file; what is inside names the registry and username it belongs to.
    Sealed(String),
    /// In the clear; accepted only with `--allow-plaintext`.
    Plain(Secret),
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

/// Checks a password by the rules that hold for every consumer: not empty, no NUL.
pub fn check_password(password: &str) -> Result<(), String> {
    match password {
        "" => Err("password is empty".into()),
        p if p.contains('\0') => Err("password contains a NUL byte".into()),
        _ => Ok(()),
    }
}

/// When a login ends: a date means the end of that day in UTC, RFC 3339 a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// As the inventory writes it.
    pub text: String,
    /// Seconds since 1970-01-01 UTC; the first second at which the login is no longer valid.
    pub unix: i64,
}

impl Expiry {
    /// Reads `2027-03-01` or RFC 3339.
    pub fn parse(text: &str) -> Result<Self, String> {
        use time::format_description::well_known::Rfc3339;
        let date = time::macros::format_description!("[year]-[month]-[day]");
        let unix = if let Ok(day) = time::Date::parse(text, date) {
            day.midnight().assume_utc().unix_timestamp() + 86_400
        } else if let Ok(moment) = time::OffsetDateTime::parse(text, &Rfc3339) {
            moment.unix_timestamp()
        } else {
            return Err("expires is neither a date (2027-03-01) nor RFC 3339 (2027-03-01T12:00:00Z)".into());
        };
        Ok(Expiry { text: text.to_string(), unix })
    }

    /// Whether the login has ended at `now` (seconds since 1970).
    pub fn is_past(&self, now: i64) -> bool {
        now >= self.unix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_ends_with_its_day() {
        let e = Expiry::parse("2027-03-01").unwrap();
        assert!(!e.is_past(e.unix - 1));
        assert!(e.is_past(e.unix));
        assert_eq!(e.unix, Expiry::parse("2027-03-02T00:00:00Z").unwrap().unix);
        assert_eq!(e.unix, Expiry::parse("2027-03-02T01:00:00+01:00").unwrap().unix);
        assert!(Expiry::parse("tomorrow").is_err());
    }

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
