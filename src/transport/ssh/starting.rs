//! How many handshakes go on at once with one server: sshd drops connections beyond its MaxStartups, and a bastion carries the
//! handshakes of everything behind it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A server that is contacted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Server {
    /// By its address: ports of one address are mostly one machine, or one that forwards them.
    At(IpAddr),
    /// A host behind a jump host, as that one knows it.
    Forwarded(String),
    /// Whatever the proxy commands contact; most often one bastion.
    OfCommands,
}

/// Who may begin a handshake now.
pub(super) struct Starting {
    most: usize,
    servers: Mutex<HashMap<Server, Arc<Semaphore>>>,
}

impl Starting {
    /// At most this many at once with each server.
    pub(super) fn new(most: usize) -> Self {
        Starting { most: most.max(1), servers: Mutex::default() }
    }

    /// Waits for a turn, which lasts until it is dropped.
    pub(super) async fn turn(&self, server: Server) -> OwnedSemaphorePermit {
        let semaphore = {
            let mut servers = self.servers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            servers.entry(server).or_insert_with(|| Arc::new(Semaphore::new(self.most))).clone()
        };
        semaphore.acquire_owned().await.expect("nobody closes it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_server_has_its_own_turns() {
        let starting = Starting::new(2);
        let server = |n| Server::At(IpAddr::from([127, 0, 0, n]));
        let (a, _b) = (starting.turn(server(1)).await, starting.turn(server(1)).await);
        let _others = [starting.turn(server(2)).await, starting.turn(Server::OfCommands).await, starting.turn(Server::Forwarded("x".into())).await];
        let third = starting.turn(server(1));
        tokio::pin!(third);
        let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(third.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "two are under way");
        drop(a);
        let _third = third.await;
    }
}
