//! The forms in which a server may repeat something: what a message says once escapes and encodings are undone.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::model::text::is_invisible;

/// How often a form is undone again.
const DEPTH_MAX: usize = 4;
/// The most forms of one message; what there is to read in an ordinary one makes some fifty.
const FORMS_MAX: usize = 400;
/// A run of characters of base64 or hexadecimal digits that is shorter says nothing.
const RUN_BYTES_MIN: usize = 6;
/// A run that looks encoded and is longer than any name is no message.
const ENCODED_BYTES_MIN: usize = 40;

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(Indifferent));

/// The message, and whatever it may be an encoding of; `None` where that is more than can be looked through.
pub(super) fn forms(message: &str) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    let mut forms = vec![Zeroizing::new(message.as_bytes().to_vec())];
    let mut from = 0;
    for _ in 0..DEPTH_MAX {
        let to = forms.len();
        for i in from..to {
            for form in undone(&forms[i]) {
                if form.len() >= RUN_BYTES_MIN && !forms.contains(&form) {
                    forms.push(form);
                }
            }
            if forms.len() > FORMS_MAX {
                return None;
            }
        }
        from = to;
    }
    Some(forms)
}

/// ASCII letters and digits alone, in lower case, and whatever is beyond ASCII and can be seen: by this a secret is known though it was cut
/// into pieces, quoted or escaped.
pub(super) fn folded(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars().filter(|c| c.is_ascii_alphanumeric() || !(c.is_ascii() || is_invisible(*c))) {
            out.extend_from_slice(c.to_ascii_lowercase().encode_utf8(&mut [0; 4]).as_bytes());
        }
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// From its end to its beginning.
pub(super) fn reversed(text: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.iter().rev().copied().collect())
}

/// In base32 (RFC 4648, in small letters, without padding), as it comes out of its middle: groups of five bytes may begin at each of five.
pub(super) fn base32(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let encoded = |from: &[u8]| {
        let mut out = Zeroizing::new(Vec::with_capacity(from.len() * 8 / 5));
        // What is left over after the last group depends on what follows it.
        for group in from.chunks_exact(5) {
            let bits = group.iter().fold(0u64, |bits, b| bits << 8 | u64::from(*b));
            out.extend((0..8).rev().map(|i| b"abcdefghijklmnopqrstuvwxyz234567"[(bits >> (5 * i) & 31) as usize]));
        }
        out
    };
    (0..5).filter_map(|at| secret.get(at..)).map(encoded).collect()
}

/// Whether something in it looks like an encoding, whichever it is: long, with digits, small and capital letters.
pub(super) fn looks_encoded(message: &str) -> bool {
    let encoded = |run: &str| {
        let has = |is: fn(&u8) -> bool| run.bytes().any(|b| is(&b));
        run.len() >= ENCODED_BYTES_MIN && has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)
    };
    message.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=_".contains(c)).any(encoded)
}

/// What a text may be an encoding of, one step back. All that is decoded in one way is one form, NUL bytes between.
fn undone(text: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![unescaped(text)];
    let joined = Zeroizing::new(text.iter().copied().filter(|b| !b.is_ascii_whitespace() && !b"\"'\\,;".contains(b)).collect::<Vec<u8>>());
    for text in [text, &joined] {
        // A piece may begin anywhere.
        for at in 0..4 {
            forms.push(decoded(
                text,
                |b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b),
                |run| {
                    let run: Zeroizing<Vec<u8>> = Zeroizing::new(
                        run[at..]
                            .iter()
                            .map(|b| {
                                if *b == b'-' {
                                    b'+'
                                } else if *b == b'_' {
                                    b'/'
                                } else {
                                    *b
                                }
                            })
                            .collect(),
                    );
                    BASE64.decode(&run[..run.len() - usize::from(run.len() % 4 == 1)]).ok()
                },
            ));
        }
        for at in 0..2 {
            forms.push(decoded(
                text,
                |b| b.is_ascii_hexdigit(),
                |run| {
                    let digit = |b: u8| char::from(b).to_digit(16);
                    run[at..].chunks_exact(2).map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
                },
            ));
        }
    }
    forms.extend(numbers(text));
    forms
}

/// What the runs of such characters come to.
fn decoded(text: &[u8], is: impl Fn(u8) -> bool, decode: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    for run in text.split(|b| !is(*b)).filter(|run| run.len() >= RUN_BYTES_MIN) {
        if let Some(decoded) = decode(run).map(Zeroizing::new) {
            out.extend_from_slice(&decoded);
            out.push(0);
        }
    }
    out
}

/// Bytes as Go's `%v` prints them, `[123 34 97]`, and as `%x` and `%#v` do with each by itself.
fn numbers(text: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let words: Vec<&[u8]> = text.split(|b| !b.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let text = |word: &&[u8], radix| {
        let word = std::str::from_utf8(word).unwrap_or_default();
        let digits = if radix == 16 { word.trim_start_matches("0x") } else { word };
        // What is none keeps apart what stands before and behind it.
        u8::from_str_radix(digits, radix).unwrap_or(0)
    };
    [10, 16]
        .into_iter()
        .map(|radix| Zeroizing::new(words.iter().map(|w| text(w, radix)).collect()))
        .filter(|f: &Zeroizing<Vec<u8>>| f.iter().any(|b| *b != 0))
        .collect()
}

/// Without the escapes of JSON, Go, Rust, URLs and HTML.
fn unescaped(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let (taken, byte) = match first {
            b'%' | b'=' => number(tail, 2, 16).map_or((0, None), |c| (2, c)),
            b'\\' => match tail.first() {
                Some(b'u') if tail.get(1) == Some(&b'{') => {
                    let digits = tail[2..].iter().take(7).position(|b| *b == b'}').unwrap_or_default();
                    number(&tail[2..], digits, 16).map_or((0, None), |c| (digits + 3, c))
                }
                Some(b'u') => number(&tail[1..], 4, 16).map_or((0, None), |c| (5, c)),
                Some(b'U') => number(&tail[1..], 8, 16).map_or((0, None), |c| (9, c)),
                Some(b'x') => number(&tail[1..], 2, 16).map_or((0, None), |c| (3, c)),
                Some(b'0'..=b'7') => number(tail, 3, 8).map_or((0, None), |c| (3, c)),
                Some(b'n' | b'r' | b't') => (1, Some(' ')),
                Some(b) => (1, Some(char::from(*b))),
                None => (0, None),
            },
            b'&' => entity(tail),
            _ => (0, None),
        };
        match byte {
            // An escape of two digits names a byte, also one of several that make a character.
            Some(c) if u32::from(c) < 0x100 && (first == b'%' || tail.first() == Some(&b'x') || u32::from(c) < 0x80) => out.push(u32::from(c) as u8),
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.push(first),
        }
        rest = &tail[if byte.is_some() { taken } else { 0 }..];
    }
    out
}

/// A number of exactly so many digits, as a character.
fn number(text: &[u8], digits: usize, radix: u32) -> Option<Option<char>> {
    let digits = std::str::from_utf8(text.get(..digits)?).ok()?;
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok().map(char::from_u32)
}

/// What follows an `&`: how much of it is an entity of HTML, and of what.
fn entity(text: &[u8]) -> (usize, Option<char>) {
    let Some(end) = text.iter().take(9).position(|b| *b == b';') else { return (0, None) };
    let name = std::str::from_utf8(&text[..end]).unwrap_or_default();
    let c = match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#').unwrap_or_default();
            let number = number.strip_prefix(['x', 'X']).map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            number.and_then(char::from_u32)
        }
    };
    (end + 1, c)
}
