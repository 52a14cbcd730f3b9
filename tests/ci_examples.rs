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
    check(&jobs["read"], false, &["hosts", "lint"]);
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
    check(&file["read"], false, &["hosts", "lint"]);
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

/// What `regprov hosts` prints of an inventory in a repository, as a CI system runs it.
fn hosts_in_ci(repository: &Path, source: &str, more: &[&str]) -> (bool, String) {
    fs::write(repository.join("site/i.yml"), format!("version: 1\nid: x\ngroups:\n  g:\n    hosts: {{ansible: \"{source}\"}}\n    logins: []\n")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_regprov"));
    let out = command.args(["hosts", "site/i.yml"]).args(more).current_dir(repository).env("CI", "true").output().unwrap();
    (out.status.success(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

/// Whoever proposes an inventory gets to see no file of the machine that reads it: names of hosts are printed, and so is what is none.
#[test]
fn a_merge_request_shows_no_file_from_outside_of_the_repository() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, outside) = (dir.path().join("repository"), dir.path().join("outside"));
    for folder in [&repository.join(".git"), &repository.join("site/linked"), &outside] {
        fs::create_dir_all(folder).unwrap();
    }
    for (file, text) in [
        ("outside/token", "planted-token\n"),
        ("outside/odd", "planted/token+\n"),
        ("outside/vars.yml", "{planted-token: [}\n"),
        ("repository/.git/config", "planted-token\n"),
        ("repository/ours", "gpu[1:2]\n"),
        ("repository/site/near", "gpu3\n"),
    ] {
        fs::write(dir.path().join(file), text).unwrap();
    }
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, repository.join("site").join(name)).unwrap();
    link(&outside.join("token"), "link");
    link(&outside, "folder");
    link(&outside.join("token"), "linked/inside");
    link(Path::new("../ours"), "own");
    let absolute = outside.join("token");
    for source in [
        absolute.to_str().unwrap(),
        "../../outside/token",
        "../../outside/odd",
        "../../outside",
        "../.git/config",
        "link",
        "folder",
        "folder/vars.yml",
        "linked",
    ] {
        let (good, said) = hosts_in_ci(&repository, source, &[]);
        assert!(!good && said.contains("is not read: CI is set, and it is no file of the repository at "), "{source}: {said}");
        assert!(!said.contains("planted"), "{source}: {said}");
    }
    for source in ["../ours", "near", "own"] {
        let (good, said) = hosts_in_ci(&repository, source, &[]);
        assert!(good && said.contains("gpu"), "{source}: {said}");
    }
    // Whoever lets it run programs has let it read what they can; and variables from outside count as the rest does.
    assert!(hosts_in_ci(&repository, "link", &["--allow-commands"]).1.contains("planted-token"));
    link(&outside, "group_vars");
    assert!(hosts_in_ci(&repository, "near", &[]).1.contains("group_vars is not read"));
}
