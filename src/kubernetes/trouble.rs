//! Why a namespace did not get what it should.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use crate::model::{Outcome, Stage};

/// A namespace's end, before or after its cluster answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The cluster cannot be asked: no connection that could be trusted and used, or it does not know who asks.
    Unreachable(Stage, String),
    /// It answered, and something is in the way.
    Failed(Stage, String),
    /// It was cut off after something was sent to be written.
    Unknown(Stage, String),
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Outcome {
        match trouble {
            Trouble::Unreachable(stage, reason) => Outcome::Unreachable { stage, reason },
            Trouble::Failed(stage, reason) => Outcome::Failed { stage, reason },
            Trouble::Unknown(stage, reason) => Outcome::Unknown { stage, reason },
        }
    }
}

/// Why a request got no answer. No text of the libraries is kept: theirs quote addresses with what stands in them, and change with their version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What went wrong, behind "the API server of context ...".
    pub(super) what: &'static str,
    /// At which step; `None` for that of the request itself.
    pub(super) stage: Option<Stage>,
    /// Whether the server may have heard the request.
    pub(super) may_be_heard: bool,
    /// Whether it may be gone a moment later.
    pub(super) passes: bool,
}

impl Fault {
    /// Before there was a connection that could be used.
    const fn before(stage: Stage, what: &'static str) -> Self {
        Fault { what, stage: Some(stage), may_be_heard: false, passes: false }
    }

    /// Behind that.
    const fn behind(what: &'static str) -> Self {
        Fault { what, stage: None, may_be_heard: true, passes: false }
    }

    const fn passing(self) -> Self {
        Fault { passes: true, ..self }
    }

    pub(super) const fn late() -> Self {
        Fault::behind("did not answer in time")
    }

    pub(super) const fn too_large() -> Self {
        Fault::behind("answers with more than 16 MiB")
    }

    pub(super) const fn no_request() -> Self {
        Fault::before(Stage::Render, "cannot be asked for this: a name in it is none of Kubernetes")
    }

    /// What the client's error means.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        let mut connects = false;
        let mut words = String::new();
        while let Some(cause) = next {
            connects |= cause.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(hyper_util::client::legacy::Error::is_connect);
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                return Fault::of_tls(tls, connects);
            }
            // Only to be searched, never shown.
            words.push_str(&cause.to_string().to_ascii_lowercase());
            words.push('\n');
            let io = cause.downcast_ref::<io::Error>();
            if let Some(known) = io.and_then(|io| Fault::of_io(io.kind(), connects)) {
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
            () if holds("proxy authorization required") => Fault::before(Stage::Connect, "is behind a proxy that asks for a login: give it in the proxy's URL"),
            () if holds("tunnel") || holds("socks") => Fault::before(Stage::Connect, "is behind a proxy that does not connect to it"),
            () if holds("dns error") => Fault::before(Stage::Resolve, "is not found: nobody knows its name"),
            () if connects => Fault::before(Stage::Connect, "takes no connection").passing(),
            () if holds("parse") || holds("invalid http") => Fault::behind("answers with something else than HTTP"),
            () => Fault::behind("closed the connection before it had answered").passing(),
        }
    }

    fn of_io(kind: io::ErrorKind, connects: bool) -> Option<Self> {
        use io::ErrorKind as K;
        Some(match kind {
            K::ConnectionRefused => Fault::before(Stage::Connect, "refuses connections: is it running, and is the port right?").passing(),
            K::HostUnreachable | K::NetworkUnreachable => Fault::before(Stage::Connect, "cannot be reached: there is no route to it"),
            K::TimedOut if connects => Fault::before(Stage::Connect, "did not take the connection in time"),
            K::TimedOut => Fault::late(),
            K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted | K::UnexpectedEof if connects => {
                Fault::before(Stage::Connect, "closes connections as soon as they are made").passing()
            }
            K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted | K::UnexpectedEof => {
                Fault::behind("closed the connection before it had answered").passing()
            }
            _ => return None,
        })
    }

    fn of_tls(error: &rustls::Error, connects: bool) -> Self {
        use rustls::Error as E;
        let what = match error {
            E::InvalidCertificate(why) => match why {
                // A CA that was made anew under its old name signs with another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "shows a certificate of a CA that is not trusted: `certificate-authority-data` of the cluster names the CA, without it those of the system count"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "shows a certificate for another name: use a name that it has, or set `tls-server-name` of the cluster"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "shows a certificate that has expired",
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "shows a certificate that is not valid yet: look at the clocks",
                _ => "shows a certificate that cannot be trusted",
            },
            E::InvalidMessage(_) | E::InappropriateMessage { .. } => "speaks no TLS",
            // With TLS 1.3 it refuses a client's certificate only after its own handshake has ended.
            E::AlertReceived(_) => {
                "refuses the TLS connection: if the user has a client certificate, look whether it is that of this cluster and has not expired"
            }
            _ => "cannot agree on TLS with us",
        };
        let fault = Fault::before(Stage::Handshake, what);
        Fault { may_be_heard: !connects, ..fault }
    }
}
