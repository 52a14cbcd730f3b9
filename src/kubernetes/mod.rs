//! Clusters: pull Secrets in namespaces, and the service accounts that name them. The only user of the kube crate.
//!
//! A [`Cluster`] is a context of a kubeconfig, opened. What it answers is never shown as it came: a server, and whoever stands before it,
//! may repeat what was sent, and what is sent here is a password.

mod trouble;

pub use trouble::Trouble;

/// A cluster that can be asked: a context of a kubeconfig, or the cluster in which this runs.
#[derive(Clone)]
pub struct Cluster {
    /// The context's name, or `in-cluster`.
    pub context: String,
    /// The client; all namespaces of the cluster share its connections.
    pub client: kube::Client,
}
