//! One node program: started with somebody's rights, then asked and answered in turn.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::model::Stage;
use crate::node::protocol::{Nonce, Reply, ReplyReader, hello};
use crate::node::run_as::RunAs;
use crate::transport::clock::Clock;
use crate::transport::{Session, Trouble};

/// A conversation with one node program.
pub(in super::super) struct Link<'a, S> {
    pub(in super::super) session: &'a mut S,
    pub(in super::super) nonce: Nonce,
    pub(in super::super) greeted: bool,
    pub(in super::super) deadline: Duration,
    pub(in super::super) clock: &'a Clock,
}

impl<S: Session> Link<'_, S> {
    pub(in super::super) async fn start(&mut self, run_as: &RunAs) -> Result<(), Trouble> {
        let what = match run_as {
            RunAs::Login => "no channel was opened",
            RunAs::Sudo { .. } => "sudo let nobody in",
            RunAs::Su { .. } => "su let nobody in",
        };
        let late = || Trouble::new(Stage::Start, format!("{what} within {} s", self.deadline.as_secs()));
        self.clock.limit(self.deadline, self.session.start(run_as)).await.unwrap_or_else(|| Err(late()))
    }

    pub(in super::super) async fn exchange(&mut self, request: &[u8], last: bool) -> Result<Reply, Trouble> {
        let (hello, mut reader) = match self.greeted {
            true => (String::new(), ReplyReader::again(self.nonce.clone())),
            false => (hello(&self.nonce), ReplyReader::new(self.nonce.clone())),
        };
        self.greeted = true;
        let mut bytes = Zeroizing::new(Vec::with_capacity(hello.len() + request.len()));
        bytes.extend_from_slice(hello.as_bytes());
        bytes.extend_from_slice(request);
        let late = || Trouble::new(Stage::Observe, format!("the node program gave no answer within {} s", self.deadline.as_secs()));
        tokio::time::timeout(self.deadline, self.session.exchange(bytes, last, &mut reader)).await.map_err(|_| late())?
    }
}
