//! A site whose vault is damaged: made by the program itself, with images of diskless nodes that are folders, and a host behind SSH that
//! notes who comes. Damage is judged in this process, by the functions that `apply` goes through, and by the program.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use regprov::cli::IdentityArgs;
use regprov::command::load::Opener;
use regprov::error::Error;
use regprov::format::{self, Merge, MergeOptions, NodeFacts, consumer};
use regprov::inventory::{self, Inventory, LoadOptions, World};
use regprov::model::{Connection, Login, LoginEntry, PasswordText, VaultStamp};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use zeroize::Zeroizing;

/// Passwords in the vault, those of a rotation and of sudo with them. No message may hold them.
pub(crate) const PLANTED: [&str; 6] = ["planted-Hub_1", "planted-Ngc_old", "planted-Ngc_new", "planted-Harbor_3", "planted-Corp_4", "planted-Sudo_5"];

/// The logins: name, registry, username, password and flags of `vault set`. `ngc` is under rotation.
const LOGINS: [(&str, &str, &str, &str, &[&str]); 4] = [
    ("hub", "docker.io", "alice", PLANTED[0], &["--expires", "2099-03-01"]),
    ("ngc", "nvcr.io", "$oauthtoken", PLANTED[1], &["--canary", "nvidia/cuda"]),
    ("harbor", "harbor.example.org:8443", "robot$base+gpu", PLANTED[3], &["--auth-host", "token.example.org", "--expires", "2098-11-30T12:00:00Z"]),
    ("corp", "reg.example.org", "bob", PLANTED[4], &[]),
];

/// An ed25519 key nobody has; it is a recipient, and the host key of the host behind SSH.
const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

/// What a run of the program came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) text: String,
    /// How many connections the host behind SSH took.
    pub(crate) contacts: usize,
    /// What lies in the images, by host and path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// A folder of the admin's.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    contacts: Arc<AtomicUsize>,
    port: u16,
}

impl Site {
    /// With an identity and an inventory, and no vault yet.
    fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("damage").tempdir().unwrap();
        let contacts = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = contacts.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.and_then(|mut stream| stream.write_all(b"nobody is at home\r\n"));
            }
        });
        let site = Site { dir, contacts, port };
        fs::create_dir(site.path("home")).unwrap();
        site.write("key", PrivateKey::from(Ed25519Keypair::from_seed(&[5; 32])).to_openssh(LineEnding::LF).unwrap().as_bytes());
        fs::set_permissions(site.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        site.images();
        site.write("inventory.yml", site.inventory("vault.yml").as_bytes());
        site
    }

    /// With the vault of [`LOGINS`].
    pub(crate) fn new() -> Self {
        let site = Site::empty();
        let ours = site.ok(&["vault", "keygen", "-o", "id.txt"], "");
        site.ok(&["vault", "audit-key"], "");
        site.write("team.txt", format!("# the team\n{SSH_KEY} carol@example.org\n").as_bytes());
        site.ok(&["vault", "init", "vault.yml", "-r", ours.trim(), "-R", "team.txt"], "");
        for (name, registry, username, password, flags) in LOGINS {
            site.ok(&[&["vault", "set", "vault.yml", name, "--registry", registry, "--username", username], flags].concat(), password);
        }
        site.ok(&["vault", "set", "vault.yml", "--become"], PLANTED[5]);
        let start = ["rotate", "start", "local.yml", "ngc", "--no-verify", "--identity", "id.txt"];
        let far = site.text("inventory.yml");
        site.write("local.yml", far.replace("far-away: {hosts: far, ", "far-away: {hosts: [], ").split("  far:").next().unwrap().as_bytes());
        site.ok(&start, PLANTED[2]);
        assert_eq!(site.contacts.load(Ordering::SeqCst), 0);
        site.images();
        site
    }

    /// Another folder with the same identity, vault and inventory, whose images are its own.
    pub(crate) fn twin(&self) -> Self {
        let twin = Site::empty();
        for name in ["id.txt", "vault.yml"] {
            fs::copy(self.path(name), twin.path(name)).unwrap();
        }
        twin
    }

    /// An inventory with this vault. Every login goes somewhere, and the host behind SSH needs the password of sudo.
    pub(crate) fn inventory(&self, vault: &str) -> String {
        format!(
            "version: 1\nid: damage\nvault: {vault}\ndefaults: {{curl: \"8.5.0\"}}\ngroups:\n  images-a: {{hosts: a, logins: [hub, ngc, harbor], targets: [docker, enroot, helm], \
             connection: local}}\n  images-b: {{hosts: b, logins: [corp, ngc], targets: [podman, kubelet, k3s], connection: local}}\n  images-c: {{hosts: c, logins: \
             [harbor], targets: [singularity, crio], connection: local}}\n  far-away: {{hosts: far, logins: [hub], targets: [docker], become: true}}\nhosts:\n  a: {{root: \
             {dir}/a}}\n  b: {{root: {dir}/b}}\n  c: {{root: {dir}/c}}\n  far: {{address: 127.0.0.1, port: {}, host_key: {SSH_KEY}}}\n",
            self.port,
            dir = self.dir.path().display()
        )
    }

    /// Empties the images.
    fn images(&self) {
        for host in ["a", "b", "c"] {
            let _ = fs::remove_dir_all(self.path(host));
            for sub in ["root", "etc/profile.d", "var/lib"] {
                fs::create_dir_all(self.path(host).join(sub)).unwrap();
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(words).current_dir(self.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.path("home"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program and demands that it ends well; what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str], input: &str) -> String {
        let mut child = self.command(words).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// `apply` on empty images, on a machine that has seen no vault. Whatever it says holds no password.
    pub(crate) fn apply(&self, inventory: &str) -> Ran {
        let _ = fs::remove_dir_all(self.path("home/.local"));
        self.apply_again(inventory)
    }

    /// As [`apply`](Self::apply), on the machine as the last run left it.
    pub(crate) fn apply_again(&self, inventory: &str) -> Ran {
        self.images();
        self.contacts.store(0, Ordering::SeqCst);
        let path = self.path(inventory);
        let words = ["apply", path.to_str().unwrap(), "--identity", "id.txt", "--no-agent", "--ssh-key", "key"];
        let out = self.command(&words).stdin(Stdio::null()).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        quiet(&text);
        let mut files = BTreeMap::new();
        for host in ["a", "b", "c"] {
            let root = self.path(host);
            walk(&root, &mut |path| {
                let below = path.strip_prefix(&root).unwrap().to_str().unwrap();
                if !below.starts_with("var/lib/regprov") {
                    files.insert(format!("{host}:/{below}"), fs::read(path).unwrap());
                }
            });
        }
        Ran { code: out.status.code().expect("no signal ends it"), text, contacts: self.contacts.load(Ordering::SeqCst), files }
    }
}

fn walk(dir: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, see) } else { see(&path) }
    }
}

/// Demands that no password stands in a text.
#[track_caller]
pub(crate) fn quiet(text: &str) {
    for secret in PLANTED.into_iter().chain(["AGE-SECRET-KEY-1"]) {
        assert!(!text.contains(secret), "a secret is said: {text}");
    }
}

/// What comes of a vault.
pub(crate) enum Verdict {
    /// The run ends with this exit code and these words, before anyone is contacted.
    Refused(u8, String),
    /// It goes on, with these logins for these files.
    Taken(Box<Taken>),
}

pub(crate) struct Taken {
    pub(crate) inventory: Inventory,
    stamp: Option<VaultStamp>,
    /// The logins that hosts get.
    logins: BTreeMap<String, Login>,
    /// What is to lie in the images, by host and path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// The world of `apply`, noting which state of the vault it is told of.
struct Noting {
    opener: Opener,
    stamp: Option<VaultStamp>,
}

impl World for Noting {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>, Error> {
        World::read(&mut self.opener, path)
    }

    fn read_inventory(&mut self, path: &Path) -> Result<Zeroizing<String>, Error> {
        // Once it demanded signatures, the opener would demand one of the inventory too; the program reads it once.
        self.opener.read(path)
    }

    fn demand_signatures(&mut self, path: &Path, itself: bool) -> Result<(), Error> {
        self.opener.demand_signatures(path, itself)
    }

    fn read_vault(&mut self, path: &Path) -> Result<Zeroizing<String>, Error> {
        self.opener.read_vault(path)
    }

    fn stamped(&mut self, path: &Path, stamp: Option<&VaultStamp>, is_vault: bool) -> Result<(), Error> {
        self.stamp = stamp.cloned();
        self.opener.stamped(path, stamp, is_vault)
    }
}

/// Judges vaults of a site as `apply` does, up to the files that it would write on empty nodes.
pub(crate) struct Judge<'a> {
    site: &'a Site,
    inventory: PathBuf,
    /// The file that is damaged.
    file: PathBuf,
    world: Noting,
    /// What was opened before: opening asks for nothing but the entry and the identity, so an entry that is the same opens to the same.
    known: Vec<(LoginEntry, Login)>,
    known_become: Option<String>,
}

impl<'a> Judge<'a> {
    /// Of what comes of this file of the site, the vault or its signature, with this inventory.
    pub(crate) fn new(site: &'a Site, inventory: &str, file: &str) -> Self {
        let args = IdentityArgs { identities: vec![site.path("id.txt")], ..IdentityArgs::default() };
        // As it is where neither `CI` is set nor others can write here, like the program's own runs below.
        let opener = Opener::of_process(&args).unwrap().allow_commands(true);
        Judge { site, inventory: site.path(inventory), file: site.path(file), world: Noting { opener, stamp: None }, known: Vec::new(), known_become: None }
    }

    /// Judges the file as it stands.
    pub(crate) fn whole(&mut self) -> Taken {
        let bytes = fs::read(&self.file).unwrap();
        let Verdict::Taken(taken) = self.judge(&bytes) else { panic!("the vault is whole") };
        self.known = taken.inventory.logins.iter().map(|entry| (entry.clone(), taken.logins[&entry.name].clone())).collect();
        self.known_become = taken.inventory.become_password.as_ref().and_then(|(text, _)| sealed(text));
        *taken
    }

    /// Judges the file with these bytes in it.
    pub(crate) fn judge(&mut self, bytes: &[u8]) -> Verdict {
        fs::write(&self.file, bytes).unwrap();
        self.judged().unwrap_or_else(|e| {
            let text = e.to_string();
            quiet(&text);
            Verdict::Refused(e.kind.exit_code(), text)
        })
    }

    fn judged(&mut self) -> Result<Verdict, Error> {
        let options = LoadOptions { now: regprov::command::load::now(), ..LoadOptions::default() };
        let mut inventory = inventory::load(&self.inventory, &mut self.world, options)?;
        inventory::select(&mut inventory, &[], &[])?;
        let used: BTreeSet<&str> = inventory.hosts.iter().flat_map(|h| &h.targets).flat_map(|t| &t.logins).map(String::as_str).collect();
        let (mut logins, mut others) = (BTreeMap::new(), Vec::new());
        for entry in inventory.logins.iter().filter(|e| used.contains(e.name.as_str())) {
            match self.known.iter().find(|(known, _)| body(known) == body(entry)) {
                Some((_, login)) => {
                    drop(logins.insert(entry.name.clone(), Login { name: entry.name.clone(), expires: entry.expires.clone(), ..login.clone() }))
                }
                None => others.push(entry),
            }
        }
        logins.extend(self.world.opener.logins(&others, false)?.into_iter().map(|login| (login.name.clone(), login)));
        let of = |names: &[String]| names.iter().map(|name| &logins[name]).collect::<Vec<_>>();
        let problems: Vec<String> = inventory.hosts.iter().flat_map(|h| &h.targets).flat_map(|t| format::problems(t, &of(&t.logins))).collect();
        if !problems.is_empty() {
            return Err(Error::usage(problems.join("\n")));
        }
        if let Some((text, place)) = inventory.become_password.as_ref().filter(|(text, _)| sealed(text) != self.known_become) {
            assert!(inventory.hosts.iter().any(|h| h.becomes_root));
            self.world.opener.become_password(text, place, false)?;
        }
        let mut files = BTreeMap::new();
        for host in inventory.hosts.iter().filter(|h| h.connection == Connection::Local) {
            for target in &host.targets {
                for spec in (consumer(target.kind).files)(target) {
                    let facts = NodeFacts { curl: host.curl, ..NodeFacts::default() };
                    let merge = Merge { target, spec: &spec, logins: &of(&target.logins), existing: None, facts: &facts, options: MergeOptions::default() };
                    let merged = (consumer(target.kind).merge)(&merge).map_err(Error::usage)?;
                    files.insert(format!("{}:{}", host.name, spec.path), merged.write.expect("nothing was there").to_vec());
                }
            }
        }
        Ok(Verdict::Taken(Box::new(Taken { inventory, stamp: self.world.stamp.take(), logins, files })))
    }

    /// Demands that the program comes to the same as this verdict on the bytes, in a folder that has seen no vault; nobody is contacted
    /// unless it is taken.
    #[track_caller]
    pub(crate) fn confirm(&mut self, what: &str, bytes: &[u8]) {
        let verdict = self.judge(bytes);
        let ran = self.site.apply(self.inventory.file_name().unwrap().to_str().unwrap());
        match verdict {
            Verdict::Refused(code, text) => {
                assert_eq!(ran.code, i32::from(code), "{what}: {}\nhere: {text}", ran.text);
                // Which inventory demands a signature is told behind it; here it may be that of another site in this process.
                let said = text.lines().next().and_then(|line| line.split("; ").next()).unwrap();
                assert!(ran.text.contains(said), "{what}: {}\nhere: {text}", ran.text);
                assert_eq!((ran.contacts, ran.files.len()), (0, 0), "{what}: {}", ran.text);
            }
            Verdict::Taken(taken) => {
                // The host behind SSH is nobody's, so it is unreachable, and nothing else is wrong.
                assert_eq!(ran.code, 4, "{what}: {}", ran.text);
                assert_eq!(ran.contacts, 1, "{what}");
                assert!(ran.files == taken.files, "{what}: other files");
            }
        }
    }
}

fn sealed(text: &PasswordText) -> Option<String> {
    if let PasswordText::Sealed(armored) = text { Some(armored.clone()) } else { None }
}

/// What an entry is opened by.
fn body(entry: &LoginEntry) -> impl PartialEq {
    let previous = entry.previous.as_ref().map(|p| (p.username.clone(), p.sealed.clone()));
    (entry.registry.clone(), entry.username.clone(), sealed(&entry.password), entry.password.dynamic().cloned(), previous)
}

/// The parts of a vault in which two of them differ, by the names that the README has for them. The first one is whole.
pub(crate) fn changed(whole: &Taken, other: &Taken) -> BTreeSet<&'static str> {
    let mut parts = BTreeSet::new();
    let mut see = |differs: bool, part: &'static str| {
        if differs {
            parts.insert(part);
        }
    };
    see(whole.inventory.recipients != other.inventory.recipients, "`recipients`");
    see(whole.stamp != other.stamp, "`vault_id`, `vault_serial`");
    let sudo = |t: &Taken| t.inventory.become_password.as_ref().and_then(|(text, _)| sealed(text));
    see(sudo(whole).is_some() && sudo(other).is_none(), "a `become_password` that is missing");
    let account = |e: &LoginEntry| (e.registry.clone(), e.username.clone());
    for old in &whole.inventory.logins {
        let Some(new) = other.inventory.logins.iter().find(|e| account(e) == account(old)) else {
            see(true, "another login");
            continue;
        };
        see(new.name != old.name, "a login's name");
        see(new.expires != old.expires, "`expires`");
        see(new.canary != old.canary, "`canary`");
        see(new.fingerprint != old.fingerprint, "`fingerprint`");
        see(new.password.dynamic().is_some(), "`password_command`, `password_file`");
        let previous = |e: &LoginEntry| e.previous.as_ref().map(|p| (p.username.clone(), p.sealed.clone(), p.expires.clone(), p.fingerprint.clone()));
        see(previous(new) != previous(old), "`previous`");
        if new.password.dynamic().is_none() && sealed(&new.password) != sealed(&old.password) {
            let again = old.previous.as_ref().is_some_and(|p| Some(&p.sealed) == sealed(&new.password).as_ref());
            see(true, if again { "an older seal" } else { "another login" });
        }
    }
    see(other.inventory.logins.len() > whole.inventory.logins.len(), "another login");
    if parts.is_empty() { BTreeSet::from(["comments, order and spacing"]) } else { parts }
}

/// What was ever sealed here: registry, account, auth hosts and password, of each login and of what a rotation replaces.
pub(crate) fn genuine(login: &Login) -> bool {
    let old = LOGINS.iter().map(|(_, registry, username, password, flags)| (*registry, *username, *password, *flags));
    let new = old.clone().filter(|l| l.2 == PLANTED[1]).map(|l| (l.0, l.1, PLANTED[2], l.3));
    old.chain(new).any(|(registry, username, password, flags)| {
        let hosts: Vec<&str> = flags.windows(2).filter(|w| w[0] == "--auth-host").map(|w| w[1]).collect();
        login.registry.to_string() == registry && login.username.as_str() == username && login.password.expose() == password && login.auth_hosts == hosts
    })
}

impl Taken {
    /// Demands that every login that goes somewhere is one that was sealed here, as it was.
    #[track_caller]
    pub(crate) fn all_genuine(&self, what: &str) {
        for login in self.logins.values() {
            assert!(genuine(login), "{what}: login {} at {} is not as it was sealed", login.name, login.registry);
        }
    }
}
