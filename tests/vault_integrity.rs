//! A vault that is not what it was: rolled back, swapped, cut, or with a value of another login. Each is refused with its reason, before
//! anybody is contacted, and each has a control that passes.

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/estate.rs"]
mod estate;
#[path = "common/hosts.rs"]
mod hosts;

use std::fs;
use std::sync::atomic::Ordering;

use estate::{DOCKER, Estate};

/// An estate with an inventory of all its logins, applied once.
struct Site(Estate);

impl Site {
    async fn new() -> Self {
        let site = Site(Estate::new(1).await);
        site.0.inventory("inventory.yml", "", "hub, ngc, corp", "docker, enroot");
        site
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path(name), text).unwrap();
    }

    fn serial(&self) -> u64 {
        self.text("vault.yml").lines().find_map(|l| l.strip_prefix("vault_serial: ")).unwrap().parse().unwrap()
    }

    fn apply(&self, flags: &[&str]) -> estate::Ran {
        self.0.apply(&[&["inventory.yml"], flags].concat())
    }

    /// How many connections the node took.
    fn contacted(&self) -> usize {
        self.0.bed.fleet.connections[0].load(Ordering::SeqCst)
    }

    /// Demands that a run is refused, and that no host was contacted.
    #[track_caller]
    fn refused(&self, flags: &[&str], code: i32, words: &[&str]) {
        let before = self.contacted();
        self.apply(flags).ended(code, words);
        assert_eq!(self.contacted(), before, "the host was contacted");
    }

    /// Demands that a run changes something, or nothing.
    #[track_caller]
    fn taken(&self, flags: &[&str], outcome: &str) {
        let before = self.contacted();
        self.apply(flags).ended(0, &[outcome]);
        assert!(self.contacted() > before);
    }
}

const HUB: &[&str] = &["vault", "set", "vault.yml", "hub"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_was_rolled_back_is_refused() {
    let site = Site::new().await;
    site.taken(&[], "1 changed");
    let (old, serial) = (site.text("vault.yml"), site.serial());
    site.0.piped(HUB, "planted-Hub_new").ended(0, &[]);
    let new = site.text("vault.yml");
    assert_eq!(site.serial(), serial + 1);
    site.taken(&[], "1 changed");
    site.write("vault.yml", &old);
    let words = ["vault.yml was rolled back", &format!("it has serial {serial}, and serial {} of this vault was seen before", serial + 1), "--allow-rollback"];
    site.refused(&[], 5, &words);
    for verb in
        [&["hosts", "inventory.yml"][..], &["lint", "inventory.yml"], &["expiry", "inventory.yml"], &["status", "inventory.yml"], &["ping", "inventory.yml"]]
    {
        site.0.run(verb).ended(5, &words);
    }
    for (verb, shows_a_password) in
        [("get", true), ("get --field username", false), ("list", false), ("show", false), ("show --reveal", true), ("check", false), ("check --deep", false)]
    {
        let mut verb = format!("vault {verb} --identity id.txt vault.yml");
        if verb.contains(" get ") {
            verb.push_str(" hub");
        }
        let mut verb: Vec<&str> = verb.split(' ').collect();
        let refused = site.0.run(&verb).ended(5, &words);
        assert!(refused.out.is_empty(), "{}", refused.out);
        verb.push("--allow-rollback");
        if !shows_a_password {
            site.0.run(&verb).ended(0, &[]);
        }
    }
    site.0.piped(HUB, "planted-Hub_old").ended(5, &words);
    assert_eq!(site.text("vault.yml"), old, "it is not changed either");
    // The control: the newest is taken.
    site.write("vault.yml", &new);
    site.taken(&[], "1 unchanged");
    // What is meant is taken, from then on, and others will take the change after it.
    site.write("vault.yml", &old);
    site.taken(&["--allow-rollback"], "1 changed");
    site.taken(&[], "1 unchanged");
    site.0.piped(HUB, "planted-Hub_next").ended(0, &[]);
    assert_eq!(site.serial(), serial + 2);
    site.taken(&[], "1 changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_before_any_run() {
    let site = Site::new().await;
    let old = site.text("vault.yml");
    site.0.piped(HUB, "planted-Hub_new").ended(0, &[]);
    site.write("vault.yml", &old);
    site.refused(&[], 5, &["vault.yml was rolled back"]);
    site.0.piped(&[HUB, &["--allow-rollback"]].concat(), "planted-Hub_newer").ended(0, &[]);
    site.taken(&[], "1 changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_in_the_place_of_another_is_refused() {
    let site = Site::new().await;
    site.taken(&[], "1 changed");
    let (ours, id) = (site.text("vault.yml"), fs::read_to_string(site.0.path("id.txt")).unwrap());
    let recipient = id.lines().find_map(|l| l.strip_prefix("# public key: ")).unwrap();
    // Right in itself: whoever knows the recipient can seal.
    site.0.run(&["vault", "init", "theirs.yml", "-r", recipient]).ended(0, &[]);
    for (login, registry, username, _) in estate::PASSWORDS {
        site.0.piped(&["vault", "set", "theirs.yml", login, "--registry", registry, "--username", username], "planted-of-Mallory").ended(0, &[]);
    }
    site.write("vault.yml", &site.text("theirs.yml"));
    let words = ["vault.yml was swapped: it is vault v", "was seen there", "--allow-rollback"];
    site.refused(&[], 5, &words);
    site.0.piped(HUB, "planted-Hub_new").ended(5, &words);
    // Without its end it is no better, and with no login of that name the reason is the same.
    let theirs = site.text("theirs.yml");
    site.write("vault.yml", &theirs[..theirs.find("logins:").unwrap()]);
    site.refused(&[], 5, &["vault.yml has no `vault_id` any more", "it was cut, or swapped"]);
    site.write("vault.yml", &ours);
    site.taken(&[], "1 unchanged");
    site.write("vault.yml", &theirs);
    site.taken(&["--allow-rollback"], "1 changed");
    assert!(!site.0.read(0, DOCKER).is_empty());
    site.write("vault.yml", &ours);
    site.refused(&[], 5, &words);
    // A new vault is its maker's own act.
    fs::remove_file(site.0.path("vault.yml")).unwrap();
    site.0.run(&["vault", "init", "vault.yml", "-r", recipient]).ended(0, &[]);
    site.0.piped(&["vault", "set", "vault.yml", "hub", "--registry", "docker.io", "--username", "alice"], "planted-Hub_1").ended(0, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_was_cut_is_refused() {
    let site = Site::new().await;
    let whole = site.text("vault.yml");
    let (end, _) = whole.split_once("vault_id").unwrap();
    site.write("vault.yml", end);
    site.refused(&[], 2, &["its last lines are missing, `vault_id` and `vault_serial`"]);
    let (end, _) = whole.split_once("vault_serial").unwrap();
    site.write("vault.yml", end);
    site.refused(&[], 2, &["`vault_id` stands here without `vault_serial`"]);
    site.0.piped(HUB, "planted-Hub_new").ended(5, &["it has a `vault_id` and no `vault_serial`: it was cut"]);
    site.write("vault.yml", &whole);
    site.taken(&[], "1 changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_another_login_is_refused() {
    let site = Site::new().await;
    let whole = site.text("vault.yml");
    let seals: Vec<String> = whole.split("    password: |\n").skip(1).map(|s| s[..s.find("END AGE").unwrap()].to_string()).collect();
    assert_eq!(seals.len(), 3);
    site.write("vault.yml", &whole.replace(&seals[0], "@").replace(&seals[1], &seals[0]).replace('@', &seals[1]));
    site.refused(&[], 5, &["was sealed for", "not for"]);
    site.write("vault.yml", &whole);
    site.taken(&[], "1 changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inventory_with_logins_of_its_own_is_no_different() {
    let site = Site::new().await;
    let vault = site.text("vault.yml");
    let (_, logins) = vault.split_once("logins:").unwrap();
    let inventory = site.text("inventory.yml").replace("vault: vault.yml\n", "");
    site.write("inventory.yml", &format!("{inventory}logins:{logins}"));
    site.taken(&[], "1 changed");
    // Hosts and targets are edited by hand; that is no other state of the logins.
    let old = site.text("inventory.yml");
    site.write("inventory.yml", &format!("# edited\n{old}"));
    site.taken(&[], "1 unchanged");
    site.write("inventory.yml", &old.replace("vault_serial: 4", "vault_serial: 3"));
    site.refused(&[], 5, &["inventory.yml was rolled back"]);
}

/// What a fresh machine does not know, and what goes on when the state cannot be had: the README says both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_machine_has_seen_nothing() {
    let site = Site::new().await;
    let old = site.text("vault.yml");
    site.0.piped(HUB, "planted-Hub_new").ended(0, &[]);
    site.taken(&[], "1 changed");
    site.write("vault.yml", &old);
    site.refused(&[], 5, &["rolled back"]);
    let state = site.0.path("home/.local/state/regprov");
    fs::remove_dir_all(&state).unwrap();
    site.taken(&[], "1 changed");
    assert!(state.join("vaults").is_dir());
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "").unwrap();
    site.taken(&[], "1 unchanged");
    site.apply(&[]).ended(0, &["warning: what was seen of the vaults cannot be kept, so a later rollback is not known"]);
}
