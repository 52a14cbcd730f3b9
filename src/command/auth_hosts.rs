//! Token servers that are not trusted: a person confirms each, and it is sealed with its login.

use super::terminal::Terminal;
use super::vault::{VaultFile, people};
use crate::error::Result;
use crate::model::text::{escape, shell_word};
use crate::model::verify::LoginCheck;
use crate::model::{Login, LoginEntry, PasswordText};
use crate::ui;
use crate::vault::edit::{LoginText, set_login};
use crate::vault::seal::check_auth_host;
use crate::vault::{SealedValue, seal};

/// Asks for each row that could be confirmed, and seals those that are. Whether there was one: then its registry can be asked again.
/// Without a terminal nothing is trusted; the rows say what to type.
///
/// # Errors
/// A vault that cannot be written.
pub(super) async fn confirm(entries: &[&LoginEntry], logins: &mut [Login], rows: &[LoginCheck]) -> Result<bool> {
    let mut open = (0..rows.len()).filter(|i| rows[*i].can_be_confirmed).peekable();
    if open.peek().is_none() {
        return Ok(false);
    }
    let Some(terminal) = Terminal::of_process() else {
        ui::warning("there is no terminal to ask on, so no token server was confirmed");
        return Ok(false);
    };
    let mut any = false;
    for i in open {
        let (entry, row) = (entries[i], &rows[i]);
        let Some(host) = row.auth_host.as_deref().filter(|host| check_auth_host(host).is_ok()) else { continue };
        if let PasswordText::Dynamic(dynamic) = &entry.password {
            let (login, key) = (escape(&entry.name), dynamic.source.key());
            ui::warning(&format!(
                "login `{login}` has no seal to put the token server into; where it is right, write `auth_hosts: [{host}]` beside its `{key}`"
            ));
            continue;
        }
        if !matches!(entry.password, PasswordText::Sealed(_)) {
            ui::warning(&format!(
                "login `{}` is not sealed, so nothing can be sealed with it: regprov vault set {} {}",
                escape(&entry.name),
                shell_word(entry.file()),
                shell_word(&entry.name)
            ));
            continue;
        }
        let question = format!(
            "{} names {host} as its token server. Send the password of {} (login {}) there, now and from the nodes? [y/N] ",
            row.registry,
            escape(&row.username),
            escape(&row.login)
        );
        let answer = terminal.ask(question, true).await;
        if answer.is_some_and(|a| matches!(a.expose().trim(), "y" | "Y" | "yes")) {
            seal_with(entry, &mut logins[i], host)?;
            any = true;
        }
    }
    Ok(any)
}

/// Seals the login again, with one more auth host.
fn seal_with(entry: &LoginEntry, login: &mut Login, host: &str) -> Result<()> {
    let file = entry.file();
    let vault = VaultFile::of(entry)?;
    // The password stays what it is, and so does its fingerprint.
    let fingerprint = vault.document.login(&entry.name).and_then(|l| l.fingerprint.as_deref());
    let recipients = vault.recipients()?;
    let auth_hosts: Vec<String> = login.auth_hosts.iter().cloned().chain([host.to_string()]).collect();
    let value = SealedValue { registry: login.registry.clone(), username: login.username.clone(), auth_hosts, password: login.password.clone() };
    let armored = seal(&value, &recipients)?;
    let registry = value.registry.to_string();
    let want = LoginText { registry: &registry, username: value.username.as_str(), expires: None, fingerprint, canary: None, armored: &armored };
    vault.write(&set_login(file, vault.text(), &entry.name, want)?)?;
    login.auth_hosts = value.auth_hosts;
    ui::note(&format!("login `{}` is sealed anew in {file} for {}, with the auth host {host}", escape(&entry.name), people(recipients.len())));
    Ok(())
}
