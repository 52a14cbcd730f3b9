//! DeepOps: the registry logins of its role `docker-login`, and an inventory for those who get them (NVIDIA/deepops 3957a42,
//! `roles/docker-login`, `playbooks/container/docker-login.yml`).
//!
//! The role reads `docker_login_registries`, a list of maps, and of each map `registry`, `username` and `password`; it hands them to
//! community.docker's `docker_login`, one registry after the other. The playbook runs it as root on `hostlist`, which is `all` by default.

mod inventory;

pub use inventory::{Inventory, Mapped, mapped};

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{Found, Left};
use crate::error::{Error, Result};
use crate::inventory::Layout;
use crate::inventory::ansible_vars::{self, Value};
use crate::model::text::escape;
use crate::model::{Registry, Secret};

/// The variable that holds the logins.
const REGISTRIES: &str = "docker_login_registries";

/// Variables that stand for others, one behind the other.
const HOPS_MAX: usize = 16;

/// Names that are told of variables without use.
const NAMES_TOLD: usize = 3;

/// What the role is told.
pub struct Role {
    /// The logins, and what is left.
    pub found: Found,
    /// `hostlist`: on which hosts the playbook runs; `None` for all.
    pub hostlist: Option<String>,
}

impl Role {
    /// Adds what is left of Ansible's inventory, and what is to be known of it; returns the group that gets the logins, `None` for every host.
    /// `wish` is what the admin says, before what the files say.
    ///
    /// # Errors
    /// There is no host, or none in the group.
    pub fn settle<'l>(&mut self, layout: &'l Layout, wish: Option<&str>) -> Result<Option<&'l str>> {
        if layout.hosts == 0 {
            return Err(Error::usage("Ansible's inventory has no hosts")
                .hint("name the one that you use with --inventory; that of config.example has its hosts commented out"));
        }
        let group = match (wish, self.hostlist.as_deref()) {
            (Some(name), _) => inventory::chosen(layout, name).map_err(|why| Error::usage(format!("--group {} {why}", escape(name))))?,
            (None, Some(name)) => inventory::chosen(layout, name)
                .map_err(|why| Error::usage(format!("`hostlist: {}` {why}", escape(name))).hint("name the group that shall get the logins with --group"))?,
            (None, None) => None,
        };
        self.found.left.extend(inventory::left(layout));
        let without_user = layout.hosts - layout.given.get("user").copied().unwrap_or(0);
        if without_user > 0 {
            self.found.notes.push(format!(
                "{without_user} of {} hosts have no `ansible_user`: Ansible logs in there as you, regprov as root unless ssh_config says otherwise; write \
                 `user:` under `defaults:`",
                layout.hosts
            ));
        }
        Ok(group)
    }
}

/// Opens a value that ansible-vault sealed; what it is told first is what that value is, for messages.
pub type Open<'a> = &'a mut dyn FnMut(&str, &str) -> Result<Zeroizing<String>>;

/// Reads the variables of these files (name and text), of which the later ones win, as those of `ansible-playbook -e @FILE` do.
///
/// # Errors
/// A file is no map in YAML; no file has the variable; it says that the logins are to be taken away; or `open` fails.
pub fn read(files: &[(String, Zeroizing<String>)], open: Open<'_>) -> Result<Role> {
    let mut entries = Vec::new();
    for (file, text) in files {
        match ansible_vars::parse(text).map_err(|why| Error::usage(format!("{file}: {why}")))? {
            Value::Map(map) => entries.extend(map),
            Value::Null => {}
            other => return Err(Error::usage(format!("{file}: a file of variables is a map, not {}", other.word()))),
        }
    }
    let names = files.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>().join(", ");
    let variables = Variables { all: Value::Map(entries) };
    let Some(list) = variables.get(REGISTRIES) else {
        return Err(Error::usage(format!("`{REGISTRIES}` is not in {names}"))
            .hint("name the file that has it with --vault: what `ansible-playbook -e @FILE` is given, or config/group_vars/all.yml"));
    };
    let items = match variables.follow(list) {
        Ok(Value::List(items)) => items,
        Ok(other) => return Err(Error::usage(format!("{names}: `{REGISTRIES}` must be a list, not {}", other.word()))),
        Err(why) => return Err(Error::usage(format!("{names}: `{REGISTRIES}` {why}"))),
    };
    if let Some(Ok(Value::Text(state))) = variables.get("docker_login_state").map(|v| variables.follow(v))
        && state.as_str() == "absent"
    {
        return Err(Error::usage(format!("{names}: `docker_login_state` is `absent`, so the role takes these logins away"))
            .hint("import them from a file that gives them; `regprov remove` takes away what regprov wrote"));
    }
    let mut role = Role { found: Found::default(), hostlist: None };
    logins(items, &variables, &mut role.found, open)?;
    rest(&variables, &mut role);
    Ok(role)
}

/// All variables that were given.
struct Variables {
    all: Value,
}

impl Variables {
    fn get(&self, name: &str) -> Option<&Value> {
        self.all.get(name)
    }

    fn names(&self) -> Vec<&str> {
        let Value::Map(entries) = &self.all else { return Vec::new() };
        let mut names: Vec<&str> = entries.iter().filter_map(|(key, _)| if let Value::Text(key) = key { Some(key.as_str()) } else { None }).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The value itself, or that of the variable for which it stands (`{{ vault_ngc_password }}`). The error is the end of a sentence.
    fn follow<'v>(&'v self, mut value: &'v Value) -> std::result::Result<&'v Value, String> {
        for _ in 0..HOPS_MAX {
            let Value::Text(text) = value else { return Ok(value) };
            if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
                return Ok(value);
            }
            let name = text.trim().strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).map(str::trim);
            let name = name.filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            // A template may hold a password, so it is not shown.
            let Some(name) = name else { return Err("is a template, which only Ansible evaluates".into()) };
            value = self.get(name).ok_or_else(|| format!("is the variable `{name}`, which is not in these files; name its file too, with --vault"))?;
        }
        Err("is a variable that leads to itself".into())
    }

    /// What Ansible would hand to the module as text, or why it is left.
    fn text(&self, value: &Value, what: &str, open: Open<'_>) -> Result<std::result::Result<Zeroizing<String>, String>> {
        let value = match self.follow(value) {
            Ok(value) => value,
            Err(why) => return Ok(Err(why)),
        };
        Ok(match value {
            Value::Text(text) | Value::Unsafe(text) => Ok(text.clone()),
            Value::Int(number) => Ok(number.to_string().into()),
            // What a vault holds is no template to Ansible (parsing/yaml/objects.py).
            Value::Vault(sealed) => Ok(open(what, sealed)?),
            Value::Null => Err("is empty".into()),
            other => Err(format!("is {} to YAML, which Ansible may write in another way; put it into quotes", other.word())),
        })
    }
}

/// One item of the list, as text.
struct Item {
    /// `entry 2`
    from: String,
    registry: Registry,
    /// The registry as it was written.
    written: String,
    username: Zeroizing<String>,
    password: Zeroizing<String>,
}

fn logins(items: &[Value], variables: &Variables, found: &mut Found, open: Open<'_>) -> Result<()> {
    let mut read: Vec<Item> = Vec::new();
    let mut unread: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, value) in items.iter().enumerate() {
        let from = format!("entry {}", i + 1);
        let value = match variables.follow(value) {
            Ok(value @ Value::Map(_)) => value,
            Ok(other) => {
                found.left.push(Left::new(from, format!("is {}, not a map", other.word())));
                continue;
            }
            Err(why) => {
                found.left.push(Left::new(from, why));
                continue;
            }
        };
        let Value::Map(fields) = value else { continue };
        for (key, _) in fields {
            if let Value::Text(key) = key
                && !["registry", "username", "password"].contains(&key.as_str())
            {
                unread.entry(key.to_string()).or_default().push(i + 1);
            }
        }
        match item(value, variables, from.clone(), found, open)? {
            Ok(item) => read.push(item),
            Err(why) => found.left.push(Left::new(from, why)),
        }
    }
    for i in 0..read.len() {
        let Item { from, registry, written, username, password } = &read[i];
        // The role logs in to one after the other, and Docker keeps one login for a registry.
        if let Some(later) = read[i + 1..].iter().find(|l| l.registry == *registry) {
            found.left.push(Left::new(from, format!("{} is for {registry} too, and the role comes to it later, so that one held", later.from)));
            continue;
        }
        found.take_of(registry.clone(), username, Secret::new(password.clone()), from);
        if written.is_empty() {
            found.notes.push(format!("{from} names no registry: it is taken as one for Docker Hub, as the role's module takes it"));
        } else if registry.is_hub() && !written.contains("index.docker.io") {
            found.notes.push(format!(
                "{from}: the role stores it under the key `{}`, which docker never looks up for images of Docker Hub, so pulls stay anonymous; regprov writes \
                 the key https://index.docker.io/v1/ and takes the old one out",
                escape(written)
            ));
        }
    }
    for (key, entries) in unread {
        let why = match key.as_str() {
            "email" => "the role does not read it, and no program that pulls images does",
            "reauthorize" | "state" => "the role does not read it here; regprov writes what differs, and nothing else",
            "config_path" | "dockercfg_path" => "the role does not read it; another place is `path:` of a target",
            _ => "the role does not read it",
        };
        let entries = entries.iter().map(usize::to_string).collect::<Vec<_>>();
        found.left.push(Left::new(format!("`{}` of {} {}", escape(&key), if entries.len() == 1 { "entry" } else { "entries" }, entries.join(", ")), why));
    }
    Ok(())
}

/// One item, or why it is left.
fn item(value: &Value, variables: &Variables, from: String, found: &mut Found, open: Open<'_>) -> Result<std::result::Result<Item, String>> {
    let mut text = |key: &str| -> Result<std::result::Result<Zeroizing<String>, String>> {
        match value.get(key) {
            None => Ok(Err(format!("its `{key}` is not there"))),
            Some(value) => Ok(variables.text(value, &format!("`{key}` of {from}"), open)?.map_err(|why| format!("its `{key}` {why}"))),
        }
    };
    // Without one the module goes to Docker Hub.
    let written = match value.get("registry") {
        None | Some(Value::Null) => Zeroizing::new(String::new()),
        Some(_) => match text("registry")? {
            Ok(text) => text,
            Err(why) => return Ok(Err(why)),
        },
    };
    let registry = if written.trim().is_empty() { "docker.io" } else { written.as_str() };
    let whole = match Registry::parse(registry) {
        Ok((registry, _)) => registry,
        Err(why) => return Ok(Err(format!("its {}", escape(&why)))),
    };
    let registry = Registry::parse(whole.authority()).expect("the authority of a registry is one").0;
    let (username, password) = match (text("username")?, text("password")?) {
        (Ok(username), Ok(password)) => (username, password),
        (username, password) => {
            let why: Vec<String> = [username.err(), password.err()].into_iter().flatten().collect();
            let set = format!("put it in by hand: `regprov vault set VAULT LOGIN --registry {registry} --username ...`");
            return Ok(Err(format!("({registry}) {}; {set}", why.join(", and "))));
        }
    };
    let [username, password] = [("username", username), ("password", password)].map(|(key, value)| match value.strip_suffix('\n') {
        None => value,
        Some(line) => {
            found.notes.push(format!("{from}: its {key} ends with a line break, as `echo` leaves one; it is taken off"));
            Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_string())
        }
    });
    if whole.path().is_some() {
        found.notes.push(format!("{from}: docker has logins for hosts, not for parts of them; `{whole}` becomes {registry}"));
    }
    Ok(Ok(Item { from, registry, written: written.trim().to_string(), username, password }))
}

/// What the variables say beside the logins.
fn rest(variables: &Variables, role: &mut Role) {
    let left = &mut role.found.left;
    let mut others = Vec::new();
    for name in variables.names() {
        match name {
            REGISTRIES | "docker_login_state" => {}
            "docker_login_reauth" => left.push(Left::new("`docker_login_reauth`", "regprov looks at what is there and writes what differs")),
            "docker_login_disable_log_password" => left.push(Left::new("`docker_login_disable_log_password`", "regprov logs no password, and hides no error")),
            "hostlist" => match variables.get(name).map(|value| variables.follow(value)) {
                Some(Ok(Value::Text(list))) => role.hostlist = Some(list.to_string()),
                _ => left.push(Left::new("`hostlist`", "is no text; name the group with --group")),
            },
            "ansible_become_password" | "ansible_become_pass" => {
                left.push(Left::new(format!("`{name}`"), "the password of sudo: `regprov vault set VAULT --become`, or `apply --ask-become-pass`"));
            }
            _ if name.starts_with("ansible_") => {
                left.push(Left::new(format!("`{}`", escape(name)), "here it holds for every host; write it as a key of the inventory's `defaults:`"));
            }
            _ => others.push(name),
        }
    }
    left.extend(others_left(&others, "not about registry logins"));
}

/// One line for variables without use here, however many there are.
fn others_left(names: &[&str], why: &str) -> Option<Left> {
    let told = names.iter().take(NAMES_TOLD).map(|name| format!("`{}`", escape(name))).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => None,
        1..=NAMES_TOLD => Some(Left::new(told, why)),
        n => Some(Left::new(format!("variables {told} and {} more", n - NAMES_TOLD), why)),
    }
}

#[cfg(test)]
mod tests;
