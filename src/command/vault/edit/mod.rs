//! `vault edit`: the logins of a vault, opened in the user's editor.
//!
//! - [`draft`]: what is edited, as values and as text; [`read`]: that text, read back strictly.
//! - [`changes`]: what differs, and the vault's text with just that.
//! - [`folder`]: the one place in which the text lies in the clear; [`editor`] and [`run`]: the program that gets it.
//!
//! The text is in this process's memory and in that folder, and nowhere else as far as the editor can be told; see the README for what cannot
//! be promised of editors.

mod changes;
mod draft;
mod editor;
mod folder;
mod read;
mod run;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{VaultFile, people, unknown};
use crate::command::audit::AuditKeySources;
use crate::command::console::Console;
use crate::command::identity::IdentitySources;
use crate::command::terminal::Terminal;
use crate::error::{Error, Problem, Result};
use crate::model::text::escape;
use crate::vault::{AuditKey, Identities, is_age_file};
use changes::Changes;
use draft::Draft;
use editor::Editor;
use folder::Folder;
use read::Edited;
use run::{Ended, Signals};

/// The file in the private folder; editors know by its name what it is.
const FILE: &str = "vault.yml";

/// How a comment begins that is written above the text when it is opened again. YAML reads over it.
const TOLD: &str = "#! ";

/// Who ends sooner without a change has probably opened a window and not waited for it.
const TOO_SOON: Duration = Duration::from_secs(1);

/// What `vault edit` is told.
pub struct EditOptions {
    /// The vault, or an inventory with `logins:` in it.
    pub vault: PathBuf,
    /// The one login to edit; all of them when left out.
    pub login: Option<String>,
    /// What opens it.
    pub identities: IdentitySources,
    /// Where the audit key is, when it is at hand.
    pub audit_key: AuditKeySources,
}

/// `vault edit`: shows the logins in the clear to the editor, and seals what was changed. Returns the exit code: 0, or that of the signal by
/// which it was told to end.
///
/// # Errors
/// Nothing was written then: the vault does not open, there is no private place or no editor, the editor failed, or what it left cannot stand.
pub async fn edit(options: &EditOptions, console: &mut Console<'_>) -> Result<u8> {
    let editor = Editor::of_process()?;
    let mut session = Session::open(options, console)?;
    if editor.draws() && !console.stdout_is_terminal {
        let why = format!(
            "`{}` draws what it edits on standard output, which is no terminal here: passwords would stand in a pipe or a log",
            escape(&editor.argv[0])
        );
        return Err(Error::usage(why).hint("in a script, `regprov vault set` takes a password over standard input"));
    }
    if !editor.is_known() {
        console.note(format_args!(
            "note: `{}` is not known here: see to it that it keeps no backups, swap files or histories of its own (VISUAL=vim, nvim and nano are told not to)",
            escape(&editor.argv[0])
        ));
    }
    let mut signals = Signals::hear()?;
    let folder = Folder::make(&folder::places())?;
    let ended = session.converse(&editor, &folder, &mut signals, console).await;
    match (ended, folder.close()) {
        (ended, Ok(())) => ended,
        (Ok(_), Err(left)) => Err(left),
        (Err(e), Err(left)) => Err(Error::vault(format!("{}\n{}", e.message, left.message)).hint(left.hint.unwrap_or_default())),
    }
}

/// Removes what edits that were killed have left behind, and tells of it. Every verb of `regprov vault` does so first.
pub fn sweep(console: &mut Console<'_>) {
    folder::sweep(&folder::places()).iter().for_each(|note| console.note(note));
}

/// A vault that is being edited.
struct Session<'a> {
    options: &'a EditOptions,
    identities: Identities,
    audit_key: Option<AuditKey>,
    vault: VaultFile,
    /// What `vault` holds.
    base: Draft,
}

/// What comes after a look at the edited text.
enum Next {
    Done(Vec<String>),
    /// The text is opened again, with these lines above it. The numbers are those of the lines that are meant.
    Again {
        text: Zeroizing<String>,
        problems: Vec<Problem>,
    },
    /// Somebody else changed the vault meanwhile; this is what it would be now.
    Merged {
        text: Zeroizing<String>,
        problems: Vec<Problem>,
    },
}

impl<'a> Session<'a> {
    fn open(options: &'a EditOptions, console: &mut Console<'_>) -> Result<Self> {
        let vault = read_vault(options)?;
        let audit_key = options.audit_key.load()?.map(|(key, _)| key);
        // What is sealed anew needs somebody to be sealed for; that is told before anything is typed.
        vault.recipients()?;
        vault.can_be_written(vault.text())?;
        if let Some(login) = options.login.as_deref().filter(|name| vault.document.login(name).is_none()) {
            return Err(unknown(&vault.name, &vault.document, &[login]));
        }
        let identities = options.identities.load(console.ask)?;
        let base = Draft::open(&vault, options.login.as_deref(), &identities)?;
        for (name, login, ..) in vault.document.logins().filter(|(name, ..)| base.login(name).is_some()) {
            if login.password.as_deref().is_some_and(|p| !is_age_file(p.as_bytes())) {
                console.note(format_args!("note: the password of `{}` stands in {} in the clear; `regprov vault set` seals it", escape(name), vault.name));
            }
        }
        Ok(Session { options, identities, audit_key, vault, base })
    }

    /// Opens the editor until its text can stand, or whoever edits gives up.
    async fn converse(&mut self, editor: &Editor, folder: &Folder, signals: &mut Signals, console: &mut Console<'_>) -> Result<u8> {
        let nothing = format!("nothing was written: {} is as it was", self.vault.name);
        let mut text = self.base.text(&self.head());
        let (mut line, mut merged, mut first) = (None, false, true);
        loop {
            folder.write(FILE, text.as_bytes())?;
            let took = match run::run(editor, folder.path(), &folder.path().join(FILE), line, signals).await? {
                Ended::Well(took) => took,
                Ended::Badly(why) => return Err(Error::vault(format!("the editor `{}` {why}; {nothing}", escape(&editor.argv[0])))),
                Ended::Told(code) => {
                    console.note(&nothing);
                    return Ok(code);
                }
            };
            let bytes = folder.read(FILE)?;
            let edited = std::str::from_utf8(&bytes).map_err(|_| Error::vault(format!("the edited text is not UTF-8; {nothing}")))?;
            if edited == text.as_str() && !(merged && yes("the text is unchanged: write it as it stands? [y/N] ", false, signals).await?) {
                if first && took < TOO_SOON {
                    console.note(format_args!(
                        "note: `{}` ended at once; an editor that opens a window of its own has to wait until that is closed, such as VISUAL='code --wait'",
                        escape(&editor.argv[0])
                    ));
                }
                console.note(format_args!("nothing changed; {nothing}"));
                return Ok(0);
            }
            let (next, problems);
            (next, problems, merged) = match self.look(edited)? {
                Next::Done(notes) => {
                    notes.iter().for_each(|note| console.note(note));
                    return Ok(0);
                }
                Next::Again { text, problems } => (text, problems, false),
                Next::Merged { text, problems } => (text, problems, true),
            };
            let told = problems.iter().map(|p| p.to_string().trim_start_matches(": ").to_string()).collect::<Vec<_>>().join("\n");
            if Terminal::of_process().is_none() {
                return Err(Error::vault(format!("{told}\n{nothing}")).hint("there is no terminal on which to ask whether to edit it again"));
            }
            console.note(&told);
            match yes("edit again? [Y/n] ", true, signals).await {
                Ok(true) => {}
                Ok(false) => return Err(Error::vault(nothing)),
                Err(e) => return Err(e),
            }
            (text, line) = above(&next, &problems);
            first = false;
        }
    }

    /// What becomes of the edited text. What can be mended is no error, so that nothing that was typed is lost.
    fn look(&mut self, text: &str) -> Result<Next> {
        let only = self.options.login.as_deref();
        let again = |problems| Next::Again { text: Zeroizing::new(text.to_string()), problems };
        let (edited, notes) = match read::read(text, &self.base, &self.vault.document, only) {
            Edited::GivenUp => return Ok(Next::Done(vec![format!("nothing is left in the text; nothing was written: {} is as it was", self.vault.name)])),
            Edited::Wrong(problems) => return Ok(again(problems)),
            Edited::Draft(draft, notes) => (draft, notes),
        };
        let changes = Changes::between(&self.base, &edited);
        if changes.is_empty() {
            return Ok(Next::Done(vec![format!("nothing changed; nothing was written: {} is as it was", self.vault.name)]));
        }
        let rotating: Vec<String> = changes
            .removed()
            .filter(|name| self.vault.document.login(name).is_some_and(|l| l.previous.is_some()))
            .map(|name| {
                format!(
                    "a rotation of login `{}` is under way; end it first, or take both passwords out with `regprov vault unset --with-previous`",
                    escape(name)
                )
            })
            .collect();
        if !rotating.is_empty() {
            return Ok(again(problem(&rotating.join("\n"))));
        }
        match self.write(&changes) {
            Ok(None) => {}
            Ok(Some(merged)) => return Ok(merged),
            Err(e) => return Ok(again(problem(&e.to_string()))),
        }
        let mut told = changes.notes(&self.vault.document, self.audit_key.is_some());
        told.extend(notes.iter().map(|note| format!("note: {}", note.message)));
        let sealed_for = match changes.seal_anything() {
            true => format!(" (sealed for {})", people(self.vault.recipients()?.len())),
            false => String::new(),
        };
        told.push(format!("{}: {}{sealed_for}", self.vault.name, changes.told()));
        Ok(Next::Done(told))
    }

    /// Writes the changes into the vault as it is now. Where somebody else changed the same login meanwhile, nothing is written, and
    /// what both make together is returned.
    fn write(&mut self, changes: &Changes) -> Result<Option<Next>> {
        let mut now = read_vault(self.options)?;
        if now.text() != self.vault.text() {
            let there = Draft::open(&now, self.options.login.as_deref(), &self.identities)?;
            let (old, new) = (&self.vault.document, &now.document);
            let mut both: Vec<String> =
                changes.touched().into_iter().filter(|name| old.login(name) != new.login(name)).map(|name| format!("login `{}`", escape(name))).collect();
            if changes.touch_become() && old.become_password != new.become_password {
                both.push("the password of sudo".to_string());
            }
            std::mem::swap(&mut self.vault, &mut now);
            self.base = there;
            if !both.is_empty() {
                let head = format!("{} was changed by somebody else meanwhile, and so was what you changed: {}", self.vault.name, both.join(", "));
                let what = "below stands the vault as it is now, but those logins as you have them: saved, they replace what the other made of them";
                let text = changes.onto(&self.base).text(&self.head());
                return Ok(Some(Next::Merged { text, problems: problem(&format!("{head}\n{what}")) }));
            }
        }
        let text = changes.text(&self.vault, &self.vault.recipients()?, self.audit_key.as_ref())?;
        self.vault.write(&text).map(|()| None)
    }

    /// What stands above the logins.
    fn head(&self) -> Vec<String> {
        let what = match &self.options.login {
            Some(login) => format!("Login `{}` of {}", escape(login), escape(&self.vault.name)),
            None => format!("The logins of {}", escape(&self.vault.name)),
        };
        [
            &*format!("{what}, opened. When you save this and leave the editor, what you changed is sealed again; the rest"),
            "keeps its seals and lines in the vault, and its comments and order, whatever stands here.",
            "",
            "- Change a value, give a login another name, take one out, or write a new one like the others.",
            "- A password stands in single quotes, a ' in it twice; in double quotes, with \\n and the like; or as a block behind `password: |-`.",
            "- `expires`, `canary` and `auth_hosts` (a list of further hosts that are handed the login) may be left out.",
            "- To give up, leave without saving, or save an empty file.",
        ]
        .map(str::to_string)
        .into()
    }
}

fn read_vault(options: &EditOptions) -> Result<VaultFile> {
    VaultFile::read(&options.vault, "its logins cannot be edited one by one")
}

/// One problem without a place for each line of a message.
fn problem(message: &str) -> Vec<Problem> {
    let of = |line: &str| Problem { rule: crate::error::rule::INPUT, file: String::new(), line: 0, column: 0, message: line.to_string(), hint: None };
    message.lines().map(of).collect()
}

/// The text with what is wrong above it, in the place of what was told there before, and the first line that is meant. Lines are counted
/// as they stand then.
fn above(text: &str, problems: &[Problem]) -> (Zeroizing<String>, Option<u64>) {
    let before: usize = text.split_inclusive('\n').take_while(|line| line.starts_with(TOLD.trim_end())).count();
    let rest: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let shown = |problem: &Problem, added: u64| {
        let line = if problem.line == 0 { 0 } else { (problem.line + added).saturating_sub(before as u64) };
        let problem = Problem { line, file: if line == 0 { String::new() } else { "line".to_string() }, column: 0, ..problem.clone() };
        (problem.to_string().trim_start_matches(": ").replacen("line:", "line ", 1), line)
    };
    let added = problems.iter().map(|p| shown(p, 0).0.lines().count() as u64).sum();
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 4096));
    let mut first = None;
    for problem in problems {
        let (said, line) = shown(problem, added);
        first = first.or(Some(line).filter(|line| *line > 0));
        for line in said.lines() {
            out.push_str(TOLD);
            out.push_str(line);
            out.push('\n');
        }
    }
    out.push_str(&text[rest..]);
    (out, first)
}

/// Asks a person; `default` is what an empty answer means. Without a terminal, at its end and at a signal the answer is no.
async fn yes(question: &str, default: bool, signals: &mut Signals) -> Result<bool> {
    let Some(terminal) = Terminal::of_process() else { return Ok(false) };
    loop {
        let Ok(answer) = signals.or_end(terminal.ask(question.to_string(), true)).await else { return Ok(false) };
        let Some(answer) = answer else { return Ok(false) };
        match answer.expose().trim().to_ascii_lowercase().as_str() {
            "" => return Ok(default),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => {}
        }
    }
}
