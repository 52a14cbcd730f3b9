//! Kubernetes objects as people keep them in files, and as `kubectl get -o yaml` and `-o json` print them: the pull Secrets among them, and
//! what is wrong with each.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::diagnose::{Fault, Weight, content, rule};
use super::tree::{self, At, Kind, Tree};
use crate::format::Holding;
use crate::format::auths::Holds;
use crate::format::json::Object;
use crate::model::kubernetes::{RUNAI_LABEL, RUNAI_NAMESPACE};
use crate::model::text::escape;

/// The two types of a pull Secret, each with its key (Kubernetes `pkg/apis/core/types.go`).
const TYPES: [(&str, &str); 2] = [("kubernetes.io/dockerconfigjson", ".dockerconfigjson"), ("kubernetes.io/dockercfg", ".dockercfg")];

/// The fields of a Secret (Kubernetes `staging/src/k8s.io/api/core/v1/types.go`).
const FIELDS: [&str; 7] = ["apiVersion", "data", "immutable", "kind", "metadata", "stringData", "type"];

/// The fields of `metadata` (Kubernetes `staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/types.go` ObjectMeta).
const METADATA: [&str; 16] = [
    "annotations",
    "clusterName",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The annotation in which `kubectl apply` keeps what it was given, data included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Base64 with or without its padding: what is wrong for one reader is told by another.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(Indifferent));

/// What a file holds.
#[derive(Default)]
pub struct Manifest {
    /// Its pull Secrets, in its order.
    pub secrets: Vec<SecretSeen>,
    /// The other objects, by their kind or name.
    pub others: Vec<String>,
}

/// A pull Secret of a file.
pub struct SecretSeen {
    /// `Secret runai/regcred`, fit to be shown.
    pub name: String,
    /// Its entries, as the kubelet would read them once it is mended.
    pub holdings: Vec<Holding>,
    /// What is wrong with it, each with its place.
    pub faults: Vec<(At, Fault)>,
}

/// Why a file cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its line, from 1; 0 when unknown.
    pub line: usize,
    /// Goes on from the file's name.
    pub message: String,
}

/// Whether a text is meant to be Kubernetes objects: at its top stands `kind` or `apiVersion`, which no inventory has.
pub fn is_manifest(text: &str) -> bool {
    let key =
        |line: &str| ["kind:", "apiVersion:"].iter().any(|key| line.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])));
    if text.trim_start().starts_with('{') {
        return Object::parse(text)
            .map_or_else(|_| text.contains("\"apiVersion\""), |object| object.get("kind").is_some() || object.get("apiVersion").is_some());
    }
    text.lines().any(key)
}

/// Reads the objects of a file.
pub fn manifest(text: &str) -> Result<Manifest, Unread> {
    let objects = tree::objects(text).map_err(|why| unread(text, &why))?;
    let mut manifest = Manifest::default();
    for object in &objects {
        if object.get("auths").is_some() && object.text("kind").is_none() {
            return Err(Unread { line: 0, message: "is a config.json and no Secret; read it with `regprov import docker-config`".to_string() });
        }
        match object.text("kind").unwrap_or("object without a kind") {
            "Secret" => secret(object, &mut manifest),
            kind => manifest.others.push(escape(kind)),
        }
    }
    Ok(manifest)
}

/// The reader's reason, or the one that a line of base64 at the wrong place has.
fn unread(text: &str, why: &str) -> Unread {
    let base64 = |line: &str| line.len() >= 4 && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let broken = lines.windows(2).position(|two| TYPES.iter().any(|(_, key)| two[0].starts_with(&format!("{key}:"))) && base64(two[1]));
    if let Some(at) = broken {
        let why =
            "a line of base64 stands by itself, where YAML wants a key: `base64` breaks its lines after 76 characters; write it as one line (`base64 -w0`)";
        return Unread { line: at + 2, message: format!("cannot be read: line {}: {why}", at + 2) };
    }
    let line = why.strip_prefix("line ").and_then(|rest| rest.split(':').next()?.parse().ok()).unwrap_or(0);
    Unread { line, message: if line > 0 { format!("cannot be read: {why}") } else { why.to_string() } }
}

/// What a Secret holds and what is wrong with it; what is no pull Secret at all is passed over.
fn secret(object: &Tree, manifest: &mut Manifest) {
    let metadata = object.get("metadata");
    let field = |name: &str| metadata.and_then(|m| m.text(name));
    let called = field("name").or_else(|| field("generateName")).map_or_else(|| "without a name".to_string(), escape);
    let namespace = field("namespace");
    let name = namespace.map_or_else(|| format!("Secret {called}"), |namespace| format!("Secret {}/{called}", escape(namespace)));
    // What stands under `stringData` comes before the same key of `data`.
    let of = |key: &'static str| {
        let under = |section: &'static str| object.get(section).and_then(|s| s.get(key)).map(|value| (section, key, value));
        under("stringData").or_else(|| under("data"))
    };
    let kind = object.text("type").unwrap_or("Opaque");
    let expected = TYPES.iter().find(|(name, _)| *name == kind).map(|(_, key)| *key);
    let there = expected.and_then(of).or_else(|| TYPES.iter().find_map(|(_, key)| of(key)));
    if there.is_none() && expected.is_none() {
        manifest.others.push(name);
        return;
    }
    let mut seen = SecretSeen { name, holdings: Vec::new(), faults: Vec::new() };
    fields(object, &mut seen);
    for (at, text) in ["name", "generateName", "namespace"].into_iter().filter_map(|name| metadata?.get(name)).filter_map(|t| Some((t.at, t.as_text()?))) {
        if text.contains(['<', '>']) {
            seen.find(at, rule::PLACEHOLDER, Weight::Broken, "its name or namespace is still the `<...>` of an example");
        }
    }
    if let Some(metadata) = metadata {
        labels(metadata, namespace, &mut seen);
    }
    match there {
        None => {
            let key = expected.unwrap_or_default();
            seen.find(object.at, rule::NO_KEY, Weight::Lost, &format!("it is of type {kind} and has no `{key}`: the API server refuses it"));
        }
        Some((section, key, value)) => {
            if expected != Some(key) {
                let right = TYPES.iter().find(|(_, k)| *k == key).map_or("", |(name, _)| name);
                let why = format!("it is of type {}: the kubelet takes `{key}` only from one of type {right}", escape(kind));
                seen.find(object.get("type").map_or(object.at, |t| t.at), rule::TYPE, Weight::Broken, &why);
            }
            if let Some(json) = value_of(section, key, value, &mut seen) {
                let content = content(&json, key == ".dockercfg");
                seen.faults.extend(content.faults.into_iter().map(|fault| (value.at, fault)));
                seen.holdings = content.holdings;
            }
            if seen.holdings.iter().any(|h| matches!(h.holds, Holds::Login(_))) {
                let why = "its logins stand in this file as good as in the clear: base64 hides nothing";
                seen.find(value.at, rule::PLAINTEXT, Weight::Hint, why);
            }
        }
    }
    manifest.secrets.push(seen);
}

impl SecretSeen {
    fn find(&mut self, at: At, rule: &'static str, weight: Weight, message: &str) {
        self.faults.push((at, Fault::of_secret(rule, weight, message)));
    }
}

/// Keys that Kubernetes does not know where they stand. kubectl refuses them, or with `--validate=false` drops them.
fn fields(object: &Tree, seen: &mut SecretSeen) {
    let mut unknown = |tree: &Tree, known: &[&str], of: &str| {
        let Kind::Map(pairs) = &tree.kind else { return };
        for (key, value) in pairs.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            let key = escape(key);
            let why = if key.contains('/') {
                format!("`{key}` stands beside `labels:` or `annotations:` and not under it, so it is neither; indent it further")
            } else if of == "a Secret" && METADATA.contains(&key.as_str()) {
                format!("`{key}` stands beside `metadata:` and not under it, where Kubernetes does not look for it; indent it further")
            } else {
                format!("{of} has no field `{key}`")
            };
            seen.find(value.at, rule::FIELD, Weight::Broken, &why);
        }
    };
    unknown(object, &FIELDS, "a Secret");
    if let Some(metadata) = object.get("metadata") {
        unknown(metadata, &METADATA, "`metadata`");
    }
}

fn labels(metadata: &Tree, namespace: Option<&str>, seen: &mut SecretSeen) {
    for (section, one) in [("labels", "label"), ("annotations", "annotation")] {
        let Some(tree) = metadata.get(section) else { continue };
        let Kind::Map(pairs) = &tree.kind else {
            seen.find(tree.at, rule::LABEL, Weight::Broken, &format!("its `{section}` is no map of names and texts: the API server refuses it"));
            continue;
        };
        for (key, value) in pairs {
            let shown = escape(key);
            let Some(text) = value.as_text() else {
                let why = format!("{one} `{shown}` is {} and no text: kubectl and the API server refuse it; write it in quotes, as \"true\"", value.what());
                seen.find(value.at, rule::LABEL, Weight::Broken, &why);
                continue;
            };
            if one == "label" && !is_label_value(text) {
                let why = format!(
                    "label `{shown}` has a value that the API server refuses: at most 63 letters, digits, `-`, `_` and `.`, the first and last a letter or digit"
                );
                seen.find(value.at, rule::LABEL, Weight::Broken, &why);
            }
            if key == RUNAI_LABEL && one == "label" && text == "true" && namespace.is_some_and(|n| n != RUNAI_NAMESPACE) {
                let why = format!("it has Run:ai's label `{RUNAI_LABEL}`, which Run:ai looks for in the namespace `{RUNAI_NAMESPACE}` alone");
                seen.find(value.at, rule::RUNAI_NAMESPACE, Weight::Hint, &why);
            }
            if key == LAST_APPLIED {
                let why = "`kubectl apply` left a copy of it, passwords included, in an annotation; apply it with --server-side, and take the annotation out";
                seen.find(value.at, rule::LAST_APPLIED, Weight::Hint, why);
            }
        }
    }
}

/// Kubernetes `staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go` IsValidLabelValue.
pub fn is_label_value(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && edge(text.bytes().next()) && edge(text.bytes().last())
}

/// The JSON of a Secret, as far as it can be had.
fn value_of(section: &str, key: &str, value: &Tree, seen: &mut SecretSeen) -> Option<Zeroizing<Vec<u8>>> {
    // In quotes or not is the same to kubectl for whatever is base64.
    let Kind::Text { text, .. } = &value.kind else {
        seen.find(value.at, rule::BASE64, Weight::Lost, &format!("its `{key}` is no text"));
        return None;
    };
    if section == "stringData" {
        return Some(Zeroizing::new(text.as_bytes().to_vec()));
    }
    match decoded(text, value.at, seen) {
        Ok(json) => Some(json),
        Err((rule, why)) => {
            seen.find(value.at, rule, Weight::Lost, &format!("its `{key}` {why}"));
            None
        }
    }
}

/// What stands under `data` is base64. Kubernetes skips line breaks in it and refuses spaces (Go's `base64.StdEncoding`).
fn decoded(text: &str, at: At, seen: &mut SecretSeen) -> Result<Zeroizing<Vec<u8>>, (&'static str, &'static str)> {
    let text = text.trim();
    let mut broken = |why: &str| seen.find(at, rule::BASE64, Weight::Broken, why);
    if text.starts_with('{') {
        broken("it has its JSON under `data` as it stands, where Kubernetes wants base64; it belongs under `stringData`");
        return Ok(Zeroizing::new(text.as_bytes().to_vec()));
    }
    if text.starts_with('<') {
        return Err((rule::PLACEHOLDER, "is still the `<...>` of an example"));
    }
    if text.contains([' ', '\t']) {
        broken("it has base64 with spaces in it, as folded lines (`>-`) make them: Kubernetes refuses that; write it as one line (`base64 -w0`)");
    }
    let whole = Zeroizing::new(text.split_ascii_whitespace().collect::<String>());
    let json = BASE64.decode(whole.as_bytes()).map(Zeroizing::new).map_err(|_| (rule::BASE64, "is no base64"))?;
    if !whole.len().is_multiple_of(4) {
        broken("it has base64 without its padding, which Kubernetes refuses; a piece may be missing at its end");
    }
    // Encoded by hand, and by kubectl once more.
    let again = BASE64.decode(json.trim_ascii()).map(Zeroizing::new).ok().filter(|json| json.trim_ascii_start().starts_with(b"{"));
    if again.is_some() {
        broken("it has base64 of base64, where the kubelet finds no JSON");
    }
    Ok(again.unwrap_or(json))
}
