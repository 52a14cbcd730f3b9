//! A vault that was damaged, by every cut, every flipped bit, and lines and logins that were moved: inside of a seal it is refused with exit
//! code 5, elsewhere it is refused or gives the files that it gave before, but for what the README says that nothing holds without a
//! signature. Nobody is contacted by a run that is refused. Everything is judged in this process by what `apply` goes through; a sample of it
//! by the program, which must come to the same.

// What each damage came to is worth telling.
#![allow(clippy::print_stderr)]

#[path = "common/damage.rs"]
mod damage;
#[path = "common/damage_text.rs"]
mod damage_text;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use damage::{Judge, Site, Taken, Verdict, changed};
use damage_text::{cuts, exchanged, flipped, logins, rearranged, seals};
use regprov::model::armor::{BEGIN, END};

/// What holds a part of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Changed, it is exit code 5.
    Seal,
    /// Changed, it is exit code 2 or 5.
    Form,
    /// Changed, it passes.
    Nothing,
}

/// The parts of a vault in the README's table "What an unsigned vault protects", in its order. Each has a change of it in [`each_part`].
const PARTS: [(&str, Held); 17] = [
    ("a seal, and the password and the auth hosts in it", Held::Seal),
    ("`registry`, `username`", Held::Seal),
    ("a seal in the place of another", Held::Seal),
    ("`version`, keys, structure", Held::Form),
    ("a login that is missing", Held::Form),
    ("what stood behind a cut", Held::Form),
    ("a login's name", Held::Nothing),
    ("an older seal", Held::Nothing),
    ("another login", Held::Nothing),
    ("`password_command`, `password_file`", Held::Nothing),
    ("a `become_password` that is missing", Held::Nothing),
    ("`expires`", Held::Nothing),
    ("`canary`", Held::Nothing),
    ("`fingerprint`", Held::Nothing),
    ("`previous`", Held::Nothing),
    ("`recipients`", Held::Nothing),
    ("`vault_id`, `vault_serial`", Held::Nothing),
];

/// What is no part of a vault's meaning.
const FORM_ALONE: &str = "comments, order and spacing";

/// Changes of these parts change files, or what is in them.
const IN_FILES: [&str; 4] = ["a login's name", "an older seal", "another login", "`password_command`, `password_file`"];

/// How often what came of it.
type Counts = BTreeMap<String, usize>;

/// Demands what holds for every damage, and says what it came to.
#[track_caller]
fn classify(whole: &Taken, what: &str, in_seal: bool, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Refused(code, _) if in_seal => {
            assert_eq!(*code, 5, "{what}, inside of a seal");
            "inside of a seal, exit 5".into()
        }
        Verdict::Refused(code @ (2 | 5), _) => format!("elsewhere, exit {code}"),
        Verdict::Refused(code, text) => panic!("{what}: exit {code}: {text}"),
        Verdict::Taken(taken) => {
            assert!(!in_seal, "{what}: inside of a seal, and taken");
            taken.all_genuine(what);
            let parts = changed(whole, taken);
            for part in &parts {
                let listed = PARTS.iter().any(|(name, held)| name == part && *held == Held::Nothing);
                assert!(listed || *part == FORM_ALONE, "{what}: {part} is changed, and taken");
            }
            if taken.files != whole.files {
                assert!(parts.iter().any(|part| IN_FILES.contains(part)), "{what}: other files by {parts:?}");
            }
            format!("elsewhere, taken, changed: {}", parts.into_iter().collect::<Vec<_>>().join(" and "))
        }
    }
}

/// Judges many damages with several judges at once. Each is a name, whether it is inside of a seal, and the bytes.
fn judge_all(sites: &[Site], vault: &str, count: usize, damage: &(dyn Fn(usize) -> Option<(String, bool, Vec<u8>)> + Sync)) -> Counts {
    let counts = Mutex::new(Counts::new());
    std::thread::scope(|scope| {
        for (n, site) in sites.iter().enumerate() {
            let counts = &counts;
            scope.spawn(move || {
                let mut judge = Judge::new(site, "inventory.yml", vault);
                let whole = judge.whole();
                let mut found = Counts::new();
                for (what, in_seal, bytes) in (n..count).step_by(sites.len()).filter_map(damage) {
                    *found.entry(classify(&whole, &what, in_seal, &judge.judge(&bytes))).or_default() += 1;
                }
                let mut counts = counts.lock().unwrap();
                found.into_iter().for_each(|(class, n)| *counts.entry(class).or_default() += n);
            });
        }
    });
    counts.into_inner().unwrap()
}

/// Two sites with one vault.
fn sites() -> (Vec<Site>, String) {
    let site = Site::new();
    let text = site.text("vault.yml");
    let seals = seals(&text);
    assert_eq!(seals.len(), 6, "four logins, one of them under rotation, and sudo");
    (vec![site.twin(), site], text)
}

#[track_caller]
fn told(what: &str, counts: &Counts, total: usize) {
    let sum: usize = counts.values().sum();
    assert_eq!(sum, total, "{what}");
    eprintln!("{what}: {total}");
    counts.iter().for_each(|(class, n)| eprintln!("{n:>8} {class}"));
}

#[test]
fn a_vault_that_was_cut_anywhere() {
    let (sites, text) = sites();
    let seals = seals(&text);
    let counts = judge_all(&sites, "vault.yml", text.len(), &|at| {
        Some((format!("cut after {at} bytes"), seals.iter().any(|s| cuts(s, at)), text.as_bytes()[..at].to_vec()))
    });
    told("cuts", &counts, text.len());
    // The last line may lose its line break, or digits of the serial.
    let taken: usize = counts.iter().filter(|(class, _)| class.contains("taken")).map(|(_, n)| n).sum();
    let digits = text.trim_end().len() - text.trim_end().rfind(' ').unwrap() - 1;
    assert_eq!(taken, digits, "{counts:?}");
}

#[test]
fn a_vault_with_any_bit_flipped() {
    let (sites, text) = sites();
    let seals = seals(&text);
    let counts = judge_all(&sites, "vault.yml", text.len() * 8, &|bit| {
        Some((format!("bit {bit}"), seals.iter().any(|s| s.contains(&(bit / 8))), flipped(text.as_bytes(), bit)))
    });
    told("flipped bits", &counts, text.len() * 8);
    assert_eq!(counts["inside of a seal, exit 5"], seals.iter().map(|s| s.len() * 8).sum::<usize>());
    assert!(counts.keys().all(|class| !IN_FILES.iter().any(|part| class.contains(part))), "one bit never changes a file: {counts:?}");
}

#[test]
fn a_vault_whose_lines_and_logins_were_moved() {
    let (sites, text) = sites();
    assert_eq!(logins(&text).len(), 4);
    let all = rearranged(&text);
    let counts = judge_all(&sites, "vault.yml", all.len(), &|i| Some(all[i].clone()));
    told("lines, logins and seals that were moved", &counts, all.len());
    assert!(IN_FILES[..2].iter().all(|part| counts.keys().any(|class| class.contains(part))), "{counts:?}");
}

/// The program comes to what is judged here, and contacts nobody where it refuses.
#[test]
fn the_program_judges_likewise() {
    let (sites, text) = sites();
    let seals = seals(&text);
    let bits = text.len() * 8;
    let in_seal = |bit: &usize| seals.iter().any(|s| s.contains(&(bit / 8)));
    // Strides without a common factor with 8, so that all bits of a byte come up.
    let mut sample: Vec<(String, Vec<u8>)> = (0..bits).step_by(1101).filter(in_seal).map(|bit| (format!("bit {bit}"), flipped(text.as_bytes(), bit))).collect();
    sample.extend((0..bits).filter(|bit| !in_seal(bit)).step_by(113).map(|bit| (format!("bit {bit}"), flipped(text.as_bytes(), bit))));
    sample.extend((0..text.len()).step_by(53).chain(text.len() - 40..text.len()).map(|at| (format!("cut after {at}"), text.as_bytes()[..at].to_vec())));
    sample.extend(rearranged(&text).into_iter().filter(|(what, ..)| !what.contains("line")).map(|(what, _, bytes)| (what, bytes)));
    sample.push(("the vault as it is".into(), text.clone().into_bytes()));
    assert!(sample.len() >= 300, "{}", sample.len());
    std::thread::scope(|scope| {
        for (n, site) in sites.iter().enumerate() {
            let sample = &sample;
            scope.spawn(move || {
                let mut judge = Judge::new(site, "inventory.yml", "vault.yml");
                judge.whole();
                sample.iter().skip(n).step_by(2).for_each(|(what, bytes)| judge.confirm(what, bytes));
            });
        }
    });
    eprintln!("by the program: {}", sample.len());
}

/// Each part of the README's table with a change of it, and what it comes to. What passes without a signature, passes: the table hides nothing.
#[test]
fn each_part() {
    let site = Site::new();
    let text = site.text("vault.yml");
    let mut judge = Judge::new(&site, "inventory.yml", "vault.yml");
    let whole = judge.whole();
    let all = logins(&text);
    let (ngc, corp) = (&all[1], &all[3]);
    let seals = seals(&text);
    let without = |from: usize, to: usize| [&text[..from], &text[to..]].concat();
    let line = |key: &str| {
        let at = text.find(key).unwrap();
        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        start..at + text[at..].find('\n').unwrap() + 1
    };
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    // Somebody who knows the recipients and has no identity.
    let theirs = |name: &str, registry: &str| {
        let head = &text[..text.find("become_password").unwrap()];
        site.write("theirs.yml", head.as_bytes());
        site.ok(&["vault", "set", "theirs.yml", name, "--registry", registry, "--username", "mallory"], "planted-of-Mallory");
        let theirs = site.text("theirs.yml");
        let login = logins(&theirs)[0].clone();
        theirs[login].to_string()
    };
    let corp_password = text[corp.clone()].find("    password:").unwrap() + corp.start;
    let old = text[ngc.clone()].find("    previous:").unwrap() + ngc.start;
    let changes: Vec<(&str, Vec<String>)> = vec![
        (
            "a seal, and the password and the auth hosts in it",
            vec![replaced(END, "-----END AGE ENCRYPTED FILE----"), without(seals[1].start, seals[1].start + 41), without(seals[4].start, seals[4].end)],
        ),
        (
            "`registry`, `username`",
            vec![
                replaced("nvcr.io", "evil.example.org"),
                replaced("username: bob", "username: mallory"),
                replaced("harbor.example.org:8443", "harbor.example.org"),
            ],
        ),
        (
            "a seal in the place of another",
            vec![
                replaced(&text[seals[4].clone()], &text[seals[1].clone()]),
                replaced(&text[seals[0].clone()], &text[seals[5].clone()].replace("      ", "  ")),
            ],
        ),
        ("`version`, keys, structure", vec![replaced("version: 1", "version: 2"), replaced("    canary:", "    kanary:"), replaced("logins:", "logins: []")]),
        ("a login that is missing", vec![without(corp.start, corp.end)]),
        ("what stood behind a cut", vec![text[..corp.end].into(), text[..line("vault_serial").start].into(), text[..line("logins:").start].into()]),
        ("a login's name", vec![String::from_utf8(exchanged(&text, &line("  hub:\n"), &line("  corp:\n"))).unwrap()]),
        ("an older seal", {
            let (new, old) = (&text[seals[2].clone()], &text[seals[3].clone()]);
            vec![[&text[..seals[2].start], &old.replace("        ", "      "), &text[seals[2].end..]].concat(), {
                let moved = new.lines().map(|l| format!("  {l}\n")).collect::<String>();
                [&text[..seals[2].start], &old.replace("        ", "      "), &text[seals[2].end..seals[3].start], &moved, &text[seals[3].end..]].concat()
            }]
        }),
        ("another login", vec![[&text[..corp.start], &theirs("corp", "evil.example.org"), &text[corp.end..]].concat()]),
        ("`password_command`, `password_file`", {
            std::fs::write(site.path("theirs.txt"), "planted-of-Mallory").unwrap();
            std::fs::set_permissions(site.path("theirs.txt"), std::fs::Permissions::from_mode(0o600)).unwrap();
            // A fingerprint goes with a sealed password alone.
            let head: String = text[corp.start..corp_password].split_inclusive('\n').filter(|l| !l.contains("fingerprint:")).collect();
            let with = |key: &str| [&text[..corp.start], &head, key, &text[corp.end..]].concat();
            vec![with("    password_file: theirs.txt\n"), with("    password_command: [printf, planted-of-Mallory]\n")]
        }),
        ("a `become_password` that is missing", vec![without(line("become_password").start, seals[0].end)]),
        ("`expires`", vec![without(line("2099-03-01").start, line("2099-03-01").end), replaced("2099-03-01", "9999-12-31")]),
        ("`canary`", vec![without(line("canary").start, line("canary").end), replaced("nvidia/cuda", "nvidia/tensorrt")]),
        ("`fingerprint`", vec![without(line("fingerprint").start, line("fingerprint").end)]),
        ("`previous`", vec![without(old, ngc.end)]),
        (
            "`recipients`",
            vec![
                replaced("recipients:\n", "recipients:\n  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"),
                without(line("carol@").start, line("carol@").end),
            ],
        ),
        ("`vault_id`, `vault_serial`", vec![replaced("vault_serial: ", "vault_serial: 9"), replaced("vault_id: v", "vault_id: v0000000000000000\n#")]),
    ];
    assert_eq!(changes.iter().map(|(part, _)| *part).collect::<Vec<_>>(), PARTS.map(|(part, _)| part));
    for ((part, held), (_, texts)) in PARTS.iter().zip(changes) {
        for (i, changed_text) in texts.iter().enumerate() {
            let what = format!("{part} {i}");
            let verdict = judge.judge(changed_text.as_bytes());
            match (held, &verdict) {
                (Held::Seal, Verdict::Refused(5, _)) | (Held::Form, Verdict::Refused(2 | 5, _)) => {}
                (Held::Nothing, Verdict::Taken(taken)) => {
                    let parts = changed(&whole, taken);
                    assert!(parts.contains(part) && parts.iter().all(|p| p == part || *p == "`previous`" || *p == "`fingerprint`"), "{what}: {parts:?}");
                    assert_eq!(taken.files != whole.files, IN_FILES.contains(part), "{what}: whether files are others");
                }
                (_, Verdict::Refused(code, text)) => panic!("{what}: exit {code}: {text}"),
                (_, Verdict::Taken(taken)) => panic!("{what}: taken: {:?}", changed(&whole, taken)),
            }
            judge.confirm(&what, changed_text.as_bytes());
        }
    }
}

/// The table of the README and this proof have the same parts, in the same words.
#[test]
fn the_readme_tells_what_holds_what() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, section) = readme.split_once("### What an unsigned vault protects\n").expect("the README has the section");
    let section = section.split("\n#").next().unwrap();
    let rows: Vec<(String, Held)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let held = match cells[1] {
                "its seal" => Held::Seal,
                "the form" => Held::Form,
                "a signature alone" => Held::Nothing,
                other => panic!("{other}"),
            };
            (cells[0].to_string(), held)
        })
        .collect();
    assert_eq!(rows, PARTS.map(|(part, held)| (part.to_string(), held)));
    let listed: BTreeSet<&str> = PARTS.iter().map(|(part, _)| *part).collect();
    assert!(IN_FILES.iter().all(|part| listed.contains(part)));
    assert!(section.contains(FORM_ALONE), "what means nothing is told too");
}

/// On a machine that has seen the vault, its id and its serial hold what they can.
#[test]
fn a_machine_that_has_seen_the_vault() {
    let site = Site::new();
    let text = site.text("vault.yml");
    assert_eq!(site.apply("inventory.yml").code, 4);
    let stamp = text.find("vault_id: v").unwrap() + "vault_id: v".len();
    let serial = text.trim_end().len() - 1;
    let (mut swapped, mut back, mut form) = (0, 0, 0);
    for bit in (stamp * 8..(stamp + 16) * 8).chain(serial * 8..(serial + 1) * 8) {
        let bytes = flipped(text.as_bytes(), bit);
        let digit = bytes[bit / 8];
        let is_id = bit < serial * 8;
        let (code, words) = match () {
            () if is_id && (digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit)) => (5, "was swapped"),
            () if !is_id && (b'1'..text.as_bytes()[serial]).contains(&digit) => (5, "was rolled back"),
            () if !is_id && digit.is_ascii_digit() && digit > b'0' => continue,
            () => (2, "vault.yml"),
        };
        *[&mut form, &mut back, &mut swapped][if code == 2 {
            0
        } else if is_id {
            2
        } else {
            1
        }] += 1;
        site.write("vault.yml", &bytes);
        let ran = site.apply_again("inventory.yml");
        assert!(ran.code == code && ran.text.contains(words), "bit {bit}: {}: {}", ran.code, ran.text);
        assert_eq!((ran.contacts, ran.files.len()), (0, 0));
    }
    eprintln!("bits of the stamp: {swapped} swapped, {back} rolled back, {form} of no form");
    assert!(swapped >= 16 && back >= 1 && form >= 16);
    site.write("vault.yml", text.as_bytes());
    assert_eq!(site.apply_again("inventory.yml").code, 4, "the control");
}

/// A vault that is encrypted as a whole: every damage is exit code 5. White space behind the armor is none of it.
#[test]
fn a_vault_that_is_encrypted_as_a_whole() {
    let site = Site::new();
    let text = site.text("vault.yml");
    // One login will do, and the password of sudo.
    let (hub, end) = (&logins(&text)[0], text.find("vault_id").unwrap());
    let small = [&text[..hub.end], &text[end..]].concat();
    site.write("vault.yml", small.as_bytes());
    let inventory = site.text("inventory.yml").replace("hub, ngc, harbor", "hub").replace("corp, ngc", "hub").replace("[harbor]", "[hub]");
    site.write("inventory.yml", inventory.as_bytes());
    site.ok(&["vault", "encrypt", "vault.yml"], "");
    let sites = vec![site.twin(), site];
    sites[0].write("inventory.yml", inventory.replace(sites[1].dir.path().to_str().unwrap(), sites[0].dir.path().to_str().unwrap()).as_bytes());
    let text = sites[1].text("vault.yml");
    assert!(text.starts_with(BEGIN) && text.ends_with(&format!("{END}\n")));
    let (bits, whole) = (text.len() * 8, text.len() - 1);
    let damage = |i: usize| {
        Some(match i {
            i if i < bits => (format!("bit {i}"), true, flipped(text.as_bytes(), i)),
            i => (format!("cut after {}", i - bits), i - bits < whole, text.as_bytes()[..i - bits].to_vec()),
        })
    };
    let counts = judge_all(&sites, "vault.yml", bits + text.len(), &damage);
    told("encrypted as a whole", &counts, bits + text.len());
    assert_eq!(counts["inside of a seal, exit 5"], bits + whole);
    sites[1].write("vault.yml", text.as_bytes());
    let mut judge = Judge::new(&sites[1], "inventory.yml", "vault.yml");
    judge.whole();
    for (what, _, bytes) in (0..bits + text.len()).step_by(1009).chain([bits + whole]).chain(bits..bits + 40).filter_map(damage) {
        judge.confirm(&what, &bytes);
    }
}
