//! YAML text to a tree in which every key and every value knows its place.
//!
//! The tree is narrower than YAML on purpose: one document, no tags, no anchors and aliases (so no bombs), no directives,
//! keys are text. What stands near a secret must never be shown, so no message here holds a value, a key or a snippet.

use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};
use zeroize::Zeroizing;

use super::INVENTORY_BYTES_MAX;
use crate::error::{Problem, rule};
use crate::model::conflict;

/// Scalars, lists and maps in one file; beyond this a file is an attack or a mistake.
const NODES_MAX: usize = 1_000_000;

/// Lists and maps inside each other; schema 1 needs 6.
const DEPTH_MAX: usize = 32;

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pos {
    /// Line, from 1; 0 stands for the file as a whole.
    pub(crate) line: u64,
    /// Column in characters, from 1.
    pub(crate) column: u64,
}

/// A value with its place.
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) value: Value,
}

pub(crate) enum Value {
    /// Text, number, truth value or nothing: YAML tells them apart by looks, and so does [`Node::word`].
    Scalar {
        text: Zeroizing<String>,
        style: ScalarStyle,
    },
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Whether the key is text to every YAML reader, and not a number, a truth value or nothing.
    pub(crate) key_is_text: bool,
    pub(crate) key_pos: Pos,
    pub(crate) value: Node,
}

impl Node {
    /// What it is, for messages: "text", "a number", ...
    pub(crate) fn word(&self) -> &'static str {
        match &self.value {
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar { text, style } => scalar_word(text, *style),
        }
    }

    /// Its text, if it is text to every YAML reader: quoted, or neither number, truth value nor nothing.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if self.word() == "text" => Some(text),
            _ => None,
        }
    }

    /// How a scalar is written in the file, quoted or not.
    pub(crate) fn scalar(&self) -> Option<(&str, ScalarStyle)> {
        match &self.value {
            Value::Scalar { text, style } => Some((text, *style)),
            _ => None,
        }
    }

    /// Whether there is no value at all.
    pub(crate) fn is_null(&self) -> bool {
        self.word() == "nothing"
    }
}

/// What a scalar is to the YAML readers in use: YAML 1.2's core schema, and the truth values of 1.1 (`on`, `yes`).
fn scalar_word(text: &str, style: ScalarStyle) -> &'static str {
    if style != ScalarStyle::Plain {
        return "text";
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => "nothing",
        t if ["true", "false", "yes", "no", "on", "off"].iter().any(|w| t.eq_ignore_ascii_case(w)) => "a truth value",
        t if is_number(t) => "a number",
        _ => "text",
    }
}

/// Whether a text would still be text if it stood without quotes.
pub(crate) fn is_text_when_plain(text: &str) -> bool {
    scalar_word(text, ScalarStyle::Plain) == "text"
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&digits) {
        return true;
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return !octal.is_empty() && octal.bytes().all(|b| (b'0'..=b'7').contains(&b));
    }
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}

/// Reads the one document of a file. Syntax stops at its first fault.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node, Box<Problem>> {
    let fault = |pos: Pos, message: String, hint: Option<&str>| {
        Box::new(Problem { rule: rule::INPUT, file: file.to_string(), line: pos.line, column: pos.column, message, hint: hint.map(str::to_string) })
    };
    if text.len() > INVENTORY_BYTES_MAX {
        return Err(fault(Pos::default(), format!("is larger than {} MiB", INVENTORY_BYTES_MAX >> 20), None));
    }
    if let Some(conflict) = conflict::find(text) {
        return Err(fault(Pos { line: conflict.first, column: 0 }, conflict.text(), Some(&conflict::hint(file))));
    }
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut builder = Builder { text, events: Parser::new_from_str_with_options(text, options), nodes: 0 };
    builder.document().map_err(|f| fault(f.pos, f.message, f.hint))
}

/// What ends the reading of a file.
struct Fault {
    pos: Pos,
    message: String,
    hint: Option<&'static str>,
}

struct Builder<'a> {
    text: &'a str,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Fault> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => return Err(fault(&span, "a second document starts here; regprov reads one document a file")),
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span, 0)?);
                }
                Event::StreamEnd => {
                    return root.ok_or(Fault { pos: Pos::default(), message: "is empty".into(), hint: None });
                }
                _ => return Err(fault(&span, "is no YAML that regprov understands")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(syntax(&error)),
            None => Err(Fault { pos: Pos::default(), message: "ends in the middle of a value".into(), hint: None }),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(fault(span, format!("more than {NODES_MAX} values in one file")));
        }
        if depth > DEPTH_MAX {
            return Err(fault(span, format!("lists and maps are nested more than {DEPTH_MAX} deep")));
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                plain_node(span, anchor, tag.is_some())?;
                Value::Scalar { text: Zeroizing::new(text.into_owned()), style }
            }
            Event::SequenceStart(_, anchor, tag) => {
                plain_node(span, anchor, tag.is_some())?;
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break Value::Seq(items);
                    }
                    items.push(self.node(event, &span, depth + 1)?);
                }
            }
            Event::MappingStart(_, anchor, tag) => {
                plain_node(span, anchor, tag.is_some())?;
                let mut entries: Vec<Entry> = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::MappingEnd) {
                        break Value::Map(entries);
                    }
                    entries.push(self.entry(event, &span, depth + 1)?);
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                return Err(Fault {
                    hint: Some("write the value out; a text that starts with `*` needs quotes"),
                    ..fault(span, "an alias: regprov reads none")
                });
            }
            _ => return Err(fault(span, "is no YAML that regprov understands")),
        };
        Ok(Node { pos: pos_of(span), value })
    }

    fn entry(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Entry, Fault> {
        let key = self.node(event, span, depth)?;
        let key_end = span.byte_range().map_or(0, |b| b.end);
        let key_is_text = key.text().is_some();
        let Value::Scalar { text, .. } = &key.value else {
            return Err(fault(span, "a key is a list or a map; regprov reads keys that are text"));
        };
        let (event, span) = self.next()?;
        let mut value = self.node(event, &span, depth)?;
        let bytes = span.byte_range().unwrap_or(0..0);
        if let Value::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. } = value.value {
            value.pos = self.block_header(key.pos, key_end..bytes.start).unwrap_or(value.pos);
        }
        if value.is_null() && bytes.is_empty() {
            // A value that is not there has no place of its own that a person would look at.
            value.pos = key.pos;
        }
        Ok(Entry { key: text.to_string(), key_is_text, key_pos: key.pos, value })
    }
}

impl Builder<'_> {
    /// The place of the `|` or `>` between a key and the first line of its block of text, with which the block begins for a
    /// person; for the parser it begins with that line.
    fn block_header(&self, key: Pos, between: Range<usize>) -> Option<Pos> {
        let from = between.start;
        let between = self.text.get(between)?;
        let mut comment = false;
        let (at, _) = between.char_indices().find(|(_, c)| {
            comment = *c == '#' || comment && *c != '\n';
            !comment && matches!(c, '|' | '>')
        })?;
        let before = &self.text[..from + at];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let column = before[line_start..].trim_start_matches('\u{feff}').chars().count() as u64 + 1;
        Some(Pos { line: key.line + between[..at].matches('\n').count() as u64, column })
    }
}

/// Refuses what hides a value's meaning or multiplies it.
fn plain_node(span: &Span, anchor: usize, tagged: bool) -> Result<(), Fault> {
    if tagged {
        let at = span.tag_start.map_or(pos_of(span), |m| Pos { line: m.line() as u64, column: m.col() as u64 + 1 });
        return Err(Fault { pos: at, message: "a tag: regprov reads none".into(), hint: Some("leave it out; a text that starts with `!` needs quotes") });
    }
    if anchor > 0 {
        return Err(Fault {
            hint: Some("write the value out where it is used; a text that starts with `&` needs quotes"),
            ..fault(span, "an anchor: regprov reads none")
        });
    }
    Ok(())
}

fn pos_of(span: &Span) -> Pos {
    Pos { line: span.start.line() as u64, column: span.start.col() as u64 + 1 }
}

fn fault(span: &Span, message: impl Into<String>) -> Fault {
    Fault { pos: pos_of(span), message: message.into(), hint: None }
}

/// The parser's own words where they hold nothing of the file, else ours.
fn syntax(error: &ScanError) -> Fault {
    let at = error.marker();
    let pos = Pos { line: at.line() as u64, column: at.col() as u64 + 1 };
    let (message, hint) = match error.kind() {
        ErrorKind::UnexpectedCharacter { .. } => ("not YAML: a value cannot start with this character".to_string(), Some("put the value into single quotes")),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => ("not YAML: a tab where YAML wants spaces".to_string(), Some("indent with spaces")),
        ErrorKind::RecursionLimitExceeded => (format!("lists and maps are nested more than {DEPTH_MAX} deep"), None),
        ErrorKind::DirectiveDisallowed => ("a directive: regprov reads none".to_string(), Some("remove the line that starts with `%`")),
        ErrorKind::MappingValueNotAllowed => {
            ("not YAML: a `:` where none may stand".to_string(), Some("check the indentation; a text with `: ` in it needs quotes"))
        }
        kind @ (ErrorKind::ExpectedFlowSequenceSeparator | ErrorKind::ExpectedFlowMappingSeparator) => {
            (format!("not YAML: {kind}"), Some("inside brackets and braces a text with `[`, `]`, `{`, `}` or `,` in it, such as a host list, needs quotes"))
        }
        kind => (format!("not YAML: {kind}"), None),
    };
    Fault { pos, message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> Node {
        parse("f", text).map_err(|p| p.to_string()).expect("the sample is YAML")
    }

    #[track_caller]
    fn refused(text: &str, want: &str) {
        let got = parse("f", text).map(|_| ()).unwrap_err().to_string();
        assert!(got.starts_with(want), "{got:?} for {text:?}, want {want:?}");
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let text = "a: 1\nb:\n  - x\n  - {c: 'd', e: }\n";
        let Value::Map(entries) = &ok(text).value else { panic!("a block map") };
        assert_eq!((entries[0].key_pos, entries[0].value.pos), (Pos { line: 1, column: 1 }, Pos { line: 1, column: 4 }));
        let Value::Seq(items) = &entries[1].value.value else { panic!("a list") };
        assert_eq!(items[1].pos, Pos { line: 4, column: 5 });
        let Value::Map(entries) = &items[1].value else { panic!("a flow map") };
        assert_eq!((entries[0].key_pos, entries[0].value.pos), (Pos { line: 4, column: 6 }, Pos { line: 4, column: 9 }));
        assert_eq!((entries[1].value.is_null(), entries[1].value.pos), (true, Pos { line: 4, column: 14 }));
    }

    #[test]
    fn a_merge_that_was_left_open_is_told_before_the_syntax() {
        let text = "version: 1\nlogins:\n  ngc:\n<<<<<<< HEAD\n    username: a\n=======\n    username: hunter2\n>>>>>>> theirs\n";
        refused(text, "f:4: an unresolved merge conflict (lines 4 to 8, in login `ngc`)\n  hint: keep one side and take the marker lines out");
    }

    #[test]
    fn a_block_of_text_begins_with_its_indicator() {
        for (text, pos) in [("a:\n  b: |-\n    x\n", (2, 6)), ("a:\n  b: # c|d\n    >\n    x\n", (3, 5))] {
            let Value::Map(entries) = ok(text).value else { panic!("a map") };
            let Value::Map(entries) = &entries[0].value.value else { panic!("a map") };
            let value = &entries[0].value;
            assert_eq!((value.pos.line, value.pos.column), pos);
        }
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
        for text in ["\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\n", "a: 1\nb: |\n  x\n  y\n"] {
            let Value::Map(entries) = ok(text).value else { panic!("a map") };
            assert_eq!((entries[0].key.as_str(), entries[0].key_pos), ("a", Pos { line: 1, column: 1 }));
            assert_eq!(entries[1].key_pos, Pos { line: 2, column: 1 });
            assert_eq!(entries[1].value.text(), Some("x\ny\n"));
        }
    }

    #[test]
    fn what_a_scalar_is() {
        let cases = [
            ("", "nothing"),
            ("~", "nothing"),
            ("null", "nothing"),
            ("''", "text"),
            ("1", "a number"),
            ("0640", "a number"),
            ("-1.5e3", "a number"),
            ("0x1f", "a number"),
            (".inf", "a number"),
            ("1e5", "a number"),
            ("'1'", "text"),
            ("on", "a truth value"),
            ("No", "a truth value"),
            ("\"on\"", "text"),
            ("inf", "text"),
            ("nan", "text"),
            ("10.0.0.5", "text"),
            ("2027-03-01", "text"),
            ("$oauthtoken", "text"),
            ("[]", "a list"),
            ("{}", "a map"),
        ];
        for (yaml, want) in cases {
            let Value::Map(entries) = ok(&format!("k: {yaml}\n")).value else { panic!("a map") };
            assert_eq!(entries[0].value.word(), want, "{yaml}");
        }
    }

    #[test]
    fn what_is_not_read() {
        refused("", "f: is empty");
        refused("# nothing\n", "f: is empty");
        refused("a: 1\n---\nb: 2\n", "f:2:1: a second document");
        refused("a: &x 1\n", "f:1:");
        refused("a: *hunter2\n", "f:1:4: an alias");
        refused("a: &x [1]\nb: *x\n", "f:1:");
        refused("a: !vault |\n  x\n", "f:1:4: a tag");
        refused("%YAML 1.2\n---\na: 1\n", "f:1:1: a directive");
        refused("a:\n\tb: 1\n", "f:2:2: not YAML: a tab");
        refused("a: @hunter2\n", "f:1:4: not YAML: a value cannot start with this character");
        refused("a: b: c\n", "f:1:5: not YAML: a `:`");
        refused("a: [1\n", "f:");
        refused("a: \"1\n", "f:");
        refused("a: [n[1-2]]\n", "f:1:6: not YAML: while parsing a flow sequence, expected ',' or ']'\n  hint: inside brackets and braces");
        refused("a: {b: n[1-2]}\n", "f:1:9: not YAML: while parsing a flow mapping, did not find expected ',' or '}'\n  hint: inside brackets and braces");
        refused("? [a]\n: 1\n", "f:1:3: a key is a list or a map");
        refused("a: 1\n\u{feff}b: 2\n", "f:2:1: not YAML");
        refused(&format!("a: {}{}", "[".repeat(40), "]".repeat(40)), "f:1:36: lists and maps are nested more than 32 deep");
        refused(&"a:\n".lines().map(str::to_string).chain((1..40).map(|i| format!("{}a:", " ".repeat(i)))).collect::<Vec<_>>().join("\n"), "f:33:33: lists");
        refused(&"x".repeat(INVENTORY_BYTES_MAX + 1), "f: is larger than 4 MiB");
        refused(&format!("[{}]", "1,".repeat(NODES_MAX + 1)), "f:1:");
    }

    #[test]
    fn no_message_shows_a_value() {
        for text in [
            "a: *hunter2\n",
            "a: &hunter2 1\n",
            "a: !hunter2 1\n",
            "a: @hunter2\n",
            "a: %hunter2\n",
            "a: `hunter2\n",
            "p: hunter2: x\n",
            "p: \"\\hunter2\"\n",
            "p: [hunter2\n",
        ] {
            let shown = parse("f", text).map(|_| ()).unwrap_err().to_string();
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
