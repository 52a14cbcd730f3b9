//! The `auth.json` of podman, skopeo and buildah (containers/image `pkg/docker/config/config.go`).
//!
//! They look into several files, and the first one with a match answers (getAuthFilePaths): the one that `podman login` writes lies
//! in /run and is gone after a reboot, ours comes after it and stays. What stands in the earlier ones is told.

use super::auths::{self, Dialect, Helpers, alias_for_containers, bad_for_containers};
use super::{Consumer, Merge, Merged, Wants};
use crate::model::{Login, Target, TargetKind};

/// Podman's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Podman,
    default_path: "/root/.config/containers/auth.json",
    one_login: false,
    directory: false,
    in_home: true,
    logins: true,
    restart: &[],
    files: auths::files,
    check: auths::check,
    wants,
    merge,
    read_back: |m, bytes| auths::read_back(&DIALECT, m, bytes),
    keys: |registry, _| vec![registry.to_string()],
    is_alias: alias_for_containers,
    entries: |spec, bytes, _| auths::entries(&DIALECT, spec, bytes),
    remove: |r| auths::remove(&DIALECT, r),
};

/// How containers/image reads the file; CRI-O does so too.
const DIALECT: Dialect = Dialect {
    name: "podman",
    key: |registry| registry.to_string(),
    is_alias: alias_for_containers,
    helpers: Helpers::PerRegistry,
    bad: bad_for_containers,
    empty: Some("podman and skopeo refuse"),
    paths: true,
};

/// Whether the entry of this key ends the search with an error, where it is the one that is taken: its `auth` is no base64
/// (decodeDockerAuth). Entries without `auth`, or without a colon in it, are passed over.
pub fn stops(file: &[u8], key: &str) -> bool {
    auths::is_undecodable(&DIALECT, file, key)
}

/// Where they look without being told, below a home or `XDG_CONFIG_HOME`.
const IN_HOME: &str = "/.config/containers/auth.json";

/// The files that come before ours. Which of them is the first one depends on XDG_RUNTIME_DIR, so both are looked at.
fn wants(target: &Target, logins: &[&Login]) -> Wants {
    let uid = Wants::UID;
    let earlier = [format!("/run/containers/{uid}/auth.json"), format!("/run/user/{uid}/containers/auth.json")];
    let conf = if is_searched(target) { earlier.into() } else { Vec::new() };
    Wants { conf, ..auths::wants(target, logins) }
}

/// Whether they find the file by their search. One that is named to them is the only one that they read.
fn is_searched(target: &Target) -> bool {
    target.path.as_str().ends_with(IN_HOME)
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    let mut merged = auths::merge(&DIALECT, m)?;
    if !is_searched(m.target) {
        merged.notes.push("podman reads this file only where `REGISTRY_AUTH_FILE` or `--authfile` names it".into());
        return Ok(merged);
    }
    for (path, content) in &m.facts.conf {
        merged.notes.extend(match auths::shadow(&DIALECT, content, m.logins) {
            Ok(None) => None,
            Ok(Some(key)) => {
                Some(format!("shadowed by {path} until reboot: it has {key}, and podman looks there first; `podman logout` it, or remove the file"))
            }
            Err(why) => Some(format!("shadowed by {path} until reboot: it {why}, and podman, which looks there first, stops at that; remove the file")),
        });
    }
    Ok(merged)
}

/// What the file holds, as podman takes it.
pub fn held(bytes: &[u8]) -> Result<Vec<auths::Holding>, String> {
    auths::holdings(&DIALECT, bytes)
}
