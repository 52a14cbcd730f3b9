//! A rotation in a vault's text: the new password takes its place, the old one stands beside it as `previous` until every node has the new
//! one, and either of them goes.
//!
//! The old seal is moved as it stands: nobody has to open it for that, and it stays sealed for those that it was sealed for. A seal names its
//! account, which a rotation may change (a new robot account), so that of the old one stands beside it. So do its fingerprint, by which
//! whoever holds the audit key knows it on a node, and its end: they say nothing of the new one. The registry cannot change; another registry is another login.

use super::document::{VaultDocument, VaultLogin, VaultPrevious};
use super::edit::lines::{Lines, field, password_lines_of, scalar};
use super::edit::rest;
use super::is_age_file;
use crate::error::{Error, Result};
use crate::model::text::escape;

/// What takes the place of a login's account and password.
#[derive(Clone, Copy)]
pub struct NewPassword<'a> {
    /// The account.
    pub username: &'a str,
    /// When the new password ends; `None` where that is not known.
    pub expires: Option<&'a str>,
    /// Its fingerprint; `None` without an audit key.
    pub fingerprint: Option<&'a str>,
    /// It, sealed.
    pub armored: &'a str,
}

/// The text of `file` with the new password in the login `name`, and the old one as its `previous`. Other lines are byte for byte what they
/// were. Fails where the login has no password or a rotation is under way, and where its text cannot be spliced.
pub fn begin(file: &str, text: &str, name: &str, new: NewPassword<'_>) -> Result<String> {
    rewrite(file, text, name, |old| {
        let previous = match (&old.password, &old.previous) {
            (Some(password), None) if !is_age_file(password.trim().as_bytes()) => return Err("its password stands in the clear"),
            (Some(password), None) => VaultPrevious {
                username: old.username.clone(),
                expires: old.expires.clone(),
                fingerprint: old.fingerprint.clone(),
                password: Some(block(password)),
            },
            (_, Some(_)) => return Err("a rotation of it is under way already"),
            (None, None) => return Err("it has no password yet"),
        };
        Ok(VaultLogin {
            username: Some(new.username.to_string()),
            expires: new.expires.map(str::to_string),
            fingerprint: new.fingerprint.map(str::to_string),
            password: Some(block(new.armored)),
            previous: Some(previous),
            ..old.clone()
        })
    })
}

/// The text of `file` without the `previous` of the login `name`.
pub fn finish(file: &str, text: &str, name: &str) -> Result<String> {
    rewrite(file, text, name, |old| match old.previous {
        Some(_) => Ok(VaultLogin { previous: None, ..old.clone() }),
        None => Err(NONE),
    })
}

/// The text of `file` with what is `previous` in the login `name` in its old place, and what replaced it gone.
pub fn undo(file: &str, text: &str, name: &str) -> Result<String> {
    rewrite(file, text, name, |old| {
        let previous = old.previous.clone().ok_or(NONE)?;
        let password = previous.password.as_deref().ok_or("its `previous` has no password")?;
        Ok(VaultLogin {
            username: previous.username,
            expires: previous.expires,
            fingerprint: previous.fingerprint,
            password: Some(block(password)),
            previous: None,
            ..old.clone()
        })
    })
}

/// The text of `file` with this fingerprint in the `previous` of the login `name`.
pub fn set_fingerprint(file: &str, text: &str, name: &str, fingerprint: &str) -> Result<String> {
    rewrite(file, text, name, |old| {
        let previous = old.previous.clone().ok_or(NONE)?;
        let previous = VaultPrevious { fingerprint: Some(fingerprint.to_string()), password: previous.password.as_deref().map(block), ..previous };
        Ok(VaultLogin { previous: Some(previous), ..old.clone() })
    })
}

const NONE: &str = "no rotation of it is under way";

/// A password's text as a literal block holds it.
fn block(text: &str) -> String {
    format!("{}\n", text.trim())
}

/// Makes the login what `change` says, touching the lines of what differs alone; parsing the result says whether that was right.
fn rewrite(file: &str, text: &str, name: &str, change: impl FnOnce(&VaultLogin) -> std::result::Result<VaultLogin, &'static str>) -> Result<String> {
    let before = VaultDocument::parse(file, text)?;
    let cannot = |why: &str| Error::vault(format!("{file}: login `{}` cannot be rotated: {why}; nothing was written", escape(name)));
    let style = || cannot("its lines cannot be told from others").hint("write `logins:` and the login in block style, without anchors and tags");
    let old = before.login(name).ok_or_else(|| cannot("it does not stand here"))?;
    let want = change(old).map_err(cannot)?;
    let want = VaultLogin { password: want.password.as_deref().map(block), ..want };
    let lines = Lines::new(text);
    let (range, indent) = lines.fields_of(name).ok_or_else(style)?;
    let mut fields: Vec<String> = lines.lines[range.clone()].iter().map(|l| l.trim_end_matches(['\n', '\r']).to_string()).collect();
    // The lines of a key; none for one without a value.
    let plain = |key: &str, value: &Option<String>, indent: usize| value.iter().map(|v| format!("{:indent$}{key}: {}", "", scalar(v))).collect::<Vec<_>>();
    let sealed = |value: &Option<String>, indent: usize| value.iter().flat_map(|v| password_lines_of("password", v, indent, 2, "")).collect::<Vec<_>>();
    let previous = want.previous.iter().flat_map(|p| {
        let deeper = indent + 2;
        let head = vec![format!("{:indent$}previous:", "")];
        [
            head,
            plain("username", &p.username, deeper),
            plain("expires", &p.expires, deeper),
            plain("fingerprint", &p.fingerprint, deeper),
            sealed(&p.password, deeper),
        ]
        .concat()
    });
    // Each in its place; one that is missing behind the one before it.
    let mut behind = field(&fields, "registry", indent).0.end;
    for (key, is_same, mut new) in [
        ("username", old.username == want.username, plain("username", &want.username, indent)),
        ("expires", old.expires == want.expires, plain("expires", &want.expires, indent)),
        ("fingerprint", old.fingerprint == want.fingerprint, plain("fingerprint", &want.fingerprint, indent)),
        ("password", old.password.as_deref().map(block) == want.password, sealed(&want.password, indent)),
        ("previous", old.previous == want.previous, previous.collect()),
    ] {
        let (there, comment) = field(&fields, key, indent);
        if is_same {
            behind = if there.is_empty() { behind } else { there.end };
            continue;
        }
        if let Some(first) = new.first_mut() {
            first.push_str(&comment);
        }
        let at = match (there.is_empty(), key) {
            (false, _) => there,
            (true, "previous") => fields.len()..fields.len(),
            (true, _) => behind..behind,
        };
        behind = at.start + new.len();
        fields.splice(at, new);
    }
    let spliced = lines.replace(range, &fields);
    let owned = ["username", "expires", "fingerprint", "password", "previous"];
    let after = VaultDocument::parse(file, &spliced).map_err(|_| style())?;
    let is_wanted = after.login(name).is_some_and(|got| VaultLogin { password: got.password.as_deref().map(block), ..got.clone() } == want);
    if !is_wanted || rest(file, text, name, &owned)? != rest(file, &spliced, name, &owned).map_err(|_| style())? {
        return Err(style());
    }
    Ok(spliced)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "-----BEGIN AGE ENCRYPTED FILE-----\nbmV3\n-----END AGE ENCRYPTED FILE-----\n";

    /// The text of a case: `OLD` and `NEW` stand for the lines of seals, at their indentation.
    fn file(template: &str) -> String {
        let seal = |line: &str, word: &str| {
            let indent = line.len() - line.trim_start().len();
            NEW.replace("bmV3", word).lines().map(|l| format!("{:indent$}{l}\n", "")).collect::<String>()
        };
        let line = |line: &str| match line.trim() {
            "OLD" => seal(line, "b2xk"),
            "NEW" => seal(line, "bmV3"),
            _ => line.to_string(),
        };
        template.split_inclusive('\n').map(line).collect()
    }

    /// The new account and its end, a text before the rotation, and in it.
    const CASES: [(&str, Option<&str>, &str, &str); 6] = [
        // The account stays.
        (
            "alice",
            None,
            "logins:
  hub:
    registry: docker.io
    username: alice
    password: |
      OLD
",
            "logins:
  hub:
    registry: docker.io
    username: alice
    password: |
      NEW
    previous:
      username: alice
      password: |
        OLD
",
        ),
        // Another account, and both know when they end.
        (
            "robot$b",
            Some("2028-03-01"),
            "logins:
  hub:
    registry: docker.io
    username: robot$a
    expires: 2027-03-01
    password: |
      OLD
",
            "logins:
  hub:
    registry: docker.io
    username: robot$b
    expires: 2028-03-01
    password: |
      NEW
    previous:
      username: robot$a
      expires: 2027-03-01
      password: |
        OLD
",
        ),
        // That the old one ends says nothing of the new one.
        (
            "alice",
            None,
            "logins:
  hub:
    registry: docker.io
    username: alice
    expires: 2027-03-01
    canary: a/b
    password: |
      OLD
",
            "logins:
  hub:
    registry: docker.io
    username: alice
    canary: a/b
    password: |
      NEW
    previous:
      username: alice
      expires: 2027-03-01
      password: |
        OLD
",
        ),
        // Comments, other keys, other logins, and an order of one's own.
        (
            "'yes'",
            None,
            "# all
version: 1
logins: # two
  ngc: {registry: nvcr.io} # flow

  \"hub\": # Docker
    # sealed by alice
    password: |  # of 2026
      OLD
    username: 'a b' # robot
    registry: docker.io

  # last
  zz:
    registry: z.example
# end
defaults: {}
",
            "# all
version: 1
logins: # two
  ngc: {registry: nvcr.io} # flow

  \"hub\": # Docker
    # sealed by alice
    password: |  # of 2026
      NEW
    username: '''yes''' # robot
    registry: docker.io
    previous:
      username: a b
      password: |
        OLD

  # last
  zz:
    registry: z.example
# end
defaults: {}
",
        ),
        // Four spaces, and no line break at the end of the file.
        (
            "alice",
            None,
            "logins:
    hub:
        registry: docker.io
        username: alice
        password: |
          OLD
    b: {registry: b}",
            "logins:
    hub:
        registry: docker.io
        username: alice
        password: |
          NEW
        previous:
          username: alice
          password: |
            OLD
    b: {registry: b}",
        ),
        // An inventory with logins in it.
        (
            "alice",
            None,
            "version: 1
groups:
  hub: {hosts: a, logins: [hub], targets: [docker]}
logins:
  hub:
    registry: docker.io
    username: alice
    password: |
      OLD
hosts:
  a: {}
",
            "version: 1
groups:
  hub: {hosts: a, logins: [hub], targets: [docker]}
logins:
  hub:
    registry: docker.io
    username: alice
    password: |
      NEW
    previous:
      username: alice
      password: |
        OLD
hosts:
  a: {}
",
        ),
    ];

    #[track_caller]
    fn same(got: Result<String>, want: &str) {
        let got = got.unwrap();
        assert_eq!(got, want, "\n--- got\n{got}\n--- wanted\n{want}");
    }

    /// Undone, a file is byte for byte what it was, but that quotes which YAML does not need go.
    #[test]
    fn a_rotation_begins_and_is_undone_or_finished() {
        for crlf in [false, true] {
            let file = |t: &str| if crlf { file(t).replace('\n', "\r\n") } else { file(t) };
            for (username, expires, before, under_way) in CASES {
                let (before, under_way) = (file(before), file(under_way));
                same(begin("v.yml", &before, "hub", NewPassword { username, expires, fingerprint: None, armored: NEW }), &under_way);
                same(undo("v.yml", &under_way, "hub"), &before.replace("'a b'", "a b"));
                let finished = finish("v.yml", &under_way, "hub").unwrap();
                assert!(!finished.contains("previous") && !finished.contains("b2xk") && finished.contains("bmV3"), "{finished}");
                let gone = under_way.lines().skip_while(|l| l.trim() != "previous:").take_while(|l| !l.trim().starts_with("-----END"));
                assert_eq!(finished.lines().count() + gone.count() + 1, under_way.lines().count(), "nothing but `previous` goes:\n{finished}");
                assert!(finished.lines().all(|l| under_way.lines().any(|u| u == l)), "{finished}");
            }
        }
    }

    /// The fingerprint is that of its password alone, and goes with it.
    #[test]
    fn fingerprints_move_with_their_passwords() {
        let with = |text: &str, before: &str, line: &str| file(text).replacen(before, &format!("{line}{before}"), 1);
        let before = with(CASES[0].2, "    password: |", "    fingerprint: hmac-sha256:a:1\n");
        let moved = with(CASES[0].3, "      password: |\n        -", "      fingerprint: hmac-sha256:a:1\n");
        let both = moved.replacen("    password: |", "    fingerprint: hmac-sha256:a:2\n    password: |", 1);
        let new = NewPassword { username: "alice", expires: None, fingerprint: None, armored: NEW };
        same(begin("v.yml", &before, "hub", new), &moved);
        same(begin("v.yml", &before, "hub", NewPassword { fingerprint: Some("hmac-sha256:a:2"), ..new }), &both);
        for under_way in [&moved, &both] {
            same(undo("v.yml", under_way, "hub"), &before);
            assert!(!finish("v.yml", under_way, "hub").unwrap().contains("a:1"));
        }
        same(set_fingerprint("v.yml", &file(CASES[0].3), "hub", "hmac-sha256:a:1"), &moved);
        same(set_fingerprint("v.yml", &both.replace("a:1", "b:3"), "hub", "hmac-sha256:a:1"), &both);
        assert!(set_fingerprint("v.yml", &before, "hub", "hmac-sha256:a:1").is_err());
    }

    /// A seal in another style is one all the same; it is written as a block.
    #[test]
    fn other_styles_of_a_seal() {
        let quoted = "\"-----BEGIN AGE ENCRYPTED FILE-----\\nb2xk\\n-----END AGE ENCRYPTED FILE-----\\n\"";
        let stripped = format!("|-\n{}", file("      OLD\n").trim_end());
        let new = NewPassword { username: "alice", expires: None, fingerprint: None, armored: NEW };
        for style in [quoted, &stripped] {
            let before = format!("logins:\n  hub:\n    registry: docker.io\n    username: alice\n    password: {style}\n  # end\n");
            let under_way = begin("v.yml", &before, "hub", new).unwrap();
            assert_eq!(under_way, format!("{}  # end\n", file(CASES[0].3)));
            let flow = under_way.replace(
                &file("    previous:\n      username: alice\n      password: |\n        OLD\n"),
                &format!("    previous: {{username: bob, password: {quoted}}}\n"),
            );
            assert_eq!(finish("v.yml", &flow, "hub").unwrap(), finish("v.yml", &under_way, "hub").unwrap());
            assert_eq!(undo("v.yml", &flow, "hub").unwrap(), format!("{}  # end\n", file(CASES[0].2).replace("alice", "bob")));
        }
    }

    #[test]
    fn what_cannot_be_rotated_is_refused() {
        let new = NewPassword { username: "alice", expires: None, fingerprint: None, armored: NEW };
        #[track_caller]
        fn refused(got: Result<String>, part: &str) {
            let error = got.expect_err("refused").to_string();
            assert!(error.contains(part) && error.contains("v.yml") && error.contains("nothing was written") && !error.contains("hunter2"), "{error}");
        }
        let (before, under_way) = (file(CASES[0].2), file(CASES[0].3));
        refused(begin("v.yml", &under_way, "hub", new), "under way already");
        refused(begin("v.yml", &before, "ngc", new), "does not stand here");
        refused(begin("v.yml", "logins:\n  hub: {registry: docker.io, username: alice}\n", "hub", new), "no password yet");
        refused(begin("v.yml", "logins:\n  hub:\n    registry: docker.io\n    password: hunter2\n", "hub", new), "in the clear");
        let flow = "logins:\n  hub: {password: \"-----BEGIN AGE ENCRYPTED FILE-----\\nb2xk\\n-----END AGE ENCRYPTED FILE-----\"}\n";
        refused(begin("v.yml", flow, "hub", new), "block style");
        let borrowed = before.replace("username: alice", "username: &a alice") + "  other:\n    username: *a\n";
        refused(begin("v.yml", &borrowed, "hub", NewPassword { username: "bob", ..new }), "block style");
        refused(begin("v.yml", &format!("{}  other: *h\n", before.replace("hub:", "hub: &h")), "hub", new), "block style");
        refused(finish("v.yml", &before, "hub"), "no rotation of it is under way");
        refused(undo("v.yml", &before, "hub"), "no rotation of it is under way");
        refused(undo("v.yml", "logins:\n  hub:\n    previous:\n      username: a\n", "hub"), "has no password");
    }
}
