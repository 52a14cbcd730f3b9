//! A real Kubernetes API server on loopback: etcd, kube-apiserver and the controllers of kube-controller-manager that a namespace needs, each on a
//! free port, with a CA, users and an audit log of their own. All of it ends with its value, or with this process.
//!
//! The audit log is one of level `RequestResponse` for everything: a secret that went somewhere else than into a Secret would stand in it.

// Each user takes what it needs; what a test says goes to whoever reads its output.
#![allow(dead_code, clippy::print_stdout)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::Value;

use super::fleet::{Daemon, Ran};
use super::peers::need;

/// Everything is logged as it was asked and answered, once it is over.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: RequestResponse}]\n";

/// How long a server may take to be ready: some 5 seconds where it has a core for itself.
const READY_MAX: Duration = Duration::from_secs(90);

/// Those who may do only what a test's roles say; each one's token is its name with `token-` before it.
const LIMITED: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// The programs.
pub(crate) struct Programs {
    etcd: PathBuf,
    apiserver: PathBuf,
    controllers: PathBuf,
    pub(crate) kubectl: PathBuf,
}

impl Programs {
    /// The servers of `REGPROV_KUBE`, or those that `tests/kube/build` made. `None`, after saying so, where one is missing; a panic with
    /// `REGPROV_REQUIRE_KUBE` set, as `.ci/run --full` does.
    #[track_caller]
    pub(crate) fn find() -> Option<Programs> {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        let built = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers").join("kube");
        Programs::find_in(var("REGPROV_KUBE").map_or_else(built, PathBuf::from), var("REGPROV_REQUIRE_KUBE").is_some())
    }

    #[track_caller]
    pub(crate) fn find_in(dir: PathBuf, required: bool) -> Option<Programs> {
        let servers = ["kube-apiserver", "kube-controller-manager"].map(|name| dir.join(name));
        let [apiserver, controllers] = servers;
        if let Some(absent) = [&apiserver, &controllers].into_iter().find(|p| !p.is_file()) {
            let needs = format!("needs {}, which tests/kube/build makes; REGPROV_KUBE names another folder", absent.display());
            assert!(!required, "{needs}, and REGPROV_REQUIRE_KUBE is set");
            println!("skipped: {needs}");
            return None;
        }
        Some(Programs { apiserver, controllers, etcd: need("etcd")?, kubectl: need("kubectl")? })
    }
}

/// A CA and what it signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "regprov test Kubernetes");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate and its key for a client of this name and group, or for a server of these names.
    fn sign(&self, name: &str, group: Option<&str>, server: &[&str]) -> (String, String) {
        let mut params = CertificateParams::new(server.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![if server.is_empty() { ExtendedKeyUsagePurpose::ClientAuth } else { ExtendedKeyUsagePurpose::ServerAuth }];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A cluster of no nodes.
pub(crate) struct Kube {
    // In this order they end.
    controllers: Option<Daemon>,
    apiserver: Option<Daemon>,
    etcd: Option<Daemon>,
    programs: Programs,
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    etcd_port: u16,
    ca: String,
    admin: (String, String),
}

impl Kube {
    /// Starts it, which takes some 5 seconds; `None` where a program for it is missing, which has been said.
    #[track_caller]
    pub(crate) fn start() -> Option<Kube> {
        let programs = Programs::find()?;
        let dir = tempfile::Builder::new().prefix("kube").tempdir().unwrap();
        let [port, etcd_port, peer_port] = free_ports();
        let authority = Authority::new();
        let own = authority.sign("kube-apiserver", None, &["127.0.0.1", "10.0.0.1", "localhost", "kubernetes.default.svc"]);
        let admin = authority.sign("admin", Some("system:masters"), &[]);
        // With the credentials of one user in place of a service account for each controller, that user needs the rights of all of them.
        let controllers = authority.sign("system:kube-controller-manager", Some("system:masters"), &[]);
        // Tokens of service accounts: nobody uses them, and no server starts without.
        let accounts = KeyPair::generate().unwrap();
        let mut kube = Kube { controllers: None, apiserver: None, etcd: None, programs, dir, port, etcd_port, ca: authority.pem, admin };
        let tokens = LIMITED.iter().fold(String::new(), |mut all, user| {
            let _ = writeln!(all, "token-{user},{user},uid-{user}");
            all
        });
        for (name, text) in [
            ("ca.crt", &kube.ca),
            ("server.crt", &own.0),
            ("server.key", &own.1),
            ("accounts.key", &accounts.serialize_pem()),
            ("accounts.pub", &accounts.public_key_pem()),
            ("tokens.csv", &tokens),
            ("audit.yml", &AUDIT_POLICY.to_string()),
            ("admin.kubeconfig", &kube.kubeconfig("admin", &certificate(&kube.admin))),
            ("controllers.kubeconfig", &kube.kubeconfig("controllers", &certificate(&controllers))),
        ] {
            fs::write(kube.path(name), text).unwrap();
        }
        kube.etcd = Some(kube.etcd(peer_port));
        kube.start_apiserver();
        kube.controllers = Some(kube.controllers());
        Some(kube)
    }

    /// A path of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A kubeconfig with one context of this name, for a user with these keys (`token: x`).
    pub(crate) fn kubeconfig(&self, context: &str, user: &str) -> String {
        let (port, ca) = (self.port, STANDARD.encode(&self.ca));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {context}\nclusters:\n- name: {context}\n  cluster: {{server: \"https://127.0.0.1:{port}\", \
             certificate-authority-data: {ca}}}\ncontexts:\n- name: {context}\n  context: {{cluster: {context}, user: {context}}}\nusers:\n- name: {context}\n  user: {{{user}}}\n"
        )
    }

    /// The keys of the user who may do everything, for [`kubeconfig`](Self::kubeconfig).
    pub(crate) fn admin(&self) -> String {
        certificate(&self.admin)
    }

    /// The certificate and the key of the user who may do everything.
    pub(crate) fn admin_pems(&self) -> (&str, &str) {
        (&self.admin.0, &self.admin.1)
    }

    /// A CA that signed nothing, as kubeconfigs hold one.
    pub(crate) fn some_ca() -> String {
        STANDARD.encode(Authority::new().pem)
    }

    fn etcd(&self, peer_port: u16) -> Daemon {
        let (client, peer) = (format!("http://127.0.0.1:{}", self.etcd_port), format!("http://127.0.0.1:{peer_port}"));
        let mut command = Command::new(&self.programs.etcd);
        command.args(["--unsafe-no-fsync", "--listen-client-urls", &client, "--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}"), "--data-dir"]).arg(self.path("etcd"));
        self.daemon(command, "etcd.log")
    }

    fn controllers(&self) -> Daemon {
        let mut command = Command::new(&self.programs.controllers);
        for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
            command.arg(flag).arg(self.path("controllers.kubeconfig"));
        }
        command.args(["--controllers", "namespace,serviceaccount,serviceaccount-token", "--service-account-private-key-file"]).arg(self.path("accounts.key"));
        command.arg("--root-ca-file").arg(self.path("ca.crt")).args(["--leader-elect=false", "--use-service-account-credentials=false", "--secure-port", "0"]);
        // Hundreds of namespaces get their service accounts in a moment, and not 20 a second.
        command.args(["--kube-api-qps", "1000", "--kube-api-burst", "1000"]);
        let help = Command::new(&self.programs.controllers).arg("--help").output().unwrap();
        // Versions before 1.24 listen without TLS as well.
        if String::from_utf8_lossy(&help.stdout).contains("--port int") {
            command.args(["--port", "0"]);
        }
        self.daemon(command, "controllers.log")
    }

    /// Starts the API server, on the same port as before, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_apiserver(&mut self) {
        let mut command = Command::new(&self.programs.apiserver);
        command.args(["--etcd-servers", &format!("http://127.0.0.1:{}", self.etcd_port), "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"]);
        command.args(["--secure-port", &self.port.to_string(), "--service-cluster-ip-range", "10.0.0.0/24", "--authorization-mode", "RBAC"]);
        command.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        for (flag, file) in [
            ("--cert-dir", "made"),
            ("--tls-cert-file", "server.crt"),
            ("--tls-private-key-file", "server.key"),
            ("--client-ca-file", "ca.crt"),
            ("--service-account-key-file", "accounts.pub"),
            ("--service-account-signing-key-file", "accounts.key"),
            ("--token-auth-file", "tokens.csv"),
            ("--audit-policy-file", "audit.yml"),
            ("--audit-log-path", "audit.log"),
        ] {
            command.arg(flag).arg(self.path(file));
        }
        self.apiserver = Some(self.daemon(command, "apiserver.log"));
        let start = Instant::now();
        while self.kubectl(&["get", "--raw", "/readyz"]).stdout != "ok" {
            let ended = self.apiserver.as_mut().and_then(|d| d.0.try_wait().unwrap());
            if start.elapsed() > READY_MAX || ended.is_some() {
                let log = fs::read_to_string(self.path("apiserver.log")).unwrap();
                panic!("kube-apiserver is not ready after {:?} ({ended:?}):\n{}", start.elapsed(), &log[log.len().saturating_sub(3000)..]);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The processes of all three.
    pub(crate) fn pids(&self) -> Vec<u32> {
        [&self.controllers, &self.apiserver, &self.etcd].into_iter().flatten().map(|d| d.0.id()).collect()
    }

    /// Whether the API server still runs.
    pub(crate) fn is_up(&mut self) -> bool {
        self.apiserver.as_mut().is_some_and(|d| d.0.try_wait().unwrap().is_none())
    }

    /// Kills the API server in the middle of whatever it does.
    pub(crate) fn kill_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Starts a program that ends with this process, however that ends.
    fn daemon(&self, mut command: Command, log: &str) -> Daemon {
        let log = fs::File::options().create(true).append(true).open(self.path(log)).unwrap();
        command.current_dir(self.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // SAFETY: prctl is async-signal-safe and PR_SET_PDEATHSIG takes one integer.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Daemon(command.spawn().unwrap())
    }

    /// Runs kubectl as the user who may do everything.
    pub(crate) fn kubectl(&self, words: &[&str]) -> Ran {
        self.kubectl_with(words, "")
    }

    /// As [`kubectl`](Self::kubectl), with something to read.
    pub(crate) fn kubectl_with(&self, words: &[&str], input: &str) -> Ran {
        let mut command = Command::new(&self.programs.kubectl);
        command.args(words).current_dir(self.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path());
        command.env("KUBECONFIG", self.path("admin.kubeconfig")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Whoever reads nothing may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    /// Has kubectl apply this manifest.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) {
        self.kubectl_with(&["apply", "--validate=false", "-f", "-"], manifest).ended(0, &[]);
    }

    /// Makes namespaces with such labels (`{team: ml}`), and waits until each has its service account and the controllers are done with it: servers
    /// before 1.24 give it a token.
    #[track_caller]
    pub(crate) fn namespaces(&self, names: &[&str], labels: &str) {
        let one = |name: &&str| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {labels}}}\n");
        self.apply(&names.iter().map(one).collect::<String>());
        let (start, mut last) = (Instant::now(), String::new());
        loop {
            assert!(start.elapsed() < READY_MAX, "the namespaces get no service account");
            let line = "{range .items[*]}{.metadata.namespace}/{.metadata.name}/{.metadata.resourceVersion}{\"\\n\"}{end}";
            let now = self.kubectl(&["get", "serviceaccounts", "-A", "-o", &format!("jsonpath={line}")]).stdout;
            if now == last && names.iter().all(|n| now.lines().any(|l| l.starts_with(&format!("{n}/default/")))) {
                return;
            }
            last = now;
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// An object as the server has it, with what it says of its managers; `None` where there is none.
    #[track_caller]
    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let path = format!("/api/v1/namespaces/{namespace}/{kind}/{name}");
        let ran = self.kubectl(&["get", "--raw", &path]);
        match ran.code {
            Some(0) => Some(serde_json::from_str(&ran.stdout).unwrap()),
            _ if ran.stderr.contains("NotFound") || ran.stderr.contains("not found") => None,
            _ => panic!("{path}: {}", ran.all()),
        }
    }

    /// The document of a pull Secret, decoded by kubectl and base64 as an admin would.
    #[track_caller]
    pub(crate) fn document(&self, namespace: &str, name: &str) -> String {
        let ran = self.kubectl(&["get", "secret", name, "-n", namespace, "-o", "jsonpath={.data.\\.dockerconfigjson}"]).ended(0, &[]);
        String::from_utf8(STANDARD.decode(ran.stdout.trim()).unwrap()).unwrap()
    }

    /// The names in the `imagePullSecrets` of a service account, in their order.
    #[track_caller]
    pub(crate) fn pull_secrets(&self, namespace: &str, account: &str) -> Vec<String> {
        let account = self.get("serviceaccounts", namespace, account).expect("the service account is there");
        account["imagePullSecrets"].as_array().map_or_else(Vec::new, |all| all.iter().map(|s| s["name"].as_str().unwrap_or_default().to_string()).collect())
    }

    /// Where the audit log ends now.
    pub(crate) fn audited(&self) -> usize {
        fs::metadata(self.path("audit.log")).map_or(0, |m| usize::try_from(m.len()).unwrap())
    }

    /// What was asked of the server since then by whoever calls itself so (the start of `userAgent`), one event a request.
    pub(crate) fn audit(&self, since: usize, agent: &str) -> Vec<Value> {
        // The server writes an event before it ends its answer; a moment is for the disk.
        let text = fs::read(self.path("audit.log")).unwrap();
        let events = text[since..].split(|b| *b == b'\n').filter(|l| !l.is_empty());
        let events = events.map(|line| serde_json::from_slice::<Value>(line).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(line))));
        events.filter(|e| e["userAgent"].as_str().unwrap_or_default().starts_with(agent)).collect()
    }
}

/// A certificate as the keys of a kubeconfig's user.
fn certificate((certificate, key): &(String, String)) -> String {
    format!("client-certificate-data: {}, client-key-data: {}", STANDARD.encode(certificate), STANDARD.encode(key))
}

/// Ports of loopback that nobody listens on. All are held until all are known.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|l| l.local_addr().unwrap().port())
}
