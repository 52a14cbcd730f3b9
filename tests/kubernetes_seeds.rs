//! What five sites' manuals tell to type for pull Secrets, with their mistakes: `regprov lint` names each at its line, `import k8s-secret` takes
//! the login where one is to be seen, and a real API server with kubectl does what both say of it.
//!
//! The manuals: EIDF's container registry (Secret by YAML and from a config.json), Run:ai (one login for all projects, Google's registry),
//! DeepOps (`kubectl create secret docker-registry`), OKD with Harbor, NREL's Harbor.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Kube;
use serde_json::Value;

/// The password of all cases, which no output may hold.
const PLANTED: &str = "hunter2planted";

/// What `kubectl create` and the API server do with a manifest.
enum Cluster {
    /// It is taken, whatever is wrong with it.
    Taken,
    /// It is refused, with these words.
    Refused(&'static str),
    /// kubectl's check of fields refuses it, with these words; without the check it is taken, and this label is not there.
    WithoutLabel(&'static str, &'static str),
}

/// A manifest as a manual has it.
struct Case {
    name: &'static str,
    text: String,
    /// What `lint` finds, in its order: line, level and rule.
    lint: &'static [(u64, &'static str, &'static str)],
    /// What `import` takes: registry and account.
    login: Option<(&'static str, &'static str)>,
    cluster: Cluster,
}

/// EIDF's example, with this behind `.dockerconfigjson:`.
fn eidf(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: eidfreg\n  namespace: eidf000ns\ntype: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: {value}\n"
    )
}

/// Run:ai's example for Google's registry, with these lines below `namespace:` and this behind `.dockerconfigjson:`.
fn runai(labels: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n        name: gcr-secret\n        namespace: runai\n{labels}data:\n        .dockerconfigjson: {value}\ntype: kubernetes.io/dockerconfigjson\n"
    )
}

/// The label as the manual has it.
const BESIDE: &str = "        labels:\n        runai/cluster-wide: \"true\"\n";
const UNDER: &str = "        labels:\n          runai/cluster-wide: \"true\"\n";

/// `base64 -w0`.
fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// `base64`, whose lines have 76 characters, each with this before it.
fn wrapped(text: &str, indent: &str) -> String {
    let lines: Vec<String> = base64(text).as_bytes().chunks(76).map(|c| format!("{indent}{}", String::from_utf8(c.to_vec()).unwrap())).collect();
    lines.join("\n")
}

/// What EIDF's `echo` makes: no `auth`, and a line feed at the end.
fn by_echo() -> String {
    format!("{{\"auths\":{{\"https://registry.eidf.ac.uk\":{{\"username\":\"robot$test+gpu\",\"password\":\"{PLANTED}\"}}}}}}\n")
}

/// Google's entry, copied out of a config.json.
fn copied() -> String {
    format!("{{\"https://eu.gcr.io\": {{ \"auth\": \"{}\"}}}}", base64(&format!("_json_key:{{\"private_key\":\"{PLANTED}\"}}")))
}

/// What kubectl writes for a login, under this key.
fn by_kubectl(key: &str) -> String {
    format!("{{\"auths\":{{\"{key}\":{{\"username\":\"alice\",\"password\":\"{PLANTED}\",\"auth\":\"{}\"}}}}}}", base64(&format!("alice:{PLANTED}")))
}

fn cases() -> Vec<Case> {
    use Cluster::{Refused, Taken, WithoutLabel};
    const PLAIN: (u64, &str, &str) = (8, "warning", "k8s-plaintext");
    const NO_AUTH: (u64, &str, &str) = (8, "warning", "k8s-no-auth");
    const EIDF: Option<(&str, &str)> = Some(("registry.eidf.ac.uk", "robot$test+gpu"));
    const GCR: Option<(&str, &str)> = Some(("eu.gcr.io", "_json_key"));
    let hub = |key: &str| eidf(&base64(&by_kubectl(key)));
    let case = |name, text, lint, login, cluster| Case { name, text, lint, login, cluster };
    vec![
        case("EIDF's YAML, base64 in one line by hand", eidf(&format!(">-\n    {}", base64(&by_echo()))), &[NO_AUTH, PLAIN], EIDF, Taken),
        case(
            "EIDF's YAML, base64 as it was printed",
            eidf(&format!(">-\n{}", wrapped(&by_echo(), "     "))),
            &[(8, "error", "k8s-base64"), NO_AUTH, PLAIN],
            EIDF,
            Refused("illegal base64 data"),
        ),
        case("the same below `|`, which keeps line breaks", eidf(&format!("|\n{}", wrapped(&by_echo(), "     "))), &[NO_AUTH, PLAIN], EIDF, Taken),
        case(
            "EIDF's YAML with its angle brackets",
            eidf(">-\n     <the output from the encoding process>"),
            &[(8, "error", "k8s-placeholder")],
            None,
            Refused("illegal base64 data"),
        ),
        case(
            "EIDF's Secret of a config.json whose passwords a credential store has",
            eidf(&base64("{\"auths\":{\"https://registry.eidf.ac.uk\":{}},\"credsStore\":\"desktop\"}")),
            &[(8, "error", "k8s-credential-store")],
            None,
            Taken,
        ),
        case(
            "Run:ai's secret.yaml, as the manual has it",
            runai(BESIDE, &base64(&copied())),
            &[(7, "error", "k8s-unknown-field"), (9, "error", "k8s-no-auths"), (9, "warning", "k8s-plaintext")],
            GCR,
            WithoutLabel("unknown field \"runai/cluster-wide\"", "runai/cluster-wide"),
        ),
        case(
            "the same with its label in place",
            runai(UNDER, &base64(&copied())),
            &[(9, "error", "k8s-no-auths"), (9, "warning", "k8s-plaintext")],
            GCR,
            Taken,
        ),
        case(
            "a label without quotes",
            runai(&UNDER.replace('"', ""), &base64(&by_kubectl("https://eu.gcr.io"))),
            &[(7, "error", "k8s-label-value"), (9, "warning", "k8s-plaintext")],
            Some(("eu.gcr.io", "alice")),
            Refused("cannot unmarshal bool"),
        ),
        case(
            "base64 pasted as it was printed",
            runai(UNDER, &wrapped(&copied(), "")),
            &[(10, "error", "k8s-syntax")],
            None,
            Refused("error converting YAML to JSON"),
        ),
        case(
            "Run:ai's << PASTE >>",
            runai(UNDER, "<< PASTE_HERE_THE_LONG_BASE64_ENCODED_STRING >>"),
            &[(9, "error", "k8s-placeholder")],
            None,
            Refused("illegal base64 data"),
        ),
        case(
            "without its last line",
            runai("", &base64(&by_kubectl("https://eu.gcr.io"))).replace("type: kubernetes.io/dockerconfigjson\n", ""),
            &[(1, "error", "k8s-secret-type"), (7, "warning", "k8s-plaintext")],
            Some(("eu.gcr.io", "alice")),
            Taken,
        ),
        case(
            "DeepOps' and Run:ai's `kubectl create secret docker-registry`",
            hub("https://index.docker.io/v1/"),
            &[PLAIN],
            Some(("docker.io", "alice")),
            Taken,
        ),
        case("Docker Hub as DeepOps' other example calls it", hub("docker.io"), &[(8, "warning", "k8s-hub-key"), PLAIN], Some(("docker.io", "alice")), Taken),
        case("Docker Hub by the name of its API", hub("index.docker.io"), &[PLAIN], Some(("docker.io", "alice")), Taken),
        case("Docker Hub by the host that serves it", hub("registry-1.docker.io"), &[(8, "error", "k8s-hub-key"), PLAIN], Some(("docker.io", "alice")), Taken),
        case(
            "Docker Hub's key without the slash",
            hub("https://index.docker.io/v1"),
            &[(8, "error", "k8s-registry-key"), PLAIN],
            Some(("docker.io", "alice")),
            Taken,
        ),
        case("OKD's name for Helm as the registry", hub("oci://https://registry.example.org"), &[(8, "error", "k8s-registry-key"), PLAIN], None, Taken),
        case(
            "OKD's proxy for Docker Hub as the registry",
            hub("registry.example.org/base"),
            &[(8, "warning", "k8s-path-key"), PLAIN],
            Some(("registry.example.org/base", "alice")),
            Taken,
        ),
        case(
            "NREL's repository as the registry",
            hub("harbor.nrel.gov/repo"),
            &[(8, "warning", "k8s-path-key"), PLAIN],
            Some(("harbor.nrel.gov/repo", "alice")),
            Taken,
        ),
    ]
}

/// Runs regprov on a text in a folder of its own, with nothing of this machine's user around it.
fn run(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
    command.args(args).current_dir(folder).env_clear().env("HOME", folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// No output holds the password, nor a piece of the base64 that does, whatever byte that begins with.
#[track_caller]
fn tells_nothing(output: &Output) -> String {
    let told = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
    let forms = (0..3).map(|skip| base64(&PLANTED[skip..])[..12].to_string()).chain([PLANTED.to_string()]);
    for form in forms {
        assert!(!told.contains(&form), "{told}");
    }
    told
}

#[test]
fn lint_names_each_mistake_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for Case { name, text, lint, .. } in cases() {
        fs::write(folder.path().join("secret.yml"), &text).unwrap();
        let output = run(folder.path(), &["lint", "secret.yml", "--json"], "");
        tells_nothing(&output);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}: {}", String::from_utf8_lossy(&output.stderr)));
        let found: Vec<(u64, &str, &str)> = document["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| (f["line"].as_u64().unwrap_or(0), f["level"].as_str().unwrap(), f["rule"].as_str().unwrap()))
            .collect();
        assert_eq!(found, lint, "{name}: {document:#}\n{text}");
        let errors = lint.iter().any(|(_, level, _)| *level == "error");
        assert_eq!(output.status.code(), Some(if errors { 10 } else { 0 }), "{name}");
        for form in [&["lint", "secret.yml"][..], &["lint", "secret.yml", "--sarif"], &["lint", "-"]] {
            let output = run(folder.path(), form, &text);
            let told = tells_nothing(&output);
            assert!(lint.iter().all(|(_, _, rule)| told.contains(rule)), "{name}: {told}");
        }
    }
}

#[test]
fn import_takes_the_login_where_one_is_to_be_seen() {
    let folder = tempfile::tempdir().unwrap();
    for Case { name, text, lint, login, .. } in cases() {
        let output = run(folder.path(), &["import", "k8s-secret", "-", "--check"], &text);
        let told = tells_nothing(&output);
        match login {
            Some((registry, account)) => {
                let line = told.lines().find(|l| l.contains(&format!(" {registry} "))).unwrap_or_else(|| panic!("{name}: {told}"));
                assert!(line.contains(&format!(" {account} ")) && line.contains("Secret "), "{name}: {told}");
                let errors = lint.iter().filter(|(_, level, _)| *level == "error").count();
                assert_eq!(
                    told.matches("warning: Secret ").count() - told.matches(", but docker and Helm do not").count() - told.matches("it has a path").count(),
                    errors,
                    "{name}: {told}"
                );
            }
            None => assert!(told.contains("left where it is:") || told.contains("cannot be read: line"), "{name}: {told}"),
        }
    }
}

/// kubectl and a real API server do what the cases say: whatever they take though the kubelet finds no login in it is what lint is there for.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn a_cluster_does_what_the_cases_say() {
    let Some(kube) = Kube::start() else { return };
    kube.namespaces(&["runai", "eidf000ns"], "{}");
    for Case { name, text, cluster, .. } in cases() {
        let place = if text.contains("gcr-secret") { ("runai", "gcr-secret") } else { ("eidf000ns", "eidfreg") };
        let create = |more: &[&str]| kube.kubectl_with(&[&["create", "-f", "-"], more].concat(), &text);
        let there = || kube.get("secrets", place.0, place.1);
        match cluster {
            Cluster::Taken => {
                create(&[]).ended(0, &["created"]);
            }
            Cluster::Refused(why) => {
                create(&[]).ended(1, &[why]);
                assert!(there().is_none(), "{name}");
            }
            Cluster::WithoutLabel(why, label) => {
                create(&[]).ended(1, &[why]);
                create(&["--validate=false"]).ended(0, &["created"]);
                let labels = &there().unwrap_or_else(|| panic!("{name}"))["metadata"]["labels"];
                assert!(labels.get(label).is_none(), "{name}: {labels}");
            }
        }
        if there().is_some() {
            kube.kubectl(&["delete", "secret", place.1, "-n", place.0]).ended(0, &[]);
        }
    }
}

/// What else the manuals' commands do: `kubectl create` cannot be typed twice, `kubectl patch` replaces the list of a service account, `kubectl
/// apply` leaves a copy of the Secret in an annotation, and a server that refuses base64 shows a piece of what stands around it.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn the_commands_of_the_manuals_do_what_the_readme_says() {
    let Some(kube) = Kube::start() else { return };
    kube.namespaces(&["runai-team-a"], "{}");
    let word = format!("--docker-password={PLANTED}");
    let create = [
        "create",
        "secret",
        "docker-registry",
        "regcred",
        "-n",
        "runai-team-a",
        "--docker-server=https://index.docker.io/v1/",
        "--docker-username=alice",
        &word,
    ];
    kube.kubectl(&create).ended(0, &[]);
    kube.kubectl(&create).ended(1, &["already exists"]);

    // kubectl is given the `~` as it stands, since it is not at the start of a word; and a blank behind a backslash is a word of its own.
    let file = ["create", "secret", "generic", "eidfreg", "-n", "runai-team-a", "--type=kubernetes.io/dockerconfigjson"];
    kube.kubectl(&[&file[..], &["--from-file=.dockerconfigjson=~/.docker/config.json"]].concat()).ended(1, &["~/.docker/config.json: no such file"]);
    let shell = |script: &str| Command::new("sh").args(["-c", script]).output().unwrap();
    assert_eq!(shell("echo --from-file=x=~/.docker/config.json").stdout, b"--from-file=x=~/.docker/config.json\n");
    let two = shell("echo kubectl create -n runai \\ \n    --docker-server=x");
    assert!(two.stdout == b"kubectl create -n runai  \n" && !two.status.success(), "{two:?}");

    let patch = |names: &str| {
        kube.kubectl(&["patch", "serviceaccount", "default", "-n", "runai-team-a", "-p", &format!("{{\"imagePullSecrets\": [{names}]}}")]).ended(0, &[])
    };
    patch("{\"name\": \"builder-dockercfg\"}");
    patch("{\"name\": \"regcred\"}");
    assert_eq!(kube.pull_secrets("runai-team-a", "default"), ["regcred"], "the other one is gone");

    let folded = eidf(&format!(">-\n{}", wrapped(&by_echo(), "     "))).replace("eidf000ns", "runai-team-a");
    let piece = &base64(&by_echo())[base64(&by_echo()).len() - 8..];
    kube.kubectl_with(&["create", "-f", "-"], &folded).ended(1, &["illegal base64 data", piece]);

    let text = eidf(&base64(&by_kubectl("registry.eidf.ac.uk"))).replace("eidf000ns", "runai-team-a");
    let annotation = |kube: &Kube| {
        kube.get("secrets", "runai-team-a", "eidfreg").unwrap()["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].clone()
    };
    kube.kubectl_with(&["apply", "-f", "-"], &text).ended(0, &[]);
    assert!(annotation(&kube).as_str().unwrap().contains(&base64(&by_kubectl("registry.eidf.ac.uk"))));
    let folder = tempfile::tempdir().unwrap();
    let shown = kube.kubectl(&["get", "secret", "eidfreg", "-n", "runai-team-a", "-o", "yaml"]).ended(0, &[]).stdout;
    let told = tells_nothing(&run(folder.path(), &["lint", "-"], &shown));
    assert!(told.contains("[k8s-last-applied]"), "{told}");
    kube.kubectl(&["delete", "secret", "eidfreg", "-n", "runai-team-a"]).ended(0, &[]);
    kube.kubectl_with(&["apply", "--server-side", "-f", "-"], &text).ended(0, &[]);
    assert!(annotation(&kube).is_null(), "the control with --server-side");
}
