//! Hosts behind jump hosts, and hosts whose server is busy, in this process: one connection to a jump host serves all behind it, what it
//! refuses is named, and one bad host behind it leaves the others alone.

#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/hosts.rs"]
mod hosts;

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use embedded::{Fault, Fleet};
use hosts::{host, logins, told};
use regprov::format::MergeOptions;
use regprov::model::{Address, Event, Host, HostKeyPin, Pace, Report, TargetKind};
use regprov::push::{Push, PushOptions, push_all};
use regprov::transport::ssh::auth::Keys;
use regprov::transport::ssh::keyring::KeySources;
use regprov::transport::ssh::known_hosts::KnownHosts;
use regprov::transport::ssh::route::{Endpoint, Route, Via};
use regprov::transport::ssh::{Deadlines, STARTING, Ssh};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use tokio::sync::{mpsc, watch};

const SECOND: Duration = Duration::from_secs(1);

/// Servers with faults, the first of which are jump hosts in most tests.
struct Bed {
    dir: tempfile::TempDir,
    keys: Arc<Keys>,
    fleet: Fleet,
    pin: HostKeyPin,
    starting: usize,
}

impl Bed {
    async fn new(faults: &[Fault]) -> Bed {
        let dir = tempfile::Builder::new().prefix("jump").tempdir().unwrap();
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[6; 32]));
        let file = dir.path().join("id");
        fs::write(&file, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        let fleet = embedded::start(key.public_key().clone(), faults).await.unwrap();
        let keys = Arc::new(Keys::load(&KeySources::only(&[file]), &mut |_| None).await.unwrap());
        let line = fleet.host_key_line();
        let (algorithm, base64) = line.split_once(' ').unwrap();
        let pin = HostKeyPin { algorithm: algorithm.into(), base64: base64.into() };
        Bed { dir, keys, fleet, pin, starting: STARTING }
    }

    fn end(&self, name: &str, at: SocketAddr) -> Endpoint {
        Endpoint {
            name: name.to_string(),
            address: Address { host: at.ip().to_string(), port: at.port() },
            host_keys: vec![self.pin.clone()],
            ..Endpoint::of(&Host::named(name), self.keys.clone(), KnownHosts::default())
        }
    }

    /// Server `i` as a jump host.
    fn bastion(&self, i: usize, via: Via) -> Arc<Route> {
        Arc::new(Route { via, end: self.end(&format!("bastion{i}"), self.fleet.nodes[i]) })
    }

    /// Writes one login to each host, and returns how that ended and how long it took.
    async fn push(&self, routes: Vec<Route>) -> (Report, Duration) {
        self.push_telling(routes, mpsc::unbounded_channel().0).await
    }

    /// The same, and tells what happens.
    async fn push_telling(&self, routes: Vec<Route>, events: mpsc::UnboundedSender<Event>) -> (Report, Duration) {
        let hosts: Vec<Host> = routes
            .iter()
            .map(|route| {
                let root = self.dir.path().join(&route.end.name);
                fs::create_dir_all(root.join("root")).unwrap();
                fs::create_dir_all(root.join("var/lib")).unwrap();
                host(&route.end.name, &root, &[(TargetKind::Docker, "/root/.docker/config.json")])
            })
            .collect();
        let deadlines = Deadlines { resolve: SECOND, connect: SECOND * 3, handshake: SECOND * 2, authenticate: SECOND * 2 };
        let routes: HashMap<String, Arc<Route>> = routes.into_iter().map(|r| (r.end.name.clone(), Arc::new(r))).collect();
        let connector = Ssh::new(routes, deadlines, self.starting);
        let options = PushOptions {
            forks: 100,
            pace: Pace::default(),
            check: false,
            merge: MergeOptions::default(),
            inventory_id: "test".into(),
            pull_test: None,
            command: SECOND * 5,
            host: SECOND * 20,
        };
        let push = Arc::new(Push { connector, logins: logins("x"), options });
        let (_keep, stop) = watch::channel(false);
        let start = Instant::now();
        (push_all(push, hosts, stop, events).await, start.elapsed())
    }

    /// Servers from `first` on, as hosts behind a jump host.
    fn behind(&self, bastion: &Arc<Route>, first: usize) -> Vec<Route> {
        let nodes = self.fleet.nodes.iter().enumerate().skip(first);
        nodes.map(|(i, at)| Route { via: Via::Jump(bastion.clone()), end: self.end(&format!("n{i}"), *at) }).collect()
    }

    fn connections(&self, i: usize) -> usize {
        self.fleet.connections[i].load(Ordering::Relaxed)
    }
}

#[track_caller]
fn all(report: &Report, want: &str) {
    for row in &report.hosts {
        assert_eq!(told(row), want, "{}", row.host);
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_behind_a_jump_host_share_one_connection_to_it() {
    let bed = Bed::new(&[Fault::None; 33]).await;
    let bastion = bed.bastion(0, Via::Direct);
    let (report, _) = bed.push(bed.behind(&bastion, 1)).await;
    all(&report, "changed");
    assert_eq!(bed.connections(0), 1);
    assert!((1..33).all(|i| bed.connections(i) == 1), "one login a host");
    let start = Instant::now();
    while bed.fleet.open.load(Ordering::Relaxed) > 0 {
        assert!(start.elapsed() < SECOND * 3, "a connection outlives the run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jump_hosts_chain() {
    let bed = Bed::new(&[Fault::None; 8]).await;
    let outer = bed.bastion(0, Via::Direct);
    let inner = bed.bastion(1, Via::Jump(outer.clone()));
    let mut routes = bed.behind(&inner, 2);
    routes[0].via = Via::Jump(outer);
    let (report, _) = bed.push(routes).await;
    all(&report, "changed");
    assert_eq!((bed.connections(0), bed.connections(1)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_jump_host_refuses_is_named() {
    for (fault, want) in [
        (Fault::ForwardsNothing, "unreachable connect: through bastion0: it does not forward to 127.0.0.1:"),
        (Fault::ForwardsAtMost(0), "unreachable connect: through bastion0: it takes no further channel, on 8 connections"),
        (Fault::DenyAuthentication, "unreachable authenticate: through bastion0: the host lets root in with none of these keys"),
        (Fault::StallBanner, "unreachable handshake: through bastion0: no answer within 2 s"),
        (Fault::StallAuthentication, "unreachable authenticate: through bastion0: no answer within 2 s"),
    ] {
        let bed = Bed::new(&[&[fault][..], &[Fault::None; 20]].concat()).await;
        let bastion = bed.bastion(0, Via::Direct);
        let (report, took) = bed.push(bed.behind(&bastion, 1)).await;
        for row in &report.hosts {
            assert!(told(row).starts_with(want), "{fault:?}: {}", told(row));
        }
        assert!(took < SECOND * 3, "{fault:?}: all hear of it when the first does, not one after another: {took:?}");
        let tried = if matches!(fault, Fault::ForwardsAtMost(_)) { 8 } else { 1 };
        assert!(bed.connections(0) == tried, "{fault:?}: {} connections", bed.connections(0));
    }

    let bed = Bed::new(&[Fault::None, Fault::None]).await;
    let bastion = bed.bastion(0, Via::Direct);
    let mut routes = bed.behind(&bastion, 1);
    routes.push(Route { via: Via::Jump(bastion), end: bed.end("gone", free_port()) });
    let (report, _) = bed.push(routes).await;
    assert_eq!(told(&report.hosts[0]), "changed");
    let gone = told(&report.hosts[1]);
    assert!(gone.starts_with("unreachable connect: through bastion0: it cannot connect to 127.0.0.1:") && gone.ends_with(", also when tried again"), "{gone}");

    // Another key than the pinned one: nobody logs in there.
    let mut end = bed.end("bastion0", bed.fleet.nodes[0]);
    end.host_keys[0].base64 = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f".into();
    let (report, _) = bed.push(bed.behind(&Arc::new(Route { via: Via::Direct, end }), 1)).await;
    let got = told(&report.hosts[0]);
    assert!(got.starts_with("unreachable handshake: through bastion0: the host shows another key than the inventory's"), "{got}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_host_short_of_channels_gets_another_connection() {
    let bed = Bed::new(&[&[Fault::ForwardsAtMost(6)][..], &[Fault::None; 20]].concat()).await;
    let bastion = bed.bastion(0, Via::Direct);
    let (report, _) = bed.push(bed.behind(&bastion, 1)).await;
    all(&report, "changed");
    assert_eq!(bed.connections(0), 4, "20 channels, 6 on each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_host_that_leaves_is_connected_to_again() {
    let bed = Bed::new(&[&[Fault::LeavesAfter(0)][..], &[Fault::None; 10]].concat()).await;
    let bastion = bed.bastion(0, Via::Direct);
    let (report, _) = bed.push(bed.behind(&bastion, 1)).await;
    all(&report, "changed");
    assert_eq!(bed.connections(0), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_hosts_behind_a_jump_host_leave_the_others_alone() {
    let bad = [Fault::NoWindow, Fault::EndlessOutput, Fault::EndlessErrors, Fault::StallKeyExchange, Fault::Trickle, Fault::EndlessBanner];
    let bed = Bed::new(&[&[Fault::None][..], &[Fault::None; 58], &bad].concat()).await;
    let bastion = bed.bastion(0, Via::Direct);
    let (events, mut heard) = mpsc::unbounded_channel();
    let (report, took) = bed.push_telling(bed.behind(&bastion, 1), events).await;
    for (i, row) in report.hosts.iter().enumerate() {
        assert_eq!(told(row) == "changed", i < 58, "{}: {}", row.host, told(row));
    }
    // No good host waited for the one that reads nothing, and is given up after 5 s.
    let mut ended = Vec::new();
    while let Ok(event) = heard.try_recv() {
        if let Event::Ended { index, .. } = event {
            ended.push(index);
        }
    }
    let deaf = ended.iter().position(|i| *i == 58).expect("every host ends");
    assert!((0..58).all(|good| ended[..deaf].contains(&good)), "{ended:?}");
    // Every host has 20 s in all. Within them the good ones kept each step's few seconds, or they would not be changed.
    assert!(took < SECOND * 21, "{took:?}");
    assert_eq!(bed.connections(0), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drops_connections_is_tried_again() {
    let drops = |words| Fault::DropsFirst(4, words);
    let for_ever = |words| Fault::DropsFirst(usize::MAX, words);
    let bed = Bed::new(&[
        drops(""),
        drops("Exceeded MaxStartups\r\n"),
        drops("Not allowed at this time\r\n"),
        for_ever(""),
        for_ever("Exceeded MaxStartups\r\n"),
        for_ever("you are not welcome\r\n"),
    ])
    .await;
    let routes = bed.fleet.nodes.iter().enumerate().map(|(i, at)| Route { via: Via::Direct, end: bed.end(&format!("n{i}"), *at) }).collect();
    let (report, took) = bed.push(routes).await;
    for i in 0..3 {
        assert_eq!((told(&report.hosts[i]).as_str(), bed.connections(i)), ("changed", 5));
    }
    let busy = "unreachable handshake: the host closed the connection before its version line (its sshd has too many logins under way, see MaxStartups, or does not want ours)";
    assert_eq!(told(&report.hosts[3]), format!("{busy}, also when tried again"));
    assert_eq!(told(&report.hosts[4]), format!("{busy}; it said: Exceeded MaxStartups, also when tried again"));
    assert_eq!(
        (told(&report.hosts[5]).as_str(), bed.connections(5)),
        ("unreachable handshake: the host closed the connection before its version line; it said: you are not welcome", 1)
    );
    assert!(bed.connections(3) > 4 && took < SECOND * 4, "{} {took:?}", bed.connections(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_host_that_drops_connections_is_tried_again() {
    let bed = Bed::new(&[&[Fault::DropsFirst(3, "")][..], &[Fault::None; 10]].concat()).await;
    let bastion = bed.bastion(0, Via::Direct);
    let (report, _) = bed.push(bed.behind(&bastion, 1)).await;
    all(&report, "changed");
    assert_eq!(bed.connections(0), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_handshakes_at_once_are_enough() {
    let mut bed = Bed::new(&[Fault::None; 12]).await;
    bed.starting = 1;
    let routes = bed.fleet.nodes.iter().enumerate().map(|(i, at)| Route { via: Via::Direct, end: bed.end(&format!("n{i}"), *at) }).collect();
    let (report, _) = bed.push(routes).await;
    all(&report, "changed");
}
