//! Lists of recipients in files: one key a line, as `age -R` reads them, and as authorized_keys and the lists of keys that GitHub and GitLab
//! serve have them.

use std::collections::HashSet;

use super::recipients::{Recipient, Refusal};
use crate::error::{Error, Result};

/// What a file of recipients holds.
pub struct RecipientFile {
    /// Its keys, each once. One without a comment of its own says that it is from this file.
    pub recipients: Vec<Recipient>,
    /// What was passed over, each with its place.
    pub skipped: Vec<String>,
}

/// Reads a file of recipients: one a line, blank lines and lines that begin with `#` say nothing. Options before an SSH key are taken off.
/// SSH keys that age cannot seal for are passed over, as age does (1.1, `cmd/age/parse.go`, `parseRecipientsFile`): lists of keys are made
/// for logging in. `name` is the file, for messages.
///
/// # Errors
/// Lines that are no keys, by their numbers and never quoted; a secret key; no key at all.
pub fn parse(name: &str, content: &[u8]) -> Result<RecipientFile> {
    let text = std::str::from_utf8(content).map_err(|_| Error::vault(format!("{name} is not text, so it is no list of recipients")))?;
    let mut file = RecipientFile { recipients: Vec::new(), skipped: Vec::new() };
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match Recipient::parse(without_options(line)) {
            Ok(recipient) => {
                if seen.insert(recipient.key()) {
                    file.recipients.push(recipient.with_file(name));
                }
            }
            Err(Refusal::Unusable(why)) => file.skipped.push(format!("{name}:{}: passed over: it {why}", i + 1)),
            Err(Refusal::Secret(why)) => {
                return Err(Error::vault(format!("{name}:{}: it {why}", i + 1))
                    .hint("`age-keygen -y FILE` prints the recipient of an age identity; an SSH key has a .pub file"));
            }
            Err(Refusal::Wrong(why)) => problems.push(format!("{name}:{}: it {why}", i + 1)),
        }
    }
    if !problems.is_empty() {
        return Err(Error::vault(problems.join("\n")).hint("a list of recipients has one public key a line: age1..., ssh-ed25519 ... or ssh-rsa ..."));
    }
    if file.recipients.is_empty() {
        let why = if file.skipped.is_empty() { "holds no key" } else { "holds no key that age can seal for" };
        return Err(Error::vault([file.skipped.join("\n").as_str(), &format!("{name} {why}")].join("\n").trim_start().to_string()));
    }
    Ok(file)
}

/// A line of authorized_keys (sshd(8), "AUTHORIZED_KEYS FILE FORMAT") without its options; another line as it is.
fn without_options(line: &str) -> &str {
    let is_key = |text: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind));
    if is_key(line) {
        return line;
    }
    let (mut quoted, mut before) = (false, ' ');
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some(line[at..].trim_start()).filter(|rest| is_key(rest)).unwrap_or(line),
            _ => {}
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ALICE, alice_recipient};
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";
    /// As OpenSSH writes it; its content is not looked at, since age cannot seal for it.
    const SK: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABHNzaDo= bob";

    #[track_caller]
    fn check(text: &str, want: &[&str], skipped: &[&str]) {
        let file = parse("team.txt", text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(file.recipients.iter().map(|r| r.text()).collect::<Vec<_>>(), want);
        assert_eq!(file.skipped.len(), skipped.len(), "{:?}", file.skipped);
        for (got, want) in file.skipped.iter().zip(skipped) {
            assert!(got.starts_with("team.txt:") && got.contains(want), "{got}");
        }
    }

    #[track_caller]
    fn refused(text: &str, parts: &[&str]) {
        let error = parse("team.txt", text.as_bytes()).err().expect("refused").to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
        assert!(!error.contains("hunter2") && !error.contains("2P2LM"), "{error}");
    }

    #[test]
    fn lists_of_keys() {
        let alice = alice_recipient();
        check(&format!("# the team\n\n{alice}\n  {ED25519} bob@example.org\r\n"), &[&alice, &format!("{ED25519} bob@example.org")], &[]);
        check(&format!("\u{feff}{alice}"), &[&alice], &[]);
        // The same key twice is once.
        check(&format!("{ED25519} bob\n{ED25519}\n{ED25519}\n"), &[&format!("{ED25519} bob")], &[]);
        // As authorized_keys has it.
        check(&format!("restrict,command=\"/bin/x \\\"a b\\\" ssh-rsa\" {ED25519} bob smith\n"), &[&format!("{ED25519} bob smith")], &[]);
        // As https://github.com/USER.keys has it.
        check(&format!("{ECDSA}\n{ED25519}\n{SK}\n"), &[ED25519], &["1: passed over: it is an SSH key of a type", "3: passed over"]);
    }

    #[test]
    fn what_is_no_list_says_which_line() {
        refused("", &["team.txt holds no key"]);
        refused("# nothing\n", &["holds no key"]);
        refused(&format!("{ECDSA}\n"), &["team.txt:1: passed over", "team.txt holds no key that age can seal for"]);
        refused(&format!("{ED25519}\nhunter2\nage1hunter2\n"), &["team.txt:2: it is no recipient", "team.txt:3: it begins as an age key but is not one"]);
        refused(&format!("{ED25519}\n{ALICE}\n"), &["team.txt:2: it is a secret key", "age-keygen -y"]);
        refused("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\nhunter2\n", &["team.txt:1: it is a secret key", ".pub"]);
        // An age key has no comment behind it, and a type that is only said is no key.
        refused(&format!("{} bob\n", alice_recipient()), &["team.txt:1: it has text behind the key"]);
        refused("ecdsa-sha2-nistp256 hunter2\n", &["team.txt:1: it begins as an SSH key but is not one"]);
        refused("restrict hunter2\n", &["team.txt:1: it is no recipient"]);
        assert!(parse("team.txt", b"\xff").err().unwrap().to_string().contains("is not text"));
    }
}
