//! What `ansible-vault` sealed, read: the formats 1.1 and 1.2 (ansible-core 2.14, `parsing/vault/__init__.py`), a whole file or one value.
//!
//! ```text
//! $ANSIBLE_VAULT;1.2;AES256;LABEL
//! hex of ( hex of salt LF hex of HMAC-SHA256 over the ciphertext LF hex of ciphertext ), in lines of 80
//! ```
//!
//! PBKDF2-HMAC-SHA256 makes the keys of the password and the salt; the ciphertext is AES-256-CTR of the text, padded as PKCS #7 has it.
//! Nothing is deciphered before its HMAC is right. The header is not authentic: the label is a hint as to which password to try.

use std::fmt;

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// With what every sealed text begins.
const MAGIC: &[u8] = b"$ANSIBLE_VAULT";

/// The label of a vault that names none, as Ansible's `DEFAULT_VAULT_IDENTITY` has it.
pub const DEFAULT_LABEL: &str = "default";

/// Rounds of PBKDF2 (`VaultAES256._create_key_cryptography`).
const ROUNDS: u32 = 10_000;

/// The block of AES in bytes, to which the text is padded.
const BLOCK: usize = 16;

/// A sealed text, taken apart and not opened.
pub struct AnsibleVault {
    label: Option<String>,
    salt: Vec<u8>,
    mac: [u8; 32],
    ciphertext: Vec<u8>,
}

/// Why a text gives nothing. None of them holds a piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Of another version, or sealed with another cipher: both, as the header names them.
    Foreign(String),
    /// Cut or changed; how that shows.
    Damaged(&'static str),
    /// The HMAC is not that of this password: another one, or a changed text.
    Password,
}

/// Whether a text is one of ansible-vault's, as Ansible tells it (`is_encrypted`).
pub fn is_sealed(text: &[u8]) -> bool {
    text.starts_with(MAGIC)
}

impl AnsibleVault {
    /// Takes a sealed text apart. Lines may be indented and end with CRLF.
    ///
    /// # Errors
    /// [`Fault::Foreign`] or [`Fault::Damaged`].
    pub fn parse(text: &[u8]) -> Result<Self, Fault> {
        let mut lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        let header = lines.next().unwrap_or_default();
        let header = std::str::from_utf8(header).map_err(|_| Fault::Damaged("its header is no text"))?;
        let mut fields = header.split(';').map(str::trim);
        let magic = fields.next().unwrap_or_default();
        let (version, cipher, label) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default(), fields.next());
        if magic.as_bytes() != MAGIC || version.is_empty() || cipher.is_empty() {
            return Err(Fault::Damaged("its header is cut"));
        }
        if !matches!(version, "1.1" | "1.2") || cipher != "AES256" {
            return Err(Fault::Foreign(format!("version {version}, cipher {cipher}")));
        }
        let body = unhex(lines.flatten().copied()).ok_or(Fault::Damaged("it is no hexadecimal text"))?;
        let mut parts = body.splitn(3, |b| *b == b'\n');
        let mut part = || parts.next().and_then(|hex| unhex(hex.iter().copied())).ok_or(Fault::Damaged("a part of it is missing or no hexadecimal text"));
        let (salt, mac, ciphertext) = (part()?, part()?, part()?);
        let mac = <[u8; 32]>::try_from(mac).map_err(|_| Fault::Damaged("its HMAC has another length than 32 bytes"))?;
        if salt.is_empty() || ciphertext.is_empty() || ciphertext.len() % BLOCK != 0 {
            return Err(Fault::Damaged("its end is missing"));
        }
        Ok(AnsibleVault { label: label.filter(|l| !l.is_empty()).map(str::to_string), salt, mac, ciphertext })
    }

    /// The label (`--vault-id`) that the header names.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Fault::Password`], and [`Fault::Damaged`] where somebody who knew the password sealed what is not padded.
    pub fn open(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let mut keys = Zeroizing::new([0; 32 + 32 + BLOCK]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &self.salt, ROUNDS, &mut *keys);
        let (cipher_key, rest) = keys.split_at(32);
        let (mac_key, counter) = rest.split_at(32);
        let mut mac = Hmac::<Sha256>::new_from_slice(mac_key).expect("HMAC takes keys of any length");
        mac.update(&self.ciphertext);
        // Compared in constant time.
        mac.verify_slice(&self.mac).map_err(|_| Fault::Password)?;
        let mut text = Zeroizing::new(self.ciphertext.clone());
        Ctr128BE::<Aes256>::new_from_slices(cipher_key, counter).expect("32 and 16 bytes, as it was cut four lines above").apply_keystream(&mut text);
        let padding = usize::from(*text.last().expect("parse refuses an empty one"));
        let padded = (1..=BLOCK).contains(&padding) && text[text.len() - padding..].iter().all(|b| usize::from(*b) == padding);
        if !padded {
            return Err(Fault::Damaged("its padding is wrong"));
        }
        let length = text.len() - padding;
        text.truncate(length);
        Ok(text)
    }
}

/// The bytes of hexadecimal digits; `None` where something else stands among them.
fn unhex(digits: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let values: Vec<u8> = digits.map(|b| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    values.len().is_multiple_of(2).then(|| values.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Foreign(what) => write!(f, "is of ansible-vault's {what}; regprov reads versions 1.1 and 1.2 with AES256"),
            Fault::Damaged(how) => write!(f, "is damaged: {how}"),
            Fault::Password => f.write_str("does not open: the vault password is another one, or the text was changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ansible-vault encrypt` of core 2.14, password `correct horse`.
    const SEALED_11: &str = include_str!("testdata/value-1.1");
    /// The same with `--encrypt-vault-id prod`.
    const SEALED_12: &str = include_str!("testdata/value-1.2");
    const PASSWORD: &[u8] = b"correct horse";
    const VALUE: &[u8] = b"planted-7f3a\n";

    fn open(text: &[u8]) -> Result<Vec<u8>, Fault> {
        AnsibleVault::parse(text)?.open(PASSWORD).map(|t| t.to_vec())
    }

    #[test]
    fn what_ansible_vault_sealed_opens() {
        for (text, label) in [(SEALED_11, None), (SEALED_12, Some("prod"))] {
            assert_eq!(AnsibleVault::parse(text.as_bytes()).unwrap().label(), label);
            assert_eq!(open(text.as_bytes()), Ok(VALUE.to_vec()));
            for dressed in [
                text.replace('\n', "\r\n"),
                text.trim_end().to_string(),
                format!("{text}\n\n"),
                text.lines().map(|l| format!("          {l}\n")).collect::<String>().trim_start().to_string(),
                text.to_ascii_uppercase().replace("PROD", "prod"),
                // Ansible joins the lines, however long they are.
                text.replacen('\n', "|", 1).replace('\n', "").replace('|', "\n"),
            ] {
                assert!(is_sealed(dressed.as_bytes()));
                assert_eq!(open(dressed.as_bytes()), Ok(VALUE.to_vec()), "{dressed}");
            }
        }
    }

    #[test]
    fn other_passwords_open_nothing() {
        for wrong in ["", "correct", "correct horse ", "Correct horse", "correct horse\n"] {
            assert_eq!(AnsibleVault::parse(SEALED_11.as_bytes()).unwrap().open(wrong.as_bytes()).err(), Some(Fault::Password), "{wrong:?}");
        }
    }

    #[test]
    fn other_formats_are_named() {
        for (header, want) in [
            ("$ANSIBLE_VAULT;1.0;AES", Err("version 1.0, cipher AES;")),
            ("$ANSIBLE_VAULT;1.0;AES256", Err("version 1.0, cipher AES256;")),
            ("$ANSIBLE_VAULT;1.3;AES256;x", Err("version 1.3,")),
            ("$ANSIBLE_VAULT;1.1;AES", Err("cipher AES;")),
            ("$ANSIBLE_VAULT;1.1", Err("is damaged: its header is cut")),
            ("$ANSIBLE_VAULT", Err("is damaged: its header is cut")),
            ("$ANSIBLE_VAULTED;1.1;AES256", Err("is damaged: its header is cut")),
            // As Ansible: a label may stand behind 1.1, and blanks around each field.
            ("$ANSIBLE_VAULT; 1.1 ; AES256 ; prod", Ok(Some("prod"))),
            ("$ANSIBLE_VAULT;1.2;AES256;", Ok(None)),
        ] {
            let text = SEALED_11.replacen("$ANSIBLE_VAULT;1.1;AES256", header, 1);
            match (AnsibleVault::parse(text.as_bytes()), want) {
                (Ok(vault), Ok(label)) => assert_eq!((vault.label(), open(text.as_bytes())), (label, Ok(VALUE.to_vec())), "{header}"),
                (Err(fault), Err(why)) => assert!(fault.to_string().contains(why), "{header}: {fault}"),
                (got, _) => panic!("{header}: {:?}", got.err()),
            }
        }
    }

    #[test]
    fn what_is_cut_or_changed_never_opens_to_something_else() {
        let text = SEALED_12.trim_end().as_bytes();
        for end in 0..text.len() {
            assert!(open(&text[..end]).is_err(), "cut at {end}");
        }
        let mut opened = 0;
        for at in 0..text.len() {
            // Bit 5 is the case of a letter.
            let bit = [0, 3, 5][at % 3];
            let mut changed = text.to_vec();
            changed[at] ^= 1 << bit;
            match open(&changed) {
                Ok(value) => {
                    opened += 1;
                    assert_eq!(value, VALUE, "byte {at}, bit {bit}");
                }
                Err(fault) => assert!(!fault.to_string().contains("planted"), "{fault}"),
            }
        }
        assert!(opened > 0, "the label and the case of digits say nothing about the value");
    }

    #[test]
    fn what_was_padded_by_nobody_is_refused() {
        let vault = AnsibleVault::parse(SEALED_11.as_bytes()).unwrap();
        let mut keys = [0; 80];
        pbkdf2::pbkdf2_hmac::<Sha256>(PASSWORD, &vault.salt, ROUNDS, &mut keys);
        for (block, fits) in [([b'x'; 16], false), ([16; 16], true), ([0; 16], false), (*b"0123456789abcd\x01\x02", false), (*b"0123456789abcd\x02\x02", true)]
        {
            let mut ciphertext = block.to_vec();
            Ctr128BE::<Aes256>::new_from_slices(&keys[..32], &keys[64..]).unwrap().apply_keystream(&mut ciphertext);
            let mut mac = Hmac::<Sha256>::new_from_slice(&keys[32..64]).unwrap();
            mac.update(&ciphertext);
            let vault = AnsibleVault { label: None, salt: vault.salt.clone(), mac: mac.finalize().into_bytes().into(), ciphertext };
            assert_eq!(vault.open(PASSWORD).is_ok(), fits, "{block:?}");
        }
    }
}
