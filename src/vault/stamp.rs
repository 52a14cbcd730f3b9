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

/// The stamp of a vault after its next change; one that has no id gets its first.
pub fn next(document: &VaultDocument) -> VaultStamp {
    let fresh = new();
    VaultStamp { id: document.vault_id.clone().unwrap_or(fresh.id), serial: document.vault_serial.map_or(fresh.serial, |serial| serial.saturating_add(1)) }
}
