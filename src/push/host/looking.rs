//! The side of a host's conversation that only looks: what stands there for `status`, and what the record says that we wrote.

use std::sync::{Arc, Mutex};

use super::super::clearance::Clearance;
use super::super::decide::Decision;
use super::super::job::{Done, What, items, shown};
use super::super::memo::Memos;
use super::super::observe::Seen;
use super::super::remove::Task;
use super::super::shared::Row;
use super::super::status::{SeenPart, Status};
use super::{HostRun, PartRun, Progress};
use crate::format::Judge;
use crate::format::owned::{self, Claim};
use crate::model::status::FileStatus;
use crate::model::{Change, Host, Observed, RemotePath, Stage};
use crate::plan::{self, Located};
use crate::transport::clock::Clock;
use crate::transport::{Connector, Trouble};

/// Looks at the files of one host and writes nothing. Some of what a cut look found says nothing of the rest, so it is dropped.
pub(in super::super) async fn look<C: Connector>(status: &Status<C>, host: &Host) -> Result<Vec<FileStatus>, Trouble> {
    let progress = Mutex::new(Progress::default());
    let clock = Arc::new(Clock::default());
    let look = Some(Look { judge: judge_of(status), inventory_id: status.inventory_id.as_deref() });
    let (memos, clearance) = (Memos::default(), Clearance::given());
    let run =
        HostRun { push: &status.push, task: &Task::Apply, host, memos: &memos, sent: &|| {}, clearance: &clearance, look, progress: &progress, clock: &clock };
    run.in_time().await?;
    let mut progress = progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut found = Vec::new();
    for (i, item) in items(host, &status.push.logins, 0).iter().enumerate() {
        let file = match (progress.found.remove(&i), progress.done.remove(&i)) {
            (Some(file), _) => file,
            // A file whose place the node does not tell.
            (None, Some(Done { reason: Some(why), .. })) => judge_of(status).no_place(item, why),
            (None, _) => continue,
        };
        // A path in a home is shown as the inventory has it.
        let path = progress.shown.remove(&i).unwrap_or_else(|| shown(host, item.target, &item.spec.path));
        found.push(FileStatus { path, ..file });
    }
    Ok(found.into_iter().chain(progress.found_beside).collect())
}

fn judge_of<C>(status: &Status<C>) -> Judge<'_> {
    Judge { same: &*status.same, previous: &status.previous, now: status.now }
}

/// What a run that only looks needs.
pub(super) struct Look<'a> {
    pub(super) judge: Judge<'a>,
    /// Whose part of the record is looked at.
    pub(super) inventory_id: Option<&'a str>,
}

/// A path of a part of a host as reports show it: one in the home of that part's user as `~alice/...`.
pub(in super::super) fn parted(host: &Host, home: Option<(&str, &RemotePath)>, path: &RemotePath) -> String {
    let below = home.and_then(|(user, home)| Some(format!("~{user}/{}", path.as_str().strip_prefix(home.as_str())?.strip_prefix('/')?)));
    match below {
        Some(shown) if host.root.as_str() == "/" => shown,
        Some(shown) => format!("{}/{shown}", host.root),
        None => path.below(&host.root).to_string(),
    }
}

impl<C: Connector> PartRun<'_, C> {
    /// Of a run that writes nothing anew: its items are as they were.
    pub(super) fn unwanted(&self, decision: Decision) -> Decision {
        let unchanged = || Done { change: Change::Unchanged, stage: Stage::Render, reason: None, diff: Vec::new() };
        Decision { settled: (0..self.items.len()).map(|item| (What::Item(item), unchanged())).collect(), ..decision }
    }

    /// Compares what was seen with what is wanted.
    pub(super) fn look(&self, look: &Look<'_>, seen: &Seen) -> Result<(), Trouble> {
        let claims = self.read_claims(seen)?;
        let part =
            SeenPart { host: self.host, items: self.items, claims: &claims, unplaced: self.unplaced, home: self.user.map(|user| (user, &self.home)), seen };
        let (files, beside) = look.judge.part(&part);
        let mut progress = self.progress();
        progress.found.extend(self.index.iter().copied().zip(files));
        progress.found_beside.extend(beside);
        Ok(())
    }

    /// [`claims`](Self::claims), without which nothing can be said.
    pub(super) fn read_claims(&self, seen: &Seen) -> Result<Vec<Claim>, Trouble> {
        self.claims(seen).map_err(|why| Trouble::new(Stage::Observe, why.replace(owned::PATH, self.record.as_str())))
    }

    /// What became of the file of a claim. A later attempt does not take back what an earlier one did.
    pub(super) fn held(&self, claim: &Claim, done: Done) {
        let place = (claim.kind.name(), self.shown(&claim.spec.path));
        let mut progress = self.progress();
        let settled = |d: &Done| d.change.is_change() || d.change == Change::Failed;
        if !progress.held.get(&place).is_some_and(settled) {
            progress.held.insert(place, done);
        }
    }

    /// The row of a claim's file.
    pub(super) fn place_in_report(&self, claim: &Claim) -> Row {
        Row::Held(claim.kind.name(), self.shown(&claim.spec.path))
    }

    /// What the record says that we wrote, where that is of any use.
    pub(super) fn claims(&self, seen: &Seen) -> Result<Vec<Claim>, String> {
        let Some(id) = self.run.record_of() else { return Ok(Vec::new()) };
        match plan::locate(self.record, &self.host.root, seen.me().0, seen) {
            Located::At { observed: Observed::File(file), .. } => owned::claims(&file.content, id),
            _ => Ok(Vec::new()),
        }
    }
}
