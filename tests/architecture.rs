//! The tables in the crate docs (`src/lib.rs`) as tests: what a module uses the layering table allows, and what it allows is used;
//! what starts tasks is named as their owner. Beside them, who may print, who may exit, and who may name the libraries that are
//! kept behind one door.
//!
//! Test modules are exempt: by convention `#[cfg(test)] mod tests` ends its file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn modules_use_what_the_table_allows() {
    let table = table();
    let sources = sources();
    for (path, module, code) in &sources {
        let allowed = table.get(module).unwrap_or_else(|| panic!("src/{path}: `{module}` has no row in the table of src/lib.rs"));
        for used in uses(code) {
            assert!(used == *module || allowed.contains(&used), "src/{path}: `{module}` uses `{used}`, which the table of src/lib.rs does not allow");
        }
    }
    for (module, allowed) in &table {
        assert!(sources.iter().any(|(_, m, _)| m == module), "the table of src/lib.rs has a row for `{module}`, which is not there");
        let used: BTreeSet<String> = sources.iter().filter(|(_, m, _)| m == module).flat_map(|(_, _, code)| uses(code)).collect();
        let spare: Vec<&String> = allowed.difference(&used).collect();
        assert!(module == "command" || spare.is_empty(), "the table of src/lib.rs lets `{module}` use {spare:?}, which it does not");
    }
}

#[test]
fn tasks_stand_in_the_join_sets_of_the_table() {
    let sources = sources();
    for (path, _, code) in &sources {
        for word in ["tokio::spawn", "task::spawn", "spawn_blocking", "spawn_local", "thread::spawn", "thread::Builder"] {
            assert!(!holds(code, word), "src/{path} holds `{word}`: what it starts has no owner that ends it");
        }
    }
    let owners: BTreeSet<String> = sources.iter().filter(|(_, _, code)| holds(code, "JoinSet")).map(|(path, ..)| owner(path)).collect();
    let listed: BTreeSet<String> = rows("What goes on at once").iter().flat_map(|columns| backticked(&columns[1])).collect();
    assert_eq!(owners, listed, "the owners in the sources and those in the table of src/lib.rs");
}

/// How the table of tasks names a file: by itself in `transport`, elsewhere by its module.
fn owner(path: &str) -> String {
    if path.starts_with("transport/") { path.to_string() } else { path.split('/').next().unwrap().to_string() }
}

#[test]
fn only_the_terminal_s_owners_print() {
    only(&["ui", "command", "main"], &["println!", "eprintln!", "print!(", "eprint!("]);
}

#[test]
fn only_main_exits() {
    only(&["main"], &["process::exit", "process::abort"]);
}

#[test]
fn each_library_has_one_door() {
    only(&["vault"], &["age::", "age_core::"]);
    only(&["transport"], &["russh::"]);
    only(&["transport", "vault"], &["ssh_key::"]);
    only(&["registry"], &["reqwest::"]);
    only(&["registry", "kubernetes"], &["rustls::"]);
    only(&["kubernetes"], &["kube::", "k8s_openapi::"]);
}

/// Demands that only these modules hold any of the words, as words of their own.
#[track_caller]
fn only(modules: &[&str], words: &[&str]) {
    for (path, module, code) in sources() {
        for word in words {
            assert!(modules.contains(&module.as_str()) || !holds(&code, word), "src/{path} holds `{word}`; only {modules:?} may");
        }
    }
}

/// Whether `word` stands in `code`, not as the end of a longer name (`usage::` is not `age::`).
fn holds(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The names after `crate::` and `regprov::`, those in `crate::{a, b::c}` too.
fn uses(code: &str) -> BTreeSet<String> {
    let name = |s: &str| s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for root in ["crate::", "regprov::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                None => drop(found.insert(name(rest))),
                Some(group) => found.extend(first_names(group).iter().map(|n| name(n))),
            }
        }
    }
    found.retain(|n| !n.is_empty() && !n.starts_with(char::is_uppercase));
    found
}

/// The items of a `{...}` group at its own level, given what follows the brace.
fn first_names(group: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            c if depth == 0 => items.last_mut().expect("it is never empty").push(c),
            _ => {}
        }
    }
    items
}

/// The table: each module with the modules that it may use.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let mut table = BTreeMap::new();
    for columns in rows("The modules, and what each may use") {
        let mut allowed: BTreeSet<String> = backticked(&columns[1]).into_iter().collect();
        if columns[1].contains("all above") {
            allowed.extend(table.keys().cloned());
        }
        for module in backticked(&columns[0]) {
            table.insert(module, allowed.clone());
        }
    }
    assert!(table.len() > 10, "the table of src/lib.rs is not read any more");
    table
}

/// The rows of the table below a heading of the crate docs, by their columns.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let docs = fs::read_to_string(src().join("lib.rs")).unwrap();
    let (_, section) = docs.split_once(&format!("//! # {heading}\n")).unwrap_or_else(|| panic!("src/lib.rs has no heading \"{heading}\""));
    let section = section.lines().take_while(|l| l.starts_with("//!") && !l.starts_with("//! # "));
    section.filter_map(|l| l.strip_prefix("//! | ")).skip(1).map(|row| row.split('|').map(str::to_string).collect()).collect()
}

fn backticked(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

/// Every source file but lib.rs: its path below src, its module, its code without comments and test modules.
fn sources() -> Vec<(String, String, String)> {
    let mut files = Vec::new();
    walk(&src(), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| file.strip_prefix(src()).unwrap().to_str().unwrap().to_string())
        .filter(|path| path != "lib.rs" && !path.ends_with("/tests.rs") && !path.contains("/tests/"))
        .map(|path| {
            let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_string();
            let code = code(&fs::read_to_string(src().join(&path)).unwrap());
            (path, module, code)
        })
        .collect()
}

fn code(text: &str) -> String {
    let text = text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at]);
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn the_scanner_sees_what_it_should() {
    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        assert_eq!(uses(&code(text)).into_iter().collect::<Vec<_>>(), want, "{text}");
    }
    check("use crate::model::{Host, Target};", &["model"]);
    check("use crate::{\n    format::Merge,\n    model::{Host, Login},\n    push,\n};", &["format", "model", "push"]);
    check("fn f() -> crate::error::Result<()> { crate::push::x() }", &["error", "push"]);
    check("/// See [`crate::ui`].\n//! crate::ui\nlet a = 1;", &[]);
    check("use crate::model;\n#[cfg(test)]\nmod tests {\n    use crate::ui;\n}", &["model"]);
    check("use super::fold;", &[]);
    assert!(holds("let x = age::x25519::Identity::generate();", "age::") && !holds("Error::usage::x", "age::"));
}
