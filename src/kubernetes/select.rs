//! Which namespaces a selector means.

use super::Trouble;
use super::access::Cluster;
use super::list::Listed;
use super::rights::Need;
use crate::model::Stage;
use crate::model::text::escape;

impl Cluster {
    /// The namespaces that have such labels, as `kubectl get namespaces -l` has it: sorted, without those that are going.
    ///
    /// # Errors
    /// The server cannot be asked, takes this for no selector, or does not let us list namespaces.
    pub async fn select(&self, selector: &str) -> Result<Vec<String>, Trouble> {
        let failed = |stage, why: String| Err(Trouble::Failed(stage, why));
        match self.list("/api/v1/namespaces", selector).await? {
            // What stands in a namespace is none.
            Listed::All(found) if found.iter().all(|meta| meta.namespace.is_empty()) => {
                let mut names: Vec<String> = found.into_iter().map(|meta| meta.name).collect();
                names.sort_unstable();
                names.dedup();
                Ok(names)
            }
            Listed::Refused(400) => failed(Stage::Observe, self.says(&format!("takes `{}` for no selector of labels (400)", escape(selector)))),
            Listed::Refused(403) => {
                let why = self.missing_right("", &[Need::namespaces("list")]).await?;
                failed(Stage::Rights, why.unwrap_or_else(|| self.says("does not let us list namespaces (403)")))
            }
            Listed::All(_) => failed(Stage::Observe, self.says(&Listed::NoList.reason("namespaces"))),
            other => failed(Stage::Observe, self.says(&other.reason("namespaces"))),
        }
    }
}
