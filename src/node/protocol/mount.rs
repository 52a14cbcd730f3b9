//! What is mounted on the way to a file, as the node program tells it.

use crate::model::RemotePath;

/// One mount: the fields of a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)) that say which filesystem it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `MAJOR:MINOR`, which says something within one boot of one machine only.
    pub device: String,
    /// The filesystem's type: `nfs4`, `xfs`.
    pub kind: String,
    /// What is mounted: a server's export, a device, or a name that the filesystem made up.
    pub source: String,
    /// Which part of it: `/`, or the directory that a bind mount begins at.
    pub root: String,
    /// Where.
    pub at: RemotePath,
}

impl Mount {
    /// The words `DEVICE TYPE SOURCE ROOT PLACE`. `None` for anything else, and for a place in which regprov would not write: the kernel
    /// writes a blank or a backslash as `\040` and `\134`.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let words: Vec<&str> = words.split(' ').collect();
        let &[device, kind, source, root, at] = &words[..] else { return None };
        let word = |w: &str| (!w.is_empty()).then(|| w.to_string());
        Some(Mount { device: word(device)?, kind: word(kind)?, source: word(source)?, root: word(root)?, at: RemotePath::parse(at).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_five_words_are_a_mount() {
        let mount = Mount::parse("0:52 nfs4 nfs01:/home / /home").unwrap();
        assert_eq!((&mount.device[..], &mount.kind[..], &mount.source[..], &mount.root[..], mount.at.as_str()), ("0:52", "nfs4", "nfs01:/home", "/", "/home"));
        for odd in [
            "",
            "0:52 nfs4 nfs01:/home /",
            "0:52 nfs4  / /home",
            "0:52 nfs4 nfs01:/home / /home x",
            "0:52 nfs4 nfs01:/home / home",
            r"8:1 xfs /dev/sda1 / /a\040b",
        ] {
            assert_eq!(Mount::parse(odd), None, "{odd}");
        }
    }
}
