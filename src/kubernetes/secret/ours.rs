//! What of a Secret that is there is ours, and what is others'.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Desired, Found, Managed};
use crate::model::kubernetes::{MANAGER, SECRET_KEY, SECRET_TYPE};
use crate::model::text::{escape, sanitize};

/// The longest name of a manager that is shown, in characters; the API server takes no longer one.
const MANAGER_CHARS_MAX: usize = 128;

impl Found {
    /// Whether our server-side apply owns a field: `["data", ".dockerconfigjson"]`.
    pub(in crate::kubernetes) fn is_ours(&self, field: &[&str]) -> bool {
        self.owned().iter().any(|owned| owned.iter().eq(field))
    }

    /// Whether our server-side apply owns anything of it.
    pub(in crate::kubernetes) fn has_ours(&self) -> bool {
        !self.owned().is_empty()
    }

    /// Whether the logins are ours already, and nothing of this is anybody else's. An API server may tell of a conflict all the same: a manager that
    /// lost a field to us keeps the one above it (Kubernetes 1.20, after `kubectl create`).
    pub(in crate::kubernetes) fn is_ours_alone(&self, desired: &Desired<'_>) -> bool {
        let logins = ["data", SECRET_KEY];
        self.is_ours(&logins)
            && self.others(&logins).is_empty()
            && desired.labels.keys().all(|key| self.others(&["metadata", "labels", key]).is_empty())
            && desired.annotations.keys().all(|key| self.others(&["metadata", "annotations", key]).is_empty())
    }

    /// The keys of labels (`"labels"`) or annotations that our server-side apply owns, with what stands there.
    pub(in crate::kubernetes) fn our_texts(&self, section: &str) -> BTreeMap<String, Zeroizing<String>> {
        let there = |key: &str| match section {
            "labels" => self.label(key),
            _ => self.annotation(key),
        };
        let of = |field: Vec<String>| match &field[..] {
            [metadata, within, key] if metadata == "metadata" && within == section => there(key).map(|value| (key.clone(), Zeroizing::new(value.to_string()))),
            _ => None,
        };
        self.owned().into_iter().filter_map(of).collect()
    }

    /// The other managers that own a field, or something below it, by their names; each once, fit to be shown.
    pub(in crate::kubernetes) fn others(&self, field: &[&str]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for managed in self.metadata.managed_fields.iter().flatten() {
            let Some(name) = managed.manager.as_deref().filter(|name| *name != MANAGER) else { continue };
            let name = sanitize(&escape(&name.chars().take(MANAGER_CHARS_MAX).collect::<String>()));
            if managed.owns(field) && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The other managers that own something below a field, by their names.
    pub(in crate::kubernetes) fn others_within(&self, field: &str) -> Vec<String> {
        let of = |managed: &Managed| -> Vec<String> {
            let tree = managed.fields_v1.as_ref().and_then(|tree| tree.get(format!("f:{field}"))).and_then(|tree| tree.as_object());
            tree.into_iter().flat_map(|tree| tree.keys()).filter_map(|key| key.strip_prefix("f:")).map(str::to_string).collect()
        };
        let mut names: Vec<String> = Vec::new();
        let fields: BTreeSet<String> = self.metadata.managed_fields.iter().flatten().flat_map(of).collect();
        for name in fields.iter().flat_map(|key| self.others(&[field, key])) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Whether its data cannot be changed.
    pub(in crate::kubernetes) fn is_immutable(&self) -> bool {
        self.immutable == Some(true)
    }

    /// Whether it is as it was `sent` to be: the same type, logins and texts, and nothing else that our server-side apply owns. `Err` goes on from
    /// the Secret's name.
    pub(in crate::kubernetes) fn holds(&self, sent: &Found) -> Result<(), String> {
        let data = |of: &Found| of.data.as_ref().and_then(|data| data.get(SECRET_KEY)).cloned();
        let has_text = |there: &Option<&str>, value: &str| *there == Some(value);
        let labels = sent.metadata.labels.iter().flatten().all(|(key, value)| has_text(&self.label(key), value));
        let annotations = sent.metadata.annotations.iter().flatten().all(|(key, value)| has_text(&self.annotation(key), value));
        let is_sent = |section: &str, key: &str| if section == "labels" { sent.label(key).is_some() } else { sent.annotation(key).is_some() };
        let no_more = ["labels", "annotations"].iter().all(|section| self.our_texts(section).keys().all(|key| is_sent(section, key)));
        let what = match () {
            () if self.kind != sent.kind => "another type",
            () if data(sent).is_some_and(|sent| data(self) != Some(sent)) => "other logins",
            () if !(labels && annotations && no_more) => "other labels or annotations",
            () => return Ok(()),
        };
        Err(format!("was stored with {what}: something in the cluster (an admission webhook) changes what is sent"))
    }

    /// The body of a server-side apply that changes nothing but what it is told to: all that is ours, as it stands there. With another
    /// `document`; with `appended_to` in place of the service accounts that it names.
    pub(in crate::kubernetes) fn ours_with(&self, name: &str, document: Option<&[u8]>, appended_to: &BTreeSet<String>) -> Zeroizing<Vec<u8>> {
        let mut annotations = self.our_texts("annotations");
        annotations.remove(super::APPENDED_TO);
        if !appended_to.is_empty() {
            let names = appended_to.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            annotations.insert(super::APPENDED_TO.to_string(), Zeroizing::new(names));
        }
        let there = self.data.as_ref().and_then(|data| data.get(SECRET_KEY)).filter(|_| self.is_ours(&["data", SECRET_KEY]));
        let data = match document {
            Some(document) => Some(Zeroizing::new(STANDARD.encode(document))),
            None => there.cloned(),
        };
        body(self, name, Some((&self.our_texts("labels"), &annotations)), data.as_ref().map(|data| data.as_str()))
    }

    /// The body of a server-side apply that gives up all that is ours. The type goes along: a field that nobody applies any more is taken away,
    /// and without its type and the key that this demands no Secret is taken. `emptied` leaves that key, without a login.
    pub(in crate::kubernetes) fn ours_given_up(&self, name: &str, emptied: bool) -> Zeroizing<Vec<u8>> {
        let empty = STANDARD.encode(br#"{"auths":{}}"#);
        body(self, name, None, emptied.then_some(empty.as_str()))
    }
}

impl Managed {
    fn owns(&self, field: &[&str]) -> bool {
        let mut at = self.fields_v1.as_ref();
        for name in field {
            at = at.and_then(|tree| tree.get(format!("f:{name}")));
        }
        at.is_some()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Meta<'a>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<BTreeMap<&'static str, &'a str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a BTreeMap<String, Zeroizing<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, Zeroizing<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<&'a str>,
}

type Texts<'a> = (&'a BTreeMap<String, Zeroizing<String>>, &'a BTreeMap<String, Zeroizing<String>>);

/// It is bound to the resourceVersion that was read: who changes it meanwhile is met.
fn body(found: &Found, name: &str, texts: Option<Texts<'_>>, data: Option<&str>) -> Zeroizing<Vec<u8>> {
    let (labels, annotations) = texts.unzip();
    let resource_version = found.metadata.resource_version.as_deref();
    let data = data.map(|data| BTreeMap::from([(SECRET_KEY, data)]));
    let size = |texts: Option<&BTreeMap<String, Zeroizing<String>>>| texts.into_iter().flatten().map(|(k, v)| 6 * (k.len() + v.len()) + 16).sum::<usize>();
    let size = size(labels) + size(annotations) + data.iter().flatten().map(|(_, v)| v.len()).sum::<usize>() + 1024;
    let body = Body { api_version: "v1", kind: "Secret", metadata: Meta { name, labels, annotations, resource_version }, r#type: SECRET_TYPE, data };
    // It must not grow: what it held before would stay in memory.
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    serde_json::to_writer(&mut *out, &body).expect("texts are always JSON, and a Vec takes every byte");
    out
}
