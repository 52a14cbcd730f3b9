//! The sample pipelines: YAML that reads, no secret where a merge request's author decides what runs, and only command lines that
//! this regprov understands.

use std::fs;
use std::path::Path;

use clap::Parser;
use regprov::cli::Cli;
use serde_json::Value;

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci").join(name);
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The command lines of regprov in a job.
fn commands(job: &Value, found: &mut Vec<String>) {
    match job {
        Value::String(text) => found.extend(text.lines().map(str::trim).filter(|l| l.starts_with("regprov ")).map(str::to_string)),
        Value::Array(items) => items.iter().for_each(|v| commands(v, found)),
        Value::Object(map) => map.values().for_each(|v| commands(v, found)),
        _ => {}
    }
}

/// What stands beside the jobs is inherited by all of them.
#[track_caller]
fn no_secret_for_all_jobs(file: &Value, jobs: &[&str]) {
    for (key, value) in file.as_object().unwrap().iter().filter(|(key, _)| !jobs.contains(&key.as_str())) {
        assert!(!holds_secret(value), "`{key}` hands a secret to every job");
        assert!(value.get("script").is_none(), "`{key}` is a job that this test does not know");
    }
}

fn holds_secret(part: &Value) -> bool {
    let text = part.to_string();
    ["secrets.", "REGPROV_IDENTITY", "REGPROV_SSH_KEY", "environment"].iter().any(|word| text.contains(word))
}

/// Checks one job: whether it may have secrets, and the verbs it runs.
#[track_caller]
fn check(job: &Value, secrets: bool, want: &[&str]) {
    let text = job.to_string();
    assert_eq!(holds_secret(job), secrets, "{text}");
    let mut found = Vec::new();
    commands(job, &mut found);
    let verbs: Vec<&str> = found.iter().map(|l| if l.contains("--check") { "check" } else { l.split(' ').nth(1).unwrap() }).collect();
    assert_eq!(verbs, want, "{text}");
    for line in &found {
        let words = line.split(" > ").next().unwrap().split_whitespace().map(|w| w.trim_matches('"'));
        Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn a_pull_request_on_github_gets_no_secret() {
    let file = sample("github.yml");
    let jobs = &file["jobs"];
    assert_eq!(jobs["read"]["if"], "github.event_name == 'pull_request'");
    assert_eq!(jobs["read"]["runs-on"], "ubuntu-latest", "a runner inside the network must not run what a stranger proposes");
    check(&jobs["read"], false, &["hosts"]);
    for (name, verb) in [("check", "check"), ("apply", "apply")] {
        assert_eq!(jobs[name]["if"], "github.event_name == 'push' && github.ref == 'refs/heads/main'");
        check(&jobs[name], true, &[verb]);
    }
    assert_eq!(jobs.as_object().unwrap().len(), 3);
    no_secret_for_all_jobs(&file, &["jobs"]);
    // pull_request_target would hand the secrets to a stranger's change.
    assert_eq!(file["on"].as_object().unwrap().keys().collect::<Vec<_>>(), ["pull_request", "push"]);
}

#[test]
fn a_merge_request_on_gitlab_gets_no_secret() {
    let file = sample("gitlab.yml");
    no_secret_for_all_jobs(&file, &["read", ".cluster", "check", "apply"]);
    assert_eq!(file["read"]["extends"], Value::Null, "what it would inherit may hold a secret");
    assert_eq!(file["read"]["rules"][0]["if"], "$CI_PIPELINE_SOURCE == \"merge_request_event\"");
    check(&file["read"], false, &["hosts"]);
    check(&file[".cluster"], true, &[]);
    for (name, verb) in [("check", "check"), ("apply", "apply")] {
        let rules = file[name]["rules"].as_array().unwrap();
        assert_eq!((rules.len(), rules[0]["if"].as_str().unwrap()), (1, "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $CI_COMMIT_REF_PROTECTED == \"true\""));
        assert_eq!(file[name]["extends"], ".cluster");
        let mut found = Vec::new();
        commands(&file[name], &mut found);
        assert_eq!((found.len(), found[0].contains("--check")), (1, verb == "check"));
        check(&file[name], false, &[verb]);
    }
}
