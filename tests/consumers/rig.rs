//! Private registries under the names that nodes know: Debian's docker-registry (distribution) behind TLS of an own CA, once with
//! token and once with Basic authentication, and the token servers. All of it lies in the network namespace of one test.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;

use super::token::{self, ISSUER, Signer};
use super::{image, peers};

/// A registry as inventories name it, and the account that may read it.
pub(crate) struct Site {
    /// Its name in inventories and in names of images.
    pub(crate) registry: &'static str,
    /// The hosts that are the registry.
    hosts: &'static [&'static str],
    /// Where its tokens come from: another host, or another port and path.
    pub(crate) realm: &'static str,
    pub(crate) service: &'static str,
    /// Whether its token server takes the form of OAuth2.
    pub(crate) oauth: bool,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// What stands before `/tiny` and `/chart` in its repositories.
    pub(crate) namespace: &'static str,
}

/// Docker Hub and nvcr.io with a second host for tokens, and a Harbor with another port and path.
pub(crate) static SITES: [Site; 3] = [
    Site {
        registry: "docker.io",
        hosts: &["registry-1.docker.io", "index.docker.io", "docker.io"],
        realm: "https://auth.docker.io/token",
        service: "registry.docker.io",
        oauth: true,
        user: "acme",
        password: "dckr_pat_x:y/z=#é",
        namespace: "acme",
    },
    Site {
        registry: "nvcr.io",
        hosts: &["nvcr.io"],
        realm: "https://authn.nvidia.com/token",
        service: "nvcr.io",
        oauth: false,
        user: "$oauthtoken",
        password: "nvapi-abc_DEF-123",
        namespace: "nvidia",
    },
    Site {
        registry: "harbor.test",
        hosts: &["harbor.test"],
        realm: "https://harbor.test:8443/service/token",
        service: "harbor-registry",
        oauth: false,
        user: "robot$proj+ci",
        password: "Rob0t$ecret+/=\"`",
        namespace: "proj",
    },
];

/// How the registries ask for logins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Auth {
    Token,
    Basic,
}

impl Auth {
    pub(crate) const BOTH: [Auth; 2] = [Auth::Token, Auth::Basic];

    /// The address of a site's registry of this kind.
    fn address(self, site: usize) -> String {
        format!("10.99.{}.{}", self as usize, site + 1)
    }
}

/// The host for tokens of docker.io and of nvcr.io.
fn token_address(site: usize) -> String {
    format!("10.99.9.{}", site + 1)
}

/// What a registry or token server says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Empty when it came without one.
    pub(crate) user: String,
    /// The scope of a token, or the path at a registry.
    pub(crate) what: String,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Granted,
    Anonymous,
    WrongPassword,
}

/// What runs.
pub(crate) struct Rig {
    /// PEM of the CA.
    pub(crate) ca: String,
    registries: Vec<Registry>,
    asked: Arc<Mutex<Vec<Seen>>>,
}

/// A registry process and its log.
struct Registry {
    account: &'static str,
    child: Child,
    log: BufReader<File>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rig {
    /// Starts everything, with its files in `dir`. `None` without the programs for it.
    pub(crate) fn start(dir: &Path) -> Option<Rig> {
        let (program, perl) = (peers::need("docker-registry")?, peers::need("perl")?);
        let storage = dir.join("storage");
        for site in &SITES {
            image::store(&storage, site.namespace);
            let addresses = [Auth::Token, Auth::Basic].map(|auth| auth.address(index(site))).into_iter().chain([token_address(index(site))]);
            for address in addresses {
                let added = Command::new("ip").args(["address", "add", &format!("{address}/32"), "dev", "lo"]).status();
                assert!(added.unwrap().success(), "{address}");
            }
        }
        let pki = Pki::new(dir);
        let asked = Arc::<Mutex<Vec<Seen>>>::default();
        let mut registries = Vec::new();
        for (i, site) in SITES.iter().enumerate() {
            for auth in Auth::BOTH {
                registries.push(registry(&program, &perl, dir, site, auth));
            }
            let port = if site.realm.contains(":8443/") { 8443 } else { 443 };
            let address = if port == 443 { token_address(i) } else { Auth::Token.address(i) };
            let listener = TcpListener::bind((address.as_str(), port)).unwrap();
            token::serve(listener, pki.tls.clone(), pki.signer.clone(), site, asked.clone());
        }
        for i in 0..SITES.len() {
            Auth::BOTH.iter().for_each(|auth| wait(&auth.address(i), dir));
        }
        Some(Rig { ca: pki.ca, registries, asked })
    }

    /// `/etc/hosts` under which every name is a registry of this kind.
    pub(crate) fn hosts(auth: Auth) -> String {
        let mut text = "127.0.0.1 localhost\n".to_string();
        for (i, site) in SITES.iter().enumerate() {
            text += &format!("{} {}\n", auth.address(i), site.hosts.join(" "));
        }
        text + &format!("{} auth.docker.io\n{} authn.nvidia.com\n", token_address(0), token_address(1))
    }

    /// What token servers and registries have said since the last call. A registry tells what it let pass and whom it refused.
    pub(crate) fn take(&mut self) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut *self.asked.lock().unwrap());
        for registry in &mut self.registries {
            let mut line = String::new();
            while registry.log.read_line(&mut line).unwrap() > 0 {
                seen.extend(told(registry.account, &line));
                line.clear();
            }
        }
        seen
    }
}

/// What a line of a registry's log says: `authorized request`, which is its only account, or `error authenticating user "..."`.
fn told(account: &str, line: &str) -> Option<Seen> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let what = line["http.request.uri"].as_str().unwrap_or_default().to_string();
    let message = line["msg"].as_str()?;
    if message == "authorized request" {
        return Some(Seen { user: account.to_string(), what, verdict: Verdict::Granted });
    }
    let quoted = message.strip_prefix("error authenticating user ")?.rsplit_once(": ")?.0;
    Some(Seen { user: serde_json::from_str(quoted).ok()?, what, verdict: Verdict::WrongPassword })
}

fn index(site: &Site) -> usize {
    SITES.iter().position(|s| s.registry == site.registry).unwrap()
}

fn registry(program: &Path, perl: &Path, dir: &Path, site: &'static Site, auth: Auth) -> Registry {
    let (name, at) = (format!("{}-{auth:?}", site.registry), dir.display());
    let access = match auth {
        Auth::Token => format!("token: {{realm: '{}', service: {}, issuer: '{ISSUER}', rootcertbundle: {at}/signer.crt}}", site.realm, site.service),
        Auth::Basic => {
            fs::write(dir.join(format!("{name}.htpasswd")), format!("{}:{}\n", site.user, bcrypt(perl, site.password))).unwrap();
            format!("htpasswd: {{realm: private, path: {at}/{name}.htpasswd}}")
        }
    };
    let text = format!(
        "version: 0.1\nlog: {{level: info, formatter: json, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {at}/storage}}}}\n\
         http:\n  addr: {}:443\n  secret: a\n  http2: {{disabled: {}}}\n  tls: {{certificate: {at}/tls.crt, key: {at}/tls.key}}\nauth:\n  {access}\n",
        auth.address(index(site)),
        // enroot takes the header out of what curl -v says, and finds it only in HTTP/1.1.
        auth == Auth::Basic,
    );
    let (config, log) = (dir.join(format!("{name}.yml")), dir.join(format!("{name}.log")));
    fs::write(&config, text).unwrap();
    let out = File::create(&log).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(&config).env_clear().stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    Registry { account: site.user, child: command.spawn().unwrap(), log: BufReader::new(File::open(log).unwrap()) }
}

/// bcrypt, which is all that the registry takes; crypt(3) of libxcrypt has it.
fn bcrypt(perl: &Path, password: &str) -> String {
    use std::io::Write as _;
    let script = "local $/; print crypt(<STDIN>, '$2b$04$abcdefghijklmnopqrstuu')";
    let mut child = Command::new(perl).args(["-e", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let hash = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(hash.starts_with("$2b$"), "this crypt(3) has no bcrypt: {hash:?}");
    hash
}

fn wait(address: &str, dir: &Path) {
    let start = Instant::now();
    while std::net::TcpStream::connect((address, 443)).is_err() {
        if start.elapsed() > Duration::from_secs(20) {
            let logs = fs::read_dir(dir).unwrap().flatten().filter(|f| f.path().extension().is_some_and(|e| e == "log"));
            let said: String = logs.map(|f| fs::read_to_string(f.path()).unwrap_or_default()).collect();
            panic!("no registry at {address}: {said}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The CA, the certificate of all names, and what signs tokens.
struct Pki {
    ca: String,
    tls: Arc<rustls::ServerConfig>,
    signer: Arc<Signer>,
}

impl Pki {
    fn new(dir: &Path) -> Pki {
        let named = |names: Vec<String>, subject: &str| {
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, subject);
            params
        };
        let mut params = named(Vec::new(), "CA of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(params, ca_key);
        let names = SITES.iter().flat_map(|s| s.hosts.iter().copied()).chain(["auth.docker.io", "authn.nvidia.com"]).map(str::to_string);
        let key = KeyPair::generate().unwrap();
        let certificate = named(names.collect(), "registries of the tests").signed_by(&key, &issuer).unwrap();
        let signing = KeyPair::generate().unwrap();
        let signer = Signer { certificate: named(Vec::new(), "signer of the tests").self_signed(&signing).unwrap(), key: signing };
        for (file, text) in [("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem()), ("signer.crt", signer.certificate.pem())] {
            fs::write(dir.join(file), text).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let tls = tls.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private).unwrap();
        Pki { ca: ca.pem(), tls: Arc::new(tls), signer: Arc::new(signer) }
    }
}
