//! A deadline that counts a server's time only: it stands still while an agent, a person or our own queue is waited for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Whether the clock stands still.
pub(super) struct Clock(watch::Sender<bool>);

impl Default for Clock {
    fn default() -> Self {
        Clock(watch::Sender::new(false))
    }
}

/// The clock goes on when this is dropped.
pub(super) struct Paused<'a>(&'a Clock);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.0.send_replace(false);
    }
}

impl Clock {
    /// Stops it for as long as the result lives. Pauses do not nest.
    pub(super) fn pause(&self) -> Paused<'_> {
        self.0.send_replace(true);
        Paused(self)
    }

    /// Returns when so much time has passed, pauses left out.
    pub(super) async fn run_out(&self, mut left: Duration) {
        let mut paused = self.0.subscribe();
        loop {
            if *paused.borrow_and_update() {
                // The sender lives as long as `self`.
                let _ = paused.changed().await;
                continue;
            }
            let start = Instant::now();
            tokio::select! {
                () = sleep(left) => return,
                _ = paused.changed() => left = left.saturating_sub(start.elapsed()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_do_not_count() {
        let clock = Clock::default();
        let start = Instant::now();
        let life = async {
            for _ in 0..3 {
                sleep(Duration::from_millis(20)).await;
                let _paused = clock.pause();
                sleep(Duration::from_millis(200)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = life => unreachable!(),
            () = clock.run_out(Duration::from_millis(150)) => {}
        }
        assert!(start.elapsed() >= Duration::from_millis(750), "{:?}", start.elapsed());
    }
}
