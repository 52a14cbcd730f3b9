//! Every rule by what it finds and by what is near and none of it. The passwords stand in the clear, as if they had been opened.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::rules::id;
use super::*;
use crate::inventory::{LoadOptions, survey};
use crate::ui;

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// Looks at an inventory with a vault `v.yml`, as if an identity had opened all passwords.
fn look(inventory: &str, vault: &str) -> Findings {
    look_with(inventory, vault, LoadOptions { allow_plaintext: true, allow_expired: false, now: NOW })
}

fn look_with(inventory: &str, vault: &str, options: LoadOptions) -> Findings {
    let mut read = |path: &Path| Ok::<_, Error>(if path.ends_with("v.yml") { vault } else { inventory }.to_string());
    let survey = survey(Path::new("i.yml"), &mut read, options).unwrap();
    let mut subject = Subject::new(&survey, None, options.now);
    for entry in subject.entries().collect::<Vec<_>>() {
        let PasswordText::Plain(password) = &entry.password else { continue };
        let login = Login {
            name: entry.name.clone(),
            registry: entry.registry.clone(),
            username: entry.username.clone(),
            password: password.clone(),
            auth_hosts: Vec::new(),
            expires: entry.expires.clone(),
        };
        subject.opened.insert(entry.name.clone(), login);
    }
    let findings = lint(&subject);
    for output in [ui::lint::text(&findings, false), ui::lint::json(&findings), ui::sarif::sarif(&findings, &RULES, Path::new("/src"))] {
        assert!(!output.contains("hunter2"), "{output}");
    }
    findings
}

/// An inventory whose hosts get these logins in these targets.
fn site(targets: &str, logins: &[(&str, &str, &str)]) -> String {
    let lines: String = logins
        .iter()
        .enumerate()
        .map(|(i, (registry, username, password))| {
            let [registry, username, password] = [registry, username, password].map(|v| serde_json::to_string(v).unwrap());
            format!("  l{i}: {{registry: {registry}, username: {username}, password: {password}}}\n")
        })
        .collect();
    let names: Vec<String> = (0..logins.len()).map(|i| format!("l{i}")).collect();
    format!(
        "version: 1\ngroups:\n  g:\n    hosts: gpu[1-2]\n    logins: [{}]\n    targets: [{targets}]\nlogins:\n{lines}vault_id: v0123456789abcdef\nvault_serial: 1\n",
        names.join(", ")
    )
}

/// One login, in Docker's file and enroot's.
fn one(registry: &str, username: &str, password: &str) -> String {
    site("docker, enroot", &[(registry, username, password)])
}

fn password(password: &str) -> String {
    one("r.example", "alice", password)
}

fn username(username: &str) -> String {
    one("r.example", username, "hunter2")
}

fn registry(registry: &str) -> String {
    one(registry, "alice", "hunter2")
}

/// With one more line for the login, which stands on line 8.
fn with(site: String, from: &str, to: &str) -> String {
    assert!(site.contains(from), "{from} is not in {site}");
    site.replace(from, to)
}

/// One login, in a Secret of the block `b` that begins with these keys, on line 3.
fn cluster(block: &str, login: (&str, &str, &str)) -> String {
    let [registry, username, password] = [login.0, login.1, login.2].map(|v| serde_json::to_string(v).unwrap());
    format!(
        "version: 1\nkubernetes:\n  b: {{{block}, logins: [l0]}}\nlogins:\n  l0: {{registry: {registry}, username: {username}, password: {password}}}\n\
         vault_id: v0123456789abcdef\nvault_serial: 1\n"
    )
}

fn expires(at: &str) -> String {
    with(password("hunter2"), "}\n", &format!(", expires: '{at}'}}\n"))
}

fn google_key() -> String {
    r#"{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nhunter2\n"}"#.to_string()
}

fn jwt(exp: i64) -> String {
    let [header, claims] = [r#"{"alg":"none"}"#.to_string(), format!(r#"{{"exp":{exp}}}"#)].map(|json| URL_SAFE_NO_PAD.encode(json));
    format!("{header}.{claims}.hunter2")
}

fn broken(text: &str, width: usize) -> String {
    text.as_bytes().chunks(width).map(|c| std::str::from_utf8(c).unwrap()).collect::<Vec<_>>().join("\n")
}

/// A rule, an inventory in which it finds something on a line, and those in which it does not though they are near.
type Case = (&'static str, Level, u64, String, Vec<String>);

fn cases() -> Vec<Case> {
    use Level::{Error, Note, Warning};
    let long = STANDARD.encode(format!("{}hunter2", "\u{1}binary".repeat(20)));
    let two = |targets: &str, a: &str, b: &str| site(targets, &[(a, "alice", "hunter2"), (b, "bob", "hunter2")]);
    let ecr = "1234.dkr.ecr.eu-west-1.amazonaws.com";
    let (prod, alice, runai) = ("context: c, namespaces: [team]", ("r.example", "alice", "hunter2"), "context: c, namespaces: [runai]".to_string());
    let (label, accounts) = ("labels: {runai/cluster-wide: \"true\"}", "service_accounts: [default]");
    let secret = format!("hunter2{}", "aB3x".repeat(7))[..32].to_string();
    vec![
        (rule::INPUT, Error, 4, with(password("hunter2"), "gpu[1-2]", "gpu[1-"), vec![password("hunter2")]),
        (rule::INPUT, Error, 2, "version: 1\nx: ]".into(), vec![]),
        (rule::INPUT, Error, 1, "[]".into(), vec![]),
        (rule::TWO_LOGINS, Error, 6, two("docker", "r.example", "https://R.example"), vec![two("docker", "r.example", "r.example:5000")]),
        (rule::ENV_TWO_LOGINS, Error, 6, two("singularity", "r.example", "s.example"), vec![two("{singularity: {login: l0}}", "r.example", "s.example")]),
        (rule::REGISTRY_PATH, Error, 6, registry("r.example/team"), vec![registry("r.example/")]),
        (rule::NO_PASSWORD, Error, 8, with(password("hunter2"), ", password: \"hunter2\"", ""), vec![password("hunter2")]),
        (rule::EXPIRED, Error, 8, expires("2025-12-31"), vec![expires("2026-01-01"), expires("2026-01-01T01:00:01+01:00")]),
        (rule::EXPIRED, Error, 8, expires("2026-01-01T01:00:00+01:00"), vec![]),
        (rule::EXPIRED, Error, 8, password(&jwt(NOW)), vec![password(&jwt(NOW + 1)), password(&jwt(0)), password(&jwt(-NOW))]),
        (id::TARGET, Error, 6, site("singularity", &[("r.example", " alice", "hunter2")]), vec![site("singularity", &[("r.example", "al ice", "hunter2")])]),
        (id::TARGET, Error, 6, site("singularity", &[("r.example", "alice", "hunter2 ")]), vec![site("docker", &[("r.example", "alice", "hunter2 ")])]),
        (id::TARGET, Error, 6, site("enroot", &[("[::1]:5000", "alice", "hunter2")]), vec![site("docker", &[("[::1]:5000", "alice", "hunter2")])]),
        (
            id::TARGET,
            Error,
            6,
            site("{docker: {mode: '0640'}}", &[("r.example", "alice", "hunter2")]),
            vec![site("{docker: {mode: '0640', group: users}}", &[("r.example", "alice", "hunter2")])],
        ),
        (id::NETRC_KEYWORD, Error, 8, username("Machine"), vec![username("machines"), site("docker", &[("r.example", "machine", "hunter2")])]),
        (id::NETRC_KEYWORD, Error, 8, password("macdef"), vec![password("macdefs"), site("docker, singularity", &[("r.example", "alice", "default")])]),
        (
            id::NETRC_PORTS,
            Error,
            6,
            two("enroot", "r.example", "r.example:5000"),
            vec![two("docker", "r.example", "r.example:5000"), two("enroot", "r.example:5000", "s.example:5000")],
        ),
        (
            id::NETRC_QUOTES,
            Warning,
            8,
            password("with space hunter2"),
            vec![
                password("a'b\"c#d$e\\hunter2"),
                site("docker", &[("r.example", "alice", "with space hunter2")]),
                with(password("with space hunter2"), "hosts: gpu[1-2]", "hosts: gpu[1-2]\n    curl: '7.84.0'"),
            ],
        ),
        (id::NETRC_QUOTES, Warning, 9, with(password("with space hunter2"), "hosts: gpu[1-2]", "hosts: gpu[1-2]\n    curl: '7.83.1'"), vec![]),
        (id::NETRC_QUOTES, Warning, 8, password("\"hunter2"), vec![]),
        (id::NETRC_QUOTES, Warning, 8, password("#hunter2"), vec![]),
        (id::NETRC_QUOTES, Warning, 8, password("a\thunter2"), vec![]),
        (id::NETRC_QUOTES, Warning, 8, password("hünter2-hunter2"), vec![]),
        (id::NETRC_QUOTES, Warning, 8, username("j doe"), vec![username("CORP\\jdoe"), one("r.example", "_json_key", &google_key())]),
        (
            id::VARIABLE,
            Error,
            8,
            username("$HARBOR_USER"),
            vec![username("$oauthtoken"), username("robot$x"), username("robot$proj+name"), username("$"), username("$1")],
        ),
        (id::VARIABLE, Error, 8, username("$harbor_user"), vec![password("$ecret-hunter2"), password("$ecret")]),
        (id::VARIABLE, Error, 8, username("${USER}"), vec![username("$USER-x")]),
        (id::VARIABLE, Error, 8, username("{{ user }}"), vec![username("{user}")]),
        (id::VARIABLE, Error, 8, username("%USER%"), vec![username("%user"), username("50%")]),
        (id::VARIABLE, Error, 8, password("$HARBOR_PASSWORD"), vec![password("$HARBOR-hunter2"), password("hunter2$X"), password("$$hunter2")]),
        (id::VARIABLE, Error, 8, password("${TOKEN:-hunter2}"), vec![password("${hunter2"), password("{hunter2}")]),
        (id::VARIABLE, Error, 8, password("$(cat hunter2)"), vec![password("$(hunter2")]),
        (id::VARIABLE, Error, 8, password("{{ lookup('env', 'hunter2') }}"), vec![password("{{hunter2")]),
        (id::VARIABLE, Error, 8, password("%REGISTRY_PASSWORD%"), vec![password("%hunter2%")]),
        (id::PLACEHOLDER, Error, 8, password("changeme"), vec![password("changeme-hunter2")]),
        (id::PLACEHOLDER, Error, 8, password("Change-Me"), vec![password("password")]),
        (id::PLACEHOLDER, Error, 8, password("<PASSWORD>"), vec![password("<hunter2"), password("hunter2>")]),
        (id::PLACEHOLDER, Error, 8, password("<< PASTE the hunter2 here"), vec![password("paste-hunter2")]),
        (id::PLACEHOLDER, Error, 8, password("your-token-here"), vec![password("your-hunter2-here")]),
        (id::PLACEHOLDER, Error, 8, password("xxxx"), vec![password("xx"), password("xxxy")]),
        (id::PLACEHOLDER, Error, 8, username("YOUR_USERNAME"), vec![username("yours"), username("user")]),
        (id::SWAPPED, Error, 8, one("nvcr.io", "nvapi-hunter2", "$oauthtoken"), vec![one("nvcr.io", "$oauthtoken", "nvapi-hunter2")]),
        (id::SWAPPED, Error, 8, one("ghcr.io", "ghp_hunter2", "alice"), vec![one("ghcr.io", "alice", "ghp_hunter2"), username("ghp")]),
        (id::SWAPPED, Error, 8, one(ecr, "hunter2", "AWS"), vec![one(ecr, "AWS", "hunter2"), password("AWShunter2")]),
        (id::SWAPPED, Error, 8, one("r.example", "hunter2", "robot$gpu"), vec![one("r.example", "robot$gpu", "robot:hunter2")]),
        (id::NGC_USERNAME, Error, 8, one("nvcr.io", "alice", "nvapi-hunter2"), vec![one("nvcr.io", "$oauthtoken", "nvapi-hunter2"), username("alice")]),
        (
            id::BASE64_LOGIN,
            Error,
            8,
            password(&STANDARD.encode("alice:hunter2")),
            vec![
                password(&STANDARD.encode("hunter2")),
                password(&STANDARD.encode("{\"payload\":\"hunter2\"}")),
                password(&STANDARD.encode(b"\xffalice:hunter2")),
                password("alice:hunter2"),
            ],
        ),
        (id::BASE64_LOGIN, Error, 8, password(&STANDARD.encode("robot$x:hunter2\n")), vec![password(&STANDARD.encode("two words:hunter2"))]),
        (
            id::BASE64_BREAKS,
            Error,
            8,
            password(&broken(&long, 76)),
            vec![password(&long), password("one line hunter2\nand another"), password(&format!("{}\nhunter2-", &long[..76]))],
        ),
        (
            id::LINE_BREAK,
            Error,
            8,
            password("hunter2\n"),
            vec![password("hun\nter2"), password("hunter2 "), one("r.example", "_json_key", &format!("{}\n", google_key()))],
        ),
        (id::LINE_BREAK, Error, 8, password("hunter2\r"), vec![]),
        (id::JSON_KEY, Error, 8, one("gcr.io", "_json_key", "{\"private_key\": \"hunter2\""), vec![one("gcr.io", "_json_key", &google_key())]),
        (
            id::JSON_KEY,
            Error,
            8,
            one("gcr.io", "_json_key", &STANDARD.encode(google_key())),
            vec![one("gcr.io", "_json_key_base64", &STANDARD.encode(google_key()))],
        ),
        (id::JSON_KEY, Error, 8, one("gcr.io", "_json_key_base64", &google_key()), vec![one("gcr.io", "oauth2accesstoken", "hunter2")]),
        (id::JSON_KEY, Error, 8, one("gcr.io", "_json_key_base64", &broken(&STANDARD.encode(google_key()), 76)), vec![]),
        (id::JSON_KEY, Error, 8, one("gcr.io", "alice", &google_key()), vec![one("gcr.io", "alice", "{\"key\": \"hunter2\"}")]),
        (rule::EXPIRES_SOON, Warning, 8, expires("2026-01-30"), vec![expires("2026-01-31"), expires("2026-01-31T00:00:01Z")]),
        (rule::EXPIRES_SOON, Warning, 8, expires("2026-01-31T00:00:00Z"), vec![password(&jwt(NOW + 30 * 86_400 + 1))]),
        (rule::EXPIRES_SOON, Warning, 8, password(&jwt(NOW + 30 * 86_400)), vec![]),
        (rule::ECR_EXPIRY, Warning, 8, one(ecr, "AWS", "hunter2"), vec![one("r.example", "AWS", "hunter2")]),
        (id::EDGE_SPACE, Warning, 8, password("hunter2 "), vec![password("hun ter2"), password("hunter2\n")]),
        (id::EDGE_SPACE, Warning, 8, username(" alice"), vec![username("al ice")]),
        (id::TOKEN_SERVER, Warning, 8, registry("auth.docker.io"), vec![registry("docker.io"), registry("nvcr.io")]),
        (rule::HUB_WEBSITE, Warning, 8, registry("hub.docker.com"), vec![registry("docker.io")]),
        (rule::HUB_ALIAS, Note, 8, registry("index.docker.io"), vec![registry("docker.io"), registry("auth.docker.io")]),
        (rule::HUB_ALIAS, Note, 8, registry("https://index.docker.io/v1/"), vec![]),
        (rule::REGISTRY_NAME, Note, 8, registry("oci://r.example"), vec![registry("r.example:5000")]),
        (rule::REGISTRY_NAME, Note, 8, registry("r.example/"), vec![]),
        (rule::NO_EFFECT, Warning, 3, with(password("hunter2"), "  g:\n", "  e: {}\n  g:\n"), vec![password("hunter2")]),
        (rule::UNUSED_LOGIN, Note, 8, with(password("hunter2"), "logins: [l0]", "logins: []"), vec![password("hunter2")]),
        (id::SHORT_LIVED, Warning, 5, cluster(prod, (ecr, "AWS", "hunter2")), vec![one(ecr, "AWS", "hunter2"), cluster(prod, alice)]),
        (id::SHORT_LIVED, Warning, 5, cluster(prod, ("gcr.io", "oauth2accesstoken", "hunter2")), vec![cluster(prod, ("gcr.io", "_json_key", &google_key()))]),
        (
            id::SESSION_SECRET,
            Note,
            5,
            cluster(prod, ("r.example", "alice", &secret)),
            vec![
                cluster(prod, ("r.example", "robot$alice", &secret)),
                cluster(prod, ("r.example", "alice", &secret[1..])),
                cluster(prod, ("r.example", "alice", &secret.to_lowercase())),
                with(cluster(prod, ("r.example", "alice", &secret)), "username", "expires: 2027-01-01, username"),
                password(&secret),
            ],
        ),
        (
            id::RUNAI_NAMESPACE,
            Warning,
            3,
            cluster(&format!("context: c, namespaces: [team], {label}"), alice),
            vec![cluster(&format!("{runai}, {label}"), alice)],
        ),
        (id::RUNAI_NAMESPACE, Warning, 3, cluster(&format!("context: c, namespace_selector: a=b, {label}"), alice), vec![cluster(prod, alice)]),
        (id::RUNAI_ACCOUNTS, Note, 3, cluster(&format!("{runai}, {label}, {accounts}"), alice), vec![cluster(&format!("{runai}, {accounts}"), alice)]),
        (
            id::RUNAI_PROJECT,
            Note,
            3,
            cluster("context: c, namespaces: [a, runai-team-a]", alice),
            vec![cluster(&format!("context: c, namespaces: [runai-team-a], {accounts}"), alice), cluster(&runai, alice), cluster(prod, alice)],
        ),
        (id::NO_CONTEXT, Note, 3, cluster("namespaces: [team]", alice), vec![cluster(prod, alice)]),
        (id::DOLLAR, Note, 8, password("$hunter2"), vec![password("hunter2$"), username("$oauthtoken")]),
        (id::DOLLAR, Note, 8, password("$$hunter2"), vec![password("$HARBOR_PASSWORD")]),
    ]
}

#[test]
fn rules_find_what_they_should_and_nothing_near() {
    for (rule, level, line, text, near) in cases() {
        let findings = look(&text, "");
        let hit = findings.found.iter().find(|f| f.rule.id == rule).unwrap_or_else(|| panic!("{rule} finds nothing in\n{text}\n{:#?}", findings.found));
        assert_eq!((hit.level, hit.file.as_str(), hit.line), (level, "i.yml", line), "{rule}\n{text}");
        assert!(hit.column > 0, "{rule} knows no column");
        assert_eq!(findings.exit_code(), if findings.found.iter().any(|f| f.level == Level::Error) { 10 } else { 0 });
        for text in near {
            let findings = look(&text, "");
            assert!(findings.found.iter().all(|f| f.rule.id != rule), "{rule} is found in\n{text}\n{:#?}", findings.found);
        }
    }
}

#[test]
fn every_rule_has_a_case() {
    // Those that need a vault, a seal or a source have tests of their own, here and in tests/lint.rs.
    let elsewhere = [rule::LOGIN_TWICE, rule::PLAINTEXT, rule::SEAL, rule::SOURCE];
    let cases: BTreeSet<&str> = cases().iter().map(|c| c.0).chain(elsewhere).collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|r| r.id).collect();
    assert_eq!(rules.len(), RULES.len(), "an id stands twice");
    assert_eq!(cases, rules);
}

#[test]
fn every_id_of_a_problem_is_a_rule() {
    let mut count = 0;
    for text in [include_str!("../error.rs"), include_str!("rules.rs")] {
        for id in text.lines().filter(|l| l.contains("const ") && l.contains(": &str = ")).filter_map(|l| l.split('"').nth(1)) {
            assert!(RULES.iter().any(|r| r.id == id), "`{id}` is no rule");
            count += 1;
        }
    }
    assert_eq!(count, RULES.len(), "each rule has one constant");
}

#[test]
fn the_rules_are_in_order_and_say_what_they_are() {
    assert!(RULES.is_sorted_by_key(|r| r.level), "errors first");
    for rule in &RULES {
        assert!(rule.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", rule.id);
        assert!(!rule.title.is_empty() && rule.help.ends_with('.') && !rule.title.contains('|'), "{}", rule.id);
    }
}

#[test]
fn a_login_in_two_files_and_a_source_of_hosts() {
    let text = with(password("hunter2"), "version: 1\n", "version: 1\nvault: v.yml\n");
    let vault = "logins:\n  l0: {registry: r.example, username: alice, password: hunter2}\n";
    let twice = |findings: &Findings| findings.found.iter().any(|f| f.rule.id == rule::LOGIN_TWICE && f.file == "v.yml" && f.line == 2);
    assert!(twice(&look(&text, vault)));
    assert!(!twice(&look(&text, &vault.replace("l0", "l1"))));
}

#[test]
fn a_password_in_the_clear_is_looked_at_and_told_of() {
    let options = LoadOptions { now: NOW, ..LoadOptions::default() };
    let ids = |findings: Findings| findings.found.iter().map(|f| (f.rule.id, f.level)).collect::<Vec<_>>();
    let dollar = (id::DOLLAR, Level::Note);
    assert_eq!(ids(look_with(&password("$hunter2"), "", options)), [(rule::PLAINTEXT, Level::Error), dollar]);
    assert_eq!(ids(look(&password("$hunter2"), "")), [dollar]);
    let sudo = with(password("$hunter2"), "logins:\n  l0", "become_password: hunter2\nlogins:\n  l0");
    assert_eq!(ids(look_with(&sudo, "", options))[0], (rule::PLAINTEXT, Level::Error));
}

/// What is wrong is told at once, and a fault in one place does not hide what is to be told of another.
#[test]
fn everything_is_told_at_once() {
    let text = with(
        site("docker, enroot, singularity", &[("nvcr.io", "alice", "changeme"), ("r.example", "machine", "{{ x }}")]),
        "  l1:",
        "  l9: {registry: https://a.example, username: u}\n  l1:",
    );
    let ids: Vec<&str> = look(&text, "").found.iter().map(|f| f.rule.id).collect();
    for want in [rule::ENV_TWO_LOGINS, id::NGC_USERNAME, id::PLACEHOLDER, rule::REGISTRY_NAME, id::VARIABLE] {
        assert!(ids.contains(&want), "{want} is not in {ids:?}");
    }
}

/// A format refuses a netrc keyword as well; it is told once.
#[test]
fn nothing_is_told_twice() {
    for text in [
        site("enroot", &[("r.example", "machine", "hunter2")]),
        site("enroot", &[("r.example", "alice", "default")]),
        site("enroot", &[("r.example", "alice", "hunter2"), ("r.example:5000", "bob", "hunter2")]),
        site("singularity", &[("r.example", "alice", "hunter2"), ("s.example", "bob", "hunter2")]),
        site("docker", &[("r.example", "alice", "hunter2"), ("R.example", "bob", "hunter2")]),
    ] {
        let findings = look(&text, "");
        assert_eq!(findings.found.iter().filter(|f| f.level == Level::Error).count(), 1, "{text}\n{:#?}", findings.found);
    }
}

/// Where username and password changed places, the file's own messages would show the password.
#[test]
fn a_username_that_is_a_password_is_not_shown() {
    let options = LoadOptions { now: NOW, ..LoadOptions::default() };
    for (registry, username, password) in [("nvcr.io", "nvapi-hunter2", "x"), ("nvcr.io", "hunter2", "$oauthtoken")] {
        let findings = look_with(&one(registry, username, password), "", options);
        assert!(findings.found.iter().any(|f| f.rule.id == rule::PLAINTEXT), "{:#?}", findings.found);
        assert!(findings.found.iter().any(|f| f.rule.id == id::SWAPPED), "{:#?}", findings.found);
    }
}

#[test]
fn a_seal_that_does_not_open_says_why() {
    let text = one("ghcr.io", "ghp_hunter2", "x");
    let findings = |username: &str| {
        let text = text.replace("ghp_hunter2", username);
        let mut read = |_: &Path| Ok::<_, Error>(text.clone());
        let survey = survey(Path::new("i.yml"), &mut read, LoadOptions { allow_plaintext: true, allow_expired: false, now: NOW }).unwrap();
        let mut subject = Subject::new(&survey, None, NOW);
        let error = Error::vault(format!("i.yml:8:3: the password of login `l0` was sealed for alice, not for {username}")).hint(format!("type {username}"));
        subject.shut.insert("l0".to_string(), error);
        let findings = lint(&subject);
        assert_eq!(findings.sealed, 0, "it was looked at");
        findings.found.into_iter().find(|f| f.rule.id == rule::SEAL).unwrap()
    };
    let plain = findings("bob");
    assert_eq!((plain.line, plain.message.as_str()), (8, "the password of login `l0` was sealed for alice, not for bob"));
    assert_eq!(plain.hint.as_deref(), Some("type bob"));
    let secret = findings("ghp_hunter2");
    assert_eq!((secret.message.as_str(), secret.hint), ("the password of login `l0` does not open", None));
}

proptest::proptest! {
    /// Whatever stands there, every rule comes to its end, and nothing of the password gets out (which `look` demands).
    #[test]
    fn any_login_can_be_looked_at(
        username in "[^:\\x00\r\n]{1,20}",
        before in "(\\PC|[ \t\r\n]|\\$|%|\\{\\{|<|eyJ|\\.){0,8}",
        after in "(\\PC|[ \t\r\n=.]|\\}\\}|>|%){0,8}",
    ) {
        let password = format!("{before}hunter2{after}");
        look(&one("r.example", &username, &password), "");
        look(&one("gcr.io", "_json_key", &STANDARD.encode(&password)), "");
        look(&one("r.example", "alice", &jwt(NOW).replace("hunter2", &URL_SAFE_NO_PAD.encode(&password))), "");
    }
}

#[test]
fn what_stays_sealed_is_counted() {
    let seal = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n";
    let findings = look(&site("docker, enroot", &[("r.example", "machine", seal), ("s.example", "alice", "changeme")]), "");
    assert_eq!((findings.logins, findings.hosts, findings.sealed), (2, 2, 1));
    let ids: Vec<&str> = findings.found.iter().map(|f| f.rule.id).collect();
    assert_eq!(ids, [id::NETRC_KEYWORD, id::PLACEHOLDER], "names are looked at all the same");
    // A login without a password is no password that stayed sealed.
    assert_eq!(look(&with(password("hunter2"), ", password: \"hunter2\"", ""), "").sealed, 0);
}

#[test]
fn a_limit_narrows_what_is_looked_at() {
    let text = "version: 1\ngroups:\n  a: {hosts: a, logins: [l], targets: [docker]}\n  b: {hosts: b, logins: [m], targets: [docker]}\nlogins:\n  l: {registry: r, username: $X, password: hunter2}\n  m: {registry: s, username: u, password: hunter2}\n";
    let mut read = |_: &Path| Ok::<_, Error>(text.to_string());
    let survey = survey(Path::new("i.yml"), &mut read, LoadOptions { allow_plaintext: true, allow_expired: false, now: NOW }).unwrap();
    for (hosts, want) in [(None, 1), (Some(&[0][..]), 1), (Some(&[1][..]), 0), (Some(&[][..]), 0)] {
        let chosen = hosts.map(|hosts| Chosen { hosts: hosts.to_vec(), namespaces: Vec::new() });
        assert_eq!(lint(&Subject::new(&survey, chosen.as_ref(), NOW)).found.len(), want, "{hosts:?}");
    }
}
