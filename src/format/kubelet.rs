//! The kubelet's `config.json` (Kubernetes `pkg/credentialprovider/config.go` and `keyring.go`), which holds the node's pull secrets
//! whatever its container runtime is. The kubelet reads `auths` alone: no helpers, no tokens.
//!
//! Its keys may hold `*` for a part of a host name, and a path; such keys of others stay. It tries every login that matches an image, the
//! more specific key first, so ours is tried after them.

use super::Consumer;
use super::auths::{self, Dialect, Helpers, alias_for_kubelet, bad_for_kubelet};
use crate::model::TargetKind;

/// The kubelet's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Kubelet,
    default_path: "/var/lib/kubelet/config.json",
    one_login: false,
    directory: false,
    in_home: false,
    logins: true,
    restart: &[],
    files: auths::files,
    check: auths::check,
    wants: auths::wants,
    merge: |m| auths::merge(&DIALECT, m),
    read_back: |m, bytes| auths::read_back(&DIALECT, m, bytes),
    keys: |registry, _| vec![registry.docker_key().to_string()],
    is_alias: alias_for_kubelet,
    entries: |spec, bytes, _| auths::entries(&DIALECT, spec, bytes),
    remove: |r| auths::remove(&DIALECT, r),
};

const DIALECT: Dialect = Dialect {
    name: "kubelet",
    key: |registry| registry.docker_key().to_string(),
    is_alias: alias_for_kubelet,
    helpers: Helpers::None,
    bad: bad_for_kubelet,
    empty: Some("the kubelet refuses"),
    paths: true,
};

/// What the file holds, as the kubelet takes it.
pub fn held(bytes: &[u8]) -> Result<Vec<auths::Holding>, String> {
    auths::holdings(&DIALECT, bytes)
}
