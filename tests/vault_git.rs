//! Vaults in git, with git itself: what it shows and refuses, and how a clone is set up. What it merges is in `vault_merge.rs`.

#[path = "common/repository.rs"]
mod repository;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use regprov::vault::edit;
use repository::Repo;

#[test]
#[ignore = "needs git"]
fn two_revisions_are_compared() {
    let Some(repo) = Repo::new() else { return };
    repo.set("hub", "docker.io", "hunter2");
    repo.set("ngc", "nvcr.io", "hunter3");
    repo.commit("first");
    repo.forget_seals();
    repo.set("ngc", "nvcr.io", "hunter3");
    repo.set("quay", "quay.io", "hunter4");
    repo.change(|text| edit::remove_login("vault.yml", text, "hub").unwrap());
    repo.commit("second");
    let want = "removed  hub (docker.io, ci)\nchanged  ngc: password sealed anew\nadded    quay (quay.io, ci)\n";
    for line in ["vault diff HEAD~:vault.yml vault.yml", "vault diff HEAD~:./vault.yml :vault.yml", "vault diff HEAD~:vault.yml HEAD:vault.yml"] {
        assert_eq!(repo.ours(line), (0, want.into(), String::new()), "{line}");
        assert_eq!(repo.ours(&format!("{line} --detailed-exitcode")).0, 10);
    }
    let deep = repo.ours("vault diff HEAD~:vault.yml vault.yml --deep");
    assert_eq!(deep, (0, want.replace("anew", "anew: the same password"), String::new()));
    repo.set("ngc", "nvcr.io", "hunter5");
    assert_eq!(repo.ours("vault diff HEAD:vault.yml vault.yml --deep").1, "changed  ngc: password sealed anew: another password\n");
    let (code, out, err) = repo.ours("vault diff vault.yml vault.yml --detailed-exitcode");
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "the two are equal\n"));
    // A name that git does not know, and one that it might take for an option.
    let (code, out, err) = repo.ours("vault diff nope:vault.yml vault.yml");
    assert!(code == 2 && out.is_empty() && err.contains("nope:vault.yml is no file, and git has none"), "{err}");
    let (code, _, err) = repo.ours("vault diff -- --textconv:vault.yml vault.yml");
    assert!(code == 5 && err.contains("--textconv:vault.yml cannot be read"), "{err}");
}

/// Of what git shows of the vault no line is one of a seal, and no planted word is in it.
#[track_caller]
fn shows_no_value(repo: &Repo, line: &str) -> String {
    let (code, out, err) = repo.try_git(line);
    assert!(code == 0 && err.is_empty() && !out.is_empty(), "git {line}: {err}");
    assert!(!out.contains("hunter") && !out.contains("BEGIN AGE"), "git {line}:\n{out}");
    let seals = repo.read("vault.yml") + &repo.git("show HEAD:vault.yml");
    for line in seals.lines().map(str::trim).filter(|l| l.len() > 30 && !l.contains(['-', ':', ' '])) {
        assert!(!out.contains(line), "{out}");
    }
    out
}

#[test]
#[ignore = "needs git"]
fn git_shows_structure_and_marks() {
    let Some(repo) = Repo::set_up() else { return };
    repo.forget_seals();
    repo.set("ngc", "nvcr.io", "hunter4");
    repo.change(|text| text.replace("    registry: docker.io\n", "    registry: docker.io\n    expires: 2027-01-01\n"));
    // What somebody wrote by hand is not shown either.
    repo.change(|text| text.replacen("    username: ci\n", "    username: ci\n    # it was hunter9\n    pasword: hunter9\n", 1));
    let out = shows_no_value(&repo, "diff");
    let marks: Vec<&str> = out.lines().filter(|line| line.contains("sealed for 1 recipient, mark ")).collect();
    assert!(out.contains("+    expires: 2027-01-01\n") && out.contains("+    pasword: (not shown)\n") && out.contains("registry: nvcr.io"), "{out}");
    assert_eq!(marks.iter().filter(|line| line.starts_with(['-', '+'])).count(), 2, "{out}");
    repo.commit("second");
    for line in ["log -p", "show HEAD", "diff HEAD~ HEAD", "blame --textconv vault.yml", "grep --textconv registry HEAD -- vault.yml"] {
        shows_no_value(&repo, line);
    }
    // A vault that is none any more, and one that is encrypted as a whole.
    repo.write("vault.yml", "logins:\n  a: hunter2\n  b: [hunter2\n");
    let out = shows_no_value(&repo, "diff");
    assert!(out.contains("+the vault:") && out.contains("+(3 lines that are not shown"), "{out}");
    repo.git("checkout -q vault.yml");
    assert_eq!(repo.ours("vault encrypt vault.yml").0, 0);
    assert!(shows_no_value(&repo, "diff").contains("+encrypted as a whole, for 1 recipient, mark "));
    // The control: without the driver git shows the bytes.
    let (_, out, _) = repo.try_git("diff --no-textconv");
    assert!(out.contains("BEGIN AGE") && out.contains("hunter9"), "{out}");
}

/// However a file is written and whatever its names are: what a run would do otherwise is in the diff, and so is that something else changed.
#[test]
#[ignore = "needs git"]
fn no_change_of_what_a_run_does_is_hidden() {
    let Some(repo) = Repo::set_up() else { return };
    let rest = "defaults:\n  proxy_command: ssh -W %h:%p -o \"X=secret:1\" bastion\ngroups:\n  secret-nodes:\n    hosts: n1\n    logins: [token]\n    targets: [docker]\nhosts:\n  n1:\n    port: 22\nlogins:\n  # hunter2\n  token:\n    registry: quay.io\n    username: ci\n    password_command: [aws, ecr, get-login-password]\n";
    for version in ["version: 1\n", "? version\n: 1\n", "\"version\" : 1 # hunter2\r\n"] {
        let base = format!("{version}{rest}");
        repo.write("vault.yml", &base);
        repo.git("add vault.yml");
        let (code, out, err) = repo.ours("hosts vault.yml");
        assert!(code == 0 && out.contains("n1"), "{version}: {out}{err}");
        for (from, to, want) in [
            ("[aws, ecr, get-login-password]", "[sh, -c, \"touch PWNED; echo pw\"]", "+      - touch PWNED; echo pw\n"),
            ("    hosts: n1\n", "    hosts: n1\n    jump: evil@6.6.6.6\n", "+    jump: evil@6.6.6.6\n"),
            ("\" bastion", "\" evil; touch x", "+  proxy_command: ssh -W %h:%p -o \"X=secret:1\" evil; touch x\n"),
            ("    port: 22\n", "    port: 22\n    address: 6.6.6.6\n", "+    address: 6.6.6.6\n"),
            ("hosts:\n  n1", "become_passwrod: hunter2secret\nhosts:\n  n1", "+become_passwrod: (not shown)\n"),
            ("hosts:\n  n1", "foo: hunter2secret\nhosts:\n  n1", "+(unknown key): (not shown)\n"),
            ("hosts:\n  n1", "x: &p hunter2secret\nhosts:\n  n1", "an anchor: regprov reads none\n"),
            ("# hunter2\n  token", "# hunter3\n  token", "+whole text: mark "),
        ] {
            assert!(base.contains(from), "{from}");
            repo.write("vault.yml", &base.replacen(from, to, 1));
            let out = shows_no_value(&repo, "diff");
            assert!(out.contains(want), "{version}{to}:\n{out}");
        }
    }
}

#[test]
#[ignore = "needs git"]
fn commits_of_what_must_not_be_committed_are_refused() {
    let Some(repo) = Repo::set_up() else { return };
    let good = repo.read("vault.yml");
    let plain = good.replacen("    password: |", "    password: hunter5\n    canary: |", 1);
    let ours = good.lines().find_map(|line| line.strip_prefix("  - ")?.split(' ').next()).unwrap().to_string();
    // In two pieces, so that this file holds no key itself.
    let key = format!("# {}{}\n", "AGE-SECRET-", "KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0");
    let two = good.replacen("recipients:\n", &format!("recipients:\n  - {}\n", regprov::vault::identity::generate().1), 1);
    let other = "version: 1\nlogins:\n  hub: {registry: docker.io, username: ci, password: hunter5}\n";
    for (file, text, said) in [
        ("vault.yml", plain.as_str(), "vault.yml:9:5: the password of login `hub` stands in the clear"),
        ("vault.yml", &format!("{good}{key}"), "a secret key"),
        ("vault.yml", &format!("<<<<<<< HEAD\n{good}>>>>>>> x\n"), "vault.yml:1: an unresolved merge conflict"),
        ("vault.yml", &two, "the password of login `ngc` is not sealed for the 2 in `recipients`, but for 1"),
        ("vault.yml", &good.replace("vault_id", "logins"), "twice"),
        // What the list and the seals say, though the numbers fit.
        ("vault.yml", &good.replacen(&ours, &regprov::vault::identity::generate().1, 1), "but for 1, but other ones"),
        ("vault.yml", &good.replacen("logins:", "# hub: {password: hunter5}\nlogins:", 1), "a comment here holds what looks like a password"),
        ("vault.yml", &good.replacen("    username", "\tusername", 1), "a tab where YAML wants spaces"),
        // One that git was never told of: it looks like a vault, or like one that was decrypted.
        ("new.yml", &plain, "new.yml:9:5: the password of login `hub` stands in the clear"),
        ("decrypted.yaml", other, "decrypted.yaml:3:8: the password of login `hub` stands in the clear"),
    ] {
        repo.write(file, text);
        repo.git("add -A");
        let (code, out, err) = repo.try_git("commit -q -m no");
        assert!(code == 1 && err.contains(said) && err.contains("nothing was committed"), "{file}: {out}{err}");
        assert!(!err.contains("hunter") && !err.contains("KEY-1EGTZ"), "{err}");
        // What is staged counts, not what lies there.
        repo.write(file, &good);
        assert_eq!(repo.try_git("commit -q -m no").0, 1);
        repo.git("rm -q --cached -f -r .");
        repo.git("reset -q --hard");
    }
    // A marked vault that is no text, of which nothing can be said.
    fs::write(repo.path("vault.yml"), [0xff, 0xfe, b'h', 0, b'u', 0]).unwrap();
    let (code, _, err) = repo.try_git("commit -q -a -m no");
    assert!(code == 1 && err.contains("vault.yml is not text"), "{err}");
    repo.git("reset -q --hard");
    // As good as it was, from a subdirectory, and by name alone.
    fs::create_dir(repo.path("site a")).unwrap();
    repo.write("site a/vault.yml", &good);
    repo.set("quay", "quay.io", "hunter6");
    repo.git("add -A");
    repo.git("commit -q -m both");
    repo.write("site a/vault.yml", &plain);
    let (code, _, err) = repo.try_git("commit -q -a -m no");
    assert!(code == 1 && err.contains("site a/vault.yml:9:5: "), "{err}");
    repo.git("commit -q --no-verify -a -m yes");
    // Other files are nobody's business.
    repo.write("other.yml", "password: hunter7\n");
    repo.write("README.md", &plain);
    repo.git("add -A");
    repo.git("commit -q -m others");
}

#[test]
#[ignore = "needs git"]
fn a_vault_without_its_signature_is_told() {
    let Some(repo) = Repo::set_up() else { return };
    repo.write("vault.yml.sig", "one\n");
    repo.commit("signed");
    repo.set("quay", "quay.io", "hunter6");
    let (code, _, err) = repo.try_git("commit -q -a -m changed");
    assert!(code == 0 && err.contains("note: vault.yml is committed without vault.yml.sig"), "{err}");
    assert!(err.contains("sign it again with `regprov vault sign vault.yml`"), "{err}");
    repo.set("quay", "quay.io", "hunter7");
    repo.write("vault.yml.sig", "two\n");
    let (code, _, err) = repo.try_git("commit -q -a -m changed");
    assert_eq!((code, err.as_str()), (0, ""));
}

/// The hook is run for every commit: where there is nothing to look at it takes next to nothing.
#[test]
#[ignore = "needs git"]
fn the_hook_is_quick_where_there_is_no_vault() {
    let Some(repo) = Repo::set_up() else { return };
    for i in 0..200 {
        repo.write(&format!("file{i}.txt"), "text\n");
    }
    repo.git("add -A");
    let took = (0..5).map(|_| {
        let start = Instant::now();
        assert_eq!(repo.ours("vault pre-commit"), (0, String::new(), String::new()));
        start.elapsed()
    });
    // Below 50 ms on an idle machine; this one builds other things meanwhile.
    let least = took.min().unwrap();
    assert!(least < Duration::from_millis(250), "{least:?}");
}

#[test]
#[ignore = "needs git"]
fn a_clone_is_set_up_once_and_taken_back() {
    let Some(repo) = Repo::new() else { return };
    fs::create_dir(repo.path("site")).unwrap();
    repo.write("site/inventory.yml", &repo.read("vault.yml"));
    repo.write("other.yml", "a: 1\n");
    repo.write(".gitattributes", "*.sh text\n");
    let config = repo.read(".git/config");
    let hooks = || {
        let is_own = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().ends_with(".sample");
        fs::read_dir(repo.path(".git/hooks")).map(|dir| dir.filter(|entry| is_own(entry.as_ref().unwrap())).count()).unwrap_or(0)
    };
    // Asked only: nothing changes.
    let (code, out, _) = repo.ours("git-setup --check");
    assert!(code == 0 && out.contains("would change: .gitattributes, to be committed: site/inventory.yml, vault.yml\n"), "{out}");
    assert_eq!((repo.read(".git/config"), repo.read(".gitattributes").as_str(), hooks()), (config.clone(), "*.sh text\n", 0));
    // From a subdirectory.
    let (code, out, err) = repo.ours_in(&repo.path("site"), "git-setup");
    assert!(code == 0 && out.lines().count() == 7 && err.contains("each clone runs `regprov git-setup` once"), "{out}{err}");
    let attributes = repo.read(".gitattributes");
    let site = "/site/inventory.yml -text diff=regprov merge=regprov\n/site/inventory.yml.sig binary\n";
    assert!(attributes.contains(site) && !attributes.contains("other"), "{attributes}");
    assert_eq!(fs::metadata(repo.path(".git/hooks/pre-commit")).unwrap().permissions().mode() & 0o100, 0o100);
    assert_eq!(hooks(), 2);
    let after = repo.read(".git/config");
    // Again: nothing to do. With a further vault: its lines alone.
    let (code, out, _) = repo.ours("git-setup");
    assert_eq!((code, out.as_str(), repo.read(".git/config"), repo.read(".gitattributes")), (0, "nothing to do\n", after, attributes.clone()));
    fs::rename(repo.path("other.yml"), repo.path("a b.yml")).unwrap();
    assert!(repo.program(Path::new(env!("CARGO_BIN_EXE_regprov")), &repo.work(), &["git-setup", "a b.yml"]).1.contains("a b.yml"));
    assert_eq!(repo.git("check-attr diff -- a?b.yml"), "a?b.yml: diff: unspecified\n");
    assert!(repo.read(".gitattributes").ends_with("\"/a b.yml\" -text diff=regprov merge=regprov\n\"/a b.yml.sig\" binary\n"));
    // Back: exactly ours goes.
    let (code, ..) = repo.ours("git-setup --undo");
    assert_eq!((code, repo.read(".git/config"), repo.read(".gitattributes").as_str(), hooks()), (0, config, "*.sh text\n", 0));
    assert_eq!(repo.ours("git-setup --undo").1, "nothing to do\n");
    // A vault elsewhere, and no repository at all.
    fs::write(repo.beside("vault.yml"), repo.read("vault.yml")).unwrap();
    let (code, _, err) = repo.ours("git-setup ../vault.yml");
    assert!(code == 2 && err.contains("../vault.yml is no file of this work tree"), "{err}");
    let (code, _, err) = repo.ours_in(&repo.beside("home"), "git-setup");
    assert!(code == 2 && err.contains("this is no work tree of git"), "{err}");
}

#[test]
#[ignore = "needs git"]
fn hooks_of_others_stay_as_they_are() {
    let Some(repo) = Repo::new() else { return };
    let hook = repo.path(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
    let (code, out, err) = repo.ours("git-setup");
    assert!(code == 0 && err.contains("pre-commit is a hook of yours and stays as it is") && err.contains(" vault pre-commit || exit 1\n"), "{out}{err}");
    assert_eq!(fs::read_to_string(&hook).unwrap(), "#!/bin/sh\nexit 0\n");
    // Once the line is in it, nothing is told any more.
    let line = err.lines().find_map(|l| l.split("add this line to it: ").nth(1)).unwrap().to_string();
    fs::write(&hook, format!("#!/bin/sh\n{line}\nexit 0\n")).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!repo.ours("git-setup").2.contains("hook of yours"));
    repo.write("vault.yml", &repo.read("vault.yml").replace("logins: {}", "logins:\n  a: {registry: x.example, password: hunter2}"));
    repo.git("add -A");
    let (code, _, err) = repo.try_git("commit -q -m no");
    assert!(code == 1 && err.contains("vault.yml:6:6: the password of login `a` stands in the clear"), "{err}");
    let (code, _, err) = repo.ours("git-setup --undo");
    assert!(code == 0 && err.contains("take that line out") && fs::read_to_string(&hook).unwrap().contains(&line), "{err}");

    // A folder of hooks of this clone's own gets them, one for all clones does not.
    repo.git("config core.hooksPath my-hooks");
    assert_eq!(repo.ours("git-setup").0, 0);
    assert!(repo.path("my-hooks/pre-commit").exists() && repo.path("my-hooks/pre-merge-commit").exists());
    repo.ours("git-setup --undo");
    assert!(!repo.path("my-hooks/pre-commit").exists());
    repo.git("config --unset core.hooksPath");
    let shared = repo.beside("shared-hooks");
    repo.git(&format!("config --global core.hooksPath {}", shared.display()));
    let (code, _, err) = repo.ours("git-setup");
    assert!(code == 0 && !shared.exists() && err.contains("core.hooksPath leads to a folder of more than this clone"), "{err}");
}

#[test]
#[ignore = "needs git"]
fn a_linked_work_tree_is_part_of_its_clone() {
    let Some(repo) = Repo::set_up() else { return };
    let linked = repo.beside("linked");
    repo.git(&format!("worktree add -q -b topic {}", linked.display()));
    assert_eq!(repo.ours_in(&linked, "git-setup").1, "nothing to do\n");
    fs::write(linked.join("vault.yml"), fs::read_to_string(linked.join("vault.yml")).unwrap().replacen("    password: |", "    password: x\n    canary: |", 1))
        .unwrap();
    let git = |words: &str| repo.try_git(&format!("-C {} {words}", linked.display()));
    let (code, _, err) = git("commit -q -a -m no");
    assert!(code == 1 && err.contains("vault.yml:9:5: the password of login `hub` stands in the clear"), "{err}");
    assert!(git("diff HEAD").1.contains("password: in the clear (not shown)"));
    let (code, out, _) = repo.ours_in(&linked, "git-setup --undo");
    assert!(code == 0 && out.contains("pre-commit: taken away"), "{out}");
    assert_eq!(repo.ours("git-setup --check").1.matches("would change").count(), 6);
}

/// A vault whose name git could hand over as a flag.
#[test]
#[ignore = "needs git"]
fn a_name_that_begins_like_a_flag_is_a_name() {
    let Some(repo) = Repo::set_up() else { return };
    fs::copy(repo.path("vault.yml"), repo.path("-x.yml")).unwrap();
    let (code, _, err) = repo.ours("git-setup -- -x.yml");
    assert_eq!(code, 0, "{err}");
    repo.commit("named");
    let change = |from: &str, to: &str| repo.write("-x.yml", &repo.read("-x.yml").replacen(from, to, 1));
    repo.git("checkout -q -b topic");
    change("registry: nvcr.io\n", "registry: nvcr.io\n    expires: 2027-01-01\n");
    let diff = repo.git("diff");
    assert!(diff.contains("+    expires: 2027-01-01\n"), "{diff}");
    repo.commit("theirs");
    repo.git("checkout -q main");
    change("registry: docker.io\n", "registry: docker.io\n    expires: 2027-02-02\n");
    repo.commit("ours");
    repo.git("merge -q --no-edit topic");
    let merged = repo.read("-x.yml");
    assert!(merged.contains("expires: 2027-01-01") && merged.contains("expires: 2027-02-02") && !merged.contains("<<<<"), "{merged}");
}

#[test]
#[ignore = "needs git"]
fn a_marked_file_that_only_looks_encrypted_is_refused() {
    let Some(repo) = Repo::set_up() else { return };
    let plain = repo.read("vault.yml").replacen("    password: |", "    password: hunter5\n    canary: |", 1);
    for head in ["age-encryption.org/v1\n", "-----BEGIN AGE ENCRYPTED FILE-----\n"] {
        repo.write("vault.yml", &format!("{head}{plain}"));
        repo.git("add vault.yml");
        let (code, _, err) = repo.try_git("commit -q -m no");
        assert!(code == 1 && err.contains("vault.yml") && !err.contains("hunter5"), "{head}: {err}");
    }
    // The control: one that is.
    repo.git("checkout -q HEAD -- vault.yml");
    let (code, _, err) = repo.ours("vault encrypt vault.yml");
    assert_eq!(code, 0, "{err}");
    repo.git("add vault.yml");
    repo.git("commit -q -m whole");
}

#[test]
#[ignore = "needs git"]
fn line_ends_stay_as_they_were_signed() {
    let Some(repo) = Repo::set_up() else { return };
    repo.write("other.yml", "a: 1\n");
    fs::copy(repo.path("vault.yml"), repo.path("vault.yml.sig")).unwrap();
    repo.commit("all");
    repo.git("config core.autocrlf true");
    for file in ["vault.yml", "vault.yml.sig", "other.yml"] {
        fs::remove_file(repo.path(file)).unwrap();
    }
    repo.git("checkout -q -- .");
    assert!(!repo.read("vault.yml").contains('\r') && !repo.read("vault.yml.sig").contains('\r'));
    assert!(repo.read("other.yml").contains('\r'), "the control: git does change them");
}
