//! Pull Secrets on a real kube-apiserver, as an admin's run writes them.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/peers.rs"]
mod peers;

use std::panic::{AssertUnwindSafe, catch_unwind};

use kube::{Kube, Programs};

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
