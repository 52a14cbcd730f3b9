//! A wire between a client and a server that is cut after so many bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How a wire ends, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Bytes from the client, and from the server, of which the first that is reached counts.
    pub(crate) after: [usize; 2],
    /// A reset for both; else nothing comes through any more and nobody is told, as when a machine loses its power.
    pub(crate) reset: bool,
}

/// Where to connect to instead of `server`, and the bytes that each side sent so far, over all connections.
pub(crate) async fn relay(server: SocketAddr, cut: Cut) -> (SocketAddr, Arc<[AtomicUsize; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let sent: Arc<[AtomicUsize; 2]> = Arc::default();
    let counted = sent.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(wire(client, server, cut, counted.clone()));
        }
    });
    (at, sent)
}

async fn wire(mut client: TcpStream, server: SocketAddr, cut: Cut, sent: Arc<[AtomicUsize; 2]>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut room = cut.after;
    let mut buffers = [[0; 4096]; 2];
    while room[0] > 0 && room[1] > 0 {
        let [up, down] = &mut buffers;
        let (up_room, down_room) = (room[0].min(4096), room[1].min(4096));
        let (side, n) = tokio::select! {
            n = client.read(&mut up[..up_room]) => (0, n.unwrap_or(0)),
            n = server.read(&mut down[..down_room]) => (1, n.unwrap_or(0)),
        };
        sent[side].fetch_add(n, Ordering::Relaxed);
        room[side] -= n;
        let other = if side == 0 { &mut server } else { &mut client };
        if n == 0 || other.write_all(&buffers[side][..n]).await.is_err() {
            // Whoever left is told to the other one by what is dropped here.
            return;
        }
    }
    if cut.reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    } else {
        std::future::pending::<()>().await;
    }
}
