//! What stands before our file: the consumers say themselves that it hides the login, and that it does not any more.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::rig::{Auth, SITES, Seen, Verdict};
use super::{Consumer, DOCKER, SKOPEO, apply, enter, expect_granted, fetch, peers, write};

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
        expect_granted(Auth::Token, ngc, &seen);
        assert!(fs::read_to_string(HELPED.0).unwrap().contains("\"quay.io\""), "the helper of another registry stays");
    }
}
