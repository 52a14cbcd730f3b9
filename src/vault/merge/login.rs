//! One login that both sides changed, merged by its fields.

use serde_json::Value;

use super::items::Item;
use super::tree::{self, Out, Take, Three, nested, take};
use crate::model::Fingerprint;

/// What a seal binds together: none of the three makes sense with another side's two.
const SEALED: [&str; 3] = ["registry", "username", "password"];
/// By which the holder of the audit key knows what these three are.
const FINGERPRINT: &str = "fingerprint";
/// What a rotation replaces.
const PREVIOUS: &str = "previous";

/// A login that both sides have. `why` takes the reasons for which it cannot be merged.
pub(super) fn merge(three: Three<'_>, why: &mut Vec<String>) -> Option<Out> {
    let (ours, theirs) = (three.ours?, three.theirs?);
    let base = three.base.map(|item| item.children().unwrap_or_default()).unwrap_or_default();
    let both = |why: &mut Vec<String>, reason: &str| {
        why.push(reason.to_string());
        Some(Out::both(&ours.key, three.above(), Some(ours), Some(theirs)))
    };
    let (Some(in_ours), Some(in_theirs), Some(_)) = (ours.children(), theirs.children(), three.base) else {
        return match three.take() {
            Take::Neither if three.base.is_none() => both(why, "both sides added it, each in its way"),
            Take::Neither => both(why, "both sides changed it, and it does not stand in block style"),
            sure => three.taken(sure),
        };
    };
    let fields = [&base[..], &in_ours[..], &in_theirs[..]];
    let (sealed, fingerprint) = match sealed(&fields) {
        Ok(takes) => takes,
        Err(reason) => return both(why, reason),
    };
    let mut reasons = Vec::new();
    let children = tree::merge(&base, &in_ours, &in_theirs, &mut |key, field| {
        let chosen = match key {
            _ if SEALED.contains(&key) => sealed,
            FINGERPRINT => fingerprint,
            _ => field.take(),
        };
        if chosen == Take::Neither {
            reasons.push(format!("both sides changed its `{key}`"));
        }
        field.taken(chosen)
    });
    if reasons.is_empty() {
        return nested(three, children);
    }
    both(why, &reasons.join(" and "))
}

/// Whose registry, account and password, and whose fingerprint.
fn sealed(fields: &[&[Item]; 3]) -> Result<(Take, Take), &'static str> {
    let [base, ours, theirs] = fields;
    let text = |items: &[Item], key: &str| items.iter().find(|i| i.key == key).map(Item::own);
    let value = |items: &[Item], key: &str| {
        let value = items.iter().find(|i| i.key == key).map(|i| i.value.clone());
        // Armor may end with a line break or without.
        value.map(|v| v.as_str().map_or(v.clone(), |text| Value::from(text.trim())))
    };
    let values = |items: &[Item]| SEALED.map(|key| value(items, key));
    let texts = |items: &[Item]| SEALED.map(|key| text(items, key));
    let (was, ours_now, theirs_now) = (values(base), values(ours), values(theirs));
    let prints = || (value(base, FINGERPRINT), value(ours, FINGERPRINT), value(theirs, FINGERPRINT));
    let previous = |items: &[Item]| value(items, PREVIOUS);
    if ours_now == theirs_now {
        // The same on both sides; only its form may differ.
        let (was, now, then) = prints();
        let form = take(&texts(base), &texts(ours), &texts(theirs));
        return Ok((if form == Take::Theirs { Take::Theirs } else { Take::Ours }, take(&was, &now, &then)));
    }
    let chosen = match take(&was, &ours_now, &theirs_now) {
        Take::Neither => one_password(fields, &value)?,
        sure => sure,
    };
    let other_previous = if chosen == Take::Ours { previous(theirs) } else { previous(ours) };
    if other_previous != previous(base) {
        return Err("one side has another password, and the other began or ended a rotation");
    }
    // A fingerprint is that of one password: it goes where the password goes. Where the password's side left it alone it still holds.
    Ok((chosen, chosen))
}

/// Whose seal to take where both sides sealed anew, when the fingerprints say that one of them did not change the password.
fn one_password(fields: &[&[Item]; 3], value: &dyn Fn(&[Item], &str) -> Option<Value>) -> Result<Take, &'static str> {
    let [base, ours, theirs] = fields;
    let account = |items: &[Item]| (value(items, "registry"), value(items, "username"));
    let print = |items: &[Item]| value(items, FINGERPRINT).filter(|v| v.as_str().is_some_and(|text| Fingerprint::parse(text).is_ok()));
    if account(ours) != account(theirs) {
        return Err("both sides changed its registry, its account or its password");
    }
    match (print(base), print(ours), print(theirs)) {
        (_, Some(a), Some(b)) if a == b => Ok(Take::Ours),
        (Some(was), Some(now), _) if was == now && account(base) == account(ours) => Ok(Take::Theirs),
        (Some(was), _, Some(now)) if was == now && account(base) == account(theirs) => Ok(Take::Ours),
        _ => Err("both sides sealed its password anew, and only who opens both can tell whether it is one"),
    }
}
