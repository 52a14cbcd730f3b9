//! The encoder: a login as a netrc line that every one of enroot's three programs reads as it was meant.

use zeroize::Zeroizing;

use crate::format::{json, netrc, shown};
use crate::model::{CurlVersion, Login, Registry};

/// A line must fit curl's buffer of 4096 bytes (7.61 to 8.10) with room to spare; before 7.61 it has 256.
const LINE_BYTES_MAX: usize = 4000;
const LINE_BYTES_MAX_BEFORE_7_61: usize = 254;

/// What curl 8.11.0 takes as a token at most.
pub(super) const SHORT_TOKEN_BYTES_MAX: usize = 127;

/// The hosts that get a line for this login: those of the registry, and the token realms that the admin confirmed.
pub(crate) fn hosts(registry: &Registry, auth_hosts: &[String]) -> Vec<String> {
    let mut hosts: Vec<String> = registry.netrc_hosts().into_iter().map(str::to_string).collect();
    for host in auth_hosts {
        let host = host.to_ascii_lowercase();
        let host = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host.as_str(), |(h, _)| h).to_string();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

pub(super) fn check_host(host: &str) -> Result<(), String> {
    if host.contains([':', '[', ']']) {
        return Err("enroot takes a registry for a pattern, so an IPv6 address cannot be looked up; use a host name".into());
    }
    if is_keyword(host) {
        return Err(format!("the host `{host}` is a netrc keyword; use its full name"));
    }
    if host.is_empty() || !host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b)) {
        return Err(format!("auth host `{}` is no host name; write the host alone", shown(host)));
    }
    Ok(())
}

/// The password as it is written: a service account's JSON on one line without white space, else the password itself.
pub(crate) fn password(login: &Login) -> Zeroizing<String> {
    let text = login.password.expose();
    let compact = (login.username.as_str() == "_json_key").then(|| json::compact(text)).flatten();
    compact.unwrap_or_else(|| Zeroizing::new(text.to_string()))
}

/// Whether it is one of the words at which curl's reader of netrc stops or starts an entry, whatever stands before it.
pub(crate) fn is_keyword(text: &str) -> bool {
    ["machine", "default", "macdef"].iter().any(|k| text.eq_ignore_ascii_case(k))
}

/// Whether this curl reads quoted values.
pub(crate) fn reads_quotes(curl: CurlVersion) -> bool {
    curl >= netrc::QUOTES_SINCE
}

/// Whether every curl reads the text as it stands.
pub(crate) fn is_portable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (0x21..0x7f).contains(&b)) && !text.starts_with(['"', '#'])
}

/// The line for a host. The error names the login, the rule and the way out.
pub(super) fn line(host: &str, login: &Login, curl: Option<CurlVersion>) -> Result<Zeroizing<String>, String> {
    let secret = password(login);
    let refuse = |what: &str, why: Refusal| {
        let (why, way_out) = why.tell(what, curl);
        format!("{what} of login \"{}\" ({}) cannot be written for enroot: {why}; {way_out}", login.name, login.registry)
    };
    let user = token(login.username.as_str(), curl).map_err(|why| refuse("username", why))?;
    let pass = token(&secret, curl).map_err(|why| refuse("password", why))?;
    let line = if user.contains(['\\', '*', '[', ' ', '\t', '\u{b}', '\u{c}']) {
        format!("machine {host} login x account x login {} password {}", *user, *pass)
    } else if pass.starts_with('$') {
        format!("machine {host} login {} account x password {}", *user, *pass)
    } else {
        format!("machine {host} login {} password {}", *user, *pass)
    };
    let line = Zeroizing::new(line);
    let max = if curl.is_some_and(|v| v < CurlVersion(7, 61, 0)) { LINE_BYTES_MAX_BEFORE_7_61 } else { LINE_BYTES_MAX };
    if line.len() > max {
        return Err(refuse("password", Refusal::LineTooLong(max)));
    }
    Ok(line)
}

/// Why a value has no form that curl reads as this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Empty,
    Nul,
    Keyword,
    /// White space before curl 7.84.
    NoQuotes,
    /// Beyond the portable class, and the version is not known.
    CurlUnknown,
    /// More than curl 8.11.0 takes.
    TokenTooLong,
    LineTooLong(usize),
}

impl Refusal {
    fn tell(self, what: &str, curl: Option<CurlVersion>) -> (String, String) {
        let version = curl.map_or_else(|| "an unknown version".to_string(), |v| v.to_string());
        let other = format!("choose another {what}");
        match self {
            Refusal::Empty => ("it is empty".into(), other),
            Refusal::Nul => ("it contains a NUL byte".into(), other),
            Refusal::Keyword => ("it is a netrc keyword, with which curl up to 8.20 misreads the lines of other hosts".into(), other),
            Refusal::NoQuotes => (
                format!("it needs curl >= 7.84 on the node, and curl {version} there reads no quoted values"),
                format!("choose a {what} without spaces, tabs and line breaks, or update curl to 7.84"),
            ),
            Refusal::CurlUnknown => (
                "how it is written depends on curl's version (quoted values need curl >= 7.84 on the node, long ones another than 8.11.0); curl was not found there".into(),
                format!("choose a {what} of at most {SHORT_TOKEN_BYTES_MAX} printable ASCII characters that starts with neither \" nor #, or set `curl: VERSION` on the host"),
            ),
            Refusal::TokenTooLong => (
                format!("curl {version} there takes at most {SHORT_TOKEN_BYTES_MAX} bytes"),
                format!("choose a shorter {what}, or update curl to 8.11.1"),
            ),
            Refusal::LineTooLong(max) => (format!("the line would be longer than the {max} bytes that curl takes"), format!("choose a shorter {what}")),
        }
    }
}

/// The text as one netrc token for this curl.
fn token(text: &str, curl: Option<CurlVersion>) -> Result<Zeroizing<String>, Refusal> {
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    if text.contains('\0') {
        return Err(Refusal::Nul);
    }
    if is_keyword(text) {
        return Err(Refusal::Keyword);
    }
    let long = text.len() > SHORT_TOKEN_BYTES_MAX;
    let raw = || Ok(Zeroizing::new(text.to_string()));
    match curl {
        None if long || !is_portable(text) => Err(Refusal::CurlUnknown),
        Some(netrc::SHORT_TOKENS) if long => Err(Refusal::TokenTooLong),
        _ if is_portable(text) => raw(),
        Some(version) if version >= netrc::QUOTES_SINCE => Ok(quote(text)),
        _ if text.contains([' ', '\t', '\n']) => Err(Refusal::NoQuotes),
        _ => raw(),
    }
}

/// Quotes and escapes as curl from 7.84 on reads them.
fn quote(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(2 * text.len() + 2));
    out.push('"');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
