//! Whose signatures of vaults count, and the demand for them: by `--allowed-signers`, which comes from outside of a repository, or by an
//! inventory that says `signed: required`.
//!
//! What is demanded is verified over a file's bytes before anything in them is read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::load::now;
use super::signing::{self, SigningKey};
use super::{files, sources};
use crate::error::{Error, Kind, Result};
use crate::model::text::{sanitize, shell_word};
use crate::ui;
use crate::vault::signature::{SIGNATURE_BYTES_MAX, SIGNERS_BYTES_MAX, Signed, Signers};

/// The file beside an inventory, or a vault, that says whose signatures count.
const BESIDE: &str = "allowed_signers";

/// Exit codes from here on tell of a signal.
const SIGNALLED: u8 = 128;

/// What `--allowed-signers` named, and what stands in it once somebody asked.
static GIVEN: OnceLock<PathBuf> = OnceLock::new();
static LOADED: OnceLock<Result<Arc<Signers>>> = OnceLock::new();
/// What this process demands. As with [`seen`](super::seen), every door through which a vault comes in or goes out asks it.
static DEMAND: RwLock<Option<Demand>> = RwLock::new(None);
/// What was written and could not be signed again.
static STALE: Mutex<Vec<(PathBuf, String)>> = Mutex::new(Vec::new());

/// That files are signed.
#[derive(Clone)]
pub struct Demand {
    signers: Arc<Signers>,
    /// Who demands it, for messages.
    by: String,
}

/// Lets this process demand signatures as `--allowed-signers` says, else `REGPROV_ALLOWED_SIGNERS`.
///
/// # Errors
/// The variable is set and empty.
pub fn start(flag: Option<&Path>) -> Result<()> {
    let file = match (flag, std::env::var_os("REGPROV_ALLOWED_SIGNERS")) {
        (Some(file), _) => file.to_path_buf(),
        (None, Some(empty)) if empty.is_empty() => {
            return Err(Error::vault("REGPROV_ALLOWED_SIGNERS is set but empty").hint("unset it, or let it name a file"));
        }
        (None, Some(file)) => PathBuf::from(file),
        (None, None) => return Ok(()),
    };
    let _ = GIVEN.set(file);
    Ok(())
}

/// What this process demands; `None` when it demands nothing.
///
/// # Errors
/// The file that was given cannot be read, or is wrong.
pub fn demand() -> Result<Option<Demand>> {
    if let Some(signers) = given()? {
        let by = format!("--allowed-signers {}", signers.name());
        return Ok(Some(Demand { signers, by }));
    }
    Ok(DEMAND.read().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Those of `--allowed-signers`. It is read once: it may be a pipe.
fn given() -> Result<Option<Arc<Signers>>> {
    let Some(file) = GIVEN.get() else { return Ok(None) };
    LOADED.get_or_init(|| read_signers(file).and_then(names_somebody)).clone().map(Some)
}

/// Warns in CI when the signers that were given lie in the repository of this inventory: they are to come from outside of what others can change.
pub fn look_where_signers_are(inventory: &Path) {
    let Some(file) = GIVEN.get().filter(|file| file.is_file() && sources::is_ci()) else { return };
    let directory = inventory.parent().unwrap_or(Path::new(""));
    if sources::outside_of_repository(file, directory).is_none() {
        let (file, inventory) = (file.display(), inventory.display());
        ui::warning(&format!("{file} lies in the repository of {inventory}: whoever can change what is signed can change who may sign"));
    }
}

/// Demands signatures, in this process from now on, by an inventory's `signed: required` and the `allowed_signers` beside it.
///
/// # Errors
/// There is no such file, or it is wrong.
pub fn demand_of(inventory: &Path) -> Result<Demand> {
    let shown = inventory.display();
    let file = beside(inventory);
    if file.symlink_metadata().is_err() {
        return Err(Error::vault(format!("{shown} demands signatures (`signed: required`), and there is no {} that says whose count", file.display()))
            .hint("write a line for each who may sign:\n        alice namespaces=\"regprov\" ssh-ed25519 AAAA...\n        `regprov vault sign VAULT` prints that of its key"));
    }
    let demand = Demand { signers: read_signers(&file).and_then(names_somebody)?, by: format!("`signed: required` in {shown}") };
    *DEMAND.write().unwrap_or_else(PoisonError::into_inner) = Some(demand.clone());
    Ok(demand)
}

/// Those whose signatures of a vault count where nothing is demanded: `allowed_signers` beside it, if there is one that names somebody.
///
/// # Errors
/// It cannot be read, or is wrong.
pub fn signers_beside(vault: &Path) -> Result<Option<Arc<Signers>>> {
    let file = beside(vault);
    if file.symlink_metadata().is_err() { Ok(None) } else { read_signers(&file).map(|signers| Some(signers).filter(|s| !s.is_empty())) }
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name(BESIDE)
}

fn read_signers(file: &Path) -> Result<Arc<Signers>> {
    let name = file.display().to_string();
    let bytes = files::read(file, SIGNERS_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{name} is not text")))?;
    let signers = Signers::parse(&name, text, &local_time).map_err(|e| e.hint("ssh-keygen(1) says under ALLOWED SIGNERS what stands in it"))?;
    Ok(Arc::new(signers))
}

fn names_somebody(signers: Arc<Signers>) -> Result<Arc<Signers>> {
    match signers.is_empty() {
        true => {
            Err(Error::vault(format!("{} names nobody, so no signature counts", signers.name())).hint("`regprov vault sign VAULT` prints the line of its key"))
        }
        false => Ok(signers),
    }
}

impl Demand {
    /// Whose signature of this content lies beside the file.
    ///
    /// # Errors
    /// There is none, or it does not count; says why, and what to do.
    pub fn check(&self, path: &Path, content: &[u8]) -> Result<Signed> {
        let Some(signature) = read_signature(path)? else {
            let message = format!("{} is not signed: there is no {}, and {} demands one", path.display(), of(path).display(), self.by);
            return Err(Error::vault(message).hint(format!("look at what is in it; then somebody whom {} names types `{}`", self.signers.name(), line(path))));
        };
        verify(&self.signers, path, &signature, content).map_err(|e| Error { message: format!("{}; {} demands one that does", e.message, self.by), ..e })
    }

    /// Whose signatures count.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }
}

/// Verifies a signature that lies beside a file.
///
/// # Errors
/// It does not count; says why, and what to do.
pub fn verify(signers: &Signers, path: &Path, signature: &[u8], content: &[u8]) -> Result<Signed> {
    let what = path.display().to_string();
    signers.verify(signature, content, &what, now()).map_err(|why| {
        Error::vault(format!("{} {why}", of(path).display())).hint(format!(
            "restore both from git; or look at what changed, then somebody whom {} names types `{}`",
            signers.name(),
            line(path)
        ))
    })
}

/// A vault for a vault command: its bytes, whose signature was verified where this process demands one.
///
/// # Errors
/// It cannot be read, or is not signed as demanded.
pub fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = files::read(path, bytes_max)?;
    verified(path, &bytes)?;
    Ok(bytes)
}

/// As [`read`], of bytes that were read.
///
/// # Errors
/// They are not signed as this process demands.
pub fn verified(path: &Path, bytes: &[u8]) -> Result<()> {
    demand()?.map_or(Ok(()), |demand| demand.check(path, bytes).map(drop))
}

/// The file of a vault's signature.
pub fn of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// The signature beside a vault; `None` when there is none.
///
/// # Errors
/// It cannot be read.
pub fn read_signature(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let file = of(path);
    if file.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    files::read(&file, SIGNATURE_BYTES_MAX).map(Some)
}

/// The command that signs a vault.
pub fn line(path: &Path) -> String {
    format!("regprov vault sign {}", shell_word(&path.display().to_string()))
}

/// Refuses to begin with a change of a vault that this process could not read again: one that demands signatures has to sign.
///
/// # Errors
/// No signing key is given.
pub fn may_change(path: &Path) -> Result<()> {
    let Some(demand) = demand()? else { return Ok(()) };
    if SigningKey::of_process(None)?.is_some() {
        return Ok(());
    }
    Err(Error::vault(format!("{} would lose its signature, which {} demands, and no signing key is given", path.display(), demand.by))
        .hint("let REGPROV_SIGNING_KEY name an SSH private key, or a .pub whose private half the agent has"))
}

/// A vault was written: it is signed again when it was signed, or when this process demands it, and a key is given. What cannot be is told, in
/// the end with an exit code ([`finish`]): the vault stands as it was written.
pub fn was_written(path: &Path, content: &[u8]) {
    let has_signature = of(path).symlink_metadata().is_ok();
    let (signature, shown) = (sanitize(&of(path).display().to_string()), sanitize(&path.display().to_string()));
    let demanded = demand().ok().flatten();
    if !has_signature && demanded.is_none() {
        return;
    }
    let signed = SigningKey::of_process(None).and_then(|key| key.map(|key| signing::sign_beside(&key, path, content, demanded.as_ref())).transpose());
    match signed {
        Ok(Some(_)) => ui::note(&format!("{shown} is signed again ({signature})")),
        Ok(None) if has_signature => ui::note(&format!("{signature} does not fit {shown} any more: sign it again with `{}`", line(path))),
        Ok(None) => ui::note(&format!("{shown} is not signed yet: `{}`", line(path))),
        Err(e) => {
            let stale = if has_signature { format!("{signature} does not fit it any more") } else { "it has no signature".to_string() };
            let told = format!("{shown} was written and not signed again, so {stale}: {}", e.message);
            STALE.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_path_buf(), told));
        }
    }
}

/// The end of a command: what it wrote and could not sign makes it fail, unless something worse did.
///
/// # Errors
/// As above; what `done` says.
pub fn finish(done: Result<u8>) -> Result<u8> {
    let stale = std::mem::take(&mut *STALE.lock().unwrap_or_else(PoisonError::into_inner));
    if stale.is_empty() {
        return done;
    }
    let told = stale.iter().map(|(_, told)| told.as_str()).collect::<Vec<_>>().join("\n");
    match done {
        Ok(code) if ![Kind::Internal, Kind::Usage].map(Kind::exit_code).contains(&code) && code < SIGNALLED => {
            Err(Error::vault(told).hint(format!("when the key is at hand: {}", stale.iter().map(|(path, _)| line(path)).collect::<Vec<_>>().join("; "))))
        }
        worse => {
            ui::warning(&told);
            worse
        }
    }
}

/// A moment of this machine's time zone in seconds since 1970-01-01 UTC.
fn local_time([year, month, day, hour, minute, second]: [i32; 6]) -> Option<i64> {
    // SAFETY: tm is a struct of integers and a pointer, for which zeros are a value; mktime reads the integers and writes the struct.
    let seconds = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        (tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_isdst) = (year - 1900, month - 1, day, hour, minute, second, -1);
        libc::mktime(&mut tm)
    };
    (seconds != -1).then_some(seconds)
}
