//! Values of Ansible's variables, out of YAML, JSON and the INI files' Python literals. Only what a connection needs is told apart.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use zeroize::Zeroizing;

/// Values in one file, those that aliases repeat included; beyond this a file is an attack or a mistake.
const VALUES_MAX: usize = 1_000_000;

/// Lists and maps inside each other.
const DEPTH_MAX: usize = 64;

/// One value. It may be a password, so only tests can print it.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Value {
    /// Nothing: `null`, `None`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(Zeroizing<String>),
    /// `!unsafe`: text in which braces are no template.
    Unsafe(Zeroizing<String>),
    /// A number that is not whole, as it is written; Ansible may write it in another way.
    Float(String),
    /// `!vault`: sealed by ansible-vault, as it is written.
    Vault(String),
    /// A list.
    List(Vec<Value>),
    /// A map in the order of the file; of equal keys the last holds.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The value of a key that is text.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.iter().rev().find(|(k, _)| matches!(k, Value::Text(t) if t.as_str() == key)).map(|(_, v)| v),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Int(_) => "a number",
            Value::Float(_) => "a number that is not whole",
            Value::Text(_) | Value::Unsafe(_) => "text",
            Value::Vault(_) => "encrypted",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    fn of_text(text: String) -> Value {
        Value::Text(text.into())
    }

    /// A value as `ast.literal_eval` reads it, which is what Ansible's INI reader does; what is no literal is text. Lists and maps stay
    /// text: nothing that a connection needs is one.
    pub(super) fn of_python(text: &str) -> Value {
        let without_comment = text.split('#').next().unwrap_or("").trim();
        match without_comment {
            "True" => return Value::Bool(true),
            "False" => return Value::Bool(false),
            "None" => return Value::Null,
            _ => {}
        }
        if let Some(number) = python_int(without_comment) {
            return Value::Int(number);
        }
        Value::of_text(python_string(text).unwrap_or_else(|| text.to_string()))
    }

    /// JSON as the output of a program has it.
    pub(super) fn of_json(value: &serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => n.as_i64().map_or_else(|| Value::Float(n.to_string()), Value::Int),
            serde_json::Value::String(s) => Value::of_text(s.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Value::of_json).collect()),
            // ansible-inventory writes a sealed value so.
            serde_json::Value::Object(map) if map.contains_key("__ansible_vault") => Value::Vault(map["__ansible_vault"].as_str().unwrap_or_default().into()),
            serde_json::Value::Object(map) => Value::Map(map.iter().map(|(k, v)| (Value::of_text(k.clone()), Value::of_json(v))).collect()),
        }
    }
}

/// Decimal without leading zeros, `0x`, `0o`, `0b`; `_` between digits.
fn python_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let plain = digits.replace('_', "").to_ascii_lowercase();
    let number = match plain.get(..2) {
        Some("0x") => i64::from_str_radix(&plain[2..], 16),
        Some("0o") => i64::from_str_radix(&plain[2..], 8),
        Some("0b") => i64::from_str_radix(&plain[2..], 2),
        _ if plain.starts_with('0') && plain.bytes().any(|b| b != b'0') => return None,
        _ => plain.parse(),
    };
    number.ok().map(|n| if negative { -n } else { n })
}

/// A quoted text, and behind it nothing but a comment.
fn python_string(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut out = String::new();
    let mut rest = text[1..].chars();
    loop {
        match rest.next()? {
            c if c == quote => break,
            '\\' => match rest.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                c @ ('\\' | '\'' | '"') => out.push(c),
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    let behind = rest.as_str().trim_start();
    (behind.is_empty() || behind.starts_with('#')).then_some(out)
}

/// Reads the one document of a YAML file as PyYAML does (YAML 1.1): anchors, aliases, merge keys and tags may stand in it. The error
/// names the line and never a value.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let options = granit_parser::options! { emit_comments: false, flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    let mut builder = Builder { events: Parser::new_from_str_with_options(text, options), anchors: HashMap::new(), values: 0 };
    builder.document()
}

struct Builder<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Value, String> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => return Err(at(&span, "a second document starts here")),
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.value(event, &span, 0)?);
                }
                Event::StreamEnd => return Ok(root.unwrap_or(Value::Null)),
                _ => return Err(at(&span, "is no YAML")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(format!("line {}: is no YAML", error.marker().line())),
            None => Err("ends in the middle of a value".into()),
        }
    }

    fn value(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Value, String> {
        self.spend(1, span)?;
        if depth > DEPTH_MAX {
            return Err(at(span, format!("lists and maps are nested more than {DEPTH_MAX} deep")));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_ref().map(|t| t.suffix().trim_start_matches('!'));
                let value = match tag {
                    Some("vault" | "vault-encrypted") => Value::Vault(text.into_owned()),
                    Some("unsafe") => Value::Unsafe(text.into_owned().into()),
                    None if style == ScalarStyle::Plain => resolve(&text),
                    Some(_) | None => Value::of_text(text.into_owned()),
                };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.value(event, &span, depth + 1)?);
                }
                (Value::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (mut merged, mut own) = (Vec::new(), Vec::new());
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::MappingEnd) {
                        break;
                    }
                    let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
                    let key = self.value(event, &span, depth + 1)?;
                    let (event, span) = self.next()?;
                    match self.value(event, &span, depth + 1)? {
                        Value::Map(entries) if is_merge => merged.extend(entries),
                        // Of several, the first wins (YAML's merge key); and of equal keys, the last of ours.
                        Value::List(maps) if is_merge => merged.extend(maps.into_iter().rev().flat_map(|m| match m {
                            Value::Map(entries) => entries,
                            _ => Vec::new(),
                        })),
                        value => own.push((key, value)),
                    }
                }
                merged.extend(own);
                (Value::Map(merged), anchor)
            }
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned().ok_or_else(|| at(span, "an alias within what it stands for"))?;
                self.spend(size(&value), span)?;
                (value, 0)
            }
            _ => return Err(at(span, "is no YAML")),
        };
        if anchor > 0 {
            self.spend(size(&value), span)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn spend(&mut self, values: usize, span: &Span) -> Result<(), String> {
        self.values += values;
        if self.values > VALUES_MAX { Err(at(span, format!("more than {VALUES_MAX} values in one file"))) } else { Ok(()) }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(k, v)| size(k) + size(v)).sum::<usize>(),
        _ => 1,
    }
}

fn at(span: &Span, message: impl std::fmt::Display) -> String {
    format!("line {}: {message}", span.start.line())
}

/// A plain scalar by YAML 1.1, as PyYAML's resolver has it.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Value::Bool(false),
        _ => {}
    }
    match yaml_int(text) {
        Some(number) => Value::Int(number),
        None if is_yaml_float(text) => Value::Float(text.to_string()),
        None => Value::of_text(text.to_string()),
    }
}

/// `1.5`, `1.5e+3`, `.5`, `190:20:30.15`, `.inf`, `.nan` (PyYAML's resolver.py; it wants a sign in an exponent).
fn is_yaml_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if [".inf", ".Inf", ".INF"].contains(&unsigned) || [".nan", ".NaN", ".NAN"].contains(&text) {
        return true;
    }
    let Some((whole, rest)) = unsigned.split_once('.') else { return false };
    let (fraction, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(f, e)| (f, Some(e)));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let begins = |t: &str| t.starts_with(|c: char| c.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|e| e.strip_prefix(['-', '+']).is_some_and(|e| begins(e) && e.bytes().all(|b| b.is_ascii_digit())));
    let base_60 = whole.contains(':') && exponent.is_none() && whole.split(':').all(|part| begins(part) && digits(part));
    digits(fraction) && exponent_fits && (begins(whole) && digits(whole) || base_60 || whole.is_empty() && begins(fraction))
}

/// Decimal, `0b1`, `0x1f`, octal with a leading zero, and base 60 (`1:30`).
fn yaml_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let plain = digits.replace('_', "");
    let number = if let Some(hex) = plain.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()?
    } else if let Some(binary) = plain.strip_prefix("0b") {
        i64::from_str_radix(binary, 2).ok()?
    } else if plain.contains(':') {
        if plain.starts_with('0') {
            return None;
        }
        plain.split(':').try_fold(0_i64, |all, part| part.parse::<i64>().ok().and_then(|n| all.checked_mul(60)?.checked_add(n)))?
    } else if plain.len() > 1 && plain.starts_with('0') {
        i64::from_str_radix(&plain, 8).ok()?
    } else {
        plain.parse().ok()?
    };
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(t: &str) -> Value {
        Value::of_text(t.into())
    }

    #[test]
    fn ini_values_are_python_literals_or_text() {
        for (written, want) in [
            ("2222", Value::Int(2222)),
            ("2222 # a port", Value::Int(2222)),
            ("0x16", Value::Int(22)),
            ("022", text("022")),
            ("1_000", Value::Int(1000)),
            ("True", Value::Bool(true)),
            ("true", text("true")),
            ("yes", text("yes")),
            ("None", Value::Null),
            ("root", text("root")),
            ("root # no comment here", text("root # no comment here")),
            ("'quoted'", text("quoted")),
            ("\"a\\\"b\" # comment", text("a\"b")),
            ("'-o ProxyJump=x'", text("-o ProxyJump=x")),
            ("'a' b", text("'a' b")),
            ("10.0.0.1", text("10.0.0.1")),
            ("", text("")),
        ] {
            assert_eq!(Value::of_python(written), want, "{written}");
        }
    }

    #[test]
    fn yaml_is_read_as_pyyaml_reads_it() {
        for (written, want) in [
            ("yes", Value::Bool(true)),
            ("0644", Value::Int(420)),
            ("1:30", Value::Int(90)),
            ("0x1F", Value::Int(31)),
            ("08", text("08")),
            ("1.5", Value::Float("1.5".into())),
            ("-1_0.50", Value::Float("-1_0.50".into())),
            ("1.e+3", Value::Float("1.e+3".into())),
            (".5", Value::Float(".5".into())),
            ("1:30.5", Value::Float("1:30.5".into())),
            ("-.inf", Value::Float("-.inf".into())),
            ("'22'", text("22")),
            ("!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6132\n", Value::Vault("$ANSIBLE_VAULT;1.1;AES256\n6132\n".into())),
            ("!unsafe '{{ x }}'", Value::Unsafe("{{ x }}".to_string().into())),
            ("'1.5'", text("1.5")),
            ("!!str 1.5", text("1.5")),
            ("1.5e3", text("1.5e3")),
            ("1e5", text("1e5")),
            ("10.0.0.1", text("10.0.0.1")),
            ("1.5-rc", text("1.5-rc")),
            (".", text(".")),
            ("", Value::Null),
        ] {
            assert_eq!(parse(written), Ok(want), "{written}");
        }
        let merged = parse("base: &b {a: 1, b: 2}\nx:\n  <<: *b\n  b: 3\n").unwrap();
        assert_eq!((merged.get("x").unwrap().get("a"), merged.get("x").unwrap().get("b")), (Some(&Value::Int(1)), Some(&Value::Int(3))));
    }

    #[test]
    fn what_multiplies_is_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_string();
        for i in 1..10 {
            let before = format!("*a{}", i - 1);
            bomb += &format!("a{i}: &a{i} [{}]\n", [before.as_str(); 10].join(","));
        }
        assert!(parse(&bomb).unwrap_err().contains("more than 1000000 values"));
        assert!(parse("a: &a [*a]").unwrap_err().contains("line 1"));
        assert!(parse("a: b: c").unwrap_err().contains("line 1"));
    }
}
