//! What is staged on a node: directories and files with owner and mode, as a tar archive, or as lines for nodes without
//! tar.

use std::io::Write as _;

use zeroize::Zeroizing;

use crate::model::RemotePath;

/// A directory or file to stage. Its parent exists, or comes before it.
pub struct Entry<'a> {
    /// Where.
    pub path: RemotePath,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// `None` for a directory.
    pub content: Option<&'a [u8]>,
}

/// The entries as a ustar archive with paths relative to `/`, and `last`, a directory that exists, as the entry by which the
/// node sees that all has come. Names of owners are left empty, so that the node takes the numbers. The buffer is sized at once and
/// wiped on drop.
pub fn tar(entries: &[Entry<'_>], last: Entry<'_>) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let size: usize = entries.iter().map(|e| 2048 + e.content.map_or(0, <[u8]>::len)).sum();
    let mut buffer = Zeroizing::new(Vec::with_capacity(size + 1024));
    let mut archive = tar::Builder::new(&mut *buffer);
    for entry in entries.iter().chain([&last]) {
        let mut header = tar::Header::new_ustar();
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mode(entry.mode);
        let content = entry.content.unwrap_or_default();
        header.set_size(content.len() as u64);
        header.set_entry_type(if entry.content.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        archive.append_data(&mut header, entry.path.as_str().trim_start_matches('/'), content)?;
    }
    archive.finish()?;
    drop(archive);
    Ok(buffer)
}

/// The entries as lines: `dir MODE UID:GID 0 PATH`, or `file` (`cut` when its last line has no newline) with the number
/// of lines that follow, and `end` with `last`. `Err` names a file that holds a NUL byte, which no shell can carry.
pub fn lines(entries: &[Entry<'_>], last: &RemotePath) -> Result<Zeroizing<Vec<u8>>, RemotePath> {
    let size: usize = entries.iter().map(|e| 2048 + e.content.map_or(0, <[u8]>::len)).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    for entry in entries {
        let Entry { path, uid, gid, mode, content } = entry;
        let (what, lines) = match content {
            None => ("dir", 0),
            Some(c) if c.contains(&0) => return Err(path.clone()),
            Some(c) if c.ends_with(b"\n") => ("file", c.iter().filter(|b| **b == b'\n').count()),
            Some(c) => ("cut", c.iter().filter(|b| **b == b'\n').count() + 1),
        };
        writeln!(out, "{what} {mode:o} {uid}:{gid} {lines} {path}").expect("a Vec takes every write");
        if let Some(content) = content {
            out.extend_from_slice(content);
            if what == "cut" {
                out.push(b'\n');
            }
        }
    }
    writeln!(out, "end 0 0 0 {}", last.as_str().trim_start_matches('/')).expect("a Vec takes every write");
    Ok(out)
}
