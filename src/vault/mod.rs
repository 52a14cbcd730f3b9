//! age: single passwords sealed inside a readable file, and whole files. Bytes in, bytes out; commands read the files.
//!
//! This is the only user of the `age` crate, so that the step to its next release stays inside this folder.
//!
//! What age gives and what it does not decides the shape of this module:
//!
//! - It authenticates a file to its own key, not to a sender: who knows a public recipient can write a valid seal. So a
//!   sealed value names inside the seal what it belongs to ([`mod@seal`]).
//! - It releases chunk by chunk. Nothing is handed out here before the last chunk was authenticated ([`mod@file`]).
//! - Every encryption is random. What did not change is never sealed again ([`mod@edit`]), and what a rotation replaces is kept as it
//!   was sealed ([`mod@rotation`]).

pub mod audit;
pub mod check;
pub mod diff;
pub mod document;
pub mod edit;
pub mod file;
pub mod header;
pub mod identity;
pub mod looks;
pub mod merge;
pub mod outline;
pub mod password;
pub mod recipient_file;
pub mod recipients;
pub mod rekey;
pub mod rotation;
pub mod seal;
pub mod signature;
pub mod stamp;

pub use audit::AuditKey;
pub use document::VaultDocument;
pub use file::{OpenError, decrypt, encrypt, is_age_file};
pub use identity::Identities;
pub use recipients::{Fit, Recipient, Recipients};
pub use seal::{SealedValue, open_become, open_login, seal, seal_become};

#[cfg(test)]
pub(crate) mod testing {
    //! Keys for tests; public, so worth nothing.

    use super::{Identities, Recipients};
    use crate::error::Error;

    /// The key of the age testkit.
    pub(crate) const ALICE: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

    /// Its public half.
    pub(crate) fn alice_recipient() -> String {
        super::identity::recipient_of(ALICE)
    }

    /// Sealing for alice.
    pub(crate) fn to_alice() -> Recipients {
        Recipients::parse([alice_recipient().as_str()]).unwrap()
    }

    /// Opening as alice.
    pub(crate) fn alice() -> Identities {
        let mut ids = Identities::default();
        ids.add("alice.txt", ALICE.as_bytes(), &mut |_| Err(Error::vault("nobody is asked"))).unwrap();
        ids
    }

    /// Opening as somebody else.
    pub(crate) fn bob() -> Identities {
        let (text, _) = super::identity::generate();
        let mut ids = Identities::default();
        ids.add("bob.txt", text.as_bytes(), &mut |_| Err(Error::vault("nobody is asked"))).unwrap();
        ids
    }
}
