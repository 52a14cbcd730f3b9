//! What an Ansible inventory holds, for whoever writes an inventory of ours that names it as a source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Ansible;
use super::data::Group;
use crate::error::{Error, Result};
use crate::inventory::World;
use crate::inventory::document::is_name;
use crate::model::{Connection, Jump};

/// The groups of an Ansible inventory, and what it says of its hosts.
pub struct Layout {
    /// All groups but `all` and `ungrouped`, in the inventory's order.
    pub groups: Vec<LayoutGroup>,
    /// How many hosts there are.
    pub hosts: usize,
    /// For each of our keys that a host is given by it (`address`, `user`, ...) the number of those hosts.
    pub given: BTreeMap<&'static str, usize>,
    /// Variables that say nothing of how a host is reached, by their names.
    pub unused: BTreeSet<String>,
    /// What a source would tell of it: files that were not read, ssh options and passwords that are not taken.
    pub notes: Vec<String>,
    /// Every file that was read.
    pub files: Vec<PathBuf>,
}

/// A group of an Ansible inventory.
pub struct LayoutGroup {
    /// Its name.
    pub name: String,
    /// How many hosts are in it and in the groups below it.
    pub hosts: usize,
    /// Whether it names hosts itself.
    pub names_hosts: bool,
    /// The groups right below it.
    pub children: Vec<String>,
    /// Whether a group of ours can have this name.
    pub fits: bool,
}

/// Reads an Ansible inventory, a file or a directory of them, as `{ansible: PATH}` in an inventory in the directory `beside` would.
///
/// # Errors
/// It cannot be read, or a host has a name or a setting that regprov cannot use.
pub fn layout(path: &Path, beside: &Path, world: &mut dyn World) -> Result<Layout> {
    let told = |fault: super::Fault| {
        let error = Error::usage(fault.message);
        match fault.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    };
    let ansible = super::read(path, beside, world).map_err(told)?;
    let members = ansible.members(None).map_err(told)?;
    let mut given: BTreeMap<&'static str, usize> = BTreeMap::new();
    for host in &members.hosts {
        let s = &host.settings;
        let is_command = matches!(s.jump, Some(Jump::Command(_)));
        for (key, is_given) in [
            ("address", s.address.is_some()),
            ("port", s.port.is_some()),
            ("user", s.user.is_some()),
            ("ssh_key", s.ssh_keys.is_some()),
            ("become", s.becomes_root.is_some()),
            ("jump", s.jump.is_some() && !is_command),
            ("proxy_command", is_command),
            ("connection", s.connection == Some(Connection::Local)),
        ] {
            *given.entry(key).or_default() += usize::from(is_given);
        }
    }
    given.retain(|_, hosts| *hosts > 0);
    let Ansible { data, files, .. } = &ansible;
    let named = data.groups.iter().enumerate().filter(|(_, g)| !["all", "ungrouped"].contains(&g.name.as_str()));
    let group = |(at, g): (usize, &Group)| LayoutGroup {
        name: g.name.clone(),
        hosts: data.members(at).len(),
        names_hosts: data.names_hosts(at),
        children: data.children(at).map(str::to_string).collect(),
        fits: is_name(&g.name),
    };
    let groups = named.map(group).collect();
    Ok(Layout { groups, hosts: members.hosts.len(), given, unused: data.unused.clone(), notes: members.notes, files: files.clone() })
}
