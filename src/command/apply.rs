//! `regprov apply`: the line from an inventory to a report.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::load::Opener;
use super::reach::reach;
use crate::cli::{ApplyArgs, RunArgs, SshArgs};
use crate::error::{Error, Result};
use crate::format::{self, MergeOptions};
use crate::inventory::{self, Inventory};
use crate::model::{Event, Host, HostRow, LoginEntry, Outcome, Pace, Report, Stage};
use crate::push::{Logins, Push, PushOptions, before, push_all};
use crate::transport::ssh::Ssh;
use crate::ui;

/// Brings the hosts to their wanted state and returns the exit code.
pub async fn apply(args: &ApplyArgs, verbose: u8) -> Result<u8> {
    // Everything that can be wrong with the input is found here, before the first connection.
    let mut opener = Opener::of_process(&args.vault.identity.identities)?;
    let mut inventory = opener.inventory(&args.inventory, args.vault.allow_plaintext, args.what.allow_expired)?;
    let chosen = opener.limit(&inventory, args.what.limit.as_deref())?;
    inventory::select(&mut inventory, &args.what.logins, &args.what.targets)?;
    let hosts = targeted(&inventory, &chosen, &args.ssh)?;
    let logins = open(&mut opener, &inventory, &hosts, args.vault.allow_plaintext)?;
    check(&hosts, &logins)?;
    let (connector, files_each) = reach(&hosts, &args.ssh).await?;

    // From here on nothing fails: each host has its row.
    let seconds = Duration::from_secs;
    let options = PushOptions {
        forks: forks(args.ssh.forks, files_each),
        pace: pace(&args.run, &inventory),
        check: args.what.check,
        merge: MergeOptions { replace_invalid: args.what.replace_invalid, drop_bad_entries: args.what.drop_bad_entries },
        inventory_id: inventory.id.clone().unwrap_or_else(|| "default".to_string()),
        command: seconds(args.ssh.timeouts.command_timeout),
        host: seconds(args.ssh.timeouts.host_timeout),
    };
    let names = hosts.iter().map(|h| h.name.clone()).collect();
    let progress = ui::progress::Progress::new(names, verbose > 0, args.what.check);
    let report = run(Arc::new(Push { connector, logins, options }), hosts, progress).await?;

    let recap = ui::recap::Options { check: args.what.check, diff: args.output.diff, colors: ui::stdout_has_colors() };
    let text = if args.output.json { ui::json::json(&report, args.what.check, args.output.diff) } else { ui::recap::recap(&report, recap) };
    ui::out(&text).map_err(|e| Error::internal(format!("the report cannot be written to stdout: {e}")))?;
    Ok(report.exit_code(args.output.detailed_exitcode))
}

/// The chosen hosts that get anything, with the flags laid over their settings.
fn targeted(inventory: &Inventory, chosen: &[usize], ssh: &SshArgs) -> Result<Vec<Host>> {
    let mut hosts: Vec<Host> = chosen.iter().map(|i| inventory.hosts[*i].clone()).filter(|h| !h.targets.is_empty()).collect();
    if hosts.is_empty() {
        return Err(Error::usage("no host is left that gets anything").hint("`regprov hosts` shows who gets what; --limit, --login and --target narrow it"));
    }
    for host in &mut hosts {
        host.user = ssh.user.clone().or(host.user.take());
        host.port = ssh.port.or(host.port);
    }
    // The inventory was held to this before `--port` was laid over it.
    let mut taken = HashMap::new();
    for host in &hosts {
        let address = host.inventory_address();
        if let Some(other) = taken.insert((address.clone(), &host.jump), &host.name) {
            let both = format!("--port {} makes {other} and {} one address, {address}", address.port, host.name);
            return Err(Error::usage(both).hint("limit the run to one of them, or leave --port out"));
        }
    }
    Ok(hosts)
}

/// Opens the logins that these hosts get, and no others: a host that is skipped gets none.
fn open(opener: &mut Opener, inventory: &Inventory, hosts: &[Host], allow_plaintext: bool) -> Result<Logins> {
    let wanted: BTreeSet<&str> = contacted(hosts).flat_map(|h| &h.targets).flat_map(|t| &t.logins).map(String::as_str).collect();
    let entries: Vec<&LoginEntry> = inventory.logins.iter().filter(|l| wanted.contains(l.name.as_str())).collect();
    Ok(opener.logins(&entries, allow_plaintext)?.into_iter().map(|l| (l.name.clone(), l)).collect())
}

/// The hosts that are not skipped.
fn contacted(hosts: &[Host]) -> impl Iterator<Item = &Host> {
    hosts.iter().filter(|h| h.skip.is_none())
}

/// What the formats refuse whatever the nodes are like; a problem that many hosts share is told once.
fn check(hosts: &[Host], logins: &Logins) -> Result<()> {
    let mut seen = Vec::new();
    let mut problems = Vec::new();
    for target in contacted(hosts).flat_map(|h| &h.targets) {
        if seen.contains(&target) {
            continue;
        }
        seen.push(target);
        let logins: Vec<_> = target.logins.iter().filter_map(|l| logins.get(l)).collect();
        for problem in (format::consumer(target.kind).check)(target, &logins) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::usage(problems.join("\n"))) }
}

/// Waves and guards: the flags, and the inventory's `serial:` where they say nothing of waves.
fn pace(args: &RunArgs, inventory: &Inventory) -> Pace {
    let batch = if args.batch.is_empty() { &inventory.serial } else { &args.batch };
    Pace { canary: args.canary.unwrap_or(0) as usize, batch: batch.clone(), max_fail: args.max_fail }
}

/// Hosts in flight: as asked, unless the process may not open so many connections.
fn forks(wanted: u32, files_each: u64) -> usize {
    let most = super::process::connections_max(files_each);
    if u64::from(wanted) > most {
        ui::warning(&format!("{most} hosts at a time instead of {wanted}: this process may not open more files; raise it with `ulimit -n`"));
    }
    u64::from(wanted).min(most) as usize
}

/// Runs the fan-out, draws it, and hears signals: after the first one no host starts any more, after the second one
/// nothing is waited for.
async fn run(push: Arc<Push<Ssh>>, hosts: Vec<Host>, mut progress: ui::progress::Progress) -> Result<Report> {
    let heard = |e| Error::internal(format!("signals cannot be heard: {e}"));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt()).map_err(heard)?, signal(SignalKind::terminate()).map_err(heard)?);
    let (stop, stopped) = watch::channel(false);
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut so_far = SoFar::new(&hosts);
    let mut interrupted = None;
    let work = push_all(push, hosts, stopped, sender);
    tokio::pin!(work);
    let mut report = loop {
        let code = tokio::select! {
            biased;
            Some(event) = events.recv() => {
                progress.event(&event);
                so_far.event(event);
                continue;
            }
            report = &mut work => break report,
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        };
        if interrupted.replace(code).is_some() {
            break so_far.report();
        }
        let _ = stop.send(true);
        progress.warning("stopping: hosts in flight finish, no other starts; a second signal stops at once");
    };
    while let Ok(event) = events.try_recv() {
        progress.event(&event);
    }
    progress.finish();
    report.interrupted = interrupted;
    Ok(report)
}

/// What is known of each host while the run goes on.
struct SoFar {
    rows: Vec<HostRow>,
}

impl SoFar {
    fn new(hosts: &[Host]) -> Self {
        SoFar { rows: hosts.iter().map(before).collect() }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Started { .. } => {}
            Event::Sent { index } => {
                let reason = "stopped in the middle by a second signal; each file is old or new, run again".to_string();
                self.rows[index].outcome = Outcome::Unknown { stage: Stage::Replace, reason };
            }
            Event::Ended { index, row } => self.rows[index] = row,
        }
    }

    fn report(&mut self) -> Report {
        Report { hosts: std::mem::take(&mut self.rows), ..Report::default() }
    }
}
