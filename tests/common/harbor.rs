//! A Harbor on loopback with TLS that keeps projects and robots and refuses what Harbor refuses (API v2.0, goharbor/harbor c50c7dd,
//! `src/server/v2.0/handler/robot.go`). Its robots log in to its registry as they do there.

// Each user takes what it needs.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::registry::{Ca, Reply, Request, Server, http};

/// A system administrator, an admin of project `base`, and one who may nothing: names and passwords.
pub(crate) const ADMIN: (&str, &str) = ("admin", "planted-Admin_7");
pub(crate) const OWNER: (&str, &str) = ("olga", "planted-Owner_8");
pub(crate) const GUEST: (&str, &str) = ("gustav", "planted-Guest_9");
/// With which every secret begins that it makes.
pub(crate) const SECRET: &str = "planted-R0bot";

#[derive(Clone, Debug)]
pub(crate) struct FakeRobot {
    pub(crate) id: i64,
    /// Without the prefix: `base+gpu`, `gpu`.
    pub(crate) name: String,
    /// 0 on system level.
    pub(crate) project: i64,
    pub(crate) level: String,
    pub(crate) permissions: Value,
    pub(crate) duration: i64,
    pub(crate) created: i64,
    pub(crate) expires: i64,
    pub(crate) disabled: bool,
    pub(crate) secret: String,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) prefix: String,
    pub(crate) projects: Vec<(i64, String)>,
    pub(crate) robots: Vec<FakeRobot>,
    /// Each secret that it has made.
    pub(crate) secrets: Vec<String>,
    next: i64,
    faults: Vec<Fault>,
}

/// What becomes of requests of this method whose path begins so.
struct Fault {
    method: &'static str,
    path: &'static str,
    /// It is done as it should be.
    is_done: bool,
    /// What is answered; with `None` what should be.
    reply: Option<(&'static str, &'static str)>,
    /// What happens before.
    meanwhile: Box<dyn Fn() + Send>,
}

pub(crate) struct Harbor {
    pub(crate) server: Server,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) ca: Ca,
}

pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

impl Harbor {
    pub(crate) fn start() -> Harbor {
        let ca = Ca::new("regprov test Harbor");
        let state = State {
            prefix: "robot$".into(),
            projects: vec![(1, "library".into()), (3, "base".into()), (4, "team".into()), (5, "123".into())],
            next: 7,
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let answers = state.clone();
        let server = Server::start("127.0.0.1", Some(ca.server("localhost", false)), move |request, port| answer(&answers, request, port));
        Harbor { server, state, ca }
    }

    /// `host:port`.
    pub(crate) fn name(&self) -> String {
        format!("localhost:{}", self.server.port)
    }

    pub(crate) fn robots(&self) -> Vec<FakeRobot> {
        self.state.lock().unwrap().robots.clone()
    }

    /// The accounts that there are.
    pub(crate) fn accounts(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.robots.iter().map(|r| format!("{}{}", state.prefix, r.name)).collect()
    }

    pub(crate) fn change(&self, account: &str, change: impl FnOnce(&mut FakeRobot)) {
        let mut state = self.state.lock().unwrap();
        let prefix = state.prefix.clone();
        change(state.robots.iter_mut().find(|r| format!("{prefix}{}", r.name) == account).expect("it is there"));
    }

    /// Makes a robot by hand, as somebody else would; returns its number.
    pub(crate) fn robot(&self, body: &Value) -> i64 {
        let made = self.call(ADMIN, "POST", "/robots", body);
        assert_eq!(made.0, 201, "{}", made.1);
        made.1["id"].as_i64().unwrap()
    }

    /// Asks it without any wire.
    pub(crate) fn call(&self, who: (&str, &str), method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (head, body) = api(&mut self.state.lock().unwrap(), &request(who, method, path, body));
        (head[..3].parse().unwrap(), serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Answers so, and does nothing.
    pub(crate) fn refuse(&self, method: &'static str, path: &'static str, head: &'static str, body: &'static str) {
        self.fault(Fault { method, path, is_done: false, reply: Some((head, body)), meanwhile: Box::new(|| {}) });
    }

    /// Does it, and answers so.
    pub(crate) fn spoil(&self, method: &'static str, path: &'static str, head: &'static str, body: &'static str) {
        self.fault(Fault { method, path, is_done: true, reply: Some((head, body)), meanwhile: Box::new(|| {}) });
    }

    /// Does it and answers as it should, after this.
    pub(crate) fn meanwhile(&self, method: &'static str, path: &'static str, meanwhile: impl Fn() + Send + 'static) {
        self.fault(Fault { method, path, is_done: true, reply: None, meanwhile: Box::new(meanwhile) });
    }

    fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push(fault);
    }

    /// From now on all is as it should be.
    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }
}

fn request(who: (&str, &str), method: &str, path: &str, body: &Value) -> Request {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", who.0, who.1));
    Request {
        method: method.into(),
        path: format!("/api/v2.0{path}"),
        authorization: Some(format!("Basic {pair}")),
        headers: Vec::new(),
        body: if body.is_null() { String::new() } else { body.to_string() },
    }
}

fn answer(state: &Mutex<State>, request: &Request, port: u16) -> Reply {
    let mut state = state.lock().unwrap();
    let (head, body) = match request.path.as_str() {
        "/v2/" if request.bearer().is_some_and(|token| token == "good") => ("200 OK".to_string(), "{}".to_string()),
        "/v2/" => (
            format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"https://localhost:{port}/service/token\",service=\"harbor-registry\""),
            error("UNAUTHORIZED"),
        ),
        path if path.starts_with("/service/token") => match who(&state, request) {
            Some(Who::Robot) => ("200 OK".to_string(), json!({"token": "good"}).to_string()),
            _ => ("401 Unauthorized".to_string(), error("UNAUTHORIZED")),
        },
        _ => {
            let at = state.faults.iter().position(|f| f.method == request.method && request.path.starts_with(f.path));
            let fault = at.map(|at| state.faults.remove(at));
            if let Some(fault) = &fault {
                (fault.meanwhile)();
            }
            let said = if fault.as_ref().is_none_or(|f| f.is_done) { api(&mut state, request) } else { Default::default() };
            let reply = fault.as_ref().and_then(|f| f.reply).map(|(head, body)| (head.to_string(), body.to_string()));
            state.faults.extend(fault);
            reply.unwrap_or(said)
        }
    };
    http(head, body)
}

enum Who {
    System,
    /// An admin of project `base`.
    Owner,
    Guest,
    Robot,
}

fn who(state: &State, request: &Request) -> Option<Who> {
    let login = request.basic()?;
    let is = |(name, password): (&str, &str)| login == format!("{name}:{password}");
    if is(ADMIN) {
        return Some(Who::System);
    } else if is(OWNER) {
        return Some(Who::Owner);
    } else if is(GUEST) {
        return Some(Who::Guest);
    }
    // One that is disabled or has expired is not authenticated, and nothing says why.
    let robot = state.robots.iter().find(|r| login == format!("{}{}:{}", state.prefix, r.name, r.secret))?;
    (!robot.disabled && (robot.expires == -1 || robot.expires > now())).then_some(Who::Robot)
}

fn error(code: &str) -> String {
    // What it says is not to be believed, nor shown.
    json!({"errors": [{"code": code, "message": "\u{1b}[31m planted-Message"}]}).to_string()
}

fn refuse(status: &str, code: &str) -> (String, String) {
    (format!("{status}\r\nContent-Type: application/json"), error(code))
}

/// The API, as far as robots need it.
fn api(state: &mut State, request: &Request) -> (String, String) {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let Some(path) = path.strip_prefix("/api/v2.0/") else { return refuse("404 Not Found", "NOT_FOUND") };
    if path == "ping" {
        return ("200 OK".into(), "Pong".into());
    }
    let Some(who) = who(state, request) else { return refuse("401 Unauthorized", "UNAUTHORIZED") };
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (request.method.as_str(), &parts[..]) {
        ("GET", ["projects", name]) => {
            let by_name = request.header("x-is-resource-name") == Some("true") || name.parse::<i64>().is_err();
            let found = state.projects.iter().find(|(id, n)| if by_name { n == name } else { id.to_string() == **name });
            match found {
                Some((id, name)) => ok(json!({"project_id": id, "name": name})),
                None => refuse("404 Not Found", "NOT_FOUND"),
            }
        }
        ("GET", ["robots"]) => list(state, &who, query),
        ("POST", ["robots"]) => create(state, &who, &body),
        (method, ["robots", id]) => {
            let Some(at) = state.robots.iter().position(|r| r.id.to_string() == **id) else { return refuse("404 Not Found", "NOT_FOUND") };
            if !may(&who, state.robots[at].project) {
                return refuse("403 Forbidden", "FORBIDDEN");
            }
            match method {
                "GET" => ok(shown(state, &state.robots[at])),
                "DELETE" => {
                    state.robots.remove(at);
                    ok(Value::Null)
                }
                "PATCH" => refresh(state, at, &body),
                "PUT" => update(state, at, &body),
                _ => refuse("405 Method Not Allowed", "METHOD_NOT_ALLOWED"),
            }
        }
        _ => refuse("404 Not Found", "NOT_FOUND"),
    }
}

fn ok(body: Value) -> (String, String) {
    ("200 OK\r\nContent-Type: application/json".into(), if body.is_null() { String::new() } else { body.to_string() })
}

/// Whether somebody may deal with the robots of a project, or with those of system level (0).
fn may(who: &Who, project: i64) -> bool {
    match who {
        Who::System => true,
        Who::Owner => project == 3,
        Who::Guest | Who::Robot => false,
    }
}

fn shown(state: &State, robot: &FakeRobot) -> Value {
    json!({
        "id": robot.id, "name": format!("{}{}", state.prefix, robot.name), "level": robot.level, "duration": robot.duration, "editable": true,
        "disable": robot.disabled, "expires_at": robot.expires, "permissions": robot.permissions, "description": "planted-Description",
        "creation_time": "2026-01-01T00:00:00.000Z", "update_time": "2026-01-01T00:00:00.000Z"
    })
}

/// `Level=project,ProjectID=3` and its like; pages with Link and X-Total-Count.
fn list(state: &State, who: &Who, query: &str) -> (String, String) {
    let decoded = query.replace("%3D", "=").replace("%2C", ",");
    let value = |name: &str| decoded.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_string));
    let q = value("q").unwrap_or_default();
    let key = |name: &str| q.split(',').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    let project = match key("Level") {
        None | Some("system") => 0,
        Some("project") => match key("ProjectID").and_then(|id| id.parse::<i64>().ok()).filter(|id| *id > 0) {
            Some(id) => id,
            None => return refuse("400 Bad Request", "BAD_REQUEST"),
        },
        Some(_) => return refuse("400 Bad Request", "BAD_REQUEST"),
    };
    if !may(who, project) {
        return refuse("403 Forbidden", "FORBIDDEN");
    }
    let number = |name: &str, default: usize| value(name).map_or(Some(default), |v| v.parse().ok().filter(|n| *n > 0));
    let (Some(page), Some(size)) = (number("page", 1), number("page_size", 10).filter(|n| *n <= 100)) else {
        return refuse("422 Unprocessable Entity", "UNPROCESSABLE_ENTITY");
    };
    let all: Vec<&FakeRobot> = state.robots.iter().filter(|r| r.project == project).collect();
    let robots: Vec<Value> = all.iter().skip((page - 1) * size).take(size).map(|r| shown(state, r)).collect();
    let mut links = Vec::new();
    if page > 1 {
        links.push(format!("</api/v2.0/robots?page={}>; rel=\"prev\"", page - 1));
    }
    if page * size < all.len() {
        links.push(format!("</api/v2.0/robots?page={}>; rel=\"next\"", page + 1));
    }
    let head = format!("200 OK\r\nContent-Type: application/json\r\nX-Total-Count: {}\r\nLink: {}", all.len(), links.join(" , "));
    // Go has no empty list where nothing was appended to one.
    (head, if robots.is_empty() { "null".into() } else { Value::from(robots).to_string() })
}

/// What its project scope has of the catalogue of rights, as far as tests name it.
const RIGHTS: [&str; 4] = ["repository:pull", "repository:push", "artifact:read", "tag:list"];

fn is_name(name: &str) -> bool {
    let mut before = '-';
    for c in name.chars() {
        match c {
            'a'..='z' | '0'..='9' => {}
            '.' | '_' | '-' if before.is_ascii_alphanumeric() => {}
            _ => return false,
        }
        before = c;
    }
    before.is_ascii_alphanumeric()
}

/// What is wrong with a robot's lifetime, level and permissions.
fn is_wrong(body: &Value) -> bool {
    let duration = body["duration"].as_i64().unwrap_or(0);
    let (level, permissions) = (body["level"].as_str().unwrap_or_default(), body["permissions"].as_array().cloned().unwrap_or_default());
    let is_access_wrong = |p: &Value, a: &Value| {
        let right = format!("{}:{}", a["resource"].as_str().unwrap_or_default(), a["action"].as_str().unwrap_or_default());
        p["kind"] != "project" || !RIGHTS.contains(&right.as_str())
    };
    let is_permission_wrong = |p: &Value| {
        let access = p["access"].as_array().cloned().unwrap_or_default();
        access.is_empty() || access.iter().any(|a| is_access_wrong(p, a))
    };
    !(duration == -1 || (duration > 0 && duration < i64::from(i32::MAX)))
        || !["system", "project"].contains(&level)
        || permissions.is_empty()
        || permissions.iter().any(is_permission_wrong)
        || (level == "project" && permissions.len() > 1)
}

fn secret(state: &mut State) -> String {
    let secret = format!("{SECRET}{:04}Kj", 4000 + state.secrets.len());
    state.secrets.push(secret.clone());
    secret
}

fn create(state: &mut State, who: &Who, body: &Value) -> (String, String) {
    let name = body["name"].as_str().unwrap_or_default().to_string();
    if !is_name(&name) || is_wrong(body) {
        return refuse("400 Bad Request", "BAD_REQUEST");
    }
    let level = body["level"].as_str().unwrap().to_string();
    let mut projects = Vec::new();
    for permission in body["permissions"].as_array().unwrap() {
        match state.projects.iter().find(|(_, n)| permission["namespace"] == n.as_str()) {
            Some(project) => projects.push(project.clone()),
            None => return refuse("404 Not Found", "NOT_FOUND"),
        }
    }
    let (project, full) = if level == "project" { (projects[0].0, format!("{}+{name}", projects[0].1)) } else { (0, name) };
    if !may(who, project) {
        return refuse("403 Forbidden", "FORBIDDEN");
    }
    if state.robots.iter().any(|r| r.name == full) {
        return refuse("409 Conflict", "CONFLICT");
    }
    let (duration, created, id) = (body["duration"].as_i64().unwrap(), now(), state.next);
    let expires = if duration == -1 { -1 } else { created + duration * 86_400 };
    state.next += 1;
    // A secret that comes with the request is not looked at.
    let secret = secret(state);
    let account = format!("{}{full}", state.prefix);
    let permissions = body["permissions"].clone();
    state.robots.push(FakeRobot { id, name: full, project, level, permissions, duration, created, expires, disabled: false, secret: secret.clone() });
    (
        format!("201 Created\r\nContent-Type: application/json\r\nLocation: /api/v2.0/robots/{id}"),
        json!({"id": id, "name": account, "secret": secret, "creation_time": "2026-01-01T00:00:00.000Z", "expires_at": expires}).to_string(),
    )
}

/// The old secret is worth nothing from here on; when it ends stays as it is.
fn refresh(state: &mut State, at: usize, body: &Value) -> (String, String) {
    match body["secret"].as_str().unwrap_or_default() {
        "" => {
            let secret = secret(state);
            state.robots[at].secret = secret.clone();
            ok(json!({"secret": secret}))
        }
        given => {
            let has = |kind: fn(&u8) -> bool| given.bytes().any(|b| kind(&b));
            if !(8..=128).contains(&given.len()) || !has(u8::is_ascii_uppercase) || !has(u8::is_ascii_lowercase) || !has(u8::is_ascii_digit) {
                return refuse("400 Bad Request", "BAD_REQUEST");
            }
            state.robots[at].secret = given.to_string();
            ok(json!({"secret": ""}))
        }
    }
}

fn update(state: &mut State, at: usize, body: &Value) -> (String, String) {
    let account = format!("{}{}", state.prefix, state.robots[at].name);
    let robot = &mut state.robots[at];
    if is_wrong(body) || body["level"] != robot.level.as_str() || body["name"] != account.as_str() {
        return refuse("400 Bad Request", "BAD_REQUEST");
    }
    let duration = body["duration"].as_i64().unwrap();
    if duration != robot.duration {
        // It counts from when the robot was made.
        robot.expires = if duration == -1 { -1 } else { robot.created + duration * 86_400 };
        robot.duration = duration;
    }
    robot.disabled = body["disable"].as_bool().unwrap_or_default();
    robot.permissions = body["permissions"].clone();
    ok(Value::Null)
}
