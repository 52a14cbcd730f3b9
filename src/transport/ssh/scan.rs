//! Which keys servers show, for `regprov trust`: as far as the key exchange, never further. Nobody is logged in to.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use russh::client;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyBase64 as _, PublicKeyOrCertificate};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::known_hosts::{Standing, Trust, fingerprint};
use super::leash::{self, leash};
use super::patience::Patience;
use super::route::{Route, Via};
use super::{Opened, Ssh, preferred, ssh_reason};
use crate::model::{HostKeyPin, Stage};
use crate::transport::Trouble;
use crate::transport::clock::{Clock, since_1970};

/// One server that was asked for its keys.
pub struct Scanned {
    /// What people call it.
    pub server: String,
    /// Whether it is on the way to others.
    pub on_the_way: bool,
    /// The name under which known_hosts has it, or would.
    pub known_as: String,
    /// Its keys, or why there are none.
    pub keys: Result<Vec<Shown>, Trouble>,
}

/// What is told while servers are asked.
pub enum ScanEvent {
    /// The turn of the server at this position came.
    Started(usize),
    /// The server at this position ended, with its keys or without.
    Ended(usize, bool),
}

/// One key that a server showed, or that the inventory pins.
pub struct Shown {
    /// Type and blob.
    pub key: HostKeyPin,
    /// `SHA256:...`
    pub fingerprint: String,
    /// What is known of it.
    pub standing: Standing,
}

/// The types of keys that are asked for, each over a connection of its own.
fn families() -> [Vec<Algorithm>; 3] {
    let ecdsa = [EcdsaCurve::NistP256, EcdsaCurve::NistP384, EcdsaCurve::NistP521];
    [
        vec![Algorithm::Ed25519],
        ecdsa.map(|curve| Algorithm::Ecdsa { curve }).to_vec(),
        [HashAlg::Sha512, HashAlg::Sha256].map(|h| Algorithm::Rsa { hash: Some(h) }).to_vec(),
    ]
}

impl Ssh {
    /// The servers that [`scan`](Self::scan) asks for these hosts, each once: those on the way to others first, and whether it is one.
    pub fn servers(&self, hosts: &[&str]) -> Vec<(Arc<Route>, bool)> {
        let mut servers: Vec<(Arc<Route>, bool)> = Vec::new();
        for host in hosts {
            let mut via = &self.routes.get(*host).expect("every host of the run was given a route").via;
            let mut way = Vec::new();
            while let Via::Jump(route) = via {
                way.push(route.clone());
                via = &route.via;
            }
            for route in way.into_iter().rev() {
                let same = |r: &Route| r.end.address == route.end.address && r.end.host_key_alias == route.end.host_key_alias;
                if !servers.iter().any(|(known, _)| same(known)) {
                    servers.push((route, true));
                }
            }
        }
        servers.extend(hosts.iter().map(|host| (self.routes[*host].clone(), false)));
        servers
    }

    /// Asks these servers for their keys, `forks` at a time, and tells `events` as it goes. In the order of `servers`.
    pub async fn scan(self: Arc<Self>, servers: Vec<(Arc<Route>, bool)>, forks: usize, events: mpsc::UnboundedSender<ScanEvent>) -> Vec<Scanned> {
        let mut scanned: Vec<Option<Scanned>> = servers.iter().map(|_| None).collect();
        let mut running = JoinSet::new();
        let mut waiting = servers.into_iter().enumerate();
        loop {
            while running.len() < forks.max(1)
                && let Some((index, (route, on_the_way))) = waiting.next()
            {
                let ssh = self.clone();
                // Whoever draws may have gone; the scan goes on.
                let _ = events.send(ScanEvent::Started(index));
                running.spawn(async move { (index, ssh.scan_one(&route, on_the_way).await) });
            }
            match running.join_next().await {
                Some(Ok((index, one))) => {
                    let _ = events.send(ScanEvent::Ended(index, one.keys.is_ok()));
                    scanned[index] = Some(one);
                }
                // A defect in one task; its server has no row, and the caller sees that it is missing.
                Some(Err(_)) => {}
                None => return scanned.into_iter().flatten().collect(),
            }
        }
    }

    async fn scan_one(&self, route: &Arc<Route>, on_the_way: bool) -> Scanned {
        let trust = route.end.known_hosts.trust(&route.end);
        let known_as = trust.name().unwrap_or_default().to_string();
        let keys = match &trust {
            Trust::Pinned(pins) => Ok(pins.iter().map(|key| shown(key.clone(), Standing::Pinned)).collect()),
            Trust::Known { .. } => self.shown_keys(route, &trust).await,
        };
        Scanned { server: route.end.name.clone(), on_the_way, known_as, keys }
    }

    async fn shown_keys(&self, route: &Arc<Route>, trust: &Trust) -> Result<Vec<Shown>, Trouble> {
        if trust.has_authority()
            && let Some(Seen { key, by_certificate: true }) = self.see(route, trust, preferred(trust)).await?
        {
            return Ok(vec![shown(key, Standing::ByCertificate)]);
        }
        let mut keys = Vec::new();
        for family in families() {
            let offer = russh::Preferred { key: Cow::Owned(family), host_key_certificates: Cow::Borrowed(&[]), ..preferred(trust) };
            if let Some(seen) = self.see(route, trust, offer).await? {
                keys.push(seen.key);
            }
        }
        if keys.is_empty() {
            return Err(Trouble::new(Stage::Handshake, "the host shows no key of a type that regprov knows"));
        }
        let known = keys.iter().any(|key| trust.judge(&key.algorithm, &key.base64).is_ok());
        Ok(keys.into_iter().map(|key| (trust.standing(&key, known), key)).map(|(standing, key)| shown(key, standing)).collect())
    }

    /// One key exchange; `None` where the server has no key of these types.
    async fn see(&self, route: &Arc<Route>, trust: &Trust, preferred: russh::Preferred) -> Result<Option<Seen>, Trouble> {
        let Opened { socket, turn: _turn, .. } = self.reach_end(route).await?;
        let (_leash, socket) = leash(socket, leash::CONNECTION_BYTES_MAX);
        let seen = Arc::default();
        let recorder = Recorder { trust: trust.clone(), seen: Arc::clone(&seen) };
        let config = Arc::new(client::Config { preferred, nodelay: true, ..Default::default() });
        let trouble = |why: String| Trouble::new(Stage::Handshake, why);
        let ended = tokio::time::timeout(self.deadlines.handshake, client::connect_stream(config, socket, recorder)).await;
        let ended = ended.map_err(|_| trouble(format!("no answer within {} s", self.deadlines.handshake.as_secs())))?;
        if let Some(seen) = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            return Ok(Some(seen));
        }
        match ended {
            Err(russh::Error::NoCommonAlgo { kind: russh::AlgorithmKind::Key, .. }) => Ok(None),
            Err(e) => Err(trouble(ssh_reason(&e))),
            Ok(_) => Err(trouble("the host showed no key".to_string())),
        }
    }

    /// Goes a route to its end, and tries again as a log-in does.
    async fn reach_end(&self, route: &Route) -> Result<Opened, Trouble> {
        let addresses = self.addresses(route).await?;
        let mut patience = Patience::new(self.connect_deadline(&route.end));
        loop {
            match self.open(route, &addresses, &mut patience, &Clock::default()).await {
                Ok(opened) => return Ok(opened),
                Err(setback) => patience.wait_or_give_up(setback).await?,
            }
        }
    }
}

fn shown(key: HostKeyPin, standing: Standing) -> Shown {
    Shown { fingerprint: fingerprint(&key.base64), key, standing }
}

/// What one key exchange showed.
struct Seen {
    key: HostKeyPin,
    by_certificate: bool,
}

/// Notes the key and refuses it, so that nothing comes after it.
struct Recorder {
    trust: Trust,
    seen: Arc<Mutex<Option<Seen>>>,
}

impl client::Handler for Recorder {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let key = offered.public_key();
        let by_certificate = offered.certificate().is_some_and(|c| self.trust.judge_certificate(c, since_1970().as_secs()).is_ok());
        let key = HostKeyPin { algorithm: plain_name(&key.algorithm()), base64: key.public_key_base64() };
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Seen { key, by_certificate });
        Ok(false)
    }
}

/// The type as known_hosts names it.
fn plain_name(algorithm: &Algorithm) -> String {
    if algorithm.clone().is_rsa() { "ssh-rsa".to_string() } else { algorithm.as_str().to_string() }
}
