//! The sample inventories work: each loads without a note, its vault opens with the demo identity beside it, no format finds
//! anything wrong, and `regprov hosts` prints what stands in tests/samples/NAME.txt (`REGPROV_BLESS=1` writes it).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use regprov::command::sources;
use regprov::error::{Error, Result};
use regprov::format;
use regprov::inventory::{self, Entry, Inventory, LoadOptions, World};
use regprov::model::Login;
use regprov::vault::{Identities, open_become, open_login};
use zeroize::Zeroizing;

fn samples() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories");
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    found.sort();
    assert!(found.len() >= 2, "the samples are gone");
    found
}

/// The files as they are; no sample runs a program.
struct Disk;

impl World for Disk {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        inventory::decode(path, fs::read(path).map_err(|e| Error::usage(format!("{}: {e}", path.display())))?)
    }

    fn list(&mut self, path: &Path) -> Result<Option<Vec<Entry>>> {
        sources::list(path)
    }
}

fn load(sample: &Path) -> Inventory {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let options = LoadOptions { now, ..LoadOptions::default() };
    let inventory = inventory::load(&sample.join("inventory.yml"), &mut Disk, options).unwrap_or_else(|e| panic!("{e}"));
    assert!(inventory.notes.is_empty(), "{:?}", inventory.notes);
    inventory
}

#[test]
fn their_vaults_open_and_every_format_takes_the_logins() {
    for sample in samples() {
        let inventory = load(&sample);
        let text = fs::read(sample.join("demo-identity.txt")).unwrap();
        let mut identities = Identities::default();
        identities.add("demo-identity.txt", &text, &mut |_| panic!("a demo identity has no passphrase")).unwrap();
        let open = |entry| open_login(entry, &identities, false).unwrap_or_else(|e| panic!("{}: {e}", sample.display()));
        let logins: BTreeMap<String, Login> = inventory.logins.iter().map(|e| (e.name.clone(), open(e))).collect();
        let mut targets = 0;
        for target in inventory.hosts.iter().flat_map(|h| &h.targets) {
            let logins: Vec<&Login> = target.logins.iter().map(|name| &logins[name]).collect();
            let problems = (format::consumer(target.kind).check)(target, &logins);
            assert!(problems.is_empty(), "{}: {problems:?}", sample.display());
            targets += 1;
        }
        for secret in inventory.namespaces.iter().flat_map(|n| &n.secrets) {
            let logins: Vec<&Login> = secret.logins.iter().map(|name| &logins[name]).collect();
            let problems = format::kubernetes::problems(&secret.name, &logins);
            assert!(problems.is_empty(), "{}: {problems:?}", sample.display());
        }
        assert!(targets > 0, "{} provisions nothing", sample.display());
        if let Some((sealed, place)) = &inventory.become_password {
            open_become(sealed, place, &identities, false).unwrap_or_else(|e| panic!("{e}"));
        }
        for login in logins.values() {
            let sealed = fs::read_to_string(sample.join("vault.yml")).unwrap();
            assert!(!sealed.contains(login.password.expose()), "{} holds a password in the clear", sample.display());
        }
    }
}

#[test]
fn their_identity_says_that_it_is_public() {
    for sample in samples() {
        let text = fs::read_to_string(sample.join("demo-identity.txt")).unwrap();
        assert!(text.starts_with("# PUBLIC:"), "{}", sample.display());
        let recipient = text.lines().find_map(|l| l.strip_prefix("# public key: ")).unwrap();
        assert_eq!(load(&sample).recipients, [recipient], "{}", sample.display());
    }
}

#[test]
fn hosts_prints_who_gets_what() {
    for sample in samples() {
        // Without home and identity: the table needs neither.
        let output = Command::new(env!("CARGO_BIN_EXE_regprov")).arg("hosts").arg(sample.join("inventory.yml")).env_clear().output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let got = String::from_utf8(output.stdout).unwrap();
        let name = sample.file_name().unwrap().to_str().unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/samples/{name}.txt"));
        if std::env::var_os("REGPROV_BLESS").is_some() {
            fs::write(&file, &got).unwrap();
        }
        assert_eq!(got, fs::read_to_string(&file).unwrap_or_default(), "{name}");
    }
}
