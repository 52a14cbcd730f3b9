//! A registry's one canonical name, and the key under which each consumer looks it up.

use std::fmt;

/// A registry: `host` or `host:port`, lower-case, without scheme and trailing slash; Docker Hub under its many names is
/// `docker.io`. A path is kept apart, since only podman's file may be keyed by one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry {
    authority: String,
    path: Option<String>,
}

/// The canonical name of Docker Hub here; consumers know it under other keys.
pub const HUB: &str = "docker.io";

/// What was changed to get the canonical name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameNote {
    /// Nothing.
    None,
    /// A scheme or a trailing slash was dropped, or upper case lowered.
    Normalised,
    /// One of Docker Hub's API names stood for `docker.io`.
    HubAlias,
    /// `hub.docker.com` is Docker Hub's web site and serves no images: taken as `docker.io`, with a warning.
    HubWebsite,
}

impl Registry {
    /// Reads a registry's name as people write it (format case 44): `https://harbor.example.org/`, `oci://host`,
    /// `index.docker.io`. The error names the rule and the way out; a registry's name is not a secret and is quoted.
    pub fn parse(text: &str) -> Result<(Self, NameNote), String> {
        let shown = without_user(text);
        let lower = text.trim().to_ascii_lowercase();
        if lower == "https://index.docker.io/v1/" || lower == "https://index.docker.io/v1" {
            return Ok((Registry { authority: HUB.into(), path: None }, NameNote::HubAlias));
        }
        let rest = match lower.split_once("://") {
            None => lower.as_str(),
            Some(("https" | "http" | "oci" | "docker", rest)) => rest,
            Some((scheme, _)) => return Err(format!("registry `{shown}` has the unknown scheme `{scheme}://`; write the host alone")),
        };
        if rest.contains("://") {
            return Err(format!("registry `{shown}` has two schemes (Helm strips only `oci://`); write the host alone"));
        }
        let rest = rest.trim_end_matches('/');
        let (authority, path) = match rest.split_once('/') {
            Some((a, p)) => (a, Some(p)),
            None => (rest, None),
        };
        check_authority(authority).map_err(|why| format!("registry `{shown}` {why}"))?;
        if let Some(p) = path {
            let ok = p.split('/').all(|s| {
                s.starts_with(|c: char| c.is_ascii_alphanumeric()) && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            });
            if !ok {
                return Err(format!("registry `{shown}` has a path that is no repository name"));
            }
        }
        let (authority, note) = match authority {
            "index.docker.io" | "registry-1.docker.io" => (HUB, NameNote::HubAlias),
            "hub.docker.com" => (HUB, NameNote::HubWebsite),
            a if rest != text => (a, NameNote::Normalised),
            a => (a, NameNote::None),
        };
        Ok((Registry { authority: authority.to_string(), path: path.map(str::to_string) }, note))
    }

    /// `host` or `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without its port; what netrc knows.
    pub fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, _)) if !host.ends_with(':') && !self.authority.ends_with(']') => host,
            _ => &self.authority,
        }
    }

    /// The path below the host, which only podman's file may be keyed by.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Whether this is Docker Hub.
    pub fn is_hub(&self) -> bool {
        self.authority == HUB
    }

    /// Whether this is Amazon ECR: `ACCOUNT.dkr.ecr.REGION.amazonaws.com` (and `.com.cn`), whose tokens end after 12 hours.
    pub fn is_ecr(&self) -> bool {
        let host = self.host();
        host.contains(".dkr.ecr") && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
    }

    /// The key in Docker's config.json (docker/cli `configfile/file.go`: Hub has a legacy key of its own).
    pub fn docker_key(&self) -> &str {
        if self.is_hub() { "https://index.docker.io/v1/" } else { &self.authority }
    }

    /// Where its API answers: `host` or `host:port`. Docker Hub's is not under the name that people use (distribution/reference
    /// `normalize.go`; moby `registry/config.go`, DefaultRegistryHost).
    pub fn api_authority(&self) -> &str {
        if self.is_hub() { "registry-1.docker.io" } else { &self.authority }
    }

    /// The hosts that enroot's curl may ask for this registry's login: the registry itself and the host of its token
    /// realm, as far as they are publicly known (enroot `doc/cmd/import.md`; formats A6). Others come from `auth_hosts`.
    pub fn netrc_hosts(&self) -> Vec<&str> {
        match self.authority.as_str() {
            HUB => vec!["registry-1.docker.io", "auth.docker.io", "docker.io", "index.docker.io"],
            "nvcr.io" => vec!["nvcr.io", "authn.nvidia.com"],
            "registry.gitlab.com" => vec!["registry.gitlab.com", "gitlab.com"],
            _ => vec![self.host()],
        }
    }
}

/// A registry's name as it may be shown: in `https://alice:PASSWORD@host` what stands before the host is no name.
pub fn without_user(text: &str) -> std::borrow::Cow<'_, str> {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("...@{host}").into(),
        None => text.into(),
    }
}

/// A DNS name, an IPv4 address or a bracketed IPv6 address, with an optional port.
fn check_authority(authority: &str) -> Result<(), String> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (v6, after) = rest.split_once(']').ok_or("has an unclosed `[`")?;
        v6.parse::<std::net::Ipv6Addr>().map_err(|_| "has no IPv6 address between its brackets")?;
        (None, after.strip_prefix(':').or(if after.is_empty() { None } else { Some("x") }))
    } else {
        match authority.split_once(':') {
            Some((h, p)) => (Some(h), Some(p)),
            None => (Some(authority), None),
        }
    };
    if let Some(port) = port
        && !port.parse::<u16>().is_ok_and(|p| p > 0 && !port.starts_with('+'))
    {
        return Err("has a port that is no number from 1 to 65535".into());
    }
    if let Some(host) = host {
        if host.is_empty() {
            return Err("has no host".into());
        }
        let label_ok = |l: &str| {
            !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-') && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if host.len() > 253 || !host.split('.').all(label_ok) {
            return Err("is no host name; write it as `host` or `host:port`".into());
        }
    }
    Ok(())
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}/{path}", self.authority),
            None => f.write_str(&self.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str, note: NameNote) {
        let (r, n) = Registry::parse(text).unwrap();
        assert_eq!((r.to_string().as_str(), n), (want, note), "{text}");
    }

    #[test]
    fn names_are_normalised_as_in_case_44() {
        check("nvcr.io", "nvcr.io", NameNote::None);
        check("harbor.example.org:8443", "harbor.example.org:8443", NameNote::None);
        check("https://harbor.example.org/", "harbor.example.org", NameNote::Normalised);
        check("Harbor.Example.org", "harbor.example.org", NameNote::Normalised);
        check("oci://harbor.example.org/proj", "harbor.example.org/proj", NameNote::Normalised);
        check("harbor.example.org/proj", "harbor.example.org/proj", NameNote::None);
        check("index.docker.io", "docker.io", NameNote::HubAlias);
        check("registry-1.docker.io", "docker.io", NameNote::HubAlias);
        check("https://index.docker.io/v1/", "docker.io", NameNote::HubAlias);
        check("hub.docker.com", "docker.io", NameNote::HubWebsite);
        check("docker.io", "docker.io", NameNote::None);
        check("[::1]:5000", "[::1]:5000", NameNote::None);
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let told = Registry::parse("https://alice:hunter2@h.example").unwrap_err();
        assert!(told.contains("`...@h.example`") && !told.contains("hunter2") && !told.contains("alice"), "{told}");
        for bad in ["", "oci://https://h", "ftp://h", "h:0", "h:port", "h:+5", "a b", "h/../x", "[::1", "-h", "h..x", "[::1]x", "ü.example"] {
            assert!(Registry::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn consumers_keys() {
        let hub = Registry::parse("docker.io").unwrap().0;
        assert_eq!(hub.docker_key(), "https://index.docker.io/v1/");
        assert_eq!(hub.netrc_hosts(), ["registry-1.docker.io", "auth.docker.io", "docker.io", "index.docker.io"]);
        let h = Registry::parse("harbor.example.org:8443").unwrap().0;
        assert_eq!((h.docker_key(), h.host()), ("harbor.example.org:8443", "harbor.example.org"));
    }
}
