//! The keys of a run: every file is read, every agent is asked for its list and every passphrase is asked for once, however many
//! hosts want it. Which of them are offered, and in which order, is OpenSSH's rule (sshconnect2.c pubkey_prepare).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, PrivateKey};

use super::agent::{self, Held, Public};
use super::auth::{AgentOfRun, AskPassphrase, Half, Keys, Offer};
use super::keyfile::{KeyFile, certificate, certificate_beside, unlock};

/// What may be offered to a server, as flags, inventory or ssh_config say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySources {
    /// Private key files, or public ones whose private half an agent holds, in order.
    pub files: Vec<PathBuf>,
    /// Whether somebody named these files, so that one that does not do is an error; else those are used that open.
    pub named: bool,
    /// User certificates (CertificateFile); without any, those are taken that lie next to a key as `KEY-cert.pub`.
    pub certificates: Vec<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Of the agent's keys only those that `files` or `certificates` name (IdentitiesOnly).
    pub only_these: bool,
}

impl KeySources {
    /// These files and nothing else, as `--ssh-key` means it.
    pub fn only(files: &[PathBuf]) -> Self {
        KeySources { files: files.to_vec(), named: true, only_these: true, ..KeySources::default() }
    }
}

/// Keys by where they come from.
#[derive(Default)]
pub struct KeyRing {
    loaded: BTreeMap<KeySources, Arc<Keys>>,
    seen: Seen,
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
        let keys = Arc::new(self.seen.load(sources, ask).await?);
        self.loaded.insert(sources.clone(), keys.clone());
        Ok(keys)
    }
}

/// An agent and what it holds.
type Listed = (Arc<AgentOfRun>, Arc<Vec<Held>>);

/// What was read, asked and opened so far.
#[derive(Default)]
pub(super) struct Seen {
    files: BTreeMap<PathBuf, Arc<Result<KeyFile, String>>>,
    opened: BTreeMap<PathBuf, Result<Arc<PrivateKey>, String>>,
    agents: BTreeMap<PathBuf, Result<Listed, String>>,
}

/// A public key or certificate that the sources name, and where its private half may lie.
struct Wanted {
    name: String,
    public: Option<Public>,
    path: PathBuf,
}

impl Seen {
    fn file(&mut self, path: &Path) -> Arc<Result<KeyFile, String>> {
        self.files.entry(path.to_path_buf()).or_insert_with(|| Arc::new(KeyFile::read(path))).clone()
    }

    async fn agent(&mut self, path: &Path) -> Result<Listed, String> {
        if let Some(known) = self.agents.get(path) {
            return known.clone();
        }
        let found = agent::list(path).await.map(|held| (Arc::new(AgentOfRun::new(path)), Arc::new(held)));
        self.agents.insert(path.to_path_buf(), found.clone());
        found
    }

    fn open(&mut self, path: &Path, ask: AskPassphrase<'_>) -> Result<Arc<PrivateKey>, String> {
        match &*self.file(path) {
            Ok(KeyFile::Open(key)) => Ok(key.clone()),
            Ok(KeyFile::Locked(_)) => match self.opened.get(path) {
                Some(known) => known.clone(),
                None => {
                    let opened = unlock(path, ask);
                    self.opened.insert(path.to_path_buf(), opened.clone());
                    opened
                }
            },
            Ok(KeyFile::Elsewhere { fido: true, .. }) => {
                Err(format!("SSH key {0} is in a FIDO token, which regprov does not talk to; load it into an agent: ssh-add {0}", path.display()))
            }
            Ok(KeyFile::Elsewhere { .. }) => {
                Err(format!("SSH key {0} is a public key whose private half no agent holds; load it into an agent, or name the private key", path.display()))
            }
            Err(why) => Err(why.clone()),
        }
    }

    /// The keys of these sources; see [`Keys::load`].
    pub(super) async fn load(&mut self, sources: &KeySources, ask: AskPassphrase<'_>) -> Result<Keys, String> {
        let mut skipped = Vec::new();
        let mut wanted = Vec::new();
        let mut certificates = self.certificates(sources);
        let mut needs_agent = !sources.only_these || !sources.certificates.is_empty();
        for path in &sources.files {
            let file = self.file(path);
            let name = path.display().to_string();
            match &*file {
                Ok(file) => {
                    needs_agent |= !matches!(file, KeyFile::Open(_));
                    if sources.certificates.is_empty()
                        && let Some(certificate) = certificate(&certificate_beside(path)).and_then(|c| usable(c, &name))
                    {
                        needs_agent |= !matches!(file, KeyFile::Open(_));
                        wanted.push(Wanted { name: format!("{name}-cert.pub"), public: Some(certificate), path: path.clone() });
                    }
                    wanted.push(Wanted { name, public: file.public(), path: path.clone() });
                }
                Err(why) if sources.named => return Err(why.clone()),
                Err(_) if !path.exists() => {}
                Err(why) => skipped.push(why.clone()),
            }
        }
        let mut held = Arc::default();
        let mut agent = None;
        if let Some(path) = sources.agent.as_ref().filter(|_| needs_agent) {
            match self.agent(path).await {
                Ok((_, found)) if found.is_empty() => skipped.push("the SSH agent holds no key".to_string()),
                Ok((of_run, found)) => (agent, held) = (Some(of_run), found),
                Err(why) => skipped.push(why),
            }
        }
        // With keys in an agent nobody is asked for the passphrase of a file that may not be needed.
        let quiet = !sources.named && !sources.only_these && !held.is_empty();
        let mut nobody = |_: &Path| None;
        let ask: AskPassphrase<'_> = if quiet { &mut nobody } else { ask };

        let mut offers: Vec<Offer> = Vec::new();
        for wanted in certificates.drain(..) {
            match self.half(&wanted, &held, &agent, sources, ask) {
                Some(half) => offers.extend(wanted.public.map(|public| Offer { name: wanted.name, public, half })),
                None => tracing::info!("certificate {}: its key is in no named file and in no agent", wanted.name),
            }
        }
        let certificate_keys = |offers: &[Offer]| offers.iter().map(|o| o.public.blob()).collect::<Vec<_>>();
        if let Some(agent) = &agent {
            // First what the sources name, in the agent's order, then the others.
            let named = |h: &Held| wanted.iter().any(|w| w.public.as_ref().is_some_and(|p| p.blob() == h.blob));
            let (first, others): (Vec<&Held>, Vec<&Held>) = held.iter().partition(|h| named(h));
            let taken = certificate_keys(&offers);
            for held in first.into_iter().chain(others.into_iter().filter(|_| !sources.only_these)).filter(|h| !taken.contains(&h.blob)) {
                let name = format!("agent: {}", held.comment);
                let public = match &held.public {
                    Public::Key(key) => Some(Public::Key(key.clone())),
                    Public::Certificate(certificate) => usable((**certificate).clone(), &name),
                };
                offers.extend(public.map(|public| Offer { name, public, half: Half::Agent(agent.clone(), held.blob.clone()) }));
            }
        }
        let taken = certificate_keys(&offers);
        for wanted in wanted {
            if wanted.public.as_ref().is_some_and(|p| taken.contains(&p.blob())) {
                continue;
            }
            let is_certificate = matches!(wanted.public, Some(Public::Certificate(_)));
            if let Some(half) = wanted.public.is_some().then(|| held_half(&wanted, &held, &agent)).flatten() {
                offers.extend(wanted.public.map(|public| Offer { name: wanted.name, public, half }));
                continue;
            }
            match self.open(&wanted.path, ask) {
                Ok(key) => {
                    let public = wanted.public.unwrap_or_else(|| Public::Key(key.public_key().clone()));
                    offers.push(Offer { name: wanted.name, public, half: Half::File(key) });
                }
                // Said once, for the key itself.
                Err(_) if is_certificate => {}
                Err(why) if sources.named => return Err(why),
                Err(why) => {
                    tracing::info!("{why}");
                    skipped.push(why);
                }
            }
        }
        certificates_first(&mut offers);
        Ok(Keys::new(offers, skipped))
    }

    /// The certificates that are named apart from the keys.
    fn certificates(&mut self, sources: &KeySources) -> Vec<Wanted> {
        let read = |path: &PathBuf| {
            let name = path.display().to_string();
            let Some(found) = certificate(path) else {
                tracing::info!("certificate {name}: there is none that regprov can read");
                return None;
            };
            usable(found, &name).map(|public| Wanted { name, public: Some(public), path: path.clone() })
        };
        sources.certificates.iter().filter_map(read).collect()
    }

    /// The private half for a certificate: the agent's, or that of a named file.
    fn half(&mut self, wanted: &Wanted, held: &[Held], agent: &Option<Arc<AgentOfRun>>, sources: &KeySources, ask: AskPassphrase<'_>) -> Option<Half> {
        if let Some(half) = held_half(wanted, held, agent) {
            return Some(half);
        }
        let key = wanted.public.as_ref()?.key();
        for path in &sources.files {
            let fits = matches!(&*self.file(path), Ok(file) if file.public().is_some_and(|p| p.key().key_data() == key.key_data()));
            if fits && let Ok(key) = self.open(path, &mut *ask) {
                return Some(Half::File(key));
            }
        }
        None
    }
}

/// The agent's half: it holds this very key or certificate, or the key that the certificate is for.
fn held_half(wanted: &Wanted, held: &[Held], agent: &Option<Arc<AgentOfRun>>) -> Option<Half> {
    let (public, agent) = (wanted.public.as_ref()?, agent.as_ref()?);
    let (blob, key) = (public.blob(), public.key().to_bytes().ok()?);
    let found = held.iter().find(|h| h.blob == blob).or_else(|| held.iter().find(|h| h.blob == key))?;
    Some(Half::Agent(agent.clone(), found.blob.clone()))
}

/// A user certificate that is valid now; others are told with `-v` and left out.
fn usable(certificate: Certificate, name: &str) -> Option<Public> {
    let now = crate::transport::clock::since_1970().as_secs();
    let why = match () {
        () if certificate.cert_type() != CertType::User => "it is for hosts, not for users",
        () if now < certificate.valid_after() => "it is not valid yet",
        () if now >= certificate.valid_before() => "it has expired",
        () => return Some(Public::Certificate(Box::new(certificate))),
    };
    tracing::info!("the certificate of {name} is not offered: {why}");
    None
}

/// A certificate goes before its own key: where it counts, the key alone would be one failed attempt.
fn certificates_first(offers: &mut [Offer]) {
    for at in 1..offers.len() {
        if !matches!(offers[at].public, Public::Certificate(_)) {
            continue;
        }
        let key = offers[at].public.key();
        let plain = |o: &Offer| matches!(&o.public, Public::Key(k) if k.key_data() == key.key_data());
        if let Some(before) = offers[..at].iter().position(plain) {
            offers[before..=at].rotate_right(1);
        }
    }
}
