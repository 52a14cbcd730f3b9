//! `regprov render` in a work tree of git: nothing lies in the clear where git would take it. What else it does to files is in `tests/cli`.

#[path = "common/repository.rs"]
mod repository;

use std::fs;

use repository::Repo;

const INVENTORY: &str = "version: 1\nvault: vault.yml\ngroups:\n  gpu: {hosts: \"gpu[1-2]\", logins: [hub], targets: [docker, enroot]}\n";
const RENDER: &str = "render inventory.yml --target docker --target enroot -o";

#[test]
#[ignore = "needs git"]
fn nothing_lies_in_the_clear_where_git_takes_it() {
    let Some(repo) = Repo::new() else { return };
    repo.set("hub", "docker.io", "hunter2");
    repo.write("inventory.yml", INVENTORY);
    fs::create_dir_all(repo.path("deep/down")).unwrap();
    // What .gitignore says, the folder, and whether it is written.
    let cases = [
        ("", "out", false),
        ("", "deep/down/new/out", false),
        ("", "../beside", true),
        ("out/\n", "out", true),
        ("/out\n", "deep/out", false),
        ("out\n", "deep/out", true),
        // One file of many that git would take is enough.
        (".docker\n", "out", false),
        (".docker\n.credentials\n", "out", true),
        // Ignored, and taken all the same.
        ("out\n!out\n", "out", false),
    ];
    for (ignore, folder, written) in cases {
        repo.write(".gitignore", ignore);
        let (code, out, err) = repo.ours(&format!("{RENDER} {folder}"));
        let folder = repo.path(folder);
        assert_eq!((code, folder.exists()), if written { (0, true) } else { (2, false) }, "{ignore:?} {}: {out}{err}", folder.display());
        assert_eq!(err.contains("in the git work tree"), !written, "{err}");
        assert!(!err.contains("hunter2") && !repo.git("status --porcelain -uall").contains("gpu1"), "git sees what was rendered");
        let _ = fs::remove_dir_all(folder);
    }
    // The control: what git would take is seen, and sealed it may be.
    repo.write(".gitignore", "");
    let (code, _, err) = repo.ours(&format!("{RENDER} out --sealed age"));
    assert_eq!(code, 0, "{err}");
    assert!(repo.git("status --porcelain -uall").contains("out/gpu1/root/.docker/config.json.age"));
}

/// One file, named without a folder.
#[test]
#[ignore = "needs git"]
fn a_file_beside_the_inventory_is_asked_for_by_its_name() {
    let Some(repo) = Repo::new() else { return };
    repo.set("hub", "docker.io", "hunter2");
    repo.write("inventory.yml", "version: 1\nid: site\nvault: vault.yml\nkubernetes: {a: {context: prod, namespaces: [team-a], logins: [hub]}}\n");
    for (ignore, written) in [("", false), ("other.yml\n", false), ("x.yml\n", true)] {
        repo.write(".gitignore", ignore);
        let (code, out, err) = repo.ours("render inventory.yml --target kubernetes -o x.yml");
        assert_eq!((code, repo.path("x.yml").exists()), if written { (0, true) } else { (2, false) }, "{ignore:?}: {out}{err}");
    }
}

#[test]
#[ignore = "needs git"]
fn a_file_that_git_has_already_is_not_ignored() {
    let Some(repo) = Repo::new() else { return };
    repo.set("hub", "docker.io", "hunter2");
    repo.write("inventory.yml", INVENTORY);
    fs::create_dir_all(repo.path("out/gpu1/root/.docker")).unwrap();
    repo.write("out/gpu1/root/.docker/config.json", "{}\n");
    repo.commit("first");
    repo.write(".gitignore", "out/\n");
    let (code, _, err) = repo.ours(&format!("{RENDER} out --overwrite"));
    assert!(code == 2 && err.contains("in the git work tree"), "{code} {err}");
    assert_eq!(repo.read("out/gpu1/root/.docker/config.json"), "{}\n");
}
