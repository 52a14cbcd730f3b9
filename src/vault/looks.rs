//! Which of the files that git holds are vaults: their names say nothing.

use super::VaultDocument;
use super::is_age_file;

/// Whether a YAML text is a vault, or an inventory with logins of its own, as far as a look at its lines can tell.
pub fn looks_like_vault(text: &str) -> bool {
    let key = |name: &str| text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r'])));
    key("vault_id:") || key("logins:") && text.contains("BEGIN AGE ENCRYPTED FILE")
}

/// Whether a YAML text holds logins with passwords in the clear, as a vault does that was decrypted as a whole.
pub fn holds_plain_logins(text: &str) -> bool {
    // A look first: whole repositories are asked.
    let is_plain = |password: &str| !is_age_file(password.as_bytes());
    text.contains("logins")
        && VaultDocument::parse("", text)
            .is_ok_and(|document| document.logins().any(|(_, login, ..)| login.registry.is_some() && login.password.as_deref().is_some_and(is_plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vaults_are_known_by_their_looks() {
        for (text, is_vault, is_plain) in [
            ("logins:\n  a:\n    registry: docker.io\n    password: hunter2\nvault_id: v1\n", true, true),
            ("version: 1\nlogins:\n  a: {registry: x, password: hunter2}\n", false, true),
            ("logins:\r\n  a: {registry: x, password: \"-----BEGIN AGE ENCRYPTED FILE-----\"}\r\n", true, false),
            ("\"logins\":\n  a: {registry: x, password: hunter2}\n", false, true),
            ("logins:\n  - hunter2\n", false, false),
            ("logins:\n  a: {password: hunter2}\n", false, false),
            ("sops:\n  enc: |\n    -----BEGIN AGE ENCRYPTED FILE-----\n", false, false),
            ("# vault_id: x\n  vault_id: x\n", false, false),
        ] {
            assert_eq!((looks_like_vault(text), holds_plain_logins(text)), (is_vault, is_plain), "{text}");
        }
    }
}
