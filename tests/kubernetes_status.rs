//! What `status` tells of a cluster, and what `remove` and `apply --prune` take away there: exactly ours.

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
use kube_site::KubeSite;
use serde_json::{Value, json};

const BLOCK: &str = "a: {context: prod, namespaces: [team-a], logins: [hub], service_accounts: [default]}";

/// What `status --json` finds, a line each: `prod/team-a secret/regcred missing`, with the login's name before what is told of one.
#[track_caller]
fn drift(site: &KubeSite, code: i32, flags: &[&str]) -> Vec<String> {
    let report = site.rows(code, &[&["status", "inventory.yml", "--json"], flags].concat());
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let mut lines = Vec::new();
    for row in report.0["hosts"].as_array().unwrap() {
        for file in row["files"].as_array().into_iter().flatten() {
            let place = format!("{} {}", text(&row["host"]), text(&file["path"]));
            lines.extend(file["findings"].as_array().into_iter().flatten().map(|f| format!("{place} {}", text(&f["kind"]))));
            for login in file["logins"].as_array().into_iter().flatten() {
                if !matches!(login["verdict"].as_str(), Some("same" | "same_account")) {
                    lines.push(format!("{place} {} {}", text(&login["login"]), text(&login["verdict"])));
                }
                if login.get("expired").is_some_and(|e| !e.is_null()) {
                    lines.push(format!("{place} {} expired", text(&login["login"])));
                }
            }
        }
    }
    lines
}

fn manifest(name: &str, document: &str) -> String {
    let data = STANDARD.encode(document);
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: team-a}}\ntype: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: {data}}}\n"
    )
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn status_tells_what_is_not_as_wanted() {
    let Some(site) = KubeSite::start(&["team-a"]) else { return };
    site.inventory(BLOCK);
    let start = site.kube.audited();
    let found = drift(&site, 10, &[]);
    assert!(found.contains(&"prod/team-a secret/regcred missing".to_string()), "{found:?}");
    site.apply(&[]).ended(0, &[]);
    assert_eq!(drift(&site, 0, &[]), [""; 0], "what apply wrote is no drift");

    // Somebody took it out of the service account: it is there, and nobody uses it.
    site.kube.kubectl(&["patch", "serviceaccount", "default", "-n", "team-a", "-p", r#"{"imagePullSecrets":[{"name":"theirs"}]}"#]).ended(0, &[]);
    let found = drift(&site, 10, &[]);
    assert!(found.len() == 1 && found[0].starts_with("prod/team-a serviceaccount/default"), "{found:?}");
    site.apply(&[]).ended(0, &[]);

    // Somebody changed it: the password, and all that the seeds' recipes come to.
    let hub = "https://index.docker.io/v1/";
    let auth = STANDARD.encode("alice:other");
    for (what, document) in [
        ("another password", format!(r#"{{"auths":{{"{hub}":{{"username":"alice","password":"other","auth":"{auth}"}}}}}}"#)),
        ("no `auths`", format!(r#"{{"{hub}":{{"auth":"{auth}"}}}}"#)),
        ("a credential store", format!(r#"{{"auths":{{"{hub}":{{}}}},"credsStore":"desktop"}}"#)),
        ("another key", r#"{"auths":{"quay.example.org":{"auth":"YTpi"}}}"#.to_string()),
    ] {
        let ran = site.kube.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &manifest("regcred", &document));
        ran.ended(0, &[]);
        let found = drift(&site, 10, &["--identity", "home/.config/regprov/identity.txt"]);
        assert!(found.iter().any(|l| l.starts_with("prod/team-a secret/regcred")), "{what}: {found:?}");
        // It writes nothing, and the next run says who owns it now.
        site.report(3, &[]).says("prod/team-a", &["kubectl", "--force-conflicts"]);
        assert!(site.report(0, &["--force-conflicts"]).outcomes()[0].ends_with("changed"), "{what}");
        assert_eq!(drift(&site, 0, &[]), [""; 0], "{what}");
    }

    // Its time is over.
    site.expire("hub");
    assert!(drift(&site, 10, &[]).contains(&"prod/team-a secret/regcred hub expired".to_string()));
    let asked = site.kube.audit(start, "regprov/");
    assert!(asked.iter().any(|e| e["objectRef"]["resource"] == "secrets"));
    // A namespace that is gone.
    site.kube.kubectl(&["delete", "namespace", "team-a"]).ended(0, &[]);
    let row = site.rows(10, &["status", "inventory.yml", "--json"]);
    assert!(row.row("prod/team-a").to_string().contains("team-a"), "{:#}", row.0);
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn status_writes_nothing() {
    let Some(site) = KubeSite::start(&["team-a", "team-b"]) else { return };
    site.inventory(BLOCK);
    site.apply(&[]).ended(0, &[]);
    site.inventory("a: {context: prod, namespaces: [team-a, team-b], logins: [hub, ngc], service_accounts: [default]}");
    let start = site.kube.audited();
    drift(&site, 10, &[]);
    assert_eq!(site.writes(start), [""; 0]);
    assert!(site.asked(start).len() > 3, "the control: it asks");
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn remove_takes_exactly_ours() {
    let Some(site) = KubeSite::start(&["team-a", "team-b"]) else { return };
    let names = |site: &KubeSite, namespace: &str| site.kube.pull_secrets(namespace, "default");
    site.kube.kubectl(&["create", "serviceaccount", "builder", "-n", "team-a"]).ended(0, &[]);
    site.kube.kubectl(&["create", "serviceaccount", "theirs", "-n", "team-a"]).ended(0, &[]);
    let patch = |account: &str, list: &Value| {
        site.kube.kubectl(&["patch", "serviceaccount", account, "-n", "team-a", "-p", &json!({"imagePullSecrets": list}).to_string()]).ended(0, &[]);
    };
    patch("default", &json!([{"name": "first"}]));
    // It named ours before us, so it is not for us to take it out there.
    patch("theirs", &json!([{"name": "regcred"}, {"name": "x"}]));
    let theirs = manifest("theirs", r#"{"auths":{"old.example.org":{"auth":"b2xkOm9sZA=="}}}"#);
    site.kube.apply(&theirs);
    site.inventory(
        "a: {context: prod, namespaces: [team-a], logins: [hub], service_accounts: [default, builder, theirs]}
         b: {context: prod, namespaces: [team-b], logins: [hub], service_accounts: [default]}",
    );
    site.apply(&[]).ended(0, &[]);
    patch("default", &json!([{"name": "first"}, {"name": "regcred"}, {"name": "last"}]));
    let start = site.kube.audited();
    let check = site.rows(0, &["remove", "inventory.yml", "--all", "--check", "--json"]);
    assert_eq!(site.writes(start), [""; 0]);
    let one = site.rows(0, &["remove", "inventory.yml", "--limit", "prod/team-a", "--json"]);
    assert_eq!(one.objects("prod/team-a"), check.objects("prod/team-a"));
    assert!(site.kube.get("secrets", "team-a", "regcred").is_none());
    assert_eq!(names(&site, "team-a"), ["first", "last"]);
    assert_eq!(site.kube.pull_secrets("team-a", "builder"), [""; 0]);
    assert_eq!(site.kube.pull_secrets("team-a", "theirs"), ["regcred", "x"]);
    assert!(site.kube.get("secrets", "team-a", "theirs").is_some());
    assert!(site.kube.get("secrets", "team-b", "regcred").is_some(), "it was not among the chosen");
    // Nothing is left to do there.
    let start = site.kube.audited();
    assert_eq!(site.rows(0, &["remove", "inventory.yml", "--limit", "prod/team-a", "--json"]).outcomes(), ["prod/team-a unchanged"]);
    assert_eq!(site.writes(start), [""; 0]);

    // One that is not ours stays: by another inventory, or by hand.
    site.kube.apply(&manifest("regcred", r#"{"auths":{}}"#));
    let left = site.rows(0, &["remove", "inventory.yml", "--limit", "prod/team-a", "--json"]);
    assert_eq!(left.outcomes(), ["prod/team-a unchanged"], "{:#}", left.0);
    assert!(site.kube.get("secrets", "team-a", "regcred").is_some());
    let text = std::fs::read_to_string(site.site.path("inventory.yml")).unwrap();
    site.write("other.yml", &text.replace("id: site", "id: other"));
    let left = site.rows(0, &["remove", "other.yml", "--limit", "prod/team-b", "--json"]);
    assert_eq!(left.outcomes(), ["prod/team-b unchanged"], "{:#}", left.0);
    assert_eq!((names(&site, "team-b"), site.kube.get("secrets", "team-b", "regcred").is_some()), (vec!["regcred".to_string()], true));
    site.rows(0, &["remove", "inventory.yml", "--all", "--json"]);
    assert!(names(&site, "team-b").is_empty() && site.kube.get("secrets", "team-b", "regcred").is_none());
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn what_the_inventory_wants_no_more_is_left_over_until_it_is_pruned() {
    let Some(site) = KubeSite::start(&["team-a"]) else { return };
    site.inventory("a: {context: prod, namespaces: [team-a], logins: [hub], secret: old, service_accounts: [default]}");
    site.apply(&[]).ended(0, &[]);
    site.kube.apply(&manifest("by-hand", r#"{"auths":{}}"#));
    site.inventory(BLOCK);
    site.apply(&[]).ended(0, &[]);
    let found = drift(&site, 10, &[]);
    assert_eq!(found, ["prod/team-a secret/old left_over"]);
    let start = site.kube.audited();
    site.report(0, &["--prune", "--check"]);
    assert_eq!(site.writes(start), [""; 0]);
    assert_eq!(site.report(0, &["--prune"]).outcomes(), ["prod/team-a changed"]);
    assert!(site.kube.get("secrets", "team-a", "old").is_none() && site.kube.get("secrets", "team-a", "by-hand").is_some());
    assert_eq!(site.kube.pull_secrets("team-a", "default"), ["regcred"]);
    assert_eq!(drift(&site, 0, &[]), [""; 0]);
}
