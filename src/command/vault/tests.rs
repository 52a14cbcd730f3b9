//! The verbs of `regprov vault`, in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::cli::VaultField;
use crate::command::console::testing::Scene;
use crate::command::identity::IdentitySources;
use crate::error::Kind;
use crate::vault::{SealedValue, identity, seal};

/// A folder with an identity, and a vault for it.
struct Site {
    dir: tempfile::TempDir,
    sources: IdentitySources,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = dir.path().join("conf/regprov/identity.txt");
        let mut scene = Scene::default();
        scene.run(|c| keygen(None, Some(&identity), c)).unwrap();
        let recipient = scene.out().trim().to_string();
        let site = Site { dir, sources: IdentitySources { default: Some(identity), ..Default::default() } };
        Scene::default().run(|c| init(&site.path("vault.yml"), &RecipientSources::keys([recipient]), c)).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn set(&self, login: &str, registry: Option<&str>, username: Option<&str>, password: &'static str) -> Result<()> {
        let own = |s: Option<&str>| s.map(str::to_string);
        let options = SetOptions { vault: self.path("vault.yml"), login: login.into(), registry: own(registry), username: own(username), ..Default::default() };
        Scene { piped: Some(password), ..Scene::default() }.run(|c| set(&options, c))
    }

    fn show(&self, reveal: bool) -> Result<String> {
        let mut scene = Scene { on_terminal: true, ..Scene::default() };
        scene.run(|c| show(&self.path("vault.yml"), reveal, &self.sources, c)).map(|()| scene.out().to_string())
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[track_caller]
fn refused<T>(result: Result<T>, kind: Kind, parts: &[&str]) {
    let Err(error) = result else { panic!("not refused") };
    let text = error.to_string();
    assert_eq!(error.kind, kind, "{text}");
    assert!(!text.contains("hunter2"), "a password in a message: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn keygen_writes_what_age_keygen_writes_for_its_owner_alone_and_once() {
    let site = Site::new();
    let path = site.sources.default.clone().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("# created: 20") && lines[1].starts_with("# public key: age1") && lines[2].starts_with("AGE-SECRET-KEY-1"), "{}", lines[0]);
    assert_eq!((lines.len(), mode(&path), mode(path.parent().unwrap())), (3, 0o600, 0o700));
    refused(Scene::default().run(|c| keygen(None, Some(&path), c)), Kind::Vault, &["exists already"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    refused(Scene::default().run(|c| keygen(None, None, c)), Kind::Usage, &["-o"]);
}

#[test]
fn keygen_to_stdout_is_not_for_terminals() {
    let mut scene = Scene::default();
    scene.run(|c| keygen(Some(Path::new("-")), None, c)).unwrap();
    assert!(scene.out().contains("\nAGE-SECRET-KEY-1") && scene.err().starts_with("Public key: age1"));
    let mut scene = Scene { on_terminal: true, ..Scene::default() };
    refused(scene.run(|c| keygen(Some(Path::new("-")), None, c)), Kind::Usage, &["terminal", "-o"]);
    assert_eq!(scene.out(), "");
}

#[test]
fn init_makes_a_vault_once() {
    let site = Site::new();
    let text = site.text("vault.yml");
    assert!(text.starts_with("version: 1\nrecipients:\n  - age1") && text.contains("\nlogins: {}\nvault_id: v"), "{text}");
    assert!(text.ends_with("\nvault_serial: 1\n"), "{text}");
    let again = |r: &[String]| Scene::default().run(|c| init(&site.path("vault.yml"), &RecipientSources::keys(r.to_vec()), c));
    refused(again(&[identity::generate().1]), Kind::Vault, &["exists already"]);
    refused(again(&["age1x".into(), "x".into()]), Kind::Vault, &["recipient 1 ", "recipient 2 "]);
    refused(again(&[]), Kind::Usage, &["needs a recipient"]);
    assert_eq!(site.text("vault.yml"), text);
}

#[test]
fn what_is_set_is_shown_and_opens() {
    let site = Site::new();
    site.set("ngc", Some("https://NVCR.io/"), Some("$oauthtoken"), "hunter2\n").unwrap();
    site.set("hub", Some("index.docker.io"), Some("acme"), "hunter3").unwrap();
    assert!(!site.text("vault.yml").contains("hunter"));
    let shown = site.show(false).unwrap();
    let table: Vec<Vec<&str>> = shown.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(table[1], ["hub", "docker.io", "acme", "-", "1"], "{shown}");
    assert_eq!(table[2], ["ngc", "nvcr.io", "$oauthtoken", "-", "1"], "{shown}");
    assert!(!shown.contains("hunter"));
    let revealed = site.show(true).unwrap();
    assert!(revealed.lines().any(|l| l.starts_with("ngc ") && l.ends_with(" hunter2")) && revealed.contains("hunter3"), "{revealed}");
}

#[test]
fn setting_again_takes_registry_and_username_from_the_file_and_touches_nothing_else() {
    let site = Site::new();
    site.set("ngc", Some("nvcr.io"), Some("$oauthtoken"), "old").unwrap();
    site.set("hub", Some("docker.io"), Some("acme"), "other").unwrap();
    fs::set_permissions(site.path("vault.yml"), fs::Permissions::from_mode(0o640)).unwrap();
    let before = site.text("vault.yml");
    site.set("ngc", None, None, "new").unwrap();
    let after = site.text("vault.yml");
    let hub = |text: &str| text[text.find("  hub:").unwrap()..text.find("vault_serial").unwrap()].to_string();
    assert_ne!(before, after);
    assert_eq!(hub(&before), hub(&after));
    assert!(before.ends_with("\nvault_serial: 3\n") && after.ends_with("\nvault_serial: 4\n"), "{after}");
    assert_eq!(mode(&site.path("vault.yml")), 0o640);
    assert!(site.show(true).unwrap().contains(" new\n"));
}

#[test]
fn wrong_flags_are_told_together_before_a_password_is_asked_for() {
    let site = Site::new();
    let before = site.text("vault.yml");
    let mut scene = Scene::default();
    let options = SetOptions {
        vault: site.path("vault.yml"),
        login: "-x".into(),
        registry: Some("a b".into()),
        username: Some("a:b".into()),
        expires: Some("2001-01-01".into()),
        canary: Some("nvidia/cuda:12".into()),
        auth_hosts: vec!["https://x".into()],
        ..Default::default()
    };
    refused(scene.run(|c| set(&options, c)), Kind::Usage, &["login's name", "registry `a b`", "username contains", "in the past", "--canary", "auth host"]);
    assert!(scene.asked.is_empty());
    refused(site.set("new", None, None, "hunter2"), Kind::Usage, &["no registry yet", "no username yet"]);
    refused(site.set("ngc", Some("nvcr.io"), Some("u"), "\n"), Kind::Usage, &["password is empty"]);
    refused(site.set("ngc", Some("nvcr.io/../x"), Some("u"), "hunter2"), Kind::Usage, &["has a path that is no repository name"]);
    assert_eq!(site.text("vault.yml"), before);
}

#[test]
fn a_vault_that_cannot_take_a_login_is_told() {
    let site = Site::new();
    let with = |text: &str| {
        fs::write(site.path("vault.yml"), text).unwrap();
        site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2")
    };
    refused(with("version: 1\n"), Kind::Vault, &["names no recipient", "keygen"]);
    refused(with("recipients: [x]\n"), Kind::Vault, &["vault.yml: recipient 1 is no recipient"]);
    refused(with("recipients: [\n"), Kind::Vault, &["vault.yml:"]);
    refused(with("-----BEGIN AGE ENCRYPTED FILE-----\n"), Kind::Vault, &["encrypted as a whole", "vault decrypt"]);
    fs::rename(site.path("vault.yml"), site.path("real.yml")).unwrap();
    std::os::unix::fs::symlink(site.path("real.yml"), site.path("vault.yml")).unwrap();
    refused(site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2"), Kind::Vault, &["symbolic link", "real.yml"]);
    fs::remove_file(site.path("vault.yml")).unwrap();
    refused(site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2"), Kind::Vault, &["no such file", "vault init"]);
}

#[test]
fn reveal_shows_all_or_nothing() {
    let site = Site::new();
    site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2").unwrap();
    site.set("hub", Some("docker.io"), Some("u"), "hunter2").unwrap();
    fs::write(site.path("vault.yml"), site.text("vault.yml").replace("nvcr.io", "evil.example.org")).unwrap();
    refused(site.show(true), Kind::Vault, &["login `ngc` was sealed for u at nvcr.io, not for u at evil.example.org"]);
    let nobody = IdentitySources::default();
    let mut scene = Scene::default();
    refused(scene.run(|c| show(&site.path("vault.yml"), true, &nobody, c)), Kind::Vault, &["none was given"]);
    scene.run(|c| show(&site.path("vault.yml"), false, &nobody, c)).unwrap();
}

#[test]
fn show_tells_what_is_sealed_for_fewer_than_listed_or_not_at_all() {
    let site = Site::new();
    site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2").unwrap();
    let more = format!("recipients:\n  - {}\n", identity::generate().1);
    let text = site.text("vault.yml").replace("recipients:\n", &more);
    let text = text.replace("logins:\n", "logins:\n  bare: {registry: x, username: \"\\e[31m\", password: hunter2}\n  none: {}\n");
    fs::write(site.path("vault.yml"), text).unwrap();
    let shown = site.show(false).unwrap();
    assert!(shown.contains("1 (the file lists 2: set it again)") && shown.contains("stands in the clear") && shown.contains("no password"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains('\x1b'), "{shown}");
}

#[test]
fn show_tells_of_a_rotation_and_shows_both_passwords_only_when_asked() {
    let site = Site::new();
    site.set("ngc", Some("nvcr.io"), Some("robot-a"), "hunter2-old").unwrap();
    let text = site.text("vault.yml");
    let document = VaultDocument::parse("v", &text).unwrap();
    let recipients = recipients_of("v", &document).unwrap();
    let (registry, username) = (Registry::parse("nvcr.io").unwrap().0, Username::parse("robot-b").unwrap());
    let value = SealedValue { registry, username, auth_hosts: Vec::new(), password: Secret::new("hunter2-new".to_string()) };
    let armored = seal(&value, &recipients).unwrap();
    let new = crate::vault::rotation::NewPassword { username: "robot-b", expires: Some("2099-01-01"), fingerprint: None, armored: &armored };
    let under_way = crate::vault::rotation::begin("v", &text, "ngc", new).unwrap();
    fs::write(site.path("vault.yml"), &under_way).unwrap();
    let rows = |reveal| -> Vec<Vec<String>> {
        let shown = site.show(reveal).unwrap();
        shown.lines().skip(2).map(|l| l.split_whitespace().map(str::to_string).collect()).collect()
    };
    assert_eq!(rows(false), [["ngc", "nvcr.io", "robot-b", "2099-01-01", "1"], ["previous", "nvcr.io", "robot-a", "-", "1"]]);
    assert_eq!(rows(true), [["ngc", "nvcr.io", "robot-b", "2099-01-01", "1", "hunter2-new"], ["previous", "nvcr.io", "robot-a", "-", "1", "hunter2-old"]]);
    // Both seals name their account.
    fs::write(site.path("vault.yml"), under_way.replace("robot-a", "mallory")).unwrap();
    refused(site.show(true), Kind::Vault, &["was sealed for robot-a at nvcr.io, not for mallory"]);
}

#[test]
fn whole_files_go_there_and_back() {
    let site = Site::new();
    let plain = site.text("vault.yml");
    let vault = site.path("vault.yml");
    Scene::default().run(|c| encrypt(&vault, &RecipientSources::default(), None, c)).unwrap();
    assert!(is_age_file(site.text("vault.yml").as_bytes()));
    refused(Scene::default().run(|c| encrypt(&vault, &RecipientSources::default(), None, c)), Kind::Vault, &["encrypted already"]);
    assert!(site.show(false).unwrap().contains("no logins"));
    let mut scene = Scene::default();
    scene.run(|c| decrypt(&vault, None, false, &site.sources, c)).unwrap();
    assert_eq!(scene.out(), plain);
    let out = site.path("plain.yml");
    Scene::default().run(|c| decrypt(&vault, Some(&out), false, &site.sources, c)).unwrap();
    assert_eq!((site.text("plain.yml"), mode(&out)), (plain, 0o600));
    refused(Scene::default().run(|c| decrypt(&vault, Some(&out), false, &site.sources, c)), Kind::Vault, &["exists already"]);
    refused(Scene::default().run(|c| decrypt(&out, None, false, &site.sources, c)), Kind::Vault, &["not encrypted as a whole"]);
    assert_eq!(fs::read_dir(site.dir.path()).unwrap().count(), 3, "vault.yml, plain.yml and conf");
}

#[test]
fn a_terminal_sees_no_whole_file_without_reveal() {
    let site = Site::new();
    let vault = site.path("vault.yml");
    Scene::default().run(|c| encrypt(&vault, &RecipientSources::default(), None, c)).unwrap();
    let mut scene = Scene { on_terminal: true, ..Scene::default() };
    refused(scene.run(|c| decrypt(&vault, None, false, &site.sources, c)), Kind::Usage, &["--reveal"]);
    assert_eq!(scene.out(), "");
    scene.run(|c| decrypt(&vault, None, true, &site.sources, c)).unwrap();
    assert!(scene.out().contains("version: 1"));
}

#[test]
fn any_file_is_encrypted_for_recipients_that_are_named() {
    let site = Site::new();
    fs::write(site.path("note"), "hunter2").unwrap();
    let run = |recipients: &[String], output: Option<&Path>| {
        Scene::default().run(|c| encrypt(&site.path("note"), &RecipientSources::keys(recipients.to_vec()), output, c))
    };
    refused(run(&[], None), Kind::Usage, &["add -r"]);
    refused(run(&["x".into()], None), Kind::Vault, &["recipient 1 "]);
    assert_eq!(site.text("note"), "hunter2");
    run(&[identity::generate().1], Some(&site.path("note.age"))).unwrap();
    assert_eq!(site.text("note"), "hunter2");
    refused(Scene::default().run(|c| decrypt(&site.path("note.age"), None, false, &site.sources, c)), Kind::Vault, &["note.age is not sealed for any"]);
}

/// A site with the logins `ngc`, `hub` and `hub2`, of which `ngc` is under rotation: `robot-b` replaces `robot-a`.
fn filled() -> Site {
    let site = Site::new();
    site.set("ngc", Some("https://NVCR.io/"), Some("robot-a"), "hunter2-old").unwrap();
    site.set("hub", Some("docker.io"), Some("acme"), "hunter2 with a break\n\n").unwrap();
    site.set("hub2", Some("docker.io"), Some("acme2"), "hunter2-three").unwrap();
    let text = site.text("vault.yml");
    let recipients = recipients_of("v", &VaultDocument::parse("v", &text).unwrap()).unwrap();
    let (registry, username) = (Registry::parse("nvcr.io").unwrap().0, Username::parse("robot-b").unwrap());
    let value = SealedValue { registry, username, auth_hosts: vec!["a.example".into(), "b.example".into()], password: Secret::new("hunter2-new".to_string()) };
    let armored = seal(&value, &recipients).unwrap();
    let new = crate::vault::rotation::NewPassword { username: "robot-b", expires: Some("2099-01-01"), fingerprint: None, armored: &armored };
    fs::write(site.path("vault.yml"), crate::vault::rotation::begin("v", &text, "ngc", new).unwrap()).unwrap();
    site
}

fn names(site: &Site) -> Vec<String> {
    let document = VaultDocument::parse("v", &site.text("vault.yml")).unwrap();
    document.logins().map(|(name, ..)| name.to_string()).collect()
}

#[test]
fn logins_are_taken_out_all_or_none() {
    let site = filled();
    let before = site.text("vault.yml");
    let run = |logins: &[&str], with_previous| {
        let logins: Vec<String> = logins.iter().map(|l| l.to_string()).collect();
        let mut scene = Scene::default();
        scene.run(|c| unset(&site.path("vault.yml"), &logins, with_previous, c)).map(|()| scene.err().to_string())
    };
    refused(run(&["hub", "hbu2", "nothing"], false), Kind::Usage, &["no login `hbu2`\n  hint: did you mean `hub2`?", "no login `nothing`"]);
    refused(run(&["hub", "ngc"], false), Kind::Usage, &["rotation of login `ngc` is under way", "rotate finish", "--with-previous"]);
    assert_eq!(site.text("vault.yml"), before);
    let told = run(&["hub", "hub2", "hub"], false).unwrap();
    assert!(told.contains("login `hub` is taken out") && told.contains("the password of acme2 at docker.io") && told.contains("revoke it"), "{told}");
    assert_eq!(names(&site), ["ngc"]);
    assert!(site.text("vault.yml").ends_with("\nvault_serial: 5\n"), "one step, however many logins");
    let told = run(&["ngc"], true).unwrap();
    assert!(told.contains("the password of robot-b at ") && told.contains("and that of robot-a which it replaces"), "{told}");
    assert!(names(&site).is_empty() && site.text("vault.yml").contains("\nlogins: {}\n"), "{}", site.text("vault.yml"));
    refused(run(&["ngc"], true), Kind::Usage, &["no login `ngc`", "there are no logins"]);
}

#[test]
fn the_password_of_sudo_is_taken_out() {
    let site = filled();
    let before = site.text("vault.yml");
    let run = || Scene::default().run(|c| unset_become_password(&site.path("vault.yml"), c));
    refused(run(), Kind::Usage, &["has no password of sudo"]);
    Scene { piped: Some("hunter2"), ..Scene::default() }.run(|c| set_become_password(&site.path("vault.yml"), c)).unwrap();
    assert!(site.text("vault.yml").contains("become_password"));
    run().unwrap();
    assert_eq!(site.text("vault.yml"), before.replace("serial: 4", "serial: 6"));
}

#[test]
fn a_login_gets_another_name_and_keeps_its_seal() {
    let site = filled();
    let before = site.text("vault.yml");
    let run = |old, new| {
        let mut scene = Scene::default();
        scene.run(|c| rename(&site.path("vault.yml"), old, new, c)).map(|()| scene.err().to_string())
    };
    for (old, new, parts) in [
        ("hub", "-x", &["login's name"][..]),
        ("hub", "a b", &["login's name"]),
        ("hub", "ngc", &["a login `ngc` already", "vault unset"]),
        ("hub", "hub", &["that name already"]),
        ("hbu", "x", &["no login `hbu`", "did you mean `hub`?"]),
    ] {
        refused(run(old, new), Kind::Usage, parts);
    }
    assert_eq!(site.text("vault.yml"), before);
    let told = run("hub", "docker").unwrap();
    assert!(told.contains("login `hub` is called `docker`") && told.contains("`logins:`"), "{told}");
    assert_eq!(site.text("vault.yml"), before.replace("\n  hub:\n", "\n  docker:\n").replace("serial: 4", "serial: 5"));
    run("ngc", "nvidia").unwrap();
    // They open under the new names.
    let shown = site.show(true).unwrap();
    assert!(shown.contains("hunter2 with a break") && shown.contains("hunter2-new") && shown.contains("hunter2-old"), "{shown}");
}

#[test]
fn one_field_for_a_script() {
    let site = filled();
    let nobody = IdentitySources::default();
    let run = |login: &str, field, previous, on_terminal, reveal, sources: &IdentitySources| {
        let mut scene = Scene { on_terminal, ..Scene::default() };
        let options = GetOptions { vault: site.path("vault.yml"), login: login.into(), field, previous, reveal, output: None };
        scene.run(|c| get(&options, sources, c)).map(|()| scene.out().to_string())
    };
    let pipe = |login: &str, field, previous| run(login, field, previous, false, false, &site.sources).unwrap();
    assert_eq!(pipe("ngc", VaultField::Password, false), "hunter2-new");
    assert_eq!(pipe("ngc", VaultField::Password, true), "hunter2-old");
    assert_eq!(pipe("hub", VaultField::Password, false), "hunter2 with a break\n", "the password's own line break, and no other");
    assert_eq!(pipe("ngc", VaultField::AuthHosts, false), "a.example\nb.example\n");
    assert_eq!(pipe("ngc", VaultField::AuthHosts, true), "");
    // What is not sealed needs nobody.
    for (field, previous, want) in [
        (VaultField::Username, false, "robot-b\n"),
        (VaultField::Username, true, "robot-a\n"),
        (VaultField::Registry, false, "nvcr.io\n"),
        (VaultField::Expires, false, "2099-01-01\n"),
        (VaultField::Expires, true, ""),
    ] {
        assert_eq!(run("ngc", field, previous, true, false, &nobody).unwrap(), want, "{field:?}");
    }
    refused(run("ngc", VaultField::Password, false, false, false, &nobody), Kind::Vault, &["none was given"]);
    refused(run("ngc", VaultField::Password, false, true, false, &site.sources), Kind::Usage, &["terminal", "--reveal"]);
    assert_eq!(run("ngc", VaultField::Password, false, true, true, &site.sources).unwrap(), "hunter2-new\n");
    refused(run("ncg", VaultField::Username, false, false, false, &nobody), Kind::Usage, &["no login `ncg`", "did you mean `ngc`?"]);
    refused(run("hub", VaultField::Username, true, false, false, &nobody), Kind::Usage, &["no rotation of login `hub` is under way"]);
    // Somebody moved the seal.
    fs::write(site.path("vault.yml"), site.text("vault.yml").replace("username: robot-b", "username: mallory")).unwrap();
    refused(run("ngc", VaultField::Password, false, false, false, &site.sources), Kind::Vault, &["was sealed for robot-b"]);
}

#[test]
fn a_field_goes_to_a_new_file_of_one_s_own() {
    let site = filled();
    let options = GetOptions {
        vault: site.path("vault.yml"),
        login: "hub".into(),
        field: VaultField::Password,
        previous: false,
        reveal: false,
        output: Some(site.path("out")),
    };
    let mut scene = Scene { on_terminal: true, ..Scene::default() };
    scene.run(|c| get(&options, &site.sources, c)).unwrap();
    assert_eq!((site.text("out").as_str(), mode(&site.path("out")), scene.out()), ("hunter2 with a break\n", 0o600, ""));
    refused(scene.run(|c| get(&options, &site.sources, c)), Kind::Vault, &["exists already"]);
}

#[test]
fn a_list_needs_no_identity_and_holds_no_secret() {
    let site = filled();
    let nobody = IdentitySources::default();
    let run = |json, sources: &IdentitySources| {
        let mut scene = Scene::default();
        scene.run(|c| list(&site.path("vault.yml"), json, sources, c)).map(|()| scene.out().to_string())
    };
    assert_eq!(run(false, &nobody).unwrap(), "hub\nhub2\nngc\n");
    let text = site.text("vault.yml").replace(
        "  hub2:\n",
        "  bare: {registry: x, password: hunter2, canary: a/b}\n  empty: {}\n  half: {password: '-----BEGIN AGE ENCRYPTED FILE-----'}\n  hub2:\n",
    );
    fs::write(site.path("vault.yml"), text).unwrap();
    let json = run(true, &nobody).unwrap();
    assert!(!json.contains("hunter2") && !json.contains("BEGIN"), "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["schema"].as_str(), json["vault_serial"].as_u64(), json["recipients"].as_array().unwrap().len()), (Some("regprov.vault/1"), Some(4), 1));
    assert_eq!(json["become_password"], serde_json::json!({"password": "none"}));
    assert_eq!(json["logins"][0], serde_json::json!({"login": "bare", "registry": "x", "canary": "a/b", "password": "clear"}));
    assert_eq!(json["logins"][1], serde_json::json!({"login": "empty", "password": "none"}));
    assert_eq!(json["logins"][2], serde_json::json!({"login": "half", "password": "damaged"}));
    assert_eq!(
        json["logins"][5],
        serde_json::json!({"login": "ngc", "registry": "nvcr.io", "username": "robot-b", "expires": "2099-01-01", "password": "sealed", "sealed_for": 1,
            "previous": {"username": "robot-a", "password": "sealed", "sealed_for": 1}})
    );
    Scene::default().run(|c| encrypt(&site.path("vault.yml"), &RecipientSources::default(), None, c)).unwrap();
    refused(run(false, &nobody), Kind::Vault, &["none was given"]);
    assert_eq!(run(false, &site.sources).unwrap(), "bare\nempty\nhalf\nhub\nhub2\nngc\n");
}

#[test]
fn a_password_is_made_and_shown_to_nobody() {
    let site = Site::new();
    let make = |length| {
        let options = SetOptions {
            vault: site.path("vault.yml"),
            login: "new".into(),
            registry: Some("harbor.example.org".into()),
            username: Some("bob".into()),
            generate: Some(length),
            ..Default::default()
        };
        // What lies in stdin is left there, and nobody is asked.
        let mut scene = Scene { piped: Some("hunter2"), ..Scene::default() };
        scene.run(|c| set(&options, c)).unwrap();
        assert!(scene.asked.is_empty());
        let mut got = Scene::default();
        let options =
            GetOptions { vault: site.path("vault.yml"), login: "new".into(), field: VaultField::Password, previous: false, reveal: false, output: None };
        got.run(|c| get(&options, &site.sources, c)).unwrap();
        assert!(!scene.err().contains(got.out()) && scene.out().is_empty() && !site.text("vault.yml").contains(got.out()));
        (got.out().to_string(), scene.err().to_string())
    };
    let (one, told) = make(32);
    assert!(one.len() == 32 && one.bytes().all(|b| b.is_ascii_alphanumeric()), "{one}");
    assert!(told.contains("32 letters and digits, 190 bits") && told.contains("regprov vault get ") && told.contains("harbor.example.org has to be given it"));
    let (two, _) = make(128);
    assert!(two.len() == 128 && !two.starts_with(&one));
}
