//! The lines of `ls -ldn`, by which a node tells what lies at a path.

use crate::model::{Stat, StatKind};

/// One line of `ls -ldn` in the C locale: mode, links, uid, gid, size, month, day, time or year, path, and for a link
/// ` -> ` and its target. Devices have two numbers for a size.
pub(super) fn parse_ls(line: &str) -> Option<(String, Stat)> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start_matches(' ');
        let (word, after) = rest.split_once(' ')?;
        rest = after;
        Some(word)
    };
    let mode = word()?;
    let (_links, uid, gid) = (word()?, word()?.parse().ok()?, word()?.parse().ok()?);
    let size = word()?;
    let size = if size.ends_with(',') { word().map(|_| 0)? } else { size.parse().ok()? };
    let _date = (word()?, word()?, word()?);
    let name = rest.trim_start_matches(' ');
    let (kind, mode) = parse_mode(mode)?;
    let (path, kind) = match kind {
        StatKind::Symlink(_) => {
            let (path, to) = name.split_once(" -> ")?;
            (path, StatKind::Symlink(to.to_string()))
        }
        kind => (name, kind),
    };
    Some((path.to_string(), Stat { kind, mode, uid, gid, size }))
}

/// `drwxr-xr-x`, with `s`, `t` and their capitals, and whatever `ls` puts behind it for ACLs and SELinux.
fn parse_mode(text: &str) -> Option<(StatKind, u32)> {
    let b = text.as_bytes();
    let kind = match b.first()? {
        b'-' => StatKind::File,
        b'd' => StatKind::Dir,
        b'l' => StatKind::Symlink(String::new()),
        b'p' => StatKind::Other("a fifo"),
        b's' => StatKind::Other("a socket"),
        b'b' | b'c' => StatKind::Other("a device"),
        _ => return None,
    };
    let mut mode = 0;
    for (i, c) in b.get(1..10)?.iter().enumerate() {
        let bit = 1 << (8 - i);
        let special = 1 << (11 - i / 3);
        mode |= match (i % 3, c) {
            (_, b'-') => 0,
            (0, b'r') | (1, b'w') | (2, b'x') => bit,
            (2, b's' | b't') => bit | special,
            (2, b'S' | b'T') => special,
            _ => return None,
        };
    }
    Some((kind, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ls() {
        let s = |l: &str| parse_ls(l).map(|(p, s)| (p, s.kind, format!("{:o}", s.mode), s.uid, s.gid, s.size));
        assert_eq!(s("drwxrwxrwt 12 0 0 4096 Nov 21 02:18 /tmp"), Some(("/tmp".into(), StatKind::Dir, "1777".into(), 0, 0, 4096)));
        assert_eq!(s("-rw-r-----.  1 0 100 12 Nov 21  2025 /e/c"), Some(("/e/c".into(), StatKind::File, "640".into(), 0, 100, 12)));
        assert_eq!(s("lrwxrwxrwx 1 0 0 9 Nov  1 02:18 /a -> ../b c"), Some(("/a".into(), StatKind::Symlink("../b c".into()), "777".into(), 0, 0, 9)));
        assert_eq!(s("crw-rw-rw- 1 0 0 1, 3 Nov 21 02:18 /dev/null"), Some(("/dev/null".into(), StatKind::Other("a device"), "666".into(), 0, 0, 0)));
        assert_eq!(s("-rwsr-Sr-x+   1 0 0 1 Nov 21 02:18 /x").unwrap().2, "6745");
        for bad in ["", "total 0", "-rw-r--r-- 1 root root 1 Nov 21 02:18 /x", "-rw 1 0 0 1 a b c /x"] {
            assert_eq!(parse_ls(bad), None, "{bad}");
        }
    }
}
