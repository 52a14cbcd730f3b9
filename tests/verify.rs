//! `regprov verify` before registries and token servers that answer in every way there is: what it says of the login, its exit code, and
//! who was sent the password.

#[path = "common/registry.rs"]
mod registry;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use registry::{Ca, Proxy, Reply, Request, Server, http};
use serde_json::Value;

const USER: &str = "robot$proj+ci";
const PASSWORD: &str = "Rob0t$e%/+é-plantedSecret7391";
/// A stretch of it that no form of writing changes.
const STRETCH: &str = "plantedSecret7391";
const CANARY: &str = "proj/tiny";

fn is_login(request: &Request) -> bool {
    request.basic().is_some_and(|login| login == format!("{USER}:{PASSWORD}"))
}

/// A token without a signature that counts; claims are what regprov reads.
fn jwt(claims: &str) -> String {
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode("{\"alg\":\"ES256\"}"), URL_SAFE_NO_PAD.encode(claims))
}

fn token(claims: &str) -> Reply {
    http("200 OK", format!("{{\"token\":\"{}\"}}", jwt(claims)))
}

const PULLS: &str = r#"{"sub":"robot","access":[{"type":"repository","name":"proj/tiny","actions":["pull"]}]}"#;
const NOTHING: &str = r#"{"sub":"robot","access":[]}"#;

/// A registry with a token server on its own port, and what that one says to requests without and with a scope.
fn bearer(answer: impl Fn(&Request, bool) -> Reply + Send + Sync + 'static) -> Answer {
    Box::new(move |request, port| match request.path.strip_prefix("/token?") {
        Some(query) => answer(request, query.contains("scope=repository%3Aproj%2Ftiny%3Apull")),
        None if request.bearer().is_some() => http("200 OK", "{}"),
        None => http(format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\""), "{}"),
    })
}

/// A registry with this challenge, in which PORT is its port.
fn challenge(lines: &'static str) -> Answer {
    Box::new(move |_, port| http(format!("401 Unauthorized\r\nWWW-Authenticate: {}", lines.replace("PORT", &port.to_string())), "{}"))
}

/// A registry that asks for Basic, and what it says to whoever comes with it.
fn basic(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Answer {
    Box::new(move |request, _| match request.authorization {
        Some(_) => answer(request),
        None => http("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"", "{}"),
    })
}

/// The same to everybody.
fn always(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Answer {
    Box::new(move |_, _| reply())
}

fn status(head: &'static str) -> Answer {
    always(move || http(head, "{}"))
}

type Answer = Box<dyn Fn(&Request, u16) -> Reply + Send + Sync>;

struct Case {
    name: &'static str,
    answer: Answer,
    canary: bool,
    /// The verdict, and a part of the reason.
    want: (&'static str, &'static str),
    /// It may be sent the password.
    asks: bool,
}

fn case(name: &'static str, answer: Answer, canary: bool, asks: bool, verdict: &'static str, reason: &'static str) -> Case {
    Case { name, answer, canary, want: (verdict, reason), asks }
}

fn in_order(request: &Request, wrong: &'static str) -> Reply {
    if is_login(request) { token(PULLS) } else { http(wrong, "{}") }
}

/// Every way in which a registry of good or bad will answers.
fn cases(foreign: u16) -> Vec<Case> {
    let foreign_realm: &'static str = Box::leak(format!("Bearer realm=\"http://127.0.0.2:{foreign}/token\"").into_boxed_str());
    let both: &'static str = Box::leak(format!("Basic realm=\"x\", Bearer realm=\"http://127.0.0.2:{foreign}/token\"").into_boxed_str());
    let elsewhere: &'static str = Box::leak(format!("302 Found\r\nLocation: http://127.0.0.2:{foreign}/v2/").into_boxed_str());
    let token_elsewhere: &'static str = Box::leak(format!("307 Temporary Redirect\r\nLocation: http://127.0.0.2:{foreign}/token").into_boxed_str());
    let long: &'static str = "a".repeat(100 << 10).leak();
    let expired = "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"the token has Expired\"}]}";
    vec![
        case("basic", basic(|r| if is_login(r) { http("200 OK", "{}") } else { http("401 No", "") }), false, true, "valid", "the registry takes it"),
        case(
            "basic-wrong",
            basic(|_| http("401 Unauthorized", "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}")),
            false,
            true,
            "wrong_password",
            "the registry answers 401 (UNAUTHORIZED)",
        ),
        case("basic-403", basic(|_| http("403 Forbidden", "")), false, true, "wrong_password", "answers 403"),
        case("basic-expired", basic(move |_| http("401 Unauthorized", expired)), false, true, "expired", "it says that the login has expired"),
        case(
            "basic-pulls",
            basic(|r| if r.path == "/v2/" || r.path == "/v2/proj/tiny/tags/list?n=1" { http("200 OK", "{}") } else { http("404 No", "") }),
            true,
            true,
            "valid",
            "it may pull proj/tiny",
        ),
        case(
            "basic-no-pull",
            basic(|r| http(if r.path == "/v2/" { "200 OK" } else { "403 Forbidden" }, "{}")),
            true,
            true,
            "no_pull_right",
            "it may not pull proj/tiny: the registry answers 403",
        ),
        case("basic-no-repo", basic(|r| http(if r.path == "/v2/" { "200 OK" } else { "404 Not Found" }, "{}")), true, true, "no_pull_right", "404"),
        case("token", bearer(|r, _| in_order(r, "401 No")), false, true, "valid", "the token server 127.0.0.1 takes it"),
        case("token-pulls", bearer(|r, _| in_order(r, "401 No")), true, true, "valid", "it may pull proj/tiny"),
        case(
            "token-wrong",
            bearer(|_, _| http("401 Unauthorized", "{\"details\":\"no\"}")),
            false,
            true,
            "wrong_password",
            "the token server 127.0.0.1 answers 401",
        ),
        // As Harbor: a scope is answered with 200, whatever the password.
        case(
            "token-wrong-200",
            bearer(|_, scope| if scope { token(r#"{"sub":"","access":[]}"#) } else { http("401 Unauthorized", "") }),
            true,
            true,
            "wrong_password",
            "answers 401",
        ),
        case("token-anonymous", bearer(|_, _| token(r#"{"sub":"","access":[]}"#)), false, true, "wrong_password", "a token for nobody"),
        case("token-no-pull", bearer(|_, scope| token(if scope { NOTHING } else { PULLS })), true, true, "no_pull_right", "does not grant it"),
        case("token-no-pull-403", bearer(|_, scope| if scope { http("403 Forbidden", "") } else { token(PULLS) }), true, true, "no_pull_right", "answers 403"),
        case(
            "token-null-access",
            bearer(|_, scope| token(if scope { r#"{"sub":"u","access":null}"# } else { PULLS })),
            true,
            true,
            "no_pull_right",
            "does not grant it",
        ),
        case("token-opaque", bearer(|_, _| http("200 OK", "{\"access_token\":\"opaque\"}")), true, true, "valid", "it may pull proj/tiny"),
        case("token-expired", bearer(move |_, _| http("401 Unauthorized", expired)), false, true, "expired", "it says that the login has expired"),
        case("token-429", bearer(|_, _| http("429 Too Many Requests", "")), false, true, "rate_limited", "the token server 127.0.0.1 answers 429"),
        case("token-500", bearer(|_, _| http("500 Oops", "")), false, true, "server_error", "answers 500"),
        case("token-none", bearer(|_, _| http("200 OK", "{}")), false, true, "not_a_registry", "holds no token"),
        case("token-garbled", bearer(|_, _| http("200 OK", "{\"token\":\"a\\r\\nX-Evil: 1\"}")), false, true, "not_a_registry", "characters that no token has"),
        case("token-huge", bearer(move |_, _| http("200 OK", format!("{{\"token\":\"{long}\"}}"))), false, true, "not_a_registry", "longer than 32 KiB"),
        case(
            "token-endless",
            bearer(|_, _| Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n{\"token\":\"".to_vec(), b"a".to_vec())),
            false,
            true,
            "not_a_registry",
            "is larger than a token server's",
        ),
        case("token-drips", bearer(|_, _| Reply::Drip(b"HTTP/1.1 200 OK\r\n\r\n{\"token\":\"".to_vec())), false, true, "unreachable", "not done within 5 s"),
        case("token-redirect-away", bearer(move |_, _| http(token_elsewhere, "")), false, true, "redirect_refused", "leads to 127.0.0.2"),
        case("refusal-drips", basic(|_| Reply::Drip(b"HTTP/1.1 401 No\r\n\r\n".to_vec())), false, true, "wrong_password", "answers 401"),
        case("refusal-endless", basic(|_| Reply::Endless(b"HTTP/1.1 401 No\r\n\r\n".to_vec(), b"a".to_vec())), false, true, "wrong_password", "answers 401"),
        case("rate-limited", status("429 Too Many Requests"), false, false, "rate_limited", "the registry answers 429"),
        case("server-error", status("503 Service Unavailable"), false, false, "server_error", "the registry answers 503"),
        case("open", status("200 OK"), false, true, "unproven", "lets everybody in"),
        case("blocked", status("403 Forbidden"), false, false, "unproven", "403 before it asks"),
        case("web-site", status("200 OK\r\nContent-Type: text/html; charset=utf-8"), false, false, "not_a_registry", "a page for people"),
        case("not-found", status("404 Not Found"), false, false, "not_a_registry", "answers 404"),
        case("asks-without-saying-how", status("401 Unauthorized"), false, false, "not_a_registry", "does not say how to log in"),
        case("negotiate", challenge("Negotiate"), false, false, "not_a_registry", "neither by Basic nor by Bearer"),
        case("nothing", always(|| Reply::Nothing), false, false, "unreachable", "not done within 5 s"),
        case("hangs-up", always(|| Reply::Raw(Vec::new())), false, false, "unreachable", "the connection ended before the answer was complete"),
        case("no-http", always(|| Reply::Raw(b"SSH-2.0-x\r\n".to_vec())), false, false, "not_a_registry", "not HTTP"),
        case(
            "endless-header",
            always(|| Reply::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), b"a".to_vec())),
            false,
            false,
            "not_a_registry",
            "larger than a registry's",
        ),
        case(
            "endless-headers",
            always(|| Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".to_vec())),
            false,
            false,
            "not_a_registry",
            "larger than a registry's",
        ),
        case("header-drips", always(|| Reply::Drip(b"HTTP/1.1 200 OK\r\nX: ".to_vec())), false, false, "unreachable", "not done within 5 s"),
        case("circles", status("301 Moved\r\nLocation: /v2/"), false, false, "not_a_registry", "leads in circles"),
        case("redirect-away", status(elsewhere), false, false, "redirect_refused", "leads to 127.0.0.2"),
        case("redirect-nowhere", status("302 Found\r\nLocation: http://[::"), false, false, "redirect_refused", "an address that is none"),
        case("realm-elsewhere", challenge(foreign_realm), false, false, "realm_not_trusted", "wants the login sent to 127.0.0.2"),
        case("realm-elsewhere-of-two", challenge(both), false, false, "realm_not_trusted", "wants the login sent to 127.0.0.2"),
        case(
            "realm-with-account",
            challenge("Bearer realm=\"http://127.0.0.1:PORT@127.0.0.2/token\""),
            false,
            false,
            "realm_not_trusted",
            "names an account of its own",
        ),
        case("realm-in-the-clear", challenge("Bearer realm=\"http://registry.example/token\""), false, false, "realm_not_trusted", "in the clear"),
        case("realm-no-url", challenge("Bearer service=x"), false, false, "realm_not_trusted", "is no URL"),
        case(
            "realm-twice",
            challenge("Bearer realm=\"http://127.0.0.1:PORT/token\",realm=\"http://127.0.0.2/\""),
            false,
            false,
            "not_a_registry",
            "a parameter twice",
        ),
        case("realm-injected", challenge("Basic realm=\"x, Bearer realm=http://127.0.0.2/\" trailing"), false, false, "not_a_registry", "without a comma"),
        case("realm-controls", challenge("Bearer realm=\"http://h\x07\""), false, false, "not_a_registry", "not HTTP"),
    ]
}

/// The inventory with these logins, all with the planted password: name, registry, and what else stands there.
fn write_inventory(dir: &Path, logins: &[(String, String, String)]) {
    let logins: String = logins
        .iter()
        .map(|(name, registry, more)| format!("  {name}: {{registry: \"{registry}\", username: '{USER}', password: '{PASSWORD}'{more}}}\n"))
        .collect();
    let names: Vec<&str> = logins.lines().filter_map(|l| l.trim().split_once(':')).map(|(name, _)| name).collect();
    let text = format!("version: 1\ngroups: {{g: {{hosts: [n], logins: [{}], targets: [docker]}}}}\nlogins:\n{logins}", names.join(", "));
    std::fs::write(dir.join("inventory.yml"), text).unwrap();
}

fn regprov(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
    command.args(["verify", "inventory.yml", "--allow-plaintext"]).args(args).current_dir(dir).env_clear().env("PATH", "/usr/bin:/bin");
    let out = command.envs(env.iter().copied()).stdin(Stdio::null()).output().unwrap();
    no_leak(&[&out.stdout[..], &out.stderr[..]].concat());
    out
}

/// The password in every form in which it may have been written.
fn no_leak(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let url: String = PASSWORD.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    let mut forms = vec![PASSWORD.to_string(), STRETCH.to_string(), url, STANDARD.encode(format!("{USER}:{PASSWORD}")), jwt(PULLS), jwt(NOTHING)];
    for shift in 0..3 {
        let encoded = STANDARD_NO_PAD.encode(format!("{}{STRETCH}", "x".repeat(shift)));
        forms.push(encoded[4..encoded.len() - 4].to_string());
    }
    for form in forms {
        assert!(!text.contains(&form), "a secret leaks: {text}");
    }
}

fn parsed(out: &Output) -> BTreeMap<String, Value> {
    let document: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&[&out.stdout[..], &out.stderr[..]].concat())));
    assert_eq!(document["schema"], "regprov.verify/1");
    let logins = document["logins"].as_array().unwrap();
    logins.iter().map(|l| (l["login"].as_str().unwrap().to_string(), l.clone())).collect()
}

#[test]
fn every_answer_has_its_verdict_and_the_password_goes_nowhere_else() {
    let foreign = Server::start("127.0.0.2", None, |_, _| http("200 OK", "{}"));
    let mut wanted = Vec::new();
    let mut logins = Vec::new();
    for Case { name, answer, canary, want, asks } in cases(foreign.port) {
        let server = Server::start("127.0.0.1", None, answer);
        let more = if canary { format!(", canary: {CANARY}") } else { String::new() };
        logins.push((name.to_string(), format!("127.0.0.1:{}", server.port), more));
        wanted.push((name, server, want, asks));
    }
    let dir = tempfile::tempdir().unwrap();
    // A few at a time, as they would be: one that hangs must not cost the others their ten seconds.
    let mut got = BTreeMap::new();
    let mut said = Vec::new();
    for part in logins.chunks(26) {
        write_inventory(dir.path(), part);
        let out = regprov(dir.path(), &["--json", "-vvv"], &[("RUST_LOG", "trace")]);
        assert_eq!(out.status.code(), Some(6));
        got.extend(parsed(&out));
        said.extend(out.stderr);
    }
    assert!(String::from_utf8_lossy(&said).contains("verified"), "the diagnostics were on");
    assert_eq!(got.len(), wanted.len());
    let refused = ["wrong_password", "expired", "no_pull_right", "realm_not_trusted", "redirect_refused", "not_a_registry"];
    for (name, server, (verdict, reason), asks) in &wanted {
        let row = &got[*name];
        assert_eq!(row["verdict"], *verdict, "{name}: {row}");
        assert!(row["reason"].as_str().unwrap().contains(reason), "{name}: {row}");
        assert_eq!(row["refused"], refused.contains(verdict), "{name}: {row}");
        assert!(*verdict == "valid" || !row["hint"].is_null(), "{name} says no way out: {row}");
        assert!(!row.to_string().contains("\\u00"), "{name}: {row}");
        assert_eq!(!server.logins().is_empty(), *asks, "{name}: {:?}", server.seen());
        assert!(server.logins().iter().all(|login| *login == format!("{USER}:{PASSWORD}")), "{name}");
    }
    assert!(foreign.seen().is_empty(), "nobody asked the foreign host: {:?}", foreign.seen());
    let valid: Vec<&str> =
        got.values().filter(|r| r["granted"] == serde_json::json!(["repository:proj/tiny:pull"])).map(|r| r["login"].as_str().unwrap()).collect();
    assert_eq!(valid, ["basic-pulls", "token-opaque", "token-pulls"], "what was granted");
}

/// A site with one login.
fn one(registry: &str, more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_inventory(dir.path(), &[("site".to_string(), registry.to_string(), more.to_string())]);
    dir
}

#[track_caller]
fn check(out: &Output, code: i32, verdict: &str, reason: &str) {
    let row = &parsed(out)["site"];
    assert_eq!(row["verdict"], verdict, "{row}");
    assert!(row["reason"].as_str().unwrap().contains(reason), "{row}");
    assert_eq!(out.status.code(), Some(code), "{row}");
}

#[test]
fn what_cannot_be_known_is_a_warning_unless_it_is_required() {
    let down = Server::start("127.0.0.1", None, |_, _| http("503 Service Unavailable", ""));
    let dir = one(&format!("127.0.0.1:{}", down.port), "");
    check(&regprov(dir.path(), &["--json"], &[]), 0, "server_error", "503");
    check(&regprov(dir.path(), &["--json", "--required"], &[]), 6, "server_error", "503");
    let gone = one("127.0.0.1:1", "");
    check(&regprov(gone.path(), &["--json"], &[]), 0, "unreachable", "connection refused");
    let nowhere = one("registry.invalid", "");
    check(&regprov(nowhere.path(), &["--json"], &[]), 0, "unreachable", "its name is not found");
}

#[test]
fn people_read_lines() {
    let server = Server::start("127.0.0.1", None, bearer(|r, _| in_order(r, "401 No")));
    let host = format!("127.0.0.1:{}", server.port);
    let dir = one(&host, ", canary: proj/tiny");
    let out = regprov(dir.path(), &[], &[]);
    let want = format!("login site: valid: {USER} at {host}: it may pull proj/tiny\n\n1 login: 1 valid\n");
    assert_eq!((String::from_utf8_lossy(&out.stdout).as_ref(), out.status.code()), (want.as_str(), Some(0)));
    let tokens: Vec<String> = server.seen().into_iter().map(|r| r.path).filter(|p| p.starts_with("/token")).collect();
    let account = "/token?account=robot%24proj%2Bci&service=s";
    assert_eq!(tokens, [account.to_string(), format!("{account}&scope=repository%3Aproj%2Ftiny%3Apull")]);

    let wrong = Server::start("127.0.0.1", None, basic(|_| http("401 Unauthorized", "")));
    let dir = one(&format!("127.0.0.1:{}", wrong.port), "");
    let out = regprov(dir.path(), &[], &[]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("    set it anew: regprov vault set inventory.yml site; or is the account robot$proj+ci at an end?\n"), "{text}");
    let out = regprov(dir.path(), &["--login", "siet"], &[]);
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn what_has_ended_is_told_from_what_is_wrong() {
    let server = Server::start("127.0.0.1", None, basic(|_| http("401 Unauthorized", "")));
    let host = format!("127.0.0.1:{}", server.port);
    let dir = one(&host, ", expires: 2001-01-01");
    assert_eq!(regprov(dir.path(), &["--json"], &[]).status.code(), Some(2), "as everywhere");
    check(&regprov(dir.path(), &["--json", "--allow-expired"], &[]), 6, "expired", "its `expires:` is past");
    let text = std::fs::read_to_string(dir.path().join("inventory.yml")).unwrap().replace(", expires: 2001-01-01", "");
    for (exp, verdict) in [("1000000000", "expired"), ("99999999999", "wrong_password"), ("\"x\"", "wrong_password")] {
        std::fs::write(dir.path().join("inventory.yml"), text.replace(PASSWORD, &jwt(&format!("{{\"exp\":{exp}}}")))).unwrap();
        check(&regprov(dir.path(), &["--json"], &[]), 6, verdict, "answers 401");
    }
}

#[test]
fn certificates_are_checked_and_what_is_wrong_with_them_is_told() {
    let (ca, other, remade) = (Ca::new("a CA"), Ca::new("another CA"), Ca::new("a CA"));
    let answer = || basic(|r| if is_login(r) { http("200 OK", "{}") } else { http("401 No", "") });
    let start = |name: &str, expired| Server::start("127.0.0.1", Some(ca.server(name, expired)), answer());
    let run = |server: &Server, args: &[&str], env: &[(&str, &str)]| {
        let dir = one(&format!("127.0.0.1:{}", server.port), "");
        std::fs::write(dir.path().join("ca.pem"), &ca.pem).unwrap();
        std::fs::write(dir.path().join("other.pem"), &other.pem).unwrap();
        std::fs::write(dir.path().join("remade.pem"), &remade.pem).unwrap();
        regprov(dir.path(), &[&["--json"], args].concat(), env)
    };
    let good = start("127.0.0.1", false);
    check(&run(&good, &["--ca", "other.pem"], &[]), 0, "tls", "a CA that this machine does not know");
    check(&run(&good, &["--ca", "remade.pem"], &[]), 0, "tls", "a CA that this machine does not know");
    assert!(good.seen().is_empty(), "nothing was asked");
    check(&run(&good, &["--ca", "other.pem", "--ca", "ca.pem"], &[]), 0, "valid", "");
    check(&run(&good, &[], &[("SSL_CERT_FILE", "ca.pem")]), 0, "valid", "");
    assert_eq!(good.logins(), [format!("{USER}:{PASSWORD}")]);
    for (server, reason) in [(start("other.example", false), "is for another name"), (start("127.0.0.1", true), "has expired")] {
        check(&run(&server, &["--ca", "ca.pem"], &[]), 0, "tls", reason);
        check(&run(&server, &["--ca", "ca.pem", "--required"], &[]), 6, "tls", reason);
        assert!(server.seen().is_empty());
    }
    let out = run(&good, &["--ca", "inventory.yml"], &[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("inventory.yml holds no certificate"));
    assert_eq!(run(&good, &["--ca", "absent.pem"], &[]).status.code(), Some(2));
}

#[test]
fn proxies_of_the_environment_are_used_and_see_no_login() {
    let ca = Ca::new("a CA");
    let server = Server::start("127.0.0.1", Some(ca.server("registry.example", false)), basic(|r| http(if is_login(r) { "200 OK" } else { "401 No" }, "{}")));
    let dir = one("registry.example", "");
    std::fs::write(dir.path().join("ca.pem"), &ca.pem).unwrap();
    let run = |proxy: &str, more: &[(&str, &str)]| {
        regprov(dir.path(), &["--json", "--ca", "ca.pem", "-vvv"], &[&[("HTTPS_PROXY", proxy), ("RUST_LOG", "trace")], more].concat())
    };
    let proxy = Proxy::start(Some(server.port));
    let address = format!("http://user:proxySecret@127.0.0.1:{}", proxy.port);
    check(&run(&address, &[]), 0, "valid", "the registry takes it");
    assert!(proxy.told().starts_with("CONNECT registry.example:443 "), "{}", proxy.told());
    assert!(proxy.told().contains(&STANDARD.encode("user:proxySecret")), "the proxy's own login");
    no_leak(proxy.told().as_bytes());
    let closed = Proxy::start(None);
    let out = run(&format!("http://user:proxySecret@127.0.0.1:{}", closed.port), &[]);
    check(&out, 0, "unreachable", "the proxy of the environment does not connect");
    assert!(!String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).contains("proxySecret"));
    let unused = Proxy::start(Some(server.port));
    check(&run(&format!("http://127.0.0.1:{}", unused.port), &[("NO_PROXY", "registry.example")]), 0, "unreachable", "its name is not found");
    assert_eq!(unused.told(), "");
    // This machine itself is never asked through a proxy.
    let near = Server::start("127.0.0.1", None, basic(|r| http(if is_login(r) { "200 OK" } else { "401 No" }, "{}")));
    let dir = one(&format!("127.0.0.1:{}", near.port), "");
    let all = format!("http://127.0.0.1:{}", unused.port);
    let out = regprov(dir.path(), &["--json"], &[("HTTPS_PROXY", &all), ("HTTP_PROXY", &all), ("http_proxy", &all), ("ALL_PROXY", &all)]);
    check(&out, 0, "valid", "");
    assert_eq!(unused.told(), "");
}

#[test]
fn a_registry_elsewhere_gets_no_password_in_the_clear() {
    // Whatever the name leads to, it does not speak TLS.
    let plain = Server::start("127.0.0.1", None, basic(|_| http("200 OK", "{}")));
    let proxy = Proxy::start(Some(plain.port));
    let dir = one("registry.example:5000", "");
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let out = regprov(dir.path(), &["--json"], &[("HTTPS_PROXY", &address), ("HTTP_PROXY", &address), ("http_proxy", &address)]);
    check(&out, 0, "tls", "does not speak TLS");
    assert!(plain.seen().is_empty() && proxy.told().starts_with("CONNECT registry.example:5000 "), "{}", proxy.told());
}

/// The search for leaks finds one.
#[test]
fn the_search_for_leaks_works() {
    for leak in
        [PASSWORD.to_string(), STANDARD.encode(format!("{USER}:{PASSWORD}")), format!("Bearer {}", jwt(PULLS)), STANDARD.encode(format!("a:{STRETCH}b"))]
    {
        let found = std::panic::catch_unwind(|| no_leak(format!("x {leak} y").as_bytes()));
        assert!(found.is_err(), "{leak}");
    }
    no_leak(b"nothing");
}
