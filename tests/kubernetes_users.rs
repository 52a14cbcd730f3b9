//! Who a kubeconfig says we are, and what that one may do: credential plugins, kubeconfigs that cannot be used, and rights, on a real kube-apiserver.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/kube_site.rs"]
mod kube_site;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use kube_site::KubeSite;
use peers::need;
use serde_json::json;

const BLOCK: &str = "a: {context: prod, namespaces: [team-a], logins: [hub], service_accounts: [default]}";

/// The role that is shipped for one namespace and the user alice, and the one for all namespaces and bob.
const ROLE: &str = include_str!("../examples/kubernetes/role.yml");
const CLUSTER_ROLE: &str = include_str!("../examples/kubernetes/cluster-role.yml");

/// The kubeconfig's user is this script.
fn plugin(site: &KubeSite, script: &str, more: &str) {
    let path = site.site.path("plugin");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let version = "client.authentication.k8s.io/v1";
    site.context(
        "prod",
        &format!("exec: {{apiVersion: {version}, interactiveMode: Never, command: {:?}, args: [get-token]{more}}}", path.display().to_string()),
    );
}

fn credential(token: &str) -> String {
    let document = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}});
    format!("printf '%s' '{document}'")
}

#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_credential_plugin_says_who_we_are() {
    let Some(site) = KubeSite::start(&["team-a"]) else { return };
    site.inventory(BLOCK);
    site.kube.kubectl(&["create", "clusterrolebinding", "alice", "--clusterrole=cluster-admin", "--user=alice"]).ended(0, &[]);
    // It counts its runs, and tells what it was told and given.
    let seen = site.site.path("seen");
    let note = format!("printf '%s %s %s\\n' \"$1\" \"$NAMED\" \"$KUBERNETES_EXEC_INFO\" >>{}", seen.display());
    plugin(&site, &format!("{note}\n{}", credential("token-alice")), ", env: [{name: NAMED, value: yes}], provideClusterInfo: true");
    let start = site.kube.audited();
    assert_eq!(site.report(0, &[]).outcomes(), ["prod/team-a changed"]);
    let users: Vec<_> = site.kube.audit(start, "regprov/").iter().map(|e| e["user"]["username"].as_str().unwrap().to_string()).collect();
    assert!(users.len() > 4 && users.iter().all(|u| u == "alice"), "{users:?}");
    let seen = fs::read_to_string(seen).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("get-token yes {"), "once, with its argument and variable: {seen}");
    assert!(lines[0].contains("\"apiVersion\":\"client.authentication.k8s.io/v1\"") && lines[0].contains(&site.kube.port.to_string()), "{seen}");

    // A certificate in place of a token.
    let (certificate, key) = site.kube.admin_pems();
    let status = json!({"clientCertificateData": certificate, "clientKeyData": key});
    let document = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
    site.write("credential.json", &document.to_string());
    plugin(&site, &format!("cat {}", site.site.path("credential.json").display()), "");
    assert_eq!(site.report(0, &[]).outcomes(), ["prod/team-a unchanged"]);
}

/// Each of them ends its namespaces, in time and with its reason, and leaves the hosts of the run alone.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_credential_plugin_that_fails_is_named() {
    let Some(site) = KubeSite::start(&["team-a"]) else { return };
    site.inventory(BLOCK);
    fs::create_dir_all(site.site.path("img/root")).unwrap();
    let text = fs::read_to_string(site.site.path("inventory.yml")).unwrap();
    let host = format!(
        "groups:\n  images: {{hosts: [img], logins: [hub], targets: [docker]}}\nhosts:\n  img: {{connection: local, root: {}}}\n",
        site.site.path("img").display()
    );
    site.write("inventory.yml", &(text + &host));
    let alive = site.site.path("alive");
    let hangs = format!("sleep 1000 & echo $! >{}; wait", alive.display());
    for (what, script, words) in [
        ("fails", "echo 'your session has expired: log in again' >&2; exit 3".to_string(), &["plugin", "failed", "your session has expired"][..]),
        ("prints garbage", "echo '<html>token planted-T0ken</html>'".to_string(), &["plugin", "ExecCredential"]),
        ("prints nothing", "true".to_string(), &["plugin", "ExecCredential"]),
        ("gives a token that nobody knows", credential("planted-Token-of-nobody"), &["401"]),
        ("says a token as it fails", "echo 'refused: eyJhbGciOiJSUzI1NiJ9planted4711.abc' >&2; exit 1".to_string(), &["plugin", "failed"]),
        ("hangs", hangs, &["plugin", "did not end in time"]),
    ] {
        plugin(&site, &script, "");
        let start = Instant::now();
        let report = site.report(4, &["--command-timeout", "3"]);
        assert!(start.elapsed() < Duration::from_secs(30), "{what} takes {:?}", start.elapsed());
        assert!(report.outcomes()[0] != "img unreachable" && report.outcomes()[1] == "prod/team-a unreachable", "{what}: {:?}", report.outcomes());
        assert_eq!(report.row("prod/team-a")["stage"], "authenticate", "{what}");
        report.says("prod/team-a", words);
    }
    let pid = fs::read_to_string(alive).unwrap();
    let gone = || !fs::exists(format!("/proc/{}/cmdline", pid.trim())).unwrap();
    fleet::wait_until("what a plugin started has ended with it", gone);
    // None at all.
    site.context("prod", "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: no-such-plugin, installHint: ask alice}");
    site.report(4, &[]).says("prod/team-a", &["no-such-plugin", "PATH", "ask alice"]);
}

/// As a Pod, its service account is who we are where there is no kubeconfig.
#[test]
#[ignore = "needs kube-apiserver, etcd, kubectl and unshare"]
fn in_a_pod_its_service_account_is_used() {
    let Some(unshare) = need("unshare") else { return };
    let Some(site) = KubeSite::start(&["team-a"]) else { return };
    site.inventory("a: {namespaces: [team-a], logins: [hub], service_accounts: [default]}");
    fs::remove_file(site.site.path("home/.kube/config")).unwrap();
    site.apply(&[]).ended(2, &["kubeconfig"]);
    site.kube.kubectl(&["create", "serviceaccount", "regprov", "-n", "team-a"]).ended(0, &[]);
    let binding = ["create", "clusterrolebinding", "regprov", "--clusterrole=cluster-admin", "--serviceaccount=team-a:regprov"];
    site.kube.kubectl(&binding).ended(0, &[]);
    let token = site.kube.kubectl(&["create", "token", "regprov", "-n", "team-a"]).ended(0, &[]);
    site.write("token", token.stdout.trim());
    fs::copy(site.kube.path("ca.crt"), site.site.path("ca.crt")).unwrap();
    // Mounts that nobody else sees put the files where a Pod has them.
    let script = "mount -t tmpfs ours /run && dir=/run/secrets/kubernetes.io/serviceaccount && mkdir -p $dir && cp token ca.crt $dir && exec \"$@\"";
    let plain = site.command(&[]);
    let mut command = std::process::Command::new(unshare);
    command.args(["--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", env!("CARGO_BIN_EXE_regprov")]);
    command.args(["apply", "inventory.yml", "--json"]).current_dir(site.site.dir.path()).env_clear();
    command.envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?)))).env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    command.env("KUBERNETES_SERVICE_PORT", site.kube.port.to_string());
    let start = site.kube.audited();
    let ran = fleet::Ran::from(command.output().unwrap()).ended(0, &[]);
    assert_eq!(kube_site::Rows(serde_json::from_str(&ran.stdout).unwrap()).outcomes(), ["in-cluster/team-a changed"]);
    let asked = site.kube.audit(start, "regprov/");
    assert!(!asked.is_empty() && asked.iter().all(|e| e["user"]["username"] == "system:serviceaccount:team-a:regprov"));
}

/// A kubeconfig that cannot be used is told before anything is contacted; a server that cannot be trusted is sent nothing.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_kubeconfig_that_cannot_be_used_ends_the_run() {
    let Some(site) = KubeSite::start(&["team-a"]) else { return };
    site.inventory(BLOCK);
    let good = site.kube.kubeconfig("prod", &site.kube.admin());
    let ca = good.split_once("certificate-authority-data: ").unwrap().1.split_once('}').unwrap().0.to_string();
    let start = site.kube.audited();
    for (what, text, words) in [
        ("another context", good.replace("prod", "prd"), &["prod", "prd"][..]),
        ("no verification", good.replace(&format!("certificate-authority-data: {ca}"), "insecure-skip-tls-verify: true"), &["insecure-skip-tls-verify"]),
        ("no TLS", good.replace("https://127.0.0.1", "http://192.0.2.1"), &["http"]),
        ("no YAML", "{".to_string(), &["config"]),
    ] {
        site.write("home/.kube/config", &text);
        let ran = site.apply(&[]).ended(2, words);
        assert!(!ran.all().contains("BEGIN"), "{what}");
    }
    fs::remove_file(site.site.path("home/.kube/config")).unwrap();
    site.apply(&[]).ended(2, &["there is no kubeconfig", ".kube/config"]);
    assert_eq!(site.kube.audit(start, "regprov/").len(), 0);
    // Another CA than the server's: its namespaces are unreachable.
    let other = kube::Kube::some_ca();
    site.write("other.yml", &good.replace(&ca, &other));
    let report = site.rows(4, &["apply", "inventory.yml", "--json", "--kubeconfig", "other.yml"]);
    report.says("prod/team-a", &["certificate"]);
    assert_eq!(site.kube.audit(start, "regprov/").len(), 0);
    // The control.
    site.write("good.yml", &good);
    site.rows(0, &["apply", "inventory.yml", "--json", "--kubeconfig", "good.yml"]);
}

/// What stands in the brackets behind this key.
fn list<'a>(line: &'a str, key: &str) -> Vec<&'a str> {
    let (_, rest) = line.split_once(&format!("{key}: [")).unwrap();
    rest.split_once(']').unwrap().0.split(", ").collect()
}

/// Applies this role, and waits until the server goes by it: whether alice may do this then.
#[track_caller]
fn grant(site: &KubeSite, role: &str, verb: &str, object: &str, may: &str) {
    site.kube.apply(role);
    let can = || site.kube.kubectl(&["auth", "can-i", verb, object, "-n", "team-a", "--as", "alice"]).stdout;
    fleet::wait_until("the server goes by the role", || can().trim() == may);
}

/// The shipped role is enough, and each verb of it is needed: whoever lacks one is told which, and nothing is written.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn the_shipped_role_is_exactly_enough() {
    let Some(site) = KubeSite::start(&["team-a", "team-b"]) else { return };
    site.inventory("a: {context: prod, namespaces: [team-a, team-b], logins: [hub], service_accounts: [default]}");
    site.as_user("alice");
    let start = site.kube.audited();
    site.report(3, &[]).says("prod/team-a", &["verbs: [get, create, patch]", "verbs: [get, update]"]);

    let whole = ROLE.replace("runai-team-a", "team-a");
    let mut verbs = 0;
    for rule in whole.lines().filter(|l| l.starts_with("- {apiGroups")) {
        let (resource, name) = (list(rule, "resources")[0], list(rule, "resourceNames")[0]);
        for verb in list(rule, "verbs") {
            let left: Vec<&str> = list(rule, "verbs").into_iter().filter(|v| *v != verb).collect();
            let less = rule.split_once("verbs").unwrap().0.to_string() + &format!("verbs: [{}]}}", left.join(", "));
            grant(&site, &whole.replace(rule, &less), verb, &format!("{resource}/{name}"), "no");
            let report = site.report(3, &[]);
            assert_eq!(report.row("prod/team-a")["stage"], "rights", "{:#}", report.0);
            report.says("prod/team-a", &[&format!("{verb} {resource}"), "namespace team-a", &format!("resources: [{resource}]"), &format!("verbs: [{verb}]")]);
            grant(&site, &whole, verb, &format!("{resource}/{name}"), "yes");
            verbs += 1;
        }
    }
    assert_eq!((verbs, site.writes(start)), (5, vec![]));
    let report = site.report(3, &[]);
    assert_eq!(report.outcomes(), ["prod/team-a changed", "prod/team-b failed"], "a role is one of its namespace");
    report.says("prod/team-b", &["namespace team-b"]);
    assert_eq!(site.report(3, &[]).outcomes(), ["prod/team-a unchanged", "prod/team-b failed"]);
    site.report(3, &["--replace"]).says("prod/team-a", &["delete secrets", "verbs: [delete]"]);

    // All namespaces, and those that a selector names.
    site.as_user("bob");
    site.inventory("a: {context: prod, namespace_selector: team=ml, logins: [hub], service_accounts: [default]}");
    let report = site.report(3, &[]);
    assert_eq!(report.outcomes(), ["prod/(team=ml) failed"]);
    report.says("prod/(team=ml)", &["list namespaces", "resources: [namespaces]", "verbs: [list]"]);
    site.kube.apply(CLUSTER_ROLE);
    let can = || site.kube.kubectl(&["auth", "can-i", "list", "namespaces", "--as", "bob"]).stdout;
    fleet::wait_until("the server goes by the role", || can().trim() == "yes");
    assert_eq!(site.report(0, &[]).outcomes(), ["prod/team-a unchanged", "prod/team-b changed"]);
}
