//! Whether a host's certificate speaks for it, as OpenSSH judges (sshkey.c sshkey_cert_check_host), once its authority is known to
//! be one. russh checks that the host has the key inside, and nothing else.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};

/// Checks signature, type, time, options and principals. `host` is the name that was asked for, without its port, in small
/// letters, or the alias; `now` is Unix time.
///
/// # Errors
/// Says what is wrong, as the end of a sentence about the certificate.
pub(super) fn check(certificate: &Certificate, host: &str, now: u64) -> Result<(), String> {
    // OpenSSH's default CASignatureAlgorithms has no SHA-1.
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err("is signed with SHA-1".to_string());
    }
    if certificate.cert_type() != CertType::Host {
        return Err("is for a user, not for a host".to_string());
    }
    if now < certificate.valid_after() {
        return Err("is not valid yet (compare the clocks)".to_string());
    }
    if now >= certificate.valid_before() {
        return Err("has expired (sign a new one)".to_string());
    }
    if certificate.critical_options().iter().next().is_some() {
        return Err("has a critical option, and none is known for hosts".to_string());
    }
    if certificate.valid_principals().is_empty() {
        return Err("names no host (sign it with `ssh-keygen -h -n NAME`); ssh takes it for every host, regprov for none".to_string());
    }
    if !certificate.valid_principals().iter().any(|p| p == host) {
        return Err(format!("is not for the name {host}"));
    }
    // It verifies the signature with the authority that the certificate names; that this one is trusted was found before.
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate.validate_at(now, [&authority]).map_err(|_| "has a wrong signature".to_string())
}
