//! The traps of registry logins, found before anyone connects: what `apply` would refuse, and what it would write faithfully though
//! nobody meant it. Pure: an inventory as far as it can be read, and the logins that could be opened, to [`Findings`].
//!
//! - `names` looks at usernames, `passwords` at passwords that were opened, `targets` at what each consumer makes of them,
//!   `clusters` at what becomes of them in namespaces.
//! - `manifests` looks at a file of Kubernetes objects instead of an inventory.
//! - Reading the inventory finds the rest; its problems come with the ids of [`crate::error::rule`].
//!
//! Nothing of a password is ever part of a finding, nor is a username: somebody may have put the password there.

mod clusters;
mod manifests;
mod names;
mod passwords;
mod rules;
mod targets;
mod values;

use std::collections::BTreeMap;

use crate::error::{Error, Problem, rule};
use crate::inventory::{Chosen, Survey, used};
use crate::model::finding::{Finding, Findings, Level};
use crate::model::{Host, Login, LoginEntry, Namespace, PasswordText, Within};
use rules::by_id;

pub use manifests::{MANIFEST_RULES, manifest};
pub use rules::RULES;

/// How long before its end `regprov lint` speaks of a login; other commands do so later ([`Within::WARNING`]).
pub const EXPIRES_WITHIN: Within = Within::days(30);

/// What is looked at.
pub struct Subject<'a> {
    /// The inventory, right or wrong.
    pub survey: &'a Survey,
    /// The hosts that the look is narrowed to.
    pub hosts: Vec<&'a Host>,
    /// The namespaces that it is narrowed to.
    pub namespaces: Vec<&'a Namespace>,
    /// The logins that these get; all of them where the look is not narrowed.
    pub logins: Vec<&'a LoginEntry>,
    /// Those of them that were opened, by their names.
    pub opened: BTreeMap<String, Login>,
    /// Those that an identity was at hand for and that did not open, by their names.
    pub shut: BTreeMap<String, Error>,
    /// Now, in seconds since 1970-01-01 UTC.
    pub now: i64,
}

impl<'a> Subject<'a> {
    /// All of an inventory, or what these hosts and namespaces of it get. Nothing is opened yet.
    pub fn new(survey: &'a Survey, chosen: Option<&Chosen>, now: i64) -> Self {
        let inventory = &survey.inventory;
        let subject = |hosts, namespaces, logins| Subject { survey, hosts, namespaces, logins, opened: BTreeMap::new(), shut: BTreeMap::new(), now };
        let Some(chosen) = chosen else {
            return subject(inventory.hosts.iter().collect(), inventory.namespaces.iter().collect(), inventory.logins.iter().collect());
        };
        let hosts: Vec<&Host> = chosen.hosts.iter().map(|i| &inventory.hosts[*i]).collect();
        let namespaces: Vec<&Namespace> = chosen.namespaces.iter().map(|i| &inventory.namespaces[*i]).collect();
        let used = used(hosts.iter().copied(), namespaces.iter().copied());
        let logins = inventory.logins.iter().filter(|l| used.contains(l.name.as_str())).collect();
        subject(hosts, namespaces, logins)
    }

    /// The logins that have a password which can be opened.
    pub fn entries(&self) -> impl Iterator<Item = &'a LoginEntry> + use<'_, 'a> {
        self.logins.iter().copied().filter(|l| has_password(l))
    }
}

/// A login without a password has an empty seal; that has been told. What comes anew for each run is not had for a look.
fn has_password(login: &LoginEntry) -> bool {
    !matches!(&login.password, PasswordText::Sealed(seal) if seal.is_empty()) && login.password.dynamic().is_none()
}

/// Looks at everything by every rule.
pub fn lint(subject: &Subject<'_>) -> Findings {
    let mut look = Look { found: Vec::new(), secret: secret_usernames(subject) };
    look.read(subject);
    for login in &subject.logins {
        names::look(login, &mut look);
        match (subject.opened.get(&login.name), subject.shut.get(&login.name)) {
            (Some(opened), _) => passwords::look(login, opened, &mut look),
            (None, Some(error)) => look.shut(login, error),
            (None, None) => {}
        }
        look.expiry(login, subject.opened.get(&login.name), subject.now);
    }
    targets::look(subject, &mut look);
    clusters::look(subject, &mut look);
    look.found.sort_by(|a, b| (&a.file, a.line, a.column, a.level, a.rule.id, &a.message).cmp(&(&b.file, b.line, b.column, b.level, b.rule.id, &b.message)));
    look.found.dedup();
    let looked_at = |login: &&LoginEntry| subject.opened.contains_key(&login.name) || subject.shut.contains_key(&login.name);
    Findings {
        found: look.found,
        logins: subject.logins.len(),
        hosts: subject.hosts.len(),
        namespaces: subject.namespaces.len(),
        resolved: subject.survey.faults.is_empty() || !subject.survey.inventory.hosts.is_empty(),
        secrets: None,
        sealed: subject.entries().filter(|login| !looked_at(login)).count(),
    }
}

/// Usernames that are passwords by the look of them, or since the password beside them is a username.
fn secret_usernames<'a>(subject: &Subject<'a>) -> Vec<&'a str> {
    let swapped = |l: &&LoginEntry| {
        values::is_token(l.username.as_str()) || subject.opened.get(&l.name).is_some_and(|o| values::is_prescribed_username(o.password.expose()))
    };
    subject.logins.iter().copied().filter(swapped).map(|l| l.username.as_str()).collect()
}

/// What was found so far.
struct Look<'a> {
    found: Vec<Finding>,
    /// Usernames that are not to be shown where reading a file or opening a seal quotes them.
    secret: Vec<&'a str>,
}

impl Look<'_> {
    /// Something at a place such as `vault.yml:12:3`, which weighs what its rule says.
    fn find(&mut self, id: &'static str, place: &str, message: String) {
        self.add(Problem::at(place, id, message), None);
    }

    fn add(&mut self, problem: Problem, level: Option<Level>) {
        let rule = by_id(problem.rule);
        let Problem { file, line, column, message, hint, .. } = problem;
        // The commands that hints name hold usernames.
        let hint = hint.filter(|h| !self.secret.iter().any(|username| h.contains(username)));
        self.found.push(Finding { rule, level: level.unwrap_or(rule.level), file, line, column, message, hint });
    }

    /// What reading found: a fault ends `apply`, a note does not.
    fn read(&mut self, subject: &Subject<'_>) {
        for fault in &subject.survey.faults {
            self.add(fault.clone(), Some(Level::Error));
        }
        // That a login ends soon is said by a rule of its own here, and earlier.
        for note in subject.survey.inventory.notes.iter().filter(|n| n.rule != rule::EXPIRES_SOON) {
            self.add(note.clone(), Some(by_id(note.rule).level.max(Level::Warning)));
        }
    }

    /// An identity was at hand, and still the login did not open.
    fn shut(&mut self, login: &LoginEntry, error: &Error) {
        let message = match error.message.strip_prefix(&format!("{}: ", login.place)).unwrap_or(&error.message) {
            // It may say for which username it was sealed, and for which not.
            _ if self.secret.contains(&login.username.as_str()) => &format!("the password of login `{}` does not open", login.name),
            message => message,
        };
        let problem = Problem { hint: error.hint.clone(), ..Problem::at(&login.place, rule::SEAL, message.to_string()) };
        self.add(problem, None);
    }

    /// The end that `expires:` names and, once it was opened, the one that the password names.
    fn expiry(&mut self, login: &LoginEntry, opened: Option<&Login>, now: i64) {
        let what = format!("login `{}` for {}", login.name, login.registry);
        // An `expires:` that is past was told when it was read.
        if let Some(expires) = login.expires.as_ref().filter(|e| !e.is_past(now) && e.is_due(now, EXPIRES_WITHIN)) {
            self.find(rule::EXPIRES_SOON, &login.place, format!("{what} expires soon ({})", expires.text));
        }
        if let Some(found) = opened.and_then(Login::expiry_in_password) {
            if found.is_past(now) {
                self.find(rule::EXPIRED, &login.place, format!("{what} has expired ({}, as its password says)", found.text));
            } else if found.is_due(now, EXPIRES_WITHIN) {
                self.find(rule::EXPIRES_SOON, &login.place, format!("{what} expires soon ({}, as its password says)", found.text));
            }
        }
    }
}

#[cfg(test)]
mod tests;
