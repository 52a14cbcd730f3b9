//! The document as the programs' JSON decoder (Go's `encoding/json`) takes it, and what is wrong with its entries for each of them.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode::RequireNone;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Dialect, Helpers};
use crate::format::json::{self, Object};
use crate::format::shown;

/// The fields of an entry that would stand beside or before our `auth` (docker/cli `cli/config/types/authconfig.go`).
pub(super) const STALE_FIELDS: [&str; 4] = ["username", "password", "identitytoken", "registrytoken"];

/// One entry of `auths`: its fields.
pub(in crate::format) type Entry<'a> = Object<'a>;

/// Key, source text and fields of the entries; no fields for an entry that is `null`.
pub(super) type AuthEntries<'a> = Vec<(String, &'a RawValue, Option<Entry<'a>>)>;

/// The file, as far as we interpret it.
#[derive(Default)]
pub(super) struct Document<'a> {
    /// Everything at the top, `auths` and `credHelpers` included, to keep the order.
    pub(super) top: Vec<(String, &'a RawValue)>,
    /// The entries; where one that is no object means nothing for the others, it counts as `null`.
    pub(super) auths: AuthEntries<'a>,
    /// Registry and helper; none for a program that asks no helpers.
    pub(super) helpers: Vec<(String, &'a RawValue, Zeroizing<String>)>,
    /// Whether `credsStore` names a helper, for a program that asks it.
    pub(super) store: bool,
}

impl<'a> Document<'a> {
    /// Reads the file as its program does; what that refuses is an error, which goes on from the file's name. No file is an empty one.
    pub(super) fn parse(dialect: &Dialect, bytes: Option<&'a [u8]>) -> Result<Self, String> {
        let Some(bytes) = bytes else { return Ok(Document::default()) };
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(format!("starts with a byte order mark, which {} refuses", dialect.name));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
        if text.trim().is_empty() {
            return dialect.empty.map_or_else(|| Ok(Document::default()), |who| Err(format!("is empty, which {who}")));
        }
        let top = Object::parse(text)?;
        for (key, _) in &top.0 {
            if let Some(name) = ["auths", "credHelpers", "credsStore"].into_iter().find(|n| n != key && go_folds(key, n)) {
                return Err(format!("has a key that {} reads as `{name}` though its case differs", dialect.name));
            }
        }
        let mut document = Document::default();
        if let Some(value) = top.get("auths").filter(|v| !json::is_null(v)) {
            for (key, raw) in Object::parse(value.get()).map_err(|why| format!("has an `auths` that {why}"))?.0 {
                let entry = match raw {
                    raw if json::is_null(raw) => None,
                    raw => match Object::parse(raw.get()) {
                        Ok(entry) => Some(entry),
                        // oras-go decodes an entry when it is looked up.
                        Err(_) if dialect.helpers == Helpers::Oras => None,
                        Err(why) => return Err(format!("has an entry `{}` that {why}", shown(&key))),
                    },
                };
                document.auths.push((key, raw, entry));
            }
        }
        let of = |name: &str, asked: bool| top.get(name).filter(|v| asked && !json::is_null(v));
        if let Some(value) = of("credHelpers", dialect.helpers != Helpers::None) {
            for (key, raw) in Object::parse(value.get()).map_err(|why| format!("has `credHelpers` that {why}"))?.0 {
                let helper = json::as_text(raw).ok_or("has `credHelpers` that names something else than text")?;
                document.helpers.push((key, raw, helper));
            }
        }
        if let Some(value) = of("credsStore", matches!(dialect.helpers, Helpers::Docker | Helpers::Oras)) {
            document.store = !json::as_text(value).ok_or("has a `credsStore` that is no text")?.is_empty();
        }
        document.top = top.0;
        Ok(document)
    }
}

/// Whether Go's JSON decoder takes `key` for the field `name`: it ignores case, with two letters beyond ASCII.
pub(super) fn go_folds(key: &str, name: &str) -> bool {
    key.replace('\u{17f}', "s").replace('\u{212a}', "k").eq_ignore_ascii_case(name)
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Bad {
    /// The program reads nothing of the whole file for it.
    File(&'static str),
    /// The program reads nothing of this entry.
    Entry(&'static str),
}

impl Bad {
    /// Why the whole file goes unread for it, if it does.
    pub(super) fn of_file(self) -> Option<&'static str> {
        match self {
            Bad::File(why) => Some(why),
            Bad::Entry(_) => None,
        }
    }
}

/// docker/cli `cli/config/configfile/file.go` LoadFromReader and decodeAuth: one entry that does not decode is an error for the file.
pub(in crate::format) fn bad_for_docker(entry: &Entry<'_>) -> Option<Bad> {
    no_text(entry, &["auth", "email", "serveraddress", "username", "password", "identitytoken", "registrytoken"]).or_else(|| match decoded(entry)? {
        None => Some(Bad::File("its auth is no standard base64")),
        Some(plain) => match plain.iter().position(|b| *b == b':') {
            None => Some(Bad::File("its auth has no colon")),
            Some(0) => Some(Bad::File("its auth has no username")),
            Some(_) => None,
        },
    })
}

/// containers/image `pkg/docker/config/config.go`: dockerAuthConfig has two fields, and an entry is decoded when it is looked up.
pub(in crate::format) fn bad_for_containers(entry: &Entry<'_>) -> Option<Bad> {
    let token = field(entry, "identitytoken").is_some();
    no_text(entry, &["auth", "identitytoken"]).or_else(|| match decoded(entry) {
        Some(None) => Some(Bad::Entry("its auth is no standard base64")),
        Some(Some(plain)) if !plain.contains(&b':') => Some(Bad::Entry("its auth has no colon")),
        // A password in fields of its own is sent as an empty one.
        None if !token && !entry.0.is_empty() => Some(Bad::Entry("it has no auth")),
        _ => None,
    })
}

/// Kubernetes `pkg/credentialprovider/config.go` DockerConfigEntry.UnmarshalJSON and decodeDockerConfigFieldAuth, which take base64
/// without padding too and an empty username.
pub(in crate::format) fn bad_for_kubelet(entry: &Entry<'_>) -> Option<Bad> {
    no_text(entry, &["auth", "username", "password", "email"]).or_else(|| {
        let plain = field(entry, "auth").map(|text| decode_kubelet(&text))?;
        match plain {
            None => Some(Bad::File("its auth is no standard base64")),
            Some(plain) if !plain.contains(&b':') => Some(Bad::File("its auth has no colon")),
            Some(_) => None,
        }
    })
}

/// A field that the decoder wants as text and that is something else ends the decoding of the whole file.
fn no_text(entry: &Entry<'_>, fields: &[&str]) -> Option<Bad> {
    let known = |name: &str| fields.iter().any(|f| go_folds(name, f));
    let wrong = entry.0.iter().any(|(name, raw)| known(name) && !json::is_null(raw) && json::as_text(raw).is_none());
    wrong.then_some(Bad::File("a field that should be text is something else"))
}

/// What `auth` decodes to: `None` when there is none, `Some(None)` when it does not decode.
fn decoded(entry: &Entry<'_>) -> Option<Option<Zeroizing<Vec<u8>>>> {
    field(entry, "auth").map(|text| decode_auth(&text))
}

/// A field's text, unless that is empty; the last one of its name counts.
pub(super) fn field(entry: &Entry<'_>, name: &str) -> Option<Zeroizing<String>> {
    let raw = entry.0.iter().rfind(|(key, raw)| go_folds(key, name) && !json::is_null(raw)).and_then(|(_, raw)| json::as_text(raw));
    raw.filter(|text| !text.is_empty())
}

/// Go's `base64.StdEncoding`: padding is demanded, line breaks are skipped, left-over bits are not looked at.
pub(super) fn decode_auth(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    const GO: GeneralPurpose = GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let text = Zeroizing::new(text.replace(['\r', '\n'], ""));
    GO.decode(text.as_bytes()).ok().map(Zeroizing::new)
}

/// Go's `base64.RawStdEncoding` where the text does not end in `=`, else [`decode_auth`].
pub(super) fn decode_kubelet(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    const RAW: GeneralPurpose =
        GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(RequireNone));
    if text.trim().ends_with('=') {
        return decode_auth(text);
    }
    let text = Zeroizing::new(text.replace(['\r', '\n'], ""));
    RAW.decode(text.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&Entry<'_>) -> Option<Bad>;

    /// What docker, podman and the kubelet each say: a piece of the reason, behind `file: ` or `entry: `.
    #[track_caller]
    fn bad(entry: &str, want: [Option<&str>; 3]) {
        let rules: [Rule; 3] = [bad_for_docker, bad_for_containers, bad_for_kubelet];
        for (i, (rule, want)) in rules.into_iter().zip(want).enumerate() {
            let got = rule(&Object::parse(entry).unwrap()).map(|bad| match bad {
                Bad::File(why) => format!("file: {why}"),
                Bad::Entry(why) => format!("entry: {why}"),
            });
            let fits = match (&got, want) {
                (Some(got), Some(want)) => {
                    let (scope, why) = want.split_once(": ").unwrap();
                    got.starts_with(scope) && got.contains(why)
                }
                (got, want) => got.is_none() && want.is_none(),
            };
            assert!(fits, "{entry}, reader {i}: {got:?} instead of {want:?}");
        }
    }

    #[test]
    fn entries_that_do_not_decode() {
        bad(r#"{"auth":"OnA="}"#, [Some("file: no username"), None, None]);
        bad(r#"{"auth":"YQ=="}"#, [Some("file: no colon"), Some("entry: no colon"), Some("file: no colon")]);
        bad(r#"{"auth":"YTpi_-8="}"#, [Some("file: base64"), Some("entry: base64"), Some("file: base64")]);
        bad(r#"{"auth":"YTpiYw"}"#, [Some("file: base64"), Some("entry: base64"), None]);
        bad(r#"{"AUTH":"OnA="}"#, [Some("file: no username"), None, None]);
        bad(r#"{"auth":7}"#, [Some("file: text"), Some("file: text"), Some("file: text")]);
        bad(r#"{"identitytoken":[]}"#, [Some("file: text"), Some("file: text"), None]);
        bad(r#"{"auth":"YTpi","email":[]}"#, [Some("file: text"), None, Some("file: text")]);
        bad(r#"{"username":"a","password":"b"}"#, [None, Some("entry: no auth"), None]);
        bad(r#"{"auth":"YTpi\n"}"#, [None; 3]);
        bad(r#"{"auth":"YTpiYx=="}"#, [None; 3]);
        bad(r#"{"auth":null,"identitytoken":"x","other":7}"#, [None; 3]);
        bad("{}", [None; 3]);
    }
}
