//! regprov.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use super::Verdict;
use super::desk::{Desk, PLUGIN, PLUGIN_RECIPIENT, differ_only_in, hybrid_recipient};

fn made_for(desk: &Desk, name: &str, recipient: &str) {
    desk.run(&["regprov", "vault", "init", name, "-r", recipient]);
    set(desk, name, "ngc", "planted-ngc", &["--registry", "nvcr.io", "--username", "alice"]);
    set(desk, name, "hub", "planted-hub", &["--registry", "docker.io", "--username", "alice"]);
}

fn made(desk: &Desk, name: &str) -> String {
    let alice = if desk.path("alice").exists() { desk.run(&["age-keygen", "-y", "alice"]).trim().to_string() } else { desk.key("alice") };
    made_for(desk, name, &alice);
    alice
}

fn set(desk: &Desk, name: &str, login: &str, password: &str, more: &[&str]) {
    desk.feed(password, &[&["regprov", "vault", "set", name, login], more].concat());
}

/// As [`set`], by somebody on another machine: there nothing was seen of what is done here.
fn colleague_sets(desk: &Desk, login: &str, password: &str) {
    let mut command = desk.command(&["regprov", "vault", "set", "v.yml", login]);
    let mut child = command.env("XDG_STATE_HOME", desk.path("colleague")).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn opens(desk: &Desk, name: &str) -> bool {
    desk.runs(&["regprov", "vault", "show", name, "--reveal", "--identity", "alice"]).status.success()
}

/// Whether a run would go on: nothing is written, and nobody is contacted.
fn applies(desk: &Desk, more: &[&str]) -> bool {
    let output = desk.runs(&[&["regprov", "apply", "inventory.yml", "--check", "--identity", "alice"], more].concat());
    let told = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(matches!(output.status.code(), Some(0 | 5)), "{told}");
    output.status.success()
}

fn inventory(desk: &Desk, more: &str) {
    fs::create_dir_all(desk.path("node")).unwrap();
    let root = desk.path("node").display().to_string();
    desk.write(
        "inventory.yml",
        &format!("version: 1\nvault: v.yml\n{more}defaults: {{connection: local, root: {root}, targets: [docker]}}\ngroups:\n  here: {{hosts: here, logins: [ngc, hub]}}\n"),
    );
}

/// Signs `v.yml` with a key that the inventory allows.
fn sign(desk: &Desk) {
    desk.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f", "key"]);
    desk.write("allowed_signers", &format!("alice {}", desk.read("key.pub")));
    desk.run(&["regprov", "vault", "sign", "v.yml", "--key", "key"]);
}

pub(crate) fn changes_one(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    let before = desk.read("v.yml");
    set(desk, "v.yml", "ngc", "planted-new", &[]);
    let after = desk.read("v.yml");
    let without_ngc = |text: &str| {
        let ngc = text.find("  ngc:").unwrap();
        let end = ngc + text[ngc..].find("END AGE").unwrap();
        format!("{}{}", &text[..ngc], &text[end..])
    };
    differ_only_in(&without_ngc(&before), &without_ngc(&after), |l| l.starts_with("vault_serial:")).into()
}

pub(crate) fn refuses_moved(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    assert!(opens(desk, "v.yml"));
    let text = desk.read("v.yml");
    desk.write("v.yml", &text.replace("nvcr.io", "X").replace("docker.io", "nvcr.io").replace("registry: X", "registry: docker.io"));
    (!opens(desk, "v.yml")).into()
}

pub(crate) fn refuses_older(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    inventory(desk, "");
    let old = desk.read("v.yml");
    set(desk, "v.yml", "ngc", "planted-new", &[]);
    assert!(applies(desk, &[]));
    desk.write("v.yml", &old);
    (!applies(desk, &[]) && applies(desk, &["--allow-rollback"])).into()
}

pub(crate) fn refuses_forged(desk: &Desk) -> Verdict {
    let alice = made(desk, "v.yml");
    inventory(desk, "signed: required\n");
    sign(desk);
    assert!(applies(desk, &[]));
    // Mallory has no identity and no signing key: the recipient is all.
    let stamp: String = desk.read("v.yml").lines().filter(|l| l.starts_with("vault_")).map(|l| format!("{l}\n")).collect();
    made_for(desk, "forged.yml", &alice);
    let forged: String = desk.read("forged.yml").lines().filter(|l| !l.starts_with("vault_")).map(|l| format!("{l}\n")).collect();
    desk.write("v.yml", &(forged + &stamp));
    assert!(opens(desk, "v.yml"), "age alone does not tell");
    (!applies(desk, &[])).into()
}

pub(crate) fn merges(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.run(&["git", "init", "-q", "-b", "main"]);
    desk.run(&["regprov", "git-setup", "v.yml"]);
    let is_merged = desk.merges("v.yml", || set(desk, "v.yml", "ngc", "planted-new", &[]), || colleague_sets(desk, "hub", "planted-newer"));
    let shown = desk.run(&["regprov", "vault", "show", "v.yml", "--reveal", "--identity", "alice"]);
    (is_merged && shown.contains("planted-new\n") && shown.contains("planted-newer\n")).into()
}

pub(crate) fn rekeys_all_or_none(desk: &Desk) -> Verdict {
    for name in ["a.yml", "b.yml", "c.yml"] {
        made(desk, name);
    }
    let bob = desk.key("bob");
    desk.write("b.yml", &desk.read("b.yml").replacen("YWdl", "YWdm", 1));
    let before = desk.read("a.yml");
    let rekeyed = desk.runs(&["regprov", "vault", "rekey", "a.yml", "b.yml", "c.yml", "--add", &bob, "--identity", "alice"]);
    assert!(!rekeyed.status.success());
    (desk.read("a.yml") == before).into()
}

pub(crate) fn tells_what_was_read(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    let bob = desk.key("bob");
    desk.run(&["regprov", "vault", "rekey", "v.yml", "--add", &bob, "--identity", "alice"]);
    let output = desk.runs(&["regprov", "vault", "rekey", "v.yml", "--remove", &bob, "--identity", "alice"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (told.contains("ngc") && told.contains("hub")).into()
}

pub(crate) fn edits_in_memory(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.edits_in_memory(&["regprov", "vault", "edit", "v.yml", "--identity", "alice"]).into()
}

pub(crate) fn sweeps(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.sweeps(&["regprov", "vault", "edit", "v.yml", "--identity", "alice"]).into()
}

pub(crate) fn takes_ssh_keys(desk: &Desk) -> Verdict {
    desk.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "alice"]);
    made_for(desk, "v.yml", desk.read("alice.pub").trim());
    opens(desk, "v.yml").into()
}

pub(crate) fn refuses_changed(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    set(desk, "v.yml", "ngc", "planted-new", &["--expires", "2091-01-01"]);
    let change = |from: &str, to: &str| {
        let text = desk.read("v.yml");
        assert!(text.contains(from));
        desk.write("v.yml", &text.replace(from, to));
    };
    // Its registry and its account are sealed with a password.
    change("username: alice", "username: mallory");
    assert!(!opens(desk, "v.yml"));
    change("username: mallory", "username: alice");
    // Its end is not: that takes a signature.
    inventory(desk, "");
    change("2091", "2092");
    assert!(applies(desk, &[]));
    change("2092", "2091");
    inventory(desk, "signed: required\n");
    sign(desk);
    assert!(applies(desk, &[]));
    change("2091", "2092");
    (!applies(desk, &[])).into()
}

pub(crate) fn takes_a_password(desk: &Desk) -> Verdict {
    desk.runs(&["regprov", "vault", "init", "v.yml"]).status.success().into()
}

/// Whether it seals for this recipient.
fn seals_for(desk: &Desk, recipient: &str) -> Verdict {
    desk.runs(&["regprov", "vault", "init", "v.yml", "-r", recipient]).status.success().into()
}

pub(crate) fn takes_key_services(desk: &Desk) -> Verdict {
    seals_for(desk, "arn:aws:kms:eu-west-1:123456789012:key/1f2a")
}

pub(crate) fn takes_plugins(desk: &Desk) -> Verdict {
    desk.script("bin/age-plugin-fake", PLUGIN);
    seals_for(desk, PLUGIN_RECIPIENT)
}

pub(crate) fn takes_hybrid_keys(desk: &Desk) -> Verdict {
    seals_for(desk, hybrid_recipient())
}

/// Of two recipients each opens it.
pub(crate) fn demands_several(desk: &Desk) -> Verdict {
    let (alice, bob) = (desk.key("alice"), desk.key("bob"));
    desk.write("both", &format!("{alice}\n{bob}\n"));
    desk.run(&["regprov", "vault", "init", "v.yml", "-R", "both"]);
    set(desk, "v.yml", "ngc", "planted-ngc", &["--registry", "nvcr.io", "--username", "alice"]);
    (!opens(desk, "v.yml")).into()
}

/// Each file names its own recipients.
pub(crate) fn has_rules(desk: &Desk) -> Verdict {
    let alice = desk.key("alice");
    desk.write(".sops.yaml", &format!("creation_rules:\n  - age: {alice}\n"));
    desk.write("recipients.txt", &format!("{alice}\n"));
    desk.runs(&["regprov", "vault", "init", "v.yml"]).status.success().into()
}

pub(crate) fn seals_values(desk: &Desk) -> Verdict {
    let alice = desk.key("alice");
    desk.seals_values(|name| drop(desk.run(&["regprov", "vault", "encrypt", name, "-r", &alice]))).into()
}

pub(crate) fn seals_any(desk: &Desk) -> Verdict {
    let alice = desk.key("alice");
    let open = ["regprov", "vault", "decrypt", "f.bin", "--identity", "alice"];
    desk.seals_any(|name| drop(desk.run(&["regprov", "vault", "encrypt", name, "-r", &alice])), &open).into()
}

pub(crate) fn fills_environments(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.runs(&["regprov", "vault", "exec-env", "v.yml", "true"]).status.success().into()
}

pub(crate) fn is_read_by_ansible(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.is_read_by_ansible("msg={{ logins.ngc.password }}", &[]).into()
}

pub(crate) fn is_in_debian(desk: &Desk) -> Verdict {
    desk.is_in_debian("regprov")
}
