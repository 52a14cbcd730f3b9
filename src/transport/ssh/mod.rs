//! SSH with russh: one connection a host, one channel at a time, strict about the host's key, a deadline for each step.

mod agent;
pub mod auth;
pub mod command;
pub mod config;
mod host_certificate;
mod jump;
mod keyfile;
pub mod keyring;
pub mod known_hosts;
mod leash;
pub mod openssh;
pub mod password;
mod patience;
mod quick;
pub mod route;
pub mod scan;
mod session;
mod starting;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, Handle, Msg, Session};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyBase64};
use russh::{Channel, Preferred, cipher, compression, kex, mac};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;

use super::clock::{Clock, since_1970};
use super::{Connector, Trouble};
use crate::model::text::sanitize;
use crate::model::{Address, Host, Stage};
use auth::Keys;
use command::{Commands, Said};
use jump::Bastions;
use known_hosts::{KnownHosts, Trust};
use leash::{Leash, Leashed, Stream, leash};
use password::{Asking, Role};
use patience::{Again, Patience, Setback};
use quick::Quick;
use route::{Endpoint, Route, Via};
pub use session::SshSession;
use starting::{Server, Starting};

/// How often a jump host that says nothing is asked whether it is still there; after three silent answers its connection has gone.
const KEEPALIVE: Duration = Duration::from_secs(10);

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
    routes: HashMap<String, Arc<Route>>,
    /// How long each step may take.
    deadlines: Deadlines,
    starting: Starting,
    bastions: Bastions,
    commands: Commands,
    /// What is given beside keys; nothing at first.
    pub asking: Asking,
}

/// Handshakes at once with one server where nobody says another number (sshd's MaxStartups begins to drop at 10, and pauses between
/// retries let the rest through).
pub const STARTING: usize = 30;

impl Ssh {
    /// Reaches hosts over these routes, by their names, with at most `starting` handshakes at once with one server.
    pub fn new(routes: HashMap<String, Arc<Route>>, deadlines: Deadlines, starting: usize) -> Self {
        let (bastions, commands, asking) = (Bastions::default(), Commands::default(), Asking::default());
        Ssh { routes, deadlines, starting: Starting::new(starting), bastions, commands, asking }
    }

    /// Reaches hosts as the inventory alone has them: over TCP, with the same keys and known_hosts for all, without ssh_config.
    pub fn direct(hosts: &[Host], keys: Arc<Keys>, known_hosts: KnownHosts, deadlines: Deadlines) -> Self {
        let route = |host: &Host| Arc::new(Route { via: Via::Direct, end: Endpoint::of(host, keys.clone(), known_hosts.clone()) });
        Ssh::new(hosts.iter().map(|h| (h.name.clone(), route(h))).collect(), deadlines, STARTING)
    }
}

impl Connector for Ssh {
    type Session = SshSession;

    async fn connect(&self, host: &Host, clock: &Arc<Clock>) -> Result<SshSession, Trouble> {
        let route = self.routes.get(&host.name).expect("every host of the run was given a route");
        let (handle, leash) = self.log_in(route, Role::Host, clock).await?;
        Ok(SshSession::new(handle, leash))
    }

    fn halted(&self) -> Option<String> {
        self.asking.password.as_ref().and_then(|gate| gate.refused())
    }

    fn login(&self, host: &Host) -> String {
        self.routes.get(&host.name).expect("every host of the run was given a route").end.user.clone()
    }
}

type LoggedIn = (Handle<Guard>, Leash);

/// A way that has been gone, before anything of SSH.
struct Opened {
    socket: Box<dyn Stream>,
    /// What a proxy command says beside it.
    said: Option<Said>,
    /// Held until the server has let us in: what is not yet authenticated is what MaxStartups counts.
    turn: OwnedSemaphorePermit,
}

impl Ssh {
    /// Goes a route to its end and logs in there. What a busy server does (refusing, closing before its version line) is tried again
    /// while the connect deadline lasts; a time-out, a host key and an authentication are not. Boxed, since a route may lead through another.
    fn log_in<'a>(&'a self, route: &'a Arc<Route>, role: Role, clock: &'a Clock) -> Pin<Box<dyn Future<Output = Result<LoggedIn, Trouble>> + Send + 'a>> {
        Box::pin(async move {
            let addresses = self.addresses(route).await?;
            let mut patience = Patience::new(self.connect_deadline(&route.end));
            loop {
                match self.try_once(route, role, &addresses, &mut patience, clock).await {
                    Ok(logged_in) => return Ok(logged_in),
                    Err(setback) => patience.wait_or_give_up(setback).await?,
                }
            }
        })
    }

    async fn try_once(&self, route: &Arc<Route>, role: Role, addresses: &[SocketAddr], patience: &mut Patience, clock: &Clock) -> Result<LoggedIn, Setback> {
        let end = &route.end;
        let Opened { socket, said, turn: _turn } = self.open(route, addresses, patience, clock).await?;
        let room = if role == Role::Host { leash::CONNECTION_BYTES_MAX } else { leash::NO_LIMIT };
        let (leash, socket) = leash(socket, room);
        let mut handle = match self.handshake(end, role, socket, &leash).await {
            Ok(handle) => handle,
            Err(setback) => {
                return Err(match said {
                    Some(said) => said.explain(setback).await,
                    None => setback,
                });
            }
        };
        end.keys.authenticate(&mut handle, end, role, &self.asking, clock, self.deadlines.authenticate).await?;
        Ok((handle, leash))
    }

    /// What the end's name stands for, where it is we who look it up.
    async fn addresses(&self, route: &Route) -> Result<Vec<SocketAddr>, Trouble> {
        match route.via {
            Via::Direct => self.resolve(&route.end).await,
            Via::Command(_) | Via::Jump(_) => Ok(Vec::new()),
        }
    }

    /// The bytes to and from the end of a route.
    async fn open(&self, route: &Route, addresses: &[SocketAddr], patience: &mut Patience, clock: &Clock) -> Result<Opened, Setback> {
        let end = &route.end;
        Ok(match &route.via {
            Via::Direct => {
                let (turn, socket) = self.dial(addresses, patience).await?;
                Opened { turn, socket: Box::new(Quick::new(socket)), said: None }
            }
            Via::Command(line) => {
                let turn = self.starting.turn(Server::OfCommands).await;
                patience.begin();
                let (pipes, said) = self.commands.run(line, end, patience).await?;
                Opened { turn, socket: Box::new(pipes), said: Some(said) }
            }
            Via::Jump(bastion) => {
                let turn = self.starting.turn(Server::Forwarded(end.address.host.clone())).await;
                Opened { turn, socket: Box::new(self.forward(bastion, &end.address, patience, clock).await?), said: None }
            }
        })
    }

    /// Ours, or ssh_config's where that is shorter.
    fn connect_deadline(&self, end: &Endpoint) -> Duration {
        end.connect.map_or(self.deadlines.connect, |theirs| theirs.min(self.deadlines.connect))
    }

    async fn resolve(&self, end: &Endpoint) -> Result<Vec<SocketAddr>, Trouble> {
        let Address { host, port } = &end.address;
        let late = || Trouble::new(Stage::Resolve, format!("the name server gave no answer within {} s", self.deadlines.resolve.as_secs()));
        let found = tokio::time::timeout(self.deadlines.resolve, lookup_host((host.as_str(), *port))).await.map_err(|_| late())?;
        match found.map(Iterator::collect::<Vec<_>>) {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => Err(Trouble::new(Stage::Resolve, "the name is not known; check the spelling, or give the host an `address:`")),
        }
    }

    /// Tries the addresses one after another.
    async fn dial(&self, addresses: &[SocketAddr], patience: &mut Patience) -> Result<(OwnedSemaphorePermit, TcpStream), Setback> {
        let mut last = None;
        for address in addresses {
            let turn = self.starting.turn(Server::At(address.ip())).await;
            if last.is_none() {
                patience.begin();
            }
            match tokio::time::timeout(patience.left(), TcpStream::connect(address)).await {
                Err(_) => return Err(Trouble::new(Stage::Connect, format!("no answer within {} s", patience.total.as_secs())).into()),
                Ok(Ok(socket)) => return Ok((turn, socket)),
                Ok(Err(e)) => last = Some(e),
            }
        }
        let error = last.expect("a name that was found has an address");
        let again = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset).then_some(Again::Refused);
        Err(Setback { trouble: Trouble::new(Stage::Connect, io_reason(&error)), again })
    }

    async fn handshake(&self, end: &Endpoint, role: Role, socket: Leashed<Box<dyn Stream>>, leash: &Leash) -> Result<Handle<Guard>, Setback> {
        let trust = end.known_hosts.trust(end);
        let preferred = preferred(&trust);
        let refused: Arc<Mutex<Option<String>>> = Arc::default();
        let guard = Guard { trust, refused: refused.clone() };
        // A jump host that has gone without a word takes everything behind it along; a host of its own has its deadlines.
        let keepalive_interval = (role == Role::Bastion).then_some(KEEPALIVE);
        let usual = client::Config::default();
        let window_size = if role == Role::Bastion { jump::WINDOW_BYTES } else { usual.window_size };
        let config = Arc::new(client::Config { preferred, nodelay: true, keepalive_interval, window_size, ..usual });
        let trouble = |why: String| Trouble::new(Stage::Handshake, why);
        match tokio::time::timeout(self.deadlines.handshake, client::connect_stream(config, socket, guard)).await {
            Err(_) => Err(trouble(format!("no answer within {} s", self.deadlines.handshake.as_secs())).into()),
            Ok(Err(e)) => match (refused.lock().ok().and_then(|mut r| r.take()), leash.before_version()) {
                (Some(why), _) => Err(trouble(why).into()),
                (None, Some(words)) => Err(closed_early(&words)),
                (None, None) => Err(trouble(ssh_reason(&e)).into()),
            },
            Ok(Ok(handle)) => Ok(handle),
        }
    }
}

/// A connection that the server closed before its version line, with what it said instead.
fn closed_early(words: &str) -> Setback {
    // sshd.c drop_connection: nothing until 8.4, then the first, since 9.8 the second.
    let busy = ["", "Exceeded MaxStartups", "Not allowed at this time"].contains(&words.trim());
    let said = if words.trim().is_empty() { String::new() } else { format!("; it said: {}", sanitize(words)) };
    let why = if busy { " (its sshd has too many logins under way, see MaxStartups, or does not want ours)" } else { "" };
    let reason = format!("the host closed the connection before its version line{why}{said}");
    Setback { trouble: Trouble::new(Stage::Handshake, reason), again: busy.then_some(Again::Dropped) }
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
            russh::keys::PublicKeyOrCertificate::Certificate(certificate) => self.trust.judge_certificate(certificate, since_1970().as_secs()),
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
    // Certificates come before all keys, and where they do not count, the key in them is judged: as ssh does.
    let host_key_certificates = if trust.has_authority() { keys.clone() } else { Vec::new() };
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
        host_key_certificates: host_key_certificates.into(),
        cipher: vec![cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR].into(),
        mac: vec![mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512].into(),
        compression: vec![compression::NONE].into(),
    }
}

/// The operating system's reason without Rust's `(os error N)`.
fn io_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = sanitize(text.split(" (os error").next().unwrap_or(&text));
    // It goes on a sentence.
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
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
