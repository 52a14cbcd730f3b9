//! Ansible's groups and hosts with the variables that a connection needs (inventory/data.py, inventory/group.py).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::value::Value;
use crate::inventory::{GROUPS_MAX, HOSTS_MAX, RESOLVED_MAX};

/// Groups that are named as children of others, in all: each is looked at for a loop.
const CHILDREN_MAX: usize = 10_000;

/// How often hosts are named, repeated ones included.
const NAMED_MAX: usize = 20 * HOSTS_MAX;

/// The variables that say how a host is reached. Others are not kept: some hold passwords.
pub(super) const USED: [&str; 19] = [
    "ansible_host",
    "ansible_ssh_host",
    "ansible_port",
    "ansible_ssh_port",
    "ansible_user",
    "ansible_ssh_user",
    "ansible_private_key_file",
    "ansible_ssh_private_key_file",
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_become",
    "ansible_become_user",
    "ansible_become_method",
    "ansible_connection",
    // These are only named, as what regprov does not take from there.
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_become_password",
    "ansible_become_pass",
];

/// The variable by which a group wins over others of its depth.
const PRIORITY: &str = "ansible_group_priority";

/// Variables by name.
pub(super) type Vars = BTreeMap<String, Value>;

pub(super) struct Group {
    pub(super) name: String,
    /// From the inventory.
    pub(super) vars: Vars,
    /// From group_vars, which win over every group's own.
    pub(super) file_vars: Vars,
    priority: i64,
    hosts: Vec<usize>,
    hosts_seen: HashSet<usize>,
    children: Vec<usize>,
}

pub(super) struct Host {
    pub(super) name: String,
    pub(super) vars: Vars,
    /// From host_vars.
    pub(super) file_vars: Vars,
}

/// All groups and hosts of one inventory.
pub(super) struct Data {
    pub(super) groups: Vec<Group>,
    group_at: HashMap<String, usize>,
    pub(super) hosts: Vec<Host>,
    host_at: HashMap<String, usize>,
    /// For each group its depth below `all`, known once [`Data::reconcile`] has run.
    depths: Vec<usize>,
    /// For each host the groups it is in, ancestors included, `all` not.
    memberships: Vec<Vec<usize>>,
    /// Names of variables that are not kept.
    pub(super) unused: BTreeSet<String>,
    /// How often a host was named in a group, repeated ones included.
    named: usize,
    /// How many groups are children of others.
    children: usize,
}

/// Where `all` stands among the groups.
const ALL: usize = 0;
/// Where `ungrouped` stands.
const UNGROUPED: usize = 1;

impl Data {
    pub(super) fn new() -> Self {
        let mut data = Data {
            groups: Vec::new(),
            group_at: HashMap::new(),
            hosts: Vec::new(),
            host_at: HashMap::new(),
            depths: Vec::new(),
            memberships: Vec::new(),
            unused: BTreeSet::new(),
            named: 0,
            children: 0,
        };
        for name in ["all", "ungrouped"] {
            data.group(name).expect("two groups are few");
        }
        data.groups[ALL].children.push(UNGROUPED);
        data
    }

    pub(super) fn find_group(&self, name: &str) -> Option<usize> {
        self.group_at.get(name).copied()
    }

    /// The group of this name, made when it is not there.
    pub(super) fn group(&mut self, name: &str) -> Result<usize, String> {
        if let Some(at) = self.find_group(name) {
            return Ok(at);
        }
        if self.groups.len() >= GROUPS_MAX {
            return Err(format!("has more than {GROUPS_MAX} groups"));
        }
        let group = Group {
            name: name.to_string(),
            vars: Vars::new(),
            file_vars: Vars::new(),
            priority: 1,
            hosts: Vec::new(),
            hosts_seen: HashSet::new(),
            children: Vec::new(),
        };
        self.groups.push(group);
        self.group_at.insert(name.to_string(), self.groups.len() - 1);
        Ok(self.groups.len() - 1)
    }

    /// Puts a host into a group. The port counts where the host is named first, as with Ansible.
    pub(super) fn host(&mut self, name: &str, group: usize, port: Option<u16>) -> Result<(), String> {
        self.named += 1;
        if self.named > NAMED_MAX {
            return Err(format!("names hosts more than {NAMED_MAX} times"));
        }
        let at = match self.host_at.get(name) {
            Some(&at) => at,
            None => {
                if self.hosts.len() >= HOSTS_MAX {
                    return Err(format!("has more than {HOSTS_MAX} hosts"));
                }
                let vars = port.map(|p| ("ansible_port".to_string(), Value::Int(p.into()))).into_iter().collect();
                self.hosts.push(Host { name: name.to_string(), vars, file_vars: Vars::new() });
                self.host_at.insert(name.to_string(), self.hosts.len() - 1);
                self.hosts.len() - 1
            }
        };
        if self.groups[group].hosts_seen.insert(at) {
            self.groups[group].hosts.push(at);
        }
        Ok(())
    }

    /// Sets a variable of a group or host; a name that is both means the group, as with Ansible.
    pub(super) fn set(&mut self, name: &str, key: &str, value: &Value) -> Result<(), String> {
        if let Some(group) = self.find_group(name) {
            return self.set_of_group(group, key, value);
        }
        if let Some(&host) = self.host_at.get(name)
            && self.is_used(key)
        {
            self.hosts[host].vars.insert(key.to_string(), value.clone());
        }
        Ok(())
    }

    /// Whether a variable is kept; the names of others are noted.
    pub(super) fn is_used(&mut self, key: &str) -> bool {
        let is_used = USED.contains(&key);
        if !is_used && !self.unused.contains(key) {
            self.unused.insert(key.to_string());
        }
        is_used
    }

    pub(super) fn set_of_group(&mut self, group: usize, key: &str, value: &Value) -> Result<(), String> {
        let is_used = key != PRIORITY && self.is_used(key);
        let group = &mut self.groups[group];
        if key == PRIORITY {
            group.priority = match value {
                Value::Int(n) => *n,
                Value::Text(t) => t.trim().parse().map_err(|_| format!("`ansible_group_priority` of group `{}` is no number", group.name))?,
                _ => return Err(format!("`ansible_group_priority` of group `{}` is no number", group.name)),
            };
        } else if is_used {
            group.vars.insert(key.to_string(), value.clone());
        }
        Ok(())
    }

    pub(super) fn add_child(&mut self, parent: usize, child: usize) -> Result<(), String> {
        let [parent_name, child_name] = [parent, child].map(|g| self.groups[g].name.clone());
        if parent == child {
            return Err(format!("group `{parent_name}` is its own child"));
        }
        if self.groups[parent].children.contains(&child) {
            return Ok(());
        }
        self.children += 1;
        if self.children > CHILDREN_MAX {
            return Err(format!("has more than {CHILDREN_MAX} groups among the children of others"));
        }
        if self.descendants(child).contains(&parent) {
            return Err(format!("group `{child_name}` as a child of `{parent_name}` makes a loop"));
        }
        self.groups[parent].children.push(child);
        Ok(())
    }

    /// The group and all below it, level by level, each once.
    fn descendants(&self, group: usize) -> Vec<usize> {
        let (mut order, mut seen, mut queue) = (Vec::new(), BTreeSet::from([group]), VecDeque::from([group]));
        while let Some(g) = queue.pop_front() {
            order.push(g);
            queue.extend(self.groups[g].children.iter().copied().filter(|c| seen.insert(*c)));
        }
        order
    }

    /// What Ansible does when all is read: every group hangs below `all`, and `ungrouped` holds those that are in no other group.
    pub(super) fn reconcile(&mut self) -> Result<(), String> {
        let mut has_parent = vec![false; self.groups.len()];
        for g in 0..self.groups.len() {
            for &child in &self.groups[g].children {
                has_parent[child] = true;
            }
        }
        for (g, _) in has_parent.iter().enumerate().filter(|(g, has)| *g != ALL && !**has) {
            self.groups[ALL].children.push(g);
        }
        let mut grouped = vec![false; self.hosts.len()];
        for (g, group) in self.groups.iter().enumerate() {
            if g != ALL && g != UNGROUPED {
                group.hosts.iter().for_each(|&h| grouped[h] = true);
            }
        }
        let mut alone: Vec<usize> = self.groups[UNGROUPED].hosts.iter().copied().filter(|&h| !grouped[h]).collect();
        alone.extend((0..self.hosts.len()).filter(|h| !grouped[*h] && !self.groups[UNGROUPED].hosts_seen.contains(h)));
        self.groups[UNGROUPED].hosts_seen = alone.iter().copied().collect();
        self.groups[UNGROUPED].hosts = alone;
        self.depths = self.depths();
        self.memberships = self.memberships()?;
        Ok(())
    }

    /// The longest way from `all` to each group. There are no loops, so it ends.
    fn depths(&self) -> Vec<usize> {
        let mut depths = vec![0; self.groups.len()];
        let mut waiting = vec![0_usize; self.groups.len()];
        self.groups.iter().flat_map(|g| &g.children).for_each(|&c| waiting[c] += 1);
        let mut ready = vec![ALL];
        while let Some(g) = ready.pop() {
            for &child in &self.groups[g].children {
                depths[child] = depths[child].max(depths[g] + 1);
                waiting[child] -= 1;
                if waiting[child] == 0 {
                    ready.push(child);
                }
            }
        }
        depths
    }

    fn memberships(&self) -> Result<Vec<Vec<usize>>, String> {
        let mut above: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.groups.len()];
        let mut by_depth: Vec<usize> = (0..self.groups.len()).collect();
        by_depth.sort_by_key(|g| self.depths[*g]);
        for g in by_depth {
            let mut mine = above[g].clone();
            mine.insert(g);
            for &child in &self.groups[g].children {
                above[child].extend(&mine);
            }
        }
        // Each of many hosts in each of many groups is more than fits into memory.
        let all: usize = self.groups.iter().zip(&above).map(|(group, above)| group.hosts.len().saturating_mul(1 + above.len())).sum();
        if all > RESOLVED_MAX {
            return Err(format!("hosts and the groups that they are in multiply to more than {RESOLVED_MAX}"));
        }
        let mut of_hosts: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.hosts.len()];
        for (g, group) in self.groups.iter().enumerate() {
            for &host in &group.hosts {
                of_hosts[host].insert(g);
                of_hosts[host].extend(&above[g]);
            }
        }
        // Depth, then priority, then name: what comes later wins (inventory/helpers.py).
        let order = |g: &usize| (self.depths[*g], self.groups[*g].priority, self.groups[*g].name.clone());
        let sorted = |set: BTreeSet<usize>| {
            let mut groups: Vec<usize> = set.into_iter().filter(|g| *g != ALL).collect();
            groups.sort_by_key(order);
            groups
        };
        Ok(of_hosts.into_iter().map(sorted).collect())
    }

    /// The hosts of a group and of those below it, in the inventory's order.
    pub(super) fn members(&self, group: usize) -> Vec<usize> {
        let mut seen = HashSet::new();
        self.descendants(group).into_iter().flat_map(|g| &self.groups[g].hosts).copied().filter(|h| seen.insert(*h)).collect()
    }

    /// Whether a group names hosts itself.
    pub(super) fn names_hosts(&self, group: usize) -> bool {
        !self.groups[group].hosts.is_empty()
    }

    /// The names of the groups right below a group.
    pub(super) fn children(&self, group: usize) -> impl Iterator<Item = &str> {
        self.groups[group].children.iter().map(|child| self.groups[*child].name.as_str())
    }

    /// A host's variables by Ansible's precedence (its default `VARIABLE_PRECEDENCE`): `all`, the groups from the top down, group_vars in
    /// the same order, the host's own, host_vars.
    pub(super) fn vars_of(&self, host: usize) -> BTreeMap<&str, &Value> {
        let groups = || self.memberships[host].iter().map(|g| &self.groups[*g]);
        let layers = std::iter::once(&self.groups[ALL].vars)
            .chain(groups().map(|g| &g.vars))
            .chain([&self.groups[ALL].file_vars])
            .chain(groups().map(|g| &g.file_vars))
            .chain([&self.hosts[host].vars, &self.hosts[host].file_vars]);
        layers.flatten().map(|(k, v)| (k.as_str(), v)).collect()
    }
}
