//! `vault edit` without an editor: texts that are read back, changes that are written, and what two people do at once.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::command::console::testing::Scene;
use crate::command::vault::{RecipientSources, SetOptions, init, keygen, set};
use crate::model::{Expiry, Registry, Repository, Secret, Username};
use crate::vault::VaultDocument;
use draft::DraftLogin;

/// A vault with two logins, and an identity.
struct Site {
    dir: tempfile::TempDir,
    options: EditOptions,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (identity, vault) = (dir.path().join("identity.txt"), dir.path().join("vault.yml"));
        let mut scene = Scene::default();
        scene.run(|c| keygen(Some(&identity), None, c)).unwrap();
        let recipient = scene.out().trim().to_string();
        Scene::default().run(|c| init(&vault, &RecipientSources::keys([recipient]), c)).unwrap();
        let identities = IdentitySources { files: vec![identity], ..Default::default() };
        let site = Site { dir, options: EditOptions { vault, login: None, identities, audit_key: AuditKeySources::default() } };
        site.set("hub", "docker.io", "acme", "hunter2");
        site.set("ngc", "nvcr.io", "$oauthtoken", "hunter3");
        site
    }

    fn vault(&self) -> &Path {
        &self.options.vault
    }

    fn set(&self, login: &str, registry: &str, username: &str, password: &'static str) {
        let own = |s: &str| Some(s.to_string());
        let options = SetOptions { vault: self.vault().into(), login: login.into(), registry: own(registry), username: own(username), ..Default::default() };
        Scene { piped: Some(password), ..Scene::default() }.run(|c| set(&options, c)).unwrap();
    }

    fn open(&self) -> Session<'_> {
        Scene::default().run(|c| Session::open(&self.options, c)).unwrap()
    }

    /// The passwords by their logins.
    fn passwords(&self) -> Vec<(String, String)> {
        let password = |l: &DraftLogin| draft::exposed(&l.password).unwrap_or_default().to_string();
        self.open().base.logins.iter().map(|l| (l.name.clone(), password(l))).collect()
    }
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

#[track_caller]
fn done(next: Result<Next>) -> String {
    match next.unwrap() {
        Next::Done(notes) => notes.join("\n"),
        Next::Again { problems, .. } => panic!("again: {problems:?}"),
        Next::Merged { problems, .. } => panic!("merged: {problems:?}"),
    }
}

#[test]
fn what_two_change_at_once_is_lost_to_neither() {
    let site = Site::new();
    // Different logins: both changes stand, and what was not changed keeps its seal.
    let mut session = site.open();
    let text = session.base.text(&[]).replace("hunter2", "mine");
    site.set("ngc", "nvcr.io", "$oauthtoken", "theirs");
    let theirs = fs::read_to_string(site.vault()).unwrap();
    assert!(done(session.look(&text)).contains("changed `hub`"));
    assert_eq!(site.passwords(), pairs(&[("hub", "mine"), ("ngc", "theirs")]));
    let seal = |text: &str| text[text.find("  ngc:").unwrap()..].split("\nvault_id").next().unwrap().to_string();
    assert_eq!(seal(&fs::read_to_string(site.vault()).unwrap()), seal(&theirs));

    // The same login: nothing is written before somebody has seen both.
    let mut session = site.open();
    let text = session.base.text(&[]).replace("mine", "mine-2");
    site.set("hub", "docker.io", "acme", "theirs-2");
    site.set("quay", "quay.io", "bob", "new");
    let before = fs::read_to_string(site.vault()).unwrap();
    let Next::Merged { text, problems } = session.look(&text).unwrap() else { panic!("it is no conflict") };
    assert_eq!(fs::read_to_string(site.vault()).unwrap(), before);
    let told = format!("{problems:?}");
    assert!(told.contains("login `hub`") && !told.contains("quay") && !told.contains("mine"), "{told}");
    assert!(text.contains("mine-2") && text.contains("  quay:") && !text.contains("theirs-2"));
    assert!(done(session.look(&text)).contains("changed `hub`"));
    assert_eq!(site.passwords(), pairs(&[("hub", "mine-2"), ("ngc", "theirs"), ("quay", "new")]));

    // A login that is gone comes back where it was edited, after a look.
    let mut session = site.open();
    let text = session.base.text(&[]).replace("mine-2", "mine-3");
    let vault = VaultFile::read(site.vault(), "").unwrap();
    vault.write(&crate::vault::edit::remove_login("v", vault.text(), "hub").unwrap()).unwrap();
    let Next::Merged { text, .. } = session.look(&text).unwrap() else { panic!("it is no conflict") };
    assert!(done(session.look(&text)).contains("added `hub`"));
    assert_eq!(site.passwords(), pairs(&[("ngc", "theirs"), ("quay", "new"), ("hub", "mine-3")]));
}

#[test]
fn what_cannot_be_written_is_opened_again() {
    let site = Site::new();
    let mut session = site.open();
    let text = session.base.text(&[]).replace("hunter2", "mine");
    fs::rename(site.vault(), site.dir.path().join("away")).unwrap();
    let Next::Again { text: again, problems } = session.look(&text).unwrap() else { panic!("it was written") };
    assert_eq!(*again, *text);
    assert!(problems[0].message.contains("there is no such file"), "{problems:?}");
    fs::rename(site.dir.path().join("away"), site.vault()).unwrap();
    assert!(done(session.look(&again)).contains("changed `hub`"));
}

#[test]
fn a_fingerprint_goes_with_its_password_and_with_nothing_else() {
    let mut site = Site::new();
    let file = site.dir.path().join("audit-key.txt");
    Scene::default().run(|c| crate::command::audit::audit_key(Some(&file), None, c)).unwrap();
    let key = AuditKeySources { file: Some(file), ..AuditKeySources::default() };
    Scene::default().run(|c| crate::command::audit::fingerprint(site.vault(), &key, &site.options.identities, c)).unwrap();
    let fingerprints = |site: &Site| -> Vec<Option<String>> {
        let vault = VaultFile::read(site.vault(), "").unwrap();
        ["hub", "ngc"].map(|name| vault.document.login(name).unwrap().fingerprint.clone()).into()
    };
    let edit = |site: &Site, from: &str, to: &str| {
        let mut session = site.open();
        let text = session.base.text(&[]).replace(from, to);
        done(session.look(&text))
    };
    let before = fingerprints(&site);
    assert!(before.iter().all(Option::is_some));
    // What it is not made of.
    edit(&site, "    username: acme\n", "    username: acme\n    expires: 2099-01-01\n    auth_hosts: [a.example]\n");
    assert_eq!(fingerprints(&site), before);
    let told = edit(&site, "hunter2", "hunter4");
    assert!(told.contains("fingerprint of `hub` was that of the old password"), "{told}");
    assert_eq!(fingerprints(&site), [None, before[1].clone()]);
    site.options.audit_key = key;
    let told = edit(&site, "hunter3", "hunter5");
    assert!(!told.contains("note"), "{told}");
    let after = fingerprints(&site);
    assert!(after[0].is_none() && after[1].is_some() && after[1] != before[1]);
}

#[test]
fn a_login_under_rotation_keeps_both_its_passwords() {
    let site = Site::new();
    let vault = VaultFile::read(site.vault(), "").unwrap();
    let seal = vault.document.login("hub").unwrap().password.clone().unwrap();
    let block: String = seal.lines().map(|line| format!("        {line}\n")).collect();
    let text = vault.text().replacen(
        "    registry: docker.io\n",
        &format!("    registry: docker.io\n    previous:\n      username: acme\n      password: |\n{block}"),
        1,
    );
    vault.write(&text).unwrap();
    let mut session = site.open();
    let text = session.base.text(&[]);
    assert!(!text.contains("previous"));
    let hub = text.find("  hub:").unwrap()..text.find("  ngc:").unwrap();
    let without = text.replace(&text[hub], "");
    let Next::Again { problems, .. } = session.look(&without).unwrap() else { panic!("it was taken out") };
    assert!(problems[0].message.contains("a rotation of login `hub` is under way"), "{problems:?}");
    let told = done(session.look(&text.replace("hunter2", "hunter4")));
    assert!(told.contains("its `previous` stays as it is"), "{told}");
    assert!(fs::read_to_string(site.vault()).unwrap().contains(&block));
}

#[test]
fn what_is_wrong_stands_above_the_text_with_the_lines_as_they_are_then() {
    let at = |line, message: &str| Problem { line, column: 3, hint: Some("a hint".into()), ..problem(message).remove(0) };
    let (text, line) = above("one\ntwo\n", &[at(0, "all of it"), at(2, "this")]);
    assert_eq!(*text, "#! all of it\n#!   hint: a hint\n#! line 6: this\n#!   hint: a hint\none\ntwo\n");
    assert_eq!(line, Some(6));
    // The next time they give way.
    let (text, line) = above(&text, &[at(6, "this")]);
    assert_eq!((&**text, line), ("#! line 4: this\n#!   hint: a hint\none\ntwo\n", Some(4)));
    assert_eq!(*above(&text, &problem("x\ny")).0, "#! x\n#! y\none\ntwo\n");
}

fn login(name: &str, username: &str, password: &str, more: bool) -> DraftLogin {
    DraftLogin {
        name: name.into(),
        registry: Registry::parse("registry.example:5000").unwrap().0,
        username: Username::parse(username).unwrap(),
        expires: more.then(|| Expiry::parse("2099-01-31").unwrap()),
        canary: more.then(|| Repository::parse("nvidia/cuda").unwrap()),
        auth_hosts: if more { vec!["a.example".into(), "b.example".into()] } else { Vec::new() },
        password: Some(Secret::new(password.to_string())),
    }
}

#[track_caller]
fn round_trips(draft: &Draft) {
    let text = draft.text(&["a word".into(), String::new()]);
    match read::read(&text, &Draft::default(), &VaultDocument::default(), None) {
        Edited::Draft(got, notes) => {
            assert!(notes.is_empty());
            assert!(Changes::between(draft, &got).is_empty(), "{}", *text);
        }
        Edited::GivenUp => panic!("given up: {}", *text),
        Edited::Wrong(problems) => panic!("{problems:?}: {}", *text),
    }
}

#[test]
fn odd_passwords_come_back() {
    for password in [
        "0123",
        "yes",
        "~",
        "''",
        "\"",
        "'a'b'",
        "a: b # c",
        " a ",
        "-",
        "- a",
        "{a",
        "*a",
        "!a",
        "%a",
        "\\n",
        "a\n",
        "\n",
        "\na",
        "a\n\nb",
        "a\r\nb",
        "a\tb",
        "a \nb",
        " a\nb",
        "a\n b\n",
        "{\n  \"type\": \"x\",\n\n  \"key\": \"-----BEGIN\\nEND\"\n}",
        "{\n}\n",
        "é日本",
        "\u{feff}a",
        "a\u{200b}b",
        "\u{a0}",
        "\u{85}",
        "\u{2028}",
        "\u{1f600}",
        "\u{fffe}",
        "\u{e0001}",
        "\x1b[2J",
        "\x7f",
        "# a",
        "#",
        "a #b",
        "---",
        "...",
        "--- a\n...",
        "a vim: set ts=3:",
    ] {
        for more in [false, true] {
            let logins = vec![login("a", "bob", password, more), login("0", "$x", password, false)];
            round_trips(&Draft { become_password: None, logins });
        }
    }
    round_trips(&Draft { become_password: Some(Secret::new("a 'b'".to_string())), logins: Vec::new() });
}

proptest! {
    #[test]
    fn any_password_and_any_username_come_back(password in "(?s)[^\0]{1,40}", username in "[^:\0\r\n]{1,12}", lines in "([ -~]{0,6}\n){1,4}[ -~]{0,3}") {
        round_trips(&Draft { become_password: None, logins: vec![login("a", &username, &password, true), login("b", "x", &lines, false)] });
    }
}
