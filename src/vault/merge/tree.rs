//! Three states of a map, merged key by key.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::items::Item;

/// A piece of the merged text.
#[derive(Clone)]
pub(super) enum Piece {
    /// What both sides agree on, or one changed alone.
    Text(String),
    /// What both changed, each in its way; a side that has none of it is empty.
    Sides([String; 2]),
}

/// A key of the merged map.
pub(super) struct Out {
    pub(super) key: String,
    pub(super) pieces: Vec<Piece>,
    /// Its value where ours is taken in each conflict, and where theirs is; `None` without one.
    pub(super) values: [Option<Value>; 2],
}

impl Out {
    /// An item as it stands.
    pub(super) fn whole(item: &Item) -> Self {
        let values = [Some(item.value.clone()), Some(item.value.clone())];
        Out { key: item.key.clone(), pieces: vec![Piece::Text(format!("{}{}", item.above, item.own()))], values }
    }

    /// One that both sides changed, each in its way.
    pub(super) fn both(key: &str, above: String, ours: Option<&Item>, theirs: Option<&Item>) -> Self {
        // What stands above one that is there on one side alone belongs to it.
        let text = |item: Option<&Item>| match (item, ours.is_some() && theirs.is_some()) {
            (None, _) => String::new(),
            (Some(item), true) => item.own(),
            (Some(item), false) => format!("{}{}", item.above, item.own()),
        };
        let pieces = vec![Piece::Text(above), Piece::Sides([text(ours), text(theirs)])];
        Out { key: key.to_string(), pieces, values: [ours, theirs].map(|item| item.map(|item| item.value.clone())) }
    }
}

/// One key in the three states.
#[derive(Clone, Copy)]
pub(super) struct Three<'a> {
    pub(super) base: Option<&'a Item>,
    pub(super) ours: Option<&'a Item>,
    pub(super) theirs: Option<&'a Item>,
}

/// Whose state of something is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    Ours,
    Theirs,
    /// Both changed it, each in its way.
    Neither,
}

/// Whose state to take: the one that is not what it was.
pub(super) fn take<T: PartialEq>(base: &T, ours: &T, theirs: &T) -> Take {
    if ours == theirs || theirs == base {
        Take::Ours
    } else if ours == base {
        Take::Theirs
    } else {
        Take::Neither
    }
}

impl Three<'_> {
    /// Whose lines to take by their bytes, comments above them aside.
    pub(super) fn take_lines(&self) -> Take {
        let own = |item: Option<&Item>| item.map(Item::own);
        take(&own(self.base), &own(self.ours), &own(self.theirs))
    }

    /// Whose lines to take: by their bytes; where both sides changed those, by their values.
    pub(super) fn take(&self) -> Take {
        let value = |item: Option<&Item>| item.map(|item| item.value.clone());
        match self.take_lines() {
            Take::Neither => take(&value(self.base), &value(self.ours), &value(self.theirs)),
            sure => sure,
        }
    }

    /// The comments above it, where both sides have it. Where both changed them all of them stay.
    pub(super) fn above(&self) -> String {
        let above = |item: Option<&Item>| item.map(|item| item.above.clone()).unwrap_or_default();
        merge_comments(&above(self.base), &above(self.ours), &above(self.theirs))
    }

    /// What comes of taking a side, which may have none of it.
    pub(super) fn taken(&self, take: Take) -> Option<Out> {
        let item = if take == Take::Theirs { self.theirs } else { self.ours }?;
        let above = if self.ours.is_some() && self.theirs.is_some() { self.above() } else { item.above.clone() };
        Some(Out::whole(&Item { above, ..item.clone() }))
    }
}

/// Comments, merged: nobody's are lost.
pub(super) fn merge_comments(base: &str, ours: &str, theirs: &str) -> String {
    match take(&base, &ours, &theirs) {
        Take::Ours => ours.to_string(),
        Take::Theirs => theirs.to_string(),
        Take::Neither => {
            let new = theirs.split_inclusive('\n').filter(|line| !line.trim().is_empty() && !ours.contains(line) && !base.contains(line));
            ours.to_string() + &new.collect::<String>()
        }
    }
}

/// Merges the keys of a map: each as `decide` says, in ours' order, with what theirs alone has behind what it stands behind there.
pub(super) fn merge(base: &[Item], ours: &[Item], theirs: &[Item], decide: &mut dyn FnMut(&str, Three<'_>) -> Option<Out>) -> Vec<Out> {
    let by_key = |items| -> HashMap<String, &Item> { <[Item]>::iter(items).map(|item| (item.key.clone(), item)).collect() };
    let (in_base, in_ours, in_theirs) = (by_key(base), by_key(ours), by_key(theirs));
    let three = |key: &str| Three { base: in_base.get(key).copied(), ours: in_ours.get(key).copied(), theirs: in_theirs.get(key).copied() };
    order(ours, theirs).into_iter().filter_map(|key| decide(key, three(key))).collect()
}

/// The keys of both in one order.
fn order<'a>(ours: &'a [Item], theirs: &'a [Item]) -> Vec<&'a str> {
    let in_ours: HashSet<&str> = ours.iter().map(|item| item.key.as_str()).collect();
    let in_theirs: HashSet<&str> = theirs.iter().map(|item| item.key.as_str()).collect();
    // What theirs alone has, by the key of both that it stands behind.
    let mut behind: HashMap<Option<&str>, Vec<&str>> = HashMap::new();
    let mut last = None;
    for item in theirs {
        match in_ours.contains(item.key.as_str()) {
            true => last = Some(item.key.as_str()),
            false => behind.entry(last).or_default().push(&item.key),
        }
    }
    let mut order = Vec::new();
    let mut waiting = behind.remove(&None).unwrap_or_default();
    for item in ours {
        let key = item.key.as_str();
        if in_theirs.contains(key) {
            order.append(&mut waiting);
            waiting = behind.remove(&Some(key)).unwrap_or_default();
        }
        // Ours' own additions at the same place come first.
        order.push(key);
    }
    order.append(&mut waiting);
    order
}

/// A key whose value is a map on both sides, with the merged map below it.
pub(super) fn nested(three: Three<'_>, children: Vec<Out>) -> Option<Out> {
    let (ours, theirs) = (three.ours?, three.theirs?);
    // Ours unless theirs alone changed it; the braces of an empty map are no matter of taste.
    let line = |item: &Item| item.line_of_map(false);
    let frame = if take(&three.base.map(line), &Some(line(ours)), &Some(line(theirs))) == Take::Theirs { theirs } else { ours };
    let value = |side: usize| {
        let map: Map<String, Value> = children.iter().filter_map(|out| Some((out.key.clone(), out.values[side].clone()?))).collect();
        Some(Value::Object(map))
    };
    let values = [value(0), value(1)];
    let mut pieces = vec![Piece::Text(format!("{}{}", three.above(), frame.line_of_map(children.is_empty())))];
    pieces.extend(children.into_iter().flat_map(|out| out.pieces));
    Some(Out { key: ours.key.clone(), pieces, values })
}

#[cfg(test)]
mod tests {
    use super::super::items::Sheet;
    use super::*;

    #[test]
    fn additions_stand_behind_what_they_stood_behind() {
        let keys = |text: &str| Sheet::read(&text.split(' ').map(|k| format!("{k}: 1\n")).collect::<String>()).unwrap().items;
        for (ours, theirs, want) in [
            ("a b", "a b", "a b"),
            ("a b", "b a", "a b"),
            ("a b", "a b c d", "a b c d"),
            ("a b x", "a b c d", "a b x c d"),
            ("a x b", "a c b", "a x c b"),
            ("a b", "c a d b", "c a d b"),
            ("x", "y", "x y"),
            ("x a", "y a", "x y a"),
        ] {
            assert_eq!(order(&keys(ours), &keys(theirs)), want.split(' ').collect::<Vec<_>>(), "{ours} and {theirs}");
        }
    }

    #[test]
    fn nobody_s_comments_are_lost() {
        for (base, ours, theirs, want) in [
            ("# a\n", "# a\n", "# b\n", "# b\n"),
            ("# a\n", "# c\n", "# a\n", "# c\n"),
            ("# a\n", "# c\n", "# b\n", "# c\n# b\n"),
            ("# a\n", "# a\n# c\n", "\n# a\n# b\n", "# a\n# c\n# b\n"),
        ] {
            assert_eq!(merge_comments(base, ours, theirs), want);
        }
    }
}
