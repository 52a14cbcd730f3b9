//! `regprov remove` and `apply --prune` on nodes in this process: what this inventory wrote goes, and nothing of anybody else.

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/estate.rs"]
mod estate;
#[path = "common/hosts.rs"]
mod hosts;

use std::fs;

use estate::{DOCKER, ENROOT, Estate, RECORD, Ran};
use serde_json::{Value, json};

const HUB: &str = "https://index.docker.io/v1/";
const ALL: &str = "docker, enroot, singularity: {login: hub}";

fn remove(estate: &Estate, words: &[&str]) -> Ran {
    estate.there(&[&["remove"], words].concat())
}

/// The keys of a node's docker file, in its order; none where there is no file.
fn keys(estate: &Estate, node: usize) -> Vec<String> {
    let doc: Value = serde_json::from_str(&estate.read(node, DOCKER)).unwrap_or(json!({}));
    doc["auths"].as_object().map(|a| a.keys().cloned().collect()).unwrap_or_default()
}

fn edit(estate: &Estate, node: usize, change: impl FnOnce(&mut Value)) {
    let mut doc: Value = serde_json::from_str(&estate.read(node, DOCKER)).unwrap();
    change(&mut doc);
    estate.write(node, DOCKER, &doc.to_string());
}

/// `TARGET CHANGE` of each file of the first host.
fn changes(ran: &Ran) -> Vec<String> {
    let doc = ran.json();
    let files = doc["hosts"][0]["files"].as_array().unwrap().clone();
    files.iter().map(|f| format!("{} {}", f["target"].as_str().unwrap(), f["change"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_goes_and_leaves_no_file_of_ours() {
    let estate = Estate::new(1).await;
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", ALL);
    estate.apply(&["inventory.yml"]).ended(0, &["1 changed"]);
    let before = estate.snapshot(0);
    let ran = remove(&estate, &["inventory.yml", "--all", "--check", "--json"]).ended(0, &[]);
    assert_eq!(
        changes(&ran),
        ["docker removed", "enroot removed", "singularity removed", "singularity removed", "singularity removed", "singularity removed", "singularity removed"]
    );
    remove(&estate, &["inventory.yml", "--all", "--check", "--diff"]).ended(0, &["would be changed", "would be removed on n0 (1)", "- nvcr.io"]);
    assert_eq!(estate.snapshot(0), before);
    remove(&estate, &["inventory.yml", "--all", "--detailed-exitcode"]).ended(10, &["changed: n0 (1)", "1 host: 1 changed"]);
    for gone in [DOCKER, ENROOT, RECORD, "etc/regprov/singularity.sh", "etc/regprov/singularity.env", "etc/profile.d/regprov-singularity.sh"] {
        assert!(!estate.on(0, gone).exists(), "{gone}");
    }
    // Directories that were made stay, and nothing staged does.
    assert!(estate.on(0, "root/.docker").is_dir() && estate.on(0, "var/lib/regprov").is_dir());
    assert!(estate.snapshot(0).iter().all(|(path, ..)| path.is_dir()), "no file is left");
    let empty = estate.snapshot(0);
    let ran = remove(&estate, &["inventory.yml", "--all", "--json", "--detailed-exitcode"]).ended(0, &[]);
    assert!(changes(&ran).iter().all(|c| c.ends_with("unchanged")), "{}", ran.out);
    assert_eq!(estate.snapshot(0).iter().map(|e| &e.0).collect::<Vec<_>>(), empty.iter().map(|e| &e.0).collect::<Vec<_>>());
    // And it comes again.
    estate.apply(&["inventory.yml"]).ended(0, &["1 changed"]);
    assert_eq!(keys(&estate, 0), [HUB, "nvcr.io"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_wrote_stays() {
    let estate = Estate::new(1).await;
    estate.write(0, DOCKER, r#"{"auths":{"ghcr.io":{"auth":"Ym9iOng="}},"psFormat":"x","big":12345678901234567890.10}"#);
    estate.write(0, ENROOT, "# mine\nmachine ghcr.io login bob password x\n");
    let foreign = (estate.read(0, DOCKER), estate.read(0, ENROOT));
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", "docker, enroot");
    estate.apply(&["inventory.yml"]).ended(0, &["1 changed"]);
    // Somebody logs in to nvcr.io with an account of their own.
    edit(&estate, 0, |d| d["auths"]["nvcr.io"]["auth"] = "Ym9iOng=".into());
    // The test's own reader rounds it.
    estate.write(0, DOCKER, &estate.read(0, DOCKER).replace("1.2345678901234567e+19", "12345678901234567890.10"));
    let ran = remove(&estate, &["inventory.yml", "--all", "--diff", "--json"]).ended(0, &["kept: nvcr.io: changed by others: another account"]);
    assert_eq!(changes(&ran), ["docker updated", "enroot updated"]);
    assert_eq!(ran.json()["hosts"][0]["files"][0]["diff"], json!([format!("- {HUB}")]));
    assert_eq!(keys(&estate, 0), ["ghcr.io", "nvcr.io"]);
    let text = estate.read(0, DOCKER);
    assert!(text.contains("12345678901234567890.10") && text.contains("psFormat"), "{text}");
    assert_eq!(estate.read(0, ENROOT), foreign.1);
    assert!(!estate.on(0, RECORD).exists());
    // What was kept is no longer ours, so a second run has nothing to say of it.
    remove(&estate, &["inventory.yml", "--all"]).ended(0, &["1 unchanged"]).without(&["kept"]);
    assert_eq!(keys(&estate, 0), ["ghcr.io", "nvcr.io"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_inventory_wrote_too_stays() {
    let estate = Estate::new(1).await;
    estate.inventory("a.yml", "id: site-a\n", "hub, ngc", ALL);
    estate.inventory("b.yml", "id: site-b\n", "ngc, corp", "docker");
    estate.inventory("c.yml", "id: site-c\n", "hub", "singularity");
    for name in ["a.yml", "b.yml", "c.yml"] {
        estate.apply(&[name]).ended(0, &[]);
    }
    // c changed no file, so the record does not know it yet; a write makes it known.
    fs::remove_file(estate.on(0, "etc/regprov/singularity.sh")).unwrap();
    estate.apply(&["c.yml"]).ended(0, &["1 changed"]);
    assert_eq!(keys(&estate, 0), [HUB, "nvcr.io", "reg.example.org"]);
    let ran = remove(&estate, &["a.yml", "--all", "--json"]).ended(0, &["kept: nvcr.io: also owned by inventory site-b", "also owned by inventory site-c"]);
    assert_eq!(changes(&ran)[..2], ["docker updated", "enroot removed"]);
    assert_eq!(keys(&estate, 0), ["nvcr.io", "reg.example.org"]);
    assert!(estate.on(0, "etc/regprov/singularity.sh").exists() && estate.on(0, "etc/profile.d/regprov-singularity.sh").exists());
    let record: Value = serde_json::from_str(&estate.read(0, RECORD)).unwrap();
    assert_eq!(record["inventories"].as_object().unwrap().keys().collect::<Vec<_>>(), ["site-b", "site-c"]);
    remove(&estate, &["b.yml", "--all"]).ended(0, &["1 changed"]).without(&["kept"]);
    assert!(!estate.on(0, DOCKER).exists());
    remove(&estate, &["c.yml", "--all"]).ended(0, &["1 changed"]);
    assert!(!estate.on(0, RECORD).exists() && !estate.on(0, "etc/profile.d/regprov-singularity.sh").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_selected_goes() {
    let estate = Estate::new(2).await;
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", ALL);
    estate.apply(&["inventory.yml"]).ended(0, &["2 changed"]);
    remove(&estate, &["inventory.yml"]).ended(2, &["--limit", "--login", "--target", "--all"]);
    remove(&estate, &["inventory.yml", "--all", "--login", "hub"]).ended(2, &["cannot be used with"]);
    remove(&estate, &["inventory.yml", "--login", "ngc", "--limit", "n1"]).ended(0, &["1 host: 1 changed"]);
    assert_eq!((keys(&estate, 0), keys(&estate, 1)), (vec![HUB.to_string(), "nvcr.io".into()], vec![HUB.to_string()]));
    assert!(estate.read(0, ENROOT).contains("nvcr.io") && !estate.read(1, ENROOT).contains("nvcr.io"));
    assert!(estate.on(1, "etc/regprov/singularity.sh").exists() && estate.on(1, "etc/profile.d/regprov-singularity.sh").exists());
    remove(&estate, &["inventory.yml", "--target", "enroot"]).ended(0, &["2 hosts: 2 changed"]);
    assert!(!estate.on(0, ENROOT).exists() && !estate.on(1, ENROOT).exists());
    assert_eq!(keys(&estate, 0).len(), 2);
    // The last login of singularity takes the stubs with it.
    remove(&estate, &["inventory.yml", "--login", "hub", "--limit", "n0"]).ended(0, &["1 changed"]);
    assert_eq!(keys(&estate, 0), ["nvcr.io"]);
    assert!(!estate.on(0, "etc/regprov/singularity.sh").exists() && !estate.on(0, "etc/profile.d/regprov-singularity.sh").exists());
    // Also a login that the inventory does not have any more, at a path that it does not name any more.
    estate.inventory("inventory.yml", "id: site\n", "hub", "docker: {path: /root/elsewhere.json}");
    remove(&estate, &["inventory.yml", "--login", "corp"]).ended(0, &["2 unchanged"]);
    let vault = fs::read_to_string(estate.path("vault.yml")).unwrap();
    fs::write(estate.path("vault.yml"), vault.replace("  ngc:", "  other:").replace("nvcr.io", "x.example.org")).unwrap();
    remove(&estate, &["inventory.yml", "--login", "ngc"]).ended(0, &["login `ngc` is not in the inventory", "1 changed, 1 unchanged"]);
    assert!(!estate.on(0, DOCKER).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_of_others_is_kept_where_that_is_asked_for() {
    let estate = Estate::new(1).await;
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", "docker");
    estate.apply(&["inventory.yml"]).ended(0, &[]);
    // alice:x
    edit(&estate, 0, |d| d["auths"][HUB]["auth"] = "YWxpY2U6eA==".into());
    let words = ["inventory.yml", "--all", "--same-password", "--check", "--diff"];
    remove(&estate, &words).ended(0, &["not compared for", "its password could not be compared"]);
    let words = [&words[..], &["--identity", "id.txt"]].concat();
    remove(&estate, &words).ended(0, &["its password is not the vault's", "- nvcr.io"]).without(&[&format!("- {HUB}")]);
    remove(&estate, &["inventory.yml", "--all", "--same-password", "--identity", "id.txt"]).ended(0, &["1 changed"]);
    assert_eq!(keys(&estate, 0), [HUB]);
    // Without an identity another password cannot be known, and the account is ours.
    remove(&estate, &["inventory.yml", "--all"]).ended(0, &["1 changed"]);
    assert!(!estate.on(0, DOCKER).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_name_of_its_own_an_inventory_takes_nothing() {
    let estate = Estate::new(1).await;
    estate.inventory("inventory.yml", "", "hub", "docker");
    estate.apply(&["inventory.yml"]).ended(0, &[]);
    remove(&estate, &["inventory.yml", "--all"]).ended(2, &["inventory.yml has no `id:`", "run `apply`"]);
    estate.apply(&["inventory.yml", "--prune"]).ended(2, &["inventory.yml has no `id:`"]);
    estate.inventory("inventory.yml", "id: site\n", "hub", "docker");
    estate.apply(&["inventory.yml", "--prune", "--login", "hub"]).ended(2, &["cannot be used with"]);
    remove(&estate, &["inventory.yml", "--all"]).ended(0, &["1 unchanged"]);
    assert_eq!(keys(&estate, 0), [HUB], "it was written without that name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_takes_nothing() {
    let estate = Estate::new(1).await;
    estate.inventory("inventory.yml", "id: site\n", "hub", "docker");
    estate.apply(&["inventory.yml"]).ended(0, &[]);
    for record in ["{", r#"{"version":2}"#] {
        estate.write(0, RECORD, record);
        remove(&estate, &["inventory.yml", "--all"]).ended(3, &["failed at observe", "var/lib/regprov/owned.json"]);
    }
    // Of an older version, without accounts: the inventory knows whose it is.
    estate.write(0, RECORD, r#"{"version":1,"inventories":{"site":{"files":{"/root/.docker/config.json":{"target":"docker","registries":["docker.io"]}}}}}"#);
    remove(&estate, &["inventory.yml", "--all"]).ended(0, &["1 changed"]);
    assert!(!estate.on(0, DOCKER).exists() && !estate.on(0, RECORD).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prune_takes_what_is_not_wanted_any_more_in_the_same_write() {
    let estate = Estate::new(2).await;
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", ALL);
    estate.apply(&["inventory.yml"]).ended(0, &["2 changed"]);
    edit(&estate, 0, |d| d["auths"]["ghcr.io"] = json!({"auth": "Ym9iOng="}));
    // ngc and singularity leave, corp comes.
    estate.inventory("inventory.yml", "id: site\n", "hub, corp", "docker, enroot");
    let before = estate.snapshot(0);
    let ran = estate.apply(&["inventory.yml", "--prune", "--check", "--json", "--diff", "--limit", "n0"]).ended(0, &[]);
    assert_eq!(
        changes(&ran),
        ["docker updated", "enroot updated", "singularity removed", "singularity removed", "singularity removed", "singularity removed", "singularity removed"]
    );
    assert_eq!(ran.json()["hosts"][0]["files"][0]["diff"], json!(["- nvcr.io", "+ reg.example.org (bob)"]));
    assert_eq!(estate.snapshot(0), before);
    // Without --prune nothing goes.
    estate.apply(&["inventory.yml", "--limit", "n1"]).ended(0, &["1 changed"]);
    assert_eq!(keys(&estate, 1), [HUB, "nvcr.io", "reg.example.org"]);
    estate.apply(&["inventory.yml", "--prune", "--limit", "n0"]).ended(0, &["1 host: 1 changed"]);
    assert_eq!(keys(&estate, 0), [HUB, "ghcr.io", "reg.example.org"]);
    assert!(!estate.read(0, ENROOT).contains("nvcr.io") && estate.read(0, ENROOT).contains("reg.example.org"));
    assert!(!estate.on(0, "etc/regprov/singularity.sh").exists() && !estate.on(0, "etc/profile.d/regprov-singularity.sh").exists());
    assert!(estate.on(1, "etc/regprov/singularity.sh").exists(), "n1 was not chosen");
    let record: Value = serde_json::from_str(&estate.read(0, RECORD)).unwrap();
    let files = record["inventories"]["site"]["files"].as_object().unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["/root/.config/enroot/.credentials", "/root/.docker/config.json"]);
    assert_eq!(files["/root/.docker/config.json"]["registries"], json!(["docker.io", "reg.example.org"]));
    let again = estate.apply(&["inventory.yml", "--prune", "--limit", "n0", "--json", "--detailed-exitcode"]).ended(0, &[]);
    assert_eq!(changes(&again), ["docker unchanged", "enroot unchanged"]);
    estate.there(&["status", "inventory.yml", "--limit", "n0"]).ended(0, &["1 same"]);

    // A host that gets nothing any more is pruned too.
    let text = fs::read_to_string(estate.path("inventory.yml")).unwrap().replace("  n1: {", "  n1: {logins: [], targets: [], ");
    fs::write(estate.path("inventory.yml"), text).unwrap();
    estate.there(&["status", "inventory.yml"]).ended(10, &["left over", "drift: n1 (1)"]);
    estate.apply(&["inventory.yml", "--prune"]).ended(0, &["1 changed, 1 unchanged"]);
    assert!(!estate.on(1, DOCKER).exists() && !estate.on(1, RECORD).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_changed_keeps_its_place_in_the_record() {
    let estate = Estate::new(1).await;
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", "docker, enroot");
    estate.apply(&["inventory.yml"]).ended(0, &[]);
    let (docker, record) = (estate.read(0, DOCKER), estate.read(0, RECORD));
    estate.write(0, DOCKER, "{");
    let ran = remove(&estate, &["inventory.yml", "--all", "--json"]).ended(3, &["nothing of it was taken out"]);
    assert_eq!(changes(&ran), ["docker failed", "enroot removed"]);
    assert!(estate.read(0, RECORD).contains(DOCKER) && !estate.read(0, RECORD).contains(".credentials"));
    estate.write(0, DOCKER, &docker);
    estate.chmod(0, "root/.docker", 0o777);
    remove(&estate, &["inventory.yml", "--all"]).ended(3, &["others can exchange what lies below it"]);
    estate.chmod(0, "root/.docker", 0o700);
    // A record that claims a file which is not regprov's at all.
    estate.write(0, "etc/important", "keep me\n");
    estate.write(0, RECORD, &record.replace("/root/.config/enroot/.credentials", "/etc/important").replace("\"enroot\"", "\"singularity\""));
    remove(&estate, &["inventory.yml", "--all"]).ended(0, &["1 changed"]);
    assert!(!estate.on(0, DOCKER).exists());
    assert_eq!(estate.read(0, "etc/important"), "keep me\n");
}

/// Whenever a run is killed, each file is the old or the new one and no file staged by it is read; the next run finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_leaves_old_or_new_and_the_next_one_finishes() {
    let estate = Estate::new(1).await;
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", "docker, enroot");
    let (mut old, mut new) = (0, 0);
    for round in 0..24 {
        estate.write(0, ENROOT, "machine ghcr.io login bob password x\n");
        estate.apply(&["inventory.yml"]).ended(0, &[]);
        let (docker, netrc) = (estate.read(0, DOCKER), estate.read(0, ENROOT));
        estate.killed_after(&["remove", "inventory.yml", "--all"], std::time::Duration::from_millis(12 + 5 * round));
        let now = (estate.read(0, DOCKER), estate.read(0, ENROOT));
        assert!(now.0 == docker || now.0.is_empty(), "{}", now.0);
        assert!(now.1 == netrc || now.1 == "machine ghcr.io login bob password x\n", "{}", now.1);
        if now.0.is_empty() || now.1 != netrc {
            new += 1;
        } else {
            old += 1;
        }
        let done = remove(&estate, &["inventory.yml", "--all"]);
        done.ended(0, &[]);
        assert_eq!((estate.read(0, DOCKER), estate.read(0, ENROOT)), (String::new(), "machine ghcr.io login bob password x\n".to_string()));
        assert!(!estate.on(0, RECORD).exists());
        assert!(estate.snapshot(0).iter().all(|(path, ..)| !path.to_string_lossy().contains(".regprov.")));
    }
    assert!(old > 0 && new > 0, "the kills fell on both sides: {old} old, {new} new");
}

/// A target of every kind, with `hub` and `ngc` where it takes two; singularity goes with no apptainer.
const KINDS: [&str; 2] = [
    "docker, podman, enroot, {apptainer: {path: /etc/regprov/docker-config.json}}, helm, kubelet, crio, k3s, rke2, containerd, \
     {docker-mirror: {mirror: 'https://mirror.example.org'}}",
    "{singularity: {login: hub}}",
];

/// What each file that others have as well may hold: path, content.
const THEIRS: [(&str, &str); 11] = [
    (DOCKER, r#"{"auths":{"ghcr.io":{"auth":"Ym9iOng="}},"psFormat":"x"}"#),
    ("etc/containers/auth.json", r#"{"auths":{"ghcr.io":{"auth":"Ym9iOng="}}}"#),
    (ENROOT, "# mine\nmachine ghcr.io login bob password x\n"),
    ("etc/regprov/docker-config.json", r#"{"auths":{"ghcr.io":{"auth":"Ym9iOng="}}}"#),
    ("root/.config/helm/registry/config.json", r#"{"auths":{"ghcr.io":{"auth":"Ym9iOng="}}}"#),
    ("var/lib/kubelet/config.json", r#"{"auths":{"ghcr.io":{"auth":"Ym9iOng="}}}"#),
    ("etc/crio/auth.json", r#"{"auths":{"ghcr.io":{"auth":"Ym9iOng="}}}"#),
    ("etc/rancher/k3s/registries.yaml", "# mine\nmirrors:\n  docker.io:\n    endpoint: [\"https://m.example.org\"]\n"),
    ("etc/rancher/rke2/registries.yaml", "configs:\n  ghcr.io:\n    auth:\n      username: bob\n      password: x\n"),
    ("etc/docker/daemon.json", r#"{"registry-mirrors":["https://first.example.org"],"log-level":"warn"}"#),
    ("etc/profile.d/other.sh", "echo mine\n"),
];

/// The files of a node: JSON by its values, everything else by its text.
fn files(estate: &Estate) -> Vec<(String, String)> {
    let text = |path: &std::path::Path, content: &[u8]| {
        let text = String::from_utf8(content.to_vec()).unwrap();
        let is_json = path.extension().is_some_and(|e| e == "json");
        if is_json { serde_json::from_str::<Value>(&text).unwrap().to_string() } else { text }
    };
    let all = estate.snapshot(0).into_iter().filter(|(path, ..)| path.is_file());
    all.map(|(path, .., content)| (path.strip_prefix(estate.on(0, "")).unwrap().display().to_string(), text(&path, &content))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_every_kind_of_target_what_was_there_before_comes_back() {
    let mut seen = std::collections::BTreeSet::new();
    for (kinds, is_empty) in KINDS.iter().flat_map(|kinds| [(kinds, true), (kinds, false)]) {
        let estate = Estate::new(1).await;
        THEIRS.iter().filter(|_| !is_empty).for_each(|(path, text)| estate.write(0, path, text));
        // containerd's own configuration says which version a drop-in has, and where mirrors are looked for.
        let config = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n";
        estate.write(0, "etc/containerd/config.toml", &format!("imports = ['/etc/containerd/conf.d/*.toml']\n{config}"));
        let before = files(&estate);
        estate.inventory("inventory.yml", "id: site\n", "hub, ngc", kinds);
        let ran = estate.apply(&["inventory.yml", "--json"]).ended(0, &[]);
        assert!(changes(&ran).iter().all(|c| c.ends_with(" created") || c.ends_with(" updated")), "{}", ran.out);
        seen.extend(changes(&ran).iter().map(|c| c.split(' ').next().unwrap().to_string()));
        let applied = files(&estate);
        estate.there(&["status", "inventory.yml", "--identity", "id.txt"]).ended(0, &["1 host: 1 same"]);

        // Prune has nothing to do, and a check of a removal does nothing.
        let ran = estate.apply(&["inventory.yml", "--prune", "--json"]).ended(0, &[]);
        assert!(changes(&ran).iter().all(|c| c.ends_with(" unchanged")), "{}", ran.out);
        remove(&estate, &["inventory.yml", "--all", "--check"]).ended(0, &["1 would be changed"]);
        assert_eq!(files(&estate), applied);

        let ran = remove(&estate, &["inventory.yml", "--all", "--json"]).ended(0, &[]).without(&["kept"]);
        assert!(changes(&ran).iter().all(|c| c.ends_with(" updated") || c.ends_with(" removed")), "{}", ran.out);
        assert_eq!(files(&estate), before, "{is_empty}");
        remove(&estate, &["inventory.yml", "--all"]).ended(0, &["1 unchanged"]);
    }
    assert_eq!(seen.len(), regprov::model::TargetKind::ALL.len(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_goes_by_its_url_and_with_no_login() {
    const DAEMON: &str = "etc/docker/daemon.json";
    const PODMAN: &str = "etc/containers/registries.conf.d/50-regprov-mirror.conf";
    const CONTAINERD: &str = "etc/containerd/certs.d/docker.io/hosts.toml";
    let estate = Estate::new(1).await;
    let mirror = |url: &str| format!("docker, {{docker-mirror: {{mirror: '{url}'}}}}");
    estate.inventory("inventory.yml", "id: site\n", "hub", &mirror("https://one.example.org"));
    estate.apply(&["inventory.yml"]).ended(0, &["1 changed"]);
    remove(&estate, &["inventory.yml", "--login", "hub"]).ended(0, &["1 changed"]);
    assert!(!estate.on(0, DOCKER).exists() && estate.on(0, DAEMON).exists() && estate.on(0, PODMAN).exists(), "no login comes with a mirror");
    // Another mirror takes its place.
    estate.inventory("inventory.yml", "id: site\n", "hub", &mirror("https://two.example.org"));
    estate.there(&["status", "inventory.yml"]).ended(10, &["docker-mirror", "different", "left over: https://one.example.org"]);
    estate.apply(&["inventory.yml", "--prune"]).ended(0, &["1 changed"]);
    let daemon: Value = serde_json::from_str(&estate.read(0, DAEMON)).unwrap();
    assert_eq!(daemon, json!({"registry-mirrors": ["https://two.example.org"]}));
    assert!(estate.read(0, CONTAINERD).contains("two.example.org") && !estate.read(0, PODMAN).contains("one.example.org"));
    // What somebody changed is theirs.
    estate.write(0, PODMAN, &estate.read(0, PODMAN).replace("two", "three"));
    estate.there(&["status", "inventory.yml"]).ended(10, &["different: its content is not what regprov writes"]);
    let ran = remove(&estate, &["inventory.yml", "--target", "docker-mirror"]).ended(0, &["kept: changed by others"]);
    assert!(!estate.on(0, DAEMON).exists() && !estate.on(0, CONTAINERD).exists() && estate.on(0, PODMAN).exists(), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_reads_at_start_is_told_of_what_went() {
    let estate = Estate::new(1).await;
    estate.inventory("inventory.yml", "id: site\n", "hub, ngc", "{k3s: {restart: true}}, {rke2: {restart: true}}");
    estate.apply(&["inventory.yml"]).ended(0, &[]);
    let note = "is not restarted: the files belong to an image";
    remove(&estate, &["inventory.yml", "--all", "--check"]).ended(0, &["1 would be changed"]).without(&[note]);
    remove(&estate, &["inventory.yml", "--target", "k3s", "--login", "hub"]).ended(0, &["k3s", note]).without(&["rke2"]);
    remove(&estate, &["inventory.yml", "--target", "k3s", "--login", "hub"]).ended(0, &["1 unchanged"]).without(&[note]);
    remove(&estate, &["inventory.yml", "--all"]).ended(0, &["k3s", "rke2", note]);
}
