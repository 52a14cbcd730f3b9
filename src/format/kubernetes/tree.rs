//! Objects of a file, in YAML or JSON, as Kubernetes' own tools read their values: a word such as `true` or `yes` is text only in quotes.

use zeroize::Zeroizing;

use crate::format::json::{self, Object};
use crate::format::yaml::{self, Value};

/// Objects and lists inside each other, as [`yaml`] has it.
const DEPTH_MAX: usize = 32;

/// Objects in one file.
const OBJECTS_MAX: usize = 10_000;

/// Where something stands in a file: line and column, from 1; zeros when unknown, as in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Its line.
    pub line: usize,
    /// Its column, in characters.
    pub column: usize,
}

/// A value, and the place of its key.
pub(super) struct Tree {
    pub(super) at: At,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// A text; `plain` without quotes, so that it may mean something else.
    Text {
        text: Zeroizing<String>,
        plain: bool,
    },
    Map(Vec<(String, Tree)>),
    List(Vec<Tree>),
    /// A truth value, number or alias.
    Other,
    Null,
}

impl Tree {
    /// The value of a key, unless it is null.
    pub(super) fn get(&self, key: &str) -> Option<&Tree> {
        match &self.kind {
            Kind::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v).filter(|v| !matches!(v.kind, Kind::Null)),
            _ => None,
        }
    }

    /// The value of a key as it is written, if it is one word or text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.kind {
            Kind::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The text that Kubernetes takes it for; `None` where it takes it for something else.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text { text, plain } if !plain || !(is_truth(text) || is_number(text)) => Some(text),
            _ => None,
        }
    }

    /// What it is, where it is no text.
    pub(super) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Text { text, .. } if is_truth(text) => "a truth value",
            Kind::Text { .. } => "a number",
            Kind::Map(_) => "a map",
            Kind::List(_) => "a list",
            Kind::Other => "a truth value, a number or an alias",
            Kind::Null => "nothing",
        }
    }
}

/// The words of YAML 1.1 (go-yaml v2 `resolve.go`, which kubectl reads manifests with).
fn is_truth(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "y" | "yes" | "true" | "on" | "n" | "no" | "false" | "off") && {
        let rest = text.get(1..).unwrap_or_default();
        rest.bytes().all(|b| b.is_ascii_lowercase()) || text.bytes().all(|b| b.is_ascii_uppercase())
    }
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let radix = |prefix: &str, radix| unsigned.strip_prefix(prefix).is_some_and(|digits| u64::from_str_radix(digits, radix).is_ok());
    let decimal = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok();
    decimal || radix("0x", 16) || radix("0b", 2) || radix("0o", 8) || matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
}

/// The objects of a file, those of lists one by one. `Err` begins with `line N: ` where the line is known, and quotes nothing.
pub(super) fn objects(text: &str) -> Result<Vec<Tree>, String> {
    let mut objects = Vec::new();
    for tree in trees(text)? {
        flatten(tree, &mut objects)?;
    }
    Ok(objects)
}

fn trees(text: &str) -> Result<Vec<Tree>, String> {
    if text.trim_start().starts_with('{') {
        match Object::parse(text) {
            Ok(object) => return of_json(object, 1).map(|tree| vec![tree]),
            // It may still be YAML that begins with a brace; but a key that stands twice is wrong in both.
            Err(why) if why.contains("twice") => return Err(why),
            Err(_) => {}
        }
    }
    Ok(yaml::documents(text)?.into_iter().map(|(_, node)| of_yaml(node)).collect())
}

fn of_yaml(node: yaml::Node) -> Tree {
    let at = At { line: node.line, column: node.column + 1 };
    if node.is_null() {
        return Tree { at, kind: Kind::Null };
    }
    let kind = match node.value {
        Value::Scalar { text, plain } => Kind::Text { text, plain: plain && !node.marked },
        Value::Alias => Kind::Other,
        Value::Seq(items) => Kind::List(items.into_iter().map(of_yaml).collect()),
        Value::Map { entries, .. } => {
            let pairs = entries.into_iter().filter_map(|entry| {
                let name = entry.name()?.to_string();
                let key = At { line: entry.key.line, column: entry.key.column + 1 };
                Some((name, Tree { at: key, ..of_yaml(entry.value) }))
            });
            Kind::Map(pairs.collect())
        }
    };
    Tree { at, kind }
}

fn of_json(object: Object<'_>, depth: usize) -> Result<Tree, String> {
    fn value(raw: &serde_json::value::RawValue, depth: usize) -> Result<Tree, String> {
        if depth > DEPTH_MAX {
            return Err(format!("holds more than {DEPTH_MAX} objects and lists inside each other"));
        }
        let text = raw.get();
        let kind = match text.as_bytes().first() {
            Some(b'{') => return Object::parse(text).and_then(|object| of_json(object, depth + 1)),
            Some(b'[') => {
                let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).map_err(|_| "is no valid JSON")?;
                Kind::List(items.into_iter().map(|item| value(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => json::as_text(raw).map_or(Kind::Other, |text| Kind::Text { text, plain: false }),
            Some(b'n') => Kind::Null,
            _ => Kind::Other,
        };
        Ok(Tree { at: At::default(), kind })
    }
    let pairs = object.0.into_iter().map(|(key, raw)| Ok((key, value(raw, depth)?))).collect::<Result<_, String>>()?;
    Ok(Tree { at: At::default(), kind: Kind::Map(pairs) })
}

/// The objects of lists, lists in lists too.
fn flatten(tree: Tree, objects: &mut Vec<Tree>) -> Result<(), String> {
    let is_list = tree.text("kind").is_some_and(|kind| kind.ends_with("List"));
    match tree.kind {
        Kind::Null => {}
        Kind::Map(pairs) if is_list => {
            for (_, items) in pairs.into_iter().filter(|(key, _)| key == "items") {
                let Kind::List(items) = items.kind else { continue };
                items.into_iter().try_for_each(|item| flatten(item, objects))?;
            }
        }
        kind => objects.push(Tree { at: tree.at, kind }),
    }
    if objects.len() > OBJECTS_MAX { Err(format!("holds more than {OBJECTS_MAX} objects")) } else { Ok(()) }
}
