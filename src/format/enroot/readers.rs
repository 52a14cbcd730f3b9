//! The three readers of the file: awk, grep and curl, as enroot calls them.

use zeroize::Zeroizing;

use super::{Wanted, password};
use crate::format::netrc::{self, Layout, lookup};
use crate::format::{Account, NodeFacts, lossy};
use crate::model::{CurlVersion, Secret};

/// Demands that all three readers find this login for this host: by the node's curl, or by every curl when it is not known.
pub(super) fn reads(w: &Wanted<'_>, file: &[u8], facts: &NodeFacts) -> Result<(), String> {
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
pub(super) fn awk_fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t' | b'\n')).filter(|f| !f.is_empty()).collect()
}

/// Whether enroot hands the rest of this line to `sh -c` (`common::evalnetrc`: `NF >= 6 && $6 ~ "^\\$"`).
pub(super) fn is_evaluated(line: &[u8]) -> bool {
    awk_fields(line).get(5).is_some_and(|f| f.starts_with(b"$"))
}

/// What curl is given. What a command would print is not known; `x` stands for it.
pub(super) fn evaluate(file: &[u8]) -> Zeroizing<Vec<u8>> {
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

/// What an import finds for a registry.
pub enum Import {
    /// No line names a user for the registry, so that enroot asks for no login.
    NoUser,
    /// enroot does not find the line of the user that it took from the file itself, and lets curl ask for a password.
    NoLine(String),
    /// curl gives up on the file, and why.
    Unread(&'static str),
    /// A user is named, but curl finds no line for the host that gives out tokens.
    NoRealm(String),
    /// The password is what a shell command prints, which enroot runs.
    Command,
    /// curl sends this.
    Sends(Account),
}

/// What the three readers make of the file: the registry's `host` decides whether there is a user, `realm` is the host that curl is asked to
/// log in to. Without a version it is the newest curl.
pub fn import(file: &[u8], host: &str, realm: &str, curl: Option<CurlVersion>) -> Import {
    let curl = curl.unwrap_or(netrc::NEWEST);
    let Some(user) = infer_user(file, host) else { return Import::NoUser };
    let shown_user = String::from_utf8_lossy(&user).into_owned();
    if !passes_gate(file, host, &user) {
        return Import::NoLine(shown_user);
    }
    let found = match lookup(&evaluate(file), realm, curl) {
        Err(why) => return Import::Unread(why),
        Ok(None) => return Import::NoRealm(shown_user),
        Ok(Some(found)) => found,
    };
    let layout = Layout::of(file, curl >= netrc::QUOTES_SINCE);
    let of_realm = layout.entries.iter().find(|e| e.host.eq_ignore_ascii_case(realm.as_bytes()));
    if of_realm.is_some_and(|e| is_evaluated(layout.lines[e.first])) {
        return Import::Command;
    }
    Import::Sends(Account { username: lossy(&found.login).to_string(), password: Secret::new(lossy(&found.password)) })
}
