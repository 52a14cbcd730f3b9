//! Credential helpers: those that stand before our logins, and those that the inventory asks for.

use std::collections::BTreeMap;

use super::document::Document;
use super::{Dialect, Helpers};
use crate::format::json::Value;
use crate::format::{Merge, Merged, helper, shown};
use crate::model::{HelperPolicy, Registry, TargetKind};

/// Where programs are looked for by name, as root's `PATH` has it on most systems.
const BIN_DIRS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Who answers for a registry before its entry in `auths` is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before<'d> {
    /// Nobody.
    Nobody,
    /// Nobody, as an empty name in `credHelpers` says.
    EmptyName,
    /// The helper of this name in `credHelpers`.
    Helper(&'d str),
    /// The helper that `credsStore` names.
    Store,
}

/// The key under which helpers are looked up: for containers/image the host alone, as helpers know no paths.
fn helper_key(dialect: &Dialect, registry: &Registry) -> String {
    if dialect.helpers == Helpers::PerRegistry { registry.authority().to_string() } else { (dialect.key)(registry) }
}

/// Who answers for the registry.
pub(super) fn before<'d>(dialect: &Dialect, document: &'d Document<'_>, registry: &Registry) -> Before<'d> {
    before_key(dialect, document, &helper_key(dialect, registry))
}

/// Who answers for a key of the file.
pub(super) fn before_key<'d>(dialect: &Dialect, document: &'d Document<'_>, key: &str) -> Before<'d> {
    let named = document.helpers.iter().find(|(name, ..)| name == key).map(|(.., helper)| helper.as_str());
    match (dialect.helpers, named) {
        (Helpers::None, _) | (Helpers::PerRegistry, None) => Before::Nobody,
        (Helpers::Docker, Some("")) => Before::EmptyName,
        (Helpers::PerRegistry, Some(helper)) => Before::Helper(helper),
        (Helpers::Docker | Helpers::Oras, Some(helper)) if !helper.is_empty() => Before::Helper(helper),
        (Helpers::Docker | Helpers::Oras, _) if document.store => Before::Store,
        (Helpers::Docker | Helpers::Oras, _) => Before::Nobody,
    }
}

/// What becomes of `credHelpers`: `None` when nothing changes there. An error when a helper stands between the program and our login.
pub(super) fn keep_helpers<'a>(
    dialect: &Dialect,
    m: &Merge<'_>,
    document: &Document<'a>,
    merged: &mut Merged,
) -> Result<Option<Vec<(String, Value<'a>)>>, String> {
    if m.target.helper == HelperPolicy::Store {
        helper::settle(m)?;
        return Ok(wanted(dialect, m, document, &[], merged));
    }
    let mut problems = Vec::new();
    let mut remove: Vec<&str> = Vec::new();
    for login in m.logins {
        let key = helper_key(dialect, &login.registry);
        let alias = |name: &str| dialect.helpers != Helpers::PerRegistry && (dialect.is_alias)(name, &login.registry);
        let of_registry = document.helpers.iter().filter(|(name, ..)| *name == key || alias(name)).map(|(name, ..)| name.as_str());
        if m.target.helper == HelperPolicy::Remove {
            remove.extend(of_registry);
            if document.store {
                problems.push("`credsStore` is set".to_string());
            }
            continue;
        }
        let answers = before(dialect, document, &login.registry);
        if answers == Before::EmptyName {
            // docker itself takes an empty helper for "use the file"; podman and skopeo fail on it.
            merged.notes.push(format!("`credHelpers` names an empty helper for {key}: docker reads the file, podman and skopeo fail"));
        }
        let harmless = |name: &str| name == key && !matches!(answers, Before::Helper(_));
        problems.extend(of_registry.filter(|name| !harmless(name)).map(|name| format!("`credHelpers` has an entry `{}`", shown(name))));
        if answers == Before::Store || (document.store && matches!(answers, Before::Helper(_))) {
            problems.push("`credsStore` is set".to_string());
        }
    }
    problems.sort();
    problems.dedup();
    if !problems.is_empty() {
        let way_out = if document.store {
            if m.target.kind == TargetKind::Docker {
                "take `credsStore` out of the file, or set `helper: store` on the target"
            } else {
                "take `credsStore` out of the file, or put the logins into that helper"
            }
        } else if m.target.kind == TargetKind::Docker {
            "take it out of the file, or set `helper: store` or `helper: remove` on the target"
        } else {
            "take it out of the file, or set `helper: remove` on the target"
        };
        let (what, name) = (problems.join(", "), dialect.name);
        return Err(format!("{}: {what}: {name} would ask that helper and never use our login; {way_out}", m.spec.path));
    }
    Ok(wanted(dialect, m, document, &remove, merged))
}

/// `credHelpers` without those that go, and with those of the inventory; `None` when it stays as it is.
fn wanted<'a>(dialect: &Dialect, m: &Merge<'_>, document: &Document<'a>, remove: &[&str], merged: &mut Merged) -> Option<Vec<(String, Value<'a>)>> {
    let changes = merged.diff.len();
    let text = |helper: &str| Value::Text(zeroize::Zeroizing::new(helper.to_string()));
    let mut missing: Vec<(String, &str)> = m.target.cred_helpers.iter().map(|c| (helper_key(dialect, &c.registry), c.helper.as_str())).collect();
    let other_name = |name: &str, registry: &Registry| dialect.helpers != Helpers::PerRegistry && (dialect.is_alias)(name, registry);
    let mut out = Vec::new();
    for (name, raw, helper) in &document.helpers {
        if let Some(at) = missing.iter().position(|(key, _)| key == name) {
            let (_, wanted) = missing.remove(at);
            if **helper == *wanted {
                out.push((name.clone(), Value::Raw(raw)));
            } else {
                merged.diff.push(format!("~ credHelpers {} ({wanted})", shown(name)));
                out.push((name.clone(), text(wanted)));
            }
        } else if remove.contains(&name.as_str()) || m.target.cred_helpers.iter().any(|c| other_name(name, &c.registry)) {
            merged.diff.push(format!("- credHelpers {}", shown(name)));
        } else {
            out.push((name.clone(), Value::Raw(raw)));
        }
    }
    for (key, helper) in missing {
        merged.diff.push(format!("+ credHelpers {key} ({helper})"));
        out.push((key, text(helper)));
    }
    (merged.diff.len() > changes).then_some(out)
}

/// Where a helper's program may lie.
pub(super) fn places(helper: &str) -> impl Iterator<Item = String> {
    BIN_DIRS.into_iter().map(move |dir| format!("{dir}/docker-credential-{helper}"))
}

/// What the admin should know of helpers whose program was not found.
pub(super) fn missing(dialect: &Dialect, m: &Merge<'_>) -> Vec<String> {
    let mut gone: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for helped in m.target.cred_helpers.iter().filter(|c| !places(&c.helper).any(|path| m.facts.there.contains(&path))) {
        gone.entry(&helped.helper).or_default().push(helped.registry.to_string());
    }
    let note = |(helper, registries): (&str, Vec<String>)| {
        let (dirs, registries) = (BIN_DIRS.join(", "), registries.join(", "));
        format!("docker-credential-{helper} is in none of {dirs} on the node: without it {} has no login for {registries}; install it", dialect.name)
    };
    gone.into_iter().map(note).collect()
}
