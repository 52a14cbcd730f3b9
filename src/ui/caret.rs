//! Keeps the terminal from echoing Ctrl-C as `^C` while bars are drawn: they leave the cursor at the end of a full line, so two
//! letters there push the bars down by a line, and the next drawing leaves the old one standing.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether we took the echo away.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the echo of control characters away until it is dropped. A process that is killed leaves that behind and no more: what is
/// typed is echoed all the same.
pub(super) struct Quiet;

impl Quiet {
    pub(super) fn new() -> Self {
        take();
        Quiet
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        give_back();
    }
}

/// See [`Quiet`].
pub(super) fn take() {
    let _ = change(|flags| if flags & libc::ECHOCTL == 0 || TAKEN.swap(true, Ordering::Relaxed) { flags } else { flags & !libc::ECHOCTL });
}

/// Undoes [`take`].
pub(super) fn give_back() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        let _ = change(|flags| flags | libc::ECHOCTL);
    }
}

/// Changes the local flags of the terminal at stderr. Not from the background, where a change of settings stops a process.
fn change(to: impl Fn(libc::tcflag_t) -> libc::tcflag_t) -> io::Result<()> {
    let stderr = io::stderr().as_raw_fd();
    // SAFETY: both take integers and touch no memory of ours.
    if unsafe { libc::tcgetpgrp(stderr) != libc::getpgrp() } {
        return Ok(());
    }
    // SAFETY: termios is a struct of integers, for which zeros are a value; tcgetattr overwrites it.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is that of stderr and the struct lives until it returns.
    if unsafe { libc::tcgetattr(stderr, &mut settings) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = to(settings.c_lflag);
    if flags == settings.c_lflag {
        return Ok(());
    }
    settings.c_lflag = flags;
    // SAFETY: as above.
    if unsafe { libc::tcsetattr(stderr, libc::TCSADRAIN, &settings) } != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
