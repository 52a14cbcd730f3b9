//! What the verbs that look at namespaces and take out of them share: the look, the taking out, and the namespaces that left the inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clusters::Clusters;
use crate::inventory::Inventory;
use crate::kubernetes::Cluster;
use crate::kubernetes::apply::before;
use crate::kubernetes::leftover::everywhere;
use crate::kubernetes::remove::{Selection, remove};
use crate::kubernetes::status::{Look, look, unseen};
use crate::model::ping::Unseen;
use crate::model::status::StatusRow;
use crate::model::{HostRow, Namespace, Outcome, Stage, Which};
use crate::push::status::{OtherLook, SamePassword, Status};
use crate::push::{Logins, Other, Sent};
use crate::ui;

/// Puts behind the namespaces of an inventory those of its clusters that left it and still hold a Secret of it: they get nothing. Without an
/// `id:` they cannot be known, and with a `--limit` of which none can be the name they are not looked for. Where the right to list Secrets
/// everywhere is missing, that is told.
pub(super) async fn add_those_that_left(inventory: &mut Inventory, clusters: &mut Clusters, limit: Option<&str>) {
    let may_name_one = |pattern: &str| pattern.contains(['/', '@', '*', '!']) || pattern == "all";
    let Some(id) = inventory.id.clone().filter(|_| limit.is_none_or(may_name_one)) else { return };
    // Two contexts may be two ways to one cluster.
    let mut asked: Vec<Cluster> = Vec::new();
    for cluster in clusters.all().cloned().collect::<Vec<_>>() {
        if asked.iter().any(|other| other.is_same_server(&cluster)) {
            continue;
        }
        asked.push(cluster.clone());
        let context = &cluster.context;
        match everywhere(&cluster, &id).await {
            Ok(Ok(there)) => {
                let left: BTreeSet<String> = there.into_iter().map(|secret| secret.namespace).collect();
                for name in left {
                    let namespace =
                        Namespace { context: Some(context.clone()), which: Which::Named(name), selected: None, secrets: Vec::new(), place: String::new() };
                    if !inventory.namespaces.iter().any(|n| clusters.is_same(n, &namespace)) {
                        inventory.namespaces.push(namespace);
                    }
                }
            }
            Ok(Err(why)) => ui::warning(&format!("{context}: namespaces that left the inventory were not looked for: {why}")),
            Err(trouble) => clusters.unlooked(inventory, context, "namespaces that left the inventory", trouble),
        }
    }
}

/// What is told of namespaces beside their rows: each note, and of which.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Notes {
    fn add(&self, namespace: String, note: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(note).or_default().push(namespace);
    }

    /// Tells each once.
    pub(super) fn tell(&self) {
        for (note, namespaces) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            namespaces.sort_unstable();
            let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
            ui::warning(&format!("{}: {note}", ui::fold::fold_counted(&names)));
        }
    }
}

/// The looks at these namespaces, each within `deadline`.
pub(super) fn looks<C: Send + Sync + 'static>(
    clusters: &Clusters,
    namespaces: Vec<Namespace>,
    status: &Arc<Status<C>>,
    left_over: bool,
    deadline: Duration,
    told: &Notes,
) -> Vec<OtherLook> {
    let one = |namespace: Namespace| {
        let name = namespace.destination();
        if let Some(trouble) = clusters.trouble(&namespace) {
            let row = StatusRow { host: name.clone(), result: Err(unseen(trouble)) };
            return OtherLook { name, work: Box::pin(std::future::ready(row)) };
        }
        let (cluster, status, told) = (clusters.cluster(&namespace).clone(), status.clone(), told.clone());
        let work = async move {
            let inventory_id = status.inventory_id.as_deref();
            let what = Look { logins: &status.push.logins, same: &*status.same, previous: &status.previous, inventory_id, left_over, now: status.now };
            match tokio::time::timeout(deadline, look(&cluster, &namespace, &what)).await {
                Ok((row, notes)) => {
                    notes.into_iter().for_each(|note| told.add(namespace.destination(), note));
                    row
                }
                Err(_) => StatusRow { host: namespace.destination(), result: Err(Unseen::Failed(Stage::Connect, late(deadline))) },
            }
        };
        OtherLook { name, work: Box::pin(work) }
    };
    namespaces.into_iter().map(one).collect()
}

/// What is taken out of namespaces.
pub(super) struct Taken {
    /// Names of logins; none means all.
    pub(super) logins: Vec<String>,
    /// The logins of the inventory.
    pub(super) known: Logins,
    /// Keeps entries whose password is another one than the vault's.
    pub(super) same: Option<Arc<SamePassword>>,
    /// Whose they are.
    pub(super) inventory_id: String,
    /// Nothing is written.
    pub(super) check: bool,
}

/// These namespaces as destinations of a run that takes out, each within `deadline`.
pub(super) fn removals(clusters: &Clusters, namespaces: Vec<Namespace>, taken: Taken, deadline: Duration) -> Vec<Other> {
    let taken = Arc::new(taken);
    let one = |namespace: Namespace| {
        let row = before(&namespace, Outcome::NotAttempted);
        if let Some(trouble) = clusters.trouble(&namespace) {
            let ended = HostRow { outcome: trouble.into(), ..row.clone() };
            return Other { row, work: Box::new(|_, _| Box::pin(std::future::ready(ended))) };
        }
        let (cluster, taken) = (clusters.cluster(&namespace).clone(), taken.clone());
        Other { row, work: Box::new(move |sent, _| Box::pin(take_out(cluster, namespace, taken, deadline, sent))) }
    };
    namespaces.into_iter().map(one).collect()
}

/// Takes out of one namespace. Leave to write is given from the start: no password goes anywhere.
async fn take_out(cluster: Cluster, namespace: Namespace, taken: Arc<Taken>, deadline: Duration, sent: Sent) -> HostRow {
    let selection = Selection { logins: &taken.logins, known: &taken.known, same: taken.same.as_deref() };
    let was_sent = AtomicBool::new(false);
    let told = || {
        was_sent.store(true, Ordering::Relaxed);
        sent();
    };
    let work = remove(&cluster, &namespace, &taken.inventory_id, selection, taken.check, &told);
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
        let (stage, reason) = (Stage::Replace, late(deadline));
        // Whatever a dry run was asked, nothing is written.
        let may_have_written = was_sent.load(Ordering::Relaxed) && !taken.check;
        let outcome = match may_have_written {
            true => Outcome::Unknown { stage, reason: format!("{reason}; each object is old or new, run again") },
            false => Outcome::Failed { stage, reason },
        };
        before(&namespace, outcome)
    })
}

fn late(deadline: Duration) -> String {
    format!("more than {} s passed (--host-timeout)", deadline.as_secs())
}
