//! Kubeconfigs held against kubectl: both are given the same files, and what arrives at the server is compared.
//!
//! One difference is meant: for a context without credentials kubectl asks whoever sits there for a name and a password. We send none, and the
//! server says that it wants to know.

#[path = "common/peers.rs"]
mod peers;
#[path = "common/registry.rs"]
mod registry;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::{Ca, Server, http};
use regprov::kubernetes::{Kubeconfigs, Method, Request, Timeouts};
use regprov::model::Stage;
use serde_json::Value;

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), request: Duration::from_secs(4) };

/// Servers that know no client, and kubectl.
struct Bed {
    kubectl: PathBuf,
    ca: Ca,
    /// With a certificate for its address; for `k.example`; without TLS.
    servers: [Server; 3],
}

/// What arrives of a request: at which server, where, as whom.
type Arrived = Option<(usize, String, Option<String>, Vec<(String, String)>)>;

/// What one of both did: what arrived, what its plugin was told, and what it said.
struct Did {
    arrived: Arrived,
    plugin_was_told: Option<Value>,
    said: String,
}

impl Bed {
    fn new() -> Option<Bed> {
        let kubectl = peers::need("kubectl")?;
        let ca = Ca::new("ours");
        let server = |tls| Server::start("127.0.0.1", tls, |_, _| http("200 OK\r\nContent-Type: application/json", "{}"));
        let servers = [server(Some(ca.server("127.0.0.1", false))), server(Some(ca.server("k.example", false))), server(None)];
        Some(Bed { kubectl, ca, servers })
    }

    /// Puts addresses and the CA in: `@own`, `@named` and `@plain` are host and port, `@CA` its certificate in base64.
    fn fill(&self, text: &str) -> String {
        let [own, named, plain] = [0, 1, 2].map(|i| format!("127.0.0.1:{}", self.servers[i].port));
        text.replace("@own", &own).replace("@named", &named).replace("@plain", &plain).replace("@CA", &STANDARD.encode(&self.ca.pem))
    }

    /// The one request for `/probe` that arrives while this is done; some kubectl ask for the version first.
    fn arrives(&self, seen: [usize; 3]) -> Arrived {
        self.servers.iter().zip(seen).enumerate().find_map(|(at, (server, seen))| {
            let request = server.seen().into_iter().skip(seen).find(|r| r.path.ends_with("/probe"))?;
            let mut whom: Vec<(String, String)> = request.headers.iter().filter(|(name, _)| name.starts_with("impersonate-")).cloned().collect();
            whom.sort();
            Some((at, request.path, request.authorization, whom))
        })
    }

    fn seen(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.servers[i].seen().len())
    }

    fn by_kubectl(&self, dir: &Path, files: &[PathBuf]) -> Did {
        let seen = self.seen();
        let mut command = Command::new(&self.kubectl);
        command
            .args(["get", "--raw", "/probe"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", dir)
            .env("KUBECONFIG", std::env::join_paths(files).unwrap());
        let ended = command.stdin(Stdio::null()).output().unwrap();
        Did { arrived: self.arrives(seen), plugin_was_told: told(dir), said: String::from_utf8_lossy(&ended.stderr).into_owned() }
    }

    async fn by_us(&self, dir: &Path, files: &[PathBuf]) -> Did {
        let seen = self.seen();
        let said = match Kubeconfigs::of(files.to_vec()).and_then(|all| Ok((all.current()?, all))) {
            Err(e) => e.to_string(),
            Ok((context, all)) => match all.open(&context, TIMEOUTS).await {
                Err(e) => e.to_string(),
                Ok(cluster) => match cluster.send(&Request::new(Stage::Observe, Method::Get, "/probe")).await {
                    Ok(answer) => answer.status.to_string(),
                    Err(trouble) => format!("{trouble:?}"),
                },
            },
        };
        Did { arrived: self.arrives(seen), plugin_was_told: told(dir), said }
    }

    /// Both do the same with these files (`none` is not there), and something arrives, or nothing.
    async fn check(&self, name: &str, files: &[(&str, String)], plugin: &str, arrives: bool) {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str, mode| {
            fs::write(dir.path().join(file), text).unwrap();
            fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir(dir.path().join("sub")).unwrap();
        write("token", "told-by-a-file\n\n", 0o600);
        write("ca.crt", &self.ca.pem, 0o600);
        write("plugin", &format!("#!/bin/sh\ncd {}\nprintf %s \"$KUBERNETES_EXEC_INFO\" > told\n{plugin}\n", dir.path().display()), 0o700);
        for (file, text) in files.iter().filter(|(file, _)| *file != "none") {
            write(file, &self.fill(text), 0o600);
        }
        let files: Vec<PathBuf> = files.iter().map(|(file, _)| dir.path().join(file)).collect();
        let theirs = self.by_kubectl(dir.path(), &files);
        let ours = self.by_us(dir.path(), &files).await;
        let said = format!("{name}:\nkubectl said {}\nwe said {}", theirs.said, ours.said);
        assert_eq!(ours.arrived, theirs.arrived, "{said}");
        assert_eq!(ours.plugin_was_told, theirs.plugin_was_told, "{said}");
        assert_eq!(theirs.arrived.is_some(), arrives, "{said}");
    }
}

/// What a plugin was told of the cluster; taken away.
fn told(dir: &Path) -> Option<Value> {
    let text = fs::read_to_string(dir.join("told")).ok()?;
    fs::remove_file(dir.join("told")).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// A kubeconfig with one context for a cluster and a user with these keys.
fn one(cluster: &str, user: &str) -> String {
    let context = "current-context: prod\ncontexts: [{name: prod, context: {cluster: c, user: u}}]";
    format!("kind: Config\n{context}\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n")
}

const OWN: &str = "server: \"https://@own\", certificate-authority-data: @CA";
const NAMED: &str = "server: \"https://@named\", tls-server-name: k.example, certificate-authority-data: @CA";
const V1: &str = "apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, command: ./plugin";
const V1BETA1: &str = "apiVersion: client.authentication.k8s.io/v1beta1, command: ./plugin";

#[tokio::test]
#[ignore = "needs kubectl"]
async fn servers_and_users_are_those_of_kubectl() {
    let Some(bed) = Bed::new() else { return };
    for (name, cluster, user, arrives) in [
        ("a token", OWN, "token: t", true),
        ("a login", OWN, "username: bob, password: \"p:w\"", true),
        ("a name without a password", OWN, "username: bob", true),
        ("a token's file", OWN, "tokenFile: token", true),
        ("a token and its file", OWN, "token: t, tokenFile: token", true),
        ("a token and no file", OWN, "token: t, tokenFile: nowhere", true),
        ("no token's file", OWN, "tokenFile: nowhere", false),
        (
            "empty values",
            "server: \"https://@own\", certificate-authority-data: @CA, tls-server-name: \"\", proxy-url: \"\", certificate-authority: \"\"",
            "token: t, tokenFile: \"\", username: \"\", client-certificate: \"\", as: \"\"",
            true,
        ),
        ("a login and a token", OWN, "username: bob, password: p, token: t", false),
        ("a login and a token's file", OWN, "username: bob, password: p, tokenFile: token", false),
        ("impersonation", OWN, "token: t, as: carol, as-uid: x1, as-groups: [g2, g1], as-user-extra: {Reason: [a, b]}", true),
        ("groups without a user", OWN, "token: t, as-groups: [g]", false),
        ("a certificate without its key", OWN, "client-certificate: ca.crt", false),
        ("a server without a scheme", "server: \"@own\", certificate-authority-data: @CA", "token: t", false),
        ("plain http on loopback, which is told nothing", "server: \"http://@plain\"", "token: t", true),
        ("plain http without a scheme", "server: \"@plain\"", "username: bob, password: p, as: carol", true),
        ("a name of its certificate", "server: \"https://@named\", tls-server-name: k.example, certificate-authority: ca.crt", "token: t", true),
        ("the CA's data and its file", "server: \"https://@own\", certificate-authority: token, certificate-authority-data: @CA", "token: t", false),
        ("no CA's file", "server: \"https://@own\", certificate-authority: nowhere", "token: t", false),
        ("a CA's file without a certificate", "server: \"https://@own\", certificate-authority: token", "token: t", false),
        ("no CA", "server: \"https://@named\", tls-server-name: k.example", "token: t", false),
        ("another name", "server: \"https://@named\", certificate-authority-data: @CA", "token: t", false),
    ] {
        bed.check(name, &[("config", one(cluster, user))], "", arrives).await;
    }
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn files_are_merged_as_kubectl_merges_them() {
    let Some(bed) = Bed::new() else { return };
    let token = || one(OWN, "token: t");
    let json = r#"{"current-context":"x","clusters":[{"name":"c","cluster":{"server":"https://@own","certificate-authority-data":"@CA"}}],"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{"token":"t"}}],"extensions":null}"#;
    let lines = bed.fill("@CA").as_bytes().chunks(64).map(|line| format!("      {}\n", std::str::from_utf8(line).unwrap())).collect::<String>();
    let block = format!(
        "current-context: x\nclusters:\n- name: c\n  cluster:\n    server: https://@own\n    certificate-authority-data: |\n{lines}contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    for (name, files, arrives) in [
        ("JSON", vec![("a", json.to_string())], true),
        ("data of several lines", vec![("a", block)], true),
        ("paths relative to the file", vec![("sub/a", one("server: \"https://@own\", certificate-authority: ../ca.crt", "tokenFile: ../token"))], true),
        ("the first of a name, as a whole", vec![("a", one(OWN, "token: t")), ("b", one(NAMED, "username: bob, password: p, as: carol"))], true),
        ("the other way around", vec![("b", one(NAMED, "token: s, as: carol")), ("a", one(OWN, "token: t"))], true),
        ("files that are not there", vec![("none", String::new()), ("a", token()), ("none", String::new())], true),
        ("no file at all", vec![("none", String::new())], false),
        ("an empty file", vec![("a", String::new()), ("b", token())], true),
        (
            "the first current-context that is one",
            vec![("a", "current-context: \"\"\n".into()), ("b", one(NAMED, "token: s")), ("c", "current-context: none\n".into())],
            true,
        ),
        (
            "a context of one file, its cluster and user of others",
            vec![("a", "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n".into()), ("b", one(OWN, "token: t"))],
            true,
        ),
        ("a context that is not there", vec![("a", token().replace("current-context: prod", "current-context: x"))], false),
        ("a user that is not there", vec![("a", token().replace("user: u}", "user: v}"))], false),
        ("a cluster that is not there", vec![("a", token().replace("cluster: c,", "cluster: d,"))], false),
        ("a name twice", vec![("a", token().replace("users: [", "users: [{name: x}, {name: x}, "))], false),
        ("another kind", vec![("a", token().replace("Config", "Secret"))], false),
        ("no YAML", vec![("a", token()), ("b", "token: [x\n".into())], false),
    ] {
        bed.check(name, &files, "", arrives).await;
    }
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn plugins_are_run_as_kubectl_runs_them() {
    let Some(bed) = Bed::new() else { return };
    let tells =
        |version: &str, status: &str| format!("echo '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/{version}\"{status}}}'");
    let token = r#","status":{"token":"told'$FROM$1'"}"#;
    let informed = "server: \"https://@named\", tls-server-name: k.example, certificate-authority: ca.crt, extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: x}}]";
    for (name, cluster, user, plugin, arrives) in [
        ("a plugin", OWN, format!("exec: {{{V1}}}"), tells("v1", token), true),
        ("its variables and arguments", OWN, format!("exec: {{{V1BETA1}, args: [one], env: [{{name: FROM, value: env}}]}}"), tells("v1beta1", token), true),
        ("one that is told of the cluster", informed, format!("exec: {{{V1}, provideClusterInfo: true}}"), tells("v1", token), true),
        ("one that is told of less", OWN, format!("exec: {{{V1BETA1}, provideClusterInfo: true}}"), tells("v1beta1", token), true),
        (
            "one that prints YAML",
            OWN,
            format!("exec: {{{V1}}}"),
            "printf 'kind: ExecCredential\\napiVersion: client.authentication.k8s.io/v1\\nstatus: {token: told}\\n'".into(),
            true,
        ),
        (
            "one whose token has ended",
            OWN,
            format!("exec: {{{V1}}}"),
            tells("v1", r#","status":{"token":"old","expirationTimestamp":"2001-01-01T00:00:00Z"}"#),
            true,
        ),
        ("beside a token", OWN, format!("token: t, exec: {{{V1}}}"), tells("v1", token), true),
        ("beside a login", OWN, format!("username: bob, exec: {{{V1}}}"), tells("v1", token), true),
        ("over plain http", "server: \"http://@plain\"", format!("exec: {{{V1}}}"), tells("v1", token), true),
        ("as somebody else", OWN, format!("as: carol, exec: {{{V1}}}"), tells("v1", token), true),
        ("one of another version", OWN, format!("exec: {{{V1}}}"), tells("v1beta1", token), false),
        ("an old version", OWN, "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: ./plugin}".into(), tells("v1alpha1", token), false),
        ("no interactiveMode", OWN, "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin}".into(), tells("v1", token), false),
        ("one for people only", OWN, format!("exec: {{{}}}", V1.replace("IfAvailable", "Always")), tells("v1", token), false),
        ("never for people", OWN, format!("exec: {{{}}}", V1.replace("IfAvailable", "Never")), tells("v1", token), true),
        ("one that fails", OWN, format!("exec: {{{V1}}}"), "exit 1".into(), false),
        ("one that tells nothing", OWN, format!("exec: {{{V1}}}"), tells("v1", r#","status":{}"#), false),
        ("one without status", OWN, format!("exec: {{{V1}}}"), tells("v1", ""), false),
        ("one that is not there", OWN, format!("exec: {{{}}}", V1.replace("./plugin", "./nowhere")), String::new(), false),
        ("a half certificate", OWN, format!("exec: {{{V1}}}"), tells("v1", r#","status":{"token":"t","clientKeyData":"x"}"#), false),
    ] {
        bed.check(name, &[("config", one(cluster, &user))], &plugin, arrives).await;
    }
    let above = format!("exec: {{{}}}", V1.replace("./plugin", "../plugin"));
    bed.check("a path relative to the file", &[("sub/config", one(OWN, &above))], &tells("v1", token), true).await;
}
