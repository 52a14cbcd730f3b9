//! The tree of Debian sid that `tests/sid` makes, with consumers that the machine's own release lacks.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use super::peers::look;

/// The tree: `REGPROV_SID`, or where `tests/sid` puts it. `None`, after saying so, where there is none or a program is not in it; a
/// panic with `REGPROV_REQUIRE_SID` set, as `.ci/run --full` does.
#[track_caller]
pub(crate) fn tree(programs: &[&str]) -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let required = var("REGPROV_REQUIRE_SID").is_some();
    let cache = || var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    let tree = var("REGPROV_SID").or_else(|| Some(cache()?.join("regprov/sid"))).filter(|t| t.join("etc/debian_version").exists());
    assert!(tree.is_some() || !required, "needs the tree of Debian sid that tests/sid makes, and REGPROV_REQUIRE_SID is set");
    let Some(tree) = tree else {
        println!("skipped: needs the tree of Debian sid that tests/sid makes");
        return None;
    };
    programs.iter().all(|p| look(p, &[tree.join("usr/bin")], required).is_some()).then_some(tree)
}
