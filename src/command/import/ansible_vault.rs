//! Passwords of ansible-vault, as Ansible takes them: from files, from programs, or typed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::cli::VaultPasswordArgs;
use crate::command::console::ask_terminal;
use crate::command::program::{self, Terms};
use crate::command::{files, sources};
use crate::error::{Error, Kind, Result};
use crate::import::ansible_vault::{AnsibleVault, DEFAULT_LABEL, Fault, is_sealed};
use crate::inventory::Program;
use crate::model::Secret;
use crate::model::text::{self, escape};

/// The largest password file that is read, in bytes.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

/// How a program that prints a password is run: as Ansible runs it, which lets it ask somebody, but not without end.
const TERMS: Terms = Terms { deadline: Duration::from_secs(120), output_bytes_max: PASSWORD_BYTES_MAX as usize, is_secret: true, with_person: true };

/// The word that stands for a prompt in `--vault-id LABEL@prompt`.
const PROMPT: &str = "prompt";

/// The passwords that are known, and whether others are asked for.
pub(super) struct VaultPasswords {
    known: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// Where nothing names a password, each label is asked for when it is met first.
    asks: bool,
}

impl VaultPasswords {
    /// Those of the flags, then that of `ANSIBLE_VAULT_PASSWORD_FILE`, in Ansible's order. `allow_commands` lets a file that is a program run wherever it lies.
    ///
    /// # Errors
    /// One cannot be had.
    pub(super) fn of(args: &VaultPasswordArgs, allow_commands: bool) -> Result<Self> {
        let mut named: Vec<(String, String)> = args.vault_ids.iter().map(|id| split(id)).collect();
        let default = |path: &Path| path.to_str().map(|p| (DEFAULT_LABEL.to_string(), p.to_string()));
        let env = std::env::var_os("ANSIBLE_VAULT_PASSWORD_FILE").filter(|v| !v.is_empty()).map(PathBuf::from);
        for path in args.vault_password_files.iter().chain(&env) {
            named.push(default(path).ok_or_else(|| Error::usage(format!("{} is no path in UTF-8", path.display())))?);
        }
        let mut passwords = VaultPasswords { known: Vec::new(), asks: named.is_empty() && args.vault_password_commands.is_empty() };
        for (label, from) in named {
            let password = if from == PROMPT { ask(&label)? } else { passwords.of_file(&at_home(&from), &label, allow_commands)? };
            passwords.known.push((label, password));
        }
        for line in &args.vault_password_commands {
            passwords.known.push((DEFAULT_LABEL.to_string(), of_command(line)?));
        }
        Ok(passwords)
    }

    /// Opens a sealed text. The passwords of its label come first, then all others, as with Ansible.
    ///
    /// # Errors
    /// It is damaged or of another format, no password opens it, or none can be asked for; names `what`.
    pub(super) fn open(&mut self, what: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let told = |fault: Fault| Error::vault(format!("{what} {fault}"));
        let vault = AnsibleVault::parse(sealed).map_err(told)?;
        let label = vault.label().unwrap_or(DEFAULT_LABEL).to_string();
        let (own, others): (Vec<_>, Vec<_>) = self.known.iter().partition(|(known, _)| *known == label);
        for (_, password) in own.iter().chain(&others) {
            match vault.open(password) {
                Err(Fault::Password) => {}
                opened => return opened.map_err(told),
            }
        }
        if self.asks && own.is_empty() {
            let password = ask(&label)?;
            let opened = vault.open(&password);
            self.known.push((label.clone(), password));
            return opened.map_err(told);
        }
        let is_labelled = if label == DEFAULT_LABEL { String::new() } else { format!(" (vault id `{}`)", escape(&label)) };
        Err(Error::vault(format!("{what}{is_labelled} {}", Fault::Password)))
    }

    /// What [`open`](Self::open) gives, as text.
    ///
    /// # Errors
    /// As [`open`](Self::open), or it is no UTF-8.
    pub(super) fn open_text(&mut self, what: &str, sealed: &[u8]) -> Result<Zeroizing<String>> {
        let mut bytes = self.open(what, sealed)?;
        std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{what} is no text in UTF-8")))?;
        // Moved, not copied: a copy would have to be wiped too.
        Ok(Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).expect("it was checked two lines above")))
    }

    /// The password in a file, or that an executable file prints (ansible-core 2.14, `get_file_vault_secret`).
    fn of_file(&mut self, path: &Path, label: &str, allow_commands: bool) -> Result<Zeroizing<Vec<u8>>> {
        let shown = escape(&path.display().to_string());
        let meta = fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::vault(format!("vault password file {shown} is not there")),
            _ => Error::vault(format!("vault password file {shown} cannot be read: {e}")),
        })?;
        let password = if meta.is_file() && meta.mode() & 0o111 != 0 {
            of_program(path, label, allow_commands)?
        } else {
            let content = files::read(path, PASSWORD_BYTES_MAX)?;
            // Python's strip, which takes vertical tabs too.
            let stripped = trim(&content, |b| b.is_ascii_whitespace() || b == 0x0b);
            match is_sealed(stripped) {
                true => line(&self.open(&format!("vault password file {shown}"), stripped)?),
                false => Zeroizing::new(stripped.to_vec()),
            }
        };
        if password.is_empty() {
            return Err(Error::vault(format!("vault password file {shown} gives an empty password")));
        }
        Ok(password)
    }
}

/// What an executable password file prints. One whose name ends with `-client` is told the label.
fn of_program(path: &Path, label: &str, allow_commands: bool) -> Result<Zeroizing<Vec<u8>>> {
    let shown = escape(&path.display().to_string());
    if let Some(why) = sources::may_not_run(path).filter(|_| !allow_commands) {
        return Err(
            Error::usage(format!("vault password file {shown} is a program, and {why}")).hint("look at what it runs, then allow it with --allow-commands")
        );
    }
    // With a directory, so that it is not looked for in PATH.
    let program = absolute(path).map_err(|e| Error::vault(format!("vault password file {shown} cannot be found: {e}")))?;
    let mut argv = vec![program.display().to_string()];
    if path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-client")) {
        argv.extend(["--vault-id".to_string(), label.to_string()]);
    }
    let hint = "it is executable, so it is run; `chmod -x` a file that holds the password itself".to_string();
    let printed = program::run(&Program { argv, hint }, &TERMS);
    printed.map(|printed| line(&printed)).map_err(|e| Error { kind: Kind::Vault, message: format!("vault password file {shown}: {}", e.message), ..e })
}

/// What the program of `--vault-password-command` prints.
fn of_command(command: &str) -> Result<Zeroizing<Vec<u8>>> {
    const FLAG: &str = "--vault-password-command";
    let argv = text::words(command)
        .map_err(|why| Error::usage(format!("{FLAG} {why}")).hint("give a program and its arguments, such as 'pass show ansible'; there is no shell"))?;
    let hint = format!("{FLAG} is run without a shell: name a program and its arguments; nothing in it is expanded");
    let printed = program::run(&Program { argv, hint }, &TERMS).map_err(|e| Error { kind: Kind::Vault, message: format!("{FLAG}: {}", e.message), ..e })?;
    let password = line(&printed);
    if password.is_empty() { Err(Error::vault(format!("{FLAG} prints an empty password"))) } else { Ok(password) }
}

/// What was printed, without the line breaks around it.
fn line(printed: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(trim(printed, |b| matches!(b, b'\r' | b'\n')).to_vec())
}

fn ask(label: &str) -> Result<Zeroizing<Vec<u8>>> {
    let what = if label == DEFAULT_LABEL { "Vault password".to_string() } else { format!("Vault password ({})", escape(label)) };
    let typed: Secret = ask_terminal(&what).map_err(|e| e.hint("name a file that holds or prints it: --vault-password-file FILE, or --vault-id LABEL@FILE"))?;
    let password = Zeroizing::new(trim(typed.expose().as_bytes(), |b| b.is_ascii_whitespace()).to_vec());
    if password.is_empty() { Err(Error::vault("no vault password was typed")) } else { Ok(password) }
}

/// `LABEL@SOURCE`; without a label it is Ansible's default one.
fn split(id: &str) -> (String, String) {
    let (label, from) = id.split_once('@').unwrap_or(("", id));
    (if label.is_empty() { DEFAULT_LABEL } else { label }.to_string(), from.to_string())
}

/// A path whose `~` no shell has replaced, since it stood behind a label.
fn at_home(path: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

fn trim(bytes: &[u8], is_edge: impl Fn(u8) -> bool) -> &[u8] {
    let start = bytes.iter().position(|b| !is_edge(*b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !is_edge(*b)).map_or(start, |at| at + 1);
    &bytes[start..end]
}
