//! JSON objects as a file on a node holds them: order kept, values as source text, a key that stands twice refused.
//!
//! Foreign values are never parsed further than their end, so that big numbers, escapes and formatting survive a merge.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// One object: its keys in the order of the file, its values as source text that still lies in the file's own bytes.
pub(crate) struct Object<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads an object. The error says what is wrong without quoting anything of the text.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return Err("is not a JSON object".into());
        }
        serde_json::from_str(text).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => "has a key that stands twice in one object".to_string(),
            serde_json::error::Category::Eof => "is no valid JSON: it ends too early".to_string(),
            _ => format!("is no valid JSON (line {}, column {})", e.line(), e.column()),
        })
    }

    /// The value of a key, as source text.
    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| *v)
    }
}

/// Whether a value is `null`, which Go's decoder takes as "not there".
pub(crate) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// A string's content; `None` for every other kind of value. It may be a secret, so it is wiped on drop.
pub(crate) fn as_text(value: &RawValue) -> Option<Zeroizing<String>> {
    serde_json::from_str::<String>(value.get()).ok().map(Zeroizing::new)
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut pairs: Vec<(String, &'de RawValue)> = Vec::new();
                // A node may write a hundred thousand keys.
                let mut seen = HashSet::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom("duplicate key"));
                    }
                    pairs.push((key, value));
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A value to be written: foreign source text, or something of ours.
pub(crate) enum Value<'a> {
    /// Source text, copied byte for byte.
    Raw(&'a RawValue),
    /// A string of ours.
    Text(Zeroizing<String>),
    /// An object that we know the keys of.
    Object(Vec<(String, Value<'a>)>),
    /// A list of ours.
    List(Vec<Value<'a>>),
}

/// Writes a value as Docker does (docker/cli `configfile/file.go` SaveToWriter): tabs, no final newline.
pub(crate) fn write(value: &Value<'_>, capacity: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(capacity));
    put(&mut out, value, 0);
    out
}

fn put(out: &mut Vec<u8>, value: &Value<'_>, depth: usize) {
    match value {
        Value::Raw(raw) => out.extend_from_slice(raw.get().as_bytes()),
        Value::Text(text) => put_text(out, text),
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                out.extend_from_slice(if i == 0 { b"[" } else { b", " });
                put(out, item, depth);
            }
            out.extend_from_slice(if items.is_empty() { b"[]" } else { b"]" });
        }
        Value::Object(pairs) if pairs.is_empty() => out.extend_from_slice(b"{}"),
        Value::Object(pairs) => {
            out.push(b'{');
            for (i, (key, value)) in pairs.iter().enumerate() {
                out.extend_from_slice(if i == 0 { b"\n" } else { b",\n" });
                out.extend(std::iter::repeat_n(b'\t', depth + 1));
                put_text(out, key);
                out.extend_from_slice(b": ");
                put(out, value, depth + 1);
            }
            out.push(b'\n');
            out.extend(std::iter::repeat_n(b'\t', depth));
            out.push(b'}');
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is always JSON, and a Vec takes every byte");
}

/// A JSON object in one token without white space and in ASCII, equal in value: white space between tokens is dropped,
/// a space inside a string becomes `\u0020`, a character beyond ASCII its UTF-16 escapes. `None` when the text is no
/// JSON object. This is enroot's own recipe for Google's `_json_key` (enroot `doc/cmd/import.md`).
pub(crate) fn compact(text: &str) -> Option<Zeroizing<String>> {
    if !text.trim_start().starts_with('{') || serde_json::from_str::<&RawValue>(text).is_err() {
        return None;
    }
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 6));
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if !in_string => continue,
            ' ' => out.push_str("\\u0020"),
            '\u{7f}'.. => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => out.push(c),
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacting_keeps_the_value() {
        let text = "{\"a\" : \"x \\\" y\\\\\",\n \"ü\": [1.50, \"€ 😀\\u0041\"], \"d\": \"\u{7f}\"}";
        let small = compact(text).unwrap();
        assert!(small.bytes().all(|b| (0x21..0x7f).contains(&b)), "{}", small.as_str());
        let value = |t: &str| serde_json::from_str::<serde_json::Value>(t).unwrap();
        assert_eq!(value(text), value(&small));
        for none in ["", "x", "[1]", "{", "{\"a\":1}x", "\"{\""] {
            assert!(compact(none).is_none(), "{none}");
        }
    }

    #[test]
    fn duplicate_keys_are_refused_and_nothing_is_quoted() {
        assert!(Object::parse("{\"a\":1,\"\\u0061\":2}").is_err_and(|e| e.contains("twice")));
        assert!(Object::parse("{\"a\":{\"b\":1,\"b\":2}}").is_ok(), "an object that nobody interprets is foreign");
        for bad in ["", "[]", "{\"hunter2\"", "{} hunter2", "{\"a\":hunter2}", "null"] {
            assert!(Object::parse(bad).is_err_and(|e| !e.contains("hunter2")), "{bad}");
        }
    }

    #[test]
    fn written_values_keep_foreign_source_text() {
        let source = "{\"a\":{ \"n\" : 12345678901234567890.10 },\"b\":\"\\u00e9\"}";
        let object = Object::parse(source).unwrap();
        let pairs = object.0.iter().map(|(k, v)| (k.clone(), Value::Raw(v))).collect();
        let text = String::from_utf8(write(&Value::Object(pairs), 64).to_vec()).unwrap();
        assert_eq!(text, "{\n\t\"a\": { \"n\" : 12345678901234567890.10 },\n\t\"b\": \"\\u00e9\"\n}");
    }
}
