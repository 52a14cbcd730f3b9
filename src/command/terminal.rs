//! Questions to a person while a run goes on: what a bastion asks for. They can be given up at any moment, and the terminal is
//! left as it was found.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex};

use tokio::io::unix::AsyncFd;
use zeroize::Zeroizing;

use crate::model::Secret;
use crate::transport::ssh::password::{Answer, Prompter};
use crate::ui;

/// The longest answer, in bytes; the terminal itself takes lines of 4,096.
const ANSWER_BYTES_MAX: usize = 4096;

/// How the terminal was before a question took its echo away.
static BEFORE: Mutex<Option<libc::termios>> = Mutex::new(None);

/// The controlling terminal.
#[derive(Default)]
pub struct Terminal {
    turn: tokio::sync::Mutex<()>,
}

impl Terminal {
    /// The terminal of this process, if it has one and a person types into it.
    pub fn of_process() -> Option<Arc<dyn Prompter>> {
        open().ok().filter(|_| io::stdin().is_terminal()).map(|_| Arc::new(Terminal::default()) as Arc<dyn Prompter>)
    }
}

impl Prompter for Terminal {
    fn ask(&self, prompt: String, echo: bool) -> Answer<'_> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            let _hidden = ui::progress::hide();
            read_line(&prompt, echo).await.ok().flatten()
        })
    }
}

/// Gives the terminal its echo back where a question was given up without that. The last thing that a process does.
pub fn restore() {
    let before = BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if let (Some(before), Ok(file)) = (before, open()) {
        // SAFETY: the descriptor is open and the struct lives until it returns.
        unsafe { libc::tcsetattr(file.as_raw_fd(), libc::TCSANOW, &before) };
    }
}

/// How a terminal is set.
pub struct Settings(libc::termios);

/// How the terminal of this process is set, if it has one.
pub fn settings() -> Option<Settings> {
    settings_of(&open().ok()?).ok().map(Settings)
}

fn settings_of(file: &File) -> io::Result<libc::termios> {
    // SAFETY: termios is a struct of integers, for which zeros are a value; tcgetattr overwrites it.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and the struct lives until it returns.
    match unsafe { libc::tcgetattr(file.as_raw_fd(), &mut settings) } {
        0 => Ok(settings),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Settings {
    /// Sets the terminal so again.
    pub fn put_back(&self) {
        if let Ok(file) = open() {
            // SAFETY: the descriptor is open and the struct lives until it returns.
            unsafe { libc::tcsetattr(file.as_raw_fd(), libc::TCSANOW, &self.0) };
        }
    }
}

/// A description of its own, so that not blocking is nobody else's concern.
fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY).open("/dev/tty")
}

/// Takes the terminal's echo away, if there is a terminal, until the result is dropped: before a question is shown, so that whoever
/// answers at once (or pastes) does not show the answer.
pub fn quiet() -> Option<Quiet> {
    silence(&open().ok()?, TypedAhead::Kept).ok()
}

/// What becomes of what was typed before the question.
#[derive(Clone, Copy)]
enum TypedAhead {
    /// It is the answer.
    Kept,
    /// It was meant for something else.
    Dropped,
}

/// Gives the echo back when it is dropped.
pub struct Quiet;

impl Drop for Quiet {
    fn drop(&mut self) {
        restore();
    }
}

fn silence(file: &File, typed_ahead: TypedAhead) -> io::Result<Quiet> {
    let mut settings = settings_of(file)?;
    BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(settings);
    settings.c_lflag &= !(libc::ECHO | libc::ECHOE | libc::ECHOK);
    settings.c_lflag |= libc::ECHONL | libc::ICANON | libc::ISIG;
    let when = match typed_ahead {
        TypedAhead::Kept => libc::TCSANOW,
        TypedAhead::Dropped => libc::TCSAFLUSH,
    };
    // SAFETY: as above.
    if unsafe { libc::tcsetattr(file.as_raw_fd(), when, &settings) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Quiet)
}

async fn read_line(prompt: &str, echo: bool) -> io::Result<Option<Secret>> {
    let mut file = open()?;
    let _quiet = if echo { None } else { Some(silence(&file, TypedAhead::Dropped)?) };
    file.write_all(prompt.as_bytes())?;
    // SAFETY: the file owns its descriptor and is neither closed nor exchanged while it is registered.
    let file = unsafe { AsyncFd::register(file) }?;
    let mut line = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX + 1));
    loop {
        let mut ready = file.readable().await?;
        let mut part = Zeroizing::new([0; 512]);
        let read = match ready.try_io(|inner| inner.get_ref().read(&mut part[..])) {
            Err(_would_block) => continue,
            Ok(read) => read?,
        };
        line.extend_from_slice(&part[..read]);
        if read == 0 || line.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        if let Some(text) = line.strip_suffix(b"\n") {
            return Ok(std::str::from_utf8(text).ok().map(|t| Secret::new(t.to_string())));
        }
    }
}
