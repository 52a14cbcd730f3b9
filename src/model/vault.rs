//! What tells a vault from others, and its states from each other.

/// The id of a vault, made when it is, and a number that grows with each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultStamp {
    /// `v` and 16 hexadecimal digits, made at random.
    pub id: String,
    /// From 1.
    pub serial: u64,
}
