//! Rights on a real kube-apiserver: the roles that are shipped, each of their rules, and what it costs to ask.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::time::{Duration, Instant};

use kube::Kube;
use regprov::kubernetes::{Cluster, Kubeconfigs, Method, Need, Request, Timeouts, Trouble, cluster_wide};
use regprov::model::{PullSecret, Stage};
use zeroize::Zeroizing;

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(10), request: Duration::from_secs(30) };
const ROLE: &str = include_str!("../examples/kubernetes/role.yml");
const CLUSTER_ROLE: &str = include_str!("../examples/kubernetes/cluster-role.yml");

/// A cluster as this user sees it, who knows nothing yet of their rights.
async fn open(kube: &Kube, user: &str) -> Cluster {
    let file = kube.path("kubeconfig");
    fs::write(&file, kube.kubeconfig("prod", &format!("token: token-{user}"))).unwrap();
    Kubeconfigs::read(Some(&file)).unwrap().open("prod", TIMEOUTS).await.unwrap()
}

/// What `apply` needs.
fn needs() -> Vec<Need> {
    let secrets = ["get", "create", "patch"].map(|verb| Need::secret(verb, "regcred"));
    secrets.into_iter().chain(["get", "update"].map(|verb| Need::service_account(verb, "default"))).collect()
}

/// What a role lacks, once the server goes by it: it takes a moment.
async fn missing(kube: &Kube, user: &str, needs: &[Need], want: Option<&str>) -> Option<String> {
    let start = Instant::now();
    loop {
        let said = open(kube, user).await.missing_right("runai-team-a", needs).await.unwrap();
        if said.as_deref() == want || start.elapsed() > Duration::from_secs(10) {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn status(cluster: &Cluster, method: Method, path: &str, content: Option<(&'static str, &str)>) -> u16 {
    let request = Request::new(Stage::Replace, method, format!("/api/v1/namespaces/runai-team-a/{path}"));
    let request = match content {
        Some((kind, text)) => request.content(kind, Zeroizing::new(text.as_bytes().to_vec())),
        None => request,
    };
    cluster.send(&request).await.unwrap_or_else(|e| panic!("{e:?}")).status
}

/// The requests of `apply` in a namespace without the Secret, and what the server says to each.
async fn applied(cluster: &Cluster) -> [(&'static str, u16); 5] {
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: regcred}, type: kubernetes.io/dockerconfigjson, data: {.dockerconfigjson: eyJhdXRocyI6e319}}";
    let apply = Some(("application/apply-patch+yaml", secret));
    let account = "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"default\"},\"imagePullSecrets\":[{\"name\":\"regcred\"}]}";
    [
        ("get secrets", status(cluster, Method::Get, "secrets/regcred", None).await),
        ("create secrets", status(cluster, Method::Patch, "secrets/regcred?fieldManager=regprov", apply).await),
        ("patch secrets", status(cluster, Method::Patch, "secrets/regcred?fieldManager=regprov", apply).await),
        ("get serviceaccounts", status(cluster, Method::Get, "serviceaccounts/default", None).await),
        ("update serviceaccounts", status(cluster, Method::Put, "serviceaccounts/default", Some(("application/json", account))).await),
    ]
}

#[tokio::test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn the_role_is_what_apply_needs_and_no_rule_of_it_is_spare() {
    let Some(kube) = Kube::start() else { return };
    kube.namespaces(&["runai-team-a", "other"], "{team: ml}");
    kube.apply(ROLE);
    assert_eq!(missing(&kube, "alice", &needs(), None).await, None);
    let alice = open(&kube, "alice").await;
    assert_eq!(applied(&alice).await.map(|(_, status)| status), [404, 201, 200, 200, 200]);
    // As a control: no other name, no other namespace, no other user.
    for (path, method) in
        [("secrets/other", Method::Get), ("secrets", Method::Get), ("secrets/regcred", Method::Delete), ("serviceaccounts/builder", Method::Get)]
    {
        assert_eq!(status(&alice, method, path, None).await, 403, "{path}");
    }
    assert!(alice.missing_right("other", &needs()).await.unwrap().is_some());
    assert!(open(&kube, "bob").await.missing_right("runai-team-a", &needs()).await.unwrap().is_some());

    for (resource, verbs) in [("secrets", "get, create, patch"), ("serviceaccounts", "get, update")] {
        for verb in verbs.split(", ") {
            let fewer = verbs.split(", ").filter(|v| *v != verb).collect::<Vec<_>>().join(", ");
            let role = ROLE.replace(&format!("verbs: [{verbs}]"), &format!("verbs: [{fewer}]"));
            assert_ne!(role, ROLE);
            kube.kubectl(&["delete", "secret", "regcred", "-n", "runai-team-a", "--ignore-not-found"]).ended(0, &[]);
            kube.apply(&role);
            let name = if resource == "secrets" { "regcred" } else { "default" };
            // This server is older than the question who we are: the kubeconfig's name stands for it.
            let want = format!(
                "user `prod` of the kubeconfig may not {verb} {resource} \"{name}\" in namespace runai-team-a; add to a Role of theirs: \
                 {{apiGroups: [\"\"], resources: [{resource}], resourceNames: [{name}], verbs: [{verb}]}}"
            );
            assert_eq!(missing(&kube, "alice", &needs(), Some(&want)).await.as_deref(), Some(want.as_str()));
            // And the server means it.
            let met: Vec<&str> = applied(&open(&kube, "alice").await).await.into_iter().filter(|(_, status)| *status == 403).map(|(what, _)| what).collect();
            assert!(met.contains(&format!("{verb} {resource}").as_str()), "{verb} {resource}: {met:?}");
        }
    }
    // What `remove`, `--replace` and left-overs need, as the file says it.
    let more = [Need::secret("delete", "regcred"), Need::secrets("list")];
    kube.apply(ROLE);
    assert!(missing(&kube, "alice", &more, None).await.is_some());
    kube.apply(&ROLE.replace("# - {", "- {"));
    assert_eq!(missing(&kube, "alice", &more, None).await, None);
    let alice = open(&kube, "alice").await;
    assert_eq!(status(&alice, Method::Get, "secrets", None).await, 200);
    assert_eq!(status(&alice, Method::Delete, "secrets/regcred", None).await, 200);
}

#[tokio::test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn rights_for_all_namespaces_are_asked_once() {
    let Some(kube) = Kube::start() else { return };
    kube.namespaces(&["ml-1", "ml-2", "ml-3"], "{team: ml}");
    kube.namespaces(&["web"], "{team: web}");
    // One that is going, and held back.
    kube.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: ml-0, labels: {team: ml}}\n");
    kube.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, namespace: ml-0, finalizers: [example.com/held]}\n");
    kube.kubectl(&["delete", "namespace", "ml-0", "--wait=false"]).ended(0, &[]);

    let bob = open(&kube, "bob").await;
    let want = "user `prod` of the kubeconfig may not list namespaces of the cluster; add to a ClusterRole of theirs: {apiGroups: [\"\"], resources: [namespaces], verbs: [list]}";
    assert_eq!(bob.select("team=ml").await, Err(Trouble::Failed(Stage::Rights, want.into())));
    kube.apply(CLUSTER_ROLE);
    assert_eq!(missing(&kube, "bob", &[Need::namespaces("list")], None).await, None);
    assert_eq!(missing(&kube, "bob", &needs(), None).await, None);
    let bob = open(&kube, "bob").await;
    assert_eq!(bob.select("team=ml").await.unwrap(), ["ml-1", "ml-2", "ml-3"]);
    assert_eq!(bob.select("team in (web),!gone").await.unwrap(), ["web"]);
    match bob.select("team in (").await {
        Err(Trouble::Failed(Stage::Observe, why)) => assert!(why.ends_with("takes `team in (` for no selector of labels (400)"), "{why}"),
        other => panic!("{other:?}"),
    }

    // 200 namespaces, 50 at once.
    let asked = |since| kube.audit(since, "regprov/").iter().filter(|e| e["objectRef"]["resource"] == "selfsubjectaccessreviews").count();
    let all_at_once = |cluster: Cluster| async move {
        let mut all = tokio::task::JoinSet::new();
        for i in 0..200 {
            let cluster = cluster.clone();
            all.spawn(async move { cluster.missing_right(&format!("n{}", i % 100), &needs()).await.unwrap().is_none() });
        }
        all.join_all().await.into_iter().filter(|allowed| *allowed).count()
    };
    let since = kube.audited();
    assert_eq!(all_at_once(open(&kube, "bob").await).await, 200);
    assert_eq!(asked(since), 5);
    // Who has no right for all of them is asked for each, once.
    let since = kube.audited();
    assert_eq!(all_at_once(open(&kube, "carol").await).await, 0);
    assert_eq!(asked(since), 5 + 100 * 5);
}

#[tokio::test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn to_see_runai_s_setting_takes_the_rule_that_is_named() {
    let Some(kube) = Kube::start() else { return };
    kube.namespaces(&["runai"], "{}");
    let secret = PullSecret {
        name: "regcred".into(),
        block: "runai".into(),
        logins: vec!["hub".into()],
        labels: [("runai/cluster-wide".to_string(), "true".to_string())].into(),
        annotations: std::collections::BTreeMap::new(),
        service_accounts: Vec::new(),
    };
    let said = async |user: &str, want: Option<&str>| {
        let start = Instant::now();
        loop {
            let said = cluster_wide(&open(&kube, user).await, "runai", &secret).await;
            let is = match want {
                None => said.is_none(),
                Some(want) => said.as_deref().is_some_and(|said| said.contains(want)),
            };
            if is {
                return said;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{want:?}: {said:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let refusal = said("bob", Some("we may not read its setting")).await.unwrap();
    let rule = refusal.split_once("in namespace runai: ").expect("the rule is named").1.to_string();
    kube.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: see, namespace: runai}}\nrules:\n- {rule}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: see, namespace: runai}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: see}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}}]\n"
    ));
    said("bob", Some("this cluster has no RunaiConfig runai/runai")).await;
}
