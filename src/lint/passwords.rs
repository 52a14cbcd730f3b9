//! Rules on passwords. Each says what a password looks like and nothing of what it is; one that explains the others comes before them.

use zeroize::Zeroizing;

use super::rules::id;
use super::{Look, values};
use crate::model::{Login, LoginEntry};

pub(super) fn look(entry: &LoginEntry, login: &Login, look: &mut Look<'_>) {
    let (username, password) = (login.username.as_str(), login.password.expose());
    let what = format!("login `{}` for {}", login.name, login.registry);
    let mut find = |id, message: &str| look.find(id, &entry.place, format!("{what}: {message}"));
    if let Some(why) = json_key(username, password) {
        return find(id::JSON_KEY, why);
    }
    if username == "_json_key" {
        // A key file may end with a line break.
        return;
    }
    if values::is_prescribed_username(password) {
        find(id::SWAPPED, "its password is a username; username and password are the wrong way round");
    } else if values::is_variable(password, true) {
        find(id::VARIABLE, "its password looks like a variable that nobody expanded");
    } else if values::is_placeholder(password) {
        find(id::PLACEHOLDER, "its password looks like a placeholder");
    } else if values::is_base64_of_login(password, username) {
        find(id::BASE64_LOGIN, "its password looks like the base64 of a username and a password");
    } else if values::is_broken_base64(password) {
        find(id::BASE64_BREAKS, "its password looks like base64 that was broken into lines");
    } else if password.starts_with('$') {
        find(id::DOLLAR, "its password begins with `$`; regprov writes it so that nothing expands it");
    }
    let breaks = ['\n', '\r'];
    if password.starts_with(breaks) || password.ends_with(breaks) {
        find(id::LINE_BREAK, "its password begins or ends with a line break");
    } else if password.trim() != password {
        find(id::EDGE_SPACE, "its password begins or ends with white space");
    }
}

/// What is wrong with a login of Google's registries, whose username says what the password is
/// (<https://cloud.google.com/artifact-registry/docs/docker/authentication#json-key>).
fn json_key(username: &str, password: &str) -> Option<&'static str> {
    let encoded =
        || values::decoded(&Zeroizing::new(password.replace(['\n', '\r'], ""))).is_some_and(|d| std::str::from_utf8(&d).is_ok_and(values::is_google_key));
    match username {
        "_json_key" if values::is_google_key(password) => None,
        "_json_key" if encoded() => Some("its password is the base64 of a service account's key, which goes with the username `_json_key_base64`"),
        "_json_key" => Some("its password is no whole key file of a service account (JSON with a `private_key`)"),
        "_json_key_base64" if values::is_google_key(password) => {
            Some("its password is a service account's key itself, which goes with the username `_json_key`")
        }
        "_json_key_base64" if !encoded() => Some("its password is not the base64 of a service account's key file"),
        "_json_key_base64" if password.trim().contains(['\n', '\r']) => {
            Some("its password is base64 that was broken into lines; write it as one, with `base64 -w0`")
        }
        _ if values::is_google_key(password) => Some("its password is a service account's key file, which goes with the username `_json_key`"),
        _ => None,
    }
}
