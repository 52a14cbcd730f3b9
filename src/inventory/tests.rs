//! Every rule of schema 1 by itself: one fault a case, with its exact place.

use std::collections::HashMap;
use std::path::Path;

use super::*;
use crate::model::{CurlVersion, HelperPolicy, TargetKind};

/// A sealed password as far as an inventory looks at it, on one line.
const SEAL: &str = r#""-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n""#;

/// The end of a file with sealed passwords.
const STAMP: &str = "vault_id: v0123456789abcdef\nvault_serial: 1\n";

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

const OPTIONS: LoadOptions = LoadOptions { allow_plaintext: false, allow_expired: false, now: NOW };

/// Loads `inv/i.yml` from files in memory.
fn load_files(files: &[(&str, &str)], options: LoadOptions) -> Result<Inventory> {
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    let mut read = |path: &Path| match files.get(path.to_str().unwrap()) {
        Some(text) => Ok(text.to_string()),
        None => Err(Error::usage(format!("{}: no such file", path.display()))),
    };
    load(Path::new("inv/i.yml"), &mut read, options)
}

/// `body` between the version (line 1) and two sealed logins, `l` for r.example and `m` for m.example.
fn whole(body: &str) -> String {
    format!(
        "version: 1\n{body}\nlogins:\n  l: {{registry: r.example, username: u, password: {SEAL}}}\n  m: {{registry: m.example, username: u, password: {SEAL}}}\n{STAMP}"
    )
}

fn loaded(body: &str) -> Inventory {
    load_files(&[("inv/i.yml", &whole(body))], OPTIONS).map_err(|e| e.to_string()).unwrap()
}

/// The problems without their hints; `want` is each one's beginning, without the file.
#[track_caller]
fn same_problems(error: Error, want: &[&str]) -> String {
    assert_eq!(error.kind, Kind::Usage);
    let got: Vec<&str> = error.message.lines().filter(|l| !l.starts_with(' ')).collect();
    assert_eq!(got.len(), want.len(), "{got:#?}");
    for (got, want) in got.iter().zip(want) {
        assert!(got.strip_prefix("inv/i.yml:").is_some_and(|g| g.starts_with(want)), "{got:?}, want {want:?}");
    }
    error.message
}

#[track_caller]
fn refused(body: &str, want: &str) -> String {
    same_problems(load_files(&[("inv/i.yml", &whole(body))], OPTIONS).err().expect(body), &[want])
}

/// A file that is no more than what is given.
#[track_caller]
fn refused_file(text: &str, want: &[&str]) -> String {
    same_problems(load_files(&[("inv/i.yml", text)], OPTIONS).err().expect(text), want)
}

/// One login in an inventory that is right otherwise; it stands on line 4.
#[track_caller]
fn refused_login(login: &str, want: &str) -> String {
    refused_file(&format!("version: 1\ngroups: {{g: {{hosts: h}}}}\nlogins:\n  {login}\n"), &[want])
}

const G: &str = "groups: {g: {hosts: 'h[1-2]', logins: [l], targets: [docker]}}";

#[test]
fn the_top() {
    refused_file("groups: {g: {hosts: h}}\n", &[" has no `version`"]);
    refused_file("version: 1\n", &[" has no `groups`"]);
    refused_file("[1]\n", &["1:1: the inventory must be a map of keys and values, not a list"]);
    refused_file("version: '1'\ngroups: {}\n", &["1:10: `version` must be a number, not text"]);
    refused_file("version: 2\ngroups: {}\n", &["1:10: version 2 is not known"]);
    refused_file("version: 1.5\ngroups: {}\n", &["1:10: `version` must be a whole number"]);
    refused_file("version:\ngroups: {}\n", &["1:1: `version` must be a number, not nothing"]);
    refused_file("version: 1\nversion: 1\ngroups: {}\n", &["2:1: `version` stands twice in the inventory; first on line 1"]);
    refused_file("version: 1\ngroups:\n", &["2:1: `groups` must be a map of keys and values, not nothing"]);
    let shown = refused(&format!("{G}\ngroup: {{}}"), "3:1: unknown key `group` in the inventory");
    assert!(shown.ends_with("hint: did you mean `groups`?"), "{shown}");
    let shown = refused(&format!("{G}\nzzz: 1"), "3:1: unknown key `zzz`");
    assert!(shown.contains("the keys are version, id, vault"), "{shown}");
    refused(&format!("{G}\nid: 'a b'"), "3:5: `id` must be 1 to 64");
    refused(&format!("{G}\nid: 7"), "3:5: `id` must be text, not a number");
    refused(&format!("{G}\n<<: {{}}"), "3:1: a merge key in the inventory");
    refused(&format!("{G}\n1: {{}}"), "3:1: unknown key `1`");
}

#[test]
fn groups() {
    refused("groups: [g]", "2:9: `groups` must be a map of keys and values, not a list");
    refused("groups: {g: [h]}", "2:13: group `g` must be a map of keys and values, not a list");
    refused("groups: {g: {hosts: h, host: i}}", "2:24: unknown key `host` in group `g`");
    refused("groups: {g: {hosts: h}, g: {hosts: i}}", "2:25: `g` stands twice in `groups`; first on line 2");
    refused("groups: {1: {hosts: h}}", "2:10: a name in `groups` is a number");
    refused("groups: {on: {hosts: h}}", "2:10: a name in `groups` is a number, a truth value");
    refused("groups: {all: {hosts: h}}", "2:10: group `all` cannot have this name");
    refused("groups: {'a b': {hosts: h}}", "2:10: group `a b` cannot have this name");
    refused("groups: {g: {hosts: 1}}", "2:21: `hosts` of group `g` must be text, not a number");
    refused("groups: {g: {hosts: [on, h]}}", "2:22: an item of `hosts` of group `g` must be text, not a truth value");
    refused("groups: {g: {hosts: [h, 1]}}", "2:25: an item of `hosts` of group `g` must be text, not a number");
    refused("groups: {g: {hosts: [h, [i]]}}", "2:25: an item of `hosts` of group `g` must be text, not a list");
    refused("groups: {g: {hosts: }}", "2:14: `hosts` of group `g` must be text, not nothing");
    refused("groups: {g: {hosts: 'h[3-1]'}}", "2:21: host list of group `g` has `[3-1]`");
    refused("groups: {g: {hosts: ['h[1-60000]', 'i[1-60000]']}}", "2:36: the groups list more than 100000 hosts");
    refused("groups: {g: {hosts: h, children: [x]}}", "2:35: unknown group `x` among the children of `g`");
    refused("groups: {g: {hosts: h, children: x}}", "2:34: `children` of group `g` must be a list, not text");
    refused("groups: {g: {hosts: h, children: [g]}}", "2:35: groups are their own children: g > g");
    refused("groups: {a: {children: [b]}, b: {children: [c]}, c: {children: [a]}, d: {hosts: h}}", "2:65: groups are their own children: a > b > c > a");
    refused("groups:\n  a: {children: [b]}\n  b: {children: [a, c]}\n  c: {hosts: h}", "4:18: groups are their own children: a > b > a");
    refused("groups: {g: {hosts: h, logins: [x], targets: [docker]}}", "2:33: unknown login `x`");
    refused("groups: {g: {hosts: h, logins: [l, l], targets: [docker]}}", "2:36: `l` stands twice in `logins` of group `g`");
    refused("groups: {g: {hosts: h, logins: l, targets: [docker]}}", "2:32: `logins` of group `g` must be a list, not text");
    refused("groups: {g: {hosts: h, logins: [l]}}", "2:10: group `g` has logins but no targets, and `defaults` has none either");
}

#[test]
fn hosts() {
    let with = |host: &str| format!("{G}\nhosts:\n  {host}");
    refused(&format!("{G}\nhosts: [h1]"), "3:8: `hosts` must be a map of keys and values, not a list");
    let shown = refused(&with("h3: {port: 1}"), "4:3: host `h3` is in no group");
    assert!(shown.contains("list it under a group's `hosts`"), "{shown}");
    refused(&with("'h[1-2]': {port: 1}"), "4:3: `hosts` has `h[1-2]`, which is no host name");
    refused(&with("h1: {prot: 1}"), "4:8: unknown key `prot` in host `h1`");
    refused(&with("h1: {serial: 1}"), "4:8: unknown key `serial` in host `h1`");
    refused(&with("h1: {become: yes}"), "4:16: `become` of host `h1` must be a truth value");
    refused(&with("h1: {become: 'true'}"), "4:16: `become` of host `h1` must be a truth value, not text");
    refused(&with("h1: {connection: docker}"), "4:20: `connection` of host `h1` is unknown; it is `ssh` or `local`");
    refused(&with("h1: {jump: b, proxy_command: x}"), "4:17: host `h1` has both `jump` and `proxy_command`");
    refused(&with("h1: {jump: []}"), "4:14: `jump` of host `h1` is empty");
    refused(&with("h1: {jump: 'b:0'}"), "4:14: `jump` of host `h1` has a port that is not from 1 to 65535");
    refused(&with("h1: {jump: 'b,,c'}"), "4:14: `jump` of host `h1` has ``, which is no host name");
    refused(&with("h1: {jump: '@b'}"), "4:14: `jump` of host `h1` names no user before its `@`");
    refused(&with("h1: {ssh_key: ''}"), "4:17: `ssh_key` of host `h1` names no file");
    refused(&with("h1:"), "4:3: host `h1` must be a map of keys and values, not nothing");
    refused(&with("h1: {port: 0}"), "4:14: `port` of host `h1` must be from 1 to 65535");
    refused(&with("h1: {port: 65536}"), "4:14: `port` of host `h1` must be from 1 to 65535");
    refused(&with("h1: {port: '22'}"), "4:14: `port` of host `h1` must be a number, not text");
    refused(&with("h1: {port: 022}"), "4:14: `port` of host `h1` must be a whole number");
    refused(&with("h1: {user: 7}"), "4:14: `user` of host `h1` must be text, not a number");
    refused(&with("h1: {user: -oProxyCommand=x}"), "4:14: `user` of host `h1` is no user name");
    refused(&with("h1: {address: 'h:22'}"), "4:17: `address` of host `h1` contains `:`; the port goes under `port`");
    refused(&with("h1: {address: root@h}"), "4:17: `address` of host `h1` contains `@`");
    refused(&with("h1: {address: '[::1]'}"), "4:17: `address` of host `h1` has brackets");
    refused(&with("h1: {address: h2}"), "4:3: hosts `h1` and `h2` are both at h2:22");
    refused(&with("h1: {address: H2}"), "4:3: hosts `h1` and `h2` are both at ");
    refused("groups: {g: {hosts: 'h[1-3]', address: x}}", "2:40: hosts `h1` and `h2` (and 1 more) are both at x:22");
    refused(&with("h1: {root: srv}"), "4:14: `root` of host `h1` does not do: path `srv` is not absolute");
    refused(&with("h1: {syslog: maybe}"), "4:16: `syslog` of host `h1`");
    refused(&with("h1: {curl: new}"), "4:14: `curl` of host `h1` is no version");
    refused(&with("h1: {host_key_alias: 'a b'}"), "4:24: `host_key_alias` of host `h1` has `a b`, which is no host name");
    refused(&with("h1: {host_key: []}"), "4:18: `host_key` of host `h1` is an empty list");
    for bad in
        ["ssh-ed25519", "ssh-ed25519 AAAA", "h1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==", "ssh-dss AAAAB3NzaC1kc3MA"]
    {
        refused(&with(&format!("h1: {{host_key: {bad}}}")), "4:18: `host_key` of host `h1` is no public host key");
    }
    refused(&with("h1: {logins: [x]}"), "4:17: unknown login `x`");
    refused(&with("h1: {targets: [dockr]}"), "4:18: unknown target `dockr`");
}

#[test]
fn targets() {
    let with = |targets: &str| format!("groups: {{g: {{hosts: [h1, h2], logins: [l, m], targets: {targets}}}}}");
    let at = |column: usize, rest: &str| format!("2:{column}: {rest}");
    let case = |targets: &str, offset: usize, rest: &str| refused(&with(targets), &at(56 + offset, rest));
    case("docker", 0, "`targets` of group `g` must be a list, not text");
    case("{docker: {}}", 0, "`targets` of group `g` must be a list, not a map");
    let shown = case("[dokcer]", 1, "unknown target `dokcer`");
    assert!(shown.contains("did you mean `docker`?"), "{shown}");
    case("[nerdctl]", 1, "target `nerdctl` is not supported yet");
    case("[1]", 1, "a target of group `g` must be text, not a number");
    case("[{docker: {}, enroot: {}}]", 1, "a target of group `g` must be one name with its options, not a map of 2");
    case("[{docker: }]", 2, "target `docker` of group `g` has no options");
    case("[{docker: [x]}]", 10, "target docker must be a map of keys and values, not a list");
    case("[docker, docker]", 9, "target docker at /root/.docker/config.json stands twice in group `g`");
    case("[{docker: {path: /x}}, {enroot: {path: /x}}]", 24, "targets docker and enroot of group `g` are both at /x");
    case("[{docker: {pth: /x}}]", 11, "unknown key `pth` in target docker");
    case("[{docker: {user: 'a b'}}]", 17, "`user` of target docker is no user name");
    case("[{singularity: {user: alice, login: l}}]", 22, "`user` of target singularity: its files are root's");
    case("[{docker: {user: alice, owner: bob}}]", 24, "target docker is written as alice, who cannot give files to bob");
    case("[{docker: {path: ~/x}}]", 17, "`path` of target docker begins with `~/`, and no `user:` says whose home");
    case("[{docker: {path: /~/x}}]", 17, "`path` of target docker begins with `/~`");
    case("[{docker: {path: /~}}]", 17, "`path` of target docker begins with `/~`");
    case("[{docker: {user: alice, path: ~/}}]", 30, "`path` of target docker is the home itself");
    case("[{docker: {user: alice}}, {docker: {user: alice}}]", 27, "target docker at /~/.docker/config.json stands twice");
    case("[{docker: {user: alice, path: /x}}, {docker: {user: bob, path: /x}}]", 37, "target docker at /x stands twice");
    case("[{docker: {path: auto}}]", 17, "`path` of target docker: path `auto` is not absolute");
    case("[{enroot: {path: /~auto}}]", 17, "`path` of target enroot begins with `/~`");
    case("[{enroot: {path: auto}}, {enroot: {path: auto}}]", 26, "target enroot at auto stands twice");
    case("[{docker: {path: x}}]", 17, "`path` of target docker: path `x` is not absolute");
    case("[{docker: {path: /x/}}]", 17, "`path` of target docker: `/x` is a directory");
    case("[{singularity: {path: /, login: l}}]", 22, "`path` of target singularity is the root directory");
    case("[{docker: {mode: 0640}}]", 17, "`mode` of target docker is a number");
    case("[{docker: {mode: 640}}]", 17, "`mode` of target docker is a number");
    case("[{docker: {mode: '0644'}}]", 17, "`mode` of target docker: mode 0644 lets everybody");
    case("[{docker: {mode: '0888'}}]", 17, "`mode` of target docker is no octal mode");
    case("[{docker: {mode: u=rw}}]", 17, "`mode` of target docker is no octal mode");
    case("[{docker: {owner: 'a b'}}]", 18, "`owner` of target docker is no name or number");
    case("[{docker: {group: 4294967295}}]", 18, "`group` of target docker is no name or number");
    case("[{docker: {group: -1}}]", 18, "`group` of target docker is no name or number");
    case("[{docker: {helper: x}}]", 19, "`helper` of target docker is unknown");
    case("[{enroot: {helper: fail}}]", 11, "target enroot knows no credential helpers; `helper` is for docker, podman, apptainer, helm, crio");
    case("[{k3s: {restart: 1}}]", 17, "`restart` of target k3s must be a truth value");
    case("[{docker: {restart: true}}]", 11, "target docker has no service to restart");
    case("[{k3s: {user: alice}}]", 14, "`user` of target k3s: its files are root's");
    case("[{kubelet: {helper: remove}}]", 12, "target kubelet knows no credential helpers");
    case("[{kubelet: {user: alice}}]", 18, "`user` of target kubelet: its files are root's");
    case("[{helm: {cred_helpers: {h: x}}}]", 9, "`cred_helpers` is for docker, podman, and not for helm");
    case("[{docker: {cred_helpers: [x]}}]", 25, "`cred_helpers` of target docker must be a map of registries and helpers, not a list");
    case("[{docker: {cred_helpers: {}}}]", 25, "`cred_helpers` of target docker is empty");
    case("[{docker: {cred_helpers: {h: ''}}}]", 29, "`cred_helpers` of target docker names no helper");
    case("[{docker: {cred_helpers: {h: '../x'}}}]", 29, "`cred_helpers` of target docker names no helper");
    case("[{docker: {cred_helpers: {h: 7}}}]", 29, "a helper of `cred_helpers` of target docker must be text, not a number");
    case("[{docker: {cred_helpers: {h/p: x}}}]", 26, "`cred_helpers` of target docker: registry `h/p` has a path");
    case("[{docker: {cred_helpers: {'a b': x}}}]", 26, "`cred_helpers` of target docker: registry `a b`");
    case("[{docker: {cred_helpers: {docker.io: x, index.docker.io: y}}}]", 40, "`cred_helpers` of target docker has two helpers for docker.io");
    case("[docker-mirror]", 1, "target docker-mirror has no `mirror`");
    case("[{docker-mirror: {for: docker.io}}]", 17, "target docker-mirror has no `mirror`");
    case("[{docker-mirror: {mirror: x}}]", 26, "`mirror` of target docker-mirror: mirror `x` does not begin with https://");
    case("[{docker-mirror: {mirror: 'https://m', path: /x}}]", 39, "target docker-mirror knows no `path`");
    case("[{docker-mirror: {mirror: 'https://m', for: h/p}}]", 44, "`for` of target docker-mirror is a registry without a path");
    case("[{docker-mirror: {mirror: 'https://m/base', runtimes: [docker]}}]", 55, "this mirror is not for docker: dockerd puts a mirror's path before");
    case(
        "[{docker-mirror: {mirror: 'https://m', for: quay.io, runtimes: [docker]}}]",
        64,
        "this mirror is not for docker: dockerd knows mirrors of Docker Hub",
    );
    case("[{docker-mirror: {mirror: 'https://m', runtimes: [crio]}}]", 50, "unknown runtime `crio`");
    case("[{docker-mirror: {mirror: 'https://m', runtimes: []}}]", 49, "`runtimes` of target docker-mirror leaves none");
    case("[{docker: {mirror: 'https://m'}}]", 11, "target docker knows no `mirror`");
    case("[{docker: {logins: []}}]", 19, "`logins` of target docker is empty");
    case("[{docker: {login: l, logins: [l]}}]", 11, "target docker has both");
    case("[{docker: {login: x}}]", 18, "unknown login `x`");
    case("[singularity]", 1, "singularity serves one login, here are 2: l, m, on h1 and 1 more");
    case("[{singularity: {login: l}}, {singularity: {login: m, path: /x}}]", 29, "a second singularity target; the first is on line 2");
}

#[test]
fn a_mirror_needs_no_login() {
    let mirrors =
        "[{docker-mirror: {mirror: 'https://registry.example.org/base'}}, {docker-mirror: {mirror: 'https://m', for: quay.io, runtimes: [containerd]}}]";
    let inventory = loaded(&format!("groups: {{g: {{hosts: h, targets: {mirrors}}}, k: {{hosts: h, logins: [l], targets: [docker]}}}}"));
    let shown: Vec<(String, usize)> = inventory.hosts[0].targets.iter().map(|t| (t.shown_path(), t.logins.len())).collect();
    let hub = "/etc/containers/registries.conf.d/50-regprov-mirror.conf".to_string();
    assert_eq!(shown, [("/root/.docker/config.json".into(), 1), ("/etc/containerd/certs.d/quay.io/hosts.toml".into(), 0), (hub, 0)]);
    assert_eq!(inventory.notes.iter().map(|n| n.message.as_str()).collect::<Vec<_>>(), ["login `m` is used nowhere"]);
    let mut chosen = inventory;
    select(&mut chosen, &["l".into()], &[]).unwrap();
    assert_eq!(chosen.hosts[0].targets.len(), 1, "--login leaves mirrors out");
}

#[test]
fn targets_in_homes() {
    let text = "groups: {g: {hosts: h, logins: [l], targets: [{docker: {user: bob}}, {docker: {user: alice}}, {enroot: {user: alice, path: ~/e/x}}, {docker: {user: root}}]}}";
    let inventory = loaded(text);
    let shown: Vec<String> = inventory.hosts[0].targets.iter().map(|t| t.shown_path()).collect();
    assert_eq!(shown, ["/root/.docker/config.json", "~alice/.docker/config.json", "~bob/.docker/config.json", "~alice/e/x"]);
}

#[test]
fn the_password_of_sudo_stands_once_and_sealed() {
    let with = |more: &str| format!("groups: {{g: {{hosts: h, logins: [l], targets: [docker]}}}}\n{more}");
    refused(&with("become_password: hunter2"), "3:1: the password of sudo (`become_password`) stands in the clear");
    refused(&with("become_password:"), "3:1: `become_password` is empty");
    refused(&with("become_password: [x]"), "3:18: the password of sudo (`become_password`) must be text");
    let inventory = loaded(&with(&format!("become_password: {SEAL}")));
    assert_eq!(inventory.become_password.map(|(_, place)| place).as_deref(), Some("inv/i.yml:3:1"));
}

#[test]
fn logins() {
    refused_login("l: x", "4:6: login `l` must be a map of keys and values, not text");
    refused_login("'a b': {registry: r, username: u}", "4:3: a login's name must be 1 to 64");
    refused_login("l: {username: u}", "4:3: login `l` has no `registry`");
    refused_login("l: {registry: r}", "4:3: login `l` has no `username`");
    refused_login("l: {registry: 5000, username: u}", "4:17: `registry` of login `l` must be text, not a number");
    refused_login("l: {registry: 'oci://https://h', username: u}", "4:17: login `l`: registry `oci://https://h` has two schemes");
    refused_login("l: {registry: r, username: 'a:b'}", "4:30: login `l`: username contains `:`");
    refused_login("l: {registry: r, username: ''}", "4:30: login `l`: username is empty");
    refused_login("l: {registry: r, username: 007}", "4:30: `username` of login `l` must be text, not a number");
    refused_login("l: {registry: r, username: u, expires: soon}", "4:42: login `l`: expires is neither a date");
    refused_login("l: {registry: r, username: u, expires: 2027}", "4:42: `expires` of login `l` must be text, not a number");
    refused_login("l: {registry: r, username: u, pasword: x}", "4:33: unknown key `pasword` in login `l`");
    refused_login("l: {registry: r, username: u, auth_hosts: [x]}", "4:33: login `l`: `auth_hosts` goes with `password_command` and `password_file` alone");
    let shown = refused_login("l: {registry: r, username: $oauthtoken, expires: 2027-03-01}", "4:3: login `l` has no password");
    assert!(shown.contains("regprov vault set inv/i.yml l --registry r --username '$oauthtoken' --expires 2027-03-01"), "{shown}");
    refused_login(&format!("l: {{registry: r, username: u, expires: 2025-12-31, password: {SEAL}}}\n{STAMP}"), "4:3: login `l` for r has expired (2025-12-31)");
}

#[test]
fn passwords_are_sealed_and_never_shown() {
    let login = |password: &str| format!("l:\n    registry: r\n    username: u\n    password: {password}");
    let case = |password: &str, want: &str| {
        let shown = refused_login(&login(password), want);
        assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
    };
    case("hunter2", "4:3: the password of login `l` stands in the clear");
    case("4711", "7:15: the password of login `l` must be text, not a number");
    case("on", "7:15: the password of login `l` must be text, not a truth value");
    case("[hunter2]", "7:15: the password of login `l` must be text, not a list");
    case("{hunter2: x}", "7:15: the password of login `l` must be text, not a map");
    case("''", "7:15: login `l`: password is empty");
    case("\"hunter2\\0\"", "7:15: login `l`: password contains a NUL");
    case("|\n      hunter2", "7:15: login `l`: password ends with a line break");
    case("", "4:3: login `l` has no password");
    case("*hunter2", "7:15: an alias");
    case("!hunter2 x", "7:15: a tag");
    // A damaged seal is no wrong input.
    for (password, want) in [
        ("|\n      -----BEGIN AGE ENCRYPTED FILE-----\n      hunter2", "inv/i.yml:8: the seal of login `l` that stands here is damaged: it was cut or changed"),
        (
            ">\n      -----BEGIN AGE ENCRYPTED FILE-----\n      hunter2\n      -----END AGE ENCRYPTED FILE-----",
            "inv/i.yml:7:15: the sealed password of login `l` is damaged: its lines were joined",
        ),
        ("|", "inv/i.yml:7:15: the sealed password of login `l` is damaged: it was cut"),
    ] {
        let text = format!("version: 1\ngroups: {{g: {{hosts: h, logins: [l], targets: [docker]}}}}\nlogins:\n  {}\n", login(password));
        let error = load_files(&[("inv/i.yml", &text)], OPTIONS).err().unwrap();
        assert!(error.kind == Kind::Vault && error.message.starts_with(want) && !error.message.contains("hunter2"), "{error}");
    }
    // A comma in braces makes a key of what is behind it; `: ` makes a map.
    for text in [
        "l: {registry: r, username: u, password: a,hunter2}",
        "l: {registry: r, username: u, password: a, hunter2: b}",
        "l: {registry: 'https://u:hunter2@r', username: u}",
    ] {
        let shown = refused_file(&format!("version: 1\ngroups: {{g: {{hosts: h}}}}\nlogins:\n  {text}\n"), &["4:"]);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn plain_passwords_and_expired_logins_are_taken_when_allowed() {
    let text = "version: 1\ngroups: {g: {hosts: h, logins: [l], targets: [docker]}}\nlogins: {l: {registry: r, username: u, password: 'hunter2 ', expires: 2025-12-31}}\n";
    let inventory = load_files(&[("inv/i.yml", text)], LoadOptions { allow_plaintext: true, allow_expired: true, now: NOW }).unwrap();
    let PasswordText::Plain(secret) = &inventory.logins[0].password else { panic!("it is plain") };
    assert_eq!(secret.expose(), "hunter2 ");
    assert_eq!(inventory.notes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["inv/i.yml:3:10: login `l` for r has expired (2025-12-31)"]);
    same_problems(
        load_files(&[("inv/i.yml", text)], OPTIONS).err().unwrap(),
        &["3:10: the password of login `l` stands in the clear", "3:10: login `l` for r has expired"],
    );
}

#[test]
fn a_slip_of_a_key_never_shows_a_password() {
    // The password as people write it, with every character of the file once deleted and once replaced by each of these.
    let texts = [
        "version: 1\ngroups: {g: {hosts: h, logins: [l], targets: [docker]}}\nlogins:\n  l:\n    registry: r\n    username: u\n    password: hunter2\n    expires: 2027-03-01\n",
        "version: 1\ngroups: {g: {hosts: h, logins: [l], targets: [docker]}}\nlogins: {l: {registry: r, username: u, password: 'hunter2'}}\n",
    ];
    let mut tried = 0;
    for text in texts {
        let secret = text.find("hunter2").unwrap();
        for at in (0..text.len()).filter(|at| !(secret..secret + 7).contains(at)) {
            for new in ["", " ", "\n", ":", ",", "'", "\"", "#", "-", "{", "}", "[", "]", "*", "&", "!", "|", "\t", "x", ": ", ", "] {
                let mutated = format!("{}{new}{}", &text[..at], &text[at + 1..]);
                tried += 1;
                if let Err(error) = load_files(&[("inv/i.yml", &mutated)], OPTIONS) {
                    assert!(!error.to_string().contains("hunter2"), "{mutated}\n{error}");
                }
            }
        }
    }
    assert!(tried > 4000, "{tried}");
}

#[test]
fn recipients() {
    refused(&format!("{G}\nrecipients: age1x"), "3:13: `recipients` must be a list, not text");
    refused(&format!("{G}\nrecipients: [rsa]"), "3:14: a recipient must be a public key");
    refused(&format!("{G}\nrecipients: [age1x, age1x]"), "3:21: this recipient stands twice");
    let shown = refused(&format!("{G}\nrecipients: [AGE-SECRET-KEY-1HUNTER2]"), "3:14: this is a secret key");
    assert!(!shown.contains("HUNTER2"), "{shown}");
    assert_eq!(loaded(&format!("{G}\nrecipients: [age1x, ssh-ed25519 AAAA x]")).recipients, ["age1x", "ssh-ed25519 AAAA x"]);
}

#[test]
fn groups_meet_on_a_host() {
    let two = |a: &str, b: &str| format!("groups:\n  a: {{hosts: h, logins: [l], targets: [{a}]}}\n  b: {{hosts: h, logins: [m], targets: [{b}]}}");
    refused(&two("docker", "{docker: {group: g}}"), "4:41: target docker at /root/.docker/config.json has other options here than on line 3, on h");
    refused(
        &two("docker", "{enroot: {path: /root/.docker/config.json}}"),
        "4:41: targets docker (line 3) and enroot are both at /root/.docker/config.json, on h",
    );
    refused(&two("singularity", "singularity"), "3:40: singularity serves one login, here are 2: l, m");
    refused("groups:\n  a: {hosts: h, user: x}\n  b: {hosts: h, user: y}", "4:23: groups `a` (line 3) and `b` differ in `user`, on h");
    refused(
        "defaults: {targets: [{singularity: {login: m}}]}\ngroups: {g: {hosts: h, logins: [l]}}",
        "3:33: group `g` takes its targets from `defaults`, where singularity (line 2) is narrowed to m",
    );
    refused(&two("{docker: {login: m}}", "docker"), "3:57: target docker is narrowed to login `m`, which is not among the logins of group `a`");
    refused(
        "groups: {g: {hosts: h, logins: [l, m], targets: [docker, {singularity: {login: m}}]}}\nhosts: {h: {logins: [l]}}",
        "2:59: target singularity is narrowed to logins that the host does not have, on h",
    );
    refused_file(
        &format!(
            "version: 1\ngroups: {{g: {{hosts: h, logins: [a, b], targets: [docker]}}}}\nlogins:\n  a: {{registry: docker.io, username: u, password: {SEAL}}}\n  b: {{registry: index.docker.io, username: v, password: {SEAL}}}\n{STAMP}"
        ),
        &["2:50: logins `a` and `b` are both for docker.io in one docker file (/root/.docker/config.json), on h"],
    );
}

#[test]
fn every_problem_is_told_at_once() {
    refused_file(
        "version: 2\nid: 7\ngroups:\n  g: {hosts: 'h[2-1]', children: [x], logins: [y], targets: [z]}\nhosts: {i: {port: x}}\nlogins:\n  l: {registry: r, username: 'a:b'}\n  m: {registry: r, username: u, password: p}\n",
        &["1:10:", "2:5:", "4:14:", "4:35:", "4:62:", "5:19:", "7:30:", "8:3:"],
    );
}

#[test]
fn messages_do_not_steer_terminals() {
    let shown = refused("groups: {g: {hosts: h}}\n\"\\e[2J\\n::error::\\u202e\": 1", "3:1: unknown key");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']) && !shown.contains("\n::error"), "{shown:?}");
}

#[test]
fn a_thousand_faults_are_cut() {
    let keys: String = (0..1000).map(|i| format!("zzz{i}: 1\n")).collect();
    let error = load_files(&[("inv/i.yml", &whole(&format!("{G}\n{keys}")))], OPTIONS).err().unwrap();
    assert!(error.message.ends_with("\nand 800 more problems"), "{}", error.message.len());
}

#[test]
fn inventories_that_multiply_are_refused() {
    // A chain of groups puts every host into all of them.
    let chain: String = (0..500).map(|i| format!("  g{i}: {{children: [g{}]}}\n", i + 1)).collect();
    refused(&format!("groups:\n{chain}  g500: {{hosts: 'h[1-20000]'}}"), " hosts and groups multiply to more than");
    let logins = vec!["l"; LIST_MAX + 1].join(",");
    refused(&format!("groups: {{g: {{hosts: h, logins: [{logins}]}}}}"), "2:32: `logins` of group `g` has more than 1000 items");
    refused(&format!("groups: {{g: {{hosts: h, targets: [{logins}]}}}}"), "2:33: `targets` of group `g` has more than 1000 items");
    refused(&format!("{G}\nrecipients: [{logins}]"), "3:13: `recipients` has more than 1000 items");
    refused(&format!("{G}\nvault: [{logins}]"), "3:8: `vault` has more than 1000 items");
    let many: String = (0..=GROUPS_MAX).map(|i| format!("  g{i}: {{}}\n")).collect();
    refused(&format!("groups:\n{many}"), "3:3: more than 2000 groups");
}

#[test]
fn ways_to_a_host() {
    let jump = |text: &str| loaded(&format!("{G}\nhosts: {{h1: {{{text}}}}}")).hosts[0].jump.clone().map(|j| j.to_string());
    for (text, want) in [
        ("port: 1", None),
        ("jump: none", Some("none")),
        ("jump: b", Some("b")),
        ("jump: 'alice@b:2222'", Some("alice@b:2222")),
        ("jump: 'alice@b:2222, ssh://c:22/'", Some("alice@b:2222,c:22")),
        ("jump: [a, '[2001:db8::1]:22', 'x@::1']", Some("a,[2001:db8::1]:22,x@::1")),
        ("proxy_command: 'ssh -W %h:%p b'", Some("ssh -W %h:%p b")),
    ] {
        assert_eq!(jump(text).as_deref(), want, "{text}");
    }
}

#[test]
fn waves() {
    let sizes = |serial: &str| {
        let inventory = loaded(&format!("defaults: {{serial: {serial}}}\n{G}"));
        inventory.serial.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((sizes("10"), sizes("25%"), sizes("[1, 10, '25%']"), sizes("'3'")), ("10".into(), "25%".into(), "1 10 25%".into(), "3".into()));
    assert!(loaded(G).serial.is_empty());
    let wrong = |serial: &str, want: &str| drop(refused(&format!("defaults: {{serial: {serial}}}\n{G}"), want));
    wrong("0", "2:20: `serial` of `defaults`: a wave has at least 1 host");
    wrong("[1, 0%]", "2:24: `serial` of `defaults`: a wave has at least 1 host");
    wrong("[]", "2:20: `serial` of `defaults` must have from 1 to 100 sizes");
    wrong("-1", "2:20: `serial` of `defaults` is neither a number of hosts such as 10 nor a part of them such as 25%");
    wrong("101%", "2:20: `serial` of `defaults` is neither");
    wrong("{a: b}", "2:20: `serial` of `defaults` must be text, not a map");
}

#[test]
fn what_is_asked_of_registries() {
    use crate::model::verify::VerifyMode;
    let mode = |text: &str| loaded(&format!("defaults: {{verify: {text}}}\n{G}")).verify;
    assert_eq!((mode("true"), mode("false"), mode("required")), (VerifyMode::On, VerifyMode::Off, VerifyMode::Required));
    assert_eq!(loaded(G).verify, VerifyMode::Off);
    for text in ["yes", "'true'", "1", "[true]", "Required", "{a: b}"] {
        refused(&format!("defaults: {{verify: {text}}}\n{G}"), "2:20: `verify` of `defaults` must be `true`, `false` or `required`");
    }
    let login = |canary: &str| {
        let text = whole(G).replacen("username: u,", &format!("username: u, canary: {canary},"), 1);
        load_files(&[("inv/i.yml", &text)], OPTIONS).map(|i| i.logins[0].canary.as_ref().map(ToString::to_string)).map_err(|e| e.to_string())
    };
    assert_eq!(login("nvidia/cuda"), Ok(Some("nvidia/cuda".to_string())));
    for bad in ["nvidia/cuda:12", "nvcr.io/nvidia/Cuda", "a//b", "https://nvcr.io/nvidia/cuda", "[a]", "7"] {
        assert!(login(bad).is_err_and(|e| e.contains("`canary` of login `l`")), "{bad}");
    }
}

#[test]
fn precedence_of_settings() {
    let inventory = loaded(
        "defaults: {user: d, port: 1, curl: 7.61, syslog: true, targets: [docker]}\ngroups:\n  top: {children: [mid], user: t, port: 2, root: /t}\n  mid: {children: [low], user: m, port: 3, syslog: false}\n  low: {hosts: 'h[1-2]', user: l, logins: [l]}\n  side: {hosts: [h1, x], user: l}\nhosts: {h1: {port: 9}}",
    );
    let of =
        |name: &str| inventory.hosts.iter().find(|h| h.name == name).map(|h| (h.user.as_deref(), h.inventory_address().port, h.root.as_str(), h.curl)).unwrap();
    let curl = Some(CurlVersion(7, 61, 0));
    assert_eq!(of("h1"), (Some("l"), 9, "/t", curl));
    assert_eq!(of("h2"), (Some("l"), 3, "/t", curl));
    assert_eq!(of("x"), (Some("l"), 1, "/", curl));
    assert_eq!(inventory.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["h1", "h2", "x"]);
    assert_eq!(inventory.hosts.iter().map(|h| h.syslog).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(inventory.hosts[0].groups, ["low", "mid", "side", "top"]);
    assert_eq!(inventory.groups["top"], [0, 1]);
}

#[test]
fn union_and_replacement() {
    let inventory = loaded(
        "groups:\n  up: {children: [a], logins: [m], targets: [enroot]}\n  a: {hosts: 'h[1-4]', logins: [l], targets: [docker, {enroot: {path: /e, group: 100}}]}\n  b: {hosts: h1, logins: [m], targets: [docker]}\nhosts:\n  h2: {logins: [m]}\n  h3: {targets: [{docker: {mode: '0640', owner: 0, helper: remove}}]}\n  h4: {logins: []}",
    );
    let of = |i: usize| -> Vec<String> { inventory.hosts[i].targets.iter().map(|t| format!("{} {} {}", t.kind, t.path, t.logins.join(","))).collect() };
    // Each group by itself, its parent too; equal targets become one file with both logins.
    assert_eq!(of(0), ["docker /root/.docker/config.json l,m", "enroot /e l", "enroot /root/.config/enroot/.credentials m"]);
    assert_eq!(of(1), ["docker /root/.docker/config.json m", "enroot /e m", "enroot /root/.config/enroot/.credentials m"]);
    assert_eq!(of(2), ["docker /root/.docker/config.json l,m"]);
    assert_eq!(of(3), [""; 0]);
    let own = &inventory.hosts[2].targets[0];
    assert_eq!((own.mode.bits(), own.owner.as_deref(), own.helper), (0o640, Some("0"), HelperPolicy::Remove));
    assert_eq!(inventory.hosts[0].targets[1].group.as_deref(), Some("100"));
    assert!(inventory.notes.iter().any(|n| n.message == "host h4 gets no login"), "{:?}", inventory.notes);
}

#[test]
fn singularity_is_for_its_group_when_one_is_named() {
    let inventory = loaded("groups: {g: {hosts: h, logins: [l, m], targets: [{singularity: {login: m, group: users}}]}}");
    let t = &inventory.hosts[0].targets[0];
    assert_eq!((t.path.as_str(), t.mode.bits(), t.logins.as_slice()), ("/etc/regprov", 0o640, ["m".to_string()].as_slice()));
}

#[test]
fn addresses() {
    let pin = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let inventory = loaded(&format!("{G}\nhosts: {{h1: {{address: '2001:DB8::1', port: 2222, host_key: [{pin}], host_key_alias: h}}}}"));
    let h = &inventory.hosts[0];
    assert_eq!(h.inventory_address().to_string(), "[2001:db8::1]:2222");
    assert_eq!((h.host_keys[0].algorithm.as_str(), h.host_key_alias.as_deref()), ("ssh-ed25519", Some("h")));
    assert_eq!((inventory.hosts[1].inventory_address().to_string().as_str(), inventory.hosts[1].user.as_deref()), ("h2:22", None));
}

#[test]
fn vaults() {
    let inventory = "version: 1\nvault: [v.yml, /w.yml]\ngroups: {g: {hosts: h, logins: [a, b], targets: [docker]}}\n";
    let login = |name: &str, registry: &str| format!("logins:\n  {name}: {{registry: {registry}, username: u, password: {SEAL}}}\n{STAMP}");
    let (a, b) = (login("a", "https://A.example/"), login("b", "b.example"));
    let ok = load_files(&[("inv/i.yml", inventory), ("inv/v.yml", &a), ("/w.yml", &format!("recipients: [age1x]\n{b}"))], OPTIONS).unwrap();
    assert_eq!(ok.logins.iter().map(|l| l.place.as_str()).collect::<Vec<_>>(), ["inv/v.yml:2:3", "/w.yml:3:3"]);
    assert_eq!(ok.notes[0].to_string(), "inv/v.yml:2:17: login `a`: registry is taken as `a.example`, without scheme, slash and upper case");

    let case = |v: &str, w: &str, want: &[&str]| {
        let error = load_files(&[("inv/i.yml", inventory), ("inv/v.yml", v), ("/w.yml", w)], OPTIONS).err().unwrap();
        let got: Vec<&str> = error.message.lines().filter(|l| !l.starts_with(' ')).collect();
        assert_eq!(got, want);
    };
    case(&a, &login("a", "b.example"), &["/w.yml:2:3: login `a` stands in two files; first at inv/v.yml:2:3", "inv/i.yml:3:36: unknown login `b`"]);
    // What only follows from a broken vault is not told.
    case(&a, "logins: [\n", &["/w.yml:1:9: not YAML: unclosed bracket '['"]);
    case(&a, &format!("hosts: {{}}\n{b}"), &["/w.yml:1:1: unknown key `hosts` in the vault"]);
    let missing = load_files(&[("inv/i.yml", inventory), ("inv/v.yml", &a)], OPTIONS).err().unwrap();
    assert_eq!(missing.message, "inv/i.yml:2:16: /w.yml: no such file");

    let twice = load_files(
        &[("inv/i.yml", &inventory.replace("/w.yml", "v.yml")), ("inv/v.yml", &format!("{}{}", &a[..a.len() - STAMP.len()], &b["logins:\n".len()..]))],
        OPTIONS,
    );
    assert_eq!(twice.err().unwrap().message, "inv/i.yml:2:16: `vault` names inv/v.yml twice");
    let both = load_files(&[("inv/i.yml", &format!("version: 1\nvault: v.yml\ngroups: {{g: {{hosts: h}}}}\n{a}")), ("inv/v.yml", &a)], OPTIONS);
    assert_eq!(both.err().unwrap().message.lines().next(), Some("inv/v.yml:2:3: login `a` stands in two files; first at inv/i.yml:5:3"));

    // A vault that cannot be opened keeps its exit code.
    let mut read = |path: &Path| if path == Path::new("i.yml") { Ok(inventory.to_string()) } else { Err(Error::vault("no identity")) };
    assert_eq!(load(Path::new("i.yml"), &mut read, OPTIONS).err().unwrap().kind, Kind::Vault);
}

#[test]
fn notes() {
    let text = format!(
        "version: 1\ngroups:\n  g: {{hosts: h, logins: [ecr], targets: [docker]}}\n  e: {{}}\n  t: {{hosts: i, targets: [docker]}}\nlogins:\n  ecr: {{registry: 1.dkr.ecr.eu-west-1.amazonaws.com, username: AWS, password: {SEAL}}}\n  hub: {{registry: hub.docker.com, username: u, password: {SEAL}}}\n{STAMP}"
    );
    let notes: Vec<String> = load_files(&[("inv/i.yml", &text)], OPTIONS).unwrap().notes.iter().map(ToString::to_string).collect();
    let want = [
        "inv/i.yml: host i gets no login",
        "inv/i.yml:4:3: group `e` has no hosts",
        "inv/i.yml:5:3: group `t` has targets but no logins",
        "inv/i.yml:7:3: login `ecr` is for Amazon ECR, whose tokens end after 12 h, and has neither `password_command` nor `expires`",
        "inv/i.yml:8:3: login `hub` is used nowhere",
        "inv/i.yml:8:19: login `hub`: `hub.docker.com` is Docker Hub's web site",
    ];
    assert_eq!(notes.len(), want.len(), "{notes:#?}");
    for (got, want) in notes.iter().zip(want) {
        assert!(got.starts_with(want), "{got}");
    }
}

#[test]
fn logins_in_use_are_told_of_14_days_before_their_end() {
    let notes = |expires: &str, logins: &str| -> Vec<String> {
        let text = format!(
            "version: 1\ngroups: {{g: {{hosts: h, logins: {logins}, targets: [docker]}}}}\nlogins:\n  l: {{registry: r, username: u, password: {SEAL}, expires: '{expires}'}}\n  m: {{registry: m, username: u, password: {SEAL}}}\n{STAMP}"
        );
        load_files(&[("inv/i.yml", &text)], OPTIONS).unwrap().notes.iter().filter(|n| n.line == 4).map(ToString::to_string).collect()
    };
    // It is midnight, and a day ends with its last second.
    let soon = |expires: &str| vec![format!("inv/i.yml:4:3: login `l` for r expires soon ({expires})")];
    for last in ["2026-01-01", "2026-01-14", "2026-01-15T00:00:00Z", "2026-01-15T05:30:00+05:30"] {
        assert_eq!(notes(last, "[l, m]"), soon(last));
    }
    for later in ["2026-01-15", "2026-01-15T00:00:01Z", "2099-12-31"] {
        assert!(notes(later, "[l, m]").is_empty(), "{later}");
    }
    assert_eq!(notes("2026-01-14", "[m]"), ["inv/i.yml:4:3: login `l` is used nowhere"]);
}

#[test]
fn bytes_that_are_no_text() {
    let of = |bytes: &[u8]| decode(Path::new("i.yml"), bytes.to_vec()).map_err(|e| e.message);
    assert_eq!(of("ä: 1\n".as_bytes()).as_ref().map(|text| text.as_str()), Ok("ä: 1\n"));
    assert_eq!(of(b"a: 1\nb: \xff\n"), Err("i.yml:2: is not UTF-8".to_string()));
    assert_eq!(of(&vec![b'x'; INVENTORY_BYTES_MAX + 1]), Err("i.yml: is larger than 4 MiB".to_string()));
}

mod kubernetes;
mod sources;

mod limits {
    use super::*;

    fn inventory() -> Inventory {
        loaded(
            "groups:\n  gpu: {hosts: 'gpu[001-004]', logins: [l], targets: [docker]}\n  login: {hosts: [login1, gpu004], logins: [m], targets: [docker, enroot]}\n  all-of-it: {children: [gpu, login]}\n  empty: {}",
        )
    }

    fn chosen(pattern: &str) -> std::result::Result<String, String> {
        let inventory = inventory();
        let mut read = |path: &Path| match path.to_str().unwrap() {
            "./f.txt" => Ok("# retry\r\ngpu001 # one\r\n\r\nlogin1,gpu[002-003]\r\n".to_string().into()),
            "./bad.txt" => Ok("gpu001\ngpu09\n".to_string().into()),
            p => Err(Error::usage(format!("{p}: no such file"))),
        };
        let found = limit(&inventory, pattern, &mut read, &mut || Ok(["gpu002", "gone", "login1"].map(String::from).to_vec())).map_err(|e| e.to_string())?;
        Ok(found.hosts.iter().map(|&i| inventory.hosts[i].name.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[track_caller]
    fn check(pattern: &str, want: &str) {
        assert_eq!(chosen(pattern).as_deref(), Ok(want), "{pattern}");
    }

    #[track_caller]
    fn refused(pattern: &str, want: &str) {
        let why = chosen(pattern).expect_err(pattern);
        assert!(why.contains(want), "{pattern}: {why}");
    }

    #[test]
    fn patterns() {
        check("gpu003", "gpu003");
        check("gpu[003-004],gpu001", "gpu001 gpu003 gpu004");
        check("gpu", "gpu001 gpu002 gpu003 gpu004");
        check("all-of-it", "gpu001 gpu002 gpu003 gpu004 login1");
        check("*", "gpu001 gpu002 gpu003 gpu004 login1");
        check("all,!gpu", "login1");
        check("!gpu[001-003]", "gpu004 login1");
        check("gpu,&login", "gpu004");
        check("&login,gpu", "gpu004");
        check("!gpu004,gpu", "gpu001 gpu002 gpu003");
        check("gpu00?,&log*", "gpu004");
        check("gpu:&login", "gpu004");
        check("all:!gpu", "login1");
        check("gpu[001,003]:login1", "gpu001 gpu003 login1");
        check("*1", "gpu001 login1");
        check("@./f.txt", "gpu001 gpu002 gpu003 login1");
        check("gpu,!@./f.txt", "gpu004");
        check("@failed", "gpu002 login1");
        check("@failed,!login1", "gpu002");
        check("gpu,&@failed", "gpu002");
        check("gpu,!@failed", "gpu001 gpu003 gpu004");
    }

    #[test]
    fn faults() {
        refused("gpu005", "there is no host and no group \"gpu005\"\n  hint: did you mean `gpu001`?");
        refused("gpu[003-005]", "\"gpu005\"");
        refused("logn", "did you mean `login`?");
        refused("!zzz", "\"zzz\"");
        refused("zzz*", "fits no host and no group");
        refused("gpu,!gpu", "leaves no host");
        refused("empty", "leaves no host");
        refused("", "a term is empty");
        refused("gpu001,", "a term is empty");
        refused("gpu001::login", "a term is empty");
        refused("gpu,!", "a term is empty behind `!`");
        refused("~gpu.*", "regular expressions are not known\n  hint: use `*` and `?`");
        refused("gpu[0:2]", "`[0:2]`, which is no list");
        refused("gpu[1", "has a `[` without `]`");
        refused("gpu[1-999999999]", "more than 100000 hosts");
        refused("@failed,!login1,!gpu002", "leaves no host");
        refused("gpu[001-002],@failing", "a file is named with a directory");
        refused("@f.txt", "write @./f.txt");
        refused("@./none", "./none: no such file");
        refused("@./bad.txt", "./bad.txt:2: there is no host and no group \"gpu09\"");
    }

    #[test]
    fn a_login_or_a_kind_of_target() {
        let shape = |i: &Inventory| -> Vec<String> {
            i.hosts.iter().map(|h| h.targets.iter().map(|t| format!("{}:{}", t.kind, t.logins.join("+"))).collect::<Vec<_>>().join(" ")).collect()
        };
        let mut i = inventory();
        select(&mut i, &[], &[]).unwrap();
        assert_eq!(shape(&i), ["docker:l", "docker:l", "docker:l", "docker:l+m enroot:m", "docker:m enroot:m"]);
        select(&mut i, &["m".into()], &[]).unwrap();
        assert_eq!(shape(&i), ["", "", "", "docker:m enroot:m", "docker:m enroot:m"]);
        select(&mut i, &[], &[TargetKind::Enroot]).unwrap();
        assert_eq!(shape(&i), ["", "", "", "enroot:m", "enroot:m"]);
        assert!(select(&mut inventory(), &["k".into()], &[]).unwrap_err().to_string().contains("there is no login \"k\"\n  hint: the logins are l, m"));
        assert_eq!(select(&mut inventory(), &["l".into()], &[TargetKind::Enroot]).unwrap_err().message, "--login l --target enroot: no host gets that");
        let helped = || {
            loaded(
                "groups: {g: {hosts: h, logins: [l], targets: [docker: {cred_helpers: {gcr.io: gcloud}}]}, e: {hosts: e, targets: [podman: {cred_helpers: {gcr.io: gcloud}}, helm]}}",
            )
        };
        let helpers = |i: &Inventory| i.hosts.iter().map(|h| h.targets.iter().map(|t| t.cred_helpers.len()).collect::<Vec<_>>()).collect::<Vec<_>>();
        let mut i = helped();
        select(&mut i, &[], &[]).unwrap();
        assert_eq!((shape(&i), helpers(&i)), (vec!["docker:l".into(), "podman:".into()], vec![vec![1], vec![1]]), "helpers need no login");
        select(&mut i, &["l".into()], &[]).unwrap();
        assert_eq!((shape(&i), helpers(&i)), (vec!["docker:l".into(), String::new()], vec![vec![0], vec![]]), "and are none of the logins that are named");
        let mut idle = loaded("groups: {g: {hosts: h}}");
        assert_eq!(select(&mut idle, &[], &[]).unwrap_err().message, "no host of the inventory gets a login");
    }
}

mod documents {
    use super::document::parse_vault;
    use crate::model::{PasswordText, VaultStamp};

    const VAULT: &str = "# ours\nversion: 1\nrecipients:\n  - age1x   # alice\n\nlogins:   # all of them\n  # NGC\n  ngc:\n    registry: nvcr.io # tail\n    username: $oauthtoken\n    password: |\n      -----BEGIN AGE ENCRYPTED FILE-----\n      YWdl\n      -----END AGE ENCRYPTED FILE-----\n\n  # Hub\n  hub: {registry: docker.io, username: ä, password: hunter2}\n  new:\n    registry: r.example\n    username: u\nvault_id: v0123456789abcdef\nvault_serial: 7\n# end\n";

    #[test]
    fn a_vault_says_where_its_logins_stand() {
        for text in [VAULT.to_string(), VAULT.replace('\n', "\r\n"), format!("\u{feff}{VAULT}")] {
            let d = parse_vault("v.yml", &text).unwrap();
            assert_eq!(d.recipients, ["age1x"]);
            let places: Vec<(&str, u64, u64)> = d.logins.iter().map(|l| (l.name.as_str(), l.line, l.column)).collect();
            assert_eq!(places, [("ngc", 8, 3), ("hub", 17, 3), ("new", 18, 3)]);
            let kinds: Vec<_> = d.logins.iter().map(|l| l.password.as_ref().map(|p| matches!(p, PasswordText::Sealed(_)))).collect();
            assert_eq!(kinds, [Some(true), Some(false), None], "sealed, plain, still to be set");
            assert_eq!(d.stamp, Some(VaultStamp { id: "v0123456789abcdef".into(), serial: 7 }));
        }
    }

    #[test]
    fn a_stamp_is_whole_and_stands_where_something_is_sealed() {
        const END: &str = "vault_id: v0123456789abcdef\nvault_serial: 7\n";
        #[track_caller]
        fn check(text: &str, want: &[&str]) {
            let got = parse_vault("v.yml", text).err().unwrap_or_default();
            let got: Vec<String> = got.iter().map(|p| p.to_string().lines().next().unwrap().to_string()).collect();
            assert_eq!(got, want, "{text}");
        }
        let (head, _) = VAULT.split_once("vault_id").unwrap();
        let missing = "v.yml: its last lines are missing, `vault_id` and `vault_serial`: it was cut, or it comes from an older regprov";
        check(&format!("{head}{END}"), &[]);
        check(head, &[missing]);
        check(&format!("become_password: {}\n", super::SEAL), &[missing]);
        check("logins:\n  l: {registry: r, username: u, password: hunter2}\n", &[]);
        check(
            &head.replace("      YWdl\n", "").replace("      -----END AGE ENCRYPTED FILE-----\n", ""),
            &["v.yml:12: the seal of login `ngc` that stands here is damaged: it was cut or changed"],
        );
        for (end, want) in [
            ("vault_id: v0123456789abcdef\n", "v.yml:1:1: `vault_id` stands here without `vault_serial`"),
            ("vault_serial: 7\n", "v.yml:1:1: `vault_serial` stands here without `vault_id`"),
            (&END.replace("v0", "w0"), "v.yml:1:11: `vault_id` must be `v` and 16 hexadecimal digits in lower case"),
            (&END.replace("abc", "aBc"), "v.yml:1:11: `vault_id` must be `v` and 16 hexadecimal digits in lower case"),
            (&END.replace("f\n", "\n"), "v.yml:1:11: `vault_id` must be `v` and 16 hexadecimal digits in lower case"),
            (&END.replace(": 7", ": 0"), "v.yml:2:15: `vault_serial` must be a number from 1 to 2^53"),
            (&END.replace(": 7", ": 07"), "v.yml:2:15: `vault_serial` must be a whole number"),
            (&END.replace(": 7", ": -7"), "v.yml:2:15: `vault_serial` must be a whole number"),
            (&END.replace(": 7", ": 9007199254740993"), "v.yml:2:15: `vault_serial` must be a number from 1 to 2^53"),
            (&END.replace(": 7", ": 18446744073709551616"), "v.yml:2:15: `vault_serial` must be a whole number"),
            (&END.replace(": 7", ": '7'"), "v.yml:2:15: `vault_serial` must be a number, not text"),
            (&END.replace(": 7", ":"), "v.yml:2:1: `vault_serial` must be a number, not nothing"),
            (&format!("{END}{END}"), "v.yml:3:1: `vault_id` stands twice in the vault; first on line 1"),
        ] {
            let got = parse_vault("v.yml", end).err().unwrap_or_default();
            assert_eq!(got.first().map(|p| p.to_string().lines().next().unwrap().to_string()).as_deref(), Some(want), "{end}");
        }
        assert_eq!(parse_vault("v.yml", &END.replace(": 7", ": 9007199254740992")).ok().unwrap().stamp.unwrap().serial, VaultStamp::SERIAL_MAX);
    }

    #[test]
    fn an_empty_vault_is_one() {
        for text in ["version: 1\nrecipients: [age1x]\nlogins: {}\n", "recipients: [age1x]\n"] {
            assert!(parse_vault("v.yml", text).unwrap().logins.is_empty());
        }
    }

    #[test]
    fn faults_of_a_vault() {
        let of = |text: &str| parse_vault("v.yml", text).err().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("login: {}\n"), ["v.yml:1:1: unknown key `login` in the vault\n  hint: did you mean `logins`?"]);
        assert_eq!(
            of("version: 3\nsigned: x\n"),
            [
                "v.yml:2:1: unknown key `signed` in the vault\n  hint: the keys are version, id, recipients, logins, become_password, vault_id, vault_serial",
                "v.yml:1:10: version 3 is not known; this regprov reads version 1"
            ]
        );
    }
}
