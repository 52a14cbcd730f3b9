//! Properties of the formats: any username and password is read back by each consumer's own rules, or is refused for
//! exactly the rules listed here, which are written down a second time and independently of the crate.

use regprov::format::{Merge, MergeOptions, NodeFacts, consumer};
use regprov::model::{CurlVersion, Login, Registry, RemotePath, Secret, Target, TargetKind, Username};

use proptest::prelude::*;

fn login(username: &str, password: &str) -> Login {
    Login {
        name: "one".into(),
        registry: Registry::parse("r.example.org").unwrap().0,
        username: Username::parse(username).unwrap(),
        password: Secret::new(password.to_string()),
        auth_hosts: Vec::new(),
        expires: None,
    }
}

fn target(kind: TargetKind) -> Target {
    Target { logins: vec!["one".into()], ..Target::at(kind, RemotePath::parse(consumer(kind).default_path).unwrap()) }
}

/// What is written for this login, each file by its name; or the refusal, at check or for this node.
fn written(kind: TargetKind, login: &Login, curl: Option<CurlVersion>) -> Result<Vec<(String, Vec<u8>)>, String> {
    let (row, target, logins) = (consumer(kind), target(kind), [login]);
    let problems = (row.check)(&target, &logins);
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    let config = b"version = 2
imports = [\"/etc/containerd/conf.d/*.toml\"]
"
    .to_vec();
    let conf = if kind == TargetKind::Containerd { vec![("/etc/containerd/config.toml".to_string(), config.into())] } else { Vec::new() };
    let facts = NodeFacts { curl, conf, ..NodeFacts::default() };
    let mut files = Vec::new();
    for spec in (row.files)(&target) {
        let m = Merge { target: &target, spec: &spec, logins: &logins, existing: None, facts: &facts, options: MergeOptions::default() };
        let bytes = (row.merge)(&m)?.write.expect("nothing is there, so something is written");
        (row.read_back)(&m, &bytes)?;
        files.push((spec.path.file_name().to_string(), bytes.to_vec()));
    }
    Ok(files)
}

/// Text that hits the rules: words, quotes, white space, controls, signs that shells and netrc know, letters of all kinds.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -~]{1,6}",
        1 => prop::sample::select(vec!["machine", "Default", "MACDEF", "login", "password", "account", "$(id)", "$", "\"", "\\", "#", "'", "!", "`", "\\!", "[x]", "*"]).prop_map(str::to_string),
        1 => prop::sample::select(vec![" ", "\t", "\n", "\r", "\u{b}", "\u{c}", "\u{1}", "\u{7f}", "\0", "\u{a0}", "\u{85}", "\u{2003}", "\u{fdd0}", "\u{fffe}", "\u{1ffff}"]).prop_map(str::to_string),
        1 => "[äöü€ß漢😀]{1,3}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop_oneof![12 => prop::collection::vec(piece, 1..5).prop_map(|p| p.concat()), 1 => (100usize..160).prop_map(|n| "x".repeat(n)), 1 => (3900usize..4100).prop_map(|n| "y".repeat(n))]
}

fn username() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z$_+.-]{1,12}", 2 => nasty()].prop_filter("a username", |u| Username::parse(u).is_ok())
}

/// The consumers of Docker's JSON and its relatives.
fn json() -> impl Strategy<Value = TargetKind> {
    use TargetKind::{Apptainer, Crio, Docker, Helm, Kubelet, Podman};
    prop::sample::select(vec![Docker, Podman, Apptainer, Helm, Kubelet, Crio])
}

const CURLS: [&str; 8] = ["7.61.1", "7.76.1", "7.81.0", "7.88.1", "8.5.0", "8.11.0", "8.14.1", "8.21.0"];

fn is_keyword(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "machine" | "default" | "macdef")
}

fn is_portable(text: &str) -> bool {
    text.chars().all(|c| ('!'..='~').contains(&c)) && !text.starts_with('"') && !text.starts_with('#')
}

/// The rules that a value breaks for enroot, each listed once.
fn enroot_rules(text: &str, curl: Option<(u16, u16, u16)>) -> Vec<&'static str> {
    let mut broken = Vec::new();
    if is_keyword(text) {
        broken.push("netrc keyword");
    }
    if text.contains('\0') {
        broken.push("NUL byte");
    }
    match curl {
        None if !is_portable(text) || text.len() > 127 => broken.push("curl was not found there"),
        Some((8, 11, 0)) if text.len() > 127 => broken.push("at most 127 bytes"),
        Some(v) if v < (7, 84, 0) && text.chars().any(|c| " \t\n".contains(c)) => broken.push("needs curl >= 7.84"),
        _ => {}
    }
    broken
}

/// How long a line is at least; the rule of 4000 bytes is near it, so that values between the two are left out.
fn line_len(user: &str, password: &str) -> usize {
    "machine r.example.org login  password ".len() + user.len() + password.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn readers_of_json_read_every_login_or_it_has_a_nul(user in username(), password in nasty(), kind in json()) {
        let got = written(kind, &login(&user, &password), None);
        prop_assert_eq!(got.is_err(), password.contains('\0'), "{:?}", got.as_ref().err());
        if let Ok(files) = got {
            use base64::Engine;
            let document: serde_json::Value = serde_json::from_slice(&files[0].1).unwrap();
            let auth = document["auths"]["r.example.org"]["auth"].as_str().unwrap();
            let plain = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(auth).unwrap()).unwrap();
            prop_assert_eq!(plain.split_once(':'), Some((user.as_str(), password.as_str())));
        }
    }

    #[test]
    fn enroot_reads_every_login_or_one_rule_refuses_it(user in username(), password in nasty(), which in 0..=CURLS.len()) {
        prop_assume!(user.len() + password.len() < 3500 || line_len(&user, &password) > 4000);
        prop_assume!(user != "_json_key");
        let curl = CURLS.get(which).map(|v| CurlVersion::parse(v).unwrap());
        let key = curl.map(|v| (v.0, v.1, v.2));
        let mut rules = enroot_rules(&user, key);
        rules.extend(enroot_rules(&password, key));
        if rules.is_empty() && line_len(&user, &password) > 4000 {
            rules.push("longer than the 4000 bytes");
        }
        match written(TargetKind::Enroot, &login(&user, &password), curl) {
            // Written means read back: `written` asks the three readers over the whole file.
            Ok(files) => {
                prop_assert!(rules.is_empty(), "written though {rules:?}");
                let text = String::from_utf8(files[0].1.clone()).unwrap();
                prop_assert_eq!(text.matches('\n').count(), 1, "one line for one host");
                let sixth = text.split([' ', '\t', '\n']).filter(|f| !f.is_empty()).nth(5);
                prop_assert!(!sixth.is_some_and(|f| f.starts_with('$')), "enroot would run it");
            }
            Err(why) => {
                prop_assert!(rules.iter().any(|rule| why.contains(rule)) || (why.contains("longer than") && line_len(&user, &password) > 4000), "{why} is none of {rules:?}");
                prop_assert!(password.len() < 12 || !why.contains(&password), "the password is told");
            }
        }
    }

    #[test]
    fn singularity_reads_every_login_or_one_rule_refuses_it(user in username(), password in nasty()) {
        let rules: Vec<&str> = [user.as_str(), password.as_str()].into_iter().filter_map(|text| {
            let code = |c: char| c as u32;
            if text.trim_matches(char::is_whitespace).len() != text.len() {
                Some("TrimSpace")
            } else if text.chars().any(|c| (code(c) < 32 && !matches!(code(c), 9 | 10)) || code(c) == 127) {
                Some("control character")
            } else {
                text.chars().any(|c| matches!(code(c), 0xfdd0..=0xfdef) || matches!(code(c) % 0x10000, 0xfffe | 0xffff)).then_some("no character")
            }
        }).collect();
        match written(TargetKind::Singularity, &login(&user, &password), None) {
            Ok(files) => {
                prop_assert!(rules.is_empty(), "written though {rules:?}");
                prop_assert!(files.iter().filter(|(name, _)| name.starts_with("regprov-")).all(|(_, b)| password.len() < 6 || !String::from_utf8_lossy(b).contains(&password)));
            }
            Err(why) => {
                prop_assert!(!rules.is_empty() && rules.iter().all(|rule| why.contains(rule)), "{why} against {rules:?}");
            }
        }
    }

    #[test]
    fn no_file_on_a_node_makes_a_merge_panic_or_lose_a_foreign_line(existing in "([ -~\t\r\n\"]|machine |login |password |default |macdef |r.example.org ){0,40}") {
        let l = login("u", "pw-1");
        let (row, target, logins) = (consumer(TargetKind::Enroot), target(TargetKind::Enroot), [&l]);
        let spec = &(row.files)(&target)[0];
        for curl in [None, Some(CurlVersion(7, 76, 1)), Some(CurlVersion(8, 14, 1))] {
            let facts = NodeFacts { curl, ..NodeFacts::default() };
            let m = Merge { target: &target, spec, logins: &logins, existing: Some(existing.as_bytes()), facts: &facts, options: MergeOptions::default() };
            let Ok(merged) = (row.merge)(&m) else { continue };
            let bytes = merged.write.as_ref().map_or(existing.as_bytes(), |b| b.as_slice());
            prop_assert_eq!((row.read_back)(&m, bytes), Ok(()));
            let foreign = |text: &[u8]| -> Vec<Vec<u8>> {
                text.split(|b| *b == b'\n').filter(|l| !l.is_empty() && !String::from_utf8_lossy(l).to_lowercase().contains("r.example.org")).map(<[u8]>::to_vec).collect()
            };
            prop_assert_eq!(foreign(bytes), foreign(existing.as_bytes()));
        }
    }

    #[test]
    fn no_json_on_a_node_makes_a_merge_panic_or_lose_a_foreign_entry(keys in prop::collection::vec("[a-z./:\"é]{1,8}", 0..4), bytes in prop::collection::vec(any::<u8>(), 0..30), kind in json()) {
        let l = login("u", "pw-1");
        // What stands in the node's other files does no more harm.
        let conf = ["/run/containers/0/auth.json", "/etc/crio/crio.conf.d/99-x.conf"].map(|path| (path.to_string(), bytes.clone().into()));
        let (row, target, logins, facts) = (consumer(kind), target(kind), [&l], NodeFacts { conf: conf.into(), ..NodeFacts::default() });
        let spec = &(row.files)(&target)[0];
        let m = |existing| Merge { target: &target, spec, logins: &logins, existing: Some(existing), facts: &facts, options: MergeOptions::default() };
        let _ = (row.merge)(&m(&bytes));
        let auths: serde_json::Map<String, serde_json::Value> = keys.iter().map(|k| (k.clone(), serde_json::json!({"auth": "bzpw"}))).collect();
        let existing = serde_json::to_vec(&serde_json::json!({"auths": auths, "x": keys})).unwrap();
        let merged = (row.merge)(&m(&existing)).unwrap();
        let mut document: serde_json::Value = serde_json::from_slice(&merged.write.unwrap()).unwrap();
        prop_assert!(document["auths"].as_object_mut().unwrap().remove("r.example.org").is_some());
        prop_assert_eq!(document, serde_json::from_slice::<serde_json::Value>(&existing).unwrap());
    }
}

/// Characters that do not come through single-quoted YAML, Go's `%q` and TOML.
fn is_lost_in_registries_yaml(c: char) -> bool {
    let code = c as u32;
    code < 0x20 || (0x7f..=0x9f).contains(&code) || [0x2028, 0x2029, 0xfeff, 0xfffe, 0xffff].contains(&code)
}

/// A registries.yaml that others wrote: comments, mirrors, entries in both styles, perhaps one for our registry.
fn registries_yaml() -> impl Strategy<Value = String> {
    let mirrors = prop::sample::select(vec![
        "",
        "# of the site\nmirrors:\n  docker.io:\n    endpoint:\n    - \"https://m.example.org\"  # first\n",
        "mirrors: {docker.io: {endpoint: [\"https://m.example.org\"]}}\n\n",
        "mirrors:\n  a: &m\n    endpoint: []\n  b: *m\n# after them\n",
        "mirrors:\n",
        "\"mirrors\":\n    '*':\n        rewrite:\n            \"^(.*)\": |\n                $1\n\n",
    ]);
    let entry = prop::sample::select(vec![
        "  x.example.org:\n    tls:\n      ca_file: /a # its CA\n",
        "  'y.example.org:5000': {tls: {insecure_skip_verify: yes}, auth: {username: bob, password: \"a b\"}}\n",
        "  # a note\n  z.example.org:\n    auth:\n      username: bob\n      password: >-\n        folded\n        text\n\n",
        "  n.example.org:\n",
    ]);
    let ours = prop::sample::select(vec![
        "",
        "  r.example.org:\n",
        "  r.example.org: {}\n",
        "  \"r.example.org\": {tls: {ca_file: /r}}\n",
        "  r.example.org:\n    tls:\n      ca_file: /r\n    auth: {username: old, password: 'x', auth: eDp5}\n",
        "  r.example.org:\n    auth:\n      username: old\n      identity_token: t\n    # its CA\n    tls: {ca_file: /r}\n",
    ]);
    let configs = prop_oneof![
        1 => Just(String::new()),
        1 => prop::sample::select(vec!["configs:\n", "configs: {}\n", "configs: ~ # none\n", "configs: {w.example.org: {tls: {}}}\n", "configs: {r.example.org: {}, w: }\n"]).prop_map(String::from),
        6 => (prop::sample::subsequence(vec![0, 1, 2, 3], 0..4), prop::collection::vec(entry, 4), ours, any::<bool>()).prop_map(|(kept, entries, ours, first)| {
            let mut texts: Vec<&str> = entries.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, e)| e).collect();
            texts.sort();
            texts.dedup();
            texts.insert(if first { 0 } else { texts.len() }, ours);
            format!("configs:\n{}", texts.concat())
        }),
    ];
    let end = prop::sample::select(vec!["", "\n# the end\n", "other: 1", "# no line break"]);
    (mirrors, configs, any::<bool>(), end).prop_map(|(mirrors, configs, swap, end)| {
        let text = if swap { format!("{configs}{mirrors}{end}") } else { format!("---\n{mirrors}{configs}{end}") };
        text.trim_start_matches('\n').to_string()
    })
}

/// A registries.yaml by a reader of its own: what is not ours, and our `auth`.
fn apart(text: &str) -> (serde_json::Value, Option<serde_json::Value>) {
    use serde_json::{Value, json};
    let mut document: Value = serde_yaml::from_str(text).unwrap();
    if document.is_null() {
        document = json!({});
    }
    let mut login = None;
    let top = document.as_object_mut().unwrap();
    let mut configs = top.shift_remove("configs").filter(|c| !c.is_null()).unwrap_or(json!({}));
    let entries = configs.as_object_mut().unwrap();
    if let Some(mut entry) = entries.shift_remove("r.example.org").filter(|e| !e.is_null()) {
        if let Some(auth) = entry.as_object_mut().unwrap().shift_remove("auth") {
            login = Some(auth);
        }
        if entry.as_object().is_some_and(|e| !e.is_empty()) {
            top.insert("ours".into(), entry);
        }
    }
    top.insert("others".into(), configs);
    (document, login)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn k3s_reads_every_login_or_one_rule_refuses_it(user in username(), password in nasty()) {
        let got = written(TargetKind::K3s, &login(&user, &password), None);
        let lost = user.contains(is_lost_in_registries_yaml) || password.contains(is_lost_in_registries_yaml);
        prop_assert_eq!(got.is_err(), lost, "{:?}", got.as_ref().err());
        if let Ok(files) = got {
            let (_, found) = apart(std::str::from_utf8(&files[0].1).unwrap());
            prop_assert_eq!(found, Some(serde_json::json!({"username": user, "password": password})));
        }
    }

    #[test]
    fn containerd_reads_every_login_or_it_has_a_nul(user in username(), password in nasty()) {
        let got = written(TargetKind::Containerd, &login(&user, &password), None);
        prop_assert_eq!(got.is_err(), password.contains('\0'), "{:?}", got.as_ref().err());
        if let Ok(files) = got {
            let document: toml_edit::DocumentMut = std::str::from_utf8(&files[0].1).unwrap().parse().unwrap();
            let auth = &document["plugins"]["io.containerd.grpc.v1.cri"]["registry"]["configs"]["r.example.org"]["auth"];
            prop_assert_eq!((auth["username"].as_str(), auth["password"].as_str()), (Some(user.as_str()), Some(password.as_str())));
        }
    }

    #[test]
    fn a_registries_yaml_of_others_keeps_what_is_theirs(before in registries_yaml(), password in "[ -~]{1,12}") {
        let l = login("alice", &password);
        let (row, target, logins, facts) = (consumer(TargetKind::K3s), target(TargetKind::K3s), [&l], NodeFacts::default());
        let spec = (row.files)(&target).swap_remove(0);
        let m = Merge { target: &target, spec: &spec, logins: &logins, existing: Some(before.as_bytes()), facts: &facts, options: MergeOptions::default() };
        let merged = (row.merge)(&m).map_err(|why| TestCaseError::fail(format!("{why}\n{before}")))?;
        let after = String::from_utf8(merged.write.expect("our login is not there").to_vec()).unwrap();
        let ((theirs, _), (kept, found)) = (apart(&before), apart(&after));
        prop_assert_eq!(&kept, &theirs, "{}\n->\n{}", before, after);
        prop_assert_eq!(found, Some(serde_json::json!({"username": "alice", "password": password})));
        // Every line that is neither `configs`, nor within our entry, nor cut open in flow style is there still, in its order.
        let ours = |l: &str| l.starts_with("configs") || l.contains("r.example.org") || ["    auth", "      username: old", "      identity"].iter().any(|p| l.starts_with(p));
        let mut rest = after.lines();
        for line in before.lines().filter(|l| !ours(l)) {
            prop_assert!(rest.any(|l| l == line), "{:?} is gone or elsewhere:\n{}\n->\n{}", line, before, after);
        }
        // Taking it out again leaves what is theirs.
        let removal = regprov::format::Removal { spec: &spec, existing: after.as_bytes(), gone: &["r.example.org".to_string()], facts: &facts };
        let removed = (row.remove)(&removal).map_err(|why| TestCaseError::fail(format!("{why}\n{after}")))?;
        let left = removed.content.map_or_else(String::new, |c| String::from_utf8(c.to_vec()).unwrap());
        let (mut left, mut theirs) = (if left.is_empty() { apart("{}").0 } else { apart(&left).0 }, theirs);
        for document in [&mut left, &mut theirs] {
            // What is empty went with it.
            document["others"].as_object_mut().unwrap().retain(|_, v| !v.is_null());
        }
        prop_assert_eq!(left, theirs);
    }
}
