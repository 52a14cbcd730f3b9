//! Who can open what is sealed: public keys.

use std::collections::HashMap;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Public keys to seal for: age's own (`age1...`), `ssh-ed25519` and `ssh-rsa` lines as in a `.pub` file.
#[derive(Clone, Default)]
pub struct Recipients {
    keys: Vec<Key>,
    texts: Vec<String>,
}

#[derive(Clone)]
enum Key {
    Age(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl Recipients {
    /// Reads one recipient from each entry. Bad ones are all named by their position, none is dropped and none is quoted: it
    /// might be a secret key in the wrong place.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut recipients = Recipients::default();
        let mut problems = Vec::new();
        let mut seen = HashMap::new();
        for (i, entry) in entries.into_iter().enumerate() {
            let key_alone: Vec<&str> = entry.split_whitespace().take(2).collect();
            match parse_one(entry.trim()) {
                Ok(_) if seen.contains_key(&key_alone) => problems.push(format!("recipient {} is the same key as recipient {}", i + 1, seen[&key_alone])),
                Ok(key) => {
                    seen.insert(key_alone, i + 1);
                    recipients.keys.push(key);
                    recipients.texts.push(entry.trim().to_string());
                }
                Err(why) => problems.push(format!("recipient {} {why}", i + 1)),
            }
        }
        if problems.is_empty() { Ok(recipients) } else { Err(Error::vault(problems.join("\n"))) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Their lines, trimmed, in the order given.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    pub(super) fn as_age(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.keys.iter().map(|key| match key {
            Key::Age(key) => key as &dyn age::Recipient,
            Key::Ssh(key) => key,
        })
    }
}

fn parse_one(text: &str) -> std::result::Result<Key, String> {
    if text.contains(['\n', '\r']) {
        return Err("has several lines; give one key an entry".into());
    }
    let upper = text.to_ascii_uppercase();
    if upper.starts_with("AGE-SECRET-KEY-") || text.starts_with("-----BEGIN") {
        return Err("is a secret key; here stands the public one. Take the secret key as known to all who could read it here, and make a new one".into());
    }
    match text.split_whitespace().next() {
        None => Err("is empty".into()),
        Some("ssh-ed25519" | "ssh-rsa") => parse_ssh(text).map(Key::Ssh),
        Some(word) if word.starts_with("age1pq1") => Err("is a post-quantum key, which is not supported; use an age1... key of age 1.0 or later".into()),
        Some(word) if word.starts_with("age1") && word.len() == text.len() => age::x25519::Recipient::from_str(text)
            .map(Key::Age)
            .map_err(|_| "begins as an age key but is not one: it was cut or mistyped (keys of plugins are not supported)".into()),
        Some(word) if word.starts_with("age1") => Err("has text behind the key".into()),
        Some(word) if word.starts_with("ecdsa-") || word.starts_with("sk-") || word == "ssh-dss" => {
            Err("is an SSH key of a type that age cannot seal for; use ssh-ed25519, ssh-rsa or an age1... key".into())
        }
        Some(_) => Err("is no recipient; one begins with age1, ssh-ed25519 or ssh-rsa".into()),
    }
}

/// age reads as much of an SSH line as it needs and ignores what is glued to it; the whole base64 must be the key here.
fn parse_ssh(text: &str) -> std::result::Result<age::ssh::Recipient, String> {
    use age::ssh::ParseRecipientKeyError as E;
    let mut words = text.split_whitespace();
    let (kind, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let line = format!("{kind} {base64}");
    let key = age::ssh::Recipient::from_str(&line).map_err(|e| match e {
        E::RsaModulusTooSmall => "is an RSA key of fewer than 2048 bits".to_string(),
        E::RsaModulusTooLarge => "is an RSA key of more than 4096 bits, which age does not take".to_string(),
        _ => "begins as an SSH key but is not one: it was cut or mistyped".to_string(),
    })?;
    if key.to_string().trim_end_matches('=') == line.trim_end_matches('=') { Ok(key) } else { Err("is an SSH key with something glued to it".into()) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::alice_recipient;
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@example.org";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDE7nIXTGNuaRBN9toI/wNALuQec8mvlt0iJ7o3OaD2UvoKHJ7S8rmIn4FiQDUed/Vac3OhUibei1k+TBmm16u2Rj3klgWZOIDgi8d4vXKI5N3YBhxr3jsQ+kz1c+iZ4z/tTtz306+4K46XViVMWwyyg9j82Jn41mOAy9vdeDIfQ5fLeaGqn5KwlT61GNkZ+ozWK/ZNlQIlNCcoXxhJULIs9XrtczWyVBAea1nlDo0WHODePxoJjmsNHrpQXn5mf9O83xs10qfTUjnRUt48jRmedFy4tcra3QGmSTQ3KZne+wXXSb0cIpXLGvZjQSPHgG1hc4r3uBpiSzvesGLv79XL";

    #[track_caller]
    fn refused(entry: &str, why: &str) {
        let error = Recipients::parse([ED25519, entry]).err().expect("refused").to_string();
        assert!(error.starts_with("recipient 2 ") && error.contains(why), "{error}");
    }

    #[test]
    fn keys_of_all_three_kinds() {
        let r = Recipients::parse([alice_recipient().as_str(), ED25519, &format!("  {RSA} alice with a comment ")]).unwrap();
        assert_eq!(r.len(), 3);
        assert_eq!(r.texts()[1], ED25519);
    }

    #[test]
    fn what_is_no_recipient_says_why() {
        refused("", "is empty");
        refused("alice", "is no recipient");
        refused("AGE-SECRET-KEY-1EGTZ", "is a secret key");
        refused("-----BEGIN OPENSSH PRIVATE KEY-----", "is a secret key");
        refused(&alice_recipient()[..40], "cut or mistyped");
        refused(&format!("{} alice", alice_recipient()), "text behind");
        refused("age1pq1xyz", "post-quantum");
        refused("ssh-ed25519", "cut or mistyped");
        refused(&ED25519[..40], "cut or mistyped");
        refused(&ED25519.replace(" alice", "AAAA alice"), "glued");
        refused("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI", "of a type");
        refused(&format!("{ED25519}\n{RSA}"), "several lines");
        refused(ED25519.split(" alice").next().unwrap(), "is the same key as recipient 1");
    }

    #[test]
    fn all_bad_ones_are_named_and_none_is_quoted() {
        let error = Recipients::parse(["hunter2", ED25519, "hunter3"]).err().expect("refused").to_string();
        assert!(error.contains("recipient 1 ") && error.contains("recipient 3 ") && !error.contains("hunter"), "{error}");
    }
}
