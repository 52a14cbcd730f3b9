//! What `apply` and `hosts` share: reading an inventory, its vaults and its passwords.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use zeroize::Zeroizing;

use super::console::ask_terminal;
use super::identity::IdentitySources;
use super::journal::LastRun;
use super::seen::{self, Met, Seen};
use super::signed::{self, Demand};
use super::{dynamic, files, sources};
use crate::cli::IdentityArgs;
use crate::error::{Error, Kind, Result, rule};
use crate::inventory::{self, Chosen, Entry, INVENTORY_BYTES_MAX, Inventory, LoadOptions, Program, Survey, World};
use crate::model::{Dynamic, Expiry, Login, LoginEntry, Namespace, PasswordText, Secret, VaultStamp, Within};
use crate::transport::clock::since_1970;
use crate::ui;
use crate::vault::{Identities, decrypt, is_age_file, open_become, open_login};

/// Opens what is sealed. The identities are read when the first seal is met, so that nothing is asked for in vain.
pub struct Opener {
    sources: IdentitySources,
    identities: Option<Identities>,
    allow_commands: bool,
    /// Passwords that were had anew for this run, by the logins' names.
    had: BTreeMap<String, Secret>,
    /// What this user has seen of vaults.
    seen: Seen,
    /// The vaults that were met, until it is known that all is well with the inventory.
    met: Vec<Met>,
    /// The digest of the vault that was read last.
    digest: Option<String>,
    /// That what is read is signed.
    demand: Option<Demand>,
    /// The inventory's bytes as they were read: it may demand a signature of them.
    inventory: Zeroizing<Vec<u8>>,
}

impl Opener {
    /// With these flags and this process's environment.
    pub fn of_process(args: &IdentityArgs) -> Result<Self> {
        let sources = IdentitySources::of_process(args)?;
        let (seen, met, had) = (Seen::of_process(), Vec::new(), BTreeMap::new());
        let demand = signed::demand()?;
        Ok(Opener { sources, identities: None, allow_commands: false, had, seen, met, digest: None, demand, inventory: Zeroizing::default() })
    }

    /// Lets the inventory run programs wherever it comes from (`--allow-commands`).
    #[must_use]
    pub fn allow_commands(self, allow_commands: bool) -> Self {
        Opener { allow_commands, ..self }
    }

    fn identities(&mut self) -> Result<&Identities> {
        match &mut self.identities {
            Some(identities) => Ok(identities),
            none => Ok(none.insert(self.sources.load(&mut |what| ask_terminal(what))?)),
        }
    }

    /// A file's text; one that is encrypted as a whole is opened.
    pub fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        // A wrong path is wrong input; inside the inventory it is told with its place.
        let bytes = files::read(path, INVENTORY_BYTES_MAX as u64).map_err(|e| Error { kind: Kind::Usage, ..e })?;
        self.decoded(path, bytes)
    }

    /// A file's bytes, whose signature was verified where one is demanded.
    fn bytes_signed(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = files::read(path, INVENTORY_BYTES_MAX as u64).map_err(|e| Error { kind: Kind::Usage, ..e })?;
        if let Some(demand) = &self.demand {
            demand.check(path, &bytes)?;
        }
        Ok(bytes)
    }

    fn decoded(&mut self, path: &Path, bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>> {
        let bytes = match is_age_file(&bytes) {
            true => decrypt(&bytes, self.identities()?).map_err(|e| e.explain(&path.display().to_string()))?,
            false => bytes,
        };
        inventory::decode(path, bytes)
    }

    /// The inventory, with its notes told as warnings.
    pub fn inventory(&mut self, path: &Path, allow_plaintext: bool, allow_expired: bool) -> Result<Inventory> {
        let inventory = inventory::load(path, self, LoadOptions { allow_plaintext, allow_expired, now: now() })?;
        self.keep_met();
        for note in &inventory.notes {
            ui::warning(&note.to_string());
        }
        Ok(inventory)
    }

    /// As [`Opener::inventory`], with plain passwords and logins that have ended, and without the warnings about ends.
    pub fn inventory_without_ends(&mut self, path: &Path) -> Result<Inventory> {
        let inventory = inventory::load(path, self, LoadOptions { allow_plaintext: true, allow_expired: true, now: now() })?;
        self.keep_met();
        for note in inventory.notes.iter().filter(|n| ![rule::EXPIRED, rule::EXPIRES_SOON].contains(&n.rule)) {
            ui::warning(&note.to_string());
        }
        Ok(inventory)
    }

    /// The inventory as far as it can be read, and what is wrong with it; nothing is told.
    pub fn survey(&mut self, path: &Path, allow_plaintext: bool, allow_expired: bool) -> Result<Survey> {
        let survey = inventory::survey(path, self, LoadOptions { allow_plaintext, allow_expired, now: now() })?;
        if survey.faults.is_empty() {
            self.keep_met();
        }
        Ok(survey)
    }

    fn keep_met(&mut self) {
        self.seen.keep(&std::mem::take(&mut self.met));
    }

    /// The hosts and namespaces that a `--limit` means; all of them without one.
    pub fn limit(&mut self, inventory: &Inventory, pattern: Option<&str>) -> Result<Chosen> {
        match pattern {
            Some(pattern) => inventory::limit(inventory, pattern, &mut |p| self.read(p), &mut || {
                let last = LastRun::of(Path::new(&inventory.path))?;
                let failed = last.failed();
                if failed.is_empty() {
                    ui::warning(&format!("no host failed in the last run ({})", last.path.display()));
                }
                known(inventory, &failed);
                Ok(failed.into_iter().map(str::to_string).collect())
            }),
            None => Ok(Chosen::all(inventory)),
        }
    }

    /// Whether an identity is given that could be read.
    pub fn has_identity(&self) -> bool {
        self.identities.is_some() || self.sources.at_hand()
    }

    /// What an age file holds that one of the identities opens; `None` where none does, none is at hand, or it is no whole age file.
    ///
    /// # Errors
    /// An identity is at hand and cannot be read.
    pub fn opened(&mut self, bytes: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if !(is_age_file(bytes) && self.has_identity()) {
            return Ok(None);
        }
        Ok(decrypt(bytes, self.identities()?).ok())
    }

    /// Opens the password of sudo.
    pub fn become_password(&mut self, text: &PasswordText, place: &str, allow_plaintext: bool) -> Result<Secret> {
        let none = Identities::default();
        let identities = if matches!(text, PasswordText::Sealed(_)) { self.identities()? } else { &none };
        open_become(text, place, identities, allow_plaintext)
    }

    /// Opens logins one by one, those in the clear too, and says by their names what came of it. Sealed ones are left out when no identity is
    /// at hand, and those that come anew for each run always.
    ///
    /// # Errors
    /// An identity is at hand and cannot be read.
    pub fn open_each(&mut self, entries: &[&LoginEntry]) -> Result<Vec<(String, Result<Login>)>> {
        let is_sealed = |e: &LoginEntry| matches!(e.password, PasswordText::Sealed(_));
        let at_hand = self.sources.at_hand();
        let none = Identities::default();
        let identities = if at_hand && entries.iter().any(|e| is_sealed(e)) { self.identities()? } else { &none };
        let open = entries.iter().filter(|e| e.password.dynamic().is_none() && (at_hand || !is_sealed(e)));
        Ok(open.map(|e| (e.name.clone(), open_login(e, identities, true))).collect())
    }

    /// Opens logins, in their order; all that do not open are told at once. What comes anew for each run is had then, once each, when all others
    /// are open.
    pub fn logins(&mut self, entries: &[&LoginEntry], allow_plaintext: bool) -> Result<Vec<Login>> {
        let none = Identities::default();
        let sealed = entries.iter().any(|e| matches!(e.password, PasswordText::Sealed(_)));
        let mut problems = Vec::new();
        if !self.allow_commands {
            problems.extend(entries.iter().filter_map(|e| dynamic::may_be_had(e, e.password.dynamic()?).err()));
        }
        let identities = if sealed { self.identities()? } else { &none };
        let mut logins: Vec<Login> = Vec::new();
        for entry in entries {
            let opened = match entry.password.dynamic() {
                None => open_with_previous(entry, identities, allow_plaintext),
                // Its password is had below.
                Some(dynamic) => Ok(dynamic_login(entry, dynamic)),
            };
            match opened {
                Ok(login) => logins.push(login),
                Err(e) => problems.push(e),
            }
        }
        if problems.is_empty() {
            for (entry, login) in entries.iter().zip(&mut logins) {
                let Some(dynamic) = entry.password.dynamic() else { continue };
                match self.password_for_this_run(entry, dynamic) {
                    Ok(password) => login.password = password,
                    Err(e) => problems.push(e),
                }
            }
            if problems.is_empty() {
                return Ok(logins);
            }
        } else if sealed {
            // Whoever has several identities wants to know which one was tried.
            problems.push(Error::vault(format!("identities were taken from {}", self.sources.named())));
        }
        Err(Error::together(problems))
    }

    /// The password of a login, had once for each run.
    fn password_for_this_run(&mut self, entry: &LoginEntry, dynamic: &Dynamic) -> Result<Secret> {
        if let Some(password) = self.had.get(&entry.name) {
            return Ok(password.clone());
        }
        let password = dynamic::password(entry, dynamic)?;
        self.had.insert(entry.name.clone(), password.clone());
        Ok(password)
    }
}

/// Opens a login, and what a rotation of it replaces: that goes nowhere, but a damaged seal is told before it is needed.
fn open_with_previous(entry: &LoginEntry, identities: &Identities, allow_plaintext: bool) -> Result<Login> {
    let login = open_login(entry, identities, allow_plaintext)?;
    if let Some(before) = entry.before_rotation() {
        open_login(&before, identities, false).map_err(|e| {
            let message = e.message.replacen("the password of", "the `previous` password of", 1);
            Error { message, ..e }.hint("take the file from version control again; when every host has the new password, `regprov rotate finish` drops it")
        })?;
    }
    Ok(login)
}

/// The login but for its password.
fn dynamic_login(entry: &LoginEntry, dynamic: &Dynamic) -> Login {
    Login {
        name: entry.name.clone(),
        registry: entry.registry.clone(),
        username: entry.username.clone(),
        password: Secret::new(String::new()),
        auth_hosts: dynamic.auth_hosts.clone(),
        expires: entry.expires.clone(),
    }
}

/// The time, in seconds since 1970-01-01 UTC.
pub fn now() -> i64 {
    i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX)
}

/// Refuses opened logins whose passwords say that they have ended, all at once, and warns of those that end soon, unless they are had anew for
/// each run. What `expires:` says was told when the inventory was read.
///
/// # Errors
/// Names the logins; with `allow_expired` they are warnings.
pub fn check_expiry<'a>(logins: impl IntoIterator<Item = &'a Login>, entries: &[LoginEntry], allow_expired: bool) -> Result<()> {
    let now = now();
    let mut logins: Vec<&Login> = logins.into_iter().collect();
    logins.sort_by(|a, b| a.name.cmp(&b.name));
    let mut ended = Vec::new();
    let comes_anew = |login: &Login| entries.iter().any(|e| e.name == login.name && e.password.dynamic().is_some());
    for login in logins {
        let Some(found) = login.expiry_in_password() else { continue };
        let told = |when: &str, found: &Expiry| format!("login `{}` for {} {when} ({}, as its password says)", login.name, login.registry, found.text);
        if found.is_past(now) {
            ended.push(told("has expired", &found));
        } else if found.is_due(now, Within::WARNING) && !comes_anew(login) {
            ui::warning(&told("expires soon", &found));
        }
    }
    if ended.is_empty() {
        return Ok(());
    }
    if allow_expired {
        ended.iter().for_each(|told| ui::warning(told));
        return Ok(());
    }
    Err(Error::usage(ended.join("\n")).hint("renew it with `regprov vault set`, or use it as it is with --allow-expired"))
}

/// The hosts and namespaces of these names. Those that the inventory does not have any more are told.
pub fn known(inventory: &Inventory, names: &[&str]) -> Chosen {
    let mut gone: BTreeSet<&str> = names.iter().copied().collect();
    let all = gone.clone();
    let mut found = |name: &str| {
        gone.remove(name);
        all.contains(name)
    };
    let hosts = (0..inventory.hosts.len()).filter(|i| found(&inventory.hosts[*i].name)).collect();
    let mut is_known = |n: &Namespace| found(&n.to_string()) | n.selected.as_ref().is_some_and(|row| found(row));
    let namespaces = (0..inventory.namespaces.len()).filter(|i| is_known(&inventory.namespaces[*i])).collect();
    let gone: Vec<&str> = gone.into_iter().collect();
    if !gone.is_empty() {
        ui::warning(&format!("of the last run, {} no longer in the inventory and passed over", ui::fold::fold_counted(&gone)));
    }
    Chosen { hosts, namespaces }
}

impl World for Opener {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        Opener::read(self, path)
    }

    fn read_inventory(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        signed::look_where_signers_are(path);
        let bytes = self.bytes_signed(path)?;
        self.inventory.clone_from(&bytes);
        self.decoded(path, bytes)
    }

    fn demand_signatures(&mut self, path: &Path, itself: bool) -> Result<()> {
        // One from outside of the repository was asked already, of the inventory too.
        if self.demand.is_none() {
            let demand = signed::demand_of(path)?;
            if itself {
                demand.check(path, &self.inventory)?;
            }
            self.demand = Some(demand);
        }
        Ok(())
    }

    fn read_vault(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        let bytes = self.bytes_signed(path)?;
        self.digest = Some(seen::digest(&bytes));
        self.decoded(path, bytes)
    }

    fn stamped(&mut self, path: &Path, stamp: Option<&VaultStamp>, is_vault: bool) -> Result<()> {
        self.seen.check(path, stamp)?;
        // An inventory is edited by hand, so what else it holds tells nothing.
        let digest = self.digest.take().filter(|_| is_vault);
        self.met.extend(stamp.map(|stamp| Met { path: path.to_path_buf(), stamp: stamp.clone(), digest }));
        Ok(())
    }

    fn list(&mut self, path: &Path) -> Result<Option<Vec<Entry>>> {
        sources::list(path)
    }

    fn run(&mut self, program: &Program) -> Result<Vec<u8>> {
        sources::run(program)
    }

    fn may_not_run(&mut self, file: &Path) -> Option<String> {
        if self.allow_commands { None } else { sources::may_not_run(file) }
    }

    fn may_not_show(&mut self, path: &Path, beside: &Path) -> Option<String> {
        // Whoever lets the inventory run programs lets it read what they can.
        if self.allow_commands || !sources::is_ci() { None } else { sources::outside_of_repository(path, beside) }
    }
}
