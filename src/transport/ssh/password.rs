//! What comes after keys: the password that was asked for once for all hosts, and what a bastion asks a person for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use russh::client::{AuthResult, KeyboardInteractiveAuthResponse as Response, Prompt};
use russh::{MethodKind, MethodSet};

use super::auth::{Login, trouble};
use super::ssh_reason;
use crate::model::Secret;
use crate::model::text::{printable, sanitize};
use crate::transport::Trouble;
use crate::transport::gate::{Gate, Turn};

/// How often a server may come back with further questions.
const ROUNDS_MAX: usize = 8;
/// How many questions one round may have.
const PROMPTS_MAX: usize = 8;
/// The longest question that is shown, in characters.
const PROMPT_CHARS_MAX: usize = 120;

/// What a server is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of the inventory's hosts.
    Host,
    /// On the way to hosts; logged in to once.
    Bastion,
}

/// What may be asked for and given beside keys.
#[derive(Clone, Default)]
pub struct Asking {
    /// The hosts' password, with `--ask-pass`.
    pub password: Option<Arc<Gate>>,
    /// Who answers what bastions ask; nobody without a terminal.
    pub prompter: Option<Arc<dyn Prompter>>,
}

impl Asking {
    /// Whether passwords are tried after keys.
    pub(super) fn has_password(&self, role: Role) -> bool {
        self.password.is_some() && (role == Role::Host || self.prompter.is_some())
    }
}

/// An answer that may come, or not.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Option<Secret>> + Send + 'a>>;

/// A person at a terminal.
pub trait Prompter: Send + Sync {
    /// Shows the prompt and reads a line, with echo or without. One question at a time, whoever asks; `None` when nobody answers.
    fn ask(&self, prompt: String, echo: bool) -> Answer<'_>;
}

impl Login<'_> {
    /// Keys did not do, and the server takes passwords.
    pub(super) async fn password(self, takes: &MethodSet) -> Result<(), Trouble> {
        let gate = match (self.role, self.asking.password.clone()) {
            (Role::Host, Some(gate)) => gate,
            _ => return self.interactive(takes).await,
        };
        let turn = {
            let _paused = self.clock.pause();
            gate.turn().await.map_err(trouble)?
        };
        match takes.contains(&MethodKind::Password) {
            true => self.plain_password(&gate, turn).await,
            false => self.prompted_password(&gate, turn).await,
        }
    }

    /// A key counted, and the server wants something more.
    pub(super) async fn second_factor(self, takes: &MethodSet) -> Result<(), Trouble> {
        let usable = takes.contains(&MethodKind::Password) || takes.contains(&MethodKind::KeyboardInteractive);
        match self.role {
            Role::Host if usable && self.asking.password.is_some() => self.password(takes).await,
            Role::Host => {
                let more = if usable { "regprov gives a password only with --ask-pass" } else { "regprov does not give it" };
                Err(trouble(format!("{} needs a second factor here ({}); {more}", self.user, words(takes))))
            }
            Role::Bastion if usable => self.interactive(takes).await,
            Role::Bastion => Err(trouble(format!("{} asks for a second factor that regprov does not give: {}", self.name, words(takes)))),
        }
    }

    async fn plain_password(self, gate: &Gate, mut turn: Turn<'_>) -> Result<(), Trouble> {
        turn.sent(self.name);
        let result = self.handle.authenticate_password(self.user, turn.secret().expose()).await;
        match result {
            Ok(AuthResult::Success) => turn.accepted(),
            Ok(AuthResult::Failure { remaining_methods, partial_success: true }) => {
                turn.accepted();
                return Err(trouble(format!("{} needs one more factor here ({}), which regprov does not give", self.user, words(&remaining_methods))));
            }
            // russh says so when the connection was lost in between.
            Ok(AuthResult::Failure { remaining_methods, .. }) if remaining_methods.is_empty() => {
                return Err(lost(gate, turn, "the host closed the connection when it had the password"));
            }
            Ok(AuthResult::Failure { .. }) => return Err(refused(gate, turn, self.name)),
            Err(e) => return Err(lost(gate, turn, &ssh_reason(&e))),
        }
        Ok(())
    }

    async fn prompted_password(self, gate: &Gate, mut turn: Turn<'_>) -> Result<(), Trouble> {
        let mut sent = false;
        let mut response = self.handle.authenticate_keyboard_interactive_start(self.user, None).await;
        for _ in 0..ROUNDS_MAX {
            let answers = match response {
                Ok(Response::Success) => {
                    turn.accepted();
                    return Ok(());
                }
                Ok(Response::Failure { remaining_methods, partial_success: true }) => {
                    turn.accepted();
                    return Err(trouble(format!("{} needs one more factor here ({}), which regprov does not give", self.user, words(&remaining_methods))));
                }
                Ok(Response::Failure { .. }) if sent => return Err(refused(gate, turn, self.name)),
                Ok(Response::Failure { .. }) => return Err(trouble("the host asks nothing and refuses".to_string())),
                Ok(Response::InfoRequest { prompts, .. }) => match &prompts[..] {
                    [] => Vec::new(),
                    [one] if !one.echo && !sent => {
                        turn.sent(self.name);
                        sent = true;
                        vec![turn.secret().expose().to_string()]
                    }
                    other => {
                        return Err(lost(
                            gate,
                            turn,
                            &format!("the host asks for something else than one password, which was not answered: {}", quoted(other)),
                        ));
                    }
                },
                Err(e) => return Err(lost(gate, turn, &ssh_reason(&e))),
            };
            response = self.handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        Err(lost(gate, turn, "the host does not stop asking"))
    }

    /// A person answers, question by question.
    async fn interactive(self, takes: &MethodSet) -> Result<(), Trouble> {
        let bastion = self.name;
        let Some(prompter) = self.asking.prompter.clone() else {
            return Err(trouble(format!(
                "{bastion} asks for a second factor ({}), and there is no terminal to ask on; log in to it with ssh and a ControlMaster, and use `proxy_command: ssh -W %h:%p {bastion}`",
                words(takes)
            )));
        };
        let nobody = || trouble(format!("{bastion} asked for a second factor, and nobody answered"));
        let mut response = if takes.contains(&MethodKind::KeyboardInteractive) {
            self.handle.authenticate_keyboard_interactive_start(self.user, None).await
        } else {
            let answer = {
                let _paused = self.clock.pause();
                prompter.ask(format!("password of {} on {bastion}: ", self.user), false).await.ok_or_else(nobody)?
            };
            let result = self.handle.authenticate_password(self.user, answer.expose()).await;
            result.map(|r| match r {
                AuthResult::Success => Response::Success,
                AuthResult::Failure { remaining_methods, partial_success } => Response::Failure { remaining_methods, partial_success },
            })
        };
        for _ in 0..ROUNDS_MAX {
            let (name, instructions, prompts) = match response {
                Ok(Response::Success) => return Ok(()),
                Ok(Response::Failure { remaining_methods, partial_success: true }) => {
                    return Err(trouble(format!("{bastion} wants one more factor ({}), which regprov does not give", words(&remaining_methods))));
                }
                Ok(Response::Failure { .. }) => return Err(trouble(format!("{bastion} did not take the answer; it is not asked for again in this run"))),
                Ok(Response::InfoRequest { name, instructions, prompts }) => (name, instructions, prompts),
                Err(e) => return Err(trouble(ssh_reason(&e))),
            };
            if prompts.len() > PROMPTS_MAX {
                return Err(trouble(format!("{bastion} asks {} questions at once", prompts.len())));
            }
            let mut answers = Vec::new();
            {
                let _paused = self.clock.pause();
                // What it says before its questions goes with the first one.
                let mut said =
                    [name, instructions].iter().map(|t| printable(t, PROMPT_CHARS_MAX)).filter(|t| !t.trim().is_empty()).collect::<Vec<_>>().join(" ");
                for Prompt { prompt, echo } in &prompts {
                    let before = std::mem::take(&mut said);
                    let gap = if before.is_empty() { "" } else { " " };
                    let prompt = format!("{bastion}: {before}{gap}{} ", printable(prompt, PROMPT_CHARS_MAX));
                    answers.push(prompter.ask(prompt, *echo).await.ok_or_else(nobody)?.expose().to_string());
                }
            }
            response = self.handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        Err(trouble(format!("{bastion} does not stop asking")))
    }
}

/// The host said no: nobody tries this password again.
fn refused(gate: &Gate, turn: Turn<'_>, host: &str) -> Trouble {
    turn.refused(host);
    trouble(gate.refused().unwrap_or_default())
}

/// There was no verdict. Where no host has accepted the password so far, that counts as one.
fn lost(gate: &Gate, turn: Turn<'_>, why: &str) -> Trouble {
    drop(turn);
    match gate.refused() {
        Some(refused) => trouble(format!("{why}; {refused}")),
        None => trouble(why.to_string()),
    }
}

fn words(methods: &MethodSet) -> String {
    methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", ")
}

/// What a host asks, as data.
fn quoted(prompts: &[Prompt]) -> String {
    sanitize(&prompts.iter().map(|p| format!("\"{}\"", p.prompt.trim())).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::Mutex;
    use std::time::Duration;

    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::private::Ed25519Keypair;
    use russh::{client, server};

    use super::*;
    use crate::model::Host;
    use crate::transport::clock::Clock;
    use crate::transport::ssh::Guard;
    use crate::transport::ssh::auth::Keys;
    use crate::transport::ssh::keyring::KeySources;
    use crate::transport::ssh::known_hosts::{KnownHosts, Trust};
    use crate::transport::ssh::route::Endpoint;

    /// What is said first, the questions (with echo or without), and the answers that are right.
    type Round = (&'static str, &'static [(&'static str, bool)], &'static [&'static str]);

    /// A server in this process that wants a key, and then answers to its questions.
    #[derive(Clone)]
    struct Server {
        /// Whether a key counts as the first of two factors.
        key_counts: bool,
        rounds: Vec<Round>,
        at: usize,
        answered: Arc<Mutex<Vec<String>>>,
    }

    fn more(partial_success: bool) -> server::Auth {
        server::Auth::Reject { proceed_with_methods: Some(MethodSet::from(&[MethodKind::KeyboardInteractive][..])), partial_success }
    }

    impl Server {
        fn question(&self) -> server::Auth {
            let (said, prompts, _) = &self.rounds[self.at];
            let prompts: Vec<_> = prompts.iter().map(|(text, echo)| (Cow::Borrowed(*text), *echo)).collect();
            server::Auth::Partial { name: Cow::Borrowed(""), instructions: Cow::Borrowed(*said), prompts: prompts.into() }
        }
    }

    impl server::Handler for Server {
        type Error = russh::Error;

        async fn auth_publickey(&mut self, _: &str, _: server::VerifiedPublicKey<'_>) -> Result<server::Auth, russh::Error> {
            Ok(more(self.key_counts))
        }

        async fn auth_keyboard_interactive<'a>(&'a mut self, _: &str, _: &str, response: Option<server::Response<'a>>) -> Result<server::Auth, russh::Error> {
            let Some(response) = response else { return Ok(self.question()) };
            let answers: Vec<String> = response.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
            self.answered.lock().unwrap().extend(answers.clone());
            if answers != self.rounds[self.at].2 {
                return Ok(server::Auth::Reject { proceed_with_methods: None, partial_success: false });
            }
            self.at += 1;
            Ok(if self.at == self.rounds.len() { server::Auth::Accept } else { self.question() })
        }
    }

    /// Types what it was told to, and keeps what it was asked.
    struct Person {
        types: Mutex<Vec<&'static str>>,
        asked: Mutex<Vec<(String, bool)>>,
        takes: Duration,
    }

    impl Prompter for Person {
        fn ask(&self, prompt: String, echo: bool) -> Answer<'_> {
            Box::pin(async move {
                tokio::time::sleep(self.takes).await;
                self.asked.lock().unwrap().push((prompt, echo));
                self.types.lock().unwrap().pop().map(|t| Secret::new(t.to_string()))
            })
        }
    }

    struct Scene {
        server: Server,
        role: Role,
        asking: Asking,
    }

    impl Scene {
        fn new(role: Role, rounds: &[Round]) -> Self {
            Scene { server: Server { key_counts: true, rounds: rounds.to_vec(), at: 0, answered: Arc::default() }, role, asking: Asking::default() }
        }

        fn person(&mut self, types: &[&'static str], takes: Duration) -> Arc<Person> {
            let person = Arc::new(Person { types: Mutex::new(types.iter().rev().copied().collect()), asked: Mutex::default(), takes });
            self.asking.prompter = Some(person.clone());
            person
        }

        fn password(&mut self, password: &str) -> Arc<Gate> {
            let gate = Arc::new(Gate::new("the SSH password", Secret::new(password.to_string())));
            self.asking.password = Some(gate.clone());
            gate
        }

        async fn log_in(&self) -> Result<(), String> {
            let dir = tempfile::tempdir().unwrap();
            let key = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
            let file = dir.path().join("id");
            std::fs::write(&file, key.to_openssh(Default::default()).unwrap().as_bytes()).unwrap();
            let keys = Keys::load(&KeySources::only(&[file]), &mut |_| None).await.unwrap();
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let config = server::Config { keys: vec![key.clone()], auth_rejection_time: Duration::from_millis(1), ..Default::default() };
            let running = tokio::spawn(server::run_stream(Arc::new(config), theirs, self.server.clone()));
            use russh::keys::PublicKeyBase64 as _;
            let pin = crate::model::HostKeyPin { algorithm: "ssh-ed25519".into(), base64: key.public_key().public_key_base64() };
            let guard = Guard { trust: Trust::Pinned(vec![pin]), refused: Arc::default() };
            let mut handle = client::connect_stream(Arc::default(), ours, guard).await.unwrap();
            let named = Endpoint::of(&Host::named("bastion1"), Arc::default(), KnownHosts::default());
            let end = Endpoint { user: "me".to_string(), ..named };
            let result = keys.authenticate(&mut handle, &end, self.role, &self.asking, &Clock::default(), Duration::from_secs(2)).await;
            drop(handle);
            running.abort();
            result.map_err(|t| t.reason)
        }

        fn answered(&self) -> Vec<String> {
            self.server.answered.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn a_bastion_s_questions_go_to_a_person_who_may_take_long() {
        let rounds: &[Round] = &[
            ("Two factors\u{1b}[2J", &[("Password:", false), ("::error::Token", true)], &["pw", "123"]),
            ("", &[], &[]),
            ("", &[("Again:", false)], &["456"]),
        ];
        let mut scene = Scene::new(Role::Bastion, rounds);
        // Three times longer than what the server may take in all.
        let person = scene.person(&["pw", "123", "456"], Duration::from_millis(900));
        scene.log_in().await.unwrap();
        let asked = person.asked.lock().unwrap().clone();
        let want = [("bastion1: Two factors\\u{1b}[2J Password: ", false), ("bastion1: : :error::Token ", true), ("bastion1: Again: ", false)];
        assert_eq!(asked, want.map(|(prompt, echo)| (prompt.to_string(), echo)));
    }

    #[tokio::test]
    async fn a_wrong_answer_is_not_asked_for_again() {
        let mut scene = Scene::new(Role::Bastion, &[("", &[("Token:", false)], &["right"])]);
        let person = scene.person(&["wrong", "right"], Duration::ZERO);
        assert!(scene.log_in().await.unwrap_err().contains("bastion1 did not take the answer"));
        assert_eq!((person.asked.lock().unwrap().len(), scene.answered()), (1, vec!["wrong".to_string()]));
        scene.person(&[], Duration::ZERO);
        assert!(scene.log_in().await.unwrap_err().contains("nobody answered"));
        scene.asking.prompter = None;
        let why = scene.log_in().await.unwrap_err();
        assert!(why.contains("no terminal") && why.contains("ssh -W %h:%p bastion1"), "{why}");
    }

    #[tokio::test]
    async fn a_host_s_one_prompt_without_echo_gets_the_password() {
        let mut scene = Scene::new(Role::Host, &[("", &[("Password:", false)], &["pw"])]);
        let gate = scene.password("pw");
        scene.log_in().await.unwrap();
        assert_eq!(gate.refused(), None);
        let mut wrong = Scene::new(Role::Host, &[("", &[("Password:", false)], &["other"])]);
        let gate = wrong.password("pw");
        assert!(wrong.log_in().await.unwrap_err().contains("the SSH password was refused on bastion1"));
        assert!(gate.refused().is_some());
        assert!(wrong.log_in().await.is_err());
        assert_eq!(wrong.answered(), ["pw"], "it was tried once");
    }

    #[tokio::test]
    async fn anything_else_is_quoted_and_gets_nothing() {
        let strange: [&'static [(&'static str, bool)]; 3] = [&[("Token:", true)], &[("Password:", false), ("Token:", false)], &[("Say\u{1b}[2J", true)]];
        for prompts in strange {
            let mut scene = Scene::new(Role::Host, &[("", prompts, &["x"])]);
            let gate = scene.password("pw");
            let why = scene.log_in().await.unwrap_err();
            assert!(why.contains("not answered: \"") && !why.contains('\u{1b}'), "{why}");
            assert_eq!((scene.answered(), gate.refused()), (vec![], None), "nothing was sent, so nothing was refused");
        }
        // Without --ask-pass nobody is asked at all.
        let scene = Scene::new(Role::Host, &[("", &[("Password:", false)], &["pw"])]);
        assert!(scene.log_in().await.unwrap_err().contains("only with --ask-pass"));
        let mut scene = Scene::new(Role::Bastion, &[("", &[("Password:", false)], &["pw"])]);
        scene.server.key_counts = false;
        let person = scene.person(&["pw"], Duration::ZERO);
        assert!(scene.log_in().await.unwrap_err().contains("--ask-pass"));
        assert!(person.asked.lock().unwrap().is_empty(), "no key counted, so this is no second factor");
    }
}
