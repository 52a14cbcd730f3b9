//! The audit key: where it comes from, `vault audit-key` and `vault fingerprint`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::console::Console;
use super::files;
use super::identity::{self, IdentitySources};
use super::vault::{VaultFile, entry};
use crate::error::{Error, Result};
use crate::model::LoginEntry;
use crate::model::text::escape;
use crate::vault::edit::set_fingerprint;
use crate::vault::{AuditKey, open_login, rotation};

/// All ways to give an audit key. It is always a file: a variable would be handed on to every program that is started.
#[derive(Clone, Debug, Default)]
pub struct AuditKeySources {
    /// `--audit-key FILE`.
    pub file: Option<PathBuf>,
    /// `REGPROV_AUDIT_KEY_FILE`.
    pub env_file: Option<OsString>,
    /// `$XDG_CONFIG_HOME/regprov/audit-key.txt`, taken when it exists.
    pub default: Option<PathBuf>,
}

impl AuditKeySources {
    /// Those of this process.
    pub fn of_process(file: Option<&Path>) -> Self {
        AuditKeySources { file: file.map(Path::to_path_buf), env_file: std::env::var_os("REGPROV_AUDIT_KEY_FILE"), default: default_path() }
    }

    /// The key and the file it came from; `None` where none is at hand.
    pub fn load(&self) -> Result<Option<(AuditKey, PathBuf)>> {
        let path = match (&self.file, &self.env_file, &self.default) {
            (Some(path), ..) => path.clone(),
            (None, Some(path), _) if path.is_empty() => {
                return Err(Error::vault("REGPROV_AUDIT_KEY_FILE is set but empty").hint("unset it, or let it name a file"));
            }
            (None, Some(path), _) => PathBuf::from(path),
            (None, None, Some(path)) if fs::symlink_metadata(path).is_ok() => path.clone(),
            _ => return Ok(None),
        };
        let content = identity::read_private("audit key", "make one with `regprov vault audit-key`", &path)?;
        let text = std::str::from_utf8(&content).map_err(|_| Error::vault(format!("audit key {} is not text", path.display())))?;
        let key = AuditKey::parse(text).map_err(|why| Error::vault(format!("{} {why}", path.display())).hint("make one with `regprov vault audit-key`"))?;
        Ok(Some((key, path)))
    }
}

/// `audit-key.txt` beside the identity.
pub fn default_path() -> Option<PathBuf> {
    identity::default_path().map(|path| path.with_file_name("audit-key.txt"))
}

/// `vault audit-key`: a new key in a file of its own (0600, never overwritten). Without `output` it goes to `default`, whose directory is
/// made. Its id is printed, never the key.
pub fn audit_key(output: Option<&Path>, default: Option<&Path>, console: &mut Console<'_>) -> Result<()> {
    let path =
        output.or(default).ok_or_else(|| Error::usage("neither XDG_CONFIG_HOME nor HOME says where to put the audit key").hint("name a file with -o"))?;
    if output.is_none() {
        path.parent().map_or(Ok(()), files::create_dir_private)?;
    }
    let key = AuditKey::generate();
    let text = Zeroizing::new(format!("# key id: {}\n{}\n", key.id(), key.text().as_str()));
    files::create(path, text.as_bytes(), 0o600)?;
    console.note(format_args!("the audit key is in {}; `regprov vault fingerprint VAULT` lets `regprov status` compare passwords with it", path.display()));
    console.print(format!("key id {}\n", key.id()).as_bytes())
}

/// `vault fingerprint`: writes the fingerprint of each sealed password beside it. Other lines stay as they are, and a vault that says so
/// already is not written.
pub fn fingerprint(vault: &Path, key: &AuditKeySources, identities: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    let none = || Error::usage("no audit key was given").hint("give --audit-key FILE, or set REGPROV_AUDIT_KEY_FILE; `regprov vault audit-key` makes one");
    let (key, _) = key.load()?.ok_or_else(none)?;
    let vault = VaultFile::read(vault, "no fingerprint can be set in it")?;
    let file = &vault.name;
    let identities = identities.load(console.ask)?;
    let mut problems = Vec::new();
    let mut spliced = Zeroizing::new(vault.text().to_string());
    let (mut set, mut right) = (0, 0);
    for (name, login, line, column) in vault.document.logins() {
        let is_sealed = login.password.as_deref().is_some_and(|p| crate::vault::is_age_file(p.as_bytes()));
        if !is_sealed {
            console.note(format_args!("note: login `{}` has no sealed password, so it gets no fingerprint", escape(name)));
            continue;
        }
        // Its own, and that of what a rotation replaces.
        let wanted = entry(name, login, format!("{file}:{line}:{column}")).and_then(|entry| {
            let of = |entry: &LoginEntry| -> Result<String> {
                let login = open_login(entry, &identities, false)?;
                Ok(key.fingerprint(&login.registry, &login.username, &login.password).text())
            };
            Ok((of(&entry)?, entry.before_rotation().as_ref().map(of).transpose()?))
        });
        let (own, previous) = match wanted {
            Ok(wanted) => wanted,
            Err(e) => {
                problems.push(e.to_string());
                continue;
            }
        };
        let mut is_right = true;
        if login.fingerprint.as_ref() != Some(&own) {
            spliced = Zeroizing::new(set_fingerprint(file, &spliced, name, &own)?);
            is_right = false;
        }
        if let Some(previous) = previous.filter(|wanted| login.previous.as_ref().and_then(|p| p.fingerprint.as_ref()) != Some(wanted)) {
            spliced = Zeroizing::new(rotation::set_fingerprint(file, &spliced, name, &previous)?);
            is_right = false;
        }
        *(if is_right { &mut right } else { &mut set }) += 1;
    }
    if !problems.is_empty() {
        return Err(Error::vault(format!("{}\nnothing was written", problems.join("\n"))));
    }
    if set > 0 {
        vault.write(&spliced)?;
    }
    let logins = |n: usize| if n == 1 { "1 login".to_string() } else { format!("{n} logins") };
    console.note(format_args!("{file}: fingerprints of {} set, of {} right already (key id {})", logins(set), logins(right), key.id()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::console::testing::Scene;
    use super::super::vault::{RecipientSources, SetOptions, init, keygen, set};
    use super::*;
    use crate::error::Kind;

    struct Site {
        dir: tempfile::TempDir,
        identities: IdentitySources,
        key: AuditKeySources,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (identity, key) = (dir.path().join("id/identity.txt"), dir.path().join("id/audit-key.txt"));
            let mut scene = Scene::default();
            scene.run(|c| keygen(None, Some(&identity), c)).unwrap();
            let recipient = scene.out().trim().to_string();
            Scene::default().run(|c| init(&dir.path().join("vault.yml"), &RecipientSources::keys([recipient]), c)).unwrap();
            let identities = IdentitySources { default: Some(identity), ..Default::default() };
            Site { dir, identities, key: AuditKeySources { default: Some(key), ..Default::default() } }
        }

        fn make_key(&self) -> String {
            let mut scene = Scene::default();
            scene.run(|c| audit_key(None, self.key.default.as_deref(), c)).unwrap();
            scene.out().trim().to_string()
        }

        fn set(&self, login: &str, password: &'static str, key: AuditKeySources) -> String {
            let (registry, username) = (Some(format!("{login}.example.org")), Some("alice".into()));
            let options = SetOptions { vault: self.vault(), login: login.into(), registry, username, audit_key: key, ..Default::default() };
            let mut scene = Scene { piped: Some(password), ..Scene::default() };
            scene.run(|c| set(&options, c)).unwrap();
            scene.err().to_string()
        }

        fn vault(&self) -> PathBuf {
            self.dir.path().join("vault.yml")
        }

        fn lines(&self) -> Vec<String> {
            let text = fs::read_to_string(self.vault()).unwrap();
            text.lines().filter(|l| l.contains("fingerprint")).map(|l| l.trim().to_string()).collect()
        }

        fn fingerprint(&self, key: &AuditKeySources) -> (Result<()>, String) {
            let mut scene = Scene::default();
            let result = scene.run(|c| fingerprint(&self.vault(), key, &self.identities, c));
            (result, scene.err().to_string())
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_never_shown() {
        let site = Site::new();
        assert!(site.key.load().unwrap().is_none());
        let shown = site.make_key();
        let path = site.key.default.clone().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let (key, _) = site.key.load().unwrap().unwrap();
        assert_eq!(shown, format!("key id {}", key.id()));
        assert!(text.starts_with(&format!("# {shown}\nREGPROV-AUDIT-KEY-1").replace("key id ", "key id: ")), "{shown}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Scene::default().run(|c| audit_key(None, Some(&path), c)).unwrap_err().to_string();
        assert!(again.contains("exists already"), "{again}");
        for mode in [0o644, 0o640, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let why = site.key.load().err().unwrap().to_string();
            assert!(why.contains("can be read or changed by others") && why.contains("chmod 600"), "{why}");
        }
        let empty = AuditKeySources { env_file: Some("".into()), ..Default::default() };
        assert!(empty.load().err().unwrap().to_string().contains("set but empty"));
        let absent = AuditKeySources { file: Some(site.dir.path().join("none")), ..Default::default() };
        assert!(absent.load().err().unwrap().to_string().contains("vault audit-key"));
    }

    #[test]
    fn fingerprints_come_and_go_with_the_password() {
        let site = Site::new();
        let none = AuditKeySources::default();
        site.set("ngc", "hunter2", none.clone());
        site.set("hub", "hunter3", none.clone());
        assert!(site.lines().is_empty());
        assert!(site.fingerprint(&none).0.unwrap_err().to_string().contains("no audit key was given"));
        site.make_key();
        let (result, told) = site.fingerprint(&site.key);
        result.unwrap();
        assert!(told.contains("of 2 logins set, of 0 logins right"), "{told}");
        let first = site.lines();
        assert_eq!(first.len(), 2);
        let (result, told) = site.fingerprint(&site.key);
        result.unwrap();
        assert!(told.contains("of 0 logins set, of 2 logins right"), "{told}");
        assert_eq!(site.lines(), first);
        // With the key at hand `set` writes the fingerprint itself, and `fingerprint` finds it right.
        site.set("ngc", "hunter4", site.key.clone());
        assert!(site.lines().len() == 2 && site.lines() != first);
        assert!(site.fingerprint(&site.key).1.contains("of 2 logins right"));
        // Without it the old one would be that of another password.
        let told = site.set("hub", "hunter5", none);
        assert!(told.contains("fingerprint") && told.contains("vault fingerprint"), "{told}");
        assert_eq!(site.lines().len(), 1);
        let text = fs::read_to_string(site.vault()).unwrap();
        assert!(!text.contains("hunter") && !text.contains("AUDIT"), "{text}");
    }

    #[test]
    fn nothing_is_written_unless_all_open() {
        let site = Site::new();
        site.make_key();
        site.set("ngc", "hunter2", AuditKeySources::default());
        site.set("hub", "hunter2", AuditKeySources::default());
        let text = fs::read_to_string(site.vault()).unwrap().replace("hub.example.org", "evil.example.org");
        fs::write(site.vault(), &text).unwrap();
        let error = site.fingerprint(&site.key).0.unwrap_err();
        assert!(error.kind == Kind::Vault && error.to_string().contains("nothing was written"), "{error}");
        assert_eq!(fs::read_to_string(site.vault()).unwrap(), text);
    }
}
