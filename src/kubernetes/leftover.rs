//! The Secrets of an inventory, wherever they are: found by our label, of each only its metadata.

use super::list::Listed;
use super::{Cluster, Need, Trouble};
use crate::model::Stage;
use crate::model::kubernetes::{INVENTORY, MANAGED_BY, MANAGER};

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
        None => listed(cluster, Some(namespace), id).await.map(Ok),
    }
}

/// Those of the inventory of this `id` in all namespaces, sorted. The inner `Err` says which right is missing to know them.
///
/// # Errors
/// The cluster cannot be asked, or answers with no list.
pub async fn everywhere(cluster: &Cluster, id: &str) -> Result<Result<Vec<LeftOver>, String>, Trouble> {
    match cluster.missing_right("", &[Need::secrets("list")]).await? {
        Some(why) => Ok(Err(why)),
        None => listed(cluster, None, id).await.map(Ok),
    }
}

/// Those of one namespace, or of all.
async fn listed(cluster: &Cluster, namespace: Option<&str>, id: &str) -> Result<Vec<LeftOver>, Trouble> {
    let failed = |listed: Listed| Err(Trouble::Failed(Stage::Observe, cluster.says(&listed.reason(&format!("Secrets of {MANAGER}")))));
    let path = namespace.map_or("/api/v1/secrets".to_string(), |namespace| format!("/api/v1/namespaces/{namespace}/secrets"));
    match cluster.list(&path, &format!("{MANAGED_BY}={MANAGER}")).await? {
        Listed::All(found) => {
            // Each stands in a namespace, and in no other than was asked for.
            if found.iter().any(|meta| namespace.map_or(meta.namespace.is_empty(), |namespace| meta.namespace != namespace)) {
                return failed(Listed::NoList);
            }
            let of_it = found.into_iter().filter(|meta| meta.annotations.get(INVENTORY).is_some_and(|of| of == id));
            let mut found: Vec<LeftOver> = of_it.map(|meta| LeftOver { namespace: meta.namespace, name: meta.name }).collect();
            found.sort_unstable();
            found.dedup();
            Ok(found)
        }
        other => failed(other),
    }
}
