//! The password of sudo: asked once on the terminal, or sealed in the vault.

use std::sync::Arc;

use super::console::ask_terminal;
use super::load::Opener;
use crate::error::{Error, Kind, Result};
use crate::inventory::Inventory;
use crate::model::Host;
use crate::transport::gate::Gate;
use crate::ui;
use crate::vault::seal::check_become_password;

/// The password that these hosts' sudo may ask for. With `ask` (-K) it is asked for, whatever the vault says; none is opened when
/// no host has `become: true`.
pub fn become_password(opener: &mut Opener, inventory: &Inventory, hosts: &[Host], ask: bool, allow_plaintext: bool) -> Result<Option<Arc<Gate>>> {
    if !hosts.iter().any(|h| h.becomes_root) {
        if ask {
            ui::warning("--ask-become-pass has no use here: no host of this run has `become: true`");
        }
        return Ok(None);
    }
    let password = match (&inventory.become_password, ask) {
        (_, true) => {
            let password = ask_terminal("password of sudo").map_err(|e| Error { kind: Kind::Usage, ..e })?;
            check_become_password(&password).map_err(Error::usage)?;
            password
        }
        (Some((text, place)), false) => opener.become_password(text, place, allow_plaintext)?,
        (None, false) => return Ok(None),
    };
    Ok(Some(Arc::new(Gate::new("the sudo password", password))))
}
