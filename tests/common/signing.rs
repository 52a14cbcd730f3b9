//! Signatures of `ssh-keygen -Y sign`'s form, made here, so that tests need no other program.

// Each test binary takes what it needs.
#![allow(dead_code)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

/// A key of this test's own.
pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// The line of an `allowed_signers` that lets a key in.
pub(crate) fn line(principal: &str, key: &PrivateKey) -> String {
    format!("{principal} namespaces=\"regprov\" {}", key.public_key().to_openssh().unwrap().trim())
}

pub(crate) fn sign(key: &PrivateKey, namespace: &str, content: &str) -> String {
    key.sign(namespace, HashAlg::Sha512, content.as_bytes()).unwrap().to_pem(LineEnding::LF).unwrap()
}

/// What stands in the armor.
pub(crate) fn signature_in(text: &str) -> Vec<u8> {
    let packed: String = text.lines().filter(|l| !l.starts_with("-----")).collect();
    STANDARD.decode(packed.split_ascii_whitespace().collect::<String>()).unwrap()
}

/// The armor around it.
pub(crate) fn armored(signature: &[u8]) -> String {
    let packed = STANDARD.encode(signature);
    let lines: Vec<&str> = packed.as_bytes().chunks(70).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}

/// A string of SSH: its length, and itself.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// What a key signs for a content (PROTOCOL.sshsig).
pub(crate) fn signed_data(namespace: &str, content: &[u8]) -> Vec<u8> {
    ssh_key::SshSig::signed_data(namespace, HashAlg::Sha512, content).unwrap()
}

/// A signature of its parts: the key in base64, as it stands in a .pub, and what it made of [`signed_data`].
pub(crate) fn assembled(key: &str, namespace: &str, algorithm: &str, signature: &[u8]) -> String {
    assembled_with(key, namespace, &[string(algorithm.as_bytes()), string(signature)].concat())
}

fn assembled_with(key: &str, namespace: &str, signature: &[u8]) -> String {
    let key = STANDARD.decode(key).unwrap();
    let parts = [&b"SSHSIG"[..], &1_u32.to_be_bytes(), &string(&key), &string(namespace.as_bytes()), &string(b""), &string(b"sha512"), &string(signature)];
    armored(&parts.concat())
}

/// The public key and the signature as a token with this key gives them (PROTOCOL.u2f), when somebody touched it.
pub(crate) fn sign_as_token(key: &PrivateKey, namespace: &str, content: &[u8]) -> (String, String) {
    use sha2::Digest as _;
    let pair = key.key_data().ed25519().unwrap();
    let public = [string(b"sk-ssh-ed25519@openssh.com"), string(&pair.public.0), string(b"ssh:")].concat();
    let public = STANDARD.encode(public);
    let (touched, counter) = ([1_u8], 7_u32.to_be_bytes());
    let hash = |bytes: &[u8]| sha2::Sha256::digest(bytes).to_vec();
    let message = [&hash(b"ssh:")[..], &touched, &counter, &hash(&signed_data(namespace, content))].concat();
    let signature = [string(b"sk-ssh-ed25519@openssh.com"), string(&raw(key, &message)), touched.to_vec(), counter.to_vec()].concat();
    let text = assembled_with(&public, namespace, &signature);
    (format!("sk-ssh-ed25519@openssh.com {public}"), text)
}

fn raw(key: &impl ssh_key::SigningKey, message: &[u8]) -> Vec<u8> {
    key.try_sign(message).unwrap().as_bytes().to_vec()
}
