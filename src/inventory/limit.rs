//! Which part of an inventory a run is about: `--limit`, `--login`, `--target`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use zeroize::Zeroizing;

use super::fields::suggest;
use super::{Inventory, hostlist};
use crate::error::{Error, Result};
use crate::format::consumer;
use crate::model::{Target, TargetKind};

/// What a run is about: positions in [`Inventory::hosts`] and in [`Inventory::namespaces`], each in inventory order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Of hosts.
    pub hosts: Vec<usize>,
    /// Of namespaces.
    pub namespaces: Vec<usize>,
}

impl Chosen {
    /// Everything that an inventory has.
    pub fn all(inventory: &Inventory) -> Chosen {
        Chosen { hosts: (0..inventory.hosts.len()).collect(), namespaces: (0..inventory.namespaces.len()).collect() }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.namespaces.is_empty()
    }
}

/// The hosts and namespaces that `--limit PATTERN` names.
///
/// A pattern is a list of terms between commas (or colons, as with Ansible): a host, a host list, a group, a namespace as `context/namespace`,
/// a block of `kubernetes:`, which stands for its namespaces as a group for its hosts, `*` or `all`, a name with `*` and `?`, `@./FILE` with such terms, one or more a line, or `@failed`: the hosts that `failed` returns, which may name
/// others too. `&TERM` keeps only what is also in TERM, `!TERM` takes TERM away; as in Ansible they work after all plain terms,
/// whatever their order, and without a plain term on all hosts. A name that is a host's and a group's means both.
///
/// # Errors
/// A name that is neither host nor group, a wildcard that fits nothing, a file that cannot be read, what `failed` says, and an
/// empty result.
pub fn limit(
    inventory: &Inventory,
    pattern: &str,
    read: &mut dyn FnMut(&Path) -> Result<Zeroizing<String>>,
    failed: &mut dyn FnMut() -> Result<Vec<String>>,
) -> Result<Chosen> {
    let lookup = Lookup::new(inventory);
    let all: BTreeSet<usize> = (0..lookup.destinations.len()).collect();
    let mut terms = Vec::new();
    for term in hostlist::split(pattern).map_err(|why| Error::usage(format!("--limit {pattern:?} {why}")))? {
        // Ansible's other separator. No name of a host or group has a colon; a file's may, and that of a context.
        let is_whole = term.starts_with('@') || lookup.names.contains_key(term.trim_start_matches(['!', '&']).trim());
        if is_whole { terms.push(term) } else { terms.extend(split_colons(term)) }
    }
    check_signs(&terms)?;
    let (mut plain, mut both, mut without) = (None::<BTreeSet<usize>>, Vec::new(), BTreeSet::new());
    for term in terms {
        let (sign, name) = match term.strip_prefix(['!', '&']) {
            Some(name) => (&term[..1], name.trim()),
            None => ("", term),
        };
        let found = if name == "@failed" { lookup.known(&failed()?) } else { lookup.term(name, read)? };
        match sign {
            "!" => without.extend(found),
            "&" => both.push(found),
            _ => plain.get_or_insert_default().extend(found),
        }
    }
    let mut chosen = plain.unwrap_or(all);
    for set in both {
        chosen = chosen.intersection(&set).copied().collect();
    }
    let (hosts, namespaces): (Vec<usize>, Vec<usize>) = chosen.difference(&without).partition(|i| **i < inventory.hosts.len());
    let chosen = Chosen { hosts, namespaces: namespaces.into_iter().map(|i| i - inventory.hosts.len()).collect() };
    if chosen.is_empty() {
        let what = if inventory.namespaces.is_empty() { "no host" } else { "no host and no namespace" };
        return Err(Error::usage(format!("--limit {pattern:?} leaves {what}")));
    }
    Ok(chosen)
}

/// Split at the colons outside of brackets.
fn split_colons(term: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    term.split(move |c| {
        inside = (inside || c == '[') && c != ']';
        c == ':' && !inside
    })
    .map(str::trim)
}

/// What Ansible knows and we do not, and what can mean nothing.
fn check_signs(terms: &[&str]) -> Result<()> {
    for term in terms {
        let name = term.trim_start_matches(['!', '&']).trim();
        if name.starts_with('~') {
            return Err(
                Error::usage(format!("--limit {term:?}: regular expressions are not known")).hint("use `*` and `?`, or a host list such as gpu[001-016]")
            );
        }
        if name.is_empty() {
            return Err(Error::usage(format!("--limit: a term is empty{}", if term.is_empty() { String::new() } else { format!(" behind `{term}`") })));
        }
    }
    Ok(())
}

/// Hosts and namespaces, the latter's positions behind those of the former.
struct Lookup {
    destinations: Vec<String>,
    names: HashMap<String, usize>,
    /// Groups, and blocks of `kubernetes:`.
    groups: BTreeMap<String, Vec<usize>>,
    /// What the rows of selectors came to stand for.
    selected: BTreeMap<String, Vec<usize>>,
    has_namespaces: bool,
}

impl Lookup {
    fn new(inventory: &Inventory) -> Self {
        let namespaces = inventory.namespaces.iter().map(ToString::to_string);
        let destinations: Vec<String> = inventory.hosts.iter().map(|h| h.name.clone()).chain(namespaces).collect();
        let names = destinations.iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        let mut groups = inventory.groups.clone();
        let mut selected: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, namespace) in inventory.namespaces.iter().enumerate() {
            if let Some(row) = &namespace.selected {
                selected.entry(row.clone()).or_default().push(inventory.hosts.len() + i);
            }
            for secret in &namespace.secrets {
                groups.entry(secret.block.clone()).or_default().push(inventory.hosts.len() + i);
            }
        }
        Lookup { destinations, names, groups, selected, has_namespaces: !inventory.namespaces.is_empty() }
    }

    /// Those of the names that are there.
    fn known(&self, names: &[String]) -> BTreeSet<usize> {
        names
            .iter()
            .filter_map(|name| self.names.get(name.as_str()))
            .copied()
            .chain(names.iter().filter_map(|name| self.selected.get(name)).flatten().copied())
            .collect()
    }

    /// A term without its sign.
    fn term(&self, term: &str, read: &mut dyn FnMut(&Path) -> Result<Zeroizing<String>>) -> Result<BTreeSet<usize>> {
        let Some(file) = term.strip_prefix('@') else {
            return self.name(term).map_err(|why| with_way_out(format!("--limit: {}", why.0), why.1));
        };
        if !file.contains('/') {
            return Err(Error::usage(format!("--limit @{file}: a file is named with a directory")).hint(format!("write @./{file}")));
        }
        let mut found = BTreeSet::new();
        for (i, line) in read(Path::new(file))?.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim().trim_start_matches('\u{feff}');
            if line.is_empty() {
                continue;
            }
            let at = format!("{file}:{}", i + 1);
            for term in hostlist::split(line).map_err(|why| Error::usage(format!("{at}: {line:?} {why}")))? {
                found.extend(self.name(term).map_err(|why| with_way_out(format!("{at}: {}", why.0), why.1))?);
            }
        }
        Ok(found)
    }

    /// A host, host list, group or wildcard; else what is wrong and, where there is one, the way out.
    fn name(&self, term: &str) -> std::result::Result<BTreeSet<usize>, (String, Option<String>)> {
        if term == "*" || term == "all" {
            return Ok((0..self.destinations.len()).collect());
        }
        let mut found: BTreeSet<usize> = self.groups.get(term).into_iter().flatten().copied().collect();
        let is_group = self.groups.contains_key(term);
        found.extend(self.names.get(term));
        if is_group || !found.is_empty() {
            return Ok(found);
        }
        if term.contains(['*', '?']) && !term.contains('[') {
            found = self.destinations.iter().enumerate().filter(|(_, name)| matches(term, name)).map(|(i, _)| i).collect();
            let groups = self.groups.iter().filter(|(name, _)| matches(term, name));
            found.extend(groups.flat_map(|(_, members)| members));
            return if found.is_empty() { Err((format!("{term:?} fits {}", self.nothing()), None)) } else { Ok(found) };
        }
        if term.contains('[') {
            // `prod/team-[1-9]`: what is listed are the namespaces of one context.
            let (context, own) = term.split_at(term.rfind('/').map_or(0, |slash| slash + 1));
            for name in hostlist::expand(own).map_err(|why| (format!("{term:?} {why}"), None))? {
                let name = format!("{context}{name}");
                found.insert(*self.names.get(&name).ok_or_else(|| self.unknown(&name))?);
            }
            return Ok(found);
        }
        Err(self.unknown(term))
    }

    fn unknown(&self, name: &str) -> (String, Option<String>) {
        let candidates = self.destinations.iter().chain(self.groups.keys()).map(String::as_str);
        let hint = suggest(name, candidates).map(|meant| format!("did you mean `{meant}`?"));
        (format!("there is {} {name:?}", self.nothing()), hint)
    }

    fn nothing(&self) -> &'static str {
        if self.has_namespaces { "no host, no group and no namespace" } else { "no host and no group" }
    }
}

fn with_way_out(message: String, hint: Option<String>) -> Error {
    let error = Error::usage(message);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// `*` stands for any text, `?` for one character. Linear: it goes back to the last `*` only.
fn matches(pattern: &str, name: &str) -> bool {
    let (p, n) = (pattern.as_bytes(), name.as_bytes());
    let (mut i, mut j, mut back) = (0, 0, None);
    while j < n.len() {
        match p.get(i) {
            Some(b'*') => {
                back = Some((i, j));
                i += 1;
            }
            Some(c) if *c == b'?' || *c == n[j] => (i, j) = (i + 1, j + 1),
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    (i, j) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == b'*')
}

/// Narrows every host's targets to these logins (`--login`) and these kinds of target (`--target`); an empty list means
/// all. Hosts and namespaces stay, also those for which nothing is left. A Secret that has one of the logins stays whole: it is written as a
/// whole, and would lose the others.
///
/// # Errors
/// Logins that the inventory does not have, and a choice that leaves nothing on any host.
pub fn select(inventory: &mut Inventory, logins: &[String], targets: &[TargetKind]) -> Result<()> {
    if let Some(name) = logins.iter().find(|name| !inventory.logins.iter().any(|l| l.name == **name)) {
        let hint = super::fields::hint_for(name, inventory.logins.iter().map(|l| l.name.as_str()), "logins");
        return Err(with_way_out(format!("--login: there is no login {name:?}"), hint));
    }
    for host in &mut inventory.hosts {
        for t in host.targets.iter_mut().filter(|_| !logins.is_empty()) {
            t.logins.retain(|l| logins.contains(l));
            t.cred_helpers.clear();
        }
        let chosen = |t: &Target| if consumer(t.kind).logins { !t.logins.is_empty() || !t.cred_helpers.is_empty() } else { logins.is_empty() };
        host.targets.retain(|t| chosen(t) && (targets.is_empty() || targets.contains(&t.kind)));
    }
    for namespace in &mut inventory.namespaces {
        namespace.secrets.retain(|s| targets.is_empty() && (logins.is_empty() || s.logins.iter().any(|l| logins.contains(l))));
    }
    if inventory.hosts.iter().all(|h| h.targets.is_empty()) && inventory.namespaces.iter().all(|n| n.secrets.is_empty()) {
        let what = logins.iter().map(|l| format!("--login {l}")).chain(targets.iter().map(|t| format!("--target {t}")));
        let what = what.collect::<Vec<_>>().join(" ");
        return Err(match what.is_empty() {
            true => Error::usage("no host of the inventory gets a login").hint("give a group `logins:` and `targets:`"),
            false if inventory.namespaces.is_empty() => Error::usage(format!("{what}: no host gets that")),
            false => Error::usage(format!("{what}: no host and no namespace gets that")),
        });
    }
    Ok(())
}
