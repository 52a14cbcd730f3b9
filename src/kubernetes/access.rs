//! From a context's name to a cluster that can be asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use kube::Config;
use kube::client::ClientBuilder;
use tokio::sync::OnceCell;

use super::Trouble;
use super::credentials::{Ready, Source};
use super::kubeconfig::{Access, File, access, authority, certificates, identify, list, read, server_url};
use super::rights::Granted;
use crate::error::{Error, Result};
use crate::model::Stage;
use crate::model::text::escape;

/// The name of the cluster in which this runs, where no kubeconfig names one.
pub const IN_CLUSTER: &str = "in-cluster";
/// Where a Pod has its service account (Kubernetes `plugin/pkg/admission/serviceaccount`, DefaultAPITokenMountPath).
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long a cluster is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until there is a connection: name, TCP, proxy and TLS together.
    pub connect: Duration,
    /// For each request with all its attempts, and for a credential plugin.
    pub request: Duration,
}

/// The kubeconfigs of a run.
pub struct Kubeconfigs {
    /// Those that are there, the first counts most.
    files: Vec<File>,
    /// Where they were looked for.
    looked: Vec<PathBuf>,
    /// What there is of a service account of a Pod.
    pod: Option<Pod>,
}

/// The Pod in which this runs.
struct Pod {
    server: String,
    folder: PathBuf,
}

impl Kubeconfigs {
    /// Reads them: `--kubeconfig`, else those of `$KUBECONFIG` that are there, else `~/.kube/config`; beside them stands the service account
    /// of the Pod in which this runs (client-go `tools/clientcmd/loader.go`).
    ///
    /// # Errors
    /// A file that was named with `--kubeconfig` is not there; one cannot be read or understood. Having none is none.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let looked = match (file, std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty())) {
            (Some(file), _) => vec![file.to_path_buf()],
            (None, Some(list)) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
            (None, None) => std::env::var_os("HOME").filter(|v| !v.is_empty()).map(|home| PathBuf::from(home).join(".kube/config")).into_iter().collect(),
        };
        let all = Kubeconfigs::of(looked)?;
        if file.is_some() && all.files.is_empty() {
            return Err(Error::usage(format!("kubeconfig {} cannot be read: there is no such file", all.places())));
        }
        Ok(all)
    }

    /// Those of these files that are there; the first counts most.
    ///
    /// # Errors
    /// One cannot be read or understood.
    pub fn of(looked: Vec<PathBuf>) -> Result<Self> {
        let files = looked.iter().map(|path| File::read(path)).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        Ok(Kubeconfigs { files, looked, pod: Pod::here(Path::new(SERVICE_ACCOUNT), |name| std::env::var(name).ok()) })
    }

    fn places(&self) -> String {
        list(self.looked.iter().map(PathBuf::as_path))
    }

    /// What a person should know of the files: others can read or write them. For stderr.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|file| file.note.as_deref())
    }

    /// The context that counts where the inventory names none: the first `current-context`, or [`IN_CLUSTER`].
    ///
    /// # Errors
    /// There is neither (exit 2).
    pub fn current(&self) -> Result<String> {
        let current = self.files.iter().find_map(|f| f.config.current_context.as_ref().filter(|name| !name.is_empty()));
        match (current, &self.pod) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(_)) => Ok(IN_CLUSTER.to_string()),
            (None, None) if self.files.is_empty() => Err(self.nothing()),
            (None, None) => Err(Error::usage(format!("{} names no current-context", self.places()))
                .hint("give each block below `kubernetes:` a `context:`, or run `kubectl config use-context NAME`")),
        }
    }

    /// Makes a context ready to be asked. Nothing goes over the network, and no plugin runs before the first request.
    ///
    /// # Errors
    /// There is no such context, or what it names cannot be used or must not be (exit 2).
    pub async fn open(&self, context: &str, timeouts: Timeouts) -> Result<Cluster> {
        let known = self.files.iter().any(|f| f.config.contexts.iter().any(|c| c.name == context));
        let access = match &self.pod {
            Some(pod) if context == IN_CLUSTER && !known => pod.access()?,
            _ if self.files.is_empty() => return Err(self.nothing()),
            _ => access(&self.files, context)?,
        };
        Cluster::new(context, access, timeouts)
    }

    fn nothing(&self) -> Error {
        Error::usage(format!("there is no kubeconfig: looked for {}", self.places()))
            .hint("name one with --kubeconfig FILE or in $KUBECONFIG; in a Pod, let its service account be mounted")
    }
}

impl Pod {
    /// Whether this runs in a Pod that has a service account (client-go `rest/config.go` InClusterConfig).
    fn here(folder: &Path, variable: impl Fn(&str) -> Option<String>) -> Option<Pod> {
        let given = |name: &str| variable(name).filter(|v| !v.is_empty());
        let (host, port) = (given("KUBERNETES_SERVICE_HOST")?, given("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        folder.join("token").is_file().then(|| Pod { server: format!("https://{host}:{port}"), folder: folder.to_path_buf() })
    }

    fn access(&self) -> Result<Access> {
        let what = "the service account of this Pod";
        let mut config = Config::new(server_url(what, &self.server)?);
        let ca = self.folder.join("ca.crt");
        let missing = || Error::usage(format!("{what}: {} holds no certificate of a CA", ca.display()));
        let (_, pem) = read(&ca).ok().flatten().ok_or_else(missing)?;
        config.root_cert = Some(certificates(&pem).ok_or_else(missing)?);
        let token = self.folder.join("token");
        let source = Source::file(token.clone(), None).map_err(|why| Error::usage(format!("{what}: {} {why}", token.display())))?;
        Ok(Access { server: authority(&config.cluster_url), user: None, config, source })
    }
}

/// A cluster that can be asked: a context of a kubeconfig, or the cluster in which this runs. Its copies share connections, credentials and
/// what is known of our rights.
#[derive(Clone)]
pub struct Cluster {
    /// The context's name, or [`IN_CLUSTER`].
    pub context: String,
    inner: Arc<Inner>,
}

/// Credentials that are there, or are being had by whoever asked first.
type Current = Arc<OnceCell<std::result::Result<Arc<Ready>, Trouble>>>;

struct Inner {
    server: String,
    user: Option<String>,
    config: Config,
    client: kube::Client,
    source: Source,
    timeouts: Timeouts,
    current: Mutex<Current>,
    granted: Granted,
}

impl Cluster {
    fn new(context: &str, access: Access, timeouts: Timeouts) -> Result<Cluster> {
        let Access { server, user, mut config, source } = access;
        config.connect_timeout = Some(timeouts.connect);
        config.write_timeout = Some(timeouts.request);
        // Its own would ask again for minutes, and what is no question too.
        config.default_retry = false;
        let whose = user.as_deref().map_or(String::new(), |user| format!(" (user `{}`)", escape(user)));
        let unusable = |why: &str| Error::usage(format!("context `{}`{whose} cannot be used: {why}", escape(context)));
        let client = client(&config).map_err(unusable)?;
        let inner = Inner { server, user, config, client, source, timeouts, current: Mutex::default(), granted: Granted::default() };
        Ok(Cluster { context: context.to_string(), inner: Arc::new(inner) })
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.inner.timeouts
    }

    pub(super) fn granted(&self) -> &Granted {
        &self.inner.granted
    }

    /// Whom the kubeconfig says we are: whom it impersonates, or the entry of its user.
    pub(super) fn user(&self) -> Option<&str> {
        self.inner.config.auth_info.impersonate.as_deref().or(self.inner.user.as_deref())
    }

    /// Whether the other is the same cluster, as far as their addresses tell.
    pub fn is_same_server(&self, other: &Cluster) -> bool {
        self.inner.config.cluster_url == other.inner.config.cluster_url
    }

    /// A sentence about the server.
    pub(super) fn says(&self, what: &str) -> String {
        format!("the API server of context `{}` ({}) {what}", escape(&self.context), self.inner.server)
    }

    /// It does not know who asks.
    pub(super) fn unknown_to_it(&self) -> Trouble {
        let whose = self.inner.user.as_deref().map_or(String::new(), |user| format!(" of user `{}`", escape(user)));
        let what = match &self.inner.source {
            Source::Fixed(None) if self.inner.config.auth_info.client_certificate_data.is_none() => {
                "wants to know who asks (401), and nothing tells it: the context has no credentials, or its server is plain http".to_string()
            }
            Source::Exec(_) => format!("does not accept what the credential plugin{whose} gave (401), twice: log in with it anew"),
            Source::File(..) => format!("does not accept the token{whose} (401), also when its file was read again"),
            Source::Fixed(_) => format!("does not accept the credentials{whose} (401): they have expired, or belong to another cluster"),
        };
        Trouble::Unreachable(Stage::Authenticate, self.says(&what))
    }

    /// Whether other credentials can be had than those that were refused.
    pub(super) fn can_renew(&self) -> bool {
        !matches!(self.inner.source, Source::Fixed(_))
    }

    /// A client that knows who we are. Whoever comes first has the credentials, all others wait for that; one failure stands for the whole
    /// run. `refused` are those that the server did not accept.
    pub(super) async fn ready(&self, refused: Option<&Arc<Ready>>) -> std::result::Result<Arc<Ready>, Trouble> {
        let cell = {
            let mut current = self.inner.current.lock().unwrap_or_else(PoisonError::into_inner);
            let is_over = |ready: &Arc<Ready>| ready.until.is_some_and(|until| until <= SystemTime::now()) || refused.is_some_and(|r| Arc::ptr_eq(r, ready));
            if current.get().is_some_and(|had| had.as_ref().is_ok_and(is_over)) {
                *current = Arc::default();
            }
            Arc::clone(&current)
        };
        cell.get_or_init(|| self.obtain()).await.clone()
    }

    async fn obtain(&self) -> std::result::Result<Arc<Ready>, Trouble> {
        let Inner { client: own, config, source, timeouts, .. } = &*self.inner;
        let ready = match source {
            Source::Fixed(authorization) => Ready { client: own.clone(), authorization: authorization.clone(), until: None },
            Source::File(path, before) => {
                let (authorization, until) = Source::from_file(path, before.as_ref());
                Ready { client: own.clone(), authorization, until: Some(until) }
            }
            Source::Exec(plugin) => {
                let failed = |why: String| Trouble::Unreachable(Stage::Authenticate, format!("context `{}`: {why}", escape(&self.context)));
                let told = plugin.run(timeouts.request).await.map_err(failed)?;
                let client = match &told.identity {
                    None => own.clone(),
                    Some((certificate, key)) => {
                        let mut config = config.clone();
                        identify(&mut config, certificate.as_bytes(), key.as_bytes());
                        client(&config).map_err(|why| failed(format!("what the credential plugin gave cannot be used: {why}")))?
                    }
                };
                Ready { client, authorization: told.authorization, until: told.until }
            }
        };
        Ok(Arc::new(ready))
    }
}

/// kube's client. Nothing of its errors is kept, which might quote what they are about.
fn client(config: &Config) -> std::result::Result<kube::Client, &'static str> {
    use kube::Error as E;
    use kube::client::RustlsTlsError as T;
    let built = ClientBuilder::try_from(config.clone()).map_err(|e| match e {
        E::RustlsTls(T::MissingPrivateKey | T::UnknownPrivateKeyFormat) => "`client-key` holds no private key in the clear",
        E::RustlsTls(T::MissingCertificate) => "`client-certificate` holds no certificate",
        E::RustlsTls(T::InvalidIdentityPem(_) | T::InvalidPrivateKey(_)) => "`client-certificate` and `client-key` do not belong together, or are no PEM",
        E::RustlsTls(T::InvalidServerName(_)) => "`tls-server-name` is no name of a host",
        E::RustlsTls(_) => "the certificates of its CA, or those of the system, cannot be read",
        E::HttpError(_) => "whom it impersonates cannot stand in a header",
        _ => "the HTTP client does not start",
    })?;
    Ok(built.build())
}
