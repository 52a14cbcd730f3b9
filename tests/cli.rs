//! The command line as an admin meets it, mistakes above all: `tests/cli/<case>/` holds `cmd` (a script for sh), and what it is to
//! say: `stdout`, `stderr`, `status`. The folder's name is the claim. `REGPROV_BLESS=1` writes what comes out.
//!
//! Each case starts in a site where everything is right: the home of an admin with an SSH key, known_hosts and an identity in
//! their usual places, `inventory.yml` and `vault.yml` in the current directory, two nodes that run. `cmd` breaks one thing.
//! Ports, fingerprints and the site's folder differ from run to run and are shown as words.

#[path = "fleet/embedded.rs"]
mod embedded;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use embedded::{Fault, Fleet};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};

/// Words that no output may hold; the cases plant them.
const SECRETS: [&str; 4] = ["hunter2", "demo-not-a-token", "AGE-SECRET-KEY-1", "PRIVATE KEY"];

struct Site {
    dir: tempfile::TempDir,
    ports: Vec<u16>,
}

impl Site {
    fn new(fleet: &Fleet, keys: &[PrivateKey; 2]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        for sub in ["home/.ssh", "home/.config/regprov", "nodes/gpu1/root", "nodes/gpu2/root", "nodes/gpu1/var/lib", "nodes/gpu2/var/lib"] {
            // Whatever the umask is: what others can write is refused.
            fs::DirBuilder::new().recursive(true).mode(0o755).create(dir.path().join(sub)).unwrap();
        }
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories/quickstart");
        let private = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        for (key, name) in keys.iter().zip(["id_ed25519", "other"]) {
            private(home.join(".ssh").join(name), key.to_openssh(LineEnding::LF).unwrap().as_bytes());
        }
        private(home.join(".config/regprov/identity.txt"), &fs::read(sample.join("demo-identity.txt")).unwrap());
        fs::copy(sample.join("vault.yml"), dir.path().join("vault.yml")).unwrap();
        let ports: Vec<u16> = fleet.nodes.iter().map(|n| n.port()).collect();
        let known: String = ports.iter().map(|p| format!("[127.0.0.1]:{p} {}\n", fleet.host_key_line())).collect();
        fs::write(home.join(".ssh/known_hosts"), known).unwrap();
        let hosts: String =
            ports.iter().enumerate().map(|(i, p)| format!("  gpu{}: {{port: {p}, root: {}/nodes/gpu{}}}\n", i + 1, dir.path().display(), i + 1)).collect();
        let inventory = format!(
            "version: 1\nvault: vault.yml\ndefaults: {{address: 127.0.0.1}}\ngroups:\n  gpu:\n    hosts: gpu[1-2]\n    logins: [ngc, hub]\n    \
             targets: [docker]\nhosts:\n{hosts}"
        );
        fs::write(dir.path().join("inventory.yml"), inventory).unwrap();
        Site { dir, ports }
    }

    /// What the script said, and its exit status.
    fn run(&self, script: &str) -> [(&'static str, String); 3] {
        let regprov = Path::new(env!("CARGO_BIN_EXE_regprov")).parent().unwrap();
        let path = format!("{}:/usr/bin:/bin", regprov.display());
        let mut command = Command::new("/bin/sh");
        command.arg("-euc").arg(format!("umask 022\n{script}")).current_dir(self.dir.path()).stdin(Stdio::null());
        let output = command.env_clear().env("PATH", path).env("HOME", self.dir.path().join("home")).output().unwrap();
        let text = |bytes: Vec<u8>| self.in_words(&String::from_utf8(bytes).unwrap());
        let status = format!("{}\n", output.status.code().expect("no signal ends it"));
        [("stdout", text(output.stdout)), ("stderr", text(output.stderr)), ("status", status)]
    }

    /// Without what differs from run to run.
    fn in_words(&self, text: &str) -> String {
        let mut text = text.replace(self.dir.path().to_str().unwrap(), "SITE");
        for (i, port) in self.ports.iter().enumerate() {
            text = text.replace(&port.to_string(), &format!("PORT{}", i + 1));
        }
        // A journal is named by its inventory's place, and by when it began.
        if let Some((before, rest)) = text.clone().split_once("/regprov/runs/") {
            let name = rest[32..].strip_prefix('/').map_or("", |file| &file[..file.find(".jsonl").unwrap()]);
            let key = format!("{before}/regprov/runs/KEY{}", &rest[32..]);
            text = if name.is_empty() { key } else { key.replace(name, "STARTED-PID") };
        }
        let mut parts = text.split("SHA256:");
        let first = parts.next().unwrap_or_default().to_string();
        parts.fold(first, |out, part| out + "SHA256:FINGERPRINT" + part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/'))
    }
}

#[test]
fn golden_folders() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let keys = [1, 2].map(|seed| PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32])));
    let start = |key: &PublicKey| runtime.block_on(embedded::start(key.clone(), &[Fault::None; 2])).unwrap();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut cases: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 15, "the folders are gone");
    let mut failed = Vec::new();
    for case in cases {
        let fleet = start(keys[0].public_key());
        let got = Site::new(&fleet, &keys).run(&fs::read_to_string(case.join("cmd")).unwrap());
        for (name, got) in got {
            assert!(!SECRETS.iter().any(|s| got.contains(s)), "{}: a secret is shown", case.display());
            let file = case.join(name);
            if std::env::var_os("REGPROV_BLESS").is_some() {
                fs::write(&file, &got).unwrap();
            }
            let want = fs::read_to_string(&file).unwrap_or_default();
            if got != want {
                failed.push(format!("{}\n--- wanted\n{want}--- got\n{got}", file.display()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
