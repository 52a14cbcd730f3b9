//! A host: where it is, how it is reached, what it gets.

use std::fmt;

use super::{CurlVersion, RemotePath, Target};

/// One host, resolved: every key of the inventory's host, groups and defaults has been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name in the inventory and in reports.
    pub name: String,
    /// What is connected to.
    pub address: Address,
    /// The SSH user; `None` means root.
    pub user: Option<String>,
    /// Host keys pinned in the inventory; when there are any, known_hosts is not asked.
    pub host_keys: Vec<HostKeyPin>,
    /// Another name under which known_hosts knows the host.
    pub host_key_alias: Option<String>,
    /// The directory that stands for `/` on the node.
    pub root: RemotePath,
    /// curl's version, when the inventory says it instead of the node.
    pub curl: Option<CurlVersion>,
    /// The groups it is in, sorted; for `--limit` and the table of `regprov hosts`.
    pub groups: Vec<String>,
    /// What it gets, in the order of [`super::TargetKind::ALL`] and then of the path.
    pub targets: Vec<Target>,
}

/// A host name or IP address (IPv6 without brackets) and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// DNS name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// A host key as the inventory pins it: `ssh-ed25519 AAAA...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeyPin {
    /// The key type.
    pub algorithm: String,
    /// The public key blob in base64.
    pub base64: String,
}
