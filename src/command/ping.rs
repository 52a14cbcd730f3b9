//! `regprov ping`: which hosts can be reached and worked on. Writes nothing there.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::apply::{forks, targeted};
use super::become_password::become_password;
use super::load::Opener;
use super::reach::{Purpose, reach};
use crate::cli::PingArgs;
use crate::error::{Error, Result};
use crate::node::Program;
use crate::push::ping::{PingOptions, ping_all};
use crate::transport::Connector;
use crate::transport::local::Local;
use crate::transport::reach::Reach;
use crate::ui;

/// Looks at the hosts, prints the table or the document, and returns the exit code, which is that of `apply`.
pub async fn ping(args: &PingArgs) -> Result<u8> {
    let mut opener = Opener::of_process(&args.vault.identity.identities)?.allow_commands(args.sources.allow_commands);
    // No login is opened, so that plain and expired ones do no harm here.
    let inventory = opener.inventory(&args.inventory, true, true)?;
    let chosen = opener.limit(&inventory, args.limit.as_deref())?;
    let hosts = targeted(&inventory, &chosen, &args.ssh)?;
    let become_password = become_password(&mut opener, &inventory, &hosts, args.ssh.ask_become_pass, args.vault.allow_plaintext)?;
    let (ssh, files_each) = reach(&hosts, &inventory.hosts, &args.ssh, Purpose::LogIn).await?;
    let connector = Arc::new(Reach { ssh, local: Local::default(), become_password, program: Program::Probe });
    let options = PingOptions {
        forks: forks(args.ssh.forks, files_each),
        command: Duration::from_secs(args.ssh.timeouts.command_timeout),
        host: Duration::from_secs(args.ssh.timeouts.host_timeout),
    };
    let heard = |e| Error::internal(format!("signals cannot be heard: {e}"));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt()).map_err(heard)?, signal(SignalKind::terminate()).map_err(heard)?);
    let mut interrupted = None;
    let stop = async {
        interrupted = tokio::select! {
            _ = interrupt.recv() => Some(130),
            _ = terminate.recv() => Some(143),
        };
    };
    let rows = ping_all(connector.clone(), hosts, options, stop).await;
    let text = if args.json { ui::ping::json(&rows) } else { ui::ping::table(&rows) };
    ui::out(&text).map_err(|e| Error::internal(format!("the table cannot be written to stdout: {e}")))?;
    let any = |outcome| rows.iter().any(|r| r.outcome() == outcome);
    Ok(match interrupted {
        Some(code) => code,
        None if connector.halted().is_some() => 7,
        None if any("failed") => 3,
        None if any("unreachable") => 4,
        None => 0,
    })
}
