//! Files as a hostile node, or a hostile user there, would leave them: each within the 1 MiB that is read of a file, and each made to cost more
//! than it weighs. What is read on this machine may neither end the program (a panic, a stack that runs over) nor keep it busy, since nothing can
//! interrupt it there and other hosts wait for their turn.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use regprov::format::{Merge, MergeOptions, NodeFacts, Removal, consumer};
use regprov::model::mirror::Mirror;
use regprov::model::{Login, Registry, RemotePath, Secret, Target, TargetKind, Username};

/// What is read of one file: the node program looks at none that is larger.
const FILE_BYTES: usize = 1 << 20;
/// One file through all that is done with it, in a build without optimisation on a busy machine; most take a tenth of it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A file of just below [`FILE_BYTES`], or this part of it: a start, as many numbered pieces as fit, an end.
fn filled_to(bytes: usize, start: &str, piece: impl Fn(usize) -> String, end: &str) -> String {
    let mut out = start.to_string();
    for i in 0.. {
        let next = piece(i);
        if out.len() + next.len() + end.len() > bytes {
            break;
        }
        out += &next;
    }
    out + end
}

/// Files by what is wrong with them.
fn files(bytes: usize) -> Vec<(&'static str, String)> {
    let filled = |start: &str, piece: &dyn Fn(usize) -> String, end: &str| filled_to(bytes, start, piece, end);
    let same = |start: &str, piece: &str, end: &str| filled_to(bytes, start, |_| piece.to_string(), end);
    vec![
        ("keys of a JSON object", filled("{\"a\":0", &|i| format!(",\"{i:x}\":0"), "}")),
        ("entries of auths", filled("{\"auths\":{\"a\":{}", &|i| format!(",\"{i:x}\":{{}}"), "}}")),
        ("other names of a registry", filled("{\"auths\":{\"a\":{}", &|i| format!(",\"https://r.example.org/{i:x}\":{{}}"), "}}")),
        ("fields of an entry", filled("{\"auths\":{\"r.example.org\":{\"a\":0", &|i| format!(",\"{i:x}\":0"), "}}}")),
        ("helpers", filled("{\"credHelpers\":{\"a\":\"\"", &|i| format!(",\"{i:x}\":\"\""), "}}")),
        ("mirrors", filled("{\"registry-mirrors\":[\"a\"", &|i| format!(",\"{i:x}\""), "]}")),
        ("brackets of JSON", same("{\"auths\":", "[", "")),
        ("braces of JSON", same("", "{\"a\":", "")),
        ("machines", filled("", &|i| format!("machine {i:x}\n"), "")),
        ("machines on one line", filled("", &|i| format!("machine {i:x} "), "")),
        ("whole machines", filled("", &|i| format!("machine {i:x} login a password b\n"), "")),
        ("macros", same("machine a\n", "macdef x\n\n", "")),
        ("an open macro", same("macdef x\n", "\n\r\r", "")),
        ("quotes", same("machine a login ", "\"", "")),
        ("backslashes", same("machine a login \"", "\\", "")),
        ("configs", filled("configs:\n", &|i| format!("  k{i:x}: {{auth: {{username: a}}}}\n"), "")),
        ("keys of YAML", filled("", &|i| format!("k{i:x}: 1\n"), "")),
        ("keys of a flow map", filled("{", &|i| format!("k{i:x}: 1, "), "}")),
        ("brackets of YAML", same("a: ", "[", "")),
        ("dashes", same("", "- ", "a")),
        ("question marks", same("", "? ", "a")),
        ("anchors", filled("", &|i| format!("- &a{i:x} b\n"), "")),
        ("aliases", filled("- &a b\n", &|_| "- *a\n".into(), "")),
        ("tags", same("a: ", "!a ", "")),
        ("a long key", same("", "a", ": b")),
        ("a long quoted text", same("a: \"", "\\n", "\"")),
        ("a quote that stays open", same("a: \"", "a\n", "")),
        ("empty lines", same("a: |\n", "\n", "")),
        ("deepening lines", filled("", &|i| format!("{}a:\n", " ".repeat(i % 1400)), "")),
        ("commas", same("{", ",", "}")),
        ("carriage returns", same("a: b", "\r", "")),
        ("tables", filled("version = 2\n", &|i| format!("[a{i:x}]\n"), "")),
        ("deep tables", same("version = 2\n[a", ".a", "]")),
        ("deep keys", same("version = 2\na", ".a", " = 1")),
        ("brackets of TOML", same("version = 2\na = ", "[", "")),
        ("braces of TOML", same("version = 2\na = ", "{a = ", "")),
        ("lists of tables", same("version = 2\n", "[[a]]\n", "")),
        ("stars in an import", same("version = 2\nimports = [\"/etc/containerd/conf.d/", "*", "x\"]\n")),
        ("stars between letters in an import", same("version = 2\nimports = [\"/etc/containerd/conf.d/", "*o", "x\"]\n")),
        ("some stars in an import", format!("version = 2\nimports = [\"/etc/containerd/conf.d/{}x\"]\n", "*".repeat(64))),
        ("slashes in an import", same("version = 2\nimports = [\"/etc/containerd", "/", "x\"]\n")),
        ("imports", same("version = 2\nimports = [", "\"*\",", "]\n")),
        (
            "logins of a drop-in",
            filled(
                "version = 2\n",
                &|i| format!("[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a{i:x}\".auth]\nusername = \"\"\npassword = \"\"\n"),
                "",
            ),
        ),
        ("assignments", filled("", &|i| format!("export A{i:x}='a'\n"), "")),
        ("letters of two bytes", same("", "é", "")),
        ("half a letter", same("a: ", "é\u{85}\u{2028}", "")),
    ]
}

fn login() -> Login {
    Login {
        name: "one".into(),
        registry: Registry::parse("r.example.org").unwrap().0,
        username: Username::parse("u").unwrap(),
        password: Secret::new("p".to_string()),
        auth_hosts: Vec::new(),
        expires: None,
    }
}

/// All that is done with a file that is there: merged, read back, listed, cleaned; and the same where the node's configuration is that file.
fn handle(kind: TargetKind, content: &str) {
    let row = consumer(kind);
    let (login, path) = (login(), RemotePath::parse(row.default_path).unwrap());
    let mirror = (kind == TargetKind::DockerMirror).then(|| Mirror::parse("https://m.example.org", Registry::parse("docker.io").unwrap().0).unwrap());
    let target = Target { logins: vec!["one".into()], mirror, ..Target::at(kind, path) };
    let logins: &[&Login] = if row.logins { &[&login] } else { &[] };
    let wants = (row.wants)(&target, logins).conf;
    let gone: Vec<String> = (row.keys)(&login.registry, &[]);
    for conf in [Vec::new(), wants.iter().map(|p| (p.replace('*', "zz"), content.as_bytes().to_vec().into())).collect()] {
        let facts = NodeFacts { conf, ..NodeFacts::default() };
        for spec in (row.files)(&target) {
            let merge = |existing| {
                for replace_invalid in [false, true] {
                    let options = MergeOptions { replace_invalid, ..MergeOptions::default() };
                    let m = Merge { target: &target, spec: &spec, logins, existing, facts: &facts, options };
                    if let Ok(written) = (row.merge)(&m).map(|merged| merged.write) {
                        let _ = (row.read_back)(&m, written.as_deref().map_or(content.as_bytes(), Vec::as_slice));
                    }
                }
            };
            merge(Some(content.as_bytes()));
            merge(None);
            let _ = (row.entries)(&spec, content.as_bytes(), &facts);
            let _ = (row.remove)(&Removal { spec: &spec, existing: content.as_bytes(), gone: &gone, facts: &facts });
        }
    }
}

#[track_caller]
fn check(kinds: &[TargetKind], bytes: usize) {
    let mut slow = Vec::new();
    for (what, content) in files(bytes) {
        assert!(content.len() <= FILE_BYTES, "{what}");
        for kind in kinds.iter().copied() {
            let (done, ended) = mpsc::channel();
            let text = content.clone();
            thread::spawn(move || {
                handle(kind, &text);
                let _ = done.send(());
            });
            match ended.recv_timeout(DEADLINE) {
                Ok(()) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => slow.push(format!("{kind} is kept busy by {what}")),
                Err(mpsc::RecvTimeoutError::Disconnected) => slow.push(format!("{kind} panics over {what}")),
            }
        }
    }
    assert_eq!(slow, Vec::<String>::new());
}

#[test]
fn json_of_a_hostile_node_costs_what_it_weighs() {
    use TargetKind::{Apptainer, Crio, Docker, DockerMirror, Helm, Kubelet, Podman};
    check(&[Docker, Podman, Apptainer, Helm, Kubelet, Crio, DockerMirror], FILE_BYTES);
}

#[test]
fn lines_of_a_hostile_node_cost_what_they_weigh() {
    // A square of a quarter takes minutes as well.
    check(&[TargetKind::Enroot, TargetKind::Singularity], FILE_BYTES / 4);
}

#[test]
fn yaml_and_toml_of_a_hostile_node_cost_what_they_weigh() {
    check(&[TargetKind::K3s, TargetKind::Rke2, TargetKind::Containerd], FILE_BYTES / 4);
}
