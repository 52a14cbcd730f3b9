//! Signed vaults and the real `ssh-keygen`: what one signs the other verifies, and of each `allowed_signers` both think the same, but where
//! regprov is stricter.

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/estate.rs"]
mod estate;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/pty.rs"]
mod pty;
#[path = "common/signing.rs"]
mod signing;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use estate::{Estate, Ran};
use signing::{armored, key, line, sign, signature_in};

/// An admin's folder with a vault, and OpenSSH.
struct Site {
    estate: Estate,
    ssh_keygen: PathBuf,
}

impl Site {
    async fn new() -> Option<Self> {
        let ssh_keygen = peers::need("ssh-keygen")?;
        let estate = Estate::new(1).await;
        estate.inventory("inventory.yml", "signed: required\n", "hub, ngc, corp", "docker");
        Some(Site { estate, ssh_keygen })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.estate.path(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.estate.run(words)
    }

    /// With a signing key in the environment.
    fn run_as(&self, key: &str, words: &[&str], input: &str) -> Ran {
        self.estate.piped_in(&[("REGPROV_SIGNING_KEY", key)], words, input)
    }

    fn keygen(&self, words: &[&str], stdin: &[u8]) -> (bool, Vec<u8>) {
        self.keygen_in("UTC0", words, stdin)
    }

    fn keygen_in(&self, zone: &str, words: &[&str], stdin: &[u8]) -> (bool, Vec<u8>) {
        let mut command = Command::new(&self.ssh_keygen);
        command.args(words).current_dir(self.path("")).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.path("home")).env("TZ", zone);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        (output.status.success(), output.stdout)
    }

    /// A new key without a passphrase.
    fn make_key(&self, name: &str, kind: &str, bits: &str) {
        let made = self.keygen(&["-q", "-t", kind, "-b", bits, "-N", "", "-C", &format!("{name}@example.org"), "-f", name], b"");
        assert!(made.0, "{kind} {bits}");
    }

    /// Whether OpenSSH takes a signature of this content as that of this principal.
    fn openssh_takes(&self, principal: &str, signature: &str, content: &[u8]) -> bool {
        self.keygen(&["-Y", "verify", "-I", principal, "-n", "regprov", "-f", "allowed_signers", "-s", signature], content).0
    }

    /// Whether regprov takes the vault as signed.
    fn is_taken(&self) -> bool {
        let ran = self.run(&["hosts", "inventory.yml"]);
        assert!([0, 5].contains(&ran.code), "{}", ran.err);
        ran.code == 0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen"]
async fn both_verify_what_the_other_signs_with_every_kind_of_key() {
    let Some(site) = Site::new().await else { return };
    for (kind, bits) in [("ed25519", "256"), ("rsa", "2048"), ("rsa", "4096"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")] {
        let name = format!("{kind}{bits}");
        site.make_key(&name, kind, bits);
        site.write("allowed_signers", "");
        // Signed by regprov, with the line it prints, as that of the comment's name.
        let ran = site.run(&["vault", "sign", "vault.yml", "--key", &name]).ended(0, &["vault.yml is signed with SHA256:", "vault.yml.sig"]);
        assert!(ran.out.starts_with(&format!("{name}@example.org namespaces=\"regprov\" ")), "{}", ran.out);
        site.write("allowed_signers", &ran.out);
        let content = fs::read(site.path("vault.yml")).unwrap();
        assert!(site.openssh_takes(&format!("{name}@example.org"), "vault.yml.sig", &content), "{name}");
        assert!(!site.openssh_takes(&format!("{name}@example.org"), "vault.yml.sig", b"other"), "the control");
        site.run(&["vault", "check", "vault.yml"]).ended(0, &[&format!("signed by {name}@example.org (SHA256:")]);
        // The line is printed where it is missing, and nowhere else.
        let again = site.run(&["vault", "sign", "vault.yml", "--key", &name]).ended(0, &[&format!("of {name}@example.org: vault.yml.sig")]);
        assert_eq!(again.out, "");

        // Signed by ssh-keygen, with either hash.
        for hash in ["sha512", "sha256"] {
            let (signed, signature) = site.keygen(&["-q", "-Y", "sign", "-n", "regprov", "-O", &format!("hashalg={hash}"), "-f", &name], &content);
            // OpenSSH 9.2 knows that option for `sign`; an older one always takes sha512.
            assert!(signed || hash == "sha256");
            if signed {
                site.write("vault.yml.sig", &signature);
                assert!(site.is_taken(), "{name} {hash}");
            }
        }
        let (_, other) = site.keygen(&["-q", "-Y", "sign", "-n", "file", "-f", &name], &content);
        site.write("vault.yml.sig", other);
        site.run(&["hosts", "inventory.yml"]).ended(5, &["was made for namespace `file`, not `regprov`"]);
    }
}

/// A key of the agent, and one that a passphrase seals: nothing of them comes by us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen and ssh-agent"]
async fn keys_of_the_agent_and_behind_a_passphrase_sign() {
    let (Some(site), Some(agent), Some(add)) = (Site::new().await, peers::need("ssh-agent"), peers::need("ssh-add")) else { return };
    site.make_key("alice", "ed25519", "256");
    let socket = site.path("agent");
    let mut daemon = Command::new(agent).arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !socket.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let socket = socket.to_str().unwrap();
    let added = Command::new(add).arg("-q").arg(site.path("alice")).env("SSH_AUTH_SOCK", socket).stderr(Stdio::null()).status().unwrap();
    assert!(added.success());
    fs::remove_file(site.path("alice")).unwrap();
    let sign = |variables: &[(&str, &str)]| site.estate.piped_in(variables, &["vault", "sign", "vault.yml", "--key", "alice.pub"], "");
    let ran = sign(&[("SSH_AUTH_SOCK", socket)]).ended(0, &["vault.yml is signed"]);
    site.write("allowed_signers", &ran.out);
    assert!(site.is_taken());
    assert!(site.openssh_takes("alice@example.org", "vault.yml.sig", &fs::read(site.path("vault.yml")).unwrap()));
    // The control: without the agent nobody can, and what was there stays.
    let before = site.text("vault.yml.sig");
    sign(&[]).ended(5, &["ssh-keygen made no signature with alice.pub"]);
    assert_eq!(site.text("vault.yml.sig"), before);
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    let made = site.keygen(&["-q", "-t", "ed25519", "-N", "open sesame", "-C", "bob@example.org", "-f", "bob"], b"");
    assert!(made.0);
    let mut terminal = pty::Terminal::start(site.estate.command(&["vault", "sign", "vault.yml", "--key", "bob"]));
    terminal.until("passphrase");
    terminal.type_in("open sesame\n");
    assert_eq!(terminal.end(), Some(0), "{}", terminal.seen);
    assert!(terminal.seen.contains("bob@example.org namespaces=\"regprov\" ssh-ed25519") && !terminal.seen.contains("sesame"), "{}", terminal.seen);
    site.run(&["hosts", "inventory.yml"]).ended(5, &["was made with a key that allowed_signers does not name"]);
    // Without a terminal nobody is asked, and stdin is not taken for an answer.
    site.estate.piped(&["vault", "sign", "vault.yml", "--key", "bob"], "open sesame\n").ended(5, &["ssh-keygen made no signature with bob"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen"]
async fn what_is_changed_is_signed_again() {
    let Some(site) = Site::new().await else { return };
    site.make_key("alice", "ed25519", "256");
    site.make_key("mallory", "ed25519", "256");
    // What was never signed is not signed by itself.
    site.run_as("alice", &["vault", "set", "vault.yml", "hub"], "planted-Hub_2").ended(0, &[]).without(&["signed"]);
    assert!(!site.path("vault.yml.sig").exists());
    let ran = site.run(&["vault", "sign", "vault.yml", "--key", "alice"]).ended(0, &[]);
    site.write("allowed_signers", &ran.out);
    fs::set_permissions(site.path("vault.yml.sig"), fs::Permissions::from_mode(0o640)).unwrap();
    let recipient = site.text("id.txt").lines().find_map(|l| l.strip_prefix("# public key: ").map(str::to_string)).unwrap();
    let other = site.run(&["vault", "keygen", "-o", "other.txt"]).out.trim().to_string();
    let changes: [(&[&str], &str); 6] = [
        (&["vault", "set", "vault.yml", "hub"], "planted-Hub_3"),
        (&["vault", "rename", "vault.yml", "hub", "docker"], ""),
        (&["vault", "unset", "vault.yml", "docker"], ""),
        (&["vault", "rekey", "vault.yml", "--add", &other, "--identity", "id.txt"], ""),
        (&["vault", "set", "vault.yml", "hub", "--registry", "docker.io", "--username", "alice"], "planted-Hub_4"),
        (&["vault", "encrypt", "vault.yml", "-r", &recipient], ""),
    ];
    for (words, input) in changes {
        let before = site.text("vault.yml");
        site.run_as("alice", words, input).ended(0, &["vault.yml is signed again (vault.yml.sig)"]);
        assert_ne!(site.text("vault.yml"), before);
        site.run(&["vault", "check", "vault.yml"]).ended(0, &["signed by alice@example.org"]);
        assert_eq!(site.path("vault.yml.sig").metadata().unwrap().mode() & 0o7777, 0o640);
    }
    site.write("vault.yml", site.estate.run(&["vault", "decrypt", "vault.yml", "--identity", "id.txt"]).out);
    site.run(&["vault", "sign", "vault.yml", "--key", "alice"]).ended(0, &[]);

    // Without a key it is told, and refused from then on.
    site.estate
        .piped(&["vault", "set", "vault.yml", "hub"], "planted-Hub_5")
        .ended(0, &["note: vault.yml.sig does not fit vault.yml any more: sign it again with `regprov vault sign vault.yml`"]);
    site.run(&["hosts", "inventory.yml"]).ended(5, &["vault.yml.sig does not fit vault.yml"]);
    site.run(&["vault", "check", "vault.yml"]).ended(5, &["vault.yml.sig does not fit vault.yml"]);

    // A key that does not sign leaves what was written, and says that it did.
    site.run(&["vault", "sign", "vault.yml", "--key", "alice"]).ended(0, &[]);
    site.run(&["vault", "init", "second.yml", "-r", &recipient, "-r", &other]).ended(0, &[]);
    site.estate.piped(&["vault", "set", "second.yml", "two", "--registry", "two.example.org", "--username", "a"], "planted-Two").ended(0, &[]);
    site.run(&["vault", "sign", "second.yml", "--key", "alice"]).ended(0, &[]);
    let signatures = ["vault.yml.sig", "second.yml.sig"].map(|name| site.text(name));
    let rekey = ["vault", "rekey", "vault.yml", "second.yml", "--remove", &other, "--identity", "id.txt"];
    site.write("broken", "no key\n");
    fs::set_permissions(site.path("broken"), fs::Permissions::from_mode(0o600)).unwrap();
    let words = [
        "vault.yml was written and not signed again, so vault.yml.sig does not fit it any more",
        "second.yml was written and not signed again",
        "vault.yml: ngc:",
    ];
    site.run_as("broken", &rekey, "").ended(5, &words);
    for name in ["vault.yml", "second.yml"] {
        assert!(!site.text(name).contains(&other), "{name} is rekeyed");
    }
    assert_eq!(["vault.yml.sig", "second.yml.sig"].map(|name| site.text(name)), signatures);
    site.run(&["vault", "sign", "vault.yml", "second.yml", "--key", "alice"]).ended(0, &[]);
    assert!(site.is_taken());
    for (key, why) in [("nowhere", "the signing key nowhere cannot be read"), ("", "REGPROV_SIGNING_KEY is set but empty")] {
        site.run_as(key, &["vault", "set", "vault.yml", "hub"], "planted-Hub_6").ended(5, &["vault.yml was written and not signed again", why]);
        site.run(&["vault", "sign", "vault.yml", "--key", "alice"]).ended(0, &[]);
    }

    // Where signatures are demanded, a key that does not count signs nothing, and what is new is signed at once.
    let demanded = |key: &str, words: &[&str], input: &str| {
        site.estate.piped_in(&[("REGPROV_SIGNING_KEY", key), ("REGPROV_ALLOWED_SIGNERS", "allowed_signers")], words, input)
    };
    let before = site.text("vault.yml.sig");
    demanded("mallory", &["vault", "sign", "vault.yml"], "").ended(5, &["vault.yml.sig was made with a key that allowed_signers does not name", "mallory@"]);
    assert_eq!(site.text("vault.yml.sig"), before);
    demanded("alice", &["vault", "init", "new.yml", "-r", &recipient], "").ended(0, &["new.yml is signed again (new.yml.sig)"]);
    demanded("alice", &["vault", "set", "new.yml", "hub", "--registry", "docker.io", "--username", "a"], "planted-Hub_7")
        .ended(0, &["new.yml is signed again"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen"]
async fn what_should_not_be_signed_is_not() {
    let Some(site) = Site::new().await else { return };
    site.make_key("alice", "ed25519", "256");
    let vault = site.text("vault.yml");
    let refused = |code: i32, words: &[&str]| {
        site.run(&["vault", "sign", "vault.yml", "inventory.yml", "--key", "alice"]).ended(code, words);
        assert!(!site.path("vault.yml.sig").exists() && !site.path("inventory.yml.sig").exists());
    };
    site.write("vault.yml", format!("<<<<<<< ours\n{vault}=======\n>>>>>>> theirs\n"));
    refused(5, &["conflict", "nothing was signed"]);
    site.write("vault.yml", vault.replace("vault_serial: 4", "vault_serial: 3"));
    refused(5, &["vault.yml was rolled back", "nothing was signed"]);
    site.write("vault.yml", b"\xff");
    refused(5, &["vault.yml is not text"]);
    fs::remove_file(site.path("vault.yml")).unwrap();
    refused(5, &["vault.yml cannot be read"]);
    site.write("vault.yml", &vault);
    site.run(&["vault", "sign", "vault.yml"]).ended(2, &["no signing key was given", "--key FILE"]);
    std::os::unix::fs::symlink("elsewhere", site.path("vault.yml.sig")).unwrap();
    site.run(&["vault", "sign", "vault.yml", "--key", "alice"]).ended(5, &["vault.yml.sig"]);
    assert!(!site.path("elsewhere").exists());
    fs::remove_file(site.path("vault.yml.sig")).unwrap();
    // The control.
    site.run(&["vault", "sign", "vault.yml", "inventory.yml", "--key", "alice"]).ended(0, &["vault.yml is signed", "inventory.yml is signed"]);
}

/// Lines of `allowed_signers`: what OpenSSH thinks of a signature by alice's key under them, and what we do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen"]
async fn allowed_signers_mean_what_they_mean_to_openssh() {
    let Some(site) = Site::new().await else { return };
    let vault = site.text("vault.yml");
    site.write("vault.yml.sig", sign(&key(1), "regprov", &vault));
    let [alice, bob] = [1, 2].map(|seed| key(seed).public_key().to_openssh().unwrap().trim().to_string());
    let lines = |options: &str| format!("alice {options} {alice}\n");
    let both: Vec<(String, bool)> = vec![
        (format!("alice {alice}\n"), true),
        (format!("alice {alice}"), true),
        (format!("alice {alice} a comment of words\n"), true),
        (format!("  \talice\t{alice}\n"), true),
        (format!("# x\n\nalice {alice}\n"), true),
        (format!("\r\nalice {alice}\r\n"), true),
        (format!("\"alice\" {alice}\n"), true),
        (format!("bob,alice {alice}\n"), true),
        (format!("al* {alice}\n"), true),
        (format!("alice {bob}\n"), false),
        (format!("bob {bob}\nalice {alice}\n"), true),
        (lines("namespaces=\"regprov\""), true),
        (lines("NameSpaces=\"regprov\""), true),
        (lines("namespaces=\"git\""), false),
        (lines("namespaces=\"git,regprov\""), true),
        (lines("namespaces=\"git, regprov\""), false),
        (lines("namespaces=\"reg*\""), true),
        (lines("namespaces=\"*,!regprov\""), false),
        (lines("namespaces=\"!regprov\""), false),
        (lines("namespaces=\"\""), false),
        (lines("namespaces=\"Regprov\""), false),
        (lines("valid-before=\"20990101\""), true),
        (lines("valid-before=\"209901011200\""), true),
        (lines("valid-before=\"20990101120000Z\""), true),
        (lines("valid-before=\"20200101\""), false),
        (lines("valid-before=\"20200101Z\""), false),
        (lines("valid-after=\"20200101\""), true),
        (lines("valid-after=\"20990101\""), false),
        (lines("valid-after=\"20200101\",valid-before=\"20990101\",namespaces=\"regprov\""), true),
        (lines("valid-after=\"20200101\",valid-before=\"20210101\""), false),
        (lines("cert-authority"), false),
        (lines("CERT-AUTHORITY,namespaces=\"regprov\""), false),
        (format!("{}alice {alice}\n", lines("namespaces=\"git\"")), true),
        (String::new(), false),
        ("# nobody\n".to_string(), false),
    ];
    for (text, want) in &both {
        site.write("allowed_signers", text);
        assert_eq!(site.openssh_takes("alice", "vault.yml.sig", vault.as_bytes()), *want, "OpenSSH: {text:?}");
        assert_eq!(site.is_taken(), *want, "regprov: {text:?}");
    }
    // A line that is wrong is passed over by OpenSSH. Here it makes the file wrong: who wrote it meant something, and a key that was to end
    // with it would go on to count by another line.
    let wrong = [
        "alice".to_string(),
        alice.clone(),
        lines("nonsense"),
        lines("namespaces=regprov"),
        lines("namespaces=\"a\",namespaces=\"b\""),
        lines("namespaces=\"regprov\","),
        lines("valid-before=\"tomorrow\""),
        lines("valid-before=\"20260230\""),
        lines("valid-after=\"20270101\",valid-before=\"20260101\""),
        format!("\"alice {alice}\n"),
        "alice ssh-ed25519 AAAA\n".to_string(),
    ];
    for text in &wrong {
        site.write("allowed_signers", text);
        assert!(!site.openssh_takes("alice", "vault.yml.sig", vault.as_bytes()), "OpenSSH: {text:?}");
        assert!(!site.is_taken(), "{text:?}");
        let beside = format!("{}\nalice {alice}\n", text.trim_end());
        site.write("allowed_signers", &beside);
        assert!(site.openssh_takes("alice", "vault.yml.sig", vault.as_bytes()), "OpenSSH: {beside:?}");
        site.run(&["hosts", "inventory.yml"]).ended(5, &["allowed_signers:1:"]);
    }
    // Times without Z are the machine's own.
    let in_hours = |hours: i64| {
        let date = time::OffsetDateTime::now_utc() + time::Duration::hours(hours);
        format!("{:04}{:02}{:02}{:02}{:02}", date.year(), u8::from(date.month()), date.day(), date.hour(), date.minute())
    };
    for (zone, want) in [("UTC0", true), ("EAST-14", false), ("WEST12", true)] {
        site.write("allowed_signers", lines(&format!("valid-before=\"{}\"", in_hours(6))));
        let theirs =
            site.keygen_in(zone, &["-Y", "verify", "-I", "alice", "-n", "regprov", "-f", "allowed_signers", "-s", "vault.yml.sig"], vault.as_bytes()).0;
        let ours = site.estate.piped_in(&[("TZ", zone)], &["hosts", "inventory.yml"], "").code == 0;
        assert_eq!((theirs, ours), (want, want), "{zone}");
    }
    // Any principal counts here; OpenSSH is asked for one.
    site.write("allowed_signers", format!("carol {alice}\n"));
    assert!(!site.openssh_takes("alice", "vault.yml.sig", vault.as_bytes()) && site.openssh_takes("carol", "vault.yml.sig", vault.as_bytes()));
    assert!(site.is_taken());
}

/// Signatures as OpenSSH and we read them: cut at every byte, and with each byte of what is in the armor changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen"]
async fn damaged_signatures_are_what_they_are_to_openssh() {
    let Some(site) = Site::new().await else { return };
    let vault = site.text("vault.yml");
    site.write("allowed_signers", line("alice", &key(1)));
    let signers = regprov::vault::signature::Signers::parse("allowed_signers", &line("alice", &key(1)), &|_| None).unwrap();
    let whole = sign(&key(1), "regprov", &vault);
    let packed = signature_in(&whole);
    let cuts = (0..=whole.len()).map(|cut| (format!("cut at {cut}"), whole[..cut].to_string()));
    let changed = (0..packed.len()).map(|at| {
        let mut bytes = packed.clone();
        bytes[at] ^= 1;
        (format!("byte {at}"), armored(&bytes))
    });
    let shapes = [
        ("a line before it", format!("\n{whole}")),
        ("twice", format!("{whole}{whole}")),
        ("CR LF", whole.replace('\n', "\r\n")),
        ("a space in it", whole.replace("\nU", "\n U")),
        ("a byte behind it in the armor", armored(&[&packed[..], b"x"].concat())),
    ];
    let (mut taken, mut by_openssh_alone) = (Vec::new(), Vec::new());
    for (what, signature) in cuts.chain(changed).chain(shapes.map(|(what, signature)| (what.to_string(), signature))) {
        site.write("one.sig", &signature);
        let theirs = site.openssh_takes("alice", "one.sig", vault.as_bytes());
        let ours = signers.verify(signature.as_bytes(), vault.as_bytes(), "it", 1_800_000_000).is_ok();
        match (theirs, ours) {
            (true, true) => taken.push(what),
            (true, false) => by_openssh_alone.push(what),
            (false, true) => panic!("{what} is taken by us alone: {signature}"),
            (false, false) => {}
        }
    }
    assert_eq!(taken, [format!("cut at {}", whole.len() - 1), format!("cut at {}", whole.len()), "twice".to_string(), "a space in it".to_string()]);
    // The version, which is not signed: OpenSSH takes 0 for the 1 that it writes.
    assert_eq!(by_openssh_alone, ["byte 9"]);
}

/// A key of a hardware token (FIDO), as far as verifying goes: signed here as the token does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen"]
async fn signatures_of_hardware_keys_count() {
    let Some(site) = Site::new().await else { return };
    let vault = site.text("vault.yml");
    let (public, signature) = signing::sign_as_token(&key(1), "regprov", vault.as_bytes());
    site.write("allowed_signers", format!("alice {public}\n"));
    site.write("vault.yml.sig", &signature);
    assert!(site.openssh_takes("alice", "vault.yml.sig", vault.as_bytes()), "OpenSSH");
    assert!(site.is_taken());
    site.write("vault.yml", vault.replace("alice", "malice"));
    assert!(!site.is_taken());
}

/// What OpenSSH takes and we do not: certificates, and DSA while it knew that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen"]
async fn certificates_and_dsa_are_refused() {
    let Some(site) = Site::new().await else { return };
    let vault = site.text("vault.yml");
    site.make_key("alice", "ed25519", "256");
    site.make_key("ca", "ed25519", "256");
    assert!(site.keygen(&["-q", "-s", "ca", "-I", "alice", "-n", "alice", "alice.pub"], b"").0);
    site.write("allowed_signers", format!("alice cert-authority {}", site.text("ca.pub")));
    let sign = |key: &str| {
        let (signed, signature) = site.keygen(&["-q", "-Y", "sign", "-n", "regprov", "-f", key], vault.as_bytes());
        assert!(signed, "{key}");
        site.write("vault.yml.sig", signature);
        site.openssh_takes("alice", "vault.yml.sig", vault.as_bytes())
    };
    assert!(sign("alice-cert.pub"), "OpenSSH");
    site.run(&["hosts", "inventory.yml"]).ended(5, &["vault.yml.sig was made with a certificate, and certificates are not supported"]);
    // The control: the same key by itself.
    site.write("allowed_signers", format!("alice {}", site.text("alice.pub")));
    assert!(sign("alice") && site.is_taken());
    if site.keygen(&["-q", "-t", "dsa", "-N", "", "-f", "dsa"], b"").0 {
        site.write("allowed_signers", format!("alice {}", site.text("dsa.pub")));
        sign("dsa");
        assert!(!site.is_taken());
    }
}

/// RSA with SHA-1 proves nothing any more, for OpenSSH neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ssh-keygen and openssl"]
async fn rsa_with_sha_1_is_refused() {
    let (Some(site), Some(openssl)) = (Site::new().await, peers::need("openssl")) else { return };
    let made = site.keygen(&["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-C", "alice", "-f", "rsa"], b"");
    assert!(made.0);
    let public = site.text("rsa.pub");
    site.write("allowed_signers", format!("alice {public}"));
    let vault = site.text("vault.yml");
    let signed_with = |digest: &str, algorithm: &str| {
        site.write("data", signing::signed_data("regprov", vault.as_bytes()));
        let output = Command::new(&openssl).args(["dgst", digest, "-sign", "rsa", "data"]).current_dir(site.path("")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let key = public.split(' ').nth(1).unwrap();
        site.write("vault.yml.sig", signing::assembled(key, "regprov", algorithm, &output.stdout));
        site.openssh_takes("alice", "vault.yml.sig", vault.as_bytes())
    };
    assert!(signed_with("-sha512", "rsa-sha2-512"), "the control");
    assert!(site.is_taken(), "the control");
    assert!(!signed_with("-sha1", "ssh-rsa"), "OpenSSH");
    site.run(&["hosts", "inventory.yml"]).ended(5, &["vault.yml.sig was made with SHA-1, which proves nothing"]);
}
