//! Sources of hosts, with files, directories and programs in memory.

use super::*;

/// Files, directories and programs in memory.
#[derive(Default)]
struct Memory {
    files: HashMap<String, String>,
    output: HashMap<String, String>,
    /// Files that must not run programs.
    foreign: Vec<String>,
    ran: Vec<Vec<String>>,
}

impl World for Memory {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        self.files
            .get(path.to_str().unwrap())
            .map(|text| text.clone().into())
            .ok_or_else(|| Error::usage(format!("{} cannot be read: there is no such file", path.display())))
    }

    fn list(&mut self, path: &Path) -> Result<Option<Vec<Entry>>> {
        let below = format!("{}/", path.display());
        let names = self.files.keys().filter_map(|f| f.strip_prefix(&below)).map(|f| f.split('/').next().unwrap().to_string());
        let entries: BTreeSet<Entry> = names.map(|name| Entry { name }).collect();
        Ok(if entries.is_empty() { None } else { Some(entries.into_iter().collect()) })
    }

    fn run(&mut self, program: &Program) -> Result<Vec<u8>> {
        self.ran.push(program.argv.clone());
        let output = self.output.get(&program.argv[0]).cloned();
        output.map(String::into_bytes).ok_or_else(|| Error::usage(format!("`{}` cannot be run: it is not in PATH", program.argv[0])))
    }

    fn may_not_run(&mut self, file: &Path) -> Option<String> {
        self.foreign.contains(&file.display().to_string()).then(|| format!("everybody can write {}", file.display()))
    }
}

fn memory(body: &str, files: &[(&str, &str)], output: &[(&str, &str)]) -> Memory {
    let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<HashMap<_, _>>();
    let mut files = owned(files);
    files.insert("inv/i.yml".into(), whole(body));
    Memory { files, output: owned(output), ..Memory::default() }
}

fn load_in(memory: &mut Memory) -> Result<Inventory> {
    load(Path::new("inv/i.yml"), memory, OPTIONS)
}

fn names(inventory: &Inventory) -> String {
    inventory.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>().join(" ")
}

const ANSIBLE: (&str, &str) = ("inv/hosts", "[gpu]\ng[1:2] ansible_user=a ansible_port=2200\n[login]\nl1\n[all:vars]\nansible_become=yes\n");
const SINFO: (&str, &str) = ("sinfo", "s1|gpu|idle|none\ns2|gpu|drained|bad DIMM\nl1|cpu|idle|none\n");

#[test]
fn sources_and_names_keep_their_order_and_each_is_asked_once() {
    let body = "groups:\n  a: {hosts: ['z[1-2]', {slurm: gpu}, {command: [./list, x]}, {ansible: hosts, group: gpu}]}\n  b: {hosts: {command: [./list, x]}}\n  c: {hosts: {slurm: cpu}}";
    let mut memory = memory(body, &[ANSIBLE], &[SINFO, ("inv/./list", "c2\nc1\n")]);
    let inventory = load_in(&mut memory).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(names(&inventory), "z1 z2 s1 s2 c2 c1 g1 g2 l1");
    assert_eq!(inventory.hosts[3].skip.as_deref(), Some("drained: bad DIMM"));
    assert_eq!(inventory.groups["b"], [4, 5]);
    assert_eq!(memory.ran.len(), 2, "{:?}", memory.ran);
    assert!(memory.ran.contains(&vec!["inv/./list".to_string(), "x".to_string()]));
}

#[test]
fn what_the_inventory_says_of_a_host_wins_key_by_key() {
    let body = "defaults: {user: d, port: 1, become: false}\ngroups:\n  a: {user: group, root: /g, hosts: {ansible: hosts}}\nhosts:\n  g1: {user: own}";
    let inventory = load_in(&mut memory(body, &[ANSIBLE], &[])).unwrap_or_else(|e| panic!("{e}"));
    let said: Vec<_> = inventory.hosts.iter().map(|h| (h.name.as_str(), h.user.as_deref().unwrap(), h.port.unwrap(), h.becomes_root)).collect();
    assert_eq!(said, [("g1", "own", 2200, true), ("g2", "a", 2200, true), ("l1", "group", 1, true)]);
    assert_eq!(inventory.hosts[0].root.as_str(), "/g");
}

#[track_caller]
fn fault(body: &str, files: &[(&str, &str)], output: &[(&str, &str)], want: &str, hint: &str) {
    let error = load_in(&mut memory(body, files, output)).err().expect(body);
    let message = same_problems(error, &[want]);
    assert!(message.contains(hint), "{message}");
}

#[test]
fn faults_stand_at_the_source_s_key() {
    let ansible = |text: &str, want: &str, hint: &str| {
        fault(
            "groups:\n  a:\n    hosts:\n      - {ansible: hosts, group: gpu}",
            &[("inv/hosts", text)],
            &[],
            &format!("5:10: ansible source of group `a`: {want}"),
            hint,
        );
    };
    ansible("[gup]\nx\n", "there is no group `gpu`", "did you mean `gup`?");
    ansible("[gpu:vars]\na=1\n", "inv/hosts: line 1: section [gpu:vars] is for a group that is not there", "");
    ansible("[x:children]\ngpu\n", "inv/hosts: line 2: group `gpu` among the children is not there", "");
    ansible("[a:children]\nb\n[b:children]\na\n", "inv/hosts: line", "");
    ansible("[gpu]\nx a b\n", "inv/hosts: line 2: behind a host stand NAME=VALUE pairs", "quotes");
    ansible("[gpu]\nx ansible_password='hunter2\n", "inv/hosts: line 2: the line has a quote that does not end", "");
    ansible("[gpu]\nx ansible_host='{{ y }}'\n", "host `x`: `ansible_host` is a template", "");
    ansible("[gpu]\nx ansible_connection=winrm\n", "host `x`: `ansible_connection` is \"winrm\"", "");
    ansible("[gpu]\n2001:db8::1\n", "the group has `2001:db8::1`", "ansible_host");
    ansible("#!/bin/sh\n", "inv/hosts is a script", "command: [ansible-inventory, -i, inv/hosts, --list]");
    ansible("plugin: aws_ec2\n", "inv/hosts configures an inventory plugin", "ansible-inventory");
    ansible("$ANSIBLE_VAULT;1.1;AES256\n61\n", "inv/hosts is encrypted", "password file");
    // Small files that would take gigabytes, or hours.
    let chain: String = (0..1500).map(|g| format!("[g{g}:children]\ng{}\n", g + 1)).collect();
    ansible(&format!("{chain}[g1500]\nh[1:90000]\n"), "inv/hosts: hosts and the groups that they are in multiply to more than 5000000", "");
    ansible(&"h[1:90000]\n".repeat(60), "inv/hosts: line 23: names hosts more than 2000000 times", "");
    let many: Vec<String> = (0..110).map(|g| format!("[p{g}:children]\n{}", (0..100).map(|c| format!("c{c}\n")).collect::<String>())).collect();
    let declared: String = (0..100).map(|c| format!("[c{c}]\n")).collect();
    ansible(&format!("{declared}{}", many.concat()), "inv/hosts: line 10202: has more than 10000 groups among the children of others", "");
    fault("groups: {a: {hosts: {ansible: none}}}", &[], &[], "2:22: ansible source of group `a`: inv/none cannot be read", "");
    fault("groups: {a: {hosts: {slurm: x}}}", &[], &[], "2:22: slurm source of group `a`: `sinfo` cannot be run", "");
    fault("groups: {a: {hosts: {slurm: x}}}", &[], &[SINFO], "2:22: slurm source of group `a`: Slurm has no partition `x`", "the partitions are cpu, gpu");
    let listed = [("list", "a\n")];
    fault(
        "groups: {a: {hosts: {command: [list], group: g}}}",
        &[],
        &listed,
        "2:22: command source of group `a`: `list` printed names without groups",
        "--list",
    );
    fault("groups: {a: {hosts: {command: [list]}}}", &[], &[("list", "a b\n")], "2:22: command source of group `a`: `list` printed a line 1 that has", "");
}

#[test]
fn a_source_is_written_in_one_way() {
    for (source, want) in [
        ("{group: g}", "2:21: a source of group `a` must have one of the keys"),
        ("{ansible: h, slurm: x}", "2:21: a source of group `a` must have one of the keys"),
        ("{ansibel: h}", "2:22: unknown key `ansibel` in a source of group `a`"),
        ("{command: list}", "2:31: `command` of a source of group `a` must be a list, not text"),
        ("{command: []}", "2:31: `command` of a source of group `a` names no program"),
        ("{slurm: {partition: x}, group: g}", "2:45: a source of group `a`: `group` is for `ansible` and `command`"),
        ("{slurm: {state: [idel]}}", "2:38: `state` of `slurm` of a source of group `a`: `idel` is no state of sinfo; did you mean `idle`?"),
        ("{slurm: {nodes: x}}", "2:30: unknown key `nodes` in `slurm`"),
        ("{ansible: ''}", "2:31: `ansible` of a source of group `a` is no path"),
    ] {
        refused(&format!("groups: {{a: {{hosts: {source}}}}}"), want);
    }
}

#[test]
fn nothing_runs_where_it_may_not() {
    let body = "groups:\n  a: {hosts: [{command: [list]}, {slurm: gpu}]}\n  b: {hosts: {ansible: hosts}, proxy_command: nc %h %p}";
    let proxy = "[gpu]\ng1 ansible_ssh_common_args='-o ProxyCommand=\"nc %h %p\"'\n";
    let mut foreign = memory(body, &[("inv/hosts", proxy)], &[SINFO, ("list", "c1\n")]);
    foreign.foreign.push("inv/i.yml".into());
    let error = load_in(&mut foreign).err().unwrap();
    let why = "runs a program, and everybody can write inv/i.yml";
    let want = [format!("3:16: `command` {why}"), format!("4:15: ProxyCommand of host `g1` in hosts {why}"), format!("4:47: `proxy_command` {why}")];
    let message = same_problems(error, &want.each_ref().map(String::as_str));
    assert!(message.contains("--allow-commands"), "{message}");
    assert!(foreign.ran.is_empty(), "{:?}", foreign.ran);

    let mut ansible = memory("groups:\n  b: {hosts: {ansible: hosts}}", &[("inv/hosts", proxy)], &[]);
    ansible.foreign.push("inv/hosts".into());
    same_problems(load_in(&mut ansible).err().unwrap(), &["3:15: ProxyCommand of host `g1` in hosts runs a program, and everybody can write inv/hosts"]);

    // Slurm's own program is no command of the inventory's.
    let mut slurm = memory("groups:\n  b: {hosts: {slurm: gpu}}", &[], &[SINFO]);
    slurm.foreign.push("inv/i.yml".into());
    assert_eq!(names(&load_in(&mut slurm).unwrap_or_else(|e| panic!("{e}"))), "s1 s2");
}

#[test]
fn sources_that_differ_are_told() {
    let body = "groups:\n  a: {hosts: {ansible: one}}\n  b: {hosts: {ansible: two}}";
    let files = [("inv/one", "x ansible_host=10.0.0.1\n"), ("inv/two", "x ansible_host=10.0.0.2\n")];
    fault(body, &files, &[], "4:15: the source on line 3 and this one differ in `address` of host `x`", "set `address`");
}

#[test]
fn what_is_left_aside_is_noted() {
    let hosts = "[gpu]\ng[1:3] ansible_ssh_common_args='-o StrictHostKeyChecking=no' ansible_password=hunter2\n[none]\n";
    let files = [("inv/hosts", hosts), ("inv/group_vars/all/secret", "$ANSIBLE_VAULT;1.1;AES256\n61\n")];
    let body = "groups:\n  a: {hosts: [{ansible: hosts, group: gpu}, {ansible: hosts, group: none}]}";
    let inventory = load_in(&mut memory(body, &files, &[])).unwrap_or_else(|e| panic!("{e}"));
    let notes: Vec<String> = inventory.notes.iter().map(ToString::to_string).filter(|n| n.contains("source")).collect();
    assert_eq!(
        notes,
        [
            "inv/i.yml:3:16: ansible source: inv/group_vars/all/secret is encrypted by ansible-vault and was not read",
            "inv/i.yml:3:16: ansible source: `ansible_password` of host g1 and 2 more is not taken from there",
            "inv/i.yml:3:16: ansible source: the ssh option StrictHostKeyChecking of host g1 and 2 more is not taken from there",
            "inv/i.yml:3:46: ansible source of group `a` gives no host",
        ]
    );
}

#[test]
fn hosts_of_sources_count() {
    let many = [("many", "n[1-60000]\n")];
    fault("groups: {a: {hosts: ['m[1-60000]', {command: [many]}]}}", &[], &many, "2:37: the groups list more than 100000 hosts", "");
}
