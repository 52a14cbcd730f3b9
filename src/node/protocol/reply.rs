//! What the node program answers, read as it arrives.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::ls::parse_ls;
use super::mount::Mount;
use super::task::{self, ERRORS_BYTES_MAX, Ended, OUTPUT_BYTES_MAX};
use super::{FILE_BYTES_MAX, Nonce};
use crate::model::{CurlVersion, ObservedFile, Stat, StatKind};

/// The longest reply line.
const LINE_BYTES_MAX: usize = 8 << 10;
/// What a login shell may print before our program speaks.
const NOISE_BYTES_MAX: usize = 64 << 10;
/// The longest reply, file contents included: some eight files of the largest size that is read.
const REPLY_BYTES_MAX: usize = 8 << 20;
/// The most lines of a reply that carry the nonce.
const LINES_MAX: usize = 4096;
/// The most mounts that are kept; on the way to a few files lie a handful.
const MOUNTS_MAX: usize = 256;
/// What is kept of the tools' complaints.
const COMPLAINT_BYTES_MAX: usize = 8 << 10;

/// What became of one [`Swap`](super::Swap) that was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What is there is no longer what was observed.
    Conflict,
    /// The staged file is not what was sent: no space, no permission, read-only.
    Unstaged,
}

/// A user as the node knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Number.
    pub uid: u32,
    /// Number of the first group.
    pub gid: u32,
    /// The home as the node says it, without the host's `root:`.
    pub dir: String,
}

/// A node's reply to one request.
#[derive(Clone, Default)]
pub struct Reply {
    /// What lies at each path that exists.
    pub stats: BTreeMap<String, Stat>,
    /// The regular files up to [`FILE_BYTES_MAX`].
    pub files: BTreeMap<String, ObservedFile>,
    /// The inode of each path that exists, where [`Observe::shared`](super::Observe::shared) asked.
    pub inodes: BTreeMap<String, u64>,
    /// The kernel's name for this boot of this machine, then too.
    pub boot: Option<String>,
    /// What is mounted at the paths that were asked for, in the order in which it was, where the kernel knows filesystems that hosts share.
    pub mounts: Vec<Mount>,
    /// User and group of the program.
    pub me: Option<(u32, u32)>,
    /// Numbers of users (`passwd`) and groups (`group`) by (kind, name); `None` where the node knows none.
    pub ids: BTreeMap<(String, String), Option<u32>>,
    /// The user whose home was asked for; `None` where the node knows none.
    pub home: Option<Home>,
    /// What [`crate::node::Program::Probe`] tells: a name, and words that nobody has looked at yet.
    pub facts: Vec<(String, String)>,
    /// The line of `curl --version`, read.
    pub curl: Option<CurlVersion>,
    /// Whether there is a tar.
    pub tar: bool,
    /// Swaps that were not carried out, by their position.
    pub verdicts: BTreeMap<usize, Verdict>,
    /// Another run held the lock for as long as we waited.
    pub busy: bool,
    /// File contents did not have the sizes that were announced: a file changed between `ls` and `cat`. Ask again.
    pub torn: bool,
    /// What the tools printed between the program's lines, at most a few KiB, unsanitised.
    pub complaints: String,
    /// What came of a task.
    pub task: Option<Ended>,
    /// The program refuses to work here, and why.
    pub refused: Option<String>,
}

/// A reply that breaks the grammar, told for a person. It quotes nothing that the node said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// More before our program spoke than any login shell prints.
    Noise,
    /// A line or the reply is longer than allowed.
    TooLong,
    /// A line outside the grammar.
    Grammar,
}

impl Broken {
    /// The reason for a report.
    pub fn reason(&self) -> &'static str {
        match self {
            Broken::Noise => "the login shell printed more than 64 KiB before the node program spoke; check its rc files",
            Broken::TooLong => "the reply is longer than regprov accepts",
            Broken::Grammar => "the reply is not one that the node program gives",
        }
    }
}

/// Reads one reply, piece by piece as it arrives. However the pieces fall, each byte is looked at a fixed number of times,
/// and no more than 8 MiB are kept.
pub struct ReplyReader {
    nonce: Nonce,
    buffer: Zeroizing<Vec<u8>>,
    /// What lies before is done with.
    at: usize,
    /// Up to here there is no end of the line that starts at `at`.
    searched: usize,
    /// How long the file contents that start at `at` are, once they have begun.
    contents: Option<usize>,
    /// Those contents are what a task said, this many bytes of it on standard error.
    task: Option<usize>,
    spoke: bool,
    lines: usize,
    noise: Vec<u8>,
    complaint_bytes: usize,
    order: Vec<(String, Stat)>,
    reply: Reply,
    /// Bytes that were searched, compared or moved so far.
    #[cfg(test)]
    handled: usize,
}

impl ReplyReader {
    /// For replies that carry this nonce.
    pub fn new(nonce: Nonce) -> Self {
        ReplyReader {
            nonce,
            buffer: Zeroizing::new(Vec::new()),
            at: 0,
            searched: 0,
            contents: None,
            task: None,
            spoke: false,
            lines: 0,
            noise: Vec::new(),
            complaint_bytes: 0,
            order: Vec::new(),
            reply: Reply::default(),
            #[cfg(test)]
            handled: 0,
        }
    }

    /// For a further reply of a program that has spoken.
    pub fn again(nonce: Nonce) -> Self {
        ReplyReader { spoke: true, ..ReplyReader::new(nonce) }
    }

    /// What came before the program spoke: a login shell's words, for the message when it never does.
    pub fn noise(&self) -> String {
        let rest = if self.spoke { &[][..] } else { &self.buffer[self.at..] };
        String::from_utf8_lossy(&[&self.noise, rest].concat()).into_owned()
    }

    /// Whether the program has spoken.
    pub fn spoke(&self) -> bool {
        self.spoke
    }

    /// Takes the next bytes; `Some` when the reply is whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Broken> {
        if self.buffer.len() + bytes.len() > REPLY_BYTES_MAX {
            return Err(Broken::TooLong);
        }
        let moved = grow(&mut self.buffer, bytes);
        self.count(moved);
        loop {
            if let Some(total) = self.contents {
                if !self.take_contents(total) {
                    return Ok(None);
                }
                if self.task.is_some() && (self.reply.torn || self.reply.task.is_none()) {
                    return Err(Broken::Grammar);
                }
                if self.reply.torn {
                    return Ok(Some(std::mem::take(&mut self.reply)));
                }
            }
            let Some(line) = self.next_line()? else { return Ok(None) };
            // The first line may follow a prompt or another unfinished line of the login shell.
            let mark = format!("{} ", self.nonce.0).into_bytes();
            let start = if self.spoke { line.starts_with(&mark).then_some(0) } else { find(&line, &mark) };
            let Some(start) = start else {
                self.aside(&line)?;
                continue;
            };
            self.spoke = true;
            self.lines += 1;
            if self.lines > LINES_MAX {
                return Err(Broken::TooLong);
            }
            let line = std::str::from_utf8(&line[start + mark.len()..]).map_err(|_| Broken::Grammar)?;
            if line == "cat" {
                let total = self.files().map(|(_, s)| s.size as usize).sum();
                if total > REPLY_BYTES_MAX {
                    return Err(Broken::TooLong);
                }
                self.contents = Some(total);
            } else if let Some(sizes) = line.strip_prefix("ran ") {
                let (total, err) =
                    sizes.split_once(' ').and_then(|(t, e)| Some((t.parse::<usize>().ok()?, e.parse::<usize>().ok()?))).ok_or(Broken::Grammar)?;
                if err > ERRORS_BYTES_MAX || total > OUTPUT_BYTES_MAX + 2 * ERRORS_BYTES_MAX {
                    return Err(Broken::TooLong);
                }
                (self.contents, self.task) = (Some(total), Some(err));
            } else if self.line(line)? {
                return Ok(Some(std::mem::take(&mut self.reply)));
            }
        }
    }

    /// The next line without its end, when it is whole.
    fn next_line(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Broken> {
        let found = self.buffer[self.searched..].iter().position(|b| *b == b'\n');
        let end = found.map(|i| self.searched + i);
        self.count(found.map_or(self.buffer.len() - self.searched, |i| i + 1));
        let (limit, broken) = if self.spoke { (LINE_BYTES_MAX, Broken::TooLong) } else { (NOISE_BYTES_MAX, Broken::Noise) };
        if end.unwrap_or(self.buffer.len()) - self.at > limit {
            return Err(broken);
        }
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return Ok(None);
        };
        let line = Zeroizing::new(self.buffer[self.at..end].to_vec());
        self.count(line.len());
        self.at = end + 1;
        self.searched = self.at;
        Ok(Some(line))
    }

    /// A line that is not the program's: the login shell's before it, its tools' within it.
    fn aside(&mut self, line: &[u8]) -> Result<(), Broken> {
        if !self.spoke {
            self.noise.extend_from_slice(line);
            self.noise.push(b'\n');
            return if self.noise.len() > NOISE_BYTES_MAX { Err(Broken::Noise) } else { Ok(()) };
        }
        self.complaint_bytes += line.len() + 1;
        if self.complaint_bytes <= COMPLAINT_BYTES_MAX {
            self.reply.complaints += &String::from_utf8_lossy(line);
            self.reply.complaints.push('\n');
        }
        if self.complaint_bytes > NOISE_BYTES_MAX { Err(Broken::TooLong) } else { Ok(()) }
    }

    /// The regular files whose contents come, in the order in which they come.
    fn files(&self) -> impl Iterator<Item = &(String, Stat)> {
        self.order.iter().filter(|(_, s)| s.kind == StatKind::File && s.size <= FILE_BYTES_MAX)
    }

    /// Takes the contents of the regular files, framed by the sizes that `ls` told; `false` when they have not all come yet.
    fn take_contents(&mut self, total: usize) -> bool {
        let trailer = format!("\n{} end\n", self.nonce.0);
        let to = self.at + total;
        self.count(trailer.len());
        if self.buffer.len() < to + trailer.len() {
            // A file that shrank leaves us waiting for bytes that never come; its trailer tells.
            self.reply.torn = self.buffer.ends_with(trailer.as_bytes());
            return self.reply.torn;
        }
        if &self.buffer[to..to + trailer.len()] != trailer.as_bytes() {
            self.reply.torn = true;
            return true;
        }
        if let Some(err) = self.task {
            self.reply.task = task::ended(&self.buffer[self.at..to], err);
            self.at = to;
        }
        let sizes: Vec<_> = if self.task.is_some() { Vec::new() } else { self.files().cloned().collect() };
        for (path, stat) in sizes {
            let next = self.at + stat.size as usize;
            let content = Zeroizing::new(self.buffer[self.at..next].to_vec());
            self.count(content.len());
            self.reply.files.insert(path, ObservedFile { stat, content });
            self.at = next;
        }
        self.reply.stats = std::mem::take(&mut self.order).into_iter().collect();
        // The trailer's line is left for the loop, which ends the reply with it.
        self.contents = None;
        self.at = to + 1;
        self.searched = self.at;
        true
    }

    /// Counts work on bytes, for the test that it stays in proportion to what was sent.
    fn count(&mut self, _bytes: usize) {
        #[cfg(test)]
        {
            self.handled += _bytes;
        }
    }

    /// One line without its nonce; `true` when it ends the reply.
    fn line(&mut self, line: &str) -> Result<bool, Broken> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "end" => return Ok(true),
            "tar" => self.reply.tar = true,
            "late" => {
                self.reply.task = Some(Ended::Late);
                return Ok(true);
            }
            "busy" => {
                self.reply.busy = true;
                return Ok(true);
            }
            "refuse" => {
                self.reply.refused = Some(rest.to_string());
                return Ok(true);
            }
            "l" => {
                // No mode begins with a digit.
                let numbered = rest.trim_start_matches(' ').split_once(' ').and_then(|(n, rest)| Some((n.parse::<u64>().ok()?, rest)));
                let (path, stat) = parse_ls(numbered.map_or(rest, |(_, rest)| rest)).ok_or(Broken::Grammar)?;
                if let Some((inode, _)) = numbered {
                    self.reply.inodes.insert(path.clone(), inode);
                }
                match path.as_str() {
                    "/proc/self/" => self.reply.me = Some((stat.uid, stat.gid)),
                    _ => self.order.push((path, stat)),
                }
            }
            "boot" => self.reply.boot = Some(rest.to_string()).filter(|b| b.len() == 36 && b.bytes().all(|c| c.is_ascii_hexdigit() || c == b'-')),
            "mount" if self.reply.mounts.len() < MOUNTS_MAX => self.reply.mounts.extend(Mount::parse(rest)),
            "mount" => {}
            "curl" => self.reply.curl = rest.strip_prefix("curl ").and_then(|v| CurlVersion::parse(v.split(' ').next()?)),
            "fact" => {
                let (name, words) = rest.split_once(' ').unwrap_or((rest, ""));
                self.reply.facts.push((name.to_string(), words.to_string()));
            }
            "home" => {
                let mut words = rest.splitn(3, ' ');
                let (Some(uid), Some(gid), Some(dir)) = (words.next(), words.next(), words.next()) else { return Err(Broken::Grammar) };
                self.reply.home = uid.parse().ok().zip(gid.parse().ok()).map(|(uid, gid)| Home { uid, gid, dir: dir.to_string() });
            }
            "id" => {
                let mut words = rest.split(' ');
                let (Some(kind), Some(name), Some(number)) = (words.next(), words.next(), words.next()) else {
                    return Err(Broken::Grammar);
                };
                self.reply.ids.insert((kind.into(), name.into()), number.parse().ok());
            }
            "conflict" | "unstaged" => {
                let verdict = if word == "conflict" { Verdict::Conflict } else { Verdict::Unstaged };
                self.reply.verdicts.insert(rest.parse().map_err(|_| Broken::Grammar)?, verdict);
            }
            _ => return Err(Broken::Grammar),
        }
        Ok(false)
    }
}

/// Appends without leaving an unwiped copy of the old buffer behind, as `Vec`'s own growth would. Returns how many bytes moved.
fn grow(buffer: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) -> usize {
    let mut moved = bytes.len();
    if buffer.capacity() - buffer.len() < bytes.len() {
        moved += buffer.len();
        let mut bigger = Zeroizing::new(Vec::with_capacity((buffer.len() + bytes.len()).next_power_of_two().max(16 << 10)));
        bigger.extend_from_slice(buffer);
        *buffer = bigger;
    }
    buffer.extend_from_slice(bytes);
    moved
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> ReplyReader {
        ReplyReader::new(Nonce("n0".into()))
    }

    const WHOLE: &[u8] =
        b"Welcome to gpu01\nprompt> n0 tar\nn0 l drwx------ 2 0 0 9 Nov 21 02:18 /root\nn0 l -rw------- 1 0 0 5 Nov 21 02:18 /root/x\nn0 l dr-xr-xr-x 9 7 8 0 Nov 21 02:41 /proc/self/\nn0 cat\na\nn0 \nn0 end\n";

    #[test]
    fn a_reply_in_any_pieces_is_the_same() {
        for cut in 0..WHOLE.len() {
            let mut r = reader();
            assert!(r.feed(&WHOLE[..cut]).unwrap().is_none());
            let reply = r.feed(&WHOLE[cut..]).unwrap().unwrap();
            assert_eq!((reply.me, reply.tar, reply.stats.len()), (Some((7, 8)), true, 2));
            assert_eq!(&reply.files["/root/x"].content[..], b"a\nn0 ");
        }
    }

    #[test]
    fn inodes_the_boot_and_mounts_are_told_beside_the_files() {
        let lines = b"n0 l  77 -rw------- 1 0 0 1 Nov 21 02:18 /root/x\nn0 l 1 dr-xr-xr-x 9 7 8 0 Nov 21 02:41 /proc/self/\n\
            n0 boot 0f4f7a53-3a3c-4a0e-8a0c-0a3a5a6a7a8a\nn0 mount 0:52 nfs4 nfs01:/home / /home\nn0 mount what is this\nn0 cat\nx\nn0 end\n";
        let reply = reader().feed(lines).unwrap().unwrap();
        assert_eq!((reply.inodes["/root/x"], reply.me, &reply.files["/root/x"].content[..]), (77, Some((7, 8)), &b"x"[..]));
        assert_eq!((reply.mounts.len(), reply.boot.is_some()), (1, true));
        for boot in ["", "0f4f7a53", "\u{1b}f4f7a53-3a3c-4a0e-8a0c-0a3a5a6a7a8"] {
            assert_eq!(reader().feed(format!("n0 boot {boot}\nn0 end\n").as_bytes()).unwrap().unwrap().boot, None, "{boot:?}");
        }
        let flood = "n0 mount 0:52 nfs4 nfs01:/home / /home\n".repeat(2 * MOUNTS_MAX) + "n0 end\n";
        assert_eq!(reader().feed(flood.as_bytes()).unwrap().unwrap().mounts.len(), MOUNTS_MAX);
        broken(b"n0 l 77 nonsense\n", &Broken::Grammar);
    }

    #[track_caller]
    fn broken(bytes: &[u8], want: &Broken) {
        assert_eq!(reader().feed(bytes).err().as_ref(), Some(want));
    }

    #[test]
    fn replies_outside_the_grammar() {
        broken(&vec![b'x'; NOISE_BYTES_MAX + 1], &Broken::Noise);
        broken(&[&vec![b'x'; NOISE_BYTES_MAX][..], b"\n"].concat(), &Broken::Noise);
        broken(b"n0 what\n", &Broken::Grammar);
        broken(b"n0 l nonsense\n", &Broken::Grammar);
        broken(b"n0 l -rw------- 1 0 0 -5 Nov 21 02:18 /x\n", &Broken::Grammar);
        broken(b"n0 l -rw------- 1 -1 0 5 Nov 21 02:18 /x\n", &Broken::Grammar);
        broken(b"n0 l -rw------- 1 0 0 99999999999999999999999 Nov 21 02:18 /x\n", &Broken::Grammar);
        broken(b"n0 conflict x\n", &Broken::Grammar);
        broken(b"n0 ran x 0\n", &Broken::Grammar);
        broken(b"n0 ran 3\n", &Broken::Grammar);
        broken(b"n0 ran 3 4\nx\n0\nn0 end\n", &Broken::Grammar);
        // More or less than was announced.
        broken(b"n0 ran 3 0\nx\n0y\nn0 end\n", &Broken::Grammar);
        broken(b"n0 ran 9 0\nx\n0\nn0 end\n", &Broken::Grammar);
        broken(b"n0 conflict -1\n", &Broken::Grammar);
        broken(b"n0 id passwd root\n", &Broken::Grammar);
        broken(b"n0 tar\nn0 refuse \xff\n", &Broken::Grammar);
        assert!(reader().feed(b"other tar\nother end\n").unwrap().is_none(), "another nonce is noise");
        assert!(reader().feed(b"n0\nn0end\n").unwrap().is_none(), "an echo of our nonce is no answer");
    }

    #[test]
    fn floods_end_at_a_limit() {
        broken(&[b"n0 tar\nn0 ", &vec![b'x'; LINE_BYTES_MAX + 1][..]].concat(), &Broken::TooLong);
        broken(&b"n0 tar\n".repeat(LINES_MAX + 1), &Broken::TooLong);
        broken(b"n0 ran 1000000 0\n", &Broken::TooLong);
        broken(b"n0 ran 10000 4097\n", &Broken::TooLong);
        broken(&[&b"n0 tar\n"[..], &b"complaint\n".repeat(NOISE_BYTES_MAX / 8)].concat(), &Broken::TooLong);
        broken(&[&b"n0 l -rw------- 1 0 0 1048576 Nov 21 02:18 /x\n".repeat(9)[..], b"n0 cat\n"].concat(), &Broken::TooLong);
        broken(&[&b"n0 l -rw------- 1 0 0 1048576 Nov 21 02:18 /x\nn0 cat\n"[..], &vec![0; REPLY_BYTES_MAX]].concat(), &Broken::TooLong);
    }

    #[test]
    fn a_file_that_changed_while_it_was_read_is_torn() {
        for reply in
            [&b"n0 l -rw------- 1 0 0 5 Nov 21 02:18 /x\nn0 cat\nabc\nn0 end\n"[..], b"n0 l -rw------- 1 0 0 1 Nov 21 02:18 /x\nn0 cat\nabcdef\nn0 end\n"]
        {
            assert!(reader().feed(reply).unwrap().unwrap().torn);
        }
    }

    #[test]
    fn what_a_task_said_forges_nothing() {
        let said = b"n0 ran 26 3\nn0 end\n\nn0 ran 1 0\nx\n\n7oh!\nn0 end\n";
        for cut in 0..said.len() {
            let mut r = reader();
            // A piece that ends with a forged end is the one thing that may break it off.
            match r.feed(&said[..cut]) {
                Ok(none) => assert!(none.is_none()),
                Err(broken) => {
                    assert!(broken == Broken::Grammar && said[..cut].ends_with(b"\nn0 end\n"));
                    continue;
                }
            }
            let reply = r.feed(&said[cut..]).unwrap().unwrap();
            let Some(Ended::Ran(ran)) = reply.task else { panic!("{cut}") };
            assert_eq!((ran.status, &ran.out[..], &ran.err[..]), (7, &b"n0 end\n\nn0 ran 1 0\nx\n"[..], &b"oh!"[..]));
        }
        assert!(reader().feed(b"n0 late\n").unwrap().unwrap().task == Some(Ended::Late));
    }

    #[test]
    fn the_tools_complaints_are_kept_up_to_a_limit() {
        let reply = reader().feed(b"rc noise\nn0 tar\ntar: No space left on device\nn0 end\n").unwrap().unwrap();
        assert_eq!(reply.complaints, "tar: No space left on device\n");
        let reply = reader().feed(&[b"n0 tar\n", &b"complaint\n".repeat(2000)[..], b"n0 end\n"].concat()).unwrap().unwrap();
        assert!(reply.complaints.len() <= COMPLAINT_BYTES_MAX);
    }

    /// A hostile node sends one byte a packet; what it costs us must not grow with the square of what it sends.
    #[test]
    fn a_trickle_costs_no_more_than_its_bytes() {
        // A byte is put into the buffer, moved while that grows, searched and copied out; per packet a trailer of 8 bytes is looked for.
        const HANDLED_PER_BYTE_MAX: usize = 16;

        #[track_caller]
        fn trickle(bytes: &[u8]) {
            let mut r = reader();
            for b in bytes {
                assert!(r.feed(&[*b]).unwrap().is_none());
            }
            assert!(r.handled >= bytes.len(), "the counter is dead");
            assert!(r.handled <= HANDLED_PER_BYTE_MAX * bytes.len(), "{} bytes handled for {} that came", r.handled, bytes.len());
        }
        let lines = b"n0 l -rw------- 1 0 0 256 Nov 21 02:18 /x\n".repeat(LINES_MAX - 1);
        trickle(&[&lines[..], b"n0 cat\n", &[b'x'; 900 << 10]].concat());
        trickle(&[b'x'; NOISE_BYTES_MAX]);
        trickle(&[&b"n0 tar\nn0 "[..], &[b'x'; LINE_BYTES_MAX - 3]].concat());
        trickle(&b"x\n".repeat(NOISE_BYTES_MAX / 2));
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;

        /// Feeds `bytes` in pieces of `step` until the reply is whole or broken; says which, with what the reader keeps in bounds.
        fn run(bytes: &[u8], step: usize) -> Option<Result<(usize, usize), Broken>> {
            let mut r = reader();
            for piece in bytes.chunks(step) {
                let fed = r.feed(piece);
                assert!(r.buffer.len() <= REPLY_BYTES_MAX && r.noise.len() <= NOISE_BYTES_MAX + LINE_BYTES_MAX && r.order.len() <= LINES_MAX);
                match fed {
                    Ok(None) => {}
                    Ok(Some(reply)) => return Some(Ok((reply.stats.len(), reply.files.len()))),
                    Err(broken) => return Some(Err(broken)),
                }
            }
            None
        }

        /// Pieces of the protocol, right and wrong ones, in any order.
        fn piece() -> impl Strategy<Value = Vec<u8>> {
            prop_oneof![
                Just(WHOLE.to_vec()),
                proptest::collection::vec(any::<u8>(), 0..40),
                proptest::sample::select(
                    [
                        "n0 ",
                        "n0",
                        "\n",
                        "tar\n",
                        "end\n",
                        "\nn0 end\n",
                        "cat\n",
                        "n0 cat\n",
                        "busy\n",
                        "late\n",
                        "ran 5 2\n",
                        "n0 ran 5 1\nab\n0e\nn0 end\n",
                        "refuse \u{1b}]52;c;x\u{7}\n",
                        "conflict 0\n",
                        "unstaged 18446744073709551616\n",
                        "id passwd x -\n",
                        "curl curl 8.5.0 (x)\n",
                        "l -rw------- 1 0 0 5 Nov 21 02:18 /x\n",
                        "l 77 -rw------- 1 0 0 5 Nov 21 02:18 /x\n",
                        "boot 0f4f7a53-3a3c-4a0e-8a0c-0a3a5a6a7a8a\n",
                        "mount 0:52 nfs4 nfs01:/home / /home\n",
                        "l lrwxrwxrwx 1 0 0 9 Nov 21 02:18 /a -> ../b\n",
                        "n0 l -rw------- 1 4294967295 0 1048576 Nov 21 02:18 /y\n",
                        "l dr-xr-xr-x 9 0 0 0 Nov 21 02:41 /proc/self/\n"
                    ]
                    .map(|s| s.as_bytes().to_vec())
                    .to_vec()
                ),
            ]
        }

        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

            #[test]
            fn no_reply_panics_and_pieces_do_not_matter(pieces in proptest::collection::vec(piece(), 0..20), step in 1usize..50) {
                let bytes = pieces.concat();
                let (whole, split) = (run(&bytes, usize::MAX), run(&bytes, step));
                // A file that shrank is noticed sooner when the pieces end with its trailer; all else is the same.
                if !matches!((&whole, &split), (_, Some(Ok((0, 0)))) | (Some(Ok((0, 0))), _)) {
                    // One feed takes all or nothing, so what follows a whole reply can break only the first.
                    prop_assert_eq!(whole, split);
                }
            }

            #[test]
            fn a_flipped_byte_never_panics(at in 0..WHOLE.len(), with in any::<u8>(), step in 1usize..200) {
                let mut bytes = WHOLE.to_vec();
                bytes[at] = with;
                run(&bytes, step);
            }
        }
    }
}
