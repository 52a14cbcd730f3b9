//! What is wrong with a vault that nobody opens: its recipients, its seals, and what stands in the clear.
//!
//! Whether it is formed as an inventory's reader wants it is for that to say. None of this is proof against somebody who can write the file:
//! they can seal for the same recipients what they like. A signature is.

use super::document::{SealPlace, VaultDocument};
use super::edit::{password_place, recipient_places};
use super::file::{self, OpenError};
use super::is_age_file;
use super::recipients::{Fit, Recipients};
use crate::error::{Problem, rule};
use crate::model::holds_secret_key;
use crate::model::text::{escape, shell_word};

/// What a look at a vault comes to.
#[derive(Default)]
pub struct Found {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What cannot be told.
    pub notes: Vec<Problem>,
    /// The seals that are right, as far as they can be seen.
    pub sealed: usize,
}

/// Looks at a vault, or at an inventory with logins in it. What stands beside its logins is for [`secrets_beside`].
pub fn check(file: &str, text: &str, document: &VaultDocument) -> Found {
    let mut found = Found::default();
    let at =
        |(line, column): (u64, u64), message: String, hint: Option<String>| Problem { rule: rule::INPUT, file: file.to_string(), line, column, message, hint };
    let recipients = recipients(file, text, document, &mut found.problems);
    for (name, login, line, column) in document.logins() {
        if login.password.is_none() && login.dynamic_key().is_none() {
            let hint = format!("`regprov vault set {} {}`", shell_word(file), shell_word(name));
            found.problems.push(at((line, column), format!("login `{}` has no password", escape(name)), Some(hint)));
        }
    }
    for (place, password, pos) in document.passwords() {
        // Looked for only where there is something to tell: it reads the text from its beginning.
        let pos = || password_place(text, &place).unwrap_or(pos);
        let again = || match &place {
            SealPlace::Become => format!("seal it with `regprov vault set {} --become`, and change it", shell_word(file)),
            SealPlace::Login(name) => {
                format!(
                    "seal it with `regprov vault set {} {}`, and change it at the registry: whoever read the file knows it",
                    shell_word(file),
                    shell_word(name)
                )
            }
            SealPlace::Previous(_) => "take `previous` out, and change that password at the registry: whoever read the file knows it".to_string(),
        };
        if !is_age_file(password.as_bytes()) {
            found.problems.push(Problem { rule: rule::PLAINTEXT, ..at(pos(), format!("{place} stands in the clear"), Some(again())) });
            continue;
        }
        let header = match file::whole_header(password.as_bytes()) {
            Ok(header) => header,
            Err(e) => {
                let why = e.explain(&place.to_string());
                found.problems.push(at(pos(), why.message, why.hint));
                continue;
            }
        };
        if header.is_passphrase() {
            let why = OpenError::NeedsPassphrase.explain(&place.to_string());
            found.problems.push(at(pos(), why.message, why.hint));
            continue;
        }
        let Some(recipients) = &recipients else { continue };
        let rekey = || Some(format!("`regprov vault rekey {}` seals it anew for those", shell_word(file)));
        match recipients.fit(&header) {
            Fit::Same => {}
            Fit::Unsaid => {
                let message = format!("{place} does not say for whom it is sealed; their number and kinds are those of `recipients`, and more cannot be told");
                found.notes.push(at(pos(), message, rekey()));
            }
            Fit::Other => {
                let (n, listed) = (header.recipients().count(), recipients.len());
                let how = if n == listed { format!("{n}, but other ones") } else { format!("{n}") };
                let message = format!("{place} is not sealed for the {listed} in `recipients`, but for {how}");
                found.problems.push(at(pos(), message, rekey()));
                continue;
            }
        }
        found.sealed += 1;
    }
    found
}

/// The file's recipients; `None` where they are not in order, which is told.
fn recipients(file: &str, text: &str, document: &VaultDocument, problems: &mut Vec<Problem>) -> Option<Recipients> {
    let listed = document.recipients.as_deref().unwrap_or_default();
    let mut told = |line: u64, message: String, hint: Option<&str>| {
        let column = u64::from(line > 0);
        problems.push(Problem { rule: rule::INPUT, file: file.to_string(), line, column, message, hint: hint.map(str::to_string) });
    };
    if listed.is_empty() {
        // An inventory whose logins have their passwords from elsewhere seals nothing.
        if document.vault_id.is_none() && document.passwords().is_empty() {
            return None;
        }
        told(
            0,
            "has no `recipients`, so nothing can be sealed for it".into(),
            Some(&format!("`regprov vault rekey {} --add RECIPIENT` writes the first", shell_word(file))),
        );
        return None;
    }
    let places = recipient_places(text, document);
    let wrong = Recipients::parse_each(listed.iter().map(String::as_str));
    match wrong {
        Ok(recipients) => Some(recipients),
        Err(wrong) => {
            wrong.into_iter().for_each(|(i, why)| told(places[i].line, format!("recipient {} {why}", i + 1), None));
            None
        }
    }
}

/// Secret keys, and passwords in comments, wherever they stand, also in what is no YAML. Nothing of them is shown.
pub fn secrets_beside(file: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut lines = text.lines().zip(1..).peekable();
    while let Some((line, at)) = lines.next() {
        let next = lines.peek().map_or("", |(next, _)| next);
        let (message, hint) = if holds_secret_key(line, KEY_CHARS_MIN) {
            ("a secret key stands here", "take it out, make a new one, and take what it opens as known to all who could read the file")
        } else if holds_password_in_comment(line, next) {
            ("a comment here holds what looks like a password in the clear", "take it out, and change it at the registry if it is one")
        } else {
            continue;
        };
        let (message, hint) = (message.to_string(), Some(hint.to_string()));
        problems.push(Problem { rule: rule::INPUT, file: file.to_string(), line: at, column: 1, message, hint });
    }
    problems
}

/// In a file a piece of a key is told too.
const KEY_CHARS_MIN: usize = 6;

/// Whether a line's comment sets a password: a login that somebody commented out, in block or in flow style.
fn holds_password_in_comment(line: &str, next: &str) -> bool {
    let Some((_, comment)) = line.split_once('#') else { return false };
    let value_at = |at: usize| {
        let before = comment[..at].trim_end_matches("become_").trim_end_matches(['"', '\'']).trim_end();
        let is_key = before.is_empty() || before.ends_with(['{', ',', '#', '-']);
        let behind = comment[at + "password".len()..].trim_start_matches(['"', '\'']).trim_start().strip_prefix(':')?;
        is_key.then(|| behind.trim())
    };
    let is_clear = |value: &str| match value.chars().next() {
        None | Some('#') => false,
        // A block, which is commented out as well.
        Some('|' | '>') => next
            .trim_start()
            .strip_prefix('#')
            .map(|next| next.trim_matches([' ', '\t', '#']))
            .is_some_and(|next| !next.is_empty() && !next.starts_with("-----BEGIN AGE")),
        Some(_) => true,
    };
    comment.match_indices("password").any(|(at, _)| value_at(at).is_some_and(is_clear))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ALICE, alice_recipient, to_alice};
    use super::super::{encrypt, file::encrypt_value, identity};
    use super::*;

    const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    fn seal(recipients: &Recipients) -> String {
        encrypt_value(b"{}", recipients).unwrap()
    }

    /// A vault for alice with one login.
    fn vault(sealed: &str) -> String {
        let block: String = sealed.lines().map(|l| format!("      {l}\n")).collect();
        format!(
            "version: 1\nrecipients:\n  - {}\nlogins:\n  ngc:\n    registry: nvcr.io\n    username: u\n    password: |\n{block}vault_id: v0f00ff00ff00ff00\nvault_serial: 3\n",
            alice_recipient()
        )
    }

    #[track_caller]
    fn check(text: &str, problems: &[&str], notes: &[&str]) {
        let mut found = super::check("v.yml", text, &VaultDocument::parse("v.yml", text).unwrap());
        found.problems.extend(secrets_beside("v.yml", text));
        let hold = |got: &[Problem], want: &[&str]| {
            assert_eq!(got.len(), want.len(), "{got:?}");
            for (got, want) in got.iter().zip(want) {
                assert!(got.to_string().starts_with(want), "{got}");
                assert!(!got.to_string().contains("hunter2") && !got.to_string().contains("2P2LM"), "{got}");
            }
        };
        hold(&found.problems, problems);
        hold(&found.notes, notes);
    }

    #[test]
    fn a_vault_in_order() {
        check(&vault(&seal(&to_alice())), &[], &[]);
        check(&vault(&seal(&to_alice())).replace("logins:\n", "logins:\n  dynamic: {registry: a.io, password_command: [x]}\n"), &[], &[]);
        let unsaid = vault(&encrypt(b"{}", &to_alice()).unwrap());
        check(&unsaid, &[], &["v.yml:8:5: the password of login `ngc` does not say for whom it is sealed"]);
    }

    #[test]
    fn seals_for_others() {
        let bob = Recipients::parse([BOB]).unwrap();
        let both = Recipients::parse([alice_recipient().as_str(), BOB]).unwrap();
        let carol = Recipients::parse([identity::generate().1.as_str()]).unwrap();
        const ALONE: &str = "v.yml:8:5: the password of login `ngc` is not sealed for the 1 in `recipients`, but for ";
        check(&vault(&seal(&both)), &[&format!("{ALONE}2\n  hint: `regprov vault rekey v.yml`")], &[]);
        check(&vault(&encrypt(b"{}", &both).unwrap()), &[&format!("{ALONE}2")], &[]);
        for other in [&bob, &carol] {
            check(&vault(&seal(other)), &[&format!("{ALONE}1, but other ones")], &[]);
        }
        check(&vault(&encrypt(b"{}", &bob).unwrap()), &[&format!("{ALONE}1, but other ones")], &[]);
        // Another age key leaves no trace where the seal does not say.
        check(&vault(&encrypt(b"{}", &carol).unwrap()), &[], &["v.yml:8:5: "]);
    }

    #[test]
    fn what_is_no_seal() {
        let right = seal(&to_alice());
        let text = vault(&right);
        check(&text.replace("    password: |\n", "    password: hunter2\n    x: |\n"), &["v.yml:8:5: the password of login `ngc` stands in the clear"], &[]);
        check(&text.replace("    password: |\n", "    x: |\n"), &["v.yml:6:5: login `ngc` has no password"], &[]);
        check(&text.replace("logins:", "become_password: hunter2\nlogins:"), &["v.yml:4:1: the password of sudo (`become_password`) stands in the clear"], &[]);
        let cut = right.lines().filter(|l| !l.contains("END")).map(|l| format!("{l}\n")).collect::<String>();
        check(&vault(&cut), &["v.yml:8:5: the password of login `ngc` is damaged"], &[]);
        // In flow style and in `previous`; the control is that of a sealed one.
        let flow = |password: &str| text.replace("vault_id", &format!("  hub: {{registry: docker.io, username: u, password: \"{password}\"}}\nvault_id"));
        let at = format!("v.yml:{}:8: the password of login `hub` stands in the clear", text.lines().count() - 1);
        check(&flow("hunter2"), &[&at], &[]);
        check(&flow(&right.replace('\n', "\\n")), &[], &[]);
        let previous =
            |password: &str| text.replace("    password: |\n", &format!("    previous:\n      username: u\n      password: {password}\n    password: |\n"));
        check(&previous("hunter2"), &["v.yml:10:7: the `previous` password of login `ngc` stands in the clear"], &[]);
        let block = right.lines().map(|line| format!("\n        {line}")).collect::<String>();
        check(&previous(&format!("|{block}")), &[], &[]);
        let line = right.lines().nth(2).unwrap();
        check(&vault(&right.replace(line, &line[1..])), &["v.yml:8:5: the password of login `ngc` is damaged"], &[]);
    }

    #[test]
    fn recipients_in_order() {
        let text = vault(&seal(&to_alice()));
        let alice = format!("  - {}\n", alice_recipient());
        check(&text.replace(&alice, ""), &["v.yml: has no `recipients`"], &[]);
        check("version: 1\nlogins: {}\nvault_id: v0f00ff00ff00ff00\n", &["v.yml: has no `recipients`"], &[]);
        check("groups: {}\nlogins:\n  a: {password_file: x}\n", &[], &[]);
        check(&text.replace(&alice, &format!("{alice}{alice}")), &["v.yml:4:1: recipient 2 is the same key as recipient 1"], &[]);
        check(
            &text.replace(&alice, &format!("{alice}  - hunter2\n  - age1x\n")),
            &["v.yml:4:1: recipient 2 is no recipient", "v.yml:5:1: recipient 3 begins as an age key"],
            &[],
        );
    }

    #[test]
    fn secrets_beside_seals() {
        let text = vault(&seal(&to_alice()));
        for (line, want) in [
            (format!("# {ALICE}"), "a secret key stands here"),
            (format!("# {}", ALICE.to_ascii_lowercase()), "a secret key stands here"),
            ("# -----BEGIN OPENSSH PRIVATE KEY-----".to_string(), "a secret key stands here"),
            ("# password: hunter2".to_string(), "a comment here holds"),
            ("    ## become_password: hunter2".to_string(), "a comment here holds"),
            ("#  hub: {registry: docker.io, username: u, password: hunter2}".to_string(), "a comment here holds"),
            ("# {\"password\" : \"hunter2\"}".to_string(), "a comment here holds"),
            ("# - password: 'hunter2'".to_string(), "a comment here holds"),
            ("# password: |-\n#   hunter2".to_string(), "a comment here holds"),
            ("x: 1 # ours # password: hunter2".to_string(), "a comment here holds"),
        ] {
            check(&text.replace("logins:", &format!("{line}\nlogins:")), &[&format!("v.yml:4:1: {want}")], &[]);
        }
        for fine in [
            "# password: |",
            "# password: |\n#   -----BEGIN AGE ENCRYPTED FILE-----",
            "# the password: of ngc",
            "# password:",
            "# password_command: [x]",
            "# keys begin with AGE-SECRET-KEY-1...",
        ] {
            check(&text.replace("logins:", &format!("{fine}\nlogins:")), &[], &[]);
        }
    }
}
