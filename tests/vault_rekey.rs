//! `vault rekey` and `vault check` through the program: several files at once, all or none.

#[path = "common/alone.rs"]
mod alone;
#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fleet::Site;

const VAULTS: [&str; 3] = ["one/vault.yml", "two/vault.yml", "three/vault.yml"];

/// Three folders with a vault of one login each, for the default identity; and another identity. Returns its recipient and ours.
fn site() -> (Site, String, String) {
    let site = Site { dir: tempfile::tempdir().unwrap() };
    for vault in VAULTS {
        fs::create_dir(site.path(vault).parent().unwrap()).unwrap();
        site.vault(vault, &[("ngc", "nvcr.io", "$oauthtoken", "hunter2")]);
    }
    let (key, recipient) = regprov::vault::identity::generate();
    fs::write(site.path("bob.txt"), key.as_bytes()).unwrap();
    fs::set_permissions(site.path("bob.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(site.path(VAULTS[0])).unwrap();
    let ours = text.lines().find_map(|l| l.strip_prefix("  - ")).unwrap().to_string();
    (site, recipient, ours)
}

fn texts(site: &Site) -> [String; 3] {
    VAULTS.map(|vault| fs::read_to_string(site.path(vault)).unwrap())
}

/// The files that lie in the vaults' folders.
fn names(site: &Site) -> Vec<String> {
    let mut names: Vec<String> =
        VAULTS.iter().flat_map(|vault| fs::read_dir(site.path(vault).parent().unwrap()).unwrap()).map(|e| e.unwrap().path().display().to_string()).collect();
    names.sort();
    names
}

fn rekey(site: &Site, more: &[&str]) -> fleet::Ran {
    site.run(&[&["vault", "rekey"], &VAULTS[..], more].concat())
}

fn check(site: &Site, more: &[&str]) -> fleet::Ran {
    site.run(&[&["vault", "check"], &VAULTS[..], more].concat())
}

#[test]
fn somebody_comes_and_somebody_goes() {
    let (site, bob, ours) = site();
    check(&site, &[]).ended(0, &["two/vault.yml: 1 login, 1 password sealed for 1 recipient\n"]);
    fs::write(site.path("team.txt"), format!("# bob\n{bob}\n")).unwrap();
    rekey(&site, &["-R", "team.txt"]).ended(0, &["one/vault.yml: 2 recipients (1 added, 0 removed); 1 sealed anew, 0 kept", &format!("  added   {bob}")]);
    assert!(texts(&site).iter().all(|text| text.contains(&format!("  - {bob} # from team.txt\n")) && text.contains("vault_serial: 3\n")));
    check(&site, &["--deep"]).ended(0, &["three/vault.yml: 1 login, 1 password sealed and opened for 2 recipients\n"]);
    site.run(&["vault", "get", VAULTS[1], "ngc", "--identity", "bob.txt"]).ended(0, &["hunter2"]);

    // Once more changes no byte, and asks for no identity.
    let before = texts(&site);
    fs::rename(site.path("home/.config"), site.path("home/.away")).unwrap();
    rekey(&site, &["--add", &bob]).ended(0, &["0 sealed anew, 1 kept"]);
    assert_eq!(texts(&site), before);
    fs::rename(site.path("home/.away"), site.path("home/.config")).unwrap();

    // Nobody takes out the last identity at hand, and what a mistake names is not there.
    rekey(&site, &["--remove", &ours]).ended(5, &["none of the identities given would open it any more"]);
    rekey(&site, &["--remove", &ours, "--remove", &bob]).ended(5, &["no recipient left"]);
    rekey(&site, &["--remove", "AGE-SECRET-KEY-1HUNTER"]).ended(2, &["--remove number 1 is no recipient of these vaults"]);
    rekey(&site, &["--remove", &bob[..11]]).ended(2, &["at least 12 characters"]);
    rekey(&site, &["--add", &bob, "--remove", &bob]).ended(2, &["both to be added and to be removed"]);
    assert_eq!(texts(&site), before);

    let ran = rekey(&site, &["--remove", &bob[..12]]).ended(0, &["1 recipient (0 added, 1 removed)", &format!("  removed {bob}")]);
    assert_eq!(ran.stdout, VAULTS.map(|vault| format!("{vault}: ngc: $oauthtoken at nvcr.io\n")).concat());
    assert!(ran.stderr.contains("change each at its registry"), "{}", ran.all());
    check(&site, &["--deep"]).ended(0, &[]);
    site.run(&["vault", "get", VAULTS[1], "ngc", "--identity", "bob.txt"]).ended(5, &["not sealed for any"]);
    // By a comment, as the list has it.
    rekey(&site, &["-R", "team.txt"]).ended(0, &[]);
    rekey(&site, &["--remove", "from team.txt"]).ended(0, &["1 removed"]);
}

#[test]
fn a_list_that_was_edited_by_hand_is_followed() {
    let (site, bob, ours) = site();
    let text = texts(&site)[1].replace(&format!("  - {ours}\n"), &format!("  - {ours}\n  - {bob} # bob\n"));
    fs::write(site.path(VAULTS[1]), text).unwrap();
    check(&site, &[]).ended(5, &["two/vault.yml:", "is not sealed for the 2 in `recipients`, but for 1", "`regprov vault rekey two/vault.yml`"]);
    rekey(&site, &[]).ended(0, &["one/vault.yml: 1 recipient; 0 sealed anew, 1 kept", "two/vault.yml: 2 recipients; 1 sealed anew, 0 kept"]);
    check(&site, &["--deep", "--identity", "bob.txt"]).ended(5, &["one/vault.yml:", "not sealed for any of the identities"]);
    check(&site, &["--deep"]).ended(0, &[]);
}

/// Who takes a line out by hand has passwords to change as well, and who adds one has none.
#[test]
fn who_was_taken_out_by_hand_could_read() {
    let (site, bob, ours) = site();
    let (mine, his) = (format!("  - {ours}\n"), format!("  - {bob}\n"));
    let edit = |from: &str, to: &str| {
        let text = texts(&site)[0].replace(from, to);
        fs::write(site.path(VAULTS[0]), text).unwrap();
        rekey(&site, &[])
    };
    let told = "one/vault.yml: ngc: $oauthtoken at nvcr.io\n";
    assert_eq!(edit(&mine, &(mine.clone() + &his)).ended(0, &["1 sealed anew"]).stdout, "");
    let ran = edit(&his, "").ended(0, &["sealed for somebody whom `recipients` did not name"]);
    assert_eq!(ran.stdout, told);
    assert_eq!(rekey(&site, &[]).ended(0, &["0 sealed anew"]).stdout, "");
    // One in the place of another, and one who is removed by a flag, who is told once.
    edit(&mine, &(mine.clone() + &his));
    let carol = format!("  - {}\n", regprov::vault::identity::generate().1);
    assert_eq!(edit(&his, &carol).ended(0, &["1 sealed anew"]).stdout, told);
    assert_eq!(rekey(&site, &["--remove", carol.trim_start_matches([' ', '-']).trim()]).ended(0, &[]).stdout, told);
}

/// The list is what the files say: no line of it steers a terminal, none counts twice, and no file is taken twice or through a link.
#[test]
fn files_and_lists_of_a_hostile_colleague() {
    let (site, bob, ours) = site();
    let before = texts(&site);
    std::os::unix::fs::symlink("vault.yml", site.path("one/link.yml")).unwrap();
    fs::hard_link(site.path(VAULTS[1]), site.path("two/again.yml")).unwrap();
    for (more, words) in [
        ("one/link.yml", "one/link.yml is a symbolic link"),
        ("two/again.yml", "two/again.yml is a file that is named before already"),
        ("one/../two/vault.yml", "is a file that is named before already"),
    ] {
        let code = if words.contains("link") { 5 } else { 2 };
        rekey(&site, &[more, "--add", &bob]).ended(code, &[words]);
        assert_eq!(texts(&site), before, "{more}");
    }
    let listed = |list: &str| fs::write(site.path(VAULTS[2]), before[2].replace(&format!("  - {ours}\n"), list)).unwrap();
    listed(&format!("  - {ours}\n  - {ours}\n"));
    check(&site, &[]).ended(5, &["three/vault.yml:4:5: this recipient stands twice"]);
    rekey(&site, &["--add", &bob]).ended(5, &["three/vault.yml: recipient 2 is the same key as recipient 1", "mend its `recipients` in an editor"]);
    listed(&format!("  - {ours}\n  - \"{bob}\\e[31m\\nx: y\"\n"));
    for ran in [check(&site, &[]), rekey(&site, &["--add", &bob])] {
        let ran = ran.ended(5, &["has several lines"]);
        assert!(!ran.all().contains('\u{1b}'), "{}", ran.all());
    }
    // A comment of an SSH key is not checked by anybody: it is quoted where it is written.
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";
    fs::write(site.path("key.pub"), format!("{key} ev\u{1b}[31mil\u{202e}\n")).unwrap();
    let ran = site.run(&["vault", "rekey", VAULTS[0], "-R", "key.pub"]).ended(0, &["1 added"]);
    let text = texts(&site)[0].clone();
    assert!(!format!("{}{text}", ran.all()).contains(['\u{1b}', '\u{202e}']) && text.contains(key), "{text}");
    site.run(&["vault", "check", VAULTS[0], "--deep"]).ended(0, &["for 2 recipients"]);

    // A seal from before somebody went, copied from git's history.
    fs::write(site.path(VAULTS[1]), &before[1]).unwrap();
    site.run(&["vault", "rekey", VAULTS[1], "--add", &bob, "--allow-rollback"]).ended(0, &[]);
    let with_bob = texts(&site)[1].clone();
    site.run(&["vault", "rekey", VAULTS[1], "--remove", &bob]).ended(0, &[]);
    let seal = |text: &str| text[text.find("-----BEGIN").unwrap()..text.find("-----END").unwrap()].to_string();
    let text = texts(&site)[1].clone();
    fs::write(site.path(VAULTS[1]), text.replace(&seal(&text), &seal(&with_bob))).unwrap();
    site.run(&["vault", "check", VAULTS[1]]).ended(5, &["is not sealed for the 1 in `recipients`, but for 2"]);
    let ran = site.run(&["vault", "rekey", VAULTS[1]]).ended(0, &["1 sealed anew"]);
    assert_eq!(ran.stdout, "two/vault.yml: ngc: $oauthtoken at nvcr.io\n");
}

#[test]
fn a_check_tells_all_at_once_and_no_value() {
    let (site, _, _) = site();
    let [one, two, _] = texts(&site);
    fs::write(site.path(VAULTS[0]), one.replace("    password: |\n", "    pasword: |\n")).unwrap();
    let plain = "  hub:\n    registry: docker.io\n    username: acme\n    password: hunter2\n# old: AGE-SECRET-KEY-1HUNTER2\nvault_id:";
    fs::write(site.path(VAULTS[1]), two.replace("vault_id:", plain)).unwrap();
    fs::write(site.path(VAULTS[2]), "<<<<<<< ours\nlogins: {}\n=======\nlogins: {a: b}\n>>>>>>> theirs\n").unwrap();
    let words = [
        "did you mean `password`?",
        "login `ngc` has no password",
        "login `hub` stands in the clear",
        "a secret key stands here",
        "an unresolved merge conflict",
    ];
    let ran = check(&site, &[]).ended(5, &words);
    assert!(ran.stdout.is_empty() && !ran.all().contains("hunter2") && !ran.all().contains("HUNTER2"), "{}", ran.all());

    // An inventory with logins in it is checked too, and a seal under another login is seen by whoever can open it.
    let moved = two.replace("version: 1\n", "version: 1\ngroups: {g: {hosts: a}}\n").replace("registry: nvcr.io", "registry: evil.example.org");
    fs::write(site.path("inventory.yml"), moved).unwrap();
    site.run(&["vault", "check", "inventory.yml"]).ended(0, &["1 password sealed for 1 recipient"]);
    site.run(&["vault", "check", "inventory.yml", "--deep"]).ended(5, &["was sealed for $oauthtoken at nvcr.io, not for $oauthtoken at evil.example.org"]);
}

/// What keeps the second of three files from being replaced: a mount on it, which shows when it is to be replaced and the first has been; and
/// a folder that cannot be written to, which shows before.
#[test]
#[ignore = "needs unshare and ip"]
fn when_one_file_cannot_be_written_all_are_as_they_were() {
    if !alone::alone("when_one_file_cannot_be_written_all_are_as_they_were") {
        return;
    }
    let (site, bob, _) = site();
    let (before, lying) = (texts(&site), names(&site));
    let mount = |args: &[&str]| assert!(Command::new("mount").args(args).current_dir(site.dir.path()).status().unwrap().success());
    let umount = |what: &str| assert!(Command::new("umount").arg(what).current_dir(site.dir.path()).status().unwrap().success());

    mount(&["--bind", VAULTS[1], VAULTS[1]]);
    rekey(&site, &["--add", &bob]).ended(5, &["two/vault.yml cannot be replaced"]);
    assert_eq!((texts(&site), names(&site)), (before.clone(), lying.clone()));
    umount(VAULTS[1]);

    mount(&["--bind", "two", "two"]);
    mount(&["-o", "remount,bind,ro", "two"]);
    rekey(&site, &["--add", &bob]).ended(5, &["two/vault.yml cannot be written beside"]);
    assert_eq!((texts(&site), names(&site)), (before.clone(), lying));
    umount("two");

    // The control: with nothing in the way all three change.
    rekey(&site, &["--add", &bob]).ended(0, &[]);
    assert!(texts(&site).iter().zip(before).all(|(now, before)| *now != before));
}
