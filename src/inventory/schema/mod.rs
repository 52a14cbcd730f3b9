//! Schema 1: the tree of an inventory to its parts, each checked by itself. What the parts mean together is for
//! [`resolve`](super::resolve) to say.

mod connection;
mod kubernetes;
mod shape;
mod target;

use std::collections::HashMap;

use connection::connection;
use target::targets;

pub(super) use connection::{Connection, account, address, hop};
pub(super) use kubernetes::Block;
pub(crate) use shape::{Shape, TOP};
pub(super) use target::TargetSpec;

use super::document::is_name;
use super::fields::{Fields, Keys, Placed, Reader};
use super::source::{self, Listed, Sourced};
use super::yaml::{Entry, Node, Pos, Value};
use super::{GROUPS_MAX, HOSTS_MAX, hostlist};
use crate::model::Portion;
use crate::model::verify::VerifyMode;

/// Keys of a vault.
pub(super) const VAULT_KEYS: Keys =
    Keys { known: &["version", "id", "recipients", "logins", "become_password", "vault_id", "vault_serial"], reserved: &[], private: false };

/// Keys of an inventory.
pub(super) const TOP_KEYS: Keys = Keys {
    known: &[
        "version",
        "id",
        "vault",
        "signed",
        "defaults",
        "groups",
        "hosts",
        "kubernetes",
        "recipients",
        "logins",
        "become_password",
        "vault_id",
        "vault_serial",
    ],
    reserved: &[],
    private: false,
};

const LATER_CONNECTION: &[&str] = &["ssh_config"];
const DEFAULTS_KEYS: Keys = Keys {
    known: &[
        "user",
        "port",
        "address",
        "jump",
        "proxy_command",
        "ssh_key",
        "become",
        "connection",
        "host_key",
        "host_key_alias",
        "root",
        "curl",
        "syslog",
        "targets",
        "serial",
        "verify",
    ],
    reserved: LATER_CONNECTION,
    private: false,
};
const GROUP_KEYS: Keys = Keys {
    known: &[
        "hosts",
        "children",
        "logins",
        "targets",
        "user",
        "port",
        "address",
        "jump",
        "proxy_command",
        "ssh_key",
        "become",
        "connection",
        "host_key",
        "host_key_alias",
        "root",
        "curl",
        "syslog",
    ],
    reserved: LATER_CONNECTION,
    private: false,
};
const HOST_KEYS: Keys = Keys {
    known: &[
        "address",
        "port",
        "user",
        "jump",
        "proxy_command",
        "ssh_key",
        "become",
        "connection",
        "host_key",
        "host_key_alias",
        "root",
        "curl",
        "syslog",
        "logins",
        "targets",
    ],
    reserved: LATER_CONNECTION,
    private: false,
};
/// Sizes of waves that may stand one after the other.
const SERIAL_MAX: usize = 100;

/// A group.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) pos: Pos,
    /// `hosts:` as it is written.
    pub(super) listed: Vec<Listed>,
    /// The hosts that it names, known once [`source::expand`] has run.
    pub(super) hosts: Vec<String>,
    pub(super) children: Vec<Placed<String>>,
    pub(super) logins: Vec<Placed<String>>,
    pub(super) targets: Option<Vec<TargetSpec>>,
    pub(super) connection: Connection,
}

/// What a host says for itself.
pub(super) struct HostSpec {
    pub(super) name: String,
    pub(super) pos: Pos,
    pub(super) logins: Option<Vec<Placed<String>>>,
    pub(super) targets: Option<Vec<TargetSpec>>,
    pub(super) connection: Connection,
}

/// The parts of an inventory beside its logins.
pub(super) struct Parts {
    pub(super) vaults: Vec<Placed<String>>,
    /// `signed: required`: what holds logins has to be signed.
    pub(super) signed: bool,
    pub(super) defaults: Connection,
    pub(super) default_targets: Option<Vec<TargetSpec>>,
    pub(super) serial: Vec<Portion>,
    pub(super) verify: VerifyMode,
    pub(super) groups: Vec<Group>,
    pub(super) hosts: Vec<HostSpec>,
    pub(super) kubernetes: Vec<Block>,
    /// How many more hosts the groups may list.
    pub(super) room: usize,
    /// What sources say of hosts, by their names.
    pub(super) sourced: HashMap<String, Sourced>,
}

/// Reads everything of an inventory but `id`, `recipients` and `logins`.
pub(super) fn read(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Parts {
    version(reader, fields, true);
    let vaults = fields.value("vault").and_then(|n| reader.short(n, "`vault`").and_then(|()| reader.one_or_more(n, "`vault`"))).unwrap_or_default();
    let vaults = vaults.into_iter().map(|v| Placed { value: v.value.to_string(), pos: v.pos }).collect();
    let mut parts = Parts {
        vaults,
        signed: fields.value("signed").is_some_and(|n| signed(reader, n)),
        defaults: Connection::default(),
        default_targets: None,
        serial: Vec::new(),
        verify: VerifyMode::Off,
        groups: Vec::new(),
        hosts: Vec::new(),
        kubernetes: fields.value("kubernetes").map(|n| kubernetes::blocks(reader, n)).unwrap_or_default(),
        room: HOSTS_MAX,
        sourced: HashMap::new(),
    };
    if let Some(node) = fields.value("defaults") {
        let defaults = reader.keyed(node, "`defaults`", DEFAULTS_KEYS);
        parts.defaults = connection(reader, &defaults, "`defaults`");
        parts.default_targets = defaults.value("targets").and_then(|n| targets(reader, n, "`defaults`"));
        parts.serial = defaults.value("serial").map(|n| serial(reader, n)).unwrap_or_default();
        parts.verify = defaults.value("verify").and_then(|n| verify(reader, n)).unwrap_or_default();
    }
    match fields.value("groups") {
        Some(node) => {
            for entry in reader.named(node, "`groups`") {
                let group = group(reader, entry, &mut parts.room);
                parts.groups.push(group);
            }
            if parts.groups.len() > GROUPS_MAX {
                reader.fault(node.pos, format!("more than {GROUPS_MAX} groups"));
            }
        }
        None if fields.get("kubernetes").is_none() => reader.fault(Pos::default(), "has no `groups`, so there are no hosts, and no `kubernetes`"),
        None => {}
    }
    if let Some(node) = fields.value("hosts") {
        match &node.value {
            Value::Map(_) => {
                for entry in reader.named(node, "`hosts`") {
                    let host = host(reader, entry);
                    parts.hosts.push(host);
                }
            }
            _ => reader.fault_hint(
                node.pos,
                format!("`hosts` must be a map of keys and values, not {}", node.word()),
                "here stands only what differs (`gpu7: {port: 2222}`); list hosts under a group",
            ),
        }
    }
    parts
}

/// `signed: required`, and nothing else: what demands nothing is left out.
fn signed(reader: &mut Reader<'_>, node: &Node) -> bool {
    let is_required = node.text() == Some("required");
    if !is_required {
        reader.fault_hint(node.pos, "`signed` must be `required`", "an inventory that demands no signatures leaves it out");
    }
    is_required
}

/// `version: 1`; an inventory must say it, a vault may.
pub(super) fn version(reader: &mut Reader<'_>, fields: &Fields<'_>, required: bool) {
    match fields.value("version") {
        None if required => reader.fault_hint(Pos::default(), "has no `version`", "start it with `version: 1`"),
        None => {}
        Some(node) => {
            if let Some(version) = reader.number(node, "`version`")
                && version.value != 1
            {
                reader.fault(version.pos, format!("version {} is not known; this regprov reads version 1", version.value));
            }
        }
    }
}

/// `verify:`, `true`, `false` or `required`.
fn verify(reader: &mut Reader<'_>, node: &Node) -> Option<VerifyMode> {
    const WHAT: &str = "`verify` of `defaults`";
    if node.scalar().is_some_and(|(text, _)| text == "required") {
        return Some(VerifyMode::Required);
    }
    let before = reader.problems.len();
    let is_on = reader.flag(node, WHAT);
    if reader.problems.len() > before {
        reader.problems.truncate(before);
        reader.fault_hint(node.pos, format!("{WHAT} must be `true`, `false` or `required`"), "write it without quotes");
    }
    is_on.map(|on| if on.value { VerifyMode::On } else { VerifyMode::Off })
}

/// `serial:`, the sizes of the waves: `10`, `25%` or a list of them.
fn serial(reader: &mut Reader<'_>, node: &Node) -> Vec<Portion> {
    const WHAT: &str = "`serial` of `defaults`";
    let items = match &node.value {
        Value::Seq(items) => &items[..],
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() || items.len() > SERIAL_MAX {
        reader.fault(node.pos, format!("{WHAT} must have from 1 to {SERIAL_MAX} sizes"));
        return Vec::new();
    }
    let mut sizes = Vec::new();
    for item in items {
        let Some(text) = reader.text_or_number(item, WHAT) else { continue };
        match text.value.parse::<Portion>() {
            Ok(Portion::Hosts(0) | Portion::Percent(0)) => reader.fault(text.pos, format!("{WHAT}: a wave has at least 1 host")),
            Ok(size) => sizes.push(size),
            Err(why) => reader.fault(text.pos, format!("{WHAT} {why}")),
        }
    }
    sizes
}

fn group(reader: &mut Reader<'_>, entry: &Entry, room: &mut usize) -> Group {
    let what = format!("group `{}`", entry.key);
    if !is_name(&entry.key) || entry.key == "all" {
        let why = if entry.key == "all" { "`all` is what `--limit` calls every host" } else { "use letters, digits, `.`, `_` and `-`, at most 64" };
        reader.fault_hint(entry.key_pos, format!("{what} cannot have this name"), why);
    }
    let fields = reader.keyed(&entry.value, &what, GROUP_KEYS);
    Group {
        name: entry.key.clone(),
        pos: entry.key_pos,
        listed: fields.value("hosts").map(|n| source::read_listed(reader, n, &what, room)).unwrap_or_default(),
        hosts: Vec::new(),
        children: fields.value("children").and_then(|n| reader.names(n, &format!("`children` of {what}"))).unwrap_or_default(),
        logins: fields.value("logins").and_then(|n| reader.names(n, &format!("`logins` of {what}"))).unwrap_or_default(),
        targets: fields.value("targets").and_then(|n| targets(reader, n, &what)),
        connection: connection(reader, &fields, &what),
    }
}

fn host(reader: &mut Reader<'_>, entry: &Entry) -> HostSpec {
    let what = format!("host `{}`", entry.key);
    if let Err(why) = hostlist::check_name(&entry.key) {
        reader.fault_hint(entry.key_pos, format!("`hosts` {why}"), "name one host; settings for many belong to their group");
    }
    let fields = reader.keyed(&entry.value, &what, HOST_KEYS);
    HostSpec {
        name: entry.key.clone(),
        pos: entry.key_pos,
        logins: fields.value("logins").and_then(|n| reader.names(n, &format!("`logins` of {what}"))),
        targets: fields.value("targets").and_then(|n| targets(reader, n, &what)),
        connection: connection(reader, &fields, &what),
    }
}
