//! An inventory that names DeepOps' own as the source of its hosts.

use std::fmt::Write as _;

use super::others_left;
use crate::import::Left;
use crate::inventory::{Layout, LayoutGroup};
use crate::model::text::escape;

/// The group for whom the playbook's `hosts: all` stands; a number is put behind it where Ansible has a group of that name.
const EVERYONE: &str = "every-host";

/// Words that are no text to some YAML reader.
const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"];

/// What an inventory is made of.
pub struct Inventory<'a> {
    /// Its `id:`.
    pub id: &'a str,
    /// What it is made from, for the comment at its top.
    pub made_from: &'a str,
    /// The vault with the logins, from the inventory's directory.
    pub vault: &'a str,
    /// Ansible's inventory, from the inventory's directory.
    pub ansible: &'a str,
    /// What that one holds.
    pub layout: &'a Layout,
    /// The group that gets the logins; `None` for every host.
    pub group: Option<&'a str>,
    /// The names of the logins, each with its registry.
    pub logins: &'a [(String, String)],
}

/// What something of Ansible's became, and for how many hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// What Ansible calls it.
    pub ansible: String,
    /// What regprov calls it.
    pub regprov: String,
    /// The number of hosts.
    pub hosts: usize,
}

impl Inventory<'_> {
    /// Its text. Hosts and how they are reached stay where they are: in Ansible's inventory, which is read at each run.
    pub fn text(&self) -> String {
        let mut out = format!(
            "# Made by `regprov import deepops` from {}.\n# Hosts, addresses, users and jump hosts stay in Ansible's inventory, which is read at each run.\nversion: 1\nid: {}\nvault: {}\n",
            escape(self.made_from),
            self.id,
            quoted(self.vault)
        );
        out.push_str("defaults:\n  # As `become: yes` of DeepOps' playbook.\n  become: true\ngroups:\n");
        if self.group.is_none() {
            let _ = writeln!(out, "  # As `hosts: all` of DeepOps' playbook.\n  {}:\n    hosts: {{ansible: {}}}", everyone(self.layout), quoted(self.ansible));
            self.get_logins(&mut out);
        }
        for group in taken(self.layout) {
            let _ = match children(self.layout, group) {
                Some(children) => writeln!(out, "  {}:\n    children: [{}]", quoted(&group.name), children.join(", ")),
                None => writeln!(out, "  {0}:\n    hosts: {{ansible: {1}, group: {0}}}", quoted(&group.name), quoted(self.ansible)),
            };
            if self.group == Some(&group.name) {
                self.get_logins(&mut out);
            } else if group.name == "slurm-node" {
                self.for_jobs(&mut out);
            }
        }
        out
    }

    fn get_logins(&self, out: &mut String) {
        let names: Vec<String> = self.logins.iter().map(|(name, _)| quoted(name)).collect();
        let _ = writeln!(out, "    logins: [{}]\n    # Root's config.json, which is what the role writes.\n    targets: [docker]", names.join(", "));
    }

    /// What the role leaves to each user, ready to be taken in.
    fn for_jobs(&self, out: &mut String) {
        let Some((name, _)) = self.logins.iter().find(|(_, registry)| registry == "nvcr.io").or(self.logins.first()) else { return };
        let name = quoted(name);
        let _ = writeln!(
            out,
            "    # Jobs pull with enroot or Singularity, which the role leaves to each user. For a login that all jobs use, take this in, and see in\n    \
             # the README what else enroot wants:\n    \
             # logins: [{name}]\n    # targets:\n    #   - enroot: {{path: /etc/enroot/.credentials, group: users, mode: \"0640\"}}\n    \
             #   - singularity: {{login: {name}, group: users}}"
        );
    }
}

/// The group of the layout that a `hostlist` or `--group` names; `None` for every host. The error is the end of a sentence.
pub(super) fn chosen<'l>(layout: &'l Layout, name: &str) -> Result<Option<&'l str>, String> {
    if ["all", "*"].contains(&name) {
        return Ok(None);
    }
    match taken(layout).find(|g| g.name == name) {
        Some(group) => Ok(Some(&group.name)),
        None if layout.groups.iter().any(|g| g.name == name && g.fits) => Err("is a group without hosts".into()),
        None => {
            let known: Vec<&str> = taken(layout).map(|g| g.name.as_str()).collect();
            Err(format!("is no group of Ansible's inventory; those are: all, {}", known.join(", ")))
        }
    }
}

/// What becomes of Ansible's inventory, in the words of both.
pub fn mapped(layout: &Layout, group: Option<&str>) -> Vec<Mapped> {
    let row = |ansible: String, regprov: &str, hosts: usize| Mapped { ansible, regprov: regprov.to_string(), hosts };
    let mut rows = Vec::new();
    if group.is_none() {
        rows.push(row("`hosts: all` of the playbook".into(), &format!("group `{}`", everyone(layout)), layout.hosts));
    }
    rows.extend(taken(layout).map(|g| row(format!("group `{}`", g.name), &format!("group `{}`", g.name), g.hosts)));
    rows.push(row("`become: yes` of the playbook".into(), "`become: true`", layout.hosts));
    for (key, ansible) in [
        ("address", "ansible_host"),
        ("port", "ansible_port"),
        ("user", "ansible_user"),
        ("ssh_key", "ansible_ssh_private_key_file"),
        ("jump", "ProxyJump"),
        ("proxy_command", "ProxyCommand"),
        ("become", "ansible_become"),
        ("connection", "ansible_connection: local"),
    ] {
        rows.extend(layout.given.get(key).map(|hosts| row(format!("`{ansible}`"), &format!("`{key}`"), *hosts)));
    }
    rows
}

/// What of Ansible's inventory is not taken.
pub(super) fn left(layout: &Layout) -> Vec<Left> {
    let names = |groups: Vec<&LayoutGroup>| groups.iter().map(|g| format!("`{}`", escape(&g.name))).collect::<Vec<_>>();
    let of = |names: Vec<String>, why: &str| match &names[..] {
        [] => None,
        [one] => Some(Left::new(format!("group {one}"), why)),
        many => Some(Left::new(format!("groups {}", many.join(", ")), why)),
    };
    let mut left = Vec::new();
    left.extend(of(names(layout.groups.iter().filter(|g| g.hosts == 0).collect()), "no host is in it"));
    let misfits = names(layout.groups.iter().filter(|g| g.hosts > 0 && !g.fits).collect());
    left.extend(of(misfits, "a group's name here has letters, digits, `.`, `_` and `-`, at most 64"));
    // "the ssh option X of host a is not taken from there": its end says what the list says already.
    left.extend(layout.notes.iter().map(|note| match note.strip_suffix(" is not taken from there") {
        Some(what) => Left::new(what, "regprov does not take it; `regprov hosts` names it too"),
        None => Left::new("of Ansible's inventory", note),
    }));
    let unused: Vec<&str> = layout.unused.iter().map(String::as_str).collect();
    left.extend(others_left(&unused, "not about how a host is reached"));
    left
}

/// The groups that an inventory of ours can have.
fn taken(layout: &Layout) -> impl Iterator<Item = &LayoutGroup> {
    layout.groups.iter().filter(|g| g.hosts > 0 && g.fits)
}

/// The children, in YAML, of a group that has all its hosts through them; `None` where one of them is not taken.
fn children(layout: &Layout, group: &LayoutGroup) -> Option<Vec<String>> {
    let is_empty = |name: &&String| layout.groups.iter().any(|g| g.name == **name && g.hosts == 0);
    let children: Vec<&String> = group.children.iter().filter(|name| !is_empty(name)).collect();
    let all_fit = children.iter().all(|name| taken(layout).any(|g| g.name == **name));
    (!group.names_hosts && all_fit).then(|| children.into_iter().map(|name| quoted(name)).collect())
}

fn everyone(layout: &Layout) -> String {
    let is_taken = |name: &str| layout.groups.iter().any(|g| g.name == name);
    crate::import::names::free(EVERYONE, is_taken)
}

/// A scalar that every YAML reader takes as this text, in a flow collection too.
fn quoted(text: &str) -> String {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') || text.starts_with("./") || text.starts_with("../");
    let plain = begins && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b)) && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_string() } else { format!("'{}'", text.replace('\'', "''")) }
}
