//! The fan-out: many hosts at once, one [`Outcome`] each, always.

mod after;
mod auto;
mod clearance;
mod decide;
mod helpers;
mod host;
mod job;
pub mod look;
mod memo;
mod observe;
mod other;
pub mod ping;
mod pull;
pub mod remove;
pub mod render;
mod same;
mod shared;
pub mod status;
mod tasks;
mod waves;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::format::MergeOptions;
use crate::model::{Change, Event, FileRow, Host, HostRow, Image, Login, Outcome, Pace, Report, Stage};
use crate::transport::Connector;
use remove::Task;

pub use clearance::{Clearance, Clears};
pub use other::{Other, Sent, Work};

/// The logins of a run by name.
pub type Logins = BTreeMap<String, Login>;

/// How a run is done.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Hosts in flight at once.
    pub forks: usize,
    /// Its waves and guards.
    pub pace: Pace,
    /// Nothing is written.
    pub check: bool,
    /// What the admin allows with files that are not as they should be.
    pub merge: MergeOptions,
    /// The inventory's name in the node's record.
    pub inventory_id: String,
    /// An image that each host shall be granted by its registry, with the host's login for it, once its files have been read back.
    pub pull_test: Option<Image>,
    /// How long one exchange with the node program may take.
    pub command: Duration,
    /// How long one host may take in all.
    pub host: Duration,
}

/// Everything that the hosts' tasks share.
pub struct Push<C> {
    /// How hosts are reached.
    pub connector: C,
    /// What they get.
    pub logins: Logins,
    /// How.
    pub options: PushOptions,
}

/// [`push_all_for`] the task that writes what is wanted, with nothing to wait for.
pub async fn push_all<C: Connector>(push: Arc<Push<C>>, hosts: Vec<Host>, stop: watch::Receiver<bool>, events: mpsc::UnboundedSender<Event>) -> Report {
    push_all_for(push, Task::Apply, Clearance::given(), hosts, Vec::new(), stop, events).await
}

/// Brings every host, and then every other destination, to its wanted state, wave after wave and [`PushOptions::forks`] at a time, and tells `events` as it goes.
/// When a guard of [`PushOptions::pace`] or [`Connector::halted`] stops the run, or when `stop` turns true, no further host
/// starts, and those in flight end in their own time. A host to [skip](Host::skip) is told as ended at once and never contacted.
/// One row for each comes back, in the order of `hosts` and then of `others`, whatever happens.
///
/// No host is written, and none ends, before `clearance` is given; whoever waits for it loses no time of its own.
pub async fn push_all_for<C: Connector>(
    push: Arc<Push<C>>,
    task: Task,
    clearance: Clearance,
    hosts: Vec<Host>,
    others: Vec<Other>,
    stop: watch::Receiver<bool>,
    events: mpsc::UnboundedSender<Event>,
) -> Report {
    let task = Arc::new(task);
    let hosts: Vec<Arc<Host>> = hosts.into_iter().map(Arc::new).collect();
    let mut rows: Vec<HostRow> = hosts.iter().map(|h| before(h)).chain(others.iter().map(|o| o.row.clone())).collect();
    let mut others: Vec<Option<Other>> = others.into_iter().map(Some).collect();
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| matches!(row.outcome, Outcome::Skipped { .. })) {
        // Whoever draws may have gone; the run goes on.
        let _ = events.send(Event::Ended { index, row: row.clone() });
    }
    let is_skipped = |i: &usize| hosts.get(*i).is_some_and(|host| host.skip.is_some());
    let contacted: Vec<usize> = (0..rows.len()).filter(|i| !is_skipped(i)).collect();
    let memos = memo::Memos { shared: (contacted.len() > 1).then(Arc::default), ..memo::Memos::default() };
    let memos = Arc::new(memos);
    let kind = match (hosts.is_empty(), others.is_empty()) {
        (_, true) => "hosts",
        (true, false) => "namespaces",
        (false, false) => "hosts and namespaces",
    };
    let mut waves = waves::Waves::new(contacted, kind, push.options.pace.clone());
    let mut running = JoinSet::new();
    let mut index_of = BTreeMap::new();
    loop {
        while running.len() < push.options.forks.max(1) && !*stop.borrow() && !clearance.is_refused() {
            let Some(next) = waves.next() else { break };
            let _ = events.send(Event::Started { index: next });
            let (index, sender) = (next, events.clone());
            let sent = move || {
                let _ = sender.send(Event::Sent { index });
            };
            let clearance = clearance.clone();
            let running_task = match hosts.get(next) {
                Some(host) => {
                    let (push, task, host, memos) = (push.clone(), task.clone(), host.clone(), memos.clone());
                    running.spawn(async move { host::push_host(&push, &task, &host, &memos, &sent, &clearance).await })
                }
                None => {
                    let other = others[next - hosts.len()].take().expect("each position has one turn");
                    running.spawn(other.bring(Box::new(sent), clearance))
                }
            };
            index_of.insert(running_task.id(), next);
        }
        let Some(ended) = running.join_next_with_id().await else { break };
        let (index, row) = match ended {
            Ok((id, row)) => (index_of[&id], row),
            Err(error) => {
                let index = index_of[&error.id()];
                let reason = "regprov itself failed here; this is a defect, please report it".to_string();
                (index, HostRow { outcome: Outcome::Unknown { stage: Stage::Start, reason }, ..rows[index].clone() })
            }
        };
        // Whom the clearance kept from being written is no failure that a guard counts.
        if !clearance.is_refused() {
            waves.ended(&row.outcome);
        }
        if let Some(why) = push.connector.halted() {
            waves.stop(why);
        }
        let _ = events.send(Event::Ended { index, row: row.clone() });
        rows[index] = row;
    }
    if let Some(shared) = &memos.shared {
        shared.tell(&mut rows);
    }
    Report { hosts: rows, stopped: waves.into_stopped(), ..Report::default() }
}

/// The row of a host before its turn: not attempted, or skipped when a source of hosts says so.
pub fn before(host: &Host) -> HostRow {
    let skipped = host.skip.clone().map(|reason| Outcome::Skipped { reason });
    not_attempted(host, skipped.unwrap_or(Outcome::NotAttempted))
}

/// A row for a host whose files were not got to.
pub fn not_attempted(host: &Host, outcome: Outcome) -> HostRow {
    let files = job::items(host, &Logins::new(), 0)
        .iter()
        .map(|item| FileRow {
            target: item.target.kind.name(),
            path: job::shown(host, item.target, &item.spec.path),
            change: Change::NotAttempted,
            reason: None,
            diff: Vec::new(),
        })
        .collect();
    HostRow { host: host.name.clone(), outcome, files, notes: Vec::new() }
}
