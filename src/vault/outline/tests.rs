//! What an outline shows, what it must not, and that it follows what a run reads.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::inventory::examine;
use crate::model::{Registry, Secret, Username};
use crate::vault::testing::to_alice;
use crate::vault::{SealedValue, seal};

fn sealed_for_alice() -> String {
    let (registry, username) = (Registry::parse("docker.io").unwrap().0, Username::parse("acme").unwrap());
    seal(&SealedValue { registry, username, auth_hosts: vec![], password: Secret::new("hunter2".to_string()) }, &to_alice()).unwrap()
}

fn block(armored: &str, indent: usize) -> String {
    armored.lines().map(|l| format!("{:indent$}{l}\n", "")).collect()
}

/// An outline without its last line, the mark over everything.
fn structure(text: &str) -> String {
    let outline = outline("v", text);
    let (lines, last) = outline.trim_end().rsplit_once('\n').unwrap();
    assert!(last.starts_with("whole text: mark ") && last.len() == "whole text: mark ".len() + 32, "{outline}");
    lines.to_string()
}

#[test]
fn structure_is_shown_and_secrets_are_not() {
    let (one, two) = (sealed_for_alice(), sealed_for_alice());
    let print = format!("hmac-sha256:0123456789abcdef:{}", "5a".repeat(32));
    let vault = |armored: &str| {
        format!(
            "version: 1\nrecipients:\n  - age1alice # hunter2\n  - AGE-SECRET-KEY-1HUNTER2\nbecome_password: hunter2\nlogins:\n  # hunter2\n  hub:\n    registry: docker.io\n    username: \"acme\"\n    expires: 2027-01-01\n    fingerprint: {print}\n    pasword: hunter2\n    hunter2: x\n    password: |\n{}    previous:\n      username: 'yes'\n      password: hunter2\n  z: {{registry: 'https://a:hunter2@quay.io', password: hun,ter2, fingerprint: hunter2, password_command: [aws, '- e\\c\u{200b}r']}}\n  hunter: hunter2\ngroups:\n  gpu:\n    hosts:\n      - n[1-3]\n      - {{slurm: {{partition: a}}, group: g}}\n    # hunter2\n    env_token: hunter2\n    jump: {{a: hunter2}}\n    port: [22, [hunter2]]\n    targets: [docker, {{enroot: {{group: users}}}}, kubelet: hunter2]\n    children: []\nhosts: {{a: {{}}, b:}}\nvault_id: v1\nvault_serial: 4\n",
            block(armored, 6)
        )
    };
    let text = vault(&one);
    let seal_mark = mark::<8>("v1", SEAL_DOMAIN, one.trim().as_bytes());
    let key_mark = mark::<8>("v1", SEAL_DOMAIN, b"AGE-SECRET-KEY-1HUNTER2");
    let want = format!(
        "version: 1\nrecipients:\n  - age1alice\n  - (not shown), mark {key_mark}\nbecome_password: in the clear (not shown)\nlogins:\n  hub:\n    registry: docker.io\n    username: acme\n    expires: 2027-01-01\n    fingerprint: {print}\n    pasword: (not shown)\n    (unknown key): (not shown)\n    password: sealed for 1 recipient, mark {seal_mark}\n    previous:\n      username: \"yes\"\n      password: in the clear (not shown)\n  z:\n    registry: https://a:(not shown)@quay.io\n    password: in the clear (not shown)\n    (unknown key): (not shown)\n    fingerprint: (not shown)\n    password_command:\n      - aws\n      - \"- e\\\\c\\u{{200b}}r\"\n  hunter: (not shown)\ngroups:\n  gpu:\n    hosts:\n      - n[1-3]\n      - slurm:\n          partition: a\n        group: g\n    (unknown key): (not shown)\n    jump: (not shown)\n    port:\n      - 22\n      - (not shown)\n    targets:\n      - docker\n      - enroot:\n          group: users\n      - kubelet: (not shown)\n    children: []\nhosts:\n  a: {{}}\n  b:\nvault_id: v1\nvault_serial: 4"
    );
    assert_eq!(structure(&text), want);
    // Another seal, another vault: another mark, and nothing else.
    assert_eq!(structure(&vault(&two)), want.replace(&seal_mark, &mark::<8>("v1", SEAL_DOMAIN, two.trim().as_bytes())));
    assert!(two != one && mark::<8>("v2", SEAL_DOMAIN, one.trim().as_bytes()) != seal_mark);
    assert_eq!(outline("v", &text.replace('\n', "\r\n")), outline("v", &text));
}

/// A vault with hosts in it, as it stands in the cases below. `@` is a seal.
const BASE: &str = "version: 1\ndefaults:\n  proxy_command: ssh -W %h:%p -o \"X=secret:1\" bastion\ngroups:\n  secret-nodes:\n    hosts: n[1-2]\n    logins: [token, hub]\n    targets: [docker]\nhosts:\n  token.example.org:\n    port: 22 # hunter2\nlogins:\n  token:\n    registry: registry.example.org\n    username: ci\n    password_command: [aws, ecr, get-login-password]\n  hub:\n    # hunter2\n    registry: docker.io\n    username: ci\n    password: |\n@  clear: {registry: quay.io, username: ci, password: hunter2}\nvault_id: v0123456789abcdef\nvault_serial: 4\n";

fn base() -> String {
    BASE.replace('@', &block(&sealed_for_alice(), 6))
}

/// What a run takes from a text, by readers that the outline has nothing to do with: its faults, or its values without the clear passwords.
fn read(text: &str) -> std::result::Result<Json, Vec<String>> {
    let faults = examine("v", text);
    if !faults.is_empty() {
        return Err(faults.iter().map(|p| p.message.clone()).collect());
    }
    let mut json = serde_yaml::from_str::<Json>(text).unwrap();
    scrub(&mut json);
    Ok(json)
}

fn scrub(json: &mut Json) {
    let Json::Object(map) = json else { return };
    for (key, value) in map.iter_mut() {
        match value.as_str() {
            Some(text) if key.ends_with("password") => *value = Json::from(if is_age_file(text.trim().as_bytes()) { text.trim() } else { "clear" }),
            _ => scrub(value),
        }
    }
}

#[test]
fn an_outline_changes_with_what_a_run_would_do() {
    let base = base();
    assert!(read(&base).is_ok(), "{:?}", read(&base));
    let command = ("[aws, ecr, get-login-password]", "[sh, -c, \"touch PWNED; echo pw\"]");
    let explicit = |text: &str| text.replacen("version: 1\n", "? version\n: 1\n", 1);
    let change = |from: &str, to: &str| {
        assert!(base.contains(from), "{from}");
        base.replacen(from, to, 1)
    };
    let flow = change(
        "  token:\n    registry: registry.example.org\n    username: ci\n    password_command: [aws, ecr, get-login-password]\n",
        "  token: {registry: registry.example.org, username: ci, password_command: [aws, ecr, get-login-password]}\n",
    );
    let both = |text: &str, from: &str, to: &str| (text.to_string(), text.replacen(from, to, 1));
    let cases: Vec<(&str, (String, String), bool)> = vec![
        ("a command", both(&base, command.0, command.1), true),
        ("a command below an explicit key", both(&explicit(&base), command.0, command.1), true),
        ("an explicit key", (base.clone(), explicit(&base)), false),
        ("a jump host in a group with a name", both(&base, "    hosts: n[1-2]\n", "    hosts: n[1-2]\n    jump: evil@6.6.6.6\n"), true),
        ("an address of a host with a name", both(&base, "    port: 22 ", "    port: 22\n    address: 6.6.6.6 "), true),
        ("a proxy command with a word and a colon", both(&base, "\" bastion\n", "\" evil; touch x\n"), true),
        ("a command with a URL in it", both(&base.replacen(command.0, "[sh, -c, 'ssh://a:hunter@b']", 1), "a:hunter@", "a:$(touch${IFS}x)@"), true),
        ("a key in a command", both(&base.replacen("bastion", "AGE-SECRET-KEY-", 1), "AGE-SECRET-KEY-", "evil AGE-SECRET-KEY-"), true),
        ("a login with a name", both(&base, "  token:\n    registry", "  secret:\n    registry"), true),
        ("a command in flow style", both(&flow, command.0, command.1), true),
        ("flow style", (base.clone(), flow.clone()), false),
        ("quoted keys", (base.clone(), change("password_command:", "\"password_\\x63ommand\":")), false),
        ("a quoted value", (base.clone(), change("    username: ci\n", "    username: 'ci'\n")), false),
        ("a number in quotes", both(&base, "    username: ci\n", "    username: \"22\"\n"), true),
        ("a value of several lines", (base.clone(), change("registry.example.org", "|-\n      registry.example.org")), false),
        ("a block scalar", both(&base, "ssh -W %h:%p -o \"X=secret:1\" bastion", "|\n    ssh\n    # evil; touch x"), true),
        (
            "a line break in a block scalar",
            both(&base.replacen("%h:%p -o \"X=secret:1\" bastion", ">-\n    a\n    b", 1).replacen("ssh -W >-", ">-", 1), "    a\n    b", "    a\n\n    b"),
            true,
        ),
        ("a backslash and what looks like it", both(&base, "username: ci", "username: c\\u{200b}i"), true),
        ("CRLF", (base.clone(), base.replace('\n', "\r\n")), false),
        ("a tab before a comment", (base.clone(), change("22 # hunter2", "22\t# hunter2")), false),
        ("a tab for indentation", both(&base, "    port: 22", "\tport: 22"), true),
        ("a comment", (base.clone(), change("    # hunter2\n", "    # hunter3\n")), false),
        ("a duplicate key", both(&base, "    username: ci\n", "    username: ci\n    username: hunter\n"), true),
        ("a duplicate command", both(&base, "  hub:\n", "    password_command: [sh]\n  hub:\n"), true),
        ("an anchor", both(&base, "docker.io", "&p docker.io"), true),
        ("an alias", both(&base, "registry: docker.io", "registry: *p"), true),
        ("a merge key", both(&base, "    registry: docker.io\n", "    registry: docker.io\n    <<: {password_command: [sh]}\n"), true),
        ("a tag", both(&base, "username: ci", "username: !hunter2 ci"), true),
        ("a directive", (base.clone(), format!("%YAML 1.2\n---\n{base}")), true),
        ("a second document", (base.clone(), format!("{base}---\nhunter2: 1\n")), true),
        ("a seal that is taken out", both(&base, "    password: |\n", "    canary: |\n"), true),
        ("a clear password and another", both(&base, "password: hunter2", "password: hunter3"), false),
        ("an unknown key", both(&base, "vault_id", "foo: hunter2secret\nvault_id"), true),
        ("a slip", both(&base, "vault_id", "become_passwrod: hunter2secret\nvault_id"), true),
        ("an anchored unknown key", both(&base, "vault_id", "x: &p hunter2secret\nvault_id"), true),
        ("the order of what is tried in order", both(&base, "[token, hub]", "[hub, token]"), true),
        ("a byte order mark", (base.clone(), format!("\u{feff}{base}")), false),
        ("two texts that nobody reads", ("a: [hunter2\n".into(), "b: [hunter2\n".into()), false),
    ];
    for (name, (before, after), differs) in &cases {
        assert_ne!(before, after, "{name}");
        let is_one = before.replace("\r\n", "\n") == after.replace("\r\n", "\n");
        assert_eq!(outline("v", before) == outline("v", after), is_one, "{name}");
        assert_eq!(read(before) != read(after), *differs, "{name}: {:?}", read(after));
        assert_eq!(structure(before) != structure(after), *differs, "{name}:\n{}", structure(after));
        assert!(!outline("v", after).contains("hunter2"), "{name}:\n{}", structure(after));
    }
    // The controls: a name like a secret's hides nothing, and where nothing can be read that is said.
    assert!(structure(&cases[3].1.1).contains("  secret-nodes:\n    hosts: n[1-2]\n    jump: evil@6.6.6.6\n"));
    let unread = structure(&change("docker.io", "&p hunter2"));
    let lines = base.lines().count();
    assert_eq!(unread, format!("v:19:18: an anchor: regprov reads none\n({lines} lines that are not shown: what is secret in them cannot be told)"));
}

#[test]
fn whole_files_and_what_is_no_vault() {
    let sealed = sealed_for_alice();
    let shown = outline_of_whole(sealed.as_bytes());
    assert!(shown.starts_with("encrypted as a whole, for 1 recipient, mark ") && shown != outline_of_whole(sealed_for_alice().as_bytes()), "{shown}");
    for (text, want) in [
        ("", "v: is empty\n(0 lines"),
        ("logins: hunter2\n", "logins: (not shown)"),
        ("logins:\n  a:\n    password: [hunter2]\n", "logins:\n  a:\n    password: (not shown)"),
        ("<<<<<<< a\nhunter2\n>>>>>>> b\n", "v:1: an unresolved merge conflict (lines 1 to 3)\n(3 lines"),
        ("- hunter2\n", "(not shown)"),
    ] {
        let shown = structure(text);
        assert!(shown.starts_with(want) && !shown.contains("hunter2"), "{shown}");
    }
}

/// What is put into a vault's line, in the place of a value or as a line of its own.
const PIECES: [&str; 24] = [
    "evil@6.6.6.6",
    "'evil'",
    "\"ev\\x69l\"",
    "[a, b]",
    "[]",
    "{}",
    "{a: b}",
    "",
    "~",
    "22",
    "'22'",
    "\"~\"",
    "|\n        a\n        b",
    ">-\n        a\n        b",
    "a b",
    "'a: b'",
    "a:b",
    "\"a # b\"",
    "a # b",
    "'- a'",
    "\"- a\"",
    "'[]'",
    "secret",
    "a\\b",
];

const KEYS: [&str; 14] = [
    "jump",
    "proxy_command",
    "address",
    "password_command",
    "password",
    "secret",
    "'jump'",
    "port",
    "username",
    "# jump",
    "- jump",
    "? jump\n    ",
    "hosts",
    "user",
];

/// An edit of one line: of which, how, and with what.
fn edit(text: &str, (at, how, piece, key, indent): (usize, usize, usize, usize, usize)) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    let at = at % lines.len();
    let (piece, key) = (PIECES[piece % PIECES.len()], KEYS[key % KEYS.len()]);
    let old = lines[at].clone();
    let old_indent = old.len() - old.trim_start().len();
    match how % 7 {
        0 => drop(lines.remove(at)),
        1 => lines[at] = format!("{}: {piece}", old.split(':').next().unwrap_or_default()),
        2 => lines.insert(at, format!("{:old_indent$}{key}: {piece}", "")),
        3 => lines.insert(at, format!("{:1$}{key}: {piece}", "", indent % 4 * 2)),
        4 => lines[at] = format!("{:1$}{2}", "", indent % 7, old.trim_start()),
        5 => lines.insert(at, old),
        _ => lines[at] = format!("{old} # {piece}").replace('\n', " "),
    }
    lines.join("\n") + "\n"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]
    /// Edits that an outline does not tell are edits that a run does not see. The controls below say that this is not for want of edits.
    #[test]
    fn what_an_outline_does_not_tell_changes_nothing(
        one in (0usize..99, 0usize..7, 0usize..99, 0usize..99, 0usize..9),
        two in (0usize..99, 0usize..7, 0usize..99, 0usize..99, 0usize..9),
        is_same_place in any::<bool>(),
    ) {
        let base = BASE.replace('@', &SEAL);
        let two = if is_same_place { (one.0, one.1, two.2, one.3, one.4) } else { two };
        let texts = [base.clone(), edit(&base, one), edit(&base, two), edit(&edit(&base, one), two)].map(|text| (structure(&text), read(&text), text));
        for (a, b) in [(0, 1), (0, 2), (1, 2), (1, 3)] {
            let (a, b) = (&texts[a], &texts[b]);
            prop_assert_eq!(outline("v", &a.2) == outline("v", &b.2), a.2 == b.2);
            if a.0 == b.0 && (a.1.is_ok() || b.1.is_ok()) {
                prop_assert_eq!(&a.1, &b.1, "\n{}\n{}\n{}", a.2, b.2, a.0);
            }
        }
    }
}

/// One seal, for all edits.
static SEAL: LazyLock<String> = LazyLock::new(|| block(&sealed_for_alice(), 6));

/// The control of the property: among the edits of one line there are many that a run takes, some that it does not see, and many kinds.
#[test]
fn the_edits_of_the_property_reach_what_it_is_about() {
    let base = BASE.replace('@', &SEAL);
    let was = read(&base);
    let (mut seen, mut unseen, mut kinds) = (0, 0, BTreeSet::new());
    for at in 0..base.lines().count() {
        for (how, piece, key) in (0..7).flat_map(|how| (at % 3..PIECES.len()).step_by(3).map(move |piece| (how, piece, (piece + at) % KEYS.len()))) {
            let edited = edit(&base, (at, how, piece, key, 2));
            let now = read(&edited);
            if now.is_ok() {
                kinds.insert(how);
                if now == was { unseen += 1 } else { seen += 1 }
            }
        }
    }
    assert!(seen > 100 && unseen > 100 && kinds.len() >= 5, "{seen} {unseen} {kinds:?}");
}
