//! Robot accounts of a Harbor, over its API v2.0 (goharbor/harbor c50c7dd, `api/v2.0/swagger.yaml`).
//!
//! `wire` and `refusal` are pure: what is said and answered, and what an answer that is none means to an admin. The client is that of the check:
//! nothing is followed elsewhere, answers are capped, and the admin's login goes over TLS, or to this machine itself. A secret is in the answer
//! that makes it and nowhere else; nothing of an answer is logged.

mod refusal;
mod wire;

use std::time::Duration;

use reqwest::{Method, Url};

pub use refusal::Refusal;
use refusal::{Doing, no_answer, refused, undone, unreadable};

use super::http::{Answer, Asked, Client, Credential};
use super::realm::is_loopback;
use crate::model::robot::{Level, Permission};
use crate::model::{Expiry, HarborName, Lifetime, Login, Registry, Robot, Secret, Username};

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
/// Pages that are asked for: robots beyond them are not found.
const PAGES_MAX: usize = 200;

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
}

type Told<T> = Result<T, Refusal>;

impl<'a> Harbor<'a> {
    /// The Harbor at the registry that the login is for. One of this machine may speak plain HTTP, and is asked without the login whether it does.
    ///
    /// # Errors
    /// The registry's name makes no address.
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
        Ok(Harbor { client, base, admin, credential: Credential::basic(admin) })
    }

    /// The registry that this is.
    pub fn registry(&self) -> &Registry {
        &self.admin.registry
    }

    /// All robots of one place.
    pub async fn robots(&self, of: Of<'_>) -> Told<Vec<Robot>> {
        let query = match of {
            Of::System => "Level=system".to_string(),
            // Their level alone is not enough: Harbor wants the project's number.
            Of::Project(name) => format!("Level=project,ProjectID={}", self.project_id(name).await?),
        };
        let doing = Doing::List(of);
        let mut found: Vec<Robot> = Vec::new();
        for page in 1..=PAGES_MAX {
            let mut url = self.at(&["robots"]);
            url.query_pairs_mut().append_pair("q", &query).append_pair("page", &page.to_string()).append_pair("page_size", &PAGE_SIZE.to_string());
            let answer = self.ask(get(&url), doing, 200).await?;
            let total: Option<usize> = answer.header("x-total-count").and_then(|t| t.parse().ok());
            // The address of the next page is not followed: which one it is, is known.
            let is_last = !answer.header("link").is_some_and(|link| link.contains("rel=\"next\""));
            let robots = wire::robots(&self.body(answer, LIST_BYTES_MAX, doing).await?).map_err(|why| unreadable(self, doing, why))?;
            let is_empty = robots.is_empty();
            // One that is made meanwhile moves others to the next page.
            found.extend(robots.into_iter().filter(|robot| found.iter().all(|known| known.id != robot.id)).collect::<Vec<_>>());
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
    /// Where it may have been made all the same, that is said; one whose answer cannot be used is deleted again.
    pub async fn create(&self, new: &NewRobot) -> Told<Made> {
        let doing = Doing::Create(new);
        let url = self.at(&["robots"]);
        let answer = self.ask(Asked { method: Method::POST, json: Some(wire::create(new)), ..get(&url) }, doing, 201).await?;
        let body = self.body(answer, ONE_BYTES_MAX, doing).await?;
        match (wire::created(&body), wire::id(&body)) {
            (Ok(made), _) => Ok(made),
            (Err(why), Some(id)) => match self.delete(id).await {
                Ok(()) => Err(undone(self, doing, why)),
                Err(_) => Err(unreadable(self, doing, why)),
            },
            (Err(why), None) => Err(unreadable(self, doing, why)),
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
