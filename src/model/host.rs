//! A host: where it is, how it is reached, what it gets.

use std::fmt;

use super::{CurlVersion, RemotePath, Target};

/// One host, resolved: every key of the inventory's host, groups and defaults has been applied. What the inventory leaves open
/// is `None`, and then ssh_config speaks, and then the built-in value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name in the inventory and in reports.
    pub name: String,
    /// How the node program is reached.
    pub connection: Connection,
    /// What is connected to: DNS name or IP address (IPv6 without brackets); else ssh_config's HostName, else the name.
    pub address: Option<String>,
    /// TCP port; else ssh_config's, else [`SSH_PORT`].
    pub port: Option<u16>,
    /// The SSH user; else ssh_config's, else root.
    pub user: Option<String>,
    /// What it is reached through; else ssh_config's ProxyJump or ProxyCommand, else nothing.
    pub jump: Option<Jump>,
    /// Private key files (`~/` is ours); with any, only these are offered.
    pub ssh_keys: Vec<String>,
    /// Whether the SSH user becomes root with sudo.
    pub becomes_root: bool,
    /// Host keys pinned in the inventory; when there are any, known_hosts is not asked.
    pub host_keys: Vec<HostKeyPin>,
    /// Another name under which known_hosts knows the host.
    pub host_key_alias: Option<String>,
    /// The directory that stands for `/` on the node.
    pub root: RemotePath,
    /// curl's version, when the inventory says it instead of the node.
    pub curl: Option<CurlVersion>,
    /// Whether each change is told to its system log.
    pub syslog: bool,
    /// The groups it is in, sorted; for `--limit` and the table of `regprov hosts`.
    pub groups: Vec<String>,
    /// What it gets, in the order of [`super::TargetKind::ALL`] and then of the path.
    pub targets: Vec<Target>,
    /// Why it is left out of every run, when a source says so: Slurm's state and reason.
    pub skip: Option<String>,
}

/// The port where nothing says another.
pub const SSH_PORT: u16 = 22;

impl Host {
    /// A host of which nothing but the name is known.
    pub fn named(name: impl Into<String>) -> Self {
        Host {
            name: name.into(),
            connection: Connection::Ssh,
            address: None,
            port: None,
            user: None,
            jump: None,
            ssh_keys: Vec::new(),
            becomes_root: false,
            host_keys: Vec::new(),
            host_key_alias: None,
            root: RemotePath::parse("/").expect("`/` is absolute"),
            curl: None,
            syslog: false,
            groups: Vec::new(),
            targets: Vec::new(),
            skip: None,
        }
    }

    /// Where the inventory puts it, without ssh_config.
    pub fn inventory_address(&self) -> Address {
        Address { host: self.address.clone().unwrap_or_else(|| self.name.clone()), port: self.port.unwrap_or(SSH_PORT) }
    }
}

/// How the node program is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Connection {
    /// Over SSH.
    #[default]
    Ssh,
    /// A sh on this machine, as the user who runs regprov.
    Local,
}

/// What a host is reached through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Jump {
    /// Nothing, whatever ssh_config says (`jump: none`).
    Direct,
    /// SSH servers, the first of which we connect to ourselves. At least one.
    Through(Vec<Hop>),
    /// A command whose standard streams are the connection, with OpenSSH's tokens (`%h`, `%p`, `%r`, `%n`).
    Command(String),
}

/// One SSH server on the way: `[user@]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// The SSH user there.
    pub user: Option<String>,
    /// A host of the inventory, a name of ssh_config, a DNS name or an IP address.
    pub host: String,
    /// TCP port.
    pub port: Option<u16>,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) => write!(f, "{}", Address { host: self.host.clone(), port }),
            None => f.write_str(&self.host),
        }
    }
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Jump::Direct => f.write_str("none"),
            Jump::Through(hops) => f.write_str(&hops.iter().map(Hop::to_string).collect::<Vec<_>>().join(",")),
            Jump::Command(command) => f.write_str(command),
        }
    }
}

/// A host name or IP address (IPv6 without brackets) and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
