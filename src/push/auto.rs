//! `path: auto`: the file lies where the node's own configuration says, so it is asked for before anything else is.

use std::collections::BTreeMap;

use super::host::Part;
use super::job::shown;
use super::observe::{below, conf};
use crate::format::{consumer, enroot};
use crate::model::{Host, Target};
use crate::node::protocol::Reply;

/// What is asked of a node for the targets of a part whose place it knows; empty when all places are known.
pub(super) fn questions(host: &Host) -> Vec<String> {
    if !host.targets.iter().any(Target::is_auto) {
        return Vec::new();
    }
    enroot::CONF.iter().map(|pattern| below(pattern, &host.root)).collect()
}

/// The places that were found.
#[derive(Default)]
pub(super) struct Settled {
    /// The path of each file for reports, by its place among all files of the host.
    pub(super) shown: BTreeMap<usize, String>,
    /// The files that have none, and why.
    pub(super) failed: Vec<(usize, String)>,
}

/// Gives each such target of the part its path, which may lie in the home of its user; targets without one leave the part.
pub(super) fn settle(part: &mut Part, reply: &Reply) -> Settled {
    let mut settled = Settled::default();
    let conf = conf(&part.host, &enroot::CONF.map(str::to_string), reply);
    let mut taken: Vec<_> = part.host.targets.iter().filter(|t| !t.is_auto()).flat_map(|t| (consumer(t.kind).files)(t)).map(|spec| spec.path).collect();
    let (mut targets, mut index) = (Vec::new(), Vec::new());
    let mut places = std::mem::take(&mut part.index).into_iter();
    for mut target in std::mem::take(&mut part.host.targets) {
        let files = (consumer(target.kind).files)(&target).len();
        let mine: Vec<usize> = places.by_ref().take(files).collect();
        if target.is_auto() {
            let found = enroot::place(&conf, &target).and_then(|path| match taken.contains(&path) {
                true => Err(format!("enroot.conf leads it to {path}, where another target of this host lies; give one of them another `path:`")),
                false => Ok(path),
            });
            match found {
                Ok(path) => {
                    settled.shown.extend(mine.iter().map(|i| (*i, shown(&part.host, &target, &path))));
                    taken.push(path.clone());
                    target.path = path;
                }
                Err(why) => {
                    settled.failed.extend(mine.into_iter().map(|i| (i, why.clone())));
                    continue;
                }
            }
        }
        targets.push(target);
        index.extend(mine);
    }
    (part.host.targets, part.index) = (targets, index);
    settled
}
