//! Where age's armor stands in a text, and whether all of it is there.
//!
//! Bytes, not YAML: a seal that was cut or changed often takes the form of the file with it, and then the reader of the form stumbles over
//! something else, or over no text at all. What is looked at here is the frame. Whether what it holds is whole, age tells who opens it.

/// The first line of an armored age file.
pub const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
/// The last line of an armored age file.
pub const END: &str = "-----END AGE ENCRYPTED FILE-----";

/// The columns of a line between them (c2sp.org/age, "ASCII armor").
const COLUMNS: usize = 64;

/// The line, from 1, at which a seal stands whose frame is not whole.
pub fn damaged(bytes: &[u8]) -> Option<u64> {
    // The line at which the open one begins, and how far it is indented.
    let mut open: Option<(u64, usize)> = None;
    let mut before: &[u8] = b"";
    let mut lines = (1..).zip(bytes.split(|b| *b == b'\n')).peekable();
    while let Some((at, line)) = lines.next() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let indent = line.iter().take_while(|b| **b == b' ').count();
        let text = &line[indent..];
        match open {
            None if text == BEGIN.as_bytes() => open = Some((at, indent)),
            None if text == END.as_bytes() => return Some(at),
            // Cut within its first line.
            None if lines.peek().is_none() && !line.is_empty() && BEGIN.as_bytes().starts_with(text) && may_begin(at, text, before) => return Some(at),
            None => {}
            Some((_, column)) if column == indent && text == END.as_bytes() => open = None,
            Some((_, column)) if column == indent && is_body(text) => {}
            Some((begin, _)) => return Some(begin),
        }
        before = line;
    }
    open.map(|(begin, _)| begin)
}

/// Whether this is part of a seal that is no longer whole: one of its two outer lines stands somewhere in it.
pub fn is_part(text: &str) -> bool {
    text.contains(BEGIN) || text.contains(END) || text.starts_with("-----BEGIN AGE")
}

/// Whether a seal may begin at this line: where a block of text does, or the file.
fn may_begin(at: u64, text: &[u8], before: &[u8]) -> bool {
    before.ends_with(b"|") || (at == 1 && !text.is_empty())
}

fn is_body(text: &[u8]) -> bool {
    (1..=COLUMNS).contains(&text.len()) && text.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seal as it stands in a vault, with what is around it.
    fn vault() -> String {
        format!("logins:\n  a:\n    password: |\n      {BEGIN}\n      {}\n      YWdl+/==\n      {END}\n    expires: 2099-01-01\n", "A".repeat(64))
    }

    #[test]
    fn what_is_whole() {
        for whole in [
            vault(),
            vault().replace('\n', "\r\n"),
            vault().trim_end().to_string(),
            vault().replace("      ", "  "),
            format!("{BEGIN}\nAAAA\n{END}\n"),
            format!("# {BEGIN}\n"),
            format!("password: \"{BEGIN}\\nAAAA\\n{END}\\n\"\n"),
            "recipients:\n  -".into(),
            "a: 1\n--".into(),
            String::new(),
        ] {
            assert_eq!(damaged(whole.as_bytes()), None, "{whole}");
        }
    }

    /// Every cut in a seal, and every bit of its lines outside of its base64.
    #[test]
    fn what_is_not() {
        let vault = vault();
        let begin = vault.find(&format!("      {BEGIN}")).unwrap();
        let end = vault.find(END).unwrap() + END.len();
        for cut in begin + 1..end {
            assert!(damaged(&vault.as_bytes()[..cut]).is_some(), "cut after {cut}");
        }
        for bit in begin * 8..(end + 1) * 8 {
            let mut flipped = vault.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let stays = is_body(&vault.as_bytes()[bit / 8..=bit / 8]) && is_body(&flipped[bit / 8..=bit / 8]);
            let in_body = vault[..bit / 8].lines().count() > 4 && !vault[..bit / 8].ends_with("-----") && stays;
            let told = damaged(&flipped);
            let line = vault[..bit / 8].matches('\n').count();
            if (4..6).contains(&line) && in_body {
                assert_eq!(told, None, "bit {bit}")
            } else {
                assert!(told.is_some(), "bit {bit}: {:?}", String::from_utf8_lossy(&flipped))
            }
        }
    }
}
