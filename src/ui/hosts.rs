//! `regprov hosts`: who gets what. It knows the inventory alone: no identity, no connection.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::fold::{Groups, fold};
use super::line;
use crate::model::{Connection, Host, Namespace, PullSecret, Target, Which};

/// The schema of [`json`].
pub const SCHEMA: &str = "regprov.hosts/1";

/// What is shown only where a host has it: the column, and what stands in it.
type Extra = (&'static str, fn(&Host) -> String);
const EXTRAS: [Extra; 3] = [("via", via), ("become", becomes), ("skipped", |h| h.skip.as_deref().map(line).unwrap_or_default())];

/// A table: hosts that are reached alike and get the same share a row, each of their targets is a line of it. Below it one of namespaces, where
/// there are any.
pub fn table(hosts: &[Host], namespaces: &[Namespace]) -> String {
    let extras: Vec<Extra> = EXTRAS.into_iter().filter(|(_, cell)| hosts.iter().any(|h| !cell(h).is_empty())).collect();
    let mut groups = Groups::new();
    for host in hosts {
        let targets: Vec<[String; 4]> = host.targets.iter().map(|t| cells(host, t)).collect();
        let extra: Vec<String> = extras.iter().map(|(_, cell)| cell(host)).collect();
        groups.add((user(host).to_string(), host.inventory_address().port, extra, targets), host.name.as_str());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let names = extras.iter().map(|(name, _)| *name);
    table.set_header(["hosts", "count", "user", "port"].into_iter().chain(names).chain(["target", "path", "mode and readers", "logins"]));
    for ((user, port, extra, targets), names) in groups.into_rows() {
        let column = |i: usize| targets.iter().map(|t| t[i].as_str()).collect::<Vec<_>>().join("\n");
        let first = [fold(&names), names.len().to_string(), line(&user), port.to_string()];
        let nothing = if targets.is_empty() { "(nothing)".to_string() } else { column(0) };
        table.add_row(first.into_iter().chain(extra).chain([nothing, column(1), column(2), column(3)]));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let total = if hosts.len() == 1 { "1 host".to_string() } else { format!("{} hosts", hosts.len()) };
    let of_hosts = format!("{}\n\n{total}\n", table.trim_fmt());
    match (hosts.is_empty(), namespaces.is_empty()) {
        (_, true) => of_hosts,
        (true, false) => table_of(namespaces),
        (false, false) => format!("{of_hosts}\n{}", table_of(namespaces)),
    }
}

/// The same of namespaces: those that get the same share a row, each Secret is a line of it.
fn table_of(namespaces: &[Namespace]) -> String {
    let mut groups: Vec<(Vec<[String; 3]>, Vec<String>)> = Vec::new();
    for namespace in namespaces {
        let cell = |secret: &PullSecret| [line(&secret.name), secret.logins.join(", "), secret.service_accounts.join(", ")];
        let secrets: Vec<[String; 3]> = namespace.secrets.iter().map(cell).collect();
        match groups.iter_mut().find(|(same, _)| *same == secrets) {
            Some((_, names)) => names.push(line(&namespace.to_string())),
            None => groups.push((secrets, vec![line(&namespace.to_string())])),
        }
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["namespaces", "count", "secret", "logins", "service accounts"]);
    for (secrets, names) in groups {
        let column = |i: usize| secrets.iter().map(|s| s[i].as_str()).collect::<Vec<_>>().join("\n");
        table.add_row([names.join("\n"), names.len().to_string(), column(0), column(1), column(2)]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let is_open = namespaces.iter().any(|n| n.name().is_none());
    let total = match namespaces.len() {
        _ if is_open => "a selector stands for what its cluster tells when a run begins".to_string(),
        1 => "1 namespace".to_string(),
        n => format!("{n} namespaces"),
    };
    format!("{}\n\n{total}\n", table.trim_fmt())
}

/// Target, path, readers, logins.
fn cells(host: &Host, target: &Target) -> [String; 4] {
    let helped = target.cred_helpers.iter().map(|c| format!("{} by {}", c.registry, c.helper));
    let gets = match &target.mirror {
        Some(mirror) => format!("{} through {mirror}", mirror.registry),
        None => target.logins.iter().cloned().chain(helped).collect::<Vec<_>>().join(", "),
    };
    [target.kind.to_string(), line(&shown(host, target)), access(target), line(&gets)]
}

/// Mode, and who can read: `0600 root only`, `0640 root:users`. Jobs run as users and cannot read what is "root only".
fn access(target: &Target) -> String {
    let name = |n: &Option<String>| n.clone().filter(|n| n != "0").unwrap_or_else(|| "root".into());
    let mine = |n: &Option<String>| n.clone().or_else(|| target.user.clone());
    let (owner, group) = (name(&mine(&target.owner)), name(&mine(&target.group)));
    let readers = if target.mode.bits() & 0o004 != 0 {
        "all".to_string()
    } else if target.mode.bits() & 0o040 == 0 || owner == group {
        format!("{owner} only")
    } else {
        format!("{owner}:{group}")
    };
    line(&format!("{} {readers}", target.mode))
}

/// The path, that in a user's home as `~alice/...`.
fn shown(host: &Host, target: &Target) -> String {
    match target.in_home(&target.path) {
        _ if target.is_auto() => "auto".to_string(),
        Some(shown) if host.root.as_str() == "/" => shown,
        Some(shown) => format!("{}/{shown}", host.root),
        None => target.path.below(&host.root).to_string(),
    }
}

/// What the host is reached through, as the inventory says it.
fn via(host: &Host) -> String {
    match (host.connection, &host.jump) {
        (Connection::Local, _) => "local".to_string(),
        (Connection::Ssh, Some(jump)) => line(&jump.to_string()),
        (Connection::Ssh, None) => String::new(),
    }
}

fn becomes(host: &Host) -> String {
    if host.becomes_root { "sudo".to_string() } else { String::new() }
}

fn user(host: &Host) -> &str {
    host.user.as_deref().unwrap_or("root")
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    hosts: Vec<HostJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<NamespaceJson<'a>>,
}

#[derive(Serialize)]
struct NamespaceJson<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<&'a str>,
    secrets: Vec<SecretJson<'a>>,
}

#[derive(Serialize)]
struct SecretJson<'a> {
    secret: &'a str,
    block: &'a str,
    logins: &'a [String],
    labels: &'a BTreeMap<String, String>,
    service_accounts: &'a [String],
}

#[derive(Serialize)]
struct HostJson<'a> {
    host: &'a str,
    address: &'a str,
    port: u16,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jump: Option<String>,
    #[serde(rename = "become", skip_serializing_if = "Option::is_none")]
    becomes_root: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip: Option<String>,
    groups: &'a [String],
    targets: Vec<TargetJson<'a>>,
}

#[derive(Serialize)]
struct TargetJson<'a> {
    target: &'static str,
    path: String,
    mode: String,
    owner: &'a str,
    group: &'a str,
    logins: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cred_helpers: BTreeMap<String, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<String>,
}

/// The same as one JSON document with a final line feed, a row for every host in inventory order.
pub fn json(hosts: &[Host], namespaces: &[Namespace]) -> String {
    fn secret(s: &PullSecret) -> SecretJson<'_> {
        SecretJson { secret: &s.name, block: &s.block, logins: &s.logins, labels: &s.labels, service_accounts: &s.service_accounts }
    }
    let namespaces = namespaces
        .iter()
        .map(|n| NamespaceJson {
            name: n.to_string(),
            context: n.context.as_deref(),
            namespace: n.name(),
            namespace_selector: match &n.which {
                Which::Named(_) => None,
                Which::Selected(selector) => Some(selector),
            },
            secrets: n.secrets.iter().map(secret).collect(),
        })
        .collect();
    let hosts = hosts
        .iter()
        .map(|h| HostJson {
            host: &h.name,
            address: h.address.as_deref().unwrap_or(&h.name),
            port: h.inventory_address().port,
            user: user(h),
            connection: (h.connection == Connection::Local).then_some("local"),
            jump: h.jump.as_ref().map(|j| line(&j.to_string())),
            becomes_root: h.becomes_root.then_some(true),
            skip: h.skip.as_deref().map(line),
            groups: &h.groups,
            targets: h
                .targets
                .iter()
                .map(|t| TargetJson {
                    target: t.kind.name(),
                    path: shown(h, t),
                    mode: t.mode.to_string(),
                    owner: t.owner.as_deref().or(t.user.as_deref()).unwrap_or("root"),
                    group: t.group.as_deref().or(t.user.as_deref()).unwrap_or("root"),
                    logins: &t.logins,
                    cred_helpers: t.cred_helpers.iter().map(|c| (c.registry.to_string(), c.helper.as_str())).collect(),
                    mirror: t.mirror.as_ref().map(ToString::to_string),
                })
                .collect(),
        })
        .collect();
    serde_json::to_string_pretty(&Document { schema: SCHEMA, hosts, namespaces }).expect("strings, numbers and lists are JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CredHelper, FileMode, Hop, Jump, Mirror, Registry, RemotePath, TargetKind};

    fn target(kind: TargetKind, path: &str, mode: u32, group: Option<&str>, logins: &[&str]) -> Target {
        Target {
            group: group.map(Into::into),
            mode: FileMode::secret(mode).unwrap(),
            logins: logins.iter().map(ToString::to_string).collect(),
            ..Target::at(kind, RemotePath::parse(path).unwrap())
        }
    }

    fn host(name: &str, user: Option<&str>, port: u16, targets: &[Target]) -> Host {
        Host { port: Some(port), user: user.map(Into::into), groups: vec!["slurm-node".into()], targets: targets.to_vec(), ..Host::named(name) }
    }

    fn fleet() -> Vec<Host> {
        let docker = target(TargetKind::Docker, "/root/.docker/config.json", 0o600, None, &["hub", "ngc"]);
        let enroot = target(TargetKind::Enroot, "/etc/enroot/.credentials", 0o640, Some("users"), &["hub", "ngc"]);
        let mut hosts: Vec<Host> = (1..=3).map(|i| host(&format!("gpu{i:03}"), None, 22, &[docker.clone(), enroot.clone()])).collect();
        hosts.push(host("login1", Some("admin"), 2222, std::slice::from_ref(&docker)));
        let mut image = host("image", None, 22, &[docker]);
        image.root = RemotePath::parse("/srv/images/gpu").unwrap();
        hosts.push(image);
        hosts.push(host("bare", None, 22, &[]));
        hosts
    }

    #[test]
    fn hosts_that_are_alike_share_a_row() {
        let want = "\
hosts         count  user   port  target     path                                      mode and readers  logins
gpu[001-003]  3      root   22    docker     /root/.docker/config.json                 0600 root only    hub, ngc
                                  enroot     /etc/enroot/.credentials                  0640 root:users   hub, ngc
login1        1      admin  2222  docker     /root/.docker/config.json                 0600 root only    hub, ngc
image         1      root   22    docker     /srv/images/gpu/root/.docker/config.json  0600 root only    hub, ngc
bare          1      root   22    (nothing)

6 hosts
";
        assert_eq!(table(&fleet(), &[]), want);
    }

    #[test]
    fn columns_for_what_few_hosts_have_are_there_when_one_has_it() {
        let mut hosts = fleet().split_off(4);
        hosts[0].connection = Connection::Local;
        hosts[1].jump = Some(Jump::Through(vec![Hop { user: Some("admin".into()), host: "bastion".into(), port: None }]));
        let mut drained = host("gpu9", Some("admin"), 22, &[]);
        (drained.skip, drained.becomes_root) = (Some("drained: bad\u{1b} DIMM".into()), true);
        hosts.push(drained);
        let want = "\
hosts  count  user   port  via            become  skipped                  target     path                                      mode and readers  logins
image  1      root   22    local                                           docker     /srv/images/gpu/root/.docker/config.json  0600 root only    hub, ngc
bare   1      root   22    admin@bastion                                   (nothing)
gpu9   1      admin  22                   sudo    drained: bad\\u{1b} DIMM  (nothing)

3 hosts
";
        assert_eq!(table(&hosts, &[]), want);
        let doc: serde_json::Value = serde_json::from_str(&json(&hosts, &[])).unwrap();
        assert_eq!((&doc["hosts"][0]["connection"], &doc["hosts"][1]["jump"]), (&"local".into(), &"admin@bastion".into()));
        assert_eq!((&doc["hosts"][2]["become"], &doc["hosts"][2]["skip"]), (&true.into(), &"drained: bad\\u{1b} DIMM".into()));
        assert_eq!(doc["hosts"][0].get("skip"), None);
    }

    #[test]
    fn helpers_stand_among_the_logins() {
        let mut target = target(TargetKind::Docker, "/x", 0o600, None, &["hub"]);
        target.cred_helpers = vec![CredHelper { registry: Registry::parse("gcr.io").unwrap().0, helper: "gcloud".into() }];
        let hosts = [host("n1", None, 22, &[target])];
        assert!(table(&hosts, &[]).contains("hub, gcr.io by gcloud\n"), "{}", table(&hosts, &[]));
        let doc: serde_json::Value = serde_json::from_str(&json(&hosts, &[])).unwrap();
        assert_eq!(doc["hosts"][0]["targets"][0]["cred_helpers"]["gcr.io"], "gcloud");
        let doc: serde_json::Value = serde_json::from_str(&json(&fleet(), &[])).unwrap();
        assert_eq!(doc["hosts"][0]["targets"][0].get("cred_helpers"), None);
    }

    #[test]
    fn readers_follow_from_owner_group_and_mode() {
        #[track_caller]
        fn check(mode: u32, owner: Option<&str>, group: Option<&str>, want: &str) {
            let mut t = target(TargetKind::Enroot, "/x", mode, group, &[]);
            t.owner = owner.map(Into::into);
            assert_eq!(access(&t), want);
        }
        check(0o600, None, None, "0600 root only");
        check(0o640, None, None, "0640 root only");
        check(0o640, Some("0"), Some("0"), "0640 root only");
        check(0o600, None, Some("users"), "0600 root only");
        check(0o600, Some("alice"), Some("users"), "0600 alice only");
        check(0o640, None, Some("users"), "0640 root:users");
    }

    #[test]
    fn what_the_node_tells_and_what_needs_no_login() {
        let auto = target(TargetKind::Enroot, Target::AUTO, 0o600, None, &["hub"]);
        let mut mirror = target(TargetKind::DockerMirror, "/etc/docker/daemon.json", 0o600, None, &[]);
        mirror.mode = FileMode::public(0o644);
        mirror.mirror = Some(Mirror::parse("https://m.example.org", crate::model::Registry::parse("docker.io").unwrap().0).unwrap());
        let hosts = [host("n1", None, 22, &[auto, mirror])];
        let want = "\
hosts  count  user  port  target         path                     mode and readers  logins
n1     1      root  22    enroot         auto                     0600 root only    hub
                          docker-mirror  /etc/docker/daemon.json  0644 all          docker.io through https://m.example.org

1 host
";
        assert_eq!(table(&hosts, &[]), want);
        let doc: serde_json::Value = serde_json::from_str(&json(&hosts, &[])).unwrap();
        let targets = &doc["hosts"][0]["targets"];
        assert_eq!((&targets[0]["path"], &targets[1]["mirror"]), (&"auto".into(), &"https://m.example.org".into()));
    }

    #[test]
    fn json_has_a_row_for_every_host() {
        let doc: serde_json::Value = serde_json::from_str(&json(&fleet(), &[])).unwrap();
        assert_eq!(doc["schema"], SCHEMA);
        assert_eq!(doc["hosts"].as_array().unwrap().len(), 6);
        assert_eq!(doc["hosts"][0]["targets"][1]["group"], "users");
        assert_eq!(doc["hosts"][4]["targets"][0]["path"], "/srv/images/gpu/root/.docker/config.json");
    }
}
