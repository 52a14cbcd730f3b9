//! What people have today, made into logins: files of other programs, bytes in, [`Found`] out. One file a kind.
//!
//! A reader takes what it can and names what it leaves, with the reason. Nothing is dropped in silence, and no message here holds a
//! password. What becomes of the logins in a vault is [`plan`]ned here too; the commands read, ask, seal and write.

mod advice;
pub mod ansible_vault;
pub mod auths;
pub mod deepops;
pub mod enroot;
pub mod env;
pub mod kubernetes;
mod names;
pub mod plan;

pub use plan::{Naming, Plan, Planned, There};

use crate::model::login::check_password;
use crate::model::registry::NameNote;
use crate::model::text::escape;
use crate::model::{Expiry, Login, Registry, Secret, Username};

/// What a source holds.
#[derive(Default)]
pub struct Found {
    /// Logins that can be sealed, in the order of the source.
    pub logins: Vec<FoundLogin>,
    /// What cannot, and why.
    pub left: Vec<Left>,
    /// What the admin should know of the source, a line each.
    pub notes: Vec<String>,
}

/// One login of a source.
pub struct FoundLogin {
    /// The name that the source gives it; without one it is named after its registry.
    pub name: Option<String>,
    /// The registry it is for.
    pub registry: Registry,
    /// The account.
    pub username: Username,
    /// The password or token.
    pub password: Secret,
    /// Further hosts that are handed it (the token realm).
    pub auth_hosts: Vec<String>,
    /// When it ends, by the source or by the password itself.
    pub expires: Option<Expiry>,
    /// Where in the source it stands.
    pub from: String,
}

/// Something in a source that no login is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where it stands.
    pub what: String,
    /// Why it is left, and what to do.
    pub why: String,
}

impl Left {
    /// One thing that is left.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Left { what: what.into(), why: why.into() }
    }
}

impl Found {
    /// Takes a login as a source writes it, when registry, username and password keep the rules that hold for every consumer; else it is
    /// left, with the rule that it breaks.
    pub fn take(&mut self, registry: &str, username: &str, password: Secret, from: &str) {
        match Registry::parse(registry) {
            Ok((registry, note)) => {
                if note == NameNote::HubWebsite {
                    self.notes.push(format!("{from}: hub.docker.com is a web site; the registry is {registry}"));
                }
                self.take_of(registry, username, password, from);
            }
            Err(why) => self.left.push(Left::new(from, escape(&why))),
        }
    }

    /// As [`Found::take`], for a registry that is known already.
    pub fn take_of(&mut self, registry: Registry, username: &str, password: Secret, from: &str) {
        let checked = Username::parse(username).and_then(|username| check_password(password.expose()).map(|()| username));
        match checked {
            Ok(username) => {
                let login = Login { name: String::new(), registry, username, password, auth_hosts: Vec::new(), expires: None };
                let expires = login.expiry_in_password();
                let Login { registry, username, password, auth_hosts, .. } = login;
                self.logins.push(FoundLogin { name: None, registry, username, password, auth_hosts, expires, from: from.to_string() });
            }
            Err(why) => self.left.push(Left::new(from, format!("its {why}"))),
        }
    }

    /// Makes one of the logins that are equal, and leaves those of one account whose passwords differ, since only the registry knows which
    /// is right.
    pub fn settle(&mut self) {
        let mut groups: Vec<Vec<FoundLogin>> = Vec::new();
        for login in self.logins.drain(..) {
            match groups.iter_mut().find(|g| g[0].registry == login.registry && g[0].username == login.username) {
                Some(group) => group.push(login),
                None => groups.push(vec![login]),
            }
        }
        for mut group in groups {
            let differs = group.iter().any(|l| l.password.expose() != group[0].password.expose());
            if differs {
                let places: Vec<&str> = group.iter().map(|l| l.from.as_str()).collect();
                let (account, registry) = (escape(group[0].username.as_str()), &group[0].registry);
                let why = format!("these hold different passwords of {account} at {registry}; see which is right, and take it with `regprov vault set`");
                self.left.push(Left::new(places.join(", "), why));
                continue;
            }
            let rest = group.split_off(1);
            let mut login = group.remove(0);
            for other in rest {
                login.name = login.name.or(other.name);
                if !login.from.split(", ").any(|from| from == other.from) {
                    login.from = format!("{}, {}", login.from, other.from);
                }
                for host in other.auth_hosts {
                    if !login.auth_hosts.contains(&host) {
                        login.auth_hosts.push(host);
                    }
                }
                login.expires = login.expires.or(other.expires);
            }
            self.logins.push(login);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What was found, as text that a test can compare.

    use super::Found;

    /// `registry username password from`, a line a login; then `left WHAT: WHY`; then `note ...`.
    pub(crate) fn told(found: &Found) -> String {
        let mut out = String::new();
        for l in &found.logins {
            out.push_str(&format!("{} {} {} {}", l.registry, l.username, l.password.expose(), l.from));
            if !l.auth_hosts.is_empty() {
                out.push_str(&format!(" (auth {})", l.auth_hosts.join(" ")));
            }
            out.push('\n');
        }
        found.left.iter().for_each(|l| out.push_str(&format!("left {}: {}\n", l.what, l.why)));
        found.notes.iter().for_each(|n| out.push_str(&format!("note {n}\n")));
        out
    }

    /// Demands what was found, line for line; a wanted line that ends with `...` is a beginning.
    #[track_caller]
    pub(crate) fn check(found: &Found, want: &[&str]) {
        let told = told(found);
        let lines: Vec<&str> = told.lines().collect();
        let fits = |got: &str, want: &str| want.strip_suffix("...").map_or(got == want, |start| got.starts_with(start));
        assert!(lines.len() == want.len() && lines.iter().zip(want).all(|(g, w)| fits(g, w)), "--- got\n{told}--- wanted\n{}\n", want.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::testing::check;
    use super::*;

    fn found(logins: &[(&str, &str, &str, &str)]) -> Found {
        let mut found = Found::default();
        for (registry, username, password, from) in logins {
            found.take(registry, username, Secret::new(password.to_string()), from);
        }
        found
    }

    #[test]
    fn what_breaks_a_rule_is_left_with_the_rule() {
        check(&found(&[("https://NVCR.io/", "$oauthtoken", "p", "a")]), &["nvcr.io $oauthtoken p a"]);
        check(&found(&[("hub.docker.com", "u", "p", "a")]), &["docker.io u p a", "note a: hub.docker.com is a web site; the registry is docker.io"]);
        check(&found(&[("h:x", "u", "p", "a")]), &["left a: registry `h:x` has a port..."]);
        check(&found(&[("h", "", "p", "a")]), &["left a: its username is empty"]);
        check(&found(&[("h", "u:v", "p", "a")]), &["left a: its username contains `:`, where every consumer splits user and password"]);
        check(&found(&[("h", "u", "", "a")]), &["left a: its password is empty"]);
        check(&found(&[("h", "u", "p\0q", "a")]), &["left a: its password contains a NUL byte"]);
    }

    #[test]
    fn equal_logins_become_one_and_differing_ones_are_left() {
        let mut same = found(&[("docker.io", "u", "p", "a"), ("nvcr.io", "u", "p", "b"), ("index.docker.io", "u", "p", "c")]);
        same.settle();
        check(&same, &["docker.io u p a, c", "nvcr.io u p b"]);
        let mut other = found(&[("h", "u", "p", "a"), ("h", "v", "p", "b"), ("h", "u", "q", "c")]);
        other.settle();
        check(&other, &["h v p b", "left a, c: these hold different passwords of u at h..."]);
    }
}
