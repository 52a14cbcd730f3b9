//! A planted password is looked for everywhere but in the Secrets that shall hold it: in all output, in argv and environ of every process, in every
//! file beside the program, in every other object of the cluster, and in the audit log of the API server, which keeps everything that it was asked
//! and that it answered. The same searches find what leaks on purpose.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/kube.rs"]
mod kube;
#[path = "common/kube_site.rs"]
mod kube_site;
#[path = "common/needles.rs"]
mod needles;
#[path = "common/peers.rs"]
mod peers;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use fleet::Ran;
use kube_site::KubeSite;
use needles::{Needles, files_with, polled};
use peers::need;
use serde_json::{Value, json};

/// Special for JSON, URLs, shells and YAML, with a stretch that no form of writing changes.
const PASSWORD: &str = "a\"b\\c'd$(e) %/é<#>&plantedSecret7391";
const STRETCH: &str = "plantedSecret7391";
/// Where the password belongs: Secrets of these names.
const SECRETS: [&str; 2] = ["regcred", "both"];

/// Where the password stands in the audit log, apart from the bodies of those Secrets: `verb uri (form)`.
fn audit_leaks(needles: &Needles, events: &[Value]) -> BTreeSet<String> {
    let mut leaks = BTreeSet::new();
    for event in events {
        let mut event = event.clone();
        let of = &event["objectRef"];
        // With `--replace` the server is first asked whether it would take the new one, under a name of its own choice; nothing of that is kept.
        let trial = event["requestObject"]["metadata"]["generateName"].as_str().and_then(|name| name.strip_suffix('-'));
        let is_trial = event["verb"] == "create" && event["requestURI"].as_str().is_some_and(|uri| uri.ends_with("dryRun=All"));
        let named = of["name"].as_str().or(trial.filter(|_| is_trial)).unwrap_or_default();
        let is_ours = of["resource"] == "secrets" && SECRETS.contains(&named) && of["subresource"].is_null();
        if is_ours {
            for body in ["requestObject", "responseObject"] {
                event.as_object_mut().unwrap().remove(body);
            }
        }
        if let Some(form) = needles.find(event.to_string().as_bytes()) {
            leaks.insert(format!("{} {} ({form})", event["verb"].as_str().unwrap_or("-"), event["requestURI"].as_str().unwrap_or("-")));
        }
    }
    leaks
}

#[test]
#[ignore = "needs kube-apiserver, etcd, kubectl and strace"]
fn the_password_is_nowhere_but_in_its_secrets() {
    let Some(strace) = need("strace") else { return };
    let Some(site) = KubeSite::start(&["team-a", "team-b"]) else { return };
    let needles = Needles::of(PASSWORD, STRETCH);
    site.site.vault("vault.yml", &[("hub", "docker.io", "acme", PASSWORD), ("ngc", "nvcr.io", "$oauthtoken", PASSWORD)]);
    site.inventory(
        "a: {context: prod, namespaces: [team-a, team-b], logins: [hub], service_accounts: [default]}
         b: {context: prod, namespaces: [team-b], logins: [hub, ngc], secret: both}",
    );
    // A credential plugin is a process that sees what regprov's environment is.
    let plugin = site.site.path("plugin");
    let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "token-alice"}});
    fs::write(&plugin, format!("#!/bin/sh\nsleep 0.2\necho '{credential}'\n")).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let exec = format!("exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {:?}}}", plugin.display().to_string());
    site.context("prod", &exec);
    site.kube.kubectl(&["create", "clusterrolebinding", "alice", "--clusterrole=cluster-admin", "--user=alice"]).ended(0, &[]);

    let run = |flags: &[&str], rust_log: &str, code: i32| {
        let what = format!("apply {flags:?} with RUST_LOG={rust_log}");
        let ran = Ran::from(site.command(&[&["apply", "inventory.yml"], flags].concat()).env("RUST_LOG", rust_log).output().unwrap());
        needles.not_in(ran.all(), &what);
        assert_eq!(ran.code, Some(code), "{what}: {}", ran.all());
        ran
    };
    let clean = || {
        for namespace in ["team-a", "team-b"] {
            site.kube.kubectl(&["delete", "secret", "regcred", "both", "-n", namespace, "--ignore-not-found"]).ended(0, &[]);
        }
    };
    let start = site.kube.audited();
    let (trace, polled) = polled(&needles, || {
        // Every verbosity, over a first run each time, and every form of the report.
        for (i, flags) in [&[][..], &["-vvv"], &["-vvv", "--json", "--diff"]].into_iter().enumerate() {
            clean();
            let log = if i == 0 { "" } else { "trace" };
            run(&[flags, &["--check"]].concat(), log, 0);
            run(flags, log, 0);
            run(flags, "trace,hyper=trace,rustls=trace,kube=trace,tower=trace", 0);
        }
        // What is in the way: a Secret of another manager, one of another type, one with the password where none belongs, a namespace that is gone.
        clean();
        let theirs = |kind: &str| {
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: regcred, namespace: team-a}}\ntype: {kind}\ndata: {{.dockerconfigjson: e30K}}\n")
        };
        site.kube.kubectl_with(&["apply", "--server-side", "--field-manager=gitops", "-f", "-"], &theirs("kubernetes.io/dockerconfigjson")).ended(0, &[]);
        run(&["-vvv", "--diff"], "trace", 3);
        clean();
        site.kube.kubectl_with(&["create", "-f", "-"], &theirs("Opaque")).ended(0, &[]);
        run(&["-vvv", "--diff", "--json"], "trace", 3);
        run(&["-vvv", "--diff", "--replace"], "trace", 0);
        for verb in [&["status", "inventory.yml"][..], &["remove", "inventory.yml", "--all"]] {
            let ran = Ran::from(site.command(&[verb, &["-vvv"]].concat()).env("RUST_LOG", "trace").output().unwrap());
            needles.not_in(ran.all(), &format!("{verb:?}"));
            assert_eq!(ran.code, Some(0), "{verb:?}: {}", ran.all());
        }
        // One run with every program that it starts.
        let trace = site.site.path("trace");
        let plain = site.command(&[]);
        let mut traced = std::process::Command::new(&strace);
        traced.args(["-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve", "-o"]).arg(&trace).arg(env!("CARGO_BIN_EXE_regprov"));
        traced.args(["apply", "inventory.yml"]).current_dir(site.site.dir.path()).env_clear();
        traced.envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?)))).stdin(Stdio::null());
        Ran::from(traced.output().unwrap()).ended(0, &[]);
        let text = fs::read_to_string(&trace).unwrap();
        fs::remove_file(trace).unwrap();
        text
    });
    assert!(polled.leaks.is_empty(), "{:?}", polled.leaks);
    for program in ["regprov", "plugin"] {
        assert!(polled.programs.contains(program), "no {program} was looked at: {:?}", polled.programs);
    }
    needles.not_in(&trace, "an argument or a variable of a program");
    assert!(trace.contains("regprov") && trace.contains("plugin"), "the control: programs are seen: {trace}");
    assert_eq!(files_with(&needles, site.site.dir.path()), BTreeSet::new(), "beside the program");

    let events = site.kube.audit(start, "");
    assert_eq!(audit_leaks(&needles, &events), BTreeSet::new(), "in the audit log");
    let bodies = events.iter().filter(|e| needles.find(e.to_string().as_bytes()).is_some()).count();
    assert!(bodies > 10, "the control: it is in the bodies of its Secrets, {bodies} times");
    let others = site.kube.kubectl(&["get", "events,configmaps,serviceaccounts,namespaces,roles,rolebindings,leases", "-A", "-o", "json"]).ended(0, &[]);
    needles.not_in(&others.stdout, "another object");
    assert!(needles.find(site.kube.kubectl(&["get", "secrets", "-A", "-o", "json"]).stdout.as_bytes()).is_some(), "the control: it is in Secrets");

    // The control: an event and a URI that hold it are found, and so is a Secret of another name.
    let start = site.kube.audited();
    let planted = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "planted", "namespace": "team-a"}, "message": PASSWORD,
        "involvedObject": {"kind": "Secret", "name": "regcred", "namespace": "team-a"},
    });
    site.kube.kubectl_with(&["create", "-f", "-"], &planted.to_string()).ended(0, &[]);
    site.kube.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/team-a/secrets/regcred?x={STRETCH}")]).ended(0, &[]);
    site.kube.kubectl(&["create", "secret", "generic", "elsewhere", "-n", "team-a", &format!("--from-literal=x={PASSWORD}")]).ended(0, &[]);
    let found = audit_leaks(&needles, &site.kube.audit(start, ""));
    for part in ["/events", "?x=", "/secrets?"] {
        assert!(found.iter().any(|leak| leak.contains(part)), "{part}: {found:?}");
    }
}
