//! `vault list`: the logins of a vault, for scripts.

use std::path::Path;

use serde::Serialize;

use super::read::ReadVault;
use crate::command::console::Console;
use crate::command::identity::IdentitySources;
use crate::error::Result;
use crate::model::text::escape;
use crate::vault::document::VaultLogin;
use crate::vault::file::recipient_count;
use crate::vault::is_age_file;

/// The schema of the JSON.
const SCHEMA: &str = "regprov.vault/1";

/// `vault list`: the logins' names, one a line and by the alphabet; as JSON all that the file says and that is not secret. It needs an identity
/// only for a vault that is encrypted as a whole.
pub fn list(vault: &Path, json: bool, sources: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    let vault = ReadVault::new(vault, false, sources, console)?;
    let text = if json { document(&vault) } else { vault.document.logins().map(|(name, ..)| format!("{}\n", escape(name))).collect() };
    console.print(text.as_bytes())
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault_serial: Option<u64>,
    recipients: &'a [String],
    become_password: PasswordJson,
    logins: Vec<LoginJson<'a>>,
}

#[derive(Serialize)]
struct LoginJson<'a> {
    login: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<&'a str>,
    #[serde(flatten)]
    account: AccountJson<'a>,
    /// What a rotation that is under way replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<AccountJson<'a>>,
}

#[derive(Serialize)]
struct AccountJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<&'a str>,
    #[serde(flatten)]
    password: PasswordJson,
}

/// How a password is kept: `sealed`, and for how many; `damaged`, `clear`, `command` or `file` (had anew for each run), or `none`.
#[derive(Serialize)]
struct PasswordJson {
    password: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_for: Option<usize>,
}

impl PasswordJson {
    fn of_login(login: &VaultLogin) -> Self {
        match login.dynamic_key() {
            None => Self::of(login.password.as_deref()),
            Some("password_command") => PasswordJson { password: "command", sealed_for: None },
            Some(_) => PasswordJson { password: "file", sealed_for: None },
        }
    }

    fn of(password: Option<&str>) -> Self {
        let (password, sealed_for) = match password {
            None => ("none", None),
            Some(text) => match recipient_count(text.as_bytes()) {
                None if is_age_file(text.as_bytes()) => ("damaged", None),
                None => ("clear", None),
                count => ("sealed", count),
            },
        };
        PasswordJson { password, sealed_for }
    }
}

fn document(vault: &ReadVault) -> String {
    let document = Document {
        schema: SCHEMA,
        vault_id: vault.document.vault_id.as_deref(),
        vault_serial: vault.document.vault_serial,
        recipients: vault.document.recipients.as_deref().unwrap_or_default(),
        become_password: PasswordJson::of(vault.document.become_password.as_deref()),
        logins: vault.document.logins().map(|(name, login, ..)| login_json(name, login)).collect(),
    };
    serde_json::to_string_pretty(&document).expect("strings, numbers and lists are JSON") + "\n"
}

fn login_json<'a>(name: &'a str, login: &'a VaultLogin) -> LoginJson<'a> {
    LoginJson {
        login: name,
        registry: login.registry.as_deref(),
        canary: login.canary.as_deref(),
        account: AccountJson { username: login.username.as_deref(), expires: login.expires.as_deref(), password: PasswordJson::of_login(login) },
        previous: login.previous.as_ref().map(|p| AccountJson {
            username: p.username.as_deref(),
            expires: p.expires.as_deref(),
            password: PasswordJson::of(p.password.as_deref()),
        }),
    }
}
