//! Rules on what becomes of logins in their targets: what the formats refuse, as `apply` asks them, and what enroot's three readers trip
//! over. A login that stayed sealed is looked at with a password that every format takes.

use super::rules::id;
use super::{Look, Subject};
use crate::error::rule;
use crate::format::{self, enroot};
use crate::model::{CurlVersion, Login, LoginEntry, Secret, Target, TargetKind, Username};

/// Looks at each target once, however many hosts have it.
pub(super) fn look(subject: &Subject<'_>, look: &mut Look<'_>) {
    let mut targets: Vec<(&Target, Vec<Option<CurlVersion>>)> = Vec::new();
    for host in &subject.hosts {
        for target in &host.targets {
            match targets.iter_mut().find(|(t, _)| *t == target) {
                Some((_, curls)) if curls.contains(&host.curl) => {}
                Some((_, curls)) => curls.push(host.curl),
                None => targets.push((target, vec![host.curl])),
            }
        }
    }
    for (target, curls) in targets {
        let entries = target.logins.iter().filter_map(|name| subject.survey.inventory.logins.iter().find(|l| l.name == *name));
        let mut logins: Vec<Member<'_>> = entries.map(|entry| Member::new(entry, subject)).collect();
        one_a_registry(subject, target, &mut logins);
        if target.kind == TargetKind::Enroot {
            netrc(subject, target, &curls, &mut logins, look);
        }
        // What has been told is not told again in the format's words.
        let logins: Vec<&Login> = logins.iter().map(|m| &m.login).collect();
        if !logins.is_empty() {
            let place = subject.survey.inventory.place_of(target);
            for problem in format::problems(target, &logins) {
                look.find(id::TARGET, &place, problem);
            }
        }
    }
}

/// A login of a target.
struct Member<'a> {
    entry: &'a LoginEntry,
    /// As it would be written, or with [`Member::harmless`] in place of what stayed sealed.
    login: Login,
}

impl<'a> Member<'a> {
    fn new(entry: &'a LoginEntry, subject: &Subject<'_>) -> Self {
        let opened = subject.opened.get(&entry.name);
        let login = Login {
            name: entry.name.clone(),
            registry: entry.registry.clone(),
            username: entry.username.clone(),
            password: opened.map_or_else(Self::harmless, |l| l.password.clone()),
            auth_hosts: opened.map(|l| l.auth_hosts.clone()).unwrap_or_default(),
            expires: None,
        };
        Member { entry, login }
    }

    /// What every format takes.
    fn harmless() -> Secret {
        Secret::new("x".to_string())
    }
}

/// Leaves out the second login of a registry, and of a consumer that knows one, where reading the inventory has told of it.
fn one_a_registry(subject: &Subject<'_>, target: &Target, logins: &mut Vec<Member<'_>>) {
    let told = |rule| subject.survey.faults.iter().any(|f| f.rule == rule);
    let (two, one_login) = (told(rule::TWO_LOGINS), told(rule::ENV_TWO_LOGINS) && format::consumer(target.kind).one_login);
    let mut seen: Vec<String> = Vec::new();
    logins.retain(|member| {
        let registry = member.entry.registry.authority();
        let told = (two && seen.iter().any(|s| s == registry)) || (one_login && !seen.is_empty());
        seen.push(registry.to_string());
        !told
    });
}

/// The rules of netrc. A login or a value that was told of is taken out.
fn netrc(subject: &Subject<'_>, target: &Target, curls: &[Option<CurlVersion>], logins: &mut Vec<Member<'_>>, look: &mut Look<'_>) {
    two_ports(subject, target, logins, look);
    let all_read_quotes = curls.iter().all(|curl| curl.is_some_and(enroot::reads_quotes));
    for Member { entry, login } in logins {
        let what = format!("login `{}` for {}", entry.name, entry.registry);
        let mut find = |id, message: String| look.find(id, &entry.place, format!("{what}: {message}"));
        if enroot::is_keyword(login.username.as_str()) {
            find(id::NETRC_KEYWORD, "its username is a keyword of netrc, which enroot's file is".to_string());
            login.username = Username::parse("x").expect("a letter is a username");
        } else if !all_read_quotes && !enroot::is_portable(login.username.as_str()) {
            find(id::NETRC_QUOTES, quotes("username"));
        }
        if enroot::is_keyword(login.password.expose()) {
            find(id::NETRC_KEYWORD, "its password is a keyword of netrc, which enroot's file is".to_string());
            login.password = Member::harmless();
        } else if !all_read_quotes && !enroot::is_portable(&enroot::password(login)) {
            find(id::NETRC_QUOTES, quotes("password"));
        }
    }
}

fn quotes(what: &str) -> String {
    format!("its {what} needs curl 7.84 on the nodes, as it must be quoted in enroot's file; set `curl:` where it is known")
}

fn two_ports(subject: &Subject<'_>, target: &Target, logins: &mut Vec<Member<'_>>, look: &mut Look<'_>) {
    let mut taken: Vec<(String, &LoginEntry)> = Vec::new();
    logins.retain(|Member { entry, login }| {
        for host in enroot::hosts(&login.registry, &login.auth_hosts) {
            if let Some((_, other)) = taken.iter().find(|(h, _)| *h == host) {
                let message = format!(
                    "logins `{}` ({}) and `{}` ({}) both need the netrc line of {host} in enroot {}, and such a line knows no port",
                    other.name,
                    other.registry,
                    entry.name,
                    entry.registry,
                    target.shown_path()
                );
                look.find(id::NETRC_PORTS, &subject.survey.inventory.place_of(target), message);
                return false;
            }
        }
        taken.extend(enroot::hosts(&login.registry, &login.auth_hosts).into_iter().map(|host| (host, *entry)));
        true
    });
}
