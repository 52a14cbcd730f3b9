//! Ansible's inventories as Ansible reads them: INI and YAML files or a directory of them, group_vars and host_vars beside them, and
//! what inventory scripts print.

mod data;
mod ini;
mod layout;
mod pattern;
mod settings;
mod tree;
pub(crate) mod value;

pub use layout::{Layout, LayoutGroup, layout};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use data::{Data, USED, Vars};
use value::Value;
use zeroize::Zeroizing;

use super::{Fault, Found};
use crate::inventory::fields::hint_for;
use crate::inventory::{Entry, World, hostlist};
use crate::model::Jump;

/// Directories inside each other, and directories of variables.
const DEPTH_MAX: usize = 16;

/// An inventory that was read.
pub(super) struct Ansible {
    data: Data,
    /// Every file that was read.
    pub(super) files: Vec<PathBuf>,
    notes: BTreeSet<String>,
}

/// The hosts of one group.
pub(super) struct Members {
    pub(super) hosts: Vec<Found>,
    pub(super) notes: Vec<String>,
    /// The first host that is reached through a command.
    pub(super) proxy_command: Option<String>,
}

/// Reads an inventory file, or a directory of them, and the variables beside it. `beside` is where the inventory lies that names it.
pub(super) fn read(path: &Path, beside: &Path, world: &mut dyn World) -> Result<Ansible, Fault> {
    let mut walk = Walk { world, directory: beside, files: Vec::new(), notes: BTreeSet::new(), unused: BTreeSet::new() };
    let mut data = Data::new();
    let beside = match walk.list(path)? {
        Some(entries) => {
            walk.directory(path, &entries, &mut data, 0)?;
            path.to_path_buf()
        }
        None => {
            walk.file(path, &mut data)?;
            path.parent().unwrap_or(Path::new("")).to_path_buf()
        }
    };
    data.reconcile().map_err(|why| Fault::from(format!("{}: {why}", path.display())))?;
    let groups = walk.vars_directory(&beside.join("group_vars"))?;
    for group in &mut data.groups {
        group.file_vars = walk.vars_of(&groups, &group.name)?;
    }
    let hosts = walk.vars_directory(&beside.join("host_vars"))?;
    for host in &mut data.hosts {
        host.file_vars = walk.vars_of(&hosts, &host.name)?;
    }
    let Walk { files, notes, mut unused, .. } = walk;
    data.unused.append(&mut unused);
    Ok(Ansible { data, files, notes })
}

/// What an inventory script printed.
pub(super) fn of_script(json: &serde_json::Value) -> Result<Ansible, String> {
    let mut data = Data::new();
    tree::read_script(&Value::of_json(json), &mut data)?;
    data.reconcile()?;
    Ok(Ansible { data, files: Vec::new(), notes: BTreeSet::new() })
}

impl Ansible {
    /// The hosts of a group (all of them without one) with what their variables say.
    pub(super) fn members(&self, group: Option<&str>) -> Result<Members, Fault> {
        let name = group.unwrap_or("all");
        let Some(at) = self.data.find_group(name) else {
            let names = self.data.groups.iter().map(|g| g.name.as_str());
            return Err(Fault { message: format!("there is no group `{name}`"), hint: hint_for(name, names, "groups") });
        };
        let mut members = Members { hosts: Vec::new(), notes: self.notes.iter().cloned().collect(), proxy_command: None };
        let mut ignored: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for host in self.data.members(at) {
            let name = &self.data.hosts[host].name;
            hostlist::check_name(name).map_err(|why| Fault {
                message: format!("the group {why}"),
                hint: Some("name it by letters, digits, `.`, `_` and `-`, and give its address as ansible_host".into()),
            })?;
            let mut unused = Vec::new();
            let settings = settings::of(&self.data.vars_of(host), &mut unused).map_err(|why| Fault::from(format!("host `{name}`: {why}")))?;
            if matches!(settings.jump, Some(Jump::Command(_))) {
                members.proxy_command.get_or_insert_with(|| name.clone());
            }
            for what in unused.into_iter().collect::<BTreeSet<_>>() {
                ignored.entry(what).or_insert_with(|| (name.clone(), 0)).1 += 1;
            }
            members.hosts.push(Found { name: name.clone(), settings, skip: None });
        }
        members.notes.extend(ignored.into_iter().map(|(what, (host, count))| match count {
            1 => format!("{what} of host {host} is not taken from there"),
            n => format!("{what} of host {host} and {} more is not taken from there", n - 1),
        }));
        Ok(members)
    }
}

/// Reads files through the world and remembers which.
struct Walk<'w> {
    world: &'w mut dyn World,
    /// Where the inventory lies that names all this.
    directory: &'w Path,
    files: Vec<PathBuf>,
    notes: BTreeSet<String>,
    /// Names of variables that are not kept.
    unused: BTreeSet<String>,
}

/// A directory of variables.
struct VarsDirectory {
    path: PathBuf,
    names: BTreeSet<String>,
}

/// Names that Ansible passes over in a directory of inventories (`INVENTORY_IGNORE_EXTS`, inventory/manager.py).
fn is_passed_over(name: &str) -> bool {
    let ends = [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".ini", ".cfg", ".retry"];
    name.starts_with('.') || ends.iter().any(|e| name.ends_with(e)) || ["host_vars", "group_vars", "vars_plugins"].contains(&name)
}

/// What behind the last dot of a name, as Python's `splitext` cuts it.
fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or("")
}

impl Walk<'_> {
    /// Names of hosts are shown, and so are names that cannot be one.
    fn may_show(&mut self, path: &Path) -> Result<(), Fault> {
        let Some(why) = self.world.may_not_show(path, self.directory) else { return Ok(()) };
        let hint = Some("copy it into the repository; or look at what it holds, then allow it with --allow-commands".into());
        Err(Fault { message: format!("{} is not read: {why}", path.display()), hint })
    }

    fn list(&mut self, path: &Path) -> Result<Option<Vec<Entry>>, Fault> {
        self.may_show(path)?;
        self.world.list(path).map_err(Fault::from)
    }

    fn text(&mut self, path: &Path) -> Result<Zeroizing<String>, Fault> {
        self.may_show(path)?;
        let text = self.world.read(path).map_err(Fault::from)?;
        self.files.push(path.to_path_buf());
        Ok(text)
    }

    fn directory(&mut self, path: &Path, entries: &[Entry], data: &mut Data, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::from(format!("{}: directories are nested more than {DEPTH_MAX} deep", path.display())));
        }
        for entry in entries.iter().filter(|e| !is_passed_over(&e.name)) {
            let inner = path.join(&entry.name);
            match self.list(&inner)? {
                Some(entries) => self.directory(&inner, &entries, data, depth + 1)?,
                None => self.file(&inner, data)?,
            }
        }
        Ok(())
    }

    /// YAML where the name says so or says nothing, else INI, as Ansible tries its readers.
    fn file(&mut self, path: &Path, data: &mut Data) -> Result<(), Fault> {
        let text = self.text(path)?;
        let shown = path.display();
        let list = || format!("let Ansible read it: `command: [ansible-inventory, -i, {shown}, --list]`");
        if text.starts_with("#!") {
            return Err(Fault { message: format!("{shown} is a script, which is not run"), hint: Some(list()) });
        }
        if text.starts_with("$ANSIBLE_VAULT;") {
            return Err(Fault { message: format!("{shown} is encrypted by ansible-vault"), hint: Some(format!("{}, with its password file", list())) });
        }
        let kind = extension(path);
        if kind == "toml" {
            return Err(Fault { message: format!("{shown} is TOML"), hint: Some(list()) });
        }
        let is_yaml = ["yml", "yaml", "json"].contains(&kind);
        if is_yaml || kind.is_empty() {
            match value::parse(&text) {
                Ok(root @ Value::Map(_)) => {
                    if root.get("plugin").is_some_and(|p| *p != Value::Null) {
                        return Err(Fault { message: format!("{shown} configures an inventory plugin"), hint: Some(list()) });
                    }
                    return tree::read_yaml(&root, data).map_err(|why| Fault::from(format!("{shown}: {why}")));
                }
                Ok(root) if is_yaml => return Err(Fault::from(format!("{shown}: an inventory in YAML is a map of groups, not {}", root.word()))),
                Err(why) if is_yaml => return Err(Fault::from(format!("{shown}: {why}"))),
                Ok(_) | Err(_) => {}
            }
        }
        ini::read(&text, data).map_err(|why| Fault::from(format!("{shown}: {why}")))
    }

    fn vars_directory(&mut self, path: &Path) -> Result<VarsDirectory, Fault> {
        let names = self.list(path)?.unwrap_or_default().into_iter().map(|e| e.name).collect();
        Ok(VarsDirectory { path: path.to_path_buf(), names })
    }

    /// The variables of a group or host: `NAME` (a file or a directory of files), else `NAME.yml`, `.yaml`, `.json`
    /// (parsing/dataloader.py, `find_vars_files`).
    fn vars_of(&mut self, directory: &VarsDirectory, name: &str) -> Result<Vars, Fault> {
        let mut vars = Vars::new();
        let Some(found) = ["", ".yml", ".yaml", ".json"].iter().map(|e| format!("{name}{e}")).find(|n| directory.names.contains(n)) else {
            return Ok(vars);
        };
        self.vars_at(&directory.path.join(found), &mut vars, 0)?;
        Ok(vars)
    }

    fn vars_at(&mut self, path: &Path, vars: &mut Vars, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::from(format!("{}: directories are nested more than {DEPTH_MAX} deep", path.display())));
        }
        let Some(entries) = self.list(path)? else { return self.vars_file(path, vars) };
        for entry in entries.iter().filter(|e| !e.name.starts_with('.') && !e.name.ends_with('~')) {
            let inner = path.join(&entry.name);
            match extension(&inner) {
                "" => self.vars_at(&inner, vars, depth + 1)?,
                "yml" | "yaml" | "json" if self.list(&inner)?.is_none() => self.vars_file(&inner, vars)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn vars_file(&mut self, path: &Path, vars: &mut Vars) -> Result<(), Fault> {
        let text = self.text(path)?;
        let shown = path.display();
        if text.starts_with("$ANSIBLE_VAULT;") {
            self.notes.insert(format!("{shown} is encrypted by ansible-vault and was not read"));
            return Ok(());
        }
        match value::parse(&text).map_err(|why| Fault::from(format!("{shown}: {why}")))? {
            Value::Null => {}
            Value::Map(entries) => {
                for (key, value) in entries {
                    let Value::Text(key) = key else { continue };
                    match USED.contains(&key.as_str()) {
                        true => drop(vars.insert(key.to_string(), value)),
                        false => drop(self.unused.insert(key.to_string())),
                    }
                }
            }
            other => return Err(Fault::from(format!("{shown}: a file of variables is a map, not {}", other.word()))),
        }
        Ok(())
    }
}
