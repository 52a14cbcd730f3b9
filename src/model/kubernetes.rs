//! What clusters get: namespaces, and the pull Secrets in them.

use std::collections::BTreeMap;
use std::fmt;

/// The word in reports for what stands in a cluster: a Secret, a service account.
pub const TARGET: &str = "kubernetes";

/// The type of the Secrets that are written (Kubernetes `pkg/apis/core/types.go` SecretTypeDockerConfigJSON).
pub const SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// The one key of such a Secret (Kubernetes `pkg/apis/core/types.go` DockerConfigJSONKey).
pub const SECRET_KEY: &str = ".dockerconfigjson";

/// The name of a Secret where the inventory gives none: that of Kubernetes' own documentation.
pub const DEFAULT_SECRET: &str = "regcred";

/// The field manager of server-side apply, the value of [`MANAGED_BY`], and of whatever else says that something is ours.
pub const MANAGER: &str = "regprov";

/// The label that says who manages an object (Kubernetes, "Recommended Labels").
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The annotation of a Secret that holds the inventory's `id:`.
pub const INVENTORY: &str = "regprov/inventory";

/// The annotation of a Secret that holds the service accounts to whose `imagePullSecrets` regprov appended it: names between commas, sorted.
pub const APPENDED_TO: &str = "regprov/appended-to";

/// The label by which Run:ai copies a Secret of its own namespace to those of all projects.
pub const RUNAI_LABEL: &str = "runai/cluster-wide";

/// Run:ai's own namespace.
pub const RUNAI_NAMESPACE: &str = "runai";

/// A namespace of a cluster: a destination of a run, as a host is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The context of the kubeconfig; `None` for the current one, or for the cluster in which this runs.
    pub context: Option<String>,
    /// Which one, or which ones: a selector stands for any number until the cluster has told them.
    pub which: Which,
    /// The name of the row of the selector that it was told for: a run in which its cluster did not answer knows it by that alone.
    pub selected: Option<String>,
    /// What it gets, in the order of the inventory; no two of one name.
    pub secrets: Vec<PullSecret>,
    /// Where the inventory names it first: `inventory.yml:9:16`.
    pub place: String,
}

/// Which namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// The one of this name.
    Named(String),
    /// Those with such labels, as `kubectl get namespaces -l` has it.
    Selected(String),
}

/// A Secret of logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSecret {
    /// Its name.
    pub name: String,
    /// The key below `kubernetes:` that wants it.
    pub block: String,
    /// Names of the logins, sorted; never empty.
    pub logins: Vec<String>,
    /// Labels that it shall have beside [`MANAGED_BY`].
    pub labels: BTreeMap<String, String>,
    /// Annotations that it shall have beside regprov's own.
    pub annotations: BTreeMap<String, String>,
    /// The service accounts that shall name it among their `imagePullSecrets`, as they are listed.
    pub service_accounts: Vec<String>,
}

impl Namespace {
    /// What stands for the context in a row's name where the inventory names none.
    pub const CURRENT: &'static str = "(current)";

    /// Its own name; `None` for a selector.
    pub fn name(&self) -> Option<&str> {
        match &self.which {
            Which::Named(name) => Some(name),
            Which::Selected(_) => None,
        }
    }

    /// The logins of all its Secrets.
    pub fn logins(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().flat_map(|s| &s.logins).map(String::as_str)
    }

    /// How reports and `--limit` call it: `context/namespace`. No host's name has a `/`, and no namespace's has one.
    pub fn destination(&self) -> String {
        self.to_string()
    }
}

/// Whether a namespace may be called so: a DNS label (Kubernetes `apimachinery/pkg/util/validation/validation.go` IsDNS1123Label).
pub fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

/// Whether a Secret or a service account may be called so: a DNS name in lower case, whose parts may be longer than labels (IsDNS1123Subdomain,
/// there).
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_part(part: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !part.is_empty() && part.bytes().all(is_inner) && !part.starts_with('-') && !part.ends_with('-')
}

/// Whether a destination's name is that of a namespace, and not a host's.
pub fn is_namespace(destination: &str) -> bool {
    destination.contains('/')
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = self.context.as_deref().unwrap_or(Self::CURRENT);
        match &self.which {
            Which::Named(name) => write!(f, "{context}/{name}"),
            // Names are listed between commas.
            Which::Selected(selector) => write!(f, "{context}/({})", selector.replace(',', "&")),
        }
    }
}
