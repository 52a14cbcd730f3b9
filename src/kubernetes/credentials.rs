//! Who we are for an API server, and how long that lasts.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::exec::Plugin;
use super::kubeconfig;

/// How long a token of a file is good: those of service accounts are exchanged under us (client-go `transport/token_source.go`, cachedFileTokenSource).
const FILE_LASTS: Duration = Duration::from_secs(50);

/// Where credentials come from, beside a certificate of the kubeconfig itself.
pub(super) enum Source {
    /// They stand in the kubeconfig, or there are none.
    Fixed(Option<HeaderValue>),
    /// A token's file, and what is sent when it cannot be read any more.
    File(PathBuf, Option<HeaderValue>),
    /// A program tells them.
    Exec(Box<Plugin>),
}

/// A client that knows who we are.
pub(super) struct Ready {
    pub(super) client: kube::Client,
    pub(super) authorization: Option<HeaderValue>,
    /// When credentials are to be had anew; `None` for never.
    pub(super) until: Option<SystemTime>,
}

impl Source {
    /// A user and a password (RFC 7617).
    pub(super) fn basic(name: &str, password: &str) -> Option<Source> {
        let pair = Zeroizing::new(format!("{name}:{password}"));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        header("Basic", &encoded).map(|header| Source::Fixed(Some(header)))
    }

    /// A token.
    pub(super) fn bearer(token: &str) -> Option<Source> {
        header("Bearer", token).map(|header| Source::Fixed(Some(header)))
    }

    /// A token's file; with a token beside it, that is sent only while the file cannot be read (client-go `transport/round_trippers.go`
    /// bearerAuthRoundTripper).
    pub(super) fn file(path: PathBuf, token: Option<&str>) -> Result<Source, &'static str> {
        match (token, read_token(&path)) {
            (None, Err(why)) => Err(why),
            (token, read) => Ok(Source::File(path, token.and_then(|token| header("Bearer", token)).or(read.ok()))),
        }
    }

    /// The token of a file, as it is now.
    pub(super) fn from_file(path: &Path, before: Option<&HeaderValue>) -> (Option<HeaderValue>, SystemTime) {
        (read_token(path).ok().or_else(|| before.cloned()), SystemTime::now() + FILE_LASTS)
    }
}

fn read_token(path: &Path) -> Result<HeaderValue, &'static str> {
    match kubeconfig::read(path) {
        Ok(Some((_, content))) => {
            let token = std::str::from_utf8(&content).map(str::trim).unwrap_or_default();
            if token.is_empty() { Err("holds no token") } else { header("Bearer", token).ok_or("holds what no header can") }
        }
        Ok(None) => Err("cannot be read: there is no such file"),
        Err(_) => Err("cannot be read"),
    }
}

/// An `Authorization` header that no library prints.
pub(super) fn header(scheme: &str, credentials: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("{scheme} {credentials}"));
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
