//! The node's record of what regprov owns there, without secrets: which files, and in each which registries.
//!
//! It belongs to the node and not to an inventory, so every inventory has its own part, by the inventory's `id:`; the
//! parts of others, and fields that are not known here, are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where the record lies, without the host's `root:`.
pub const PATH: &str = "/var/lib/regprov/owned.json";

/// Where it lies below a user's home, when it is of files that are written as that user.
pub const PATH_IN_HOME: &str = "/.local/state/regprov/owned.json";

/// The layout that is read and written here.
const VERSION: u64 = 1;

/// One file that was written, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFile {
    /// The path, without the host's `root:`.
    pub path: String,
    /// The consumer's name.
    pub target: &'static str,
    /// The registries whose logins were written there; for docker-mirror the mirror's URL.
    pub registries: Vec<String>,
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
    #[serde(default)]
    registries: Vec<String>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

/// The record with these files in the part of this inventory; `None` when it says so already. A run may cover only some
/// targets and logins, and regprov takes nothing out of a file, so what stood there stays: registries are added.
///
/// `Err` when the existing record cannot be read. The files themselves need not wait for it: whoever calls decides.
pub fn merge(existing: Option<&[u8]>, inventory_id: &str, files: &[OwnedFile]) -> Result<Option<Vec<u8>>, String> {
    let mut record = match existing {
        None => Record { version: VERSION, inventories: BTreeMap::new(), other: BTreeMap::new() },
        Some(bytes) => read(bytes)?,
    };
    let part = record.inventories.entry(inventory_id.to_string()).or_default();
    let mut changed = existing.is_none();
    for file in files {
        let entry = part.files.entry(file.path.clone()).or_insert_with(|| {
            changed = true;
            Entry { target: file.target.to_string(), registries: Vec::new(), other: BTreeMap::new() }
        });
        if entry.target != file.target {
            changed = true;
            entry.target = file.target.to_string();
        }
        for registry in &file.registries {
            if !entry.registries.contains(registry) {
                changed = true;
                entry.registries.push(registry.clone());
            }
        }
        entry.registries.sort();
    }
    if !changed || files.is_empty() {
        return Ok(None);
    }
    let mut bytes = serde_json::to_vec_pretty(&record).expect("text keys and plain values are always JSON");
    bytes.push(b'\n');
    Ok(Some(bytes))
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
        OwnedFile { path: path.into(), target: "docker", registries: registries.iter().map(ToString::to_string).collect() }
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
}
