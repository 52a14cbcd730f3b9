//! Fingerprints by which whoever holds the audit key knows a password again, without an identity.
//!
//! What they are worth, and to whom:
//!
//! - A fingerprint is HMAC-SHA256 under 256 random bits over registry, username and password. Without the key it tells nothing of the
//!   password, however weak that is: there is nothing to test a guess against, in the repository or on a node (where none of it lies).
//! - Whoever holds the audit key *and* the vault can test guesses as fast as HMAC runs. The key is therefore kept as an identity is, although it
//!   opens nothing by itself; a password of 80 random bits or more is safe from its holder too.
//! - Whoever has no key sees that a fingerprint changed, and so that the password did; that the seal changed shows as much.
//! - Equal passwords of different accounts have different fingerprints, since registry and username go in.
//! - It is no signature: whoever can write the vault can take a fingerprint out, or keep an old one. `apply` never looks at it.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::{Fingerprint, Registry, Secret, Username};

/// How the text of a key begins; 64 hexadecimal digits follow.
const PREFIX: &str = "REGPROV-AUDIT-KEY-1";
/// What an id is made over.
const ID_DOMAIN: &[u8] = b"regprov audit key id/1\0";
/// What comes before the parts of a fingerprint.
const DOMAIN: &[u8] = b"regprov fingerprint/1\0";

/// A key for fingerprints. Wiped on drop; never shown.
pub struct AuditKey {
    bytes: Zeroizing<[u8; 32]>,
    id: String,
}

impl AuditKey {
    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).expect("the kernel gives random bytes");
        AuditKey::of(bytes)
    }

    fn of(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mut key = AuditKey { bytes, id: String::new() };
        let id = key.mac(&[ID_DOMAIN]).finalize().into_bytes();
        key.id = id[..Fingerprint::KEY_ID_CHARS / 2].iter().map(|byte| format!("{byte:02x}")).collect();
        key
    }

    /// Reads a key file: the key on a line of its own; blank lines and those that start with `#` say nothing. The error quotes nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(format!("holds no audit key, or several: one line that starts with {PREFIX}"));
        };
        let hex = line.strip_prefix(PREFIX).ok_or_else(|| match line.starts_with("AGE-SECRET-KEY-") {
            true => "holds an age identity, and no audit key".to_string(),
            false => format!("holds no audit key, which starts with {PREFIX}"),
        })?;
        let cut = || "holds an audit key that was cut or changed".to_string();
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(cut());
        }
        let mut bytes = Zeroizing::new([0; 32]);
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| cut())?;
        }
        Ok(AuditKey::of(bytes))
    }

    /// The key as a file holds it.
    pub fn text(&self) -> Zeroizing<String> {
        use std::fmt::Write as _;
        // Sized at once, so that the buffer never moves and leaves no copy behind.
        let mut out = Zeroizing::new(String::with_capacity(PREFIX.len() + 64));
        out.push_str(PREFIX);
        for byte in self.bytes.iter() {
            let _ = write!(*out, "{byte:02X}");
        }
        out
    }

    /// Its name, which stands in every fingerprint made with it; no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The fingerprint of a login.
    pub fn fingerprint(&self, registry: &Registry, username: &Username, password: &Secret) -> Fingerprint {
        Fingerprint::new(&self.id, self.login(registry, username, password).finalize().into_bytes().into())
    }

    /// Whether that is this login's fingerprint, in constant time. One that another key made never is.
    pub fn is(&self, fingerprint: &Fingerprint, registry: &Registry, username: &Username, password: &Secret) -> bool {
        self.login(registry, username, password).verify_slice(fingerprint.mac()).is_ok()
    }

    /// Each part with its length before it, so that no two logins give the same bytes.
    fn login(&self, registry: &Registry, username: &Username, password: &Secret) -> Hmac<Sha256> {
        let mut mac = self.mac(&[DOMAIN]);
        for part in [registry.to_string().as_bytes(), username.as_str().as_bytes(), password.expose().as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.bytes).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AuditKey {
        let hex: String = (0..32).map(|i| format!("{i:02X}")).collect();
        AuditKey::parse(&format!("# key id: x\n\n{PREFIX}{hex}\n")).ok().unwrap()
    }

    fn fingerprint(key: &AuditKey, registry: &str, username: &str, password: &str) -> Fingerprint {
        key.fingerprint(&Registry::parse(registry).unwrap().0, &Username::parse(username).unwrap(), &Secret::new(password.to_string()))
    }

    /// The values are those of Python's `hmac.new(bytes(range(32)), message, "sha256")`.
    #[test]
    fn known_vectors() {
        assert_eq!(key().id(), "f6550461aea21aaa");
        for (registry, username, password, want) in [
            ("nvcr.io", "$oauthtoken", "planted", "f993c8b866166dc85faea57e62e2a08df1e4ba12dcd1b382f21a1f83964f6a24"),
            ("docker.io", "alice", "hunter2", "a2922ad7393fd2cbac221d002bfec0cf709146ff1c4686d0c77eaed2c04a58ba"),
            ("h.example:5000", "röbot$x", "päss \n", "806faae9b7b0ee484b25345e37fed344d136ce6f2e0badc61082a80d40533ae4"),
        ] {
            assert_eq!(fingerprint(&key(), registry, username, password).text(), format!("hmac-sha256:f6550461aea21aaa:{want}"));
        }
    }

    #[test]
    fn every_part_counts_and_so_does_where_it_ends() {
        let all = [("nvcr.io", "ab", "c"), ("nvcr.io", "a", "bc"), ("nvcr.ioa", "b", "c"), ("docker.io", "ab", "c"), ("nvcr.io", "ab", "C")];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                let (key, made) = (key(), fingerprint(&key(), one.0, one.1, one.2));
                let (registry, username) = (Registry::parse(other.0).unwrap().0, Username::parse(other.1).unwrap());
                assert_eq!(key.is(&made, &registry, &username, &Secret::new(other.2.to_string())), i == j, "{one:?} {other:?}");
            }
        }
        let other = AuditKey::generate();
        assert_ne!(other.id(), key().id());
        assert!(fingerprint(&other, "nvcr.io", "a", "b") != fingerprint(&key(), "nvcr.io", "a", "b"));
    }

    #[test]
    fn key_files() {
        let made = AuditKey::generate();
        assert_eq!(AuditKey::parse(&made.text()).ok().unwrap().text(), made.text());
        let good = key().text();
        let cut = &good[..good.len() - 1];
        for (text, want) in [
            ("", "no audit key"),
            ("# only words\n", "no audit key"),
            (&*format!("{}\n{}", *good, *good), "or several"),
            (cut, "was cut"),
            (&*format!("{cut}é"), "was cut"),
            (&*good.replace("1F", "1G"), "was cut"),
            ("AGE-SECRET-KEY-1ABC", "age identity"),
            ("hunter2", "no audit key"),
        ] {
            let why = AuditKey::parse(text).err().unwrap();
            assert!(why.contains(want) && !why.contains("hunter2") && !why.contains("1E1F"), "{why}");
        }
    }
}
