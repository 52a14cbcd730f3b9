//! The live check of logins: each is shown to its registry as a consumer would show it, and what was granted is read.
//!
//! `challenge`, `realm`, `token` and `finding` are pure: what a registry said, where a login may go, what a token grants, and what that
//! means. `http` is the wire, and `check` the way of one login over it.
//!
//! [`harbor`] makes and deletes robot accounts over the same wire.
//!
//! What a login is sent to: its registry, and a token server that `realm` trusts. Nothing goes in the clear but to this machine itself,
//! and nothing follows a redirect elsewhere. What comes back is capped, and of its text only words from fixed lists are shown.

mod challenge;
mod check;
mod finding;
pub mod harbor;
mod http;
mod realm;
mod token;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use http::{Client, NoClient};

use crate::model::text::shell_word;
use crate::model::verify::{LoginCheck, Verdict};
use crate::model::{Login, Repository};

/// How long one login may take.
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(5);
/// How long all logins of a run may take together.
pub const ALL_DEADLINE: Duration = Duration::from_secs(10);
/// Logins that are under way at a time.
const AT_ONCE_MAX: usize = 32;

/// A login to be checked.
pub struct Subject {
    /// The login.
    pub login: Login,
    /// A repository that it is to pull.
    pub canary: Option<Repository>,
    /// The inventory, for commands to type.
    pub inventory: String,
    /// The file that holds the login, for commands to type.
    pub vault: String,
}

impl Subject {
    /// The command that sets its password anew.
    fn set_line(&self) -> String {
        format!("regprov vault set {} {}", shell_word(&self.vault), shell_word(&self.login.name))
    }
}

/// Deadlines of a check.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For one login.
    pub login: Duration,
    /// For all of them.
    pub all: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines { login: LOGIN_DEADLINE, all: ALL_DEADLINE }
    }
}

/// Shows each login to its registry. One result for each, in their order, whatever happens. `now` is in seconds since 1970.
pub async fn check_all(client: Client, subjects: Vec<Subject>, deadlines: Deadlines, now: i64) -> Vec<LoginCheck> {
    let late = |seconds: Duration| finding::Finding::new(Verdict::Unreachable, format!("not done within {} s", seconds.as_secs())).hint(finding::NO_WAY);
    let mut rows: Vec<LoginCheck> = subjects.iter().map(|s| late(deadlines.all).of(&s.login)).collect();
    let (client, turns) = (Arc::new(client), Arc::new(Semaphore::new(AT_ONCE_MAX)));
    let mut running = JoinSet::new();
    for (index, subject) in subjects.into_iter().enumerate() {
        let (client, turns) = (client.clone(), turns.clone());
        running.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let login = &subject.login;
            tracing::debug!(login = %login.name, registry = %login.registry, "verify");
            let work = check::check(&client, &subject, now);
            let row = tokio::time::timeout(deadlines.login, work).await.unwrap_or_else(|_| late(deadlines.login).of(login));
            tracing::info!(login = %login.name, verdict = row.verdict.name(), "verified");
            (index, row)
        });
    }
    let all = async {
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok((index, row)) => rows[index] = row,
                // A panic told itself; its row says that nothing is known.
                Err(e) => tracing::error!("a check of a login ended badly: {}", if e.is_panic() { "it panicked" } else { "it was cancelled" }),
            }
        }
    };
    let _ = tokio::time::timeout(deadlines.all, all).await;
    running.shutdown().await;
    rows
}
