//! `regprov explain`: what each program would make of the files of a node, by a table; and on real sshd nodes, with links, files that come
//! first, and the files of a user.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/sudo.rs"]
mod sudo;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::{Fleet, Options, Site};
use peers::need;
use regprov::explain::{Question, explain, paths, unread};
use regprov::model::sight::{Answer, Sight, Verdict, Who};
use regprov::model::{CurlVersion, Host, Registry, RemotePath, Stat, StatKind, Target, TargetKind};
use zeroize::Zeroizing;

const SECRET: &str = "planted-Secret_9x7";

/// An entry of Docker's file for this user, whose password is the planted one.
fn auth(user: &str) -> String {
    format!("{{\"auth\":\"{}\"}}", STANDARD.encode(format!("{user}:{SECRET}")))
}

fn auths(entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, user)| format!("\"{key}\":{}", auth(user))).collect();
    format!("{{\"auths\":{{{}}}}}", entries.join(","))
}

/// A node whose files these are; root's programs are asked about.
struct Node(Sight);

impl Node {
    fn new(files: &[(&str, &str)]) -> Self {
        let who = Who { name: "root".into(), uid: 0, gid: 0, home: RemotePath::parse("/root").unwrap() };
        let mut node = Node(Sight {
            who,
            curl: Some(CurlVersion(8, 5, 0)),
            files: BTreeMap::new(),
            stats: BTreeMap::new(),
            ends: BTreeMap::new(),
            unread: BTreeSet::new(),
        });
        for (path, content) in files {
            node.add(path, content, 0o600, 0);
        }
        node
    }

    fn add(&mut self, path: &str, content: &str, mode: u32, uid: u32) {
        self.0.files.insert(path.into(), Zeroizing::new(content.as_bytes().to_vec()));
        self.0.stats.insert(path.into(), Stat { kind: StatKind::File, mode, uid, gid: uid, size: content.len() as u64 });
    }

    /// The programs of alice, whose number is 1000.
    fn of_alice(mut self) -> Self {
        self.0.who = Who { name: "alice".into(), uid: 1000, gid: 1000, home: RemotePath::parse("/home/alice").unwrap() };
        self
    }

    fn answer(&self, program: &str, registry: &str) -> Answer {
        let (registry, host) = (Registry::parse(registry).unwrap().0, Host::named("n0"));
        let asked = paths(&host, &self.0);
        for file in self.0.files.keys() {
            let is_asked = |p: &String| p == file || p.split_once('*').is_some_and(|(a, b)| file.starts_with(a) && file.ends_with(b));
            assert!(asked.iter().any(is_asked), "nobody asks for {file}");
        }
        let answers = explain(&Question { registry: &registry, host: &host, logins: &[] }, &self.0);
        let told = format!("{answers:?}");
        assert!(!told.contains(SECRET) && !told.contains(&STANDARD.encode(SECRET)), "a password is told");
        answers.into_iter().find(|a| a.program == program).unwrap()
    }

    #[track_caller]
    fn check(&self, program: &str, registry: &str, want: &str) {
        let answer = self.answer(program, registry);
        let got = match &answer.verdict {
            Verdict::Sends { file, entry, username, .. } => format!("{username} by {entry} of {file}"),
            Verdict::Indirect { file, entry, what } => format!("{what} by {entry} of {file}"),
            Verdict::Anonymous => "anonymous".to_string(),
            Verdict::Fails { file, why } => format!("fails at {file}: {why}"),
        };
        assert!(got == want || want.strip_suffix("...").is_some_and(|start| got.starts_with(start)), "{program}: wanted {want}\ngot {got}\n{answer:?}");
    }
}

const DOCKER: &str = "/root/.docker/config.json";
const AUTH_JSON: &str = "/root/.config/containers/auth.json";

#[test]
fn programs_that_read_docker_s_file() {
    let none = Node::new(&[]);
    for program in ["docker", "nerdctl", "podman", "enroot", "apptainer", "singularity", "helm", "kubelet", "cri-o", "k3s", "rke2", "containerd"] {
        none.check(program, "nvcr.io", "anonymous");
    }
    let exact = Node::new(&[(DOCKER, &auths(&[("nvcr.io", "one"), ("https://index.docker.io/v1/", "hub"), ("https://h.example/v2/", "alias")]))]);
    for program in ["docker", "nerdctl", "podman", "apptainer", "helm", "kubelet"] {
        exact.check(program, "nvcr.io", &format!("one by nvcr.io of {DOCKER}"));
        exact.check(program, "docker.io", &format!("hub by https://index.docker.io/v1/ of {DOCKER}"));
        exact.check(program, "h.example", &format!("alias by https://h.example/v2/ of {DOCKER}"));
        exact.check(program, "h.example:5000", "anonymous");
    }
    exact.check("singularity", "nvcr.io", "anonymous");
    exact.check("cri-o", "nvcr.io", &format!("one by nvcr.io of {DOCKER}"));

    // Docker Hub has one key for docker, and several names for podman.
    let short = Node::new(&[(DOCKER, &auths(&[("docker.io", "hub")]))]);
    for (program, want) in [("docker", "anonymous"), ("apptainer", "anonymous"), ("podman", "hub by ..."), ("kubelet", "hub by ...")] {
        short.check(program, "docker.io", want);
    }
}

#[test]
fn helpers_and_tokens_come_before_logins() {
    let helper = Node::new(&[(DOCKER, &format!("{{\"auths\":{{\"nvcr.io\":{}}},\"credHelpers\":{{\"nvcr.io\":\"x-y\"}}}}", auth("one")))]);
    for program in ["docker", "podman", "apptainer", "helm"] {
        helper.check(program, "nvcr.io", &format!("credential helper `x-y` by nvcr.io of {DOCKER}"));
    }
    helper.check("kubelet", "nvcr.io", &format!("one by nvcr.io of {DOCKER}"));

    let alone = Node::new(&[(DOCKER, r#"{"credHelpers":{"nvcr.io":"x-y"}}"#)]);
    for program in ["docker", "podman"] {
        alone.check(program, "nvcr.io", &format!("credential helper `x-y` by nvcr.io of {DOCKER}"));
        alone.check(program, "h.example", "anonymous");
    }

    // A store is asked for registries without any entry too; podman knows none.
    let store = Node::new(&[(DOCKER, &format!("{{\"auths\":{{\"https://nvcr.io\":{}}},\"credsStore\":\"pass\"}}", auth("one")))]);
    for program in ["docker", "nerdctl", "apptainer", "helm"] {
        store.check(program, "nvcr.io", "the helper that `credsStore` names by nvcr.io ...");
        store.check(program, "h.example", "the helper that `credsStore` names by h.example ...");
    }
    store.check("podman", "nvcr.io", &format!("one by https://nvcr.io of {DOCKER}"));

    let token = Node::new(&[(DOCKER, r#"{"auths":{"nvcr.io":{"identitytoken":"planted-Secret_9x7"}}}"#)]);
    token.check("docker", "nvcr.io", "an identity token by nvcr.io ...");
    token.check("kubelet", "nvcr.io", "anonymous");
}

#[test]
fn a_broken_file() {
    let node = Node::new(&[(DOCKER, "{\"auths\":"), ("/.docker/config.json", &auths(&[("nvcr.io", "late")]))]);
    node.check("docker", "nvcr.io", "anonymous");
    assert!(node.answer("docker", "nvcr.io").notes.iter().any(|n| n.contains("left to chance")));
    node.check("nerdctl", "nvcr.io", &format!("fails at {DOCKER}: ..."));
    node.check("podman", "nvcr.io", &format!("fails at {DOCKER}: ..."));
    node.check("helm", "nvcr.io", &format!("fails at {DOCKER}: ..."));
    node.check("apptainer", "nvcr.io", "anonymous");
    node.check("kubelet", "nvcr.io", "late by nvcr.io of /.docker/config.json");

    // One entry: docker refuses the file for it, podman stops where it is its own, and passes over one that holds nothing.
    let mut node = Node::new(&[(AUTH_JSON, r#"{"auths":{"nvcr.io":{"auth":"!"}}}"#), (DOCKER, &auths(&[("nvcr.io", "docker"), ("h.example", "h")]))]);
    node.check("podman", "nvcr.io", &format!("fails at {AUTH_JSON}: the `auth` of its entry nvcr.io is no base64"));
    node.check("podman", "h.example", "h by ...");
    for empty in [r#"{}"#, r#"{"auth":"YQ=="}"#, r#"{"username":"a","password":"b"}"#] {
        node.add(AUTH_JSON, &format!("{{\"auths\":{{\"nvcr.io\":{empty}}}}}"), 0o600, 0);
        node.check("podman", "nvcr.io", &format!("docker by nvcr.io of {DOCKER}"));
    }
    node.add(DOCKER, &format!("{{\"auths\":{{\"nvcr.io\":{},\"z\":{{\"auth\":\"OnA=\"}}}}}}", auth("docker")), 0o600, 0);
    node.check("podman", "nvcr.io", &format!("docker by nvcr.io of {DOCKER}"));
    node.check("docker", "nvcr.io", "anonymous");
    node.check("helm", "nvcr.io", &format!("docker by nvcr.io of {DOCKER}"));
}

#[test]
fn podman_s_order() {
    let mut node = Node::new(&[(AUTH_JSON, &auths(&[("nvcr.io", "ours")])), (DOCKER, &auths(&[("nvcr.io", "docker")]))]);
    node.check("podman", "nvcr.io", &format!("ours by nvcr.io of {AUTH_JSON}"));
    let steps = |node: &Node| node.answer("podman", "nvcr.io").steps.iter().map(|s| s.found.clone()).collect::<Vec<_>>();
    assert_eq!(steps(&node), ["no such file", "no such file", "entry nvcr.io of ours: used", "entry nvcr.io: not reached"]);
    node.add("/run/containers/0/auth.json", &auths(&[("nvcr.io", "login")]), 0o600, 0);
    node.check("podman", "nvcr.io", "login by nvcr.io of /run/containers/0/auth.json");
    node.add("/run/user/0/containers/auth.json", "{}", 0o600, 0);
    node.check("podman", "nvcr.io", "login by nvcr.io of /run/containers/0/auth.json");
    node.add("/run/user/0/containers/auth.json", "", 0o600, 0);
    node.check("podman", "nvcr.io", "fails at /run/user/0/containers/auth.json: ...");

    // The most specific path first; a key with a path is none for the whole host.
    let paths =
        Node::new(&[(AUTH_JSON, &auths(&[("h.example", "host"), ("h.example/team", "team"), ("h.example/team/image", "image"), ("g.example/x", "x")]))]);
    for (registry, want) in [
        ("h.example", "host by ..."),
        ("h.example/team", "team by ..."),
        ("h.example/team/image", "image by ..."),
        ("h.example/team/other", "team by ..."),
        ("h.example/else", "host by ..."),
        ("g.example", "anonymous"),
        ("g.example/x", "x by ..."),
    ] {
        paths.check("podman", registry, want);
    }
    assert!(paths.answer("podman", "g.example").notes.iter().any(|n| n.contains("images below: g.example/x")));
}

#[test]
fn kubelet_takes_the_first_valid_file_and_every_match() {
    const FILE: &str = "/var/lib/kubelet/config.json";
    let node = Node::new(&[(FILE, &auths(&[("other.example", "x")])), (DOCKER, &auths(&[("nvcr.io", "docker")]))]);
    node.check("kubelet", "nvcr.io", "anonymous");
    assert_eq!(node.answer("kubelet", "nvcr.io").steps.last().unwrap().found, "not reached: the first file that is valid is the only one");
    let keys =
        [("*.example.org", "glob"), ("h*.example.org/team", "team"), ("index.docker.io", "index"), ("p.example.org:5000", "port"), ("*.*.org:5001", "five")];
    let node = Node::new(&[(FILE, &auths(&keys))]);
    for (registry, want) in [
        ("h.example.org", "glob by ..."),
        ("h.example.org/team/x", "team by ..."),
        ("example.org", "anonymous"),
        ("a.b.example.org", "anonymous"),
        ("docker.io", "index by ..."),
        ("p.example.org:5000", "port by ..."),
        ("p.example.org:5001", "five by ..."),
        ("p.example.org:5002", "anonymous"),
    ] {
        node.check("kubelet", registry, want);
    }
    assert!(node.answer("kubelet", "h.example.org/team/x").notes.iter().any(|n| n.ends_with("until a pull succeeds: h*.example.org/team, *.example.org")));
}

#[test]
fn cri_o_reads_one_file_where_it_is_named() {
    let mut node = Node::new(&[(DOCKER, &auths(&[("nvcr.io", "docker")]))]);
    node.add("/etc/crio/crio.conf", "[crio.image]\nglobal_auth_file = \"/a/one.json\"\n", 0o644, 0);
    node.add("/a/one.json", &auths(&[("nvcr.io", "one")]), 0o600, 0);
    node.check("cri-o", "nvcr.io", "one by nvcr.io of /a/one.json");
    node.0.files.remove("/a/one.json");
    node.add("/etc/crio/crio.conf.d/10-x.conf", "[crio.image]\nglobal_auth_file = \"/a/two.json\"\n", 0o644, 0);
    node.check("cri-o", "nvcr.io", "anonymous");
    node.add("/a/two.json", &auths(&[("nvcr.io", "two")]), 0o600, 0);
    node.check("cri-o", "nvcr.io", "two by nvcr.io of /a/two.json");
    node.add("/etc/crio/crio.conf.d/20-x.conf", "[crio.image]\nglobal_auth_file = 7\n", 0o644, 0);
    node.0.files.remove("/a/two.json");
    node.check("cri-o", "nvcr.io", "fails at /etc/crio/crio.conf.d/20-x.conf: ...");
}

#[test]
fn enroot_s_three_readers() {
    const FILE: &str = "/root/.config/enroot/.credentials";
    let line = |host: &str, user: &str| format!("machine {host} login {user} password {SECRET}\n");
    let node = |text: &str| Node::new(&[(FILE, text)]);
    let both = line("nvcr.io", "$oauthtoken") + &line("authn.nvidia.com", "$oauthtoken");
    node(&both).check("enroot", "nvcr.io", &format!("$oauthtoken by authn.nvidia.com of {FILE}"));
    node(&line("nvcr.io", "u")).check("enroot", "nvcr.io", "anonymous");
    assert!(node(&line("nvcr.io", "u")).answer("enroot", "nvcr.io").steps[0].found.contains("no line is for authn.nvidia.com"));
    // What the documents of others show: it sends nothing.
    node(&line("auth.docker.io", "u")).check("enroot", "docker.io", "anonymous");
    node(&line("h.example", "u")).check("enroot", "h.example:5000", &format!("u by h.example of {FILE}"));
    node("machine h.example login a*b password x\n").check("enroot", "h.example", &format!("fails at {FILE}: its grep..."));
    node(&(line("h.example", "u") + "machine g.example login v password \"open\n")).check("enroot", "h.example", &format!("u by h.example of {FILE}"));
    node(&("machine g.example login v password \"open\n".to_string() + &line("h.example", "u"))).check("enroot", "h.example", "anonymous");
    node("machine h.example login u password $(cat x)\n").check("enroot", "h.example", "a shell command, which enroot runs for the password ...");

    let mut moved = Node::new(&[]);
    moved.add("/etc/enroot/enroot.conf", "ENROOT_CONFIG_PATH ${HOME}/.e\n", 0o644, 0);
    moved.add("/root/.e/.credentials", &line("h.example", "home"), 0o600, 0);
    moved.check("enroot", "h.example", "home by h.example of /root/.e/.credentials");
    moved.0.files.remove("/root/.e/.credentials");
    moved.add("/etc/enroot/enroot.conf.d/x.conf", "ENROOT_CONFIG_PATH /etc/enroot\n", 0o644, 0);
    moved.add("/etc/enroot/.credentials", &line("h.example", "all"), 0o640, 0);
    moved.check("enroot", "h.example", "all by h.example of /etc/enroot/.credentials");
    moved.0.files.remove("/etc/enroot/.credentials");
    moved.add("/etc/enroot/enroot.conf.d/y.conf", "ENROOT_CONFIG_PATH $(cmd)\n", 0o644, 0);
    moved.check("enroot", "h.example", "fails at /etc/enroot/enroot.conf: ...");
}

#[test]
fn apptainer_and_singularity() {
    let mut node = Node::new(&[]);
    node.add("/root/.apptainer/docker-config.json", &auths(&[("nvcr.io", "own"), ("h.example/team", "team")]), 0o600, 0);
    node.add("/root/.singularity/docker-config.json", &auths(&[("nvcr.io", "ce")]), 0o600, 0);
    node.add(DOCKER, &auths(&[("g.example", "docker")]), 0o600, 0);
    node.check("apptainer", "nvcr.io", "own by ...");
    node.check("apptainer", "g.example", "anonymous");
    node.check("apptainer", "h.example/team", "team by ...");
    node.check("singularity", "nvcr.io", "ce by ...");
    node.add(
        "/etc/profile.d/regprov-apptainer.sh",
        "if [ -r /s/auth.json ]; then\n  export APPTAINER_AUTH_FILE=/s/auth.json\n  export SINGULARITY_AUTHFILE=/s/auth.json\nfi\n",
        0o644,
        0,
    );
    node.check("apptainer", "nvcr.io", "own by ...");
    node.add("/s/auth.json", &auths(&[("nvcr.io", "shared")]), 0o640, 0);
    node.check("apptainer", "nvcr.io", "shared by nvcr.io of /s/auth.json");
    node.check("singularity", "nvcr.io", "shared by nvcr.io of /s/auth.json");

    // The pair is sent to whatever registry is asked.
    let pair = |prefix: &str, user: &str| format!("export {prefix}_DOCKER_USERNAME='{user}'\nexport {prefix}_DOCKER_PASSWORD='{SECRET}'\n");
    node.add("/etc/profile.d/regprov-singularity.sh", "[ -r /etc/regprov/singularity.sh ] && . /etc/regprov/singularity.sh\n", 0o644, 0);
    node.add("/etc/regprov/singularity.sh", &(pair("SINGULARITY", "ce") + &pair("APPTAINER", "app")), 0o600, 0);
    node.check("apptainer", "any.example", "app by APPTAINER of /etc/regprov/singularity.sh");
    node.check("singularity", "any.example", "ce by SINGULARITY of /etc/regprov/singularity.sh");
    node.add("/etc/regprov/singularity.sh", &pair("SINGULARITY", "ce"), 0o600, 0);
    node.check("apptainer", "any.example", "ce by SINGULARITY of /etc/regprov/singularity.sh");
}

#[test]
fn services_of_kubernetes() {
    let configs = "configs:\n  registry-1.docker.io:\n    auth: {username: hub, password: x}\n  nvcr.io:\n    auth: {identity_token: x}\n";
    let node = Node::new(&[("/etc/rancher/k3s/registries.yaml", configs), ("/etc/rancher/rke2/registries.yaml", "configs: [\n")]);
    node.check("k3s", "docker.io", "hub by registry-1.docker.io ...");
    node.check("k3s", "nvcr.io", "an identity token by nvcr.io ...");
    node.check("k3s", "h.example", "anonymous");
    node.check("rke2", "docker.io", "fails at /etc/rancher/rke2/registries.yaml: ...");

    let table = |user: &str| format!("[plugins.\"io.containerd.cri.v1.images\".registry.configs.\"nvcr.io\".auth]\nusername = \"{user}\"\npassword = \"x\"\n");
    let (config, drop_in) = ("/etc/containerd/config.toml", "/etc/containerd/conf.d/regprov.toml");
    let mut node = Node::new(&[(config, &format!("version = 3\n{}", table("main"))), (drop_in, &table("ours"))]);
    node.check("containerd", "nvcr.io", &format!("main by nvcr.io of {config}"));
    assert_eq!(node.answer("containerd", "nvcr.io").steps[0].found, format!("is not imported by {config}"));
    node.add(config, &format!("version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n{}", table("main")), 0o644, 0);
    node.check("containerd", "nvcr.io", &format!("ours by nvcr.io of {drop_in}"));
    node.check("containerd", "docker.io", "anonymous");
}

#[test]
fn a_user_reads_what_they_may() {
    let mut node = Node::new(&[]).of_alice();
    node.add("/home/alice/.config/containers/auth.json", &auths(&[("nvcr.io", "a")]), 0o600, 0);
    node.check("podman", "nvcr.io", "fails at /home/alice/.config/containers/auth.json: alice cannot read it (mode 0600, owner 0)");
    node.add("/home/alice/.docker/config.json", &auths(&[("nvcr.io", "a")]), 0o600, 0);
    node.check("docker", "nvcr.io", "anonymous");
    node.add("/home/alice/.docker/config.json", &auths(&[("nvcr.io", "a")]), 0o600, 1000);
    node.check("docker", "nvcr.io", "a by ...");
    node.add("/home/alice/.docker/config.json", &auths(&[("nvcr.io", "a")]), 0o640, 0);
    node.check("docker", "nvcr.io", "a by ...");
    assert!(node.answer("docker", "nvcr.io").notes.iter().any(|n| n.contains("only if alice is in group 0")));
    let programs: Vec<_> = explain(&Question { registry: &Registry::parse("nvcr.io").unwrap().0, host: &Host::named("n0"), logins: &[] }, &node.0);
    assert!(programs.iter().all(|a| a.program != "kubelet"), "services are root's");
}

#[test]
fn targets_are_told_from_other_files() {
    let path = RemotePath::parse("/~/.docker/config.json").unwrap();
    let docker = Target { user: Some("alice".into()), ..Target::at(TargetKind::Docker, path) };
    let host = Host { targets: vec![docker], ..Host::named("n0") };
    let node = Node::new(&[]).of_alice();
    let answers = explain(&Question { registry: &Registry::parse("nvcr.io").unwrap().0, host: &host, logins: &[] }, &node.0);
    let step = &answers.iter().find(|a| a.program == "docker").unwrap().steps[0];
    assert_eq!((step.file.as_str(), step.ours), ("/home/alice/.docker/config.json", true));
    let at = |path: &str| Target { logins: vec!["ngc".into()], ..Target::at(TargetKind::Docker, RemotePath::parse(path).unwrap()) };
    let host = Host { targets: vec![at("/root/.docker/config.json"), at("/opt/ci/config.json")], ..Host::named("n0") };
    let question = Question { registry: &Registry::parse("nvcr.io").unwrap().0, host: &host, logins: &[] };
    let node = Node::new(&[]);
    assert_eq!(unread(&question, &node.0, &explain(&question, &node.0)), ["docker /opt/ci/config.json"]);
}

/// A registry with basic authentication that has no image: it notes the user of every request. Ends when it is asked for `/end`.
fn registry(listener: &TcpListener) -> Vec<String> {
    let mut users = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut reader, mut head) = (BufReader::new(stream.try_clone().unwrap()), Vec::new());
        while let Some(Ok(line)) = (&mut reader).lines().next().filter(|l| l.as_ref().is_ok_and(|l| !l.is_empty())) {
            head.push(line);
        }
        if head.first().is_some_and(|l| l.contains(" /end ")) {
            return users;
        }
        let sent = head.iter().find_map(|l| l.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))?.1.strip_prefix("Basic "));
        let user = sent.map(|text| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap().split(':').next().unwrap().to_string());
        let status = if user.is_some() { "404 Not Found" } else { "401 Unauthorized" };
        users.extend(user.filter(|u| !u.is_empty()));
        let _ = write!(stream, "HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

/// The same files, read by skopeo itself: it sends what was explained.
#[test]
fn skopeo_agrees() {
    let Some(skopeo) = need("skopeo") else { return };
    const RUN: &str = "/run/user/0/containers/auth.json";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let at = |path: &str| format!("{address}{path}");
    let raw = |entry: &str| format!("{{\"auths\":{{\"{address}\":{entry}}}}}");
    let one = |key: &str, user: &str| auths(&[(key, user)]);
    let cases = [
        vec![],
        vec![(DOCKER, one(&address, "docker"))],
        vec![(DOCKER, one(&format!("https://{address}/v2/"), "alias"))],
        vec![(RUN, one(&address, "run")), (AUTH_JSON, one(&address, "conf")), (DOCKER, one(&address, "docker"))],
        vec![(RUN, one("other.example", "run")), (AUTH_JSON, one(&address, "conf"))],
        vec![(RUN, raw("{}")), (AUTH_JSON, one(&address, "conf"))],
        vec![(RUN, raw(r#"{"auth":"YQ=="}"#)), (AUTH_JSON, one(&address, "conf"))],
        vec![(RUN, raw(r#"{"auth":"!"}"#)), (AUTH_JSON, one(&address, "conf"))],
        vec![(RUN, "{".to_string()), (AUTH_JSON, one(&address, "conf"))],
        vec![(RUN, String::new()), (AUTH_JSON, one(&address, "conf"))],
        vec![(AUTH_JSON, auths(&[(&address, "host"), (&at("/team"), "team"), (&at("/other"), "other")]))],
        vec![(DOCKER, one(&at("/team/x"), "image"))],
        vec![(DOCKER, one(&at("/team/y"), "image"))],
        vec![(DOCKER, format!("{{\"auths\":{{\"{address}\":{}}},\"credsStore\":\"none\"}}", auth("stored")))],
        vec![(DOCKER, format!("{{\"auths\":{{\"{address}\":{},\"z\":{{\"auth\":\"OnA=\"}}}}}}", auth("beside")))],
    ];
    let mut seen = Vec::new();
    for files in &cases {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::new(&[]);
        for (path, content) in files {
            node.add(path, content, 0o600, 0);
            let here = dir.path().join(path.replace("/run/user/0/", "run/").replace("/root/", "home/"));
            fs::create_dir_all(here.parent().unwrap()).unwrap();
            fs::write(here, content).unwrap();
        }
        fs::create_dir_all(dir.path().join("run")).unwrap();
        let mut command = Command::new(&skopeo);
        command.args(["inspect", "--tls-verify=false", &format!("docker://{}:1", at("/team/x"))]).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HOME", dir.path().join("home")).env("XDG_RUNTIME_DIR", dir.path().join("run"));
        let (users, out) = std::thread::scope(|scope| {
            let server = scope.spawn(|| registry(&listener));
            let out = command.output().unwrap();
            write!(TcpStream::connect(&address).unwrap(), "GET /end HTTP/1.1\r\n\r\n").unwrap();
            (server.join().unwrap(), out)
        });
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let got = match users.first() {
            Some(user) => user.clone(),
            None if said.contains("getting username and password") => "fails".to_string(),
            None => "anonymous".to_string(),
        };
        let told = match node.answer("podman", &at("/team/x")).verdict {
            Verdict::Sends { username, .. } => username,
            Verdict::Fails { .. } => "fails".to_string(),
            other => format!("{other:?}").to_lowercase(),
        };
        assert_eq!(told, got, "{files:?}\n{said}");
        seen.push(got);
    }
    let times = |what: &str| seen.iter().filter(|got| *got == what).count();
    assert_eq!((times("fails"), times("anonymous"), times("conf")), (3, 2, 3), "{seen:?}");
}

/// Who logs in is no root: what they may not read is told, and the rest is read.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn without_root() {
    let Some((fleet, site)) = sudo::bed(1, Options::default(), "") else { return };
    site.inventory(&fleet, "user: ops\n    targets: [docker: {user: ops}]", "");
    site.apply(&[]).ended(0, &[]);
    fleet.nodes[0].write("/etc/crio/crio.conf", "[crio.image]\nglobal_auth_file = \"/x\"\n");
    fs::set_permissions(fleet.nodes[0].path("/etc/crio"), fs::Permissions::from_mode(0o755)).unwrap();
    let ran = site.run(&["explain", "inventory.yml", "n0", "nvcr.io", "--as", "ops", "--json"]).ended(0, &[]);
    let doc: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&doc["programs"][0]["username"], &doc["programs"][0]["login"]), (&"$oauthtoken".into(), &"ngc".into()), "{doc}");
    site.run(&["explain", "inventory.yml", "n0", "nvcr.io", "--json"]).ended(0, &["/etc/crio/crio.conf could not be read, and may change this"]);
}

/// Real nodes: what was applied, what shadows it, links, another user; and nothing there changes.
#[test]
#[ignore = "needs sshd and dash"]
fn on_a_real_node() {
    if need("nsenter").is_none() {
        return;
    }
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let site = Site::new(&fleet);
    let node = &fleet.nodes[0];
    site.inventory(&fleet, "targets: [docker, podman, enroot, {singularity: {login: ngc}}]", "  gone: {address: 127.0.0.1, port: 1}\n");
    let text = fs::read_to_string(site.path("inventory.yml")).unwrap().replace("hosts: n[0-0]", "hosts: 'n0,gone'");
    fs::write(site.path("inventory.yml"), text).unwrap();
    site.apply(&["--limit", "n0"]).ended(0, &[]);

    // docker reads what lies behind a link.
    fs::create_dir(node.path("/root/real")).unwrap();
    fs::rename(node.path("/root/.docker/config.json"), node.path("/root/real/config.json")).unwrap();
    symlink("../real/config.json", node.path("/root/.docker/config.json")).unwrap();
    let alice = "/home/alice";
    let passwd = fs::read_to_string(node.path("/etc/passwd")).unwrap() + "alice:x:4711:4711::/home/alice:/bin/sh\n";
    fs::write(node.path("/etc/passwd"), passwd).unwrap();
    node.write("/home/alice/.docker/config.json", auths(&[("nvcr.io", "mine")]));
    node.write("/home/alice/.config/containers/auth.json", auths(&[("nvcr.io", "roots")]));
    for path in ["", "/.docker", "/.docker/config.json"] {
        chown(node.path(&format!("{alice}{path}")), Some(4711), Some(4711)).unwrap();
    }
    fs::set_permissions(node.path(&format!("{alice}/.config/containers")), fs::Permissions::from_mode(0o755)).unwrap();

    let changed = || {
        let mut times = BTreeMap::new();
        for dir in ["/root", "/home", "/etc/regprov", "/etc/profile.d", "/var/lib/regprov", "/tmp"] {
            fleet::walk(&node.path(dir), &mut |path, meta| {
                times.insert(path.to_path_buf(), (meta.ctime(), meta.ctime_nsec()));
            });
        }
        times
    };
    let (before, times) = (node.snapshot(), changed());
    assert!(times.contains_key(&node.path("/root/real/config.json")));
    let json = |flags: &[&str]| {
        let ran = site.run(&[&["explain", "inventory.yml", "n0", "nvcr.io", "--json"], flags].concat()).ended(0, &[]);
        assert!(!ran.all().contains(SECRET) && !ran.all().contains("nvapi-AbC_123"), "{}", ran.all());
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()
    };
    let program = |doc: &serde_json::Value, name: &str| doc["programs"].as_array().unwrap().iter().find(|p| p["program"] == name).unwrap().clone();
    let doc = json(&[]);
    assert_eq!(doc["schema"], "regprov.explain/1");
    for (name, file) in [
        ("docker", "/root/.docker/config.json"),
        ("podman", "/root/.config/containers/auth.json"),
        ("enroot", "/root/.config/enroot/.credentials"),
        ("apptainer", "/etc/regprov/singularity.sh"),
    ] {
        let got = program(&doc, name);
        assert_eq!(
            (&got["verdict"], &got["file"], &got["username"], &got["login"]),
            (&"sends".into(), &file.into(), &"$oauthtoken".into(), &"ngc".into()),
            "{got}"
        );
    }
    assert_eq!(doc, json(&[]), "equal state gives equal answers");

    let doc = json(&["--as", "alice"]);
    let got = program(&doc, "docker");
    assert_eq!((&got["verdict"], &got["username"], got.get("login")), (&"sends".into(), &"mine".into(), None), "{got}");
    assert_eq!(program(&doc, "podman")["reason"], "alice cannot read it (mode 0600, owner 0)");
    assert_eq!(program(&doc, "apptainer")["username"], "mine", "the pair is root's alone, so the home counts");
    assert!(node.snapshot() == before && changed() == times, "nothing was written");

    site.run(&["explain", "inventory.yml", "n0", "nvcr.io", "--as", "mallory"]).ended(3, &["n0 at observe: there is no user `mallory` on the node"]);
    site.run(&["explain", "inventory.yml", "gone", "nvcr.io"]).ended(4, &["gone at connect: connection refused"]);
    site.run(&["explain", "inventory.yml", "nodes", "nvcr.io"]).ended(2, &["explain looks at one"]);

    // A `podman login` of somebody, in a /run of the node's own, that comes first until the next boot.
    // SAFETY: it takes nothing and cannot fail.
    let user = if unsafe { libc::geteuid() } == 0 { &[][..] } else { &["-U", "--preserve-credentials"] };
    let mut own = Command::new("nsenter");
    own.args(["-t", &node.pid.to_string(), "-m"]).args(user).args(["--", "sh", "-euc", "mount -t tmpfs -o mode=755 own /run; mkdir -m 755 /run/sshd"]);
    assert!(own.status().unwrap().success());
    node.write("/run/containers/0/auth.json", auths(&[("nvcr.io", "somebody")]));
    site.run(&["explain", "inventory.yml", "n0", "nvcr.io"])
        .ended(0, &["sends somebody, entry nvcr.io of /run/containers/0/auth.json: no login of this inventory for it", "entry nvcr.io: not reached"]);
}
