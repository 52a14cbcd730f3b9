//! Docker's `config.json` (docker/cli `cli/config/configfile/file.go`), which podman, skopeo, Helm, nerdctl, Apptainer and
//! the kubelet read as well.
//!
//! In an entry that we manage only `auth` is ours. `username`, `password`, `identitytoken` and `registrytoken` are
//! removed, since an identity token beats `auth`; every other field and every foreign entry stays as it is.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::Zeroizing;

use super::json::{self, Object, Value};
use super::{Consumer, FileSpec, Merge, Merged, Wants, dir_mode, helper, shown};
use crate::model::{HelperPolicy, Login, Registry, Target, TargetKind};

/// Docker's row in the table.
pub(super) const CONSUMER: Consumer =
    Consumer { kind: TargetKind::Docker, default_path: "/root/.docker/config.json", one_login: false, files, check, wants, merge, read_back };

/// The fields of an entry that would stand beside or before our `auth` (docker/cli `cli/config/types/authconfig.go`).
const STALE_FIELDS: [&str; 4] = ["username", "password", "identitytoken", "registrytoken"];

fn files(target: &Target) -> Vec<FileSpec> {
    vec![FileSpec { part: "", path: target.path.clone(), mode: target.mode, secret: true, dir_mode: dir_mode(target) }]
}

fn check(target: &Target, logins: &[&Login]) -> Vec<String> {
    super::check_common(target, logins)
}

fn wants(_: &Target, _: &[&Login]) -> Wants {
    Wants::default()
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    let Some(existing) = m.existing else {
        return compose(m, Document::default());
    };
    match Document::parse(existing) {
        Ok(document) => compose(m, document),
        Err(why) if m.options.replace_invalid => {
            let mut merged = compose(m, Document::default())?;
            merged.diff.insert(0, format!("~ the whole file, which {why}"));
            merged.notes.push(format!("replaced a file that {why}; it is kept as {}.regprov-backup", m.spec.path.file_name()));
            merged.backup = true;
            Ok(merged)
        }
        Err(why) => Err(format!("{} {why}; repair it, or let --replace-invalid replace it after a backup", m.spec.path)),
    }
}

/// The file, as far as we interpret it.
#[derive(Default)]
struct Document<'a> {
    /// Everything at the top, `auths` and `credHelpers` included, to keep the order.
    top: Vec<(String, &'a serde_json::value::RawValue)>,
    /// The entries; `None` for an entry that is `null`.
    auths: Vec<(String, &'a serde_json::value::RawValue, Option<Object<'a>>)>,
    /// Registry and helper.
    helpers: Vec<(String, &'a serde_json::value::RawValue, Zeroizing<String>)>,
    /// Whether `credsStore` names a helper.
    store: bool,
}

impl<'a> Document<'a> {
    /// Reads the file as docker and skopeo both do; what one of them refuses is an error here.
    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err("starts with a byte order mark, which docker refuses".into());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
        if text.trim().is_empty() {
            return Err("is empty, which podman and skopeo refuse".into());
        }
        let top = Object::parse(text)?;
        for (key, _) in &top.0 {
            if let Some(name) = ["auths", "credHelpers", "credsStore"].into_iter().find(|n| n != key && go_folds(key, n)) {
                return Err(format!("has a key that docker reads as `{name}` though its case differs"));
            }
        }
        let mut document = Document::default();
        if let Some(value) = top.get("auths").filter(|v| !json::is_null(v)) {
            for (key, raw) in Object::parse(value.get()).map_err(|why| format!("has an `auths` that {why}"))?.0 {
                let entry = match raw {
                    raw if json::is_null(raw) => None,
                    raw => Some(Object::parse(raw.get()).map_err(|why| format!("has an entry `{}` that {why}", shown(&key)))?),
                };
                document.auths.push((key, raw, entry));
            }
        }
        if let Some(value) = top.get("credHelpers").filter(|v| !json::is_null(v)) {
            for (key, raw) in Object::parse(value.get()).map_err(|why| format!("has `credHelpers` that {why}"))?.0 {
                let helper = json::as_text(raw).ok_or("has `credHelpers` that names something else than text")?;
                document.helpers.push((key, raw, helper));
            }
        }
        if let Some(value) = top.get("credsStore").filter(|v| !json::is_null(v)) {
            document.store = !json::as_text(value).ok_or("has a `credsStore` that is no text")?.is_empty();
        }
        document.top = top.0;
        Ok(document)
    }
}

/// Whether docker reads the file, so that what it says of helpers counts.
pub(super) fn reads(bytes: &[u8]) -> bool {
    Document::parse(bytes).is_ok()
}

/// Whether Go's JSON decoder takes `key` for the field `name`: it ignores case, with two letters beyond ASCII.
fn go_folds(key: &str, name: &str) -> bool {
    key.replace('\u{17f}', "s").replace('\u{212a}', "k").eq_ignore_ascii_case(name)
}

fn compose(m: &Merge<'_>, document: Document<'_>) -> Result<Merged, String> {
    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    let helpers = match m.target.helper {
        HelperPolicy::Store => helper::settle(m).map(|()| None)?,
        HelperPolicy::Fail | HelperPolicy::Remove => keep_helpers(m, &document, &mut merged)?,
    };
    let auths = merge_auths(m, document.auths, &mut merged)?;
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
    if let Some(auths) = auths {
        top.push(("auths".into(), Value::Object(auths)));
    }
    // Room for a document of short values that gets a line and its tabs for each, so that no copy is left behind by growing.
    let room =
        m.existing.map_or(0, <[u8]>::len) * 3 + m.logins.iter().map(|l| 256 + 2 * (l.username.as_str().len() + l.password.expose().len())).sum::<usize>();
    merged.write = Some(json::write(&Value::Object(top), room + 64));
    Ok(merged)
}

/// What stays of `credHelpers`: `None` when nothing changes there. An error when a helper stands between docker and us.
fn keep_helpers<'a>(m: &Merge<'_>, document: &Document<'a>, merged: &mut Merged) -> Result<Option<Vec<(String, Value<'a>)>>, String> {
    let mut problems = Vec::new();
    let mut remove: Vec<&str> = Vec::new();
    for login in m.logins {
        let key = login.registry.docker_key();
        // docker itself takes an empty helper for "use the file"; podman and skopeo fail on it.
        let mut uses_file = false;
        for (name, _, helper) in document.helpers.iter().filter(|(name, ..)| name == key || is_alias(name, &login.registry)) {
            if m.target.helper == HelperPolicy::Remove {
                remove.push(name);
            } else if helper.is_empty() && name == key {
                uses_file = true;
                merged.notes.push(format!("`credHelpers` names an empty helper for {key}: docker reads the file, podman and skopeo fail"));
            } else {
                problems.push(format!("`credHelpers` has an entry `{}`", shown(name)));
            }
        }
        if document.store && !uses_file {
            problems.push("`credsStore` is set".to_string());
        }
    }
    problems.sort();
    problems.dedup();
    if !problems.is_empty() {
        let way_out = if document.store {
            "take `credsStore` out of the file, or set `helper: store` on the target"
        } else {
            "take it out of the file, or set `helper: store` or `helper: remove` on the target"
        };
        return Err(format!("{}: {}: docker would ask that helper and never use our login; {way_out}", m.spec.path, problems.join(", ")));
    }
    if remove.is_empty() {
        return Ok(None);
    }
    let mut rest = Vec::new();
    for (name, raw, _) in &document.helpers {
        if remove.contains(&name.as_str()) {
            merged.diff.push(format!("- credHelpers {}", shown(name)));
        } else {
            rest.push((name.clone(), Value::Raw(raw)));
        }
    }
    Ok(Some(rest))
}

type Entries<'a> = Vec<(String, &'a serde_json::value::RawValue, Option<Object<'a>>)>;

fn merge_auths<'a>(m: &Merge<'_>, existing: Entries<'a>, merged: &mut Merged) -> Result<Vec<(String, Value<'a>)>, String> {
    let mut out: Vec<(String, Value<'a>)> = Vec::new();
    let mut bad = Vec::new();
    for (key, raw, entry) in existing {
        if let Some(login) = m.logins.iter().find(|l| l.registry.docker_key() == key) {
            let value = match helper::keeper(m, login) {
                Some(_) => Value::Object(without_login(&key, entry, &mut merged.diff)),
                None => manage(login, &key, entry, &mut merged.diff),
            };
            out.push((key, value));
        } else if let Some(login) = m.logins.iter().find(|l| is_alias(&key, &l.registry)) {
            merged.diff.push(format!("- {} (alias of {})", shown(&key), login.registry.docker_key()));
        } else if let Some(why) = entry.as_ref().and_then(bad_entry) {
            if m.options.drop_bad_entries {
                merged.diff.push(format!("- {} (bad entry: {why})", shown(&key)));
            } else {
                bad.push(format!("`{}` ({why})", shown(&key)));
            }
        } else {
            out.push((key, Value::Raw(raw)));
        }
    }
    if !bad.is_empty() {
        let them = bad.join(", ");
        return Err(format!("{}: docker rejects the whole file for its entry {them}; repair it, or let --drop-bad-entries drop it", m.spec.path));
    }
    let mut new: Vec<&&Login> = m.logins.iter().filter(|l| out.iter().all(|(key, _)| key != l.registry.docker_key())).collect();
    new.sort_by_key(|l| l.registry.docker_key());
    for login in new {
        let key = login.registry.docker_key();
        if let Some(helper) = helper::keeper(m, login) {
            merged.diff.push(format!("+ {key} (in {helper})"));
            out.push((key.to_string(), Value::Object(Vec::new())));
            continue;
        }
        merged.diff.push(format!("+ {key} ({})", shown(login.username.as_str())));
        out.push((key.to_string(), Value::Object(vec![("auth".into(), Value::Text(auth(login)))])));
    }
    Ok(out)
}

/// Our entry in the place of an existing one: `auth` is ours, what would beat it goes, the rest stays.
fn manage<'a>(login: &Login, key: &str, entry: Option<Object<'a>>, diff: &mut Vec<String>) -> Value<'a> {
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
fn without_login<'a>(key: &str, entry: Option<Object<'a>>, diff: &mut Vec<String>) -> Vec<(String, Value<'a>)> {
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
fn auth(login: &Login) -> Zeroizing<String> {
    let plain = Zeroizing::new(format!("{}:{}", login.username, login.password.expose()));
    Zeroizing::new(STANDARD.encode(plain.as_bytes()))
}

/// Whether a key is an old name of a registry that we manage: with a scheme (docker/cli `credentials/file_store.go`
/// ConvertToHostname), a trailing slash or an API version, or another of Docker Hub's names (containers/image
/// `docker/config/config.go` normalizeRegistry). `host/namespace` is none: podman reads it as a key of its own.
pub(super) fn is_alias(key: &str, registry: &Registry) -> bool {
    if key == registry.docker_key() {
        return false;
    }
    let lower = key.to_ascii_lowercase();
    let (schemed, rest) = match lower.split_once("://") {
        Some(("http" | "https", rest)) => (true, rest),
        _ => (false, lower.as_str()),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_host = if registry.is_hub() { ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host) } else { host == registry.authority() };
    is_host && (schemed || matches!(path, "" | "v1" | "v1/" | "v2" | "v2/"))
}

/// Why docker rejects the whole file for this entry (docker/cli `configfile/file.go` LoadFromReader and decodeAuth).
fn bad_entry(entry: &Object<'_>) -> Option<&'static str> {
    for (name, raw) in entry.0.iter().filter(|(_, raw)| !json::is_null(raw)) {
        let known = ["auth", "email", "serveraddress"].into_iter().chain(STALE_FIELDS).any(|f| go_folds(name, f));
        if !known {
            continue;
        }
        let Some(text) = json::as_text(raw) else { return Some("a field that should be text is something else") };
        if go_folds(name, "auth") && !text.is_empty() {
            match decode_auth(&text) {
                None => return Some("its auth is no standard base64"),
                Some(plain) => match plain.iter().position(|b| *b == b':') {
                    None => return Some("its auth has no colon"),
                    Some(0) => return Some("its auth has no username"),
                    Some(_) => {}
                },
            }
        }
    }
    None
}

/// Go's `base64.StdEncoding`: padding is demanded, line breaks are skipped, left-over bits are not looked at.
fn decode_auth(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    const GO: GeneralPurpose = GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let text = Zeroizing::new(text.replace(['\r', '\n'], ""));
    GO.decode(text.as_bytes()).ok().map(Zeroizing::new)
}

/// Reads the file as docker does and demands that each login is what docker would send.
fn read_back(m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    let document = Document::parse(bytes).map_err(|why| format!("{} {why}", m.spec.path))?;
    for login in m.logins {
        let key = login.registry.docker_key();
        let fail = |why: &str| Err(format!("login \"{}\" is not found in {} as docker reads it: {why}", login.name, m.spec.path));
        let shadowed = match document.helpers.iter().find(|(name, ..)| name == key) {
            Some((_, _, helper)) => !helper.is_empty(),
            None => document.store,
        };
        if shadowed && m.target.helper == HelperPolicy::Store {
            let entry = document.auths.iter().find(|(name, ..)| name == key).and_then(|(.., entry)| entry.as_ref());
            let plain = |name: &str| STALE_FIELDS.into_iter().chain(["auth"]).any(|f| go_folds(name, f));
            match entry {
                None => return fail("no entry"),
                Some(entry) if entry.0.iter().any(|(name, _)| plain(name)) => return fail("a login stands in the file beside the credential helper"),
                Some(_) => helper::settle(m)?,
            }
            continue;
        }
        if shadowed {
            return fail("a credential helper shadows it");
        }
        let Some((_, _, Some(entry))) = document.auths.iter().find(|(name, ..)| name == key) else { return fail("no entry") };
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
    if let Some((key, why)) = document.auths.iter().find_map(|(key, _, entry)| Some((key, bad_entry(entry.as_ref()?)?))) {
        return Err(format!("{}: docker rejects the whole file for its entry `{}`: {why}", m.spec.path, shown(key)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn alias(key: &str, registry: &str, want: bool) {
        assert_eq!(is_alias(key, &Registry::parse(registry).unwrap().0), want, "{key} of {registry}");
    }

    #[test]
    fn aliases() {
        for key in
            ["https://nvcr.io", "https://nvcr.io/", "https://nvcr.io/v1/", "http://nvcr.io", "nvcr.io/", "NVCR.IO", "nvcr.io/v2/", "https://nvcr.io/any/path"]
        {
            alias(key, "nvcr.io", true);
        }
        for key in ["nvcr.io", "nvcr.io/team", "nvcr.io:443", "https://xnvcr.io", "nvcr.io.example", "ftp://nvcr.io", ""] {
            alias(key, "nvcr.io", false);
        }
        for key in ["docker.io", "index.docker.io", "https://index.docker.io", "registry-1.docker.io", "https://docker.io/v2/"] {
            alias(key, "docker.io", true);
        }
        for key in ["https://index.docker.io/v1/", "auth.docker.io", "docker.io/acme"] {
            alias(key, "docker.io", false);
        }
        alias("https://h.example:5000/v2/", "h.example:5000", true);
        alias("h.example", "h.example:5000", false);
    }

    #[track_caller]
    fn bad(entry: &str, want: Option<&str>) {
        let got = bad_entry(&Object::parse(entry).unwrap());
        assert_eq!(got.is_some(), want.is_some(), "{entry}");
        assert!(got.unwrap_or("").contains(want.unwrap_or("")), "{entry}: {got:?}");
    }

    #[test]
    fn entries_for_which_docker_rejects_the_file() {
        bad(r#"{"auth":"OnA="}"#, Some("no username"));
        bad(r#"{"auth":"YQ=="}"#, Some("no colon"));
        bad(r#"{"auth":"YTpi_-8="}"#, Some("base64"));
        bad(r#"{"auth":"YTpiYw"}"#, Some("base64"));
        bad(r#"{"AUTH":"OnA="}"#, Some("no username"));
        bad(r#"{"auth":7}"#, Some("text"));
        bad(r#"{"identitytoken":[]}"#, Some("text"));
        bad(r#"{"auth":"YTpi\n"}"#, None);
        bad(r#"{"auth":"YTpiYx=="}"#, None);
        bad(r#"{"auth":""}"#, None);
        bad(r#"{"auth":null,"identitytoken":"x","other":7}"#, None);
        bad("{}", None);
    }
}
