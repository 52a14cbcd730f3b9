//! `kubernetes:`, each block by itself: which namespaces of which cluster get which logins, in a Secret of what name.

use std::collections::BTreeMap;

use crate::format::kubernetes::is_label_value;
use crate::inventory::document::is_name;
use crate::inventory::fields::{Fields, Keys, Placed, Reader};
use crate::inventory::yaml::{Entry, Node, Value};
use crate::model::kubernetes::{DEFAULT_SECRET, MANAGED_BY, MANAGER, is_label, is_subdomain};

/// Keys of a block.
pub(super) const BLOCK_KEYS: Keys = Keys {
    known: &["context", "namespaces", "namespace_selector", "logins", "secret", "labels", "annotations", "service_accounts"],
    reserved: &[],
    private: false,
};

/// The annotation in which `kubectl apply` keeps a copy of what it was given, passwords included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The most that all annotations of an object may hold, in bytes (Kubernetes `apimachinery/pkg/api/validation/objectmeta.go`).
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;

/// A block of `kubernetes:`.
pub(in crate::inventory) struct Block {
    pub(in crate::inventory) name: String,
    pub(in crate::inventory) context: Option<String>,
    pub(in crate::inventory) namespaces: Vec<Placed<String>>,
    pub(in crate::inventory) selector: Option<Placed<String>>,
    pub(in crate::inventory) logins: Vec<Placed<String>>,
    pub(in crate::inventory) secret: String,
    pub(in crate::inventory) labels: BTreeMap<String, String>,
    pub(in crate::inventory) annotations: BTreeMap<String, String>,
    pub(in crate::inventory) service_accounts: Vec<String>,
}

/// Reads all blocks.
pub(super) fn blocks(reader: &mut Reader<'_>, node: &Node) -> Vec<Block> {
    reader.named(node, "`kubernetes`").into_iter().map(|entry| block(reader, entry)).collect()
}

fn block(reader: &mut Reader<'_>, entry: &Entry) -> Block {
    let what = format!("`{}` of `kubernetes`", entry.key);
    if !is_name(&entry.key) || entry.key == "all" {
        let why = if entry.key == "all" { "`all` is what `--limit` calls everything" } else { "use letters, digits, `.`, `_` and `-`, at most 64" };
        reader.fault_hint(entry.key_pos, format!("{what} cannot have this name"), why);
    }
    let fields = reader.keyed(&entry.value, &what, BLOCK_KEYS);
    let namespaces = checked(reader, &fields, "namespaces", &what, "namespace", is_label);
    let selector = fields.value("namespace_selector").and_then(|n| selector(reader, n, &what));
    match (fields.get("namespaces"), fields.get("namespace_selector")) {
        (None, None) => reader.fault_hint(entry.key_pos, format!("{what} names no namespace"), "give it `namespaces:` or a `namespace_selector:`"),
        (Some(_), Some(second)) => reader.fault_hint(second.key_pos, format!("{what} has both `namespaces` and `namespace_selector`"), "make two blocks of it"),
        (Some(first), None) if matches!(&first.value.value, Value::Seq(items) if items.is_empty()) => {
            reader.fault(first.key_pos, format!("`namespaces` of {what} is empty"))
        }
        _ => {}
    }
    let logins = fields.value("logins").and_then(|n| reader.names(n, &format!("`logins` of {what}"))).unwrap_or_default();
    if logins.is_empty() {
        reader.fault_hint(fields.get("logins").map_or(entry.key_pos, |e| e.key_pos), format!("{what} gets no login"), "name them: `logins: [...]`");
    }
    Block {
        name: entry.key.clone(),
        context: fields.value("context").and_then(|n| context(reader, n, &what)),
        namespaces,
        selector,
        logins,
        secret: fields.value("secret").and_then(|n| secret(reader, n, &what)).unwrap_or_else(|| DEFAULT_SECRET.to_string()),
        labels: fields.value("labels").map(|n| labels(reader, n, &what)).unwrap_or_default(),
        annotations: fields.value("annotations").map(|n| annotations(reader, n, &what)).unwrap_or_default(),
        service_accounts: checked(reader, &fields, "service_accounts", &what, "service account", is_subdomain).into_iter().map(|s| s.value).collect(),
    }
}

/// A list of names of objects, each once.
fn checked(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str, what: &str, word: &str, is_valid: fn(&str) -> bool) -> Vec<Placed<String>> {
    let names = fields.value(key).and_then(|n| reader.names(n, &format!("`{key}` of {what}"))).unwrap_or_default();
    for name in names.iter().filter(|n| !is_valid(&n.value)) {
        reader.fault_hint(name.pos, format!("`{}` in `{key}` of {what} is no name of a {word}", name.value), RULE);
    }
    names
}

const RULE: &str = "Kubernetes takes lower-case letters, digits and `-`, with a letter or digit at both ends";

fn context(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<String> {
    let text = reader.text(node, &format!("`context` of {what}"))?;
    if text.value.is_empty() || text.value.chars().any(char::is_control) {
        reader.fault_hint(text.pos, format!("`context` of {what} names none"), "`kubectl config get-contexts` lists them");
        return None;
    }
    Some(text.value.to_string())
}

fn secret(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<String> {
    let text = reader.text(node, &format!("`secret` of {what}"))?;
    if !is_subdomain(text.value) {
        reader.fault_hint(text.pos, format!("`secret` of {what} is no name of a Secret"), RULE);
        return None;
    }
    Some(text.value.to_string())
}

/// A label selector; whether it means anything is for the API server to say.
fn selector(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Placed<String>> {
    let text = reader.text(node, &format!("`namespace_selector` of {what}"))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=!,() ".contains(c);
    if text.value.trim().is_empty() || !text.value.chars().all(is_plain) {
        reader.fault_hint(text.pos, format!("`namespace_selector` of {what} is no label selector"), "write it as for kubectl: `team=ml,env!=test`");
        return None;
    }
    Some(Placed { value: text.value.trim().to_string(), pos: text.pos })
}

fn labels(reader: &mut Reader<'_>, node: &Node, what: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for entry in reader.named(node, &format!("`labels` of {what}")) {
        let key = &entry.key;
        let Some(value) = reader.text(&entry.value, &format!("label `{key}` of {what}")) else { continue };
        if !is_qualified(key) {
            reader.fault_hint(entry.key_pos, format!("`{key}` in `labels` of {what} is no key of a label"), "a key is `name` or `prefix.example.org/name`");
        } else if key == MANAGED_BY || key.starts_with(&format!("{MANAGER}/")) {
            reader.fault(entry.key_pos, format!("label `{key}` of {what} is regprov's own"));
        } else if !is_label_value(value.value) {
            let rule = "at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends";
            reader.fault_hint(value.pos, format!("the value of label `{key}` of {what} is none of a label"), rule);
        } else {
            labels.insert(key.clone(), value.value.to_string());
        }
    }
    labels
}

fn annotations(reader: &mut Reader<'_>, node: &Node, what: &str) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    for entry in reader.named(node, &format!("`annotations` of {what}")) {
        let key = &entry.key;
        let Some(value) = reader.text(&entry.value, &format!("annotation `{key}` of {what}")) else { continue };
        if !is_qualified(key) {
            reader.fault_hint(
                entry.key_pos,
                format!("`{key}` in `annotations` of {what} is no key of an annotation"),
                "a key is `name` or `prefix.example.org/name`",
            );
        } else if key == LAST_APPLIED || key.starts_with(&format!("{MANAGER}/")) {
            let owner = if key == LAST_APPLIED { "kubectl" } else { MANAGER };
            reader.fault(entry.key_pos, format!("annotation `{key}` of {what} is {owner}'s own"));
        } else {
            annotations.insert(key.clone(), value.value.to_string());
        }
    }
    if annotations.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > ANNOTATIONS_BYTES_MAX / 2 {
        reader.fault(node.pos, format!("`annotations` of {what} hold more than {} KiB", ANNOTATIONS_BYTES_MAX >> 11));
    }
    annotations
}

/// The key of a label or an annotation (Kubernetes `apimachinery/pkg/util/validation/validation.go` IsQualifiedName).
fn is_qualified(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        #[track_caller]
        fn check(is_valid: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
            for name in good {
                assert!(is_valid(name), "{name}");
            }
            for name in bad {
                assert!(!is_valid(name), "{name}");
            }
        }
        let long = "a".repeat(64);
        check(is_label, &["runai", "runai-team-a", "0"], &["", "a.b", "-a", "a-", "A", "a_b", &long, "ü"]);
        check(is_subdomain, &["regcred", "a.b", &long], &["", ".a", "a..b", "a.-b", "A", "a/b", &"a.".repeat(127)]);
        check(is_qualified, &["runai/cluster-wide", "team", "a.example/B_c.d", "A"], &["", "/a", "a/", "A/b", "a/b/c", "-a", "a b", &long]);
        check(is_label_value, &["", "true", "A-b_c.d"], &["-a", "a ", "ü", &long]);
    }
}
