//! The finder of peers itself: a test that needs one must be able to trust it.

#[path = "common/peers.rs"]
mod peers;

use std::path::PathBuf;

#[test]
fn a_program_that_is_there_is_found() {
    assert!(peers::need("sh").unwrap().ends_with("sh"));
}

#[test]
fn what_cannot_be_executed_is_no_program() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sshd"), "text").unwrap();
    std::fs::create_dir(dir.path().join("docker")).unwrap();
    let dirs = [dir.path().to_path_buf(), PathBuf::from("/nonexistent")];
    assert_eq!((peers::look("sshd", &dirs, false), peers::look("docker", &dirs, false)), (None, None));
}

#[test]
#[should_panic = "needs sshd"]
fn a_missing_program_fails_where_peers_are_required() {
    peers::look("sshd", &[], true);
}
