//! The wire: one request at a time, nothing followed by itself, every answer capped.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::challenge::{self, Challenge};
use super::realm::is_loopback;
use crate::model::{Login, Secret};

/// The largest answer of a token server that is read, in bytes.
const TOKEN_ANSWER_BYTES_MAX: usize = 128 << 10;
/// How much of a refusal is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 16 << 10;
/// How long a refusal is read: its status has told the most.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);
/// Where `localhost` is, whatever the system's resolver says: plain HTTP is for this machine alone. The port is the URL's.
const LOOPBACK: [SocketAddr; 2] = [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];

/// Header lines that an answer may have.
const HEADERS_MAX: usize = 100;
/// All `WWW-Authenticate` lines of an answer together, in bytes.
const CHALLENGE_BYTES_MAX: usize = 16 << 10;
/// The codes of errors that are shown (distribution-spec 1.1, "Error Codes"; behind them those of Harbor, `src/lib/errors/const.go`); whatever
/// else an answer says is not.
const CODES: [&str; 13] = [
    "UNAUTHORIZED",
    "DENIED",
    "NAME_UNKNOWN",
    "NAME_INVALID",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    "BAD_REQUEST",
    "FORBIDDEN",
    "NOT_FOUND",
    "CONFLICT",
    "PRECONDITION",
    "TOO_MANY_REQUEST",
    "UNKNOWN",
];

/// Asks registries and token servers, over the proxies of the environment.
pub struct Client {
    /// Goes through HTTPS_PROXY, ALL_PROXY and NO_PROXY.
    far: reqwest::Client,
    /// For this machine itself: no proxy ever, as in curl and Go.
    near: reqwest::Client,
}

/// Why there is no client.
#[derive(Debug)]
pub enum NoClient {
    /// The CA file at this position holds no certificate.
    NoCertificate(usize),
    /// There are no CAs at all; what the system's store said.
    NoRoots(String),
    /// The libraries do not start.
    Internal(String),
}

impl Client {
    /// With the system's CAs (or those of SSL_CERT_FILE and SSL_CERT_DIR) and those in these PEM files.
    ///
    /// # Errors
    /// See [`NoClient`].
    pub fn new(cas: &[Vec<u8>]) -> Result<Self, NoClient> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        for (position, pem) in cas.iter().enumerate() {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let (added, _) = roots.add_parsable_certificates(found.unwrap_or_default());
            if added == 0 {
                return Err(NoClient::NoCertificate(position));
            }
        }
        if roots.is_empty() {
            let why = native.errors.first().map_or("it is empty".to_string(), ToString::to_string);
            return Err(NoClient::NoRoots(why));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = versions.map_err(|e| NoClient::Internal(e.to_string()))?.with_root_certificates(roots).with_no_client_auth();
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .http1_max_headers(HEADERS_MAX)
                .user_agent(concat!("regprov/", env!("CARGO_PKG_VERSION")))
        };
        // Its errors could quote a proxy's address, which may hold a password.
        let built = |b: reqwest::ClientBuilder| b.build().map_err(|_| NoClient::Internal("the HTTP client does not start".into()));
        Ok(Client { far: built(builder())?, near: built(builder().no_proxy().resolve_to_addrs("localhost", &LOOPBACK))? })
    }

    /// Asks once.
    pub(super) async fn get(&self, url: &Url, credential: Option<&Credential>) -> Result<Answer, Trouble> {
        self.send(&Asked { method: Method::GET, url, json: None, header: None }, credential).await
    }

    /// Sends one request.
    pub(super) async fn send(&self, asked: &Asked<'_>, credential: Option<&Credential>) -> Result<Answer, Trouble> {
        let client = if asked.url.host_str().is_some_and(is_loopback) { &self.near } else { &self.far };
        let mut request = client.request(asked.method.clone(), asked.url.clone()).header(ACCEPT, "application/json");
        if let Some(Credential(header)) = credential {
            request = request.header(AUTHORIZATION, header.clone());
        }
        if let Some((name, value)) = asked.header {
            request = request.header(name, value);
        }
        if let Some(json) = asked.json.clone() {
            request = request.header(CONTENT_TYPE, "application/json").body(json);
        }
        let response = request.send().await.map_err(|e| Trouble::of(&e))?;
        let text = |name| response.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok()).map(str::to_string);
        let challenges: Vec<&HeaderValue> = response.headers().get_all(WWW_AUTHENTICATE).iter().collect();
        if challenges.iter().map(|c| c.len()).sum::<usize>() > CHALLENGE_BYTES_MAX {
            return Err(Trouble::TooLarge);
        }
        let challenges = challenges.iter().map(|c| std::str::from_utf8(c.as_bytes()).map_err(|_| "it is not UTF-8")).collect::<Result<Vec<_>, _>>();
        Ok(Answer {
            status: response.status().as_u16(),
            challenges: challenges.and_then(challenge::parse),
            location: text(LOCATION),
            is_page: text(CONTENT_TYPE).is_some_and(|t| t.trim_start().to_ascii_lowercase().starts_with("text/html")),
            response,
        })
    }
}

/// A request.
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    /// A document; nothing in it is secret.
    pub(super) json: Option<Vec<u8>>,
    /// A header line of its own.
    pub(super) header: Option<(&'static str, &'static str)>,
}

/// What stands in an `Authorization` header. It has no `Debug` of its content, and the libraries do not print it either.
pub(super) struct Credential(HeaderValue);

impl Credential {
    /// The login itself (RFC 7617, UTF-8).
    pub(super) fn basic(login: &Login) -> Self {
        let pair = Zeroizing::new(format!("{}:{}", login.username.as_str(), login.password.expose()));
        Credential::of(Zeroizing::new(format!("Basic {}", &*Zeroizing::new(STANDARD.encode(pair.as_bytes())))))
    }

    /// A token, which was checked to be visible ASCII.
    pub(super) fn bearer(token: &Secret) -> Self {
        Credential::of(Zeroizing::new(format!("Bearer {}", token.expose())))
    }

    fn of(text: Zeroizing<String>) -> Self {
        let mut header = HeaderValue::from_str(&text).expect("base64 and tokens are visible ASCII");
        header.set_sensitive(true);
        Credential(header)
    }
}

/// An answer whose body was not read yet.
pub(super) struct Answer {
    pub(super) status: u16,
    /// How it asks for a login, or why that cannot be read.
    pub(super) challenges: Result<Vec<Challenge>, &'static str>,
    pub(super) location: Option<String>,
    /// It is a page for people.
    pub(super) is_page: bool,
    response: Response,
}

/// What a refusal said, in words of ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) status: u16,
    code: Option<&'static str>,
    /// It speaks of something that has expired.
    pub(super) names_expiry: bool,
}

impl Said {
    /// ` (DENIED)`, where a known code was given.
    pub(super) fn code(&self) -> String {
        self.code.map(|c| format!(" ({c})")).unwrap_or_default()
    }
}

impl Answer {
    /// The body of a token server's answer.
    pub(super) async fn token_body(self) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        self.body(TOKEN_ANSWER_BYTES_MAX).await
    }

    /// The whole body, which has at most so many bytes.
    pub(super) async fn body(self, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        match read(self.response, bytes_max).await? {
            (_, false) => Err(Trouble::TooLarge),
            (body, true) => Ok(body),
        }
    }

    /// A header line, where it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// What a refusal says. Read as far as it comes: its status is enough.
    pub(super) async fn said(self) -> Said {
        let status = self.status;
        let described = self.challenges.iter().flatten().filter_map(|c| c.param("error_description")).any(|d| names_expiry(d.as_bytes()));
        let body = tokio::time::timeout(REFUSAL_DEADLINE, read(self.response, REFUSAL_BYTES_MAX)).await;
        let body = body.ok().and_then(Result::ok).map(|(body, _)| body).unwrap_or_default();
        let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let code = json.as_ref().and_then(|j| j.get("errors")?.get(0)?.get("code")?.as_str());
        Said { status, code: CODES.into_iter().find(|known| Some(*known) == code), names_expiry: described || names_expiry(&body) }
    }
}

fn names_expiry(text: &[u8]) -> bool {
    text.windows(7).any(|w| w.eq_ignore_ascii_case(b"expired"))
}

/// A body of at most so many bytes, and whether that was all of it.
async fn read(mut response: Response, bytes_max: usize) -> Result<(Zeroizing<Vec<u8>>, bool), Trouble> {
    // It never grows, so that no copy of a token is left behind.
    let mut body = Zeroizing::new(Vec::with_capacity(bytes_max));
    while let Some(chunk) = response.chunk().await.map_err(|e| Trouble::of(&e))? {
        if body.len() + chunk.len() > bytes_max {
            let room = bytes_max - body.len();
            body.extend_from_slice(&chunk[..room]);
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

const NO_NAME: &str = "its name is not found";
const NO_CONNECTION: &str = "no connection";
const REFUSED: &str = "connection refused";
const NO_ROUTE: &str = "no route to its host";
const NO_NETWORK: &str = "no route to its network";
/// What goes wrong before anything was said.
const BEFORE: [&str; 5] = [NO_NAME, NO_CONNECTION, REFUSED, NO_ROUTE, NO_NETWORK];

/// Why there was no answer. No text of the libraries is kept: theirs quote addresses with what stands in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection, or one that broke.
    Network(&'static str),
    /// The proxy did not connect.
    Proxy,
    UnknownCa,
    WrongName,
    CertificateExpired,
    CertificateNotYet,
    CertificateUnfit,
    /// What answers there speaks something else.
    NoTls,
    TlsAlert,
    TooLarge,
    NotHttp,
}

impl Trouble {
    /// Whether a server without TLS may be there, as on a registry of this machine.
    pub(super) fn may_be_plain(self) -> bool {
        matches!(self, Trouble::NoTls | Trouble::Network(_))
    }

    /// Whether the request itself was certainly not heard: there was no connection, or no TLS on it.
    pub(super) fn is_before_the_request(self) -> bool {
        match self {
            Trouble::Network(why) => BEFORE.contains(&why),
            Trouble::TooLarge | Trouble::NotHttp => false,
            _ => true,
        }
    }

    fn of(error: &reqwest::Error) -> Self {
        let mut next = error.source();
        let mut words = String::new();
        while let Some(cause) = next {
            // Only to be searched, never shown.
            words.push_str(&cause.to_string().to_lowercase());
            words.push('\n');
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                return Trouble::of_tls(tls);
            }
            let io = cause.downcast_ref::<io::Error>();
            if let Some(known) = io.and_then(|io| Trouble::of_io(io.kind())) {
                return known;
            }
            // An I/O error's source is that of what it wraps, which itself would be passed over.
            next = match io.and_then(io::Error::get_ref) {
                Some(wrapped) => Some(wrapped),
                None => cause.source(),
            };
        }
        let holds = |word: &str| words.contains(word);
        match () {
            () if holds("tunnel") || holds("proxy") || holds("socks") => Trouble::Proxy,
            () if holds("dns error") => Trouble::Network(NO_NAME),
            () if holds("too large") || holds("headers") => Trouble::TooLarge,
            () if holds("invalid http") || holds("invalid header") || holds("parse") => Trouble::NotHttp,
            () if error.is_connect() => Trouble::Network(NO_CONNECTION),
            () => Trouble::Network("the connection ended before the answer was complete"),
        }
    }

    fn of_io(kind: io::ErrorKind) -> Option<Self> {
        use io::ErrorKind as K;
        Some(Trouble::Network(match kind {
            K::ConnectionRefused => REFUSED,
            K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted => "the connection was reset",
            K::UnexpectedEof => "the connection ended before the answer was complete",
            K::HostUnreachable => NO_ROUTE,
            K::NetworkUnreachable => NO_NETWORK,
            K::TimedOut => "the connection timed out",
            _ => return None,
        }))
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            E::InvalidCertificate(why) => match why {
                // A CA that was made anew under its old name signs with another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Trouble::UnknownCa,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Trouble::WrongName,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trouble::CertificateExpired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Trouble::CertificateNotYet,
                _ => Trouble::CertificateUnfit,
            },
            E::InvalidMessage(_) | E::InappropriateMessage { .. } => Trouble::NoTls,
            _ => Trouble::TlsAlert,
        }
    }
}
