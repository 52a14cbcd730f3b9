//! A YAML file as lines: where its keys and their values stand, in block style.

use std::ops::Range;

use crate::model::text::is_invisible;

/// A file as lines, each with its line break.
pub(in crate::vault) struct Lines<'a> {
    pub(in crate::vault) lines: Vec<&'a str>,
    pub(super) eol: &'static str,
}

impl<'a> Lines<'a> {
    pub(in crate::vault) fn new(text: &'a str) -> Self {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let eol = if lines.first().is_some_and(|l| l.ends_with("\r\n")) { "\r\n" } else { "\n" };
        Lines { lines, eol }
    }

    /// Spaces before the first character; `None` for lines without content: blank, or only a comment.
    pub(in crate::vault) fn indent(&self, i: usize) -> Option<usize> {
        let content = self.lines[i].trim_start_matches(' ');
        let bare = content.trim();
        (!bare.is_empty() && !bare.starts_with('#')).then(|| self.lines[i].len() - content.len())
    }

    /// The lines after `at`, within `within`, that are indented deeper than `indent`: the value of a block key. Blank lines
    /// and comments behind it belong to what follows.
    pub(super) fn value_of(&self, at: usize, indent: usize, within: &Range<usize>) -> Range<usize> {
        let mut end = at + 1;
        for i in at + 1..within.end {
            match self.indent(i) {
                Some(n) if n > indent => end = i + 1,
                Some(_) => break,
                None => {}
            }
        }
        at + 1..end
    }

    /// Where a login stands, when it does in block style.
    pub(in crate::vault) fn login(&self, name: &str) -> Option<LoginPlace> {
        let all = 0..self.lines.len();
        let (at, _) = self.find_key("logins", 0, all.clone())?;
        let section = self.value_of(at, 0, &all);
        let indent = section.clone().find_map(|i| self.indent(i))?;
        let (key, value) = self.find_key(name, indent, section.clone())?;
        let (value, comment) = split_comment(value);
        let fields = self.value_of(key, indent, &section);
        // The comment goes with the space before it, which `find_key` took away.
        value.is_empty().then(|| LoginPlace {
            section,
            key,
            indent,
            comment: if comment.is_empty() { String::new() } else { format!(" {}", comment.trim()) },
            fields,
        })
    }

    /// The lines of the login's fields, and their indentation, where it stands in block style.
    pub(in crate::vault) fn fields_of(&self, login: &str) -> Option<(Range<usize>, usize)> {
        let fields = self.login(login)?.fields;
        let indent = fields.clone().find_map(|i| self.indent(i))?;
        Some((fields, indent))
    }

    /// The line within `within` that holds the key `name` at exactly this indentation, and what stands behind its colon.
    pub(in crate::vault) fn find_key(&self, name: &str, indent: usize, within: Range<usize>) -> Option<(usize, &'a str)> {
        within.into_iter().filter(|&i| self.indent(i) == Some(indent)).find_map(|i| Some((i, value_behind(self.lines[i].trim(), name)?)))
    }

    pub(in crate::vault) fn replace(&self, range: Range<usize>, new: &[String]) -> String {
        let mut out: String = self.lines[..range.start].concat();
        // A file may end without a line break.
        if !out.is_empty() && !out.ends_with('\n') && !new.is_empty() {
            out.push_str(self.eol);
        }
        for line in new {
            out.push_str(line);
            out.push_str(self.eol);
        }
        out.push_str(&self.lines[range.end..].concat());
        out
    }
}

/// Where a login stands, in lines.
pub(in crate::vault) struct LoginPlace {
    /// All logins.
    pub(in crate::vault) section: Range<usize>,
    /// The line of its name.
    pub(in crate::vault) key: usize,
    /// How far that is indented.
    pub(in crate::vault) indent: usize,
    /// The comment behind its name, with the space before it.
    pub(in crate::vault) comment: String,
    /// Its fields.
    pub(in crate::vault) fields: Range<usize>,
}

/// What stands behind `name:` on a line, trimmed; the key may be quoted.
fn value_behind<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let after = [name.to_string(), format!("'{}'", name.replace('\'', "''")), format!("\"{name}\"")].iter().find_map(|key| line.strip_prefix(key.as_str()))?;
    let value = after.trim_start().strip_prefix(':')?;
    (value.is_empty() || value.starts_with([' ', '\t'])).then(|| value.trim())
}

/// The lines of a field (empty when there is none) and the comment behind its value, with the space before it.
pub(in crate::vault) fn field(lines: &[String], name: &str, indent: usize) -> (Range<usize>, String) {
    let view = Lines { lines: lines.iter().map(String::as_str).collect(), eol: "\n" };
    let all = 0..lines.len();
    match view.find_key(name, indent, all.clone()) {
        Some((at, value)) => (at..view.value_of(at, indent, &all).end, split_comment(value).1.to_string()),
        None => (0..0, String::new()),
    }
}

pub(in crate::vault) fn password_lines_of(key: &str, armored: &str, indent: usize, step: usize, comment: &str) -> Vec<String> {
    let deeper = indent + step;
    let head = format!("{:indent$}{key}: |{comment}", "");
    std::iter::once(head).chain(armored.lines().map(|line| format!("{:deeper$}{line}", ""))).collect()
}

/// A value on one line and the comment behind it, the comment with the white space before it.
pub(in crate::vault) fn split_comment(value: &str) -> (&str, &str) {
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let mut quoted = quote.is_some();
    let mut before = ' ';
    for (i, c) in value.char_indices() {
        if c == '#' && !quoted && before.is_whitespace() {
            let value_end = value[..i].trim_end().len();
            let comment = if value_end == 0 { i } else { value_end };
            return (&value[..value_end], if value_end == 0 { &value[comment..] } else { &value[value_end..] });
        }
        if i > 0 && Some(c) == quote && !(c == '"' && before == '\\') {
            quoted = !quoted;
        }
        // A backslash that is escaped itself escapes nothing.
        before = if quoted && c == '\\' && before == '\\' { ' ' } else { c };
    }
    (value, "")
}

/// A string as a YAML scalar that every YAML 1.1 and 1.2 reader takes as this string, and in which a person sees all of it: plain where that is
/// certain, else as [`push_quoted`] writes it.
pub fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_string();
    }
    let mut out = String::new();
    push_quoted(&mut out, text);
    out
}

/// Whether a text may stand without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"];
    // A date is a date to some readers; the inventory's `expires` is documented as one.
    if text.len() == 10 && text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() }) {
        return true;
    }
    let inside = |c: char| c.is_ascii_alphanumeric() || "_$./\\@+=-: ".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || "_$/".contains(c))
        && text.chars().all(inside)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// In single quotes; where something in it is not seen or YAML would not keep it, in double quotes with escapes.
pub fn push_quoted(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    if !text.chars().any(needs_escape) {
        out.push('\'');
        text.split_inclusive('\'').for_each(|part| {
            out.push_str(part);
            if part.ends_with('\'') {
                out.push('\'');
            }
        });
        out.push('\'');
        return;
    }
    out.push('"');
    for c in text.chars() {
        let _ = match (c, u32::from(c)) {
            ('"' | '\\', _) => write!(out, "\\{c}"),
            ('\n', _) => out.write_str("\\n"),
            ('\r', _) => out.write_str("\\r"),
            ('\t', _) => out.write_str("\\t"),
            (c, _) if !needs_escape(c) => out.write_char(c),
            (_, n @ ..0x100) => write!(out, "\\x{n:02x}"),
            (_, n @ ..0x1_0000) => write!(out, "\\u{n:04x}"),
            (_, n) => write!(out, "\\U{n:08x}"),
        };
    }
    out.push('"');
}

/// Control characters, what is not seen, white space that looks like a space, and what no YAML file may hold.
pub fn needs_escape(c: char) -> bool {
    is_invisible(c) || (c.is_whitespace() && c != ' ') || matches!(c, '\u{fffe}' | '\u{ffff}')
}
