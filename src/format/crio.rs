//! CRI-O's auth file and the drop-in of its configuration that names it (cri-o `server/server.go`, `pkg/config/config.go`: with
//! `global_auth_file` it looks nowhere else; containers/image reads the file, and does so with every pull).
//!
//! The drop-in holds no secret and is wholly ours. CRI-O reads its configuration when it starts.

use super::auths::{self, Dialect, Helpers, alias_for_containers, bad_for_containers};
use super::{Consumer, FileSpec, Merge, Merged, NodeFacts, Wants, merge_whole, restart_note};
use crate::model::text::escape;
use crate::model::{FileMode, Login, RemotePath, ServiceUnit, Target, TargetKind};

/// CRI-O's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Crio,
    default_path: "/etc/crio/auth.json",
    one_login: false,
    directory: false,
    in_home: false,
    logins: true,
    restart: &[ServiceUnit::Crio],
    files,
    check: auths::check,
    wants,
    merge,
    read_back,
    keys: |registry, _| vec![registry.to_string()],
    is_alias: alias_for_containers,
    entries: |spec, bytes, _| if spec.secret { auths::entries(&DIALECT, spec, bytes) } else { Ok(Vec::new()) },
    remove: |r| match r.spec.secret {
        true => auths::remove(&DIALECT, r),
        false => Ok(super::Removed { content: None, diff: vec!["- drop-in".into()] }),
    },
};

const DIALECT: Dialect = Dialect {
    name: "cri-o",
    key: |registry| registry.to_string(),
    is_alias: alias_for_containers,
    helpers: Helpers::PerRegistry,
    bad: bad_for_containers,
    empty: Some("cri-o refuses"),
    paths: true,
};

const DROP_IN: &str = "/etc/crio/crio.conf.d/10-regprov.conf";
const KEY: &str = "crio.image.global_auth_file";

/// The secrets first: the drop-in never points to what is not there yet.
fn files(target: &Target) -> Vec<FileSpec> {
    let mut files = auths::files(target);
    // The drop-in lies below the same directory, and is for all to read.
    files[0].dir_mode = FileMode::public(0o755);
    let path = RemotePath::parse(DROP_IN).expect("a constant path that is absolute and plain");
    files.push(FileSpec { part: "drop-in", path, mode: FileMode::public(0o644), secret: false, at_start: true, dir_mode: FileMode::public(0o755) });
    files
}

/// The drop-ins, since a later one decides. Those of CRI-O's main file come before them all.
fn wants(target: &Target, logins: &[&Login]) -> Wants {
    Wants { conf: vec!["/etc/crio/crio.conf.d/*".into()], ..auths::wants(target, logins) }
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    if m.spec.secret {
        let mut merged = auths::merge(&DIALECT, m)?;
        merged.notes.extend(not_read(m.target, m.facts));
        return Ok(merged);
    }
    let mut merged = merge_whole(m.existing, drop_in(m.target), "drop-in");
    if merged.write.is_some() && !m.target.restart {
        merged.notes.push(restart_note("crio", "it reads where its auth file lies when it starts"));
    }
    Ok(merged)
}

fn read_back(m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    match m.spec.secret {
        true => auths::read_back(&DIALECT, m, bytes),
        false if auth_file(bytes) == Some(Some(m.target.path.to_string())) => Ok(()),
        false => Err(format!("{} does not hold what was written", m.spec.path)),
    }
}

fn drop_in(target: &Target) -> String {
    let path = target.path.as_str().replace('\\', "\\\\").replace('"', "\\\"");
    format!("# Written by regprov. Holds no secret: the logins lie in the file that it names.\n[crio.image]\nglobal_auth_file = \"{path}\"\n")
}

/// A drop-in that comes after ours and names another file.
fn not_read(target: &Target, facts: &NodeFacts) -> Option<String> {
    let later = |path: &str| path.rsplit_once('/').zip(DROP_IN.rsplit_once('/')).is_some_and(|((_, name), (_, ours))| name > ours);
    let set = facts.conf.iter().filter(|(path, _)| later(path)).filter_map(|(path, content)| Some((path, auth_file(content)?)));
    let (path, value) = set.max_by(|(a, _), (b, _)| a.cmp(b))?;
    let names = match value {
        Some(value) if value == target.path.as_str() => return None,
        Some(value) => format!("sets `global_auth_file` to `{}`", escape(&value)),
        None => "sets `global_auth_file` to what regprov cannot tell".to_string(),
    };
    Some(format!("written, not read by cri-o: {} comes after {DROP_IN} and {names}; take it out there, or set that as `path:`", escape(path)))
}

/// What a TOML file of CRI-O's sets as `global_auth_file`: `None` when nothing, `Some(None)` when something that is no plain string.
/// It knows lines `[table]` and `key = "value"`, as CRI-O's own files and documents have them.
fn auth_file(content: &[u8]) -> Option<Option<String>> {
    let text = String::from_utf8_lossy(content);
    let (mut table, mut found) = (String::new(), None);
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = format!("{}.", plain_key(name));
        } else if let Some((key, value)) = line.split_once('=')
            && format!("{table}{}", plain_key(key)) == KEY
        {
            found = Some(plain_string(value.trim()));
        }
    }
    found
}

/// A key without the blanks and quotes that TOML allows around its parts.
fn plain_key(key: &str) -> String {
    key.split('.').map(|part| part.trim().trim_matches(['"', '\''])).collect::<Vec<_>>().join(".")
}

/// A string in either kind of quotes, with nothing but a comment behind it.
fn plain_string(value: &str) -> Option<String> {
    let mut chars = value.chars();
    let mark = chars.next().filter(|c| matches!(c, '"' | '\''))?;
    let mut text = String::new();
    loop {
        match chars.next()? {
            c if c == mark => break,
            '\\' if mark == '"' => text.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => text.push(c),
        }
    }
    let rest = chars.as_str().trim_start();
    (rest.is_empty() || rest.starts_with('#')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<Option<&str>>) {
        assert_eq!(auth_file(text.as_bytes()), want.map(|w| w.map(str::to_string)), "{text}");
    }

    #[test]
    fn what_a_drop_in_sets() {
        check("[crio.image]\nglobal_auth_file = \"/a/b.json\"\n", Some(Some("/a/b.json")));
        check("[ crio . \"image\" ] # x\n  global_auth_file='/a' # y\n", Some(Some("/a")));
        check("crio.image.global_auth_file = \"/a\"\n", Some(Some("/a")));
        check("[crio]\nimage.global_auth_file = \"\"\n", Some(Some("")));
        check("[crio.image]\nglobal_auth_file = \"/a\"\n[crio.image]\nglobal_auth_file = \"/b\\\\\\\"\"\n", Some(Some("/b\\\"")));
        check("[crio.image]\nglobal_auth_file = \"\"\"/a\"\"\"\n", Some(None));
        check("[crio.image]\nglobal_auth_file = 7\n", Some(None));
        check("[crio.image]\nglobal_auth_file = \"\\u002fa\"\n", Some(None));
        for none in [
            "",
            "[crio.image]\n# global_auth_file = \"/a\"\n",
            "[crio.runtime]\nglobal_auth_file = \"/a\"\n",
            "global_auth_file = \"/a\"\n",
            "[crio.image]\npause_image_auth_file = \"/a\"\n",
        ] {
            check(none, None);
        }
    }
}
