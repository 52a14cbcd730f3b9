//! What the hosts of a run know of each other. Mostly merges that were made before: what a merge yields follows from its input alone, and the nodes of a fleet mostly hold the
//! same files: rendering and reading back by the rules of each curl is done once then, not once a host.

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::shared::Registry;
use crate::format::{FileSpec, Merge, Merged, NodeFacts};
use crate::model::Target;

/// Different inputs that are kept; a fleet with more of them gains nothing from the rest.
const INPUTS_MAX: usize = 64;
/// Files above this are merged again each time, so that what is kept stays below 4 MiB.
const FILE_BYTES_MAX: usize = 32 << 10;

/// What merges and readings came to in this run. Logins and options are the run's own, so they are not part of an input.
#[derive(Default)]
pub(super) struct Memos {
    /// The merged files.
    pub(super) merged: Memo<Result<Merged, String>>,
    /// Whether a file is read as it was meant.
    pub(super) read_back: Memo<Result<(), String>>,
    /// Files that several hosts see; `None` in a run of one host.
    pub(super) shared: Option<Arc<Registry>>,
}

/// Results by their input.
pub(super) struct Memo<R> {
    known: Mutex<Vec<(Input, R)>>,
}

struct Input {
    target: Target,
    spec: FileSpec,
    existing: Option<Zeroizing<Vec<u8>>>,
    facts: NodeFacts,
}

impl Input {
    fn is(&self, merge: &Merge<'_>) -> bool {
        let existing = self.existing.as_ref().map(|e| &e[..]);
        existing == merge.existing && self.spec == *merge.spec && self.target == *merge.target && self.facts == *merge.facts
    }
}

impl<R> Default for Memo<R> {
    fn default() -> Self {
        Memo { known: Mutex::default() }
    }
}

impl<R: Clone> Memo<R> {
    /// The result for this input, worked out when it is not known yet.
    pub(super) fn get(&self, merge: &Merge<'_>, work: impl FnOnce() -> R) -> R {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, result)) = known().iter().find(|(input, _)| input.is(merge)) {
            return result.clone();
        }
        let result = work();
        let mut known = known();
        let small = merge.existing.is_none_or(|e| e.len() <= FILE_BYTES_MAX);
        if small && known.len() < INPUTS_MAX && !known.iter().any(|(input, _)| input.is(merge)) {
            let existing = merge.existing.map(|e| Zeroizing::new(e.to_vec()));
            known.push((Input { target: merge.target.clone(), spec: merge.spec.clone(), existing, facts: merge.facts.clone() }, result.clone()));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::format::{self, MergeOptions};
    use crate::model::{CurlVersion, RemotePath, TargetKind};

    fn target(kind: TargetKind) -> Target {
        Target::at(kind, RemotePath::parse(format::consumer(kind).default_path).unwrap())
    }

    /// How often a second input is worked out after the first one was.
    #[track_caller]
    fn check(first: (&Target, usize, Option<&[u8]>, &NodeFacts), second: (&Target, usize, Option<&[u8]>, &NodeFacts), want: u32) {
        let (memo, worked) = (Memo::default(), Cell::new(0));
        let get = |(target, file, existing, facts): (&Target, usize, Option<&[u8]>, &NodeFacts)| {
            let spec = (format::consumer(target.kind).files)(target).swap_remove(file);
            let merge = Merge { target, spec: &spec, logins: &[], existing, facts, options: MergeOptions::default() };
            memo.get(&merge, || worked.replace(worked.get() + 1))
        };
        assert_eq!(get(first), 0);
        assert_eq!(get(second), want);
    }

    #[test]
    fn only_an_equal_input_is_known() {
        let (docker, singularity) = (target(TargetKind::Docker), target(TargetKind::Singularity));
        let other = Target { logins: vec!["hub".into()], ..docker.clone() };
        let (no_facts, curl) = (NodeFacts::default(), NodeFacts { curl: Some(CurlVersion(8, 5, 0)), ..NodeFacts::default() });
        let conf = NodeFacts { conf: vec![("/etc/enroot/enroot.conf".into(), Vec::new().into())], ..NodeFacts::default() };
        check((&docker, 0, Some(b"{}"), &no_facts), (&docker, 0, Some(b"{}"), &no_facts), 0);
        check((&docker, 0, None, &no_facts), (&docker, 0, None, &no_facts), 0);
        check((&docker, 0, Some(b"{}"), &no_facts), (&docker, 0, Some(b"{ }"), &no_facts), 1);
        check((&docker, 0, Some(b""), &no_facts), (&docker, 0, None, &no_facts), 1);
        check((&docker, 0, None, &no_facts), (&other, 0, None, &no_facts), 1);
        check((&docker, 0, None, &no_facts), (&docker, 0, None, &curl), 1);
        check((&docker, 0, None, &no_facts), (&docker, 0, None, &conf), 1);
        check((&singularity, 0, None, &no_facts), (&singularity, 1, None, &no_facts), 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let big = vec![b' '; FILE_BYTES_MAX + 1];
        let docker = target(TargetKind::Docker);
        let facts = NodeFacts::default();
        check((&docker, 0, Some(&big), &facts), (&docker, 0, Some(&big), &facts), 1);
        let memo = Memo::default();
        let spec = (format::consumer(TargetKind::Docker).files)(&docker).swap_remove(0);
        for i in 0..2 * INPUTS_MAX {
            let existing = i.to_string();
            let merge =
                Merge { target: &docker, spec: &spec, logins: &[], existing: Some(existing.as_bytes()), facts: &facts, options: MergeOptions::default() };
            assert_eq!(memo.get(&merge, || i), i);
        }
        assert_eq!(memo.known.lock().unwrap().len(), INPUTS_MAX);
    }
}
