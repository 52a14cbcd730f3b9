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
