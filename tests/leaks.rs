//! A planted password is looked for everywhere but where it belongs: in all output, in argv and environ of every process of
//! this machine and of the nodes, in every file on the nodes and beside the controller. The same search finds a program that
//! leaks on purpose.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/needles.rs"]
mod needles;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/tool_registry.rs"]
mod tool_registry;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use fleet::{Fleet, Options, Ran, Site, signal, wait_until};
use needles::{Needles, files_with, polled};
use peers::need;

/// Special for JSON, URLs, shells, netrc and YAML, with a stretch that no form of writing changes.
const PASSWORD: &str = "a\"b\\c'd$(e) %/é#plantedSecret7391";
const STRETCH: &str = "plantedSecret7391";
/// Where the password belongs, on each node.
const TARGETS: [&str; 5] = [
    "root/.docker/config.json",
    "root/.config/enroot/.credentials",
    "etc/regprov/singularity.sh",
    "etc/regprov/singularity.csh",
    "etc/regprov/singularity.env",
];

fn planted() -> Needles {
    Needles::of(PASSWORD, STRETCH)
}

/// All of a node's own trees.
fn node_files_with(needles: &Needles, node: &fleet::Node) -> BTreeSet<String> {
    let trees = ["root", "home", "tmp", "var/tmp", "var/lib/regprov", "etc"];
    trees.iter().flat_map(|tree| files_with(needles, &node.path(&format!("/{tree}"))).into_iter().map(move |f| format!("{tree}/{f}"))).collect()
}

fn bed(nodes: usize, shells: &str) -> Option<(Fleet, Site)> {
    let fleet = Fleet::start(nodes, Options { shells, ..Options::default() })?;
    let site = Site::new(&fleet);
    site.vault("vault.yml", &[("hub", "docker.io", "acme", PASSWORD), ("ngc", "nvcr.io", "$oauthtoken", PASSWORD)]);
    // Whatever the installed curl is, this one reads every form.
    let text = fs::read_to_string(site.path("inventory.yml")).unwrap();
    fs::write(site.path("inventory.yml"), text.replace("defaults: {", "defaults: {curl: \"8.5\", ")).unwrap();
    Some((fleet, site))
}

#[test]
fn every_form_is_found() {
    let needles = planted();
    assert_eq!(needles.find(b"nothing of the kind"), None);
    for user in ["", "u", "us", "user:"] {
        let text = format!("{{\"auth\": \"{}\"}}", STANDARD_NO_PAD.encode(format!("{user}{PASSWORD}~more")));
        assert!(needles.find(text.as_bytes()).is_some_and(|form| form.starts_with("base64")), "{user}");
    }
    for (name, form) in &needles.forms {
        assert!(form.len() >= 12, "{name} is too short to mean anything");
        assert!(needles.find(&[b"<", &form[..], b">"].concat()).is_some(), "{name}");
    }
}

/// The positive control: a child that leaks in all four places is found in all four. Its password is another one, since other
/// tests look at all processes meanwhile.
#[test]
fn a_program_that_leaks_on_purpose_is_found() {
    const CONTROL: &str = "a\"b\\c'd$(e) %/é#controlSecret5502";
    let needles = Needles::of(CONTROL, "controlSecret5502");
    let dir = tempfile::tempdir().unwrap();
    let script = "printf '%s\\n' \"$LEAK\"; printf %s \"$1\" >leaked; sleep 0.5";
    let (out, polled) = polled(&needles, || {
        Command::new("sh").args(["-c", script, "leaker", CONTROL]).env("LEAK", CONTROL).current_dir(&dir).stdout(Stdio::piped()).output().unwrap()
    });
    assert!(needles.find(&out.stdout).is_some(), "stdout");
    for part in ["cmdline of sh", "environ of sh", "environ of sleep"] {
        assert!(polled.leaks.iter().any(|l| l.starts_with(part)), "{part}: {:?}", polled.leaks);
    }
    assert_eq!(files_with(&needles, dir.path()), ["leaked".to_string()].into());
}

/// Tasks are given the password too: a credential helper, and curl for the pull test.
#[test]
#[ignore = "needs sshd, dash, curl and nsenter"]
fn tasks_show_the_password_to_nobody() {
    let (Some(nsenter), Some(_)) = (need("nsenter"), need("curl")) else { return };
    let needles = planted();
    let Some((fleet, site)) = bed(2, "dash bash") else { return };
    let registry = tool_registry::Registry::start("acme", PASSWORD);
    site.vault("vault.yml", &[("hub", "docker.io", "acme", PASSWORD), ("ngc", &registry.name(), "acme", PASSWORD)]);
    site.inventory(&fleet, "syslog: true\n    targets: [{docker: {helper: store}}]", "");
    // It keeps what it is given for a moment, so that the poll sees it at work, and forgets it in the end.
    let helper = "#!/bin/sh\nsleep 0.3\ncase $1 in store) cat >\"$HOME/kept\" ;; get) cat \"$HOME/kept\" 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;; esac\n";
    for node in &fleet.nodes {
        let mounted = Command::new(&nsenter).args(["-t", &node.pid.to_string(), "-m", "mount", "-t", "tmpfs", "ours", "/usr/local/sbin"]).status().unwrap();
        assert!(mounted.success());
        for (name, script) in [("docker-credential-slow", helper), ("logger", "#!/bin/sh\ncat >>/var/tmp/log\n")] {
            let path = format!("/usr/local/sbin/{name}");
            node.write(&path, script);
            fs::set_permissions(node.path(&path), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
    }
    let image = format!("{}/acme/tool", registry.name());
    let ((), polled) = polled(&needles, || {
        for (i, flags) in [&["-vvv", "--diff"][..], &["-vvv", "--json"], &[]].into_iter().enumerate() {
            for node in &fleet.nodes {
                let server = registry.name();
                node.write("/root/.docker/config.json", format!(r#"{{"credHelpers":{{"{server}":"slow"}}}}"#));
                let _ = fs::remove_file(node.path("/root/kept"));
            }
            let log = if i == 0 { "trace" } else { "" };
            let args = [&["apply", "inventory.yml", "--pull-test", &image], flags].concat();
            let ran = Ran::from(site.command(&args).env("RUST_LOG", log).output().unwrap());
            needles.not_in(ran.all(), &format!("{args:?}"));
            assert_eq!(ran.code, Some(0), "{}", ran.all());
            for node in &fleet.nodes {
                assert_eq!(node_files_with(&needles, node), ["root/.docker/config.json".to_string(), "root/kept".to_string()].into());
            }
        }
    });
    assert_eq!(registry.users().len(), 6);
    assert!(polled.leaks.is_empty(), "{:?}", polled.leaks);
    for program in ["regprov", "the node program", "docker-credenti", "curl"] {
        assert!(polled.programs.contains(program), "no {program} was looked at: {:?}", polled.programs);
    }
}

#[test]
#[ignore = "needs sshd and dash"]
fn the_password_is_nowhere_but_in_its_files() {
    let needles = planted();
    let Some((fleet, site)) = bed(3, "dash") else { return };
    let run = |flags: &[&str], rust_log: &str, code: i32| {
        let what = format!("apply {flags:?} with RUST_LOG={rust_log}");
        let ran = Ran::from(site.command(&[&["apply", "inventory.yml"], flags].concat()).env("RUST_LOG", rust_log).output().unwrap());
        needles.not_in(ran.all(), &what);
        assert_eq!(ran.code, Some(code), "{what}: {}", ran.all());
        ran
    };
    let wrong = r#"{"auths": {"docker.io": {"auth": "b2xk"}}, "broken": "#;
    let ((), polled) = polled(&needles, || {
        // Every verbosity, over a first run each time, and every form of the report.
        for (i, flags) in
            [&[][..], &["-v"], &["-vv"], &["-vvv"], &["-vvv", "--json"], &["-vvv", "--diff"], &["-vvv", "--json", "--diff"]].into_iter().enumerate()
        {
            for node in &fleet.nodes {
                for target in TARGETS {
                    let _ = fs::remove_file(node.path(&format!("/{target}")));
                }
            }
            let log = if i % 2 == 0 { "trace" } else { "" };
            run(&[flags, &["--check"]].concat(), log, 0);
            run(flags, log, 0);
            run(flags, "regprov=trace,russh=trace", 0);
        }
        // A file of ours that was tampered with: the diff is near the old and the new password.
        let tampered = fleet.nodes[0].read("/root/.docker/config.json").unwrap();
        fleet.nodes[0].write("/root/.docker/config.json", String::from_utf8(tampered).unwrap().replace("\"auth\"", "\"password\": \"old\", \"auth\""));
        run(&["-vvv", "--diff", "--check"], "trace", 0);
        run(&["-vvv", "--diff"], "trace", 0);
        // Failures: a file that cannot be read and that holds the password, a full disk, a directory that is none, a wrong host key.
        fleet.nodes[0].write("/root/.docker/config.json", format!("{wrong}{}", serde_json::to_string(PASSWORD).unwrap()));
        fleet.nodes[1].write("/root/.config/enroot/.credentials", format!("machine nvcr.io login x password \"{STRETCH}\nmachine"));
        run(&["-vvv", "--diff", "--json"], "trace", 3);
        run(&["-vvv", "--diff", "--check"], "trace", 3);
        fs::remove_file(fleet.nodes[0].path("/root/.docker/config.json")).unwrap();
        fs::remove_file(fleet.nodes[1].path("/root/.config/enroot/.credentials")).unwrap();
        let known = fs::read_to_string(site.path("home/.ssh/known_hosts")).unwrap();
        site.known_hosts("");
        run(&["-vvv"], "trace", 4);
        site.known_hosts(&known);
        run(&["-vvv"], "trace", 0);
    });
    assert!(polled.leaks.is_empty(), "{:?}", polled.leaks);
    for program in ["regprov", "sshd", "the node program"] {
        assert!(polled.programs.contains(program), "no {program} was looked at: {:?}", polled.programs);
    }

    for node in &fleet.nodes {
        let targets: BTreeSet<String> = TARGETS.map(String::from).into();
        assert_eq!(node_files_with(&needles, node), targets, "the targets, and no other file");
    }
    assert_eq!(files_with(&needles, site.dir.path()), BTreeSet::new(), "beside the controller");
}

#[test]
fn refusals_of_the_input_do_not_quote_the_password() {
    let needles = planted();
    let dir = tempfile::tempdir().unwrap();
    let quoted = serde_json::to_string(PASSWORD).unwrap();
    let login =
        |more: &str| format!("version: 1\ngroups: {{g: {{hosts: [n], logins: [hub]}}}}\nlogins:\n  hub:\n    registry: docker.io\n    username: acme\n{more}");
    for (name, text, flags) in [
        ("in the clear", login(&format!("    password: {quoted}\n")), &[][..]),
        ("in the clear twice", login(&format!("    password: {quoted}\n    password: {quoted}\n")), &["--allow-plaintext"]),
        ("under a key that is none", login(&format!("    pasword: {quoted}\n")), &["--allow-plaintext"]),
        ("as a key", login(&format!("    {quoted}: x\n")), &["--allow-plaintext"]),
        ("in a list", login(&format!("    password: [{quoted}]\n")), &["--allow-plaintext"]),
        ("behind a slip", login(&format!("    password: {quoted}\n   bad: [\n")), &["--allow-plaintext"]),
        ("as a bad seal", login(&format!("    password: |\n      -----BEGIN AGE ENCRYPTED FILE-----\n      {STRETCH}\n")), &[]),
        ("in its place", login(&format!("    password: {quoted}\n")), &["--allow-plaintext", "--ssh-key", "missing"]),
    ] {
        fs::write(dir.path().join("i.yml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(["-vvv", "apply", "i.yml"]).args(flags).current_dir(&dir).env_clear().env("RUST_LOG", "trace").env("HOME", dir.path());
        let ran = Ran::from(command.output().unwrap());
        assert!(matches!(ran.code, Some(2 | 5)), "{name}: {}", ran.all());
        needles.not_in(ran.all(), name);
    }
}

/// The controller dies at different moments of its run: only the targets hold the password afterwards.
#[test]
#[ignore = "needs sshd and dash"]
fn a_killed_controller_leaves_no_password() {
    let needles = planted();
    let Some((fleet, site)) = bed(3, "dash") else { return };
    for delay in [40, 80, 120, 160, 200, 240, 280, 320] {
        for node in &fleet.nodes {
            for target in TARGETS {
                let _ = fs::remove_file(node.path(&format!("/{target}")));
            }
        }
        let (mut run, polled) = polled(&needles, || {
            let run = site.command(&["apply", "inventory.yml"]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            signal(&run, libc::SIGKILL);
            run
        });
        assert!(polled.leaks.is_empty(), "{:?}", polled.leaks);
        run.wait().unwrap();
        wait_until("the nodes' programs end", || fleet.nodes.iter().all(|n| n.processes().is_empty()));
        for node in &fleet.nodes {
            let found = node_files_with(&needles, node);
            assert!(found.iter().all(|f| TARGETS.contains(&f.as_str())), "{found:?}");
            assert!(node.staged().is_empty());
        }
        assert_eq!(files_with(&needles, site.dir.path()), BTreeSet::new(), "beside the controller");
    }
}

/// The order of system calls on the node: a staged file is made exclusively in a directory of ours that nobody else can enter,
/// without permissions for others, filled, brought to disk, renamed, and then its directory is brought to disk.
#[test]
#[ignore = "needs sshd, dash and strace"]
fn the_nodes_system_calls_come_in_order() {
    let needles = planted();
    let Some(_) = need("strace") else { return };
    let Some((fleet, site)) = bed(1, "traced") else { return };
    site.apply(&[]).ended(0, &["changed: n0"]);
    let trace = fs::read_to_string(fleet.nodes[0].path("/etc/fleet/trace")).unwrap();
    let lines = calls(&trace);
    for line in lines.iter().filter(|l| !l.contains(" write(")) {
        needles.not_in(line, &format!("a system call: {}", line.split('(').next().unwrap()));
    }
    assert!(lines.iter().any(|l| l.contains(" write(") && l.contains(STRETCH)), "the control: what is written is seen");

    for file in TARGETS.into_iter().chain(["var/lib/regprov/owned.json", "etc/profile.d/regprov-singularity.sh"]) {
        let (dir, name) = file.rsplit_once('/').unwrap();
        // tar names its paths relative to /.
        let staging = format!("{dir}/.regprov.");
        let made = next(&lines, 0, "makes the directory", |l| l.contains(" mkdir") && l.contains(&staging) && l.contains("\", 0700) = 0"));
        let staged = |l: &str| l.contains(&staging) && l.contains(&format!("/{name}\""));
        let created = next(&lines, made, "makes the file", |l| l.contains(" open") && staged(l) && l.contains("O_CREAT|O_EXCL"));
        assert!(lines[created].contains(", 0600) = ") || !TARGETS.contains(&file), "{}", lines[created]);
        let (pid, fd) = opened(&lines[created]);
        let written = next(&lines, created, "fills it", |l| l.starts_with(pid) && l.contains(&format!(" write({fd}, ")));
        let reopened = next(&lines, written, "opens it to sync", |l| l.contains(" open") && staged(l) && l.contains("O_RDONLY|O_NONBLOCK"));
        let (pid, fd) = opened(&lines[reopened]);
        let synced = next(&lines, reopened, "syncs it", |l| l.starts_with(pid) && l.contains(&format!(" fsync({fd})")) && l.ends_with("= 0"));
        let renamed = next(&lines, synced, "renames it", |l| l.contains(" rename") && staged(l) && l.ends_with("= 0"));
        assert!(
            !lines[..renamed].iter().any(|l| l.contains(&format!("\"/{file}\"")) && (l.contains("O_WRONLY") || l.contains("O_RDWR"))),
            "the file itself is never written"
        );
        let folder = next(&lines, renamed, "opens the directory to sync", |l| l.contains(" open") && l.contains(&format!("\"/{dir}\"")));
        let (pid, fd) = opened(&lines[folder]);
        next(&lines, folder, "syncs the directory", |l| l.starts_with(pid) && l.contains(&format!(" fsync({fd})")) && l.ends_with("= 0"));
    }
    let first_rename = next(&lines, 0, "renames", |l| l.contains(" rename") && l.contains("/.regprov."));
    let last_write = lines.iter().rposition(|l| l.contains(" write(") && l.contains(STRETCH) && !l.contains(" write(1, ")).unwrap();
    assert!(last_write < first_rename, "nothing is replaced before everything is there");
}

/// The first line after `from` that does this.
#[track_caller]
fn next(lines: &[String], from: usize, what: &str, does: impl Fn(&str) -> bool) -> usize {
    let found = lines[from..].iter().position(|l| does(l)).map(|i| from + i);
    found.unwrap_or_else(|| panic!("after `{}` nobody {what}", lines[from].chars().take(200).collect::<String>()))
}

/// The process of a successful open, as its line starts, and the descriptor.
fn opened(line: &str) -> (&str, &str) {
    (&line[..=line.find(' ').unwrap()], line.rsplit_once("= ").unwrap().1)
}

/// The lines of a trace, each call in the place where it ended: strace splits those that others run beside.
fn calls(trace: &str) -> Vec<String> {
    let mut begun = std::collections::BTreeMap::new();
    let mut lines = Vec::new();
    for line in trace.lines() {
        let (pid, call) = line.split_once(' ').unwrap();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, start);
        } else if let Some((_, end)) = call.trim_start().strip_prefix("<... ").and_then(|c| c.split_once(" resumed>")) {
            lines.push(format!("{pid} {}{end}", begun.remove(pid).unwrap_or_default()));
        } else {
            lines.push(line.to_string());
        }
    }
    lines
}
