//! `regprov remove`: takes out what this inventory wrote, by the record on each node and by what Secrets say of themselves.

use std::sync::Arc;
use std::time::Duration;

use super::apply::{forks, may_take, pace, run, some, tell, with_flags};
use super::become_password::become_password;
use super::clusters::{self, Clusters};
use super::load::Opener;
use super::namespaces::{Taken, add_those_that_left, removals};
use super::reach::{Purpose, reach};
use super::status::comparison;
use crate::cli::{AuditArgs, RemoveArgs};
use crate::error::Result;
use crate::model::{LoginEntry, TargetKind};
use crate::node::Program;
use crate::push::remove::{Selection, Task};
use crate::push::status::SamePassword;
use crate::push::{Push, PushOptions};
use crate::transport::local::Local;
use crate::transport::reach::Reach;
use crate::ui;

/// Takes it out and returns the exit code. No password is opened, unless passwords are to be compared.
pub async fn remove(args: &RemoveArgs, verbose: u8) -> Result<u8> {
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    // What is plain or has ended can be taken out too.
    let mut inventory = opener.inventory(&args.inventory, true, true)?;
    may_take(&inventory)?;
    for name in args.logins.iter().filter(|name| inventory.logins.iter().all(|l| l.name != **name)) {
        ui::warning(&format!("login `{name}` is not in the inventory; it is taken out where a node's record has that name"));
    }
    let mut clusters = Clusters::of(&mut inventory, &args.clusters, &args.ssh.timeouts).await?;
    if args.targets.is_empty() {
        add_those_that_left(&mut inventory, &mut clusters, args.limit.as_deref()).await;
    }
    let chosen = clusters::narrow(opener.limit(&inventory, args.limit.as_deref())?, args.clusters.only);
    let mut hosts = with_flags(&inventory, &chosen.hosts, &args.ssh, true)?;
    // What is named with --target lies on hosts.
    let namespaces = if args.targets.is_empty() { clusters::targeted(&inventory, &chosen.namespaces, true) } else { Vec::new() };
    if namespaces.is_empty() {
        some(&hosts)?;
    }
    for host in &mut hosts {
        host.targets.retain(|t| args.targets.is_empty() || args.targets.contains(&t.kind));
    }
    let entries: Vec<&LoginEntry> = inventory.logins.iter().collect();
    let is_compared = |name: &str| args.same_password && (args.logins.is_empty() || args.logins.iter().any(|l| l == name));
    let identity = args.same_password && args.vault.identity.is_given();
    let no_key = AuditArgs::default();
    let audit = if args.same_password { &args.audit } else { &no_key };
    let (logins, same) = comparison(&mut opener, &entries, &is_compared, audit, identity)?;
    let become_password = become_password(&mut opener, &inventory, &hosts, args.ssh.ask_become_pass, args.vault.allow_plaintext)?;
    let (ssh, files_each) = reach(&hosts, &inventory.hosts, &args.ssh, Purpose::LogIn).await?;
    let connector = Reach { ssh, local: Local::default(), become_password, program: Program::Files };
    let options = PushOptions {
        forks: forks(args.ssh.forks, files_each),
        pace: pace(&args.run, &inventory),
        check: args.check,
        merge: Default::default(),
        inventory_id: inventory.id.clone().unwrap_or_default(),
        pull_test: None,
        command: Duration::from_secs(args.ssh.timeouts.command_timeout),
        host: Duration::from_secs(args.ssh.timeouts.host_timeout),
    };
    let same: Option<Arc<SamePassword>> = args.same_password.then(|| Arc::from(same));
    let targets: Vec<TargetKind> = args.targets.clone();
    let inventory_id = options.inventory_id.clone();
    let taken = Taken { logins: args.logins.clone(), known: logins.clone(), same: same.clone(), inventory_id, check: args.check };
    let others = removals(&clusters, namespaces, taken, options.host);
    let task = Task::Remove(Selection { logins: args.logins.clone(), targets, same });
    let names: Vec<String> = hosts.iter().map(|h| h.name.clone()).chain(others.iter().map(|o| o.row.host.clone())).collect();
    let progress = ui::progress::Progress::new(names, verbose > 0, args.check);
    // No journal: a second run does what is left, and what --resume goes on with stays the last apply.
    let report = run(Arc::new(Push { connector, logins, options }), task, (hosts, others), progress, None, None).await?;
    let recap = ui::recap::Options { check: args.check, diff: args.output.diff, colors: ui::stdout_has_colors(), command: None };
    tell(&report, &ui::recap::recap(&report, recap), &args.output, args.check)
}
