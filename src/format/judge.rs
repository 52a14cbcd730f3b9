//! How logins stand in a file, as `status` tells it: whether the consumer would send the account and the password of the vault. Pure, and the
//! same for a file of a node and for a Secret of a cluster.

use std::collections::BTreeMap;

use super::Entry;
use crate::model::status::{LoginStatus, Verdict};
use crate::model::text::{escape, sanitize};
use crate::model::{Login, Registry, Secret};

/// Whether this is the password of the login of this name; `None` where nobody can tell.
pub type SamePassword = dyn Fn(&str, &Secret) -> Option<bool> + Send + Sync;

/// Logins as they were before a rotation, by their names.
pub struct Previous {
    /// Their accounts. Their passwords are not looked at and may be any.
    pub logins: BTreeMap<String, Login>,
    /// Compares passwords with those that they had.
    pub same: Box<SamePassword>,
}

impl Default for Previous {
    /// No rotation is under way.
    fn default() -> Self {
        Previous { logins: BTreeMap::new(), same: Box::new(|_, _| None) }
    }
}

/// What files are compared with. Those who read them say how ([`crate::push::status`], [`crate::kubernetes`]).
pub(crate) struct Judge<'a> {
    /// Compares passwords.
    pub(crate) same: &'a SamePassword,
    /// What they were before rotations that are under way.
    pub(crate) previous: &'a Previous,
    /// Now, in seconds since 1970-01-01 UTC.
    pub(crate) now: i64,
}

impl Judge<'_> {
    /// All of them, of a file that tells nothing of each.
    pub(crate) fn all(&self, logins: &[&Login], verdict: Verdict) -> Vec<LoginStatus> {
        logins.iter().map(|login| self.login(login, verdict, None)).collect()
    }

    /// A login with what was found of it.
    pub(crate) fn login(&self, login: &Login, verdict: Verdict, detail: Option<String>) -> LoginStatus {
        let expired = login.expires.as_ref().filter(|e| e.is_past(self.now)).map(|e| e.text.clone());
        LoginStatus { login: login.name.clone(), verdict, detail, expired }
    }

    /// How a login stands among the entries of its file; the worst of its keys counts.
    pub(crate) fn verdict(&self, login: &Login, keys: &[String], entries: &[Entry], is_alias: fn(&str, &Registry) -> bool) -> (Verdict, Option<String>) {
        let found: Vec<&Entry> = entries.iter().filter(|e| keys.contains(&e.key)).collect();
        // Whatever else is there: somebody may still be sent it.
        if entries.iter().any(|e| (keys.contains(&e.key) || is_alias(&e.key, &login.registry)) && self.is_previous(&login.name, e)) {
            return (Verdict::Previous, None);
        }
        if found.is_empty() {
            return (Verdict::Missing, None);
        }
        if let Some(key) = keys.iter().find(|key| found.iter().all(|e| e.key != **key)) {
            return (Verdict::Missing, Some(format!("there is none for {}", escape(key))));
        }
        let mut compared = true;
        for entry in found {
            let different = |why: &str| (Verdict::Different, Some(why.to_string()));
            match (&entry.note, &entry.login) {
                (Some(note), _) => return different(&format!("shadowed by {}", sanitize(note))),
                (None, None) => return different("its entry holds no login"),
                (None, Some(account)) if account.username != login.username.as_str() => return different("another account"),
                (None, Some(account)) => match (self.same)(&login.name, &account.password) {
                    Some(true) => {}
                    Some(false) => return different("another password"),
                    None => compared = false,
                },
            }
        }
        if let Some(alias) = entries.iter().find(|e| is_alias(&e.key, &login.registry)) {
            return (Verdict::Different, Some(format!("it stands there under an old name too: {}", sanitize(&alias.key))));
        }
        if compared { (Verdict::Same, None) } else { (Verdict::SameAccount, None) }
    }

    fn is_previous(&self, login: &str, entry: &Entry) -> bool {
        let previous = self.previous.logins.get(login).zip(entry.login.as_ref());
        previous.is_some_and(|(old, account)| account.username == old.username.as_str() && (self.previous.same)(login, &account.password) == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Account, consumer};
    use crate::model::{Expiry, TargetKind, Username};

    fn hub(auth_hosts: &[&str]) -> Login {
        Login {
            name: "hub".into(),
            registry: Registry::parse("docker.io").unwrap().0,
            username: Username::parse("alice").unwrap(),
            password: Secret::new("-".to_string()),
            auth_hosts: auth_hosts.iter().map(ToString::to_string).collect(),
            expires: Some(Expiry::parse("2027-03-01").unwrap()),
        }
    }

    /// Entries from lines `KEY USERNAME PASSWORD`, `KEY` (no login) or `KEY !NOTE`.
    fn entries(lines: &[&str]) -> Vec<Entry> {
        let entry = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            let note = words.get(1).and_then(|w| w.strip_prefix('!')).map(str::to_string);
            let login = match &words[..] {
                [_, username, password] => Some(Account { username: username.to_string(), password: Secret::new(password.to_string()) }),
                _ => None,
            };
            Entry { key: words[0].to_string(), login, note }
        };
        lines.iter().map(entry).collect()
    }

    #[test]
    fn verdicts() {
        const KEY: &str = "https://index.docker.io/v1/";
        #[track_caller]
        fn check(lines: &[&str], knows: bool, want: (Verdict, Option<&str>)) {
            let same = move |name: &str, password: &Secret| knows.then(|| name == "hub" && password.expose() == "right");
            let judge = Judge { same: &same, previous: &Previous::default(), now: 0 };
            let (verdict, detail) = judge.verdict(&hub(&[]), &[KEY.to_string()], &entries(lines), consumer(TargetKind::Docker).is_alias);
            assert_eq!((verdict, detail.as_deref()), want, "{lines:?}");
        }
        let line = |rest: &str| format!("{KEY} {rest}");
        check(&[], true, (Verdict::Missing, None));
        check(&["nvcr.io alice right"], true, (Verdict::Missing, None));
        check(&[&line("alice right")], true, (Verdict::Same, None));
        check(&[&line("alice right"), "nvcr.io x y"], true, (Verdict::Same, None));
        check(&[&line("alice wrong")], true, (Verdict::Different, Some("another password")));
        check(&[&line("alice wrong")], false, (Verdict::SameAccount, None));
        check(&[&line("bob right")], true, (Verdict::Different, Some("another account")));
        check(&[&line("bob right")], false, (Verdict::Different, Some("another account")));
        check(&[KEY], true, (Verdict::Different, Some("its entry holds no login")));
        check(&[&line("!helper")], true, (Verdict::Different, Some("shadowed by helper")));
        check(&[&line("alice right"), "docker.io alice right"], true, (Verdict::Different, Some("it stands there under an old name too: docker.io")));
        check(&["docker.io alice right"], true, (Verdict::Missing, None));
    }

    #[test]
    fn the_password_before_a_rotation_is_told_wherever_it_stands() {
        const KEY: &str = "https://index.docker.io/v1/";
        let same = |_: &str, password: &Secret| Some(password.expose() == "right");
        let old = Login { username: Username::parse("robot").unwrap(), ..hub(&[]) };
        let previous = Previous { logins: [("hub".to_string(), old)].into(), same: Box::new(|_, password| Some(password.expose() == "old")) };
        let judge = Judge { same: &same, previous: &previous, now: 0 };
        let keys = [KEY.to_string(), "b".to_string()];
        let verdict = |lines: &[&str]| judge.verdict(&hub(&[]), &keys, &entries(lines), consumer(TargetKind::Docker).is_alias).0;
        let line = |rest: &str| format!("{KEY} {rest}");
        assert_eq!(verdict(&[&line("robot old"), "b robot old"]), Verdict::Previous);
        assert_eq!(verdict(&[&line("alice right"), "b robot old"]), Verdict::Previous);
        assert_eq!(verdict(&[&line("robot old")]), Verdict::Previous);
        assert_eq!(verdict(&[&line("alice right"), "b alice right", "docker.io robot old"]), Verdict::Previous);
        assert_eq!(verdict(&[&line("alice right"), "b alice right"]), Verdict::Same);
        assert_eq!(verdict(&[&line("robot right"), "b alice right"]), Verdict::Different);
        assert_eq!(verdict(&[&line("alice old"), "b alice right"]), Verdict::Different);
        assert_eq!(verdict(&["nvcr.io robot old"]), Verdict::Missing);
    }

    #[test]
    fn every_key_of_a_login_counts() {
        let same = |_: &str, password: &Secret| Some(password.expose() == "right");
        let judge = Judge { same: &same, previous: &Previous::default(), now: 0 };
        let keys = ["a".to_string(), "b".to_string()];
        let verdict = |lines: &[&str]| judge.verdict(&hub(&[]), &keys, &entries(lines), |_, _| false);
        assert_eq!(verdict(&["a alice right", "b alice right"]), (Verdict::Same, None));
        assert_eq!(verdict(&["a alice right", "b alice wrong"]).0, Verdict::Different);
        assert_eq!(verdict(&["a alice right"]), (Verdict::Missing, Some("there is none for b".to_string())));
    }

    #[test]
    fn a_login_ends_with_its_last_second() {
        let same = |_: &str, _: &Secret| None;
        let end = hub(&[]).expires.unwrap().unix;
        let expired = |now| Judge { same: &same, previous: &Previous::default(), now }.login(&hub(&[]), Verdict::Same, None).expired;
        assert_eq!((expired(end - 1), expired(end)), (None, Some("2027-03-01".to_string())));
    }
}
