//! Rules on what stands in the open: usernames and registries. A username is never shown.

use super::rules::id;
use super::{Look, values};
use crate::model::LoginEntry;

pub(super) fn look(login: &LoginEntry, look: &mut Look<'_>) {
    let username = login.username.as_str();
    let what = format!("login `{}` for {}", login.name, login.registry);
    let mut find = |id, message: &str| look.find(id, &login.place, format!("{what}: {message}"));
    if values::is_token(username) {
        find(id::SWAPPED, "its username is a token; username and password are the wrong way round");
    } else if values::is_variable(username, false) {
        find(id::VARIABLE, "its username looks like a variable that nobody expanded");
    } else if values::is_placeholder(username) {
        find(id::PLACEHOLDER, "its username looks like a placeholder");
    } else if login.registry.host() == NGC && username != NGC_USERNAME {
        find(id::NGC_USERNAME, "its username is not `$oauthtoken`, the one that NGC knows");
    }
    if let Some((_, registry)) = TOKEN_SERVERS.iter().find(|(server, _)| *server == login.registry.host()) {
        find(id::TOKEN_SERVER, &format!("this is the token server of {registry}"));
    }
    if username.trim() != username {
        find(id::EDGE_SPACE, "its username begins or ends with white space");
    }
}

/// Token servers and their registries; enroot's own examples once had the first alone, and pulls stayed anonymous (enroot issue 241).
const TOKEN_SERVERS: [(&str, &str); 2] = [("auth.docker.io", "docker.io"), ("authn.nvidia.com", "nvcr.io")];

/// NVIDIA's registry, whose tokens all have one username (enroot `doc/cmd/import.md`).
const NGC: &str = "nvcr.io";
const NGC_USERNAME: &str = "$oauthtoken";
