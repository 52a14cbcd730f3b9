//! Robot accounts of a Harbor, over its API v2.0 (goharbor/harbor c50c7dd, `api/v2.0/swagger.yaml`).
//!
//! `wire` and `refusal` are pure: what is said and answered, and what an answer that is none means to an admin. The client is that of the check:
//! nothing is followed elsewhere, answers are capped, and the admin's login goes over TLS, or to this machine itself. A secret is in the answer
//! that makes it and nowhere else; nothing of an answer is logged.

mod refusal;
mod wire;

use std::collections::HashSet;
use std::time::Duration;

use reqwest::{Method, Url};

pub use refusal::Refusal;
use refusal::{Doing, no_answer, refused, undone, unreadable};

use super::http::{Answer, Asked, Client, Credential};
use super::realm::is_loopback;
use crate::model::robot::{Level, Permission};
use crate::model::text::sanitize;
use crate::model::{Expiry, HarborName, Lifetime, Login, Registry, Robot, Secret, Username};

/// The largest answer to a ping that is read, in bytes.
const PING_BYTES_MAX: usize = 1 << 10;

/// How long one request may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);
/// How long a Harbor of this machine has to speak TLS, before it is asked without.
const LOCAL_TLS_DEADLINE: Duration = Duration::from_secs(2);
/// The largest answer of one page of robots, in bytes.
const LIST_BYTES_MAX: usize = 4 << 20;
/// The largest answer of one robot or project, in bytes.
const ONE_BYTES_MAX: usize = 256 << 10;
/// Robots that are asked for at a time: the most that Harbor gives (`swagger.yaml`, pageSize).
const PAGE_SIZE: usize = 100;
/// Pages that are asked for: a listing that goes on behind them is refused.
const PAGES_MAX: usize = 200;
/// How long all pages of a listing may take together.
const LIST_DEADLINE: Duration = Duration::from_secs(120);

/// A robot that is to be made.
pub struct NewRobot {
    /// Its name; Harbor puts its prefix before it, and the project.
    pub name: HarborName,
    /// What people read beside it.
    pub description: String,
    /// To whom it belongs.
    pub level: Level,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What it may do; on project level in one project.
    pub permissions: Vec<Permission>,
}

/// A robot that was made.
pub struct Made {
    /// Its number.
    pub id: i64,
    /// Its account, as Harbor calls it.
    pub username: Username,
    /// Its secret, which Harbor tells this once.
    pub secret: Secret,
    /// When it ends; `None` for never.
    pub expires: Option<Expiry>,
}

/// The robots of one place.
#[derive(Clone, Copy)]
pub enum Of<'a> {
    /// Those of system level.
    System,
    /// Those of a project.
    Project(&'a HarborName),
}

/// A Harbor, and the login with which it is asked.
pub struct Harbor<'a> {
    client: &'a Client,
    base: Url,
    admin: &'a Login,
    credential: Credential,
    list_deadline: Duration,
}

type Told<T> = Result<T, Refusal>;

impl<'a> Harbor<'a> {
    /// The Harbor at the registry that the login is for. It is asked without the login whether it is one (`/api/v2.0/ping`, which wants none):
    /// a login of a vault that is mistaken for a robot's leads elsewhere. One of this machine may speak plain HTTP, and is asked so too.
    ///
    /// # Errors
    /// The registry's name makes no address, nobody answers there, or it is no Harbor.
    pub async fn of(client: &'a Client, admin: &'a Login) -> Told<Self> {
        let at = |scheme: &str| Url::parse(&format!("{scheme}://{}/api/v2.0/", admin.registry.authority()));
        let (Ok(mut base), Ok(plain)) = (at("https"), at("http")) else { return Err(refusal::no_address(&admin.registry)) };
        if base.host_str().is_some_and(is_loopback) {
            let ping = base.join("ping").expect("a word is a path");
            match tokio::time::timeout(LOCAL_TLS_DEADLINE, client.get(&ping, None)).await {
                Ok(Err(trouble)) if !trouble.may_be_plain() => {}
                Ok(Ok(_)) => {}
                // As a check of a login has it.
                _ => base = plain,
            }
        }
        let harbor = Harbor { client, base, admin, credential: Credential::basic(admin), list_deadline: LIST_DEADLINE };
        harbor.greet().await?;
        Ok(harbor)
    }

    /// Looks, without the login, whether this is a Harbor.
    async fn greet(&self) -> Told<()> {
        let ping = self.base.join("ping").expect("a word is a path");
        let work = async {
            let answer = self.client.get(&ping, None).await?;
            let status = answer.status;
            Ok((status, answer.body(PING_BYTES_MAX).await.unwrap_or_default()))
        };
        match tokio::time::timeout(REQUEST_DEADLINE, work).await {
            Ok(Ok((200, body))) if body.trim_ascii() == b"Pong" || body.trim_ascii() == b"\"Pong\"" => Ok(()),
            Ok(Ok((status, _))) => Err(refusal::no_harbor(self, status)),
            Ok(Err(trouble)) => Err(no_answer(self, Doing::Greet, Some(trouble))),
            Err(_) => Err(no_answer(self, Doing::Greet, None)),
        }
    }

    /// The registry that this is.
    pub fn registry(&self) -> &Registry {
        &self.admin.registry
    }

    /// All robots of one place.
    ///
    /// # Errors
    /// Harbor refuses, takes longer than two minutes for all of it, or tells of more robots than it was asked for.
    pub async fn robots(&self, of: Of<'_>) -> Told<Vec<Robot>> {
        let pages = self.pages(of);
        tokio::time::timeout(self.list_deadline, pages).await.unwrap_or_else(|_| Err(no_answer(self, Doing::List(of), None)))
    }

    async fn pages(&self, of: Of<'_>) -> Told<Vec<Robot>> {
        let query = match of {
            Of::System => "Level=system".to_string(),
            // Their level alone is not enough: Harbor wants the project's number.
            Of::Project(name) => format!("Level=project,ProjectID={}", self.project_id(name).await?),
        };
        let doing = Doing::List(of);
        let (mut found, mut known): (Vec<Robot>, HashSet<i64>) = Default::default();
        for page in 1..=PAGES_MAX {
            let mut url = self.at(&["robots"]);
            url.query_pairs_mut().append_pair("q", &query).append_pair("page", &page.to_string()).append_pair("page_size", &PAGE_SIZE.to_string());
            let answer = self.ask(get(&url), doing, 200).await?;
            let total: Option<usize> = answer.header("x-total-count").and_then(|t| t.parse().ok());
            // The address of the next page is not followed: which one it is, is known.
            let is_last = !answer.header("link").is_some_and(|link| link.contains("rel=\"next\""));
            let robots = wire::robots(&self.body(answer, LIST_BYTES_MAX, doing).await?).map_err(|why| unreadable(self, doing, why))?;
            if robots.len() > PAGE_SIZE {
                return Err(unreadable(self, doing, "has more robots than it was asked for"));
            }
            let is_empty = robots.is_empty();
            // One that is made meanwhile moves others to the next page.
            found.extend(robots.into_iter().filter(|robot| known.insert(robot.id)));
            if is_empty || is_last && total.is_none_or(|total| page * PAGE_SIZE >= total) {
                return Ok(found);
            }
        }
        Err(unreadable(self, doing, "goes on without end"))
    }

    /// One robot by its number.
    pub async fn robot(&self, id: i64) -> Told<Robot> {
        let doing = Doing::Look(id);
        let answer = self.ask(get(&self.at(&["robots", &id.to_string()])), doing, 200).await?;
        wire::robot(&self.body(answer, ONE_BYTES_MAX, doing).await?).map_err(|why| unreadable(self, doing, why))
    }

    /// Makes a robot.
    ///
    /// # Errors
    /// Where it may have been made all the same, that is said; one whose answer cannot be used is deleted again, unless the number in the answer is
    /// that of another robot. So is an answer that names another account than Harbor makes of what was asked for.
    pub async fn create(&self, new: &NewRobot) -> Told<Made> {
        let doing = Doing::Create(new);
        let url = self.at(&["robots"]);
        let answer = self.ask(Asked { method: Method::POST, json: Some(wire::create(new)), ..get(&url) }, doing, 201).await?;
        let body = self.body(answer, ONE_BYTES_MAX, doing).await?;
        match (wire::created(&body), wire::id(&body)) {
            (Ok(made), _) => self.is_asked_for(&made, new).await.map_err(|why| unreadable(self, doing, &why)).map(|()| made),
            (Err(why), Some(id)) => {
                let is_own = self.robot(id).await.is_ok_and(|robot| wire::is_account_of(&robot.name, new));
                match is_own && self.delete(id).await.is_ok() {
                    true => Err(undone(self, doing, why)),
                    false => Err(unreadable(self, doing, why)),
                }
            }
            (Err(why), None) => Err(unreadable(self, doing, why)),
        }
    }

    /// Holds what was made against what was asked for: the account against the name, and the number against the account. The error is the end of
    /// a sentence that begins with "its answer".
    async fn is_asked_for(&self, made: &Made, new: &NewRobot) -> Result<(), String> {
        let account = made.username.as_str();
        if !wire::is_account_of(account, new) {
            return Err(format!("names the account {}, which is not what Harbor makes of that name", sanitize(account)));
        }
        match self.robot(made.id).await {
            Ok(robot) if robot.name != account => Err(format!("names number {}, which is that of robot {}", made.id, sanitize(&robot.name))),
            // Whoever may make robots need not be one who may look at them.
            _ => Ok(()),
        }
    }

    /// Has Harbor make a new secret for a robot; the old one is worth nothing from then on.
    pub async fn new_secret(&self, id: i64) -> Told<Secret> {
        let doing = Doing::Secret(id);
        let url = self.at(&["robots", &id.to_string()]);
        let answer = self.ask(Asked { method: Method::PATCH, json: Some(wire::NEW_SECRET.to_vec()), ..get(&url) }, doing, 200).await?;
        wire::refreshed(&self.body(answer, ONE_BYTES_MAX, doing).await?).map_err(|why| unreadable(self, doing, why))
    }

    /// Deletes a robot.
    pub async fn delete(&self, id: i64) -> Told<()> {
        let url = self.at(&["robots", &id.to_string()]);
        self.ask(Asked { method: Method::DELETE, ..get(&url) }, Doing::Delete(id), 200).await.map(drop)
    }

    async fn project_id(&self, name: &HarborName) -> Told<i64> {
        let doing = Doing::Project(name);
        let url = self.at(&["projects", name.as_str()]);
        // A name of digits alone would be taken for a number otherwise (`swagger.yaml`, isResourceName).
        let answer = self.ask(Asked { header: Some(("X-Is-Resource-Name", "true")), ..get(&url) }, doing, 200).await?;
        wire::project_id(&self.body(answer, ONE_BYTES_MAX, doing).await?).map_err(|why| unreadable(self, doing, why))
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("http addresses have paths").pop_if_empty().extend(path);
        url
    }

    /// Asks once, and demands this status.
    async fn ask(&self, asked: Asked<'_>, doing: Doing<'_>, wanted: u16) -> Told<Answer> {
        tracing::debug!(harbor = %self.registry(), method = %asked.method, path = asked.url.path(), "ask");
        let work = self.client.send(&asked, Some(&self.credential));
        let answer = match tokio::time::timeout(REQUEST_DEADLINE, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(trouble)) => return Err(no_answer(self, doing, Some(trouble))),
            Err(_) => return Err(no_answer(self, doing, None)),
        };
        tracing::debug!(harbor = %self.registry(), status = answer.status, "answered");
        if answer.status == wanted && !answer.is_page {
            return Ok(answer);
        }
        let (location, is_page) = (answer.location.clone(), answer.is_page);
        Err(refused(self, doing, &answer.said().await, location.as_deref(), is_page))
    }

    async fn body(&self, answer: Answer, bytes_max: usize, doing: Doing<'_>) -> Told<zeroize::Zeroizing<Vec<u8>>> {
        match tokio::time::timeout(REQUEST_DEADLINE, answer.body(bytes_max)).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(trouble)) => Err(no_answer(self, doing, Some(trouble))),
            Err(_) => Err(no_answer(self, doing, None)),
        }
    }
}

fn get(url: &Url) -> Asked<'_> {
    Asked { method: Method::GET, url, json: None, header: None }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Each page comes soon, and the last never: a listing ends all the same.
    #[tokio::test]
    async fn the_pages_of_a_listing_have_one_deadline() {
        for (pages, deadline, is_listed) in [(3, Duration::from_secs(60), true), (usize::MAX, Duration::from_millis(400), false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
            let served = Cell::new(0);
            let serve = async {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    tokio::time::sleep(Duration::from_millis(25)).await;
                    served.set(served.get() + 1);
                    let link = if served.get() < pages { "Link: <x>; rel=\"next\"\r\n" } else { "" };
                    let body = format!("[{{\"id\":{},\"name\":\"robot$r\"}}]", served.get());
                    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{link}Content-Length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            };
            let authority = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap().cert.pem();
            let client = Client::new(&[authority.into_bytes()]).map_err(|_| "no client").unwrap();
            let (registry, username) = (Registry::parse(&at).unwrap().0, Username::parse("admin").unwrap());
            let password = Secret::new("planted-Admin_7".to_string());
            let admin = Login { name: "admin".into(), registry, username, password, auth_hosts: Vec::new(), expires: None };
            let base = Url::parse(&format!("http://{at}/api/v2.0/")).unwrap();
            let harbor = Harbor { client: &client, base, admin: &admin, credential: Credential::basic(&admin), list_deadline: deadline };
            let got = tokio::select! { got = harbor.robots(Of::System) => got, () = serve => unreachable!() };
            match got {
                Ok(robots) => assert_eq!((robots.len(), is_listed), (3, true)),
                Err(refusal) => assert!(!is_listed && served.get() > 1 && refusal.message.contains("did not answer in time"), "{}", refusal.message),
            }
        }
    }
}
