//! Which namespaces a selector means.

use serde::Deserialize;

use super::Trouble;
use super::access::Cluster;
use super::rights::Need;
use super::send::{Method, Request};
use crate::model::Stage;
use crate::model::text::escape;

/// The entries of a page.
const PAGE: u32 = 500;
/// The most pages that are read.
const PAGES_MAX: u32 = 200;

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

#[derive(Deserialize)]
struct Meta {
    name: String,
    #[serde(rename = "deletionTimestamp")]
    deleted: Option<String>,
}

impl Cluster {
    /// The namespaces that have such labels, as `kubectl get namespaces -l` has it: sorted, without those that are going.
    ///
    /// # Errors
    /// The server cannot be asked, takes this for no selector, or does not let us list namespaces.
    pub async fn select(&self, selector: &str) -> Result<Vec<String>, Trouble> {
        let failed = |stage, why: String| Err(Trouble::Failed(stage, why));
        let shown = escape(selector);
        let mut names = Vec::new();
        let mut more = String::new();
        for _ in 0..PAGES_MAX {
            let mut path = format!("/api/v1/namespaces?labelSelector={}&limit={PAGE}", encode(selector));
            if !more.is_empty() {
                path.push_str(&format!("&continue={}", encode(&more)));
            }
            // Of each only its metadata (Kubernetes, "Receiving resources as Tables" and PartialObjectMetadata).
            let form = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
            let answer = self.send(&Request::new(Stage::Observe, Method::Get, path).accept(form)).await?;
            match answer.status {
                200 => {}
                // What began too long ago cannot be continued: begin again.
                410 if !more.is_empty() => {
                    names.clear();
                    more.clear();
                    continue;
                }
                400 => return failed(Stage::Observe, self.says(&format!("takes `{shown}` for no selector of labels (400)"))),
                403 => {
                    let why = self.missing_right("", &[Need::namespaces("list")]).await?;
                    return failed(Stage::Rights, why.unwrap_or_else(|| self.says("does not let us list namespaces (403)")));
                }
                status => return failed(Stage::Observe, self.says(&format!("does not list namespaces (HTTP {status})"))),
            }
            let Ok(list) = serde_json::from_slice::<List>(&answer.body) else {
                return failed(Stage::Observe, self.says("answers with no list of namespaces"));
            };
            names.extend(list.items.into_iter().flatten().filter(|item| item.metadata.deleted.is_none()).map(|item| item.metadata.name));
            more = list.metadata.more;
            if more.is_empty() {
                names.sort_unstable();
                names.dedup();
                return Ok(names);
            }
        }
        failed(Stage::Observe, self.says(&format!("lists more than {} namespaces, or does not come to an end", PAGE * PAGES_MAX)))
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
