//! The `.dockerconfigjson` of a pull Secret, to the byte as `kubectl create secret docker-registry` writes it (kubectl
//! `pkg/cmd/create/create_secret_docker.go` handleDockerCfgJSONContent): compact, `username`, `password` and `auth`, in Go's JSON, which
//! escapes `<`, `>` and `&` for HTML. Several logins stand in one document, sorted by their keys as Go sorts a map.

mod diagnose;
mod manifest;
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zeroize::Zeroizing;

pub use diagnose::{Content, Fault, Weight, content, diagnose, rule};
pub use manifest::{Manifest, SecretSeen, Unread, is_label_value, is_manifest, manifest};
pub use tree::At;

use super::auths::auth;
use super::{Entries, Entry, Holding, Holds};
use crate::model::Login;
use crate::model::login::check_password;

/// The bytes of a Secret (Kubernetes `pkg/apis/core/types.go` MaxSecretSize).
pub const SECRET_BYTES_MAX: usize = 1 << 20;

/// The document. Of two logins for one registry the last one stands; [`problems`] refuses such a list.
pub fn document(logins: &[&Login]) -> Zeroizing<Vec<u8>> {
    let entries: BTreeMap<&str, &Login> = logins.iter().map(|login| (login.registry.docker_key(), *login)).collect();
    let mut out = Zeroizing::new(String::with_capacity(64 + logins.iter().map(|l| 128 + 3 * l.password.expose().len()).sum::<usize>()));
    out.push_str("{\"auths\":{");
    for (i, (key, login)) in entries.into_iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        string(&mut out, key);
        out.push_str(":{\"username\":");
        string(&mut out, login.username.as_str());
        out.push_str(",\"password\":");
        string(&mut out, login.password.expose());
        out.push_str(",\"auth\":");
        string(&mut out, &auth(login));
        out.push('}');
    }
    out.push_str("}}");
    Zeroizing::new(std::mem::take(&mut *out).into_bytes())
}

/// What is wrong with such a Secret whatever the cluster is like; `what` names it.
pub fn problems(what: &str, logins: &[&Login]) -> Vec<String> {
    let mut problems = Vec::new();
    for (i, login) in logins.iter().enumerate() {
        if let Err(why) = check_password(login.password.expose()) {
            problems.push(format!("login \"{}\" ({}): {why}; seal another password", login.name, login.registry));
        }
        if login.registry.path().is_some() {
            let host = login.registry.authority();
            problems.push(format!(
                "login \"{}\": registry `{}` has a path, and other readers of {what} know hosts only; write `{host}`",
                login.name, login.registry
            ));
        }
        if let Some(other) = logins[..i].iter().find(|o| o.registry.authority() == login.registry.authority()) {
            problems.push(format!(
                "logins \"{}\" and \"{}\" are both for {} in {what}; give it one of them, or two Secrets with `secret:`",
                other.name, login.name, login.registry
            ));
        }
    }
    if problems.is_empty() && document(logins).len() > SECRET_BYTES_MAX {
        problems.push(format!("{what} would be larger than 1 MiB, the most that Kubernetes takes"));
    }
    problems
}

/// The logins of such a document as the kubelet takes them. `Err` says, as sentences, why it finds none, or not all of them: [`diagnose`].
pub fn entries(document: &[u8]) -> Entries {
    let Content { holdings, faults } = content(document, false);
    let gives_none = holdings.iter().all(|h| !matches!(h.holds, Holds::Login(_))) || holdings.iter().any(|h| matches!(h.holds, Holds::Unreadable(_)));
    let counts = |fault: &&Fault| fault.weight != Weight::Hint && (fault.entry.is_none() || (gives_none && fault.weight == Weight::Lost));
    let told = |fault: &Fault| fault.entry.as_ref().map_or_else(|| fault.message.clone(), |key| format!("its entry `{key}`: {}", fault.message));
    let why: Vec<String> = faults.iter().filter(counts).map(told).collect();
    if !why.is_empty() {
        return Err(why.join("; "));
    }
    let entry = |holding: Holding| match holding.holds {
        Holds::Login(account) => Entry { key: holding.key, login: Some(account), note: None },
        Holds::Token(_) | Holds::Helper { .. } | Holds::Nothing | Holds::Unreadable(_) => Entry { key: holding.key, login: None, note: None },
    };
    Ok(holdings.into_iter().map(entry).collect())
}

/// A string as Go's `encoding/json` writes it, with its escapes for HTML (go1.22 `encode.go` appendString).
fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Registry, Secret, Username};

    fn login(registry: &str, username: &str, password: &str) -> Login {
        Login {
            name: registry.into(),
            registry: Registry::parse(registry).unwrap().0,
            username: Username::parse(username).unwrap(),
            password: Secret::new(password.to_string()),
            auth_hosts: Vec::new(),
            expires: None,
        }
    }

    #[track_caller]
    fn check(logins: &[Login], want: &str) {
        let logins: Vec<&Login> = logins.iter().collect();
        assert_eq!(std::str::from_utf8(&document(&logins)).unwrap(), want);
    }

    #[test]
    fn the_bytes_are_those_of_kubectl() {
        check(
            &[login("nvcr.io", "$oauthtoken", "nvapi-AbC_123")],
            r#"{"auths":{"nvcr.io":{"username":"$oauthtoken","password":"nvapi-AbC_123","auth":"JG9hdXRodG9rZW46bnZhcGktQWJDXzEyMw=="}}}"#,
        );
        // As kubectl 1.27 to 1.33 print it.
        check(
            &[login("h.example", "a<b>&c", "p\"w\\ü\u{1}\u{7f}\u{2028} é")],
            "{\"auths\":{\"h.example\":{\"username\":\"a\\u003cb\\u003e\\u0026c\",\"password\":\"p\\\"w\\\\ü\\u0001\u{7f}\\u2028 é\",\"auth\":\"YTxiPiZjOnAid1zDvAF/4oCoIMOp\"}}}",
        );
    }

    #[test]
    fn several_logins_stand_sorted_by_their_keys() {
        check(
            &[login("nvcr.io", "a", "b"), login("docker.io", "a", "b")],
            concat!(
                r#"{"auths":{"https://index.docker.io/v1/":{"username":"a","password":"b","auth":"YTpi"},"#,
                r#""nvcr.io":{"username":"a","password":"b","auth":"YTpi"}}}"#
            ),
        );
    }

    #[test]
    fn what_the_kubelet_takes_is_told_entry_by_entry() {
        #[track_caller]
        fn check(document: &str, want: Result<&[(&str, &str)], &str>) {
            let got = entries(document.as_bytes()).map(|found| {
                let account = |e: &Entry| e.login.as_ref().map_or_else(|| "-".to_string(), |a| format!("{}:{}", a.username, a.password.expose()));
                found.iter().map(|e| (e.key.clone(), account(e))).collect::<Vec<_>>()
            });
            let got = got.as_ref().map(|found| found.iter().map(|(k, a)| (k.as_str(), a.as_str())).collect::<Vec<_>>()).map_err(String::as_str);
            assert_eq!(got, want.map(<[_]>::to_vec), "{document}");
        }
        let ours = document(&[&login("nvcr.io", "a", "b"), &login("docker.io", "c", "d")]);
        check(std::str::from_utf8(&ours).unwrap(), Ok(&[("https://index.docker.io/v1/", "c:d"), ("nvcr.io", "a:b")]));
        check(r#"{"auths":{"h":{"auth":"YTpi"},"i":{"username":"u","password":"p"}}}"#, Ok(&[("h", "a:b"), ("i", "u:p")]));
        check(r#"{"auths":{"h":{"auth":"YTpi"},"j":{}}}"#, Ok(&[("h", "a:b"), ("j", "-")]));
        let emptied = "its entry `j`: it is empty: the Secret was made from a config.json whose passwords are elsewhere, or before anybody logged in";
        check(r#"{"auths":{"j":{}}}"#, Err(emptied));
        check("{}", Err("its `.dockerconfigjson` has no `auths`, in which the kubelet looks for logins"));
        check(r#"{"auths":{}}"#, Err("its `.dockerconfigjson` has no entry"));
        let bad = "its entry `i`: the kubelet cannot read it, nor any other entry of this Secret: its auth is no standard base64";
        check(r#"{"auths":{"h":{"auth":"YTpi"},"i":{"auth":"%%"}}}"#, Err(bad));
        // The login of a key that finds no image is one all the same.
        check(r#"{"auths":{"h.example/v1/x":{"auth":"YTpi"}}}"#, Ok(&[("h.example/v1/x", "a:b")]));
    }

    #[test]
    fn what_no_secret_can_hold_is_told() {
        let (two, path) = ([login("a.example", "u", "p"), login("a.example", "v", "p")], [login("a.example/proj", "u", "p")]);
        let told = |logins: &[Login]| problems("Secret regcred", &logins.iter().collect::<Vec<_>>()).join("\n");
        assert!(told(&two).contains("are both for a.example in Secret regcred"), "{}", told(&two));
        assert!(told(&path).contains("has a path"), "{}", told(&path));
        let large: Vec<Login> = (0..300).map(|i| login(&format!("h{i}.example"), "u", &"x".repeat(3000))).collect();
        assert!(told(&large).contains("larger than 1 MiB"), "{}", told(&large));
    }
}
