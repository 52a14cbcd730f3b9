//! Key files: private ones, open or locked with a passphrase, and public ones whose private half is elsewhere.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey, decode_secret_key};
use zeroize::Zeroizing;

use super::agent::Public;
use super::auth::AskPassphrase;

/// The largest key file that is read, in bytes.
const KEY_BYTES_MAX: u64 = 1 << 20;

/// What a key file holds.
pub(super) enum KeyFile {
    /// A key that is ready.
    Open(Arc<PrivateKey>),
    /// A key behind a passphrase, with its public half where that can be read.
    Locked(Option<PublicKey>),
    /// A public key, or the handle of a FIDO key: an agent has to sign.
    Elsewhere { public: Public, fido: bool },
}

impl KeyFile {
    /// Reads `path`; where there is no such file, `path.pub`.
    pub(super) fn read(path: &Path) -> Result<KeyFile, String> {
        let shown = path.display();
        let text = match read_text(path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return match read_public(&with_suffix(path, ".pub")) {
                    Some(public) => Ok(KeyFile::Elsewhere { public, fido: false }),
                    None => Err(format!("SSH key {shown}: {}", super::io_reason(&e))),
                };
            }
            Err(e) => return Err(format!("SSH key {shown}: {}", super::io_reason(&e))),
        };
        match decode_secret_key(&text, None) {
            Ok(key) if is_fido(&key.algorithm()) => Ok(KeyFile::Elsewhere { public: Public::Key(key.public_key().clone()), fido: true }),
            Ok(key) => Ok(KeyFile::Open(Arc::new(key))),
            Err(russh::keys::Error::KeyIsEncrypted) => {
                // OpenSSH's own format has the public half before what is encrypted.
                let inside = PrivateKey::from_openssh(text.as_str()).ok().map(|key| key.public_key().clone());
                let public = inside.or_else(|| read_public(&with_suffix(path, ".pub")).map(|p| p.key()));
                match public {
                    Some(key) if is_fido(&key.algorithm()) => Ok(KeyFile::Elsewhere { public: Public::Key(key), fido: true }),
                    public => Ok(KeyFile::Locked(public)),
                }
            }
            Err(_) => match Public::parse_line(&text) {
                Some(public) => Ok(KeyFile::Elsewhere { fido: is_fido(&public.key().algorithm()), public }),
                None => Err(format!("SSH key {shown} is no private key that regprov reads (OpenSSH, PEM or PKCS#8)")),
            },
        }
    }

    /// The public half, where it is known without a passphrase.
    pub(super) fn public(&self) -> Option<Public> {
        match self {
            KeyFile::Open(key) => Some(Public::Key(key.public_key().clone())),
            KeyFile::Locked(public) => public.clone().map(Public::Key),
            KeyFile::Elsewhere { public, .. } => Some(public.clone()),
        }
    }
}

/// Opens a locked key; the passphrase is asked for by the file's name.
pub(super) fn unlock(path: &Path, ask: AskPassphrase<'_>) -> Result<Arc<PrivateKey>, String> {
    let shown = path.display();
    let passphrase =
        ask(path).ok_or_else(|| format!("SSH key {shown} is encrypted and there is no terminal to ask for its passphrase; load it into an agent"))?;
    let text = read_text(path).map_err(|e| format!("SSH key {shown}: {}", super::io_reason(&e)))?;
    decode_secret_key(&text, Some(passphrase.expose())).map(Arc::new).map_err(|_| format!("SSH key {shown} does not open with that passphrase"))
}

/// The certificate in this file.
pub(super) fn certificate(path: &Path) -> Option<Certificate> {
    match read_public(path)? {
        Public::Certificate(certificate) => Some(*certificate),
        Public::Key(_) => None,
    }
}

/// `KEY-cert.pub`, where ssh looks for a key's certificate.
pub(super) fn certificate_beside(key: &Path) -> PathBuf {
    with_suffix(key, "-cert.pub")
}

/// Whether the private half is in a FIDO token.
pub(super) fn is_fido(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256)
}

fn read_public(path: &Path) -> Option<Public> {
    Public::parse_line(&read_text(path).ok()?)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// What is no text is no key, and so is what is too long.
fn read_text(path: &Path) -> std::io::Result<Zeroizing<String>> {
    use std::io::Read as _;
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 << 10));
    fs::File::open(path)?.take(KEY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}
