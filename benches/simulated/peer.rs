//! The other side, in a process of its own: one SSH server for all simulated nodes. Each address of 127.0.0.0/8 that
//! somebody connects to is a node with its own state.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use regprov::node;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, Preferred, kex};
use tokio::net::{TcpSocket, TcpStream};

use crate::node::{Node, Program};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 8192;

type Nodes = Arc<Mutex<HashMap<Ipv4Addr, Node>>>;

/// The key that the simulated host at this address shows.
pub(crate) fn host_key(at: Ipv4Addr) -> PrivateKey {
    let seed: Vec<u8> = at.octets().into_iter().cycle().take(32).collect();
    PrivateKey::from(Ed25519Keypair::from_seed(seed.as_slice().try_into().expect("32 bytes were taken")))
}

/// Serves until the process is ended; its first line on stdout is the port.
#[allow(clippy::print_stdout, reason = "the parent process reads the port from there")]
pub(crate) async fn serve() {
    let socket = TcpSocket::new_v4().expect("sockets can be made");
    // All of 127.0.0.0/8 with one socket, and nothing beyond the loopback device.
    socket.bind_device(Some(b"lo")).expect("a socket can be bound to the loopback device (Linux 5.7 or newer)");
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).expect("some port is free");
    let listener = socket.listen(BACKLOG).expect("a bound socket can listen");
    println!("{}", listener.local_addr().expect("a listening socket has an address").port());
    // curve25519 alone: both clients then do the same key exchange.
    let exchange = [kex::CURVE25519, kex::EXTENSION_SUPPORT_AS_SERVER, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER];
    let preferred = Preferred { kex: exchange.to_vec().into(), ..Preferred::default() };
    let nodes = Nodes::default();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (preferred, nodes) = (preferred.clone(), nodes.clone());
        tokio::spawn(async move { connection(preferred, socket, nodes).await });
    }
}

async fn connection(preferred: Preferred, socket: TcpStream, nodes: Nodes) -> Option<()> {
    let _ = socket.set_nodelay(true);
    let IpAddr::V4(at) = socket.local_addr().ok()?.ip() else { return None };
    let config = Arc::new(server::Config { keys: vec![host_key(at)], preferred, nodelay: true, ..Default::default() });
    let running = server::run_stream(config, socket, Host { nodes, at, program: None }).await.ok()?;
    running.await.ok()
}

/// One connection to one node.
struct Host {
    nodes: Nodes,
    at: Ipv4Addr,
    program: Option<Program>,
}

impl Host {
    fn with_program(&mut self, f: impl FnOnce(&mut Program, &mut Node) -> String) -> String {
        let Some(program) = &mut self.program else { return String::new() };
        let mut nodes = self.nodes.lock().expect("a node that panicked is a fault of the benchmark");
        f(program, nodes.entry(self.at).or_insert_with(Node::new))
    }

    fn leave(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.program = None;
        session.exit_status_request(channel, 0)?;
        session.eof(channel)?;
        session.close(channel)
    }
}

impl server::Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _user: &str, _key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(&mut self, _: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        if let Some(arguments) = command.strip_prefix(node::command().as_bytes()) {
            self.program = Some(Program::new());
            // The lines of the first request, each in single quotes.
            let request = arguments.split(|b| *b == b'\'').skip(1).step_by(2).fold(Vec::new(), |lines, line| [&lines, line, b"\n"].concat());
            return self.data(channel, &request, session).await;
        }
        if let Some(address) = command.strip_prefix(b"files ") {
            let address = std::str::from_utf8(address).ok().and_then(|a| a.parse::<Ipv4Addr>().ok());
            let count = address.and_then(|a| self.nodes.lock().ok()?.get(&a).map(Node::files)).unwrap_or(0);
            session.data(channel, format!("{count}\n").into_bytes())?;
        }
        self.leave(channel, session)
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let reply = self.with_program(|program, node| program.feed(node, data));
        if !reply.is_empty() {
            session.data(channel, reply.into_bytes())?;
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        if self.program.is_none() {
            return Ok(());
        }
        let reply = self.with_program(|program, node| program.end(node));
        if !reply.is_empty() {
            session.data(channel, reply.into_bytes())?;
        }
        self.leave(channel, session)
    }
}
