//! Who a host is: known_hosts with OpenSSH's grammar (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT; hostfile.c, match.c), or keys
//! pinned in the inventory. Always strict: an unknown key is refused as a changed one is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use russh::keys::{Certificate, PublicKey, PublicKeyBase64 as _};
use sha1::Sha1;

use super::host_certificate;
use super::route::Endpoint;
use crate::model::{Address, HostKeyPin};

/// The lines of all known_hosts files, read once for the run.
#[derive(Clone, Default)]
pub struct KnownHosts {
    index: Arc<Index>,
}

/// All lines, found by what is asked. A fleet has about as many lines as hosts, so that reading all of them for each host
/// would take minutes: a plain name is looked up, and only patterns and, where they can make a difference, hashed names
/// (an HMAC a line) are gone through.
#[derive(Default)]
pub struct Index {
    lines: Vec<Line>,
    /// Lines by each of their names, where all of them are plain.
    plain: HashMap<String, Vec<usize>>,
    /// Lines with a wildcard or a negation.
    patterns: Vec<usize>,
    hashed: Vec<usize>,
    /// Lines that name an authority for certificates.
    authorities: Vec<usize>,
    /// The algorithms of the hashed lines that name a host's own key.
    hashed_algorithms: BTreeSet<String>,
    by_key: HashMap<String, Vec<usize>>,
    /// The files that were read, for messages.
    files: String,
}

/// One line that counts.
struct Line {
    says: Says,
    names: Names,
    algorithm: String,
    key: String,
    /// `file:line`, for messages.
    place: String,
}

/// What a line says of its key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// It is the host's.
    Host,
    /// It signs the certificates of these hosts.
    Authority,
    /// It is lost.
    Revoked,
}

enum Names {
    Patterns(Vec<String>),
    Hashed {
        /// Keyed with the salt, which is half of the work.
        mac: Box<Hmac<Sha1>>,
        hash: Vec<u8>,
    },
}

impl KnownHosts {
    /// Reads files' contents, each with its name. Lines that OpenSSH would pass over are passed over: comments and bad
    /// ones.
    pub fn parse(files: &[(String, Vec<u8>)]) -> Self {
        let names: Vec<&str> = files.iter().map(|(n, _)| n.as_str()).collect();
        let mut index = Index { files: names.join(", "), ..Index::default() };
        for (name, content) in files {
            for (i, raw) in content.split(|b| *b == b'\n').enumerate() {
                // A comment may be in any encoding, and OpenSSH's strings end at a NUL.
                let raw = raw.split(|b| *b == 0).next().unwrap_or_default();
                if let Some(line) = parse_line(&String::from_utf8_lossy(raw), || format!("{name}:{}", i + 1)) {
                    index.add(line);
                }
            }
        }
        KnownHosts { index: Arc::new(index) }
    }

    /// What is known of a host.
    pub fn trust(&self, host: &Endpoint) -> Trust {
        if !host.host_keys.is_empty() {
            return Trust::Pinned(host.host_keys.clone());
        }
        let name = host.host_key_alias.clone().unwrap_or_else(|| lookup_name(&host.address));
        // ssh falls back to the name without its port, but only where no alias is set (sshconnect.c check_host_key).
        let plain = (host.host_key_alias.is_none() && host.address.port != 22).then(|| host.address.host.to_ascii_lowercase());
        let principal = host.host_key_alias.clone().unwrap_or_else(|| host.address.host.to_ascii_lowercase());
        Trust::Known { index: self.index.clone(), name: name.to_ascii_lowercase(), plain, principal }
    }
}

impl Index {
    fn add(&mut self, line: Line) {
        let at = self.lines.len();
        match &line.names {
            Names::Patterns(names) if names.iter().any(|n| n.contains(['*', '?', '!'])) => self.patterns.push(at),
            Names::Patterns(names) => {
                for name in names {
                    self.plain.entry(name.clone()).or_default().push(at);
                }
            }
            Names::Hashed { .. } => {
                self.hashed.push(at);
                if line.says == Says::Host {
                    self.hashed_algorithms.insert(line.algorithm.clone());
                }
            }
        }
        if line.says == Says::Authority {
            self.authorities.push(at);
        }
        self.by_key.entry(line.key.clone()).or_default().push(at);
        self.lines.push(line);
    }

    /// The lines for a name whose names are not hashed.
    fn readable<'a>(&'a self, name: &str) -> impl Iterator<Item = usize> + 'a {
        let patterns: Vec<usize> = self.patterns.iter().copied().filter(|i| self.lines[*i].names.contains(name)).collect();
        self.plain.get(name).into_iter().flatten().copied().chain(patterns)
    }

    /// All lines for a name, in the order of the files.
    fn matching(&self, name: &str) -> impl Iterator<Item = &Line> {
        let hashed = self.hashed.iter().copied().filter(|i| self.lines[*i].names.contains(name));
        let found: BTreeSet<usize> = self.readable(name).chain(hashed).collect();
        found.into_iter().map(|i| &self.lines[i])
    }

    /// The lines for a name that hold this key.
    fn with_key<'a>(&'a self, name: &'a str, key: &str) -> impl Iterator<Item = &'a Line> {
        let lines = self.by_key.get(key).into_iter().flatten();
        lines.map(|i| &self.lines[*i]).filter(move |l| l.names.contains(name))
    }

    /// The key algorithms that are known for a name. Hashed lines are left out where they could not change the outcome.
    fn algorithms(&self, name: &str) -> BTreeSet<String> {
        let lines = self.readable(name).map(|i| &self.lines[i]);
        let found: BTreeSet<String> = lines.filter(|l| l.says == Says::Host).map(|l| l.algorithm.clone()).collect();
        if self.hashed_algorithms.is_subset(&found) {
            return found;
        }
        // The only ones, and all alike: no other line can speak for this host.
        if found.is_empty() && self.hashed_algorithms.len() == 1 {
            return self.hashed_algorithms.clone();
        }
        self.matching(name).filter(|l| l.says == Says::Host).map(|l| l.algorithm.clone()).collect()
    }
}

/// How known_hosts stands to a key that a host shows. Places are `file:line`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Known,
    /// A certificate that counts vouches for it.
    ByCertificate,
    /// The inventory pins it, and known_hosts is not asked.
    Pinned,
    /// Nothing is known of the host.
    New,
    /// Another key of this host is known and shown too; this one is of a type that is not there, and not needed.
    Spare,
    /// Another key stands there.
    Changed(String),
    /// It is marked as lost.
    Revoked(String),
}

/// What a host's key is held against.
#[derive(Clone)]
pub enum Trust {
    /// The inventory's own keys.
    Pinned(Vec<HostKeyPin>),
    /// known_hosts.
    Known {
        /// All lines.
        index: Arc<Index>,
        /// The name that is looked up.
        name: String,
        /// The name without its port, where OpenSSH would try that too.
        plain: Option<String>,
        /// The name that a certificate must be for.
        principal: String,
    },
}

impl Trust {
    /// The key algorithms that are known for the host; they are asked for first.
    pub fn algorithms(&self) -> BTreeSet<String> {
        match self {
            Trust::Pinned(pins) => pins.iter().map(|p| p.algorithm.clone()).collect(),
            // The name without its port does not count here (sshconnect2.c order_hostkeyalgs).
            Trust::Known { index, name, .. } => index.algorithms(name),
        }
    }

    /// Whether an authority is known for the host, so that its certificate is worth asking for.
    pub fn has_authority(&self) -> bool {
        match self {
            // A pin is a key, never an authority.
            Trust::Pinned(_) => false,
            Trust::Known { index, name, plain, .. } => {
                let names = || [Some(name), plain.as_ref()].into_iter().flatten();
                index.authorities.iter().any(|i| names().any(|name| index.lines[*i].names.contains(name)))
            }
        }
    }

    /// Whether this certificate, or else the key in it, is the host's (sshconnect.c check_host_key); `now` is Unix time.
    pub fn judge_certificate(&self, certificate: &Certificate, now: u64) -> Result<(), String> {
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let authority = PublicKey::new(certificate.signature_key().clone(), "");
        let (algorithm, signs) = (key.algorithm(), authority.algorithm());
        let (key, authority) = (key.public_key_base64(), authority.public_key_base64());
        let Trust::Known { index, name, plain, principal } = self else { return self.judge(algorithm.as_str(), &key) };
        self.revoked("the host's key", algorithm.as_str(), &key)?;
        self.revoked("the authority of the host's certificate", signs.as_str(), &authority)?;
        let mut names = [Some(name), plain.as_ref()].into_iter().flatten();
        let vouched = names.find_map(|name| index.with_key(name, &authority).find(|l| l.says == Says::Authority));
        let Some(line) = vouched else {
            return self.judge(algorithm.as_str(), &key).map_err(|why| {
                format!(
                    "{why}; its certificate is signed by {} {}, which known_hosts does not have as @cert-authority for it",
                    signs.as_str(),
                    fingerprint(&authority)
                )
            });
        };
        match host_certificate::check(certificate, principal, now) {
            Ok(()) => Ok(()),
            // As ssh does: a certificate that does not count leaves the key in it to count for itself.
            Err(wrong) => self.judge(algorithm.as_str(), &key).map_err(|_| format!("the host's certificate {wrong} (authority: {})", line.place)),
        }
    }

    /// The name that is looked up, and that a new line gets; `None` where keys are pinned.
    pub fn name(&self) -> Option<&str> {
        match self {
            Trust::Pinned(_) => None,
            Trust::Known { name, .. } => Some(name),
        }
    }

    /// How known_hosts stands to a key that the host shows. `known` says that another key of the same host is known.
    pub fn standing(&self, key: &HostKeyPin, known: bool) -> Standing {
        let Trust::Known { index, name, plain, .. } = self else { return Standing::Pinned };
        let names = || [Some(name), plain.as_ref()].into_iter().flatten();
        if let Some(line) = names().find_map(|name| index.with_key(name, &key.base64).find(|l| l.says == Says::Revoked)) {
            return Standing::Revoked(line.place.clone());
        }
        if self.judge(&key.algorithm, &key.base64).is_ok() {
            return Standing::Known;
        }
        let lines: Vec<&Line> = names().flat_map(|name| index.matching(name)).filter(|l| l.says == Says::Host).collect();
        match (lines.iter().find(|l| l.algorithm == key.algorithm), lines.first()) {
            (Some(line), _) => Standing::Changed(line.place.clone()),
            (None, Some(_)) if known => Standing::Spare,
            (None, Some(line)) => Standing::Changed(line.place.clone()),
            (None, None) => Standing::New,
        }
    }

    /// `Err` where a line says that this key is lost.
    fn revoked(&self, what: &str, algorithm: &str, key: &str) -> Result<(), String> {
        let Trust::Known { index, name, plain, .. } = self else { return Ok(()) };
        let found = [Some(name), plain.as_ref()].into_iter().flatten().find_map(|name| index.with_key(name, key).find(|l| l.says == Says::Revoked));
        found.map_or(Ok(()), |line| Err(format!("{what} is revoked ({}, {algorithm} {})", line.place, fingerprint(key))))
    }

    /// Whether this key is the host's; `Err` says why not and what to do.
    pub fn judge(&self, algorithm: &str, key: &str) -> Result<(), String> {
        match self {
            Trust::Pinned(pins) if pins.iter().any(|p| p.base64 == key) => Ok(()),
            Trust::Pinned(_) => Err(format!(
                "the host shows another key than the inventory's `host_key:` ({algorithm} {}); it was reinstalled (then pin its new key), or somebody sits in between",
                fingerprint(key)
            )),
            Trust::Known { index, name, plain, .. } => {
                let names = [Some(name), plain.as_ref()];
                self.revoked("the host's key", algorithm, key)?;
                for name in names.iter().flatten() {
                    if index.with_key(name, key).any(|l| l.says == Says::Host) {
                        return Ok(());
                    }
                    if let Some(line) = index.matching(name).find(|l| l.says == Says::Host) {
                        return Err(format!(
                            "the host's key is not the one in known_hosts ({}); it shows {algorithm} {}: it was reinstalled (then replace that line), or somebody sits in between",
                            line.place,
                            fingerprint(key)
                        ));
                    }
                }
                let files = if index.files.is_empty() { "there is no known_hosts file".to_string() } else { format!("nothing in {} names it", index.files) };
                Err(format!(
                    "the host's key is not known: {files}; it shows {algorithm} {}: compare that with the host's own, then learn it with `regprov trust`, or pin it with `host_key:`",
                    fingerprint(key)
                ))
            }
        }
    }
}

/// `SHA256:...` as ssh-keygen -l prints it.
pub(super) fn fingerprint(key: &str) -> String {
    use sha2::{Digest as _, Sha256};
    match STANDARD.decode(key) {
        Ok(blob) => format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(Sha256::digest(blob))),
        Err(_) => "without a fingerprint".to_string(),
    }
}

/// `host` on port 22, else `[host]:port` (misc.c put_host_port).
fn lookup_name(address: &Address) -> String {
    if address.port == 22 { address.host.clone() } else { format!("[{}]:{}", address.host, address.port) }
}

impl Names {
    fn contains(&self, name: &str) -> bool {
        match self {
            Names::Hashed { mac, hash } => {
                let mut mac = mac.clone();
                mac.update(name.as_bytes());
                mac.verify_slice(hash).is_ok()
            }
            Names::Patterns(patterns) => {
                let mut found = false;
                for pattern in patterns {
                    match pattern.strip_prefix('!') {
                        Some(not) if wildcard(not.as_bytes(), name.as_bytes()) => return false,
                        Some(_) => {}
                        None => found |= wildcard(pattern.as_bytes(), name.as_bytes()),
                    }
                }
                found
            }
        }
    }
}

/// `*` and `?` as match.c match_pattern has them.
fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|i| wildcard(rest, &name[i..])),
        Some((b'?', rest)) => !name.is_empty() && wildcard(rest, &name[1..]),
        Some((c, rest)) => name.first() == Some(c) && wildcard(rest, &name[1..]),
    }
}

fn parse_line(text: &str, place: impl Fn() -> String) -> Option<Line> {
    let text = text.trim_matches([' ', '\t', '\r']);
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let mut words = text.split([' ', '\t']).filter(|w| !w.is_empty());
    let mut first = words.next()?;
    let says = match first {
        "@revoked" => Says::Revoked,
        "@cert-authority" => Says::Authority,
        m if m.starts_with('@') => return None,
        _ => Says::Host,
    };
    if says != Says::Host {
        first = words.next()?;
    }
    let (algorithm, key) = (words.next()?, words.next()?);
    // OpenSSH's base64 passes over white space (sshbuf_b64tod).
    let key: String = key.chars().filter(|c| !matches!(c, '\r' | '\x0b' | '\x0c')).collect();
    // The blob names its own type; a line in which the two differ is bad. The names of RSA's signatures stand for its type.
    let blob = STANDARD.decode(&key).ok()?;
    let algorithm = if matches!(algorithm, "rsa-sha2-256" | "rsa-sha2-512") { "ssh-rsa" } else { algorithm };
    if !is_key(&blob, algorithm) {
        return None;
    }
    let names = match first.strip_prefix("|1|") {
        Some(hashed) => {
            let (salt, hash) = hashed.split_once('|')?;
            // hostfile.c extract_salt takes salts of SHA-1's length only.
            let salt = STANDARD.decode(salt).ok().filter(|s| s.len() == 20)?;
            let mac = Hmac::new_from_slice(&salt).expect("HMAC takes keys of every length");
            Names::Hashed { mac: Box::new(mac), hash: STANDARD.decode(hash).ok()? }
        }
        // Names are ASCII; Unicode's rules would make other names equal to them.
        None => Names::Patterns(first.to_ascii_lowercase().split(',').map(str::to_string).collect()),
    };
    Some(Line { says, names, algorithm: algorithm.to_string(), key, place: place() })
}

/// Whether the blob is a whole key of this type: SSH strings to its end, the first of which is the type (sshkey.c
/// sshkey_from_blob). A line with another one is passed over, as if it was not there.
fn is_key(blob: &[u8], algorithm: &str) -> bool {
    const PLAIN: [(&str, usize); 8] = [
        ("ssh-ed25519", 2),
        ("ssh-rsa", 3),
        ("ecdsa-sha2-nistp256", 3),
        ("ecdsa-sha2-nistp384", 3),
        ("ecdsa-sha2-nistp521", 3),
        ("ssh-dss", 5),
        ("sk-ssh-ed25519@openssh.com", 3),
        ("sk-ecdsa-sha2-nistp256@openssh.com", 4),
    ];
    let mut strings = Vec::new();
    let mut rest = blob;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let Some((string, tail)) = tail.split_at_checked(u32::from_be_bytes(*length) as usize) else { return false };
        strings.push(string);
        rest = tail;
    }
    let whole = rest.is_empty() && strings.first() == Some(&algorithm.as_bytes());
    let has_size = algorithm != "ssh-ed25519" || strings.get(1).is_some_and(|key| key.len() == 32);
    whole && has_size && PLAIN.contains(&(algorithm, strings.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Host;

    fn blob(kind: &str, seed: u8) -> String {
        let mut b = (kind.len() as u32).to_be_bytes().to_vec();
        b.extend_from_slice(kind.as_bytes());
        // An Ed25519 key is one string behind its type, an RSA key two.
        for _ in 0..if kind == "ssh-rsa" { 2 } else { 1 } {
            b.extend_from_slice(&[0, 0, 0, 32]);
            b.extend_from_slice(&[seed; 32]);
        }
        STANDARD.encode(b)
    }

    fn host(name: &str, port: u16) -> Endpoint {
        let host = Host { address: Some(name.into()), port: Some(port), ..Host::named("n") };
        Endpoint::of(&host, Default::default(), KnownHosts::default())
    }

    const ED: &str = "ssh-ed25519";

    /// `K1` and `K2` in the lines stand for two Ed25519 keys; the host shows the first one.
    #[track_caller]
    fn check(lines: &str, name: &str, port: u16, want: &str) {
        let text = lines.replace("K1", &format!("{ED} {}", blob(ED, 1))).replace("K2", &format!("{ED} {}", blob(ED, 2)));
        let known = KnownHosts::parse(&[("kh".into(), text.into_bytes())]);
        let got = known.trust(&host(name, port)).judge(ED, &blob(ED, 1));
        let got = got.map_or_else(|e| e, |()| "known".into());
        assert!(got.contains(want), "{lines}\n{got}");
    }

    #[test]
    fn lines_as_openssh_reads_them() {
        check("gpu01 K1", "gpu01", 22, "known");
        check("gpu01 K1", "GPU01", 22, "known");
        check("gpu01,10.0.0.1 K1 comment here", "10.0.0.1", 22, "known");
        check("gpu01\tK1\r", "gpu01", 22, "known");
        check("gpu01 K2\ngpu01 K1", "gpu01", 22, "known");
        check("gpu01 K2", "gpu01", 22, "not the one in known_hosts (kh:1)");
        check("gpu02 K1", "gpu01", 22, "not known");
        check("gpu?? K1", "gpu01", 22, "known");
        check("*.example.org K1", "a.b.example.org", 22, "known");
        check("gpu*,!gpu01 K1", "gpu01", 22, "not known");
        check("!gpu01,gpu* K1", "gpu02", 22, "known");
        check("[gpu01]:2222 K1", "gpu01", 2222, "known");
        check("[gpu01]:2222 K1", "gpu01", 22, "not known");
        check("gpu01 K1", "gpu01", 2222, "known");
        check("[gpu01]:2222 K2\ngpu01 K1", "gpu01", 2222, "not the one");
        check("@revoked * K1\ngpu01 K1", "gpu01", 22, "revoked");
        check("gpu01 K1\n@revoked gpu01 K1", "gpu01", 22, "revoked");
        check("@cert-authority * K1", "gpu01", 22, "not known");
        check("@other gpu01 K1", "gpu01", 22, "not known");
        check("# gpu01 K1\n\n  gpu01 K1", "gpu01", 22, "known");
        check("gpu01 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ\ngpu01 nonsense", "gpu01", 22, "not known");
        check("fe80::1 K1", "fe80::1", 22, "known");
    }

    #[test]
    fn hashed_names() {
        // ssh-keygen -H of `gpu01` and `[gpu01]:2222` with salts of 20 bytes of 1
        let hashed = |name: &str| {
            let mut mac = <Hmac<Sha1> as hmac::Mac>::new_from_slice(&[1; 20]).unwrap();
            mac.update(name.as_bytes());
            format!("|1|{}|{} K1", STANDARD.encode([1; 20]), STANDARD.encode(mac.finalize().into_bytes()))
        };
        check(&hashed("gpu01"), "gpu01", 22, "known");
        check(&hashed("[gpu01]:2222"), "gpu01", 2222, "known");
        check(&hashed("gpu02"), "gpu01", 22, "not known");
        check("|1|x|y K1", "gpu01", 22, "not known");
        check(&format!("{}\n@revoked {}", hashed("gpu01"), hashed("gpu01")), "gpu01", 22, "revoked");
        check(&hashed("gpu01").replace("K1", "K2"), "gpu01", 22, "not the one in known_hosts (kh:1)");
        check(&hashed("gpu01"), "gpu01", 2222, "known");
        check(&format!("{}\n{}", hashed("gpu01"), hashed("[gpu01]:2222").replace("K1", "K2")), "gpu01", 2222, "not the one in known_hosts (kh:2)");
    }

    /// Lines without their key; `%NAME` stands for a hashed name.
    #[track_caller]
    fn check_algorithms(lines: &str, name: &str, port: u16, want: &[&str]) {
        let hashed = |name: &str| {
            let mut mac = <Hmac<Sha1> as hmac::Mac>::new_from_slice(&[1; 20]).unwrap();
            mac.update(name.as_bytes());
            format!("|1|{}|{}", STANDARD.encode([1; 20]), STANDARD.encode(mac.finalize().into_bytes()))
        };
        let line = |line: &str| {
            let (names, kind) = line.rsplit_once(' ').unwrap();
            let names = names.split_once('%').map(|(marker, name)| format!("{marker}{}", hashed(name))).unwrap_or(names.to_string());
            format!("{names} {kind} {}", blob(kind, 1))
        };
        let text: Vec<String> = lines.split('\n').map(line).collect();
        let known = KnownHosts::parse(&[("kh".into(), text.join("\n").into_bytes())]);
        assert_eq!(known.trust(&host(name, port)).algorithms().into_iter().collect::<Vec<_>>(), want, "{lines}");
    }

    #[test]
    fn algorithms_that_are_asked_for_first() {
        const RSA: &str = "ssh-rsa";
        check_algorithms("a ssh-rsa", "a", 22, &[RSA]);
        check_algorithms("a ssh-rsa\nb ssh-ed25519", "a", 22, &[RSA]);
        check_algorithms("a ssh-rsa\na ssh-ed25519", "a", 22, &[ED, RSA]);
        check_algorithms("a ssh-rsa\n* ssh-ed25519", "a", 22, &[ED, RSA]);
        check_algorithms("a ssh-rsa", "a", 2222, &[]);
        check_algorithms("a ssh-rsa\n[a]:2222 ssh-ed25519", "a", 2222, &[ED]);
        check_algorithms("@revoked a ssh-rsa", "a", 22, &[]);
        check_algorithms("%a ssh-rsa", "a", 22, &[RSA]);
        check_algorithms("%a ssh-rsa\n%b ssh-ed25519", "a", 22, &[RSA]);
        check_algorithms("%a ssh-rsa\n%[a]:2222 ssh-ed25519", "a", 2222, &[ED]);
        check_algorithms("%a ssh-rsa\n%b ssh-ed25519", "a", 2222, &[]);
        // Hashed lines of other hosts say nothing of this one.
        check_algorithms("a ssh-rsa\n%b ssh-ed25519", "a", 22, &[RSA]);
        check_algorithms("a ssh-rsa\n%a ssh-ed25519", "a", 22, &[ED, RSA]);
        // Where nothing readable speaks and all hashed lines are alike, their type is asked for without a look at each.
        check_algorithms("a ssh-rsa\n%b ssh-ed25519", "a", 2222, &[ED]);
        check_algorithms("a ssh-rsa\n@revoked %a ssh-ed25519", "a", 22, &[RSA]);
    }

    #[test]
    fn a_pinned_key_replaces_known_hosts() {
        let known = KnownHosts::parse(&[("kh".into(), format!("gpu01 {ED} {}", blob(ED, 1)).into_bytes())]);
        let mut h = host("gpu01", 22);
        h.host_keys = vec![HostKeyPin { algorithm: ED.into(), base64: blob(ED, 2) }];
        assert!(known.trust(&h).judge(ED, &blob(ED, 1)).is_err());
        assert!(known.trust(&h).judge(ED, &blob(ED, 2)).is_ok());
    }

    #[test]
    fn an_alias_is_looked_up_as_it_stands() {
        let known = KnownHosts::parse(&[("kh".into(), format!("alias {ED} {}", blob(ED, 1)).into_bytes())]);
        let mut h = host("gpu01", 2222);
        h.host_key_alias = Some("alias".into());
        assert!(known.trust(&h).judge(ED, &blob(ED, 1)).is_ok());
    }
}
