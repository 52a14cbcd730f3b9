//! Merges as tables: what becomes of a base with one change on each side.

use super::*;

/// A seal as far as a merge looks at it.
fn seal(word: &str) -> String {
    format!("      -----BEGIN AGE ENCRYPTED FILE-----\n      {word}\n      -----END AGE ENCRYPTED FILE-----\n")
}

/// The start of every vault here.
const BASE: &str = "# ours
version: 1
recipients:
  - age1alice # alice
  - age1bob
logins:
  # the hub
  hub: # Docker's
    registry: docker.io
    username: acme
    expires: 2027-01-01
    password: |
HUB
  ngc:
    registry: nvcr.io
    username: $oauthtoken
    password: |
NGC
vault_id: v0123456789abcdef
vault_serial: 3
# end
";

fn base() -> String {
    BASE.replace("HUB\n", &seal("aHVi")).replace("NGC\n", &seal("bmdj"))
}

const MARKERS: Markers<'_> = Markers { size: 7, ours: "HEAD", theirs: "topic" };

type Edits<'a> = &'a [(&'a str, &'a str)];

/// `text` after replacing each `from`, which must be there.
#[track_caller]
fn edited(text: &str, edits: Edits<'_>) -> String {
    edits.iter().fold(text.to_string(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text.replacen(from, to, 1)
    })
}

/// Both sides' serials grow too, ours to 4 and theirs to 6.
#[track_caller]
fn merged(ours: Edits<'_>, theirs: Edits<'_>) -> Merged {
    let side = |edits, serial: &str| edited(&base(), edits).replace("serial: 3", serial);
    merge(&base(), &side(ours, "serial: 4"), &side(theirs, "serial: 6"), MARKERS).unwrap()
}

/// The sides merge, both ways round, and what comes of them is the base with `want`.
#[track_caller]
fn clean(ours: Edits<'_>, theirs: Edits<'_>, want: Edits<'_>) {
    let want = edited(&base(), want).replace("serial: 3", "serial: 7");
    for (ours, theirs) in [(ours, theirs), (theirs, ours)] {
        let got = merged(ours, theirs);
        assert_eq!(got.text, want, "\n--- got\n{}\n--- wanted\n{want}", got.text);
        assert!(got.conflicts.is_empty() && got.seal_again.is_empty() && got.notes.is_empty(), "{got:?}");
    }
}

/// The sides do not merge, for these reasons.
#[track_caller]
fn conflict(ours: Edits<'_>, theirs: Edits<'_>, why: &[&str]) -> String {
    let got = merged(ours, theirs);
    assert_eq!(got.conflicts, why, "{}", got.text);
    assert_eq!(got.text.matches("<<<<<<< HEAD\n").count(), got.text.matches(">>>>>>> topic\n").count());
    got.text
}

const QUAY: &str = "  quay: {registry: quay.io, username: ci}\n";
const GHCR: &str = "  # GitHub\n  ghcr:\n    registry: ghcr.io\n    username: ci\n";
const END: &str = "vault_id:";
const NGC: &str = "  ngc:\n    registry: nvcr.io\n    username: $oauthtoken\n    password: |\n      -----BEGIN AGE ENCRYPTED FILE-----\n      bmdj\n      -----END AGE ENCRYPTED FILE-----\n";
const HUB: &str = "  # the hub\n  hub: # Docker's\n    registry: docker.io\n    username: acme\n    expires: 2027-01-01\n    password: |\n      -----BEGIN AGE ENCRYPTED FILE-----\n      aHVi\n      -----END AGE ENCRYPTED FILE-----\n";

#[test]
fn what_one_side_changed_is_taken() {
    clean(&[], &[], &[]);
    clean(&[("acme", "ACME")], &[], &[("acme", "ACME")]);
    clean(&[("aHVi", "bmV3")], &[("bmdj", "YW5ldw==")], &[("aHVi", "bmV3"), ("bmdj", "YW5ldw==")]);
    clean(&[(END, &(QUAY.to_string() + END))], &[("acme", "bob")], &[("acme", "bob"), (END, &(QUAY.to_string() + END))]);
    clean(&[("# Docker's", "# the Hub")], &[("# the hub\n", "# the registry\n")], &[("# Docker's", "# the Hub"), ("# the hub\n", "# the registry\n")]);
    clean(&[("# ours\n", "---\n# all of ours\n")], &[("# end\n", "# the end\n")], &[("# ours\n", "---\n# all of ours\n"), ("# end\n", "# the end\n")]);
    clean(&[(NGC, "")], &[("acme", "bob")], &[(NGC, ""), ("acme", "bob")]);
    clean(&[(HUB, "")], &[("bmdj", "bmV3")], &[(HUB, ""), ("bmdj", "bmV3")]);
    // Another name: what is gone here is there under the new one.
    clean(&[("  ngc:", "  nvidia:")], &[("acme", "bob")], &[("  ngc:", "  nvidia:"), ("acme", "bob")]);
    // The same on both sides.
    clean(&[(NGC, ""), ("acme", "bob")], &[(NGC, ""), ("acme", "bob")], &[(NGC, ""), ("acme", "bob")]);
    clean(&[(END, &(QUAY.to_string() + END))], &[(END, &(QUAY.to_string() + END))], &[(END, &(QUAY.to_string() + END))]);
    clean(&[("version: 1", "version: 1\nid: fleet")], &[("acme", "bob")], &[("version: 1", "version: 1\nid: fleet"), ("acme", "bob")]);
}

#[test]
fn both_sides_additions_stay() {
    let got = merged(&[(END, &(QUAY.to_string() + END))], &[(END, &(GHCR.to_string() + END))]);
    assert!(got.conflicts.is_empty() && got.text.contains(&format!("{NGC}{QUAY}{GHCR}vault_id")), "{}", got.text);
    // Into an empty list of logins, and out of it.
    let (was, one) = ("logins: {} # none\nvault_serial: 1\n", "logins: # none\n  a: {registry: x}\nvault_serial: 2\n");
    let other = one.replace("  a: {registry: x}", "  b: {registry: y}");
    assert_eq!(merge(was, one, &other, MARKERS).unwrap().text, "logins: # none\n  a: {registry: x}\n  b: {registry: y}\nvault_serial: 3\n");
    let two = one.replace("vault", "  b: {registry: y}\nvault");
    assert_eq!(merge(&two, &other, one, MARKERS).unwrap().text, "logins: {} # none\nvault_serial: 3\n");
    // Both made the file.
    assert_eq!(merge("", one, one, MARKERS).unwrap().text, one.replace("serial: 2", "serial: 3"));
}

#[test]
fn fields_of_one_login_merge() {
    clean(&[("aHVi", "bmV3")], &[("2027-01-01", "2027-06-01")], &[("aHVi", "bmV3"), ("2027-01-01", "2027-06-01")]);
    clean(&[("aHVi", "bmV3")], &[("    expires: 2027-01-01\n", "")], &[("aHVi", "bmV3"), ("    expires: 2027-01-01\n", "")]);
    clean(&[("aHVi", "bmV3")], &[("    expires", "    canary: a/b\n    expires")], &[("aHVi", "bmV3"), ("    expires", "    canary: a/b\n    expires")]);
    clean(&[("docker.io", "'docker.io'")], &[("aHVi", "bmV3")], &[("aHVi", "bmV3")]);
    clean(
        &[("    expires", "    # the contract ends\n    expires")],
        &[("2027-01-01", "2027-06-01")],
        &[("    expires: 2027-01-01", "    # the contract ends\n    expires: 2027-06-01")],
    );
    let text = conflict(&[("2027-01-01", "2027-05-01")], &[("2027-01-01", "2027-06-01")], &["login `hub`: both sides changed its `expires`"]);
    let at = text.find("<<<<<<< HEAD\n  hub: # Docker's\n").unwrap();
    assert!(text[..at].ends_with("  # the hub\n") && text.contains(">>>>>>> topic\n  ngc:\n") && text.contains("serial: 7"), "{text}");
}

#[test]
fn what_a_seal_binds_stays_together() {
    let why = "login `hub`: both sides sealed its password anew, and only who opens both can tell whether it is one";
    conflict(&[("aHVi", "b3Vycw==")], &[("aHVi", "dGhlaXJz")], &[why]);
    let why = "login `hub`: both sides changed its registry, its account or its password";
    conflict(&[("acme", "bob"), ("aHVi", "b3Vycw==")], &[("aHVi", "dGhlaXJz")], &[why]);
    conflict(&[("acme", "bob")], &[("docker.io", "quay.io")], &[why]);
    clean(&[("acme", "bob"), ("aHVi", "bmV3")], &[("2027-01", "2027-06")], &[("acme", "bob"), ("aHVi", "bmV3"), ("2027-01", "2027-06")]);
}

#[test]
fn fingerprints_go_with_their_passwords_and_tell_them_apart() {
    let line = |c: char| format!("    fingerprint: hmac-sha256:0123456789abcdef:{}\n    password", c.to_string().repeat(64));
    let (a, b, c) = (line('a'), line('b'), line('c'));
    let set = |line: &str, seal: &str| edited(&base(), &[("    password", line), ("aHVi", seal)]);
    let check = |was: (&str, &str), ours: (&str, &str), theirs: (&str, &str), want: Option<(&str, &str)>| {
        let got = merge(&set(was.0, was.1), &set(ours.0, ours.1), &set(theirs.0, theirs.1), MARKERS).unwrap();
        match want {
            Some((line, seal)) => assert_eq!((got.text, got.conflicts.is_empty()), (set(line, seal).replace("serial: 3", "serial: 4"), true)),
            None => assert_eq!(got.conflicts.len(), 1, "{}", got.text),
        }
    };
    let none = "    password";
    // Ours got a fingerprint, theirs another password without one: it would be that of the old password.
    check((none, "eA=="), (&a, "eA=="), (none, "eQ=="), Some((none, "eQ==")));
    check((none, "eA=="), (&a, "eA=="), (&b, "eQ=="), Some((&b, "eQ==")));
    // Ours was sealed for others, theirs has another password.
    check((&a, "eA=="), (&a, "eQ=="), (&b, "eg=="), Some((&b, "eg==")));
    check((&a, "eA=="), (&b, "eQ=="), (&a, "eg=="), Some((&b, "eQ==")));
    // Both were sealed for others, or got the same new password.
    check((&a, "eA=="), (&a, "eQ=="), (&a, "eg=="), Some((&a, "eQ==")));
    check((&a, "eA=="), (&b, "eQ=="), (&b, "eg=="), Some((&b, "eQ==")));
    // Two new passwords; one of which nothing is said; one seal and two fingerprints.
    check((&a, "eA=="), (&b, "eQ=="), (&c, "eg=="), None);
    check((none, "eA=="), (&a, "eQ=="), (none, "eg=="), None);
    check((&a, "eA=="), (&b, "eA=="), (&c, "eA=="), None);
    check((none, "eA=="), ("    fingerprint: x\n    password", "eQ=="), ("    fingerprint: x\n    password", "eg=="), None);
}

#[test]
fn rotations_meet_nothing_else() {
    let previous = format!("    previous:\n      username: acme\n      password: |\n{}", seal("b2xk").replace("      ", "        "));
    let with = edited(&base(), &[("  ngc:", &format!("{previous}  ngc:"))]);
    let why = |ours: &str, theirs: &str| merge(&with, ours, theirs, MARKERS).unwrap().conflicts;
    // One ends it, the other takes it back: the old password must not come back behind the first one's back.
    let (finished, undone) = (base(), base().replace("aHVi", "b2xk"));
    let want = "login `hub`: one side has another password, and the other began or ended a rotation";
    assert_eq!((why(&finished, &undone), why(&undone, &finished)), (vec![want.to_string()], vec![want.to_string()]));
    assert!(why(&finished, &with.replace("2027-01", "2027-06")).is_empty());
    // One begins it, the other sets a password.
    let began = with.replace("aHVi", "bmV3");
    let got = merge(&base(), &began, &base().replace("aHVi", "c2V0"), MARKERS).unwrap();
    assert_eq!(got.conflicts.len(), 1, "{}", got.text);
}

#[test]
fn what_one_side_removed_and_the_other_changed_is_asked_for() {
    let text = conflict(&[(NGC, "")], &[("bmdj", "bmV3")], &["login `ngc`: ours removed it, theirs changed it"]);
    assert!(text.contains("<<<<<<< HEAD\n=======\n  ngc:\n") && text.contains("bmV3"), "{text}");
    let text = conflict(&[("aHVi", "bmV3")], &[(HUB, "")], &["login `hub`: theirs removed it, ours changed it"]);
    assert!(text.contains("<<<<<<< HEAD\n  # the hub\n  hub: # Docker's\n") && text.contains("=======\n>>>>>>> topic\n"), "{text}");
    conflict(&[(END, &(QUAY.to_string() + END))], &[(END, &(QUAY.replace("ci", "bob") + END))], &["login `quay`: both sides added it, each in its way"]);
    // The other logins are merged all the same.
    let text = conflict(&[(NGC, ""), ("2027-01", "2027-06")], &[("bmdj", "bmV3"), ("aHVi", "c2V0")], &["login `ngc`: ours removed it, theirs changed it"]);
    assert!(text.contains("2027-06") && text.contains("c2V0"), "{text}");
}

#[test]
fn recipients_are_a_set_and_name_the_seals_that_are_not_for_them() {
    let check = |ours: Edits<'_>, theirs: Edits<'_>, list: &str, again: &[&str]| {
        let got = merged(ours, theirs);
        assert!(got.conflicts.is_empty(), "{got:?}");
        assert_eq!(got.seal_again, again, "{}", got.text);
        assert!(got.text.contains(&format!("recipients:\n{list}logins:")), "{}", got.text);
    };
    let (alice, bob, carol, dave) = ("  - age1alice # alice\n", "  - age1bob\n", "  - age1carol\n", "  # new\n  - age1dave\n");
    let rekeyed: Edits<'_> = &[("aHVi", "bmV3"), ("bmdj", "YW5ldw==")];
    let with = |more: &str| format!("{bob}{more}");
    let (adds, adds_other) = (with(carol), with(dave));
    let ours: Vec<_> = [rekeyed, &[(bob, adds.as_str())]].concat();
    // Sealed again for the new list, and nothing else happened.
    check(&ours, &[], &with(carol).replace(bob, &format!("{alice}{bob}")), &[]);
    check(&ours, &[("2027-01", "2027-06")], &format!("{alice}{bob}{carol}"), &[]);
    // What theirs sealed meanwhile is for the old list.
    let sealed = format!("  quay:\n    registry: quay.io\n    username: ci\n    password: |\n{}{END}", seal("cXVheQ=="));
    check(&ours, &[(END, &sealed)], &format!("{alice}{bob}{carol}"), &["quay"]);
    let gone: Vec<_> = [rekeyed, &[(bob, "")]].concat();
    check(&gone, &[(END, &sealed)], alice, &["quay"]);
    check(&[(END, &sealed)], &gone, alice, &["quay"]);
    // Both changed the list: no seal is for the merged one.
    check(&ours, &[(bob, &adds_other)], &format!("{alice}{bob}{carol}{dave}"), &["hub", "ngc"]);
    check(&gone, &[(bob, &adds)], &format!("{alice}{carol}"), &["hub", "ngc"]);
    // A comment is no other recipient.
    check(&[("age1bob", "age1bob # bob")], &[(END, &sealed), ("# alice", "# Alice")], "  - age1alice # Alice\n  - age1bob # bob\n", &[]);
    // So does the password of sudo, and what a rotation replaces.
    let sudo = format!("become_password: |\n{}{END}", seal("c3Vkbw=="));
    check(&ours, &[(END, &sudo)], &format!("{alice}{bob}{carol}"), &["become_password"]);
}

#[test]
fn lists_in_brackets_are_not_spliced() {
    let text = |list: &str| format!("recipients: {list}\nlogins: {{}}\nvault_serial: 1\n");
    let got = merge(&text("[a]"), &text("[a, b]"), &text("[a, c]"), MARKERS).unwrap();
    assert_eq!(got.conflicts, ["`recipients`: both sides changed it, each in its way"]);
    assert_eq!(merge(&text("[a]"), &text("[a, b]"), &text("[a]"), MARKERS).unwrap().conflicts, [""; 0]);
}

#[test]
fn two_vaults_are_not_one() {
    conflict(&[("v0123", "v4567")], &[("v0123", "v89ab")], &["`vault_id`: these are two vaults, not two states of one"]);
    let one = "logins: {}\nvault_id: va\nvault_serial: 1\n";
    let other = one.replace("va\n", "vb\n");
    assert_eq!(merge("", one, &other, MARKERS).unwrap().conflicts.len(), 1);
    // A vault of an older regprov, which both sides changed.
    let got = merge("logins: {}\n", one, &other, MARKERS).unwrap();
    assert_eq!((got.text, got.conflicts.len(), got.notes.len()), (one.replace("serial: 1", "serial: 2"), 0, 1));
}

#[test]
fn serials_are_newer_than_both() {
    let text = |serial: &str| format!("version: 1\nvault_id: v1\n{serial}");
    for (ours, theirs, want) in [
        ("vault_serial: 4\n", "vault_serial: 9\n", "vault_serial: 10\n"),
        ("vault_serial: 4 # x\n", "vault_serial: 2\n", "vault_serial: 5 # x\n"),
        ("", "vault_serial: 7\n", "vault_serial: 8\n"),
        ("", "", ""),
        ("vault_serial: 18446744073709551615\n", "vault_serial: 2\n", "vault_serial: 18446744073709551615\n"),
    ] {
        assert_eq!(merge(&text(""), &text(ours), &text(theirs), MARKERS).unwrap().text, text(want));
    }
}

#[test]
fn an_inventory_is_merged_map_by_map() {
    let was = "version: 1\ndefaults: {user: root}\ngroups:\n  gpu:\n    hosts: gpu[1-4]\n    targets:\n      - docker\n  # rare\n  cpu: {hosts: cpu1}\nlogins:\n  hub:\n    registry: docker.io\n    username: a\n";
    let ours = was.replace("gpu[1-4]", "gpu[1-8]").replace("username: a", "username: b");
    let theirs = was
        .replace("      - docker\n", "      - docker\n      - enroot\n")
        .replace("cpu1}", "cpu2}")
        .replace("logins:\n", "logins:\n  ngc: {registry: nvcr.io}\n");
    let want = ours
        .replace("      - docker\n", "      - docker\n      - enroot\n")
        .replace("cpu1}", "cpu2}")
        .replace("logins:\n", "logins:\n  ngc: {registry: nvcr.io}\n");
    let got = merge(was, &ours, &theirs, MARKERS).unwrap();
    assert_eq!((got.text.as_str(), got.conflicts.len()), (want.as_str(), 0), "{}", got.text);
    let got = merge(was, &ours, &was.replace("gpu[1-4]", "gpu[1-2]"), MARKERS).unwrap();
    assert_eq!(got.conflicts, ["`groups`, `gpu`, `hosts`: both sides changed it, each in its way"]);
    assert!(got.text.contains("  gpu:\n<<<<<<< HEAD\n    hosts: gpu[1-8]\n=======\n    hosts: gpu[1-2]\n>>>>>>> topic\n    targets:\n"), "{}", got.text);
}

#[test]
fn windows_line_ends_stay_ours() {
    let windows = |text: &str| text.replace('\n', "\r\n");
    let ours = windows(&base().replace("acme", "bob"));
    let got = merge(&base(), &ours, &base().replace("2027-01", "2027-06"), MARKERS).unwrap();
    assert_eq!(got.text, ours.replace("2027-01", "2027-06").replace("serial: 3", "serial: 4"));
    let got = merge(&windows(&base()), &base().replace("acme", "bob"), &windows(&base().replace("2027-01", "2027-06")), MARKERS).unwrap();
    assert_eq!(got.text, base().replace("acme", "bob").replace("2027-01", "2027-06").replace("serial: 3", "serial: 4"));
}

#[test]
fn markers_are_as_long_as_git_wants() {
    let got = merge("a: 1\n", "a: 2\n", "a: 3\n", Markers { size: 9, ours: "HEAD", theirs: "" }).unwrap();
    assert_eq!(got.text, "<<<<<<<<< HEAD\na: 2\n=========\na: 3\n>>>>>>>>>\n");
    // What the readers say of it.
    assert!(crate::model::conflict::find(&got.text).is_some());
}

#[test]
fn what_cannot_be_told_apart_is_said_and_not_quoted() {
    for (base, ours, theirs, want) in [
        ("a: 1\n", "{a: hunter2}\n", "a: 3\n", "ours: its keys do not stand in block style"),
        ("a: 1\n", "a: 2\n", "a: [hunter2\n", "theirs: it is not YAML"),
        ("- hunter2\n", "a: 2\n", "a: 1\n", "their common ancestor: it is no map of keys"),
        ("a: 1\n", "<<<<<<< x\na: hunter2\n=======\na: 3\n>>>>>>> y\n", "a: 4\n", "ours: it is not YAML"),
    ] {
        assert_eq!(merge(base, ours, theirs, MARKERS).unwrap_err(), want);
    }
}

proptest::proptest! {
    /// Whatever each side did to whichever login: what only one side did is in the result with its bytes, and a merge the other way round
    /// has the same values.
    #[test]
    fn each_login_is_that_of_the_side_that_changed_it(ours in proptest::collection::vec(0..4u8, 6), theirs in proptest::collection::vec(0..4u8, 6)) {
        let login = |i: usize, word: &str| format!("  # number {i}\n  l{i}:\n    registry: r{i}\n    username: u\n    password: |\n{}", seal(&format!("{word}{i}")));
        let vault = |state: &dyn Fn(usize) -> Option<&'static str>| {
            let logins: String = (0..6).filter_map(|i| state(i).map(|word| login(i, word))).collect();
            let head = if logins.is_empty() { "logins: {}\n" } else { "logins:\n" };
            format!("{head}{logins}vault_id: v1\nvault_serial: 1\n")
        };
        // 0 leaves it, 1 seals it anew, 2 takes it out, 3 seals it as the other side may.
        let side = |did: u8, own: &'static str| [Some("base"), Some(own), None, Some("same")][usize::from(did)];
        let (a, b) = (vault(&|i| side(ours[i], "ours")), vault(&|i| side(theirs[i], "theirs")));
        let got = merge(&vault(&|_| Some("base")), &a, &b, MARKERS).unwrap();
        let conflicts = (0..6).filter(|&i| ours[i] != 0 && theirs[i] != 0 && (ours[i] != theirs[i] || ours[i] == 1)).count();
        proptest::prop_assert_eq!(got.conflicts.len(), conflicts, "{}", got.text);
        if conflicts == 0 {
            let want = vault(&|i| if ours[i] != 0 { side(ours[i], "ours") } else { side(theirs[i], "theirs") });
            proptest::prop_assert_eq!(got.text, want.replace("serial: 1", "serial: 2"));
        }
    }
}
