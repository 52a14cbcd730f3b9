//! Targets, as lists of targets name them.

use super::connection::account;
use crate::format::consumer;
use crate::format::mirror;
use crate::inventory::fields::{Fields, Keys, Placed, Reader, hint_for};
use crate::inventory::yaml::{Node, Pos, Value};
use crate::model::mirror::Runtime;
use crate::model::registry::HUB;
use crate::model::{CredHelper, FileMode, HelperPolicy, Mirror, Registry, RemotePath, Target, TargetKind};

pub(super) const TARGET_KEYS: Keys = Keys {
    known: &["user", "path", "owner", "group", "mode", "logins", "login", "helper", "cred_helpers", "restart", "mirror", "for", "runtimes"],
    reserved: &[],
    private: false,
};

/// Consumers that later versions will write for.
const LATER_TARGETS: [&str; 2] = ["kubernetes", "nerdctl"];

/// Those whose programs ask the helpers that their file names.
const ASKS_HELPERS: [TargetKind; 5] = [TargetKind::Docker, TargetKind::Podman, TargetKind::Apptainer, TargetKind::Helm, TargetKind::Crio];

/// Those whose file may be given helpers instead of passwords.
const TAKES_HELPERS: [TargetKind; 2] = [TargetKind::Docker, TargetKind::Podman];

/// A target as a list of targets names it.
#[derive(Clone)]
pub(crate) struct TargetSpec {
    pub(crate) pos: Pos,
    pub(crate) kind: TargetKind,
    pub(crate) user: Option<String>,
    pub(crate) path: RemotePath,
    pub(crate) owner: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) mode: FileMode,
    pub(crate) helper: HelperPolicy,
    /// Sorted by registry, each once.
    pub(crate) cred_helpers: Vec<CredHelper>,
    pub(crate) restart: bool,
    pub(crate) mirror: Option<Mirror>,
    /// `logins:` or `login:`, which narrow it.
    pub(crate) narrow: Option<Vec<Placed<String>>>,
}

impl TargetSpec {
    /// Its path for messages.
    fn shown_path(&self) -> &str {
        if self.path.as_str() == Target::AUTO { "auto" } else { self.path.as_str() }
    }

    /// Whether it is written though no login flows into it.
    pub(crate) fn needs_no_login(&self) -> bool {
        !self.cred_helpers.is_empty() || !consumer(self.kind).logins
    }

    /// Whether both name one file. Those in the homes of two users are two, and so are those that the node tells for two users.
    pub(crate) fn is_file_of(&self, other: &TargetSpec) -> bool {
        let in_a_home = Target::below_home(&self.path).is_some() || self.path.as_str() == Target::AUTO;
        self.path == other.path && (self.user == other.user || !in_a_home)
    }
}

/// A list of targets: names, or maps of one name and its options.
pub(crate) fn targets(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Vec<TargetSpec>> {
    let Value::Seq(items) = &node.value else {
        reader.fault_hint(node.pos, format!("`targets` of {what} must be a list, not {}", node.word()), "for example `targets: [docker, enroot]`");
        return None;
    };
    reader.short(node, &format!("`targets` of {what}"))?;
    let mut found: Vec<TargetSpec> = Vec::new();
    for item in items {
        let Some(target) = target(reader, item, what) else { continue };
        match found.iter().find(|f| f.is_file_of(&target)) {
            Some(twin) if twin.kind == target.kind => {
                reader.fault(target.pos, format!("target {} at {} stands twice in {what}", target.kind, target.shown_path()))
            }
            Some(twin) => reader.fault(target.pos, format!("targets {} and {} of {what} are both at {}", twin.kind, target.kind, target.path)),
            None => found.push(target),
        }
    }
    Some(found)
}

fn target(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<TargetSpec> {
    let (name, pos, options) = match &node.value {
        Value::Map(entries) => match &entries[..] {
            [entry] => (entry.key.as_str(), entry.key_pos, Some(&entry.value)),
            _ => {
                reader.fault_hint(
                    node.pos,
                    format!("a target of {what} must be one name with its options, not a map of {}", entries.len()),
                    "indent the options below the name: `- enroot: {group: users}`",
                );
                return None;
            }
        },
        _ => {
            let text = reader.text(node, &format!("a target of {what}"))?;
            (text.value, text.pos, None)
        }
    };
    let Some(kind) = TargetKind::parse(name) else {
        if LATER_TARGETS.contains(&name) {
            reader.fault(pos, format!("target `{name}` is not supported yet"));
        } else {
            let names = TargetKind::ALL.map(TargetKind::name);
            let hint = hint_for(name, names, "targets").unwrap_or_default();
            reader.fault_hint(pos, format!("unknown target `{name}`"), hint);
        }
        return None;
    };
    let before = reader.problems.len();
    let mut spec = TargetSpec {
        pos,
        kind,
        user: None,
        path: RemotePath::parse(consumer(kind).default_path).expect("the default paths are absolute and plain"),
        owner: None,
        group: None,
        mode: FileMode::public(0o600),
        helper: HelperPolicy::default(),
        cred_helpers: Vec::new(),
        restart: false,
        mirror: None,
        narrow: None,
    };
    match options {
        Some(node) if node.is_null() => reader.fault_hint(pos, format!("target `{name}` of {what} has no options"), format!("write `- {name}`")),
        Some(node) => target_options(reader, node, &mut spec),
        None if kind == TargetKind::DockerMirror => no_mirror(reader, pos),
        None => {}
    }
    (reader.problems.len() == before).then_some(spec)
}

fn target_options(reader: &mut Reader<'_>, node: &Node, spec: &mut TargetSpec) {
    let kind = spec.kind;
    let label = |key: &str| format!("`{key}` of target {kind}");
    let fields = reader.keyed(node, &format!("target {kind}"), TARGET_KEYS);
    if kind == TargetKind::DockerMirror {
        mirror_options(reader, node, &fields, spec);
    } else if let Some(entry) = ["mirror", "for", "runtimes"].into_iter().find_map(|key| fields.get(key)) {
        reader.fault(entry.key_pos, format!("target {kind} knows no `{}`; it is for docker-mirror", entry.key));
    }
    if let Some(user) = fields.value("user").and_then(|n| reader.text(n, &label("user"))) {
        match account(user.value, "is no user name") {
            Ok(_) if !consumer(kind).in_home => {
                reader.fault_hint(user.pos, format!("{}: its files are root's, for the whole node", label("user")), "let a `group:` read them");
            }
            Ok(user) if user == "root" => {}
            Ok(user) => {
                let below = spec.path.as_str().trim_start_matches("/root");
                spec.path = RemotePath::parse(&format!("{}{below}", Target::HOME)).expect("a default path below another directory");
                spec.user = Some(user);
            }
            Err(why) => reader.fault(user.pos, format!("{} {why}", label("user"))),
        }
    }
    if let Some(path) = fields.value("path").and_then(|n| reader.text(n, &label("path"))) {
        let text = match path.value.strip_prefix("~/") {
            _ if path.value == "auto" && kind == TargetKind::Enroot => Target::AUTO.to_string(),
            Some(rest) if spec.user.is_some() => format!("{}/{rest}", Target::HOME),
            Some(_) if fields.get("user").is_none() => {
                reader.fault_hint(path.pos, format!("{} begins with `~/`, and no `user:` says whose home that is", label("path")), "add `user: NAME`");
                return;
            }
            Some(rest) => format!("/root/{rest}"),
            None if RemotePath::parse(path.value).is_ok_and(|p| p.as_str().starts_with(Target::HOME)) => {
                reader.fault(path.pos, format!("{} begins with `/~`; a path in the home of the target's `user:` begins with `~/`", label("path")));
                return;
            }
            None => path.value.to_string(),
        };
        match RemotePath::parse(&text) {
            Ok(p) if p.as_str() == Target::HOME => reader.fault(path.pos, format!("{} is the home itself; name a file", label("path"))),
            Ok(p) if p.as_str() == "/" => reader.fault(path.pos, format!("{} is the root directory", label("path"))),
            Ok(p) if !consumer(kind).directory && path.value.ends_with('/') => {
                reader.fault(path.pos, format!("{}: `{}` is a directory; name the file", label("path"), p));
            }
            Ok(p) => spec.path = p,
            Err(why) => reader.fault(path.pos, format!("{}: {why}", label("path"))),
        }
    }
    for (key, slot) in [("owner", &mut spec.owner), ("group", &mut spec.group)] {
        if let Some(text) = fields.value(key).and_then(|n| reader.text_or_number(n, &label(key))) {
            // 4294967295 is what chown takes for "leave it".
            let number_fits = !text.value.bytes().all(|b| b.is_ascii_digit()) || text.value.parse::<u32>().is_ok_and(|n| n < u32::MAX);
            match account(text.value, "is no name or number of the node's passwd or group file") {
                Ok(account) if number_fits => *slot = Some(account),
                Ok(_) => reader.fault(text.pos, format!("{} is no name or number of the node's passwd or group file", label(key))),
                Err(why) => reader.fault(text.pos, format!("{} {why}", label(key))),
            }
        }
    }
    if let (Some(user), Some(owner)) = (&spec.user, &spec.owner)
        && user != owner
    {
        let pos = fields.get("owner").map_or(node.pos, |e| e.key_pos);
        reader.fault_hint(pos, format!("target {kind} is written as {user}, who cannot give files to {owner}"), "leave `owner` out, or `user`");
    }
    match fields.value("mode").map(|n| (n, mode(reader, n, &label("mode")))) {
        Some((_, Some(mode))) => spec.mode = mode,
        Some((_, None)) => {}
        None if matches!(kind, TargetKind::Singularity | TargetKind::Apptainer) && spec.group.is_some() => spec.mode = FileMode::public(0o640),
        None if kind == TargetKind::DockerMirror => spec.mode = FileMode::public(0o644),
        None => {}
    }
    match (fields.get("logins"), fields.get("login")) {
        (Some(_), Some(login)) => reader.fault(login.key_pos, format!("target {kind} has both `logins` and `login`; keep one")),
        (Some(logins), None) => {
            spec.narrow = reader.names(&logins.value, &label("logins"));
            if spec.narrow.as_ref().is_some_and(Vec::is_empty) {
                reader.fault_hint(logins.value.pos, format!("{} is empty, so it would get none", label("logins")), "leave the target out");
            }
        }
        (None, Some(login)) => {
            let text = reader.text(&login.value, &label("login"));
            spec.narrow = text.map(|t| vec![Placed { value: t.value.to_string(), pos: t.pos }]);
        }
        (None, None) => {}
    }
    if let Some(entry) = fields.get("restart")
        && let Some(flag) = reader.flag(&entry.value, &label("restart"))
    {
        if consumer(kind).restart.is_empty() {
            reader.fault_hint(
                entry.key_pos,
                format!("target {kind} has no service to restart"),
                "leave `restart` out; its programs read the file anew each time",
            );
        }
        spec.restart = flag.value;
    }
    if let Some(entry) = fields.get("helper")
        && let Some(text) = reader.text(&entry.value, &label("helper"))
    {
        match text.value {
            _ if !ASKS_HELPERS.contains(&kind) => {
                reader.fault(entry.key_pos, format!("target {kind} knows no credential helpers; `helper` is for {}", names(&ASKS_HELPERS)));
            }
            "fail" => spec.helper = HelperPolicy::Fail,
            "remove" => spec.helper = HelperPolicy::Remove,
            "store" => spec.helper = HelperPolicy::Store,
            _ => reader.fault_hint(text.pos, format!("{} is unknown", label("helper")), "it is `fail`, `remove` or `store`"),
        }
    }
    match fields.get("cred_helpers") {
        Some(entry) if !TAKES_HELPERS.contains(&kind) => {
            reader.fault(entry.key_pos, format!("`cred_helpers` is for {}, and not for {kind}", names(&TAKES_HELPERS)));
        }
        Some(entry) => spec.cred_helpers = cred_helpers(reader, &entry.value, &label("cred_helpers")),
        None => {}
    }
}

fn names(kinds: &[TargetKind]) -> String {
    kinds.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ")
}

/// Registries and the helpers to ask for them: `{REGISTRY: ecr-login}`.
fn cred_helpers(reader: &mut Reader<'_>, node: &Node, label: &str) -> Vec<CredHelper> {
    let mut found: Vec<CredHelper> = Vec::new();
    let Value::Map(entries) = &node.value else {
        reader.fault_hint(node.pos, format!("{label} must be a map of registries and helpers, not {}", node.word()), "for example `{ghcr.io: ecr-login}`");
        return found;
    };
    if entries.is_empty() {
        reader.fault_hint(node.pos, format!("{label} is empty"), "leave it out");
    }
    for entry in entries.iter().take(super::super::LIST_MAX) {
        let Some(helper) = reader.text(&entry.value, &format!("a helper of {label}")) else { continue };
        // docker runs `docker-credential-NAME`; an empty name makes podman run `docker-credential-`.
        if helper.value.is_empty() || helper.value.len() > 64 || !helper.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            let hint = "write what follows `docker-credential-`, as in `ecr-login`";
            reader.fault_hint(helper.pos, format!("{label} names no helper: 1 to 64 letters, digits, `.`, `_` and `-`"), hint);
            continue;
        }
        match Registry::parse(&entry.key) {
            Err(why) => reader.fault(entry.key_pos, format!("{label}: {why}")),
            Ok((registry, _)) if registry.path().is_some() => {
                let hint = format!("write `{}`", registry.authority());
                reader.fault_hint(entry.key_pos, format!("{label}: registry `{registry}` has a path, and helpers know hosts only"), hint);
            }
            Ok((registry, _)) if found.iter().any(|f| f.registry == registry) => {
                reader.fault(entry.key_pos, format!("{label} has two helpers for {registry}"));
            }
            Ok((registry, _)) => found.push(CredHelper { registry, helper: helper.value.to_string() }),
        }
    }
    if entries.len() > super::super::LIST_MAX {
        reader.fault(node.pos, format!("{label} has more than {} registries", super::super::LIST_MAX));
    }
    found.sort_by(|a, b| a.registry.cmp(&b.registry));
    found
}

fn no_mirror(reader: &mut Reader<'_>, pos: Pos) {
    reader.fault_hint(pos, "target docker-mirror has no `mirror`", "write `- docker-mirror: {mirror: https://HOST, for: docker.io}`");
}

/// What a mirror is told by: where it is, what it stands for (`docker.io`) and who uses it (all that can).
fn mirror_options(reader: &mut Reader<'_>, node: &Node, fields: &Fields<'_>, spec: &mut TargetSpec) {
    let label = |key: &str| format!("`{key}` of target docker-mirror");
    for key in ["user", "path", "owner", "group", "logins", "login"] {
        if let Some(entry) = fields.get(key) {
            reader.fault(entry.key_pos, format!("target docker-mirror knows no `{key}`: its files lie where each program looks, are root's and hold no login"));
        }
    }
    let Some(url) = fields.value("mirror") else { return no_mirror(reader, node.pos) };
    let Some(url) = reader.text(url, &label("mirror")) else { return };
    let mut registry = Registry::parse(HUB).expect("a constant").0;
    if let Some(text) = fields.value("for").and_then(|n| reader.text(n, &label("for"))) {
        match Registry::parse(text.value) {
            Ok((found, _)) if found.path().is_some() => return reader.fault(text.pos, format!("{} is a registry without a path", label("for"))),
            Ok((found, _)) if RemotePath::parse(&format!("/{}", found.authority())).is_err() => {
                return reader.fault(text.pos, format!("{} needs a host name, which names its files", label("for")));
            }
            Ok((found, _)) => registry = found,
            Err(why) => return reader.fault(text.pos, format!("{}: {why}", label("for"))),
        }
    }
    let mut mirror = match Mirror::parse(url.value, registry) {
        Ok(mirror) => mirror,
        Err(why) => return reader.fault(url.pos, format!("{}: {why}", label("mirror"))),
    };
    if let Some(list) = fields.value("runtimes") {
        let Some(names) = reader.names(list, &label("runtimes")) else { return };
        if names.is_empty() {
            return reader.fault(list.pos, format!("{} leaves none", label("runtimes")));
        }
        let mut runtimes = Vec::new();
        for name in names {
            match Runtime::parse(&name.value) {
                None => reader.fault_hint(name.pos, format!("unknown runtime `{}`", name.value), "they are docker, podman and containerd"),
                Some(runtime) => match mirror.refusal(runtime) {
                    Some(why) => reader.fault(name.pos, format!("this mirror is not for {}: {why}", runtime.name())),
                    None => runtimes.push(runtime),
                },
            }
        }
        runtimes.sort();
        mirror.runtimes = runtimes;
    }
    let Some(first) = mirror.runtimes.first() else { return };
    spec.path = mirror::path(&mirror, *first);
    spec.mirror = Some(mirror);
}

/// `"0640"`: YAML 1.1 reads 0640 as 416, YAML 1.2 as 640, so only text is taken.
fn mode(reader: &mut Reader<'_>, node: &Node, label: &str) -> Option<FileMode> {
    if let Some((_, _)) = node.scalar().filter(|_| node.word() == "a number") {
        reader.fault_hint(node.pos, format!("{label} is a number, which YAML readers take as octal or decimal"), "write it in quotes: \"0640\"");
        return None;
    }
    let text = reader.text(node, label)?;
    let octal = (3..=4).contains(&text.value.len()) && text.value.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let bits = if octal { u32::from_str_radix(text.value, 8).ok() } else { None };
    let Some(bits) = bits else {
        reader.fault_hint(text.pos, format!("{label} is no octal mode"), "write \"0600\" or \"0640\"");
        return None;
    };
    FileMode::secret(bits).map_err(|why| reader.fault(text.pos, format!("{label}: {why}"))).ok()
}
