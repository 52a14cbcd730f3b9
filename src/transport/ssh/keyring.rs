//! The keys of a run: every file is read and every passphrase asked for once, however many hosts want it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::auth::{AskPassphrase, Keys};

/// What may be offered to a server, as flags, inventory or ssh_config say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySources {
    /// Private key files, or public ones whose private half an agent holds, in order.
    pub files: Vec<PathBuf>,
    /// Whether somebody named these files, so that one that does not do is an error; else those are used that open.
    pub named: bool,
    /// User certificates beside those that lie next to a key as `KEY-cert.pub` (CertificateFile).
    pub certificates: Vec<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Of the agent's keys only those that `files` or `certificates` name (IdentitiesOnly).
    pub only_these: bool,
}

impl KeySources {
    /// These files and nothing else, as `--ssh-key` means it.
    pub fn only(files: &[PathBuf]) -> Self {
        KeySources { files: files.to_vec(), named: true, ..KeySources::default() }
    }
}

/// Keys by where they come from.
#[derive(Default)]
pub struct KeyRing {
    loaded: BTreeMap<KeySources, Arc<Keys>>,
}

impl KeyRing {
    /// The keys of these sources.
    ///
    /// # Errors
    /// A named file that cannot be used, and why.
    pub async fn keys(&mut self, sources: &KeySources, ask: AskPassphrase<'_>) -> Result<Arc<Keys>, String> {
        if let Some(keys) = self.loaded.get(sources) {
            return Ok(keys.clone());
        }
        let keys = Arc::new(Keys::load(sources, ask).await?);
        self.loaded.insert(sources.clone(), keys.clone());
        Ok(keys)
    }
}
