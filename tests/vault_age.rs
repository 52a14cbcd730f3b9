//! Vaults and the real `age`, `rage` and `ssh-keygen`: what one seals the other opens.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

#[path = "common/peers.rs"]
mod peers;
#[path = "common/pty.rs"]
mod pty;
#[path = "consumers/sid.rs"]
mod sid;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regprov::command::console::Console;
use regprov::command::identity::IdentitySources;
use regprov::command::vault::{self, RecipientSources, SetOptions};
use regprov::error::{Error, Result};
use regprov::model::Secret;

/// A folder, and a console without a terminal.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        Site(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a program in the folder and returns what it prints.
    #[track_caller]
    fn run(&self, program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// A key of OpenSSH: its file, and its recipient.
    fn ssh_key(&self, kind: &str, passphrase: &str) -> (PathBuf, String) {
        let path = self.path(&format!("key-{kind}"));
        let bits = if kind == "rsa" { "2048" } else { "256" };
        self.run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", passphrase, "-C", "alice@example.org", "-f", path.to_str().unwrap()], b"");
        (path.clone(), fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_string())
    }
}

/// Runs a command of ours; returns its stdout.
fn ours(piped: &[u8], typed: Option<&str>, run: impl FnOnce(&mut Console<'_>) -> Result<()>) -> Result<Vec<u8>> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    run(&mut Console {
        stdin: &mut &*piped,
        stdin_is_terminal: false,
        stdout: &mut out,
        stdout_is_terminal: false,
        stderr: &mut err,
        ask: &mut |what| typed.map(|t| Secret::new(t.to_string())).ok_or_else(|| Error::vault(format!("nobody is asked for the {what}"))),
    })?;
    Ok(out)
}

fn with(identity: &Path) -> IdentitySources {
    IdentitySources { files: vec![identity.to_path_buf()], ..Default::default() }
}

/// A program of age's command line.
struct Peer {
    /// How it is called.
    words: Vec<String>,
    /// How what makes its keys is called.
    keygen: Vec<String>,
}

impl Peer {
    /// Of this machine.
    fn here(name: &str) -> Option<Self> {
        let dirs: Vec<PathBuf> =
            ["REGPROV_PEERS", "PATH"].iter().filter_map(std::env::var_os).flat_map(|v| std::env::split_paths(&v).collect::<Vec<_>>()).collect();
        let words = |name: &str| Some(vec![peers::look(name, &dirs, false)?.to_str().unwrap().to_string()]);
        Some(Peer { words: words(name)?, keygen: words(&format!("{name}-keygen"))? })
    }

    /// Of the tree of Debian sid, with that tree's libraries.
    fn of_sid(name: &str) -> Option<Self> {
        let keygen = format!("{name}-keygen");
        let tree = sid::tree(&[name, &keygen])?;
        let file = |path: &str| tree.join(path).to_str().unwrap().to_string();
        let libraries = file(&format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let words = |name: &str| vec![file("usr/lib64/ld-linux-x86-64.so.2"), "--library-path".into(), libraries.clone(), file(&format!("usr/bin/{name}"))];
        Some(Peer { words: words(name), keygen: words(&keygen) })
    }

    #[track_caller]
    fn run(&self, site: &Site, args: &[&str], input: &[u8]) -> Vec<u8> {
        let args: Vec<&str> = self.words[1..].iter().map(String::as_str).chain(args.iter().copied()).collect();
        site.run(&self.words[0], &args, input)
    }

    /// A key of this kind: its file, and its recipient.
    fn key(&self, site: &Site, kind: &str) -> (PathBuf, String) {
        if kind != "age" {
            return site.ssh_key(kind, "");
        }
        let path = site.path("key-age");
        let keygen = |args: &[&str]| {
            let args: Vec<&str> = self.keygen[1..].iter().map(String::as_str).chain(args.iter().copied()).collect();
            site.run(&self.keygen[0], &args, b"")
        };
        keygen(&["-o", path.to_str().unwrap()]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let recipient = String::from_utf8(keygen(&["-y", path.to_str().unwrap()])).unwrap().trim().to_string();
        (path, recipient)
    }

    /// Both directions, for each kind of key, lists of them, and an identity behind a passphrase.
    fn interoperates(&self) {
        for kind in ["age", "ed25519", "rsa"] {
            self.opens_ours(kind);
            self.seals_for_us(kind);
        }
        self.reads_the_same_lists();
        self.keeps_an_identity_behind_a_passphrase();
    }

    /// A sealed value and a whole file of ours.
    fn opens_ours(&self, kind: &str) {
        let site = Site::new();
        let (identity, recipient) = self.key(&site, kind);
        let vault = site.path("vault.yml");
        ours(b"", None, |c| vault::init(&vault, &RecipientSources::keys([&recipient]), c)).unwrap();
        let options = SetOptions {
            vault: vault.clone(),
            login: "ngc".into(),
            registry: Some("nvcr.io".into()),
            username: Some("$oauthtoken".into()),
            ..Default::default()
        };
        ours(b"hunter2\n", None, |c| vault::set(&options, c)).unwrap();
        let text = fs::read_to_string(&vault).unwrap();
        let armor: String =
            text.lines().map(str::trim).filter(|l| !l.starts_with("vault_")).skip_while(|l| !l.starts_with("-----BEGIN")).map(|l| format!("{l}\n")).collect();
        let key = identity.to_str().unwrap();
        assert_eq!(String::from_utf8(self.run(&site, &["-d", "-i", key], armor.as_bytes())).unwrap(), VALUE, "{kind}");
        let shown = ours(b"", None, |c| vault::show(&vault, true, &with(&identity), c)).unwrap();
        assert!(String::from_utf8(shown).unwrap().contains(" hunter2\n"), "{kind}");

        ours(b"", None, |c| vault::encrypt(&vault, &RecipientSources::default(), Some(&site.path("ours.age")), c)).unwrap();
        assert_eq!(self.run(&site, &["-d", "-i", key, "ours.age"], b""), text.as_bytes(), "{kind}");
    }

    /// What it seals, armored and not.
    fn seals_for_us(&self, kind: &str) {
        let site = Site::new();
        let (identity, recipient) = self.key(&site, kind);
        for flags in [&["-a"][..], &[]] {
            let seal = |text: &[u8]| self.run(&site, &[flags, &["-r", &recipient]].concat(), text);
            fs::write(site.path("theirs.age"), seal(b"logins: {}\n")).unwrap();
            let opened = ours(b"", None, |c| vault::decrypt(&site.path("theirs.age"), None, false, &with(&identity), c)).unwrap();
            assert_eq!(opened, b"logins: {}\n", "{kind} {flags:?}");
            // A value stands in YAML, so that it is armored.
            if flags == ["-a"] {
                let sealed: String = String::from_utf8(seal(VALUE.as_bytes())).unwrap().lines().map(|l| format!("      {l}\n")).collect();
                let vault = site.path("vault.yml");
                ours(b"", None, |c| vault::init(&vault, &RecipientSources::keys([&recipient]), c)).unwrap();
                let login = format!("logins:\n  ngc:\n    registry: nvcr.io\n    username: $oauthtoken\n    password: |\n{sealed}");
                let text = fs::read_to_string(&vault).unwrap();
                fs::write(&vault, text.replace("logins: {}\n", &login)).unwrap();
                let shown = ours(b"", None, |c| vault::show(&vault, true, &with(&identity), c)).unwrap();
                assert!(String::from_utf8(shown).unwrap().contains(" hunter2\n"), "{kind}");
            }
        }
    }

    /// One list of recipients for both: each of its keys opens what either seals.
    fn reads_the_same_lists(&self) {
        let site = Site::new();
        let keys = ["age", "ed25519", "rsa"].map(|kind| self.key(&site, kind));
        let list: String = keys.iter().map(|(_, recipient)| format!("# one of them\n\n{recipient}\n")).collect();
        fs::write(site.path("list"), list).unwrap();
        fs::write(site.path("text"), "text").unwrap();
        let sources = RecipientSources { files: vec![site.path("list")], ..RecipientSources::default() };
        ours(b"", None, |c| vault::encrypt(&site.path("text"), &sources, Some(&site.path("ours.age")), c)).unwrap();
        fs::write(site.path("theirs.age"), self.run(&site, &["-R", "list", "text"], b"")).unwrap();
        for (identity, recipient) in &keys {
            for file in ["ours.age", "theirs.age"] {
                assert_eq!(self.run(&site, &["-d", "-i", identity.to_str().unwrap(), file], b""), b"text", "{file} {recipient}");
                let opened = ours(b"", None, |c| vault::decrypt(&site.path(file), None, false, &with(identity), c)).unwrap();
                assert_eq!(opened, b"text", "{file} {recipient}");
            }
        }
    }

    /// It encrypts an identity file with a passphrase, which is typed on a terminal; we open that.
    fn keeps_an_identity_behind_a_passphrase(&self) {
        let site = Site::new();
        let (identity, recipient) = self.key(&site, "age");
        fs::write(site.path("f"), "text").unwrap();
        ours(b"", None, |c| vault::encrypt(&site.path("f"), &RecipientSources::keys([recipient]), None, c)).unwrap();
        for flags in [&["-a"][..], &[]] {
            let kept = site.path("kept.age");
            let mut command = Command::new(&self.words[0]);
            command.args(&self.words[1..]).arg("-p").args(flags).arg("-o").args([&kept, &identity]);
            // Without a window that asks.
            let mut terminal = pty::Terminal::start({
                command.env("PINENTRY_PROGRAM", "").env("LC_ALL", "C.UTF-8").current_dir(site.0.path());
                command
            });
            for prompt in ["secure one): ", "onfirm passphrase: "] {
                terminal.until(prompt);
                terminal.type_in("open sesame\n");
            }
            assert_eq!(terminal.end(), Some(0), "{}", terminal.seen);
            fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
            let open = |typed| ours(b"", typed, |c| vault::decrypt(&site.path("f"), None, false, &with(&kept), c));
            assert_eq!(open(Some("open sesame")).unwrap(), b"text", "{flags:?}");
            assert!(open(Some("hunter2")).unwrap_err().to_string().contains("does not open with this passphrase"), "{flags:?}");
            fs::remove_file(&kept).unwrap();
        }
    }
}

/// What is sealed of a login.
const VALUE: &str = r#"{"v":1,"registry":"nvcr.io","username":"$oauthtoken","auth_hosts":[],"password":"hunter2"}"#;

#[test]
#[ignore = "needs age and ssh-keygen"]
fn age_interoperates() {
    if ["age", "age-keygen", "ssh-keygen"].map(|p| peers::need(p).is_none()).contains(&true) {
        return;
    }
    Peer::here("age").unwrap().interoperates();
}

/// An age that also knows post-quantum keys.
#[test]
#[ignore = "needs the tree of Debian sid that tests/sid makes"]
fn age_of_sid_interoperates() {
    if let Some(peer) = Peer::of_sid("age") {
        peer.interoperates();
    }
}

#[test]
#[ignore = "needs rage, here or in the tree of Debian sid that tests/sid makes"]
fn rage_interoperates() {
    if let Some(peer) = Peer::here("rage").or_else(|| Peer::of_sid("rage")) {
        peer.interoperates();
    }
}

#[test]
#[ignore = "needs age"]
fn age_takes_an_identity_that_keygen_made() {
    let site = Site::new();
    let identity = site.path("identity.txt");
    let recipient = ours(b"", None, |c| vault::keygen(Some(&identity), None, c)).unwrap();
    let recipient = String::from_utf8(recipient).unwrap().trim().to_string();
    assert_eq!(site.run("age-keygen", &["-y", "identity.txt"], b""), format!("{recipient}\n").as_bytes());
    let sealed = site.run("age", &["-r", &recipient], b"text");
    assert_eq!(site.run("age", &["-d", "-i", "identity.txt"], &sealed), b"text");
}

#[test]
#[ignore = "needs ssh-keygen"]
fn an_encrypted_ssh_key_asks_for_its_passphrase() {
    for kind in ["ed25519", "rsa"] {
        let site = Site::new();
        let (identity, recipient) = site.ssh_key(kind, "open sesame");
        fs::write(site.path("f"), "text").unwrap();
        ours(b"", None, |c| vault::encrypt(&site.path("f"), &RecipientSources::keys([recipient]), None, c)).unwrap();
        let open = |typed| ours(b"", typed, |c| vault::decrypt(&site.path("f"), None, false, &with(&identity), c));
        assert_eq!(open(Some("open sesame")).unwrap(), b"text");
        let wrong = open(Some("hunter2")).unwrap_err().to_string();
        assert!(wrong.contains("does not open with this passphrase") && !wrong.contains("hunter2"), "{wrong}");
        let nobody = open(None).unwrap_err().to_string();
        assert!(nobody.contains("passphrase of SSH key") && nobody.contains(identity.to_str().unwrap()), "{nobody}");
    }
}

#[test]
#[ignore = "needs ssh-keygen"]
fn ssh_keys_that_cannot_decrypt_say_what_to_do() {
    let site = Site::new();
    let (identity, recipient) = site.ssh_key("ecdsa", "");
    let error = vault_error(&site, &identity);
    assert!(error.contains("of a type that cannot decrypt") && error.contains("vault keygen"), "{error}");
    let refused = ours(b"", None, |c| vault::init(&site.path("v.yml"), &RecipientSources::keys([recipient]), c)).unwrap_err().to_string();
    assert!(refused.contains("recipient 1 is an SSH key of a type"), "{refused}");

    let pem = site.path("pem");
    site.run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "open sesame", "-f", pem.to_str().unwrap()], b"");
    let error = vault_error(&site, &pem);
    assert!(error.contains("old PEM format") && error.contains("ssh-keygen -p -f"), "{error}");
}

/// What opening with this identity says.
fn vault_error(site: &Site, identity: &Path) -> String {
    fs::write(site.path("sealed"), "age-encryption.org/v1\n").unwrap();
    ours(b"", None, |c| vault::decrypt(&site.path("sealed"), None, false, &with(identity), c)).unwrap_err().to_string()
}

/// Five hundred logins open with one identity in seconds, also where each opening is an RSA operation; the identity is
/// decrypted once.
#[test]
#[ignore = "needs ssh-keygen"]
fn many_logins_open_quickly_with_one_encrypted_key() {
    let site = Site::new();
    let (identity, recipient) = site.ssh_key("rsa", "open sesame");
    let recipients = regprov::vault::Recipients::parse([recipient.as_str()]).unwrap();
    let mut text = format!("recipients: ['{recipient}']\nlogins:\n");
    let mut asked = 0;
    for i in 0..500 {
        let registry = format!("r{i}.example.org");
        let value = regprov::vault::SealedValue {
            registry: regprov::model::Registry::parse(&registry).unwrap().0,
            username: regprov::model::Username::parse("ci").unwrap(),
            auth_hosts: vec![],
            password: Secret::new(format!("hunter{i}")),
        };
        let armored = regprov::vault::seal(&value, &recipients).unwrap();
        let block: String = armored.lines().map(|l| format!("      {l}\n")).collect();
        text.push_str(&format!("  l{i}:\n    registry: {registry}\n    username: ci\n    password: |\n{block}"));
    }
    text.push_str("vault_id: v0123456789abcdef\nvault_serial: 1\n");
    fs::write(site.path("vault.yml"), &text).unwrap();
    let start = std::time::Instant::now();
    let mut out = Vec::new();
    vault::show(
        &site.path("vault.yml"),
        true,
        &with(&identity),
        &mut Console {
            stdin: &mut &b""[..],
            stdin_is_terminal: false,
            stdout: &mut out,
            stdout_is_terminal: false,
            stderr: &mut Vec::new(),
            ask: &mut |_| {
                asked += 1;
                Ok(Secret::new("open sesame".to_string()))
            },
        },
    )
    .unwrap();
    assert_eq!(asked, 1);
    assert!(String::from_utf8(out).unwrap().contains("hunter499"));
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
