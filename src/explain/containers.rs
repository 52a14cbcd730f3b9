//! The programs that read their logins through containers/image: podman, skopeo and buildah, and CRI-O.

use super::docker::{DOCKER_FILE, host_of};
use super::{Look, Program, There};
use crate::format::{Entry, crio_auth_file, stops_podman};
use crate::model::sight::{Sight, Verdict};
use crate::model::{Registry, TargetKind};

/// containers/image `pkg/docker/config/config.go` getAuthFilePaths.
pub(super) const PODMAN: Program = Program {
    name: "podman",
    binaries: &["podman", "skopeo", "buildah"],
    service: false,
    paths: |sight| {
        let session = format!("/run/user/{}", sight.who.uid);
        podman_files(sight).into_iter().chain([session]).collect()
    },
    answer: |look| {
        look.note("REGISTRY_AUTH_FILE and --authfile come before these files");
        if look.sight.stats.contains_key(&format!("/run/user/{}", look.sight.who.uid)) {
            look.note("the first file is the one of a session with XDG_RUNTIME_DIR, the second the one without");
        }
        let files = podman_files(look.sight);
        search(look, TargetKind::Podman, &files)
    },
};

/// cri-o `internal/config`, `server/image_pull.go`: `global_auth_file`, else what podman reads.
pub(super) const CRIO: Program = Program {
    name: "cri-o",
    binaries: &["crio"],
    service: true,
    paths: |sight| CRIO_CONF.map(str::to_string).into_iter().chain(global_auth_file(sight).and_then(|(_, file)| file)).collect(),
    answer: crio,
};

const CRIO_CONF: [&str; 2] = ["/etc/crio/crio.conf", "/etc/crio/crio.conf.d/*"];

fn podman_files(sight: &Sight) -> Vec<String> {
    let uid = sight.who.uid;
    vec![
        format!("/run/user/{uid}/containers/auth.json"),
        format!("/run/containers/{uid}/auth.json"),
        sight.who.in_home(".config/containers/auth.json"),
        sight.who.in_home(DOCKER_FILE),
    ]
}

/// The first file that has an entry answers; one that cannot be read ends the search.
fn search(look: &mut Look<'_>, kind: TargetKind, files: &[String]) -> Verdict {
    let mut verdict = Verdict::Anonymous;
    for file in files {
        let is_open = verdict == Verdict::Anonymous;
        let content = match look.there(file) {
            There::Absent => {
                look.step(file, "no such file");
                continue;
            }
            There::Unreadable(why) if is_open => return look.fails(file, why),
            There::Unreadable(_) => {
                look.step(file, "not reached");
                continue;
            }
            There::File(content) => content,
        };
        let entries = match look.entries(kind, "", file, content) {
            Err(why) if is_open => return look.fails(file, why),
            Err(_) => {
                look.step(file, "not reached");
                continue;
            }
            Ok(entries) => entries,
        };
        match entry(&entries, look.registry()) {
            None => drop(look.no_entry(file)),
            Some(entry) if is_open && entry.note.is_none() && stops_podman(content, &entry.key) => {
                return look.fails(file, format!("the `auth` of its entry {} is no base64", entry.key));
            }
            Some(entry) if is_open => {
                verdict = look.takes(file, entry);
                if matches!(verdict, Verdict::Indirect { .. }) {
                    look.note("where a helper has no login, the files after it count");
                }
            }
            Some(entry) => look.step(file, format!("entry {}: not reached", entry.key)),
        }
        below(look, file, &entries);
    }
    verdict
}

/// Entries for images below what was asked about come before it for those.
fn below(look: &mut Look<'_>, file: &str, entries: &[Entry]) {
    let prefix = format!("{}/", look.registry());
    let keys: Vec<&str> = entries.iter().map(|e| e.key.as_str()).filter(|key| key.starts_with(&prefix)).collect();
    if !keys.is_empty() {
        look.note(format!("{file} has other entries for images below: {}", keys.join(", ")));
    }
}

/// containers/image findCredentialsInFile: a helper of the host, then the most specific path, then the host under any of its names.
fn entry<'e>(entries: &'e [Entry], registry: &Registry) -> Option<&'e Entry> {
    let helper = entries.iter().find(|e| e.key == registry.authority() && e.note.is_some() && e.login.is_none());
    let whole = registry.to_string();
    let mut keys = std::iter::successors(Some(whole.as_str()), |key| key.rsplit_once('/').map(|(shorter, _)| shorter));
    let exact = || keys.find_map(|key| entries.iter().find(|e| e.key == key));
    helper.or_else(exact).or_else(|| entries.iter().find(|e| normal_key(&e.key) == Some(normal_host(registry.authority()))))
}

/// normalizeAuthFileKey: a path is dropped behind a scheme only; without one it makes the key one of its own.
fn normal_key(key: &str) -> Option<&str> {
    (key.contains("://") || !key.contains('/')).then(|| normal_host(host_of(key)))
}

/// normalizeRegistry.
fn normal_host(host: &str) -> &str {
    if ["docker.io", "registry-1.docker.io"].contains(&host) { "index.docker.io" } else { host }
}

/// The file of the configuration that sets `global_auth_file` last, and what it sets; `None` for a value that is no plain string.
fn global_auth_file(sight: &Sight) -> Option<(&str, Option<String>)> {
    // `crio.conf` sorts before `crio.conf.d/`.
    let is_conf = |path: &str| path == CRIO_CONF[0] || path.starts_with("/etc/crio/crio.conf.d/");
    let files = sight.files.iter().filter(|(path, _)| is_conf(path));
    files.rev().find_map(|(path, content)| Some((path.as_str(), crio_auth_file(content)?)))
}

fn crio(look: &mut Look<'_>) -> Verdict {
    look.note("what the kubelet passes with a pull comes first; it reads its configuration when it starts");
    let file = match global_auth_file(look.sight) {
        None => None,
        Some((conf, None)) => return look.fails(conf, "it sets `global_auth_file` to what regprov cannot tell".to_string()),
        Some((conf, Some(file))) => {
            look.step(conf, format!("`global_auth_file` is {}", if file.is_empty() { "empty" } else { &file }));
            Some(file).filter(|file| !file.is_empty())
        }
    };
    let files = file.map_or_else(|| podman_files(look.sight), |file| vec![file]);
    search(look, TargetKind::Crio, &files)
}
