use serde_json::{Value, json};

use super::super::status::tests::{logins, owned_by, stored};
use super::*;
use crate::model::Secret;

/// What becomes of a Secret with the logins hub and ngc: `go`, `stay`, `give up`, or the keys that are left; then what is told.
#[track_caller]
fn check(change: impl FnOnce(&mut Value), names: &[&str], same: Option<&SamePassword>, want: (&str, &[&str])) {
    let (known, names) = (logins(), names.iter().map(ToString::to_string).collect::<Vec<_>>());
    let found = stored(change);
    let (fate, told) = match decide(&found, "site", Selection { logins: &names, known: &known, same }) {
        Err(why) => ("failed".to_string(), vec![why]),
        Ok(Decision { fate, reasons, diff }) => {
            let fate = match fate {
                Fate::Stay => "stay".to_string(),
                Fate::Go => "go".to_string(),
                Fate::GiveUp { emptied } => if emptied { "empty" } else { "give up" }.to_string(),
                Fate::Less(document) => entries(&document).unwrap().iter().map(|e| e.key.clone()).collect::<Vec<_>>().join(" "),
            };
            (fate, reasons.into_iter().chain(diff).collect())
        }
    };
    let fits = |(got, want): (&String, &&str)| want.strip_suffix("...").map_or(got == want, |start| got.starts_with(start));
    assert!(fate == want.0 && told.len() == want.1.len() && told.iter().zip(want.1).all(fits), "{fate} {told:#?}\ninstead of\n{want:#?}");
    assert!(!told.concat().contains("planted"));
}

const HUB: &str = "- auths \"https://index.docker.io/v1/\"";
const NGC: &str = "- auths \"nvcr.io\"";

#[test]
fn what_says_that_it_is_ours_goes_and_nothing_else() {
    check(|_| {}, &[], None, ("go", &[HUB, NGC]));
    check(|s| s["metadata"]["labels"]["team"] = json!("ml"), &[], None, ("go", &[HUB, NGC]));
    check(|s| s["metadata"]["annotations"]["regprov/inventory"] = json!("other"), &[], None, ("stay", &["left alone: it is that of inventory other"]));
    check(|s| s["metadata"]["annotations"] = json!({}), &[], None, ("stay", &["left alone: regprov did not write it"]));
    check(|s| s["metadata"]["labels"] = json!({}), &[], None, ("stay", &["left alone: regprov did not write it"]));
    check(|s| s["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("helm"), &[], None, ("stay", &["left alone: regprov did not write it"]));
    // Anybody may write the label and the annotation.
    let forged = &["left alone: by its label and annotation it is regprov's, but..."];
    for managed in
        [json!([{}]), json!([]), Value::Null, json!([{"manager": "regprov", "operation": "Update", "fieldsV1": {"f:data": {"f:.dockerconfigjson": {}}}}])]
    {
        check(|s| s["metadata"]["managedFields"] = managed.clone(), &[], None, ("stay", forged));
        check(|s| s["metadata"]["managedFields"] = managed.clone(), &["ngc"], None, ("stay", forged));
    }
    let going = |s: &mut Value| {
        s["metadata"]["managedFields"] = json!([{}]);
        s["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    };
    check(going, &[], None, ("stay", forged));
    check(|s| s["type"] = json!("Opaque"), &[], None, ("stay", &["left alone: it is of type Opaque, which regprov does not write"]));
    let beside = |s: &mut Value| drop(s["metadata"]["managedFields"][0]["fieldsV1"].as_object_mut().unwrap().remove("f:data"));
    let kept = "kept: its logins are not managed by regprov; what regprov wrote beside them goes";
    check(beside, &[], None, ("give up", &[kept, "- field manager regprov"]));
    check(beside, &["ngc"], None, ("stay", &["kept: its logins are not managed by regprov"]));
    // What nobody can read goes too, as long as it is ours.
    check(|s| s["data"] = json!({}), &[], None, ("go", &[]));
    check(|s| s["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"), &[], None, ("failed", &["is being deleted..."]));
}

#[test]
fn what_others_manage_stays() {
    let given_up = &["kept: its logins are managed by kubectl-edit too; what regprov wrote beside them goes", "- field manager regprov"];
    check(|s| owned_by(s, "kubectl-edit", json!({"f:data": {"f:.dockerconfigjson": {}}})), &[], None, ("give up", given_up));
    let other = || json!({"f:data": {"f:other": {}}});
    let emptied = "kept: other data in it is managed by kubectl-edit; its logins go, and what regprov wrote beside them";
    check(|s| owned_by(s, "kubectl-edit", other()), &[], None, ("empty", &[emptied, HUB, NGC]));
    let immutable = |s: &mut Value| {
        s["immutable"] = json!(true);
        owned_by(s, "kubectl-edit", other());
    };
    check(immutable, &[], None, ("failed", &["is immutable (`immutable: true`), and kubectl-edit manages other data in it; take it out by hand"]));
    check(|s| owned_by(s, "kubectl-edit", json!({"f:data": {"f:other": {}}})), &["ngc"], None, ("stay", &["kept: its data is managed by kubectl-edit too"]));
    // Who manages a label, or the map as such, has no login there.
    check(|s| owned_by(s, "kubectl-label", json!({"f:metadata": {"f:labels": {"f:x": {}}}})), &[], None, ("go", &[HUB, NGC]));
    check(|s| owned_by(s, "kubectl-create", json!({"f:data": {".": {}}, "f:type": {}})), &[], None, ("go", &[HUB, NGC]));
}

#[test]
fn a_login_goes_without_the_others() {
    check(|_| {}, &["ngc"], None, ("https://index.docker.io/v1/", &[NGC]));
    check(|_| {}, &["hub"], None, ("nvcr.io", &[HUB]));
    check(|_| {}, &["hub", "ngc"], None, ("go", &[HUB, NGC]));
    check(|_| {}, &["gone"], None, ("stay", &[]));
    let bob = r#"{"auths":{"nvcr.io":{"auth":"Ym9iOng="}}}"#;
    let put = |s: &mut Value, document: &str| {
        use base64::Engine as _;
        s["data"][".dockerconfigjson"] = json!(base64::engine::general_purpose::STANDARD.encode(document));
    };
    check(|s| put(s, bob), &["ngc"], None, ("stay", &["kept: nvcr.io: changed by others: another account"]));
    check(|s| put(s, "{}"), &["ngc"], None, ("failed", &["its `.dockerconfigjson` has no `auths`..."]));
    check(|s| s["immutable"] = json!(true), &["ngc"], None, ("failed", &["is immutable..."]));
    check(|s| s["immutable"] = json!(true), &["hub", "ngc"], None, ("go", &[HUB, NGC]));
}

#[test]
fn another_password_stays_when_passwords_are_compared() {
    let same = |name: &str, password: &Secret| Some(password.expose() == format!("planted-{name}"));
    let other = |name: &str, password: &Secret| Some(name == "hub" && password.expose() == "planted-hub");
    check(|_| {}, &[], Some(&same), ("go", &[HUB, NGC]));
    check(|_| {}, &[], Some(&other), ("nvcr.io", &["kept: nvcr.io: its password is not the vault's", HUB]));
    check(|_| {}, &["ngc"], Some(&other), ("stay", &["kept: nvcr.io: its password is not the vault's"]));
    let untold = &["kept: https://index.docker.io/v1/: its password could not be compared", "kept: nvcr.io: its password could not be compared"];
    check(|_| {}, &[], Some(&|_, _| None), ("stay", untold));
}

#[test]
fn what_was_stored_is_held_to_what_was_sent() {
    let accounts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
    let found = stored(|_| {});
    let less = br#"{"auths":{}}"#;
    let data = |s: &mut Value| s["data"][".dockerconfigjson"] = json!("eyJhdXRocyI6e319");
    let held = |body: Zeroizing<Vec<u8>>, change: &dyn Fn(&mut Value)| stored(change).holds(&Found::parse(&body).unwrap()).map_err(|why| why[..24].to_string());
    let all = accounts(&["builder", "default"]);
    assert_eq!(held(found.ours_with("regcred", Some(less), &all), &data), Ok(()));
    assert_eq!(held(found.ours_with("regcred", Some(less), &all), &|_| {}), Err("was stored with other log".to_string()[..24].to_string()));
    assert_eq!(held(found.ours_with("regcred", None, &all), &|_| {}), Ok(()));
    assert_eq!(
        held(found.ours_with("regcred", None, &all), &|s| s["type"] = json!("Opaque")),
        Err("was stored with another type".to_string()[..24].to_string())
    );
    // The record is not as it was sent, or is still there.
    for left in [accounts(&["default"]), accounts(&[])] {
        let told = Err("was stored with other labels".to_string()[..24].to_string());
        assert_eq!(held(found.ours_with("regcred", None, &left), &|_| {}), told);
    }
    let without = |s: &mut Value| s["metadata"]["managedFields"] = json!([]);
    assert_eq!(held(found.ours_given_up("regcred", false), &without), Ok(()));
    assert!(held(found.ours_given_up("regcred", false), &|_| {}).is_err() && held(found.ours_given_up("regcred", true), &without).is_err());
}

#[test]
fn what_is_applied_anew_is_all_of_ours_and_no_more() {
    let found = stored(|s| {
        s["metadata"]["labels"]["team"] = json!("ml");
        s["data"]["other"] = json!("eA==");
    });
    let body = |text: Zeroizing<Vec<u8>>| serde_json::from_slice::<Value>(&text).unwrap();
    let less = body(found.ours_with("regcred", Some(b"{}"), &BTreeSet::from(["default".to_string()])));
    let metadata = json!({
        "name": "regcred", "resourceVersion": "7",
        "labels": {"app.kubernetes.io/managed-by": "regprov", "runai/cluster-wide": "true"},
        "annotations": {"regprov/inventory": "site", "regprov/appended-to": "default"},
    });
    assert_eq!(
        less,
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": metadata, "data": {".dockerconfigjson": "e30="}})
    );
    let kept = body(found.ours_with("regcred", None, &BTreeSet::new()));
    assert!(kept["data"][".dockerconfigjson"].is_string() && kept["metadata"]["annotations"] == json!({"regprov/inventory": "site"}));
    let nothing =
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": {"name": "regcred", "resourceVersion": "7"}});
    assert_eq!(body(found.ours_given_up("regcred", false)), nothing);
    assert_eq!(body(found.ours_given_up("regcred", true))["data"], json!({".dockerconfigjson": "eyJhdXRocyI6e319"}));
}
