//! A value that must not be seen.

use zeroize::Zeroizing;

/// A password or a passphrase. It has no `Debug`, no `Display` and no `Serialize`, so it cannot be printed, logged or
/// stored by accident; [`Secret::expose`] is the only door, and easy to search for. Its memory is wiped on drop.
///
/// ```compile_fail
/// let s = regprov::model::Secret::new("x".to_string());
/// println!("{s}");
/// ```
///
/// ```compile_fail
/// let s = regprov::model::Secret::new("x".to_string());
/// println!("{s:?}");
/// ```
///
/// ```compile_fail
/// let s = regprov::model::Secret::new("x".to_string());
/// serde_json::to_string(&s);
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the value over; the caller keeps no copy.
    pub fn new(value: impl Into<Zeroizing<String>>) -> Self {
        Secret(value.into())
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Whether a text holds a secret key of age (in either case, as Bech32 has it), an audit key, or a border of a private key. With fewer
/// than `chars_min` characters behind its name it is talk of a key.
pub fn holds_secret_key(text: &str, chars_min: usize) -> bool {
    let upper = Zeroizing::new(text.to_ascii_uppercase());
    let begins =
        |word: &str| upper.match_indices(word).any(|(at, _)| upper[at + word.len()..].bytes().take_while(u8::is_ascii_alphanumeric).count() >= chars_min);
    ["AGE-SECRET-KEY-1", "AGE-SECRET-KEY-PQ-1", "REGPROV-AUDIT-KEY-1"].into_iter().any(begins) || upper.contains("PRIVATE KEY-----")
}
