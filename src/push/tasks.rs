//! Running tasks on a node: one program for those of one user, started again after one that ran out of time.

use std::time::Duration;

use crate::model::text::sanitize;
use crate::node::Program;
use crate::node::protocol::{Ended, Nonce, Ran, Task};
use crate::node::run_as::RunAs;
use crate::transport::Session;
use crate::transport::clock::Clock;

use super::host::Link;

/// Runs tasks with one user's rights.
pub(super) struct Tasks<'a, S: Session> {
    link: Link<'a, S>,
    run_as: RunAs,
    started: bool,
}

impl<'a, S: Session> Tasks<'a, S> {
    /// Nothing is started yet. `deadline` is how long an answer may take; the node itself ends a task a little earlier.
    pub(super) fn new(session: &'a mut S, run_as: RunAs, deadline: Duration, clock: &'a Clock) -> Self {
        session.use_program(Program::Tasks);
        Tasks { link: Link { session, nonce: Nonce::random(), greeted: false, deadline, clock }, run_as, started: false }
    }

    /// Runs one task. `Err` says why there is no answer; it holds nothing of the input.
    pub(super) async fn run(&mut self, task: &Task<'_>, input: &str) -> Result<Ran, String> {
        if !self.started {
            (self.link.nonce, self.link.greeted) = (Nonce::random(), false);
            self.link.start(&self.run_as).await.map_err(|t| t.reason)?;
            self.started = true;
        }
        let seconds = self.seconds();
        // Whatever comes but a whole answer leaves a program of which nobody knows where it is.
        self.started = false;
        let start = tokio::time::Instant::now();
        let late = || format!("it did not end within {seconds} s");
        let reply = self.link.exchange(&task.encode(seconds, input), false).await.map_err(|t| {
            // Whoever does not hear the first signal is killed, and the program with it, so that it cannot say so.
            if start.elapsed() >= Duration::from_secs(seconds) { late() } else { t.reason }
        })?;
        if let Some(why) = reply.refused {
            return Err(format!("the node program does not work here: {}", sanitize(&why)));
        }
        match reply.task {
            Some(Ended::Ran(ran)) => {
                self.started = true;
                Ok(ran)
            }
            Some(Ended::TooMuch) => {
                self.started = true;
                Err("it printed more than 64 KiB".to_string())
            }
            Some(Ended::Late) => Err(late()),
            None => Err("the reply is not one that the node program gives".to_string()),
        }
    }

    /// The deadline on the node, in seconds: four fifths of ours, so that its word about it arrives.
    pub(super) fn seconds(&self) -> u64 {
        (self.link.deadline.as_secs() * 4 / 5).max(1)
    }
}

impl<S: Session> Drop for Tasks<'_, S> {
    fn drop(&mut self) {
        self.link.session.use_program(Program::Files);
    }
}
