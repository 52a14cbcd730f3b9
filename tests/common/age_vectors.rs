//! age's public test vectors; see `tests/age-vectors/README.md`.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

/// One vector: what its header says, and the age file behind it.
pub(crate) struct Vector {
    pub(crate) name: String,
    header: BTreeMap<String, Vec<String>>,
    pub(crate) file: Vec<u8>,
}

/// All of them, by their names. A folder that lost some proves nothing.
pub(crate) fn all() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/age-vectors");
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "README.md").collect();
    names.sort();
    let all: Vec<Vector> = names.into_iter().map(|name| Vector::parse(&std::fs::read(folder.join(&name)).unwrap(), name)).collect();
    assert_eq!((all.len(), all.iter().filter(|v| v.is_hybrid()).count()), (143, 19));
    all
}

impl Vector {
    fn parse(bytes: &[u8], name: String) -> Self {
        let end = bytes.windows(2).position(|w| w == b"\n\n").expect("an empty line ends the header");
        let mut header = BTreeMap::<String, Vec<String>>::new();
        for line in std::str::from_utf8(&bytes[..end]).unwrap().lines() {
            let (key, value) = line.split_once(": ").unwrap();
            header.entry(key.to_string()).or_default().push(value.to_string());
        }
        let mut file = bytes[end + 2..].to_vec();
        match header.get("compressed").map(|v| v[0].as_str()) {
            None => {}
            Some("zlib") => file = miniz_oxide::inflate::decompress_to_vec_zlib(&file).unwrap(),
            Some(other) => panic!("compressed with {other}"),
        }
        Vector { name, header, file }
    }

    /// The values of a key.
    pub(crate) fn get(&self, key: &str) -> &[String] {
        self.header.get(key).map_or(&[], Vec::as_slice)
    }

    /// What shall come of it.
    pub(crate) fn expect(&self) -> &str {
        &self.get("expect")[0]
    }

    /// Whether it is about post-quantum keys, which are not supported.
    pub(crate) fn is_hybrid(&self) -> bool {
        self.get("identity").iter().any(|identity| identity.starts_with("AGE-SECRET-KEY-PQ-"))
    }

    /// Whether this is what it was sealed with.
    pub(crate) fn is_its_content(&self, content: &[u8]) -> bool {
        Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect::<String>() == self.get("payload")[0]
    }
}
