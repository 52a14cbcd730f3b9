//! age's public test vectors, one fault each: what shall open opens to the right bytes, all else is an error that
//! releases nothing. See `tests/age-vectors/README.md`.

use std::collections::BTreeMap;
use std::path::Path;

use regprov::model::Secret;
use regprov::vault::file::{self, OpenError};
use regprov::vault::{Identities, decrypt};
use sha2::{Digest, Sha256};

/// One vector: its header and the age file behind it.
struct Vector {
    header: BTreeMap<String, Vec<String>>,
    file: Vec<u8>,
}

impl Vector {
    fn parse(bytes: &[u8]) -> Self {
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
        Vector { header, file }
    }

    fn get(&self, key: &str) -> &[String] {
        self.header.get(key).map_or(&[], Vec::as_slice)
    }

    /// Opens it with all the keys it names, one way after the other.
    fn open(&self) -> Result<Vec<u8>, OpenError> {
        let mut result = Err(OpenError::NoMatch);
        for passphrase in self.get("passphrase") {
            result = file::decrypt_with_passphrase(&self.file, &Secret::new(passphrase.clone())).map(|content| content.to_vec());
            if result.is_ok() {
                return result;
            }
        }
        if self.get("passphrase").is_empty() || !self.get("identity").is_empty() {
            let mut identities = Identities::default();
            for identity in self.get("identity") {
                identities.add("vector", identity.as_bytes(), &mut |_| panic!("nobody is asked")).unwrap();
            }
            result = decrypt(&self.file, &identities).map(|content| content.to_vec());
        }
        result
    }
}

/// Vectors of a malformed header that the age crate takes as earlier releases of it wrote such files (age-core `format.rs`,
/// `legacy_age_stanza`). The header is authenticated, so the content is the one that was sealed.
const TAKEN_BY_THE_CRATE: [&str; 2] = ["stanza_missing_body", "stanza_missing_final_line"];

/// SHA-256 of the content that most vectors share.
const USUAL_PAYLOAD: &str = "013f54400c82da08037759ada907a8b864e97de81c088a182062c4b5622fd2ab";

#[track_caller]
fn check(name: &str, vector: &Vector) {
    let expect = vector.get("expect")[0].as_str();
    match (expect, vector.open()) {
        ("success", Ok(content)) => assert_eq!(hex(&Sha256::digest(&content)), vector.get("payload")[0], "{name}: another content"),
        ("success", Err(e)) => panic!("{name} shall open, but: {e:?}"),
        ("header failure", Ok(content)) if TAKEN_BY_THE_CRATE.contains(&name) => assert_eq!(hex(&Sha256::digest(&content)), USUAL_PAYLOAD, "{name}"),
        (_, Err(_)) if TAKEN_BY_THE_CRATE.contains(&name) => panic!("{name} is refused now: take it off the list"),
        (_, Ok(_)) => panic!("{name} opened; expected was {expect}"),
        ("no match", Err(e)) => assert!(matches!(e, OpenError::NoMatch | OpenError::WrongPassphrase | OpenError::NeedsIdentity), "{name}: {e:?}"),
        ("HMAC failure" | "payload failure", Err(e)) => assert_eq!(e, OpenError::Damaged, "{name}"),
        ("header failure" | "armor failure", Err(e)) => {
            let fits = matches!(e, OpenError::Damaged | OpenError::NotAge | OpenError::Version | OpenError::TooMuchWork | OpenError::NeedsIdentity);
            assert!(fits, "{name}: {e:?}");
        }
        (other, _) => panic!("{name}: unknown expectation {other}"),
    }
}

#[test]
fn every_vector_of_age_does_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/age-vectors");
    let mut expectations = BTreeMap::<String, usize>::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if name == "README.md" {
            continue;
        }
        let vector = Vector::parse(&std::fs::read(&path).unwrap());
        check(&name, &vector);
        *expectations.entry(vector.get("expect")[0].clone()).or_default() += 1;
    }
    // A folder that lost its files proves nothing.
    assert!(expectations.len() == 6 && expectations.values().sum::<usize>() >= 110, "{expectations:?}");
}

/// The vectors' keys are known, so a control: with another key none of them opens.
#[test]
fn no_vector_opens_with_another_key() {
    let file = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/age-vectors/x25519")).unwrap();
    let vector = Vector::parse(&file);
    let mut other = Identities::default();
    other.add("other", regprov::vault::identity::generate().0.as_bytes(), &mut |_| panic!("nobody is asked")).unwrap();
    assert_eq!(decrypt(&vector.file, &other).unwrap_err(), OpenError::NoMatch);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
