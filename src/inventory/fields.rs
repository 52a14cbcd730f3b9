//! Typed access to a [`yaml`](super::yaml) tree. Every fault is put on a list and the reading goes on, so that the admin
//! sees all of them at once. Messages name keys and kinds of values, never a value, unless the caller says that it is a name.

use super::yaml::{Entry, Node, Pos, Value};
use crate::error::{Problem, rule};

/// One file being read and what was found wrong in it.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a str,
    pub(crate) problems: &'a mut Vec<Problem>,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) pos: Pos,
}

/// What keys a map may have.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    /// Those that are read.
    pub(crate) known: &'static [&'static str],
    /// Those that a later schema gives a meaning.
    pub(crate) reserved: &'static [&'static str],
    /// Whether an unknown key may be a piece of a password (`{password: a,b}` makes `b` a key) and must not be shown.
    pub(crate) private: bool,
}

impl Reader<'_> {
    pub(crate) fn fault(&mut self, pos: Pos, message: impl Into<String>) {
        self.fault_of(rule::INPUT, pos, message, None);
    }

    pub(crate) fn fault_hint(&mut self, pos: Pos, message: impl Into<String>, hint: impl Into<String>) {
        self.fault_of(rule::INPUT, pos, message, Some(hint.into()));
    }

    /// A fault that has a name of its own; see [`rule`].
    pub(crate) fn fault_of(&mut self, rule: &'static str, pos: Pos, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(Problem { rule, file: self.file.to_string(), line: pos.line, column: pos.column, message: message.into(), hint });
    }

    /// The entries of a map whose keys are names that the admin chose; each key once.
    pub(crate) fn named<'n>(&mut self, node: &'n Node, what: &str) -> Vec<&'n Entry> {
        let Some(entries) = self.entries(node, what) else { return Vec::new() };
        let mut names: std::collections::BTreeMap<&str, Pos> = std::collections::BTreeMap::new();
        let mut kept = Vec::new();
        for entry in entries {
            if entry.key == "<<" {
                self.fault_hint(entry.key_pos, format!("a merge key in {what}: regprov reads none"), "write the keys out");
            } else if !entry.key_is_text {
                self.fault_hint(entry.key_pos, format!("a name in {what} is a number, a truth value or nothing to YAML"), "put the name into quotes");
            } else if let Some(first) = names.get(entry.key.as_str()) {
                self.fault(entry.key_pos, format!("`{}` stands twice in {what}; first on line {}", entry.key, first.line));
            } else {
                names.insert(&entry.key, entry.key_pos);
                kept.push(entry);
            }
        }
        kept
    }

    /// The entries of a map whose keys the schema names; each key once.
    pub(crate) fn keyed<'n>(&mut self, node: &'n Node, what: &str, keys: Keys) -> Fields<'n> {
        let mut fields = Fields { entries: Vec::new() };
        let Some(entries) = self.entries(node, what) else { return fields };
        for entry in entries {
            let key = entry.key.as_str();
            if keys.known.contains(&key) {
                if let Some(first) = fields.get(key) {
                    let line = first.key_pos.line;
                    self.fault(entry.key_pos, format!("`{key}` stands twice in {what}; first on line {line}"));
                } else {
                    fields.entries.push(entry);
                }
            } else if keys.reserved.contains(&key) {
                self.fault(entry.key_pos, format!("`{key}` in {what} is not supported yet"));
            } else {
                self.unknown_key(entry, what, keys);
            }
        }
        fields
    }

    fn unknown_key(&mut self, entry: &Entry, what: &str, keys: Keys) {
        let known = || keys.known.iter().copied();
        let meant = suggest(&entry.key, known());
        match meant {
            Some(meant) => self.fault_hint(entry.key_pos, format!("unknown key `{}` in {what}", entry.key), format!("did you mean `{meant}`?")),
            None if entry.key == "<<" => self.fault_hint(entry.key_pos, format!("a merge key in {what}: regprov reads none"), "write the keys out"),
            // `runai/cluster-wide` beside `labels:` instead of below it.
            None if entry.key.contains('/') && keys.known.contains(&"labels") => {
                let hint = "a label stands below `labels:`, indented, and an annotation below `annotations:`";
                self.fault_hint(entry.key_pos, format!("unknown key `{}` in {what}", entry.key), hint);
            }
            None if keys.private => self.fault_hint(
                entry.key_pos,
                format!("unknown key in {what} (not shown: it may be a piece of a password)"),
                format!("the keys are {}; a password with `,` or `: ` in it needs quotes", known().collect::<Vec<_>>().join(", ")),
            ),
            None => self.fault_hint(
                entry.key_pos,
                format!("unknown key `{}` in {what}", entry.key),
                format!("the keys are {}", known().collect::<Vec<_>>().join(", ")),
            ),
        }
    }

    fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Entry]> {
        if let Value::Map(entries) = &node.value {
            return Some(entries);
        }
        self.fault(node.pos, format!("{what} must be a map of keys and values, not {}", node.word()));
        None
    }

    /// Text; a number or truth value is refused, since other YAML readers would not see the same.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<Placed<&'n str>> {
        if let Some(text) = node.text() {
            return Some(Placed { value: text, pos: node.pos });
        }
        let message = format!("{what} must be text, not {}", node.word());
        match node.word() {
            "a number" | "a truth value" => self.fault_hint(node.pos, message, "put it into quotes"),
            _ => self.fault(node.pos, message),
        }
        None
    }

    /// A program and its arguments.
    pub(crate) fn argv(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        if !matches!(node.value, Value::Seq(_)) {
            let message = format!("{what} must be a list, not {}", node.word());
            self.fault_hint(node.pos, message, "there is no shell: write `[PROGRAM, ARGUMENT]`");
            return None;
        }
        let argv: Vec<String> = self.texts(node, what)?.into_iter().map(|t| t.value.to_string()).collect();
        if argv.first().is_none_or(String::is_empty) || argv.iter().any(|a| a.contains('\0')) {
            self.fault(node.pos, format!("{what} names no program"));
            return None;
        }
        Some(argv)
    }

    /// Text or a number, as it is written.
    pub(crate) fn text_or_number<'n>(&mut self, node: &'n Node, what: &str) -> Option<Placed<&'n str>> {
        match node.scalar() {
            Some((text, _)) if node.word() == "a number" => Some(Placed { value: text, pos: node.pos }),
            _ => self.text(node, what),
        }
    }

    /// A whole number without quotes.
    pub(crate) fn number(&mut self, node: &Node, what: &str) -> Option<Placed<u64>> {
        let written = node.scalar().filter(|_| node.word() == "a number").map(|(text, _)| text);
        match written.and_then(|t| if t.len() > 1 && t.starts_with('0') { None } else { t.parse().ok() }) {
            Some(value) => Some(Placed { value, pos: node.pos }),
            None if written.is_some() => {
                self.fault(node.pos, format!("{what} must be a whole number"));
                None
            }
            None => {
                let message = format!("{what} must be a number, not {}", node.word());
                match node.text() {
                    Some(t) if t.parse::<u64>().is_ok() => self.fault_hint(node.pos, message, "remove the quotes"),
                    _ => self.fault(node.pos, message),
                }
                None
            }
        }
    }

    /// `true` or `false`, without quotes.
    pub(crate) fn flag(&mut self, node: &Node, what: &str) -> Option<Placed<bool>> {
        match node.scalar().map(|(text, _)| text).filter(|_| node.word() == "a truth value") {
            Some("true") => Some(Placed { value: true, pos: node.pos }),
            Some("false") => Some(Placed { value: false, pos: node.pos }),
            _ => {
                self.fault_hint(node.pos, format!("{what} must be a truth value, not {}", node.word()), "write `true` or `false`, without quotes");
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<Placed<&'n str>>> {
        let Value::Seq(items) = &node.value else {
            let message = format!("{what} must be a list, not {}", node.word());
            match node.value {
                Value::Scalar { .. } if !node.is_null() => self.fault_hint(node.pos, message, "put it into brackets: [...]"),
                _ => self.fault(node.pos, message),
            }
            return None;
        };
        let what = format!("an item of {what}");
        Some(items.iter().filter_map(|item| self.text(item, &what)).collect())
    }

    /// One text or a list of texts.
    pub(crate) fn one_or_more<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<Placed<&'n str>>> {
        match node.value {
            Value::Seq(_) => self.texts(node, what),
            _ => self.text(node, what).map(|t| vec![t]),
        }
    }

    /// `None` for a list of more than [`LIST_MAX`](super::LIST_MAX) items, which would cost more to check than it can mean.
    pub(crate) fn short(&mut self, node: &Node, what: &str) -> Option<()> {
        match &node.value {
            Value::Seq(items) if items.len() > super::LIST_MAX => {
                self.fault(node.pos, format!("{what} has more than {} items", super::LIST_MAX));
                None
            }
            _ => Some(()),
        }
    }

    /// A list of names, each once.
    pub(crate) fn names(&mut self, node: &Node, what: &str) -> Option<Vec<Placed<String>>> {
        let mut names: Vec<Placed<String>> = Vec::new();
        self.short(node, what)?;
        for item in self.texts(node, what)? {
            if names.iter().any(|n| n.value == item.value) {
                self.fault(item.pos, format!("`{}` stands twice in {what}", item.value));
            } else {
                names.push(Placed { value: item.value.to_string(), pos: item.pos });
            }
        }
        Some(names)
    }
}

/// The known entries of a map.
pub(crate) struct Fields<'n> {
    entries: Vec<&'n Entry>,
}

impl<'n> Fields<'n> {
    pub(crate) fn get(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().copied().find(|e| e.key == key)
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'n Node> {
        self.get(key).map(|e| &e.value)
    }
}

/// The candidate that a mistyped word most likely means: at most two slips, and less than half of the word.
pub(crate) fn suggest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = word.chars().count();
    candidates
        .into_iter()
        .filter(|c| c.chars().count().abs_diff(length) <= 2)
        .map(|c| (strsim::damerau_levenshtein(word, c), c))
        .filter(|(slips, c)| *slips <= 2 && slips * 2 < c.chars().count())
        .min()
        .map(|(_, c)| c)
}

/// `did you mean ...?`, or the names there are when they are few.
pub(crate) fn hint_for<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str> + Clone, what: &str) -> Option<String> {
    if let Some(meant) = suggest(word, candidates.clone()) {
        return Some(format!("did you mean `{meant}`?"));
    }
    let all: Vec<&str> = candidates.into_iter().take(9).collect();
    match all.len() {
        0 => Some(format!("there are no {what}")),
        1..=8 => Some(format!("the {what} are {}", all.join(", "))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near() {
        let keys = ["hosts", "children", "logins", "targets"];
        for (word, want) in [("host", Some("hosts")), ("tragets", Some("targets")), ("login", Some("logins")), ("x", None), ("password", None), ("", None)] {
            assert_eq!(suggest(word, keys), want, "{word}");
        }
        assert_eq!(hint_for("zzz", ["ngc", "hub"], "logins").as_deref(), Some("the logins are ngc, hub"));
        assert_eq!(hint_for("ngcc", ["ngc", "hub"], "logins").as_deref(), Some("did you mean `ngc`?"));
    }
}
