//! The time of day, and deadlines that count a host's time only: they stand still while an agent, a person or a password's turn is waited for.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How long ago 1970-01-01 UTC was; zero where the clock stands before it.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The clock of one host, or of one jump host: how many waits make it stand still.
pub struct Clock(watch::Sender<usize>);

impl Default for Clock {
    /// It goes.
    fn default() -> Self {
        Clock(watch::Sender::new(0))
    }
}

/// The clock goes on when the last of these is dropped.
pub struct Paused<'a>(&'a Clock);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|waits| *waits -= 1);
    }
}

impl Clock {
    /// Stops it for as long as the result lives.
    pub fn pause(&self) -> Paused<'_> {
        self.0.send_modify(|waits| *waits += 1);
        Paused(self)
    }

    /// Does some work within so much time, pauses left out; `None` when it was too long.
    pub async fn limit<T>(&self, deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.run_out(deadline) => None,
        }
    }

    /// Does some work, and stands still meanwhile whenever `other` does: what that one waits for is waited for here too.
    pub(super) async fn with<T>(&self, other: &Clock, work: impl Future<Output = T>) -> T {
        let mut others = other.0.subscribe();
        let mut work = pin!(work);
        loop {
            let _paused = (*others.borrow_and_update() > 0).then(|| self.pause());
            tokio::select! {
                done = &mut work => return done,
                // The sender lives as long as `other`.
                _ = others.changed() => {}
            }
        }
    }

    async fn run_out(&self, mut left: Duration) {
        let mut paused = self.0.subscribe();
        loop {
            if *paused.borrow_and_update() > 0 {
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

    /// How long a deadline of 150 ms lasts while `clock` goes for 20 ms and stands still for 200 ms, three times.
    async fn lasted(deadline: &Clock, clock: &Clock) -> Duration {
        let start = Instant::now();
        let life = async {
            for _ in 0..3 {
                sleep(Duration::from_millis(20)).await;
                let _paused = clock.pause();
                let _nested = clock.pause();
                sleep(Duration::from_millis(200)).await;
            }
            std::future::pending::<()>().await;
        };
        assert_eq!(deadline.limit(Duration::from_millis(150), life).await, None);
        start.elapsed()
    }

    #[tokio::test]
    async fn pauses_do_not_count() {
        let clock = Clock::default();
        let took = lasted(&clock, &clock).await;
        assert!(took >= Duration::from_millis(750), "{took:?}");
        assert_eq!(clock.limit(Duration::ZERO, async { 7 }).await, Some(7), "what is done is done");
    }

    #[tokio::test]
    async fn who_waits_with_another_stands_still_with_it() {
        let (own, other) = (Clock::default(), Clock::default());
        let alone = lasted(&own, &other).await;
        assert!(alone < Duration::from_millis(600), "{alone:?}");
        // Who waits joined while the other stood still already.
        let _waits = other.pause();
        let work = async {
            sleep(Duration::from_millis(300)).await;
            7
        };
        assert_eq!(own.limit(Duration::from_millis(150), own.with(&other, work)).await, Some(7));
        assert_eq!(own.limit(Duration::from_millis(150), sleep(Duration::from_millis(300))).await, None, "and goes on afterwards");
    }
}
