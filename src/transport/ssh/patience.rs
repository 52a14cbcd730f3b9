//! What a busy server does is tried again: it refuses or resets the connection, or closes it before its version line, as sshd does
//! beyond MaxStartups (sshd.c drop_connection). Time-outs and refused authentications are not.

use std::time::{Duration, Instant};

use crate::transport::Trouble;

/// How often a refused connection is tried again: a server that restarts is back by then, one that is not there costs no more.
const REFUSED_RETRIES: u32 = 3;
/// The first pause after a refused connection; each further one is twice as long.
const REFUSED_PAUSE: Duration = Duration::from_millis(300);
/// The first pause after a dropped connection; each further one is twice as long.
const DROPPED_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// An attempt that failed.
pub(super) struct Setback {
    /// How.
    pub(super) trouble: Trouble,
    /// What makes another attempt worth while.
    pub(super) again: Option<Again>,
}

/// What a busy server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Nobody took the connection.
    Refused,
    /// It was taken and closed without a version line.
    Dropped,
}

impl From<Trouble> for Setback {
    fn from(trouble: Trouble) -> Self {
        Setback { trouble, again: None }
    }
}

/// What is left of the time to connect, which covers all attempts and the pauses between them, but no waiting for a turn.
pub(super) struct Patience {
    /// All of it.
    pub(super) total: Duration,
    left: Duration,
    since: Instant,
    retries: u32,
}

impl Patience {
    pub(super) fn new(total: Duration) -> Self {
        Patience { total, left: total, since: Instant::now(), retries: 0 }
    }

    /// An attempt begins: its turn has come.
    pub(super) fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// How long the attempt that has begun may take.
    pub(super) fn left(&self) -> Duration {
        self.left.saturating_sub(self.since.elapsed())
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The setback's trouble, when there is none.
    pub(super) async fn wait_or_give_up(&mut self, setback: Setback) -> Result<(), Trouble> {
        self.left = self.left();
        let Some(pause) = self.next(setback.again) else { return Err(self.told(setback)) };
        tracing::debug!(reason = %setback.trouble.reason, "tried again in {} ms", pause.as_millis());
        tokio::time::sleep(pause).await;
        self.begin();
        Ok(())
    }

    /// The pause before the next attempt, when there is one.
    fn next(&mut self, again: Option<Again>) -> Option<Duration> {
        let pause = pause(again?, self.retries, random()).filter(|p| *p < self.left)?;
        self.left -= pause;
        self.retries += 1;
        Some(pause)
    }

    /// Without counts and times: equal state gives equal bytes.
    fn told(&self, setback: Setback) -> Trouble {
        let Setback { mut trouble, again } = setback;
        if again.is_some() && self.retries > 0 {
            trouble.reason.push_str(", also when tried again");
        }
        trouble
    }
}

/// How long to wait before retry number `retries` (from 0), between half of it and all of it by `random`, so that a thousand hosts do
/// not come back in one moment; `None` when there is none.
fn pause(why: Again, retries: u32, random: u8) -> Option<Duration> {
    let first = match why {
        Again::Refused if retries >= REFUSED_RETRIES => return None,
        Again::Refused => REFUSED_PAUSE,
        Again::Dropped => DROPPED_PAUSE,
    };
    let all = first.saturating_mul(1 << retries.min(10)).min(PAUSE_MAX);
    Some(all / 2 + all / 2 * u32::from(random) / 255)
}

fn random() -> u8 {
    let mut byte = [0];
    // Without random bytes all wait alike, which is no reason to fail.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;

    #[test]
    fn pauses_grow_to_a_limit() {
        let ms = Duration::from_millis;
        for (why, retries, want) in [
            (Again::Refused, 0, Some((ms(150), ms(300)))),
            (Again::Refused, 1, Some((ms(300), ms(600)))),
            (Again::Refused, 2, Some((ms(600), ms(1200)))),
            (Again::Refused, 3, None),
            (Again::Dropped, 0, Some((ms(50), ms(100)))),
            (Again::Dropped, 3, Some((ms(400), ms(800)))),
            (Again::Dropped, 5, Some((ms(1000), ms(2000)))),
            (Again::Dropped, u32::MAX, Some((ms(1000), ms(2000)))),
        ] {
            assert_eq!(pause(why, retries, 0).zip(pause(why, retries, 255)), want, "{why:?} {retries}");
        }
    }

    #[test]
    fn a_connect_deadline_covers_its_retries() {
        // How many attempts there are when each ends like this at once, within ten seconds, how long that takes, and what is told.
        let attempts = |again| {
            let mut patience = Patience::new(Duration::from_secs(10));
            let pauses: Vec<Duration> = std::iter::from_fn(|| patience.next(again)).collect();
            let told = patience.told(Setback { trouble: Trouble::new(Stage::Connect, "connection refused"), again });
            (1 + pauses.len(), pauses.iter().sum::<Duration>(), told.reason)
        };
        let (n, took, told) = attempts(Some(Again::Refused));
        assert_eq!((n, told.as_str()), (4, "connection refused, also when tried again"));
        assert!(took < Duration::from_secs(3));
        let (n, took, told) = attempts(Some(Again::Dropped));
        assert!(n >= 8 && told.ends_with(", also when tried again"), "{n} {told}");
        assert!(took <= Duration::from_secs(10) && took > Duration::from_secs(6), "{took:?}");
        assert_eq!(attempts(None), (1, Duration::ZERO, "connection refused".to_string()));
    }
}
