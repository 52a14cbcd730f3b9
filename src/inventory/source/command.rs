//! What a program prints: a JSON list, lines, or the JSON of an Ansible inventory.

use super::ansible::{self, Ansible};
use crate::inventory::{HOSTS_MAX, hostlist};

/// What a program printed.
pub(super) enum Output {
    /// Names, in its order.
    Names(Vec<String>),
    /// Groups.
    Ansible(Box<Ansible>),
}

/// Reads what a program printed. The error is the end of a sentence that names the program.
pub(super) fn parse(output: &[u8]) -> Result<Output, String> {
    let text = std::str::from_utf8(output).map_err(|_| "printed what is not UTF-8".to_string())?;
    let text = text.trim_start_matches('\u{feff}');
    let json = || serde_json::from_str::<serde_json::Value>(text).map_err(|e| format!("printed what is no JSON, at line {} column {}", e.line(), e.column()));
    let mut names = Vec::new();
    match text.trim_start().chars().next() {
        Some('{') => return ansible::of_script(&json()?).map(|a| Output::Ansible(Box::new(a))).map_err(|why| format!("printed an inventory that {why}")),
        Some('[') => {
            let json = json()?;
            for item in json.as_array().expect("it begins with a bracket") {
                let item = item.as_str().ok_or("printed a JSON list of something else than names")?;
                add(&mut names, item).map_err(|why| format!("printed a list that {why}"))?;
            }
        }
        _ => {
            for (i, line) in text.lines().enumerate() {
                let line = line.split('#').next().unwrap_or("").trim();
                if !line.is_empty() {
                    add(&mut names, line).map_err(|why| format!("printed a line {} that {why}", i + 1))?;
                }
            }
        }
    }
    Ok(Output::Names(names))
}

fn add(names: &mut Vec<String>, list: &str) -> Result<(), String> {
    names.extend(hostlist::expand(list)?);
    if names.len() > HOSTS_MAX { Err(format!("makes more than {HOSTS_MAX} hosts")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, want: &[&str]) {
        match parse(output.as_bytes()) {
            Ok(Output::Names(names)) => assert_eq!(names, want, "{output}"),
            Ok(Output::Ansible(_)) => panic!("{output}: groups"),
            Err(why) => panic!("{output}: {why}"),
        }
    }

    #[test]
    fn lists_and_lines_name_hosts() {
        check("b\n\n# a comment\ngpu[1-2], a # another\r\n", &["b", "gpu1", "gpu2", "a"]);
        check(" [\"b\", \"gpu[01-02]\"]\n", &["b", "gpu01", "gpu02"]);
        check("[]", &[]);
        check("", &[]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for (output, want) in [
            ("a b\n", "line 1 that has `a b`"),
            ("a\nn[1-\n", "line 2 that"),
            ("[1]", "something else than names"),
            ("[\"a\"", "no JSON, at line 1"),
            ("{\"g\": 1}", "group `g` must be"),
            ("n[1-60000]\nm[1-60000]", "more than 100000"),
            ("<html>", "no host name"),
        ] {
            let why = parse(output.as_bytes()).err().unwrap_or_else(|| panic!("{output}"));
            assert!(why.contains(want), "{output}: {why}");
        }
        assert!(parse(b"\xff").err().unwrap().contains("UTF-8"));
    }

    #[test]
    fn groups_are_those_of_an_inventory_script() {
        let json = r#"{"gpu": {"hosts": ["g1", "g2"], "vars": {"ansible_user": "admin"}}, "login": ["l1"], "all": {"children": ["gpu"]},
            "_meta": {"hostvars": {"g2": {"ansible_host": "10.0.0.2", "ansible_user": "other"}}}}"#;
        let Ok(Output::Ansible(ansible)) = parse(json.as_bytes()) else { panic!("no groups") };
        let members = |group| ansible.members(group).unwrap_or_else(|f| panic!("{}", f.message)).hosts;
        let gpu = members(Some("gpu"));
        assert_eq!(gpu.iter().map(|h| (h.name.as_str(), h.settings.user.as_deref())).collect::<Vec<_>>(), [("g1", Some("admin")), ("g2", Some("other"))]);
        assert_eq!(gpu[1].settings.address.as_deref(), Some("10.0.0.2"));
        assert_eq!(members(None).len(), 3);
        assert_eq!(ansible.members(Some("logni")).err().unwrap().hint.as_deref(), Some("did you mean `login`?"));
    }
}
