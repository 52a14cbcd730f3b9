//! The way of one login: ask without it, read how it is asked for, show it where it may go, read what was granted.

use std::time::Duration;

use reqwest::Url;

use super::Subject;
use super::challenge::Challenge;
use super::finding::{self, By, Finding};
use super::http::{Answer, Client, Credential, Trouble};
use super::realm::{self, Realm};
use super::token::Token;
use crate::model::Login;
use crate::model::verify::{LoginCheck, Scheme, Verdict};

/// Redirects that are followed within one server.
const REDIRECTS_MAX: usize = 3;
/// The way out where nobody here can do anything.
const OPERATOR: &str = "its operator may know more";
/// How long a registry of this machine has to speak TLS, before it is asked without.
const LOCAL_TLS_DEADLINE: Duration = Duration::from_secs(2);

/// Checks one login; whoever calls sets the deadline.
pub(super) async fn check(client: &Client, subject: &Subject, now: i64) -> LoginCheck {
    let login = &subject.login;
    let canary = subject.canary.as_ref().map(|c| c.at(&login.registry));
    let way = Way { client, subject, login, canary: canary.as_deref(), now };
    way.run().await.unwrap_or_else(|finding| finding).of(login)
}

struct Way<'a> {
    client: &'a Client,
    subject: &'a Subject,
    login: &'a Login,
    /// The canary as the registry names it.
    canary: Option<&'a str>,
    now: i64,
}

/// What a step came to; an error ends the way early, and is no worse than a good end.
type Step<T> = Result<T, Box<Finding>>;

fn end<T>(finding: Finding) -> Step<T> {
    Err(Box::new(finding))
}

impl Way<'_> {
    async fn run(&self) -> Result<Finding, Finding> {
        self.steps().await.map_err(|f| *f)
    }

    async fn steps(&self) -> Step<Finding> {
        let (base, answer) = self.first_answer().await?;
        let challenges = match answer.status {
            200..=299 if answer.is_page => return end(page()),
            200..=299 => match self.asked_for_canary(&base).await? {
                Some(challenges) => challenges,
                None => return self.open_to_all(&base).await,
            },
            401 => self.challenges(answer)?,
            403 => {
                let why = "the registry answers 403 before it asks for a login";
                return end(Finding::new(Verdict::Unproven, why).hint("it may refuse this machine's address"));
            }
            status => return end(finding::other_status(status, By::Registry)),
        };
        let of = |scheme: &str| challenges.iter().find(|c| c.scheme == scheme);
        match (of("bearer"), of("basic")) {
            (Some(bearer), _) => self.bearer(&base, bearer).await,
            (None, Some(_)) => self.basic(&base).await.map(|f| f.asked_by(Scheme::Basic, None)).map_err(|f| Box::new(f.asked_by(Scheme::Basic, None))),
            (None, None) => {
                end(Finding::new(Verdict::NotARegistry, "it asks for a login neither by Basic nor by Bearer")
                    .hint("is the registry's name right, port included?"))
            }
        }
    }

    /// GET /v2/ without the login, and the address that answered. A registry of this machine may speak plain HTTP, as docker has it.
    async fn first_answer(&self) -> Step<(Url, Answer)> {
        let at = |scheme: &str| Url::parse(&format!("{scheme}://{}/v2/", self.login.registry.api_authority()));
        let (Ok(base), Ok(plain)) = (at("https"), at("http")) else {
            return end(Finding::new(Verdict::NotARegistry, "its name makes no address").hint("write the registry as `host` or `host:port`"));
        };
        if !base.host_str().is_some_and(realm::is_loopback) {
            return self.ask(&base, None).await.map(|answer| (base, answer));
        }
        match tokio::time::timeout(LOCAL_TLS_DEADLINE, self.client.get(&base, None)).await {
            Ok(Ok(answer)) => self.followed(&base, answer, None).await.map(|answer| (base, answer)),
            Ok(Err(trouble)) if !trouble.may_be_plain() => end(finding::trouble(trouble, By::Registry)),
            _ => self.ask(&plain, None).await.map(|answer| (plain, answer)),
        }
    }

    /// Asks the registry, and follows it within itself.
    async fn ask(&self, url: &Url, credential: Option<&Credential>) -> Step<Answer> {
        let answer = self.client.get(url, credential).await.map_err(|t| Box::new(finding::trouble(t, By::Registry)))?;
        self.followed(url, answer, credential).await
    }

    async fn followed(&self, url: &Url, answer: Answer, credential: Option<&Credential>) -> Step<Answer> {
        self.follow(url, answer, credential, By::Registry, realm::stays).await
    }

    /// Follows redirects as long as `may` lets them; the login goes along, so it decides where that goes.
    async fn follow(&self, url: &Url, answer: Answer, credential: Option<&Credential>, by: By<'_>, may: impl Fn(&Url, &Url) -> bool) -> Step<Answer> {
        let (mut url, mut answer) = (url.clone(), answer);
        for _ in 0..REDIRECTS_MAX {
            let (301 | 302 | 303 | 307 | 308, Some(location)) = (answer.status, &answer.location) else { return Ok(answer) };
            let Ok(to) = url.join(location) else {
                return end(Finding::new(Verdict::RedirectRefused, format!("{by} leads to an address that is none")).hint(OPERATOR));
            };
            if !may(&url, &to) {
                let host = to.host_str().unwrap_or("no host").to_string();
                let host = if to.scheme() == "http" && url.scheme() == "https" { format!("{host} without TLS") } else { host };
                return end(finding::redirected(by, &host));
            }
            answer = self.client.get(&to, credential).await.map_err(|t| finding::trouble(t, by))?;
            url = to;
        }
        match answer.status {
            300..=399 => end(Finding::new(Verdict::NotARegistry, format!("{by} leads in circles")).hint("is the registry's name right, port included?")),
            _ => Ok(answer),
        }
    }

    fn challenges(&self, answer: Answer) -> Step<Vec<Challenge>> {
        let how = |why: &str| Finding::new(Verdict::NotARegistry, format!("its WWW-Authenticate cannot be read: {why}"));
        match answer.challenges {
            Ok(found) if found.is_empty() => {
                end(Finding::new(Verdict::NotARegistry, "it answers 401 and does not say how to log in").hint("is the registry's name right, port included?"))
            }
            Ok(found) => Ok(found),
            Err(why) => end(how(why).hint("its operator has to put that right; a proxy in between may spoil it")),
        }
    }

    fn tags(&self, base: &Url, repository: &str) -> Url {
        let mut url = base.clone();
        url.set_path(&format!("/v2/{repository}/tags/list"));
        url.set_query(Some("n=1"));
        url
    }

    /// A registry that lets anyone read /v2/ may ask for a login at the canary.
    async fn asked_for_canary(&self, base: &Url) -> Step<Option<Vec<Challenge>>> {
        let Some(canary) = self.canary else { return Ok(None) };
        let answer = self.ask(&self.tags(base, canary), None).await?;
        if answer.status == 401 { self.challenges(answer).map(Some) } else { Ok(None) }
    }

    /// /v2/ answers without a login. A wrong one may still be refused; a right one cannot be told from none.
    async fn open_to_all(&self, base: &Url) -> Step<Finding> {
        let answer = self.ask(base, Some(&Credential::basic(self.login))).await?;
        match answer.status {
            401 | 403 => end(finding::refused(&answer.said().await, By::Registry, self.subject, self.now)),
            200..=299 => Ok(Finding::new(Verdict::Unproven, "the registry lets everybody in, so nothing is known of the login")
                .hint("name a private repository as the login's `canary:`")),
            status => end(finding::other_status(status, By::Registry)),
        }
    }

    async fn basic(&self, base: &Url) -> Step<Finding> {
        let credential = Credential::basic(self.login);
        let answer = self.ask(base, Some(&credential)).await?;
        match answer.status {
            200..=299 if answer.is_page => return end(page()),
            200..=299 => {}
            401 | 403 => return end(finding::refused(&answer.said().await, By::Registry, self.subject, self.now)),
            status => return end(finding::other_status(status, By::Registry)),
        }
        match self.canary {
            None => Ok(Finding::new(Verdict::Valid, "the registry takes it")),
            Some(canary) => self.probe(base, canary, &credential).await,
        }
    }

    /// Reads the canary's tags: who may do that may pull.
    async fn probe(&self, base: &Url, canary: &str, credential: &Credential) -> Step<Finding> {
        let answer = self.ask(&self.tags(base, canary), Some(credential)).await?;
        match answer.status {
            200..=299 => Ok(self.pulls(canary)),
            401 | 403 => {
                let said = answer.said().await;
                end(finding::no_pull(canary, format_args!("the registry answers {}{}", said.status, said.code()), self.login))
            }
            404 => end(finding::no_pull(canary, "the registry answers 404; either it is not there, or it is hidden from this login", self.login)),
            status @ (429 | 500..=599) => end(finding::other_status(status, By::Registry)),
            status => {
                end(Finding::new(Verdict::Unproven, format!("the login is right, but asked for the tags of {canary} the registry answers {status}"))
                    .hint(OPERATOR))
            }
        }
    }

    fn pulls(&self, canary: &str) -> Finding {
        Finding::new(Verdict::Valid, format!("it may pull {canary}")).granted(vec![format!("repository:{canary}:pull")])
    }

    async fn bearer(&self, base: &Url, challenge: &Challenge) -> Step<Finding> {
        let realm = realm::judge(challenge.param("realm").unwrap_or_default(), &self.login.registry, &self.login.auth_hosts);
        let Realm::Trusted(url) = realm else {
            return end(finding::untrusted(&realm, self.subject).asked_by(Scheme::Bearer, None));
        };
        let host = url.host_str().unwrap_or_default().to_string();
        let done = |f: Finding| f.asked_by(Scheme::Bearer, Some(&host));
        self.with_tokens(base, &url, &host, challenge.param("service")).await.map(done).map_err(|f| Box::new(done(*f)))
    }

    /// First a token for nothing, as `docker login` asks for one: some token servers (Harbor's) give whoever asks for a scope a token that
    /// grants nothing, and say 401 only here. Then, with a canary, one that pulls it.
    async fn with_tokens(&self, base: &Url, realm: &Url, host: &str, service: Option<&str>) -> Step<Finding> {
        let by = By::TokenServer(host);
        let token = match self.token(realm, by, service, None).await? {
            Ok(token) if token.is_anonymous => return end(finding::anonymous(by, self.subject)),
            Ok(token) => token,
            Err(answer) => return end(finding::refused(&answer.said().await, by, self.subject, self.now)),
        };
        let answer = self.ask(base, Some(&Credential::bearer(&token.value))).await?;
        match answer.status {
            200..=299 => {}
            401 | 403 => {
                let why = format!("{by} took the login, but the registry answers {} to the token that it gave", answer.status);
                return end(
                    Finding::new(Verdict::WrongPassword, why).hint("registry and token server do not fit together, or the account has no access at all")
                );
            }
            status => return end(finding::other_status(status, By::Registry)),
        }
        let Some(canary) = self.canary else { return Ok(Finding::new(Verdict::Valid, format!("{by} takes it"))) };
        let scope = format!("repository:{canary}:pull");
        let token = match self.token(realm, by, service, Some(&scope)).await? {
            Ok(token) => token,
            Err(answer) => {
                let said = answer.said().await;
                return end(finding::no_pull(canary, format_args!("{by} answers {}{}", said.status, said.code()), self.login));
            }
        };
        match token.pulls(canary) {
            Some(true) => Ok(self.pulls(canary)),
            Some(false) => end(finding::no_pull(canary, format_args!("{by} gives a token that does not grant it"), self.login)),
            None => self.probe(base, canary, &Credential::bearer(&token.value)).await,
        }
    }

    /// Asks for a token with the login; the answer itself where it was refused.
    async fn token(&self, realm: &Url, by: By<'_>, service: Option<&str>, scope: Option<&str>) -> Step<Result<Token, Answer>> {
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("account", self.login.username.as_str());
            service.map(|s| query.append_pair("service", s));
            scope.map(|s| query.append_pair("scope", s));
        }
        let credential = Credential::basic(self.login);
        let answer = self.client.get(&url, Some(&credential)).await.map_err(|t| finding::trouble(t, by))?;
        let trusted = |from: &Url, to: &Url| {
            let judged = realm::judge(to.as_str(), &self.login.registry, &self.login.auth_hosts);
            matches!(judged, Realm::Trusted(_)) && !(from.scheme() == "https" && to.scheme() == "http")
        };
        let answer = self.follow(&url, answer, Some(&credential), by, trusted).await?;
        match answer.status {
            200 => {
                let body = answer.token_body().await.map_err(|t| match t {
                    Trouble::TooLarge => Finding::new(Verdict::NotARegistry, format!("the answer of {by} is larger than a token server's")).hint(OPERATOR),
                    t => finding::trouble(t, by),
                })?;
                let no_token = |why| Finding::new(Verdict::NotARegistry, format!("the answer of {by} {why}"));
                Ok(Ok(Token::parse(&body).map_err(|why| no_token(why).hint(OPERATOR))?))
            }
            401 | 403 => Ok(Err(answer)),
            status => end(finding::other_status(status, by)),
        }
    }
}

fn page() -> Finding {
    Finding::new(Verdict::NotARegistry, "it answers with a page for people")
        .hint("is the registry's name right, port included? a network's sign-in page answers so too")
}
