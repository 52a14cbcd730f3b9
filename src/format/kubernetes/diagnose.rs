//! What is wrong with a pull Secret's content. The API takes any JSON object for a `.dockerconfigjson` (Kubernetes
//! `pkg/apis/core/validation/validation.go` ValidateSecret), so a Secret may be there for years and give no login to anybody.
//!
//! The rules are those of the kubelet (Kubernetes 1.20.2 `pkg/credentialprovider/keyring.go` and `config.go`, `secrets/secrets.go`
//! MakeDockerKeyring): one entry that it cannot decode fails each pull of the pods that name the Secret, a key is host and path, and what it
//! does not find there it asks for without a login.

use crate::format::auths::{Holding, Holds};
use crate::format::json::{self, Object};
use crate::format::{held_by_kubelet, held_by_podman};
use crate::model::registry::without_user;
use crate::model::text::escape;

/// The ids of what is found, as `regprov lint` names them; `lint::RULES` says more of each.
pub mod rule {
    /// Not YAML, or not JSON.
    pub const SYNTAX: &str = "k8s-syntax";
    /// A key at a place where Kubernetes knows none.
    pub const FIELD: &str = "k8s-unknown-field";
    /// A label or an annotation that the API refuses.
    pub const LABEL: &str = "k8s-label-value";
    /// Another type than the one that the kubelet takes the content from.
    pub const TYPE: &str = "k8s-secret-type";
    /// No `.dockerconfigjson`.
    pub const NO_KEY: &str = "k8s-no-content";
    /// An example's words in place of a value.
    pub const PLACEHOLDER: &str = "k8s-placeholder";
    /// Base64 that the API refuses, or that holds something else.
    pub const BASE64: &str = "k8s-base64";
    /// No JSON, or other JSON than is meant.
    pub const JSON: &str = "k8s-json";
    /// Entries without `auths` around them, or none at all.
    pub const NO_AUTHS: &str = "k8s-no-auths";
    /// Made from a config.json whose passwords a credential helper has.
    pub const STORE: &str = "k8s-credential-store";
    /// An entry without a login that the kubelet could take.
    pub const ENTRY: &str = "k8s-entry";
    /// A key that is no registry to the kubelet.
    pub const KEY: &str = "k8s-registry-key";
    /// Docker Hub under a key that not everyone looks up.
    pub const HUB_KEY: &str = "k8s-hub-key";
    /// A key with a path.
    pub const PATH_KEY: &str = "k8s-path-key";
    /// An entry that podman, skopeo and buildah read nothing of.
    pub const NO_AUTH: &str = "k8s-no-auth";
    /// Run:ai's label where Run:ai does not look.
    pub const RUNAI_NAMESPACE: &str = "k8s-runai-namespace";
    /// A copy of the content in an annotation.
    pub const LAST_APPLIED: &str = "k8s-last-applied";
    /// Logins in a file, which base64 does not hide.
    pub const PLAINTEXT: &str = "k8s-plaintext";
}

/// What a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The kubelet gets the login; somebody else may not, or it is better done otherwise.
    Hint,
    /// Kubernetes refuses it or the kubelet gets no login of it, though a person sees which one is meant.
    Broken,
    /// The same, and no login can be had of it.
    Lost,
}

/// One thing that is wrong with a Secret. It holds nothing of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// An id of [`rule`].
    pub rule: &'static str,
    /// What it comes to.
    pub weight: Weight,
    /// The key of the entry that it is about, fit to be shown; `None` for the Secret as a whole.
    pub entry: Option<String>,
    /// What is wrong, and why that matters: a sentence of its own, in which `it` is the entry or the Secret.
    pub message: String,
}

impl Fault {
    pub(super) fn of_secret(rule: &'static str, weight: Weight, message: impl Into<String>) -> Self {
        Fault { rule, weight, entry: None, message: message.into() }
    }

    fn of_entry(key: &str, rule: &'static str, weight: Weight, message: impl Into<String>) -> Self {
        Fault { rule, weight, entry: Some(escape(&without_user(key))), message: message.into() }
    }
}

/// What stands in a Secret.
#[derive(Default)]
pub struct Content {
    /// Its entries, as the kubelet would read them once [`Weight::Broken`] faults are mended.
    pub holdings: Vec<Holding>,
    /// What is wrong, that of the whole first.
    pub faults: Vec<Fault>,
}

/// What is wrong with these bytes of a `.dockerconfigjson`; nothing when each of its logins reaches whoever looks for it.
pub fn diagnose(json: &[u8]) -> Vec<Fault> {
    content(json, false).faults
}

/// Reads the content of a `.dockerconfigjson`, or with `is_dockercfg` that of the older `.dockercfg`.
pub fn content(json: &[u8], is_dockercfg: bool) -> Content {
    let mut content = Content::default();
    if let Err((rule, why)) = read(json, is_dockercfg, &mut content) {
        let key = if is_dockercfg { ".dockercfg" } else { ".dockerconfigjson" };
        content.faults.push(Fault::of_secret(rule, Weight::Lost, format!("its `{key}` {why}")));
    }
    content
}

fn read(json: &[u8], is_dockercfg: bool, content: &mut Content) -> Result<(), (&'static str, String)> {
    let not_json = |why: String| (rule::JSON, why);
    let text = std::str::from_utf8(json).map_err(|_| not_json("is not UTF-8".to_string()))?;
    if text.starts_with('\u{feff}') {
        content.faults.push(Fault::of_secret(rule::JSON, Weight::Broken, "it starts with a byte order mark, which the API server and the kubelet refuse"));
    }
    let text = text.trim_start_matches('\u{feff}');
    let top = Object::parse(text).map_err(not_json)?;
    let has_auths = top.get("auths").is_some();
    let store = ["credsStore", "credHelpers"].into_iter().find(|key| top.get(key).is_some());
    let elsewhere = |key: &str| format!("it was made from a config.json whose passwords are elsewhere (`{key}`)");
    let at_top = !has_auths && top.0.iter().any(|(_, value)| is_entry(value.get()));
    let held = match (is_dockercfg, has_auths) {
        (true, true) => {
            let why = "it has `auths` in a `.dockercfg`, whose entries stand at the top: the kubelet finds none of them";
            content.faults.push(Fault::of_secret(rule::NO_AUTHS, Weight::Broken, why));
            held_by_kubelet(text.as_bytes())
        }
        (false, true) => held_by_kubelet(text.as_bytes()),
        (false, false) if !at_top => {
            return Err(match store {
                Some(key) => (rule::STORE, format!("has no `auths`; {}", elsewhere(key))),
                None => (rule::NO_AUTHS, "has no `auths`, in which the kubelet looks for logins".to_string()),
            });
        }
        (_, false) => {
            if !is_dockercfg {
                let why = "it has no `auths`: its entries stand at the top, where the kubelet finds none of them, so pulls go without a login; write \
                           {\"auths\": ...} around them";
                content.faults.push(Fault::of_secret(rule::NO_AUTHS, Weight::Broken, why));
            }
            held_by_kubelet(&wrapped(text))
        }
    };
    let held = held.map_err(not_json)?;
    if held.is_empty() {
        return Err(match store {
            Some(key) => (rule::STORE, format!("has no entry: {}", elsewhere(key))),
            None => (rule::NO_AUTHS, "has no entry".to_string()),
        });
    }
    // What reads `auth` alone; what such a reader refuses as a whole has been told above in the kubelet's words.
    let podmans = if has_auths { held_by_podman(text.as_bytes()).unwrap_or_default() } else { Vec::new() };
    for holding in &held {
        let podmans = podmans.iter().find(|p| p.key == holding.key);
        content.faults.extend(entry(holding, store, podmans));
    }
    content.holdings = held;
    Ok(())
}

/// The entries at the top as they should stand.
fn wrapped(text: &str) -> zeroize::Zeroizing<Vec<u8>> {
    let mut wrapped = zeroize::Zeroizing::new(Vec::with_capacity(text.len() + 16));
    wrapped.extend_from_slice(b"{\"auths\":");
    wrapped.extend_from_slice(text.as_bytes());
    wrapped.push(b'}');
    wrapped
}

/// What is wrong with one entry; of several things the one that keeps the login from the kubelet.
fn entry(holding: &Holding, store: Option<&str>, podmans: Option<&Holding>) -> Vec<Fault> {
    let fault = |rule, weight, why: String| Fault::of_entry(&holding.key, rule, weight, why);
    match &holding.holds {
        Holds::Login(_) => {}
        Holds::Token(field) => {
            let why = format!(
                "it is a token (`{field}`) of one session, not a password, and the kubelet reads none; make a robot account or an access token at the registry"
            );
            return vec![fault(rule::ENTRY, Weight::Lost, why)];
        }
        Holds::Unreadable(why) => {
            let why = format!("the kubelet cannot read it, nor any other entry of this Secret: {why}");
            return vec![fault(rule::ENTRY, Weight::Lost, why)];
        }
        Holds::Helper { .. } | Holds::Nothing => {
            let why = "it is empty: the Secret was made from a config.json whose passwords are elsewhere";
            return vec![match store {
                Some(key) => fault(rule::STORE, Weight::Lost, format!("{why} (`{key}`), so it holds none")),
                None => fault(rule::ENTRY, Weight::Lost, format!("{why}, or before anybody logged in")),
            }];
        }
    }
    let mut faults = Vec::new();
    match found_by_kubelet(&holding.key) {
        Found::Nothing(why) => {
            let weight = if holding.registry.is_ok() { Weight::Broken } else { Weight::Lost };
            faults.push(fault(rule::KEY, weight, format!("the kubelet finds no image under this key: {why}")));
        }
        Found::Itself(host) => faults.push(fault(
            rule::HUB_KEY,
            Weight::Broken,
            format!("the kubelet uses it for images that are named `{host}/...` alone, and Docker Hub's are not: write `{HUB_KEY}`"),
        )),
        Found::HubForSome => {
            let why = format!("the kubelet finds it for Docker Hub's images, but docker and Helm do not when they are given this file: write `{HUB_KEY}`");
            faults.push(fault(rule::HUB_KEY, Weight::Hint, why));
        }
        Found::Path => {
            let why = "it has a path: the kubelet uses it for images below that path alone, docker and Helm for the whole registry, and of two such keys \
                       either one";
            faults.push(fault(rule::PATH_KEY, Weight::Hint, why.to_string()));
        }
        Found::Pattern => {}
        Found::Registry => {
            if let Err(why) = &holding.registry {
                faults.push(fault(rule::KEY, Weight::Lost, escape(why)));
            }
        }
    }
    if let Some(Holding { holds: Holds::Unreadable(why), .. }) = podmans {
        let why = format!("podman, skopeo and buildah read nothing of it ({why}); kubectl writes `auth` beside `username` and `password`");
        faults.push(fault(rule::NO_AUTH, Weight::Hint, why));
    }
    faults
}

/// Docker Hub's key in every file of this form.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What the kubelet makes of a key.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// All images of that registry find it.
    Registry,
    /// Those of Docker Hub find it; other programs look under another key.
    HubForSome,
    /// Images that are named by this other name of Docker Hub find it, and nobody names them so.
    Itself(String),
    /// Images below a path find it.
    Path,
    /// Images of all hosts that match find it.
    Pattern,
    /// No image finds it.
    Nothing(String),
}

/// As `keyring.go` Add makes an index of keys, and Lookup matches the names of images with it: scheme and a leading `/v1/` or `/v2/` are
/// dropped, case is not.
fn found_by_kubelet(key: &str) -> Found {
    let nothing = |why: &str| Found::Nothing(why.to_string());
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    if rest.contains("://") {
        return nothing("it knows `https://` and `http://` before a host, and one of them; write the host alone");
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = path.strip_prefix("/v1").or_else(|| path.strip_prefix("/v2")).filter(|p| p.starts_with('/')).unwrap_or(path);
    if host.is_empty() || key.contains(char::is_whitespace) {
        return nothing("it is the name of no registry");
    }
    if host.contains('@') {
        return nothing("it holds a username, which belongs into the entry");
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return nothing("names of images have no upper case");
    }
    match (host, path) {
        (_, "/v1" | "/v2") => nothing("without a slash behind it the version of the API is a path"),
        (host, _) if host.contains(['*', '?', '[']) => Found::Pattern,
        ("docker.io", "" | "/") => Found::HubForSome,
        ("index.docker.io", "" | "/") => Found::Registry,
        ("registry-1.docker.io" | "registry.hub.docker.com", "" | "/") => Found::Itself(host.to_string()),
        ("hub.docker.com", _) => nothing("hub.docker.com is Docker Hub's web site and serves none; write `https://index.docker.io/v1/`"),
        ("auth.docker.io" | "authn.nvidia.com", _) => nothing("it is a token server, which serves none; write the registry"),
        (_, "" | "/") => Found::Registry,
        _ => Found::Path,
    }
}

/// Whether a value looks like an entry of `auths`.
fn is_entry(json: &str) -> bool {
    Object::parse(json).is_ok_and(|o| ["auth", "username", "password", "identitytoken"].into_iter().any(|key| o.get(key).is_some_and(|v| !json::is_null(v))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with the document, as `rule weight entry: beginning of the message`.
    #[track_caller]
    fn check(json: &str, want: &[&str]) {
        let told: Vec<String> =
            diagnose(json.as_bytes()).iter().map(|f| format!("{} {:?} {}: {}", f.rule, f.weight, f.entry.as_deref().unwrap_or("-"), f.message)).collect();
        assert!(told.len() == want.len() && told.iter().zip(want).all(|(got, want)| got.starts_with(want)), "{json}:\n{told:#?}\ninstead of\n{want:#?}");
        assert!(!told.concat().contains("hunter2"), "{told:?}");
    }

    /// A document with one good entry under this key: user u, password p.
    fn under(key: &str) -> String {
        format!(r#"{{"auths":{{"{key}":{{"username":"u","password":"p","auth":"dTpw"}}}}}}"#)
    }

    #[test]
    fn documents_that_work_have_no_fault() {
        for key in [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "nvcr.io",
            "https://registry.example.org",
            "h.example:5000",
            "https://h.example/v2/",
            "*.example.org",
        ] {
            check(&under(key), &[]);
        }
        // A line feed at its end, as `echo` adds it.
        check(&format!("{}\n", under("nvcr.io")), &[]);
        // A store beside passwords that stand there all the same: the kubelet knows no stores.
        check(&under("nvcr.io").replacen('{', r#"{"credsStore":"desktop","#, 1), &[]);
    }

    #[test]
    fn what_gives_no_login_is_told() {
        check(r#"{"https://eu.gcr.io": {"auth": "dTpw"}}"#, &["k8s-no-auths Broken -: it has no `auths`: its entries stand at the top"]);
        check("{}", &["k8s-no-auths Lost -: its `.dockerconfigjson` has no `auths`, in which the kubelet looks"]);
        check(r#"{"auths":{}}"#, &["k8s-no-auths Lost -: its `.dockerconfigjson` has no entry"]);
        check(r#"{"auths":null}"#, &["k8s-no-auths Lost -: its `.dockerconfigjson` has no entry"]);
        check(r#"{"auths":{},"credsStore":"desktop"}"#, &["k8s-credential-store Lost -: its `.dockerconfigjson` has no entry: it was made from a config.json"]);
        check(r#"{"credHelpers":{"gcr.io":"gcloud"}}"#, &["k8s-credential-store Lost -: its `.dockerconfigjson` has no `auths`; it was made from"]);
        check(
            r#"{"auths":{"https://index.docker.io/v1/":{},"nvcr.io":{}},"credsStore":"desktop"}"#,
            &["k8s-credential-store Lost https://index.docker.io/v1/: it is empty", "k8s-credential-store Lost nvcr.io: it is empty"],
        );
        check(r#"{"auths":{"a.example":{}}}"#, &["k8s-entry Lost a.example: it is empty"]);
        check(r#"{"auths":{"a.example":{"identitytoken":"hunter2"}}}"#, &["k8s-entry Lost a.example: it is a token (`identitytoken`)"]);
        check(r#"{"auths":{"a.example":{"auth":"aHVudGVyMg=="}}}"#, &["k8s-entry Lost a.example: the kubelet cannot read it, nor any other entry"]);
        check("\u{feff}{}", &["k8s-json Broken -: it starts with a byte order mark", "k8s-no-auths Lost"]);
        for (json, why) in
            [("hunter2", "is not a JSON object"), ("{\"auths\":", "is no valid JSON: it ends too early"), (r#"{"auths":"hunter2"}"#, "has an `auths`")]
        {
            check(json, &[&format!("k8s-json Lost -: its `.dockerconfigjson` {why}")]);
        }
    }

    #[test]
    fn an_entry_without_auth_is_for_the_kubelet_alone() {
        check(
            r#"{"auths":{"https://registry.example.org":{"username":"robot$x","password":"p"}}}"#,
            &["k8s-no-auth Hint https://registry.example.org: podman, skopeo and buildah read nothing of it"],
        );
    }

    #[test]
    fn keys_are_what_the_kubelet_makes_of_them() {
        for (key, want) in [
            ("docker.io", "k8s-hub-key Hint docker.io: the kubelet finds it for Docker Hub's images, but docker and Helm do not"),
            ("https://docker.io", "k8s-hub-key Hint"),
            ("registry-1.docker.io", "k8s-hub-key Broken registry-1.docker.io: the kubelet uses it for images that are named `registry-1.docker.io/...`"),
            ("https://index.docker.io/v1", "k8s-registry-key Broken https://index.docker.io/v1: the kubelet finds no image under this key: without a slash"),
            ("hub.docker.com", "k8s-registry-key Broken"),
            ("auth.docker.io", "k8s-registry-key Broken"),
            ("oci://h.example", "k8s-registry-key Lost oci://h.example: the kubelet finds no image under this key: it knows `https://`"),
            ("oci://https://h.example", "k8s-registry-key Lost"),
            ("https://https://h.example", "k8s-registry-key Lost"),
            ("NVCR.io", "k8s-registry-key Broken NVCR.io: the kubelet finds no image under this key: names of images have no upper case"),
            ("h.example /x", "k8s-registry-key Lost"),
            ("https://u:hunter2@h.example", "k8s-registry-key Lost ...@h.example: the kubelet finds no image under this key: it holds a username"),
            ("h.example/team", "k8s-path-key Hint h.example/team: it has a path"),
            ("docker.io/acme", "k8s-path-key Hint"),
            ("h.example:port", "k8s-registry-key Lost h.example:port: registry"),
        ] {
            check(&under(key), &[want]);
        }
    }

    #[test]
    fn the_older_form_has_its_entries_at_the_top() {
        let faults = |json: &str| content(json.as_bytes(), true).faults.iter().map(|f| f.rule).collect::<Vec<_>>();
        assert!(faults(r#"{"nvcr.io":{"auth":"dTpw"}}"#).is_empty());
        assert_eq!(faults(&under("nvcr.io")), [rule::NO_AUTHS]);
    }
}
