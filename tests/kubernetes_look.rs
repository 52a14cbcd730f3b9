//! What stands in namespaces, and taking it out again, on a real kube-apiserver.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/peers.rs"]
mod peers;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use kube::Kube;
use regprov::format::kubernetes::document;
use regprov::format::{Previous, SamePassword};
use regprov::kubernetes::apply::{Options, Wanted, bring, observe};
use regprov::kubernetes::leftover::everywhere;
use regprov::kubernetes::remove::{Selection, prune, remove};
use regprov::kubernetes::status::{Look, look};
use regprov::kubernetes::{Cluster, Kubeconfigs, Timeouts};
use regprov::model::{HostRow, Login, Namespace, PullSecret, Registry, Secret, Username, Which};

const NS: &str = "team-a";

/// A cluster with one namespace, and who asks it.
struct Scene {
    kube: Kube,
    cluster: Cluster,
    logins: BTreeMap<String, Login>,
}

impl Scene {
    async fn start() -> Option<Scene> {
        let kube = Kube::start()?;
        kube.namespaces(&[NS], "{team: ml}");
        let logins = [("ngc", "nvcr.io", "$oauthtoken"), ("hub", "docker.io", "alice")].map(|(name, registry, username)| {
            let (registry, username) = (Registry::parse(registry).unwrap().0, Username::parse(username).unwrap());
            let password = Secret::new(format!("planted-{name}"));
            (name.to_string(), Login { name: name.into(), registry, username, password, auth_hosts: Vec::new(), expires: None })
        });
        let cluster = open(&kube, "prod", &kube.admin()).await;
        Some(Scene { cluster, kube, logins: logins.into() })
    }

    async fn apply(&self, namespace: &Namespace, prunes: bool) -> HostRow {
        let document = |secret: &PullSecret| (secret.name.clone(), document(&secret.logins.iter().map(|l| &self.logins[l]).collect::<Vec<_>>()));
        let documents = namespace.secrets.iter().map(document).collect();
        let options = Options { prune: prunes, ..Options::default() };
        let wanted = Wanted { namespace: namespace.clone(), documents, inventory_id: "site".into(), options };
        let seen = observe(&self.cluster, &wanted).await.unwrap_or_else(|t| panic!("{t:?}"));
        let row = bring(&self.cluster, &wanted, seen, &|| {}).await;
        if prunes { prune(&self.cluster, namespace, "site", false, &|| {}, row).await } else { row }
    }

    async fn remove_as(&self, cluster: &Cluster, namespace: &Namespace, logins: &[&str], same: Option<&SamePassword>, check: bool) -> HostRow {
        let logins: Vec<String> = logins.iter().map(ToString::to_string).collect();
        remove(cluster, namespace, "site", Selection { logins: &logins, known: &self.logins, same }, check, &|| {}).await
    }

    async fn remove(&self, namespace: &Namespace) -> Vec<String> {
        told(&self.remove_as(&self.cluster, namespace, &[], None, false).await)
    }

    /// What `status` tells, as `path: word` for each finding and `path: login word` for each login that is not the same; then the note.
    async fn status_as(&self, cluster: &Cluster, namespace: &Namespace) -> (String, Vec<String>) {
        let (previous, same) = (Previous::default(), |name: &str, password: &Secret| Some(password.expose() == format!("planted-{name}")));
        let what = Look { logins: &self.logins, same: &same, previous: &previous, inventory_id: Some("site"), left_over: true, now: 0 };
        let (row, notes) = look(cluster, namespace, &what).await;
        let mut told = Vec::new();
        for file in row.result.iter().flatten() {
            told.extend(file.findings.iter().map(|f| format!("{}: {}", file.path, f.kind.name())));
            told.extend(file.logins.iter().filter(|l| l.verdict.name() != "same").map(|l| format!("{}: {} {}", file.path, l.login, l.verdict.name())));
        }
        if let Err(unseen) = &row.result {
            told.push(format!("{unseen:?}"));
        }
        told.extend(notes);
        assert!(!told.concat().contains("planted"), "{told:?}");
        (row.outcome().to_string(), told)
    }

    #[track_caller]
    fn names(&self, account: &str, want: &[&str]) {
        assert_eq!(self.kube.pull_secrets(NS, account), want);
    }

    async fn status(&self, namespace: &Namespace, outcome: &str, want: &[&str]) {
        let (got, told) = self.status_as(&self.cluster, namespace).await;
        assert_eq!((got.as_str(), told.iter().map(String::as_str).collect::<Vec<_>>()), (outcome, want.to_vec()));
    }

    fn has(&self, secret: &str) -> bool {
        self.kube.get("secrets", NS, secret).is_some()
    }
}

async fn open(kube: &Kube, context: &str, user: &str) -> Cluster {
    let file = kube.path(&format!("{context}.kubeconfig"));
    fs::write(&file, kube.kubeconfig(context, user)).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(10), request: Duration::from_secs(30) };
    Kubeconfigs::read(Some(&file)).unwrap().open(context, timeouts).await.unwrap()
}

fn secret(name: &str, logins: &[&str], accounts: &[&str]) -> PullSecret {
    let all = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    PullSecret {
        name: name.into(),
        block: "team".into(),
        logins: all(logins),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        service_accounts: all(accounts),
    }
}

fn namespace(secrets: &[PullSecret]) -> Namespace {
    Namespace { context: Some("prod".into()), which: Which::Named(NS.into()), secrets: secrets.to_vec(), place: String::new(), selected: None }
}

/// A row as `outcome`, then `path: word` for each object, then `! reason` where one is given.
fn told(row: &HostRow) -> Vec<String> {
    let mut told = vec![row.outcome.name().to_string()];
    for file in &row.files {
        told.push(format!("{}: {}", file.path, file.change.name()));
        told.extend(file.reason.iter().map(|why| format!("! {why}")));
    }
    if let Some((stage, why)) = row.outcome.trouble() {
        told.push(format!("! {stage}: {why}"));
    }
    told.extend(row.notes.iter().map(|note| format!("* {note}")));
    told
}

#[track_caller]
fn check(got: &[String], want: &[&str]) {
    let fits = |(got, want): (&String, &&str)| want.strip_suffix("...").map_or(got == want, |start| got.starts_with(start));
    assert!(got.len() == want.len() && got.iter().zip(want).all(fits), "{got:#?}\ninstead of\n{want:#?}");
}

/// Each way in which a namespace can differ has its word, and after `apply` nothing differs. Looking writes nothing.
#[tokio::test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn what_differs_in_a_namespace_is_told() {
    let Some(scene) = Scene::start().await else { return };
    let kube = &scene.kube;
    let team = namespace(&[secret("regcred", &["hub", "ngc"], &["default"])]);
    let kubectl = |words: &str| kube.kubectl(&words.split(' ').collect::<Vec<_>>()).ended(0, &[]);
    let missing = ["secret/regcred: missing", "secret/regcred: hub missing", "secret/regcred: ngc missing", "serviceaccount/default: not_referenced"];
    scene.status(&team, "drift", &missing).await;
    assert_eq!(told(&scene.apply(&team, false).await), ["changed", "secret/regcred: created", "serviceaccount/default: updated"]);
    let before = kube.audited();
    scene.status(&team, "same", &[]).await;
    let asked = kube.audit(before, "regprov");
    let verbs: Vec<&str> = asked.iter().filter_map(|e| e["verb"].as_str()).filter(|v| !["get", "list"].contains(v)).collect();
    assert!(asked.len() >= 3 && verbs.iter().all(|v| *v == "create"), "{verbs:?}");
    assert!(asked.iter().filter(|e| e["verb"] == "create").all(|e| e["objectRef"]["resource"].as_str().unwrap().starts_with("selfsubject")));

    kubectl("label -n team-a secret regcred app.kubernetes.io/managed-by=me --overwrite");
    scene.status(&team, "drift", &["secret/regcred: other_manager"]).await;
    kubectl("label -n team-a secret regcred app.kubernetes.io/managed-by=regprov --overwrite");
    kubectl("delete -n team-a secret regcred");
    scene.status(&team, "drift", &missing[..3]).await;
    // As the tutorials have it.
    kubectl("create secret docker-registry regcred -n team-a --docker-server=nvcr.io --docker-username=$oauthtoken --docker-password=planted-ngc");
    let want = ["secret/regcred: other_manager", "secret/regcred: hub missing"];
    scene.status(&team, "drift", &want).await;
    kubectl("delete -n team-a secret regcred");
    kube.apply("---\n{apiVersion: v1, kind: Secret, metadata: {name: regcred, namespace: team-a}, stringData: {.dockerconfigjson: '{\"https://eu.gcr.io\":{\"auth\":\"YTpi\"}}'}}");
    let want = ["wrong_type", "unreadable", "other_manager", "copy_in_annotation", "hub missing", "ngc missing"].map(|w| format!("secret/regcred: {w}"));
    let (_, told) = scene.status_as(&scene.cluster, &team).await;
    assert_eq!(told, want);
}

/// Ours goes, in the service accounts and as Secrets; what others put there stays; a second time there is nothing to do.
#[tokio::test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn exactly_ours_is_taken_out() {
    let Some(scene) = Scene::start().await else { return };
    let kube = &scene.kube;
    let kubectl = |words: &str| kube.kubectl(&words.split(' ').collect::<Vec<_>>()).ended(0, &[]);
    kubectl("create secret generic mine -n team-a");
    kubectl("create serviceaccount builder -n team-a");
    kube.kubectl(&["patch", "serviceaccount", "default", "-n", NS, "-p", r#"{"imagePullSecrets":[{"name":"mine"},{"name":"own"}]}"#]).ended(0, &[]);
    let team = namespace(&[secret("regcred", &["hub", "ngc"], &["default", "builder"]), secret("own", &["ngc"], &["default"])]);
    scene.apply(&team, false).await;
    scene.names("default", &["mine", "own", "regcred"]);

    // What a dry run tells is what is done, and it does nothing.
    let dry = scene.remove_as(&scene.cluster, &team, &[], None, true).await;
    scene.names("default", &["mine", "own", "regcred"]);
    assert!(scene.has("regcred") && scene.has("own"));
    let want = ["changed", "secret/regcred: removed", "secret/own: removed", "serviceaccount/default: updated", "serviceaccount/builder: updated"];
    check(&told(&dry), &want);
    check(&scene.remove(&team).await, &want);
    // `own` was named there before us, so that stays.
    scene.names("default", &["mine", "own"]);
    scene.names("builder", &[]);
    assert!(!scene.has("regcred") && !scene.has("own") && scene.has("mine"));
    let nothing = ["unchanged", "secret/regcred: unchanged", "secret/own: unchanged", "serviceaccount/default: unchanged", "serviceaccount/builder: unchanged"];
    check(&scene.remove(&team).await, &nothing);

    // Another one's Secret of that name.
    kubectl("create secret docker-registry regcred -n team-a --docker-server=a --docker-username=b --docker-password=c");
    let team = namespace(&[secret("regcred", &["hub"], &[])]);
    check(&scene.remove(&team).await, &["unchanged", "secret/regcred: unchanged", "! left alone: regprov did not write it"]);
    assert!(scene.has("regcred"));
    kubectl("delete secret regcred -n team-a");

    // One that somebody else fills too stays, without what is ours.
    scene.apply(&team, false).await;
    kube.kubectl(&["patch", "secret", "regcred", "-n", NS, "-p", r#"{"stringData":{"other":"x"}}"#]).ended(0, &[]);
    let kept = "! kept: other data in it is managed by kubectl-patch; its logins go, and what regprov wrote beside them";
    check(&scene.remove(&team).await, &["changed", "secret/regcred: updated", kept]);
    let left = kube.get("secrets", NS, "regcred").unwrap();
    assert!(left["data"].get("other").is_some() && left["metadata"]["labels"].is_null() && left["metadata"]["annotations"].is_null(), "{left}");
    assert_eq!(kube.document(NS, "regcred"), r#"{"auths":{}}"#);
    kubectl("delete secret regcred -n team-a");
    // So does one whose logins somebody else applies as well.
    scene.apply(&team, false).await;
    let data = kube.get("secrets", NS, "regcred").unwrap()["data"][".dockerconfigjson"].clone();
    let manifest = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": {"name": "regcred", "namespace": NS},
        "data": {".dockerconfigjson": data},
    });
    let words = ["apply", "--server-side", "--field-manager=argocd", "--validate=false", "-f", "-"];
    kube.kubectl_with(&words, &manifest.to_string()).ended(0, &[]);
    scene.status(&team, "same", &[]).await;
    let kept = "! kept: its logins are managed by argocd too; what regprov wrote beside them goes";
    check(&scene.remove(&team).await, &["changed", "secret/regcred: metadata", kept]);
    let left = kube.get("secrets", NS, "regcred").unwrap();
    assert!(left["data"][".dockerconfigjson"] == data && left["metadata"]["labels"].is_null() && left["metadata"]["annotations"].is_null(), "{left}");
}

#[tokio::test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn a_login_goes_without_the_others() {
    let Some(scene) = Scene::start().await else { return };
    let team = namespace(&[secret("regcred", &["hub", "ngc"], &["default"]), secret("only", &["ngc"], &[])]);
    scene.apply(&team, false).await;
    let want = ["changed", "secret/regcred: updated", "secret/only: removed", "serviceaccount/default: unchanged"];
    check(&told(&scene.remove_as(&scene.cluster, &team, &["ngc"], None, true).await), &want);
    check(&told(&scene.remove_as(&scene.cluster, &team, &["ngc"], None, false).await), &want);
    scene.names("default", &["regcred"]);
    let (hub, both) = (namespace(&[secret("regcred", &["hub"], &["default"])]), &team);
    scene.status(&hub, "same", &[]).await;
    assert_eq!(scene.apply(&hub, false).await.outcome.name(), "unchanged");
    scene.status(both, "drift", &["secret/regcred: ngc missing", "secret/only: missing", "secret/only: ngc missing"]).await;
    let same: &SamePassword = &|_, password| Some(password.expose() != "planted-hub");
    let kept = "! kept: https://index.docker.io/v1/: its password is not the vault's";
    let row = scene.remove_as(&scene.cluster, &hub, &[], Some(same), false).await;
    check(&told(&row), &["unchanged", "secret/regcred: unchanged", kept, "serviceaccount/default: unchanged"]);
    let same: &SamePassword = &|_, password| Some(password.expose() == "planted-hub");
    check(&told(&scene.remove_as(&scene.cluster, &hub, &[], Some(same), false).await)[..2], &["changed", "secret/regcred: removed"]);
}

/// What left the inventory goes with `--prune`, in the chosen namespaces, and is known everywhere to whoever may list Secrets.
#[tokio::test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn what_left_the_inventory_is_left_over_and_goes() {
    let Some(scene) = Scene::start().await else { return };
    let kube = &scene.kube;
    kube.kubectl(&["create", "serviceaccount", "builder", "-n", NS]).ended(0, &[]);
    scene.apply(&namespace(&[secret("regcred", &["hub"], &["default", "builder"]), secret("old", &["ngc"], &["default"])]), false).await;
    let now = namespace(&[secret("regcred", &["hub"], &["default"])]);
    scene.status(&now, "drift", &["serviceaccount/builder: left_over", "secret/old: left_over"]).await;
    let there = everywhere(&scene.cluster, "site").await.unwrap().unwrap();
    assert_eq!(there.iter().map(|l| format!("{}/{}", l.namespace, l.name)).collect::<Vec<_>>(), ["team-a/old", "team-a/regcred"]);
    assert_eq!(everywhere(&scene.cluster, "other").await.unwrap().unwrap(), []);
    let want = ["changed", "secret/regcred: metadata", "serviceaccount/default: updated", "serviceaccount/builder: updated", "secret/old: removed"];
    check(&told(&scene.apply(&now, true).await), &want);
    scene.names("default", &["regcred"]);
    scene.names("builder", &[]);
    scene.status(&now, "same", &[]).await;
    assert_eq!(scene.apply(&now, true).await.outcome.name(), "unchanged");
    // A namespace that is not wanted at all any more.
    check(&told(&scene.apply(&namespace(&[]), true).await), &["changed", "serviceaccount/default: updated", "secret/regcred: removed"]);
    scene.names("default", &[]);
}

/// Rights come first, are named with the rule, and nothing is written without them; who may not list Secrets is told what was not looked for.
#[tokio::test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn missing_rights_are_named() {
    let Some(scene) = Scene::start().await else { return };
    let kube = &scene.kube;
    let team = namespace(&[secret("regcred", &["hub"], &["default"])]);
    scene.apply(&team, false).await;
    let alice = open(kube, "alice", "token: token-alice").await;
    let (outcome, said) = scene.status_as(&alice, &team).await;
    assert!(outcome == "failed" && said[0].contains("resources: [secrets], resourceNames: [regcred], verbs: [get]"), "{said:?}");
    let role = |user: &str, rules: &str| {
        let role = format!("{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: {user}, namespace: {NS}}}, rules: [{rules}]}}");
        let (group, subject) = ("rbac.authorization.k8s.io", format!("{{kind: User, name: {user}, apiGroup: rbac.authorization.k8s.io}}"));
        kube.apply(&format!(
            "---\n{role}\n---\n{{apiVersion: {group}/v1, kind: RoleBinding, metadata: {{name: {user}, namespace: {NS}}}, subjects: [{subject}], roleRef: {{apiGroup: {group}, kind: Role, name: {user}}}}}\n"
        ));
    };
    role("bob", "{apiGroups: [\"\"], resources: [secrets, serviceaccounts], verbs: [get]}");
    let bob = open(kube, "bob", "token: token-bob").await;
    let (outcome, said) = scene.status_as(&bob, &team).await;
    assert!(outcome == "same" && said.len() == 1 && said[0].contains("not looked for") && said[0].contains("verbs: [list]"), "{outcome} {said:?}");
    let before = kube.audited();
    let row = told(&scene.remove_as(&bob, &team, &[], None, false).await);
    assert!(row[0] == "failed" && row.concat().contains("resources: [secrets], resourceNames: [regcred], verbs: [delete]"), "{row:#?}");
    assert!(row.concat().contains("resources: [serviceaccounts], resourceNames: [default], verbs: [update]"), "{row:#?}");
    assert!(kube.audit(before, "regprov").iter().all(|e| !["delete", "patch", "update"].contains(&e["verb"].as_str().unwrap())));
    role("carol", "{apiGroups: [\"\"], resources: [secrets], verbs: [get, delete]}, {apiGroups: [\"\"], resources: [serviceaccounts], verbs: [get, update]}");
    let carol = open(kube, "carol", "token: token-carol").await;
    let row = told(&scene.remove_as(&carol, &team, &[], None, false).await);
    check(&row, &["changed", "secret/regcred: removed", "serviceaccount/default: updated", "* Secrets that are left over were not looked for: ..."]);
}

/// Whoever changes things meanwhile is met: nothing of theirs is lost.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn what_others_change_meanwhile_is_not_lost() {
    let Some(scene) = Scene::start().await else { return };
    let kube = &scene.kube;
    let team = namespace(&[secret("regcred", &["hub"], &["default"])]);
    scene.apply(&team, false).await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut appended = 0;
    let row = std::thread::scope(|threads| {
        let other = threads.spawn(|| {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let patch = format!(r#"[{{"op":"add","path":"/imagePullSecrets/-","value":{{"name":"other-{n}"}}}}]"#);
                let done = kube.kubectl(&["patch", "serviceaccount", "default", "-n", NS, "--type=json", "-p", &patch]);
                // Once ours is out the list may be gone as a whole.
                if done.code == Some(0) {
                    n += 1;
                }
                kube.kubectl(&["label", "secret", "regcred", "-n", NS, &format!("n=v{n}"), "--overwrite"]);
            }
            n
        });
        std::thread::sleep(Duration::from_millis(700));
        let row = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(scene.remove_as(&scene.cluster, &team, &[], None, false)));
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        appended = other.join().unwrap();
        row
    });
    check(&told(&row), &["changed", "secret/regcred: removed", "serviceaccount/default: updated"]);
    assert!(appended > 2 && !scene.has("regcred"));
    let names: Vec<String> = (0..appended).map(|n| format!("other-{n}")).collect();
    assert_eq!(kube.pull_secrets(NS, "default"), names);
}
