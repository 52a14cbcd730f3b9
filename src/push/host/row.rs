//! A host's row in the report.

use super::super::job::Item;
use super::super::not_attempted;
use super::Progress;
use crate::model::{Change, FileRow, Host, HostRow, Outcome, Stage};
use crate::transport::Trouble;

/// The host's row from what its files came to and from how the conversation ended.
pub(super) fn row(host: &Host, items: &[Item<'_>], mut progress: Progress, ended: Result<(), Trouble>) -> HostRow {
    let mut row = not_attempted(host, Outcome::Unchanged);
    row.notes = std::mem::take(&mut progress.notes);
    let mut first_failure = None;
    for (i, file) in row.files.iter_mut().enumerate() {
        if let Some(shown) = progress.shown.remove(&i) {
            file.path = shown;
        }
        let Some(done) = progress.done.remove(&i) else { continue };
        if done.change == Change::Failed && first_failure.is_none() {
            let why = done.reason.as_deref().unwrap_or_default();
            // Most reasons name the file themselves.
            let named = why.contains(items[i].wanted.as_str()) || why.contains(items[i].spec.path.as_str()) || why.contains(&file.path);
            first_failure = Some((done.stage, if named { why.to_string() } else { format!("{}: {why}", file.path) }));
        }
        (file.change, file.reason, file.diff) = (done.change, done.reason, done.diff);
    }
    for ((target, path), done) in progress.held {
        if done.change == Change::Failed && first_failure.is_none() {
            first_failure = Some((done.stage, format!("{path}: {}", done.reason.as_deref().unwrap_or_default())));
        }
        let file = FileRow { target, path, change: done.change, reason: done.reason, diff: done.diff };
        match row.files.iter_mut().find(|f| (f.target, &f.path) == (target, &file.path)) {
            Some(same) => *same = file,
            None => row.files.push(file),
        }
    }
    let wrote = row.files.iter().any(|f| f.change.is_change());
    row.outcome = match (ended, first_failure) {
        (Err(Trouble { stage, reason }), _) if progress.sent => Outcome::Unknown { stage, reason },
        (Err(Trouble { stage, reason }), _) if stage <= Stage::Authenticate => Outcome::Unreachable { stage, reason },
        (Err(Trouble { stage, reason }), _) => Outcome::Failed { stage, reason },
        (Ok(()), Some((stage, reason))) => Outcome::Failed { stage, reason },
        (Ok(()), None) if wrote => Outcome::Changed,
        (Ok(()), None) => Outcome::Unchanged,
    };
    row
}
