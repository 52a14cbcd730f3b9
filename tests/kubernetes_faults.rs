//! Namespaces of an API server that misbehaves: it repeats what it was sent, is cut off before and after it wrote, changes objects under us,
//! comes late, or is none. Each object ends in its own row, in time, and no row holds anything of a password.

#[path = "common/registry.rs"]
mod registry;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::{Reply, Request, Server, http};
use regprov::format::kubernetes::document;
use regprov::kubernetes::apply::{Options, Wanted, before, bring, observe};
use regprov::kubernetes::remove::{Selection, prune, remove};
use regprov::kubernetes::{Cluster, Kubeconfigs, Timeouts};
use regprov::model::kubernetes::{PullSecret, Which};
use regprov::model::{HostRow, Login, Namespace, Registry, Secret, Username};
use serde_json::{Value, json};

const PASSWORD: &str = "planted-<One>&7-\"needle\"";
const PLAIN: Options = Options { check: false, force_conflicts: false, replace: false, prune: false };

/// The objects of one namespace, by `secrets/regcred`, and what goes wrong.
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    namespace: Value,
    faults: Vec<Fault>,
}

type Meanwhile = Box<dyn Fn(&mut State, &Request) + Send>;
/// `None` where the request is done as it should be.
type Answer = Box<dyn Fn(&Request) -> Option<Reply> + Send>;
type Mend = fn(&mut Value);

/// What becomes of the next requests of this method whose path ends so.
struct Fault {
    method: &'static str,
    path: &'static str,
    times: usize,
    /// What happens before; it may do what was asked.
    meanwhile: Meanwhile,
    reply: Answer,
}

/// An API server of one namespace, `team`. It keeps what a real one keeps as far as these tests look at it.
struct Fake {
    server: Server,
    state: Arc<Mutex<State>>,
    /// How many requests it had had when we said that something is sent.
    sent_at: AtomicUsize,
    sent: AtomicUsize,
}

impl Fake {
    fn start() -> Fake {
        let state = State { objects: BTreeMap::new(), version: 10, namespace: made(SystemTime::UNIX_EPOCH), faults: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let answers = state.clone();
        let server = Server::start("127.0.0.1", None, move |request, _| answer(&mut answers.lock().unwrap(), request));
        let fake = Fake { server, state, sent_at: AtomicUsize::new(usize::MAX), sent: AtomicUsize::new(0) };
        fake.put(
            "serviceaccounts/default",
            json!({"kind": "ServiceAccount", "apiVersion": "v1", "imagePullSecrets": [{"name": "others"}], "x": {"b": 1, "a": 2}}),
        );
        fake
    }

    fn put(&self, path: &str, object: Value) {
        store(&mut self.state.lock().unwrap(), path, object);
    }

    fn get(&self, path: &str) -> Value {
        self.state.lock().unwrap().objects.get(path).cloned().unwrap_or(Value::Null)
    }

    fn pull_secrets(&self) -> Vec<String> {
        self.get("serviceaccounts/default")["imagePullSecrets"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_string()).collect()
    }

    /// Answers so, without doing anything.
    fn refuse(&self, method: &'static str, path: &'static str, times: usize, reply: impl Fn(&Request) -> Reply + Send + 'static) {
        self.fault(method, path, times, |_, _| {}, move |request| Some(reply(request)));
    }

    fn fault(
        &self,
        method: &'static str,
        path: &'static str,
        times: usize,
        meanwhile: impl Fn(&mut State, &Request) + Send + 'static,
        reply: impl Fn(&Request) -> Option<Reply> + Send + 'static,
    ) {
        self.state.lock().unwrap().faults.push(Fault { method, path, times, meanwhile: Box::new(meanwhile), reply: Box::new(reply) });
    }

    /// What was asked, but for questions about rights: `PATCH secrets/regcred?dryRun=All`.
    fn asked(&self) -> Vec<String> {
        self.server
            .seen()
            .iter()
            .filter(|r| !r.path.ends_with("selfsubjectaccessreviews"))
            .map(|r| format!("{} {}", r.method, r.path.trim_start_matches("/api/v1/namespaces/team/")))
            .collect()
    }

    async fn cluster(&self) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "prod",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{}", self.server.port)}}],
            "contexts": [{"name": "prod", "context": {"cluster": "c", "user": ""}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        let timeouts = Timeouts { connect: Duration::from_secs(5), request: Duration::from_secs(5) };
        Kubeconfigs::read(Some(&file)).unwrap().open("prod", timeouts).await.unwrap()
    }

    async fn run(&self, wanted: &Wanted) -> HostRow {
        let cluster = self.cluster().await;
        match observe(&cluster, wanted).await {
            Ok(seen) => {
                let sent = || {
                    self.sent.fetch_add(1, Ordering::Relaxed);
                    self.sent_at.fetch_min(self.server.seen().len(), Ordering::Relaxed);
                };
                bring(&cluster, wanted, seen, &sent).await
            }
            Err(trouble) => before(&wanted.namespace, trouble.into()),
        }
    }
}

/// Takes everything out of the namespace again.
async fn take_out(fake: &Fake, check: bool) -> HostRow {
    let known = BTreeMap::new();
    let everything = Selection { logins: &[], known: &known, same: None };
    remove(&fake.cluster().await, &one(PLAIN).namespace, "site", everything, check, &|| {}).await
}

fn made(at: SystemTime) -> Value {
    let at = time::OffsetDateTime::from(at).format(&time::format_description::well_known::Rfc3339).unwrap();
    json!({"kind": "Namespace", "metadata": {"name": "team", "creationTimestamp": at}})
}

fn store(state: &mut State, path: &str, mut object: Value) -> Value {
    state.version += 1;
    object["metadata"]["resourceVersion"] = json!(state.version.to_string());
    object["metadata"]["uid"] = json!(format!("uid-{path}"));
    state.objects.insert(path.to_string(), object.clone());
    object
}

fn status(code: u16, reason: &str, message: &str, details: Value) -> Reply {
    http(
        format!("{code} X"),
        json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message, "details": details, "code": code}).to_string(),
    )
}

fn answer(state: &mut State, request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap();
    if let Some(at) = state.faults.iter().position(|f| f.times > 0 && f.method == request.method && path.ends_with(f.path)) {
        let mut fault = state.faults.remove(at);
        fault.times -= 1;
        (fault.meanwhile)(state, request);
        let reply = (fault.reply)(request);
        state.faults.insert(at, fault);
        if let Some(reply) = reply {
            return reply;
        }
    }
    done(state, request)
}

/// Does what is asked.
fn done(state: &mut State, request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap();
    if path.ends_with("selfsubjectaccessreviews") {
        return http("201 Created", json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": true}}).to_string());
    }
    let Some(path) = path.strip_prefix("/api/v1/namespaces/team") else { return status(404, "NotFound", "no", Value::Null) };
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return http("200 OK", state.namespace.to_string());
    }
    let body: Value = serde_json::from_str(&request.body).unwrap_or(Value::Null);
    let there = state.objects.get(path).cloned();
    // Options in the path of a deletion that has a body are not read.
    let dry = if request.method == "DELETE" { body["dryRun"] == json!(["All"]) } else { request.path.contains("dryRun=All") };
    let version = |of: &Value| of["metadata"]["resourceVersion"].clone();
    let stale = || status(409, "Conflict", "the object has been modified; please apply your changes to the latest version", json!({"name": path}));
    match (request.method.as_str(), there) {
        ("PATCH", there) => {
            if there.as_ref().is_some_and(|there| !version(&body).is_null() && version(&body) != version(there)) {
                return stale();
            }
            let keys = |value: &Value| value.as_object().into_iter().flatten().map(|(k, _)| (format!("f:{k}"), json!({}))).collect::<serde_json::Map<_, _>>();
            let mut object = body.clone();
            object["metadata"]["managedFields"] = json!([{"manager": "regprov", "operation": "Apply", "fieldsV1": {
                "f:type": {}, "f:data": keys(&body["data"]),
                "f:metadata": {"f:labels": keys(&body["metadata"]["labels"]), "f:annotations": keys(&body["metadata"]["annotations"])},
            }}]);
            let code = if there.is_some() { "200 OK" } else { "201 Created" };
            http(code, if dry { object.to_string() } else { store(state, path, object).to_string() })
        }
        ("POST", None) if path == "secrets" && dry && body["kind"] == "Secret" && body["metadata"]["generateName"].is_string() => {
            http("201 Created", body.to_string())
        }
        ("GET", None) if path == "secrets" => http("200 OK", json!({"kind": "PartialObjectMetadataList", "metadata": {}, "items": []}).to_string()),
        (_, None) => status(404, "NotFound", "not found", json!({"name": path, "kind": "objects"})),
        ("GET", Some(there)) => http("200 OK", there.to_string()),
        ("PUT", Some(there)) if version(&body) != version(&there) => stale(),
        ("PUT", Some(_)) => http("200 OK", if dry { body.to_string() } else { store(state, path, body).to_string() }),
        ("DELETE", Some(there)) if body["preconditions"]["resourceVersion"] != version(&there) || body["preconditions"]["uid"] != there["metadata"]["uid"] => {
            stale()
        }
        ("DELETE", Some(_)) => {
            if !dry {
                state.objects.remove(path);
            }
            http("200 OK", json!({"kind": "Status", "status": "Success"}).to_string())
        }
        _ => status(405, "MethodNotAllowed", "no", Value::Null),
    }
}

fn login(password: &str) -> Login {
    Login {
        name: "harbor".into(),
        registry: Registry::parse("harbor.example").unwrap().0,
        username: Username::parse("robot$x").unwrap(),
        password: Secret::new(password.to_string()),
        auth_hosts: Vec::new(),
        expires: None,
    }
}

fn wanted(secrets: &[(&str, &[&str])], options: Options) -> Wanted {
    let secret = |(name, accounts): &(&str, &[&str])| PullSecret {
        name: (*name).to_string(),
        block: "team".into(),
        logins: vec!["harbor".into()],
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        service_accounts: accounts.iter().map(ToString::to_string).collect(),
    };
    let documents = secrets.iter().map(|(name, _)| ((*name).to_string(), document(&[&login(PASSWORD)]))).collect();
    let secrets = secrets.iter().map(secret).collect();
    let namespace = Namespace { context: Some("prod".into()), which: Which::Named("team".into()), secrets, place: String::new(), selected: None };
    Wanted { namespace, documents, inventory_id: "site".into(), options }
}

fn one(options: Options) -> Wanted {
    wanted(&[("regcred", &["default"])], options)
}

/// Demands these words: the outcome, and each object with the beginning of its reason; and that nothing of the password is in them.
#[track_caller]
fn check(row: &HostRow, want: &[&str]) {
    let mut told = vec![match row.outcome.trouble() {
        Some((stage, why)) => format!("{} {stage}: {why}", row.outcome.name()),
        None => row.outcome.name().to_string(),
    }];
    told.extend(row.files.iter().map(|f| format!("{} {}: {}", f.path, f.change.name(), f.reason.as_deref().unwrap_or("-"))));
    assert!(told.len() == want.len() && told.iter().zip(want).all(|(got, want)| got.starts_with(want)), "{told:#?}\ninstead of\n{want:#?}");
    clean(row);
}

#[track_caller]
fn clean(row: &HostRow) {
    let all = format!("{row:?}");
    let data = STANDARD.encode(document(&[&login(PASSWORD)]));
    for needle in ["planted", "needle", "cGxhbnRlZ", &data[20..32]] {
        assert!(!all.contains(needle), "{needle}: {all}");
    }
}

const CUT: fn(&Request) -> Reply = |_| Reply::Raw(Vec::new());

/// The server of these tests does what it is asked when nothing goes wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_fault_all_is_written_once() {
    let fake = Fake::start();
    let before = fake.get("serviceaccounts/default");
    check(&fake.run(&one(PLAIN)).await, &["changed", "secret/regcred created: -", "serviceaccount/default updated: -"]);
    let after = fake.get("serviceaccounts/default");
    assert_eq!(fake.pull_secrets(), ["others", "regcred"]);
    assert_eq!((&after["x"].to_string(), &after["kind"]), (&before["x"].to_string(), &before["kind"]), "what nobody knows stays");
    assert_eq!(
        fake.asked(),
        [
            "GET secrets/regcred",
            "GET serviceaccounts/default",
            "GET secrets/regcred",
            "PATCH secrets/regcred?fieldManager=regprov",
            "PUT serviceaccounts/default?fieldManager=regprov",
        ]
    );
    let first = fake.server.seen().iter().position(|r| r.method == "PATCH").unwrap();
    assert_eq!((fake.sent.load(Ordering::Relaxed), fake.sent_at.load(Ordering::Relaxed)), (1, first), "it was said right before the first write");
    check(&fake.run(&one(PLAIN)).await, &["unchanged", "secret/regcred unchanged: -", "serviceaccount/default unchanged: -"]);
    assert_eq!((fake.asked().len(), fake.sent.load(Ordering::Relaxed)), (7, 1));

    // A dry run of everything says so in each request, and where a deletion's options are read.
    let check_all = Options { check: true, replace: true, force_conflicts: true, ..PLAIN };
    fake.put("secrets/regcred", json!({"kind": "Secret", "type": "Opaque", "metadata": {}}));
    fake.put("serviceaccounts/default", json!({"kind": "ServiceAccount"}));
    let objects = [fake.get("secrets/regcred"), fake.get("serviceaccounts/default")];
    check(&fake.run(&one(check_all)).await, &["changed", "secret/regcred updated: is deleted and made anew", "serviceaccount/default updated: -"]);
    assert_eq!([fake.get("secrets/regcred"), fake.get("serviceaccounts/default")], objects);
    assert_eq!(fake.sent.load(Ordering::Relaxed), 1, "nothing is sent that writes");
}

/// How a server repeats what it was sent.
fn echoes(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let data = body["data"][".dockerconfigjson"].as_str().unwrap_or_default().to_string();
    let text = String::from_utf8(STANDARD.decode(&data).unwrap()).unwrap();
    let percent = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    let cut = |text: &str, every: usize| text.as_bytes().chunks(every).map(|c| String::from_utf8_lossy(c).into_owned()).collect::<Vec<_>>().join("\n");
    let bytes = text.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(" ");
    vec![
        request.body.clone(),
        text.clone(),
        serde_json::to_string(&request.body).unwrap(),
        PASSWORD.to_string(),
        percent(&text),
        percent(PASSWORD),
        cut(PASSWORD, 5),
        cut(&data, 16),
        format!("map[.dockerconfigjson:[{bytes}]]"),
        data[data.len() / 2..].to_string(),
        STANDARD.encode(&request.body),
        data,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_repeats_is_in_no_row() {
    let fake = Fake::start();
    let turn = Arc::new(AtomicUsize::new(0));
    for code in [400, 403, 409, 413, 422, 500, 503] {
        for i in 0..12 {
            turn.store(i, Ordering::Relaxed);
            let turn = turn.clone();
            fake.refuse("PATCH", "regcred", 1, move |request| {
                let i = turn.load(Ordering::Relaxed);
                let echo = &echoes(request)[i];
                let words = match i % 3 {
                    0 => format!("admission webhook \"policy.example\" denied the request: {echo}"),
                    1 => format!("Internal error occurred: failed calling webhook \"v.example\": {echo}"),
                    _ => echo.clone(),
                };
                let cause = json!({"reason": "FieldManagerConflict", "field": echo, "message": format!("conflict with \"{echo}\" using v1")});
                status(code, echo, &words, if i.is_multiple_of(2) { json!({"name": echo, "causes": [cause]}) } else { Value::Null })
            });
            let row = fake.run(&wanted(&[("regcred", &[])], PLAIN)).await;
            // Without causes a 409 is another's write, after which we look again.
            let known = if code == 409 && !i.is_multiple_of(2) {
                "changed"
            } else if code == 503 || code == 500 && i % 3 != 1 {
                "unknown"
            } else {
                "failed"
            };
            assert_eq!(row.outcome.name(), known, "{code} {i}: {row:?}");
            clean(&row);
            fake.state.lock().unwrap().objects.remove("secrets/regcred");
        }
    }
    // The control: words that hold nothing of it are shown.
    fake.refuse("PATCH", "regcred", 1, |_| status(403, "Forbidden", "admission webhook \"policy.example\" denied the request: not on Sundays", Value::Null));
    let row = fake.run(&wanted(&[("regcred", &[])], PLAIN)).await;
    check(
        &row,
        &[
            "failed replace",
            "secret/regcred failed: the API server refuses it (403); it says: admission webhook \"policy.example\" denied the request: not on Sundays",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_an_answer_is_unknown_until_the_next_run() {
    // Cut off each time: nobody knows.
    let fake = Fake::start();
    fake.refuse("PATCH", "regcred", 9, CUT);
    let row = fake.run(&one(PLAIN)).await;
    check(&row, &["unknown replace: the API server of context `prod`", "secret/regcred not_attempted: -", "serviceaccount/default not_attempted: -"]);
    assert!(row.outcome.reason().unwrap().contains("run the command again"), "{row:?}");
    fake.state.lock().unwrap().faults.clear();
    check(&fake.run(&one(PLAIN)).await, &["changed", "secret/regcred created: -", "serviceaccount/default updated: -"]);

    // Cut off at the service account, with the Secret written.
    let fake = Fake::start();
    fake.refuse("PUT", "default", 9, CUT);
    check(&fake.run(&one(PLAIN)).await, &["unknown replace: ", "secret/regcred created: -", "serviceaccount/default not_attempted: -"]);
    assert_eq!(fake.get("secrets/regcred")["metadata"]["annotations"]["regprov/appended-to"], "default", "the record was written before");

    // Cut off between two writes, with nothing on the way: that is known, and no namespace that could not be reached.
    let fake = Fake::start();
    let silent = |state: &mut State, request: &Request| {
        let reply: Answer = Box::new(|request| Some(CUT(request)));
        state.faults.push(Fault { method: "GET", path: "default", times: 9, meanwhile: Box::new(|_, _| {}), reply });
        let account = json!({"kind": "ServiceAccount"});
        store(state, "serviceaccounts/default", account);
        assert!(request.body.contains("regcred"));
    };
    fake.fault("PUT", "default", 1, silent, |_| None);
    check(
        &fake.run(&one(PLAIN)).await,
        &["failed observe: the API server of context `prod`", "secret/regcred created: -", "serviceaccount/default not_attempted: -"],
    );

    // Written, and the answer lost: asked again it is found to be as wanted, and it was we who changed it.
    let fake = Fake::start();
    let write = |state: &mut State, request: &Request| drop(done(state, request));
    fake.fault("PATCH", "regcred", 1, write, |_| Some(Reply::Raw(Vec::new())));
    fake.fault("PUT", "default", 1, write, |_| Some(Reply::Raw(Vec::new())));
    check(&fake.run(&one(PLAIN)).await, &["changed", "secret/regcred created: -", "serviceaccount/default updated: -"]);
    assert_eq!(fake.pull_secrets(), ["others", "regcred"], "appended once");

    // A server that never answers, to a write and before.
    let fake = Fake::start();
    fake.refuse("PATCH", "regcred", 9, |_| Reply::Nothing);
    let start = Instant::now();
    check(&fake.run(&one(PLAIN)).await, &["unknown replace: ", "secret/regcred not_attempted", "serviceaccount/default not_attempted"]);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    // A dry run leaves nothing unknown.
    let row = fake.run(&one(Options { check: true, ..PLAIN })).await;
    assert_eq!(row.outcome.name(), "unreachable", "{row:?}");
    let fake = Fake::start();
    fake.refuse("GET", "regcred", 9, CUT);
    assert_eq!(fake.run(&one(PLAIN)).await.outcome.name(), "unreachable");
    assert_eq!(fake.sent.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_others_change_meanwhile_are_read_again() {
    // Others append to the service account while we do, three times; nothing of theirs is lost.
    let fake = Fake::start();
    let others = |state: &mut State, _: &Request| {
        let mut account = state.objects["serviceaccounts/default"].clone();
        let list = account["imagePullSecrets"].as_array_mut().unwrap();
        list.push(json!({"name": format!("theirs-{}", list.len())}));
        store(state, "serviceaccounts/default", account);
    };
    fake.fault("PUT", "default", 3, others, |_| None);
    check(&fake.run(&one(PLAIN)).await, &["changed", "secret/regcred created: -", "serviceaccount/default updated: -"]);
    assert_eq!(fake.pull_secrets(), ["others", "theirs-1", "theirs-2", "theirs-3", "regcred"]);

    // Without end: given up, and said.
    let fake = Fake::start();
    fake.fault("PUT", "default", 99, others, |_| None);
    let why = "serviceaccount/default failed: was changed by others during each of 12 attempts to write it; run again";
    check(&fake.run(&one(PLAIN)).await, &["failed replace: serviceaccount/default: ", "secret/regcred created: -", why]);
    assert_eq!(fake.asked().iter().filter(|a| a.starts_with("PUT")).count(), 12);

    // It goes while we write.
    let fake = Fake::start();
    fake.fault("PUT", "default", 1, |state, _| drop(state.objects.remove("serviceaccounts/default")), |_| None);
    check(&fake.run(&one(PLAIN)).await, &["failed observe", "secret/regcred created: -", "serviceaccount/default failed: there is no such service account"]);

    // The Secret changes after we looked: what is decided is decided on what is there.
    let fake = Fake::start();
    fake.put("secrets/regcred", json!({"kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": {}}));
    fake.fault("PATCH", "regcred", 1, |state, _| drop(store(state, "secrets/regcred", json!({"kind": "Secret", "type": "Opaque", "metadata": {}}))), |_| None);
    let row = fake.run(&one(PLAIN)).await;
    check(&row, &["failed observe", "secret/regcred failed: is of type Opaque", "serviceaccount/default not_attempted: Secret regcred is not as wanted"]);
    assert_eq!(fake.get("secrets/regcred")["type"], "Opaque");
    // It is made anew between look and deletion: what is deleted is what was seen.
    let fake = Fake::start();
    fake.put("secrets/regcred", json!({"kind": "Secret", "type": "Opaque", "metadata": {}}));
    let theirs = |state: &mut State, _: &Request| {
        drop(store(state, "secrets/regcred", json!({"kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": {"labels": {"a": "b"}}})))
    };
    fake.fault("DELETE", "regcred", 1, theirs, |_| None);
    assert_eq!(fake.run(&one(Options { replace: true, ..PLAIN })).await.outcome.name(), "changed");
    assert_eq!(fake.asked().iter().filter(|a| a.starts_with("DELETE")).count(), 1, "it was not deleted after all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_webhook_stores_instead_is_found() {
    let reply = |change: fn(&mut Value)| {
        move |request: &Request| {
            let mut object: Value = serde_json::from_str(&request.body).unwrap();
            change(&mut object);
            Some(http("201 Created", object.to_string()))
        }
    };
    let changes: [(&str, Mend); 4] = [
        ("other logins", |s| s["data"][".dockerconfigjson"] = json!(STANDARD.encode(document(&[&login("planted-Two")])))),
        ("no `.dockerconfigjson`", |s| s["data"] = json!({})),
        ("another type", |s| s["type"] = json!("Opaque")),
        ("other labels or annotations", |s| s["metadata"]["labels"] = json!({})),
    ];
    for (what, change) in changes {
        let fake = Fake::start();
        fake.fault("PATCH", "regcred", 1, |_, _| {}, reply(change));
        let why = format!("secret/regcred failed: was stored with {what}: something in the cluster (an admission webhook)");
        check(&fake.run(&one(PLAIN)).await, &["failed read back: secret/regcred: ", &why, "serviceaccount/default not_attempted"]);
        assert_eq!(fake.pull_secrets(), ["others"]);
    }
    let fake = Fake::start();
    fake.fault("PUT", "default", 1, |_, _| {}, reply(|account| account["imagePullSecrets"] = json!([])));
    check(
        &fake.run(&one(PLAIN)).await,
        &["failed read back", "secret/regcred created: -", "serviceaccount/default failed: was stored with other `imagePullSecrets`"],
    );
    // What is no object at all.
    for body in ["", "[]", "<html>", "{\"kind\":\"Status\"}"] {
        let fake = Fake::start();
        fake.refuse("PATCH", "regcred", 1, move |_| http("200 OK", body));
        check(
            &fake.run(&one(PLAIN)).await,
            &["failed read back", "secret/regcred failed: the API server's answer is no Secret", "serviceaccount/default not_attempted"],
        );
        fake.refuse("GET", "regcred", 1, move |_| http("200 OK", body));
        check(
            &fake.run(&one(PLAIN)).await,
            &["failed observe: Secret regcred: the answer is none of an API server", "secret/regcred not", "serviceaccount/default not"],
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_service_account_of_a_new_namespace_is_waited_for() {
    #[track_caller]
    fn is_quick(start: Instant, quick: bool, what: &str) {
        assert_eq!(start.elapsed() < Duration::from_millis(2500), quick, "{what}: {:?}", start.elapsed());
    }
    let missing = |fake: &Fake| fake.refuse("GET", "serviceaccounts/default", 5, |_| status(404, "NotFound", "x", json!({"kind": "serviceaccounts"})));
    let (written, failed) = (
        ["changed", "secret/regcred created: -", "serviceaccount/default updated: -"],
        ["failed observe", "secret/regcred created: -", "serviceaccount/default failed: there is no such"],
    );

    // It comes a second later.
    let fake = Fake::start();
    fake.state.lock().unwrap().namespace = made(SystemTime::now());
    missing(&fake);
    check(&fake.run(&one(PLAIN)).await, &written);
    // It never comes.
    let fake = Fake::start();
    fake.state.lock().unwrap().namespace = made(SystemTime::now());
    fake.state.lock().unwrap().objects.remove("serviceaccounts/default");
    let start = Instant::now();
    check(&fake.run(&one(PLAIN)).await, &failed);
    is_quick(start, false, "a new namespace");
    // Nobody waits for it in an old namespace, nor for one of another name that may not be told the namespace's age.
    let fake = Fake::start();
    fake.state.lock().unwrap().objects.remove("serviceaccounts/default");
    let start = Instant::now();
    check(&fake.run(&one(PLAIN)).await, &failed);
    is_quick(start, true, "an old namespace");
    let forbidden = |fake: &Fake| fake.refuse("GET", "namespaces/team", 9, |_| status(403, "Forbidden", "x", Value::Null));
    let fake = Fake::start();
    forbidden(&fake);
    let start = Instant::now();
    check(
        &fake.run(&wanted(&[("regcred", &["builder"])], PLAIN)).await,
        &["failed observe", "secret/regcred created: -", "serviceaccount/builder failed: there is no such"],
    );
    is_quick(start, true, "another service account");
    let fake = Fake::start();
    forbidden(&fake);
    missing(&fake);
    check(&fake.run(&one(PLAIN)).await, &written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_object_that_fails_stops_no_other() {
    let fake = Fake::start();
    for account in ["a", "b"] {
        fake.put(&format!("serviceaccounts/{account}"), json!({"kind": "ServiceAccount"}));
    }
    fake.refuse("PATCH", "secrets/one", 1, |_| status(422, "Invalid", "no", json!({"causes": [{"field": "metadata.labels", "message": "no"}]})));
    fake.refuse("PUT", "serviceaccounts/a", 1, |_| status(403, "Forbidden", "quota", Value::Null));
    let all = wanted(&[("one", &["a", "b", "default"]), ("two", &["a", "default"])], PLAIN);
    check(
        &fake.run(&all).await,
        &[
            "failed replace: secret/one: the API server takes one for invalid (422): metadata.labels",
            "secret/one failed: ",
            "secret/two created: -",
            "serviceaccount/a failed: the API server refuses it (403); it says: quota\nSecret one is not as wanted, and was not appended",
            "serviceaccount/b not_attempted: Secret one is not as wanted, and was not appended",
            "serviceaccount/default updated: Secret one is not as wanted, and was not appended",
        ],
    );
    assert_eq!(fake.pull_secrets(), ["others", "two"]);
    check(
        &fake.run(&all).await,
        &[
            "changed",
            "secret/one created: -",
            "secret/two unchanged: -",
            "serviceaccount/a updated: -",
            "serviceaccount/b updated: -",
            "serviceaccount/default updated: -",
        ],
    );
    assert_eq!(fake.pull_secrets(), ["others", "two", "one"]);
}

/// Whoever may write the Secret may write its annotations, and those must not lead us anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_record_leads_nowhere() {
    for record in ["default#", "default?dryRun=All&x=", "../../team/serviceaccounts/default", "default/../default", "%64efault"] {
        let fake = Fake::start();
        check(&fake.run(&one(PLAIN)).await, &["changed", "secret/regcred created: -", "serviceaccount/default updated: -"]);
        let mut forged = fake.get("secrets/regcred");
        forged["metadata"]["annotations"]["regprov/appended-to"] = json!(record);
        fake.put("secrets/regcred", forged);
        let (before, asked) = (fake.state.lock().unwrap().objects.clone(), fake.asked().len());
        let removed = ["changed", "secret/regcred removed: -", "serviceaccount/default unchanged: -"];
        check(&take_out(&fake, true).await, &removed);
        assert_eq!(fake.state.lock().unwrap().objects, before, "{record}: a dry run wrote");
        check(&take_out(&fake, false).await, &removed);
        assert_eq!(fake.pull_secrets(), ["others", "regcred"], "{record}");
        assert!(!fake.asked()[asked..].iter().any(|a| a.starts_with("PUT")), "{record}: {:?}", fake.asked());
    }
    // The control: what is a name is taken at its word, in a dry run and after it.
    let fake = Fake::start();
    fake.run(&one(PLAIN)).await;
    let before = fake.state.lock().unwrap().objects.clone();
    for is_check in [true, false] {
        check(&take_out(&fake, is_check).await, &["changed", "secret/regcred removed: -", "serviceaccount/default updated: -"]);
        assert_eq!(fake.state.lock().unwrap().objects == before, is_check);
    }
    assert_eq!(fake.pull_secrets(), ["others"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_deleted_only_where_the_new_one_would_be_taken() {
    let opaque = || json!({"kind": "Secret", "type": "Opaque", "metadata": {}});
    let replace = Options { replace: true, ..PLAIN };
    let start = || {
        let fake = Fake::start();
        fake.put("secrets/regcred", opaque());
        fake
    };
    let quota = |_: &Request| status(403, "Forbidden", "exceeded quota: q", Value::Null);
    for is_check in [true, false] {
        let fake = start();
        fake.refuse("POST", "/secrets", 1, quota);
        let why = "secret/regcred failed: the API server refuses it (403); it says: exceeded quota: q\nnothing was deleted";
        check(&fake.run(&one(Options { check: is_check, ..replace })).await, &["failed replace", why, "serviceaccount/default not_attempted"]);
        assert!(!fake.get("secrets/regcred").is_null() && !fake.asked().iter().any(|a| a.starts_with("DELETE")), "{:?}", fake.asked());
    }
    // A webhook that takes no dry run is no reason.
    let fake = start();
    fake.refuse("POST", "/secrets", 1, |_| status(400, "BadRequest", "admission webhook \"v.example\" does not support dry run", Value::Null));
    check(&fake.run(&one(replace)).await, &["changed", "secret/regcred updated: is deleted and made anew", "serviceaccount/default updated: -"]);
    assert_eq!(fake.get("secrets/regcred")["type"], "kubernetes.io/dockerconfigjson");

    // Refused after all: that the old one is gone stands first.
    let fake = start();
    fake.refuse("PATCH", "regcred", 1, quota);
    let why = "secret/regcred failed: the old Secret was deleted, and the new one was not taken: the API server refuses it (403); it says: exceeded quota: q";
    check(&fake.run(&one(replace)).await, &["failed replace: secret/regcred: the old Secret was deleted", why, "serviceaccount/default not_attempted"]);
    assert!(fake.get("secrets/regcred").is_null());
    let fake = start();
    fake.refuse("PATCH", "regcred", 1, |_| status(409, "Conflict", "x", Value::Null));
    fake.fault("PATCH", "regcred", 1, |_, _| {}, |_| Some(status(422, "Invalid", "no", Value::Null)));
    let why = "secret/regcred failed: the old Secret was deleted, and the new one was not taken: the API server takes regcred for invalid (422)";
    check(&fake.run(&one(replace)).await, &["failed replace", why, "serviceaccount/default not_attempted"]);
    let fake = start();
    fake.refuse("PATCH", "regcred", 9, CUT);
    let lost = "unknown replace: the old Secret regcred was deleted, and the new one was perhaps not taken: ";
    check(&fake.run(&one(replace)).await, &[lost, "secret/regcred not_attempted", "serviceaccount/default not_attempted"]);

    // A page of something that stands before the API server is no deletion.
    for body in ["<html>", "", "{}", "{\"kind\":\"Status\",\"status\":\"Failure\"}"] {
        let unknown = "secret/regcred failed: whether it was deleted is not known";
        let fake = start();
        fake.refuse("DELETE", "regcred", 1, move |_| http("200 OK", body));
        check(&fake.run(&one(replace)).await, &["failed read back", unknown, "serviceaccount/default not_attempted"]);
        let fake = Fake::start();
        fake.run(&one(PLAIN)).await;
        fake.refuse("DELETE", "regcred", 1, move |_| http("200 OK", body));
        check(&take_out(&fake, false).await, &["failed read back", unknown, "serviceaccount/default updated: -"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_make_before_we_write_is_not_taken_over_in_silence() {
    let theirs = |state: &mut State, _: &Request| {
        let metadata = json!({"labels": {"app.kubernetes.io/managed-by": "regprov"}, "annotations": {"regprov/inventory": "other"}});
        drop(store(state, "secrets/regcred", json!({"kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": metadata})));
    };
    // After we looked, and before it is our turn.
    let fake = Fake::start();
    fake.fault("GET", "serviceaccounts/default", 1, theirs, |_| None);
    let why = "secret/regcred failed: is that of the inventory \"other\"";
    check(&fake.run(&one(PLAIN)).await, &["failed observe", why, "serviceaccount/default not_attempted"]);
    assert!(!fake.asked().iter().any(|a| a.starts_with("PATCH")), "{:?}", fake.asked());
    // In the same moment.
    let fake = Fake::start();
    fake.fault("PATCH", "regcred", 1, theirs, |_| None);
    let why = "secret/regcred failed: was made by somebody else at the same moment";
    check(&fake.run(&one(PLAIN)).await, &["failed read back", why, "serviceaccount/default not_attempted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_a_webhook_keeps_is_found() {
    let fake = Fake::start();
    fake.run(&one(PLAIN)).await;
    let kept = fake.get("secrets/regcred");
    fake.fault("PATCH", "regcred", 1, |_, _| {}, move |_| Some(http("200 OK", kept.to_string())));
    // The service account is not wanted any more.
    let without = wanted(&[("regcred", &[])], PLAIN);
    let cluster = fake.cluster().await;
    for want in [
        &["failed read back", "secret/regcred failed: was stored with other labels or annotations", "serviceaccount/default updated: -"][..],
        // The control.
        &["changed", "secret/regcred metadata: -", "serviceaccount/default unchanged: -"],
    ] {
        let row = before(&without.namespace, regprov::model::Outcome::Unchanged);
        check(&prune(&cluster, &without.namespace, "site", false, &|| {}, row).await, want);
    }
}
