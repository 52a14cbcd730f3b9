//! `kubernetes:`, one fault a case.

use super::*;
use crate::model::{Namespace, Which};

/// `block` as the one of `kubernetes:`, whose keys start on line 2, column 22.
#[track_caller]
fn refused_block(block: &str, want: &str) -> String {
    refused(&format!("kubernetes: {{b: {{{block}}}}}"), want)
}

#[test]
fn blocks() {
    const OK: &str = "namespaces: [a], logins: [l]";
    refused("kubernetes: [b]", "2:13: `kubernetes` must be a map of keys and values, not a list");
    refused("kubernetes: {all: {namespaces: [a], logins: [l]}}", "2:14: `all` of `kubernetes` cannot have this name");
    refused_block("logins: [l]", "2:14: `b` of `kubernetes` names no namespace");
    refused_block("namespaces: [], logins: [l]", "2:18: `namespaces` of `b` of `kubernetes` is empty");
    refused_block("namespaces: a, logins: [l]", "2:30: `namespaces` of `b` of `kubernetes` must be a list, not text");
    refused_block("namespaces: [A], logins: [l]", "2:31: `A` in `namespaces` of `b` of `kubernetes` is no name of a namespace");
    refused_block("namespaces: [a, a], logins: [l]", "2:34: `a` stands twice in `namespaces` of `b` of `kubernetes`");
    refused_block("namespaces: [a], namespace_selector: 'x=y', logins: [l]", "2:35: `b` of `kubernetes` has both");
    refused_block("namespace_selector: '', logins: [l]", "2:38: `namespace_selector` of `b` of `kubernetes` is no label selector");
    refused_block("namespaces: [a]", "2:14: `b` of `kubernetes` gets no login");
    refused_block("namespaces: [a], logins: []", "2:35: `b` of `kubernetes` gets no login");
    let told = refused_block("namespaces: [a], logins: [n]", "2:44: unknown login `n`");
    assert!(told.contains("the logins are l, m"), "{told}");
    refused_block(&format!("{OK}, context: ''"), "2:57: `context` of `b` of `kubernetes` names none");
    refused_block(&format!("{OK}, context: 7"), "2:57: `context` of `b` of `kubernetes` must be text, not a number");
    refused_block(&format!("{OK}, secret: a_b"), "2:56: `secret` of `b` of `kubernetes` is no name of a Secret");
    refused_block(
        &format!("{OK}, service_accounts: [Default]"),
        "2:67: `Default` in `service_accounts` of `b` of `kubernetes` is no name of a service account",
    );
    refused_block(&format!("{OK}, secrets: x"), "2:48: unknown key `secrets` in `b` of `kubernetes`");
}

#[test]
fn labels_and_annotations() {
    const OK: &str = "namespaces: [a], logins: [l]";
    let told = refused_block(
        &format!("{OK}, labels: {{runai/cluster-wide: true}}"),
        "2:77: label `runai/cluster-wide` of `b` of `kubernetes` must be text, not a truth value",
    );
    assert!(told.contains("put it into quotes"), "{told}");
    let told = refused_block(&format!("{OK}, runai/cluster-wide: 'true'"), "2:48: unknown key `runai/cluster-wide` in `b` of `kubernetes`");
    assert!(told.contains("a label stands below `labels:`"), "{told}");
    refused_block(&format!("{OK}, labels: [a]"), "2:56: `labels` of `b` of `kubernetes` must be a map");
    refused_block(&format!("{OK}, labels: {{a/b/c: x}}"), "2:57: `a/b/c` in `labels` of `b` of `kubernetes` is no key of a label");
    refused_block(&format!("{OK}, labels: {{a: 'x y'}}"), "2:60: the value of label `a` of `b` of `kubernetes` is none of a label");
    refused_block(
        &format!("{OK}, labels: {{app.kubernetes.io/managed-by: x}}"),
        "2:57: label `app.kubernetes.io/managed-by` of `b` of `kubernetes` is regprov's own",
    );
    refused_block(&format!("{OK}, annotations: {{regprov/inventory: x}}"), "2:62: annotation `regprov/inventory` of `b` of `kubernetes` is regprov's own");
    refused_block(
        &format!("{OK}, annotations: {{kubectl.kubernetes.io/last-applied-configuration: x}}"),
        "2:62: annotation `kubectl.kubernetes.io/last-applied-configuration` of `b` of `kubernetes` is kubectl's own",
    );
}

#[test]
fn what_one_secret_cannot_hold() {
    let two = "kubernetes:\n  a: {namespaces: [n], logins: [l]}\n  b: {namespaces: [o, n], logins: [m]}";
    let told = refused(two, "4:23: `b` and `a` of `kubernetes` both make the Secret regcred in (current)/n");
    assert!(told.contains("give one of them another name with `secret:`"), "{told}");
    // Another name, another context.
    loaded(&two.replace("logins: [m]", "logins: [m], secret: other"));
    loaded(&two.replace("logins: [m]", "logins: [m], context: test"));
    let text = format!(
        "version: 1\nkubernetes: {{b: {{namespaces: [a], logins: [l, m]}}}}\nlogins:\n  l: {{registry: r.example, username: u, password: {SEAL}}}\n  m: {{registry: 'https://R.example/', username: u, password: {SEAL}}}\n{STAMP}"
    );
    refused_file(&text, &["2:47: logins `l` and `m` are both for r.example in one Secret"]);
    refused_file(&text.replace("'https://R.example/'", "s.example/proj"), &["2:47: login `m`: registry `s.example/proj` has a path"]);
}

#[test]
fn namespaces_stand_in_the_order_of_the_blocks() {
    let inventory = loaded(
        "kubernetes:\n  runai: {context: prod, namespaces: [runai], logins: [l], secret: hub, labels: {runai/cluster-wide: \"true\"}}\n  team: {context: prod, namespaces: [team-a, runai], logins: [m, l], service_accounts: [default]}\n  ml: {namespace_selector: 'team=ml', logins: [l]}",
    );
    let names: Vec<String> = inventory.namespaces.iter().map(Namespace::to_string).collect();
    assert_eq!(names, ["prod/runai", "prod/team-a", "(current)/(team=ml)"]);
    assert_eq!(inventory.namespaces[2].which, Which::Selected("team=ml".into()));
    let secrets: Vec<String> = inventory.namespaces[0].secrets.iter().map(|s| format!("{} {} {}", s.block, s.name, s.logins.join("+"))).collect();
    assert_eq!(secrets, ["runai hub l", "team regcred l+m"]);
    assert_eq!(inventory.namespaces[1].place, "inv/i.yml:4:38");
    assert_eq!(inventory.notes, [], "both logins are used");
    assert!(inventory.hosts.is_empty());
}

#[test]
fn limits_know_namespaces_and_blocks() {
    let inventory = || {
        loaded(
            "groups: {g: {hosts: 'h[1-2]', logins: [l], targets: [docker]}}\nkubernetes:\n  a: {context: 'arn:aws:eks:1:cluster/x', namespaces: [n, o], logins: [l]}\n  b: {context: prod, namespaces: [n, t1, t2], logins: [m]}\n  c: {context: prod, namespace_selector: 'x=y', logins: [m]}",
        )
    };
    let chosen = |pattern: &str| {
        let inventory = inventory();
        let mut read = |path: &Path| Err(Error::usage(format!("{}: no such file", path.display())));
        let found = limit(&inventory, pattern, &mut read, &mut || Ok(vec!["h2".into(), "prod/n".into(), "prod/gone".into()]))?;
        let hosts = found.hosts.iter().map(|i| inventory.hosts[*i].name.clone());
        Ok::<_, Error>(hosts.chain(found.namespaces.iter().map(|i| inventory.namespaces[*i].to_string())).collect::<Vec<_>>().join(" "))
    };
    for (pattern, want) in [
        ("h1", "h1"),
        ("g,b", "h1 h2 prod/n prod/t1 prod/t2"),
        ("a", "arn:aws:eks:1:cluster/x/n arn:aws:eks:1:cluster/x/o"),
        ("arn:aws:eks:1:cluster/x/o", "arn:aws:eks:1:cluster/x/o"),
        ("a,!arn:aws:eks:1:cluster/x/o", "arn:aws:eks:1:cluster/x/n"),
        ("prod/*", "prod/n prod/t1 prod/t2 prod/(x=y)"),
        ("c", "prod/(x=y)"),
        ("all,!a,!g", "prod/n prod/t1 prod/t2 prod/(x=y)"),
        ("@failed", "h2 prod/n"),
        ("prod/t[1-2],h[1-2]", "h1 h2 prod/t1 prod/t2"),
    ] {
        assert_eq!(chosen(pattern).map_err(|e| e.to_string()).as_deref(), Ok(want), "{pattern}");
    }
    let told = chosen("prod/m").unwrap_err().to_string();
    assert!(told.contains("there is no host, no group and no namespace \"prod/m\"\n  hint: did you mean `prod/n`?"), "{told}");
    // A Secret is written as a whole.
    let mut narrowed = inventory();
    select(&mut narrowed, &["m".into()], &[]).unwrap();
    assert_eq!(narrowed.namespaces.iter().map(|n| n.secrets.len()).collect::<Vec<_>>(), [0, 0, 1, 1, 1, 1]);
    let mut narrowed = inventory();
    select(&mut narrowed, &[], &[TargetKind::Docker]).unwrap();
    assert!(narrowed.namespaces.iter().all(|n| n.secrets.is_empty()));
}
