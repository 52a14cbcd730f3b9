//! Which editor, and what it is told so that it keeps no copies: no swap file, no backup, no undo file, no history.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::text::escape;

/// An editor and what is known of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Editor {
    /// The program and the arguments that the user gave it.
    pub(super) argv: Vec<String>,
    kind: Kind,
}

/// How an editor is told to keep nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// vim and neovim.
    Vim,
    /// vim with a window of its own, which otherwise ends at once.
    Gvim,
    /// The vi of BSD: recovery files in /var/tmp.
    Nvi,
    /// busybox: it keeps nothing and knows no options.
    BusyboxVi,
    Nano,
    Emacs,
    /// Nothing is known of it.
    Other,
}

/// What vim and neovim are told when the settings of the user have been read. Each stands for itself, since a small vim has not all of them.
/// `.` is the file's own folder, should the user ask for such a file after all.
const VIM_SETTINGS: &str = "silent! set noswapfile | silent! set nobackup | silent! set nowritebackup | silent! set noundofile | silent! set viminfo= | \
                            silent! set directory=. | silent! set backupdir=. | silent! set undodir=. | silent! set nomodeline";

/// What holds while vim reads the file: what stands in it sets nothing and is not looked up in an undo file.
const VIM_BEFORE: &str = "silent! autocmd BufReadPre * setlocal nomodeline noundofile";

const EMACS_SETTINGS: &str = "(setq make-backup-files nil backup-inhibited t auto-save-default nil auto-save-list-file-prefix nil create-lockfiles nil \
                              savehist-mode nil undo-tree-auto-save-history nil enable-local-variables nil)";

impl Editor {
    /// The one that VISUAL or EDITOR names, else vi.
    ///
    /// # Errors
    /// The words cannot be taken apart without a shell, the program is not there, or it is one that cannot be told to keep nothing.
    pub(super) fn of_process() -> Result<Self> {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(|v| (name.to_string(), v));
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::choose(var("VISUAL").or_else(|| var("EDITOR")), &path)
    }

    /// As [`Editor::of_process`], with this variable and this PATH.
    fn choose(named: Option<(String, OsString)>, path: &std::ffi::OsStr) -> Result<Self> {
        let (source, argv) = match named {
            None => ("neither VISUAL nor EDITOR is set, and `vi`".to_string(), vec!["vi".to_string()]),
            Some((name, text)) => {
                let text = text.into_string().map_err(|_| Error::usage(format!("{name} is not text")))?;
                let argv = words(&text).map_err(|why| {
                    Error::usage(format!("{name} cannot be read: {why}")).hint("name a program and its arguments; no shell reads it, quotes and backslashes do")
                })?;
                (format!("{name}: `{}`", escape(&argv[0])), argv)
            }
        };
        let program = look_up(&argv[0], path).ok_or_else(|| {
            let why = if argv[0].contains('/') { "is no program" } else { "is not in PATH" };
            Error::usage(format!("{source} {why}")).hint("set VISUAL or EDITOR to an editor")
        })?;
        let real = std::fs::canonicalize(&program).unwrap_or_else(|_| program.clone());
        let kind = kind(&name_of(&program), &name_of(&real)).map_err(|why| Error::usage(format!("{source} {why}")).hint("set VISUAL to vim, nvim or nano"))?;
        Ok(Editor { argv, kind })
    }

    /// The arguments behind those of the user: what it is told, and the file.
    pub(super) fn arguments(&self, file: &Path, line: Option<u64>) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = match self.kind {
            Kind::Vim => ["-n", "-i", "NONE", "--cmd", VIM_BEFORE, "-c", VIM_SETTINGS].map(Into::into).into(),
            Kind::Gvim => ["-f", "-n", "-i", "NONE", "--cmd", VIM_BEFORE, "-c", VIM_SETTINGS].map(Into::into).into(),
            // Restricted: no history, no backups, no other files.
            Kind::Nano => ["--ignorercfiles", "--restricted"].map(Into::into).into(),
            Kind::Emacs => ["--eval", EMACS_SETTINGS].map(Into::into).into(),
            Kind::Nvi | Kind::BusyboxVi | Kind::Other => Vec::new(),
        };
        if let Some(line) = line.filter(|_| matches!(self.kind, Kind::Vim | Kind::Gvim | Kind::Nano | Kind::Emacs)) {
            arguments.push(format!("+{line}").into());
        }
        arguments.push(file.into());
        arguments
    }

    /// What it finds in its environment, beside what is there: temporary files lie in the private folder.
    pub(super) fn environment(&self, folder: &Path) -> Vec<(&'static str, OsString)> {
        let mut variables: Vec<(&str, OsString)> = ["TMPDIR", "TMP", "TEMP"].map(|name| (name, folder.into())).into();
        if self.kind == Kind::Nvi {
            // Its options, before the file is read; nvi reads this instead of EXINIT and ~/.exrc.
            let folder = folder.display().to_string().replace('\\', "\\\\").replace(' ', "\\ ").replace('|', "\\|");
            variables.push(("NEXINIT", format!("set recdir={folder} directory={folder} nomodeline").into()));
        }
        variables
    }

    /// Whether it is one that this program knows how to keep from making copies.
    pub(super) fn is_known(&self) -> bool {
        self.kind != Kind::Other
    }
}

/// What a program is by the name it is called by and that of the file behind it: `vi` is many.
fn kind(called: &str, real: &str) -> std::result::Result<Kind, String> {
    let is_vi = matches!(called, "vi" | "view" | "ex");
    for name in [real, called] {
        let stem = name.trim_end_matches(".exe");
        match stem {
            "busybox" if is_vi => return Ok(Kind::BusyboxVi),
            "nvi" | "nvi2" | "nex" | "nview" | "bsd-vi" => return Ok(Kind::Nvi),
            "nvim-qt" | "neovide" | "vimr" | "mvim" | "macvim" => return Err("cannot be told to wait and to keep no swap file".into()),
            "emacsclient" => return Err("hands the file to a server, which cannot be told to keep no copies".into()),
            "gvim" | "rgvim" | "vim-gtk3" | "evim" => return Ok(Kind::Gvim),
            "nvim" | "rvim" | "lvim" | "vimx" | "view" => return Ok(Kind::Vim),
            // vim.basic, vim.tiny, vim-minimal, vim.gtk3 (called `gvim` it opens a window).
            _ if stem == "vim" || stem.starts_with("vim.") || stem.starts_with("vim-") => return Ok(if is_gui(called) { Kind::Gvim } else { Kind::Vim }),
            _ if stem.starts_with("nvim.") || stem.starts_with("nvim-") => return Ok(Kind::Vim),
            "nano" | "rnano" => return Ok(Kind::Nano),
            _ if stem == "emacs" || stem.starts_with("emacs-") && !stem.starts_with("emacs-client") => return Ok(Kind::Emacs),
            "elvis" | "vile" | "ex-vi" | "levee" => return Err("cannot be told to keep no recovery file".into()),
            _ => {}
        }
    }
    // A file that is itself called `vi` is vim in Fedora and its kin, the old vi elsewhere; only the first takes vim's options.
    Ok(if is_vi { Kind::Vim } else { Kind::Other })
}

fn is_gui(called: &str) -> bool {
    matches!(called, "gvim" | "gview" | "rgvim" | "evim" | "eview")
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file of a program, as execvp(3) finds it.
fn look_up(program: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    let runs = |file: &Path| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|file| runs(file));
    }
    std::env::split_paths(path).map(|dir| dir.join(program)).find(|file| runs(file))
}

/// The words of a command line: blanks part them, quotes and backslashes keep them together as in sh. What only a shell could do is
/// refused, since it would otherwise be taken literally.
fn words(text: &str) -> std::result::Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a single quote is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a double quote is not closed")? {
                        '"' => break,
                        '\\' => match chars.next().ok_or("a double quote is not closed")? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c @ ('$' | '`') => return Err(format!("`{c}` would need a shell")),
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("it ends with a backslash")?),
            '$' | '`' | ';' | '|' | '&' | '<' | '>' | '(' | ')' | '*' | '?' | '#' => return Err(format!("`{c}` would need a shell")),
            '~' if word.is_none() => return Err("`~` would need a shell".into()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) { Err("it names no program".into()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_sh_without_a_shell() {
        for (text, want) in [
            ("vi", &["vi"][..]),
            ("  code\t--wait ", &["code", "--wait"]),
            ("'/opt/my editor/ed' -x \"a b\" c\\ d ''", &["/opt/my editor/ed", "-x", "a b", "c d", ""]),
            (r#"ed "a\"b\\c\d" 'x\y'"#, &["ed", r#"a"b\c\d"#, r"x\y"]),
            ("emacs -nw --eval='(setq x 1)'", &["emacs", "-nw", "--eval=(setq x 1)"]),
        ] {
            assert_eq!(words(text).unwrap(), want, "{text}");
            // sh agrees.
            let shell = std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {text}")]).output().unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), want.iter().map(|w| format!("{w}\n")).collect::<String>(), "{text}");
        }
        for text in ["", "  ", "''", "a 'b", "a \"b", "a\\", "$HOME/ed", "a \"$x\"", "a `b`", "a; b", "a | b", "a &", "~/ed", "a >x", "(a)", "a *"] {
            assert!(words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_editor_is_known_by_its_name_and_by_the_file_behind_it() {
        for (called, real, want) in [
            ("vi", "vim.basic", Kind::Vim),
            ("vi", "vi", Kind::Vim),
            ("vi", "busybox", Kind::BusyboxVi),
            ("vi", "nvi", Kind::Nvi),
            ("editor", "nano", Kind::Nano),
            ("editor", "vim.tiny", Kind::Vim),
            ("vim", "nvim", Kind::Vim),
            ("gvim", "vim.gtk3", Kind::Gvim),
            ("vim", "vim.gtk3", Kind::Vim),
            ("emacs", "emacs-gtk", Kind::Emacs),
            ("my-wrapper", "my-wrapper", Kind::Other),
            ("busybox", "busybox", Kind::Other),
            ("ed", "ed", Kind::Other),
        ] {
            assert_eq!(kind(called, real), Ok(want), "{called} {real}");
        }
        for (called, real) in [("nvim-qt", "nvim-qt"), ("emacsclient", "emacsclient.emacs"), ("vi", "elvis"), ("vi", "ex-vi")] {
            assert!(kind(called, real).is_err(), "{called} {real}");
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let choose = |name: Option<&str>| Editor::choose(name.map(|n| ("VISUAL".to_string(), n.into())), dir.path().as_os_str()).map_err(|e| e.to_string());
        assert!(choose(None).unwrap_err().contains("neither VISUAL nor EDITOR is set, and `vi` is not in PATH"));
        assert!(choose(Some("ed -x")).unwrap_err().contains("VISUAL: `ed` is not in PATH"));
        assert!(choose(Some("/no/ed")).unwrap_err().contains("`/no/ed` is no program"));
        assert!(choose(Some("$ED")).unwrap_err().contains("would need a shell"));
        let real = dir.path().join("vim.tiny");
        std::fs::write(&real, "").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("vim.tiny", dir.path().join("vi")).unwrap();
        let vi = choose(None).unwrap();
        assert_eq!((vi.kind, &vi.argv[..]), (Kind::Vim, &["vi".to_string()][..]));
        let arguments = vi.arguments(Path::new("/x/vault.yml"), Some(7));
        assert_eq!(
            (&arguments[..3], &arguments[arguments.len() - 2..]),
            (&["-n", "-i", "NONE"].map(OsString::from)[..], &["+7", "/x/vault.yml"].map(OsString::from)[..])
        );
    }
}
