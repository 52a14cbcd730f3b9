//! Pull Secrets on a real kube-apiserver, as an admin's run writes them.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/kube_site.rs"]
mod kube_site;
#[path = "common/peers.rs"]
mod peers;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kube::{Kube, Programs};
use kube_site::{KubeSite, LOGINS};

/// The server of these tests: it knows its users, tells what it was asked, comes back with what it had, and leaves nothing behind.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn the_server_is_real_and_ends_with_its_test() {
    let Some(mut kube) = Kube::start() else { return };
    kube.namespaces(&["team-a"], "{team: ml}");
    let before = kube.audited();
    std::fs::write(kube.path("alice.kubeconfig"), kube.kubeconfig("prod", "token: token-alice")).unwrap();
    let as_alice = |words: &[&str]| kube.kubectl(&[words, &["--kubeconfig", kube.path("alice.kubeconfig").to_str().unwrap()]].concat());
    as_alice(&["get", "secrets", "-n", "team-a"]).ended(1, &["User \"alice\" cannot list resource \"secrets\""]);
    let asked = kube.audit(before, "kubectl");
    let event = asked.iter().find(|e| e["objectRef"]["resource"] == "secrets").expect("the request is in the log");
    assert_eq!((event["user"]["username"].as_str(), event["responseStatus"]["code"].as_u64()), (Some("alice"), Some(403)));
    assert!(kube.get("serviceaccounts", "team-a", "default").is_some() && kube.get("serviceaccounts", "team-a", "builder").is_none());

    // The controllers may do what they must.
    kube.kubectl(&["delete", "namespace", "team-a", "--timeout=30s"]).ended(0, &[]);
    kube.namespaces(&["team-a"], "{}");

    kube.kill_apiserver();
    kube.kubectl(&["get", "namespaces"]).ended(1, &["refused"]);
    kube.start_apiserver();
    assert!(kube.get("serviceaccounts", "team-a", "default").is_some());

    let pids = kube.pids();
    assert!(pids.len() == 3 && pids.iter().all(|p| runs(*p)));
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        assert!(kube.pids().is_empty(), "a claim that does not hold");
    }));
    assert!(panicked.is_err());
    assert!(!pids.iter().any(|p| runs(*p)));
}

fn runs(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn without_a_server_a_test_passes_over() {
    assert!(Programs::find_in("/nonexistent".into(), false).is_none());
}

#[test]
#[should_panic = "REGPROV_REQUIRE_KUBE is set"]
fn without_a_server_a_test_fails_where_it_is_required() {
    Programs::find_in("/nonexistent".into(), true);
}

/// What `kubectl create secret docker-registry` would store, by each kubectl that is here.
fn by_kubectl(registry: &str, username: &str, password: &str) -> Vec<(String, String)> {
    let named = peers::need("kubectl").expect("the site has started with it");
    // Some machines have one of each version beside each other.
    let beside = std::fs::canonicalize(&named).unwrap();
    let others = std::fs::read_dir(beside.parent().unwrap()).unwrap().map(|e| e.unwrap().path());
    let others = others.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("kubectl."));
    let home = tempfile::tempdir().unwrap();
    let sid = std::env::var_os("REGPROV_SID").map(|t| std::path::Path::new(&t).join("usr/bin/kubectl")).filter(|p| p.exists());
    let create = |program: std::path::PathBuf| {
        let mut command = std::process::Command::new(&program);
        command.args(["create", "secret", "docker-registry", "x", "--dry-run=client", "-o", "jsonpath={.data.\\.dockerconfigjson}"]);
        command.args([format!("--docker-server={registry}"), format!("--docker-username={username}"), format!("--docker-password={password}")]);
        let ran = fleet::Ran::from(command.env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin").output().unwrap()).ended(0, &[]);
        (program.display().to_string(), String::from_utf8(STANDARD.decode(ran.stdout).unwrap()).unwrap())
    };
    others.chain([named]).chain(sid).map(create).collect()
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_namespace_gets_its_secret_and_a_second_run_writes_nothing() {
    let Some(site) = KubeSite::start(&["team-a", "team-b", "runai"]) else { return };
    site.inventory(
        "runai: {context: prod, namespaces: [runai], logins: [hub], labels: {runai/cluster-wide: \"true\"}}
         team-a: {context: prod, namespaces: [team-a, team-b], logins: [harbor], secret: harbor-pull, service_accounts: [default]}
         both: {context: prod, namespaces: [team-b], logins: [hub, ngc], secret: all}",
    );
    let start = site.kube.audited();
    let check = site.report(0, &["--check"]);
    assert_eq!(check.outcomes(), ["prod/runai changed", "prod/team-a changed", "prod/team-b changed"]);
    assert_eq!(site.writes(start), [""; 0], "--check writes");
    assert!(site.asked(start).contains(&"patch secrets dry".to_string()), "{:?}", site.asked(start));
    assert!(site.kube.get("secrets", "team-a", "harbor-pull").is_none());

    let first = site.report(0, &[]);
    assert_eq!(first.outcomes(), check.outcomes());
    assert_eq!(first.objects("prod/team-a"), ["secret/harbor-pull created", "serviceaccount/default updated"]);
    assert_eq!(first.objects("prod/team-b"), ["secret/harbor-pull created", "secret/all created", "serviceaccount/default updated"]);
    assert_eq!(check.diff("prod/team-a", "secret/harbor-pull"), first.diff("prod/team-a", "secret/harbor-pull"));
    assert!(first.diff("prod/runai", "secret/regcred").contains(&"+ label runai/cluster-wide=true".to_string()), "{:?}", first.0);

    // The bytes are those of kubectl, by each of its versions; Hub's key is the one that Docker looks for.
    for ((namespace, name), (_, registry, username, password)) in [("runai", "regcred"), ("team-a", "harbor-pull")].iter().zip([LOGINS[0], LOGINS[2]]) {
        let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
        let ours = site.kube.document(namespace, name);
        for (program, theirs) in by_kubectl(server, username, password) {
            assert_eq!(ours, theirs, "{program}");
        }
    }
    let both = site.kube.document("team-b", "all");
    assert!(both.find("index.docker.io").unwrap() < both.find("nvcr.io").unwrap(), "{both}");

    let secret = site.kube.get("secrets", "team-a", "harbor-pull").unwrap();
    assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
    assert_eq!(secret["metadata"]["labels"], serde_json::json!({"app.kubernetes.io/managed-by": "regprov"}));
    assert_eq!(secret["metadata"]["annotations"], serde_json::json!({"regprov/appended-to": "default", "regprov/inventory": "site"}));
    let managers = secret["metadata"]["managedFields"].as_array().unwrap();
    let managers: Vec<_> = managers.iter().map(|m| (m["manager"].as_str().unwrap(), m["operation"].as_str().unwrap())).collect();
    assert_eq!(managers, [("regprov", "Apply")]);
    assert_eq!(site.kube.get("secrets", "runai", "regcred").unwrap()["metadata"]["labels"]["runai/cluster-wide"], "true");
    assert_eq!(site.kube.pull_secrets("team-b", "default"), ["harbor-pull"]);

    // Two requests a namespace: the Secret and the service account; a Secret more is one more, and one for all of Run:ai asks for its setting.
    let start = site.kube.audited();
    let second = site.report(0, &["--detailed-exitcode"]);
    assert_eq!(second.outcomes(), ["prod/runai unchanged", "prod/team-a unchanged", "prod/team-b unchanged"]);
    let mut asked = site.asked(start);
    asked.sort();
    assert_eq!(asked, ["get runaiconfigs", "get secrets", "get secrets", "get secrets", "get secrets", "get serviceaccounts", "get serviceaccounts"]);
    // The control: the same question finds the writes of a run that changes something.
    site.password("hub", "planted-Hub_new", &[]);
    let (before, start) = (site.kube.document("runai", "regcred"), site.kube.audited());
    let third = site.report(10, &["--detailed-exitcode"]);
    assert_eq!(third.outcomes(), ["prod/runai changed", "prod/team-a unchanged", "prod/team-b changed"]);
    assert_eq!(
        third.diff("prod/runai", "secret/regcred"),
        ["~ auths \"https://index.docker.io/v1/\" auth", "~ auths \"https://index.docker.io/v1/\" password"]
    );
    assert_eq!(site.writes(start), ["patch secrets"; 2]);
    assert_eq!(
        site.kube.document("runai", "regcred"),
        before.replace("planted-Hub_1", "planted-Hub_new").replace(&auth("planted-Hub_1"), &auth("planted-Hub_new"))
    );
}

fn auth(password: &str) -> String {
    STANDARD.encode(format!("alice:{password}"))
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn labels_of_others_stay_and_ours_follow_the_inventory() {
    let Some(site) = KubeSite::start(&["team-a"]) else { return };
    let block = |labels: &str, annotations: &str| {
        site.inventory(&format!("a: {{context: prod, namespaces: [team-a], logins: [hub], labels: {labels}, annotations: {annotations}}}"));
    };
    let meta = |what: &str| site.kube.get("secrets", "team-a", "regcred").unwrap()["metadata"][what].clone();
    block("{tier: gold, cost: \"12\"}", "{example.org/owner: ml}");
    site.apply(&[]).ended(0, &[]);
    site.kube.kubectl(&["label", "secret", "regcred", "-n", "team-a", "theirs=yes"]).ended(0, &[]);
    site.kube.kubectl(&["annotate", "secret", "regcred", "-n", "team-a", "theirs/note=keep me"]).ended(0, &[]);
    assert_eq!(site.report(0, &[]).outcomes(), ["prod/team-a unchanged"], "what others add is no drift");

    block("{tier: silver}", "{}");
    let changed = site.report(0, &[]);
    assert_eq!(changed.objects("prod/team-a"), ["secret/regcred metadata"]);
    assert_eq!(changed.diff("prod/team-a", "secret/regcred"), ["~ label tier=silver", "- annotation example.org/owner", "- label cost"]);
    assert_eq!(meta("labels"), serde_json::json!({"app.kubernetes.io/managed-by": "regprov", "theirs": "yes", "tier": "silver"}));
    assert_eq!(meta("annotations"), serde_json::json!({"regprov/inventory": "site", "theirs/note": "keep me"}));

    // A label of ours that somebody else took away comes again.
    site.kube.kubectl(&["label", "secret", "regcred", "-n", "team-a", "tier-"]).ended(0, &[]);
    assert_eq!(site.report(0, &["--check"]).diff("prod/team-a", "secret/regcred"), ["+ label tier=silver"]);
    site.apply(&[]).ended(0, &[]);
    assert_eq!(meta("labels")["tier"], "silver");
}

/// What `kubectl apply` leaves in an annotation, regprov does not; and it says where such a copy lies.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn no_copy_of_the_secret_lies_in_an_annotation() {
    const COPY: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let Some(site) = KubeSite::start(&["team-a", "team-b"]) else { return };
    site.inventory("a: {context: prod, namespaces: [team-a, team-b], logins: [hub]}");
    let copy = |namespace| site.kube.get("secrets", namespace, "regcred").unwrap()["metadata"]["annotations"][COPY].clone();
    let data = STANDARD.encode("{\"auths\":{\"old.example.org\":{\"auth\":\"b2xkOm9sZA==\"}}}");
    site.kube.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: regcred, namespace: team-b}}\ntype: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: {data}}}\n"
    ));
    assert!(copy("team-b").as_str().is_some_and(|text| text.contains(&data)), "the control: kubectl makes one");
    let report = site.report(3, &[]);
    assert_eq!(report.outcomes(), ["prod/team-a changed", "prod/team-b failed"]);
    let forced = site.report(0, &["--force-conflicts"]);
    assert_eq!(forced.outcomes(), ["prod/team-a unchanged", "prod/team-b changed"]);
    forced.says("prod/team-b", &["kubectl --context prod -n team-b annotate secret regcred kubectl.kubernetes.io/last-applied-configuration-"]);
    assert!(copy("team-a").is_null());
}
