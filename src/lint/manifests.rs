//! Rules on pull Secrets in a file of Kubernetes objects. What is wrong with them [`crate::format::kubernetes`] finds, for `import` too; here it
//! gets its rules and levels.

use crate::format::Holds;
use crate::format::kubernetes::{At, Fault, Weight, manifest as read, rule};
use crate::model::finding::{Finding, Findings, Level, Rule};

const fn of(id: &'static str, level: Level, title: &'static str, help: &'static str) -> Rule {
    Rule { id, level, title, help, password: false }
}

/// All of them, in the order of the README.
pub static MANIFEST_RULES: [Rule; 18] = [
    of(rule::SYNTAX, Level::Error, "a file that is no YAML or JSON", "kubectl refuses it too. Base64 is written as one line: `base64 -w0`."),
    of(
        rule::FIELD,
        Level::Error,
        "a key at a place where Kubernetes knows none, such as a label beside `labels:`",
        "kubectl refuses it, or drops it with --validate=false, and then nobody sees that it is missing. Indent it as a part of what it belongs to.",
    ),
    of(
        rule::LABEL,
        Level::Error,
        "a label or annotation that the API refuses, such as `true` without quotes",
        "Both are texts: write `\"true\"`. A label has at most 63 letters, digits, `-`, `_` and `.`.",
    ),
    of(
        rule::TYPE,
        Level::Error,
        "a pull Secret of another type",
        "The kubelet passes it over. Write `type: kubernetes.io/dockerconfigjson`. The type of a Secret that is there cannot be changed: delete it first.",
    ),
    of(rule::NO_KEY, Level::Error, "a pull Secret without `.dockerconfigjson`", "The API refuses it. The key begins with a dot."),
    of(rule::PLACEHOLDER, Level::Error, "an example's `<...>` that nobody replaced", "Write what the example speaks of."),
    of(
        rule::BASE64,
        Level::Error,
        "base64 that Kubernetes refuses, or of something else",
        "Write `base64 -w0` of the JSON as one line, or the JSON itself under `stringData`.",
    ),
    of(rule::JSON, Level::Error, "content that is no JSON of logins", "It is {\"auths\": {REGISTRY: {\"username\", \"password\", \"auth\"}}}."),
    of(
        rule::NO_AUTHS,
        Level::Error,
        "content without `auths`, or with none in it",
        "The API takes it and the kubelet finds no login. Write {\"auths\": ...} around the entries.",
    ),
    of(
        rule::STORE,
        Level::Error,
        "content of a config.json whose passwords a credential store has",
        "`docker login` put them there and not into the file. `regprov import docker-config --ask-helpers` gets them from there.",
    ),
    of(
        rule::ENTRY,
        Level::Error,
        "an entry without a login that the kubelet reads",
        "It reads `auth`, or `username` and `password`. One that it cannot decode fails every pull of the pods that name the Secret.",
    ),
    of(
        rule::KEY,
        Level::Error,
        "a key under which the kubelet finds no image",
        "Write the registry's host, without scheme and path; Docker Hub is `https://index.docker.io/v1/`.",
    ),
    of(rule::HUB_KEY, Level::Warning, "Docker Hub under a key that not every program looks up", "Write `https://index.docker.io/v1/`."),
    of(rule::PATH_KEY, Level::Warning, "a key with a path", "Programs differ in what they make of it. Write the host alone, or make two Secrets."),
    of(rule::NO_AUTH, Level::Warning, "an entry without `auth`", "Write it beside `username` and `password`: the base64 of `username:password`."),
    of(
        rule::RUNAI_NAMESPACE,
        Level::Warning,
        "Run:ai's label outside of the namespace `runai`",
        "Put the Secret there, or give it to service accounts instead.",
    ),
    of(
        rule::LAST_APPLIED,
        Level::Warning,
        "a copy of the Secret in an annotation of `kubectl apply`",
        "Use `kubectl apply --server-side`, and take it out: `kubectl annotate secret NAME kubectl.kubernetes.io/last-applied-configuration-`.",
    ),
    of(
        rule::PLAINTEXT,
        Level::Warning,
        "logins in a file",
        "Whoever reads the file has them. Seal them with `regprov import k8s-secret`, and change them if others have read it.",
    ),
];

/// Looks at the pull Secrets of a file by every rule. `file` is its name as the admin gave it.
pub fn manifest(file: &str, text: &str) -> Findings {
    let mut findings = Findings { resolved: true, secrets: Some(0), ..Findings::default() };
    let mut add = |at: At, fault: Fault, secret: &str| {
        let rule = MANIFEST_RULES.iter().find(|r| r.id == fault.rule).expect("a test demands a row for each fault's rule");
        let level = if fault.weight == Weight::Hint { rule.level } else { Level::Error };
        let what = fault.entry.map_or_else(|| secret.to_string(), |key| format!("{secret} \"{key}\""));
        let message = if what.is_empty() { fault.message } else { format!("{what}: {}", fault.message) };
        findings.found.push(Finding { rule, level, file: file.to_string(), line: at.line as u64, column: at.column as u64, message, hint: None });
    };
    match read(text) {
        Err(unread) => {
            let at = At { line: unread.line, column: 0 };
            let message = unread.message.replacen(&format!("line {}: ", unread.line), "", 1);
            add(at, Fault { rule: rule::SYNTAX, weight: Weight::Lost, entry: None, message }, "");
        }
        Ok(manifest) => {
            let logins = manifest.secrets.iter().flat_map(|s| &s.holdings).filter(|h| matches!(h.holds, Holds::Login(_))).count();
            let secrets = manifest.secrets.len();
            for secret in manifest.secrets {
                for (at, fault) in secret.faults {
                    add(at, fault, &secret.name);
                }
            }
            (findings.logins, findings.secrets) = (logins, Some(secrets));
        }
    }
    findings.found.sort_by(|a, b| (a.line, a.column, a.level, a.rule.id, &a.message).cmp(&(b.line, b.column, b.level, b.rule.id, &b.message)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_rule_that_says_what_it_is() {
        let ids: Vec<&str> = include_str!("../format/kubernetes/diagnose.rs")
            .lines()
            .filter(|l| l.contains("pub const ") && l.contains(": &str = \"k8s-"))
            .filter_map(|l| l.split('"').nth(1))
            .collect();
        assert_eq!(ids, MANIFEST_RULES.iter().map(|r| r.id).collect::<Vec<_>>());
        assert!(MANIFEST_RULES.is_sorted_by_key(|r| r.level), "errors first");
        for rule in &MANIFEST_RULES {
            assert!(!rule.title.is_empty() && rule.help.ends_with('.') && !rule.title.contains('|'), "{}", rule.id);
            assert!(super::super::RULES.iter().all(|r| r.id != rule.id), "{}", rule.id);
        }
    }
}
