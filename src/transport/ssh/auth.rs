//! Who we are: keys and certificates, from files and agents, and the conversation in which they are offered. What comes after
//! them (passwords, second factors) is in `password.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey};
use russh::{MethodKind, MethodSet};

use super::agent::{self, Public};
use super::keyring::{KeySources, Seen};
use super::password::{Asking, Role};
use super::route::Endpoint;
use super::{Guard, ssh_reason};
use crate::model::{Secret, Stage};
use crate::transport::Trouble;
use crate::transport::clock::Clock;

/// sshd gives up after so many failed attempts (MaxAuthTries).
const ATTEMPTS_MAX: usize = 6;
/// Attempts that are left to passwords, where there is one.
const PASSWORD_ATTEMPTS: usize = 2;

/// What to do when there are too many keys.
const NAME_THE_KEY: &str = "name the right one with --ssh-key or `ssh_key:`";

/// The keys of this run, read and decrypted once, shared by all hosts.
#[derive(Clone, Default)]
pub struct Keys {
    offers: Vec<Offer>,
    skipped: Vec<String>,
}

/// Asks for the passphrase of a key file; `None` when there is nobody to ask.
pub type AskPassphrase<'a> = &'a mut dyn FnMut(&Path) -> Option<Secret>;

/// One key or certificate and who signs for it.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) name: String,
    pub(super) public: Public,
    pub(super) half: Half,
}

/// The private half.
#[derive(Clone)]
pub(super) enum Half {
    File(Arc<PrivateKey>),
    /// An agent, and the bytes by which it knows the key.
    Agent(Arc<AgentOfRun>, Vec<u8>),
}

/// An agent, and whether it was waited for in vain.
pub(super) struct AgentOfRun {
    path: PathBuf,
    slow: AtomicBool,
}

impl AgentOfRun {
    pub(super) fn new(path: &Path) -> Self {
        AgentOfRun { path: path.to_path_buf(), slow: AtomicBool::new(false) }
    }
}

impl Keys {
    pub(super) fn new(offers: Vec<Offer>, skipped: Vec<String>) -> Self {
        Keys { offers, skipped }
    }

    /// Reads the files and asks the agent which keys it holds.
    ///
    /// # Errors
    /// A named file that cannot be used, and why.
    pub async fn load(sources: &KeySources, ask: AskPassphrase<'_>) -> Result<Self, String> {
        Seen::default().load(sources, ask).await
    }

    /// Whether there is any key at all.
    pub fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    /// How many files a host in flight takes: its socket, and while it asks the agent for a signature one more.
    pub fn files_each(&self) -> u64 {
        if self.offers.iter().any(|o| matches!(o.half, Half::Agent(..))) { 2 } else { 1 }
    }

    /// Why keys that might have been there are not used, a sentence each.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// What is offered, in order, by the names that messages use.
    pub fn names(&self) -> Vec<&str> {
        self.offers.iter().map(|o| o.name.as_str()).collect()
    }

    /// Logs in at the end of a route: the keys one by one, then what `asking` allows. `deadline` is what
    /// the server may take in all; what an agent, a person or the wait for a password's turn takes does not count.
    pub(super) async fn authenticate(
        &self,
        handle: &mut Handle<Guard>,
        end: &Endpoint,
        role: Role,
        asking: &Asking,
        clock: &Clock,
        deadline: Duration,
    ) -> Result<(), Trouble> {
        let late = || trouble(format!("no answer within {} s", deadline.as_secs()));
        let login = Login { handle, user: &end.user, name: &end.name, role, asking, deadline, clock };
        clock.limit(deadline, login.run(self)).await.unwrap_or_else(|| Err(late()))
    }
}

/// At this stage, for this reason.
pub(super) fn trouble(reason: impl Into<String>) -> Trouble {
    Trouble::new(Stage::Authenticate, reason)
}

/// One log-in.
pub(super) struct Login<'a> {
    pub(super) handle: &'a mut Handle<Guard>,
    pub(super) user: &'a str,
    /// The server, as people call it.
    pub(super) name: &'a str,
    pub(super) role: Role,
    pub(super) asking: &'a Asking,
    deadline: Duration,
    pub(super) clock: &'a Clock,
}

/// What an offer came to.
enum Came {
    In,
    /// It counts, and the server wants something more.
    Half(MethodSet),
    /// It does not count; what the server takes.
    Out(MethodSet),
    /// It was not offered to its end, since our side could not sign.
    Unsigned(String),
}

impl Login<'_> {
    async fn run(mut self, keys: &Keys) -> Result<(), Trouble> {
        let most = if self.asking.has_password(self.role) { ATTEMPTS_MAX - PASSWORD_ATTEMPTS } else { ATTEMPTS_MAX };
        let has_files = keys.offers.iter().any(|o| matches!(o.half, Half::File(_)));
        let mut offered: Vec<String> = Vec::new();
        let mut unsigned = Vec::new();
        let mut left_out = 0;
        let mut takes = None;
        for offer in &keys.offers {
            if let Half::Agent(agent, _) = &offer.half
                && has_files
                && agent.slow.load(Ordering::Relaxed)
            {
                unsigned.push(format!("the SSH agent at {} does not sign in time", agent.path.display()));
                continue;
            }
            if offered.len() == most {
                left_out += 1;
                continue;
            }
            tracing::debug!(host = self.name, key = %offer.name, "offered");
            let came = match self.offer(offer).await {
                Ok(came) => came,
                Err(reason) => {
                    offered.push(offer.name.clone());
                    return Err(trouble(self.hung_up(reason, &offered, keys.offers.len() - offered.len())));
                }
            };
            match came {
                Came::In => return Ok(()),
                Came::Half(methods) => return self.second_factor(&methods).await,
                Came::Unsigned(why) => unsigned.push(format!("{}: {why}", offer.name)),
                Came::Out(methods) => {
                    offered.push(offer.name.clone());
                    let keys_count = methods.contains(&MethodKind::PublicKey);
                    takes = Some(methods);
                    if !keys_count {
                        break;
                    }
                }
            }
        }
        let takes = match takes {
            Some(methods) => methods,
            // Nothing was offered: "none" is refused with the methods that count (RFC 4252, 5.2).
            None => match self.handle.authenticate_none(self.user).await.map_err(|e| trouble(ssh_reason(&e)))? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => remaining_methods,
            },
        };
        if takes.is_empty() {
            return Err(trouble("the host closed the connection"));
        }
        if self.asking.has_password(self.role) && (takes.contains(&MethodKind::Password) || takes.contains(&MethodKind::KeyboardInteractive)) {
            return self.password(&takes).await;
        }
        unsigned.dedup();
        Err(trouble(self.refusal(&takes, &offered, &unsigned, left_out)))
    }

    async fn offer(&mut self, offer: &Offer) -> Result<Came, String> {
        let hash = match offer.public.key().algorithm().is_rsa() {
            true => match rsa_hash(self.handle).await? {
                Some(hash) => Some(hash),
                None => return Ok(Came::Unsigned("the host takes RSA keys with SHA-1 signatures only; use an Ed25519 key".to_string())),
            },
            false => None,
        };
        let mut signer = Signing { half: &offer.half, clock: self.clock, deadline: self.deadline, failed: None };
        let result = match &offer.public {
            Public::Key(key) => self.handle.authenticate_publickey_with(self.user, key.clone(), hash, &mut signer).await,
            Public::Certificate(certificate) => self.handle.authenticate_certificate_with(self.user, (**certificate).clone(), hash, &mut signer).await,
        };
        match (result, signer.failed) {
            (Ok(AuthResult::Success), _) => Ok(Came::In),
            (Ok(AuthResult::Failure { remaining_methods, partial_success: true }), _) => Ok(Came::Half(remaining_methods)),
            // russh says so when the connection was lost in between.
            (Ok(AuthResult::Failure { remaining_methods, .. }), _) if remaining_methods.is_empty() => Err("the host closed the connection".to_string()),
            (Ok(AuthResult::Failure { remaining_methods, .. }), _) => Ok(Came::Out(remaining_methods)),
            (Err(_), Some(why)) if !self.handle.is_closed() => Ok(Came::Unsigned(why)),
            (Err(_), _) => Err("the host closed the connection".to_string()),
        }
    }

    /// The connection ended while a key was offered: after several, sshd has had enough of them.
    fn hung_up(&self, reason: String, offered: &[String], left_out: usize) -> String {
        const ENOUGH: usize = 3;
        if offered.len() < ENOUGH {
            return reason;
        }
        let more = if left_out > 0 { format!("; {left_out} more were not offered") } else { String::new() };
        format!("{reason} after {} keys (MaxAuthTries), none of which counts: {}{more}; {NAME_THE_KEY}", offered.len(), offered.join(", "))
    }

    /// Why nothing that we have counts.
    fn refusal(&self, takes: &MethodSet, offered: &[String], unsigned: &[String], left_out: usize) -> String {
        let user = self.user;
        let methods = takes.iter().map(<&str>::from).collect::<Vec<_>>().join(", ");
        let mut why = match () {
            () if !takes.contains(&MethodKind::PublicKey) => self.no_keys_here(takes, &methods),
            () if offered.is_empty() => format!("there is no key to offer for {user}; the host takes {methods}"),
            () => format!("the host lets {user} in with none of these keys: {}; is it the right account (`user:`), and the right key?", offered.join(", ")),
        };
        for one in unsigned {
            why += &format!("; {one}");
        }
        if left_out > 0 {
            why += &format!("; {left_out} more were not offered, since sshd hangs up after {ATTEMPTS_MAX} (MaxAuthTries): {NAME_THE_KEY}");
        }
        why
    }

    /// The server takes no keys at all.
    fn no_keys_here(&self, takes: &MethodSet, methods: &str) -> String {
        let user = self.user;
        let password = takes.contains(&MethodKind::Password) || takes.contains(&MethodKind::KeyboardInteractive);
        match (takes.contains(&MethodKind::GssapiWithMic), self.role) {
            _ if password => format!("the host takes no keys of {user}, only {methods}; let it take keys, or give --ask-pass"),
            (true, Role::Bastion) => {
                format!("{} takes only {methods}, and GSSAPI is not supported; let ssh do it: `proxy_command: ssh -W %h:%p {}`", self.name, self.name)
            }
            (true, Role::Host) => format!(
                "the host takes only {methods}, and GSSAPI is not supported; let it take a key of {user} (a bastion that wants GSSAPI is passed with `proxy_command: ssh -W %h:%p BASTION`)"
            ),
            (false, _) => format!("the host takes only {methods}, which regprov does not know; let it take a key of {user}"),
        }
    }
}

/// Which hash an RSA key signs with: what the host announced, SHA-256 when it said nothing; never SHA-1.
async fn rsa_hash(handle: &Handle<Guard>) -> Result<Option<HashAlg>, String> {
    match handle.best_supported_rsa_hash().await.map_err(|e| ssh_reason(&e))? {
        Some(hash) => Ok(hash),
        None => Ok(Some(HashAlg::Sha256)),
    }
}

/// Signs with a file's key or lets an agent sign, and keeps why that failed.
struct Signing<'a> {
    half: &'a Half,
    clock: &'a Clock,
    deadline: Duration,
    failed: Option<String>,
}

/// No signature; the reason is in [`Signing::failed`].
struct NotSigned;

impl From<russh::SendError> for NotSigned {
    fn from(_: russh::SendError) -> Self {
        NotSigned
    }
}

impl Signing<'_> {
    async fn sign(&self, hash: Option<HashAlg>, data: &[u8]) -> Result<Vec<u8>, String> {
        match self.half {
            Half::File(key) => {
                let signature = match key.key_data() {
                    KeypairData::Rsa(pair) => (pair, hash).try_sign(data),
                    pair => pair.try_sign(data),
                };
                let encode = |s: russh::keys::ssh_key::Signature| {
                    let mut bytes = Vec::new();
                    s.encode(&mut bytes).map(|()| bytes).ok()
                };
                signature.ok().and_then(encode).ok_or_else(|| "the key cannot sign".to_string())
            }
            Half::Agent(agent, blob) => {
                let _paused = self.clock.pause();
                match tokio::time::timeout(self.deadline, agent::sign(&agent.path, blob, data, hash)).await {
                    Ok(result) => result.map_err(|why| format!("the SSH agent {why}")),
                    Err(_) => {
                        agent.slow.store(true, Ordering::Relaxed);
                        Err(format!("the SSH agent gave no signature within {} s", self.deadline.as_secs()))
                    }
                }
            }
        }
    }
}

impl russh::Signer for Signing<'_> {
    type Error = NotSigned;

    /// russh wants what is signed, and behind it the signature as an SSH string.
    async fn auth_sign(&mut self, _: &AgentIdentity, hash: Option<HashAlg>, mut to_sign: Vec<u8>) -> Result<Vec<u8>, NotSigned> {
        match self.sign(hash, &to_sign).await {
            Ok(signature) => signature.encode(&mut to_sign).map(|()| to_sign).map_err(|_| NotSigned),
            Err(why) => {
                self.failed = Some(why);
                Err(NotSigned)
            }
        }
    }
}
