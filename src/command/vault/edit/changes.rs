//! What was changed, and the vault's text with these changes and no others.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::draft::{Draft, DraftLogin, exposed};
use crate::command::vault::VaultFile;
use crate::error::Result;
use crate::model::text::escape;
use crate::model::{Expiry, Repository, Secret};
use crate::vault::edit::{Field, LoginText, remove_become, remove_login, rename_login, set_become, set_field, set_login, set_password};
use crate::vault::{AuditKey, Recipients, SealedValue, VaultDocument, seal, seal_become};

/// The differences between two drafts.
#[derive(Default)]
pub(super) struct Changes {
    /// The password of sudo; `Some(None)` takes it out.
    become_password: Option<Option<Secret>>,
    removed: Vec<String>,
    /// Old and new name of logins in which nothing but the name and what is not sealed may differ.
    renamed: Vec<(String, String)>,
    /// Logins that are changed, with what they were.
    changed: Vec<(DraftLogin, DraftLogin)>,
    added: Vec<DraftLogin>,
}

impl Changes {
    pub(super) fn between(base: &Draft, edited: &Draft) -> Self {
        let mut changes = Changes::default();
        if exposed(&base.become_password) != exposed(&edited.become_password) {
            changes.become_password = Some(edited.become_password.clone());
        }
        let mut gone: Vec<&DraftLogin> = base.logins.iter().filter(|l| edited.login(&l.name).is_none()).collect();
        for login in &edited.logins {
            match base.login(&login.name) {
                Some(old) if old.equals(login) => {}
                Some(old) => changes.changed.push((old.clone(), login.clone())),
                None => match gone.iter().position(|old| old.seals_as(login)) {
                    Some(at) => {
                        let old = gone.remove(at);
                        changes.renamed.push((old.name.clone(), login.name.clone()));
                        if !old.equals(login) {
                            changes.changed.push((DraftLogin { name: login.name.clone(), ..old.clone() }, login.clone()));
                        }
                    }
                    None => changes.added.push(login.clone()),
                },
            }
        }
        changes.removed = gone.into_iter().map(|l| l.name.clone()).collect();
        changes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.become_password.is_none() && self.removed.is_empty() && self.renamed.is_empty() && self.changed.is_empty() && self.added.is_empty()
    }

    /// The names of all logins that these changes touch, by their old names and their new ones.
    pub(super) fn touched(&self) -> BTreeSet<&str> {
        let renamed = self.renamed.iter().flat_map(|(old, new)| [old, new]);
        let names = self.removed.iter().chain(renamed).map(String::as_str);
        names.chain(self.changed.iter().map(|(_, l)| l.name.as_str())).chain(self.added.iter().map(|l| l.name.as_str())).collect()
    }

    /// The name that a login had before.
    fn old_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.renamed.iter().find(|(_, new)| new == name).map_or(name, |(old, _)| old)
    }

    /// The logins that are taken out.
    pub(super) fn removed(&self) -> impl Iterator<Item = &str> {
        self.removed.iter().map(String::as_str)
    }

    /// Whether they touch the password of sudo.
    pub(super) fn touch_become(&self) -> bool {
        self.become_password.is_some()
    }

    /// Another draft with these changes: those of somebody else stay where they do not concern the same login.
    pub(super) fn onto(&self, other: &Draft) -> Draft {
        let mut draft = other.clone();
        if let Some(password) = &self.become_password {
            draft.become_password = password.clone();
        }
        draft.logins.retain(|l| !self.removed.contains(&l.name));
        for (old, new) in &self.renamed {
            draft.logins.iter_mut().filter(|l| l.name == *old).for_each(|l| l.name = new.clone());
        }
        for login in self.changed.iter().map(|(_, login)| login).chain(&self.added) {
            match draft.logins.iter_mut().find(|l| l.name == login.name) {
                Some(there) => *there = login.clone(),
                None => draft.logins.push(login.clone()),
            }
        }
        draft
    }

    /// The vault's text with these changes: what is not changed keeps its lines, its seals among them, byte for byte. A password that is
    /// changed gets the fingerprint that `key` makes, or none.
    pub(super) fn text(&self, vault: &VaultFile, recipients: &Recipients, key: Option<&AuditKey>) -> Result<Zeroizing<String>> {
        let file = &vault.name;
        let mut text = Zeroizing::new(vault.text().to_string());
        for (old, new) in &self.renamed {
            text = rename_login(file, &text, old, new)?.into();
        }
        for name in &self.removed {
            text = remove_login(file, &text, name)?.into();
        }
        for (old, new) in &self.changed {
            text = change(file, text, old, new, recipients, key)?;
        }
        for login in &self.added {
            text = add(file, &text, login, recipients, key)?;
        }
        match &self.become_password {
            Some(Some(password)) => text = set_become(file, &text, &seal_become(password, recipients)?)?.into(),
            Some(None) => text = remove_become(file, &text)?.into(),
            None => {}
        }
        Ok(text)
    }

    /// Whether anything is sealed anew.
    pub(super) fn seal_anything(&self) -> bool {
        !self.added.is_empty() || self.changed.iter().any(|(old, new)| !old.seals_as(new)) || matches!(self.become_password, Some(Some(_)))
    }

    /// What was done, in words.
    pub(super) fn told(&self) -> String {
        let list = |word: &str, names: Vec<String>| (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")));
        let tick = |name: &str| format!("`{}`", escape(name));
        let mut changed: Vec<String> = self.changed.iter().map(|(_, l)| tick(&l.name)).collect();
        changed.extend(self.become_password.as_ref().and_then(|p| p.as_ref()).map(|_| "the password of sudo".to_string()));
        let mut removed: Vec<String> = self.removed.iter().map(|n| tick(n)).collect();
        removed.extend(matches!(self.become_password, Some(None)).then(|| "the password of sudo".to_string()));
        let renamed = self.renamed.iter().map(|(old, new)| format!("{} to {}", tick(old), tick(new))).collect();
        let parts =
            [list("changed", changed), list("added", self.added.iter().map(|l| tick(&l.name)).collect()), list("renamed", renamed), list("removed", removed)];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// What the admin has to know beside it.
    pub(super) fn notes(&self, before: &VaultDocument, key: bool) -> Vec<String> {
        let mut notes = Vec::new();
        for (_, new) in self.changed.iter().filter(|(old, new)| !old.is_account_of(new)) {
            let was = before.login(self.old_name(&new.name));
            if !key && was.is_some_and(|l| l.fingerprint.is_some()) {
                notes.push(format!(
                    "note: the fingerprint of `{}` was that of the old password and is taken out; `regprov vault fingerprint` writes the new one, or give --audit-key",
                    escape(&new.name)
                ));
            }
        }
        for (_, new) in &self.changed {
            if before.login(self.old_name(&new.name)).is_some_and(|l| l.previous.is_some()) {
                notes.push(format!("note: a rotation of `{}` is under way; its `previous` stays as it is", escape(&new.name)));
            }
        }
        notes
    }
}

/// One login that is there.
fn change(
    file: &str,
    mut text: Zeroizing<String>,
    old: &DraftLogin,
    new: &DraftLogin,
    recipients: &Recipients,
    key: Option<&AuditKey>,
) -> Result<Zeroizing<String>> {
    let name = &new.name;
    let registry = new.registry.to_string();
    let expires = |l: &DraftLogin| l.expires.as_ref().map(|e: &Expiry| e.text.clone());
    let canary = |l: &DraftLogin| l.canary.as_ref().map(|c: &Repository| c.as_str().to_string());
    let mut fields = Vec::new();
    if old.registry != new.registry {
        fields.push((Field::Registry, Some(registry)));
    }
    if old.username != new.username {
        fields.push((Field::Username, Some(new.username.as_str().to_string())));
    }
    if old.expires != new.expires {
        fields.push((Field::Expires, expires(new)));
    }
    if old.canary != new.canary {
        fields.push((Field::Canary, canary(new)));
    }
    if !old.is_account_of(new) {
        fields.push((Field::Fingerprint, fingerprint(new, key)));
    }
    for (field, value) in fields {
        text = set_field(file, &text, name, field, value.as_deref())?.into();
    }
    if !old.seals_as(new)
        && let Some(password) = &new.password
    {
        text = set_password(file, &text, name, &sealed(new, password, recipients)?)?.into();
    }
    Ok(text)
}

fn add(file: &str, text: &str, login: &DraftLogin, recipients: &Recipients, key: Option<&AuditKey>) -> Result<Zeroizing<String>> {
    let Some(password) = &login.password else {
        return Err(crate::error::Error::internal(format!("login `{}` is new and has no password", escape(&login.name))));
    };
    let (registry, fingerprint, armored) = (login.registry.to_string(), fingerprint(login, key), sealed(login, password, recipients)?);
    let want = LoginText {
        registry: &registry,
        username: login.username.as_str(),
        expires: login.expires.as_ref().map(|e| e.text.as_str()),
        fingerprint: fingerprint.as_deref(),
        canary: login.canary.as_ref().map(Repository::as_str),
        armored: &armored,
    };
    set_login(file, text, &login.name, want).map(Zeroizing::new)
}

fn fingerprint(login: &DraftLogin, key: Option<&AuditKey>) -> Option<String> {
    Some(key?.fingerprint(&login.registry, &login.username, login.password.as_ref()?).text())
}

fn sealed(login: &DraftLogin, password: &Secret, recipients: &Recipients) -> Result<String> {
    let value =
        SealedValue { registry: login.registry.clone(), username: login.username.clone(), auth_hosts: login.auth_hosts.clone(), password: password.clone() };
    seal(&value, recipients)
}
