//! Names for logins that have none yet.

use crate::model::Registry;

/// Labels of a host that say what it is and not whose.
const GENERIC: [&str; 12] = ["registry", "registry-1", "docker", "containers", "container", "images", "index", "cr", "oci", "hub", "www", "dkr"];

/// The name of a login for this registry: the one that people use, else the first part of its host that tells something, with the path
/// behind it. Letters, digits, `.`, `_` and `-`, begun by a letter or digit.
pub(super) fn derive(registry: &Registry) -> String {
    let base = match registry.host() {
        "docker.io" => "hub".to_string(),
        "nvcr.io" => "ngc".to_string(),
        "registry.gitlab.com" => "gitlab".to_string(),
        _ if registry.is_ecr() => "ecr".to_string(),
        host => telling(host).to_string(),
    };
    match registry.path() {
        Some(path) => format!("{base}-{}", path.replace('/', "-")),
        None => base,
    }
}

fn telling(host: &str) -> &str {
    let labels: Vec<&str> = host.split('.').collect();
    // An address tells nothing.
    if host.contains(':') || labels.iter().all(|l| l.bytes().all(|b| b.is_ascii_digit())) {
        return "registry";
    }
    // ACR's first label is the registry's own name, however short.
    if host.ends_with(".azurecr.io") {
        return fit(labels[0]);
    }
    // The last one is a top level domain, unless it stands alone.
    let candidates = &labels[..labels.len().max(2) - 1];
    let tells = |l: &&&str| l.len() > 2 && !GENERIC.contains(*l) && !l.bytes().all(|b| b.is_ascii_digit());
    fit(candidates.iter().find(tells).or(candidates.first()).unwrap_or(&"registry"))
}

fn fit(label: &str) -> &str {
    match label.trim_matches(|c: char| !c.is_ascii_alphanumeric()) {
        "" => "registry",
        fits => fits,
    }
}

/// The name itself, or the name with the first number from 2 on that is free.
pub(super) fn free(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(name) {
        return name.to_string();
    }
    (2..).map(|n| format!("{name}-{n}")).find(|name| !is_taken(name)).expect("there are more numbers than logins")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_give_their_names() {
        for (registry, want) in [
            ("docker.io", "hub"),
            ("https://index.docker.io/v1/", "hub"),
            ("nvcr.io", "ngc"),
            ("registry.gitlab.com", "gitlab"),
            ("ghcr.io", "ghcr"),
            ("quay.io", "quay"),
            ("eu.gcr.io", "gcr"),
            ("europe-west4-docker.pkg.dev", "europe-west4-docker"),
            ("harbor.example.org:8443", "harbor"),
            ("registry.example.org", "example"),
            ("registry", "registry"),
            ("localhost:5000", "localhost"),
            ("10.0.0.1:5000", "registry"),
            ("[::1]:5000", "registry"),
            ("my.azurecr.io", "my"),
            ("123456789012.dkr.ecr.eu-west-2.amazonaws.com", "ecr"),
            ("_x_.example.org", "x"),
            ("harbor.example.org/team/app", "harbor-team-app"),
        ] {
            let name = derive(&Registry::parse(registry).unwrap().0);
            assert_eq!(name, want, "{registry}");
            assert!(crate::model::login::check_name(&name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_are_made_unique() {
        let taken = ["hub", "hub-2", "ngc-2"];
        for (name, want) in [("hub", "hub-3"), ("ngc", "ngc"), ("hub-2", "hub-2-2")] {
            assert_eq!(free(name, |n| taken.contains(&n)), want);
        }
    }
}
