//! What differs between two states of a vault, login by login, without a key.
//!
//! A seal says nothing of what is in it, and each sealing gives other bytes. What can be told without opening is told by what stands beside it:
//! a fingerprint that stayed says that the password did, one that changed says that it changed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::document::{VaultDocument, VaultLogin, quiet, yaml_error};
use super::file::recipient_count;
use super::is_age_file;
use crate::error::Result;
use crate::model::Fingerprint;
use crate::model::text::{escape, printable};

/// One difference, in words that hold no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What happened: `added`, `removed`, `renamed`, `changed`.
    pub what: &'static str,
    /// To what: a login's name, or what else a vault has.
    pub to: String,
    /// What there is to say of it.
    pub details: Vec<String>,
}

/// One state of a vault.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// Its name, for messages.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Says whether two logins hold one password, where that can be known; for whoever has an identity.
pub type SamePassword<'a> = &'a mut dyn FnMut((&str, &VaultLogin), (&str, &VaultLogin)) -> Result<Option<bool>>;

/// What makes `b` out of `a`: logins by their names, then recipients and the other keys. Comments, order and formatting are no difference.
///
/// # Errors
/// A side is no vault; what `same` says.
pub fn diff(a: Side<'_>, b: Side<'_>, same: SamePassword<'_>) -> Result<Vec<Difference>> {
    let (old, new) = (VaultDocument::parse(a.file, a.text)?, VaultDocument::parse(b.file, b.text)?);
    let mut found = logins(&old, &new, same)?;
    match (&old.become_password, &new.become_password) {
        (None, Some(_)) => found.push(plain("added", "the password of sudo")),
        (Some(_), None) => found.push(plain("removed", "the password of sudo")),
        (Some(a), Some(b)) if a.trim() != b.trim() => found.push(Difference { details: vec![seals(a, b).0], ..plain("changed", "the password of sudo") }),
        _ => {}
    }
    found.extend(recipients(a.text, b.text, &old, &new));
    match (&old.vault_id, &new.vault_id) {
        (Some(a), Some(b)) if a != b => {
            let details = vec![format!("{} -> {}: these are two vaults, not two states of one", escape(a), escape(b))];
            found.push(Difference { details, ..plain("changed", "vault_id") });
        }
        _ => {}
    }
    found.extend(other_keys(a, b)?);
    Ok(found)
}

fn plain(what: &'static str, to: &str) -> Difference {
    Difference { what, to: to.to_string(), details: Vec::new() }
}

fn logins(old: &VaultDocument, new: &VaultDocument, same: SamePassword<'_>) -> Result<Vec<Difference>> {
    let names: BTreeSet<&str> = old.logins().chain(new.logins()).map(|(name, ..)| name).collect();
    let gone: Vec<&str> = names.iter().copied().filter(|name| new.login(name).is_none()).collect();
    let mut renamed = BTreeSet::new();
    let mut found = Vec::new();
    for name in names {
        match (old.login(name), new.login(name)) {
            (Some(a), Some(b)) => {
                let details = fields(name, a, name, b, same)?;
                if !details.is_empty() {
                    found.push(Difference { what: "changed", to: escape(name), details });
                }
            }
            (None, Some(b)) => {
                // The name is not sealed: a login under another name keeps its seal.
                let seal = |login: &VaultLogin| login.password.as_deref().map(str::trim).filter(|p| is_age_file(p.as_bytes())).map(str::to_string);
                let before = gone.iter().find(|old_name| !renamed.contains(*old_name) && seal(b).is_some() && old.login(old_name).and_then(seal) == seal(b));
                match before.and_then(|old_name| Some((*old_name, old.login(old_name)?))) {
                    Some((old_name, a)) => {
                        renamed.insert(old_name);
                        found.push(Difference {
                            what: "renamed",
                            to: format!("{} -> {}", escape(old_name), escape(name)),
                            details: fields(old_name, a, name, b, same)?,
                        });
                    }
                    None => found.push(Difference { what: "added", to: escape(name), details: whose(b) }),
                }
            }
            _ => {}
        }
    }
    for name in gone.into_iter().filter(|name| !renamed.contains(name)) {
        found.push(Difference { what: "removed", to: escape(name), details: old.login(name).map(whose).unwrap_or_default() });
    }
    found.sort_by(|a, b| a.to.cmp(&b.to));
    Ok(found)
}

/// Registry and account of a login.
fn whose(login: &VaultLogin) -> Vec<String> {
    [&login.registry, &login.username].into_iter().flatten().map(|text| escape(text)).collect()
}

/// What differs in one login.
fn fields(old_name: &str, a: &VaultLogin, new_name: &str, b: &VaultLogin, same: SamePassword<'_>) -> Result<Vec<String>> {
    let mut details = Vec::new();
    for (key, old, new) in [("registry", &a.registry, &b.registry), ("username", &a.username, &b.username)] {
        details.extend(value(key, old, new));
    }
    for (key, is_same, was, is) in [
        ("password_command", a.password_command == b.password_command, a.password_command.is_some(), b.password_command.is_some()),
        ("password_file", a.password_file == b.password_file, a.password_file.is_some(), b.password_file.is_some()),
        ("auth_hosts", a.auth_hosts == b.auth_hosts, a.auth_hosts.is_some(), b.auth_hosts.is_some()),
    ] {
        let how = if !was {
            "set"
        } else if !is {
            "taken out"
        } else {
            "changed"
        };
        details.extend((!is_same).then(|| format!("{key} {how}")));
    }
    let began = a.previous.is_none() && b.previous.as_ref().is_some_and(|p| p.password == a.password);
    let undone = b.previous.is_none() && a.previous.as_ref().is_some_and(|p| p.password.as_deref().map(str::trim) == b.password.as_deref().map(str::trim));
    let one_account = (&a.registry, &a.username) == (&b.registry, &b.username);
    match (&a.password, &b.password) {
        (None, None) => {}
        (None, Some(_)) => details.push("password set".to_string()),
        (Some(_), None) => details.push("password taken out".to_string()),
        (Some(old), Some(new)) if old.trim() == new.trim() => details.extend(fingerprint(&a.fingerprint, &b.fingerprint)),
        (Some(_), Some(_)) if began => details.push("a rotation began: a new password beside the old one".to_string()),
        (Some(_), Some(_)) if undone => details.push("its rotation was undone: the old password is back".to_string()),
        (Some(old), Some(new)) => {
            let (told, sealed_anew) = seals(old, new);
            let known = if sealed_anew { same((old_name, a), (new_name, b))? } else { None };
            let by_fingerprint = match (parsed(&a.fingerprint), parsed(&b.fingerprint)) {
                (Some(old), Some(new)) if one_account && old.key_id() == new.key_id() => Some(old == new),
                _ => None,
            };
            details.push(match (known, by_fingerprint) {
                (Some(true), _) => format!("{told}: the same password"),
                (Some(false), _) => format!("{told}: another password"),
                (None, Some(true)) if sealed_anew => format!("{told} (its fingerprint says the same password)"),
                (None, Some(false)) if sealed_anew => format!("{told} (its fingerprint says another password)"),
                _ => told,
            });
        }
    }
    match (&a.previous, &b.previous) {
        (Some(_), None) if !undone => details.push("its rotation ended: the old password is gone".to_string()),
        (None, Some(_)) if !began => details.push("`previous` was added".to_string()),
        (Some(old), Some(new)) if old != new => details.push("`previous` changed".to_string()),
        _ => {}
    }
    for (key, old, new) in [("expires", &a.expires, &b.expires), ("canary", &a.canary, &b.canary)] {
        details.extend(value(key, old, new));
    }
    Ok(details)
}

/// A field that is no secret.
fn value(key: &str, old: &Option<String>, new: &Option<String>) -> Option<String> {
    match (old, new) {
        (Some(old), Some(new)) if old != new => Some(format!("{key} {} -> {}", escape(old), escape(new))),
        (None, Some(new)) => Some(format!("{key} {} set", escape(new))),
        (Some(old), None) => Some(format!("{key} {} taken out", escape(old))),
        _ => None,
    }
}

fn parsed(fingerprint: &Option<String>) -> Option<Fingerprint> {
    Fingerprint::parse(fingerprint.as_deref()?).ok()
}

/// A fingerprint whose password's seal stayed.
fn fingerprint(old: &Option<String>, new: &Option<String>) -> Option<String> {
    match (old, new) {
        (None, Some(_)) => Some("fingerprint set".to_string()),
        (Some(_), None) => Some("fingerprint taken out".to_string()),
        (Some(old), Some(new)) if old != new => Some("fingerprint changed, and the seal did not".to_string()),
        _ => None,
    }
}

/// What became of a password's text, and whether one seal took another's place.
fn seals(old: &str, new: &str) -> (String, bool) {
    let is_sealed = |text: &str| is_age_file(text.trim().as_bytes());
    match (is_sealed(old), is_sealed(new)) {
        (true, true) => {
            let count = |text: &str| recipient_count(text.trim().as_bytes());
            match (count(old), count(new)) {
                (Some(before), Some(now)) if before != now => (format!("password sealed anew, for {now} recipients instead of {before}"), true),
                _ => ("password sealed anew".to_string(), true),
            }
        }
        (false, true) => ("password sealed; it stood in the clear".to_string(), false),
        (true, false) => ("password in the clear; it was sealed".to_string(), false),
        (false, false) => ("another password in the clear".to_string(), false),
    }
}

fn recipients(a: &str, b: &str, old: &VaultDocument, new: &VaultDocument) -> Vec<Difference> {
    let list = |document: &VaultDocument| document.recipients.clone().unwrap_or_default();
    let (old, new) = (list(old), list(new));
    let without = |some: &[String], others: &[String], text: &str| -> Vec<String> {
        let others: BTreeSet<String> = others.iter().map(|r| recipient_key(r)).collect();
        some.iter().filter(|r| !others.contains(&recipient_key(r))).map(|r| recipient_shown(r, text)).collect()
    };
    let one = |what, details: Vec<String>| {
        let to = if details.len() == 1 { "recipient" } else { "recipients" };
        (!details.is_empty()).then(|| Difference { details, ..plain(what, to) })
    };
    [one("added", without(&new, &old, b)), one("removed", without(&old, &new, a))].into_iter().flatten().collect()
}

/// What makes two lines one recipient: the key, not the comment behind it.
pub(super) fn recipient_key(text: &str) -> String {
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// A recipient for a person: the ends of its key, and the comment behind it, in its line or in the file.
fn recipient_shown(recipient: &str, file: &str) -> String {
    let mut words = recipient.split_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next());
    let (kind, key) = second.map_or((String::new(), first), |key| (format!("{first} "), key));
    let short = |key: &str| -> String {
        let chars: Vec<char> = key.chars().collect();
        if chars.len() <= 24 { key.to_string() } else { chars[..12].iter().collect::<String>() + "..." + &chars[chars.len() - 8..].iter().collect::<String>() }
    };
    let said = words.collect::<Vec<_>>().join(" ");
    let beside = || file.lines().find(|line| line.contains(key)).and_then(|line| line.split_once(" #")).map(|(_, comment)| comment.trim().to_string());
    let comment = if said.is_empty() { beside().unwrap_or_default() } else { said };
    let comment = if comment.is_empty() { comment } else { format!(" ({})", printable(&comment, COMMENT_CHARS_MAX)) };
    format!("{kind}{}{comment}", escape(&short(key)))
}

/// As much of a recipient's comment as is shown, in characters.
const COMMENT_CHARS_MAX: usize = 60;

/// The top level keys that are told above.
const TOLD: [&str; 5] = ["logins", "recipients", "become_password", "vault_id", "vault_serial"];

/// The other top level keys, by their names alone.
fn other_keys(a: Side<'_>, b: Side<'_>) -> Result<Vec<Difference>> {
    let values = |side: Side<'_>| -> Result<Map<String, Value>> {
        let value: Value = serde_yaml::from_str_with_options(side.text, quiet()).map_err(|e| yaml_error(side.file, &e))?;
        Ok(if let Value::Object(map) = value { map } else { Map::new() })
    };
    let (old, new) = (values(a)?, values(b)?);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|key| !TOLD.contains(&key.as_str())).collect();
    let changed = keys.into_iter().filter_map(|key| match (old.get(key), new.get(key)) {
        (Some(a), Some(b)) if a == b => None,
        (Some(_), Some(_)) => Some(plain("changed", &format!("`{}:`", escape(key)))),
        (None, _) => Some(plain("added", &format!("`{}:`", escape(key)))),
        (_, None) => Some(plain("removed", &format!("`{}:`", escape(key)))),
    });
    Ok(changed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAL: &str = "-----BEGIN AGE ENCRYPTED FILE-----\\nYWdl\\n-----END AGE ENCRYPTED FILE-----\\n";
    const BASE: &str = "recipients: [age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqalice]\nlogins:\n  hub: {registry: docker.io, username: acme, password: \"SEAL\", expires: 2027-01-01}\nvault_id: v1\nvault_serial: 1\n";

    fn text(of: &str) -> String {
        of.replace("SEAL", SEAL)
    }

    /// The lines of `b` after replacing `from` with `to` in the vault.
    #[track_caller]
    fn check(from: &str, to: &str, want: &[&str]) {
        assert!(BASE.contains(from), "{from}");
        compare(&text(BASE), &text(&BASE.replace(from, to)), want);
    }

    #[track_caller]
    fn compare(a: &str, b: &str, want: &[&str]) {
        let found = diff(Side { file: "a", text: a }, Side { file: "b", text: b }, &mut |_, _| Ok(None)).unwrap();
        let lines: Vec<String> = found.iter().map(|d| format!("{} {}: {}", d.what, d.to, d.details.join("; "))).collect();
        assert_eq!(lines, want, "{b}");
        assert!(!lines.concat().contains("hunter2"));
    }

    #[test]
    fn each_field_by_itself() {
        check("", "", &[]);
        check("vault_serial: 1", "# a comment\nvault_serial: 2", &[]);
        check("docker.io", "quay.io", &["changed hub: registry docker.io -> quay.io"]);
        check("acme", "bob", &["changed hub: username acme -> bob"]);
        check("2027-01-01", "2027-06-01", &["changed hub: expires 2027-01-01 -> 2027-06-01"]);
        check(", expires: 2027-01-01", "", &["changed hub: expires 2027-01-01 taken out"]);
        check("expires", "canary: a/b, expires", &["changed hub: canary a/b set"]);
        check("\"SEAL\"", "hunter2", &["changed hub: password in the clear; it was sealed"]);
        check("password: \"SEAL\", ", "", &["changed hub: password taken out"]);
        check("expires", "fingerprint: x, expires", &["changed hub: fingerprint set"]);
        check("vault_id: v1", "vault_id: v2", &["changed vault_id: v1 -> v2: these are two vaults, not two states of one"]);
        check("vault_id", "become_password: hunter2\nvault_id", &["added the password of sudo: "]);
        check("vault_id", "groups: {g: {hosts: a}}\nvault_id", &["added `groups:`: "]);
    }

    #[test]
    fn logins_come_go_and_get_other_names() {
        check("logins:", "logins:\n  ngc: {registry: nvcr.io, username: $oauthtoken}", &["added ngc: nvcr.io; $oauthtoken"]);
        check("hub:", "dockerhub:", &["renamed hub -> dockerhub: "]);
        check("hub: {registry: docker.io", "d: {registry: quay.io", &["renamed hub -> d: registry docker.io -> quay.io"]);
        compare(&text(BASE), "vault_id: v1\n", &["removed hub: docker.io; acme", "removed recipient: age1qqqqqqqq...qqqalice"]);
        // Without a seal nothing says that it is the same login.
        compare("logins:\n  a: {registry: x}\n", "logins:\n  b: {registry: x}\n", &["removed a: x", "added b: x"]);
    }

    #[test]
    fn a_new_seal_is_told_by_what_stands_beside_it() {
        let print = |c: char| format!("hmac-sha256:0123456789abcdef:{}", c.to_string().repeat(64));
        let vault = |seal: &str, print: &str| text(BASE).replace("YWdl", seal).replace("expires", &format!("fingerprint: '{print}', expires"));
        for (before, after, told) in [
            ("", "", "password sealed anew".to_string()),
            (&*print('a'), &*print('a'), "password sealed anew (its fingerprint says the same password)".to_string()),
            (&print('a'), &print('b'), "password sealed anew (its fingerprint says another password)".to_string()),
            (&print('a'), &print('b').replace("0123", "4567"), "password sealed anew".to_string()),
        ] {
            compare(&vault("YWdl", before), &vault("bmV3", after), &[&format!("changed hub: {told}")]);
        }
        for (same, told) in [(true, "password sealed anew: the same password"), (false, "password sealed anew: another password")] {
            let (a, b) = (vault("YWdl", &print('a')), vault("bmV3", &print('a')));
            let found = diff(Side { file: "a", text: &a }, Side { file: "b", text: &b }, &mut |_, _| Ok(Some(same))).unwrap();
            assert_eq!(found[0].details, [told]);
        }
    }

    #[test]
    fn rotations_are_told_as_such() {
        let old = text("logins:\n  hub: {registry: docker.io, username: acme, password: \"SEAL\"}\n");
        let new = old.replace("YWdl", "bmV3").replace('}', &text(", previous: {username: acme, password: \"SEAL\"}}"));
        compare(&old, &new, &["changed hub: a rotation began: a new password beside the old one"]);
        compare(&new, &old, &["changed hub: its rotation was undone: the old password is back"]);
        compare(&new, &old.replace("YWdl", "bmV3"), &["changed hub: its rotation ended: the old password is gone"]);
    }

    #[test]
    fn recipients_are_shown_with_their_comments() {
        let with = |more: &str| format!("recipients:\n  - age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqalice # alice\n{more}");
        let ssh = "  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpWuObz5dvMgjz1OxfMXXUBVHtZ6isGN bob@example.org\n";
        compare(&with(""), &with(ssh), &["added recipient: ssh-ed25519 AAAAC3NzaC1l...HtZ6isGN (bob@example.org)"]);
        compare(&with(ssh), &with(&ssh.replace("bob@", "carol@")), &[]);
        compare(&with(""), ssh.trim_start_matches("  - ").split_at(0).0, &["removed recipient: age1qqqqqqqq...qqqalice (alice)"]);
    }
}
