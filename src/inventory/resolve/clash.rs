//! Logins and targets of one host that exclude each other.

use std::collections::BTreeMap;

use super::{Conflicts, Flow, Member, target};
use crate::error::rule;
use crate::format::consumer;
use crate::model::{LoginEntry, RemotePath, Target, TargetKind};

/// What a host's targets and logins cannot be together, whatever the node is like.
pub(super) fn check(known: &BTreeMap<&str, &LoginEntry>, flows: &[Flow<'_>], member: &Member<'_>, conflicts: &mut Conflicts) {
    for flow in flows {
        let mut by_registry: BTreeMap<(&str, Option<&str>), &str> = BTreeMap::new();
        let kind = flow.target.kind;
        for name in &flow.logins {
            let Some(login) = known.get(name) else { continue };
            if login.registry.path().is_some() && !kind.knows_paths() {
                conflicts.add_of(
                    rule::REGISTRY_PATH,
                    flow.target.pos,
                    format!("login `{name}`: registry `{}` has a path, and {kind} knows one login a host", login.registry),
                    format!("write `{}`, or give the login to podman targets alone", login.registry.authority()),
                    member.name,
                );
            }
            if flow.target.cred_helpers.iter().any(|c| c.registry.authority() == login.registry.authority()) {
                conflicts.add_hint(
                    flow.target.pos,
                    format!("login `{name}` and `cred_helpers` of target {kind} are both for {}, where the helper comes first", login.registry.authority()),
                    "keep one of them, or choose the logins of this target with `logins:`".into(),
                    member.name,
                );
            }
            if let Some(first) = by_registry.insert((login.registry.authority(), login.registry.path().filter(|_| kind.knows_paths())), name) {
                conflicts.add_of(
                    rule::TWO_LOGINS,
                    flow.target.pos,
                    format!("logins `{first}` and `{name}` are both for {} in one {} file ({})", login.registry, flow.target.kind, target(flow).shown_path()),
                    format!(
                        "one file holds one login a registry; take one out of `logins`, or choose for this target: `- {}: {{logins: [{name}]}}`",
                        flow.target.kind
                    ),
                    member.name,
                );
            }
        }
        if flow.target.kind == TargetKind::Singularity && by_registry.len() > 1 {
            let names: Vec<&str> = flow.logins.iter().copied().collect();
            conflicts.add_of(
                rule::ENV_TWO_LOGINS,
                flow.target.pos,
                format!("singularity serves one login, here are {}: {}", names.len(), names.join(", ")),
                format!("name one: `- singularity: {{login: {}}}`, or let target apptainer serve them all", names[0]),
                member.name,
            );
        }
    }
    check_files(flows, member, conflicts);
}

/// What several targets of one host cannot have together, whatever their logins are.
fn check_files(flows: &[Flow<'_>], member: &Member<'_>, conflicts: &mut Conflicts) {
    let of = |kind: TargetKind| flows.iter().find(|f| f.target.kind == kind);
    if let (Some(variables), Some(file)) = (of(TargetKind::Singularity), of(TargetKind::Apptainer)) {
        conflicts.add_hint(
            file.target.pos,
            format!(
                "targets singularity (line {}) and apptainer: the variables of the first are sent to every registry and hide the file of the second",
                variables.target.pos.line
            ),
            "keep apptainer, which serves every login, or singularity, for one".into(),
            member.name,
        );
    }
    let targets: Vec<Target> = flows.iter().map(target).collect();
    for (i, second) in targets.iter().enumerate() {
        let theirs = |t: &Target| (consumer(t.kind).files)(t);
        let shared = |first: &Target| {
            let same = |path: &RemotePath| first.user == second.user || (Target::below_home(path).is_none() && path.as_str() != Target::AUTO);
            theirs(first).into_iter().find(|file| same(&file.path) && theirs(second).iter().any(|f| f.path == file.path))
        };
        let Some((at, file)) = targets[..i].iter().enumerate().find_map(|(at, first)| Some((at, shared(first)?))) else { continue };
        let (a, b, line) = (targets[at].kind, second.kind, flows[at].target.pos.line);
        let message = match a == b {
            true => format!("a second {b} target; the first is on line {line}, and both would write {}", file.path),
            false => format!("targets {a} (line {line}) and {b} would both write {}", file.path),
        };
        conflicts.add(flows[i].target.pos, message, member.name);
    }
}
