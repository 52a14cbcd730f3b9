//! The keys that a vault and an inventory share: logins, recipients, the password of sudo, the inventory's name.
//!
//! This is the strict reader, which finds every fault of a file that a run stands on. The commands of `regprov vault` read with
//! [`VaultDocument`](crate::vault::VaultDocument), which takes files that are still to be completed.

use granit_parser::ScalarStyle;

use super::fields::{Fields, Keys, Reader};
use super::yaml::{self, Entry, Node, Pos, Value};
use super::{sanitize, schema};
use crate::error::{Problem, rule};
use crate::model::login::check_auth_host;
use crate::model::registry::{NameNote, Registry};
use crate::model::{Dynamic, DynamicSource, Expiry, Fingerprint, PasswordText, PreviousPassword, Repository, Secret, Username, VaultStamp};
use crate::model::{armor, conflict};

/// What a file says of logins.
pub(super) struct Document {
    /// `id:`, the name of the inventory.
    pub(super) id: Option<String>,
    /// `recipients:`, the public keys for which its passwords are sealed, in their order.
    pub(super) recipients: Vec<String>,
    /// `logins:`, in the file's order.
    pub(super) logins: Vec<LoginItem>,
    /// `become_password:`, with line and column from 1.
    pub(super) become_password: Option<(PasswordText, u64, u64)>,
    /// `vault_id:` and `vault_serial:`.
    pub(super) stamp: Option<VaultStamp>,
    /// What was put right or looks wrong without being an error.
    pub(super) notes: Vec<Problem>,
}

impl Document {
    /// Whether a password stands in it, sealed or not.
    pub(super) fn holds_passwords(&self) -> bool {
        self.become_password.is_some() || self.logins.iter().any(|l| l.password.is_some())
    }
}

/// One login of a file.
#[derive(Clone)]
pub(super) struct LoginItem {
    /// Its name.
    pub(super) name: String,
    /// The registry it is for.
    pub(super) registry: Registry,
    /// The account.
    pub(super) username: Username,
    /// Sealed or plain; `None` when it is still to be set.
    pub(super) password: Option<PasswordText>,
    /// After this it is not used any more.
    pub(super) expires: Option<Expiry>,
    /// By which the holder of the audit key knows the password again.
    pub(super) fingerprint: Option<Fingerprint>,
    /// A repository that it is to pull, for the check of the login.
    pub(super) canary: Option<Repository>,
    /// What a rotation replaces.
    pub(super) previous: Option<PreviousPassword>,
    /// Line of its name, from 1.
    pub(super) line: u64,
    /// Column of its name in characters, from 1.
    pub(super) column: u64,
}

pub(super) const LOGIN_KEYS: Keys = Keys {
    known: &["registry", "username", "password", "password_command", "password_file", "auth_hosts", "expires", "fingerprint", "canary", "previous"],
    reserved: &["command", "kubernetes"],
    private: true,
};

pub(super) const PREVIOUS_KEYS: Keys = Keys { known: &["username", "password", "expires", "fingerprint"], reserved: &[], private: true };

/// Reads a file that is a vault and nothing else. `file` is its name in messages.
///
/// # Errors
/// All that is wrong with its keys and values.
pub(super) fn parse_vault(file: &str, text: &str) -> Result<Document, Vec<Problem>> {
    let root = tree(file, text).map_err(|p| vec![sanitize(*p)])?;
    let mut problems = Vec::new();
    let mut reader = Reader { file, problems: &mut problems };
    let fields = reader.keyed(&root, "the vault", schema::VAULT_KEYS);
    schema::version(&mut reader, &fields, false);
    let document = read(&mut reader, &fields);
    if problems.is_empty() { Ok(document) } else { Err(problems.into_iter().map(sanitize).collect()) }
}

/// The tree of a file that may hold seals. One that is damaged is told before what its damage did to the form of the file.
pub(super) fn tree(file: &str, text: &str) -> Result<Node, Box<Problem>> {
    match armor::damaged(text.as_bytes()) {
        Some(line) => Err(Box::new(damaged_seal(file, text, line))),
        None => yaml::parse(file, text),
    }
}

/// What is told of a seal that is not whole, at its line.
pub(super) fn damaged_seal(file: &str, text: &str, line: u64) -> Problem {
    let of = conflict::login_at(text, line).map(|login| format!(" of login `{login}`")).unwrap_or_default();
    Problem {
        rule: rule::SEAL,
        file: file.to_string(),
        line,
        column: 0,
        message: format!("the seal{of} that stands here is damaged: it was cut or changed"),
        hint: Some("take the file from version control again".to_string()),
    }
}

/// Reads the keys that a vault and an inventory share. A login without a password and a plain password are read; whether they
/// may stand is for [`load`](super::load) to say.
pub(super) fn read(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Document {
    let mut notes = Vec::new();
    let id = fields.value("id").and_then(|n| id(reader, n));
    let recipients = fields.value("recipients").map(|n| recipients(reader, n)).unwrap_or_default();
    let mut logins = Vec::new();
    if let Some(node) = fields.value("logins") {
        for entry in reader.named(node, "`logins`") {
            logins.extend(login(reader, entry, &mut notes));
        }
    }
    let become_password = fields.get("become_password").and_then(|entry| {
        let Pos { line, column } = entry.key_pos;
        match password(reader, &entry.value, "sudo (`become_password`)") {
            Some(password) => Some((password, line, column)),
            None => {
                if entry.value.is_null() {
                    reader.fault_hint(entry.key_pos, "`become_password` is empty", "seal one with `regprov vault set VAULT --become`");
                }
                None
            }
        }
    });
    let sealed = |password: &Option<PasswordText>| matches!(password, Some(PasswordText::Sealed(_)));
    let is_sealed = become_password.as_ref().is_some_and(|(password, ..)| matches!(password, PasswordText::Sealed(_)))
        || logins.iter().any(|l| l.previous.is_some() || sealed(&l.password));
    let stamp = stamp(reader, fields, is_sealed);
    Document { id, recipients, logins, become_password, stamp, notes }
}

/// `vault_id:` and `vault_serial:`. They stand at the end, so a file with sealed passwords and without them was cut.
fn stamp(reader: &mut Reader<'_>, fields: &Fields<'_>, is_sealed: bool) -> Option<VaultStamp> {
    let (id, serial) = (fields.get("vault_id"), fields.get("vault_serial"));
    match (id, serial) {
        (None, None) => {
            if is_sealed {
                reader.fault_hint(Pos::default(), VaultStamp::MISSING, VaultStamp::missing_hint(reader.file));
            }
            return None;
        }
        (Some(there), None) => reader.fault_hint(there.key_pos, "`vault_id` stands here without `vault_serial`", STAMP_HINT),
        (None, Some(there)) => reader.fault_hint(there.key_pos, "`vault_serial` stands here without `vault_id`", STAMP_HINT),
        (Some(_), Some(_)) => {}
    }
    let id = id.and_then(|entry| {
        let text = reader.text(&entry.value, "`vault_id`")?;
        if !VaultStamp::is_id(text.value) {
            reader.fault_hint(text.pos, "`vault_id` must be `v` and 16 hexadecimal digits in lower case", STAMP_HINT);
            return None;
        }
        Some(text.value.to_string())
    });
    let serial = serial.and_then(|entry| {
        let number = reader.number(&entry.value, "`vault_serial`")?;
        if number.value == 0 || number.value > VaultStamp::SERIAL_MAX {
            reader.fault_hint(number.pos, "`vault_serial` must be a number from 1 to 2^53", STAMP_HINT);
            return None;
        }
        Some(number.value)
    });
    Some(VaultStamp { id: id?, serial: serial? })
}

/// The way out where a stamp is damaged.
const STAMP_HINT: &str = "the vault commands write both, at the end of the file; restore it as it was, from git or a copy";

/// `id:` travels to the nodes and names files there, so it is narrow.
fn id(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let id = reader.text(node, "`id`")?;
    if is_name(id.value) {
        return Some(id.value.to_string());
    }
    reader.fault(id.pos, "`id` must be 1 to 64 letters, digits, `.`, `_` and `-`, and start with a letter or digit");
    None
}

/// Names of logins, groups and inventories: letters, digits, `.`, `_`, `-`, at most 64.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn recipients(reader: &mut Reader<'_>, node: &Node) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    if reader.short(node, "`recipients`").is_none() {
        return found;
    }
    for r in reader.texts(node, "`recipients`").unwrap_or_default() {
        let text = r.value.trim();
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY") {
            reader.fault_hint(
                r.pos,
                "this is a secret key, not a recipient; it must not stand in a file that others read",
                "take its public key (age1..., ssh-ed25519 ...), and make a new identity",
            );
        } else if !["age1", "ssh-ed25519 ", "ssh-rsa "].iter().any(|p| text.starts_with(p)) {
            reader.fault(r.pos, "a recipient must be a public key: age1..., ssh-ed25519 ... or ssh-rsa ...");
        } else if found.iter().any(|f| f == text) {
            reader.fault(r.pos, "this recipient stands twice");
        } else {
            found.push(text.to_string());
        }
    }
    found
}

fn login(reader: &mut Reader<'_>, entry: &Entry, notes: &mut Vec<Problem>) -> Option<LoginItem> {
    let name = &entry.key;
    if !is_name(name) {
        reader.fault(entry.key_pos, "a login's name must be 1 to 64 letters, digits, `.`, `_` and `-`, and start with a letter or digit");
        return None;
    }
    let before = reader.problems.len();
    let what = format!("login `{name}`");
    let fields = reader.keyed(&entry.value, &what, LOGIN_KEYS);
    let registry = match fields.value("registry") {
        Some(node) => registry(reader, node, &what, notes),
        None => missing(reader, entry, &what, "registry"),
    };
    let username = match fields.value("username") {
        Some(node) => username(reader, node, &what),
        None => missing(reader, entry, &what, "username"),
    };
    let expires = fields.value("expires").and_then(|node| expires(reader, node, &what));
    let fingerprint = fields.value("fingerprint").and_then(|node| fingerprint(reader, node, &what));
    let canary = fields.value("canary").and_then(|node| {
        let text = reader.text(node, &format!("`canary` of {what}"))?;
        Repository::parse(text.value).map_err(|why| reader.fault(text.pos, format!("`canary` of {what}: {why}"))).ok()
    });
    let password = dynamic(reader, &fields, &what).or_else(|| password(reader, fields.value("password")?, &what));
    let previous = fields.get("previous").and_then(|entry| previous(reader, entry, &what));
    if reader.problems.len() > before {
        return None;
    }
    let Pos { line, column } = entry.key_pos;
    Some(LoginItem { name: name.clone(), registry: registry?, username: username?, password, expires, fingerprint, canary, previous, line, column })
}

/// `password_command:` or `password_file:`, and `auth_hosts:` beside them. What goes with a sealed password alone is a fault here.
fn dynamic(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Option<PasswordText> {
    let is_there = |key: &&str| fields.value(key).is_some_and(|node| !node.is_null());
    let ways: Vec<&str> = ["password", "password_command", "password_file"].into_iter().filter(is_there).collect();
    if let [first, second, ..] = ways[..] {
        let pos = fields.get(second).expect("it was found").key_pos;
        reader.fault_hint(pos, format!("{what} has both `{first}` and `{second}`"), "keep one of them");
    }
    let auth_hosts = fields.get("auth_hosts");
    let Some(key) = ways.into_iter().find(|key| *key != "password") else {
        if let Some(entry) = auth_hosts {
            reader.fault_hint(
                entry.key_pos,
                format!("{what}: `auth_hosts` goes with `password_command` and `password_file` alone"),
                "those of a sealed password stand in its seal: `regprov vault set VAULT LOGIN --auth-host HOST`",
            );
        }
        return None;
    };
    for other in ["fingerprint", "previous"].into_iter().filter(is_there) {
        let pos = fields.get(other).expect("it was found").key_pos;
        reader.fault_hint(pos, format!("{what}: `{other}` goes with a sealed password, not with `{key}`"), "take it out");
    }
    let node = fields.value(key).expect("it was found");
    let label = format!("`{key}` of {what}");
    let source = match key {
        "password_command" => DynamicSource::Command(reader.argv(node, &label)?),
        _ => {
            let path = reader.text(node, &label)?;
            if path.value.is_empty() || path.value.contains('\0') || (path.value.starts_with('~') && !path.value.starts_with("~/")) {
                reader.fault_hint(path.pos, format!("{label} is no path"), "write one that is absolute, relative to this file, or begins with `~/`");
                return None;
            }
            DynamicSource::File(path.value.to_string())
        }
    };
    let mut hosts = Vec::new();
    for host in auth_hosts.and_then(|entry| reader.texts(&entry.value, &format!("`auth_hosts` of {what}"))).unwrap_or_default() {
        match check_auth_host(host.value) {
            Ok(()) => hosts.push(host.value.to_string()),
            Err(why) => reader.fault(host.pos, format!("{what}: {why}")),
        }
    }
    Some(PasswordText::Dynamic(Dynamic { source, auth_hosts: hosts }))
}

/// `previous:`, as `regprov rotate start` writes it.
fn previous(reader: &mut Reader<'_>, entry: &Entry, login: &str) -> Option<PreviousPassword> {
    let what = format!("`previous` of {login}");
    let fields = reader.keyed(&entry.value, &what, PREVIOUS_KEYS);
    let username = match fields.value("username") {
        Some(node) => username(reader, node, &what),
        None => missing(reader, entry, &what, "username"),
    };
    let expires = fields.value("expires").and_then(|node| expires(reader, node, &what));
    let fingerprint = fields.value("fingerprint").and_then(|node| fingerprint(reader, node, &what));
    let password = match fields.get("password") {
        Some(field) if !field.value.is_null() => match password(reader, &field.value, &what) {
            Some(PasswordText::Sealed(sealed)) => Some(sealed),
            Some(_) => {
                reader.fault_hint(field.key_pos, format!("the password of {what} stands in the clear"), "`regprov rotate start` writes it, sealed");
                None
            }
            None => None,
        },
        _ => missing(reader, entry, &what, "password"),
    };
    Some(PreviousPassword { username: username?, sealed: password?, expires, fingerprint })
}

pub(crate) fn username(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Username> {
    let text = reader.text(node, &format!("`username` of {what}"))?;
    Username::parse(text.value).map_err(|why| reader.fault(text.pos, format!("{what}: {why}"))).ok()
}

pub(crate) fn expires(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Expiry> {
    let text = reader.text(node, &format!("`expires` of {what}"))?;
    Expiry::parse(text.value).map_err(|why| reader.fault(text.pos, format!("{what}: {why}"))).ok()
}

fn fingerprint(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Fingerprint> {
    let text = reader.text(node, &format!("`fingerprint` of {what}"))?;
    Fingerprint::parse(text.value).map_err(|why| reader.fault(text.pos, format!("{what}: its fingerprint {why}"))).ok()
}

fn missing<T>(reader: &mut Reader<'_>, entry: &Entry, what: &str, key: &str) -> Option<T> {
    // Where the login is no map at all, that has been said.
    if matches!(entry.value.value, Value::Map(_)) {
        reader.fault(entry.key_pos, format!("{what} has no `{key}`"));
    }
    None
}

pub(crate) fn registry(reader: &mut Reader<'_>, node: &Node, what: &str, notes: &mut Vec<Problem>) -> Option<Registry> {
    let text = reader.text(node, &format!("`registry` of {what}"))?;
    if text.value.contains('@') {
        // `https://user:password@host`: nothing of it is shown.
        reader.fault_hint(text.pos, format!("{what}: the registry contains `@`"), "write the host alone; the account goes under `username`");
        return None;
    }
    let (registry, note) = match Registry::parse(text.value) {
        Ok(parsed) => parsed,
        Err(why) => {
            reader.fault(text.pos, format!("{what}: {why}"));
            return None;
        }
    };
    let (rule, message) = match note {
        NameNote::None => return Some(registry),
        NameNote::Normalised => (rule::REGISTRY_NAME, format!("{what}: registry is taken as `{registry}`, without scheme, slash and upper case")),
        NameNote::HubAlias => (rule::HUB_ALIAS, format!("{what}: registry is taken as `{registry}`, Docker Hub's name here")),
        NameNote::HubWebsite => (rule::HUB_WEBSITE, format!("{what}: `hub.docker.com` is Docker Hub's web site and serves no images; taken as `{registry}`")),
    };
    notes.push(Problem { rule, file: reader.file.to_string(), line: text.pos.line, column: text.pos.column, message, hint: None });
    Some(registry)
}

/// Tells a sealed password from a plain one; never shows anything of it.
fn password(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<PasswordText> {
    let Some((text, style)) = node.scalar() else {
        reader.fault(node.pos, format!("the password of {what} must be text, not {}", node.word()));
        return None;
    };
    match node.word() {
        "text" => {}
        "nothing" => return None,
        // Whoever wrote 0123 means these four characters; YAML readers disagree about them.
        word => {
            reader.fault_hint(
                node.pos,
                format!("the password of {what} must be text, not {word}"),
                "put it into quotes, or better: seal it with `regprov vault set`",
            );
            return None;
        }
    }
    let trimmed = text.trim();
    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
    // Nobody opens a block for nothing: what stood in it is gone.
    if armor::is_part(trimmed) || (block && trimmed.is_empty()) {
        let whole = trimmed.lines().next() == Some(armor::BEGIN) && trimmed.lines().last() == Some(armor::END);
        if whole {
            return Some(PasswordText::Sealed(format!("{trimmed}\n")));
        }
        let why = if style == ScalarStyle::Literal { "it was cut" } else { "its lines were joined" };
        reader.fault_of(
            rule::SEAL,
            node.pos,
            format!("the sealed password of {what} is damaged: {why}"),
            Some("it must stand as a block behind `password: |`, from its BEGIN line to its END line".to_string()),
        );
        return None;
    }
    let fault = match crate::model::login::check_password(text) {
        Err(why) => Some((why, None)),
        Ok(()) if block && text.ends_with('\n') => {
            Some(("password ends with a line break".to_string(), Some("write `password: |-`, or better: seal it with `regprov vault set`")))
        }
        Ok(()) => None,
    };
    match fault {
        None => Some(PasswordText::Plain(Secret::new(text.to_string()))),
        Some((why, None)) => {
            reader.fault(node.pos, format!("{what}: {why}"));
            None
        }
        Some((why, Some(hint))) => {
            reader.fault_hint(node.pos, format!("{what}: {why}"), hint);
            None
        }
    }
}
