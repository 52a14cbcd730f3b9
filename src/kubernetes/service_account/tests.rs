use super::*;

#[track_caller]
fn check(account: &str, names: &[&str], want: Result<Option<&str>, &str>) {
    let account = Account::parse(account.as_bytes()).unwrap();
    let got = account.with(names).map(|with| with.map(|with| String::from_utf8(with.body()).unwrap()));
    assert_eq!(got.as_ref().map(Option::as_deref).map_err(String::as_str), want);
}

#[test]
fn names_are_appended_once_and_nothing_else_changes() {
    // Fields that no version of Kubernetes has, in an order that is not that of the alphabet, with numbers and escapes.
    let before = r#"{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"default","resourceVersion":"7","z":{"b":1.5,"a":[null,true]}},"secrets":[{"name":"t"}]"#;
    let none = format!("{before}}}");
    check(&none, &["regcred"], Ok(Some(&format!(r#"{before},"imagePullSecrets":[{{"name":"regcred"}}]}}"#))));
    check(&none, &["b", "a", "b"], Ok(Some(&format!(r#"{before},"imagePullSecrets":[{{"name":"b"}},{{"name":"a"}}]}}"#))));
    check(&none, &[], Ok(None));
    for empty in ["null", "[]"] {
        check(
            &format!(r#"{before},"imagePullSecrets":{empty},"y":1}}"#),
            &["a"],
            Ok(Some(&format!(r#"{before},"imagePullSecrets":[{{"name":"a"}}],"y":1}}"#))),
        );
    }
    // Others keep their order, what else they say, and even their mistakes.
    let others = r#"{"name":"z"},{"name":"a","mode":"x"},{},{"name":"z"}"#;
    check(
        &format!(r#"{before},"imagePullSecrets":[{others}],"automount":false}}"#),
        &["a", "regcred"],
        Ok(Some(&format!(r#"{before},"imagePullSecrets":[{others},{{"name":"regcred"}}],"automount":false}}"#))),
    );
    check(&format!(r#"{before},"imagePullSecrets":[{others}]}}"#), &["z", "a"], Ok(None));
    check(&format!(r#"{before},"imagePullSecrets":{{"name":"a"}}}}"#), &["a"], Err("has `imagePullSecrets` that are no list"));
}

#[test]
fn what_is_no_service_account_is_none() {
    for body in ["", "[]", "{}", "null", r#"{"kind":"Secret"}"#, r#"{"kind":"Status"}"#, r#"{"kind":"ServiceAccount""#] {
        assert_eq!(Account::parse(body.as_bytes()), None, "{body}");
    }
    let going = Account::parse(br#"{"kind":"ServiceAccount","metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}"#).unwrap();
    assert!(going.is_going() && !Account::parse(br#"{"kind":"ServiceAccount","metadata":{}}"#).unwrap().is_going());
}
