//! A YAML file as the keys of its maps, each with the lines that are its own.
//!
//! Lines are told apart by a simple reading of block style; the parser has the last word: a map whose keys are not exactly those that were found
//! is taken as one piece.

use serde_json::{Map, Value};

use crate::vault::document::quiet;
use crate::vault::edit::lines::{Lines, split_comment};

/// A key of a map with what belongs to it. Its lines are those of the file, byte for byte.
#[derive(Clone)]
pub(in crate::vault) struct Item {
    pub(in crate::vault) key: String,
    /// Comments and blank lines above it.
    pub(super) above: String,
    /// The line that begins with the key.
    pub(super) line: String,
    /// The lines of its value that follow.
    pub(super) body: String,
    pub(super) value: Value,
}

impl Item {
    /// Its lines without what stands above it.
    pub(in crate::vault) fn own(&self) -> String {
        format!("{}{}", self.line, self.body)
    }

    /// The keys of its value, when that is a map in block style, or none at all.
    pub(super) fn children(&self) -> Option<Vec<Item>> {
        let (_, behind) = key_of(self.line.trim())?;
        match (&self.value, split_comment(behind).0, self.body.is_empty()) {
            (Value::Null, "", true) | (Value::Null, "~" | "null", true) => Some(Vec::new()),
            (Value::Object(map), "{}", true) if map.is_empty() => Some(Vec::new()),
            (Value::Object(map), "", false) => split(&self.body, map).filter(|(_, tail)| tail.is_empty()).map(|(items, _)| items),
            _ => None,
        }
    }

    /// Its line for a map with keys below it, or without any.
    pub(super) fn line_of_map(&self, is_empty: bool) -> String {
        let Some((_, behind)) = key_of(self.line.trim()) else { return self.line.clone() };
        match (split_comment(behind).0.is_empty(), is_empty) {
            (true, true) => self.line_with("{}"),
            (false, false) => self.line_with(""),
            _ => self.line.clone(),
        }
    }

    /// Its line with another value on it; the comment stays.
    pub(super) fn line_with(&self, value: &str) -> String {
        let Some((_, behind)) = key_of(self.line.trim()) else { return self.line.clone() };
        let (_, comment) = split_comment(behind);
        let key = self.line.trim_end().strip_suffix(behind).unwrap_or(&self.line).trim_end();
        let space = |text: &str| if text.is_empty() { "" } else { " " };
        format!("{key}{}{value}{}{}\n", space(value), space(comment), comment.trim())
    }
}

/// A file.
#[derive(Default)]
pub(in crate::vault) struct Sheet {
    /// Its top level keys.
    pub(in crate::vault) items: Vec<Item>,
    /// Comments and blank lines behind them.
    pub(super) tail: String,
    pub(in crate::vault) value: Map<String, Value>,
}

impl Sheet {
    /// Reads a file with LF line ends; an error says why it cannot be told apart, and quotes nothing.
    pub(in crate::vault) fn read(text: &str) -> Result<Self, &'static str> {
        let mut text = text.to_string();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let value = match serde_yaml::from_str_with_options::<Option<Value>>(&text, quiet()) {
            Ok(None | Some(Value::Null)) => return Ok(Sheet { tail: text, ..Sheet::default() }),
            Ok(Some(Value::Object(map))) => map,
            Ok(Some(_)) => return Err("it is no map of keys"),
            Err(_) => return Err("it is not YAML"),
        };
        let (items, tail) = split(&text, &value).ok_or("its keys do not stand in block style")?;
        Ok(Sheet { items, tail, value })
    }
}

/// The items of a map in block style and the comments behind the last. `None` when these are not the map's keys.
fn split(text: &str, map: &Map<String, Value>) -> Option<(Vec<Item>, String)> {
    let lines = Lines::new(text);
    let indent_of = |i: usize| lines.indent(i).filter(|_| lines.lines[i].trim_end() != "---" || i > 0);
    let all = 0..lines.lines.len();
    let Some(indent) = all.clone().find_map(indent_of) else { return map.is_empty().then(|| (Vec::new(), text.to_string())) };
    let mut items: Vec<Item> = Vec::new();
    let mut end = 0;
    for i in all.clone() {
        let key = match indent_of(i) {
            None => continue,
            Some(n) if n < indent => return None,
            Some(n) if n == indent => key_of(lines.lines[i].trim()).and_then(|(key, _)| Some((key.clone(), map.get(&key)?))),
            Some(_) => None,
        };
        if let Some((key, value)) = key {
            items.push(Item { key, above: lines.lines[end..i].concat(), line: lines.lines[i].to_string(), body: String::new(), value: value.clone() });
        } else {
            // Of the value above: deeper, or a list at the key's own indentation.
            items.last_mut()?.body.push_str(&lines.lines[end..=i].concat());
        }
        end = i + 1;
    }
    let keys: std::collections::HashSet<&str> = items.iter().map(|item| item.key.as_str()).collect();
    (keys.len() == items.len() && items.len() == map.len()).then(|| (items, lines.lines[end..].concat()))
}

/// The key that a line begins with, and what stands behind its colon, trimmed.
fn key_of(line: &str) -> Option<(String, &str)> {
    let (key, rest) = match line.as_bytes().first()? {
        b'\'' => {
            let mut end = 1;
            loop {
                end += line[end..].find('\'')?;
                if !line[end + 1..].starts_with('\'') {
                    break (line[1..end].replace("''", "'"), &line[end + 1..]);
                }
                end += 2;
            }
        }
        b'"' => {
            let end = 1 + line[1..].find('"')?;
            (Some(&line[1..end]).filter(|key| !key.contains('\\'))?.to_string(), &line[end + 1..])
        }
        _ => {
            let end = line.char_indices().find(|(i, c)| *c == ':' && line[i + 1..].chars().next().is_none_or(char::is_whitespace))?.0;
            (line[..end].trim_end().to_string(), &line[end..])
        }
    };
    let behind = rest.trim_start().strip_prefix(':')?;
    (behind.is_empty() || behind.starts_with([' ', '\t'])).then(|| (key, behind.trim()))
}

/// The entries of a list in block style, each with the comments above it. `None` for another list.
pub(super) fn entries(item: &Item) -> Option<Vec<(String, String)>> {
    let Value::Array(values) = &item.value else { return None };
    let mut found: Vec<(String, String)> = Vec::new();
    let lines = Lines::new(&item.body);
    let mut above = String::new();
    for (i, line) in lines.lines.iter().enumerate() {
        above.push_str(line);
        if lines.indent(i).is_some() {
            line.trim_start().strip_prefix("- ")?;
            let text = values.get(found.len())?.as_str()?.to_string();
            found.push((text, std::mem::take(&mut above)));
        }
    }
    (above.is_empty() && found.len() == values.len()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "---\n# ours\nversion: 1\n\n# who\nrecipients:\n- age1x # alice\n# bob\n- age1y\nlogins: # all\n  # the hub\n  'hub''s': {registry: docker.io}\n  \"ngc\":\n    password: |\n      # no comment\n\n      x\n    # last\ngroups: {\n  g: {hosts: a}\n}\n# end\n";

    #[test]
    fn every_line_belongs_to_one_key() {
        let sheet = Sheet::read(FILE).unwrap();
        let all: String = sheet.items.iter().map(|i| format!("{}{}", i.above, i.own())).collect();
        assert_eq!(all + &sheet.tail, FILE);
        assert_eq!(sheet.items.iter().map(|i| i.key.as_str()).collect::<Vec<_>>(), ["version", "recipients", "logins", "groups"]);
        assert_eq!((sheet.items[0].above.as_str(), sheet.items[1].above.as_str()), ("---\n# ours\n", "\n# who\n"));
        assert_eq!(sheet.tail, "# end\n");
        let logins = sheet.items[2].children().unwrap();
        assert_eq!(logins.iter().map(|i| (i.key.as_str(), i.above.as_str())).collect::<Vec<_>>(), [("hub's", "  # the hub\n"), ("ngc", "")]);
        assert!(logins[0].children().is_none() && sheet.items[3].children().is_none());
        let fields = logins[1].children().unwrap();
        assert_eq!((fields.len(), fields[0].body.as_str()), (1, "      # no comment\n\n      x\n"));
        assert_eq!(sheet.items[3].above, "    # last\n");
    }

    #[test]
    fn lists_are_told_apart() {
        let sheet = Sheet::read(FILE).unwrap();
        let found = entries(&sheet.items[1]).unwrap();
        assert_eq!(found, [("age1x".to_string(), "- age1x # alice\n".to_string()), ("age1y".to_string(), "# bob\n- age1y\n".to_string())]);
        for other in ["r: [a, b]\n", "r:\n  - a\n    b\n", "r:\n  - - a\n", "r: a\n"] {
            assert!(entries(&Sheet::read(other).unwrap().items[0]).is_none(), "{other}");
        }
    }

    #[test]
    fn what_is_not_block_style_is_not_told_apart() {
        for text in ["{a: 1, b: 2}\n", "- a\n", "a\n", "? a\n: b\n", "a: 1\n  b: 2\n", "\"a\\x41\": 1\n", "a: &x 1\n*x : 2\n"] {
            assert!(Sheet::read(text).is_err(), "{text}");
        }
        for text in ["", "# only words\n", "---\n"] {
            assert!(Sheet::read(text).is_ok_and(|s| s.items.is_empty() && s.tail == text), "{text}");
        }
    }

    #[test]
    fn a_map_gets_and_loses_its_braces() {
        let line = |text: &str, is_empty| Sheet::read(text).unwrap().items[0].line_of_map(is_empty);
        assert_eq!(line("logins: {} # none\n", false), "logins: # none\n");
        assert_eq!(line("logins: # all\n  a: {}\n", true), "logins: {} # all\n");
        assert_eq!(
            (line("logins:\n", true), line("logins: {}\n", true), line("logins: {}", false)),
            ("logins: {}\n".into(), "logins: {}\n".into(), "logins:\n".into())
        );
    }
}
