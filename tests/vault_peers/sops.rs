//! SOPS with age.

use super::Verdict;
use super::desk::{Desk, HYBRID, PLAIN, PLUGIN, PLUGIN_IDENTITY, PLUGIN_RECIPIENT, differ_only_in, hybrid_recipient};

fn made(desk: &Desk, name: &str) -> String {
    let alice = if desk.path("alice").exists() { desk.run(&["age-keygen", "-y", "alice"]).trim().to_string() } else { desk.key("alice") };
    desk.write(name, PLAIN);
    desk.run(&["sops", "encrypt", "-i", "--age", &alice, name]);
    alice
}

fn set(desk: &Desk, name: &str, login: &str) {
    desk.run(&["sops", "set", name, &format!("[\"{login}\"][\"password\"]"), "\"planted-new\""]);
}

fn opens(desk: &Desk, name: &str) -> bool {
    desk.runs(&["sops", "decrypt", name]).status.success()
}

pub(crate) fn changes_one(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    let before = desk.read("v.yml");
    set(desk, "v.yml", "ngc");
    let after = desk.read("v.yml");
    let hub = |text: &str| text[text.find("hub:").unwrap()..text.find("sops:").unwrap()].to_string();
    (hub(&before) == hub(&after) && differ_only_in(&before, &after, |l| ["password:", "mac:", "lastmodified:"].iter().any(|k| l.trim().starts_with(k)))).into()
}

pub(crate) fn refuses_moved(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    assert!(opens(desk, "v.yml"));
    let text = desk.read("v.yml");
    let sealed: Vec<&str> = text.lines().filter(|l| l.trim().starts_with("password:")).collect();
    let swapped: String = text
        .lines()
        .map(|l| {
            if l == sealed[0] {
                sealed[1]
            } else if l == sealed[1] {
                sealed[0]
            } else {
                l
            }
        })
        .map(|l| format!("{l}\n"))
        .collect();
    assert_ne!(text, swapped);
    desk.write("v.yml", &swapped);
    (!opens(desk, "v.yml")).into()
}

pub(crate) fn refuses_older(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    let old = desk.read("v.yml");
    set(desk, "v.yml", "ngc");
    assert!(opens(desk, "v.yml"));
    desk.write("v.yml", &old);
    (!opens(desk, "v.yml")).into()
}

pub(crate) fn refuses_forged(desk: &Desk) -> Verdict {
    let alice = made(desk, "v.yml");
    // Mallory has no identity: the recipient is all.
    desk.write("forged.yml", &PLAIN.replace("planted-ngc", "of mallory"));
    let forged = desk.command(&["sops", "encrypt", "-i", "--age", &alice, "forged.yml"]).env_remove("SOPS_AGE_KEY_FILE").output().unwrap();
    assert!(forged.status.success());
    (!opens(desk, "forged.yml")).into()
}

pub(crate) fn merges(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.merges("v.yml", || set(desk, "v.yml", "ngc"), || set(desk, "v.yml", "hub")).into()
}

pub(crate) fn rekeys_all_or_none(desk: &Desk) -> Verdict {
    let mut alice = String::new();
    for name in ["a.yml", "b.yml", "c.yml"] {
        alice = made(desk, name);
    }
    let bob = desk.key("bob");
    desk.write(".sops.yaml", &format!("creation_rules:\n  - age: {alice},{bob}\n"));
    // The second is not what it was.
    desk.write("b.yml", &desk.read("b.yml").replace("YWdl", "YWdm"));
    let before = desk.read("a.yml");
    assert!(!desk.runs(&["sops", "updatekeys", "-y", "a.yml", "b.yml", "c.yml"]).status.success());
    (desk.read("a.yml") == before).into()
}

pub(crate) fn tells_what_was_read(desk: &Desk) -> Verdict {
    let alice = made(desk, "v.yml");
    let bob = desk.key("bob");
    let told = |keys: &str| {
        desk.write(".sops.yaml", &format!("creation_rules:\n  - age: {keys}\n"));
        let output = desk.runs(&["sops", "updatekeys", "-y", "v.yml"]);
        assert!(output.status.success());
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    told(&format!("{alice},{bob}"));
    let told = told(&alice);
    assert!(told.contains(&bob), "{told}");
    (told.contains("ngc") && told.contains("hub")).into()
}

pub(crate) fn edits_in_memory(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.edits_in_memory(&["sops", "edit", "v.yml"]).into()
}

pub(crate) fn sweeps(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.sweeps(&["sops", "edit", "v.yml"]).into()
}

pub(crate) fn takes_ssh_keys(desk: &Desk) -> Verdict {
    desk.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"]);
    desk.write("v.yml", PLAIN);
    desk.run(&["sops", "encrypt", "-i", "--age", desk.read("key.pub").trim(), "v.yml"]);
    desk.command(&["sops", "decrypt", "v.yml"])
        .env_remove("SOPS_AGE_KEY_FILE")
        .env("SOPS_AGE_SSH_PRIVATE_KEY_FILE", desk.path("key"))
        .output()
        .unwrap()
        .status
        .success()
        .into()
}

pub(crate) fn refuses_changed(desk: &Desk) -> Verdict {
    let alice = desk.key("alice");
    desk.write("v.yml", &PLAIN.replace("  password: planted-ngc", "  expires: 2031-01-01\n  password: planted-ngc"));
    desk.run(&["sops", "encrypt", "-i", "--age", &alice, "--unencrypted-regex", "^expires$", "v.yml"]);
    assert!(opens(desk, "v.yml"));
    let text = desk.read("v.yml");
    desk.write("v.yml", &text.replace("2031", "2032"));
    assert_ne!(text, desk.read("v.yml"));
    (!opens(desk, "v.yml")).into()
}

pub(crate) fn takes_a_password(desk: &Desk) -> Verdict {
    desk.write("v.yml", PLAIN);
    desk.runs(&["sops", "encrypt", "-i", "v.yml"]).status.success().into()
}

pub(crate) fn takes_plugins(desk: &Desk) -> Verdict {
    desk.script("bin/age-plugin-fake", PLUGIN);
    desk.write("alice", PLUGIN_IDENTITY);
    desk.write("v.yml", PLAIN);
    desk.run(&["sops", "encrypt", "-i", "--age", PLUGIN_RECIPIENT, "v.yml"]);
    opens(desk, "v.yml").into()
}

pub(crate) fn takes_hybrid_keys(desk: &Desk) -> Verdict {
    desk.write("alice", HYBRID);
    desk.write("v.yml", PLAIN);
    desk.run(&["sops", "encrypt", "-i", "--age", hybrid_recipient(), "v.yml"]);
    opens(desk, "v.yml").into()
}

pub(crate) fn demands_several(desk: &Desk) -> Verdict {
    let (alice, bob) = (desk.key("alice"), desk.key("bob"));
    desk.write(".sops.yaml", &format!("creation_rules:\n  - shamir_threshold: 2\n    key_groups:\n      - age: [{alice}]\n      - age: [{bob}]\n"));
    desk.write("v.yml", PLAIN);
    desk.run(&["sops", "encrypt", "-i", "v.yml"]);
    let alone = opens(desk, "v.yml");
    desk.write("alice", &(desk.read("alice") + &desk.read("bob")));
    assert!(opens(desk, "v.yml"));
    (!alone).into()
}

pub(crate) fn has_rules(desk: &Desk) -> Verdict {
    let (alice, bob) = (desk.key("alice"), desk.key("bob"));
    desk.write(".sops.yaml", &format!("creation_rules:\n  - path_regex: a.*\\.yml\n    age: {alice}\n  - path_regex: b.*\\.yml\n    age: {bob}\n"));
    for name in ["a1.yml", "b1.yml"] {
        desk.write(name, PLAIN);
        desk.run(&["sops", "encrypt", "-i", name]);
    }
    (opens(desk, "a1.yml") && !opens(desk, "b1.yml")).into()
}

pub(crate) fn seals_values(desk: &Desk) -> Verdict {
    let alice = desk.key("alice");
    desk.seals_values(|name| drop(desk.run(&["sops", "encrypt", "-i", "--age", &alice, name]))).into()
}

pub(crate) fn seals_any(desk: &Desk) -> Verdict {
    let alice = desk.key("alice");
    desk.seals_any(|name| drop(desk.run(&["sops", "encrypt", "-i", "--age", &alice, name])), &["sops", "decrypt", "f.bin"]).into()
}

pub(crate) fn fills_environments(desk: &Desk) -> Verdict {
    let alice = desk.key("alice");
    desk.write("v.yml", "token: planted\n");
    desk.run(&["sops", "encrypt", "-i", "--age", &alice, "v.yml"]);
    (desk.run(&["sops", "exec-env", "v.yml", "echo $token"]).trim() == "planted").into()
}

pub(crate) fn is_read_by_ansible(desk: &Desk) -> Verdict {
    made(desk, "v.yml");
    desk.is_read_by_ansible("msg={{ ngc.password }}", &[]).into()
}

pub(crate) fn is_in_debian(desk: &Desk) -> Verdict {
    desk.is_in_debian("sops")
}
