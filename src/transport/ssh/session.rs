//! One SSH connection and the channel on it.

use std::borrow::Cow;
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use zeroize::Zeroizing;

use super::leash::Leash;
use super::{Guard, ssh_reason};
use crate::model::Stage;
use crate::node::Program;
use crate::node::protocol::{Reply, ReplyReader};
use crate::node::run_as::RunAs;
use crate::transport::talk::{self, Piece, Purpose, Sink, Stream};
use crate::transport::{Complaints, Session, Trouble};

/// How long we wait for our goodbye to be sent.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// How long we wait before a further channel is asked for again; the caller's deadline ends it.
const REOPEN_INTERVAL: Duration = Duration::from_millis(50);

/// A host that was reached and has accepted us.
pub struct SshSession {
    handle: Handle<Guard>,
    channel: Option<(Output, ChannelWriteHalf<Msg>)>,
    complaints: Complaints,
    purpose: Purpose,
    /// A channel is open, on which the program is started together with its first request.
    waits_for_request: bool,
    /// The socket closes with it, even when russh's task waits for a peer that has stopped.
    _leash: Leash,
}

/// What comes over the channel.
struct Output {
    half: ChannelReadHalf,
    status: Option<u32>,
}

impl SshSession {
    pub(super) fn new(handle: Handle<Guard>, leash: Leash) -> Self {
        SshSession { handle, channel: None, complaints: Complaints::default(), purpose: Purpose::default(), waits_for_request: false, _leash: leash }
    }

    /// Uses it for this.
    #[must_use]
    pub fn used_for(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }
}

impl Stream for Output {
    async fn next(&mut self) -> Piece {
        loop {
            match self.half.wait().await {
                Some(ChannelMsg::Data { data }) => return Piece::Out(Zeroizing::new(data.to_vec())),
                Some(ChannelMsg::ExtendedData { data, .. }) => return Piece::Err(data.to_vec()),
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
                Some(ChannelMsg::Close) | None => return Piece::End(self.status),
                Some(_) => {}
            }
        }
    }
}

impl Sink for ChannelWriteHalf<Msg> {
    async fn send(&mut self, bytes: &[u8]) {
        // A peer that has gone says so to the reader.
        let _ = self.data(bytes).await;
    }

    async fn finish(&mut self) {
        let _ = self.eof().await;
    }
}

impl Session for SshSession {
    fn use_program(&mut self, program: Program) {
        self.purpose.program = program;
    }

    async fn start(&mut self, run_as: &RunAs) -> Result<(), Trouble> {
        let trouble = |e: russh::Error| Trouble::new(Stage::Start, ssh_reason(&e));
        // One channel at a time: MaxSessions may be 1.
        let again = self.channel.is_some();
        if let Some((_, old)) = self.channel.take() {
            let _ = old.close().await;
        }
        self.complaints = Complaints::default();
        let channel = loop {
            match self.handle.channel_open_session().await {
                // The server counts the last program until it has ended, which is a moment later than its channel.
                Err(russh::Error::ChannelOpenFailure(_)) if again => tokio::time::sleep(REOPEN_INTERVAL).await,
                opened => break opened.map_err(trouble)?,
            }
        };
        self.waits_for_request = *run_as == RunAs::Login;
        if !self.waits_for_request {
            channel.exec(false, run_as.command(self.purpose.program, self.purpose.gate.is_some()).as_ref()).await.map_err(trouble)?;
        }
        let (half, write) = channel.split();
        let (output, write) = self.channel.insert((Output { half, status: None }, write));
        talk::enter(run_as, &self.purpose, output, write).await
    }

    async fn exchange(&mut self, request: Zeroizing<Vec<u8>>, last: bool, reader: &mut ReplyReader) -> Result<Reply, Trouble> {
        let (output, write) = self.channel.as_mut().expect("start comes before exchange");
        let mut request = &request[..];
        if std::mem::take(&mut self.waits_for_request) {
            // sshd opens the channel's window when the program runs: what goes with the command is there a round trip earlier.
            let program = self.purpose.program;
            let command = program.command_with(request).map(|command| (Cow::Owned(command), &[][..]));
            let (command, rest) = command.unwrap_or((Cow::Borrowed(program.command()), request));
            write.exec(false, command.as_bytes()).await.map_err(|e| Trouble::new(Stage::Start, ssh_reason(&e)))?;
            request = rest;
        }
        talk::exchange(request, last, reader, &mut self.complaints, output, write).await
    }

    async fn close(mut self) {
        let goodbye = async {
            let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
            let _ = (&mut self.handle).await;
        };
        let _ = tokio::time::timeout(CLOSE_DEADLINE, goodbye).await;
    }
}
