//! Robot accounts of Harbor: their names, how long they live, and what they may do.
//!
//! Rules are those of Harbor's API v2.0 (goharbor/harbor c50c7dd, `src/server/v2.0/handler/robot.go`, `src/controller/robot/controller.go`).

use std::fmt;
use std::str::FromStr;

use super::Username;

/// A robot's name as it is asked for, or a project's: lower case letters and digits, in parts that one `.`, `_` or `-` joins (`validateName`;
/// for projects `src/pkg/project/manager.go`, restrictedNameChars). At most 255 bytes, as the column that holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HarborName(String);

impl HarborName {
    /// Checks a name. The error says what is wrong as the end of a sentence that begins with the name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if name.len() > 255 {
            return Err("is longer than 255 characters".to_string());
        }
        match name.split(['.', '_', '-']).all(is_part) {
            true => Ok(HarborName(name.to_string())),
            false => Err("is no name in Harbor: those are made of lower case letters and digits, and of single `.`, `_` and `-` between them".to_string()),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a robot that takes this one's place: `gpu` -> `gpu-2` -> `gpu-3`.
    #[must_use]
    pub fn next(&self) -> Self {
        let counted = self.0.rsplit_once('-').and_then(|(base, n)| Some((base, n.parse::<u32>().ok().filter(|_| !n.starts_with('0'))?)));
        HarborName(match counted {
            Some((base, n @ 2..9999)) => format!("{base}-{}", n + 1),
            _ => format!("{}-2", self.0),
        })
    }
}

impl fmt::Display for HarborName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HarborName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        HarborName::parse(name)
    }
}

/// How long a robot lives from when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// So many days, from 1.
    Days(u32),
    /// Until somebody deletes it.
    Never,
}

impl Lifetime {
    /// The longest, in days: a hundred years.
    pub const DAYS_MAX: u32 = 36_525;

    /// As Harbor's `duration` has it.
    pub fn duration(self) -> i64 {
        match self {
            Lifetime::Days(days) => days.into(),
            Lifetime::Never => -1,
        }
    }

    /// What a `duration` of Harbor's means; `None` for what is none.
    pub fn of_duration(duration: i64) -> Option<Self> {
        match duration {
            -1 => Some(Lifetime::Never),
            days => u32::try_from(days).ok().filter(|d| *d > 0).map(Lifetime::Days),
        }
    }
}

impl FromStr for Lifetime {
    type Err = String;

    /// `90`, or `never`.
    fn from_str(text: &str) -> Result<Self, String> {
        let days = || text.parse().ok().filter(|d| (1..=Lifetime::DAYS_MAX).contains(d) && text.bytes().all(|b| b.is_ascii_digit()));
        match text {
            "never" => Ok(Lifetime::Never),
            _ => days().map(Lifetime::Days).ok_or_else(|| format!("it is neither a number of days from 1 to {} nor `never`", Lifetime::DAYS_MAX)),
        }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lifetime::Days(days) => write!(f, "{days}"),
            Lifetime::Never => f.write_str("never"),
        }
    }
}

/// To whom a robot belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// To one project: its admins may make and delete it.
    Project,
    /// To Harbor: system administrators alone may.
    System,
}

impl Level {
    /// As the API has it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Project => "project",
            Level::System => "system",
        }
    }
}

/// One thing that a robot may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `repository` and its like.
    pub resource: String,
    /// `pull` and its like.
    pub action: String,
    /// `allow`, where Harbor says so.
    pub effect: Option<String>,
}

impl Access {
    /// Something that is done with repositories.
    fn repository(action: &str) -> Self {
        Access { resource: "repository".to_string(), action: action.to_string(), effect: None }
    }
}

/// What a robot may do in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `project` or `system`.
    pub kind: String,
    /// The project's name, `*` for all of them, `/` for Harbor itself.
    pub namespace: String,
    /// What it may do there.
    pub access: Vec<Access>,
}

impl Permission {
    /// Pulling from a project, and pushing to it too when that is asked for. Nothing else: not even listing what is there.
    pub fn repositories(project: &HarborName, push: bool) -> Self {
        let access = std::iter::once(Access::repository("pull")).chain(push.then(|| Access::repository("push"))).collect();
        Permission { kind: "project".to_string(), namespace: project.to_string(), access }
    }

    /// `pull`, `pull+push`; other resources with their names: `pull+artifact:read`.
    pub fn actions(&self) -> String {
        let word = |a: &Access| {
            let action = if a.resource == "repository" { a.action.clone() } else { format!("{}:{}", a.resource, a.action) };
            if a.effect.as_deref() == Some("deny") { format!("not-{action}") } else { action }
        };
        self.access.iter().map(word).collect::<Vec<_>>().join("+")
    }
}

/// A robot as Harbor tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Robot {
    /// Its number.
    pub id: i64,
    /// Its account: prefix, on project level the project and `+`, and its name.
    pub name: String,
    /// To whom it belongs; `None` for a level that is not known.
    pub level: Option<Level>,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// How long it was to live when it was made.
    pub lifetime: Option<Lifetime>,
    /// When it ends, in seconds since 1970; `None` for never.
    pub expires: Option<i64>,
    /// Somebody switched it off.
    pub disabled: bool,
}

impl Robot {
    /// Its name without prefix and project. Which prefix Harbor puts before it (`robot$` unless it was configured otherwise) it does not tell
    /// everybody, so this is what stands behind the last character that no name has.
    ///
    /// # Errors
    /// That leaves nothing that is a name.
    pub fn short_name(&self) -> Result<HarborName, String> {
        HarborName::parse(tail(self.name.rsplit_once('+').map_or(self.name.as_str(), |(_, name)| name)))
    }
}

/// The project that an account of a robot names, or none for one of system level.
///
/// # Errors
/// There should be one, and where it begins cannot be told.
pub fn project_of(account: &Username) -> Result<Option<HarborName>, String> {
    account.as_str().rsplit_once('+').map(|(before, _)| HarborName::parse(tail(before))).transpose()
}

/// What stands behind the last character that no name has.
fn tail(text: &str) -> &str {
    let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    text.rfind(|c| !is_inside(c)).map_or(text, |at| text[at..].trim_start_matches(|c| !is_inside(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_harbor_s_rule() {
        for good in ["gpu", "a", "0", "gpu-2", "a.b_c-d", "base1", &"a".repeat(255)] {
            assert_eq!(HarborName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "Gpu", "gpu-", "-gpu", "a--b", "a._b", "a+b", "a b", "robot$x", "ü", "a/b", "*", &"a".repeat(256)] {
            assert!(HarborName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_name() {
        for (name, want) in
            [("gpu", "gpu-2"), ("gpu-2", "gpu-3"), ("gpu-9", "gpu-10"), ("gpu-1", "gpu-1-2"), ("gpu-07", "gpu-07-2"), ("a-b", "a-b-2"), ("7", "7-2")]
        {
            assert_eq!(HarborName::parse(name).unwrap().next().as_str(), want);
        }
        for name in ["gpu-9999", "gpu-20270301", "x-4294967296"] {
            let next = HarborName::parse(name).unwrap().next();
            assert_eq!(next.as_str(), format!("{name}-2"));
            HarborName::parse(next.as_str()).unwrap();
        }
    }

    #[test]
    fn an_account_names_its_project() {
        #[track_caller]
        fn check(account: &str, project: Result<Option<&str>, ()>, short: Result<&str, ()>) {
            let robot = Robot { id: 1, name: account.to_string(), level: None, permissions: Vec::new(), lifetime: None, expires: None, disabled: false };
            let got = project_of(&Username::parse(account).unwrap());
            assert_eq!(got.map(|p| p.map(|p| p.to_string())).map_err(drop), project.map(|p| p.map(str::to_string)), "{account}");
            assert_eq!(robot.short_name().map(|n| n.to_string()).map_err(drop), short.map(str::to_string), "{account}");
        }
        check("robot$base+gpu", Ok(Some("base")), Ok("gpu"));
        check("robot$gpu", Ok(None), Ok("gpu"));
        check("BOT__my.base+gpu-2", Err(()), Ok("gpu-2"));
        check("bot!my.base+gpu-2", Ok(Some("my.base")), Ok("gpu-2"));
        check("robot$a+b+gpu", Ok(Some("b")), Ok("gpu"));
        check("robot$base+", Ok(Some("base")), Err(()));
        check("robot$", Ok(None), Err(()));
    }

    #[test]
    fn lifetimes() {
        for (text, want, duration) in [("1", Lifetime::Days(1), 1), ("365", Lifetime::Days(365), 365), ("never", Lifetime::Never, -1)] {
            let got: Lifetime = text.parse().unwrap();
            assert_eq!((got, got.duration(), got.to_string().as_str(), Lifetime::of_duration(duration)), (want, duration, text, Some(want)));
        }
        for bad in ["0", "-1", "+1", "36526", "1d", "", "Never", "1.5"] {
            assert!(bad.parse::<Lifetime>().is_err(), "{bad}");
        }
        assert!(Lifetime::of_duration(0).is_none() && Lifetime::of_duration(-2).is_none() && Lifetime::of_duration(i64::MAX).is_none());
    }

    #[test]
    fn the_least_is_pull() {
        let base = HarborName::parse("base").unwrap();
        assert_eq!(Permission::repositories(&base, false).actions(), "pull");
        let mut both = Permission::repositories(&base, true);
        both.access.push(Access { resource: "artifact".into(), action: "read".into(), effect: Some("allow".into()) });
        both.access.push(Access { resource: "repository".into(), action: "delete".into(), effect: Some("deny".into()) });
        assert_eq!(both.actions(), "pull+push+artifact:read+not-delete");
    }
}
