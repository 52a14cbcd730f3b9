//! Docker's `config.json` and podman's `auth.json`: logins by registry under `auths`, and credential helpers that keep them elsewhere.

use super::{Found, FoundLogin, Left};
use crate::format::{Holding, Holds, held_by_docker, held_by_podman};
use crate::model::text::escape;
use crate::model::{HelperName, Registry, Secret};

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Docker's.
    Docker,
    /// That of podman, skopeo and buildah.
    Podman,
}

/// What a credential helper says of a registry.
pub enum Answer {
    /// It was not asked, since nobody allowed it.
    NotAsked,
    /// A username and a password.
    Login(String, Secret),
    /// A token that stands for a password at the registry's token server.
    Token,
    /// Nothing that can be used, and why.
    None(String),
}

/// Asks a helper for what it has under this name of a registry.
pub type Ask<'a> = &'a mut dyn FnMut(&HelperName, &str) -> Answer;

/// The logins of a file; `Err` goes on from the file's name.
pub fn read(program: Program, bytes: &[u8], ask: Ask<'_>) -> Result<Found, String> {
    let (holdings, name) = match program {
        Program::Docker => (held_by_docker(bytes)?, "docker"),
        Program::Podman => (held_by_podman(bytes)?, "podman"),
    };
    let mut found = Found::default();
    for Holding { key, registry, holds } in holdings {
        let place = format!("auths[\"{}\"]", escape(&key));
        let registry = match registry {
            Ok(registry) => registry,
            Err(why) => {
                found.left.push(Left::new(place, escape(&why)));
                continue;
            }
        };
        if program == Program::Docker && key == "docker.io" {
            found.notes.push(format!("{place}: docker looks for Docker Hub's login under https://index.docker.io/v1/ alone, and does not find this one"));
        }
        match holds {
            Holds::Login(account) => found.take_of(registry, &account.username, account.password, &place),
            Holds::Helper { helper, beside } => {
                // podman asks by its own name of the host, docker by the key as it stands.
                let server = if program == Program::Podman { registry.authority().to_string() } else { key };
                from_helper(&mut found, registry, &helper, &server, beside.then_some((place.as_str(), name)), ask);
            }
            Holds::Token(field) => found.left.push(Left::new(place, token(field))),
            Holds::Nothing => found.left.push(Left::new(place, "it is empty, and no credential helper is named for it")),
            Holds::Unreadable(why) => found.left.push(Left::new(place, format!("{name} cannot read it: {why}"))),
        }
    }
    leave_doubtful(&mut found);
    Ok(found)
}

/// Why a token is left.
pub(super) fn token(field: &str) -> String {
    format!("it is a token (`{field}`) of one session, not a password; make a robot account or an access token at the registry, and `regprov vault set` it")
}

/// What a helper has; `beside` is the entry that its program does not look at, and the program.
fn from_helper(found: &mut Found, registry: Registry, helper: &str, server: &str, beside: Option<(&str, &str)>, ask: Ask<'_>) {
    let place = format!("docker-credential-{} of \"{}\"", escape(helper), escape(server));
    let Some(name) = HelperName::parse(helper) else {
        found.left.push(Left::new(place, "the credential helper has a name that is none of a program"));
        return;
    };
    let why = match ask(&name, server) {
        Answer::Login(username, password) => return found.take_of(registry, &username, password, &place),
        Answer::NotAsked => match beside {
            Some((entry, program)) => {
                format!("{program} asks this credential helper and not {entry}, where a login stands too, which may be old; --ask-helpers asks it")
            }
            None => "this credential helper keeps it; --ask-helpers asks it".to_string(),
        },
        Answer::Token => token("Username: <token>"),
        Answer::None(why) => why,
    };
    found.left.push(Left::new(place, why));
}

/// Leaves all logins of a registry that stands there several times with different ones: which of them its program takes is up to the spelling
/// of the key, and which is meant is not to be told.
fn leave_doubtful(found: &mut Found) {
    let same = |a: &FoundLogin, b: &FoundLogin| a.username == b.username && a.password.expose() == b.password.expose();
    let logins = std::mem::take(&mut found.logins);
    let doubtful: Vec<bool> = logins.iter().map(|l| logins.iter().any(|o| o.registry == l.registry && !same(o, l))).collect();
    for (login, doubtful) in logins.into_iter().zip(doubtful) {
        if doubtful {
            found.left.push(Left::new(
                &login.from,
                format!("{} stands here several times, with logins that differ; remove the wrong one, and import again", login.registry),
            ));
        } else {
            found.logins.push(login);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    /// Reads without any helper.
    #[track_caller]
    fn check(program: Program, file: &str, want: &[&str]) {
        checked(program, file, &mut |_, _| Answer::NotAsked, want);
    }

    #[track_caller]
    fn checked(program: Program, file: &str, ask: Ask<'_>, want: &[&str]) {
        match read(program, file.as_bytes(), ask) {
            Ok(mut found) => {
                found.settle();
                testing::check(&found, want);
            }
            Err(why) => assert_eq!([why.as_str()], want),
        }
    }

    // auth: u:p, and v:q
    const U: &str = "dTpw";
    const V: &str = "djpx";

    fn auths(entries: &[(&str, &str)]) -> String {
        let entries: Vec<String> = entries.iter().map(|(key, auth)| format!(r#""{key}":{{"auth":"{auth}"}}"#)).collect();
        format!(r#"{{"auths":{{{}}},"HttpHeaders":{{"User-Agent":"x"}},"proxies":{{}},"detachKeys":"x"}}"#, entries.join(","))
    }

    #[test]
    fn logins_are_taken_under_their_registries_own_names() {
        let file = auths(&[("https://index.docker.io/v1/", U), ("https://nvcr.io/v1/", V), ("h:5000", U)]);
        check(
            Program::Docker,
            &file,
            &["docker.io u p auths[\"https://index.docker.io/v1/\"]", "nvcr.io v q auths[\"https://nvcr.io/v1/\"]", "h:5000 u p auths[\"h:5000\"]"],
        );
        check(Program::Docker, &auths(&[("docker.io", U)]), &["docker.io u p auths[\"docker.io\"]", "note auths[\"docker.io\"]: docker looks for..."]);
        check(Program::Podman, &auths(&[("docker.io", U), ("h/team", V)]), &["docker.io u p auths[\"docker.io\"]", "h/team v q auths[\"h/team\"]"]);
    }

    #[test]
    fn one_registry_under_two_keys() {
        let hub = |auth| auths(&[("https://index.docker.io/v1/", U), ("https://index.docker.io/v2/", auth), ("nvcr.io", U)]);
        let both = "docker.io u p auths[\"https://index.docker.io/v1/\"], auths[\"https://index.docker.io/v2/\"]";
        check(Program::Docker, &hub(U), &[both, "nvcr.io u p auths[\"nvcr.io\"]"]);
        check(
            Program::Docker,
            &hub(V),
            &[
                "nvcr.io u p auths[\"nvcr.io\"]",
                "left auths[\"https://index.docker.io/v1/\"]: docker.io stands here several times...",
                "left auths[\"https://index.docker.io/v2/\"]: docker.io stands here several times...",
            ],
        );
    }

    #[test]
    fn what_is_no_password_is_left_with_the_reason() {
        check(
            Program::Docker,
            r#"{"auths":{"a":{"auth":"dTpw","identitytoken":"hunter2"},"b":{"registrytoken":"hunter2"},"c":{},"d":{"auth":"aHVudGVyMg=="},"e:x":{"auth":"dTpw"},"f":{"auth":"dTo="}}}"#,
            &[
                "left auths[\"a\"]: it is a token (`identitytoken`) of one session...",
                "left auths[\"b\"]: it is a token (`registrytoken`) of one session...",
                "left auths[\"c\"]: it is empty, and no credential helper is named for it",
                "left auths[\"d\"]: docker cannot read it: its auth has no colon",
                "left auths[\"e:x\"]: registry `e:x` has a port...",
                "left auths[\"f\"]: its password is empty",
            ],
        );
        check(Program::Podman, r#"{"auths":{"a":{"username":"u","password":"hunter2"}}}"#, &["left auths[\"a\"]: podman cannot read it: it has no auth"]);
        check(Program::Docker, "{}", &[]);
        check(Program::Docker, "{\"auths\":7}", &["has an `auths` that is not a JSON object"]);
    }

    const HELPED: &str =
        r#"{"auths":{"https://index.docker.io/v1/":{},"b":{"auth":"dTpw"}},"credsStore":"desktop","credHelpers":{"gcr.io":"gcloud","x":"../evil"}}"#;

    #[test]
    fn helpers_are_named_and_not_asked_unless_that_is_allowed() {
        check(
            Program::Docker,
            HELPED,
            &[
                "left docker-credential-desktop of \"https://index.docker.io/v1/\": this credential helper keeps it; --ask-helpers asks it",
                "left docker-credential-desktop of \"b\": docker asks this credential helper and not auths[\"b\"], where a login stands too...",
                "left docker-credential-gcloud of \"gcr.io\": this credential helper keeps it; --ask-helpers asks it",
                "left docker-credential-../evil of \"x\": the credential helper has a name that is none of a program",
            ],
        );
        check(
            Program::Podman,
            HELPED,
            &[
                "b u p auths[\"b\"]",
                "left auths[\"https://index.docker.io/v1/\"]: it is empty, and no credential helper is named for it",
                "left docker-credential-gcloud of \"gcr.io\": this...",
                "left docker-credential-../evil of \"x\": the credential helper has a name...",
            ],
        );
    }

    #[test]
    fn helpers_answer_for_the_name_that_their_program_uses() {
        let mut asked = Vec::new();
        let mut ask = |helper: &HelperName, server: &str| {
            asked.push(format!("{helper} {server}"));
            match server {
                "gcr.io" => Answer::Token,
                "b" => Answer::None("it has none".into()),
                _ => Answer::Login("u".into(), Secret::new("p".to_string())),
            }
        };
        checked(
            Program::Docker,
            HELPED,
            &mut ask,
            &[
                "docker.io u p docker-credential-desktop of \"https://index.docker.io/v1/\"",
                "left docker-credential-desktop of \"b\": it has none",
                "left docker-credential-gcloud of \"gcr.io\": it is a token...",
                "left docker-credential-../evil of \"x\": the credential helper has a name...",
            ],
        );
        assert_eq!(asked, ["docker-credential-desktop https://index.docker.io/v1/", "docker-credential-desktop b", "docker-credential-gcloud gcr.io"]);
        let mut asked = Vec::new();
        let file = r#"{"auths":{"https://index.docker.io/v1/":{}},"credHelpers":{"docker.io":"pass"}}"#;
        read(Program::Podman, file.as_bytes(), &mut |_, server| {
            asked.push(server.to_string());
            Answer::NotAsked
        })
        .unwrap();
        assert_eq!(asked, ["docker.io"]);
    }
}
