//! A token server on another host than its registry: nothing is sent there until a person has confirmed it, and then it is sealed with the
//! login, so that it needs no confirming again.

#[path = "common/peers.rs"]
mod peers;
#[path = "common/registry.rs"]
mod registry;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use peers::need;
use registry::{Server, http};

const PASSWORD: &str = "plantedSecret7391";

/// The program in a site: its exit code, and what it said.
fn run(dir: &Path, args: &[&str], stdin: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
    command.args(args).current_dir(dir).env_clear().env("HOME", dir).env("PATH", "/usr/bin:/bin").env("REGPROV_IDENTITY_FILE", "id.txt");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    said(out.status.code(), &[out.stdout, out.stderr].concat())
}

/// The same on a terminal, where `answer` is typed at the question.
fn on_terminal(dir: &Path, script: &Path, args: &[&str], answer: &str) -> (Option<i32>, String) {
    let line = format!("{} {}", env!("CARGO_BIN_EXE_regprov"), args.join(" "));
    let mut command = Command::new(script);
    command.args(["-qec", &line, "/dev/null"]).current_dir(dir).env_clear().env("HOME", dir).env("SHELL", "/bin/sh");
    let command = command.env("PATH", "/usr/bin:/bin").env("REGPROV_IDENTITY_FILE", "id.txt");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut all, mut part, mut asked) = (Vec::new(), [0; 4096], false);
    while let Ok(n @ 1..) = stdout.read(&mut part) {
        all.extend(&part[..n]);
        if !asked && all.windows(6).any(|w| w == b"[y/N] ") {
            asked = true;
            stdin.write_all(answer.as_bytes()).unwrap();
        }
    }
    assert!(asked, "it never asked: {}", String::from_utf8_lossy(&all));
    said(child.wait().unwrap().code(), &all)
}

fn said(code: Option<i32>, bytes: &[u8]) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    assert!(!text.contains(PASSWORD), "the password leaks: {text}");
    (code, text)
}

/// A sealed login for a registry whose token server is on another host.
struct Site {
    dir: tempfile::TempDir,
    tokens: Server,
    _registry: Server,
}

impl Site {
    fn new() -> Site {
        let tokens = Server::start("127.0.0.2", None, |r, _| match r.basic() {
            Some(login) if login == format!("alice:{PASSWORD}") => http("200 OK", "{\"token\":\"opaque\"}"),
            _ => http("401 Unauthorized", ""),
        });
        let realm = format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.2:{}/token\"", tokens.port);
        let registry = Server::start("127.0.0.1", None, move |r, _| if r.bearer().is_some() { http("200 OK", "{}") } else { http(realm.clone(), "{}") });
        let dir = tempfile::tempdir().unwrap();
        let (code, text) = run(dir.path(), &["vault", "keygen", "-o", "id.txt"], "");
        assert_eq!(code, Some(0), "{text}");
        let recipient = text.lines().find(|l| l.starts_with("age1")).unwrap().to_string();
        assert_eq!(run(dir.path(), &["vault", "init", "vault.yml", "-r", &recipient], "").0, Some(0));
        let address = format!("127.0.0.1:{}", registry.port);
        assert_eq!(run(dir.path(), &["vault", "audit-key", "-o", "audit.txt"], "").0, Some(0));
        let set = [
            "vault",
            "set",
            "vault.yml",
            "site",
            "--audit-key",
            "audit.txt",
            "--registry",
            &address,
            "--username",
            "alice",
            "--canary",
            "proj/tiny",
            "--auth-host",
            "old.example",
        ];
        assert_eq!(run(dir.path(), &set, PASSWORD).0, Some(0));
        let inventory = "version: 1\nvault: vault.yml\ngroups: {g: {hosts: [n], logins: [site], targets: [docker]}}\n";
        fs::write(dir.path().join("inventory.yml"), inventory).unwrap();
        Site { dir, tokens, _registry: registry }
    }

    fn vault(&self) -> String {
        fs::read_to_string(self.dir.path().join("vault.yml")).unwrap()
    }
}

#[test]
fn without_a_terminal_nothing_is_trusted_and_the_line_to_type_is_told() {
    let site = Site::new();
    let before = site.vault();
    for args in [&["verify", "inventory.yml"][..], &["verify", "inventory.yml", "--add-auth-hosts"]] {
        let (code, text) = run(site.dir.path(), args, "y\n");
        assert_eq!(code, Some(6), "{text}");
        assert!(text.contains("login site: realm not trusted: alice at 127.0.0.1:"), "{text}");
        assert!(text.contains("regprov verify inventory.yml --add-auth-hosts;"), "{text}");
        assert!(text.contains("regprov vault set vault.yml site --auth-host old.example --auth-host 127.0.0.2\n"), "{text}");
    }
    assert!(site.tokens.seen().is_empty() && site.vault() == before);
    // The line does it.
    let set = ["vault", "set", "vault.yml", "site", "--auth-host", "old.example", "--auth-host", "127.0.0.2"];
    assert_eq!(run(site.dir.path(), &set, PASSWORD).0, Some(0));
    assert!(site.vault().contains("    canary: proj/tiny\n"), "what is not named stays");
    let (code, text) = run(site.dir.path(), &["verify", "inventory.yml"], "");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("valid: alice at 127.0.0.1:") && text.contains("it may pull proj/tiny"), "{text}");
}

#[test]
#[ignore = "needs script"]
fn who_says_yes_seals_the_host_with_the_login() {
    let Some(script) = need("script") else { return };
    let site = Site::new();
    let before = site.vault();
    let args = ["verify", "inventory.yml", "--add-auth-hosts"];
    for no in ["\n", "n\n", "never\n"] {
        let (code, text) = on_terminal(site.dir.path(), &script, &args, no);
        assert_eq!(code, Some(6), "{text}");
        assert!(text.contains("names 127.0.0.2 as its token server. Send the password of alice (login site) there"), "{text}");
        assert!(site.tokens.seen().is_empty() && site.vault() == before, "{text}");
    }
    let (code, text) = on_terminal(site.dir.path(), &script, &args, "y\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("login `site` is sealed anew in vault.yml for 1 recipient, with the auth host 127.0.0.2"), "{text}");
    assert_eq!(site.tokens.logins(), [format!("alice:{PASSWORD}")]);
    // Only the seal and the serial have changed; the fingerprint is that of the same password.
    assert!(before.contains("    fingerprint: "), "{before}");
    let outside = |text: &str| text.lines().filter(|l| !l.starts_with("      ") && !l.starts_with("vault_serial: ")).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(outside(&site.vault()), outside(&before));
    assert_ne!(site.vault(), before);
    let (code, text) = run(site.dir.path(), &["verify", "inventory.yml"], "");
    assert_eq!(code, Some(0), "it is remembered: {text}");
    // Without the identity nothing is opened, and nothing is asked.
    let asked = site.tokens.seen().len();
    fs::remove_file(site.dir.path().join("id.txt")).unwrap();
    assert_eq!(run(site.dir.path(), &["verify", "inventory.yml"], "").0, Some(5));
    assert_eq!(site.tokens.seen().len(), asked);
}
