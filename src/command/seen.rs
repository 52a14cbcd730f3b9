//! What this user has seen of vaults, on disk: of each id the serial, at each path the id. A vault that is older than that, or another
//! one than stood there, is refused.
//!
//! It is worth as much as the machine it lies on: a fresh one has seen nothing. Nothing in it is secret, and no run fails because it
//! cannot be read or written.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{files, journal};
use crate::error::{Error, Result};
use crate::model::VaultStamp;
use crate::model::text::escape;
use crate::ui;

/// The largest file of it that is read, in bytes; ours are a few hundred.
const STATE_BYTES_MAX: u64 = 64 << 10;
/// How long a run waits for another one that writes here.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Where it lies, and whether an older vault is taken.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// `None`: nothing is known and nothing is kept.
    folder: Option<PathBuf>,
    allow_rollback: bool,
}

/// That of this process. Every door through which a vault comes in or goes out asks it; handed through all verbs, one could be forgotten.
static OF_PROCESS: RwLock<Seen> = RwLock::new(Seen { folder: None, allow_rollback: false });
/// Whether somebody was told that it cannot be used.
static TOLD: AtomicBool = AtomicBool::new(false);

/// A vault as it was met in this run.
pub struct Met {
    /// Where.
    pub path: PathBuf,
    /// Which one, in which state.
    pub stamp: VaultStamp,
    /// The digest of its bytes, by [`digest`]; `None` for an inventory, which is edited by hand.
    pub digest: Option<String>,
}

/// The version of the format, which is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

impl From<Version> for u32 {
    fn from(_: Version) -> u32 {
        1
    }
}

impl TryFrom<u32> for Version {
    type Error = &'static str;

    fn try_from(version: u32) -> std::result::Result<Self, Self::Error> {
        if version == 1 { Ok(Version) } else { Err("another version") }
    }
}

/// Of one id.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OfId {
    version: Version,
    /// The serial below which it is refused.
    serial: u64,
    /// The largest that ever was; it is another one after `--allow-rollback`.
    largest: u64,
    /// What it held at `serial`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// Of one path.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OfPath {
    version: Version,
    /// For people who look into it.
    path: String,
    id: String,
}

/// Lets this process know what its user has seen, in `$XDG_STATE_HOME/regprov/vaults`; with `allow_rollback` it takes what is older, or another.
pub fn start(allow_rollback: bool) {
    let folder = journal::state_home().map(|state| state.join("regprov/vaults"));
    if folder.is_none() {
        tracing::info!("neither XDG_STATE_HOME nor HOME is an absolute path: a vault that was rolled back is not known");
    }
    *OF_PROCESS.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Seen { folder, allow_rollback };
}

/// The digest by which two contents of one serial are told apart.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Seen {
    /// That of this process; without [`start`] nothing is known.
    pub fn of_process() -> Self {
        OF_PROCESS.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Whether a vault with this stamp, or with none, may be used at this path.
    ///
    /// # Errors
    /// It is older than what was seen of it, or another one stood there.
    pub fn check(&self, path: &Path, stamp: Option<&VaultStamp>) -> Result<()> {
        let Some(folder) = self.folder.as_ref().filter(|_| !self.allow_rollback) else { return Ok(()) };
        let name = path.display();
        let there: Option<OfPath> = self.read(&file_of_path(folder, path));
        match (stamp, there) {
            (None, Some(before)) => {
                return Err(Error::vault(format!(
                    "{name} has no `vault_id` any more, and vault {} was seen there: it was cut, or swapped",
                    escape(&before.id)
                ))
                .hint("restore it from git; when it is meant, take it with --allow-rollback"));
            }
            (Some(stamp), Some(before)) if stamp.id != before.id => {
                return Err(Error::vault(format!("{name} was swapped: it is vault {}, and vault {} was seen there", escape(&stamp.id), escape(&before.id)))
                    .hint("when another vault is meant to stand there, take it with --allow-rollback"));
            }
            _ => {}
        }
        let Some(stamp) = stamp else { return Ok(()) };
        let Some(before) = self.of_id(folder, &stamp.id) else { return Ok(()) };
        if stamp.serial < before.serial {
            return Err(Error::vault(format!("{name} was rolled back: it has serial {}, and serial {} of this vault was seen before", stamp.serial, before.serial))
                .hint("an older branch, a checkout that is behind and a restored copy look like this: fetch the newest one; when the old one is meant, take it with --allow-rollback"));
        }
        Ok(())
    }

    /// The stamp of a vault after its next change: its serial is larger than all that were seen.
    pub fn next(&self, stamp: VaultStamp) -> VaultStamp {
        let largest = self.folder.as_ref().and_then(|folder| self.of_id(folder, &stamp.id)).map_or(0, |seen| seen.largest);
        VaultStamp { serial: stamp.serial.max(largest.saturating_add(1)), ..stamp }
    }

    /// Keeps what was met and found good. What is older is kept with `--allow-rollback` alone.
    pub fn keep(&self, met: &[Met]) {
        self.keep_all(met, self.allow_rollback);
    }

    /// Keeps what this process wrote itself, whatever was there before.
    pub fn keep_own(&self, path: &Path, stamp: &VaultStamp, content: &[u8]) {
        self.keep_all(&[Met { path: path.to_path_buf(), stamp: stamp.clone(), digest: Some(digest(content)) }], true);
    }

    fn keep_all(&self, met: &[Met], also_older: bool) {
        let Some(folder) = self.folder.as_ref().filter(|_| !met.is_empty()) else { return };
        // What is as it was costs no lock and no write.
        if met.iter().all(|met| self.is_known(folder, met)) {
            return;
        }
        let kept = files::create_dir_private(folder).map_err(|e| e.message).and_then(|()| {
            let _lock = lock(folder);
            met.iter().try_for_each(|met| self.keep_one(folder, met, also_older).map_err(|e| e.message))
        });
        if let Err(why) = kept {
            tell(&format!("what was seen of the vaults cannot be kept, so a later rollback is not known: {why}"));
        }
    }

    fn is_known(&self, folder: &Path, met: &Met) -> bool {
        let of_id: Option<OfId> = self.of_id(folder, &met.stamp.id);
        let of_path: Option<OfPath> = self.read(&file_of_path(folder, &met.path));
        let same = |seen: OfId| seen.serial == met.stamp.serial && (met.digest.is_none() || seen.digest == met.digest);
        of_id.is_some_and(same) && of_path.is_some_and(|seen| seen.id == met.stamp.id)
    }

    fn keep_one(&self, folder: &Path, met: &Met, also_older: bool) -> Result<()> {
        let stamp = &met.stamp;
        let before = self.of_id(folder, &stamp.id);
        let (serial_before, largest) = before.as_ref().map_or((0, 0), |seen| (seen.serial, seen.largest));
        // Another run may have seen a newer one meanwhile.
        if also_older || stamp.serial >= serial_before {
            let digest_before = before.filter(|seen| seen.serial == stamp.serial).and_then(|seen| seen.digest);
            if !also_older && digest_before.as_ref().zip(met.digest.as_ref()).is_some_and(|(a, b)| a != b) {
                // What is not sealed is edited by hand too, so nobody is warned.
                let serial = stamp.serial;
                tracing::info!(file = %met.path.display(), serial, "not what was seen of this serial: edited by hand, or changed twice from one state");
            }
            let digest = met.digest.clone().or(digest_before);
            self.write(&file_of_id(folder, &stamp.id), &OfId { version: Version, serial: stamp.serial, largest: largest.max(stamp.serial), digest })?;
        }
        let path = canonical(&met.path).display().to_string();
        self.write(&file_of_path(folder, &met.path), &OfPath { version: Version, path, id: stamp.id.clone() })
    }

    fn of_id(&self, folder: &Path, id: &str) -> Option<OfId> {
        // An id that is none would name another file.
        VaultStamp::is_id(id).then(|| self.read(&file_of_id(folder, id))).flatten()
    }

    /// A file of ours; one that cannot be read is as good as none, and told.
    fn read<T: for<'a> Deserialize<'a>>(&self, path: &Path) -> Option<T> {
        if matches!(fs::symlink_metadata(path), Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)) {
            return None;
        }
        let read = files::read(path, STATE_BYTES_MAX).map_err(|e| e.message);
        let read = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|_| format!("{} is none of regprov's; remove it", path.display())));
        read.map_err(|why| tell(&format!("what was seen of the vaults cannot be read, so a rollback may not be known: {why}"))).ok()
    }

    fn write<T: Serialize>(&self, path: &Path, state: &T) -> Result<()> {
        let text = serde_json::to_string(state).map_err(|e| Error::internal(format!("{}: {e}", path.display())))?;
        files::put_private(path, format!("{text}\n").as_bytes())
    }
}

/// Tells once in a process what goes on without.
fn tell(why: &str) {
    if !TOLD.swap(true, Ordering::Relaxed) {
        ui::warning(why);
    }
}

/// Two runs that write at once keep the newer state. Where there are no locks, each file is still old or new.
fn lock(folder: &Path) -> Option<File> {
    let file = fs::OpenOptions::new().create(true).mode(0o600).truncate(false).write(true).open(folder.join("lock")).ok()?;
    let end = Instant::now() + LOCK_WAIT;
    while file.try_lock().is_err() {
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(file)
}

fn file_of_id(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn file_of_path(folder: &Path, path: &Path) -> PathBuf {
    folder.join(format!("at-{}.json", &digest(canonical(path).as_os_str().as_encoded_bytes())[..32]))
}

fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const A: &str = "v00000000000000aa";
    const B: &str = "v00000000000000bb";

    struct Site(tempfile::TempDir);

    impl Site {
        fn new() -> Self {
            let site = Site(tempfile::tempdir().unwrap());
            fs::write(site.path("v.yml"), "").unwrap();
            fs::write(site.path("w.yml"), "").unwrap();
            site
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn seen(&self, allow_rollback: bool) -> Seen {
            Seen { folder: Some(self.path("state/vaults")), allow_rollback }
        }

        /// A run that meets this vault.
        fn run(&self, name: &str, id: &str, serial: u64, allow_rollback: bool) -> std::result::Result<(), String> {
            let (seen, stamp) = (self.seen(allow_rollback), VaultStamp { id: id.into(), serial });
            seen.check(&self.path(name), Some(&stamp)).map_err(|e| e.to_string())?;
            seen.keep(&[Met { path: self.path(name), stamp, digest: Some(digest(name.as_bytes())) }]);
            Ok(())
        }
    }

    #[track_caller]
    fn refused(result: std::result::Result<(), String>, words: &[&str]) {
        let error = result.expect_err("not refused");
        assert!(words.iter().all(|w| error.contains(w)) && error.contains("--allow-rollback"), "{error}");
    }

    #[test]
    fn what_is_older_or_another_is_refused() {
        let site = Site::new();
        for serial in [3, 3, 5] {
            site.run("v.yml", A, serial, false).unwrap();
        }
        refused(site.run("v.yml", A, 4, false), &["v.yml was rolled back", "serial 4", "serial 5"]);
        // Wherever a copy of it lies.
        refused(site.run("w.yml", A, 4, false), &["w.yml was rolled back"]);
        refused(site.run("v.yml", B, 9, false), &["v.yml was swapped", A, B]);
        refused(site.seen(false).check(&site.path("v.yml"), None).map_err(|e| e.to_string()), &["no `vault_id` any more", A]);
        site.run("w.yml", B, 1, false).unwrap();
        site.run("v.yml", A, 5, false).unwrap();
        site.seen(false).check(&site.path("new.yml"), None).unwrap();
    }

    #[test]
    fn a_refused_one_leaves_nothing_and_one_that_is_allowed_does() {
        let site = Site::new();
        site.run("v.yml", A, 12, false).unwrap();
        refused(site.run("v.yml", A, 7, false), &["serial 12"]);
        site.run("v.yml", A, 7, true).unwrap();
        site.run("v.yml", A, 7, false).unwrap();
        refused(site.run("v.yml", A, 6, false), &["serial 7"]);
        // For others, who did not allow it, the next change is newer than all.
        let stamp = VaultStamp { id: A.into(), serial: 8 };
        assert_eq!(site.seen(false).next(stamp.clone()).serial, 13);
        assert_eq!(Seen::default().next(stamp).serial, 8);
        site.run("v.yml", B, 1, true).unwrap();
        refused(site.run("v.yml", A, 13, false), &["swapped"]);
    }

    #[test]
    fn what_is_written_here_is_kept() {
        let site = Site::new();
        let stamp = |id: &str, serial| VaultStamp { id: id.into(), serial };
        site.run("v.yml", A, 3, false).unwrap();
        site.seen(false).keep_own(&site.path("v.yml"), &stamp(A, 4), b"x");
        refused(site.run("v.yml", A, 3, false), &["serial 4"]);
        site.seen(false).keep_own(&site.path("v.yml"), &stamp(B, 1), b"x");
        site.run("v.yml", B, 1, false).unwrap();
    }

    #[test]
    fn it_is_private_and_small() {
        let site = Site::new();
        site.run("v.yml", A, 3, false).unwrap();
        let folder = site.path("state/vaults");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(folder.parent().unwrap())), (0o700, 0o700));
        let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(files.len(), 3, "of the id, of the path, the lock: {files:?}");
        assert!(files.iter().all(|f| mode(f) == 0o600 && fs::metadata(f).unwrap().len() < 1000), "{files:?}");
        assert_eq!(
            fs::read_to_string(folder.join(format!("{A}.json"))).unwrap().split("\"digest\"").next(),
            Some("{\"version\":1,\"serial\":3,\"largest\":3,")
        );
    }

    #[test]
    fn what_cannot_be_read_or_written_stops_nothing() {
        let site = Site::new();
        site.run("v.yml", A, 3, false).unwrap();
        let folder = site.path("state/vaults");
        for text in ["", "{}", "nonsense", r#"{"version":2,"serial":9,"largest":9}"#] {
            fs::write(folder.join(format!("{A}.json")), text).unwrap();
            site.run("v.yml", A, 2, false).unwrap();
            refused(site.run("v.yml", A, 1, false), &["serial 2"]);
        }
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "no folder").unwrap();
        site.run("v.yml", A, 1, false).unwrap();
        // An id never names a file outside of the folder.
        let far = VaultStamp { id: "../../v.yml".into(), serial: 1 };
        site.seen(false).check(&site.path("v.yml"), Some(&far)).unwrap();
        assert_eq!(fs::read_to_string(site.path("v.yml")).unwrap(), "");
        Seen::default().check(&site.path("v.yml"), Some(&far)).unwrap();
        Seen::default().keep(&[Met { path: site.path("v.yml"), stamp: far, digest: None }]);
    }

    #[test]
    fn runs_at_once_keep_the_newest() {
        let site = Site::new();
        std::thread::scope(|scope| {
            for serial in 1..=24 {
                let site = &site;
                scope.spawn(move || drop(site.run("v.yml", A, serial, false)));
            }
        });
        refused(site.run("v.yml", A, 23, false), &["serial 24"]);
    }
}
