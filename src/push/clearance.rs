//! What has to be over before any host is written: a check that goes on beside connecting and observing.

use tokio::sync::watch;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Nothing yet.
    Wait,
    /// Hosts may be written.
    Write,
    /// No host is written.
    Stop,
}

/// Leave to write, which hosts wait for. Until it is given no host ends; when it is refused, none was written and all are
/// [not attempted](crate::model::Outcome::NotAttempted), so that the report does not depend on who was quicker.
#[derive(Clone)]
pub struct Clearance(Option<watch::Receiver<Word>>);

/// Gives leave, once. Dropped without a word it refuses.
pub struct Clears(watch::Sender<Word>);

impl Clears {
    /// Gives leave, or refuses it.
    pub fn decide(self, may_write: bool) {
        self.0.send_replace(if may_write { Word::Write } else { Word::Stop });
    }
}

impl Clearance {
    /// Leave that was given.
    pub fn given() -> Self {
        Clearance(None)
    }

    /// Leave that is still to be given.
    pub fn awaited() -> (Clears, Self) {
        let (sender, receiver) = watch::channel(Word::Wait);
        (Clears(sender), Clearance(Some(receiver)))
    }

    /// The word that was given, when it was.
    fn word(&self) -> Word {
        match &self.0 {
            None => Word::Write,
            Some(receiver) => match *receiver.borrow() {
                // Whoever was to decide has gone.
                Word::Wait if receiver.has_changed().is_err() => Word::Stop,
                word => word,
            },
        }
    }

    /// Whether it was refused.
    pub(super) fn is_refused(&self) -> bool {
        self.word() == Word::Stop
    }

    /// Ends when leave is given; when it is refused, never.
    pub async fn wait(&self) {
        self.until(Word::Write).await;
    }

    /// Ends when leave is refused; when it is given, never.
    pub(super) async fn refused(&self) {
        self.until(Word::Stop).await;
    }

    async fn until(&self, wanted: Word) {
        if let Some(mut receiver) = self.0.clone() {
            // An error says that nobody decides any more.
            let _ = receiver.wait_for(|word| *word != Word::Wait).await;
        }
        if self.word() != wanted {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn ends(work: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(20), work).await.is_ok()
    }

    #[tokio::test]
    async fn one_of_two_waits_ends_and_only_when_it_was_decided() {
        let given = Clearance::given();
        assert!(ends(given.wait()).await && !ends(given.refused()).await && !given.is_refused());
        for may_write in [true, false] {
            let (clears, clearance) = Clearance::awaited();
            assert!(!ends(clearance.wait()).await && !ends(clearance.refused()).await && !clearance.is_refused());
            clears.decide(may_write);
            assert_eq!((ends(clearance.wait()).await, ends(clearance.refused()).await, clearance.is_refused()), (may_write, !may_write, !may_write));
        }
        let (clears, clearance) = Clearance::awaited();
        drop(clears);
        assert!(!ends(clearance.wait()).await && ends(clearance.refused()).await && clearance.is_refused(), "a check that died lets nobody write");
    }
}
