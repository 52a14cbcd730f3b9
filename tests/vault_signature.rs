//! Signed vaults: what is signed by somebody who may is taken, and everything else is refused with its reason, before anybody is contacted.
//! Each refusal has its control. What ssh-keygen says of the same files is in `vault_signature_peers.rs`.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/estate.rs"]
mod estate;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/signing.rs"]
mod signing;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use estate::{Estate, Ran};
use regprov::vault::signature::Signers;
use signing::{key, line, sign, signature_in};

/// An estate whose inventory demands signatures, with a node behind a port, and one that is a folder of this machine.
struct Site {
    estate: Estate,
    /// The vault, its signature and the inventory as they are right.
    right: [(&'static str, String); 4],
}

impl Site {
    async fn new() -> Self {
        let estate = Estate::new(1).await;
        estate.inventory("inventory.yml", "signed: required\n", "hub, ngc, corp", "docker");
        let (inventory, here) = (fs::read_to_string(estate.path("inventory.yml")).unwrap(), estate.path("here"));
        fs::create_dir(&here).unwrap();
        let inventory = inventory.replace("hosts: 'n[0-0]'", "hosts: ['n[0-0]', here]") + &format!("  here: {{connection: local, root: {}}}\n", here.display());
        let vault = fs::read_to_string(estate.path("vault.yml")).unwrap();
        let right = [
            ("inventory.yml", inventory),
            ("vault.yml.sig", sign(&key(1), "regprov", &vault)),
            ("vault.yml", vault),
            ("allowed_signers", format!("# who may\n{}\n", line("alice", &key(1)))),
        ];
        let site = Site { estate, right };
        site.restore();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.estate.path(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn right(&self, name: &str) -> &str {
        &self.right.iter().find(|(there, _)| *there == name).unwrap().1
    }

    fn restore(&self) {
        self.right.iter().for_each(|(name, text)| self.write(name, text));
    }

    /// What was written and contacted so far: connections to the node, and files of this machine's folder.
    fn traces(&self) -> (usize, usize) {
        (self.estate.bed.fleet.connections[0].load(Ordering::SeqCst), fs::read_dir(self.path("here")).unwrap().count())
    }

    fn apply(&self, flags: &[&str]) -> Ran {
        self.estate.apply(&[&["inventory.yml"], flags].concat())
    }

    /// Demands that a run is refused with exit code 5, these words and no trace.
    #[track_caller]
    fn refused(&self, flags: &[&str], words: &[&str]) {
        let before = self.traces();
        self.apply(flags).ended(5, words).without(&["PLAN", "changed:"]);
        assert_eq!(self.traces(), before, "somebody was contacted");
    }

    /// Demands that a run goes through.
    #[track_caller]
    fn taken(&self, flags: &[&str]) {
        let (before, _) = self.traces();
        self.apply(flags).ended(0, &["here"]);
        let (contacts, files) = self.traces();
        assert!(contacts > before && files > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_signed_as_demanded_is_refused() {
    let site = Site::new().await;
    let vault = site.right("vault.yml").to_string();
    let seal = vault.find("BEGIN AGE").unwrap() + 60;
    let flipped = |at: usize| {
        let mut bytes = vault.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let changed = "vault.yml.sig does not fit";
    for (what, bytes) in [
        ("the first byte", flipped(0)),
        ("a byte of a seal", flipped(seal)),
        ("the last byte", flipped(vault.len() - 1)),
        ("a line break more", format!("{vault}\n").into_bytes()),
        ("CR LF", vault.replace('\n', "\r\n").into_bytes()),
        ("one less", vault.as_bytes()[..vault.len() - 1].to_vec()),
        ("nothing", Vec::new()),
        ("an account", vault.replace("username: alice", "username: mallory").into_bytes()),
        ("a smaller serial", vault.replace("vault_serial: 4", "vault_serial: 3").into_bytes()),
        ("no text", b"\xff".to_vec()),
        ("no YAML", b"{{{".to_vec()),
    ] {
        println!("{what}");
        site.write("vault.yml", bytes);
        site.refused(&[], &[changed, "one of them was changed after it was signed", "`signed: required` in", "regprov vault sign"]);
        site.restore();
    }

    let own = |namespace: &str, seed: u8, content: &str| sign(&key(seed), namespace, content);
    for (what, signature, why) in [
        ("another's key", own("regprov", 2, &vault), "was made with a key that allowed_signers does not name: ssh-ed25519 SHA256:"),
        ("another namespace", own("git", 1, &vault), "was made for namespace `git`, not `regprov`"),
        ("an older state", own("regprov", 1, &vault.replace("vault_serial: 4", "vault_serial: 3")), "does not fit vault.yml"),
        ("an empty file", String::new(), "is no signature of `ssh-keygen -Y sign`"),
        ("an age file", vault.clone(), "is no signature of `ssh-keygen -Y sign`"),
    ] {
        println!("{what}");
        site.write("vault.yml.sig", signature);
        site.refused(&[], &["vault.yml.sig", why]);
        site.restore();
    }
    fs::remove_file(site.path("vault.yml.sig")).unwrap();
    site.refused(&[], &["vault.yml is not signed: there is no vault.yml.sig, and `signed: required` in inventory.yml demands one"]);
    fs::create_dir(site.path("vault.yml.sig")).unwrap();
    site.refused(&[], &["vault.yml.sig", "directory"]);
    fs::remove_dir(site.path("vault.yml.sig")).unwrap();
    site.restore();

    let public = line("", &key(1)).trim().split_once("ssh-ed25519").unwrap().1.to_string();
    for (what, signers, why) in [
        ("the key has ended", format!("alice valid-before=\"20200101Z\" ssh-ed25519{public}"), "allowed_signers:1: it is not valid any more"),
        ("it has not begun", format!("alice valid-after=\"20990101Z\" ssh-ed25519{public}"), "allowed_signers:1: it is not valid yet"),
        ("it is for git", format!("alice namespaces=\"git\" ssh-ed25519{public}"), "its `namespaces` do not hold regprov"),
        ("it signs keys", format!("alice cert-authority ssh-ed25519{public}"), "it is a `cert-authority`, and certificates are not supported"),
        ("it is another's", line("bob", &key(2)), "was made with a key that allowed_signers does not name"),
        ("nobody is named", "# nobody\n".to_string(), "allowed_signers names nobody"),
        (
            "a line is wrong",
            format!("{}\nbob ssh-ed25519 AAAA\n", site.right("allowed_signers")),
            "allowed_signers:4: option `ssh-ed25519` is not known, or there is no public key",
        ),
        ("it is no text", "\u{feff}\0".to_string(), "allowed_signers:1:"),
    ] {
        println!("{what}");
        site.write("allowed_signers", signers);
        site.refused(&[], &[why]);
        site.restore();
    }
    fs::remove_file(site.path("allowed_signers")).unwrap();
    site.refused(&[], &["inventory.yml demands signatures (`signed: required`), and there is no allowed_signers", "namespaces=\"regprov\" ssh-ed25519"]);
    site.restore();

    // The control: nothing was written so far, and now everything is.
    assert_eq!(site.traces(), (0, 0));
    site.taken(&[]);
    // A line that is right counts beside one that does not, and only today's end counts.
    site.write("allowed_signers", format!("alice namespaces=\"git\" ssh-ed25519{public}\nbob valid-before=\"20990101\" ssh-ed25519{public}\n"));
    site.taken(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_that_reads_an_inventory_demands_it() {
    let site = Site::new().await;
    site.taken(&[]);
    let before = site.traces();
    let verbs: [&[&str]; 14] = [
        &["apply", "inventory.yml", "--check"],
        &["apply", "inventory.yml", "--resume"],
        &["hosts", "inventory.yml"],
        &["lint", "inventory.yml"],
        &["expiry", "inventory.yml"],
        &["verify", "inventory.yml"],
        &["status", "inventory.yml"],
        &["ping", "inventory.yml"],
        &["explain", "inventory.yml", "n0", "docker.io"],
        &["remove", "inventory.yml", "--all"],
        &["trust", "inventory.yml"],
        &["rotate", "start", "inventory.yml", "hub"],
        &["rotate", "undo", "inventory.yml", "hub"],
        &["rotate", "status", "inventory.yml", "hub"],
    ];
    let tampered = site.right("vault.yml").replace("username: alice", "username: mallory");
    site.write("vault.yml", &tampered);
    for verb in verbs {
        println!("{verb:?}");
        site.estate.run(verb).ended(5, &["vault.yml.sig does not fit vault.yml"]);
    }
    assert_eq!(site.traces(), before);
    site.restore();
    for verb in [&["hosts", "inventory.yml"][..], &["lint", "inventory.yml"], &["expiry", "inventory.yml"]] {
        site.estate.run(verb).ended(0, &[]);
    }
    // A rotation would leave a vault that the run after it refuses: it ends before anything is asked.
    site.estate.run(&["rotate", "start", "inventory.yml", "hub"]).ended(5, &["vault.yml would lose its signature", "REGPROV_SIGNING_KEY"]);
    assert_eq!((site.traces(), fs::read_to_string(site.path("vault.yml")).unwrap().as_str()), (before, site.right("vault.yml")));
    // The signature comes before the rollback: the first is the worse news.
    site.write("vault.yml", site.right("vault.yml").replace("vault_serial: 4", "vault_serial: 3"));
    site.refused(&[], &["does not fit"]);
    site.write("vault.yml.sig", sign(&key(1), "regprov", &site.right("vault.yml").replace("vault_serial: 4", "vault_serial: 3")));
    site.refused(&[], &["vault.yml was rolled back"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vaults_that_are_encrypted_as_a_whole_and_inventories_with_logins_are_no_different() {
    let site = Site::new().await;
    let recipient = fs::read_to_string(site.path("id.txt")).unwrap().lines().find_map(|l| l.strip_prefix("# public key: ").map(str::to_string)).unwrap();
    site.estate.run(&["vault", "encrypt", "vault.yml", "-r", &recipient]).ended(0, &["vault.yml.sig does not fit vault.yml any more"]);
    site.refused(&[], &["vault.yml.sig does not fit vault.yml"]);
    let whole = fs::read_to_string(site.path("vault.yml")).unwrap();
    site.write("vault.yml.sig", sign(&key(1), "regprov", &whole));
    site.taken(&[]);
    site.restore();

    let (_, logins) = site.right("vault.yml").split_once("logins:").unwrap();
    let own = site.right("inventory.yml").replace("vault: vault.yml\n", "") + "logins:" + logins;
    site.write("inventory.yml", &own);
    site.refused(&[], &["inventory.yml is not signed: there is no inventory.yml.sig"]);
    site.write("inventory.yml.sig", sign(&key(1), "regprov", &own));
    site.taken(&[]);
    site.write("inventory.yml", own.replace("username: alice", "username: mallory"));
    site.refused(&[], &["inventory.yml.sig does not fit inventory.yml"]);
    // One without logins needs none: whoever can change it can take the demand out.
    site.restore();
    site.taken(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signers_from_outside_are_asked_of_the_inventory_too() {
    let site = Site::new().await;
    let outside = ["--allowed-signers", "elsewhere"];
    site.write("elsewhere", line("alice", &key(1)));
    site.refused(&outside, &["inventory.yml is not signed: there is no inventory.yml.sig, and --allowed-signers elsewhere demands one"]);
    let sign_inventory = |text: &str, seed: u8| {
        site.write("inventory.yml", text);
        site.write("inventory.yml.sig", sign(&key(seed), "regprov", text));
    };
    sign_inventory(site.right("inventory.yml"), 1);
    site.taken(&outside);
    site.estate.piped_in(&[("REGPROV_ALLOWED_SIGNERS", "elsewhere")], &["hosts", "inventory.yml"], "").ended(0, &[]);

    // Somebody who can write everything in the repository: another vault, another inventory, other signers, no demand.
    let theirs = site.right("vault.yml").replace("username: alice", "username: mallory");
    site.write("vault.yml", &theirs);
    site.write("vault.yml.sig", sign(&key(2), "regprov", &theirs));
    site.write("allowed_signers", line("mallory", &key(2)));
    sign_inventory(&site.right("inventory.yml").replace("signed: required\n", ""), 2);
    site.refused(&outside, &["inventory.yml.sig was made with a key that elsewhere does not name"]);
    site.estate.piped_in(&[("REGPROV_ALLOWED_SIGNERS", "elsewhere")], &["hosts", "inventory.yml"], "").ended(5, &["inventory.yml.sig was made"]);
    // What the README says: without signers from outside, that passes.
    site.estate.run(&["hosts", "inventory.yml"]).ended(0, &["corp, hub, ngc"]);
    // Vault and demand alone do not do.
    sign_inventory(&site.right("inventory.yml").replace("signed: required\n", ""), 1);
    site.refused(&outside, &["vault.yml.sig was made with a key that elsewhere does not name"]);

    // Where CI says so, signers that come with the repository are told.
    let ci = |file: &str| site.estate.piped_in(&[("CI", "true")], &["hosts", "inventory.yml", "--allowed-signers", file], "");
    let told = "elsewhere lies in the repository of inventory.yml: whoever can change what is signed can change who may sign";
    ci("elsewhere").ended(5, &[told]);
    let apart = tempfile::NamedTempFile::new().unwrap();
    fs::write(apart.path(), line("alice", &key(1))).unwrap();
    ci(apart.path().to_str().unwrap()).ended(5, &["vault.yml.sig was made with a key"]).without(&["lies in the repository"]);

    site.refused(&["--allowed-signers", "nowhere"], &["nowhere cannot be read: there is no such file"]);
    site.estate.piped_in(&[("REGPROV_ALLOWED_SIGNERS", "")], &["hosts", "inventory.yml"], "").ended(5, &["REGPROV_ALLOWED_SIGNERS is set but empty"]);
    // Commands that work on a vault ask too.
    for verb in [
        &["vault", "show", "vault.yml"][..],
        &["vault", "list", "vault.yml"],
        &["vault", "get", "vault.yml", "hub", "--field", "username"],
        &["vault", "check", "vault.yml"],
        &["vault", "diff", "vault.yml", "vault.yml"],
        &["vault", "unset", "vault.yml", "hub"],
        &["vault", "rename", "vault.yml", "hub", "docker"],
        &["vault", "rekey", "vault.yml"],
        &["vault", "edit", "vault.yml"],
    ] {
        println!("{verb:?}");
        site.estate.run(&[verb, &outside].concat()).ended(5, &["vault.yml.sig was made with a key that elsewhere does not name"]);
    }
    assert_eq!(fs::read_to_string(site.path("vault.yml")).unwrap(), theirs, "nothing was written");
    site.restore();
    for verb in [&["vault", "show", "vault.yml"][..], &["vault", "list", "vault.yml"], &["vault", "diff", "vault.yml", "vault.yml"]] {
        site.estate.run(&[verb, &outside].concat()).ended(0, &[]);
    }
    site.estate.run(&[&["vault", "check", "vault.yml"], &outside[..]].concat()).ended(0, &["signed by alice (SHA256:"]);
    // A change would leave a vault that this process could not read again.
    site.estate.run(&[&["vault", "unset", "vault.yml", "hub"], &outside[..]].concat()).ended(5, &["would lose its signature", "REGPROV_SIGNING_KEY"]);
    assert_eq!(fs::read_to_string(site.path("vault.yml")).unwrap(), site.right("vault.yml"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_who_signed() {
    let site = Site::new().await;
    let check = |code: i32, words: &[&str]| site.estate.run(&["vault", "check", "vault.yml"]).ended(code, words);
    check(0, &["vault.yml: 3 logins, 3 passwords sealed for 1 recipient; signed by alice (SHA256:"]);
    fs::remove_file(site.path("allowed_signers")).unwrap();
    check(0, &["signed with SHA256:", "no allowed_signers beside it says whose that is"]);
    site.write("vault.yml.sig", sign(&key(1), "regprov", "something else"));
    check(5, &["vault.yml.sig does not fit vault.yml"]);
    site.restore();
    site.write("allowed_signers", line("bob", &key(2)));
    check(5, &["vault.yml.sig was made with a key that allowed_signers does not name"]);
    fs::remove_file(site.path("vault.yml.sig")).unwrap();
    check(0, &["3 passwords sealed for 1 recipient\n"]).without(&["signed"]);
    // `signed` has one value, and a vault has no such key.
    site.write("inventory.yml", site.right("inventory.yml").replace("signed: required", "signed: true"));
    site.estate.run(&["hosts", "inventory.yml"]).ended(2, &["inventory.yml:2:9: `signed` must be `required`"]);
    site.write("inventory.yml", site.right("inventory.yml").replace("signed: required", "singed: required"));
    site.estate.run(&["hosts", "inventory.yml"]).ended(2, &["did you mean `signed`?"]);
}

/// A signature cut or changed anywhere counts nowhere; what stands behind its end is no part of it, as for OpenSSH.
#[test]
fn a_signature_that_is_damaged_does_not_count() {
    let signers = Signers::parse("allowed_signers", &line("alice", &key(1)), &|_| None).unwrap();
    let whole = sign(&key(1), "regprov", "content");
    let verify = |signature: &[u8]| signers.verify(signature, b"content", "it", 1_800_000_000);
    assert_eq!(verify(whole.as_bytes()).unwrap().principals, "alice");
    let end = whole.find("-----END").unwrap() + "-----END SSH SIGNATURE-----".len();
    for cut in 0..whole.len() {
        assert_eq!(verify(&whole.as_bytes()[..cut]).is_ok(), cut >= end, "cut at {cut}");
    }
    let packed = signature_in(&whole);
    for at in 0..end {
        for bit in 0..8 {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            assert!(verify(&bytes).is_err(), "bit {bit} of byte {at}");
        }
    }
    // Inside of the armor every bit counts.
    let armored = |packed: &[u8]| signing::armored(packed);
    assert!(verify(armored(&packed).as_bytes()).is_ok());
    for at in 0..packed.len() {
        assert!(verify(armored(&packed[..at]).as_bytes()).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut bytes = packed.clone();
            bytes[at] ^= 1 << bit;
            assert!(verify(armored(&bytes).as_bytes()).is_err(), "bit {bit} of byte {at}");
        }
    }
    assert!(verify(armored(&[&packed[..], &[0]].concat()).as_bytes()).is_err());
}
