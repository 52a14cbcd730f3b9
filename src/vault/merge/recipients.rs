//! The list of recipients: whom either side added is in, whom either side removed is out.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::items::entries;
use super::tree::{Out, Piece, Three};
use crate::vault::diff::recipient_key;
use crate::vault::is_age_file;

/// The merged list; `None` where it stands in a form that cannot be spliced.
pub(super) fn merge(three: Three<'_>) -> Option<Out> {
    let (ours, theirs) = (three.ours?, three.theirs?);
    let was = keys(three.base.map(|item| &item.value));
    let (in_ours, in_theirs) = (entries(ours)?, entries(theirs)?);
    let (ours_keys, theirs_keys) = (keys(Some(&ours.value)), keys(Some(&theirs.value)));
    let removed: HashSet<&String> = was.iter().filter(|key| !ours_keys.contains(*key) || !theirs_keys.contains(*key)).collect();
    let base: Vec<(String, String)> = three.base.and_then(entries).unwrap_or_default();
    let lines_of = |list: &[(String, String)], key: &str| list.iter().find(|(text, _)| recipient_key(text) == key).cloned();
    let mut merged: Vec<(String, String)> = Vec::new();
    for (text, lines) in in_ours {
        let key = recipient_key(&text);
        if removed.contains(&key) {
            continue;
        }
        // Theirs may have changed the comment.
        let unchanged = lines_of(&base, &key).as_ref() == Some(&(text.clone(), lines.clone()));
        merged.push(if unchanged { lines_of(&in_theirs, &key).unwrap_or((text, lines)) } else { (text, lines) });
    }
    merged.extend(in_theirs.into_iter().filter(|(text, _)| {
        let key = recipient_key(text);
        !ours_keys.contains(&key) && !was.contains(&key)
    }));
    if merged.is_empty() {
        return None;
    }
    let body: String = merged.iter().map(|(_, lines)| lines.as_str()).collect();
    let value = Value::from(merged.into_iter().map(|(text, _)| text).collect::<Vec<_>>());
    let pieces = vec![Piece::Text(format!("{}{}{body}", three.above(), ours.line))];
    Some(Out { key: ours.key.clone(), pieces, values: [Some(value.clone()), Some(value)] })
}

/// The keys of a list, without what stands behind them.
pub(super) fn keys(list: Option<&Value>) -> HashSet<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(recipient_key).collect()
}

/// The logins whose seals were made for another list than the merged one. A seal is taken for one of the side's list on which it stands.
///
/// `sides` are ours and theirs, `merged` what came of them, once for each way to resolve its conflicts.
pub(super) fn sealed_for_others(sides: [&Map<String, Value>; 2], merged: [&Map<String, Value>; 2]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for merged in merged {
        let list = keys(merged.get("recipients"));
        let good: HashSet<&str> = sides.into_iter().filter(|side| keys(side.get("recipients")) == list).flat_map(seals).map(|(_, seal)| seal).collect();
        found.extend(seals(merged).filter(|(_, seal)| !good.contains(seal)).map(|(name, _)| name));
    }
    found.into_iter().collect()
}

/// Every seal of a vault, with the name of what it belongs to.
fn seals(vault: &Map<String, Value>) -> impl Iterator<Item = (String, &str)> {
    fn password(value: &Value) -> Option<&str> {
        value.get("password")?.as_str()
    }
    let logins = vault.get("logins").and_then(Value::as_object).into_iter().flatten();
    let of_logins = logins.flat_map(|(name, login)| {
        let both = [password(login), login.get("previous").and_then(password)];
        both.into_iter().flatten().map(move |seal| (name.clone(), seal))
    });
    let of_sudo = vault.get("become_password").and_then(Value::as_str).map(|seal| ("become_password".to_string(), seal));
    of_logins.chain(of_sudo).map(|(name, seal)| (name, seal.trim())).filter(|(_, seal)| is_age_file(seal.as_bytes()))
}
