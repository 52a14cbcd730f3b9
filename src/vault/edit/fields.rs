//! Editing one field of a login that is there, each by itself: what `vault edit` writes of a login that was changed.

use serde_json::Value;

use super::lines::{Lines, password_lines_of, scalar, split_comment};
use super::splice::{NOT_BLOCK, checked, logins, refused, replace_seal};
use crate::error::Result;
use crate::model::text::escape;
use crate::vault::document::VaultDocument;

/// The order in which a login's fields are written; one that is missing goes behind those before it.
const ORDER: [&str; 5] = ["registry", "username", "expires", "fingerprint", "canary"];

/// A field of a login that stands on one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `registry:`
    Registry,
    /// `username:`
    Username,
    /// `expires:`
    Expires,
    /// `fingerprint:`
    Fingerprint,
    /// `canary:`
    Canary,
}

impl Field {
    fn key(self) -> &'static str {
        ORDER[match self {
            Field::Registry => 0,
            Field::Username => 1,
            Field::Expires => 2,
            Field::Fingerprint => 3,
            Field::Canary => 4,
        }]
    }
}

/// The text of `file` with this value in a field of the login `name`, or without the field. Other lines are byte for byte what they were.
///
/// # Errors
/// The login is not there, or its lines cannot be told from others.
pub fn set_field(file: &str, text: &str, name: &str, field: Field, value: Option<&str>) -> Result<String> {
    let key = field.key();
    let refused = |why: &str| refused(file, &format!("`{key}` of login `{}` cannot be set", escape(name)), why);
    let lines = Lines::new(text);
    let (fields, indent) = lines.fields_of(name).ok_or_else(|| refused(NOT_BLOCK))?;
    let new = |comment: &str| value.map(|value| format!("{:indent$}{key}: {}{comment}", "", scalar(value))).into_iter().collect::<Vec<_>>();
    let spliced = match lines.find_key(key, indent, fields.clone()) {
        Some((at, old)) => lines.replace(at..lines.value_of(at, indent, &fields).end, &new(split_comment(old).1)),
        None => {
            let before = ORDER.iter().take_while(|other| **other != key);
            let ends = before.filter_map(|other| Some(lines.value_of(lines.find_key(other, indent, fields.clone())?.0, indent, &fields).end));
            let at = ends.max().unwrap_or(fields.start);
            lines.replace(at..at, &new(""))
        }
    };
    checked(
        file,
        text,
        spliced,
        || refused(NOT_BLOCK),
        |top| {
            let login = logins(top).get_mut(name).and_then(Value::as_object_mut);
            match (login, value) {
                (Some(login), Some(value)) => drop(login.insert(key.to_string(), Value::String(value.to_string()))),
                (Some(login), None) => drop(login.shift_remove(key)),
                (None, _) => {}
            }
        },
    )
}

/// The text of `file` with this sealed password in the login `name`, whether it had one or not. Other lines are byte for byte what they
/// were.
///
/// # Errors
/// The login is not there, or its lines cannot be told from others.
pub fn set_password(file: &str, text: &str, name: &str, armored: &str) -> Result<String> {
    const KEY: &str = "password";
    let document = VaultDocument::parse(file, text)?;
    if document.login(name).is_some_and(|login| login.password.is_some()) {
        return replace_seal(file, text, name, false, armored);
    }
    let refused = || refused(file, &format!("the password of login `{}` cannot be set", escape(name)), NOT_BLOCK);
    let lines = Lines::new(text);
    let (fields, indent) = lines.fields_of(name).ok_or_else(refused)?;
    // `password:` with nothing behind it is no password either.
    let at = lines.find_key(KEY, indent, fields.clone()).map_or(fields.end..fields.end, |(at, _)| at..lines.value_of(at, indent, &fields).end);
    let spliced = lines.replace(at, &password_lines_of(KEY, armored, indent, 2, ""));
    checked(file, text, spliced, refused, |top| {
        if let Some(login) = logins(top).get_mut(name).and_then(Value::as_object_mut) {
            login.insert(KEY.to_string(), Value::String(armored.to_string()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: &str = "# ours\nlogins:\n  ngc: # NVIDIA\n    # the registry\n    registry: nvcr.io # r\n    username: $oauthtoken\n    canary: nvidia/cuda\n    password: |\n      -----BEGIN\n      old\n  hub:\n    username: acme\n    registry: docker.io\n    kept: {a: 1}\n";

    #[track_caller]
    fn check(field: Field, name: &str, value: Option<&str>, from: &str, to: &str) {
        let got = set_field("v", VAULT, name, field, value).unwrap();
        let want = VAULT.replace(from, to);
        assert_eq!(got, want, "\n--- got\n{got}\n--- wanted\n{want}");
    }

    #[test]
    fn one_field_changes_and_nothing_else() {
        check(Field::Registry, "ngc", Some("docker.io:5000"), "registry: nvcr.io # r", "registry: docker.io:5000 # r");
        check(Field::Canary, "ngc", None, "    canary: nvidia/cuda\n", "");
        check(Field::Canary, "hub", None, "", "");
        check(Field::Expires, "ngc", Some("2027-03-01"), "    canary", "    expires: 2027-03-01\n    canary");
        check(Field::Fingerprint, "ngc", Some("hmac"), "    canary", "    fingerprint: hmac\n    canary");
        check(Field::Expires, "hub", Some("2027-03-01"), "    registry: docker.io\n", "    registry: docker.io\n    expires: 2027-03-01\n");
        for (name, text) in [("nope", VAULT), ("a", "logins: {a: {registry: x}}\n"), ("a", "logins:\n  a: &x {registry: y}\n")] {
            let error = set_field("v", text, name, Field::Registry, Some("z")).unwrap_err().to_string();
            assert!(error.contains("nothing was written"), "{error}");
        }
    }

    #[test]
    fn a_password_comes_whether_there_was_one_or_not() {
        let seal = "-----BEGIN AGE ENCRYPTED FILE-----\nbmV3\n-----END AGE ENCRYPTED FILE-----\n";
        let block: String = seal.lines().map(|l| format!("      {l}\n")).collect();
        assert_eq!(set_password("v", VAULT, "ngc", seal).unwrap(), VAULT.replace("      -----BEGIN\n      old\n", &block));
        assert_eq!(set_password("v", VAULT, "hub", seal).unwrap(), format!("{VAULT}    password: |\n{block}"));
        assert!(set_password("v", VAULT, "nope", seal).is_err());
    }
}
