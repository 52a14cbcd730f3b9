//! What an admin should know of logins before they go anywhere.

use super::plan::Planned;
use crate::format::{self, CONSUMERS};
use crate::model::{Login, RemotePath, Target};

/// One line for each thing that will not work as it stands. `now` is in seconds since 1970.
pub(super) fn of(logins: &[Planned], now: i64) -> Vec<String> {
    let mut notes = Vec::new();
    for (i, Planned { name, login, .. }) in logins.iter().enumerate() {
        let username = login.username.as_str();
        match &login.expires {
            Some(end) if end.is_past(now) => notes.push(format!("login `{name}` has ended on {}: put a new password into it before `regprov apply`", end.text)),
            None if login.registry.is_ecr() && username == "AWS" => {
                notes.push(format!("login `{name}`: a token of Amazon ECR ends after 12 hours, and this one does not say when"));
            }
            None if username == "oauth2accesstoken" => notes.push(format!("login `{name}`: an access token of Google ends after an hour")),
            _ => {}
        }
        if login.registry.path().is_some() {
            notes.push(format!("login `{name}`: only podman targets take a registry with a path; for the others write {}", login.registry.authority()));
        }
        if let Some(first) = logins[..i].iter().find(|o| o.login.registry == login.registry) {
            notes.push(format!(
                "logins `{}` and `{name}` are both for {}: a file takes one of them, so name it under a target's `logins:`",
                first.name, login.registry
            ));
        }
        notes.extend(refusals(name, login));
    }
    notes
}

/// Which consumers cannot be given the login, whatever the node is like.
fn refusals(name: &str, found: &super::FoundLogin) -> Vec<String> {
    let login = Login {
        name: name.to_string(),
        registry: found.registry.clone(),
        username: found.username.clone(),
        password: found.password.clone(),
        auth_hosts: found.auth_hosts.clone(),
        expires: None,
    };
    let takes = |c: &&format::Consumer| c.logins && (found.registry.path().is_none() || c.kind.knows_paths());
    let target = |c: &format::Consumer| Target::at(c.kind, RemotePath::parse(c.default_path).expect("a test reads the default paths of the table"));
    CONSUMERS.iter().filter(takes).flat_map(|c| (c.check)(&target(c), &[&login])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Found, Plan};
    use crate::model::Secret;

    const NOW: i64 = 1_800_000_000;

    #[track_caller]
    fn check(logins: &[(&str, &str, &str)], want: &[&str]) {
        let mut found = Found::default();
        for (registry, username, password) in logins {
            found.take(registry, username, Secret::new(password.to_string()), "x");
        }
        let notes = Plan::new(found, &[], &[], false, NOW).unwrap().notes;
        assert!(notes.len() == want.len() && notes.iter().zip(want).all(|(n, w)| n.contains(w)), "{notes:#?} instead of {want:?}");
        assert!(notes.iter().all(|n| !n.contains("hunter2")), "{notes:?}");
    }

    #[test]
    fn ordinary_logins_need_none() {
        check(&[("docker.io", "alice", "dckr_pat_X-1"), ("nvcr.io", "$oauthtoken", "nvapi-AbC_123"), ("h:5000", "robot$x+y", "p@$$w0rd")], &[]);
    }

    #[test]
    fn what_will_not_work_is_told() {
        // {"alg":"none"} and {"exp":1700000000}
        let ended = "eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDAwMDB9.c2ln";
        check(&[("h.example", "u", ended)], &["login `h` has ended on 2023-11-14T22:13:20Z"]);
        check(&[("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "AWS", "hunter2")], &["ends after 12 hours"]);
        check(&[("eu.gcr.io", "oauth2accesstoken", "hunter2")], &["ends after an hour"]);
        check(&[("h.example/team", "u", "hunter2")], &["only podman targets take a registry with a path; for the others write h.example"]);
        check(&[("docker.io", "a", "hunter2"), ("docker.io", "b", "hunter2")], &["logins `hub` and `hub-2` are both for docker.io"]);
        check(&[("h.example", "default", "hunter2")], &["username of login \"h\" (h.example) cannot be written for enroot"]);
        check(&[("h.example", "u", " hunter2 ")], &["cannot be written for singularity"]);
    }
}
