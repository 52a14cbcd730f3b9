//! Two states of a vault and the one that both came from, merged login by login; for git.
//!
//! - What one side changed is taken from there with its bytes: seals, comments and formatting. What neither changed stays as ours has it.
//! - In a login that both changed, registry, account, password and fingerprint go together, since the seal binds them; its other fields are
//!   merged one by one. Two seals made anew are a conflict, unless the fingerprints say that one side's password is the old one.
//! - Recipients are a set. A seal that was made for another list than the merged one is named: the file is whole, and not done.
//! - The serial is the larger plus one, since the result is neither of the two.
//!
//! An inventory with logins in it is merged likewise, its other keys map by map. The lines are told apart by a simple reading of block style;
//! the result is parsed, for both ways to resolve its conflicts, and must have the values that were meant.

mod items;
mod login;
mod recipients;
#[cfg(test)]
mod tests;
mod tree;

use serde_json::{Map, Value};

use super::document::quiet;
use crate::model::text::escape;
use items::{Item, Sheet};
use tree::{Out, Piece, Take, Three, merge_comments, nested};

/// How conflicts are marked.
#[derive(Clone, Copy, Debug)]
pub struct Markers<'a> {
    /// How many characters a marker has; git's own have 7.
    pub size: usize,
    /// What stands behind the first one: ours.
    pub ours: &'a str,
    /// What stands behind the last one: theirs.
    pub theirs: &'a str,
}

/// What came of a merge.
#[derive(Debug)]
pub struct Merged {
    /// The text, with markers around what could not be merged.
    pub text: String,
    /// What could not be merged, and why: "login `ngc`: both sides ...".
    pub conflicts: Vec<String>,
    /// The logins whose seals were made for another list of recipients than the merged one.
    pub seal_again: Vec<String>,
    /// What was decided that somebody may want to know.
    pub notes: Vec<String>,
}

/// Merges three states of a file.
///
/// # Errors
/// Says of which of them, and why, the lines cannot be told apart: "ours: it is not YAML". Nothing that stands there is quoted.
pub fn merge(base: &str, ours: &str, theirs: &str, markers: Markers<'_>) -> Result<Merged, String> {
    let is_windows = ours.lines().count() > 0 && ours.split_inclusive('\n').all(|line| line.ends_with("\r\n") || !line.ends_with('\n'));
    let plain = |text: &str| text.replace("\r\n", "\n");
    let read = |side: &str, text: &str| Sheet::read(&plain(text)).map_err(|why| format!("{side}: {why}"));
    let sheets = [read("their common ancestor", base)?, read("ours", ours)?, read("theirs", theirs)?];
    let [base, ours, theirs] = &sheets;
    let mut told = Told::default();
    let outs = tree::merge(&base.items, &ours.items, &theirs.items, &mut |key, three| top(key, three, base.value.is_empty(), &mut told));
    let tail = merge_comments(&base.tail, &ours.tail, &theirs.tail);
    let values = [0, 1].map(|side| outs.iter().filter_map(|out| Some((out.key.clone(), out.values[side].clone()?))).collect::<Map<_, _>>());
    for (side, want) in values.iter().enumerate() {
        let text = text(&outs, &tail, &mut |out, sides| out.push_str(&sides[side]));
        let got = serde_yaml::from_str_with_options::<Option<Value>>(&text, quiet()).ok();
        let got = got.map(|value| value.as_ref().and_then(Value::as_object).cloned().unwrap_or_default());
        if got.map(bare) != Some(bare(want.clone())) {
            return Err("the result: its lines cannot be told from others".to_string());
        }
    }
    let mut text = text(&outs, &tail, &mut |out, [ours, theirs]| {
        let marker = |c: &str, label: &str| format!("{} {label}", c.repeat(markers.size)).trim_end().to_string() + "\n";
        *out += &[&marker("<", markers.ours), ours, &marker("=", ""), theirs, &marker(">", markers.theirs)].map(String::as_str).concat();
    });
    if is_windows {
        text = text.replace('\n', "\r\n");
    }
    let seal_again = recipients::sealed_for_others([&ours.value, &theirs.value], [&values[0], &values[1]]);
    Ok(Merged { text, conflicts: told.conflicts, seal_again, notes: told.notes })
}

/// What is said of a merge.
#[derive(Default)]
struct Told {
    conflicts: Vec<String>,
    notes: Vec<String>,
}

/// A top level key.
fn top(key: &str, three: Three<'_>, is_new: bool, told: &mut Told) -> Option<Out> {
    match key {
        "vault_serial" => serial(three),
        "vault_id" => id(three, is_new, told),
        "recipients" => match three.take_lines() {
            Take::Neither => recipients::merge(three).or_else(|| changed("`recipients`", key, three, told)),
            sure => three.taken(sure),
        },
        "logins" => map("`logins`", key, three, told, &mut |name, three, told| {
            let what = format!("login `{}`", escape(name));
            match (three.take_lines(), three.ours, three.theirs) {
                (Take::Neither, Some(_), Some(_)) => {
                    let mut why = Vec::new();
                    let out = login::merge(three, &mut why);
                    told.conflicts.extend(why.into_iter().map(|why| format!("{what}: {why}")));
                    out
                }
                (Take::Neither, ..) => changed(&what, name, three, told),
                (sure, ..) => three.taken(sure),
            }
        }),
        _ => any(&format!("`{}`", escape(key)), key, three, told),
    }
}

/// A key of which nothing is known: by its bytes, else map by map, else by its value.
fn any(what: &str, key: &str, three: Three<'_>, told: &mut Told) -> Option<Out> {
    map(what, key, three, told, &mut |child, three, told| any(&format!("{what}, `{}`", escape(child)), child, three, told))
}

/// What is done with each key of a map.
type Decide<'a> = &'a mut dyn FnMut(&str, Three<'_>, &mut Told) -> Option<Out>;

/// A key whose value is a map on both sides.
fn map(what: &str, key: &str, three: Three<'_>, told: &mut Told, decide: Decide<'_>) -> Option<Out> {
    let children = |item: Option<&Item>| item.and_then(Item::children);
    match (three.take_lines(), children(three.ours), children(three.theirs)) {
        (Take::Neither, Some(ours), Some(theirs)) => {
            let base = children(three.base).unwrap_or_default();
            nested(three, tree::merge(&base, &ours, &theirs, &mut |key, three| decide(key, three, told)))
        }
        (Take::Neither, ..) => changed(what, key, three, told),
        (sure, ..) => three.taken(sure),
    }
}

/// A key that both sides changed and that has no parts.
fn changed(what: &str, key: &str, three: Three<'_>, told: &mut Told) -> Option<Out> {
    match three.take() {
        Take::Neither => {
            let why = match (three.base, three.ours, three.theirs) {
                (Some(_), None, _) => "ours removed it, theirs changed it",
                (Some(_), _, None) => "theirs removed it, ours changed it",
                (None, ..) => "both sides added it, each in its way",
                _ => "both sides changed it, each in its way",
            };
            told.conflicts.push(format!("{what}: {why}"));
            // One that is there on one side alone brings its comments along.
            let above = if three.ours.is_some() && three.theirs.is_some() { three.above() } else { String::new() };
            Some(Out::both(key, above, three.ours, three.theirs))
        }
        sure => three.taken(sure),
    }
}

/// `vault_serial`: newer than both.
fn serial(three: Three<'_>) -> Option<Out> {
    let frame = three.ours.or(three.theirs)?;
    let serials = [three.ours, three.theirs].into_iter().flatten().filter_map(|item| item.value.as_u64());
    let Some(next) = serials.max().map(|largest| largest.saturating_add(1)) else { return three.taken(Take::Ours) };
    let line = frame.line_with(&next.to_string());
    Some(Out::whole(&Item { above: three.above(), line, value: Value::from(next), ..frame.clone() }))
}

/// `vault_id`: one vault has one.
fn id(three: Three<'_>, is_new: bool, told: &mut Told) -> Option<Out> {
    match three.take() {
        Take::Neither if three.base.is_none() && !is_new => {
            told.notes.push("both sides gave the vault its first `vault_id`; ours stays".to_string());
            three.taken(Take::Ours)
        }
        Take::Neither => {
            told.conflicts.push("`vault_id`: these are two vaults, not two states of one".to_string());
            Some(Out::both("vault_id", three.above(), three.ours, three.theirs))
        }
        sure => three.taken(sure),
    }
}

fn text(outs: &[Out], tail: &str, sides: &mut dyn FnMut(&mut String, &[String; 2])) -> String {
    let mut text = String::new();
    for piece in outs.iter().flat_map(|out| &out.pieces) {
        match piece {
            Piece::Text(lines) => text.push_str(lines),
            Piece::Sides(both) => sides(&mut text, both),
        }
    }
    text + tail
}

/// A file's value without its empty maps, which may be written or not.
fn bare(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter().filter(|(_, value)| !value.is_null() && !value.as_object().is_some_and(Map::is_empty)).collect()
}
