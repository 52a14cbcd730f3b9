//! What `ssh -G` says (readconf.c dump_client_config), and what of it ssh itself would still expand (ssh.c, ssh_config(5) TOKENS). Pure.

use std::time::Duration;

use sha1::{Digest as _, Sha1};

use crate::model::{Hop, Jump};

/// What ssh_config says of one host. What it leaves at ssh's own default is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HostName, or the name as it was asked for.
    pub host_name: Option<String>,
    /// User, or who runs ssh.
    pub user: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// ProxyJump or ProxyCommand.
    pub jump: Option<Jump>,
    /// IdentityFile, in order; an empty list is `none`.
    pub identity_files: Option<Vec<String>>,
    /// CertificateFile, in order.
    pub certificates: Vec<String>,
    /// IdentitiesOnly.
    pub identities_only: bool,
    /// IdentityAgent: `none`, `SSH_AUTH_SOCK`, `$VARIABLE` or a path.
    pub agent: Option<String>,
    /// HostKeyAlias.
    pub host_key_alias: Option<String>,
    /// UserKnownHostsFile; an empty list is `none`.
    pub user_known_hosts: Option<Vec<String>>,
    /// GlobalKnownHostsFile.
    pub global_known_hosts: Option<Vec<String>>,
    /// StrictHostKeyChecking where it is weaker than asking.
    pub weak_checking: Option<String>,
    /// ConnectTimeout.
    pub connect: Option<Duration>,
    /// ProxyUseFdpass.
    pub passes_descriptor: bool,
}

/// Reads what `ssh -G` printed; `defaults` is what it prints without any configuration.
pub fn parse(text: &str, defaults: &Answer) -> Answer {
    let mut answer = Answer::default();
    let said = |value: &str| Some(value.to_string()).filter(|v| !v.is_empty());
    let mut files: Vec<String> = Vec::new();
    for (key, value) in text.lines().filter_map(|l| l.split_once(' ')) {
        match key {
            "hostname" => answer.host_name = said(value),
            "user" => answer.user = said(value),
            "port" => answer.port = value.parse().ok().filter(|p| *p > 0),
            "proxyjump" => answer.jump = hops(value).map(Jump::Through),
            "proxycommand" if value != "none" => answer.jump = Some(Jump::Command(value.to_string())),
            "identityfile" => files.push(value.to_string()),
            "certificatefile" if value != "none" => answer.certificates.push(value.to_string()),
            "identitiesonly" => answer.identities_only = value == "yes",
            "identityagent" => answer.agent = said(value),
            "hostkeyalias" => answer.host_key_alias = said(value),
            "userknownhostsfile" => answer.user_known_hosts = Some(paths(value)),
            "globalknownhostsfile" => answer.global_known_hosts = Some(paths(value)),
            // `no` and `off` are printed as `false`.
            "stricthostkeychecking" if ["no", "false", "off"].contains(&value) => answer.weak_checking = said("no"),
            "stricthostkeychecking" if value == "accept-new" => answer.weak_checking = said(value),
            "connecttimeout" => answer.connect = value.parse().ok().filter(|s| *s > 0).map(Duration::from_secs),
            "proxyusefdpass" => answer.passes_descriptor = value == "yes",
            _ => {}
        }
    }
    files.retain(|f| f != "none");
    answer.identity_files = Some(files);
    // A setting equal to the default is as if nobody had said it.
    fn unless_default<T: PartialEq>(value: &mut Option<T>, default: &Option<T>) {
        if default.is_some() && *value == *default {
            *value = None;
        }
    }
    unless_default(&mut answer.identity_files, &defaults.identity_files);
    unless_default(&mut answer.user_known_hosts, &defaults.user_known_hosts);
    unless_default(&mut answer.global_known_hosts, &defaults.global_known_hosts);
    answer
}

/// The files of a known hosts line. ssh prints them with a space between and without quotes, so that a path with a space in it looks
/// like two: a word that does not begin as a path does belongs to the one before it.
fn paths(value: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for word in value.split(' ').filter(|w| *w != "none") {
        match paths.last_mut() {
            Some(last) if !word.starts_with(['/', '~']) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => paths.push(word.to_string()),
        }
    }
    paths
}

/// `[user@]host[:port],...` (misc.c parse_user_host_port, readconf.c parse_jump).
fn hops(value: &str) -> Option<Vec<Hop>> {
    let hop = |text: &str| {
        let text = text.strip_prefix("ssh://").map_or(text, |rest| rest.trim_end_matches('/'));
        let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user.to_string()), rest));
        let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match rest.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (rest, None),
            },
        };
        Hop { user, host: host.to_string(), port: port.and_then(|p| p.parse().ok()) }
    };
    (value != "none").then(|| value.split(',').map(|h| hop(h.trim())).collect())
}

/// What the tokens of a path stand for.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// `%d` and `~`: our home.
    pub home: String,
    /// `%i`: our user id.
    pub uid: String,
    /// `%u`: our user name.
    pub local_user: String,
    /// `%l`: this machine's name.
    pub local_host: String,
    /// `%n`: the host as it was named.
    pub name: String,
    /// `%h`: the host that is connected to.
    pub host: String,
    /// `%p`.
    pub port: String,
    /// `%r`: the user there.
    pub user: String,
    /// `%k`: the host key alias, or the host as it was named.
    pub host_key_alias: String,
    /// `%j`: the jump hosts.
    pub jump: String,
}

impl Tokens {
    /// Expands `~/`, `${VARIABLE}` and `%` tokens of a path.
    ///
    /// # Errors
    /// An unknown token or an unset variable, as for ssh.
    pub fn expand(&self, path: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut out = match path.strip_prefix("~/") {
            Some(_) => format!("{}/", self.home),
            None => String::new(),
        };
        let mut rest = path.strip_prefix("~/").unwrap_or(path);
        while let Some(at) = rest.find(['%', '$']) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(inner) = rest.strip_prefix("${") {
                let (name, after) = inner.split_once('}').ok_or_else(|| format!("{path}: a `${{` without its `}}`"))?;
                out.push_str(&variable(name).ok_or_else(|| format!("{path}: the variable {name} is not set"))?);
                rest = after;
                continue;
            }
            if rest.starts_with('$') {
                out.push('$');
                rest = &rest[1..];
                continue;
            }
            let token = rest[1..].chars().next();
            let connection;
            out.push_str(match token {
                Some('%') => "%",
                Some('d') => &self.home,
                Some('i') => &self.uid,
                Some('u') => &self.local_user,
                Some('l') => &self.local_host,
                Some('L') => self.local_host.split('.').next().unwrap_or_default(),
                Some('n') => &self.name,
                Some('h') => &self.host,
                Some('p') => &self.port,
                Some('r') => &self.user,
                Some('k') => &self.host_key_alias,
                Some('j') => &self.jump,
                Some('C') => {
                    connection = self.connection();
                    &connection
                }
                _ => return Err(format!("{path}: ssh knows no token %{}", token.map(String::from).unwrap_or_default())),
            });
            rest = &rest[1 + token.map_or(0, char::len_utf8)..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `%C`: the hash of `%l%h%p%r%j` (readconf.c ssh_connection_hash).
    fn connection(&self) -> String {
        let text = [&self.local_host, &self.host, &self.port, &self.user, &self.jump].map(String::as_str).concat();
        Sha1::digest(text).iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// What one configuration file makes of the hosts.
#[derive(Debug, PartialEq, Eq)]
pub enum Speech {
    /// The same for all of them, with what these files say (Include).
    ForAll(Vec<String>),
    /// Something that may differ from host to host.
    ByHost,
}

/// Whether a configuration file says the same of every host: only `Host *`, no Match, no token, nothing that depends on names.
pub fn speech(text: &str) -> Speech {
    let mut included = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (key, value) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
        let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim_end();
        match key.to_ascii_lowercase().as_str() {
            "host" if value.trim_matches('"') == "*" => {}
            "include" if !value.contains(['"', '\\', '\'', '$', '%']) => included.extend(value.split_whitespace().map(str::to_string)),
            "host" | "match" | "include" | "proxyjump" => return Speech::ByHost,
            key if key.starts_with("canonical") => return Speech::ByHost,
            _ if value.contains('%') => return Speech::ByHost,
            _ => {}
        }
    }
    Speech::ForAll(included)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str = "user me\nhostname x\nport 22\nproxyusefdpass no\nstricthostkeychecking ask\nidentityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_ed25519\n\
                            globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\nuserknownhostsfile /home/me/.ssh/known_hosts /home/me/.ssh/known_hosts2\n\
                            connecttimeout none\n";

    fn hop(user: Option<&str>, host: &str, port: Option<u16>) -> Hop {
        Hop { user: user.map(str::to_string), host: host.to_string(), port }
    }

    #[test]
    fn an_answer_says_what_is_not_the_default() {
        let defaults = parse(DEFAULTS, &Answer::default());
        let plain = Answer { host_name: Some("x".into()), user: Some("me".into()), port: Some(22), ..Answer::default() };
        assert_eq!(parse(DEFAULTS, &defaults), plain);
        let check = |lines: &str, want: Answer| assert_eq!(parse(&format!("{DEFAULTS}{lines}"), &defaults), want, "{lines}");
        check(
            "port 2222\nuser bob\nhostname 10.0.0.5\n",
            Answer { host_name: Some("10.0.0.5".into()), user: Some("bob".into()), port: Some(2222), ..plain.clone() },
        );
        for (weak, told) in [("no", "no"), ("false", "no"), ("off", "no"), ("accept-new", "accept-new")] {
            check(&format!("stricthostkeychecking {weak}\n"), Answer { weak_checking: Some(told.into()), ..plain.clone() });
        }
        for strict in ["yes", "true", "ask"] {
            check(&format!("stricthostkeychecking {strict}\n"), plain.clone());
        }
        check(
            "connecttimeout 60\nproxyusefdpass yes\nidentitiesonly yes\n",
            Answer { connect: Some(Duration::from_secs(60)), passes_descriptor: true, identities_only: true, ..plain.clone() },
        );
        check(
            "identityagent SSH_AUTH_SOCK\nhostkeyalias a-%h\n",
            Answer { agent: Some("SSH_AUTH_SOCK".into()), host_key_alias: Some("a-%h".into()), ..plain.clone() },
        );
        check("certificatefile ~/a\ncertificatefile ~/b\n", Answer { certificates: vec!["~/a".into(), "~/b".into()], ..plain.clone() });
        check("proxycommand ssh -W [%h]:%p gw\n", Answer { jump: Some(Jump::Command("ssh -W [%h]:%p gw".into())), ..plain.clone() });
        check("proxycommand none\nproxyjump none\n", plain.clone());
        let through = vec![hop(Some("u"), "a", Some(44)), hop(None, "b", None), hop(None, "::1", Some(7)), hop(Some("x@y"), "::2", None)];
        check("proxyjump u@a:44,b,[::1]:7,ssh://x@y@[::2]/\n", Answer { jump: Some(Jump::Through(through)), ..plain.clone() });
        check("userknownhostsfile /k /tmp/a b ~/c\n", Answer { user_known_hosts: Some(vec!["/k".into(), "/tmp/a b".into(), "~/c".into()]), ..plain.clone() });
        check(
            "userknownhostsfile none\nglobalknownhostsfile none\n",
            Answer { user_known_hosts: Some(vec![]), global_known_hosts: Some(vec![]), ..plain.clone() },
        );
        assert_eq!(parse("identityfile none\n", &defaults).identity_files, Some(vec![]));
        assert_eq!(parse("identityfile ~/k\nidentityfile /l\n", &defaults).identity_files, Some(vec!["~/k".into(), "/l".into()]));
    }

    #[test]
    fn tokens_are_those_of_ssh() {
        let t = |s: &str| s.to_string();
        let tokens = Tokens {
            home: t("/home/me"),
            uid: t("1000"),
            local_user: t("me"),
            local_host: t("ws.example.org"),
            name: t("gpu1"),
            host: t("10.0.0.5"),
            port: t("22"),
            user: t("root"),
            host_key_alias: t("alias"),
            jump: t("b1"),
        };
        let variable = |name: &str| (name == "DIR").then(|| "/d".to_string());
        for (path, want) in [
            ("~/.ssh/%r_%h", Ok("/home/me/.ssh/root_10.0.0.5")),
            ("${DIR}/%n-%p-%u-%i-%k-%j-%%", Ok("/d/gpu1-22-me-1000-alias-b1-%")),
            ("%d/%l/%L", Ok("/home/me/ws.example.org/ws")),
            ("/a~/$x", Ok("/a~/$x")),
            // printf ws.example.org10.0.0.522rootb1 | sha1sum
            ("%C", Ok("079c9895942bd7101b2a046f33665112f6417214")),
            ("${NO}/x", Err("NO is not set")),
            ("${DIR/x", Err("without its `}`")),
            ("%q", Err("no token %q")),
            ("x%", Err("no token %")),
        ] {
            match (tokens.expand(path, &variable), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{path}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, _) => panic!("{path}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_speaks_of_all_hosts_alike() {
        for (text, want) in [
            ("", Some(&[][..])),
            ("# Host x\n\nHost *\n  SendEnv LANG\n  User root\n", Some(&[])),
            ("Include /etc/ssh/ssh_config.d/*.conf more\nHost \"*\"\n", Some(&["/etc/ssh/ssh_config.d/*.conf", "more"])),
            ("HOST = *\n", Some(&[])),
            ("Host gpu*\n", None),
            ("Host * !a\n", None),
            ("Match all\n", None),
            ("Host *\n HostName %h.example.org\n", None),
            ("ProxyJump b\n", None),
            ("CanonicalizeHostname yes\n", None),
            ("Include \"a b\"\n", None),
        ] {
            let want = want.map_or(Speech::ByHost, |files| Speech::ForAll(files.iter().map(ToString::to_string).collect()));
            assert_eq!(speech(text), want, "{text}");
        }
    }
}
