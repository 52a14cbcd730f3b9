//! The editor as a child in the foreground, and the signals that come meanwhile.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::editor::Editor;
use crate::command::{program, terminal};
use crate::error::{Error, Result};
use crate::model::text::escape;

/// How long the editor may take to end when this process was told to; then it is killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a run of the editor ended.
pub(super) enum Ended {
    /// It said that all is well, after this time.
    Well(Duration),
    /// It failed or was killed; why.
    Badly(String),
    /// This process was told to end: the exit code that says by what.
    Told(u8),
}

/// The signals that are heard from now on instead of ending the process. From the moment on which something lies in the folder they must
/// be, so that it is wiped first.
pub(super) struct Signals {
    terminate: Signal,
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    pub(super) fn hear() -> Result<Self> {
        let hear = |kind| signal(kind).map_err(|e| Error::internal(format!("signals cannot be heard: {e}")));
        let (terminate, hangup) = (hear(SignalKind::terminate())?, hear(SignalKind::hangup())?);
        Ok(Signals { terminate, hangup, interrupt: hear(SignalKind::interrupt())?, quit: hear(SignalKind::quit())? })
    }

    /// The next signal that ends this process: its number. Those of the keyboard go to the editor, to which they mean something else.
    async fn end(&mut self) -> u8 {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return libc::SIGTERM as u8,
                _ = self.hangup.recv() => return libc::SIGHUP as u8,
                _ = self.interrupt.recv() => {}
                _ = self.quit.recv() => {}
            }
        }
    }

    /// What comes of something that a signal gives up, also one of the keyboard: the exit code that says so.
    pub(super) async fn or_end<T>(&mut self, work: impl Future<Output = T>) -> std::result::Result<T, u8> {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => Ok(done),
            _ = self.terminate.recv() => Err(143),
            _ = self.hangup.recv() => Err(129),
            _ = self.interrupt.recv() => Err(130),
            _ = self.quit.recv() => Err(131),
        }
    }
}

/// Runs the editor on a file in a folder and waits for it.
///
/// # Errors
/// It cannot be started.
pub(super) async fn run(editor: &Editor, folder: &Path, file: &Path, line: Option<u64>, signals: &mut Signals) -> Result<Ended> {
    let mut command = Command::new(&editor.argv[0]);
    command.args(&editor.argv[1..]).args(editor.arguments(file, line)).envs(editor.environment(folder));
    // Identities and the like are not for editors.
    program::keep_ours(command.as_std_mut());
    die_with_us(&mut command);
    let terminal = terminal::settings();
    let start = Instant::now();
    let mut child = command.spawn().map_err(|e| Error::usage(format!("the editor `{}` cannot be started: {e}", escape(&editor.argv[0]))))?;
    let ended = tokio::select! {
        status = child.wait() => status.map_err(|e| Error::internal(format!("the editor cannot be waited for: {e}")))?,
        number = signals.end() => {
            end(&mut child, number).await;
            terminal.iter().for_each(terminal::Settings::put_back);
            return Ok(Ended::Told(128 + number));
        }
    };
    if ended.success() {
        return Ok(Ended::Well(start.elapsed()));
    }
    // An editor that died has left the terminal as it was using it.
    terminal.iter().for_each(terminal::Settings::put_back);
    Ok(Ended::Badly(match (ended.code(), ended.signal()) {
        (Some(code), _) => format!("failed (exit status {code})"),
        (None, Some(number)) => format!("was killed by signal {number}"),
        (None, None) => "failed".to_string(),
    }))
}

/// Hands the signal on and waits a little; then the child is killed.
async fn end(child: &mut Child, number: u8) {
    if let Some(pid) = child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
        // SAFETY: kill takes two integers. The child was not waited for, so its number is still its own.
        unsafe {
            libc::kill(pid, libc::c_int::from(number));
            // One that was stopped hears nothing else.
            libc::kill(pid, libc::SIGCONT);
        }
    }
    if tokio::time::timeout(LAST_WORDS, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Lets the editor be told when this process is killed: nobody would wipe what it goes on to write.
fn die_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe and PR_SET_PDEATHSIG takes one integer.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGHUP as libc::c_ulong) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}
