//! The job that runs regprov in a cluster: its command line is one of ours, it has the identity without a file that others read, its account is
//! the one that it makes, and an API server takes its pods.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/peers.rs"]
mod peers;

use std::path::Path;

use clap::Parser;
use regprov::cli::{Cli, Only, Verb};
use serde_json::{Value, json};

const TEXT: &str = include_str!("../examples/kubernetes/cronjob.yml");

/// Its objects: the account, and the job.
fn objects() -> [Value; 2] {
    let objects: Vec<Value> = TEXT.split("\n---\n").map(|text| serde_yaml::from_str(text).unwrap()).collect();
    objects.try_into().unwrap()
}

#[test]
fn its_command_line_is_understood_and_its_names_fit() {
    let [account, job] = objects();
    assert_eq!((&account["kind"], &job["kind"]), (&json!("ServiceAccount"), &json!("CronJob")));
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!((&pod["serviceAccountName"], &job["metadata"]["namespace"]), (&account["metadata"]["name"], &account["metadata"]["namespace"]));
    let container = &pod["containers"][0];
    let words = container["command"].as_array().unwrap().iter().map(|w| w.as_str().unwrap());
    let Verb::Apply(args) = Cli::try_parse_from(words).unwrap().verb else { panic!("it is no apply") };
    assert_eq!((args.inventory.as_path(), args.clusters.only), (Path::new("/etc/regprov/inventory.yml"), Some(Only::Kubernetes)));

    let of = |list: &Value, name: &str| list.as_array().unwrap().iter().find(|i| i["name"] == name).unwrap_or_else(|| panic!("{name}: {list}")).clone();
    let identity = of(&container["env"], "REGPROV_IDENTITY");
    assert!(identity["value"].is_null() && identity["valueFrom"]["secretKeyRef"]["name"] == "regprov-identity", "{identity}");
    assert!(TEXT.contains("kubectl create secret generic regprov-identity -n regprov --from-file=identity="));
    // What it writes beside Secrets goes into its own directory; its root is read-only.
    let state = of(&container["env"], "XDG_STATE_HOME");
    for mount in container["volumeMounts"].as_array().unwrap() {
        of(&pod["volumes"], mount["name"].as_str().unwrap());
    }
    let writable: Vec<&Value> = container["volumeMounts"].as_array().unwrap().iter().filter(|m| m["readOnly"] != true).map(|m| &m["mountPath"]).collect();
    assert_eq!(writable, [&state["value"]]);
    assert_eq!((&container["securityContext"]["readOnlyRootFilesystem"], &pod["securityContext"]["runAsNonRoot"]), (&json!(true), &json!(true)));
}

/// Servers before 1.21 have jobs at times under another name; the pods are the same.
#[test]
#[ignore = "needs kube-apiserver, etcd and kubectl"]
fn an_api_server_takes_its_pods() {
    let Some(kube) = kube::Kube::start() else { return };
    kube.namespaces(&["regprov"], "{}");
    let [account, mut job] = objects();
    kube.kubectl_with(&["create", "-f", "-"], &account.to_string()).ended(0, &["serviceaccount/regprov created"]);
    let pods = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": job["metadata"], "spec": job["spec"]["jobTemplate"]["spec"].take()});
    kube.kubectl_with(&["create", "-f", "-", "--validate=true"], &pods.to_string()).ended(0, &["job.batch/regprov created"]);
    let other = job["apiVersion"].as_str().unwrap().replace("batch/v1", "batch/v1beta1");
    job["spec"]["jobTemplate"]["spec"] = pods["spec"].clone();
    if kube.kubectl_with(&["create", "-f", "-"], &job.to_string()).code != Some(0) {
        job["apiVersion"] = json!(other);
        kube.kubectl_with(&["create", "-f", "-", "--validate=true"], &job.to_string()).ended(0, &["cronjob.batch/regprov created"]);
    }
}
