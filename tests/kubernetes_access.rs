//! Clusters as they are reached: kubeconfigs, credentials, proxies, and what becomes of a request when something breaks.

#[path = "common/registry.rs"]
mod registry;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::{Ca, Proxy, Reply, Server, http};
use regprov::kubernetes::leftover::everywhere;
use regprov::kubernetes::{Answer, Cluster, Kubeconfigs, Method, Request, Timeouts, Trouble, cluster_wide};
use regprov::model::{PullSecret, Stage};
use zeroize::Zeroizing;

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), request: Duration::from_secs(4) };

/// A folder for kubeconfigs and plugins.
struct Bed(tempfile::TempDir);

impl Bed {
    fn new() -> Bed {
        Bed(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A kubeconfig with the context `prod` for a cluster and a user with these keys.
    fn kubeconfig(&self, cluster: &str, user: &str) -> PathBuf {
        let contexts = "contexts:\n- {name: prod, context: {cluster: c, user: u}}\n";
        let content = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: prod\nclusters:\n- {{name: c, cluster: {{{cluster}}}}}\n{contexts}users:\n- {{name: u, user: {{{user}}}}}\n"
        );
        self.file("config", &content, 0o600)
    }

    /// A program, and the key of a kubeconfig's user that names it. What it counts stands in the file `runs`.
    fn plugin(&self, script: &str) -> String {
        let dir = self.0.path().display();
        self.file("plugin", &format!("#!/bin/sh\ncd {dir}\necho run >> runs\n{script}\n"), 0o700);
        "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: ./plugin, args: [one, two]}".to_string()
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.0.path().join("runs")).unwrap_or_default().lines().count()
    }
}

async fn open(file: &Path) -> Cluster {
    Kubeconfigs::read(Some(file)).unwrap().open("prod", TIMEOUTS).await.unwrap_or_else(|e| panic!("{e}"))
}

/// Why a kubeconfig is refused.
async fn refused(file: &Path, context: &str) -> String {
    let error = match Kubeconfigs::read(Some(file)) {
        Ok(all) => all.open(context, TIMEOUTS).await.err().expect("it is refused"),
        Err(e) => e,
    };
    assert_eq!(error.kind.exit_code(), 2, "{error}");
    error.to_string()
}

fn get() -> Request {
    Request::new(Stage::Observe, Method::Get, "/api/v1/namespaces/a/secrets/regcred")
}

fn patch(query: &str) -> Request {
    let path = format!("/api/v1/namespaces/a/secrets/regcred?fieldManager=regprov{query}");
    Request::new(Stage::Replace, Method::Patch, path).content("application/apply-patch+yaml", Zeroizing::new(b"{}".to_vec()))
}

/// The CA of all servers that are not about CAs.
fn ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(|| Ca::new("ours"))
}

/// An API server that answers so.
fn serve(answer: impl Fn(&registry::Request, u16) -> Reply + Send + Sync + 'static) -> Server {
    Server::start("127.0.0.1", Some(ca().server("127.0.0.1", false)), answer)
}

fn known(port: u16) -> String {
    secure(port, ca())
}

fn secure(port: u16, ca: &Ca) -> String {
    format!("server: \"https://127.0.0.1:{port}\", certificate-authority-data: {}", STANDARD.encode(&ca.pem))
}

fn told(answer: Result<Answer, Trouble>) -> String {
    match answer {
        Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
        Err(Trouble::Unreachable(stage, why)) => format!("unreachable {stage}: {why}"),
        Err(Trouble::Failed(stage, why)) => format!("failed {stage}: {why}"),
        Err(Trouble::Unknown(stage, why)) => format!("unknown {stage}: {why}"),
    }
}

/// What a request comes to, twice, since equal states give equal words; `{}` stands for the server as it is shown.
#[track_caller]
fn check_same(first: String, second: String, port: u16, want: &str) {
    let want = want.replace("{}", &format!("the API server of context `prod` (127.0.0.1:{port})"));
    assert_eq!(first, want);
    assert_eq!(second, want, "the second time");
}

#[tokio::test]
async fn what_breaks_a_connection_is_told() {
    let (ours, theirs) = (Ca::new("ours"), Ca::new("theirs"));
    let ok = |_: &registry::Request, _: u16| http("200 OK", "known");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let good = Server::start("127.0.0.1", Some(ours.server("127.0.0.1", false)), ok);
    let other = Server::start("127.0.0.1", Some(theirs.server("127.0.0.1", false)), ok);
    let named = Server::start("127.0.0.1", Some(ours.server("k.example", false)), ok);
    let expired = Server::start("127.0.0.1", Some(ours.server("127.0.0.1", true)), ok);
    let without = Server::start("127.0.0.1", None, ok);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for (port, cluster, want) in [
        (good.port, secure(good.port, &ours), "200 known"),
        (closed, secure(closed, &ours), "unreachable connect: {} refuses connections: is it running, and is the port right?"),
        (
            other.port,
            secure(other.port, &ours),
            "unreachable handshake: {} shows a certificate of a CA that is not trusted: `certificate-authority-data` of the cluster names the CA, without it those of the system count",
        ),
        (
            named.port,
            secure(named.port, &ours),
            "unreachable handshake: {} shows a certificate for another name: use a name that it has, or set `tls-server-name` of the cluster",
        ),
        (named.port, format!("{}, tls-server-name: k.example", secure(named.port, &ours)), "200 known"),
        (expired.port, secure(expired.port, &ours), "unreachable handshake: {} shows a certificate that has expired"),
        (without.port, secure(without.port, &ours), "unreachable handshake: {} speaks no TLS"),
        (silent_port, secure(silent_port, &ours), "unreachable connect: {} did not take the connection in time"),
    ] {
        let bed = Bed::new();
        let file = bed.kubeconfig(&cluster, "token: t");
        let (first, second) = (told(open(&file).await.send(&get()).await), told(open(&file).await.send(&get()).await));
        check_same(first, second, port, want);
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told() {
    let bed = Bed::new();
    let file = bed.kubeconfig("server: \"https://k.invalid:6443\"", "token: t");
    let said = told(open(&file).await.send(&get()).await);
    assert_eq!(said, "unreachable resolve: the API server of context `prod` (k.invalid:6443) is not found: nobody knows its name");
}

#[tokio::test]
async fn what_breaks_an_answer_is_told_and_a_change_that_may_be_heard_is_unknown() {
    let unknown = "; whether it wrote what was sent is not known: run the command again";
    let cut = "{} closed the connection before it had answered";
    type Answers = fn() -> Reply;
    let cases: [(Answers, usize, &str); 4] = [
        (|| Reply::Raw(Vec::new()), 4, cut),
        (|| Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_vec()), 4, cut),
        (|| Reply::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), 1, "{} answers with something else than HTTP"),
        (|| Reply::Nothing, 1, "{} did not answer in time"),
    ];
    for (answer, attempts, what) in cases {
        for (request, want) in [
            (get as fn() -> Request, format!("unreachable observe: {what}")),
            (|| patch(""), format!("unknown replace: {what}{unknown}")),
            (|| patch("").dry_run(true), format!("unreachable replace: {what}")),
        ] {
            let server = serve(move |_, _| answer());
            let bed = Bed::new();
            let cluster = open(&bed.kubeconfig(&known(server.port), "token: t")).await;
            let said = told(cluster.send(&request()).await);
            assert_eq!(said, want.replace("{}", &format!("the API server of context `prod` (127.0.0.1:{})", server.port)));
            assert_eq!(server.seen().len(), attempts, "{said}");
        }
    }
    let server = serve(|_, _| Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), b"x".repeat(64)));
    let bed = Bed::new();
    let said = told(open(&bed.kubeconfig(&known(server.port), "token: t")).await.send(&get()).await);
    assert!(said.ends_with("answers with more than 16 MiB"), "{said}");
}

/// A server that answers with these one after the other, the last one from then on.
fn in_turn(answers: Vec<fn() -> Reply>) -> Server {
    let at = AtomicUsize::new(0);
    serve(move |_, _| answers[at.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)]())
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let ok: fn() -> Reply = || http("200 OK", "done");
    let cut: fn() -> Reply = || Reply::Raw(Vec::new());
    let busy: fn() -> Reply = || http("429 Too Many Requests\r\nRetry-After: 1", "busy");
    let broken: fn() -> Reply = || http("500 Internal Server Error", "broken");
    type Answers = Vec<fn() -> Reply>;
    let cases: [(&str, Answers, usize, &str); 7] = [
        ("cut off twice", vec![cut, cut, ok], 3, "200 done"),
        ("put off", vec![busy, ok], 2, "200 done"),
        ("put off without saying how long", vec![|| http("429 Too Many Requests", ""), ok], 2, "200 done"),
        ("in maintenance", vec![|| http("503 Service Unavailable\r\nRetry-After: 0", ""), ok], 2, "200 done"),
        ("put off without end", vec![|| http("429 Too Many Requests\r\nRetry-After: 0", "busy")], 4, "429 busy"),
        ("put off for an hour", vec![|| http("429 Too Many Requests\r\nRetry-After: 3600", "busy")], 1, "429 busy"),
        ("broken", vec![broken, ok], 1, "500 broken"),
    ];
    for (name, answers, attempts, want) in cases {
        let server = in_turn(answers);
        let bed = Bed::new();
        let cluster = open(&bed.kubeconfig(&known(server.port), "token: t")).await;
        let start = Instant::now();
        assert_eq!(told(cluster.send(&patch("")).await), want, "{name}");
        assert_eq!(server.seen().len(), attempts, "{name}");
        assert!(server.seen().iter().all(|r| r.body == "{}" && r.header("content-type") == Some("application/apply-patch+yaml")), "{name}");
        assert!(name != "put off" || start.elapsed() >= Duration::from_secs(1), "{name}: it was not waited as long as it asked");
    }
}

#[tokio::test]
async fn a_server_s_path_stays_before_every_request() {
    let (bed, server) = (Bed::new(), serve(|_, _| http("200 OK", "known")));
    for path in ["/k8s/clusters/c-1", "/k8s/clusters/c-1/"] {
        let file = bed.kubeconfig(&known(server.port).replace(&server.port.to_string(), &format!("{}{path}", server.port)), "token: t");
        assert_eq!(told(open(&file).await.send(&get()).await), "200 known");
    }
    assert!(server.seen().iter().all(|r| r.path == "/k8s/clusters/c-1/api/v1/namespaces/a/secrets/regcred"));
}

/// What a server that takes only such a token answers.
fn only(token: &'static str) -> impl Fn(&registry::Request, u16) -> Reply + Send + Sync {
    move |request, _| if request.bearer() == Some(token) { http("200 OK", "known") } else { http("401 Unauthorized", "{}") }
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_had_once_more() {
    let told_by = |bed: &Bed, user: String, server: &Server| {
        let file = bed.kubeconfig(&known(server.port), &user);
        async move { told(open(&file).await.send(&get()).await) }
    };
    let print = r#"printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t%s"}}' "$(wc -l < runs)""#;
    // The first is refused, the second accepted.
    let (bed, server) = (Bed::new(), serve(only("t2")));
    assert_eq!(told_by(&bed, bed.plugin(print), &server).await, "200 known");
    assert_eq!(bed.runs(), 2);
    // None is.
    let (bed, server) = (Bed::new(), serve(only("t9")));
    let said = told_by(&bed, bed.plugin(print), &server).await;
    assert!(
        said.starts_with("unreachable authenticate: ")
            && said.ends_with("does not accept what the credential plugin of user `u` gave (401), twice: log in with it anew"),
        "{said}"
    );
    assert_eq!((bed.runs(), server.seen().len()), (2, 2));
    // What stands in the kubeconfig cannot be had anew.
    let bed = Bed::new();
    let said = told_by(&bed, "token: t1".into(), &server).await;
    assert!(said.ends_with("does not accept the credentials of user `u` (401): they have expired, or belong to another cluster"), "{said}");
    // A file is read again.
    let (bed, server) = (Bed::new(), serve(only("new")));
    bed.file("token", "old\n", 0o600);
    let file = bed.kubeconfig(&known(server.port), "tokenFile: token");
    let cluster = open(&file).await;
    let said = told(cluster.send(&get()).await);
    assert!(said.ends_with("does not accept the token of user `u` (401), also when its file was read again"), "{said}");
    bed.file("token", "\tnew\n", 0o600);
    assert_eq!(told(cluster.send(&get()).await), "200 known");
}

#[tokio::test]
async fn a_plugin_runs_once_for_all_and_again_when_its_credentials_end() {
    let (bed, server) = (Bed::new(), serve(|_, _| http("200 OK", "known")));
    let status = r#""status":{"token":"t","expirationTimestamp":"'$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)'"}"#;
    let plugin = bed.plugin(&format!(r#"sleep 0.3; echo '{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",{status}}}'"#));
    let cluster = open(&bed.kubeconfig(&known(server.port), &plugin)).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let cluster = cluster.clone();
        all.spawn(async move { told(cluster.send(&get()).await) });
    }
    assert!(all.join_all().await.iter().all(|said| said == "200 known"));
    assert_eq!((bed.runs(), server.seen().len()), (1, 20));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(told(cluster.send(&get()).await), "200 known");
    assert_eq!(bed.runs(), 2);
}

#[tokio::test]
async fn a_plugin_that_fails_says_why_and_no_secret() {
    let credential = |status: &str| format!(r#"echo '{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"{status}}}'"#);
    for (script, want) in [
        ("echo first >&2; echo 'please log in' >&2; exit 3".to_string(), "`./plugin` failed (exit status: 3); it said: please log in"),
        ("echo 'bad token eyJhbGciOiJSUzI1NiIsImtpZCI6' >&2; exit 1".to_string(), "`./plugin` failed (exit status: 1)"),
        ("exit 1".to_string(), "`./plugin` failed (exit status: 1)"),
        ("kill -9 $$".to_string(), "`./plugin` failed (signal: 9 (SIGKILL))"),
        ("echo hidden-output".to_string(), "`./plugin` printed no ExecCredential"),
        ("echo '{\"kind\":\"Secret\"}'".to_string(), "`./plugin` printed no ExecCredential"),
        (credential("").replace("/v1\"", "/v1beta1\""), "`./plugin` answers in another apiVersion than the kubeconfig names"),
        (credential(""), "`./plugin` printed an ExecCredential without a status"),
        (credential(r#","status":{}"#), "`./plugin` gave neither a token nor a certificate"),
        (credential(r#","status":{"clientCertificateData":"x"}"#), "`./plugin` gave a certificate without its key, or a key without its certificate"),
        (credential(r#","status":{"token":"a\u0001b"}"#), "`./plugin` gave a token that no header can hold"),
        (credential(r#","status":{"token":"t","expirationTimestamp":"soon"}"#), "`./plugin` gave an expirationTimestamp that is no time"),
        ("yes | head -c 2000000".to_string(), "`./plugin` printed more than 1 MiB"),
    ] {
        let bed = Bed::new();
        let file = bed.kubeconfig("server: \"https://127.0.0.1:1\"", &bed.plugin(&script));
        let cluster = open(&file).await;
        let want = format!("unreachable authenticate: context `prod`: the credential plugin {want}");
        assert_eq!(told(cluster.send(&get()).await), want, "{script}");
        // One failure stands for the run.
        assert_eq!(told(cluster.send(&get()).await), want);
        assert_eq!(bed.runs(), 1, "{script}");
    }
    let bed = Bed::new();
    let user = "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: no-such-plugin, installHint: \"get it from\\nthe store\"}";
    let said = told(open(&bed.kubeconfig("server: \"https://127.0.0.1:1\"", user)).await.send(&get()).await);
    assert!(said.ends_with("`no-such-plugin` cannot be run: it is not in PATH; the kubeconfig says: get it from the store"), "{said}");
}

/// On one thread: a plugin that is waited for on it would stop the clock as well.
#[tokio::test]
async fn a_plugin_that_hangs_stops_nobody_and_is_ended_with_its_children() {
    let bed = Bed::new();
    let file = bed.kubeconfig("server: \"https://127.0.0.1:1\"", &bed.plugin("sleep 300 & echo $! > child; wait"));
    let timeouts = Timeouts { request: Duration::from_secs(2), ..TIMEOUTS };
    let cluster = Kubeconfigs::read(Some(&file)).unwrap().open("prod", timeouts).await.unwrap();
    let mut ticks = 0;
    let start = Instant::now();
    let request = get();
    let said = {
        let send = cluster.send(&request);
        tokio::pin!(send);
        loop {
            tokio::select! {
                said = &mut send => break told(said),
                () = tokio::time::sleep(Duration::from_millis(50)) => ticks += 1,
            }
        }
    };
    assert!(said.ends_with("the credential plugin `./plugin` did not end in time; does it wait for somebody? Log in with it, then run this again"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(4) && ticks > 20, "{ticks} ticks in {:?}", start.elapsed());
    let child = fs::read_to_string(bed.0.path().join("child")).unwrap();
    assert!(ends(&child), "the plugin's child still runs");
}

/// Whether a process is gone within a second.
fn ends(pid: &str) -> bool {
    let runs = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "));
    (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        !runs()
    })
}

#[test]
fn a_plugin_does_not_outlive_a_run_that_is_ended_by_a_signal() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let bed = Bed::new();
        bed.kubeconfig("server: \"https://127.0.0.1:1\"", &bed.plugin("echo $$ > pid.new; mv pid.new pid; exec sleep 300"));
        let inventory = "version: 1\nid: a\nlogins:\n  hub: {registry: docker.io, username: alice, password: hidden}\n\
                         kubernetes:\n  a: {context: prod, namespace_selector: team=ml, logins: [hub]}\n";
        bed.file("inventory.yml", inventory, 0o600);
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_regprov"));
        run.args(["apply", "inventory.yml", "--check", "--allow-plaintext", "--kubeconfig", "config", "--only", "kubernetes"]).current_dir(bed.0.path());
        run.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", bed.0.path()).stdin(std::process::Stdio::null());
        let log = || fs::OpenOptions::new().create(true).append(true).open(bed.0.path().join("log")).unwrap();
        let mut run = run.stdout(log()).stderr(log()).spawn().unwrap();
        let start = Instant::now();
        let plugin = loop {
            match fs::read_to_string(bed.0.path().join("pid")) {
                Ok(pid) => break pid,
                Err(_) => assert!(start.elapsed() < Duration::from_secs(20), "{}", fs::read_to_string(bed.0.path().join("log")).unwrap()),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(!ends(&plugin), "as a control: it runs as long as it may");
        kill_process(Pid::from_child(&run), signal).unwrap();
        run.wait().unwrap();
        assert!(ends(&plugin), "{signal:?}: the plugin still runs");
    }
}

#[tokio::test]
async fn kubeconfigs_that_must_not_be_used_are_refused_with_the_way_out() {
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: p}";
    let https = "server: \"https://k.example:6443\"";
    for (cluster, user, want) in [
        ("", "token: t", "has no `server`"),
        ("server: \"http://k.example:8080\"", "token: t", "is plain http: registry passwords would go over the network in the clear\n  hint: write https://"),
        ("server: \"k.example:8080\"", "token: t", "is plain http"),
        (
            "server: \"http://127.0.0.1:8001\", proxy-url: \"http://bob:hidden@p:3128\"",
            "token: t",
            "is plain http behind a proxy: registry passwords would go to the proxy in the clear\n  hint: take `proxy-url` out",
        ),
        ("server: \"localhost:8001\", proxy-url: \"socks5://127.0.0.1:1\"", "token: t", "is plain http behind a proxy"),
        ("server: \"ftp://k.example\"", "token: t", "is no URL with https"),
        ("server: \"https://bob:hidden@k.example\"", "token: t", "is no URL such as"),
        (
            "server: \"https://k.example\", insecure-skip-tls-verify: true",
            "token: t",
            "has `insecure-skip-tls-verify`: registry passwords would go to whoever answers there\n  hint: take it out",
        ),
        ("server: \"https://k.example\", certificate-authority: nowhere.crt", "token: t", "nowhere.crt) cannot be read: there is no such file"),
        ("server: \"https://k.example\", certificate-authority-data: \"!\"", "token: t", "`certificate-authority-data` of cluster `c`"),
        ("server: \"https://k.example\", certificate-authority-data: aGlkZGVu", "token: t", "holds no certificate"),
        ("server: \"https://k.example\", proxy-url: \"ftp://bob:hidden@p\"", "token: t", "is no URL with http, https or socks5"),
        (https, "auth-provider: {name: gcp}", "has an `auth-provider`, which Kubernetes took away with 1.26\n  hint: use the exec plugin"),
        (https, "username: bob, password: hidden, token: hidden", "has a `username` and a token"),
        (https, "password: hidden", "has a `password` and no `username`"),
        (https, "tokenFile: nowhere", "nowhere) cannot be read: there is no such file"),
        (https, "client-certificate-data: aGlkZGVu", "has a `client-certificate` and no `client-key`"),
        (https, "client-certificate-data: aGlkZGVu, client-key-data: aGlkZGVu", "cannot be used: `client-key` holds no private key in the clear"),
        (https, "as-groups: [admins], token: t", "impersonates groups, a uid or extra fields, and no user"),
        (https, "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: p}", "v1alpha1 is gone since kubectl 1.24"),
        (https, "exec: {apiVersion: client.authentication.k8s.io/v1, command: p}", "has no `interactiveMode`, which v1 needs"),
        (https, "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}", "names no `command`"),
        (https, "token: [hidden", "cannot be understood"),
    ] {
        let bed = Bed::new();
        let said = refused(&bed.kubeconfig(cluster, user), "prod").await;
        assert!(said.contains(want), "{cluster} {user}: {said}");
        assert!(!said.contains("hidden") && !said.contains("aGlkZGVu"), "{said}");
    }
    let bed = Bed::new();
    let file = bed.kubeconfig(https, "token: t");
    assert!(refused(&file, "prodd").await.contains("there is no context `prodd` in "));
    assert!(refused(&file, "prodd").await.ends_with("did you mean `prod`?"));
    assert!(refused(&file, "staging").await.ends_with("there are: prod"));
    assert!(refused(&bed.0.path().join("none"), "prod").await.ends_with("none cannot be read: there is no such file"));
    for (text, want) in [
        ("kind: Secret\n", "is no kubeconfig: its kind is not `Config`"),
        ("clusters: [{name: a}, {name: a}]\n", "has two clusters of the name `a`"),
        (
            "contexts: [{name: prod, context: {cluster: c, user: nobody}}]\nclusters: [{name: c, cluster: {server: \"https://k\"}}]\n",
            "names the user `nobody`, which no kubeconfig has",
        ),
        ("contexts: [{name: prod, context: {cluster: c, user: nobody}}]\n", "names the cluster `c`, which no kubeconfig has"),
    ] {
        let said = refused(&bed.file("other", text, 0o600), "prod").await;
        assert!(said.contains(want), "{said}");
    }
    // Who can write it can have anything run; a control each.
    for (name, mode, folder, want) in [
        ("config", 0o600, 0o700, None),
        ("config", 0o660, 0o700, Some("its group can write")),
        ("config", 0o602, 0o700, Some("everybody can write")),
        ("config", 0o600, 0o777, Some("everybody can write")),
    ] {
        let bed = Bed::new();
        let file = bed.kubeconfig(https, exec);
        fs::set_permissions(bed.0.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(bed.0.path(), fs::Permissions::from_mode(folder)).unwrap();
        match want {
            None => drop(open(&file).await),
            Some(want) => {
                let said = refused(&file, "prod").await;
                assert!(said.contains("names a program to run, and ") && said.contains(want) && said.contains("hint: chmod go-w "), "{said}");
            }
        }
    }
    // So can who can write where a link to it stands, or a link on the way; a control each.
    for (named, mode, refuses) in [
        ("open/kc", 0o755, false),
        ("open/kc", 0o777, true),
        ("open/kc", 0o1777, false),
        ("open/folder/config", 0o777, true),
        ("first", 0o777, true),
        ("first", 0o755, false),
    ] {
        let bed = Bed::new();
        let at = |name: &str| bed.0.path().join(name);
        for folder in ["open", "priv"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::rename(bed.kubeconfig(https, exec), at("priv/config")).unwrap();
        for (to, link) in [("../priv/config", "open/kc"), ("../priv", "open/folder"), ("open/kc", "first")] {
            std::os::unix::fs::symlink(to, at(link)).unwrap();
        }
        fs::set_permissions(at("open"), fs::Permissions::from_mode(mode)).unwrap();
        let all = Kubeconfigs::read(Some(&at(named))).unwrap();
        let notes = all.notes().collect::<String>();
        assert_eq!(all.open("prod", TIMEOUTS).await.is_err(), refuses, "{named} {mode:o}: {notes}");
        if refuses {
            let folder = at("open").display().to_string();
            let said = refused(&at(named), "prod").await;
            assert!(said.contains("everybody can write ") && said.ends_with(&format!("hint: chmod go-w {folder}")), "{said}");
            assert!(notes.ends_with(&format!("sent to a server of theirs; chmod go-w {folder}")), "{notes}");
        } else {
            assert_eq!(notes, "");
        }
    }
    // What others may read is told, and used.
    for (user, mode, want) in [
        ("token: t", 0o644, "others can read it (mode 0644); chmod 600"),
        ("token: t", 0o664, "its group can write"),
        ("token: t", 0o600, ""),
        (exec, 0o644, ""),
    ] {
        let bed = Bed::new();
        let file = bed.kubeconfig(https, user);
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let all = Kubeconfigs::read(Some(&file)).unwrap();
        let notes = all.notes().collect::<String>();
        assert!(notes.contains(want) && notes.is_empty() == want.is_empty(), "{notes}");
        assert!(all.open("prod", TIMEOUTS).await.is_ok());
    }
}

#[tokio::test]
async fn a_proxy_stands_before_the_server() {
    let ca = Ca::new("ours");
    let server = Server::start("127.0.0.1", Some(ca.server("k.example", false)), |_, _| http("200 OK", "there"));
    let cluster = |proxy: &str| format!("server: \"https://k.example:6443\", certificate-authority-data: {}, proxy-url: \"{proxy}\"", STANDARD.encode(&ca.pem));
    let (bed, proxy) = (Bed::new(), Proxy::start(Some(server.port)));
    let file = bed.kubeconfig(&cluster(&format!("http://bob:p%40ss@127.0.0.1:{}", proxy.port)), "token: hidden-token");
    assert_eq!(told(open(&file).await.send(&get()).await), "200 there");
    let head = proxy.told();
    let login = format!("basic {}", STANDARD.encode("bob:p@ss"));
    assert!(head.starts_with("CONNECT k.example:6443 ") && head.to_lowercase().contains(&login.to_lowercase()), "{head}");
    assert!(!head.contains("hidden-token"));
    let closed = Proxy::start(None);
    let file = bed.kubeconfig(&cluster(&format!("http://bob:hidden@127.0.0.1:{}", closed.port)), "token: t");
    let said = told(open(&file).await.send(&get()).await);
    assert_eq!(said, "unreachable connect: the API server of context `prod` (k.example:6443) is behind a proxy that does not connect to it");
}

/// A list of namespaces as the server has it; `-name` is going.
fn page(names: &[&str], more: &str) -> String {
    let one = |name: &&str| match name.strip_prefix('-') {
        Some(name) => format!("{{\"metadata\":{{\"name\":\"{name}\",\"deletionTimestamp\":\"2027-01-01T00:00:00Z\"}}}}"),
        None => format!("{{\"metadata\":{{\"name\":\"{name}\"}}}}"),
    };
    format!("{{\"metadata\":{{\"continue\":\"{more}\"}},\"items\":[{}]}}", names.iter().map(one).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn a_selector_s_namespaces_come_in_pages() {
    let cut = AtomicUsize::new(0);
    let server = serve(move |request, _| match request.path.split_once("&continue=").map(|(_, more)| more) {
        None if request.path == "/api/v1/namespaces?labelSelector=team%20in%20%28ml%2Cx%29&limit=500" => http("200 OK", page(&["zeta", "-going"], "a/b=")),
        // The first time it has expired.
        Some("a%2Fb%3D") if cut.fetch_add(1, Ordering::SeqCst) == 0 => http("410 Gone", "{}"),
        Some("a%2Fb%3D") => http("200 OK", page(&["beta", "alpha"], "")),
        _ => http("404 Not Found", "{}"),
    });
    let bed = Bed::new();
    let cluster = open(&bed.kubeconfig(&known(server.port), "token: t")).await;
    assert_eq!(cluster.select("team in (ml,x)").await.unwrap(), ["alpha", "beta", "zeta"]);
    assert_eq!(server.seen().len(), 4);
    for (head, body, requests, want) in [
        ("200 OK", page(&["a"], "again"), 200, "lists more than 20000 namespaces or 64 MiB, or does not come to an end"),
        // One entry too many; pages that are large.
        ("200 OK", page(&vec!["a"; 20_001], ""), 1, "lists more than 20000 namespaces or 64 MiB, or does not come to an end"),
        (
            "200 OK",
            page(&["a"], "again").replacen('{', &format!("{{\"more\":\"{}\",", "m".repeat(15 << 20)), 1),
            5,
            "lists more than 20000 namespaces or 64 MiB, or does not come to an end",
        ),
        ("200 OK", page(&["a", "b/../hidden"], ""), 1, "answers with a name that Kubernetes does not allow"),
        ("200 OK", page(&["a", "-Hidden"], ""), 1, "answers with a name that Kubernetes does not allow"),
        ("200 OK", page(&["hidden.b"], ""), 1, "answers with a name that Kubernetes does not allow"),
        ("200 OK", page(&[""], ""), 1, "answers with a name that Kubernetes does not allow"),
        ("200 OK", "<html>hidden".to_string(), 1, "answers with no list of namespaces"),
        ("302 Found", "hidden".to_string(), 1, "does not list namespaces (HTTP 302)"),
        ("400 Bad Request", "hidden".to_string(), 1, "takes `team=ml` for no selector of labels (400)"),
    ] {
        let server = serve(move |_, _| http(head, body.clone()));
        let all = Kubeconfigs::read(Some(&bed.kubeconfig(&known(server.port), "token: t"))).unwrap();
        let cluster = all.open("prod", Timeouts { request: Duration::from_secs(30), ..TIMEOUTS }).await.unwrap();
        match cluster.select("team=ml").await {
            Err(Trouble::Failed(Stage::Observe, why)) => assert!(why.ends_with(want), "{why}"),
            other => panic!("{head}: {other:?}"),
        }
        assert_eq!(server.seen().len(), requests, "{want}");
    }
}

#[tokio::test]
async fn a_list_s_pages_have_one_deadline() {
    let server = serve(|_, _| {
        std::thread::sleep(Duration::from_millis(150));
        http("200 OK", page(&["a"], "again"))
    });
    let bed = Bed::new();
    let file = bed.kubeconfig(&known(server.port), "token: t");
    let timeouts = Timeouts { request: Duration::from_secs(1), ..TIMEOUTS };
    let cluster = Kubeconfigs::read(Some(&file)).unwrap().open("prod", timeouts).await.unwrap();
    let start = Instant::now();
    let told = cluster.select("team=ml").await;
    // All 200 would take 30 s.
    assert!(matches!(&told, Err(Trouble::Failed(Stage::Observe, why)) if why.ends_with("or does not come to an end")), "{told:?}");
    assert!(start.elapsed() < Duration::from_secs(10) && server.seen().len() > 2, "{:?}", start.elapsed());
}

/// Secrets that a server lists as ours, by namespace and name.
fn secrets(all: &[(&str, &str)]) -> String {
    let one = |(namespace, name): &(&str, &str)| {
        format!("{{\"metadata\":{{\"namespace\":\"{namespace}\",\"name\":\"{name}\",\"annotations\":{{\"regprov/inventory\":\"default\"}}}}}}")
    };
    format!("{{\"metadata\":{{}},\"items\":[{}]}}", all.iter().map(one).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn secrets_are_listed_with_names_of_kubernetes_alone() {
    for (body, want) in [
        (secrets(&[("b", "reg.cred"), ("a", "regcred")]), Ok("a/regcred b/reg.cred")),
        (secrets(&[("a", "regcred"), ("a", "x/../../hidden")]), Err("answers with a name that Kubernetes does not allow")),
        (secrets(&[("a?hidden", "regcred")]), Err("answers with a name that Kubernetes does not allow")),
        (secrets(&[("", "regcred")]), Err("answers with no list of Secrets of regprov")),
    ] {
        let server = serve(move |request, _| match request.path.starts_with("/api/v1/secrets?") {
            true => http("200 OK", body.clone()),
            false => http("201 Created", "{\"status\":{\"allowed\":true}}"),
        });
        let bed = Bed::new();
        let cluster = open(&bed.kubeconfig(&known(server.port), "token: t")).await;
        let told = match everywhere(&cluster, "default").await {
            Ok(found) => Ok(found.unwrap().iter().map(|one| format!("{}/{}", one.namespace, one.name)).collect::<Vec<_>>().join(" ")),
            Err(Trouble::Failed(Stage::Observe, why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        };
        match want {
            Ok(names) => assert_eq!(told.as_deref(), Ok(names)),
            Err(end) => assert!(told.as_ref().is_err_and(|why| why.ends_with(end)), "{told:?}"),
        }
    }
}

#[tokio::test]
async fn what_runai_would_do_with_a_secret_is_told() {
    let secret = |value: Option<&str>| PullSecret {
        name: "regcred".into(),
        block: "runai".into(),
        logins: vec!["hub".into()],
        labels: value.map(|value| ("runai/cluster-wide".to_string(), value.to_string())).into_iter().collect(),
        annotations: std::collections::BTreeMap::new(),
        service_accounts: Vec::new(),
    };
    let setting = |value: &str| format!("{{\"kind\":\"RunaiConfig\",\"spec\":{{\"project-controller\":{{\"clusterWideSecret\":{value}}}}}}}");
    let unwritten = "{\"kind\":\"RunaiConfig\",\"spec\":{}}".to_string();
    let shown = "`spec.project-controller.clusterWideSecret` of RunaiConfig runai/runai";
    let seen = Some("true");
    for (head, body, label, namespace, want) in [
        ("200 OK", setting("true"), seen, "runai", String::new()),
        // It is on where nobody has written it.
        ("200 OK", unwritten.clone(), seen, "runai", String::new()),
        ("200 OK", setting("false"), seen, "runai", format!("Run:ai will not copy Secret regcred to its projects: {shown} is false")),
        ("200 OK", setting("\"no\""), seen, "runai", format!("cannot be seen: {shown} is neither true nor false")),
        (
            "403 Forbidden",
            String::new(),
            seen,
            "runai",
            "cannot be seen: we may not read its setting; add to a Role in namespace runai: {apiGroups: [run.ai]".into(),
        ),
        ("404 Not Found", String::new(), seen, "runai", "cannot be seen: this cluster has no RunaiConfig runai/runai".into()),
        ("500 Oh", String::new(), seen, "runai", "cannot be seen: its setting cannot be read (HTTP 500)".into()),
        ("401 No", String::new(), seen, "runai", "cannot be seen: the API server does not answer".into()),
        ("200 OK", unwritten.clone(), seen, "runai-team-a", "will not copy Secret regcred: it does so only in namespace runai".into()),
        ("200 OK", unwritten.clone(), Some("yes"), "runai", "its label runai/cluster-wide is \"yes\", and only \"true\" counts".into()),
        ("404 Not Found", String::new(), None, "runai", String::new()),
    ] {
        let server = serve(move |_, _| http(head, body.clone()));
        let bed = Bed::new();
        let cluster = open(&bed.kubeconfig(&known(server.port), "token: t")).await;
        let said = cluster_wide(&cluster, namespace, &secret(label)).await;
        assert!(said.is_none() == want.is_empty() && said.as_deref().unwrap_or_default().contains(&want), "{head}: {said:?}");
        assert!(server.seen().iter().all(|r| r.path == "/apis/run.ai/v1/namespaces/runai/runaiconfigs/runai"));
        assert_eq!(server.seen().is_empty(), label != seen || namespace != "runai");
    }
}

/// Everything that any library logs, at every level, while all kinds of requests go well and badly.
#[tokio::test]
async fn no_log_at_any_level_holds_what_was_sent_or_answered() {
    #[derive(Clone)]
    struct Buffer(std::sync::Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer(std::sync::Arc::default());
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let echo = |status: &'static str| move |request: &registry::Request, _: u16| http(status, format!("{{\"message\":\"{}\"}}", request.body));
    let bed = Bed::new();
    let plugin = bed.plugin(r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"hidden-plugin"}}'"#);
    for (server, user) in [
        (serve(echo("200 OK")), "token: hidden-token".to_string()),
        (serve(echo("409 Conflict")), "username: bob, password: hidden-password".to_string()),
        (serve(echo("500 Internal Server Error")), plugin),
        (serve(echo("401 Unauthorized")), "token: hidden-token".to_string()),
        (serve(|r, _| Reply::Raw(format!("hidden {}", r.body).into_bytes())), "token: hidden-token".to_string()),
        (serve(|_, _| Reply::Raw(Vec::new())), "token: hidden-token".to_string()),
    ] {
        let cluster = open(&bed.kubeconfig(&known(server.port), &user)).await;
        let request = Request::new(Stage::Replace, Method::Patch, "/api/v1/namespaces/a/secrets/regcred");
        let _ = cluster.send(&request.content("application/apply-patch+yaml", Zeroizing::new(b"data: hidden-body".to_vec()))).await;
        assert!(server.seen().iter().all(|r| r.body.contains("hidden-body")) && !server.seen().is_empty());
    }
    // As a control: it was listened to what the client does.
    tracing::trace!("marked {}", "hidden".len());
    let log = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("kube_client") && log.contains("hyper") && log.contains("marked 6"), "{log}");
    let encoded = STANDARD.encode("bob:hidden-password");
    for secret in ["hidden", "aGlkZGVu", encoded.as_str()] {
        assert!(!log.contains(secret), "{secret}:\n{log}");
    }
}
