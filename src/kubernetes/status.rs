//! What stands in one namespace, compared with what the inventory wants. Nothing is written.
//!
//! Something differs exactly where `apply` would do something, or could not. How the logins of a Secret stand is judged as for files
//! (`format::Judge`); but the Secret is wholly ours, so an entry of others is no stranger there that is left alone.

use std::collections::BTreeMap;

use super::apply::{Options, Run, Wanted, accounts};
use super::leftover::{self, LeftOver};
use super::runai::cluster_wide;
use super::secret::{Found, same};
use super::{Cluster, Need, Trouble};
use crate::format::kubernetes::{document, entries};
use crate::format::{Entry, Judge, Previous, SamePassword, consumer};
use crate::model::kubernetes::{APPENDED_TO, INVENTORY, MANAGED_BY, MANAGER, PullSecret, SECRET_KEY, SECRET_TYPE, TARGET};
use crate::model::ping::Unseen;
use crate::model::registry::without_user;
use crate::model::status::{FileStatus, Finding, FindingKind, StatusRow, Verdict};
use crate::model::text::{escape, sanitize};
use crate::model::{Login, Namespace, Secret, Stage, TargetKind, Username};

/// What namespaces are compared with.
pub struct Look<'a> {
    /// The logins by name. Their passwords are not looked at and may be any.
    pub logins: &'a BTreeMap<String, Login>,
    /// Compares passwords.
    pub same: &'a SamePassword,
    /// What they were before rotations that are under way.
    pub previous: &'a Previous,
    /// The inventory's `id:`; without one nothing that is left over can be known.
    pub inventory_id: Option<&'a str>,
    /// Whether what is left over is looked for: not where what is wanted was narrowed.
    pub left_over: bool,
    /// Now, in seconds since 1970-01-01 UTC.
    pub now: i64,
}

/// Looks at a namespace: its Secrets, its service accounts, and what of this inventory's is left over there. The second is what a person should know beside
/// that: why something was not looked for, and what Run:ai will make of a Secret for all projects.
pub async fn look(cluster: &Cluster, namespace: &Namespace, look: &Look<'_>) -> (StatusRow, Vec<String>) {
    let mut notes = Vec::new();
    let result = look.files(cluster, namespace, &mut notes).await.map_err(unseen);
    (StatusRow { host: namespace.destination(), result }, notes)
}

/// How a trouble is told of a destination that is only looked at.
pub fn unseen(trouble: Trouble) -> Unseen {
    match trouble {
        // The stage is what says that it was not reached.
        Trouble::Unreachable(stage, why) => Unseen::Failed(if stage > Stage::Authenticate { Stage::Connect } else { stage }, why),
        Trouble::Failed(stage, why) | Trouble::Unknown(stage, why) => Unseen::Failed(stage.max(Stage::Rights), why),
    }
}

impl Look<'_> {
    async fn files(&self, cluster: &Cluster, namespace: &Namespace, notes: &mut Vec<String>) -> Result<Vec<FileStatus>, Trouble> {
        let name = namespace.name().unwrap_or_default();
        let wanted = Wanted { namespace: namespace.clone(), documents: BTreeMap::new(), inventory_id: String::new(), options: Options::default() };
        let run = Run::new(cluster, &wanted);
        let mut needs: Vec<Need> = namespace.secrets.iter().map(|s| Need::secret("get", &s.name)).collect();
        needs.extend(accounts(namespace).iter().map(|(account, _)| Need::service_account("get", account)));
        if let Some(why) = cluster.missing_right(name, &needs).await? {
            return Err(Trouble::Failed(Stage::Rights, why));
        }
        let (mut files, mut left) = (Vec::new(), BTreeMap::new());
        for secret in &namespace.secrets {
            let found = run.secret(&secret.name).await?;
            files.push(self.secret(namespace, secret, found.as_ref()));
            let of_ours = found.as_ref().filter(|f| self.left_over && self.inventory_id.is_some() && f.inventory() == self.inventory_id);
            for account in of_ours.map(Found::appended_to).into_iter().flatten().filter(|account| !secret.service_accounts.contains(account)) {
                left.entry(account).or_insert_with(Vec::new).push(secret.name.as_str());
            }
        }
        for (account, secrets) in accounts(namespace) {
            let found = run.account(account).await?.filter(|a| !a.is_going());
            let mut status = FileStatus { target: TARGET, path: format!("serviceaccount/{account}"), ..FileStatus::default() };
            match &found {
                None => status.findings.push(finding(FindingKind::Missing, "there is no such service account; regprov makes none")),
                Some(found) => {
                    let not = secrets.iter().filter(|s| !found.has(&s.name));
                    status.findings.extend(not.map(|s| {
                        let detail = format!("it does not name Secret {} among its `imagePullSecrets`, so pods that run as it pull without", s.name);
                        finding(FindingKind::NotReferenced, detail)
                    }));
                    let old = left.remove(account).unwrap_or_default();
                    status.findings.extend(old.into_iter().filter(|s| found.has(s)).map(still_named));
                }
            }
            files.push(status);
        }
        for (account, secrets) in left {
            // Whoever may not look at it knows from the record alone, and that is not enough.
            let need = [Need::service_account("get", &account)];
            if cluster.missing_right(name, &need).await?.is_some() {
                continue;
            }
            let Some(found) = run.account(&account).await? else { continue };
            let findings: Vec<Finding> = secrets.into_iter().filter(|s| found.has(s)).map(still_named).collect();
            if !findings.is_empty() {
                files.push(FileStatus { target: TARGET, path: format!("serviceaccount/{}", sanitize(&account)), findings, ..FileStatus::default() });
            }
        }
        for secret in &namespace.secrets {
            notes.extend(cluster_wide(cluster, name, secret).await);
        }
        if let Some(id) = self.inventory_id.filter(|_| self.left_over) {
            match leftover::in_namespace(cluster, name, id).await? {
                Ok(there) => files.extend(there.iter().filter(|l| namespace.secrets.iter().all(|s| s.name != l.name)).map(left_over)),
                Err(why) => notes.push(format!("Secrets that are left over were not looked for: {why}")),
            }
        }
        Ok(files)
    }

    fn judge(&self) -> Judge<'_> {
        Judge { same: self.same, previous: self.previous, now: self.now }
    }

    /// One Secret.
    fn secret(&self, namespace: &Namespace, wanted: &PullSecret, found: Option<&Found>) -> FileStatus {
        let logins: Vec<&Login> = wanted.logins.iter().filter_map(|name| self.logins.get(name)).collect();
        let mut status = FileStatus { target: TARGET, path: format!("secret/{}", wanted.name), ..FileStatus::default() };
        let Some(found) = found else {
            status.findings.push(finding(FindingKind::Missing, "there is no such Secret"));
            status.logins = self.judge().all(&logins, Verdict::Missing);
            return status;
        };
        if found.kind != SECRET_TYPE {
            let kind = sanitize(&found.kind);
            status
                .findings
                .push(finding(FindingKind::WrongType, format!("it is of type {kind}, from which no pull takes a login; `apply --replace` makes it anew")));
        }
        let document = found.document();
        let read = document.as_ref().map_or_else(|| Err(format!("it has no `{SECRET_KEY}`")), |document| entries(document));
        match (read, &document) {
            (Ok(entries), Some(document)) => self.logins(&logins, &entries, document, &mut status),
            (Ok(_), None) => {}
            (Err(why), _) => {
                status.findings.push(finding(FindingKind::Unreadable, why));
                status.logins = self.judge().all(&logins, Verdict::Missing);
            }
        }
        self.managers(wanted, found, &mut status);
        let copy = found.copy_in_annotation(namespace, &wanted.name);
        status.findings.extend(copy.map(|told| finding(FindingKind::CopyInAnnotation, told)));
        status
    }

    /// Each login by its entry, what stands beside them, and the form of it all.
    fn logins(&self, logins: &[&Login], entries: &[Entry], there: &[u8], status: &mut FileStatus) {
        let judge = self.judge();
        let kubelet = consumer(TargetKind::Kubelet);
        let mut known: Vec<&str> = Vec::new();
        for login in logins {
            let keys = (kubelet.keys)(&login.registry, &login.auth_hosts);
            let (verdict, detail) = judge.verdict(login, &keys, entries, kubelet.is_alias);
            status.logins.push(judge.login(login, verdict, detail));
            let of_it = |e: &&Entry| keys.contains(&e.key) || (kubelet.is_alias)(&e.key, &login.registry);
            known.extend(entries.iter().filter(of_it).map(|e| e.key.as_str()));
        }
        for entry in entries.iter().filter(|e| !known.contains(&e.key.as_str())) {
            let detail = format!("it has an entry for {}, which the inventory does not want there; `apply` takes it out", sanitize(&without_user(&entry.key)));
            status.findings.push(finding(FindingKind::Different, detail));
        }
        let as_wanted = status.findings.is_empty() && status.logins.iter().all(|l| matches!(l.verdict, Verdict::Same | Verdict::SameAccount));
        if as_wanted && !same(there, &written(logins, entries)) {
            status.findings.push(finding(FindingKind::Different, "its entries are not in the form that kubectl and regprov write; `apply` writes them anew"));
        }
    }

    /// Whose its fields are, and what of labels and annotations differs.
    fn managers(&self, wanted: &PullSecret, found: &Found, status: &mut FileStatus) {
        let id = self.inventory_id.unwrap_or("default");
        let well = |f: &FileStatus| f.findings.is_empty() && f.logins.iter().all(|l| matches!(l.verdict, Verdict::Same | Verdict::SameAccount));
        let data = ["data", SECRET_KEY];
        let others = found.others(&data);
        let force = if well(status) { "`apply` shares it with them" } else { "`apply` needs --force-conflicts" };
        match (found.is_ours(&data), &others[..]) {
            (true, []) => {}
            (true, _) if well(status) => {}
            (false, []) => {
                status.findings.push(finding(FindingKind::OtherManager, format!("no server-side apply of {MANAGER} wrote its logins; `apply` does")))
            }
            (_, others) => {
                let detail = format!("its logins are managed by {}{}; {force}", others.join(", "), if found.is_ours(&data) { " too" } else { "" });
                status.findings.push(finding(FindingKind::OtherManager, detail));
            }
        }
        match found.inventory() {
            Some(other) if other != id => {
                let detail = format!("it is that of inventory {} (annotation {INVENTORY}), and not of {id}; name another one with `secret:`", sanitize(other));
                status.findings.push(finding(FindingKind::OtherManager, detail));
            }
            _ => {}
        }
        let labels: BTreeMap<&str, &str> = wanted.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain([(MANAGED_BY, MANAGER)]).collect();
        let annotations: BTreeMap<&str, &str> = wanted.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain([(INVENTORY, id)]).collect();
        for (section, word, wanted) in [("labels", "label", &labels), ("annotations", "annotation", &annotations)] {
            for (key, value) in wanted {
                let there = if section == "labels" { found.label(key) } else { found.annotation(key) };
                // What nobody of us wrote has none of our own marks, and has been told above; so has another inventory's.
                if (*key == MANAGED_BY || *key == INVENTORY) && (!found.has_ours() || there.is_some_and(|there| *key == INVENTORY && there != *value)) {
                    continue;
                }
                status.findings.extend(self.text(found, &["metadata", section, key], word, value, there));
            }
            for key in found.our_texts(section).keys().filter(|key| !wanted.contains_key(key.as_str()) && *key != APPENDED_TO) {
                let detail = format!("{word} {}: this inventory wrote it and does not want it there any more; `apply` takes it out", sanitize(key));
                status.findings.push(finding(FindingKind::LeftOver, detail));
            }
        }
    }

    /// A label or an annotation.
    fn text(&self, found: &Found, field: &[&str; 3], word: &str, value: &str, there: Option<&str>) -> Option<Finding> {
        let key = sanitize(field[2]);
        let others = found.others(field);
        match (there == Some(value), found.is_ours(field), &others[..]) {
            (true, true, _) => None,
            // Without us it would go when they let go of it. That is told once, of what regprov has a part in at all.
            (true, false, _) if !found.has_ours() => None,
            (true, false, []) => Some(finding(FindingKind::Different, format!("{word} {key} is not managed by {MANAGER}; `apply` does that"))),
            (true, false, others) => {
                Some(finding(FindingKind::OtherManager, format!("{word} {key} is managed by {}; `apply` shares it with them", others.join(", "))))
            }
            (false, _, []) => {
                let how = if there.is_some() { "has another value than" } else { "is missing, with the value" };
                Some(finding(FindingKind::Different, format!("{word} {key} {how} {}", shown(value))))
            }
            (false, _, others) => {
                let detail = format!("{word} {key} has another value than {}, by {}; `apply` needs --force-conflicts", shown(value), others.join(", "));
                Some(finding(FindingKind::OtherManager, detail))
            }
        }
    }
}

fn shown(value: &str) -> String {
    format!("\"{}\"", sanitize(&escape(value)))
}

/// What regprov would write, with the passwords that stand there.
fn written(logins: &[&Login], entries: &[Entry]) -> zeroize::Zeroizing<Vec<u8>> {
    let kubelet = consumer(TargetKind::Kubelet);
    let of = |login: &&Login| {
        let keys = (kubelet.keys)(&login.registry, &login.auth_hosts);
        let account = entries.iter().find(|e| keys.contains(&e.key))?.login.as_ref()?;
        let username = Username::parse(&account.username).ok()?;
        Some(Login { username, password: Secret::new(account.password.expose().to_string()), ..(*login).clone() })
    };
    let logins: Vec<Login> = logins.iter().filter_map(of).collect();
    document(&logins.iter().collect::<Vec<_>>())
}

fn left_over(left: &LeftOver) -> FileStatus {
    let detail = "this inventory wrote it and does not want it there any more; `apply --prune` takes it away".to_string();
    FileStatus {
        target: TARGET,
        path: format!("secret/{}", sanitize(&left.name)),
        findings: vec![finding(FindingKind::LeftOver, detail)],
        ..FileStatus::default()
    }
}

fn still_named(secret: &str) -> Finding {
    let detail = format!("it names Secret {secret}, which regprov appended and the inventory does not want there any more; `apply --prune` takes that out");
    finding(FindingKind::LeftOver, detail)
}

fn finding(kind: FindingKind, detail: impl Into<String>) -> Finding {
    Finding { kind, detail: detail.into() }
}

#[cfg(test)]
pub(super) mod tests;
