//! What a username or a password looks like. Nothing here says more of a value than yes or no.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Standard base64, with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Usernames that a registry or a tool prescribes; two of them look like variables, and none is a password.
pub(super) const PRESCRIBED: [&str; 6] = ["$oauthtoken", "_json_key", "_json_key_base64", "oauth2accesstoken", "AWS", "00000000-0000-0000-0000-000000000000"];

/// How tokens of known registries begin: NGC, GitHub, GitLab, Docker Hub.
const TOKENS: [&str; 9] = ["nvapi-", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "gldt-", "dckr_pat_", "dckr_oat_"];

/// `$NAME`, `${NAME}`, `$(command)`, `{{ name }}`, `%NAME%`. A password may be anything, so there a `$` with small letters is none; for a
/// username it is. `$oauthtoken` is NGC's, and `robot$name` is Harbor's.
pub(super) fn is_variable(text: &str, is_password: bool) -> bool {
    let text = text.trim();
    if PRESCRIBED.contains(&text) {
        return false;
    }
    let enclosed = |open: &str, close: &str| text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
    enclosed("{{", "}}").is_some()
        || enclosed("${", "}").is_some_and(|inner| !inner.contains(['{', '}']))
        || enclosed("$(", ")").is_some()
        || enclosed("%", "%").is_some_and(|name| is_identifier(name, true))
        || text.strip_prefix('$').is_some_and(|name| is_identifier(name, is_password))
}

/// A variable's name, in capitals or in any letters.
fn is_identifier(text: &str, capitals: bool) -> bool {
    let letter = |c: char| c == '_' || c.is_ascii_uppercase() || (!capitals && c.is_ascii_lowercase());
    text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// `changeme`, `<PASSWORD>`, `<< PASTE HERE >>`, `your-token`, `xxx`.
pub(super) fn is_placeholder(text: &str) -> bool {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    plain.extend(text.trim().chars().filter(|c| !matches!(c, '-' | '_' | ' ' | '.')).map(|c| c.to_ascii_lowercase()));
    let word = ["password", "passwd", "token", "secret", "username", "user", "apikey", "key", "login"];
    let begins = |with: &str| plain.strip_prefix(with).is_some_and(|rest| word.iter().any(|w| rest == *w || rest.strip_suffix("here") == Some(w)));
    let bracketed = text.trim().starts_with('<') && text.trim().ends_with('>');
    let crossed_out = plain.len() >= 3 && (plain.bytes().all(|b| b == b'x') || plain.bytes().all(|b| b == b'*'));
    ["changeme", "changeit", "replaceme", "todo", "fixme", "tbd", "placeholder"].contains(&plain.as_str())
        || ["your", "insert", "enter", "paste", "put"].iter().any(|with| begins(with))
        || bracketed
        || text.trim().starts_with("<<")
        || crossed_out
}

/// Whether it begins as tokens of known registries do, or is a JSON Web Token: no username does.
pub(super) fn is_token(text: &str) -> bool {
    TOKENS.iter().any(|t| text.starts_with(t)) || (text.starts_with("eyJ") && text.split('.').count() == 3)
}

/// Whether it is a username that a registry prescribes, or a robot of Harbor's: no password is.
pub(super) fn is_prescribed_username(text: &str) -> bool {
    PRESCRIBED.contains(&text.trim())
        || text.trim().strip_prefix("robot$").is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-.".contains(&b)))
}

/// Whether it is the base64 of `user:password`: of this user's, or of any name and printable text.
pub(super) fn is_base64_of_login(text: &str, username: &str) -> bool {
    let Some(decoded) = decoded(text) else { return false };
    let Ok(plain) = std::str::from_utf8(&decoded) else { return false };
    let Some((user, password)) = plain.split_once(':') else { return false };
    let name = |u: &str| !u.is_empty() && u.len() <= 255 && u.bytes().all(|b| b.is_ascii_alphanumeric() || b"$._+@-\\".contains(&b));
    user == username || (name(user) && !password.is_empty() && !password.trim_end().chars().any(char::is_control))
}

/// Whether it is as Harbor makes secrets: 32 letters and digits, of all three kinds (goharbor/harbor `src/common/utils/utils.go`
/// GenerateRandomString, from which a person's CLI secret comes).
pub(super) fn is_harbor_secret(text: &str) -> bool {
    let of = |is: fn(&u8) -> bool| text.bytes().any(|b| is(&b));
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric()) && of(u8::is_ascii_lowercase) && of(u8::is_ascii_uppercase) && of(u8::is_ascii_digit)
}

/// Whether it is base64 that was broken into lines: all of one width but the last.
pub(super) fn is_broken_base64(text: &str) -> bool {
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    let [first, .., last] = lines[..] else { return false };
    let base64 = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    first.len() >= 16 && lines.iter().all(|l| base64(l)) && lines[..lines.len() - 1].iter().all(|l| l.len() == first.len()) && last.len() <= first.len()
}

/// Whether it is the key file of a Google service account: a JSON object with a private key.
pub(super) fn is_google_key(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Key {
        private_key: String,
    }
    let key = || serde_json::from_str::<Key>(text).map(|key| Zeroizing::new(key.private_key));
    text.trim_start().starts_with('{') && key().is_ok_and(|key| !key.is_empty())
}

/// What base64 of one line stands for, white space at its end aside.
pub(super) fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    BASE64.decode(text.trim()).ok().map(Zeroizing::new)
}
