//! What an answer of an API server means, in words of ours. Pure.
//!
//! A server may repeat what was sent, and so may an admission webhook or a proxy before it. Its own words are shown through [`Redaction::told`]
//! alone, which drops them whole where they hold anything of a secret, however it is written.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Trouble;
use crate::format::json::{self, Object};
use crate::model::Stage;
use crate::model::text::{is_invisible, sanitize};

mod echo;

/// What is asked of an API server, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// As the rules of a role have it: `get`, `patch`, `delete`, `update`.
    pub(super) verb: &'static str,
    /// `secrets` or `serviceaccounts`.
    pub(super) resource: &'static str,
    /// Whose namespace.
    pub(super) namespace: &'a str,
    /// The object's name.
    pub(super) name: &'a str,
    /// Whether it changes something: reading does not, nor does a dry run.
    pub(super) writes: bool,
}

impl Asked<'_> {
    /// The step that it belongs to.
    pub(super) fn stage(self) -> Stage {
        if self.verb == "get" { Stage::Observe } else { Stage::Replace }
    }
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The object is not there.
    NotFound,
    /// Somebody changed the object since it was read.
    Stale,
    /// Others own what is to be written: the managers, each with its field.
    Conflict(Vec<(String, String)>),
    /// It can be changed only by making it anew; the field of which that is true.
    Immutable(String),
    /// Anything else, which will be no better for the next object of this namespace.
    Namespace(Trouble),
    /// Anything else.
    Failed(Stage, String),
}

/// Kubernetes `staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/types.go` Status.
#[derive(Deserialize)]
struct Status {
    kind: String,
    status: Option<String>,
    reason: Option<String>,
    message: Option<Zeroizing<String>>,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    kind: Option<String>,
    causes: Option<Vec<Cause>>,
}

#[derive(Deserialize)]
struct Cause {
    reason: Option<String>,
    message: Option<Zeroizing<String>>,
    field: Option<String>,
}

/// Whether an answer says that what was asked is done, as that to a deletion does.
pub(super) fn is_success(body: &[u8]) -> bool {
    serde_json::from_slice::<Status>(body).is_ok_and(|s| s.kind == "Status" && s.status.as_deref() == Some("Success"))
}

/// The longest name of a field or a manager that is shown, in characters.
const NAME_CHARS_MAX: usize = 128;

/// The most fields that are named.
const FIELDS_MAX: usize = 5;

/// What an answer means whose code says that the request was not done. A 401 is the connection's affair.
pub(super) fn refusal(code: u16, body: &[u8], asked: Asked<'_>, redaction: &Redaction) -> Refusal {
    let Asked { verb, resource, namespace, name, writes } = asked;
    let status = serde_json::from_slice::<Status>(body).ok().filter(|s| s.kind == "Status");
    let reason = status.as_ref().and_then(|s| s.reason.as_deref()).unwrap_or_default();
    let message = status.as_ref().and_then(|s| s.message.as_ref()).map_or("", |m| m.as_str());
    let details = status.as_ref().and_then(|s| s.details.as_ref());
    let causes: &[Cause] = details.and_then(|d| d.causes.as_deref()).unwrap_or_default();
    let has_cause = |reason: &str| causes.iter().any(|c| c.reason.as_deref() == Some(reason));
    let said = || match (&status, redaction.told(message)) {
        (None, _) => "; the answer is none of an API server: something stands before it".to_string(),
        (Some(_), Some(told)) if !told.is_empty() => format!("; it says: {told}"),
        (Some(_), Some(_)) => String::new(),
        (Some(_), None) => "; what it says is not shown, since it repeats something of a secret".to_string(),
    };
    let stage = asked.stage();
    match code {
        403 if has_cause("NamespaceTerminating") => Refusal::Namespace(Trouble::Failed(
            Stage::Observe,
            format!("namespace {namespace} is being deleted; wait until it is gone, and make it again with `kubectl create namespace {namespace}`"),
        )),
        403 if message.contains(&format!("cannot {verb} resource")) => {
            let who = user_of(message, redaction).map_or("the credentials of this context".to_string(), |user| format!("user {user}"));
            let rule = format!("{{apiGroups: [\"\"], resources: [{resource}], verbs: [{verb}]}}");
            Refusal::Namespace(Trouble::Failed(
                Stage::Rights,
                format!("{who} may not {verb} {resource} in namespace {namespace}; add to a role of theirs: {rule}"),
            ))
        }
        403 => Refusal::Failed(stage, format!("the API server refuses it (403){}", said())),
        404 if details.is_some_and(|d| d.kind.as_deref() == Some("namespaces")) => Refusal::Namespace(Trouble::Failed(
            Stage::Observe,
            format!("there is no namespace {namespace}, and regprov makes none: `kubectl create namespace {namespace}`"),
        )),
        404 if status.is_some() => Refusal::NotFound,
        409 if has_cause("FieldManagerConflict") => Refusal::Conflict(conflicts(causes, redaction)),
        409 if status.is_some() => Refusal::Stale,
        413 => Refusal::Failed(stage, format!("the API server takes no object of this size (413){}", said())),
        415 => Refusal::Failed(stage, format!("the API server knows no server-side apply (415); regprov needs Kubernetes 1.18 or newer{}", said())),
        422 => {
            let mut fields: Vec<String> = Vec::new();
            for field in causes.iter().filter_map(|c| c.field.as_deref()).map(|f| shown(f, redaction)) {
                if !fields.contains(&field) {
                    fields.push(field);
                }
            }
            let immutable = |c: &&Cause| {
                let message = c.message.as_ref().map_or("", |m| m.as_str());
                matches!(c.field.as_deref(), Some("type" | "data" | "immutable")) && message.contains("field is immutable")
            };
            if let Some(field) = causes.iter().find(immutable).and_then(|c| c.field.clone()) {
                return Refusal::Immutable(field);
            }
            fields.truncate(FIELDS_MAX);
            let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
            Refusal::Failed(stage, format!("the API server takes {name} for invalid (422){fields}{}", said()))
        }
        429 => Refusal::Failed(stage, "the API server has too much to do (429); run again later".to_string()),
        // An admission webhook that cannot be asked is asked before anything is written (k8s.io/apiserver pkg/admission/plugin/webhook).
        500 if message.contains("failed calling webhook") || message.contains("failed calling admission webhook") => {
            Refusal::Failed(stage, format!("the API server could not ask an admission webhook (500){}", said()))
        }
        500.. if writes => Refusal::Namespace(Trouble::Unknown(
            stage,
            format!("the API server failed ({code}) after it was sent {name}; whether it wrote that is not known: run again{}", said()),
        )),
        300..400 => Refusal::Failed(stage, format!("the API server sends elsewhere ({code}), where nothing is sent to{}", said())),
        _ => {
            let reason = if is_word(reason) { format!(" {reason}") } else { String::new() };
            Refusal::Failed(stage, format!("the API server answers {code}{reason}{}", said()))
        }
    }
}

/// Whether a `reason` is of the form of those that there are (`InternalError`).
fn is_word(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Who was refused: `... is forbidden: User "NAME" cannot ...` (k8s.io/apiserver pkg/endpoints/handlers/responsewriters/errors.go).
fn user_of(message: &str, redaction: &Redaction) -> Option<String> {
    let (name, _) = message.split_once(" is forbidden: User \"")?.1.split_once('"')?;
    named(name, redaction).map(|name| format!("\"{name}\""))
}

/// A name that consists of what names consist of, and holds nothing of a secret.
fn named(name: &str, redaction: &Redaction) -> Option<String> {
    let fits = !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/@+ ".contains(&b));
    if fits { redaction.told(name) } else { None }
}

/// A field as messages name it: `.data..dockerconfigjson`, `metadata.labels[a/b]`.
fn shown(field: &str, redaction: &Redaction) -> String {
    let fits = field.len() <= NAME_CHARS_MAX && !field.chars().any(is_invisible);
    redaction.told(field).filter(|_| fits).unwrap_or_else(|| "a field that is not shown".to_string())
}

/// The managers that own what is to be written, each with the field: the message is `conflict with "NAME" using v1` (structured-merge-diff
/// `merge/conflict.go`; with a subresource and a time in later versions).
fn conflicts(causes: &[Cause], redaction: &Redaction) -> Vec<(String, String)> {
    let of = |cause: &Cause| {
        let message = cause.message.as_ref().map_or("", |m| m.as_str());
        let name = message.strip_prefix("conflict with \"").and_then(|rest| rest.split_once('"')).and_then(|(name, _)| named(name, redaction));
        let manager = name.map_or("another manager".to_string(), |name| format!("\"{name}\""));
        (manager, cause.field.as_deref().map_or("a field".to_string(), |field| shown(field, redaction)))
    };
    let mut all: Vec<(String, String)> = causes.iter().filter(|c| c.reason.as_deref() == Some("FieldManagerConflict")).map(of).collect();
    all.dedup();
    all.truncate(FIELDS_MAX);
    all
}

/// What must not be shown: everything secret in some documents.
#[derive(Default)]
pub(super) struct Redaction {
    /// Passwords, `auth`s and whole documents in base64.
    secrets: Vec<Zeroizing<Vec<u8>>>,
}

/// So many bytes of a secret that follow on each other are something of it. Shorter secrets count as a whole.
const WINDOW_BYTES: usize = 8;

/// What is no document of logins is no secret when it is shorter.
const DOCUMENT_BYTES_MIN: usize = 4;

/// A longer message is not shown: a secret may stand anywhere in it.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

impl Redaction {
    /// Adds what is secret in a `.dockerconfigjson`, ours or one that was found; one that cannot be read is secret as a whole.
    pub(super) fn add(&mut self, document: &[u8]) {
        let base64 = Zeroizing::new(STANDARD.encode(document).into_bytes());
        let text = std::str::from_utf8(document).unwrap_or_default();
        let top = Object::parse(text).ok();
        let auths = top.as_ref().and_then(|top| top.get("auths")).and_then(|auths| Object::parse(auths.get()).ok());
        let Some(auths) = auths else {
            // Anything is in every message that is so short, and whoever writes it could silence them all.
            if document.len() >= DOCUMENT_BYTES_MIN {
                self.secrets.extend([base64, Zeroizing::new(document.to_vec())]);
            }
            return;
        };
        self.secrets.push(base64);
        for (_, entry) in &auths.0 {
            let entry = Object::parse(entry.get()).unwrap_or(Object(Vec::new()));
            let secret = entry.0.iter().filter(|(key, _)| key != "username" && key != "email").filter_map(|(_, value)| json::as_text(value));
            self.secrets.extend(secret.filter(|s| !s.is_empty()).map(|s| Zeroizing::new(s.as_bytes().to_vec())));
        }
    }

    /// Adds what is secret in a Secret that was found, a copy in an annotation included.
    pub(super) fn of_found(&mut self, found: &super::secret::Found) {
        found.documents().for_each(|document| self.add(&document));
    }

    /// A message of a server, fit to be shown; `None` where it holds anything of a secret: as it is, escaped, encoded, or cut into pieces.
    pub(super) fn told(&self, message: &str) -> Option<String> {
        // What is not seen keeps nothing apart.
        let seen = Zeroizing::new(message.chars().filter(|c| c.is_ascii() || !is_invisible(*c)).collect::<String>());
        if message.len() > MESSAGE_BYTES_MAX || echo::looks_encoded(&seen) {
            return None;
        }
        let hasher = RandomState::new();
        // The hashes, since copies of the secrets themselves would have to be wiped.
        let mut windows: HashSet<u64> = HashSet::new();
        let mut whole: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for secret in &self.secrets {
            let lower = Zeroizing::new(secret.to_ascii_lowercase());
            // Folding leaves too little of some secrets to know them by.
            let others = echo::base32(secret).into_iter().chain([echo::folded(secret)]).filter(|f| f.len() >= 4);
            for form in others.chain([lower]).filter(|f| !f.is_empty()).flat_map(|form| [echo::reversed(&form), form]) {
                if form.len() < WINDOW_BYTES {
                    whole.push(form);
                } else {
                    windows.extend(form.windows(WINDOW_BYTES).map(|w| hasher.hash_one(w)));
                }
            }
        }
        let holds = |text: &[u8]| {
            text.windows(WINDOW_BYTES).any(|w| windows.contains(&hasher.hash_one(w))) || whole.iter().any(|s| text.windows(s.len()).any(|w| w == s.as_slice()))
        };
        let leaks = |form: &[u8]| holds(&Zeroizing::new(form.to_ascii_lowercase())) || holds(&echo::folded(form));
        let forms = echo::forms(&seen)?;
        if forms.iter().any(|form| leaks(form)) { None } else { Some(sanitize(message)) }
    }
}

#[cfg(test)]
mod tests;
