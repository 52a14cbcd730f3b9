//! Where seals and logins stand in a vault's text, and texts that were damaged.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::ops::Range;

use regprov::model::armor::{BEGIN, END};

/// Where the seals of a text stand: whole lines, from their first to their last.
pub(crate) fn seals(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut begin, mut at) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        match line.trim() {
            BEGIN => begin = at,
            END => found.push(begin..at + line.len()),
            _ => {}
        }
        at += line.len();
    }
    found
}

pub(crate) fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

/// Whether a cut goes through a seal: part of it is left, and not all up to the last character of its last line.
pub(crate) fn cuts(seal: &Range<usize>, at: usize) -> bool {
    seal.start < at && at < seal.end - 1
}

/// Lines and logins that are missing, doubled or moved: a name, whether a seal is no longer whole, and the text.
pub(crate) fn rearranged(text: &str) -> Vec<(String, bool, Vec<u8>)> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let seals = seals(text);
    let starts: Vec<usize> = lines.iter().scan(0, |at, line| Some(std::mem::replace(at, *at + line.len()))).collect();
    let in_seal = |i: usize| seals.iter().any(|s| s.contains(&starts[i]));
    for i in 0..lines.len() {
        let with = |middle: &[&str], to: usize| [&lines[..i], middle, &lines[to..]].concat().concat().into_bytes();
        found.push((format!("without line {}", i + 1), in_seal(i), with(&[], i + 1)));
        found.push((format!("line {} twice", i + 1), in_seal(i), with(&[lines[i], lines[i]], i + 1)));
        if i + 1 < lines.len() {
            found.push((format!("lines {} and {} exchanged", i + 1, i + 2), in_seal(i) || in_seal(i + 1), with(&[lines[i + 1], lines[i]], i + 2)));
        }
    }
    let logins = logins(text);
    for (i, a) in logins.iter().enumerate() {
        let splice = |range: &Range<usize>, new: &str| [&text[..range.start], new, &text[range.end..]].concat().into_bytes();
        found.push((format!("without login {i}"), false, splice(a, "")));
        found.push((format!("login {i} twice"), false, splice(a, &text[a.clone()].repeat(2))));
        for b in &logins[i + 1..] {
            found.push((format!("login {i} and one behind it exchanged"), false, exchanged(text, a, b)));
            let name = |login: &Range<usize>| login.start..login.start + text[login.clone()].find('\n').unwrap();
            found.push((format!("the names of login {i} and one behind it exchanged"), false, exchanged(text, &name(a), &name(b))));
        }
    }
    for (i, a) in seals.iter().enumerate() {
        for (j, b) in seals.iter().enumerate().skip(i + 1) {
            // Those of a rotation are for one account; what else belongs together is in the seal.
            let one_account = logins.iter().any(|l| l.contains(&a.start) && l.contains(&b.start));
            let indented = |of: &Range<usize>, like: &Range<usize>| {
                let indent = |s: &str| s.len() - s.trim_start().len();
                let column = " ".repeat(indent(&text[like.clone()]));
                text[of.clone()].lines().map(|line| format!("{column}{}\n", line.trim_start())).collect::<String>()
            };
            let new = [&text[..a.start], &indented(b, a), &text[a.end..b.start], &indented(a, b), &text[b.end..]].concat();
            found.push((format!("seals {i} and {j} exchanged"), !one_account, new.into_bytes()));
        }
    }
    found.push(("CRLF".into(), false, text.replace('\n', "\r\n").into_bytes()));
    found.push(("a byte order mark".into(), false, format!("\u{feff}{text}").into_bytes()));
    found.push(("UTF-16".into(), false, text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    found.push(("twice".into(), false, text.repeat(2).into_bytes()));
    found.push(("something behind it".into(), false, format!("{text}hunter2").into_bytes()));
    found.push(("a byte of zero behind it".into(), false, format!("{text}\0").into_bytes()));
    found.push(("a second document".into(), false, format!("{text}---\n{text}").into_bytes()));
    found.push(("nothing".into(), false, Vec::new()));
    found
}

/// Where the logins of a vault stand.
pub(crate) fn logins(text: &str) -> Vec<Range<usize>> {
    let is_name = |line: &str| line.starts_with("  ") && line.as_bytes()[2].is_ascii_alphanumeric() && line.ends_with(":\n");
    let first = text.find("\nlogins:\n").unwrap() + 1;
    let (mut at, mut starts) = (first, Vec::new());
    for line in text[first..].split_inclusive('\n') {
        if is_name(line) || line.starts_with("vault_id") {
            starts.push(at);
        }
        at += line.len();
    }
    starts.windows(2).map(|w| w[0]..w[1]).collect()
}

pub(crate) fn exchanged(text: &str, a: &Range<usize>, b: &Range<usize>) -> Vec<u8> {
    [&text[..a.start], &text[b.clone()], &text[a.end..b.start], &text[a.clone()], &text[b.end..]].concat().into_bytes()
}
