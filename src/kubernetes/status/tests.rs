use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::model::{Expiry, Registry};

pub(in crate::kubernetes) fn login(name: &str, registry: &str, username: &str, password: &str) -> Login {
    Login {
        name: name.into(),
        registry: Registry::parse(registry).unwrap().0,
        username: Username::parse(username).unwrap(),
        password: Secret::new(password.to_string()),
        auth_hosts: Vec::new(),
        expires: None,
    }
}

pub(in crate::kubernetes) fn logins() -> BTreeMap<String, Login> {
    let hub = Login { expires: Some(Expiry::parse("2027-03-01").unwrap()), ..login("hub", "docker.io", "alice", "planted-hub") };
    [login("ngc", "nvcr.io", "$oauthtoken", "planted-ngc"), hub].map(|l| (l.name.clone(), l)).into()
}

fn wanted() -> PullSecret {
    PullSecret {
        name: "regcred".into(),
        block: "team".into(),
        logins: vec!["hub".into(), "ngc".into()],
        labels: BTreeMap::from([("runai/cluster-wide".into(), "true".into())]),
        annotations: BTreeMap::new(),
        service_accounts: vec!["default".into()],
    }
}

fn namespace() -> Namespace {
    Namespace {
        context: Some("prod".into()),
        which: crate::model::kubernetes::Which::Named("team-a".into()),
        secrets: Vec::new(),
        selected: None,
        place: String::new(),
    }
}

/// What an API server has after `apply` for the inventory `site`, with changes.
pub(in crate::kubernetes) fn stored(change: impl FnOnce(&mut Value)) -> Found {
    let logins = logins();
    let mut found = json!({
        "kind": "Secret", "apiVersion": "v1", "type": SECRET_TYPE,
        "data": {".dockerconfigjson": STANDARD.encode(document(&logins.values().collect::<Vec<_>>()))},
        "metadata": {
            "name": "regcred", "uid": "u", "resourceVersion": "7",
            "labels": {"app.kubernetes.io/managed-by": "regprov", "runai/cluster-wide": "true"},
            "annotations": {"regprov/inventory": "site", "regprov/appended-to": "builder,default"},
            "managedFields": [{"manager": "regprov", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {
                "f:data": {"f:.dockerconfigjson": {}}, "f:type": {},
                "f:metadata": {
                    "f:labels": {"f:app.kubernetes.io/managed-by": {}, "f:runai/cluster-wide": {}},
                    "f:annotations": {"f:regprov/inventory": {}, "f:regprov/appended-to": {}},
                },
            }}],
        },
    });
    change(&mut found);
    Found::parse(found.to_string().as_bytes()).unwrap()
}

/// Has another manager own these fields of it.
pub(in crate::kubernetes) fn owned_by(found: &mut Value, manager: &str, fields: Value) {
    let entry = json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
    found["metadata"]["managedFields"].as_array_mut().unwrap().push(entry);
}

fn put(found: &mut Value, document: &str) {
    found["data"][".dockerconfigjson"] = json!(STANDARD.encode(document));
}

fn same(name: &str, password: &Secret) -> Option<bool> {
    Some(password.expose() == format!("planted-{name}"))
}

/// What is told of a Secret: findings as `word: detail`, then the logins as `name word`.
#[track_caller]
fn check(found: Option<&Found>, want: &[&str]) {
    let (logins, previous) = (logins(), Previous::default());
    let look = Look { logins: &logins, same: &same, previous: &previous, inventory_id: Some("site"), left_over: true, now: 0 };
    let status = look.secret(&namespace(), &wanted(), found);
    let mut told: Vec<String> = status.findings.iter().map(|f| format!("{}: {}", f.kind.name(), f.detail)).collect();
    told.extend(status.logins.iter().map(|l| format!("{} {}{}", l.login, l.verdict.name(), l.detail.as_ref().map_or(String::new(), |d| format!(": {d}")))));
    let fits = |(got, want): (&String, &&str)| want.strip_suffix("...").map_or(got == want, |start| got.starts_with(start));
    assert!(told.len() == want.len() && told.iter().zip(want).all(fits), "{told:#?}\ninstead of\n{want:#?}");
    assert!(!told.concat().contains("planted"), "{told:?}");
    let good = ["hub same", "ngc same"];
    assert_eq!(status.has_drift(), want != good, "{status:?}");
    assert_eq!((status.target, status.path.as_str(), status.foreign_count), ("kubernetes", "secret/regcred", 0));
}

/// With both logins as they shall be.
#[track_caller]
fn beside(change: impl FnOnce(&mut Value), want: &[&str]) {
    check(Some(&stored(change)), &[want, &["hub same", "ngc same"]].concat());
}

#[test]
fn what_apply_would_leave_alone_is_the_same() {
    beside(|_| {}, &[]);
    // What others put beside it, by whatever name.
    beside(|s| s["metadata"]["labels"]["team"] = json!("ml"), &[]);
    beside(|s| s["metadata"]["annotations"]["note"] = json!("x"), &[]);
    beside(|s| s["data"]["other"] = json!("eA=="), &[]);
    beside(|s| s["immutable"] = json!(true), &[]);
    // Somebody who applies the very same.
    beside(|s| owned_by(s, "argocd", json!({"f:data": {"f:.dockerconfigjson": {}}, "f:metadata": {"f:labels": {"f:runai/cluster-wide": {}}}})), &[]);
    // Another form of the same values.
    let spaced = String::from_utf8(document(&logins().values().collect::<Vec<_>>()).to_vec()).unwrap().replace("\":{", "\" : {");
    beside(|s| put(s, &spaced), &[]);
}

#[test]
fn a_secret_that_gives_no_login_says_why() {
    check(None, &["missing: there is no such Secret", "hub missing", "ngc missing"]);
    let gone = ["hub missing", "ngc missing"];
    check(
        Some(&stored(|s| put(s, r#"{"https://eu.gcr.io":{"auth":"YTpi"}}"#))),
        &[&["unreadable: it has no `auths`: its entries stand at the top, where the kubelet finds none of them..."][..], &gone].concat(),
    );
    check(Some(&stored(|s| s["data"] = json!({}))), &[&["unreadable: it has no `.dockerconfigjson`"][..], &gone].concat());
    check(Some(&stored(|s| put(s, "eyJhdXRocyI6e319"))), &[&["unreadable: its `.dockerconfigjson` is..."][..], &gone].concat());
    let store = r#"{"auths":{"nvcr.io":{}},"credsStore":"desktop"}"#;
    check(
        Some(&stored(|s| put(s, store))),
        &[&["unreadable: its entry `nvcr.io`: it is empty: the Secret was made from a config.json..."][..], &gone].concat(),
    );
    beside(|s| s["type"] = json!("Opaque"), &["wrong_type: it is of type Opaque, from which no pull takes a login; `apply --replace` makes it anew"]);
}

#[test]
fn logins_are_compared_as_those_of_files() {
    let with = |auths: Value| stored(|s| put(s, &json!({ "auths": auths }).to_string()));
    let entry = |user: &str, password: &str| json!({"username": user, "password": password, "auth": STANDARD.encode(format!("{user}:{password}"))});
    let (hub, ngc) = (entry("alice", "planted-hub"), entry("$oauthtoken", "planted-ngc"));
    const HUB: &str = "https://index.docker.io/v1/";
    check(Some(&with(json!({HUB: entry("alice", "planted-other"), "nvcr.io": ngc}))), &["hub different: another password", "ngc same"]);
    check(Some(&with(json!({HUB: entry("bob", "planted-hub"), "nvcr.io": ngc}))), &["hub different: another account", "ngc same"]);
    check(Some(&with(json!({HUB: hub}))), &["hub same", "ngc missing"]);
    check(Some(&with(json!({HUB: hub, "nvcr.io": ngc, "docker.io": hub}))), &["hub different: it stands there under an old name too: docker.io", "ngc same"]);
    let quay = "different: it has an entry for quay.io, which the inventory does not want there; `apply` takes it out";
    check(Some(&with(json!({HUB: hub, "nvcr.io": ngc, "quay.io": entry("x", "planted-x")}))), &[quay, "hub same", "ngc same"]);
    // `auth` alone is enough for the kubelet, and not what kubectl and regprov write.
    let bare = json!({"auth": ngc["auth"]});
    let form = "different: its entries are not in the form that kubectl and regprov write; `apply` writes them anew";
    check(Some(&with(json!({HUB: hub, "nvcr.io": bare}))), &[form, "hub same", "ngc same"]);
    let mut mail = ngc.clone();
    mail["email"] = json!("a@b");
    check(Some(&with(json!({HUB: hub, "nvcr.io": mail}))), &[form, "hub same", "ngc same"]);
}

#[test]
fn passwords_that_nobody_can_compare_are_the_same_account_and_ends_are_told() {
    let (logins, previous) = (logins(), Previous::default());
    let end = logins["hub"].expires.as_ref().unwrap().unix;
    let look = Look { logins: &logins, same: &|_, _| None, previous: &previous, inventory_id: None, left_over: true, now: end };
    let found = stored(|s| s["metadata"]["annotations"]["regprov/inventory"] = json!("default"));
    let status = look.secret(&namespace(), &wanted(), Some(&found));
    let told: Vec<(&str, &str, Option<&str>)> = status.logins.iter().map(|l| (l.login.as_str(), l.verdict.name(), l.expired.as_deref())).collect();
    assert_eq!((told, status.findings), (vec![("hub", "same_account", Some("2027-03-01")), ("ngc", "same_account", None)], Vec::new()));
}

#[test]
fn the_password_before_a_rotation_is_told() {
    let logins = logins();
    let previous = Previous { logins: logins.clone(), same: Box::new(|name, password| Some(name == "ngc" && password.expose() == "planted-ngc")) };
    let look = Look { logins: &logins, same: &|name, _| Some(name == "hub"), previous: &previous, inventory_id: Some("site"), left_over: true, now: 0 };
    let told: Vec<&str> = look.secret(&namespace(), &wanted(), Some(&stored(|_| {}))).logins.iter().map(|l| l.verdict.name()).collect();
    assert_eq!(told, ["same", "previous"]);
}

#[test]
fn labels_annotations_and_whose_fields_they_are() {
    beside(|s| s["metadata"]["labels"]["runai/cluster-wide"] = json!("false"), &["different: label runai/cluster-wide has another value than \"true\""]);
    beside(
        |s| drop(s["metadata"]["labels"].as_object_mut().unwrap().remove("runai/cluster-wide")),
        &["different: label runai/cluster-wide is missing, with the value \"true\""],
    );
    let label = json!({"f:metadata": {"f:labels": {"f:runai/cluster-wide": {}}}});
    beside(
        |s| {
            s["metadata"]["labels"]["runai/cluster-wide"] = json!("no");
            s["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"].as_object_mut().unwrap().remove("f:runai/cluster-wide");
            owned_by(s, "kubectl-label", label);
        },
        &["other_manager: label runai/cluster-wide has another value than \"true\", by kubectl-label; `apply` needs --force-conflicts"],
    );
    beside(
        |s| {
            s["metadata"]["labels"]["tier"] = json!("x");
            s["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"]["f:tier"] = json!({});
        },
        &["left_over: label tier: this inventory wrote it and does not want it there any more; `apply` takes it out"],
    );
    beside(
        |s| s["metadata"]["annotations"]["regprov/inventory"] = json!("b\u{1b}[2J"),
        &["other_manager: it is that of inventory b\\u{1b}[2J (annotation regprov/inventory), and not of site; name another one with `secret:`"],
    );
}

#[test]
fn who_else_manages_its_logins_is_named() {
    let data = || json!({"f:data": {"f:.dockerconfigjson": {}}});
    let not_ours = |s: &mut Value| drop(s["metadata"]["managedFields"][0]["fieldsV1"].as_object_mut().unwrap().remove("f:data"));
    beside(
        |s| {
            not_ours(s);
            owned_by(s, "kubectl-edit", data());
        },
        &["other_manager: its logins are managed by kubectl-edit; `apply` shares it with them"],
    );
    let found = stored(|s| {
        not_ours(s);
        owned_by(s, "kubectl-edit", data());
        put(s, r#"{"auths":{"nvcr.io":{"auth":"YTpi"}}}"#);
    });
    let force = "other_manager: its logins are managed by kubectl-edit; `apply` needs --force-conflicts";
    check(Some(&found), &[force, "hub missing", "ngc different: another account"]);
    // One that kubectl made: nothing of it is ours, which is told once.
    let kubectl = stored(|s| {
        s["metadata"]["managedFields"] = json!([]);
        owned_by(s, "kubectl-create", json!({"f:data": {".": {}, "f:.dockerconfigjson": {}}, "f:type": {}}));
        s["metadata"]["labels"] = json!({});
        s["metadata"]["annotations"] = json!({});
    });
    let want = ["other_manager: its logins are managed by kubectl-create; `apply` shares it with them", "different: label runai/cluster-wide is missing..."];
    check(Some(&kubectl), &[&want[..], &["hub same", "ngc same"]].concat());
    // A manager's name is whatever somebody said it is.
    beside(
        |s| {
            not_ours(s);
            owned_by(s, "a\u{1b}]0;x\u{7}::error::", data());
        },
        &["other_manager: its logins are managed by a\\u{1b}]0;x\\u{7}::error::; `apply` shares it with them"],
    );
}

#[test]
fn a_copy_in_an_annotation_is_told() {
    const KEY: &str = "kubectl.kubernetes.io/last-applied-configuration";
    beside(
        |s| s["metadata"]["annotations"][KEY] = json!(r#"{"data":{".dockerconfigjson":"cGxhbnRlZA=="}}"#),
        &["copy_in_annotation: its annotation kubectl..."],
    );
    beside(|s| s["metadata"]["annotations"][KEY] = json!(r#"{"metadata":{}}"#), &[]);
}

#[test]
fn what_cannot_be_asked_is_unreachable() {
    let outcome = |trouble: Trouble| unseen(trouble).outcome();
    assert_eq!(outcome(Trouble::Unreachable(Stage::Handshake, "x".into())), "unreachable");
    assert_eq!(outcome(Trouble::Unreachable(Stage::Observe, "x".into())), "unreachable");
    assert_eq!(outcome(Trouble::Failed(Stage::Rights, "x".into())), "failed");
    assert_eq!(outcome(Trouble::Failed(Stage::Connect, "x".into())), "failed");
}
