//! A test that needs a network and mounts of its own: it runs again in namespaces in which it may do what it likes.

// Each test binary takes what it needs; what a test says goes to whoever reads its output.
#![allow(dead_code, clippy::print_stdout)]

use std::process::Command;

use super::peers::need;

/// Whether this is the inside. Outside it runs the test of this name inside, demands that it succeeds, and says `false`.
/// Inside there is nothing but loopback, and mounts are seen by nobody else.
#[track_caller]
pub(crate) fn alone(test: &str) -> bool {
    if std::env::var_os("REGPROV_ALONE").is_some() {
        return true;
    }
    let (Some(unshare), Some(ip)) = (need("unshare"), need("ip")) else { return false };
    let script = "\"$0\" link set lo up && exec \"$@\"";
    let mut command = Command::new(unshare);
    command.args(["--user", "--map-root-user", "--net", "--mount", "--propagation", "private", "sh", "-c", script]).arg(ip);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--include-ignored", "--nocapture"]).env("REGPROV_ALONE", "1");
    let out = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
    // What it was tested with is worth telling.
    text.lines().filter(|line| line.starts_with("read by ")).for_each(|line| println!("{line}"));
    false
}

/// Mounts a file of this content over another one. Only for the inside.
pub(crate) fn cover(path: &str, content: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    assert!(Command::new("mount").arg("--bind").arg(file.path()).arg(path).status().unwrap().success());
}
