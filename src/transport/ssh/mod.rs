//! SSH with russh: one connection a host, one channel at a time, strict about the host's key, a deadline for each step.

pub mod auth;
pub mod keyring;
pub mod known_hosts;
mod leash;
pub mod route;
mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, Handle, Msg, Session};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyBase64};
use russh::{Channel, Preferred, cipher, compression, kex, mac};
use tokio::net::{TcpStream, lookup_host};

use super::{Connector, Trouble};
use crate::model::text::sanitize;
use crate::model::{Host, Stage};
use auth::Keys;
use known_hosts::{KnownHosts, Trust};
use leash::{Leashed, leash};
use route::{Endpoint, Route, Via};
pub use session::SshSession;

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Looking the name up.
    pub resolve: Duration,
    /// TCP, all addresses together.
    pub connect: Duration,
    /// Banner and key exchange.
    pub handshake: Duration,
    /// Authentication, all keys together.
    pub authenticate: Duration,
}

/// Reaches hosts over SSH.
pub struct Ssh {
    /// The way to each host, by its name in the inventory.
    pub routes: HashMap<String, Arc<Route>>,
    /// How long each step may take.
    pub deadlines: Deadlines,
}

impl Ssh {
    /// Reaches hosts as the inventory alone has them: over TCP, with the same keys and known_hosts for all, without ssh_config.
    pub fn direct(hosts: &[Host], keys: Arc<Keys>, known_hosts: KnownHosts, deadlines: Deadlines) -> Self {
        let route = |host: &Host| Arc::new(Route { via: Via::Direct, end: Endpoint::of(host, keys.clone(), known_hosts.clone()) });
        Ssh { routes: hosts.iter().map(|h| (h.name.clone(), route(h))).collect(), deadlines }
    }
}

impl Connector for Ssh {
    type Session = SshSession;

    async fn connect(&self, host: &Host) -> Result<SshSession, Trouble> {
        let end = &self.routes.get(&host.name).expect("every host of the run was given a route").end;
        let socket = self.dial(end).await?;
        let (leash, socket) = leash(socket);
        let mut handle = self.handshake(end, socket).await?;
        let late = || Trouble::new(Stage::Authenticate, format!("no answer within {} s", self.deadlines.authenticate.as_secs()));
        tokio::time::timeout(self.deadlines.authenticate, end.keys.authenticate(&mut handle, &end.user)).await.map_err(|_| late())??;
        Ok(SshSession::new(handle, leash))
    }
}

impl Ssh {
    async fn dial(&self, end: &Endpoint) -> Result<TcpStream, Trouble> {
        let address = &end.address;
        let seconds = |d: Duration| d.as_secs();
        let resolve = tokio::time::timeout(self.deadlines.resolve, lookup_host((address.host.as_str(), address.port))).await;
        let found: Vec<_> = match resolve {
            Err(_) => return Err(Trouble::new(Stage::Resolve, format!("the name server gave no answer within {} s", seconds(self.deadlines.resolve)))),
            Ok(Err(_)) => return Err(Trouble::new(Stage::Resolve, "the name is not known; check the spelling, or give the host an `address:`")),
            Ok(Ok(found)) => found.collect(),
        };
        let dial = async {
            let mut last = "the name has no address".to_string();
            for one in found {
                match TcpStream::connect(one).await {
                    Ok(socket) => return Ok(socket),
                    Err(e) => last = io_reason(&e),
                }
            }
            Err(Trouble::new(Stage::Connect, last))
        };
        let late = || Trouble::new(Stage::Connect, format!("no answer within {} s", seconds(self.deadlines.connect)));
        let socket = tokio::time::timeout(self.deadlines.connect, dial).await.map_err(|_| late())??;
        // Without it each small packet waits for the last one's acknowledgement: a round trip.
        let _ = socket.set_nodelay(true);
        Ok(socket)
    }

    async fn handshake(&self, end: &Endpoint, socket: Leashed) -> Result<Handle<Guard>, Trouble> {
        let trust = end.known_hosts.trust(end);
        let preferred = preferred(&trust);
        let refused: Arc<Mutex<Option<String>>> = Arc::default();
        let guard = Guard { trust, refused: refused.clone() };
        let config = Arc::new(client::Config { preferred, nodelay: true, ..Default::default() });
        let reason = move |text: String| refused.lock().ok().and_then(|mut r| r.take()).unwrap_or(text);
        match tokio::time::timeout(self.deadlines.handshake, client::connect_stream(config, socket, guard)).await {
            Err(_) => Err(Trouble::new(Stage::Handshake, format!("no answer within {} s", self.deadlines.handshake.as_secs()))),
            Ok(Err(e)) => Err(Trouble::new(Stage::Handshake, reason(ssh_reason(&e)))),
            Ok(Ok(handle)) => Ok(handle),
        }
    }
}

/// Judges the host's key, and refuses every channel that the host would open: russh accepts them unless told otherwise, and
/// each costs memory. A reply that is dropped is a refusal.
pub struct Guard {
    trust: Trust,
    refused: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Guard {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &russh::keys::PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let verdict = match offered {
            russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } => self.trust.judge(key.algorithm().as_str(), &key.public_key_base64()),
            russh::keys::PublicKeyOrCertificate::Certificate(_) => Err("the host offers a certificate; regprov reads plain host keys only".to_string()),
        };
        Ok(verdict.map_err(|why| *self.refused.lock().expect("nothing panics while it holds this lock") = Some(why)).is_ok())
    }

    async fn server_channel_open_session(&mut self, _: Channel<Msg>, _: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(&mut self, _: Channel<Msg>, _: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(&mut self, _: Channel<Msg>, _: &str, _: u32, _: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(&mut self, _: Channel<Msg>, _: &str, _: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(&mut self, _: Channel<Msg>, _: &str, _: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// The algorithms we offer, host keys that we know first, so that the host shows one that can be judged. No SHA-1.
pub fn preferred(trust: &Trust) -> Preferred {
    let mut keys = vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    let known = trust.algorithms();
    keys.sort_by_key(|a| {
        let plain = if a.clone().is_rsa() { "ssh-rsa".to_string() } else { a.as_str().to_string() };
        !known.contains(&plain)
    });
    Preferred {
        kex: vec![
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::ECDH_SHA2_NISTP256,
            kex::ECDH_SHA2_NISTP384,
            kex::ECDH_SHA2_NISTP521,
            kex::DH_GEX_SHA256,
            kex::DH_G16_SHA512,
            kex::DH_G14_SHA256,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
        ]
        .into(),
        key: keys.into(),
        cipher: vec![cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR].into(),
        mac: vec![mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512].into(),
        compression: vec![compression::NONE].into(),
        ..Preferred::default()
    }
}

/// The operating system's reason without Rust's `(os error N)`.
fn io_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    sanitize(text.split(" (os error").next().unwrap_or(&text)).to_lowercase()
}

/// russh's reason, for a person. What the peer said in it is data.
fn ssh_reason(error: &russh::Error) -> String {
    match error {
        russh::Error::IO(e) => format!("the connection broke: {}", io_reason(e)),
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::SendError | russh::Error::RecvError => "the host closed the connection".to_string(),
        russh::Error::NoCommonAlgo { kind, .. } => format!("regprov and the host share no {} algorithm", format!("{kind:?}").to_lowercase()),
        other => sanitize(&other.to_string()),
    }
}
