//! Who we are, against real sshd: certificates, agents of every kind, passwords, and servers that know few algorithms.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/terminal.rs"]
mod terminal;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fleet::{Daemon, Fleet, Options, Ran, Site, wait_until};
use peers::need;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKeyBase64 as _};
use sha2::{Digest as _, Sha256};
use terminal::converse;

const CHECK: [&str; 3] = ["apply", "inventory.yml", "--check"];

fn keygen(dir: &Path, args: &[&str]) {
    let made = Command::new("ssh-keygen").arg("-q").args(args).current_dir(dir).stdout(Stdio::null()).status().unwrap();
    assert!(made.success(), "{args:?}");
}

fn with_agent(site: &Site, socket: &Path, flags: &[&str]) -> Ran {
    site.command(&[&CHECK, flags].concat()).env("SSH_AUTH_SOCK", socket).output().unwrap().into()
}

#[test]
#[ignore = "needs sshd, dash, ssh-keygen, ssh-agent and ssh-add"]
fn user_certificates_log_in_until_they_expire() {
    let (Some(agent), Some(add)) = (need("ssh-agent"), need("ssh-add")) else { return };
    let Some(fleet) = Fleet::start(1, Options { sshd: "TrustedUserCAKeys /etc/fleet/user_ca.pub", ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    let home = site.path("home/.ssh");
    fs::remove_file(home.join("id_ed25519")).unwrap();
    keygen(&home, &["-t", "ed25519", "-N", "", "-C", "ca", "-f", "ca"]);
    fleet.nodes[0].write("/etc/fleet/user_ca.pub", fs::read(home.join("ca.pub")).unwrap());
    let accepted = || fleet.log(0).matches("-CERT ").count();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("rsa", "2048")] {
        let file = format!("id_{kind}");
        keygen(&home, &["-t", kind, "-b", bits, "-N", "", "-C", "me", "-f", &file]);
        site.run(&CHECK).ended(4, &["none of these keys"]);
        let sign = |more: &[&str]| keygen(&home, &[&["-s", "ca", "-I", "me"], more, &[&format!("{file}.pub")]].concat());
        for (more, word) in [
            (&["-n", "root", "-V", "20200101:20200201"][..], "it has expired"),
            (&["-n", "root", "-V", "20400101:20410101"], "it is not valid yet"),
            (&["-h", "-n", "root"], "it is for hosts"),
        ] {
            sign(more);
            site.run(&[&CHECK[..], &["-v"]].concat()).ended(4, &["none of these keys", word]);
        }
        sign(&["-n", "root"]);
        let before = accepted();
        site.run(&CHECK).ended(0, &["would be changed: n0"]);
        let named = home.join(&file);
        site.apply(&["--check", "--ssh-key", named.to_str().unwrap()]).ended(0, &["would be changed: n0"]);
        assert!(accepted() > before, "{}", fleet.log(0));

        // The agent holds key and certificate; then the key alone, with the certificate in a file.
        let socket = site.path(&format!("agent-{kind}"));
        let _agent = Daemon(Command::new(&agent).arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap());
        wait_until("the agent listens", || socket.exists());
        let put = |args: &[&str]| {
            let done = Command::new(&add).args(args).arg(&named).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status().unwrap();
            assert!(done.success());
        };
        put(&["-q"]);
        let (public, certificate) = (home.join(format!("{file}.pub")), home.join(format!("{file}-cert.pub")));
        let aside = |path: &Path| fs::rename(path, path.with_extension("aside")).unwrap();
        let back = |path: &Path| fs::rename(path.with_extension("aside"), path).unwrap();
        aside(&named);
        aside(&certificate);
        with_agent(&site, &socket, &[]).ended(0, &["would be changed: n0"]);
        let done = Command::new(&add).args(["-q", "-D"]).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status().unwrap();
        assert!(done.success());
        with_agent(&site, &socket, &[]).ended(2, &["there is no SSH key", "the SSH agent holds no key"]);
        back(&named);
        // ssh-add takes the certificate along when it lies there, so it is away for now.
        put(&["-q"]);
        aside(&named);
        with_agent(&site, &socket, &[]).ended(4, &["none of these keys"]);
        back(&certificate);
        let flags = ["--ssh-key", named.to_str().unwrap()];
        with_agent(&site, &socket, &flags).ended(0, &["would be changed: n0"]);
        with_agent(&site, &socket, &["--ssh-key", public.to_str().unwrap()]).ended(4, &["none of these keys"]);
        site.run(&[&CHECK[..], &flags].concat()).ended(2, &["is a public key whose private half no agent holds"]);
        for file in [public, certificate] {
            fs::remove_file(file).unwrap();
        }
        fs::remove_file(named.with_extension("aside")).unwrap();
    }
}

/// How a false agent behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Agent {
    /// Says that it holds nothing.
    Empty,
    /// Takes the request and says nothing.
    Silent,
    /// Refuses everything.
    Refuses,
    /// Answers with bytes that are no answer.
    Babbles,
    /// Promises an answer of 4 GiB.
    Boasts,
    /// Closes the connection.
    HangsUp,
    /// Lists keys and never signs.
    ListsOnly,
    /// Lists keys and closes when it shall sign.
    DiesAtSigning,
    /// Lists keys and refuses to sign.
    RefusesToSign,
    /// Lists keys and signs with rubbish.
    SignsRubbish,
    /// Lists keys of an unknown kind and of ours, and signs as a FIDO token does.
    Token(Token),
}

/// A key as a FIDO token holds it, bound to an application.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Ed25519,
    Ecdsa,
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

impl Token {
    /// What a real token keeps to itself.
    fn key(self) -> PrivateKey {
        static ECDSA: OnceLock<PrivateKey> = OnceLock::new();
        match self {
            Token::Ed25519 => PrivateKey::from(Ed25519Keypair::from_seed(&[9; 32])),
            Token::Ecdsa => {
                let made = || {
                    let dir = tempfile::tempdir().unwrap();
                    keygen(dir.path(), &["-t", "ecdsa", "-b", "256", "-N", "", "-f", "key"]);
                    PrivateKey::from_openssh(fs::read(dir.path().join("key")).unwrap()).unwrap()
                };
                ECDSA.get_or_init(made).clone()
            }
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Token::Ed25519 => "sk-ssh-ed25519@openssh.com",
            Token::Ecdsa => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// The public key (PROTOCOL.u2f, SSH U2F Key formats).
    fn blob(self) -> Vec<u8> {
        let key = self.key();
        let point = match self {
            Token::Ed25519 => string(&key.public_key().key_data().ed25519().unwrap().0),
            Token::Ecdsa => [string(b"nistp256"), string(key.public_key().key_data().ecdsa().unwrap().as_sec1_bytes())].concat(),
        };
        [string(self.kind().as_bytes()), point, string(b"ssh:")].concat()
    }

    /// PROTOCOL.u2f: SHA256(application), flags, counter, SHA256(message); user presence is flag 1.
    fn signature(self, data: &[u8], counter: u32) -> Vec<u8> {
        let signed = [&Sha256::digest(b"ssh:")[..], &[1], &counter.to_be_bytes(), &Sha256::digest(data)].concat();
        let signature = self.key().try_sign(&signed).unwrap();
        [&string(self.kind().as_bytes())[..], &string(signature.as_bytes()), &[1], &counter.to_be_bytes()].concat()
    }
}

/// Starts a false agent that lists `keys`; counts the signatures it was asked for.
fn false_agent(socket: &Path, agent: Agent, keys: Vec<Vec<u8>>) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = UnixListener::bind(socket).unwrap();
    let count = asked.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (keys, count) = (keys.clone(), count.clone());
            std::thread::spawn(move || drop(answer(socket, agent, &keys, &count)));
        }
    });
    asked
}

fn answer(mut socket: UnixStream, agent: Agent, keys: &[Vec<u8>], asked: &AtomicUsize) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        socket.read_exact(&mut request)?;
        let list = || {
            let all = keys.iter().flat_map(|k| [string(k), string(b"key")].concat());
            [&[12][..], &u32::try_from(keys.len()).unwrap().to_be_bytes()].concat().into_iter().chain(all).collect::<Vec<u8>>()
        };
        let signing = request[0] == 13;
        if signing {
            asked.fetch_add(1, Ordering::Relaxed);
        }
        let reply = match (agent, signing) {
            (Agent::Empty, _) => vec![12, 0, 0, 0, 0],
            (Agent::Silent, _) | (Agent::ListsOnly, true) => {
                // Until the client has gone.
                return socket.read_to_end(&mut Vec::new()).map(drop);
            }
            (Agent::Refuses, _) | (Agent::RefusesToSign, true) => vec![5],
            (Agent::Babbles, _) => vec![12, 0, 0, 0, 9, 0, 0, 0],
            (Agent::Boasts, _) => {
                socket.write_all(&u32::MAX.to_be_bytes())?;
                return socket.read_to_end(&mut Vec::new()).map(drop);
            }
            (Agent::HangsUp, _) | (Agent::DiesAtSigning, true) => return Ok(()),
            (Agent::SignsRubbish, true) => [&[14][..], &string(&[string(b"ssh-ed25519"), string(&[0; 64])].concat())].concat(),
            (Agent::Token(token), true) => {
                let blob = u32::from_be_bytes(request[1..5].try_into().unwrap()) as usize;
                assert_eq!(request[5..5 + blob], token.blob()[..], "the key is named by its own bytes");
                let data = &request[5 + blob + 4..request.len() - 4];
                [&[14][..], &string(&token.signature(data, 0x0102_0304))].concat()
            }
            (_, false) => list(),
        };
        socket.write_all(&string(&reply))?;
    }
}

#[test]
#[ignore = "needs sshd and dash"]
fn a_bad_agent_does_not_keep_the_key_files_from_logging_in() {
    // The server accepts the agent's key too, so that it is asked to sign.
    let of_agent = PrivateKey::from(Ed25519Keypair::from_seed(&[8; 32]));
    let line = format!("ssh-ed25519 {} agent\n", of_agent.public_key().public_key_base64());
    let Some(fleet) = Fleet::start(3, Options { authorized: &line, ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    let blob = of_agent.public_key().to_bytes().unwrap();
    let bad = [
        (Agent::Empty, 0),
        (Agent::Silent, 0),
        (Agent::Refuses, 0),
        (Agent::Babbles, 0),
        (Agent::Boasts, 0),
        (Agent::HangsUp, 0),
        // Waited for once; the other hosts go on with the files at once.
        (Agent::ListsOnly, 1),
        (Agent::DiesAtSigning, 3),
        (Agent::RefusesToSign, 3),
        (Agent::SignsRubbish, 3),
    ];
    for (agent, signatures) in bad {
        let socket = site.path(&format!("{agent:?}"));
        let asked = false_agent(&socket, agent, vec![blob.clone()]);
        let start = Instant::now();
        with_agent(&site, &socket, &["--auth-timeout", "2", "--forks", "1"]).ended(0, &["would be changed: n[0-2]"]);
        assert!(start.elapsed() < Duration::from_secs(6), "{agent:?}: {:?}", start.elapsed());
        assert_eq!(asked.load(Ordering::Relaxed), signatures, "{agent:?}");
    }
    let gone = site.path("gone");
    with_agent(&site, &gone, &[]).ended(0, &["would be changed: n[0-2]"]);
    drop(UnixListener::bind(&gone).unwrap());
    with_agent(&site, &gone, &[]).ended(0, &["would be changed: n[0-2]"]);

    // Without a file the reason names the agent.
    fs::remove_file(site.path("home/.ssh/id_ed25519")).unwrap();
    for (agent, words) in [
        (Agent::RefusesToSign, "the SSH agent does not sign"),
        (Agent::DiesAtSigning, "the SSH agent closed the connection"),
        (Agent::ListsOnly, "the SSH agent gave no signature within 1 s"),
    ] {
        with_agent(&site, &site.path(&format!("{agent:?}")), &["--auth-timeout", "1"]).ended(4, &["unreachable at authenticate", words]);
    }
    with_agent(&site, &site.path("Silent"), &[]).ended(2, &["there is no SSH key to log in with", "does not answer"]);
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn a_simulated_fido_key_logs_in_through_its_agent() {
    let Some(_) = need("ssh-keygen") else { return };
    for (token, logged) in [(Token::Ed25519, "ED25519-SK"), (Token::Ecdsa, "ECDSA-SK")] {
        token_logs_in(token, logged);
    }
}

fn token_logs_in(token: Token, logged: &str) {
    use base64::Engine as _;
    let line = format!("{} {} token\n", token.kind(), base64::engine::general_purpose::STANDARD.encode(token.blob()));
    let Some(fleet) = Fleet::start(1, Options { authorized: &line, ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    fs::remove_file(site.path("home/.ssh/id_ed25519")).unwrap();
    let socket = site.path("agent");
    let strange = [string(b"ssh-of-tomorrow"), string(&[1; 7])].concat();
    let asked = false_agent(&socket, Agent::Token(token), vec![strange, token.blob()]);
    with_agent(&site, &socket, &[]).ended(0, &["would be changed: n0"]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(fleet.log(0).contains(logged), "{}", fleet.log(0));
    // The public half names it; without the agent there is nobody to sign.
    fs::write(site.path("token.pub"), &line).unwrap();
    with_agent(&site, &socket, &["--ssh-key", "token.pub"]).ended(0, &["would be changed: n0"]);
    with_agent(&site, &socket, &["--ssh-key", "token"]).ended(0, &["would be changed: n0"]);
    site.apply(&["--check", "--ssh-key", "token.pub"]).ended(2, &["FIDO token", "load it into an agent"]);
}

#[test]
#[ignore = "needs sshd and dash"]
fn an_agent_full_of_keys_is_cut_before_the_server_hangs_up() {
    let Some(fleet) = Fleet::start(1, Options::default()) else { return };
    let site = Site::new(&fleet);
    let many = (20..32).map(|seed| PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32])).public_key().to_bytes().unwrap()).collect();
    let socket = site.path("agent");
    false_agent(&socket, Agent::RefusesToSign, many);
    with_agent(&site, &socket, &[]).ended(4, &["after 6 keys (MaxAuthTries)", "none of which counts: agent: key", "7 more were not offered", "--ssh-key"]);
    let key = site.path("home/.ssh/id_ed25519");
    with_agent(&site, &socket, &["--ssh-key", key.to_str().unwrap()]).ended(0, &["would be changed: n0"]);
}

#[test]
#[ignore = "needs sshd, dash and ssh-keygen"]
fn nodes_in_fips_mode_and_old_ones_are_served() {
    let fips = "KexAlgorithms ecdh-sha2-nistp256\nCiphers aes128-gcm@openssh.com,aes256-ctr\nMACs hmac-sha2-256\n\
                HostKeyAlgorithms ecdsa-sha2-nistp256,rsa-sha2-256,rsa-sha2-512\nPubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,rsa-sha2-256,rsa-sha2-512";
    let ctr = fips.replace("aes128-gcm@openssh.com,", "");
    let old = |kex: &str| {
        format!(
            "KexAlgorithms {kex}\nCiphers aes128-ctr\nMACs hmac-sha2-256\nHostKeyAlgorithms rsa-sha2-256\nPubkeyAcceptedAlgorithms rsa-sha2-256,rsa-sha2-512"
        )
    };
    let dir = tempfile::tempdir().unwrap();
    for (kind, bits) in [("ecdsa", "256"), ("rsa", "2048")] {
        let Some(_) = need("ssh-keygen") else { return };
        keygen(dir.path(), &["-t", kind, "-b", bits, "-N", "", "-C", kind, "-f", kind]);
    }
    let authorized: String = ["ecdsa.pub", "rsa.pub"].map(|f| fs::read_to_string(dir.path().join(f)).unwrap()).concat();
    let servers = [
        (fips.to_string(), "ecdsa rsa", "ecdsa"),
        (ctr, "ecdsa rsa", "rsa"),
        (old("diffie-hellman-group14-sha256"), "rsa", "rsa"),
        (old("diffie-hellman-group-exchange-sha256"), "rsa", "rsa"),
    ];
    for (sshd, host_keys, key) in &servers {
        let Some(fleet) = Fleet::start(1, Options { sshd, host_keys, authorized: &authorized, ..Options::default() }) else { return };
        let site = Site::new(&fleet);
        let shown = if *host_keys == "rsa" { "rsa" } else { "ecdsa" };
        site.known_hosts(&format!("[{}]:{} {}\n", fleet.nodes[0].address, fleet.port, fleet.host_key(shown)));
        let file = dir.path().join(key);
        site.apply(&["--ssh-key", file.to_str().unwrap()]).ended(0, &["changed: n0"]);
    }
}

#[test]
#[ignore = "needs sshd and dash"]
fn an_ipv6_literal_is_reached_and_looked_up() {
    let Ok(free) = TcpListener::bind("[::1]:0") else { return };
    let port = free.local_addr().unwrap().port();
    drop(free);
    let Some(fleet) = Fleet::start(1, Options { sshd: &format!("ListenAddress [::1]:{port}"), ..Options::default() }) else { return };
    let site = Site::new(&fleet);
    let text = fs::read_to_string(site.path("inventory.yml")).unwrap();
    let (head, _) = text.split_once("  n0: ").unwrap();
    fs::write(site.path("inventory.yml"), format!("{head}  n0: {{address: '::1', port: {port}}}\n")).unwrap();
    site.apply(&["--check"]).ended(4, &["the host's key is not known"]);
    site.known_hosts(&format!("[::1]:{port} {}\n", fleet.host_key("ed25519")));
    site.apply(&["--check"]).ended(0, &["would be changed: n0"]);
}

#[test]
#[ignore = "needs sshd and dash"]
fn servers_that_want_something_else_are_named() {
    let gssapi = "AuthenticationMethods gssapi-with-mic\nGSSAPIAuthentication yes";
    let hostbased = "AuthenticationMethods hostbased\nHostbasedAuthentication yes";
    let password = "AuthenticationMethods password\nPasswordAuthentication yes\nPermitRootLogin yes";
    let second = "AuthenticationMethods publickey,password\nPasswordAuthentication yes\nPermitRootLogin yes";
    for (sshd, words) in [
        (gssapi, ["gssapi-with-mic", "GSSAPI is not supported", "proxy_command"]),
        (hostbased, ["the host takes only hostbased", "regprov does not know", "let it take a key"]),
        (password, ["the host takes no keys of root", "only password", "--ask-pass"]),
        (second, ["root needs a second factor here", "password", "--ask-pass"]),
    ] {
        let Some(fleet) = Fleet::start(1, Options { sshd, ..Options::default() }) else { return };
        let site = Site::new(&fleet);
        site.apply(&[]).ended(4, &words).ended(4, &["unreachable at authenticate"]);
    }
}

const PASSWORD: &str = "correct horse";
/// `openssl passwd -6 -salt fleetfleet 'correct horse'`
const SHADOW: &str = "$6$fleetfleet$YbChveAsXdDuCmadv03qkN6Oi5bZ74QRHSFjV67MLcUgknjjyTZ5XhYlnkLAamjk5zgID/e2TZbNB4mM7kGjh.";

/// `apply --ask-pass` on a terminal, where this is the answer.
fn typed(site: &Site, password: &str) -> Ran {
    converse(site, &["apply", "inventory.yml", "--ask-pass"], &[("SSH password: ", &format!("{password}\n"))]).unwrap()
}

/// Nodes on which root has a password.
fn password_fleet(n: usize, sshd: &str) -> Option<Fleet> {
    need("script")?;
    let fleet = Fleet::start(n, Options { sshd: &format!("{sshd}\nPasswordAuthentication yes\nPermitRootLogin yes"), ..Options::default() })?;
    for node in &fleet.nodes {
        node.write("/etc/shadow", format!("root:{SHADOW}:19000:0:99999:7:::\n"));
    }
    Some(fleet)
}

#[test]
#[ignore = "needs sshd, dash and script"]
fn a_password_is_asked_for_once_and_goes_to_all_hosts() {
    let Some(fleet) = password_fleet(8, "AuthenticationMethods password") else { return };
    let site = Site::new(&fleet);
    let ran = typed(&site, PASSWORD).ended(0, &["8 hosts: 8 changed"]);
    assert!(!ran.stdout.contains(PASSWORD));
    assert_eq!((0..8).map(|n| fleet.log(n).matches("Accepted password for root").count()).collect::<Vec<_>>(), [1; 8]);
    // Nobody is there to ask: nothing is contacted.
    let mut command = Command::new("setsid");
    let plain = site.command(&[]);
    command.arg("-w").arg(env!("CARGO_BIN_EXE_regprov")).args(["apply", "inventory.yml", "--ask-pass"]).current_dir(site.dir.path()).env_clear();
    command.envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?)))).stdin(Stdio::null());
    let connections = || (0..8).map(|n| fleet.log(n).matches("Connection from").count()).sum::<usize>();
    let before = connections();
    Ran::from(command.output().unwrap()).ended(2, &["SSH password is needed", "no terminal"]);
    assert_eq!(connections(), before);
}

#[test]
#[ignore = "needs sshd, dash and script"]
fn a_wrong_password_fails_once_over_all_hosts() {
    let Some(fleet) = password_fleet(8, "AuthenticationMethods password") else { return };
    let site = Site::new(&fleet);
    typed(&site, "Wr0ng-one").ended(7, &["the SSH password was refused on n", "tried once"]);
    let failed: usize = (0..8).map(|n| fleet.log(n).matches("Failed password for root").count()).sum();
    assert_eq!(failed, 1);
}

#[test]
#[ignore = "needs sshd, dash and script"]
fn a_key_and_then_a_password_are_two_factors() {
    let Some(fleet) = password_fleet(2, "AuthenticationMethods publickey,password") else { return };
    let site = Site::new(&fleet);
    typed(&site, PASSWORD).ended(0, &["2 hosts: 2 changed"]);
}
