//! Who can open what is sealed: public keys.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;

use age_core::format::{FileKey, Stanza};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::header::{Header, RECIPIENTS_STANZA};
use crate::error::{Error, Result};

/// Public keys to seal for: age's own (`age1...`), `ssh-ed25519` and `ssh-rsa` lines as in a `.pub` file.
#[derive(Clone, Default)]
pub struct Recipients {
    list: Vec<Recipient>,
}

/// One public key.
#[derive(Clone)]
pub struct Recipient {
    key: Key,
    text: String,
    file: Option<String>,
}

/// Why a text is no recipient, as the end of a sentence. It is never quoted: it might be a secret key in the wrong place.
pub(super) enum Refusal {
    /// It is a secret key.
    Secret(String),
    /// It is a key, of a kind or a size that age cannot seal for.
    Unusable(String),
    /// It is no key.
    Wrong(String),
}

#[derive(Clone)]
enum Key {
    Age(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// How a seal compares with a list of recipients, as far as can be told without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It says that it is sealed for exactly these.
    Same,
    /// It does not say, and nothing speaks against it: as many of each kind, the same SSH keys.
    Unsaid,
    /// It is sealed for others.
    Other,
}

impl Recipient {
    /// Reads one: `age1...`, or a line as in a `.pub` file.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, Refusal> {
        let text = text.trim();
        parse_one(text).map(|key| Recipient { key, text: text.to_string(), file: None })
    }

    /// It comes from this file.
    #[must_use]
    pub(super) fn with_file(self, name: &str) -> Self {
        Recipient { file: Some(name.to_string()), ..self }
    }

    /// The file that it comes from, unless it was given as text.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line it was read from, trimmed; of an SSH key with its comment.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The key alone, the same for every way to write it.
    pub fn key(&self) -> String {
        match &self.key {
            Key::Age(key) => key.to_string(),
            Key::Ssh(key) => key.to_string(),
        }
    }

    /// What stands behind an SSH key, which nobody checked.
    pub fn comment(&self) -> Option<&str> {
        let behind_kind = self.text.split_once(char::is_whitespace)?.1.trim_start();
        behind_kind.split_once(char::is_whitespace).map(|(_, comment)| comment.trim_start())
    }

    /// Whether a seal with this header may be for it. age's own keys leave no trace, so that any of them may be.
    pub(super) fn may_be_in(&self, header: &Header) -> bool {
        let (kind, tag) = self.trace();
        header.recipients().any(|s| s.kind == kind && tag.as_ref().is_none_or(|tag| s.args.first() == Some(tag)))
    }

    /// What can be seen of it in a seal: the kind of its stanza, and the tag of an SSH key (c2sp.org/age, "SSH": the first four bytes of
    /// the SHA-256 of the key as SSH writes it). age's own keys leave no trace.
    fn trace(&self) -> (String, Option<String>) {
        match &self.key {
            Key::Age(_) => ("X25519".to_string(), None),
            Key::Ssh(key) => {
                let text = key.to_string();
                let (kind, base64) = text.split_once(' ').expect("two words, as it writes itself");
                let wire = STANDARD.decode(base64).expect("base64, as it writes itself");
                (kind.to_string(), Some(STANDARD_NO_PAD.encode(&Sha256::digest(wire)[..4])))
            }
        }
    }
}

impl Recipients {
    /// Reads one recipient from each entry. Bad ones are all named by their position, none is dropped and none is quoted: it
    /// might be a secret key in the wrong place.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let told = |wrong: Vec<(usize, String)>| wrong.iter().map(|(i, why)| format!("recipient {} {why}", i + 1)).collect::<Vec<_>>().join("\n");
        Recipients::parse_each(entries).map_err(|wrong| Error::vault(told(wrong)))
    }

    /// As [`Recipients::parse`]; says of each that is wrong its position, from 0, and why, as the end of a sentence.
    pub(super) fn parse_each<'a>(entries: impl IntoIterator<Item = &'a str>) -> std::result::Result<Self, Vec<(usize, String)>> {
        let mut recipients = Recipients::default();
        let mut wrong = Vec::new();
        let mut seen = HashMap::new();
        for (i, entry) in entries.into_iter().enumerate() {
            match Recipient::parse(entry) {
                Ok(recipient) => match seen.insert(recipient.key(), i + 1) {
                    Some(first) => wrong.push((i, format!("is the same key as recipient {first}"))),
                    None => recipients.list.push(recipient),
                },
                Err(Refusal::Secret(why) | Refusal::Unusable(why) | Refusal::Wrong(why)) => wrong.push((i, why)),
            }
        }
        if wrong.is_empty() { Ok(recipients) } else { Err(wrong) }
    }

    /// These, each once; of equal keys the first.
    pub fn of(all: impl IntoIterator<Item = Recipient>) -> Self {
        let mut seen = HashSet::new();
        Recipients { list: all.into_iter().filter(|r| seen.insert(r.key())).collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// They, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &Recipient> {
        self.list.iter()
    }

    /// Whether this key is among them.
    pub fn holds(&self, recipient: &Recipient) -> bool {
        self.list.iter().any(|r| r.key() == recipient.key())
    }

    /// What names exactly these keys, whatever their order and comments: base64 of the SHA-256 over the keys in their order as bytes, each
    /// behind it a line feed.
    pub fn digest(&self) -> String {
        let mut keys: Vec<String> = self.list.iter().map(Recipient::key).collect();
        keys.sort();
        STANDARD_NO_PAD.encode(Sha256::digest(keys.iter().map(|key| format!("{key}\n")).collect::<String>()))
    }

    /// Whether a seal with this header is sealed for these.
    ///
    /// What it says of itself was true when it was sealed; whoever can write the file can write a seal that says anything.
    pub fn fit(&self, header: &Header) -> Fit {
        let count = |traces: &mut dyn Iterator<Item = (String, Option<String>)>| {
            let mut counts = BTreeMap::<(String, Option<String>), usize>::new();
            traces.for_each(|trace| *counts.entry(trace).or_default() += 1);
            counts
        };
        let seen = count(&mut header.recipients().map(|s| (s.kind.clone(), s.args.first().filter(|_| s.kind.starts_with("ssh-")).cloned())));
        match header.digest() {
            _ if seen != count(&mut self.list.iter().map(Recipient::trace)) => Fit::Other,
            Some(digest) if digest == self.digest() => Fit::Same,
            Some(_) => Fit::Other,
            None => Fit::Unsaid,
        }
    }

    /// Whether a seal with this header is for somebody who is none of these, as far as can be told: it is not sealed for some of them alone.
    pub fn lacks_one_of(&self, header: &Header) -> bool {
        let count = header.recipients().count();
        let Some(digest) = header.digest().filter(|_| self.len() <= SOME_OF_MAX) else { return count > self.len() };
        let keys: Vec<&Recipient> = self.list.iter().collect();
        let some = (0_u32..1 << keys.len()).filter(|chosen| chosen.count_ones() as usize == count);
        !some.into_iter().any(|chosen| Recipients::of((0..keys.len()).filter(|i| chosen >> i & 1 == 1).map(|i| keys[i].clone())).digest() == digest)
    }

    pub(super) fn as_age(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.list.iter().map(|recipient| match &recipient.key {
            Key::Age(key) => key as &dyn age::Recipient,
            Key::Ssh(key) => key,
        })
    }
}

/// Of how many recipients each choice of some is looked at: 4096 of them.
const SOME_OF_MAX: usize = 12;

/// So many recipients, as a sentence has it.
pub fn people(n: usize) -> String {
    if n == 1 { "1 recipient".into() } else { format!("{n} recipients") }
}

/// A stanza that opens nothing and says for whom a seal is; readers of age pass over it. The header's MAC covers it.
pub(super) struct Named {
    /// [`Recipients::digest`].
    pub(super) digest: String,
}

impl age::Recipient for Named {
    fn wrap_file_key(&self, _: &FileKey) -> std::result::Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let stanza = Stanza { tag: RECIPIENTS_STANZA.to_string(), args: vec![self.digest.clone()], body: Vec::new() };
        Ok((vec![stanza], HashSet::new()))
    }
}

fn parse_one(text: &str) -> std::result::Result<Key, Refusal> {
    let wrong = |why: &str| Err(Refusal::Wrong(why.to_string()));
    if text.contains(['\n', '\r']) {
        return wrong("has several lines; give one key an entry");
    }
    let upper = text.to_ascii_uppercase();
    if upper.starts_with("AGE-SECRET-KEY-") || text.starts_with("-----BEGIN") {
        let why = "is a secret key; here stands the public one. Take the secret key as known to all who could read it here, and make a new one";
        return Err(Refusal::Secret(why.to_string()));
    }
    let mut words = text.split_whitespace();
    match words.next() {
        None => wrong("is empty"),
        Some("ssh-ed25519" | "ssh-rsa") => parse_ssh(text).map(Key::Ssh),
        Some(word) if word.starts_with("github:") || word.starts_with("gitlab:") || word.starts_with("https://") => {
            wrong("names a list elsewhere, and nothing is fetched: save the list (GitHub serves it as https://github.com/USER.keys) and give the file with -R")
        }
        Some(word) if word.starts_with("age1pq1") => wrong("is a post-quantum key, which is not supported; use an age1... key of age 1.0 or later"),
        Some(word) if word.starts_with("age1") && word.len() == text.len() => match age::x25519::Recipient::from_str(text) {
            Ok(key) => Ok(Key::Age(key)),
            Err(_) => wrong("begins as an age key but is not one: it was cut or mistyped (keys of plugins are not supported)"),
        },
        Some(word) if word.starts_with("age1") => wrong("has text behind the key"),
        Some(word) if word.starts_with("ecdsa-") || word.starts_with("sk-") || word == "ssh-dss" => match words.next().is_some_and(|key| is_ssh_key(word, key))
        {
            true => Err(Refusal::Unusable("is an SSH key of a type that age cannot seal for; use ssh-ed25519, ssh-rsa or an age1... key".into())),
            false => wrong(CUT),
        },
        Some(_) => wrong("is no recipient; one begins with age1, ssh-ed25519 or ssh-rsa"),
    }
}

const CUT: &str = "begins as an SSH key but is not one: it was cut or mistyped";

/// Whether this is a key of this type as SSH writes it (RFC 4253, section 6.6): base64 that begins with the type and its length.
fn is_ssh_key(kind: &str, key: &str) -> bool {
    let head = [&u32::try_from(kind.len()).unwrap_or(0).to_be_bytes()[..], kind.as_bytes()].concat();
    STANDARD.decode(key).is_ok_and(|wire| wire.starts_with(&head) && wire.len() > head.len())
}

/// age reads as much of an SSH line as it needs and ignores what is glued to it; the whole base64 must be the key here.
fn parse_ssh(text: &str) -> std::result::Result<age::ssh::Recipient, Refusal> {
    use age::ssh::ParseRecipientKeyError as E;
    let mut words = text.split_whitespace();
    let (kind, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let line = format!("{kind} {base64}");
    let key = age::ssh::Recipient::from_str(&line).map_err(|e| match e {
        E::RsaModulusTooSmall => Refusal::Unusable("is an RSA key of fewer than 2048 bits".to_string()),
        E::RsaModulusTooLarge => Refusal::Unusable("is an RSA key of more than 4096 bits, which age does not take".to_string()),
        _ => Refusal::Wrong(CUT.to_string()),
    })?;
    match key.to_string().trim_end_matches('=') == line.trim_end_matches('=') {
        true => Ok(key),
        false => Err(Refusal::Wrong("is an SSH key with something glued to it".into())),
    }
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
        assert_eq!(r.iter().nth(1).unwrap().text(), ED25519);
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
        refused("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAy", "cut or mistyped");
        refused("github:alice", "https://github.com/USER.keys");
        refused(&format!("{ED25519}\n{RSA}"), "several lines");
        refused(ED25519.split(" alice").next().unwrap(), "is the same key as recipient 1");
    }

    #[test]
    fn all_bad_ones_are_named_and_none_is_quoted() {
        let error = Recipients::parse(["hunter2", ED25519, "hunter3"]).err().expect("refused").to_string();
        assert!(error.contains("recipient 1 ") && error.contains("recipient 3 ") && !error.contains("hunter"), "{error}");
    }

    #[test]
    fn an_ssh_key_may_have_a_comment() {
        let comment = |text: &str| Recipients::parse([text]).unwrap().iter().next().unwrap().comment().map(str::to_string);
        assert_eq!(comment(ED25519).as_deref(), Some("alice@example.org"));
        assert_eq!(comment(&format!("  {RSA}\t alice at work ")).as_deref(), Some("alice at work"));
        assert_eq!(comment(RSA), None);
        assert_eq!(comment(&alice_recipient()), None);
    }

    #[test]
    fn a_seal_for_some_is_for_nobody_else() {
        let all = |keys: &[&str]| Recipients::parse(keys.iter().copied()).unwrap();
        let (alice, carol) = (alice_recipient(), super::super::identity::generate().1);
        let header = |keys: &[&str]| super::super::file::header(super::super::file::encrypt_value(b"", &all(keys)).unwrap().as_bytes()).unwrap();
        let listed = all(&[&alice, ED25519]);
        for (keys, lacks) in [
            (&[&*alice, ED25519][..], false),
            (&[&*alice], false),
            (&[ED25519], false),
            (&[&*carol], true),
            (&[&*carol, ED25519], true),
            (&[&*alice, ED25519, &*carol], true),
        ] {
            assert_eq!(listed.lacks_one_of(&header(keys)), lacks, "{}", keys.len());
        }
        // One that does not say: by its number alone.
        let unsaid = |keys: &[&str]| super::super::file::header(super::super::encrypt(b"", &all(keys)).unwrap().as_bytes()).unwrap();
        assert!(!listed.lacks_one_of(&unsaid(&[&carol])) && listed.lacks_one_of(&unsaid(&[&alice, ED25519, &carol])));
    }

    /// The order and the comments of keys do not matter; the keys do.
    #[test]
    fn a_digest_names_the_keys() {
        let digest = |all: &[&str]| Recipients::parse(all.iter().copied()).unwrap().digest();
        let alice = alice_recipient();
        let both = digest(&[&alice, ED25519]);
        assert_eq!(digest(&[&ED25519.replace(" alice@example.org", " bob"), &alice]), both);
        // printf '%s\n' age1... 'ssh-ed25519 ...' | LC_ALL=C sort | openssl dgst -sha256 -binary | base64
        assert_eq!(both, "5LsR0AIEyxlp3CuKYxTcqhP0HrXDVSntsgKIyLOwQoQ");
        assert!(digest(&[&alice]) != both && digest(&[&alice, RSA]) != both);
    }

    #[test]
    fn what_a_seal_says_of_itself_is_compared() {
        use super::super::file::{encrypt, encrypt_value, header};
        let list = |all: &[&str]| Recipients::parse(all.iter().copied()).unwrap();
        let (alice, bob) = (alice_recipient(), super::super::identity::generate().1);
        let sealed = list(&[&alice, ED25519]);
        let said = header(encrypt_value(b"x", &sealed).unwrap().as_bytes()).unwrap();
        let unsaid = header(encrypt(b"x", &sealed).unwrap().as_bytes()).unwrap();
        for (others, want_said, want_unsaid) in [
            (list(&[ED25519, &alice]), Fit::Same, Fit::Unsaid),
            // age's keys leave no trace.
            (list(&[ED25519, &bob]), Fit::Other, Fit::Unsaid),
            (list(&[ED25519]), Fit::Other, Fit::Other),
            (list(&[ED25519, &alice, &bob]), Fit::Other, Fit::Other),
            (list(&[&bob, &alice]), Fit::Other, Fit::Other),
            // The tag is another.
            (list(&[&alice, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDzrSsDw3lSRCvJTwdDnLlMCEyKfzr+sR1+cGL5Cd0Rx"]), Fit::Other, Fit::Other),
        ] {
            assert_eq!((others.fit(&said), others.fit(&unsaid)), (want_said, want_unsaid));
        }
    }
}
