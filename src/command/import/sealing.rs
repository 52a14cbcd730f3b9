//! Found logins on their way into a vault.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::ImportArgs;
use crate::command::audit::AuditKeySources;
use crate::command::load::now;
use crate::command::vault::{VaultFile, people};
use crate::error::{Error, Result};
use crate::import::{Found, Naming, Plan, Planned, There};
use crate::model::text::escape;
use crate::model::{Registry, Username};
use crate::ui;
use crate::ui::import::Row;
use crate::vault::edit::{LoginText, set_login};
use crate::vault::{AuditKey, Recipients, SealedValue, seal};

/// What was found, named and compared with the vault; nothing is written yet.
pub(super) struct Sealing {
    plan: Plan,
    /// None with `--check` alone.
    into: Option<Into>,
    audit_key: Option<AuditKey>,
}

/// A vault that is there, or one that is to be made.
struct Into {
    vault: VaultFile,
    recipients: Recipients,
}

impl Sealing {
    /// Names what was found. Everything that can be wrong with the flags and the vault is told here, before anybody is asked.
    ///
    /// # Errors
    /// A flag, the vault or the audit key does not do.
    pub(super) fn plan(found: Found, args: &ImportArgs) -> Result<Self> {
        let (namings, wrong): (Vec<_>, Vec<_>) = args.names.iter().map(|text| Naming::parse(text)).partition(|n| n.is_ok());
        if !wrong.is_empty() {
            return Err(Error::usage(wrong.into_iter().filter_map(std::result::Result::err).collect::<Vec<_>>().join("\n")));
        }
        let namings: Vec<Naming> = namings.into_iter().flatten().collect();
        let into = args.vault.as_deref().map(|path| Into::open(path, &args.recipients)).transpose()?;
        let audit_key = AuditKeySources::of_process(args.audit.audit_key.as_deref()).load()?.map(|(key, _)| key);
        let there = into.as_ref().map(|i| there(&i.vault)).unwrap_or_default();
        let plan = Plan::new(found, &there, &namings, args.replace, now()).map_err(Error::usage)?;
        Ok(Sealing { plan, into, audit_key })
    }

    /// Prints the table and what is left, and tells what should be known.
    pub(super) fn show(&self) -> Result<()> {
        let row = |Planned { name, replaces, login }: &Planned| Row {
            login: if *replaces { format!("{name} (replaced)") } else { name.clone() },
            registry: login.registry.to_string(),
            username: escape(login.username.as_str()),
            expires: match &login.expires {
                Some(end) if end.is_past(now()) => format!("{} (ended)", end.text),
                Some(end) => end.text.clone(),
                None => String::new(),
            },
            from: login.from.clone(),
        };
        let rows: Vec<Row> = self.plan.logins.iter().map(row).collect();
        let left: Vec<(String, String)> = self.plan.left.iter().map(|l| (l.what.clone(), l.why.clone())).collect();
        ui::out(&ui::import::table(&rows, &left)).map_err(|e| Error::internal(format!("the table cannot be written to stdout: {e}")))?;
        self.plan.notes.iter().for_each(|note| ui::warning(note));
        Ok(())
    }

    /// Whether there is no login to seal.
    pub(super) fn is_empty(&self) -> bool {
        self.plan.logins.is_empty()
    }

    /// How an import without a login to seal ends: well, when the vault has all that was found.
    ///
    /// # Errors
    /// Something was found that was left for another reason, or nothing at all.
    pub(super) fn nothing(&self) -> Result<u8> {
        let Some(Into { vault, .. }) = &self.into else { return Ok(0) };
        if !self.plan.left.is_empty() && self.plan.left.len() == self.plan.known {
            ui::note(&format!("{} has these logins already; nothing was written", vault.name));
            return Ok(0);
        }
        Err(Error::usage("no login was found that can be sealed; nothing was written"))
    }

    /// What a person is asked.
    pub(super) fn question(&self) -> String {
        let into = self.into.as_ref().map(|i| i.vault.name.as_str()).unwrap_or_default();
        format!("seal {} into {into}?", logins(self.plan.logins.len()))
    }

    /// The names of the logins, each with its registry.
    pub(super) fn names(&self) -> Vec<(String, String)> {
        self.plan.logins.iter().map(|planned| (planned.name.clone(), planned.login.registry.to_string())).collect()
    }

    /// Seals all of them; nothing is written yet.
    ///
    /// # Errors
    /// One cannot be sealed, or not be set in this vault.
    pub(super) fn seal(self) -> Result<Sealed> {
        let Some(Into { vault, recipients }) = self.into else { return Err(Error::internal("there is no vault to write")) };
        let file = &vault.name;
        let mut text = Zeroizing::new(vault.text().to_string());
        let count = self.plan.logins.len();
        for Planned { name, replaces, login } in self.plan.logins {
            let fingerprint = self.audit_key.as_ref().map(|key| key.fingerprint(&login.registry, &login.username, &login.password).text());
            let value = SealedValue { registry: login.registry, username: login.username, auth_hosts: login.auth_hosts, password: login.password };
            let registry = value.registry.to_string();
            let want = LoginText {
                registry: &registry,
                username: value.username.as_str(),
                expires: login.expires.as_ref().map(|e| e.text.as_str()),
                fingerprint: fingerprint.as_deref(),
                canary: None,
                armored: &seal(&value, &recipients)?,
            };
            text = Zeroizing::new(set_login(file, &text, &name, want)?);
            let old = vault.document.login(&name).filter(|_| replaces);
            if let Some(end) = old.and_then(|o| o.expires.as_deref()).filter(|_| login.expires.is_none()) {
                ui::note(&format!("login `{name}` keeps its `expires: {}`", escape(end)));
            }
            if old.is_some() && value.auth_hosts.is_empty() {
                ui::note(&format!("login `{name}`: auth hosts stand inside the seal; if the old one named any, give them again with `regprov vault set`"));
            }
        }
        Ok(Sealed { vault, text, count, recipients: recipients.len() })
    }
}

/// A vault's text with what was found in it, to be written once.
pub(super) struct Sealed {
    vault: VaultFile,
    text: Zeroizing<String>,
    count: usize,
    recipients: usize,
}

impl Sealed {
    /// What the vault will hold.
    ///
    /// # Errors
    /// As those of [`VaultFile::as_written`].
    pub(super) fn text(&self) -> Result<Zeroizing<String>> {
        self.vault.as_written(&self.text)
    }

    /// Writes the vault.
    ///
    /// # Errors
    /// It cannot be written; then it is what it was.
    pub(super) fn write(self) -> Result<()> {
        self.vault.write(&self.text)?;
        ui::note(&format!("{} sealed in {} for {}", is_are(self.count), self.vault.name, people(self.recipients)));
        Ok(())
    }
}

impl Into {
    fn open(path: &Path, recipients: &[String]) -> Result<Self> {
        let is_absent = path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        let shown = path.display();
        match (is_absent, recipients) {
            (true, []) => Err(Error::usage(format!("{shown} is not there, and nobody is named who could open it"))
                .hint("name the recipients of a new vault with -r; `regprov vault keygen` prints yours")),
            (true, texts) => {
                let recipients = Recipients::parse(texts.iter().map(String::as_str))?;
                Ok(Into { vault: VaultFile::fresh(path, &recipients)?, recipients })
            }
            (false, []) => {
                let vault = VaultFile::read_for_set(path)?;
                Ok(Into { recipients: vault.recipients()?, vault })
            }
            (false, _) => Err(Error::usage(format!("{shown} is there already and names its own recipients; -r is for a new vault"))
                .hint("leave -r out; the recipients of a vault are changed in the vault")),
        }
    }
}

/// The logins that a vault has, without a key.
fn there(vault: &VaultFile) -> Vec<There> {
    let registry = |text: &str| Registry::parse(text).ok().map(|(registry, _)| registry);
    let one = |(name, login, ..): (&str, &crate::vault::document::VaultLogin, u64, u64)| There {
        name: name.to_string(),
        registry: login.registry.as_deref().and_then(registry),
        username: login.username.as_deref().and_then(|text| Username::parse(text).ok()),
    };
    vault.document.logins().map(one).collect()
}

fn logins(n: usize) -> String {
    if n == 1 { "1 login".into() } else { format!("{n} logins") }
}

fn is_are(n: usize) -> String {
    format!("{} {}", logins(n), if n == 1 { "is" } else { "are" })
}
