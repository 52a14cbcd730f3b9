//! The node program on this machine, without SSH: what tests and benchmarks of the program itself use.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::{Complaints, Connector, Session, Trouble, ended_early};
use crate::model::{Host, Stage};
use crate::node;
use crate::node::protocol::{Reply, ReplyReader};

/// How long a program that has said its last word may take to leave.
const CLOSE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs the node program under a shell of this machine.
#[derive(Clone)]
pub struct Local {
    /// The login shell, with its arguments before `-c`: `["/bin/sh"]`, `["busybox", "sh"]`.
    pub shell: Vec<String>,
    /// What it is told to run.
    pub command: String,
}

impl Default for Local {
    /// The real command under /bin/sh.
    fn default() -> Self {
        Local { shell: vec!["/bin/sh".to_string()], command: node::command().to_string() }
    }
}

/// One running program.
pub struct LocalSession {
    local: Local,
    child: Option<Child>,
}

impl Connector for Local {
    type Session = LocalSession;

    async fn connect(&self, _: &Host) -> Result<LocalSession, Trouble> {
        Ok(LocalSession { local: self.clone(), child: None })
    }
}

impl Session for LocalSession {
    async fn start(&mut self) -> Result<(), Trouble> {
        use std::process::Stdio;
        let (program, arguments) = self.local.shell.split_first().ok_or_else(|| Trouble::new(Stage::Start, "no shell is named"))?;
        let mut command = Command::new(program);
        // A group of its own: the program's watchdog ends its whole group.
        command.args(arguments).arg("-c").arg(&self.local.command).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.child = Some(command.spawn().map_err(|e| Trouble::new(Stage::Start, format!("{program}: {e}")))?);
        Ok(())
    }

    async fn exchange(&mut self, request: Zeroizing<Vec<u8>>, last: bool, reader: &mut ReplyReader) -> Result<Reply, Trouble> {
        let child = self.child.as_mut().expect("start comes before exchange");
        let mut stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.as_mut().expect("it was piped"), child.stderr.as_mut().expect("it was piped"));
        let write = async {
            if let Some(pipe) = &mut stdin {
                // A program that has ended says so through its output.
                let _ = pipe.write_all(&request).await;
                let _ = pipe.flush().await;
            }
            if last {
                stdin = None;
            }
            // The reader alone decides when the exchange is over: a program may answer without reading everything.
            std::future::pending::<()>().await;
        };
        let read = async {
            let (mut out, mut err) = (vec![0; 16 << 10], vec![0; 4 << 10]);
            let mut complaints = Complaints::default();
            let mut err_open = true;
            loop {
                tokio::select! {
                    n = stdout.read(&mut out) => match n {
                        Ok(n) if n > 0 => match reader.feed(&out[..n]) {
                            Ok(Some(reply)) => return Ok(reply),
                            Ok(None) => {}
                            Err(broken) => return Err(Trouble::new(Stage::Observe, broken.reason())),
                        },
                        _ => return Err(ended_early(reader, None, &complaints)),
                    },
                    n = stderr.read(&mut err), if err_open => match n {
                        Ok(n) if n > 0 => complaints.take(&err[..n])?,
                        _ => err_open = false,
                    },
                }
            }
        };
        let result = tokio::select! {
            result = read => result,
            () = write => unreachable!("the writer never ends"),
        };
        if !last && let Some(child) = self.child.as_mut() {
            child.stdin = stdin;
        }
        result
    }

    async fn close(mut self) {
        // The program has said its last word, or sees its input end and leaves.
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            // Whoever does not leave is killed when the child is dropped.
            let _ = tokio::time::timeout(CLOSE_DEADLINE, child.wait()).await;
        }
    }
}
