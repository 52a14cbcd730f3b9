//! Where hosts come from, beside names and host lists: Ansible's inventories, Slurm's nodes, what a program prints.
//!
//! Pure: files are read and programs are run by the [`World`] that is handed in. Files come first; programs run only when everything that
//! would run one may, and each source once.

mod ansible;
mod command;
mod slurm;

pub(crate) use ansible::value as ansible_vars;
pub use ansible::{Layout, LayoutGroup, layout};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::fields::{Fields, Keys, Placed, Reader};
use super::schema::{Connection, Parts};
use super::yaml::{Node, Pos, Value};
use super::{HOSTS_MAX, Program, World, hostlist};
use crate::error::{Error, Problem, rule};
use crate::model::{self, Jump};

pub(super) const SOURCE_KEYS: Keys = Keys { known: &["ansible", "slurm", "command", "group"], reserved: &[], private: false };
pub(super) const SLURM_KEYS: Keys = Keys { known: &["partition", "state"], reserved: &[], private: false };

/// A source as the inventory names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `{ansible: PATH, group: NAME}`
    Ansible { path: String, group: Option<String> },
    /// `{slurm: {partition: .., state: ..}}`
    Slurm { partitions: Vec<String>, states: Vec<String> },
    /// `{command: [PROGRAM, ARGUMENT..], group: NAME}`
    Command { argv: Vec<String>, group: Option<String> },
}

/// A part of a group's `hosts:`.
pub(super) enum Listed {
    Names(Vec<String>),
    Source(Placed<Source>),
}

/// What a source says of a host, by our keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) address: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) jump: Option<Jump>,
    pub(super) ssh_keys: Option<Vec<String>>,
    pub(super) becomes_root: Option<bool>,
    pub(super) connection: Option<model::Connection>,
}

/// A host that a source names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) settings: Settings,
    /// Why it is to be left out of every run.
    pub(super) skip: Option<String>,
}

/// Why a source gives nothing: the end of a sentence that names it, and the way out.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault { message, hint: None }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault { message: error.message, hint: error.hint }
    }
}

/// All that sources say of one host.
#[derive(Default)]
pub(super) struct Sourced {
    pub(super) connection: Connection,
    pub(super) skip: Option<String>,
}

/// Reads one source of a group's `hosts:`.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Placed<Source>> {
    let label = format!("a source of {what}");
    let faults = reader.problems.len();
    let fields = reader.keyed(node, &label, SOURCE_KEYS);
    let kinds: Vec<&str> = ["ansible", "slurm", "command"].into_iter().filter(|k| fields.get(k).is_some()).collect();
    let [kind] = kinds[..] else {
        if reader.problems.len() == faults {
            let hint = "write `{ansible: FILE, group: NAME}`, `{slurm: {partition: NAME}}` or `{command: [PROGRAM, ARGUMENT]}`";
            reader.fault_hint(node.pos, format!("{label} must have one of the keys `ansible`, `slurm` and `command`"), hint);
        }
        return None;
    };
    let entry = fields.get(kind).expect("it was found");
    let group = fields.value("group").and_then(|n| reader.text(n, &format!("`group` of {label}"))).map(|t| t.value.to_string());
    let value = match kind {
        "ansible" => {
            let path = reader.text(&entry.value, &format!("`ansible` of {label}"))?;
            if path.value.is_empty() || path.value.contains('\0') {
                reader.fault(path.pos, format!("`ansible` of {label} is no path"));
                return None;
            }
            Source::Ansible { path: path.value.to_string(), group }
        }
        "command" => {
            let argv = reader.argv(&entry.value, &format!("`command` of {label}"))?;
            Source::Command { argv, group }
        }
        _ => {
            if let Some(group) = fields.get("group") {
                reader.fault_hint(group.key_pos, format!("{label}: `group` is for `ansible` and `command`"), "for Slurm, name a `partition`");
            }
            slurm(reader, &entry.value, &label)?
        }
    };
    (reader.problems.len() == faults).then_some(Placed { value, pos: entry.key_pos })
}

/// `{slurm: gpu}`, or with a map of `partition` and `state`.
fn slurm(reader: &mut Reader<'_>, node: &Node, label: &str) -> Option<Source> {
    if let Some(partition) = node.text() {
        return Some(Source::Slurm { partitions: vec![partition.to_string()], states: Vec::new() });
    }
    let label = format!("`slurm` of {label}");
    let fields: Fields<'_> = reader.keyed(node, &label, SLURM_KEYS);
    let mut list = |key: &str| fields.value(key).and_then(|n| reader.one_or_more(n, &format!("`{key}` of {label}"))).unwrap_or_default();
    let partitions = list("partition").into_iter().map(|t| t.value.to_string()).collect();
    let mut states = Vec::new();
    for word in list("state") {
        match slurm::parse_state(word.value) {
            Ok(found) => states.extend(found),
            Err(why) => reader.fault(word.pos, format!("`state` of {label}: `{}` {why}", word.value)),
        }
    }
    Some(Source::Slurm { partitions, states })
}

/// Puts the hosts of every source into their groups, in the order of each `hosts:`. Whether all could be had; what is wrong goes to `reader`,
/// at the place of the source's key.
pub(super) fn expand(inventory: &Path, parts: &mut Parts, world: &mut dyn World, reader: &mut Reader<'_>, notes: &mut Vec<Problem>) -> bool {
    let faults = reader.problems.len();
    let directory = inventory.parent().unwrap_or(Path::new(""));
    let mut gather = Gather { directory, world, ansible: BTreeMap::new(), slurm: None, commands: BTreeMap::new() };
    let sources = |parts: &Parts| -> Vec<Placed<Source>> {
        let listed = parts.groups.iter().flat_map(|g| &g.listed);
        listed.filter_map(|l| if let Listed::Source(s) = l { Some(s.clone()) } else { None }).collect()
    };
    let all = sources(parts);
    // Files run nothing. Each that is wrong is told once, by the first source that names it.
    for source in &all {
        if let Source::Ansible { path, .. } = &source.value {
            drop(gather.read_ansible(path));
        }
    }
    may_run(inventory, parts, &all, &mut gather, reader);
    if reader.problems.len() > faults {
        return false;
    }
    let mut room = parts.room;
    let mut sourced: HashMap<String, Sourced> = HashMap::new();
    for group in &mut parts.groups {
        for listed in std::mem::take(&mut group.listed) {
            let source = match listed {
                Listed::Names(names) => {
                    group.hosts.extend(names);
                    continue;
                }
                Listed::Source(source) => source,
            };
            let kind = source.value.kind();
            let given = match gather.hosts(&source.value) {
                Ok(given) => given,
                Err(fault) => {
                    let message = format!("{kind} of group `{}`: {}", group.name, fault.message);
                    match fault.hint {
                        Some(hint) => reader.fault_hint(source.pos, message, hint),
                        None => reader.fault(source.pos, message),
                    }
                    continue;
                }
            };
            let mut note = |message: String| {
                let Pos { line, column } = source.pos;
                let note = Problem { rule: rule::SOURCE, file: reader.file.to_string(), line, column, message, hint: None };
                if !notes.iter().any(|n| n.message == note.message) {
                    notes.push(note);
                }
            };
            given.notes.into_iter().for_each(|n| note(format!("{kind}: {n}")));
            if given.hosts.is_empty() {
                note(format!("{kind} of group `{}` gives no host", group.name));
            }
            if given.hosts.len() > room {
                reader.fault(source.pos, format!("the groups list more than {HOSTS_MAX} hosts"));
                return false;
            }
            room -= given.hosts.len();
            for host in given.hosts {
                merge(sourced.entry(host.name.clone()).or_default(), &host, source.pos, reader);
                group.hosts.push(host.name);
            }
        }
    }
    parts.sourced = sourced;
    reader.problems.len() == faults
}

/// Refuses, all at once, the keys that run programs where they may not.
fn may_run(inventory: &Path, parts: &Parts, sources: &[Placed<Source>], gather: &mut Gather<'_>, reader: &mut Reader<'_>) {
    let hint = "look at what it runs, then allow it with --allow-commands";
    if let Some(why) = gather.world.may_not_run(inventory) {
        let connections = parts.groups.iter().map(|g| &g.connection).chain(parts.hosts.iter().map(|h| &h.connection)).chain([&parts.defaults]);
        let proxies = connections.filter_map(|c| c.jump.as_ref()).filter(|j| matches!(j.value, Jump::Command(_))).map(|j| ("proxy_command", j.pos));
        let commands = sources.iter().filter(|s| matches!(s.value, Source::Command { .. })).map(|s| ("command", s.pos));
        for (key, pos) in proxies.chain(commands) {
            reader.fault_hint(pos, format!("`{key}` runs a program, and {why}"), hint);
        }
    }
    let mut told = BTreeSet::new();
    for source in sources {
        let Source::Ansible { path, group } = &source.value else { continue };
        // Once for each file, however many groups it is the source of.
        if told.contains(path) {
            continue;
        }
        let Some(Ok(ansible)) = gather.ansible.get(path).cloned() else { continue };
        let Ok(members) = ansible.members(group.as_deref()) else { continue };
        let Some(host) = members.proxy_command else { continue };
        let why = std::iter::once(inventory).chain(ansible.files.iter().map(PathBuf::as_path)).find_map(|f| gather.world.may_not_run(f));
        if let Some(why) = why {
            told.insert(path);
            reader.fault_hint(source.pos, format!("ProxyCommand of host `{host}` in {path} runs a program, and {why}"), hint);
        }
    }
}

/// Lays what a source says over what others said before; they must not differ.
fn merge(known: &mut Sourced, host: &Found, pos: Pos, reader: &mut Reader<'_>) {
    let mut differ = Vec::new();
    fn one<T: Clone + PartialEq>(slot: &mut Option<Placed<T>>, value: &Option<T>, pos: Pos, key: &'static str, differ: &mut Vec<(&'static str, u64)>) {
        match (slot.as_ref(), value) {
            (Some(first), Some(value)) if first.value != *value => differ.push((key, first.pos.line)),
            (None, Some(value)) => *slot = Some(Placed { value: value.clone(), pos }),
            _ => {}
        }
    }
    let (c, s) = (&mut known.connection, &host.settings);
    one(&mut c.address, &s.address, pos, "address", &mut differ);
    one(&mut c.port, &s.port, pos, "port", &mut differ);
    one(&mut c.user, &s.user, pos, "user", &mut differ);
    one(&mut c.jump, &s.jump, pos, "jump", &mut differ);
    one(&mut c.ssh_keys, &s.ssh_keys, pos, "ssh_key", &mut differ);
    one(&mut c.becomes_root, &s.becomes_root, pos, "become", &mut differ);
    one(&mut c.connection, &s.connection, pos, "connection", &mut differ);
    if known.skip.is_none() {
        known.skip.clone_from(&host.skip);
    }
    for (key, line) in differ {
        let message = format!("the source on line {line} and this one differ in `{key}` of host `{}`", host.name);
        reader.fault_hint(pos, message, format!("set `{key}` under `hosts:`, or let one source name the host"));
    }
}

impl Source {
    fn kind(&self) -> &'static str {
        match self {
            Source::Ansible { .. } => "ansible source",
            Source::Slurm { .. } => "slurm source",
            Source::Command { .. } => "command source",
        }
    }
}

/// What one source gives.
struct Given {
    hosts: Vec<Found>,
    notes: Vec<String>,
}

/// Asks each source once.
struct Gather<'w> {
    directory: &'w Path,
    world: &'w mut dyn World,
    ansible: BTreeMap<String, Result<Rc<ansible::Ansible>, Rc<Fault>>>,
    slurm: Option<Result<Rc<Vec<slurm::Node>>, Rc<Fault>>>,
    commands: BTreeMap<Vec<String>, Result<Rc<command::Output>, Rc<Fault>>>,
}

impl Gather<'_> {
    fn hosts(&mut self, source: &Source) -> Result<Given, Fault> {
        let again = |fault: Rc<Fault>| Fault { message: fault.message.clone(), hint: fault.hint.clone() };
        match source {
            Source::Ansible { path, group } => of_group(&*self.read_ansible(path).map_err(again)?, group.as_deref()),
            Source::Slurm { partitions, states } => {
                let nodes = self.read_slurm().map_err(again)?;
                Ok(Given { hosts: slurm::choose(&nodes, partitions, states)?, notes: Vec::new() })
            }
            Source::Command { argv, group } => match (&*self.run_command(argv).map_err(again)?, group) {
                (command::Output::Ansible(ansible), group) => of_group(ansible, group.as_deref()),
                (command::Output::Names(_), Some(_)) => Err(Fault {
                    message: format!("`{}` printed names without groups", argv[0]),
                    hint: Some("leave `group` out, or let it print what `ansible-inventory --list` prints".into()),
                }),
                (command::Output::Names(names), None) => {
                    let found = |name: &String| Found { name: name.clone(), settings: Settings::default(), skip: None };
                    Ok(Given { hosts: names.iter().map(found).collect(), notes: Vec::new() })
                }
            },
        }
    }

    fn read_ansible(&mut self, path: &str) -> Result<Rc<ansible::Ansible>, Rc<Fault>> {
        if !self.ansible.contains_key(path) {
            let read = ansible::read(&self.directory.join(path), self.directory, self.world).map(Rc::new).map_err(Rc::new);
            self.ansible.insert(path.to_string(), read);
        }
        self.ansible[path].clone()
    }

    fn read_slurm(&mut self) -> Result<Rc<Vec<slurm::Node>>, Rc<Fault>> {
        if self.slurm.is_none() {
            let argv = slurm::SINFO.map(str::to_string).to_vec();
            let output = self.world.run(&Program { argv, hint: "Slurm's commands and its configuration must be on this machine".into() });
            let nodes = output.map_err(Fault::from).and_then(|out| slurm::parse(&String::from_utf8_lossy(&out)).map_err(Fault::from));
            self.slurm = Some(nodes.map(Rc::new).map_err(Rc::new));
        }
        self.slurm.clone().expect("it was set above")
    }

    fn run_command(&mut self, argv: &[String]) -> Result<Rc<command::Output>, Rc<Fault>> {
        if !self.commands.contains_key(argv) {
            let mut full = argv.to_vec();
            // A name alone is looked for in PATH.
            if full[0].contains('/') {
                full[0] = self.directory.join(&full[0]).display().to_string();
                if !full[0].contains('/') {
                    full[0].insert_str(0, "./");
                }
            }
            let output = self.world.run(&Program { argv: full, hint: "it is run without a shell, with nothing on its input".into() });
            let parsed = output.map_err(Fault::from).and_then(|out| command::parse(&out).map_err(|why| Fault::from(format!("`{}` {why}", argv[0]))));
            self.commands.insert(argv.to_vec(), parsed.map(Rc::new).map_err(Rc::new));
        }
        self.commands[argv].clone()
    }
}

fn of_group(ansible: &ansible::Ansible, group: Option<&str>) -> Result<Given, Fault> {
    let members = ansible.members(group)?;
    Ok(Given { hosts: members.hosts, notes: members.notes })
}

/// Reads a group's `hosts:`: host lists and sources, one or a list of them. `room` is how many more names the inventory may list.
pub(super) fn read_listed(reader: &mut Reader<'_>, node: &Node, what: &str, room: &mut usize) -> Vec<Listed> {
    let one = std::slice::from_ref(node);
    let items = if let Value::Seq(items) = &node.value { items } else { one };
    let label = if matches!(node.value, Value::Seq(_)) { format!("an item of `hosts` of {what}") } else { format!("`hosts` of {what}") };
    let mut listed = Vec::new();
    for item in items {
        if matches!(item.value, Value::Map(_)) {
            listed.extend(read(reader, item, what).map(Listed::Source));
            continue;
        }
        let Some(list) = reader.text(item, &label) else { continue };
        match hostlist::expand(list.value) {
            Ok(names) if names.len() > *room => reader.fault(list.pos, format!("the groups list more than {HOSTS_MAX} hosts")),
            Ok(names) => {
                *room -= names.len();
                listed.push(Listed::Names(names));
            }
            Err(why) => reader.fault(list.pos, format!("host list of {what} {why}")),
        }
    }
    listed
}
