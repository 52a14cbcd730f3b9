//! Where recipients come from: `-r` and `-R`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::RecipientArgs;
use crate::command::console::Console;
use crate::command::files;
use crate::error::{Error, Result};
use crate::vault::{Recipients, recipient_file};

/// The largest list of recipients that is read, in bytes.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// The public keys that a command is given.
#[derive(Clone, Debug, Default)]
pub struct RecipientSources {
    /// `-r KEY`.
    pub keys: Vec<String>,
    /// `-R FILE`; `-` is stdin.
    pub files: Vec<PathBuf>,
}

impl RecipientSources {
    /// These keys, as `-r` has them.
    pub fn keys<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        RecipientSources { keys: keys.into_iter().map(Into::into).collect(), files: Vec::new() }
    }

    /// Those of the command line.
    pub fn of(args: &RecipientArgs) -> Self {
        RecipientSources { keys: args.recipients.clone(), files: args.recipients_file.clone() }
    }

    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.files.is_empty()
    }

    /// All of them, each once; what is passed over in a list is told.
    ///
    /// # Errors
    /// What is wrong with the keys, and then with each file. No key is quoted.
    pub fn load(&self, console: &mut Console<'_>) -> Result<Recipients> {
        let mut all: Vec<_> = Recipients::parse(self.keys.iter().map(String::as_str))?.iter().cloned().collect();
        for path in &self.files {
            let (name, content) = if path == Path::new("-") {
                let mut content = Zeroizing::new(Vec::new());
                let read = (&mut *console.stdin).take(LIST_BYTES_MAX + 1).read_to_end(&mut content);
                read.map_err(|e| Error::vault(format!("the recipients cannot be read from stdin: {e}")))?;
                if content.len() as u64 > LIST_BYTES_MAX {
                    return Err(Error::vault(format!("what comes over stdin is longer than {} KiB; that is no list of recipients", LIST_BYTES_MAX >> 10)));
                }
                ("stdin".to_string(), content)
            } else {
                (path.display().to_string(), files::read(path, LIST_BYTES_MAX)?)
            };
            let file = recipient_file::parse(&name, &content)?;
            file.skipped.iter().for_each(|skipped| console.note(format_args!("note: {skipped}")));
            all.extend(file.recipients);
        }
        Ok(Recipients::of(all))
    }
}
