//! The `registries.yaml` of k3s and RKE2 (rancher/wharfie `pkg/registries/types.go`): `configs: "HOST[:PORT]": auth: {username, password}`.
//!
//! Of an entry only `auth` is ours. Mirrors, TLS settings and other entries are somebody else's and keep their text: what changes is
//! spliced into it, and the result is read again and compared before it counts.
//!
//! k3s renders the file into containerd's TOML with Go's `%q` (k3s `pkg/agent/templates/templates_linux.go`), whose `\x01` for a control
//! character TOML rejects, so that containerd would not start: such a password is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::yaml::{self, Entry as Pair, Node, Value};
use super::{Account, Consumer, Entries, Entry, FileSpec, Merge, Merged, NodeFacts, Removal, Removed, Wants, lossy, restart_note, shown};
use crate::model::{FileMode, Login, Registry, Secret, ServiceUnit, Target, TargetKind};

/// The row of k3s in the table.
pub(super) const K3S: Consumer = Consumer {
    kind: TargetKind::K3s,
    default_path: "/etc/rancher/k3s/registries.yaml",
    one_login: false,
    directory: false,
    in_home: false,
    logins: true,
    restart: &[ServiceUnit::K3s, ServiceUnit::K3sAgent],
    files,
    check,
    wants,
    merge,
    read_back,
    keys: |registry, _| keys(registry),
    is_alias: |_, _| false,
    entries,
    remove,
};

/// The row of RKE2 in the table.
pub(super) const RKE2: Consumer =
    Consumer { kind: TargetKind::Rke2, default_path: "/etc/rancher/rke2/registries.yaml", restart: &[ServiceUnit::Rke2Server, ServiceUnit::Rke2Agent], ..K3S };

/// Templates by which an admin replaces the containerd configuration that k3s and RKE2 write.
const K3S_TEMPLATES: &[&str] = &["/var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl", "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl"];
const RKE2_TEMPLATES: &[&str] =
    &["/var/lib/rancher/rke2/agent/etc/containerd/config.toml.tmpl", "/var/lib/rancher/rke2/agent/etc/containerd/config-v3.toml.tmpl"];

/// `/etc/rancher/k3s` as k3s makes it: whoever may read the kubeconfig beside our file has to get there.
const DIR: FileMode = FileMode::public(0o755);

fn files(target: &Target) -> Vec<FileSpec> {
    vec![FileSpec { part: "", path: target.path.clone(), mode: target.mode, secret: true, at_start: true, dir_mode: DIR }]
}

fn check(target: &Target, logins: &[&Login]) -> Vec<String> {
    let mut problems = super::check_common(target, logins);
    for login in logins {
        for (what, value) in [("username", login.username.as_str()), ("password", login.password.expose())] {
            if value.contains(is_unwritable) {
                problems.push(format!(
                    "{what} of login \"{}\" ({}) cannot be written for {}: it holds a control character or a line break, which does not come through its \
                     YAML and containerd's TOML; choose another {what}, or leave the target out",
                    login.name, login.registry, target.kind
                ));
            }
        }
    }
    problems
}

/// Control characters, of which `%q` makes what TOML rejects; what YAML 1.1 takes for line breaks; what Go's YAML reader refuses.
fn is_unwritable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn wants(target: &Target, _: &[&Login]) -> Wants {
    let templates = if target.kind == TargetKind::Rke2 { RKE2_TEMPLATES } else { K3S_TEMPLATES };
    Wants { conf: templates.iter().map(ToString::to_string).collect(), ..Wants::default() }
}

/// The keys of a registry. containerd asks by the host that serves the images, which for Docker Hub is `registry-1.docker.io`, wharfie by
/// `index.docker.io`, and people look for `docker.io`.
fn keys(registry: &Registry) -> Vec<String> {
    if registry.is_hub() {
        return ["docker.io", "registry-1.docker.io", "index.docker.io"].map(str::to_string).to_vec();
    }
    vec![registry.authority().to_string()]
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    let existing = m.existing.unwrap_or_default();
    let mut merged = match compose(m, existing) {
        Err(why) if m.options.replace_invalid && m.existing.is_some() => {
            let mut merged = compose(m, b"")?;
            merged.diff.insert(0, "~ the whole file".to_string());
            merged.notes.push(format!("replaced a file that could not be used: {why}; it is kept as {}.regprov-backup", m.spec.path.file_name()));
            merged.backup = true;
            merged
        }
        Err(why) => return Err(format!("{}: {why}; repair it, or let --replace-invalid replace it after a backup", m.spec.path)),
        Ok(merged) => merged,
    };
    merged.notes.extend(template_notes(m));
    if merged.write.is_some() && !m.target.restart {
        merged.notes.push(restart_note(m.target.kind.name(), "it reads the file when it starts"));
    }
    Ok(merged)
}

/// A template without the stanza for registries makes containerd's configuration without any login.
fn template_notes(m: &Merge<'_>) -> impl Iterator<Item = String> {
    let kind = m.target.kind;
    let mute = |content: &[u8]| {
        let text = String::from_utf8_lossy(content);
        !text.contains("PrivateRegistryConfig") && !text.contains("template \"base\"")
    };
    let names: Vec<String> = m.facts.conf.iter().filter(|(_, content)| mute(content)).map(|(path, _)| path.clone()).collect();
    names
        .into_iter()
        .map(move |path| format!("written, not read by {kind}: the template {path} leaves registries out; let it begin with {{{{ template \"base\" . }}}}"))
}

fn compose(m: &Merge<'_>, existing: &[u8]) -> Result<Merged, String> {
    let before = std::str::from_utf8(existing).map_err(|_| "it is not UTF-8")?;
    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    let mut text = Zeroizing::new(before.to_string());
    let mut ours = Vec::new();
    for login in m.logins {
        for key in keys(&login.registry) {
            let document = yaml::parse(&text)?;
            if let Some(new) = set(&text, document.as_ref(), &key, login, &mut merged.diff)? {
                text = new;
            }
            ours.push(key);
        }
    }
    if !merged.diff.is_empty() {
        verify(before, &text, &ours)?;
        merged.write = Some(Zeroizing::new(text.as_bytes().to_vec()));
    }
    let document = yaml::parse(&text)?;
    for login in m.logins {
        wanted(document.as_ref(), login)?;
        merged.notes.extend(document.as_ref().and_then(|d| mirror_note(d, &login.registry)));
    }
    Ok(merged)
}

/// Where images of this registry come from a mirror, it is the mirror's login that counts.
fn mirror_note(document: &Node, registry: &Registry) -> Option<String> {
    let mirrors = &document.entry("mirrors")?.value;
    let mirror = mirrors.entry(registry.authority()).or_else(|| mirrors.entry("*"))?;
    let Value::Seq(endpoints) = &mirror.value.entry("endpoint")?.value.value else { return None };
    let host_of = |node: &Node| {
        let url = node.text()?;
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        Some(rest.split('/').next().unwrap_or_default().to_ascii_lowercase())
    };
    let has_login = |host: &str| document.entry("configs").and_then(|c| c.value.entry(host)).is_some_and(|e| e.value.entry("auth").is_some());
    let host = endpoints.iter().filter_map(host_of).find(|host| !host.is_empty() && !keys(registry).contains(host) && !has_login(host))?;
    Some(format!("`mirrors` sends {registry} to {} first, which is asked without a login; if it needs one, add a login for it", shown(&host)))
}

// ---- splicing ----------------------------------------------------------------------------------------------------------------

/// The text with this login under `key`; `None` when it says so already.
fn set(text: &str, document: Option<&Node>, key: &str, login: &Login, diff: &mut Vec<String>) -> Result<Option<Zeroizing<String>>, String> {
    let quoted = |value: &str| Zeroizing::new(format!("'{}'", value.replace('\'', "''")));
    let (user, password) = (quoted(login.username.as_str()), quoted(login.password.expose()));
    let auth = Piece {
        lines: vec![(0, Zeroizing::new("auth:".into())), (2, line("username", &user)), (2, line("password", &password))],
        flow: Zeroizing::new(format!("auth: {{username: {}, password: {}}}", *user, *password)),
    };
    let configs = document.and_then(|d| d.entry("configs"));
    let entry = configs.and_then(|c| c.value.entry(key));
    let found = entry.and_then(|e| e.value.entry("auth"));
    let in_flow = |node: Option<&Node>| node.is_some_and(|n| matches!(n.value, Value::Map { flow: true, .. }));
    let new = match (configs, entry, found) {
        (.., Some(found)) if says(&found.value, login) => return Ok(None),
        (_, Some(entry), Some(found)) => {
            if found.key.holds_marks() || found.value.holds_marks() {
                return Err(odd(&found.value, &format!("the `auth` of {key} has an anchor, an alias or a tag; write the values out")));
            }
            for stale in ["auth", "identity_token"] {
                if found.value.entry(stale).is_some() {
                    diff.push(format!("- {key} {stale}"));
                }
            }
            diff.push(format!("~ {key} auth"));
            replace(text, found, in_flow(Some(&entry.value)), &auth)?
        }
        (Some(configs), Some(entry), None) => {
            diff.push(format!("+ {key} auth"));
            insert(text, &entry.value, Some(&entry.key), in_flow(Some(&configs.value)), &auth)?
        }
        (Some(configs), None, _) => {
            diff.push(format!("+ {key} ({})", shown(login.username.as_str())));
            insert(text, &configs.value, Some(&configs.key), in_flow(document), &auth.below(&format!("\"{key}\"")))?
        }
        (None, ..) => {
            diff.push(format!("+ {key} ({})", shown(login.username.as_str())));
            let piece = auth.below(&format!("\"{key}\"")).below("configs");
            match document {
                None => splice(text, &[(text.len()..text.len(), piece.block(0, eol(text)))]),
                Some(root) => insert(text, root, None, false, &piece)?,
            }
        }
    };
    Ok(Some(new))
}

/// An entry to be written, in both of YAML's styles.
struct Piece {
    /// Lines with their indentation.
    lines: Vec<(usize, Zeroizing<String>)>,
    flow: Zeroizing<String>,
}

fn line(key: &str, value: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{key}: {value}"))
}

impl Piece {
    /// The same as the value of a key.
    fn below(self, key: &str) -> Piece {
        let first = (0, Zeroizing::new(format!("{key}:")));
        let lines = std::iter::once(first).chain(self.lines.into_iter().map(|(indent, line)| (indent + 2, line))).collect();
        Piece { lines, flow: Zeroizing::new(format!("{key}: {{{}}}", *self.flow)) }
    }

    fn block(&self, indent: usize, eol: &str) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(self.lines.iter().map(|(i, l)| indent + i + l.len() + 2).sum()));
        for (more, line) in &self.lines {
            out.extend(std::iter::repeat_n(' ', indent + more));
            out.push_str(line);
            out.push_str(eol);
        }
        out
    }
}

fn eol(text: &str) -> &'static str {
    if text.split_inclusive('\n').next().is_some_and(|l| l.ends_with("\r\n")) { "\r\n" } else { "\n" }
}

type Edit = (std::ops::Range<usize>, Zeroizing<String>);

/// The text with these edits, which are in its order. A piece that comes after a line without its end gets one before it.
fn splice(text: &str, edits: &[Edit]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() + edits.iter().map(|(_, new)| new.len()).sum::<usize>() + 2));
    let mut from = 0;
    for (at, new) in edits {
        out.push_str(&text[from..at.start]);
        if at.start == text.len() && !new.is_empty() && !out.is_empty() && !out.ends_with('\n') && out.as_str() != "\u{feff}" {
            out.push_str(eol(text));
        }
        out.push_str(new);
        from = at.end;
    }
    out.push_str(&text[from..]);
    out
}

/// Adds a piece to a map, or to a key without a value.
fn insert(text: &str, value: &Node, key: Option<&Node>, in_flow: bool, piece: &Piece) -> Result<Zeroizing<String>, String> {
    let none = Zeroizing::new(String::new());
    match &value.value {
        _ if value.marked || matches!(value.value, Value::Alias) => Err(odd(value, "an anchor, an alias or a tag where a login goes; write the values out")),
        Value::Map { entries, flow: true } => {
            let comma = if entries.is_empty() { "" } else { ", " };
            let at = value.at.start + 1;
            match key {
                // As people write it: what was empty becomes a block.
                Some(key) if entries.is_empty() && !in_flow && !text[value.at.clone()].contains('\n') => {
                    let start = text[..value.at.start].trim_end_matches(' ').len();
                    let below = yaml::line_end(text, value.at.end);
                    Ok(splice(text, &[(start..value.at.end, none), (below..below, piece.block(key.column + 2, eol(text)))]))
                }
                _ => Ok(splice(text, &[(at..at, Zeroizing::new(format!("{}{comma}", *piece.flow)))])),
            }
        }
        Value::Map { entries, .. } if key.is_none() => {
            let indent = entries.first().map_or(0, |e| e.key.column);
            Ok(splice(text, &[(text.len()..text.len(), piece.block(indent, eol(text)))]))
        }
        Value::Map { .. } => {
            let below = yaml::line_end(text, value.at.end);
            Ok(splice(text, &[(below..below, piece.block(value.column, eol(text)))]))
        }
        Value::Scalar { .. } if value.is_null() && in_flow => {
            let space = if value.at.is_empty() { " " } else { "" };
            Ok(splice(text, &[(value.at.clone(), Zeroizing::new(format!("{space}{{{}}}", *piece.flow)))]))
        }
        Value::Scalar { .. } if value.is_null() => {
            let Some(key) = key else { return Err(odd(value, "the file holds a word for nothing; remove it")) };
            let start = if value.at.is_empty() { value.at.start } else { text[..value.at.start].trim_end_matches(' ').len() };
            let below = yaml::line_end(text, value.at.end);
            Ok(splice(text, &[(start..value.at.end, none), (below..below, piece.block(key.column + 2, eol(text)))]))
        }
        _ => Err(odd(value, "a list or a text where a map of logins is wanted; remove it")),
    }
}

/// Puts a piece in the place of an entry.
fn replace(text: &str, entry: &Pair, in_flow: bool, piece: &Piece) -> Result<Zeroizing<String>, String> {
    if in_flow {
        return Ok(splice(text, &[(entry.at(), piece.flow.clone())]));
    }
    let lines = lines_of(text, entry)?;
    Ok(splice(text, &[(lines, piece.block(entry.key.column, eol(text)))]))
}

/// The whole lines of an entry in block style.
fn lines_of(text: &str, entry: &Pair) -> Result<std::ops::Range<usize>, String> {
    let start = yaml::line_start(text, entry.key.at.start);
    if !text[start..entry.key.at.start].chars().all(|c| c == ' ' || c == '\u{feff}') {
        return Err(odd(&entry.key, "something stands before the key on its line; write each key on a line of its own"));
    }
    Ok(start..yaml::line_end(text, entry.at().end))
}

fn odd(node: &Node, why: &str) -> String {
    format!("line {}: {why}", node.line)
}

/// Demands that nothing changed but the `auth` of these keys.
fn verify(before: &str, after: &str, ours: &[String]) -> Result<(), String> {
    let wrong = || "it cannot be changed without touching what others wrote; write `configs:` in block style, each key on a line of its own".to_string();
    let (old, new) = (yaml::parse(before)?, yaml::parse(after).map_err(|_| wrong())?);
    let same = |a: &[&Pair], b: &[&Pair]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key.is(&b.key, (before, after)) && a.value.is(&b.value, (before, after)))
    };
    let (old, new) = (Rest::of(old.as_ref(), ours), Rest::of(new.as_ref(), ours));
    let beside = |rest: &Rest<'_>| rest.beside.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
    let equal = same(&old.top, &new.top)
        && same(&old.configs, &new.configs)
        && beside(&old) == beside(&new)
        && old.beside.iter().zip(&new.beside).all(|((_, a), (_, b))| same(a, b));
    if equal { Ok(()) } else { Err(wrong()) }
}

/// What of a file is not ours.
#[derive(Default)]
struct Rest<'n> {
    /// Everything at the top but `configs`.
    top: Vec<&'n Pair>,
    /// The entries of others.
    configs: Vec<&'n Pair>,
    /// What stands beside `auth` in entries of ours.
    beside: Vec<(&'n str, Vec<&'n Pair>)>,
}

impl<'n> Rest<'n> {
    fn of(document: Option<&'n Node>, ours: &[String]) -> Self {
        let mut rest = Rest::default();
        for pair in document.map_or(&[][..], Node::entries) {
            if pair.name() != Some("configs") {
                rest.top.push(pair);
                continue;
            }
            for entry in pair.value.entries() {
                match entry.name() {
                    Some(name) if ours.iter().any(|o| o == name) => {
                        let beside: Vec<&Pair> = entry.value.entries().iter().filter(|e| e.name() != Some("auth")).collect();
                        if !beside.is_empty() {
                            rest.beside.push((name, beside));
                        }
                    }
                    _ => rest.configs.push(entry),
                }
            }
        }
        rest
    }
}

// ---- reading -----------------------------------------------------------------------------------------------------------------

/// Whether an `auth` is this login and nothing else.
fn says(auth: &Node, login: &Login) -> bool {
    let field = |name: &str| auth.entry(name).map(|e| &e.value).filter(|v| !v.marked).and_then(Node::text).unwrap_or_default();
    let stale = ["auth", "identity_token"].into_iter().any(|name| auth.entry(name).is_some());
    !auth.marked && !stale && *field("username") == login.username.as_str() && *field("password") == login.password.expose()
}

fn wanted(document: Option<&Node>, login: &Login) -> Result<(), String> {
    for key in keys(&login.registry) {
        let auth = document.and_then(|d| d.entry("configs")).and_then(|c| c.value.entry(&key)).and_then(|e| e.value.entry("auth"));
        if !auth.is_some_and(|auth| says(&auth.value, login)) {
            return Err(format!("login \"{}\" is not found under {key}", login.name));
        }
    }
    Ok(())
}

/// Reads the file as Go's YAML decoder does and demands each login under each of its keys.
fn read_back(m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    let read = || {
        let document = yaml::parse(std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?)?;
        m.logins.iter().try_for_each(|login| wanted(document.as_ref(), login))
    };
    read().map_err(|why: String| format!("{}: {why}", m.spec.path))
}

/// The entries with an `auth`, as containerd reads it (`internal/cri/server/images/image_pull.go` ParseAuth): a username comes before
/// an identity token, and that before `auth`.
fn entries(spec: &FileSpec, bytes: &[u8], _: &NodeFacts) -> Entries {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", spec.path))?;
    let document = yaml::parse(text).map_err(|why| format!("{}: {why}", spec.path))?;
    let configs = document.as_ref().and_then(|d| d.entry("configs")).map_or(&[][..], |c| c.value.entries());
    let mut found = Vec::new();
    for entry in configs {
        let Some(auth) = entry.value.entry("auth").map(|e| &e.value).filter(|a| !a.is_null()) else { continue };
        let key = entry.name().map_or_else(|| "(no text)".to_string(), str::to_string);
        if entry.value.marked || auth.holds_marks() {
            found.push(Entry { key, login: None, note: Some("an anchor, an alias or a tag, which regprov does not follow".into()) });
            continue;
        }
        let field = |name: &str| auth.entry(name).and_then(|e| e.value.text()).filter(|t| !t.is_empty());
        let token = field("identity_token").is_some() && field("username").is_none();
        let login = match field("username") {
            Some(username) => Some(Account { username: username.to_string(), password: Secret::new(field("password").unwrap_or_default()) }),
            None if token => None,
            None => field("auth").and_then(|auth| decoded(&auth)),
        };
        let note = if token { Some("an identity token".to_string()) } else { login.is_none().then(|| "an `auth` without a login".to_string()) };
        found.push(Entry { key, login, note });
    }
    Ok(found)
}

fn decoded(auth: &str) -> Option<Account> {
    let plain = Zeroizing::new(STANDARD.decode(auth).ok()?);
    let at = plain.iter().position(|b| *b == b':')?;
    Some(Account { username: lossy(&plain[..at]).to_string(), password: Secret::new(lossy(&plain[at + 1..])) })
}

/// Takes the `auth` of these keys out, and what is empty then.
fn remove(r: &Removal<'_>) -> Result<Removed, String> {
    let at = |why: String| format!("{}: {why}", r.spec.path);
    let before = std::str::from_utf8(r.existing).map_err(|_| at("it is not UTF-8".into()))?;
    let mut text = Zeroizing::new(before.to_string());
    let mut diff = Vec::new();
    for key in r.gone {
        let document = yaml::parse(&text).map_err(at)?;
        let Some(root) = document.as_ref() else { break };
        let Some((configs, entry, auth)) = root.entry("configs").and_then(|c| c.value.entry(key).and_then(|e| e.value.entry("auth").map(|auth| (c, e, auth))))
        else {
            continue;
        };
        diff.push(format!("- {}", shown(key)));
        let (mut holder, mut goes) = (&entry.value, auth);
        if entry.value.entries().len() == 1 {
            (holder, goes) = (&configs.value, entry);
            if configs.value.entries().len() == 1 {
                (holder, goes) = (root, configs);
            }
        }
        if goes.key.holds_marks() || goes.value.holds_marks() || holder.marked {
            return Err(at(odd(&goes.key, "an anchor, an alias or a tag where a login is to go; remove the entry by hand")));
        }
        text = cut(&text, holder, goes).map_err(at)?;
    }
    verify(before, &text, r.gone).map_err(at)?;
    let left = yaml::parse(&text).map_err(at)?.is_some_and(|root| !root.entries().is_empty());
    Ok(Removed { content: left.then(|| Zeroizing::new(text.as_bytes().to_vec())), diff })
}

/// The text without an entry of this map.
fn cut(text: &str, holder: &Node, entry: &Pair) -> Result<Zeroizing<String>, String> {
    let none = || Zeroizing::new(String::new());
    let Value::Map { entries, flow: true } = &holder.value else { return Ok(splice(text, &[(lines_of(text, entry)?, none())])) };
    let i = entries.iter().position(|e| std::ptr::eq(e, entry)).unwrap_or_default();
    let at = match (entries.get(i + 1), i.checked_sub(1)) {
        (Some(next), _) => entry.key.at.start..next.key.at.start,
        (None, Some(last)) => entries[last].at().end..entry.at().end,
        (None, None) => entry.at(),
    };
    Ok(splice(text, &[(at, none())]))
}
