//! Secrets as kubectl prints them, and as people write them.

use base64::Engine as _;

use super::super::testing;
use super::*;

#[track_caller]
fn check(text: &str, want: &[&str]) {
    let mut found = read(text).unwrap();
    found.settle();
    testing::check(&found, want);
}

#[track_caller]
fn refused(text: &str, want: &str) {
    let why = read(text).err().expect("refused");
    assert!(why.contains(want) && !why.contains("hunter2"), "{why}");
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A pull Secret with this under `.dockerconfigjson:`.
fn secret(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: regcred\n  namespace: runai\ntype: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: {value}\n"
    )
}

const CONFIG: &str = r#"{"auths":{"https://index.docker.io/v1/":{"username":"u","password":"p","auth":"dTpw"}}}"#;
const HUB: &str = "docker.io u p Secret runai/regcred \"https://index.docker.io/v1/\"";

#[test]
fn secrets_of_all_forms_are_read() {
    check(&secret(&base64(CONFIG)), &[HUB]);
    // Wrapped at 76 columns, as base64 prints it; with the line feed that `echo` adds.
    let wrapped: Vec<String> =
        base64(&format!("{CONFIG}\n")).as_bytes().chunks(76).map(|c| format!("\n    {}", String::from_utf8(c.to_vec()).unwrap())).collect();
    check(&secret(&format!("|{}", wrapped.concat())), &[HUB]);
    let folded = "note Secret runai/regcred: it has base64 with spaces in it, as folded lines (`>-`) make them: Kubernetes refuses that...";
    check(&secret(&format!(">-{}", wrapped.concat())), &[HUB, folded]);
    let json = format!(
        r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"regcred","namespace":"runai"}},"type":"kubernetes.io/dockerconfigjson","data":{{".dockerconfigjson":"{}"}}}}"#,
        base64(CONFIG)
    );
    check(&json, &[HUB]);
    check(&format!(r#"{{"apiVersion":"v1","kind":"List","items":[{json}]}}"#), &[HUB]);
    check(
        &format!("# a comment\n---\n{}---\nkind: ConfigMap\ndata:\n  x: y\n", secret(&base64(CONFIG))),
        &[HUB, "note 1 other object holds no registry login..."],
    );
    check(&format!("kind: SecretList\nitems:\n- {}", secret(&base64(CONFIG)).trim_end().replace('\n', "\n  ")), &[HUB]);
    let plain = secret("x")
        .replace("data:\n  .dockerconfigjson: x", &format!("stringData:\n  .dockerconfigjson: '{CONFIG}'\ndata:\n  .dockerconfigjson: {}", base64("{}")));
    check(&plain, &[HUB]);
}

#[test]
fn the_older_type_has_its_entries_at_the_top() {
    let cfg = |json: &str| secret(&base64(json)).replace("dockerconfigjson", "dockercfg");
    check(&cfg(r#"{"nvcr.io":{"auth":"dTpw","email":"x@example.org"}}"#), &["nvcr.io u p Secret runai/regcred \"nvcr.io\""]);
    check(&cfg(CONFIG), &[HUB, "note Secret runai/regcred: it has `auths` in a `.dockercfg`..."]);
}

#[test]
fn mistakes_of_manuals_are_told_and_the_login_is_taken() {
    // The JSON below the registry alone, copied out of config.json.
    check(
        &secret(&base64(r#"{"https://eu.gcr.io": { "auth": "dTpw"}}"#)),
        &[
            "eu.gcr.io u p Secret runai/regcred \"https://eu.gcr.io\"",
            "note Secret runai/regcred: it has no `auths`: its entries stand at the top, where the kubelet finds none of them...",
        ],
    );
    // A label at the indentation of `labels:`.
    check(
        &secret(&base64(CONFIG)).replace("  namespace: runai\n", "  namespace: runai\n  labels:\n  runai/cluster-wide: \"true\"\n"),
        &[HUB, "note Secret runai/regcred: `runai/cluster-wide` stands beside `labels:`..."],
    );
    // Without `auth`, as by hand.
    check(
        &secret(&base64(r#"{"auths":{"https://registry.example.org":{"username":"robot$x","password":"p"}}}"#)),
        &["registry.example.org robot$x p Secret runai/regcred \"https://registry.example.org\""],
    );
    check(
        &secret(&base64(CONFIG)).replace("type: kubernetes.io/dockerconfigjson\n", ""),
        &[HUB, "note Secret runai/regcred: it is of type Opaque: the kubelet takes `.dockerconfigjson` only from one of type kubernetes.io/dockerconfigjson"],
    );
    check(&secret(&format!("'{CONFIG}'")), &[HUB, "note Secret runai/regcred: it has its JSON under `data` as it stands, where Kubernetes wants base64..."]);
    check(&secret(&base64(&base64(CONFIG))), &[HUB, "note Secret runai/regcred: it has base64 of base64..."]);
    let unpadded = base64(&format!("{CONFIG} "));
    assert!(unpadded.ends_with('='));
    check(&secret(unpadded.trim_end_matches('=')), &[HUB, "note Secret runai/regcred: it has base64 without its padding..."]);
}

#[test]
fn secrets_without_a_login_say_why() {
    for (value, want) in [
        ("<< PASTE_HERE_THE_LONG_BASE64_ENCODED_STRING >>", "left Secret runai/regcred: its `.dockerconfigjson` is still the `<...>` of an example"),
        ("hunter2!", "left Secret runai/regcred: its `.dockerconfigjson` is no base64"),
        ("[a]", "left Secret runai/regcred: its `.dockerconfigjson` is no text"),
        ("aHVudGVyMg==", "left Secret runai/regcred: its `.dockerconfigjson` is not a JSON object"),
        ("", "left Secret runai/regcred: it is of type kubernetes.io/dockerconfigjson and has no `.dockerconfigjson`: the API server refuses it"),
    ] {
        check(&secret(value), &[want]);
    }
    for (json, want) in [
        ("{}", "its `.dockerconfigjson` has no `auths`, in which the kubelet looks for logins"),
        (r#"{"auths":{}}"#, "its `.dockerconfigjson` has no entry"),
        (
            r#"{"auths":{},"credsStore":"desktop"}"#,
            "its `.dockerconfigjson` has no entry: it was made from a config.json whose passwords are elsewhere (`credsStore`)",
        ),
        (r#"{"credHelpers":{"gcr.io":"gcloud"}}"#, "its `.dockerconfigjson` has no `auths`; it was made from a config.json whose passwords are elsewhere..."),
        (r#"{"auths":{"a":{},"a":{}}}"#, "its `.dockerconfigjson` has an `auths` that has a key that stands twice in one object"),
        (r#"{"auths":{"a":"hunter2"}}"#, "its `.dockerconfigjson` has an entry `a` that is not a JSON object"),
        (r#"{"auths":"#, "its `.dockerconfigjson` is no valid JSON: it ends too early"),
    ] {
        check(&secret(&base64(json)), &[&format!("left Secret runai/regcred: {want}")]);
    }
    for (entry, want) in [
        (r#""a":{}},"credsStore":"desktop""#, "\"a\": it is empty: the Secret was made from a config.json whose passwords are elsewhere (`credsStore`)..."),
        (r#""a":{}}"#, "\"a\": it is empty: the Secret was made..."),
        (r#""a":{"identitytoken":"hunter2"}}"#, "\"a\": it is a token (`identitytoken`)..."),
        (r#""a":{"auth":"aHVudGVyMg=="}}"#, "\"a\": the kubelet cannot read it, nor any other entry of this Secret: its auth has no colon"),
        (r#""*.example.org":{"auth":"dTpw"}}"#, "\"*.example.org\": `*.example.org` is a pattern..."),
    ] {
        check(&secret(&base64(&format!("{{\"auths\":{{{entry}}}"))), &[&format!("left Secret runai/regcred {want}")]);
    }
}

#[test]
fn secrets_of_other_types_are_passed_over() {
    let tls = "kind: Secret\nmetadata: {name: tls}\ntype: kubernetes.io/tls\ndata: {tls.key: aHVudGVyMg==}\n";
    check(&format!("{tls}---\n{}", secret(&base64(CONFIG))), &[HUB, "note 1 other object holds no registry login and was passed over"]);
    refused(tls, "holds no pull Secret; what is there: Secret tls");
    refused("kind: Pod\n", "holds no pull Secret; what is there: Pod");
    refused("", "holds no pull Secret; what is there: nothing");
    refused(CONFIG, "is a config.json and no Secret; read it with `regprov import docker-config`");
}

#[test]
fn files_that_cannot_be_read_say_why_and_quote_nothing() {
    refused("kind: Secret\n\thunter2: x\n", "a tab where YAML wants spaces");
    refused("kind: Secret\nkind: hunter2\n", "line 2: a key stands twice");
    refused(r#"{"kind":"Secret","kind":"hunter2"}"#, "a key that stands twice");
    refused("hunter2: [\n", "cannot be read: line");
    refused(&format!("x: {}{}\n", "[".repeat(100), "]".repeat(100)), "cannot be read");
    let alias = "type: kubernetes.io/dockerconfigjson\nkind: Secret\ndata: {.dockerconfigjson: *hunter2}\n";
    check(alias, &["left Secret without a name: its `.dockerconfigjson` is no text"]);
}

#[test]
fn what_is_nested_without_end_is_refused() {
    for n in [100, 100_000] {
        refused(&format!("{{\"kind\":\"Secret\",\"x\":{}1{}}}", "{\"a\":".repeat(n), "}".repeat(n)), "");
        refused(&format!("{{\"kind\":\"Secret\",\"x\":{}1{}}}", "[".repeat(n), "]".repeat(n)), "");
    }
}
