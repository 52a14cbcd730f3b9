//! What stands before our file: the consumers say themselves that it hides the login, and that it does not any more.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::node::Login;
use super::rig::{Auth, SITES, Seen, Verdict};
use super::{Consumer, DOCKER, PODMANS_OWN, SKOPEO, apply, enter, expect_granted, fetch, peers, write};

/// A helper of somebody else's, with another account.
const HELPER: &str = "#!/bin/sh\necho '{\"ServerURL\": \"\", \"Username\": \"other\", \"Secret\": \"pw\"}'\n";

const HELPED: (&str, &str) = ("/root/.docker/config.json", r#"{"auths": {}, "credHelpers": {"nvcr.io": "other", "quay.io": "other"}}"#);

#[test]
#[ignore = "needs docker, skopeo and docker-registry"]
fn a_credential_helper_hides_the_login_until_it_is_taken_out() {
    if peers::need("skopeo").is_none() {
        return;
    }
    let Some(mut node) = enter("shadow::a_credential_helper_hides_the_login_until_it_is_taken_out", &DOCKER) else { return };
    fs::create_dir("/rig/bin").unwrap();
    fs::write("/rig/bin/docker-credential-other", HELPER).unwrap();
    fs::set_permissions("/rig/bin/docker-credential-other", fs::Permissions::from_mode(0o755)).unwrap();
    node.names(Auth::Token);
    let (ngc, sites) = (&SITES[1], [&SITES[1]]);
    let removing = Consumer { targets: "docker: {helper: remove}", ..DOCKER };
    for (name, script) in [("docker", DOCKER.fetch), ("skopeo", SKOPEO.fetch)] {
        let script = format!("export PATH=/rig/bin:$PATH\n{script}");
        node.clear();
        write(&[HELPED]);
        let said = apply(&node, &DOCKER, &sites, None, 3);
        assert!(said.contains("helper"), "{said}");
        let (ran, seen) = fetch(&mut node, &script, ngc);
        let others = |s: &Seen| s.user == "other" && s.verdict == Verdict::WrongPassword;
        assert!(!ran.good && seen.iter().any(others), "{name} asks the helper: {} {seen:?}", ran.said);
        apply(&node, &removing, &sites, None, 0);
        let (ran, seen) = fetch(&mut node, &script, ngc);
        assert!(ran.good, "{name} reads the file: {} {seen:?}", ran.said);
        expect_granted(Auth::Token, "pull", ngc, &seen);
        assert!(fs::read_to_string(HELPED.0).unwrap().contains("\"quay.io\""), "the helper of another registry stays");
    }
}

/// What `podman login` wrote comes before ours until the next boot; `apply` says so, and podman does it.
#[test]
#[ignore = "needs podman and docker-registry"]
fn an_earlier_file_of_podman_hides_the_login_until_it_is_gone() {
    const EARLIER: &str = "/run/containers/0/auth.json";
    let Some(mut node) = enter("shadow::an_earlier_file_of_podman_hides_the_login_until_it_is_gone", &PODMANS_OWN) else { return };
    node.names(Auth::Token);
    let (ngc, sites) = (&SITES[1], [&SITES[1]]);
    node.clear();
    write(&[(EARLIER, r#"{"auths": {"nvcr.io": {"auth": "b3RoZXI6cHc="}}}"#)]);
    let said = apply(&node, &PODMANS_OWN, &sites, None, 0);
    assert!(said.contains(&format!("shadowed by {EARLIER}")), "{said}");
    let (ran, seen) = fetch(&mut node, PODMANS_OWN.fetch, ngc);
    assert!(!ran.good && seen.iter().any(|s| s.user == "other" && s.verdict == Verdict::WrongPassword), "{} {seen:?}", ran.said);
    fs::remove_file(EARLIER).unwrap();
    let (ran, seen) = fetch(&mut node, PODMANS_OWN.fetch, ngc);
    assert!(ran.good, "{} {seen:?}", ran.said);
    expect_granted(Auth::Token, "pull", ngc, &seen);
}

/// Two accounts for two paths of one registry: podman finds each by its path.
#[test]
#[ignore = "needs podman and docker-registry"]
fn podman_finds_logins_by_the_path_of_the_image() {
    let Some(mut node) = enter("shadow::podman_finds_logins_by_the_path_of_the_image", &PODMANS_OWN) else { return };
    node.names(Auth::Token);
    let harbor = &SITES[2];
    let ours = Login { name: "ours", registry: "harbor.test/proj", user: harbor.user, password: harbor.password };
    let others = Login { name: "others", registry: "harbor.test/others", user: "other", password: "pw" };
    node.clear();
    node.apply(PODMANS_OWN.targets, &[others, ours], 0);
    let (ran, seen) = fetch(&mut node, PODMANS_OWN.fetch, harbor);
    assert!(ran.good, "{} {seen:?}", ran.said);
    expect_granted(Auth::Token, "pull", harbor, &seen);
    let (ran, seen) = fetch(&mut node, "podman --storage-driver vfs pull harbor.test/others/tiny:v1", harbor);
    assert!(!ran.good && seen.iter().any(|s| s.user == "other" && s.verdict == Verdict::WrongPassword), "{} {seen:?}", ran.said);
}

/// A helper instead of a password: the file names it, and the consumers ask it.
#[test]
#[ignore = "needs docker, skopeo and docker-registry"]
fn a_credential_helper_that_is_wanted_is_asked() {
    if peers::need("skopeo").is_none() {
        return;
    }
    let Some(mut node) = enter("shadow::a_credential_helper_that_is_wanted_is_asked", &DOCKER) else { return };
    let ngc = &SITES[1];
    let helper = HELPER.replace("other", ngc.user).replace("pw", ngc.password);
    node.names(Auth::Token);
    for (target, file, script) in [("docker", super::DOCKERS, DOCKER.fetch), ("podman", super::CONTAINERS, SKOPEO.fetch)] {
        let script = format!("export PATH=/rig/bin:$PATH\n{script}");
        node.clear();
        let _ = fs::remove_dir_all("/rig/bin");
        write(&[file, ("/rig/bin/docker-credential-ours", &helper)]);
        node.apply(&format!("{target}: {{cred_helpers: {{nvcr.io: ours}}}}"), &[], 0);
        let (ran, seen) = fetch(&mut node, &script, ngc);
        assert!(!ran.good && seen.iter().all(|s| s.verdict != Verdict::Granted), "{target}, a helper that cannot run: {} {seen:?}", ran.said);
        fs::set_permissions("/rig/bin/docker-credential-ours", fs::Permissions::from_mode(0o755)).unwrap();
        let (ran, seen) = fetch(&mut node, &script, ngc);
        assert!(ran.good, "{target}: {} {seen:?}", ran.said);
        expect_granted(Auth::Token, "pull", ngc, &seen);
    }
}
