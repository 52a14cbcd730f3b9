//! enroot's `.credentials`: netrc lines that three programs read by three sets of rules (enroot `src/docker.sh` and
//! `src/common.sh`): awk takes the username from the first line of a registry, grep asks whether registry and username
//! are there, and curl looks up the host of the token realm.
//!
//! A line is written so that all three find the same login on the curl at hand, and so that enroot never runs a password
//! as a shell command, which it does when the sixth field of a line starts with `$`. A username with `\`, `*`, `[` or
//! white space is hidden behind a decoy (`login x account x login REAL`), since grep takes it for a pattern; the explicit
//! form `docker://USER@...` does not work for such a name.

mod encode;
mod machines;
mod place;
mod readers;

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::netrc::{self, Layout, lookup};
use super::{Account, Consumer, Entries, Entry, FileSpec, Merge, Merged, NodeFacts, Removal, Removed, Wants, dir_mode, lossy, shown};
use crate::model::{Login, Secret, Target, TargetKind};
use encode::{SHORT_TOKEN_BYTES_MAX, check_host, line};
pub(crate) use encode::{hosts, is_keyword, is_portable, password, reads_quotes};
pub use machines::{Machine, Says, machines};
pub(crate) use place::place;
use place::where_read;
pub use place::{CONF, credentials, read_by_root_only};
pub use readers::{Import, import};
use readers::{evaluate, is_evaluated, reads};

/// What is read of a file to look all its hosts up, each from the start as curl does: 80 hosts in 200 kB, 4,000 in 4 kB.
const LOOKED_UP_BYTES_MAX: usize = 16 << 20;

/// enroot's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Enroot,
    default_path: "/root/.config/enroot/.credentials",
    one_login: false,
    directory: false,
    in_home: true,
    logins: true,
    restart: &[],
    files,
    check,
    wants,
    merge,
    read_back,
    keys: hosts,
    is_alias: |_, _| false,
    entries,
    remove,
};

fn files(target: &Target) -> Vec<FileSpec> {
    vec![FileSpec { part: "", path: target.path.clone(), mode: target.mode, secret: true, at_start: false, dir_mode: dir_mode(target) }]
}

fn check(target: &Target, logins: &[&Login]) -> Vec<String> {
    let mut problems = super::check_common(target, logins);
    let mut taken: Vec<(String, &Login)> = Vec::new();
    for login in logins {
        for host in hosts(&login.registry, &login.auth_hosts) {
            if let Err(why) = check_host(&host) {
                problems.push(format!("login \"{}\" ({}): {why}", login.name, login.registry));
            }
            match taken.iter().find(|(h, _)| *h == host) {
                Some((_, other)) if other.registry.authority() != login.registry.authority() => problems.push(format!(
                    "logins \"{}\" ({}) and \"{}\" ({}) both need the netrc line of {host}, which knows no port, in enroot {}; give the target one of them with `logins:`",
                    other.name, other.registry, login.name, login.registry, target.path
                )),
                _ => taken.push((host, login)),
            }
        }
        // The newest curl reads most: what cannot be written for it cannot be written for any.
        if let Some(why) = hosts(&login.registry, &login.auth_hosts).iter().find_map(|host| line(host, login, Some(netrc::NEWEST)).err()) {
            problems.push(why);
        }
    }
    problems
}

/// curl is asked for only where its version decides.
fn wants(_: &Target, logins: &[&Login]) -> Wants {
    let depends = |text: &str| !is_portable(text) || text.len() > SHORT_TOKEN_BYTES_MAX;
    let curl = logins.iter().any(|l| depends(l.username.as_str()) || depends(&password(l)));
    Wants { curl, conf: CONF.map(str::to_string).into(), ..Wants::default() }
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    let lines = wanted_lines(m)?;
    let mut merged = match compose(m, &lines, m.existing.unwrap_or_default()) {
        Err(why) if m.options.replace_invalid && m.existing.is_some() => {
            let mut merged = compose(m, &lines, b"")?;
            merged.diff.insert(0, format!("~ the whole file: {why}"));
            merged.notes.push(format!("replaced a file that could not be used: {why}; it is kept as {}.regprov-backup", m.spec.path.file_name()));
            merged.backup = true;
            merged
        }
        Err(why) => return Err(format!("{}: {why}", m.spec.path)),
        Ok(merged) => merged,
    };
    merged.notes.extend(where_read(m.target, m.facts));
    Ok(merged)
}

/// One line that we want, and what each reader shall find by it.
struct Wanted<'a> {
    host: String,
    login: &'a Login,
    line: Zeroizing<String>,
}

fn wanted_lines<'a>(m: &Merge<'a>) -> Result<Vec<Wanted<'a>>, String> {
    let mut wanted = Vec::new();
    let mut problems = Vec::new();
    for login in m.logins {
        for host in hosts(&login.registry, &login.auth_hosts) {
            match line(&host, login, m.facts.curl) {
                Ok(line) => wanted.push(Wanted { host, login, line }),
                Err(why) => {
                    problems.push(why);
                    break;
                }
            }
        }
    }
    if problems.is_empty() { Ok(wanted) } else { Err(problems.join("; ")) }
}

/// The merged file. Foreign lines keep their bytes; ours stand in the place of the first line of their host, or at the
/// end, but always before any `default` and `macdef`.
fn compose(m: &Merge<'_>, wanted: &[Wanted<'_>], existing: &[u8]) -> Result<Merged, String> {
    let repair = "repair it, or let --replace-invalid replace the file after a backup";
    if existing.contains(&0) {
        return Err(format!("the file holds a NUL byte, which ends what curl reads of a line; {repair}"));
    }
    let layout = Layout::of(existing, m.facts.curl.is_none_or(|v| v >= netrc::QUOTES_SINCE));
    let ours = |host: &[u8]| wanted.iter().any(|w| w.host.as_bytes() == host);
    for entry in layout.entries.iter().filter(|e| ours(&e.host)) {
        let at = entry.first + 1;
        if entry.first != entry.last {
            return Err(format!("the entry on line {at} is for a host of ours and goes on over several lines; write it on one line, or remove it"));
        }
        if !entry.alone {
            return Err(format!("line {at} holds an entry for a host of ours and another one; write each on a line of its own"));
        }
    }
    let removed: BTreeSet<usize> = layout.entries.iter().filter(|e| ours(&e.host)).map(|e| e.first).collect();
    if let Some(i) = layout.unbalanced.iter().find(|i| !removed.contains(i)) {
        return Err(format!("line {} opens a quote and does not close it, so that curl from 7.84 on reads nothing of the file; {repair}", i + 1));
    }

    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    // For each existing line the lines that go before it, and one place more for the end.
    let mut before: Vec<Vec<&[u8]>> = vec![Vec::new(); layout.lines.len() + 1];
    for w in wanted {
        let there: Vec<usize> = layout.entries.iter().filter(|e| e.host == w.host.as_bytes()).map(|e| e.first).collect();
        let place = there.first().map_or(layout.barrier, |first| *first.min(&layout.barrier));
        let keep = matches!(there[..], [only] if only < layout.barrier) && reads(w, existing, m.facts).is_ok();
        before[place].push(if keep { layout.lines[place].trim_ascii_end() } else { w.line.as_bytes() });
        match there.len() {
            0 => merged.diff.push(format!("+ {} ({})", w.host, shown(w.login.username.as_str()))),
            _ if keep => {}
            1 => merged.diff.push(format!("~ {}", w.host)),
            n => merged.diff.push(format!("~ {} ({n} lines become one)", w.host)),
        }
    }
    let bytes = assemble(&layout, &before, &removed, existing.len());
    merged.notes.extend(foreign_notes(&layout, &removed));
    // The readers see the whole file, so a foreign line can still stand in the way of ours.
    for w in wanted {
        let version = if m.facts.curl.is_none() { ", or set `curl: VERSION` on the host, since every curl was assumed" } else { "" };
        reads(w, &bytes, m.facts).map_err(|why| format!("with the other lines of the file, {why}; {repair}{version}"))?;
    }
    if !merged.diff.is_empty() {
        merged.write = Some(bytes);
    }
    Ok(merged)
}

fn assemble(layout: &Layout<'_>, before: &[Vec<&[u8]>], removed: &BTreeSet<usize>, existing: usize) -> Zeroizing<Vec<u8>> {
    let new: usize = before.iter().flatten().map(|l| l.len() + 1).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(existing + new + 1));
    for (i, new) in before.iter().enumerate() {
        for line in new {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        let Some(line) = layout.lines.get(i).filter(|_| !removed.contains(&i)) else { continue };
        bytes.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// What the admin should know of lines that are not ours.
fn foreign_notes(layout: &Layout<'_>, removed: &BTreeSet<usize>) -> Vec<String> {
    let numbers = |test: fn(&[u8]) -> bool| {
        let hits: Vec<String> = (0..layout.lines.len()).filter(|i| !removed.contains(i) && test(layout.lines[*i])).map(|i| (i + 1).to_string()).collect();
        (!hits.is_empty()).then(|| hits.join(", "))
    };
    let evaluated = numbers(is_evaluated).map(|n| format!("line {n} is not ours and is run by enroot as a shell command with every import that logs in"));
    let crlf = numbers(|line| line.ends_with(b"\r\n"))
        .map(|n| format!("line {n} is not ours and ends in CRLF: curl before 7.84 takes the CR for a part of the password"));
    evaluated.into_iter().chain(crlf).collect()
}

/// Reads the whole file by enroot's three readers and demands that each login is found as it was meant.
fn read_back(m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    for w in wanted_lines(m)? {
        reads(&w, bytes, m.facts).map_err(|why| format!("{}: {why}", m.spec.path))?;
    }
    Ok(())
}

/// What the node's curl, or the newest, finds for each host of the file, by enroot's rules.
fn entries(spec: &FileSpec, bytes: &[u8], facts: &NodeFacts) -> Entries {
    let curl = facts.curl.unwrap_or(netrc::NEWEST);
    let layout = Layout::of(bytes, curl >= netrc::QUOTES_SINCE);
    let seen = evaluate(bytes);
    let (mut found, mut hosts): (Vec<Entry>, _) = (Vec::new(), BTreeSet::new());
    for entry in &layout.entries {
        let host = String::from_utf8_lossy(&entry.host).into_owned();
        if !hosts.insert(host.clone()) {
            continue;
        }
        if hosts.len() * bytes.len() > LOOKED_UP_BYTES_MAX {
            return Err(format!("{} holds more entries than regprov looks up in a file of its size; take from it what is not needed", spec.path));
        }
        let login = lookup(&seen, &host, curl).ok().flatten();
        let login = login.map(|f| Account { username: lossy(&f.login).to_string(), password: Secret::new(lossy(&f.password)) });
        let note = is_evaluated(layout.lines[entry.first]).then(|| "enroot runs its password as a shell command".to_string());
        found.push(Entry { key: host, login: login.filter(|_| note.is_none()), note });
    }
    Ok(found)
}

/// The file without the lines of these hosts. An entry that shares its lines with another one is not ours, so it is refused.
fn remove(r: &Removal<'_>) -> Result<Removed, String> {
    let layout = Layout::of(r.existing, r.facts.curl.is_none_or(|v| v >= netrc::QUOTES_SINCE));
    let (mut diff, mut lines) = (Vec::new(), BTreeSet::new());
    for entry in &layout.entries {
        let Some(host) = r.gone.iter().find(|host| host.as_bytes() == entry.host) else { continue };
        if entry.first != entry.last || !entry.alone {
            let at = entry.first + 1;
            return Err(format!("{}: the entry of {host} on line {at} is not as regprov writes it; write it on a line of its own, or remove it", r.spec.path));
        }
        lines.insert(entry.first);
        diff.push(format!("- {}", shown(host)));
    }
    let before = vec![Vec::new(); layout.lines.len() + 1];
    let rest = assemble(&layout, &before, &lines, r.existing.len());
    Ok(Removed { content: (!rest.trim_ascii().is_empty()).then_some(rest), diff })
}
