//! An SSH server in this process whose nodes are folders: a russh server, the real sh and the real node program. It can
//! also misbehave in every phase. Used by tests and by the quickstart example.

// Each user takes what it needs.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey, PublicKeyBase64};
use russh::server::{self, Auth, ChannelOpenHandle, Handle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::mpsc;

/// How a node misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// Accepts and says nothing.
    StallBanner,
    /// Says lines for ever before its version.
    EndlessBanner,
    /// Says its version, then rubbish.
    Garbage,
    /// Says its version, then nothing.
    StallKeyExchange,
    /// Never answers an authentication.
    StallAuthentication,
    /// Takes no key.
    DenyAuthentication,
    /// Refuses the channel.
    RefuseChannel,
    /// Starts nothing and says nothing.
    StallExec,
    /// Prints without end instead of a reply.
    EndlessOutput,
    /// Answers with another nonce than it was given, and keeps the channel open.
    WrongNonce,
    /// Says what it was told to say, but nothing that the program says: an empty node, then these lines (each behind the
    /// nonce) and success for every file.
    Forged(&'static str),
    /// Answers the first request with this text, in which `@` is the nonce, and keeps the channel open.
    Says(&'static str),
    /// Says this for ever instead of a reply; `@` is the nonce.
    Repeats(&'static str),
    /// Prints on standard error without end.
    EndlessErrors,
    /// One byte of a good reply a second.
    Trickle,
    /// Never answers the wish for a channel.
    StallChannel,
    /// Takes the channel and never opens its window.
    NoWindow,
    /// Opens channels to the client without end.
    OpensChannels,
    /// Ends the connection with these words when it is told to run something.
    Disconnects(&'static str),
    /// Runs the program, but ends the connection once so many bytes have come from the client.
    ResetAfter(usize),
    /// Runs the program, but ends the connection when the payload has come.
    ResetAfterPayload,
    /// Closes the first so many connections without a word, or with these.
    DropsFirst(usize, &'static str),
    /// Forwards nothing, as with AllowTcpForwarding no.
    ForwardsNothing,
    /// Is short of channels beyond so many on one connection.
    ForwardsAtMost(usize),
    /// Ends the first connection when it shall forward more than so many channels on it.
    LeavesAfter(usize),
}

/// The server's key and nodes.
pub struct Fleet {
    pub host_key: PublicKey,
    pub nodes: Vec<SocketAddr>,
    /// Bytes that clients sent on channels, over all nodes.
    pub received: Arc<AtomicUsize>,
    /// Channels opened.
    pub channels: Arc<AtomicUsize>,
    /// Connections that are open now.
    pub open: Arc<AtomicUsize>,
    /// Channels that clients let us open.
    pub let_in: Arc<AtomicUsize>,
    /// Connections that each node took.
    pub connections: Vec<Arc<AtomicUsize>>,
}

impl Fleet {
    /// `ssh-ed25519 AAAA...`, as known_hosts and `host_key:` have it.
    pub fn host_key_line(&self) -> String {
        format!("{} {}", self.host_key.algorithm().as_str(), self.host_key.public_key_base64())
    }
}

/// Starts a node on loopback for each fault. They let `user_key` in and live as long as the runtime.
pub async fn start(user_key: PublicKey, faults: &[Fault]) -> std::io::Result<Fleet> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).expect("the kernel gives random bytes");
    let host_key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let received = Arc::new(AtomicUsize::new(0));
    let channels = Arc::new(AtomicUsize::new(0));
    let (open, let_in) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut nodes = Vec::new();
    let mut connections = Vec::new();
    for fault in faults.iter().copied() {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        nodes.push(listener.local_addr()?);
        let window_size = if fault == Fault::NoWindow { 0 } else { server::Config::default().window_size };
        let (keys, auth_rejection_time) = (vec![host_key.clone()], Duration::from_millis(10));
        let config = Arc::new(server::Config { keys, nodelay: true, auth_rejection_time, window_size, ..Default::default() });
        let taken = Arc::new(AtomicUsize::new(0));
        connections.push(taken.clone());
        let node = Node {
            number: 0,
            forwarded: 0,
            fault,
            user_key: user_key.clone(),
            received: received.clone(),
            channels: channels.clone(),
            let_in: let_in.clone(),
            programs: HashMap::new(),
        };
        let open = open.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                let (config, node, open) = (config.clone(), Node { number, ..node.clone() }, open.clone());
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::Relaxed);
                    serve(config, socket, node).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }
    Ok(Fleet { host_key: host_key.public_key().clone(), nodes, received, channels, open, let_in, connections })
}

async fn serve(config: Arc<server::Config>, mut socket: TcpStream, node: Node) {
    let _ = socket.set_nodelay(true);
    match node.fault {
        Fault::StallBanner => drain(socket).await,
        Fault::DropsFirst(n, words) if node.number < n => {
            let _ = socket.write_all(words.as_bytes()).await;
        }
        Fault::EndlessBanner => while socket.write_all(b"this is not the version line\r\n").await.is_ok() {},
        Fault::Garbage => {
            let _ = socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            let _ = socket.write_all(&[0xff; 4096]).await;
            drain(socket).await;
        }
        Fault::StallKeyExchange => {
            let _ = socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            drain(socket).await;
        }
        _ => {
            if let Ok(running) = server::run_stream(config, socket, node).await {
                let _ = running.await;
            }
        }
    }
}

/// Says nothing until the client leaves.
async fn drain(mut socket: TcpStream) {
    let mut buffer = [0; 4096];
    while socket.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
}

/// The server's side of one connection.
#[derive(Clone)]
struct Node {
    /// How many connections were there before.
    number: usize,
    /// Channels that it forwards.
    forwarded: usize,
    fault: Fault,
    user_key: PublicKey,
    received: Arc<AtomicUsize>,
    channels: Arc<AtomicUsize>,
    let_in: Arc<AtomicUsize>,
    /// Standard input of the programs that run.
    programs: HashMap<ChannelId, mpsc::UnboundedSender<Vec<u8>>>,
}

impl server::Handler for Node {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        match self.fault {
            Fault::StallAuthentication => std::future::pending().await,
            Fault::DenyAuthentication => Ok(Auth::reject()),
            _ if key.public_key.key_data() == self.user_key.key_data() => Ok(Auth::Accept),
            _ => Ok(Auth::reject()),
        }
    }

    async fn channel_open_session(&mut self, _: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        match self.fault {
            Fault::RefuseChannel => {}
            // A reply that is dropped is a refusal.
            Fault::StallChannel => std::mem::forget(reply),
            _ => {
                self.channels.fetch_add(1, Ordering::Relaxed);
                reply.accept().await;
            }
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.fault {
            Fault::ForwardsNothing => reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await,
            Fault::ForwardsAtMost(n) if self.forwarded >= n => reply.reject(ChannelOpenFailure::ResourceShortage).await,
            Fault::LeavesAfter(n) if self.forwarded >= n && self.number == 0 => return Err(russh::Error::Disconnect),
            _ => {
                self.forwarded += 1;
                let to = (host.to_string(), u16::try_from(port).unwrap_or(0));
                tokio::spawn(async move {
                    let Ok(mut socket) = TcpStream::connect(to).await else { return reply.reject(ChannelOpenFailure::ConnectFailed).await };
                    let _ = socket.set_nodelay(true);
                    reply.accept().await;
                    let _ = tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut socket).await;
                });
            }
        }
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let handle = session.handle();
        let (input, lines) = mpsc::unbounded_channel();
        if matches!(self.fault, Fault::Forged(_) | Fault::Says(_) | Fault::Repeats(_) | Fault::Trickle) {
            // Who only plays the program reads its arguments as input.
            let _ = input.send(arguments(command));
        }
        self.programs.insert(channel, input);
        match self.fault {
            Fault::StallExec => {}
            Fault::EndlessOutput => {
                tokio::spawn(async move { while handle.data(channel, vec![b'x'; 32 << 10]).await.is_ok() {} });
            }
            Fault::WrongNonce => {
                let line = format!("{} end\n", "0".repeat(32));
                tokio::spawn(async move { handle.data(channel, line.into_bytes()).await.is_ok() });
            }
            Fault::Forged(lie) => {
                tokio::spawn(forge(lie, lines, channel, handle));
            }
            Fault::Says(text) | Fault::Repeats(text) => {
                let times = if matches!(self.fault, Fault::Says(_)) { 1 } else { usize::MAX };
                tokio::spawn(say(text, times, lines, channel, handle));
            }
            Fault::EndlessErrors => {
                tokio::spawn(async move { while handle.extended_data(channel, 1, vec![b'x'; 32 << 10]).await.is_ok() {} });
            }
            Fault::Trickle => {
                tokio::spawn(trickle(lines, channel, handle));
            }
            Fault::OpensChannels => {
                let let_in = self.let_in.clone();
                tokio::spawn(async move {
                    loop {
                        let opened = [
                            handle.channel_open_agent().await.is_ok(),
                            handle.channel_open_session().await.is_ok(),
                            handle.channel_open_x11("localhost", 6000).await.is_ok(),
                            handle.channel_open_forwarded_tcpip("localhost", 22, "localhost", 22).await.is_ok(),
                            handle.channel_open_forwarded_streamlocal("/run/x").await.is_ok(),
                            handle.channel_open_direct_tcpip("localhost", 22, "localhost", 22).await.is_ok(),
                            handle.channel_open_direct_streamlocal("/run/x").await.is_ok(),
                        ];
                        let_in.fetch_add(opened.into_iter().filter(|o| *o).count(), Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                });
            }
            Fault::Disconnects(words) => session.disconnect(russh::Disconnect::ByApplication, words, "en")?,
            _ => {
                let command = String::from_utf8_lossy(command).into_owned();
                tokio::spawn(program(command, lines, channel, handle));
            }
        }
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        let before = self.received.fetch_add(data.len(), Ordering::Relaxed);
        if let Fault::ResetAfter(n) = self.fault
            && before + data.len() >= n
        {
            if let Some(input) = self.programs.remove(&channel) {
                let _ = input.send(data[..data.len().min(n.saturating_sub(before))].to_vec());
            }
            return Err(russh::Error::Disconnect);
        }
        let payload = data.windows(8).any(|w| w == b"\nreplace");
        if let Some(input) = self.programs.get(&channel) {
            let _ = input.send(data.to_vec());
        }
        if self.fault == Fault::ResetAfterPayload && payload {
            self.programs.clear();
            tokio::time::sleep(Duration::from_millis(300)).await;
            return Err(russh::Error::Disconnect);
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.programs.remove(&channel);
        Ok(())
    }
}

/// Runs a command as sshd does, with the channel as its three descriptors.
async fn program(command: String, mut input: mpsc::UnboundedReceiver<Vec<u8>>, channel: ChannelId, handle: Handle) {
    let spawned = Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn();
    let Ok(mut child) = spawned else { return };
    let mut stdin = child.stdin.take().expect("it was piped");
    let (mut stdout, mut stderr) = (child.stdout.take().expect("it was piped"), child.stderr.take().expect("it was piped"));
    tokio::spawn(async move {
        while let Some(bytes) = input.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    let errors = handle.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(n) = stderr.read(&mut buffer).await {
            if n == 0 || errors.extended_data(channel, 1, buffer[..n].to_vec()).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 32 << 10];
    while let Ok(n) = stdout.read(&mut buffer).await {
        if n == 0 || handle.data(channel, buffer[..n].to_vec()).await.is_err() {
            break;
        }
    }
    let status = child.wait().await.ok().and_then(|s| s.code()).unwrap_or(255);
    let _ = handle.exit_status_request(channel, u32::try_from(status).unwrap_or(255)).await;
    let _ = handle.eof(channel).await;
    let _ = handle.close(channel).await;
}

/// The lines of the first request, which are arguments of the program.
fn arguments(command: &[u8]) -> Vec<u8> {
    let command = String::from_utf8_lossy(command);
    let arguments = command.strip_prefix(regprov::node::command()).unwrap_or_default();
    arguments.split('\'').skip(1).step_by(2).fold(String::new(), |lines, line| lines + line + "\n").into_bytes()
}

/// The nonce: the first line of what comes.
async fn nonce(input: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> String {
    let first = input.recv().await.unwrap_or_default();
    String::from_utf8_lossy(&first).lines().next().unwrap_or_default().to_string()
}

/// Says a text, once or for ever.
async fn say(text: &'static str, times: usize, mut input: mpsc::UnboundedReceiver<Vec<u8>>, channel: ChannelId, handle: Handle) {
    let text = text.replace('@', &nonce(&mut input).await).into_bytes();
    let text = if times == 1 { text } else { text.repeat(1 + (16 << 10) / text.len()) };
    for _ in 0..times {
        if handle.data(channel, text.clone()).await.is_err() {
            break;
        }
    }
}

/// A good beginning, and then a byte a second.
async fn trickle(mut input: mpsc::UnboundedReceiver<Vec<u8>>, channel: ChannelId, handle: Handle) {
    let nonce = nonce(&mut input).await;
    for byte in format!("{nonce} tar\n").bytes().cycle() {
        if handle.data(channel, vec![byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A node that knows the protocol and lies: nothing is there, and afterwards everything was written, it says.
async fn forge(lie: &'static str, mut input: mpsc::UnboundedReceiver<Vec<u8>>, channel: ChannelId, handle: Handle) {
    let mut nonce = String::new();
    while let Some(bytes) = input.recv().await {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if nonce.is_empty() {
            nonce = text.lines().next().unwrap_or_default().to_string();
        }
        let replace = text.starts_with("lock ");
        if text.contains("observe\n") || replace {
            let dirs: String = text
                .lines()
                .filter_map(|l| l.strip_prefix("path "))
                .filter(|p| !p.rsplit('/').next().unwrap_or(p).contains(['*', '.']))
                .map(|p| format!("{nonce} l drwx------ 2 0 0 9 Nov 21 02:18 {p}\n"))
                .collect();
            let lie: String = lie.lines().filter(|_| replace).map(|l| format!("{nonce} {l}\n")).collect();
            let reply = format!("{nonce} l dr-xr-xr-x 9 0 0 0 Nov 21 02:41 /proc/self/\n{dirs}{lie}{nonce} tar\n{nonce} cat\n\n{nonce} end\n");
            let _ = handle.data(channel, reply.into_bytes()).await;
        }
    }
}
