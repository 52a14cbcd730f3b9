//! A pull-through proxy of a registry, as configuration of the nodes instead of a prefix that people type.

use std::fmt;

use super::Registry;

/// A mirror of a registry, and who shall use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Whether it is asked over plain HTTP.
    plain_http: bool,
    /// Where it serves: a host, and perhaps a path below which it has the registry's repositories (a project of Harbor's).
    place: Registry,
    /// The registry that it stands for.
    pub registry: Registry,
    /// The programs that get it, each once, in the order of [`Runtime::ALL`].
    pub runtimes: Vec<Runtime>,
}

/// A program that can be told to ask a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// dockerd: `registry-mirrors` in daemon.json, for Docker Hub alone.
    Docker,
    /// podman, skopeo, buildah and CRI-O: registries.conf.d.
    Podman,
    /// containerd: certs.d.
    Containerd,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Runtime; 3] = [Runtime::Docker, Runtime::Podman, Runtime::Containerd];

    /// The word in the inventory.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Podman => "podman",
            Runtime::Containerd => "containerd",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

impl Mirror {
    /// Reads `https://HOST[:PORT][/PATH]`, for this registry and all programs that can use it.
    pub fn parse(url: &str, registry: Registry) -> Result<Mirror, String> {
        let (plain_http, rest) = match url.split_once("://") {
            Some(("https", rest)) => (false, rest),
            Some(("http", rest)) => (true, rest),
            _ => return Err(format!("mirror `{url}` does not begin with https://")),
        };
        if rest.contains(['@', '?', '#']) {
            return Err("a mirror is a host and a path, without user, `?` and `#`; a login for it is a login of its own".to_string());
        }
        let (place, _) = Registry::parse(rest).map_err(|why| why.replacen("registry", "mirror", 1))?;
        if place.authority() == registry.authority() {
            return Err(format!("mirror `{url}` is {} itself", registry.authority()));
        }
        let mut mirror = Mirror { plain_http, place, registry, runtimes: Vec::new() };
        mirror.runtimes = Runtime::ALL.into_iter().filter(|r| mirror.refusal(*r).is_none()).collect();
        Ok(mirror)
    }

    /// Why a program cannot use this mirror.
    ///
    /// dockerd asks mirrors for Docker Hub's images alone (moby `daemon/pkg/registry/service_v2.go`), and puts a mirror's path before the
    /// API's `/v2/` (up to 25 it refuses a path, `ValidateMirror`), where a project of Harbor's comes behind it.
    pub fn refusal(&self, runtime: Runtime) -> Option<&'static str> {
        match runtime {
            Runtime::Docker if !self.registry.is_hub() => Some("dockerd knows mirrors of Docker Hub only"),
            Runtime::Docker if self.place.path().is_some() => Some(
                "dockerd puts a mirror's path before `/v2/`, or refuses it, so it never reaches a project behind it; give the mirror a host name of its own",
            ),
            _ => None,
        }
    }

    /// Its scheme: `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.plain_http { "http" } else { "https" }
    }

    /// Host, port and path without the scheme.
    pub fn place(&self) -> &Registry {
        &self.place
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, registry: &str, want: Result<&str, &str>) {
        let got = Mirror::parse(url, Registry::parse(registry).unwrap().0);
        let got = got.map(|m| format!("{m} {}", m.runtimes.iter().map(|r| r.name()).collect::<Vec<_>>().join(" ")));
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{url}"),
            (Err(got), Err(want)) => assert!(got.contains(want), "{url}: {got}"),
            (got, want) => panic!("{url}: {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn a_mirror_is_for_who_can_use_it() {
        check("https://m.example.org", "docker.io", Ok("https://m.example.org docker podman containerd"));
        check("https://M.example.org:5000/", "docker.io", Ok("https://m.example.org:5000 docker podman containerd"));
        check("https://registry.example.org/base", "docker.io", Ok("https://registry.example.org/base podman containerd"));
        check("http://m.example.org", "quay.io", Ok("http://m.example.org podman containerd"));
        check("m.example.org", "docker.io", Err("does not begin with https://"));
        check("https://u:hunter@m.example.org", "docker.io", Err("without user"));
        check("https://m.example.org?x", "docker.io", Err("without user"));
        check("https://quay.io", "quay.io", Err("is quay.io itself"));
        check("https://m.example.org/../x", "docker.io", Err("has a path that is no repository name"));
        check("https://", "docker.io", Err("has no host"));
    }
}
