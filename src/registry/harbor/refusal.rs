//! What it means that Harbor did not do as it was asked. Pure.

use super::{Harbor, NewRobot, Of};
use crate::model::robot::Level;
use crate::model::text::{sanitize, shell_word};
use crate::model::{HarborName, Registry};
use crate::registry::finding::words;
use crate::registry::http::{Said, Trouble};

/// Why something was not done, for a person; and where that is not certain, that it is not.
#[derive(Debug)]
pub struct Refusal {
    /// What, where and why.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

/// What was asked for.
#[derive(Clone, Copy)]
pub(super) enum Doing<'a> {
    /// The first word, without the login.
    Greet,
    /// The number of a project.
    Project(&'a HarborName),
    /// Robots.
    List(Of<'a>),
    /// A robot.
    Look(i64),
    /// A new one.
    Create(&'a NewRobot),
    /// A new secret.
    Secret(i64),
    /// The end of one.
    Delete(i64),
}

impl std::fmt::Display for Doing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Doing::Greet => f.write_str("no login was sent there"),
            Doing::Project(name) => write!(f, "project {name} was not looked up"),
            Doing::List(Of::System) => f.write_str("the robots of system level were not listed"),
            Doing::List(Of::Project(name)) => write!(f, "the robots of project {name} were not listed"),
            Doing::Look(id) => write!(f, "robot {id} was not looked at"),
            Doing::Create(new) => write!(f, "robot {} was not made", new.name),
            Doing::Secret(id) => write!(f, "robot {id} got no new secret"),
            Doing::Delete(id) => write!(f, "robot {id} was not deleted"),
        }
    }
}

impl Doing<'_> {
    /// Whether something is changed by it.
    fn is_change(self) -> bool {
        matches!(self, Doing::Create(_) | Doing::Secret(_) | Doing::Delete(_))
    }

    /// Who may do it.
    fn needs(self) -> String {
        match self {
            Doing::Create(NewRobot { level: Level::Project, permissions, .. }) => {
                let project = permissions.first().map_or("the project", |p| &p.namespace);
                format!("it takes an admin of project {project}, or a system administrator")
            }
            Doing::Create(NewRobot { level: Level::System, .. }) => {
                "a robot of system level takes a system administrator; for one project, an admin of that can make one: name one --project, without --system"
                    .into()
            }
            Doing::List(Of::System) => "robots of system level are shown to system administrators; those of a project with --project to its members".into(),
            Doing::List(Of::Project(name)) | Doing::Project(name) => {
                format!("it takes a member of project {name} who may see its robots, or a system administrator")
            }
            Doing::Greet => "it takes nobody's login".into(),
            Doing::Look(_) | Doing::Secret(_) | Doing::Delete(_) => {
                "it takes an admin of the robot's project; for one of system level a system administrator".into()
            }
        }
    }
}

/// The registry's name makes no address.
pub(super) fn no_address(registry: &Registry) -> Refusal {
    Refusal { message: format!("{registry}: its name makes no address"), hint: "write Harbor's as `host` or `host:port`".to_string() }
}

/// What answers is no Harbor, as far as can be told without a login.
pub(super) fn no_harbor(harbor: &Harbor<'_>, status: u16) -> Refusal {
    let admin = sanitize(harbor.admin.username.as_str());
    let why = format!("it does not answer as a Harbor (/api/v2.0/ping: {status}), so it was not given the login of {admin}");
    Refusal { message: format!("{}: {why}", harbor.registry()), hint: "is this the login of a robot account, and the host that of its Harbor?".to_string() }
}

/// There was no answer; `None` when it did not come in time.
pub(super) fn no_answer(harbor: &Harbor<'_>, doing: Doing<'_>, trouble: Option<Trouble>) -> Refusal {
    let (why, hint) = trouble.map_or(("it did not answer in time", "ask again later; its operator may know more"), |t| {
        let (_, why, hint) = words(t);
        (why, hint)
    });
    let may_be_done = doing.is_change() && !trouble.is_some_and(Trouble::is_before_the_request);
    in_words(harbor, doing, why, hint, may_be_done)
}

/// The answer is another than asked for.
pub(super) fn refused(harbor: &Harbor<'_>, doing: Doing<'_>, said: &Said, location: Option<&str>, is_page: bool) -> Refusal {
    let admin = sanitize(harbor.admin.username.as_str());
    let status = said.status;
    let answer = format!("it answers {status}{}", said.code());
    let told = |why: String, hint: String| in_words(harbor, doing, &why, &hint, false);
    match (status, doing) {
        (200..=299, _) if is_page => told(format!("{answer} with a page for people"), NO_HARBOR.into()),
        // Done, and yet not as it was to be done.
        (200..=299, _) => in_words(harbor, doing, &answer, NO_HARBOR, doing.is_change()),
        (300..=399, _) => {
            let to = location.map_or("elsewhere".to_string(), sanitize);
            told(format!("{answer} and leads to {to}, which was not followed"), "name the Harbor that answers there".into())
        }
        (400, Doing::Create(_)) => told(answer, "its rules for names, lifetimes and permissions may be others than those known here; its log says more".into()),
        (401, _) => told(
            format!("{answer}: it does not take the login of {admin}"),
            "a wrong, expired or disabled account is answered alike; with OIDC the password is the CLI secret of the user profile, not that of the single sign-on".into(),
        ),
        (403, _) => told(format!("{answer}: {admin} may not do that"), doing.needs()),
        (404, Doing::Project(name)) => told(format!("{answer}: there is no project {name}, or {admin} may not see it"), "is its name right?".into()),
        (404, Doing::Create(NewRobot { permissions, .. })) => {
            let projects: Vec<&str> = permissions.iter().map(|p| p.namespace.as_str()).collect();
            told(format!("{answer}: there is no project {}, or it is no Harbor", sanitize(&projects.join(" or "))), NO_HARBOR.into())
        }
        (404, Doing::Look(_) | Doing::Secret(_) | Doing::Delete(_)) => {
            told(format!("{answer}: there is no such robot"), "`regprov harbor robot list` shows those that are there".into())
        }
        (404 | 405, _) => told(answer, NO_HARBOR.into()),
        (409, Doing::Create(new)) => told(format!("{answer}: there is a robot {} already", new.name), "choose another name with --name, or give that one a new secret: `regprov harbor robot rotate`".into()),
        (412, _) => told(format!("{answer}: its configuration does not allow that"), "its operator knows why".into()),
        (429, _) => told(format!("{answer}, too many requests"), "wait a while and ask again".into()),
        (500..=599, _) => in_words(harbor, doing, &answer, "ask again later; its log says more", doing.is_change()),
        _ => told(answer, "its log says more".into()),
    }
}

/// The answer is none of its API.
pub(super) fn unreadable(harbor: &Harbor<'_>, doing: Doing<'_>, why: &str) -> Refusal {
    in_words(harbor, doing, &format!("its answer {why}"), NO_HARBOR, doing.is_change())
}

/// As [`unreadable`], and what was done was taken back.
pub(super) fn undone(harbor: &Harbor<'_>, doing: Doing<'_>, why: &str) -> Refusal {
    in_words(harbor, doing, &format!("its answer {why}; the robot was deleted again"), NO_HARBOR, false)
}

const NO_HARBOR: &str = "is that a Harbor of version 2.0 or newer, port included? a proxy before it may answer too";

/// With what may have been done all the same, and how to know.
fn in_words(harbor: &Harbor<'_>, doing: Doing<'_>, why: &str, hint: &str, may_be_done: bool) -> Refusal {
    let registry = harbor.registry();
    let or_was_it = match doing {
        _ if !may_be_done => String::new(),
        Doing::Create(new) => {
            let project =
                new.permissions.first().filter(|_| new.level == Level::Project).map_or(String::new(), |p| format!(" --project {}", shell_word(&p.namespace)));
            let list = format!("regprov harbor robot list --harbor {}{project}", shell_word(&registry.to_string()));
            format!("; whether it was made all the same is not known: look with `{list}`, and delete it before the next try")
        }
        Doing::Secret(_) => {
            "; whether it got one all the same is not known: if so, the old one is worth nothing any more, so try again until it is done".into()
        }
        _ => "; whether it was all the same is not known: look with `regprov harbor robot list`".into(),
    };
    Refusal { message: format!("{registry}: {doing}: {why}{or_was_it}"), hint: hint.to_string() }
}
