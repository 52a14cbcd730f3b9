//! `regprov explain`: which login each program of a host would use for a registry, and why. Writes nothing there.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;

use super::apply::targeted;
use super::become_password::become_password;
use super::load::Opener;
use super::reach::{Purpose, reach};
use super::watch::{Watched, watch};
use crate::cli::ExplainArgs;
use crate::error::{Error, Result};
use crate::explain::{Question, explain as answers, paths, unread};
use crate::model::Registry;
use crate::node::Program;
use crate::push::look::{LookOptions, look};
use crate::transport::local::Local;
use crate::transport::reach::Reach;
use crate::ui;

/// Reads the host's files, says what each program makes of them, and returns the exit code: 3 when the host failed, 4 when it was not
/// reached.
pub async fn explain(args: &ExplainArgs) -> Result<u8> {
    let (registry, _) = Registry::parse(&args.registry).map_err(Error::usage)?;
    let is_name = |name: &str| !name.is_empty() && !name.starts_with('-') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b));
    if !is_name(&args.r#as) {
        return Err(Error::usage("--as is no name of a user").hint("name one as /etc/passwd of the host does"));
    }
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    // No login is opened, so that plain and expired ones do no harm here.
    let inventory = opener.inventory(&args.inventory, true, true)?;
    // HOST is read as a limit that means one host; nobody gave the flag.
    let chosen = opener.limit(&inventory, Some(&args.host)).map(|chosen| chosen.hosts).map_err(|mut error| {
        if let Some(rest) = error.message.strip_prefix("--limit") {
            error.message = format!("HOST{rest}");
        }
        error
    })?;
    let [_] = chosen[..] else {
        return Err(Error::usage(format!("`{}` means {} hosts, and explain looks at one", args.host, chosen.len())).hint("`regprov hosts` names them"));
    };
    let registries: BTreeSet<&str> = inventory.logins.iter().map(|login| login.registry.authority()).collect();
    if !registries.contains(registry.authority()) {
        let known = registries.into_iter().collect::<Vec<_>>().join(", ");
        let theirs = if known.is_empty() { String::new() } else { format!("; its logins are for {known}") };
        ui::warning(&format!("no login of this inventory is for {}{theirs}", registry.authority()));
    }
    let hosts = targeted(&inventory, &chosen, &args.ssh, true)?;
    let host = &hosts[0];
    if let Some(why) = &host.skip {
        return Err(Error::usage(format!("{} is skipped: {why}", host.name)));
    }
    let become_password = become_password(&mut opener, &inventory, &hosts, args.ssh.ask_become_pass, args.vault.allow_plaintext)?;
    let (ssh, _) = reach(&hosts, &inventory.hosts, &args.ssh, Purpose::LogIn).await?;
    let connector = Reach { ssh, local: Local::default(), become_password, program: Program::Files };
    let seconds = Duration::from_secs;
    let options = LookOptions { command: seconds(args.ssh.timeouts.command_timeout), host: seconds(args.ssh.timeouts.host_timeout) };

    let asks = |sight: &_| paths(host, sight);
    let (_, no_events) = mpsc::unbounded_channel::<()>();
    let looked = match watch(look(&connector, host, &args.r#as, &asks, options), no_events, |()| {}).await? {
        Watched::Done(looked) => looked,
        Watched::Interrupted(code) => return Ok(code),
    };
    let sight = match looked {
        Ok(sight) => sight,
        Err(trouble) => {
            ui::error(&format!("{} at {}: {}", host.name, trouble.stage, trouble.reason), None);
            return Ok(if trouble.stage <= crate::model::Stage::Authenticate { 4 } else { 3 });
        }
    };
    let question = Question { registry: &registry, host, logins: &inventory.logins };
    let found = answers(&question, &sight);
    let unread = unread(&question, &sight, &found);
    let name = registry.to_string();
    let asked = ui::explain::Asked { host: &host.name, registry: &name, user: &args.r#as, unread: &unread };
    let text = if args.json { ui::explain::json(&asked, &found) } else { ui::explain::text(&asked, &found) };
    ui::out(&text).map_err(|e| Error::internal(format!("the answer cannot be written to stdout: {e}")))?;
    Ok(0)
}
