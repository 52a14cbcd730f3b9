//! Hosts behind real OpenSSH servers: jump hosts, proxy commands, ssh_config, and a server that takes few log-ins at once.

// What was measured goes to whoever reads the output.
#![allow(clippy::print_stdout)]

#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use embedded::Fault;
use fleet::{Daemon, Fleet, Options, Ran, Site, wait_until};
use peers::need;

const CONFIG: &str = "/root/.docker/config.json";

/// A server that lets in who the nodes of another fleet let in.
fn bastion(nodes: &Fleet, sshd: &str) -> Option<Fleet> {
    let authorized = fs::read_to_string(nodes.key().with_extension("pub")).unwrap();
    Fleet::start(1, Options { sshd, authorized: &authorized, ..Options::default() })
}

/// Lets known_hosts know these fleets.
fn know(site: &Site, fleets: &[&Fleet]) {
    let line = |f: &&Fleet| f.nodes.iter().map(|n| format!("[{}]:{} {}\n", n.address, f.port, f.host_key("ed25519"))).collect::<String>();
    site.known_hosts(&fleets.iter().map(line).collect::<String>());
}

fn logins(fleet: &Fleet, node: usize) -> usize {
    fleet.log(node).lines().filter(|l| l.starts_with("Accepted publickey")).count()
}

fn connections(fleet: &Fleet, node: usize) -> usize {
    fleet.log(node).lines().filter(|l| l.starts_with("Connection from")).count()
}

#[test]
#[ignore = "needs sshd and dash"]
fn sixty_four_hosts_behind_one_bastion_take_one_connection() {
    let Some(fleet) = Fleet::start(65, Options { sshd: "MaxSessions 1", ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    site.inventory(&fleet, "targets: [docker]\n    jump: n0", "");
    site.apply(&["--limit", "n[1-64]"]).ended(0, &["changed: n[1-64] (64)"]);
    assert_eq!((connections(&fleet, 0), logins(&fleet, 0)), (1, 1), "{}", fleet.log(0));
    for i in 1..65 {
        assert!(fleet.nodes[i].read(CONFIG).is_some());
        assert_eq!((connections(&fleet, i), logins(&fleet, i)), (1, 1), "{}", fleet.log(i));
    }
    // The bastion is a host too, and no way to itself.
    site.apply(&[]).ended(0, &["changed:   n0 (1)", "unchanged: n[1-64] (64)"]);
}

/// A server that says its version and then goes on as it likes. Its thread ends with the test.
fn rude(then: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = socket.write_all(b"SSH-2.0-rude\r\n");
                then(socket);
            });
        }
    });
    address
}

/// SSH_MSG_IGNORE (RFC 4253, 11.2) of 32 KiB in plain text, for as long as anybody takes them.
fn floods(mut socket: TcpStream) {
    let (data, padding) = (32_762u32, 4u32);
    let length = 1 + 1 + 4 + data + padding;
    let mut packet = [&length.to_be_bytes()[..], &[4, 2], &data.to_be_bytes()].concat();
    packet.resize(4 + length as usize, b'x');
    assert_eq!(packet.len() % 8, 0);
    while socket.write_all(&packet).is_ok() {}
}

/// Reads nothing, for as long as the other side waits.
fn never_reads(socket: TcpStream) {
    std::thread::sleep(Duration::from_secs(120));
    drop(socket);
}

/// One host that floods and one that never reads, before and after the log-in each: all are behind one bastion, and the others do not
/// notice. How long it takes is printed, since it depends on the machine.
#[test]
#[ignore = "needs sshd and dash"]
fn bad_hosts_behind_a_real_bastion_leave_sixty_two_alone() {
    let Some(fleet) = Fleet::start(63, Options { sshd: "MaxSessions 1", ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let user_key = russh::keys::load_public_key(fleet.key().with_extension("pub")).unwrap();
    let strange = runtime.block_on(embedded::start(user_key, &[Fault::EndlessOutput, Fault::NoWindow])).unwrap();
    let bad = [strange.nodes[0], strange.nodes[1], rude(floods), rude(never_reads)];
    let names = ["pours", "deaf", "floods", "silent"];
    let pin = strange.host_key_line();
    let hosts = |n: usize| (0..n).map(|i| format!("  {}: {{address: 127.0.0.1, port: {}, host_key: {pin}}}\n", names[i], bad[i].port())).collect::<String>();
    let flags = ["--limit", "!n0", "--forks", "80", "--command-timeout", "4", "--handshake-timeout", "4"];
    // How long it took until the last of the good ones had its file.
    let took = |start: SystemTime| {
        let written = fleet.nodes[1..].iter().map(|n| fs::metadata(n.path(CONFIG)).unwrap().modified().unwrap()).max().unwrap();
        written.duration_since(start).unwrap_or_default()
    };

    site.inventory(&fleet, "targets: [docker]\n    jump: n0", "");
    let start = SystemTime::now();
    site.apply(&flags).ended(0, &["changed: n[1-62] (62)"]);
    let alone = took(start);
    for node in &fleet.nodes {
        fs::remove_file(node.path(CONFIG)).or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) }).unwrap();
    }
    let bad_group = "\n  bad:\n    hosts: [pours, deaf, floods, silent]\n    logins: [ngc]\n    targets: [docker]\n    jump: n0";
    site.inventory(&fleet, &format!("targets: [docker]\n    jump: n0{bad_group}"), &hosts(4));
    let start = SystemTime::now();
    let ran = site.apply(&flags).ended(3, &["62 changed"]);
    let among = took(start);
    println!("the last of 62 hosts was done after {alone:?} alone, after {among:?} among four bad ones");
    let told: Vec<&str> = ran.stdout.lines().collect();
    for (name, words) in names.iter().zip(["failed at observe", "unknown at replace", "unreachable at handshake", "unreachable at handshake"]) {
        let at = told.iter().position(|l| l.starts_with("    ") && l.contains(name)).expect("each bad host is named");
        assert!(told[at - 1].starts_with(words), "{name}: {}", ran.all());
    }
    assert_eq!((connections(&fleet, 0), logins(&fleet, 0)), (2, 2), "one connection to the bastion in each run");
    let mut byte = [0];
    assert!(TcpStream::connect(bad[0]).unwrap().read(&mut byte).is_ok(), "the bad ones were there to the end");
}

#[test]
#[ignore = "needs sshd and dash"]
fn chains_refusals_and_host_keys_of_bastions() {
    let Some(nodes) = Fleet::start(3, Options::default()) else { return };
    let site = Site::new(&nodes);
    let jump = |b: &Fleet, more: &str| site.inventory(&nodes, &format!("targets: [docker]\n    jump: [\"{}:{}\"{more}]", b.nodes[0].address, b.port), "");

    let Some(open) = bastion(&nodes, "LogLevel VERBOSE") else { return };
    know(&site, &[&nodes, &open]);
    jump(&open, ", n0");
    site.apply(&["--limit", "n[1-2]"]).ended(0, &["changed: n[1-2] (2)"]);
    assert_eq!((logins(&open, 0), logins(&nodes, 0), logins(&nodes, 1)), (1, 1, 1));

    know(&site, &[&nodes]);
    site.apply(&["--limit", "n1"]).ended(4, &["unreachable at handshake: through n0: through 127.", "the host's key is not known"]);
    assert_eq!(logins(&open, 0), 1, "nobody logs in to a server that is not known");

    for refuses in ["PermitOpen 127.0.0.1:1", "AllowTcpForwarding no"] {
        let Some(closed) = bastion(&nodes, refuses) else { return };
        know(&site, &[&nodes, &closed]);
        jump(&closed, "");
        let words = ["unreachable at connect: through 127.", "it does not forward to ", "AllowTcpForwarding and PermitOpen"];
        site.apply(&[]).ended(4, &words);
        assert_eq!(connections(&closed, 0), 1);
    }
}

#[test]
#[ignore = "needs sshd, ssh and dash"]
fn proxy_commands_and_a_control_master() {
    let (Some(ssh), Some(nodes)) = (need("ssh"), Fleet::start(4, Options::default())) else { return };
    let Some(gate) = bastion(&nodes, "LogLevel VERBOSE") else { return };
    let site = Site::new(&nodes);
    know(&site, &[&nodes, &gate]);
    let home = site.path("home/.ssh");
    let options = format!(
        "-F none -p {} -i {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes root@{}",
        gate.port,
        home.join("id_ed25519").display(),
        home.join("known_hosts").display(),
        gate.nodes[0].address
    );
    let command = |line: &str| site.inventory(&nodes, &format!("targets: [docker]\n    proxy_command: {line}"), "");
    command(&format!("ssh -W [%h]:%p {options}"));
    site.apply(&[]).ended(0, &["changed: n[0-3] (4)"]);
    assert_eq!(logins(&gate, 0), 4, "each command logs in for itself");

    let socket = site.path("master");
    let master = Command::new(ssh).args(["-M", "-N", "-S"]).arg(&socket).args(options.split(' ')).stdin(Stdio::null()).spawn().unwrap();
    let _master = Daemon(master);
    wait_until("the master listens", || socket.exists());
    command(&format!("ssh -S {} -W [%h]:%p {options}", socket.display()));
    site.apply(&[]).ended(0, &["unchanged: n[0-3] (4)"]);
    assert_eq!(logins(&gate, 0), 5, "the master's connection serves all");

    command("sh -c 'echo the way is closed >&2; exit 7'");
    site.apply(&[]).ended(4, &["unreachable at connect: the proxy command ended (exit status: 7); it said: the way is closed"]);
}

#[test]
#[ignore = "needs sshd and dash"]
fn a_server_that_takes_two_log_ins_at_once_serves_sixteen() {
    // More listening sockets than these sshd does not have (MAX_LISTEN_SOCKS).
    let addresses: Vec<String> = (1..=16).map(|i| format!("127.251.{}.{i}", std::process::id() % 250)).collect();
    let listen: String = addresses.iter().map(|a| format!("ListenAddress {a}:@PORT@\n")).collect();
    let sshd = format!("MaxStartups 2:100:2\n{listen}");
    let Some(fleet) = Fleet::start(1, Options { sshd: &sshd, ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    let known = addresses.iter().map(|a| format!("[{a}]:{} {}\n", fleet.port, fleet.host_key("ed25519")));
    site.known_hosts(&known.collect::<String>());
    let mut hosts = String::new();
    for (i, address) in addresses.iter().enumerate() {
        for dir in ["root", "var/lib"] {
            fs::create_dir_all(fleet.nodes[0].path(&format!("/root/h{i}/{dir}"))).unwrap();
        }
        hosts.push_str(&format!("  h{i}: {{address: {address}, root: /root/h{i}}}\n"));
    }
    let head = format!("version: 1\nvault: vault.yml\ndefaults: {{port: {}}}\ngroups:\n", fleet.port);
    let group = "  nodes: {hosts: \"h[0-15]\", logins: [ngc], targets: [docker]}\nhosts:\n";
    fs::write(site.path("inventory.yml"), format!("{head}{group}{hosts}")).unwrap();
    site.apply(&[]).ended(0, &["changed: h[0-15] (16)"]);
    assert_eq!(logins(&fleet, 0), 16);
    assert!(fleet.log(0).contains("MaxStartups"), "it dropped nobody, so nothing was shown: {}", fleet.log(0));
}

/// An inventory of bare names.
fn bare(site: &Site, hosts: &str) {
    let text = format!("version: 1\nvault: vault.yml\ngroups:\n  nodes: {{hosts: {hosts}, logins: [ngc], targets: [docker]}}\n");
    fs::write(site.path("inventory.yml"), text).unwrap();
}

#[test]
#[ignore = "needs sshd, ssh and dash"]
fn everything_stands_in_ssh_config() {
    let (Some(_), Some(fleet)) = (need("ssh"), Fleet::start(4, Options::default())) else { return };
    let site = Site::new(&fleet);
    let keys = site.path("home/keys");
    fs::create_dir(&keys).unwrap();
    fs::rename(site.path("home/.ssh/id_ed25519"), keys.join("root-gpu")).unwrap();
    fs::rename(site.path("home/.ssh/known_hosts"), keys.join("known")).unwrap();
    let names: String = fleet.nodes.iter().enumerate().map(|(i, n)| format!("Host gpu{i}\n  HostName {}\n", n.address)).collect();
    let common = format!(
        "Match host 127.*\n  Port {}\n  User root\n  IdentityFile ~/keys/%r-gpu\n  IdentitiesOnly yes\n  UserKnownHostsFile {}/known\n  StrictHostKeyChecking no\n",
        fleet.port,
        keys.display()
    );
    let write = |jump: &str| {
        fs::write(site.path("home/.ssh/more"), &names).unwrap();
        fs::write(site.path("home/.ssh/config"), format!("Include {}\n{jump}{common}", site.path("home/.ssh/more").display())).unwrap();
    };
    bare(&site, "\"gpu[1-3]\"");
    write("Host gpu* !gpu0\n  ProxyJump gpu0\n");
    let ran = site.apply(&["-v"]).ended(0, &["changed: gpu[1-3] (3)", "StrictHostKeyChecking no for gpu1 and 2 more; regprov does not honour it"]);
    assert_eq!(ran.stderr.matches("does not honour it").count(), 1);
    assert!(ran.stderr.contains("Applying options for gpu*"), "-v says where it stands: {}", ran.stderr);
    assert_eq!((logins(&fleet, 0), logins(&fleet, 1)), (1, 1));

    // The same file, named.
    fs::rename(site.path("home/.ssh/config"), site.path("ssh.conf")).unwrap();
    site.apply(&["--ssh-config", "ssh.conf"]).ended(0, &["unchanged: gpu[1-3] (3)"]);
    // Without it the names mean nothing, and there is no key.
    site.apply(&["--no-ssh-config"]).ended(2, &["there is no SSH key to log in with"]);
    site.apply(&["--ssh-config", "missing"]).ended(2, &["missing: there is no such file"]);

    // A flag and the inventory win.
    let before = logins(&fleet, 0);
    let text = fs::read_to_string(site.path("inventory.yml")).unwrap();
    fs::write(site.path("inventory.yml"), text.replace("targets: [docker]", "targets: [docker], jump: none")).unwrap();
    site.apply(&["--ssh-config", "ssh.conf"]).ended(0, &["unchanged: gpu[1-3] (3)"]);
    assert_eq!(logins(&fleet, 0), before, "`jump: none` overrules ProxyJump");
    site.apply(&["--ssh-config", "ssh.conf", "--user", "nobody"]).ended(2, &["ssh_config leaves no SSH key"]);
    site.apply(&["--ssh-config", "ssh.conf", "--known-hosts", "/dev/null"]).ended(4, &["the host's key is not known"]);
}

#[test]
#[ignore = "needs sshd, ssh, ssh-agent, ssh-add and dash"]
fn an_agent_and_a_deadline_stand_in_ssh_config() {
    let (Some(_), Some(agent), Some(add)) = (need("ssh"), need("ssh-agent"), need("ssh-add")) else { return };
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let site = Site::new(&fleet);
    let socket = site.path("home/agent of mine");
    let daemon = Command::new(agent).arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let _agent = Daemon(daemon);
    wait_until("the agent listens", || socket.exists());
    let key = site.path("home/.ssh/id_ed25519");
    assert!(Command::new(add).arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status().unwrap().success());
    fs::remove_file(&key).unwrap();
    let config = |lines: &str| fs::write(site.path("home/.ssh/config"), format!("Host n*\n  {lines}\n")).unwrap();
    let run = |flags: &[&str]| {
        let mut command = site.command(&[&["apply", "inventory.yml", "--check"], flags].concat());
        Ran::from(command.env("SOCKET_OF_MINE", &socket).output().unwrap())
    };
    run(&[]).ended(2, &["there is no SSH key to log in with"]);
    for value in ["\"~/agent of mine\"".to_string(), "$SOCKET_OF_MINE".to_string(), format!("\"{}\"", socket.display())] {
        // `~` is the home of the passwd entry there, which is not this one.
        let value = value.replace('~', site.path("home").to_str().unwrap());
        config(&format!("IdentityAgent {value}"));
        run(&[]).ended(0, &["would be changed: n0"]);
        run(&["--no-agent"]).ended(2, &["no SSH key to log in with"]);
    }
    config("IdentityAgent none");
    run(&[]).ended(2, &["no SSH key to log in with"]);

    // A port that is taken and never answered: the queue of its listener is full.
    fs::copy(fleet.key(), &key).unwrap();
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: the descriptor is open; a backlog of zero is one.
    assert_eq!(unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&full), 0) }, 0);
    let address = full.local_addr().unwrap();
    let _queued: Vec<_> = (0..3).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    let text = fs::read_to_string(site.path("inventory.yml")).unwrap();
    let (head, _) = text.split_once("  n0: ").unwrap();
    fs::write(site.path("inventory.yml"), format!("{head}  n0: {{address: 127.0.0.1, port: {}}}\n", address.port())).unwrap();
    config("ConnectTimeout 1");
    run(&[]).ended(4, &["unreachable at connect: no answer within 1 s"]);
    config("ConnectTimeout 60");
    run(&["--connect-timeout", "2"]).ended(4, &["unreachable at connect: no answer within 2 s"]);
}

/// Someone without root on their own machine: the SSH user is root, as with everybody, where ssh_config does not name another; ssh's own
/// default (the local name) is silence, and a line that names just that user is not.
#[test]
#[ignore = "needs sshd, ssh, setpriv, unshare and root"]
fn an_admin_who_is_not_root_logs_in_as_root_unless_a_user_line_speaks() {
    let (Some(_), Some(setpriv), Some(unshare)) = (need("ssh"), need("setpriv"), need("unshare")) else { return };
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return drop(need("a real root user"));
    }
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let site = Site::new(&fleet);
    let home = site.path("home");
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    fs::write(site.path("passwd"), format!("{passwd}annie:x:4711:4711::{}:/bin/sh\n", home.display())).unwrap();
    assert!(Command::new("chown").args(["-R", "4711:4711"]).arg(site.dir.path()).status().unwrap().success());
    // Her home is that of the passwd entry, or another one.
    let run = |home: &std::path::Path| {
        let script = format!("mount --bind {} /etc/passwd && exec \"$@\"", site.path("passwd").display());
        let inner = site.command(&["apply", "inventory.yml", "--check", "-v"]);
        let mut command = Command::new(&unshare);
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(&setpriv);
        command.args(["--reuid", "4711", "--regid", "4711", "--clear-groups"]).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(site.dir.path()).env_clear().envs(inner.get_envs().filter_map(|(k, v)| Some((k, v?)))).env("HOME", home);
        Ran::from(command.output().unwrap())
    };
    let other = site.path("elsewhere");
    assert!(Command::new("cp").arg("-a").arg(&home).arg(&other).status().unwrap().success());
    let say = |lines: &str| {
        for home in [&home, &other] {
            fs::write(home.join(".ssh/config"), lines).unwrap();
            // ssh reads no configuration of somebody else's.
            assert!(Command::new("chown").arg("4711:4711").arg(home.join(".ssh/config")).status().unwrap().success());
        }
    };
    let tried = |user: &str| fleet.log(0).matches(&format!("for {user} from")).count() + fleet.log(0).matches(&format!("user {user} from")).count();
    for home in [&home, &other] {
        for lines in ["", "Host elsewhere\n  User annie\n", "Host *\n  ServerAliveInterval 7\n"] {
            say(lines);
            run(home).ended(0, &["would be changed: n0"]);
        }
        assert_eq!(tried("annie"), 0, "{}", fleet.log(0));
    }
    for (i, home) in [&home, &other].into_iter().enumerate() {
        say("Host n*\n  User annie\n");
        run(home).ended(4, &["unreachable at authenticate", "annie"]);
        assert!(tried("annie") > i, "{}", fleet.log(0));
        say("Host n*\n  User root\n");
        run(home).ended(0, &["would be changed: n0"]);
    }
    // The tokens are hers too.
    fs::rename(home.join(".ssh/id_ed25519"), home.join("key-4711-annie")).unwrap();
    say(&format!("Host n*\n  User root\n  IdentityFile {}/key-%i-%u\n", home.display()));
    run(&home).ended(0, &["would be changed: n0"]);
}

#[test]
#[ignore = "needs sshd, ssh and dash"]
fn what_ssh_config_may_not_say() {
    let (Some(_), Some(fleet)) = (need("ssh"), Fleet::start(1, Options::default())) else { return };
    let site = Site::new(&fleet);
    bare(&site, "[a, b]");
    for (config, words) in [
        ("Host a b\n HostName 10.0.0.1\n", &["hosts a and b are both at 10.0.0.1:22, says ssh_config"][..]),
        ("Host a\n ProxyJump c\nHost c\n ProxyJump a\n", &["jump hosts lead in a circle: a, c, a"]),
        ("Host *\n ProxyJump a\n", &["host a: `ssh -G a`: jumphost loop via a"]),
        ("Host a\n ProxyCommand x\n ProxyUseFdpass yes\n", &["host a: ssh_config sets ProxyUseFdpass"]),
        ("Host a\n  Nonsense yes\n", &["`ssh -G a`", "Bad configuration option: nonsense"]),
        ("Host a\n IdentityFile ~/.ssh/${NOWHERE}\n", &["host a: ssh_config: ~/.ssh/${NOWHERE}: the variable NOWHERE is not set"]),
    ] {
        fs::write(site.path("c"), config).unwrap();
        site.apply(&["--ssh-config", "c"]).ended(2, words);
    }
    assert_eq!(connections(&fleet, 0), 0);
}
