//! Docker's `config.json` (docker/cli `cli/config/configfile/file.go`), which nerdctl reads by the same code, and podman, skopeo, Helm
//! and Apptainer where they have no file of their own.

use super::Consumer;
use super::auths::{self, Dialect, Helpers, alias_for_docker, bad_for_docker};
use crate::model::TargetKind;

/// Docker's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Docker,
    default_path: "/root/.docker/config.json",
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
    name: "docker",
    key: |registry| registry.docker_key().to_string(),
    is_alias: alias_for_docker,
    helpers: Helpers::Docker,
    bad: bad_for_docker,
    // Docker takes it for no logins, but this file has other readers.
    empty: Some("podman and skopeo refuse"),
    paths: false,
};

/// Whether docker reads the file, so that what it says of helpers counts.
pub(super) fn reads(bytes: &[u8]) -> bool {
    auths::is_read(&DIALECT, bytes)
}

/// Whether docker asks a helper for every registry that has none of its own, whatever else stands in the file.
pub(super) fn has_store(bytes: &[u8]) -> bool {
    auths::has_store(&DIALECT, bytes)
}

/// What the file holds, as docker takes it.
pub fn held(bytes: &[u8]) -> Result<Vec<auths::Holding>, String> {
    auths::holdings(&DIALECT, bytes)
}
