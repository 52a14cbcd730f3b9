//! The way to a host: one SSH server, or several behind one another, each with its own user, keys and host keys. Made before the
//! run from the inventory, the flags and ssh_config; nothing here touches the world.

use std::sync::Arc;
use std::time::Duration;

use super::auth::Keys;
use super::known_hosts::KnownHosts;
use crate::model::{Address, Host, HostKeyPin};

/// One SSH server and how it is logged in to.
#[derive(Clone)]
pub struct Endpoint {
    /// What people call it: the host's name in the inventory, or the jump host's as it was named.
    pub name: String,
    /// What is connected to.
    pub address: Address,
    /// The user.
    pub user: String,
    /// What is offered, in order.
    pub keys: Arc<Keys>,
    /// Host keys pinned in the inventory; when there are any, `known_hosts` is not asked.
    pub host_keys: Vec<HostKeyPin>,
    /// Another name under which `known_hosts` knows it.
    pub host_key_alias: Option<String>,
    /// The files that know it.
    pub known_hosts: KnownHosts,
    /// ssh_config's ConnectTimeout, where it is shorter than ours.
    pub connect: Option<Duration>,
}

impl Endpoint {
    /// A host as the inventory alone has it, without ssh_config.
    pub fn of(host: &Host, keys: Arc<Keys>, known_hosts: KnownHosts) -> Self {
        Endpoint {
            name: host.name.clone(),
            address: host.inventory_address(),
            user: host.user.clone().unwrap_or_else(|| "root".to_string()),
            keys,
            host_keys: host.host_keys.clone(),
            host_key_alias: host.host_key_alias.clone(),
            known_hosts,
            connect: None,
        }
    }
}

/// An SSH server and the way to it.
#[derive(Clone)]
pub struct Route {
    /// The way.
    pub via: Via,
    /// The server.
    pub end: Endpoint,
}

/// How a server's socket is had.
#[derive(Clone)]
pub enum Via {
    /// TCP.
    Direct,
    /// The standard streams of this command, run by sh, tokens replaced.
    Command(String),
    /// A forwarded channel of this server. Hosts behind one bastion share one `Arc`, and with it one connection.
    Jump(Arc<Route>),
}
