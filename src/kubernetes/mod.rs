//! Clusters: pull Secrets in namespaces, and the service accounts that name them. The only user of the kube crate.
//!
//! A [`Cluster`] is a context of a kubeconfig, opened by [`Kubeconfigs`]. Everything that is asked of it goes through [`Cluster::send`], which
//! knows who we are, waits no longer than it may, and asks again where that does no harm; what an answer means is for others to say. What it
//! answers is never shown as it came: a server, and whoever stands before it, may repeat what was sent, and what is sent here is a password.

mod access;
mod answer;
pub mod apply;
mod credentials;
mod exec;
mod kubeconfig;
pub mod leftover;
mod list;
mod proxy;
pub mod remove;
mod rights;
mod runai;
mod secret;
mod select;
mod send;
mod service_account;
pub mod status;
mod trouble;

pub use access::{Cluster, IN_CLUSTER, Kubeconfigs, Timeouts};
pub use rights::Need;
pub use runai::cluster_wide;
pub use send::{Answer, Method, Request};
pub use trouble::Trouble;
