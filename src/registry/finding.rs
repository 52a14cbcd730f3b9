//! What an answer means for a login. Pure.

use super::Subject;
use super::http::{Said, Trouble};
use super::realm::Realm;
use super::token;
use crate::model::Login;
use crate::model::text::{sanitize, shell_word};
use crate::model::verify::{LoginCheck, Scheme, Verdict};

/// A way out of most that has to do with the network.
pub(super) const NO_WAY: &str = "is the registry's name right, and does this machine need a proxy (HTTPS_PROXY) to reach it?";

/// A verdict with its reason, and what was learned on the way to it.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    reason: String,
    hint: Option<String>,
    scheme: Option<Scheme>,
    auth_host: Option<String>,
    can_be_confirmed: bool,
    granted: Vec<String>,
}

/// Who refused a login.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'a> {
    Registry,
    TokenServer(&'a str),
}

impl std::fmt::Display for By<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            By::Registry => f.write_str("the registry"),
            By::TokenServer(host) => write!(f, "the token server {}", sanitize(host)),
        }
    }
}

impl Finding {
    pub(super) fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Finding { verdict, reason: reason.into(), hint: None, scheme: None, auth_host: None, can_be_confirmed: false, granted: Vec::new() }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Finding { hint: Some(hint.into()), ..self }
    }

    pub(super) fn asked_by(self, scheme: Scheme, auth_host: Option<&str>) -> Self {
        Finding { scheme: Some(scheme), auth_host: self.auth_host.or(auth_host.map(str::to_string)), ..self }
    }

    pub(super) fn granted(self, scopes: Vec<String>) -> Self {
        Finding { granted: scopes, ..self }
    }

    /// The login's row.
    pub(super) fn of(self, login: &Login) -> LoginCheck {
        LoginCheck {
            login: login.name.clone(),
            registry: login.registry.to_string(),
            username: login.username.as_str().to_string(),
            verdict: self.verdict,
            reason: self.reason,
            hint: self.hint,
            scheme: self.scheme,
            auth_host: self.auth_host.as_deref().map(sanitize),
            can_be_confirmed: self.can_be_confirmed,
            granted: self.granted,
        }
    }
}

/// The login was sent and came back with 401 or 403: wrong, or past its end when anything says so.
pub(super) fn refused(said: &Said, by: By<'_>, subject: &Subject, now: i64) -> Finding {
    let login = &subject.login;
    let answer = format!("{by} answers {}{}", said.status, said.code());
    let ended = match () {
        () if said.names_expiry => Some("it says that the login has expired".to_string()),
        () if login.expires.as_ref().is_some_and(|e| e.is_past(now)) => Some("its `expires:` is past".to_string()),
        () if token::claims(login.password.expose()).and_then(|c| c.get("exp")?.as_i64()).is_some_and(|exp| exp <= now) => {
            Some("the password is a token (JWT) that has ended".to_string())
        }
        () => None,
    };
    let set = format!("set it anew: {}", subject.set_line());
    match ended {
        Some(why) => Finding::new(Verdict::Expired, format!("{answer}, and {why}")).hint(set),
        None => Finding::new(Verdict::WrongPassword, answer).hint(format!("{set}; or is the account {} at an end?", sanitize(login.username.as_str()))),
    }
}

/// The token server answered 200 and gave a token that is nobody's, so it did not take the login.
pub(super) fn anonymous(by: By<'_>, subject: &Subject) -> Finding {
    Finding::new(Verdict::WrongPassword, format!("{by} answers 200 with a token for nobody: it did not take the login"))
        .hint(format!("set it anew: {}", subject.set_line()))
}

/// The login is right, and the canary is not for it.
pub(super) fn no_pull(repository: &str, how: impl std::fmt::Display, login: &Login) -> Finding {
    Finding::new(Verdict::NoPullRight, format!("it may not pull {repository}: {how}"))
        .hint(format!("give {} the right to pull it, or name another repository as `canary:`", sanitize(login.username.as_str())))
}

/// An answer that says nothing of the login: too many requests, trouble of the server, or something else than a registry's answer.
pub(super) fn other_status(status: u16, by: By<'_>) -> Finding {
    match status {
        429 => Finding::new(Verdict::RateLimited, format!("{by} answers 429, too many requests")).hint("wait a while and ask again"),
        500..=599 => Finding::new(Verdict::ServerError, format!("{by} answers {status}")).hint("ask again later; its operator may know more"),
        _ => {
            Finding::new(Verdict::NotARegistry, format!("{by} answers {status} where a registry does not")).hint("is the registry's name right, port included?")
        }
    }
}

/// A token server that does not get the login.
pub(super) fn untrusted(realm: &Realm, subject: &Subject) -> Finding {
    let login = &subject.login;
    let with = |host: Option<&String>, finding: Finding| Finding { auth_host: host.cloned(), ..finding };
    match realm {
        Realm::Foreign { host } => {
            let host_shown = sanitize(host);
            let reason = format!("{} wants the login sent to {host_shown}, which nobody has confirmed; it was not sent", login.registry);
            let can_be_confirmed = !host.contains(['[', ':']) && !host.ends_with('.');
            let hosts = login.auth_hosts.iter().chain([host]).map(|h| format!(" --auth-host {}", shell_word(h))).collect::<String>();
            let finding = Finding::new(Verdict::RealmNotTrusted, reason);
            let finding = match can_be_confirmed {
                true => finding.hint(format!(
                    "if that is the registry's token server, confirm it: regprov verify {} --add-auth-hosts; or, with the password at hand: {}{hosts}",
                    shell_word(&subject.inventory),
                    subject.set_line()
                )),
                false => finding.hint("ask its operator for a token server with a name"),
            };
            Finding { can_be_confirmed, ..with(Some(host), finding) }
        }
        Realm::Unfit { host, why } => {
            let name = host.as_deref().map_or("its token server".to_string(), |h| format!("its token server {}", sanitize(h)));
            let finding = Finding::new(Verdict::RealmNotTrusted, format!("{} names an address that gets no login: {name} {why}", login.registry));
            with(host.as_ref(), finding.hint("nothing was sent there; its operator has to put the realm right"))
        }
        Realm::Trusted(_) => unreachable!("a trusted realm is asked"),
    }
}

/// Something that led elsewhere.
pub(super) fn redirected(by: By<'_>, host: &str) -> Finding {
    Finding::new(Verdict::RedirectRefused, format!("{by} leads to {}, which was not followed", sanitize(host)))
        .hint("if that is the registry, name it in the login; behind a network's sign-in page, sign in there first")
}

/// No answer.
pub(super) fn trouble(trouble: Trouble, by: By<'_>) -> Finding {
    let prefix = match by {
        By::Registry => String::new(),
        by => format!("{by}: "),
    };
    let (verdict, why, hint) = words(trouble);
    Finding::new(verdict, prefix + why).hint(hint)
}

/// What an answer that did not come means, why it did not, and the way out.
pub(super) fn words(trouble: Trouble) -> (Verdict, &'static str, &'static str) {
    match trouble {
        Trouble::Network(why) => (Verdict::Unreachable, why, NO_WAY),
        Trouble::Proxy => (Verdict::Unreachable, "the proxy of the environment does not connect", "see HTTPS_PROXY, ALL_PROXY and NO_PROXY"),
        Trouble::UnknownCa => (
            Verdict::Tls,
            "its certificate comes from a CA that this machine does not know",
            "add the CA to the system's, or give its file with --ca or SSL_CERT_FILE",
        ),
        Trouble::WrongName => (Verdict::Tls, "its certificate is for another name", "is the registry's name right? its operator has to list this one"),
        Trouble::CertificateExpired => (Verdict::Tls, "its certificate has expired", "its operator has to renew it; is this machine's clock right?"),
        Trouble::CertificateNotYet => (Verdict::Tls, "its certificate is not valid yet", "is this machine's clock right?"),
        Trouble::CertificateUnfit => (Verdict::Tls, "its certificate does not do", "look at it: openssl s_client -connect HOST:443 -showcerts"),
        Trouble::NoTls => (
            Verdict::Tls,
            "it does not speak TLS there",
            "is the port right? a password is sent in the clear to this machine itself alone (localhost, 127.0.0.1)",
        ),
        Trouble::TlsAlert => (Verdict::Tls, "the TLS handshake was broken off", "see its log; it may want a client certificate, or a newer TLS"),
        Trouble::TooLarge => (Verdict::NotARegistry, "its answer is larger than a registry's", "is the registry's name right, port included?"),
        Trouble::NotHttp => (Verdict::NotARegistry, "its answer is not HTTP", "is the registry's name right, port included?"),
    }
}
