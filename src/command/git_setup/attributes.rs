//! `.gitattributes` at the top of the work tree: which files are vaults.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Told;
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::error::{Error, Result};
use crate::model::text::escape;

/// What a vault's line says behind its pattern. Its bytes are signed, so git changes no line ends.
const VAULT: &str = " -text diff=regprov merge=regprov";
/// What that of its signature says: after a merge none of both fits, so ours stays and git calls it a conflict.
const SIGNATURE: &str = " binary";
/// The line above ours.
const HEAD: &str = "# Vaults, by `regprov git-setup`: shown and merged login by login.";

/// The file as it was read.
pub(super) struct Attributes {
    path: PathBuf,
    /// `None` where there is none.
    text: Option<Zeroizing<Vec<u8>>>,
}

impl Attributes {
    pub(super) fn read(top: &Path) -> Result<Self> {
        let path = top.join(".gitattributes");
        let text = path.symlink_metadata().is_ok().then(|| files::read(&path, FILE_BYTES_MAX)).transpose()?;
        if text.as_ref().is_some_and(|text| std::str::from_utf8(text).is_err()) {
            return Err(Error::usage(format!("{} is not text", path.display())));
        }
        Ok(Attributes { path, text })
    }

    fn lines(&self) -> Vec<&str> {
        self.text.as_ref().and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default().lines().collect()
    }

    /// Adds the lines of these vaults that are not there yet.
    pub(super) fn set(&self, vaults: &[PathBuf], told: &mut Told) -> Result<()> {
        let there = self.lines();
        let mut lines: Vec<String> = there.iter().map(|line| line.to_string()).collect();
        let mut added = Vec::new();
        for vault in vaults {
            let name = vault.to_str().ok_or_else(|| Error::usage(format!("{} has a name that is not text", vault.display())))?;
            let own = [format!("{}{VAULT}", pattern(name)), format!("{}{SIGNATURE}", pattern(&format!("{name}.sig")))];
            let missing: Vec<String> = own.into_iter().filter(|line| !there.contains(&line.as_str())).collect();
            if missing.is_empty() {
                continue;
            }
            if !lines.iter().any(|line| line == HEAD) {
                lines.push(HEAD.to_string());
            }
            lines.extend(missing);
            added.push(escape(name));
        }
        if added.is_empty() { Ok(()) } else { told.change(format!(".gitattributes, to be committed: {}", added.join(", ")), || self.write(&lines)) }
    }

    /// Takes our lines out, and the file when nothing else was in it.
    pub(super) fn undo(&self, told: &mut Told) -> Result<()> {
        let there = self.lines();
        let vaults: Vec<&str> = there.iter().filter_map(|line| line.strip_suffix(VAULT)).collect();
        let signature_of =
            |line: &str| line.strip_suffix(SIGNATURE).and_then(|p| p.strip_suffix(".sig").or_else(|| p.strip_suffix(".sig\"")).map(str::to_string));
        let is_ours = |line: &str| {
            line == HEAD || line.ends_with(VAULT) || signature_of(line).is_some_and(|vault| vaults.iter().any(|v| v.strip_suffix('"').unwrap_or(v) == vault))
        };
        let kept: Vec<String> = there.iter().filter(|line| !is_ours(line)).map(|line| line.to_string()).collect();
        if kept.len() == there.len() {
            return Ok(());
        }
        told.change(".gitattributes: the lines of vaults are taken out", || match kept.is_empty() {
            true => std::fs::remove_file(&self.path).map_err(|e| Error::usage(format!("{} cannot be removed: {e}", self.path.display()))),
            false => self.write(&kept),
        })
    }

    fn write(&self, lines: &[String]) -> Result<()> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        match &self.text {
            Some(old) => files::replace(&self.path, old, text.as_bytes()),
            None => files::create(&self.path, text.as_bytes(), 0o666),
        }
    }
}

/// A path from the top as the pattern that matches it alone; in git's quotes where it has to be (gitattributes(5)).
fn pattern(path: &str) -> String {
    let mut pattern = String::from("/");
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    if !pattern.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
        return pattern;
    }
    let escaped: String = pattern
        .chars()
        .map(|c| match c {
            '"' => "\\\"".to_string(),
            '\\' => "\\\\".to_string(),
            c if c.is_control() => format!("\\{:03o}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_one_path() {
        for (path, want) in [
            ("vault.yml", "/vault.yml"),
            ("site a/vault.yml", "\"/site a/vault.yml\""),
            ("a[1]*?.yml", "/a\\[1\\]\\*\\?.yml"),
            ("a\"b\\.yml", "\"/a\\\"b\\\\\\\\.yml\""),
            ("#x.yml", "/#x.yml"),
        ] {
            assert_eq!(pattern(path), want);
        }
    }

    #[test]
    fn ours_come_once_and_go_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".gitattributes");
        let read = || std::fs::read_to_string(&file).unwrap();
        let mut told = Told { check: false, lines: vec![], later: vec![] };
        let vaults = [PathBuf::from("vault.yml"), PathBuf::from("site a/vault.yml")];
        let foreign = "*.sh text\n*.sig -diff -merge\n";
        for before in [None, Some(foreign)] {
            if let Some(text) = before {
                std::fs::write(&file, text).unwrap();
            }
            for _ in 0..2 {
                Attributes::read(dir.path()).unwrap().set(&vaults[..1], &mut told).unwrap();
                Attributes::read(dir.path()).unwrap().set(&vaults, &mut told).unwrap();
            }
            let own = format!("{HEAD}\n/vault.yml{VAULT}\n/vault.yml.sig{SIGNATURE}\n\"/site a/vault.yml\"{VAULT}\n\"/site a/vault.yml.sig\"{SIGNATURE}\n");
            assert_eq!(read(), format!("{}{own}", before.unwrap_or_default()));
            Attributes::read(dir.path()).unwrap().undo(&mut told).unwrap();
            assert_eq!(file.exists().then(read).as_deref(), before);
            Attributes::read(dir.path()).unwrap().undo(&mut told).unwrap();
        }
        assert_eq!(told.lines.len(), 6, "{:?}", told.lines);
    }
}
