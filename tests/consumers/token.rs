//! A token server as registries have them (distribution's "token" authentication): Basic, or the form of OAuth2 where the real
//! one takes it. It logs who asked for what, and what came of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::SigningKey as _;
use serde_json::json;

use super::http::{Request, respond, values};
use super::rig::{Seen, Site, Verdict};

/// Who signs the tokens, as the registries are told.
pub(crate) const ISSUER: &str = "token server of the tests";

/// What signs tokens.
pub(crate) struct Signer {
    pub(crate) key: rcgen::KeyPair,
    pub(crate) certificate: rcgen::Certificate,
}

impl Signer {
    /// A JWT for these grants, as distribution reads it: ES256, the certificate in its head.
    fn token(&self, service: &str, user: &str, access: &serde_json::Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(self.certificate.der())]});
        let claims = json!({
            "iss": ISSUER, "sub": user, "aud": service, "iat": now, "nbf": now - 10, "exp": now + 300, "jti": "1", "access": access,
        });
        let signed = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = fixed(&self.key.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An ECDSA signature over P-256 as JWT wants it: both numbers with 32 bytes each, instead of their DER.
fn fixed(der: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), &der[2..]);
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = &number[number.len().saturating_sub(32)..];
        out.resize(out.len() + 32 - number.len(), 0);
        out.extend_from_slice(number);
        rest = after;
    }
    out
}

/// Serves one site's tokens on this address for as long as the process lives.
pub(crate) fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, signer: Arc<Signer>, site: &'static Site, log: Arc<Mutex<Vec<Seen>>>) {
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (tls, signer, log) = (tls.clone(), signer.clone(), log.clone());
            std::thread::spawn(move || {
                let Ok(connection) = rustls::ServerConnection::new(tls) else { return };
                let mut stream = BufReader::new(rustls::StreamOwned::new(connection, socket));
                while let Some(request) = Request::read(&mut stream) {
                    let (head, body) = answer(&signer, site, &request, &log);
                    respond(stream.get_mut(), &request, &head, &body);
                    if stream.fill_buf().map_or(true, <[u8]>::is_empty) {
                        break;
                    }
                }
                let _ = stream.get_mut().flush();
            });
        }
    });
}

fn answer(signer: &Signer, site: &Site, request: &Request, log: &Mutex<Vec<Seen>>) -> (String, String) {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let unauthorized = || ("401 Unauthorized\r\nContent-Type: application/json".to_string(), "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}".to_string());
    if path != site.realm.splitn(4, '/').nth(3).map_or(String::new(), |p| format!("/{p}")) {
        return ("404 Not Found".into(), "{}".into());
    }
    let form = if request.method == "POST" { &request.body } else { query };
    let login = match request.method.as_str() {
        // Harbor and nvcr.io have no OAuth2; clients go on with GET.
        "POST" if !site.oauth => return ("405 Method Not Allowed".into(), "{}".into()),
        "POST" if values(form, "grant_type") != ["password"] => return unauthorized(),
        "POST" => values(form, "username").into_iter().zip(values(form, "password")).next(),
        _ => request.basic(),
    };
    // Some clients that have no login send an empty one.
    let login = login.filter(|(user, password)| !user.is_empty() || !password.is_empty());
    let wanted = values(form, "scope").iter().flat_map(|s| s.split(' ').map(str::to_string).collect::<Vec<_>>()).collect::<Vec<_>>().join(" ");
    let (user, verdict) = match login {
        None => (String::new(), Verdict::Anonymous),
        Some((user, password)) if user == site.user && password == site.password => (user, Verdict::Granted),
        Some((user, _)) => (user, Verdict::WrongPassword),
    };
    let mut access = Vec::new();
    for scope in wanted.split(' ').filter(|_| verdict == Verdict::Granted) {
        // type:name:actions
        let mut parts = scope.splitn(3, ':');
        if let (Some("repository"), Some(name), Some(actions)) = (parts.next(), parts.next(), parts.next())
            && name.starts_with(&format!("{}/", site.namespace))
        {
            let actions: Vec<&str> = actions.split(',').filter(|a| ["pull", "push"].contains(a)).collect();
            access.push(json!({"type": "repository", "name": name, "actions": actions}));
        }
    }
    log.lock().unwrap().push(Seen { user: user.clone(), what: wanted, verdict });
    if verdict == Verdict::WrongPassword {
        return unauthorized();
    }
    let token = signer.token(site.service, &user, &access.into());
    ("200 OK\r\nContent-Type: application/json".into(), json!({"token": token, "access_token": token, "expires_in": 300}).to_string())
}
