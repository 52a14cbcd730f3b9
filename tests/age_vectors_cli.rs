//! age's public test vectors through `regprov vault decrypt`: exit code, what stdout gets and what stderr says. Passphrases are typed on
//! a terminal. See `tests/age-vectors/README.md`.

#[path = "common/age_vectors.rs"]
mod age_vectors;
#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/terminal.rs"]
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use age_vectors::Vector;
use fleet::{Ran, Site};

/// A folder with the vector in `file`, and its identities in `id.txt`; without any, those of somebody else.
fn site(vector: &Vector) -> Site {
    let site = Site { dir: tempfile::tempdir().unwrap() };
    fs::write(site.path("file"), &vector.file).unwrap();
    let text = match vector.get("identity") {
        [] => regprov::vault::identity::generate().0.to_string(),
        keys => keys.join("\n"),
    };
    fs::write(site.path("id.txt"), text).unwrap();
    fs::set_permissions(site.path("id.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    site
}

/// What stderr says in each case: one of these.
fn words(vector: &Vector) -> &'static [&'static str] {
    match vector.expect() {
        _ if vector.is_hybrid() => {
            &["line 1: is a post-quantum identity, which is not supported", "line 2: is a post-quantum identity, which is not supported"]
        }
        "no match" => &["not sealed for any of the identities given", "does not open with this passphrase"],
        "HMAC failure" | "payload failure" => &["is damaged"],
        _ => {
            &["is damaged", "is not encrypted as a whole", "is not encrypted with age", "in an age format that this regprov does not know", "refused as a trap"]
        }
    }
}

#[track_caller]
fn check(vector: &Vector, code: Option<i32>, stdout: &[u8], stderr: &str) {
    let name = &vector.name;
    if vector.expect() == "success" && !vector.is_hybrid() {
        assert_eq!(code, Some(0), "{name}: {stderr}");
        assert!(vector.is_its_content(stdout), "{name}: another content");
        return;
    }
    assert_eq!((code, stdout.len()), (Some(5), 0), "{name}: {stderr}");
    assert!(words(vector).iter().any(|words| stderr.contains(words)), "{name}: {stderr}");
    assert!(!stderr.contains("AGE-SECRET-KEY-PQ-1H") && !stderr.contains("password:"), "{name}: {stderr}");
}

#[test]
fn vectors_of_identities() {
    let mut ran = 0;
    for vector in age_vectors::all().iter().filter(|v| v.get("passphrase").is_empty()) {
        let out = site(vector).command(&["vault", "decrypt", "file", "--identity", "id.txt"]).output().unwrap();
        check(vector, out.status.code(), &out.stdout, &String::from_utf8_lossy(&out.stderr));
        ran += 1;
    }
    assert_eq!(ran, 117);
}

#[test]
#[ignore = "needs script"]
fn vectors_of_passphrases() {
    let (mut ran, mut asked) = (0, 0);
    for vector in age_vectors::all().iter().filter(|v| !v.get("passphrase").is_empty()) {
        let site = site(vector);
        let line = format!("{} vault decrypt file --identity id.txt >out 2>err", env!("CARGO_BIN_EXE_regprov"));
        let answer = format!("{}\n", vector.get("passphrase")[0]);
        let Some((Ran { code, .. }, answers)) = terminal::converse_in_shell(&site, &line, &[("passphrase of file: ", &answer)]) else { return };
        check(vector, code, &fs::read(site.path("out")).unwrap(), &fs::read_to_string(site.path("err")).unwrap());
        (ran, asked) = (ran + 1, asked + answers);
    }
    // Those whose header is wrong ask for nothing.
    assert!(ran == 26 && (10..26).contains(&asked), "{ran}, {asked}");
}

/// A control: what opens does not without its identity, nor with another.
#[test]
fn a_vector_needs_its_key() {
    let mut vectors = age_vectors::all();
    let vector = vectors.iter_mut().find(|v| v.name == "x25519").unwrap();
    let site = site(vector);
    for (more, words) in [(&["--identity", "other.txt"][..], "not sealed for any"), (&[], "none was given")] {
        fs::write(site.path("other.txt"), regprov::vault::identity::generate().0.as_bytes()).unwrap();
        fs::set_permissions(site.path("other.txt"), fs::Permissions::from_mode(0o600)).unwrap();
        let ran = site.run(&[&["vault", "decrypt", "file"], more].concat()).ended(5, &[words]);
        assert!(ran.stdout.is_empty(), "{}", ran.all());
    }
}
