//! Ansible's connection variables to our keys.

use std::collections::BTreeMap;

use super::pattern;
use super::value::Value;
use crate::inventory::schema;
use crate::inventory::source::Settings;
use crate::model::{Connection, Jump};

/// What a host's variables say. `Err` names the variable, never a value of one that may be secret; `ignored` gets what is not taken.
pub(super) fn of(vars: &BTreeMap<&str, &Value>, ignored: &mut Vec<String>) -> Result<Settings, String> {
    // Of two names for one thing the later wins (plugins/connection/ssh.py).
    let pick = |names: &[&'static str]| names.iter().rev().find_map(|n| vars.get(n).filter(|v| ***v != Value::Null).map(|v| (*n, *v)));
    let mut settings = Settings::default();
    if let Some((name, value)) = pick(&["ansible_host", "ansible_ssh_host"]) {
        settings.address = Some(schema::address(&text(name, value)?).map_err(|why| format!("`{name}` {why}"))?);
    }
    if let Some((name, value)) = pick(&["ansible_port", "ansible_ssh_port"]) {
        let port = text(name, value)?.trim().parse::<u16>().ok().filter(|p| *p > 0);
        settings.port = Some(port.ok_or_else(|| format!("`{name}` is no port from 1 to 65535"))?);
    }
    if let Some((name, value)) = pick(&["ansible_user", "ansible_ssh_user"]) {
        settings.user = Some(schema::account(&text(name, value)?, "is no user name").map_err(|why| format!("`{name}` {why}"))?);
    }
    let mut keys = Vec::new();
    if let Some((name, value)) = pick(&["ansible_private_key_file", "ansible_ssh_private_key_file"]) {
        keys.push(text(name, value)?);
    }
    if let Some((name, value)) = pick(&["ansible_connection"]) {
        settings.connection = match text(name, value)?.as_str() {
            "local" | "ansible.builtin.local" => Some(Connection::Local),
            "smart" | "ssh" | "ansible.builtin.ssh" | "paramiko" | "paramiko_ssh" | "ansible.builtin.paramiko_ssh" => Some(Connection::Ssh),
            other => return Err(format!("`{name}` is {other:?}; regprov knows `ssh` and `local`")),
        };
    }
    becomes(&pick, &mut settings)?;
    let mut said = SshArgs { keys, ..SshArgs::default() };
    for name in ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"] {
        if let Some((name, value)) = pick(&[name]) {
            let line = text(name, value)?;
            said.read(&line).map_err(|why| format!("`{name}` {why}"))?;
        }
    }
    // A setting of its own comes before these arguments on Ansible's command line, and ssh takes the first.
    settings.user = settings.user.or(said.user);
    settings.port = settings.port.or(said.port);
    settings.jump = said.jump;
    settings.ssh_keys = (!said.keys.is_empty()).then_some(said.keys);
    ignored.append(&mut said.ignored);
    for name in ["ansible_password", "ansible_ssh_pass", "ansible_become_password", "ansible_become_pass"] {
        if vars.contains_key(name) {
            ignored.push(format!("`{name}`"));
        }
    }
    Ok(settings)
}

fn becomes<'v>(pick: &impl Fn(&[&'static str]) -> Option<(&'static str, &'v Value)>, settings: &mut Settings) -> Result<(), String> {
    let Some((name, value)) = pick(&["ansible_become"]) else { return Ok(()) };
    let becomes = match value {
        Value::Bool(b) => *b,
        other => match text(name, other)?.to_ascii_lowercase().as_str() {
            "yes" | "y" | "on" | "1" | "true" | "t" => true,
            "no" | "n" | "off" | "0" | "false" | "f" => false,
            _ => return Err(format!("`{name}` is no truth value")),
        },
    };
    settings.becomes_root = Some(becomes);
    for (key, fits) in [("ansible_become_user", ["root", "0"]), ("ansible_become_method", ["sudo", "ansible.builtin.sudo"])] {
        if let Some((name, value)) = pick(&[key]).filter(|_| becomes) {
            let value = text(name, value)?;
            if !fits.contains(&value.as_str()) {
                return Err(format!("`{name}` is {value:?}; regprov knows `{}` alone", fits[0]));
            }
        }
    }
    Ok(())
}

/// A value that we use must be there in the clear and without templates.
fn text(name: &str, value: &Value) -> Result<String, String> {
    let text = match value {
        Value::Text(t) => t.to_string(),
        Value::Unsafe(t) => return Ok(t.to_string()),
        Value::Float(t) => t.clone(),
        Value::Int(n) => n.to_string(),
        Value::Vault(_) => return Err(format!("`{name}` is encrypted by ansible-vault, which regprov does not open")),
        other => return Err(format!("`{name}` must be text, not {}", other.word())),
    };
    if text.contains("{{") || text.contains("{%") || text.contains("{#") {
        return Err(format!("`{name}` is a template, which regprov does not evaluate"));
    }
    Ok(text)
}

/// What arguments of ssh say; of each option the first counts, as with ssh.
#[derive(Default)]
struct SshArgs {
    user: Option<String>,
    port: Option<u16>,
    jump: Option<Jump>,
    keys: Vec<String>,
    ignored: Vec<String>,
}

/// Options of ssh(1) with an argument, but for those that are read.
const WITH_ARGUMENT: &str = "BbcDEeFIkLmOPQRSWw";

impl SshArgs {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let mut words = pattern::words(line, false)?.into_iter();
        while let Some(word) = words.next() {
            let Some(flags) = word.strip_prefix('-').filter(|f| !f.is_empty()) else {
                self.ignored.push(format!("the ssh argument {word:?}"));
                continue;
            };
            let mut rest = flags.chars();
            while let Some(flag) = rest.next() {
                if !"oJilp".contains(flag) && !WITH_ARGUMENT.contains(flag) {
                    self.ignored.push(format!("the ssh option -{flag}"));
                    continue;
                }
                let argument = match rest.as_str() {
                    "" => words.next().ok_or_else(|| format!("ends with -{flag}"))?,
                    glued => glued.to_string(),
                };
                match flag {
                    'o' => {
                        let (key, value) = option(&argument).ok_or_else(|| "has a -o that is no KEY=VALUE".to_string())?;
                        self.set(key, value)?;
                    }
                    'J' => self.set("ProxyJump", &argument)?,
                    'i' => self.set("IdentityFile", &argument)?,
                    'l' => self.set("User", &argument)?,
                    'p' => self.set("Port", &argument)?,
                    _ => self.ignored.push(format!("the ssh option -{flag}")),
                }
                break;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key.to_ascii_lowercase().as_str() {
            "proxyjump" if self.jump.is_none() => self.jump = Some(jump(value)?),
            "proxycommand" if self.jump.is_none() => {
                let none = value.eq_ignore_ascii_case("none");
                self.jump = Some(if none { Jump::Direct } else { Jump::Command(value.to_string()) });
            }
            "user" if self.user.is_none() => self.user = Some(schema::account(value, "names no user")?),
            "port" if self.port.is_none() => {
                self.port = Some(value.parse().ok().filter(|p| *p > 0).ok_or("has a port that is not from 1 to 65535")?);
            }
            "proxyjump" | "proxycommand" | "user" | "port" => {}
            "identityfile" => self.keys.push(value.to_string()),
            // What regprov does by itself, or does without; nobody misses a note.
            "controlmaster" | "controlpersist" | "controlpath" | "identitiesonly" | "batchmode" | "loglevel" | "forwardagent" | "compression" => {}
            _ => self.ignored.push(format!("the ssh option {key}")),
        }
        Ok(())
    }
}

/// `Key=Value` or `Key Value`; quotes around the value are ssh's.
fn option(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.trim().split_once(|c: char| c == '=' || c.is_whitespace())?;
    let value = value.trim_start_matches(|c: char| c == '=' || c.is_whitespace()).trim_end();
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    (!key.is_empty() && !value.is_empty()).then_some((key, value))
}

fn jump(text: &str) -> Result<Jump, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Jump::Direct);
    }
    let hops = text.split(',').map(|hop| schema::hop(hop.trim()).map_err(|why| format!("has a jump host that {why}")));
    hops.collect::<Result<Vec<_>, _>>().map(Jump::Through)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(pairs: &[(&str, &str)]) -> (Result<Settings, String>, Vec<String>) {
        let values: Vec<(&str, Value)> = pairs.iter().map(|(k, v)| (*k, Value::of_python(v))).collect();
        let mut ignored = Vec::new();
        let settings = of(&values.iter().map(|(k, v)| (*k, v)).collect(), &mut ignored);
        (settings, ignored)
    }

    #[track_caller]
    fn jump_of(args: &str) -> String {
        of_text(&[("ansible_ssh_common_args", args)]).0.unwrap().jump.map(|j| j.to_string()).unwrap_or_default()
    }

    #[test]
    fn arguments_of_ssh_are_read() {
        assert_eq!(jump_of("-o ProxyJump=admin@bastion:2222"), "admin@bastion:2222");
        assert_eq!(jump_of("-J a,b"), "a,b");
        assert_eq!(jump_of("-Ja"), "a");
        assert_eq!(jump_of("-qCJ a"), "a");
        assert_eq!(jump_of(r#"-o ProxyCommand="ssh -W %h:%p -q bastion""#), "ssh -W %h:%p -q bastion");
        assert_eq!(jump_of("-o 'ProxyCommand ssh -W %h:%p bastion'"), "ssh -W %h:%p bastion");
        assert_eq!(jump_of("-oProxyCommand=none -J x"), "none");
        let (settings, ignored) = of_text(&[
            ("ansible_user", "first"),
            ("ansible_ssh_common_args", "-o User=second -o Port=2200 -i ~/a -o StrictHostKeyChecking=no -o ControlMaster=auto -v -L 1:x:2"),
            ("ansible_ssh_extra_args", "-i b"),
            ("ansible_ssh_private_key_file", "~/own"),
            ("ansible_password", "hunter2"),
        ]);
        let settings = settings.unwrap();
        assert_eq!((settings.user.as_deref(), settings.port), (Some("first"), Some(2200)));
        assert_eq!(settings.ssh_keys.unwrap(), ["~/own", "~/a", "b"]);
        assert_eq!(ignored, ["the ssh option StrictHostKeyChecking", "the ssh option -v", "the ssh option -L", "`ansible_password`"]);
    }

    #[test]
    fn a_later_name_wins_and_truth_has_many_words() {
        let settings = of_text(&[("ansible_host", "a"), ("ansible_ssh_host", "b"), ("ansible_become", "yes")]).0.unwrap();
        assert_eq!((settings.address.as_deref(), settings.becomes_root), (Some("b"), Some(true)));
        let settings = of_text(&[("ansible_become", "0"), ("ansible_become_user", "oracle")]).0.unwrap();
        assert_eq!(settings.becomes_root, Some(false));
        assert_eq!(of_text(&[("ansible_connection", "local")]).0.unwrap().connection, Some(Connection::Local));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (key, value, want) in [
            ("ansible_host", "{{ x }}.example", "`ansible_host` is a template"),
            ("ansible_host", "a:22", "`ansible_host` contains `:`"),
            ("ansible_port", "no", "`ansible_port` is no port"),
            ("ansible_user", "a b", "`ansible_user` is no user name"),
            ("ansible_connection", "winrm", "\"winrm\"; regprov knows `ssh` and `local`"),
            ("ansible_become", "maybe", "no truth value"),
            ("ansible_ssh_common_args", "-o", "ends with -o"),
            ("ansible_ssh_common_args", "-J 'a b'", "jump host"),
        ] {
            let why = of_text(&[(key, value)]).0.unwrap_err();
            assert!(why.contains(want), "{key}: {why}");
        }
        let become_other = of_text(&[("ansible_become", "True"), ("ansible_become_user", "oracle")]).0.unwrap_err();
        assert!(become_other.contains("`ansible_become_user` is \"oracle\""), "{become_other}");
        let sealed = Value::Vault(String::new());
        let vault = BTreeMap::from([("ansible_user", &sealed)]);
        assert!(of(&vault, &mut Vec::new()).unwrap_err().contains("`ansible_user` is encrypted"));
    }
}
