//! `regprov harbor robot` before a Harbor that keeps robots and refuses what Harbor refuses: what it makes there, what comes into the vault, what
//! becomes of both when something goes wrong in between, and that no secret is ever said.

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/estate.rs"]
mod estate;
#[path = "common/harbor.rs"]
mod harbor;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/registry.rs"]
mod registry;

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use estate::{DOCKER, Estate, Ran};
use harbor::{ADMIN, FakeRobot, GUEST, Harbor, OWNER, SECRET, now};
use serde_json::{Value, json};

/// An estate whose vault has the logins `boss` and `owner` of the Harbor.
struct Site {
    estate: Estate,
    harbor: Harbor,
}

impl Site {
    async fn new() -> Site {
        Site::with(1).await
    }

    /// With so many nodes.
    async fn with(nodes: usize) -> Site {
        let site = Site { estate: Estate::new(nodes).await, harbor: Harbor::start() };
        fs::write(site.estate.path("ca.pem"), &site.harbor.ca.pem).unwrap();
        for (login, (username, password)) in [("boss", ADMIN), ("owner", OWNER), ("guest", GUEST)] {
            let words = ["vault", "set", "vault.yml", login, "--registry", &site.harbor.name(), "--username", username];
            site.estate.piped(&words, password).ended(0, &[]);
        }
        site
    }

    /// Runs `harbor robot` with these words as `boss`, and holds what it says to hold no secret. HARBOR stands for its name.
    fn robot(&self, words: &[&str]) -> Ran {
        self.as_who("boss", words)
    }

    fn as_who(&self, login: &str, words: &[&str]) -> Ran {
        self.run(&[words, &["--admin-login", login, "--identity", "id.txt"]].concat(), "")
    }

    fn run(&self, words: &[&str], input: &str) -> Ran {
        let name = self.harbor.name();
        let mut all = vec!["-vvv", "harbor", "robot"];
        all.extend(words.iter().map(|w| if *w == "HARBOR" { name.as_str() } else { w }));
        let ran = self.estate.piped(&[&all[..], &["--ca", "ca.pem"]].concat(), input);
        self.says_nothing_secret(&ran.out);
        self.says_nothing_secret(&ran.err);
        ran
    }

    /// Neither a secret of a robot, as it is or as a header would have it, nor a password of an admin, nor what Harbor says of its own.
    #[track_caller]
    fn says_nothing_secret(&self, text: &str) {
        assert!(!self.holds_secret(text), "{text}");
    }

    fn holds_secret(&self, text: &str) -> bool {
        let pairs = [ADMIN, OWNER, GUEST].map(|(name, password)| STANDARD.encode(format!("{name}:{password}")));
        let known = [SECRET, ADMIN.1, OWNER.1, GUEST.1, "planted-Message", "\u{1b}", "Basic "];
        known.iter().any(|s| text.contains(s)) || pairs.iter().any(|s| text.contains(s.as_str()))
    }

    fn vault(&self) -> String {
        fs::read_to_string(self.estate.path("vault.yml")).unwrap()
    }

    /// Another text of the vault, on a machine that has seen none.
    fn put_vault(&self, text: &str) {
        // There is nothing yet where each run was refused.
        let forgotten = fs::remove_dir_all(self.estate.path("home/.local/state/regprov/vaults"));
        assert!(forgotten.is_ok() || forgotten.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound));
        fs::write(self.estate.path("vault.yml"), text).unwrap();
    }

    /// A field of a login, opened.
    fn get(&self, login: &str, field: &str) -> String {
        let ran = self.estate.run(&["vault", "get", "vault.yml", login, "--field", field, "--identity", "id.txt"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    }

    /// Whether Harbor knows the login as it is in the vault.
    fn works(&self, login: &str) -> bool {
        self.works_with(self.get(login, "username").trim_end(), &self.get(login, "password"))
    }

    fn works_with(&self, account: &str, password: &str) -> bool {
        let robots = self.harbor.robots();
        let state = self.harbor.state.lock().unwrap();
        robots.iter().any(|r| format!("{}{}", state.prefix, r.name) == account && r.secret == password && !r.disabled && (r.expires == -1 || r.expires > now()))
    }

    fn one(&self) -> FakeRobot {
        let [robot] = &self.harbor.robots()[..] else { panic!("{:?}", self.harbor.accounts()) };
        robot.clone()
    }

    /// A robot that pulls from `base`, and its login `gpu`.
    fn created(&self) {
        self.robot(&["create", "vault.yml", "gpu", "--harbor", "HARBOR", "--project", "base"]).ended(0, &[]);
    }
}

fn right(project: &str, actions: &[&str]) -> Value {
    let access: Vec<Value> = actions.iter().map(|action| json!({"resource": "repository", "action": action})).collect();
    json!({"kind": "project", "namespace": project, "access": access})
}

fn body(name: &str, level: &str, duration: i64, permissions: &[Value]) -> Value {
    json!({"name": name, "level": level, "duration": duration, "permissions": permissions})
}

/// The fake is no softer than Harbor: each refusal has its control.
#[test]
fn the_fake_refuses_what_harbor_refuses() {
    let harbor = Harbor::start();
    let call = |who, method, path: &str, body: &Value| harbor.call(who, method, path, body);
    let pull = [right("base", &["pull"])];
    let good = body("gpu", "project", 365, &pull);
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let wrong = [
        with("duration", json!(0)),
        with("duration", json!(-2)),
        with("duration", json!(i64::from(i32::MAX))),
        with("level", json!("galaxy")),
        with("permissions", json!([])),
        with("permissions", json!([{"kind": "project", "namespace": "base", "access": []}])),
        with("permissions", json!([right("base", &["pull"]), right("team", &["pull"])])),
        with("permissions", json!([right("base", &["own"])])),
        with("name", json!("GPU")),
        with("name", json!("gpu-")),
        with("name", json!("g--pu")),
        with("name", json!("base+gpu")),
        with("name", json!("")),
    ];
    for body in &wrong {
        assert_eq!(call(ADMIN, "POST", "/robots", body).0, 400, "{body}");
    }
    assert_eq!(call(ADMIN, "POST", "/robots", &with("permissions", json!([right("nope", &["pull"])]))).0, 404);
    assert_eq!(call((ADMIN.0, "wrong"), "POST", "/robots", &good).0, 401);
    assert_eq!(call(GUEST, "POST", "/robots", &good).0, 403);
    assert_eq!(call(OWNER, "POST", "/robots", &with("level", json!("system"))).0, 403);
    assert!(harbor.robots().is_empty());
    // A secret in the request is ignored.
    let (status, made) = call(OWNER, "POST", "/robots", &with("secret", json!("Chosen-by-me1")));
    assert!(status == 201 && made["secret"].as_str().unwrap().starts_with(SECRET) && made["name"] == "robot$base+gpu");
    assert_eq!(call(ADMIN, "POST", "/robots", &good).0, 409);
    let (id, old) = (made["id"].as_i64().unwrap(), made["secret"].as_str().unwrap().to_string());
    let at = format!("/robots/{id}");

    // PATCH: nothing makes a secret and tells it, a good one is taken and not told, a bad one is refused.
    let (status, new) = call(OWNER, "PATCH", &at, &json!({"secret": ""}));
    assert!(status == 200 && new["secret"] != old.as_str() && new["secret"] == harbor.robots()[0].secret.as_str());
    for bad in ["Short1", "nouppercase1", "NOLOWERCASE1", "NoDigitAtAll", &"aB3".repeat(43)] {
        assert_eq!(call(OWNER, "PATCH", &at, &json!({"secret": bad})).0, 400, "{bad}");
    }
    assert_eq!(call(OWNER, "PATCH", &at, &json!({"secret": "Chosen-by-me1"})), (200, json!({"secret": ""})));
    assert_eq!(harbor.robots()[0].secret, "Chosen-by-me1");

    // PUT takes the whole robot; name and level stay, and a new lifetime counts from its making.
    let full = |name: &str, level: &str, duration: i64| body(name, level, duration, &pull);
    assert_eq!(call(OWNER, "PUT", &at, &full("robot$base+other", "project", 365)).0, 400);
    assert_eq!(call(OWNER, "PUT", &at, &full("robot$base+gpu", "system", 365)).0, 400);
    assert_eq!(call(OWNER, "PUT", &at, &full("robot$base+gpu", "project", 0)).0, 400);
    let before = harbor.robots()[0].clone();
    assert_eq!(call(OWNER, "PUT", &at, &full("robot$base+gpu", "project", 7)).0, 200);
    assert_eq!(harbor.robots()[0].expires, before.created + 7 * 86_400);

    // Project level needs the project's number; what is not said is system level.
    assert_eq!(call(ADMIN, "GET", "/robots?q=Level=project", &Value::Null).0, 400);
    assert_eq!(call(ADMIN, "GET", "/robots?q=Level=project,ProjectID=base", &Value::Null).0, 400);
    assert_eq!(call(ADMIN, "GET", "/robots", &Value::Null), (200, Value::Null));
    assert_eq!(call(OWNER, "GET", "/robots", &Value::Null).0, 403);
    assert_eq!(call(ADMIN, "GET", "/robots?page_size=101", &Value::Null).0, 422);
    let (_, found) = call(OWNER, "GET", "/robots?q=Level%3Dproject%2CProjectID%3D3", &Value::Null);
    assert!(found[0]["id"] == id && found[0].get("secret").is_none());
    // A name of digits is a number unless it is said to be a name.
    assert_eq!(call(ADMIN, "GET", "/projects/123", &Value::Null).0, 404);

    assert_eq!((call(OWNER, "DELETE", &at, &Value::Null).0, call(OWNER, "DELETE", &at, &Value::Null).0), (200, 404));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robot_is_made_with_the_least_that_pulls_and_goes_into_the_vault() {
    let site = Site::new().await;
    let before = site.vault();
    let ran = site.robot(&["create", "vault.yml", "gpu", "--harbor", "HARBOR", "--project", "base", "--canary", "base/cuda"]);
    ran.ended(0, &["robot robot$base+gpu (7, project level)", "pull in base", "sealed in vault.yml for 1 recipient as login `gpu`"]);
    let robot = site.one();
    assert_eq!((robot.level.as_str(), robot.duration, &robot.permissions), ("project", 365, &json!([right("base", &["pull"])])));
    assert_eq!((site.get("gpu", "username"), site.get("gpu", "registry")), ("robot$base+gpu\n".into(), format!("{}\n", site.harbor.name())));
    // The control of what is searched for: a secret is found where there is one.
    assert!(site.works("gpu") && site.holds_secret(&site.get("gpu", "password")) && !site.holds_secret(&site.vault()));
    // When it ends is what Harbor says, to the second.
    let end = site.get("gpu", "expires");
    let end = regprov::model::Expiry::parse(end.trim_end()).unwrap();
    assert_eq!(end.unix, robot.expires);
    let list = site.estate.run(&["vault", "list", "vault.yml", "--json"]).json();
    let login = list["logins"].as_array().unwrap().iter().find(|l| l["login"] == "gpu").unwrap().clone();
    assert_eq!(login["canary"], "base/cuda");
    // The lines of others are as they were.
    let kept: Vec<&str> = before.lines().filter(|l| !l.starts_with("vault_serial")).collect();
    assert!(kept.iter().all(|line| site.vault().contains(line)));

    // An admin of the project may do that too; what is sent is what was asked for.
    let words = ["create", "vault.yml", "ci", "--harbor", "HARBOR", "--project", "base", "--push", "--duration", "never", "--name", "build.ci"];
    site.as_who("owner", &words).ended(0, &["pull+push in base", "expires: never"]);
    let robot = site.harbor.robots()[1].clone();
    assert_eq!((robot.name.as_str(), robot.duration, &robot.permissions), ("base+build.ci", -1, &json!([right("base", &["pull", "push"])])));
    assert!(site.works("ci") && site.get("ci", "expires").is_empty());

    // Several projects make one of system level, with what the administrator types; the prefix is what Harbor says.
    site.harbor.state.lock().unwrap().prefix = "bot!".into();
    let words = ["create", "vault.yml", "all", "--harbor", "HARBOR", "--project", "team", "--project", "base", "--project", "team", "--duration", "7"];
    site.run(&[&words[..], &["--admin-username", ADMIN.0]].concat(), &format!("{}\n", ADMIN.1))
        .ended(0, &["bot!all", "system level", "a robot of system level"]);
    let robot = site.harbor.robots()[2].clone();
    assert_eq!((robot.level.as_str(), &robot.permissions), ("system", &json!([right("base", &["pull"]), right("team", &["pull"])])));
    assert_eq!((site.get("all", "username").as_str(), site.works("all")), ("bot!all\n", true));
    site.robot(&["create", "vault.yml", "one", "--harbor", "HARBOR", "--project", "team", "--system"]).ended(0, &["bot!one (10, system level)"]);
    // Nothing but the vault was written.
    let hidden = fs::read_dir(site.estate.path("")).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count();
    assert_eq!(hidden, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_here_is_told_before_harbor_is_asked() {
    let site = Site::new().await;
    site.estate.piped(&["vault", "set", "vault.yml", "other", "--registry", "other.example", "--username", "x"], "planted-Other").ended(0, &[]);
    let before = site.vault();
    let create = |rest: &[&str], code: i32, words: &[&str]| {
        site.robot(&[&["create", "vault.yml"], rest].concat()).ended(code, words);
    };
    let base = ["--harbor", "HARBOR", "--project", "base"];
    create(&[&["GPU"], &base[..]].concat(), 2, &["`GPU` is no name in Harbor", "--name"]);
    create(&[&["g pu"], &base[..]].concat(), 2, &["login's name"]);
    create(&[&["gpu", "--duration", "0"], &base[..]].concat(), 2, &["from 1 to 36525"]);
    create(&[&["gpu", "--name", "base+gpu"], &base[..]].concat(), 2, &["lower case letters"]);
    create(&["gpu", "--harbor", "HARBOR", "--project", "*"], 2, &["is no name in Harbor"]);
    create(&["gpu", "--harbor", "HARBOR"], 2, &["--project"]);
    create(&["gpu", "--harbor", "docker.io", "--project", "base"], 2, &["Docker Hub is no Harbor"]);
    create(&["gpu", "--harbor", "harbor.example.org/base", "--project", "base"], 2, &["has a path"]);
    create(&[&["hub"], &base[..]].concat(), 2, &["there is a login `hub` already", "regprov harbor robot rotate vault.yml hub"]);
    for (admin, words) in [("bos", &["no login `bos`", "did you mean `boss`?"][..]), ("other", &["is for other.example, and is not sent to localhost"])] {
        site.as_who(admin, &[&["create", "vault.yml", "gpu"], &base[..]].concat()).ended(2, words);
    }
    site.run(&[&["create", "vault.yml", "gpu"], &base[..]].concat(), "").ended(2, &["--admin-username"]);
    site.run(&[&["create", "vault.yml", "gpu", "--admin-login", "boss"], &base[..]].concat(), "").ended(5, &["an identity is needed"]);
    site.run(&[&["create", "vault.yml", "gpu", "--admin-username", "admin"], &base[..]].concat(), "").ended(2, &["password is empty"]);
    site.robot(&["list", "--harbor", "HARBOR"]).ended(2, &["--admin-vault"]);
    let elsewhere = ["rotate", "vault.yml", "hub", "--admin-username", "admin", "--identity", "id.txt"];
    site.run(&[&elsewhere[..], &["--in-place", "--name", "x"]].concat(), "x").ended(2, &["cannot be used with"]);
    assert_eq!(site.vault(), before);
    // A vault that cannot take it.
    for (text, code, words) in [
        (before.replace("recipients:", "recipient:"), 5, "names no recipient"),
        (before.replace("logins:\n", "logins: &all\n"), 5, "is not in block style"),
        (before.replace("vault_id: ", "? vault_id\n: "), 5, "`vault_id` and `vault_serial` cannot be set"),
    ] {
        fs::write(site.estate.path("vault.yml"), &text).unwrap();
        let words_of = [&["create", "vault.yml", "gpu", "--admin-username", "admin"], &base[..]].concat();
        site.run(&words_of, ADMIN.1).ended(code, &[words]);
        assert_eq!(site.vault(), text);
    }
    assert!(site.harbor.server.seen().is_empty(), "Harbor was asked: {:?}", site.harbor.server.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_harbor_refuses_is_told_with_the_way_out_and_nothing_is_written() {
    let site = Site::new().await;
    site.harbor.robot(&body("taken", "project", 30, &[right("base", &["pull"])]));
    let before = (site.vault(), site.harbor.accounts());
    let create = |login: &str, words: &[&str]| site.as_who(login, &[&["create", "vault.yml"], words].concat());
    let base = ["--harbor", "HARBOR", "--project", "base"];
    create("boss", &["gpu", "--harbor", "HARBOR", "--project", "nope"])
        .ended(6, &["robot gpu was not made: it answers 404 (NOT_FOUND): there is no project nope"]);
    create("boss", &[&["taken"], &base[..]].concat()).ended(6, &["it answers 409 (CONFLICT): there is a robot taken already", "--name"]);
    create("guest", &[&["gpu"], &base[..]].concat()).ended(6, &["403 (FORBIDDEN): gustav may not do that", "an admin of project base"]);
    create("owner", &[&["gpu", "--system"], &base[..]].concat()).ended(6, &["403", "takes a system administrator", "without --system"]);
    create("owner", &["gpu", "--harbor", "HARBOR", "--project", "team"]).ended(6, &["403", "an admin of project team"]);
    let typed = [&["create", "vault.yml", "gpu", "--admin-username", "admin"], &base[..]].concat();
    site.run(&typed, "wrong").ended(6, &["401 (UNAUTHORIZED): it does not take the login of admin", "OIDC"]);
    site.as_who("guest", &["list", "--harbor", "HARBOR", "--admin-vault", "vault.yml"]).ended(6, &["robots of system level were not listed", "with --project"]);
    let list = ["list", "--harbor", "HARBOR", "--admin-vault", "vault.yml", "--project", "nope"];
    site.robot(&list).ended(6, &["project nope was not looked up", "no project nope"]);

    // Whatever else a server may say.
    let page = ("200 OK\r\nContent-Type: text/html", "<html>planted-Message</html>");
    let huge: &'static str = format!("[{}]", "{\"id\":1,\"name\":\"x\"},".repeat(300_000)).leak();
    for (reply, words) in [
        (("400 Bad Request", "{}"), &["it answers 400", "names, lifetimes and permissions"][..]),
        (("412 Precondition Failed", "{\"errors\":[{\"code\":\"PRECONDITION\"}]}"), &["412 (PRECONDITION)"]),
        (("429 Too Many Requests", "planted-Message"), &["too many requests", "wait a while"]),
        (("302 Found\r\nLocation: https://sso.example.org/login", ""), &["leads to https://sso.example.org/login", "not followed"]),
        (page, &["with a page for people", "Harbor of version 2.0"]),
        (("418 Teapot", "planted-Message"), &["it answers 418"]),
        (("405 Method Not Allowed", ""), &["it answers 405", "Harbor of version 2.0"]),
    ] {
        site.harbor.heal();
        site.harbor.refuse("POST", "/api/v2.0/robots", reply.0, reply.1);
        let ran = create("boss", &[&["gpu"], &base[..]].concat()).ended(6, words);
        assert!(!ran.err.contains("not known"), "{}", ran.err);
    }
    // After these it may have been made: that is said too.
    for (reply, words) in [
        (("503 Service Unavailable", "planted-Message"), "it answers 503"),
        (("200 OK", "{}"), "it answers 200"),
        (("201 Created", "planted-Message"), "its answer is no robot"),
        (("201 Created", huge), "larger than a registry's"),
    ] {
        site.harbor.heal();
        site.harbor.refuse("POST", "/api/v2.0/robots", reply.0, reply.1);
        create("boss", &[&["gpu"], &base[..]].concat()).ended(6, &[words, "whether it was made all the same is not known", "harbor robot list"]);
    }
    site.harbor.heal();
    for (method, path, reply, words) in [
        ("GET", "/api/v2.0/robots", ("200 OK", huge), &["larger than a registry's"][..]),
        ("GET", "/api/v2.0/robots", ("200 OK", "{\"a\":1}"), &["its answer is no list of robots"]),
        ("GET", "/api/v2.0/robots", ("200 OK\r\nLink: <x>; rel=\"next\"", "[]"), &["no robots"]),
    ] {
        site.harbor.heal();
        site.harbor.refuse(method, path, reply.0, reply.1);
        let ran = site.robot(&["list", "--harbor", "HARBOR", "--admin-vault", "vault.yml"]);
        let code = if words == ["no robots"] { 0 } else { 6 };
        ran.ended(code, words);
    }
    site.harbor.heal();
    assert_eq!((site.vault(), site.harbor.accounts()), before);
    // The control: the same words, and nobody in the way.
    create("boss", &[&["gpu"], &base[..]].concat()).ended(0, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_s_login_goes_to_its_harbor_alone() {
    let site = Site::new().await;
    let words = ["harbor", "robot", "create", "vault.yml", "gpu", "--harbor", &site.harbor.name(), "--project", "base", "--admin-login", "boss"];
    let run = |more: &[&str]| site.estate.run(&[&words[..], &["--identity", "id.txt"], more].concat());
    run(&[]).ended(6, &["CA that this machine does not know", "--ca"]);
    fs::write(site.estate.path("other.pem"), registry::Ca::new("another").pem).unwrap();
    run(&["--ca", "other.pem"]).ended(6, &["CA that this machine does not know"]);
    run(&["--ca", "vault.yml"]).ended(2, &["holds no certificate"]);
    assert!(site.harbor.server.seen().is_empty(), "nothing was asked over TLS that was not trusted");
    // A Harbor of this machine may speak plain HTTP; nobody is there; it is none.
    let none = registry::Server::start("127.0.0.1", None, |_, _| registry::http("404 Not Found", ""));
    let plain = registry::Server::start("127.0.0.1", None, |request, _| match request.path.ends_with("/ping") {
        true => registry::http("200 OK", "Pong"),
        false => registry::http("404 Not Found", ""),
    });
    let at = |port: u16| format!("localhost:{port}");
    let create = |harbor: &str| {
        let words = ["create", "vault.yml", "gpu", "--harbor", harbor, "--project", "base", "--admin-username", "admin"];
        site.run(&words, ADMIN.1)
    };
    create(&at(none.port)).ended(6, &["does not answer as a Harbor"]);
    assert!(none.logins().is_empty());
    create(&at(plain.port)).ended(6, &["it answers 404", "Harbor of version 2.0"]);
    assert_eq!(plain.logins(), [format!("{}:{}", ADMIN.0, ADMIN.1)]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ran = create(&at(gone)).ended(6, &["connection refused"]);
    assert!(!ran.err.contains("not known"), "{}", ran.err);
    assert!(!site.vault().contains("gpu:"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robot_whose_secret_cannot_be_kept_is_deleted_again() {
    let site = Site::new().await;
    let create = || site.robot(&["create", "vault.yml", "gpu", "--harbor", "HARBOR", "--project", "base"]);
    let path = site.estate.path("vault.yml");
    let touch = move || fs::write(&path, format!("{}# somebody was here\n", fs::read_to_string(&path).unwrap())).unwrap();
    site.harbor.meanwhile("POST", "/api/v2.0/robots", touch);
    create().ended(5, &["changed by somebody else meanwhile", "robot robot$base+gpu, which was made for it, is deleted again at localhost"]);
    assert!(site.harbor.robots().is_empty() && site.vault().ends_with("# somebody was here\n") && !site.vault().contains("gpu:"));
    // Where that fails too, it is said what is left, and how to end it.
    site.harbor.refuse("DELETE", "/api/v2.0/robots", "503 Service Unavailable", "");
    let line = format!("delete it with `regprov harbor robot delete --harbor {} --id 8`", site.harbor.name());
    create().ended(5, &["nobody knows its secret, and it could not be deleted again", "it answers 503", &line]);
    assert_eq!(site.harbor.accounts(), ["robot$base+gpu"]);
    site.harbor.heal();
    site.robot(&["delete", "--harbor", "HARBOR", "--id", "8", "--yes", "--admin-vault", "vault.yml"]).ended(0, &["robot robot$base+gpu (8) is deleted"]);
    // An answer that no login can be made of is taken back too.
    site.harbor.spoil("POST", "/api/v2.0/robots", "201 Created", "{\"id\":9,\"name\":\"a:b\",\"secret\":\"planted-R0bot\"}");
    create().ended(6, &["names an account that no consumer can use; the robot was deleted again"]);
    assert!(site.harbor.robots().is_empty());
    site.harbor.heal();
    // The control.
    create().ended(0, &[]);
    assert!(site.works("gpu"));
}

/// A signal while Harbor makes a secret, of a new robot or in place: what was begun is ended, and the vault has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_interrupts_between_a_secret_and_its_vault() {
    for signal in ["INT", "TERM", "HUP", "QUIT"] {
        let site = Site::new().await;
        let name = site.harbor.name();
        let create = ["create", "vault.yml", "gpu", "--harbor", &name, "--project", "base"];
        for (method, words) in [("POST", &create[..]), ("PATCH", &["rotate", "vault.yml", "gpu", "--in-place"])] {
            let (told, asked) = std::sync::mpsc::channel();
            site.harbor.meanwhile(method, "/api/v2.0/robots", move || {
                told.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(700));
            });
            let words = [&["-vvv", "harbor", "robot"], words, &["--admin-login", "boss", "--identity", "id.txt", "--ca", "ca.pem"]].concat();
            let mut child = site.estate.started(&words);
            asked.recv_timeout(Duration::from_secs(20)).unwrap();
            if signal == "HUP" {
                // With the terminal, nobody is left who reads.
                drop((child.stdout.take(), child.stderr.take()));
            }
            assert!(std::process::Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap().success());
            let out = child.wait_with_output().unwrap();
            assert_eq!(out.status.code(), Some(0), "{signal} {method} {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
            assert!(site.works("gpu"), "{signal} {method}");
            site.harbor.heal();
        }
        assert_eq!(site.harbor.state.lock().unwrap().secrets.len(), 2);
    }
}

/// What Harbor answers is held against what it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_another_question_is_not_taken() {
    let site = Site::new().await;
    let old = site.harbor.robot(&body("old", "project", 30, &[right("base", &["pull"])]));
    let create = |more: &[&str]| site.robot(&[&["create", "vault.yml", "gpu", "--harbor", "HARBOR"], more].concat());
    let base = ["--project", "base", "--duration", "30"];
    let answer = |id: i64, name: &str, end: i64| -> &'static str {
        json!({"id": id, "name": name, "secret": "planted-R0bot0000Kj", "expires_at": end}).to_string().leak()
    };
    let month = now() + 30 * 86_400;
    let before = site.vault();
    let look = format!("look with `regprov harbor robot list --harbor {} --project base`", site.harbor.name());
    let mut next = old;
    for (level, name, id) in [
        (&base[..], "robot$base+root", None),
        (&base, "robot$team+gpu", None),
        (&base, "robot$xbase+gpu", None),
        (&base, "robot$base+mygpu", None),
        (&base, "robot$gpu", None),
        (&["--project", "base", "--system"], "robot$base+gpu", None),
        (&["--project", "base", "--system"], "robot$mygpu", None),
        // The number of another one, whatever else is right, or cannot be used.
        (&base, "robot$base+gpu", Some(old)),
        (&base, "a:b", Some(old)),
    ] {
        site.harbor.heal();
        next += 1;
        site.harbor.spoil("POST", "/api/v2.0/robots", "201 Created", answer(id.unwrap_or(next), name, month));
        let ran = create(level).ended(6, &["robot gpu was not made: its answer names", "whether it was made all the same is not known", "delete it before"]);
        let why = match (name, id) {
            ("a:b", _) => "names an account that no consumer can use".to_string(),
            (_, Some(id)) => format!("its answer names number {id}, which is that of robot robot$base+old"),
            _ => format!("its answer names the account {name}, which is not what Harbor makes of that name"),
        };
        assert!(ran.err.contains(&why) && (level != &base[..] || ran.err.contains(&look)), "{}", ran.err);
        // What it is the number of is not known, so nothing is deleted.
        assert_eq!((site.vault(), site.harbor.robots().len()), (before.clone(), 2));
        let path = format!("/robots/{next}");
        assert_eq!(site.harbor.call(ADMIN, "DELETE", &path, &Value::Null).0, 200);
    }
    assert_eq!(site.harbor.accounts(), ["robot$base+old"]);

    // An end that is another is told, and the robot taken; a day and clocks that differ are none.
    for (asked, end, words) in [
        ("30", -1, &["was asked to end 30 days from now (2", "Harbor says that it ends never"][..]),
        ("30", month + 2 * 86_400, &["was asked to end 30 days from now", "Harbor says that it ends 2", "a rule of its own"]),
        ("30", now() + 3600, &["was asked to end 30 days from now", "Harbor says that it ends 2"]),
        ("never", month, &["was asked to end never", "Harbor says that it ends 2"]),
        ("30", month + 86_400, &[]),
        ("30", month - 80_000, &[]),
        ("30", month, &[]),
        ("never", -1, &[]),
    ] {
        site.harbor.heal();
        site.put_vault(&before);
        next += 1;
        site.harbor.spoil("POST", "/api/v2.0/robots", "201 Created", answer(next, "robot$base+gpu", end));
        let ran = create(&["--project", "base", "--duration", asked]).ended(0, words);
        assert_eq!(ran.err.contains("was asked to end"), !words.is_empty(), "{asked} {end}: {}", ran.err);
        assert_eq!(site.harbor.call(ADMIN, "DELETE", &format!("/robots/{next}"), &Value::Null).0, 200);
    }
    // So with a rotation.
    site.harbor.heal();
    site.put_vault(&before);
    site.created();
    next += 2;
    site.harbor.spoil("POST", "/api/v2.0/robots", "201 Created", answer(next, "robot$base+gpu", month));
    let under_way = site.vault();
    site.robot(&["rotate", "vault.yml", "gpu"]).ended(6, &["robot gpu-2 was not made: its answer names the account robot$base+gpu,"]);
    assert_eq!(site.vault(), under_way);
    assert_eq!(site.harbor.call(ADMIN, "DELETE", &format!("/robots/{next}"), &Value::Null).0, 200);
    site.harbor.heal();
    site.harbor.spoil("POST", "/api/v2.0/robots", "201 Created", answer(next + 1, "robot$base+gpu-2", -1));
    site.robot(&["rotate", "vault.yml", "gpu"]).ended(0, &["robot$base+gpu-2 was asked to end 365 days from now", "Harbor says that it ends never"]);
}

/// What it is called may hold what is not seen: it stands in the vault so that it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_not_seen_as_it_is_is_escaped_in_the_vault() {
    let site = Site::new().await;
    site.harbor.state.lock().unwrap().prefix = "ro\u{202e}bot\u{9b}\u{200b}$".into();
    site.robot(&["create", "vault.yml", "gpu", "--harbor", "HARBOR", "--project", "base"]).ended(0, &[]).without(&["\u{202e}", "\u{9b}", "\u{200b}"]);
    assert!(site.vault().contains(r#"    username: "ro\u202ebot\x9b\u200b$base+gpu""#) && site.vault().is_ascii(), "{}", site.vault());
    assert!(site.works("gpu"));
    // A second one beside it, and one in place of its secret.
    site.robot(&["rotate", "vault.yml", "gpu", "--in-place"]).ended(0, &[]);
    site.robot(&["rotate", "vault.yml", "gpu"]).ended(0, &[]);
    assert!(site.vault().is_ascii() && site.vault().matches(r"\u202e").count() == 2 && site.works("gpu"), "{}", site.vault());
}

/// The lines of a login are anybody's who can write the file: its seal decides which Harbor an admin's password goes to, and whose robot ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robot_is_deleted_only_where_the_seal_says_so() {
    let site = Site::new().await;
    site.robot(&["create", "vault.yml", "mine", "--harbor", "HARBOR", "--project", "base"]).ended(0, &[]);
    let theirs = site.harbor.robot(&body("gpu", "project", 30, &[right("base", &["pull"])]));
    let words = ["vault", "set", "vault.yml", "corp", "--registry", "harbor.corp.example", "--username", "robot$base+gpu"];
    site.estate.piped(&words, "planted-Corp_5").ended(0, &[]);
    let (before, robots, name) = (site.vault(), site.harbor.accounts(), site.harbor.name());
    let by_number = ["regprov harbor robot list --harbor HOST", "regprov harbor robot delete --harbor HOST --id N"];
    let asked = site.harbor.server.seen().len();
    let plain = before.split("  mine:").next().unwrap().to_string() + "  mine:\n    registry: NAME\n    username: robot$base+gpu\n    password: hunter2\n";
    let command = plain.replace("password: hunter2", "password_command: [touch, was-run]").replace("NAME", &name);
    let identity = ["--identity", "id.txt"];
    for (text, login, more, code, word) in [
        (before.replace("harbor.corp.example", &name), "corp", &identity[..], 5, "was sealed for robot$base+gpu at harbor.corp.example, not for"),
        (before.replace("robot$base+mine", "robot$base+gpu"), "mine", &identity, 5, "was sealed for robot$base+mine at localhost"),
        (before.clone(), "mine", &[], 5, "an identity is needed"),
        (plain.replace("NAME", &name), "mine", &identity, 2, "is not sealed, so nothing says that the robot is its own"),
        (command, "mine", &identity, 2, "is not sealed, so nothing says that the robot is its own"),
    ] {
        site.put_vault(&text);
        // Before anything is asked for, or anybody: no password is at hand here.
        let delete = [&["delete", "vault.yml", login, "--yes", "--admin-username", ADMIN.0], more].concat();
        for input in ["", ADMIN.1] {
            site.run(&delete, input).ended(code, &[&[word], &by_number[..]].concat());
        }
        if !more.is_empty() {
            site.robot(&["delete", "vault.yml", login, "--yes"]).ended(code, &[word]);
        }
        assert_eq!((site.vault(), site.harbor.accounts()), (text, robots.clone()));
    }
    site.put_vault(&before);
    site.estate.run(&["vault", "keygen", "-o", "another.txt"]).ended(0, &[]);
    let strange = ["delete", "vault.yml", "mine", "--yes", "--admin-username", ADMIN.0, "--identity", "another.txt"];
    site.run(&strange, ADMIN.1).ended(5, &by_number);
    assert!(site.harbor.server.seen().len() == asked && !site.estate.path("was-run").exists(), "Harbor was asked, or a command run");

    // The old one of a rotation.
    site.robot(&["rotate", "vault.yml", "mine"]).ended(0, &[]);
    let under_way = site.vault();
    let at = under_way.find("previous:").unwrap();
    let (head, tail) = under_way.split_at(at);
    site.put_vault(&format!("{head}{}", tail.replacen("robot$base+mine", "robot$base+gpu", 1)));
    let asked = site.harbor.server.seen().len();
    site.robot(&["delete", "vault.yml", "mine", "--previous", "--yes"]).ended(5, &[&["was sealed for robot$base+mine at localhost"], &by_number[..]].concat());
    assert_eq!(site.harbor.server.seen().len(), asked);
    // The controls: as it was sealed, and by its number.
    site.put_vault(&under_way);
    site.robot(&["delete", "vault.yml", "mine", "--previous", "--yes"]).ended(0, &["robot robot$base+mine (7) is deleted"]);
    let delete = ["delete", "--harbor", "HARBOR", "--id", &theirs.to_string(), "--yes", "--admin-username", ADMIN.0];
    site.run(&delete, ADMIN.1).ended(0, &["robot robot$base+gpu (8) is deleted"]);
    assert_eq!(site.harbor.accounts(), ["robot$base+mine-2"]);
}

/// More than was asked for, and without end: refused, and soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_has_bounds() {
    let site = Site::new().await;
    let page = |robots: i64| -> &'static str {
        let robots: Vec<String> = (1..=robots).map(|id| format!("{{\"id\":{id},\"name\":\"r\"}}")).collect();
        format!("[{}]", robots.join(",")).leak()
    };
    let more = "200 OK\r\nContent-Type: application/json\r\nLink: </api/v2.0/robots?page=9>; rel=\"next\"";
    for (robots, word, pages) in
        [(100, "its answer goes on without end", 200), (101, "its answer has more robots than it was asked for", 1), (150_000, "has more robots", 1)]
    {
        site.harbor.heal();
        site.harbor.refuse("GET", "/api/v2.0/robots", more, page(robots));
        let asked = site.harbor.server.seen().len();
        let start = std::time::Instant::now();
        site.robot(&["list", "--harbor", "HARBOR", "--admin-vault", "vault.yml"]).ended(6, &["the robots of system level were not listed", word]);
        assert!(start.elapsed() < Duration::from_secs(20), "{robots}: {:?}", start.elapsed());
        let listings = site.harbor.server.seen().iter().skip(asked).filter(|r| r.path.starts_with("/api/v2.0/robots")).count();
        assert_eq!(listings, pages, "{robots}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn robots_are_listed_page_by_page() {
    let site = Site::new().await;
    let list = |words: &[&str]| site.robot(&[&["list", "--harbor", "HARBOR", "--admin-vault", "vault.yml"], words].concat());
    assert_eq!(list(&[]).ended(0, &[]).out, "no robots\n");
    for i in 0..230 {
        site.harbor.robot(&body(&format!("r{i}"), "system", 30, &[right("base", &["pull"]), right("team", &["pull", "push"])]));
    }
    site.harbor.robot(&body("gpu", "project", -1, &[right("base", &["pull"])]));
    site.harbor.robot(&body("gpu", "project", 30, &[right("123", &["pull"])]));
    site.harbor.change("robot$r7", |r| r.disabled = true);
    site.harbor.change("robot$r8", |r| r.expires = 1_700_000_000);
    let ran = list(&[]).ended(0, &[]);
    let rows: Vec<Vec<&str>> = ran.out.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 231);
    assert_eq!(rows[0], ["id", "account", "level", "may", "expires", "state"]);
    assert_eq!(rows[8][..8], ["14", "robot$r7", "system", "pull", "in", "base,", "pull+push", "in"]);
    assert_eq!((rows[8].last(), rows[9].last(), rows[10].last()), (Some(&"disabled"), Some(&"expired"), Some(&"active")));
    let pages = site.harbor.server.seen().iter().filter(|r| r.path.contains("page_size=100") && r.path.contains("Level%3Dsystem")).count();
    assert_eq!(pages, 4, "one that was empty, and three");
    // Those of projects, the name of one being a number.
    let ran = list(&["--project", "base", "--project", "123", "--json"]).ended(0, &[]);
    let json = ran.json();
    assert_eq!((json["schema"].as_str(), json["registry"].as_str()), (Some("regprov.robots/1"), Some(site.harbor.name().as_str())));
    let want = json!({"id": 237, "account": "robot$base+gpu", "level": "project",
        "permissions": [{"kind": "project", "namespace": "base", "access": [{"resource": "repository", "action": "pull"}]}], "state": "active"});
    assert_eq!(json["robots"][0], want);
    assert_eq!((json["robots"][1]["account"].as_str(), json["robots"].as_array().unwrap().len()), (Some("robot$123+gpu"), 2));
    let own = ["list", "--harbor", "HARBOR", "--project", "base", "--admin-username", OWNER.0];
    site.run(&own, OWNER.1).ended(0, &["robot$base+gpu"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_robot_takes_the_place_of_one_and_both_work() {
    let site = Site::new().await;
    let words = ["create", "vault.yml", "gpu", "--harbor", "HARBOR", "--project", "base", "--push", "--duration", "30"];
    site.robot(&words).ended(0, &[]);
    let (old, before) = (site.get("gpu", "password"), site.vault());
    let rotate = |words: &[&str]| site.robot(&[&["rotate", "vault.yml", "gpu"], words].concat());
    rotate(&[]).ended(0, &["robot robot$base+gpu-2 (8, project level)", "pull+push in base", "robot delete --harbor", "--id 7", "both work"]);
    let [first, second] = &site.harbor.robots()[..] else { panic!() };
    assert_eq!((&first.permissions, first.duration, &first.level), (&second.permissions, second.duration, &second.level));
    assert!(site.works("gpu") && site.works_with("robot$base+gpu", &old));
    let previous = site.estate.run(&["vault", "get", "vault.yml", "gpu", "--previous", "--identity", "id.txt"]).out;
    assert_eq!((previous, site.get("gpu", "username").as_str()), (old.clone(), "robot$base+gpu-2\n"));
    // The old seal is moved, not made anew.
    let seal = |text: &str| text.split("  gpu:").nth(1).unwrap().lines().filter(|l| l.len() > 40).map(|l| l.trim().to_string()).collect::<Vec<_>>();
    assert!(seal(&before).iter().all(|line| seal(&site.vault()).contains(line)));
    rotate(&[]).ended(2, &["a rotation of login `gpu` is under way already", "rotate finish"]);
    rotate(&["--in-place"]).ended(2, &["under way already"]);

    // What stands in the way.
    site.put_vault(&before);
    let refused = |words: &[&str], code: i32, want: &[&str]| {
        let (vault, robots) = (site.vault(), site.harbor.accounts());
        rotate(words).ended(code, want);
        assert_eq!((site.vault(), site.harbor.accounts()), (vault, robots));
    };
    site.harbor.change("robot$base+gpu", |r| r.disabled = true);
    refused(&[], 6, &["robot robot$base+gpu is disabled", "ask who did"]);
    site.harbor.change("robot$base+gpu", |r| {
        r.disabled = false;
        r.permissions = json!([]);
    });
    refused(&[], 6, &["has no rights that another could be given"]);
    site.harbor.change("robot$base+gpu", |r| r.permissions = json!([right("base", &["pull"])]));
    refused(&["--name", "gpu-2"], 6, &["there is a robot gpu-2 already"]);
    refused(&["--project", "team"], 6, &["there is no robot robot$base+gpu in project team"]);
    site.as_who("gpu", &["rotate", "vault.yml", "gpu"]).ended(2, &["the very account that Harbor is asked with"]);
    site.as_who("guest", &["rotate", "vault.yml", "gpu"]).ended(6, &["403"]);
    site.as_who("boss", &["rotate", "vault.yml", "hub"]).ended(2, &["login `boss` is for localhost", "not sent to docker.io"]);
    // gpu-2 is there, so it is gpu-3; a lifetime of its own.
    rotate(&["--duration", "never"]).ended(0, &["robot$base+gpu-3", "expires: never"]);
    site.put_vault(&before);
    let path = site.estate.path("vault.yml");
    site.harbor.meanwhile("POST", "/api/v2.0/robots", move || fs::write(&path, format!("{}#\n", fs::read_to_string(&path).unwrap())).unwrap());
    rotate(&["--name", "other"]).ended(5, &["changed by somebody else", "deleted again"]);
    assert_eq!(site.harbor.accounts(), ["robot$base+gpu", "robot$base+gpu-2", "robot$base+gpu-3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_secret_in_place_ends_the_old_one_at_once_and_no_later() {
    let site = Site::new().await;
    site.harbor.state.lock().unwrap().prefix = "bot-".into();
    let hosts = ["--auth-host", "auth.example.org"];
    site.created();
    // Its auth hosts are sealed with it, and stay.
    let (password, account) = (site.get("gpu", "password"), "bot-base+gpu");
    site.estate.piped(&[&["vault", "set", "vault.yml", "gpu"], &hosts[..]].concat(), &password);
    let (before, end) = (site.get("gpu", "expires"), site.one().expires);
    let rotate = |words: &[&str]| site.robot(&[&["rotate", "vault.yml", "gpu", "--in-place"], words].concat());
    // With this prefix nobody can tell where the project begins: it would be `bot-base`.
    rotate(&[]).ended(6, &["project bot-base was not looked up", "no project bot-base"]);
    rotate(&["--project", "base"]).ended(0, &["cannot pull with this login until `regprov apply INVENTORY`", "when it expires did not change"]);
    assert!(site.works("gpu") && !site.works_with(account, &password));
    assert_eq!((site.get("gpu", "expires"), site.one().expires, site.get("gpu", "auth-hosts").as_str()), (before, end, "auth.example.org\n"));
    assert!(!site.vault().contains("previous"));
    // What is lost is said, and the next try makes it good.
    let path = site.estate.path("vault.yml");
    site.harbor.meanwhile("PATCH", "/api/v2.0/robots", move || fs::write(&path, format!("{}#\n", fs::read_to_string(&path).unwrap())).unwrap());
    rotate(&["--project", "base"]).ended(5, &["changed by somebody else", "a new secret for bot-base+gpu by then, which is lost", "run it again"]);
    assert!(!site.works("gpu"));
    site.harbor.heal();
    site.harbor.spoil("PATCH", "/api/v2.0/robots", "502 Bad Gateway", "");
    rotate(&["--project", "base"]).ended(6, &["it answers 502", "whether it got one all the same is not known"]);
    site.harbor.heal();
    site.harbor.spoil("PATCH", "/api/v2.0/robots", "200 OK", "{\"secret\":\"\"}");
    rotate(&["--project", "base"]).ended(6, &["its answer has no secret that can be used", "not known"]);
    site.harbor.heal();
    rotate(&["--project", "base"]).ended(0, &[]);
    assert!(site.works("gpu"));
    site.harbor.change(account, |r| r.expires = 1_700_000_000);
    rotate(&["--project", "base"]).ended(6, &["has expired (2023-11-14T22:13:20Z), and a new secret does not change that", "leave --in-place away"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robot_ends_with_its_login() {
    let site = Site::new().await;
    site.created();
    let delete = |words: &[&str]| site.robot(&[&["delete"], words].concat());
    let before = site.vault();
    let nothing = |ran: Ran, code: i32, words: &[&str]| {
        ran.ended(code, words);
        assert_eq!((site.vault(), site.harbor.accounts()), (before.clone(), vec!["robot$base+gpu".to_string()]));
    };
    nothing(delete(&["vault.yml", "gpu"]), 2, &["no terminal to ask on whether robot robot$base+gpu (7)", "may pull in base", "--yes"]);
    nothing(delete(&["vault.yml", "gpuu", "--yes"]), 2, &["did you mean `gpu`?"]);
    nothing(delete(&["vault.yml", "gpu", "--yes", "--previous"]), 2, &["has no rotation under way"]);
    nothing(delete(&["vault.yml", "guest", "--yes"]), 6, &["there is no robot gustav on system level", "vault unset vault.yml guest"]);
    nothing(delete(&["--yes"]), 2, &["required"]);
    nothing(delete(&["vault.yml", "--yes"]), 2, &["required"]);
    nothing(delete(&["--id", "7", "--yes"]), 2, &["--harbor"]);
    nothing(delete(&["--harbor", "HARBOR", "--id", "8", "--yes", "--admin-vault", "vault.yml"]), 6, &["there is no such robot"]);
    nothing(
        site.as_who("guest", &["delete", "--harbor", "HARBOR", "--id", "7", "--yes", "--admin-vault", "vault.yml"]),
        6,
        &["403", "an admin of the robot's project"],
    );
    nothing(site.as_who("gpu", &["delete", "vault.yml", "gpu", "--yes"]), 2, &["the very account"]);

    site.as_who("owner", &["delete", "vault.yml", "gpu", "--keep", "--yes"]).ended(0, &["robot robot$base+gpu (7) is deleted"]);
    assert!(site.harbor.robots().is_empty() && site.vault() == before);
    delete(&["vault.yml", "gpu", "--yes"]).ended(6, &["there is no robot robot$base+gpu in project base", "regprov vault unset vault.yml gpu"]);
    site.estate.run(&["vault", "unset", "vault.yml", "gpu"]).ended(0, &[]);

    // The old one of a rotation, by the login.
    site.created();
    site.robot(&["rotate", "vault.yml", "gpu"]).ended(0, &[]);
    delete(&["vault.yml", "gpu", "--yes"]).ended(2, &["a rotation of login `gpu` is under way", "--previous"]);
    let under_way = site.vault();
    delete(&["vault.yml", "gpu", "--previous", "--yes"]).ended(0, &["robot robot$base+gpu (8) is deleted", "still has it as `previous`"]);
    assert!(site.harbor.accounts() == ["robot$base+gpu-2"] && site.vault() == under_way && site.works("gpu"));

    // All of it, and a vault that is changed meanwhile.
    let finished = under_way.split("    previous:").next().unwrap().to_string() + "vault_id: v0123456789abcdef\nvault_serial: 9\n";
    site.put_vault(&finished);
    let path = site.estate.path("vault.yml");
    site.harbor.meanwhile("DELETE", "/api/v2.0/robots", move || fs::write(&path, format!("{}#\n", fs::read_to_string(&path).unwrap())).unwrap());
    delete(&["vault.yml", "gpu", "--yes"]).ended(5, &["changed by somebody else", "the robot is gone", "regprov vault unset vault.yml gpu"]);
    site.harbor.heal();
    assert!(site.harbor.robots().is_empty());
    site.harbor.robot(&body("gpu-2", "project", 30, &[right("base", &["pull"])]));
    delete(&["vault.yml", "gpu", "--yes"]).ended(0, &["is deleted at localhost", "login `gpu` is taken out of vault.yml"]);
    assert!(site.harbor.robots().is_empty() && !site.vault().contains("gpu"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_harbor_is_given_no_login() {
    let site = Site::new().await;
    site.created();
    let verbs = [
        &["rotate", "vault.yml", "gpu"][..],
        &["delete", "vault.yml", "gpu", "--yes"],
        &["create", "vault.yml", "x", "--harbor", "HARBOR", "--project", "base"],
    ];
    for (status, body) in [("404 Not Found", ""), ("200 OK", "<html>"), ("302 Found\r\nLocation: /", ""), ("500 Oops", "Pong")] {
        site.harbor.refuse("GET", "/api/v2.0/ping", status, body);
        for verb in verbs {
            let before = site.harbor.server.seen().len();
            site.robot(verb).ended(6, &["does not answer as a Harbor", "was not given the login of", "robot account"]);
            let seen = site.harbor.server.seen();
            assert!(seen[before..].iter().all(|request| request.header("authorization").is_none()) && seen.len() > before, "{status}");
        }
        site.harbor.heal();
    }
    // The control.
    site.robot(verbs[0]).ended(0, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_asked_before_a_robot_ends() {
    let Some(script) = peers::need("script") else { return };
    let site = Site::new().await;
    site.created();
    let words = ["harbor", "robot", "delete", "vault.yml", "gpu", "--admin-login", "boss", "--identity", "id.txt", "--ca", "ca.pem"];
    for (typed, code, said) in [("no\n", 2, "you did not say yes; nothing was deleted"), ("y\n", 2, "nothing was deleted"), ("yes\n", 0, "(7) is deleted")] {
        assert_eq!(site.harbor.accounts(), ["robot$base+gpu"]);
        site.estate.on_terminal(&script, &words, typed).ended(code, &["Delete robot robot$base+gpu (7) at localhost:", "Type yes", said]);
    }
    assert!(site.harbor.robots().is_empty() && !site.vault().contains("  gpu:"));
}

/// With an audit key at hand, both passwords of a rotation are known by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_get_their_fingerprints() {
    let site = Site::new().await;
    let audit = ["--audit-key", "audit.txt"];
    site.estate.run(&["vault", "audit-key", "-o", "audit.txt"]).ended(0, &[]);
    let marks = || site.vault().matches("fingerprint: hmac-sha256:").count();
    site.robot(&[&["create", "vault.yml", "gpu", "--harbor", "HARBOR", "--project", "base"], &audit[..]].concat()).ended(0, &[]);
    assert_eq!(marks(), 1);
    let same = |before: &str| {
        site.estate.run(&["vault", "fingerprint", "vault.yml", "--audit-key", "audit.txt", "--identity", "id.txt"]).code == 0 && before.contains("gpu")
    };
    let made = site.vault().lines().find(|l| l.contains("fingerprint:")).unwrap().to_string();
    // It is that of the secret: made again from the seal, it is the same.
    assert!(same(&site.vault()) && site.vault().contains(&made));
    site.robot(&[&["rotate", "vault.yml", "gpu", "--in-place"], &audit[..]].concat()).ended(0, &[]);
    assert!(!site.vault().contains(&made));
    let before = marks();
    site.robot(&["rotate", "vault.yml", "gpu"])
        .ended(0, &["no audit key is at hand, so the new secret has no fingerprint", "regprov vault fingerprint vault.yml"]);
    assert_eq!(marks(), before, "that of the old one stays with it");
}

/// From a robot that is made to one that is deleted, and at each step the nodes have one that Harbor takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_goes_from_one_robot_to_the_next() {
    let site = Site::with(2).await;
    site.estate.inventory("inventory.yml", "id: site\n", "gpu", "docker");
    let (name, key) = (site.harbor.name(), site.estate.bed.key.to_str().unwrap().to_string());
    let pulls = || {
        (0..2).all(|node| {
            let docker: Value = serde_json::from_str(&site.estate.read(node, DOCKER)).unwrap();
            let auth = STANDARD.decode(docker["auths"][&name]["auth"].as_str().unwrap()).unwrap();
            let (account, secret) = std::str::from_utf8(&auth).unwrap().split_once(':').unwrap();
            site.works_with(account, secret)
        })
    };
    site.created();
    // Its own token server proves each login before a node gets it.
    let apply = || site.estate.apply(&["inventory.yml", "--verify=required", "--ca", "ca.pem"]).ended(0, &["2 changed"]);
    apply();
    assert!(pulls());
    site.robot(&["rotate", "vault.yml", "gpu"]).ended(0, &[]);
    assert!(pulls());
    let rotation = |verb: &str| site.estate.run(&["rotate", verb, "inventory.yml", "gpu", "--ssh-key", &key, "--no-agent", "--identity", "id.txt"]);
    rotation("finish").ended(10, &["old"]);
    apply();
    assert!(pulls());
    rotation("finish").ended(0, &[]);
    site.robot(&["delete", "--harbor", "HARBOR", "--id", "7", "--yes", "--admin-vault", "vault.yml"]).ended(0, &["robot robot$base+gpu (7) is deleted"]);
    assert!(pulls() && site.harbor.accounts() == ["robot$base+gpu-2"]);
    // The control: a secret that ends in place is one that the nodes do not have, until they are told.
    site.robot(&["rotate", "vault.yml", "gpu", "--in-place"]).ended(0, &[]);
    assert!(!pulls());
    apply();
    assert!(pulls());
}
