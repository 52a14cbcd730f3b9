//! Lists of objects with such labels, page by page; of each object its metadata alone, so that no Secret's content is asked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::send::{Method, Request};
use super::{Cluster, Trouble};
use crate::model::Stage;
use crate::model::kubernetes::{is_label, is_subdomain};

/// The entries of a page.
const PAGE: u32 = 500;
/// The most pages that are asked for.
const PAGES_MAX: u32 = 200;
/// The most entries that are kept.
const ENTRIES_MAX: usize = 20_000;
/// The most that is read, all pages together, in bytes.
const BYTES_MAX: usize = 64 << 20;
/// How long all pages together may take, in [`super::Timeouts::request`]s.
const REQUESTS_MAX: u32 = 4;

/// A server that does not know this form refuses (406): it is as old as Kubernetes 1.15.
const METADATA_ALONE: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// What came of asking.
pub(super) enum Listed {
    /// All of them, but for those that are going.
    All(Vec<Meta>),
    /// The server refuses, with this code.
    Refused(u16),
    /// What came is no list.
    NoList,
    /// An object has a name, or a namespace, that Kubernetes gives none.
    BadName,
    /// More than [`ENTRIES_MAX`] or [`BYTES_MAX`], or no end within the time.
    Endless,
}

impl Listed {
    /// What is said of a server that told no names of these, or told too many.
    pub(super) fn reason(&self, what: &str) -> String {
        match self {
            Listed::All(_) => format!("lists {what}"),
            Listed::Refused(status) => format!("does not list {what} (HTTP {status})"),
            Listed::NoList => format!("answers with no list of {what}"),
            Listed::BadName => "answers with a name that Kubernetes does not allow".to_string(),
            Listed::Endless => format!("lists more than {ENTRIES_MAX} {what} or {} MiB, or does not come to an end", BYTES_MAX >> 20),
        }
    }
}

/// What is known of an object.
#[derive(Deserialize)]
pub(super) struct Meta {
    pub(super) name: String,
    /// Empty for what stands in none.
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(rename = "deletionTimestamp")]
    deleted: Option<String>,
}

impl Meta {
    /// Whether its names are such as Kubernetes gives. Another server's could lead a later request elsewhere, or a reader of the report.
    fn is_allowed(&self) -> bool {
        match self.namespace.as_str() {
            // Of what stands in no namespace only namespaces are listed.
            "" => is_label(&self.name),
            namespace => is_label(namespace) && is_subdomain(&self.name),
        }
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMeta,
    /// `null` where there is none (metav1.PartialObjectMetadataList has a slice without `omitempty`).
    items: Option<Vec<Item>>,
}

#[derive(Deserialize, Default)]
struct ListMeta {
    #[serde(rename = "continue", default)]
    more: String,
}

#[derive(Deserialize)]
struct Item {
    metadata: Meta,
}

impl Cluster {
    /// The objects below `path` (`/api/v1/namespaces`) with labels that fit the selector.
    pub(super) async fn list(&self, path: &str, selector: &str) -> Result<Listed, Trouble> {
        // How long it takes until it is known who asks is not the list's.
        self.ready(None).await?;
        let deadline = self.timeouts().request * REQUESTS_MAX;
        tokio::time::timeout(deadline, self.pages(path, selector)).await.unwrap_or(Ok(Listed::Endless))
    }

    async fn pages(&self, path: &str, selector: &str) -> Result<Listed, Trouble> {
        let (mut found, mut more, mut bytes) = (Vec::new(), String::new(), 0);
        for _ in 0..PAGES_MAX {
            let mut path = format!("{path}?labelSelector={}&limit={PAGE}", encode(selector));
            if !more.is_empty() {
                path.push_str(&format!("&continue={}", encode(&more)));
            }
            let answer = self.send(&Request::new(Stage::Observe, Method::Get, path).accept(METADATA_ALONE)).await?;
            match answer.status {
                200 => {}
                // What began too long ago cannot be continued: begin again.
                410 if !more.is_empty() => {
                    found.clear();
                    more.clear();
                    continue;
                }
                status => return Ok(Listed::Refused(status)),
            }
            bytes += answer.body.len();
            let Ok(list) = serde_json::from_slice::<List>(&answer.body) else { return Ok(Listed::NoList) };
            let items: Vec<Meta> = list.items.into_iter().flatten().map(|item| item.metadata).collect();
            if !items.iter().all(Meta::is_allowed) {
                return Ok(Listed::BadName);
            }
            found.extend(items.into_iter().filter(|meta| meta.deleted.is_none()));
            if found.len() > ENTRIES_MAX || bytes > BYTES_MAX {
                return Ok(Listed::Endless);
            }
            more = list.metadata.more;
            if more.is_empty() {
                return Ok(Listed::All(found));
            }
        }
        Ok(Listed::Endless)
    }
}

/// A value in a query (RFC 3986, "unreserved").
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b))
        } else {
            out.push_str(&format!("%{b:02X}"))
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_gives() {
        let (label, long) = ("a".repeat(63), "a".repeat(253));
        for (namespace, name, want) in [
            ("", "team-1", true),
            ("", label.as_str(), true),
            ("", &long, false),
            ("", "a.b", false),
            ("", "", false),
            ("", "-a", false),
            ("", "a\n", false),
            ("", "..", false),
            ("ml", "reg.cred", true),
            ("ml", &long, true),
            ("ml", &"a.".repeat(127), false),
            ("ml", "Regcred", false),
            ("ml", "a..b", false),
            ("ml", "a/b", false),
            ("ml", "a?dryRun=All", false),
            ("ml", "", false),
            ("m.l", "regcred", false),
            ("../x", "regcred", false),
        ] {
            let meta = Meta { name: name.into(), namespace: namespace.into(), annotations: BTreeMap::new(), deleted: None };
            assert_eq!(meta.is_allowed(), want, "{namespace:?} {name:?}");
        }
    }
}
