//! A TCP socket that acknowledges at once what it was sent. sshd leaves Nagle's algorithm on until a session runs, so that its next
//! small packet waits for our acknowledgement of the last one; Linux delays that by 40 ms where we have nothing to say, as while
//! a channel is opened. On a link of 50 ms that is most of a round trip.

use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The socket.
pub(super) struct Quick(TcpStream);

impl Quick {
    /// Sends small packets at once too: without TCP_NODELAY each waits for the last one's acknowledgement.
    pub(super) fn new(socket: TcpStream) -> Self {
        // A socket that does not take it is slower, no worse.
        let _ = socket.set_nodelay(true);
        let quick = Quick(socket);
        quick.acknowledge();
        quick
    }

    /// TCP_QUICKACK lasts only until the kernel thinks otherwise (tcp(7)), so it is set again after each read.
    fn acknowledge(&self) {
        let on: libc::c_int = 1;
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: setsockopt reads the integer behind the pointer, which lives until it returns. A failure costs time, nothing else.
        unsafe { libc::setsockopt(self.0.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_QUICKACK, (&raw const on).cast(), size) };
    }
}

impl AsyncRead for Quick {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.0).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.acknowledge();
        }
        result
    }
}

impl AsyncWrite for Quick {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
