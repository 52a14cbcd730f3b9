//! `regprov lint` and `regprov expiry` as programs: the samples are clean, SARIF is what code scanning takes, no password gets out in any
//! form, exit codes are those of the README, and its table of rules is the program's. What each rule finds is in src/lint/tests.rs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use regprov::lint::{MANIFEST_RULES, RULES};
use regprov::model::{Registry, Secret, Username};
use regprov::vault::{Recipients, SealedValue, identity, seal};
use serde_json::Value;

/// What no output may hold, in no form.
const PLANTED: &str = "hunter2planted";

/// A directory with an inventory, its vault and the vault's identity.
struct Site(tempfile::TempDir);

impl Site {
    /// The logins are registry, username, password and further lines of YAML; each goes to docker and enroot on two hosts.
    fn new(logins: &[(&str, &str, &str, &str)]) -> Self {
        let site = Site(tempfile::tempdir().unwrap());
        let (secret, recipient) = identity::generate();
        site.private("id.txt", &secret);
        let recipients = Recipients::parse([recipient.as_str()]).unwrap();
        let mut vault = format!("recipients: [{recipient}]\nlogins:\n");
        for (i, (registry, username, password, more)) in logins.iter().enumerate() {
            let value = SealedValue {
                registry: Registry::parse(registry).unwrap().0,
                username: Username::parse(username).unwrap(),
                auth_hosts: Vec::new(),
                password: Secret::new(password.to_string()),
            };
            let seal: String = seal(&value, &recipients).unwrap().lines().map(|l| format!("      {l}\n")).collect();
            let username = serde_json::to_string(username).unwrap();
            vault += &format!("  l{i}:\n    registry: {registry}\n    username: {username}\n{more}    password: |\n{seal}");
        }
        vault += "vault_id: v0123456789abcdef\nvault_serial: 1\n";
        fs::write(site.path("vault.yml"), vault).unwrap();
        let names: Vec<String> = (0..logins.len()).map(|i| format!("l{i}")).collect();
        let text =
            format!("version: 1\nvault: vault.yml\ngroups:\n  gpu:\n    hosts: gpu[1-2]\n    logins: [{}]\n    targets: [docker, enroot]\n", names.join(", "));
        fs::write(site.path("inventory.yml"), text).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn private(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        run(self.0.path(), args)
    }
}

/// Runs regprov with nothing of this machine's user around it.
fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
    command.args(args).current_dir(dir).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// A document on stdout.
#[track_caller]
fn document(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn jwt(exp: i64) -> String {
    let [header, claims] = [r#"{"alg":"none"}"#.to_string(), format!(r#"{{"exp":{exp}}}"#)].map(|json| URL_SAFE_NO_PAD.encode(json));
    format!("{header}.{claims}.{PLANTED}")
}

/// Passwords on which rules have something to say, PLANTED in each.
fn traps() -> Site {
    let base64 = STANDARD.encode(format!("alice:{PLANTED}"));
    let json = format!("{{\"private_key\": \"{PLANTED}\"");
    let (ended, spaces, variable) = (jwt(1_700_000_000), format!("{PLANTED} and spaces "), format!("${{{PLANTED}}}"));
    Site::new(&[
        ("a.example", "alice", &base64, ""),
        ("gcr.io", "_json_key", &json, ""),
        ("b.example", "alice", &ended, ""),
        ("c.example", "alice", &spaces, ""),
        ("d.example", "alice", &variable, ""),
        ("nvcr.io", &format!("nvapi-{PLANTED}"), "$oauthtoken", ""),
        ("e.example", "alice", &format!("{PLANTED}\n"), ""),
        ("f.example", "alice", &format!("${PLANTED}"), ""),
    ])
}

#[test]
fn the_samples_are_clean() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories");
    let mut count = 0;
    for sample in fs::read_dir(samples).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        let place = Site(tempfile::tempdir().unwrap());
        place.private("id.txt", &fs::read_to_string(sample.join("demo-identity.txt")).unwrap());
        let id = place.path("id.txt");
        let output = run(&sample, &["lint", "inventory.yml", "--identity", id.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", sample.display(), text(&output));
        assert!(text(&output).starts_with("nothing found in ") && text(&output).lines().count() == 1, "{}: {}", sample.display(), text(&output));
        count += 1;
    }
    assert!(count >= 4, "the samples are gone");
}

#[test]
fn the_table_of_the_readme_is_that_of_the_program() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, table) = readme.split_once("| rule | level | passwords | what it finds |\n|---|---|---|---|\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|l| l.starts_with('|')).collect();
    let yes = |password| if password { "yes" } else { "" };
    let want: Vec<String> = RULES.iter().map(|r| format!("| `{}` | {} | {} | {} |", r.id, r.level.name(), yes(r.password), r.title)).collect();
    assert_eq!(rows, want);
    let (_, table) = readme.split_once("| rule of manifests | level | what it finds |\n|---|---|---|\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|l| l.starts_with('|')).collect();
    assert_eq!(rows, MANIFEST_RULES.iter().map(|r| format!("| `{}` | {} | {} |", r.id, r.level.name(), r.title)).collect::<Vec<_>>());
    let changelog = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md")).unwrap();
    assert!(changelog.contains(&format!("`regprov lint`: {} rules", RULES.len())));
    assert!(changelog.contains(&format!("by {} rules of their own", MANIFEST_RULES.len())));
}

/// The essentials of SARIF 2.1.0 (its schema's `required` and `enum`) and of GitHub's code scanning
/// (<https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning>).
#[test]
fn sarif_is_what_code_scanning_takes() {
    let site = traps();
    let log = document(&site.run(&["lint", "inventory.yml", "--identity", "id.txt", "--sarif"]), 10);
    assert_eq!((log["version"].as_str(), log["$schema"].as_str()), (Some("2.1.0"), Some("https://json.schemastore.org/sarif-2.1.0.json")));
    let [run] = &log["runs"].as_array().unwrap()[..] else { panic!("one run") };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "regprov");
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    let rules = driver["rules"].as_array().unwrap();
    assert_eq!(rules.len(), RULES.len());
    let filled = |v: &Value| v.as_str().is_some_and(|t| !t.is_empty() && t.len() <= 1024);
    let level = |v: &Value| ["error", "warning", "note"].contains(&v.as_str().unwrap());
    for rule in rules {
        assert!([&rule["id"], &rule["shortDescription"]["text"], &rule["fullDescription"]["text"], &rule["help"]["text"]].into_iter().all(filled), "{rule}");
        assert!(level(&rule["defaultConfiguration"]["level"]), "{rule}");
    }
    let results = run["results"].as_array().unwrap();
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(level(&result["level"]) && filled(&result["message"]["text"]), "{result}");
        let [location] = &result["locations"].as_array().unwrap()[..] else { panic!("one place: {result}") };
        let (artifact, region) = (&location["physicalLocation"]["artifactLocation"], &location["physicalLocation"]["region"]);
        assert!(site.path(artifact["uri"].as_str().unwrap()).is_file() && artifact["uriBaseId"] == "%SRCROOT%", "{artifact}");
        assert!(!artifact["uri"].as_str().unwrap().starts_with(['/', '.']), "{artifact}");
        assert!(region["startLine"].as_u64().unwrap() >= 1 && region["startColumn"].as_u64().unwrap() >= 1, "{region}");
    }
    let found: Vec<&str> = results.iter().map(|r| r["ruleId"].as_str().unwrap()).collect();
    let all = ["base64-login", "json-key", "expired", "netrc-quotes", "edge-space", "unexpanded-variable", "swapped", "line-break", "dollar-password"];
    for rule in all {
        assert!(found.contains(&rule), "{rule} is not in {found:?}");
    }
    // Without an identity the log says what was not looked at; a file as a whole has its first line.
    let log = document(&site.run(&["lint", "inventory.yml", "--sarif"]), 10);
    let notification = &log["runs"][0]["invocations"][0]["toolExecutionNotifications"][0];
    assert_eq!(
        (notification["level"].as_str(), notification["message"]["text"].as_str()),
        (Some("note"), Some("8 passwords sealed and not looked at; give --identity"))
    );
    fs::write(site.path("inventory.yml"), "version: 1\n").unwrap();
    let log = document(&site.run(&["lint", "./inventory.yml", "--sarif"]), 10);
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place.to_string(), r#"{"artifactLocation":{"uri":"inventory.yml","uriBaseId":"%SRCROOT%"},"region":{"startLine":1}}"#);
}

#[test]
fn no_password_gets_out_in_any_form() {
    let site = traps();
    let forms = [PLANTED.to_string(), STANDARD.encode(format!("alice:{PLANTED}")), PLANTED.chars().rev().collect()];
    for format in [&[][..], &["--json"], &["--sarif"], &["-vvv"], &["--limit", "gpu1", "-vv"]] {
        let args = [&["lint", "inventory.yml", "--identity", "id.txt"], format].concat();
        let output = site.run(&args);
        assert_eq!(output.status.code(), Some(10), "{}", text(&output));
        assert!(!forms.iter().any(|f| text(&output).contains(f)), "{args:?}: {}", text(&output));
    }
    for args in [&["expiry", "inventory.yml", "--identity", "id.txt", "-vvv"][..], &["expiry", "inventory.yml", "--identity", "id.txt", "--json"]] {
        let output = site.run(args);
        assert_eq!(output.status.code(), Some(10), "{}", text(&output));
        assert!(!forms.iter().any(|f| text(&output).contains(f)), "{args:?}: {}", text(&output));
    }
    // The control: what is looked for is there.
    let revealed = text(&site.run(&["vault", "show", "vault.yml", "--reveal", "--identity", "id.txt"]));
    assert!(forms[..2].iter().all(|f| revealed.contains(f)), "the passwords are not in the vault");
}

/// Two passwords that differ in their length alone are told of alike.
#[test]
fn findings_say_nothing_of_a_password_s_length() {
    let said = |password: &str| text(&Site::new(&[("r.example", "alice", password, "")]).run(&["lint", "inventory.yml", "--identity", "id.txt"]));
    for (short, long) in [("a b", "a much longer one, with blanks"), ("$x-", "$x-and-so-on-and-on"), (" x", " xxxxxxxxxxxxxxxxxxxxx y")] {
        let short = said(short);
        assert!(short.contains("r.example") && short == said(long), "{short}");
    }
}

#[test]
fn exit_codes_are_those_of_the_readme() {
    let clean = Site::new(&[("r.example", "alice", PLANTED, "")]);
    #[track_caller]
    fn check(site: &Site, args: &[&str], code: i32) {
        let output = site.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
    }
    check(&clean, &["lint", "inventory.yml"], 0);
    check(&clean, &["lint", "inventory.yml", "--identity", "id.txt"], 0);
    check(&clean, &["lint", "none.yml"], 2);
    check(&clean, &["lint", "inventory.yml", "--limit", "login1"], 2);
    check(&clean, &["lint", "inventory.yml", "--json", "--sarif"], 2);
    check(&clean, &["lint", "inventory.yml", "--identity", "none.txt"], 5);
    // Warnings and notes are no reason to stop a pipeline.
    check(&Site::new(&[("index.docker.io", "alice", "a b", "")]), &["lint", "inventory.yml", "--identity", "id.txt"], 0);
    check(&traps(), &["lint", "inventory.yml", "--identity", "id.txt"], 10);
    // What is wrong with the inventory is told even where no host is left to be limited to.
    fs::write(clean.path("broken.yml"), "version: 1\ngroups: {g: {hosts: h, oops: 1}}\n").unwrap();
    check(&clean, &["lint", "broken.yml", "--limit", "h"], 10);
    fs::write(clean.path("broken.yml"), "version: [\n").unwrap();
    check(&clean, &["lint", "broken.yml"], 10);
    fs::write(clean.path("broken.yml"), "version: 1\nvault: gone.yml\ngroups: {g: {hosts: h}}\n").unwrap();
    check(&clean, &["lint", "broken.yml"], 10);
    check(&clean, &["expiry", "broken.yml"], 2);
    check(&clean, &["expiry", "inventory.yml"], 0);
}

#[test]
fn what_a_source_gives_is_told() {
    let site = Site::new(&[]);
    fs::write(site.path("inventory.yml"), "version: 1\ngroups: {g: {hosts: {ansible: hosts}}}\n").unwrap();
    fs::write(site.path("hosts"), "").unwrap();
    let log = document(&site.run(&["lint", "inventory.yml", "--json"]), 0);
    assert!(log["findings"].as_array().unwrap().iter().any(|f| f["rule"] == "source" && f["level"] == "warning"), "{log}");
}

#[test]
fn ends_are_sorted_and_due_within_the_time_that_is_asked_for() {
    let day = 86_400;
    let (first, second) = (jwt(now() + day), jwt(now() + 10 * day));
    let site = Site::new(&[
        ("a.example", "alice", PLANTED, ""),
        ("b.example", "alice", &second, ""),
        ("c.example", "alice", PLANTED, "    expires: 2099-12-31\n"),
        ("d.example", "alice", &first, "    expires: 2099-12-31\n"),
        ("e.example", "alice", &second, "    expires: 2000-01-01\n"),
    ]);
    let states = |within: &str, identity: &[&str], code: i32| -> Vec<String> {
        let log = document(&site.run(&[&["expiry", "inventory.yml", "--json", "--within", within], identity].concat()), code);
        assert_eq!(log["schema"], "regprov.expiry/1");
        let words = |l: &Value| format!("{} {} {}", l["login"].as_str().unwrap(), l["known_from"].as_str().unwrap_or("-"), l["state"].as_str().unwrap());
        log["logins"].as_array().unwrap().iter().map(words).collect()
    };
    let identity = &["--identity", "id.txt"][..];
    assert_eq!(states("14d", identity, 10), ["l4 expires expired", "l3 password due", "l1 password due", "l2 expires later", "l0 - unknown"]);
    assert_eq!(states("48h", identity, 10), ["l4 expires expired", "l3 password due", "l1 password later", "l2 expires later", "l0 - unknown"]);
    assert_eq!(states("0d", &[], 10), ["l4 expires expired", "l2 expires later", "l3 expires later", "l0 - unknown", "l1 - unknown"]);
    let told = text(&site.run(&["expiry", "inventory.yml"]));
    assert!(told.contains("1 of 5 logins within 14d\n5 passwords sealed and not looked at; give --identity\n"), "{told}");
    // What says it has ended is refused before anyone is connected to, and taken when that is allowed.
    let ended = Site::new(&[("a.example", "alice", &jwt(now()), "")]);
    for (flags, want) in [(&[][..], "error: login `l0` for a.example has expired ("), (&["--allow-expired"], "warning: login `l0` for a.example has expired (")]
    {
        let output = ended.run(&[&["apply", "inventory.yml", "--identity", "id.txt", "--no-agent", "--no-ssh-config"], flags].concat());
        assert!(text(&output).contains(want), "{}", text(&output));
        assert_ne!(output.status.code(), Some(0));
    }
}
