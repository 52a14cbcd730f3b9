//! What is said to Harbor's API and what it answers, as JSON. Pure.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Made, NewRobot};
use crate::model::login::check_password;
use crate::model::robot::{Access, Level, Permission};
use crate::model::{Expiry, Lifetime, Robot, Secret, Username};

/// What `POST /robots` is sent. It has no secret: Harbor makes that, and would ignore ours.
#[derive(Serialize)]
struct Create<'a> {
    name: &'a str,
    description: &'a str,
    level: &'static str,
    disable: bool,
    duration: i64,
    permissions: Vec<PermissionJson>,
}

#[derive(Serialize, Deserialize)]
struct PermissionJson {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    access: Vec<AccessJson>,
}

#[derive(Serialize, Deserialize)]
struct AccessJson {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effect: Option<String>,
}

/// A robot that was made.
#[derive(Deserialize)]
struct Created {
    id: i64,
    name: String,
    secret: Zeroizing<String>,
    #[serde(default)]
    expires_at: i64,
}

/// A robot that was there.
#[derive(Deserialize)]
struct Found {
    id: i64,
    name: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    disable: bool,
    #[serde(default)]
    duration: Option<i64>,
    #[serde(default)]
    expires_at: i64,
    #[serde(default)]
    permissions: Option<Vec<PermissionJson>>,
}

/// What `PATCH /robots/{id}` answers.
#[derive(Deserialize)]
struct Refreshed {
    secret: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Project {
    project_id: i64,
}

/// The body of `POST /robots`.
pub(super) fn create(new: &NewRobot) -> Vec<u8> {
    let access = |a: &Access| AccessJson { resource: a.resource.clone(), action: a.action.clone(), effect: a.effect.clone() };
    let permission = |p: &Permission| PermissionJson { kind: p.kind.clone(), namespace: p.namespace.clone(), access: p.access.iter().map(access).collect() };
    let body = Create {
        name: new.name.as_str(),
        description: &new.description,
        level: new.level.name(),
        disable: false,
        duration: new.lifetime.duration(),
        permissions: new.permissions.iter().map(permission).collect(),
    };
    serde_json::to_vec(&body).expect("strings, numbers and lists are JSON")
}

/// The body of `PATCH /robots/{id}` that has Harbor make a new secret.
pub(super) const NEW_SECRET: &[u8] = br#"{"secret":""}"#;

/// The number of a robot that an answer to `POST /robots` names, whatever else is wrong with it.
pub(super) fn id(body: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Id {
        id: i64,
    }
    serde_json::from_slice::<Id>(body).ok().map(|created| created.id)
}

/// What `POST /robots` answered. The error is the end of a sentence that begins with "its answer".
pub(super) fn created(body: &[u8]) -> Result<Made, &'static str> {
    let created: Created = serde_json::from_slice(body).map_err(|_| "is no robot")?;
    let username = Username::parse(&created.name).map_err(|_| "names an account that no consumer can use")?;
    let expires = match created.expires_at {
        // Older ones leave the field out where a robot never ends.
        -1 | 0 => None,
        at => Some(Expiry::of_unix(at).ok_or("names an end that is none")?),
    };
    Ok(Made { id: created.id, username, secret: checked(created.secret)?, expires })
}

/// Whether an account is one that Harbor makes of what is asked for (`controller.go`, Create; `src/pkg/robot/model`): its prefix, on project level the
/// project and `+`, and the name. The prefix is whatever its operator chose. Where it ends with a letter or digit it cannot be told from a longer
/// project's name, which is taken; on system level not, since then every name would do that ends as this one.
pub(super) fn is_account_of(account: &str, new: &NewRobot) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let Some(before) = account.strip_suffix(new.name.as_str()) else { return false };
    match new.level {
        Level::System => !before.contains('+') && !before.ends_with(is_word),
        Level::Project => {
            let project = new.permissions.first().map_or("", |p| p.namespace.as_str());
            let prefix = before.strip_suffix('+').and_then(|before| before.strip_suffix(project));
            prefix.is_some_and(|prefix| !prefix.ends_with(is_word) || prefix.chars().all(is_word))
        }
    }
}

/// What `PATCH /robots/{id}` answered.
pub(super) fn refreshed(body: &[u8]) -> Result<Secret, &'static str> {
    checked(serde_json::from_slice::<Refreshed>(body).map_err(|_| "has no secret")?.secret)
}

fn checked(secret: Zeroizing<String>) -> Result<Secret, &'static str> {
    check_password(&secret).map_err(|_| "has no secret that can be used")?;
    Ok(Secret::new(secret))
}

/// What `GET /robots` answered; an empty list may be `null`.
pub(super) fn robots(body: &[u8]) -> Result<Vec<Robot>, &'static str> {
    let found: Option<Vec<Found>> = serde_json::from_slice(body).map_err(|_| "is no list of robots")?;
    Ok(found.unwrap_or_default().into_iter().map(robot_of).collect())
}

/// What `GET /robots/{id}` answered.
pub(super) fn robot(body: &[u8]) -> Result<Robot, &'static str> {
    serde_json::from_slice(body).map(robot_of).map_err(|_| "is no robot")
}

fn robot_of(found: Found) -> Robot {
    let access = |a: AccessJson| Access { resource: a.resource, action: a.action, effect: a.effect.filter(|e| !e.is_empty()) };
    let permission = |p: PermissionJson| Permission { kind: p.kind, namespace: p.namespace, access: p.access.into_iter().map(access).collect() };
    let mut permissions: Vec<Permission> = found.permissions.unwrap_or_default().into_iter().map(permission).collect();
    // Harbor tells them in any order.
    permissions.sort_by(|a, b| (&a.kind, &a.namespace).cmp(&(&b.kind, &b.namespace)));
    Robot {
        id: found.id,
        name: found.name,
        level: [Level::Project, Level::System].into_iter().find(|level| level.name() == found.level),
        permissions,
        lifetime: found.duration.and_then(Lifetime::of_duration),
        expires: Some(found.expires_at).filter(|at| *at > 0),
        disabled: found.disable,
    }
}

/// The number of a project that `GET /projects/{name}` answered.
pub(super) fn project_id(body: &[u8]) -> Result<i64, &'static str> {
    serde_json::from_slice::<Project>(body).map(|p| p.project_id).map_err(|_| "is no project")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HarborName;

    #[test]
    fn what_is_asked_for_is_what_the_api_has() {
        let base = HarborName::parse("base").unwrap();
        let new = NewRobot {
            name: HarborName::parse("gpu").unwrap(),
            description: "made by regprov".to_string(),
            level: Level::Project,
            lifetime: Lifetime::Days(365),
            permissions: vec![Permission::repositories(&base, false)],
        };
        assert_eq!(
            String::from_utf8(create(&new)).unwrap(),
            r#"{"name":"gpu","description":"made by regprov","level":"project","disable":false,"duration":365,"permissions":[{"kind":"project","namespace":"base","access":[{"resource":"repository","action":"pull"}]}]}"#
        );
    }

    #[test]
    fn an_account_is_held_against_what_was_asked_for() {
        let new = |level: Level| NewRobot {
            name: HarborName::parse("gpu").unwrap(),
            description: String::new(),
            level,
            lifetime: Lifetime::Never,
            permissions: vec![Permission::repositories(&HarborName::parse("base").unwrap(), false)],
        };
        for (account, project, system) in [
            ("robot$base+gpu", true, false),
            ("robot$gpu", false, true),
            ("bot-base+gpu", true, false),
            ("bot-gpu", false, true),
            ("BOT__gpu", false, true),
            ("base+gpu", true, false),
            ("gpu", false, true),
            ("robotbase+gpu", true, false),
            ("robotgpu", false, false),
            ("robot$xbase+gpu", false, false),
            ("robot$team+gpu", false, false),
            ("robot$base+mygpu", false, false),
            ("robot$base+gpu2", false, false),
            ("robot$base+", false, false),
            ("robot$basegpu", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_account_of(account, &new(Level::Project)), is_account_of(account, &new(Level::System))), (project, system), "{account}");
        }
    }

    #[test]
    fn what_was_made_is_read() {
        let made = created(br#"{"id":7,"name":"robot$base+gpu","secret":"Sup3r","creation_time":"2026-01-01T00:00:00Z","expires_at":1798761600}"#).unwrap();
        let end = made.expires.as_ref().unwrap();
        assert_eq!((made.id, made.username.as_str(), made.secret.expose(), end.text.as_str()), (7, "robot$base+gpu", "Sup3r", "2027-01-01T00:00:00Z"));
        assert!(created(br#"{"id":7,"name":"r","secret":"x","expires_at":-1}"#).unwrap().expires.is_none());
        for bad in [
            &b"{}"[..],
            b"[]",
            b"<html>",
            br#"{"id":7,"name":"robot$x"}"#,
            br#"{"id":7,"name":"robot$x","secret":""}"#,
            br#"{"id":7,"name":"a:b","secret":"x"}"#,
            br#"{"id":7,"name":"r","secret":"x","expires_at":-2}"#,
            br#"{"id":7,"name":"r","secret":"x","expires_at":999999999999999}"#,
            br#"{"id":"7","name":"r","secret":"x"}"#,
        ] {
            assert!(created(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!((id(br#"{"id":7,"name":"a:b"}"#), id(b"{}")), (Some(7), None));
        assert_eq!(refreshed(br#"{"secret":"Sup3r"}"#).unwrap().expose(), "Sup3r");
        assert!(refreshed(br#"{"secret":""}"#).is_err() && refreshed(b"{}").is_err());
    }

    #[test]
    fn what_is_there_is_read_whatever_is_missing() {
        assert!(robots(b"null").unwrap().is_empty() && robots(b"[]").unwrap().is_empty() && robots(b"{}").is_err());
        let list = br#"[{"id":1,"name":"robot$a","level":"system","duration":-1,"expires_at":-1,"disable":true,"editable":true,
            "permissions":[{"kind":"project","namespace":"z","access":[{"resource":"repository","action":"pull","effect":""}]},{"kind":"project","namespace":"a"}]},
            {"id":2,"name":"b"}]"#;
        let found = robots(list).unwrap();
        let [first, second] = &found[..] else { panic!("{found:?}") };
        assert_eq!((first.level, first.lifetime, first.expires, first.disabled), (Some(Level::System), Some(Lifetime::Never), None, true));
        assert_eq!(first.permissions.iter().map(|p| format!("{}:{}", p.namespace, p.actions())).collect::<Vec<_>>(), ["a:", "z:pull"]);
        assert_eq!((second.level, second.lifetime, second.permissions.len()), (None, None, 0));
        assert_eq!((project_id(br#"{"project_id":3,"name":"base"}"#), project_id(b"{}").is_err()), (Ok(3), true));
    }
}
