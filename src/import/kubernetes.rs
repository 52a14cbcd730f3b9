//! Pull Secrets of Kubernetes, in YAML or JSON, as `kubectl get secret -o yaml` prints them and as people write them by hand.
//!
//! The API takes any JSON object for a `.dockerconfigjson` (Kubernetes `pkg/apis/core/validation/validation.go` ValidateSecret), so a Secret
//! may be there for years and give no login to anybody. What is wrong with one is told; where the login is plain all the same, it is taken.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::auths::token;
use super::{Found, Left};
use crate::format::json::{self, Object};
use crate::format::yaml::{self, Value};
use crate::format::{Holding, Holds, held_by_kubelet};
use crate::model::text::escape;

/// The two types of a pull Secret, each with its key (Kubernetes `pkg/apis/core/types.go`).
const TYPES: [(&str, &str); 2] = [("kubernetes.io/dockerconfigjson", ".dockerconfigjson"), ("kubernetes.io/dockercfg", ".dockercfg")];

/// Objects in one file.
const OBJECTS_MAX: usize = 10_000;

/// Base64 with or without its padding: what is wrong for one reader is told by another.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(Indifferent));

/// The logins of a file; `Err` goes on from the file's name.
pub fn read(text: &str) -> Result<Found, String> {
    let mut found = Found::default();
    let mut objects = Vec::new();
    for tree in trees(text)? {
        flatten(tree, &mut objects)?;
    }
    let mut passed_over: Vec<String> = Vec::new();
    for object in &objects {
        if object.get("auths").is_some() && object.text("kind").is_none() {
            return Err("is a config.json and no Secret; read it with `regprov import docker-config`".to_string());
        }
        let kind = object.text("kind").unwrap_or("object without a kind");
        match kind {
            "Secret" => secret(object, &mut found, &mut passed_over),
            kind => passed_over.push(escape(kind)),
        }
    }
    if found.logins.is_empty() && found.left.is_empty() {
        let there = if passed_over.is_empty() { "nothing".to_string() } else { passed_over.join(", ") };
        return Err(format!("holds no pull Secret; what is there: {there}"));
    }
    match passed_over.len() {
        0 => {}
        1 => found.notes.push("1 other object holds no registry login and was passed over".to_string()),
        n => found.notes.push(format!("{n} other objects hold no registry login and were passed over")),
    }
    Ok(found)
}

/// One object of a file.
enum Tree {
    Text(Zeroizing<String>),
    Map(Vec<(String, Tree)>),
    List(Vec<Tree>),
    /// A number, a truth value, an alias.
    Other,
    Null,
}

impl Tree {
    fn get(&self, key: &str) -> Option<&Tree> {
        match self {
            Tree::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v).filter(|v| !matches!(v, Tree::Null)),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn trees(text: &str) -> Result<Vec<Tree>, String> {
    if text.trim_start().starts_with('{') {
        match Object::parse(text) {
            Ok(object) => return of_json(object).map(|tree| vec![tree]),
            // It may still be YAML that begins with a brace; but a key that stands twice is wrong in both.
            Err(why) if why.contains("twice") => return Err(why),
            Err(_) => {}
        }
    }
    let documents = yaml::documents(text).map_err(|why| format!("cannot be read: {why}"))?;
    Ok(documents.into_iter().map(|(_, node)| of_yaml(node)).collect())
}

fn of_yaml(node: yaml::Node) -> Tree {
    if node.is_null() {
        return Tree::Null;
    }
    match node.value {
        Value::Scalar { text, .. } => Tree::Text(text),
        Value::Alias => Tree::Other,
        Value::Seq(items) => Tree::List(items.into_iter().map(of_yaml).collect()),
        Value::Map { entries, .. } => {
            let pairs = entries.into_iter().filter_map(|e| e.name().map(str::to_string).map(|name| (name, of_yaml(e.value))));
            Tree::Map(pairs.collect())
        }
    }
}

fn of_json(object: Object<'_>) -> Result<Tree, String> {
    fn value(raw: &serde_json::value::RawValue) -> Result<Tree, String> {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{') => Object::parse(text).and_then(of_json),
            Some(b'[') => {
                let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).map_err(|_| "is no valid JSON")?;
                items.into_iter().map(value).collect::<Result<_, _>>().map(Tree::List)
            }
            Some(b'"') => Ok(json::as_text(raw).map_or(Tree::Other, Tree::Text)),
            Some(b'n') => Ok(Tree::Null),
            _ => Ok(Tree::Other),
        }
    }
    object.0.into_iter().map(|(key, raw)| Ok((key, value(raw)?))).collect::<Result<_, String>>().map(Tree::Map)
}

/// The objects of lists, lists in lists too.
fn flatten(tree: Tree, objects: &mut Vec<Tree>) -> Result<(), String> {
    let is_list = tree.text("kind").is_some_and(|kind| kind.ends_with("List"));
    match tree {
        Tree::Null => {}
        Tree::Map(pairs) if is_list => {
            for (_, items) in pairs.into_iter().filter(|(key, _)| key == "items") {
                let Tree::List(items) = items else { continue };
                items.into_iter().try_for_each(|item| flatten(item, objects))?;
            }
        }
        tree => objects.push(tree),
    }
    if objects.len() > OBJECTS_MAX { Err(format!("holds more than {OBJECTS_MAX} objects")) } else { Ok(()) }
}

/// The logins of one Secret; what is no pull Secret at all is passed over.
fn secret(object: &Tree, found: &mut Found, passed_over: &mut Vec<String>) {
    let metadata = object.get("metadata");
    let field = |name: &str| metadata.and_then(|m| m.text(name)).map(escape);
    let name = field("name").or_else(|| field("generateName")).unwrap_or_else(|| "without a name".to_string());
    let place = field("namespace").map_or_else(|| format!("Secret {name}"), |namespace| format!("Secret {namespace}/{name}"));
    // What stands under `stringData` comes before the same key of `data`.
    let of = |key: &'static str| {
        let under = |section: &'static str| object.get(section).and_then(|s| s.get(key)).map(|value| (section, key, value));
        under("stringData").or_else(|| under("data"))
    };
    let kind = object.text("type").unwrap_or("Opaque");
    let expected = TYPES.iter().find(|(name, _)| *name == kind).map(|(_, key)| *key);
    let Some((section, key, value)) = expected.and_then(of).or_else(|| TYPES.iter().find_map(|(_, key)| of(key))) else {
        match expected {
            Some(key) => found.left.push(Left::new(place, format!("it is of type {kind} and has no `{key}`"))),
            None => passed_over.push(place),
        }
        return;
    };
    if expected != Some(key) {
        let right = TYPES.iter().find(|(_, k)| *k == key).map_or("", |(name, _)| name);
        found.notes.push(format!("{place} is of type {}: the kubelet takes `{key}` only from one of type {right}", escape(kind)));
    }
    let Tree::Text(text) = value else {
        found.left.push(Left::new(place, format!("its `{key}` is no text")));
        return;
    };
    let json = match if section == "data" { decoded(text, &place, found) } else { Ok(Zeroizing::new(text.as_bytes().to_vec())) } {
        Ok(json) => json,
        Err(why) => {
            found.left.push(Left::new(place, format!("its `{key}` {why}")));
            return;
        }
    };
    if let Err(why) = logins(&json, key == ".dockercfg", &place, found) {
        found.left.push(Left::new(place, format!("its `{key}` {why}")));
    }
}

/// What stands under `data` is base64. Kubernetes skips line breaks in it and refuses spaces (Go's `base64.StdEncoding`).
fn decoded(text: &str, place: &str, found: &mut Found) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = text.trim();
    if text.starts_with('{') {
        found.notes.push(format!("{place} has its JSON under `data` as it stands, where Kubernetes wants base64; it belongs under `stringData`"));
        return Ok(Zeroizing::new(text.as_bytes().to_vec()));
    }
    if text.starts_with('<') {
        return Err("is still the `<...>` of an example".to_string());
    }
    if text.contains([' ', '\t']) {
        found.notes.push(format!("{place} has base64 with spaces in it, as folded lines (`>-`) make them: Kubernetes refuses that; it was read without them"));
    }
    let whole = Zeroizing::new(text.split_ascii_whitespace().collect::<String>());
    let json = BASE64.decode(whole.as_bytes()).map(Zeroizing::new).map_err(|_| "is no base64".to_string())?;
    if !whole.len().is_multiple_of(4) {
        found.notes.push(format!("{place} has base64 without its padding, which Kubernetes refuses; a piece may be missing at its end"));
    }
    // Encoded by hand, and by kubectl once more.
    let again = BASE64.decode(json.trim_ascii()).map(Zeroizing::new).ok().filter(|json| json.trim_ascii_start().starts_with(b"{"));
    if again.is_some() {
        found.notes.push(format!("{place} has base64 of base64, where the kubelet finds no JSON"));
    }
    Ok(again.unwrap_or(json))
}

/// The entries of what a Secret holds, as the kubelet reads them. `Err` goes on from the key's name.
fn logins(json: &[u8], is_dockercfg: bool, place: &str, found: &mut Found) -> Result<(), String> {
    let text = std::str::from_utf8(json).map_err(|_| "is not UTF-8")?;
    let top = Object::parse(text.trim_start_matches('\u{feff}'))?;
    let has_auths = top.get("auths").is_some();
    let store = ["credsStore", "credHelpers"].into_iter().find(|key| top.get(key).is_some());
    let at_top = !has_auths && top.0.iter().any(|(_, value)| is_entry(value.get()));
    let held = match (is_dockercfg, has_auths) {
        (true, true) => {
            found.notes.push(format!("{place} has `auths` in a `.dockercfg`, whose entries stand at the top: the kubelet finds none of them"));
            held_by_kubelet(json)?
        }
        (false, true) => held_by_kubelet(json)?,
        (false, false) if !at_top => {
            let why = store.map_or_else(String::new, |key| format!("; it was made from a config.json whose passwords are elsewhere (`{key}`)"));
            return Err(format!("has no `auths`{why}"));
        }
        (_, false) => {
            if !is_dockercfg {
                found.notes.push(format!(
                    "{place} has no `auths`: its entries stand at the top, where the kubelet finds none of them, so pulls went without a login; write {{\"auths\": ...}} around them"
                ));
            }
            let mut wrapped = Zeroizing::new(Vec::with_capacity(json.len() + 16));
            wrapped.extend_from_slice(b"{\"auths\":");
            wrapped.extend_from_slice(text.trim_start_matches('\u{feff}').as_bytes());
            wrapped.push(b'}');
            held_by_kubelet(&wrapped)?
        }
    };
    if held.is_empty() {
        let why = store.map_or_else(String::new, |key| format!(": it was made from a config.json whose passwords are elsewhere (`{key}`)"));
        return Err(format!("has no entry{why}"));
    }
    for Holding { key, registry, holds } in held {
        let place = format!("{place} \"{}\"", escape(&key));
        let why = match (registry, holds) {
            (Err(why), _) => escape(&why),
            (Ok(registry), Holds::Login(account)) => {
                found.take_of(registry, &account.username, account.password, &place);
                continue;
            }
            (Ok(_), Holds::Token(field)) => token(field),
            (Ok(_), Holds::Unreadable(why)) => format!("the kubelet cannot read it, nor any other entry of this Secret: {why}"),
            (Ok(_), Holds::Helper { .. } | Holds::Nothing) => match store {
                Some(key) => format!("it is empty: the Secret was made from a config.json whose passwords are elsewhere (`{key}`), so it holds none"),
                None => "it is empty: the Secret was made from a config.json whose passwords are elsewhere, or before anybody logged in".to_string(),
            },
        };
        found.left.push(Left::new(place, why));
    }
    Ok(())
}

/// Whether a value looks like an entry of `auths`.
fn is_entry(json: &str) -> bool {
    Object::parse(json).is_ok_and(|o| ["auth", "username", "password", "identitytoken"].into_iter().any(|key| o.get(key).is_some()))
}

#[cfg(test)]
mod tests;
