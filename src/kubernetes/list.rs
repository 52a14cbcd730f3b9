//! Lists of objects with such labels, page by page; of each object its metadata alone, so that no Secret's content is asked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::send::{Method, Request};
use super::{Cluster, Trouble};
use crate::model::Stage;

/// The entries of a page.
const PAGE: u32 = 500;
/// The most pages that are read.
const PAGES_MAX: u32 = 200;
/// The most entries that are read.
pub(super) const ENTRIES_MAX: u32 = PAGE * PAGES_MAX;

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
    /// More than [`ENTRIES_MAX`], or a list without an end.
    Endless,
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
        let (mut found, mut more) = (Vec::new(), String::new());
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
            let Ok(list) = serde_json::from_slice::<List>(&answer.body) else { return Ok(Listed::NoList) };
            found.extend(list.items.into_iter().flatten().map(|item| item.metadata).filter(|meta| meta.deleted.is_none()));
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
