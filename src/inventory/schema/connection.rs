//! The settings of a connection, as defaults, groups and hosts have them.

use std::net::IpAddr;

use base64::Engine;

use crate::inventory::fields::{Fields, Placed, Reader};
use crate::inventory::hostlist;
use crate::inventory::yaml::Value;
use crate::model::{self, CurlVersion, Hop, HostKeyPin, Jump, RemotePath};

/// The settings of a connection, at one of the four places where they may stand.
#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) user: Option<Placed<String>>,
    pub(crate) port: Option<Placed<u16>>,
    pub(crate) address: Option<Placed<String>>,
    /// `jump:` or `proxy_command:`, of which one place has one.
    pub(crate) jump: Option<Placed<Jump>>,
    pub(crate) ssh_keys: Option<Placed<Vec<String>>>,
    pub(crate) becomes_root: Option<Placed<bool>>,
    pub(crate) connection: Option<Placed<model::Connection>>,
    pub(crate) host_keys: Option<Placed<Vec<HostKeyPin>>>,
    pub(crate) host_key_alias: Option<Placed<String>>,
    pub(crate) root: Option<Placed<RemotePath>>,
    pub(crate) curl: Option<Placed<CurlVersion>>,
    pub(crate) syslog: Option<Placed<bool>>,
}

/// Reads them; `what` is whose they are, for messages.
pub(crate) fn connection(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Connection {
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
        syslog: fields.value("syslog").and_then(|n| reader.flag(n, &format!("`syslog` of {what}"))),
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
pub(crate) fn hop(text: &str) -> Result<Hop, String> {
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
pub(crate) fn account(text: &str, fault: &str) -> Result<String, String> {
    let fits = text.len() <= 256 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@+\\$".contains(&b));
    if fits && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') { Ok(text.to_string()) } else { Err(fault.to_string()) }
}

/// A host name or an IP address.
pub(crate) fn address(text: &str) -> Result<String, String> {
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
