//! Credential helpers of this machine, asked as docker and podman ask them (docker/docker-credential-helpers `client/client.go` Get):
//! `docker-credential-NAME get`, the registry on standard input, JSON on standard output. No shell.

use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::command::program::{self, Terms};
use crate::import::auths::Answer;
use crate::inventory::Program;
use crate::model::{HelperName, Secret};

/// How long a helper may take, a person who unlocks its key ring included.
const DEADLINE: Duration = Duration::from_secs(60);

/// The most that a helper may print, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The username with which a helper says that it has an identity token (docker/cli `cli/config/credentials/native_store.go`).
const TOKEN_USERNAME: &str = "<token>";

/// What every helper prints when it has nothing, and ends with 1 (docker-credential-helpers `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The answer. It has no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: Zeroizing<String>,
}

/// Asks a helper for its login of a registry. What it prints is never quoted.
pub(super) fn ask(helper: &HelperName, server: &str) -> Answer {
    let hint = "install it, or take the password from where it is";
    let program = Program { argv: vec![helper.to_string(), "get".to_string()], hint: hint.to_string() };
    let terms = Terms { deadline: DEADLINE, output_bytes_max: ANSWER_BYTES_MAX, is_secret: true, with_person: false };
    match program::ask(&program, &terms, server.as_bytes()) {
        Err(e) => Answer::None(e.message),
        Ok(reply) if reply.success => read(&reply.stdout),
        Ok(reply) if std::str::from_utf8(&reply.stdout).is_ok_and(|said| said.trim() == NOT_FOUND) => {
            Answer::None("the helper has no login for it".to_string())
        }
        Ok(reply) => Answer::None(reply.failure),
    }
}

fn read(printed: &[u8]) -> Answer {
    match serde_json::from_slice::<Said>(printed) {
        Ok(said) if said.username == TOKEN_USERNAME => Answer::Token,
        Ok(said) if said.username.is_empty() && said.secret.is_empty() => Answer::None("the helper has no login for it".to_string()),
        Ok(said) => Answer::Login(said.username, Secret::new(said.secret)),
        Err(_) => Answer::None("the helper answers with something else than the JSON of such helpers".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(printed: &str, want: &str) {
        let told = match read(printed.as_bytes()) {
            Answer::NotAsked => "not asked".to_string(),
            Answer::Login(username, secret) => format!("{username}:{}", secret.expose()),
            Answer::Token => "token".to_string(),
            Answer::None(why) => why,
        };
        assert_eq!(told, want);
    }

    #[test]
    fn answers_are_read() {
        check(r#"{"ServerURL":"https://index.docker.io/v1/","Username":"alice","Secret":"p\"q"}"#, "alice:p\"q");
        check(r#"{"ServerURL":"x.azurecr.io","Username":"<token>","Secret":"hunter2"}"#, "token");
        check(r#"{"Username":"","Secret":""}"#, "the helper has no login for it");
        check("{}", "the helper has no login for it");
        check("hunter2", "the helper answers with something else than the JSON of such helpers");
        check(r#"{"Username":7,"Secret":"hunter2"}"#, "the helper answers with something else than the JSON of such helpers");
    }
}
