//! Schema 1: the tree of an inventory to its parts, each checked by itself. What the parts mean together is for
//! [`resolve`](super::resolve) to say.

use std::collections::HashMap;
use std::net::IpAddr;

use base64::Engine;

use super::document::is_name;
use super::fields::{Fields, Keys, Placed, Reader};
use super::source::{self, Listed, Sourced};
use super::yaml::{Entry, Node, Pos, Value};
use super::{GROUPS_MAX, HOSTS_MAX, hostlist};
use crate::format::consumer;
use crate::model::{self, CurlVersion, FileMode, HelperPolicy, Hop, HostKeyPin, Jump, Portion, RemotePath, Target, TargetKind};

/// Keys of a vault.
pub(super) const VAULT_KEYS: Keys = Keys { known: &["version", "id", "recipients", "logins", "become_password"], reserved: &["signed"], private: false };

/// Keys of an inventory.
pub(super) const TOP_KEYS: Keys = Keys {
    known: &["version", "id", "vault", "defaults", "groups", "hosts", "recipients", "logins", "become_password"],
    reserved: &["signed", "kubernetes"],
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
        "targets",
        "serial",
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
        "logins",
        "targets",
    ],
    reserved: LATER_CONNECTION,
    private: false,
};
const TARGET_KEYS: Keys = Keys { known: &["user", "path", "owner", "group", "mode", "logins", "login", "helper"], reserved: &["auth_file"], private: false };

/// Consumers that later versions will write for.
const LATER_TARGETS: [&str; 9] = ["podman", "helm", "kubernetes", "kubelet", "k3s", "rke2", "crio", "containerd", "nerdctl"];

/// Sizes of waves that may stand one after the other.
const SERIAL_MAX: usize = 100;

/// The settings of a connection, at one of the four places where they may stand.
#[derive(Default)]
pub(super) struct Connection {
    pub(super) user: Option<Placed<String>>,
    pub(super) port: Option<Placed<u16>>,
    pub(super) address: Option<Placed<String>>,
    /// `jump:` or `proxy_command:`, of which one place has one.
    pub(super) jump: Option<Placed<Jump>>,
    pub(super) ssh_keys: Option<Placed<Vec<String>>>,
    pub(super) becomes_root: Option<Placed<bool>>,
    pub(super) connection: Option<Placed<model::Connection>>,
    pub(super) host_keys: Option<Placed<Vec<HostKeyPin>>>,
    pub(super) host_key_alias: Option<Placed<String>>,
    pub(super) root: Option<Placed<RemotePath>>,
    pub(super) curl: Option<Placed<CurlVersion>>,
}

/// A target as a list of targets names it.
#[derive(Clone)]
pub(super) struct TargetSpec {
    pub(super) pos: Pos,
    pub(super) kind: TargetKind,
    pub(super) user: Option<String>,
    pub(super) path: RemotePath,
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    pub(super) mode: FileMode,
    pub(super) helper: HelperPolicy,
    /// `logins:` or `login:`, which narrow it.
    pub(super) narrow: Option<Vec<Placed<String>>>,
}

impl TargetSpec {
    /// Whether both name one file. Those in the homes of two users are two.
    pub(super) fn is_file_of(&self, other: &TargetSpec) -> bool {
        self.path == other.path && (self.user == other.user || Target::below_home(&self.path).is_none())
    }
}

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
    pub(super) defaults: Connection,
    pub(super) default_targets: Option<Vec<TargetSpec>>,
    pub(super) serial: Vec<Portion>,
    pub(super) groups: Vec<Group>,
    pub(super) hosts: Vec<HostSpec>,
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
        defaults: Connection::default(),
        default_targets: None,
        serial: Vec::new(),
        groups: Vec::new(),
        hosts: Vec::new(),
        room: HOSTS_MAX,
        sourced: HashMap::new(),
    };
    if let Some(node) = fields.value("defaults") {
        let defaults = reader.keyed(node, "`defaults`", DEFAULTS_KEYS);
        parts.defaults = connection(reader, &defaults, "`defaults`");
        parts.default_targets = defaults.value("targets").and_then(|n| targets(reader, n, "`defaults`"));
        parts.serial = defaults.value("serial").map(|n| serial(reader, n)).unwrap_or_default();
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
        None => reader.fault(Pos::default(), "has no `groups`, so there are no hosts"),
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

fn connection(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Connection {
    /// Reads a key's text and checks it; the error is the end of a sentence that names the key.
    fn key<T>(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str, what: &str, check: impl Fn(&str) -> Result<T, String>) -> Option<Placed<T>> {
        let label = format!("`{key}` of {what}");
        let node = fields.value(key)?;
        let text = if key == "curl" { reader.text_or_number(node, &label) } else { reader.text(node, &label) }?;
        match check(text.value) {
            Ok(value) => Some(Placed { value, pos: text.pos }),
            Err(why) => {
                reader.fault(text.pos, format!("{label} {why}"));
                None
            }
        }
    }
    let port = fields.value("port").and_then(|n| reader.number(n, &format!("`port` of {what}"))).and_then(|p| match u16::try_from(p.value) {
        Ok(port) if port > 0 => Some(Placed { value: port, pos: p.pos }),
        _ => {
            reader.fault(p.pos, format!("`port` of {what} must be from 1 to 65535"));
            None
        }
    });
    Connection {
        user: key(reader, fields, "user", what, |t| account(t, "is no user name")),
        port,
        address: key(reader, fields, "address", what, address),
        jump: jump(reader, fields, what),
        ssh_keys: ssh_keys(reader, fields, what),
        becomes_root: fields.value("become").and_then(|n| reader.flag(n, &format!("`become` of {what}"))),
        connection: key(reader, fields, "connection", what, |t| match t {
            "ssh" => Ok(model::Connection::Ssh),
            "local" => Ok(model::Connection::Local),
            _ => Err("is unknown; it is `ssh` or `local`".to_string()),
        }),
        host_keys: host_keys(reader, fields, what),
        host_key_alias: key(reader, fields, "host_key_alias", what, |t| hostlist::check_name(t).map(|()| t.to_string())),
        root: key(reader, fields, "root", what, |t| RemotePath::parse(t).map_err(|why| format!("does not do: {why}"))),
        curl: key(reader, fields, "curl", what, |t| CurlVersion::parse(t).ok_or_else(|| "is no version such as 7.61 or 8.14.1".to_string())),
    }
}

/// `jump:`, a list of SSH servers or `none`, or `proxy_command:`.
fn jump(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Option<Placed<Jump>> {
    if let (Some(_), Some(command)) = (fields.get("jump"), fields.get("proxy_command")) {
        reader.fault(command.key_pos, format!("{what} has both `jump` and `proxy_command`; keep one"));
        return None;
    }
    if let Some(node) = fields.value("proxy_command") {
        let command = reader.text(node, &format!("`proxy_command` of {what}"))?;
        return Some(Placed { value: Jump::Command(command.value.to_string()), pos: command.pos });
    }
    let node = fields.value("jump")?;
    let label = format!("`jump` of {what}");
    let listed = reader.one_or_more(node, &label)?;
    let mut hops = Vec::new();
    for text in listed.iter().flat_map(|t| t.value.split(',').map(|value| Placed { value: value.trim(), pos: t.pos })) {
        match hop(text.value) {
            Ok(hop) => hops.push(hop),
            Err(why) => reader.fault_hint(text.pos, format!("{label} {why}"), "write `[user@]host[:port]`, several of them in the order of the way, or `none`"),
        }
    }
    match &hops[..] {
        [only] if only.host == "none" && only.user.is_none() && only.port.is_none() => Some(Placed { value: Jump::Direct, pos: node.pos }),
        [] => {
            if listed.is_empty() {
                reader.fault_hint(node.pos, format!("{label} is empty"), "write `jump: none` for no jump host");
            }
            None
        }
        _ => Some(Placed { value: Jump::Through(hops), pos: node.pos }),
    }
}

/// `[user@]host[:port]` or `ssh://[user@]host[:port]`, an IPv6 address with a port in brackets (ssh(1), -J).
pub(super) fn hop(text: &str) -> Result<Hop, String> {
    let text = text.strip_prefix("ssh://").map_or(text, |rest| rest.trim_end_matches('/'));
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(account(user, "names no user before its `@`")?), rest),
        None => (None, text),
    };
    let number = |port: &str| port.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| "has a port that is not from 1 to 65535".to_string());
    let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(number(port.strip_prefix(':').unwrap_or_default())?)),
        None if rest.parse::<IpAddr>().is_ok() => (rest, None),
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(number(port)?)),
            None => (rest, None),
        },
    };
    Ok(Hop { user, host: address(host)?, port })
}

/// Private key files. A relative path is meant from where regprov runs, as with `--ssh-key`.
fn ssh_keys(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Option<Placed<Vec<String>>> {
    let node = fields.value("ssh_key")?;
    let label = format!("`ssh_key` of {what}");
    let files = reader.one_or_more(node, &label)?;
    for file in files.iter().filter(|f| f.value.is_empty() || f.value.contains('\0')) {
        reader.fault(file.pos, format!("{label} names no file"));
    }
    Some(Placed { value: files.iter().map(|f| f.value.to_string()).collect(), pos: node.pos })
}

/// A user or group by name or number; it becomes an argument on the node.
pub(super) fn account(text: &str, fault: &str) -> Result<String, String> {
    let fits = text.len() <= 256 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@+\\$".contains(&b));
    if fits && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') { Ok(text.to_string()) } else { Err(fault.to_string()) }
}

/// A host name or an IP address.
pub(super) fn address(text: &str) -> Result<String, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    if text.contains('@') {
        return Err("contains `@`; the account goes under `user`".into());
    }
    if text.starts_with('[') {
        return Err("has brackets; write an IPv6 address without them and the port under `port`".into());
    }
    if text.contains(':') {
        return Err("contains `:`; the port goes under `port`".into());
    }
    hostlist::check_name(text).map(|()| text.to_string())
}

fn host_keys(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Option<Placed<Vec<HostKeyPin>>> {
    let node = fields.value("host_key")?;
    let label = format!("`host_key` of {what}");
    let mut pins = Vec::new();
    for line in reader.one_or_more(node, &label)? {
        match host_key(line.value) {
            Some(pin) => pins.push(pin),
            None => reader.fault_hint(
                line.pos,
                format!("{label} is no public host key"),
                "write `TYPE BASE64`, as in ssh_host_ed25519_key.pub, without host name and comment",
            ),
        }
    }
    if pins.is_empty() && matches!(&node.value, Value::Seq(items) if items.is_empty()) {
        // An empty pin list would quietly mean known_hosts.
        reader.fault(node.pos, format!("{label} is an empty list"));
    }
    Some(Placed { value: pins, pos: node.pos })
}

/// The types of host key that OpenSSH serves by default; certificates and DSA are none.
const HOST_KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A key whose blob says the same type as the word before it (RFC 4253, 6.6).
fn host_key(line: &str) -> Option<HostKeyPin> {
    let (algorithm, base64) = line.trim().split_once(' ')?;
    let base64 = base64.trim();
    let blob = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let inner = rest.get(..u32::from_be_bytes(*length) as usize)?;
    let fits = HOST_KEY_TYPES.contains(&algorithm) && inner == algorithm.as_bytes() && rest.len() > inner.len();
    fits.then(|| HostKeyPin { algorithm: algorithm.to_string(), base64: base64.to_string() })
}

/// A list of targets: names, or maps of one name and its options.
fn targets(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Vec<TargetSpec>> {
    let Value::Seq(items) = &node.value else {
        reader.fault_hint(node.pos, format!("`targets` of {what} must be a list, not {}", node.word()), "for example `targets: [docker, enroot]`");
        return None;
    };
    reader.short(node, &format!("`targets` of {what}"))?;
    let mut found: Vec<TargetSpec> = Vec::new();
    for item in items {
        let Some(target) = target(reader, item, what) else { continue };
        match found.iter().find(|f| f.is_file_of(&target)) {
            Some(twin) if twin.kind == target.kind => reader.fault(target.pos, format!("target {} at {} stands twice in {what}", target.kind, target.path)),
            Some(twin) => reader.fault(target.pos, format!("targets {} and {} of {what} are both at {}", twin.kind, target.kind, target.path)),
            None => found.push(target),
        }
    }
    Some(found)
}

fn target(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<TargetSpec> {
    let (name, pos, options) = match &node.value {
        Value::Map(entries) => match &entries[..] {
            [entry] => (entry.key.as_str(), entry.key_pos, Some(&entry.value)),
            _ => {
                reader.fault_hint(
                    node.pos,
                    format!("a target of {what} must be one name with its options, not a map of {}", entries.len()),
                    "indent the options below the name: `- enroot: {group: users}`",
                );
                return None;
            }
        },
        _ => {
            let text = reader.text(node, &format!("a target of {what}"))?;
            (text.value, text.pos, None)
        }
    };
    let Some(kind) = TargetKind::parse(name) else {
        if LATER_TARGETS.contains(&name) {
            reader.fault(pos, format!("target `{name}` is not supported yet"));
        } else {
            let names = TargetKind::ALL.map(TargetKind::name);
            let hint = super::fields::hint_for(name, names, "targets").unwrap_or_default();
            reader.fault_hint(pos, format!("unknown target `{name}`"), hint);
        }
        return None;
    };
    let before = reader.problems.len();
    let mut spec = TargetSpec {
        pos,
        kind,
        user: None,
        path: RemotePath::parse(consumer(kind).default_path).expect("the default paths are absolute and plain"),
        owner: None,
        group: None,
        mode: FileMode::public(0o600),
        helper: HelperPolicy::default(),
        narrow: None,
    };
    match options {
        Some(node) if node.is_null() => reader.fault_hint(pos, format!("target `{name}` of {what} has no options"), format!("write `- {name}`")),
        Some(node) => target_options(reader, node, &mut spec),
        None => {}
    }
    (reader.problems.len() == before).then_some(spec)
}

fn target_options(reader: &mut Reader<'_>, node: &Node, spec: &mut TargetSpec) {
    let kind = spec.kind;
    let label = |key: &str| format!("`{key}` of target {kind}");
    let fields = reader.keyed(node, &format!("target {kind}"), TARGET_KEYS);
    if let Some(user) = fields.value("user").and_then(|n| reader.text(n, &label("user"))) {
        match account(user.value, "is no user name") {
            Ok(_) if kind == TargetKind::Singularity => {
                reader.fault_hint(user.pos, format!("{}: its files are root's, also those in /etc/profile.d", label("user")), "let a `group:` read them");
            }
            Ok(user) if user == "root" => {}
            Ok(user) => {
                let below = spec.path.as_str().trim_start_matches("/root");
                spec.path = RemotePath::parse(&format!("{}{below}", Target::HOME)).expect("a default path below another directory");
                spec.user = Some(user);
            }
            Err(why) => reader.fault(user.pos, format!("{} {why}", label("user"))),
        }
    }
    if let Some(path) = fields.value("path").and_then(|n| reader.text(n, &label("path"))) {
        let text = match path.value.strip_prefix("~/") {
            Some(rest) if spec.user.is_some() => format!("{}/{rest}", Target::HOME),
            Some(_) if fields.get("user").is_none() => {
                reader.fault_hint(path.pos, format!("{} begins with `~/`, and no `user:` says whose home that is", label("path")), "add `user: NAME`");
                return;
            }
            Some(rest) => format!("/root/{rest}"),
            None if RemotePath::parse(path.value).is_ok_and(|p| p.as_str() == Target::HOME || Target::below_home(&p).is_some()) => {
                reader.fault(path.pos, format!("{} begins with `/~`; a path in the home of the target's `user:` begins with `~/`", label("path")));
                return;
            }
            None => path.value.to_string(),
        };
        match RemotePath::parse(&text) {
            Ok(p) if p.as_str() == Target::HOME => reader.fault(path.pos, format!("{} is the home itself; name a file", label("path"))),
            Ok(p) if p.as_str() == "/" => reader.fault(path.pos, format!("{} is the root directory", label("path"))),
            Ok(p) if kind != TargetKind::Singularity && path.value.ends_with('/') => {
                reader.fault(path.pos, format!("{}: `{}` is a directory; name the file", label("path"), p));
            }
            Ok(p) => spec.path = p,
            Err(why) => reader.fault(path.pos, format!("{}: {why}", label("path"))),
        }
    }
    for (key, slot) in [("owner", &mut spec.owner), ("group", &mut spec.group)] {
        if let Some(text) = fields.value(key).and_then(|n| reader.text_or_number(n, &label(key))) {
            // 4294967295 is what chown takes for "leave it".
            let number_fits = !text.value.bytes().all(|b| b.is_ascii_digit()) || text.value.parse::<u32>().is_ok_and(|n| n < u32::MAX);
            match account(text.value, "is no name or number of the node's passwd or group file") {
                Ok(account) if number_fits => *slot = Some(account),
                Ok(_) => reader.fault(text.pos, format!("{} is no name or number of the node's passwd or group file", label(key))),
                Err(why) => reader.fault(text.pos, format!("{} {why}", label(key))),
            }
        }
    }
    if let (Some(user), Some(owner)) = (&spec.user, &spec.owner)
        && user != owner
    {
        let pos = fields.get("owner").map_or(node.pos, |e| e.key_pos);
        reader.fault_hint(pos, format!("target {kind} is written as {user}, who cannot give files to {owner}"), "leave `owner` out, or `user`");
    }
    match fields.value("mode").map(|n| (n, mode(reader, n, &label("mode")))) {
        Some((_, Some(mode))) => spec.mode = mode,
        Some((_, None)) => {}
        None if kind == TargetKind::Singularity && spec.group.is_some() => spec.mode = FileMode::public(0o640),
        None => {}
    }
    match (fields.get("logins"), fields.get("login")) {
        (Some(_), Some(login)) => reader.fault(login.key_pos, format!("target {kind} has both `logins` and `login`; keep one")),
        (Some(logins), None) => {
            spec.narrow = reader.names(&logins.value, &label("logins"));
            if spec.narrow.as_ref().is_some_and(Vec::is_empty) {
                reader.fault_hint(logins.value.pos, format!("{} is empty, so it would get none", label("logins")), "leave the target out");
            }
        }
        (None, Some(login)) => {
            let text = reader.text(&login.value, &label("login"));
            spec.narrow = text.map(|t| vec![Placed { value: t.value.to_string(), pos: t.pos }]);
        }
        (None, None) => {}
    }
    if let Some(entry) = fields.get("helper")
        && let Some(text) = reader.text(&entry.value, &label("helper"))
    {
        match text.value {
            _ if kind != TargetKind::Docker => reader.fault(entry.key_pos, format!("target {kind} knows no credential helpers; `helper` is for docker")),
            "fail" => spec.helper = HelperPolicy::Fail,
            "remove" => spec.helper = HelperPolicy::Remove,
            "store" => reader.fault(text.pos, format!("{}: `store` is not supported yet", label("helper"))),
            _ => reader.fault_hint(text.pos, format!("{} is unknown", label("helper")), "it is `fail` or `remove`"),
        }
    }
}

/// `"0640"`: YAML 1.1 reads 0640 as 416, YAML 1.2 as 640, so only text is taken.
fn mode(reader: &mut Reader<'_>, node: &Node, label: &str) -> Option<FileMode> {
    if let Some((_, _)) = node.scalar().filter(|_| node.word() == "a number") {
        reader.fault_hint(node.pos, format!("{label} is a number, which YAML readers take as octal or decimal"), "write it in quotes: \"0640\"");
        return None;
    }
    let text = reader.text(node, label)?;
    let octal = (3..=4).contains(&text.value.len()) && text.value.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let bits = if octal { u32::from_str_radix(text.value, 8).ok() } else { None };
    let Some(bits) = bits else {
        reader.fault_hint(text.pos, format!("{label} is no octal mode"), "write \"0600\" or \"0640\"");
        return None;
    };
    FileMode::secret(bits).map_err(|why| reader.fault(text.pos, format!("{label}: {why}"))).ok()
}
