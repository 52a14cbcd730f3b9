//! One question to an API server and its answer.
//!
//! Requests are made here by hand and not by kube's `Api`: what that logs, and the errors that it makes, hold the text of answers
//! (kube-client 5 `src/client/mod.rs` request), and an answer may hold a password.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

use super::Trouble;
use super::access::Cluster;
use super::credentials::Ready;
use super::trouble::Fault;
use crate::model::Stage;

/// The largest answer that is read, in bytes: a page of a list, each entry of which may be as large as etcd takes.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long is waited before each further attempt of what was refused or cut off; there are no more than these.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(500), Duration::from_millis(1000)];
/// The longest that a server may ask us to wait before the next attempt.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// What a request does, as HTTP has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Asks a question that has a body: a review, or whether an object could be made, which has to be a dry run.
    Post,
    /// Replaces the object that has this resourceVersion.
    Put,
    /// Server-side apply.
    Patch,
    /// Takes away the object that has this uid.
    Delete,
}

/// A question to an API server. Each may be sent twice: whoever makes one sees to it that the second time changes nothing more (a
/// resourceVersion, a uid, or server-side apply).
pub struct Request {
    method: Method,
    path: String,
    dry_run: bool,
    stage: Stage,
    accept: &'static str,
    content: Option<(&'static str, Bytes)>,
}

impl Request {
    /// A request to a path such as `/api/v1/namespaces?limit=500`; `stage` is named where no answer comes.
    pub fn new(stage: Stage, method: Method, path: impl Into<String>) -> Self {
        Request { method, path: path.into(), dry_run: false, stage, accept: "application/json", content: None }
    }

    /// With a document, such as `application/json`. Its memory is wiped when the last attempt is over.
    #[must_use]
    pub fn content(mut self, content_type: &'static str, document: Zeroizing<Vec<u8>>) -> Self {
        self.content = Some((content_type, Bytes::from_owner(document)));
        self
    }

    /// Asks for another form of the answer, such as `application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`.
    #[must_use]
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// Asks only what would be done, where `dry_run` says so. A deletion that has a body needs this in its body too.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Whether it changes something: a dry run does not, nor does a question.
    fn writes(&self) -> bool {
        !matches!(self.method, Method::Get | Method::Post) && !self.dry_run
    }

    /// The path, with the dry run in its query.
    fn uri(&self) -> Cow<'_, str> {
        match (self.dry_run, self.path.contains('?')) {
            (false, _) => Cow::Borrowed(&self.path),
            (true, has_query) => Cow::Owned(format!("{}{}dryRun=All", self.path, if has_query { '&' } else { '?' })),
        }
    }

    fn to_http(&self, ready: &Ready) -> Option<http::Request<Body>> {
        let method = match self.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
            Method::Delete => http::Method::DELETE,
        };
        let mut request = http::Request::builder().method(method).uri(&*self.uri()).header(http::header::ACCEPT, self.accept);
        request = request.header(http::header::USER_AGENT, concat!("regprov/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &ready.authorization {
            request = request.header(http::header::AUTHORIZATION, authorization.clone());
        }
        match &self.content {
            Some((content_type, document)) => request.header(http::header::CONTENT_TYPE, *content_type).body(Body::from(document.clone())),
            None => request.body(Body::empty()),
        }
        .ok()
    }
}

/// What an API server answered. It has no `Debug`: it may hold what nobody shall see.
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body; wiped from memory when it is dropped.
    pub body: Zeroizing<Vec<u8>>,
    /// Whether the server may have done the same before, by an attempt of which no answer came.
    pub repeated: bool,
}

/// How one attempt ended.
enum Attempt {
    Answered(Answer, Option<Duration>),
    Failed(Fault),
}

impl Cluster {
    /// Sends a request and returns whatever the server answers, but for 401. One that was refused, cut off or put off (429, and 5xx with
    /// `Retry-After`) is sent again up to three times; after a 401 once, with credentials that were had anew, as client-go has them anew
    /// (client-go `plugin/pkg/client/auth/exec/exec.go` RoundTrip). All attempts together take no longer than [`super::Timeouts::request`].
    ///
    /// # Errors
    /// No answer came, or it does not know us: unreachable; or unknown, where a change may have been heard.
    pub async fn send(&self, request: &Request) -> Result<Answer, Trouble> {
        let mut ready = self.ready(None).await?;
        let deadline = Instant::now() + self.timeouts().request;
        let (mut heard, mut renewed, mut pauses) = (false, false, PAUSES.into_iter());
        loop {
            let attempt = self.attempt(&ready, request, deadline).await;
            let pause = match &attempt {
                Attempt::Answered(answer, _) if answer.status == 401 => {
                    if renewed || !self.can_renew() {
                        return Err(self.unknown_to_it());
                    }
                    renewed = true;
                    ready = self.ready(Some(&ready)).await.map_err(|trouble| self.after(heard, request, trouble))?;
                    continue;
                }
                Attempt::Answered(_, None) => None,
                Attempt::Answered(_, Some(wait)) => pauses.next().map(|pause| pause.max(*wait)),
                Attempt::Failed(fault) => {
                    heard |= fault.may_be_heard;
                    if fault.passes { pauses.next() } else { None }
                }
            };
            match (attempt, pause.filter(|pause| Instant::now() + *pause < deadline)) {
                (_, Some(pause)) => sleep(pause).await,
                (Attempt::Answered(answer, _), None) => return Ok(Answer { repeated: heard, ..answer }),
                (Attempt::Failed(fault), None) => {
                    let stage = fault.stage.unwrap_or(request.stage);
                    return Err(self.after(heard, request, Trouble::Unreachable(stage, self.says(fault.what))));
                }
            }
        }
    }

    /// What becomes of a failure when a change may have been heard before it.
    fn after(&self, heard: bool, request: &Request, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Unreachable(_, reason) if heard && request.writes() => {
                Trouble::Unknown(request.stage, format!("{reason}; whether it wrote what was sent is not known: run the command again"))
            }
            trouble => trouble,
        }
    }

    async fn attempt(&self, ready: &Arc<Ready>, request: &Request, deadline: Instant) -> Attempt {
        let Some(http) = request.to_http(ready) else { return Attempt::Failed(Fault::no_request()) };
        let answered = timeout_at(deadline, async {
            let response = ready.client.send(http).await.map_err(|e| Fault::of(&e))?;
            let (parts, body) = response.into_parts();
            let wait = wait_for(parts.status.as_u16(), parts.headers.get(http::header::RETRY_AFTER));
            let body = read(body).await?;
            Ok((Answer { status: parts.status.as_u16(), body, repeated: false }, wait))
        });
        match answered.await {
            Ok(Ok((answer, wait))) => Attempt::Answered(answer, wait),
            Ok(Err(fault)) => Attempt::Failed(fault),
            Err(_) => Attempt::Failed(Fault::late()),
        }
    }
}

/// A name as one segment of a path, whatever stands in it (RFC 3986, "unreserved"); none of them is `.` or `..`.
pub(super) fn segment(name: &str) -> String {
    if matches!(name, "." | "..") {
        return name.replace('.', "%2E");
    }
    name.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

/// How long such an answer asks us to wait, where it asks to be asked again (client-go `rest/with_retry.go` checkWait).
fn wait_for(status: u16, header: Option<&http::HeaderValue>) -> Option<Duration> {
    let seconds = header.and_then(|h| h.to_str().ok()).and_then(|h| h.trim().parse().ok()).map(Duration::from_secs);
    match (status, seconds) {
        (429, None) => Some(Duration::ZERO),
        (429 | 500..=599, Some(wait)) if wait <= RETRY_AFTER_MAX => Some(wait),
        _ => None,
    }
}

/// The whole body.
async fn read(mut body: Body) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let size = usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
    // Where it tells its size it never grows, so that no copy is left behind.
    let mut out = Zeroizing::new(Vec::with_capacity(size.clamp(4 << 10, ANSWER_BYTES_MAX)));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|e| Fault::of(&e))?.into_data() else { continue };
        if out.len() + data.len() > ANSWER_BYTES_MAX {
            return Err(Fault::too_large());
        }
        if out.len() + data.len() > out.capacity() {
            let mut wider = Zeroizing::new(Vec::with_capacity((2 * out.capacity()).max(out.len() + data.len())));
            wider.extend_from_slice(&out);
            out = wider;
        }
        out.extend_from_slice(&data);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
