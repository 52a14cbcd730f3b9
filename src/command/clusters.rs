//! The clusters that an inventory names: which namespaces a run is about, and what is done to each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::cli::{ClusterArgs, Only, TimeoutArgs};
use crate::error::{Error, Result};
use crate::format::kubernetes::{document, problems};
use crate::inventory::{Chosen, Inventory};
use crate::kubernetes::apply::{Options, Wanted, before, bring, observe};
use crate::kubernetes::remove::prune;
use crate::kubernetes::{Cluster, Kubeconfigs, Timeouts, Trouble};
use crate::model::{HostRow, Login, Namespace, Outcome, Stage, Which};
use crate::push::{Clearance, Logins, Other, Sent};
use crate::ui;

/// The clusters of a run, each opened once.
#[derive(Default)]
pub(super) struct Clusters {
    by_context: BTreeMap<String, Cluster>,
    /// Selectors that no cluster answered for, by the name of their row.
    unanswered: BTreeMap<String, Trouble>,
}

impl Clusters {
    /// Opens the clusters of an inventory, gives each of its namespaces the name of its context, and puts in the place of each selector the
    /// namespaces that its cluster tells. Nobody is contacted but for selectors; with `--only hosts`, and without `kubernetes:`, nobody at all.
    ///
    /// # Errors
    /// An inventory without `id:`, a kubeconfig or a context that cannot be used; all of them at once (exit 2). A cluster that does not answer is
    /// none: its selector's row will tell. So will the row of a namespace in which two blocks make one Secret, since only its cluster knows.
    pub(super) async fn of(inventory: &mut Inventory, args: &ClusterArgs, timeouts: &TimeoutArgs) -> Result<Clusters> {
        let mut clusters = Clusters::default();
        if inventory.namespaces.is_empty() || args.only == Some(Only::Hosts) {
            return Ok(clusters);
        }
        must_have_id(inventory)?;
        // A credential plugin may ask somebody something, where a bar is drawn.
        Kubeconfigs::clear_terminal_with(|| Box::new(ui::progress::hide()));
        let kubeconfigs = Kubeconfigs::read(args.kubeconfig.as_deref())?;
        kubeconfigs.notes().for_each(ui::warning);
        let seconds = Duration::from_secs;
        let timeouts = Timeouts { connect: seconds(timeouts.connect_timeout), request: seconds(timeouts.command_timeout) };
        let mut wrong = Vec::new();
        for namespace in &mut inventory.namespaces {
            let context = match &namespace.context {
                Some(context) => context.clone(),
                None => match kubeconfigs.current() {
                    Ok(context) => context,
                    Err(error) => return Err(error),
                },
            };
            namespace.context = Some(context.clone());
            if clusters.by_context.contains_key(&context) {
                continue;
            }
            match kubeconfigs.open(&context, timeouts).await {
                Ok(cluster) => drop(clusters.by_context.insert(context, cluster)),
                Err(error) => wrong.push(Error { message: format!("{}: {}", namespace.place, error.message), ..error }),
            }
        }
        if !wrong.is_empty() {
            wrong.dedup_by(|a, b| a.message == b.message);
            return Err(Error::together(wrong));
        }
        clusters.expand(inventory).await;
        Ok(clusters)
    }

    /// Asks for what selectors stand for, and joins what is one namespace, also where two contexts are ways to one cluster.
    async fn expand(&mut self, inventory: &mut Inventory) {
        let mut joined: Vec<Namespace> = Vec::new();
        for namespace in std::mem::take(&mut inventory.namespaces) {
            for found in self.told(namespace).await {
                let Some(there) = joined.iter_mut().find(|there| self.is_same(there, &found)) else {
                    joined.push(found);
                    continue;
                };
                let name = there.to_string();
                there.selected = there.selected.take().or(found.selected);
                for secret in found.secrets {
                    match there.secrets.iter().find(|s| s.name == secret.name) {
                        Some(other) => {
                            let why = format!(
                                "`{}` and `{}` of `kubernetes` both make the Secret {} here; name all its logins in one block, or give one of them another \
                                 name with `secret:`",
                                other.block, secret.block, secret.name
                            );
                            self.unanswered.insert(name.clone(), Trouble::Failed(Stage::Observe, why));
                        }
                        None => there.secrets.push(secret),
                    }
                }
            }
        }
        inventory.namespaces = joined;
    }

    /// Whether both are one namespace of one cluster.
    pub(super) fn is_same(&self, a: &Namespace, b: &Namespace) -> bool {
        a.which == b.which && (a.context == b.context || self.cluster(a).is_same_server(self.cluster(b)))
    }

    /// Has a row for what cannot be looked at there, and why.
    pub(super) fn unlooked(&mut self, inventory: &mut Inventory, context: &str, what: &str, trouble: Trouble) {
        let which = Which::Selected(what.to_string());
        let namespace = Namespace { context: Some(context.to_string()), which, selected: None, secrets: Vec::new(), place: String::new() };
        self.unanswered.insert(namespace.to_string(), trouble);
        inventory.namespaces.push(namespace);
    }

    /// The namespaces that one of the inventory stands for: itself, or what a cluster tells for its selector.
    async fn told(&mut self, namespace: Namespace) -> Vec<Namespace> {
        let Which::Selected(selector) = &namespace.which else { return vec![namespace] };
        match self.cluster(&namespace).select(selector).await {
            Ok(names) => {
                if names.is_empty() {
                    ui::warning(&format!("{}: no namespace of {} has labels that fit `{selector}`", namespace.place, self.cluster(&namespace).context));
                }
                let selected = Some(namespace.to_string());
                names.into_iter().map(|name| Namespace { which: Which::Named(name), selected: selected.clone(), ..namespace.clone() }).collect()
            }
            Err(trouble) => {
                self.unanswered.insert(namespace.to_string(), trouble);
                vec![namespace]
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Cluster> {
        self.by_context.values()
    }

    /// The cluster of a namespace.
    ///
    /// # Panics
    /// For one of another inventory.
    pub(super) fn cluster(&self, namespace: &Namespace) -> &Cluster {
        let context = namespace.context.as_deref().expect("each namespace was given its context when the clusters were opened");
        &self.by_context[context]
    }

    /// Why nothing is done in this namespace: it is a selector still, or what it shall get is not clear.
    pub(super) fn trouble(&self, namespace: &Namespace) -> Option<Trouble> {
        self.unanswered.get(&namespace.to_string()).cloned()
    }
}

/// Demands that the clusters know this inventory by a name of its own, without which two of them would take each other's Secrets for their own.
///
/// # Errors
/// It has none (exit 2).
pub(in crate::command) fn must_have_id(inventory: &Inventory) -> Result<()> {
    match inventory.id {
        Some(_) => Ok(()),
        None => Err(Error::usage(format!("{} has `kubernetes:` and no `id:`, by which a Secret says whose it is", inventory.path))
            .hint("give it a name of its own (`id: example-cluster`)")),
    }
}

/// Takes out of what was chosen what `--only` leaves out.
pub(super) fn narrow(chosen: Chosen, only: Option<Only>) -> Chosen {
    match only {
        Some(Only::Hosts) => Chosen { namespaces: Vec::new(), ..chosen },
        Some(Only::Kubernetes) => Chosen { hosts: Vec::new(), ..chosen },
        None => chosen,
    }
}

/// The chosen namespaces that get anything, or with `bare` all of them.
pub(super) fn targeted(inventory: &Inventory, chosen: &[usize], bare: bool) -> Vec<Namespace> {
    chosen.iter().map(|i| inventory.namespaces[*i].clone()).filter(|n| bare || !n.secrets.is_empty()).collect()
}

/// What no cluster takes whatever it is like; a problem that many namespaces share is told once.
pub(super) fn wrong(namespaces: &[Namespace], logins: &Logins) -> Vec<String> {
    let mut told = Vec::new();
    for secret in namespaces.iter().flat_map(|n| &n.secrets) {
        let what = format!("Secret {} of `{}`", secret.name, secret.block);
        for problem in problems(&what, &of(&secret.logins, logins)) {
            if !told.contains(&problem) {
                told.push(problem);
            }
        }
    }
    told
}

/// The logins of these names.
fn of<'a>(names: &[String], logins: &'a Logins) -> Vec<&'a Login> {
    names.iter().filter_map(|name| logins.get(name)).collect()
}

/// The namespaces as destinations of a run, each with what brings it to its wanted state within `deadline`, the wait for leave to write not
/// counted.
pub(super) fn destinations(
    clusters: &Clusters,
    namespaces: Vec<Namespace>,
    logins: &Logins,
    inventory_id: &str,
    options: Options,
    deadline: Duration,
) -> Vec<Other> {
    let other = |namespace: Namespace| {
        let row = before(&namespace, Outcome::NotAttempted);
        if let Some(trouble) = clusters.trouble(&namespace) {
            let ended = HostRow { outcome: trouble.into(), ..row.clone() };
            return Other { row, work: Box::new(|_, _| Box::pin(std::future::ready(ended))) };
        }
        let cluster = clusters.cluster(&namespace).clone();
        let documents: BTreeMap<String, Zeroizing<Vec<u8>>> =
            namespace.secrets.iter().map(|secret| (secret.name.clone(), document(&of(&secret.logins, logins)))).collect();
        let wanted = Arc::new(Wanted { namespace, documents, inventory_id: inventory_id.to_string(), options });
        Other { row, work: Box::new(move |sent, clearance| Box::pin(one(cluster, wanted, deadline, sent, clearance))) }
    };
    namespaces.into_iter().map(other).collect()
}

/// One namespace, from the first question to its row.
async fn one(cluster: Cluster, wanted: Arc<Wanted>, deadline: Duration, sent: Sent, clearance: Clearance) -> HostRow {
    let ended = |outcome| before(&wanted.namespace, outcome);
    let started = tokio::time::Instant::now();
    let late = || format!("more than {} s passed (--host-timeout)", deadline.as_secs());
    let seen = match tokio::time::timeout(deadline, observe(&cluster, &wanted)).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(trouble)) => return ended(trouble.into()),
        Err(_) => return ended(Outcome::Unreachable { stage: Stage::Observe, reason: late() }),
    };
    let left = deadline.saturating_sub(started.elapsed());
    clearance.wait().await;
    let work = async {
        let row = bring(&cluster, &wanted, seen, &*sent).await;
        match wanted.options.prune {
            true => prune(&cluster, &wanted.namespace, &wanted.inventory_id, wanted.options.check, &*sent, row).await,
            false => row,
        }
    };
    match tokio::time::timeout(left, work).await {
        Ok(row) => row,
        // Whatever a dry run was asked, nothing is written.
        Err(_) if wanted.options.check => ended(Outcome::Failed { stage: Stage::Replace, reason: late() }),
        Err(_) => ended(Outcome::Unknown { stage: Stage::Replace, reason: format!("{}; each object is old or new, run again", late()) }),
    }
}
