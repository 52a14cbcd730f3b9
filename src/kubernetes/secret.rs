//! A pull Secret: what it shall be, what is there, and what lies between. Pure.

mod ours;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::apply::Options;
use crate::format::json::{self, Object};
use crate::format::kubernetes::{Fault, Weight, diagnose};
use crate::format::{Holds, held_by_kubelet};
use crate::model::kubernetes::{APPENDED_TO, INVENTORY, MANAGED_BY, MANAGER, PullSecret, SECRET_KEY, SECRET_TYPE, is_subdomain};
use crate::model::registry::without_user;
use crate::model::text::{escape, printable, sanitize, shell_word};
use crate::model::{Change, Namespace};

/// Where `kubectl apply` keeps a copy of what it was given, a Secret's data included (Kubernetes `pkg/apis/core/annotation_key_constants.go`).
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// So many mistakes of what is replaced are told, each so long at most, in characters.
const MISTAKES_MAX: usize = 3;
const MISTAKE_CHARS_MAX: usize = 400;

/// A Secret as the API server has it. It has no `Debug`: what it holds is secret.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) metadata: Metadata,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    immutable: Option<bool>,
    data: Option<BTreeMap<String, Zeroizing<String>>>,
}

/// What else is known of an object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    deletion_timestamp: Option<String>,
    finalizers: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, Zeroizing<String>>>,
    managed_fields: Option<Vec<Managed>>,
}

/// What one manager owns (Kubernetes `staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/types.go` ManagedFieldsEntry).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Managed {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    fields_v1: Option<Value>,
}

/// What an annotation keeps of a Secret.
#[derive(Deserialize)]
struct Copy {
    data: Option<BTreeMap<String, Zeroizing<String>>>,
}

/// The most service accounts that a record is taken to name.
const ACCOUNTS_MAX: usize = 100;

/// A field of an object by the names on the way to it: `["metadata", "labels", "a"]`.
type Field = Vec<String>;

impl Found {
    /// Reads an answer. `None` where it is no Secret.
    pub(super) fn parse(body: &[u8]) -> Option<Found> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            kind: &'a str,
        }
        serde_json::from_slice::<Kind<'_>>(body).ok().filter(|k| k.kind == "Secret")?;
        serde_json::from_slice(body).ok()
    }

    /// What it holds under [`SECRET_KEY`], without its base64; `None` where it has no such key, or nothing that can be read.
    pub(super) fn document(&self) -> Option<Zeroizing<Vec<u8>>> {
        STANDARD.decode(self.data.as_ref()?.get(SECRET_KEY)?.as_bytes()).ok().map(Zeroizing::new)
    }

    /// Everything that may be a document of logins: what it holds under any key, and copies in annotations.
    pub(super) fn documents(&self) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
        let held = self.data.iter().flatten().map(|(_, value)| value.clone());
        let copies = self.annotation(LAST_APPLIED).and_then(|copy| serde_json::from_str::<Copy>(copy).ok()).and_then(|copy| copy.data);
        let copies = copies.unwrap_or_default().into_values();
        held.chain(copies).filter_map(|value| STANDARD.decode(value.as_bytes()).ok()).map(Zeroizing::new)
    }

    /// The value of a label.
    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// The value of an annotation.
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(|v| v.as_str())
    }

    /// Whose inventory it is, where it is regprov's.
    pub(super) fn inventory(&self) -> Option<&str> {
        self.label(MANAGED_BY).filter(|by| *by == MANAGER).and(self.annotation(INVENTORY))
    }

    /// The service accounts to which regprov appended it, as it recorded them. Others may write there: what is no name is none, nor is one too many.
    pub(super) fn appended_to(&self) -> BTreeSet<String> {
        let names = self.annotation(APPENDED_TO).unwrap_or_default().split(',').map(str::trim);
        names.filter(|name| is_subdomain(name)).take(ACCOUNTS_MAX).map(str::to_string).collect()
    }

    /// Why it will not stay, where it is being deleted.
    pub(super) fn going(&self) -> Option<String> {
        self.metadata.deletion_timestamp.as_ref()?;
        let finalizers = self.metadata.finalizers.iter().flatten().map(|f| sanitize(f)).collect::<Vec<_>>().join(", ");
        Some(format!("is being deleted, and waits for its finalizers ({finalizers}); run again when it is gone"))
    }

    /// A warning, where an annotation of it holds a copy of a password, with the command that takes it away.
    pub(super) fn copy_in_annotation(&self, namespace: &Namespace, name: &str) -> Option<String> {
        self.annotation(LAST_APPLIED).filter(|copy| copy.contains(SECRET_KEY))?;
        let context = namespace.context.as_ref().map_or_else(String::new, |c| format!(" --context {}", shell_word(c)));
        Some(format!(
            "its annotation {LAST_APPLIED} holds a copy of a password, which `kubectl apply` made; take it away: kubectl{context} -n {} annotate secret {name} {LAST_APPLIED}-",
            namespace.name().unwrap_or_default()
        ))
    }

    /// What regprov owns of it by server-side apply.
    fn owned(&self) -> BTreeSet<Field> {
        let mut fields = BTreeSet::new();
        let ours = |m: &&Managed| {
            m.manager.as_deref() == Some(MANAGER) && m.operation.as_deref() == Some("Apply") && m.subresource.as_ref().is_none_or(String::is_empty)
        };
        for managed in self.metadata.managed_fields.iter().flatten().filter(ours) {
            if let Some(tree) = &managed.fields_v1 {
                leaves(tree, &mut Vec::new(), &mut fields);
            }
        }
        fields
    }
}

/// The ends of a tree of FieldsV1, in which `f:` stands before the name of a field and `.` for the field itself.
fn leaves(tree: &Value, at: &mut Field, fields: &mut BTreeSet<Field>) {
    for (key, below) in tree.as_object().into_iter().flatten() {
        let Some(name) = key.strip_prefix("f:") else { continue };
        at.push(name.to_string());
        // An empty map or list that is owned as such holds nothing.
        let container = matches!(at.iter().map(String::as_str).collect::<Vec<_>>()[..], ["data" | "metadata"] | ["metadata", "labels" | "annotations"]);
        match below.as_object().is_some_and(|o| o.keys().any(|k| k.starts_with("f:"))) {
            true => leaves(below, at, fields),
            false if container => {}
            false => drop(fields.insert(at.clone())),
        }
        at.pop();
    }
}

/// A Secret as it shall be. It has no `Debug`: it holds passwords.
pub(super) struct Desired<'a> {
    pub(super) name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, String>,
    document: &'a [u8],
    /// Its base64: that which is there already where it says the same, so that whoever wrote that may own it too.
    data: Zeroizing<String>,
}

/// What is sent (Kubernetes, "Server-Side Apply": a whole configuration of what is ours, and nothing else).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Meta<'a>,
    r#type: &'static str,
    data: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate_name: Option<String>,
    labels: &'a BTreeMap<&'a str, &'a str>,
    annotations: &'a BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<&'a str>,
}

impl<'a> Desired<'a> {
    /// As the inventory of this `id` wants it; `appended_to` are the service accounts that regprov made or will make name it.
    pub(super) fn new(secret: &'a PullSecret, document: &'a [u8], id: &str, appended_to: &BTreeSet<String>, found: Option<&Found>) -> Self {
        let mut labels: BTreeMap<&str, &str> = secret.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        labels.insert(MANAGED_BY, MANAGER);
        let mut annotations: BTreeMap<&str, String> = secret.annotations.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        annotations.insert(INVENTORY, id.to_string());
        if !appended_to.is_empty() {
            annotations.insert(APPENDED_TO, appended_to.iter().map(String::as_str).collect::<Vec<_>>().join(","));
        }
        let there = found.and_then(Found::document).filter(|there| same(there, document));
        let data = Zeroizing::new(STANDARD.encode(there.as_ref().map_or(document, |there| there.as_slice())));
        Desired { name: &secret.name, labels, annotations, document, data }
    }

    /// The body of the request. With a `resource_version` only an object that still has it is changed.
    pub(super) fn configuration(&self, resource_version: Option<&str>) -> Zeroizing<Vec<u8>> {
        self.body(Some(self.name), None, resource_version)
    }

    /// The same Secret under a name that the API server chooses, for a dry run.
    pub(super) fn trial(&self) -> Zeroizing<Vec<u8>> {
        self.body(None, Some(format!("{}-", self.name)), None)
    }

    fn body(&self, name: Option<&str>, generate_name: Option<String>, resource_version: Option<&str>) -> Zeroizing<Vec<u8>> {
        let configuration = Configuration {
            api_version: "v1",
            kind: "Secret",
            metadata: Meta { name, generate_name, labels: &self.labels, annotations: &self.annotations, resource_version },
            r#type: SECRET_TYPE,
            data: BTreeMap::from([(SECRET_KEY, self.data.as_str())]),
        };
        let size: usize = self.labels.iter().map(|(k, v)| k.len() + v.len()).chain(self.annotations.iter().map(|(k, v)| k.len() + v.len())).sum();
        // It must not grow: what it held before would stay in memory.
        let mut body = Zeroizing::new(Vec::with_capacity(self.data.len() + 6 * size + 32 * (self.labels.len() + self.annotations.len()) + 1024));
        serde_json::to_writer(&mut *body, &configuration).expect("texts are always JSON, and a Vec takes every byte");
        body
    }

    /// The fields that this configuration owns.
    fn fields(&self) -> BTreeSet<Field> {
        let field = |path: &[&str]| path.iter().map(ToString::to_string).collect::<Field>();
        let mut fields = BTreeSet::from([field(&["type"]), field(&["data", SECRET_KEY])]);
        fields.extend(self.labels.keys().map(|key| field(&["metadata", "labels", key])));
        fields.extend(self.annotations.keys().map(|key| field(&["metadata", "annotations", key])));
        fields
    }
}

/// What is to be done with a Secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) step: Step,
    pub(super) change: Change,
    /// What changes, as shape without values.
    pub(super) diff: Vec<String>,
    /// What is to be said of it, one line each.
    pub(super) notes: Vec<String>,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// Server-side apply.
    Apply,
    /// It is deleted and made anew.
    Anew,
}

/// Compares what is there with what shall be. `Err` says why it is not touched; it goes on from the Secret's name.
pub(super) fn plan(desired: &Desired<'_>, found: Option<&Found>, options: Options) -> Result<Plan, String> {
    let id = desired.annotations[INVENTORY].as_str();
    let Some(found) = found else {
        let mut diff = entries_diff(None, desired.document);
        diff.extend(desired.labels.iter().map(|(k, v)| format!("+ label {}", pair(k, v))));
        diff.extend(desired.annotations.iter().map(|(k, v)| format!("+ annotation {}", pair(k, v))));
        return Ok(Plan { step: Step::Apply, change: Change::Created, diff, notes: Vec::new() });
    };
    if let Some(why) = found.going() {
        return Err(why);
    }
    if let Some(other) = found.inventory().filter(|other| *other != id && !options.force_conflicts) {
        return Err(format!(
            "is that of the inventory \"{}\", by its annotation {INVENTORY}, and not of \"{}\"; name another one with `secret:`, or take it over with --force-conflicts",
            sanitize(other),
            escape(id)
        ));
    }
    let there = found.document();
    let is_same = there.as_ref().is_some_and(|there| same(there, desired.document));
    let (mut diff, mut notes) = (Vec::new(), Vec::new());
    let is_kind = found.kind == SECRET_TYPE;
    if !is_kind {
        diff.push(format!("~ type {} -> {SECRET_TYPE}", sanitize(&found.kind)));
    }
    if !is_same {
        diff.extend(entries_diff(there.as_deref().map(Vec::as_slice), desired.document));
        notes.extend(mistakes(found, there.as_deref().map(Vec::as_slice)).into_iter().filter(|_| is_kind));
    }
    let must_go = match (is_kind, found.immutable == Some(true) && !is_same) {
        (false, _) => Some(format!("is of type {}, and the type of a Secret cannot be changed", sanitize(&found.kind))),
        (true, true) => Some("is immutable (`immutable: true`), and holds other logins".to_string()),
        (true, false) => None,
    };
    if let Some(why) = must_go {
        if !options.replace {
            return Err(format!("{why}; --replace deletes it and makes it anew"));
        }
        let kept = |key: &&str| !desired.labels.contains_key(*key) && !desired.annotations.contains_key(*key);
        let labels = found.metadata.labels.iter().flatten().map(|(k, _)| k.as_str());
        let lost = labels.chain(found.metadata.annotations.iter().flatten().map(|(k, _)| k.as_str())).filter(|key| kept(key) && *key != LAST_APPLIED);
        let lost = lost.map(sanitize).collect::<Vec<_>>().join(", ");
        let lost = if lost.is_empty() { String::new() } else { format!("; these labels and annotations of others go with it: {lost}") };
        notes.insert(0, format!("is deleted and made anew: it {why}{lost}"));
        return Ok(Plan { step: Step::Anew, change: Change::Updated, diff, notes });
    }
    let content = !diff.is_empty();
    diff.extend(texts_diff("label", &desired.labels, |key| found.label(key)));
    diff.extend(texts_diff("annotation", &desired.annotations, |key| found.annotation(key)));
    let (owned, fields) = (found.owned(), desired.fields());
    for field in owned.difference(&fields) {
        match &field.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["metadata", "labels", key] => diff.push(format!("- label {}", sanitize(key))),
            ["metadata", "annotations", key] => diff.push(format!("- annotation {}", sanitize(key))),
            path => diff.push(format!("- field {}", sanitize(&path.join(".")))),
        }
    }
    if diff.is_empty() && !fields.is_subset(&owned) {
        diff.push(format!("+ field manager {MANAGER}"));
    }
    let change = match (content, diff.is_empty()) {
        (true, _) => Change::Updated,
        (false, false) => Change::Metadata,
        (false, true) => Change::Unchanged,
    };
    Ok(Plan { step: if diff.is_empty() { Step::Keep } else { Step::Apply }, change, diff, notes })
}

/// Whether what the server says is stored is what was meant, as the kubelet reads it. `Err` goes on from the Secret's name.
pub(super) fn read_back(desired: &Desired<'_>, stored: &Found) -> Result<(), String> {
    let told = |what: &str| Err(format!("was stored with {what}: something in the cluster (an admission webhook) changes what is sent"));
    if stored.kind != SECRET_TYPE {
        return told("another type");
    }
    let Some(document) = stored.document() else { return told(&format!("no `{SECRET_KEY}`")) };
    let (meant, held) = (held_by_kubelet(desired.document), held_by_kubelet(&document));
    let accounts = |held: Result<Vec<crate::format::Holding>, String>| {
        let account = |holds| match holds {
            Holds::Login(account) => Some((account.username, account.password)),
            _ => None,
        };
        held.ok().map(|held| held.into_iter().map(|h| (h.key, account(h.holds))).collect::<BTreeMap<_, _>>())
    };
    let equal = match (accounts(meant), accounts(held)) {
        (Some(meant), Some(held)) => {
            meant.len() == held.len()
                && meant.iter().all(|(key, account)| match (account, held.get(key)) {
                    (Some((user, password)), Some(Some((u, p)))) => user == u && password.expose() == p.expose(),
                    _ => false,
                })
        }
        _ => false,
    };
    if !equal {
        return told("other logins");
    }
    let wanted = desired.labels.iter().all(|(k, v)| stored.label(k) == Some(v)) && desired.annotations.iter().all(|(k, v)| stored.annotation(k) == Some(v));
    if wanted { Ok(()) } else { told("other labels or annotations") }
}

fn pair(key: &str, value: &str) -> String {
    sanitize(&format!("{key}={value}"))
}

/// The lines of labels or annotations that are not there as they are wanted.
fn texts_diff<'v, V: AsRef<str>>(what: &str, wanted: &BTreeMap<&str, V>, there: impl Fn(&str) -> Option<&'v str>) -> Vec<String> {
    let line = |(key, value): (&&str, &V)| match there(key) {
        Some(there) if there == value.as_ref() => None,
        Some(_) => Some(format!("~ {what} {}", pair(key, value.as_ref()))),
        None => Some(format!("+ {what} {}", pair(key, value.as_ref()))),
    };
    wanted.iter().filter_map(line).collect()
}

/// The fields of an entry, each by its name; a value that is no text is there and is like no other.
type Fields = BTreeMap<String, Option<Zeroizing<String>>>;

/// The entries under `auths`, and whether something stands beside `auths`; `None` where there are none.
fn entries(document: &[u8]) -> Option<(BTreeMap<String, Fields>, bool)> {
    let top = Object::parse(std::str::from_utf8(document).ok()?).ok()?;
    let auths = Object::parse(top.get("auths")?.get()).ok()?;
    let fields = |raw: &str| Object::parse(raw).map(|o| o.0.into_iter().map(|(field, value)| (field, json::as_text(value))).collect::<Fields>()).ok();
    let entries = auths.0.into_iter().map(|(key, raw)| Some((key, fields(raw.get())?))).collect::<Option<_>>()?;
    Some((entries, top.0.len() > 1))
}

/// Whether two documents say the same: the same bytes, or the same entries with the same fields in another form.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let (Some((one, false)), Some((other, false))) = (entries(one), entries(other)) else { return false };
    let fields = |fields: &Fields| fields.values().all(Option::is_some);
    one.values().all(fields) && one == other
}

/// What differs between the entries of two documents.
fn entries_diff(there: Option<&[u8]>, wanted: &[u8]) -> Vec<String> {
    let there = there.and_then(entries).unwrap_or_default();
    let wanted = entries(wanted).unwrap_or_default().0;
    let key = |key: &str| format!("auths \"{}\"", sanitize(&without_user(key)));
    let mut diff = Vec::new();
    for (name, fields) in &wanted {
        let Some(old) = there.0.get(name) else {
            diff.push(format!("+ {}", key(name)));
            continue;
        };
        for (field, value) in fields {
            match old.get(field) {
                Some(old) if old == value => {}
                Some(_) => diff.push(format!("~ {} {field}", key(name))),
                None => diff.push(format!("+ {} {field}", key(name))),
            }
        }
        diff.extend(old.keys().filter(|field| !fields.contains_key(*field)).map(|field| format!("- {} {}", key(name), sanitize(field))));
    }
    diff.extend(there.0.keys().filter(|name| !wanted.contains_key(*name)).map(|name| format!("- {}", key(name))));
    if diff.is_empty() {
        diff.push(format!("~ {SECRET_KEY}"));
    }
    diff
}

/// What was wrong with the content that is there, if anything kept a login from the kubelet: one line each.
fn mistakes(found: &Found, there: Option<&[u8]>) -> Vec<String> {
    let has_key = found.data.as_ref().is_some_and(|data| data.contains_key(SECRET_KEY));
    let told = match there {
        None if has_key => vec![format!("its `{SECRET_KEY}` is no base64")],
        None => vec![format!("it has no `{SECRET_KEY}`")],
        Some(there) if STANDARD.decode(there.trim_ascii()).map(Zeroizing::new).is_ok_and(|inner| inner.trim_ascii_start().starts_with(b"{")) => {
            vec![format!("its `{SECRET_KEY}` is base64 of base64, where the kubelet finds no JSON")]
        }
        Some(there) => {
            let told = |fault: Fault| fault.entry.map_or(fault.message.clone(), |key| format!("its entry `{key}`: {}", fault.message));
            diagnose(there).into_iter().filter(|fault| fault.weight != Weight::Hint).map(told).collect()
        }
    };
    told.into_iter().take(MISTAKES_MAX).map(|why| format!("what stood there was wrong: {}", printable(&why, MISTAKE_CHARS_MAX))).collect()
}

#[cfg(test)]
mod tests;
