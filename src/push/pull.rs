//! Asking a registry for an image from the node itself, with its curl: what is asked, and what the answers mean. Pure.
//!
//! The steps are those of docker (distribution `docs/spec/auth/token.md`): `/v2/`, the challenge, a token with the login where the challenge
//! names a realm, then the manifest. curl follows no redirect, so that a login goes to no host but the one that is named here.

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::model::text::sanitize;
use crate::model::{Image, Login, Registry};
use crate::node::protocol::Ran;

/// What manifests may be (OCI image-spec and Docker's schema 2, lists and single ones).
const ACCEPT: &str = "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// The longest realm or service that is taken, in bytes.
const WORD_BYTES_MAX: usize = 2 << 10;
/// The longest token that is taken, in bytes; ECR's and GitLab's have some four thousand.
const TOKEN_BYTES_MAX: usize = 32 << 10;

/// Who asks the manifest.
pub(super) enum Proof<'a> {
    /// Nobody in particular.
    None,
    /// The login itself.
    Basic(&'a Login),
    /// A token.
    Bearer(Zeroizing<String>),
}

/// curl's configuration for one request, read from its standard input (curl(1), `-K`). `seconds` is for the whole of it.
fn config(url: &str, seconds: u64, proof: &Proof<'_>, more: &[&str]) -> Zeroizing<String> {
    let scheme = if url.starts_with("http://") { "=http" } else { "=https" };
    let secret = match proof {
        Proof::None => 0,
        Proof::Basic(login) => 2 * (login.username.as_str().len() + login.password.expose().len()),
        Proof::Bearer(token) => 2 * token.len(),
    };
    let room = 512 + 2 * url.len() + secret + more.iter().map(|m| m.len() + 1).sum::<usize>();
    let mut out = Zeroizing::new(String::with_capacity(room));
    let mut option = |name: &str, parts: &[&str]| {
        out.push_str(name);
        out.push_str(" = \"");
        for c in parts.iter().flat_map(|p| p.chars()) {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                c => out.push(c),
            }
        }
        out.push_str("\"\n");
    };
    option("url", &[url]);
    option("proto", &[scheme]);
    option("max-time", &[&seconds.to_string()]);
    option("write-out", &["\n%{http_code}"]);
    if scheme == "=http" {
        // What goes in the clear stays on the node.
        option("noproxy", &["*"]);
    }
    match proof {
        Proof::None => {}
        Proof::Basic(login) => option("user", &[login.username.as_str(), ":", login.password.expose()]),
        Proof::Bearer(token) => option("header", &["Authorization: Bearer ", token]),
    }
    out.push_str("globoff\nsilent\nshow-error\n");
    for line in more {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Where the registry's API is: that of Docker Hub has a name of its own.
fn api(registry: &Registry, scheme: &str) -> String {
    format!("{scheme}://{}/v2/", if registry.is_hub() { "registry-1.docker.io" } else { registry.authority() })
}

/// The schemes to try: https, and http for a registry on the node itself, as docker does.
pub(super) fn schemes(registry: &Registry) -> &'static [&'static str] {
    if is_loopback(registry.host()) { &["https", "http"] } else { &["https"] }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The request that asks for the challenge.
pub(super) fn ask_challenge(registry: &Registry, scheme: &str, seconds: u64) -> Zeroizing<String> {
    config(&api(registry, scheme), seconds, &Proof::None, &["dump-header = \"-\"", "output = \"/dev/null\""])
}

/// The request for a token that may pull the image.
pub(super) fn ask_token(realm: &str, service: Option<&str>, image: &Image, login: Option<&Login>, seconds: u64) -> Zeroizing<String> {
    let mut url = realm.to_string();
    let mut add = |name: &str, value: &str| {
        url.push(if url.contains('?') { '&' } else { '?' });
        url += name;
        url.push('=');
        for b in value.bytes() {
            let plain = b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            url += &if plain { char::from(b).to_string() } else { format!("%{b:02X}") };
        }
    };
    if let Some(service) = service {
        add("service", service);
    }
    add("scope", &format!("repository:{}:pull", image.repository()));
    config(&url, seconds, &login.map_or(Proof::None, Proof::Basic), &[])
}

/// The request for the manifest's header.
pub(super) fn ask_manifest(image: &Image, scheme: &str, proof: &Proof<'_>, seconds: u64) -> Zeroizing<String> {
    let url = format!("{}{}/manifests/{}", api(image.registry(), scheme), image.repository(), image.reference());
    config(&url, seconds, proof, &["head", "output = \"/dev/null\"", &format!("header = \"{ACCEPT}\"")])
}

/// An answer over HTTP.
pub(super) struct Answer<'a> {
    /// The status code.
    pub(super) status: u16,
    /// Headers, or a body; not looked at yet.
    pub(super) text: &'a [u8],
}

/// What curl came to. `Err` says why there is no answer: nothing got out, or no curl is there.
pub(super) fn answer(ran: &Ran) -> Result<Answer<'_>, String> {
    if ran.status != 0 {
        return Err(match ran.status {
            127 => "there is no curl on the node; install it, or leave --pull-test out".to_string(),
            // curl(1), EXIT CODES.
            5 => "egress blocked: the name of the proxy is not known there".to_string(),
            6 => "egress blocked: the registry's name is not known there (DNS)".to_string(),
            7 => "egress blocked: the connection was refused, or no way leads there".to_string(),
            28 => "egress blocked: nothing came within the time (a firewall that drops?)".to_string(),
            35 | 51 | 53 | 54 | 58 | 59 | 60 | 66 | 77 | 80 | 82 | 83 | 90 | 91 | 98 => {
                format!("egress blocked: TLS failed (an unknown CA, or a proxy that looks into it?); curl said: {}", said(ran))
            }
            52 | 55 | 56 => {
                format!("egress blocked: the connection was cut, or a proxy refused it; curl said: {}", said(ran))
            }
            97 => "egress blocked: the proxy failed".to_string(),
            status => format!("curl there failed (exit status {status}); it said: {}", said(ran)),
        });
    }
    let no_answer = || "curl there gave no answer that can be read".to_string();
    let at = ran.out.iter().rposition(|b| *b == b'\n').ok_or_else(no_answer)?;
    let status = std::str::from_utf8(&ran.out[at + 1..]).ok().and_then(|s| s.parse().ok()).ok_or_else(no_answer)?;
    Ok(Answer { status, text: &ran.out[..at] })
}

/// What curl says went wrong: its first line, since behind it stands how to look into that, and without its name. What does not begin as
/// curl's own words do is not shown: a program in curl's place may repeat what it was told.
fn said(ran: &Ran) -> String {
    let text = String::from_utf8_lossy(&ran.err);
    let first = text.trim().lines().next().unwrap_or("");
    match first.strip_prefix("curl: ").filter(|words| words.starts_with('(')) {
        Some(words) => sanitize(words),
        None => "nothing that curl itself says".to_string(),
    }
}

/// Whether curl met a certificate there that it does not take (curl(1), EXIT CODES): that is TLS, and plain HTTP would only hide the reason.
pub(super) fn met_a_certificate(ran: &Ran) -> bool {
    matches!(ran.status, 51 | 60 | 83 | 90 | 91)
}

/// How a registry wants to be asked (RFC 9110, 11.6.1; RFC 6750, 3).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With the login itself.
    Basic,
    /// With a token from this address.
    Bearer {
        /// Where tokens are had.
        realm: String,
        /// What the registry calls itself there.
        service: Option<String>,
    },
}

/// Reads the headers of an answer: a token is preferred, as docker does. Blocks of headers before the last one are those of proxies.
pub(super) fn challenge(headers: &[u8]) -> Option<Challenge> {
    let text = String::from_utf8_lossy(headers);
    let text = text.replace("\r\n", "\n");
    let last = text.trim_end().rsplit("\n\n").next()?;
    let values = last.lines().filter_map(|l| l.split_once(':')).filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    let mut basic = None;
    for (_, value) in values {
        let (scheme, parameters) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let realm = parameter(parameters, "realm")?;
            return Some(Challenge::Bearer { realm, service: parameter(parameters, "service") });
        }
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// One parameter of a challenge, in quotes or without.
fn parameter(mut rest: &str, wanted: &str) -> Option<String> {
    loop {
        let (name, after) = rest.trim_start_matches([' ', ',', '\t']).split_once('=')?;
        let mut value = String::new();
        let after = after.trim_start();
        let end = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut chars = quoted.char_indices();
                loop {
                    match chars.next()? {
                        (i, '"') => break i + 2,
                        (_, '\\') => value.push(chars.next()?.1),
                        (_, c) => value.push(c),
                    }
                }
            }
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                value.push_str(&after[..end]);
                end
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            let fits = !value.is_empty() && value.len() <= WORD_BYTES_MAX && value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
            return fits.then_some(value);
        }
        rest = &after[end..];
    }
}

/// Whether the login may be shown to this realm: over https (http where the registry is the node's own and speaks that), to the registry
/// itself or a host that is known to be its own. The error names the host.
pub(super) fn check_realm(realm: &str, registry: &Registry, scheme: &str, login: Option<&Login>) -> Result<(), String> {
    let (theirs, rest) = realm.split_once("://").ok_or("the registry sends for a token to no address")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let parsed = Registry::parse(&authority).ok().map(|(r, _)| r);
    let Some(host) = parsed.filter(|_| !rest.contains(['"', '\\', ' ', '@', '#'])) else {
        return Err("the registry sends for a token to no address that regprov follows".to_string());
    };
    let is_nodes_own = scheme == "http" && theirs == "http" && is_loopback(host.host());
    if !is_nodes_own && !theirs.eq_ignore_ascii_case("https") {
        return Err(format!("the registry sends for a token to {authority} without TLS; no login was sent"));
    }
    let own = |h: &str| h.eq_ignore_ascii_case(host.host()) || h.eq_ignore_ascii_case(host.authority()) || h.eq_ignore_ascii_case(&authority);
    if own(registry.host()) || registry.netrc_hosts().into_iter().any(own) || login.is_some_and(|l| l.auth_hosts.iter().any(|h| own(h))) {
        return Ok(());
    }
    Err(format!("the registry sends for a token to {authority}, which is not known to be its own; no login was sent"))
}

/// The token in a token server's answer.
pub(super) fn token(body: &[u8]) -> Option<Zeroizing<String>> {
    #[derive(Deserialize)]
    struct Tokens {
        token: Option<String>,
        access_token: Option<String>,
    }
    let tokens: Tokens = serde_json::from_slice(body).ok()?;
    let fits = |t: &Zeroizing<String>| !t.is_empty() && t.len() <= TOKEN_BYTES_MAX && t.bytes().all(|b| b.is_ascii_graphic());
    let (token, access_token) = (tokens.token.map(Zeroizing::new), tokens.access_token.map(Zeroizing::new));
    token.or(access_token).filter(fits)
}

/// What a refusal means, by who was asked: the token server or `/v2/` when `manifest` is false.
pub(super) fn refusal(status: u16, manifest: bool, login: Option<&Login>) -> String {
    let who = login.map_or("a pull without a login".to_string(), |l| format!("login \"{}\"", l.name));
    match (status, manifest) {
        (401, _) | (403, false) => format!("{who} was refused ({status})"),
        (403 | 404, true) => format!("no such image, or {who} has no right to pull it ({status})"),
        (404, false) => format!("what answers there is no registry ({status})"),
        (407, _) => "egress blocked: the proxy wants a login of its own (407)".to_string(),
        (429, _) => format!("{who} is rate-limited (429); try again later"),
        (300..=399, _) => format!("the registry redirects ({status}), which regprov does not follow with a login"),
        (500..=599, _) => format!("the registry failed ({status}); try again later"),
        _ => format!("the registry answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Secret, Username};

    fn login(auth_hosts: &[&str]) -> Login {
        Login {
            name: "ngc".into(),
            registry: Registry::parse("nvcr.io").unwrap().0,
            username: Username::parse("$oauth\\token").unwrap(),
            password: Secret::new("a\"b\\c\n\td #é".to_string()),
            auth_hosts: auth_hosts.iter().map(ToString::to_string).collect(),
            expires: None,
        }
    }

    #[test]
    fn what_curl_is_told() {
        let image = Image::parse("nvcr.io/nvidia/cuda:1.2").unwrap();
        let manifest = ask_manifest(&image, "https", &Proof::Basic(&login(&[])), 20);
        let lines: Vec<&str> = manifest.lines().collect();
        assert_eq!(lines[0], r#"url = "https://nvcr.io/v2/nvidia/cuda/manifests/1.2""#);
        assert_eq!(lines[1], r#"proto = "=https""#);
        assert_eq!(lines[4], r##"user = "$oauth\\token:a\"b\\c\n\td #é""##);
        assert!(lines.contains(&"head") && !manifest.contains("location"));
        let token = ask_token("https://nvcr.io/proxy_auth?x=1", Some("a b"), &image, None, 20);
        assert!(token.starts_with("url = \"https://nvcr.io/proxy_auth?x=1&service=a%20b&scope=repository%3Anvidia%2Fcuda%3Apull\"\n"), "{}", *token);
        let hub = ask_challenge(&Registry::parse("docker.io").unwrap().0, "https", 20);
        assert!(hub.starts_with("url = \"https://registry-1.docker.io/v2/\"\n"));
        let own = ask_challenge(&Registry::parse("127.0.0.1:5000").unwrap().0, "http", 20);
        assert!(own.contains("proto = \"=http\"\n") && own.contains("noproxy = \"*\"\n") && !hub.contains("noproxy"));
        assert_eq!(schemes(&Registry::parse("[::1]:5000").unwrap().0), ["https", "http"]);
        assert_eq!(schemes(&Registry::parse("nvcr.io").unwrap().0), ["https"]);
    }

    #[test]
    fn challenges() {
        #[track_caller]
        fn check(headers: &str, want: Option<(&str, Option<&str>)>) {
            let got = challenge(headers.as_bytes());
            let want = want.map(|(realm, service)| match realm {
                "basic" => Challenge::Basic,
                realm => Challenge::Bearer { realm: realm.into(), service: service.map(str::to_string) },
            });
            assert_eq!(got, want, "{headers}");
        }
        check("HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer realm=\"https://a/t\",service=\"s\"\r\n\r\n", Some(("https://a/t", Some("s"))));
        check("HTTP/2 401\r\nwww-authenticate: bearer service=x, realm=\"https://a/t,\\\"u\"\r\n", Some(("https://a/t,\"u", Some("x"))));
        check("HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=x\r\nWWW-Authenticate: Bearer realm=\"https://a\"\r\n\r\n", Some(("https://a", None)));
        check("HTTP/1.1 401 x\r\nwww-authenticate: BASIC realm=\"Registry\"\r\n", Some(("basic", None)));
        // A proxy's answer comes first.
        check("HTTP/1.1 200 ok\r\nWWW-Authenticate: Basic\r\n\r\nHTTP/1.1 401 x\r\nX: y\r\n\r\n", None);
        check("WWW-Authenticate: Bearer service=\"s\"\r\n", None);
        check("WWW-Authenticate: Bearer realm=\"unclosed\r\n", None);
        check("WWW-Authenticate: Bearer realm=\"a\u{1b}b\"\r\n", None);
        check(&format!("WWW-Authenticate: Bearer realm=\"{}\"\r\n", "x".repeat(3000)), None);
        check("", None);
    }

    #[test]
    fn a_login_goes_to_hosts_of_its_own() {
        #[track_caller]
        fn check(realm: &str, registry: &str, scheme: &str, auth_hosts: &[&str], want: Result<(), &str>) {
            let got = check_realm(realm, &Registry::parse(registry).unwrap().0, scheme, Some(&login(auth_hosts)));
            match want {
                Ok(()) => assert_eq!(got, Ok(()), "{realm}"),
                Err(part) => assert!(got.as_ref().is_err_and(|why| why.contains(part)), "{realm}: {got:?}"),
            }
        }
        check("https://nvcr.io/proxy_auth", "nvcr.io", "https", &[], Ok(()));
        check("https://authn.nvidia.com/token", "nvcr.io", "https", &[], Ok(()));
        check("https://auth.docker.io/token", "docker.io", "https", &[], Ok(()));
        check("https://h.example:8443/token", "h.example:5000", "https", &[], Ok(()));
        check("https://sso.example/token", "h.example", "https", &["sso.example"], Ok(()));
        check("https://sso.example/token", "h.example", "https", &[], Err("sso.example, which is not known"));
        check("https://h.example.evil/token", "h.example", "https", &[], Err("not known"));
        check("https://h.example@evil/token", "h.example", "https", &[], Err("no address"));
        check("https://evil\\@h.example/", "h.example", "https", &[], Err("no address"));
        check("https://evil#@h.example/", "h.example", "https", &[], Err("no address"));
        check("http://h.example/token", "h.example", "https", &[], Err("without TLS"));
        check("http://127.0.0.1:5001/token", "127.0.0.1:5000", "http", &[], Ok(()));
        check("http://127.0.0.1:5001/token", "127.0.0.1:5000", "https", &[], Err("without TLS"));
        check("ftp://h.example/", "h.example", "https", &[], Err("without TLS"));
        check("/token", "h.example", "https", &[], Err("no address"));
    }

    fn ran(status: u8, out: &str, err: &str) -> Ran {
        Ran { status, out: Zeroizing::new(out.into()), err: Zeroizing::new(err.into()) }
    }

    #[test]
    fn what_curl_says() {
        let good = ran(0, "{\"token\":\"t\"}\n200", "");
        let answered = answer(&good).ok().unwrap();
        assert_eq!((answered.status, token(answered.text).as_deref().map(String::as_str)), (200, Some("t")));
        for (status, want) in [(6, "egress blocked"), (7, "egress blocked"), (28, "egress blocked"), (60, "TLS failed"), (127, "no curl"), (2, "exit status 2")]
        {
            assert!(answer(&ran(status, "", "\u{1b}[2Jx")).err().unwrap().contains(want), "{status}");
        }
        for bad in ["", "200", "x\n", "x\n99999999", "x\nabc"] {
            assert!(answer(&ran(0, bad, "")).is_err(), "{bad}");
        }
        assert_eq!(token(br#"{"access_token":"a.b"}"#).as_deref().map(String::as_str), Some("a.b"));
        for bad in ["", "{}", "[]", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":7}"#] {
            assert!(token(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn refusals() {
        let l = login(&[]);
        for (status, manifest, want) in [
            (401, false, "login \"ngc\" was refused"),
            (403, false, "login \"ngc\" was refused"),
            (401, true, "login \"ngc\" was refused"),
            (403, true, "no right to pull"),
            (404, true, "no such image"),
            (404, false, "no registry"),
            (429, true, "rate-limited"),
            (302, true, "redirects"),
            (407, false, "egress blocked"),
            (503, false, "the registry failed"),
        ] {
            assert!(refusal(status, manifest, Some(&l)).contains(want), "{status}");
        }
        assert!(refusal(401, true, None).contains("a pull without a login"));
    }
}
