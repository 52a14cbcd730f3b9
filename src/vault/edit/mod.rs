//! Edits of a vault by splicing its text, so that a diff shows what was changed and nothing else.
//!
//! The lines are found by a simple reading of block style (`lines`); whether that reading was right is decided by parsing the result:
//! everything but what was to be changed must be equal in value. What is not block style is refused.

mod fields;
pub(super) mod lines;
mod recipients;
mod set;
mod splice;

pub use fields::{Field, set_field, set_password};
pub use lines::{needs_escape, push_quoted, scalar};
pub use recipients::{RecipientPlace, password_place, recipient_item, recipient_places, set_recipients};
pub use set::{LoginText, set_become, set_fingerprint, set_login};
pub use splice::{remove_become, remove_login, rename_login, replace_seal, replace_seals, stamp};

pub(super) use set::rest;
