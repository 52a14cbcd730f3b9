//! Groups, defaults and hosts to what each host is and gets.

mod clash;
mod kubernetes;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::RESOLVED_MAX;
use super::fields::{Placed, Reader, hint_for};
use super::schema::{Connection, Group, HostSpec, Parts, TargetSpec};
use super::yaml::Pos;
use crate::error::{Problem, rule};
use crate::format::consumer;
use crate::model::{self, Address, Host, Jump, LoginEntry, Namespace, RemotePath, Target, TargetKind};

/// Resolves every host, in inventory order: the groups from top to bottom, each group's hosts as listed, each host once.
/// Faults go to `reader`, warnings to `notes`. What may only follow from a fault that was told before is not told.
pub(super) fn resolve(parts: &Parts, logins: &[LoginEntry], whole: Whole, reader: &mut Reader<'_>, notes: &mut Vec<Problem>) -> Resolved {
    let faults_before = reader.problems.len();
    let known: BTreeMap<&str, &LoginEntry> = logins.iter().map(|l| (l.name.as_str(), l)).collect();
    if whole.logins {
        check_login_names(parts, &known, reader);
    }
    let namespaces = kubernetes::namespaces(&parts.kubernetes, whole.logins.then_some(&known), reader);
    let above = ancestors(&parts.groups, reader);
    if !whole.parts {
        return Resolved::default();
    }
    check_narrowing(parts, &known, reader);
    let Some(ancestors) = above else { return Resolved::default() };
    let members = members(parts, &ancestors, reader);
    if reader.problems.len() > faults_before {
        // What follows would repeat these faults in other words.
        return Resolved::default();
    }
    let world = World { parts, known, ancestors };
    let mut conflicts = Conflicts::default();
    let mut places = Places::new();
    let mut hosts = Vec::with_capacity(members.len());
    let mut size = 0;
    for member in &members {
        let host = world.host(member, &mut conflicts, &mut places);
        size += host.groups.len() + host.targets.iter().map(|t| 1 + t.logins.len()).sum::<usize>();
        if size > RESOLVED_MAX {
            reader.fault(Pos::default(), format!("hosts, groups, targets and logins multiply to more than {RESOLVED_MAX}"));
            return Resolved::default();
        }
        hosts.push(host);
    }
    conflicts.tell(reader);
    same_address(&hosts, &world, reader);
    if reader.problems.len() == faults_before {
        look_odd(&world, &hosts, reader.file, notes);
    }
    Resolved { hosts, namespaces, places }
}

/// The hosts, where their targets stand, and the namespaces.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) hosts: Vec<Host>,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) places: Places,
}

/// For every target the place that names it first.
pub(super) type Places = BTreeMap<TargetKey, Pos>;

/// What tells targets apart: consumer, path, whose home, and the logins.
pub(super) type TargetKey = (TargetKind, RemotePath, Option<String>, Vec<String>);

/// See [`TargetKey`].
pub(super) fn key(target: &Target) -> TargetKey {
    (target.kind, target.path.clone(), target.user.clone(), target.logins.clone())
}

/// What was read without a fault.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// Every login of inventory and vaults.
    pub(super) logins: bool,
    /// Everything else of the inventory.
    pub(super) parts: bool,
}

/// A host with the groups it is in, ancestors included, by their position.
struct Member<'a> {
    name: &'a str,
    groups: BTreeSet<usize>,
    spec: Option<&'a HostSpec>,
}

/// All that hosts are resolved from.
struct World<'a> {
    parts: &'a Parts,
    known: BTreeMap<&'a str, &'a LoginEntry>,
    /// For each group those above it, itself not included.
    ancestors: Vec<BTreeSet<usize>>,
}

/// One target of a host with the logins that flow into it.
struct Flow<'a> {
    target: &'a TargetSpec,
    logins: BTreeSet<&'a str>,
}

fn check_login_names(parts: &Parts, known: &BTreeMap<&str, &LoginEntry>, reader: &mut Reader<'_>) {
    let mut lists: Vec<&[Placed<String>]> = Vec::new();
    let narrowed =
        |targets: &'_ Option<Vec<TargetSpec>>| -> Vec<Placed<String>> { targets.iter().flatten().flat_map(|t| t.narrow.iter().flatten().cloned()).collect() };
    let in_defaults = narrowed(&parts.default_targets);
    let in_groups: Vec<_> = parts.groups.iter().map(|g| narrowed(&g.targets)).collect();
    let in_hosts: Vec<_> = parts.hosts.iter().map(|h| narrowed(&h.targets)).collect();
    lists.push(&in_defaults);
    lists.extend(parts.groups.iter().zip(&in_groups).flat_map(|(g, n)| [g.logins.as_slice(), n]));
    lists.extend(parts.hosts.iter().zip(&in_hosts).flat_map(|(h, n)| [h.logins.as_deref().unwrap_or_default(), n]));
    for list in lists {
        check_known(list, known, reader);
    }
}

/// Tells the logins that are not there.
fn check_known(logins: &[Placed<String>], known: &BTreeMap<&str, &LoginEntry>, reader: &mut Reader<'_>) {
    for login in logins {
        if !known.contains_key(login.value.as_str()) {
            let message = format!("unknown login `{}`", login.value);
            match hint_for(&login.value, known.keys().copied(), "logins") {
                Some(hint) => reader.fault_hint(login.pos, message, hint),
                None => reader.fault(login.pos, message),
            }
        }
    }
}

/// A target that is narrowed to a login which its group or host does not have would silently get nothing.
fn check_narrowing(parts: &Parts, known: &BTreeMap<&str, &LoginEntry>, reader: &mut Reader<'_>) {
    let mut check = |what: String, logins: &[Placed<String>], targets: Option<&Vec<TargetSpec>>, whole: bool| {
        for target in targets.into_iter().flatten() {
            let Some(narrow) = &target.narrow else { continue };
            let lost: Vec<&Placed<String>> = narrow.iter().filter(|n| !logins.iter().any(|l| l.value == n.value)).collect();
            if whole {
                // A name that no login has was told already.
                for name in lost.into_iter().filter(|n| known.contains_key(n.value.as_str())) {
                    reader.fault(name.pos, format!("target {} is narrowed to login `{}`, which is not among the logins of {what}", target.kind, name.value));
                }
            } else if lost.len() == narrow.len() {
                let names: Vec<&str> = narrow.iter().map(|n| n.value.as_str()).collect();
                reader.fault_hint(
                    logins.first().map_or(target.pos, |l| l.pos),
                    format!(
                        "{what} takes its targets from `defaults`, where {} (line {}) is narrowed to {}, which is not among its logins",
                        target.kind,
                        target.pos.line,
                        names.join(", ")
                    ),
                    "give it `targets` of its own",
                );
            }
        }
    };
    for g in parts.groups.iter().filter(|g| g.targets.is_some() || !g.logins.is_empty()) {
        let what = format!("group `{}`", g.name);
        match &g.targets {
            Some(own) => check(what, &g.logins, Some(own), true),
            None => check(what, &g.logins, parts.default_targets.as_ref(), false),
        }
    }
    for h in &parts.hosts {
        if let (Some(logins), Some(targets)) = (&h.logins, &h.targets) {
            check(format!("host `{}`", h.name), logins, Some(targets), true);
        }
    }
    if parts.default_targets.is_none() {
        for g in parts.groups.iter().filter(|g| g.targets.is_none() && !g.logins.is_empty()) {
            reader.fault_hint(
                g.pos,
                format!("group `{}` has logins but no targets, and `defaults` has none either", g.name),
                "add `targets: [docker, ...]` to one of them",
            );
        }
    }
}

/// For each group those above it. `None` when a child does not exist or the groups form a cycle.
fn ancestors(groups: &[Group], reader: &mut Reader<'_>) -> Option<Vec<BTreeSet<usize>>> {
    let index: HashMap<&str, usize> = groups.iter().enumerate().map(|(i, g)| (g.name.as_str(), i)).collect();
    let mut above: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); groups.len()];
    let mut parents_left = vec![0usize; groups.len()];
    let mut unknown = false;
    for group in groups {
        for child in &group.children {
            match index.get(child.value.as_str()) {
                Some(&c) => parents_left[c] += 1,
                None => {
                    unknown = true;
                    let message = format!("unknown group `{}` among the children of `{}`", child.value, group.name);
                    match hint_for(&child.value, index.keys().copied().collect::<BTreeSet<_>>(), "groups") {
                        Some(hint) => reader.fault_hint(child.pos, message, hint),
                        None => reader.fault(child.pos, message),
                    }
                }
            }
        }
    }
    // Parents first; what is left over hangs on a cycle.
    let mut ready: Vec<usize> = (0..groups.len()).filter(|&g| parents_left[g] == 0).collect();
    let mut done = 0;
    while let Some(g) = ready.pop() {
        done += 1;
        for child in &groups[g].children {
            let Some(&c) = index.get(child.value.as_str()) else { continue };
            let mut mine = above[g].clone();
            mine.insert(g);
            above[c].append(&mut mine);
            parents_left[c] -= 1;
            if parents_left[c] == 0 {
                ready.push(c);
            }
        }
    }
    if done < groups.len() {
        let cycle = cycle(groups, &index, &parents_left);
        let names: Vec<&str> = cycle.iter().map(|&g| groups[g].name.as_str()).collect();
        let [first, .., last] = cycle[..] else { unreachable!("a cycle names its first group twice") };
        let at = groups[cycle[cycle.len() - 2]].children.iter().find(|c| c.value == groups[last].name).map_or(groups[first].pos, |c| c.pos);
        reader.fault(at, format!("groups are their own children: {}", names.join(" > ")));
        return None;
    }
    (!unknown).then_some(above)
}

/// One cycle among the groups that still wait for a parent, its first group at both ends.
fn cycle(groups: &[Group], index: &HashMap<&str, usize>, waiting: &[usize]) -> Vec<usize> {
    // Every waiting group has a waiting parent, so walking up must come back.
    let parent_of = |g: usize| {
        (0..groups.len())
            .find(|&p| waiting[p] > 0 && groups[p].children.iter().any(|c| index.get(c.value.as_str()) == Some(&g)))
            .expect("a waiting group has a waiting parent")
    };
    let mut at = waiting.iter().position(|&n| n > 0).expect("some group waits, or there is no cycle");
    let mut walked = Vec::new();
    while !walked.contains(&at) {
        walked.push(at);
        at = parent_of(at);
    }
    let mut cycle: Vec<usize> = walked[walked.iter().position(|&g| g == at).expect("it was walked")..].to_vec();
    cycle.reverse();
    let first = (0..cycle.len()).min_by_key(|&i| cycle[i]).expect("a cycle has a group");
    cycle.rotate_left(first);
    cycle.push(cycle[0]);
    cycle
}

/// The hosts in inventory order, and that none under `hosts:` is in no group.
fn members<'a>(parts: &'a Parts, ancestors: &[BTreeSet<usize>], reader: &mut Reader<'_>) -> Vec<Member<'a>> {
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut members: Vec<Member<'a>> = Vec::new();
    for (g, group) in parts.groups.iter().enumerate() {
        for name in &group.hosts {
            let at = *index.entry(name).or_insert_with(|| {
                members.push(Member { name, groups: BTreeSet::new(), spec: None });
                members.len() - 1
            });
            members[at].groups.insert(g);
        }
    }
    let mut size = 0;
    for member in &mut members {
        let all: BTreeSet<usize> = member.groups.iter().flat_map(|&g| ancestors[g].iter().copied().chain([g])).collect();
        size += all.len();
        if size > RESOLVED_MAX {
            reader.fault(Pos::default(), format!("hosts and groups multiply to more than {RESOLVED_MAX}"));
            return Vec::new();
        }
        member.groups = all;
    }
    for spec in &parts.hosts {
        match index.get(spec.name.as_str()) {
            Some(&at) => members[at].spec = Some(spec),
            None => {
                let message = format!("host `{}` is in no group", spec.name);
                match super::fields::suggest(&spec.name, members.iter().map(|m| m.name)) {
                    Some(meant) => reader.fault_hint(spec.pos, message, format!("did you mean `{meant}`? Else list it under a group's `hosts`")),
                    None => reader.fault_hint(spec.pos, message, "list it under a group's `hosts`"),
                }
            }
        }
    }
    members
}

impl<'a> World<'a> {
    fn host(&self, member: &Member<'a>, conflicts: &mut Conflicts, places: &mut Places) -> Host {
        let mut pick = Pick { world: self, member, conflicts };
        let address = pick.setting("address", |c| c.address.as_ref());
        let port = pick.setting("port", |c| c.port.as_ref());
        let jump = pick.setting("jump", |c| c.jump.as_ref());
        let ssh_keys = pick.setting("ssh_key", |c| c.ssh_keys.as_ref()).unwrap_or_default();
        let becomes_root = pick.setting("become", |c| c.becomes_root.as_ref()).unwrap_or_default();
        let connection = pick.setting("connection", |c| c.connection.as_ref()).unwrap_or_default();
        let user = pick.setting("user", |c| c.user.as_ref());
        let host_keys = pick.setting("host_key", |c| c.host_keys.as_ref()).unwrap_or_default();
        let host_key_alias = pick.setting("host_key_alias", |c| c.host_key_alias.as_ref());
        let root = pick.setting("root", |c| c.root.as_ref()).unwrap_or_else(|| RemotePath::parse("/").expect("`/` is absolute"));
        let curl = pick.setting("curl", |c| c.curl.as_ref());
        let syslog = pick.setting("syslog", |c| c.syslog.as_ref()).unwrap_or_default();
        let flows = self.flows(member, conflicts);
        clash::check(&self.known, &flows, member, conflicts);
        let written: Vec<&Flow<'_>> = flows.iter().filter(|f| !f.logins.is_empty() || f.target.needs_no_login()).collect();
        let mut targets: Vec<Target> = written.iter().map(|f| target(f)).collect();
        for (target, flow) in targets.iter().zip(&written) {
            places.entry(key(target)).or_insert(flow.target.pos);
        }
        targets.sort_by(|a, b| (a.kind, &a.path, &a.user).cmp(&(b.kind, &b.path, &b.user)));
        let mut groups: Vec<String> = member.groups.iter().map(|&g| self.parts.groups[g].name.clone()).collect();
        groups.sort();
        Host {
            connection,
            address,
            port,
            user,
            jump,
            ssh_keys,
            becomes_root,
            host_keys,
            host_key_alias,
            root,
            curl,
            syslog,
            groups,
            targets,
            skip: self.parts.sourced.get(member.name).and_then(|s| s.skip.clone()),
            ..Host::named(member.name)
        }
    }

    /// Which logins flow into which target: every group by itself, since a login shall reach no file that its group does
    /// not name. What the host itself says replaces.
    fn flows(&self, member: &Member<'a>, conflicts: &mut Conflicts) -> Vec<Flow<'a>> {
        let own_targets = member.spec.and_then(|s| s.targets.as_ref());
        let own_logins = member.spec.and_then(|s| s.logins.as_ref());
        let groups = || member.groups.iter().map(|&g| &self.parts.groups[g]);
        let defaults = self.parts.default_targets.as_ref();
        let mut flows: Vec<Flow<'a>> = Vec::new();
        let mut add = |targets: Option<&'a Vec<TargetSpec>>, logins: &BTreeSet<&'a str>, conflicts: &mut Conflicts| {
            for target in targets.into_iter().flatten() {
                if !consumer(target.kind).logins {
                    merge(&mut flows, Flow { target, logins: BTreeSet::new() }, member, conflicts);
                    continue;
                }
                if logins.is_empty() && !target.needs_no_login() {
                    continue;
                }
                let narrowed: BTreeSet<&str> = match &target.narrow {
                    Some(narrow) => narrow.iter().map(|n| n.value.as_str()).filter(|n| logins.contains(n)).collect(),
                    None => logins.clone(),
                };
                if narrowed.is_empty() && !logins.is_empty() {
                    conflicts.add(target.pos, format!("target {} is narrowed to logins that the host does not have", target.kind), member.name);
                }
                merge(&mut flows, Flow { target, logins: narrowed }, member, conflicts);
            }
        };
        let set = |logins: &'a [Placed<String>]| logins.iter().map(|l| l.value.as_str()).collect::<BTreeSet<&'a str>>();
        match (own_logins, own_targets) {
            (Some(logins), Some(targets)) => add(Some(targets), &set(logins), conflicts),
            (None, Some(targets)) => add(Some(targets), &groups().flat_map(|g| set(&g.logins)).collect(), conflicts),
            (Some(logins), None) => {
                let logins = set(logins);
                let speaking: Vec<_> = groups().filter(|g| g.targets.is_some() || !g.logins.is_empty()).collect();
                for group in &speaking {
                    add(group.targets.as_ref().or(defaults), &logins, conflicts);
                }
                if speaking.is_empty() {
                    add(defaults, &logins, conflicts);
                }
            }
            (None, None) => {
                for group in groups().filter(|g| !g.logins.is_empty() || g.targets.is_some()) {
                    add(group.targets.as_ref().or(defaults), &set(&group.logins), conflicts);
                }
            }
        }
        flows
    }
}

/// Adds a flow to those for the same file.
fn merge<'a>(flows: &mut Vec<Flow<'a>>, new: Flow<'a>, member: &Member<'a>, conflicts: &mut Conflicts) {
    let Some(old) = flows.iter_mut().find(|f| f.target.is_file_of(new.target)) else {
        flows.push(new);
        return;
    };
    let (a, b) = (old.target, new.target);
    if a.kind != b.kind {
        conflicts.add(b.pos, format!("targets {} (line {}) and {} are both at {}", a.kind, a.pos.line, b.kind, b.path), member.name);
    } else if (&a.user, &a.owner, &a.group, a.mode, a.helper, &a.cred_helpers, a.restart, &a.mirror)
        != (&b.user, &b.owner, &b.group, b.mode, b.helper, &b.cred_helpers, b.restart, &b.mirror)
    {
        conflicts.add(b.pos, format!("target {} at {} has other options here than on line {}", b.kind, b.path, a.pos.line), member.name);
    }
    old.logins.extend(new.logins);
}

fn target(flow: &Flow<'_>) -> Target {
    let t = flow.target;
    Target {
        kind: t.kind,
        user: t.user.clone(),
        path: t.path.clone(),
        owner: t.owner.clone(),
        group: t.group.clone(),
        mode: t.mode,
        logins: flow.logins.iter().map(ToString::to_string).collect(),
        helper: t.helper,
        cred_helpers: t.cred_helpers.clone(),
        restart: t.restart,
        mirror: t.mirror.clone(),
    }
}

/// Chooses the settings of one host.
struct Pick<'p, 'a> {
    world: &'p World<'a>,
    member: &'p Member<'a>,
    conflicts: &'p mut Conflicts,
}

impl<'a> Pick<'_, 'a> {
    /// Host over the source that names it over child group over parent group over defaults; two groups of which none is above the other must agree.
    fn setting<T: Clone + PartialEq + 'a>(&mut self, key: &str, of: impl Fn(&'a Connection) -> Option<&'a Placed<T>>) -> Option<T> {
        let parts = self.world.parts;
        if let Some(own) = self.member.spec.and_then(|s| of(&s.connection)) {
            return Some(own.value.clone());
        }
        // What a source says of a host is said of the host, below what the inventory itself says of it.
        if let Some(own) = parts.sourced.get(self.member.name).and_then(|s| of(&s.connection)) {
            return Some(own.value.clone());
        }
        let saying: Vec<(usize, &Placed<T>)> = self.member.groups.iter().filter_map(|&g| of(&parts.groups[g].connection).map(|v| (g, v))).collect();
        // A group is overruled when one of the others is below it.
        let overruled = |g: usize| saying.iter().any(|(other, _)| self.world.ancestors[*other].contains(&g));
        let mut lowest = saying.iter().filter(|(g, _)| !overruled(*g));
        let Some((first_group, first)) = lowest.next() else { return of(&parts.defaults).map(|v| v.value.clone()) };
        for (group, value) in lowest {
            if value.value != first.value {
                let [a, b] = [*first_group, *group].map(|g| parts.groups[g].name.as_str());
                let message = format!("groups `{a}` (line {}) and `{b}` differ in `{key}`", first.pos.line);
                self.conflicts.add_hint(value.pos, message, format!("set `{key}` on the host, or in one group only"), self.member.name);
            }
        }
        Some(first.value.clone())
    }
}

/// Where, what, the way out, and the id of [`rule`].
type Fault = (Pos, String, Option<String>, &'static str);

/// Faults that many hosts may share: told once, with the first host and the number of others.
#[derive(Default)]
struct Conflicts {
    found: BTreeMap<Fault, (String, usize)>,
}

impl Conflicts {
    fn add(&mut self, pos: Pos, message: String, host: &str) {
        self.insert((pos, message, None, rule::INPUT), host);
    }

    fn add_hint(&mut self, pos: Pos, message: String, hint: String, host: &str) {
        self.add_of(rule::INPUT, pos, message, hint, host);
    }

    /// One that has a name of its own; see [`rule`].
    fn add_of(&mut self, rule: &'static str, pos: Pos, message: String, hint: String, host: &str) {
        self.insert((pos, message, Some(hint), rule), host);
    }

    fn insert(&mut self, fault: Fault, host: &str) {
        self.found.entry(fault).or_insert_with(|| (host.to_string(), 0)).1 += 1;
    }

    fn tell(self, reader: &mut Reader<'_>) {
        for ((pos, message, hint, rule), (host, count)) in self.found {
            let message = match count {
                1 => format!("{message}, on {host}"),
                n => format!("{message}, on {host} and {} more", n - 1),
            };
            reader.fault_of(rule, pos, message, hint);
        }
    }
}

/// Two hosts at one address and port are one host that would be written twice at the same time.
fn same_address(hosts: &[Host], world: &World<'_>, reader: &mut Reader<'_>) {
    // Behind another jump host an address is another one.
    let mut by_address: HashMap<(Address, &Option<Jump>), Vec<&Host>> = HashMap::new();
    for host in hosts.iter().filter(|h| h.connection == model::Connection::Ssh) {
        let Address { host: name, port } = host.inventory_address();
        by_address.entry((Address { host: name.to_ascii_lowercase(), port }, &host.jump)).or_default().push(host);
    }
    by_address.retain(|_, hosts| hosts.len() > 1);
    if by_address.is_empty() {
        return;
    }
    let places: HashMap<&str, Pos> = world.parts.hosts.iter().map(|h| (h.name.as_str(), h.pos)).collect();
    for shared in by_address.into_values() {
        let [first, second, more @ ..] = &shared[..] else { continue };
        // Where neither host speaks for itself, a group or the defaults gave them one address.
        let settings = world.parts.groups.iter().map(|g| &g.connection).chain([&world.parts.defaults]);
        let common = || settings.filter_map(|c| c.address.as_ref()).find(|a| Some(&a.value) == first.address.as_ref()).map(|a| a.pos);
        let pos = [second, first].iter().find_map(|h| places.get(h.name.as_str()).copied()).or_else(common).unwrap_or_default();
        let and_more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
        reader.fault(pos, format!("hosts `{}` and `{}`{and_more} are both at {}", first.name, second.name, first.inventory_address()));
    }
}

/// What is no fault but makes a run say that all is well when nothing was meant to happen.
fn look_odd(world: &World<'_>, hosts: &[Host], file: &str, notes: &mut Vec<Problem>) {
    let mut note = |pos: Pos, message: String| {
        notes.push(Problem { rule: rule::NO_EFFECT, file: file.to_string(), line: pos.line, column: pos.column, message, hint: None })
    };
    for group in &world.parts.groups {
        if group.targets.iter().flatten().any(|t| !t.needs_no_login()) && group.logins.is_empty() {
            note(group.pos, format!("group `{}` has targets but no logins, so they get none from it", group.name));
        }
        if group.hosts.is_empty() && group.children.is_empty() {
            note(group.pos, format!("group `{}` has no hosts", group.name));
        }
    }
    let mut idle = hosts.iter().filter(|h| h.targets.is_empty());
    if let Some(first) = idle.next() {
        let more = match idle.count() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        note(Pos::default(), format!("host {}{more} gets no login", first.name));
    }
}
