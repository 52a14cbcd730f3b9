//! How far a rotation is: what `regprov rotate status` finds on the hosts.

use super::ping::Unseen;
use super::status::{FileStatus, StatusRow, Verdict};

/// A login under rotation, and its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRow {
    /// The login's name.
    pub login: String,
    /// Its registry.
    pub registry: String,
    /// The account of the new password.
    pub username: String,
    /// The account of the old password.
    pub previous_username: String,
    /// Each host that gets the login, and what it has of it.
    pub hosts: Vec<(String, HostState)>,
}

/// What a host has of a login under rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostState {
    /// The new password, in all its files.
    New,
    /// The old password, in one of its files at least.
    Old,
    /// Something else, or what nobody can tell; why, where that is known.
    Other(Option<String>),
    /// Nothing, in one of its files at least.
    Missing,
    /// It was not seen.
    Unseen(Unseen),
}

impl HostState {
    /// Of a host as `status` saw it. The worst of its files counts: somebody may still send what stands there.
    pub fn of(row: &StatusRow, login: &str) -> HostState {
        let files = match &row.result {
            Ok(files) => files,
            Err(unseen) => return HostState::Unseen(unseen.clone()),
        };
        let logins = || files.iter().flat_map(|f: &FileStatus| &f.logins).filter(|l| l.login == login);
        let find = |verdicts: &[Verdict]| logins().find(|l| verdicts.contains(&l.verdict));
        if find(&[Verdict::Previous]).is_some() {
            HostState::Old
        } else if let Some(other) = find(&[Verdict::Different, Verdict::SameAccount, Verdict::Unseen, Verdict::NotAsked]) {
            // Why a file was not looked into stands with the file.
            let refused = files.iter().find(|f| other.verdict == Verdict::Unseen && f.logins.contains(other)).and_then(|f| f.findings.first());
            HostState::Other(other.detail.clone().or_else(|| refused.map(|f| f.detail.clone())))
        } else if find(&[Verdict::Missing]).is_some() || logins().next().is_none() {
            HostState::Missing
        } else {
            HostState::New
        }
    }

    /// The word in reports.
    pub fn name(&self) -> &'static str {
        match self {
            HostState::New => "new",
            HostState::Old => "old",
            HostState::Other(_) => "other",
            HostState::Missing => "missing",
            HostState::Unseen(unseen) => unseen.outcome(),
        }
    }
}

impl RotationRow {
    /// Whether every host has the new password.
    pub fn is_done(&self) -> bool {
        self.hosts.iter().all(|(_, state)| *state == HostState::New)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stage;
    use super::super::status::{Finding, FindingKind, LoginStatus};
    use super::*;

    #[test]
    fn the_worst_file_of_a_host_counts() {
        #[track_caller]
        fn check(verdicts: &[Verdict], want: &str) {
            let login = |verdict: &Verdict| LoginStatus { login: "ngc".into(), verdict: *verdict, detail: None, expired: None };
            let other = LoginStatus { login: "hub".into(), verdict: Verdict::Previous, detail: None, expired: None };
            let files = verdicts.iter().map(|v| FileStatus { logins: vec![other.clone(), login(v)], ..FileStatus::default() }).collect();
            assert_eq!(HostState::of(&StatusRow { host: "n".into(), result: Ok(files) }, "ngc").name(), want, "{verdicts:?}");
        }
        use Verdict::{Different, Missing, NotAsked, Previous, Same, SameAccount, Unseen};
        check(&[Same, Same], "new");
        check(&[Same, Previous], "old");
        check(&[Missing, Different, Previous], "old");
        check(&[Same, Missing], "missing");
        check(&[Missing, Different], "other");
        for unclear in [SameAccount, Unseen, NotAsked, Different] {
            check(&[Same, unclear], "other");
        }
        check(&[], "missing");
    }

    #[test]
    fn why_is_told_where_it_is_known() {
        let unseen = LoginStatus { login: "ngc".into(), verdict: Verdict::Unseen, detail: None, expired: None };
        let finding = Finding { kind: FindingKind::Refused, detail: "it is a directory".into() };
        let file = FileStatus { findings: vec![finding], logins: vec![unseen], ..FileStatus::default() };
        let row = |result| StatusRow { host: "n".into(), result };
        assert_eq!(HostState::of(&row(Ok(vec![file])), "ngc"), HostState::Other(Some("it is a directory".into())));
        let down = Unseen::Failed(Stage::Connect, "refused".into());
        assert_eq!(HostState::of(&row(Err(down.clone())), "ngc").name(), "unreachable");
        assert_eq!(HostState::of(&row(Err(Unseen::Skipped("down".into()))), "ngc").name(), "skipped");
    }
}
