//! One directory that several nodes see, for real: bound into the file systems of real sshd nodes, or one folder for many nodes in this
//! process. What is written there is counted by the kernel.

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/peers.rs"]
mod peers;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use bed::Bed;
use embedded::Fault;
use fleet::{Fleet, Options, Site, signal, wait_until};
use hosts::told;
use regprov::model::{Change, Host};

const FILE: &str = "/home/ops/.docker/config.json";

/// What is renamed to which names in a directory, counted by the kernel from now on.
struct Renames(OwnedFd);

impl Renames {
    fn watch(dir: &Path) -> Self {
        let path = std::ffi::CString::new(dir.to_str().unwrap()).unwrap();
        // SAFETY: a new descriptor, which is ours alone, and a path that ends with NUL.
        let fd = unsafe {
            let fd = OwnedFd::from_raw_fd(libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC));
            assert!(libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), libc::IN_MOVED_TO) >= 0, "{}", std::io::Error::last_os_error());
            fd
        };
        Renames(fd)
    }

    /// How often each name was.
    fn count(self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        let mut file = fs::File::from(self.0);
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = std::io::Read::read(&mut file, &mut buffer) {
            let mut at = 0;
            while at < n {
                // struct inotify_event: four numbers of 4 bytes, the last of which is the length of the name behind them.
                let len = u32::from_ne_bytes(buffer[at + 12..at + 16].try_into().unwrap()) as usize;
                let name = String::from_utf8(buffer[at + 16..at + 16 + len].to_vec()).unwrap();
                *counts.entry(name.trim_end_matches('\0').to_string()).or_default() += 1;
                at += 16 + len;
            }
        }
        counts
    }
}

fn private(dir: &Path) {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(dir).unwrap();
}

/// The change and the note of the file at a path, by host.
fn rows(json: &str, path: &str) -> BTreeMap<String, (String, Option<String>)> {
    let report: serde_json::Value = serde_json::from_str(json).unwrap();
    let text = |v: &serde_json::Value| v.as_str().map(str::to_string);
    let hosts = report["hosts"].as_array().unwrap().iter();
    let file = |h: &serde_json::Value| h["files"].as_array().unwrap().iter().find(|f| f["path"] == path).unwrap().clone();
    hosts.map(|h| (text(&h["host"]).unwrap(), (text(&file(h)["change"]).unwrap(), text(&file(h)["reason"])))).collect()
}

const TARGETS: &str = "targets: [{docker: {path: /home/ops/.docker/config.json}}, {enroot: {path: /root/enroot/.credentials}}]";

#[test]
#[ignore = "needs sshd and dash"]
fn one_directory_bound_into_real_nodes_is_written_once() {
    const NODES: usize = 6;
    let Some(fleet) = Fleet::start(NODES, Options { shared: "/home/ops", ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    site.inventory(&fleet, TARGETS, "");
    let dir = fleet.shared().join(".docker");
    private(&dir);

    let check = site.apply(&["--check", "--json"]).ended(0, &[]);
    // Without a look afterwards it may be another file system with equal numbers, as for the second one it is: nothing is claimed.
    for path in [FILE, "/root/enroot/.credentials"] {
        assert!(rows(&check.stdout, path).values().all(|(change, _)| change == "created"), "{}", check.stdout);
    }
    assert!(!check.stdout.contains("shared via") && !dir.join("config.json").exists(), "{}", check.stdout);

    let renames = Renames::watch(&dir);
    let ran = site.apply(&["--json"]).ended(0, &[]);
    assert_eq!(renames.count(), BTreeMap::from([("config.json".to_string(), 1)]));
    let files = rows(&ran.stdout, FILE);
    let writers: Vec<&String> = files.iter().filter(|(_, (change, _))| change == "created").map(|(host, _)| host).collect();
    let &[writer] = &writers[..] else { panic!("{files:?}") };
    let note = format!("shared via {writer}");
    for (host, (change, reason)) in files.iter().filter(|(host, _)| *host != writer) {
        // Whoever looked when all was over has nothing to wait for, and no note.
        assert!(change == "unchanged" && reason.as_ref().is_none_or(|r| *r == note), "{host}: {files:?}");
    }
    assert!(files.values().any(|(_, reason)| reason.is_some()), "nobody waited: {files:?}");

    // These look like one file too: fresh file systems in memory number their files alike. Each node has its own all the same.
    let credentials: Vec<_> = fleet.nodes.iter().map(|n| n.read("/root/enroot/.credentials").expect("it was written")).collect();
    assert!(credentials.iter().all(|c| *c == credentials[0]));
    let inodes: Vec<u64> = fleet.nodes.iter().map(|n| fs::metadata(n.path("/root/enroot")).unwrap().ino()).collect();
    assert!(inodes.iter().all(|i| *i == inodes[0]), "the control: {inodes:?}");

    let renames = Renames::watch(&dir);
    let before: Vec<_> = fleet.nodes.iter().map(fleet::Node::snapshot).collect();
    let second = site.apply(&["--json"]).ended(0, &[]);
    assert!(rows(&second.stdout, FILE).values().all(|row| *row == ("unchanged".to_string(), None)), "{}", second.stdout);
    assert!(before == fleet.nodes.iter().map(fleet::Node::snapshot).collect::<Vec<_>>(), "a second run changed something");
    assert_eq!(renames.count(), BTreeMap::new());
}

/// The leader has its payload and waits for the lock of its node when it is killed; another writes then.
#[test]
#[ignore = "needs sshd and dash"]
fn a_leader_that_is_killed_is_followed_by_another() {
    let Some(fleet) = Fleet::start(4, Options { shells: "dash slow slow slow", slow: 1, shared: "/home/ops", ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    site.inventory(&fleet, "targets: [{docker: {path: /home/ops/.docker/config.json}}]", "");
    let dir = fleet.shared().join(".docker");
    private(&dir);
    let leader = &fleet.nodes[0];
    private(&leader.path("/var/lib/regprov"));
    let lock = fs::File::open(leader.path("/var/lib/regprov")).unwrap();
    // SAFETY: a call on a descriptor that is open.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);

    let renames = Renames::watch(&dir);
    let run = site.command(&["apply", "inventory.yml", "--json"]).spawn().unwrap();
    // The watchdog's sleep tells that the program has been told to write.
    wait_until("the leader waits for its lock", || leader.processes().iter().any(|(_, name)| name == "sleep"));
    // The others come to wait for it meanwhile: they take a second to begin, and the lock is waited for five.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nobody wrote in place of the leader");
    for (pid, _) in leader.processes() {
        // SAFETY: kill takes two numbers; these processes are of a node of this test.
        unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
    }
    let ran = fleet::Ran::from(run.wait_with_output().unwrap()).ended(3, &[]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["hosts"][0]["outcome"], "unknown", "{}", ran.stdout);
    let files = rows(&ran.stdout, FILE);
    let created = files.iter().filter(|(_, (change, _))| change == "created").count();
    let shared = files.values().filter(|(change, reason)| change == "unchanged" && reason.is_some()).count();
    assert_eq!((created, shared), (1, 2), "{files:?}");
    assert_eq!(renames.count(), BTreeMap::from([("config.json".to_string(), 1)]));
}

/// Ended while others wait for the leader: they end with it, and nothing is left.
#[test]
#[ignore = "needs sshd and dash"]
fn an_interrupted_run_ends_with_those_in_flight() {
    let Some(fleet) = Fleet::start(4, Options { shells: "dash slow slow slow", slow: 1, shared: "/home/ops", ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    site.inventory(&fleet, "targets: [{docker: {path: /home/ops/.docker/config.json}}]", "");
    let leader = &fleet.nodes[0];
    private(&leader.path("/var/lib/regprov"));
    let lock = fs::File::open(leader.path("/var/lib/regprov")).unwrap();
    // SAFETY: a call on a descriptor that is open.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
    let run = site.command(&["apply", "inventory.yml", "--json"]).spawn().unwrap();
    wait_until("the leader waits for its lock", || leader.processes().iter().any(|(_, name)| name == "sleep"));
    std::thread::sleep(Duration::from_millis(2000));
    signal(&run, libc::SIGINT);
    drop(lock);
    let ran = fleet::Ran::from(run.wait_with_output().unwrap()).ended(130, &[]);
    let files = rows(&ran.stdout, FILE);
    assert_eq!(files["n0"].0, "created", "{files:?}");
    assert!(["n1", "n2", "n3"].iter().all(|n| files[*n] == ("unchanged".into(), Some("shared via n0".into()))), "{files:?}");
    assert!(fleet.nodes.iter().all(|n| n.staged().is_empty()));
}

/// Sixty-four nodes with one folder for their `/`, as containers that share a volume: all files and the record are written once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_with_one_folder_write_it_once() {
    let bed = Bed::new(&[Fault::None; 64]).await;
    let root = bed.host(0).root;
    let hosts = || -> Vec<Host> { (0..64).map(|i| Host { root: root.clone(), ..bed.host(i) }).collect() };
    let dirs = ["root/.docker", "etc/regprov", "etc/profile.d", "var/lib/regprov"].map(|d| bed.dir.path().join("n0").join(d));
    dirs.iter().for_each(|dir| private(dir));
    let renames = dirs.each_ref().map(|dir| Renames::watch(dir));
    let (report, _) = bed.push(hosts()).await;
    let counts: Vec<BTreeMap<String, u32>> = renames.into_iter().map(Renames::count).collect();
    assert!(counts[..3].iter().flat_map(BTreeMap::values).all(|n| *n == 1), "{counts:?}");
    assert_eq!(counts[..3].iter().map(BTreeMap::len).collect::<Vec<_>>(), [1, 3, 2], "{counts:?}");
    let how: Vec<String> = report.hosts.iter().map(told).collect();
    assert!(how.iter().all(|h| h == "changed" || h == "unchanged"), "{how:?}");
    let created = |at: usize| report.hosts.iter().filter(|row| row.files[at].change == Change::Created).count();
    assert!((0..6).all(|at| created(at) == 1), "{how:?}");
    let (second, _) = bed.push(hosts()).await;
    assert!(second.hosts.iter().all(|row| told(row) == "unchanged" && row.files.iter().all(|f| f.reason.is_none())));
}
