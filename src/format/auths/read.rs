//! Reading the document as its program does: what it would send, and what is left when entries go.

use std::collections::HashSet;

use super::document::{Document, Entry as Fields, STALE_FIELDS, decode_auth, decode_kubelet, field, go_folds};
use super::helpers::{Before, before, before_key};
use super::{Dialect, Helpers, names};
use crate::format::json::{self, Value};
use crate::format::{Account, Entries, Entry, FileSpec, Merge, Removal, Removed, helper, lossy, shown};
use crate::model::{HelperPolicy, Login, Secret};

/// Reads the file as the program does and demands that each login is what it would send.
pub(in crate::format) fn read_back(dialect: &Dialect, m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    let document = Document::parse(dialect, Some(bytes)).map_err(|why| format!("{} {why}", m.spec.path))?;
    for login in m.logins {
        let key = (dialect.key)(&login.registry);
        let fail = |why: &str| Err(format!("login \"{}\" is not found in {} as {} reads it: {why}", login.name, m.spec.path, dialect.name));
        if matches!(before(dialect, &document, &login.registry), Before::Helper(_) | Before::Store) {
            if m.target.helper != HelperPolicy::Store {
                return fail("a credential helper shadows it");
            }
            let Some((_, _, Some(entry))) = document.auths.iter().find(|(name, ..)| *name == key) else { return fail("no entry") };
            if entry.0.iter().any(|(name, _)| STALE_FIELDS.into_iter().chain(["auth"]).any(|f| go_folds(name, f))) {
                return fail("a login stands in the file beside the credential helper");
            }
            helper::settle(m)?;
            continue;
        }
        let Some((_, _, Some(entry))) = document.auths.iter().find(|(name, ..)| *name == key) else { return fail("no entry") };
        if entry.0.iter().any(|(name, raw)| !json::is_null(raw) && STALE_FIELDS.iter().any(|f| go_folds(name, f))) {
            return fail("a stale field stands beside auth");
        }
        let decoded = entry.get("auth").and_then(json::as_text).and_then(|text| decode_auth(&text));
        let Some(plain) = decoded else { return fail("no auth that decodes") };
        let at = plain.iter().position(|b| *b == b':').unwrap_or(plain.len());
        let (user, password) = (&plain[..at], plain.get(at + 1..).unwrap_or_default());
        if user != login.username.as_str().as_bytes() || password != login.password.expose().as_bytes() {
            return fail("another username or password");
        }
    }
    for helped in &m.target.cred_helpers {
        if before(dialect, &document, &helped.registry) != Before::Helper(&helped.helper) {
            return Err(format!("{}: {} would not ask the helper {} for {}", m.spec.path, dialect.name, helped.helper, helped.registry));
        }
    }
    whole(dialect, &document, m.spec)
}

/// Whether the program reads the file, so that what it says of helpers counts.
pub(in crate::format) fn is_read(dialect: &Dialect, bytes: &[u8]) -> bool {
    Document::parse(dialect, Some(bytes)).is_ok()
}

/// Whether `credsStore` names a helper for all registries.
pub(in crate::format) fn has_store(dialect: &Dialect, bytes: &[u8]) -> bool {
    Document::parse(dialect, Some(bytes)).is_ok_and(|document| document.store)
}

/// Whether the entry of this key has an `auth` that is no base64.
pub(in crate::format) fn is_undecodable(dialect: &Dialect, bytes: &[u8], key: &str) -> bool {
    let Ok(document) = Document::parse(dialect, Some(bytes)) else { return false };
    let entry = document.auths.iter().find(|(name, ..)| name == key).and_then(|(.., entry)| entry.as_ref());
    entry.and_then(|entry| field(entry, "auth")).is_some_and(|text| decode_auth(&text).is_none())
}

/// Whether an entry makes the program reject the whole file.
fn whole(dialect: &Dialect, document: &Document<'_>, spec: &FileSpec) -> Result<(), String> {
    match document.auths.iter().find_map(|(key, _, entry)| Some((key, (dialect.bad)(entry.as_ref()?)?.of_file()?))) {
        Some((key, why)) => Err(format!("{}: {} rejects the whole file for its entry `{}`: {why}", spec.path, dialect.name, shown(key))),
        None => Ok(()),
    }
}

/// What the program would find for each key; a helper is named, and not what it would answer.
pub(in crate::format) fn entries(dialect: &Dialect, spec: &FileSpec, bytes: &[u8]) -> Entries {
    let document = Document::parse(dialect, Some(bytes)).map_err(|why| format!("{} {why}", spec.path))?;
    whole(dialect, &document, spec)?;
    let helper = |key: &str| {
        // Helpers know no paths.
        let key = if dialect.helpers == Helpers::PerRegistry { key.split('/').next().unwrap_or_default() } else { key };
        match before_key(dialect, &document, key) {
            Before::Nobody | Before::EmptyName => None,
            Before::Helper(helper) => Some(format!("credential helper `{}`", shown(helper))),
            Before::Store => Some("the helper that `credsStore` names".to_string()),
        }
    };
    let mut found = Vec::new();
    for (key, _, entry) in &document.auths {
        let (login, token) = entry.as_ref().filter(|e| (dialect.bad)(e).is_none()).map_or((None, false), |entry| account(dialect, entry));
        let note = helper(key).or_else(|| token.then(|| "an identity token".to_string()));
        found.push(Entry { key: key.clone(), login, note });
    }
    let with_entry: HashSet<&str> = document.auths.iter().map(|(key, ..)| key.as_str()).collect();
    for (key, ..) in document.helpers.iter().filter(|(key, ..)| !with_entry.contains(key.as_str())) {
        found.extend(helper(key).map(|helper| Entry { key: key.clone(), login: None, note: Some(helper) }));
    }
    Ok(found)
}

/// What an entry holds: `auth` comes before `username` and `password` (docker/cli `configfile/file.go` LoadFromReader), and whether
/// there is a token, which comes before both for those that read tokens.
pub(super) fn account(dialect: &Dialect, entry: &Fields<'_>) -> (Option<Account>, bool) {
    let token = match dialect.helpers {
        Helpers::None => false,
        Helpers::PerRegistry => field(entry, "identitytoken").is_some(),
        Helpers::Docker | Helpers::Oras => field(entry, "identitytoken").is_some() || field(entry, "registrytoken").is_some(),
    };
    let decode = if dialect.helpers == Helpers::None { decode_kubelet } else { decode_auth };
    if let Some(plain) = field(entry, "auth").and_then(|text| decode(&text)) {
        let at = plain.iter().position(|b| *b == b':').unwrap_or(plain.len());
        let mut password = plain.get(at + 1..).unwrap_or_default();
        while let [0, rest @ ..] | [rest @ .., 0] = password {
            password = rest;
        }
        return (Some(Account { username: lossy(&plain[..at]).to_string(), password: Secret::new(lossy(password)) }), token);
    }
    if dialect.helpers == Helpers::PerRegistry {
        return (None, token);
    }
    let password = field(entry, "password").map(Secret::new);
    (field(entry, "username").zip(password).map(|(username, password)| Account { username: username.to_string(), password }), token)
}

/// The document without the entries of these keys.
pub(in crate::format) fn remove(dialect: &Dialect, r: &Removal<'_>) -> Result<Removed, String> {
    let document = Document::parse(dialect, Some(r.existing)).map_err(|why| format!("{} {why}", r.spec.path))?;
    let mut diff = Vec::new();
    let mut auths = Vec::new();
    for (key, raw, _) in document.auths {
        if r.gone.contains(&key) {
            diff.push(format!("- {}", shown(&key)));
        } else {
            auths.push((key, Value::Raw(raw)));
        }
    }
    let mut auths = Some(auths);
    let mut top = Vec::new();
    for (key, raw) in document.top {
        match key.as_str() {
            "auths" => top.extend(auths.take().filter(|a| !a.is_empty()).map(|a| (key, Value::Object(a)))),
            _ => top.push((key, Value::Raw(raw))),
        }
    }
    let content = (!top.is_empty()).then(|| json::write(&Value::Object(top), 3 * r.existing.len() + 64));
    Ok(Removed { content, diff })
}

/// What an earlier file means for our logins, which the program finds in a later one: why nothing is read there at all (`Err`), or the
/// key under which that file answers something else than ours for one of them.
pub(in crate::format) fn shadow(dialect: &Dialect, earlier: &[u8], logins: &[&Login]) -> Result<Option<String>, String> {
    let document = Document::parse(dialect, Some(earlier))?;
    if let Some((key, why)) = document.auths.iter().find_map(|(key, _, entry)| Some((key, (dialect.bad)(entry.as_ref()?)?.of_file()?))) {
        return Err(format!("has an entry `{}` of which {why}", shown(key)));
    }
    for login in logins {
        if matches!(before(dialect, &document, &login.registry), Before::Helper(_)) {
            return Ok(Some(format!("credHelpers {}", login.registry.authority())));
        }
        let own = (dialect.key)(&login.registry);
        // A login for a path is shadowed by one for its host as well, since the first file with any match answers.
        let host = crate::model::Registry::parse(login.registry.authority()).map(|(host, _)| host).unwrap_or_else(|_| login.registry.clone());
        let means = |key: &str| {
            key == own
                || (dialect.is_alias)(key, &login.registry)
                || names::is_below(key, &login.registry)
                || (login.registry.path().is_some() && (key == (dialect.key)(&host) || (dialect.is_alias)(key, &host)))
        };
        let same = |entry: &Option<Fields<'_>>| {
            let (account, token) = entry.as_ref().map_or((None, false), |e| account(dialect, e));
            !token && account.is_some_and(|a| a.username == login.username.as_str() && a.password.expose() == login.password.expose())
        };
        if let Some((key, ..)) = document.auths.iter().find(|(key, _, entry)| means(key) && !same(entry)) {
            return Ok(Some(shown(key)));
        }
    }
    Ok(None)
}
