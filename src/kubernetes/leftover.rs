//! The Secrets of an inventory, wherever they are: found by our label, of each only its metadata.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Cluster, Method, Need, Request, Trouble};
use crate::model::Stage;
use crate::model::kubernetes::{INVENTORY, MANAGED_BY, MANAGER};

/// The entries of a page.
const PAGE: u32 = 500;
/// The most pages that are read.
const PAGES_MAX: u32 = 200;

/// A Secret that an inventory wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOver {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Those of the inventory of this `id` in a namespace, sorted. The inner `Err` says which right is missing to know them.
pub(super) async fn in_namespace(cluster: &Cluster, namespace: &str, id: &str) -> Result<Result<Vec<LeftOver>, String>, Trouble> {
    match cluster.missing_right(namespace, &[Need::secrets("list")]).await? {
        // Told alike of all namespaces, it is told once.
        Some(why) => Ok(Err(why.replace(&format!(" in namespace {namespace}"), ""))),
        None => listed(cluster, &format!("/api/v1/namespaces/{namespace}/secrets"), id).await.map(Ok),
    }
}

/// Those of the inventory of this `id` in all namespaces, sorted. The inner `Err` says which right is missing to know them.
///
/// # Errors
/// The cluster cannot be asked, or answers with no list.
pub async fn everywhere(cluster: &Cluster, id: &str) -> Result<Result<Vec<LeftOver>, String>, Trouble> {
    match cluster.missing_right("", &[Need::secrets("list")]).await? {
        Some(why) => Ok(Err(why)),
        None => listed(cluster, "/api/v1/secrets", id).await.map(Ok),
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

#[derive(Deserialize)]
struct Meta {
    name: String,
    namespace: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(rename = "deletionTimestamp")]
    deleted: Option<String>,
}

async fn listed(cluster: &Cluster, path: &str, id: &str) -> Result<Vec<LeftOver>, Trouble> {
    let failed = |why: String| Err(Trouble::Failed(Stage::Observe, why));
    let (mut found, mut more) = (Vec::new(), String::new());
    for _ in 0..PAGES_MAX {
        let mut path = format!("{path}?labelSelector={}&limit={PAGE}", encode(&format!("{MANAGED_BY}={MANAGER}")));
        if !more.is_empty() {
            path.push_str(&format!("&continue={}", encode(&more)));
        }
        // Of each only its metadata: what it holds is not asked for. A server that does not know this form refuses (406).
        let form = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let answer = cluster.send(&Request::new(Stage::Observe, Method::Get, path).accept(form)).await?;
        match answer.status {
            200 => {}
            // What began too long ago cannot be continued: begin again.
            410 if !more.is_empty() => {
                found.clear();
                more.clear();
                continue;
            }
            status => return failed(format!("{}: does not list Secrets (HTTP {status})", cluster.context)),
        }
        let Ok(list) = serde_json::from_slice::<List>(&answer.body) else {
            return failed(format!("{}: answers with no list of Secrets", cluster.context));
        };
        let of_it = |item: &Item| item.metadata.deleted.is_none() && item.metadata.annotations.get(INVENTORY).is_some_and(|of| of == id);
        found.extend(list.items.into_iter().flatten().filter(of_it).map(|item| LeftOver { namespace: item.metadata.namespace, name: item.metadata.name }));
        more = list.metadata.more;
        if more.is_empty() {
            found.sort_unstable();
            found.dedup();
            return Ok(found);
        }
    }
    failed(format!("{}: lists more than {} Secrets of {MANAGER}, or does not come to an end", cluster.context, PAGE * PAGES_MAX))
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
