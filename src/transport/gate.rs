//! One password that many hosts ask for (of sudo, or of SSH itself). A wrong one costs one failed attempt, not one for each
//! host, since five hundred locked accounts are worse than one failure: it is tried on one host, goes to one host more with each
//! success, and to nobody any more once it was refused.

use std::sync::Mutex;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::model::Secret;

/// A password and who may try it now.
pub struct Gate {
    /// What it is, for people: `the sudo password`.
    what: &'static str,
    secret: Secret,
    turns: Semaphore,
    /// The host that refused it.
    refused_on: Mutex<Option<String>>,
}

/// The right to try the password on one host. Dropped without a verdict (the connection broke), it goes to the next host.
pub struct Turn<'a> {
    gate: &'a Gate,
    permit: SemaphorePermit<'a>,
}

impl Gate {
    /// A password that nobody has tried yet. `what` names it: `the sudo password`.
    pub fn new(what: &'static str, secret: Secret) -> Self {
        Gate { what, secret, turns: Semaphore::new(1), refused_on: Mutex::default() }
    }

    /// Waits until this host may try it.
    ///
    /// # Errors
    /// Says which host refused it.
    pub async fn turn(&self) -> Result<Turn<'_>, String> {
        let refused = || self.refused().unwrap_or_default();
        let permit = self.turns.acquire().await.map_err(|_| refused())?;
        Ok(Turn { gate: self, permit })
    }

    /// Why nobody may try it any more, once a host refused it.
    pub fn refused(&self) -> Option<String> {
        self.refused_on().as_ref().map(|host| format!("{} was refused on {host}; it was tried once and is not tried on other hosts", self.what))
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

    /// It was right: this turn goes on to another host, and one host more may try.
    pub fn accepted(self) {
        self.gate.turns.add_permits(1);
        drop(self.permit);
    }

    /// It was wrong: nobody tries it any more.
    pub fn refused(self, host: &str) {
        self.gate.refused_on().get_or_insert_with(|| host.to_string());
        self.gate.turns.close();
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
}
