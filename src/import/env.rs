//! The variables from which Singularity and Apptainer take one login for every registry (apptainer `cmd/internal/cli/apptainer.go`):
//! those of a process, or the assignments of a file for sh or systemd.

use zeroize::Zeroizing;

use super::{Found, Left};
use crate::model::{Registry, Secret};

/// Whose variables: Apptainer takes its own first and then those of the other, SingularityCE knows the first alone.
const PREFIXES: [&str; 2] = ["SINGULARITY", "APPTAINER"];

/// The variables of a process that matter here; the others are not looked at.
pub fn names() -> impl Iterator<Item = String> {
    PREFIXES.into_iter().flat_map(|prefix| ["USERNAME", "PASSWORD"].map(|what| format!("{prefix}_DOCKER_{what}")))
}

/// A variable's value, or why it is not known from the text alone.
type Value = Result<Zeroizing<String>, &'static str>;

/// A variable, where it was set, and to what.
pub struct Variable {
    name: String,
    place: String,
    value: Value,
}

impl Variable {
    /// One of the process.
    pub fn of_process(name: &str, value: Zeroizing<String>) -> Self {
        Variable { name: name.to_string(), place: name.to_string(), value: Ok(value) }
    }
}

/// The login that these variables make, for the registry that the admin names, since they name none.
pub fn read(variables: &[Variable], registry: &Registry) -> Found {
    let mut found = Found::default();
    for prefix in PREFIXES {
        // The last assignment of a name is the one that counts.
        let last = |what: &str| variables.iter().rfind(|v| v.name == format!("{prefix}_DOCKER_{what}"));
        let (username, password) = match (last("USERNAME"), last("PASSWORD")) {
            (None, None) => continue,
            (Some(alone), None) => {
                found.left.push(Left::new(&alone.place, format!("{prefix}_DOCKER_PASSWORD is not set")));
                continue;
            }
            (None, Some(alone)) => {
                found.left.push(Left::new(&alone.place, format!("{prefix}_DOCKER_USERNAME is not set")));
                continue;
            }
            (Some(username), Some(password)) => (username, password),
        };
        match (&username.value, &password.value) {
            (Ok(name), Ok(secret)) => {
                // Both programs cut white space off (Go's TrimSpace, `pkg/cmdline/env.go`), so this is what they send.
                let place = if username.place == username.name { format!("{prefix}_DOCKER_*") } else { format!("{prefix}_DOCKER_* ({})", password.place) };
                found.take_of(registry.clone(), name.trim(), Secret::new(secret.trim().to_string()), &place);
            }
            (name, secret) => {
                for (variable, why) in [(username, name), (password, secret)].into_iter().filter_map(|(v, value)| Some((v, value.as_ref().err()?))) {
                    found.left.push(Left::new(format!("{} ({})", variable.name, variable.place), *why));
                }
            }
        }
    }
    // Equal pairs become one later; what differs is for the admin to decide.
    if let [one, other] = &found.logins[..]
        && (one.username != other.username || one.password.expose() != other.password.expose())
    {
        let places = format!("{}, {}", one.from, other.from);
        found.logins.clear();
        found.left.push(Left::new(places, "the two pairs differ: Apptainer takes its own, SingularityCE the other; unset the one that is wrong"));
    }
    if found.logins.is_empty() && found.left.is_empty() {
        found.left.push(Left::new("SINGULARITY_DOCKER_*, APPTAINER_DOCKER_*", "none of these variables is set"));
    }
    found
}

/// The assignments of a file: `NAME=VALUE` and `export NAME=VALUE`, as sh and systemd's `EnvironmentFile=` write them. Other lines are
/// passed over.
pub fn assignments(text: &str) -> Vec<Variable> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let start = rest.trim_start_matches([' ', '\t']);
        let start = start.strip_prefix("export").filter(|s| s.starts_with([' ', '\t'])).map_or(start, |s| s.trim_start_matches([' ', '\t']));
        let name: &str = &start[..start.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()];
        let mut taken = rest.find('\n').map_or(rest.len(), |at| at + 1);
        if let Some(value) = start[name.len()..].strip_prefix('=').filter(|_| names().any(|n| n == name)) {
            let (value, after) = word(value);
            found.push(Variable { name: name.to_string(), place: format!("line {line}"), value });
            let end = rest.len() - after.len();
            taken = taken.max(after.find('\n').map_or(rest.len(), |at| end + at + 1));
        }
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    found
}

/// One word of sh: its value, and what follows it.
fn word(text: &str) -> (Value, &str) {
    const EXPANDS: &str =
        "a shell puts something else in its place, since it has a `$` or a backquote outside of single quotes; write the value in single quotes";
    const OPEN: &str = "its quote is not closed";
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut why = None;
    let mut chars = text.char_indices();
    let mut quote = None;
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t' | '\n' | '\r' | ';' | '&' | '|' | '<' | '>' | '(' | ')') => {
                end = at;
                break;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => value.push(c),
            (_, '$' | '`') => why = Some(EXPANDS),
            (None, '\\') => match chars.next() {
                // A line that goes on.
                Some((_, '\n')) | None => {}
                Some((_, c)) => value.push(c),
            },
            (Some(_), '\\') => match chars.next() {
                Some((_, c @ ('"' | '\\' | '$' | '`'))) => value.push(c),
                Some((_, '\n')) | None => {}
                Some((_, c)) => value.extend(['\\', c]),
            },
            (_, c) => value.push(c),
        }
    }
    if quote.is_some() {
        why = Some(OPEN);
    }
    (why.map_or(Ok(value), Err), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        testing::check(&read(&assignments(text), &Registry::parse("nvcr.io").unwrap().0), want);
    }

    fn pair(password: &str) -> String {
        format!("export SINGULARITY_DOCKER_USERNAME='$oauthtoken'\nexport SINGULARITY_DOCKER_PASSWORD={password}\n")
    }

    #[test]
    fn values_are_read_as_sh_reads_them() {
        for (password, want) in [
            ("plain", "plain"),
            ("'it'\\''s'", "it's"),
            ("\"a\\\"b\\\\c\\$d\\e\"", "a\"b\\c$d\\e"),
            ("a\\ b", "a b"),
            ("a'b'\"c\"d", "abcd"),
            ("'x' # a comment", "x"),
            ("x; export Y=1", "x"),
            ("' x '", "x"),
            ("'one\ntwo'", "one\ntwo"),
            ("pässwörd#1", "pässwörd#1"),
        ] {
            check(&pair(password), &format!("nvcr.io $oauthtoken {want} SINGULARITY_DOCKER_* (line 2)").lines().collect::<Vec<_>>());
        }
        check("SINGULARITY_DOCKER_USERNAME=\"u\"\r\nSINGULARITY_DOCKER_PASSWORD=p\r\n", &["nvcr.io u p SINGULARITY_DOCKER_* (line 2)"]);
        let among = "#!/bin/sh\nif true; then\n  X='\n'\nfi\n  export\tAPPTAINER_DOCKER_USERNAME=u\nAPPTAINER_DOCKER_PASSWORD=old\nAPPTAINER_DOCKER_PASSWORD=p";
        check(among, &["nvcr.io u p APPTAINER_DOCKER_* (line 8)"]);
    }

    #[test]
    fn what_a_shell_would_expand_is_left() {
        for password in ["$(aws ecr get-login-password)", "$TOKEN", "\"x$y\"", "`cmd`"] {
            check(&pair(password), &["left SINGULARITY_DOCKER_PASSWORD (line 2): a shell puts something else in its place..."]);
        }
        check("SINGULARITY_DOCKER_USERNAME=$oauthtoken\nSINGULARITY_DOCKER_PASSWORD=p\n", &["left SINGULARITY_DOCKER_USERNAME (line 1): a shell puts..."]);
        check(&pair("'open"), &["left SINGULARITY_DOCKER_PASSWORD (line 2): its quote is not closed"]);
    }

    #[test]
    fn halves_and_pairs_that_differ_are_left() {
        check("SINGULARITY_DOCKER_USERNAME=u\n", &["left line 1: SINGULARITY_DOCKER_PASSWORD is not set"]);
        check("APPTAINER_DOCKER_PASSWORD=u\n", &["left line 1: APPTAINER_DOCKER_USERNAME is not set"]);
        check("X=1\n", &["left SINGULARITY_DOCKER_*, APPTAINER_DOCKER_*: none of these variables is set"]);
        let both = |p: &str| format!("{}APPTAINER_DOCKER_USERNAME='$oauthtoken'\nAPPTAINER_DOCKER_PASSWORD={p}\n", pair("p"));
        check(&both("q"), &["left SINGULARITY_DOCKER_* (line 2), APPTAINER_DOCKER_* (line 4): the two pairs differ..."]);
        let mut same = read(&assignments(&both("p")), &Registry::parse("nvcr.io").unwrap().0);
        same.settle();
        testing::check(&same, &["nvcr.io $oauthtoken p SINGULARITY_DOCKER_* (line 2), APPTAINER_DOCKER_* (line 4)"]);
    }

    #[test]
    fn variables_of_the_process_name_themselves() {
        let of = |name: &str, value: &str| Variable::of_process(name, Zeroizing::new(value.to_string()));
        let vars = [of("SINGULARITY_DOCKER_USERNAME", "u"), of("SINGULARITY_DOCKER_PASSWORD", "$literal")];
        testing::check(&read(&vars, &Registry::parse("h").unwrap().0), &["h u $literal SINGULARITY_DOCKER_*"]);
        assert_eq!(names().count(), 4);
    }
}
