//! What tells a vault from others, and its states from each other.

use super::text::shell_word;

/// The id of a vault, made when it is, and a number that grows with each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultStamp {
    /// `v` and 16 hexadecimal digits, made at random.
    pub id: String,
    /// From 1.
    pub serial: u64,
}

impl VaultStamp {
    /// What is told of a file that holds seals and has no stamp.
    pub const MISSING: &str = "its last lines are missing, `vault_id` and `vault_serial`: it was cut, or it comes from an older regprov";

    /// What to do about [`MISSING`](Self::MISSING).
    pub fn missing_hint(file: &str) -> String {
        format!("when it is whole, `regprov vault rekey {}` writes them", shell_word(file))
    }

    /// The largest serial: 2^53, up to which any reader of JSON and YAML has whole numbers exactly.
    pub const SERIAL_MAX: u64 = 1 << 53;

    /// Whether this is an id: `v` and 16 hexadecimal digits, lower case.
    pub fn is_id(text: &str) -> bool {
        text.strip_prefix('v').is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
    }
}
