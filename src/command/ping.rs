//! `regprov ping`: which hosts can be reached and worked on. Writes nothing there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::apply::{forks, targeted};
use super::become_password::become_password;
use super::load::Opener;
use super::reach::{Purpose, reach};
use super::watch::{Watched, watch};
use crate::cli::PingArgs;
use crate::error::{Error, Result};
use crate::model::ping::{PingEvent, PingRow, Unseen};
use crate::node::Program;
use crate::push::ping::{PingOptions, before, ping_all};
use crate::transport::Connector;
use crate::transport::local::Local;
use crate::transport::reach::Reach;
use crate::ui;

/// Looks at the hosts, prints the table or the document, and returns the exit code, which is that of `apply`. Nothing is written, so a
/// signal ends it at once, with what is known by then.
pub async fn ping(args: &PingArgs, verbose: u8) -> Result<u8> {
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    // No login is opened, so that plain and expired ones do no harm here.
    let inventory = opener.inventory(&args.inventory, true, true)?;
    let chosen = opener.limit(&inventory, args.limit.as_deref())?.hosts;
    let hosts = targeted(&inventory, &chosen, &args.ssh, false)?;
    let become_password = become_password(&mut opener, &inventory, &hosts, args.ssh.ask_become_pass, args.vault.allow_plaintext)?;
    let (ssh, files_each) = reach(&hosts, &inventory.hosts, &args.ssh, Purpose::LogIn).await?;
    let connector = Arc::new(Reach { ssh, local: Local::default(), become_password, program: Program::Probe });
    let options = PingOptions {
        forks: forks(args.ssh.forks, files_each),
        command: Duration::from_secs(args.ssh.timeouts.command_timeout),
        host: Duration::from_secs(args.ssh.timeouts.host_timeout),
    };
    let mut so_far: Vec<PingRow> = hosts.iter().map(|h| before(h, "stopped by a signal")).collect();
    let mut progress = ui::progress::Progress::new(hosts.iter().map(|h| h.name.clone()).collect(), verbose > 0, false);
    let (sender, events) = mpsc::unbounded_channel();
    let ended = watch(ping_all(connector.clone(), hosts, options, sender), events, |event| match event {
        PingEvent::Started(index) => progress.started(index),
        PingEvent::Ended(index, row) => {
            progress.ended(index, row.outcome(), matches!(row.result, Err(Unseen::Failed(..))), || ui::ping::host_line(&row));
            so_far[index] = row;
        }
    });
    let ended = ended.await?;
    progress.finish();
    let (rows, interrupted) = match ended {
        Watched::Done(rows) => (rows, None),
        Watched::Interrupted(code) => (so_far, Some(code)),
    };
    let text = if args.json { ui::ping::json(&rows) } else { ui::ping::table(&rows) };
    ui::out(&text).map_err(|e| Error::internal(format!("the table cannot be written to stdout: {e}")))?;
    let any = |outcome| rows.iter().any(|r| r.outcome() == outcome);
    Ok(match () {
        () if interrupted.is_some() => interrupted.unwrap_or_default(),
        () if connector.halted().is_some() => 7,
        () if any("failed") => 3,
        () if any("unreachable") => 4,
        () => 0,
    })
}
