//! Programs that tell who we are (client-go credential plugins, client.authentication.k8s.io).
//!
//! kube runs them as it opens a client and waits without end on a thread of the runtime (kube-client 5 `src/client/auth/mod.rs` auth_exec), and
//! its error quotes all that one printed, a token too. So they are run here.

use std::any::Any;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use kube::config::{Cluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::Kubeconfigs;
use super::credentials::header;
use crate::error::{Error, Result};
use crate::model::text::{escape, sanitize};

/// The most that one may print, in bytes.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// The most that is kept of what it says on standard error, in bytes.
const WORDS_BYTES_MAX: u64 = 16 << 10;
/// How long one may take that talks with a person.
const PERSON_DEADLINE: Duration = Duration::from_secs(300);
/// A word of so many characters may be a token, and is not shown.
const TOKEN_CHARS_MIN: usize = 20;
/// The extension of a cluster that is handed to plugins (client-go `tools/clientcmd/client_config.go`).
const CLUSTER_EXTENSION: &str = "client.authentication.k8s.io/exec";

/// A credential plugin, ready to be run.
pub(super) struct Plugin {
    command: PathBuf,
    /// As the kubeconfig names it.
    name: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    api_version: String,
    mode: ExecInteractiveMode,
    cluster: Option<Value>,
    install_hint: Option<String>,
}

/// What a plugin told.
pub(super) struct Told {
    pub(super) authorization: Option<http::HeaderValue>,
    /// A client certificate and its key.
    pub(super) identity: Option<(Zeroizing<String>, Zeroizing<String>)>,
    /// When it is to be asked again.
    pub(super) until: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Credential {
    kind: Option<String>,
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<Zeroizing<String>>,
    client_certificate_data: Option<Zeroizing<String>>,
    client_key_data: Option<Zeroizing<String>>,
}

impl Plugin {
    /// Checks what the kubeconfig says of one. `path` resolves a path in it; `ca` are the cluster's CAs in PEM.
    pub(super) fn new(what: &str, exec: &ExecConfig, path: impl Fn(&str) -> PathBuf, cluster: &Cluster, ca: Option<Zeroizing<Vec<u8>>>) -> Result<Plugin> {
        let name = exec.command.clone().filter(|c| !c.is_empty()).ok_or_else(|| Error::usage(format!("`exec` of {what} names no `command`")))?;
        let api_version = exec.api_version.clone().unwrap_or_default();
        let mode = match (api_version.as_str(), &exec.interactive_mode) {
            ("client.authentication.k8s.io/v1beta1", None) => ExecInteractiveMode::IfAvailable,
            ("client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1", Some(mode)) => mode.clone(),
            ("client.authentication.k8s.io/v1", None) => {
                return Err(Error::usage(format!("`exec` of {what} has no `interactiveMode`, which v1 needs")).hint("add `interactiveMode: IfAvailable`"));
            }
            _ => {
                return Err(Error::usage(format!("`exec` of {what} has an `apiVersion` that is not client.authentication.k8s.io/v1 or v1beta1"))
                    .hint("v1alpha1 is gone since kubectl 1.24: update the plugin, and let it write the kubeconfig anew"));
            }
        };
        let cluster = exec.provide_cluster_info.then(|| describe(cluster, ca.as_ref().map(|ca| ca.as_slice())));
        let env = exec.env.iter().flatten().filter_map(|e| Some((e.get("name")?.clone(), e.get("value").cloned().unwrap_or_default()))).collect();
        // With a slash it is a path, else it is looked up in PATH (client-go `tools/clientcmd/loader.go` GetAuthInfoFileReferences).
        let command = if name.contains('/') { path(&name) } else { PathBuf::from(&name) };
        let args = exec.args.clone().unwrap_or_default();
        Ok(Plugin { command, name: escape(&name), args, env, api_version, mode, cluster, install_hint: exec.install_hint.clone() })
    }

    /// Runs it. The reason of a failure names the program, and what it said where that is harmless.
    pub(super) async fn run(&self, deadline: Duration) -> std::result::Result<Told, String> {
        let name = &self.name;
        let interactive = self.mode != ExecInteractiveMode::Never && io::stdin().is_terminal();
        if self.mode == ExecInteractiveMode::Always && !interactive {
            return Err(format!("the credential plugin `{name}` talks with a person, and standard input is no terminal"));
        }
        let work = async {
            let child = self.command(interactive).spawn().map_err(|e| self.not_started(&e))?;
            let mut running = Running { child, has_group: !interactive };
            let deadline = if interactive { deadline.max(PERSON_DEADLINE) } else { deadline };
            Ok::<_, String>(tokio::time::timeout(deadline, running.listen()).await)
        };
        let ended = if interactive { with_terminal(CLEAR.get(), work).await } else { work.await };
        let (status, stdout, words) = match ended? {
            Ok(ended) => ended.map_err(|e| format!("the credential plugin `{name}` cannot be read from: {}", e.kind()))?,
            Err(_) => {
                return Err(format!("the credential plugin `{name}` did not end in time; does it wait for somebody? Log in with it, then run this again"));
            }
        };
        if stdout.len() as u64 > OUTPUT_BYTES_MAX {
            return Err(format!("the credential plugin `{name}` printed more than 1 MiB"));
        }
        if !status.success() {
            let said = harmless(&words).map_or(String::new(), |said| format!("; it said: {said}"));
            return Err(format!("the credential plugin `{name}` failed ({status}){said}"));
        }
        self.understand(&stdout).map_err(|why| format!("the credential plugin `{name}` {why}"))
    }

    fn command(&self, interactive: bool) -> Command {
        let info = json!({"kind": "ExecCredential", "apiVersion": self.api_version, "spec": {"cluster": self.cluster, "interactive": interactive}});
        let mut command = Command::new(&self.command);
        command.args(&self.args).stdout(Stdio::piped()).kill_on_drop(true);
        // What opens vaults is not for others.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("REGPROV_")) {
            command.env_remove(key);
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v))).env("KUBERNETES_EXEC_INFO", without_null(info).to_string());
        if interactive {
            command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        }
        end_with_us(&mut command);
        command
    }

    fn not_started(&self, e: &io::Error) -> String {
        let why = match e.kind() {
            io::ErrorKind::NotFound if !self.name.contains('/') => "it is not in PATH",
            io::ErrorKind::NotFound => "there is no such program",
            io::ErrorKind::PermissionDenied => "it is not executable",
            _ => "the system does not start it",
        };
        let hint = self.install_hint.as_deref().map_or(String::new(), |hint| format!("; the kubeconfig says: {}", sanitize(hint.trim())));
        format!("the credential plugin `{}` cannot be run: {why}{hint}", self.name)
    }

    fn understand(&self, stdout: &[u8]) -> std::result::Result<Told, &'static str> {
        // In JSON, or in YAML as for kubectl. What the parsers say would quote it.
        let yaml = || std::str::from_utf8(stdout).ok().and_then(|text| serde_yaml::from_str(text).ok());
        let credential: Credential = serde_json::from_slice(stdout).ok().or_else(yaml).ok_or("printed no ExecCredential")?;
        if credential.kind.as_deref() != Some("ExecCredential") {
            return Err("printed no ExecCredential");
        }
        if credential.api_version.as_ref() != Some(&self.api_version) {
            return Err("answers in another apiVersion than the kubeconfig names");
        }
        let status = credential.status.ok_or("printed an ExecCredential without a status")?;
        let given = |value: Option<Zeroizing<String>>| value.filter(|v| !v.is_empty());
        let identity = match (given(status.client_certificate_data), given(status.client_key_data)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err("gave a certificate without its key, or a key without its certificate"),
        };
        let authorization = match given(status.token) {
            None => None,
            Some(token) => Some(header("Bearer", &token).ok_or("gave a token that no header can hold")?),
        };
        if authorization.is_none() && identity.is_none() {
            return Err("gave neither a token nor a certificate");
        }
        let until = match status.expiration_timestamp {
            None => None,
            Some(text) => Some(SystemTime::from(OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| "gave an expirationTimestamp that is no time")?)),
        };
        // What has ended when it comes is tried all the same; a 401 tells more.
        Ok(Told { authorization, identity, until: until.filter(|until| *until > SystemTime::now()) })
    }
}

/// The cluster as plugins are told of it (client-go `pkg/apis/clientauthentication/v1/types.go` Cluster).
fn describe(cluster: &Cluster, ca: Option<&[u8]>) -> Value {
    use base64::Engine as _;
    let given = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
    json!({
        "server": given(&cluster.server),
        "tls-server-name": given(&cluster.tls_server_name),
        "certificate-authority-data": ca.map(|ca| base64::engine::general_purpose::STANDARD.encode(ca)),
        "proxy-url": given(&cluster.proxy_url),
        "config": cluster.extensions.iter().flatten().find(|e| e.name == CLUSTER_EXTENSION).map(|e| e.extension.clone()),
    })
}

/// Go leaves out what is not given, but for `config`.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().filter(|(key, v)| !v.is_null() || key == "config").map(|(k, v)| (k, without_null(v))).collect()),
        other => other,
    }
}

/// The last line that it said, unless a word of it may be a secret.
fn harmless(words: &[u8]) -> Option<String> {
    let words = String::from_utf8_lossy(words);
    let line = words.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let is_token = |word: &str| {
        let letters = word.chars().filter(|c| c.is_ascii_alphanumeric());
        letters.clone().count() >= TOKEN_CHARS_MIN && letters.clone().any(|c| c.is_ascii_digit()) && letters.clone().any(char::is_alphabetic)
    };
    let may_be_secret = line.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=_-.~".contains(c))).any(is_token);
    (!may_be_secret).then(|| sanitize(line))
}

/// Takes from the terminal what is drawn there, until the result is dropped.
type Clear = fn() -> Box<dyn Any + Send>;

/// What [`Kubeconfigs::clear_terminal_with`] was given.
static CLEAR: OnceLock<Clear> = OnceLock::new();
/// One plugin at a time talks with a person.
static TERMINAL: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Kubeconfigs {
    /// Has `clear` called whenever a credential plugin is about to talk with a person on the terminal; what it returns is dropped when the
    /// plugin has ended. The first of a process stays.
    pub fn clear_terminal_with(clear: fn() -> Box<dyn Any + Send>) {
        CLEAR.get_or_init(|| clear);
    }
}

/// Does this while nobody else talks or draws on the terminal.
async fn with_terminal<T>(clear: Option<&Clear>, work: impl Future<Output = T>) -> T {
    let _turn = TERMINAL.lock().await;
    let _cleared = clear.map(|clear| clear());
    work.await
}

/// Lets the program end when this process does, also by a signal that only we get and do not wait for: it has a process group of its own.
/// The system means the thread that started it, and those of the runtime last as long as we do.
fn end_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: it is one call of prctl(2), which is async-signal-safe, and allocates nothing.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?));
    }
}

/// A plugin that does not outlive this value, nor what it started when it has a process group of its own.
struct Running {
    child: Child,
    has_group: bool,
}

impl Running {
    /// Both outputs to their ends, then how it ended.
    async fn listen(&mut self) -> io::Result<(std::process::ExitStatus, Zeroizing<Vec<u8>>, Vec<u8>)> {
        let stdout = self.child.stdout.take();
        let stderr = self.child.stderr.take();
        let output = async {
            let mut out = Zeroizing::new(Vec::with_capacity(64 << 10));
            if let Some(stdout) = stdout {
                stdout.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut out).await?;
            }
            io::Result::Ok(out)
        };
        let words = async {
            let mut words = Vec::new();
            if let Some(mut stderr) = stderr {
                let mut chunk = [0; 4 << 10];
                while let Ok(n @ 1..) = stderr.read(&mut chunk).await {
                    words.extend_from_slice(&chunk[..n]);
                    let surplus = words.len().saturating_sub(WORDS_BYTES_MAX as usize);
                    words.drain(..surplus);
                }
            }
            words
        };
        let (out, words) = tokio::join!(output, words);
        Ok((self.child.wait().await?, out?, words))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Once it was waited for, its number may be somebody else's; alone it is killed by `kill_on_drop`.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id.filter(|_| self.has_group) {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static CLEARED: AtomicUsize = AtomicUsize::new(0);

    struct Cleared;

    impl Drop for Cleared {
        fn drop(&mut self) {
            CLEARED.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn whoever_talks_has_the_terminal_alone_until_it_ends_or_is_given_up() {
        let clear: Clear = || {
            CLEARED.fetch_add(1, Ordering::SeqCst);
            Box::new(Cleared)
        };
        let talk = || {
            with_terminal(Some(&clear), async {
                let before = CLEARED.load(Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                (before, CLEARED.load(Ordering::SeqCst))
            })
        };
        assert_eq!(tokio::join!(talk(), talk(), talk()), ((1, 1), (1, 1), (1, 1)));
        assert_eq!(CLEARED.load(Ordering::SeqCst), 0);
        let given_up = tokio::time::timeout(Duration::from_millis(5), with_terminal(Some(&clear), std::future::pending::<()>()));
        assert!(given_up.await.is_err());
        assert_eq!(CLEARED.load(Ordering::SeqCst), 0);
        assert_eq!(talk().await, (1, 1), "the turn was given back");
    }
}
