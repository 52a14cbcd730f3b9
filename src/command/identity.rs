//! Where identities come from.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::RawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::program::{self, Terms};
use super::{files, given};
use crate::cli::IdentityArgs;
use crate::error::{Error, Kind, Result};
use crate::inventory::Program;
use crate::model::text;
use crate::vault::Identities;
use crate::vault::identity::Ask;

/// The largest identity file that is read, in bytes.
const IDENTITY_BYTES_MAX: u64 = 1 << 20;

/// A password manager that may have to ask for a passphrase, a PIN or a touch.
const COMMAND: Terms = Terms { deadline: Duration::from_secs(60), output_bytes_max: IDENTITY_BYTES_MAX as usize, is_secret: true, with_person: true };

/// All ways to give an identity. Flags are taken together; without any, the first of the others that says anything is taken, and the rest
/// is not looked at.
#[derive(Default)]
pub struct IdentitySources {
    /// `--identity FILE`, repeatable.
    pub files: Vec<PathBuf>,
    /// `--identity-command COMMAND`, repeatable: what prints an identity file.
    pub commands: Vec<String>,
    /// `--identity-fd N`, repeatable.
    pub descriptors: Vec<Descriptor>,
    /// `REGPROV_IDENTITY_FILE`.
    pub env_file: Option<OsString>,
    /// `REGPROV_IDENTITY_COMMAND`.
    pub env_command: Option<OsString>,
    /// `REGPROV_IDENTITY`: the text of an identity file.
    pub env_key: Option<Zeroizing<String>>,
    /// `$XDG_CONFIG_HOME/regprov/identity.txt`, taken when it exists.
    pub default: Option<PathBuf>,
}

/// A descriptor that an identity is read from, once.
pub struct Descriptor {
    number: RawFd,
    file: Cell<Option<File>>,
}

impl Descriptor {
    /// Of this number, which messages name.
    pub fn new(number: RawFd, file: File) -> Self {
        Descriptor { number, file: Cell::new(Some(file)) }
    }

    fn name(&self) -> String {
        format!("from descriptor {}", self.number)
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>> {
        let file = self.file.take().ok_or_else(|| Error::internal(format!("descriptor {} is read a second time", self.number)))?;
        let what = format!("identity {}", self.name());
        let meta = file.metadata().map_err(|e| Error::vault(format!("{what} cannot be read: {e}")))?;
        if !meta.is_file() && !meta.file_type().is_fifo() {
            return Err(Error::vault(format!("{what}: this is neither a file nor a pipe")));
        }
        // A file without a name can be opened by nobody else.
        if meta.nlink() > 0 {
            owner_alone(&what, &meta, "chmod 600 that file")?;
        }
        files::read_open(Path::new(&what), file, IDENTITY_BYTES_MAX)
    }
}

impl IdentitySources {
    /// Those of this process: these flags of its, and its environment. Descriptors are claimed at once; see [`given::claim`].
    ///
    /// # Errors
    /// `REGPROV_IDENTITY` is not text, or a descriptor cannot be read from.
    pub fn of_process(args: &IdentityArgs) -> Result<Self> {
        let env_key = match given::identity().map(|key| std::str::from_utf8(key)) {
            None => None,
            Some(Ok(key)) => Some(Zeroizing::new(key.to_string())),
            Some(Err(_)) => return Err(Error::vault("REGPROV_IDENTITY is not text")),
        };
        let claim = |number: &RawFd| given::claim(*number).map(|file| Descriptor::new(*number, file));
        let claimed = args.descriptors.iter().map(|n| claim(n).map_err(|e| Error { message: format!("--identity-fd: {}", e.message), ..e }));
        Ok(IdentitySources {
            files: args.identities.clone(),
            commands: args.commands.clone(),
            descriptors: claimed.collect::<Result<_>>()?,
            env_file: std::env::var_os("REGPROV_IDENTITY_FILE"),
            env_command: std::env::var_os("REGPROV_IDENTITY_COMMAND"),
            env_key,
            default: default_path(),
        })
    }

    /// Reads the identities. `ask` is called once for each that a passphrase protects. All problems are told at once.
    pub fn load(&self, ask: Ask<'_>) -> Result<Identities> {
        let mut identities = Identities::default();
        let mut problems = Vec::new();
        let mut ask = |what: &str| {
            ask(what).map_err(|e| match e.hint {
                Some(_) => e,
                None => e.hint("run it on a terminal, or give an identity without a passphrase: --identity-command, --identity-fd, REGPROV_IDENTITY"),
            })
        };
        let mut add = |name: &str, content: Result<Zeroizing<Vec<u8>>>| match content.and_then(|content| identities.add(name, &content, &mut ask)) {
            Ok(()) => {}
            Err(e) => problems.push(e),
        };
        let shown = |path: &Path| path.display().to_string();
        match self.kind() {
            Some(Kinds::Flags) => {
                self.files.iter().for_each(|path| add(&shown(path), read_identity(path)));
                self.descriptors.iter().for_each(|d| add(&d.name(), d.read()));
                self.commands.iter().for_each(|line| {
                    let (name, printed) = run_line(line, "--identity-command");
                    add(&name, printed);
                });
            }
            Some(Kinds::EnvFile(path)) if path.is_empty() => {
                return Err(Error::vault("REGPROV_IDENTITY_FILE is set but empty").hint("unset it, or let it name a file"));
            }
            Some(Kinds::EnvFile(path)) => add(&shown(Path::new(path)), read_identity(Path::new(path))),
            Some(Kinds::EnvCommand(line)) => {
                let line = line.to_str().ok_or_else(|| Error::vault("REGPROV_IDENTITY_COMMAND is not text"))?;
                let (name, printed) = run_line(line, "REGPROV_IDENTITY_COMMAND");
                add(&name, printed);
            }
            Some(Kinds::EnvKey(key)) if key.trim().is_empty() => {
                return Err(Error::vault("REGPROV_IDENTITY is set but empty")
                    .hint("in a CI job this means that the secret is not there for this branch or this author"));
            }
            Some(Kinds::EnvKey(key)) => add("in REGPROV_IDENTITY", Ok(Zeroizing::new(key.as_bytes().to_vec()))),
            Some(Kinds::Default(path)) => add(&shown(path), read_identity(path)),
            None => return Err(self.none()),
        }
        if problems.is_empty() { Ok(identities) } else { Err(Error::together(problems)) }
    }

    /// Whether anything is given that [`load`](Self::load) would read.
    pub fn at_hand(&self) -> bool {
        self.kind().is_some()
    }

    /// Where [`load`](Self::load) takes identities from, for messages.
    pub fn named(&self) -> String {
        let shown = |path: &Path| path.display().to_string();
        match self.kind() {
            Some(Kinds::Flags) => {
                let files = self.files.iter().map(|f| shown(f));
                let descriptors = self.descriptors.iter().map(|d| format!("descriptor {}", d.number));
                files.chain(descriptors).chain(self.commands.iter().map(|line| program_of(line))).collect::<Vec<_>>().join(", ")
            }
            Some(Kinds::EnvFile(path)) => format!("REGPROV_IDENTITY_FILE ({})", shown(Path::new(path))),
            Some(Kinds::EnvCommand(line)) => format!("REGPROV_IDENTITY_COMMAND ({})", program_of(&line.to_string_lossy())),
            Some(Kinds::EnvKey(_)) => "REGPROV_IDENTITY".to_string(),
            Some(Kinds::Default(path)) => shown(path),
            None => "nowhere".to_string(),
        }
    }

    /// What is taken.
    fn kind(&self) -> Option<Kinds<'_>> {
        if !(self.files.is_empty() && self.commands.is_empty() && self.descriptors.is_empty()) {
            return Some(Kinds::Flags);
        }
        let file = self.env_file.as_ref().map(Kinds::EnvFile);
        let or_command = || self.env_command.as_ref().map(Kinds::EnvCommand);
        let or_key = || self.env_key.as_deref().map(|key| Kinds::EnvKey(key));
        let or_default = || self.default.as_deref().filter(|path| fs::symlink_metadata(path).is_ok()).map(Kinds::Default);
        file.or_else(or_command).or_else(or_key).or_else(or_default)
    }

    fn none(&self) -> Error {
        let default = self.default.as_ref().map_or("$XDG_CONFIG_HOME/regprov/identity.txt".to_string(), |path| path.display().to_string());
        Error::vault("an identity is needed to open what is sealed, and none was given").hint(format!(
            "give --identity FILE, --identity-command or --identity-fd; or set REGPROV_IDENTITY_FILE, REGPROV_IDENTITY_COMMAND or REGPROV_IDENTITY (the \
             key itself); or put it into {default}"
        ))
    }
}

/// The ways to give an identity, in their order.
enum Kinds<'a> {
    Flags,
    EnvFile(&'a OsString),
    EnvCommand(&'a OsString),
    EnvKey(&'a str),
    Default(&'a Path),
}

/// The program of a command line, for messages: its arguments are not shown.
fn program_of(line: &str) -> String {
    let words = text::words(line).unwrap_or_default();
    format!("`{}`", text::sanitize(words.first().map_or("", String::as_str)))
}

/// Runs a command line that prints an identity, which stands at `place`; the name of what it printed, for messages, and that.
fn run_line(line: &str, place: &str) -> (String, Result<Zeroizing<Vec<u8>>>) {
    let run = || {
        let argv = text::words(line).map_err(|why| {
            Error::usage(format!("{place} {why}")).hint("give a program and its arguments, such as 'pass show regprov/identity'; there is no shell")
        })?;
        let hint = format!("{place} is run without a shell: name a program and its arguments; nothing in it is expanded");
        program::run(&Program { argv, hint }, &COMMAND).map_err(|e| Error { kind: Kind::Vault, message: format!("{place}: {}", e.message), ..e })
    };
    (format!("from {}", program_of(line)), run())
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
    owner_alone(&format!("{noun} {}", path.display()), &meta, &format!("chmod 600 {}", path.display()))?;
    files::read_open(path, file, IDENTITY_BYTES_MAX)
}

/// Refuses a regular file that group or others can read or write.
pub(super) fn owner_alone(what: &str, meta: &fs::Metadata, hint: &str) -> Result<()> {
    if meta.is_file() && meta.mode() & 0o066 != 0 {
        return Err(Error::vault(format!("{what} can be read or changed by others (mode {:04o})", meta.mode() & 0o7777)).hint(hint));
    }
    Ok(())
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
