//! Helm's registry configuration (helm `pkg/registry/client.go`, oras-go `registry/remote/credentials`): Docker's schema and keys.
//!
//! An entry that does not decode is one without a login, and the others are read. Helm 3 before it took oras-go 2 read the file by Docker's
//! code, which rejects the whole file for it, so such an entry of others is told.
//!
//! Helm goes on to Docker's file for what it does not find here, so this file is written only where it is asked for.

use super::Consumer;
use super::auths::{self, Bad, Dialect, Helpers, alias_for_docker, bad_for_docker};
use crate::model::TargetKind;

/// Helm's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Helm,
    default_path: "/root/.config/helm/registry/config.json",
    one_login: false,
    directory: false,
    in_home: true,
    logins: true,
    restart: &[],
    files: auths::files,
    check: auths::check,
    wants: auths::wants,
    merge: |m| auths::merge(&DIALECT, m),
    read_back: |m, bytes| auths::read_back(&DIALECT, m, bytes),
    keys: |registry, _| vec![registry.docker_key().to_string()],
    is_alias: alias_for_docker,
    entries: |spec, bytes, _| auths::entries(&DIALECT, spec, bytes),
    remove: |r| auths::remove(&DIALECT, r),
};

const DIALECT: Dialect = Dialect {
    name: "helm",
    key: |registry| registry.docker_key().to_string(),
    is_alias: alias_for_docker,
    helpers: Helpers::Oras,
    // Each entry is decoded by itself, when it is looked up (oras-go `internal/config/config.go` GetCredential).
    bad: |entry| {
        bad_for_docker(entry).map(|bad| match bad {
            Bad::File(why) | Bad::Entry(why) => Bad::Entry(why),
        })
    },
    empty: None,
    paths: false,
};
