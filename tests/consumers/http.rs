//! As much of HTTP/1.1 as the servers of these tests need.

use std::io::{BufRead, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One request with its body.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    /// Reads a request; `None` at the end of the connection.
    pub(crate) fn read(stream: &mut impl BufRead) -> Option<Request> {
        let mut words = line(stream)?.split_whitespace().map(str::to_string).collect::<Vec<_>>().into_iter();
        let mut request = Request { method: words.next()?, path: words.next()?, headers: Vec::new(), body: String::new() };
        while let Some((name, value)) = line(stream)?.split_once(':') {
            request.headers.push((name.to_lowercase(), value.trim().to_string()));
        }
        let mut body = Vec::new();
        if request.header("transfer-encoding") == Some("chunked") {
            // podman and skopeo send the form of a token request in chunks.
            while let size @ 1.. = u64::from_str_radix(&line(stream)?, 16).ok()? {
                stream.take(size).read_to_end(&mut body).ok()?;
                line(stream)?;
            }
            line(stream)?;
        } else {
            let length = request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
            stream.take(length).read_to_end(&mut body).ok()?;
        }
        request.body = String::from_utf8_lossy(&body).into_owned();
        Some(request)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The account and password of a Basic header.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let decoded = STANDARD.decode(self.header("authorization")?.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8_lossy(&decoded).into_owned();
        text.split_once(':').map(|(user, password)| (user.to_string(), password.to_string()))
    }
}

/// A line without its end; `None` where there is no more.
fn line(stream: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    Some(line.trim_end().to_string())
}

/// Answers with a status line and headers (`head`) and a body, which is left out for HEAD.
pub(crate) fn respond(stream: &mut impl Write, request: &Request, head: &str, body: &str) {
    let sent = if request.method == "HEAD" { "" } else { body };
    let _ = write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{sent}", body.len());
    let _ = stream.flush();
}

/// The values of `key` in a query or form.
pub(crate) fn values(form: &str, key: &str) -> Vec<String> {
    form.split('&').filter_map(|pair| pair.split_once('=')).filter(|(k, _)| *k == key).map(|(_, v)| decoded(v)).collect()
}

fn decoded(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}
