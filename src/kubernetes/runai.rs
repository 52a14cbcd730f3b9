//! Run:ai: whether a Secret for all projects becomes one.
//!
//! Run:ai copies Secrets of its own namespace that have the label `runai/cluster-wide: "true"` to those of all projects (Run:ai, "Credentials",
//! and "Secrets in Workloads" up to 2.16), as long as its setting `clusterWideSecret` is on. That stands in the object `runai` of kind
//! RunaiConfig (`runaiconfigs.run.ai`, version v1) in namespace `runai`, at `spec.project-controller.clusterWideSecret`; where it is not
//! written, it is on (NVIDIA Run:ai 2.2x and 3.0, "Advanced Cluster Configurations"; Run:ai 2.9, "Customize Cluster Installation"). In releases
//! of 2021 the Helm value was called `runai-operator.config.project-controller.clusterWideSecret` and made the same object. Nothing here was
//! held against a Run:ai, which nobody can have without a licence.

use serde_json::Value;

use super::Cluster;
use super::send::{Method, Request};
use crate::model::Stage;
use crate::model::kubernetes::{PullSecret, RUNAI_LABEL, RUNAI_NAMESPACE};

/// Where the setting stands.
const CONFIG: &str = "/apis/run.ai/v1/namespaces/runai/runaiconfigs/runai";
/// As a person finds it.
const SETTING: &str = "`spec.project-controller.clusterWideSecret` of RunaiConfig runai/runai";

/// What a person should know of a Secret that is meant for all projects: that Run:ai will not copy it, or that this cannot be seen. `None`
/// where it will, and for every other Secret.
pub async fn cluster_wide(cluster: &Cluster, namespace: &str, secret: &PullSecret) -> Option<String> {
    let label = secret.labels.get(RUNAI_LABEL)?;
    let name = &secret.name;
    if label != "true" {
        return Some(format!("Run:ai will not copy Secret {name}: its label {RUNAI_LABEL} is \"{label}\", and only \"true\" counts"));
    }
    if namespace != RUNAI_NAMESPACE {
        return Some(format!(
            "Run:ai will not copy Secret {name}: it does so only in namespace {RUNAI_NAMESPACE}, and this is {namespace}; take out the label {RUNAI_LABEL}"
        ));
    }
    let unseen = |why: &str| Some(format!("whether Run:ai copies Secret {name} to its projects cannot be seen: {why}"));
    let Ok(answer) = cluster.send(&Request::new(Stage::Observe, Method::Get, CONFIG)).await else { return unseen("the API server does not answer") };
    let config: Option<Value> = serde_json::from_slice(&answer.body).ok();
    match (answer.status, config) {
        (200, Some(config)) => match config.pointer("/spec/project-controller/clusterWideSecret") {
            None | Some(Value::Null | Value::Bool(true)) => None,
            Some(Value::Bool(false)) => {
                Some(format!("Run:ai will not copy Secret {name} to its projects: {SETTING} is false; set it to true, or name the projects' namespaces here"))
            }
            Some(_) => unseen(&format!("{SETTING} is neither true nor false")),
        },
        (403, _) => unseen(
            "we may not read its setting; add to a Role in namespace runai: {apiGroups: [run.ai], resources: [runaiconfigs], resourceNames: [runai], verbs: [get]}",
        ),
        (404, _) => unseen("this cluster has no RunaiConfig runai/runai; is Run:ai installed?"),
        (status, _) => unseen(&format!("its setting cannot be read (HTTP {status})")),
    }
}
