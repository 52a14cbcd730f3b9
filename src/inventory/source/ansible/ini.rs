//! Ansible's INI inventories, line by line (plugins/inventory/ini.py).

use std::collections::BTreeMap;

use super::data::Data;
use super::pattern;
use super::value::Value;

/// What the lines of a section are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Hosts,
    Children,
    Vars,
}

/// A group that a line needs and that no section has declared yet.
struct Pending {
    line: usize,
    state: State,
    parents: Vec<usize>,
}

/// Adds the groups and hosts of a file. The error begins with the line.
pub(super) fn read(text: &str, data: &mut Data) -> Result<(), String> {
    let mut group = data.group("ungrouped")?;
    let mut state = State::Hosts;
    let mut pending: BTreeMap<String, Pending> = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let number = i + 1;
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let here = |why: String| format!("line {number}: {why}");
        if let Some((name, kind)) = section(line) {
            state = match kind {
                None | Some("hosts") => State::Hosts,
                Some("children") => State::Children,
                Some("vars") => State::Vars,
                Some(other) => return Err(here(format!("section [{name}:{other}] is none of `hosts`, `children` and `vars`"))),
            };
            let known = data.find_group(name).is_some();
            group = data.group(name).map_err(here)?;
            if !known && state == State::Vars && !pending.contains_key(name) {
                pending.insert(name.to_string(), Pending { line: number, state, parents: Vec::new() });
            }
            if state != State::Vars
                && let Some(waiting) = pending.remove(name)
            {
                for parent in waiting.parents {
                    data.add_child(parent, group).map_err(|why| format!("line {}: {why}", waiting.line))?;
                }
            }
            continue;
        }
        if line.starts_with('[') && line.ends_with(']') {
            return Err(here(format!("{line:?} is no section; a group's name has no spaces")));
        }
        match state {
            State::Hosts => host(line, group, data).map_err(here)?,
            State::Vars => {
                let (key, value) = line.split_once('=').ok_or_else(|| here("a variable is written as NAME=VALUE".to_string()))?;
                data.set_of_group(group, key.trim(), &Value::of_python(value.trim())).map_err(here)?;
            }
            State::Children => {
                let name = group_name(line).ok_or_else(|| here(format!("{line:?} is no group's name")))?;
                match data.find_group(name) {
                    Some(child) if !pending.contains_key(name) => data.add_child(group, child).map_err(here)?,
                    _ => pending.entry(name.to_string()).or_insert(Pending { line: number, state, parents: Vec::new() }).parents.push(group),
                }
            }
        }
    }
    match pending.iter().min_by_key(|(_, p)| p.line) {
        None => Ok(()),
        Some((name, p)) if p.state == State::Vars => Err(format!("line {}: section [{name}:vars] is for a group that is not there", p.line)),
        Some((name, p)) => Err(format!("line {}: group `{name}` among the children is not there", p.line)),
    }
}

/// `[name]`, `[name:kind]`, and behind it nothing but a `#` comment.
fn section(line: &str) -> Option<(&str, Option<&str>)> {
    let (inside, behind) = line.strip_prefix('[')?.split_once(']')?;
    let behind = behind.trim_start();
    if !behind.is_empty() && !behind.starts_with('#') {
        return None;
    }
    let (name, kind) = match inside.split_once(':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (inside, None),
    };
    let is_word = |k: &str| !k.is_empty() && k.chars().all(|c| c.is_alphanumeric() || c == '_');
    (!name.is_empty() && !name.contains(char::is_whitespace) && kind.is_none_or(is_word)).then_some((name, kind))
}

/// A group's name alone on its line, but for a comment.
fn group_name(line: &str) -> Option<&str> {
    let end = line.find(|c: char| c.is_whitespace() || c == ':' || c == ']').unwrap_or(line.len());
    let behind = line[end..].trim_start();
    (end > 0 && (behind.is_empty() || behind.starts_with('#'))).then(|| &line[..end])
}

/// `pattern[:port] name=value...`
fn host(line: &str, group: usize, data: &mut Data) -> Result<(), String> {
    let words = pattern::words(line, true).map_err(|why| format!("the line {why}"))?;
    let Some((first, rest)) = words.split_first() else { return Ok(()) };
    let (names, port) = pattern::expand(first)?;
    if (first.ends_with(':') && port.is_none()) || first == "---" {
        return Err(format!("{first:?} is no host"));
    }
    let mut vars = Vec::new();
    for word in rest {
        // Not shown whole: it may be a piece of a password with a space in it.
        let (key, value) = word.split_once('=').ok_or("behind a host stand NAME=VALUE pairs; a value with spaces needs quotes")?;
        vars.push((key, Value::of_python(value)));
    }
    for name in &names {
        data.host(name, group, port)?;
        for (key, value) in &vars {
            data.set(name, key, value)?;
        }
    }
    Ok(())
}
