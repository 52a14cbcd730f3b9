//! Service accounts on a real kube-apiserver: ours is appended, and what is not ours stays, whoever else writes meanwhile.

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

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::kube::api::{Api, PostParams};
use ::kube::config::{KubeConfigOptions, Kubeconfig};
use k8s_openapi::api::core::v1::{LocalObjectReference, ServiceAccount};
use kube_site::KubeSite;
use serde_json::{Value, json};

/// Gives a service account these pull Secrets, as the documentation of others has it.
#[track_caller]
fn patch(site: &KubeSite, namespace: &str, account: &str, secrets: &[&str]) {
    let entries: Vec<Value> = secrets.iter().map(|s| json!({"name": s})).collect();
    site.kube.kubectl(&["patch", "serviceaccount", account, "-n", namespace, "-p", &json!({"imagePullSecrets": entries}).to_string()]).ended(0, &[]);
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn ours_is_appended_and_what_is_there_stays_in_its_order() {
    let Some(site) = KubeSite::start(&["team-a", "team-b"]) else { return };
    site.kube.kubectl(&["create", "serviceaccount", "builder", "-n", "team-a"]).ended(0, &[]);
    patch(&site, "team-a", "default", &["z-theirs", "a-theirs"]);
    patch(&site, "team-a", "builder", &["theirs", "regcred", "other"]);
    site.kube.kubectl(&["label", "serviceaccount", "default", "-n", "team-a", "theirs=yes"]).ended(0, &[]);
    let account = |name: &str| {
        let mut account = site.kube.get("serviceaccounts", "team-a", name).unwrap();
        for field in ["resourceVersion", "managedFields"] {
            account["metadata"].as_object_mut().unwrap().remove(field);
        }
        account
    };
    let before = account("default");
    site.inventory("a: {context: prod, namespaces: [team-a, team-b], logins: [hub], service_accounts: [default, builder]}");

    let start = site.kube.audited();
    let check = site.report(3, &["--check"]);
    assert_eq!(site.writes(start), [""; 0]);
    assert_eq!(check.diff("prod/team-a", "serviceaccount/default"), ["+ imagePullSecrets regcred"]);
    let first = site.report(3, &[]);
    assert_eq!(first.outcomes(), ["prod/team-a changed", "prod/team-b failed"]);
    assert_eq!(first.objects("prod/team-a"), ["secret/regcred created", "serviceaccount/default updated", "serviceaccount/builder unchanged"]);
    // One that is not there fails by itself: the others get what they should.
    assert_eq!(first.objects("prod/team-b"), ["secret/regcred created", "serviceaccount/default updated", "serviceaccount/builder failed"]);
    first.says("prod/team-b", &["serviceaccount/builder"]);
    assert_eq!(site.kube.pull_secrets("team-a", "default"), ["z-theirs", "a-theirs", "regcred"]);
    assert_eq!(site.kube.pull_secrets("team-a", "builder"), ["theirs", "regcred", "other"]);
    assert_eq!(site.kube.pull_secrets("team-b", "default"), ["regcred"]);
    let mut wanted = before;
    wanted["imagePullSecrets"].as_array_mut().unwrap().push(json!({"name": "regcred"}));
    assert_eq!(account("default"), wanted, "nothing else of it changes");

    // The record names those alone to which we appended it.
    let record = |namespace| site.kube.get("secrets", namespace, "regcred").unwrap()["metadata"]["annotations"]["regprov/appended-to"].clone();
    assert_eq!((record("team-a"), record("team-b")), (json!("default"), json!("default")));

    // Somebody's patch takes ours out, and all others too; the next run appends it again.
    patch(&site, "team-a", "default", &["only-theirs"]);
    assert_eq!(site.report(3, &[]).objects("prod/team-a")[1], "serviceaccount/default updated");
    assert_eq!(site.kube.pull_secrets("team-a", "default"), ["only-theirs", "regcred"]);
}

/// The entries of the writer's that it holds to be there, in their order.
fn is_theirs(entry: &LocalObjectReference) -> bool {
    entry.name.starts_with("theirs-")
}

/// Somebody changes the same service account all the time, as carefully as we do. Neither loses an entry of the other; and that they met is told by
/// the server's log.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_writer_in_a_loop_loses_nothing_and_neither_do_we() {
    const RUNS: usize = 20;
    let Some(site) = KubeSite::start(&["team-a"]) else { return };
    let over = AtomicBool::new(false);
    let start = site.kube.audited();
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let text = std::fs::read_to_string(site.site.path("home/.kube/config")).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(write_all_the_time(&text, &over))
        });
        for i in 0..RUNS {
            site.inventory(&format!("a: {{context: prod, namespaces: [team-a], logins: [hub], secret: ours-{i}, service_accounts: [default]}}"));
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| site.apply(&[]).ended(0, &["1 changed"])));
            if let Err(panic) = ran {
                over.store(true, Ordering::Relaxed);
                std::panic::resume_unwind(panic);
            }
        }
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    let there = site.kube.pull_secrets("team-a", "default");
    let (theirs, ours): (Vec<String>, Vec<String>) = there.into_iter().partition(|name| name.starts_with("theirs-"));
    assert_eq!(theirs, written.last, "theirs");
    assert_eq!(ours, (0..RUNS).map(|i| format!("ours-{i}")).collect::<Vec<_>>(), "ours");
    let refused = site.kube.audit(start, "regprov/").iter().filter(|e| e["responseStatus"]["code"] == 409).count();
    println!("{} writes of the other; of ours {refused} were refused", written.count);
    assert!(written.count > RUNS && refused > 0, "they never met");
}

struct Written {
    count: usize,
    last: Vec<String>,
}

/// Adds an entry of its own and takes its oldest one out, until it is over; each time all of its own must still be there.
async fn write_all_the_time(kubeconfig: &str, over: &AtomicBool) -> Written {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ::kube::Config::from_custom_kubeconfig(Kubeconfig::from_yaml(kubeconfig).unwrap(), &KubeConfigOptions::default()).await.unwrap();
    let client = ::kube::client::ClientBuilder::try_from(config).unwrap().build();
    let accounts: Api<ServiceAccount> = Api::namespaced(client, "team-a");
    let mut written = Written { count: 0, last: Vec::new() };
    while !over.load(Ordering::Relaxed) {
        let mut account = accounts.get("default").await.unwrap();
        let mut entries = account.image_pull_secrets.take().unwrap_or_default();
        let theirs: Vec<String> = entries.iter().filter(|e| is_theirs(e)).map(|e| e.name.clone()).collect();
        assert_eq!(theirs, written.last, "an entry of the other is lost");
        if theirs.len() > 5 {
            let oldest = entries.iter().position(is_theirs).unwrap();
            entries.remove(oldest);
        }
        entries.push(LocalObjectReference { name: format!("theirs-{}", written.count) });
        let now = entries.iter().filter(|e| is_theirs(e)).map(|e| e.name.clone()).collect();
        account.image_pull_secrets = Some(entries);
        match accounts.replace("default", &PostParams { field_manager: Some("other".into()), ..PostParams::default() }, &account).await {
            Ok(_) => written = Written { count: written.count + 1, last: now },
            // Ours was faster.
            Err(::kube::Error::Api(status)) if status.code == 409 => {}
            Err(e) => panic!("{e}"),
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    written
}
