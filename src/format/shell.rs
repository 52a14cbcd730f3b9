//! Values as the shells and systemd read them.

use zeroize::Zeroizing;

/// A path as it stands when it means the same in every shell, else quoted.
pub(super) fn plain_or(path: &str, quote: fn(&str) -> Zeroizing<String>) -> String {
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    if plain { path.to_string() } else { quote(path).to_string() }
}

fn quoted(text: &str, mark: char, escape: impl Fn(char) -> Option<&'static str>) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(4 * text.len() + 2));
    out.push(mark);
    for c in text.chars() {
        match escape(c) {
            Some(escaped) => out.push_str(escaped),
            None => out.push(c),
        }
    }
    out.push(mark);
    out
}

/// sh: everything is literal between single quotes but the quote itself.
pub(super) fn quote_sh(text: &str) -> Zeroizing<String> {
    quoted(text, '\'', |c| (c == '\'').then_some("'\\''"))
}

/// csh and tcsh: as sh, but history works inside the quotes, and a line break needs a backslash.
pub(super) fn quote_csh(text: &str) -> Zeroizing<String> {
    quoted(text, '\'', |c| match c {
        '\'' => Some("'\\''"),
        '!' => Some("\\!"),
        '\n' => Some("\\\n"),
        _ => None,
    })
}

/// systemd's `EnvironmentFile=` (`src/basic/env-file.c`), which sh reads the same way.
pub(super) fn quote_env(text: &str) -> Zeroizing<String> {
    quoted(text, '"', |c| match c {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '`' => Some("\\`"),
        '$' => Some("\\$"),
        _ => None,
    })
}
