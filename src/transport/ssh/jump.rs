//! Jump hosts: one connection to each, a forwarded channel on it for each host behind it (`ssh -J`, direct-tcpip of RFC 4254, 7.2).
//! MaxSessions does not limit forwarded channels, so that one connection and one login serve a whole fleet.
//!
//! russh delivers what comes over a connection in one task, which waits when one channel's receiver is full, and with it all other
//! channels. So each channel has a task that always takes, and a buffer with a limit, beyond which that host alone is ended.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use russh::client::Handle;
use russh::{ChannelMsg, ChannelOpenFailure, ChannelReadHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::leash::Leash;
use super::password::Role;
use super::patience::{Again, Patience, Setback};
use super::route::Route;
use super::{Guard, Ssh};
use crate::model::{Address, Stage};
use crate::transport::Trouble;
use crate::transport::clock::Clock;

/// What a server may send on one forwarded channel before we take it, in bytes. A thousand hosts may be behind one jump host, and
/// files of 1 MiB come in time at any distance.
pub(super) const WINDOW_BYTES: u32 = 256 << 10;
/// The most that waits for one host's reader, in bytes: twice what may be on its way at once.
const WAITING_BYTES_MAX: usize = 2 * WINDOW_BYTES as usize;
/// What a message costs beside its bytes, so that many small ones are no way around the limit.
const MESSAGE_BYTES: usize = 128;
/// Connections to one jump host, where it refuses further channels on those that there are.
const CONNECTIONS_MAX: usize = 8;
/// How long the failure of a jump host counts for all hosts behind it, before one of them tries again. A refused login counts for the
/// whole run.
const FAILURE_COUNTS: Duration = Duration::from_secs(10);
/// How long a channel may take to be closed.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The jump hosts of a run.
#[derive(Default)]
pub(super) struct Bastions {
    /// By the address of their route in memory, which each keeps alive.
    known: Mutex<HashMap<usize, Arc<Bastion>>>,
}

/// One jump host.
struct Bastion {
    route: Arc<Route>,
    /// Stands still while a person is asked for this server; so do the clocks of all hosts that wait for it.
    clock: Clock,
    /// Held while a connection is made, so that there is one at a time, and who waits finds it made.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Vec<Arc<Connection>>,
    failed: Option<(Instant, Trouble)>,
}

/// One connection to a jump host. With it end all channels on it.
struct Connection {
    handle: Arc<Handle<Guard>>,
    channels: Mutex<JoinSet<()>>,
    _leash: Leash,
}

impl Bastions {
    fn get(&self, route: &Arc<Route>) -> Arc<Bastion> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let new = || Arc::new(Bastion { route: route.clone(), clock: Clock::default(), state: tokio::sync::Mutex::default() });
        known.entry(Arc::as_ptr(route).addr()).or_insert_with(new).clone()
    }
}

impl Bastion {
    /// The connection of this number, from 0; made when it is not there.
    async fn connection(&self, ssh: &Ssh, number: usize, clock: &Clock) -> Result<Arc<Connection>, Trouble> {
        clock.with(&self.clock, self.live(ssh, number)).await
    }

    async fn live(&self, ssh: &Ssh, number: usize) -> Result<Arc<Connection>, Trouble> {
        let mut state = self.state.lock().await;
        state.live.retain(|c| !c.handle.is_closed());
        if let Some(connection) = state.live.get(number) {
            return Ok(connection.clone());
        }
        if let Some((at, trouble)) = &state.failed
            && (trouble.stage == Stage::Authenticate || at.elapsed() < FAILURE_COUNTS)
        {
            return Err(trouble.clone());
        }
        match ssh.log_in(&self.route, Role::Bastion, &self.clock).await {
            Ok((handle, leash)) => {
                tracing::debug!(jump = %self.route.end.name, number = state.live.len() + 1, "connected");
                let connection = Arc::new(Connection { handle: Arc::new(handle), channels: Mutex::default(), _leash: leash });
                state.live.push(connection.clone());
                Ok(connection)
            }
            Err(Trouble { stage, reason }) => {
                let trouble = Trouble::new(stage, through(&self.route, &reason));
                state.failed = Some((Instant::now(), trouble.clone()));
                Err(trouble)
            }
        }
    }
}

impl Ssh {
    /// A stream to an address, forwarded by a jump host.
    pub(super) async fn forward(&self, route: &Arc<Route>, to: &Address, patience: &mut Patience, clock: &Clock) -> Result<Forwarded, Setback> {
        let bastion = self.bastions.get(route);
        let at_connect = |why: String| Trouble::new(Stage::Connect, through(route, &why));
        let (mut number, mut lost) = (0, false);
        loop {
            let connection = bastion.connection(self, number, clock).await?;
            patience.begin();
            let late = || at_connect(format!("no answer from {to} within {} s", patience.total.as_secs()));
            let opened = tokio::time::timeout(patience.left(), connection.open(to)).await.map_err(|_| late())?;
            match opened {
                Ok(forwarded) => return Ok(forwarded),
                Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ResourceShortage)) if number + 1 < CONNECTIONS_MAX => number += 1,
                Err(russh::Error::ChannelOpenFailure(why)) => {
                    let again = (why == ChannelOpenFailure::ConnectFailed).then_some(Again::Refused);
                    return Err(Setback { trouble: at_connect(refusal(&why, to)), again });
                }
                // The connection has gone since it was looked at: a new one is made, once.
                Err(_) if !lost => {
                    lost = true;
                    bastion.state.lock().await.live.retain(|c| !Arc::ptr_eq(c, &connection));
                }
                Err(e) => return Err(at_connect(super::ssh_reason(&e)).into()),
            }
        }
    }
}

/// Why a jump host opened no channel (RFC 4254, 5.1), for a person.
fn refusal(why: &ChannelOpenFailure, to: &Address) -> String {
    match why {
        ChannelOpenFailure::AdministrativelyProhibited => format!("it does not forward to {to}; see AllowTcpForwarding and PermitOpen in its sshd_config"),
        ChannelOpenFailure::ConnectFailed => format!("it cannot connect to {to}: refused, no way there, or a name that it does not know"),
        ChannelOpenFailure::UnknownChannelType => "it forwards nothing at all".to_string(),
        ChannelOpenFailure::ResourceShortage => format!("it takes no further channel, on {CONNECTIONS_MAX} connections"),
        ChannelOpenFailure::Other { .. } => format!("it refuses to forward to {to}"),
    }
}

fn through(route: &Route, why: &str) -> String {
    format!("through {}: {why}", route.end.name)
}

impl Connection {
    /// Opens a channel in a task of its own: one that nobody waits for any more is closed when it opens.
    async fn open(&self, to: &Address) -> Result<Forwarded, russh::Error> {
        let (sender, receiver) = oneshot::channel();
        {
            let (handle, to) = (self.handle.clone(), to.clone());
            let mut channels = self.channels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            while channels.try_join_next().is_some() {}
            channels.spawn(carry(handle, to, sender));
        }
        receiver.await.unwrap_or(Err(russh::Error::Disconnect))
    }
}

/// Opens a channel, hands it over, and takes what comes on it until one of both sides is done.
async fn carry(handle: Arc<Handle<Guard>>, to: Address, hand_over: oneshot::Sender<Result<Forwarded, russh::Error>>) {
    // The originator is us, for the server's log.
    let (mut read, write) = match handle.channel_open_direct_tcpip(to.host, u32::from(to.port), "127.0.0.1", 0).await {
        Ok(channel) => channel.split(),
        Err(e) => return drop(hand_over.send(Err(e))),
    };
    drop(handle);
    let (sender, receiver) = mpsc::unbounded_channel();
    let (held, released) = oneshot::channel();
    let shared = Arc::new(Shared::default());
    let forwarded = Forwarded { incoming: receiver, rest: VecDeque::new(), shared: shared.clone(), writer: Box::pin(write.make_writer()), _held: held };
    if hand_over.send(Ok(forwarded)).is_ok() {
        tokio::select! {
            () = take(&mut read, sender, &shared) => {}
            _ = released => {}
        }
    }
    // From here on nothing waits for this channel.
    drop(read);
    let _ = tokio::time::timeout(CLOSE_DEADLINE, write.close()).await;
}

/// Takes what comes, at once, until it ends or is too much.
async fn take(read: &mut ChannelReadHalf, to: mpsc::UnboundedSender<Vec<u8>>, shared: &Shared) {
    loop {
        match read.wait().await {
            Some(ChannelMsg::Data { data }) if !shared.keep(&data, &to) => return,
            Some(ChannelMsg::Data { .. }) => {}
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return,
            Some(_) => {}
        }
    }
}

/// What the task of a channel and its reader share.
#[derive(Default)]
struct Shared {
    /// What came and was not read yet costs so many bytes.
    waiting: AtomicUsize,
    flooded: AtomicBool,
}

impl Shared {
    /// Hands over what came; `false` when nobody takes it any more, or it was too much.
    fn keep(&self, data: &[u8], to: &mpsc::UnboundedSender<Vec<u8>>) -> bool {
        // It would read as the end of the stream.
        if data.is_empty() {
            return true;
        }
        let cost = data.len() + MESSAGE_BYTES;
        if self.waiting.fetch_add(cost, Ordering::Relaxed) + cost > WAITING_BYTES_MAX {
            self.flooded.store(true, Ordering::Release);
            return false;
        }
        to.send(data.to_vec()).is_ok()
    }
}

/// A forwarded channel as a stream. Dropped, the channel is closed.
pub(super) struct Forwarded {
    incoming: mpsc::UnboundedReceiver<Vec<u8>>,
    rest: VecDeque<u8>,
    shared: Arc<Shared>,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    _held: oneshot::Sender<()>,
}

impl AsyncRead for Forwarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match ready!(self.incoming.poll_recv(cx)) {
                Some(data) => {
                    self.shared.waiting.fetch_sub(MESSAGE_BYTES, Ordering::Relaxed);
                    self.rest = data.into();
                }
                None if self.shared.flooded.load(Ordering::Acquire) => {
                    let why = format!("the host sent more than {} KiB at once", WAITING_BYTES_MAX >> 10);
                    return Poll::Ready(Err(io::Error::other(why)));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let (front, _) = self.rest.as_slices();
        let n = front.len().min(buf.remaining());
        buf.put_slice(&front[..n]);
        self.rest.drain(..n);
        self.shared.waiting.fetch_sub(n, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const PIECE: usize = 16 << 10;

    /// A channel: who fills it, and who reads.
    fn channel() -> (Arc<Shared>, mpsc::UnboundedSender<Vec<u8>>, Forwarded) {
        let (sender, incoming) = mpsc::unbounded_channel();
        let (_held, _) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let stream = Forwarded { incoming, rest: VecDeque::new(), shared: shared.clone(), writer: Box::pin(tokio::io::sink()), _held };
        (shared, sender, stream)
    }

    #[tokio::test]
    async fn who_sends_more_than_is_read_is_ended_and_nobody_waits() {
        let (shared, sender, mut stream) = channel();
        let mut buffer = vec![0; PIECE];
        // What is read makes room, however much comes in all.
        for _ in 0..200 {
            assert!(shared.keep(&[b'x'; PIECE], &sender));
            stream.read_exact(&mut buffer).await.unwrap();
        }
        assert_eq!(shared.waiting.load(Ordering::Relaxed), 0);
        // What is not read ends at the limit.
        let kept = (0..200).take_while(|_| shared.keep(&[b'y'; PIECE], &sender)).count();
        assert_eq!(kept, WAITING_BYTES_MAX / (PIECE + MESSAGE_BYTES));
        drop(sender);
        let mut all = Vec::new();
        let error = stream.read_to_end(&mut all).await.unwrap_err();
        assert_eq!((all.len(), error.to_string().as_str()), (kept * PIECE, "the host sent more than 512 KiB at once"));
    }

    #[tokio::test]
    async fn small_messages_count_and_empty_ones_are_nothing() {
        let (shared, sender, mut stream) = channel();
        let kept = (0..1_000_000).take_while(|_| shared.keep(b"x", &sender)).count();
        assert_eq!(kept, WAITING_BYTES_MAX / (1 + MESSAGE_BYTES));
        drop((shared, sender));
        let mut all = Vec::new();
        assert!(stream.read_to_end(&mut all).await.is_err());

        let (shared, sender, mut stream) = channel();
        assert!((0..1_000_000).all(|_| shared.keep(b"", &sender)));
        assert!(shared.keep(b"x", &sender) && shared.keep(b"", &sender) && shared.keep(b"y", &sender));
        assert_eq!(stream.incoming.len(), 2, "empty messages take no room");
        drop(sender);
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "xy", "an empty message is not the end");
    }
}
