//! Credential helpers in Docker's file, with `helper: store`: a login that a helper shadows is handed to that helper, and the file keeps an
//! entry without a password, as `docker login` leaves it (docker/cli `cli/config/credentials/native_store.go`).
//!
//! Which helper docker asks: `credHelpers[key]` where that key is there, else `credsStore`; an empty one means the file
//! (`cli/config/configfile/file.go` getConfiguredCredentialStore). podman and skopeo look only at `credHelpers`, under their own
//! names of a registry, so those entries are filled as well.
//!
//! Pure: [`questions`] says whom to ask, [`held`] what an answer means, and `settle` whether the merge may rely on it. Running helpers is for
//! `push`.

use serde::Serialize;
use zeroize::Zeroizing;

use super::auths::alias_for_docker;
use super::docker;
use super::json::{self, Object};
use super::{Merge, shown};
use crate::model::text::sanitize;
use crate::model::{HelperName, HelperPolicy, Login};

/// A login that a helper has to keep, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The helper.
    pub helper: HelperName,
    /// The `ServerURL` under which it is asked.
    pub server: String,
    /// The name of the login.
    pub login: String,
}

/// What a helper has for a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The login as it shall be.
    Same,
    /// Another one, or none: it has to be handed over.
    Other,
    /// It was handed over in this run, and read back.
    Stored,
    /// It cannot be used, and why.
    Failed(String),
}

/// What a helper answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// To what.
    pub question: Question,
    /// What it has.
    pub held: Held,
}

/// Whether a file of Docker's schema names a helper for all registries that have none of their own (`credsStore`), so that it is asked
/// though no entry of the file is for the registry.
pub fn has_store(file: &[u8]) -> bool {
    docker::has_store(file)
}

/// The longest name under which a helper is asked, in bytes.
const SERVER_BYTES_MAX: usize = 300;

/// Whom to ask for what, for the file that is there; nobody without `helper: store`, nor for a file that docker cannot read, which the merge
/// refuses or replaces. `Err` for a file that names no usable helper.
pub fn questions(m: &Merge<'_>) -> Result<Vec<Question>, String> {
    let Some(existing) = m.existing.filter(|e| m.target.helper == HelperPolicy::Store && docker::reads(e)) else { return Ok(Vec::new()) };
    let top = Object::parse(std::str::from_utf8(existing).map_err(|_| "is not UTF-8")?)?;
    let store = top.get("credsStore").and_then(json::as_text).filter(|s| !s.is_empty());
    let helpers = match top.get("credHelpers").filter(|v| !json::is_null(v)) {
        Some(helpers) => Object::parse(helpers.get())?.0,
        None => Vec::new(),
    };
    let mut questions = Vec::new();
    for login in m.logins {
        let key = login.registry.docker_key();
        let mut add = |helper: &str, server: &str| {
            let name = HelperName::parse(helper).ok_or_else(|| format!("names a credential helper that is no program's name: `{}`", shown(helper)))?;
            if server.len() > SERVER_BYTES_MAX || !server.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(format!("has `credHelpers` for `{}`, which no helper can be asked for", shown(server)));
            }
            questions.push(Question { helper: name, server: server.to_string(), login: login.name.clone() });
            Ok::<(), String>(())
        };
        for (name, raw) in helpers.iter().filter(|(name, _)| name == key || alias_for_docker(name, &login.registry)) {
            match json::as_text(raw).ok_or("has `credHelpers` that names something else than text")? {
                helper if helper.is_empty() => {}
                helper => add(&helper, name)?,
            }
        }
        if let Some(store) = store.as_ref().filter(|_| helpers.iter().all(|(name, _)| name != key)) {
            add(store, key)?;
        }
    }
    Ok(questions)
}

/// Demands that every helper that has to keep a login does, or will: what the merge of a file with `helper: store` relies on.
pub(super) fn settle(m: &Merge<'_>) -> Result<(), String> {
    for question in questions(m).map_err(|why| format!("{} {why}", m.spec.path))? {
        let answer = m.facts.helpers.iter().find(|a| a.question == question);
        match answer.map(|a| &a.held) {
            Some(Held::Same | Held::Other | Held::Stored) => {}
            Some(Held::Failed(why)) => return Err(format!("{}: login \"{}\": {why}", m.spec.path, question.login)),
            None => return Err(format!("{}: it named another credential helper a moment ago; run again", m.spec.path)),
        }
    }
    Ok(())
}

/// The helper that docker asks for this login instead of reading the file, with `helper: store`.
pub(super) fn keeper<'a>(m: &'a Merge<'_>, login: &Login) -> Option<&'a HelperName> {
    let key = login.registry.docker_key();
    let answers = m.facts.helpers.iter().filter(|_| m.target.helper == HelperPolicy::Store);
    answers.map(|a| &a.question).find(|q| q.login == login.name && q.server == key).map(|q| &q.helper)
}

/// The lines of a change, for what was handed over or, with `--check`, would be.
pub fn diff(answers: &[Answer]) -> Vec<String> {
    let stored = answers.iter().filter(|a| matches!(a.held, Held::Other | Held::Stored));
    stored.map(|a| format!("~ {} in {}", shown(&a.question.server), a.question.helper)).collect()
}

/// The input of `store` (docker-credential-helpers `credentials/credentials.go`).
pub fn to_store(question: &Question, login: &Login) -> Zeroizing<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Credentials<'a> {
        #[serde(rename = "ServerURL")]
        server_url: &'a str,
        username: &'a str,
        secret: &'a str,
    }
    let credentials = Credentials { server_url: &question.server, username: login.username.as_str(), secret: login.password.expose() };
    // Room for every character as an escape of six, so that no copy is left behind by growing.
    let mut out = Zeroizing::new(Vec::with_capacity(64 + 6 * (question.server.len() + login.username.as_str().len() + login.password.expose().len())));
    serde_json::to_writer(&mut *out, &credentials).expect("three texts are JSON");
    Zeroizing::new(String::from_utf8(std::mem::take(&mut *out)).expect("JSON is UTF-8"))
}

/// What helpers print, and end with another status than 0, where they have nothing (`credentials/error.go`).
const NOTHING: &str = "credentials not found in native keychain";
/// The status of a shell or of env where there is no such program.
const NO_PROGRAM: u8 = 127;

/// What `get` has shown, by exit status, standard output and standard error.
pub fn held(question: &Question, login: &Login, status: u8, out: &[u8], err: &[u8]) -> Held {
    if status != 0 {
        let nothing = std::str::from_utf8(out).is_ok_and(|text| text.trim() == NOTHING);
        return if nothing { Held::Other } else { failed(question, login, "get", status, out, err) };
    }
    let fields = std::str::from_utf8(out).ok().and_then(|text| Object::parse(text).ok());
    let field = |name: &str| fields.as_ref().and_then(|f| f.get(name)).and_then(json::as_text);
    match (field("Username"), field("Secret")) {
        (Some(user), Some(secret)) if *user == login.username.as_str() && *secret == login.password.expose() => Held::Same,
        (Some(_), Some(_)) => Held::Other,
        _ => Held::Failed(format!("{} answers `get` with something else than a login", question.helper)),
    }
}

/// Why a helper failed, in its own words, made fit to be shown and without the login.
pub fn failed(question: &Question, login: &Login, verb: &str, status: u8, out: &[u8], err: &[u8]) -> Held {
    let helper = &question.helper;
    if status == NO_PROGRAM {
        return Held::Failed(format!("there is no {helper} on the node; install it, or take it out of the file"));
    }
    let said = [err, out].into_iter().map(|said| redacted(&String::from_utf8_lossy(said), login)).find(|said| !said.trim().is_empty());
    let said = said.map_or("it said nothing".to_string(), |said| format!("it said: {}", sanitize(said.trim())));
    Held::Failed(format!("{helper} {verb} failed (exit status {status}); {said}"))
}

/// A text without the password in any form in which a program was handed it, or would write it down.
pub(crate) fn redacted(text: &str, login: &Login) -> String {
    use base64::Engine as _;
    let password = login.password.expose();
    let json = Zeroizing::new(serde_json::to_string(password).expect("a text is JSON"));
    let base64 = |plain: &str| Zeroizing::new(base64::engine::general_purpose::STANDARD_NO_PAD.encode(plain));
    let pair = Zeroizing::new(format!("{}:{password}", login.username));
    let forms = [Zeroizing::new(password.to_string()), Zeroizing::new(json.trim_matches('"').to_string()), base64(password), base64(&pair)];
    let mut text = forms.iter().fold(text.to_string(), |text, form| text.replace(form.as_str(), "[...]"));
    // A text that was cut may end in the middle of it.
    for form in &forms {
        let cut = form.char_indices().rev().map(|(i, _)| i).find(|&i| i >= 4 && text.ends_with(&form[..i]));
        if let Some(cut) = cut {
            text.truncate(text.len() - cut);
            text.push_str("[...]");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{MergeOptions, NodeFacts, consumer};
    use crate::model::{Registry, RemotePath, Secret, Target, TargetKind, Username};

    fn login(name: &str, registry: &str) -> Login {
        Login {
            name: name.into(),
            registry: Registry::parse(registry).unwrap().0,
            username: Username::parse("$oauthtoken").unwrap(),
            password: Secret::new("pass\"word\n7".to_string()),
            auth_hosts: Vec::new(),
            expires: None,
        }
    }

    /// What is asked for the file `existing` and what the merge comes to with these answers.
    fn with<T>(existing: &str, helpers: Vec<Answer>, then: impl FnOnce(&Merge<'_>) -> T) -> T {
        let path = RemotePath::parse("/root/.docker/config.json").unwrap();
        let target = Target { helper: HelperPolicy::Store, ..Target::at(TargetKind::Docker, path) };
        let spec = (consumer(TargetKind::Docker).files)(&target).swap_remove(0);
        let (ngc, hub) = (login("ngc", "nvcr.io"), login("hub", "docker.io"));
        let facts = NodeFacts { helpers, ..NodeFacts::default() };
        let options = MergeOptions::default();
        then(&Merge { target: &target, spec: &spec, logins: &[&ngc, &hub], existing: Some(existing.as_bytes()), facts: &facts, options })
    }

    #[track_caller]
    fn asks(existing: &str, want: Result<&[&str], &str>) {
        let got = with(existing, Vec::new(), questions);
        let got = got.map(|q| q.iter().map(|q| format!("{} {} {}", q.helper.as_str(), q.server, q.login)).collect::<Vec<_>>());
        match want {
            Ok(want) => assert_eq!(got.unwrap(), want, "{existing}"),
            Err(want) => assert!(got.clone().is_err_and(|why| why.contains(want)), "{existing}: {got:?}"),
        }
    }

    #[test]
    fn whom_docker_asks() {
        const HUB: &str = "https://index.docker.io/v1/";
        asks("{}", Ok(&[]));
        asks(r#"{"credsStore":"pass"}"#, Ok(&["pass nvcr.io ngc", &format!("pass {HUB} hub")]));
        asks(r#"{"credsStore":""}"#, Ok(&[]));
        asks(r#"{"credHelpers":{"nvcr.io":"ecr-login","other.io":"x"}}"#, Ok(&["ecr-login nvcr.io ngc"]));
        asks(r#"{"credsStore":"pass","credHelpers":{"nvcr.io":"gcr"}}"#, Ok(&["gcr nvcr.io ngc", &format!("pass {HUB} hub")]));
        asks(r#"{"credsStore":"pass","credHelpers":{"nvcr.io":""}}"#, Ok(&[&format!("pass {HUB} hub")]));
        // podman reads another name of Hub; docker still asks its own.
        asks(r#"{"credHelpers":{"docker.io":"gcr"}}"#, Ok(&["gcr docker.io hub"]));
        asks(r#"{"credsStore":"../sh"}"#, Err("no program's name: `../sh`"));
        asks("{\"credHelpers\":{\"https://nvcr.io/a b\":\"x\"}}", Err("no helper can be asked"));
        // What docker cannot read is for the merge to tell.
        for invalid in ["{", r#"{"credHelpers":{"nvcr.io":7}}"#, r#"{"credsStore":"pass","auths":[]}"#, r#"{"credsStore":"pass","CredsStore":"x"}"#] {
            asks(invalid, Ok(&[]));
        }
    }

    fn question() -> Question {
        Question { helper: HelperName::parse("pass").unwrap(), server: "nvcr.io".into(), login: "ngc".into() }
    }

    #[test]
    fn what_answers_mean() {
        #[track_caller]
        fn check(status: u8, out: &str, err: &str, want: Result<Held, &str>) {
            let got = held(&question(), &login("ngc", "nvcr.io"), status, out.as_bytes(), err.as_bytes());
            match (want, &got) {
                (Ok(want), got) => assert_eq!(*got, want, "{out}"),
                (Err(part), Held::Failed(why)) => assert!(why.contains(part) && !why.contains("word"), "{why}"),
                (Err(_), got) => panic!("{got:?}"),
            }
        }
        check(0, r#"{"ServerURL":"nvcr.io","Username":"$oauthtoken","Secret":"pass\"word\n7"}"#, "warning", Ok(Held::Same));
        check(0, r#"{"ServerURL":"x","Username":"$oauthtoken","Secret":"old"}"#, "", Ok(Held::Other));
        check(0, r#"{"ServerURL":"x","Username":"<token>","Secret":"pass\"word\n7"}"#, "", Ok(Held::Other));
        check(1, "credentials not found in native keychain\n", "", Ok(Held::Other));
        check(1, "credentials not found in native keychain, or so", "", Err("exit status 1"));
        check(0, "", "", Err("something else than a login"));
        check(0, "{\"Secret\":\"x\"}", "", Err("something else than a login"));
        check(127, "", "env: x: No such file or directory", Err("there is no docker-credential-pass on the node"));
        check(2, "", "", Err("it said nothing"));
        check(2, "gpg: \u{1b}[2Jpass\"word\n7 is locked", "", Err("it said: gpg: \\u{1b}[2J[...] is locked"));
        check(2, "", "bad input pass\\\"word\\n7", Err("bad input [...]"));
        check(2, "", "$oauthtoken cGFzcyJ3b3JkCjc=", Err("$oauthtoken [...]="));
        check(2, "", "cut within pass\"word", Err("cut within [...]"));
    }

    #[test]
    fn what_is_stored() {
        let text = to_store(&question(), &login("ngc", "nvcr.io"));
        assert_eq!(*text, r#"{"ServerURL":"nvcr.io","Username":"$oauthtoken","Secret":"pass\"word\n7"}"#);
    }

    #[test]
    fn a_file_that_is_replaced_has_no_helper_any_more() {
        let docker = consumer(TargetKind::Docker);
        for invalid in ["{", r#"{"credsStore":"pass","auths":[]}"#] {
            with(invalid, Vec::new(), |m| {
                assert!((docker.merge)(m).err().unwrap().contains("--replace-invalid"));
                let options = MergeOptions { replace_invalid: true, ..m.options };
                let written = (docker.merge)(&Merge { options, ..*m }).unwrap().write.unwrap();
                assert_eq!((docker.read_back)(&Merge { existing: Some(&written), ..*m }, &written), Ok(()));
            });
        }
    }

    #[test]
    fn the_merge_relies_on_answers_alone() {
        let docker = consumer(TargetKind::Docker);
        let answer = |held| vec![Answer { question: question(), held }];
        let file = r#"{"auths":{"nvcr.io":{"auth":"b2xkOm9sZA==","email":"a@b"}},"credHelpers":{"nvcr.io":"pass"}}"#;
        for held in [Held::Same, Held::Other, Held::Stored] {
            let written = with(file, answer(held), |m| {
                let merged = (docker.merge)(m).unwrap();
                let bytes = merged.write.unwrap();
                assert_eq!((docker.read_back)(&Merge { existing: Some(&bytes), ..*m }, &bytes), Ok(()));
                assert!((docker.merge)(&Merge { existing: Some(&bytes), ..*m }).unwrap().write.is_none(), "a second time");
                assert!((docker.read_back)(m, file.as_bytes()).unwrap_err().contains("beside the credential helper"));
                assert_eq!(merged.diff, ["- nvcr.io auth", "+ https://index.docker.io/v1/ ($oauthtoken)"]);
                String::from_utf8(bytes.to_vec()).unwrap()
            });
            let value: serde_json::Value = serde_json::from_str(&written).unwrap();
            assert_eq!(value["auths"]["nvcr.io"], serde_json::json!({"email": "a@b"}));
            assert_eq!(value["credHelpers"], serde_json::json!({"nvcr.io": "pass"}));
        }
        let refused = |answers| with(file, answers, |m| (docker.merge)(m).err().unwrap());
        assert_eq!(refused(answer(Held::Failed("it hangs".into()))), "/root/.docker/config.json: login \"ngc\": it hangs");
        assert!(refused(Vec::new()).contains("run again"));
        // Without an entry, an empty one is made, as docker does.
        let written = with(r#"{"credHelpers":{"nvcr.io":"pass"}}"#, answer(Held::Stored), |m| (docker.merge)(m).unwrap());
        assert_eq!(written.diff[1], "+ nvcr.io (in docker-credential-pass)");
        let value: serde_json::Value = serde_json::from_slice(&written.write.unwrap()).unwrap();
        assert_eq!(value["auths"]["nvcr.io"], serde_json::json!({}));
        assert_eq!(diff(&answer(Held::Stored)), ["~ nvcr.io in docker-credential-pass"]);
        assert!(diff(&answer(Held::Same)).is_empty());
    }
}
