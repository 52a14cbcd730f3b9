//! What the header of an age file says without a key: for whom it is sealed, by kinds, counts and the tags of SSH keys.
//!
//! It is read by age's own grammar (c2sp.org/age, "Header"), which is stricter than the age crate: that one takes stanzas as its first
//! releases wrote them, which age refuses. Nothing here is authentic before the file was opened.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::file::OpenError;

/// How every age file begins, version 1 and later.
pub(super) const MAGIC: &[u8] = b"age-encryption.org/";

/// The name of the stanza that says for whom a seal is: its one argument is [`super::Recipients::digest`], its body is empty.
pub const RECIPIENTS_STANZA: &str = "regprov-recipients";

/// The bytes of a body on one line of base64.
const COLUMNS: usize = 64;

/// A header, read and well formed.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    stanzas: Vec<Stanza>,
}

/// One stanza: for one recipient, or one that readers pass over.
#[derive(Debug, PartialEq, Eq)]
pub struct Stanza {
    /// What kind of recipient it is for: `X25519`, `ssh-ed25519`, `ssh-rsa`, `scrypt`, and what others make up.
    pub kind: String,
    /// Its arguments; of an SSH key the first is its tag.
    pub args: Vec<String>,
}

impl Header {
    /// Reads the header at the beginning of an age file, without armor.
    ///
    /// # Errors
    /// It is no age file, or of another version, or it breaks the grammar.
    pub fn parse(binary: &[u8]) -> Result<Self, OpenError> {
        let after = binary.strip_prefix(MAGIC).ok_or(OpenError::NotAge)?;
        let mut rest = after.strip_prefix(b"v1\n").ok_or(OpenError::Version)?;
        let mut line = || {
            let end = rest.iter().position(|b| *b == b'\n')?;
            let (line, behind) = rest.split_at(end);
            rest = &behind[1..];
            Some(line)
        };
        let mut stanzas = Vec::new();
        loop {
            let first = line().ok_or(OpenError::Damaged)?;
            if let Some(mac) = first.strip_prefix(b"---") {
                let whole = mac.strip_prefix(b" ").and_then(decoded).is_some_and(|mac| mac.len() == 32);
                let header = Header { stanzas };
                return if whole && header.is_coherent() { Ok(header) } else { Err(OpenError::Damaged) };
            }
            stanzas.push(stanza(first, &mut line).ok_or(OpenError::Damaged)?);
        }
    }

    /// Whether it is sealed with a passphrase instead of for recipients.
    pub fn is_passphrase(&self) -> bool {
        self.stanzas.iter().any(|s| s.kind == "scrypt")
    }

    /// Whether it is sealed for a post-quantum key, which the age crate in use does not know.
    pub fn is_post_quantum(&self) -> bool {
        self.stanzas.iter().any(|s| s.kind == "mlkem768x25519")
    }

    /// The stanzas that stand for a recipient. What age adds to keep its parsers honest ("grease") is none, nor is the one that names them.
    pub fn recipients(&self) -> impl Iterator<Item = &Stanza> {
        self.stanzas.iter().filter(|s| !s.kind.ends_with("-grease") && s.kind != RECIPIENTS_STANZA)
    }

    /// For whom it says it is sealed, as [`super::Recipients::digest`] has it; `None` when it does not say, or says it twice.
    pub fn digest(&self) -> Option<&str> {
        let mut named = self.stanzas.iter().filter(|s| s.kind == RECIPIENTS_STANZA);
        match (named.next()?.args.as_slice(), named.next()) {
            ([digest], None) => Some(digest),
            _ => None,
        }
    }

    /// There is a stanza, and one of a passphrase stands alone.
    fn is_coherent(&self) -> bool {
        !self.stanzas.is_empty() && (!self.is_passphrase() || self.stanzas.len() == 1)
    }
}

/// Reads a stanza that begins with `first`; further lines come from `line`.
fn stanza<'a>(first: &[u8], line: &mut impl FnMut() -> Option<&'a [u8]>) -> Option<Stanza> {
    let first = std::str::from_utf8(first.strip_prefix(b"-> ")?).ok()?;
    let mut words = first.split(' ').map(|word| (!word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic())).then(|| word.to_string()));
    let kind = words.next()??;
    let args = words.collect::<Option<Vec<_>>>()?;
    loop {
        let body = line()?;
        // Full lines need not be whole groups of four by themselves, but they are: 64 is 16 of them.
        if body.len() > COLUMNS || decoded(body).is_none() {
            return None;
        }
        // The last line is short, and empty when the one before it is full.
        if body.len() < COLUMNS {
            return Some(Stanza { kind, args });
        }
    }
}

/// Canonical base64 without padding.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

    #[track_caller]
    fn check(stanzas: &str, want: Option<&[&str]>) {
        let text = format!("age-encryption.org/v1\n{stanzas}{MAC}payload");
        let kinds = Header::parse(text.as_bytes()).map(|h| h.recipients().map(|s| s.kind.clone()).collect::<Vec<_>>());
        match want {
            Some(want) => assert_eq!(kinds.unwrap(), want, "{stanzas:?}"),
            None => assert_eq!(kinds, Err(OpenError::Damaged), "{stanzas:?}"),
        }
    }

    #[test]
    fn stanzas() {
        let full = "A".repeat(64);
        check("-> X25519 share\nAAAA\n", Some(&["X25519"]));
        check("-> empty\n\n", Some(&["empty"]));
        check(&format!("-> one full line\n{full}\n\n"), Some(&["one"]));
        check(&format!("-> two lines\n{full}\n{full}\nAA\n-> X25519 x\nAAA\n"), Some(&["two", "X25519"]));
        check("-> x\n\n-> q3-grease w\nAAAA\n-> regprov-recipients abc\n\n", Some(&["x"]));
        check("-> scrypt salt 10\nAAAA\n", Some(&["scrypt"]));
        // What the age crate takes and age does not.
        check("-> X25519 share\n", None);
        check(&format!("-> X25519 share\n{full}\n"), None);
        for bad in [
            "",
            "->\n\n",
            "-> \n\n",
            "->X25519\n\n",
            "-> a  b\n\n",
            "-> a \n\n",
            "-> a\r\n\n",
            "-> ä\n\n",
            "-> a\nAAA=\n",
            "-> a\nAAAAA\n",
            "-> a\nAB\n",
            "-> a\nA A\n",
            "-> a\nAAAA\r\n",
            &format!("-> a\n{full}A\n"),
            "-> a\nAA\nAA\n",
            "-> scrypt salt 10\nAAAA\n-> X25519 x\nAAAA\n",
            "-> scrypt salt 10\nAAAA\n-> scrypt salt 10\nAAAA\n",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn the_first_and_the_last_line() {
        let text = |first: &str, last: &str| format!("{first}-> X25519 share\nAAAA\n{last}payload");
        let parse = |first: &str, last: &str| Header::parse(text(first, last).as_bytes()).err();
        assert_eq!(parse("age-encryption.org/v1\n", MAC), None);
        for (first, why) in [
            ("age-encryption.org/v2\n", OpenError::Version),
            ("age-encryption.org/v1\r\n", OpenError::Version),
            ("age-encryption.org/v1 \n", OpenError::Version),
            ("age-encryption.org\n", OpenError::NotAge),
            ("\nage-encryption.org/v1\n", OpenError::NotAge),
        ] {
            assert_eq!(parse(first, MAC), Some(why), "{first:?}");
        }
        for last in ["", "---\n", "--- \n", "--- AAAA\n", &MAC.replace("--- ", "---  "), &MAC.replace("A\n", "B\n"), &MAC.replace("A\n", "A=\n"), MAC.trim()] {
            assert_eq!(parse("age-encryption.org/v1\n", last), Some(OpenError::Damaged), "{last:?}");
        }
    }

    #[test]
    fn for_whom_it_is_sealed_is_said_once_or_not_at_all() {
        let digest = |stanzas: &str| Header::parse(format!("age-encryption.org/v1\n{stanzas}{MAC}").as_bytes()).unwrap().digest().map(str::to_string);
        assert_eq!(digest("-> x\n\n-> regprov-recipients abc\n\n").as_deref(), Some("abc"));
        for none in ["-> x\n\n", "-> regprov-recipients\n\n", "-> regprov-recipients a b\n\n", "-> regprov-recipients a\n\n-> regprov-recipients a\n\n"] {
            assert_eq!(digest(none), None, "{none}");
        }
    }
}
