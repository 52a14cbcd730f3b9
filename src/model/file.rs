//! Files on a node: where they lie, and what was seen there.

use std::fmt;

use zeroize::Zeroizing;

use super::text::is_invisible;

/// A path on a node: absolute, normalised, without `..`, white space, control characters, backslashes and quotes. What
/// it may hold is narrow on purpose: it travels through `ls`, `tar` and `sha256sum`, which quote anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemotePath(String);

impl RemotePath {
    /// Checks and normalises (`//` and a trailing `/` are dropped).
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("path `{text}` is not absolute"));
        }
        if let Some(c) = text.chars().find(|c| c.is_whitespace() || is_invisible(*c) || "\\'\"`$*?[]".contains(*c)) {
            return Err(format!(
                "path {text:?} contains {c:?}; regprov writes only paths without white space, quotes, wildcards and control or invisible characters"
            ));
        }
        let mut out = String::new();
        for part in text.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." {
                return Err(format!("path `{text}` contains `..`"));
            }
            out.push('/');
            out.push_str(part);
        }
        if out.is_empty() {
            out.push('/');
        }
        Ok(RemotePath(out))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that holds it; `/` for `/` itself.
    pub fn parent(&self) -> RemotePath {
        match self.0.rfind('/') {
            Some(0) | None => RemotePath("/".into()),
            Some(i) => RemotePath(self.0[..i].to_string()),
        }
    }

    /// The last component; empty for `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// This path below a directory that stands for the node's `/`.
    pub fn below(&self, root: &RemotePath) -> RemotePath {
        if root.0 == "/" { self.clone() } else { RemotePath(format!("{}{}", root.0, if self.0 == "/" { "" } else { &self.0 })) }
    }

    /// A file in this directory. `name` is ours and holds no slash.
    pub fn join(&self, name: &str) -> RemotePath {
        debug_assert!(!name.contains('/') && !name.is_empty());
        RemotePath(if self.0 == "/" { format!("/{name}") } else { format!("{}/{name}", self.0) })
    }

    /// Whether this is `dir` or lies below it.
    pub fn is_within(&self, dir: &RemotePath) -> bool {
        let rest = self.0.strip_prefix(&dir.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || dir.0 == "/")
    }

    /// Every directory from `root` (itself included) down to the parent of this path.
    pub fn chain_from(&self, root: &RemotePath) -> Vec<RemotePath> {
        let mut chain = Vec::new();
        let mut at = self.parent();
        loop {
            chain.push(at.clone());
            if at == *root || at.0 == "/" {
                break;
            }
            at = at.parent();
        }
        chain.reverse();
        chain
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The permission bits of a file or directory that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// Of a file with secrets: `0600`, `0640`; nothing for others, nothing executable, no special bits.
    pub fn secret(bits: u32) -> Result<Self, String> {
        if bits & 0o007 != 0 {
            return Err(format!("mode {bits:04o} lets everybody on the node read a secret; use 0600, or 0640 with `group:`"));
        }
        if bits & !0o660 != 0 || bits & 0o600 != 0o600 {
            return Err(format!("mode {bits:04o} does not fit a file of logins; use 0600, or 0640 with `group:`"));
        }
        if bits & 0o020 != 0 {
            return Err(format!("mode {bits:04o} lets a group change the logins; use 0600, or 0640 with `group:`"));
        }
        Ok(FileMode(bits))
    }

    /// Of a file or directory that holds no secret; for constants of ours.
    pub const fn public(bits: u32) -> Self {
        FileMode(bits)
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// What kind of thing lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link and what it points to, as stored.
    Symlink(String),
    /// A fifo, device or socket, by the word for it.
    Other(&'static str),
}

/// What `ls -ldn` says of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: StatKind,
    /// Permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
}

/// A regular file as it was read: what it is and what is in it.
#[derive(Clone)]
pub struct ObservedFile {
    /// Owner, mode, size.
    pub stat: Stat,
    /// The bytes; they may hold other people's secrets, so they are wiped on drop.
    pub content: Zeroizing<Vec<u8>>,
}

/// What was found where a file shall be.
#[derive(Clone)]
pub enum Observed {
    /// Nothing is there.
    Absent,
    /// A regular file.
    File(ObservedFile),
    /// Something that we do not touch, and why, for a person.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(s: &str) -> RemotePath {
        RemotePath::parse(s).unwrap()
    }

    #[test]
    fn paths() {
        assert_eq!(p("//etc/./x/").as_str(), "/etc/x");
        for bad in ["etc", "/a/../b", "/a b", "/a\nb", "/a\u{202e}b", "/a\u{200b}b", "/a\\b", "/a'b", "/a*", ""] {
            assert!(RemotePath::parse(bad).is_err(), "{bad:?}");
        }
        let chain: Vec<String> = p("/n/root/.docker/config.json").chain_from(&p("/n")).iter().map(ToString::to_string).collect();
        assert_eq!(chain, ["/n", "/n/root", "/n/root/.docker"]);
        assert_eq!(p("/x").chain_from(&p("/")), [p("/")]);
        assert!(p("/a/b").is_within(&p("/a")) && p("/a").is_within(&p("/a")) && p("/a").is_within(&p("/")));
        assert!(!p("/a/bc").is_within(&p("/a/b")) && !p("/a").is_within(&p("/a/b")));
        assert_eq!(p("/x").below(&p("/n")).as_str(), "/n/x");
        assert_eq!(p("/x").below(&p("/")).as_str(), "/x");
    }

    #[test]
    fn a_secret_file_has_no_bits_for_others() {
        assert!(FileMode::secret(0o600).is_ok() && FileMode::secret(0o640).is_ok());
        for bad in [0o644, 0o604, 0o601, 0o660, 0o700, 0o4600, 0o400, 0o200, 0] {
            assert!(FileMode::secret(bad).is_err(), "{bad:o}");
        }
    }
}
