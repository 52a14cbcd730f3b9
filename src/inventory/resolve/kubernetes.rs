//! The blocks of `kubernetes:` to namespaces, each with its Secrets.

use std::collections::BTreeMap;

use super::check_known;
use crate::error::rule;
use crate::inventory::fields::Reader;
use crate::inventory::schema::Block;
use crate::inventory::yaml::Pos;
use crate::model::{LoginEntry, Namespace, PullSecret, Which};

/// The namespaces in the order in which the blocks name them, each once. What is wrong with the logins is told only where all of them are
/// `known`.
pub(super) fn namespaces(blocks: &[Block], known: Option<&BTreeMap<&str, &LoginEntry>>, reader: &mut Reader<'_>) -> Vec<Namespace> {
    let mut found: Vec<Namespace> = Vec::new();
    let mut index: BTreeMap<(Option<&str>, Which), usize> = BTreeMap::new();
    for block in blocks {
        if let Some(known) = known {
            check_known(&block.logins, known, reader);
            same_registry(block, known, reader);
        }
        let named = block.namespaces.iter().map(|n| (Which::Named(n.value.clone()), n.pos));
        let selected = block.selector.iter().map(|s| (Which::Selected(s.value.clone()), s.pos));
        for (which, pos) in named.chain(selected) {
            let at = *index.entry((block.context.as_deref(), which.clone())).or_insert_with(|| {
                let place = format!("{}:{}:{}", reader.file, pos.line, pos.column);
                found.push(Namespace { context: block.context.clone(), which, selected: None, secrets: Vec::new(), place });
                found.len() - 1
            });
            let namespace = &mut found[at];
            match namespace.secrets.iter().find(|s| s.name == block.secret) {
                Some(other) => twice(reader, pos, block, &namespace.to_string(), &other.block),
                None => namespace.secrets.push(secret(block)),
            }
        }
    }
    found
}

fn twice(reader: &mut Reader<'_>, pos: Pos, block: &Block, namespace: &str, other: &str) {
    let message = format!("`{}` and `{other}` of `kubernetes` both make the Secret {} in {namespace}", block.name, block.secret);
    reader.fault_hint(pos, message, "name all its logins in one block, or give one of them another name with `secret:`");
}

fn secret(block: &Block) -> PullSecret {
    let mut logins: Vec<String> = block.logins.iter().map(|l| l.value.clone()).collect();
    logins.sort();
    PullSecret {
        name: block.secret.clone(),
        block: block.name.clone(),
        logins,
        labels: block.labels.clone(),
        annotations: block.annotations.clone(),
        service_accounts: block.service_accounts.clone(),
    }
}

/// Two logins for one registry cannot stand in one Secret.
fn same_registry(block: &Block, known: &BTreeMap<&str, &LoginEntry>, reader: &mut Reader<'_>) {
    let entries: Vec<(&LoginEntry, Pos)> = block.logins.iter().filter_map(|l| Some((*known.get(l.value.as_str())?, l.pos))).collect();
    for (i, (entry, pos)) in entries.iter().enumerate() {
        if let Some((other, _)) = entries[..i].iter().find(|(o, _)| o.registry.authority() == entry.registry.authority()) {
            let message = format!("logins `{}` and `{}` are both for {} in one Secret", other.name, entry.name, entry.registry.authority());
            let hint = format!("leave one of them out of `{}`, or make two blocks with two names (`secret:`)", block.name);
            reader.fault_of(rule::TWO_LOGINS, *pos, message, Some(hint));
        }
        if entry.registry.path().is_some() {
            let (registry, host) = (&entry.registry, entry.registry.authority());
            let message = format!("login `{}`: registry `{registry}` has a path, and readers of a pull Secret know hosts only", entry.name);
            reader.fault_of(rule::REGISTRY_PATH, *pos, message, Some(format!("write `{host}`")));
        }
    }
}
