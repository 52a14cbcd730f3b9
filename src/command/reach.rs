//! How the hosts are reached: keys, known_hosts, deadlines.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::console::ask_terminal;
use super::files;
use super::terminal::Terminal;
use crate::cli::SshArgs;
use crate::error::{Error, Kind, Result};
use crate::model::{Connection, Host};
use crate::transport::gate::Gate;
use crate::transport::ssh::auth::Keys;
use crate::transport::ssh::keyring::{KeyRing, KeySources};
use crate::transport::ssh::known_hosts::KnownHosts;
use crate::transport::ssh::password::Asking;
use crate::transport::ssh::{Deadlines, Ssh};

/// The largest known_hosts file that is read, in bytes: 10,000 nodes with three keys each are 6 MiB.
const KNOWN_HOSTS_BYTES_MAX: u64 = 64 << 20;

/// What reaches these hosts, and how many files each of them takes while it is in flight.
pub async fn reach(hosts: &[Host], args: &SshArgs) -> Result<(Ssh, u64)> {
    not_yet(hosts)?;
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|h| h.is_absolute());
    // Whoever reaches nobody over SSH needs nothing of it.
    let (keys, known_hosts) = match hosts.iter().any(|h| h.connection == Connection::Ssh) {
        true => (keys(args, home.as_deref()).await?, known_hosts(args, home.as_deref())?),
        false => (Arc::new(Keys::default()), KnownHosts::parse(&[])),
    };
    let seconds = Duration::from_secs;
    let t = &args.timeouts;
    let deadlines = Deadlines {
        resolve: seconds(t.resolve_timeout),
        connect: seconds(t.connect_timeout),
        handshake: seconds(t.handshake_timeout),
        authenticate: seconds(t.auth_timeout),
    };
    let files_each = keys.files_each();
    let mut ssh = Ssh::direct(hosts, keys, known_hosts, deadlines);
    ssh.asking = asking(args)?;
    Ok((ssh, files_each))
}

/// What is given beside keys. With `--ask-pass` the password is asked for here, once.
fn asking(args: &SshArgs) -> Result<Asking> {
    let prompter = Terminal::of_process();
    if !args.ask_pass {
        return Ok(Asking { password: None, prompter });
    }
    let password = ask_terminal("SSH password").map_err(|e| Error { kind: Kind::Usage, ..e })?;
    if password.expose().is_empty() {
        return Err(Error::usage("the SSH password is empty; nothing was contacted"));
    }
    Ok(Asking { password: Some(Arc::new(Gate::new("the SSH password", password))), prompter })
}

/// What an inventory may say and this version does not do.
fn not_yet(hosts: &[Host]) -> Result<()> {
    for host in hosts {
        let key = match host {
            Host { jump: Some(_), .. } => "`jump` and `proxy_command`",
            Host { ssh_keys, .. } if !ssh_keys.is_empty() => "`ssh_key`",
            _ => continue,
        };
        return Err(Error::usage(format!("host {}: {key} is not supported yet", host.name)));
    }
    Ok(())
}

/// Our keys.
async fn keys(args: &SshArgs, home: Option<&Path>) -> Result<Arc<Keys>> {
    let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|s| !args.no_agent && !s.is_empty()).map(PathBuf::from);
    let terminal = std::io::stdin().is_terminal();
    let mut ask = |path: &Path| if terminal { ask_terminal(&format!("passphrase of {}", path.display())).ok() } else { None };
    let named = !args.ssh_keys.is_empty();
    let usual = home.into_iter().flat_map(|h| ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| h.join(".ssh").join(name)));
    let files = if named { args.ssh_keys.clone() } else { usual.collect() };
    // Of named files the private half may be in the agent; its other keys are not offered then.
    let sources = KeySources { files, named, agent, only_these: named, ..KeySources::default() };
    let keys = KeyRing::default().keys(&sources, &mut ask).await.map_err(Error::usage)?;
    if keys.is_empty() && !args.ask_pass {
        let why = keys.skipped().iter().fold("there is no SSH key to log in with".to_string(), |all, one| format!("{all}\n{one}"));
        return Err(Error::usage(why).hint("name a key with --ssh-key, load one into the SSH agent, or make ~/.ssh/id_ed25519, id_ecdsa or id_rsa"));
    }
    Ok(keys)
}

/// The hosts' keys.
fn known_hosts(args: &SshArgs, home: Option<&Path>) -> Result<KnownHosts> {
    let mut files = Vec::new();
    let mut read = |path: &Path| -> Result<()> {
        let content = files::read(path, KNOWN_HOSTS_BYTES_MAX).map_err(|e| Error { kind: Kind::Usage, ..e })?;
        files.push((path.display().to_string(), content.to_vec()));
        Ok(())
    };
    for path in &args.known_hosts {
        read(path)?;
    }
    if args.known_hosts.is_empty() {
        let own = home.into_iter().flat_map(|h| ["known_hosts", "known_hosts2"].map(|n| h.join(".ssh").join(n)));
        let global = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from);
        for path in own.chain(global).filter(|p| p.exists()) {
            read(&path)?;
        }
    }
    Ok(KnownHosts::parse(&files))
}
