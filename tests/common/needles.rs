//! A search for a password in every form in which it may be written: in what is said, in argv and environ of all processes, in files.

// Each user takes what it needs.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::fleet::walk;

/// The password in every form in which it may be written, and which two bytes one of them starts with: megabytes are searched,
/// without optimisation.
pub(crate) struct Needles {
    pub(crate) forms: Vec<(String, Vec<u8>)>,
    starts: Vec<bool>,
}

impl Needles {
    /// Of a password, and of a stretch of it that no form of writing changes.
    pub(crate) fn of(password: &str, stretch: &str) -> Self {
        let mut all = vec![("as it is".to_string(), password.as_bytes().to_vec()), ("its stretch".to_string(), stretch.as_bytes().to_vec())];
        // Base64 of a text that holds the password at any distance from the start; the ends depend on the neighbours.
        for (text, what) in [(password, "base64"), (stretch, "base64 of its stretch")] {
            for shift in 0..3 {
                let mut bytes = vec![b'x'; shift];
                bytes.extend_from_slice(text.as_bytes());
                let encoded = STANDARD_NO_PAD.encode(&bytes);
                let from = [0, 2, 3][shift];
                let to = encoded.len() - [0, 2, 3][bytes.len() % 3];
                all.push((format!("{what}, shifted by {shift}"), encoded.as_bytes()[from..to].to_vec()));
                let url = encoded[from..to].replace('+', "-").replace('/', "_");
                all.push((format!("{what} for URLs, shifted by {shift}"), url.into_bytes()));
            }
        }
        let url: String = password.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
        let hex: String = password.bytes().map(|b| format!("{b:02x}")).collect();
        let backslashed: String = password.chars().map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\{c}") }).collect();
        for (name, form) in [
            ("JSON", serde_json::to_string(password).unwrap().trim_matches('"').to_string()),
            ("URL", url.clone()),
            ("URL in small letters", url.to_lowercase()),
            ("hexadecimal", hex.clone()),
            ("hexadecimal in capitals", hex.to_uppercase()),
            ("a shell's single quotes", password.replace('\'', "'\\''")),
            ("a shell's backslashes", backslashed),
            ("netrc's quotes", password.replace('\\', "\\\\").replace('"', "\\\"")),
        ] {
            all.push((name.to_string(), form.into_bytes()));
        }
        let mut starts = vec![false; 1 << 16];
        all.iter().for_each(|(_, form)| starts[usize::from(u16::from_be_bytes([form[0], form[1]]))] = true);
        Needles { forms: all, starts }
    }

    /// The first form that stands in some bytes.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<&str> {
        let mut pair = 0;
        for (i, byte) in bytes.iter().enumerate() {
            pair = (pair << 8 | usize::from(*byte)) & 0xffff;
            if self.starts[pair] && i > 0 {
                let found = self.forms.iter().find(|(_, form)| bytes[i - 1..].starts_with(form));
                if let Some((name, _)) = found {
                    return Some(name);
                }
            }
        }
        None
    }

    #[track_caller]
    pub(crate) fn not_in(&self, bytes: impl AsRef<[u8]>, place: &str) {
        if let Some(form) = self.find(bytes.as_ref()) {
            panic!("the password leaks in {place} ({form})");
        }
    }
}

/// What a poll of all processes came to.
#[derive(Default)]
pub(crate) struct Polled {
    /// Where the password was seen.
    pub(crate) leaks: BTreeSet<String>,
    /// The names of the programs that were looked at.
    pub(crate) programs: BTreeSet<String>,
}

/// Looks at argv and environ of every process of this machine, those on nodes too, while `work` runs.
pub(crate) fn polled<T>(needles: &Needles, work: impl FnOnce() -> T) -> (T, Polled) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let mut polled = Polled::default();
            while !over.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let pid = entry.file_name().to_string_lossy().into_owned();
                    if !pid.bytes().all(|b| b.is_ascii_digit()) {
                        continue;
                    }
                    let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) else { continue };
                    let mut seen = false;
                    for part in ["cmdline", "environ"] {
                        let Ok(bytes) = fs::read(format!("/proc/{pid}/{part}")) else { continue };
                        seen |= !bytes.is_empty();
                        if bytes.windows(10).any(|w| w == b": regprov;") {
                            polled.programs.insert("the node program".to_string());
                        }
                        if let Some(form) = needles.find(&bytes) {
                            polled.leaks.insert(format!("{part} of {} ({form})", name.trim()));
                        }
                    }
                    if seen {
                        polled.programs.insert(name.trim().to_string());
                    }
                }
            }
            polled
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let polled = poller.join().unwrap();
        (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), polled)
    })
}

/// The files below a directory that hold the password in some form, by their paths from there.
pub(crate) fn files_with(needles: &Needles, dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(dir, &mut |path, meta| {
        // No file of ours is larger.
        if meta.is_file() && meta.len() < 4 << 20 && needles.find(&fs::read(path).unwrap_or_default()).is_some() {
            found.insert(path.strip_prefix(dir).unwrap().to_str().unwrap().to_string());
        }
    });
    found
}
