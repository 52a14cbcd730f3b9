//! Files that several hosts see, on simulated NFS, Lustre, GPFS and BeeGFS: who writes, who waits, and what becomes of them when the
//! writer fails. Time is paused, so that minutes pass at once and equal runs are equal.

#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/simulated.rs"]
mod simulated;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hosts::{At, host, logins, told};
use regprov::format::MergeOptions;
use regprov::model::{Change, Host, HostRow, Login, Pace, Portion, Registry, Report, Secret, TargetKind, Username};
use regprov::push::remove::{Selection, Task};
use regprov::push::{Clearance, Push, PushOptions, push_all_for};
use simulated::{Disk, Fault, Node, Simulation, WRITE};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

const FILE: &str = "/home/ops/.docker/config.json";
const SHARED: At = (TargetKind::Docker, FILE);
const OWN: At = (TargetKind::Docker, "/root/.docker/config.json");
const NFS: &str = "nfs4 nfs01:/export/home /";
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A server with /home and the home of `ops`.
fn server() -> Disk {
    Disk::new(&["/home", "/home/ops"])
}

/// `n` nodes with that server; the first is the fastest.
fn nodes(n: usize, shared: &Disk, mount: &'static str) -> Vec<Node> {
    (0..n).map(|i| Node { connect: if i == 0 { Duration::ZERO } else { 20 * MS }, ..Node::new(shared, mount) }).collect()
}

struct Run {
    forks: usize,
    check: bool,
    pace: Pace,
    targets: Vec<At>,
    task: Task,
    /// Hosts that get the login `ngc` in place of `hub`.
    others: std::ops::Range<usize>,
}

impl Default for Run {
    fn default() -> Self {
        Run { forks: 50, check: false, pace: Pace::default(), targets: vec![SHARED], task: Task::Apply, others: 0..0 }
    }
}

impl Run {
    /// Ends with how long it took, in the nodes' time.
    async fn push(self, nodes: &[Node]) -> (Report, Duration) {
        let name = |i: usize| format!("n{i:02}");
        let hosts: Vec<Host> = (0..nodes.len())
            .map(|i| {
                let mut host = host(&name(i), Path::new("/"), &self.targets);
                if self.others.contains(&i) {
                    host.targets.iter_mut().for_each(|t| t.logins = vec!["ngc".into()]);
                }
                host
            })
            .collect();
        let mut logins = logins("planted-Secret_9x7");
        let ngc = Login {
            name: "ngc".into(),
            registry: Registry::parse("nvcr.io").unwrap().0,
            username: Username::parse("alice").unwrap(),
            password: Secret::new("planted-Other_8y6".to_string()),
            auth_hosts: vec![],
            expires: None,
        };
        logins.insert("ngc".into(), ngc);
        let options = PushOptions {
            forks: self.forks,
            pace: self.pace,
            check: self.check,
            merge: MergeOptions::default(),
            inventory_id: "test".into(),
            pull_test: None,
            command: 30 * SECOND,
            host: 60 * SECOND,
        };
        let connector = Simulation((0..nodes.len()).map(|i| (name(i), nodes[i].clone())).collect());
        let (_keep, stop) = watch::channel(false);
        let start = Instant::now();
        let push =
            push_all_for(Arc::new(Push { connector, logins, options }), self.task, Clearance::given(), hosts, Vec::new(), stop, mpsc::unbounded_channel().0);
        let report = tokio::time::timeout(3600 * SECOND, push).await.expect("no host waits for ever");
        (report, start.elapsed())
    }
}

/// How each file of a host ended: `created`, `unchanged (shared via n00)`.
fn files(row: &HostRow) -> String {
    let word = |f: &regprov::model::FileRow| match &f.reason {
        Some(reason) => format!("{} ({reason})", f.change.name()),
        None => f.change.name().to_string(),
    };
    row.files.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn all(report: &Report) -> Vec<String> {
    report.hosts.iter().map(files).collect()
}

#[tokio::test(start_paused = true)]
async fn simulated_one_host_writes_and_the_others_verify() {
    for mount in [NFS, "nfs nfs01:/export/home /", "lustre 10.0.0.1@tcp:/scratch/home /", "gpfs home /", "beegfs beegfs_nodev /", "ceph 10.0.0.1:6789:/home /"]
    {
        for (n, forks) in [(2, 50), (65, 4), (65, 80)] {
            let shared = server();
            let nodes = nodes(n, &shared, mount);
            let run = || Run { forks, targets: vec![SHARED, OWN], ..Run::default() };
            let (report, took) = run().push(&nodes).await;
            assert_eq!(shared.writes(FILE), 1, "{mount} {n} {forks}");
            assert_eq!(files(&report.hosts[0]), "created, created");
            for row in &report.hosts[1..] {
                assert_eq!(files(row), "unchanged (shared via n00), created", "{mount} {n} {forks}");
            }
            // Every host's record knows the file: any of them may be asked to take it away.
            for node in &nodes {
                let record = node.own.read("/var/lib/regprov/owned.json").unwrap();
                assert!(record.contains(FILE) && record.contains(OWN.1), "{mount} {n} {forks}: {record}");
                assert_eq!(node.own.writes(OWN.1), 1);
            }
            assert_eq!(shared.torn_away(), Vec::<String>::new());
            assert!(took < 20 * SECOND, "{took:?}");
            // Once more: nothing is written anywhere, and nobody waits.
            let (second, _) = run().push(&nodes).await;
            assert_eq!(all(&second), vec!["unchanged, unchanged"; n]);
            assert_eq!(shared.writes(FILE), 1);
            assert!(nodes.iter().all(|node| node.own.writes("/var/lib/regprov/owned.json") <= 2), "the record is written with its files alone");
        }
    }
}

/// `remove`, of everything.
fn everything() -> Run {
    Run { task: Task::Remove(Selection::default()), ..Run::default() }
}

#[tokio::test(start_paused = true)]
async fn simulated_one_host_takes_out_and_the_others_find_nothing() {
    for late in [Duration::ZERO, 3 * SECOND] {
        for (n, forks, before) in [(2, 50, None), (65, 4, None), (65, 80, None), (65, 80, Some(r#"{"auths":{"ghcr.io":{"auth":"Ym9iOng="}}}"#))] {
            let what = format!("{late:?} {n} {forks} {before:?}");
            let shared = server();
            let mut nodes = nodes(n, &shared, NFS);
            nodes[1..].iter_mut().for_each(|node| node.late = late);
            if let Some(before) = before {
                shared.mkdir("/home/ops/.docker");
                shared.write(FILE, before);
            }
            Run { targets: vec![SHARED, OWN], ..Run::default() }.push(&nodes).await;
            assert_eq!(shared.writes(FILE), 1, "{what}");
            tokio::time::sleep(60 * SECOND).await;
            // What would be done, and that it is done once.
            let (report, _) = Run { forks, check: true, targets: vec![SHARED, OWN], ..everything() }.push(&nodes).await;
            let change = if before.is_some() { "updated" } else { "removed" };
            assert_eq!(files(&report.hosts[0]), format!("{change}, removed"), "{what}");
            for row in &report.hosts[1..] {
                assert_eq!(files(row), format!("{change} (shared via n00), removed"), "{what}");
            }
            let (report, took) = Run { forks, targets: vec![SHARED, OWN], ..everything() }.push(&nodes).await;
            assert_eq!(files(&report.hosts[0]), format!("{change}, removed"), "{what}");
            for row in &report.hosts[1..] {
                assert!(files(row) == "unchanged (shared via n00), removed" || files(row) == "unchanged, removed", "{what}: {}", files(row));
            }
            assert_eq!(shared.writes(FILE), 2, "{what}");
            assert_eq!(shared.read(FILE).is_some(), before.is_some(), "{what}");
            // Every host's record has forgotten it.
            assert!(nodes.iter().all(|node| node.own.read("/var/lib/regprov/owned.json").is_none()), "{what}");
            assert_eq!(shared.torn_away(), Vec::<String>::new());
            assert!(took < 60 * SECOND, "{what}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn simulated_prune_takes_out_in_the_leader_s_write() {
    let shared = server();
    let nodes = nodes(40, &shared, NFS);
    Run::default().push(&nodes).await;
    let (report, _) = Run { task: Task::Prune, others: 0..40, ..Run::default() }.push(&nodes).await;
    assert_eq!(files(&report.hosts[0]), "updated");
    assert!(report.hosts[1..].iter().all(|row| files(row) == "unchanged (shared via n00)"), "{:?}", all(&report));
    assert_eq!(shared.writes(FILE), 2);
    let text = shared.read(FILE).unwrap();
    assert!(text.contains("nvcr.io") && !text.contains("index.docker.io"), "{text}");
    for node in &nodes {
        let record = node.own.read("/var/lib/regprov/owned.json").unwrap();
        assert!(record.contains("nvcr.io") && !record.contains("docker.io"), "{record}");
    }
}

#[tokio::test(start_paused = true)]
async fn simulated_a_lost_leader_of_a_removal_is_followed_by_another() {
    for (fault, writes) in [(Fault::Dies, 2), (Fault::DiesAfter, 2), (Fault::Stalls, 2), (Fault::Denied, 2)] {
        let shared = server();
        let mut nodes = nodes(9, &shared, NFS);
        Run::default().push(&nodes).await;
        nodes[0].fault = fault;
        let (report, _) = everything().push(&nodes).await;
        assert!(!matches!(told(&report.hosts[0]).as_str(), "changed" | "unchanged"), "{fault:?}: {}", told(&report.hosts[0]));
        assert!(report.hosts[1..].iter().all(|row| matches!(told(row).as_str(), "changed" | "unchanged")), "{fault:?}: {:?}", all(&report));
        assert_eq!((shared.writes(FILE), shared.read(FILE)), (writes, None), "{fault:?}");
        assert!(nodes[1..].iter().all(|node| node.own.read("/var/lib/regprov/owned.json").is_none()), "{fault:?}");
        // What the lost one left in its record goes with a further run.
        nodes[0].fault = Fault::None;
        let (report, _) = everything().push(&nodes).await;
        assert_eq!(all(&report), vec!["unchanged"; 9], "{fault:?}");
        assert!(nodes[0].own.read("/var/lib/regprov/owned.json").is_none(), "{fault:?}");
    }
}

/// What other hosts do not share is not waited for.
#[tokio::test(start_paused = true)]
async fn simulated_own_files_do_not_wait_for_the_leader() {
    let shared = server();
    let mut nodes = nodes(8, &shared, NFS);
    nodes[0].fault = Fault::Stalls;
    let own: Vec<Disk> = nodes[1..].iter().map(|n| n.own.clone()).collect();
    let watcher = async {
        tokio::time::sleep(2 * SECOND).await;
        own.iter().filter(|disk| disk.read(OWN.1).is_some()).count()
    };
    let run = Run { targets: vec![OWN, SHARED], ..Run::default() };
    let ((report, took), early) = tokio::join!(run.push(&nodes), watcher);
    assert_eq!(early, 7, "own files that were there while the leader stalled");
    // The leader's silence ends at its own deadline; then another leads.
    assert_eq!(told(&report.hosts[0]), "unknown replace: the node program gave no answer within 30 s");
    assert_eq!(shared.writes(FILE), 1);
    assert!(report.hosts[1..].iter().all(|row| told(row) == "changed"), "{:?}", all(&report));
    assert!(took < 32 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn simulated_a_leader_that_is_lost_is_followed_by_another() {
    for (fault, writes) in [(Fault::Dies, 1), (Fault::DiesAfter, 1), (Fault::Panics, 1)] {
        let shared = server();
        let mut nodes = nodes(9, &shared, NFS);
        nodes[0].fault = fault;
        let (report, took) = Run::default().push(&nodes).await;
        assert!(told(&report.hosts[0]).starts_with("unknown "), "{fault:?}: {}", told(&report.hosts[0]));
        assert_eq!(shared.writes(FILE), writes, "{fault:?}");
        assert!(report.hosts[1..].iter().all(|row| matches!(row.files[0].change, Change::Created | Change::Unchanged)), "{fault:?}: {:?}", all(&report));
        let created = report.hosts[1..].iter().filter(|row| row.files[0].change == Change::Created).count();
        assert_eq!(created, usize::from(fault != Fault::DiesAfter), "{fault:?}: {:?}", all(&report));
        assert!(took < 2 * SECOND, "{fault:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn simulated_when_every_leader_is_lost_each_host_has_its_own_reason_soon() {
    for (fault, want) in [(Fault::Dies, "unknown replace: the connection ended"), (Fault::Denied, "failed replace: ")] {
        let shared = server();
        let mut nodes = nodes(40, &shared, NFS);
        nodes.iter_mut().for_each(|n| n.fault = fault);
        let (report, took) = Run::default().push(&nodes).await;
        assert!(report.hosts.iter().all(|row| told(row).starts_with(want)), "{fault:?}: {:?}", report.hosts.iter().map(told).collect::<Vec<_>>());
        // Two leads at most, then all at once.
        assert!(took < WRITE * 4, "{fault:?}: {took:?}");
        assert_eq!(shared.writes(FILE), 0);
    }
    // Where the leader alone may not write, the others do.
    let shared = server();
    let mut nodes = nodes(8, &shared, NFS);
    nodes[0].fault = Fault::Denied;
    let (report, _) = Run::default().push(&nodes).await;
    let denied = told(&report.hosts[0]);
    assert!(denied.contains("Permission denied") && denied.contains(FILE), "{denied}");
    assert_eq!(shared.writes(FILE), 1, "the others' attempts meet each other's file");
    assert!(report.hosts[1..].iter().all(|row| matches!(told(row).as_str(), "changed" | "unchanged")), "{:?}", all(&report));
}

/// Two clusters with equal names, and directories with equal inodes: what is read at each host's own path tells.
#[tokio::test(start_paused = true)]
async fn simulated_filesystems_that_are_wrongly_taken_for_one_are_each_written() {
    for mount in ["beegfs beegfs_nodev /", "gpfs home /", NFS] {
        let (one, other) = (server(), server());
        let hosts: Vec<Node> = [nodes(5, &one, mount), nodes(5, &other, mount)].concat();
        let (report, took) = Run::default().push(&hosts).await;
        assert!(one.read(FILE).is_some() && one.read(FILE) == other.read(FILE), "{mount}");
        assert_eq!((one.writes(FILE), other.writes(FILE)), (1, 1), "{mount}");
        assert!(report.hosts.iter().all(|row| row.files[0].change != Change::Failed), "{mount}: {:?}", all(&report));
        assert!(report.hosts[1..5].iter().all(|row| files(row) == "unchanged (shared via n00)"), "{mount}: {:?}", all(&report));
        assert!(took > 10 * SECOND && took < 13 * SECOND, "{mount}: {took:?}");
    }
    // Other inodes: nobody waits.
    let other = Disk::new(&["/home/x", "/home", "/home/ops"]);
    let hosts: Vec<Node> = [nodes(5, &server(), NFS), nodes(5, &other, NFS)].concat();
    let (report, took) = Run::default().push(&hosts).await;
    assert!(took < SECOND, "{took:?}");
    assert_eq!(report.hosts.iter().filter(|row| row.files[0].change == Change::Created).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn simulated_what_is_seen_late_is_waited_for_up_to_ten_seconds() {
    for (late, early_end) in [(400 * MS, SECOND), (4 * SECOND, 7 * SECOND), (40 * SECOND, 13 * SECOND)] {
        let shared = server();
        // The directories are old.
        tokio::time::sleep(3600 * SECOND).await;
        let mut nodes = nodes(6, &shared, NFS);
        nodes[1..].iter_mut().for_each(|n| n.late = late);
        let (report, took) = Run::default().push(&nodes).await;
        // Who does not see it in time tries to write, finds it there, and is content.
        assert_eq!(shared.writes(FILE), 1, "{late:?}");
        assert_eq!(all(&report)[0], "created");
        assert!(all(&report)[1..].iter().all(|f| f == "unchanged (shared via n00)"), "{late:?}: {:?}", all(&report));
        assert!(took < early_end, "{late:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn simulated_hosts_with_other_logins_add_theirs() {
    let shared = server();
    let nodes = nodes(12, &shared, NFS);
    let (report, _) = Run { others: 6..12, ..Run::default() }.push(&nodes).await;
    let text = shared.read(FILE).unwrap();
    assert!(text.contains("index.docker.io") && text.contains("nvcr.io"), "{text}");
    assert_eq!(shared.writes(FILE), 2, "one for each content: {:?}", all(&report));
    assert!(report.hosts.iter().all(|row| matches!(told(row).as_str(), "changed" | "unchanged")), "{:?}", all(&report));
    let (second, _) = Run { others: 6..12, ..Run::default() }.push(&nodes).await;
    assert_eq!(all(&second), vec!["unchanged"; 12]);
}

#[tokio::test(start_paused = true)]
async fn simulated_check_says_who_would_write_and_waits_for_nobody() {
    let shared = server();
    let mut nodes = nodes(20, &shared, NFS);
    // The slowest is the first of the report all the same.
    nodes[0].connect = 5 * SECOND;
    let run = || Run { check: true, targets: vec![SHARED, OWN], ..Run::default() };
    let (report, took) = run().push(&nodes).await;
    assert_eq!(files(&report.hosts[0]), "created, created");
    assert!(all(&report)[1..].iter().all(|f| f == "created (shared via n00), created"), "{:?}", all(&report));
    assert!(took < 6 * SECOND, "{took:?}");
    assert_eq!(shared.writes(FILE), 0);
    let (again, _) = run().push(&nodes).await;
    assert_eq!(report, again, "equal state, equal report");
}

#[tokio::test(start_paused = true)]
async fn simulated_canaries_and_waves_come_after_each_other() {
    for pace in [Pace { canary: 1, ..Pace::default() }, Pace { batch: vec![Portion::Hosts(3)], ..Pace::default() }] {
        let shared = server();
        let nodes = nodes(10, &shared, NFS);
        let (report, _) = Run { pace, ..Run::default() }.push(&nodes).await;
        assert_eq!(shared.writes(FILE), 1);
        assert!(all(&report)[1..].iter().all(|f| f == "unchanged (shared via n00)"), "{:?}", all(&report));
    }
}

#[tokio::test(start_paused = true)]
async fn simulated_one_host_alone_asks_nothing() {
    let shared = server();
    let (report, _) = Run::default().push(&nodes(1, &shared, NFS)).await;
    assert_eq!(all(&report), ["created"]);
}

/// Leads that cross, end badly, come back: whatever the order, every host ends, and what a sound host wanted is there.
#[tokio::test(start_paused = true)]
async fn simulated_no_order_of_hosts_and_faults_makes_them_wait_for_each_other() {
    const FILES: [At; 4] = [
        (TargetKind::Docker, "/home/ops/.docker/config.json"),
        (TargetKind::Docker, "/home/dev/.docker/config.json"),
        (TargetKind::Enroot, "/home/ops/enroot/.credentials"),
        (TargetKind::Docker, "/home/ops/.docker/other.json"),
    ];
    let mut waits = 0;
    for seed in 0..60u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % n
        };
        let shared = Disk::new(&["/home", "/home/ops", "/home/dev"]);
        let mut targets = FILES.to_vec();
        let by = usize::try_from(random(4)).unwrap();
        targets.rotate_left(by);
        let faults = [Fault::Dies, Fault::DiesAfter, Fault::Stalls, Fault::Denied, Fault::Panics];
        let nodes: Vec<Node> = (0..16)
            .map(|i| Node {
                connect: MS * u32::try_from(random(200)).unwrap(),
                late: MS * u32::try_from(random(3) * 300).unwrap(),
                fault: if i > 0 && random(3) == 0 { faults[usize::try_from(random(5)).unwrap()] } else { Fault::None },
                ..Node::new(&shared, NFS)
            })
            .collect();
        let forks = usize::try_from(1 + random(16)).unwrap();
        let (report, took) = Run { forks, targets, others: 5..9, ..Run::default() }.push(&nodes).await;
        for (row, node) in report.hosts.iter().zip(&nodes).filter(|(_, node)| node.fault == Fault::None) {
            assert!(matches!(told(row).as_str(), "changed" | "unchanged"), "seed {seed}, {:?}: {} {}", node.fault, told(row), files(row));
        }
        for (_, file) in FILES {
            assert!(shared.read(file).unwrap().contains("docker.io"), "seed {seed}");
        }
        assert_eq!(shared.torn_away(), Vec::<String>::new(), "seed {seed}");
        // One after the other, each up to its deadline.
        assert!(took < 60 * SECOND * 16, "seed {seed}: {took:?}");
        waits += report.hosts.iter().filter(|row| files(row).contains("shared via")).count();
    }
    assert!(waits > 200, "only {waits} hosts had anything to wait for");
}
