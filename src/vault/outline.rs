//! A vault as git shows it: its structure, and marks in the place of what is sealed. No identity, no values.
//!
//! - A seal's mark changes with the seal. It is HMAC-SHA256 over its bytes, keyed with the vault's id, so that equal marks in two vaults mean
//!   nothing. A seal is no secret and made at random, so neither the key nor the mark has anything to keep.
//! - Of a password in the clear there is no mark: with a key that everybody has, guesses could be tested against it.
//! - A fingerprint is a mark already, under the audit key; its first digits are shown.

use std::fmt::Write as _;

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::document::{VaultDocument, VaultLogin};
use super::file::recipient_count;
use super::is_age_file;
use super::merge::Sheet;
use super::recipients::people;
use crate::error::Result;
use crate::model::Fingerprint;
use crate::model::text::escape;

/// What comes before the bytes of a seal.
const DOMAIN: &[u8] = b"regprov mark/1\0";

/// How many bytes of a mark are shown, in hexadecimal.
const MARK_BYTES: usize = 4;

/// Keys of a login whose values say how its password is had, and are none.
const COMMANDS: [&str; 2] = ["password_command", "password_file"];

/// Keys of a login that are told by their values or as marks.
const TOLD: [&str; 7] = ["registry", "username", "expires", "canary", "fingerprint", "password", "previous"];

/// The top level keys that are told in ways of their own.
const TOLD_AT_TOP: [&str; 5] = ["vault_id", "vault_serial", "recipients", "become_password", "logins"];

/// The outline of a vault, or of an inventory with logins in it.
///
/// # Errors
/// It is no vault. The error quotes nothing.
pub fn outline(file: &str, text: &str) -> Result<String> {
    let document = VaultDocument::parse(file, text)?;
    let id = document.vault_id.as_deref().unwrap_or_default();
    let mut out = String::new();
    for (key, value) in [("vault_id", document.vault_id.clone()), ("vault_serial", document.vault_serial.map(|n| n.to_string()))] {
        line(&mut out, 0, key, value.as_deref());
    }
    if let Some(recipients) = &document.recipients {
        out.push_str("recipients:\n");
        recipients.iter().for_each(|recipient| out.push_str(&format!("  - {}\n", public(recipient))));
    }
    line(&mut out, 0, "become_password", document.become_password.as_deref().map(|p| sealed(id, p)).as_deref());
    let sheet = Sheet::read(&text.replace("\r\n", "\n")).unwrap_or_default();
    let fields = sheet.value.get("logins").and_then(Value::as_object);
    if document.logins().next().is_some() {
        out.push_str("logins:\n");
    }
    for (name, login, ..) in document.logins() {
        let others = fields.and_then(|logins| logins.get(name)?.as_object()).into_iter().flatten().filter(|(key, _)| !TOLD.contains(&key.as_str()));
        let _ = writeln!(out, "  {}:", escape(name));
        one(&mut out, id, login);
        for (key, value) in others {
            let shown = if COMMANDS.contains(&key.as_str()) { escape(&value.to_string()) } else { NOT_SHOWN.to_string() };
            line(&mut out, 4, &escape(key), Some(&shown));
        }
    }
    for item in sheet.items.iter().filter(|item| !TOLD_AT_TOP.contains(&item.key.as_str())) {
        out.push_str(&without_secrets(&item.own()));
    }
    Ok(out)
}

/// The outline of a file that is encrypted as a whole.
pub fn outline_of_whole(bytes: &[u8]) -> String {
    format!("encrypted as a whole, for {}, mark {}\n", whom(recipient_count(bytes)), mark("", bytes.trim_ascii()))
}

/// What stands in the place of a value that may be secret.
const NOT_SHOWN: &str = "(not shown)";

fn one(out: &mut String, id: &str, login: &VaultLogin) {
    let print = |text: &Option<String>| text.as_deref().map(fingerprint);
    line(out, 4, "registry", login.registry.as_deref().map(escape).as_deref());
    line(out, 4, "username", login.username.as_deref().map(escape).as_deref());
    line(out, 4, "expires", login.expires.as_deref().map(escape).as_deref());
    line(out, 4, "canary", login.canary.as_deref().map(escape).as_deref());
    line(out, 4, "fingerprint", print(&login.fingerprint).as_deref());
    line(out, 4, "password", login.password.as_deref().map(|p| sealed(id, p)).as_deref());
    let Some(previous) = &login.previous else { return };
    out.push_str("    previous:\n");
    line(out, 6, "username", previous.username.as_deref().map(escape).as_deref());
    line(out, 6, "expires", previous.expires.as_deref().map(escape).as_deref());
    line(out, 6, "fingerprint", print(&previous.fingerprint).as_deref());
    line(out, 6, "password", previous.password.as_deref().map(|p| sealed(id, p)).as_deref());
}

fn line(out: &mut String, indent: usize, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _ = writeln!(out, "{:indent$}{key}: {value}", "");
    }
}

/// How a password is kept.
fn sealed(id: &str, password: &str) -> String {
    let seal = password.trim();
    match is_age_file(seal.as_bytes()) {
        true => format!("sealed for {}, mark {}", whom(recipient_count(seal.as_bytes())), mark(id, seal.as_bytes())),
        false => format!("in the clear {NOT_SHOWN}"),
    }
}

fn whom(count: Option<usize>) -> String {
    count.map_or("nobody knows whom".to_string(), people)
}

fn mark(id: &str, seal: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(id.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(DOMAIN);
    mac.update(seal);
    mac.finalize().into_bytes()[..MARK_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fingerprint(text: &str) -> String {
    match Fingerprint::parse(text) {
        Ok(print) => format!("{} (audit key {})", print.mac()[..MARK_BYTES].iter().map(|byte| format!("{byte:02x}")).collect::<String>(), print.key_id()),
        Err(_) => NOT_SHOWN.to_string(),
    }
}

/// A recipient, which somebody may have taken a secret key for.
fn public(recipient: &str) -> String {
    if is_secret(recipient) { NOT_SHOWN.to_string() } else { escape(recipient) }
}

fn is_secret(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    ["AGE-SECRET-KEY-", "REGPROV-AUDIT-KEY-", "PRIVATE KEY", "BEGIN AGE"].iter().any(|word| upper.contains(word))
}

/// Lines of an inventory's other keys. None of them should hold a secret; what is named like one, or looks like one, is left out all the same.
fn without_secrets(lines: &str) -> String {
    let mut out = String::new();
    let mut hidden: Option<usize> = None;
    for line in lines.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if hidden.is_some_and(|above| indent > above || content.is_empty()) {
            continue;
        }
        hidden = None;
        let named = |part: &str| ["password", "passwd", "secret", "token"].iter().any(|word| part.to_ascii_lowercase().contains(word));
        match line.char_indices().find(|(i, c)| *c == ':' && named(&line[..*i])) {
            Some((colon, _)) => {
                hidden = Some(indent);
                let _ = writeln!(out, "{}: {NOT_SHOWN}", escape(&line[..colon]));
            }
            None if content.starts_with('#') => {}
            None if is_secret(content) => {
                let _ = writeln!(out, "{:indent$}{NOT_SHOWN}", "");
            }
            None => {
                let _ = writeln!(out, "{}", escape(line));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Registry, Secret, Username};
    use crate::vault::testing::to_alice;
    use crate::vault::{SealedValue, seal};

    fn sealed_for_alice() -> String {
        let (registry, username) = (Registry::parse("docker.io").unwrap().0, Username::parse("acme").unwrap());
        seal(&SealedValue { registry, username, auth_hosts: vec![], password: Secret::new("hunter2".to_string()) }, &to_alice()).unwrap()
    }

    fn block(armored: &str, indent: usize) -> String {
        armored.lines().map(|l| format!("{:indent$}{l}\n", "")).collect()
    }

    #[test]
    fn structure_is_shown_and_values_are_not() {
        let (one, two) = (sealed_for_alice(), sealed_for_alice());
        let print = format!("hmac-sha256:0123456789abcdef:{}", "5a".repeat(32));
        let vault = |armored: &str| {
            format!(
                "version: 1\nrecipients:\n  - age1alice # hunter2\n  - AGE-SECRET-KEY-1HUNTER2\nbecome_password: hunter2\nlogins:\n  # hunter2\n  hub:\n    registry: docker.io\n    username: acme\n    expires: 2027-01-01\n    canary: acme/x\n    fingerprint: {print}\n    pasword: hunter2\n    password_command: [aws, ecr]\n    password: |\n{}    previous:\n      username: old\n      password: hunter2\n  z: {{registry: quay.io, password: hunter2, fingerprint: hunter2}}\ngroups:\n  gpu:\n    hosts: a\n    # hunter2\n    env_token: hunter2\n    api_secret: |\n      hunter2\n\n      hunter2\n    targets: [docker]\nvault_id: v1\nvault_serial: 4\n",
                block(armored, 6)
            )
        };
        let shown = outline("v", &vault(&one)).unwrap();
        let mark = mark("v1", one.trim().as_bytes());
        let want = format!(
            "vault_id: v1\nvault_serial: 4\nrecipients:\n  - age1alice\n  - (not shown)\nbecome_password: in the clear (not shown)\nlogins:\n  hub:\n    registry: docker.io\n    username: acme\n    expires: 2027-01-01\n    canary: acme/x\n    fingerprint: 5a5a5a5a (audit key 0123456789abcdef)\n    password: sealed for 1 recipient, mark {mark}\n    previous:\n      username: old\n      password: in the clear (not shown)\n    pasword: (not shown)\n    password_command: [\"aws\",\"ecr\"]\n  z:\n    registry: quay.io\n    fingerprint: (not shown)\n    password: in the clear (not shown)\nversion: 1\ngroups:\n  gpu:\n    hosts: a\n    env_token: (not shown)\n    api_secret: (not shown)\n    targets: [docker]\n"
        );
        assert_eq!(shown, want);
        // Another seal, another vault: another mark, and nothing else.
        let other = outline("v", &vault(&two)).unwrap();
        assert_eq!(other, shown.replace(&mark, &super::mark("v1", two.trim().as_bytes())));
        assert!(other != shown && super::mark("v2", one.trim().as_bytes()) != mark);
        assert_eq!(outline("v", &vault(&one).replace('\n', "\r\n")).unwrap(), shown);
    }

    #[test]
    fn whole_files_and_what_is_no_vault() {
        let sealed = sealed_for_alice();
        let shown = outline_of_whole(sealed.as_bytes());
        assert!(shown.starts_with("encrypted as a whole, for 1 recipient, mark ") && shown != outline_of_whole(sealed_for_alice().as_bytes()), "{shown}");
        assert_eq!(outline("v", "").unwrap(), "");
        for text in ["logins: hunter2\n", "logins:\n  a:\n    password: [hunter2]\n", "<<<<<<< a\nhunter2\n>>>>>>> b\n", "- hunter2\n"] {
            assert!(!outline("v", text).err().unwrap().to_string().contains("hunter2"), "{text}");
        }
    }
}
