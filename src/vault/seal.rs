//! A password sealed on its own, inside a file that stays readable.
//!
//! Inside the seal stands JSON, in this order:
//! `{"v":1,"registry":"nvcr.io","username":"$oauthtoken","auth_hosts":[],"password":"..."}`. age has no associated data, so
//! what the password belongs to is sealed with it: a seal that is pasted under another login is refused.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Identities, Recipients, file};
use crate::error::{Error, Result};
pub use crate::model::login::check_auth_host;
use crate::model::login::check_password;
use crate::model::text::{escape, shell_word};
use crate::model::{Login, LoginEntry, PasswordText, Registry, Secret, Username};

/// The version of the sealed JSON that is written and read.
const SEAL_VERSION: u64 = 1;

/// What a seal holds.
pub struct SealedValue {
    /// The registry that the password is for.
    pub registry: Registry,
    /// The account that the password is for.
    pub username: Username,
    /// Further hosts that may be handed the password (token realms), confirmed by the admin.
    pub auth_hosts: Vec<String>,
    /// The password or token.
    pub password: Secret,
}

/// The JSON of version 1, borrowed for writing. Field order is the order in the file.
#[derive(Serialize)]
struct Written<'a> {
    v: u64,
    registry: String,
    username: &'a str,
    auth_hosts: &'a [String],
    password: &'a str,
}

/// The JSON of version 1, as read. It has no `Debug`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "v")]
    _v: u64,
    registry: String,
    username: String,
    auth_hosts: Vec<String>,
    password: String,
}

/// Only the version, whatever else there is.
#[derive(Deserialize)]
struct Version {
    v: u64,
}

/// Why a seal gave no value.
enum ValueError {
    /// age did not open it.
    Open(file::OpenError),
    /// It opened, but no sealed value is inside.
    Bare,
    /// A version that this program does not know.
    Version(u64),
    /// Version 1, but a field breaks its rule.
    Field(String),
}

/// Seals a value for all recipients, as armor that ends with a line feed.
pub fn seal(value: &SealedValue, recipients: &Recipients) -> Result<String> {
    check_password(value.password.expose()).map_err(Error::vault)?;
    let written = Written {
        v: SEAL_VERSION,
        registry: value.registry.to_string(),
        username: value.username.as_str(),
        auth_hosts: &value.auth_hosts,
        password: value.password.expose(),
    };
    // Escapes make a character at most six times as long; the buffer never moves and leaves no copy of the password behind.
    let capacity =
        256 + 6 * (written.registry.len() + written.username.len() + written.password.len() + written.auth_hosts.iter().map(|h| h.len() + 3).sum::<usize>());
    let mut json = Zeroizing::new(Vec::with_capacity(capacity));
    serde_json::to_writer(&mut *json, &written).map_err(|_| Error::internal("a sealed value is not JSON"))?;
    file::encrypt_value(&json, recipients)
}

/// The JSON of the password of sudo. It has no registry and a `use`, so that it opens under no login, and no login under it.
#[derive(Serialize)]
struct WrittenBecome<'a> {
    v: u64,
    r#use: &'a str,
    password: &'a str,
}

/// As read. It has no `Debug`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBecome {
    #[serde(rename = "v")]
    _v: u64,
    r#use: String,
    password: String,
}

/// The `use` of the password of sudo.
const USE_BECOME: &str = "become";

/// Seals the password of sudo for all recipients, as armor that ends with a line feed.
pub fn seal_become(password: &Secret, recipients: &Recipients) -> Result<String> {
    check_become_password(password).map_err(Error::vault)?;
    let written = WrittenBecome { v: SEAL_VERSION, r#use: USE_BECOME, password: password.expose() };
    let mut json = Zeroizing::new(Vec::with_capacity(64 + 6 * written.password.len()));
    serde_json::to_writer(&mut *json, &written).map_err(|_| Error::internal("a sealed value is not JSON"))?;
    file::encrypt_value(&json, recipients)
}

/// Checks the password of sudo: it goes to sudo as one line.
pub fn check_become_password(password: &Secret) -> std::result::Result<(), String> {
    check_password(password.expose())?;
    // sudo's buffer holds 1023 bytes (1.9 `include/sudo_plugin.h`, SUDO_CONV_REPL_MAX).
    match password.expose() {
        p if p.contains(['\n', '\r']) => Err("the password of sudo has a line break in it".to_string()),
        p if p.len() > 1023 => Err("the password of sudo is longer than sudo reads (1023 bytes)".to_string()),
        _ => Ok(()),
    }
}

/// Opens the password of sudo, which stands at `place` (`vault.yml:12:3`). One in the clear is taken only with `allow_plaintext`.
///
/// # Errors
/// Name the place, never a value.
pub fn open_become(text: &PasswordText, place: &str, identities: &Identities, allow_plaintext: bool) -> Result<Secret> {
    let what = format!("{place}: the password of sudo (`become_password`)");
    let file = place.rsplitn(3, ':').last().unwrap_or(place);
    let again = format!("seal it again: `regprov vault set {} --become`", shell_word(file));
    let password = match text {
        PasswordText::Plain(password) if allow_plaintext => password.clone(),
        PasswordText::Plain(_) => return Err(Error::vault(format!("{what} stands in the clear")).hint(again)),
        PasswordText::Dynamic(dynamic) => return Err(Error::vault(format!("{what} cannot come from `{}`", dynamic.source.key())).hint(again)),
        PasswordText::Sealed(armored) => {
            let json = file::decrypt(armored.as_bytes(), identities).map_err(|e| e.explain(&what))?;
            match serde_json::from_slice::<Version>(&json) {
                Ok(Version { v: SEAL_VERSION }) => {}
                Ok(Version { v }) => return Err(Error::vault(format!("{what} was sealed by a newer regprov (version {v})")).hint("update regprov")),
                Err(_) => return Err(Error::vault(format!("{what} is a bare text sealed with age, which does not say what it is for")).hint(again)),
            }
            let read = serde_json::from_slice::<ReadBecome>(&json).ok().filter(|r| r.r#use == USE_BECOME);
            let read = read.ok_or_else(|| Error::vault(format!("{what} was not sealed for sudo; somebody moved a login's seal")).hint(again.clone()))?;
            Secret::new(read.password)
        }
    };
    check_become_password(&password).map_err(|why| Error::vault(format!("{what}: {why}")).hint(again))?;
    Ok(password)
}

/// Opens a login: its password's seal, checked against the registry and the username that the file names beside it. A
/// password in the clear is taken only with `allow_plaintext`. Errors name the login and its place, never a value but
/// registry and username, which are not secret.
pub fn open_login(entry: &LoginEntry, identities: &Identities, allow_plaintext: bool) -> Result<Login> {
    let login = |password: Secret, auth_hosts: Vec<String>| Login {
        name: entry.name.clone(),
        registry: entry.registry.clone(),
        username: entry.username.clone(),
        password,
        auth_hosts,
        expires: entry.expires.clone(),
    };
    let what = format!("{}: the password of login `{}`", entry.place, escape(&entry.name));
    let armored = match &entry.password {
        PasswordText::Sealed(armored) => armored,
        PasswordText::Plain(password) if allow_plaintext => {
            check_password(password.expose()).map_err(|why| Error::vault(format!("{}: login `{}`: {why}", entry.place, escape(&entry.name))))?;
            return Ok(login(password.clone(), Vec::new()));
        }
        PasswordText::Dynamic(dynamic) => {
            return Err(Error::vault(format!("{what} is not in this file: it comes from `{}`, anew for each run", dynamic.source.key())));
        }
        PasswordText::Plain(_) => {
            return Err(Error::vault(format!("{what} stands in the clear")).hint(format!(
                "seal it with `{}`, and change it at the registry if the file was shared; --allow-plaintext takes it as it is",
                set_line(entry)
            )));
        }
    };
    let value = open_value(armored, identities).map_err(|e| match e {
        ValueError::Open(e @ file::OpenError::NoMatch) => {
            let mut error = e.explain(&what);
            error.hint = Some(format!(
                "give the identity it was sealed for with --identity FILE, REGPROV_IDENTITY_FILE or REGPROV_IDENTITY; or let somebody who knows the password type `{}`",
                set_line(entry)
            ));
            error
        }
        ValueError::Open(e) => e.explain(&what),
        ValueError::Bare => Error::vault(format!("{what} is a bare text sealed with age, which does not say what it belongs to")).hint(format!("type `{}`", set_line(entry))),
        ValueError::Version(v) => Error::vault(format!("{what} was sealed by a newer regprov (version {v} of a sealed value; this one knows {SEAL_VERSION})"))
            .hint(format!("update regprov, or type `{}`", set_line(entry))),
        ValueError::Field(why) => Error::vault(format!("{what}: what is sealed does not do: {why}")).hint(format!("type `{}`", set_line(entry))),
    })?;
    if value.registry != entry.registry || value.username != entry.username {
        return Err(Error::vault(format!(
            "{what} was sealed for {} at {}, not for {} at {}",
            escape(value.username.as_str()),
            value.registry,
            escape(entry.username.as_str()),
            entry.registry
        ))
        .hint(format!("somebody moved the seal or changed the line beside it; when the line is right, seal the password for it: `{}`", set_line(entry))));
    }
    Ok(login(value.password, value.auth_hosts))
}

fn open_value(armored: &str, identities: &Identities) -> std::result::Result<SealedValue, ValueError> {
    let json = file::decrypt(armored.as_bytes(), identities).map_err(ValueError::Open)?;
    let version = serde_json::from_slice::<Version>(&json).map_err(|_| ValueError::Bare)?.v;
    if version != SEAL_VERSION {
        return Err(ValueError::Version(version));
    }
    // serde's own words quote values, so they are dropped.
    let read: Read = serde_json::from_slice(&json).map_err(|_| ValueError::Field("its fields are not those of version 1".into()))?;
    let password = Secret::new(read.password);
    check_password(password.expose()).map_err(ValueError::Field)?;
    let (registry, _) = Registry::parse(&read.registry).map_err(|_| ValueError::Field("its registry is no registry's name".into()))?;
    let username = Username::parse(&read.username).map_err(ValueError::Field)?;
    for host in &read.auth_hosts {
        check_auth_host(host).map_err(ValueError::Field)?;
    }
    Ok(SealedValue { registry, username, auth_hosts: read.auth_hosts, password })
}

/// The command that seals this login's password anew, ready to type.
fn set_line(entry: &LoginEntry) -> String {
    // A place is `vault.yml:12:3`.
    let mut file = entry.place.as_str();
    for _ in 0..2 {
        file = match file.rsplit_once(':') {
            Some((before, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => before,
            _ => file,
        };
    }
    let words =
        [file, &entry.name, "--registry", &entry.registry.to_string(), "--username", entry.username.as_str()].map(|word| shell_word(&escape(word))).join(" ");
    format!("regprov vault set {words}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{alice, bob, to_alice};
    use super::*;
    use crate::error::Kind;

    fn entry(registry: &str, username: &str, password: PasswordText) -> LoginEntry {
        LoginEntry {
            name: "ngc".into(),
            registry: Registry::parse(registry).unwrap().0,
            username: Username::parse(username).unwrap(),
            password,
            expires: None,
            fingerprint: None,
            canary: None,
            previous: None,
            place: "site/vault.yml:12:3".into(),
        }
    }

    fn value(password: &str) -> SealedValue {
        SealedValue {
            registry: Registry::parse("nvcr.io").unwrap().0,
            username: Username::parse("$oauthtoken").unwrap(),
            auth_hosts: vec!["authn.nvidia.com".into()],
            password: Secret::new(password.to_string()),
        }
    }

    /// Opens what was encrypted as it is, without our JSON's help.
    fn open_raw(json: &str) -> Result<Login> {
        let armored = file::encrypt(json.as_bytes(), &to_alice()).unwrap();
        open_login(&entry("nvcr.io", "$oauthtoken", PasswordText::Sealed(armored)), &alice(), false)
    }

    #[track_caller]
    fn refused(result: Result<Login>, parts: &[&str]) {
        let error = result.err().expect("refused");
        let text = error.to_string();
        assert_eq!(error.kind, Kind::Vault);
        assert!(text.starts_with("site/vault.yml:12:3: "), "{text}");
        assert!(!text.contains("hunter2"), "a password in a message: {text}");
        for part in ["login `ngc`"].iter().chain(parts) {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    const SET: &str = "regprov vault set site/vault.yml ngc --registry nvcr.io --username '$oauthtoken'";

    #[test]
    fn passwords_come_back_as_they_were() {
        for password in ["x", " with spaces ", "quote\"back\\slash", "line\nbreak\r\n", "ünïcödé 🔑", "\u{1}\u{7f}", &"long".repeat(5000)] {
            let armored = seal(&value(password), &to_alice()).unwrap();
            let login = open_login(&entry("nvcr.io", "$oauthtoken", PasswordText::Sealed(armored)), &alice(), false).ok().unwrap();
            assert_eq!(login.password.expose(), password);
            assert_eq!(login.auth_hosts, ["authn.nvidia.com"]);
        }
    }

    #[test]
    fn the_seal_holds_the_documented_json() {
        let armored = seal(&value("p\"w"), &to_alice()).unwrap();
        let json = file::decrypt(armored.as_bytes(), &alice()).unwrap();
        let want = r#"{"v":1,"registry":"nvcr.io","username":"$oauthtoken","auth_hosts":["authn.nvidia.com"],"password":"p\"w"}"#;
        assert_eq!(std::str::from_utf8(&json).unwrap(), want);
    }

    #[test]
    fn the_password_of_sudo_opens_nowhere_else() {
        let sudo = seal_become(&Secret::new("hunter2".to_string()), &to_alice()).unwrap();
        let open = |armored: &str| open_become(&PasswordText::Sealed(armored.to_string()), "v.yml:3:1", &alice(), false);
        assert_eq!(open(&sudo).ok().unwrap().expose(), "hunter2");
        let json = file::decrypt(sudo.as_bytes(), &alice()).unwrap();
        assert_eq!(std::str::from_utf8(&json).unwrap(), r#"{"v":1,"use":"become","password":"hunter2"}"#);
        refused(open_login(&entry("nvcr.io", "$oauthtoken", PasswordText::Sealed(sudo.clone())), &alice(), false), &["fields are not those"]);
        let raw = |json: &str| open(&file::encrypt(json.as_bytes(), &to_alice()).unwrap()).err().unwrap().to_string();
        let login = seal(&value("hunter2"), &to_alice()).unwrap();
        for (error, part) in [
            (open(&login).err().unwrap().to_string(), "was not sealed for sudo"),
            (raw(r#"{"v":1,"use":"login","password":"hunter2"}"#), "was not sealed for sudo"),
            (raw(r#"{"v":2,"use":"become","password":"hunter2"}"#), "newer regprov"),
            (raw("hunter2"), "bare text"),
            (raw(r#"{"v":1,"use":"become","password":"hunter2\nx"}"#), "line break"),
            (open_become(&PasswordText::Sealed(sudo), "v.yml:3:1", &bob(), false).err().unwrap().to_string(), "not sealed for any"),
        ] {
            assert!(error.contains(part) && error.starts_with("v.yml:3:1: ") && !error.contains("hunter2"), "{error}");
        }
        for bad in ["", "a\nb", "a\0b", &"x".repeat(1024)] {
            assert!(seal_become(&Secret::new(bad.to_string()), &to_alice()).is_err());
        }
    }

    #[test]
    fn unusable_passwords_are_not_sealed() {
        for bad in ["", "a\0b"] {
            assert!(seal(&value(bad), &to_alice()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_seal_under_another_login_is_refused() {
        let armored = seal(&value("hunter2"), &to_alice()).unwrap();
        let open = |registry, username| open_login(&entry(registry, username, PasswordText::Sealed(armored.clone())), &alice(), false);
        refused(open("evil.example.org", "$oauthtoken"), &["was sealed for $oauthtoken at nvcr.io, not for $oauthtoken at evil.example.org"]);
        refused(open("nvcr.io", "mallory"), &["was sealed for $oauthtoken at nvcr.io, not for mallory at nvcr.io"]);
    }

    #[test]
    fn the_wrong_identity_is_told_how_to_give_the_right_one() {
        let armored = seal(&value("hunter2"), &to_alice()).unwrap();
        let e = entry("nvcr.io", "$oauthtoken", PasswordText::Sealed(armored));
        refused(open_login(&e, &bob(), false), &["not sealed for any", "--identity FILE", SET]);
        refused(open_login(&e, &Identities::default(), false), &["not sealed for any"]);
    }

    #[test]
    fn what_is_sealed_but_is_not_ours_is_refused() {
        refused(open_raw("hunter2"), &["bare text", SET]);
        refused(open_raw("\"hunter2\""), &["bare text"]);
        refused(open_raw("{\"password\":\"hunter2\"}"), &["bare text"]);
        refused(open_raw(""), &["bare text"]);
        refused(open_raw(r#"{"v":2,"password":"hunter2"}"#), &["newer regprov (version 2"]);
        refused(open_raw(r#"{"v":1,"password":"hunter2"}"#), &["fields are not those"]);
        let json = |registry: &str, username: &str, hosts: &str, more: &str| {
            format!(r#"{{"v":1,"registry":"{registry}","username":"{username}","auth_hosts":[{hosts}],"password":"hunter2"{more}}}"#)
        };
        assert!(open_raw(&json("nvcr.io", "$oauthtoken", "", "")).is_ok());
        refused(open_raw(&json("nvcr.io", "$oauthtoken", "", r#","extra":1"#)), &["fields are not those"]);
        refused(open_raw(&json("nvcr.io", "$oauthtoken", "", r#","password":"hunter2""#)), &["fields are not those"]);
        refused(open_raw(&json("a b", "$oauthtoken", "", "")), &["no registry's name"]);
        refused(open_raw(&json("nvcr.io", "a:b", "", "")), &["username contains `:`"]);
        refused(open_raw(&json("nvcr.io", "$oauthtoken", r#""https://x""#, "")), &["auth host"]);
        refused(open_raw(&json("nvcr.io", "\\u001b[31m", "", "")), &["was sealed for \\u{1b}[31m at"]);
    }

    #[test]
    fn an_empty_password_inside_a_seal_is_refused() {
        refused(open_raw(r#"{"v":1,"registry":"nvcr.io","username":"$oauthtoken","auth_hosts":[],"password":""}"#), &["password is empty"]);
    }

    #[test]
    fn plaintext_needs_its_flag() {
        let e = |p: &str| entry("nvcr.io", "$oauthtoken", PasswordText::Plain(Secret::new(p.to_string())));
        refused(open_login(&e("hunter2"), &alice(), false), &["in the clear", SET]);
        assert_eq!(open_login(&e("hunter2"), &Identities::default(), true).ok().unwrap().password.expose(), "hunter2");
        refused(open_login(&e(""), &Identities::default(), true), &["password is empty"]);
    }

    /// Every cut and every changed character is an error or, where the armor allows it, the same value.
    #[test]
    fn a_damaged_seal_never_opens_to_another_value() {
        let armored = seal(&value("hunter2"), &to_alice()).unwrap();
        let ids = alice();
        let whole = armored.trim_end().len();
        let open = |text: &str| open_login(&entry("nvcr.io", "$oauthtoken", PasswordText::Sealed(text.to_string())), &ids, false);
        for end in 0..whole {
            assert!(open(&armored[..end]).is_err(), "cut after {end} bytes");
        }
        for i in 0..whole {
            for bit in [0, 1, 5] {
                let mut bytes = armored.clone().into_bytes();
                bytes[i] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                if let Ok(login) = open(&text) {
                    assert_eq!(login.password.expose(), "hunter2", "byte {i}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn auth_hosts() {
        for good in ["authn.nvidia.com", "auth.docker.io", "registry-1.docker.io", "docker.io", "10.0.0.1"] {
            assert!(check_auth_host(good).is_ok(), "{good}");
        }
        for bad in ["", "https://auth.example.org", "auth.example.org:443", "auth.example.org/token", "Auth.example.org", "a b", "https://index.docker.io/v1/"]
        {
            assert!(check_auth_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_line_to_type_is_safe_to_type() {
        let mut e = entry("nvcr.io", "it's $x", PasswordText::Sealed(String::new()));
        e.place = "my vault.yml:1".into();
        assert_eq!(set_line(&e), r"regprov vault set 'my vault.yml' ngc --registry nvcr.io --username 'it'\''s $x'");
    }
}
