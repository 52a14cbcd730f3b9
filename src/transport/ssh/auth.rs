//! Who we are: key files and the agent. Keys only; passwords are not asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};

use super::keyring::KeySources;
use super::{Guard, ssh_reason};
use crate::model::{Secret, Stage};
use crate::transport::Trouble;

/// sshd gives up after six attempts (MaxAuthTries); one is left to whatever comes first.
const OFFERS_MAX: usize = 5;
/// An agent that has not answered by then is left out.
const AGENT_DEADLINE: Duration = Duration::from_secs(3);

/// The keys of this run, read and decrypted once, shared by all hosts.
#[derive(Clone, Default)]
pub struct Keys {
    files: Vec<(String, Arc<PrivateKey>)>,
    agent: Option<(PathBuf, Vec<(String, PublicKey)>)>,
    skipped: Vec<String>,
}

/// Asks for the passphrase of a key file; `None` when there is nobody to ask.
pub type AskPassphrase<'a> = &'a mut dyn FnMut(&Path) -> Option<Secret>;

impl Keys {
    /// Reads the files and asks the agent which keys it holds.
    ///
    /// # Errors
    /// A named file that cannot be used, and why.
    pub async fn load(sources: &KeySources, ask: AskPassphrase<'_>) -> Result<Self, String> {
        let mut keys = Keys::default();
        if sources.named {
            for path in &sources.files {
                keys.files.push((path.display().to_string(), Arc::new(read_key(path, ask)?)));
            }
            return Ok(keys);
        }
        if let Some(path) = &sources.agent {
            match tokio::time::timeout(AGENT_DEADLINE, identities(path)).await.ok().flatten() {
                Some(found) if found.is_empty() => keys.skipped.push("the SSH agent holds no key".to_string()),
                Some(found) => keys.agent = Some((path.clone(), found)),
                None => keys.skipped.push(format!("the SSH agent at {} does not answer", path.display())),
            }
        }
        let has_agent_keys = keys.agent.as_ref().is_some_and(|(_, found)| !found.is_empty());
        for path in sources.files.iter().filter(|p| p.exists()) {
            // With keys in an agent nobody is asked for the passphrase of a file that may not be needed.
            let mut quiet = |_: &Path| None;
            let ask: AskPassphrase<'_> = if has_agent_keys { &mut quiet } else { ask };
            match read_key(path, ask) {
                Ok(key) => keys.files.push((path.display().to_string(), Arc::new(key))),
                Err(why) => {
                    tracing::info!("{why}");
                    keys.skipped.push(why);
                }
            }
        }
        Ok(keys)
    }

    /// Whether there is any key at all.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.agent.as_ref().is_none_or(|(_, found)| found.is_empty())
    }

    /// How many files a host in flight takes: its socket, and while it asks the agent for a signature one more.
    pub fn files_each(&self) -> u64 {
        if self.agent.as_ref().is_some_and(|(_, found)| !found.is_empty()) { 2 } else { 1 }
    }

    /// Why keys that might have been there are not used, a sentence each.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Offers the keys one by one, the agent's first.
    pub(super) async fn authenticate(&self, handle: &mut Handle<Guard>, user: &str) -> Result<(), Trouble> {
        let trouble = |reason: String| Trouble::new(Stage::Authenticate, reason);
        let mut offered = Vec::new();
        if let Some((path, found)) = &self.agent
            && !found.is_empty()
        {
            let mut agent = AgentClient::connect_uds(path).await.map_err(|_| trouble(format!("the SSH agent at {} does not answer", path.display())))?;
            for (comment, key) in found.iter().take(OFFERS_MAX) {
                let hash = rsa_hash(handle, key.algorithm().is_rsa()).await.map_err(trouble)?;
                offered.push(format!("agent: {comment}"));
                match handle.authenticate_publickey_with(user, key.clone(), hash, &mut agent).await {
                    Ok(result) if result.success() => return Ok(()),
                    // The agent may refuse to sign with one key (a touch that did not come) and do so with the next.
                    Ok(_) | Err(_) if !handle.is_closed() => {}
                    _ => return Err(trouble("the host closed the connection".to_string())),
                }
            }
        }
        for (name, key) in self.files.iter().take(OFFERS_MAX.saturating_sub(offered.len())) {
            let hash = rsa_hash(handle, key.algorithm().is_rsa()).await.map_err(trouble)?;
            offered.push(name.clone());
            let result = handle.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key.clone(), hash)).await.map_err(|e| trouble(ssh_reason(&e)))?;
            match result {
                AuthResult::Success => return Ok(()),
                // russh says so when the connection was lost in between.
                AuthResult::Failure { remaining_methods, partial_success: false } if remaining_methods.is_empty() => {
                    return Err(trouble("the host closed the connection".to_string()));
                }
                AuthResult::Failure { partial_success: true, .. } => {
                    return Err(trouble(format!("{user} needs a second factor here, which regprov does not give")));
                }
                AuthResult::Failure { .. } => {}
            }
        }
        Err(trouble(format!("the host lets {user} in with none of these keys: {}; is it the right account (`user:`), and the right key?", offered.join(", "))))
    }
}

/// Which hash an RSA key signs with: what the host announced, SHA-256 when it said nothing; never SHA-1.
async fn rsa_hash(handle: &Handle<Guard>, is_rsa: bool) -> Result<Option<HashAlg>, String> {
    if !is_rsa {
        return Ok(None);
    }
    match handle.best_supported_rsa_hash().await.map_err(|e| ssh_reason(&e))? {
        Some(Some(hash)) => Ok(Some(hash)),
        Some(None) => Err("the host takes RSA keys with SHA-1 signatures only; use an Ed25519 key".to_string()),
        None => Ok(Some(HashAlg::Sha256)),
    }
}

async fn identities(path: &Path) -> Option<Vec<(String, PublicKey)>> {
    let mut agent = AgentClient::connect_uds(path).await.ok()?;
    let found = agent.request_identities().await.ok()?;
    Some(
        found
            .into_iter()
            .filter_map(|identity| match identity {
                AgentIdentity::PublicKey { key, comment } => Some((crate::model::text::sanitize(&comment), key)),
                _ => None,
            })
            .collect(),
    )
}

fn read_key(path: &Path, ask: AskPassphrase<'_>) -> Result<PrivateKey, String> {
    let shown = path.display();
    match russh::keys::load_secret_key(path, None) {
        Ok(key) => Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            let passphrase =
                ask(path).ok_or_else(|| format!("SSH key {shown} is encrypted and there is no terminal to ask for its passphrase; load it into an agent"))?;
            russh::keys::load_secret_key(path, Some(passphrase.expose())).map_err(|_| format!("SSH key {shown} does not open with that passphrase"))
        }
        Err(russh::keys::Error::IO(e)) => Err(format!("SSH key {shown}: {}", super::io_reason(&e))),
        Err(_) => Err(format!("SSH key {shown} is no private key that regprov reads (OpenSSH, PEM or PKCS#8)")),
    }
}
