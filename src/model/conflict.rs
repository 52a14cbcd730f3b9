//! Conflict markers that git left in a text, found before YAML's reader stumbles over them.
//!
//! Git writes them at the left margin, seven characters and more (`conflict-marker-size`), with a label behind the outer ones. No value of a
//! vault begins there: in block style all of them are indented. A `=======` alone says nothing, it may be a line of somebody's text.

/// A conflict that is still to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The line of its first marker, from 1.
    pub first: u64,
    /// The line of its last one; the file's last line where that is missing.
    pub last: u64,
    /// The logins that it touches, where their names can be told.
    pub logins: Vec<String>,
    /// How many conflicts follow.
    pub more: usize,
}

/// What to do about one. `file` is its name for a person.
pub fn hint(file: &str) -> String {
    let file = super::text::shell_word(file);
    format!(
        "keep one side and take the marker lines out, or start again with `git checkout --merge -- {file}`; after `regprov git-setup` git merges vaults login by login"
    )
}

impl Conflict {
    /// It in a message: "an unresolved merge conflict (lines 12 to 40, in login `ngc`)".
    pub fn text(&self) -> String {
        let logins: Vec<String> = self.logins.iter().take(LOGINS_SHOWN).map(|name| format!("`{name}`")).collect();
        let within = match (&logins[..], self.logins.len()) {
            ([], _) => String::new(),
            ([one], _) => format!(", in login {one}"),
            (some, n) if n > some.len() => format!(", in logins {} and {} more", some.join(", "), n - some.len()),
            (some, _) => format!(", in logins {}", some.join(", ")),
        };
        let more = match self.more {
            0 => String::new(),
            1 => ", and one more".to_string(),
            n => format!(", and {n} more"),
        };
        format!("an unresolved merge conflict (lines {} to {}{within}){more}", self.first, self.last)
    }
}

/// How many logins a message names.
const LOGINS_SHOWN: usize = 5;

/// The first conflict of a YAML text.
pub fn find(text: &str) -> Option<Conflict> {
    if !text.lines().any(|line| is_marker(line, b'<') || is_marker(line, b'>')) {
        return None;
    }
    let begun = |at: u64| Conflict { first: at, last: at, logins: Vec::new(), more: 0 };
    let mut found: Vec<Conflict> = Vec::new();
    let mut open: Option<Conflict> = None;
    let mut section = Section::default();
    let mut lines = 0;
    for (at, line) in (1..).zip(text.lines()) {
        lines = at;
        if is_marker(line, b'<') {
            found.extend(open.take());
            open = Some(begun(at));
        } else if is_marker(line, b'>') {
            let conflict = open.take().unwrap_or_else(|| begun(at));
            found.push(Conflict { last: at, ..conflict });
        } else if !is_separator(line) {
            section.line(line);
            if let (Some(conflict), Some(login)) = (&mut open, section.login)
                && !line.trim().is_empty()
                && !conflict.logins.iter().any(|l| l == login)
            {
                conflict.logins.push(login.to_string());
            }
        }
    }
    found.extend(open.map(|conflict| Conflict { last: lines, ..conflict }));
    let more = found.len() - 1;
    found.into_iter().next().map(|first| Conflict { more, ..first })
}

/// The login to which a line of block style belongs, from 1, where its name can be told.
pub fn login_at(text: &str, line: u64) -> Option<&str> {
    let mut section = Section::default();
    (1..=line).zip(text.lines()).for_each(|(_, line)| section.line(line));
    section.login
}

/// Whether a line begins or ends a conflict.
fn is_marker(line: &str, of: u8) -> bool {
    let run = line.bytes().take_while(|b| *b == of).count();
    run >= 7 && matches!(line.as_bytes().get(run), None | Some(b' ' | b'\r'))
}

/// Whether a line stands between the sides of a conflict.
fn is_separator(line: &str) -> bool {
    is_marker(line, b'=') || is_marker(line, b'|')
}

/// Which login a line of block style belongs to.
#[derive(Default)]
struct Section<'a> {
    inside: bool,
    indent: Option<usize>,
    login: Option<&'a str>,
}

impl<'a> Section<'a> {
    fn line(&mut self, line: &'a str) {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if content.trim().is_empty() || content.starts_with('#') {
            return;
        }
        if indent == 0 {
            *self = Section { inside: content.split('#').next().map(str::trim_end) == Some("logins:"), ..Section::default() };
        } else if self.inside && indent <= *self.indent.get_or_insert(indent) {
            self.login = login_name(content);
        }
    }
}

/// The name on a line that holds nothing else. What is no name of a login is not shown, whatever it is.
fn login_name(line: &str) -> Option<&str> {
    let (name, behind) = line.split_once(':')?;
    let name = name.trim_matches(['"', '\'']);
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let behind = behind.trim();
    (is_name && (behind.is_empty() || behind.starts_with(['#', '{']))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "version: 1\nlogins:\n  hub:\n    registry: docker.io\n";

    #[track_caller]
    fn check(text: &str, want: &str) {
        let told = find(text).expect("there is one").text();
        assert_eq!(told.strip_prefix("an unresolved merge conflict "), Some(want), "{text}");
    }

    #[test]
    fn a_conflict_names_its_lines_and_logins() {
        let sides = "<<<<<<< HEAD\n    username: a\n=======\n    username: hunter2\n>>>>>>> theirs\n";
        check(&format!("{HEAD}{sides}    password: x\n"), "(lines 5 to 9, in login `hub`)");
        // Windows line ends, a base between the sides, longer markers.
        check(&format!("{HEAD}{sides}").replace('\n', "\r\n"), "(lines 5 to 9, in login `hub`)");
        let three = "<<<<<<<<< HEAD\n    username: a\n||||||||| base\n    username: c\n=========\n    username: b\n>>>>>>>>> t\n";
        check(&format!("{HEAD}{three}"), "(lines 5 to 11, in login `hub`)");
        let logins = "<<<<<<< HEAD\n  ngc:\n    username: a\n=======\n  \"quay\": # theirs\n    username: b\n>>>>>>> t\n";
        check(&format!("{HEAD}{logins}{sides}"), "(lines 5 to 11, in logins `ngc`, `quay`), and one more");
        check(&format!("<<<<<<< HEAD\nvault_serial: 2\n=======\nvault_serial: 3\n>>>>>>> t\n{HEAD}"), "(lines 1 to 5)");
        let many: String = (0..7).map(|i| format!("  l{i}:\n")).collect();
        check(&format!("{HEAD}<<<<<<< a\n{many}=======\n>>>>>>> b\n"), "(lines 5 to 14, in logins `l0`, `l1`, `l2`, `l3`, `l4` and 2 more)");
    }

    #[test]
    fn what_is_left_of_one_counts() {
        check(&format!("{HEAD}<<<<<<< HEAD\n    username: a\n"), "(lines 5 to 6, in login `hub`)");
        check(&format!("{HEAD}    username: a\n=======\n>>>>>>> theirs\n"), "(lines 7 to 7)");
    }

    #[test]
    fn no_value_is_taken_for_a_login() {
        for line in ["  hun ter2:\n", "  hunter2: x\n    - hunter2\n", "  - hunter2:\n", "  |hunter2:\n", "  registry:hunter2:\n"] {
            let text = format!("{HEAD}<<<<<<< HEAD\n{line}=======\n>>>>>>> b\n");
            let told = find(&text).unwrap().text();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn lines_of_a_text_are_no_conflict() {
        for text in ["", HEAD, "a: |\n  <<<<<<< HEAD\n  =======\n  >>>>>>> b\n", "=======\n|||||||\n", "a: >\n  x\n", "<<<<<< a\n", "<<<<<<<a\n"] {
            assert_eq!(find(text), None, "{text}");
        }
    }
}
