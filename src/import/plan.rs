//! What becomes of found logins in a vault: new ones get names, those that are there already are left or replaced.

use super::{Found, FoundLogin, Left, advice, names};
use crate::model::login::check_name;
use crate::model::text::escape;
use crate::model::{Registry, Username};

/// A login that a vault has, as far as it can be read without a key.
pub struct There {
    /// Its name.
    pub name: String,
    /// Its registry; `None` where it has none that can be read.
    pub registry: Option<Registry>,
    /// Its account; likewise.
    pub username: Option<Username>,
}

/// `--name REGISTRY=NAME`.
pub struct Naming {
    registry: Registry,
    name: String,
}

impl Naming {
    /// Reads `nvcr.io=nvidia`. The error says which half is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (registry, name) = text.rsplit_once('=').ok_or_else(|| format!("--name {}: write REGISTRY=NAME, as in nvcr.io=nvidia", escape(text)))?;
        let wrong = |why: String| format!("--name {}: {why}", escape(text));
        check_name(name).map_err(&wrong)?;
        Ok(Naming { registry: Registry::parse(registry).map_err(wrong)?.0, name: name.to_string() })
    }
}

/// What shall happen.
pub struct Plan {
    /// The logins that are sealed.
    pub logins: Vec<Planned>,
    /// What is not, and why.
    pub left: Vec<Left>,
    /// How many of those are in the vault already.
    pub known: usize,
    /// What the admin should know.
    pub notes: Vec<String>,
}

/// A login and its name in the vault.
pub struct Planned {
    /// The name.
    pub name: String,
    /// Whether it takes the place of the login that has this name.
    pub replaces: bool,
    /// What was found.
    pub login: FoundLogin,
}

impl Plan {
    /// Decides for each found login. One of an account that the vault has already is left, or replaces it with `replace`, whatever that one
    /// is called; a name that another account has gets a number. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// A name that the admin gave fits nothing that was found, or another login has it.
    pub fn new(mut found: Found, there: &[There], namings: &[Naming], replace: bool, now: i64) -> Result<Plan, String> {
        found.settle();
        let Found { logins, left, notes } = found;
        let mut plan = Plan { logins: Vec::new(), left, known: 0, notes };
        let problems = problems(&logins, there, namings);
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        let mut unused: Vec<&Naming> = namings.iter().collect();
        for login in logins {
            let same = |t: &&There| t.registry.as_ref() == Some(&login.registry) && t.username.as_ref() == Some(&login.username);
            if let Some(there) = there.iter().find(same) {
                if replace {
                    plan.logins.push(Planned { name: there.name.clone(), replaces: true, login });
                    continue;
                }
                let (account, registry, name) = (escape(login.username.as_str()), &login.registry, escape(&there.name));
                let why = format!("{account} at {registry} is there already, as login `{name}`; --replace seals what was found");
                plan.left.push(Left::new(&login.from, why));
                plan.known += 1;
                continue;
            }
            let given = unused.iter().position(|n| n.registry == login.registry).map(|i| unused.remove(i).name.clone());
            // A name that was given to another one of these logins is not for this one.
            let is_taken =
                |name: &str| there.iter().any(|t| t.name == name) || plan.logins.iter().any(|p| p.name == name) || unused.iter().any(|n| n.name == name);
            let name = given.unwrap_or_else(|| {
                let own = login.name.clone().filter(|name| check_name(name).is_ok());
                names::free(&own.unwrap_or_else(|| names::derive(&login.registry)), is_taken)
            });
            plan.logins.push(Planned { name, replaces: false, login });
        }
        plan.notes.extend(advice::of(&plan.logins, now));
        Ok(plan)
    }
}

/// What is wrong with the names that were given.
fn problems(logins: &[FoundLogin], there: &[There], namings: &[Naming]) -> Vec<String> {
    let mut problems = Vec::new();
    for (i, naming) in namings.iter().enumerate() {
        let Naming { registry, name } = naming;
        if namings[..i].iter().any(|n| n.name == *name) {
            problems.push(format!("--name gives the name `{name}` twice"));
        }
        if !logins.iter().any(|l| l.registry == *registry) {
            let mut known: Vec<String> = logins.iter().map(|l| l.registry.to_string()).collect();
            known.dedup();
            let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
            problems.push(format!("--name {registry}={name}: no login for {registry} was found; registries that were: {known}"));
        }
        let other =
            |t: &&There| t.name == *name && !logins.iter().any(|l| t.registry.as_ref() == Some(&l.registry) && t.username.as_ref() == Some(&l.username));
        if there.iter().find(other).is_some() {
            problems.push(format!("--name {registry}={name}: the vault has a login `{name}` for another account; give another name"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    const NOW: i64 = 1_800_000_000;

    fn found(logins: &[(&str, &str)]) -> Found {
        let mut found = Found::default();
        for (i, (registry, username)) in logins.iter().enumerate() {
            found.take(registry, username, Secret::new(format!("p{i}")), &format!("line {}", i + 1));
        }
        found
    }

    fn there(logins: &[(&str, &str, &str)]) -> Vec<There> {
        let one = |(name, registry, username): &(&str, &str, &str)| There {
            name: name.to_string(),
            registry: Registry::parse(registry).ok().map(|(r, _)| r),
            username: Username::parse(username).ok(),
        };
        logins.iter().map(one).collect()
    }

    /// The names (`=` before one that replaces), then what is left.
    fn planned(logins: &[(&str, &str)], vault: &[(&str, &str, &str)], namings: &[&str], replace: bool) -> Result<String, String> {
        let namings: Vec<Naming> = namings.iter().map(|n| Naming::parse(n)).collect::<Result<_, _>>()?;
        let plan = Plan::new(found(logins), &there(vault), &namings, replace, NOW)?;
        let names: Vec<String> = plan.logins.iter().map(|p| format!("{}{}", if p.replaces { "=" } else { "" }, p.name)).collect();
        let left: Vec<String> = plan.left.iter().map(|l| format!("left {}: {}", l.what, l.why)).collect();
        Ok([names, left].concat().join(" "))
    }

    #[track_caller]
    fn check(got: Result<String, String>, want: Result<&str, &str>) {
        match (&got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            _ => panic!("{got:?} instead of {want:?}"),
        }
    }

    #[test]
    fn new_logins_get_names_of_their_own() {
        check(planned(&[("docker.io", "a"), ("nvcr.io", "b"), ("docker.io", "c")], &[], &[], false), Ok("hub ngc hub-2"));
        check(planned(&[("docker.io", "a")], &[("hub", "docker.io", "b")], &[], false), Ok("hub-2"));
        check(planned(&[("docker.io", "a")], &[("hub", "docker.io", "b")], &[], true), Ok("hub-2"));
        // One that cannot be read keeps its name.
        check(planned(&[("docker.io", "a")], &[("hub", "", "")], &[], true), Ok("hub-2"));
    }

    #[test]
    fn an_account_that_is_there_is_left_or_replaced_whatever_its_name() {
        let vault = [("nvidia", "nvcr.io", "$oauthtoken")];
        let left = "left line 1: $oauthtoken at nvcr.io is there already, as login `nvidia`; --replace seals what was found";
        check(planned(&[("nvcr.io", "$oauthtoken")], &vault, &[], false), Ok(left));
        check(planned(&[("nvcr.io", "$oauthtoken")], &vault, &[], true), Ok("=nvidia"));
        check(planned(&[("nvcr.io", "$oauthtoken")], &vault, &["nvcr.io=nvidia"], true), Ok("=nvidia"));
    }

    #[test]
    fn given_names_hold_or_are_refused() {
        check(planned(&[("docker.io", "a"), ("docker.io", "b")], &[], &["https://index.docker.io/v1/=mine"], false), Ok("mine hub"));
        check(planned(&[("docker.io", "a"), ("docker.io", "b")], &[], &["docker.io=x", "docker.io=y"], false), Ok("x y"));
        // A name that comes later is not taken before.
        check(planned(&[("nvcr.io", "a"), ("h.example", "b")], &[], &["h.example=ngc"], false), Ok("ngc-2 ngc"));
        check(planned(&[("docker.io", "a")], &[], &["nvcr.io=x"], false), Err("no login for nvcr.io was found; registries that were: docker.io"));
        check(planned(&[("docker.io", "a")], &[("x", "nvcr.io", "a")], &["docker.io=x"], false), Err("has a login `x` for another account"));
        check(planned(&[("docker.io", "a"), ("nvcr.io", "b")], &[], &["docker.io=x", "nvcr.io=x"], false), Err("the name `x` twice"));
        check(planned(&[], &[], &["docker.io"], false), Err("write REGISTRY=NAME"));
        check(planned(&[], &[], &["docker.io=-x"], false), Err("a login's name is made of"));
        check(planned(&[], &[], &["h:x=y"], false), Err("has a port that is no number"));
    }
}
