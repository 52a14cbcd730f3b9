//! `regprov verify`: shows logins to their registries. Contacts no host.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::auth_hosts::confirm;
use super::files;
use super::load::{Opener, check_expiry, now};
use super::watch::{Watched, watch};
use crate::cli::VerifyArgs;
use crate::error::{Error, Kind, Result};
use crate::model::text::escape;
use crate::model::verify::Verified;
use crate::model::{Login, LoginEntry};
use crate::registry::{Client, Deadlines, NoClient, Subject, check_all};
use crate::ui;

/// The largest file of CAs that is read, in bytes; whole stores of systems have a quarter of a megabyte.
const CA_BYTES_MAX: u64 = 4 << 20;
/// A registry refused a login.
const EXIT_REFUSED: u8 = 6;
/// How often token servers are confirmed and asked: one may lead to the next.
const ROUNDS_MAX: usize = 3;

/// Asks, prints what came of it, and returns the exit code. Nothing is written but a vault that the admin lets take an auth host, so a
/// signal ends it at once.
pub async fn verify(args: &VerifyArgs) -> Result<u8> {
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    let inventory = opener.inventory(&args.inventory, args.vault.allow_plaintext, args.allow_expired)?;
    let entries = chosen(&inventory.logins, &args.logins)?;
    let mut logins = opener.logins(&entries, args.vault.allow_plaintext)?;
    // What has ended by its own words is shown to its registry all the same: what that says counts.
    check_expiry(&logins, &inventory.logins, true)?;
    let mut verified = Verified { logins: Vec::new(), required: args.required };
    for round in 0..ROUNDS_MAX {
        // One that is known already need not be asked again.
        let open: Vec<usize> = (0..entries.len()).filter(|i| verified.logins.get(*i).is_none_or(|row| row.can_be_confirmed)).collect();
        let subjects = open.iter().map(|i| subject(entries[*i], logins[*i].clone(), &inventory.path)).collect();
        let (_, silent) = mpsc::unbounded_channel();
        let rows = match watch(check_all(client(&args.cas)?, subjects, Deadlines::default(), now()), silent, |()| {}).await? {
            Watched::Done(rows) => rows,
            Watched::Interrupted(signal) => {
                ui::warning("stopped by a signal before all registries had answered");
                return Ok(signal);
            }
        };
        match round {
            0 => verified.logins = rows,
            _ => open.iter().zip(rows).for_each(|(i, row)| verified.logins[*i] = row),
        }
        if !args.add_auth_hosts || !confirm(&entries, &mut logins, &verified.logins).await? {
            break;
        }
    }
    let text = if args.json { ui::verify::json(&verified) } else { ui::verify::text(&verified, ui::stdout_has_colors()) };
    ui::out(&text).map_err(|e| Error::internal(format!("the result cannot be written to stdout: {e}")))?;
    Ok(if verified.refused().next().is_some() { EXIT_REFUSED } else { 0 })
}

/// The logins of these names; without any, all.
fn chosen<'a>(logins: &'a [LoginEntry], names: &[String]) -> Result<Vec<&'a LoginEntry>> {
    let all: BTreeMap<&str, &LoginEntry> = logins.iter().map(|l| (l.name.as_str(), l)).collect();
    if let Some(unknown) = names.iter().find(|n| !all.contains_key(n.as_str())) {
        let there: Vec<&str> = all.keys().copied().collect();
        return Err(Error::usage(format!("--login: there is no login `{}`", escape(unknown))).hint(format!("the logins are {}", there.join(", "))));
    }
    if all.is_empty() {
        return Err(Error::usage("the inventory has no logins").hint("add one with `regprov vault set`"));
    }
    Ok(all.into_iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)).map(|(_, login)| login).collect())
}

/// What is shown to a registry.
pub(super) fn subject(entry: &LoginEntry, login: Login, inventory: &str) -> Subject {
    Subject { login, canary: entry.canary.clone(), inventory: inventory.to_string(), vault: entry.file().to_string() }
}

/// Who asks registries: with the system's CAs and those of `--ca`.
pub(super) fn client(cas: &[PathBuf]) -> Result<Client> {
    let pems = cas.iter().map(|path| files::read(path, CA_BYTES_MAX).map(|b| b.to_vec()).map_err(|e| Error { kind: Kind::Usage, ..e }));
    Client::new(&pems.collect::<Result<Vec<_>>>()?).map_err(|e| match e {
        NoClient::NoCertificate(i) => {
            Error::usage(format!("--ca: {} holds no certificate", cas[i].display())).hint("it must be a PEM file, with -----BEGIN CERTIFICATE----- in it")
        }
        NoClient::NoRoots(why) => Error::usage(format!("this machine knows no CAs: {}", escape(&why)))
            .hint("install its CA certificates (the package ca-certificates), or name a file with --ca or SSL_CERT_FILE"),
        NoClient::Internal(why) => Error::internal(why),
    })
}
