//! A target: one consumer's file (or files) on a host, and the logins it gets.

use std::fmt;

use super::{FileMode, Mirror, Registry, RemotePath};

/// The consumers that regprov writes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetKind {
    /// Docker's config.json.
    Docker,
    /// The auth.json of podman, skopeo and buildah.
    Podman,
    /// enroot's `.credentials`.
    Enroot,
    /// The environment files of Singularity and Apptainer.
    Singularity,
    /// The docker-config.json of Apptainer and SingularityCE.
    Apptainer,
    /// Helm's registry/config.json.
    Helm,
    /// The kubelet's config.json.
    Kubelet,
    /// The auth file of CRI-O, and the drop-in that names it.
    Crio,
    /// The registries.yaml of k3s.
    K3s,
    /// The registries.yaml of RKE2.
    Rke2,
    /// A drop-in for containerd's CRI plugin.
    Containerd,
    /// A pull-through proxy in the configuration of docker, podman and containerd; it has no login.
    DockerMirror,
}

impl TargetKind {
    /// All of them, in the order in which reports name them.
    pub const ALL: [TargetKind; 12] = [
        TargetKind::Docker,
        TargetKind::Podman,
        TargetKind::Enroot,
        TargetKind::Singularity,
        TargetKind::Apptainer,
        TargetKind::Helm,
        TargetKind::Kubelet,
        TargetKind::Crio,
        TargetKind::K3s,
        TargetKind::Rke2,
        TargetKind::Containerd,
        TargetKind::DockerMirror,
    ];

    /// The word in the inventory, in `--target` and in reports.
    pub fn name(self) -> &'static str {
        match self {
            TargetKind::Docker => "docker",
            TargetKind::Podman => "podman",
            TargetKind::Enroot => "enroot",
            TargetKind::Singularity => "singularity",
            TargetKind::Apptainer => "apptainer",
            TargetKind::Helm => "helm",
            TargetKind::Kubelet => "kubelet",
            TargetKind::Crio => "crio",
            TargetKind::K3s => "k3s",
            TargetKind::Rke2 => "rke2",
            TargetKind::Containerd => "containerd",
            TargetKind::DockerMirror => "docker-mirror",
        }
    }

    /// Whether it finds a login by a registry with a path, and so takes two logins for two paths of one host (containers/image
    /// `pkg/docker/config/config.go` authKeysForKey). Others read such a key as the whole host, or not at all.
    pub fn knows_paths(self) -> bool {
        self == TargetKind::Podman
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to do where a credential helper shadows our login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HelperPolicy {
    /// Refuse the file: our login would never be used.
    #[default]
    Fail,
    /// Remove the `credHelpers` entry of our registries (never `credsStore`).
    Remove,
    /// Hand the login to the helper.
    Store,
}

/// A target on one host, resolved: what is written where, for which logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The consumer.
    pub kind: TargetKind,
    /// Whose home it lies in and who writes it; `None` is root (or the SSH user, with `root:`).
    pub user: Option<String>,
    /// The file (docker, enroot) or the directory (singularity), without the host's `root:`. With `user:` a path below
    /// [`Target::HOME`] stands for one in that user's home, which the node tells.
    pub path: RemotePath,
    /// Owner by name or number; `None` is who writes (root).
    pub owner: Option<String>,
    /// Group by name or number; `None` is that of who writes (root).
    pub group: Option<String>,
    /// Permission bits of the files with secrets.
    pub mode: FileMode,
    /// Names of the logins, sorted.
    pub logins: Vec<String>,
    /// What to do with credential helpers that stand before our logins.
    pub helper: HelperPolicy,
    /// Registries whose logins a program on the node makes, instead of a password in the file; sorted by registry.
    pub cred_helpers: Vec<CredHelper>,
    /// Whether the service that reads the file when it starts is restarted when the file changed.
    pub restart: bool,
    /// For docker-mirror, which always has one: the mirror.
    pub mirror: Option<Mirror>,
}

/// A registry and the credential helper that the consumer shall ask for its logins: an entry of `credHelpers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredHelper {
    /// The registry, without a path.
    pub registry: Registry,
    /// The program's name behind `docker-credential-` (`ecr-login`), of letters, digits, `.`, `_` and `-`; never empty.
    pub helper: String,
}

impl Target {
    /// A target with nothing but its file: root's, 0600, no login.
    pub fn at(kind: TargetKind, path: RemotePath) -> Self {
        let (mode, helper) = (FileMode::public(0o600), HelperPolicy::default());
        Target { kind, user: None, path, owner: None, group: None, mode, logins: Vec::new(), helper, cred_helpers: Vec::new(), restart: false, mirror: None }
    }

    /// What stands for the home of the target's `user:` until the node has told it; no path of the inventory can name it.
    pub const HOME: &'static str = "/~";

    /// What stands for the path of a target with `path: auto` until the node's configuration has told it; no path of the inventory can
    /// name it.
    pub const AUTO: &'static str = "/~auto";

    /// Whether the node tells where its file lies.
    pub fn is_auto(&self) -> bool {
        self.path.as_str() == Self::AUTO
    }

    /// A path that stands for one in the user's home: the part behind the home, without a slash.
    pub fn below_home(path: &RemotePath) -> Option<&str> {
        path.as_str().strip_prefix(Self::HOME)?.strip_prefix('/')
    }

    /// A path in the user's home as people write it: `~alice/.docker/config.json`. `None` for a path that lies elsewhere.
    pub fn in_home(&self, path: &RemotePath) -> Option<String> {
        Some(format!("~{}/{}", self.user.as_deref()?, Self::below_home(path)?))
    }

    /// Its path as people write it, without the host's `root:`.
    pub fn shown_path(&self) -> String {
        if self.is_auto() {
            return "auto".to_string();
        }
        self.in_home(&self.path).unwrap_or_else(|| self.path.to_string())
    }
}

/// curl's version on a node, which decides what enroot's file may hold. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CurlVersion(pub u16, pub u16, pub u16);

impl CurlVersion {
    /// Reads `8.14.1`, `7.61`, also with a suffix such as `8.5.0-DEV`.
    pub fn parse(text: &str) -> Option<Self> {
        let core = text.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
        let mut n = core.split('.').map(|p| p.parse::<u16>().ok());
        let (major, minor, patch) = (n.next()??, n.next()??, n.next().unwrap_or(Some(0))?);
        if n.next().is_some() { None } else { Some(CurlVersion(major, minor, patch)) }
    }
}

impl fmt::Display for CurlVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curl_versions() {
        assert_eq!(CurlVersion::parse("7.61"), Some(CurlVersion(7, 61, 0)));
        assert_eq!(CurlVersion::parse("8.5.0-DEV"), Some(CurlVersion(8, 5, 0)));
        assert!(CurlVersion::parse("8.14.1") > CurlVersion::parse("8.5.0"));
        for bad in ["", "x", "8", "8.", "8.1.2.3"] {
            assert_eq!(CurlVersion::parse(bad), None, "{bad}");
        }
    }
}
