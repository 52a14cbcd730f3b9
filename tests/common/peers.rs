//! Programs that tests talk to and that are no part of the repository: sshd, docker, skopeo, age and others.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

/// Where the program is. When it is nowhere: `None`, after saying so, and the test ends without a claim; with
/// `REGPROV_REQUIRE_PEERS` set (as `tests/run` does in CI) a panic, so that no test is skipped unseen.
///
/// Directories in `REGPROV_PEERS` come before `PATH`, and after it those that hold daemons.
#[track_caller]
pub(crate) fn need(program: &str) -> Option<PathBuf> {
    let listed = |name| std::env::var_os(name).unwrap_or_default();
    let daemons = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let dirs: Vec<PathBuf> = std::env::split_paths(&listed("REGPROV_PEERS")).chain(std::env::split_paths(&listed("PATH"))).chain(daemons).collect();
    look(program, &dirs, std::env::var_os("REGPROV_REQUIRE_PEERS").is_some_and(|v| !v.is_empty()))
}

/// The first file of that name that can be executed; what happens without one is said at [`need`].
#[track_caller]
pub(crate) fn look(program: &str, dirs: &[PathBuf], required: bool) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let found = dirs.iter().map(|d| d.join(program)).find(|p| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0));
    assert!(found.is_some() || !required, "needs {program}, and REGPROV_REQUIRE_PEERS is set");
    if found.is_none() {
        println!("skipped: needs {program}");
    }
    found
}
