//! What tells a vault from others, and its states from each other: an id and a serial, as plain as the names of its logins.
//!
//! Neither is a secret, and neither is authentic by itself: whoever can write the file can write them. They are worth what they are compared
//! with, and a signature holds them.

use super::VaultDocument;
use crate::model::VaultStamp;

/// The stamp of a new vault.
pub fn new() -> VaultStamp {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the kernel gives random bytes");
    VaultStamp { id: format!("v{:016x}", u64::from_be_bytes(random)), serial: 1 }
}

/// The stamp that stands in a file; `None` for one of an older regprov.
///
/// # Errors
/// Half of it is missing, or it is none; says what, as the end of a sentence.
pub fn of(document: &VaultDocument) -> Result<Option<VaultStamp>, &'static str> {
    match (&document.vault_id, document.vault_serial) {
        (None, None) => Ok(None),
        (Some(_), None) => Err("it has a `vault_id` and no `vault_serial`: it was cut"),
        (None, Some(_)) => Err("it has a `vault_serial` and no `vault_id`: it was cut"),
        (Some(id), _) if !VaultStamp::is_id(id) => Err("its `vault_id` is damaged"),
        (_, Some(0)) => Err("its `vault_serial` is damaged"),
        (Some(id), Some(serial)) => Ok(Some(VaultStamp { id: id.clone(), serial })),
    }
}

/// The stamp of a vault after its next change; one that has none gets its first.
pub fn next(document: &VaultDocument) -> VaultStamp {
    let fresh = new();
    VaultStamp { id: document.vault_id.clone().unwrap_or(fresh.id), serial: document.vault_serial.map_or(fresh.serial, |serial| serial.saturating_add(1)) }
}

/// The stamp of what comes of two states of one vault: newer than both. `None` for two vaults.
pub fn merged(ours: &VaultStamp, theirs: &VaultStamp) -> Option<VaultStamp> {
    (ours.id == theirs.id).then(|| VaultStamp { serial: ours.serial.max(theirs.serial).saturating_add(1), ..ours.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_stamp_is_none() {
        let of = |text: &str| of(&VaultDocument::parse("v", text).unwrap()).map(|s| s.map(|s| s.serial));
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("vault_id: v0123456789abcdef\nvault_serial: 7\n"), Ok(Some(7)));
        for (text, why) in [
            ("vault_id: v0123456789abcdef\n", "no `vault_serial`"),
            ("vault_serial: 7\n", "no `vault_id`"),
            ("vault_id: ../../etc/passwd\nvault_serial: 7\n", "damaged"),
            ("vault_id: v0123456789abcdef\nvault_serial: 0\n", "damaged"),
        ] {
            assert!(of(text).is_err_and(|e| e.contains(why)), "{text}");
        }
    }

    #[test]
    fn a_merge_is_newer_than_both() {
        let stamp = |id: &str, serial| VaultStamp { id: id.to_string(), serial };
        for (ours, theirs, want) in [(3, 7, 8), (7, 3, 8), (5, 5, 6), (1, u64::MAX, u64::MAX)] {
            assert_eq!(merged(&stamp("a", ours), &stamp("a", theirs)), Some(stamp("a", want)));
        }
        assert_eq!(merged(&stamp("a", 1), &stamp("b", 2)), None);
        let next = |text: &str| next(&VaultDocument::parse("v", text).unwrap());
        let first = next("");
        assert!(VaultStamp::is_id(&first.id) && first.serial == 1);
        assert_eq!(next(&format!("vault_id: {}\nvault_serial: 1\n", first.id)), VaultStamp { serial: 2, ..first });
    }
}
