//! The JSON that Docker made common: logins by registry under `auths`, and credential helpers that come before them. Several
//! programs read it, and no two of them alike; a [`Dialect`] says what one of them does.
//!
//! In an entry that we manage only `auth` is ours. `username`, `password`, `identitytoken` and `registrytoken` are removed, since an
//! identity token beats `auth` and a stale password helps nobody; every other field and every foreign entry stays as it is.

mod document;
mod helpers;
mod holdings;
mod names;
mod read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::json::{self, Value};
use super::{FileSpec, Merge, Merged, Wants, dir_mode, helper, shown};
use crate::model::{Login, Registry, Target};

use document::{AuthEntries, Document, Entry, STALE_FIELDS, go_folds};
pub(super) use document::{Bad, bad_for_containers, bad_for_docker, bad_for_kubelet};
pub(super) use holdings::holdings;
pub use holdings::{Holding, Holds};
pub(super) use names::{alias_for_containers, alias_for_docker, alias_for_kubelet};
pub(super) use read::{entries, has_store, is_read, is_undecodable, read_back, remove, shadow};

/// How one program reads the document.
pub(super) struct Dialect {
    /// The program, as messages name it.
    pub(super) name: &'static str,
    /// The key under which it looks for a registry's login.
    pub(super) key: fn(&Registry) -> String,
    /// Whether it takes another key for the same registry.
    pub(super) is_alias: fn(&str, &Registry) -> bool,
    /// Which helpers it asks before it looks into `auths`.
    pub(super) helpers: Helpers,
    /// What is wrong with an entry, and what that means for the others.
    pub(super) bad: fn(&Entry<'_>) -> Option<Bad>,
    /// Who refuses a file that is empty; `None` where nobody does.
    pub(super) empty: Option<&'static str>,
    /// Whether a key with a path (`h/ns`) is a login of its own, which comes before that of its host.
    pub(super) paths: bool,
}

/// The credential helpers that a program asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Helpers {
    /// None.
    None,
    /// That of the registry in `credHelpers`, by the host alone; `credsStore` means nothing (containers/image
    /// `pkg/docker/config/config.go` findCredentialsInFile). An empty name is a helper that fails.
    PerRegistry,
    /// That of the registry in `credHelpers`, where an empty name means the file, else that of `credsStore` (docker/cli
    /// `cli/config/configfile/file.go` getConfiguredCredentialStore).
    Docker,
    /// As Docker, but an empty name means `credsStore` (oras-go `registry/remote/credentials/store.go` getHelperSuffix).
    Oras,
}

/// The one file of most targets.
pub(super) fn files(target: &Target) -> Vec<FileSpec> {
    vec![FileSpec { part: "", path: target.path.clone(), mode: target.mode, secret: true, at_start: false, dir_mode: dir_mode(target) }]
}

/// What is wrong with a target whatever the node is like.
pub(super) fn check(target: &Target, logins: &[&Login]) -> Vec<String> {
    let mut problems = super::check_common(target, logins);
    for helped in &target.cred_helpers {
        if let Some(login) = logins.iter().find(|l| l.registry.authority() == helped.registry.authority()) {
            problems.push(format!(
                "login \"{}\" and `cred_helpers` are both for {} in {} {}, where a helper comes first; keep one of them",
                login.name, helped.registry, target.kind, target.path
            ));
        }
    }
    problems
}

/// Whether the helpers that the inventory names are on the node.
pub(super) fn wants(target: &Target, _: &[&Login]) -> Wants {
    Wants { paths: target.cred_helpers.iter().flat_map(|c| helpers::places(&c.helper)).collect(), ..Wants::default() }
}

/// The document with our logins.
pub(super) fn merge(dialect: &Dialect, m: &Merge<'_>) -> Result<Merged, String> {
    let mut merged = match Document::parse(dialect, m.existing) {
        Ok(document) => compose(dialect, m, document)?,
        Err(why) if m.options.replace_invalid => {
            let mut merged = compose(dialect, m, Document::default())?;
            merged.diff.insert(0, format!("~ the whole file, which {why}"));
            merged.notes.push(format!("replaced a file that {why}; it is kept as {}.regprov-backup", m.spec.path.file_name()));
            merged.backup = true;
            merged
        }
        Err(why) => return Err(format!("{} {why}; repair it, or let --replace-invalid replace it after a backup", m.spec.path)),
    };
    merged.notes.extend(helpers::missing(dialect, m));
    Ok(merged)
}

fn compose(dialect: &Dialect, m: &Merge<'_>, document: Document<'_>) -> Result<Merged, String> {
    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    let helpers = helpers::keep_helpers(dialect, m, &document, &mut merged)?;
    let auths = merge_auths(dialect, m, document.auths, &mut merged)?;
    if merged.diff.is_empty() && m.existing.is_some() {
        return Ok(merged);
    }

    let (mut auths, mut helpers, mut top) = (Some(auths), helpers, Vec::new());
    for (key, raw) in document.top {
        match key.as_str() {
            "auths" => top.extend(auths.take().map(|a| (key, Value::Object(a)))),
            "credHelpers" => match helpers.take() {
                Some(rest) if rest.is_empty() => {}
                Some(rest) => top.push((key, Value::Object(rest))),
                None => top.push((key, Value::Raw(raw))),
            },
            _ => top.push((key, Value::Raw(raw))),
        }
    }
    // A file that holds helpers alone needs no empty list of logins.
    top.extend(auths.filter(|a| !a.is_empty() || m.target.cred_helpers.is_empty()).map(|a| ("auths".into(), Value::Object(a))));
    top.extend(helpers.filter(|h| !h.is_empty()).map(|h| ("credHelpers".into(), Value::Object(h))));
    // Room for a document of short values that gets a line and its tabs for each, so that no copy is left behind by growing.
    let room =
        m.existing.map_or(0, <[u8]>::len) * 3 + m.logins.iter().map(|l| 256 + 2 * (l.username.as_str().len() + l.password.expose().len())).sum::<usize>();
    merged.write = Some(json::write(&Value::Object(top), room + 512 * m.target.cred_helpers.len() + 64));
    Ok(merged)
}

fn merge_auths<'a>(dialect: &Dialect, m: &Merge<'_>, existing: AuthEntries<'a>, merged: &mut Merged) -> Result<Vec<(String, Value<'a>)>, String> {
    let mut out: Vec<(String, Value<'a>)> = Vec::new();
    let mut bad = Vec::new();
    let key_of = |login: &Login| (dialect.key)(&login.registry);
    for (key, raw, entry) in existing {
        if let Some(login) = m.logins.iter().find(|l| key_of(l) == key) {
            let value = match helper::keeper(m, login) {
                Some(_) => Value::Object(without_login(&key, entry, &mut merged.diff)),
                None => manage(login, &key, entry, &mut merged.diff),
            };
            out.push((key, value));
        } else if let Some(login) = m.logins.iter().find(|l| (dialect.is_alias)(&key, &l.registry)) {
            merged.diff.push(format!("- {} (alias of {})", shown(&key), key_of(login)));
        } else if let Some(helped) = m.target.cred_helpers.iter().find(|c| (dialect.key)(&c.registry) == key || (dialect.is_alias)(&key, &c.registry)) {
            merged.diff.push(format!("- {} (its logins come from the helper {})", shown(&key), helped.helper));
        } else {
            match entry.as_ref().and_then(dialect.bad) {
                Some(Bad::File(why)) if m.options.drop_bad_entries => merged.diff.push(format!("- {} (bad entry: {why})", shown(&key))),
                Some(Bad::File(why)) => bad.push(format!("`{}` ({why})", shown(&key))),
                Some(Bad::Entry(why)) => {
                    merged.notes.push(format!("{} reads nothing of the entry `{}`, which is not ours: {why}", dialect.name, shown(&key)));
                    out.push((key, Value::Raw(raw)));
                }
                None => {
                    if dialect.paths && m.logins.iter().any(|l| names::is_below(&key, &l.registry)) {
                        merged.notes.push(format!("`{0}` is not ours and comes before our login for the images below {0}", shown(&key)));
                    }
                    out.push((key, Value::Raw(raw)));
                }
            }
        }
    }
    if !bad.is_empty() {
        let (them, name) = (bad.join(", "), dialect.name);
        return Err(format!("{}: {name} rejects the whole file for its entry {them}; repair it, or let --drop-bad-entries drop it", m.spec.path));
    }
    let mut new: Vec<(String, &&Login)> = m.logins.iter().map(|l| (key_of(l), l)).filter(|(key, _)| out.iter().all(|(k, _)| k != key)).collect();
    new.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (key, login) in new {
        if let Some(helper) = helper::keeper(m, login) {
            merged.diff.push(format!("+ {key} (in {helper})"));
            out.push((key, Value::Object(Vec::new())));
            continue;
        }
        merged.diff.push(format!("+ {key} ({})", shown(login.username.as_str())));
        out.push((key, Value::Object(vec![("auth".into(), Value::Text(auth(login)))])));
    }
    Ok(out)
}

/// Our entry in the place of an existing one: `auth` is ours, what would beat it goes, the rest stays.
fn manage<'a>(login: &Login, key: &str, entry: Option<Entry<'a>>, diff: &mut Vec<String>) -> Value<'a> {
    let wanted = auth(login);
    let mut fields: Vec<(String, Value<'a>)> = Vec::new();
    let mut found = false;
    for (name, raw) in entry.map(|e| e.0).unwrap_or_default() {
        if name == "auth" {
            found = true;
            if json::as_text(raw).is_none_or(|text| *text != *wanted) {
                diff.push(format!("~ {key} auth"));
            }
            fields.push((name, Value::Text(wanted.clone())));
        } else if let Some(stale) = STALE_FIELDS.into_iter().chain(["auth"]).find(|f| go_folds(&name, f)) {
            diff.push(format!("- {key} {stale}"));
        } else {
            fields.push((name, Value::Raw(raw)));
        }
    }
    if !found {
        diff.push(format!("+ {key} auth"));
        fields.push(("auth".into(), Value::Text(wanted)));
    }
    Value::Object(fields)
}

/// The entry of a login that a helper keeps: what docker leaves of it, and what is foreign.
fn without_login<'a>(key: &str, entry: Option<Entry<'a>>, diff: &mut Vec<String>) -> Vec<(String, Value<'a>)> {
    let mut fields = Vec::new();
    for (name, raw) in entry.map(|e| e.0).unwrap_or_default() {
        match STALE_FIELDS.into_iter().chain(["auth"]).find(|f| go_folds(&name, f)) {
            Some(stale) => diff.push(format!("- {key} {stale}")),
            None => fields.push((name, Value::Raw(raw))),
        }
    }
    fields
}

/// Docker's `auth`: the standard base64 of `user:password`.
pub(in crate::format) fn auth(login: &Login) -> Zeroizing<String> {
    let plain = Zeroizing::new(format!("{}:{}", login.username, login.password.expose()));
    Zeroizing::new(STANDARD.encode(plain.as_bytes()))
}
