//! One namespace: what is there is read, and brought to what the inventory wants.
//!
//! [`observe`] asks for rights first and then reads each Secret and each service account, one request each. [`bring`] writes what differs: a Secret by
//! server-side apply, which names us as the manager of our fields and of no others, keeps no copy in an annotation, and tells who else
//! owns a field; then the service accounts of those Secrets that are as wanted. With `--check` all of it goes through the server's dry run.
//!
//! Before a service account is touched its name stands in the Secret's annotation [`APPENDED_TO`](crate::model::kubernetes::APPENDED_TO), so that a run that
//! is cut off leaves a record of what it appended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Once;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::answer::{Asked, Redaction, Refusal, is_success, refusal};
use super::runai::cluster_wide;
use super::secret::{self, Desired, Found, Step};
use super::send::segment;
use super::service_account::Account;
use super::{Answer, Cluster, Method, Need, Request, Trouble};
use crate::model::kubernetes::{MANAGER, PullSecret, TARGET};
use crate::model::{Change, FileRow, HostRow, Namespace, Outcome, Stage};

/// What one namespace shall get.
pub struct Wanted {
    /// Which one; no selector.
    pub namespace: Namespace,
    /// The `.dockerconfigjson` of each of its Secrets, by the Secret's name.
    pub documents: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// The inventory's `id:`.
    pub inventory_id: String,
    /// How it is done.
    pub options: Options,
}

/// How namespaces are brought to what is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Nothing is written: the API server is asked what it would do.
    pub check: bool,
    /// What another manager owns is taken over.
    pub force_conflicts: bool,
    /// A Secret that cannot be changed is deleted and made anew.
    pub replace: bool,
    /// What is ours and not wanted any more will be taken away, for which more rights are needed.
    pub prune: bool,
}

/// What is there in a namespace. It has no `Debug`: it holds Secrets.
pub struct Seen {
    secrets: BTreeMap<String, Option<Found>>,
    accounts: BTreeMap<String, Option<Account>>,
}

/// Attempts to write an object that somebody else changes meanwhile.
pub(super) const ATTEMPTS_MAX: u32 = 12;

/// How long a service account is waited for that a new namespace does not have yet, and how old such a namespace is at most: the controller
/// manager makes `default` a moment later (Kubernetes `pkg/controller/serviceaccount/serviceaccounts_controller.go`).
const ACCOUNT_WAIT: Duration = Duration::from_secs(5);
const NAMESPACE_IS_NEW: Duration = Duration::from_secs(30);
/// How often it is looked for.
const ACCOUNT_PAUSE: Duration = Duration::from_millis(250);

/// The row of a namespace to which nothing was done: its Secrets, then the service accounts, each once, as the inventory names them.
pub fn before(namespace: &Namespace, outcome: Outcome) -> HostRow {
    let file = |path: String| FileRow { target: TARGET, path, change: Change::NotAttempted, reason: None, diff: Vec::new() };
    let secrets = namespace.secrets.iter().map(|s| format!("secret/{}", s.name));
    let accounts = accounts(namespace).into_iter().map(|(account, _)| format!("serviceaccount/{account}"));
    HostRow { host: namespace.destination(), outcome, files: secrets.chain(accounts).map(file).collect(), notes: Vec::new() }
}

/// The service accounts, each once, and the Secrets that each shall name.
pub(super) fn accounts(namespace: &Namespace) -> Vec<(&str, Vec<&PullSecret>)> {
    let mut accounts: Vec<(&str, Vec<&PullSecret>)> = Vec::new();
    for secret in &namespace.secrets {
        for name in &secret.service_accounts {
            match accounts.iter_mut().find(|(account, _)| account == name) {
                Some((_, secrets)) => secrets.push(secret),
                None => accounts.push((name, vec![secret])),
            }
        }
    }
    accounts
}

/// What is there, once it is sure that we may do what is to be done.
///
/// # Errors
/// The cluster cannot be asked, or a right is missing.
pub async fn observe(cluster: &Cluster, wanted: &Wanted) -> Result<Seen, Trouble> {
    let run = Run::new(cluster, wanted);
    if let Some(why) = cluster.missing_right(run.namespace, &needs(wanted)).await? {
        return Err(Trouble::Failed(Stage::Rights, why));
    }
    let mut seen = Seen { secrets: BTreeMap::new(), accounts: BTreeMap::new() };
    for secret in &wanted.namespace.secrets {
        seen.secrets.insert(secret.name.clone(), run.secret(&secret.name).await?);
    }
    for (name, _) in accounts(&wanted.namespace) {
        seen.accounts.insert(name.to_string(), run.account_in_time(name).await?);
    }
    Ok(seen)
}

/// The rights that bringing a namespace takes.
fn needs(wanted: &Wanted) -> Vec<Need> {
    let mut needs = Vec::new();
    for secret in &wanted.namespace.secrets {
        let delete = (wanted.options.replace || wanted.options.prune).then_some("delete");
        needs.extend(["get", "create", "patch"].into_iter().chain(delete).map(|verb| Need::secret(verb, &secret.name)));
    }
    for (account, _) in accounts(&wanted.namespace) {
        needs.extend(["get", "update"].map(|verb| Need::service_account(verb, account)));
    }
    needs
}

/// Brings a namespace to what is wanted, and tells what became of each object. `sent` is called before the first request that writes something.
pub async fn bring(cluster: &Cluster, wanted: &Wanted, seen: Seen, sent: &(dyn Fn() + Sync)) -> HostRow {
    let mut row = before(&wanted.namespace, Outcome::Unchanged);
    let once = Once::new();
    let say = || once.call_once(sent);
    let mut run = Run::new(cluster, wanted);
    for found in seen.secrets.values().flatten() {
        run.redaction.of_found(found);
    }
    run.sent = Some(&say);
    let ended = run.all(seen, &mut row).await;
    let mut first = None;
    for file in row.files.iter().filter(|f| f.change == Change::Failed) {
        let reason = file.reason.as_deref().unwrap_or_default();
        first.get_or_insert_with(|| format!("{}: {reason}", file.path));
    }
    let wrote = !wanted.options.check && row.files.iter().any(|f| f.change.is_change());
    row.outcome = match (ended, first) {
        // Part of it is done, so that it is not as if nobody had been there.
        (Err(Trouble::Unreachable(stage, reason)), _) if wrote => Outcome::Failed { stage, reason },
        (Err(trouble), _) => trouble.into(),
        (Ok(stage), Some(reason)) => Outcome::Failed { stage: stage.unwrap_or(Stage::Replace), reason },
        (Ok(_), None) if row.files.iter().any(|f| f.change.is_change()) => Outcome::Changed,
        (Ok(_), None) => Outcome::Unchanged,
    };
    row
}

/// What became of an object.
pub(super) struct Done {
    pub(super) change: Change,
    /// Where it failed.
    pub(super) stage: Stage,
    pub(super) reasons: Vec<String>,
    pub(super) diff: Vec<String>,
}

impl Done {
    /// One of which there is nothing more to say.
    pub(super) fn of(change: Change) -> Self {
        Done { change, stage: Stage::Replace, reasons: Vec::new(), diff: Vec::new() }
    }

    pub(super) fn failed(stage: Stage, reason: String) -> Self {
        Done { change: Change::Failed, stage, reasons: vec![reason], diff: Vec::new() }
    }

    /// Puts it into its row; returns the stage where it failed.
    fn tell(self, file: &mut FileRow) -> Option<Stage> {
        file.change = self.change;
        file.diff = self.diff;
        file.reason = if self.reasons.is_empty() { None } else { Some(self.reasons.join("\n")) };
        (self.change == Change::Failed).then_some(self.stage)
    }
}

/// One namespace's turn.
pub(super) struct Run<'a> {
    pub(super) cluster: &'a Cluster,
    wanted: &'a Wanted,
    pub(super) namespace: &'a str,
    pub(super) redaction: Redaction,
    pub(super) sent: Option<&'a (dyn Fn() + Sync)>,
}

impl<'a> Run<'a> {
    pub(super) fn new(cluster: &'a Cluster, wanted: &'a Wanted) -> Self {
        let mut redaction = Redaction::default();
        wanted.documents.values().for_each(|document| redaction.add(document));
        Run { cluster, wanted, namespace: wanted.namespace.name().unwrap_or_default(), redaction, sent: None }
    }

    /// All Secrets, then the service accounts. Returns the stage of the first failure.
    async fn all(&mut self, mut seen: Seen, row: &mut HostRow) -> Result<Option<Stage>, Trouble> {
        let wanted = self.wanted;
        let namespace = &wanted.namespace;
        let mut failed = None;
        for (secret, file) in namespace.secrets.iter().zip(&mut row.files) {
            let found = seen.secrets.remove(&secret.name).flatten();
            let stage = self.bring_secret(secret, found, &seen.accounts).await?.tell(file);
            failed = failed.or(stage);
            row.notes.extend(cluster_wide(self.cluster, self.namespace, secret).await);
        }
        let (secrets, files) = row.files.split_at_mut(namespace.secrets.len());
        let well: BTreeSet<&str> = namespace.secrets.iter().zip(&*secrets).filter(|(_, f)| f.change != Change::Failed).map(|(s, _)| s.name.as_str()).collect();
        for ((name, secrets), file) in accounts(namespace).into_iter().zip(files) {
            let (names, missing): (Vec<&str>, Vec<&str>) = secrets.iter().map(|s| s.name.as_str()).partition(|name| well.contains(name));
            let account = seen.accounts.remove(name).flatten();
            let mut done = self.bring_account(name, account, &names).await?;
            done.reasons.extend(missing.iter().map(|secret| format!("Secret {secret} is not as wanted, and was not appended")));
            if names.is_empty() && done.change == Change::Unchanged {
                done.change = Change::NotAttempted;
            }
            let stage = done.tell(file);
            failed = failed.or(stage);
        }
        Ok(failed)
    }

    /// A Secret. Where it ends badly after the old one was deleted, that is said first.
    async fn bring_secret(&mut self, secret: &PullSecret, found: Option<Found>, accounts: &BTreeMap<String, Option<Account>>) -> Result<Done, Trouble> {
        let mut is_deleted = false;
        match self.write_secret(secret, found, accounts, &mut is_deleted).await {
            Ok(mut done) if is_deleted && done.change == Change::Failed => {
                let what = if done.stage == Stage::ReadBack { "the new one" } else { "the new one was not taken" };
                done.reasons = vec![format!("the old Secret was deleted, and {what}: {}", done.reasons.join("\n"))];
                Ok(done)
            }
            Err(trouble) if is_deleted => {
                let told = |reason: String| format!("the old Secret {} was deleted, and the new one was perhaps not taken: {reason}", secret.name);
                Err(match trouble {
                    // Part of it is done, so that it is not as if nobody had been there.
                    Trouble::Unreachable(stage, reason) | Trouble::Failed(stage, reason) => Trouble::Failed(stage, told(reason)),
                    Trouble::Unknown(stage, reason) => Trouble::Unknown(stage, told(reason)),
                })
            }
            ended => ended,
        }
    }

    async fn write_secret(
        &mut self,
        secret: &PullSecret,
        mut found: Option<Found>,
        accounts: &BTreeMap<String, Option<Account>>,
        is_deleted: &mut bool,
    ) -> Result<Done, Trouble> {
        let Some(document) = self.wanted.documents.get(&secret.name) else {
            return Ok(Done::failed(Stage::Render, "there is no document for it".to_string()));
        };
        if found.is_none() {
            // It may be long ago that it was looked for, and what somebody made since then is not ours to write.
            found = self.secret(&secret.name).await?;
            if let Some(found) = &found {
                self.redaction.of_found(found);
            }
        }
        let options = self.wanted.options;
        let mut told: Option<Done> = None;
        for attempt in 1.. {
            let mut appended_to = found.as_ref().map(Found::appended_to).unwrap_or_default();
            let new = secret.service_accounts.iter().filter(|name| matches!(accounts.get(*name), Some(Some(account)) if !account.has(&secret.name)));
            appended_to.extend(new.cloned());
            let desired = Desired::new(secret, document, &self.wanted.inventory_id, &appended_to, found.as_ref());
            let plan = match secret::plan(&desired, found.as_ref(), options) {
                Ok(plan) => plan,
                Err(why) => return Ok(Done::failed(Stage::Observe, why)),
            };
            let mut reasons = plan.notes;
            reasons.extend(found.as_ref().filter(|_| plan.step != Step::Anew).and_then(|found| found.copy_in_annotation(&self.wanted.namespace, &secret.name)));
            if plan.step == Step::Keep {
                // Somebody else, or we with an answer that was lost, may have made it so since the first look.
                return Ok(told.unwrap_or(Done { change: plan.change, stage: Stage::Replace, reasons, diff: plan.diff }));
            }
            told.get_or_insert(Done { change: plan.change, stage: Stage::Replace, reasons, diff: plan.diff });
            let written = match plan.step {
                Step::Anew => {
                    if let Err(refusal) = self.try_secret(&desired).await? {
                        let mut done = self.failed(refusal)?;
                        done.reasons.push("nothing was deleted: the new one would not be taken".to_string());
                        return Ok(done);
                    }
                    match self.delete_secret(&secret.name, found.as_ref()).await? {
                        // The dry run of a deletion deletes nothing, so that no more can be tried.
                        Ok(()) if options.check => return Ok(told.expect("it was set above")),
                        Ok(()) => {
                            *is_deleted = true;
                            self.apply_secret(&desired, None).await?
                        }
                        Err(refusal) => Err(refusal),
                    }
                }
                _ => self.apply_secret(&desired, found.as_ref()).await?,
            };
            match written {
                Ok(()) => break,
                Err(Refusal::Stale | Refusal::NotFound) if attempt < ATTEMPTS_MAX => {
                    sleep(jitter(attempt)).await;
                    found = self.secret(&secret.name).await?;
                    if let Some(found) = &found {
                        self.redaction.of_found(found);
                    }
                }
                Err(refusal) => return self.failed(refusal),
            }
        }
        Ok(told.expect("it was set before the loop was left"))
    }

    /// Sends the configuration and holds what was stored to it.
    async fn apply_secret(&self, desired: &Desired<'_>, found: Option<&Found>) -> Result<Result<(), Refusal>, Trouble> {
        let is_ours = self.wanted.options.force_conflicts || found.is_some_and(|found| found.is_ours_alone(desired));
        let force = if is_ours { "&force=true" } else { "" };
        let path = format!("{}?fieldManager={MANAGER}{force}", self.path("secrets", desired.name));
        let body = desired.configuration(found.and_then(|f| f.metadata.resource_version.as_deref()));
        let request = self.change(Method::Patch, path).content("application/apply-patch+yaml", body);
        let answer = match self.ask(self.asked("patch", "secrets", desired.name), &request).await? {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let failed = |why: String| Err(Refusal::Failed(Stage::ReadBack, why));
        // What was made is answered with 201; 200 says that it was there, unless an earlier attempt of ours made it.
        if found.is_none() && answer.status != 201 && !answer.repeated && Found::parse(&answer.body).is_some() {
            return Ok(failed("was made by somebody else at the same moment, and what regprov sent was merged into it; look at it, and run again".to_string()));
        }
        Ok(match Found::parse(&answer.body) {
            None => failed("the API server's answer is no Secret; look at it with `regprov status`".to_string()),
            Some(stored) => secret::read_back(desired, &stored).or_else(failed),
        })
    }

    /// Asks whether such a Secret would be taken, under a name that the server chooses, so that quotas, admission and rights are heard before
    /// the old one is deleted.
    async fn try_secret(&self, desired: &Desired<'_>) -> Result<Result<(), Refusal>, Trouble> {
        let path = format!("/api/v1/namespaces/{}/secrets?fieldManager={MANAGER}", segment(self.namespace));
        let request = Request::new(Stage::Replace, Method::Post, path).dry_run(true).content("application/json", desired.trial());
        let asked = Asked { writes: false, ..self.asked("create", "secrets", desired.name) };
        Ok(match self.ask(asked, &request).await? {
            // A webhook that takes no dry run cannot be heard first (k8s.io/apiserver pkg/admission/plugin/webhook/errors/statuserror.go).
            Err(Refusal::Failed(_, why)) if why.contains("does not support dry run") => Ok(()),
            answer => answer.map(drop),
        })
    }

    /// Deletes the Secret that was found, and no other of its name.
    pub(super) async fn delete_secret(&self, name: &str, found: Option<&Found>) -> Result<Result<(), Refusal>, Trouble> {
        let (uid, version) = found.map_or((None, None), |f| (f.metadata.uid.as_deref(), f.metadata.resource_version.as_deref()));
        let options = delete_options(uid, version, self.wanted.options.check);
        let request = self.change(Method::Delete, self.path("secrets", name)).content("application/json", options);
        Ok(match self.ask(self.asked("delete", "secrets", name), &request).await? {
            Ok(answer) if is_success(&answer.body) => Ok(()),
            Ok(answer) => match Found::parse(&answer.body) {
                Some(_) if self.wanted.options.check => Ok(()),
                // It still waits for its finalizers.
                Some(_) => Err(Refusal::Failed(Stage::Replace, "is deleted, but stays until its finalizers are done; run again then".to_string())),
                None => {
                    let why = "whether it was deleted is not known: the answer is none of an API server: something stands before it";
                    Err(Refusal::Failed(Stage::ReadBack, why.to_string()))
                }
            },
            Err(Refusal::NotFound) => Ok(()),
            Err(refusal) => Err(refusal),
        })
    }

    async fn bring_account(&self, name: &str, mut account: Option<Account>, names: &[&str]) -> Result<Done, Trouble> {
        let mut diff: Vec<String> = Vec::new();
        for attempt in 1.. {
            let Some(there) = account.filter(|account| !account.is_going()) else {
                let what = "there is no such service account; make it, or take it out of `service_accounts`".to_string();
                return Ok(Done::failed(Stage::Observe, what));
            };
            let with = match there.with(names) {
                Ok(Some(with)) => with,
                Ok(None) => break,
                Err(why) => return Ok(Done::failed(Stage::Observe, why)),
            };
            if diff.is_empty() {
                diff = with.names().skip(there.names().count()).map(|name| format!("+ imagePullSecrets {name}")).collect();
            }
            let path = format!("{}?fieldManager={MANAGER}", self.path("serviceaccounts", name));
            let request = self.change(Method::Put, path).content("application/json", Zeroizing::new(with.body()));
            match self.ask(self.asked("update", "serviceaccounts", name), &request).await? {
                Ok(answer) if Account::parse(&answer.body).is_some_and(|stored| stored.names_as(&with)) => break,
                Ok(_) => {
                    let what = "was stored with other `imagePullSecrets` than were sent: something in the cluster (an admission webhook) changes them";
                    return Ok(Done::failed(Stage::ReadBack, what.to_string()));
                }
                Err(Refusal::Stale | Refusal::NotFound) if attempt < ATTEMPTS_MAX => {
                    sleep(jitter(attempt)).await;
                    account = self.account(name).await?;
                }
                Err(refusal) => return self.failed(refusal),
            }
        }
        let change = if diff.is_empty() { Change::Unchanged } else { Change::Updated };
        Ok(Done { change, stage: Stage::Replace, reasons: Vec::new(), diff })
    }

    /// What a refusal means for the object's row; what it means for the whole namespace ends its turn.
    pub(super) fn failed(&self, refusal: Refusal) -> Result<Done, Trouble> {
        let (stage, reason) = match refusal {
            Refusal::Namespace(trouble) => return Err(trouble),
            Refusal::Failed(stage, reason) => (stage, reason),
            Refusal::NotFound => (Stage::Replace, "was deleted again and again while it was written; run again".to_string()),
            Refusal::Stale => (Stage::Replace, format!("was changed by others during each of {ATTEMPTS_MAX} attempts to write it; run again")),
            Refusal::Immutable(field) => (Stage::Replace, format!("its `{field}` cannot be changed; --replace deletes it and makes it anew")),
            Refusal::Conflict(owners) => {
                let owners: Vec<String> = owners.iter().map(|(manager, field)| format!("{field} is managed by {manager}")).collect();
                (
                    Stage::Replace,
                    format!("{}; let it manage this Secret, name another one with `secret:`, or take it over with --force-conflicts", owners.join(", ")),
                )
            }
        };
        Ok(Done::failed(stage, reason))
    }

    /// A Secret; `None` where there is none.
    pub(super) async fn secret(&self, name: &str) -> Result<Option<Found>, Trouble> {
        let Some(answer) = self.get("secrets", name).await? else { return Ok(None) };
        Found::parse(&answer.body).map(Some).ok_or_else(|| no_object("Secret", name))
    }

    /// A service account; `None` where there is none.
    pub(super) async fn account(&self, name: &str) -> Result<Option<Account>, Trouble> {
        let Some(answer) = self.get("serviceaccounts", name).await? else { return Ok(None) };
        Account::parse(&answer.body).map(Some).ok_or_else(|| no_object("ServiceAccount", name))
    }

    /// A service account, which in a new namespace may come a moment later.
    async fn account_in_time(&self, name: &str) -> Result<Option<Account>, Trouble> {
        let mut account = self.account(name).await?;
        if account.is_none() && self.is_new().await.unwrap_or(name == "default") {
            let deadline = Instant::now() + ACCOUNT_WAIT;
            while account.is_none() && Instant::now() < deadline {
                sleep(ACCOUNT_PAUSE).await;
                account = self.account(name).await?;
            }
        }
        Ok(account)
    }

    /// Whether the namespace was made a moment ago; `None` where we may not know. One that is not there is not new.
    async fn is_new(&self) -> Option<bool> {
        let request = Request::new(Stage::Observe, Method::Get, format!("/api/v1/namespaces/{}", segment(self.namespace)));
        let answer = self.cluster.send(&request).await.ok().filter(|answer| matches!(answer.status, 200 | 404))?;
        if answer.status == 404 {
            return Some(false);
        }
        let namespace: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        let made = OffsetDateTime::parse(namespace["metadata"]["creationTimestamp"].as_str()?, &Rfc3339).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(i64::try_from(now).ok()? - made.unix_timestamp() < NAMESPACE_IS_NEW.as_secs() as i64)
    }

    async fn get(&self, resource: &'static str, name: &str) -> Result<Option<Answer>, Trouble> {
        let request = Request::new(Stage::Observe, Method::Get, self.path(resource, name));
        match self.ask(self.asked("get", resource, name), &request).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(Refusal::NotFound) => Ok(None),
            Err(Refusal::Namespace(trouble)) => Err(trouble),
            Err(Refusal::Failed(stage, reason)) => Err(Trouble::Failed(stage, format!("{resource}/{name}: {reason}"))),
            Err(_) => Err(no_object(resource, name)),
        }
    }

    /// Asks for one thing: everything that goes to the cluster goes through here. What it is not given is for the caller to judge.
    pub(super) async fn ask(&self, asked: Asked<'_>, request: &Request) -> Result<Result<Answer, Refusal>, Trouble> {
        if asked.writes
            && let Some(sent) = self.sent
        {
            sent();
        }
        let answer = self.cluster.send(request).await?;
        Ok(match answer.status {
            200..300 => Ok(answer),
            status => Err(refusal(status, &answer.body, asked, &self.redaction)),
        })
    }

    pub(super) fn asked(&self, verb: &'static str, resource: &'static str, name: &'a str) -> Asked<'a> {
        Asked { verb, resource, namespace: self.namespace, name, writes: verb != "get" && !self.wanted.options.check }
    }

    pub(super) fn path(&self, resource: &str, name: &str) -> String {
        format!("/api/v1/namespaces/{}/{resource}/{}", segment(self.namespace), segment(name))
    }

    /// A request that changes something, or with `--check` one that asks what it would do.
    pub(super) fn change(&self, method: Method, path: String) -> Request {
        Request::new(Stage::Replace, method, path).dry_run(self.wanted.options.check)
    }
}

/// The body of a deletion that hits the object of this uid and resourceVersion alone. A dry run is asked for in here: where a deletion has a
/// body, the API server does not read the options in its path, and deletes (k8s.io/apiserver `pkg/endpoints/handlers/delete.go` DeleteResource).
pub(super) fn delete_options(uid: Option<&str>, resource_version: Option<&str>, dry_run: bool) -> Zeroizing<Vec<u8>> {
    let mut options = serde_json::json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {} });
    for (key, value) in [("uid", uid), ("resourceVersion", resource_version)] {
        if let Some(value) = value {
            options["preconditions"][key] = value.into();
        }
    }
    if dry_run {
        options["dryRun"] = serde_json::json!(["All"]);
    }
    Zeroizing::new(options.to_string().into_bytes())
}

fn no_object(what: &str, name: &str) -> Trouble {
    Trouble::Failed(Stage::Observe, format!("{what} {name}: the answer is none of an API server: something stands before it"))
}

/// 40 to 167 ms before the second attempt, 40 more before each further one.
pub(super) fn jitter(attempt: u32) -> Duration {
    let mut byte = [0u8; 1];
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(u64::from(attempt) * 40 + u64::from(byte[0]) / 2)
}
