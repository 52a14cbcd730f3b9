//! What is seen while the run goes on, on stderr. One place is fed with [`Event`]s and draws: on a terminal one bar for the
//! fleet and a few hosts in flight, elsewhere plain lines that keep the log of a large fleet short.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::recap::{host_line, word_of};
use super::{caret, line};
use crate::model::kubernetes::is_namespace;
use crate::model::report::Event;

/// Hosts in flight that are shown at a time.
const SLOTS_MAX: usize = 8;
/// Drawings a second at most; events in between cost a few stores.
const DRAWS_PER_SECOND_MAX: u8 = 8;
/// Without a terminal: how often a line tells how far the run is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Without a terminal and `-v`: hosts in trouble that get a line as they end. More of them are only counted; the recap has all.
const TROUBLE_LINES_MAX: usize = 50;

/// The bars that are drawn now, for whoever must have the terminal for a moment.
static DRAWN: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Takes the bars away until the result is dropped.
pub fn hide() -> Hidden {
    let drawn = DRAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    if let Some(all) = &drawn {
        let _ = all.clear();
        all.set_draw_target(ProgressDrawTarget::hidden());
        caret::give_back();
    }
    Hidden(drawn)
}

/// See [`hide`].
pub struct Hidden(Option<MultiProgress>);

impl Drop for Hidden {
    fn drop(&mut self) {
        // Whoever gave a question up may have ended the bars meanwhile.
        let still_drawn = DRAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some();
        if let Some(all) = self.0.as_ref().filter(|_| still_drawn) {
            caret::take();
            all.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND_MAX));
        }
    }
}

/// Says on a terminal what is waited for before the first host's turn, until the result is dropped.
pub fn waiting(what: String) -> Waiting {
    if !io::stderr().is_terminal() {
        return Waiting(None);
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND_MAX)).with_style(style("{spinner} {msg}  {elapsed}"));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    Waiting(Some(bar))
}

/// See [`waiting`].
pub struct Waiting(Option<ProgressBar>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Draws the run.
pub struct Progress {
    counts: Counts,
    sink: Sink,
}

enum Sink {
    Bars(Bars),
    Lines(Lines<io::Stderr>),
}

impl Progress {
    /// For these hosts, by their positions. With `verbose` every host gets a line as it ends, and there is no bar that
    /// diagnostics would tear apart. `check` says that nothing is written.
    pub fn new(hosts: Vec<String>, verbose: bool, check: bool) -> Self {
        let total = hosts.len();
        let what = match (hosts.iter().any(|h| is_namespace(h)), hosts.iter().all(|h| is_namespace(h))) {
            (false, _) => "hosts",
            (true, true) => "namespaces",
            (true, false) => "hosts and namespaces",
        };
        let sink = if io::stderr().is_terminal() && !verbose {
            Sink::Bars(Bars::new(hosts, what))
        } else {
            Sink::Lines(Lines { out: io::stderr(), verbose, troubles: 0, last: Instant::now() })
        };
        Progress { counts: Counts { total, what, check, ..Counts::default() }, sink }
    }

    /// Something happened in a run that writes.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Started { index } => self.started(*index),
            Event::Sent { .. } => {}
            Event::Ended { index, row } => {
                let check = self.counts.check;
                self.ended(*index, row.outcome.name(), row.outcome.trouble().is_some(), || host_line(row, check));
            }
        }
    }

    /// A host's turn came.
    pub fn started(&mut self, index: usize) {
        if let Sink::Bars(bars) = &mut self.sink {
            bars.started(index);
        }
    }

    /// A host ended, in one word; of a log that shows it `text` makes a line.
    pub fn ended(&mut self, index: usize, word: &'static str, trouble: bool, text: impl FnOnce() -> String) {
        self.counts.add(word);
        match &mut self.sink {
            Sink::Bars(bars) => bars.ended(index, &self.counts),
            Sink::Lines(lines) => lines.ended(trouble, text, &self.counts, Instant::now()),
        }
    }

    /// Tells something that does not end the run, above the bar.
    pub fn warning(&self, message: &str) {
        match &self.sink {
            Sink::Bars(bars) => bars.all.suspend(|| super::warning(message)),
            Sink::Lines(_) => super::warning(message),
        }
    }

    /// The run is over: the bar goes away, the recap takes its place.
    pub fn finish(self) {
        if let Sink::Bars(bars) = self.sink {
            DRAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            bars.fleet.finish_and_clear();
            let _ = bars.all.clear();
        }
    }
}

/// The words that are counted for all to see, in their order. What else hosts end as is what they should, or is told afterwards.
const WORDS: [&str; 7] = ["changed", "reached", "answered", "failed", "unreachable", "unknown", "skipped"];

/// How many hosts ended how.
#[derive(Default)]
struct Counts {
    total: usize,
    /// Of what.
    what: &'static str,
    check: bool,
    ended: usize,
    of: [usize; WORDS.len()],
}

impl Counts {
    fn add(&mut self, word: &str) {
        self.ended += 1;
        if let Some(place) = WORDS.iter().position(|w| *w == word) {
            self.of[place] += 1;
        }
    }

    /// `3 changed, 1 failed`: what is not zero.
    fn words(&self) -> String {
        let words = WORDS.iter().zip(self.of).filter(|(_, n)| *n > 0).map(|(word, n)| format!("{n} {}", word_of(word, self.check)));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// Plain lines.
struct Lines<W> {
    out: W,
    verbose: bool,
    troubles: usize,
    last: Instant,
}

impl<W: Write> Lines<W> {
    fn ended(&mut self, trouble: bool, text: impl FnOnce() -> String, counts: &Counts, now: Instant) {
        self.troubles += usize::from(trouble);
        if self.verbose || (trouble && self.troubles <= TROUBLE_LINES_MAX) {
            self.tell(&text());
        } else if trouble && self.troubles == TROUBLE_LINES_MAX + 1 {
            self.tell("more hosts failed; all of them stand in the recap");
        }
        if now.duration_since(self.last) >= PROGRESS_EVERY && counts.ended < counts.total {
            self.last = now;
            let words = counts.words();
            let colon = if words.is_empty() { "" } else { ": " };
            self.tell(&format!("{} of {} {}{colon}{words}", counts.ended, counts.total, counts.what));
        }
    }

    /// If stderr is closed there is nobody to tell, and the run goes on.
    fn tell(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }
}

/// The bar and the lines below it.
struct Bars {
    hosts: Vec<String>,
    all: MultiProgress,
    fleet: ProgressBar,
    lines: Vec<ProgressBar>,
    slots: Slots,
    _caret: caret::Quiet,
}

impl Bars {
    fn new(hosts: Vec<String>, what: &str) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND_MAX));
        *DRAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(all.clone());
        let fleet = all.add(ProgressBar::new(hosts.len() as u64));
        fleet.set_style(style(&format!("[{{bar:30}}] {{pos}}/{{len}} {what}  {{elapsed}}  {{msg}}")).progress_chars("=> "));
        fleet.enable_steady_tick(Duration::from_millis(500));
        let count = hosts.len().min(SLOTS_MAX);
        let lines = (0..count).map(|_| all.add(ProgressBar::new_spinner().with_style(style("  {msg}")))).collect();
        Bars { hosts, all, fleet, lines, slots: Slots::new(count), _caret: caret::Quiet::new() }
    }

    fn started(&mut self, index: usize) {
        if let Some(slot) = self.slots.started(index) {
            self.show(slot);
        }
    }

    fn ended(&mut self, index: usize, counts: &Counts) {
        self.fleet.set_position(counts.ended as u64);
        self.fleet.set_message(counts.words());
        if let Some(slot) = self.slots.ended(index) {
            self.show(slot);
        }
    }

    fn show(&self, slot: usize) {
        let name = self.slots.shown[slot].and_then(|index| self.hosts.get(index));
        self.lines[slot].set_message(name.map(|n| line(n)).unwrap_or_default());
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants of this file")
}

/// Which hosts in flight are shown: the oldest, each in its line until it ends.
struct Slots {
    shown: Vec<Option<usize>>,
    waiting: VecDeque<usize>,
}

impl Slots {
    fn new(count: usize) -> Self {
        Slots { shown: vec![None; count], waiting: VecDeque::new() }
    }

    /// The slot that shows something new.
    fn started(&mut self, index: usize) -> Option<usize> {
        match self.shown.iter().position(Option::is_none) {
            Some(free) => {
                self.shown[free] = Some(index);
                Some(free)
            }
            None => {
                self.waiting.push_back(index);
                None
            }
        }
    }

    /// The slot that shows something new.
    fn ended(&mut self, index: usize) -> Option<usize> {
        match self.shown.iter().position(|s| *s == Some(index)) {
            Some(slot) => {
                self.shown[slot] = self.waiting.pop_front();
                Some(slot)
            }
            None => {
                self.waiting.retain(|w| *w != index);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;
    use crate::model::report::{HostRow, Outcome};

    fn row(host: &str, outcome: Outcome) -> HostRow {
        HostRow { host: host.into(), outcome, files: vec![], notes: vec![] }
    }

    fn refused(i: usize) -> HostRow {
        row(&format!("gpu{i:04}"), Outcome::Unreachable { stage: Stage::Connect, reason: "connection refused".into() })
    }

    /// Feeds rows, one a `step`, and returns the lines.
    fn run(rows: &[HostRow], verbose: bool, check: bool, step: Duration) -> Vec<String> {
        let start = Instant::now();
        let mut lines = Lines { out: Vec::new(), verbose, troubles: 0, last: start };
        let mut counts = Counts { total: rows.len(), what: "hosts", check, ..Counts::default() };
        for (i, row) in rows.iter().enumerate() {
            counts.add(row.outcome.name());
            lines.ended(row.outcome.trouble().is_some(), || host_line(row, check), &counts, start + step * (i as u32 + 1));
        }
        String::from_utf8(lines.out).unwrap().lines().map(str::to_string).collect()
    }

    #[test]
    fn a_log_says_nothing_of_hosts_that_work() {
        let rows = [row("a", Outcome::Changed), refused(7), row("b", Outcome::Unchanged)];
        assert_eq!(run(&rows, false, false, Duration::ZERO), ["unreachable: gpu0007: connect: connection refused"]);
    }

    #[test]
    fn verbose_says_a_line_a_host() {
        let rows = [row("a", Outcome::Changed), row("b", Outcome::Unchanged), row("c", Outcome::NotAttempted)];
        assert_eq!(run(&rows, true, true, Duration::ZERO), ["would be changed: a", "unchanged: b", "not attempted: c"]);
    }

    #[test]
    fn a_log_of_two_thousand_dead_hosts_stays_short() {
        let rows: Vec<HostRow> = (0..2000).map(refused).collect();
        let lines = run(&rows, false, false, Duration::from_millis(50));
        assert_eq!(lines.iter().filter(|l| l.starts_with("unreachable: ")).count(), 50);
        assert_eq!(lines.iter().filter(|l| l.starts_with("more hosts failed")).count(), 1);
        // 100 s, one line each 10 s, and none at the end, where the recap follows.
        let progress: Vec<&String> = lines.iter().filter(|l| l.contains(" of 2000 hosts")).collect();
        assert_eq!(progress.len(), 9);
        assert_eq!(progress[0], "200 of 2000 hosts: 200 unreachable");
    }

    #[test]
    fn a_hostile_reason_stays_on_its_line() {
        let evil = row("gpu1", Outcome::Failed { stage: Stage::Observe, reason: "x\n::error::y\x1b[2J".into() });
        assert_eq!(run(&[evil], false, false, Duration::ZERO), ["failed: gpu1: observe: x ::error::y\\u{1b}[2J"]);
    }

    #[test]
    fn slots_show_the_oldest_hosts_in_flight() {
        let mut slots = Slots::new(2);
        assert_eq!([slots.started(0), slots.started(1), slots.started(2), slots.started(3)], [Some(0), Some(1), None, None]);
        assert_eq!(slots.ended(2), None, "a host that was not shown ends without a trace");
        assert_eq!(slots.ended(0), Some(0));
        assert_eq!(slots.shown, [Some(3), Some(1)]);
        assert_eq!((slots.ended(3), slots.ended(1)), (Some(0), Some(1)));
        assert_eq!(slots.shown, [None, None]);
    }
}
