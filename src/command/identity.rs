//! Where identities come from.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::files;
use crate::error::{Error, Result};
use crate::vault::Identities;
use crate::vault::identity::Ask;

/// The largest identity file that is read, in bytes.
const IDENTITY_BYTES_MAX: u64 = 1 << 20;

/// All ways to give an identity. The first of them that says anything is taken, the others are not looked at.
#[derive(Default)]
pub struct IdentitySources {
    /// `--identity FILE`, repeatable.
    pub files: Vec<PathBuf>,
    /// `REGPROV_IDENTITY_FILE`.
    pub env_file: Option<OsString>,
    /// `REGPROV_IDENTITY`: the text of an identity file.
    pub env_key: Option<Zeroizing<String>>,
    /// `$XDG_CONFIG_HOME/regprov/identity.txt`, taken when it exists.
    pub default: Option<PathBuf>,
}

impl IdentitySources {
    /// Those of this process; `files` are its `--identity` flags. Fails when `REGPROV_IDENTITY` is not text.
    pub fn of_process(files: &[PathBuf]) -> Result<Self> {
        let env_key = match std::env::var_os("REGPROV_IDENTITY").map(OsString::into_string) {
            None => None,
            Some(Ok(key)) => Some(Zeroizing::new(key)),
            Some(Err(_)) => return Err(Error::vault("REGPROV_IDENTITY is not text")),
        };
        Ok(IdentitySources { files: files.to_vec(), env_file: std::env::var_os("REGPROV_IDENTITY_FILE"), env_key, default: default_path() })
    }

    /// Reads the identities. `ask` is called once for each that a passphrase protects. All problems are told at once.
    pub fn load(&self, ask: Ask<'_>) -> Result<Identities> {
        let mut identities = Identities::default();
        let mut problems = Vec::new();
        let mut add = |path: &Path| match read_identity(path).and_then(|content| identities.add(&path.display().to_string(), &content, ask)) {
            Ok(()) => {}
            Err(e) => problems.push(e),
        };
        if !self.files.is_empty() {
            self.files.iter().for_each(|path| add(path));
        } else if let Some(path) = &self.env_file {
            if path.is_empty() {
                return Err(Error::vault("REGPROV_IDENTITY_FILE is set but empty").hint("unset it, or let it name a file"));
            }
            add(Path::new(path));
        } else if let Some(key) = &self.env_key {
            if key.trim().is_empty() {
                return Err(Error::vault("REGPROV_IDENTITY is set but empty")
                    .hint("in a CI job this means that the secret is not there for this branch or this author"));
            }
            identities.add("in REGPROV_IDENTITY", key.as_bytes(), ask)?;
        } else if let Some(path) = self.default.as_ref().filter(|path| fs::symlink_metadata(path).is_ok()) {
            add(path);
        } else {
            return Err(self.none());
        }
        match problems.len() {
            0 => Ok(identities),
            1 => Err(problems.remove(0)),
            _ => Err(Error::vault(problems.iter().map(Error::to_string).collect::<Vec<_>>().join("\n"))),
        }
    }

    /// Whether anything is given that [`load`](Self::load) would read.
    pub fn at_hand(&self) -> bool {
        let default = || self.default.as_ref().is_some_and(|path| fs::symlink_metadata(path).is_ok());
        !self.files.is_empty() || self.env_file.is_some() || self.env_key.is_some() || default()
    }

    /// Where [`load`](Self::load) takes identities from, for messages.
    pub fn named(&self) -> String {
        let shown = |path: &Path| path.display().to_string();
        match (&self.files[..], &self.env_file, &self.env_key, &self.default) {
            ([], None, None, Some(path)) => shown(path),
            ([], None, None, None) => "nowhere".to_string(),
            ([], None, Some(_), _) => "REGPROV_IDENTITY".to_string(),
            ([], Some(path), ..) => format!("REGPROV_IDENTITY_FILE ({})", shown(Path::new(path))),
            (files, ..) => files.iter().map(|f| shown(f)).collect::<Vec<_>>().join(", "),
        }
    }

    fn none(&self) -> Error {
        let default = self.default.as_ref().map_or("$XDG_CONFIG_HOME/regprov/identity.txt".to_string(), |path| path.display().to_string());
        Error::vault("an identity is needed to open what is sealed, and none was given")
            .hint(format!("give --identity FILE, or set REGPROV_IDENTITY_FILE to a file or REGPROV_IDENTITY to the key itself, or put it into {default}"))
    }
}

/// `$XDG_CONFIG_HOME/regprov/identity.txt`, else below `~/.config`; `None` without a home. A relative XDG_CONFIG_HOME counts
/// as none (XDG Base Directory Specification).
pub fn default_path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("regprov/identity.txt"))
}

/// Reads an identity file.
fn read_identity(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    read_private("identity", "make one with `regprov vault keygen`", path)
}

/// Reads a file of keys, which messages call `noun`; `hint` says where one comes from. A regular one that group or others can read or
/// write is refused; a pipe belongs to its reader.
pub(super) fn read_private(noun: &str, hint: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let unreadable = |e: std::io::Error| {
        let why = if e.kind() == std::io::ErrorKind::NotFound { "there is no such file".to_string() } else { e.to_string() };
        Error::vault(format!("{noun} {} cannot be read: {why}", path.display())).hint(hint)
    };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() {
        return Err(Error::vault(format!("{noun} {} is a directory", path.display())));
    }
    if meta.is_file() && meta.mode() & 0o066 != 0 {
        return Err(Error::vault(format!("{noun} {} can be read or changed by others (mode {:04o})", path.display(), meta.mode() & 0o7777))
            .hint(format!("chmod 600 {}", path.display())));
    }
    files::read_open(path, file, IDENTITY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::vault::identity::generate;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Place(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    fn load(sources: &IdentitySources) -> std::result::Result<usize, String> {
        sources.load(&mut |_| Err(Error::vault("nobody answers"))).map(|ids| ids.len()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_first_source_that_speaks_is_taken() {
        let place = Place::new();
        let keys = |n: usize| (0..n).map(|_| format!("{}\n", generate().0.as_str())).collect::<String>();
        let (one, two, three) = (place.file("1", &keys(1), 0o600), place.file("2", &keys(2), 0o400), place.file("3", &keys(3), 0o600));
        #[track_caller]
        fn check(sources: &IdentitySources, count: usize, named: &str) {
            assert_eq!(load(sources), Ok(count));
            assert!(sources.named().ends_with(named), "{}", sources.named());
        }
        let mut sources = IdentitySources { default: Some(place.0.path().join("none")), ..Default::default() };
        assert!(load(&sources).unwrap_err().contains("none was given"));
        sources.default = Some(three);
        check(&sources, 3, "/3");
        sources.env_key = Some(keys(4).into());
        check(&sources, 4, "REGPROV_IDENTITY");
        sources.env_file = Some(two.clone().into());
        check(&sources, 2, "/2)");
        sources.files = vec![one];
        check(&sources, 1, "/1");
        sources.files.push(two);
        check(&sources, 3, "/2");
    }

    #[test]
    fn without_an_identity_all_ways_are_told() {
        let error = load(&IdentitySources::default()).unwrap_err();
        for way in ["--identity FILE", "REGPROV_IDENTITY_FILE", "REGPROV_IDENTITY ", "identity.txt"] {
            assert!(error.contains(way), "{way} is not in {error}");
        }
    }

    #[test]
    fn an_identity_that_others_can_read_is_refused() {
        let place = Place::new();
        for mode in [0o644, 0o640, 0o604, 0o620] {
            let path = place.file("id", generate().0.as_str(), mode);
            let error = load(&IdentitySources { files: vec![path.clone()], ..Default::default() }).unwrap_err();
            assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
        assert_eq!(load(&IdentitySources { files: vec![place.file("id", generate().0.as_str(), 0o600)], ..Default::default() }), Ok(1));
    }

    #[test]
    fn a_pipe_passes() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(generate().0.as_bytes()).unwrap();
        drop(writer);
        let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        assert_eq!(load(&IdentitySources { files: vec![path], ..Default::default() }), Ok(1));
    }

    #[test]
    fn empty_variables_and_missing_files_are_told() {
        let place = Place::new();
        let error = |sources: IdentitySources| load(&sources).unwrap_err();
        assert!(error(IdentitySources { env_key: Some("\n".to_string().into()), ..Default::default() }).contains("REGPROV_IDENTITY is set but empty"));
        assert!(error(IdentitySources { env_file: Some("".into()), ..Default::default() }).contains("REGPROV_IDENTITY_FILE is set but empty"));
        let both = error(IdentitySources { files: vec![place.0.path().join("a"), place.0.path().to_path_buf()], ..Default::default() });
        assert!(both.contains("no such file") && both.contains("is a directory"), "{both}");
    }
}
