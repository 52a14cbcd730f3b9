//! Tasks of real runs on sshd nodes: credential helpers that are handed logins, lines in the nodes' logs, and images that nodes ask a
//! registry for.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/sudo.rs"]
mod sudo;
#[path = "common/tool_registry.rs"]
mod tool_registry;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fleet::{Fleet, Node, Options, Ran, Site, wait_until};
use peers::need;
use regprov::model::{Change, Host, HostKeyPin, Login, Outcome, Pace, RemotePath, Secret, Stage, Target, TargetKind, Username};
use regprov::push::{Push, PushOptions, push_all};
use regprov::transport::ssh::auth::Keys;
use regprov::transport::ssh::keyring::KeySources;
use regprov::transport::ssh::known_hosts::KnownHosts;
use regprov::transport::ssh::{Deadlines, Ssh};
use tool_registry::Registry;

const PASSWORD: &str = "plantedSecret\"7391 \\x";
const CONFIG: &str = "/root/.docker/config.json";

/// A helper that keeps each server's login in a file of its own below its home, and notes what it was started with.
pub(crate) const KEEPER: &str = r#"#!/bin/sh
mkdir -p "$HOME/kept"
{ tr '\0' ' ' </proc/$$/cmdline; tr '\0' ' ' </proc/$$/environ; id -un; } >>"$HOME/kept/calls"
input=$(cat)
at() { printf %s "$1" | tr -c 'a-z0-9' _; }
case $1 in
  store)
    server=${input#*\"ServerURL\":\"}
    printf %s "$input" >"$HOME/kept/$(at "${server%%\"*}")" ;;
  get) cat "$HOME/kept/$(at "$input")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
esac
"#;

/// A fleet whose nodes have a folder of their own at /usr/local/sbin, and a site.
fn bed(n: usize, shells: &str) -> Option<(Fleet, Site)> {
    need("nsenter")?;
    let fleet = Fleet::start(n, Options { shells, ..Options::default() })?;
    for node in &fleet.nodes {
        sh(node, "mount -t tmpfs ours /usr/local/sbin");
    }
    let site = Site::new(&fleet);
    site.vault("vault.yml", &[("ngc", "nvcr.io", "$oauthtoken", PASSWORD), ("hub", "docker.io", "acme", PASSWORD)]);
    Some((fleet, site))
}

/// Runs a script as root on a node.
#[track_caller]
fn sh(node: &Node, script: &str) -> String {
    let user = if unsafe { libc::geteuid() } == 0 { &[][..] } else { &["-U", "--preserve-credentials"] };
    let out = Command::new("nsenter").args(["-t", &node.pid.to_string(), "-m", "-p"]).args(user).args(["--", "sh", "-c", script]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn program(node: &Node, name: &str, script: &str) {
    let path = format!("/usr/local/sbin/{name}");
    node.write(&path, script);
    fs::set_permissions(node.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
}

fn text(node: &Node, path: &str) -> String {
    String::from_utf8(node.read(path).unwrap_or_default()).unwrap()
}

#[test]
#[ignore = "needs sshd, nsenter and bash"]
fn a_helper_is_handed_the_login_and_keeps_it() {
    let Some((fleet, site)) = bed(2, "dash bash") else { return };
    site.inventory(&fleet, "targets: [{docker: {helper: store}}]", "");
    let files = [r#"{"credsStore":"keeper","auths":{"nvcr.io":{"auth":"b2xkOm9sZA=="}}}"#, r#"{"credHelpers":{"nvcr.io":"keeper"}}"#];
    for (node, file) in fleet.nodes.iter().zip(files) {
        program(node, "docker-credential-keeper", KEEPER);
        node.write(CONFIG, file);
    }
    let ran = site.apply(&["--check", "--diff"]).ended(0, &["would be changed: n[0-1] (2)", "~ nvcr.io in docker-credential-keeper"]);
    assert!(!ran.all().contains("plantedSecret"));
    for (node, file) in fleet.nodes.iter().zip(files) {
        assert_eq!((text(node, CONFIG).as_str(), node.read("/root/kept/nvcr_io")), (file, None), "--check hands nothing over");
    }
    site.apply(&[]).ended(0, &["changed: n[0-1] (2)"]);
    let login = format!(r#"{{"ServerURL":"nvcr.io","Username":"$oauthtoken","Secret":{}}}"#, serde_json::to_string(PASSWORD).unwrap());
    for node in &fleet.nodes {
        assert_eq!(text(node, "/root/kept/nvcr_io"), login);
        let calls = text(node, "/root/kept/calls");
        assert!(calls.contains("docker-credential-keeper store") && calls.contains("HOME=/root ") && !calls.contains("plantedSecret"), "{calls}");
    }
    let parsed = |node: &Node| serde_json::from_str::<serde_json::Value>(&text(node, CONFIG)).unwrap();
    let first = parsed(&fleet.nodes[0]);
    assert_eq!(first, serde_json::json!({"credsStore": "keeper", "auths": {"nvcr.io": {}, "https://index.docker.io/v1/": {}}}));
    assert!(fleet.nodes[0].read("/root/kept/https___index_docker_io_v1_").is_some());
    let second = parsed(&fleet.nodes[1]);
    assert_eq!(second["auths"]["nvcr.io"], serde_json::json!({}));
    assert!(second["auths"]["https://index.docker.io/v1/"]["auth"].is_string(), "Hub's login is the file's there");

    let before = fleet.nodes.iter().map(|n| text(n, CONFIG)).collect::<Vec<_>>();
    site.apply(&[]).ended(0, &["unchanged: n[0-1] (2)"]);
    assert_eq!(before, fleet.nodes.iter().map(|n| text(n, CONFIG)).collect::<Vec<_>>());
    // Somebody else's password in the helper is a change, though the file stays as it is.
    fleet.nodes[0].write("/root/kept/nvcr_io", r#"{"Username":"x","Secret":"y"}"#);
    site.apply(&["--diff"]).ended(0, &["changed:   n0", "unchanged: n1", "~ nvcr.io in docker-credential-keeper"]);
    assert_eq!((text(&fleet.nodes[0], "/root/kept/nvcr_io"), text(&fleet.nodes[0], CONFIG)), (login, before[0].clone()));
}

/// The docker CLI itself finds the login, through the helper, where regprov left it.
#[test]
#[ignore = "needs sshd, nsenter and docker"]
fn docker_reads_what_the_helper_keeps() {
    let Some(docker) = need("docker") else { return };
    let Some((fleet, site)) = bed(1, "dash") else { return };
    let registry = Registry::start("acme", PASSWORD);
    site.vault("vault.yml", &[("ngc", &registry.name(), "acme", PASSWORD), ("hub", "docker.io", "acme", PASSWORD)]);
    site.inventory(&fleet, "targets: [{docker: {helper: store}}]", "");
    let node = &fleet.nodes[0];
    program(node, "docker-credential-keeper", KEEPER);
    node.write(CONFIG, r#"{"credsStore":"keeper"}"#);
    let inspect = || {
        let line = format!("{} manifest inspect --insecure {}/acme/tool:latest 2>&1 || true", docker.display(), registry.name());
        sh(node, &format!("HOME=/root PATH=/usr/local/sbin:$PATH {line}"))
    };
    inspect();
    assert_eq!(registry.users(), Vec::<String>::new(), "the control without a login");
    site.apply(&[]).ended(0, &["changed"]);
    let said = inspect();
    assert!(registry.users().iter().any(|u| u == "acme"), "{said}");
}

#[test]
#[ignore = "needs sshd and nsenter"]
fn a_users_helper_runs_as_that_user() {
    let Some((fleet, site)) = bed(1, "dash") else { return };
    let node = &fleet.nodes[0];
    sh(node, "useradd -m -s /bin/sh alice");
    program(node, "docker-credential-keeper", KEEPER);
    site.inventory(&fleet, "targets: [{docker: {user: alice, helper: store}}]", "");
    sh(node, "mkdir ~alice/.docker && echo '{\"credsStore\":\"keeper\"}' >~alice/.docker/config.json && chown -R alice: ~alice/.docker");
    site.apply(&[]).ended(0, &["changed"]);
    let calls = text(node, "/home/alice/kept/calls");
    assert!(calls.contains("HOME=/home/alice ") && calls.contains("alice\n") && !calls.contains("root"), "{calls}");
    assert!(text(node, "/home/alice/kept/nvcr_io").contains("plantedSecret"));
    assert_eq!(node.read("/root/kept/calls"), None);
}

/// Each task's program goes through sudo as the files' does, and is ended there too.
#[test]
#[ignore = "needs sshd, nsenter, sudo and root"]
fn tasks_go_through_sudo() {
    let Some((fleet, site)) = sudo::bed(1, Options::default(), "ops ALL=(ALL) NOPASSWD: ALL") else { return };
    let node = &fleet.nodes[0];
    sh(node, "mount -t tmpfs ours /usr/local/sbin");
    site.inventory(&fleet, "user: ops\n    become: true\n    syslog: true\n    targets: [{docker: {helper: store}}]", "");
    program(node, "docker-credential-keeper", KEEPER);
    program(node, "logger", "#!/bin/sh\n{ id -un; cat; } >>/var/tmp/log\n");
    node.write(CONFIG, r#"{"credsStore":"keeper"}"#);
    site.apply(&[]).ended(0, &["changed"]);
    assert!(text(node, "/root/kept/calls").contains("HOME=/root "));
    assert!(text(node, "/var/tmp/log").starts_with("root\nupdated /root/.docker/config.json (docker)"), "{}", text(node, "/var/tmp/log"));
    program(node, "docker-credential-keeper", "#!/bin/sh\nsleep 60\n");
    site.apply(&["--command-timeout", "4"]).ended(3, &["docker-credential-keeper get: it did not end within 3 s"]);
    // The watchdog waits two seconds more for whoever does not hear its first signal.
    wait_until("nothing sleeps there any more", || node.processes().iter().all(|(_, name)| name != "sleep"));
}

#[test]
#[ignore = "needs sshd and nsenter"]
fn a_helper_that_does_not_work_fails_its_file_alone() {
    let Some((fleet, site)) = bed(1, "dash") else { return };
    let node = &fleet.nodes[0];
    site.inventory(&fleet, "targets: [{docker: {helper: store}}, {singularity: {login: ngc}}]", "");
    for (script, want) in [
        ("", "there is no docker-credential-keeper on the node; install it"),
        ("#!/bin/sh\necho 'keyring is locked' >&2; exit 2\n", "docker-credential-keeper get failed (exit status 2); it said: keyring is locked"),
        ("#!/bin/sh\nsleep 60\n", "docker-credential-keeper get: it did not end within"),
        ("#!/bin/sh\ntrap '' TERM\nsleep 60\n", "docker-credential-keeper get: it did not end within"),
        ("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x\n", "docker-credential-keeper get: it printed more than 64 KiB"),
        ("#!/bin/sh\necho '{}'\n", "answers `get` with something else than a login"),
        ("#!/bin/sh\n[ $1 = store ] || { echo credentials not found in native keychain; exit 1; }\n", "took the login, and then had another one or none"),
        (
            "#!/bin/sh\n[ $1 = get ] && { echo credentials not found in native keychain; exit 1; }\nprintf 'bad: \\033[2J' >&2; cat >&2; exit 1\n",
            "docker-credential-keeper store failed (exit status 1); it said: bad: \\u{1b}[2J",
        ),
    ] {
        node.write(CONFIG, r#"{"credsStore":"keeper"}"#);
        match script {
            "" => {}
            script => program(node, "docker-credential-keeper", script),
        }
        let ran = site.apply(&["--command-timeout", "4"]).ended(3, &[want, "failed"]);
        assert!(!ran.all().contains("plantedSecret") && !ran.all().contains('\u{1b}'), "{}", ran.all());
        assert_eq!(text(node, CONFIG), r#"{"credsStore":"keeper"}"#, "{want}");
        assert!(text(node, "/etc/regprov/singularity.sh").contains("plantedSecret"), "the other file is written");
    }
    node.write(CONFIG, r#"{"credsStore":"../../tmp/x"}"#);
    site.apply(&[]).ended(3, &["names a credential helper that is no program's name"]);
    // A file that is refused for another reason: the helper is handed nothing.
    program(node, "docker-credential-keeper", KEEPER);
    node.write(CONFIG, r#"{"credsStore":"keeper","auths":{"other.io":{"auth":"x"}}}"#);
    site.apply(&[]).ended(3, &["docker rejects the whole file for its entry"]);
    assert_eq!(node.read("/root/kept/nvcr_io"), None);
}

#[test]
#[ignore = "needs sshd and nsenter"]
fn each_change_is_a_line_in_the_nodes_log() {
    let Some((fleet, site)) = bed(2, "dash") else { return };
    site.inventory(&fleet, "syslog: true\n    targets: [docker, {singularity: {login: ngc}}]", "");
    program(&fleet.nodes[0], "logger", "#!/bin/sh\necho \"$*\" >>/var/tmp/log; cat >>/var/tmp/log\n");
    program(&fleet.nodes[1], "logger", "#!/bin/sh\necho 'no socket' >&2; exit 1\n");
    site.apply(&["--check"]).ended(0, &["would be changed: n[0-1] (2)"]);
    assert_eq!(fleet.nodes[0].read("/var/tmp/log"), None);
    site.apply(&[]).ended(0, &["changed: n[0-1] (2)", "its changes are not in the system log: logger failed (exit status 1); it said: no socket", "n1"]);
    let log = text(&fleet.nodes[0], "/var/tmp/log");
    assert!(log.starts_with("-t regprov\ncreated /root/.docker/config.json (docker): docker.io, nvcr.io by inventory default\n"), "{log}");
    assert!(
        log.lines().count() == 7
            && log.contains("/etc/profile.d/regprov-singularity.sh (singularity) by inventory default\n")
            && !log.contains("plantedSecret"),
        "{log}"
    );
    // Nothing changed, nothing to tell.
    site.apply(&[]).ended(0, &["unchanged: n[0-1] (2)"]);
    assert_eq!(text(&fleet.nodes[0], "/var/tmp/log"), log);
}

#[tokio::test]
#[ignore = "needs sshd and nsenter"]
async fn a_service_is_restarted_when_its_file_changed() {
    let Some((fleet, site)) = bed(1, "dash") else { return };
    let node = &fleet.nodes[0];
    sh(node, "mount -t tmpfs -o mode=755 run /run && mkdir -p /run/systemd/system && mkdir -m 755 /run/sshd");
    let systemctl = "#!/bin/sh\necho \"$*\" >>/var/tmp/calls\ncase $* in *crio | *k3s) exit 3 ;; restart*) [ ! -e /var/tmp/broken ] || { echo 'Job for it failed' >&2; exit 1; } ;; esac\n";
    program(node, "systemctl", systemctl);
    let key = fleet.host_key("ed25519");
    let (algorithm, base64) = key.split_once(' ').unwrap();
    let target = |kind, restart| {
        let path = RemotePath::parse(regprov::format::consumer(kind).default_path).unwrap();
        Target { logins: vec!["hub".into()], restart, ..Target::at(kind, path) }
    };
    let host = Host {
        address: Some(node.address.clone()),
        port: Some(fleet.port),
        host_keys: vec![HostKeyPin { algorithm: algorithm.into(), base64: base64.into() }],
        targets: vec![target(TargetKind::Docker, false), target(TargetKind::Crio, true), target(TargetKind::K3s, true)],
        ..Host::named("n0")
    };
    let second = Duration::from_secs(1);
    let deadlines = Deadlines { resolve: second * 5, connect: second * 5, handshake: second * 5, authenticate: second * 5 };
    let keys = Arc::new(Keys::load(&KeySources::only(&[fleet.key()]), &mut |_| None).await.unwrap());
    let apply = async |password: &str| {
        let login = Login {
            name: "hub".into(),
            registry: regprov::model::Registry::parse("docker.io").unwrap().0,
            username: Username::parse("acme").unwrap(),
            password: Secret::new(password.to_string()),
            auth_hosts: Vec::new(),
            expires: None,
        };
        let options = PushOptions {
            forks: 1,
            pace: Pace::default(),
            check: false,
            merge: Default::default(),
            inventory_id: "test".into(),
            pull_test: None,
            command: second * 10,
            host: second * 30,
        };
        let connector = Ssh::direct(std::slice::from_ref(&host), keys.clone(), KnownHosts::default(), deadlines);
        let push = Arc::new(Push { connector, logins: [("hub".to_string(), login)].into(), options });
        let (_keep, stop) = tokio::sync::watch::channel(false);
        push_all(push, vec![host.clone()], stop, tokio::sync::mpsc::unbounded_channel().0).await.hosts.remove(0)
    };
    let row = apply("one").await;
    assert_eq!((row.outcome, row.notes), (Outcome::Changed, vec!["crio does not run there, and was not restarted".into(), "k3s-agent was restarted".into()]));
    let calls = text(node, "/var/tmp/calls");
    assert_eq!(calls, "-q is-active crio\n-q is-active k3s\n-q is-active k3s-agent\nrestart k3s-agent\n");
    // Nothing changed, nothing is restarted; nor for a file that no service reads.
    fs::remove_file(node.path("/root/.docker/config.json")).unwrap();
    fs::remove_file(node.path("/etc/crio/auth.json")).unwrap();
    let row = apply("one").await;
    assert_eq!((row.outcome, row.notes.len(), text(node, "/var/tmp/calls")), (Outcome::Changed, 0, calls));
    node.write("/var/tmp/broken", "");
    let row = apply("two").await;
    let reason = "k3s-agent was not restarted, so that it may still use the old login: exit status 1; it said: Job for it failed".to_string();
    assert_eq!(row.outcome, Outcome::Failed { stage: Stage::Restart, reason });
    assert_eq!(row.files[0].change, Change::Updated, "the file is what it shall be");
    drop(site);
}

/// Runs the pull test for an image of the registry and returns what came of it.
fn pull(site: &Site, image: &str) -> Ran {
    site.apply(&["--pull-test", image])
}

#[test]
#[ignore = "needs sshd, nsenter and curl"]
fn a_node_asks_for_the_image_itself() {
    let Some(_) = need("curl") else { return };
    let Some((fleet, site)) = bed(1, "dash") else { return };
    let node = &fleet.nodes[0];
    let registry = Registry::start("acme", PASSWORD);
    let image = format!("{}/acme/tool", registry.name());
    let with = |password: &str| {
        site.vault("vault.yml", &[("ngc", &registry.name(), "acme", password), ("hub", "docker.io", "acme", PASSWORD)]);
        site.inventory(&fleet, "targets: [docker]", "");
    };
    with(PASSWORD);
    let ran = pull(&site, &image).ended(0, &["changed", &format!("pull test of {image}:latest: granted to login \"ngc\""), "n0"]);
    assert!(!ran.all().contains("plantedSecret"));
    assert_eq!(registry.users(), ["acme"]);
    let json = site.apply(&["--pull-test", &image, "--json"]).ended(0, &[]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["hosts"][0]["notes"], serde_json::json!([format!("pull test of {image}:latest: granted to login \"ngc\"")]));

    pull(&site, &format!("{}/acme/none", registry.name())).ended(3, &["failed at pull test", "no such image, or login \"ngc\" has no right to pull it (404)"]);
    with("wrong");
    pull(&site, &image).ended(3, &["failed at pull test", "login \"ngc\" was refused (401)"]);
    assert!(text(node, CONFIG).contains("auths"), "the files are written all the same");
    with(PASSWORD);
    registry.answer_with(429);
    pull(&site, &image).ended(3, &["login \"ngc\" is rate-limited (429)"]);
    registry.send_for_tokens_to("http://tokens.example/token");
    pull(&site, &image).ended(3, &["the registry sends for a token to tokens.example without TLS; no login was sent"]);
    registry.send_for_tokens_to("https://tokens.example/token");
    pull(&site, &image).ended(3, &["tokens.example, which is not known to be its own; no login was sent"]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    pull(&site, &format!("{closed}/acme/tool")).ended(3, &["egress blocked: the connection was refused"]);
    // A certificate that is not trusted is told, and not what plain HTTP would come to there.
    program(
        node,
        "curl",
        "#!/bin/sh\nread -r url\ncase $url in *https:*) printf 'curl: (60) unknown CA\\nMore details here: x\\n' >&2; exit 60 ;; esac\nprintf '\\n400'\n",
    );
    pull(&site, &image).ended(3, &["TLS failed (an unknown CA, or a proxy that looks into it?); curl said: (60) unknown CA\n"]);
    // One that says what it is told as soon as that is a login, and dies.
    let talks = r#"#!/bin/sh
c=$(cat)
case $c in *"user ="*) printf '%s\n' "$c" | grep 'user =' >&2; exit 60 ;; esac
printf 'HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n\n401'
"#;
    program(node, "curl", talks);
    let told = pull(&site, &image).ended(3, &["egress blocked: TLS failed", "nothing that curl itself says"]);
    assert!(!told.all().contains("plantedSecret"), "{}", told.all());
    // And one that says it as curl would.
    program(node, "curl", &talks.replace("grep 'user ='", "sed -n 's/^user =/curl: (60)/p'"));
    let told = pull(&site, &image).ended(3, &["egress blocked: TLS failed", "[...]"]);
    assert!(!told.all().contains("plantedSecret"), "{}", told.all());
    program(node, "curl", "#!/bin/sh\nexit 127\n");
    pull(&site, &image).ended(3, &["there is no curl on the node"]);
    pull(&site, "Not an image").ended(2, &["is no image name"]);
}
