//! Bytes sealed and opened as age files, armored or binary.

use std::io::{self, BufReader, Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor};
use zeroize::Zeroizing;

use super::header::{Header, MAGIC};
use super::recipients::Named;
use super::{Identities, Recipients};
use crate::error::{Error, Result};
use crate::model::Secret;

/// The highest accepted scrypt work factor, as the exponent of two: 1 GiB of memory and some seconds. What asks for more is
/// a trap for whoever opens it. The age program writes 18.
pub const SCRYPT_LOG_N_MAX: u8 = 20;

/// First line of an armored age file.
const ARMOR_BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// Whether these bytes are an age file, armored or binary. White space before the armor counts as nothing, as age has it.
pub fn is_age_file(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.trim_ascii_start().starts_with(ARMOR_BEGIN)
}

/// What the header of an age file says, armored or not. The armor may be cut behind it.
///
/// # Errors
/// As [`Header::parse`].
pub fn header(bytes: &[u8]) -> std::result::Result<Header, OpenError> {
    let mut binary = Vec::new();
    // What could be read is enough.
    let _ = reader(bytes).read_to_end(&mut binary);
    Header::parse(&binary)
}

/// As [`header`], of a file whose armor is whole.
pub fn whole_header(bytes: &[u8]) -> std::result::Result<Header, OpenError> {
    read(bytes).map(|(header, _)| header)
}

/// Whether this age file is sealed with a passphrase instead of for recipients.
pub fn is_passphrase_file(bytes: &[u8]) -> bool {
    header(bytes).is_ok_and(|header| header.is_passphrase())
}

/// For how many recipients an age file is sealed, read from its header (which is not authenticated without a key); `None`
/// when it is no age file, or none that is whole.
pub fn recipient_count(bytes: &[u8]) -> Option<usize> {
    header(bytes).ok().map(|header| header.recipients().count())
}

/// Seals bytes for all recipients, as armor that ends with a line feed. Fails only without recipients.
///
/// Nothing outside says for whom: age's own keys leave no trace in a header, and a whole file keeps that.
pub fn encrypt(content: &[u8], recipients: &Recipients) -> Result<String> {
    armor(content, recipients, None)
}

/// As [`encrypt`], for a value in a file that lists its recipients in the clear: a stanza more says that it is for exactly these.
pub fn encrypt_value(content: &[u8], recipients: &Recipients) -> Result<String> {
    armor(content, recipients, Some(&Named { digest: recipients.digest() }))
}

fn armor(content: &[u8], recipients: &Recipients, named: Option<&Named>) -> Result<String> {
    let failed = |why: String| Error::internal(format!("age could not encrypt: {why}"));
    if recipients.is_empty() {
        return Err(Error::vault("there is no recipient to encrypt for").hint("name one with -r, or list it under `recipients:`"));
    }
    let all = recipients.as_age().chain(named.map(|named| named as &dyn age::Recipient));
    let encryptor = Encryptor::with_recipients(all).map_err(|e| failed(e.to_string()))?;
    let mut armored = Vec::new();
    let write = |armored: &mut Vec<u8>| -> io::Result<()> {
        let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(armored, Format::AsciiArmor)?)?;
        writer.write_all(content)?;
        writer.finish()?.finish()?;
        Ok(())
    };
    write(&mut armored).map_err(|e| failed(e.to_string()))?;
    String::from_utf8(armored).map_err(|_| failed("armor is not ASCII".into()))
}

/// Why an age file did not open. It names no file: whoever called knows what it was; see [`OpenError::explain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// These bytes are no age file.
    NotAge,
    /// A later version of the format, or a defect in the first line.
    Version,
    /// None of the identities is among the recipients.
    NoMatch,
    /// None of them, and a post-quantum key is.
    PostQuantum,
    /// Sealed with a passphrase, and identities were given.
    NeedsPassphrase,
    /// The passphrase is not the one.
    WrongPassphrase,
    /// Sealed for recipients, and a passphrase was given.
    NeedsIdentity,
    /// A scrypt work factor over [`SCRYPT_LOG_N_MAX`].
    TooMuchWork,
    /// Cut, changed or never whole.
    Damaged,
}

impl OpenError {
    /// The error for a person; `what` names the thing: `file vault.yml`, ``the password of login `ngc` ``.
    pub fn explain(self, what: &str) -> Error {
        match self {
            OpenError::NotAge => Error::vault(format!("{what} is not encrypted with age")),
            OpenError::Version => Error::vault(format!("{what} is in an age format that this regprov does not know, or its first lines are damaged"))
                .hint("take it from version control again, or update regprov"),
            OpenError::NoMatch => Error::vault(format!("{what} is not sealed for any of the identities given"))
                .hint("give the identity it was sealed for with --identity FILE, or ask somebody who can open it to add your recipient and seal it again"),
            OpenError::PostQuantum => {
                Error::vault(format!("{what} is not sealed for any of the identities given, but for a post-quantum one, which is not supported"))
                    .hint("ask somebody who can open it to add your age1... or SSH recipient and seal it again")
            }
            OpenError::NeedsPassphrase => {
                Error::vault(format!("{what} is sealed with a passphrase, not for an identity")).hint("open it with `age -d` and seal it for recipients")
            }
            OpenError::WrongPassphrase => Error::vault(format!("{what} does not open with this passphrase")),
            OpenError::NeedsIdentity => {
                Error::vault(format!("{what} is sealed for recipients, not with a passphrase")).hint("give an identity with --identity FILE")
            }
            OpenError::TooMuchWork => Error::vault(format!(
                "{what} asks for more than 2^{SCRYPT_LOG_N_MAX} rounds of scrypt, which would take minutes and gigabytes: refused as a trap"
            )),
            OpenError::Damaged => {
                Error::vault(format!("{what} is damaged: it was cut or changed after it was sealed")).hint("take it from version control again")
            }
        }
    }
}

/// Opens an age file, armored or binary. Nothing is released unless all of it is authentic.
pub fn decrypt(bytes: &[u8], identities: &Identities) -> std::result::Result<Zeroizing<Vec<u8>>, OpenError> {
    let (header, binary) = read(bytes)?;
    if header.is_passphrase() {
        return Err(OpenError::NeedsPassphrase);
    }
    open(&binary, identities.as_age()).map_err(|e| if e == OpenError::NoMatch && header.is_post_quantum() { OpenError::PostQuantum } else { e })
}

/// Opens an age file that is sealed with a passphrase.
pub fn decrypt_with_passphrase(bytes: &[u8], passphrase: &Secret) -> std::result::Result<Zeroizing<Vec<u8>>, OpenError> {
    let (header, binary) = read(bytes)?;
    if !header.is_passphrase() {
        return Err(OpenError::NeedsIdentity);
    }
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.expose().to_string()));
    identity.set_max_work_factor(SCRYPT_LOG_N_MAX);
    open(&binary, std::iter::once(&identity as &dyn age::Identity)).map_err(|e| if e == OpenError::NoMatch { OpenError::WrongPassphrase } else { e })
}

/// Reads through the armor when there is one. White space around it is no part of it (c2sp.org/age, "ASCII armor"); the age
/// crate reads over less of it than the age program.
fn reader(bytes: &[u8]) -> ArmoredReader<BufReader<&[u8]>> {
    ArmoredReader::new(if bytes.starts_with(MAGIC) { bytes } else { bytes.trim_ascii() })
}

/// The file without its armor, and its header.
fn read(bytes: &[u8]) -> std::result::Result<(Header, Vec<u8>), OpenError> {
    if !is_age_file(bytes) {
        return Err(OpenError::NotAge);
    }
    let mut binary = Vec::with_capacity(bytes.len());
    reader(bytes).read_to_end(&mut binary).map_err(|_| OpenError::Damaged)?;
    Ok((Header::parse(&binary)?, binary))
}

fn open<'a>(binary: &[u8], identities: impl Iterator<Item = &'a dyn age::Identity>) -> std::result::Result<Zeroizing<Vec<u8>>, OpenError> {
    let decryptor = Decryptor::new_buffered(binary).map_err(|e| reason(&e))?;
    let scrypt = decryptor.is_scrypt();
    let mut reader = decryptor.decrypt(identities).map_err(|e| match e {
        // A wrong passphrase shows as a stanza that does not open.
        DecryptError::DecryptionFailed if scrypt => OpenError::WrongPassphrase,
        other => reason(&other),
    })?;
    // The plaintext is shorter than its seal, so the buffer never moves and leaves no copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(binary.len()));
    reader.read_to_end(&mut content).map_err(|_| OpenError::Damaged)?;
    Ok(content)
}

/// age's reason in our words. Its `Display` is never used: it speaks of the machine's language and, for an excessive work
/// factor, shifts by an unchecked difference.
fn reason(error: &DecryptError) -> OpenError {
    match error {
        DecryptError::NoMatchingKeys => OpenError::NoMatch,
        DecryptError::ExcessiveWork { .. } => OpenError::TooMuchWork,
        DecryptError::UnknownFormat => OpenError::Version,
        DecryptError::DecryptionFailed | DecryptError::InvalidHeader | DecryptError::InvalidMac | DecryptError::Io(_) | DecryptError::KeyDecryptionFailed => {
            OpenError::Damaged
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{alice, bob, to_alice};
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_recipient_alone() {
        for content in [&b""[..], b"x", &[0xff; 70_000]] {
            let armored = encrypt(content, &to_alice()).unwrap();
            assert!(is_age_file(armored.as_bytes()) && armored.ends_with("-----END AGE ENCRYPTED FILE-----\n"));
            assert_eq!(decrypt(armored.as_bytes(), &alice()).unwrap().as_slice(), content);
            assert_eq!(decrypt(armored.as_bytes(), &bob()).unwrap_err(), OpenError::NoMatch);
            assert_eq!(decrypt(armored.as_bytes(), &Identities::default()).unwrap_err(), OpenError::NoMatch);
            let passphrase = Secret::new("x".to_string());
            assert_eq!(decrypt_with_passphrase(armored.as_bytes(), &passphrase).unwrap_err(), OpenError::NeedsIdentity);
        }
    }

    #[test]
    fn a_file_without_recipients_is_not_written() {
        let error = encrypt(b"x", &Recipients::default()).unwrap_err();
        assert!(error.to_string().contains("no recipient"), "{error}");
    }

    #[test]
    fn what_is_an_age_file() {
        for (bytes, want) in [
            (&b"age-encryption.org/v1\n"[..], true),
            (b"\n  -----BEGIN AGE ENCRYPTED FILE-----\n", true),
            (b"-----BEGIN PGP MESSAGE-----", false),
            (b"version: 1\n", false),
            (b"", false),
        ] {
            assert_eq!(is_age_file(bytes), want, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(decrypt(b"version: 1\n", &alice()).unwrap_err(), OpenError::NotAge);
    }

    #[test]
    fn recipients_are_counted_without_an_identity() {
        let two = Recipients::parse([super::super::testing::alice_recipient().as_str(), super::super::identity::generate().1.as_str()]).unwrap();
        assert_eq!(recipient_count(encrypt(b"x", &two).unwrap().as_bytes()), Some(2));
        assert_eq!(recipient_count(encrypt(b"x", &to_alice()).unwrap().as_bytes()), Some(1));
        assert_eq!(recipient_count(b"version: 1"), None);
    }

    /// Every cut and every flipped bit is an error, never another content.
    #[test]
    fn damage_never_opens() {
        let content = b"the only content";
        let armored = encrypt(content, &to_alice()).unwrap();
        let mut binary = Vec::new();
        ArmoredReader::new(armored.as_bytes()).read_to_end(&mut binary).unwrap();
        let ids = alice();
        assert_eq!(decrypt(&binary, &ids).unwrap().as_slice(), content);
        for end in 0..binary.len() {
            assert!(decrypt(&binary[..end], &ids).is_err(), "cut after {end} bytes");
        }
        for bit in 0..binary.len() * 8 {
            let mut flipped = binary.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decrypt(&flipped, &ids).is_err(), "bit {bit}");
        }
    }
}
