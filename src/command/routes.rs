//! The way to each host: what the flags, the inventory and ssh_config say together, in that order, for it and for every jump host
//! before it. All of it is decided before the first connection.

use std::collections::{BTreeSet, HashMap};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use super::console::ask_terminal;
use super::files;
use super::reach::Purpose;
use crate::cli::SshArgs;
use crate::error::{Error, Kind, Result};
use crate::model::{Address, Connection, Hop, Host, Jump, SSH_PORT};
use crate::transport::ssh::auth::Keys;
use crate::transport::ssh::command;
use crate::transport::ssh::config::{Answer, Tokens};
use crate::transport::ssh::keyring::{KeyRing, KeySources};
use crate::transport::ssh::known_hosts::KnownHosts;
use crate::transport::ssh::openssh::{Question, SshConfig};
use crate::transport::ssh::route::{Endpoint, Route, Via};
use crate::ui;

/// The largest known_hosts file that is read, in bytes: 10,000 nodes with three keys each are 6 MiB.
const KNOWN_HOSTS_BYTES_MAX: u64 = 64 << 20;

/// Jump hosts before one host, however they come together: each holds what the next one needs, down to the last.
const HOPS_MAX: usize = 16;

/// Routes by the names of their hosts.
pub(super) type Routes = HashMap<String, Arc<Route>>;

/// Makes routes.
pub(super) struct Router<'a> {
    /// Every host of the inventory may be a jump host.
    inventory: HashMap<&'a str, &'a Host>,
    config: SshConfig,
    args: &'a SshArgs,
    home: Option<PathBuf>,
    machine: Tokens,
    purpose: Purpose,
    ring: KeyRing,
    known_hosts: HashMap<Vec<PathBuf>, KnownHosts>,
    /// Jump hosts, each made once, so that all behind it share one connection.
    bastions: HashMap<String, Arc<Route>>,
}

impl<'a> Router<'a> {
    /// For this inventory.
    pub(super) fn new(inventory: &'a [Host], config: SshConfig, args: &'a SshArgs, home: Option<PathBuf>, purpose: Purpose) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let text = |path: &str| std::fs::read_to_string(path).map(|t| t.trim().to_string()).unwrap_or_default();
        let machine = Tokens {
            home: home.as_ref().map(|h| h.display().to_string()).unwrap_or_default(),
            uid: std::fs::metadata("/proc/self").map(|m| m.uid().to_string()).unwrap_or_default(),
            local_user: config.local_user().unwrap_or_default().to_string(),
            local_host: text("/proc/sys/kernel/hostname"),
            ..Tokens::default()
        };
        let inventory = inventory.iter().map(|h| (h.name.as_str(), h)).collect();
        Router { inventory, config, args, home, machine, purpose, ring: KeyRing::default(), known_hosts: HashMap::new(), bastions: HashMap::new() }
    }

    /// The routes of these hosts, and how many files each host takes while it is in flight.
    pub(super) async fn routes(mut self, hosts: &[Host]) -> Result<(Routes, u64)> {
        let hosts: Vec<&Host> = hosts.iter().filter(|h| h.connection == Connection::Ssh && h.skip.is_none()).collect();
        self.ask(&hosts).await?;
        self.warn_of_weak_checking(&hosts);
        let mut routes = Routes::new();
        let mut taken: HashMap<(Address, String), (&str, bool)> = HashMap::new();
        let mut files_each = 1;
        for host in hosts {
            let route = self.route(host, None, &mut Vec::new()).await?;
            let Address { host: address, port } = &route.end.address;
            let place = (Address { host: address.to_ascii_lowercase(), port: *port }, way(&route.via, str::to_string));
            let of_config = route.end.address != host.inventory_address();
            if let Some((other, other_of_config)) = taken.insert(place, (&host.name, of_config)) {
                let says = if of_config || other_of_config { ", says ssh_config" } else { "" };
                return Err(Error::usage(format!("hosts {other} and {} are both at {}{says}", host.name, route.end.address))
                    .hint("limit the run to one of them, or give one an `address:` of its own"));
            }
            let keys = route.end.keys.files_each();
            files_each = files_each.max(match &route.via {
                Via::Direct => keys,
                Via::Command(_) => keys - 1 + command::FILES_EACH,
                Via::Jump(_) => keys - 1,
            });
            routes.insert(host.name.clone(), Arc::new(route));
        }
        Ok((routes, files_each))
    }

    /// Asks ssh_config about these hosts, their jump hosts, and theirs.
    async fn ask(&mut self, hosts: &[&Host]) -> Result<()> {
        let mut open: Vec<(Host, bool)> = hosts.iter().map(|h| ((*h).clone(), false)).collect();
        let mut asked = BTreeSet::new();
        while !open.is_empty() {
            let questions: BTreeSet<Question> = open.iter().map(|(host, has_way)| question(host, *has_way)).collect();
            let _shown = self.config.asks_for_each().then(|| ui::progress::waiting(format!("asking ssh for its configuration of {} hosts", questions.len())));
            self.config.ask_all(questions).await.map_err(Error::usage)?;
            let mut next = Vec::new();
            for (host, has_way) in open {
                if has_way || !asked.insert(question(&host, false)) {
                    continue;
                }
                if let Jump::Through(hops) = self.jump(&host) {
                    next.extend(hops.iter().enumerate().map(|(i, hop)| (self.jump_host(hop), i > 0)));
                }
            }
            open = next;
        }
        Ok(())
    }

    /// The jump hosts' part of a host: the inventory before ssh_config. What lies behind the host itself is no way to it, so that
    /// `jump: bastion` among the defaults may hold for bastion too.
    fn jump(&self, host: &Host) -> Jump {
        let jump = host.jump.clone().or_else(|| self.config.answer(&question(host, false)).jump.clone()).unwrap_or(Jump::Direct);
        match jump {
            Jump::Through(mut hops) => {
                if let Some(at) = hops.iter().position(|h| h.host == host.name) {
                    hops.truncate(at);
                }
                if hops.is_empty() { Jump::Direct } else { Jump::Through(hops) }
            }
            other => other,
        }
    }

    /// A jump host as a host: the inventory's of that name, else just the name.
    fn jump_host(&self, hop: &Hop) -> Host {
        let mut host = self.inventory.get(hop.host.as_str()).map_or_else(|| Host::named(&hop.host), |h| (*h).clone());
        host.user = hop.user.clone().or(host.user);
        host.port = hop.port.or(host.port);
        host
    }

    /// The route of one host. `before` is the jump host before it in a chain, which overrules its own; `path` are the names on the way.
    fn route<'s>(&'s mut self, host: &'s Host, before: Option<Arc<Route>>, path: &'s mut Vec<String>) -> Pin<Box<dyn Future<Output = Result<Route>> + 's>> {
        Box::pin(async move {
            if path.contains(&host.name) {
                path.push(host.name.clone());
                return Err(Error::usage(format!("jump hosts lead in a circle: {}", path.join(", "))).hint("give one of them `jump: none`"));
            }
            if path.len() > HOPS_MAX {
                return Err(too_far(&path[0]));
            }
            let answer = self.config.answer(&question(host, before.is_some())).clone();
            if answer.passes_descriptor && host.jump.is_none() && before.is_none() {
                return Err(Error::usage(format!("host {}: ssh_config sets ProxyUseFdpass, which regprov does not do", host.name))
                    .hint("set `jump:` or `proxy_command:` for it in the inventory"));
            }
            let via = match (before, self.jump(host)) {
                (Some(before), _) => Via::Jump(before),
                (None, Jump::Direct) => Via::Direct,
                (None, Jump::Command(line)) => Via::Command(line),
                (None, Jump::Through(hops)) => {
                    path.push(host.name.clone());
                    let mut before: Option<Arc<Route>> = None;
                    for hop in &hops {
                        let hop = self.jump_host(hop);
                        before = Some(self.bastion(&hop, before, path).await?);
                    }
                    path.pop();
                    Via::Jump(before.expect("there is a hop"))
                }
            };
            if hops(&via) > HOPS_MAX {
                return Err(too_far(path.first().unwrap_or(&host.name)));
            }
            // Jump hosts are logged in to whatever it is for.
            let logs_in = self.purpose == Purpose::LogIn || !path.is_empty();
            let end = self.endpoint(host, &answer, &via, logs_in).await?;
            // The way of a host names its jump hosts.
            if path.is_empty() {
                tracing::info!(host = %host.name, address = %end.address, user = %end.user, way = %way(&via, program_of), "the way there");
            }
            Ok(Route { via, end })
        })
    }

    async fn bastion(&mut self, host: &Host, before: Option<Arc<Route>>, path: &mut Vec<String>) -> Result<Arc<Route>> {
        let route = self.route(host, before, path).await?;
        let key = format!("{}\n{}@{}\n{}", route.end.name, route.end.user, route.end.address, way(&route.via, str::to_string));
        Ok(self.bastions.entry(key).or_insert_with(|| Arc::new(route)).clone())
    }

    async fn endpoint(&mut self, host: &Host, answer: &Answer, via: &Via, logs_in: bool) -> Result<Endpoint> {
        let address = Address {
            host: host.address.clone().or_else(|| answer.host_name.clone()).unwrap_or_else(|| host.name.clone()),
            port: host.port.or(answer.port).unwrap_or(SSH_PORT),
        };
        let user = host.user.clone().or_else(|| answer.user.clone()).unwrap_or_else(|| "root".to_string());
        let host_key_alias = host.host_key_alias.clone().or_else(|| answer.host_key_alias.clone());
        let tokens = Tokens {
            name: host.name.clone(),
            host: address.host.clone(),
            port: address.port.to_string(),
            user: user.clone(),
            host_key_alias: host_key_alias.clone().unwrap_or_else(|| host.name.clone()),
            jump: match (via, &answer.jump) {
                (Via::Jump(_), Some(jump @ Jump::Through(_))) => jump.to_string(),
                _ => String::new(),
            },
            ..self.machine.clone()
        };
        let keys = if logs_in { self.keys(host, answer, &tokens).await? } else { Arc::default() };
        let known_hosts = self.known_hosts(host, answer, &tokens)?;
        let connect = answer.connect;
        Ok(Endpoint { name: host.name.clone(), address, user, keys, host_keys: host.host_keys.clone(), host_key_alias, known_hosts, connect })
    }

    /// Our keys for a host.
    async fn keys(&mut self, host: &Host, answer: &Answer, tokens: &Tokens) -> Result<Arc<Keys>> {
        let expand = |path: &String| expand(tokens, path).map(PathBuf::from).map_err(|why| of_config(host, &why));
        let socket = || std::env::var_os("SSH_AUTH_SOCK").filter(|s| !s.is_empty() && !self.args.no_agent).map(PathBuf::from);
        // Of named files the private half may be in the agent; its other keys are not offered then.
        let only = |files: Vec<PathBuf>| KeySources { files, named: true, agent: socket(), only_these: true, ..KeySources::default() };
        let sources = if !self.args.ssh_keys.is_empty() {
            only(self.args.ssh_keys.clone())
        } else if !host.ssh_keys.is_empty() {
            let files: Vec<PathBuf> =
                host.ssh_keys.iter().map(|f| PathBuf::from(f.strip_prefix("~/").map_or(f.clone(), |rest| format!("{}/{rest}", tokens.home)))).collect();
            only(files)
        } else {
            let usual = || self.home.iter().flat_map(|h| ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| h.join(".ssh").join(name))).collect();
            let files = match &answer.identity_files {
                Some(files) => files.iter().map(expand).collect::<Result<_>>()?,
                None => usual(),
            };
            let certificates = answer.certificates.iter().map(expand).collect::<Result<_>>()?;
            let agent = match answer.agent.as_deref() {
                _ if self.args.no_agent => None,
                Some("none") => None,
                None | Some("SSH_AUTH_SOCK") => socket(),
                // readconf.c: `$NAME` alone names a variable that holds the path.
                Some(named) => match named.strip_prefix('$').filter(|n| !n.starts_with('{')) {
                    Some(variable) => std::env::var_os(variable).filter(|s| !s.is_empty()).map(PathBuf::from),
                    None => Some(expand(&named.to_string())?),
                },
            };
            KeySources { files, named: false, certificates, agent, only_these: answer.identities_only }
        };
        let terminal = std::io::stdin().is_terminal();
        let mut ask = |path: &Path| if terminal { ask_terminal(&format!("passphrase of {}", path.display())).ok() } else { None };
        let keys = self.ring.keys(&sources, &mut ask).await.map_err(Error::usage)?;
        if keys.is_empty() && !self.args.ask_pass {
            let what = match answer.identity_files.is_some() || answer.agent.is_some() {
                true => format!("host {}: ssh_config leaves no SSH key to log in with", host.name),
                false => "there is no SSH key to log in with".to_string(),
            };
            let why = keys.skipped().iter().fold(what, |all, one| format!("{all}\n{one}"));
            return Err(Error::usage(why).hint("name a key with --ssh-key, load one into the SSH agent, or make ~/.ssh/id_ed25519, id_ecdsa or id_rsa"));
        }
        Ok(keys)
    }

    /// The files that know a host's key, each set of them read once.
    fn known_hosts(&mut self, host: &Host, answer: &Answer, tokens: &Tokens) -> Result<KnownHosts> {
        let (files, must_exist) = if !self.args.known_hosts.is_empty() {
            (self.args.known_hosts.clone(), true)
        } else {
            let own = || self.home.iter().flat_map(|h| ["known_hosts", "known_hosts2"].map(|n| h.join(".ssh").join(n))).collect();
            let global = || ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from).to_vec();
            let expand = |path: &String| expand(tokens, path).map(PathBuf::from).map_err(|why| of_config(host, &why));
            let mut files: Vec<PathBuf> = match &answer.user_known_hosts {
                Some(files) => files.iter().map(expand).collect::<Result<_>>()?,
                None => own(),
            };
            files.extend(answer.global_known_hosts.as_ref().map_or_else(global, |files| files.iter().map(PathBuf::from).collect()));
            files.retain(|f| f.exists());
            (files, false)
        };
        if let Some(known) = self.known_hosts.get(&files) {
            return Ok(known.clone());
        }
        let mut read = Vec::new();
        for path in &files {
            // ssh passes over what is no file, such as /dev/null.
            let content = match must_exist || path.is_file() {
                true => files::read(path, KNOWN_HOSTS_BYTES_MAX).map_err(|e| Error { kind: Kind::Usage, ..e })?.to_vec(),
                false => Vec::new(),
            };
            read.push((path.display().to_string(), content));
        }
        let known = KnownHosts::parse(&read);
        self.known_hosts.insert(files, known.clone());
        Ok(known)
    }

    /// Host keys are always checked strictly; who asked for less is told once.
    fn warn_of_weak_checking(&self, hosts: &[&Host]) {
        let mut rest = hosts.iter().filter_map(|h| self.config.answer(&question(h, false)).weak_checking.as_ref().map(|weak| (h, weak)));
        if let Some((host, weak)) = rest.next() {
            let name = &host.name;
            let more = match rest.count() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            ui::warning(&format!(
                "ssh_config sets StrictHostKeyChecking {weak} for {name}{more}; regprov does not honour it: unknown and changed host keys are refused"
            ));
        }
    }
}

fn question(host: &Host, has_way: bool) -> Question {
    Question { name: host.name.clone(), address: host.address.clone(), user: host.user.clone(), port: host.port, has_way: has_way || host.jump.is_some() }
}

fn too_far(host: &str) -> Error {
    Error::usage(format!("host {host}: there are more than {HOPS_MAX} jump hosts on the way to it"))
        .hint("look at `jump:` of its jump hosts, and at ssh_config")
}

/// How many jump hosts there are on a way.
fn hops(via: &Via) -> usize {
    let (mut via, mut count) = (via, 0);
    while let Via::Jump(route) = via {
        (via, count) = (&route.via, count + 1);
    }
    count
}

/// The way to a server, for people and to tell ways apart; `command` says how a proxy command is told.
fn way(via: &Via, command: fn(&str) -> String) -> String {
    match via {
        Via::Direct => "direct".to_string(),
        Via::Command(line) => command(line),
        Via::Jump(route) => {
            let Endpoint { user, address, .. } = &route.end;
            match &route.via {
                Via::Direct => format!("{user}@{address}"),
                before => format!("{}, {user}@{address}", way(before, command)),
            }
        }
    }
}

/// What is told of a proxy command: its program alone, since its arguments may hold a password (`sshpass -p`).
fn program_of(line: &str) -> String {
    format!("proxy command {}", line.split_whitespace().next().unwrap_or_default())
}

fn expand(tokens: &Tokens, path: &str) -> std::result::Result<String, String> {
    tokens.expand(path, &|name| std::env::var(name).ok())
}

fn of_config(host: &Host, why: &str) -> Error {
    Error::usage(format!("host {}: ssh_config: {why}", host.name))
}
