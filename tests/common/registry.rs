//! Registries and token servers on loopback that answer as they are told to, over HTTP or TLS, and keep what they were sent.

// Each user takes what it needs.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One HTTP request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    /// The other header lines, their names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    fn read(stream: &mut impl BufRead) -> Option<Request> {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let mut words = line.split_whitespace().map(str::to_string);
        let (method, path) = (words.next()?, words.next()?);
        let mut request = Request { method, path, authorization: None, headers: Vec::new(), body: String::new() };
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase() {
                name if name == "authorization" => request.authorization = Some(value.trim().to_string()),
                name => request.headers.push((name, value.trim().to_string())),
            }
        }
        let mut body = vec![0; request.header("content-length").map_or(0, |n| n.parse().unwrap())];
        stream.read_exact(&mut body).ok()?;
        request.body = String::from_utf8(body).ok()?;
        Some(request)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The account and password of a Basic header.
    pub(crate) fn basic(&self) -> Option<String> {
        let decoded = STANDARD.decode(self.authorization.as_deref()?.strip_prefix("Basic ")?).ok()?;
        Some(String::from_utf8_lossy(&decoded).into_owned())
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }
}

/// What is answered.
pub(crate) enum Reply {
    /// Status with further header lines, and a body.
    Http(String, String),
    /// These bytes, and then the end.
    Raw(Vec<u8>),
    /// These bytes, and then these others without end.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, and then one a while.
    Drip(Vec<u8>),
    /// Nothing, and the connection stays.
    Nothing,
}

pub(crate) fn http(head: impl Into<String>, body: impl Into<String>) -> Reply {
    Reply::Http(head.into(), body.into())
}

pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Listens on this address of loopback. `answer` is given each request and the server's own port.
    pub(crate) fn start(ip: &str, tls: Option<Arc<ServerConfig>>, answer: impl Fn(&Request, u16) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (log, answer) = (seen.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer, tls) = (log.clone(), answer.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    Some(config) => serve(BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)), port, &log, &*answer),
                    None => {
                        let mut reader = BufReader::new(stream);
                        // As Go's servers do: who speaks TLS is told that this is HTTP.
                        if reader.fill_buf().is_ok_and(|b| b.first() == Some(&0x16)) {
                            let _ = reader.get_mut().write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
                            return;
                        }
                        serve(reader, port, &log, &*answer);
                    }
                });
            }
        });
        Server { port, seen }
    }

    /// Every request since the start.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The logins that it was sent, each once.
    pub(crate) fn logins(&self) -> Vec<String> {
        let mut all: Vec<String> = self.seen().iter().filter_map(Request::basic).collect();
        all.dedup();
        all
    }
}

fn serve(mut stream: BufReader<impl Read + Write>, port: u16, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request, u16) -> Reply) {
    while let Some(request) = Request::read(&mut stream) {
        log.lock().unwrap().push(request.clone());
        let out = stream.get_mut();
        let sent = match answer(&request, port) {
            Reply::Http(head, body) => write!(out, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).and_then(|()| out.flush()),
            Reply::Raw(bytes) => {
                let _ = out.write_all(&bytes).and_then(|()| out.flush());
                return;
            }
            Reply::Endless(head, more) => {
                let more = more.repeat(1 + 4096 / more.len());
                let mut sent = out.write_all(&head);
                while sent.is_ok() {
                    sent = out.write_all(&more);
                }
                sent
            }
            Reply::Drip(head) => {
                let mut sent = out.write_all(&head).and_then(|()| out.flush());
                while sent.is_ok() {
                    std::thread::sleep(Duration::from_millis(200));
                    sent = out.write_all(b"x").and_then(|()| out.flush());
                }
                sent
            }
            Reply::Nothing => {
                std::thread::sleep(Duration::from_secs(60));
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// A proxy on loopback that connects every name to one port of it, or nobody; what it was told, and every byte that it could read.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    told: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    pub(crate) fn start(to: Option<u16>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let told: Arc<Mutex<Vec<u8>>> = Arc::default();
        let log = told.clone();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(client.try_clone().unwrap());
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        if reader.read_until(b'\n', &mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    log.lock().unwrap().extend(&head);
                    let Some(to) = to else {
                        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
                        return;
                    };
                    let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                    let (mut back, mut front) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut back, &mut front));
                    let mut buffer = [0; 4096];
                    while let Ok(n @ 1..) = reader.read(&mut buffer) {
                        log.lock().unwrap().extend(&buffer[..n]);
                        if server.write_all(&buffer[..n]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Proxy { port, told }
    }

    pub(crate) fn told(&self) -> String {
        String::from_utf8_lossy(&self.told.lock().unwrap()).into_owned()
    }
}

/// A CA of the test.
pub(crate) struct Ca {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(crate) pem: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Ca {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// A server's certificate for a name, which ended long ago when `expired`.
    pub(crate) fn server(&self, name: &str, expired: bool) -> Arc<ServerConfig> {
        let mut params = rcgen::CertificateParams::new(vec![name.to_string()]).unwrap();
        if expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap())
    }
}
