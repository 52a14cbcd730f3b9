//! Who opens what is sealed: secret keys.

use std::str::FromStr;

use age::secrecy::{ExposeSecret, SecretString};
use age::ssh::UnsupportedKey;
use zeroize::Zeroizing;

use super::file::{decrypt_with_passphrase, is_age_file, is_passphrase_file};
use crate::error::{Error, Result};
use crate::model::Secret;

/// Asks for a passphrase without echo; the argument says for what. An error when there is nobody to ask.
pub type Ask<'a> = &'a mut dyn FnMut(&str) -> Result<Secret>;

/// Secret keys, ready to open: whatever needed a passphrase was decrypted once, when it was added. age's keys and SSH's are
/// wiped by their crates on drop.
#[derive(Default)]
pub struct Identities {
    keys: Vec<Key>,
}

enum Key {
    Age(age::x25519::Identity),
    Ssh(Box<age::ssh::Identity>),
}

impl Identities {
    /// Adds what an identity file holds: age secret keys, one a line, between comments; one SSH private key (ed25519 or RSA);
    /// or an age file sealed with a passphrase that holds age secret keys. `name` is the file, for messages and for the
    /// question that `ask` gets at most once. Errors name lines, never what stands there.
    pub fn add(&mut self, name: &str, content: &[u8], ask: Ask<'_>) -> Result<()> {
        if is_age_file(content) {
            if !is_passphrase_file(content) {
                return Err(Error::vault(format!("identity {name} is itself encrypted, and not with a passphrase (or it is damaged)"))
                    .hint("decrypt it first: an identity opens with a passphrase or not at all"));
            }
            let passphrase = ask(&format!("passphrase of identity {name}"))?;
            let opened = decrypt_with_passphrase(content, &passphrase).map_err(|e| e.explain(&format!("identity {name}")))?;
            return self.add_lines(name, &opened);
        }
        if content.trim_ascii_start().starts_with(b"-----BEGIN ") {
            return self.add_ssh(name, content.trim_ascii_start(), ask);
        }
        self.add_lines(name, content)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn as_age(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| match key {
            Key::Age(key) => key as &dyn age::Identity,
            Key::Ssh(key) => key.as_ref(),
        })
    }

    fn add_lines(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(content).map_err(|_| Error::vault(format!("identity {name} is not text")))?;
        let mut keys = Vec::new();
        let mut problems = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match age::x25519::Identity::from_str(line) {
                Ok(key) => keys.push(Key::Age(key)),
                Err(_) => problems.push(format!("identity {name}, line {}: {}", i + 1, why_no_identity(line))),
            }
        }
        if keys.is_empty() && problems.is_empty() {
            problems.push(format!("identity {name} holds no key"));
        }
        if !problems.is_empty() {
            return Err(Error::vault(problems.join("\n"))
                .hint("an identity file holds AGE-SECRET-KEY-1... lines, or one SSH private key; make one with `regprov vault keygen`"));
        }
        self.keys.append(&mut keys);
        Ok(())
    }

    fn add_ssh(&mut self, name: &str, content: &[u8], ask: Ask<'_>) -> Result<()> {
        let convert = format!("write it in OpenSSH's format with `ssh-keygen -p -f {name}`, or use an age identity");
        let key = age::ssh::Identity::from_buffer(content, None)
            .map_err(|_| Error::vault(format!("identity {name} is no SSH private key that can be read, or it was cut")).hint(convert.clone()))?;
        let key = match key {
            age::ssh::Identity::Unencrypted(_) => key,
            age::ssh::Identity::Encrypted(locked) => {
                let passphrase = ask(&format!("passphrase of SSH key {name}"))?;
                let opened = locked
                    .decrypt(SecretString::from(passphrase.expose().to_string()))
                    .map_err(|_| Error::vault(format!("SSH key {name} does not open with this passphrase")))?;
                opened.into()
            }
            age::ssh::Identity::Unsupported(why) => {
                let (reason, hint) = match why {
                    UnsupportedKey::EncryptedPem => ("is encrypted in the old PEM format", convert),
                    UnsupportedKey::EncryptedSsh(_) => ("is encrypted with a cipher that cannot be read here", convert),
                    UnsupportedKey::Hardware(_) => ("lives on a security key, which cannot decrypt", "use an age identity: `regprov vault keygen`".into()),
                    UnsupportedKey::Type(_) => {
                        ("is of a type that cannot decrypt (only ed25519 and RSA can)", "use an age identity: `regprov vault keygen`".into())
                    }
                };
                return Err(Error::vault(format!("SSH key {name} {reason}")).hint(hint));
            }
        };
        self.keys.push(Key::Ssh(Box::new(key)));
        Ok(())
    }
}

fn why_no_identity(line: &str) -> &'static str {
    let upper = line.to_ascii_uppercase();
    if upper.starts_with("AGE-PLUGIN-") {
        "is an identity of a plugin, which is not supported"
    } else if upper.starts_with("AGE-SECRET-KEY-PQ-") {
        "is a post-quantum identity, which is not supported"
    } else if upper.starts_with("AGE-SECRET-KEY-") {
        "begins as a secret key but is not one: it was cut or mistyped"
    } else if upper.starts_with("AGE1") || upper.starts_with("SSH-") {
        "is a public key (a recipient); here stands the secret one"
    } else {
        "is no age secret key"
    }
}

/// A new age identity: its secret line and its recipient.
pub fn generate() -> (Zeroizing<String>, String) {
    let identity = age::x25519::Identity::generate();
    (Zeroizing::new(identity.to_string().expose_secret().to_string()), identity.to_public().to_string())
}

#[cfg(test)]
pub(crate) fn recipient_of(secret: &str) -> String {
    age::x25519::Identity::from_str(secret).unwrap().to_public().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::testing::ALICE;
    use super::*;

    fn nobody(_: &str) -> Result<Secret> {
        Err(Error::vault("nobody is asked"))
    }

    #[track_caller]
    fn check(content: &str, want: std::result::Result<usize, &str>) {
        let mut ids = Identities::default();
        match (ids.add("id.txt", content.as_bytes(), &mut nobody), want) {
            (Ok(()), Ok(n)) => assert_eq!(ids.len(), n),
            (Err(e), Err(why)) => assert!(e.to_string().contains(why) && e.to_string().contains("id.txt") && !e.to_string().contains("2P2LM"), "{e}"),
            (got, _) => panic!("got {got:?} with {} keys, want {want:?}", ids.len()),
        }
    }

    #[test]
    fn identity_files() {
        check(ALICE, Ok(1));
        check(&format!("# created: today\r\n# public key: x\r\n\r\n  {ALICE}\r\n{}\n", generate().0.as_str()), Ok(2));
        check("", Err("holds no key"));
        check("# only a comment\n", Err("holds no key"));
        check(&ALICE[..50], Err("line 1: begins as a secret key"));
        check(&format!("{ALICE}\nage1xyz\n"), Err("line 2: is a public key"));
        check("AGE-PLUGIN-YUBIKEY-1ABC", Err("plugin"));
        check("hunter2", Err("line 1: is no age secret key"));
        check("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", Err("can be read"));
        check("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", Err("ssh-keygen -p"));
    }

    #[test]
    fn a_file_with_a_bad_line_adds_nothing() {
        let mut ids = Identities::default();
        assert!(ids.add("id.txt", format!("{ALICE}\nx\n").as_bytes(), &mut nobody).is_err());
        assert!(ids.is_empty());
    }

    #[test]
    fn a_passphrase_is_asked_for_once_and_names_the_file() {
        let locked = {
            let mut recipient = age::scrypt::Recipient::new(SecretString::from("open sesame".to_string()));
            recipient.set_work_factor(4);
            age::encrypt_and_armor(&recipient, ALICE.as_bytes()).unwrap()
        };
        let mut asked = Vec::new();
        let mut ids = Identities::default();
        ids.add("locked.age", locked.as_bytes(), &mut |what| {
            asked.push(what.to_string());
            Ok(Secret::new("open sesame".to_string()))
        })
        .unwrap();
        for _ in 0..3 {
            let armored = super::super::encrypt(b"x", &super::super::testing::to_alice()).unwrap();
            assert!(super::super::decrypt(armored.as_bytes(), &ids).is_ok());
        }
        assert_eq!(asked, ["passphrase of identity locked.age"]);

        let wrong = Identities::default().add("locked.age", locked.as_bytes(), &mut |_| Ok(Secret::new("hunter2".to_string()))).unwrap_err().to_string();
        assert!(wrong.contains("locked.age does not open with this passphrase") && !wrong.contains("hunter2"), "{wrong}");
        let nobody = Identities::default().add("locked.age", locked.as_bytes(), &mut nobody).unwrap_err().to_string();
        assert!(nobody.contains("nobody is asked"), "{nobody}");
    }
}
