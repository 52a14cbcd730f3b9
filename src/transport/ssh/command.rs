//! Proxy commands: a host reached through the standard streams of a program (ssh_config's ProxyCommand).

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::io_reason;
use super::patience::{Again, Patience, Setback};
use super::route::Endpoint;
use crate::model::Stage;
use crate::model::text::{NODE_TEXT_CHARS_MAX, sanitize};
use crate::transport::Trouble;

/// The open files that one takes: three pipes, and what tells its end.
pub const FILES_EACH: u64 = 4;
/// The most that is kept of what it says on standard error, in bytes: the end, where the reason stands.
const WORDS_BYTES_KEPT: usize = NODE_TEXT_CHARS_MAX;
/// How long a command that has closed its output may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// What the environment of a command never holds.
pub const NOT_FOR_OTHERS: &str = "REGPROV_IDENTITY";

/// The commands of a run; with this they end.
#[derive(Default)]
pub(super) struct Commands {
    running: Mutex<JoinSet<()>>,
}

/// How a command is doing.
#[derive(Clone, Default)]
struct State {
    words: Vec<u8>,
    /// `exit status: 1`, once it has ended.
    ended: Option<String>,
}

/// What a command said and how it ended, when it did.
pub(super) struct Said(watch::Receiver<State>);

/// The streams of a command. Dropped, its process group is killed.
pub(super) struct Pipes {
    input: ChildStdin,
    output: ChildStdout,
    /// What was read of the output already.
    first: Vec<u8>,
    _held: oneshot::Sender<()>,
}

impl Commands {
    /// Starts a command and waits until it says something.
    pub(super) async fn run(&self, line: &str, end: &Endpoint, patience: &Patience) -> Result<(Pipes, Said), Setback> {
        let line = expand(line, end).map_err(|why| Trouble::new(Stage::Connect, why))?;
        // Without its arguments, which may hold a password (`sshpass -p`).
        tracing::debug!(host = %end.name, program = line.split_whitespace().next(), "proxy command");
        let mut command = Command::new("/bin/sh");
        // As ssh does it (sshconnect.c ssh_proxy_connect): no shell stays between us and the program.
        command.arg("-c").arg(format!("exec {line}")).env_remove(NOT_FOR_OTHERS).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| Trouble::new(Stage::Connect, format!("the proxy command cannot be started: {}", io_reason(&e))))?;
        let (input, output) = (child.stdin.take().expect("it was piped"), child.stdout.take().expect("it was piped"));
        let (held, released) = oneshot::channel();
        let (sender, receiver) = watch::channel(State::default());
        let said = Said(receiver);
        {
            let mut running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            while running.try_join_next().is_some() {}
            running.spawn(look_after(Group(child), sender, released));
        }
        let mut pipes = Pipes { input, output, first: vec![0; 1 << 10], _held: held };
        let late = || Trouble::new(Stage::Connect, format!("the proxy command gave no answer within {} s", patience.total.as_secs()));
        let n = tokio::time::timeout(patience.left(), pipes.output.read(&mut pipes.first)).await.map_err(|_| late())?.unwrap_or(0);
        pipes.first.truncate(n);
        match n {
            0 => Err(said.explain(Trouble::new(Stage::Connect, "the proxy command closed its output").into()).await),
            _ => Ok((pipes, said)),
        }
    }
}

impl Said {
    /// Lets the command say why a connection over it failed.
    pub(super) async fn explain(mut self, setback: Setback) -> Setback {
        let ended = tokio::time::timeout(LAST_WORDS, self.0.wait_for(|state| state.ended.is_some())).await;
        let state = match ended {
            Ok(Ok(state)) => state.clone(),
            // It still runs: the failure is the host's.
            _ => return setback,
        };
        let words = String::from_utf8_lossy(&state.words).into_owned();
        let how = state.ended.unwrap_or_default();
        let said = if words.trim().is_empty() { String::new() } else { format!("; it said: {}", sanitize(words.trim())) };
        // ssh's words for a server that took the connection and closed it before its version line; nobody has tried to log in then.
        let again = words.contains("kex_exchange_identification: ").then_some(Again::Dropped);
        Setback { trouble: Trouble::new(setback.trouble.stage, format!("the proxy command ended ({how}){said}")), again }
    }
}

/// Keeps the end of what a command says, and ends it when nobody holds its streams any more.
async fn look_after(mut group: Group, state: watch::Sender<State>, released: oneshot::Receiver<()>) {
    let errors = group.0.stderr.take().expect("it was piped");
    let life = async {
        listen(errors, &state).await;
        let status = group.0.wait().await;
        state.send_modify(|s| s.ended = Some(status.map_or_else(|e| io_reason(&e), |s| s.to_string())));
    };
    tokio::select! {
        () = life => {}
        _ = released => {}
    }
}

async fn listen(mut errors: ChildStderr, state: &watch::Sender<State>) {
    let mut buffer = [0; 1 << 10];
    while let Ok(n) = errors.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        state.send_modify(|s| {
            s.words.extend_from_slice(&buffer[..n]);
            let surplus = s.words.len().saturating_sub(WORDS_BYTES_KEPT);
            s.words.drain(..surplus);
        });
    }
}

/// A command and what it started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Once it was waited for, its number may be somebody else's.
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // SAFETY: kill takes two numbers; the child was not waited for, so that the group is the one that was made for it.
            unsafe { libc::kill(-id, libc::SIGKILL) };
        }
    }
}

impl AsyncRead for Pipes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let n = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..n]);
            self.first.drain(..n);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(cx)
    }
}

/// Replaces `%h`, `%p`, `%r`, `%n` and `%%` (ssh_config(5), TOKENS); any other is an error, as it is for ssh. So are names that the
/// shell would take for more than names (ssh.c valid_hostname and valid_ruser, since 9.6).
fn expand(line: &str, end: &Endpoint) -> Result<String, String> {
    let port = end.address.port.to_string();
    let mut out = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let value = match rest.next() {
            Some('%') => "%",
            Some('h') => &end.address.host,
            Some('p') => &port,
            Some('r') => &end.user,
            Some('n') => &end.name,
            other => return Err(format!("the proxy command holds %{}, which is none of %h, %p, %r, %n and %%", other.map(String::from).unwrap_or_default())),
        };
        let harmless = |c: char| !c.is_whitespace() && !c.is_control() && !"'`\"$\\;&<>|(){}*?!#~".contains(c);
        if value.starts_with('-') || !value.chars().all(harmless) {
            return Err(format!("`{}` cannot stand in the proxy command: the shell would take it for more than a name", sanitize(value)));
        }
        out.push_str(value);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::known_hosts::KnownHosts;
    use super::*;
    use crate::model::Host;

    fn end(user: &str) -> Endpoint {
        let host = Host { address: Some("10.0.0.5".into()), port: Some(2222), user: Some(user.into()), ..Host::named("gpu1") };
        Endpoint::of(&host, Arc::default(), KnownHosts::default())
    }

    #[test]
    fn tokens_are_replaced_as_ssh_does() {
        for (line, user, want) in [
            ("ssh -W [%h]:%p %r@gw %n", "root", Ok("ssh -W [10.0.0.5]:2222 root@gw gpu1")),
            ("echo 100%% %%h", "root", Ok("echo 100% %h")),
            ("plain $HOME", "root", Ok("plain $HOME")),
            ("x %C", "root", Err("%C, which is none of")),
            ("x %", "root", Err("holds %,")),
            ("x %r", "a;reboot", Err("`a;reboot` cannot stand in")),
            ("x %r", "-oProxyCommand=x", Err("cannot stand in")),
            ("x %r", "DOM\\me", Err("cannot stand in")),
            ("x", "a;reboot", Ok("x")),
        ] {
            match (expand(line, &end(user)), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, _) => panic!("{line}: {got:?}"),
            }
        }
    }

    async fn failure(line: &str) -> (String, Option<Again>) {
        let commands = Commands::default();
        match commands.run(line, &end("root"), &Patience::new(Duration::from_secs(1))).await {
            Ok((_, said)) => {
                let setback = said.explain(Trouble::new(Stage::Handshake, "it broke").into()).await;
                (setback.trouble.reason, setback.again)
            }
            Err(setback) => (setback.trouble.reason, setback.again),
        }
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why() {
        let told = |line: &'static str| async move { failure(line).await.0 };
        assert_eq!(told("false").await, "the proxy command ended (exit status: 1)");
        assert_eq!(told("sh -c 'echo no way >&2; exit 3'").await, "the proxy command ended (exit status: 3); it said: no way");
        assert!(told("/nowhere/program").await.contains("not found"));
        assert_eq!(told("sleep 20").await, "the proxy command gave no answer within 1 s");
        assert_eq!(told("sh -c 'echo hello; exec sleep 20'").await, "it broke");
        let (_, again) = failure("sh -c 'echo kex_exchange_identification: Connection closed by remote host >&2; exit 255'").await;
        assert_eq!(again, Some(Again::Dropped));
        assert_eq!(failure("sh -c 'echo Permission denied >&2; exit 255'").await.1, None);
        // The end is kept, whatever came before.
        let long = told("sh -c 'yes x | head -c 100000 >&2; echo the reason >&2; exit 1'").await;
        assert!(long.ends_with("x x the reason") && long.len() < 400, "{long}");
    }

    #[tokio::test]
    async fn a_command_ends_with_its_streams_and_so_does_what_it_started() {
        let commands = Commands::default();
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let line = format!("sh -c 'sleep 60 & echo $$ $! >{}; echo hello; wait'", pids.display());
        let Ok((pipes, _)) = commands.run(&line, &end("root"), &Patience::new(Duration::from_secs(5))).await else { panic!("it did not start") };
        let pids = std::fs::read_to_string(pids).unwrap();
        let alive = || {
            let state = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            pids.split_whitespace().filter(|pid| !state(pid).is_empty() && !state(pid).contains(") Z")).count()
        };
        assert_eq!(alive(), 2);
        drop(pipes);
        let start = std::time::Instant::now();
        while alive() > 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "they still run");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
