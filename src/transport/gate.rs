//! One password that many hosts ask for (of sudo, or of SSH itself). A wrong one costs one failed attempt, not one for each
//! host, since five hundred locked accounts are worse than one failure: it is tried on one host, goes to one host more with each
//! success, and to nobody any more once it was refused.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::model::Secret;

/// A password and who may try it now.
pub struct Gate {
    /// What it is, for people: `the sudo password`.
    what: &'static str,
    secret: Secret,
    turns: Semaphore,
    /// Whether a host has accepted it.
    proven: AtomicBool,
    /// The host that refused it.
    refused_on: Mutex<Option<String>>,
}

/// The right to try the password on one host. Dropped without a verdict (the connection broke), it goes to the next host; but
/// a password that was sent, and that no host has accepted so far, may have cost a failed attempt, and then counts as refused.
pub struct Turn<'a> {
    gate: &'a Gate,
    _permit: SemaphorePermit<'a>,
    /// The host that was sent it and has not answered.
    sent_to: Option<String>,
}

impl Gate {
    /// A password that nobody has tried yet. `what` names it: `the sudo password`.
    pub fn new(what: &'static str, secret: Secret) -> Self {
        Gate { what, secret, turns: Semaphore::new(1), proven: AtomicBool::new(false), refused_on: Mutex::default() }
    }

    /// Waits until this host may try it.
    ///
    /// # Errors
    /// Says which host refused it.
    pub async fn turn(&self) -> Result<Turn<'_>, String> {
        let refused = || self.refused().unwrap_or_default();
        let permit = self.turns.acquire().await.map_err(|_| refused())?;
        Ok(Turn { gate: self, _permit: permit, sent_to: None })
    }

    /// Why nobody may try it any more, once a host refused it.
    pub fn refused(&self) -> Option<String> {
        self.refused_on().as_ref().map(|host| format!("{} was refused on {host}; it was tried once and is not tried on other hosts", self.what))
    }

    fn close(&self, host: &str) {
        self.refused_on().get_or_insert_with(|| host.to_string());
        self.turns.close();
    }

    fn refused_on(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.refused_on.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The password.
    pub fn secret(&self) -> &Secret {
        &self.gate.secret
    }

    /// It leaves now for this host: from here on, no verdict is a bad one unless another host has accepted it.
    pub fn sent(&mut self, host: &str) {
        self.sent_to = Some(host.to_string());
    }

    /// It was right: this turn goes on to another host, and one host more may try.
    pub fn accepted(mut self) {
        self.sent_to = None;
        self.gate.proven.store(true, Ordering::Relaxed);
        self.gate.turns.add_permits(1);
    }

    /// There was no verdict on it, and it was certainly no failed attempt: another host may try.
    pub fn released(mut self) {
        self.sent_to = None;
    }

    /// It was wrong: nobody tries it any more.
    pub fn refused(mut self, host: &str) {
        self.sent_to = None;
        self.gate.close(host);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(host) = self.sent_to.take().filter(|_| !self.gate.proven.load(Ordering::Relaxed)) {
            self.gate.close(&host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn gate() -> Gate {
        Gate::new("the sudo password", Secret::new("x".to_string()))
    }

    #[tokio::test]
    async fn a_wrong_password_is_tried_once() {
        let (gate, tried) = (Arc::new(gate()), Arc::new(AtomicUsize::new(0)));
        let hosts: Vec<_> = (0..50)
            .map(|i| {
                let (gate, tried) = (gate.clone(), tried.clone());
                tokio::spawn(async move {
                    let Ok(turn) = gate.turn().await else { return };
                    tried.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    turn.refused(&format!("n{i}"));
                })
            })
            .collect();
        for host in hosts {
            host.await.unwrap();
        }
        assert_eq!(tried.load(Ordering::Relaxed), 1);
        assert!(gate.refused().unwrap().contains("refused on n"));
    }

    #[tokio::test]
    async fn each_success_lets_one_more_in() {
        let gate = gate();
        let first = gate.turn().await.unwrap();
        assert_eq!(gate.turns.available_permits(), 0);
        first.accepted();
        let (a, b) = (gate.turn().await.unwrap(), gate.turn().await.unwrap());
        assert_eq!(gate.turns.available_permits(), 0);
        a.accepted();
        drop(b);
        assert_eq!(gate.turns.available_permits(), 3);
        assert_eq!(gate.refused(), None);
    }

    #[tokio::test]
    async fn sent_without_an_answer_counts_as_refused_until_a_host_accepted_it() {
        let gate = gate();
        drop(gate.turn().await.unwrap());
        assert_eq!(gate.refused(), None, "it was not sent");
        gate.turn().await.unwrap().accepted();
        let mut turn = gate.turn().await.unwrap();
        turn.sent("n1");
        drop(turn);
        assert_eq!(gate.refused(), None, "another host has accepted it");

        let gate = self::gate();
        let mut turn = gate.turn().await.unwrap();
        turn.sent("n2");
        drop(turn);
        assert!(gate.refused().unwrap().contains("refused on n2"));
        assert!(gate.turn().await.is_err());
    }
}
