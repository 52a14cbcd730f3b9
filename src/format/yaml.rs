//! YAML as a file on a node holds it: a tree in which every node knows its bytes, so that an entry is changed by splicing text and
//! what others wrote stays byte for byte.
//!
//! Beside the inventory's reader, which is stricter: a foreign file may hold anchors, aliases and tags. They are kept, and only an
//! edit that would touch one is refused. No message holds a value.

use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StructureStyle};
use zeroize::Zeroizing;

/// Scalars, lists and maps in one file, which is at most 1 MiB.
const NODES_MAX: usize = 100_000;
/// Lists and maps inside each other.
const DEPTH_MAX: usize = 32;

/// A value and where it stands.
pub(crate) struct Node {
    /// Its bytes; those of a block list or map reach to the end of what it holds.
    pub(crate) at: Range<usize>,
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 0: the indentation of what stands first on its line.
    pub(crate) column: usize,
    /// Whether it has an anchor or a tag, so that its meaning is not its text alone.
    pub(crate) marked: bool,
    pub(crate) value: Value,
}

pub(crate) enum Value {
    Scalar { text: Zeroizing<String>, plain: bool },
    Alias,
    Seq(Vec<Node>),
    Map { entries: Vec<Entry>, flow: bool },
}

/// A key and its value.
pub(crate) struct Entry {
    pub(crate) key: Node,
    pub(crate) value: Node,
}

impl Entry {
    /// The bytes from the key to the end of the value.
    pub(super) fn at(&self) -> Range<usize> {
        self.key.at.start..self.key.at.end.max(self.value.at.end)
    }

    /// The key, if it is text alone.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.key.value {
            Value::Scalar { text, .. } if !self.key.marked => Some(text),
            _ => None,
        }
    }
}

impl Node {
    /// A map's entries; none for every other kind of value.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map { entries, .. } => entries,
            _ => &[],
        }
    }

    /// The entry of a key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.name() == Some(key))
    }

    /// Whether there is no value: nothing at all, or one of the words for it.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// A scalar's text; empty for null, as Go's decoder has it for a string.
    pub(super) fn text(&self) -> Option<Zeroizing<String>> {
        match &self.value {
            _ if self.is_null() => Some(Zeroizing::default()),
            Value::Scalar { text, .. } => Some(text.clone()),
            _ => None,
        }
    }

    /// Whether something in it has an anchor or a tag, or is an alias.
    pub(super) fn holds_marks(&self) -> bool {
        self.marked
            || match &self.value {
                Value::Alias => true,
                Value::Scalar { .. } => false,
                Value::Seq(items) => items.iter().any(Node::holds_marks),
                Value::Map { entries, .. } => entries.iter().any(|e| e.key.holds_marks() || e.value.holds_marks()),
            }
    }

    /// Whether both mean the same; `texts` are those that the nodes were read from.
    pub(super) fn is(&self, other: &Node, texts: (&str, &str)) -> bool {
        self.marked == other.marked
            && match (&self.value, &other.value) {
                (Value::Scalar { text: a, plain: p }, Value::Scalar { text: b, plain: q }) => a == b && p == q,
                (Value::Alias, Value::Alias) => texts.0[self.at.clone()] == texts.1[other.at.clone()],
                (Value::Seq(a), Value::Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b, texts)),
                (Value::Map { entries: a, .. }, Value::Map { entries: b, .. }) => {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key.is(&b.key, texts) && a.value.is(&b.value, texts))
                }
                _ => false,
            }
    }
}

/// Reads the one document of a file; `None` when it holds nothing. The error names the line.
pub(super) fn parse(text: &str) -> Result<Option<Node>, String> {
    let mut all = documents(text)?.into_iter();
    match (all.next(), all.next()) {
        (_, Some((line, _))) => Err(format!("line {line}: a second document starts there; keep one")),
        (root, None) => Ok(root.map(|(_, root)| root).filter(|r| !(r.is_null() && r.at.is_empty()))),
    }
}

/// Reads all documents of a file, each with the line on which it starts. The error names the line.
pub(crate) fn documents(text: &str) -> Result<Vec<(usize, Node)>, String> {
    if let Some(line) = text.lines().position(|l| l.trim_end() == "...") {
        return Err(format!("line {}: `...` ends the document there; remove that line", line + 1));
    }
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut reader = Reader { events: Parser::new_from_str_with_options(text, options), nodes: 0 };
    let mut roots = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) => {
                let line = span.start.line();
                let (event, span) = reader.next()?;
                roots.push((line, reader.node(event, &span, 0)?));
            }
            Event::StreamEnd => return Ok(roots),
            _ => return Err(format!("line {}: no YAML that regprov understands", span.start.line())),
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(syntax(&error)),
            None => Err("it ends in the middle of a value".into()),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            return Err(format!("line {}: more than {NODES_MAX} values, or more than {DEPTH_MAX} inside each other", span.start.line()));
        }
        let mut at = span.byte_range().unwrap_or(0..0);
        let (mut line, mut column) = (span.start.line(), span.start.col());
        let (value, marked) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (Value::Scalar { text: Zeroizing::new(text.into_owned()), plain: style == ScalarStyle::Plain }, anchor > 0 || tag.is_some())
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => (Value::Alias, false),
            Event::SequenceStart(style, anchor, tag) => {
                let mut items: Vec<Node> = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        at.end = end(style, &span, items.last().map(|i| i.at.end), at.end);
                        break;
                    }
                    items.push(self.node(event, &span, depth + 1)?);
                }
                (Value::Seq(items), anchor > 0 || tag.is_some())
            }
            Event::MappingStart(style, anchor, tag) => {
                let entries = self.entries(style, &mut at, depth)?;
                let flow = style == StructureStyle::Flow;
                if let Some(first) = entries.first().filter(|_| !flow) {
                    (at.start, line, column) = (first.key.at.start, first.key.line, first.key.column);
                }
                (Value::Map { entries, flow }, anchor > 0 || tag.is_some())
            }
            _ => return Err(format!("line {line}: no YAML that regprov understands")),
        };
        if matches!(&value, Value::Scalar { text, plain: true } if text.is_empty()) {
            at.end = at.start;
        }
        Ok(Node { at, line, column, marked, value })
    }

    /// A map's entries, each key once, as Go's decoder demands it.
    fn entries(&mut self, style: StructureStyle, at: &mut Range<usize>, depth: usize) -> Result<Vec<Entry>, String> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                at.end = end(style, &span, entries.last().map(|e| e.at().end), at.end);
                return Ok(entries);
            }
            let key = self.node(event, &span, depth + 1)?;
            let (event, span) = self.next()?;
            let mut value = self.node(event, &span, depth + 1)?;
            if value.at.is_empty() && style == StructureStyle::Block {
                // A value that is not there may be placed at the next token, lines below.
                value.at = key.at.end..key.at.end;
            }
            let entry = Entry { key, value };
            if entry.name().is_some_and(|name| !names.insert(name.to_string())) {
                return Err(format!("line {}: a key stands twice in one map; remove one", entry.key.line));
            }
            entries.push(entry);
        }
    }
}

/// Where a list or map ends: behind its bracket, or with the last thing that it holds.
fn end(style: StructureStyle, span: &Span, last: Option<usize>, start: usize) -> usize {
    match style {
        StructureStyle::Flow => span.byte_range().map_or(start, |b| b.end),
        StructureStyle::Block => last.unwrap_or(start),
    }
}

/// The parser's error, without its words, which may quote the file.
fn syntax(error: &ScanError) -> String {
    let line = error.marker().line();
    match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => format!("line {line}: a tab where YAML wants spaces"),
        ErrorKind::DirectiveDisallowed => format!("line {line}: a directive, which regprov does not read; remove it"),
        _ => format!("line {line}: this is not YAML"),
    }
}

/// Where the line after this place begins, or the text ends.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    if at > 0 && text[..at].ends_with('\n') {
        return at;
    }
    text[at..].find('\n').map_or(text.len(), |n| at + n + 1)
}

/// Where the line of this place begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |n| n + 1)
}
