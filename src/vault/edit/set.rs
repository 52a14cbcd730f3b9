//! Setting one login: its fields and its seal.

use std::ops::Range;

use super::lines::{Lines, field, password_lines_of, scalar, split_comment};
use crate::error::{Error, Result};
use crate::model::text::escape;
use crate::vault::document::{VaultDocument, VaultLogin, quiet, yaml_error};

/// What a login shall be in the file.
#[derive(Clone, Copy)]
pub struct LoginText<'a> {
    /// The registry's name, normalised.
    pub registry: &'a str,
    /// The account.
    pub username: &'a str,
    /// When it ends; `None` leaves what is there.
    pub expires: Option<&'a str>,
    /// The fingerprint of the password; `None` takes away what is there, which would be that of another password.
    pub fingerprint: Option<&'a str>,
    /// A repository that it is to pull; `None` leaves what is there.
    pub canary: Option<&'a str>,
    /// The sealed password.
    pub armored: &'a str,
}

/// The text of `file` with the login `name` as wanted. Other lines are byte for byte what they were; so are lines of this
/// login that already say what is wanted, its comments and its other keys. Fails where the file is no YAML, or where the
/// login stands in a form that cannot be spliced; the message says how to write it instead.
pub fn set_login(file: &str, text: &str, name: &str, want: LoginText<'_>) -> Result<String> {
    let before = VaultDocument::parse(file, text)?;
    let old = before.login(name);
    old.map_or(Ok(()), |old| old.settable(file, name))?;
    let spliced = splice(text, name, want, old, before.logins().next().is_some()).map_err(|why| {
        Error::vault(format!("{file}: login `{}` cannot be set here: {why}", escape(name))).hint(
            "write it in block style, as in\n    logins:\n      ngc:\n        registry: nvcr.io\n        username: $oauthtoken\n        password: |\n          ...",
        )
    })?;
    verify(file, text, &spliced, name, want, old)?;
    Ok(spliced)
}

/// The text of `file` with this sealed password of sudo as its `become_password`. Other lines are byte for byte what they were.
pub fn set_become(file: &str, text: &str, armored: &str) -> Result<String> {
    const KEY: &str = "become_password";
    let before = VaultDocument::parse(file, text)?;
    let lines = Lines::new(text);
    let all = 0..lines.lines.len();
    let new = password_lines_of(KEY, armored, 0, 2, "");
    let spliced = match lines.find_key(KEY, 0, all.clone()) {
        Some((at, value)) => {
            let comment = split_comment(value).1;
            lines.replace(at..lines.value_of(at, 0, &all).end, &password_lines_of(KEY, armored, 0, 2, comment))
        }
        // Before the logins, so that it is seen; behind everything where there are none.
        None => {
            let at = lines.find_key("logins", 0, all.clone()).map_or(all.end, |(at, _)| at);
            lines.replace(at..at, &new)
        }
    };
    let value = |text: &str| -> Result<serde_json::Value> {
        let mut value: serde_json::Value = serde_yaml::from_str_with_options(text, quiet()).map_err(|e| yaml_error(file, &e))?;
        if let Some(top) = value.as_object_mut() {
            top.shift_remove(KEY);
        }
        Ok(if value.is_null() { serde_json::Value::Object(Default::default()) } else { value })
    };
    let wrong = || {
        Error::vault(format!("{file}: `{KEY}` cannot be set here without touching something else; nothing was written"))
            .hint("write the file in block style, without anchors and tags; `become_password: |` stands at the left margin")
    };
    let after = VaultDocument::parse(file, &spliced).map_err(|_| wrong())?;
    let one = before.become_password.is_some() == lines.find_key(KEY, 0, all).is_some();
    if !one || after.become_password.as_deref() != Some(armored) || value(text)? != value(&spliced).map_err(|_| wrong())? {
        return Err(wrong());
    }
    Ok(spliced)
}

/// The text of `file` with this fingerprint in the login `name`, which is there; other lines, its seal among them, are byte for byte what
/// they were.
pub fn set_fingerprint(file: &str, text: &str, name: &str, fingerprint: &str) -> Result<String> {
    let before = VaultDocument::parse(file, text)?;
    let wrong = || {
        Error::vault(format!("{file}: the fingerprint of login `{}` cannot be set here without touching something else; nothing was written", escape(name)))
            .hint("write `logins:` and the login in block style, without anchors and tags")
    };
    let old = before.login(name).ok_or_else(wrong)?;
    let lines = Lines::new(text);
    let (fields, indent) = lines.fields_of(name).ok_or_else(wrong)?;
    let new = |comment: &str| vec![format!("{:indent$}fingerprint: {}{comment}", "", scalar(fingerprint))];
    let spliced = match lines.find_key("fingerprint", indent, fields.clone()) {
        Some((at, value)) => lines.replace(at..lines.value_of(at, indent, &fields).end, &new(split_comment(value).1)),
        // Before the seal, as `set` has it.
        None => {
            let (at, _) = lines.find_key("password", indent, fields).ok_or_else(wrong)?;
            lines.replace(at..at, &new(""))
        }
    };
    let after = VaultDocument::parse(file, &spliced).map_err(|_| wrong())?;
    let want = VaultLogin { fingerprint: Some(fingerprint.to_string()), ..old.clone() };
    if after.login(name) != Some(&want) || rest(file, text, name, &["fingerprint"])? != rest(file, &spliced, name, &["fingerprint"]).map_err(|_| wrong())? {
        return Err(wrong());
    }
    Ok(spliced)
}

/// Demands that only this login changed, and that it is as wanted.
fn verify(file: &str, before: &str, after: &str, name: &str, want: LoginText<'_>, old: Option<&VaultLogin>) -> Result<()> {
    let wrong = || {
        Error::vault(format!("{file}: login `{}` cannot be set here without touching something else; nothing was written", escape(name)))
            .hint("write `logins:` and the login in block style, without anchors and tags")
    };
    let got = VaultDocument::parse(file, after).map_err(|_| wrong())?;
    let want = VaultLogin {
        registry: Some(want.registry.to_string()),
        username: Some(want.username.to_string()),
        expires: want.expires.map(str::to_string).or_else(|| old.and_then(|o| o.expires.clone())),
        fingerprint: want.fingerprint.map(str::to_string),
        canary: want.canary.map(str::to_string).or_else(|| old.and_then(|o| o.canary.clone())),
        password: Some(want.armored.to_string()),
        password_command: old.and_then(|o| o.password_command.clone()),
        password_file: old.and_then(|o| o.password_file.clone()),
        auth_hosts: old.and_then(|o| o.auth_hosts.clone()),
        previous: old.and_then(|o| o.previous.clone()),
    };
    let fields = ["registry", "username", "expires", "fingerprint", "canary", "password"];
    if got.login(name) != Some(&want) || rest(file, before, name, &fields)? != rest(file, after, name, &fields).map_err(|_| wrong())? {
        return Err(wrong());
    }
    Ok(())
}

/// The document's value without the fields that `set` owns, and without `logins` when nothing else is in it.
pub(in crate::vault) fn rest(file: &str, text: &str, name: &str, fields: &[&str]) -> Result<serde_json::Value> {
    use serde_json::Value;
    let mut value: Value = serde_yaml::from_str_with_options(text, quiet()).map_err(|e| yaml_error(file, &e))?;
    if value.is_null() {
        value = Value::Object(Default::default());
    }
    let Some(top) = value.as_object_mut() else { return Ok(value) };
    let mut empty = matches!(top.get("logins"), None | Some(Value::Null));
    if let Some(logins) = top.get_mut("logins").and_then(Value::as_object_mut) {
        if let Some(login) = logins.get_mut(name).and_then(Value::as_object_mut) {
            fields.iter().for_each(|field| drop(login.shift_remove(*field)));
        }
        if logins.get(name).is_some_and(|l| l.is_null() || l.as_object().is_some_and(serde_json::Map::is_empty)) {
            logins.shift_remove(name);
        }
        empty = logins.is_empty();
    }
    if empty {
        top.shift_remove("logins");
    }
    Ok(value)
}

fn splice(text: &str, name: &str, want: LoginText<'_>, old: Option<&VaultLogin>, has_logins: bool) -> std::result::Result<String, String> {
    let file = Lines::new(text);
    let all = 0..file.lines.len();
    let Some((at, value)) = file.find_key("logins", 0, all.clone()) else {
        if has_logins {
            return Err("`logins` is not a key at the left margin".into());
        }
        let mut new = vec!["logins:".to_string()];
        new.extend(new_login(name, want, 2, 2));
        return Ok(file.replace(all.end..all.end, &new));
    };
    let (value, comment) = split_comment(value);
    if matches!(value, "{}" | "~" | "null") && !has_logins {
        let mut new = vec![format!("logins:{comment}")];
        new.extend(new_login(name, want, 2, 2));
        return Ok(file.replace(at..at + 1, &new));
    }
    if !value.is_empty() {
        return Err("`logins` is not in block style".into());
    }
    let logins = file.value_of(at, 0, &all);
    let indent = logins.clone().find_map(|i| file.indent(i)).unwrap_or(2);
    let Some((key, value)) = file.find_key(name, indent, logins.clone()) else {
        if old.is_some() {
            return Err("its key could not be found in block style".into());
        }
        let step = logins.clone().filter_map(|i| file.indent(i)).find(|n| *n > indent).map_or(2, |n| n - indent);
        return Ok(file.replace(logins.end..logins.end, &new_login(name, want, indent, step)));
    };
    if !split_comment(value).0.is_empty() {
        return Err("it is not in block style".into());
    }
    let fields = file.value_of(key, indent, &logins);
    let field_indent = fields.clone().find_map(|i| file.indent(i)).unwrap_or(indent + 2);
    Ok(set_fields(&file, fields, field_indent, want, old))
}

/// Rewrites the fields of an existing login that differ, and adds those that are missing.
fn set_fields(file: &Lines<'_>, fields: Range<usize>, indent: usize, want: LoginText<'_>, old: Option<&VaultLogin>) -> String {
    let mut lines: Vec<String> = file.lines[fields.clone()].iter().map(|l| l.trim_end_matches(['\n', '\r']).to_string()).collect();
    let old_text = |get: fn(&VaultLogin) -> &Option<String>| old.and_then(|o| get(o).as_deref());
    let wanted = [
        ("registry", Some(want.registry), old_text(|o| &o.registry)),
        ("username", Some(want.username), old_text(|o| &o.username)),
        ("expires", want.expires, old_text(|o| &o.expires)),
        ("fingerprint", want.fingerprint, old_text(|o| &o.fingerprint)),
        ("canary", want.canary, old_text(|o| &o.canary)),
    ];
    // Where a missing field goes: behind the field before it in this order.
    let mut behind = 0;
    for (name, want, old) in wanted {
        let (range, comment) = field(&lines, name, indent);
        behind = if range.is_empty() { behind } else { range.end };
        match want {
            Some(want) if old != Some(want) => {
                let at = if range.is_empty() { behind..behind } else { range };
                behind = at.start + 1;
                lines.splice(at, [format!("{:indent$}{name}: {}{comment}", "", scalar(want))]);
            }
            None if name == "fingerprint" && !range.is_empty() => {
                behind = range.start.min(behind);
                lines.drain(range);
            }
            _ => {}
        }
    }
    let (range, comment) = field(&lines, "password", indent);
    let at = if range.is_empty() { lines.len()..lines.len() } else { range };
    lines.splice(at, password_lines(want.armored, indent, 2, comment.as_str()));
    file.replace(fields, &lines)
}

fn new_login(name: &str, want: LoginText<'_>, indent: usize, step: usize) -> Vec<String> {
    let inner = indent + step;
    let mut lines = vec![
        format!("{:indent$}{}:", "", scalar(name)),
        format!("{:inner$}registry: {}", "", scalar(want.registry)),
        format!("{:inner$}username: {}", "", scalar(want.username)),
    ];
    lines.extend(want.expires.map(|e| format!("{:inner$}expires: {}", "", scalar(e))));
    lines.extend(want.fingerprint.map(|f| format!("{:inner$}fingerprint: {}", "", scalar(f))));
    lines.extend(want.canary.map(|c| format!("{:inner$}canary: {}", "", scalar(c))));
    lines.extend(password_lines(want.armored, inner, step, ""));
    lines
}

fn password_lines(armored: &str, indent: usize, step: usize, comment: &str) -> Vec<String> {
    password_lines_of("password", armored, indent, step, comment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARMOR: &str = "-----BEGIN AGE ENCRYPTED FILE-----\nbmV3\n-----END AGE ENCRYPTED FILE-----\n";

    const WANT: LoginText<'_> = LoginText { registry: "nvcr.io", username: "$oauthtoken", expires: None, fingerprint: None, canary: None, armored: ARMOR };

    #[track_caller]
    fn check(before: &str, name: &str, want: LoginText<'_>, after: &str) {
        let got = set_login("v.yml", before, name, want).unwrap();
        assert_eq!(got, after, "\n--- got\n{got}\n--- wanted\n{after}");
    }

    #[track_caller]
    fn refused(before: &str, name: &str) {
        let error = set_login("v.yml", before, name, WANT).expect_err("refused").to_string();
        assert!(error.contains("v.yml") && !error.contains("hunter2"), "{error}");
    }

    const NGC: &str = "  ngc:
    registry: nvcr.io
    username: $oauthtoken
    password: |
      -----BEGIN AGE ENCRYPTED FILE-----
      bmV3
      -----END AGE ENCRYPTED FILE-----
";

    #[test]
    fn the_password_of_sudo_is_spliced_in() {
        let seal = |body: &str| ARMOR.replace("bmV3", body);
        let lines = |body: &str| seal(body).lines().map(|l| format!("  {l}\n")).collect::<String>();
        for (before, after) in [
            ("", "become_password: |\n@"),
            ("version: 1 # one\nlogins: {}\n# end\n", "version: 1 # one\nbecome_password: |\n@logins: {}\n# end\n"),
            ("version: 1", "version: 1\nbecome_password: |\n@"),
            ("become_password: hunter2 # x\n\nlogins: {}\n", "become_password: | # x\n@\nlogins: {}\n"),
        ] {
            let got = set_become("v.yml", before, &seal("bmV3")).unwrap();
            assert_eq!(got, after.replace('@', &lines("bmV3")), "{before:?}");
            assert_eq!(set_become("v.yml", &got, &seal("b2xk")).unwrap(), after.replace('@', &lines("b2xk")));
        }
        for before in ["{version: 1}\n", "{become_password: hunter2}\n"] {
            let error = set_become("v.yml", before, &seal("bmV3")).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_new_login() {
        check("", "ngc", WANT, &format!("logins:\n{NGC}"));
        check("version: 1\n", "ngc", WANT, &format!("version: 1\nlogins:\n{NGC}"));
        check("version: 1", "ngc", WANT, &format!("version: 1\nlogins:\n{NGC}"));
        check("---\nlogins: {}\n", "ngc", WANT, &format!("---\nlogins:\n{NGC}"));
        check(
            "recipients:\n- age1x\n\nlogins:\n\n  # hub\n  hub:\n    registry: docker.io\n",
            "ngc",
            WANT,
            &format!("recipients:\n- age1x\n\nlogins:\n\n  # hub\n  hub:\n    registry: docker.io\n{NGC}"),
        );
        check("logins: {}\nversion: 1\n", "ngc", WANT, &format!("logins:\n{NGC}version: 1\n"));
        check("logins: {} # none\n", "ngc", WANT, &format!("logins: # none\n{NGC}"));
        check("logins:\n# none\nversion: 1\n", "ngc", WANT, &format!("logins:\n{NGC}# none\nversion: 1\n"));
        check(
            "logins: # all\n  hub:\n    registry: docker.io\n\n# end\nversion: 1\n",
            "ngc",
            WANT,
            &format!("logins: # all\n  hub:\n    registry: docker.io\n{NGC}\n# end\nversion: 1\n"),
        );
        check("logins:\n  hub: {registry: docker.io}\n", "ngc", WANT, &format!("logins:\n  hub: {{registry: docker.io}}\n{NGC}"));
        check("'logins':\n  hub: {registry: docker.io}", "ngc", WANT, &format!("'logins':\n  hub: {{registry: docker.io}}\n{NGC}"));
    }

    #[test]
    fn a_new_login_takes_the_indentation_of_the_others() {
        let want = NGC.lines().map(|l| format!("{}{l}\n", " ".repeat(l.len() - l.trim_start().len()))).collect::<String>();
        check("logins:\n    hub:\n        registry: docker.io\n", "ngc", WANT, &format!("logins:\n    hub:\n        registry: docker.io\n{want}"));
    }

    #[test]
    fn an_existing_login_keeps_what_does_not_change() {
        let file = |password: &str| {
            format!(
                "# vault of alice\nversion: 1\nlogins:\n  hub: # Docker\n    username: \"acme\"   # quoted\n    registry: 'docker.io'\n    password: |\n      old\n    # before ngc\n\n  \"ngc\": # NVIDIA\n    # a note\n    password: |  # sealed\n{password}    username: '$oauthtoken' # literal\n    expires: 2027-03-01\n    registry: nvcr.io\n\n  # the end\ndefaults: {{user: root}}\n"
            )
        };
        let sealed: String = ARMOR.lines().map(|l| format!("      {l}\n")).collect();
        check(&file("      older\n      oldest\n"), "ngc", WANT, &file(&sealed));
    }

    #[test]
    fn changed_fields_change_their_lines_alone() {
        let before =
            format!("logins:\n{}", NGC.replace("nvcr.io", "'old.example.org' # moves soon").replace("username", "note: |\n      keep: this\n    username"));
        let after = format!("logins:\n{}", NGC.replace("nvcr.io", "nvcr.io # moves soon").replace("username", "note: |\n      keep: this\n    username"));
        check(&before, "ngc", WANT, &after);
        let expiring = LoginText { expires: Some("2027-03-01"), ..WANT };
        let with_expiry = format!("logins:\n{}", NGC.replace("    password", "    expires: 2027-03-01\n    password"));
        check(&format!("logins:\n{NGC}"), "ngc", expiring, &with_expiry);
        check(&with_expiry, "ngc", expiring, &with_expiry);
        check(&with_expiry.replace("2027-03-01", "2026-01-01 # ask bob"), "ngc", expiring, &with_expiry.replace("2027-03-01", "2027-03-01 # ask bob"));
        check(&with_expiry, "ngc", WANT, &with_expiry);
    }

    #[test]
    fn a_fingerprint_goes_with_its_password() {
        let with = |f: &str| format!("logins:\n{}", NGC.replace("    password", &format!("    fingerprint: {f}\n    password")));
        let (none, one) = (format!("logins:\n{NGC}"), LoginText { fingerprint: Some("hmac-sha256:a:1"), ..WANT });
        check("", "ngc", one, &with("hmac-sha256:a:1"));
        check(&none, "ngc", one, &with("hmac-sha256:a:1"));
        check(&with("'old' # of bob"), "ngc", one, &with("hmac-sha256:a:1 # of bob"));
        check(&with("old"), "ngc", WANT, &none);
        let set = |before: &str| set_fingerprint("v.yml", before, "ngc", "hmac-sha256:a:1").map_err(|e| e.to_string());
        assert_eq!(set(&none), Ok(with("hmac-sha256:a:1")));
        assert_eq!(set(&with("old   # x")), Ok(with("hmac-sha256:a:1   # x")));
        assert_eq!(set(&none.replace('\n', "\r\n")), Ok(with("hmac-sha256:a:1").replace('\n', "\r\n")));
        let tail = format!("{none}  hub: {{registry: docker.io}} # mine\nversion: 1\n");
        assert_eq!(set(&tail), Ok(tail.replace("    password", "    fingerprint: hmac-sha256:a:1\n    password")));
        for before in [
            "logins: {}\n",
            "logins: {ngc: {password: hunter2}}\n",
            "logins:\n  ngc: {password: hunter2}\n",
            "logins:\n  ngc: &n\n    password: hunter2\n  hub: *n\n",
        ] {
            let error = set(before).unwrap_err();
            assert!(error.contains("v.yml") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_canary_is_set_and_stays() {
        let pulls = LoginText { canary: Some("nvidia/cuda"), ..WANT };
        let with_canary = format!("logins:\n{}", NGC.replace("    password", "    canary: nvidia/cuda\n    password"));
        check("logins: {}\n", "ngc", pulls, &with_canary);
        check(&format!("logins:\n{NGC}"), "ngc", pulls, &with_canary);
        check(&with_canary, "ngc", WANT, &with_canary);
        check(&with_canary.replace("nvidia/cuda", "old # ask bob"), "ngc", pulls, &with_canary.replace("nvidia/cuda", "nvidia/cuda # ask bob"));
    }

    #[test]
    fn missing_fields_are_added() {
        check("logins:\n  ngc:\n  hub: {}\n", "ngc", WANT, &format!("logins:\n{NGC}  hub: {{}}\n"));
        check("logins:\n  ngc:\n    username: $oauthtoken\n", "ngc", WANT, &format!("logins:\n{}", NGC));
        check("logins:\n  ngc:\n    password: old\n", "ngc", WANT, &format!("logins:\n{NGC}"));
    }

    #[test]
    fn line_breaks_stay_as_they_are() {
        let crlf = |s: &str| s.replace('\n', "\r\n");
        check(&crlf("version: 1\nlogins: {}\n"), "ngc", WANT, &crlf(&format!("version: 1\nlogins:\n{NGC}")));
        check(&crlf(&format!("logins:\n{}", NGC.replace("bmV3", "b2xk"))), "ngc", WANT, &crlf(&format!("logins:\n{NGC}")));
    }

    #[test]
    fn what_cannot_be_spliced_is_refused() {
        refused("logins: {ngc: {registry: nvcr.io}}\n", "ngc");
        refused("logins:\n  ngc: {registry: nvcr.io, password: hunter2}\n", "ngc");
        refused("logins:\n  ngc: &n\n    registry: nvcr.io\n  other: *n\n", "ngc");
        refused("{version: 1, logins: {ngc: {registry: x}}}\n", "hub");
        refused("{version: 1}\n", "ngc");
        refused("- a\n- b\n", "ngc");
        refused("logins:\n  ? ngc\n  : registry: nvcr.io\n", "ngc");
        refused("version: 1\n...\n", "ngc");
        refused("logins: hunter2\n", "ngc");
        refused("note: |\n  x\nbase: &b\n  hub: {registry: docker.io}\nlogins:\n  <<: *b\n  hunter: hunter2\n", "ngc");
    }

    #[test]
    fn a_login_others_borrow_from_is_refused() {
        refused("logins:\n  ngc:\n    registry: &r old.example.org\n    username: a\n  other:\n    registry: *r\n", "ngc");
    }

    #[test]
    fn text_that_only_looks_like_a_login_is_left_alone() {
        let note = "note: |\n  logins:\n    ngc:\n      registry: evil\n";
        check(note, "ngc", WANT, &format!("{note}logins:\n{NGC}"));
    }

    /// A scalar reads back as the same string, also for readers that guess types from plain words.
    #[test]
    fn scalars_are_quoted_where_yaml_needs_it() {
        #[derive(serde::Deserialize)]
        struct One {
            k: String,
        }
        let strict = serde_yaml::options! { no_schema: true, with_snippet: false };
        for (text, plain) in [
            ("$oauthtoken", true),
            ("robot$ci", true),
            ("robot$test_library+gpu_default", true),
            ("CORP\\jdoe", true),
            ("_json_key", true),
            ("alice@example.org", true),
            ("harbor.example.org:8443", true),
            ("2027-03-01", true),
            ("yes", false),
            ("No", false),
            ("null", false),
            ("~", false),
            ("123", false),
            ("1e3", false),
            ("0x1f", false),
            ("1:30", false),
            (".inf", false),
            ("#x", false),
            ("a #b", false),
            ("a: b", false),
            ("a:", false),
            ("- a", false),
            ("", false),
            (" a", false),
            ("a ", false),
            ("it's", false),
            ("\"q\"", false),
            ("[::1]:5000", false),
            ("*x", false),
            ("!x", false),
            ("%x", false),
            ("@x", false),
            ("a\tb", false),
            ("a\u{7f}\"\\b", false),
            ("ünï", false),
            ("a\u{202e}\\", false),
            ("\u{feff}\u{fffe}\u{ffff}", false),
        ] {
            let written = scalar(text);
            assert_eq!(written == text, plain, "{text:?} as {written}");
            let read: One = serde_yaml::from_str_with_options(&format!("k: {written}\n"), strict.clone()).unwrap_or_else(|_| panic!("{written}"));
            assert_eq!(read.k, text, "{written}");
        }
        for user in ["$oauthtoken", "robot$ci", "CORP\\jdoe", "yes", "123", "#x", "it's", "a\tb"] {
            let after = set_login("v.yml", "logins: {}\n", "ngc", LoginText { username: user, ..WANT }).unwrap();
            assert_eq!(VaultDocument::parse("v.yml", &after).unwrap().login("ngc").unwrap().username.as_deref(), Some(user));
        }
    }

    /// What is not seen, or turns around what is, stands as an escape; what is seen stays.
    #[test]
    fn what_is_not_seen_is_escaped() {
        for (username, line) in [
            ("robot$base\u{202e}+gpu", r#"username: "robot$base\u202e+gpu""#),
            ("a\u{2066}b\u{2069}", r#"username: "a\u2066b\u2069""#),
            ("a\u{200b}\u{200d}\u{2060}\u{feff}b", r#"username: "a\u200b\u200d\u2060\ufeffb""#),
            ("a\u{2028}b\u{2029}", r#"username: "a\u2028b\u2029""#),
            ("a\u{9b}31m\u{85}\u{1b}\u{7f}", r#"username: "a\x9b31m\x85\x1b\x7f""#),
            ("a\u{a0}b\u{ad}", r#"username: "a\xa0b\xad""#),
            ("tag\u{e0041}\u{e007f}", r#"username: "tag\U000e0041\U000e007f""#),
            (r#"CORP\"j"#, r#"username: 'CORP\"j'"#),
            ("CORP\\\"j\u{202e}\\", r#"username: "CORP\\\"j\u202e\\""#),
            ("jörg-日本-\u{1f600}", "username: 'jörg-日本-\u{1f600}'"),
        ] {
            let after = format!("logins:\n{}", NGC.replace("username: $oauthtoken", line));
            check("logins: {}\n", "ngc", LoginText { username, ..WANT }, &after);
            assert_eq!(VaultDocument::parse("v.yml", &after).unwrap().login("ngc").unwrap().username.as_deref(), Some(username));
            // Its comment stays when it changes, and the line when it does not.
            let noted = after.replace(line, &format!("{line} # of bob"));
            check(&noted, "ngc", LoginText { username, ..WANT }, &noted);
            check(&noted, "ngc", LoginText { username: "acme", ..WANT }, &after.replace(line, "username: acme # of bob"));
        }
    }

    proptest::proptest! {
        /// Whatever a username is, it comes back; lines of other logins stay byte for byte.
        #[test]
        fn any_username_round_trips(username in "[^:\0\r\n]{1,24}", first in proptest::bool::ANY) {
            let other = "  zzz: # mine\n    registry: 'docker.io'\n\n    username: \"acme\"\n    password: |\n      x\n  # tail\n";
            let own = "  ngc:\n    # kept\n    password: x\n";
            let before = if first { format!("# top\nlogins:\n{own}{other}defaults: {{}}\n") } else { format!("# top\nlogins:\n{other}{own}defaults: {{}}\n") };
            let after = set_login("v.yml", &before, "ngc", LoginText { username: &username, ..WANT }).unwrap();
            let kept = ["# top\nlogins:\n", other, "    # kept\n", "defaults: {}\n"].iter().all(|part| after.contains(part));
            proptest::prop_assert!(kept);
            let document = VaultDocument::parse("v.yml", &after).unwrap();
            proptest::prop_assert_eq!(document.login("ngc").unwrap().username.as_deref(), Some(username.as_str()));
            let strict = serde_yaml::options! { no_schema: true, with_snippet: false };
            let one: std::collections::BTreeMap<String, String> = serde_yaml::from_str_with_options(&format!("k: {}\n", scalar(&username)), strict).unwrap();
            proptest::prop_assert_eq!(&one["k"], &username);
            // A second time with another seal: only the seal's line differs.
            let again = set_login("v.yml", &after, "ngc", LoginText { username: &username, armored: &ARMOR.replace("bmV3", "b2xk"), ..WANT }).unwrap();
            proptest::prop_assert_eq!(again, after.replace("bmV3", "b2xk"));
        }
    }
}
