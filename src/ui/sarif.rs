//! What `regprov lint` found as SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>), with what GitHub's code
//! scanning asks of it: every rule with its help, every result with a place in a file of the repository.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::line;
use super::lint::{hint, missed};
use crate::model::finding::{Finding, Findings, Level, Rule};

/// The document, with a final line feed. `root` is the directory that files are relative to: the repository's in a pipeline.
pub fn sarif(findings: &Findings, rules: &[Rule], root: &Path) -> String {
    let notifications: Vec<Value> = missed(findings).into_iter().map(|text| json!({"level": "note", "message": {"text": text}})).collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "regprov",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": notifications}],
            "results": findings.found.iter().map(|f| result(f, rules, root)).collect::<Vec<_>>(),
        }],
    });
    serde_json::to_string_pretty(&document).expect("strings, numbers and lists are JSON") + "\n"
}

fn rule(rule: &Rule) -> Value {
    // Code scanning knows a confidence that findings are not mistaken; what `apply` refuses is none.
    let precision = if rule.level == Level::Error { "very-high" } else { "high" };
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.title},
        "help": {"text": rule.help, "markdown": rule.help},
        "defaultConfiguration": {"level": rule.level.name()},
        "properties": {"tags": ["security"], "precision": precision, "looksAtPasswords": rule.password},
    })
}

fn result(finding: &Finding, rules: &[Rule], root: &Path) -> Value {
    let mut region = json!({"startLine": finding.line.max(1)});
    if finding.line > 0 && finding.column > 0 {
        region["startColumn"] = finding.column.into();
    }
    json!({
        "ruleId": finding.rule.id,
        "ruleIndex": rules.iter().position(|r| r.id == finding.rule.id),
        "level": finding.level.name(),
        "message": {"text": message(&format!("{}\n{}", line(&finding.message), hint(finding)))},
        "locations": [{"physicalLocation": {"artifactLocation": artifact(&finding.file, root), "region": region}}],
    })
}

/// A plain text message, in which brackets would make a link (SARIF 2.1.0, 3.11.6).
fn message(text: &str) -> String {
    text.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]")
}

/// A file below the root by its path from there, any other one by its whole path.
fn artifact(file: &str, root: &Path) -> Value {
    let path = plain(&root.join(file));
    match path.strip_prefix(plain(root)) {
        Ok(relative) => json!({"uri": encoded(relative), "uriBaseId": "%SRCROOT%"}),
        Err(_) => json!({"uri": format!("file://{}", encoded(&path))}),
    }
}

/// Without `.` and `..`, by the text alone.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

/// As RFC 3986 writes a path.
fn encoded(path: &Path) -> String {
    let mut out = String::new();
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => out.push(byte.into()),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_no_link() {
        assert_eq!(message(r"group `[x](http://e)` \ y"), r"group `\[x\](http://e)` \\ y");
    }

    #[test]
    fn files_are_named_from_the_root_of_the_repository() {
        #[track_caller]
        fn check(file: &str, want: Value) {
            assert_eq!(artifact(file, Path::new("/src/repo")), want);
        }
        let below = |uri: &str| json!({"uri": uri, "uriBaseId": "%SRCROOT%"});
        check("inventory.yml", below("inventory.yml"));
        check("./site/../vault.yml", below("vault.yml"));
        check("/src/repo/site a/väult#1.yml", below("site%20a/v%C3%A4ult%231.yml"));
        check("../other/i.yml", json!({"uri": "file:///src/other/i.yml"}));
        check("/etc/regprov/i.yml", json!({"uri": "file:///etc/regprov/i.yml"}));
        check("/src/repository/i.yml", json!({"uri": "file:///src/repository/i.yml"}));
    }
}
