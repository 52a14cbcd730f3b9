//! The other edits: a login goes, gets another name or another seal, and the vault's stamp.

use serde_json::{Map, Value};

use super::lines::{Lines, password_lines_of, scalar, split_comment};
use crate::error::{Error, Result};
use crate::model::VaultStamp;
use crate::model::text::escape;
use crate::vault::document::{SealPlace, VaultDocument, quiet, yaml_error};

/// The text of `file` without the login `name`, and without the comment that stands right above it.
pub fn remove_login(file: &str, text: &str, name: &str) -> Result<String> {
    let refused = |why: &str| refused(file, &format!("login `{}` cannot be taken out", escape(name)), why);
    let document = VaultDocument::parse(file, text)?;
    document.login(name).ok_or_else(|| refused("it does not stand here"))?;
    let lines = Lines::new(text);
    let place = lines.login(name).ok_or_else(|| refused(NOT_BLOCK))?;
    let spliced = if document.logins().count() == 1 {
        let (_, value) = lines.find_key("logins", 0, 0..lines.lines.len()).ok_or_else(|| refused(NOT_BLOCK))?;
        let empty = format!("logins: {{}}{}", split_comment(value).1);
        lines.replace(place.section.start - 1..place.section.end, &[empty])
    } else {
        // What describes the section stands right below `logins:`, and is no login's.
        let above = (place.section.start..place.key).rev().take_while(|i| lines.lines[*i].trim().starts_with('#')).last();
        let start = above.filter(|first| *first > place.section.start).unwrap_or(place.key);
        lines.replace(start..place.fields.end, &[])
    };
    checked(
        file,
        text,
        spliced,
        || refused(NOT_BLOCK),
        |top| {
            logins(top).shift_remove(name);
        },
    )
}

/// The text of `file` with the login `old` under the name `new`, in its place. Its seal stays: the name is not sealed.
pub fn rename_login(file: &str, text: &str, old: &str, new: &str) -> Result<String> {
    let refused = |why: &str| refused(file, &format!("login `{}` cannot be renamed", escape(old)), why);
    let document = VaultDocument::parse(file, text)?;
    document.login(old).ok_or_else(|| refused("it does not stand here"))?;
    if document.login(new).is_some() {
        return Err(refused(&format!("there is a login `{}` already", escape(new))));
    }
    let lines = Lines::new(text);
    let place = lines.login(old).ok_or_else(|| refused(NOT_BLOCK))?;
    let behind = format!("{:indent$}{}:{}", "", scalar(new), place.comment, indent = place.indent);
    let spliced = lines.replace(place.key..place.key + 1, &[behind]);
    checked(
        file,
        text,
        spliced,
        || refused(NOT_BLOCK),
        |top| {
            let renamed = std::mem::take(logins(top)).into_iter().map(|(name, login)| (if name == old { new.to_string() } else { name }, login)).collect();
            *logins(top) = renamed;
        },
    )
}

/// The text of `file` without the password of sudo.
pub fn remove_become(file: &str, text: &str) -> Result<String> {
    const KEY: &str = "become_password";
    let refused = |why: &str| refused(file, "the password of sudo cannot be taken out", why);
    let lines = Lines::new(text);
    let all = 0..lines.lines.len();
    let (at, _) = lines.find_key(KEY, 0, all.clone()).ok_or_else(|| refused("it does not stand here"))?;
    let spliced = lines.replace(at..lines.value_of(at, 0, &all).end, &[]);
    checked(
        file,
        text,
        spliced,
        || refused(NOT_BLOCK),
        |top| {
            top.shift_remove(KEY);
        },
    )
}

/// The text of `file` with another seal as the password of the login `name`; with `previous` as that of what its rotation replaces.
pub fn replace_seal(file: &str, text: &str, name: &str, previous: bool, armored: &str) -> Result<String> {
    let place = if previous { SealPlace::Previous(name.to_string()) } else { SealPlace::Login(name.to_string()) };
    replace_seals(file, text, &[(place, armored.to_string())])
}

/// The text of `file` with other seals in these places.
pub fn replace_seals(file: &str, text: &str, seals: &[(SealPlace, String)]) -> Result<String> {
    let mut spliced = text.to_string();
    for (place, armored) in seals {
        spliced = splice_seal(&spliced, place, armored).map_err(|why| refused(file, &format!("{place} cannot be sealed again"), why))?;
    }
    let refused = || refused(file, "its passwords cannot be sealed again", NOT_BLOCK);
    checked(file, text, spliced, refused, |top| {
        for (place, armored) in seals {
            let (holder, key) = match place {
                SealPlace::Become => (Some(&mut *top), "become_password"),
                SealPlace::Login(name) => (logins(top).get_mut(name).and_then(Value::as_object_mut), "password"),
                SealPlace::Previous(name) => {
                    let login = logins(top).get_mut(name).and_then(Value::as_object_mut);
                    (login.and_then(|l| l.get_mut("previous")).and_then(Value::as_object_mut), "password")
                }
            };
            if let Some(holder) = holder {
                holder.insert(key.to_string(), Value::String(armored.clone()));
            }
        }
    })
}

fn splice_seal(text: &str, place: &SealPlace, armored: &str) -> std::result::Result<String, &'static str> {
    let lines = Lines::new(text);
    let (fields, indent, key) = match place {
        SealPlace::Become => (0..lines.lines.len(), 0, "become_password"),
        SealPlace::Login(name) => {
            let (fields, indent) = lines.fields_of(name).ok_or(NOT_BLOCK)?;
            (fields, indent, "password")
        }
        SealPlace::Previous(name) => {
            let (fields, indent) = lines.fields_of(name).ok_or(NOT_BLOCK)?;
            let (at, _) = lines.find_key("previous", indent, fields.clone()).ok_or("no rotation of it is under way")?;
            let fields = lines.value_of(at, indent, &fields);
            let indent = fields.clone().find_map(|i| lines.indent(i)).ok_or(NOT_BLOCK)?;
            (fields, indent, "password")
        }
    };
    let (at, value) = lines.find_key(key, indent, fields.clone()).ok_or("it has no password")?;
    let comment = split_comment(value).1;
    Ok(lines.replace(at..lines.value_of(at, indent, &fields).end, &password_lines_of(key, armored, indent, 2, comment)))
}

/// The text of `file` with this stamp. A new one stands behind everything else, so that a file that was cut has none.
pub fn stamp(file: &str, text: &str, stamp: &VaultStamp) -> Result<String> {
    let refused = || refused(file, "its `vault_id` and `vault_serial` cannot be set", NOT_BLOCK);
    let mut spliced = text.to_string();
    for (key, value) in [(ID, scalar(&stamp.id)), (SERIAL, stamp.serial.to_string())] {
        let lines = Lines::new(&spliced);
        let all = 0..lines.lines.len();
        spliced = match lines.find_key(key, 0, all.clone()) {
            Some((at, old)) => lines.replace(at..at + 1, &[format!("{key}: {value}{}", split_comment(old).1)]),
            None => lines.replace(all.end..all.end, &[format!("{key}: {value}")]),
        };
    }
    checked(file, text, spliced, refused, |top| {
        // A key that is there keeps its place in the order, which counts for nothing here.
        top.insert(ID.to_string(), Value::String(stamp.id.clone()));
        top.insert(SERIAL.to_string(), Value::from(stamp.serial));
    })
}

/// The key of a stamp's id.
const ID: &str = "vault_id";
/// The key of a stamp's serial.
const SERIAL: &str = "vault_serial";

pub(super) const NOT_BLOCK: &str = "its lines cannot be told from others";

pub(super) fn refused(file: &str, what: &str, why: &str) -> Error {
    let error = Error::vault(format!("{file}: {what}: {why}; nothing was written"));
    if why == NOT_BLOCK { error.hint("write the file in block style, without anchors and tags") } else { error }
}

/// `spliced`, when its value is that of `text` after `change`.
pub(super) fn checked(file: &str, text: &str, spliced: String, refused: impl Fn() -> Error, change: impl FnOnce(&mut Map<String, Value>)) -> Result<String> {
    let value = |text: &str| -> Result<Map<String, Value>> {
        let value: Value = serde_yaml::from_str_with_options(text, quiet()).map_err(|e| yaml_error(file, &e))?;
        Ok(if let Value::Object(map) = value { map } else { Map::new() })
    };
    let mut want = value(text)?;
    change(&mut want);
    // An empty section is as good as none.
    let bare = |mut map: Map<String, Value>| {
        if map.get("logins").is_some_and(|l| l.is_null() || l.as_object().is_some_and(Map::is_empty)) {
            map.shift_remove("logins");
        }
        map
    };
    let got = value(&spliced).map_err(|_| refused())?;
    if bare(got) == bare(want) { Ok(spliced) } else { Err(refused()) }
}

pub(super) fn logins(top: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let logins = top.entry("logins").or_insert_with(|| Value::Object(Map::new()));
    if !logins.is_object() {
        *logins = Value::Object(Map::new());
    }
    logins.as_object_mut().expect("it was made one two lines above")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAL: &str = "-----BEGIN AGE ENCRYPTED FILE-----\nbmV3\n-----END AGE ENCRYPTED FILE-----\n";

    const VAULT: &str = "# ours\nversion: 1\nlogins:\n  # all of them\n  ngc: # NVIDIA\n    registry: nvcr.io\n    username: $oauthtoken\n    password: |\n      -----BEGIN\n      old\n    previous:\n      username: u\n      password: |\n        older\n\n  # the hub\n  \"hub\":\n    registry: docker.io\n# end\n";

    #[track_caller]
    fn same(got: Result<String>, want: &str) {
        let got = got.unwrap();
        assert_eq!(got, want, "\n--- got\n{got}\n--- wanted\n{want}");
    }

    #[track_caller]
    fn no(got: Result<String>, why: &str) {
        let error = got.expect_err("refused").to_string();
        assert!(error.contains(why) && error.contains("nothing was written"), "{error}");
    }

    #[test]
    fn a_login_goes_with_its_comment() {
        same(remove_login("v", VAULT, "hub"), &VAULT.replace("  # the hub\n  \"hub\":\n    registry: docker.io\n", ""));
        let without = remove_login("v", VAULT, "ngc").unwrap();
        same(Ok(without.clone()), "# ours\nversion: 1\nlogins:\n  # all of them\n\n  # the hub\n  \"hub\":\n    registry: docker.io\n# end\n");
        same(remove_login("v", &without, "hub"), "# ours\nversion: 1\nlogins: {}\n# end\n");
        no(remove_login("v", VAULT, "nope"), "does not stand here");
        no(remove_login("v", "logins: {a: {registry: x}}\n", "a"), "cannot be told");
    }

    #[test]
    fn a_login_gets_another_name() {
        same(rename_login("v", VAULT, "ngc", "nvidia"), &VAULT.replace("  ngc: # NVIDIA", "  nvidia: # NVIDIA"));
        same(rename_login("v", VAULT, "hub", "yes"), &VAULT.replace("\"hub\":", "'yes':"));
        no(rename_login("v", VAULT, "ngc", "hub"), "already");
        no(rename_login("v", VAULT, "nope", "x"), "does not stand here");
        no(rename_login("v", "logins: {a: {registry: x}}\n", "a", "b"), "cannot be told");
        no(rename_login("v", "logins:\n  a: {registry: x}\n", "a", "b"), "cannot be told");
    }

    #[test]
    fn the_password_of_sudo_goes() {
        let with = VAULT.replace("logins:", "become_password: | # of the nodes\n  -----BEGIN\n  old\n\n# who\nlogins:");
        same(remove_become("v", &with), &VAULT.replace("logins:", "\n# who\nlogins:"));
        no(remove_become("v", VAULT), "does not stand here");
        no(remove_become("v", "{become_password: x}\n"), "does not stand here");
        no(remove_become("v", "become_password: &a x\nlogins: {a: {password: *a}}\n"), "cannot be told");
    }

    #[test]
    fn a_seal_is_replaced() {
        let block = |indent: &str| SEAL.lines().map(|l| format!("{indent}{l}\n")).collect::<String>();
        same(replace_seal("v", VAULT, "ngc", false, SEAL), &VAULT.replace("      -----BEGIN\n      old\n", &block("      ")));
        same(replace_seal("v", VAULT, "ngc", true, SEAL), &VAULT.replace("        older\n", &block("        ")));
        no(replace_seal("v", VAULT, "hub", false, SEAL), "no password");
        no(replace_seal("v", VAULT, "hub", true, SEAL), "no rotation");
    }

    #[test]
    fn a_stamp_stands_at_the_end() {
        let one = VaultStamp { id: "v0f00ff00ff00ff00".into(), serial: 1 };
        let stamped = stamp("v", VAULT, &one).unwrap();
        same(Ok(stamped.clone()), &format!("{VAULT}vault_id: v0f00ff00ff00ff00\nvault_serial: 1\n"));
        let two = VaultStamp { serial: 2, ..one };
        same(stamp("v", &stamped, &two), &stamped.replace("serial: 1", "serial: 2"));
        same(stamp("v", "logins: {}", &two), "logins: {}\nvault_id: v0f00ff00ff00ff00\nvault_serial: 2\n");
    }
}
