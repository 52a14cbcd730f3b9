//! A vault as git shows it: its structure, the values that are no secrets, and marks in the place of what is sealed. No identity is asked for.
//!
//! The text is read by the reader of inventories (`src/inventory/yaml.rs`), so that nothing is shown in another way than a run reads it, and
//! each value by its place (`src/inventory/schema/shape.rs`), not by what its key looks like:
//!
//! - **Shown** are the values of keys that the schema knows and that hold no password: addresses, jump hosts and commands too.
//! - **A seal** has a mark: HMAC-SHA256 over it, keyed with the vault's id, so that equal marks in two vaults mean nothing. A seal is no
//!   secret and made at random, so neither the key nor the mark has anything to keep.
//! - **Not shown**, and without a mark of their own, are passwords in the clear, values (and names, but for slips) of keys that are not known,
//!   comments, passwords in URLs, and values that cannot stand where they stand. With a key that everybody has, guesses could be tested
//!   against their marks.
//! - **A text that the reader does not take** (an anchor, a tag, no YAML) is not shown at all; what is wrong is told, and how many lines it has.
//! - **The last line is a mark over the whole text.** What is not shown can so be changed, but not unseen: two texts have one outline only
//!   when they differ in nothing but line ends (CRLF). Its input is all of the file, seals included, so that nobody without the file can test
//!   a guess against it; where there is no seal in it, it still tells less than git's own `index` line, which has an unkeyed digest of the file.
//!
//! Marks are long enough that nobody can make another seal, or another text, for one that is there.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::file::recipient_count;
use super::is_age_file;
use super::recipients::people;
use crate::inventory::yaml::{self, Entry, Node, Value};
use crate::inventory::{Shape, TOP};
use crate::model::Fingerprint;
use crate::model::text::{escape, is_invisible};

/// What comes before the bytes of a seal.
const SEAL_DOMAIN: &[u8] = b"regprov mark/1\0";

/// What comes before the bytes of a whole text.
const TEXT_DOMAIN: &[u8] = b"regprov text/1\0";

/// How many bytes of a seal's mark are shown, in hexadecimal. Making a seal is cheap, and 4 bytes are soon found.
const SEAL_MARK_BYTES: usize = 8;

/// As [`SEAL_MARK_BYTES`], of a text's mark. Whoever writes both texts needs only half of it.
const TEXT_MARK_BYTES: usize = 16;

/// What stands in the place of a value that may be secret.
const NOT_SHOWN: &str = "(not shown)";

/// What stands in the place of the name of a key that is not known.
const UNKNOWN: &str = "(unknown key)";

/// The outline of a vault, or of an inventory. `file` is its name for a person.
/// What cannot be read is told in it, since a diff must not fail.
pub fn outline(file: &str, text: &str) -> String {
    let read = yaml::parse(file, text);
    let root = read.as_ref().map(|root| &root.value);
    let id = match root {
        Ok(Value::Map(entries)) => entries.iter().find(|e| e.key == "vault_id").and_then(|e| e.value.text()).unwrap_or_default(),
        _ => "",
    };
    let mut out = match root {
        Ok(Value::Map(entries)) => {
            let mut writer = Writer { id, out: String::new() };
            writer.map(entries, Shape::Keyed(&TOP), 0);
            writer.out
        }
        Ok(_) => format!("{NOT_SHOWN}\n"),
        Err(_) => {
            let fault = read.as_ref().err().map(|p| crate::error::Problem { hint: None, ..(**p).clone() }.to_string()).unwrap_or_default();
            let lines = text.lines().count();
            format!("{}\n({lines} lines that are not shown: what is secret in them cannot be told)\n", escape(&fault))
        }
    };
    let whole = text.replace("\r\n", "\n");
    out.push_str(&format!("whole text: mark {}\n", mark::<TEXT_MARK_BYTES>(id, TEXT_DOMAIN, whole.as_bytes())));
    out
}

/// The outline of what is no text: one mark over all of it.
pub fn outline_of_bytes(bytes: &[u8]) -> String {
    format!("{} bytes, mark {}\n", bytes.len(), mark::<TEXT_MARK_BYTES>("", TEXT_DOMAIN, bytes))
}

/// The outline of a file that is encrypted as a whole.
pub fn outline_of_whole(bytes: &[u8]) -> String {
    let mark = mark::<TEXT_MARK_BYTES>("", SEAL_DOMAIN, bytes.trim_ascii());
    format!("encrypted as a whole, for {}, mark {mark}\n", whom(recipient_count(bytes)))
}

/// Writes one line a key or an item, in block style. What it writes of two trees is equal only if they are, but for what is not shown.
struct Writer<'a> {
    id: &'a str,
    out: String,
}

impl Writer<'_> {
    /// The lines of a map, which has entries.
    fn map(&mut self, entries: &[Entry], shape: Shape, indent: usize) {
        for entry in entries {
            let (is_named, inner) = match shape {
                Shape::Named(inner) => (true, Some(*inner)),
                Shape::Keyed(schema) => (schema.is_slip(&entry.key), schema.shape(&entry.key)),
                _ => (false, None),
            };
            let key = if is_named || inner.is_some() { self.scalar(&entry.key, entry.key_is_text) } else { UNKNOWN.to_string() };
            self.out.push_str(&format!("{:indent$}{key}:", ""));
            match inner {
                Some(inner) => self.value(&entry.value, inner, indent),
                None => self.rest(NOT_SHOWN),
            }
        }
    }

    /// The end of the line that a key or a `-` has begun.
    fn rest(&mut self, text: &str) {
        if !text.is_empty() {
            self.out.push(' ');
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// What stands behind the colon of a key at `indent`.
    fn value(&mut self, node: &Node, shape: Shape, indent: usize) {
        match (&node.value, shape) {
            _ if node.is_null() => self.rest(""),
            (Value::Scalar { text, .. }, Shape::Plain | Shape::PlainOr(_)) => self.rest(&self.scalar(&without_passwords(text), node.text().is_some())),
            (Value::Scalar { text, .. }, Shape::Command) => self.rest(&self.scalar(text, node.text().is_some())),
            (Value::Scalar { text, .. }, Shape::Password) => self.rest(&password(self.id, text)),
            (Value::Scalar { text, .. }, Shape::Fingerprint) => self.rest(if Fingerprint::parse(text).is_ok() { text } else { NOT_SHOWN }),
            (Value::Map(_), Shape::PlainOr(inner)) => self.value(node, *inner, indent),
            (Value::Map(entries), Shape::Keyed(_) | Shape::Named(_)) if entries.is_empty() => self.rest("{}"),
            (Value::Map(entries), Shape::Keyed(_) | Shape::Named(_)) => {
                self.rest("");
                self.map(entries, shape, indent + 2);
            }
            (Value::Seq(items), Shape::Plain | Shape::Command | Shape::PlainOr(_)) if items.is_empty() => self.rest("[]"),
            (Value::Seq(items), Shape::Plain | Shape::Command | Shape::PlainOr(_)) => {
                self.rest("");
                items.iter().for_each(|item| self.item(item, shape, indent + 2));
            }
            _ => self.rest(NOT_SHOWN),
        }
    }

    fn item(&mut self, item: &Node, shape: Shape, indent: usize) {
        let dash = self.out.len() + indent;
        match (&item.value, shape) {
            (Value::Map(entries), Shape::PlainOr(inner)) if !entries.is_empty() => {
                self.map(entries, *inner, indent + 2);
                self.out.replace_range(dash..=dash, "-");
            }
            _ => {
                self.out.push_str(&format!("{:indent$}-", ""));
                match item.value {
                    // A list in a list has no place in the schema.
                    Value::Seq(_) => self.rest(NOT_SHOWN),
                    _ => self.value(item, shape, indent),
                }
            }
        }
    }

    /// Text as itself where it cannot be taken for anything else, in quotes where it could. A key or a seal gets a mark: they are too long to guess.
    fn scalar(&self, text: &str, is_text: bool) -> String {
        let reads_as_itself = yaml::is_text_when_plain(text)
            && !text.contains('\\')
            && !text.chars().any(is_invisible)
            && text.trim() == text
            && !text.starts_with(|c| "\"'[]{}&*!|>%@`#,?(-".contains(c))
            && !text.contains(": ")
            && !text.contains(" #")
            && !text.ends_with(':');
        match is_text {
            _ if is_key(text) => format!("{NOT_SHOWN}, mark {}", mark::<SEAL_MARK_BYTES>(self.id, SEAL_DOMAIN, text.as_bytes())),
            true if !reads_as_itself => escape(&serde_json::Value::from(text).to_string()),
            _ => text.to_string(),
        }
    }
}

/// How a password is kept.
fn password(id: &str, text: &str) -> String {
    let seal = text.trim();
    match is_age_file(seal.as_bytes()) {
        true => format!("sealed for {}, mark {}", whom(recipient_count(seal.as_bytes())), mark::<SEAL_MARK_BYTES>(id, SEAL_DOMAIN, seal.as_bytes())),
        false => format!("in the clear {NOT_SHOWN}"),
    }
}

fn whom(count: Option<usize>) -> String {
    count.map_or("nobody knows whom".to_string(), people)
}

/// The first `N` bytes of the HMAC.
fn mark<const N: usize>(id: &str, domain: &[u8], bytes: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(id.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(domain);
    mac.update(bytes);
    mac.finalize().into_bytes()[..N].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether somebody put a key where none belongs, such as among the recipients, or a seal.
fn is_key(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    ["AGE-SECRET-KEY-", "REGPROV-AUDIT-KEY-", "PRIVATE KEY", "BEGIN AGE"].iter().any(|word| upper.contains(word))
}

/// A text with the passwords of its URLs left out.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let authority = part.split(|c: char| c == '/' || c.is_whitespace()).next().unwrap_or_default();
        let password = authority.rfind('@').and_then(|at| authority[..at].find(':').map(|colon| colon + 1..at));
        out.push_str("://");
        match password {
            Some(at) => out.extend([&part[..at.start], NOT_SHOWN, &part[at.end..]]),
            None => out.push_str(part),
        }
    }
    out
}

#[cfg(test)]
mod tests;
