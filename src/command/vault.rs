//! `regprov vault`: make, fill and read vaults.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::audit::AuditKeySources;
use super::console::Console;
use super::files::{self, FILE_BYTES_MAX};
use super::identity::IdentitySources;
use super::load::now;
use crate::error::{Error, Result};
use crate::model::registry::NameNote;
use crate::model::text::escape;
use crate::model::{Expiry, LoginEntry, PasswordText, PreviousPassword, Registry, Repository, Secret, Username};
use crate::vault::edit::{LoginText, scalar, set_become, set_login};
use crate::vault::file::{decrypt_with_passphrase, is_passphrase_file, recipient_count};
use crate::vault::seal::{check_auth_host, check_become_password};
use crate::vault::{Recipients, SealedValue, VaultDocument, decrypt as open_file, encrypt as seal_file, identity, is_age_file, open_login, seal, seal_become};

/// `vault keygen`: a new age identity, as age-keygen writes it, in a file of its own (0600, never overwritten); `-` is stdout.
/// Without `output` it goes to `default`, whose directory is made. The recipient is printed.
pub fn keygen(output: Option<&Path>, default: Option<&Path>, console: &mut Console<'_>) -> Result<()> {
    let (secret, recipient) = identity::generate();
    let created = time::OffsetDateTime::from(SystemTime::now()).replace_nanosecond(0).expect("zero is a nanosecond");
    let created = created.format(&time::format_description::well_known::Rfc3339).map_err(|e| Error::internal(format!("the date cannot be written: {e}")))?;
    let text = zeroize::Zeroizing::new(format!("# created: {created}\n# public key: {recipient}\n{}\n", secret.as_str()));
    if output == Some(Path::new("-")) {
        console.secret_may_be_printed(false).map_err(|e| e.hint("name a file with -o, or send it to a program"))?;
        console.print(text.as_bytes())?;
        console.note(format_args!("Public key: {recipient}"));
        return Ok(());
    }
    let path = output.or(default).ok_or_else(|| Error::usage("neither XDG_CONFIG_HOME nor HOME says where to put the identity").hint("name a file with -o"))?;
    if output.is_none() {
        path.parent().map_or(Ok(()), files::create_dir_private)?;
    }
    files::create(path, text.as_bytes(), 0o600)?;
    console.note(format_args!("the identity is in {}; its recipient, for `vault init -r`:", path.display()));
    console.print(format!("{recipient}\n").as_bytes())
}

/// `vault init`: a new vault for these recipients, without logins.
pub fn init(vault: &Path, recipients: &[String], console: &mut Console<'_>) -> Result<()> {
    let recipients = Recipients::parse(recipients.iter().map(String::as_str))?;
    if recipients.is_empty() {
        return Err(Error::usage("a vault needs a recipient").hint("name one with -r; `regprov vault keygen` prints yours"));
    }
    let list: String = recipients.texts().iter().map(|text| format!("  - {}\n", scalar(text))).collect();
    let text = format!("version: 1\nrecipients:\n{list}logins: {{}}\n");
    files::create(vault, text.as_bytes(), 0o666)?;
    console.note(format_args!(
        "{} is made for {}; add a login with `regprov vault set {} LOGIN --registry R --username U`",
        vault.display(),
        people(recipients.len()),
        vault.display()
    ));
    Ok(())
}

/// What `vault set` is told.
#[derive(Clone, Debug, Default)]
pub struct SetOptions {
    /// The vault, or an inventory with `logins:` in it.
    pub vault: PathBuf,
    /// The login's name.
    pub login: String,
    /// `--registry`; may be left out for an existing login.
    pub registry: Option<String>,
    /// `--username`; may be left out for an existing login.
    pub username: Option<String>,
    /// `--expires`; left out, an existing one stays.
    pub expires: Option<String>,
    /// `--canary`; left out, an existing one stays.
    pub canary: Option<String>,
    /// `--auth-host`.
    pub auth_hosts: Vec<String>,
    /// Where the audit key is, when it is at hand.
    pub audit_key: AuditKeySources,
}

/// `vault set`: seals a password for the vault's recipients and writes it, with what it belongs to, into the vault. Touches
/// that login's lines only. What is wrong with the flags is told before a password is asked for.
pub fn set(options: &SetOptions, console: &mut Console<'_>) -> Result<()> {
    let file = options.vault.display().to_string();
    let bytes = read_for_set(&options.vault)?;
    let audit_key = options.audit_key.load()?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{file} is not text")))?;
    let document = VaultDocument::parse(&file, text)?;
    let recipients = recipients_of(&file, &document)?;
    let old = document.login(&options.login);
    let wanted = Wanted::check(options, old.and_then(|o| o.registry.as_deref()), old.and_then(|o| o.username.as_deref()))?;
    match wanted.note {
        NameNote::None => {}
        NameNote::HubWebsite => console.note("note: hub.docker.com is a web site; the registry is docker.io"),
        NameNote::Normalised | NameNote::HubAlias => console.note(format_args!("note: the registry is written as {}", wanted.registry)),
    }
    if wanted.registry.path().is_some() {
        console.note(format_args!("note: only podman targets take a registry with a path; for the others write {}", wanted.registry.authority()));
    }
    let password = console.new_password(&format!("password of {} at {}", escape(wanted.username.as_str()), wanted.registry))?;
    let value = SealedValue { registry: wanted.registry, username: wanted.username, auth_hosts: options.auth_hosts.clone(), password };
    let armored = seal(&value, &recipients)?;
    let registry = value.registry.to_string();
    let fingerprint = audit_key.map(|(key, _)| key.fingerprint(&value.registry, &value.username, &value.password).text());
    let login = LoginText {
        registry: &registry,
        username: value.username.as_str(),
        expires: wanted.expires.as_ref().map(|e| e.text.as_str()),
        fingerprint: fingerprint.as_deref(),
        canary: options.canary.as_deref(),
        armored: &armored,
    };
    let spliced = set_login(&file, text, &options.login, login)?;
    files::replace(&options.vault, &bytes, spliced.as_bytes())?;
    console.note(format_args!("login `{}` for {registry} is sealed in {file} for {}", options.login, people(recipients.len())));
    if fingerprint.is_none() && old.is_some_and(|o| o.fingerprint.is_some()) {
        console.note(format_args!(
            "note: its fingerprint was that of the old password and is taken out; `regprov vault fingerprint {file}` writes the new one, or give --audit-key"
        ));
    }
    if old.is_some_and(|o| o.password.is_some()) && options.auth_hosts.is_empty() {
        console.note("note: auth hosts stand inside the seal; if the old one named any, give them again with --auth-host");
    }
    if old.is_some_and(|o| o.previous.is_some()) {
        console.note("note: a rotation of this login is under way; its `previous` stays as it is");
    }
    Ok(())
}

/// `vault set --become`: seals the password of sudo for the vault's recipients and writes it as the vault's `become_password`.
pub fn set_become_password(vault: &Path, console: &mut Console<'_>) -> Result<()> {
    let file = vault.display().to_string();
    let bytes = read_for_set(vault)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{file} is not text")))?;
    let recipients = recipients_of(&file, &VaultDocument::parse(&file, text)?)?;
    let password = console.new_password("password of sudo")?;
    check_become_password(&password).map_err(|why| Error::usage(format!("{why}; nothing was written")))?;
    let spliced = set_become(&file, text, &seal_become(&password, &recipients)?)?;
    files::replace(vault, &bytes, spliced.as_bytes())?;
    console.note(format_args!("the password of sudo is sealed in {file} for {}", people(recipients.len())));
    Ok(())
}

/// The content of a file in which a password is to be set.
pub(super) fn read_for_set(vault: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    read_for_edit(vault, "no login can be set in it")
}

/// The content of a file that is to be edited; `not` says what cannot be done to one that is encrypted as a whole.
pub(super) fn read_for_edit(vault: &Path, not: &str) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    let file = vault.display();
    let bytes = files::read(vault, FILE_BYTES_MAX).map_err(|e| e.hint(format!("a new vault is made with `regprov vault init {file} -r RECIPIENT`")))?;
    files::replaceable(vault)?;
    if is_age_file(&bytes) {
        return Err(Error::vault(format!("{file} is encrypted as a whole, so {not}")).hint(format!(
            "decrypt it (`regprov vault decrypt {file} -o PLAIN`), set the login in PLAIN, and use that: passwords in it are sealed one by one; or encrypt it again"
        )));
    }
    Ok(bytes)
}

/// The flags of `vault set`, checked.
struct Wanted {
    registry: Registry,
    note: NameNote,
    username: Username,
    expires: Option<Expiry>,
}

impl Wanted {
    /// Checks all of them and tells all problems at once.
    fn check(options: &SetOptions, old_registry: Option<&str>, old_username: Option<&str>) -> Result<Self> {
        let mut problems = Vec::new();
        let name_ok =
            options.login.starts_with(|c: char| c.is_ascii_alphanumeric()) && options.login.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !name_ok {
            problems.push("a login's name is made of letters, digits, `.`, `_` and `-`, and begins with a letter or digit".to_string());
        }
        let registry = match options.registry.as_deref().or(old_registry) {
            Some(text) => match Registry::parse(text) {
                Ok(parsed) => Some(parsed),
                Err(why) => {
                    problems.push(why);
                    None
                }
            },
            None => {
                problems.push(format!("login `{}` has no registry yet: give --registry", escape(&options.login)));
                None
            }
        };
        let username = match options.username.as_deref().or(old_username) {
            Some("") => {
                problems.push("--username is empty; where it begins with `$`, put it into single quotes, or the shell replaces it".to_string());
                None
            }
            Some(text) => Username::parse(text).map_err(|why| problems.push(why)).ok(),
            None => {
                problems.push(format!("login `{}` has no username yet: give --username", escape(&options.login)));
                None
            }
        };
        let expires = options.expires.as_deref().and_then(|text| Expiry::parse(text).map_err(|why| problems.push(why)).ok());
        if expires.as_ref().is_some_and(|e| e.is_past(now())) {
            problems.push("--expires is in the past".to_string());
        }
        problems.extend(options.canary.as_deref().and_then(|text| Repository::parse(text).err()).map(|why| format!("--canary: {why}")));
        problems.extend(options.auth_hosts.iter().filter_map(|host| check_auth_host(host).err()));
        match (registry, username) {
            (Some((registry, note)), Some(username)) if problems.is_empty() => Ok(Wanted { registry, note, username, expires }),
            _ => Err(Error::usage(problems.join("\n"))),
        }
    }
}

/// `vault show`: who can open it, and its logins as a table. With `reveal` the passwords too, and then all of them open or
/// nothing is shown.
pub fn show(vault: &Path, reveal: bool, sources: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    let file = vault.display().to_string();
    let mut bytes = files::read(vault, FILE_BYTES_MAX)?;
    let whole = is_age_file(&bytes);
    let identities = if reveal || whole { Some(sources.load(console.ask)?) } else { None };
    if let Some(identities) = identities.as_ref().filter(|_| whole) {
        bytes = open_file(&bytes, identities).map_err(|e| e.explain(&file))?;
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("{file} is not text")))?;
    let document = VaultDocument::parse(&file, text)?;
    let recipients = document.recipients.as_deref().unwrap_or_default();

    let mut head = vec!["LOGIN", "REGISTRY", "USERNAME", "EXPIRES", "SEALED FOR"];
    let mut rows: Vec<Vec<zeroize::Zeroizing<String>>> = Vec::new();
    let mut problems = Vec::new();
    let cell = |text: Option<&str>| zeroize::Zeroizing::new(text.map_or("-".to_string(), escape));
    for (name, login, line, column) in document.logins() {
        let sealed = sealed_for(login.password.as_deref(), recipients.len());
        let mut row = vec![cell(Some(name)), cell(login.registry.as_deref()), cell(login.username.as_deref()), cell(login.expires.as_deref()), sealed.into()];
        let opening = identities.as_ref().filter(|_| reveal);
        let entry = || entry(name, login, format!("{file}:{line}:{column}"));
        if let Some(identities) = opening {
            match entry().and_then(|entry| open_login(&entry, identities, true)) {
                Ok(opened) => row.push(cell(Some(opened.password.expose()))),
                Err(e) => problems.push(e.to_string()),
            }
        }
        rows.push(row);
        // What a rotation replaces has a row of its own below.
        let Some(previous) = &login.previous else { continue };
        let sealed = sealed_for(previous.password.as_deref(), recipients.len());
        let mut row = vec![
            cell(Some("  previous")),
            cell(login.registry.as_deref()),
            cell(previous.username.as_deref()),
            cell(previous.expires.as_deref()),
            sealed.into(),
        ];
        if let Some(identities) = opening {
            match entry().map(|entry| entry.before_rotation()) {
                Ok(Some(entry)) => match open_login(&entry, identities, false) {
                    Ok(opened) => row.push(cell(Some(opened.password.expose()))),
                    Err(e) => problems.push(e.to_string()),
                },
                Ok(None) => problems.push(format!("{file}:{line}:{column}: `previous` of login `{}` is not complete", escape(name))),
                // Told already.
                Err(_) => {}
            }
        }
        rows.push(row);
    }
    if !problems.is_empty() {
        return Err(Error::vault(problems.join("\n")));
    }
    if reveal {
        head.push("PASSWORD");
    }
    let mut out = zeroize::Zeroizing::new(String::new());
    for recipient in recipients {
        out.push_str(&format!("recipient {}\n", escape(recipient)));
    }
    if rows.is_empty() {
        out.push_str("no logins\n");
    } else {
        push_table(&mut out, &head, &rows);
    }
    console.print(out.as_bytes())
}

/// `vault encrypt`: a whole file, in place or to a new file `output`, for the recipients given, else for those that the file
/// itself lists under `recipients:`.
pub fn encrypt(file: &Path, recipients: &[String], output: Option<&Path>, console: &mut Console<'_>) -> Result<()> {
    let name = file.display().to_string();
    let bytes = files::read(file, FILE_BYTES_MAX)?;
    if is_age_file(&bytes) {
        return Err(Error::vault(format!("{name} is encrypted already")));
    }
    let recipients = if recipients.is_empty() {
        let text = std::str::from_utf8(&bytes).ok();
        let document = text
            .and_then(|text| VaultDocument::parse(&name, text).ok())
            .ok_or_else(|| Error::usage(format!("{name} is no vault that lists its recipients, so they must be named")).hint("add -r RECIPIENT"))?;
        recipients_of(&name, &document)?
    } else {
        Recipients::parse(recipients.iter().map(String::as_str))?
    };
    let armored = seal_file(&bytes, &recipients)?;
    match output {
        Some(output) => files::create(output, armored.as_bytes(), 0o666)?,
        None => files::replace(file, &bytes, armored.as_bytes())?,
    }
    console.note(format_args!("{} is encrypted for {}", output.unwrap_or(file).display(), people(recipients.len())));
    Ok(())
}

/// `vault decrypt` and (without `output`) `vault view`: a whole file's content, to a new file (0600) or to stdout, which must
/// not be a terminal unless `reveal`. A file sealed with a passphrase asks for it.
pub fn decrypt(file: &Path, output: Option<&Path>, reveal: bool, sources: &IdentitySources, console: &mut Console<'_>) -> Result<()> {
    if output.is_none() {
        console.secret_may_be_printed(reveal)?;
    }
    let name = file.display().to_string();
    let bytes = files::read(file, FILE_BYTES_MAX)?;
    if !is_age_file(&bytes) {
        return Err(
            Error::vault(format!("{name} is not encrypted as a whole")).hint("`regprov vault show` shows a vault whose passwords are sealed one by one")
        );
    }
    let opened = if is_passphrase_file(&bytes) {
        decrypt_with_passphrase(&bytes, &(console.ask)(&format!("passphrase of {name}"))?)
    } else {
        open_file(&bytes, &sources.load(console.ask)?)
    };
    let content = opened.map_err(|e| e.explain(&name))?;
    match output {
        Some(output) => files::create(output, &content, 0o600),
        None => console.print(&content),
    }
}

pub(super) fn recipients_of(file: &str, document: &VaultDocument) -> Result<Recipients> {
    let texts = document.recipients.as_deref().unwrap_or_default();
    let recipients = Recipients::parse(texts.iter().map(String::as_str)).map_err(|mut e| {
        e.message = e.message.lines().map(|line| format!("{file}: {line}")).collect::<Vec<_>>().join("\n");
        e
    })?;
    if recipients.is_empty() {
        return Err(Error::vault(format!("{file} names no recipient to seal for"))
            .hint("add\n    recipients:\n      - age1...\n  to it; `regprov vault keygen` prints your recipient"));
    }
    Ok(recipients)
}

pub(super) fn entry(name: &str, login: &crate::vault::document::VaultLogin, place: String) -> Result<LoginEntry> {
    let wrong = |why: String| Error::vault(format!("{place}: login `{}`: {why}", escape(name)));
    let missing = |field: &str| wrong(format!("{field} is missing"));
    let (registry, _) = Registry::parse(login.registry.as_deref().ok_or_else(|| missing("registry"))?).map_err(wrong)?;
    let username = Username::parse(login.username.as_deref().ok_or_else(|| missing("username"))?).map_err(wrong)?;
    let password = login.password.clone().ok_or_else(|| missing("password"))?;
    let password = if is_age_file(password.as_bytes()) { PasswordText::Sealed(password) } else { PasswordText::Plain(Secret::new(password)) };
    let previous = login.previous.as_ref().and_then(|previous| {
        let username = Username::parse(previous.username.as_deref()?).ok()?;
        Some(PreviousPassword { username, sealed: previous.password.clone().filter(|p| is_age_file(p.as_bytes()))?, expires: None, fingerprint: None })
    });
    Ok(LoginEntry { name: name.to_string(), registry, username, password, expires: None, fingerprint: None, canary: None, previous, place })
}

/// The table's word for how a password is kept; `listed` is how many recipients the file names.
fn sealed_for(password: Option<&str>, listed: usize) -> String {
    match password.map(|p| recipient_count(p.as_bytes())) {
        None => "no password".into(),
        Some(None) => "nobody: it stands in the clear".into(),
        Some(Some(n)) if n == listed || listed == 0 => n.to_string(),
        Some(Some(n)) => format!("{n} (the file lists {listed}: set it again)"),
    }
}

pub(super) fn people(n: usize) -> String {
    if n == 1 { "1 recipient".into() } else { format!("{n} recipients") }
}

/// Appends columns that are as wide as their widest cell, two spaces apart.
fn push_table(out: &mut String, head: &[&str], rows: &[Vec<zeroize::Zeroizing<String>>]) {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).chain([head[i].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut push = |cells: &mut dyn Iterator<Item = &str>| {
        for (i, cell) in cells.enumerate() {
            out.push_str(cell);
            if i + 1 < widths.len() {
                out.extend(std::iter::repeat_n(' ', widths[i] - cell.chars().count() + 2));
            }
        }
        out.push('\n');
    };
    push(&mut head.iter().copied());
    rows.iter().for_each(|row| push(&mut row.iter().map(|cell| cell.as_str())));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::console::testing::Scene;
    use super::*;
    use crate::error::Kind;

    /// A folder with an identity, and a vault for it.
    struct Site {
        dir: tempfile::TempDir,
        sources: IdentitySources,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let identity = dir.path().join("conf/regprov/identity.txt");
            let mut scene = Scene::default();
            scene.run(|c| keygen(None, Some(&identity), c)).unwrap();
            let recipient = scene.out().trim().to_string();
            let site = Site { dir, sources: IdentitySources { default: Some(identity), ..Default::default() } };
            Scene::default().run(|c| init(&site.path("vault.yml"), &[recipient], c)).unwrap();
            site
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).unwrap()
        }

        fn set(&self, login: &str, registry: Option<&str>, username: Option<&str>, password: &'static str) -> Result<()> {
            let own = |s: Option<&str>| s.map(str::to_string);
            let options =
                SetOptions { vault: self.path("vault.yml"), login: login.into(), registry: own(registry), username: own(username), ..Default::default() };
            Scene { piped: Some(password), ..Scene::default() }.run(|c| set(&options, c))
        }

        fn show(&self, reveal: bool) -> Result<String> {
            let mut scene = Scene { on_terminal: true, ..Scene::default() };
            scene.run(|c| show(&self.path("vault.yml"), reveal, &self.sources, c)).map(|()| scene.out().to_string())
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[track_caller]
    fn refused<T>(result: Result<T>, kind: Kind, parts: &[&str]) {
        let Err(error) = result else { panic!("not refused") };
        let text = error.to_string();
        assert_eq!(error.kind, kind, "{text}");
        assert!(!text.contains("hunter2"), "a password in a message: {text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn keygen_writes_what_age_keygen_writes_for_its_owner_alone_and_once() {
        let site = Site::new();
        let path = site.sources.default.clone().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("# created: 20") && lines[1].starts_with("# public key: age1") && lines[2].starts_with("AGE-SECRET-KEY-1"),
            "{}",
            lines[0]
        );
        assert_eq!((lines.len(), mode(&path), mode(path.parent().unwrap())), (3, 0o600, 0o700));
        refused(Scene::default().run(|c| keygen(None, Some(&path), c)), Kind::Vault, &["exists already"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        refused(Scene::default().run(|c| keygen(None, None, c)), Kind::Usage, &["-o"]);
    }

    #[test]
    fn keygen_to_stdout_is_not_for_terminals() {
        let mut scene = Scene::default();
        scene.run(|c| keygen(Some(Path::new("-")), None, c)).unwrap();
        assert!(scene.out().contains("\nAGE-SECRET-KEY-1") && scene.err().starts_with("Public key: age1"));
        let mut scene = Scene { on_terminal: true, ..Scene::default() };
        refused(scene.run(|c| keygen(Some(Path::new("-")), None, c)), Kind::Usage, &["terminal", "-o"]);
        assert_eq!(scene.out(), "");
    }

    #[test]
    fn init_makes_a_vault_once() {
        let site = Site::new();
        let text = site.text("vault.yml");
        assert!(text.starts_with("version: 1\nrecipients:\n  - age1") && text.ends_with("\nlogins: {}\n"), "{text}");
        let again = |r: &[String]| Scene::default().run(|c| init(&site.path("vault.yml"), r, c));
        refused(again(&[identity::generate().1]), Kind::Vault, &["exists already"]);
        refused(again(&["age1x".into(), "x".into()]), Kind::Vault, &["recipient 1 ", "recipient 2 "]);
        refused(again(&[]), Kind::Usage, &["needs a recipient"]);
        assert_eq!(site.text("vault.yml"), text);
    }

    #[test]
    fn what_is_set_is_shown_and_opens() {
        let site = Site::new();
        site.set("ngc", Some("https://NVCR.io/"), Some("$oauthtoken"), "hunter2\n").unwrap();
        site.set("hub", Some("index.docker.io"), Some("acme"), "hunter3").unwrap();
        assert!(!site.text("vault.yml").contains("hunter"));
        let shown = site.show(false).unwrap();
        let table: Vec<Vec<&str>> = shown.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(table[1], ["hub", "docker.io", "acme", "-", "1"], "{shown}");
        assert_eq!(table[2], ["ngc", "nvcr.io", "$oauthtoken", "-", "1"], "{shown}");
        assert!(!shown.contains("hunter"));
        let revealed = site.show(true).unwrap();
        assert!(revealed.lines().any(|l| l.starts_with("ngc ") && l.ends_with(" hunter2")) && revealed.contains("hunter3"), "{revealed}");
    }

    #[test]
    fn setting_again_takes_registry_and_username_from_the_file_and_touches_nothing_else() {
        let site = Site::new();
        site.set("ngc", Some("nvcr.io"), Some("$oauthtoken"), "old").unwrap();
        site.set("hub", Some("docker.io"), Some("acme"), "other").unwrap();
        fs::set_permissions(site.path("vault.yml"), fs::Permissions::from_mode(0o640)).unwrap();
        let before = site.text("vault.yml");
        site.set("ngc", None, None, "new").unwrap();
        let after = site.text("vault.yml");
        let hub = |text: &str| text[text.find("  hub:").unwrap()..].to_string();
        assert_ne!(before, after);
        assert_eq!(hub(&before), hub(&after));
        assert_eq!(mode(&site.path("vault.yml")), 0o640);
        assert!(site.show(true).unwrap().contains(" new\n"));
    }

    #[test]
    fn wrong_flags_are_told_together_before_a_password_is_asked_for() {
        let site = Site::new();
        let before = site.text("vault.yml");
        let mut scene = Scene::default();
        let options = SetOptions {
            vault: site.path("vault.yml"),
            login: "-x".into(),
            registry: Some("a b".into()),
            username: Some("a:b".into()),
            expires: Some("2001-01-01".into()),
            canary: Some("nvidia/cuda:12".into()),
            auth_hosts: vec!["https://x".into()],
            ..Default::default()
        };
        refused(scene.run(|c| set(&options, c)), Kind::Usage, &["login's name", "registry `a b`", "username contains", "in the past", "--canary", "auth host"]);
        assert!(scene.asked.is_empty());
        refused(site.set("new", None, None, "hunter2"), Kind::Usage, &["no registry yet", "no username yet"]);
        refused(site.set("ngc", Some("nvcr.io"), Some("u"), "\n"), Kind::Usage, &["password is empty"]);
        refused(site.set("ngc", Some("nvcr.io/../x"), Some("u"), "hunter2"), Kind::Usage, &["has a path that is no repository name"]);
        assert_eq!(site.text("vault.yml"), before);
    }

    #[test]
    fn a_vault_that_cannot_take_a_login_is_told() {
        let site = Site::new();
        let with = |text: &str| {
            fs::write(site.path("vault.yml"), text).unwrap();
            site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2")
        };
        refused(with("version: 1\n"), Kind::Vault, &["names no recipient", "keygen"]);
        refused(with("recipients: [x]\n"), Kind::Vault, &["vault.yml: recipient 1 is no recipient"]);
        refused(with("recipients: [\n"), Kind::Vault, &["vault.yml:"]);
        refused(with("-----BEGIN AGE ENCRYPTED FILE-----\n"), Kind::Vault, &["encrypted as a whole", "vault decrypt"]);
        fs::rename(site.path("vault.yml"), site.path("real.yml")).unwrap();
        std::os::unix::fs::symlink(site.path("real.yml"), site.path("vault.yml")).unwrap();
        refused(site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2"), Kind::Vault, &["symbolic link", "real.yml"]);
        fs::remove_file(site.path("vault.yml")).unwrap();
        refused(site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2"), Kind::Vault, &["no such file", "vault init"]);
    }

    #[test]
    fn reveal_shows_all_or_nothing() {
        let site = Site::new();
        site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2").unwrap();
        site.set("hub", Some("docker.io"), Some("u"), "hunter2").unwrap();
        fs::write(site.path("vault.yml"), site.text("vault.yml").replace("nvcr.io", "evil.example.org")).unwrap();
        refused(site.show(true), Kind::Vault, &["login `ngc` was sealed for u at nvcr.io, not for u at evil.example.org"]);
        let nobody = IdentitySources::default();
        let mut scene = Scene::default();
        refused(scene.run(|c| show(&site.path("vault.yml"), true, &nobody, c)), Kind::Vault, &["none was given"]);
        scene.run(|c| show(&site.path("vault.yml"), false, &nobody, c)).unwrap();
    }

    #[test]
    fn show_tells_what_is_sealed_for_fewer_than_listed_or_not_at_all() {
        let site = Site::new();
        site.set("ngc", Some("nvcr.io"), Some("u"), "hunter2").unwrap();
        let more = format!("recipients:\n  - {}\n", identity::generate().1);
        let text = site.text("vault.yml").replace("recipients:\n", &more) + "  bare: {registry: x, username: \"\\e[31m\", password: hunter2}\n  none: {}\n";
        fs::write(site.path("vault.yml"), text).unwrap();
        let shown = site.show(false).unwrap();
        assert!(shown.contains("1 (the file lists 2: set it again)") && shown.contains("stands in the clear") && shown.contains("no password"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains('\x1b'), "{shown}");
    }

    #[test]
    fn show_tells_of_a_rotation_and_shows_both_passwords_only_when_asked() {
        let site = Site::new();
        site.set("ngc", Some("nvcr.io"), Some("robot-a"), "hunter2-old").unwrap();
        let text = site.text("vault.yml");
        let document = VaultDocument::parse("v", &text).unwrap();
        let recipients = recipients_of("v", &document).unwrap();
        let (registry, username) = (Registry::parse("nvcr.io").unwrap().0, Username::parse("robot-b").unwrap());
        let value = SealedValue { registry, username, auth_hosts: Vec::new(), password: Secret::new("hunter2-new".to_string()) };
        let armored = seal(&value, &recipients).unwrap();
        let new = crate::vault::rotation::NewPassword { username: "robot-b", expires: Some("2099-01-01"), fingerprint: None, armored: &armored };
        let under_way = crate::vault::rotation::begin("v", &text, "ngc", new).unwrap();
        fs::write(site.path("vault.yml"), &under_way).unwrap();
        let rows = |reveal| -> Vec<Vec<String>> {
            let shown = site.show(reveal).unwrap();
            shown.lines().skip(2).map(|l| l.split_whitespace().map(str::to_string).collect()).collect()
        };
        assert_eq!(rows(false), [["ngc", "nvcr.io", "robot-b", "2099-01-01", "1"], ["previous", "nvcr.io", "robot-a", "-", "1"]]);
        assert_eq!(rows(true), [["ngc", "nvcr.io", "robot-b", "2099-01-01", "1", "hunter2-new"], ["previous", "nvcr.io", "robot-a", "-", "1", "hunter2-old"]]);
        // Both seals name their account.
        fs::write(site.path("vault.yml"), under_way.replace("robot-a", "mallory")).unwrap();
        refused(site.show(true), Kind::Vault, &["was sealed for robot-a at nvcr.io, not for mallory"]);
    }

    #[test]
    fn whole_files_go_there_and_back() {
        let site = Site::new();
        let plain = site.text("vault.yml");
        let vault = site.path("vault.yml");
        Scene::default().run(|c| encrypt(&vault, &[], None, c)).unwrap();
        assert!(is_age_file(site.text("vault.yml").as_bytes()));
        refused(Scene::default().run(|c| encrypt(&vault, &[], None, c)), Kind::Vault, &["encrypted already"]);
        assert!(site.show(false).unwrap().contains("no logins"));
        let mut scene = Scene::default();
        scene.run(|c| decrypt(&vault, None, false, &site.sources, c)).unwrap();
        assert_eq!(scene.out(), plain);
        let out = site.path("plain.yml");
        Scene::default().run(|c| decrypt(&vault, Some(&out), false, &site.sources, c)).unwrap();
        assert_eq!((site.text("plain.yml"), mode(&out)), (plain, 0o600));
        refused(Scene::default().run(|c| decrypt(&vault, Some(&out), false, &site.sources, c)), Kind::Vault, &["exists already"]);
        refused(Scene::default().run(|c| decrypt(&out, None, false, &site.sources, c)), Kind::Vault, &["not encrypted as a whole"]);
        assert_eq!(fs::read_dir(site.dir.path()).unwrap().count(), 3, "vault.yml, plain.yml and conf");
    }

    #[test]
    fn a_terminal_sees_no_whole_file_without_reveal() {
        let site = Site::new();
        let vault = site.path("vault.yml");
        Scene::default().run(|c| encrypt(&vault, &[], None, c)).unwrap();
        let mut scene = Scene { on_terminal: true, ..Scene::default() };
        refused(scene.run(|c| decrypt(&vault, None, false, &site.sources, c)), Kind::Usage, &["--reveal"]);
        assert_eq!(scene.out(), "");
        scene.run(|c| decrypt(&vault, None, true, &site.sources, c)).unwrap();
        assert!(scene.out().contains("version: 1"));
    }

    #[test]
    fn any_file_is_encrypted_for_recipients_that_are_named() {
        let site = Site::new();
        fs::write(site.path("note"), "hunter2").unwrap();
        let run = |recipients: &[String], output: Option<&Path>| Scene::default().run(|c| encrypt(&site.path("note"), recipients, output, c));
        refused(run(&[], None), Kind::Usage, &["add -r"]);
        refused(run(&["x".into()], None), Kind::Vault, &["recipient 1 "]);
        assert_eq!(site.text("note"), "hunter2");
        run(&[identity::generate().1], Some(&site.path("note.age"))).unwrap();
        assert_eq!(site.text("note"), "hunter2");
        refused(Scene::default().run(|c| decrypt(&site.path("note.age"), None, false, &site.sources, c)), Kind::Vault, &["note.age is not sealed for any"]);
    }
}
