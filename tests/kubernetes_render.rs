//! Manifests as kubectl reads and applies them. The kubectl of `PATH` (Debian: kubernetes-client), or each of those that `REGPROV_KUBECTL` names,
//! programs between colons.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/peers.rs"]
mod peers;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Kube;
use regprov::format::kubernetes::{document, object};
use regprov::model::{Login, PullSecret, Registry, Secret, Username};
use serde_json::{Value, json};

/// Every kubectl; none where there is none, which has been said.
#[track_caller]
fn kubectls() -> Vec<PathBuf> {
    match std::env::var_os("REGPROV_KUBECTL").filter(|named| !named.is_empty()) {
        Some(named) => std::env::split_paths(&named).collect(),
        None => peers::need("kubectl").into_iter().collect(),
    }
}

/// What kubectl says with these words, without a cluster.
#[track_caller]
fn said(kubectl: &Path, words: &[&str], input: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(kubectl);
    command.args(words).current_dir(home.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home.path());
    command.env("KUBECONFIG", home.path().join("none")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever reads nothing may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{} {words:?}: {}", kubectl.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn login(registry: &str, username: &str, password: &str) -> Login {
    Login {
        name: "one".into(),
        registry: Registry::parse(registry).unwrap().0,
        username: Username::parse(username).unwrap(),
        password: Secret::new(password.to_string()),
        auth_hosts: Vec::new(),
        expires: None,
    }
}

fn secret(annotations: BTreeMap<String, String>) -> PullSecret {
    let labels = BTreeMap::from([("runai/cluster-wide".to_string(), "true".to_string())]);
    PullSecret { name: "regcred".into(), block: "team".into(), logins: vec!["one".into()], labels, annotations, service_accounts: vec!["default".into()] }
}

/// Registries, usernames and passwords that some writer of JSON, YAML, base64 or a shell might change.
const LOGINS: [(&str, &str, &str); 15] = [
    ("docker.io", "alice", "dckr_pat_abc"),
    ("nvcr.io", "$oauthtoken", "nvapi-$HOME`id`$(id)"),
    ("registry.example.org:5000", "robot$team-a+pull", "a'b\"c\\d"),
    ("eu.gcr.io", "_json_key", "{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN\\nabc+/=\\n\"\n}\n"),
    ("h.example", "a<b>&c", "<script>&amp;</script>"),
    ("h.example", "Jörg", "pässwörd 密码 🔑"),
    ("h.example", "u", "line\u{2028}para\u{2029}nel\u{85}bom\u{feff}"),
    ("h.example", "u", "\u{1}\u{2}\u{8}\u{b}\u{c}\u{1b}\u{1f}\u{7f}"),
    ("h.example", "u", "\ttab\r\nlf\n"),
    ("h.example", "u", " spaces "),
    ("h.example", "u", "a:b:c"),
    ("h.example", "u", "%s%n\\u003c\\x00"),
    ("h.example", "u", "\u{fffd}\u{e000}\u{10ffff}\u{fdd0}"),
    ("h.example", "yes", "null"),
    ("xn--bcher-kva.example", "0123", "1e3"),
];

#[test]
#[ignore = "needs kubectl"]
fn the_data_are_those_of_kubectl_create_secret() {
    for kubectl in kubectls() {
        let mut seen = Vec::new();
        for (registry, username, password) in LOGINS {
            let login = login(registry, username, password);
            let flags = [("server", login.registry.docker_key()), ("username", username), ("password", password)].map(|(f, v)| format!("--docker-{f}={v}"));
            let words = ["create", "secret", "docker-registry", "regcred", "--dry-run=client", "-o", "json"];
            let created = said(&kubectl, &words.into_iter().chain(flags.iter().map(String::as_str)).collect::<Vec<_>>(), "");
            let created: Value = serde_json::from_str(&created).unwrap();
            let data = |value: &Value| STANDARD.decode(value["data"][".dockerconfigjson"].as_str().unwrap()).unwrap();
            let ours = object("team-a", &secret(BTreeMap::new()), &document(&[&login]), "site");
            let ours: Value = serde_yaml::from_str(&ours).unwrap();
            let shown = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            assert_eq!(shown(data(&ours)), shown(data(&created)), "{} {registry} {username:?} {password:?}", kubectl.display());
            assert_eq!((&ours["kind"], &ours["apiVersion"], &ours["type"]), (&created["kind"], &created["apiVersion"], &created["type"]));
            seen.push(data(&created));
        }
        // The control: what differs in the table differs in what kubectl writes.
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}

/// The objects of a stream of manifests, as this kubectl reads them.
fn read_by(kubectl: &Path, manifests: &str) -> Vec<Value> {
    let printed = said(kubectl, &["annotate", "--local", "-f", "-", "-o", "json", "read-by=kubectl"], manifests);
    let objects = serde_json::Deserializer::from_str(&printed).into_iter::<Value>().map(Result::unwrap);
    objects
        .map(|mut object| {
            let metadata = object["metadata"].as_object_mut().unwrap();
            assert_eq!(metadata["annotations"].as_object_mut().unwrap().remove("read-by"), Some("kubectl".into()));
            metadata.retain(|key, value| key != "creationTimestamp" || !value.is_null());
            object
        })
        .collect()
}

#[test]
#[ignore = "needs kubectl"]
fn kubectl_reads_what_was_meant() {
    let words = ["yes", "on", "n", "Y", "null", "~", "1_000", "0x10", "0o7", "010", "1:30", "2026-01-01", ".inf", "1e3", "<<", "=", "", " a ", "a: b", "# x"];
    let more = [
        "- x",
        "'",
        "\"",
        "\\",
        "é\u{85}\u{a0}",
        "a\u{2028}b\u{2029}c",
        "\u{feff}x",
        "a\nb\n\n",
        "\r",
        "\t",
        "{a}",
        "[a",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`",
        "|",
        ">",
    ];
    let annotations: BTreeMap<String, String> = words.into_iter().chain(more).enumerate().map(|(i, w)| (format!("k{i}"), w.to_string())).collect();
    for kubectl in kubectls() {
        for (registry, username, password) in LOGINS {
            let document = document(&[&login(registry, username, password)]);
            let mut wanted = json!(annotations);
            wanted["regprov/inventory"] = "null".into();
            wanted["regprov/appended-to"] = "default".into();
            let wanted = json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
                "metadata": {
                    "name": "regcred", "namespace": "0123", "annotations": wanted,
                    "labels": {"app.kubernetes.io/managed-by": "regprov", "runai/cluster-wide": "true"},
                },
                "data": {".dockerconfigjson": STANDARD.encode(&document)},
            });
            let text = object("0123", &secret(annotations.clone()), &document, "null");
            assert_eq!(read_by(&kubectl, &text), [wanted], "{}", kubectl.display());
        }
    }
}

/// The manifests that the command line is held to, comments and separators included.
#[test]
#[ignore = "needs kubectl"]
fn kubectl_reads_the_golden_manifests() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/render-the-manifests-of-the-manuals/stdout");
    let golden = fs::read_to_string(golden).unwrap();
    let wanted: Vec<Value> = golden.split("---\n").map(|text| serde_yaml::from_str(text).unwrap()).collect();
    let places: Vec<String> = wanted.iter().map(|o| format!("{}/{}", o["metadata"]["namespace"], o["metadata"]["name"]).replace('"', "")).collect();
    assert_eq!(places, ["runai/gcr-key", "runai-team-a/regcred", "runai-team-b/regcred", "web/regcred", "web/images"]);
    for kubectl in kubectls() {
        assert_eq!(read_by(&kubectl, &golden), wanted, "{}", kubectl.display());
    }
}

/// What is rendered is applied by kubectl, by the words that stand on top of it, and the service accounts get it by the lines that are told.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_server_takes_the_manifests_and_service_accounts_keep_what_others_gave_them() {
    let Some(kube) = Kube::start() else { return };
    kube.namespaces(&["team-a"], "{}");
    for account in ["builder", "runner"] {
        kube.kubectl(&["create", "serviceaccount", account, "-n", "team-a"]).ended(0, &[]);
    }
    kube.kubectl(&["patch", "serviceaccount", "builder", "-n", "team-a", "-p", r#"{"imagePullSecrets":[{"name":"other"}]}"#]).ended(0, &[]);
    let inventory = "version: 1\nid: site\nlogins:\n  hub: {registry: docker.io, username: alice, password: planted-Hub_1}\nkubernetes:\n  \
                     team: {context: prod, namespaces: [team-a], logins: [hub], service_accounts: [default, builder], labels: {a: \"true\"}}\n";
    fs::write(kube.path("inventory.yml"), inventory).unwrap();
    fs::write(kube.path("prod.kubeconfig"), kube.kubeconfig("prod", &kube.admin())).unwrap();
    let sh = |script: &str| {
        let path = format!("{}:{}", Path::new(env!("CARGO_BIN_EXE_regprov")).parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("/bin/sh");
        command.args(["-euc", script]).current_dir(kube.path("")).env_clear().env("PATH", path).env("HOME", kube.path(""));
        let output = command.env("KUBECONFIG", kube.path("prod.kubeconfig")).stdin(Stdio::null()).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{script}\n{out}{err}");
        (out, err)
    };
    let (_, told) = sh("regprov render inventory.yml --target kubernetes --allow-plaintext -o prod.yaml");
    let text = fs::read_to_string(kube.path("prod.yaml")).unwrap();
    let apply = text.lines().find_map(|l| l.split_once("applied with: ")).expect("the command stands on top").1.replace("FILE", "prod.yaml");
    sh(&apply);

    let secret = kube.get("secrets", "team-a", "regcred").expect("it is there");
    assert_eq!(kube.document("team-a", "regcred"), String::from_utf8(document(&[&login("docker.io", "alice", "planted-Hub_1")]).to_vec()).unwrap());
    assert_eq!((&secret["type"], &secret["metadata"]["labels"]["a"]), (&"kubernetes.io/dockerconfigjson".into(), &"true".into()));
    let managers = secret["metadata"]["managedFields"].as_array().unwrap();
    let managers: Vec<_> = managers.iter().map(|m| (m["manager"].as_str().unwrap(), m["operation"].as_str().unwrap())).collect();
    assert_eq!(managers, [("regprov", "Apply")]);
    let annotations: Vec<&String> = secret["metadata"]["annotations"].as_object().unwrap().keys().collect();
    assert_eq!(annotations, ["regprov/appended-to", "regprov/inventory"], "no copy of the Secret lies in an annotation");

    let lines: Vec<&str> = told.lines().filter_map(|l| l.split_once("and so does, once: ")).map(|(_, line)| line).collect();
    assert_eq!(lines.len(), 2, "{told}");
    lines.iter().for_each(|line| drop(sh(line)));
    let lists = ["default", "builder", "runner"].map(|account| kube.pull_secrets("team-a", account));
    assert_eq!(lists, [vec!["regcred"], vec!["other", "regcred"], vec![]]);

    // A second time changes nothing, and `apply` finds all as it wants it.
    sh(&apply);
    let (recap, _) = sh("regprov apply inventory.yml --allow-plaintext --detailed-exitcode");
    assert!(recap.contains("1 namespace: 1 unchanged"), "{recap}");
    assert_eq!(kube.get("secrets", "team-a", "regcred").unwrap()["metadata"]["resourceVersion"], secret["metadata"]["resourceVersion"]);
}
