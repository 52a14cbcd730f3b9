//! The quickstart example does what it says, as this user and as one without rights, within the time it promises.

#[path = "../examples/quickstart.rs"]
mod quickstart;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set for the process that is the quickstart itself.
const CHILD: &str = "REGPROV_TEST_QUICKSTART";
/// What the README promises.
const TIME_MAX: Duration = Duration::from_secs(10);
/// `nobody`, where there is one; a user id needs no entry in passwd.
const NOBODY: u32 = 65_534;

/// Runs `program` (this test) as the quickstart, with its folder below `tmp`, and returns what it printed.
#[track_caller]
fn tour(program: &Path, tmp: &Path, uid: Option<u32>) -> String {
    let mut command = Command::new(program);
    command.args(["--exact", "it_does_what_it_says", "--nocapture"]).env_clear().env(CHILD, "1").env("TMPDIR", tmp).current_dir(tmp);
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let start = Instant::now();
    let output = command.output().unwrap();
    assert!(start.elapsed() < TIME_MAX, "{:?}", start.elapsed());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The lines in this order, others between them.
#[track_caller]
fn has_in_order(text: &str, wanted: &[&str]) {
    let mut lines = text.lines();
    for want in wanted {
        assert!(lines.any(|l| l == *want), "`{want}` is missing, or not in its place, in:\n{text}");
    }
}

#[test]
fn it_does_what_it_says() {
    if std::env::var_os(CHILD).is_some() {
        return quickstart::run(false).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let text = tour(&std::env::current_exe().unwrap(), dir.path(), None);
    let apply = "$ regprov apply inventory.yml --ssh-key ssh_key --known-hosts known_hosts --identity identity.txt";
    has_in_order(
        &text,
        &[
            "$ regprov vault keygen -o identity.txt",
            "$ regprov vault set vault.yml ngc --registry nvcr.io --username '$oauthtoken' < ngc-token.txt",
            apply,
            "8 hosts: 8 changed",
            apply,
            "8 hosts: 8 unchanged",
            &format!("{apply} --check --diff --detailed-exitcode"),
            "would be changed: gpu5 (1)",
            "    ~ nvcr.io auth",
            "    ~ mode 0644 -> 0600",
            "8 hosts: 1 would be changed, 7 unchanged",
            "# Everything was as said. Look around:",
        ],
    );
    for secret in ["made-up-token", "AGE-SECRET-KEY", "OPENSSH PRIVATE", "bWFsbG9yeTpmb28="] {
        assert!(!text.contains(secret), "{secret} is printed");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the folder stays, and nothing else");
}

#[test]
fn it_needs_no_rights() {
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    // Who has no rights has shown it in the other test.
    if me != 0 {
        return;
    }
    // The build's folder may be closed to others.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("quickstart");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [dir.path(), &program] {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    has_in_order(&tour(&program, dir.path(), Some(NOBODY)), &["8 hosts: 8 changed", "8 hosts: 8 unchanged", "would be changed: gpu5 (1)"]);
}
