//! What a vault says of a password to those who hold the audit key, and to nobody else.

use std::fmt::Write as _;

/// The keyed fingerprint of a login's registry, username and password: `hmac-sha256:KEYID:MAC`, in hexadecimal. It has no `Debug` and no
/// `Display`, since reports and logs have no use for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    key_id: String,
    mac: [u8; 32],
}

impl Fingerprint {
    /// Of the audit key with this id ([`KEY_ID_CHARS`](Self::KEY_ID_CHARS) hexadecimal digits).
    pub fn new(key_id: &str, mac: [u8; 32]) -> Self {
        Fingerprint { key_id: key_id.to_string(), mac }
    }

    /// How long an audit key's id is.
    pub const KEY_ID_CHARS: usize = 16;

    /// Reads the text that a vault holds. The error says what is wrong and quotes nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not of the form hmac-sha256:KEYID:MAC, as `regprov vault fingerprint` writes it".to_string();
        let (key_id, mac) = text.strip_prefix("hmac-sha256:").and_then(|rest| rest.split_once(':')).ok_or_else(wrong)?;
        let is_hex = |t: &str, chars: usize| t.len() == chars && t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !is_hex(key_id, Self::KEY_ID_CHARS) || !is_hex(mac, 64) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&mac[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Fingerprint { key_id: key_id.to_string(), mac: bytes })
    }

    /// The text that goes into a vault.
    pub fn text(&self) -> String {
        self.mac.iter().fold(format!("hmac-sha256:{}:", self.key_id), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }

    /// Which audit key it was made with.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The code itself; compared in constant time by whoever holds the key.
    pub fn mac(&self) -> &[u8; 32] {
        &self.mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_nothing_else_is_read() {
        let good = format!("hmac-sha256:0123456789abcdef:{}", "0f".repeat(32));
        let read = Fingerprint::parse(&good).ok().unwrap();
        assert_eq!((read.text(), read.key_id(), read.mac()), (good.clone(), "0123456789abcdef", &[0x0f; 32]));
        for bad in
            ["", "hmac-sha256", "hmac-sha256:0123456789abcdef", &good[1..], &good[..good.len() - 1], &good.replace('f', "F"), &good.replace("256", "512")]
        {
            let why = Fingerprint::parse(bad).err().unwrap();
            assert!(why.contains("vault fingerprint") && (bad.len() < 20 || !why.contains(bad)), "{why}");
        }
        assert!(Fingerprint::parse(&format!("{good}0")).is_err() && Fingerprint::parse(&good.replace("0123", "012é")).is_err());
    }
}
