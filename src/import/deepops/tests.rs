//! What becomes of a role's variables and of an inventory of DeepOps' layout.

use std::path::Path;

use super::*;
use crate::import::testing::{check, told};
use crate::inventory::{self, Entry, LoadOptions, World, ansible_layout};

const SEALED: &str = "!vault |\n    $ANSIBLE_VAULT;1.1;AES256\n    6132\n";

/// Reads variables; what is sealed opens to `opened`.
fn role(text: &str, opened: &str) -> Result<Role> {
    let files = [("v.yml".to_string(), Zeroizing::new(text.to_string()))];
    read(&files, &mut |_, sealed| {
        assert!(sealed.starts_with("$ANSIBLE_VAULT;1.1;AES256\n6132"), "{sealed}");
        Ok(Zeroizing::new(opened.to_string()))
    })
}

#[track_caller]
fn found(entries: &str, want: &[&str]) {
    let found = role(&format!("docker_login_registries:\n{entries}"), "hunter2").unwrap_or_else(|e| panic!("{e}")).found;
    check(&found, want);
}

#[track_caller]
fn refused(text: &str, want: &str) {
    let error = role(text, "hunter2").err().expect("it is refused").to_string();
    assert!(error.contains(want) && !error.contains("hunter2"), "{error}");
}

#[test]
fn entries_become_logins() {
    found("- {registry: nvcr.io, username: $oauthtoken, password: p}\n", &["nvcr.io $oauthtoken p entry 1"]);
    found("- {registry: https://Harbor.example.org/, username: 'robot$ci', password: p}\n", &["harbor.example.org robot$ci p entry 1"]);
    // What Ansible makes of a number is what it sends.
    found("- {registry: h.example, username: 1234, password: 0123}\n", &["h.example 1234 83 entry 1"]);
    found("- {registry: h.example, username: u, password: '0123'}\n", &["h.example u 0123 entry 1"]);
    found(
        "- {registry: h.example, username: u, password: p, email: a@b}\n- {registry: i.example, username: u, password: p, email: a@b, reauthorize: no}\n",
        &[
            "h.example u p entry 1",
            "i.example u p entry 2",
            "left `email` of entries 1, 2: the role does not read it, and no program that pulls images does",
            "left `reauthorize` of entry 2: the role does not read it here...",
        ],
    );
}

#[test]
fn docker_hub_has_the_key_that_docker_reads() {
    let stays = "note entry 1: the role stores it under the key `docker.io`, which docker never looks up...";
    found("- {registry: docker.io, username: u, password: p}\n", &["docker.io u p entry 1", stays]);
    found("- {registry: https://index.docker.io/v1/, username: u, password: p}\n", &["docker.io u p entry 1"]);
    for none in ["registry: '', ", "registry: , ", ""] {
        found(
            &format!("- {{{none}username: u, password: p}}\n"),
            &["docker.io u p entry 1", "note entry 1 names no registry: it is taken as one for Docker Hub..."],
        );
    }
}

#[test]
fn sealed_values_templates_and_variables() {
    found(&format!("- registry: h.example\n  username: u\n  password: {SEALED}"), &["h.example u hunter2 entry 1"]);
    found(&format!("- registry: {SEALED}  username: {SEALED}  password: p\n"), &["hunter2 hunter2 p entry 1"]);
    found("- {registry: h.example, username: u, password: !unsafe '{{x}}'}\n", &["h.example u {{x}} entry 1"]);
    let pairs = [
        ("{{ a }}", Ok("p1")),
        ("{{b}}", Ok("hunter2")),
        ("{{ c }}", Ok("p1")),
        ("{{ loop }}", Err("is a variable that leads to itself")),
        ("{{ none }}", Err("is the variable `none`, which is not in these files; name its file too, with --vault")),
        ("{{ lookup(\"env\", \"X\") }}", Err("is a template, which only Ansible evaluates")),
        ("x{{ a }}", Err("is a template, which only Ansible evaluates")),
        ("{% if x %}hunter2{% endif %}", Err("is a template, which only Ansible evaluates")),
    ];
    for (written, want) in pairs {
        let entries = format!("- {{registry: h.example, username: u, password: '{written}'}}\na: p1\nb: {SEALED}c: '{{{{ a }}}}'\nloop: '{{{{ loop }}}}'\n");
        let got = told(&role(&format!("docker_login_registries:\n{entries}"), "hunter2").unwrap().found);
        let first = got.lines().next().unwrap();
        match want {
            Ok(password) => assert_eq!(first, format!("h.example u {password} entry 1"), "{written}"),
            Err(why) => {
                assert!(first.starts_with(&format!("left entry 1: (h.example) its `password` {why}; put it in by hand:")), "{first}");
                assert!(!got.contains("hunter2") && !got.contains("lookup"), "{got}");
            }
        }
    }
    // The list itself may be in a variable with another name.
    let named = "docker_login_registries: '{{ vault_logins }}'\nvault_logins: [{registry: h.example, username: u, password: p}]\n";
    check(&role(named, "").unwrap().found, &["h.example u p entry 1", "left `vault_logins`: not about registry logins"]);
}

#[test]
fn a_line_break_at_the_end_is_taken_off_and_told() {
    for (opened, want) in [("p\n", "p"), ("p\r\n", "p"), ("p q", "p q")] {
        let got = told(&role(&format!("docker_login_registries:\n- registry: h.example\n  username: u\n  password: {SEALED}"), opened).unwrap().found);
        assert!(got.starts_with(&format!("h.example u {want} entry 1\n")), "{got}");
        assert_eq!(got.contains("its password ends with a line break"), opened.ends_with('\n'), "{got}");
    }
}

#[test]
fn of_two_entries_for_one_registry_the_later_one_held() {
    found(
        "- {registry: docker.io, username: a, password: p}\n- {registry: https://index.docker.io/v1/, username: b, password: q}\n",
        &["docker.io b q entry 2", "left entry 1: entry 2 is for docker.io too, and the role comes to it later, so that one held"],
    );
    // Docker's client has one login for a host, whatever path is behind it.
    found(
        "- {registry: h.example/team, username: a, password: p}\n",
        &["h.example a p entry 1", "note entry 1: docker has logins for hosts, not for parts of them; `h.example/team` becomes h.example"],
    );
}

#[test]
fn what_is_no_login_is_left_with_the_reason() {
    found("- nvcr.io\n", &["left entry 1: is text, not a map"]);
    found("- {registry: h.example, username: u}\n", &["left entry 1: (h.example) its `password` is not there; put it in by hand..."]);
    found("- {registry: h.example}\n", &["left entry 1: (h.example) its `username` is not there, and its `password` is not there; put it..."]);
    found("- {registry: h.example, username: u, password: }\n", &["left entry 1: (h.example) its `password` is empty; put it..."]);
    found("- {registry: h.example, username: u, password: ''}\n", &["left entry 1: its password is empty"]);
    found("- {registry: h.example, username: yes, password: p}\n", &["left entry 1: (h.example) its `username` is a truth value to YAML, which Ansible..."]);
    found("- {registry: h.example, username: u, password: 1.50}\n", &["left entry 1: (h.example) its `password` is a number that is not whole to YAML..."]);
    found("- {registry: 'h:x', username: u, password: p}\n", &["left entry 1: its registry `h:x` has a port..."]);
    found("- {registry: h.example, username: 'u:v', password: p}\n", &["left entry 1: its username contains `:`..."]);
}

#[test]
fn the_other_variables_are_named() {
    let text = "docker_login_registries: []\nhostlist: slurm-node\ndocker_login_state: present\ndocker_login_reauth: yes\nansible_become_password: hunter2\n\
                ansible_user: ubuntu\na: 1\nb: 2\nc: 3\nd: 4\n";
    let role = role(text, "").unwrap();
    assert_eq!(role.hostlist.as_deref(), Some("slurm-node"));
    check(
        &role.found,
        &[
            "left `ansible_become_password`: the password of sudo: `regprov vault set VAULT --become`...",
            "left `ansible_user`: here it holds for every host...",
            "left `docker_login_reauth`: regprov looks at what is there and writes what differs",
            "left variables `a`, `b`, `c` and 1 more: not about registry logins",
        ],
    );
}

#[test]
fn files_without_the_role_s_logins_are_refused() {
    refused("", "`docker_login_registries` is not in v.yml");
    refused("#docker_login_registries:\n#- registry: docker.io\nx: hunter2\n", "`docker_login_registries` is not in v.yml");
    refused("docker_login_registries: hunter2\n", "must be a list, not text");
    refused(&format!("docker_login_registries: {SEALED}"), "must be a list, not encrypted");
    refused("docker_login_registries: '{{ hunter2() }}'\n", "is a template, which only Ansible evaluates");
    refused("- hunter2\n", "v.yml: a file of variables is a map, not a list");
    refused("a: 'hunter2\n", "v.yml: line ");
    refused("docker_login_registries: []\ndocker_login_state: absent\n", "so the role takes these logins away");
}

#[test]
fn later_files_win() {
    let file = |name: &str, text: &str| (name.to_string(), Zeroizing::new(text.to_string()));
    let files = [
        file("a.yml", "docker_login_registries: [{registry: h.example, username: u, password: '{{ secret }}'}]\nsecret: old\n"),
        file("b.yml", "secret: new\n"),
    ];
    let role = read(&files, &mut |_, _| panic!("nothing is sealed")).unwrap();
    check(&role.found, &["h.example u new entry 1", "left `secret`: not about registry logins"]);
}

/// Ansible's inventory in a file, and ours beside it.
struct Files<'a> {
    ansible: &'a str,
    ours: &'a str,
}

impl World for Files<'_> {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        match path.to_str().unwrap() {
            "config/inventory" => Ok(self.ansible.to_string().into()),
            "inventory.yml" => Ok(self.ours.to_string().into()),
            "vault.yml" => {
                Ok("logins:\n  hub: {registry: docker.io, username: u, password: p}\n  ngc: {registry: nvcr.io, username: u, password: p}\n".to_string().into())
            }
            other => panic!("{other} is read"),
        }
    }

    fn list(&mut self, _: &Path) -> Result<Option<Vec<Entry>>> {
        Ok(None)
    }
}

const SLURM: &str = "[all]\nlogin01 ansible_host=10.0.0.5\ngpu01 ansible_host=10.0.2.1 slurm_x=1\ngpu02 ansible_host=10.0.2.2\nspare ansible_port=2222\n\
    [kube_node]\n[slurm-master]\nlogin01\n[slurm-node]\ngpu[01:02]\n[slurm-cache:children]\nslurm-master\n[slurm-cluster:children]\nslurm-master\nslurm-node\nkube_node\n\
    [mixed:children]\nslurm-master\n[mixed]\ngpu01\n[123]\ngpu01\n[every-host]\ngpu02\n[slurm-node:vars]\nansible_user=ubuntu\n\
    ansible_ssh_common_args='-o ProxyJump=bastion -o StrictHostKeyChecking=no'\n";

fn layout(ansible: &str) -> inventory::Layout {
    ansible_layout(Path::new("config/inventory"), Path::new(""), &mut Files { ansible, ours: "" }).unwrap_or_else(|e| panic!("{e}"))
}

fn text(layout: &inventory::Layout, group: Option<&str>) -> String {
    let logins = [("hub".to_string(), "docker.io".to_string()), ("ngc".to_string(), "nvcr.io".to_string())];
    Inventory { id: "deepops-1", made_from: "config/inventory", vault: "vault.yml", ansible: "config/inventory", layout, group, logins: &logins }.text()
}

/// The hosts of each group, and in the end who gets logins: `HOST: TARGET...`.
fn loaded(ours: &str) -> String {
    let options = LoadOptions { allow_plaintext: true, ..LoadOptions::default() };
    let inventory = inventory::load(Path::new("inventory.yml"), &mut Files { ansible: SLURM, ours }, options).unwrap_or_else(|e| panic!("{e}\n{ours}"));
    let name = |at: &usize| inventory.hosts[*at].name.as_str();
    let mut out: String = inventory.groups.iter().map(|(group, hosts)| format!("{group}={} ", hosts.iter().map(name).collect::<Vec<_>>().join(","))).collect();
    for host in inventory.hosts.iter().filter(|h| !h.targets.is_empty()) {
        assert!(host.becomes_root);
        let kinds: Vec<String> = host.targets.iter().map(|t| t.kind.to_string()).collect();
        out.push_str(&format!("{}:{} ", host.name, kinds.join("+")));
    }
    out.trim_end().to_string()
}

#[test]
fn the_inventory_has_the_groups_and_gives_the_logins_to_every_host() {
    let layout = layout(SLURM);
    assert_eq!(
        loaded(&text(&layout, None)),
        "123=gpu01 every-host=gpu02 every-host-2=login01,gpu01,gpu02,spare mixed=login01,gpu01 slurm-cache=login01 slurm-cluster=login01,gpu01,gpu02 \
         slurm-master=login01 slurm-node=gpu01,gpu02 login01:docker gpu01:docker gpu02:docker spare:docker"
    );
    let ours = text(&layout, None);
    assert!(ours.contains("  slurm-cluster:\n    children: [slurm-master, slurm-node]\n"), "{ours}");
    assert!(ours.contains("  mixed:\n    hosts: {ansible: config/inventory, group: mixed}\n"), "{ours}");
    assert!(ours.contains("  '123':\n    hosts: {ansible: config/inventory, group: '123'}\n"), "{ours}");
}

#[test]
fn one_group_gets_the_logins_where_it_is_named() {
    let layout = layout(SLURM);
    for (group, want) in [("slurm-node", "gpu01:docker gpu02:docker"), ("slurm-cluster", "login01:docker gpu01:docker gpu02:docker")] {
        let loaded = loaded(&text(&layout, Some(group)));
        assert!(loaded.ends_with(&format!(" {want}")) && !loaded.contains("spare"), "{loaded}");
    }
}

#[test]
fn what_is_offered_for_jobs_can_be_taken_in() {
    let ours = text(&layout(SLURM), None);
    let (before, offered) = ours.split_once("else enroot wants:\n").unwrap();
    let taken: String = offered.lines().map(|line| format!("{}\n", line.replacen("    # ", "    ", 1))).collect();
    let loaded = loaded(&format!("{before}else enroot wants:\n{taken}"));
    assert!(loaded.ends_with("login01:docker gpu01:docker+enroot+singularity gpu02:docker+enroot+singularity spare:docker"), "{loaded}");
}

#[test]
fn what_is_mapped_and_what_is_left_is_told() {
    let layout = layout(SLURM);
    let rows: Vec<String> = mapped(&layout, None).into_iter().map(|m| format!("{} -> {} {}", m.ansible, m.regprov, m.hosts)).collect();
    for want in [
        "`hosts: all` of the playbook -> group `every-host-2` 4",
        "group `slurm-node` -> group `slurm-node` 2",
        "`become: yes` of the playbook -> `become: true` 4",
        "`ansible_host` -> `address` 3",
        "`ansible_port` -> `port` 1",
        "`ansible_user` -> `user` 2",
        "`ProxyJump` -> `jump` 2",
    ] {
        assert!(rows.iter().any(|row| row == want), "{want}: {rows:#?}");
    }
    assert_eq!(rows.len(), 13, "{rows:#?}");
    let mut role = Role { found: Found::default(), hostlist: None };
    assert_eq!(role.settle(&layout, None).unwrap(), None);
    check(
        &role.found,
        &[
            "left group `kube_node`: no host is in it",
            "left the ssh option StrictHostKeyChecking of host gpu01 and 1 more: regprov does not take it...",
            "left `slurm_x`: not about how a host is reached",
            "note 2 of 4 hosts have no `ansible_user`...",
        ],
    );
}

#[test]
fn the_group_is_one_that_has_hosts() {
    let layout = layout(SLURM);
    let settle = |wish: Option<&str>, hostlist: Option<&str>| {
        let mut role = Role { found: Found::default(), hostlist: hostlist.map(str::to_string) };
        role.settle(&layout, wish).map(|g| g.map(str::to_string)).map_err(|e| e.to_string())
    };
    assert_eq!(settle(None, Some("slurm-node")), Ok(Some("slurm-node".into())));
    assert_eq!(settle(Some("slurm-master"), Some("slurm-node")), Ok(Some("slurm-master".into())));
    assert_eq!(settle(Some("all"), Some("slurm-node")), Ok(None));
    for (wish, hostlist, want) in [
        (None, Some("slurm-node:!gpu01"), "`hostlist: slurm-node:!gpu01` is no group of Ansible's inventory; those are: all, slurm-master,"),
        (Some("slurm-nodes"), None, "--group slurm-nodes is no group"),
        (Some("kube_node"), None, "--group kube_node is a group without hosts"),
    ] {
        let why = settle(wish, hostlist).unwrap_err();
        assert!(why.contains(want), "{why}");
    }
    let empty = inventory::Layout { hosts: 0, ..layout };
    let mut role = Role { found: Found::default(), hostlist: None };
    assert!(role.settle(&empty, None).unwrap_err().to_string().contains("has no hosts"));
}
