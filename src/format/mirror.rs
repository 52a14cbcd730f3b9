//! A pull-through proxy as configuration: dockerd's `registry-mirrors`, a drop-in of containers-registries.conf(5) for podman, skopeo,
//! buildah and CRI-O, and containerd's hosts.toml. None of them holds a secret, and none of their formats could.
//!
//! Who logs in to a mirror: podman and containerd look up the login of the mirror's own host. dockerd has none for a mirror; when it is
//! asked, it offers Docker Hub's (moby/moby#30880, #42022), so a mirror for dockerd has to serve without one.
//!
//! daemon.json belongs to others and keeps its values as source text; the other two are whole files of ours, told by their first line.

use zeroize::Zeroizing;

use super::json::{self, Object, Value};
use super::{Consumer, Entries, Entry, FileSpec, Merge, Merged, NodeFacts, Removal, Removed, Wants, containerd, shown};
use crate::model::mirror::{Mirror, Runtime};
use crate::model::{FileMode, Login, Registry, RemotePath, ServiceUnit, Target, TargetKind};

/// The mirror's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::DockerMirror,
    default_path: "/etc/containers/registries.conf.d/50-regprov-mirror.conf",
    one_login: false,
    directory: false,
    in_home: false,
    logins: false,
    restart: &[ServiceUnit::Docker],
    files: |target| target.mirror.as_ref().map_or_else(Vec::new, |mirror| specs(mirror, target.mode)),
    check,
    wants: |_, _| Wants { conf: vec![containerd::CONFIG.into()], ..Wants::default() },
    merge,
    read_back,
    keys: |_, _| Vec::new(),
    is_alias: |_, _| false,
    entries,
    remove,
};

/// The first line of our files begins so.
const MARK: &str = "# Written by regprov";

/// The key of dockerd's configuration.
const MIRRORS: &str = "registry-mirrors";

const DIR: FileMode = FileMode::public(0o755);

/// Where each program's file for this mirror lies.
pub(crate) fn path(mirror: &Mirror, runtime: Runtime) -> RemotePath {
    let registry = mirror.registry.authority();
    let path = match runtime {
        Runtime::Docker => "/etc/docker/daemon.json".to_string(),
        Runtime::Podman if mirror.registry.is_hub() => CONSUMER.default_path.to_string(),
        Runtime::Podman => format!("/etc/containers/registries.conf.d/50-regprov-mirror-{registry}.conf"),
        Runtime::Containerd => format!("/etc/containerd/certs.d/{registry}/hosts.toml"),
    };
    RemotePath::parse(&path).expect("a registry with a name, which check demands, makes a plain path")
}

fn specs(mirror: &Mirror, mode: FileMode) -> Vec<FileSpec> {
    let spec = |runtime: &Runtime| FileSpec {
        part: runtime.name(),
        path: path(mirror, *runtime),
        mode,
        secret: false,
        at_start: *runtime == Runtime::Docker,
        dir_mode: DIR,
    };
    mirror.runtimes.iter().map(spec).collect()
}

/// The file of the record that is this part of a docker-mirror target; its mode is that of defaults.
pub(super) fn spec_at(part: &str, path: RemotePath) -> Option<FileSpec> {
    let runtime = Runtime::parse(part)?;
    Some(FileSpec { part: runtime.name(), path, mode: FileMode::public(0o644), secret: false, at_start: runtime == Runtime::Docker, dir_mode: DIR })
}

/// Whether the file may hold mirrors of others beside ours.
pub(super) fn is_merged(spec: &FileSpec, kind: TargetKind) -> bool {
    kind == TargetKind::DockerMirror && runtime(spec) == Ok(Runtime::Docker)
}

/// The mirror of this URL that is written to this file, whose path names the registry that it stands for.
pub(super) fn written(url: &str, spec: &FileSpec) -> Option<Mirror> {
    let registry = match runtime(spec).ok()? {
        Runtime::Docker => "docker.io",
        Runtime::Podman if spec.path.as_str() == CONSUMER.default_path => "docker.io",
        Runtime::Podman => spec.path.file_name().strip_prefix("50-regprov-mirror-")?.strip_suffix(".conf")?,
        Runtime::Containerd => spec.path.as_str().strip_suffix("/hosts.toml")?.rsplit('/').next()?,
    };
    Mirror::parse(url, Registry::parse(registry).ok()?.0).ok()
}

fn check(target: &Target, _: &[&Login]) -> Vec<String> {
    let Some(mirror) = &target.mirror else { return vec!["docker-mirror has no mirror; set `mirror: https://HOST`".to_string()] };
    let refused = mirror.runtimes.iter().filter_map(|r| mirror.refusal(*r).map(|why| (r, why)));
    refused.map(|(runtime, why)| format!("mirror {mirror} of {} is not for {}: {why}", mirror.registry, runtime.name())).collect()
}

/// The mirror and whose file this is.
fn of<'a>(target: &'a Target, spec: &FileSpec) -> Result<(&'a Mirror, Runtime), String> {
    let runtime = runtime(spec)?;
    target.mirror.as_ref().map(|mirror| (mirror, runtime)).ok_or_else(|| format!("{} has no mirror; set `mirror: https://HOST`", spec.path))
}

fn runtime(spec: &FileSpec) -> Result<Runtime, String> {
    Runtime::parse(spec.part).ok_or_else(|| format!("{} is no file of a docker-mirror target", spec.path))
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    let (mirror, runtime) = of(m.target, m.spec)?;
    let mut merged = match (composed(mirror, runtime, m), m.existing) {
        (Err(why), Some(_)) if m.options.replace_invalid => {
            let mut merged = composed(mirror, runtime, &Merge { existing: None, ..*m })?;
            merged.diff.insert(0, "~ the whole file".to_string());
            merged.notes.push(format!("replaced a file that {why}; it is kept as {}.regprov-backup", m.spec.path.file_name()));
            merged.backup = true;
            merged
        }
        (Err(why), _) => {
            let repair = if runtime == Runtime::Docker { "repair it, since dockerd does not start with it" } else { "move it away" };
            return Err(format!("{} {why}; {repair}, or let --replace-invalid replace it after a backup", m.spec.path));
        }
        (Ok(merged), _) => merged,
    };
    match runtime {
        Runtime::Docker if merged.write.is_some() => {
            if !m.target.restart {
                merged.notes.push("reload needed: dockerd takes mirrors over with `systemctl reload docker` (`restart: true` does it)".to_string());
            }
            merged.notes.push(format!("dockerd has no login for a mirror: {} has to serve without one", mirror.place().authority()));
        }
        Runtime::Containerd => merged.notes.extend(unread(m)),
        _ => {}
    }
    if mirror.scheme() == "http" {
        merged.notes.push("a mirror over plain http: whoever is on the way can change the images".to_string());
    }
    Ok(merged)
}

/// containerd looks into certs.d where its configuration says so (2.2 does by itself).
fn unread(m: &Merge<'_>) -> Option<String> {
    let (_, content) = m.facts.conf.iter().find(|(path, _)| path == containerd::CONFIG)?;
    let text = String::from_utf8_lossy(content);
    let dirs = text.lines().map(str::trim).filter(|l| !l.starts_with('#')).filter_map(|l| l.strip_prefix("config_path")?.trim_start().strip_prefix('='));
    let found = dirs.flat_map(|v| v.trim_matches([' ', '"', '\'']).split(':')).any(|dir| dir.trim_end_matches('/') == "/etc/containerd/certs.d");
    (!found)
        .then(|| format!("read by containerd before 2.2 only with `config_path = \"/etc/containerd/certs.d\"` in the registry table of {}", containerd::CONFIG))
}

fn composed(mirror: &Mirror, runtime: Runtime, m: &Merge<'_>) -> Result<Merged, String> {
    if runtime == Runtime::Docker {
        return daemon_json(mirror, m.existing);
    }
    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    let bytes = Zeroizing::new(whole(mirror, runtime).into_bytes());
    match m.existing {
        Some(existing) if existing == bytes.as_slice() => return Ok(merged),
        Some(existing) if existing.starts_with(MARK.as_bytes()) => merged.diff.push(format!("~ {} through {mirror}", mirror.registry)),
        Some(_) => return Err("is not regprov's".into()),
        None => merged.diff.push(format!("+ {} through {mirror}", mirror.registry)),
    }
    merged.write = Some(bytes);
    Ok(merged)
}

/// A file that is wholly ours.
fn whole(mirror: &Mirror, runtime: Runtime) -> String {
    let (registry, place) = (mirror.registry.authority(), mirror.place());
    let head = format!("{MARK}: {registry} is pulled through {place}.\n");
    if runtime == Runtime::Podman {
        let insecure = if mirror.scheme() == "http" { "insecure = true\n" } else { "" };
        return format!("{head}[[registry]]\nprefix = \"{registry}\"\nlocation = \"{registry}\"\n\n[[registry.mirror]]\nlocation = \"{place}\"\n{insecure}");
    }
    let server = if mirror.registry.is_hub() { "registry-1.docker.io" } else { registry };
    // With a path, what containerd appends to it begins below `/v2/`, which it does not put there by itself then.
    let (host, overrides) = match place.path() {
        Some(path) => (format!("{}://{}/v2/{path}", mirror.scheme(), place.authority()), "override_path = true\n"),
        None => (mirror.to_string(), ""),
    };
    format!("{head}server = \"https://{server}\"\n\n[host.\"{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{overrides}")
}

// ---- daemon.json -----------------------------------------------------------------------------------------------------------------

/// dockerd's configuration as far as we interpret it.
struct Daemon<'a> {
    top: Object<'a>,
    mirrors: Vec<(&'a serde_json::value::RawValue, Zeroizing<String>)>,
}

impl<'a> Daemon<'a> {
    fn parse(existing: Option<&'a [u8]>) -> Result<Self, String> {
        let text = std::str::from_utf8(existing.unwrap_or_default()).map_err(|_| "is not UTF-8")?;
        // dockerd takes an empty file for an empty configuration.
        let top = if text.trim().is_empty() { Object(Vec::new()) } else { Object::parse(text)? };
        let mut mirrors = Vec::new();
        if let Some(raw) = top.get(MIRRORS).filter(|v| !json::is_null(v)) {
            let list: Vec<&serde_json::value::RawValue> = serde_json::from_str(raw.get()).map_err(|_| format!("has a `{MIRRORS}` that is no list"))?;
            for raw in list {
                let text = json::as_text(raw).ok_or_else(|| format!("has `{MIRRORS}` that names something else than text"))?;
                mirrors.push((raw, text));
            }
        }
        Ok(Daemon { top, mirrors })
    }

    fn has(&self, url: &str) -> bool {
        self.mirrors.iter().any(|(_, text)| same(text, url))
    }

    /// The document with these mirrors; without any, the key goes.
    fn with(self, mirrors: Vec<Value<'a>>, size: usize) -> Option<Zeroizing<Vec<u8>>> {
        let mut mirrors = Some(mirrors).filter(|m| !m.is_empty());
        let mut top = Vec::new();
        for (key, raw) in self.top.0 {
            match key.as_str() {
                MIRRORS => top.extend(mirrors.take().map(|m| (key, Value::List(m)))),
                _ => top.push((key, Value::Raw(raw))),
            }
        }
        top.extend(mirrors.map(|m| (MIRRORS.to_string(), Value::List(m))));
        (!top.is_empty()).then(|| {
            let mut bytes = json::write(&Value::Object(top), 3 * size + 512);
            bytes.push(b'\n');
            bytes
        })
    }
}

/// dockerd appends the slash itself (moby `ValidateMirror`).
fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// Ours behind those that are there: dockerd asks them in this order, then Docker Hub.
fn daemon_json(mirror: &Mirror, existing: Option<&[u8]>) -> Result<Merged, String> {
    let daemon = Daemon::parse(existing)?;
    let mut merged = Merged { write: None, diff: Vec::new(), notes: Vec::new(), backup: false };
    let url = mirror.to_string();
    if daemon.has(&url) {
        return Ok(merged);
    }
    merged.diff.push(format!("+ {MIRRORS} {url}"));
    let mut mirrors: Vec<Value<'_>> = daemon.mirrors.iter().map(|(raw, _)| Value::Raw(raw)).collect();
    mirrors.push(Value::Text(Zeroizing::new(url)));
    merged.write = daemon.with(mirrors, existing.map_or(0, <[u8]>::len));
    Ok(merged)
}

// ---- reading -----------------------------------------------------------------------------------------------------------------

fn read_back(m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    let (mirror, runtime) = of(m.target, m.spec)?;
    let right = match runtime {
        Runtime::Docker => Daemon::parse(Some(bytes)).map_err(|why| format!("{} {why}", m.spec.path))?.has(&mirror.to_string()),
        _ => bytes == whole(mirror, runtime).as_bytes(),
    };
    if right { Ok(()) } else { Err(format!("{} does not name the mirror", m.spec.path)) }
}

/// The mirrors of daemon.json by their URLs; the other files hold one, and no login either.
fn entries(spec: &FileSpec, bytes: &[u8], _: &NodeFacts) -> Entries {
    let entry = |key: String| Entry { key, login: None, note: Some("a mirror, which holds no login".to_string()) };
    if runtime(spec)? != Runtime::Docker {
        return Ok(Vec::new());
    }
    let daemon = Daemon::parse(Some(bytes)).map_err(|why| format!("{} {why}", spec.path))?;
    Ok(daemon.mirrors.iter().map(|(_, url)| entry(url.trim_end_matches('/').to_string())).collect())
}

/// Takes the mirrors with these URLs out of daemon.json; the other files are wholly ours, so they go.
fn remove(r: &Removal<'_>) -> Result<Removed, String> {
    let at = |why: String| format!("{} {why}", r.spec.path);
    if runtime(r.spec)? != Runtime::Docker {
        if !r.existing.starts_with(MARK.as_bytes()) {
            return Err(at("is not regprov's any more; remove it by hand".into()));
        }
        return Ok(Removed { content: None, diff: vec!["- mirror".to_string()] });
    }
    let daemon = Daemon::parse(Some(r.existing)).map_err(at)?;
    let goes = |url: &str| r.gone.iter().any(|gone| same(gone, url));
    let diff: Vec<String> = daemon.mirrors.iter().filter(|(_, url)| goes(url)).map(|(_, url)| format!("- {MIRRORS} {}", shown(url))).collect();
    let rest = daemon.mirrors.iter().filter(|(_, url)| !goes(url)).map(|(raw, _)| Value::Raw(raw)).collect();
    Ok(Removed { content: daemon.with(rest, r.existing.len()), diff })
}
