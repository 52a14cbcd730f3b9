//! The node program on this machine, without SSH: for `connection: local`, and for tests and benchmarks of the program itself.

use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use zeroize::Zeroizing;

use super::clock::Clock;
use super::talk::{self, Piece, Purpose, Sink, Stream};
use super::{Complaints, Connector, Session, Trouble};
use crate::model::{Host, Stage};
use crate::node;
use crate::node::protocol::{Reply, ReplyReader};
use crate::node::run_as::RunAs;

/// How long a program that has said its last word may take to leave.
const CLOSE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);

/// What programs find their like by; nothing else of our environment reaches them.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the node program under a shell of this machine.
#[derive(Clone)]
pub struct Local {
    /// The login shell, with its arguments before `-c`: `["/bin/sh"]`, `["busybox", "sh"]`.
    pub shell: Vec<String>,
    /// What it is told to run.
    pub command: String,
    /// The name of the user who runs us.
    pub user: String,
}

impl Default for Local {
    /// The real command under /bin/sh.
    fn default() -> Self {
        Local { shell: vec!["/bin/sh".to_string()], command: node::command().to_string(), user: my_name() }
    }
}

/// The name of this process's user; the number, where it has none.
fn my_name() -> String {
    // SAFETY: it takes nothing and cannot fail.
    let uid = unsafe { libc::geteuid() };
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|l| {
        let mut fields = l.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_string())
    });
    name.unwrap_or_else(|| if uid == 0 { "root".to_string() } else { uid.to_string() })
}

/// One running program.
pub struct LocalSession {
    local: Local,
    running: Option<(Child, Output, Input)>,
    complaints: Complaints,
    purpose: Purpose,
}

/// What the program says.
struct Output {
    stdout: ChildStdout,
    stderr: ChildStderr,
    stderr_is_open: bool,
}

/// What the program is told; `None` once its input has ended.
struct Input(Option<ChildStdin>);

impl LocalSession {
    /// Uses it for this.
    #[must_use]
    pub fn used_for(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Ends the program that runs, if one does.
    async fn end(&mut self) {
        // It has said its last word, or sees its input end and leaves. Whoever does not leave is killed when the child is dropped.
        if let Some((mut child, output, input)) = self.running.take() {
            drop((output, input));
            let _ = tokio::time::timeout(CLOSE_DEADLINE, child.wait()).await;
        }
    }
}

impl Stream for Output {
    async fn next(&mut self) -> Piece {
        let (mut out, mut err) = (Zeroizing::new(vec![0; 16 << 10]), vec![0; 4 << 10]);
        loop {
            tokio::select! {
                n = self.stdout.read(&mut out) => return match n {
                    Ok(n) if n > 0 => {
                        out.truncate(n);
                        Piece::Out(out)
                    }
                    _ => self.last_words().await,
                },
                n = self.stderr.read(&mut err), if self.stderr_is_open => match n {
                    Ok(n) if n > 0 => {
                        err.truncate(n);
                        return Piece::Err(err);
                    }
                    _ => self.stderr_is_open = false,
                },
            }
        }
    }
}

impl Output {
    /// Standard output has ended; what stands in standard error still counts.
    async fn last_words(&mut self) -> Piece {
        let mut err = vec![0; 4 << 10];
        if self.stderr_is_open {
            match self.stderr.read(&mut err).await {
                Ok(n) if n > 0 => {
                    err.truncate(n);
                    return Piece::Err(err);
                }
                _ => self.stderr_is_open = false,
            }
        }
        Piece::End(None)
    }
}

impl Sink for Input {
    async fn send(&mut self, bytes: &[u8]) {
        if let Some(pipe) = &mut self.0 {
            let _ = pipe.write_all(bytes).await;
            let _ = pipe.flush().await;
        }
    }

    async fn finish(&mut self) {
        self.0 = None;
    }
}

impl Connector for Local {
    type Session = LocalSession;

    async fn connect(&self, _: &Host, _: &Arc<Clock>) -> Result<LocalSession, Trouble> {
        Ok(LocalSession { local: self.clone(), running: None, complaints: Complaints::default(), purpose: Purpose::default() })
    }

    fn login(&self, _: &Host) -> String {
        self.user.clone()
    }
}

impl Session for LocalSession {
    fn use_program(&mut self, program: node::Program) {
        self.purpose.program = program;
    }

    async fn start(&mut self, run_as: &RunAs) -> Result<(), Trouble> {
        self.end().await;
        let (program, arguments) = self.local.shell.split_first().ok_or_else(|| Trouble::new(Stage::Start, "no shell is named"))?;
        let way = run_as.command(self.purpose.program, self.purpose.gate.is_some());
        let own = *run_as == RunAs::Login && self.purpose.program == node::Program::Files;
        let text = if own { self.local.command.as_str() } else { way.as_ref() };
        let mut command = Command::new(program);
        // A group of its own: the program's watchdog ends its whole group.
        command.args(arguments).arg("-c").arg(text).process_group(0).kill_on_drop(true).env_clear().env("PATH", PATH);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| Trouble::new(Stage::Start, format!("{program}: {e}")))?;
        let input = Input(child.stdin.take());
        let streams = child.stdout.take().zip(child.stderr.take()).expect("they were piped three lines above");
        let output = Output { stdout: streams.0, stderr: streams.1, stderr_is_open: true };
        self.complaints = Complaints::default();
        // Whoever lets nobody in is not killed either: sudo logs a wrong password when its input ends.
        let (_, output, input) = self.running.insert((child, output, input));
        talk::enter(run_as, &self.purpose, output, input).await
    }

    async fn exchange(&mut self, request: Zeroizing<Vec<u8>>, last: bool, reader: &mut ReplyReader) -> Result<Reply, Trouble> {
        let (_, output, input) = self.running.as_mut().expect("start comes before exchange");
        talk::exchange(&request, last, reader, &mut self.complaints, output, input).await
    }

    async fn close(mut self) {
        self.end().await;
    }
}
