//! The SSH agent (draft-ietf-sshm-ssh-agent): what it holds, and its signatures. russh has a client too; this one goes on where
//! one key of the list is of a kind that nobody here knows, hands a signature on byte by byte (those of FIDO keys carry flags and
//! a counter), and keeps a deadline.

use std::path::Path;
use std::time::Duration;

use russh::keys::ssh_encoding::{Decode as _, Encode as _};
use russh::keys::{Certificate, HashAlg, PublicKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::model::text::sanitize;

/// How long an agent may take to connect and to list its keys.
pub(super) const LIST_DEADLINE: Duration = Duration::from_secs(3);
/// The longest answer that is read (OpenSSH's AGENT_MAX_LEN).
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// The most keys of a list that are looked at (OpenSSH's MAX_AGENT_IDENTITIES).
const KEYS_MAX: u32 = 2048;
/// How often one blob may speak of certificates: a certificate's authority may be one again, and each costs stack.
const CERTIFICATES_NESTED_MAX: usize = 4;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// The public half of a key, or a certificate for it.
#[derive(Clone)]
pub(super) enum Public {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl Public {
    /// From the bytes that travel; `None` for what nobody here knows.
    pub(super) fn parse(blob: &[u8]) -> Option<Public> {
        const MARK: &[u8] = b"-cert-v01@";
        if blob.windows(MARK.len()).filter(|w| *w == MARK).count() > CERTIFICATES_NESTED_MAX {
            return None;
        }
        let name = String::decode(&mut &*blob).ok()?;
        match name.as_bytes().windows(MARK.len()).any(|w| w == MARK) {
            true => Certificate::from_bytes(blob).ok().map(|c| Public::Certificate(Box::new(c))),
            false => PublicKey::from_bytes(blob).ok().map(Public::Key),
        }
    }

    /// From the line of a `.pub` file.
    pub(super) fn parse_line(text: &str) -> Option<Public> {
        use base64::Engine as _;
        let line = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'))?;
        let mut words = line.split_ascii_whitespace();
        let (name, base64) = (words.next()?, words.next()?);
        let blob = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
        (String::decode(&mut &*blob).ok()? == name).then(|| Public::parse(&blob))?
    }

    /// The bytes that travel.
    pub(super) fn blob(&self) -> Vec<u8> {
        match self {
            Public::Key(key) => key.to_bytes(),
            Public::Certificate(certificate) => certificate.to_bytes(),
        }
        .unwrap_or_default()
    }

    /// The key that signs: itself, or the one that the certificate is for.
    pub(super) fn key(&self) -> PublicKey {
        match self {
            Public::Key(key) => key.clone(),
            Public::Certificate(certificate) => PublicKey::new(certificate.public_key().clone(), ""),
        }
    }
}

/// What the agent holds.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) comment: String,
    pub(super) public: Public,
    /// As the agent itself writes it.
    pub(super) blob: Vec<u8>,
}

/// Asks the agent what it holds; what nobody here knows is left out.
pub(super) async fn list(path: &Path) -> Result<Vec<Held>, String> {
    let shown = path.display();
    let answer = tokio::time::timeout(LIST_DEADLINE, ask(path, &[REQUEST_IDENTITIES])).await;
    let answer = answer.map_err(|_| format!("the SSH agent at {shown} does not answer"))?.map_err(|why| format!("the SSH agent at {shown} {why}"))?;
    parse_list(&answer).ok_or_else(|| format!("the SSH agent at {shown} answers with something else than a list of keys"))
}

fn parse_list(answer: &[u8]) -> Option<Vec<Held>> {
    let (&IDENTITIES_ANSWER, mut rest) = answer.split_first()? else { return None };
    let count = u32::decode(&mut rest).ok()?;
    let mut held = Vec::new();
    for _ in 0..count.min(KEYS_MAX) {
        let (blob, comment) = (Vec::<u8>::decode(&mut rest).ok()?, Vec::<u8>::decode(&mut rest).ok()?);
        let comment = sanitize(&String::from_utf8_lossy(&comment));
        match Public::parse(&blob) {
            Some(public) => held.push(Held { comment, public, blob }),
            None => tracing::info!("the SSH agent holds a key that regprov cannot read: {comment}"),
        }
    }
    Some(held)
}

/// Asks the agent for a signature over `data` with the key of this blob: the signature's bytes, unchanged. It keeps no deadline.
pub(super) async fn sign(path: &Path, blob: &[u8], data: &[u8], hash: Option<HashAlg>) -> Result<Vec<u8>, String> {
    let flags = match hash {
        Some(HashAlg::Sha256) => RSA_SHA2_256,
        Some(HashAlg::Sha512) => RSA_SHA2_512,
        _ => 0,
    };
    let mut request = vec![SIGN_REQUEST];
    let encoded = blob.encode(&mut request).and_then(|()| data.encode(&mut request)).and_then(|()| flags.encode(&mut request));
    encoded.map_err(|_| "cannot be asked".to_string())?;
    let answer = ask(path, &request).await?;
    let Some((&SIGN_RESPONSE, mut rest)) = answer.split_first() else { return Err("does not sign".to_string()) };
    let signature = Vec::<u8>::decode(&mut rest).map_err(|_| "answers with something else than a signature".to_string())?;
    let name = String::decode(&mut &*signature).map_err(|_| "answers with something else than a signature".to_string())?;
    // An old agent does not know the flags and signs with SHA-1, which no server takes any more.
    match hash {
        Some(HashAlg::Sha256) if name != "rsa-sha2-256" => Err("signs RSA with SHA-1 only".to_string()),
        Some(HashAlg::Sha512) if name != "rsa-sha2-512" => Err("signs RSA with SHA-1 only".to_string()),
        _ => Ok(signature),
    }
}

/// One request over a connection of its own, so that a broken one spoils nothing else.
async fn ask(path: &Path, request: &[u8]) -> Result<Vec<u8>, String> {
    let broke = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => "closed the connection".to_string(),
        _ => format!("does not answer: {}", super::io_reason(&e)),
    };
    let mut socket = UnixStream::connect(path).await.map_err(broke)?;
    let mut message = u32::try_from(request.len()).map_err(|_| "cannot be asked".to_string())?.to_be_bytes().to_vec();
    message.extend_from_slice(request);
    socket.write_all(&message).await.map_err(broke)?;
    let length = socket.read_u32().await.map_err(broke)? as usize;
    if length > ANSWER_BYTES_MAX {
        return Err("answers with more than regprov reads".to_string());
    }
    let mut answer = vec![0; length];
    socket.read_exact(&mut answer).await.map_err(broke)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
    }

    fn answer(count: u32, keys: &[(&[u8], &str)]) -> Vec<u8> {
        let mut all = vec![IDENTITIES_ANSWER];
        all.extend(count.to_be_bytes());
        for (blob, comment) in keys {
            all.extend(string(blob));
            all.extend(string(comment.as_bytes()));
        }
        all
    }

    #[test]
    fn a_list_is_read_as_far_as_it_is_one() {
        let good = [string(b"ssh-ed25519"), string(&[7; 32])].concat();
        let strange = [string(b"ssh-new"), string(&[1; 3])].concat();
        let nested = [string(b"a-cert-v01@x"), string(&b"-cert-v01@".repeat(500))].concat();
        let comments = |bytes: &[u8]| parse_list(bytes).map(|held| held.into_iter().map(|h| h.comment).collect::<Vec<_>>());
        assert_eq!(comments(&answer(0, &[])), Some(vec![]));
        assert_eq!(comments(&answer(2, &[(&good, "a"), (&good, "b\x1b[2J")])), Some(vec!["a".into(), "b\\u{1b}[2J".into()]));
        assert_eq!(comments(&answer(4, &[(&strange, "x"), (&nested, "n"), (b"", "e"), (&good, "a")])), Some(vec!["a".into()]));
        assert_eq!(comments(&answer(3, &[(&good, "a")])), None, "fewer keys than said");
        assert_eq!(comments(&answer(u32::MAX, &[(&good, "a")])), None);
        assert_eq!(comments(&[5]), None, "a failure");
        assert_eq!(comments(&[]), None);
    }
}
