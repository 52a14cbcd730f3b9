//! What the process asks of the operating system: its memory is its own, and it may open files for many hosts.

use std::io;

/// Descriptors that are not connections: standard streams, the runtime, a file being read.
const OTHER_FILES: u64 = 24;

/// No core dumps, and (on Linux) no reading of this process's memory by other processes of the same user: RLIMIT_CORE 0 and
/// PR_SET_DUMPABLE 0. `main` calls this before anything secret is read. A failure is not a reason to stop, so it is told to
/// the caller, who may log it.
pub fn harden_process() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: setrlimit reads the struct behind the pointer, which lives until it returns.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) } != 0 {
        return Err(io::Error::last_os_error());
    }
    #[cfg(target_os = "linux")]
    {
        let off: libc::c_ulong = 0;
        // SAFETY: PR_SET_DUMPABLE takes one integer and touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, off, off, off, off) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// How many connections may be open at once: the limit of open files (RLIMIT_NOFILE), raised as far as it may be, less
/// what else is open. `files_each` is how many each connection takes.
pub fn connections_max(files_each: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes the struct behind the pointer, which lives until it returns.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return u64::MAX;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: setrlimit reads the struct behind the pointer, which lives until it returns.
    let limit = if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 { raised.rlim_cur } else { limit.rlim_cur };
    connections(limit, files_each)
}

/// How many connections fit into `files` open files.
fn connections(files: u64, files_each: u64) -> u64 {
    (files.saturating_sub(OTHER_FILES) / files_each).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_open_files() {
        for (files, each, want) in [(64, 1, 40), (64, 2, 20), (1024, 2, 500), (10, 1, 1), (25, 2, 1), (u64::MAX, 1, u64::MAX - 24)] {
            assert_eq!(connections(files, each), want, "{files} {each}");
        }
    }

    #[test]
    fn a_hardened_process_dumps_nothing() {
        harden_process().unwrap();
        let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        // SAFETY: getrlimit writes the struct behind the pointer, which lives until it returns.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &mut limit) }, 0);
        assert_eq!((limit.rlim_cur, limit.rlim_max), (0, 0));
        #[cfg(target_os = "linux")]
        // SAFETY: PR_GET_DUMPABLE takes no memory of ours.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }, 0);
    }
}
