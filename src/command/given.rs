//! What whoever started this process gave to it alone: an identity in the environment, and open descriptors. What it starts has neither.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};

/// The variable that holds the text of an identity file.
const IDENTITY: &CStr = c"REGPROV_IDENTITY";

/// What was given, since `main` began.
static GIVEN: OnceLock<Given> = OnceLock::new();

struct Given {
    identity: Option<Zeroizing<Vec<u8>>>,
    /// Descriptors above standard error that were open already, and nobody has claimed yet.
    descriptors: Mutex<BTreeSet<RawFd>>,
    stdin_is_taken: Mutex<bool>,
}

/// Takes the identity out of the environment, so that no child gets it and `/proc/PID/environ` does not show it any more, and notes which
/// descriptors are open. The first thing that `main` does; without it nothing was given.
///
/// # Safety
/// No other thread runs, and nothing that was read of the environment is in use.
pub unsafe fn take() {
    // SAFETY: as the caller promises; the name ends with a NUL byte.
    let value = unsafe { libc::getenv(IDENTITY.as_ptr()) };
    let identity = (!value.is_null()).then(|| {
        // SAFETY: getenv returned a string that ends with a NUL byte, and nobody changes it meanwhile.
        let length = unsafe { CStr::from_ptr(value) }.count_bytes();
        // SAFETY: so many bytes lie there. They are the kernel's copy on this process's own stack, which may be written, and nobody else
        // refers to them.
        let bytes = unsafe { std::slice::from_raw_parts_mut(value.cast::<u8>(), length) };
        let identity = Zeroizing::new(bytes.to_vec());
        bytes.zeroize();
        // SAFETY: as the caller promises.
        unsafe { libc::unsetenv(IDENTITY.as_ptr()) };
        identity
    });
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<RawFd> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The directory itself was one of them and is closed by now.
    let descriptors = open.into_iter().filter(|fd| *fd > libc::STDERR_FILENO && is_open(*fd)).collect();
    let _ = GIVEN.set(Given { identity, descriptors: Mutex::new(descriptors), stdin_is_taken: Mutex::new(false) });
}

/// The content of `REGPROV_IDENTITY`.
pub fn identity() -> Option<&'static [u8]> {
    GIVEN.get()?.identity.as_ref().map(|identity| identity.as_slice())
}

/// Whether standard input was claimed, and so holds nothing else.
pub fn stdin_is_taken() -> bool {
    GIVEN.get().is_some_and(|given| *given.stdin_is_taken.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes over a descriptor that this process was started with. No child gets it, and it is closed with the file that is returned.
///
/// # Errors
/// It was not open, was claimed already, or is no place to read a secret from: standard output and error, a terminal.
pub fn claim(number: RawFd) -> Result<File> {
    let absent = || {
        Error::usage(format!("descriptor {number} is not open"))
            .hint(format!("let your shell open it for this command: {number}< FILE, or {number}< <(COMMAND) in bash"))
    };
    let given = GIVEN.get().ok_or_else(absent)?;
    let file = match number {
        libc::STDIN_FILENO => {
            if std::mem::replace(&mut *given.stdin_is_taken.lock().unwrap_or_else(PoisonError::into_inner), true) {
                return Err(Error::usage("descriptor 0 is named twice"));
            }
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(|_| absent())?)
        }
        libc::STDOUT_FILENO | libc::STDERR_FILENO => return Err(Error::usage(format!("descriptor {number} is for what is told, and nothing is read from it"))),
        _ => {
            if !given.descriptors.lock().unwrap_or_else(PoisonError::into_inner).remove(&number) {
                return Err(absent());
            }
            // SAFETY: it was open when the process began, nobody in this process opened it, and it is handed out once.
            File::from(unsafe { OwnedFd::from_raw_fd(number) })
        }
    };
    // SAFETY: fcntl with this command takes integers, and the descriptor is open.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(Error::internal(format!("descriptor {number} cannot be kept from children: {}", io::Error::last_os_error())));
    }
    if file.is_terminal() {
        return Err(Error::usage(format!("descriptor {number} is a terminal, where what is typed would be seen")).hint("let it be a file or a pipe"));
    }
    Ok(file)
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: fcntl with this command takes integers.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}
