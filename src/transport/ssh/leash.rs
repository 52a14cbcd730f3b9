//! The stream below russh: a socket, a command's pipes, a forwarded channel. russh reads and writes it in a task of its own, which
//! goes on for as long as the peer likes when the peer stops in the middle of a key exchange, or never opens its window; and it
//! takes whatever a peer sends. Here both end: when the run lets go of the host, and when the host has sent more than any node
//! needs. It also keeps what a server says before its version line, which tells a server that is busy from one that is broken.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// The most that a host may send over one connection, in bytes; replies of files are far below it.
pub(super) const CONNECTION_BYTES_MAX: usize = 64 << 20;
/// For a jump host's connection, which carries what all hosts behind it send; each of those has its own limit.
pub(super) const NO_LIMIT: usize = usize::MAX;
/// How much is kept of what comes before the version line, in bytes.
const OPENING_BYTES_KEPT: usize = 512;

/// What a connection is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Holds a connection: when it is dropped, the stream closes, whatever the peer does.
pub(super) struct Leash {
    _held: oneshot::Sender<()>,
    opening: Arc<Mutex<Opening>>,
}

/// The beginning of what the peer sent.
enum Opening {
    /// What came so far; the version line is not among it.
    Before(Vec<u8>),
    /// The version line has come, or more than any server says before it.
    Past,
}

impl Leash {
    /// What came while the server's version line did not.
    pub(super) fn before_version(&self) -> Option<String> {
        match &*self.opening.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Opening::Before(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Opening::Past => None,
        }
    }
}

impl Opening {
    fn hear(&mut self, data: &[u8]) {
        let Opening::Before(text) = self else { return };
        text.extend_from_slice(data);
        // A version line is the first that begins with `SSH-` (RFC 4253, 4.2).
        let version = text.starts_with(b"SSH-") || text.windows(5).any(|w| w == b"\nSSH-");
        if version || text.len() > OPENING_BYTES_KEPT {
            *self = Opening::Past;
        }
    }
}

/// A stream on a [`Leash`].
pub(super) struct Leashed<S> {
    socket: S,
    released: oneshot::Receiver<()>,
    room: usize,
    opening: Arc<Mutex<Opening>>,
}

/// Puts a stream on a leash; it fails once the peer has sent more than `room` bytes.
pub(super) fn leash<S: Stream>(socket: S, room: usize) -> (Leash, Leashed<S>) {
    let (held, released) = oneshot::channel();
    let opening = Arc::new(Mutex::new(Opening::Before(Vec::new())));
    (Leash { _held: held, opening: opening.clone() }, Leashed { socket, released, room, opening })
}

impl<S> Leashed<S> {
    /// Fails once the leash was dropped. Reader and writer are polled by one task, so that the waker of either wakes both.
    fn released(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.released).poll(cx) {
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: Stream> AsyncRead for Leashed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.released(cx)?;
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.opening.lock().unwrap_or_else(std::sync::PoisonError::into_inner).hear(&buf.filled()[before..]);
        match self.room.checked_sub(buf.filled().len() - before) {
            Some(room) => self.room = room,
            None => return Poll::Ready(Err(io::Error::other(format!("the host sent more than {} MiB", CONNECTION_BYTES_MAX >> 20)))),
        }
        result
    }
}

impl<S: Stream> AsyncWrite for Leashed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.released(cx)?;
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.released(cx)?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn who_waits_on_a_released_socket_is_woken() {
        let (near, _far) = pair().await;
        let (leash, mut socket) = leash(near, CONNECTION_BYTES_MAX);
        let reader = tokio::spawn(async move { socket.read(&mut [0; 16]).await.map_err(|e| e.kind()) });
        tokio::task::yield_now().await;
        drop(leash);
        assert_eq!(reader.await.unwrap(), Err(io::ErrorKind::ConnectionAborted));

        let (near, _far) = pair().await;
        let (leash, mut socket) = super::leash(near, CONNECTION_BYTES_MAX);
        let writer = tokio::spawn(async move { while socket.write_all(&[0; 64 << 10]).await.is_ok() {} });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!writer.is_finished(), "nobody reads, so it waits");
        drop(leash);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_flood_ends() {
        let (near, mut far) = pair().await;
        let (_leash, mut socket) = leash(near, CONNECTION_BYTES_MAX);
        tokio::spawn(async move { while far.write_all(&[0; 64 << 10]).await.is_ok() {} });
        let mut sink = vec![0; 64 << 10];
        let error = loop {
            if let Err(e) = socket.read(&mut sink).await {
                break e;
            }
        };
        assert_eq!(error.to_string(), "the host sent more than 64 MiB");
    }

    #[test]
    fn what_comes_before_the_version_line_is_kept() {
        for (parts, want) in [
            (&[][..], Some("")),
            (&["Exceeded MaxStartups\r\n"], Some("Exceeded MaxStartups\r\n")),
            (&["SSH-2.0-x\r\n"], None),
            (&["SS", "H-2.0"], None),
            (&["welcome\r\nS", "SH-2.0-x\r\n"], None),
            (&["welcome\r\n", "SSH-2.0-x\r\n"], None),
        ] {
            let mut opening = Opening::Before(Vec::new());
            parts.iter().for_each(|p| opening.hear(p.as_bytes()));
            let (held, _) = oneshot::channel();
            let got = Leash { _held: held, opening: Arc::new(Mutex::new(opening)) }.before_version();
            assert_eq!(got.as_deref(), want, "{parts:?}");
        }
        let mut opening = Opening::Before(Vec::new());
        opening.hear(&[b'x'; OPENING_BYTES_KEPT + 1]);
        assert!(matches!(opening, Opening::Past));
    }
}
