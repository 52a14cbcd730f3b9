//! One SSH connection and the channel on it.

use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use zeroize::Zeroizing;

use super::leash::Leash;
use super::{Guard, ssh_reason};
use crate::model::Stage;
use crate::node;
use crate::node::protocol::{Reply, ReplyReader};
use crate::transport::{Complaints, Session, Trouble, ended_early};

/// How long we wait for our goodbye to be sent.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// A host that was reached and has accepted us.
pub struct SshSession {
    handle: Handle<Guard>,
    channel: Option<(ChannelReadHalf, ChannelWriteHalf<Msg>)>,
    complaints: Complaints,
    /// The socket closes with it, even when russh's task waits for a peer that has stopped.
    _leash: Leash,
}

impl SshSession {
    pub(super) fn new(handle: Handle<Guard>, leash: Leash) -> Self {
        SshSession { handle, channel: None, complaints: Complaints::default(), _leash: leash }
    }
}

impl Session for SshSession {
    async fn start(&mut self) -> Result<(), Trouble> {
        let trouble = |e: russh::Error| Trouble::new(Stage::Start, ssh_reason(&e));
        // One channel at a time: MaxSessions may be 1.
        if let Some((_, old)) = self.channel.take() {
            let _ = old.close().await;
        }
        self.complaints = Complaints::default();
        let channel = self.handle.channel_open_session().await.map_err(trouble)?;
        // No reply is asked for: the first request follows in the same flight.
        channel.exec(false, node::command()).await.map_err(trouble)?;
        self.channel = Some(channel.split());
        Ok(())
    }

    async fn exchange(&mut self, request: Zeroizing<Vec<u8>>, last: bool, reader: &mut ReplyReader) -> Result<Reply, Trouble> {
        let (read, write) = self.channel.as_mut().expect("start comes before exchange");
        let complaints = &mut self.complaints;
        let write = async {
            // A peer that has gone says so to the reader.
            let _ = write.data(&request[..]).await;
            if last {
                let _ = write.eof().await;
            }
            // The reader alone decides when the exchange is over: a program may answer without reading everything.
            std::future::pending::<()>().await;
        };
        let read = async {
            let mut status = None;
            loop {
                match read.wait().await {
                    Some(ChannelMsg::Data { data }) => match reader.feed(&data) {
                        Ok(Some(reply)) => return Ok(reply),
                        Ok(None) => {}
                        Err(broken) => return Err(Trouble::new(Stage::Observe, broken.reason())),
                    },
                    Some(ChannelMsg::ExtendedData { data, .. }) => complaints.take(&data)?,
                    Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status),
                    Some(ChannelMsg::Close) | None => return Err(ended_early(reader, status, complaints)),
                    Some(_) => {}
                }
            }
        };
        tokio::select! {
            result = read => result,
            () = write => unreachable!("the writer never ends"),
        }
    }

    async fn close(mut self) {
        let goodbye = async {
            let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
            let _ = (&mut self.handle).await;
        };
        let _ = tokio::time::timeout(CLOSE_DEADLINE, goodbye).await;
    }
}
