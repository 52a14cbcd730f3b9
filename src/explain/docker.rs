//! Docker, the programs that read its file as it does, Helm, and enroot.

use super::{Look, Program, There};
use crate::format::Entry;
use crate::format::enroot::{self, Import};
use crate::format::helper::has_store;
use crate::model::sight::{Sight, Verdict};
use crate::model::{Registry, TargetKind};

/// docker/cli `cli/config/config.go` Dir, `cli/config/credentials/file_store.go` Get.
pub(super) const DOCKER: Program = Program {
    name: "docker",
    binaries: &["docker"],
    service: false,
    paths: |sight| vec![sight.who.in_home(DOCKER_FILE)],
    answer: |look| {
        look.note("DOCKER_CONFIG names another directory, and DOCKER_AUTH_CONFIG comes before the file (from 28.3 on)");
        docker_file(look, TargetKind::Docker, &look.sight.who.in_home(DOCKER_FILE), Trouble::Warns)
    },
};

/// nerdctl `pkg/imgutil/dockerconfigresolver`: Docker's file through docker/cli.
pub(super) const NERDCTL: Program = Program {
    name: "nerdctl",
    binaries: &["nerdctl"],
    answer: |look| {
        look.note("DOCKER_CONFIG names another directory");
        docker_file(look, TargetKind::Docker, &look.sight.who.in_home(DOCKER_FILE), Trouble::Stops)
    },
    ..DOCKER
};

/// Helm `pkg/registry/client.go`: its own file, then Docker's (oras-go `registry/remote/credentials` NewStoreWithFallbacks).
pub(super) const HELM: Program = Program {
    name: "helm",
    binaries: &["helm"],
    service: false,
    paths: |sight| vec![sight.who.in_home(HELM_FILE), sight.who.in_home(DOCKER_FILE)],
    answer: |look| {
        look.note("HELM_REGISTRY_CONFIG and --registry-config name another file");
        match docker_file(look, TargetKind::Helm, &look.sight.who.in_home(HELM_FILE), Trouble::Stops) {
            Verdict::Anonymous => docker_file(look, TargetKind::Helm, &look.sight.who.in_home(DOCKER_FILE), Trouble::Stops),
            verdict => verdict,
        }
    },
};

/// enroot `src/docker.sh`: awk, grep and curl on one file.
pub(super) const ENROOT: Program = Program { name: "enroot", binaries: &["enroot"], service: false, paths: enroot_paths, answer: enroot };

pub(super) const DOCKER_FILE: &str = ".docker/config.json";
const HELM_FILE: &str = ".config/helm/registry/config.json";

/// What a program does about a file that it cannot read.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// It warns, and goes on with what it made of the file (docker/cli `cli/config/config.go` LoadDefaultConfigFile).
    Warns,
    /// It gives up.
    Stops,
}

/// A file by docker's rule.
fn docker_file(look: &mut Look<'_>, kind: TargetKind, file: &str, trouble: Trouble) -> Verdict {
    let why = match look.there(file) {
        There::Absent => {
            look.step(file, "no such file");
            return Verdict::Anonymous;
        }
        There::Unreadable(why) => why,
        There::File(content) => match look.entries(kind, "", file, content) {
            Err(why) => why,
            Ok(entries) => return by_docker(look, file, content, &entries, look.registry().docker_key()),
        },
    };
    if trouble == Trouble::Stops {
        return look.fails(file, why);
    }
    look.step(file, why);
    look.note("docker warns of such a file and pulls all the same; which of its entries it still takes is left to chance");
    Verdict::Anonymous
}

/// docker/cli's choice among the entries of a file: the key, else any key whose host it is; Docker Hub has one key only. A helper for all
/// registries is asked before entries of other names.
pub(super) fn by_docker(look: &mut Look<'_>, file: &str, content: &[u8], entries: &[Entry], key: &str) -> Verdict {
    if let Some(entry) = entries.iter().find(|e| e.key == key) {
        return look.takes(file, entry);
    }
    if has_store(content) {
        let what = "the helper that `credsStore` names".to_string();
        look.step(file, format!("no entry {key}; `credsStore` names a helper for all registries"));
        return Verdict::Indirect { file: file.to_string(), entry: key.to_string(), what };
    }
    // A helper's key has to be the registry's own.
    let others: Vec<&Entry> = entries.iter().filter(|e| host_of(&e.key) == key && (e.login.is_some() || e.note.is_none())).collect();
    match others[..] {
        [] => {
            look.step(file, format!("no entry {key}"));
            Verdict::Anonymous
        }
        [entry] => look.takes(file, entry),
        [first, ..] => {
            look.note(format!("{} entries of {file} are for this host, and it takes any of them", others.len()));
            look.takes(file, first)
        }
    }
}

/// docker/cli ConvertToHostname: without scheme, up to the first slash.
pub(super) fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("http://").or_else(|| key.strip_prefix("https://")).unwrap_or(key);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

fn enroot_paths(sight: &Sight) -> Vec<String> {
    enroot::CONF.map(str::to_string).into_iter().chain(credentials(sight)).collect()
}

/// Where enroot looks for this user: enroot.conf first, then its drop-ins in the order of their names.
pub(super) fn credentials(sight: &Sight) -> Option<String> {
    let is_conf = |path: &str| path == "/etc/enroot/enroot.conf" || path.starts_with("/etc/enroot/enroot.conf.d/");
    // `enroot.conf` sorts before `enroot.conf.d/`.
    let conf = sight.files.iter().filter(|(path, _)| is_conf(path)).map(|(_, content)| &content[..]);
    enroot::credentials(conf, sight.who.home.as_str().trim_end_matches('/'))
}

fn enroot(look: &mut Look<'_>) -> Verdict {
    let Some(file) = credentials(look.sight) else {
        let why = "it sets ENROOT_CONFIG_PATH to a variable or command, which regprov does not follow".to_string();
        return look.fails(enroot::CONF[0], why);
    };
    look.note("ENROOT_CONFIG_PATH in the environment names another directory");
    if look.sight.curl.is_none() {
        look.note("curl was not found there; its file is read as the newest curl reads it");
    }
    let registry = look.registry();
    if registry.is_hub() {
        look.note("enroot before 4 asks Docker Hub for a login only where the image names the user: docker://USER@IMAGE");
    }
    let content = match look.there(&file) {
        There::Absent => {
            look.step(&file, "no such file");
            return Verdict::Anonymous;
        }
        There::Unreadable(why) => {
            look.step(&file, why);
            return Verdict::Anonymous;
        }
        There::File(content) => content,
    };
    let (host, realm) = (registry.netrc_hosts()[0], realm(registry));
    match enroot::import(content, host, realm, look.sight.curl) {
        Import::NoUser => {
            look.step(&file, format!("no line `machine {host} login USER`"));
            Verdict::Anonymous
        }
        Import::NoLine(user) => look.fails(&file, format!("its grep does not find the line of {user}, so curl asks for a password")),
        Import::Unread(why) => {
            look.step(&file, format!("curl gives up on it: {why}"));
            Verdict::Anonymous
        }
        Import::NoRealm(user) => {
            look.step(&file, format!("the line of {host} names {user}, but no line is for {realm}, which gives out its tokens: they are anonymous"));
            Verdict::Anonymous
        }
        Import::Command => {
            let what = "a shell command, which enroot runs for the password".to_string();
            look.step(&file, format!("line of {realm}: {what}"));
            Verdict::Indirect { file, entry: realm.to_string(), what }
        }
        Import::Sends(account) => {
            if registry.netrc_hosts().len() == 1 {
                look.note(format!("this holds where {host} gives out its own tokens; another host needs a line of its own (`regprov verify` tells)"));
            }
            look.sends(&file, realm, &account)
        }
    }
}

/// The host that gives out a registry's tokens, where that is publicly known; else the registry's own.
fn realm(registry: &Registry) -> &str {
    let hosts = registry.netrc_hosts();
    hosts.get(1).copied().unwrap_or(hosts[0])
}
