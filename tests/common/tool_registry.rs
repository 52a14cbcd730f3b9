//! A registry on loopback with a token server, which notes the users that got a token.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;

/// A registry whose only image is `acme/tool:latest`, for one user.
pub(crate) struct Registry {
    name: String,
    state: Arc<Mutex<State>>,
}

struct State {
    authorization: String,
    user: String,
    realm: String,
    status: u16,
    users: Vec<String>,
}

impl Registry {
    /// Starts it. Its thread ends with the process.
    pub(crate) fn start(user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let realm = format!("http://{name}/token");
        let state = State { authorization: format!("Basic {pair}"), user: user.into(), realm, status: 0, users: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Registry { name, state }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    /// Who got a token so far.
    pub(crate) fn users(&self) -> Vec<String> {
        self.state.lock().unwrap().users.clone()
    }

    /// The token server answers with this status from now on.
    pub(crate) fn answer_with(&self, status: u16) {
        self.state.lock().unwrap().status = status;
    }

    /// The challenge names this realm from now on.
    pub(crate) fn send_for_tokens_to(&self, realm: &str) {
        self.state.lock().unwrap().realm = realm.to_string();
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    // As Go's servers do: docker tries TLS first and goes on to HTTP only when the answer is HTTP.
    if reader.fill_buf().is_ok_and(|b| b.first() == Some(&0x16)) {
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n");
        return;
    }
    loop {
        let (mut first, mut authorization) = (String::new(), String::new());
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let Some((method, rest)) = first.split_once(' ') else { return };
        let path = rest.split(' ').next().unwrap_or_default().to_string();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = value.to_string(),
                None => break,
                _ => {}
            }
        }
        let mut state = state.lock().unwrap();
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{}\",service=\"test\"\r\n", state.realm);
        let (status, headers, body) = match path.split('?').next().unwrap_or_default() {
            "/token" if state.status != 0 => (state.status, String::new(), String::new()),
            "/token" if authorization == state.authorization => {
                let user = state.user.clone();
                state.users.push(user);
                (200, "Content-Type: application/json\r\n".into(), r#"{"token":"t0ken"}"#.to_string())
            }
            "/token" => (401, String::new(), String::new()),
            "/v2/acme/tool/manifests/latest" if authorization == "Bearer t0ken" => {
                let kind = "application/vnd.oci.image.index.v1+json";
                (200, format!("Content-Type: {kind}\r\n"), format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[]}}"#))
            }
            _ if authorization == "Bearer t0ken" => (404, String::new(), String::new()),
            _ => (401, challenge, String::new()),
        };
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        let body = if method == "HEAD" { String::new() } else { body };
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}
