//! The services of a Kubernetes node: the kubelet, k3s and RKE2, containerd.

use super::docker::host_of;
use super::{Look, Program, There};
use crate::format::{Entry, containerd_logins, imports};
use crate::model::sight::Verdict;
use crate::model::{Registry, RemotePath, TargetKind};

/// Kubernetes `pkg/credentialprovider/config.go`: the first file that is valid, and no other.
pub(super) const KUBELET: Program =
    Program { name: "kubelet", binaries: &["kubelet", "k3s", "rke2"], service: true, paths: |_| KUBELET_FILES.map(str::to_string).to_vec(), answer: kubelet };

/// k3s `pkg/agent/containerd`: the `configs` of registries.yaml become those of containerd.
pub(super) const K3S: Program =
    Program { name: "k3s", binaries: &["k3s"], service: true, paths: |_| vec![K3S_FILE.to_string()], answer: |look| rancher(look, TargetKind::K3s, K3S_FILE) };

/// RKE2 does as k3s does, with a file of its own.
pub(super) const RKE2: Program = Program {
    name: "rke2",
    binaries: &["rke2"],
    service: true,
    paths: |_| vec![RKE2_FILE.to_string()],
    answer: |look| rancher(look, TargetKind::Rke2, RKE2_FILE),
};

/// containerd's CRI plugin: `registry.configs` of its configuration and of what that imports.
pub(super) const CONTAINERD: Program = Program {
    name: "containerd",
    binaries: &["containerd"],
    service: true,
    paths: |_| vec![CONTAINERD_FILE.to_string(), CONTAINERD_DROP_INS.to_string()],
    answer: containerd,
};

const KUBELET_FILES: [&str; 3] = ["/var/lib/kubelet/config.json", "/root/.docker/config.json", "/.docker/config.json"];
const K3S_FILE: &str = "/etc/rancher/k3s/registries.yaml";
const RKE2_FILE: &str = "/etc/rancher/rke2/registries.yaml";
const CONTAINERD_FILE: &str = "/etc/containerd/config.toml";
const CONTAINERD_DROP_INS: &str = "/etc/containerd/conf.d/*.toml";

fn kubelet(look: &mut Look<'_>) -> Verdict {
    look.note("a pod's imagePullSecrets come before it; it keeps what it read for some minutes");
    for (i, file) in KUBELET_FILES.into_iter().enumerate() {
        let content = match look.there(file) {
            There::Absent => {
                look.step(file, "no such file");
                continue;
            }
            There::Unreadable(why) => {
                look.step(file, format!("is passed over: {why}"));
                continue;
            }
            There::File(content) => content,
        };
        let entries = match look.entries(TargetKind::Kubelet, "", file, content) {
            Err(why) => {
                look.step(file, format!("is passed over: {why}"));
                continue;
            }
            Ok(entries) => entries,
        };
        let found = kubelet_entries(&entries, look.registry());
        if found.len() > 1 {
            let keys: Vec<&str> = found.iter().map(|e| e.key.as_str()).collect();
            look.note(format!("it tries its entries one after the other until a pull succeeds: {}", keys.join(", ")));
        }
        let verdict = match found.first() {
            Some(entry) => look.takes(file, entry),
            None => look.no_entry(file),
        };
        for later in &KUBELET_FILES[i + 1..] {
            if look.sight.stats.contains_key(*later) {
                look.step(later, "not reached: the first file that is valid is the only one");
            }
        }
        return verdict;
    }
    Verdict::Anonymous
}

/// Kubernetes `pkg/credentialprovider/keyring.go` Lookup: every entry that matches, the most specific first; Docker Hub's own key only
/// where none does.
fn kubelet_entries<'e>(entries: &'e [Entry], registry: &Registry) -> Vec<&'e Entry> {
    let mut found: Vec<(String, &Entry)> = entries.iter().map(|e| (kubelet_key(&e.key), e)).filter(|(key, _)| kubelet_matches(key, registry)).collect();
    if found.is_empty() && registry.is_hub() {
        found = entries.iter().map(|e| (kubelet_key(&e.key), e)).filter(|(key, _)| key == "index.docker.io").collect();
    }
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// keyring.go Add: without scheme and API version, and without a path that is a slash alone.
fn kubelet_key(key: &str) -> String {
    let rest = key.strip_prefix("http://").or_else(|| key.strip_prefix("https://")).unwrap_or(key);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.starts_with("/v1/") || path.starts_with("/v2/") { &path[3..] } else { path };
    format!("{host}{}", if path == "/" { "" } else { path })
}

/// keyring.go URLsMatch: the same port, as many labels, each by its pattern; then the path as a prefix.
fn kubelet_matches(key: &str, registry: &Registry) -> bool {
    let (host, path) = key.split_at(key.find('/').unwrap_or(key.len()));
    let (pattern, wanted) = (with_port(host), with_port(registry.authority()));
    let (labels, names): (Vec<&str>, Vec<&str>) = (pattern.0.split('.').collect(), wanted.0.split('.').collect());
    let hosts = pattern.1 == wanted.1 && labels.len() == names.len() && labels.iter().zip(&names).all(|(p, n)| glob(p.as_bytes(), n.as_bytes()));
    hosts && registry.path().map_or_else(String::new, |p| format!("/{p}")).starts_with(path)
}

fn with_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Go's filepath.Match within one label, for `*` and `?`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // Where the last `*` stood, and how much of the text it had swallowed.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, swallowed)) => {
                    star = Some((at, swallowed + 1));
                    (p, t) = (at + 1, swallowed + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// Pulls ask containerd's host for a login: for Docker Hub not the name that people use.
fn rancher(look: &mut Look<'_>, kind: TargetKind, file: &str) -> Verdict {
    look.note("a pod's imagePullSecrets and the kubelet's file come before it; it is read when the service starts");
    let content = match look.there(file) {
        There::Absent => {
            look.step(file, "no such file");
            return Verdict::Anonymous;
        }
        There::Unreadable(why) => return look.fails(file, why),
        There::File(content) => content,
    };
    match look.entries(kind, "", file, content) {
        Err(why) => look.fails(file, why),
        Ok(entries) => match entries.iter().find(|e| host_of(&e.key) == look.registry().api_authority()) {
            Some(entry) => look.takes(file, entry),
            None => {
                look.step(file, format!("no `auth` under configs.\"{}\"", look.registry().api_authority()));
                Verdict::Anonymous
            }
        },
    }
}

/// The last file that has one for the host: config.toml, then what it imports, in the order of names.
fn containerd(look: &mut Look<'_>) -> Verdict {
    look.note("what the kubelet passes with a pull comes first; it is read when containerd starts");
    let config = match look.there(CONTAINERD_FILE) {
        There::Absent => {
            look.step(CONTAINERD_FILE, "no such file");
            return Verdict::Anonymous;
        }
        There::Unreadable(why) => return look.fails(CONTAINERD_FILE, why),
        There::File(content) => content,
    };
    let dir = CONTAINERD_DROP_INS.trim_end_matches("*.toml");
    let mut files = vec![CONTAINERD_FILE.to_string()];
    for file in look.sight.files.keys().filter(|path| path.starts_with(dir)) {
        match RemotePath::parse(file).ok().and_then(|path| imports(config, &path)) {
            Some(true) => files.push(file.clone()),
            Some(false) => look.step(file, format!("is not imported by {CONTAINERD_FILE}")),
            None => return look.fails(CONTAINERD_FILE, "is no valid TOML".to_string()),
        }
    }
    let mut taken: Option<(String, Entry)> = None;
    for file in files {
        let There::File(content) = look.there(&file) else { continue };
        let entries = match containerd_logins(content) {
            Err(why) => return look.fails(&file, why),
            Ok(entries) => entries,
        };
        match entries.into_iter().find(|e| e.key == look.registry().api_authority()) {
            None => drop(look.no_entry(&file)),
            Some(entry) => {
                if let Some((earlier, entry)) = taken.replace((file, entry)) {
                    look.step(&earlier, format!("entry {}: a later file has another", entry.key));
                }
            }
        }
    }
    match taken {
        None => Verdict::Anonymous,
        Some((file, entry)) => look.takes(&file, &entry),
    }
}
