//! What must not be committed: a vault with a password in the clear, a secret key, half a merge, seals for others than it lists.

use super::VaultDocument;
use super::document::VaultLogin;
use super::edit::lines::Lines;
use super::file::recipient_count;
use super::is_age_file;
use crate::error::{Problem, rule};
use crate::model::conflict;
use crate::model::text::{escape, shell_word};

/// Whether a YAML text is a vault, or an inventory with logins of its own, as far as a look at its lines can tell.
pub fn looks_like_vault(text: &str) -> bool {
    let key = |name: &str| text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r'])));
    key("vault_id:") || key("logins:") && text.contains("BEGIN AGE ENCRYPTED FILE")
}

/// Whether a YAML text holds logins with passwords in the clear, as a vault does that was decrypted as a whole.
pub fn holds_plain_logins(text: &str) -> bool {
    (text.contains("\nlogins:") || text.starts_with("logins:"))
        && VaultDocument::parse("", text).is_ok_and(|document| document.logins().any(|(_, login, ..)| login.registry.is_some() && is_plain(&login.password)))
}

/// All that is wrong with a text that is to be committed as `file`. No identity is needed; nothing secret is quoted.
pub fn check(file: &str, text: &str) -> Vec<Problem> {
    let problem = |line: u64, message: String, hint: Option<String>| Problem { rule: rule::INPUT, file: file.to_string(), line, column: 0, message, hint };
    if let Some(conflict) = conflict::find(text) {
        return vec![problem(conflict.first, conflict.text(), Some(conflict::hint(file)))];
    }
    let mut problems: Vec<Problem> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| is_secret_key(line))
        .map(|(at, _)| {
            let hint = "take it out, take it as known to all who could read it here, and make a new one";
            problem(at, "a secret key".to_string(), Some(hint.to_string()))
        })
        .collect();
    let document = match VaultDocument::parse(file, text) {
        Ok(document) => document,
        Err(e) => {
            // It names its place itself.
            let message = e.message.strip_prefix(&format!("{file}: ")).unwrap_or(&e.message).to_string();
            let rest = message.strip_prefix(&format!("{file}:")).map(str::to_string);
            let (line, message) = match rest.as_deref().and_then(|rest| rest.split_once(": ")) {
                Some((place, message)) => (place.split(':').next().and_then(|n| n.parse().ok()).unwrap_or(0), message.to_string()),
                None => (0, message),
            };
            problems.push(problem(line, message, e.hint));
            return problems;
        }
    };
    let lines = Lines::new(text);
    let listed = document.recipients.as_ref().map_or(0, Vec::len);
    for (name, login, line, _) in document.logins() {
        let shown = escape(name);
        let at = |previous: bool| line_of(&lines, name, previous).unwrap_or(line);
        for (what, password, previous) in [("password", &login.password, false), ("previous password", &previous_of(login), true)] {
            let hint = match previous {
                false => {
                    format!("seal it with `regprov vault set {} {}`, and change it at the registry: it may have been seen", shell_word(file), shell_word(name))
                }
                true => "end its rotation, and change the password at the registry: it may have been seen".to_string(),
            };
            problems.extend(
                wrong(password, listed, file)
                    .map(|(why, clear)| problem(at(previous), format!("the {what} of login `{shown}` {why}"), Some(clear.unwrap_or(hint)))),
            );
        }
    }
    let sudo = wrong(&document.become_password, listed, file).map(|(why, clear)| {
        let line = lines.find_key("become_password", 0, 0..lines.lines.len()).map_or(0, |(at, _)| at as u64 + 1);
        let hint = clear.unwrap_or_else(|| format!("seal it with `regprov vault set {} --become`", shell_word(file)));
        problem(line, format!("the password of sudo {why}"), Some(hint))
    });
    problems.extend(sudo);
    problems.sort_by_key(|problem| problem.line);
    problems
}

fn previous_of(login: &VaultLogin) -> Option<String> {
    login.previous.as_ref()?.password.clone()
}

fn is_plain(password: &Option<String>) -> bool {
    password.as_deref().is_some_and(|password| !is_age_file(password.trim().as_bytes()))
}

/// What is wrong with how a password is kept, and what to do about it where that is not to seal it.
fn wrong(password: &Option<String>, listed: usize, file: &str) -> Option<(String, Option<String>)> {
    let text = password.as_deref()?.trim();
    if !is_age_file(text.as_bytes()) {
        return Some(("stands in the clear".to_string(), None));
    }
    match recipient_count(text.as_bytes()) {
        Some(n) if n == listed || listed == 0 => None,
        Some(n) => Some((
            format!("is sealed for {n} recipients, and the file lists {listed}"),
            Some(format!("seal it for those listed: `regprov vault rekey {}`", shell_word(file))),
        )),
        None => Some(("is no whole seal".to_string(), Some("take it from version control again".to_string()))),
    }
}

/// The line of a login's password, from 1.
fn line_of(lines: &Lines<'_>, login: &str, previous: bool) -> Option<u64> {
    let (fields, indent) = lines.fields_of(login)?;
    let key = if previous { "previous" } else { "password" };
    lines.find_key(key, indent, fields).map(|(at, _)| at as u64 + 1)
}

/// Whether a line holds a secret key of age, an audit key or the first line of a private key.
fn is_secret_key(line: &str) -> bool {
    let begins = |word: &str, then: fn(u8) -> bool| {
        line.match_indices(word).any(|(at, _)| line.as_bytes()[at + word.len()..].iter().take_while(|b| then(**b)).count() >= KEY_CHARS_MIN)
    };
    begins("AGE-SECRET-KEY-1", |b| b.is_ascii_alphanumeric())
        || begins("AGE-SECRET-KEY-PQ-1", |b| b.is_ascii_alphanumeric())
        || begins("REGPROV-AUDIT-KEY-1", |b| b.is_ascii_hexdigit())
        || line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----")
}

/// With fewer characters behind its name it is talk of a key.
const KEY_CHARS_MIN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Registry, Secret, Username};
    use crate::vault::testing::{ALICE, to_alice};
    use crate::vault::{SealedValue, seal};

    fn sealed() -> String {
        let (registry, username) = (Registry::parse("docker.io").unwrap().0, Username::parse("acme").unwrap());
        let value = SealedValue { registry, username, auth_hosts: vec![], password: Secret::new("hunter2".to_string()) };
        seal(&value, &to_alice()).unwrap().lines().map(|l| format!("      {l}\n")).collect()
    }

    fn vault(password: &str) -> String {
        format!("# a vault\nrecipients: [age1x]\nlogins:\n  hub:\n    registry: docker.io\n    username: acme\n    password: {password}\nvault_id: v1\n")
    }

    #[track_caller]
    fn check_text(text: &str, want: &[&str]) {
        let got: Vec<String> = check("v.yml", text).iter().map(Problem::to_string).collect();
        assert_eq!(got.len(), want.len(), "{got:?}");
        for (got, want) in got.iter().zip(want) {
            assert!(got.starts_with(want) && got.contains("hint: ") && !got.contains("hunter2") && !got.contains(ALICE), "{got}");
        }
    }

    #[test]
    fn each_fault_has_its_line() {
        let good = vault(&format!("|\n{}", sealed()));
        check_text(&good, &[]);
        check_text(&vault("hunter2"), &["v.yml:7: the password of login `hub` stands in the clear"]);
        check_text(&vault("|\n      -----BEGIN AGE ENCRYPTED FILE-----\n      hunter2"), &["v.yml:7: the password of login `hub` is no whole seal"]);
        check_text(&good.replace("[age1x]", "[age1x, age1y]"), &["v.yml:7: the password of login `hub` is sealed for 1 recipients, and the file lists 2"]);
        check_text(&good.replace("recipients: [age1x]\n", ""), &[]);
        check_text(
            &good.replace("vault_id", "become_password: hunter2\nvault_id"),
            &[&format!("v.yml:{}: the password of sudo stands in the clear", good.lines().count())],
        );
        check_text(
            &good.replace("    username", "    previous:\n      password: hunter2\n    username"),
            &["v.yml:6: the previous password of login `hub` stands in the clear"],
        );
        check_text(&format!("# {ALICE}\n{good}"), &["v.yml:1: a secret key"]);
        check_text(&format!("# {}{}\n{good}", "REGPROV-AUDIT-KEY-1", "0F".repeat(32)), &["v.yml:1: a secret key"]);
        check_text(&format!("# -----BEGIN OPENSSH {}-----\n{good}", "PRIVATE KEY"), &["v.yml:1: a secret key"]);
        check_text(&format!("# keys begin with AGE-SECRET-KEY-1...\n{good}"), &[]);
        check_text(&format!("<<<<<<< a\n{good}>>>>>>> b\n"), &["v.yml:1: an unresolved merge conflict (lines 1 to"]);
        let got: Vec<String> = check("v.yml", &good.replace("  hub:", "  hub: {}\n  hub:")).iter().map(Problem::to_string).collect();
        assert_eq!(got, ["v.yml:5: a key stands here twice"]);
    }

    #[test]
    fn all_faults_are_told_by_their_lines() {
        let text = format!("{}# {ALICE}\n", vault("hunter2").replace("logins:", "become_password: hunter2\nlogins:"));
        check_text(&text, &["v.yml:3: the password of sudo", "v.yml:8: the password of login `hub`", "v.yml:10: a secret key"]);
    }

    #[test]
    fn vaults_are_known_by_their_looks() {
        for (text, is_vault, is_plain) in [
            (&*vault("x"), true, true),
            ("version: 1\nlogins:\n  a: {registry: x, password: hunter2}\n", false, true),
            ("logins:\r\n  a: {registry: x, password: \"-----BEGIN AGE ENCRYPTED FILE-----\"}\r\n", true, false),
            ("logins:\n  - hunter2\n", false, false),
            ("logins:\n  a: {password: hunter2}\n", false, false),
            ("sops:\n  enc: |\n    -----BEGIN AGE ENCRYPTED FILE-----\n", false, false),
            ("# vault_id: x\n  vault_id: x\n", false, false),
        ] {
            assert_eq!((looks_like_vault(text), holds_plain_logins(text)), (is_vault, is_plain), "{text}");
        }
    }
}
