//! Vaults and the real `age`, `age-keygen` and `ssh-keygen`: what one seals the other opens.

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

    /// A key made by age-keygen or ssh-keygen: its file, and its recipient.
    fn key(&self, kind: &str, passphrase: &str) -> (PathBuf, String) {
        let path = self.path(&format!("key-{kind}"));
        let name = path.to_str().unwrap();
        if kind == "age" {
            self.run("age-keygen", &["-o", name], b"");
            let recipient = String::from_utf8(self.run("age-keygen", &["-y", name], b"")).unwrap().trim().to_string();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            return (path, recipient);
        }
        let bits = if kind == "rsa" { "2048" } else { "256" };
        self.run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", passphrase, "-C", "alice@example.org", "-f", name], b"");
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

/// Both directions, for a whole file and for a sealed value, with this kind of key.
fn there_and_back(kind: &str) {
    let site = Site::new();
    let (identity, recipient) = site.key(kind, "");
    let key = identity.to_str().unwrap();
    let vault = site.path("vault.yml");
    ours(b"", None, |c| vault::init(&vault, &RecipientSources::keys([&recipient]), c)).unwrap();
    let options =
        SetOptions { vault: vault.clone(), login: "ngc".into(), registry: Some("nvcr.io".into()), username: Some("$oauthtoken".into()), ..Default::default() };
    ours(b"hunter2\n", None, |c| vault::set(&options, c)).unwrap();

    // Ours, a sealed value: `age -d` prints its JSON.
    let text = fs::read_to_string(&vault).unwrap();
    let armor: String =
        text.lines().map(str::trim).filter(|l| !l.starts_with("vault_")).skip_while(|l| !l.starts_with("-----BEGIN")).map(|l| format!("{l}\n")).collect();
    let json = site.run("age", &["-d", "-i", key], armor.as_bytes());
    assert_eq!(String::from_utf8(json).unwrap(), r#"{"v":1,"registry":"nvcr.io","username":"$oauthtoken","auth_hosts":[],"password":"hunter2"}"#);
    let shown = ours(b"", None, |c| vault::show(&vault, true, &with(&identity), c)).unwrap();
    assert!(String::from_utf8(shown).unwrap().contains(" hunter2\n"));

    // Ours, a whole file.
    ours(b"", None, |c| vault::encrypt(&vault, &RecipientSources::default(), Some(&site.path("ours.age")), c)).unwrap();
    assert_eq!(site.run("age", &["-d", "-i", key, "ours.age"], b""), text.as_bytes());

    // age's, armored and not.
    for flags in [&["-a"][..], &[]] {
        let sealed = site.run("age", &[flags, &["-r", &recipient]].concat(), text.as_bytes());
        fs::write(site.path("theirs.age"), sealed).unwrap();
        let opened = ours(b"", None, |c| vault::decrypt(&site.path("theirs.age"), None, false, &with(&identity), c)).unwrap();
        assert_eq!(opened, text.as_bytes());
    }
}

#[test]
#[ignore = "needs age"]
fn age_keys_interoperate() {
    there_and_back("age");
}

#[test]
#[ignore = "needs age and ssh-keygen"]
fn ssh_ed25519_keys_interoperate() {
    there_and_back("ed25519");
}

#[test]
#[ignore = "needs age and ssh-keygen"]
fn ssh_rsa_keys_interoperate() {
    there_and_back("rsa");
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
        let (identity, recipient) = site.key(kind, "open sesame");
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
    let (identity, recipient) = site.key("ecdsa", "");
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
    let (identity, recipient) = site.key("rsa", "open sesame");
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
