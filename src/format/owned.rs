//! The node's record of what regprov owns there, without secrets: which files, and in each which registries.
//!
//! It belongs to the node and not to an inventory, so every inventory has its own part, by the inventory's `id:`; the
//! parts of others, and fields that are not known here, are kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FileSpec, consumer, mirror};
use crate::model::{Registry, RemotePath, Target, TargetKind};

/// Where the record lies, without the host's `root:`.
pub const PATH: &str = "/var/lib/regprov/owned.json";

/// Where it lies below a user's home, when it is of files that are written as that user.
pub const PATH_IN_HOME: &str = "/.local/state/regprov/owned.json";

/// The layout that is read and written here. Fields that came later may be absent.
const VERSION: u64 = 1;

/// One file that was written, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFile {
    /// The path, without the host's `root:`.
    pub path: String,
    /// The consumer's name.
    pub target: &'static str,
    /// Which of the target's files; empty when there is one only.
    pub part: &'static str,
    /// The target's path, where it is another one.
    pub of: Option<String>,
    /// The registries whose logins were written there; for docker-mirror the mirror's URL.
    pub registries: Vec<String>,
    /// Whose entries were written there, by their keys.
    pub accounts: Vec<OwnedAccount>,
}

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedAccount {
    /// Its key, as the file has it.
    pub key: String,
    /// The registry it is for; for docker-mirror, whose entries are mirrors, the mirror's URL.
    pub registry: String,
    /// The account that was written; `None` in records of older versions.
    pub username: Option<String>,
    /// The login's name in the inventory; `None` in records of older versions.
    pub login: Option<String>,
}

/// What one inventory wrote into one file, as the record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The consumer.
    pub kind: TargetKind,
    /// The file among those of its target.
    pub spec: FileSpec,
    /// The path of its target.
    pub of: RemotePath,
    /// Its entries.
    pub accounts: Vec<OwnedAccount>,
    /// Other inventories that wrote into the same file, each with its keys there.
    pub others: BTreeMap<String, BTreeSet<String>>,
}

impl Claim {
    /// Whether others may have entries in the file beside ours. Else it is wholly ours, and holds no secret.
    pub fn has_entries(&self) -> bool {
        self.spec.secret || mirror::is_merged(&self.spec, self.kind)
    }

    /// The targets that may have given the file, with no login: one, or for docker-mirror one a mirror that was written there.
    pub fn targets(&self) -> Vec<Target> {
        let target = Target::at(self.kind, self.of.clone());
        if self.kind != TargetKind::DockerMirror {
            return vec![target];
        }
        let mirrors = self.accounts.iter().filter_map(|a| mirror::written(&a.key, &self.spec));
        mirrors.map(|mirror| Target { mirror: Some(mirror), ..target.clone() }).collect()
    }
}

/// What is given up of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The file, without the host's `root:`.
    pub path: String,
    /// The entries; `None` gives the file up as a whole.
    pub keys: Option<Vec<String>>,
}

/// What becomes of the record.
#[derive(Debug, PartialEq, Eq)]
pub enum Update {
    /// It says this from now on.
    Write(Vec<u8>),
    /// Nothing is left to say.
    Remove,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u64,
    #[serde(default)]
    inventories: BTreeMap<String, Part>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

/// One inventory's part: its files by path.
#[derive(Default, Serialize, Deserialize)]
struct Part {
    #[serde(default)]
    files: BTreeMap<String, Entry>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    target: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    part: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    #[serde(default)]
    registries: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    accounts: BTreeMap<String, Account>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    registry: String,
    username: String,
    login: String,
}

impl Entry {
    /// Its entries by key. A version that knew no accounts noted the registries alone.
    fn accounts(&self, kind: TargetKind) -> Vec<OwnedAccount> {
        let known = self.accounts.iter().map(|(key, a)| OwnedAccount {
            key: key.clone(),
            registry: a.registry.clone(),
            username: Some(a.username.clone()),
            login: Some(a.login.clone()),
        });
        let mut all: Vec<OwnedAccount> = known.collect();
        for registry in self.registries.iter().filter(|r| self.accounts.values().all(|a| a.registry != **r)) {
            let keys = match kind {
                TargetKind::DockerMirror => vec![registry.clone()],
                _ => Registry::parse(registry).map(|(registry, _)| (consumer(kind).keys)(&registry, &[])).unwrap_or_default(),
            };
            let new = keys.into_iter().filter(|key| !self.accounts.contains_key(key));
            all.extend(new.map(|key| OwnedAccount { key, registry: registry.clone(), username: None, login: None }));
        }
        all
    }

    /// Takes entries out; whether any was there.
    fn release(&mut self, keys: &[String]) -> bool {
        let kind = TargetKind::parse(&self.target);
        let mut gone: BTreeSet<String> = BTreeSet::new();
        for account in kind.map(|kind| self.accounts(kind)).unwrap_or_default() {
            if keys.contains(&account.key) {
                gone.insert(account.registry);
                self.accounts.remove(&account.key);
            }
        }
        self.registries.retain(|r| !gone.contains(r) || self.accounts.values().any(|a| a.registry == *r));
        !gone.is_empty()
    }
}

/// What this inventory wrote, file by file in the order of their paths. What a newer version wrote for a consumer that is not known
/// here is left out, and stays.
///
/// `Err` when the record cannot be read.
pub fn claims(record: &[u8], inventory_id: &str) -> Result<Vec<Claim>, String> {
    let record = read(record)?;
    let mut claims = Vec::new();
    for (path, entry) in record.inventories.get(inventory_id).into_iter().flat_map(|part| &part.files) {
        let (Some(kind), Ok(real)) = (TargetKind::parse(&entry.target), RemotePath::parse(path)) else { continue };
        let of = entry.of.as_deref().and_then(|of| RemotePath::parse(of).ok());
        let Some((spec, of)) = spec(kind, &entry.part, real, of) else { continue };
        let others = record.inventories.iter().filter(|(id, _)| *id != inventory_id);
        let others = others.filter_map(|(id, part)| {
            let theirs = part.files.get(path)?;
            Some((id.clone(), theirs.accounts(kind).into_iter().map(|a| a.key).collect()))
        });
        claims.push(Claim { kind, spec, of, accounts: entry.accounts(kind), others: others.collect() });
    }
    Ok(claims)
}

/// Which of a target's files that is, and the target's path. Older versions noted neither: then one with its path, else its name.
fn spec(kind: TargetKind, part: &str, path: RemotePath, of: Option<RemotePath>) -> Option<(FileSpec, RemotePath)> {
    let default = RemotePath::parse(consumer(kind).default_path).expect("a constant");
    let of = of.unwrap_or_else(|| if consumer(kind).directory { default } else { path.clone() });
    if kind == TargetKind::DockerMirror {
        return Some((mirror::spec_at(part, path)?, of));
    }
    let files = (consumer(kind).files)(&Target::at(kind, of.clone()));
    let found = match part {
        "" => files.iter().find(|f| f.path == path).or_else(|| files.iter().find(|f| f.path.file_name() == path.file_name())).or(files.first()),
        part => files.iter().find(|f| f.part == part),
    };
    found.filter(|f| !part.is_empty() || !consumer(kind).directory || f.path.file_name() == path.file_name()).map(|f| (FileSpec { path, ..f.clone() }, of))
}

/// The record with these files in the part of this inventory; `None` when it says so already. A run may cover only some
/// targets and logins, so what stood there stays: registries and accounts are added.
///
/// `Err` when the existing record cannot be read. The files themselves need not wait for it: whoever calls decides.
pub fn merge(existing: Option<&[u8]>, inventory_id: &str, files: &[OwnedFile]) -> Result<Option<Vec<u8>>, String> {
    match update(existing, inventory_id, files, &[])? {
        Some(Update::Write(bytes)) => Ok(Some(bytes)),
        Some(Update::Remove) | None => Ok(None),
    }
}

/// As [`merge`], and what is released is taken out of this inventory's part before. A part that has nothing left goes, and so does a record.
pub fn update(existing: Option<&[u8]>, inventory_id: &str, files: &[OwnedFile], released: &[Release]) -> Result<Option<Update>, String> {
    let mut record = match existing {
        None => Record { version: VERSION, inventories: BTreeMap::new(), other: BTreeMap::new() },
        Some(bytes) => read(bytes)?,
    };
    let mut changed = false;
    if let Some(part) = record.inventories.get_mut(inventory_id) {
        for release in released {
            let Some(entry) = part.files.get_mut(&release.path) else { continue };
            let empty = match &release.keys {
                None => true,
                Some(keys) => {
                    changed |= entry.release(keys);
                    entry.registries.is_empty() && entry.accounts.is_empty() && !keys.is_empty()
                }
            };
            if empty {
                changed = true;
                part.files.remove(&release.path);
            }
        }
        if changed && part.files.is_empty() && part.other.is_empty() {
            record.inventories.remove(inventory_id);
        }
    }
    for file in files {
        changed |= add(record.inventories.entry(inventory_id.to_string()).or_default(), file);
    }
    if !changed {
        return Ok(None);
    }
    if record.inventories.is_empty() && record.other.is_empty() {
        return Ok(Some(Update::Remove));
    }
    let mut bytes = serde_json::to_vec_pretty(&record).expect("text keys and plain values are always JSON");
    bytes.push(b'\n');
    Ok(Some(Update::Write(bytes)))
}

/// Adds a file; whether that says anything new.
fn add(part: &mut Part, file: &OwnedFile) -> bool {
    let mut changed = false;
    let entry = part.files.entry(file.path.clone()).or_insert_with(|| {
        changed = true;
        Entry { target: file.target.to_string(), part: String::new(), of: None, registries: Vec::new(), accounts: BTreeMap::new(), other: BTreeMap::new() }
    });
    changed |= entry.target != file.target || entry.part != file.part || entry.of != file.of;
    (entry.target, entry.part, entry.of) = (file.target.to_string(), file.part.to_string(), file.of.clone());
    for registry in &file.registries {
        if !entry.registries.contains(registry) {
            changed = true;
            entry.registries.push(registry.clone());
        }
    }
    entry.registries.sort();
    for OwnedAccount { key, registry, username, login } in &file.accounts {
        let (Some(username), Some(login)) = (username, login) else { continue };
        let account = Account { registry: registry.clone(), username: username.clone(), login: login.clone() };
        if entry.accounts.get(key) != Some(&account) {
            changed = true;
            entry.accounts.insert(key.clone(), account);
        }
    }
    changed
}

fn read(bytes: &[u8]) -> Result<Record, String> {
    let way_out = "move it away; the next run begins a new one";
    let record: Record =
        serde_json::from_slice(bytes).map_err(|e| format!("{PATH} is no record of regprov's (line {}, column {}); {way_out}", e.line(), e.column()))?;
    if record.version != VERSION {
        return Err(format!("{PATH} has version {}, and this regprov knows {VERSION}; use the regprov that wrote it, or {way_out}", record.version));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, registries: &[&str]) -> OwnedFile {
        let registries = registries.iter().map(ToString::to_string).collect();
        OwnedFile { path: path.into(), target: "docker", part: "", of: None, registries, accounts: Vec::new() }
    }

    /// A file with an account for each `key registry username login`.
    fn with(path: &str, accounts: &[&str]) -> OwnedFile {
        let account = |text: &&str| {
            let words: Vec<String> = text.split(' ').map(str::to_string).collect();
            let [key, registry, username, login] = words.try_into().unwrap();
            OwnedAccount { key, registry, username: Some(username), login: Some(login) }
        };
        let accounts: Vec<OwnedAccount> = accounts.iter().map(account).collect();
        let registries = accounts.iter().map(|a| a.registry.clone()).collect();
        OwnedFile { registries, accounts, ..file(path, &[]) }
    }

    #[track_caller]
    fn check(existing: Option<&str>, files: &[OwnedFile], want: Option<&str>) {
        let got = merge(existing.map(str::as_bytes), "site", files).unwrap().map(|b| String::from_utf8(b).unwrap());
        let value = |t: &str| serde_json::from_str::<Value>(t).unwrap();
        assert_eq!(got.as_deref().map(value), want.map(value));
        if let Some(got) = got {
            assert_eq!(merge(Some(got.as_bytes()), "site", files), Ok(None), "a second time nothing changes");
        }
    }

    const ONE: &str = r#"{"version":1,"inventories":{"site":{"files":{"/a":{"target":"docker","registries":["nvcr.io"]}}}}}"#;

    #[test]
    fn records() {
        check(None, &[file("/a", &["nvcr.io"])], Some(ONE));
        check(Some(ONE), &[file("/a", &["nvcr.io"])], None);
        check(Some(ONE), &[], None);
        check(None, &[], None);
        check(Some(ONE), &[file("/a", &["docker.io"])], Some(&ONE.replace("[\"nvcr.io\"]", "[\"docker.io\",\"nvcr.io\"]")));
        let other = ONE.replace("\"site\"", "\"other\"").replace("\"version\":1", "\"version\":1,\"extra\":{\"x\":1}");
        let both = r#"{"version":1,"extra":{"x":1},"inventories":{"other":{"files":{"/a":{"target":"docker","registries":["nvcr.io"]}}},
            "site":{"files":{"/b":{"target":"docker","registries":[]}}}}}"#;
        check(Some(&other), &[file("/b", &[])], Some(both));
    }

    #[test]
    fn the_order_of_what_is_given_does_not_matter() {
        let (a, b) = (file("/a", &["x", "y"]), file("/b", &["z"]));
        let (c, d) = (file("/b", &["z"]), file("/a", &["y", "x"]));
        assert_eq!(merge(None, "site", &[a, b]), merge(None, "site", &[c, d]));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_told_without_its_content() {
        for bad in ["", "{", "[]", "{\"version\":2}", "{\"version\":\"hunter2\"}", "{\"inventories\":{}}"] {
            let why = merge(Some(bad.as_bytes()), "site", &[file("/a", &[])]).unwrap_err();
            assert!(why.contains(PATH) && !why.contains("hunter2"), "{why}");
        }
    }

    const HUB: &str = "https://index.docker.io/v1/ docker.io acme hub";
    const NGC: &str = "nvcr.io nvcr.io $oauthtoken ngc";

    /// The record after `released` was taken from one in which `site` has two files, as a list of `path keys`.
    #[track_caller]
    fn released(released: &[(&str, Option<&[&str]>)], want: &[&str]) {
        let first = merge(None, "site", &[with("/a", &[HUB, NGC]), with("/b", &[HUB])]).unwrap().unwrap();
        let own = |(path, keys): &(&str, Option<&[&str]>)| Release { path: path.to_string(), keys: keys.map(|k| k.iter().map(ToString::to_string).collect()) };
        let released: Vec<Release> = released.iter().map(own).collect();
        let got = match update(Some(&first), "site", &[], &released).unwrap() {
            None => claims(&first, "site").unwrap(),
            Some(Update::Remove) => Vec::new(),
            Some(Update::Write(bytes)) => {
                assert_eq!(update(Some(&bytes), "site", &[], &released), Ok(None), "a second time nothing changes");
                claims(&bytes, "site").unwrap()
            }
        };
        let line = |c: &Claim| format!("{} {}", c.spec.path, c.accounts.iter().map(|a| a.login.as_deref().unwrap()).collect::<Vec<_>>().join(","));
        assert_eq!(got.iter().map(line).collect::<Vec<_>>(), want);
    }

    #[test]
    fn what_is_released_goes_and_nothing_else() {
        released(&[], &["/a hub,ngc", "/b hub"]);
        released(&[("/a", Some(&["nvcr.io"]))], &["/a hub", "/b hub"]);
        released(&[("/a", Some(&["nvcr.io", "https://index.docker.io/v1/"]))], &["/b hub"]);
        released(&[("/a", Some(&[])), ("/c", None), ("/b", Some(&["ghcr.io"]))], &["/a hub,ngc", "/b hub"]);
        released(&[("/b", None)], &["/a hub,ngc"]);
        released(&[("/a", None), ("/b", None)], &[]);
    }

    #[test]
    fn another_inventory_s_part_stays_when_ours_goes() {
        let theirs = merge(None, "other", &[with("/a", &[HUB])]).unwrap().unwrap();
        let both = merge(Some(&theirs), "site", &[with("/a", &[HUB, NGC])]).unwrap().unwrap();
        let found = claims(&both, "site").unwrap();
        assert_eq!(found[0].others, BTreeMap::from([("other".to_string(), BTreeSet::from(["https://index.docker.io/v1/".to_string()]))]));
        let release = [Release { path: "/a".into(), keys: None }];
        assert_eq!(update(Some(&both), "site", &[], &release), Ok(Some(Update::Write(theirs.clone()))));
        assert_eq!(update(Some(&theirs), "other", &[], &release), Ok(Some(Update::Remove)));
        assert_eq!(update(Some(&theirs), "site", &[], &release), Ok(None));
    }

    #[test]
    fn records_without_accounts_are_read() {
        let old = r#"{"version":1,"inventories":{"site":{"files":{
            "/a":{"target":"docker","registries":["docker.io"]},
            "/etc/regprov/singularity.sh":{"target":"singularity","registries":["nvcr.io"]},
            "/etc/profile.d/regprov-singularity.sh":{"target":"singularity","registries":[]},
            "/odd":{"target":"of-tomorrow","registries":["x"]},"relative":{"target":"docker"}}}}}"#;
        let found = claims(old.as_bytes(), "site").unwrap();
        let line = |c: &Claim| {
            let accounts: Vec<&str> = c.accounts.iter().map(|a| a.key.as_str()).collect();
            format!("{} {} {} {} {}", c.kind, c.spec.path, c.spec.part, c.of, accounts.join(","))
        };
        let lines: Vec<String> = found.iter().map(line).collect();
        assert_eq!(lines[0], "docker /a  /a https://index.docker.io/v1/");
        assert!(lines[1].starts_with("singularity /etc/profile.d/regprov-singularity.sh "), "{}", lines[1]);
        assert!(lines[1].ends_with(" /etc/regprov ") && lines[2].starts_with("singularity /etc/regprov/singularity.sh "), "{lines:?}");
        assert_eq!(lines.len(), 3);
        assert!(found.iter().flat_map(|c| &c.accounts).all(|a| a.username.is_none() && a.login.is_none()));
        // What is not understood stays.
        let release = [Release { path: "/a".into(), keys: Some(vec!["https://index.docker.io/v1/".into()]) }];
        let Ok(Some(Update::Write(after))) = update(Some(old.as_bytes()), "site", &[], &release) else { panic!("not written") };
        let text = String::from_utf8(after).unwrap();
        assert!(text.contains("of-tomorrow") && text.contains("relative") && !text.contains("\"/a\""), "{text}");
    }
}
