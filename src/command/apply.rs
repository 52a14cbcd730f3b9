//! `regprov apply`: the line from an inventory to a report.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::become_password::become_password;
use super::clusters::{self, Clusters};
use super::journal::{self, Journal, LastRun, Selection};
use super::load::{Opener, check_expiry, known, now};
use super::namespaces::add_those_that_left;
use super::reach::{Purpose, reach};
use super::verify;
use super::watch::{Watched, watch as watch_alone};
use crate::cli::{ApplyArgs, ApplyOutputArgs, RunArgs, SshArgs, WhatArgs};
use crate::error::{Error, Result};
use crate::format::{self, MergeOptions};
use crate::inventory::{self, Chosen, Inventory};
use crate::kubernetes;
use crate::model::text::shell_word;
use crate::model::verify::{Verified, VerifyMode};
use crate::model::{Connection, Event, Host, HostRow, LoginEntry, Namespace, Outcome, Pace, Report, Stage};
use crate::node::Program;
use crate::push::remove::Task;
use crate::push::{Clearance, Clears, Logins, Other, Push, PushOptions, before, push_all_for};
use crate::registry::{Client, Deadlines, Subject, check_all};
use crate::transport::local::Local;
use crate::transport::reach::Reach;
use crate::ui;

/// Brings the hosts to their wanted state and returns the exit code.
pub async fn apply(args: &ApplyArgs, verbose: u8) -> Result<u8> {
    // Everything that can be wrong with the input is found here, before the first connection.
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    let mut inventory = opener.inventory(&args.inventory, args.vault.allow_plaintext, args.what.allow_expired)?;
    let mut clusters = Clusters::of(&mut inventory, &args.clusters, &args.ssh.timeouts).await?;
    if args.what.prune {
        may_take(&inventory)?;
        add_those_that_left(&mut inventory, &mut clusters, args.what.limit.as_deref()).await;
    }
    let last = if args.what.resume { Some(LastRun::of(&args.inventory)?) } else { None };
    let chosen = match &last {
        Some(last) => known(&inventory, &last.unfinished()),
        None => opener.limit(&inventory, args.what.limit.as_deref())?,
    };
    let chosen = clusters::narrow(chosen, args.clusters.only);
    if let Some(last) = last.as_ref().filter(|_| chosen.is_empty()) {
        return tell(&Report::default(), &format!("nothing is left of the last run ({})\n", last.path.display()), &args.output, args.what.check);
    }
    let selection = selection(&args.what, last.as_ref());
    if args.what.prune && !(selection.logins.is_empty() && selection.targets.is_empty()) {
        return Err(Error::usage("--prune would take what --login and --target leave out for gone").hint("leave them out (or --resume of a run that had them)"));
    }
    // A host that gets nothing any more may still hold something.
    if !args.what.prune {
        inventory::select(&mut inventory, &selection.logins, &selection.targets)?;
    }
    let ready = Ready::new(&mut opener, inventory, clusters, &chosen, selection, args).await?;
    ready.run(args, verbose, std::env::args_os().skip(1)).await
}

/// A run in whose input nothing is wrong.
pub(super) struct Ready {
    inventory: Inventory,
    hosts: Vec<Host>,
    clusters: Clusters,
    namespaces: Vec<Namespace>,
    logins: Logins,
    selection: Selection,
    checking: Option<Checking>,
    /// What registries said before the run.
    verified: Option<Verified>,
    connector: Reach,
    files_each: u64,
}

impl Ready {
    /// For the hosts and namespaces at these positions. Nothing is contacted yet.
    ///
    /// # Errors
    /// All that is wrong with the input.
    pub(super) async fn new(
        opener: &mut Opener,
        inventory: Inventory,
        clusters: Clusters,
        chosen: &Chosen,
        selection: Selection,
        args: &ApplyArgs,
    ) -> Result<Ready> {
        let namespaces = clusters::targeted(&inventory, &chosen.namespaces, args.what.prune);
        let hosts = match namespaces.is_empty() {
            true => targeted(&inventory, &chosen.hosts, &args.ssh, args.what.prune)?,
            false => with_flags(&inventory, &chosen.hosts, &args.ssh, args.what.prune)?,
        };
        let logins = open(opener, &inventory, &hosts, &namespaces, args.vault.allow_plaintext)?;
        check_expiry(logins.values(), &inventory.logins, args.what.allow_expired)?;
        check(&hosts, &namespaces, &logins)?;
        let checking = checking(args, &inventory, &logins)?;
        let become_password = become_password(opener, &inventory, &hosts, args.ssh.ask_become_pass, args.vault.allow_plaintext)?;
        let (ssh, files_each) = reach(&hosts, &inventory.hosts, &args.ssh, Purpose::LogIn).await?;
        let connector = Reach { ssh, local: Local::default(), become_password, program: Program::Files };
        Ok(Ready { inventory, hosts, clusters, namespaces, logins, selection, checking, verified: None, connector, files_each })
    }

    /// Asks the registries now and not beside the run. The exit code where a login is refused, told as a run that did not begin, or where a
    /// signal came.
    pub(super) async fn verify_first(&mut self, args: &ApplyArgs) -> Result<Option<u8>> {
        let Some(checking) = self.checking.take() else { return Ok(None) };
        let (clears, _clearance) = Clearance::awaited();
        let (_, silent) = mpsc::unbounded_channel();
        let (verified, interrupted) = match watch_alone(checking.run(clears), silent, |()| {}).await? {
            Watched::Done(verified) => (Some(verified), None),
            Watched::Interrupted(code) => (None, Some(code)),
        };
        let namespaces = self.namespaces.iter().map(|n| kubernetes::apply::before(n, Outcome::NotAttempted));
        let report = Report { hosts: self.hosts.iter().map(before).chain(namespaces).collect(), interrupted, verified, stopped: None };
        if report.verified.as_ref().is_some_and(|v| v.refused().next().is_none()) {
            self.verified = report.verified;
            return Ok(None);
        }
        let recap = ui::recap::Options { check: args.what.check, colors: ui::stdout_has_colors(), ..Default::default() };
        tell(&report, &ui::recap::recap(&report, recap), &args.output, args.what.check).map(Some)
    }

    /// Goes to the hosts, tells how it went, and returns the exit code. From here on nothing fails: each host has its row. `words` are those
    /// of a command that repeats this run.
    pub(super) async fn run(self, args: &ApplyArgs, verbose: u8, words: impl Iterator<Item = OsString>) -> Result<u8> {
        let Ready { inventory, hosts, clusters, namespaces, logins, selection, checking, verified, connector, files_each } = self;
        let seconds = Duration::from_secs;
        let options = PushOptions {
            forks: forks(args.ssh.forks, files_each),
            pace: pace(&args.run, &inventory),
            check: args.what.check,
            merge: MergeOptions { replace_invalid: args.what.replace_invalid, drop_bad_entries: args.what.drop_bad_entries },
            inventory_id: inventory.id.clone().unwrap_or_else(|| "default".to_string()),
            pull_test: args.what.pull_test.clone(),
            command: seconds(args.ssh.timeouts.command_timeout),
            host: seconds(args.ssh.timeouts.host_timeout),
        };
        let namespace_options = kubernetes::apply::Options {
            check: args.what.check,
            force_conflicts: args.secrets.force_conflicts,
            replace: args.secrets.replace,
            prune: args.what.prune,
        };
        let others = clusters::destinations(&clusters, namespaces, &logins, &options.inventory_id, namespace_options, options.host);
        let names: Vec<String> = hosts.iter().map(|h| h.name.clone()).chain(others.iter().map(|o| o.row.host.clone())).collect();
        let mut journal = if args.what.check { None } else { journal(args, &inventory, &names, &selection) };
        let progress = ui::progress::Progress::new(names, verbose > 0, args.what.check);
        let task = if args.what.prune { Task::Prune } else { Task::Apply };
        let report = run(Arc::new(Push { connector, logins, options }), task, (hosts, others), progress, journal.as_mut(), checking).await?;
        let report = Report { verified: report.verified.or(verified), ..report };

        let whole = journal.is_some_and(|journal| journal.finish(&report, report.exit_code(args.output.detailed_exitcode)));
        let command = if whole { repeated(words, &selection) } else { None };
        let recap = ui::recap::Options { check: args.what.check, diff: args.output.diff, colors: ui::stdout_has_colors(), command: command.as_deref() };
        tell(&report, &ui::recap::recap(&report, recap), &args.output, args.what.check)
    }
}

/// Demands that the nodes' record knows this inventory by a name of its own, without which it could take what another one wrote for its own.
pub(super) fn may_take(inventory: &Inventory) -> Result<()> {
    match inventory.id {
        Some(_) => Ok(()),
        None => Err(Error::usage(format!("{} has no `id:`, by which the nodes know what it wrote there", inventory.path))
            .hint("give it a name of its own (`id: example-cluster`) and run `apply`; what was written before then stays on the nodes as somebody else's")),
    }
}

/// Writes the report, as text or as the document, and returns the exit code.
pub(super) fn tell(report: &Report, text: &str, output: &ApplyOutputArgs, check: bool) -> Result<u8> {
    let document = output.json.then(|| ui::json::json(report, check, output.diff));
    let lost = |e| {
        // The run is over all the same, and whoever reads stderr shall know how.
        let summary = ui::recap::summary(report, check);
        Error::internal(format!("the report cannot be written to stdout: {e}\nthe run itself came to its end: {}", summary.trim_end()))
    };
    ui::out(document.as_deref().unwrap_or(text)).map_err(lost)?;
    Ok(report.exit_code(output.detailed_exitcode))
}

/// `--login` and `--target`; where neither is given, those of the run that this one continues.
fn selection(what: &WhatArgs, last: Option<&LastRun>) -> Selection {
    match last {
        Some(last) if what.logins.is_empty() && what.targets.is_empty() => last.selection(),
        _ => Selection { logins: what.logins.clone(), targets: what.targets.clone() },
    }
}

/// The run's journal. Without one the run goes on, and nothing can be resumed.
fn journal(args: &ApplyArgs, inventory: &Inventory, hosts: &[String], selection: &Selection) -> Option<Journal> {
    let started = match journal::folder(&args.inventory) {
        Some(folder) => Journal::start(&folder, &args.inventory, inventory.id.as_deref(), hosts.to_vec(), selection),
        None => Err("neither XDG_STATE_HOME nor HOME is an absolute path".to_string()),
    };
    started.map_err(|why| ui::warning(&no_journal(&why))).ok()
}

fn no_journal(why: &str) -> String {
    format!("no journal of this run, so --resume and --limit @failed do not know it: {why}")
}

/// The command that repeats this run, fit for a shell: its own words but for which hosts, and the selection that it took over.
/// `None` where a word is no text.
fn repeated(args: impl Iterator<Item = OsString>, selection: &Selection) -> Option<String> {
    let mut words = vec!["regprov".to_string()];
    let mut args = args.map(OsString::into_string);
    let mut selects = false;
    while let Some(word) = args.next() {
        let word = word.ok()?;
        match word.as_str() {
            "--resume" => {}
            "--limit" => drop(args.next()),
            word if word.starts_with("--limit=") => {}
            word => {
                selects |= ["--login", "--target"].iter().any(|flag| word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')));
                words.push(shell_word(word));
            }
        }
    }
    if !selects {
        words.extend(selection.logins.iter().map(|login| format!("--login {}", shell_word(login))));
        words.extend(selection.targets.iter().map(|target| format!("--target {target}")));
    }
    Some(words.join(" "))
}

/// As [`with_flags`]; having none is an error.
pub(super) fn targeted(inventory: &Inventory, chosen: &[usize], ssh: &SshArgs, bare: bool) -> Result<Vec<Host>> {
    let hosts = with_flags(inventory, chosen, ssh, bare)?;
    some(&hosts)?;
    Ok(hosts)
}

/// Demands that a host is left.
pub(super) fn some(hosts: &[Host]) -> Result<()> {
    match hosts.is_empty() {
        true => {
            Err(Error::usage("no host is left that gets anything").hint("`regprov hosts` shows who gets what; --only, --limit, --login and --target narrow it"))
        }
        false => Ok(()),
    }
}

/// The chosen hosts that get anything, or with `bare` all of them, with the flags laid over their settings.
pub(super) fn with_flags(inventory: &Inventory, chosen: &[usize], ssh: &SshArgs, bare: bool) -> Result<Vec<Host>> {
    let mut hosts: Vec<Host> = chosen.iter().map(|i| inventory.hosts[*i].clone()).filter(|h| bare || !h.targets.is_empty()).collect();
    for host in &mut hosts {
        host.user = ssh.user.clone().or(host.user.take());
        host.port = ssh.port.or(host.port);
    }
    // The inventory was held to this before `--port` was laid over it.
    let mut taken = HashMap::new();
    for host in hosts.iter().filter(|h| h.connection == Connection::Ssh) {
        let address = host.inventory_address();
        if let Some(other) = taken.insert((address.clone(), &host.jump), &host.name) {
            let both = format!("--port {} makes {other} and {} one address, {address}", address.port, host.name);
            return Err(Error::usage(both).hint("limit the run to one of them, or leave --port out"));
        }
    }
    Ok(hosts)
}

/// Opens the logins that these hosts and namespaces get, and no others: a host that is skipped gets none.
pub(super) fn open(opener: &mut Opener, inventory: &Inventory, hosts: &[Host], namespaces: &[Namespace], allow_plaintext: bool) -> Result<Logins> {
    let wanted = inventory::used(contacted(hosts), namespaces);
    let entries: Vec<&LoginEntry> = inventory.logins.iter().filter(|l| wanted.contains(l.name.as_str())).collect();
    Ok(opener.logins(&entries, allow_plaintext)?.into_iter().map(|l| (l.name.clone(), l)).collect())
}

/// The hosts that are not skipped.
fn contacted(hosts: &[Host]) -> impl Iterator<Item = &Host> {
    hosts.iter().filter(|h| h.skip.is_none())
}

/// What the formats refuse whatever the nodes are like; a problem that many hosts share is told once.
pub(super) fn check(hosts: &[Host], namespaces: &[Namespace], logins: &Logins) -> Result<()> {
    let mut seen = Vec::new();
    let mut problems = Vec::new();
    for target in contacted(hosts).flat_map(|h| &h.targets) {
        if seen.contains(&target) {
            continue;
        }
        seen.push(target);
        let logins: Vec<_> = target.logins.iter().filter_map(|l| logins.get(l)).collect();
        for problem in format::problems(target, &logins) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems.extend(clusters::wrong(namespaces, logins));
    if problems.is_empty() { Ok(()) } else { Err(Error::usage(problems.join("\n"))) }
}

/// What registries are asked beside connecting and observing, when they are: the logins that hosts get.
fn checking(args: &ApplyArgs, inventory: &Inventory, logins: &Logins) -> Result<Option<Checking>> {
    let mode = args.verify.verify.unwrap_or(inventory.verify);
    // With nothing to ask there is no host to write either.
    if mode == VerifyMode::Off || logins.is_empty() {
        return Ok(None);
    }
    let entries = inventory.logins.iter().filter_map(|entry| Some((entry, logins.get(&entry.name)?)));
    let subjects = entries.map(|(entry, login)| verify::subject(entry, login.clone(), &inventory.path)).collect();
    Ok(Some(Checking { client: verify::client(&args.verify.cas)?, subjects, required: mode == VerifyMode::Required }))
}

/// The logins to be shown to their registries.
pub(super) struct Checking {
    client: Client,
    subjects: Vec<Subject>,
    required: bool,
}

impl Checking {
    /// Asks, and gives leave to write or refuses it.
    async fn run(self, clears: Clears) -> Verified {
        let logins = check_all(self.client, self.subjects, Deadlines::default(), now()).await;
        let verified = Verified { logins, required: self.required };
        clears.decide(verified.refused().next().is_none());
        verified
    }
}

/// Waves and guards: the flags, and the inventory's `serial:` where they say nothing of waves.
pub(super) fn pace(args: &RunArgs, inventory: &Inventory) -> Pace {
    let batch = if args.batch.is_empty() { &inventory.serial } else { &args.batch };
    Pace { canary: args.canary.unwrap_or(0) as usize, batch: batch.clone(), max_fail: args.max_fail }
}

/// Hosts in flight: as asked, unless the process may not open so many connections.
pub(super) fn forks(wanted: u32, files_each: u64) -> usize {
    let most = super::process::connections_max(files_each);
    if u64::from(wanted) > most {
        ui::warning(&format!("{most} hosts at a time instead of {wanted}: this process may not open more files; raise it with `ulimit -n`"));
    }
    u64::from(wanted).min(most) as usize
}

/// Runs the fan-out, draws it, and hears signals: after the first one no host starts any more, after the second one
/// nothing is waited for.
pub(super) async fn run(
    push: Arc<Push<Reach>>,
    task: Task,
    (hosts, others): (Vec<Host>, Vec<Other>),
    progress: ui::progress::Progress,
    journal: Option<&mut Journal>,
    checking: Option<Checking>,
) -> Result<Report> {
    let heard = |e| Error::internal(format!("signals cannot be heard: {e}"));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt()).map_err(heard)?, signal(SignalKind::terminate()).map_err(heard)?);
    let (stop, stopped) = watch::channel(false);
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut watch = Watch { so_far: hosts.iter().map(before).chain(others.iter().map(|o| o.row.clone())).collect(), progress, journal };
    let mut interrupted = None;
    let (clears, clearance) = match checking {
        None => (None, Clearance::given()),
        Some(checking) => {
            let (clears, clearance) = Clearance::awaited();
            (Some(checking.run(clears)), clearance)
        }
    };
    let mut verified = None;
    // Without a check this is never ready.
    let asking = async {
        match clears {
            Some(asking) => asking.await,
            None => std::future::pending().await,
        }
    };
    let work = push_all_for(push, task, clearance, hosts, others, stopped, sender);
    tokio::pin!(work, asking);
    let report = loop {
        let code = tokio::select! {
            biased;
            Some(event) = events.recv() => {
                watch.event(event);
                continue;
            }
            told = &mut asking, if verified.is_none() => {
                verified = Some(told);
                continue;
            }
            report = &mut work => break Some(report),
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        };
        if interrupted.replace(code).is_some() {
            break None;
        }
        let _ = stop.send(true);
        watch.progress.warning("stopping: hosts in flight finish, no other starts; a second signal stops at once");
    };
    while let Ok(event) = events.try_recv() {
        watch.event(event);
    }
    watch.progress.finish();
    let report = report.unwrap_or(Report { hosts: watch.so_far, ..Report::default() });
    Ok(Report { interrupted, verified, ..report })
}

/// Whoever is told what happens while the run goes on.
struct Watch<'a> {
    /// What is known of each host.
    so_far: Vec<HostRow>,
    progress: ui::progress::Progress,
    journal: Option<&'a mut Journal>,
}

impl Watch<'_> {
    fn event(&mut self, event: Event) {
        if let Some(why) = self.journal.as_mut().and_then(|journal| journal.event(&event)) {
            self.progress.warning(&no_journal(&why));
        }
        self.progress.event(&event);
        match event {
            Event::Started { .. } => {}
            Event::Sent { index } => {
                let reason = "stopped in the middle by a second signal; each file is old or new, run again".to_string();
                self.so_far[index].outcome = Outcome::Unknown { stage: Stage::Replace, reason };
            }
            Event::Ended { index, row } => self.so_far[index] = row,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TargetKind;

    #[test]
    fn the_command_to_type() {
        let selection = Selection { logins: vec!["hub".into()], targets: vec![TargetKind::Docker] };
        #[track_caller]
        fn check(args: &[&str], selection: &Selection, want: &str) {
            assert_eq!(repeated(args.iter().map(OsString::from), selection).as_deref(), Some(want));
        }
        let none = Selection::default();
        check(&["apply", "inventory.yml"], &none, "regprov apply inventory.yml");
        check(&["apply", "--limit", "gpu[1-3],!gpu2", "my site.yml", "--resume"], &none, "regprov apply 'my site.yml'");
        check(&["-v", "apply", "i.yml", "--limit=@failed", "--forks", "9"], &none, "regprov -v apply i.yml --forks 9");
        check(&["apply", "i.yml", "--resume"], &selection, "regprov apply i.yml --login hub --target docker");
        check(&["apply", "i.yml", "--login=hub"], &selection, "regprov apply i.yml --login=hub");
        check(&["apply", "it's.yml", "--login", "hub", "--target", "docker"], &selection, r"regprov apply 'it'\''s.yml' --login hub --target docker");
        use std::os::unix::ffi::OsStringExt as _;
        assert_eq!(repeated([OsString::from_vec(vec![0xff])].into_iter(), &none), None);
    }
}
