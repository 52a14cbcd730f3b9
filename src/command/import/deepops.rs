//! `import deepops`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use super::agree;
use super::ansible_vault::VaultPasswords;
use super::sealing::Sealing;
use crate::cli::{DeepopsArgs, IdentityArgs, ImportArgs};
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::command::load::{Opener, now};
use crate::error::{Error, Kind, Result};
use crate::import::ansible_vault::is_sealed;
use crate::import::deepops::{self, Inventory};
use crate::inventory::{self, Entry, LoadOptions, Program, World, ansible_layout};
use crate::model::text::{escape, shell_word};
use crate::ui;

/// Bytes of the random part of the inventory's id.
const ID_BYTES: usize = 4;

/// Reads, shows, asks; makes an inventory and a vault, or neither.
pub(super) async fn import(args: &DeepopsArgs) -> Result<u8> {
    let place = Place::of(args)?;
    let mut passwords = VaultPasswords::of(&args.passwords, args.sources.allow_commands)?;
    let files = args.variables.iter().map(|path| variables(path, &mut passwords)).collect::<Result<Vec<_>>>()?;
    let names = files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let mut role = deepops::read(&files, &mut |what, sealed| passwords.open_text(&format!("{names}: {what}"), sealed.as_bytes()))?;
    drop(files);
    let mut opener = Opener::of_process(&IdentityArgs::default())?.allow_commands(args.sources.allow_commands);
    let layout = ansible_layout(&args.inventory, &args.output, &mut opener)?;
    let group = role.settle(&layout, args.group.as_deref())?;

    if layout.given.contains_key("proxy_command") {
        role.found.notes.extend(of_proxy_commands(&layout.files, &mut opener));
    }
    let sealing = Sealing::plan(role.found, &place.sealing(args))?;
    let rows: Vec<[String; 3]> = deepops::mapped(&layout, group).into_iter().map(|m| [m.ansible, m.regprov, m.hosts.to_string()]).collect();
    ui::out(&ui::import::mapped(&rows)).map_err(|e| Error::internal(format!("the table cannot be written to stdout: {e}")))?;
    sealing.show()?;
    if args.check {
        return Ok(0);
    }
    if sealing.is_empty() {
        return sealing.nothing();
    }
    agree(&format!("make {}, and {}", place.shown, sealing.question()), args.yes).await?;

    let made_from = format!("{} and {names}", args.inventory.display());
    let id = format!("deepops-{}", random()?);
    let logins = sealing.names();
    let text = Inventory { id: &id, made_from: &made_from, vault: VAULT, ansible: &place.ansible, layout: &layout, group, logins: &logins }.text();
    let sealed = sealing.seal()?;
    let vault = sealed.text()?;
    let mut preview = Preview { opener: &mut opener, inventory: (&place.inventory, &text), vault: (&place.vault, &vault) };
    let options = LoadOptions { allow_plaintext: false, allow_expired: true, now: now() };
    inventory::load(&place.inventory, &mut preview, options)
        .map_err(|e| Error { message: format!("what it would be cannot be read back; nothing was written\n{}", e.message), ..e })?;
    sealed.write()?;
    files::create(&place.inventory, text.as_bytes(), 0o666)?;
    tell_what_is_next(&place, &names);
    Ok(0)
}

/// The name of the vault, beside the inventory.
const VAULT: &str = "vault.yml";

/// Where what is made lies.
struct Place {
    inventory: PathBuf,
    /// The inventory's path as it is shown.
    shown: String,
    vault: PathBuf,
    /// Ansible's inventory as ours names it.
    ansible: String,
}

impl Place {
    /// Checks, before anything is asked, that nothing is overwritten.
    fn of(args: &DeepopsArgs) -> Result<Self> {
        let inventory = if args.output == Path::new(".") { PathBuf::from("inventory.yml") } else { args.output.join("inventory.yml") };
        let vault = inventory.with_file_name(VAULT);
        for path in [&inventory, &vault] {
            if path.symlink_metadata().is_ok() && !args.check {
                return Err(Error::usage(format!("{} is there already and is not overwritten", path.display())).hint("name another directory with -o"));
            }
        }
        let shown = escape(&inventory.display().to_string());
        Ok(Place { ansible: way(&args.output, &args.inventory)?, inventory, shown, vault })
    }

    fn sealing(&self, args: &DeepopsArgs) -> ImportArgs {
        ImportArgs {
            vault: (!args.check).then(|| self.vault.clone()),
            recipients: args.recipients.clone(),
            names: args.names.clone(),
            replace: false,
            check: args.check,
            yes: args.yes,
            audit: args.audit.clone(),
        }
    }
}

/// The way from a directory to a file or directory, both of which are there, as an inventory in that directory names it.
fn way(from: &Path, to: &Path) -> Result<String> {
    let real = |path: &Path| {
        fs::canonicalize(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::usage(format!("{} is not there", path.display())),
            _ => Error::usage(format!("{} cannot be found: {e}", path.display())),
        })
    };
    // What a link is called stays; where it leads to may change.
    let name = to.file_name().filter(|_| real(to).is_ok());
    let (from, to) = (
        real(from)?,
        match (name, to.parent()) {
            (Some(name), Some(parent)) => real(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?.join(name),
            _ => real(to)?,
        },
    );
    let parts = |path: &Path| path.components().map(|c| c.as_os_str().to_owned()).collect::<Vec<_>>();
    let (from, to) = (parts(&from), parts(&to));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(OsStr::new(".."), from.len() - common);
    let path: PathBuf = up.chain(to[common..].iter().map(|part| part.as_os_str())).collect();
    let path = if path.as_os_str().is_empty() { PathBuf::from(Component::CurDir.as_os_str()) } else { path };
    path.into_os_string().into_string().map_err(|path| Error::usage(format!("{} is no path in UTF-8", path.display())))
}

/// A file of variables and its text, opened where it is sealed as a whole.
fn variables(path: &Path, passwords: &mut VaultPasswords) -> Result<(String, Zeroizing<String>)> {
    let name = escape(&path.display().to_string());
    let bytes = files::read(path, FILE_BYTES_MAX).map_err(|e| Error { kind: Kind::Usage, ..e })?;
    let text = if is_sealed(&bytes) { passwords.open_text(&name, &bytes)? } else { inventory::decode(path, bytes)? };
    Ok((name, text))
}

/// What is to be known where hosts are reached through commands of Ansible's inventory.
fn of_proxy_commands(files: &[PathBuf], world: &mut dyn World) -> Vec<String> {
    let mut notes = vec![
        "a ProxyCommand runs once for each host; where it is `ssh -W %h:%p USER@BASTION`, `-o ProxyJump=USER@BASTION` in its place serves all hosts by one \
         connection"
            .to_string(),
    ];
    notes.extend(
        files.iter().find_map(|file| world.may_not_run(file)).map(|why| format!("regprov runs no ProxyCommand here without --allow-commands, since {why}")),
    );
    notes
}

/// The world in which the inventory and its vault are there already.
struct Preview<'a> {
    opener: &'a mut Opener,
    inventory: (&'a Path, &'a str),
    vault: (&'a Path, &'a str),
}

impl World for Preview<'_> {
    fn read(&mut self, path: &Path) -> Result<Zeroizing<String>> {
        match [self.inventory, self.vault].iter().find(|(there, _)| *there == path) {
            Some((_, text)) => Ok(Zeroizing::new((*text).to_string())),
            None => self.opener.read(path),
        }
    }

    fn list(&mut self, path: &Path) -> Result<Option<Vec<Entry>>> {
        World::list(self.opener, path)
    }

    fn run(&mut self, program: &Program) -> Result<Vec<u8>> {
        World::run(self.opener, program)
    }

    // A ProxyCommand of Ansible's inventory is read here and run by nobody.
    fn may_not_run(&mut self, _file: &Path) -> Option<String> {
        None
    }

    fn may_not_show(&mut self, path: &Path, beside: &Path) -> Option<String> {
        self.opener.may_not_show(path, beside)
    }
}

fn random() -> Result<String> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn tell_what_is_next(place: &Place, names: &str) {
    let file = shell_word(&place.inventory.display().to_string());
    ui::note(&format!("{} is made; it names {} as the source of its hosts", place.shown, escape(&place.ansible)));
    ui::note(&format!("look at it: regprov hosts {file}"));
    ui::note(&format!("DeepOps' ansible.cfg checks no host keys; regprov does, so let it learn them: regprov trust {file}"));
    ui::note(&format!("then: regprov apply {file} --check --diff"));
    ui::note(&format!("{names} still holds the passwords; take it out once nobody runs the role any more"));
}
