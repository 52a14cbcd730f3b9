//! The node program itself, under the shells that nodes have: it observes and replaces as told, refuses what was changed
//! meanwhile, and leaves nothing behind however it ends.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use regprov::model::{Host, RemotePath, StatKind};
use regprov::node::payload::{self, Entry};
use regprov::node::protocol::{Nonce, Observe, Packing, Replace, Reply, ReplyReader, Swap, Verdict, hello, staging_dir};
use regprov::node::run_as::{BOOTSTRAP, RunAs};
use regprov::node::{self, Program};
use regprov::transport::local::Local;
use regprov::transport::{Connector, Session, Trouble};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

fn have(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn remote(path: &Path) -> RemotePath {
    RemotePath::parse(path.to_str().unwrap()).unwrap()
}

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A file to write: path, what is expected there, new content.
type New<'a> = (&'a str, Option<&'a [u8]>, &'a [u8]);

/// Stands for new content: the file shall go.
const GONE: &[u8] = b"this file shall go";

/// A node: a folder that stands for its `/`.
struct Node {
    dir: tempfile::TempDir,
    local: Local,
    /// The first request comes as arguments.
    as_arguments: bool,
}

impl Node {
    fn new(local: Local) -> Self {
        Node { dir: tempfile::tempdir().unwrap(), local, as_arguments: false }
    }

    fn path(&self, p: &str) -> PathBuf {
        self.dir.path().join(p)
    }

    fn host(&self) -> Host {
        Host { root: remote(self.dir.path()), ..Host::named("n") }
    }

    async fn talk(&self, observe: &Observe, then: impl FnOnce(&Nonce, &Reply) -> Option<Vec<u8>>) -> Result<(Reply, Option<Reply>), Trouble> {
        let nonce = Nonce::random();
        let mut request = format!("{}{}", hello(&nonce), observe.encode(&self.host().root));
        let mut local = self.local.clone();
        if self.as_arguments {
            let command = Program::Files.command_with(request.as_bytes()).expect("it is plain");
            local.command += &command[Program::Files.command().len()..];
            request.clear();
        }
        let mut session = local.connect(&self.host(), &Arc::default()).await?;
        session.start(&RunAs::Login).await?;
        let first = session.exchange(Zeroizing::new(request.into_bytes()), false, &mut ReplyReader::new(nonce.clone())).await?;
        let second = match then(&nonce, &first) {
            Some(bytes) => Some(session.exchange(Zeroizing::new(bytes), true, &mut ReplyReader::new(nonce.clone())).await?),
            None => None,
        };
        session.close().await;
        Ok((first, second))
    }

    /// A replacement of `files` (path, expected old content, new content) as bytes.
    fn replacement(&self, nonce: &Nonce, files: &[New<'_>], packing: Packing, sweep: &[&str]) -> Vec<u8> {
        let (uid, gid) = (fs::metadata(self.dir.path()).unwrap().uid(), fs::metadata(self.dir.path()).unwrap().gid());
        let mut files: Vec<_> = files.iter().map(|(p, old, new)| (remote(&self.path(p)), *old, *new)).collect();
        files.sort_by_key(|f| (f.0.parent(), f.0.clone()));
        let mut entries = Vec::new();
        let mut dirs = Vec::new();
        for (path, _, new) in files.iter().filter(|(.., new)| *new != GONE) {
            let staging = staging_dir(&path.parent(), nonce);
            if !dirs.contains(&staging) {
                dirs.push(staging.clone());
                if !Path::new(path.parent().as_str()).exists() {
                    entries.push(Entry { path: path.parent(), uid, gid, mode: 0o700, content: None });
                }
                // As the controller does: root's tar makes it by itself.
                if packing == Packing::Lines || uid != 0 {
                    entries.push(Entry { path: staging.clone(), uid, gid, mode: 0o700, content: None });
                }
            }
            entries.push(Entry { path: staging.join(path.file_name()), uid, gid, mode: 0o640, content: Some(new) });
        }
        let swaps = files.iter().map(|(path, old, new)| {
            let new = if *new == GONE { Swap::NOTHING.to_string() } else { sha(new) };
            Swap { new, old: old.map(sha), path: path.clone() }
        });
        let swaps = swaps.collect();
        let lock = remote(&self.path("var/lib/regprov"));
        let sweep = sweep.iter().map(|d| remote(&self.path(d))).collect();
        let head = Replace { lock: lock.clone(), sweep, swaps, packing }.encode();
        let last = Entry { path: lock.clone(), uid, gid, mode: 0o700, content: None };
        let body = if packing == Packing::Tar { payload::tar(&entries, last).unwrap() } else { payload::lines(&entries, &lock).ok().unwrap() };
        [head.as_bytes(), &body].concat()
    }

    fn observe(&self, paths: &[&str]) -> Observe {
        Observe { paths: paths.iter().map(|p| self.path(p).to_str().unwrap().to_string()).collect(), ..Observe::default() }
    }

    /// Everything below the node's root, staging directories among it.
    fn all_files(&self) -> Vec<String> {
        fn walk(dir: &Path, out: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                out.push(entry.path().display().to_string());
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), out);
                }
            }
        }
        let mut out = Vec::new();
        walk(self.dir.path(), &mut out);
        out
    }

    #[track_caller]
    fn assert_tidy(&self) {
        let left: Vec<String> = self.all_files().into_iter().filter(|f| f.contains(".regprov.")).collect();
        assert_eq!(left, Vec::<String>::new(), "staged files were left");
    }
}

async fn whole_conversation(local: Local, packing: Packing) {
    for as_arguments in [false, true] {
        converse(Node { as_arguments, ..Node::new(local.clone()) }, packing).await;
    }
}

/// One whole conversation: observe what is there, replace two files in two directories, read back.
async fn converse(node: Node, packing: Packing) {
    fs::create_dir(node.path("a")).unwrap();
    let old: &[u8] = b"old \\ $HOME\nwithout a last newline";
    let new: &[u8] = b"new 'quotes' \"and\" `more`\n\n\xff\xc3\xa4 \\n\n";
    fs::write(node.path("a/one"), old).unwrap();
    // One goes beside a file that is written, the other from a directory where nothing is.
    fs::create_dir(node.path("c")).unwrap();
    ["a/gone", "c/gone"].into_iter().for_each(|file| fs::write(node.path(file), "x").unwrap());
    let observe = node.observe(&["a", "a/one", "a/none", "a/*.none"]);
    let (first, second) = node
        .talk(&observe, |nonce, first| {
            assert_eq!(&first.files[node.path("a/one").to_str().unwrap()].content[..], old);
            assert_eq!(first.stats[node.path("a").to_str().unwrap()].kind, StatKind::Dir);
            assert_eq!(first.stats.len(), 2);
            let files: [New<'_>; 4] = [("a/one", Some(old), new), ("b/two", None, b"two"), ("a/gone", Some(b"x"), GONE), ("c/gone", Some(b"x"), GONE)];
            Some(node.replacement(nonce, &files, packing, &[]))
        })
        .await
        .unwrap_or_else(|t| panic!("{}", t.reason));
    let second = second.unwrap();
    assert_eq!(first.me.unwrap().0, fs::metadata(node.dir.path()).unwrap().uid());
    assert!(second.verdicts.is_empty() && !second.busy);
    assert_eq!(&second.files[node.path("a/one").to_str().unwrap()].content[..], new);
    assert_eq!(fs::read(node.path("a/one")).unwrap(), new);
    assert_eq!(fs::read(node.path("b/two")).unwrap(), b"two");
    assert!(!node.path("a/gone").exists() && !node.path("c/gone").exists() && node.path("c").is_dir());
    assert!(!second.stats.contains_key(node.path("c/gone").to_str().unwrap()));
    assert_eq!(fs::metadata(node.path("a/one")).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(node.path("b")).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(node.path("var/lib")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(node.path("var/lib/regprov")).unwrap().permissions().mode() & 0o7777, 0o700);
    node.assert_tidy();
}

fn login(words: &[&str]) -> Local {
    Local { shell: words.iter().map(ToString::to_string).collect(), ..Local::default() }
}

fn inner(shell: &str) -> Local {
    Local { command: node::command().replace("/bin/sh -c", &format!("{shell} -c")), ..Local::default() }
}

#[tokio::test]
async fn under_sh() {
    whole_conversation(Local::default(), Packing::Tar).await;
    whole_conversation(Local::default(), Packing::Lines).await;
}

#[tokio::test]
#[ignore = "needs bash, busybox, tcsh, zsh and fish"]
async fn under_every_login_shell() {
    for words in [&["bash"][..], &["busybox", "sh"], &["tcsh"], &["zsh"], &["fish"]] {
        assert!(have(words[0]), "{} is missing", words[0]);
        whole_conversation(login(words), Packing::Tar).await;
    }
}

#[tokio::test]
#[ignore = "needs bash, busybox and zsh"]
async fn under_every_posix_shell() {
    for shell in ["/bin/bash --posix", "/bin/busybox sh", "/bin/zsh --emulate sh"] {
        whole_conversation(inner(shell), Packing::Tar).await;
        whole_conversation(inner(shell), Packing::Lines).await;
    }
}

/// What sudo and su run: it takes one line, byte by byte, and leaves all that follows to what the line runs.
#[track_caller]
fn bootstrap(shell: &[&str], input: &[u8], want: &[u8]) {
    use std::io::Write as _;
    let mut child = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(BOOTSTRAP).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap().stdout;
    let mut lines = out.splitn(4, |b| *b == b'\n');
    assert_eq!(lines.next(), Some(&b"regprov"[..]), "{shell:?}");
    let streams: Vec<_> = lines.by_ref().take(2).collect();
    assert!(streams.iter().all(|s| s.starts_with(b"pipe:[")) && streams[0] != streams[1], "{shell:?}");
    assert_eq!(lines.next().map(String::from_utf8_lossy), Some(String::from_utf8_lossy(want)), "{shell:?}");
}

const SHELLS: [&[&str]; 4] = [&["sh"], &["bash", "--posix"], &["busybox", "sh"], &["zsh", "--emulate", "sh"]];

#[test]
#[ignore = "needs bash, busybox and zsh"]
fn the_bootstrap_reads_one_line_and_no_more() {
    for shell in SHELLS {
        assert!(have(shell[0]), "{} is missing", shell[0]);
        bootstrap(shell, b"exec cat\nrest \\ of\n\nit", b"rest \\ of\n\nit");
        bootstrap(shell, b"  printf \"%s|\" \"a  b\" \nnot a command\n", b"a  b|");
        // A line that was cut is not run.
        bootstrap(shell, b"echo ran", b"");
        bootstrap(shell, b"", b"");
        // The real one, as it goes there, with a first request behind it.
        let real = format!("{}\nnonce7\nobserve\n", node::command());
        let mut child = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(BOOTSTRAP).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), real.as_bytes()).unwrap();
        let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(out.ends_with("\nnonce7 end\n"), "{shell:?}: {out}");
    }
}

/// The boot and the inodes cost no fork; the mounts are told where the kernel knows a filesystem that hosts share.
#[tokio::test]
#[ignore = "needs bash, busybox and zsh"]
async fn what_hosts_share_is_told_under_every_shell() {
    for shell in ["/bin/sh", "/bin/bash --posix", "/bin/busybox sh", "/bin/zsh --emulate sh"] {
        let node = Node::new(inner(shell));
        fs::create_dir(node.path("d")).unwrap();
        fs::write(node.path("d/x"), "content").unwrap();
        let plain = node.observe(&["d", "d/x", "d/none"]);
        let asked = Observe { shared: true, ..plain.clone() };
        let (without, _) = node.talk(&plain, |_, _| None).await.unwrap_or_else(|t| panic!("{shell:?}: {}", t.reason));
        let (with, second) = node
            .talk(&asked, |nonce, _| Some(node.replacement(nonce, &[("d/x", Some(b"content"), b"new")], Packing::Tar, &[])))
            .await
            .unwrap_or_else(|t| panic!("{shell:?}: {}", t.reason));
        assert_eq!((without.boot, without.inodes.len(), without.mounts.len()), (None, 0, 0), "{shell:?}");
        assert!(without.stats == with.stats && with.me == without.me && with.files.len() == 1, "{shell:?}");
        assert_eq!(with.boot.as_deref(), Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim()), "{shell:?}");
        assert_eq!(with.inodes[node.path("d").to_str().unwrap()], fs::metadata(node.path("d")).unwrap().ino(), "{shell:?}");
        // What was written has its inode too.
        assert_eq!(second.unwrap().inodes[node.path("d/x").to_str().unwrap()], fs::metadata(node.path("d/x")).unwrap().ino(), "{shell:?}");
    }
}

/// In a mount namespace of its own, with a kernel that is said to know NFS: which of its mounts are told.
#[tokio::test]
#[ignore = "needs unshare"]
async fn mounts_on_the_way_are_told_where_the_kernel_knows_shared_filesystems_simulated() {
    let node = Node::new(Local::default());
    for dir in ["home/alice", "home/b.b", "export/alice", "many", "with space"] {
        fs::create_dir_all(node.path(dir)).unwrap();
    }
    fs::write(node.path("home/alice/x"), "content").unwrap();
    let file = |name: &str, text: String| {
        fs::write(node.path(name), text).unwrap();
        node.path(name).display().to_string()
    };
    let at = node.dir.path().display().to_string();
    let types = file("filesystems", "nodev\tsysfs\nnodev\tnfs4\n\text4\n".into());
    let local = file("local", "nodev\tsysfs\n\text4\n".into());
    let command = file("command", node::command().to_string());
    let script = |filesystems: &str| {
        format!(
            "set -e\nmount --bind {filesystems} /proc/filesystems\nmount -t tmpfs nfs01:/export {at}/home\nmkdir {at}/home/alice {at}/home/bxb\n\
             mount --bind {at}/export/alice {at}/home/alice\nmount -t tmpfs other {at}/home/bxb\nmount -t tmpfs more '{at}/with space'\n\
             mount -t tmpfs many {at}/many\n. {command}\n"
        )
    };
    // SAFETY: it takes nothing and cannot fail.
    let flags = if unsafe { libc::geteuid() } == 0 { "-m" } else { "-rm" };
    let run = |filesystems: &str, name: &str| {
        let script = file(name, script(filesystems));
        Local { command: format!("exec unshare {flags} --propagation private sh {script}"), ..Local::default() }
    };
    let observe = Observe { shared: true, ..node.observe(&["home", "home/alice", "home/alice/x", "home/b.b", "home/alice/.regprov.*"]) };
    let told = |reply: &Reply| -> Vec<String> {
        reply.mounts.iter().map(|m| format!("{} {} {} {}", m.kind, m.source, &m.at.as_str()[at.len()..], m.root.ends_with("/export/alice"))).collect()
    };
    let (reply, _) = Node::new(run(&types, "one")).talk(&observe, |_, _| None).await.unwrap_or_else(|t| panic!("{}", t.reason));
    let told = told(&reply);
    assert_eq!(told[0], "tmpfs nfs01:/export /home false", "{told:?}");
    assert!(told[1].ends_with(" /home/alice true"), "{told:?}");
    // A dot matches any character for grep, and is sorted out here; nothing else comes.
    assert!(told[2..].iter().all(|m| m.contains("/home/bxb")), "{told:?}");
    assert!(reply.mounts.iter().all(|m| m.device.split_once(':').is_some_and(|(major, minor)| (major.to_string() + minor).parse::<u64>().is_ok())));
    let (reply, _) = Node::new(run(&local, "two")).talk(&observe, |_, _| None).await.unwrap_or_else(|t| panic!("{}", t.reason));
    assert!(reply.mounts.is_empty() && reply.boot.is_some(), "a machine without them is spared the fork");
}

/// A folder of links to busybox is all that PATH holds, as on Alpine without further packages.
#[tokio::test]
#[ignore = "needs busybox"]
async fn with_busybox_applets_only() {
    let bin = tempfile::tempdir().unwrap();
    let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for applet in String::from_utf8(applets.stdout).unwrap().lines() {
        std::os::unix::fs::symlink("/bin/busybox", bin.path().join(applet)).unwrap();
    }
    let command =
        node::command().replace("/bin/sh -c", "/bin/busybox sh -c").replace("PATH=/usr/sbin:/usr/bin:/sbin:/bin", &format!("PATH={}", bin.path().display()));
    for packing in [Packing::Tar, Packing::Lines] {
        whole_conversation(Local { command: command.clone(), ..Local::default() }, packing).await;
    }
}

#[tokio::test]
#[ignore = "needs mksh"]
async fn a_shell_without_builtin_printf_is_refused() {
    let node = Node::new(inner("/bin/mksh"));
    let (reply, _) = node.talk(&node.observe(&[]), |_, _| None).await.unwrap_or_else(|t| panic!("{}", t.reason));
    assert_eq!(reply.refused.as_deref(), Some("/bin/sh has no builtin printf"));
}

#[tokio::test]
async fn a_login_shell_that_talks_does_not_disturb() {
    let rc = "#!/bin/sh\nprintf 'Last login: never\\nprompt> '\n[ \"$1\" = -c ] && exec /bin/sh \"$@\"\n";
    let dir = tempfile::tempdir().unwrap();
    let shell = dir.path().join("chatty");
    fs::write(&shell, rc).unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    whole_conversation(login(&[shell.to_str().unwrap()]), Packing::Tar).await;
}

#[tokio::test]
async fn a_login_shell_that_does_not_start_us_is_quoted() {
    let node = Node::new(login(&["/bin/sh", "-c", "echo This account is currently not available.; exit 1", "x"]));
    let trouble = node.talk(&node.observe(&[]), |_, _| None).await.err().unwrap();
    assert!(trouble.reason.contains("This account is currently not available."), "{}", trouble.reason);
}

#[tokio::test]
async fn what_changed_since_it_was_observed_is_left_alone() {
    let (x, y, new): (Option<&[u8]>, Option<&[u8]>, &[u8]) = (Some(b"x"), Some(b"y"), b"new");
    for (old, meanwhile, new) in [(x, y, new), (None, y, new), (x, None, new), (x, y, GONE), (x, None, GONE)] {
        let node = Node::new(Local::default());
        fs::create_dir(node.path("a")).unwrap();
        fs::write(node.path("a/other"), "o").unwrap();
        if let Some(old) = old {
            fs::write(node.path("a/one"), old).unwrap();
        }
        let (_, second) = node
            .talk(&node.observe(&["a", "a/one", "a/other"]), |nonce, _| {
                match meanwhile {
                    Some(bytes) => fs::write(node.path("a/one"), bytes).unwrap(),
                    None => fs::remove_file(node.path("a/one")).unwrap(),
                }
                Some(node.replacement(nonce, &[("a/one", old, new), ("a/other", Some(b"o"), b"p")], Packing::Tar, &[]))
            })
            .await
            .unwrap_or_else(|t| panic!("{}", t.reason));
        assert_eq!(second.unwrap().verdicts.into_iter().collect::<Vec<_>>(), [(0, Verdict::Conflict)]);
        assert_eq!(fs::read(node.path("a/one")).ok().as_deref(), meanwhile);
        assert_eq!(fs::read(node.path("a/other")).unwrap(), b"p", "the others go on");
        node.assert_tidy();
    }
}

#[tokio::test]
async fn a_link_that_appeared_meanwhile_is_not_followed() {
    let node = Node::new(Local::default());
    fs::create_dir(node.path("a")).unwrap();
    fs::write(node.path("a/one"), "x").unwrap();
    fs::write(node.path("victim"), "x").unwrap();
    fs::create_dir(node.path("c")).unwrap();
    fs::write(node.path("c/gone"), "x").unwrap();
    let (_, second) = node
        .talk(&node.observe(&["a", "a/one", "c/gone"]), |nonce, _| {
            fs::remove_file(node.path("c/gone")).unwrap();
            std::os::unix::fs::symlink(node.path("victim"), node.path("c/gone")).unwrap();
            fs::remove_file(node.path("a/one")).unwrap();
            std::os::unix::fs::symlink(node.path("victim"), node.path("a/one")).unwrap();
            Some(node.replacement(nonce, &[("a/one", Some(b"x"), b"new"), ("c/gone", Some(b"x"), GONE)], Packing::Tar, &[]))
        })
        .await
        .unwrap_or_else(|t| panic!("{}", t.reason));
    let verdicts = second.unwrap().verdicts;
    assert_eq!((verdicts[&0], verdicts[&1]), (Verdict::Conflict, Verdict::Conflict));
    assert!(node.path("c/gone").is_symlink());
    assert_eq!(fs::read(node.path("victim")).unwrap(), b"x");
}

#[tokio::test]
async fn an_upload_cut_at_every_97th_byte_changes_nothing_and_leaves_nothing() {
    // Behind the last entry of an archive stand 1024 bytes that end it; tar does without.
    cut_everywhere(Packing::Tar, 1024).await;
    cut_everywhere(Packing::Lines, 0).await;
}

/// Two files, so that the first one is whole long before the upload is: it must not be touched either.
async fn cut_everywhere(packing: Packing, padding: usize) {
    let mut cut = 0;
    loop {
        let node = Node::new(Local::default());
        for dir in ["a", "b", "c"] {
            fs::create_dir(node.path(dir)).unwrap();
            fs::write(node.path(dir).join("one"), "x").unwrap();
        }
        let mut whole = 0;
        let result = node
            .talk(&node.observe(&["a", "a/one", "b", "b/one"]), |nonce, _| {
                let new: &[u8] = &[b'n'; 1500];
                let mut bytes = node.replacement(nonce, &[("a/one", Some(b"x"), new), ("b/one", Some(b"x"), new), ("c/one", Some(b"x"), GONE)], packing, &[]);
                whole = bytes.len() - padding;
                bytes.truncate(cut);
                Some(bytes)
            })
            .await;
        let now = ["a/one", "b/one"].map(|f| fs::read(node.path(f)).unwrap().len());
        let why = result.err().map(|t| t.reason).unwrap_or_default();
        assert_eq!(node.path("c/one").exists(), cut < whole, "{packing:?} cut at {cut} of {whole}: {why}");
        assert_eq!(now, if cut < whole { [1, 1] } else { [1500, 1500] }, "{packing:?} cut at {cut} of {whole}: {why}");
        node.assert_tidy();
        if cut > whole {
            break;
        }
        cut += 97;
    }
}

#[tokio::test]
async fn what_a_killed_run_left_is_swept() {
    let node = Node::new(Local::default());
    fs::create_dir_all(node.path("a/.regprov.0123/deep")).unwrap();
    fs::write(node.path("a/.regprov.0123/one"), "a secret").unwrap();
    let (_, second) =
        node.talk(&node.observe(&["a"]), |nonce, _| Some(node.replacement(nonce, &[], Packing::Tar, &["a"]))).await.unwrap_or_else(|t| panic!("{}", t.reason));
    assert!(second.is_some());
    node.assert_tidy();
}

#[tokio::test]
async fn files_above_the_limit_are_not_read() {
    let node = Node::new(Local::default());
    fs::write(node.path("big"), vec![b'x'; (1 << 20) + 1]).unwrap();
    fs::write(node.path("full"), vec![b'x'; 1 << 20]).unwrap();
    let (reply, _) = node.talk(&node.observe(&["big", "full"]), |_, _| None).await.unwrap_or_else(|t| panic!("{}", t.reason));
    assert_eq!(reply.stats.len(), 2);
    assert_eq!(reply.files.keys().collect::<Vec<_>>(), [node.path("full").to_str().unwrap()]);
}

#[tokio::test]
async fn a_held_lock_is_waited_for() {
    let node = Node::new(Local::default());
    fs::create_dir_all(node.path("var/lib/regprov")).unwrap();
    fs::create_dir(node.path("a")).unwrap();
    let mut holder = Command::new("flock").arg(node.path("var/lib/regprov")).args(["sleep", "1"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let (_, second) = node
        .talk(&node.observe(&["a"]), |nonce, _| Some(node.replacement(nonce, &[("a/one", None, b"x")], Packing::Tar, &[])))
        .await
        .unwrap_or_else(|t| panic!("{}", t.reason));
    assert!(holder.try_wait().unwrap().is_some(), "it did not wait");
    assert!(second.unwrap().verdicts.is_empty());
}

#[tokio::test]
async fn names_become_numbers() {
    let node = Node::new(Local::default());
    fs::create_dir(node.path("etc")).unwrap();
    fs::write(node.path("etc/group"), "root:x:0:\nusers:x:100:alice\n").unwrap();
    let observe = Observe { groups: vec!["users".into(), "no-such-group".into()], ..node.observe(&[]) };
    let (reply, _) = node.talk(&observe, |_, _| None).await.unwrap_or_else(|t| panic!("{}", t.reason));
    let ids: Vec<_> = reply.ids.into_iter().map(|((_, name), id)| (name, id)).collect();
    assert_eq!(ids, [("no-such-group".to_string(), None), ("users".to_string(), Some(100))]);
}
