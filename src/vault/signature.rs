//! Who signed a vault: `ssh-keygen -Y` signatures (PROTOCOL.sshsig) and the `allowed_signers` that say whose count
//! (ssh-keygen(1), ALLOWED SIGNERS; `sshsig.c` of OpenSSH 9.2 where it says less).
//!
//! Bytes in, verdicts out. Where it is stricter than `ssh-keygen -Y verify`, it is so on purpose: a line of `allowed_signers` that is wrong
//! makes the file wrong, wherever it stands; and certificates are not looked at, so a line with `cert-authority` lets nobody in.
//!
//! This is the only user of the `ssh-key` crate beside `transport`, which has russh's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::encoding::Decode as _;
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use crate::error::{Error, Result};
use crate::model::text::escape;

/// What our signatures are for; one that was made for something else (`git`, `file`) is none of ours.
pub const NAMESPACE: &str = "regprov";

/// The largest signature that is read, in bytes: one with a key of RSA 16384 has 6 KiB.
pub const SIGNATURE_BYTES_MAX: u64 = 64 << 10;
/// The largest `allowed_signers` that is read, in bytes.
pub const SIGNERS_BYTES_MAX: u64 = 1 << 20;

/// The version of the format.
const VERSION: u32 = 1;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
/// Why one of a kind that this program does not know counts for nothing.
const UNSUPPORTED: &str = "was made with a kind of key that is not supported";

const END: &str = "-----END SSH SIGNATURE-----";

/// A moment of this machine's time zone, as year, month, day, hour, minute, second, in seconds since 1970-01-01 UTC.
pub type LocalTime<'a> = &'a dyn Fn([i32; 6]) -> Option<i64>;

/// An `allowed_signers`.
pub struct Signers {
    name: String,
    lines: Vec<Signer>,
}

/// A line of it.
struct Signer {
    line: usize,
    principals: String,
    key: PublicKey,
    options: Options,
}

/// What a line allows its key.
#[derive(Default)]
struct Options {
    is_authority: bool,
    namespaces: Option<String>,
    /// `valid-after`, in seconds since 1970-01-01 UTC.
    from: Option<i64>,
    /// `valid-before`, likewise.
    until: Option<i64>,
}

/// A signature that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Whose key it is, as `allowed_signers` calls them.
    pub principals: String,
    /// The key's fingerprint, as ssh-keygen shows it.
    pub fingerprint: String,
}

impl Signers {
    /// Reads an `allowed_signers`; `name` is its name in messages.
    ///
    /// # Errors
    /// Names the lines that are wrong.
    pub fn parse(name: &str, text: &str, local: LocalTime<'_>) -> Result<Self> {
        let (mut lines, mut problems) = (Vec::new(), Vec::new());
        for (i, line) in text.split('\n').enumerate() {
            match signer(i + 1, line.trim_start_matches([' ', '\t', '\r']), local) {
                Ok(signer) => lines.extend(signer),
                Err(why) => problems.push(format!("{name}:{}: {why}", i + 1)),
            }
        }
        if problems.is_empty() { Ok(Signers { name: name.to_string(), lines }) } else { Err(Error::vault(problems.join("\n"))) }
    }

    /// Whose signature of `content` this is, at the time `now` (seconds since 1970-01-01 UTC).
    ///
    /// # Errors
    /// It does not count; says why, as the end of a sentence about the signature's file. `content` is called `what` there.
    pub fn verify(&self, signature: &[u8], content: &[u8], what: &str, now: i64) -> std::result::Result<Signed, String> {
        let (key, fingerprint) = signer_of(signature, content, what)?;
        let named: Vec<&Signer> = self.lines.iter().filter(|s| s.key.key_data() == key.key_data()).collect();
        let mut closed = Vec::new();
        for signer in &named {
            match signer.shut(now) {
                None => return Ok(Signed { principals: signer.principals.clone(), fingerprint }),
                Some(why) => closed.push(format!("{}:{}: {why}", self.name, signer.line)),
            }
        }
        let shown = format!("{} {fingerprint}", key.algorithm());
        if closed.is_empty() {
            let authorities = if self.lines.iter().any(|s| s.options.is_authority) { "; its `cert-authority` lines let nobody in here" } else { "" };
            return Err(format!("was made with a key that {} does not name: {shown}{authorities}", self.name));
        }
        Err(format!("was made with a key that does not count: {shown} ({})", closed.join("; ")))
    }

    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Signer {
    /// Why a signature with its key does not count; `None` when it does.
    fn shut(&self, now: i64) -> Option<String> {
        let Options { is_authority, namespaces, from, until } = &self.options;
        if *is_authority {
            return Some("it is a `cert-authority`, and certificates are not supported".to_string());
        }
        if namespaces.as_deref().is_some_and(|list| !in_list(list, NAMESPACE)) {
            return Some(format!("its `namespaces` do not hold {NAMESPACE}"));
        }
        if from.is_some_and(|from| now < from) {
            return Some("it is not valid yet".to_string());
        }
        until.is_some_and(|until| now > until).then(|| "it is not valid any more".to_string())
    }
}

/// The key that made this signature of `content`, and its fingerprint; whether it is anybody's is not said.
///
/// # Errors
/// As those of [`Signers::verify`], but for the key.
pub fn signer_of(signature: &[u8], content: &[u8], what: &str) -> std::result::Result<(PublicKey, String), String> {
    let signature = read(signature)?;
    if signature.namespace() != NAMESPACE {
        return Err(format!("was made for namespace `{}`, not `{NAMESPACE}`", escape(signature.namespace())));
    }
    // SHA-1 has been broken: who can choose what is signed could make it fit something else.
    if matches!(signature.algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err("was made with SHA-1, which proves nothing".to_string());
    }
    if signature.public_key().is_certificate() {
        return Err("was made with a certificate, and certificates are not supported: sign with the key itself".to_string());
    }
    if signature.public_key().is_other() {
        return Err(UNSUPPORTED.to_string());
    }
    let key = PublicKey::from(signature.public_key().clone());
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    if key.verify(NAMESPACE, content, &signature).is_err() {
        return Err(format!("does not fit {what}: one of them was changed after it was signed"));
    }
    Ok((key, fingerprint))
}

/// The line that lets a key in, for somebody's `allowed_signers`.
pub fn line_for(principal: &str, key: &PublicKey) -> String {
    let key = PublicKey::new(key.key_data().clone(), "").to_openssh().unwrap_or_default();
    format!("{principal} namespaces=\"{NAMESPACE}\" {}", key.trim())
}

/// A signature from its armor, read as OpenSSH reads it: nothing before it, white space anywhere in it, and whatever behind it.
fn read(armored: &[u8]) -> std::result::Result<SshSig, String> {
    let no = || "is no signature of `ssh-keygen -Y sign`: it was cut or changed".to_string();
    let text = std::str::from_utf8(armored).map_err(|_| no())?;
    let body = text.strip_prefix(BEGIN).ok_or_else(no)?;
    let (body, _) = body.split_once(&format!("\n{END}")).ok_or_else(no)?;
    let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(packed).map_err(|_| no())?;
    let mut rest = &bytes[..];
    let signature = SshSig::decode(&mut rest).map_err(|e| match e {
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => UNSUPPORTED.to_string(),
        _ => no(),
    })?;
    // OpenSSH takes version 0 too, which it never wrote.
    if signature.version() != VERSION || !rest.is_empty() { Err(no()) } else { Ok(signature) }
}

/// A line: principals, options, key, and a comment. `None` for one that says nothing.
fn signer(line: usize, text: &str, local: LocalTime<'_>) -> std::result::Result<Option<Signer>, String> {
    let text = text.trim_end_matches([' ', '\t', '\r']);
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (principals, rest) = word(text)?;
    if principals.is_empty() {
        return Err("it names no principal before the key".to_string());
    }
    let principals = principals.to_string();
    if let Some(key) = key(rest) {
        return Ok(Some(Signer { line, principals, key, options: Options::default() }));
    }
    let end = options_end(rest)?;
    let options = Options::parse(&rest[..end], local)?;
    let key = key(&rest[end..]).ok_or("there is no public key after its principals and options")?;
    Ok(Some(Signer { line, principals, key, options }))
}

impl Options {
    /// `cert-authority`, `namespaces="..."`, `valid-after="..."`, `valid-before="..."`, with commas between them, each once.
    fn parse(text: &str, local: LocalTime<'_>) -> std::result::Result<Self, String> {
        let mut options = Options::default();
        let mut rest = text;
        loop {
            let name = &rest[..rest.find(['=', ',']).unwrap_or(rest.len())];
            rest = &rest[name.len()..];
            let known = name.to_ascii_lowercase();
            if let Some(value) = rest.strip_prefix('=') {
                let (value, behind) = quoted(value)?;
                rest = behind;
                let twice = || format!("option `{known}` stands there twice");
                match known.as_str() {
                    "namespaces" if options.namespaces.is_none() => options.namespaces = Some(value),
                    "valid-after" if options.from.is_none() => options.from = Some(moment(&value, local)?),
                    "valid-before" if options.until.is_none() => options.until = Some(moment(&value, local)?),
                    "namespaces" | "valid-after" | "valid-before" => return Err(twice()),
                    _ => return Err(format!("option `{}` is not known", escape(name))),
                }
            } else if known == "cert-authority" {
                options.is_authority = true;
            } else {
                return Err(format!("option `{}` is not known, or there is no public key", escape(name)));
            }
            match rest.strip_prefix(',') {
                Some(behind) => rest = behind,
                None if rest.is_empty() => break,
                None => return Err("there is something between its options that is no comma".to_string()),
            }
        }
        match (options.from, options.until) {
            (Some(from), Some(until)) if until <= from => Err("its `valid-before` comes before its `valid-after`".to_string()),
            _ => Ok(options),
        }
    }
}

/// The first word of a line, without the quotes around it, and what stands behind it.
fn word(text: &str) -> std::result::Result<(&str, &str), String> {
    let (word, rest) = match text.strip_prefix('"') {
        Some(inside) => inside.split_once('"').ok_or("a quote is not closed")?,
        None => text.split_once([' ', '\t']).unwrap_or((text, "")),
    };
    Ok((word, rest.trim_start_matches([' ', '\t'])))
}

/// A public key at the beginning of a text, with whatever comment behind it.
fn key(text: &str) -> Option<PublicKey> {
    let mut words = text.split([' ', '\t']).filter(|w| !w.is_empty());
    PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()
}

/// Where options end: at the first space outside of quotes.
fn options_end(text: &str) -> std::result::Result<usize, String> {
    let mut is_quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|(_, c)| *c == '"') => drop(chars.next()),
            '"' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => return Ok(at),
            _ => {}
        }
    }
    if is_quoted { Err("a quote is not closed".to_string()) } else { Ok(text.len()) }
}

/// A value in quotes, in which `\"` stands for a quote, and what is behind it.
fn quoted(text: &str) -> std::result::Result<(String, &str), String> {
    let inside = text.strip_prefix('"').ok_or("the value of an option stands in no quotes")?;
    let mut value = String::new();
    let mut chars = inside.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|(_, c)| *c == '"') => {
                chars.next();
                value.push('"');
            }
            '"' => return Ok((value, &inside[at + 1..])),
            c => value.push(c),
        }
    }
    Err("a quote is not closed".to_string())
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, in UTC with a `Z` behind it, else in the machine's time zone.
fn moment(text: &str, local: LocalTime<'_>) -> std::result::Result<i64, String> {
    let wrong = || format!("`{}` is no time such as 20270301 or 202703011200Z", escape(text));
    let digits = text.strip_suffix('Z').or_else(|| text.strip_suffix("UTC"));
    let (digits, is_utc) = (digits.unwrap_or(text), digits.is_some());
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number = |from: usize, to: usize| digits.get(from..to).map_or(0, |d| d.parse::<i32>().expect("they are digits"));
    let [year, month, day, hour, minute, second] = [number(0, 4), number(4, 6), number(6, 8), number(8, 10), number(10, 12), number(12, 14)];
    let small = |n: i32| u8::try_from(n).expect("two digits");
    let date = Month::try_from(small(month)).and_then(|month| Date::from_calendar_date(year, month, small(day))).map_err(|_| wrong())?;
    let time = Time::from_hms(small(hour), small(minute), small(second)).map_err(|_| wrong())?;
    let seconds = match is_utc {
        true => PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp(),
        false => local([year, month, day, hour, minute, second]).ok_or_else(wrong)?,
    };
    if seconds < OffsetDateTime::UNIX_EPOCH.unix_timestamp() { Err(wrong()) } else { Ok(seconds) }
}

/// Whether a name is in a list of patterns: one of them fits, and none with `!` does (`match_pattern_list` of OpenSSH).
fn in_list(list: &str, name: &str) -> bool {
    let fits = |pattern: &&str| match_pattern(pattern.as_bytes(), name.as_bytes());
    let (not, yes): (Vec<&str>, Vec<&str>) = list.split(',').partition(|p| p.starts_with('!'));
    yes.iter().any(fits) && !not.iter().any(|p| fits(&&p[1..]))
}

/// `*` and `?`, as ssh's `match_pattern`; a star that took too little is gone back to, so that no list takes long.
fn match_pattern(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    fn utc([y, m, d, h, min, s]: [i32; 6]) -> Option<i64> {
        let small = |n: i32| u8::try_from(n).unwrap();
        let date = Date::from_calendar_date(y, Month::try_from(small(m)).unwrap(), small(d)).unwrap();
        Some(PrimitiveDateTime::new(date, Time::from_hms(small(h), small(min), small(s)).unwrap()).assume_utc().unix_timestamp() - 3600)
    }

    #[track_caller]
    fn lines(text: &str) -> Vec<Signer> {
        Signers::parse("allowed_signers", text, &utc).unwrap_or_else(|e| panic!("{text}: {e}")).lines
    }

    #[test]
    fn lines_that_say_nothing() {
        for text in ["", "\n\n", "# alice\n", "   # x", " \t\r\n"] {
            assert!(lines(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn principals_options_and_a_key() {
        for (text, principals) in [
            (format!("alice@example.org {ALICE}"), "alice@example.org"),
            (format!("  a,*@b\t{ALICE} a comment with words\r"), "a,*@b"),
            (format!("\"alice smith\" {ALICE}"), "alice smith"),
            (format!("a namespaces=\"x,regprov\" {ALICE}"), "a"),
            (format!("a NAMESPACES=\"x\",valid-after=\"20260101\",Valid-Before=\"202701011200Z\" {ALICE}"), "a"),
            (format!("a cert-authority,namespaces=\"a b\" {ALICE}"), "a"),
        ] {
            let got = lines(&text);
            assert_eq!((got.len(), got[0].principals.as_str()), (1, principals), "{text}");
            assert_eq!(key(ALICE).unwrap().key_data(), got[0].key.key_data());
        }
        let got = lines(&format!("a namespaces=\"a \\\"b\\\" c\",valid-after=\"20260101\",valid-before=\"20260102Z\" {ALICE}"));
        assert_eq!(got[0].options.namespaces.as_deref(), Some("a \"b\" c"));
        assert_eq!((got[0].options.from, got[0].options.until), (Some(1_767_225_600 - 3600), Some(1_767_312_000)), "local time and UTC");
    }

    #[test]
    fn a_line_that_is_wrong_makes_the_file_wrong() {
        #[track_caller]
        fn check(line: &str, want: &str) {
            let text = format!("# first\n{line}\nb {ALICE}\n");
            let error = Signers::parse("allowed_signers", &text, &utc).err().expect(line).to_string();
            assert!(error.starts_with("allowed_signers:2: ") && error.contains(want), "{line}: {error}");
        }
        check("a", "no public key");
        check(ALICE, "not known, or there is no public key");
        check("a ssh-ed25519 AAAA", "no public key");
        check(&format!("a nonsense {ALICE}"), "`nonsense` is not known");
        check(&format!("a nonsense=\"x\" {ALICE}"), "`nonsense` is not known");
        check(&format!("a no-touch-required {ALICE}"), "not known");
        check(&format!("a namespaces=regprov {ALICE}"), "stands in no quotes");
        check(&format!("a namespaces=\"regprov {ALICE}"), "not closed");
        check(&format!("\"a {ALICE}"), "not closed");
        check(&format!("\"\" {ALICE}"), "no principal");
        check(&format!("a namespaces=\"x\",namespaces=\"y\" {ALICE}"), "twice");
        check(&format!("a namespaces=\"x\", {ALICE}"), "not known");
        check(&format!("a namespaces=\"x\"y {ALICE}"), "no comma");
        for time in ["", "2026", "20261301", "20260230", "202601012400", "2026010112", "20260101X", "19691231Z", "+2026011"] {
            check(&format!("a valid-after=\"{time}\" {ALICE}"), "is no time");
        }
        check(&format!("a valid-after=\"20260102\",valid-before=\"20260101\" {ALICE}"), "comes before");
        check(&format!("a {}", ALICE.replace("ssh-ed25519 ", "ssh-rsa ")), "no public key");
    }

    #[test]
    fn patterns_are_those_of_ssh() {
        for (list, want) in [
            ("regprov", true),
            ("", false),
            ("git", false),
            ("git,regprov", true),
            ("reg*", true),
            ("*", true),
            ("?egpro?", true),
            ("?egpro", false),
            ("*,!regprov", false),
            ("!reg*,regprov", false),
            ("!git", false),
            ("*,!git", true),
            ("Regprov", false),
            (" regprov", false),
        ] {
            assert_eq!(in_list(list, NAMESPACE), want, "{list}");
        }
        assert!(!in_list(&format!("{}x", "*".repeat(10_000)), NAMESPACE));
    }

    proptest::proptest! {
        /// Whatever stands in the files, they are read or refused.
        #[test]
        fn nothing_that_is_read_is_a_panic(
            line in "(a|\"a b\"|\"|é)?[ \t]?(cert-authority|namespaces=|valid-after=|valid-before=)?(\"[0-9Zé*,!]{0,15}\"?|[^\n]{0,20})[,= ]?",
            text in ".{0,60}",
            signature in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            for text in [line.clone(), text, format!("{line} {ALICE}")] {
                let _ = Signers::parse("allowed_signers", &text, &|_| None);
            }
            let packed = STANDARD.encode([b"SSHSIG\0\0\0\x01", &signature[..]].concat());
            proptest::prop_assert!(signer_of(&signature, b"", "v").is_err());
            let armored = format!("{BEGIN}{packed}\n{END}\n");
            proptest::prop_assert!(signer_of(armored.as_bytes(), b"", "v").is_err());
        }
    }

    #[test]
    fn what_is_no_signature_is_told() {
        let signers = Signers::parse("allowed_signers", "", &utc).unwrap();
        for text in [
            "",
            "x",
            BEGIN,
            &format!("{BEGIN}{END}"),
            &format!("{BEGIN}\n{END}"),
            &format!("{BEGIN}YWdl\n{END}\n"),
            &format!("{BEGIN}!!\n{END}\n"),
            &format!("\n{BEGIN}U1NIU0lH\n{END}\n"),
        ] {
            let why = signers.verify(text.as_bytes(), b"", "v", 0).unwrap_err();
            assert!(why.starts_with("is no signature"), "{text}: {why}");
        }
        assert!(signers.verify(b"\xff", b"", "v", 0).is_err());
    }
}
