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
