//! Whether we may do what is to be done, before anything is done.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::Trouble;
use super::access::Cluster;
use super::send::{Method, Request};
use crate::model::Stage;
use crate::model::text::{escape, sanitize};

/// A thing that must be allowed: a verb on objects of a kind, or on one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Need {
    resource: &'static str,
    verb: &'static str,
    name: Option<String>,
}

impl Need {
    /// On the Secret of this name. `create` too: a server-side apply is asked for by name.
    pub fn secret(verb: &'static str, name: &str) -> Self {
        Need { resource: "secrets", verb, name: Some(name.to_string()) }
    }

    /// On all Secrets of a namespace: `list`.
    pub fn secrets(verb: &'static str) -> Self {
        Need { resource: "secrets", verb, name: None }
    }

    /// On the service account of this name.
    pub fn service_account(verb: &'static str, name: &str) -> Self {
        Need { resource: "serviceaccounts", verb, name: Some(name.to_string()) }
    }

    /// On all namespaces: `list`.
    pub fn namespaces(verb: &'static str) -> Self {
        Need { resource: "namespaces", verb, name: None }
    }
}

/// What was asked, and in which namespace; `""` for all of them.
type Question = (Need, String);

/// What is known of our rights in a cluster: each question is asked once, and whoever asks it meanwhile waits for that answer.
#[derive(Default)]
pub(super) struct Granted(Mutex<HashMap<Question, Arc<OnceCell<bool>>>>);

impl Cluster {
    /// Why something that is needed in a namespace is not allowed, and the rules to add; `None` when all is. What is granted in all
    /// namespaces is asked once for the whole cluster.
    ///
    /// # Errors
    /// The server cannot be asked, or does not tell.
    pub async fn missing_right(&self, namespace: &str, needs: &[Need]) -> Result<Option<String>, Trouble> {
        let mut missing: BTreeMap<&str, Vec<&Need>> = BTreeMap::new();
        for need in needs {
            // In all namespaces first: one question serves them all.
            if self.allowed(need, "").await? || (!namespace.is_empty() && self.allowed(need, namespace).await?) {
                continue;
            }
            missing.entry(need.resource).or_default().push(need);
        }
        if missing.is_empty() {
            return Ok(None);
        }
        let who = self.whoami().await;
        let place = if namespace.is_empty() { "of the cluster".to_string() } else { format!("in namespace {namespace}") };
        let (mut deeds, mut rules) = (Vec::new(), Vec::new());
        for (resource, needs) in missing {
            let mut verbs: Vec<&str> = Vec::new();
            let mut names: Vec<&str> = Vec::new();
            for need in &needs {
                let named = need.name.as_deref().map_or(String::new(), |name| format!(" \"{name}\""));
                deeds.push(format!("{} {resource}{named}", need.verb));
                if !verbs.contains(&need.verb) {
                    verbs.push(need.verb);
                }
                names.extend(need.name.as_deref().filter(|name| !names.contains(name)));
            }
            // With nothing to spare: whoever may read one Secret need not read all.
            let is_named = needs.iter().all(|need| need.name.is_some());
            let named = if is_named { format!(" resourceNames: [{}],", names.join(", ")) } else { String::new() };
            rules.push(format!("{{apiGroups: [\"\"], resources: [{resource}],{named} verbs: [{}]}}", verbs.join(", ")));
        }
        let kind = if namespace.is_empty() { "ClusterRole" } else { "Role" };
        Ok(Some(format!("{who} may not {} {place}; add to a {kind} of theirs: {}", deeds.join(", nor "), rules.join(" and "))))
    }

    async fn allowed(&self, need: &Need, namespace: &str) -> Result<bool, Trouble> {
        let question = (need.clone(), namespace.to_string());
        let cell = Arc::clone(self.granted().0.lock().unwrap_or_else(PoisonError::into_inner).entry(question).or_default());
        cell.get_or_try_init(|| self.review(need, namespace)).await.copied()
    }

    /// Asks (authorization.k8s.io/v1 SelfSubjectAccessReview; everybody who is logged in may, by the role `system:basic-user`).
    async fn review(&self, need: &Need, namespace: &str) -> Result<bool, Trouble> {
        let attributes = json!({"namespace": namespace, "verb": need.verb, "resource": need.resource, "name": need.name.as_deref().unwrap_or_default()});
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let request = Request::new(Stage::Rights, Method::Post, path).content("application/json", Zeroizing::new(body.to_string().into_bytes()));
        let answer = self.send(&request).await?;
        let review: Option<Review> = serde_json::from_slice(&answer.body).ok();
        match (answer.status, review) {
            (200..=299, Some(review)) => Ok(review.status.allowed && !review.status.denied),
            (403, _) => Err(Trouble::Failed(
                Stage::Rights,
                self.says("does not let us ask what we may do (403): bind the ClusterRole system:basic-user, as every cluster has it at first"),
            )),
            (status, _) => Err(Trouble::Failed(Stage::Rights, self.says(&format!("does not tell what we may do (HTTP {status})")))),
        }
    }

    /// Who we are: by the server (authentication.k8s.io/v1 SelfSubjectReview, since 1.28), else by the kubeconfig.
    async fn whoami(&self) -> String {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
        let request = Request::new(Stage::Rights, Method::Post, "/apis/authentication.k8s.io/v1/selfsubjectreviews");
        let answer = self.send(&request.content("application/json", Zeroizing::new(body.into_bytes()))).await;
        let told = answer.ok().filter(|a| matches!(a.status, 200..=299)).and_then(|a| serde_json::from_slice::<Whoami>(&a.body).ok());
        match (told, self.user()) {
            (Some(told), _) => format!("user \"{}\"", sanitize(&told.status.user_info.username)),
            (None, Some(user)) => format!("user `{}` of the kubeconfig", escape(user)),
            (None, None) => "the service account of this Pod".to_string(),
        }
    }
}

#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Deserialize)]
struct ReviewStatus {
    allowed: bool,
    #[serde(default)]
    denied: bool,
}

#[derive(Deserialize)]
struct Whoami {
    status: WhoamiStatus,
}

#[derive(Deserialize)]
struct WhoamiStatus {
    #[serde(rename = "userInfo")]
    user_info: UserInfo,
}

#[derive(Deserialize)]
struct UserInfo {
    username: String,
}
