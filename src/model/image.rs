//! The name of an image, as docker reads it.

use std::fmt;

use super::Registry;

/// An image: `[registry/]repository[:tag][@digest]`, normalised as docker does (distribution/reference `normalize.go`): without a registry it
/// is Docker Hub's, there a name without a slash is one of `library/`, and without tag and digest it is `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    registry: Registry,
    repository: String,
    reference: String,
}

impl Image {
    /// Reads a name. The error says which rule it broke.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |why: &str| Err(format!("image `{}` {why}; write it as `registry/repository:tag`", super::text::printable(text, 200)));
        if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return fault("is no image name");
        }
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let (domain, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) => (first, rest),
            _ => (super::registry::HUB, name),
        };
        let registry = match Registry::parse(domain) {
            Ok((registry, _)) if registry.path().is_none() => registry,
            Ok(_) => return fault("names no registry"),
            Err(why) => return Err(why),
        };
        let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
        let component = |c: &str| {
            let edges = c.starts_with(|c: char| c.is_ascii_alphanumeric()) && c.ends_with(|c: char| c.is_ascii_alphanumeric());
            edges && c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        if path.is_empty() || path.len() > 255 || !path.split('/').all(component) {
            return fault("has a repository that is none (lower-case letters, digits, `.`, `_`, `-`, between slashes)");
        }
        let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        if tag.is_some_and(|t| t.is_empty() || t.len() > 128 || !word(t.as_bytes()[0]) || !t.bytes().all(|c| word(c) || b".-".contains(&c))) {
            return fault("has a tag that is none");
        }
        let hex = |h: &str| h.len() >= 32 && h.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if digest.is_some_and(|d| !d.split_once(':').is_some_and(|(algorithm, h)| algorithm.bytes().all(|b| b.is_ascii_alphanumeric()) && hex(h))) {
            return fault("has a digest that is none");
        }
        let library = if registry.is_hub() && !path.contains('/') { "library/" } else { "" };
        // The digest is what is pulled where both are given.
        let reference = digest.or(tag).unwrap_or("latest").to_string();
        Ok(Image { registry, repository: format!("{library}{path}"), reference })
    }

    /// Where it comes from.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its repository, with `library/` where docker adds that.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, or the digest.
    pub fn reference(&self) -> &str {
        &self.reference
    }
}

impl std::str::FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for Image {
    /// The whole name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.reference.contains(':') { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.registry, self.repository, self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, want) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("acme/tool:1.2", "docker.io/acme/tool:1.2"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/acme/tool", "docker.io/acme/tool:latest"),
            ("nvcr.io/nvidia/pytorch:24.01-py3", "nvcr.io/nvidia/pytorch:24.01-py3"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("Harbor.example/a__b/c-d", "harbor.example/a__b/c-d:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
            (&format!("q.io/a:1@{digest}"), &format!("q.io/a@{digest}")),
        ] {
            assert_eq!(Image::parse(text).unwrap().to_string(), want, "{text}");
        }
        for bad in ["", "a b", "q.io/", "q.io/A", "q.io/a:", "q.io/a:-x", "q.io/a@sha256:12", "q.io/../x", "q.io/a\"b", "q.io//a", "q.io/a@", "q..io/a", "-x"] {
            assert!(Image::parse(bad).is_err(), "{bad}");
        }
    }
}
