//! The Docker file that `regprov apply` wrote, before the real docker CLI and skopeo: what they send to a private registry is
//! the login. Controls without the file and with a wrong password fail.

#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use embedded::Fault;
use peers::need;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use sha2::{Digest as _, Sha256};

const USER: &str = "robot$proj+ci";
const PASSWORD: &str = "Rob0t$ecret+/=:é";

/// One HTTP request: its first line's two words, and the headers asked for.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads a request with its body; `None` at the end of the connection.
    fn read(stream: &mut impl BufRead) -> Option<Request> {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let mut words = line.split_whitespace().map(str::to_string);
        let mut request = Request { method: words.next()?, path: words.next()?, headers: Vec::new() };
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            request.headers.push((name.to_lowercase(), value.trim().to_string()));
        }
        let length = request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        stream.take(length).read_to_end(&mut Vec::new()).ok()?;
        Some(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The account and password of a Basic header.
    fn basic(&self) -> Option<String> {
        let decoded = STANDARD.decode(self.header("authorization")?.strip_prefix("Basic ")?).ok()?;
        Some(String::from_utf8_lossy(&decoded).into_owned())
    }
}

fn respond(stream: &mut impl Write, head: &str, body: &str, with_body: bool) {
    let body_sent = if with_body { body } else { "" };
    let _ = write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body_sent}", body.len());
    let _ = stream.flush();
}

/// How the registry asks for logins.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Auth {
    Basic,
    Token,
}

/// A registry on loopback that holds `proj/tiny:v1` for one account, and what it was sent as Basic.
struct Registry {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start(auth: Auth) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut stream = stream;
                    // As Go's servers do: docker tries TLS first and goes on to HTTP only when the answer is HTTP.
                    if reader.fill_buf().is_ok_and(|b| b.first() == Some(&0x16)) {
                        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n");
                        return;
                    }
                    while let Some(request) = Request::read(&mut reader) {
                        log.lock().unwrap().extend(request.basic());
                        let (head, body) = answer(auth, port, &request);
                        respond(&mut stream, &head, &body, request.method != "HEAD");
                    }
                });
            }
        });
        Registry { port, seen }
    }

    /// What came as Basic since the last call, each once.
    fn take(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.seen.lock().unwrap());
        all.dedup();
        all
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn answer(auth: Auth, port: u16, request: &Request) -> (String, String) {
    let good = request.basic().is_some_and(|login| login == format!("{USER}:{PASSWORD}"));
    if let Some(query) = request.path.strip_prefix("/token?") {
        let body = "{\"token\":\"granted-token\",\"access_token\":\"granted-token\",\"expires_in\":300}".to_string();
        let pulls = query.contains("pull") && query.contains("proj");
        return if good && pulls { ("200 OK\r\nContent-Type: application/json".into(), body) } else { ("401 Unauthorized".into(), "{}".into()) };
    }
    let allowed = match auth {
        Auth::Basic => good,
        Auth::Token => request.header("authorization") == Some("Bearer granted-token"),
    };
    let challenge = match auth {
        Auth::Basic => "Basic realm=\"private\"".to_string(),
        Auth::Token => format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"private\""),
    };
    if !allowed {
        let body = "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}";
        return (format!("401 Unauthorized\r\nContent-Type: application/json\r\nWWW-Authenticate: {challenge}"), body.into());
    }
    let config = "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]},\"config\":{}}";
    let digest = |text: &str| format!("sha256:{}", Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect::<String>());
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{kind}\",\"config\":{{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"size\":{},\"digest\":\"{}\"}},\"layers\":[]}}",
        config.len(),
        digest(config)
    );
    match request.path.as_str() {
        "/v2/" => ("200 OK".into(), "{}".into()),
        p if p.starts_with("/v2/proj/tiny/manifests/") => (format!("200 OK\r\nContent-Type: {kind}\r\nDocker-Content-Digest: {}", digest(&manifest)), manifest),
        p if p.starts_with("/v2/proj/tiny/blobs/") => ("200 OK\r\nContent-Type: application/octet-stream".into(), config.into()),
        _ => ("404 Not Found".into(), "{}".into()),
    }
}

/// Runs the real `apply` against an embedded node whose Docker file may exist already, and returns that file's directory.
fn applied(dir: &Path, logins: &[(&str, &str, &str)], existing: Option<&str>) -> PathBuf {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[9; 32]));
    fs::write(dir.join("id"), key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    set_private(&dir.join("id"));
    let docker = dir.join("node/root/.docker");
    fs::create_dir_all(dir.join("node/var/lib")).unwrap();
    fs::create_dir_all(&docker).unwrap();
    if let Some(text) = existing {
        fs::write(docker.join("config.json"), text).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fleet = runtime.block_on(embedded::start(key.public_key().clone(), &[Fault::None])).unwrap();
    let names: Vec<String> = (0..logins.len()).map(|i| format!("l{i}")).collect();
    let logins: String = logins.iter().enumerate().map(|(i, (r, u, p))| format!("  l{i}: {{registry: \"{r}\", username: '{u}', password: '{p}'}}\n")).collect();
    let inventory = format!(
        "version: 1\ngroups: {{g: {{hosts: [n], logins: [{}], targets: [docker]}}}}\nhosts: {{n: {{address: 127.0.0.1, port: {}, root: {}, host_key: \"{}\"}}}}\nlogins:\n{logins}",
        names.join(", "),
        fleet.nodes[0].port(),
        dir.join("node").display(),
        fleet.host_key_line(),
    );
    fs::write(dir.join("inventory.yml"), inventory).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_regprov"))
        .args(["apply", "inventory.yml", "--allow-plaintext", "--ssh-key", "id"])
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&[out.stdout, out.stderr].concat()));
    docker
}

fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A client asks for `IMAGE` with the file in a directory; whether it got it, and what it said.
type Client<'a> = &'a dyn Fn(&Path, &str) -> (bool, String);

fn run(command: &mut Command, home: &Path) -> (bool, String) {
    let out = command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).stdin(Stdio::null()).output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

/// A client against both kinds of registries: with our file, with our file merged into another's, without it, and with a wrong
/// password.
fn check(client: Client<'_>) {
    for auth in [Auth::Basic, Auth::Token] {
        let registry = Registry::start(auth);
        let (host, want) = (registry.host(), format!("{USER}:{PASSWORD}"));
        let image = format!("{host}/proj/tiny:v1");
        let stale = format!(
            "{{\"auths\": {{\"other.example\": {{\"auth\": \"b3RoZXI6cHc=\"}}, \"{host}\": {{\"auth\": \"b2xkOm9sZA==\", \"identitytoken\": \"stale\"}}}}, \"detachKeys\": \"ctrl-x\"}}"
        );
        for (name, existing) in [("no file before", None), ("a file with a stale token of ours", Some(stale.as_str()))] {
            let dir = tempfile::tempdir().unwrap();
            let file = applied(dir.path(), &[(&host, USER, PASSWORD)], existing);
            let (got, said) = client(&file, &image);
            assert!(got, "{auth:?}, {name}: {said}");
            assert_eq!(registry.take(), [want.as_str()], "{auth:?}, {name}");
        }
        let dir = tempfile::tempdir().unwrap();
        let (got, said) = client(dir.path(), &image);
        // skopeo asks a token server with neither name nor password.
        assert!(!got && registry.take().iter().all(|login| login == ":"), "the control without the file fails: {said}");
        let file = applied(dir.path(), &[(&host, USER, "another")], None);
        let (got, said) = client(&file, &image);
        assert!(!got, "the control with a wrong password fails: {said}");
        assert!(registry.take().contains(&format!("{USER}:another")));
    }
}

#[test]
#[ignore = "needs docker"]
fn docker_sends_the_login() {
    let Some(docker) = need("docker") else { return };
    check(&|dir, image| run(Command::new(&docker).arg("--config").arg(dir).args(["manifest", "inspect", "--insecure", image]), dir));
}

#[test]
#[ignore = "needs skopeo"]
fn skopeo_sends_the_login() {
    let Some(skopeo) = need("skopeo") else { return };
    check(&|dir, image| {
        let file = dir.join("config.json");
        let file = if file.exists() { file } else { dir.join("none.json") };
        run(Command::new(&skopeo).args(["inspect", "--raw", "--tls-verify=false", "--authfile"]).arg(file).arg(format!("docker://{image}")), dir)
    });
}

/// What the docker CLI hands to the engine for an image, as `user:password`; nothing when it has no login for it.
fn handed_to_the_engine(docker: &Path, config: &Path, image: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine");
    let listener = UnixListener::bind(&socket).unwrap();
    let (found, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let found = found.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                while let Some(request) = Request::read(&mut reader) {
                    if request.path.contains("/images/create") {
                        found.send(request.header("x-registry-auth").unwrap_or_default().to_string()).unwrap();
                        respond(&mut stream, "200 OK\r\nContent-Type: application/json", "{\"status\":\"done\"}\n", true);
                    } else {
                        respond(&mut stream, "200 OK\r\nApi-Version: 1.41\r\nOstype: linux", "OK", request.method != "HEAD");
                    }
                }
            });
        }
    });
    let (_, said) = run(Command::new(docker).arg("--config").arg(config).args(["-H", &format!("unix://{}", socket.display()), "pull", image]), dir.path());
    let header = heard.try_recv().unwrap_or_else(|_| panic!("no pull reached the engine: {said}"));
    let auth: serde_json::Value = serde_json::from_slice(&URL_SAFE.decode(&header).unwrap()).unwrap_or_default();
    match (auth["username"].as_str(), auth["password"].as_str()) {
        (Some(user), Some(password)) => format!("{user}:{password}"),
        _ => "nothing".to_string(),
    }
}

/// The names of public registries, which a test cannot be: docker's pull is taken by an engine of the test.
#[test]
#[ignore = "needs docker and skopeo"]
fn the_logins_of_public_registries_are_found_by_their_names() {
    let (Some(docker), Some(skopeo)) = (need("docker"), need("skopeo")) else { return };
    let dir = tempfile::tempdir().unwrap();
    // A stale entry under another name of the Hub must not win.
    let existing = "{\"auths\": {\"docker.io\": {\"auth\": \"b2xkOm9sZA==\"}, \"quay.io\": {\"auth\": \"b3RoZXI6cHc=\"}}}";
    let logins = [("docker.io", "acme", PASSWORD), ("nvcr.io", "$oauthtoken", "nvapi-1"), ("ghcr.io", "u", "ghp_x"), ("harbor.example:8443", USER, "h")];
    let config = applied(dir.path(), &logins, Some(existing));
    let empty = tempfile::tempdir().unwrap();
    for (image, registry, want) in [
        ("acme/tiny:v1", "docker.io", format!("acme:{PASSWORD}")),
        ("docker.io/library/tiny:v1", "docker.io", format!("acme:{PASSWORD}")),
        ("nvcr.io/nvidia/tiny:v1", "nvcr.io", "$oauthtoken:nvapi-1".into()),
        ("ghcr.io/acme/tiny:v1", "ghcr.io", "u:ghp_x".into()),
        ("harbor.example:8443/proj/tiny:v1", "harbor.example:8443", format!("{USER}:h")),
        ("quay.io/acme/tiny:v1", "quay.io", "other:pw".into()),
        ("elsewhere.example/tiny:v1", "elsewhere.example", "nothing".into()),
    ] {
        assert_eq!(handed_to_the_engine(&docker, &config, image), want, "{image}");
        assert_eq!(handed_to_the_engine(&docker, empty.path(), image), "nothing", "the control without the file, {image}");
        let user = want.split_once(':').map_or("", |(user, _)| user);
        let (_, said) = run(Command::new(&skopeo).args(["login", "--get-login", "--authfile"]).arg(config.join("config.json")).arg(registry), dir.path());
        assert!(if user.is_empty() { said.contains("not logged in") } else { said.trim() == user }, "skopeo, {registry}: {said}");
    }
}
