//! age's public test vectors, one fault each, through the library: what shall open opens to the right bytes, all else is an error that
//! releases nothing. See `tests/age-vectors/README.md`; `age_vectors_cli.rs` does the same through the program.

#[path = "common/age_vectors.rs"]
mod age_vectors;

use std::collections::BTreeMap;

use age_vectors::Vector;
use regprov::model::Secret;
use regprov::vault::file::{self, OpenError};
use regprov::vault::{Identities, decrypt, identity};

/// A vector's identities; an error where one of them is not known.
fn identities(vector: &Vector) -> regprov::error::Result<Identities> {
    let mut identities = Identities::default();
    let text = vector.get("identity").join("\n");
    if !text.is_empty() {
        identities.add("vector", text.as_bytes(), &mut |_| panic!("nobody is asked"))?;
    }
    Ok(identities)
}

/// Opens it with all the keys it names, one way after the other.
fn open(vector: &Vector) -> Result<Vec<u8>, OpenError> {
    let mut result = Err(OpenError::NoMatch);
    for passphrase in vector.get("passphrase") {
        result = file::decrypt_with_passphrase(&vector.file, &Secret::new(passphrase.clone())).map(|content| content.to_vec());
        if result.is_ok() {
            return result;
        }
    }
    if vector.get("passphrase").is_empty() || !vector.get("identity").is_empty() {
        result = decrypt(&vector.file, &identities(vector).unwrap()).map(|content| content.to_vec());
    }
    result
}

#[track_caller]
fn check(vector: &Vector) {
    let name = &vector.name;
    match (vector.expect(), open(vector)) {
        ("success", Ok(content)) => assert!(vector.is_its_content(&content), "{name}: another content"),
        ("success", Err(e)) => panic!("{name} shall open, but: {e:?}"),
        (expect, Ok(_)) => panic!("{name} opened; expected was {expect}"),
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
    let mut expectations = BTreeMap::<String, usize>::new();
    for vector in age_vectors::all().iter().filter(|v| !v.is_hybrid()) {
        check(vector);
        *expectations.entry(vector.expect().to_string()).or_default() += 1;
    }
    assert!(expectations.len() == 6 && expectations.values().sum::<usize>() == 124, "{expectations:?}");
}

/// What a post-quantum key sealed is refused with that reason, whether its identity is given or another one.
#[test]
fn post_quantum_keys_are_not_supported() {
    let mut other = Identities::default();
    other.add("other", identity::generate().0.as_bytes(), &mut |_| panic!("nobody is asked")).unwrap();
    let mut sealed = 0;
    for vector in age_vectors::all().iter().filter(|v| v.is_hybrid()) {
        let error = identities(vector).err().expect("refused").to_string();
        assert!(error.contains("post-quantum identity, which is not supported") && !error.contains("AGE-SECRET-KEY-PQ-1H"), "{}: {error}", vector.name);
        let error = decrypt(&vector.file, &other).expect_err("another key");
        assert!(matches!(error, OpenError::PostQuantum | OpenError::NoMatch | OpenError::Damaged), "{}: {error:?}", vector.name);
        sealed += usize::from(error == OpenError::PostQuantum);
    }
    assert!(sealed >= 10, "{sealed}");
}

/// The vectors' keys are known, so a control: with another key none of them opens.
#[test]
fn no_vector_opens_with_another_key() {
    let mut other = Identities::default();
    other.add("other", identity::generate().0.as_bytes(), &mut |_| panic!("nobody is asked")).unwrap();
    let opened = age_vectors::all().iter().filter(|v| decrypt(&v.file, &other).is_ok()).count();
    assert_eq!(opened, 0);
    let vector = age_vectors::all().into_iter().find(|v| v.name == "x25519").unwrap();
    assert_eq!(decrypt(&vector.file, &other).unwrap_err(), OpenError::NoMatch);
}
