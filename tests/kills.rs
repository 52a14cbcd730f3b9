//! SIGKILL at random moments, of the controller and of what runs on the nodes: each file is old or new and whole, the next run
//! converges, and nothing of ours stays behind.

// The figures of a run go to whoever reads its output.
#![allow(clippy::print_stdout)]

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet::{Fleet, Node, Options, Site, wait_until};

/// Where chance starts; a failure is repeated with it.
const SEED: u64 = 20_260_721;
const FILES: [&str; 6] = [
    "/root/.docker/config.json",
    "/root/.config/enroot/.credentials",
    "/etc/regprov/singularity.sh",
    "/etc/regprov/singularity.csh",
    "/etc/regprov/singularity.env",
    "/var/lib/regprov/owned.json",
];

/// xorshift64*: enough for moments.
struct Chance(u64);

impl Chance {
    /// From 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f64 / (1u64 << 24) as f64
    }
}

/// Whether anything is staged on a node now: as quick as can be, since it lasts for milliseconds.
fn is_staging(node: &Node) -> bool {
    let dirs: BTreeSet<&Path> = FILES.iter().filter_map(|f| Path::new(f).parent()).collect();
    let entries = dirs.into_iter().flat_map(|dir| std::fs::read_dir(node.path(dir.to_str().unwrap())).into_iter().flatten().flatten());
    entries.into_iter().any(|e| e.file_name().to_string_lossy().starts_with(".regprov."))
}

/// The programs on a node but sshd.
fn programs(node: &Node) -> Vec<u32> {
    node.processes().into_iter().filter(|(_, name)| name != "sshd").map(|(pid, _)| pid).collect()
}

fn send(pids: &[u32], signal: i32) {
    for pid in pids {
        // SAFETY: kill takes two numbers; these processes are of a node of this test.
        unsafe { libc::kill(pid.cast_signed(), signal) };
    }
}

/// Lets the programs on a node run a millisecond at a time, and stand still while we look, so that a machine with other things to do
/// misses no moment; returns what stands still when something is staged, or nothing when they have ended.
fn stop_at_staging(node: &Node) -> Vec<u32> {
    loop {
        let running = programs(node);
        send(&running, libc::SIGSTOP);
        // Those that were started meanwhile.
        let running = programs(node);
        send(&running, libc::SIGSTOP);
        if running.is_empty() || is_staging(node) {
            return running;
        }
        send(&running, libc::SIGCONT);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The contents of each file after a whole run with one vault or the other.
type Wanted = [BTreeMap<&'static str, Vec<u8>>; 2];

struct Bed {
    fleet: Fleet,
    site: Site,
    wanted: Wanted,
    /// How long a run that changes everything takes.
    whole: Duration,
}

impl Bed {
    fn start(nodes: usize) -> Option<Bed> {
        let fleet = Fleet::start(nodes, Options::default())?;
        let site = Site::new(&fleet);
        let foreign = b"{\"auths\": {\"other.example\": {\"auth\": \"b3RoZXI6cHc=\"}}}";
        fleet.nodes.iter().for_each(|n| n.write(FILES[0], foreign));
        for (version, suffix) in ["a", "b"].into_iter().enumerate() {
            let passwords = [format!("nvapi-{suffix}{}", suffix.repeat(3000)), format!("pat-{suffix}")];
            site.vault(&format!("{version}.yml"), &[("ngc", "nvcr.io", "$oauthtoken", &passwords[0]), ("hub", "docker.io", "acme", &passwords[1])]);
        }
        let mut bed = Bed { fleet, site, wanted: Default::default(), whole: Duration::ZERO };
        for version in [0, 1, 0, 1] {
            let start = Instant::now();
            bed.run(version).ended(0, &["changed:"]);
            bed.whole = start.elapsed();
            bed.wanted[version] = FILES.map(|f| (f, bed.fleet.nodes[0].read(f).unwrap())).into();
        }
        println!("seed {SEED}, {nodes} nodes, a whole run takes {:?}", bed.whole);
        Some(bed)
    }

    /// Chooses the vault and gives the arguments of a run.
    fn flags(&self, version: usize) -> [&'static str; 5] {
        std::fs::copy(self.site.path(&format!("{version}.yml")), self.site.path("vault.yml")).unwrap();
        // Two vaults take turns at one path.
        ["apply", "inventory.yml", "--forks", "2", "--allow-rollback"]
    }

    fn run(&self, version: usize) -> fleet::Ran {
        self.site.run(&self.flags(version))
    }

    /// Demands that each file of each node is of one version, and says how many are of this one.
    #[track_caller]
    fn whole_files(&self, version: usize) -> usize {
        let mut new = 0;
        for (i, node) in self.fleet.nodes.iter().enumerate() {
            for file in FILES {
                let content = node.read(file).unwrap_or_else(|| panic!("n{i} has no {file}"));
                let known = self.wanted.iter().any(|w| w[file] == content);
                assert!(known, "{file} on n{i} is neither old nor new: {} bytes", content.len());
                new += usize::from(self.wanted[version][file] == content && self.wanted[1 - version][file] != content);
            }
        }
        new
    }

    /// How many files a run changes.
    fn changing(&self) -> usize {
        self.fleet.nodes.len() * FILES.iter().filter(|f| self.wanted[0][**f] != self.wanted[1][**f]).count()
    }

    /// Waits until no program of ours runs on any node, and demands whole files.
    #[track_caller]
    fn settled(&self) {
        let start = Instant::now();
        loop {
            let left: Vec<_> = self.fleet.nodes.iter().flat_map(|n| n.processes()).collect();
            if left.is_empty() {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(15), "still on the nodes: {left:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.whole_files(0);
    }

    /// The next run converges, and nothing of ours is left.
    #[track_caller]
    fn converges(&self, version: usize) {
        self.run(version).ended(0, &[]);
        assert_eq!(self.whole_files(version), self.changing());
        for node in &self.fleet.nodes {
            assert!(node.staged().is_empty(), "{:?}", node.staged());
        }
        self.run(version).ended(0, &["unchanged:"]);
    }

    /// Reads the files without pause while `work` runs: no reader ever sees half a file. Returns how many were read.
    fn watched(&self, work: impl FnOnce()) -> usize {
        let (over, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.whole_files(0);
                    reads.fetch_add(FILES.len() * self.fleet.nodes.len(), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            // Also when it panics, or the reader would never end.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            over.store(true, Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        reads.into_inner()
    }
}

#[test]
#[ignore = "needs sshd and dash"]
fn the_controller_is_killed_at_any_moment() {
    const KILLS: usize = 25;
    let Some(bed) = Bed::start(6) else { return };
    let mut chance = Chance(SEED);
    let mut inside = 0;
    let mut version = 0;
    let reads = bed.watched(|| {
        for kill in 0..KILLS {
            let mut controller = bed.site.command(&bed.flags(version)).spawn().unwrap();
            if kill % 2 == 0 {
                std::thread::sleep(bed.whole.mul_f64(chance.next() * 1.1));
            } else {
                // Staging takes few milliseconds: every second kill waits for it, so that a loaded machine has its share too.
                let staged = || bed.fleet.nodes.iter().any(is_staging);
                while controller.try_wait().unwrap().is_none() && !staged() {}
                std::thread::sleep(Duration::from_secs_f64(chance.next() * 0.02));
            }
            controller.kill().unwrap();
            // Between the first temporary file and the last rename: something is staged or new, and not everything is new.
            let new = bed.whole_files(version);
            let begun = new > 0 || bed.fleet.nodes.iter().any(|n| !n.staged().is_empty());
            inside += usize::from(begun && new < bed.changing());
            controller.wait().unwrap();
            bed.settled();
            bed.converges(version);
            version = 1 - version;
        }
    });
    println!("{inside} of {KILLS} kills between the first temporary file and the last rename; {reads} reads meanwhile");
    assert!(inside * 5 >= KILLS, "only {inside} of {KILLS} kills fell between the first temporary file and the last rename");
    assert!(reads > 1000);
}

#[test]
#[ignore = "needs sshd and dash"]
fn the_nodes_programs_are_killed_at_any_moment() {
    const KILLS: usize = 25;
    let Some(bed) = Bed::start(2) else { return };
    let mut chance = Chance(SEED);
    let (mut left, mut told, mut version) = (0, 0, 0);
    bed.watched(|| {
        for kill in 0..KILLS {
            let run = bed.site.command(&bed.flags(version)).spawn().unwrap();
            // Once a program runs, wait a while, then kill all programs of that node, or only the youngest.
            let node = &bed.fleet.nodes[kill / 2 % 2];
            wait_until("a program runs", || !programs(node).is_empty());
            // Staging takes few milliseconds: every second kill waits for it, and falls at it or a little later.
            let running = if kill % 2 == 1 {
                let mut running = stop_at_staging(node);
                for _ in 0..(chance.next() * 2.0) as usize {
                    send(&running, libc::SIGCONT);
                    std::thread::sleep(Duration::from_micros(500));
                    running = stop_at_staging(node);
                }
                running
            } else {
                std::thread::sleep(Duration::from_secs_f64(chance.next() * 0.030));
                programs(node)
            };
            let victims = if chance.next() < 0.7 { &running[..] } else { &running[running.len().saturating_sub(1)..] };
            send(victims, libc::SIGKILL);
            send(&running, libc::SIGCONT);
            let ran = fleet::Ran::from(run.wait_with_output().unwrap());
            // Whoever did not end well is named; a kill may also have come too late.
            let names = format!("n{}", kill / 2 % 2);
            match ran.code {
                Some(0) => {}
                Some(3) => {
                    told += 1;
                    assert!(ran.stdout.lines().any(|l| (l.starts_with("failed") || l.starts_with("unknown")) && l.contains(&names)), "{}", ran.all());
                }
                _ => panic!("{}", ran.all()),
            }
            bed.settled();
            left += usize::from(!node.staged().is_empty());
            bed.converges(version);
            version = 1 - version;
        }
    });
    println!("{told} of {KILLS} kills were reported, {left} left staged files, which the next run swept");
    assert!(told >= KILLS / 5, "only {told} of {KILLS} kills hit a program at work");
    assert!(left * 5 >= KILLS, "only {left} of {KILLS} kills fell on a staged file");
}

/// Whether a process group has a process that is not only waiting to be reaped.
fn living(group: u32) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state, parent, group.
        let words: Vec<&str> = stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').take(3).collect());
        matches!(words[..], [state, _, of] if state != "Z" && of == group.to_string())
    })
}

/// The node program's input ends right after it took the lock, which starts the watchdog: that must end with the program, however
/// late it is scheduled. What it would leave is a sleep of 90 seconds.
#[test]
fn a_program_that_ends_at_once_takes_its_watchdog_along() {
    let once = || {
        let dir = tempfile::tempdir().unwrap();
        let request = format!("nonce\nlock {} 90\n", dir.path().display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", regprov::node::command()]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut program = command.spawn().unwrap();
        program.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
        program.wait().unwrap();
        let group = program.id();
        let start = Instant::now();
        while living(group) && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = living(group);
        // SAFETY: kill takes two numbers; the group is that of our child.
        unsafe { libc::kill(-group.cast_signed(), libc::SIGKILL) };
        usize::from(left)
    };
    // Many at once, so that some are scheduled late.
    let left: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..12).map(|_| scope.spawn(|| (0..25).map(|_| once()).sum::<usize>())).collect();
        workers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    assert_eq!(left, 0, "of 300 programs so many left a watchdog");
}
