//! A host whose `/` is a folder, the login that it gets, and how it ended.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

use regprov::model::{Host, HostRow, Login, Registry, RemotePath, Secret, Target, TargetKind, Username};
use regprov::push::Logins;

/// A target at its path.
pub(crate) type At = (TargetKind, &'static str);

/// Gets `hub` in these targets.
pub(crate) fn host(name: &str, root: &Path, targets: &[At]) -> Host {
    let path = |p: &str| RemotePath::parse(p).unwrap();
    let target = |(kind, p): &At| Target { logins: vec!["hub".into()], ..Target::at(*kind, path(p)) };
    Host { root: path(root.to_str().unwrap()), targets: targets.iter().map(target).collect(), ..Host::named(name) }
}

/// `hub`, with this password.
pub(crate) fn logins(password: &str) -> Logins {
    let hub = Login {
        name: "hub".into(),
        registry: Registry::parse("docker.io").unwrap().0,
        username: Username::parse("alice").unwrap(),
        password: Secret::new(password.to_string()),
        auth_hosts: vec![],
        expires: None,
    };
    BTreeMap::from([("hub".to_string(), hub)])
}

/// How a host ended: `changed`, or `failed connect: REASON`.
pub(crate) fn told(row: &HostRow) -> String {
    match row.outcome.trouble() {
        Some((stage, reason)) => format!("{} {stage}: {reason}", row.outcome.name()),
        None => row.outcome.name().to_string(),
    }
}
