//! What git calls: the textconv, the merge driver and the hook that `regprov git-setup` installs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use zeroize::Zeroizing;

use super::check::judge;
use crate::cli::MergeDriverArgs;
use crate::command::console::Console;
use crate::command::files::{self, FILE_BYTES_MAX};
use crate::command::git;
use crate::error::{Error, Result};
use crate::model::text::{escape, shell_word};
use crate::vault::file::whole_header;
use crate::vault::is_age_file;
use crate::vault::looks::{holds_plain_logins, looks_like_vault};
use crate::vault::merge::{Markers, Merged, merge};
use crate::vault::outline::{outline, outline_of_bytes, outline_of_whole};

/// What git takes for "there is a conflict", and a hook's "no".
const NO: u8 = 1;

/// `vault textconv`: the outline of a vault, for `git diff` and `git log -p`. A file that is no vault says so in one line: a diff must not fail.
pub fn textconv(file: &Path, console: &mut Console<'_>) -> Result<()> {
    let bytes = files::read(file, FILE_BYTES_MAX)?;
    let text = match std::str::from_utf8(&bytes) {
        _ if is_age_file(&bytes) => outline_of_whole(&bytes),
        Err(_) => format!("no text; {}", outline_of_bytes(&bytes)),
        // Git names the file itself; here it has a temporary name, or none.
        Ok(text) => outline("the vault", text),
    };
    console.print(text.as_bytes())
}

/// `vault merge-driver`: merges three states by login into the file of ours. Returns the exit code: 0, or 1 for git's "conflict".
pub fn merge_driver(args: &MergeDriverArgs, console: &mut Console<'_>) -> Result<u8> {
    let name = escape(&args.path);
    let [base, ours, theirs] = [&args.base, &args.ours, &args.theirs].map(|path| files::read(path, FILE_BYTES_MAX));
    let (base, ours, theirs) = (base?, ours?, theirs?);
    if ours == theirs {
        return Ok(0);
    }
    if [&base, &ours, &theirs].into_iter().any(|bytes| is_age_file(bytes)) {
        console.note(format_args!(
            "{name}: encrypted as a whole, and both sides changed it; ours stays. Take theirs with `git checkout --theirs -- {}`, or decrypt both and \
             merge them: passwords that are sealed one by one merge by themselves",
            shell_word(&args.path)
        ));
        return Ok(NO);
    }
    let text = |bytes: &Zeroizing<Vec<u8>>| std::str::from_utf8(bytes).ok().map(|text| Zeroizing::new(text.to_string()));
    let merged = match (text(&base), text(&ours), text(&theirs)) {
        (Some(base), Some(ours), Some(theirs)) => {
            let label = |given: &Option<String>, own: &str| given.clone().filter(|label| !label.starts_with('%')).unwrap_or(own.to_string());
            let (of_ours, of_theirs) = (label(&args.label_ours, "ours"), label(&args.label_theirs, "theirs"));
            merge(&base, &ours, &theirs, Markers { size: args.marker_size.into(), ours: &of_ours, theirs: &of_theirs })
        }
        _ => Err("it is not text".to_string()),
    };
    match merged {
        Ok(merged) => {
            put(args, &ours, merged.text.as_bytes())?;
            Ok(tell(&args.path, &merged, console))
        }
        Err(why) => by_lines(args, &ours, &why, console),
    }
}

/// Says what came of a merge, and returns the exit code.
fn tell(path: &str, merged: &Merged, console: &mut Console<'_>) -> u8 {
    let (name, word) = (escape(path), shell_word(path));
    merged.notes.iter().for_each(|note| console.note(format_args!("{name}: {note}")));
    merged.conflicts.iter().for_each(|conflict| console.note(format_args!("{name}: {conflict}")));
    if !merged.conflicts.is_empty() {
        console.note(format_args!("{name}: keep one side of each between the markers, then `git add {word}`; everything else is merged"));
    }
    if !merged.seal_again.is_empty() {
        let logins: Vec<String> = merged.seal_again.iter().map(|login| format!("`{}`", escape(login))).collect();
        console.note(format_args!(
            "{name}: merged, but the recipients changed, and {} {} sealed for others than it lists now: `regprov vault rekey {word} && git add {word}`",
            logins.join(", "),
            if logins.len() == 1 { "is" } else { "are" }
        ));
    }
    u8::from(!merged.conflicts.is_empty() || !merged.seal_again.is_empty())
}

/// Git's own merge of lines, where logins cannot be told apart.
fn by_lines(args: &MergeDriverArgs, old: &[u8], why: &str, console: &mut Console<'_>) -> Result<u8> {
    let name = escape(&args.path);
    console.note(format_args!(
        "{name}: cannot be merged by login ({why}), so it is merged by lines; look at what came of it, then `git add {}`",
        shell_word(&args.path)
    ));
    let mut command =
        git::command(None, ["merge-file", "-p", &format!("--marker-size={}", args.marker_size), "-L", "ours", "-L", "base", "-L", "theirs", "--"]);
    let output = command.args([&args.ours, &args.base, &args.theirs]).output().map_err(|e| git::cannot_run(&e))?;
    let merged = Zeroizing::new(output.stdout);
    // The number of conflicts, or more for what is no merge.
    match output.status.code() {
        Some(0..=127) => put(args, old, &merged)?,
        _ => console.note(format_args!("{name}: git merge-file: {}", git::said(&std::process::Output { stdout: Vec::new(), ..output }))),
    }
    // Lines that fit say nothing of logins that do.
    Ok(NO)
}

/// What was merged takes the place of ours in one step: git takes what it finds there, also of a driver that was killed.
fn put(args: &MergeDriverArgs, old: &[u8], merged: &[u8]) -> Result<()> {
    let name = escape(&args.path);
    files::replace(&args.ours, old, merged).map_err(|e| Error::vault(format!("{name}: what was merged cannot be written, so ours stays: {}", e.message)))
}

/// `vault pre-commit`: `vault check` of what is staged, as far as it is vaults. Returns the exit code: 0 or 1.
pub fn pre_commit(console: &mut Console<'_>) -> Result<u8> {
    let staged = staged()?;
    if staged.is_empty() {
        return Ok(0);
    }
    let top = git::top()?;
    let marked = marked(&top, &staged)?;
    let chosen: Vec<&Staged> = staged.iter().filter(|file| is_yaml(&file.path) || marked.contains(&file.path)).collect();
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let mut vaults = Vec::new();
    let mut blobs = Blobs::open(&top)?;
    for file in chosen {
        let name = file.path.to_string_lossy();
        let is_marked = marked.contains(&file.path);
        let Some(bytes) = blobs.read(&file.blob)? else {
            problems.extend(is_marked.then(|| format!("{name} is larger than {} MiB, so that nothing can be said of what is in it", FILE_BYTES_MAX >> 20)));
            continue;
        };
        if is_age_file(&bytes) {
            // What only begins like one is no seal.
            problems.extend(whole_header(&bytes).err().filter(|_| is_marked).map(|e| e.explain(&name).to_string()));
            continue;
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) if is_marked || looks_like_vault(text) || holds_plain_logins(text) => {
                let judged = judge(&name, text);
                problems.extend(judged.problems);
                notes.extend(judged.notes);
                vaults.push(&file.path);
            }
            Err(_) if is_marked => problems.push(format!("{name} is not text, so that nothing can be said of what is in it")),
            _ => {}
        }
    }
    signatures(&top, &vaults, &staged, console)?;
    notes.iter().for_each(|note| console.note(format_args!("note: {}", escape_lines(note))));
    if problems.is_empty() {
        return Ok(0);
    }
    problems.iter().for_each(|problem| console.note(escape_lines(problem)));
    console.note("regprov: nothing was committed; `git commit --no-verify` commits it all the same");
    Ok(NO)
}

/// A name of a file may hold anything; line breaks are ours.
fn escape_lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

/// Tells of vaults that are committed without their signature, which is that of another text then.
fn signatures(top: &Path, vaults: &[&PathBuf], staged: &[Staged], console: &mut Console<'_>) -> Result<()> {
    let unsigned: Vec<(&PathBuf, PathBuf)> = vaults
        .iter()
        .map(|vault| (*vault, PathBuf::from(format!("{}.sig", vault.display()))))
        .filter(|(_, signature)| !staged.iter().any(|file| file.path == *signature))
        .collect();
    if unsigned.is_empty() {
        return Ok(());
    }
    let args = [OsStr::new("--literal-pathspecs"), OsStr::new("ls-files"), OsStr::new("-z"), OsStr::new("--")];
    let output = git::output(Some(top), args.into_iter().chain(unsigned.iter().map(|(_, signature)| signature.as_os_str())))?;
    for (vault, signature) in unsigned {
        if output.stdout.split(|b| *b == 0).any(|name| name == signature.as_os_str().as_bytes()) {
            console.note(format_args!(
                "note: {} is committed without {}, which is the signature of its last state: sign it again with `regprov vault sign {}`",
                escape(&vault.to_string_lossy()),
                escape(&signature.to_string_lossy()),
                escape(&shell_word(&vault.to_string_lossy()))
            ));
        }
    }
    Ok(())
}

/// A file of the index that differs from the last commit.
struct Staged {
    /// From the top of the work tree.
    path: PathBuf,
    blob: String,
}

/// What is staged: regular files that are not deleted.
fn staged() -> Result<Vec<Staged>> {
    let output = git::output(None, ["diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff", "--diff-filter=ACMT"])?;
    if !output.status.success() {
        return Err(Error::usage(format!("git: {}", git::said(&output))));
    }
    // `:OLDMODE NEWMODE OLDBLOB NEWBLOB STATUS`, NUL, path, NUL.
    let mut parts = output.stdout.split(|b| *b == 0);
    let mut staged = Vec::new();
    while let (Some(head), Some(path)) = (parts.next(), parts.next()) {
        let head = String::from_utf8_lossy(head);
        let fields: Vec<&str> = head.split(' ').collect();
        if let [_, mode, _, blob, _] = fields[..]
            && mode.starts_with("100")
        {
            staged.push(Staged { path: PathBuf::from(OsStr::from_bytes(path)), blob: blob.to_string() });
        }
    }
    Ok(staged)
}

/// Those that `.gitattributes` shows as vaults.
fn marked(top: &Path, staged: &[Staged]) -> Result<Vec<PathBuf>> {
    let mut marked = Vec::new();
    for some in staged.chunks(PATHS_AT_ONCE) {
        let args = ["check-attr", "-z", "diff", "--"].map(OsStr::new).into_iter().chain(some.iter().map(|file| file.path.as_os_str()));
        let output = git::output(Some(top), args)?;
        // Path, attribute, value, each with a NUL.
        let parts: Vec<&[u8]> = output.stdout.split(|b| *b == 0).collect();
        marked.extend(parts.chunks_exact(3).filter(|part| part[2] == b"regprov").map(|part| PathBuf::from(OsStr::from_bytes(part[0]))));
    }
    Ok(marked)
}

/// How many paths are handed to git in one command line.
const PATHS_AT_ONCE: usize = 500;

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yml" || e == "yaml")
}

/// One git that hands out files of the index, however many.
struct Blobs {
    child: std::process::Child,
}

impl Blobs {
    fn open(top: &Path) -> Result<Self> {
        let mut command = git::command(Some(top), ["cat-file", "--batch"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|e| git::cannot_run(&e))?;
        Ok(Blobs { child })
    }

    /// The content of one; `None` when it is too large for a vault.
    fn read(&mut self, id: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let trouble = |e: std::io::Error| Error::usage(format!("git cat-file: {e}"));
        let (stdin, stdout) = (self.child.stdin.as_mut().expect("it was piped"), self.child.stdout.as_mut().expect("it was piped"));
        writeln!(stdin, "{id}").and_then(|()| stdin.flush()).map_err(trouble)?;
        // Unbuffered, byte by byte: what follows is the content.
        let mut head = Vec::new();
        BufReader::with_capacity(1, &mut *stdout).read_until(b'\n', &mut head).map_err(trouble)?;
        let head = String::from_utf8_lossy(&head);
        let size: Option<u64> = head.trim_end().rsplit(' ').next().and_then(|n| n.parse().ok());
        let size = size.ok_or_else(|| Error::usage("git cat-file does not have what git diff named"))?;
        let mut content = Zeroizing::new(Vec::with_capacity(size.min(FILE_BYTES_MAX) as usize + 1));
        let is_small = size <= FILE_BYTES_MAX;
        let mut rest = stdout.take(size + 1);
        if is_small {
            rest.read_to_end(&mut content).map_err(trouble)?;
            content.truncate(size as usize);
        } else {
            std::io::copy(&mut rest, &mut std::io::sink()).map_err(trouble)?;
        }
        Ok(is_small.then_some(content))
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
