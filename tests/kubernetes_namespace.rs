//! One namespace of a real kube-apiserver, observed and brought, through the library.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/peers.rs"]
mod peers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Kube;
use regprov::format::kubernetes::document;
use regprov::kubernetes::apply::{Options, Wanted, before, bring, observe};
use regprov::kubernetes::{Cluster, Kubeconfigs, Timeouts};
use regprov::model::kubernetes::{PullSecret, Which};
use regprov::model::{HostRow, Login, Namespace, Outcome, Registry, Secret, Username};
use serde_json::{Value, json};

const PASSWORD: &str = "planted-<One>&7";
/// Long enough for a machine that has other things to do.
const SECOND: Duration = Duration::from_secs(30);
const CHECK: Options = Options { check: true, force_conflicts: false, replace: false, prune: false };
const FORCE: Options = Options { check: false, force_conflicts: true, replace: false, prune: false };
const REPLACE: Options = Options { check: false, force_conflicts: false, replace: true, prune: false };
const PLAIN: Options = Options { check: false, force_conflicts: false, replace: false, prune: false };

fn login(password: &str) -> Login {
    Login {
        name: "harbor".into(),
        registry: Registry::parse("harbor.example").unwrap().0,
        username: Username::parse("robot$x").unwrap(),
        password: Secret::new(password.to_string()),
        auth_hosts: Vec::new(),
        expires: None,
    }
}

fn secret(name: &str, service_accounts: &[&str]) -> PullSecret {
    PullSecret {
        name: name.into(),
        block: "team".into(),
        logins: vec!["harbor".into()],
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        service_accounts: service_accounts.iter().map(ToString::to_string).collect(),
    }
}

fn wanted(namespace: &str, secrets: Vec<PullSecret>, password: &str, options: Options) -> Wanted {
    let documents = secrets.iter().map(|s| (s.name.clone(), document(&[&login(password)]))).collect();
    let namespace = Namespace { context: Some("prod".into()), which: Which::Named(namespace.into()), secrets, place: String::new(), selected: None };
    Wanted { namespace, documents, inventory_id: "site".into(), options }
}

/// A cluster, and whoever asks it.
struct Bed {
    kube: Kube,
    cluster: Cluster,
    sent: AtomicUsize,
}

impl Bed {
    async fn new(namespaces: &[&str]) -> Option<Bed> {
        let kube = Kube::start()?;
        kube.namespaces(namespaces, "{}");
        let cluster = cluster(&kube, &kube.admin()).await;
        Some(Bed { kube, cluster, sent: AtomicUsize::new(0) })
    }

    async fn run(&self, wanted: &Wanted) -> HostRow {
        match observe(&self.cluster, wanted).await {
            Ok(seen) => {
                bring(&self.cluster, wanted, seen, &|| {
                    self.sent.fetch_add(1, Ordering::Relaxed);
                })
                .await
            }
            Err(trouble) => before(&wanted.namespace, trouble.into()),
        }
    }

    /// Runs it and demands these words: the outcome, and what became of each object with the beginning of its reason.
    #[track_caller]
    fn check(row: &HostRow, want: &[&str]) {
        let mut told = vec![match row.outcome.trouble() {
            Some((stage, why)) => format!("{} {stage}: {why}", row.outcome.name()),
            None => row.outcome.name().to_string(),
        }];
        told.extend(row.files.iter().map(|f| format!("{} {}: {}", f.path, f.change.name(), f.reason.as_deref().unwrap_or("-"))));
        assert!(told.len() == want.len() && told.iter().zip(want).all(|(got, want)| got.starts_with(want)), "{told:#?}\ninstead of\n{want:#?}");
        let all = format!("{row:?}");
        assert!(!all.contains("planted") && !all.contains("cGxhbnRlZ"), "{all}");
    }

    fn secret(&self, namespace: &str, name: &str) -> Value {
        self.kube.get("secrets", namespace, name).unwrap_or(Value::Null)
    }

    #[track_caller]
    fn kubectl(&self, words: &str) {
        self.kube.kubectl(&words.split_whitespace().collect::<Vec<_>>()).ended(0, &[]);
    }
}

async fn cluster(kube: &Kube, user: &str) -> Cluster {
    let file = kube.path("library.kubeconfig");
    std::fs::write(&file, kube.kubeconfig("prod", user)).unwrap();
    let kubeconfigs = Kubeconfigs::read(Some(&file)).unwrap();
    kubeconfigs.open("prod", Timeouts { connect: SECOND, request: SECOND }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
async fn a_namespace_is_brought_to_what_is_wanted() {
    let Some(bed) = Bed::new(&["a", "b", "c", "d", "e", "f", "g"]).await else { return };
    let default = |options| wanted("a", vec![secret("regcred", &["default"])], PASSWORD, options);

    // A dry run tells the same words and does nothing.
    let row = bed.run(&default(CHECK)).await;
    Bed::check(&row, &["changed", "secret/regcred created: -", "serviceaccount/default updated: -"]);
    assert_eq!((bed.secret("a", "regcred"), bed.kube.pull_secrets("a", "default"), bed.sent.load(Ordering::Relaxed)), (Value::Null, vec![], 0));
    let real = bed.run(&default(PLAIN)).await;
    assert_eq!(real, row);
    assert!(bed.sent.load(Ordering::Relaxed) >= 1);
    assert_eq!(row.files[0].diff[0], "+ auths \"harbor.example\"");
    assert_eq!(row.files[1].diff, ["+ imagePullSecrets regcred"]);
    assert_eq!(bed.kube.document("a", "regcred").as_bytes(), &document(&[&login(PASSWORD)])[..]);
    assert_eq!(bed.kube.pull_secrets("a", "default"), ["regcred"]);
    let stored = bed.secret("a", "regcred");
    assert_eq!(stored["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "regprov"}));
    assert_eq!(stored["metadata"]["annotations"], json!({"regprov/appended-to": "default", "regprov/inventory": "site"}));

    // Then nothing is written, and two questions are asked.
    let since = bed.kube.audited();
    Bed::check(&bed.run(&default(PLAIN)).await, &["unchanged", "secret/regcred unchanged: -", "serviceaccount/default unchanged: -"]);
    let asked: Vec<String> =
        bed.kube.audit(since, "regprov").iter().map(|e| format!("{} {}", e["verb"].as_str().unwrap(), e["objectRef"]["resource"].as_str().unwrap())).collect();
    assert_eq!(asked, ["get secrets", "get serviceaccounts"]);

    // Labels and Secrets of others stay; what of ours was changed comes back.
    bed.kubectl("label -n a secret regcred team=ml");
    bed.kubectl("annotate -n a secret regcred regprov/inventory- note=x");
    bed.kube.kubectl(&["patch", "-n", "a", "serviceaccount", "default", "-p", r#"{"imagePullSecrets":[{"name":"other"}]}"#]).ended(0, &[]);
    let row = bed.run(&default(PLAIN)).await;
    Bed::check(&row, &["changed", "secret/regcred metadata: -", "serviceaccount/default updated: -"]);
    assert_eq!(row.files[0].diff, ["+ annotation regprov/inventory=site"]);
    assert_eq!(bed.kube.pull_secrets("a", "default"), ["other", "regcred"]);
    assert_eq!(bed.secret("a", "regcred")["metadata"]["labels"]["team"], "ml");
    let mut labelled = default(PLAIN);
    labelled.namespace.secrets[0].labels.insert("runai/cluster-wide".into(), "true".into());
    let row = bed.run(&labelled).await;
    Bed::check(&row, &["changed", "secret/regcred metadata: -", "serviceaccount/default unchanged: -"]);
    assert_eq!(row.files[0].diff, ["+ label runai/cluster-wide=true"]);
    let row = bed.run(&default(PLAIN)).await;
    assert_eq!(row.files[0].diff, ["- label runai/cluster-wide"]);
    assert_eq!(bed.secret("a", "regcred")["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "regprov", "team": "ml"}));
    Bed::check(&bed.run(&default(PLAIN)).await, &["unchanged", "secret/regcred unchanged: -", "serviceaccount/default unchanged: -"]);

    // Who named it before us is not recorded.
    bed.kubectl("create -n b serviceaccount builder");
    bed.kube.kubectl(&["patch", "-n", "b", "serviceaccount", "builder", "-p", r#"{"imagePullSecrets":[{"name":"two"}]}"#]).ended(0, &[]);
    let several = vec![secret("two", &["builder", "default"]), secret("one", &["default", "nobody"])];
    let row = bed.run(&wanted("b", several, PASSWORD, PLAIN)).await;
    Bed::check(
        &row,
        &[
            "failed observe: serviceaccount/nobody: there is no such service account",
            "secret/two created: -",
            "secret/one created: -",
            "serviceaccount/builder unchanged: -",
            "serviceaccount/default updated: -",
            "serviceaccount/nobody failed: there is no such service account",
        ],
    );
    assert_eq!(bed.kube.pull_secrets("b", "default"), ["two", "one"]);
    assert_eq!(bed.secret("b", "two")["metadata"]["annotations"]["regprov/appended-to"], "default");

    // Made by kubectl, with equal values: both own it, and nobody is overruled. With other ones: a conflict.
    for (name, password) in [("equal", PASSWORD), ("other", "planted-Two")] {
        let words = ["create", "-n", "c", "secret", "docker-registry", name, "--docker-server=harbor.example", "--docker-username=robot$x"];
        bed.kube.kubectl(&[&words[..], &[&format!("--docker-password={password}")]].concat()).ended(0, &[]);
    }
    let both = |options| wanted("c", vec![secret("equal", &[]), secret("other", &["default"])], PASSWORD, options);
    let conflict = "secret/other failed: .data..dockerconfigjson is managed by \"kubectl-create\"; let it manage this Secret";
    let behind = "serviceaccount/default not_attempted: Secret other is not as wanted, and was not appended";
    for options in [CHECK, PLAIN] {
        let first = "failed replace: secret/other: .data..dockerconfigjson is managed by";
        Bed::check(&bed.run(&both(options)).await, &[first, "secret/equal metadata: -", conflict, behind]);
    }
    assert!(bed.kube.document("c", "other").contains("planted-Two"));
    assert_eq!(bed.kube.pull_secrets("c", "default"), Vec::<String>::new());
    Bed::check(&bed.run(&both(FORCE)).await, &["changed", "secret/equal unchanged: -", "secret/other updated: -", "serviceaccount/default updated: -"]);
    Bed::check(&bed.run(&both(PLAIN)).await, &["unchanged", "secret/equal unchanged: -", "secret/other unchanged: -", "serviceaccount/default unchanged: -"]);

    // Made by `kubectl apply`: a copy of the password is left in an annotation, and is told until it is gone.
    let manifest = |name: &str| {
        let data = base64(&document(&[&login("planted-Two")]));
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: {data}}}\n")
    };
    bed.kube.apply(&manifest("applied").replace("{name: applied}", "{name: applied, namespace: d}"));
    let applied = |options| wanted("d", vec![secret("applied", &[])], PASSWORD, options);
    Bed::check(
        &bed.run(&applied(PLAIN)).await,
        &["failed replace: secret/applied: .data..dockerconfigjson is managed by \"kubectl-client-side-apply\"", "secret/applied failed"],
    );
    let copy = "its annotation kubectl.kubernetes.io/last-applied-configuration holds a copy of a password, which `kubectl apply` made; take it away: kubectl --context prod -n d annotate secret applied kubectl.kubernetes.io/last-applied-configuration-";
    Bed::check(&bed.run(&applied(FORCE)).await, &["changed", &format!("secret/applied updated: {copy}")]);
    Bed::check(&bed.run(&applied(PLAIN)).await, &["unchanged", &format!("secret/applied unchanged: {copy}")]);
    bed.kubectl("-n d annotate secret applied kubectl.kubernetes.io/last-applied-configuration-");
    Bed::check(&bed.run(&applied(PLAIN)).await, &["unchanged", "secret/applied unchanged: -"]);

    // Wrong type, and immutable.
    bed.kubectl("create -n e secret generic regcred --from-literal=a=b");
    bed.kubectl("label -n e secret regcred owner=bob");
    let typed = |password, options| wanted("e", vec![secret("regcred", &["default"])], password, options);
    let uid = bed.secret("e", "regcred")["metadata"]["uid"].clone();
    Bed::check(
        &bed.run(&typed(PASSWORD, PLAIN)).await,
        &[
            "failed observe: secret/regcred: is of type Opaque",
            "secret/regcred failed: is of type Opaque, and the type of a Secret cannot be changed; --replace deletes it and makes it anew",
            "serviceaccount/default not_attempted: Secret regcred is not as wanted",
        ],
    );
    let anew = "secret/regcred updated: is deleted and made anew: it is of type Opaque, and the type of a Secret cannot be changed; these labels and annotations of others go with it: owner";
    Bed::check(&bed.run(&typed(PASSWORD, Options { check: true, ..REPLACE })).await, &["changed", anew, "serviceaccount/default updated: -"]);
    assert_eq!(bed.secret("e", "regcred")["metadata"]["uid"], uid, "the dry run of a deletion deletes nothing");
    Bed::check(&bed.run(&typed(PASSWORD, REPLACE)).await, &["changed", anew, "serviceaccount/default updated: -"]);
    assert_ne!(bed.secret("e", "regcred")["metadata"]["uid"], uid);
    bed.kube.kubectl(&["patch", "-n", "e", "secret", "regcred", "-p", r#"{"immutable":true}"#]).ended(0, &[]);
    Bed::check(&bed.run(&typed(PASSWORD, PLAIN)).await, &["unchanged", "secret/regcred unchanged: -", "serviceaccount/default unchanged: -"]);
    let immutable = "secret/regcred failed: is immutable (`immutable: true`), and holds other logins; --replace";
    Bed::check(&bed.run(&typed("planted-Two", PLAIN)).await, &["failed observe", immutable, "serviceaccount/default not_attempted"]);
    let anew = "secret/regcred updated: is deleted and made anew: it is immutable";
    Bed::check(&bed.run(&typed("planted-Two", REPLACE)).await, &["changed", anew, "serviceaccount/default unchanged: -"]);
    assert_eq!(bed.secret("e", "regcred")["immutable"], Value::Null);

    // Another inventory's.
    let mut other = typed(PASSWORD, PLAIN);
    other.inventory_id = "elsewhere".into();
    let row = bed.run(&other).await;
    assert!(
        row.outcome.reason().unwrap().contains("is that of the inventory \"site\", by its annotation regprov/inventory, and not of \"elsewhere\""),
        "{row:?}"
    );

    // No namespace, and one that goes.
    let gone = "failed observe: there is no namespace nowhere, and regprov makes none: `kubectl create namespace nowhere`";
    let nowhere = wanted("nowhere", vec![secret("x", &[]), secret("y", &[])], PASSWORD, PLAIN);
    Bed::check(&bed.run(&nowhere).await, &[gone, "secret/x not_attempted: -", "secret/y not_attempted: -"]);
    bed.kubectl("delete namespace f --wait=false");
    let going = wanted("f", vec![secret("x", &[])], PASSWORD, PLAIN);
    let mut row = bed.run(&going).await;
    for _ in 0..50 {
        if matches!(row.outcome, Outcome::Failed { .. }) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        bed.kubectl("delete -n f secret x --ignore-not-found");
        row = bed.run(&going).await;
    }
    Bed::check(&row, &["failed observe: namespace f is being deleted", "secret/x not_attempted: -"]);

    // A Secret that goes.
    bed.kube.apply(&manifest("held").replace("{name: held}", "{name: held, namespace: g, finalizers: [x.example/y]}"));
    bed.kubectl("delete -n g secret held --wait=false");
    let held = |options| wanted("g", vec![secret("held", &[])], PASSWORD, options);
    let going = "secret/held failed: is being deleted, and waits for its finalizers (x.example/y); run again when it is gone";
    for options in [PLAIN, FORCE, REPLACE] {
        Bed::check(&bed.run(&held(options)).await, &["failed observe: secret/held: is being deleted", going]);
    }
    bed.kube.kubectl(&["patch", "-n", "g", "secret", "held", "-p", r#"{"metadata":{"finalizers":null}}"#]).ended(0, &[]);
    Bed::check(&bed.run(&held(PLAIN)).await, &["changed", "secret/held created: -"]);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
