//! The edited text, read strictly: all that is wrong is found at once, with line and column, and nothing of a value is told.

use granit_parser::ScalarStyle;

use super::draft::{Draft, DraftLogin};
use crate::command::load::now;
use crate::error::{Problem, rule};
use crate::inventory::document::{expires, is_name, registry, username};
use crate::inventory::fields::{Keys, Reader};
use crate::inventory::yaml::{self, Entry, Node, Value};
use crate::model::text::escape;
use crate::model::{Repository, Secret};
use crate::vault::VaultDocument;
use crate::vault::seal::{check_auth_host, check_become_password};

/// What messages call the edited text.
const NAME: &str = "edited text";

/// What was read.
pub(super) enum Edited {
    /// The logins as they shall be, and what was put right.
    Draft(Draft, Vec<Problem>),
    /// Nothing stands there but comments: whoever edits has given up.
    GivenUp,
    /// All that is wrong.
    Wrong(Vec<Problem>),
}

const TOP_KEYS: Keys = Keys { known: &["become_password", "logins"], reserved: &[], private: true };

const LOGIN_KEYS: Keys = Keys { known: &["registry", "username", "password", "expires", "canary", "auth_hosts"], reserved: &[], private: true };

/// Reads the edited text of `base`, which is all of `vault` or its login `only`.
pub(super) fn read(text: &str, base: &Draft, vault: &VaultDocument, only: Option<&str>) -> Edited {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Edited::GivenUp;
    }
    let root = match yaml::parse(NAME, text) {
        Ok(root) => root,
        Err(problem) => return Edited::Wrong(vec![told(*problem)]),
    };
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let mut reader = Reader { file: NAME, problems: &mut problems };
    let fields = reader.keyed(&root, "the text", TOP_KEYS);
    let mut draft = Draft::default();
    if let Some(entry) = fields.get("become_password") {
        if only.is_some() {
            reader.fault_hint(entry.key_pos, "`become_password` is not edited with one login", "edit the whole vault, or `regprov vault set VAULT --become`");
        } else if let Some(password) = password(&mut reader, entry, "sudo (`become_password`)") {
            match check_become_password(&password) {
                Ok(()) => draft.become_password = Some(password),
                Err(why) => reader.fault(entry.value.pos, why),
            }
        }
    }
    match fields.get("logins") {
        None if matches!(root.value, Value::Map(_)) => reader.fault_hint(root.pos, "`logins` is missing", "to take out all of them, write `logins: {}`"),
        None => {}
        Some(entry) if entry.value.is_null() => reader.fault_hint(entry.key_pos, "`logins` is empty", "to take out all of them, write `logins: {}`"),
        Some(entry) => {
            for entry in reader.named(&entry.value, "`logins`") {
                if only.is_some() && base.login(&entry.key).is_none() && vault.login(&entry.key).is_some() {
                    reader.fault_hint(
                        entry.key_pos,
                        format!("login `{}` is in the vault already, beside the one that is edited", escape(&entry.key)),
                        "take another name, or edit the whole vault",
                    );
                }
                draft.logins.extend(login(&mut reader, entry, base.login(&entry.key), &mut notes));
            }
        }
    }
    if problems.is_empty() { Edited::Draft(draft, notes) } else { Edited::Wrong(problems.into_iter().map(told).collect()) }
}

fn login(reader: &mut Reader<'_>, entry: &Entry, base: Option<&DraftLogin>, notes: &mut Vec<Problem>) -> Option<DraftLogin> {
    let name = &entry.key;
    if !is_name(name) {
        reader.fault(entry.key_pos, "a login's name must be 1 to 64 letters, digits, `.`, `_` and `-`, and start with a letter or digit");
        return None;
    }
    let before = reader.problems.len();
    let what = format!("login `{name}`");
    let fields = reader.keyed(&entry.value, &what, LOGIN_KEYS);
    let is_map = matches!(entry.value.value, Value::Map(_));
    let missing = |reader: &mut Reader<'_>, key: &str| {
        // Where the login is no map at all, that has been said.
        if is_map {
            reader.fault(entry.key_pos, format!("{what} has no `{key}`"));
        }
    };
    let registry = match fields.value("registry") {
        Some(node) => registry(reader, node, &what, notes),
        None => {
            missing(reader, "registry");
            None
        }
    };
    let username = match fields.value("username") {
        Some(node) => username(reader, node, &what),
        None => {
            missing(reader, "username");
            None
        }
    };
    let password = match fields.get("password") {
        Some(field) => password(reader, field, &what),
        // One that never stood in the vault is not missed.
        None if base.is_some_and(|base| base.password.is_none()) => None,
        None => {
            missing(reader, "password");
            None
        }
    };
    let expires = fields.value("expires").and_then(|node| {
        let expires = expires(reader, node, &what)?;
        // One that has ended already may stand; nobody means to write a new one so.
        if expires.is_past(now()) && base.and_then(|base| base.expires.as_ref()) != Some(&expires) {
            reader.fault(node.pos, format!("{what}: `expires` is in the past"));
        }
        Some(expires)
    });
    let canary = fields.value("canary").and_then(|node| {
        let text = reader.text(node, &format!("`canary` of {what}"))?;
        Repository::parse(text.value).map_err(|why| reader.fault(text.pos, format!("`canary` of {what}: {why}"))).ok()
    });
    let mut auth_hosts = Vec::new();
    if let Some(node) = fields.value("auth_hosts") {
        for host in reader.names(node, &format!("`auth_hosts` of {what}")).unwrap_or_default() {
            match check_auth_host(&host.value) {
                Ok(()) => auth_hosts.push(host.value),
                Err(why) => reader.fault(host.pos, format!("{what}: {why}")),
            }
        }
    }
    if reader.problems.len() > before {
        return None;
    }
    Some(DraftLogin { name: name.clone(), registry: registry?, username: username?, expires, canary, auth_hosts, password })
}

/// A password in the clear: text to every YAML reader.
fn password(reader: &mut Reader<'_>, entry: &Entry, what: &str) -> Option<Secret> {
    let node: &Node = &entry.value;
    let Some((text, style)) = node.scalar() else {
        reader.fault_hint(node.pos, format!("the password of {what} must be text, not {}", node.word()), "put it into single quotes");
        return None;
    };
    let fault = match node.word() {
        "nothing" => Some(("is empty".to_string(), None)),
        // Whoever wrote 0123 means these four characters; YAML readers disagree about them.
        word if word != "text" => Some((format!("must be text, not {word}"), Some("put it into single quotes"))),
        _ if text.trim_start().starts_with("-----BEGIN AGE") => {
            Some(("is sealed text; the password itself belongs here".to_string(), Some("`regprov vault edit` seals it")))
        }
        _ if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && text.ends_with('\n') => {
            Some(("ends with a line break".to_string(), Some("write `password: |-`; one that is meant stands in double quotes as \\n")))
        }
        _ => crate::model::login::check_password(text).err().map(|why| (why.trim_start_matches("password ").to_string(), None)),
    };
    match fault {
        None => Some(Secret::new(text.to_string())),
        Some((why, hint)) => {
            let message = format!("the password of {what} {why}");
            match hint {
                Some(hint) => reader.fault_hint(node.pos, message, hint),
                None => reader.fault(node.pos, message),
            }
            None
        }
    }
}

/// Fit to be shown.
fn told(problem: Problem) -> Problem {
    Problem { message: escape(&problem.message), hint: problem.hint.map(|hint| escape(&hint)), rule: rule::INPUT, ..problem }
}
