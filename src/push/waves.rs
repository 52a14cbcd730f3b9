//! In which order hosts start, and when no further one does. Pure.

use std::collections::VecDeque;

use crate::model::{Outcome, Pace};

/// The order of a run's hosts: wave after wave, each over before the next starts, until all have had their turn or a guard
/// stops it.
pub(super) struct Waves {
    /// Positions of the hosts that are still to start, in waves.
    waves: VecDeque<VecDeque<usize>>,
    in_flight: usize,
    /// Canaries that have not ended well yet.
    canaries: usize,
    pace: Pace,
    kind: &'static str,
    /// Hosts that are contacted in all.
    total: usize,
    failures: usize,
    stopped: Option<String>,
}

impl Waves {
    /// For destinations at these positions, in this order; `kind` is what they are, in the plural.
    pub(super) fn new(hosts: Vec<usize>, kind: &'static str, pace: Pace) -> Self {
        let total = hosts.len();
        let canaries = pace.canary.min(total);
        let mut rest: VecDeque<usize> = hosts.into();
        let mut waves = VecDeque::new();
        let mut cut = |rest: &mut VecDeque<usize>, size: usize| {
            let later = rest.split_off(size.min(rest.len()));
            waves.push_back(std::mem::replace(rest, later));
        };
        if canaries > 0 {
            cut(&mut rest, canaries);
        }
        let mut sizes = pace.batch.iter().map(|portion| portion.of(total).max(1)).collect::<VecDeque<_>>();
        while !rest.is_empty() {
            let size = sizes.front().copied().unwrap_or(total);
            if sizes.len() > 1 {
                sizes.pop_front();
            }
            cut(&mut rest, size);
        }
        Waves { waves, in_flight: 0, canaries, pace, kind, total, failures: 0, stopped: None }
    }

    /// The position of the host that may start now. `None` while a wave has to end first, and at the end.
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.stopped.is_some() {
            return None;
        }
        if self.in_flight == 0 && self.waves.front().is_some_and(VecDeque::is_empty) {
            self.waves.pop_front();
        }
        let next = self.waves.front_mut()?.pop_front()?;
        self.in_flight += 1;
        Some(next)
    }

    /// A host ended so.
    pub(super) fn ended(&mut self, outcome: &Outcome) {
        self.in_flight -= 1;
        let well = matches!(outcome, Outcome::Changed | Outcome::Unchanged);
        self.failures += usize::from(!well);
        // The reasons count nothing that depends on which host was quicker.
        if self.canaries > 0 {
            match well {
                true => self.canaries -= 1,
                false => self.stop(match self.pace.canary.min(self.total) {
                    1 => format!("the canary, the first {}, did not end well", if self.kind == "namespaces" { "namespace" } else { "host" }),
                    canaries => format!("not all canaries, the first {canaries} {}, ended well", self.kind),
                }),
            }
        }
        if let Some(allowed) = self.pace.max_fail.filter(|allowed| self.failures > allowed.of(self.total)) {
            let hosts = if self.total == 1 { self.kind.trim_end_matches('s') } else { self.kind };
            self.stop(format!("more than {} of {} {hosts} did not end well (--max-fail {allowed})", allowed.of(self.total), self.total));
        }
    }

    /// No further host starts. The first reason stays.
    pub(super) fn stop(&mut self, why: String) {
        self.stopped.get_or_insert(why);
    }

    /// Why no further host started, if something kept them from it.
    pub(super) fn into_stopped(self) -> Option<String> {
        self.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;

    fn pace(canary: usize, batch: &str, max_fail: &str) -> Pace {
        let batch = batch.split_whitespace().map(|p| p.parse().unwrap()).collect();
        Pace { canary, batch, max_fail: max_fail.parse().ok() }
    }

    fn dead() -> Outcome {
        Outcome::Unreachable { stage: Stage::Connect, reason: "connection refused".into() }
    }

    /// The waves when every host ends well: what may start before anything ends.
    fn sizes(hosts: usize, pace: Pace) -> Vec<usize> {
        let mut waves = Waves::new((0..hosts).collect(), "hosts", pace);
        let (mut sizes, mut seen) = (Vec::new(), Vec::new());
        loop {
            let wave: Vec<usize> = std::iter::from_fn(|| waves.next()).collect();
            if wave.is_empty() {
                assert_eq!(seen, (0..hosts).collect::<Vec<_>>(), "each once, in order");
                return sizes;
            }
            for i in &wave {
                assert_eq!(waves.next(), None, "{i} is still in flight");
                waves.ended(&Outcome::Changed);
                seen.push(*i);
            }
            sizes.push(wave.len());
        }
    }

    #[test]
    fn waves_are_cut_as_ansible_cuts_them() {
        #[track_caller]
        fn check(hosts: usize, canary: usize, batch: &str, want: &[usize]) {
            assert_eq!(sizes(hosts, pace(canary, batch, "-")), want);
        }
        check(5, 0, "", &[5]);
        check(0, 0, "3", &[]);
        check(0, 2, "", &[]);
        check(7, 0, "3", &[3, 3, 1]);
        check(10, 0, "1 3", &[1, 3, 3, 3]);
        check(10, 0, "1 5 20%", &[1, 5, 2, 2]);
        check(10, 0, "25%", &[2, 2, 2, 2, 2]);
        check(10, 0, "1%", &[1; 10]);
        check(10, 0, "0", &[1; 10]);
        check(3, 0, "100", &[3]);
        check(10, 2, "", &[2, 8]);
        check(10, 2, "1 5", &[2, 1, 5, 2]);
        check(3, 9, "1", &[3]);
    }

    /// Starts `hosts`, ends them as said in order, and tells how many started and why it stopped.
    fn run(pace: Pace, forks: usize, outcomes: &[Outcome]) -> (usize, Option<String>) {
        let mut waves = Waves::new((0..outcomes.len()).collect(), "hosts", pace);
        let (mut flying, mut started) = (VecDeque::new(), 0);
        loop {
            while flying.len() < forks
                && let Some(i) = waves.next()
            {
                flying.push_back(i);
                started += 1;
            }
            let Some(i) = flying.pop_front() else { return (started, waves.into_stopped()) };
            waves.ended(&outcomes[i]);
        }
    }

    #[test]
    fn guards_stop_when_the_number_is_exceeded() {
        let ended =
            |word: &str| word.split(' ').flat_map(|w| vec![if &w[1..] == "d" { dead() } else { Outcome::Unchanged }; w[..1].parse().unwrap()]).collect();
        #[track_caller]
        fn check(pace: Pace, forks: usize, outcomes: Vec<Outcome>, started: usize, why: &str) {
            let (got, stopped) = run(pace, forks, &outcomes);
            assert_eq!((got, stopped.as_deref().unwrap_or("")), (started, why));
        }
        check(pace(0, "", "0"), 1, ended("2u 1d 5u"), 3, "more than 0 of 8 hosts did not end well (--max-fail 0)");
        check(pace(0, "", "2"), 1, ended("2d 6u"), 8, "");
        check(pace(0, "", "2"), 1, ended("3d 5u"), 3, "more than 2 of 8 hosts did not end well (--max-fail 2)");
        // Those in flight finish: a failure lets no other start.
        check(pace(0, "", "0"), 4, ended("1d 7u"), 4, "more than 0 of 8 hosts did not end well (--max-fail 0)");
        // Over all hosts, not over a wave.
        check(pace(0, "2", "25%"), 2, ended("2d 6u"), 8, "");
        check(pace(0, "2", "24%"), 2, ended("2d 6u"), 2, "more than 1 of 8 hosts did not end well (--max-fail 24%)");
        // Also when no host was left that could have been kept: the exit code does not depend on who was quicker.
        check(pace(0, "", "0"), 8, ended("7u 1d"), 8, "more than 0 of 8 hosts did not end well (--max-fail 0)");
        check(pace(1, "", "-"), 9, ended("1d 7u"), 1, "the canary, the first host, did not end well");
        check(pace(3, "", "-"), 9, ended("2u 1d 5u"), 3, "not all canaries, the first 3 hosts, ended well");
        check(pace(3, "", "-"), 1, ended("1d 7u"), 1, "not all canaries, the first 3 hosts, ended well");
        check(pace(3, "", "-"), 9, ended("3u 1d 4u"), 8, "");
        // Canaries count as all others do.
        check(pace(1, "", "0"), 1, ended("1u 1d 6u"), 2, "more than 0 of 8 hosts did not end well (--max-fail 0)");
    }

    #[test]
    fn the_first_reason_to_stop_stays() {
        let mut waves = Waves::new(vec![4, 7], "hosts", Pace::default());
        assert_eq!((waves.next(), waves.next()), (Some(4), Some(7)));
        waves.stop("a password was refused".into());
        waves.stop("again".into());
        assert_eq!(waves.next(), None);
        assert_eq!(waves.into_stopped().as_deref(), Some("a password was refused"));
    }
}
