//! What a node runs beside reading and writing files, in words of fixed grammar: they become words of a command there.

use std::fmt;

/// The name of a credential helper: `NAME` of the program `docker-credential-NAME` that docker runs (docker/cli
/// `cli/config/credentials/native_store.go`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HelperName(String);

impl HelperName {
    /// The longest name, in bytes.
    const BYTES_MAX: usize = 64;

    /// Letters, digits, `.`, `_` and `-`. `None` for what is no name of a program that regprov would run.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= Self::BYTES_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        fits.then(|| HelperName(name.to_string()))
    }

    /// The name alone, as Docker's file has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HelperName {
    /// The program: `docker-credential-pass`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.0)
    }
}

/// A service that regprov may restart, because it reads its logins when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceUnit {
    /// A k3s server.
    K3s,
    /// A k3s agent.
    K3sAgent,
    /// An RKE2 server.
    Rke2Server,
    /// An RKE2 agent.
    Rke2Agent,
    /// CRI-O.
    Crio,
    /// containerd.
    Containerd,
    /// Docker's daemon.
    Docker,
    /// The kubelet.
    Kubelet,
}

impl ServiceUnit {
    /// All of them; tasks.sh has the same list.
    pub const ALL: [ServiceUnit; 8] = [
        ServiceUnit::K3s,
        ServiceUnit::K3sAgent,
        ServiceUnit::Rke2Server,
        ServiceUnit::Rke2Agent,
        ServiceUnit::Crio,
        ServiceUnit::Containerd,
        ServiceUnit::Docker,
        ServiceUnit::Kubelet,
    ];

    /// The name of the unit, as systemd and OpenRC know it.
    pub fn name(self) -> &'static str {
        match self {
            ServiceUnit::K3s => "k3s",
            ServiceUnit::K3sAgent => "k3s-agent",
            ServiceUnit::Rke2Server => "rke2-server",
            ServiceUnit::Rke2Agent => "rke2-agent",
            ServiceUnit::Crio => "crio",
            ServiceUnit::Containerd => "containerd",
            ServiceUnit::Docker => "docker",
            ServiceUnit::Kubelet => "kubelet",
        }
    }
}

impl fmt::Display for ServiceUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_helpers() {
        for good in ["pass", "ecr-login", "secretservice", "a.b_c", "osxkeychain"] {
            assert_eq!(HelperName::parse(good).unwrap().to_string(), format!("docker-credential-{good}"));
        }
        for bad in ["", "a b", "../x", "a/b", "a;b", "$x", "a\n", "ä", "a'b", &"x".repeat(65)] {
            assert_eq!(HelperName::parse(bad), None, "{bad:?}");
        }
    }
}
