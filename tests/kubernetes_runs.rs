//! Runs over many namespaces, over several clusters, and over hosts and namespaces together, as they are cut, limited and gone on with.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/kube_site.rs"]
mod kube_site;
#[path = "common/peers.rs"]
mod peers;

use std::time::{Duration, Instant};

use fleet::Ran;
use kube::Kube;
use kube_site::KubeSite;

/// `hosts:` that are folders of this machine, beside `kubernetes:`.
fn hosts_and(site: &KubeSite, hosts: &[&str], blocks: &str) {
    site.inventory(blocks);
    let text = std::fs::read_to_string(site.site.path("inventory.yml")).unwrap();
    let mut lines = format!("groups:\n  images: {{hosts: '{}', logins: [hub], targets: [docker]}}\nhosts:\n", hosts.join(","));
    for host in hosts {
        let root = site.site.path(host);
        for dir in ["root", "var/lib"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        lines += &format!("  {host}: {{connection: local, root: {}}}\n", root.display());
    }
    site.write("inventory.yml", &(text + &lines));
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn hosts_and_namespaces_are_one_run() {
    let Some(site) = KubeSite::start(&["team-a", "team-b"]) else { return };
    hosts_and(&site, &["img1", "img2"], "a: {context: prod, namespaces: [team-a, team-b], logins: [hub]}");
    let docker = |host: &str| site.site.path(host).join("root/.docker/config.json").exists();
    let rows = |flags: &[&str]| site.report(0, flags).outcomes();

    assert_eq!(rows(&["--only", "kubernetes"]), ["prod/team-a changed", "prod/team-b changed"]);
    assert!(!docker("img1"));
    site.kube.kubectl(&["delete", "secret", "regcred", "-n", "team-a"]).ended(0, &[]);
    let start = site.kube.audited();
    assert_eq!(rows(&["--only", "hosts", "--check"]), ["img1 changed", "img2 changed"]);
    assert_eq!(rows(&["--only", "hosts", "--limit", "img1"]), ["img1 changed"]);
    assert_eq!(site.kube.audit(start, "regprov/").len(), 0, "no cluster is asked");
    assert_eq!(rows(&[]), ["img1 unchanged", "img2 changed", "prod/team-a changed", "prod/team-b unchanged"]);
    assert!(docker("img2"));
    assert_eq!(rows(&["--limit", "prod/*"]), ["prod/team-a unchanged", "prod/team-b unchanged"]);
    assert_eq!(rows(&["--limit", "a,!prod/team-b"]), ["prod/team-a unchanged"]);
    assert_eq!(rows(&["--limit", "images,prod/team-b"]), ["img1 unchanged", "img2 unchanged", "prod/team-b unchanged"]);
    site.apply(&[]).ended(0, &["2 hosts and 2 namespaces", "4 unchanged"]);
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_selector_is_what_the_cluster_says_now() {
    let Some(mut site) = KubeSite::start(&["ml-1", "ml-2"]) else { return };
    site.kube.namespaces(&["other"], "{team: web}");
    site.inventory("by-label: {context: prod, namespace_selector: \"team=ml\", logins: [ngc]}");
    assert_eq!(site.report(0, &[]).outcomes(), ["prod/ml-1 changed", "prod/ml-2 changed"]);
    assert!(site.kube.get("secrets", "other", "regcred").is_none());
    site.kube.namespaces(&["ml-3"], "{team: ml}");
    assert_eq!(site.report(0, &[]).outcomes(), ["prod/ml-1 unchanged", "prod/ml-2 unchanged", "prod/ml-3 changed"]);
    assert_eq!(site.report(0, &["--limit", "by-label,!prod/ml-3"]).outcomes(), ["prod/ml-1 unchanged", "prod/ml-2 unchanged"]);
    // While the cluster does not answer, the selector has the row; what it stands for later is what is left of that run.
    site.kube.kill_apiserver();
    assert_eq!(site.report(4, &[]).outcomes(), ["prod/(team=ml) unreachable"]);
    site.kube.start_apiserver();
    let all = ["prod/ml-1 unchanged", "prod/ml-2 unchanged", "prod/ml-3 unchanged"];
    assert_eq!(site.report(0, &["--resume"]).outcomes(), all);
    // A namespace in which two blocks make one Secret is a row that failed, and none of a run that did not begin.
    site.inventory("a: {context: prod, namespaces: [ml-1], logins: [hub]}\nby-label: {context: prod, namespace_selector: \"team=ml\", logins: [ngc]}");
    assert_eq!(site.report(3, &[]).outcomes(), ["prod/ml-1 failed", "prod/ml-2 unchanged", "prod/ml-3 unchanged"]);
    assert!(site.kube.document("ml-1", "regcred").contains("nvcr.io"));
}

/// Many have a context for each namespace: what one of them wants is not left over for the other.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn two_contexts_of_one_cluster_are_one_cluster() {
    let Some(mut site) = KubeSite::start(&["team-a", "team-b", "gone"]) else { return };
    site.write("a.yml", &site.kube.kubeconfig("a", &site.kube.admin()));
    site.write("b.yml", &site.kube.kubeconfig("b", &site.kube.admin()));
    let list = format!("{}:{}", site.site.path("a.yml").display(), site.site.path("b.yml").display());
    let apply = |flags: &[&str], code: i32| {
        let words = [&["apply", "inventory.yml", "--json"], flags].concat();
        let ran = Ran::from(site.command(&words).env("KUBECONFIG", &list).output().unwrap());
        kube_site::Rows(serde_json::from_str(&kube_site::quiet(&words, ran).ended(code, &[]).stdout).unwrap()).outcomes()
    };
    let blocks = "a: {context: a, namespaces: [team-a], logins: [hub]}\nb: {context: b, namespaces: [team-b], logins: [ngc]}";
    site.inventory(&format!("{blocks}\nc: {{context: b, namespaces: [gone], logins: [ngc]}}"));
    assert_eq!(apply(&[], 0), ["a/team-a changed", "b/team-b changed", "b/gone changed"]);
    site.inventory(blocks);
    assert_eq!(apply(&["--prune"], 0), ["a/team-a unchanged", "b/team-b unchanged", "a/gone changed"]);
    assert!(site.kube.get("secrets", "gone", "regcred").is_none() && site.kube.get("secrets", "team-b", "regcred").is_some());
    // Two ways to one Secret are two blocks that both make it.
    site.inventory("a: {context: a, namespaces: [team-a], logins: [hub]}\nb: {context: b, namespaces: [team-a], logins: [ngc]}");
    assert_eq!(apply(&[], 3), ["a/team-a failed"]);
    site.kube.kill_apiserver();
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn what_failed_is_gone_on_with_and_guards_count_namespaces() {
    let Some(site) = KubeSite::start(&["n1", "n2", "n3", "n4"]) else { return };
    // A canary that fails stops the run before any other is touched.
    let start = site.kube.audited();
    site.inventory("a: {context: prod, namespaces: [missing, n1, n2], logins: [hub]}");
    assert_eq!(site.report(7, &["--canary", "1"]).outcomes(), ["prod/missing failed", "prod/n1 not_attempted", "prod/n2 not_attempted"]);
    assert!(!site.asked(start).is_empty() && site.writes(start).is_empty(), "{:?}", site.asked(start));

    site.inventory("a: {context: prod, namespaces: [n1, n2, missing, n3, n4], logins: [hub]}");
    let stopped = site.report(7, &["--batch", "1", "--max-fail", "0"]);
    assert_eq!(stopped.outcomes(), ["prod/n1 changed", "prod/n2 changed", "prod/missing failed", "prod/n3 not_attempted", "prod/n4 not_attempted"]);
    assert_eq!(site.report(3, &["--limit", "@failed"]).outcomes(), ["prod/missing failed"]);
    site.kube.namespaces(&["missing"], "{}");
    // That run was one of its own: what it left is one namespace.
    assert_eq!(site.report(0, &["--resume"]).outcomes(), ["prod/missing changed"]);
    assert_eq!(site.report(0, &[]).outcomes(), ["prod/n1 unchanged", "prod/n2 unchanged", "prod/missing unchanged", "prod/n3 changed", "prod/n4 changed"]);
}

/// The server is killed while a run goes on: each namespace has an end, none is told to be done that is not, and the rest is gone on with.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_server_that_is_killed_mid_run_is_gone_on_with() {
    const N: usize = 60;
    let names: Vec<String> = (0..N).map(|i| format!("n{i:02}")).collect();
    let Some(mut site) = KubeSite::start(&names.iter().map(String::as_str).collect::<Vec<_>>()) else { return };
    site.inventory(&format!("a: {{context: prod, namespaces: [{}], logins: [hub], service_accounts: [default]}}", names.join(", ")));
    let start = site.kube.audited();
    let run = site.command(&["apply", "inventory.yml", "--json", "--forks", "4"]).spawn().unwrap();
    let waited = Instant::now();
    while site.writes(start).len() < 10 {
        assert!(waited.elapsed() < Duration::from_secs(30), "the run writes nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    site.kube.kill_apiserver();
    let ran = Ran::from(run.wait_with_output().unwrap());
    assert!(matches!(ran.code, Some(3 | 4)), "{}", ran.all());
    let report = kube_site::Rows(serde_json::from_str(&ran.stdout).unwrap());
    let ends = report.outcomes();
    let count = |outcome: &str| ends.iter().filter(|e| e.ends_with(outcome)).count();
    let (changed, left) = (count(" changed"), count(" unreachable") + count(" unknown"));
    println!("{changed} changed, {} unreachable, {} unknown", count(" unreachable"), count(" unknown"));
    assert!(changed > 0 && left > 0 && changed + left == N, "{ends:?}");
    assert_eq!(ran.code, Some(if count(" unknown") > 0 { 3 } else { 4 }));

    site.kube.start_apiserver();
    for end in ends.iter().filter(|e| e.ends_with(" changed")) {
        let namespace = end.trim_start_matches("prod/").trim_end_matches(" changed");
        assert!(site.kube.get("secrets", namespace, "regcred").is_some(), "{namespace} has none");
        assert_eq!(site.kube.pull_secrets(namespace, "default"), ["regcred"], "{namespace}");
    }
    let rest = site.report(0, &["--resume"]);
    assert_eq!(rest.outcomes().len(), left);
    let (start, whole) = (site.kube.audited(), site.report(0, &[]));
    assert!(whole.outcomes().iter().all(|e| e.ends_with(" unchanged")), "{:#}", whole.0);
    assert_eq!((site.writes(start).len(), whole.outcomes().len()), (0, N));
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn two_clusters_are_one_run() {
    let Some(mut site) = KubeSite::start(&["team-a"]) else { return };
    let Some(edge) = Kube::start() else { return };
    edge.namespaces(&["team-a", "team-e"], "{team: ml}");
    // A list of files, as kubectl takes one: the first file's current context counts.
    site.write("edge.yml", &edge.kubeconfig("edge", &edge.admin()));
    site.write("prod.yml", &site.kube.kubeconfig("prod", &site.kube.admin()));
    std::fs::remove_file(site.site.path("home/.kube/config")).unwrap();
    site.inventory(
        "both: {context: prod, namespaces: [team-a], logins: [hub]}
         edge: {context: edge, namespace_selector: team=ml, logins: [ngc]}
         here: {namespaces: [default], logins: [harbor]}",
    );
    let list = format!("{}:{}:{}", site.site.path("prod.yml").display(), site.site.path("none.yml").display(), site.site.path("edge.yml").display());
    let apply = |flags: &[&str], code: i32| {
        let words = [&["apply", "inventory.yml", "--json"], flags].concat();
        let ran = Ran::from(site.command(&words).env("KUBECONFIG", &list).output().unwrap());
        kube_site::Rows(serde_json::from_str(&kube_site::quiet(&words, ran).ended(code, &[]).stdout).unwrap())
    };
    assert_eq!(apply(&[], 0).outcomes(), ["prod/team-a changed", "edge/team-a changed", "edge/team-e changed", "prod/default changed"]);
    assert!(edge.document("team-a", "regcred").contains("nvcr.io") && site.kube.document("team-a", "regcred").contains("docker.io"));
    assert!(site.kube.document("default", "regcred").contains("harbor.example.org"));
    // One that is down takes nothing from the other; its selector stands for whatever it had.
    drop(edge);
    let half = apply(&[], 4).outcomes();
    assert_eq!(half, ["prod/team-a unchanged", "edge/(team=ml) unreachable", "prod/default unchanged"]);
    site.kube.kill_apiserver();
}
