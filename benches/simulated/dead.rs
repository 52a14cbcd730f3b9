//! A fleet of which three in ten are dead: `--dead`. One run over 1,000 endpoints, 100 of them drop every packet, 100 refuse, 50
//! accept and say nothing, 50 show another host key; `--forks 100`, deadlines of 10 s.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use regprov::model::{Outcome, Report};
use tokio::net::{TcpListener, TcpSocket};

use crate::{FORKS, Key, Peer, hosts, known_hosts, measure, push};

const ENDPOINTS: usize = 1_000;
const DEAD_FORKS: usize = 2 * FORKS;
/// What the run may take, and hold.
const WALL_SECONDS_MAX: f64 = 40.0;
const PEAK_MB_MAX: f64 = 300.0;

/// What a host is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    BlackHole,
    Refuses,
    SaysNothing,
    WrongKey,
}

impl Kind {
    /// Spread over the fleet: in each twenty, two drop packets, two refuse, one says nothing, one has a wrong key.
    fn of(i: usize) -> Kind {
        match i % 20 {
            0 | 10 => Kind::BlackHole,
            3 | 13 => Kind::Refuses,
            5 => Kind::SaysNothing,
            15 => Kind::WrongKey,
            _ => Kind::Good,
        }
    }

    /// Whether that is how such a host is to end.
    fn ended(self, outcome: &Outcome) -> bool {
        let told = match outcome.trouble() {
            Some((stage, reason)) => format!("{} {stage}: {reason}", outcome.name()),
            None => outcome.name().to_string(),
        };
        match self {
            Kind::Good => told == "changed",
            Kind::BlackHole => told == "unreachable connect: no answer within 10 s",
            Kind::Refuses => told.starts_with("unreachable connect: connection refused"),
            Kind::SaysNothing => told == "unreachable handshake: no answer within 10 s",
            Kind::WrongKey => told.starts_with("unreachable handshake: the host's key") && told.contains("is not the one in known_hosts"),
        }
    }
}

/// Listens at every address of the loopback device; what is not accepted waits in a queue of this length.
fn listen(backlog: u32) -> (TcpListener, u16) {
    let socket = TcpSocket::new_v4().expect("sockets can be made");
    socket.bind_device(Some(b"lo")).expect("a socket can be bound to the loopback device (Linux 5.7 or newer)");
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).expect("some port is free");
    let listener = socket.listen(backlog).expect("a bound socket can listen");
    let port = listener.local_addr().expect("a listening socket has an address").port();
    (listener, port)
}

/// Runs it, prints its figures, and demands that every host is named with the right reason.
pub(crate) fn run(runtime: &tokio::runtime::Runtime, key: &Key) {
    let _context = runtime.enter();
    let peer = Peer::start();
    // The kernel drops a SYN when the queue is full; one that waits in it says nothing.
    let (hole, hole_port) = listen(0);
    let mut queue = Vec::new();
    while let Ok(one) = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, hole_port)), Duration::from_millis(500)) {
        queue.push(one);
        assert!(queue.len() < 10, "the queue never fills");
    }
    let (silent, silent_port) = listen(1024);
    let closed_port = listen(1).1;
    let mut fleet = hosts(ENDPOINTS, peer.port);
    let known = known_hosts(&fleet, false);
    // Another host's key stands at the address of one with a wrong key.
    let lines: Vec<&[u8]> = known.split_inclusive(|b| *b == b'\n').collect();
    let key_of = |line: &[u8]| line[line.iter().position(|b| *b == b' ').expect("a line has a key")..].to_vec();
    let name_of = |line: &[u8]| line[..line.iter().position(|b| *b == b' ').expect("a line has a key")].to_vec();
    let known: Vec<u8> =
        (0..ENDPOINTS).flat_map(|i| [name_of(lines[i]), key_of(lines[if Kind::of(i) == Kind::WrongKey { i - 1 } else { i }])].concat()).collect();
    for (i, host) in fleet.iter_mut().enumerate() {
        host.port = match Kind::of(i) {
            Kind::BlackHole => Some(hole_port),
            Kind::Refuses => Some(closed_port),
            Kind::SaysNothing => Some(silent_port),
            Kind::Good | Kind::WrongKey => host.port,
        };
    }
    let mut report = Report::default();
    let figures = measure(|| report = runtime.block_on(push(fleet.clone(), &key.path, &known, DEAD_FORKS)));
    for (i, row) in report.hosts.iter().enumerate() {
        assert!(Kind::of(i).ended(&row.outcome), "{} is {:?} and ended {:?}", row.host, Kind::of(i), row.outcome);
    }
    let changed = report.hosts.iter().filter(|row| row.outcome == Outcome::Changed).count();
    println!("| endpoints | dead | changed | wall s | client CPU s | peak RSS MB |\n|---|---|---|---|---|---|");
    println!("| {ENDPOINTS} | {} | {changed} | {:.1} | {:.1} | {:.0} |", ENDPOINTS - changed, figures.wall, figures.cpu, figures.peak_mb);
    assert_eq!((report.hosts.len(), changed), (ENDPOINTS, 700));
    assert!(figures.wall <= WALL_SECONDS_MAX && figures.peak_mb < PEAK_MB_MAX, "it may take {WALL_SECONDS_MAX} s and {PEAK_MB_MAX} MB");
    drop((hole, queue, silent));
}

/// The hosts' kinds are what the run is about; this is a check of the numbers above.
pub(crate) fn self_test() {
    let count = |kind| (0..ENDPOINTS).filter(|i| Kind::of(*i) == kind).count();
    let kinds = [Kind::Good, Kind::BlackHole, Kind::Refuses, Kind::SaysNothing, Kind::WrongKey];
    assert_eq!(kinds.map(count), [700, 100, 100, 50, 50]);
}
