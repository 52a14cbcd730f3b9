//! Vaults merged by git itself, through the driver that `regprov git-setup` installs.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

#[path = "common/repository.rs"]
mod repository;

use regprov::vault::edit;
use regprov::vault::identity;
use repository::Repo;

/// What somebody does to the vault.
#[derive(Clone, Copy)]
enum Edit {
    Set(&'static str, &'static str, &'static str),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    /// Another text in the place of one that is there.
    Text(&'static str, &'static str),
    /// Bob can open it from now on, or not any more; everything is sealed again.
    Bob(bool),
    /// Another vault.
    Id(&'static str),
    Bump,
}

use Edit::*;

/// Somebody else's key.
fn bob() -> &'static str {
    static BOB: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    BOB.get_or_init(|| identity::generate().1)
}

fn edit(repo: &Repo, edits: &[Edit]) {
    for edit in edits {
        match *edit {
            Set(login, registry, password) => repo.set(login, registry, password),
            Remove(login) => repo.change(|text| edit::remove_login("v", text, login).unwrap()),
            Rename(old, new) => repo.change(|text| edit::rename_login("v", text, old, new).unwrap()),
            Text(from, to) => {
                assert!(repo.read("vault.yml").contains(from), "{from:?}");
                repo.change(|text| text.replacen(from, to, 1));
            }
            Bob(true) => {
                repo.change(|text| text.replacen("logins:", &format!("  - {} # bob\nlogins:", bob()), 1));
                repo.seal_all();
            }
            Bob(false) => {
                repo.change(|text| text.replace(&format!("  - {} # bob\n", bob()), ""));
                repo.seal_all();
            }
            Id(id) => {
                let text = repo.read("vault.yml");
                let old = text.split("vault_id: ").nth(1).unwrap().lines().next().unwrap();
                repo.write("vault.yml", &text.replace(old, id));
            }
            Bump => repo.change(str::to_string),
        }
    }
}

/// What a merge comes to.
enum Want<'a> {
    /// Git commits it; these are the passwords.
    Clean(&'a [(&'a str, &'a str)]),
    /// Git stops; this is said, and the text holds so many conflicts.
    Stop(&'a [&'a str], usize),
}

/// A base, two branches and `git merge`. Returns the repository, with ours' text from before.
#[track_caller]
fn merge(base: &[Edit], ours: &[Edit], theirs: &[Edit], want: &Want<'_>) -> Option<(Repo, String)> {
    let repo = Repo::set_up()?;
    edit(&repo, base);
    repo.git("commit -q --no-verify --allow-empty -a -m base");
    repo.git("checkout -q -b topic");
    edit(&repo, theirs);
    repo.commit("theirs");
    let serial_of_theirs = repo.serial("vault.yml").unwrap();
    repo.git("checkout -q main");
    edit(&repo, ours);
    repo.commit("ours");
    let before = repo.read("vault.yml");
    let serial = repo.serial("vault.yml").unwrap().max(serial_of_theirs) + 1;
    let (code, out, err) = repo.try_git("merge --no-edit topic");
    let text = repo.read("vault.yml");
    assert!(!err.contains("hunter") && !out.contains("hunter"), "{out}{err}");
    match want {
        Want::Clean(passwords) => {
            assert_eq!(code, 0, "{out}{err}{text}");
            let want = passwords.iter().map(|(login, password)| (login.to_string(), password.to_string())).collect();
            assert_eq!(repo.passwords("vault.yml"), want);
            assert_eq!(repo.serial("vault.yml"), Some(serial));
            assert_eq!(repo.git("status --porcelain"), "");
            let (code, out, err) = repo.ours("vault check vault.yml --deep");
            assert_eq!((code, err.as_str()), (0, ""), "{out}{text}");
        }
        Want::Stop(said, conflicts) => {
            assert_eq!(code, 1, "{out}{err}{text}");
            said.iter().for_each(|said| assert!(err.contains(said), "{said:?} is not in {err}"));
            assert_eq!(repo.git("status --porcelain").lines().next(), Some("UU vault.yml"));
            assert!(text.contains(&format!("vault_serial: {serial}\n")), "{text}");
            assert_eq!((text.matches("<<<<<<< HEAD\n").count(), text.matches(">>>>>>> topic\n").count()), (*conflicts, *conflicts), "{text}");
        }
    }
    Some((repo, before))
}

const BOTH: [(&str, &str); 2] = [("hub", "hunter2"), ("ngc", "hunter3")];

#[test]
#[ignore = "needs git"]
fn what_does_not_meet_merges_by_itself() {
    let all = |more: &[(&'static str, &'static str)]| [&BOTH[..], more].concat();
    let quay = ("quay", "hunter4");
    // A name, what all have, what each side does, and the passwords that come of it.
    type Case<'a> = (&'a str, &'a [Edit], &'a [Edit], &'a [Edit], Vec<(&'a str, &'a str)>);
    let cases: [Case<'_>; 11] = [
        ("both add", &[], &[Set("quay", "quay.io", "hunter4")], &[Set("ghcr", "ghcr.io", "hunter5")], all(&[quay, ("ghcr", "hunter5")])),
        ("both add the same", &[], &[Set("quay", "quay.io", "hunter4"), Bump], &[Set("quay", "quay.io", "hunter4")], all(&[quay])),
        (
            "a password and an end",
            &[Text("    registry: nvcr.io\n", "    registry: nvcr.io\n    expires: 2027-01-01\n")],
            &[Set("ngc", "nvcr.io", "hunter6")],
            &[Text("2027-01-01", "2027-06-01")],
            vec![BOTH[0], ("ngc", "hunter6")],
        ),
        ("two passwords", &[], &[Set("ngc", "nvcr.io", "hunter6")], &[Set("hub", "docker.io", "hunter7")], vec![("hub", "hunter7"), ("ngc", "hunter6")]),
        ("removed, and nothing changed", &[], &[Bump], &[Remove("hub")], vec![BOTH[1]]),
        ("removed here and there", &[], &[Remove("ngc")], &[Remove("hub")], vec![]),
        ("another name", &[], &[Set("quay", "quay.io", "hunter4")], &[Rename("hub", "docker")], vec![("docker", "hunter2"), BOTH[1], quay]),
        ("serials alone", &[], &[Bump], &[Bump, Bump, Bump], all(&[])),
        (
            "comments",
            &[],
            &[Text("# ours\n", "# all of ours\n"), Text("  ngc:\n", "  # NVIDIA\n  ngc: # token\n")],
            &[Text("  hub:\n", "  # the hub\n  hub:\n")],
            all(&[]),
        ),
        (
            "a recipient more, and an end",
            &[],
            &[Bob(true)],
            &[Text("    registry: docker.io\n", "    registry: docker.io\n    expires: 2027-01-01\n")],
            all(&[]),
        ),
        (
            "a recipient less, and an end",
            &[Bob(true)],
            &[Text("    registry: docker.io\n", "    registry: docker.io\n    expires: 2027-01-01\n")],
            &[Bob(false)],
            all(&[]),
        ),
    ];
    for (name, base, ours, theirs, want) in cases {
        println!("{name}");
        let Some((repo, before)) = merge(base, ours, theirs, &Want::Clean(&want)) else { return };
        let text = repo.read("vault.yml");
        match name {
            "comments" => {
                let want = before.replace("  hub:\n", "  # the hub\n  hub:\n");
                assert_eq!(text.split("vault_serial").next(), want.split("vault_serial").next());
            }
            "a password and an end" => assert!(text.contains("expires: 2027-06-01\n"), "{text}"),
            "a recipient more, and an end" => assert!(text.contains("  - age1") && text.contains("# bob\n") && text.contains("expires: 2027-01-01"), "{text}"),
            _ => {}
        }
        // The other way round it is the same but for order.
        let Some((turned, _)) = merge(base, theirs, ours, &Want::Clean(&want)) else { return };
        assert_eq!((turned.passwords("vault.yml"), turned.serial("vault.yml")), (repo.passwords("vault.yml"), repo.serial("vault.yml")));
    }
}

#[test]
#[ignore = "needs git"]
fn what_meets_is_asked_for_by_its_login() {
    let sealed = "both sides sealed its password anew";
    // What each side does, what is said, and how many conflicts there are.
    type Case<'a> = (&'a [Edit], &'a [Edit], &'a [&'a str], usize);
    let cases: [Case<'_>; 6] = [
        (
            &[Set("ngc", "nvcr.io", "hunter6"), Set("hub", "docker.io", "hunter7")],
            &[Set("ngc", "nvcr.io", "hunter8")],
            &["vault.yml: login `ngc`: ", sealed],
            1,
        ),
        (&[Remove("ngc")], &[Set("ngc", "nvcr.io", "hunter8")], &["login `ngc`: ours removed it, theirs changed it"], 1),
        (&[Set("ngc", "nvcr.io", "hunter8")], &[Remove("ngc")], &["login `ngc`: theirs removed it, ours changed it"], 1),
        (&[Set("quay", "quay.io", "hunter4")], &[Set("quay", "quay.io", "hunter5")], &["login `quay`: both sides added it"], 1),
        (&[Id("v0000000000000001")], &[Id("v0000000000000002"), Bump], &["`vault_id`: these are two vaults"], 1),
        (&[Rename("ngc", "nvidia")], &[Set("ngc", "nvcr.io", "hunter8")], &["login `ngc`: ours removed it, theirs changed it"], 1),
    ];
    for (ours, theirs, said, conflicts) in cases {
        let Some((repo, _)) = merge(&[], ours, theirs, &Want::Stop(said, conflicts)) else { return };
        // Every reader says what it is.
        let (code, _, err) = repo.ours("vault list vault.yml");
        assert!(code == 5 && err.contains("an unresolved merge conflict (lines "), "{err}");
        // A side taken for each conflict makes a vault again, and the hook lets it pass; before that it does not.
        repo.git("add vault.yml");
        let (code, _, err) = repo.try_git("commit -q -m merged");
        assert!(code == 1 && err.contains("vault.yml:") && err.contains("an unresolved merge conflict"), "{err}");
        let text = repo.read("vault.yml");
        let (mut keep, mut resolved) = (true, String::new());
        for line in text.lines() {
            match line.split(' ').next() {
                Some("<<<<<<<") => {}
                Some("=======") => keep = false,
                Some(">>>>>>>") => keep = true,
                _ if keep => resolved.push_str(&format!("{line}\n")),
                _ => {}
            }
        }
        repo.write("vault.yml", &resolved);
        repo.git("add vault.yml");
        repo.git("commit -q -m merged");
        repo.passwords("vault.yml");
    }
}

#[test]
#[ignore = "needs git"]
fn a_seal_for_other_recipients_is_no_clean_merge() {
    let quay = Set("quay", "quay.io", "hunter4");
    for (base, ours, theirs, said) in [
        (&[][..], &[Bob(true)][..], &[quay][..], "`quay` is sealed for others than it lists now: `regprov vault rekey vault.yml && git add vault.yml`"),
        (&[], &[quay], &[Bob(true)], "`quay` is sealed for others"),
        (&[Bob(true)], &[Bob(false)], &[quay], "`quay` is sealed for others"),
        (&[Bob(true)], &[Set("a", "a.example", "hunter4"), quay], &[Bob(false)], "`a`, `quay` are sealed for others"),
    ] {
        let Some((repo, _)) = merge(base, ours, theirs, &Want::Stop(&["the recipients changed", said], 0)) else { return };
        // Merged all the same: it opens, and the hook names what is left to do.
        assert_eq!(repo.passwords("vault.yml")["quay"], "hunter4");
        repo.git("add vault.yml");
        let (code, _, err) = repo.try_git("commit -q -m merged");
        assert!(code == 1 && err.contains("the password of login `quay` is not sealed for"), "{err}");
        repo.seal_all();
        repo.git("add vault.yml");
        repo.git("commit -q -m merged");
    }
}

/// Seals that nobody touched keep their bytes, and so does everything else of ours.
#[test]
#[ignore = "needs git"]
fn unchanged_logins_keep_their_bytes() {
    let theirs = [Set("ngc", "nvcr.io", "hunter6")];
    let want = [("hub", "hunter2"), ("ngc", "hunter6"), ("quay", "hunter4")];
    let Some((repo, before)) = merge(&[], &[Set("quay", "quay.io", "hunter4")], &theirs, &Want::Clean(&want)) else { return };
    let after = repo.read("vault.yml");
    let theirs = repo.git("show topic:vault.yml");
    let block = |text: &str, login: &str| {
        let from = text.find(&format!("  {login}:\n")).unwrap();
        let rest = &text[from..];
        rest[..rest.find("-----END").unwrap()].to_string()
    };
    assert_eq!((block(&after, "hub"), block(&after, "quay"), block(&after, "ngc")), (block(&before, "hub"), block(&before, "quay"), block(&theirs, "ngc")));
    assert_ne!(block(&after, "ngc"), block(&before, "ngc"));
}

/// What the driver does and git alone does not.
#[test]
#[ignore = "needs git"]
fn without_the_driver_git_stops_at_two_additions() {
    let Some(repo) = Repo::set_up() else { return };
    repo.git("checkout -q -b topic");
    repo.set("ghcr", "ghcr.io", "hunter5");
    repo.commit("theirs");
    repo.git("checkout -q main");
    repo.set("quay", "quay.io", "hunter4");
    repo.commit("ours");
    assert_eq!(repo.ours("git-setup --undo").0, 0);
    repo.git("commit -q -a -m undone");
    let (code, ..) = repo.try_git("merge --no-edit topic");
    assert!(code == 1 && repo.read("vault.yml").matches("<<<<<<<").count() >= 1);
}

/// A clone whose regprov is gone: nothing of theirs is lost, and nothing is committed unseen.
#[test]
#[ignore = "needs git"]
fn without_regprov_the_driver_leaves_markers() {
    let Some(repo) = Repo::set_up() else { return };
    repo.git("checkout -q -b topic");
    repo.set("ngc", "nvcr.io", "hunter5");
    repo.commit("theirs");
    repo.git("checkout -q main");
    repo.set("ngc", "nvcr.io", "hunter4");
    repo.commit("ours");
    let own = env!("CARGO_BIN_EXE_regprov");
    for file in [".git/config", ".git/hooks/pre-commit"] {
        assert!(repo.read(file).contains(own), "{file}");
        repo.write(file, &repo.read(file).replace(own, "/none/regprov"));
    }
    let (code, _, err) = repo.try_git("merge --no-edit topic");
    assert!(code == 1 && err.contains("/none/regprov: not found"), "{err}");
    let text = repo.read("vault.yml");
    assert!(text.contains("<<<<<<< ours\n") && text.contains("\n>>>>>>> theirs\n"), "{text}");
    repo.git("add vault.yml");
    let (code, _, err) = repo.try_git("commit -q -m merged");
    assert!(code == 1 && err.contains("regprov is not here, and this hook checks vaults with it") && err.contains("--no-verify"), "{err}");
}

/// Git takes what it finds in the file of ours, also of a driver that was killed.
#[test]
#[ignore = "needs git"]
fn a_driver_that_is_killed_leaves_ours_whole() {
    let Some(repo) = Repo::set_up() else { return };
    let base = repo.read("vault.yml");
    repo.set("quay", "quay.io", "hunter4");
    let theirs = repo.read("vault.yml");
    repo.write("vault.yml", &base);
    repo.set("ghcr", "ghcr.io", "hunter5");
    let ours = repo.read("vault.yml");
    for (name, text) in [("base", &base), ("ours", &ours), ("theirs", &theirs)] {
        repo.write(name, text);
    }
    // No more than one block can be written: the signal for that ends it, or what it writes fails.
    let driver = format!("{} vault merge-driver base ours theirs vault.yml 7 a b c", env!("CARGO_BIN_EXE_regprov"));
    for (limit, is_merged) in [("trap '' XFSZ; ulimit -f 1; ", false), ("ulimit -f 1; ", false), ("", true)] {
        let (code, _, err) = repo.program(std::path::Path::new("/bin/sh"), &repo.work(), &["-c", &format!("{limit}exec {driver}")]);
        assert_eq!((code == 0, repo.read("ours") != ours), (is_merged, is_merged), "{limit}{err}");
    }
    assert_eq!(repo.passwords("ours").len(), 4);
}

#[test]
#[ignore = "needs git"]
fn rebase_and_cherry_pick_merge_by_login_too() {
    for line in ["rebase main", "cherry-pick main~..main"] {
        let Some(repo) = Repo::set_up() else { return };
        repo.git("checkout -q -b topic");
        repo.set("ghcr", "ghcr.io", "hunter5");
        repo.commit("theirs");
        repo.git("checkout -q main");
        repo.set("quay", "quay.io", "hunter4");
        repo.commit("ours");
        repo.git("checkout -q topic");
        repo.git(line);
        assert_eq!(repo.passwords("vault.yml").into_keys().collect::<Vec<_>>(), ["ghcr", "hub", "ngc", "quay"], "{line}");
        // Two changed it three times, and each merge is one more.
        assert_eq!(repo.serial("vault.yml"), Some(5), "{line}");
    }
}

/// Two branches that were merged into each other both ways have two common ancestors, of which git makes a base first.
#[test]
#[ignore = "needs git"]
fn branches_that_merged_each_other_merge_again() {
    let Some(repo) = Repo::set_up() else { return };
    repo.git("checkout -q -b topic");
    repo.set("ngc", "nvcr.io", "hunter5");
    repo.commit("theirs");
    repo.git("checkout -q main");
    repo.set("hub", "docker.io", "hunter4");
    repo.commit("ours");
    let (main, topic) = (repo.git("rev-parse main"), repo.git("rev-parse topic"));
    repo.git(&format!("merge -q --no-edit {}", topic.trim()));
    repo.git("checkout -q topic");
    repo.git(&format!("merge -q --no-edit {}", main.trim()));
    repo.set("quay", "quay.io", "hunter6");
    repo.commit("more-of-theirs");
    repo.git("checkout -q main");
    repo.set("ghcr", "ghcr.io", "hunter7");
    repo.commit("more-of-ours");
    assert_eq!(repo.git("merge-base --all main topic").lines().count(), 2);
    repo.git("merge -q --no-edit topic");
    let want = [("ghcr", "hunter7"), ("hub", "hunter4"), ("ngc", "hunter5"), ("quay", "hunter6")];
    assert_eq!(repo.passwords("vault.yml"), want.map(|(l, p)| (l.to_string(), p.to_string())).into());
}

#[test]
#[ignore = "needs git"]
fn an_inventory_with_logins_is_merged_too() {
    let Some(repo) = Repo::set_up() else { return };
    let inventory = format!("{}groups:\n  gpu:\n    hosts: gpu[1-4]\n    targets: [docker]\n", repo.read("vault.yml"));
    repo.write("inventory.yml", &inventory);
    assert!(repo.ours("git-setup").1.contains("inventory.yml"));
    repo.commit("inventory");
    repo.git("checkout -q -b topic");
    repo.write("inventory.yml", &inventory.replace("gpu[1-4]", "gpu[1-8]"));
    repo.commit("theirs");
    repo.git("checkout -q main");
    let ours = inventory
        .replace("targets: [docker]", "targets: [docker, enroot]")
        .replace("    registry: nvcr.io\n", "    registry: nvcr.io\n    expires: 2027-01-01\n");
    repo.write("inventory.yml", &ours);
    repo.commit("ours");
    repo.git("merge -q --no-edit topic");
    let serial = repo.serial("inventory.yml").unwrap();
    assert_eq!(repo.read("inventory.yml"), ours.replace("gpu[1-4]", "gpu[1-8]").replace(&format!("serial: {}", serial - 1), &format!("serial: {serial}")));
    assert_eq!(repo.passwords("inventory.yml").len(), 2);
    // Both change the hosts: their line alone is in conflict.
    repo.git("checkout -q -b other HEAD~");
    repo.write("inventory.yml", &repo.read("inventory.yml").replace("gpu[1-4]", "gpu[1-2]"));
    repo.commit("other");
    let (code, _, err) = repo.try_git("merge --no-edit main");
    assert!(code == 1 && err.contains("inventory.yml: `groups`, `gpu`, `hosts`: both sides changed it"), "{err}");
    assert!(
        repo.read("inventory.yml").contains("  gpu:\n<<<<<<< HEAD\n    hosts: gpu[1-2]\n=======\n    hosts: gpu[1-8]\n>>>>>>> main\n    targets:"),
        "{err}"
    );
    let (code, _, err) = repo.ours("hosts inventory.yml");
    assert!(code == 2 && err.contains("inventory.yml:") && err.contains("an unresolved merge conflict"), "{err}");
}

#[test]
#[ignore = "needs git"]
fn what_has_no_logins_to_tell_apart_stays_or_is_merged_by_lines() {
    let Some(repo) = Repo::set_up() else { return };
    repo.git("checkout -q -b topic");
    assert_eq!(repo.ours("vault encrypt vault.yml").0, 0);
    repo.commit("theirs");
    repo.git("checkout -q main");
    assert_eq!(repo.ours("vault encrypt vault.yml").0, 0);
    repo.commit("ours");
    let ours = repo.read("vault.yml");
    let (code, _, err) = repo.try_git("merge --no-edit topic");
    assert!(code == 1 && err.contains("vault.yml: encrypted as a whole, and both sides changed it; ours stays"), "{err}");
    assert_eq!(repo.read("vault.yml"), ours);

    let Some(repo) = Repo::set_up() else { return };
    repo.git("checkout -q -b topic");
    repo.write("vault.yml", &repo.read("vault.yml").replace("# ours", "# theirs"));
    repo.commit("theirs");
    repo.git("checkout -q main");
    let broken = repo.read("vault.yml").replace("vault_id", "hunter9: [\nvault_id");
    repo.write("vault.yml", &broken);
    repo.commit("ours");
    let (code, _, err) = repo.try_git("merge --no-edit topic");
    assert!(code == 1 && err.contains("cannot be merged by login (ours: it is not YAML), so it is merged by lines") && !err.contains("hunter"), "{err}");
    assert_eq!(repo.read("vault.yml"), broken.replace("# ours", "# theirs"));
}

/// A signature fits neither side's text any more: it is never merged, and always asked for.
#[test]
#[ignore = "needs git"]
fn signatures_are_not_merged() {
    let Some(repo) = Repo::set_up() else { return };
    repo.write("vault.yml.sig", "of the base\n");
    repo.commit("signed");
    for (branch, text) in [("topic", "of theirs\n"), ("main", "of ours\n")] {
        if branch == "topic" {
            repo.git("checkout -q -b topic");
        } else {
            repo.git("checkout -q main");
        }
        repo.set(branch, "quay.io", "hunter4");
        repo.write("vault.yml.sig", text);
        repo.commit(branch);
    }
    let (code, out, err) = repo.try_git("merge --no-edit topic");
    assert!(code == 1 && (out.clone() + &err).contains("vault.yml.sig"), "{out}{err}");
    assert_eq!((repo.read("vault.yml.sig").as_str(), repo.git("diff --name-only --diff-filter=U").as_str()), ("of ours\n", "vault.yml.sig\n"));
    assert_eq!(repo.passwords("vault.yml").len(), 4);
}
