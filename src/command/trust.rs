//! `regprov trust`: learns hosts' keys, on purpose and never by itself.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::load::Opener;
use super::reach::{Purpose, reach};
use super::terminal::Terminal;
use super::watch::{Watched, watch};
use crate::cli::{SshArgs, TrustArgs};
use crate::error::{Error, Result};
use crate::model::{Connection, Host};
use crate::transport::ssh::Ssh;
use crate::transport::ssh::known_hosts::Standing;
use crate::transport::ssh::scan::{ScanEvent, Scanned};
use crate::ui;
use crate::ui::trust::Row;

/// How long another run may hold the known_hosts file.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
/// A key was not learned, or is not the one that known_hosts has.
const EXIT_NOT_TRUSTED: u8 = 3;
const EXIT_UNREACHABLE: u8 = 4;

/// Shows the hosts' keys, and appends the new ones to known_hosts where a person or a fingerprint says so.
pub async fn trust(args: &TrustArgs, verbose: u8) -> Result<u8> {
    let wanted = fingerprints(&args.fingerprints)?;
    let mut opener = Opener::of_process(&args.identity)?.allow_commands(args.sources.allow_commands);
    // Nothing is opened and nothing is written to hosts, so plain and expired passwords do no harm here.
    let inventory = opener.inventory(&args.inventory, true, true)?;
    let chosen = opener.limit(&inventory, args.limit.as_deref())?.hosts;
    let hosts: Vec<Host> = chosen.into_iter().map(|i| inventory.hosts[i].clone()).filter(|h| h.connection == Connection::Ssh && h.skip.is_none()).collect();
    let hosts: Vec<Host> = hosts.into_iter().map(|h| Host { user: args.ssh.user.clone().or(h.user), port: args.ssh.port.or(h.port), ..h }).collect();
    if hosts.is_empty() {
        return Err(Error::usage("no host is left whose key could be learned")
            .hint("hosts with `connection: local` and skipped ones have none; `regprov hosts` shows them"));
    }
    let file = known_hosts_file(&args.ssh)?;
    let mut code = 0;
    let mut left = BTreeSet::new();
    loop {
        let (ssh, _) = reach(&hosts, &inventory.hosts, &existing(&args.ssh), Purpose::HostKeys).await?;
        let names: Vec<&str> = hosts.iter().map(|h| h.name.as_str()).collect();
        let scanned = match scan(ssh, &names, args.ssh.forks as usize, verbose > 0).await? {
            Watched::Done(scanned) => scanned,
            Watched::Interrupted(signal) => {
                ui::warning("stopped by a signal before all hosts had shown their keys; run it again to learn them");
                return Ok(signal);
            }
        };
        // What was not learned in a round before was told then.
        let scanned: Vec<&Scanned> = scanned.iter().filter(|s| !left.contains(&s.known_as)).collect();
        // Who is on the way to others is learned before these can be asked; what lies behind it was not reached, and says so for now.
        let closed = scanned.iter().any(|s| s.on_the_way && has_new(s));
        let (round, later): (Vec<&Scanned>, Vec<&Scanned>) = scanned.iter().partition(|s| !closed || s.on_the_way && s.keys.is_ok());
        print(&ui::trust::table(&rows(&round)))?;
        let learned = learn(&round, &wanted, &file).await?;
        // Unreachable hosts count where there is nothing worse.
        code = if code == EXIT_NOT_TRUSTED { code } else { learned.code };
        let goes_on = learned.lines > 0 || later.iter().any(|s| s.keys.is_ok());
        if !closed || learned.cannot_write || !goes_on {
            return Ok(code);
        }
        left.extend(learned.left);
    }
}

fn has_new(server: &Scanned) -> bool {
    server.keys.as_ref().is_ok_and(|keys| keys.iter().any(|k| k.standing == Standing::New))
}

/// Asks the servers for their keys, and draws it.
async fn scan(ssh: Ssh, hosts: &[&str], forks: usize, verbose: bool) -> Result<Watched<Vec<Scanned>>> {
    let servers = ssh.servers(hosts);
    let names: Vec<String> = servers.iter().map(|(route, _)| route.end.name.clone()).collect();
    let mut progress = ui::progress::Progress::new(names.clone(), verbose, false);
    let (sender, events) = mpsc::unbounded_channel();
    let ended = watch(Arc::new(ssh).scan(servers, forks, sender), events, |event| match event {
        ScanEvent::Started(index) => progress.started(index),
        ScanEvent::Ended(index, true) => progress.ended(index, "answered", false, || format!("answered: {}", names[index])),
        // Its row in the table says why.
        ScanEvent::Ended(index, false) => progress.ended(index, "unreachable", false, || format!("unreachable: {}", names[index])),
    });
    let ended = ended.await?;
    progress.finish();
    Ok(ended)
}

/// What a round came to.
struct Learned {
    lines: usize,
    /// The servers whose new keys were not learned, as known_hosts would name them.
    left: Vec<String>,
    cannot_write: bool,
    code: u8,
}

/// Asks, appends, and says what is left to a person.
async fn learn(round: &[&Scanned], wanted: &BTreeSet<String>, file: &Path) -> Result<Learned> {
    let mut new = Vec::new();
    let (mut refused, mut unreachable) = (false, false);
    for server in round {
        let Ok(keys) = &server.keys else {
            unreachable = true;
            continue;
        };
        for key in keys {
            match &key.standing {
                Standing::New => new.push((server, key)),
                Standing::Changed(place) => {
                    refused = true;
                    let file = place.rsplit_once(':').map_or(place.as_str(), |(file, _)| file);
                    ui::warning(&format!(
                        "{}: the key is not the one in {place}. If the host was reinstalled, forget the old one and run this again: ssh-keygen -f '{file}' -R '{}'",
                        server.server, server.known_as
                    ));
                }
                Standing::Revoked(place) => {
                    refused = true;
                    ui::warning(&format!("{}: the key is revoked in {place}, and is not learned", server.server));
                }
                Standing::Known | Standing::ByCertificate | Standing::Pinned | Standing::Spare => {}
            }
        }
    }
    let asked = new.len();
    if !wanted.is_empty() {
        new.retain(|(_, key)| wanted.contains(&key.fingerprint));
    } else if asked > 0 && !confirmed(asked, file).await {
        new.clear();
    }
    let lines: Vec<String> = new.iter().map(|(server, key)| format!("{} {} {}", server.known_as, key.key.algorithm, key.key.base64)).collect();
    if !lines.is_empty() {
        if let Err(e) = append(file, &lines) {
            ui::error(&format!("{} cannot be written: {e}; no key was learned", file.display()), None);
            return Ok(Learned { lines: 0, left: Vec::new(), cannot_write: true, code: EXIT_NOT_TRUSTED });
        }
        let what = if lines.len() == 1 { "1 key was".to_string() } else { format!("{} keys were", lines.len()) };
        print(&format!("{what} added to {}\n", file.display()))?;
    }
    // With fingerprints, one key that fits is enough for a host: the others are of types that are not needed then.
    let trusted: BTreeSet<&str> = new.iter().map(|(server, _)| server.server.as_str()).collect();
    let left: Vec<&&Scanned> = round.iter().filter(|s| has_new(s) && !trusted.contains(s.server.as_str())).collect();
    if !left.is_empty() {
        let why = match (wanted.is_empty(), Terminal::of_process().is_some()) {
            (false, _) => "no --fingerprint fits",
            (true, true) => "you did not say yes",
            (true, false) => "there is no terminal to ask on, and no --fingerprint was given",
        };
        let names: Vec<&str> = left.iter().map(|s| s.server.as_str()).collect();
        ui::warning(&format!("not learned: {} ({why})", ui::fold::fold(&names)));
    }
    let code = match (refused || !left.is_empty(), unreachable) {
        (true, _) => EXIT_NOT_TRUSTED,
        (false, true) => EXIT_UNREACHABLE,
        (false, false) => 0,
    };
    Ok(Learned { lines: lines.len(), left: left.iter().map(|s| s.known_as.clone()).collect(), cannot_write: false, code })
}

async fn confirmed(count: usize, file: &Path) -> bool {
    let Some(terminal) = Terminal::of_process() else { return false };
    let what = if count == 1 { "this new key".to_string() } else { format!("these {count} new keys") };
    let prompt = format!("Compare the fingerprints with those on the hosts. Type yes to add {what} to {}: ", file.display());
    terminal.ask(prompt, true).await.is_some_and(|answer| answer.expose().trim() == "yes")
}

fn rows(round: &[&Scanned]) -> Vec<Row> {
    let mut rows = Vec::new();
    for server in round {
        let row = |kind: &str, fingerprint: &str, says: String| Row {
            host: server.server.clone(),
            known_as: server.known_as.clone(),
            kind: kind.to_string(),
            fingerprint: fingerprint.to_string(),
            says,
        };
        match &server.keys {
            Ok(keys) => rows.extend(keys.iter().map(|shown| row(&shown.key.algorithm, &shown.fingerprint, says(&shown.standing)))),
            Err(trouble) => rows.push(row("", "", format!("unreachable at {}: {}", trouble.stage, trouble.reason))),
        }
    }
    rows
}

fn says(standing: &Standing) -> String {
    match standing {
        Standing::Known => "known".to_string(),
        Standing::ByCertificate => "known by its certificate".to_string(),
        Standing::Pinned => "pinned in the inventory".to_string(),
        Standing::New => "new".to_string(),
        Standing::Spare => "not there; the host is known by another key".to_string(),
        Standing::Changed(place) => format!("CHANGED: another key in {place}"),
        Standing::Revoked(place) => format!("REVOKED in {place}"),
    }
}

fn print(text: &str) -> Result<()> {
    ui::out(text).map_err(|e| Error::internal(format!("the table cannot be written to stdout: {e}")))
}

/// Fingerprints as `ssh-keygen -l` prints them.
fn fingerprints(given: &[String]) -> Result<BTreeSet<String>> {
    for one in given {
        let hash = one.strip_prefix("SHA256:").unwrap_or_default();
        if hash.len() != 43 || !hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b)) {
            return Err(Error::usage(format!("--fingerprint {one}: no fingerprint as `ssh-keygen -l` prints it")).hint("it looks like SHA256: and 43 letters"));
        }
    }
    Ok(given.iter().cloned().collect())
}

/// Where new keys go: the first `--known-hosts`, else the user's own file.
fn known_hosts_file(ssh: &SshArgs) -> Result<PathBuf> {
    match (ssh.known_hosts.first(), std::env::var_os("HOME").map(PathBuf::from).filter(|h| h.is_absolute())) {
        (Some(file), _) => Ok(file.clone()),
        (None, Some(home)) => Ok(home.join(".ssh/known_hosts")),
        (None, None) => Err(Error::usage("HOME is not set, so there is no known_hosts file to write").hint("name one with --known-hosts")),
    }
}

/// A file that is named and not there yet is one that nothing stands in.
fn existing(ssh: &SshArgs) -> SshArgs {
    let known_hosts = ssh.known_hosts.iter().map(|file| if file.exists() { file.clone() } else { PathBuf::from("/dev/null") }).collect();
    SshArgs { known_hosts, ..ssh.clone() }
}

/// Appends lines under a lock, so that two runs at once lose none; a line that another run has added meanwhile is left out.
fn append(path: &Path, lines: &[String]) -> io::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    lock(&file)?;
    let mut there = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut there)?;
    let known: BTreeSet<&[u8]> = there.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let mut text = String::new();
    if there.last().is_some_and(|b| *b != b'\n') {
        text.push('\n');
    }
    for line in lines.iter().filter(|line| !known.contains(line.as_bytes())) {
        text.push_str(line);
        text.push('\n');
    }
    // One write, at the end wherever that is now: who takes no lock (ssh itself) is not written over either.
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn lock(file: &File) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(std::fs::TryLockError::WouldBlock) if start.elapsed() < LOCK_DEADLINE => std::thread::sleep(Duration::from_millis(20)),
            Err(std::fs::TryLockError::WouldBlock) => return Err(io::Error::other("another program holds its lock")),
            Err(std::fs::TryLockError::Error(e)) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_appended_as_lines() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ssh/known_hosts");
        let line = |s: &str| vec![s.to_string()];
        append(&file, &line("a k 1")).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(file.parent().unwrap()), mode(&file)), (0o700, 0o600));
        std::fs::write(&file, "a k 1\nb k 2").unwrap();
        append(&file, &line("c k 3")).unwrap();
        append(&file, &line("b k 2")).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a k 1\nb k 2\nc k 3\n");
    }

    #[test]
    fn runs_at_once_lose_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let file = &file;
                scope.spawn(move || (0..20).for_each(|n| append(file, &[format!("w{writer} k {n}"), format!("all k {n}")]).unwrap()));
            }
        });
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: BTreeSet<&str> = text.lines().collect();
        assert_eq!((lines.len(), text.lines().count()), (8 * 20 + 20, 8 * 20 + 20));
    }

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        let good = format!("SHA256:{}", "Ab+/".repeat(11).get(..43).unwrap());
        assert!(fingerprints(std::slice::from_ref(&good)).is_ok());
        for bad in ["", "SHA256:", "MD5:aa:bb", "sha256:x", &format!("{good}="), &good[..49]] {
            assert!(fingerprints(&[bad.to_string()]).is_err(), "{bad}");
        }
    }
}
