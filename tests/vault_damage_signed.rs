//! A vault whose signature is demanded, and the signature beside it, damaged: every cut and every flipped bit of either is exit code 5, and
//! nobody is contacted. What stands outside of a signature's armor is no part of it. Judged as in `vault_damage.rs`, a sample by the program.

// What each damage came to is worth telling.
#![allow(clippy::print_stderr)]

#[path = "common/damage.rs"]
mod damage;
#[path = "common/damage_text.rs"]
mod damage_text;
#[path = "common/signing.rs"]
mod signing;

use damage::{Judge, Site, Verdict, changed};
use damage_text::{flipped, rearranged};
use signing::{key, line, sign};

const SIGNATURE: &str = "vault.yml.sig";
const LAST_LINE: &str = "-----END SSH SIGNATURE-----";

/// Two sites with one vault that is signed, and inventories that demand it.
fn signed_sites() -> Vec<Site> {
    let site = Site::new();
    let sites = vec![site.twin(), site];
    sites.iter().for_each(demand);
    sites
}

/// Signs the vault as it stands, and demands that.
fn demand(site: &Site) {
    site.write("inventory.yml", site.inventory("vault.yml").replacen("id:", "signed: required\nid:", 1).as_bytes());
    site.write("allowed_signers", format!("# who may\n{}\n", line("alice", &key(1))).as_bytes());
    site.write(SIGNATURE, sign(&key(1), "regprov", &site.text("vault.yml")).as_bytes());
}

/// Damages of a file: a name, whether it passes all the same, and the bytes.
type Damage = (String, bool, Vec<u8>);

/// Every flipped bit and every cut of a text, of which the bytes behind `end` do not count as long as they are text.
fn all(text: &str, end: usize) -> Vec<Damage> {
    let bits = (0..text.len() * 8).map(|bit| {
        let bytes = flipped(text.as_bytes(), bit);
        (format!("bit {bit}"), bit / 8 >= end && std::str::from_utf8(&bytes).is_ok(), bytes)
    });
    let cuts = (0..text.len()).map(|at| (format!("cut after {at} bytes"), at >= end, text.as_bytes()[..at].to_vec()));
    bits.chain(cuts).collect()
}

/// Demands of all damages of a file that they are exit code 5, but for those that pass; and of a sample that the program says so too.
fn refused(sites: &[Site], file: &str, damages: &[Damage], sample: usize) {
    let right = sites[0].text(file);
    std::thread::scope(|scope| {
        for (n, site) in sites.iter().enumerate() {
            scope.spawn(move || {
                let mut judge = Judge::new(site, "inventory.yml", file);
                let whole = judge.whole();
                for (what, passes, bytes) in damages.iter().skip(n).step_by(sites.len()) {
                    match judge.judge(bytes) {
                        Verdict::Refused(5, text) => assert!(!passes && text.contains(file.trim_end_matches(".sig")), "{file}: {what}: {text}"),
                        Verdict::Refused(code, text) => panic!("{file}: {what}: exit {code}: {text}"),
                        Verdict::Taken(taken) => assert!(*passes && taken.files == whole.files, "{file}: {what} is taken: {:?}", changed(&whole, &taken)),
                    }
                }
            });
        }
    });
    let mut judge = Judge::new(&sites[0], "inventory.yml", file);
    let stride = (damages.len() / sample).max(1);
    let some = damages.iter().step_by(stride | 1).chain(damages.iter().filter(|(_, passes, _)| *passes));
    let by_the_program = some.map(|(what, _, bytes)| judge.confirm(what, bytes)).count();
    judge.confirm("the control", right.as_bytes());
    assert!(matches!(judge.judge(right.as_bytes()), Verdict::Taken(_)), "the control");
    let passed = damages.iter().filter(|(_, passes, _)| *passes).count();
    eprintln!("{file}: {} damages, {} exit 5, {passed} taken; {by_the_program} by the program too", damages.len(), damages.len() - passed);
}

#[test]
fn any_damage_of_a_signed_vault() {
    let sites = signed_sites();
    let text = sites[0].text("vault.yml");
    refused(&sites, "vault.yml", &all(&text, text.len()), 300);
}

#[test]
fn lines_logins_and_seals_of_a_signed_vault_that_were_moved() {
    let sites = signed_sites();
    let text = sites[0].text("vault.yml");
    let moved: Vec<Damage> = rearranged(&text).into_iter().map(|(what, _, bytes)| (what, bytes == text.as_bytes(), bytes)).collect();
    assert!(moved.len() > 300);
    refused(&sites, "vault.yml", &moved, 60);
}

#[test]
fn any_damage_of_a_signature() {
    let sites = signed_sites();
    let text = sites[0].text(SIGNATURE);
    let end = text.find(LAST_LINE).unwrap() + LAST_LINE.len();
    assert_eq!(end, text.len() - 1, "one line break is behind it");
    refused(&sites, SIGNATURE, &all(&text, end), 150);
}

/// Encrypted as a whole too, where without a signature the white space behind it is free.
#[test]
fn any_damage_of_a_signed_vault_that_is_encrypted_as_a_whole() {
    let site = Site::new();
    site.ok(&["vault", "encrypt", "vault.yml"], "");
    let sites = vec![site.twin(), site];
    sites.iter().for_each(demand);
    let text = sites[0].text("vault.yml");
    // The signature is asked before age is; one bit of each byte will do.
    let damages: Vec<Damage> =
        all(&text, text.len()).into_iter().enumerate().filter(|(i, _)| *i >= text.len() * 8 || i % 8 == (i / 8) % 8).map(|(_, d)| d).collect();
    refused(&sites, "vault.yml", &damages, 60);
}
