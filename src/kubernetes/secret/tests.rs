use serde_json::{Value, json};

use super::*;
use crate::model::kubernetes::Which;

fn login(username: &str, password: &str) -> Value {
    json!({"username": username, "password": password, "auth": STANDARD.encode(format!("{username}:{password}"))})
}

fn document(auths: Value) -> Vec<u8> {
    json!({ "auths": auths }).to_string().into_bytes()
}

fn wanted() -> Vec<u8> {
    document(json!({"nvcr.io": login("$oauthtoken", "planted-one")}))
}

fn pull_secret() -> PullSecret {
    PullSecret {
        name: "regcred".into(),
        block: "team".into(),
        logins: vec!["ngc".into()],
        labels: BTreeMap::from([("team".into(), "ml".into())]),
        annotations: BTreeMap::new(),
        service_accounts: vec!["default".into()],
    }
}

/// What an API server has after we have applied `document`, with changes.
fn stored(document: &[u8], change: impl FnOnce(&mut Value)) -> Found {
    let mut found = json!({
        "kind": "Secret", "apiVersion": "v1", "type": SECRET_TYPE, "data": {".dockerconfigjson": STANDARD.encode(document)},
        "metadata": {
            "name": "regcred", "uid": "u", "resourceVersion": "7",
            "labels": {"app.kubernetes.io/managed-by": "regprov", "team": "ml"},
            "annotations": {"regprov/inventory": "site", "regprov/appended-to": "default"},
            "managedFields": [
                {"manager": "regprov", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:data": {"f:.dockerconfigjson": {}}, "f:type": {},
                    "f:metadata": {
                        "f:labels": {"f:app.kubernetes.io/managed-by": {}, "f:team": {}},
                        "f:annotations": {".": {}, "f:regprov/inventory": {}, "f:regprov/appended-to": {}},
                    },
                }},
                {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:other": {}}}},
            ],
        },
    });
    change(&mut found);
    Found::parse(found.to_string().as_bytes()).unwrap()
}

fn planned(found: Option<&Found>, document: &[u8], options: Options) -> Result<Plan, String> {
    let secret = pull_secret();
    let desired = Desired::new(&secret, document, "site", &BTreeSet::from(["default".to_string()]), found);
    plan(&desired, found, options)
}

#[track_caller]
fn check(change: impl FnOnce(&mut Value), step: Step, diff: &[&str]) {
    let found = stored(&wanted(), change);
    let plan = planned(Some(&found), &wanted(), Options::default()).unwrap();
    assert_eq!((plan.step, plan.diff.iter().map(String::as_str).collect::<Vec<_>>()), (step, diff.to_vec()));
    assert_eq!(plan.change == Change::Unchanged, step == Step::Keep);
    assert_eq!(plan.change == Change::Metadata, step == Step::Apply && !diff.iter().any(|line| line.contains("auths") || line.contains("type")));
}

#[test]
fn what_is_as_it_shall_be_is_kept() {
    check(|_| {}, Step::Keep, &[]);
    check(|s| s["metadata"]["labels"]["other"] = json!("x"), Step::Keep, &[]);
    check(|s| s["data"]["other"] = json!("eA=="), Step::Keep, &[]);
    check(|s| s["immutable"] = json!(true), Step::Keep, &[]);
    let form = br#"{ "auths" : {"nvcr.io":{"auth":"JG9hdXRodG9rZW46cGxhbnRlZC1vbmU=","password":"planted\u002done","username":"$oauthtoken"}}}"#;
    check(|s| s["data"][".dockerconfigjson"] = json!(STANDARD.encode(form)), Step::Keep, &[]);
    // A container that is owned as such is nothing of its own.
    check(|s| s["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:x"] = json!({}), Step::Apply, &["- field metadata.x"]);
    check(|s| s["metadata"]["managedFields"][1]["fieldsV1"]["f:metadata"]["f:labels"] = json!({}), Step::Keep, &[]);
}

#[test]
fn what_differs_is_told_without_values() {
    check(|s| s["metadata"]["labels"]["team"] = json!("dl"), Step::Apply, &["~ label team=ml"]);
    check(|s| drop(s["metadata"]["labels"].as_object_mut().unwrap().remove("team")), Step::Apply, &["+ label team=ml"]);
    check(|s| s["metadata"]["annotations"]["regprov/appended-to"] = json!(""), Step::Apply, &["~ annotation regprov/appended-to=default"]);
    check(
        |s| s["metadata"] = json!({"name": "regcred"}),
        Step::Apply,
        &["+ label app.kubernetes.io/managed-by=regprov", "+ label team=ml", "+ annotation regprov/appended-to=default", "+ annotation regprov/inventory=site"],
    );
    check(|s| s["metadata"]["managedFields"] = Value::Null, Step::Apply, &["+ field manager regprov"]);
    check(|s| s["metadata"]["managedFields"][0]["operation"] = json!("Update"), Step::Apply, &["+ field manager regprov"]);
    check(|s| s["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"]["f:old"] = json!({}), Step::Apply, &["- label old"]);
    for (auths, diff) in [
        (json!({"nvcr.io": login("$oauthtoken", "planted-two")}), &["~ auths \"nvcr.io\" auth", "~ auths \"nvcr.io\" password"][..]),
        (json!({"nvcr.io": login("alice", "planted-one")}), &["~ auths \"nvcr.io\" auth", "~ auths \"nvcr.io\" username"]),
        (json!({"a.example": login("alice", "planted-one")}), &["+ auths \"nvcr.io\"", "- auths \"a.example\""]),
        (
            json!({"nvcr.io": {"auth": login("$oauthtoken", "planted-one")["auth"], "email": "a@b"}}),
            &["+ auths \"nvcr.io\" password", "+ auths \"nvcr.io\" username", "- auths \"nvcr.io\" email"],
        ),
    ] {
        check(|s| s["data"][".dockerconfigjson"] = json!(STANDARD.encode(document(auths))), Step::Apply, diff);
    }
    let diff = planned(None, &wanted(), Options::default()).unwrap().diff;
    let all = ["+ auths \"nvcr.io\"", "+ label app.kubernetes.io/managed-by=regprov", "+ label team=ml", "+ annotation regprov/appended-to=default"];
    assert_eq!(diff[..4], all);
    assert!(!diff.join("\n").contains("planted"));
}

/// What people put into Secrets that gave nobody a login; what else there is stands in `format::kubernetes`.
#[test]
fn a_secret_that_gave_no_login_is_told_as_such() {
    let base64 = STANDARD.encode(wanted());
    for (content, want) in [
        (&br#"{"https://eu.gcr.io":{"auth":"YTpi"}}"#[..], "it has no `auths`: its entries stand at the top"),
        (br#"{"auths":{},"credsStore":"desktop"}"#, "its `.dockerconfigjson` has no entry: it was made from a config.json"),
        (br#"{"auths":{"oci://https://h.example":{"auth":"YTpi"}}}"#, "its entry `oci://https://h.example`: the kubelet finds no image under this key"),
        (base64.as_bytes(), "its `.dockerconfigjson` is base64 of base64"),
    ] {
        let found = stored(content, |_| {});
        let plan = planned(Some(&found), &wanted(), Options::default()).unwrap();
        assert_eq!((plan.step, plan.change, plan.notes.len()), (Step::Apply, Change::Updated, 1), "{:?}", plan.notes);
        assert!(plan.notes[0].starts_with(&format!("what stood there was wrong: {want}")), "{:?}", plan.notes);
    }
    // The control: another password is no mistake.
    let found = stored(&document(json!({"nvcr.io": login("$oauthtoken", "planted-two")})), |_| {});
    assert!(planned(Some(&found), &wanted(), Options::default()).unwrap().notes.is_empty());
}

#[test]
fn what_is_in_the_way_is_told_with_its_flag() {
    #[track_caller]
    fn refused(change: impl FnOnce(&mut Value), document: &[u8], why: &str, flag: Options, step: Step) {
        let found = stored(&wanted(), change);
        let told = planned(Some(&found), document, Options::default()).unwrap_err();
        assert!(told.starts_with(why), "{told}");
        assert_eq!(planned(Some(&found), document, flag).map(|plan| plan.step), if flag == Options::default() { Err(told) } else { Ok(step) });
    }
    let (force, replace) = (Options { force_conflicts: true, ..Options::default() }, Options { replace: true, ..Options::default() });
    let other = document(json!({"nvcr.io": login("$oauthtoken", "planted-two")}));
    refused(|s| s["type"] = json!("Opaque"), &wanted(), "is of type Opaque, and the type of a Secret cannot be changed; --replace", replace, Step::Anew);
    refused(|s| s["immutable"] = json!(true), &other, "is immutable (`immutable: true`), and holds other logins; --replace", replace, Step::Anew);
    refused(|s| s["metadata"]["annotations"]["regprov/inventory"] = json!("other"), &wanted(), "is that of the inventory \"other\"", force, Step::Apply);
    let going = |s: &mut Value| {
        s["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        s["metadata"]["finalizers"] = json!(["x.example/y"]);
    };
    refused(going, &wanted(), "is being deleted, and waits for its finalizers (x.example/y)", Options::default(), Step::Keep);
    // What goes with it is named.
    let found = stored(&wanted(), |s| {
        s["type"] = json!("Opaque");
        s["metadata"]["labels"]["owner"] = json!("bob");
    });
    let notes = planned(Some(&found), &wanted(), replace).unwrap().notes.join("\n");
    assert!(notes.ends_with("these labels and annotations of others go with it: owner"), "{notes}");
}

#[test]
fn the_configuration_is_all_of_ours_and_nothing_else() {
    let secret = pull_secret();
    let (document, appended) = (wanted(), BTreeSet::from(["builder".to_string(), "default".to_string()]));
    let desired = Desired::new(&secret, &document, "site", &appended, None);
    let body = desired.configuration(Some("7"));
    assert!(body.len() <= body.capacity());
    let sent: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        sent,
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "data": {".dockerconfigjson": STANDARD.encode(&document)},
            "metadata": {
                "name": "regcred", "resourceVersion": "7", "labels": {"app.kubernetes.io/managed-by": "regprov", "team": "ml"},
                "annotations": {"regprov/inventory": "site", "regprov/appended-to": "builder,default"},
            },
        })
    );
    let without: Value = serde_json::from_slice(&desired.configuration(None)).unwrap();
    assert!(without["metadata"].get("resourceVersion").is_none());
    // Tried under a name of the server's, with all else as it is.
    let mut tried: Value = serde_json::from_slice(&desired.trial()).unwrap();
    assert_eq!(tried["metadata"]["generateName"].take(), "regcred-");
    assert_eq!((tried["data"].clone(), &tried["metadata"]["labels"]), (sent["data"].clone(), &sent["metadata"]["labels"]));
    assert!(tried["metadata"].get("name").is_none() && tried["metadata"].get("resourceVersion").is_none());
    // What says the same in another form is sent in that form, so that its owner need not be overruled.
    let form = [b" ", &document[..]].concat();
    let found = stored(&form, |_| {});
    let sent: Value = serde_json::from_slice(&Desired::new(&secret, &document, "site", &appended, Some(&found)).configuration(None)).unwrap();
    assert_eq!(sent["data"][".dockerconfigjson"], json!(STANDARD.encode(&form)));
    // No service account: no annotation.
    let sent: Value = serde_json::from_slice(&Desired::new(&secret, &document, "site", &BTreeSet::new(), None).configuration(None)).unwrap();
    assert_eq!(sent["metadata"]["annotations"], json!({"regprov/inventory": "site"}));
}

#[test]
fn what_was_stored_is_held_to_what_was_meant() {
    let secret = pull_secret();
    let document = wanted();
    let desired = Desired::new(&secret, &document, "site", &BTreeSet::from(["default".to_string()]), None);
    #[track_caller]
    fn check(desired: &Desired<'_>, change: impl FnOnce(&mut Value), want: Option<&str>) {
        let told = read_back(desired, &stored(desired.document, change)).err();
        assert_eq!(told, want.map(|what| format!("was stored with {what}: something in the cluster (an admission webhook) changes what is sent")));
    }
    let content = |document: Vec<u8>| move |s: &mut Value| s["data"][".dockerconfigjson"] = json!(STANDARD.encode(document));
    check(&desired, |_| {}, None);
    check(&desired, |s| s["metadata"]["labels"]["other"] = json!("x"), None);
    check(&desired, |s| s["type"] = json!("Opaque"), Some("another type"));
    check(&desired, |s| s["data"] = json!({}), Some("no `.dockerconfigjson`"));
    check(&desired, content(super::tests::document(json!({"nvcr.io": login("$oauthtoken", "planted-two")}))), Some("other logins"));
    check(&desired, content(super::tests::document(json!({}))), Some("other logins"));
    check(&desired, content(br#"{"nvcr.io":{"auth":"YTpi"}}"#.to_vec()), Some("other logins"));
    let two = json!({"nvcr.io": login("$oauthtoken", "planted-one"), "mirror.example": login("a", "b")});
    check(&desired, content(super::tests::document(two)), Some("other logins"));
    check(&desired, |s| s["metadata"]["labels"]["team"] = json!("dl"), Some("other labels or annotations"));
    check(&desired, |s| s["metadata"]["annotations"] = Value::Null, Some("other labels or annotations"));
}

#[test]
fn a_copy_that_kubectl_apply_made_is_told_with_the_command_against_it() {
    let namespace =
        Namespace { context: Some("pr od".into()), which: Which::Named("team-a".into()), secrets: Vec::new(), place: String::new(), selected: None };
    let kept = json!({"data": {".dockerconfigjson": "eyJ4Ijp7fX0="}}).to_string();
    let found = stored(&wanted(), |s| s["metadata"]["annotations"][LAST_APPLIED] = json!(kept));
    let told = found.copy_in_annotation(&namespace, "regcred").unwrap();
    let command = "kubectl --context 'pr od' -n team-a annotate secret regcred kubectl.kubernetes.io/last-applied-configuration-";
    assert!(told.ends_with(command) && !told.contains("eyJ"), "{told}");
    let found = stored(&wanted(), |s| s["metadata"]["annotations"][LAST_APPLIED] = json!("{\"metadata\":{}}"));
    assert_eq!(found.copy_in_annotation(&namespace, "regcred"), None);
}

/// Whoever may write a Secret of a namespace may write this.
#[test]
fn a_record_names_service_accounts_and_nothing_else() {
    let many = (0..300).map(|i| format!("a{i}")).collect::<Vec<_>>().join(",");
    for (record, want) in [
        ("default, builder", &["builder", "default"][..]),
        ("a.b-c,9", &["9", "a.b-c"]),
        ("default#,default?dryRun=All&x=,../../team-a/serviceaccounts/default,x", &["x"]),
        ("..,.,a..b,-a,a-,A,a_b,%2e,a b,a\u{200b},,\u{fc}", &[]),
        (&"a".repeat(254), &[]),
    ] {
        let found = stored(&wanted(), |s| s["metadata"]["annotations"]["regprov/appended-to"] = json!(record));
        assert_eq!(found.appended_to().iter().map(String::as_str).collect::<Vec<_>>(), want, "{record}");
    }
    let found = stored(&wanted(), |s| s["metadata"]["annotations"]["regprov/appended-to"] = json!(many));
    assert_eq!(found.appended_to().len(), ACCOUNTS_MAX);
}

#[test]
fn what_is_no_secret_is_none() {
    for body in ["", "null", "[]", "{}", r#"{"kind":"Status","metadata":{}}"#, r#"{"kind":"Secret"}"#, r#"{"kind":"Secret","metadata":{"labels":[]}}"#] {
        assert!(Found::parse(body.as_bytes()).is_none(), "{body}");
    }
    let found = Found::parse(br#"{"kind":"Secret","metadata":{"name":"x","managedFields":null,"labels":null},"data":null}"#).unwrap();
    assert!(found.document().is_none() && found.owned().is_empty() && found.appended_to().is_empty() && found.inventory().is_none());
}
