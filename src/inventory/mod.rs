//! YAML text to an [`Inventory`]: what hosts there are, how they are reached and which logins each gets where.
//!
//! Pure: files, directories and programs are asked of the [`World`] handed in. Every problem is found in one pass and told at once,
//! with file, line and column, and never with a value that might be secret. Nothing is ever interpolated: `$oauthtoken` is a name.
//!
//! The way through: `yaml` (a tree that knows its places), `schema` and `document` (each key by itself), `source` (hosts that others
//! list), `resolve` (what they mean together), then [`limit()`] and [`select`] (which part of it this run is about).

pub(crate) mod document;
pub(crate) mod fields;
mod hostlist;
mod limit;
mod resolve;
mod schema;
mod source;
pub(crate) mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fields::Reader;
use yaml::Pos;
use zeroize::Zeroizing;

pub(crate) use fields::hint_for;
pub use limit::{Chosen, limit, select};
pub(crate) use schema::{Shape, TOP};
pub(crate) use source::ansible_vars;
pub use source::{Layout, LayoutGroup, layout as ansible_layout};

use crate::error::{Error, Kind, Problem, Result, rule};
use crate::model::armor;
use crate::model::text::{escape, shell_word};
use crate::model::verify::VerifyMode;
use crate::model::{Host, LoginEntry, Namespace, PasswordText, Portion, Target, VaultStamp, Within};
use document::{Document, LoginItem};

/// Bytes that an inventory or a vault may have.
pub const INVENTORY_BYTES_MAX: usize = 4 << 20;

/// Hosts that an inventory may have, and names that one host list may stand for.
pub const HOSTS_MAX: usize = 100_000;

/// Groups that an inventory may have.
pub const GROUPS_MAX: usize = 2_000;

/// Items of one list of names, targets, recipients or vaults; host lists have [`HOSTS_MAX`].
const LIST_MAX: usize = 1_000;

/// Memberships, targets and logins of all hosts together.
const RESOLVED_MAX: usize = 5_000_000;

/// Problems that are told of one inventory; the rest are counted.
const PROBLEMS_MAX: usize = 200;

/// An inventory, resolved.
pub struct Inventory {
    /// `id:`, which the nodes' record of what we own carries.
    pub id: Option<String>,
    /// The file as the admin named it.
    pub path: String,
    /// The hosts in inventory order: the groups from top to bottom, each group's hosts as listed, each host once.
    pub hosts: Vec<Host>,
    /// The namespaces of clusters, in the order in which `kubernetes:` names them.
    pub namespaces: Vec<Namespace>,
    /// The logins of inventory and vaults, sorted by name.
    pub logins: Vec<LoginEntry>,
    /// `defaults.serial:`, the sizes of a run's waves.
    pub serial: Vec<Portion>,
    /// `defaults.verify:`, whether logins are shown to their registries before hosts are written.
    pub verify: VerifyMode,
    /// The password of sudo, for hosts with `become: true`, and its place.
    pub become_password: Option<(PasswordText, String)>,
    /// The recipients of inventory and vaults, each once.
    pub recipients: Vec<String>,
    /// Warnings, in the order of their places.
    pub notes: Vec<Problem>,
    /// Every group with the positions of its hosts in [`Inventory::hosts`], those of its children included.
    pub groups: BTreeMap<String, Vec<usize>>,
    /// Where the targets stand.
    places: resolve::Places,
}

impl Inventory {
    /// The place that names a target first, such as `inventory.yml:9:16`; the file alone for one that is not of this inventory.
    pub fn place_of(&self, target: &Target) -> String {
        match self.places.get(&resolve::key(target)) {
            Some(pos) => format!("{}:{}:{}", self.path, pos.line, pos.column),
            None => format!("{}:0:0", self.path),
        }
    }
}

/// All that can be known of an inventory, right or wrong.
pub struct Survey {
    /// What could be read. Where something is wrong it may lack logins and hosts; a login without a password has an empty seal.
    pub inventory: Inventory,
    /// What is wrong, in the order of the places.
    pub faults: Vec<Problem>,
}

/// What the admin allows, and what time it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Passwords in the clear are taken (`--allow-plaintext`).
    pub allow_plaintext: bool,
    /// Expired logins are taken (`--allow-expired`).
    pub allow_expired: bool,
    /// Now, in seconds since 1970-01-01 UTC.
    pub now: i64,
}

/// The text of a file as [`load`] wants it from its `read`: UTF-8 of at most [`INVENTORY_BYTES_MAX`] bytes.
///
/// # Errors
/// Says on which line the first byte stands that is no UTF-8, [`Kind::Usage`]; or where a seal is damaged, [`Kind::Vault`].
pub fn decode(path: &Path, bytes: impl Into<Zeroizing<Vec<u8>>>) -> Result<Zeroizing<String>> {
    let (file, mut bytes) = (path.display(), bytes.into());
    if bytes.len() > INVENTORY_BYTES_MAX {
        return Err(Error::usage(format!("{file}: is larger than {} MiB", INVENTORY_BYTES_MAX >> 20)));
    }
    if let Err(e) = std::str::from_utf8(&bytes) {
        if let Some(line) = armor::damaged(&bytes) {
            return Err(told(vec![document::damaged_seal(&file.to_string(), &String::from_utf8_lossy(&bytes), line)]));
        }
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        return Err(Error::usage(format!("{file}:{line}: is not UTF-8")).hint("save the file as UTF-8"));
    }
    // Moved, not copied: a copy would have to be wiped too.
    Ok(Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).expect("it was checked two lines above")))
}

/// What [`load`] asks of the world: files, and for sources of hosts directories and programs.
pub trait World {
    /// A file's text; see [`decode`]. It may hold passwords, and is wiped when it is dropped.
    ///
    /// # Errors
    /// Of [`Kind::Usage`], or of another kind when a file that is encrypted cannot be opened.
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>>;

    /// As [`World::read`], of the inventory itself.
    ///
    /// # Errors
    /// As there.
    fn read_inventory(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        self.read(path)
    }

    /// This inventory, which was read last, demands that its vaults are signed (`signed: required`); told before the first of them is read.
    /// `itself` is whether it holds logins too, and has to be signed as they have.
    ///
    /// # Errors
    /// Nobody is named whose signatures would count, or its own does not.
    fn demand_signatures(&mut self, path: &Path, _itself: bool) -> Result<()> {
        Err(Error::vault(format!("{} demands signatures, which cannot be verified here", path.display())))
    }

    /// As [`World::read`], of a vault.
    ///
    /// # Errors
    /// As there.
    fn read_vault(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        self.read(path)
    }

    /// The file that was read last holds passwords, or this stamp; `is_vault` is whether it is a vault and nothing else.
    ///
    /// # Errors
    /// It must not be used: it is not what it was, or another one than was there before.
    fn stamped(&mut self, _path: &Path, _stamp: Option<&VaultStamp>, _is_vault: bool) -> Result<()> {
        Ok(())
    }

    /// What is in a directory, sorted by name; `None` when the path is no directory.
    ///
    /// # Errors
    /// Says that it cannot be looked into.
    fn list(&mut self, path: &Path) -> Result<Option<Vec<Entry>>> {
        Err(not_at_hand(&path.display().to_string()))
    }

    /// Runs a program and returns what it printed. It must end by itself: a deadline and a limit are the world's.
    ///
    /// # Errors
    /// Says why there is no output.
    fn run(&mut self, program: &Program) -> Result<Vec<u8>> {
        Err(not_at_hand(&program.argv[0]))
    }

    /// Why what this file says must not run programs, as the end of a sentence; `None` when it may.
    fn may_not_run(&mut self, _file: &Path) -> Option<String> {
        None
    }

    /// Why hosts must not be taken from this file or directory, as the end of a sentence, by an inventory in the directory `beside`; `None`
    /// when they may. What is read as hosts is shown.
    fn may_not_show(&mut self, _path: &Path, _beside: &Path) -> Option<String> {
        None
    }
}

fn not_at_hand(what: &str) -> Error {
    Error::usage(format!("{what}: sources of hosts are not at hand here"))
}

impl<F: FnMut(&Path) -> Result<T>, T: Into<Zeroizing<String>>> World for F {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        self(path).map(Into::into)
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name.
    pub name: String,
}

/// A program to run for its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Program and arguments. A program without `/` is looked for in PATH.
    pub argv: Vec<String>,
    /// The way out when it cannot be run.
    pub hint: String,
}

/// Reads as [`load`] does, and tells what is wrong as a list beside what could be read.
///
/// # Errors
/// The inventory itself cannot be read, or a vault cannot be opened.
pub fn survey(path: &Path, world: &mut dyn World, options: LoadOptions) -> Result<Survey> {
    let (inventory, mut faults) = read(path, world, options)?;
    faults.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Ok(Survey { inventory, faults: faults.into_iter().map(sanitize).collect() })
}

/// What is wrong with the form of one file, a vault or an inventory, by itself: keys and values, not what they mean together with others.
pub fn examine(file: &str, text: &str) -> Vec<Problem> {
    let root = match document::tree(file, text) {
        Ok(root) => root,
        Err(problem) => return vec![sanitize(*problem)],
    };
    let is_inventory = matches!(&root.value, yaml::Value::Map(entries) if entries.iter().any(|e| ["vault", "defaults", "groups", "hosts", "kubernetes"].contains(&e.key.as_str())));
    if !is_inventory {
        return document::parse_vault(file, text).err().unwrap_or_default();
    }
    let mut problems = Vec::new();
    let mut reader = Reader { file, problems: &mut problems };
    let fields = reader.keyed(&root, "the inventory", schema::TOP_KEYS);
    document::read(&mut reader, &fields);
    schema::read(&mut reader, &fields);
    problems.into_iter().map(sanitize).collect()
}

/// Reads an inventory and its vaults and resolves every host. The paths that `world` is asked for are those in the inventory,
/// relative to the inventory's directory.
///
/// # Errors
/// All problems at once, of [`Kind::Usage`], or of [`Kind::Vault`] where nothing is wrong but seals; an error of another kind that `world` returns (a vault that cannot be opened)
/// ends the reading and is returned as it is, as is one that says that a file must not be used.
pub fn load(path: &Path, world: &mut dyn World, options: LoadOptions) -> Result<Inventory> {
    let (inventory, problems) = read(path, world, options)?;
    if problems.is_empty() { Ok(inventory) } else { Err(told(problems)) }
}

/// What could be read, and what is wrong, in the order in which it was found.
fn read(path: &Path, world: &mut dyn World, options: LoadOptions) -> Result<(Inventory, Vec<Problem>)> {
    let file = path.display().to_string();
    let text = world.read_inventory(path)?;
    let nothing = |path: String| Inventory {
        id: None,
        path,
        hosts: Vec::new(),
        namespaces: Vec::new(),
        logins: Vec::new(),
        serial: Vec::new(),
        verify: VerifyMode::default(),
        become_password: None,
        recipients: Vec::new(),
        notes: Vec::new(),
        groups: BTreeMap::new(),
        places: resolve::Places::new(),
    };
    let root = match document::tree(&file, &text) {
        Ok(root) => root,
        Err(problem) => return Ok((nothing(file), vec![*problem])),
    };
    let mut problems = Vec::new();
    let mut reader = Reader { file: &file, problems: &mut problems };
    let fields = reader.keyed(&root, "the inventory", schema::TOP_KEYS);
    if !matches!(root.value, yaml::Value::Map(_)) {
        return Ok((nothing(file), problems));
    }
    let faults_at_top = reader.problems.len();
    let document = document::read(&mut reader, &fields);
    let login_faults = reader.problems.len() - faults_at_top;
    let mut parts = schema::read(&mut reader, &fields);
    let part_faults = reader.problems.len() - login_faults;
    if parts.signed {
        world.demand_signatures(path, !document.logins.is_empty() || document.become_password.is_some())?;
    }
    if document.holds_passwords() || document.stamp.is_some() {
        world.stamped(path, document.stamp.as_ref(), false)?;
    }

    let mut sources = vec![(file.clone(), document)];
    let vaults_complete = read_vaults(path, &parts.vaults, &file, world, &mut sources, &mut problems)?;
    let mut notes: Vec<Problem> = sources.iter().flat_map(|(_, d)| d.notes.clone()).collect();
    let id = sources[0].1.id.clone();
    let mut recipients: Vec<String> = Vec::new();
    for r in sources.iter().flat_map(|(_, d)| &d.recipients) {
        if !recipients.contains(r) {
            recipients.push(r.clone());
        }
    }
    let become_password = become_password(&sources, options, &mut problems);
    let logins = collect_logins(&sources, options, &mut problems, &mut notes);

    let mut reader = Reader { file: &file, problems: &mut problems };
    // No program runs for an inventory that is wrong by itself.
    let has_hosts = part_faults == 0 && source::expand(path, &mut parts, world, &mut reader, &mut notes);
    let whole = resolve::Whole { logins: vaults_complete && login_faults == 0, parts: has_hosts };
    let resolve::Resolved { hosts, namespaces, places } = resolve::resolve(&parts, &logins, whole, &mut reader, &mut notes);
    if problems.is_empty() {
        look_at_uses(&hosts, &namespaces, &logins, options, &mut notes);
    }
    notes.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let mut groups: BTreeMap<String, Vec<usize>> = parts.groups.iter().map(|g| (g.name.clone(), Vec::new())).collect();
    for (i, host) in hosts.iter().enumerate() {
        for group in &host.groups {
            groups.get_mut(group).expect("a host's groups are groups of the inventory").push(i);
        }
    }
    let (serial, verify) = (parts.serial, parts.verify);
    let notes = notes.into_iter().map(sanitize).collect();
    Ok((Inventory { id, path: file, hosts, namespaces, logins, become_password, serial, verify, recipients, notes, groups, places }, problems))
}

/// The names of the logins that go somewhere.
pub fn used<'a>(hosts: impl IntoIterator<Item = &'a Host>, namespaces: impl IntoIterator<Item = &'a Namespace>) -> BTreeSet<&'a str> {
    let on_hosts = hosts.into_iter().flat_map(|h| &h.targets).flat_map(|t| &t.logins).map(String::as_str);
    on_hosts.chain(namespaces.into_iter().flat_map(Namespace::logins)).collect()
}

/// Logins that go nowhere, and those that go somewhere and end soon.
fn look_at_uses(hosts: &[Host], namespaces: &[Namespace], logins: &[LoginEntry], options: LoadOptions, notes: &mut Vec<Problem>) {
    let used = used(hosts, namespaces);
    for login in logins {
        if !used.contains(login.name.as_str()) {
            notes.push(Problem::at(&login.place, rule::UNUSED_LOGIN, format!("login `{}` is used nowhere", login.name)));
        } else if let Some(expires) = login.expires.as_ref().filter(|e| !e.is_past(options.now) && e.is_due(options.now, Within::WARNING)) {
            let message = format!("login `{}` for {} expires soon ({})", login.name, login.registry, expires.text);
            notes.push(Problem::at(&login.place, rule::EXPIRES_SOON, message));
        }
    }
}

/// Reads the vaults into `sources`; whether all could be read.
fn read_vaults(
    inventory: &Path,
    vaults: &[fields::Placed<String>],
    file: &str,
    world: &mut dyn World,
    sources: &mut Vec<(String, Document)>,
    problems: &mut Vec<Problem>,
) -> Result<bool> {
    let directory = inventory.parent().unwrap_or(Path::new(""));
    let mut complete = true;
    let mut seen: Vec<PathBuf> = vec![inventory.to_path_buf()];
    for vault in vaults {
        let path = directory.join(&vault.value);
        let at = |message: String, hint: Option<String>| Problem {
            rule: rule::INPUT,
            file: file.to_string(),
            line: vault.pos.line,
            column: vault.pos.column,
            message,
            hint,
        };
        if vault.value.is_empty() || vault.value.contains('\0') {
            problems.push(at("`vault` is no path".into(), None));
            complete = false;
            continue;
        }
        if seen.contains(&path) {
            problems.push(at(format!("`vault` names {} twice", path.display()), None));
            continue;
        }
        match world.read_vault(&path) {
            Ok(text) if text.trim().is_empty() => {
                let name = path.display().to_string();
                let hint = Some("take it from version control again".to_string());
                problems.push(Problem { rule: rule::SEAL, file: name, line: 0, column: 0, message: "is empty: it was cut".into(), hint });
                complete = false;
            }
            Ok(text) => match document::parse_vault(&path.display().to_string(), &text) {
                Ok(document) => {
                    world.stamped(&path, document.stamp.as_ref(), true)?;
                    sources.push((path.display().to_string(), document));
                }
                Err(faults) => {
                    problems.extend(faults);
                    complete = false;
                }
            },
            Err(error) if error.kind == Kind::Usage => {
                problems.push(at(error.message, error.hint));
                complete = false;
            }
            Err(error) => return Err(error),
        }
        seen.push(path);
    }
    Ok(complete)
}

/// The logins of all files, sorted by name.
fn collect_logins(sources: &[(String, Document)], options: LoadOptions, problems: &mut Vec<Problem>, notes: &mut Vec<Problem>) -> Vec<LoginEntry> {
    let mut found: BTreeMap<&str, LoginEntry> = BTreeMap::new();
    for (file, document) in sources {
        for item in &document.logins {
            let mut reader = Reader { file, problems };
            let pos = Pos { line: item.line, column: item.column };
            let place = format!("{file}:{}:{}", item.line, item.column);
            if let Some(first) = found.get(item.name.as_str()) {
                reader.fault_of(rule::LOGIN_TWICE, pos, format!("login `{}` stands in two files; first at {}", item.name, first.place), None);
                continue;
            }
            let password = password_of(item, file, options, &mut reader);
            if let Some(expires) = item.expires.as_ref().filter(|e| e.is_past(options.now)) {
                let message = format!("login `{}` for {} has expired ({})", item.name, item.registry, expires.text);
                if options.allow_expired {
                    notes.push(Problem::at(&place, rule::EXPIRED, message));
                } else {
                    let hint = "renew it with `regprov vault set`, or use it as it is with --allow-expired";
                    reader.fault_of(rule::EXPIRED, pos, message, Some(hint.to_string()));
                }
            }
            let is_dynamic = item.password.as_ref().is_some_and(|p| p.dynamic().is_some());
            if item.expires.is_none() && !is_dynamic && item.registry.is_ecr() {
                let message = format!("login `{}` is for Amazon ECR, whose tokens end after 12 h, and has neither `password_command` nor `expires`", item.name);
                let hint = "`password_command: [aws, ecr, get-login-password]` has a new one for each run".to_string();
                notes.push(Problem { hint: Some(hint), ..Problem::at(&place, rule::ECR_EXPIRY, message) });
            }
            found.insert(
                &item.name,
                LoginEntry {
                    name: item.name.clone(),
                    registry: item.registry.clone(),
                    username: item.username.clone(),
                    // A login without one has been told of, and ends in an error.
                    password: password.unwrap_or(PasswordText::Sealed(String::new())),
                    expires: item.expires.clone(),
                    fingerprint: item.fingerprint.clone(),
                    canary: item.canary.clone(),
                    previous: item.previous.clone(),
                    place,
                },
            );
        }
    }
    found.into_values().collect()
}

/// The one `become_password` of all files.
fn become_password(sources: &[(String, Document)], options: LoadOptions, problems: &mut Vec<Problem>) -> Option<(PasswordText, String)> {
    let mut found: Option<(PasswordText, String)> = None;
    for (file, document) in sources {
        let Some((password, line, column)) = &document.become_password else { continue };
        let mut reader = Reader { file, problems: &mut *problems };
        let pos = Pos { line: *line, column: *column };
        if let Some((_, first)) = &found {
            reader.fault(pos, format!("`become_password` stands in two files; first at {first}"));
        } else if matches!(password, PasswordText::Plain(_)) && !options.allow_plaintext {
            let command = format!("regprov vault set {} --become", shell_word(file));
            let hint = format!("seal it: {command}\n        or take it as it is with --allow-plaintext");
            reader.fault_of(rule::PLAINTEXT, pos, "the password of sudo (`become_password`) stands in the clear", Some(hint));
        }
        found.get_or_insert_with(|| (password.clone(), format!("{file}:{line}:{column}")));
    }
    found
}

/// A password as it stands. One in the clear is a fault unless the admin allows it, and so is none.
fn password_of(item: &LoginItem, file: &str, options: LoadOptions, reader: &mut Reader<'_>) -> Option<PasswordText> {
    let pos = Pos { line: item.line, column: item.column };
    let command = || {
        let expires = item.expires.as_ref().map(|e| format!(" --expires {}", shell_word(&e.text))).unwrap_or_default();
        let [vault, name, registry, username] = [file, &item.name, &item.registry.to_string(), item.username.as_str()].map(shell_word);
        format!("regprov vault set {vault} {name} --registry {registry} --username {username}{expires}")
    };
    match &item.password {
        Some(PasswordText::Plain(_)) if !options.allow_plaintext => {
            let hint = format!("seal it: {}\n        or take it as it is with --allow-plaintext", command());
            reader.fault_of(rule::PLAINTEXT, pos, format!("the password of login `{}` stands in the clear", item.name), Some(hint));
        }
        None => {
            let hint = format!("set it: {}", command());
            reader.fault_of(rule::NO_PASSWORD, pos, format!("login `{}` has no password", item.name), Some(hint));
        }
        Some(_) => {}
    }
    item.password.clone()
}

/// All problems as one error, in the order of their places and not without end.
fn told(mut problems: Vec<Problem>) -> Error {
    let kind = if problems.iter().all(|p| p.rule == rule::SEAL) { Kind::Vault } else { Kind::Usage };
    let hidden = problems.len().saturating_sub(PROBLEMS_MAX);
    problems.truncate(PROBLEMS_MAX);
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let mut error = Error { kind, ..Error::from(problems.into_iter().map(sanitize).collect::<Vec<_>>()) };
    if hidden > 0 {
        error.message.push_str(&format!("\nand {hidden} more problems"));
    }
    error
}

/// Takes from a problem what would steer a terminal or start a line of its own: names come from a file that others write.
fn sanitize(problem: Problem) -> Problem {
    // A hint of ours may have a second line; it is indented, and nothing of the file starts a line in it.
    let hint = problem.hint.map(|h| h.split("\n        ").map(escape).collect::<Vec<_>>().join("\n        "));
    Problem { message: escape(&problem.message), hint, ..problem }
}
