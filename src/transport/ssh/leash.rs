//! The socket below russh. russh reads and writes it in a task of its own, which goes on for as long as the peer likes when
//! the peer stops in the middle of a key exchange, or never opens its window; and it takes whatever a peer sends. Here both
//! end: when the run lets go of the host, and when the host has sent more than any node needs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// The most that a host may send over one connection, in bytes; replies of files are far below it.
const CONNECTION_BYTES_MAX: usize = 64 << 20;

/// Holds a connection: when it is dropped, the socket closes, whatever the peer does.
pub(super) struct Leash {
    _held: oneshot::Sender<()>,
}

/// A socket on a [`Leash`].
pub(super) struct Leashed {
    socket: TcpStream,
    released: oneshot::Receiver<()>,
    room: usize,
}

/// Puts a socket on a leash.
pub(super) fn leash(socket: TcpStream) -> (Leash, Leashed) {
    let (held, released) = oneshot::channel();
    (Leash { _held: held }, Leashed { socket, released, room: CONNECTION_BYTES_MAX })
}

impl Leashed {
    /// Fails once the leash was dropped. Reader and writer are polled by one task, so that the waker of either wakes both.
    fn released(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.released).poll(cx) {
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Leashed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.released(cx)?;
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        match self.room.checked_sub(buf.filled().len() - before) {
            Some(room) => self.room = room,
            None => return Poll::Ready(Err(io::Error::other(format!("the host sent more than {} MiB", CONNECTION_BYTES_MAX >> 20)))),
        }
        result
    }
}

impl AsyncWrite for Leashed {
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
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn who_waits_on_a_released_socket_is_woken() {
        let (near, _far) = pair().await;
        let (leash, mut socket) = leash(near);
        let reader = tokio::spawn(async move { socket.read(&mut [0; 16]).await.map_err(|e| e.kind()) });
        tokio::task::yield_now().await;
        drop(leash);
        assert_eq!(reader.await.unwrap(), Err(io::ErrorKind::ConnectionAborted));

        let (near, _far) = pair().await;
        let (leash, mut socket) = super::leash(near);
        let writer = tokio::spawn(async move { while socket.write_all(&[0; 64 << 10]).await.is_ok() {} });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!writer.is_finished(), "nobody reads, so it waits");
        drop(leash);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_flood_ends() {
        let (near, mut far) = pair().await;
        let (_leash, mut socket) = leash(near);
        tokio::spawn(async move { while far.write_all(&[0; 64 << 10]).await.is_ok() {} });
        let mut sink = vec![0; 64 << 10];
        let error = loop {
            if let Err(e) = socket.read(&mut sink).await {
                break e;
            }
        };
        assert_eq!(error.to_string(), "the host sent more than 64 MiB");
    }
}
