//! What a token server answered, and what it granted. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::model::Secret;

/// The longest token that is taken, in bytes; it goes back in one header line.
const TOKEN_BYTES_MAX: usize = 32 << 10;
/// Scopes of an answer that are looked at.
const SCOPES_MAX: usize = 100;

/// A token and what is known of it.
pub(super) struct Token {
    pub(super) value: Secret,
    /// The scopes that it says to grant; `None` when it does not say.
    granted: Option<Vec<Scope>>,
    /// It says that it is nobody's.
    pub(super) is_anonymous: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Scope {
    kind: String,
    name: String,
    actions: Vec<String>,
}

/// The answer of a token server (distribution `docs/spec/auth/token.md`): `token`, or OAuth2's `access_token`.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<Zeroizing<String>>,
    #[serde(default)]
    access_token: Option<Zeroizing<String>>,
    #[serde(default)]
    scope: Option<String>,
}

impl Token {
    /// Reads an answer with status 200.
    ///
    /// # Errors
    /// Why it holds no token, as the end of a sentence. Nothing of the answer is in it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let answer: Answer = serde_json::from_slice(body).map_err(|_| "is no JSON object of a token server")?;
        let value = answer.token.filter(|t| !t.is_empty()).or(answer.access_token).filter(|t| !t.is_empty()).ok_or("holds no token")?;
        if value.len() > TOKEN_BYTES_MAX {
            return Err("holds a token longer than 32 KiB");
        }
        if !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("holds a token with characters that no token has");
        }
        let claims = claims(&value);
        let access = claims.as_ref().and_then(|c| c.get("access")).map(access);
        let granted = access.or_else(|| answer.scope.as_deref().map(|text| text.split(' ').take(SCOPES_MAX).filter_map(scope).collect()));
        // Empty: distribution's token servers and Harbor. In brackets: Quay (`auth/auth_context_type.py`).
        let subject = claims.as_ref().and_then(|c| c.get("sub")).and_then(Value::as_str);
        let is_anonymous = matches!(subject, Some("" | "(anonymous)"));
        Ok(Token { value: Secret::new(value), granted, is_anonymous })
    }

    /// Whether it grants to pull a repository; `None` when it does not say.
    pub(super) fn pulls(&self, repository: &str) -> Option<bool> {
        let pull = |s: &Scope| s.kind == "repository" && s.name == repository && s.actions.iter().any(|a| a == "pull" || a == "*");
        self.granted.as_ref().map(|granted| granted.iter().any(pull))
    }
}

/// The claims of a JSON Web Token (RFC 7519), unverified: they are its sender's own words. `None` for what is none.
pub(super) fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
    serde_json::from_slice::<Value>(&json).ok().filter(Value::is_object)
}

/// The `access` claim: a list of types, names and actions; Go's servers write none as null.
fn access(claim: &Value) -> Vec<Scope> {
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    let list = claim.as_array().map(Vec::as_slice).unwrap_or_default();
    let scope = |v: &Value| {
        let actions = v.get("actions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).take(SCOPES_MAX);
        Scope { kind: text(v, "type"), name: text(v, "name"), actions: actions.map(str::to_string).collect() }
    };
    list.iter().take(SCOPES_MAX).map(scope).collect()
}

/// `repository:nvidia/cuda:pull,push`. A name may hold a colon (a port), a type and actions do not.
fn scope(text: &str) -> Option<Scope> {
    let (kind, rest) = text.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    Some(Scope { kind: kind.to_string(), name: name.to_string(), actions: actions.split(',').map(str::to_string).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), URL_SAFE_NO_PAD.encode(claims))
    }

    /// What an answer comes to: whether it pulls `proj/tiny`, and `anonymous`; or why it is none.
    #[track_caller]
    fn check(body: &str, want: &str) {
        let got = match Token::parse(body.as_bytes()) {
            Err(why) => why.to_string(),
            Ok(token) => {
                let pulls = match token.pulls("proj/tiny") {
                    Some(true) => "pulls",
                    Some(false) => "grants nothing",
                    None => "does not say",
                };
                format!("{pulls}{}", if token.is_anonymous { ", anonymous" } else { "" })
            }
        };
        assert_eq!(got, want, "{body}");
    }

    fn with(claims: &str) -> String {
        format!("{{\"token\":\"{}\"}}", jwt(claims))
    }

    #[test]
    fn what_was_granted_is_read_from_the_token() {
        check(&with(r#"{"sub":"u","access":[{"type":"repository","name":"proj/tiny","actions":["pull"]}]}"#), "pulls");
        check(&with(r#"{"access":[{"type":"repository","class":"","name":"proj/tiny","actions":["*"]}]}"#), "pulls");
        check(&with(r#"{"access":[{"type":"registry","name":"proj/tiny","actions":["pull"]}]}"#), "grants nothing");
        check(&with(r#"{"access":[{"type":"repository","name":"proj/tiny2","actions":["pull"]}]}"#), "grants nothing");
        check(&with(r#"{"access":[{"type":"repository","name":"proj/tiny","actions":["push"]}]}"#), "grants nothing");
        check(&with(r#"{"access":[{"type":"repository","name":"proj/tiny","actions":[]}]}"#), "grants nothing");
        check(&with(r#"{"sub":"","access":[]}"#), "grants nothing, anonymous");
        check(&with(r#"{"sub":"(anonymous)","access":null}"#), "grants nothing, anonymous");
        check(&with(r#"{"sub":7,"access":"all"}"#), "grants nothing");
        check(&with(r#"{"sub":"u"}"#), "does not say");
    }

    #[test]
    fn or_from_the_answer() {
        check(r#"{"access_token":"opaque","scope":"repository:proj/tiny:pull"}"#, "pulls");
        check(r#"{"token":"opaque","scope":"repository:other:pull repository:proj/tiny:push,pull"}"#, "pulls");
        check(r#"{"token":"","access_token":"opaque","scope":""}"#, "grants nothing");
        check(r#"{"token":"opaque"}"#, "does not say");
    }

    #[test]
    fn rubbish_is_no_token() {
        check("", "is no JSON object of a token server");
        check("[]", "holds no token");
        check(r#"{"token":7}"#, "is no JSON object of a token server");
        check("{}", "holds no token");
        check(r#"{"token":"","access_token":""}"#, "holds no token");
        check(r#"{"token":"a\r\nX-Evil: 1"}"#, "holds a token with characters that no token has");
        check(r#"{"token":"a b"}"#, "holds a token with characters that no token has");
        check(&format!("{{\"token\":\"{}\"}}", "a".repeat(TOKEN_BYTES_MAX + 1)), "holds a token longer than 32 KiB");
        for garbled in ["a.b.c", "..", "a.!!!.c", "a.bnVsbA.c", "a.b.c.d"] {
            check(&format!("{{\"token\":\"{garbled}\"}}"), "does not say");
        }
        let deep = jwt(&format!("{{\"access\":{}}}", "[".repeat(5000)));
        check(&format!("{{\"token\":\"{deep}\"}}"), "does not say");
    }
}
