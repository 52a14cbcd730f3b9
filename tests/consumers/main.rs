//! What `regprov apply` wrote, before the programs that read it: each one fetches from private registries under their real names
//! (docker.io and nvcr.io with a second host for tokens, a Harbor-like one), with token and with Basic authentication. The logs of
//! the token servers and registries must hold the account, and that it may pull; the controls without a file and with a wrong
//! password fail. A consumer is a row: see [`Consumer`].

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

#[path = "../common/alone.rs"]
mod alone;
#[path = "../fleet/embedded.rs"]
mod embedded;
mod engine;
mod http;
mod image;
mod node;
#[path = "../common/peers.rs"]
mod peers;
mod rig;
mod shadow;
mod sid;
mod token;

use std::fs;
use std::path::{Path, PathBuf};

use node::{Login, Node, Ran};
use peers::need;
use rig::{Auth, SITES, Seen, Site, Verdict};

/// A program that reads a file of ours.
struct Consumer {
    /// The targets of the inventory. With `LOGIN` in them each login is written alone, under its name.
    targets: &'static str,
    /// Programs that it needs, and that `tests/run` installs.
    programs: &'static [&'static str],
    /// Whether they come from the tree of Debian sid instead of this machine (`tests/sid`).
    sid: bool,
    /// What tells its version.
    version: &'static str,
    /// Fetches `$IMAGE`, which is `$REGISTRY/$NAMESPACE/tiny:v1`.
    fetch: &'static str,
    /// What it asks a token server for, `pull` among it.
    asks: &'static str,
    /// Files that others wrote before, for a second round: `(path, content)`.
    before: &'static [(&'static str, &'static str)],
}

/// Docker's file as others leave it: other registries, stale logins under other names of Docker Hub, a stale token.
const DOCKERS: (&str, &str) = (
    "/root/.docker/config.json",
    r#"{"auths": {"docker.io": {"auth": "b2xkOm9sZA=="}, "registry-1.docker.io": {"auth": "b2xkOm9sZA=="}, "quay.io": {"auth": "b3RoZXI6cHc="},
        "https://harbor.test/v2/": {"auth": "b2xkOm9sZA=="}, "nvcr.io": {"auth": "b2xkOm9sZA==", "identitytoken": "stale"}}, "detachKeys": "ctrl-x"}"#,
);

const DOCKER: Consumer = Consumer {
    targets: "docker",
    programs: &["docker"],
    sid: false,
    version: "docker --version",
    fetch: "docker manifest inspect $IMAGE",
    asks: "pull",
    before: &[DOCKERS],
};

const SKOPEO: Consumer =
    Consumer { programs: &["skopeo"], version: "skopeo --version", fetch: "rm -rf image; skopeo copy docker://$IMAGE dir:image", ..DOCKER };

/// Without a daemon and without mounts: the layers are unpacked into plain directories.
const PODMAN: Consumer = Consumer { programs: &["podman"], version: "podman --version", fetch: "podman --storage-driver vfs pull $IMAGE", ..DOCKER };

const BUILDAH: Consumer = Consumer { programs: &["buildah"], version: "buildah --version", fetch: "buildah --storage-driver vfs pull $IMAGE", ..DOCKER };

const ENROOT: Consumer = Consumer {
    targets: "enroot",
    programs: &["curl", "awk", "grep", "bash"],
    version: "curl --version | head -n 1; awk --version 2>&1 | head -n 1",
    fetch: include_str!("enroot.sh"),
    before: &[("/root/.config/enroot/.credentials", "# others\nmachine quay.io login z password y\nmachine auth.docker.io login old password old\n")],
    ..DOCKER
};

/// podman's own file as others leave it.
const CONTAINERS: (&str, &str) = (
    "/root/.config/containers/auth.json",
    r#"{"auths": {"https://index.docker.io/v1/": {"auth": "b2xkOm9sZA=="}, "nvcr.io": {"auth": "b2xkOm9sZA=="}, "quay.io/team": {"auth": "b3RoZXI6cHc="}}}"#,
);

const PODMANS_OWN: Consumer = Consumer { targets: "podman", before: &[CONTAINERS], ..PODMAN };

const BUILDAH_PODMANS: Consumer = Consumer { targets: "podman", before: &[CONTAINERS], ..BUILDAH };

const SKOPEO_PODMANS: Consumer = Consumer { targets: "podman", before: &[CONTAINERS], ..SKOPEO };

/// The library that CRI-O reads it with, and the file that CRI-O's drop-in names.
const CRIO: Consumer = Consumer {
    targets: "crio",
    fetch: "grep -qx 'global_auth_file = \"/etc/crio/auth.json\"' /etc/crio/crio.conf.d/10-regprov.conf || exit
        rm -rf image; skopeo copy --authfile /etc/crio/auth.json docker://$IMAGE dir:image",
    before: &[("/etc/crio/auth.json", CONTAINERS.1)],
    ..SKOPEO
};

/// Helm falls back to Docker's file.
const HELM: Consumer = Consumer {
    programs: &["helm-python"],
    version: "helm-python -m pip list 2>/dev/null | grep helm",
    fetch: concat!("helm-python - <<'END'\n", include_str!("helm.py"), "END\n"),
    ..DOCKER
};

/// Where it has a file of its own, that one decides.
const HELMS_OWN: Consumer = Consumer {
    targets: "helm",
    before: &[("/root/.config/helm/registry/config.json", DOCKERS.1), ("/root/.docker/config.json", r#"{"auths": {"nvcr.io": {"auth": "b2xkOm9sZA=="}}}"#)],
    ..HELM
};

/// It pushes a chart of its own, and pulls what it pushed.
const HELM_PUSHES: Consumer = Consumer { fetch: concat!("helm-python - <<'END'\n", include_str!("helm_push.py"), "END\n"), asks: "push", ..HELMS_OWN };

/// The pair of variables, in the shell that the node's profile made.
const APPTAINER_VARIABLES: Consumer = Consumer {
    targets: "singularity: {login: LOGIN}",
    programs: &["apptainer"],
    sid: true,
    version: "apptainer --version",
    fetch: "apptainer pull --force image.sif docker://$IMAGE",
    asks: "pull",
    before: &[("/etc/profile.d/others.sh", "export SINGULARITY_CACHEDIR=/tmp/cache\n")],
};

const APPTAINER_VARIABLES_ORAS: Consumer = Consumer { fetch: "apptainer pull --force image.sif oras://${IMAGE%:*}:sif", ..APPTAINER_VARIABLES };

/// Its file for several registries, in root's home.
const APPTAINER: Consumer = Consumer {
    targets: "apptainer",
    before: &[("/root/.apptainer/docker-config.json", DOCKERS.1), ("/root/.docker/config.json", r#"{"auths": {"nvcr.io": {"auth": "b2xkOm9sZA=="}}}"#)],
    ..APPTAINER_VARIABLES
};

const APPTAINER_ORAS: Consumer = Consumer { fetch: APPTAINER_VARIABLES_ORAS.fetch, ..APPTAINER };

/// One file for every user, which the profile names.
const APPTAINER_SHARED: Consumer = Consumer {
    targets: "apptainer: {path: /etc/regprov/docker-config.json, group: root, mode: \"0640\"}",
    before: &[("/etc/regprov/docker-config.json", DOCKERS.1)],
    ..APPTAINER_VARIABLES
};

const APPTAINER_DOCKERS: Consumer =
    Consumer { fetch: APPTAINER_VARIABLES.fetch, programs: APPTAINER_VARIABLES.programs, version: APPTAINER_VARIABLES.version, sid: true, ..DOCKER };

const CRANE: Consumer = Consumer { sid: true, programs: &["crane"], version: "crane version", fetch: "crane pull $IMAGE image.tar", ..DOCKER };

const ORAS: Consumer = Consumer { sid: true, programs: &["oras"], version: "oras version | head -n 1", fetch: "oras pull ${IMAGE%:*}:sif", ..DOCKER };

const BUILDX: Consumer =
    Consumer { sid: true, programs: &["docker"], version: "docker buildx version", fetch: "docker buildx imagetools inspect $IMAGE", ..DOCKER };

const NEW_SKOPEO: Consumer = Consumer { sid: true, ..SKOPEO };

const NEW_PODMAN: Consumer = Consumer { sid: true, ..PODMANS_OWN };

macro_rules! reads {
    ($($test:ident: $row:ident, $needs:literal;)*) => {$(
        #[test]
        #[ignore = $needs]
        fn $test() {
            check(stringify!($test), &$row);
        }
    )*};
}

reads! {
    docker_reads_dockers_file: DOCKER, "needs docker and docker-registry";
    skopeo_reads_dockers_file: SKOPEO, "needs skopeo and docker-registry";
    podman_reads_dockers_file: PODMAN, "needs podman and docker-registry";
    buildah_reads_dockers_file: BUILDAH, "needs buildah and docker-registry";
    helm_falls_back_to_dockers_file: HELM, "needs helm-python and docker-registry";
    podman_reads_its_file: PODMANS_OWN, "needs podman and docker-registry";
    buildah_reads_podmans_file: BUILDAH_PODMANS, "needs buildah and docker-registry";
    skopeo_reads_podmans_file: SKOPEO_PODMANS, "needs skopeo and docker-registry";
    skopeo_reads_crios_file: CRIO, "needs skopeo and docker-registry";
    helm_reads_its_file: HELMS_OWN, "needs helm-python and docker-registry";
    helm_pushes_a_chart_with_its_file: HELM_PUSHES, "needs helm-python and docker-registry";
    enroots_rules_read_its_file: ENROOT, "needs curl, awk, grep, bash and docker-registry";
    apptainer_reads_the_variables: APPTAINER_VARIABLES, "needs docker-registry, and apptainer of Debian sid";
    apptainer_reads_the_variables_for_oras: APPTAINER_VARIABLES_ORAS, "needs docker-registry, and apptainer of Debian sid";
    apptainer_reads_its_file: APPTAINER, "needs docker-registry, and apptainer of Debian sid";
    apptainer_reads_its_file_for_oras: APPTAINER_ORAS, "needs docker-registry, and apptainer of Debian sid";
    apptainer_reads_a_file_for_all_users: APPTAINER_SHARED, "needs docker-registry, and apptainer of Debian sid";
    apptainer_falls_back_to_dockers_file: APPTAINER_DOCKERS, "needs docker-registry, and apptainer of Debian sid";
    crane_reads_dockers_file: CRANE, "needs docker-registry, and crane of Debian sid";
    oras_reads_dockers_file: ORAS, "needs docker-registry, and oras of Debian sid";
    buildx_reads_dockers_file: BUILDX, "needs docker-registry, and buildx of Debian sid";
    a_newer_skopeo_reads_dockers_file: NEW_SKOPEO, "needs docker-registry, and skopeo of Debian sid";
    a_newer_podman_reads_its_file: NEW_PODMAN, "needs docker-registry, and podman of Debian sid";
}

/// The matrix of a consumer: registry, authentication, and what lies on the node.
fn check(test: &str, consumer: &Consumer) {
    let Some(mut node) = enter(test, consumer) else { return };
    let logins: Vec<Vec<&Site>> = if consumer.targets.contains("LOGIN") { SITES.iter().map(|s| vec![s]).collect() } else { vec![SITES.iter().collect()] };
    for auth in Auth::BOTH {
        node.names(auth);
        for before in [&[], consumer.before] {
            for sites in &logins {
                node.clear();
                write(before);
                apply(&node, consumer, sites, None, 0);
                for site in sites {
                    let (ran, seen) = fetch(&mut node, consumer.fetch, site);
                    assert!(ran.good, "{auth:?}, {}, {} files before: {}\n{seen:?}", site.registry, before.len(), ran.said);
                    expect_granted(auth, consumer.asks, site, &seen);
                }
            }
        }
        for site in &SITES {
            node.clear();
            let (ran, seen) = fetch(&mut node, consumer.fetch, site);
            assert!(!ran.good, "{auth:?}, {}: the control without the file fails: {}", site.registry, ran.said);
            assert!(seen.iter().all(|s| s.verdict == Verdict::Anonymous || s.user.is_empty()), "{auth:?}, {}: {seen:?}", site.registry);
        }
        for sites in &logins {
            node.clear();
            apply(&node, consumer, sites, Some("another"), 0);
            for site in sites {
                let (ran, seen) = fetch(&mut node, consumer.fetch, site);
                assert!(!ran.good, "{auth:?}, {}: the control with a wrong password fails: {}", site.registry, ran.said);
                let refused = seen.iter().any(|s| s.verdict == Verdict::WrongPassword && s.user == site.user);
                assert!(refused && seen.iter().all(|s| s.verdict != Verdict::Granted || s.user.is_empty()), "{auth:?}, {}: {seen:?}", site.registry);
            }
        }
    }
}

/// `apply` leaves in Helm's file what `helm registry login` leaves there; and a registry's name with two schemes, as manuals have it behind
/// `oci://`, is none for Helm whatever stands in its file.
#[test]
#[ignore = "needs helm-python and docker-registry"]
fn helms_own_login_writes_the_same_and_takes_one_scheme() {
    const FILE: &str = "/root/.config/helm/registry/config.json";
    let Some(mut node) = enter("helms_own_login_writes_the_same_and_takes_one_scheme", &HELMS_OWN) else { return };
    node.names(Auth::Token);
    // Not Docker Hub: Helm's login knows it under its other key.
    for site in &SITES[1..] {
        node.clear();
        apply(&node, &HELMS_OWN, &[site], None, 0);
        let ours: serde_json::Value = serde_json::from_slice(&fs::read(FILE).unwrap()).unwrap();
        node.clear();
        let login = "helm-python -c 'import os; from helm_python.registry import RegistryClient as C; C().login(os.environ[\"HOST\"], os.environ[\"ACCOUNT\"], os.environ[\"WORD\"])'";
        let ran = node.run(login, &[("HOST", site.registry), ("ACCOUNT", site.user), ("WORD", site.password)]);
        assert!(ran.good, "{}", ran.said);
        let helms: serde_json::Value = serde_json::from_slice(&fs::read(FILE).unwrap()).unwrap();
        assert!(helms["auths"][site.registry]["auth"].is_string() && ours["auths"] == helms["auths"], "{}: the keys or logins differ", site.registry);
    }
    let harbor = &SITES[2];
    node.clear();
    apply(&node, &HELMS_OWN, &[harbor], None, 0);
    node.rig.take();
    let ran = node.run(HELM_PUSHES.fetch, &[("REGISTRY", "https://harbor.test"), ("NAMESPACE", harbor.namespace)]);
    let seen = node.rig.take();
    assert!(!ran.good && seen.iter().all(|s| s.user.is_empty()), "oci://https://harbor.test: {} {seen:?}", ran.said);
    println!("read by helm-python as oci://https://harbor.test: {}", ran.said.lines().last().unwrap_or_default());
    let (ran, seen) = fetch(&mut node, HELM_PUSHES.fetch, harbor);
    assert!(ran.good, "the control with the host alone: {} {seen:?}", ran.said);
}

/// Writes the logins of these sites, with another password when one is given, and expects this exit code.
#[track_caller]
fn apply(node: &Node, consumer: &Consumer, sites: &[&Site], password: Option<&'static str>, code: i32) -> String {
    let login = |s: &&Site| Login { name: s.namespace, registry: s.registry, user: s.user, password: password.unwrap_or(s.password) };
    let logins: Vec<Login> = sites.iter().map(login).collect();
    node.apply(&consumer.targets.replace("LOGIN", logins[0].name), &logins, code)
}

/// Enters a node with this consumer's programs; `None` outside of it, and where something is missing.
#[track_caller]
fn enter(test: &str, consumer: &Consumer) -> Option<Node> {
    let tree = if consumer.sid { sid::tree(consumer.programs)? } else { PathBuf::from("/") };
    let found: Vec<PathBuf> = if consumer.sid { Vec::new() } else { consumer.programs.iter().map(|p| need(p)).collect::<Option<_>>()? };
    need("docker-registry")?;
    need("perl")?;
    if !alone::alone(test) {
        return None;
    }
    let node = Node::enter(&tree, &found)?;
    let version = node.run(consumer.version, &[]);
    assert!(version.good, "{}: {}", consumer.version, version.said);
    println!("read by {}: {}", consumer.programs[0], version.said.trim().replace('\n', "; "));
    Some(node)
}

fn write(files: &[(&str, &str)]) {
    for (path, content) in files {
        fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Lets a consumer's script fetch the site's image: what came of it, and what the servers say of it.
fn fetch(node: &mut Node, script: &str, site: &Site) -> (Ran, Vec<Seen>) {
    node.rig.take();
    let (registry, namespace) = (site.registry, site.namespace);
    let image = format!("{registry}/{namespace}/tiny:v1");
    let ran = node.run(script, &[("IMAGE", &image), ("REGISTRY", registry), ("NAMESPACE", namespace)]);
    let seen = node.rig.take();
    (ran, seen)
}

/// The token server granted our account what was asked for of the repository, and the registry served the account there; it saw no other.
#[track_caller]
fn expect_granted(auth: Auth, asks: &str, site: &Site, seen: &[Seen]) {
    assert!(seen.iter().all(|s| s.user.is_empty() || (s.user == site.user && s.verdict == Verdict::Granted)), "{auth:?}, {}: {seen:?}", site.registry);
    let ours = |holds: &dyn Fn(&str) -> bool| seen.iter().any(|s| s.verdict == Verdict::Granted && s.user == site.user && holds(&s.what));
    let (path, scope) = (format!("/v2/{}/", site.namespace), format!("repository:{}/", site.namespace));
    assert!(ours(&|what| what.starts_with(&path)), "{auth:?}, {}: {seen:?}", site.registry);
    let scoped = ours(&|what| what.split(' ').any(|s| s.starts_with(&scope) && s.rsplit(':').next().is_some_and(|a| a.split(',').any(|a| a == asks))));
    assert_eq!(scoped, auth == Auth::Token, "{auth:?}, {}: {seen:?}", site.registry);
}
