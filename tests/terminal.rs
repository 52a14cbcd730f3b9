//! In a terminal of its own: the bar of each verb that contacts hosts, and Ctrl-C as a person types it.

#[path = "common/pty.rs"]
mod pty;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use pty::Terminal;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

const CTRL_C: &str = "\x03";

/// Two hosts that take connections and never say a word.
fn site(silent: &TcpListener) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("home/.ssh")).unwrap();
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
    let file = dir.path().join("home/.ssh/id_ed25519");
    fs::write(&file, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let inventory = format!(
        "version: 1\ndefaults: {{port: {port}, targets: [docker]}}\ngroups:\n  n: {{hosts: \"n[1-2]\", logins: [hub]}}\n\
         hosts:\n  n1: {{address: 127.0.0.1}}\n  n2: {{address: 127.0.0.2}}\nlogins:\n  hub: {{registry: docker.io, username: a, password: planted}}\n"
    );
    fs::write(dir.path().join("inventory.yml"), inventory).unwrap();
    dir
}

#[test]
fn every_verb_that_contacts_hosts_shows_them_and_hears_ctrl_c() {
    let silent = TcpListener::bind("0.0.0.0:0").unwrap();
    let site = site(&silent);
    let apply = ["apply", "inventory.yml", "--allow-plaintext", "--no-ssh-config"];
    let cases: [(&[&str], usize, &[&str]); 3] = [
        (&["ping", "inventory.yml", "--no-ssh-config"], 1, &["not attempted: stopped by a signal", "n[1-2] (2)", "2 hosts: 2 not attempted"]),
        (&["trust", "inventory.yml", "--no-ssh-config"], 1, &["stopped by a signal before all hosts had shown their keys"]),
        (&apply, 2, &["a second signal stops at once", "not attempted: n[1-2] (2)", "--resume"]),
    ];
    for (args, presses, words) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command
            .args(args)
            .current_dir(&site)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", site.path().join("home"))
            .env("TERM", "xterm")
            .env("NO_COLOR", "1");
        let mut terminal = Terminal::start(command);
        assert!(terminal.echoed, "the kernel's default");
        terminal.until("] 0/2 hosts");
        assert!(!terminal.seen.contains("asking ssh"), "it is not asked");
        terminal.until("n2");
        assert!(!terminal.echoes_control_characters(), "{args:?}: ^C would push the bar down");
        terminal.type_in(CTRL_C);
        if presses == 2 {
            terminal.until("a second signal stops at once");
            terminal.type_in(CTRL_C);
        }
        for word in words {
            terminal.until(word);
        }
        assert_eq!(terminal.child.wait().unwrap().code(), Some(130), "{args:?}");
        assert!(!terminal.seen.contains("^C"), "{:?}", terminal.seen);
        assert!(terminal.echoes_control_characters(), "{args:?}: the terminal is left as it was found");
    }
}
