//! enroot's `.credentials`: netrc lines that three programs read by three sets of rules (enroot `src/docker.sh` and
//! `src/common.sh`): awk takes the username from the first line of a registry, grep asks whether registry and username
//! are there, and curl looks up the host of the token realm.
//!
//! A line is written so that all three find the same login on the curl at hand, and so that enroot never runs a password
//! as a shell command, which it does when the sixth field of a line starts with `$`. A username with `\`, `*`, `[` or
//! white space is hidden behind a decoy (`login x account x login REAL`), since grep takes it for a pattern; the explicit
//! form `docker://USER@...` does not work for such a name.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::netrc::{self, Layout, lookup};
use super::{Account, Consumer, Entries, Entry, FileSpec, Merge, Merged, NodeFacts, Removal, Removed, Wants, dir_mode, json, lossy, shown};
use crate::model::{CurlVersion, Login, Registry, RemotePath, Secret, Target, TargetKind};

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

/// The name under which enroot looks in `ENROOT_CONFIG_PATH` (enroot `src/docker.sh`).
const FILE_NAME: &str = ".credentials";

/// enroot's own configuration, the later beats the earlier (enroot `enroot.in`).
pub(crate) const CONF: [&str; 2] = ["/etc/enroot/enroot.conf", "/etc/enroot/enroot.conf.d/*.conf"];

/// A line must fit curl's buffer of 4096 bytes (7.61 to 8.10) with room to spare; before 7.61 it has 256.
const LINE_BYTES_MAX: usize = 4000;
const LINE_BYTES_MAX_BEFORE_7_61: usize = 254;

/// What is read of a file to look all its hosts up, each from the start as curl does: 80 hosts in 200 kB, 4,000 in 4 kB.
const LOOKED_UP_BYTES_MAX: usize = 16 << 20;

/// What curl 8.11.0 takes as a token at most.
const SHORT_TOKEN_BYTES_MAX: usize = 127;

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

// ---- the encoder -------------------------------------------------------------------------------------------------------

/// The hosts that get a line for this login: those of the registry, and the token realms that the admin confirmed.
pub(crate) fn hosts(registry: &Registry, auth_hosts: &[String]) -> Vec<String> {
    let mut hosts: Vec<String> = registry.netrc_hosts().into_iter().map(str::to_string).collect();
    for host in auth_hosts {
        let host = host.to_ascii_lowercase();
        let host = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host.as_str(), |(h, _)| h).to_string();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn check_host(host: &str) -> Result<(), String> {
    if host.contains([':', '[', ']']) {
        return Err("enroot takes a registry for a pattern, so an IPv6 address cannot be looked up; use a host name".into());
    }
    if is_keyword(host) {
        return Err(format!("the host `{host}` is a netrc keyword; use its full name"));
    }
    if host.is_empty() || !host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b)) {
        return Err(format!("auth host `{}` is no host name; write the host alone", shown(host)));
    }
    Ok(())
}

/// The password as it is written: a service account's JSON on one line without white space, else the password itself.
pub(crate) fn password(login: &Login) -> Zeroizing<String> {
    let text = login.password.expose();
    let compact = (login.username.as_str() == "_json_key").then(|| json::compact(text)).flatten();
    compact.unwrap_or_else(|| Zeroizing::new(text.to_string()))
}

/// Whether it is one of the words at which curl's reader of netrc stops or starts an entry, whatever stands before it.
pub(crate) fn is_keyword(text: &str) -> bool {
    ["machine", "default", "macdef"].iter().any(|k| text.eq_ignore_ascii_case(k))
}

/// Whether this curl reads quoted values.
pub(crate) fn reads_quotes(curl: CurlVersion) -> bool {
    curl >= netrc::QUOTES_SINCE
}

/// Whether every curl reads the text as it stands.
pub(crate) fn is_portable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (0x21..0x7f).contains(&b)) && !text.starts_with(['"', '#'])
}

/// The line for a host. The error names the login, the rule and the way out.
fn line(host: &str, login: &Login, curl: Option<CurlVersion>) -> Result<Zeroizing<String>, String> {
    let secret = password(login);
    let refuse = |what: &str, why: Refusal| {
        let (why, way_out) = why.tell(what, curl);
        format!("{what} of login \"{}\" ({}) cannot be written for enroot: {why}; {way_out}", login.name, login.registry)
    };
    let user = token(login.username.as_str(), curl).map_err(|why| refuse("username", why))?;
    let pass = token(&secret, curl).map_err(|why| refuse("password", why))?;
    let line = if user.contains(['\\', '*', '[', ' ', '\t', '\u{b}', '\u{c}']) {
        format!("machine {host} login x account x login {} password {}", *user, *pass)
    } else if pass.starts_with('$') {
        format!("machine {host} login {} account x password {}", *user, *pass)
    } else {
        format!("machine {host} login {} password {}", *user, *pass)
    };
    let line = Zeroizing::new(line);
    let max = if curl.is_some_and(|v| v < CurlVersion(7, 61, 0)) { LINE_BYTES_MAX_BEFORE_7_61 } else { LINE_BYTES_MAX };
    if line.len() > max {
        return Err(refuse("password", Refusal::LineTooLong(max)));
    }
    Ok(line)
}

/// Why a value has no form that curl reads as this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Empty,
    Nul,
    Keyword,
    /// White space before curl 7.84.
    NoQuotes,
    /// Beyond the portable class, and the version is not known.
    CurlUnknown,
    /// More than curl 8.11.0 takes.
    TokenTooLong,
    LineTooLong(usize),
}

impl Refusal {
    fn tell(self, what: &str, curl: Option<CurlVersion>) -> (String, String) {
        let version = curl.map_or_else(|| "an unknown version".to_string(), |v| v.to_string());
        let other = format!("choose another {what}");
        match self {
            Refusal::Empty => ("it is empty".into(), other),
            Refusal::Nul => ("it contains a NUL byte".into(), other),
            Refusal::Keyword => ("it is a netrc keyword, with which curl up to 8.20 misreads the lines of other hosts".into(), other),
            Refusal::NoQuotes => (
                format!("it needs curl >= 7.84 on the node, and curl {version} there reads no quoted values"),
                format!("choose a {what} without spaces, tabs and line breaks, or update curl to 7.84"),
            ),
            Refusal::CurlUnknown => (
                "how it is written depends on curl's version (quoted values need curl >= 7.84 on the node, long ones another than 8.11.0); curl was not found there".into(),
                format!("choose a {what} of at most {SHORT_TOKEN_BYTES_MAX} printable ASCII characters that starts with neither \" nor #, or set `curl: VERSION` on the host"),
            ),
            Refusal::TokenTooLong => (
                format!("curl {version} there takes at most {SHORT_TOKEN_BYTES_MAX} bytes"),
                format!("choose a shorter {what}, or update curl to 8.11.1"),
            ),
            Refusal::LineTooLong(max) => (format!("the line would be longer than the {max} bytes that curl takes"), format!("choose a shorter {what}")),
        }
    }
}

/// The text as one netrc token for this curl.
fn token(text: &str, curl: Option<CurlVersion>) -> Result<Zeroizing<String>, Refusal> {
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    if text.contains('\0') {
        return Err(Refusal::Nul);
    }
    if is_keyword(text) {
        return Err(Refusal::Keyword);
    }
    let long = text.len() > SHORT_TOKEN_BYTES_MAX;
    let raw = || Ok(Zeroizing::new(text.to_string()));
    match curl {
        None if long || !is_portable(text) => Err(Refusal::CurlUnknown),
        Some(netrc::SHORT_TOKENS) if long => Err(Refusal::TokenTooLong),
        _ if is_portable(text) => raw(),
        Some(version) if version >= netrc::QUOTES_SINCE => Ok(quote(text)),
        _ if text.contains([' ', '\t', '\n']) => Err(Refusal::NoQuotes),
        _ => raw(),
    }
}

/// Quotes and escapes as curl from 7.84 on reads them.
fn quote(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(2 * text.len() + 2));
    out.push('"');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

// ---- the three readers ---------------------------------------------------------------------------------------------------

/// Demands that all three readers find this login for this host: by the node's curl, or by every curl when it is not known.
fn reads(w: &Wanted<'_>, file: &[u8], facts: &NodeFacts) -> Result<(), String> {
    let Wanted { host, login, .. } = w;
    let missing = |why: String| Err(format!("login \"{}\" is not found for {host}: {why}", login.name));
    let Some(user) = infer_user(file, host) else { return missing("enroot finds no line that names its user".into()) };
    if !passes_gate(file, host, &user) {
        return missing("enroot's grep does not find the line of its user".into());
    }
    let seen = evaluate(file);
    let one;
    let versions = match facts.curl {
        Some(curl) => {
            one = [curl];
            &one[..]
        }
        None => &netrc::REPRESENTATIVES[..],
    };
    let password = password(login);
    for curl in versions {
        match lookup(&seen, host, *curl) {
            Ok(Some(f)) if *f.login == login.username.as_str().as_bytes() && *f.password == password.as_bytes() => {}
            Ok(Some(_)) => return missing(format!("curl {curl} takes another login")),
            Ok(None) => return missing(format!("curl {curl} finds no line for it")),
            Err(why) => return missing(format!("curl {curl} gives up on the file: {why}")),
        }
    }
    Ok(())
}

/// awk's white space and fields: blanks only, within a line.
fn awk_fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t' | b'\n')).filter(|f| !f.is_empty()).collect()
}

/// Whether enroot hands the rest of this line to `sh -c` (`common::evalnetrc`: `NF >= 6 && $6 ~ "^\\$"`).
fn is_evaluated(line: &[u8]) -> bool {
    awk_fields(line).get(5).is_some_and(|f| f.starts_with(b"$"))
}

/// What curl is given. What a command would print is not known; `x` stands for it.
fn evaluate(file: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(file.len() + 1));
    for line in file.split_inclusive(|b| *b == b'\n') {
        if is_evaluated(line) {
            out.extend_from_slice(&awk_fields(line)[..5].join(&b' '));
            out.extend_from_slice(b" x\n");
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

/// The first reader, awk: `/^[[:space:]]*machine[[:space:]]+HOST[[:space:]]+login[[:space:]]+.+/ {print $4; exit}`.
fn infer_user(file: &[u8], host: &str) -> Option<Vec<u8>> {
    file.split(|b| *b == b'\n')
        .find_map(|line| {
            let rest = after_login(line.trim_ascii_start(), host)?;
            let spaces = rest.iter().take_while(|b| is_space(**b)).count();
            let rest_len = rest.len();
            // `[[:space:]]+.+` needs two characters, the first of them white space.
            (spaces >= 1 && rest_len >= 2).then(|| awk_fields(line).get(3).map(|f| f.to_vec()).unwrap_or_default())
        })
        .filter(|user| !user.is_empty())
}

/// The second reader, grep: `^machine[[:space:]]\+HOST[[:space:]]\+login[[:space:]]\+USER[[:space:]]`, a basic regular
/// expression (enroot 4; 3 demands less). A user with `\`, `*` or `[` is taken as never found.
fn passes_gate(file: &[u8], host: &str, user: &[u8]) -> bool {
    let is_pattern = user.iter().any(|b| matches!(b, b'\\' | b'*' | b'['));
    !is_pattern
        && file.split(|b| *b == b'\n').any(|line| {
            let Some(rest) = after_login(line, host) else { return false };
            let name = rest.trim_ascii_start();
            name.len() < rest.len() && starts_like(name, user) && name.get(user.len()).is_some_and(|b| is_space(*b))
        })
}

/// What follows `machine HOST login` on a line; a dot in the host stands for any character.
fn after_login<'l>(line: &'l [u8], host: &str) -> Option<&'l [u8]> {
    let rest = spaced(line.strip_prefix(b"machine")?)?;
    let rest = starts_like(rest, host.as_bytes()).then(|| &rest[host.len()..])?;
    spaced(rest)?.strip_prefix(b"login")
}

fn spaced(text: &[u8]) -> Option<&[u8]> {
    let spaces = text.iter().take_while(|b| is_space(**b)).count();
    (spaces > 0).then(|| &text[spaces..])
}

fn starts_like(text: &[u8], pattern: &[u8]) -> bool {
    text.len() >= pattern.len() && pattern.iter().zip(text).all(|(p, t)| *p == b'.' || p == t)
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t'..=b'\r')
}

// ---- where enroot looks ----------------------------------------------------------------------------------------------------

/// Whether only root can read the target's file, so that the jobs of users, as whom enroot reads it, get nothing of it.
pub fn read_by_root_only(target: &Target) -> bool {
    let root_owns = target.owner.as_deref().is_none_or(|o| o == "root" || o == "0");
    root_owns && (target.mode.bits() & 0o040 == 0 || target.path.as_str().starts_with("/root/"))
}

/// Notes on who finds the file: enroot reads `$ENROOT_CONFIG_PATH/.credentials` as the job's user, by default
/// `~/.config/enroot/.credentials`; enroot.conf and enroot.conf.d may say otherwise, the last one wins.
fn where_read(target: &Target, facts: &NodeFacts) -> Vec<String> {
    let dir = target.path.parent();
    let home_dir = dir.as_str().ends_with("/.config/enroot");
    let set = facts.conf.iter().filter_map(|(_, content)| config_path(content)).next_back();
    let read = match set.as_deref() {
        None => home_dir,
        Some(value) => match Place::of(value) {
            Place::Dir(path) => path == dir.as_str(),
            Place::BelowHome(rest) => dir.as_str().ends_with(&rest),
            Place::Unknown => {
                return vec![format!("enroot.conf sets ENROOT_CONFIG_PATH to what regprov cannot tell; it must mean {dir} for this file to be read")];
            }
        },
    };
    if !read || target.path.file_name() != FILE_NAME {
        return vec![format!("written, not read by enroot: set ENROOT_CONFIG_PATH {dir} in /etc/enroot/enroot.conf, and name the file {FILE_NAME}")];
    }
    if target.user.is_none() && read_by_root_only(target) {
        return vec![
            "root only: enroot reads it as the job's user, who cannot; for jobs set `path: /etc/enroot/.credentials`, `group:` and `mode: \"0640\"`"
                .to_string(),
        ];
    }
    Vec::new()
}

/// The file that enroot reads when the target's user, else root, runs it, by the node's [`CONF`]: for `path: auto`. It may lie in the
/// home of that user ([`Target::HOME`]).
pub(crate) fn place(conf: &[(String, Zeroizing<Vec<u8>>)], target: &Target) -> Result<RemotePath, String> {
    let unknown = || {
        "enroot.conf sets ENROOT_CONFIG_PATH to what regprov cannot tell, such as a variable or a command; name the file with `path:` instead of `auto`"
            .to_string()
    };
    let home = if target.user.is_some() { Target::HOME } else { "/root" };
    let dir = match conf.iter().filter_map(|(_, content)| config_path(content)).next_back().as_deref().map(Place::of) {
        None => format!("{home}/.config/enroot"),
        Some(Place::Dir(dir)) => dir,
        Some(Place::BelowHome(rest)) => format!("{home}{rest}"),
        Some(Place::Unknown) => return Err(unknown()),
    };
    let dir = RemotePath::parse(&dir).map_err(|_| unknown())?;
    Ok(dir.join(FILE_NAME))
}

/// The last value of `ENROOT_CONFIG_PATH` in one file: a name, white space, a value.
fn config_path(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let mut values = text.lines().filter_map(|l| l.trim().strip_prefix("ENROOT_CONFIG_PATH")?.strip_prefix([' ', '\t']).map(|v| v.trim().to_string()));
    values.rfind(|v| !v.is_empty())
}

/// What a value of `ENROOT_CONFIG_PATH` means.
enum Place {
    /// The same for everybody.
    Dir(String),
    /// In the home of whoever runs enroot.
    BelowHome(String),
    /// A variable or command that we do not evaluate.
    Unknown,
}

impl Place {
    fn of(value: &str) -> Place {
        let value = value.trim_matches(['"', '\'']).trim_end_matches('/');
        let below = |names: &[&str], dir: &str| names.iter().find_map(|n| value.strip_prefix(n)).map(|rest| format!("{dir}{rest}"));
        let found = below(&["${XDG_CONFIG_HOME}", "$XDG_CONFIG_HOME"], "/.config").or_else(|| below(&["${HOME}", "$HOME", "~"], ""));
        match found {
            Some(rest) if rest.starts_with('/') && !rest.contains('$') => Place::BelowHome(rest),
            None if value.starts_with('/') && !value.contains(['$', '`', '~']) => Place::Dir(value.to_string()),
            _ => Place::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_where_the_last_configuration_says() {
        #[track_caller]
        fn check(conf: &[&str], user: Option<&str>, want: Option<&str>) {
            let conf: Vec<_> = conf.iter().map(|text| ("/etc/enroot/enroot.conf".to_string(), text.as_bytes().to_vec().into())).collect();
            let target = Target { user: user.map(Into::into), ..Target::at(TargetKind::Enroot, RemotePath::parse(Target::AUTO).unwrap()) };
            assert_eq!(place(&conf, &target).ok().as_ref().map(RemotePath::as_str), want, "{conf:?}");
        }
        check(&[], None, Some("/root/.config/enroot/.credentials"));
        check(&[], Some("alice"), Some("/~/.config/enroot/.credentials"));
        check(&["#ENROOT_CONFIG_PATH /x\nENROOT_TEMP_PATH /tmp\n"], None, Some("/root/.config/enroot/.credentials"));
        check(&["ENROOT_CONFIG_PATH /etc/enroot/\n"], Some("alice"), Some("/etc/enroot/.credentials"));
        check(&["ENROOT_CONFIG_PATH /a\n", "ENROOT_CONFIG_PATH  \"${HOME}/e\"\n"], Some("alice"), Some("/~/e/.credentials"));
        check(&["ENROOT_CONFIG_PATH ${XDG_CONFIG_HOME}/e\n"], None, Some("/root/.config/e/.credentials"));
        for unknown in ["/run/enroot/$(id -u)", "${ENROOT_DATA_PATH}/x", "relative", "/a b", "/a/../b", "~alice/x", "${HOME}/~"] {
            let want = (unknown == "${HOME}/~").then_some("/root/~/.credentials");
            check(&[&format!("ENROOT_CONFIG_PATH {unknown}\n")], None, want);
        }
    }
}
