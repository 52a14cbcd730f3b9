//! `regprov rotate status` and `finish`: who has which password, and the end of a rotation when nobody has the old one.

use std::collections::BTreeSet;

use super::apply::with_flags;
use super::audit::AuditKeySources;
use super::clusters::{self, Clusters};
use super::load::Opener;
use super::rotate::{login, under_way};
use super::status::{Looked, Wanted, comparison, look};
use super::vault::VaultFile;
use crate::cli::{ClusterArgs, RotateFinishArgs, RotateLookArgs, RotateStatusArgs};
use crate::error::{Error, Result};
use crate::inventory::{self, Inventory};
use crate::model::rotation::{HostState, RotationRow};
use crate::model::text::{escape, shell_word};
use crate::model::{LoginEntry, Namespace};
use crate::push::status::Previous;
use crate::ui;
use crate::vault::rotation;

/// Looks at the hosts of the logins under rotation, prints who has which password, and returns the exit code: 10 where a host does not have the
/// new one. Nothing is written.
pub async fn status(args: &RotateStatusArgs, verbose: u8) -> Result<u8> {
    let (mut opener, inventory, clusters) = read(&args.look).await?;
    let entries: Vec<LoginEntry> = match &args.login {
        Some(name) => {
            let entry = login(&inventory, name)?;
            under_way(entry)?;
            vec![entry.clone()]
        }
        None => inventory.logins.iter().filter(|l| l.previous.is_some()).cloned().collect(),
    };
    let (rows, looked) = look_at(&mut opener, inventory, &clusters, &entries, &BTreeSet::new(), &args.look, verbose).await?;
    tell(&if args.json { ui::rotation::json(&rows) } else { ui::rotation::text(&rows) })?;
    Ok(looked.exit_code(!rows.iter().all(RotationRow::is_done)))
}

/// Drops the old password from the vault when every host has the new one or is left out, and returns the exit code: that of [`status`] where
/// one has not; then nothing is written.
pub async fn finish(args: &RotateFinishArgs, verbose: u8) -> Result<u8> {
    let (mut opener, inventory, clusters) = read(&args.look).await?;
    let entry = login(&inventory, &args.login)?.clone();
    let old = under_way(&entry)?;
    let vault = VaultFile::of(&entry)?;
    let spliced = rotation::finish(&vault.name, vault.text(), &entry.name)?;
    let without: BTreeSet<String> = match &args.without {
        Some(pattern) => {
            let chosen = opener.limit(&inventory, Some(pattern))?;
            let hosts = chosen.hosts.into_iter().map(|i| inventory.hosts[i].name.clone());
            hosts.chain(chosen.namespaces.into_iter().map(|i| inventory.namespaces[i].destination())).collect()
        }
        None => BTreeSet::new(),
    };
    let left_out: Vec<String> = receivers(&inventory, &entry.name).into_iter().filter(|name| without.contains(name)).collect();
    let (rows, looked) = look_at(&mut opener, inventory, &clusters, std::slice::from_ref(&entry), &without, &args.look, verbose).await?;
    tell(&ui::rotation::text(&rows))?;
    let name = escape(&entry.name);
    let is_done = rows.iter().all(RotationRow::is_done);
    let code = looked.exit_code(!is_done);
    if code != 0 {
        let (inventory, login) = (shell_word(&args.look.inventory.display().to_string()), shell_word(&name));
        ui::warning(&format!(
            "the rotation of login `{name}` is not finished, and {} was not changed: bring the others to it with `regprov apply {inventory} --login {login}`, \
             or leave them out with --without",
            vault.name
        ));
        return Ok(code);
    }
    let left_out: Vec<&str> = left_out.iter().map(String::as_str).collect();
    vault.write(&spliced)?;
    ui::note(&format!(
        "the old password of login `{name}` is gone from {}; now revoke it at {}, account {}",
        vault.name,
        old.registry,
        escape(old.username.as_str())
    ));
    if !left_out.is_empty() {
        ui::note(&format!("left out, and maybe with the old one still: {}", ui::fold::fold_counted(&left_out)));
    }
    Ok(0)
}

fn tell(text: &str) -> Result<()> {
    ui::out(text).map_err(|e| Error::internal(format!("the result cannot be written to stdout: {e}")))
}

async fn read(args: &RotateLookArgs) -> Result<(Opener, Inventory, Clusters)> {
    let mut opener = Opener::of_process(&args.vault.identity)?.allow_commands(args.sources.allow_commands);
    // Plain and expired logins do no harm here.
    let mut inventory = opener.inventory(&args.inventory, true, true)?;
    // Without exception: one that was not looked at may have the old password.
    let clusters = ClusterArgs { only: None, kubeconfig: args.kubeconfig.clone() };
    let clusters = Clusters::of(&mut inventory, &clusters, &args.ssh.timeouts).await?;
    Ok((opener, inventory, clusters))
}

/// The names of the hosts and namespaces that get a login.
fn receivers(inventory: &Inventory, login: &str) -> Vec<String> {
    let hosts = inventory.hosts.iter().filter(|host| host.targets.iter().any(|target| target.logins.iter().any(|l| l == login)));
    let namespaces = inventory.namespaces.iter().filter(|namespace| namespace.logins().any(|l| l == login));
    hosts.map(|h| h.name.clone()).chain(namespaces.map(Namespace::destination)).collect()
}

/// What hosts and namespaces have of these logins, but for those left out, which are not contacted.
async fn look_at(
    opener: &mut Opener,
    mut inventory: Inventory,
    clusters: &Clusters,
    entries: &[LoginEntry],
    without: &BTreeSet<String>,
    args: &RotateLookArgs,
    verbose: u8,
) -> Result<(Vec<RotationRow>, Looked)> {
    let members: Vec<Vec<String>> = entries.iter().map(|e| receivers(&inventory, &e.name)).collect();
    let members: Vec<Vec<String>> = members.into_iter().map(|all| all.into_iter().filter(|name| !without.contains(name)).collect()).collect();
    let open: BTreeSet<&String> = members.iter().flatten().collect();
    let hosts: Vec<usize> = (0..inventory.hosts.len()).filter(|i| open.contains(&inventory.hosts[*i].name)).collect();
    let namespaces: Vec<usize> = (0..inventory.namespaces.len()).filter(|i| open.contains(&inventory.namespaces[*i].destination())).collect();
    let looked = if open.is_empty() {
        Looked::nothing()
    } else {
        let previous: Vec<LoginEntry> = entries.iter().filter_map(LoginEntry::before_rotation).collect();
        let with_identity = identity_is_needed(opener, entries.iter().chain(&previous), args)?;
        let names: Vec<String> = entries.iter().map(|e| e.name.clone()).collect();
        inventory::select(&mut inventory, &names, &[])?;
        let hosts = with_flags(&inventory, &hosts, &args.ssh, false)?;
        let namespaces = clusters::targeted(&inventory, &namespaces, false);
        let (logins, same) = comparison(opener, &entries.iter().collect::<Vec<_>>(), &|_| true, &args.audit, with_identity)?;
        let (before, same_before) = comparison(opener, &previous.iter().collect::<Vec<_>>(), &|_| true, &args.audit, with_identity)?;
        let previous = Previous { logins: before, same: same_before };
        let wanted = Wanted { hosts, namespaces, logins, same, previous, inventory_id: inventory.id.clone(), left_over: false };
        look(opener, &inventory, clusters, wanted, (&args.ssh, args.vault.allow_plaintext), verbose, |row| row).await?
    };
    let state = |name: &str, login: &str| looked.rows.iter().find(|r| r.host == name).map_or(HostState::Missing, |row| HostState::of(row, login));
    let row = |(entry, members): (&LoginEntry, &Vec<String>)| RotationRow {
        login: entry.name.clone(),
        registry: entry.registry.to_string(),
        username: entry.username.to_string(),
        previous_username: entry.previous.as_ref().map_or(&entry.username, |p| &p.username).to_string(),
        hosts: members.iter().map(|name| (name.clone(), state(name, &entry.name))).collect(),
    };
    let rows = entries.iter().zip(&members).map(row).collect();
    Ok((rows, looked))
}

/// Whether passwords are compared by opening them: where `--identity` says so, or where not all of them have a fingerprint that an audit key at
/// hand could compare.
///
/// # Errors
/// Neither can be done.
fn identity_is_needed<'a>(opener: &Opener, mut entries: impl Iterator<Item = &'a LoginEntry>, args: &RotateLookArgs) -> Result<bool> {
    let has_key = AuditKeySources::of_process(args.audit.audit_key.as_deref()).load()?.is_some();
    let unmarked = entries.find(|e| e.fingerprint.is_none());
    if !args.vault.identity.is_given() && has_key && unmarked.is_none() {
        return Ok(false);
    }
    if opener.has_identity() {
        return Ok(true);
    }
    let told = "nothing is at hand that tells the new password from the old one";
    Err(match unmarked.filter(|_| has_key) {
        Some(entry) => Error::usage(format!("{told}: login `{}` has a password without a fingerprint, so the audit key does not do", escape(&entry.name)))
            .hint(format!("give --identity, or make the fingerprints with `regprov vault fingerprint {}`", shell_word(entry.file()))),
        None => Error::usage(told).hint("give --identity, or --audit-key where the vault has fingerprints"),
    })
}
