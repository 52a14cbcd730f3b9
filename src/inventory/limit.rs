//! Which part of an inventory a run is about: `--limit`, `--login`, `--target`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use zeroize::Zeroizing;

use super::fields::suggest;
use super::{Inventory, hostlist};
use crate::error::{Error, Result};
use crate::format::consumer;
use crate::model::{Target, TargetKind};

/// The positions of the hosts that `--limit PATTERN` names, in inventory order.
///
/// A pattern is a list of terms between commas (or colons, as with Ansible): a host, a host list, a group, `*` or `all`, a name
/// with `*` and `?`, `@./FILE` with such terms, one or more a line, or `@failed`: the hosts that `failed` returns, which may name
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
) -> Result<Vec<usize>> {
    let all: BTreeSet<usize> = (0..inventory.hosts.len()).collect();
    let names: HashMap<&str, usize> = inventory.hosts.iter().enumerate().map(|(i, h)| (h.name.as_str(), i)).collect();
    let lookup = Lookup { inventory, names };
    let mut terms = Vec::new();
    for term in hostlist::split(pattern).map_err(|why| Error::usage(format!("--limit {pattern:?} {why}")))? {
        // Ansible's other separator. No name of a host or group has a colon; a file's may.
        if term.starts_with('@') { terms.push(term) } else { terms.extend(split_colons(term)) }
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
    let chosen: Vec<usize> = chosen.difference(&without).copied().collect();
    if chosen.is_empty() {
        return Err(Error::usage(format!("--limit {pattern:?} leaves no host")));
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

struct Lookup<'a> {
    inventory: &'a Inventory,
    names: HashMap<&'a str, usize>,
}

impl Lookup<'_> {
    /// Those of the names that are hosts.
    fn known(&self, names: &[String]) -> BTreeSet<usize> {
        names.iter().filter_map(|name| self.names.get(name.as_str())).copied().collect()
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
        let hosts = &self.inventory.hosts;
        if term == "*" || term == "all" {
            return Ok((0..hosts.len()).collect());
        }
        let mut found: BTreeSet<usize> = self.inventory.groups.get(term).into_iter().flatten().copied().collect();
        let is_group = self.inventory.groups.contains_key(term);
        found.extend(self.names.get(term));
        if is_group || !found.is_empty() {
            return Ok(found);
        }
        if term.contains(['*', '?']) && !term.contains('[') {
            found = hosts.iter().enumerate().filter(|(_, h)| matches(term, &h.name)).map(|(i, _)| i).collect();
            let groups = self.inventory.groups.iter().filter(|(name, _)| matches(term, name));
            found.extend(groups.flat_map(|(_, members)| members));
            return if found.is_empty() { Err((format!("{term:?} fits no host and no group"), None)) } else { Ok(found) };
        }
        if term.contains('[') {
            for name in hostlist::expand(term).map_err(|why| (format!("{term:?} {why}"), None))? {
                found.insert(*self.names.get(name.as_str()).ok_or_else(|| self.unknown(&name))?);
            }
            return Ok(found);
        }
        Err(self.unknown(term))
    }

    fn unknown(&self, name: &str) -> (String, Option<String>) {
        let candidates = self.inventory.hosts.iter().map(|h| h.name.as_str()).chain(self.inventory.groups.keys().map(String::as_str));
        let hint = suggest(name, candidates).map(|meant| format!("did you mean `{meant}`?"));
        (format!("there is no host and no group {name:?}"), hint)
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
/// all. Hosts stay, also those for which nothing is left.
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
    if inventory.hosts.iter().all(|h| h.targets.is_empty()) {
        let what = logins.iter().map(|l| format!("--login {l}")).chain(targets.iter().map(|t| format!("--target {t}")));
        let what = what.collect::<Vec<_>>().join(" ");
        return Err(match what.is_empty() {
            true => Error::usage("no host of the inventory gets a login").hint("give a group `logins:` and `targets:`"),
            false => Error::usage(format!("{what}: no host gets that")),
        });
    }
    Ok(())
}
