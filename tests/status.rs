//! `regprov status` on nodes in this process: each way in which a node can differ has its word, nothing is written, and no identity is
//! needed.

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/estate.rs"]
mod estate;
#[path = "common/hosts.rs"]
mod hosts;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use estate::{DOCKER, ENROOT, Estate, PASSWORDS, Ran};
use serde_json::Value;

const SINGULARITY: &str = "etc/regprov/singularity.sh";

/// `KIND` of each finding, then `LOGIN VERDICT` of each login, then the keys of others.
fn told(file: &Value) -> Vec<String> {
    let list = |key: &str| file[key].as_array().unwrap().clone();
    let text = |v: &Value| v.as_str().unwrap().to_string();
    let findings = list("findings").into_iter().map(|f| text(&f["kind"]));
    let logins = list("logins").into_iter().map(|l| {
        let expired = if l["expired"].is_null() { "" } else { " expired" };
        let detail = l["detail"].as_str().map(|d| format!(": {d}")).unwrap_or_default();
        format!("{} {}{detail}{expired}", text(&l["login"]), text(&l["verdict"]))
    });
    findings.chain(logins).chain(list("foreign").into_iter().map(|k| format!("foreign {}", text(&k)))).collect()
}

/// An estate with one node where everything is applied, and an audit key that is put away in `audit.txt`.
async fn applied(id: &str, logins: &str, targets: &str) -> Estate {
    let estate = Estate::new(1).await;
    estate.run(&["vault", "audit-key", "-o", "audit.txt"]).ended(0, &["key id "]);
    estate.run(&["vault", "fingerprint", "vault.yml", "--audit-key", "audit.txt", "--identity", "id.txt"]).ended(0, &["3 of 3 fingerprints set"]);
    estate.inventory("inventory.yml", id, logins, targets);
    estate.apply(&["inventory.yml"]).ended(0, &["1 changed"]);
    estate
}

fn status(estate: &Estate, words: &[&str]) -> Ran {
    estate.there(&[&["status", "inventory.yml"], words].concat())
}

const AUDIT: [&str; 2] = ["--audit-key", "audit.txt"];
const ALL: &str = "docker, enroot, singularity: {login: hub}";

/// Does something to the node and demands what status says of the file of this target then; afterwards the node is as it was.
#[track_caller]
fn tampered(estate: &Estate, target: &str, tamper: impl FnOnce(), want: &[&str]) {
    tamper();
    let ran = status(estate, &[&AUDIT[..], &["--json"]].concat());
    let doc = ran.json();
    let files = doc["hosts"][0]["files"].as_array().unwrap();
    let file = files.iter().find(|f| f["target"] == target).unwrap_or_else(|| panic!("{}", ran.out));
    assert_eq!(told(file), want, "{}", ran.out);
    let drifts = file["drift"] == true;
    assert_eq!((ran.code, doc["hosts"][0]["outcome"].as_str()), if drifts { (10, Some("drift")) } else { (0, Some("same")) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_applied_is_the_same_and_stays_untouched() {
    let estate = applied("id: site\n", "hub, ngc", ALL).await;
    let before = estate.snapshot(0);
    status(&estate, &AUDIT).ended(0, &["same: n0 (1)", "1 host: 1 same"]).without(&["not compared", "drift"]);
    status(&estate, &["--identity", "id.txt"]).ended(0, &["1 host: 1 same"]).without(&["not compared"]);
    let ran = status(&estate, &["--json"]).ended(0, &["passwords were not compared for hub, ngc: give --audit-key or --identity"]);
    let doc = ran.json();
    assert_eq!(doc["schema"], "regprov.status/1");
    let files = doc["hosts"][0]["files"].as_array().unwrap();
    // docker, enroot, and singularity's three files of variables and two without.
    assert_eq!(files.len(), 7, "{}", ran.out);
    assert_eq!(told(&files[0]), ["hub same_account", "ngc same_account"]);
    assert_eq!(told(&files[2]), ["hub same_account"]);
    assert_eq!((doc["summary"]["same"].as_u64(), doc["summary"]["total"].as_u64()), (Some(1), Some(1)));
    assert_eq!(estate.snapshot(0), before, "nothing is written, no lock is made");
    assert_eq!(status(&estate, &[&AUDIT[..], &["--json"]].concat()).out, status(&estate, &[&AUDIT[..], &["--json"]].concat()).out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_differ_has_its_word() {
    let estate = applied("id: site\n", "hub, ngc", ALL).await;
    let good = estate.read(0, DOCKER);
    let both = ["hub same", "ngc same"];
    let docker = |tamper: &dyn Fn(), want: &[&str]| {
        tampered(&estate, "docker", tamper, want);
        estate.chmod(0, "root", 0o755);
        estate.chmod(0, "root/.docker", 0o700);
        let _ = fs::remove_dir_all(estate.on(0, DOCKER));
        let _ = fs::remove_file(estate.on(0, DOCKER));
        let _ = fs::remove_file(estate.on(0, "root/.docker/config.json.regprov-backup"));
        estate.write(0, DOCKER, &good);
    };
    let edited = |edit: fn(&mut Value)| {
        let mut doc: Value = serde_json::from_str(&good).unwrap();
        edit(&mut doc);
        doc.to_string()
    };
    docker(&|| (), &both);
    docker(&|| estate.write(0, DOCKER, &good.replace('\t', "  ")), &both);
    docker(&|| fs::remove_file(estate.on(0, DOCKER)).unwrap(), &["missing", "hub missing", "ngc missing"]);
    docker(&|| estate.write(0, DOCKER, &edited(|d| drop(d["auths"].as_object_mut().unwrap().remove("nvcr.io")))), &["hub same", "ngc missing"]);
    // bob:x and alice:x
    docker(
        &|| estate.write(0, DOCKER, &edited(|d| d["auths"]["https://index.docker.io/v1/"]["auth"] = "Ym9iOng=".into())),
        &["hub different: another account", "ngc same"],
    );
    docker(
        &|| estate.write(0, DOCKER, &edited(|d| d["auths"]["https://index.docker.io/v1/"]["auth"] = "YWxpY2U6eA==".into())),
        &["hub different: another password", "ngc same"],
    );
    docker(
        &|| estate.write(0, DOCKER, &edited(|d| d["auths"]["ghcr.io"] = serde_json::json!({"auth": "Ym9iOng="}))),
        &["hub same", "ngc same", "foreign ghcr.io"],
    );
    docker(
        &|| estate.write(0, DOCKER, &edited(|d| d["auths"]["https://nvcr.io/v1/"] = serde_json::json!({"auth": "Ym9iOng="}))),
        &["hub same", "ngc different: it stands there under an old name too: https://nvcr.io/v1/"],
    );
    docker(
        &|| estate.write(0, DOCKER, &edited(|d| d["credHelpers"] = serde_json::json!({"nvcr.io": "desktop"}))),
        &["hub same", "ngc different: shadowed by credential helper `desktop`"],
    );
    docker(&|| estate.write(0, DOCKER, "{"), &["unreadable", "hub missing", "ngc missing"]);
    docker(&|| estate.chmod(0, DOCKER, 0o644), &["wrong_mode", "hub same", "ngc same"]);
    docker(
        &|| {
            estate.chmod(0, DOCKER, 0o644);
            estate.chmod(0, "root/.docker", 0o755);
            ["", "root"].into_iter().for_each(|dir| estate.chmod(0, dir, 0o755));
            fs::set_permissions(estate.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        },
        &["wrong_mode", "readable_by_others", "hub same", "ngc same"],
    );
    docker(&|| estate.chmod(0, "root/.docker", 0o777), &["refused", "hub unseen", "ngc unseen"]);
    docker(&|| estate.write(0, "root/.docker/config.json.regprov-backup", "{}"), &["stale_backup", "hub same", "ngc same"]);
    docker(
        &|| {
            fs::remove_file(estate.on(0, DOCKER)).unwrap();
            fs::create_dir(estate.on(0, DOCKER)).unwrap();
        },
        &["refused", "hub unseen", "ngc unseen"],
    );
    let netrc = estate.read(0, ENROOT);
    tampered(
        &estate,
        "enroot",
        || estate.write(0, ENROOT, &format!("{netrc}machine ghcr.io login bob password x\n")),
        &[&both[..], &["foreign ghcr.io"]].concat(),
    );
    tampered(&estate, "enroot", || estate.write(0, ENROOT, &netrc.replace("alice", "mallory")), &["hub different: another account", "ngc same"]);
    estate.write(0, ENROOT, &netrc);
    let vars = estate.read(0, SINGULARITY);
    let password = PASSWORDS[0].3;
    tampered(&estate, "singularity", || estate.write(0, SINGULARITY, &vars.replace(password, "other")), &["hub different: another password"]);
    tampered(&estate, "singularity", || estate.write(0, SINGULARITY, "rm -rf /\n"), &["unreadable", "hub missing"]);
    estate.write(0, SINGULARITY, &vars);
    status(&estate, &AUDIT).ended(0, &["1 host: 1 same"]);
    let stub = "etc/profile.d/regprov-singularity.sh";
    estate.write(0, stub, "echo changed\n");
    estate.chmod(0, stub, 0o644);
    status(&estate, &AUDIT).ended(10, &["singularity", "different: its content is not what regprov writes"]);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_owner_is_told_by_number() {
    let estate = applied("", "hub", "docker").await;
    if std::os::unix::fs::chown(estate.on(0, DOCKER), Some(1234), Some(1234)).is_err() {
        // Only root can give a file away.
        return;
    }
    let ran = status(&estate, &AUDIT).ended(10, &["wrong owner: 1234:1234 instead of 0:0: n0 (1)"]);
    assert!(ran.out.contains("docker "), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_ended_and_one_that_has_gone_are_told() {
    let estate = applied("id: site\n", "hub, ngc", "docker, enroot").await;
    let vault = fs::read_to_string(estate.path("vault.yml")).unwrap();
    fs::write(estate.path("vault.yml"), vault.replacen("    username: alice", "    username: alice\n    expires: 2020-01-01", 1)).unwrap();
    status(&estate, &AUDIT).ended(10, &["login hub: expired (2020-01-01): n0 (1)"]).without(&["ngc:"]);
    fs::write(estate.path("vault.yml"), vault).unwrap();

    // ngc leaves the inventory, and enroot's target with it; the node's record knows that we wrote them.
    estate.inventory("inventory.yml", "id: site\n", "hub", "docker");
    let ran = status(&estate, &AUDIT).ended(10, &["left over: nvcr.io: this inventory wrote it", "apply --prune"]);
    assert!(ran.out.contains("docker ") && ran.out.contains("enroot ") && ran.out.contains("left over: registry-1.docker.io"), "{}", ran.out);
    // Without that name it is just an entry of somebody's.
    estate.inventory("inventory.yml", "", "hub", "docker");
    status(&estate, &AUDIT).ended(0, &["written by others, and left alone: docker", "nvcr.io"]);
    // What is not chosen is neither gone nor strange.
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", "docker, enroot");
    status(&estate, &[&AUDIT[..], &["--login", "hub"]].concat()).ended(0, &["1 same"]).without(&["left", "ngc", "nvcr"]);
    status(&estate, &[&AUDIT[..], &["--target", "enroot"]].concat()).ended(0, &["1 same"]).without(&["left", "docker "]);
    status(&estate, &["--login", "hbu"]).ended(2, &["there is no login", "hub"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_in_the_vault_differs_on_the_node() {
    let estate = applied("", "hub, ngc", "docker").await;
    let set = |words: &[&str]| estate.piped(&[&["vault", "set", "vault.yml", "hub"], words].concat(), "planted-Hub_new").ended(0, &[]);
    set(&AUDIT).without(&["note: its fingerprint"]);
    status(&estate, &AUDIT).ended(10, &["login hub: different: another password: n0 (1)"]).without(&["ngc"]);
    status(&estate, &["--identity", "id.txt"]).ended(10, &["login hub: different: another password"]);
    status(&estate, &[]).ended(0, &["not compared for hub, ngc"]);
    // Without the key the fingerprint goes, and nothing is said that is not known.
    assert!(set(&[]).err.contains("its fingerprint was that of the old password"), "it is told");
    status(&estate, &AUDIT).ended(0, &["not compared for hub: they have no fingerprint"]).without(&["ngc"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_audit_key_is_no_drift() {
    let estate = applied("", "hub, ngc", "docker").await;
    estate.run(&["vault", "audit-key", "-o", "other.txt"]).ended(0, &[]);
    status(&estate, &["--audit-key", "other.txt"]).ended(5, &["the fingerprint of login `hub` was made with the audit key", "login `ngc`", "other.txt is"]);
    fs::set_permissions(estate.path("audit.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    status(&estate, &AUDIT).ended(5, &["audit key audit.txt can be read or changed by others", "chmod 600"]);
    status(&estate, &["--audit-key", "none.txt"]).ended(5, &["there is no such file", "vault audit-key"]);
    status(&estate, &["--audit-key", "id.txt"]).ended(5, &["age identity"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_cannot_be_seen_is_told_beside_those_that_can() {
    let estate = Estate::new(3).await;
    estate.inventory("inventory.yml", "", "hub", "docker");
    estate.apply(&["inventory.yml", "--limit", "n[0-1]"]).ended(0, &["2 changed"]);
    fs::remove_file(estate.on(1, DOCKER)).unwrap();
    let ran = status(&estate, &[]).ended(10, &["same:  n0 (1)", "drift: n[1-2] (2)", "missing: there is no such file: n[1-2] (2)", "3 hosts: 1 same, 2 drift"]);
    assert_eq!(ran.out.matches("docker ").count(), 1, "{}", ran.out);
    // Nobody listens on n2's port any more.
    let port = estate.bed.fleet.nodes[2].port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = fs::read_to_string(estate.path("inventory.yml")).unwrap().replace(&format!("port: {port},"), &format!("port: {closed},"));
    fs::write(estate.path("inventory.yml"), text).unwrap();
    let ran = status(&estate, &["--json", "--connect-timeout", "2"]).ended(4, &[]);
    let outcomes: Vec<String> = (0..3).map(|i| ran.json()["hosts"][i]["outcome"].as_str().unwrap().to_string()).collect();
    assert_eq!(outcomes, ["same", "drift", "unreachable"]);
    status(&estate, &["--limit", "n[0-1]"]).ended(10, &["2 hosts: 1 same, 1 drift"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helpers_are_compared_by_their_names_and_never_run() {
    let target = "{docker: {cred_helpers: {reg.example.org: ecr-login}, helper: store}}";
    let estate = Estate::new(1).await;
    estate.inventory("inventory.yml", "id: site\n", "hub", target);
    estate.apply(&["inventory.yml"]).ended(0, &["1 changed"]);
    let status = |words: &[&str]| estate.there(&[&["status", "inventory.yml", "--identity", "id.txt"], words].concat());
    status(&[]).ended(0, &["1 host: 1 same"]).without(&["left alone"]);
    let text = estate.read(0, DOCKER);
    estate.write(0, DOCKER, &text.replace("ecr-login", "other"));
    status(&[]).ended(10, &["different: its `credHelpers` are not those of the inventory"]);
    // A helper that hides the login is to have it; nothing says that it has not.
    estate.write(0, DOCKER, &text.replacen('{', "{\"credsStore\": \"pass\",", 1));
    status(&["--json"]).ended(0, &["\"not_asked\"", "docker-credential-pass is to have it, which `apply --check` asks"]);
    status(&[]).ended(0, &["1 same"]);
    // The same with `helper: fail` hides it for certain.
    estate.inventory("inventory.yml", "id: site\n", "hub", "docker");
    status(&[]).ended(10, &["different: shadowed by"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_the_node_does_not_tell_is_no_drift_of_the_record() {
    let estate = Estate::new(1).await;
    estate.write(0, "etc/enroot/enroot.conf", "ENROOT_CONFIG_PATH /srv/enroot\n");
    estate.inventory("inventory.yml", "id: site\n", "hub", "{enroot: {path: auto}}");
    estate.apply(&["inventory.yml"]).ended(0, &["1 changed"]);
    let file = "srv/enroot/.credentials";
    assert!(estate.on(0, file).exists());
    let status = || estate.there(&["status", "inventory.yml", "--identity", "id.txt"]);
    status().ended(0, &["1 same"]);
    // The file may be where it was; only the configuration is of no use at present.
    estate.write(0, "etc/enroot/enroot.conf", "ENROOT_CONFIG_PATH ${NOBODY_KNOWS}/x\n");
    status().ended(10, &["enroot auto", "refused: "]).without(&["left over"]);
    estate.apply(&["inventory.yml", "--prune"]).ended(3, &["failed"]);
    assert!(estate.on(0, file).exists(), "prune takes nothing of which it does not know whether it is wanted");
    // It is elsewhere now, and the old one goes.
    estate.write(0, "etc/enroot/enroot.conf", "ENROOT_CONFIG_PATH /srv/new\n");
    status().ended(10, &["missing: there is no such file", "left over"]);
    estate.apply(&["inventory.yml", "--prune"]).ended(0, &["1 changed"]);
    assert!(!estate.on(0, file).exists() && estate.on(0, "srv/new/.credentials").exists());
    // What is to go lies where the record says.
    estate.write(0, "etc/enroot/enroot.conf", "ENROOT_CONFIG_PATH ${NOBODY_KNOWS}/x\n");
    estate.there(&["remove", "inventory.yml", "--all"]).ended(0, &["1 changed"]);
    assert!(!estate.on(0, "srv/new/.credentials").exists());
}
