//! A drop-in with `registry.configs.HOST.auth` for containerd's CRI plugin. containerd calls that deprecated (containerd
//! `docs/cri/registry.md`); on Kubernetes nodes the kubelet's file does the same for every runtime, and each run says so.
//!
//! The file is wholly ours, as a whole file beside those of others: what is found there is what is written here, or it is refused.
//!
//! How containerd merges files (`cmd/containerd/server/config/config.go`): 2.x merges tables deeply, and refuses a drop-in whose version
//! is above that of config.toml. 1.x (`services/server/config/config.go` mergeConfig) takes the whole table of a plugin from the last file
//! that names it, so that our drop-in would silently undo what others set for the CRI plugin, such as NVIDIA's runtime. A config.toml of
//! version 2 may be read by either, so there such a neighbour is a refusal.

use toml_edit::{DocumentMut, Item};
use zeroize::Zeroizing;

use super::rancher::decoded;
use super::{Account, Consumer, Entries, Entry, FileSpec, Merge, Merged, NodeFacts, Removal, Removed, Wants, restart_note, shown};
use crate::model::{FileMode, Login, Registry, RemotePath, Secret, ServiceUnit, Target, TargetKind};

/// containerd's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Containerd,
    default_path: "/etc/containerd/conf.d/regprov.toml",
    one_login: false,
    directory: false,
    in_home: false,
    logins: true,
    restart: &[ServiceUnit::Containerd],
    files,
    check: |target, logins| super::check_common(target, logins),
    wants: |_, _| Wants { conf: vec![CONFIG.into(), "/etc/containerd/conf.d/*.toml".into()], ..Wants::default() },
    merge,
    read_back,
    keys: |registry, _| vec![key(registry).to_string()],
    is_alias: |_, _| false,
    entries,
    remove,
};

/// containerd's own configuration.
pub(super) const CONFIG: &str = "/etc/containerd/config.toml";

const HEAD: &str = "# Written by regprov: logins for containerd's CRI plugin. Other settings belong into another file.\n";

fn files(target: &Target) -> Vec<FileSpec> {
    vec![FileSpec { part: "", path: target.path.clone(), mode: target.mode, secret: true, at_start: true, dir_mode: FileMode::public(0o755) }]
}

/// The host that is asked for images (containerd `core/remotes/docker/config/hosts.go`), by which logins are looked up.
fn key(registry: &Registry) -> &str {
    if registry.is_hub() { "registry-1.docker.io" } else { registry.authority() }
}

/// The CRI plugin's part with the registries, by the version of the configuration.
fn plugin(version: u64) -> &'static str {
    if version < 3 { "io.containerd.grpc.v1.cri" } else { "io.containerd.cri.v1.images" }
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    let config = Config::of(m)?;
    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    let mut there = match m.existing.map(DropIn::parse) {
        None => None,
        Some(Some(there)) => Some(there),
        Some(None) if m.options.replace_invalid => {
            merged.diff.push("~ the whole file".to_string());
            merged.notes.push(format!("replaced a file that holds something else than logins; it is kept as {}.regprov-backup", m.spec.path.file_name()));
            merged.backup = true;
            None
        }
        Some(None) => {
            let why = "holds something else than logins as regprov writes them; move that into another file of its directory, or let --replace-invalid";
            return Err(format!("{} {why} replace it after a backup", m.spec.path));
        }
    };
    if let Some(there) = there.as_ref().filter(|t| t.version != config.version) {
        merged.diff.push(format!("~ version {} -> {}", there.version, config.version));
    }
    let mut logins = there.take().map(|t| t.logins).unwrap_or_default();
    for login in m.logins {
        let (key, new) = (key(&login.registry), Pair::of(login));
        match logins.iter_mut().find(|(host, _)| host == key) {
            Some((_, old)) if *old == new => {}
            Some((_, old)) => {
                *old = new;
                merged.diff.push(format!("~ {key}"));
            }
            None => {
                merged.diff.push(format!("+ {key} ({})", shown(login.username.as_str())));
                logins.push((key.to_string(), new));
            }
        }
    }
    if !merged.diff.is_empty() {
        merged.write = Some(render(&DropIn { version: config.version, logins }));
    }
    merged.notes.extend(config.note);
    merged.notes.push("containerd calls `registry.configs` deprecated; on Kubernetes nodes the target `kubelet` does the same without a restart".to_string());
    if merged.write.is_some() && !m.target.restart {
        merged.notes.push(restart_note("containerd", "it reads its configuration when it starts"));
    }
    Ok(merged)
}

// ---- containerd's own configuration ----------------------------------------------------------------------------------------------

/// What of containerd's configuration decides about our drop-in.
struct Config {
    version: u64,
    /// Why containerd does not read the drop-in.
    note: Option<String>,
}

impl Config {
    fn of(m: &Merge<'_>) -> Result<Config, String> {
        let way_out = "or use the target `kubelet`";
        let Some((_, content)) = m.facts.conf.iter().find(|(path, _)| path == CONFIG) else {
            return Err(format!("there is no {CONFIG}, whose version a drop-in must have; write one (`containerd config default`), {way_out}"));
        };
        let config = document(content).ok_or_else(|| format!("{CONFIG} is no valid TOML; repair it"))?;
        let version = config.get("version").and_then(Item::as_integer).and_then(|v| u64::try_from(v).ok()).unwrap_or(1);
        if version < 2 {
            return Err(format!("{CONFIG} has no `version` of 2 or more, which its drop-ins need; migrate it (`containerd config migrate`), {way_out}"));
        }
        let imports: Vec<&str> = config.get("imports").and_then(Item::as_array).map_or_else(Vec::new, |list| list.iter().filter_map(|v| v.as_str()).collect());
        if !imports.iter().any(|pattern| imported(pattern, &m.spec.path)) {
            let pattern = m.spec.path.parent().join("*.toml");
            return Ok(Config { version, note: Some(format!("written, not read by containerd: set `imports = [\"{pattern}\"]` in {CONFIG}")) });
        }
        if version == 2 {
            let unseen = imports.iter().find(|pattern| !absolute(pattern).starts_with("/etc/containerd/conf.d/"));
            if let Some(unseen) = unseen {
                return Err(format!(
                    "{CONFIG} imports {}, which regprov does not look into: should it set anything for the CRI plugin, containerd 1 would forget that for our \
                     drop-in; migrate to version 3 with containerd 2, {way_out}",
                    shown(unseen)
                ));
            }
            let neighbour = m.facts.conf.iter().filter(|(path, _)| path != m.spec.path.as_str()).find(|(_, content)| names_plugin(content));
            if let Some((path, _)) = neighbour {
                return Err(format!(
                    "{path} has settings for the CRI plugin, and containerd 1 takes all of them from the last file that has any, so it would forget those for our \
                     drop-in; migrate to version 3 with containerd 2, {way_out}"
                ));
            }
        }
        Ok(Config { version, note: None })
    }
}

/// Whether containerd's own configuration imports this file; `None` where it cannot be read.
pub fn imports(config: &[u8], path: &RemotePath) -> Option<bool> {
    let config = document(config)?;
    let patterns = config.get("imports").and_then(Item::as_array);
    Some(patterns.is_some_and(|list| list.iter().filter_map(|v| v.as_str()).any(|pattern| imported(pattern, path))))
}

/// The logins that any file of containerd's sets for its CRI plugin, by the host that is asked; whoever wrote it. A username comes before
/// an identity token, and that before `auth` (containerd `internal/cri/server/images/image_pull.go` ParseAuth).
pub fn logins(content: &[u8]) -> Entries {
    let config = document(content).ok_or("is no valid TOML")?;
    let mut found = Vec::new();
    for version in [2, 3] {
        let of_plugin = config.get("plugins").and_then(|p| p.get(plugin(version)));
        let hosts = of_plugin.and_then(|p| p.get("registry")?.get("configs")?.as_table_like());
        for (host, settings) in hosts.into_iter().flat_map(|hosts| hosts.iter()) {
            let Some(auth) = settings.get("auth") else { continue };
            let text = |name: &str| auth.get(name).and_then(Item::as_str).filter(|t| !t.is_empty()).map(|t| Zeroizing::new(t.to_string()));
            let account = |username: Zeroizing<String>| Account { username: username.to_string(), password: Secret::new(text("password").unwrap_or_default()) };
            let (login, note) = match (text("username"), text("identitytoken"), text("auth")) {
                (Some(username), ..) => (Some(account(username)), None),
                (None, Some(_), _) => (None, Some("an identity token".to_string())),
                (None, None, Some(auth)) => (decoded(&auth), None),
                (None, None, None) => (None, None),
            };
            found.push(Entry { key: host.to_string(), login, note });
        }
    }
    Ok(found)
}

pub(super) fn document(content: &[u8]) -> Option<DocumentMut> {
    std::str::from_utf8(content).ok()?.parse().ok()
}

/// Whether a file has a table of the CRI plugin; one that cannot be read may.
fn names_plugin(content: &[u8]) -> bool {
    document(content).is_none_or(|d| d.get("plugins").and_then(Item::as_table_like).is_some_and(|plugins| plugins.contains_key(plugin(2))))
}

/// An import, which may be relative to the configuration.
fn absolute(pattern: &str) -> String {
    if pattern.starts_with('/') { pattern.to_string() } else { format!("/etc/containerd/{pattern}") }
}

/// Whether an import means this file; `*` stands for no slash (Go's filepath.Glob).
fn imported(pattern: &str, path: &RemotePath) -> bool {
    let parts = |p: &str| p.split('/').filter(|c| !c.is_empty() && *c != ".").map(str::to_string).collect::<Vec<_>>();
    let (pattern, path) = (parts(&absolute(pattern)), parts(path.as_str()));
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(p, c)| globs(p, c))
}

/// A node writes the pattern, so it costs no more than pattern times name, and no stack: the shortest match of what stands before each `*`
/// leaves the most to the rest.
fn globs(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut left) = name.strip_prefix(start).and_then(|tail| tail.strip_suffix(end)) else { return false };
    for part in middle.split('*') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    true
}

// ---- our file --------------------------------------------------------------------------------------------------------------------

/// The whole file.
struct DropIn {
    version: u64,
    /// In the order of the file.
    logins: Vec<(String, Pair)>,
}

#[derive(PartialEq)]
struct Pair {
    username: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl Pair {
    fn of(login: &Login) -> Pair {
        let text = |t: &str| Zeroizing::new(t.to_string());
        Pair { username: text(login.username.as_str()), password: text(login.password.expose()) }
    }
}

fn header(version: u64, host: &str) -> String {
    format!("[plugins.\"{}\".registry.configs.\"{host}\".auth]", plugin(version))
}

fn render(file: &DropIn) -> Zeroizing<Vec<u8>> {
    let room = file.logins.iter().map(|(host, p)| host.len() + 6 * (p.username.len() + p.password.len()) + 128).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(HEAD.len() + 32 + room));
    out.extend_from_slice(HEAD.as_bytes());
    out.extend_from_slice(format!("version = {}\n", file.version).as_bytes());
    for (host, pair) in &file.logins {
        out.extend_from_slice(format!("\n{}\n", header(file.version, host)).as_bytes());
        for (name, value) in [("username", &pair.username), ("password", &pair.password)] {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b" = ");
            out.extend_from_slice(quote(value).as_bytes());
            out.push(b'\n');
        }
    }
    out
}

/// A basic string of TOML: what it does not take as it stands is escaped by its number.
fn quote(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(6 * text.len() + 2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text of a string that [`quote`] made.
fn unquote(text: &str) -> Option<Zeroizing<String>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Zeroizing::new(String::with_capacity(inner.len()));
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => return None,
            '\\' => match rest.next()? {
                c @ ('"' | '\\') => out.push(c),
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    out.push(char::from_u32(u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4)?)?);
                }
                _ => return None,
            },
            c => out.push(c),
        }
    }
    Some(out)
}

impl DropIn {
    /// Reads what [`render`] writes, with other spacing and comments between; `None` when the file holds anything else.
    fn parse(bytes: &[u8]) -> Option<DropIn> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let value = |line: &str, name: &str| Some(Zeroizing::new(line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim_start().to_string()));
        let version: u64 = value(lines.next()?, "version")?.parse().ok()?;
        let mut logins: Vec<(String, Pair)> = Vec::new();
        while let Some(line) = lines.next() {
            let host = line.strip_prefix(&format!("[plugins.\"{}\".registry.configs.\"", plugin(version)))?.strip_suffix("\".auth]")?;
            let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-[]".contains(&b));
            if !plain || logins.iter().any(|(other, _)| other == host) {
                return None;
            }
            let username = unquote(&value(lines.next()?, "username")?)?;
            let password = unquote(&value(lines.next()?, "password")?)?;
            logins.push((host.to_string(), Pair { username, password }));
        }
        Some(DropIn { version, logins })
    }
}

/// Reads the file by containerd's rules and demands each login under the host that is asked.
fn read_back(m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{}: {why}", m.spec.path));
    let Some(file) = DropIn::parse(bytes) else { return fail("it is not what regprov writes") };
    if file.version != Config::of(m)?.version {
        return fail("its version is not that of config.toml");
    }
    for login in m.logins {
        if !file.logins.iter().any(|(host, pair)| host == key(&login.registry) && *pair == Pair::of(login)) {
            return fail(&format!("login \"{}\" is not found", login.name));
        }
    }
    Ok(())
}

fn entries(spec: &FileSpec, bytes: &[u8], _: &NodeFacts) -> Entries {
    let file = DropIn::parse(bytes).ok_or_else(|| format!("{} holds something else than logins as regprov writes them", spec.path))?;
    let entry = |(key, pair): (String, Pair)| {
        let login = Account { username: pair.username.to_string(), password: Secret::new(pair.password) };
        Entry { key, login: Some(login), note: None }
    };
    Ok(file.logins.into_iter().map(entry).collect())
}

fn remove(r: &Removal<'_>) -> Result<Removed, String> {
    let mut file = DropIn::parse(r.existing).ok_or_else(|| format!("{} holds something else than logins as regprov writes them", r.spec.path))?;
    let diff = file.logins.iter().filter(|(host, _)| r.gone.contains(host)).map(|(host, _)| format!("- {host}")).collect();
    file.logins.retain(|(host, _)| !r.gone.contains(host));
    Ok(Removed { content: (!file.logins.is_empty()).then(|| render(&file)), diff })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_mean_files_as_go_s_glob_does() {
        let path = RemotePath::parse("/etc/containerd/conf.d/regprov.toml").unwrap();
        for (pattern, want) in [
            ("/etc/containerd/conf.d/*.toml", true),
            ("conf.d/*.toml", true),
            ("/etc/containerd/*/regprov.toml", true),
            ("/etc//containerd/./conf.d/r*v.t*", true),
            ("/etc/containerd/conf.d/regprov.toml", true),
            ("/etc/containerd/*.toml", false),
            ("/etc/containerd/conf.d/*.conf", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(imported(pattern, &path), want, "{pattern}");
        }
    }

    #[test]
    fn strings_come_back() {
        for text in ["", "plain", "a\"b\\c", "\u{1}\t\n\r\u{7f}", "ü😀\u{85}", "\\u0041"] {
            assert_eq!(unquote(&quote(text)).as_deref().map(String::as_str), Some(text), "{text:?}");
        }
        for other in ["x", "\"", "\"a\"b\"", "\"\\n\"", "\"\\u12\"", "'x'"] {
            assert!(unquote(other).is_none(), "{other}");
        }
    }
}
