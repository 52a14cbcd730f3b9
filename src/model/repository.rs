//! The name of a repository within a registry.

use std::fmt;

use super::Registry;

/// A repository as a registry knows it, without host, tag and digest: `nvidia/cuda`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository(String);

impl Repository {
    /// Reads a name (OCI distribution-spec 1.1, "Pulling manifests": `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, parts between slashes), at most
    /// 255 characters. The error says which rule it broke.
    pub fn parse(name: &str) -> Result<Self, String> {
        let shown = super::text::printable(name, 80);
        if name.contains("://") || name.contains('@') || name.contains(':') {
            return Err(format!("`{shown}` is no repository; write it without registry, tag and digest, as in `nvidia/cuda`"));
        }
        if name.len() > 255 || !name.split('/').all(is_part) {
            return Err(format!("`{shown}` is no repository; its parts are lower-case letters and digits, with `.`, `_` and `-` between them"));
        }
        Ok(Repository(name.to_string()))
    }

    /// The name under which `registry` has it: on Docker Hub, a name without a slash stands for an official image (`alpine` is
    /// `library/alpine`; distribution/reference `normalize.go`, splitDockerDomain).
    pub fn at(&self, registry: &Registry) -> String {
        if registry.is_hub() && !self.0.contains('/') { format!("library/{}", self.0) } else { self.0.clone() }
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One part between slashes: runs of letters and digits, with one separator between them.
fn is_part(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_well = part.bytes().next().is_some_and(alphanumeric) && part.bytes().last().is_some_and(alphanumeric);
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|s| !s.is_empty());
    ends_well && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_distribution_spec() {
        for good in ["alpine", "library/alpine", "nvidia/cuda", "a/b/c/d", "a.b", "a_b", "a__b", "a-b", "a---b", "0", "a.b-c_d/e"] {
            assert!(Repository::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in ["", "/", "a/", "/a", "a//b", "A", "a b", ".a", "a.", "a..b", "a___b", "a._b", "a:v1", "a@sha256:00", "https://h/a", "ä", "a\n", &long] {
            assert!(Repository::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn official_images_of_the_hub_have_a_folder() {
        let at = |registry: &str, name: &str| Repository::parse(name).unwrap().at(&Registry::parse(registry).unwrap().0);
        assert_eq!(at("docker.io", "alpine"), "library/alpine");
        assert_eq!(at("docker.io", "acme/tiny"), "acme/tiny");
        assert_eq!(at("ghcr.io", "alpine"), "alpine");
    }
}
