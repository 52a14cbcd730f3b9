//! ansible-vault: one password for everybody, a whole file or single values.

use super::Verdict;
use super::desk::{Desk, PLAIN};

const PASS: [&str; 2] = ["--vault-password-file", "vault-pass"];

fn whole(desk: &Desk, name: &str) {
    desk.write("vault-pass", "a password\n");
    desk.write(name, PLAIN);
    desk.run(&["ansible-vault", "encrypt", PASS[0], PASS[1], name]);
}

/// The file with another password of ngc.
fn set(desk: &Desk, name: &str, login: &str) {
    desk.editor(&format!("sed -i s/planted-{login}/planted-new/ \"$1\""));
    desk.run(&["ansible-vault", "edit", PASS[0], PASS[1], name]);
}

pub(crate) fn changes_one(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    let before = desk.read("v.yml");
    set(desk, "v.yml", "ngc");
    (before.lines().zip(desk.read("v.yml").lines()).skip(1).any(|(a, b)| a == b)).into()
}

pub(crate) fn refuses_moved(desk: &Desk) -> Verdict {
    desk.write("vault-pass", "a password\n");
    let value = |secret| desk.run(&["ansible-vault", "encrypt_string", PASS[0], PASS[1], secret, "--name", "password"]);
    let (ngc, hub) = (value("planted-ngc"), value("planted-hub"));
    let shown = |a: &str, b: &str| {
        let block = |v: &str| v.lines().map(|l| format!("  {l}\n")).collect::<String>();
        desk.write("v.yml", &format!("ngc:\n{}hub:\n{}", block(a), block(b)));
        let words =
            ["ansible", "localhost", "-i", "localhost,", "-c", "local", PASS[0], PASS[1], "-e", "@v.yml", "-m", "debug", "-a", "msg={{ ngc.password }}"];
        String::from_utf8(desk.runs(&words).stdout).unwrap()
    };
    assert!(shown(&ngc, &hub).contains("planted-ngc"));
    (!shown(&hub, &ngc).contains("planted-hub")).into()
}

pub(crate) fn refuses_older(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    let old = desk.read("v.yml");
    set(desk, "v.yml", "ngc");
    let view = || desk.run(&["ansible-vault", "view", PASS[0], PASS[1], "v.yml"]);
    assert!(view().contains("planted-new"));
    desk.write("v.yml", &old);
    (!view().contains("planted-ngc")).into()
}

pub(crate) fn merges(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    desk.merges("v.yml", || set(desk, "v.yml", "ngc"), || set(desk, "v.yml", "hub")).into()
}

pub(crate) fn rekeys_all_or_none(desk: &Desk) -> Verdict {
    for name in ["a.yml", "b.yml", "c.yml"] {
        whole(desk, name);
    }
    desk.write("b.yml", &desk.read("b.yml").replacen('3', "4", 6));
    let before = desk.read("a.yml");
    desk.write("new-pass", "another password\n");
    let rekeyed = desk.runs(&["ansible-vault", "rekey", PASS[0], PASS[1], "--new-vault-password-file", "new-pass", "a.yml", "b.yml", "c.yml"]);
    assert!(!rekeyed.status.success());
    (desk.read("a.yml") == before).into()
}

pub(crate) fn edits_in_memory(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    desk.edits_in_memory(&["ansible-vault", "edit", PASS[0], PASS[1], "v.yml"]).into()
}

pub(crate) fn sweeps(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    desk.sweeps(&["ansible-vault", "edit", PASS[0], PASS[1], "v.yml"]).into()
}

pub(crate) fn takes_ssh_keys(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    desk.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"]);
    desk.runs(&["ansible-vault", "view", PASS[0], "key", "v.yml"]).status.success().into()
}

pub(crate) fn refuses_changed(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    let view = || desk.runs(&["ansible-vault", "view", PASS[0], PASS[1], "v.yml"]).status.success();
    assert!(view());
    // All is in the ciphertext: one digit of it.
    let text = desk.read("v.yml");
    let (rest, last) = text.trim_end().split_at(text.trim_end().len() - 1);
    desk.write("v.yml", &format!("{rest}{}\n", if last == "3" { "4" } else { "3" }));
    (!view()).into()
}

pub(crate) fn takes_a_password(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    desk.run(&["ansible-vault", "view", PASS[0], PASS[1], "v.yml"]).contains("planted-ngc").into()
}

/// A program of one's own may ask for the password; a name of a key is none.
pub(crate) fn takes_key_services(desk: &Desk) -> Verdict {
    desk.write("v.yml", PLAIN);
    desk.runs(&["ansible-vault", "encrypt", "--vault-id", "kms@arn:aws:kms:eu-west-1:123456789012:key/1f2a", "v.yml"]).status.success().into()
}

/// Of two passwords that a file is given, one is taken.
pub(crate) fn demands_several(desk: &Desk) -> Verdict {
    desk.write("vault-pass", "a password\n");
    desk.write("other-pass", "another password\n");
    desk.write("v.yml", PLAIN);
    desk.run(&["ansible-vault", "encrypt", "--vault-id", "a@vault-pass", "--vault-id", "b@other-pass", "--encrypt-vault-id", "a", "v.yml"]);
    (!desk.runs(&["ansible-vault", "view", "--vault-id", "a@vault-pass", "v.yml"]).status.success()).into()
}

/// Of several passwords in `ansible.cfg` one has to be named for each new file.
pub(crate) fn has_rules(desk: &Desk) -> Verdict {
    desk.write("vault-pass", "a password\n");
    desk.write("other-pass", "another password\n");
    desk.write("ansible.cfg", "[defaults]\nvault_identity_list = a@vault-pass, b@other-pass\n");
    desk.write("a1.yml", PLAIN);
    let named = desk.run(&["ansible-vault", "encrypt", "--encrypt-vault-id", "a", "--output", "named.yml", "a1.yml"]);
    assert!(named.is_empty() && desk.read("named.yml").contains("$ANSIBLE_VAULT"), "they are read from ansible.cfg");
    desk.runs(&["ansible-vault", "encrypt", "a1.yml"]).status.success().into()
}

pub(crate) fn seals_values(desk: &Desk) -> Verdict {
    desk.write("vault-pass", "a password\n");
    desk.seals_values(|name| drop(desk.run(&["ansible-vault", "encrypt", PASS[0], PASS[1], name]))).into()
}

pub(crate) fn seals_any(desk: &Desk) -> Verdict {
    desk.write("vault-pass", "a password\n");
    let open = ["ansible-vault", "decrypt", PASS[0], PASS[1], "--output", "-", "f.bin"];
    desk.seals_any(|name| drop(desk.run(&["ansible-vault", "encrypt", PASS[0], PASS[1], name])), &open).into()
}

pub(crate) fn fills_environments(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    desk.runs(&["ansible-vault", "exec-env", PASS[0], PASS[1], "v.yml", "true"]).status.success().into()
}

pub(crate) fn is_read_by_ansible(desk: &Desk) -> Verdict {
    whole(desk, "v.yml");
    desk.is_read_by_ansible("msg={{ ngc.password }}", &PASS).into()
}

pub(crate) fn is_in_debian(desk: &Desk) -> Verdict {
    desk.is_in_debian("ansible-core")
}
