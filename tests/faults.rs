//! Hosts that misbehave in every phase, beside hosts that do not: each ends in its own row, in time, and no secret goes
//! to one that did not prove that it runs our program.
//!
//! What is promised, and the test of it (here, where no file is named):
//!
//! | promise | test |
//! |---|---|
//! | refused | `refused_and_unknown_names` |
//! | DNS failure and hang | `connections.rs`: `names_that_nobody_resolves_end_at_the_resolve_deadline` |
//! | SYN black hole | `connections.rs`: `a_host_that_drops_every_packet_ends_at_the_connect_deadline` |
//! | banner stall, endless banner, garbage, stalled key exchange, authentication or exec, trickle, window never opened, endless output | `each_phase_has_its_deadline_and_its_words`, `floods_end_at_a_limit_long_before_the_deadline` |
//! | a reset after N bytes, for N over the whole conversation | `a_connection_reset_at_every_97th_byte_leaves_old_or_new`, `connections.rs`: `a_reset_anywhere_is_told_with_its_step` |
//! | half-open | `connections.rs`: `a_silence_anywhere_ends_at_its_step_s_deadline` |
//! | MaxSessions | `sshd.rs`: `a_server_of_one_session_is_served_by_a_second_program_too` |
//! | a peer does not keep us | `a_host_is_let_go_whatever_it_does`, `a_host_opens_no_channel_to_us` |
//! | memory stays flat | `connections.rs`: `memory_stays_flat_under_floods` |
//! | SIGINT, SIGTERM, SIGKILL at any moment over 100 nodes | `processes.rs`: `a_run_that_is_ended_at_any_moment_...`; over real sshd `kills.rs` |
//! | stdout closed or full | `cli/report-to-a-full-disk`, `cli/nobody-reads-the-report` |
//! | disk full at the controller | `processes.rs`: `a_disk_that_fills_up_under_the_journal_ends_no_run` |
//! | a panic in one host's task | `a_panic_in_one_host_s_task_stays_there` |
//! | a third of a fleet dead | `connections.rs`: `a_fleet_of_which_a_third_is_dead`; 300 of 1,000: `cargo bench --bench simulated -- --dead` |
//! | `ulimit -n 64` | `processes.rs`: `sixty_four_open_files_are_enough` |
//! | two runs at once | `processes.rs`: `two_runs_at_once_converge` |
//! | replies with ANSI, OSC 52, bidi, `::error::`, `##vso[` | `what_a_node_says_steers_neither_a_terminal_nor_a_ci_system` |
//! | endless lines | `floods_end_at_a_limit_long_before_the_deadline` |
//! | forged replies | `a_forged_success_is_not_believed`, `no_payload_goes_to_a_host_without_our_nonce` |
//! | ForceCommand, nologin, /etc/nologin, expired accounts, shells that print | `sshd.rs`: `who_may_not_run_our_program_is_told_why`, `who_may_not_log_in_is_told_why`, `every_login_shell_that_prints_on_top_is_served` |

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/hosts.rs"]
mod hosts;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bed::{Bed, PASSWORD, SECOND};
use embedded::Fault;
use hosts::{logins, told};
use regprov::format::MergeOptions;
use regprov::model::{FileMode, Host, Outcome, Pace, Portion, RemotePath, Report};
use regprov::push::{Logins, Push, PushOptions, push_all};
use regprov::transport::clock::Clock;
use regprov::transport::local::Local;
use regprov::transport::ssh::auth::Keys;
use regprov::transport::ssh::keyring::KeySources;
use regprov::transport::ssh::known_hosts::KnownHosts;
use regprov::transport::ssh::{Deadlines, Ssh};
use regprov::transport::{Connector, Trouble};
use tokio::sync::{mpsc, watch};

/// The table above names tests that there are.
#[test]
fn every_promise_s_test_is_there() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let rows: Vec<String> = read("faults.rs").lines().filter_map(|l| Some(l.strip_prefix("//! | ")?.rsplit_once(" | ")?.1.to_string())).collect();
    assert!(rows.len() > 20);
    for row in &rows[1..] {
        let mut file = "faults.rs";
        for word in row.split('`').skip(1).step_by(2) {
            match word {
                word if word.ends_with(".rs") => file = word,
                word if word.starts_with("cli/") => assert!(folder.join(word).is_dir(), "{word}"),
                word if word.contains(' ') => {}
                test => assert!(read(file).contains(&format!("fn {}", test.trim_end_matches("..."))), "there is no {test} in {file}"),
            }
        }
    }
}

/// A faulty host between two good ones: the good ones are changed, the faulty one ends as said, in time.
async fn check(fault: Fault, want: &str) {
    let bed = Bed::new(&[Fault::None, fault, Fault::None]).await;
    let (report, took) = bed.push((0..3).map(|i| bed.host(i)).collect()).await;
    for i in [0, 2] {
        assert_eq!(told(&report.hosts[i]), "changed", "{fault:?}");
        assert!(fs::read_to_string(bed.docker_file(i)).unwrap().contains("index.docker.io"));
    }
    let got = told(&report.hosts[1]);
    assert!(got.starts_with(want), "{fault:?}: {got}");
    assert!(took < SECOND * 5, "{fault:?} took {took:?}");
    assert!(!got.contains(PASSWORD));
    assert_ne!(report.exit_code(false), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_phase_has_its_deadline_and_its_words() {
    check(Fault::StallBanner, "unreachable handshake: no answer within 1 s").await;
    check(Fault::EndlessBanner, "unreachable handshake: ").await;
    check(Fault::Garbage, "unreachable handshake: ").await;
    check(Fault::StallKeyExchange, "unreachable handshake: no answer within 1 s").await;
    check(Fault::StallAuthentication, "unreachable authenticate: no answer within 1 s").await;
    check(Fault::DenyAuthentication, "unreachable authenticate: the host lets root in with none of these keys: ").await;
    check(Fault::RefuseChannel, "failed start: ").await;
    check(Fault::StallExec, "failed observe: the node program gave no answer within 3 s").await;
    check(Fault::EndlessOutput, "failed observe: the login shell printed more than 64 KiB").await;
    check(Fault::WrongNonce, "failed observe: the node program gave no answer within 3 s").await;
    check(Fault::ResetAfterPayload, "unknown replace: ").await;
    check(Fault::StallChannel, "failed start: no channel was opened within 3 s").await;
    check(Fault::NoWindow, "unknown replace: the node program gave no answer within 3 s").await;
    check(Fault::Trickle, "failed observe: the node program gave no answer within 3 s").await;
    check(Fault::OpensChannels, "failed observe: the node program gave no answer within 3 s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_to_skip_is_not_contacted() {
    let bed = Bed::new(&[Fault::None, Fault::None]).await;
    let mut hosts = vec![bed.host(0), bed.host(1)];
    hosts[0].skip = Some("Slurm: drained".into());
    let (report, _) = bed.push(hosts).await;
    assert_eq!(report.hosts[0].outcome, Outcome::Skipped { reason: "Slurm: drained".into() });
    assert_eq!((told(&report.hosts[1]).as_str(), report.exit_code(true)), ("changed", 10));
    assert_eq!(bed.fleet.channels.load(Ordering::Relaxed), 1, "channels of n1 alone");
    assert!(!bed.docker_file(0).exists());
}

/// What the hosts of a fleet come to, its exit code, and why it stopped.
async fn paced(pace: Pace, faults: &[Fault]) -> (String, u8, String) {
    let bed = Bed::new(faults).await;
    let (report, _) = bed.push_at(pace, (0..faults.len()).map(|i| bed.host(i)).collect()).await;
    let words: Vec<&str> = report.hosts.iter().map(|row| row.outcome.name()).collect();
    (words.join(" "), report.exit_code(false), report.stopped.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_keep_hosts_from_starting() {
    let (good, bad) = (Fault::None, Fault::DenyAuthentication);
    let canary = |canary| Pace { canary, ..Pace::default() };
    let (words, code, why) = paced(canary(1), &[bad, good, good]).await;
    assert_eq!((words.as_str(), code), ("unreachable not_attempted not_attempted", 7));
    assert_eq!(why, "the canary, the first host, did not end well");
    assert_eq!(paced(canary(2), &[good, good, bad]).await, ("changed changed unreachable".into(), 4, String::new()));
    // The wave that has a failure ends before the guard keeps the next.
    let pace = Pace { batch: vec![Portion::Hosts(2)], max_fail: Some(Portion::Hosts(0)), ..Pace::default() };
    let (words, code, why) = paced(pace, &[good, good, bad, good, good]).await;
    assert_eq!((words.as_str(), code), ("changed changed unreachable changed not_attempted", 7));
    assert_eq!(why, "more than 0 of 5 hosts did not end well (--max-fail 0)");
}

/// A way to hosts that ends badly by itself, whatever the hosts are like.
enum BadWay {
    /// Every host refuses a password, and after the first one nobody is to be asked.
    PasswordRefused,
    /// The way to `n1` has a defect; to the others there is none.
    Panics,
}

impl Connector for BadWay {
    type Session = <Local as Connector>::Session;

    async fn connect(&self, host: &Host, _: &Arc<Clock>) -> Result<Self::Session, Trouble> {
        assert!(!matches!(self, BadWay::Panics) || host.name != "n1", "a defect, on purpose");
        Err(Trouble::new(regprov::model::Stage::Authenticate, "no"))
    }

    fn login(&self, _: &Host) -> String {
        "root".to_string()
    }

    fn halted(&self) -> Option<String> {
        matches!(self, BadWay::PasswordRefused).then(|| "the password was refused on n0".to_string())
    }
}

impl BadWay {
    /// Three hosts, `forks` at a time.
    async fn push(self, forks: usize) -> Report {
        let hosts: Vec<Host> = (0..3).map(|i| Host::named(format!("n{i}"))).collect();
        let options = PushOptions {
            forks,
            pace: Pace::default(),
            check: false,
            merge: MergeOptions::default(),
            inventory_id: "test".into(),
            pull_test: None,
            command: SECOND,
            host: SECOND,
        };
        let (_keep, stop) = watch::channel(false);
        push_all(Arc::new(Push { connector: self, logins: logins(PASSWORD), options }), hosts, stop, mpsc::unbounded_channel().0).await
    }
}

#[tokio::test]
async fn a_refused_password_stops_the_run() {
    let report = BadWay::PasswordRefused.push(1).await;
    let words: Vec<&str> = report.hosts.iter().map(|row| row.outcome.name()).collect();
    assert_eq!(words, ["unreachable", "not_attempted", "not_attempted"]);
    assert_eq!((report.exit_code(false), report.stopped.as_deref()), (7, Some("the password was refused on n0")));
}

/// A defect in one host's task is that host's row; nobody knows what it had done, so it is `unknown`.
#[tokio::test]
async fn a_panic_in_one_host_s_task_stays_there() {
    let report = BadWay::Panics.push(50).await;
    let told: Vec<String> = report.hosts.iter().map(told).collect();
    assert_eq!(told[0], "unreachable authenticate: no");
    assert_eq!(told[1], "unknown start: regprov itself failed here; this is a defect, please report it");
    assert_eq!(told[2], told[0]);
    assert_eq!(report.exit_code(false), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_at_a_limit_long_before_the_deadline() {
    for (fault, want) in [
        (Fault::EndlessOutput, "failed observe: the login shell printed more than 64 KiB before the node program spoke"),
        (Fault::EndlessErrors, "failed observe: the node printed more than 1 MiB on standard error"),
        (Fault::Repeats("@ tar\n"), "failed observe: the reply is longer than regprov accepts"),
        (Fault::Repeats("@ l drwx------ 2 0 0 9 Nov 21 02:18 /x\n"), "failed observe: the reply is longer than regprov accepts"),
        (Fault::Repeats("@ id passwd alice 0\n"), "failed observe: the reply is longer than regprov accepts"),
        (Fault::Repeats("@ conflict 18446744073709551615\n"), "failed observe: the reply is longer than regprov accepts"),
        (Fault::Repeats("@ l "), "failed observe: the login shell printed more than 64 KiB before the node program spoke"),
        (Fault::Repeats("@ tar\nit is broken\n"), "failed observe: the reply is longer than regprov accepts"),
    ] {
        let start = Instant::now();
        check(fault, want).await;
        assert!(start.elapsed() < SECOND * 3, "{fault:?} took {:?}", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_let_go_whatever_it_does() {
    for fault in [Fault::StallBanner, Fault::StallKeyExchange, Fault::StallChannel, Fault::NoWindow, Fault::EndlessErrors, Fault::Trickle] {
        let bed = Bed::new(&[fault]).await;
        bed.push(vec![bed.host(0)]).await;
        let start = Instant::now();
        while bed.fleet.open.load(Ordering::Relaxed) > 0 {
            assert!(start.elapsed() < SECOND * 3, "{fault:?}: the connection is still open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_opens_no_channel_to_us() {
    let bed = Bed::new(&[Fault::OpensChannels]).await;
    bed.push(vec![bed.host(0)]).await;
    assert_eq!(bed.fleet.let_in.load(Ordering::Relaxed), 0);
}

/// Whatever the node puts into a reply: the words are ours, or are made harmless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_says_steers_neither_a_terminal_nor_a_ci_system() {
    const EVIL: &str = "\u{1b}[2J\u{1b}]52;c;cm0=\u{7}\u{202e}##vso[task.x]y\u{9b}1m";
    for (fault, want) in [
        (
            Fault::Says("@ refuse \u{1b}[2J\u{1b}]52;c;cm0=\u{7}\u{202e}##vso[task.x]y\u{9b}1m\n"),
            "failed start: the node program does not work here: \\u{1b}[2J",
        ),
        (Fault::Says("@ refuse ::error::x\n"), "failed start: the node program does not work here: : :error::x"),
        (Fault::Says("@ busy\n"), "failed replace: "),
        (Fault::Says("@ \u{1b}[2J\n"), "failed observe: the reply is not one that the node program gives"),
        (Fault::Says("@ end\n"), "failed observe: the node does not tell who we are there"),
        (Fault::Disconnects("\u{1b}[2J\u{1b}]52;c;cm0=\u{7}::error::x\r\n##vso[task.x]y"), "failed start: "),
    ] {
        let bed = Bed::new(&[fault]).await;
        let (report, _) = bed.push(vec![bed.host(0)]).await;
        let got = told(&report.hosts[0]);
        assert!(got.starts_with(want), "{fault:?}: {got}");
        for text in [
            regprov::ui::recap::recap(&report, regprov::ui::recap::Options { diff: true, ..Default::default() }),
            regprov::ui::json::json(&report, false, true),
        ] {
            assert!(!text.contains(|c: char| EVIL.contains(c) && !c.is_ascii_graphic() && c != ' '), "{fault:?}: {text:?}");
            assert!(!text.contains("##vso") && !text.lines().any(|l| l.trim_start().starts_with("::")), "{fault:?}: {text:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_success_is_not_believed() {
    // Nothing but success; refusals of files that there are not; files that were not asked for.
    for lie in
        ["", "conflict 99\nunstaged 18446744073709551615", "l -rw------- 1 0 0 0 Nov 21 02:18 /etc/shadow\nl lrwxrwxrwx 1 0 0 9 Nov 21 02:18 /x -> \u{1b}[2J"]
    {
        let bed = Bed::new(&[Fault::Forged(lie)]).await;
        let (report, _) = bed.push(vec![bed.host(0)]).await;
        let got = told(&report.hosts[0]);
        assert!(got.starts_with("failed replace: "), "{got}");
        assert!(!got.contains('\u{1b}') && !got.contains("shadow"), "{got}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payload_goes_to_a_host_without_our_nonce() {
    for fault in [Fault::WrongNonce, Fault::EndlessOutput, Fault::StallExec] {
        let bed = Bed::new(&[fault]).await;
        bed.push(vec![bed.host(0)]).await;
        // The request names paths and the nonce; a payload with a tar archive is at least twice as long.
        assert!(bed.fleet.received.load(Ordering::Relaxed) < 2500, "{fault:?}: {}", bed.fleet.received.load(Ordering::Relaxed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_host_key_ends_before_authentication() {
    let bed = Bed::new(&[Fault::None]).await;
    let mut host = bed.host(0);
    host.host_keys[0].base64 = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f".into();
    let (report, _) = bed.push(vec![host]).await;
    let got = told(&report.hosts[0]);
    assert!(got.starts_with("unreachable handshake: the host shows another key than the inventory's"), "{got}");
    assert_eq!(bed.fleet.channels.load(Ordering::Relaxed), 0);
    assert!(!bed.docker_file(0).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_host_key_is_refused() {
    let bed = Bed::new(&[Fault::None]).await;
    let mut host = bed.host(0);
    host.host_keys.clear();
    let (report, _) = bed.push(vec![host]).await;
    let got = told(&report.hosts[0]);
    assert!(got.starts_with("unreachable handshake: the host's key is not known"), "{got}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_and_unknown_names() {
    let bed = Bed::new(&[Fault::None]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut refused = bed.host(0);
    refused.port = Some(free);
    let (report, _) = bed.push(vec![refused]).await;
    assert_eq!(told(&report.hosts[0]), "unreachable connect: connection refused, also when tried again");
    assert_eq!(report.exit_code(false), 4);
}

/// The conversation cut after every 97th byte: the file is old or new, nothing staged stays, and the next run converges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_reset_at_every_97th_byte_leaves_old_or_new() {
    let old = "{\n\t\"auths\": {}\n}";
    let with_old = |bed: &Bed| {
        fs::create_dir_all(bed.docker_file(0).parent().unwrap()).unwrap();
        fs::write(bed.docker_file(0), old).unwrap();
    };
    let clean = Bed::new(&[Fault::None]).await;
    with_old(&clean);
    clean.push(vec![clean.host(0)]).await;
    let whole = clean.fleet.received.load(Ordering::Relaxed);
    let cuts: Vec<usize> = (1..whole).step_by(97).collect();
    let faults: Vec<Fault> = cuts.iter().map(|_| Fault::None).collect();
    let mut unknown = 0;
    let mut beds = Vec::new();
    for (n, cut) in cuts.iter().enumerate() {
        let bed = Bed::new(&[Fault::ResetAfter(*cut)]).await;
        with_old(&bed);
        let (report, _) = bed.push(vec![bed.host(0)]).await;
        let now = fs::read_to_string(bed.docker_file(0)).unwrap();
        assert!(now == old || now.contains("index.docker.io"), "cut {n} of {} at {cut}: {now}", faults.len());
        unknown += usize::from(matches!(report.hosts[0].outcome, Outcome::Unknown { .. }));
        assert!(!matches!(report.hosts[0].outcome, Outcome::Changed | Outcome::Unchanged), "{:?}", report.hosts[0].outcome);
        beds.push(bed);
    }
    // Behind a closed connection a program may still be tidying up, or not even have begun to stage: all are looked at last.
    for (bed, cut) in beds.iter().zip(&cuts) {
        let tidy = Instant::now();
        let mut left = leftovers(bed.dir.path());
        while left > 0 && tidy.elapsed() < SECOND * 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            left = leftovers(bed.dir.path());
        }
        assert_eq!(left, 0, "cut at {cut}");
    }
    assert!(unknown * 5 >= cuts.len(), "only {unknown} of {} cuts fell into the payload", cuts.len());
}

fn leftovers(dir: &std::path::Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|e| {
            let own = usize::from(e.file_name().to_string_lossy().starts_with(".regprov."));
            own + if e.file_type().is_ok_and(|t| t.is_dir()) { leftovers(&e.path()) } else { 0 }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_changes_nothing_not_even_an_mtime() {
    let bed = Bed::new(&[Fault::None]).await;
    let (first, _) = bed.push(vec![bed.host(0)]).await;
    assert_eq!(told(&first.hosts[0]), "changed");
    let stamp = |p: &str| fs::metadata(bed.dir.path().join("n0").join(p)).unwrap().modified().unwrap();
    let all = [
        "root/.docker/config.json",
        "root/.docker",
        "etc/regprov/singularity.sh",
        "etc/regprov",
        "etc/profile.d",
        "var/lib/regprov/owned.json",
        "var/lib/regprov",
    ];
    let before = all.map(stamp);
    let channels = bed.fleet.channels.load(Ordering::Relaxed);
    let (second, _) = bed.push(vec![bed.host(0)]).await;
    assert_eq!(told(&second.hosts[0]), "unchanged");
    assert_eq!(all.map(stamp), before);
    assert_eq!(bed.fleet.channels.load(Ordering::Relaxed) - channels, 1, "one channel a host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_cannot_get_to_its_file_is_told() {
    let bed = Bed::new(&[Fault::None]).await;
    let mut host = bed.host(0);
    host.targets.truncate(1);
    host.targets[0].path = RemotePath::parse("/etc/shared/config.json").unwrap();
    host.targets[0].group = Some(fs::metadata(bed.dir.path()).unwrap().gid().to_string());
    host.targets[0].mode = FileMode::secret(0o640).unwrap();
    let made = bed.dir.path().join("n0/etc/shared");
    let (report, _) = bed.push(vec![host.clone()]).await;
    assert_eq!((report.hosts[0].files[0].reason.clone(), fs::metadata(&made).unwrap().mode() & 0o777), (None, 0o755));
    fs::set_permissions(&made, fs::Permissions::from_mode(0o700)).unwrap();
    let (report, _) = bed.push(vec![host]).await;
    let told = report.hosts[0].files[0].reason.clone().unwrap_or_default();
    assert!(told.contains("its group cannot get to it") && told.contains("/etc/shared has mode 0700"), "{told}");
}

/// Eight writers of ten keys each, all at once: all eighty are there in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_concurrent_writers_keep_eighty_of_eighty() {
    let bed = Bed::new(&[Fault::None; 8]).await;
    let mut tasks = Vec::new();
    let keys = Arc::new(Keys::load(&KeySources::only(std::slice::from_ref(&bed.key)), &mut |_| None).await.unwrap());
    for writer in 0..8 {
        let names: Vec<String> = (0..10).map(|i| format!("w{writer}k{i}")).collect();
        let logins: Logins = names
            .iter()
            .map(|n| {
                let mut login = logins(PASSWORD).remove("hub").unwrap();
                login.name.clone_from(n);
                login.registry = regprov::model::Registry::parse(&format!("{n}.example.org")).unwrap().0;
                (n.clone(), login)
            })
            .collect();
        let mut host = bed.host(writer);
        host.root = bed.host(0).root;
        host.targets.truncate(1);
        host.targets[0].logins = names;
        let deadlines = Deadlines { resolve: SECOND, connect: SECOND, handshake: SECOND * 5, authenticate: SECOND * 5 };
        let options = PushOptions {
            forks: 1,
            pace: Default::default(),
            check: false,
            merge: MergeOptions::default(),
            inventory_id: format!("w{writer}"),
            pull_test: None,
            command: SECOND * 30,
            host: SECOND * 60,
        };
        let push = Arc::new(Push { connector: Ssh::direct(std::slice::from_ref(&host), keys.clone(), KnownHosts::default(), deadlines), logins, options });
        tasks.push(tokio::spawn(async move {
            let (_keep, stop) = watch::channel(false);
            push_all(push, vec![host], stop, mpsc::unbounded_channel().0).await
        }));
    }
    for task in tasks {
        assert_eq!(told(&task.await.unwrap().hosts[0]), "changed");
    }
    let file: serde_json::Value = serde_json::from_str(&fs::read_to_string(bed.docker_file(0)).unwrap()).unwrap();
    assert_eq!(file["auths"].as_object().unwrap().len(), 80);
    let conflicts = bed.fleet.channels.load(Ordering::Relaxed) - 8;
    assert!(conflicts > 0, "no conflict occurred, so nothing was shown");
    let record: serde_json::Value = serde_json::from_str(&fs::read_to_string(bed.dir.path().join("n0/var/lib/regprov/owned.json")).unwrap()).unwrap();
    assert_eq!(record["inventories"].as_object().unwrap().len(), 8);
}
