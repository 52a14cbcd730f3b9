//! What tells a vault from others, and its states from each other.

/// The id of a vault, made when it is, and a number that grows with each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultStamp {
    /// `v` and 16 hexadecimal digits, made at random.
    pub id: String,
    /// From 1.
    pub serial: u64,
}

impl VaultStamp {
    /// Whether this is an id: `v` and 16 hexadecimal digits, lower case.
    pub fn is_id(text: &str) -> bool {
        text.strip_prefix('v').is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
    }
}
