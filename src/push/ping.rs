//! Looking at many hosts at once without writing anything there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::host::run_as;
use crate::format::owned;
use crate::model::ping::{NodeState, PingEvent, PingRow, Space, Unseen};
use crate::model::text::sanitize;
use crate::model::{CurlVersion, Host, RemotePath, Stage, Target};
use crate::node::protocol::{Nonce, ReplyReader, hello};
use crate::transport::clock::{Clock, since_1970};
use crate::transport::{Connector, Session, Trouble};

/// How far a node's clock may be off before it is told, in seconds.
const CLOCK_SECONDS_MAX: u64 = 60;
/// Less than this is told, in KiB: a run stages all files of a host at once.
const FREE_KIB_MIN: u64 = 4 << 10;
/// Less than this is told.
const FREE_INODES_MIN: u64 = 64;

/// How the hosts are looked at.
#[derive(Clone, Copy, Debug)]
pub struct PingOptions {
    /// Hosts in flight at once.
    pub forks: usize,
    /// How long the program may take.
    pub command: Duration,
    /// How long one host may take in all.
    pub host: Duration,
}

/// Looks at every host, and tells `events` as it goes; a row for each comes back, in the order of `hosts`. A connector that halts
/// keeps the rest from being tried, and a host to [skip](Host::skip) is not contacted. Dropped, it leaves the hosts as they are.
pub async fn ping_all<C: Connector>(connector: Arc<C>, hosts: Vec<Host>, options: PingOptions, events: mpsc::UnboundedSender<PingEvent>) -> Vec<PingRow> {
    let mut rows: Vec<Option<PingRow>> = hosts.iter().map(|_| None).collect();
    let hosts: Vec<Arc<Host>> = hosts.into_iter().map(Arc::new).collect();
    let mut running = JoinSet::new();
    let mut next = 0;
    loop {
        while running.len() < options.forks.max(1) && next < hosts.len() && connector.halted().is_none() {
            let (connector, host, index) = (connector.clone(), hosts[next].clone(), next);
            next += 1;
            if host.skip.is_some() {
                let row = before(&host, "");
                // Whoever draws may have gone; the look goes on.
                let _ = events.send(PingEvent::Ended(index, row.clone()));
                rows[index] = Some(row);
                continue;
            }
            let _ = events.send(PingEvent::Started(index));
            running.spawn(async move { (index, ping(&*connector, &host, options).await) });
        }
        let Some(ended) = running.join_next().await else { break };
        // A task that panicked leaves its row open.
        if let Ok((index, result)) = ended {
            let row = PingRow { host: hosts[index].name.clone(), result: result.map_err(|t| Unseen::Failed(t.stage, t.reason)) };
            let _ = events.send(PingEvent::Ended(index, row.clone()));
            rows[index] = Some(row);
        }
    }
    let halted = connector.halted();
    let missing = |(index, host): (usize, &Arc<Host>)| match &halted {
        Some(why) if index >= next => before(host, why),
        _ => {
            let defect = "regprov itself failed here; this is a defect, please report it".to_string();
            PingRow { host: host.name.clone(), result: Err(Unseen::Failed(Stage::Start, defect)) }
        }
    };
    rows.into_iter().zip(hosts.iter().enumerate()).map(|(row, host)| row.unwrap_or_else(|| missing(host))).collect()
}

/// The row of a host before its turn: skipped when a source of hosts says so, else not attempted for this reason.
pub fn before(host: &Host, why: &str) -> PingRow {
    let unseen = host.skip.clone().map_or_else(|| Unseen::NotAttempted(why.to_string()), Unseen::Skipped);
    PingRow { host: host.name.clone(), result: Err(unseen) }
}

async fn ping<C: Connector>(connector: &C, host: &Host, options: PingOptions) -> Result<NodeState, Trouble> {
    let clock = Arc::new(Clock::default());
    let late = || Trouble::new(Stage::Connect, format!("not done within {} s", options.host.as_secs()));
    let work = async {
        let mut session = connector.connect(host, &clock).await?;
        let result = look(connector, host, &mut session, options, &clock).await;
        session.close().await;
        result
    };
    clock.limit(options.host, work).await.unwrap_or_else(|| Err(late()))
}

async fn look<C: Connector>(connector: &C, host: &Host, session: &mut C::Session, options: PingOptions, clock: &Clock) -> Result<NodeState, Trouble> {
    // A host all of whose files are one user's is looked at as that user.
    let first = host.targets.iter().map(|t| t.user.as_deref()).min().flatten();
    let way = run_as(host, &connector.login(host), first)?;
    let late = |stage| Trouble::new(stage, format!("the node gave no answer within {} s", options.command.as_secs()));
    clock.limit(options.command, session.start(&way)).await.unwrap_or_else(|| Err(late(Stage::Start)))?;
    let nonce = Nonce::random();
    let dirs = dirs(host);
    let mut request = hello(&nonce);
    for dir in &dirs {
        request += &format!("space {dir}\n");
    }
    request += "probe\n";
    let mut reader = ReplyReader::new(nonce);
    let exchange = session.exchange(Zeroizing::new(request.into_bytes()), true, &mut reader);
    let reply = tokio::time::timeout(options.command, exchange).await.map_err(|_| late(Stage::Observe))??;
    if let Some(why) = reply.refused {
        return Err(Trouble::new(Stage::Start, format!("the node program does not work here: {}", sanitize(&why))));
    }
    Ok(state(host, first.is_none(), &dirs, &reply.facts, since_1970().as_secs()))
}

/// The directories that are written in, but those in homes, which only a node knows.
fn dirs(host: &Host) -> Vec<RemotePath> {
    let record = RemotePath::parse(owned::PATH).expect("a constant");
    let mut dirs: Vec<RemotePath> = Vec::new();
    let record = host.targets.iter().any(|t| t.user.is_none()).then_some(&record);
    for path in host.targets.iter().filter(|t| !t.is_auto()).map(|t| &t.path).filter(|p| Target::below_home(p).is_none()).chain(record) {
        let dir = path.parent().below(&host.root);
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs
}

/// What the facts come to. A fact that does not fit the grammar is none; no word of the node is shown as it came.
fn state(host: &Host, is_root_s: bool, dirs: &[RemotePath], facts: &[(String, String)], now: u64) -> NodeState {
    let all = |name: &'static str| facts.iter().filter(move |(n, _)| n == name).map(|(_, words)| words.as_str());
    let one = |name: &'static str| all(name).next();
    let tools: Vec<&str> = all("tool").collect();
    let mut state = NodeState {
        consumers: CONSUMERS.iter().filter(|c| all("consumer").any(|found| found == **c)).map(ToString::to_string).collect(),
        curl: one("curl").and_then(|v| CurlVersion::parse(v.strip_prefix("curl ")?.split(' ').next()?)),
        selinux_enforcing: one("selinux").map(|v| v == "1"),
        ..NodeState::default()
    };
    let warnings = &mut state.warnings;
    match one("uid").and_then(|u| u.parse::<u32>().ok()) {
        None => warnings.push("it does not tell who we are there; is /proc mounted?".to_string()),
        Some(0) => {}
        Some(uid) if is_root_s && host.root.as_str() == "/" => {
            warnings.push(format!("the SSH user has user id {uid}, and these files are root's; set `user: root`, or `become: true`"));
        }
        Some(_) => {}
    }
    if !["sha256sum", "shasum", "openssl"].iter().any(|t| tools.contains(t)) {
        warnings.push("there is no sha256sum, shasum or openssl, and regprov does not write without".to_string());
    }
    if !tools.contains(&"tar") && !["chown", "chmod"].iter().all(|t| tools.contains(t)) {
        warnings.push("there is neither tar nor chown and chmod, and regprov does not write without".to_string());
    }
    match one("time").and_then(|t| t.parse::<u64>().ok()) {
        Some(there) if there.abs_diff(now) > CLOCK_SECONDS_MAX => {
            warnings.push(format!("its clock is {} {}", rounded_time(there.abs_diff(now)), if there > now { "ahead" } else { "behind" }))
        }
        Some(_) => {}
        None => warnings.push("it does not tell its time".to_string()),
    }
    for dir in dirs {
        let words = all("space").find_map(|w| w.strip_prefix(dir.as_str())?.strip_prefix(' '));
        let mut words = words.unwrap_or_default().split(' ');
        let mut number = || words.next().and_then(|w| w.parse::<u64>().ok());
        let (kib, inodes) = (number(), number());
        let writable = words.next() == Some("w");
        if !writable {
            warnings.push(format!("{dir} cannot be written: a read-only mount, or not ours"));
        }
        if kib.is_some_and(|k| k < FREE_KIB_MIN) {
            warnings.push(format!("{dir} has less than {} MiB free", FREE_KIB_MIN >> 10));
        }
        // A filesystem without a fixed number of inodes (btrfs) says 0 or -.
        if inodes.is_some_and(|i| i > 0 && i < FREE_INODES_MIN) {
            warnings.push(format!("{dir} has fewer than {FREE_INODES_MIN} free inodes"));
        }
        state.space.push(Space {
            dir: dir.clone(),
            free: kib.map(|k| rounded(k, &["KiB", "MiB", "GiB", "TiB", "PiB"])),
            inodes: inodes.filter(|i| *i > 0).map(|i| rounded(i, &["", "k", "M", "G", "T"])),
            writable,
        });
    }
    state
}

/// What `regprov ping` looks for; probe.sh has the same list.
const CONSUMERS: [&str; 14] =
    ["docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "enroot", "singularity", "apptainer", "containerd", "crio", "kubelet", "k3s", "rke2"];

/// The largest power of two that is not larger, in units of 1024.
fn rounded(number: u64, units: &[&str]) -> String {
    let power = 1u64 << number.max(1).ilog2();
    let step = (power.ilog2() / 10).min(units.len() as u32 - 1);
    format!("{} {}", if number == 0 { 0 } else { power >> (10 * step) }, units[step as usize]).trim_end().to_string()
}

/// About how long, in one word and a number.
fn rounded_time(seconds: u64) -> String {
    match seconds {
        0..=119 => "more than a minute".to_string(),
        120..=7199 => format!("about {} min", 1 << (seconds / 60).ilog2()),
        7200..=172_799 => format!("about {} h", 1 << (seconds / 3600).ilog2()),
        _ => "days".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TargetKind;

    #[test]
    fn every_target_s_consumer_is_looked_for() {
        let probe = include_str!("../node/probe.sh");
        assert!(probe.contains(&format!("for t in {}; do", CONSUMERS.join(" "))), "probe.sh has another list");
        // What docker-mirror writes is read by docker, podman and containerd.
        let missing = TargetKind::ALL.iter().filter(|k| **k != TargetKind::DockerMirror && !CONSUMERS.contains(&k.name()));
        assert_eq!(missing.collect::<Vec<_>>(), [] as [&TargetKind; 0]);
    }

    #[test]
    fn numbers_that_change_all_the_time_are_rounded() {
        let units = ["KiB", "MiB", "GiB"];
        for (number, want) in [(0, "0 KiB"), (1, "1 KiB"), (1023, "512 KiB"), (1024, "1 MiB"), (20 << 20, "16 GiB"), (u64::MAX, "8796093022208 GiB")] {
            assert_eq!(rounded(number, &units), want);
        }
        for (seconds, want) in [(61, "more than a minute"), (400, "about 4 min"), (20_000, "about 4 h"), (u64::MAX, "days")] {
            assert_eq!(rounded_time(seconds), want);
        }
    }

    #[test]
    fn facts_outside_the_grammar_are_none() {
        let fact = |name: &str, words: &str| (name.to_string(), words.to_string());
        let dir = RemotePath::parse("/root/.docker").unwrap();
        let good = [
            fact("uid", "0"),
            fact("tool", "sha256sum"),
            fact("tool", "tar"),
            fact("consumer", "docker"),
            fact("curl", "curl 8.14.1 (x)"),
            fact("time", "1000"),
            fact("space", "/root/.docker 20971520 70000 w"),
        ];
        let state = |facts: &[(String, String)], now| super::state(&Host::named("n"), true, std::slice::from_ref(&dir), facts, now);
        let fine = state(&good, 1050);
        assert_eq!((fine.warnings.len(), fine.consumers, fine.curl), (0, vec!["docker".to_string()], Some(CurlVersion(8, 14, 1))));
        assert_eq!((fine.space[0].free.as_deref(), fine.space[0].inodes.as_deref()), (Some("16 GiB"), Some("64 k")));
        assert_eq!(state(&good, 1300).warnings, ["its clock is about 4 min behind"]);
        let bad =
            [fact("uid", "x"), fact("consumer", "\u{1b}[2J"), fact("curl", "::error::"), fact("time", "now"), fact("space", "/root/.docker -1 x ::error::")];
        let odd = state(&bad, 0);
        assert_eq!((odd.consumers.len(), odd.curl), (0, None));
        let text = odd.warnings.join("\n");
        for part in ["does not tell who we are", "no sha256sum", "neither tar", "its time", "/root/.docker cannot be written"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("error") && !text.contains('\u{1b}'));
    }
}
