//! Text from elsewhere, made fit for a terminal and for a CI system's log. What a node says is data, never a command.

/// The longest text of a node that is shown, in characters.
pub const NODE_TEXT_CHARS_MAX: usize = 300;

/// Makes what a node said fit to be shown: [`printable`], at most [`NODE_TEXT_CHARS_MAX`] characters.
pub fn sanitize(text: &str) -> String {
    printable(text, NODE_TEXT_CHARS_MAX)
}

/// One line without anything that a terminal or a CI system would obey; a text longer than `chars_max` ends with `...`.
///
/// - Line breaks and tabs become spaces; other control characters (C0, C1, ESC), bidi marks and overrides, zero-width and
///   other invisible characters are shown as `\u{1b}`.
/// - `##[` and `##vso[` are commands anywhere in a line (Azure Pipelines and GitHub's runner search for them), `::name` at its
///   start, also after white space (actions/runner, `ActionCommand.TryParseV2`): they are broken up by a space.
///
/// Doing it twice changes nothing more.
pub fn printable(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    // More than this is never needed, however long the text is; the rest is not even looked at.
    for c in text.chars().take(chars_max + 1) {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '#' if out.ends_with('#') => out.push_str(" #"),
            c if is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    let start = out.len() - out.trim_start().len();
    if out[start..].starts_with("::") && out[start + 2..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        out.insert(start + 1, ' ');
    }
    match out.char_indices().nth(chars_max) {
        None => out,
        Some(_) => {
            let end = out.char_indices().nth(chars_max.saturating_sub(3)).map_or(out.len(), |(i, _)| i);
            out.truncate(end);
            out.push_str("...");
            out
        }
    }
}

/// The text with what [`is_invisible`] escaped as `\u{1b}`: for a name of a file within a message of ours.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_invisible(c) {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
        out
    })
}

/// A word as a POSIX shell reads it back.
pub fn shell_word(text: &str) -> String {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@%+=,".contains(&b));
    if plain { text.to_string() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A command line as its words, for a program that is started without a shell: white space parts them, and single or double quotes keep
/// what is between them as it is. Nothing else has a meaning: no backslash, no variable, no `~`, no wildcard.
///
/// # Errors
/// Says that a quote is not closed, or that there is no word; the end of a sentence that names where the line stands.
pub fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                // `''` is a word too, an empty one.
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        Some(_) => Err("has a quote that is not closed"),
        None if words.first().is_none_or(String::is_empty) => Err("names no program"),
        None if line.contains('\0') => Err("has a NUL byte in it"),
        None => Ok(words),
    }
}

/// Control characters, and those that are not seen or change the order of what is seen (Unicode TR 36 and TR 9).
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_its_words() {
        for (line, want) in [
            ("pass show regprov/identity", &["pass", "show", "regprov/identity"][..]),
            ("  a\tb\n", &["a", "b"]),
            ("op read 'op://Team vault/regprov/key'", &["op", "read", "op://Team vault/regprov/key"]),
            ("a \"it's\" 'say \"so\"' x'y z'w", &["a", "it's", "say \"so\"", "xy zw"]),
            ("a '' \"\" b", &["a", "", "", "b"]),
            // What a shell would read.
            (r"a $HOME `b` $(c) ~/d *.e \ f\ g; h | i > j &", &["a", "$HOME", "`b`", "$(c)", "~/d", "*.e", "\\", "f\\", "g;", "h", "|", "i", ">", "j", "&"]),
        ] {
            assert_eq!(words(line).unwrap(), want, "{line}");
        }
        for (line, want) in [("", "no program"), (" ", "no program"), ("''", "no program"), ("a 'b", "not closed"), ("a \"b'", "not closed"), ("a\0", "NUL")] {
            assert!(words(line).unwrap_err().contains(want), "{line}");
        }
    }

    #[track_caller]
    fn check(input: &str, want: &str) {
        let got = sanitize(input);
        assert_eq!(got, want, "{input:?}");
        assert_eq!(sanitize(&got), got, "a second pass changed {input:?}");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        check("connect to [2001:db8::a]:22: refused", "connect to [2001:db8::a]:22: refused");
        check("::1 is no node", "::1 is no node");
        check("  indented, pässwörd-free, 日本", "  indented, pässwörd-free, 日本");
        check("# a comment, a::b", "# a comment, a::b");
    }

    #[test]
    fn names_keep_everything_that_can_be_seen() {
        assert_eq!(escape("CORP\\j'd \u{1b}[2J\u{202e}\n\u{200b}日本"), "CORP\\j'd \\u{1b}[2J\\u{202e}\\u{a}\\u{200b}日本");
    }

    #[test]
    fn a_line_stays_one_line() {
        check("one\r\ntwo\tthree\n", "one  two three");
        check("one\u{2028}two\u{85}", "one\\u{2028}two\\u{85}");
    }

    #[test]
    fn terminals_obey_nothing() {
        check("\x1b[31mred", "\\u{1b}[31mred");
        check("\x1b]52;c;cm0gLXJm\x07", "\\u{1b}]52;c;cm0gLXJm\\u{7}");
        check("\u{9b}2J", "\\u{9b}2J");
        check("user\u{202e}txt", "user\\u{202e}txt");
        check("a\u{2066}b\u{200b}c\u{feff}", "a\\u{2066}b\\u{200b}c\\u{feff}");
        check("nul\0del\x7f\x08", "nul\\u{0}del\\u{7f}\\u{8}");
    }

    #[test]
    fn ci_systems_obey_nothing() {
        check("::error::gone", ": :error::gone");
        check("  ::set-output name=x::y", "  : :set-output name=x::y");
        check("\n::add-mask::x", " : :add-mask::x");
        check("##vso[task.setvariable variable=x]y", "# #vso[task.setvariable variable=x]y");
        check("late ##[error]", "late # #[error]");
        check("####[x", "# # # #[x");
    }

    #[test]
    fn the_length_is_bounded() {
        check(&"x".repeat(300), &"x".repeat(300));
        check(&"x".repeat(301), &format!("{}...", "x".repeat(297)));
        // Escapes count as they are shown.
        assert_eq!(sanitize(&"\x1b".repeat(1 << 20)).chars().count(), 300);
        assert_eq!(sanitize(&"é".repeat(1 << 20)).chars().count(), 300);
    }
}
