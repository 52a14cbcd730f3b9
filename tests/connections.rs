//! Connections that never come to be, break, or fall silent, over the whole conversation: the host is told with the step at which it
//! happened, in time, and its file is what its row says.

#[path = "common/alone.rs"]
mod alone;
#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/relay.rs"]
mod relay;

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bed::{Bed, SECOND};
use embedded::Fault;
use hosts::told;
use regprov::model::{Host, Outcome};
use relay::{Cut, relay};

/// A port whose queue of connections is full, so that the kernel drops every further SYN.
struct BlackHole {
    at: SocketAddr,
    _queue: (TcpListener, Vec<TcpStream>),
}

impl BlackHole {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        // SAFETY: listen takes two numbers; on a socket that listens it changes the length of the queue.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let mut queue = Vec::new();
        while let Ok(one) = TcpStream::connect_timeout(&at, Duration::from_millis(300)) {
            queue.push(one);
            assert!(queue.len() < 10, "the queue never fills");
        }
        BlackHole { at, _queue: (listener, queue) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_drops_every_packet_ends_at_the_connect_deadline() {
    let bed = Bed::new(&[Fault::None; 2]).await;
    let hole = BlackHole::new();
    let hosts = [bed.host(0), Host { port: Some(hole.at.port()), ..bed.host(1) }, Host { name: "n2".into(), ..bed.host(1) }];
    let (report, took) = bed.push(hosts.to_vec()).await;
    let told: Vec<String> = report.hosts.iter().map(told).collect();
    assert_eq!(told, ["changed", "unreachable connect: no answer within 1 s", "changed"]);
    assert!(took < SECOND * 2, "{took:?}");
}

/// A resolver that is not there, one that says nothing, and names that need none.
#[test]
#[ignore = "needs unshare and ip"]
fn names_that_nobody_resolves_end_at_the_resolve_deadline() {
    if !alone::alone("names_that_nobody_resolves_end_at_the_resolve_deadline") {
        return;
    }
    alone::cover("/etc/resolv.conf", "nameserver 127.0.0.1\n");
    alone::cover("/etc/nsswitch.conf", "hosts: files dns\n");
    alone::cover("/etc/hosts", "127.0.0.1 known.example\n");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for silent in [false, true] {
            // Nobody reads what comes here.
            let _resolver = silent.then(|| UdpSocket::bind("127.0.0.1:53").unwrap());
            let bed = Bed::new(&[Fault::None; 2]).await;
            let named = |i: usize, name: &str| Host { address: Some(name.into()), ..bed.host(i) };
            let (report, took) = bed.push(vec![bed.host(0), named(1, "nowhere.example"), Host { name: "n2".into(), ..named(1, "known.example") }]).await;
            let told: Vec<String> = report.hosts.iter().map(told).collect();
            let want = match silent {
                true => "unreachable resolve: the name server gave no answer within 1 s",
                false => "unreachable resolve: the name is not known",
            };
            assert!(told[1].starts_with(want), "{told:?}");
            assert_eq!((told[0].as_str(), told[2].as_str()), ("changed", "changed"));
            assert!(took < SECOND * 2, "{took:?}");
        }
    });
    // A look-up that hangs is not waited for.
    runtime.shutdown_background();
}

/// Sixteen good hosts and eight dead ones of four kinds, eight at a time, by the program itself: the dead are named with their
/// reasons, and cost their deadlines once, not one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_of_which_a_third_is_dead() {
    let mut faults = vec![Fault::None; 24];
    faults[1] = Fault::StallBanner;
    faults[13] = Fault::StallBanner;
    let bed = Bed::new(&faults).await;
    bed.inventory(bed::PASSWORD);
    let hole = BlackHole::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = bed.dir.path().join("inventory.yml");
    let mut text = fs::read_to_string(&path).unwrap();
    let mut replace = |i: usize, from: &str, to: &str| {
        let line = text.lines().find(|l| l.starts_with(&format!("  n{i}: "))).unwrap().to_string();
        text = text.replace(&line, &line.replace(from, to));
    };
    // Two hosts at one address are one host, so each black hole has its own.
    let holes = [hole, BlackHole::new()];
    for (i, hole) in [4, 16].into_iter().zip(&holes) {
        replace(i, &format!("port: {}", bed.fleet.nodes[i].port()), &format!("port: {}", hole.at.port()));
    }
    replace(7, &format!("port: {}", bed.fleet.nodes[7].port()), &format!("port: {free}"));
    replace(19, &format!("port: {}", bed.fleet.nodes[19].port()), &format!("port: {free}, address: 127.0.0.2"));
    for i in [10, 22] {
        replace(i, "{port", "{host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f, port");
    }
    fs::write(&path, text).unwrap();
    let run = move || {
        let start = Instant::now();
        let flags = ["--forks", "8", "--connect-timeout", "2", "--handshake-timeout", "2", "--json"];
        (bed.run(&flags), start.elapsed(), bed)
    };
    let ((code, out, err), took, _bed) = tokio::task::spawn_blocking(run).await.unwrap();
    let report: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out} {err}"));
    for (i, row) in report["hosts"].as_array().unwrap().iter().enumerate() {
        let word = |key: &str| row[key].as_str().unwrap_or_default();
        let (outcome, stage, reason) = match i {
            4 | 16 => ("unreachable", "connect", "no answer within 2 s"),
            7 | 19 => ("unreachable", "connect", "connection refused"),
            1 | 13 => ("unreachable", "handshake", "no answer within 2 s"),
            10 | 22 => ("unreachable", "handshake", "the host shows another key than the inventory's"),
            _ => ("changed", "", ""),
        };
        assert!((word("outcome"), word("stage")) == (outcome, stage) && word("reason").starts_with(reason), "n{i}: {row}");
    }
    assert_eq!(code, 4);
    // One after the other, the four that say nothing would take 8 s.
    assert!(took < SECOND * 8, "{took:?}");
}

/// By then each side has sent all of key exchange and log-in.
const LOGGED_IN_BYTES: usize = 4000;

/// Cuts spread over a whole conversation, by what each side sent.
async fn cuts(each: usize, reset: bool) -> Vec<Cut> {
    let bed = Bed::new(&[Fault::None]).await;
    let (at, sent) = relay(bed.fleet.nodes[0], Cut { after: [usize::MAX; 2], reset }).await;
    let (report, _) = bed.push(vec![Host { port: Some(at.port()), ..bed.host(0) }]).await;
    assert_eq!(told(&report.hosts[0]), "changed");
    let whole = [0, 1].map(|side| sent[side].load(Ordering::Relaxed));
    assert!(whole[0] > 5000 && whole[1] > 2000, "{whole:?}");
    let from = |side: usize| {
        (0..each).map(move |i| {
            let mut after = [usize::MAX; 2];
            // Every second one among the first, where the steps until the log-in is over are a few hundred bytes each.
            let reach = if i % 2 == 0 { whole[side] } else { whole[side].min(LOGGED_IN_BYTES) };
            after[side] = reach * i / each;
            Cut { after, reset }
        })
    };
    from(0).chain(from(1)).collect()
}

/// All cuts at once, each on a host of its own, beside two good hosts.
async fn cut_everywhere(each: usize, reset: bool) {
    let cuts = cuts(each, reset).await;
    let mut bed = Bed::new(&vec![Fault::None; cuts.len() + 2]).await;
    bed.busy = true;
    let mut hosts = vec![bed.host(cuts.len()), bed.host(cuts.len() + 1)];
    for (i, cut) in cuts.iter().enumerate() {
        let (at, _) = relay(bed.fleet.nodes[i], *cut).await;
        hosts.insert(i, Host { port: Some(at.port()), ..bed.host(i) });
    }
    let (report, took) = bed.push(hosts).await;
    let mut ends = BTreeSet::new();
    for (i, row) in report.hosts.iter().enumerate() {
        let (cut, told) = (cuts.get(i), told(row));
        let written = bed.docker_file(i).exists();
        match &row.outcome {
            Outcome::Changed => assert!(written, "{cut:?}: {told}"),
            // The other end may be at work still; what is there is whole, since it was renamed.
            Outcome::Unknown { .. } => {}
            Outcome::Unreachable { .. } | Outcome::Failed { .. } => assert!(!written, "{cut:?}: {told}"),
            _ => panic!("{cut:?}: {told}"),
        }
        if written {
            assert!(fs::read_to_string(bed.docker_file(i)).unwrap().contains("index.docker.io"), "{cut:?}");
        }
        assert_eq!(row.outcome.trouble().is_none(), cut.is_none() || row.outcome == Outcome::Changed);
        ends.insert(told.split(": ").next().unwrap().to_string());
    }
    for end in ["changed", "unreachable handshake", "unreachable authenticate", "unknown replace"] {
        assert!(ends.contains(end), "nothing ended {end}: {ends:?}");
    }
    assert!(ends.iter().any(|end| end.starts_with("failed")), "{ends:?}");
    // The longest deadline of a step is that of a command, 3 s.
    assert!(took < SECOND * 6, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_anywhere_is_told_with_its_step() {
    cut_everywhere(36, true).await;
}

/// Half-open: the peer is gone and nothing says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_anywhere_ends_at_its_step_s_deadline() {
    cut_everywhere(24, false).await;
}

/// The most memory that a child of this process had resident so far, in KiB.
fn children_peak() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for one rusage, and all zeroes are a value of it.
    unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init().ru_maxrss
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_under_floods() {
    let run = async |faults: &[Fault]| {
        let bed = Bed::new(faults).await;
        bed.inventory(bed::PASSWORD);
        let run = tokio::task::spawn_blocking(move || (bed.run(&["--json"]), bed));
        let ((code, out, err), _bed) = run.await.unwrap();
        let report: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out} {err}"));
        (children_peak(), report["summary"]["changed"].as_u64().unwrap(), report["summary"]["total"].as_u64().unwrap())
    };
    let (before, changed, total) = run(&[Fault::None; 32]).await;
    assert_eq!((changed, total), (32, 32));
    let floods = [Fault::EndlessOutput, Fault::EndlessErrors, Fault::EndlessBanner, Fault::Repeats("@ tar\n"), Fault::Repeats("@ l "), Fault::Repeats("x")];
    let mut faults = floods.repeat(5);
    faults.extend([Fault::None; 2]);
    let (after, changed, total) = run(&faults).await;
    assert_eq!((changed, total), (2, 32));
    assert!(after < before + (48 << 10), "{before} KiB with good hosts, {after} KiB with floods");
}
