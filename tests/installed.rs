//! The written files before the programs that read them: the installed curl, awk, grep, sh and tcsh.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use regprov::format::{Merge, MergeOptions, NodeFacts, consumer};
use regprov::model::mirror::{Mirror, Runtime};
use regprov::model::{CurlVersion, Login, Registry, RemotePath, Secret, Target, TargetKind, Username};

/// Usernames and passwords that have gone wrong somewhere.
const LOGINS: [(&str, &str); 34] = [
    ("$oauthtoken", "nvapi-AbC_123"),
    ("robot$test_library+gpu_default", "pa$$w0rd"),
    ("u", "$HOME"),
    ("$u", "$HOME"),
    ("u", "$(echo evaluated)"),
    ("u", "$(echo${IFS}evaluated)"),
    ("u", "`id`"),
    ("u", "back\\slash\\n"),
    ("u", "\"lead"),
    ("u", "mid\"quote"),
    ("u", "it's"),
    ("u", "has space"),
    ("u", " trail "),
    ("u", "#hash"),
    ("u", "p%40%s"),
    ("u", "pässwörd€"),
    ("u", "a:b"),
    ("u", "bang!"),
    ("u", "!!"),
    ("u", "\\!x\\\\!"),
    ("CORP\\jdoe", "pw"),
    ("a*b", "$pw"),
    ("a[b]c", "pw"),
    ("a b $c", "$(echo evaluated) x"),
    ("jörg", "pw"),
    ("\"q", "pw"),
    ("#q", "pw"),
    ("^a.b{1}(c)|d+?", "pw"),
    ("u", "tab\there"),
    ("u", "line\nbreak\n\nx"),
    ("u", "cr\rhere"),
    ("u", "\u{1}\u{7f}"),
    ("u", "login"),
    ("login", "password"),
];

const HOST: &str = "r.example.org";

fn login(username: &str, password: &str) -> Login {
    Login {
        name: "one".into(),
        registry: Registry::parse(HOST).unwrap().0,
        username: Username::parse(username).unwrap(),
        password: Secret::new(password.to_string()),
        auth_hosts: Vec::new(),
        expires: None,
    }
}

/// Writes the target's files into `dir`; false when the login is refused there, which the properties hold to its rules.
fn write_files(kind: TargetKind, login: &Login, curl: Option<CurlVersion>, existing: Option<&[u8]>, dir: &Path) -> bool {
    let (row, logins) = (consumer(kind), [login]);
    let target = Target { logins: vec!["one".into()], ..Target::at(kind, RemotePath::parse(row.default_path).unwrap()) };
    if !(row.check)(&target, &logins).is_empty() {
        return false;
    }
    let facts = NodeFacts { curl, ..NodeFacts::default() };
    (row.files)(&target).iter().all(|spec| {
        let m = Merge { target: &target, spec, logins: &logins, existing, facts: &facts, options: MergeOptions::default() };
        (row.merge)(&m).map(|merged| fs::write(dir.join(spec.path.file_name()), &*merged.write.unwrap()).unwrap()).is_ok()
    })
}

fn output(command: &mut Command) -> Vec<u8> {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// The Authorization header of curl's request to a server on the loopback, decoded.
fn sent_by_curl(netrc: &Path) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        while !request.windows(4).any(|w| w == b"\r\n\r\n") {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "curl hung up");
            request.extend_from_slice(&buffer[..n]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    output(
        Command::new("curl")
            .args(["-q", "-sS", "--noproxy", "*", "--max-time", "20", "--resolve"])
            .arg(format!("{HOST}:{port}:127.0.0.1"))
            .arg("--netrc-file")
            .arg(netrc)
            .arg(format!("http://{HOST}:{port}/")),
    );
    let request = peer.join().unwrap();
    let Some(header) = request.lines().find_map(|l| l.strip_prefix("Authorization: Basic ")) else { return "nothing".into() };
    String::from_utf8_lossy(&base64::engine::general_purpose::STANDARD.decode(header).unwrap()).into_owned()
}

/// enroot's three readers, word for word (`src/docker.sh`, `src/common.sh`): infer the user, pass the gate, hand the file
/// to curl through evalnetrc.
fn sent_by_enroot(dir: &Path) -> String {
    let script = r#"
        user=$(awk "/^[[:space:]]*machine[[:space:]]+${registry%:*}[[:space:]]+login[[:space:]]+.+/ { print \$4; exit }" .credentials)
        [ -n "$user" ] || { echo "no user" >&2; exit 1; }
        grep -qs "^machine[[:space:]]\+${registry%:*}[[:space:]]\+login[[:space:]]\+${user}[[:space:]]" .credentials || { echo "no gate" >&2; exit 1; }
        awk '{
            if (NF >= 6 && $6 ~ "^\\$") {
                for(i=1; i<6; i++) printf "%s ", $i
                for(i=1; i<6; i++) sub("^["FS"]*[^"FS"]+["FS"]+", "", $0)
                system("echo "$0)
            } else
                print
        }' .credentials > evaluated
    "#;
    output(Command::new("bash").args(["-c", script]).env("registry", format!("{HOST}:5000")).current_dir(dir));
    sent_by_curl(&dir.join("evaluated"))
}

#[test]
#[ignore = "needs curl, awk, grep and bash"]
fn the_installed_curl_sends_what_enroots_file_means() {
    let banner = String::from_utf8(output(Command::new("curl").arg("--version"))).unwrap();
    let curl = CurlVersion::parse(banner.split_whitespace().nth(1).unwrap()).unwrap();
    let mut written = 0;
    // Lines of others in front, whose quotes, dots and dollar signs must not reach ours.
    let foreign = b"# others\nmachine rxexample.org.example login z password y\nmachine other.example login z password $(echo x)\n\nmachine m.example\nlogin z\npassword \"a b\"\n";
    for (user, password) in LOGINS {
        for existing in [None, Some(&foreign[..])] {
            let dir = tempfile::tempdir().unwrap();
            if !write_files(TargetKind::Enroot, &login(user, password), Some(curl), existing.filter(|_| curl >= CurlVersion(7, 84, 0)), dir.path()) {
                continue;
            }
            assert_eq!(sent_by_enroot(dir.path()), format!("{user}:{password}"), "curl {curl}");
            written += 1;
        }
    }
    assert!(written >= 2 * 20, "curl {curl} was given only {written} files");
}

#[test]
#[ignore = "needs curl, awk, grep and bash"]
fn the_control_without_care_is_executed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".credentials"), format!("machine {HOST} login u password $(echo evaluated)\n")).unwrap();
    assert_eq!(sent_by_enroot(dir.path()), "u:evaluated", "the harness sees an evaluated password");
}

#[test]
#[ignore = "needs dash, bash and tcsh"]
fn the_installed_shells_read_singularitys_files() {
    let mut written = 0;
    for (user, password) in LOGINS {
        let dir = tempfile::tempdir().unwrap();
        if !write_files(TargetKind::Singularity, &login(user, password), None, None, dir.path()) {
            continue;
        }
        written += 1;
        for prefix in ["SINGULARITY", "APPTAINER"] {
            let print = format!("printenv {prefix}_DOCKER_USERNAME; printenv {prefix}_DOCKER_PASSWORD");
            for (shell, flags, source) in [
                ("dash", "-c", ". ./singularity.sh"),
                ("bash", "-c", ". ./singularity.sh"),
                ("dash", "-ac", ". ./singularity.env"),
                ("bash", "-ac", ". ./singularity.env"),
                ("tcsh", "-fc", "source ./singularity.csh"),
            ] {
                let out = output(
                    Command::new(shell)
                        .args([flags, &format!("{source}; {print}")])
                        .env_clear()
                        .env("PATH", "/usr/bin:/bin")
                        .env("LC_ALL", "C.UTF-8")
                        .current_dir(&dir),
                );
                assert_eq!(String::from_utf8_lossy(&out), format!("{user}\n{password}\n"), "{shell} {source}");
            }
        }
    }
    assert!(written >= 25, "only {written} logins were written");
}

/// The stubs source the files where they lie, and are silent where they may not be read.
#[test]
#[ignore = "needs dash, bash and tcsh"]
fn the_stubs_source_the_files() {
    let dir = tempfile::tempdir().unwrap();
    assert!(write_files(TargetKind::Singularity, &login("u", "pw"), None, None, dir.path()));
    for (shell, flags, stub) in
        [("dash", "-c", ". ./regprov-singularity.sh"), ("bash", "-c", ". ./regprov-singularity.sh"), ("tcsh", "-fc", "source ./regprov-singularity.csh")]
    {
        let file = dir.path().join(stub.rsplit('/').next().unwrap());
        let text = fs::read_to_string(&file).unwrap();
        for (folder, want) in [(dir.path().to_str().unwrap(), "pw\n"), ("/nonexistent", "none\n")] {
            fs::write(&file, text.replace("/etc/regprov", folder)).unwrap();
            let print = "printenv SINGULARITY_DOCKER_PASSWORD || echo none";
            let out = output(Command::new(shell).args([flags, &format!("{stub}; {print}")]).env_clear().env("PATH", "/usr/bin:/bin").current_dir(&dir));
            assert_eq!(String::from_utf8_lossy(&out), want, "{shell} {folder}");
        }
        fs::write(&file, text).unwrap();
    }
}

/// What names Apptainer's shared file does so where it may be read, whatever shell reads it, and leaves a user without it alone.
#[test]
#[ignore = "needs dash, bash and tcsh"]
fn the_stubs_of_apptainer_name_the_file_where_it_can_be_read() {
    let (row, login, facts) = (consumer(TargetKind::Apptainer), login("u", "pw"), NodeFacts::default());
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("it!#x~.json");
    let target = Target { logins: vec!["one".into()], ..Target::at(TargetKind::Apptainer, RemotePath::parse(shared.to_str().unwrap()).unwrap()) };
    let mut files = Vec::new();
    for spec in (row.files)(&target) {
        let m = Merge { target: &target, spec: &spec, logins: &[&login], existing: None, facts: &facts, options: MergeOptions::default() };
        let file = dir.path().join(spec.path.file_name());
        fs::write(&file, &*(row.merge)(&m).unwrap().write.unwrap()).unwrap();
        files.push(file);
    }
    assert_eq!(files.len(), 4);
    let told = |there: bool| {
        for (shell, flags, source) in [
            ("dash", "-c", ". ./regprov-apptainer.sh"),
            ("bash", "-c", ". ./regprov-apptainer.sh"),
            ("tcsh", "-fc", "source ./regprov-apptainer.csh"),
            ("dash", "-ac", ". ./apptainer.env"),
        ] {
            let print = "printenv APPTAINER_AUTH_FILE; printenv SINGULARITY_AUTHFILE; true";
            let out = output(Command::new(shell).args([flags, &format!("{source}; {print}")]).env_clear().env("PATH", "/usr/bin:/bin").current_dir(dir.path()));
            // systemd reads the environment file without asking for anything.
            let want = if there || source.ends_with(".env") { format!("{0}\n{0}\n", shared.display()) } else { String::new() };
            assert_eq!(String::from_utf8_lossy(&out), want, "{shell} {source}");
        }
    };
    told(true);
    fs::remove_file(&shared).unwrap();
    told(false);
}

/// skopeo asks the mirror first, below its path, and then Docker Hub itself, as our file for podman says.
#[test]
#[ignore = "needs skopeo"]
fn skopeo_asks_the_mirror_of_docker_hub() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut mirror = Mirror::parse(&format!("http://127.0.0.1:{port}/base"), Registry::parse("docker.io").unwrap().0).unwrap();
    mirror.runtimes = vec![Runtime::Podman];
    let target = Target { mirror: Some(mirror), ..Target::at(TargetKind::DockerMirror, RemotePath::parse("/x").unwrap()) };
    let row = consumer(target.kind);
    let spec = (row.files)(&target).swap_remove(0);
    let facts = NodeFacts::default();
    let m = Merge { target: &target, spec: &spec, logins: &[], existing: None, facts: &facts, options: MergeOptions::default() };
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("registries.conf");
    fs::write(&conf, &*(row.merge)(&m).unwrap().write.unwrap()).unwrap();

    // Answers every request and notes its first line, until a word of ours comes; what is no HTTP is a try with TLS.
    let (asked, said) = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut asked = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0u8; 4096];
                let n = stream.read(&mut head).unwrap_or(0);
                let line = String::from_utf8_lossy(&head[..n]).lines().next().unwrap_or_default().to_string();
                if line == "end" {
                    return asked;
                }
                let status = if line.starts_with("GET /v2/ ") { "200 OK" } else { "404 Not Found" };
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
                asked.push(line);
            }
        });
        // A proxy that refuses keeps it from the real Docker Hub.
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--debug", "--registries-conf"]).arg(&conf).args(["inspect", "docker://docker.io/library/alpine:3"]);
        skopeo.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", dir.path()).env("XDG_RUNTIME_DIR", dir.path());
        let out = skopeo.env("HTTPS_PROXY", "http://127.0.0.1:1").output().unwrap();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b"end\n").unwrap();
        (server.join().unwrap(), String::from_utf8_lossy(&out.stderr).into_owned())
    });
    assert!(asked.iter().any(|l| l.starts_with("GET /v2/base/library/alpine/manifests/3 ")), "{asked:?}\n{said}");
    assert!(said.contains("Trying to access \\\"docker.io/library/alpine:3\\\""), "{said}");
}
