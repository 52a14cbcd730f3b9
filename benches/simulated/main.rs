//! Thousands of simulated nodes: `cargo bench --bench simulated [-- [--dead | [--hashed] [--runs R] [N...]]]`.
//!
//! The nodes are one SSH server in a second process (`peer.rs`) that speaks the node program's protocol and keeps each
//! node's files (`node.rs`). The client is this process: bare russh (log in, `true`, out) and regprov's own `push_all`
//! with a known_hosts of N lines, first and second run, by turns. Figures are of the client alone: wall, CPU (user and
//! system), and the most memory that was resident. `--hashed` hashes the names in known_hosts. `--dead` is another run: see
//! `dead.rs`.

#![allow(clippy::print_stdout, reason = "a benchmark tells its figures")]

mod dead;
mod node;
mod peer;

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use regprov::format::MergeOptions;
use regprov::model::{Event, Host, Login, Outcome, Registry, RemotePath, Report, Secret, Target, TargetKind, Username};
use regprov::push::{Logins, Push, PushOptions, push_all};
use regprov::transport::ssh::auth::Keys;
use regprov::transport::ssh::keyring::KeySources;
use regprov::transport::ssh::known_hosts::KnownHosts;
use regprov::transport::ssh::{Deadlines, Ssh};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyBase64 as _};
use russh::{ChannelMsg, Disconnect, client};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Hosts in flight, as `--forks` has it.
const FORKS: usize = 50;
/// As the program itself.
const WORKERS: usize = 2;
/// Files that a node holds after a first run: Docker, enroot, three and two of Singularity, the record.
const FILES: usize = 8;

/// What was asked for.
struct Arguments {
    sizes: Vec<usize>,
    runs: usize,
    hashed: bool,
    dead: bool,
}

/// One measurement.
#[derive(Clone, Copy)]
struct Figures {
    wall: f64,
    cpu: f64,
    peak_mb: f64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().expect("the runtime starts");
    if std::env::args().nth(1).as_deref() == Some("serve") {
        runtime.block_on(peer::serve());
        return;
    }
    node::self_test();
    let arguments = arguments();
    let key = Key::new();
    if arguments.dead {
        dead::self_test();
        dead::run(&runtime, &key);
        // A look-up or a connection that hangs is not waited for.
        runtime.shutdown_background();
        return;
    }
    println!("| nodes | what | wall s | of the floor | client CPU ms/node | peak RSS MB |\n|---|---|---|---|---|---|");
    for n in arguments.sizes {
        let (mut floor, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..arguments.runs {
            // A peer for each round, so that its nodes are new.
            let peer = Peer::start();
            let hosts = hosts(n, peer.port);
            floor.push(measure(|| runtime.block_on(bare(&hosts, &key.key))));
            let known = known_hosts(&hosts, arguments.hashed);
            for (figures, want) in [(&mut first, Outcome::Changed), (&mut second, Outcome::Unchanged)] {
                figures.push(measure(|| runtime.block_on(apply(hosts.clone(), &key.path, &known, &want))));
            }
            assert_eq!(runtime.block_on(count_files(&hosts[n - 1], &key.key)), FILES, "files on the last node");
        }
        let floor = median(floor);
        for (what, f) in [("bare russh", floor), ("regprov, first run", median(first)), ("regprov, second run", median(second))] {
            println!("| {n} | {what} | {:.2} | {:.2} | {:.2} | {:.0} |", f.wall, f.wall / floor.wall, f.cpu * 1e3 / n as f64, f.peak_mb);
        }
    }
}

fn arguments() -> Arguments {
    let mut out = Arguments { sizes: Vec::new(), runs: 3, hashed: false, dead: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // cargo bench adds it.
            "--bench" => {}
            "--dead" => out.dead = true,
            "--hashed" => out.hashed = true,
            "--runs" => out.runs = words.next().and_then(|r| r.parse().ok()).filter(|r| *r > 0).expect("--runs needs a number"),
            n => out.sizes.push(n.parse().ok().filter(|n| (1..=60_000).contains(n)).expect("a number of nodes, 60000 at most")),
        }
    }
    if out.sizes.is_empty() {
        out.sizes = vec![1_000, 10_000];
    }
    out
}

/// The process with the nodes; it ends with this value.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    fn start() -> Self {
        let this = std::env::current_exe().expect("a program knows where it is");
        let mut child = Command::new(this).arg("serve").stdout(Stdio::piped()).spawn().expect("the peer starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it was piped")).read_line(&mut line).expect("the peer tells its port");
        Peer { child, port: line.trim().parse().expect("the peer tells its port") }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our key, as a value and as a file.
struct Key {
    key: Arc<PrivateKey>,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Key {
    fn new() -> Self {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[9; 32]));
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let path = folder.path().join("id");
        std::fs::write(&path, key.to_openssh(LineEnding::LF).expect("the key has a text form")).expect("the key can be written");
        Key { key: Arc::new(key), path, _folder: folder }
    }
}

fn hosts(n: usize, port: u16) -> Vec<Host> {
    let root = RemotePath::parse("/").expect("a constant");
    let targets: Vec<Target> = [
        (TargetKind::Docker, "/root/.docker/config.json", &["gitlab", "hub", "ngc", "quay"][..]),
        (TargetKind::Enroot, "/etc/enroot/.credentials", &["gitlab", "hub", "ngc", "quay"]),
        (TargetKind::Singularity, "/etc/regprov", &["ngc"]),
    ]
    .into_iter()
    .map(|(kind, path, logins)| Target {
        logins: logins.iter().map(ToString::to_string).collect(),
        ..Target::at(kind, RemotePath::parse(path).expect("a constant"))
    })
    .collect();
    let host = |i: usize| Host {
        address: Some(Ipv4Addr::new(127, 2, (i / 250) as u8, (i % 250 + 1) as u8).to_string()),
        port: Some(port),
        root: root.clone(),
        groups: vec!["all".to_string()],
        targets: targets.clone(),
        ..Host::named(format!("n{i:05}"))
    };
    (0..n).map(host).collect()
}

fn logins() -> Logins {
    let pairs = [
        ("ngc", "nvcr.io", "$oauthtoken", "nvapi-FAKE"),
        ("hub", "docker.io", "bench", "dckr_pat_FAKE"),
        ("gitlab", "registry.example.com:5000", "ci", "glpat-FAKE"),
        ("quay", "quay.io", "org+robot", "FAKE"),
    ];
    let login = |(name, registry, username, prefix): (&str, &str, &str, &str)| Login {
        name: name.to_string(),
        registry: Registry::parse(registry).expect("a constant").0,
        username: Username::parse(username).expect("a constant"),
        password: Secret::new(format!("{prefix}-1-{}", "0123456789abcdef".repeat(4))),
        auth_hosts: Vec::new(),
        expires: None,
    };
    pairs.into_iter().map(|pair| (pair.0.to_string(), login(pair))).collect()
}

/// A known_hosts with a line for each host, as ssh writes them, or as `HashKnownHosts yes` has them.
fn known_hosts(hosts: &[Host], hashed: bool) -> Vec<u8> {
    let mut out = String::new();
    for (i, host) in hosts.iter().enumerate() {
        let key = peer::host_key(host.inventory_address().host.parse().expect("it was made from an address"));
        let key = format!("{} {}", key.algorithm().as_str(), key.public_key().public_key_base64());
        let name = format!("[{}]:{}", host.inventory_address().host, host.inventory_address().port);
        let name = if hashed {
            let salt: Vec<u8> = i.to_be_bytes().iter().cycle().take(20).copied().collect();
            let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(&salt).expect("HMAC takes keys of every length");
            mac.update(name.as_bytes());
            format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(mac.finalize().into_bytes()))
        } else {
            name
        };
        out += &format!("{name} {key}\n");
    }
    out.into_bytes()
}

/// A run whose hosts all come to the same.
async fn apply(hosts: Vec<Host>, key: &std::path::Path, known_hosts: &[u8], want: &Outcome) {
    let report = push(hosts, key, known_hosts, FORKS).await;
    for row in &report.hosts {
        assert!(row.outcome == *want, "{} is {:?} instead of {}", row.host, row.outcome, want.name());
    }
}

/// What `regprov apply` does once the inventory is open.
async fn push(hosts: Vec<Host>, key: &std::path::Path, known_hosts: &[u8], forks: usize) -> Report {
    let seconds = Duration::from_secs;
    let keys = Arc::new(Keys::load(&KeySources::only(&[key.to_path_buf()]), &mut |_| None).await.expect("the key was written by us"));
    let known_hosts = KnownHosts::parse(&[("known_hosts".to_string(), known_hosts.to_vec())]);
    let deadlines = Deadlines { resolve: seconds(5), connect: seconds(10), handshake: seconds(10), authenticate: seconds(10) };
    let options = PushOptions {
        forks,
        pace: Default::default(),
        check: false,
        merge: MergeOptions::default(),
        inventory_id: "bench".to_string(),
        pull_test: None,
        command: seconds(30),
        host: seconds(60),
    };
    let push = Arc::new(Push { connector: Ssh::direct(&hosts, keys, known_hosts, deadlines), logins: logins(), options });
    let (_stop, stopped) = watch::channel(false);
    let (sender, mut events) = mpsc::unbounded_channel();
    let drawn = tokio::spawn(async move {
        let mut ended = 0;
        while let Some(event) = events.recv().await {
            ended += usize::from(matches!(event, Event::Ended { .. }));
        }
        ended
    });
    let total = hosts.len();
    let report = push_all(push, hosts, stopped, sender).await;
    assert_eq!(drawn.await.expect("the counter does not panic"), total);
    // The recap is part of a run, and of its memory.
    let recap = regprov::ui::recap::recap(&report, regprov::ui::recap::Options::default());
    assert!(recap.ends_with('\n'));
    report
}

/// Logs in everywhere and runs `true`, with nothing else around russh: the floor.
async fn bare(hosts: &[Host], key: &Arc<PrivateKey>) {
    let config = Arc::new(client::Config { nodelay: true, ..Default::default() });
    let mut running = JoinSet::new();
    for host in hosts {
        if running.len() >= FORKS {
            running.join_next().await.expect("some are running").expect("no log-in panics");
        }
        let (config, key, at) = (config.clone(), key.clone(), (host.inventory_address().host.clone(), host.inventory_address().port));
        running.spawn(async move { drop(command(config, key, at, "true").await) });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("no log-in panics");
    }
}

async fn command(config: Arc<client::Config>, key: Arc<PrivateKey>, at: (String, u16), command: &str) -> Vec<u8> {
    let socket = TcpStream::connect((at.0.as_str(), at.1)).await.expect("the peer listens");
    let _ = socket.set_nodelay(true);
    let mut handle = client::connect_stream(config, socket, AnyKey).await.expect("the peer speaks SSH");
    let answer = handle.authenticate_publickey("root", PrivateKeyWithHashAlg::new(key, None)).await.expect("the peer answers");
    assert!(answer.success(), "the peer takes every key");
    let mut channel = handle.channel_open_session().await.expect("the peer opens channels");
    channel.exec(false, command).await.expect("the peer runs commands");
    let (mut status, mut out) = (None, Vec::new());
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => out.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => {
                status = Some(exit_status);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(status, Some(0), "`{command}`");
    let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
    out
}

async fn count_files(host: &Host, key: &Arc<PrivateKey>) -> usize {
    let config = Arc::new(client::Config { nodelay: true, ..Default::default() });
    let at = (host.inventory_address().host.clone(), host.inventory_address().port);
    let out = command(config, key.clone(), at, &format!("files {}", host.inventory_address().host)).await;
    String::from_utf8_lossy(&out).trim().parse().expect("the peer tells a number")
}

/// The floor takes every host key.
struct AnyKey;

impl client::Handler for AnyKey {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &russh::keys::PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

fn measure(work: impl FnOnce()) -> Figures {
    // 5 forgets the peak so far (proc(5), /proc/pid/clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux forgets a peak when it is told to");
    let (start, cpu) = (Instant::now(), cpu_seconds());
    work();
    let figures = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Figures { wall: figures.0, cpu: figures.1, peak_mb: peak.expect("Linux tells the peak") / 1024.0 }
}

/// CPU seconds of this process so far, user and system.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for one rusage, and all zeroes are a value of it.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn median(mut figures: Vec<Figures>) -> Figures {
    let mut of = |f: fn(&Figures) -> f64| {
        figures.sort_by(|a, b| f(a).total_cmp(&f(b)));
        f(&figures[figures.len() / 2])
    };
    Figures { wall: of(|f| f.wall), cpu: of(|f| f.cpu), peak_mb: of(|f| f.peak_mb) }
}
