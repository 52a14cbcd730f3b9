//! The environment of Apptainer and SingularityCE: one username and one password for every registry they are asked for
//! (apptainer `cmd/internal/cli/apptainer.go`, `pkg/cmdline/env.go`), so a target has exactly one login.
//!
//! The secrets lie in a directory of regprov's, in three forms: for sh, for csh and for systemd's `EnvironmentFile=`. Two
//! stubs in /etc/profile.d source the first two where the user may read them; the stubs hold no secret. All five files are
//! wholly ours.

use zeroize::Zeroizing;

use super::shell::{plain_or, quote_csh, quote_env, quote_sh};
use super::{Account, Consumer, Entries, Entry, FileSpec, Merge, Merged, NodeFacts, Removal, Removed, Wants};
use crate::model::{FileMode, Login, RemotePath, Secret, Target, TargetKind};

/// Singularity's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Singularity,
    default_path: "/etc/regprov",
    one_login: true,
    directory: true,
    in_home: false,
    logins: true,
    restart: &[],
    files,
    check,
    wants,
    merge,
    read_back,
    keys: |_, _| PREFIXES.map(str::to_string).to_vec(),
    is_alias: |_, _| false,
    entries,
    remove,
};

/// Both, with equal values: Apptainer prefers its own and warns when they differ, SingularityCE reads only the first.
const PREFIXES: [&str; 2] = ["SINGULARITY", "APPTAINER"];

const DIR: FileMode = FileMode::public(0o755);
const STUB: FileMode = FileMode::public(0o644);

/// One of the five files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Sh,
    Csh,
    Env,
    ShStub,
    CshStub,
}

impl Part {
    const ALL: [Part; 5] = [Part::Sh, Part::Csh, Part::Env, Part::ShStub, Part::CshStub];

    /// The name in [`FileSpec::part`].
    fn name(self) -> &'static str {
        match self {
            Part::Sh => "sh",
            Part::Csh => "csh",
            Part::Env => "env",
            Part::ShStub => "sh stub",
            Part::CshStub => "csh stub",
        }
    }

    fn path(self, dir: &RemotePath) -> RemotePath {
        let profile = |name| RemotePath::parse("/etc/profile.d").expect("a constant path that is absolute and plain").join(name);
        match self {
            Part::Sh => dir.join("singularity.sh"),
            Part::Csh => dir.join("singularity.csh"),
            Part::Env => dir.join("singularity.env"),
            Part::ShStub => profile("regprov-singularity.sh"),
            Part::CshStub => profile("regprov-singularity.csh"),
        }
    }

    fn is_stub(self) -> bool {
        matches!(self, Part::ShStub | Part::CshStub)
    }
}

/// The files with secrets first: a stub never points to what is not there yet.
fn files(target: &Target) -> Vec<FileSpec> {
    Part::ALL
        .into_iter()
        .map(|part| {
            let secret = !part.is_stub();
            FileSpec { part: part.name(), path: part.path(&target.path), mode: if secret { target.mode } else { STUB }, secret, at_start: false, dir_mode: DIR }
        })
        .collect()
}

fn check(target: &Target, logins: &[&Login]) -> Vec<String> {
    let mut problems = super::check_common(target, logins);
    if logins.len() > 1 {
        let names: Vec<&str> = logins.iter().map(|l| l.name.as_str()).collect();
        problems.push(format!(
            "singularity {} has the logins {}, and its variables hold one that is sent to every registry; name it: `singularity: {{login: {}}}`",
            target.path,
            names.join(", "),
            names[0]
        ));
    }
    for login in logins {
        for (what, value) in [("username", login.username.as_str()), ("password", login.password.expose())] {
            if let Some(why) = refusal(value) {
                problems.push(format!(
                    "{what} of login \"{}\" ({}) cannot be written for singularity: {why}; choose another {what}, or leave the target out",
                    login.name, login.registry
                ));
            }
        }
    }
    problems
}

/// Why a value does not come through. The first rule is Go's TrimSpace (`pkg/cmdline/env.go`), the others are systemd's
/// (`src/basic/env-util.c` env_value_is_valid, `src/basic/utf8.c` unichar_is_valid), which drops such a line.
fn refusal(value: &str) -> Option<&'static str> {
    let noncharacter = |c: char| ('\u{fdd0}'..='\u{fdef}').contains(&c) || (c as u32) & 0xfffe == 0xfffe;
    let control = |c: char| (c < ' ' && c != '\t' && c != '\n') || c == '\u{7f}';
    if value.trim() != value {
        Some("Singularity and Apptainer cut white space at its start and end (TrimSpace)")
    } else if value.contains(control) {
        Some("it holds a control character, and systemd drops such a variable")
    } else if value.contains(noncharacter) {
        Some("it holds a code point that is no character, and systemd drops such a variable")
    } else {
        None
    }
}

fn wants(_: &Target, _: &[&Login]) -> Wants {
    Wants::default()
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    let part = part_of(m.spec)?;
    let bytes = render(part, m)?;
    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    let Some(existing) = m.existing else {
        merged.diff = if part.is_stub() { vec!["+ stub".into()] } else { wanted(m)?.iter().map(|(name, _)| format!("+ {name}")).collect() };
        merged.write = Some(bytes);
        return Ok(merged);
    };
    if existing == bytes.as_slice() {
        return Ok(merged);
    }
    if part.is_stub() {
        merged.diff.push("~ stub".into());
        merged.notes.push("this file is wholly regprov's: what else stood there is replaced".into());
    } else {
        merged.diff = changes(&wanted(m)?, variables(part, existing), &mut merged.notes);
        if merged.diff.is_empty() {
            return Ok(merged);
        }
    }
    merged.write = Some(bytes);
    Ok(merged)
}

/// What changes between the variables that are there (`None` when the file holds anything else) and ours.
fn changes(wanted: &Variables, there: Option<Variables>, notes: &mut Vec<String>) -> Vec<String> {
    let foreign = there.as_ref().is_none_or(|vars| vars.iter().any(|(name, _)| wanted.iter().all(|(w, _)| w != name)));
    if foreign {
        notes.push("this file is wholly regprov's: what else stood there is replaced".into());
        return vec!["~ the whole file".into()];
    }
    let there = there.unwrap_or_default();
    let mut diff = Vec::new();
    for (name, value) in wanted {
        // The last assignment of a name is the one that counts, in all three forms.
        match there.iter().rfind(|(n, _)| n == name) {
            None => diff.push(format!("+ {name}")),
            Some((_, old)) if old != value => diff.push(format!("~ {name}")),
            Some(_) => {}
        }
    }
    diff
}

fn part_of(spec: &FileSpec) -> Result<Part, String> {
    Part::ALL.into_iter().find(|p| p.name() == spec.part).ok_or_else(|| format!("{} is no file of a singularity target", spec.path))
}

/// More variables than this are never ours; each costs memory of its file's size, so that no copy of a value is left behind.
const VARIABLES_MAX: usize = 16;

/// Names and values in the order in which they are written.
type Variables = Vec<(String, Zeroizing<String>)>;

fn wanted(m: &Merge<'_>) -> Result<Variables, String> {
    let [login] = m.logins else {
        return Err(format!("singularity {} takes one login, and has {}; name it: `singularity: {{login: NAME}}`", m.target.path, m.logins.len()));
    };
    let pair = |prefix: &str| {
        let value = |text: &str| Zeroizing::new(text.to_string());
        [(format!("{prefix}_DOCKER_USERNAME"), value(login.username.as_str())), (format!("{prefix}_DOCKER_PASSWORD"), value(login.password.expose()))]
    };
    Ok(PREFIXES.into_iter().flat_map(pair).collect())
}

// ---- the writers -----------------------------------------------------------------------------------------------------------

fn render(part: Part, m: &Merge<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
    const NO_SECRET: &str = "# Written by regprov. Holds no secret: the login lies where only its readers can read it.\n";
    match part {
        Part::ShStub => {
            let path = plain_or(Part::Sh.path(&m.target.path).as_str(), quote_sh);
            return Ok(Zeroizing::new(format!("{NO_SECRET}[ -r {path} ] && . {path}\n").into_bytes()));
        }
        Part::CshStub => {
            let path = plain_or(Part::Csh.path(&m.target.path).as_str(), quote_csh);
            return Ok(Zeroizing::new(format!("{NO_SECRET}if ( -r {path} ) source {path}\n").into_bytes()));
        }
        Part::Sh | Part::Csh | Part::Env => {}
    }
    let vars = wanted(m)?;
    // Quoting makes four bytes of one at most.
    let room = vars.iter().map(|(name, value)| 4 * value.len() + name.len() + 16).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    for (name, value) in &vars {
        let (start, quoted) = match part {
            Part::Sh => (format!("export {name}="), quote_sh(value)),
            Part::Csh => (format!("setenv {name} "), quote_csh(value)),
            _ => (format!("{name}="), quote_env(value)),
        };
        out.extend_from_slice(start.as_bytes());
        out.extend_from_slice(quoted.as_bytes());
        out.push(b'\n');
    }
    Ok(out)
}

// ---- the readers -----------------------------------------------------------------------------------------------------------

/// Reads the file as its shell or systemd does and demands exactly our variables.
fn read_back(m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    let part = part_of(m.spec)?;
    let right = if part.is_stub() { bytes == render(part, m)?.as_slice() } else { variables(part, bytes) == Some(wanted(m)?) };
    if right { Ok(()) } else { Err(format!("{} does not hold what was written", m.spec.path)) }
}

/// The pair of each prefix; it is sent to every registry.
fn entries(spec: &FileSpec, bytes: &[u8], _: &NodeFacts) -> Entries {
    let part = part_of(spec)?;
    if part.is_stub() {
        return Ok(Vec::new());
    }
    let vars = variables(part, bytes).ok_or_else(|| format!("{} holds something else than variables as regprov writes them", spec.path))?;
    let value = |name: String| vars.iter().rfind(|(n, _)| *n == name).map(|(_, value)| value);
    let entry = |prefix: &str| {
        let (username, password) = (value(format!("{prefix}_DOCKER_USERNAME"))?, value(format!("{prefix}_DOCKER_PASSWORD"))?);
        let login = Account { username: username.to_string(), password: Secret::new(password.clone()) };
        Some(Entry { key: prefix.to_string(), login: Some(login), note: None })
    };
    Ok(PREFIXES.into_iter().filter_map(entry).collect())
}

/// All of them are wholly ours, so they go.
fn remove(r: &Removal<'_>) -> Result<Removed, String> {
    let what = if part_of(r.spec)?.is_stub() { "stub" } else { "variables" };
    Ok(Removed { content: None, diff: vec![format!("- {what}")] })
}

/// The assignments of a file in this form; `None` when it holds anything else.
fn variables(part: Part, bytes: &[u8]) -> Option<Variables> {
    let text = std::str::from_utf8(bytes).ok()?;
    match part {
        Part::Sh => shell_variables(text, "export ", '=', false),
        Part::Csh => shell_variables(text, "setenv ", ' ', true),
        Part::Env => systemd_variables(text),
        Part::ShStub | Part::CshStub => None,
    }
}

/// Reads `START NAME SEPARATOR 'VALUE'` lines, the part of sh's or csh's grammar that is written here.
fn shell_variables(text: &str, start: &str, separator: char, csh: bool) -> Option<Variables> {
    let mut vars = Variables::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, value) = rest.strip_prefix(start)?.split_once(separator)?;
        let (value, after) = shell_word(value, csh)?;
        vars.push((is_name(name).then(|| name.to_string())?, value));
        if vars.len() > VARIABLES_MAX {
            return None;
        }
        rest = after.strip_prefix('\n').or(after.is_empty().then_some(""))?;
    }
    Some(vars)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.as_bytes()[0].is_ascii_digit()
}

/// One word of single-quoted pieces and `\'`; the value and what follows it.
fn shell_word(text: &str, csh: bool) -> Option<(Zeroizing<String>, &str)> {
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix("\\'") {
            value.push('\'');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('\'') {
            let (piece, after) = after.split_once('\'')?;
            rest = after;
            let mut chars = piece.chars().peekable();
            while let Some(c) = chars.next() {
                match (c, chars.peek()) {
                    ('\\', Some('!' | '\n')) if csh => value.extend(chars.next()),
                    // A history reference, or a string that ends with its line.
                    ('!' | '\n', _) if csh => return None,
                    _ => value.push(c),
                }
            }
        } else {
            return Some((value, rest));
        }
    }
}

/// systemd's parser (`src/basic/env-file.c` parse_env_file_internal), state for state; `None` where it drops a line.
fn systemd_variables(text: &str) -> Option<Variables> {
    #[derive(PartialEq)]
    enum State {
        PreKey,
        Key,
        PreValue,
        Value,
        ValueEscape,
        Single,
        Double,
        DoubleEscape,
        Comment,
        CommentEscape,
    }
    let mut vars = Variables::new();
    let (mut name, mut value) = (String::new(), Zeroizing::new(String::with_capacity(text.len())));
    // Length of the value without the white space at its end, outside quotes.
    let mut solid = 0;
    let mut state = State::PreKey;
    for c in text.chars().chain(['\n']) {
        let line_end = matches!(c, '\n' | '\r');
        state = match state {
            State::PreKey if matches!(c, '#' | ';') => State::Comment,
            State::PreKey if c.is_ascii_whitespace() => State::PreKey,
            State::PreKey | State::Key if !line_end && c != '=' => {
                name.push(c);
                State::Key
            }
            State::PreKey | State::Key if c == '=' => State::PreValue,
            State::PreKey | State::Key => return None,
            State::PreValue | State::Value if line_end => {
                if state == State::Value {
                    value.truncate(solid);
                }
                let key = name.trim_end().to_string();
                if !is_name(&key) || value.contains(|x: char| (x < ' ' && x != '\t' && x != '\n') || x == '\u{7f}') {
                    return None;
                }
                vars.push((key, value.clone()));
                name.clear();
                value.clear();
                solid = 0;
                State::PreKey
            }
            State::PreValue if c == '\'' => State::Single,
            State::PreValue if c == '"' => State::Double,
            State::PreValue | State::Value if c == '\\' => State::ValueEscape,
            State::PreValue if matches!(c, ' ' | '\t') => State::PreValue,
            State::PreValue | State::Value => {
                value.push(c);
                if !matches!(c, ' ' | '\t') {
                    solid = value.len();
                }
                State::Value
            }
            State::ValueEscape => {
                if !line_end {
                    value.push(c);
                    solid = value.len();
                }
                State::Value
            }
            State::Single if c == '\'' => State::PreValue,
            State::Single => {
                value.push(c);
                State::Single
            }
            State::Double if c == '"' => State::PreValue,
            State::Double if c == '\\' => State::DoubleEscape,
            State::Double => {
                value.push(c);
                State::Double
            }
            State::DoubleEscape => {
                match c {
                    '"' | '\\' | '`' | '$' => value.push(c),
                    '\n' => {}
                    _ => value.extend(['\\', c]),
                }
                State::Double
            }
            State::Comment if c == '\\' => State::CommentEscape,
            State::Comment if line_end => State::PreKey,
            State::Comment | State::CommentEscape => State::Comment,
        };
    }
    (state == State::PreKey).then_some(vars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn env(text: &str, want: Option<&[(&str, &str)]>) {
        let got = systemd_variables(text).map(|v| v.into_iter().map(|(n, v)| (n, v.to_string())).collect::<Vec<_>>());
        assert_eq!(got, want.map(|w| w.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()), "{text}");
    }

    #[test]
    fn systemd_reads() {
        env("A=\"x \\\"\\$\\` \\\\n\ny\"\n# c \\\n\nB=z", Some(&[("A", "x \"$` \\n\ny"), ("B", "z")]));
        env("A='it'\\''s'\n", Some(&[("A", "it''s'")]));
        env("A= b \n", Some(&[("A", "b")]));
        env("A=\"\\a\"\n", Some(&[("A", "\\a")]));
        env("A=\"open\n", None);
        env("no equals sign\n", None);
        env("A=\"\u{1}\"\n", None);
        env("", Some(&[]));
    }

    #[track_caller]
    fn shell(text: &str, csh: bool, want: Option<&str>) {
        let (start, sep) = if csh { ("setenv ", ' ') } else { ("export ", '=') };
        let got = shell_variables(&format!("{start}A{sep}{text}\n"), start, sep, csh).map(|v| v[0].1.to_string());
        assert_eq!(got.as_deref(), want, "{text}");
    }

    #[test]
    fn shells_read() {
        shell("'it'\\''s $x `y` \\n\nz!'", false, Some("it's $x `y` \\n\nz!"));
        shell("'bang\\! \\n \\\nz'", true, Some("bang! \\n \nz"));
        shell("'bang!'", true, None);
        shell("'open", false, None);
        shell("plain", false, None);
        shell("'a' b", false, None);
    }
}
