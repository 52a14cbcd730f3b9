//! sudo, su and a user's own files on real sshd nodes with the real sudo: each way in, each refusal, and that no password
//! goes where it should not.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/sudo.rs"]
mod sudo;

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use fleet::{Options, Ran, signal, wait_until};
use peers::need;
use regprov::node::run_as::BOOTSTRAP;
use sudo::{SUDO_PASSWORD, WRITTEN, bed, failures, log, rules, seal, sh, written};

/// The command of regprov as sudoers writes it: what it reads specially stands behind a backslash.
fn escaped() -> String {
    BOOTSTRAP.chars().flat_map(|c| if matches!(c, ',' | ':' | '=' | '\\') { vec!['\\', c] } else { vec![c] }).collect()
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn with_a_password_from_the_vault_once_and_then_unchanged() {
    let Some((fleet, site)) = bed(2, Options::default(), "ops ALL=(root) ALL") else { return };
    seal(&site, SUDO_PASSWORD);
    site.apply(&[]).ended(0, &["changed: n[0-1]"]);
    assert!(fleet.nodes.iter().all(written));
    let meta = std::fs::metadata(fleet.nodes[0].path("/root/.docker/config.json")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o600));
    let before = fleet.nodes[0].snapshot();
    site.apply(&[]).ended(0, &["unchanged: n[0-1]"]);
    assert!(before == fleet.nodes[0].snapshot());
    assert!(fleet.nodes.iter().all(|n| failures(n) == 0));
    for node in &fleet.nodes {
        wait_until("nothing runs on", || node.processes().is_empty());
    }
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_wrong_password_is_tried_once_on_one_host() {
    let Some((fleet, site)) = bed(8, Options::default(), "ops ALL=(root) ALL") else { return };
    seal(&site, "wrong");
    site.apply(&["--forks", "4"]).ended(7, &["sudo did not take the password", "the sudo password was refused on n", "not attempted"]);
    wait_until("sudo has logged it", || fleet.nodes.iter().any(|n| failures(n) > 0));
    for node in &fleet.nodes {
        wait_until("nothing runs on", || node.processes().is_empty());
    }
    let logs: Vec<String> = fleet.nodes.iter().map(log).filter(|l| l.contains("incorrect password")).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_eq!(logs[0].matches("1 incorrect password attempt").count(), 1, "{}", logs[0]);
    assert!(!fleet.nodes.iter().any(written));
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn what_stands_in_the_way_is_explained() {
    let Some((fleet, site)) = bed(1, Options::default(), "") else { return };
    let node = &fleet.nodes[0];
    let refused = |rule: &str, password: bool, words: &[&str]| {
        rules(node, rule);
        if password {
            seal(&site, SUDO_PASSWORD);
        } else {
            site.vault("vault.yml", &fleet::PASSWORDS);
        }
        let started = Instant::now();
        site.apply(&[]).ended(3, words);
        assert!(started.elapsed() < Duration::from_secs(15));
        assert!(!written(node), "{rule}");
    };
    refused("", true, &["not in sudoers"]);
    refused("ops ALL=(root) /bin/true", true, &["does not allow the SSH user the command"]);
    refused("ops ALL=(root) ALL", false, &["wants a password", "-K"]);
    refused("Defaults requiretty\nops ALL=(root) NOPASSWD: ALL", false, &["requiretty", "Defaults:USER !requiretty"]);
    refused("Defaults log_input\nops ALL=(root) NOPASSWD: ALL", false, &["log_input", "nothing was sent"]);
    refused("Defaults log_output\nops ALL=(root) NOPASSWD: ALL", false, &["passes the output", "nothing was sent"]);
    // The exemption that the message names, and the run that shows that it is the recording that was seen.
    rules(node, "Defaults log_input, log_output\nDefaults!/bin/sh !log_input, !log_output\nops ALL=(root) NOPASSWD: ALL");
    site.apply(&[]).ended(0, &["changed: n0"]);
    assert!(written(node));
}

/// Whatever sudo recorded of the refused runs, there is nothing of a login in it; a run through the same recording shows that it
/// would be found.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn nothing_secret_reaches_a_recording_sudo() {
    let Some((fleet, site)) =
        bed(1, Options::default(), "Defaults log_input, log_output\nDefaults iolog_dir=/etc/fleet/io\nDefaults !compress_io\nops ALL=(root) NOPASSWD: ALL")
    else {
        return;
    };
    let node = &fleet.nodes[0];
    site.apply(&[]).ended(3, &["nothing was sent"]);
    let recorded = || sh(node, "cat $(find /etc/fleet/io -type f) 2>/dev/null || :");
    assert!(recorded().contains("regprov"), "something was recorded: {}", recorded());
    for (_, _, _, password) in fleet::PASSWORDS {
        assert!(!recorded().contains(password));
        assert!(!recorded().contains(&base64(password)));
    }
    sh(node, &format!("echo {} | setpriv --reuid ops --regid ops --clear-groups sudo -n -u root -- /bin/cat", fleet::PASSWORDS[0].3));
    assert!(recorded().contains(fleet::PASSWORDS[0].3), "the control");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(text)
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn with_a_pty_of_its_own_and_without() {
    let Some((fleet, site)) = bed(1, Options::default(), "") else { return };
    seal(&site, SUDO_PASSWORD);
    for rule in
        ["Defaults use_pty", "Defaults !use_pty", "Defaults lecture=always", "Defaults use_pty, lecture=always", "Defaults insults", "Defaults passwd_tries=1"]
    {
        rules(&fleet.nodes[0], &format!("{rule}\nops ALL=(root) ALL"));
        sh(&fleet.nodes[0], "rm -rf /root/.docker");
        site.apply(&[]).ended(0, &["changed: n0"]);
        assert!(written(&fleet.nodes[0]), "{rule}");
        wait_until("nothing runs on", || fleet.nodes[0].processes().is_empty());
    }
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_node_without_sudo_says_so() {
    let Some((fleet, site)) = bed(1, Options::default(), "ops ALL=(root) NOPASSWD: ALL") else { return };
    sh(&fleet.nodes[0], "mount --bind /dev/null $(command -v sudo)");
    site.apply(&[]).ended(3, &["there is no sudo on the node"]);
}

/// simulated: a sudo that hands on a PAM module's own prompt, which ignores -p.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_simulated_prompt_of_a_pam_module_is_sent_nothing() {
    let Some((fleet, site)) = bed(1, Options::default(), "ops ALL=(root) ALL") else { return };
    let node = &fleet.nodes[0];
    seal(&site, SUDO_PASSWORD);
    node.write("/etc/fleet/sudo", "#!/bin/sh\nprintf 'Verification code: ' >&2\nIFS= read -r x\necho \"got:$x\" >/etc/fleet/got\n");
    sh(node, "chmod 755 /etc/fleet/sudo && touch /etc/fleet/got && chmod 666 /etc/fleet/got && mount --bind /etc/fleet/sudo $(command -v sudo)");
    let started = Instant::now();
    site.apply(&[]).ended(3, &["asks what regprov does not answer: \"Verification code:\""]);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    wait_until("it saw its input end", || node.read("/etc/fleet/got").is_some_and(|g| !g.is_empty()));
    assert_eq!(node.read("/etc/fleet/got").unwrap(), b"got:\n");
}

#[test]
#[ignore = "needs sshd, sudo, root, tcsh, zsh and fish"]
fn under_every_login_shell_and_one_session_at_a_time() {
    for shell in ["tcsh", "zsh", "fish", "bash"] {
        let Some(path) = need(shell) else { return };
        let Some((fleet, site)) = bed(1, Options { sshd: "MaxSessions 1", ..Options::default() }, "ops ALL=(ALL) ALL") else { return };
        sh(&fleet.nodes[0], &format!("usermod -s {} ops", path.display()));
        seal(&site, SUDO_PASSWORD);
        site.inventory(&fleet, "user: ops\n    become: true\n    targets: [docker, docker: {user: alice}]", "");
        site.apply(&[]).ended(0, &["changed: n0"]);
        assert!(written(&fleet.nodes[0]));
        assert!(fleet.nodes[0].read("/home/alice/.docker/config.json").is_some());
        site.apply(&[]).ended(0, &["unchanged: n0"]);
    }
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_user_s_files_are_written_as_that_user() {
    let Some((fleet, site)) = bed(1, Options { sshd: "MaxSessions 1", ..Options::default() }, "ops ALL=(ALL) NOPASSWD: ALL") else { return };
    let node = &fleet.nodes[0];
    let targets = "targets: [docker, docker: {user: alice}, enroot: {user: alice}, docker: {user: alice, path: ~/other/auth.json}]";
    for (login, become_root) in [("root", false), ("ops", true), ("alice", false)] {
        sh(node, "rm -rf /home/alice/.docker /home/alice/.config /home/alice/.local /home/alice/other /root/.docker");
        let targets = if login == "alice" { targets.replace("[docker, ", "[") } else { targets.to_string() };
        if login == "alice" {
            sh(node, "echo alice:x9 | chpasswd");
        }
        site.inventory(&fleet, &format!("user: {login}\n    become: {become_root}\n    {targets}"), "");
        let ran = site.apply(&["--json"]).ended(0, &["~alice/.docker/config.json", "~alice/.config/enroot/.credentials", "~alice/other/auth.json"]);
        assert!(!ran.stdout.contains("/home/alice"), "{}", ran.stdout);
        let alice: u32 = sh(node, "id -u alice").trim().parse().unwrap();
        for file in [".docker/config.json", ".config/enroot/.credentials", "other/auth.json", ".local/state/regprov/owned.json"] {
            let meta = std::fs::metadata(node.path(&format!("/home/alice/{file}"))).unwrap();
            assert_eq!((meta.uid(), meta.mode() & 0o7777), (alice, 0o600), "{login} {file}");
        }
        assert_eq!(std::fs::metadata(node.path("/home/alice/.local/state/regprov")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(written(node), login != "alice");
        site.apply(&[]).ended(0, &["unchanged: n0"]);
    }
    sh(node, "mkdir -p /etc/enroot && printf 'ENROOT_CONFIG_PATH ${HOME}/.enroot\\n' > /etc/enroot/enroot.conf");
    site.inventory(&fleet, "user: ops\n    become: true\n    targets: [enroot: {path: auto}, enroot: {user: alice, path: auto}]", "");
    site.apply(&["--json"]).ended(0, &["\"/root/.enroot/.credentials\"", "~alice/.enroot/.credentials"]);
    assert!(node.read("/home/alice/.enroot/.credentials").is_some() && node.read("/root/.enroot/.credentials").is_some());
    site.apply(&[]).ended(0, &["unchanged: n0"]);
}

/// podman looks first where a user's `podman login` wrote; those files are named by the user's number, which only the node knows.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_user_s_own_login_of_podman_is_found_by_the_user_s_number() {
    let Some((fleet, site)) = bed(1, Options::default(), "") else { return };
    let node = &fleet.nodes[0];
    // A node sees this machine's /run, unless it gets one of its own.
    sh(node, "mount -t tmpfs -o mode=755 run /run && mkdir -m 755 /run/sshd");
    site.inventory(&fleet, "user: root\n    targets: [podman: {user: alice}, apptainer: {user: alice}]", "");
    let ran = site.apply(&["--json"]).ended(0, &["~alice/.apptainer/docker-config.json", "~alice/.singularity/docker-config.json"]);
    assert!(!ran.all().contains("shadowed"), "{}", ran.all());
    let alice = sh(node, "id -u alice").trim().to_string();
    for file in [".config/containers/auth.json", ".apptainer/docker-config.json", ".singularity/docker-config.json"] {
        let meta = std::fs::metadata(node.path(&format!("/home/alice/{file}"))).unwrap();
        assert_eq!((meta.uid().to_string(), meta.mode() & 0o7777), (alice.clone(), 0o600), "{file}");
    }
    let earlier = format!("/run/containers/{alice}/auth.json");
    let entry = r#"{"auths":{"docker.io":{"auth":"Ym9iOm9sZA=="}}}"#;
    sh(node, &format!("mkdir -p /run/containers/{alice}; echo '{entry}' >{earlier}; chown -R alice: /run/containers/{alice}; chmod 600 {earlier}"));
    site.apply(&[]).ended(0, &["unchanged: n0", &format!("shadowed by {earlier} until reboot: it has docker.io")]);
}

/// simulated: a home on a filesystem that root cannot write, as root_squash makes it. Here the login is root without CAP_DAC_OVERRIDE,
/// so that root is one of "others" for alice's home of mode 0700.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_simulated_root_squash_home_is_written_by_its_user() {
    let Some((fleet, site)) = bed(1, Options::default(), "") else { return };
    let node = &fleet.nodes[0];
    node.write(
        "/etc/fleet/squashed",
        "#!/bin/sh\nexec setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search /bin/sh \"$@\"\n",
    );
    sh(node, "chmod 755 /etc/fleet/squashed && usermod -s /etc/fleet/squashed root && chmod 700 /home/alice");
    site.inventory(&fleet, "user: root\n    targets: [docker: {path: /home/alice/.docker/config.json, owner: alice}]", "");
    let control = site.apply(&[]);
    assert_eq!(control.code, Some(3), "the control: root itself cannot: {}", control.all());
    site.inventory(&fleet, "user: root\n    targets: [docker: {user: alice}]", "");
    site.apply(&[]).ended(0, &["changed: n0"]);
    assert!(node.read("/home/alice/.docker/config.json").is_some());
}

/// A diskless image has users of its own; the program that writes has the same number there and here, or nothing is written.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn below_a_root_the_image_tells_the_home() {
    let Some((fleet, site)) = bed(1, Options::default(), "") else { return };
    let node = &fleet.nodes[0];
    let image = |uid: &str| {
        let passwd = format!("alice:x:{uid}:{uid}::/people/alice:/bin/sh");
        sh(
            node,
            &format!(
                "rm -rf /home/image; mkdir -p -m 755 /home/image/etc /home/image/people/alice; chown alice: /home/image/people/alice; echo {passwd} >/home/image/etc/passwd"
            ),
        );
    };
    site.inventory(&fleet, "user: root\n    root: /home/image\n    targets: [docker: {user: alice}]", "");
    let alice = sh(node, "id -u alice").trim().to_string();
    image(&alice);
    site.apply(&["--json"]).ended(0, &["/home/image/~alice/.docker/config.json"]);
    assert!(node.read("/home/image/people/alice/.docker/config.json").is_some());
    assert!(node.read("/home/alice/.docker/config.json").is_none());
    image("7777");
    site.apply(&[]).ended(3, &["as alice: its number is 7777 in the passwd file there, but the program runs as"]);
    sh(node, ": >/home/image/etc/passwd");
    site.apply(&[]).ended(3, &["as alice: there is no user `alice` on the node"]);
}

/// The connection goes without a word: the watchdog ends the program and what it runs under, with sudo's own terminal or without,
/// and with su.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn the_watchdog_reaches_through_sudo_and_su() {
    use std::os::unix::process::CommandExt as _;
    let Some((fleet, _site)) = bed(1, Options::default(), "ops ALL=(ALL) NOPASSWD: ALL") else { return };
    let node = &fleet.nodes[0];
    let sudo = "exec setpriv --reuid ops --regid ops --clear-groups sudo -n -u alice -- /bin/sh -c \"$1\"";
    for (rule, way) in [("Defaults use_pty", sudo), ("Defaults !use_pty", sudo), ("", "exec su -s /bin/sh -c \"$1\" alice")] {
        rules(node, &format!("{rule}\nops ALL=(ALL) NOPASSWD: ALL"));
        let mut command = std::process::Command::new("nsenter");
        command.args(["-t", &node.pid.to_string(), "-m", "-p", "--", "sh", "-c", way, "sh", BOOTSTRAP]);
        // A group of its own, since the watchdog ends its group.
        let mut child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let request = format!("{}\nnonce\nlock /home/alice/lock 1\nobserve\n", regprov::node::command());
        // The input stays open, as that of a connection whose other end has lost its power.
        child.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
        let running = || sh(node, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c ': [r]egprov;' || :").trim().to_string();
        wait_until("the program runs", || running() != "0" && node.path("/home/alice/lock").exists());
        wait_until("the watchdog ends it", || child.try_wait().unwrap().is_some());
        wait_until("nothing runs on", || running() == "0");
        sh(node, "rmdir /home/alice/lock");
    }
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn one_user_s_trouble_leaves_the_others_alone() {
    let Some((fleet, site)) = bed(1, Options::default(), "") else { return };
    let node = &fleet.nodes[0];
    let targets = "[docker, docker: {user: nobody9}, docker: {user: alice}, enroot: {user: alice, path: /root/.docker/config.json}]";
    site.inventory(&fleet, &format!("user: root\n    targets: {targets}"), "");
    let ran = site.apply(&[]);
    assert_eq!(ran.code, Some(2), "one file for two users: {}", ran.all());
    sh(node, "ln -s /home/alice /home/link");
    let targets = "[docker, docker: {user: nobody9}, docker: {user: alice}, enroot: {path: /home/link/.docker/config.json, user: alice}]";
    site.inventory(&fleet, &format!("user: root\n    targets: {targets}"), "");
    site.apply(&[]).ended(3, &["as nobody9: su did not start the node program"]);
    assert!(written(node));
    assert!(node.read("/home/alice/.docker/config.json").is_some());
}

#[test]
#[ignore = "needs sshd, sudo and root"]
fn the_sudoers_lines_of_the_examples_do() {
    let Some((fleet, site)) = bed(1, Options::default(), "") else { return };
    let node = &fleet.nodes[0];
    let example = |name: &str| std::fs::read_to_string(format!("{}/examples/sudoers/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(example("root").contains(&escaped()), "the example names the command of regprov: {}", escaped());
    assert!(example("alice").contains(&escaped()));

    rules(node, &example("root"));
    site.apply(&[]).ended(0, &["changed: n0"]);
    let other = "setpriv --reuid ops --regid ops --clear-groups sudo -n -u root -- /bin/sh -c id && exit 1; exit 0";
    sh(node, other);

    rules(node, &example("alice"));
    sh(node, other);
    site.inventory(&fleet, "user: ops\n    become: true\n    targets: [docker: {user: alice}]", "");
    site.apply(&[]).ended(0, &["changed: n0"]);
    site.inventory(&fleet, "user: ops\n    become: true\n    targets: [docker: {path: /root/x/config.json}]", "");
    site.apply(&[]).ended(3, &["wants a password"]);
}

/// ping looks and leaves nothing, not even a time of access to a directory that it changed.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn ping_tells_and_writes_nothing() {
    let Some((fleet, site)) = bed(3, Options::default(), "ops ALL=(root) ALL") else { return };
    seal(&site, SUDO_PASSWORD);
    rules(&fleet.nodes[1], "ops ALL=(root) ALL\nDefaults requiretty");
    sh(&fleet.nodes[2], "mount --bind /root /root && mount -o remount,bind,ro /root");
    let before: Vec<_> = fleet.nodes.iter().map(|n| n.snapshot()).collect();
    let first = site.run(&["ping", "inventory.yml", "--json"]).ended(3, &["regprov.ping/1", "requiretty", "\"curl\": \""]);
    let again = site.run(&["ping", "inventory.yml", "--json"]);
    assert_eq!(first.stdout, again.stdout, "equal nodes give equal bytes");
    let doc: serde_json::Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(doc["hosts"][0]["node"]["warnings"], serde_json::json!([]));
    assert_eq!(doc["hosts"][2]["node"]["warnings"], serde_json::json!(["/root/.docker cannot be written: a read-only mount, or not ours"]));
    site.run(&["ping", "inventory.yml", "--limit", "n0"]).ended(0, &["hosts  count", "1 host: 1 reached"]);
    assert!(before.iter().zip(&fleet.nodes).all(|(b, n)| *b == n.snapshot()), "nothing was written");
    seal(&site, "wrong");
    site.run(&["ping", "inventory.yml", "--limit", "n0"]).ended(7, &["sudo did not take the password"]);
}

/// The controller dies at different moments: nothing runs on, nothing staged stays, under sudo and under su.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn a_killed_controller_leaves_nothing_behind() {
    let Some((fleet, site)) = bed(2, Options::default(), "ops ALL=(ALL) ALL") else { return };
    seal(&site, SUDO_PASSWORD);
    for group in ["user: ops\n    become: true\n    targets: [docker]", "user: root\n    targets: [docker: {user: alice}]"] {
        site.inventory(&fleet, group, "");
        let mut cut = 0;
        for delay in (0..10).map(|i| 60 + i * 35) {
            for node in &fleet.nodes {
                sh(node, "rm -rf /root/.docker /home/alice/.docker");
            }
            let mut run = site.command(&["apply", "inventory.yml"]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            if run.try_wait().unwrap().is_none() {
                cut += 1;
                signal(&run, libc::SIGKILL);
                run.wait().unwrap();
            }
            for node in &fleet.nodes {
                wait_until("nothing runs on", || node.processes().is_empty());
                assert_eq!(node.staged(), Vec::<String>::new(), "after {delay} ms");
            }
        }
        assert!(cut > 0, "no run was cut");
        site.apply(&[]).ended(0, &["2 hosts: "]);
    }
}

/// Neither the password of sudo nor a login stands in any argument, environment or log, on either side.
#[test]
#[ignore = "needs sshd, sudo and root"]
fn the_password_stands_in_no_argument_and_no_log() {
    let Some((fleet, site)) = bed(1, Options { sshd: "LogLevel DEBUG3", ..Options::default() }, "ops ALL=(ALL) ALL") else { return };
    seal(&site, SUDO_PASSWORD);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let secrets = [SUDO_PASSWORD, "pass'word#7391", fleet::PASSWORDS[0].3, fleet::PASSWORDS[1].3];
    let (output, seen) = std::thread::scope(|scope| {
        let poll = scope.spawn(|| {
            let mut names = std::collections::BTreeSet::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").unwrap().flatten().filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())) {
                    let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
                    let text = [arguments, environment].map(|b| String::from_utf8_lossy(&b).into_owned());
                    for secret in secrets {
                        assert!(!text.iter().any(|t| t.contains(secret)), "{}", text[0]);
                    }
                    if text[0].starts_with("sudo\0") {
                        names.insert("sudo");
                    } else if text[0].contains(": regprov;") {
                        names.insert("the node program");
                    }
                }
            }
            names
        });
        let mut output = String::new();
        for user in ["", ": {user: alice}"] {
            site.inventory(&fleet, &format!("user: ops\n    become: true\n    targets: [docker{user}]"), "");
            for _ in 0..3 {
                sh(&fleet.nodes[0], "rm -rf /root/.docker /home/alice/.docker");
                output += &site.run(&["-vvv", "apply", "inventory.yml", "--diff"]).ended(0, &[]).all();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (output, poll.join().unwrap())
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["sudo", "the node program"], "the programs were looked at");
    for (what, text) in [("output", output), ("sshd's log", fleet.log(0)), ("sudo's log", log(&fleet.nodes[0]))] {
        assert!(!text.is_empty());
        for secret in secrets {
            assert!(!text.contains(secret), "{what}");
        }
    }
    let files = sh(&fleet.nodes[0], "grep -rlF \"pass'word#7391\" /root /home /tmp /var/tmp /etc/fleet /var/lib/sudo 2>/dev/null || :");
    assert_eq!(files, "");
}

/// This machine, as one of its users would run it: a folder stands for `/`, and nobody needs an SSH key.
#[test]
fn a_local_host_needs_no_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("image")).unwrap();
    std::fs::set_permissions(at("image"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "version: 1\ngroups:\n  g: {{hosts: image, logins: [hub], targets: [docker], connection: local, root: {}}}\nlogins:\n  hub: {{registry: docker.io, username: a, password: planted}}\n",
        at("image").display()
    );
    std::fs::write(at("i.yml"), text).unwrap();
    let run = |flags: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(["apply", "i.yml", "--allow-plaintext"]).args(flags).current_dir(&dir).env_clear().env("PATH", "/usr/bin:/bin");
        Ran::from(command.output().unwrap())
    };
    run(&[]).ended(0, &["changed: image"]);
    assert!(std::fs::read_to_string(at("image/root/.docker/config.json")).unwrap().contains(WRITTEN));
    run(&[]).ended(0, &["unchanged: image"]);
    run(&["-K"]).ended(0, &["has no use here"]);
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let text = "version: 1\ngroups:\n  g: {hosts: n, logins: [hub], targets: [docker], connection: local, become: true}\nlogins:\n  hub: {registry: docker.io, username: a, password: planted}\n";
    std::fs::write(dir.path().join("i.yml"), text).unwrap();
    let mut command = std::process::Command::new("setsid");
    command.args(["-w", env!("CARGO_BIN_EXE_regprov"), "apply", "i.yml", "--allow-plaintext", "-K"]).current_dir(&dir).stdin(Stdio::null());
    Ran::from(command.output().unwrap()).ended(2, &["password of sudo is needed, and there is no terminal"]);
}
