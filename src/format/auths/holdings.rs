//! What such a file holds for its owner, entry by entry: for those who want to take the logins along. One entry that its program cannot
//! read spoils none of the others here.

use super::document::{self, Document, Entry as Fields};
use super::helpers::{Before, before_key};
use super::read::account;
use super::{Bad, Dialect, Helpers};
use crate::format::json;
use crate::format::{Account, shown};
use crate::model::Registry;

/// An entry of `auths`, or a registry that only `credHelpers` names.
pub struct Holding {
    /// Its key in the file.
    pub key: String,
    /// The registry that its program takes the key for; `Err` says why it is none.
    pub registry: Result<Registry, String>,
    /// What it holds.
    pub holds: Holds,
}

/// What an entry holds.
pub enum Holds {
    /// A username and a password.
    Login(Account),
    /// A token that stands for a password at the registry's token server, in the field of this name.
    Token(&'static str),
    /// Whatever a credential helper has, which the program asks first: the `NAME` of `docker-credential-NAME`, and whether something stands
    /// in the entry as well.
    Helper {
        /// As the file writes it.
        helper: String,
        /// Whether the entry has a login of its own, which the program does not look at.
        beside: bool,
    },
    /// Nothing.
    Nothing,
    /// Something that its program cannot read, and why.
    Unreadable(&'static str),
}

/// What the file holds, in its order; `Err` goes on from the file's name.
pub(in crate::format) fn holdings(dialect: &Dialect, bytes: &[u8]) -> Result<Vec<Holding>, String> {
    let document = Document::parse(dialect, Some(bytes))?;
    let store = document.top.iter().find(|(key, _)| key == "credsStore").and_then(|(_, raw)| json::as_text(raw));
    let helper = |key: &str| {
        // Helpers know no paths.
        let key = if dialect.helpers == Helpers::PerRegistry { key.split('/').next().unwrap_or_default() } else { key };
        match before_key(dialect, &document, key) {
            Before::Nobody | Before::EmptyName => None,
            Before::Helper(helper) => Some(helper.to_string()),
            Before::Store => store.as_ref().map(|name| name.to_string()),
        }
    };
    let mut found = Vec::new();
    for (key, _, entry) in &document.auths {
        let own = entry.as_ref().map_or(Holds::Nothing, |entry| held(dialect, entry));
        let holds = match helper(key) {
            Some(helper) => Holds::Helper { helper, beside: !matches!(own, Holds::Nothing) },
            None => own,
        };
        found.push(Holding { key: key.clone(), registry: registry(dialect, key), holds });
    }
    for (key, ..) in &document.helpers {
        if let Some(helper) = helper(key).filter(|_| document.auths.iter().all(|(name, ..)| name != key)) {
            found.push(Holding { key: key.clone(), registry: registry(dialect, key), holds: Holds::Helper { helper, beside: false } });
        }
    }
    Ok(found)
}

fn held(dialect: &Dialect, entry: &Fields<'_>) -> Holds {
    let token = ["identitytoken", "registrytoken"].into_iter().find(|name| document::field(entry, name).is_some());
    if let Some(name) = token {
        return Holds::Token(name);
    }
    match ((dialect.bad)(entry), account(dialect, entry).0) {
        (None, Some(account)) => Holds::Login(account),
        (Some(Bad::File(why) | Bad::Entry(why)), _) => Holds::Unreadable(why),
        (None, None) => Holds::Nothing,
    }
}

/// The registry that the program takes a key for. A path stays where it makes a key of its own.
fn registry(dialect: &Dialect, key: &str) -> Result<Registry, String> {
    if key.contains(['*', '?']) {
        return Err(format!("`{}` is a pattern, and a login is for one registry", shown(key)));
    }
    let lower = key.to_ascii_lowercase();
    let bare = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")).unwrap_or(&lower);
    let (host, _) = Registry::parse(bare.split('/').next().unwrap_or_default())?;
    if key == (dialect.key)(&host) || (dialect.is_alias)(key, &host) {
        return Ok(host);
    }
    Registry::parse(bare).map(|(registry, _)| registry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{held_by_docker, held_by_kubelet, held_by_podman};

    type Reader = fn(&[u8]) -> Result<Vec<Holding>, String>;

    #[track_caller]
    fn check(read: Reader, file: &str, want: &[&str]) {
        let told: Vec<String> = match read(file.as_bytes()) {
            Err(why) => vec![why],
            Ok(found) => found.iter().map(tell).collect(),
        };
        let fits = |got: &String, want: &&str| want.strip_suffix("...").map_or(got == want, |start| got.starts_with(start));
        assert!(told.len() == want.len() && told.iter().zip(want).all(|(g, w)| fits(g, w)), "{told:#?} instead of {want:#?}");
    }

    fn tell(h: &Holding) -> String {
        let registry = h.registry.as_ref().map_or_else(|why| format!("({why})"), Registry::to_string);
        match &h.holds {
            Holds::Login(a) => format!("{registry} {} {}", a.username, a.password.expose()),
            Holds::Token(name) => format!("{registry} {name}"),
            Holds::Helper { helper, beside } => format!("{registry} asks {helper}{}", if *beside { ", not the entry" } else { "" }),
            Holds::Nothing => format!("{registry} nothing"),
            Holds::Unreadable(why) => format!("{registry} {why}"),
        }
    }

    #[test]
    fn entries_hold_logins_tokens_or_nothing() {
        let file = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"a":{"username":"u","password":"p"},"b":{"auth":"dTpw","identitytoken":"t"},
            "c":{"registrytoken":"t"},"d":{},"e":null,"f":{"auth":"!"},"g":{"auth":"dTpwAAA="},"h":{"auth":"dTpw","username":"v"},"i":{"email":"x"}},
            "HttpHeaders":{"x":"y"},"proxies":{}}"#;
        check(
            held_by_docker,
            file,
            &[
                "docker.io u p",
                "a u p",
                "b identitytoken",
                "c registrytoken",
                "d nothing",
                "e nothing",
                "f its auth is no standard base64",
                "g u p",
                "h u p",
                "i nothing",
            ],
        );
        check(held_by_podman, r#"{"auths":{"a":{"username":"u","password":"p"}}}"#, &["a it has no auth"]);
        check(
            held_by_kubelet,
            r#"{"auths":{"a":{"username":"u","password":"p"},"b":{"auth":"dTpwcQ"},"*.c":{"auth":"dTpw"}}}"#,
            &["a u p", "b u pq", "(`*.c` is..."],
        );
    }

    #[test]
    fn keys_are_the_registries_that_their_program_means() {
        let file = |key: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
        for (key, docker, podman, kubelet) in [
            ("https://nvcr.io/v1/", "nvcr.io", "nvcr.io", "nvcr.io"),
            ("HTTPS://NVCR.io", "nvcr.io", "nvcr.io", "nvcr.io"),
            ("https://h.example:5000/v2/", "h.example:5000", "h.example:5000", "h.example:5000"),
            ("https://h.example/team", "h.example", "h.example", "h.example/team"),
            ("h.example/team", "h.example/team", "h.example/team", "h.example/team"),
            ("index.docker.io", "docker.io", "docker.io", "docker.io"),
            ("docker.io", "docker.io", "docker.io", "docker.io"),
            ("docker.io/acme", "docker.io/acme", "docker.io/acme", "docker.io/acme"),
        ] {
            for (read, want) in [(held_by_docker as Reader, docker), (held_by_podman, podman), (held_by_kubelet, kubelet)] {
                check(read, &file(key), &[&format!("{want} u p")]);
            }
        }
        check(held_by_docker, &file("h:x"), &["(registry `h:x` has a port..."]);
    }

    #[test]
    fn helpers_come_first() {
        let file = r#"{"auths":{"a":{},"b":{"auth":"dTpw"},"c":{"auth":"dTpw"}},"credsStore":"desktop","credHelpers":{"c":"","d":"ecr-login","b/x":"y"}}"#;
        check(held_by_docker, file, &["a asks desktop", "b asks desktop, not the entry", "c u p", "d asks ecr-login", "b/x asks y"]);
        check(held_by_podman, file, &["a nothing", "b u p", "c asks , not the entry", "d asks ecr-login"]);
        check(held_by_kubelet, file, &["a nothing", "b u p", "c u p"]);
    }

    #[test]
    fn files_that_nobody_reads_say_why() {
        check(held_by_docker, "", &["is empty, which podman and skopeo refuse"]);
        check(held_by_docker, "{\"auths\":{\"a\":{},\"a\":{}}}", &["has an `auths` that has a key that stands twice..."]);
        check(held_by_docker, "\u{feff}{}", &["starts with a byte order mark, which docker refuses"]);
        check(held_by_docker, "[]", &["is not a JSON object"]);
        check(held_by_docker, "{\"auths\":", &["is no valid JSON: it ends too early"]);
        check(held_by_docker, "{}", &[]);
    }
}
