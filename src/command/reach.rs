//! How the hosts are reached: ssh_config, routes, deadlines.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::console::ask_terminal;
use super::routes::Router;
use super::terminal::Terminal;
use crate::cli::SshArgs;
use crate::error::{Error, Kind, Result};
use crate::model::Host;
use crate::transport::gate::Gate;
use crate::transport::ssh::openssh::SshConfig;
use crate::transport::ssh::password::Asking;
use crate::transport::ssh::{Deadlines, Ssh};

/// What hosts are reached for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To log in, for which there must be a key or a password.
    LogIn,
    /// To see their keys, for which we need none.
    HostKeys,
}

/// What reaches these hosts, and how many files each of them takes while it is in flight. `inventory` is all of its hosts: any of them
/// may be a jump host.
pub async fn reach(hosts: &[Host], inventory: &[Host], args: &SshArgs, purpose: Purpose) -> Result<(Ssh, u64)> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|h| h.is_absolute());
    let config = match args.no_ssh_config {
        true => SshConfig::none(),
        false => SshConfig::load(home.as_deref(), args.ssh_config.as_deref()).await.map_err(Error::usage)?,
    };
    let (routes, files_each) = Router::new(inventory, config, args, home, purpose).routes(hosts).await?;
    let seconds = Duration::from_secs;
    let t = &args.timeouts;
    let deadlines = Deadlines {
        resolve: seconds(t.resolve_timeout),
        connect: seconds(t.connect_timeout),
        handshake: seconds(t.handshake_timeout),
        authenticate: seconds(t.auth_timeout),
    };
    let mut ssh = Ssh::new(routes, deadlines, args.starting as usize);
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
