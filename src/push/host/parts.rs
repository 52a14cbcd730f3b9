//! The parts of a host: its files by whose rights write them, and how those rights are had.

use crate::format::consumer;
use crate::model::{Host, Stage};
use crate::node::run_as::RunAs;
use crate::transport::Trouble;

/// Whose rights the files of `user` need (`None`: root's) on a host where we log in as `login`, and how they are had.
pub(in super::super) fn run_as(host: &Host, login: &str, user: Option<&str>) -> Result<RunAs, Trouble> {
    let becomes = host.becomes_root;
    match user {
        None if becomes && login != "root" => Ok(RunAs::Sudo { user: None }),
        None => Ok(RunAs::Login),
        Some(user) if user == login => Ok(RunAs::Login),
        Some(user) if becomes && login != "root" => Ok(RunAs::Sudo { user: Some(user.to_string()) }),
        Some(user) if login == "root" => Ok(RunAs::Su { user: user.to_string() }),
        Some(user) => {
            let why = format!("files of {user} cannot be written by {login}; log in as root or as {user}, or set `become: true`");
            Err(Trouble::new(Stage::Start, why))
        }
    }
}

/// The targets of a host that are written with one user's rights.
pub(in super::super) struct Part {
    /// Whose; `None` is root, or who logs in.
    pub(in super::super) user: Option<String>,
    /// The host with these targets only.
    pub(in super::super) host: Host,
    /// The place of each file of theirs among all files of the host.
    pub(in super::super) index: Vec<usize>,
}

/// The parts of a host, root's first and then the users in the order of their targets; with `root` there is one of root's in any case.
pub(super) fn parts(host: &Host, root: bool) -> Vec<Part> {
    let part = |user: Option<String>| Part { user, host: Host { targets: Vec::new(), ..host.clone() }, index: Vec::new() };
    let mut parts: Vec<Part> = root.then(|| part(None)).into_iter().collect();
    let mut position = 0;
    for target in &host.targets {
        let files = (consumer(target.kind).files)(target).len();
        let at = parts.iter().position(|p| p.user == target.user).unwrap_or_else(|| {
            parts.push(part(target.user.clone()));
            parts.len() - 1
        });
        parts[at].host.targets.push(target.clone());
        parts[at].index.extend(position..position + files);
        position += files;
    }
    parts.sort_by_key(|p| p.user.is_some());
    parts
}
