//! A host as Ansible's inventories write it: a name or a range of names, with a port. And the words of a shell line.

use std::net::Ipv6Addr;

use crate::inventory::HOSTS_MAX;

/// The names that a host pattern stands for, and the port behind it. What Ansible does not take for a host with a port it takes for a name
/// as a whole (parsing/utils/addresses.py, plugins/inventory/__init__.py).
pub(super) fn expand(pattern: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (address, port) = split_port(pattern);
    let (name, port) = if port.is_none() || is_host(address) { (address, port) } else { (pattern, None) };
    let port = port.map(|p| p.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| format!("{pattern:?} has a port that is not from 1 to 65535")));
    let port = port.transpose()?;
    // Without a port nothing was cut off, but for brackets.
    let name = if port.is_none() { pattern } else { name };
    let mut names = Vec::new();
    ranges(name, &mut names).map_err(|why| format!("{pattern:?} {why}"))?;
    Ok((names, port))
}

/// `[anything]:22` or `name:22`, where the name has colons only inside brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let Some((head, port)) = text.rsplit_once(':') else { return (text, None) };
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return (text, None);
    }
    let mut inside = false;
    for c in head.chars() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            ':' | '[' | ']' if !inside => {
                return match head.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
                    Some(inner) => (inner, Some(port)),
                    None => (text, None),
                };
            }
            _ => {}
        }
    }
    match head.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inner) => (inner, Some(port)),
        None if inside => (text, None),
        None => (head, Some(port)),
    }
}

/// A name of labels with ranges in them, or an IPv6 address.
fn is_host(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok() || (!text.is_empty() && labels(text).is_some_and(|l| l.iter().all(|l| is_label(l))))
}

/// Split at the dots outside of brackets.
fn labels(text: &str) -> Option<Vec<&str>> {
    let (mut found, mut start, mut inside) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            '[' if inside => return None,
            '[' => inside = true,
            ']' => inside = false,
            '.' if !inside => {
                found.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    (!inside).then_some(found)
}

/// Letters, digits, `_`, `-` and ranges; `-` neither first nor last, `_` not last.
fn is_label(label: &str) -> bool {
    let mut rest = label;
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        if c == '[' {
            let Some((range, behind)) = rest[1..].split_once(']') else { return false };
            if !is_range(range) {
                return false;
            }
            rest = behind;
        } else if c.is_alphanumeric() || c == '_' || (c == '-' && !first) {
            rest = &rest[c.len_utf8()..];
        } else {
            return false;
        }
        first = false;
    }
    !first && !label.ends_with(['-', '_'])
}

/// `1:9`, `01:09:2`, `a:f`.
fn is_range(range: &str) -> bool {
    let parts: Vec<&str> = range.split(':').collect();
    let number = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let letter = |t: &str| t.len() == 1 && t.bytes().all(|b| b.is_ascii_alphabetic());
    match parts[..] {
        [a, b] => (number(a) && number(b)) || (letter(a) && letter(b)),
        [a, b, step] => number(step) && ((number(a) && number(b)) || (letter(a) && letter(b))),
        _ => false,
    }
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// `expand_hostname_range` of Ansible.
fn ranges(name: &str, names: &mut Vec<String>) -> Result<(), String> {
    let Some((head, rest)) = name.split_once('[') else {
        if names.len() >= HOSTS_MAX {
            return Err(format!("stands for more than {HOSTS_MAX} hosts"));
        }
        names.push(name.to_string());
        return Ok(());
    };
    let (range, tail) = rest.split_once(']').ok_or("has a `[` without `]`")?;
    let parts: Vec<&str> = range.split(':').collect();
    let (first, last, step) = match parts[..] {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => return Err(format!("has `[{range}]`, which is no range such as [01:16] or [a:c]")),
    };
    let step: usize = step.parse().ok().filter(|s| *s > 0).ok_or_else(|| format!("has `[{range}]`, whose step is no number above 0"))?;
    let first = if first.is_empty() { "0" } else { first };
    if last.is_empty() {
        return Err(format!("has `[{range}]`, which has no end"));
    }
    let width = if first.len() > 1 && first.starts_with('0') { first.len() } else { 0 };
    if width > 0 && width != last.len() {
        return Err(format!("has `[{range}]`, whose ends have different lengths"));
    }
    let mut one = |text: &str| ranges(&format!("{head}{text}{tail}"), names);
    if let (Some(a), Some(b)) = (LETTERS.find(first), LETTERS.find(last)) {
        if a > b {
            return Err(format!("has `[{range}]`, which ends before it begins"));
        }
        return LETTERS[a..=b].chars().step_by(step).try_for_each(|c| one(c.encode_utf8(&mut [0; 4])));
    }
    let number = |t: &str| t.parse::<u64>().map_err(|_| format!("has `[{range}]`, which is no range such as [01:16] or [a:c]"));
    let (first, last) = (number(first)?, number(last)?);
    if last.saturating_sub(first) / step as u64 >= HOSTS_MAX as u64 {
        return Err(format!("stands for more than {HOSTS_MAX} hosts"));
    }
    (first..=last).step_by(step).try_for_each(|n| one(&format!("{n:0width$}")))
}

/// Words as Python's `shlex.split` makes them (POSIX rules). With `comments`, a `#` outside of quotes ends the line, even inside a word.
pub(super) fn words(line: &str, comments: bool) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if comments => break,
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("has a quote that does not end")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("has a quote that does not end")? {
                        '"' => break,
                        '\\' => match chars.next().ok_or("has a quote that does not end")? {
                            c @ ('"' | '\\') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("ends with a backslash")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, names: &[&str], port: Option<u16>) {
        assert_eq!(expand(pattern), Ok((names.iter().map(ToString::to_string).collect(), port)), "{pattern}");
    }

    #[test]
    fn patterns_expand_as_ansible_expands_them() {
        check("gpu[01:03]", &["gpu01", "gpu02", "gpu03"], None);
        check("gpu[1:9:4].cluster:2222", &["gpu1.cluster", "gpu5.cluster", "gpu9.cluster"], Some(2222));
        check("rack-[a:c]", &["rack-a", "rack-b", "rack-c"], None);
        check("r[1:2]n[01:02]", &["r1n01", "r1n02", "r2n01", "r2n02"], None);
        check("n[:2]", &["n0", "n1", "n2"], None);
        check("n[3:1]", &[], None);
        check("10.0.0.5:2222", &["10.0.0.5"], Some(2222));
        check("[2001:db8::1]:2222", &["2001:db8::1"], Some(2222));
        check("2001:db8::1", &["2001:db8::1"], None);
        check("node_:22", &["node_:22"], None);
        check("a_b", &["a_b"], None);
    }

    #[test]
    fn what_ansible_refuses_is_refused() {
        for (pattern, want) in [
            ("n[01:3]", "different lengths"),
            ("n[1:]", "no end"),
            ("n[1]", "no range"),
            ("n[1:x]", "no range"),
            ("n[c:a]", "ends before"),
            ("n[1:2", "without"),
            ("n[1:3:0]", "step"),
            ("n[1:200000]", "more than 100000"),
            ("n:99999", "port"),
        ] {
            assert!(expand(pattern).unwrap_err().contains(want), "{pattern}: {:?}", expand(pattern));
        }
    }

    #[test]
    fn words_are_those_of_shlex() {
        let check = |line: &str, want: &[&str]| assert_eq!(words(line, true).unwrap(), want, "{line}");
        check("a b=c # d", &["a", "b=c"]);
        check("a b=c#d e", &["a", "b=c"]);
        check(r#"a b="c # d" e='x y'"#, &["a", "b=c # d", "e=x y"]);
        check(r#"a b="-o ProxyCommand=\"ssh -W %h:%p j\"""#, &["a", r#"b=-o ProxyCommand="ssh -W %h:%p j""#]);
        check(r"a b=c\ d", &["a", "b=c d"]);
        check("a ''", &["a", ""]);
        assert!(words("a 'b", true).is_err());
        assert_eq!(words("a#b", false).unwrap(), ["a#b"]);
    }
}
