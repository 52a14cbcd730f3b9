use serde_json::{Value, json};

use super::*;

/// Long enough to be cut, with characters that every notation escapes.
const PASSWORD: &str = "Tr0ub4dor&3/<planted>\"\\ü-needle+=%";
const SHORT: &str = "s3cr!t";

fn document(password: &str) -> Vec<u8> {
    let auth = STANDARD.encode(format!("robot$x:{password}"));
    json!({"auths": {"harbor.example": {"username": "robot$x", "password": password, "auth": auth}}}).to_string().into_bytes()
}

fn redaction() -> Redaction {
    let mut redaction = Redaction::default();
    redaction.add(&document(PASSWORD));
    redaction.add(&document(SHORT));
    redaction
}

/// How servers, webhooks and proxies repeat what they were sent.
fn echoes() -> Vec<(&'static str, String)> {
    let mut echoes = Vec::new();
    for password in [PASSWORD, SHORT] {
        let document = document(password);
        let text = String::from_utf8(document.clone()).unwrap();
        let (data, auth) = (STANDARD.encode(&document), STANDARD.encode(format!("robot$x:{password}")));
        let cut = |text: &str, every: usize, between: &str| {
            text.chars().collect::<Vec<_>>().chunks(every).map(|c| c.iter().collect::<String>()).collect::<Vec<_>>().join(between)
        };
        let bytes = |radix: fn(&u8) -> String, between: &str| document.iter().map(radix).collect::<Vec<_>>().join(between);
        let percent = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let escapes = password.encode_utf16().map(|u| format!("\\u{u:04x}")).collect::<String>();
        echoes.extend([
            ("the password", password.to_string()),
            ("in capitals", password.to_uppercase()),
            ("the auth", auth.clone()),
            ("the data", data.clone()),
            ("the document", text.clone()),
            ("the document as a JSON string", json(&text)),
            ("the document as a JSON string of a JSON string", json(&json(&text))),
            ("with Go's HTML escapes", text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")),
            ("as a Go string of bytes", password.bytes().map(|b| format!("\\x{b:02x}")).collect()),
            ("as octal escapes", password.bytes().map(|b| format!("\\{b:03o}")).collect()),
            ("as \\u escapes", escapes),
            ("in percent", percent(password)),
            ("in percent, twice", percent(&percent(password))),
            ("the data in percent", percent(&data)),
            ("in HTML", password.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")),
            ("in HTML numbers", password.chars().map(|c| format!("&#{};", u32::from(c))).collect()),
            ("as Go prints bytes", format!("Data:map[.dockerconfigjson:[{}]]", bytes(|b| b.to_string(), " "))),
            ("as Go prints them with %#v", format!("[]byte{{{}}}", bytes(|b| format!("{b:#x}"), ", "))),
            ("as a dump", bytes(|b| format!("{b:02x}"), " ")),
            ("in hexadecimal", bytes(|b| format!("{b:02x}"), "")),
            ("base64 of the object", STANDARD.encode(format!("{{\"kind\":\"Secret\",\"x\":{}}}", json(password)))),
            ("base64 of base64", STANDARD.encode(&data)),
            ("base64 for URLs", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&document)),
            ("data in lines of 76", cut(&data, 76, "\n")),
            ("data in pieces of 10", cut(&data, 10, "\" \"")),
            ("cut into pieces of 3", cut(password, 3, "\n")),
            ("cut into characters", cut(password, 1, " ")),
            ("from its end", password.chars().rev().collect()),
            ("the auth from its end", auth.chars().rev().collect()),
            ("with zero-width spaces", cut(password, 2, "\u{200b}")),
            ("the data with zero-width spaces", cut(&data, 5, "\u{200d}")),
            ("with escapes of zero-width spaces", cut(password, 2, "\\u200b")),
            ("the document in base32", base32(&document)),
            ("in base32 in small letters, cut", cut(&base32(&document).to_lowercase(), 20, "\n")),
            ("cut by spaces and commas", cut(&auth, 4, "', '")),
        ]);
    }
    echoes.push(("its beginning", PASSWORD[..10].to_string()));
    echoes.push(("its end", PASSWORD[PASSWORD.len() - 10..].to_string()));
    let data = STANDARD.encode(document(PASSWORD));
    echoes.push(("a piece of the data", data[data.len() / 2..data.len() / 2 + 14].to_string()));
    echoes
}

#[test]
fn nothing_of_a_secret_gets_through_in_any_form() {
    let redaction = redaction();
    for (what, echo) in echoes() {
        for message in [echo.clone(), format!("admission webhook \"policy.example\" denied the request: value {echo:?} is weak"), format!("x{echo}x")] {
            assert_eq!(redaction.told(&message), None, "{what}: {message}");
        }
    }
}

/// RFC 4648, without padding.
fn base32(text: &[u8]) -> String {
    let bits: Vec<u8> = text.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect();
    let letter = |five: &[u8]| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(0..5).fold(0, |n, i| n << 1 | usize::from(*five.get(i).unwrap_or(&0)))]);
    bits.chunks(5).map(letter).collect()
}

/// Whoever writes a letter into a Secret of theirs silences nothing.
#[test]
fn what_is_too_short_to_be_a_secret_hides_no_message() {
    let message = "exceeded quota: objects, requested: secrets=1";
    for (document, want) in [(&b""[..], true), (b"e", true), (b"ed", true), (b"quo", true), (b"quot", false), (br#"{"auths":{"h":{"password":"e"}}}"#, false)] {
        let mut redaction = Redaction::default();
        redaction.add(document);
        assert_eq!(redaction.told(message).is_some(), want, "{document:?}");
    }
}

#[test]
fn only_a_status_that_says_so_is_a_success() {
    for (body, want) in [
        (r#"{"kind":"Status","status":"Success","details":{"name":"x","kind":"secrets","uid":"u"}}"#, true),
        (r#"{"kind":"Status","status":"Failure"}"#, false),
        (r#"{"kind":"Status"}"#, false),
        (r#"{"kind":"Secret","status":"Success"}"#, false),
        ("<html>Success</html>", false),
        ("", false),
    ] {
        assert_eq!(is_success(body.as_bytes()), want, "{body}");
    }
}

#[test]
fn a_message_that_holds_none_gets_through() {
    let redaction = redaction();
    for (message, want) in [
        ("exceeded quota: objects, requested: secrets=1, used: secrets=10, limited: secrets=10", None),
        (
            "admission webhook \"policy.example\" denied the request: registry harbor.example of robot$x is not allowed, see https://policy.example/rules/17",
            None,
        ),
        (
            "secrets \"regcred\" is forbidden: User \"system:serviceaccount:ci:deployer\" cannot patch resource \"secrets\" in API group \"\" in the namespace \"team-a\"",
            None,
        ),
        ("Operation cannot be fulfilled on secrets \"fresh\": the UID in the precondition (b0bbd900-91d7-4908-b8b7-8a065ad07b5f) does not match", None),
        ("a\u{1b}[31mred\u{202e}\nnext ##[error] x", Some("a\\u{1b}[31mred\\u{202e} next # #[error] x")),
        ("", None),
    ] {
        assert_eq!(redaction.told(message).as_deref(), Some(want.unwrap_or(message)));
    }
    let long = "quota ".repeat(200);
    assert!(redaction.told(&long).is_some_and(|told| told.chars().count() <= 300 && told.ends_with("...")));
    assert_eq!(redaction.told(&"quota ".repeat(5000)), None, "too long to be searched");
    assert_eq!(Redaction::default().told(&STANDARD.encode(document(PASSWORD))), None, "what looks encoded is never shown");
}

#[test]
fn what_was_found_is_secret_too() {
    let mut redaction = Redaction::default();
    let held = STANDARD.encode(document(PASSWORD));
    let kept = json!({"data": {".dockerconfigjson": STANDARD.encode(document("older-planted-one"))}}).to_string();
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": kept});
    let found = json!({"kind": "Secret", "metadata": {"annotations": annotations}, "type": "Opaque", "data": {"a": held, "b": STANDARD.encode("plain words")}});
    redaction.of_found(&super::super::secret::Found::parse(found.to_string().as_bytes()).unwrap());
    for echo in [PASSWORD, "older-planted-one", "plain words"] {
        assert_eq!(redaction.told(&format!("field is immutable: {echo}")), None, "{echo}");
    }
    assert!(redaction.told("field is immutable").is_some());
}

fn asked(verb: &'static str) -> Asked<'static> {
    Asked { verb, resource: "secrets", namespace: "team-a", name: "regcred", writes: verb != "get" }
}

/// What the answer means, in short.
fn meaning(code: u16, body: &[u8], verb: &'static str) -> String {
    match refusal(code, body, asked(verb), &redaction()) {
        Refusal::NotFound => "not found".to_string(),
        Refusal::Stale => "stale".to_string(),
        Refusal::Conflict(owners) => format!("conflict {owners:?}"),
        Refusal::Immutable(field) => format!("immutable {field}"),
        Refusal::Namespace(Trouble::Failed(stage, why)) => format!("namespace failed {stage}: {why}"),
        Refusal::Namespace(Trouble::Unreachable(stage, why)) => format!("namespace unreachable {stage}: {why}"),
        Refusal::Namespace(Trouble::Unknown(stage, why)) => format!("namespace unknown {stage}: {why}"),
        Refusal::Failed(stage, why) => format!("failed {stage}: {why}"),
    }
}

fn status(reason: &str, message: &str, details: Value) -> Vec<u8> {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "details": details}).to_string().into_bytes()
}

#[track_caller]
fn check(code: u16, body: &[u8], verb: &'static str, want: &str) {
    assert_eq!(meaning(code, body, verb), want);
}

/// The answers are those of kube-apiserver 1.20.2, but where a program is named.
#[test]
fn each_answer_has_its_meaning() {
    let owner = |message: &str, field: &str| json!({"causes": [{"reason": "FieldManagerConflict", "message": message, "field": field}]});
    let forbidden = "secrets \"regcred\" is forbidden: User \"limited\" cannot patch resource \"secrets\" in API group \"\" in the namespace \"team-a\"";
    check(404, &status("NotFound", "secrets \"regcred\" not found", json!({"name": "regcred", "kind": "secrets"})), "get", "not found");
    check(
        404,
        &status("NotFound", "namespaces \"team-a\" not found", json!({"name": "team-a", "kind": "namespaces"})),
        "patch",
        "namespace failed observe: there is no namespace team-a, and regprov makes none: `kubectl create namespace team-a`",
    );
    check(
        403,
        &status("Forbidden", "x", json!({"causes": [{"reason": "NamespaceTerminating", "message": "x", "field": "metadata.namespace"}]})),
        "patch",
        "namespace failed observe: namespace team-a is being deleted; wait until it is gone, and make it again with `kubectl create namespace team-a`",
    );
    check(
        403,
        &status("Forbidden", forbidden, json!({"name": "regcred", "kind": "secrets"})),
        "patch",
        "namespace failed rights: user \"limited\" may not patch secrets in namespace team-a; add to a role of theirs: {apiGroups: [\"\"], resources: [secrets], verbs: [patch]}",
    );
    check(
        403,
        &status("Forbidden", "secrets \"regcred\" is forbidden: exceeded quota: q", Value::Null),
        "patch",
        "failed replace: the API server refuses it (403); it says: secrets \"regcred\" is forbidden: exceeded quota: q",
    );
    check(409, &status("Conflict", "the object has been modified", json!({"name": "regcred"})), "patch", "stale");
    check(409, &status("AlreadyExists", "secrets \"regcred\" already exists", json!({"name": "regcred"})), "patch", "stale");
    check(
        409,
        &status("Conflict", "Apply failed with 1 conflict", owner("conflict with \"kubectl-create\" using v1", ".data..dockerconfigjson")),
        "patch",
        "conflict [(\"\\\"kubectl-create\\\"\", \".data..dockerconfigjson\")]",
    );
    // Kubernetes 1.22 and newer name the time, and a subresource.
    check(
        409,
        &status("Conflict", "", owner("conflict with \"helm\" with subresource \"status\" using v1 at 2026-01-02T03:04:05Z", ".type")),
        "patch",
        "conflict [(\"\\\"helm\\\"\", \".type\")]",
    );
    for hostile in ["conflict with \"a\u{1b}[2J\" using v1", "conflict with \"\" using v1", "a fight", &format!("conflict with \"{SHORT}\" using v1")] {
        check(409, &status("Conflict", "", owner(hostile, ".type")), "patch", "conflict [(\"another manager\", \".type\")]");
    }
    check(409, &status("Conflict", "", owner("x", PASSWORD)), "patch", "conflict [(\"another manager\", \"a field that is not shown\")]");
    let immutable = json!({"causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: \"x\": field is immutable", "field": "type"}]});
    check(422, &status("Invalid", "x", immutable), "patch", "immutable type");
    let immutable = json!({"causes": [{"reason": "FieldValueForbidden", "message": "Forbidden: field is immutable when `immutable` is set", "field": "data"}]});
    check(422, &status("Invalid", "x", immutable), "patch", "immutable data");
    let label = json!({"causes": [{"field": "metadata.labels", "message": "x"}, {"field": "metadata.labels", "message": "x"}]});
    let said = "failed replace: the API server takes regcred for invalid (422): metadata.labels; it says: Invalid value: \"b c\"";
    check(422, &status("Invalid", "Invalid value: \"b c\"", label), "patch", said);
    check(
        413,
        b"<html>",
        "patch",
        "failed replace: the API server takes no object of this size (413); the answer is none of an API server: something stands before it",
    );
    check(
        415,
        &status("UnsupportedMediaType", "", Value::Null),
        "patch",
        "failed replace: the API server knows no server-side apply (415); regprov needs Kubernetes 1.18 or newer",
    );
    check(429, &status("TooManyRequests", "", Value::Null), "patch", "failed replace: the API server has too much to do (429); run again later");
    check(
        500,
        &status("InternalError", "Internal error occurred: failed calling webhook \"v.example\": Post x", Value::Null),
        "patch",
        "failed replace: the API server could not ask an admission webhook (500); it says: Internal error occurred: failed calling webhook \"v.example\": Post x",
    );
    let unknown = "namespace unknown replace: the API server failed (500) after it was sent regcred; whether it wrote that is not known: run again";
    check(500, &status("InternalError", "etcdserver: request timed out", Value::Null), "patch", &format!("{unknown}; it says: etcdserver: request timed out"));
    check(
        500,
        &status("InternalError", "etcdserver: request timed out", Value::Null),
        "get",
        "failed observe: the API server answers 500 InternalError; it says: etcdserver: request timed out",
    );
    for proxy in [502, 503, 504] {
        assert!(meaning(proxy, b"<html>Bad gateway</html>", "put").starts_with("namespace unknown replace: "), "{proxy}");
    }
    check(
        302,
        b"",
        "get",
        "failed observe: the API server sends elsewhere (302), where nothing is sent to; the answer is none of an API server: something stands before it",
    );
    check(404, b"<html>not here</html>", "get", "failed observe: the API server answers 404; the answer is none of an API server: something stands before it");
    check(400, &status("Bad\u{1b}Request", "no", Value::Null), "patch", "failed replace: the API server answers 400; it says: no");
}

#[test]
fn no_answer_is_shown_that_repeats_what_was_sent() {
    let redaction = redaction();
    for (i, (what, echo)) in echoes().into_iter().enumerate() {
        for (j, code) in [400, 403, 404, 409, 413, 415, 418, 422, 429, 500, 502, 503].into_iter().enumerate() {
            let causes = json!({"name": echo, "kind": echo, "causes": [
                {"reason": "FieldManagerConflict", "message": format!("conflict with \"{echo}\" using v1"), "field": echo},
                {"reason": "FieldValueInvalid", "message": format!("Invalid value: \"{echo}\""), "field": format!("data[{echo}]")},
            ]});
            let words = [
                echo.clone(),
                format!("admission webhook \"{echo}\" denied the request: {echo}"),
                format!("Internal error occurred: failed calling webhook \"v\": {echo}"),
                format!("x is forbidden: User \"{echo}\" cannot patch resource \"secrets\""),
            ];
            // Each echo in each sentence, and each sentence under each code.
            let message = &words[(i + j) % words.len()];
            let body = if (i + j) % 5 == 4 { message.clone().into_bytes() } else { status(&echo, message, causes) };
            let told = meaning(code, &body, if i % 2 == 0 { "patch" } else { "get" });
            assert!(told.is_ascii() && told.len() < 400, "{code}, {what}: {told}");
            assert_eq!(redaction.told(&told).as_deref(), Some(sanitize(&told).as_str()), "{code}, {what}: {told}");
            let letters: String = echo.chars().filter(char::is_ascii_alphanumeric).collect();
            for piece in [&echo, &letters] {
                let end = piece.char_indices().nth(12).map_or(piece.len(), |(i, _)| i);
                assert!(end < 4 || !told.contains(&piece[..end]), "{code}, {what}: {told}");
            }
        }
    }
}
