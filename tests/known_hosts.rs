//! known_hosts files on which regprov and `ssh -o StrictHostKeyChecking=yes` must agree, against one real sshd that has an
//! Ed25519, an ECDSA and an RSA key.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::{Fleet, Options, wait_until};
use hmac::{Hmac, Mac as _};
use peers::need;
use regprov::model::Host;
use regprov::transport::ssh::known_hosts::KnownHosts;
use regprov::transport::ssh::preferred;
use regprov::transport::ssh::route::Endpoint;
use russh::keys::Certificate;
use sha1::Sha1;

/// A host as it is named on the command line, its port, an alias, and what known_hosts holds. In the text `ED`, `EC` and
/// `RSA` stand for the server's keys (`TYPE BASE64`), `ED2`, `EC2` and `RSA2` for somebody else's, `{ED}` for the base64 alone,
/// and `HASH(name)` for that name as `HashKnownHosts` has it (`SHORT(name)` with a salt of 8 bytes).
struct Case(&'static str, &'static str, u16, &'static str);

/// Both accept.
const ACCEPTED: &[Case] = &[
    Case("one line", "gpu01", 22, "gpu01 ED\n"),
    Case("an ECDSA key", "gpu01", 22, "gpu01 EC\n"),
    Case("an RSA key, which is shown under rsa-sha2-512", "gpu01", 22, "gpu01 RSA\n"),
    Case("no final newline", "gpu01", 22, "gpu01 ED"),
    Case("CRLF", "gpu01", 22, "# c\r\ngpu01 ED\r\n"),
    Case("tabs between words", "gpu01", 22, "gpu01\tssh-ed25519\t{ED}\n"),
    Case("several blanks and leading ones", "gpu01", 22, " \t gpu01  ED  \n"),
    Case("a comment behind the key", "gpu01", 22, "gpu01 ED root@gpu01 # really\n"),
    Case("a comment behind the key in Latin-1", "gpu01", 22, "gpu01 ED j\u{f6}rg\n"),
    Case("capitals in the name that is asked for", "GPU01", 22, "gpu01 ED\n"),
    Case("capitals in the file", "gpu01", 22, "GPU01 ED\n"),
    Case("a list of names", "gpu01", 22, "login1,gpu01,10.0.0.1 ED\n"),
    Case("empty names in the list", "gpu01", 22, ",gpu01,, ED\n"),
    Case("an IPv4 address", "10.0.0.1", 22, "gpu01,10.0.0.1 ED\n"),
    Case("an IPv6 address", "fe80::1", 22, "fe80::1 ED\n"),
    Case("an IPv6 address with a port", "fe80::1", 2222, "[fe80::1]:2222 ED\n"),
    Case("a port", "gpu01", 2222, "[gpu01]:2222 ED\n"),
    Case("a port, and capitals", "Gpu01", 2222, "[GPU01]:2222 ED\n"),
    Case("the plain name where no line has the port", "gpu01", 2222, "gpu01 ED\n"),
    Case("the plain name, hashed, where no line has the port", "gpu01", 2222, "HASH(gpu01) ED\n"),
    Case("the plain name, when the line with the port is bad", "gpu01", 2222, "[gpu01]:2222 ssh-ed25519 AAAA\ngpu01 ED\n"),
    Case("the plain name, when the key with the port is cut", "gpu01", 2222, "[gpu01]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==\ngpu01 ED\n"),
    Case("the plain name, when the type with the port is nobody's", "gpu01", 2222, "[gpu01]:2222 ssh-foo AAAAB3NzaC1mb28AAAABeA==\ngpu01 ED\n"),
    Case("the plain name, when other ports are known", "gpu01", 2222, "[gpu01]:2223 ED2\ngpu01 ED\n"),
    Case("the port wins over the plain name", "gpu01", 2222, "gpu01 ED2\n[gpu01]:2222 ED\n"),
    Case("a star", "gpu01.example.org", 22, "*.example.org ED\n"),
    Case("a star over several labels", "a.b.example.org", 22, "*.example.org ED\n"),
    Case("a star alone", "gpu01", 22, "* ED\n"),
    Case("a star alone, with a port", "gpu01", 2222, "* ED\n"),
    Case("a star inside brackets", "gpu01", 2222, "[gpu*]:2222 ED\n"),
    Case("a star for the port", "gpu01", 2222, "[gpu01]:* ED\n"),
    Case("a star that matches nothing", "gpu01", 22, "gpu01* ED\n"),
    Case("several stars", "gpu01.rack7.example.org", 22, "*pu*.rack?.*.org ED\n"),
    Case("question marks", "gpu01", 22, "gpu?? ED\n"),
    Case("a negation of another", "gpu02", 22, "gpu*,!gpu01 ED\n"),
    Case("a negation first", "gpu02", 22, "!gpu01,gpu* ED\n"),
    Case("a negation on another line", "gpu01", 22, "gpu*,!gpu01 ED\ngpu01 ED\n"),
    Case("hashed", "gpu01", 22, "HASH(gpu01) ED\n"),
    Case("hashed, capitals asked for", "GPU01", 22, "HASH(gpu01) ED\n"),
    Case("hashed with its port", "gpu01", 2222, "HASH([gpu01]:2222) ED\n"),
    Case("hashed among others", "gpu01", 22, "HASH(gpu00) ED2\nHASH(gpu01) ED\nHASH(gpu02) ED2\n"),
    Case("the second of two keys of one type", "gpu01", 22, "gpu01 ED2\ngpu01 ED\n"),
    Case("keys of all types", "gpu01", 22, "gpu01 RSA\ngpu01 EC\ngpu01 ED\n"),
    Case("keys of types in one file, another's of a later type", "gpu01", 22, "gpu01 ED\ngpu01 RSA2\n"),
    Case("a wrong RSA key behind a right ECDSA key", "gpu01", 22, "gpu01 RSA2\ngpu01 EC\n"),
    Case("bad lines around it", "gpu01", 22, "gpu01\ngpu01 ssh-ed25519\ngpu01 ssh-ed25519 !!!\n\n#\ngpu01 ED\nrubbish\n"),
    Case("a key of the first protocol before it", "gpu01", 22, "gpu01 1024 35 1234567890\ngpu01 ED\n"),
    Case("another's key revoked", "gpu01", 22, "@revoked gpu01 ED2\ngpu01 ED\n"),
    Case("the key revoked for another host", "gpu01", 22, "@revoked gpu02 ED\ngpu01 ED\n"),
    Case("another type revoked", "gpu01", 22, "@revoked gpu01 RSA\ngpu01 ED\n"),
    Case("an authority beside the key", "gpu01", 22, "@cert-authority * RSA2\ngpu01 ED\n"),
    Case("an unknown marker on another line", "gpu01", 22, "@trusted gpu01 ED2\ngpu01 ED\n"),
    Case("white space inside the base64's end", "gpu01", 22, "gpu01 ED\u{b}\n"),
    Case("a NUL ends the line", "gpu01", 22, "gpu01 ED\0 rubbish\n"),
    Case("a signature's name for the RSA key's type", "gpu01", 22, "gpu01 rsa-sha2-512 {RSA}\n"),
    Case("an RSA key under a name with a port", "gpu01", 2222, "[gpu01]:2222 RSA\n"),
    Case("a hash of the wrong length on another line", "gpu01", 22, "|1|AAAA|AAAA ED2\ngpu01 ED\n"),
];

/// Both refuse.
const REFUSED: &[Case] = &[
    Case("nothing", "gpu01", 22, ""),
    Case("another host", "gpu01", 22, "gpu02 ED\n"),
    Case("another key", "gpu01", 22, "gpu01 ED2\n"),
    Case("another ECDSA key", "gpu01", 22, "gpu01 EC2\n"),
    Case("another RSA key", "gpu01", 22, "gpu01 RSA2\n"),
    Case("another key of the first type, the right one of a later", "gpu01", 22, "gpu01 ED2\ngpu01 RSA\n"),
    Case("a comment", "gpu01", 22, "# gpu01 ED\n"),
    Case("a comment after blanks", "gpu01", 22, "  # gpu01 ED\n"),
    Case("a prefix of the name", "gpu01", 22, "gpu0 ED\n"),
    Case("a longer name", "gpu01", 22, "gpu011 ED\n"),
    Case("the domain alone", "example.org", 22, "*.example.org ED\n"),
    Case("too many question marks", "gpu01", 22, "gpu??? ED\n"),
    Case("a negation", "gpu01", 22, "gpu*,!gpu01 ED\n"),
    Case("a negation first", "gpu01", 22, "!gpu01,gpu* ED\n"),
    Case("a negation alone", "gpu02", 22, "!gpu01 ED\n"),
    Case("a negated pattern", "gpu01", 22, "*,!gpu?? ED\n"),
    Case("a negation of the plain name, with a port", "gpu01", 2222, "gpu01,!gpu01 ED\n"),
    Case("another port", "gpu01", 2222, "[gpu01]:2223 ED\n"),
    Case("a port for the standard one", "gpu01", 22, "[gpu01]:2222 ED\n"),
    Case("the standard port in brackets", "gpu01", 22, "[gpu01]:22 ED\n"),
    Case("another key with the port, the right one without", "gpu01", 2222, "[gpu01]:2222 ED2\ngpu01 ED\n"),
    Case("another type with the port, the right one without", "gpu01", 2222, "[gpu01]:2222 RSA2\ngpu01 ED\n"),
    Case("only a later type without the port", "gpu01", 2222, "gpu01 RSA\n"),
    Case("hashed for another", "gpu01", 22, "HASH(gpu02) ED\n"),
    Case("hashed without the port's name", "gpu01", 22, "HASH([gpu01]:2222) ED\n"),
    Case("hashed in capitals", "gpu01", 22, "HASH(GPU01) ED\n"),
    Case("a hash with a short salt", "gpu01", 22, "SHORT(gpu01) ED\n"),
    Case("a hash with words behind it", "gpu01", 22, "HASH(gpu01),gpu01 ED\n"),
    Case("a hash that is none", "gpu01", 22, "|1|x|y ED\n"),
    Case("a hash of another kind", "gpu01", 22, "|2|AAAA|AAAA ED\n"),
    Case("revoked", "gpu01", 22, "@revoked gpu01 ED\n"),
    Case("revoked after it was known", "gpu01", 22, "gpu01 ED\n@revoked gpu01 ED\n"),
    Case("revoked before it was known", "gpu01", 22, "@revoked gpu01 ED\ngpu01 ED\n"),
    Case("revoked for all", "gpu01", 22, "@revoked * ED\ngpu01 ED\n"),
    Case("revoked for all, with a port", "gpu01", 2222, "@revoked * ED\n[gpu01]:2222 ED\n"),
    Case("revoked with tabs", "gpu01", 22, "@revoked\tgpu01\tssh-ed25519\t{ED}\ngpu01 ED\n"),
    Case("revoked for a hashed name", "gpu01", 22, "@revoked HASH(gpu01) ED\ngpu01 ED\n"),
    Case("revoked under the plain name alone", "gpu01", 2222, "@revoked gpu01 ED\n"),
    Case("an unknown marker", "gpu01", 22, "@trusted gpu01 ED\n"),
    Case("a marker in capitals", "gpu01", 22, "@REVOKED gpu01 ED\n"),
    Case("two markers", "gpu01", 22, "@revoked @cert-authority gpu01 ED\n"),
    Case("a marker alone", "gpu01", 22, "@revoked\n"),
    Case("no key", "gpu01", 22, "gpu01 ssh-ed25519\n"),
    Case("no type", "gpu01", 22, "gpu01 {ED}\n"),
    Case("the type of another key", "gpu01", 22, "gpu01 ssh-rsa {ED}\n"),
    Case("another curve's type", "gpu01", 22, "gpu01 ecdsa-sha2-nistp384 {EC}\n"),
    Case("the type in capitals", "gpu01", 22, "gpu01 SSH-ED25519 {ED}\n"),
    Case("a comment sign for a type", "gpu01", 22, "gpu01 #ssh-ed25519 {ED}\n"),
    Case("a blank in the list of names", "gpu01", 22, "gpu00, gpu01 ED\n"),
    Case("a byte order mark", "gpu01", 22, "\u{feff}gpu01 ED\n"),
    Case("a name that only Unicode makes equal", "kgpu01", 22, "\u{212a}gpu01 ED\n"),
    Case("a certificate's type for a key", "gpu01", 22, "gpu01 ssh-ed25519-cert-v01@openssh.com {ED}\n"),
    Case("a line that goes on", "gpu01", 22, "gpu01 \\\nssh-ed25519 {ED}\n"),
    Case("an authority with the server's own key", "gpu01", 22, "@cert-authority gpu01 ED\n"),
    Case("an authority for all", "gpu01", 22, "@cert-authority * ED2\n"),
];

/// regprov refuses what ssh accepts, on purpose: somebody said that the key is lost.
const STRICTER: &[Case] = &[
    Case("revoked under the plain name, known with the port", "gpu01", 2222, "@revoked gpu01 ED\n[gpu01]:2222 ED\n"),
    Case("revoked, with a tab behind the marker and blanks later", "gpu01", 22, "@revoked\tgpu01 ED\ngpu01 ED\n"),
];

/// As [`Case`], with the certificate that the server shows for its Ed25519 key (see [`CERTIFICATES`]). `{CA}`, `{CA2}` and `{RSACA}`
/// stand for authorities.
struct Signed(&'static str, &'static str, u16, &'static str, &'static str);

/// The certificates: a name, the authority's file, and how ssh-keygen signs it.
const CERTIFICATES: &[(&str, &str, &[&str])] = &[
    ("good", "ca", &["-h", "-n", "gpu01,10.0.0.1,fe80::1"]),
    ("expired", "ca", &["-h", "-n", "gpu01", "-V", "20200101:20200201"]),
    ("early", "ca", &["-h", "-n", "gpu01", "-V", "20400101:20410101"]),
    ("another's", "ca", &["-h", "-n", "gpu02"]),
    ("nobody's", "ca", &["-h"]),
    ("user's", "ca", &["-n", "gpu01"]),
    ("with an option", "ca", &["-h", "-n", "gpu01", "-O", "critical:x@example.org=1"]),
    ("with an extension", "ca", &["-h", "-n", "gpu01", "-O", "extension:x@example.org=1"]),
    ("wild", "ca", &["-h", "-n", "gpu*"]),
    ("in capitals", "ca", &["-h", "-n", "GPU01"]),
    ("with a port", "ca", &["-h", "-n", "[gpu01]:2222"]),
    ("by RSA", "rsaca", &["-h", "-n", "gpu01"]),
    ("by RSA with SHA-1", "rsaca", &["-h", "-n", "gpu01", "-t", "ssh-rsa"]),
];

/// Both accept.
const SIGNED_ACCEPTED: &[Signed] = &[
    Signed("an authority", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "good"),
    Signed("an authority for all", "gpu01", 22, "@cert-authority * {CA}\n", "good"),
    Signed("an authority for some", "gpu01", 22, "@cert-authority gpu*,!gpu02 {CA}\n", "good"),
    Signed("an authority for a hashed name", "gpu01", 22, "@cert-authority HASH(gpu01) {CA}\n", "good"),
    Signed("an authority for a port", "gpu01", 2222, "@cert-authority [gpu01]:2222 {CA}\n", "good"),
    Signed("an authority for all, with a port", "gpu01", 2222, "@cert-authority * {CA}\n", "good"),
    Signed("an authority for the plain name, with a port", "gpu01", 2222, "@cert-authority gpu01 {CA}\n", "good"),
    Signed("the second of two authorities", "gpu01", 22, "@cert-authority * {CA2}\n@cert-authority gpu01 {CA}\n", "good"),
    Signed("an IPv4 address", "10.0.0.1", 22, "@cert-authority 10.0.0.* {CA}\n", "good"),
    Signed("an IPv6 address", "fe80::1", 22, "@cert-authority * {CA}\n", "good"),
    Signed("capitals asked for", "GPU01", 22, "@cert-authority gpu01 {CA}\n", "good"),
    Signed("CRLF, no final newline, a comment", "gpu01", 22, "# c\r\n@cert-authority gpu01 {CA} the CA\r", "good"),
    Signed("an authority and another's key", "gpu01", 22, "gpu01 ED2\n@cert-authority gpu01 {CA}\n", "good"),
    Signed("another authority, and the key itself", "gpu01", 22, "@cert-authority gpu01 {CA2}\ngpu01 ED\n", "good"),
    Signed("no authority, and the key itself", "gpu01", 22, "gpu01 ED\n", "good"),
    Signed("an RSA authority", "gpu01", 22, "@cert-authority gpu01 {RSACA}\n", "by RSA"),
    Signed("an unknown extension", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "with an extension"),
    Signed("another authority revoked", "gpu01", 22, "@revoked * {CA2}\n@cert-authority gpu01 {CA}\n", "good"),
    Signed("expired, and the key itself", "gpu01", 22, "@cert-authority gpu01 {CA}\ngpu01 ED\n", "expired"),
    Signed("another's, and the key itself with a port", "gpu01", 2222, "@cert-authority * {CA}\n[gpu01]:2222 ED\n", "another's"),
    Signed("a user's, and the key itself", "gpu01", 22, "@cert-authority gpu01 {CA}\ngpu01 ED\n", "user's"),
];

/// Both refuse.
const SIGNED_REFUSED: &[Signed] = &[
    Signed("an authority for another host", "gpu01", 22, "@cert-authority gpu02 {CA}\n", "good"),
    Signed("an authority on another port", "gpu01", 2222, "@cert-authority [gpu01]:2223 {CA}\n", "good"),
    Signed("an authority on a port, asked without", "gpu01", 22, "@cert-authority [gpu01]:2222 {CA}\n", "good"),
    Signed("an authority that is excepted", "gpu01", 22, "@cert-authority *,!gpu01 {CA}\n", "good"),
    Signed("another authority", "gpu01", 22, "@cert-authority gpu01 {CA2}\n", "good"),
    Signed("the authority as a key of the host", "gpu01", 22, "gpu01 {CA}\n", "good"),
    Signed("expired", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "expired"),
    Signed("not valid yet", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "early"),
    Signed("another's", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "another's"),
    Signed("for an address, asked by another name", "gpu03", 22, "@cert-authority * {CA}\n", "good"),
    Signed("a user's", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "user's"),
    Signed("an unknown critical option", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "with an option"),
    Signed("a name in capitals", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "in capitals"),
    Signed("a name with its port", "gpu01", 2222, "@cert-authority [gpu01]:2222 {CA}\n", "with a port"),
    Signed("a wildcard for a name", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "wild"),
    Signed("signed with SHA-1", "gpu01", 22, "@cert-authority gpu01 {RSACA}\n", "by RSA with SHA-1"),
    Signed("the authority is revoked", "gpu01", 22, "@cert-authority gpu01 {CA}\n@revoked * {CA}\n", "good"),
    Signed("the authority is revoked, and the key itself is known", "gpu01", 22, "@revoked gpu01 {CA}\n@cert-authority * {CA}\ngpu01 ED\n", "good"),
    Signed("the key is revoked", "gpu01", 22, "@cert-authority gpu01 {CA}\n@revoked gpu01 ED\n", "good"),
    Signed("expired, and another's key", "gpu01", 22, "@cert-authority gpu01 {CA}\ngpu01 ED2\n", "expired"),
    Signed("an unknown marker", "gpu01", 22, "@cert-authorities gpu01 {CA}\n", "good"),
];

/// regprov refuses what ssh accepts, on purpose.
const SIGNED_STRICTER: &[Signed] = &[Signed("a certificate without names", "gpu01", 22, "@cert-authority gpu01 {CA}\n", "nobody's")];

struct Bench {
    fleet: Fleet,
    dir: tempfile::TempDir,
}

impl Bench {
    fn keys(&self, text: &str) -> Vec<u8> {
        let mut text = text.to_string();
        while let Some((head, rest)) = text.split_once("HASH(").or_else(|| text.split_once("SHORT(")) {
            let salt = vec![7; if text[head.len()..].starts_with("SHORT") { 8 } else { 20 }];
            let (name, tail) = rest.split_once(") ").or_else(|| rest.split_once("),")).unwrap();
            let separator = &rest[name.len() + 1..name.len() + 2];
            let mut mac = <Hmac<Sha1> as hmac::Mac>::new_from_slice(&salt).unwrap();
            mac.update(name.as_bytes());
            text = format!("{head}|1|{}|{}{separator}{tail}", STANDARD.encode(&salt), STANDARD.encode(mac.finalize().into_bytes()));
        }
        for (word, kind) in [("RSA", "rsa"), ("ED", "ed25519"), ("EC", "ecdsa")] {
            let other = fs::read_to_string(self.dir.path().join(format!("other.{kind}.pub"))).unwrap();
            let own = self.fleet.host_key(kind);
            text = text.replace(&format!("{{{word}}}"), own.split_once(' ').unwrap().1);
            text = text.replace(&format!(" {word}2"), &format!(" {}", other.rsplit_once(' ').unwrap().0));
            text = text.replace(&format!(" {word}\n"), &format!(" {own}\n"));
            for end in [" ", "\t", "\r", "\0", "\u{b}"] {
                text = text.replace(&format!(" {word}{end}"), &format!(" {own}{end}"));
            }
            if text.ends_with(&format!(" {word}")) {
                text.truncate(text.len() - word.len());
                text.push_str(&own);
            }
        }
        // One byte for the letter of Latin-1.
        text.chars().flat_map(|c| if c == '\u{f6}' { vec![0xf6] } else { c.to_string().into_bytes() }).collect()
    }

    /// What is wrong when ssh or regprov accept other than wanted.
    fn check(&self, case: &Case, shown: Option<&Certificate>, want: (bool, bool)) -> Option<String> {
        let mut text = case.3.to_string();
        for (word, file) in [("{CA}", "ca.pub"), ("{CA2}", "ca2.pub"), ("{RSACA}", "rsaca.pub")] {
            if text.contains(word) {
                let line = fs::read_to_string(self.dir.path().join(file)).unwrap();
                text = text.replace(word, line.rsplit_once(' ').unwrap().0);
            }
        }
        let text = self.keys(&text);
        let (ssh, ours) = (self.ssh(case, &text), self.regprov(case, &text, shown));
        let word = if ssh { "accepts" } else { "refuses" };
        ((ssh, ours.is_ok()) != want).then(|| format!("{} ({}:{}): ssh {word}, regprov {ours:?}", case.0, case.1, case.2))
    }

    /// What ssh does: `true` when it logs in, `false` when it refuses the host's key.
    fn ssh(&self, case: &Case, known_hosts: &[u8]) -> bool {
        let file = self.dir.path().join(format!("known_hosts-{}", case.0.replace([' ', '\''], "-")));
        fs::write(&file, known_hosts).unwrap();
        let reach = format!("busybox nc {} {}", self.fleet.nodes[0].address, self.fleet.port);
        let out = Command::new("ssh")
            .args([
                "-n",
                "-F",
                "/dev/null",
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "BatchMode=yes",
                "-o",
                "IdentitiesOnly=yes",
                "-o",
                "GlobalKnownHostsFile=/dev/null",
            ])
            .args([
                "-o",
                "KexAlgorithms=curve25519-sha256",
                "-o",
                "IdentityAgent=none",
                "-o",
                &format!("UserKnownHostsFile={}", file.display()),
                "-o",
                &format!("ProxyCommand={reach}"),
            ])
            .arg("-i")
            .arg(self.fleet.key())
            .args(["-l", "root", "-p", &case.2.to_string(), case.1, "true"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        let refused = said.contains("Host key verification failed") && out.status.code() == Some(255);
        assert!(refused || out.status.success(), "{}: ssh ended otherwise: {said}", case.0);
        !refused
    }

    /// What regprov does: the server shows its certificate where we want one, else the first key type of ours that it has, and
    /// that is judged.
    fn regprov(&self, case: &Case, known_hosts: &[u8], shown: Option<&Certificate>) -> Result<(), String> {
        let host = Host { address: Some(case.1.into()), port: Some(case.2), ..Host::named("n") };
        let known_hosts = KnownHosts::parse(&[("known_hosts".into(), known_hosts.to_vec())]);
        let trust = known_hosts.trust(&Endpoint::of(&host, Default::default(), known_hosts.clone()));
        let offer = preferred(&trust);
        if let Some(certificate) = shown.filter(|c| offer.host_key_certificates.contains(&c.algorithm())) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            return trust.judge_certificate(certificate, now);
        }
        let kinds = [("ssh-ed25519", "ed25519"), ("ecdsa-sha2-nistp256", "ecdsa"), ("rsa-sha2-512", "rsa")];
        let shown = offer.key.iter().find_map(|a| kinds.iter().find(|(name, _)| *name == a.as_str()).map(|(_, kind)| *kind));
        let line = self.fleet.host_key(shown.expect("all three are offered"));
        let (algorithm, key) = line.split_once(' ').unwrap();
        trust.judge(algorithm, key)
    }
}

#[test]
#[ignore = "needs sshd, ssh, ssh-keygen and busybox"]
fn regprov_and_ssh_agree() {
    let (Some(_), Some(_)) = (need("ssh"), need("busybox")) else { return };
    let Some(fleet) = Fleet::start(1, Options { host_keys: "ed25519 ecdsa rsa", ..Options::default() }) else { return };
    let bench = Bench { fleet, dir: tempfile::tempdir().unwrap() };
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let file = bench.dir.path().join(format!("other.{kind}"));
        assert!(Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-C", "other", "-f"]).arg(file).status().unwrap().success());
    }
    let sections = [(ACCEPTED, (true, true)), (REFUSED, (false, false)), (STRICTER, (true, false))];
    let all: Vec<_> = sections.iter().flat_map(|(cases, want)| cases.iter().map(move |case| (case, *want))).collect();
    // ssh mostly waits: four at a time.
    let bench = &bench;
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let check = |part: &[(&Case, (bool, bool))]| -> Vec<String> { part.iter().filter_map(|(case, want)| bench.check(case, None, *want)).collect() };
        let workers: Vec<_> = all.chunks(all.len().div_ceil(4)).map(|part| scope.spawn(move || check(part))).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
#[ignore = "needs sshd, ssh, ssh-keygen and busybox"]
fn regprov_and_ssh_agree_on_certificates() {
    let (Some(_), Some(_)) = (need("ssh"), need("busybox")) else { return };
    let Some(fleet) = Fleet::start(1, Options { sshd: "HostCertificate /etc/fleet/shown.pub", host_keys: "ed25519 ecdsa rsa", ..Options::default() }) else {
        return;
    };
    let bench = Bench { fleet, dir: tempfile::tempdir().unwrap() };
    let keygen = |args: &[&str]| {
        let made = Command::new("ssh-keygen").arg("-q").args(args).current_dir(bench.dir.path()).stdout(Stdio::null()).status().unwrap();
        assert!(made.success(), "{args:?}");
    };
    for (file, kind) in [("ca", "ed25519"), ("ca2", "ed25519"), ("rsaca", "rsa"), ("other.ed25519", "ed25519"), ("other.ecdsa", "ecdsa"), ("other.rsa", "rsa")]
    {
        keygen(&["-t", kind, "-N", "", "-C", "other", "-f", file]);
    }
    let node = &bench.fleet.nodes[0];
    let sections = [(SIGNED_ACCEPTED, (true, true)), (SIGNED_REFUSED, (false, false)), (SIGNED_STRICTER, (true, false))];
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (name, authority, how) in CERTIFICATES {
        fs::write(bench.dir.path().join("key.pub"), format!("{} host\n", bench.fleet.host_key("ed25519"))).unwrap();
        keygen(&[&["-s", authority, "-I", "x"], *how, &["key.pub"]].concat());
        let text = fs::read_to_string(bench.dir.path().join("key-cert.pub")).unwrap();
        let shown = Certificate::from_openssh(&text).unwrap();
        node.write("/etc/fleet/shown.pub", &text);
        // sshd reads it again, and says when it has.
        let listening = |log: String| log.matches("Server listening").count();
        let before = listening(bench.fleet.log(0));
        // SAFETY: kill takes two numbers; the process is the node's sshd, which lives as long as the fleet.
        assert_eq!(unsafe { libc::kill(node.pid.cast_signed(), libc::SIGHUP) }, 0);
        wait_until("sshd has read its certificate", || listening(bench.fleet.log(0)) > before);
        for (cases, want) in &sections {
            for Signed(claim, host, port, known_hosts, _) in cases.iter().filter(|c| c.4 == *name) {
                wrong.extend(bench.check(&Case(claim, host, *port, known_hosts), Some(&shown), *want));
                checked += 1;
            }
        }
    }
    assert_eq!(checked, SIGNED_ACCEPTED.len() + SIGNED_REFUSED.len() + SIGNED_STRICTER.len());
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
}
