//! Which keys of a document mean the same registry, for each of its readers.

use crate::model::Registry;

/// The names under which Docker Hub stands in files (containers/image `pkg/docker/config/config.go` normalizeRegistry).
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Whether a key is an old name of a registry that we manage: with a scheme (docker/cli `credentials/file_store.go`
/// ConvertToHostname), a trailing slash or an API version, or another of Docker Hub's names (containers/image
/// `docker/config/config.go` normalizeRegistry). `host/namespace` is none: podman reads it as a key of its own.
pub(in crate::format) fn alias_for_docker(key: &str, registry: &Registry) -> bool {
    key != registry.docker_key() && is_name(key, registry, |schemed, path| schemed || is_api(path))
}

/// The same for containers/image (normalizeAuthFileKey): behind a scheme any path is dropped, else a path is a key of its own. A
/// registry with a path has one name only.
pub(in crate::format) fn alias_for_containers(key: &str, registry: &Registry) -> bool {
    registry.path().is_none() && key != registry.to_string() && is_name(key, registry, |schemed, path| schemed || is_api(path))
}

/// The same for the kubelet (Kubernetes `pkg/credentialprovider/keyring.go` Add): only the API's version is dropped, so a path is
/// a key of its own with a scheme too.
pub(in crate::format) fn alias_for_kubelet(key: &str, registry: &Registry) -> bool {
    key != registry.docker_key() && is_name(key, registry, |_, path| is_api(path))
}

/// Whether the key is for a path below the registry, which for some programs comes before the registry itself.
pub(super) fn is_below(key: &str, registry: &Registry) -> bool {
    let (_, host, path) = split(key);
    let host = if registry.is_hub() && HUB_HOSTS.contains(&host.as_str()) { registry.authority() } else { &host };
    host == registry.authority() && !is_api(&path) && registry.path().is_none_or(|own| path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')))
}

/// Whether the key names the registry's host, and what stands behind it changes nothing.
fn is_name(key: &str, registry: &Registry, nothing: impl Fn(bool, &str) -> bool) -> bool {
    let (schemed, host, path) = split(key);
    let is_host = if registry.is_hub() { HUB_HOSTS.contains(&host.as_str()) } else { host == registry.authority() };
    is_host && nothing(schemed, &path)
}

/// A key in lower case: whether it has a scheme, its host, and its path.
fn split(key: &str) -> (bool, String, String) {
    let lower = key.to_ascii_lowercase();
    let (schemed, rest) = match lower.split_once("://") {
        Some(("http" | "https", rest)) => (true, rest),
        _ => (false, lower.as_str()),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (schemed, host.to_string(), path.to_string())
}

/// Whether a path is nothing, or a version of the registry's API.
fn is_api(path: &str) -> bool {
    matches!(path, "" | "v1" | "v1/" | "v2" | "v2/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether docker, podman and the kubelet each take the key for another name of the registry.
    #[track_caller]
    fn aliases(key: &str, registry: &str, want: [bool; 3]) {
        let registry = Registry::parse(registry).unwrap().0;
        let got = [alias_for_docker(key, &registry), alias_for_containers(key, &registry), alias_for_kubelet(key, &registry)];
        assert_eq!(got, want, "{key} of {registry}");
    }

    #[test]
    fn names_of_one_registry() {
        for key in ["https://nvcr.io", "https://nvcr.io/", "https://nvcr.io/v1/", "http://nvcr.io", "nvcr.io/", "NVCR.IO", "nvcr.io/v2/"] {
            aliases(key, "nvcr.io", [true; 3]);
        }
        aliases("https://nvcr.io/any/path", "nvcr.io", [true, true, false]);
        for key in ["nvcr.io", "nvcr.io/team", "nvcr.io:443", "https://xnvcr.io", "nvcr.io.example", "ftp://nvcr.io", "", "*.io"] {
            aliases(key, "nvcr.io", [false; 3]);
        }
        for key in ["index.docker.io", "https://index.docker.io", "registry-1.docker.io", "https://docker.io/v2/"] {
            aliases(key, "docker.io", [true; 3]);
        }
        aliases("docker.io", "docker.io", [true, false, true]);
        aliases("https://index.docker.io/v1/", "docker.io", [false, true, false]);
        for key in ["auth.docker.io", "docker.io/acme"] {
            aliases(key, "docker.io", [false; 3]);
        }
        aliases("https://h.example:5000/v2/", "h.example:5000", [true; 3]);
        aliases("h.example", "h.example:5000", [false; 3]);
    }

    #[test]
    fn a_registry_with_a_path_has_one_name() {
        let team = Registry::parse("nvcr.io/team").unwrap().0;
        for key in ["nvcr.io", "https://nvcr.io", "nvcr.io/team", "nvcr.io/team/app", "https://nvcr.io/team"] {
            assert!(!alias_for_containers(key, &team), "{key}");
        }
    }

    #[test]
    fn keys_below_a_registry() {
        #[track_caller]
        fn below(key: &str, registry: &str, want: bool) {
            assert_eq!(is_below(key, &Registry::parse(registry).unwrap().0), want, "{key} of {registry}");
        }
        below("nvcr.io/team", "nvcr.io", true);
        below("docker.io/acme", "docker.io", true);
        below("index.docker.io/acme", "docker.io", true);
        below("nvcr.io/team/app", "nvcr.io/team", true);
        for (key, registry) in
            [("nvcr.io", "nvcr.io"), ("nvcr.io/v2/", "nvcr.io"), ("x.io/team", "nvcr.io"), ("nvcr.io/teams", "nvcr.io/team"), ("nvcr.io", "nvcr.io/team")]
        {
            below(key, registry, false);
        }
    }
}
