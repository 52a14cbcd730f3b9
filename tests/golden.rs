//! Golden folders: `tests/golden/<format>/<case>/` holds what goes in (`input.json`), what was on the node (`before/`) and
//! what must come out: the files (`after/`, or `unchanged`), what the admin reads (`diff`, `notes`), or the refusal
//! (`refused` when it depends on the node, `check` when it follows from the input). Their lines are parts of messages. Where a target
//! has several files, `diff.NAME` and `notes.NAME` are those of one.

use std::fs;
use std::path::{Path, PathBuf};

use regprov::format::{Entry, FileSpec, Merge, MergeOptions, NodeFacts, Removal, consumer};
use regprov::model::mirror::{Mirror, Runtime};
use regprov::model::{CredHelper, CurlVersion, FileMode, HelperPolicy, Login, Registry, RemotePath, Secret, Target, TargetKind, Username};
use serde_json::Value;

/// A case's input, read from its `input.json`.
struct Case {
    name: String,
    dir: PathBuf,
    target: Target,
    logins: Vec<Login>,
    /// The versions of curl with which the outcome is the same; `None` is an unknown one.
    curls: Vec<Option<CurlVersion>>,
    /// What else is known of the node.
    facts: NodeFacts,
    options: MergeOptions,
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

impl Case {
    fn read(kind: TargetKind, dir: PathBuf) -> Case {
        let name = format!("{kind}/{}", dir.file_name().unwrap().to_str().unwrap());
        let input: Value = serde_json::from_slice(&fs::read(dir.join("input.json")).unwrap_or_else(|e| panic!("{name}: input.json: {e}"))).unwrap();
        let known = ["logins", "target", "curl", "conf", "there", "replace_invalid", "drop_bad_entries"];
        assert!(input.as_object().unwrap().keys().all(|k| known.contains(&k.as_str())), "{name}: unknown key in input.json");
        let logins: Vec<Login> = input["logins"].as_array().unwrap().iter().map(login).collect();
        let empty = Value::Null;
        let t = input.get("target").unwrap_or(&empty);
        let target = Target {
            user: text(t, "user").map(str::to_string),
            owner: text(t, "owner").map(str::to_string),
            group: text(t, "group").map(str::to_string),
            mode: FileMode::secret(u32::from_str_radix(text(t, "mode").unwrap_or("0600"), 8).unwrap()).unwrap(),
            logins: logins.iter().map(|l| l.name.clone()).collect(),
            helper: if text(t, "helper") == Some("remove") { HelperPolicy::Remove } else { HelperPolicy::Fail },
            restart: t.get("restart").is_some_and(|v| v.as_bool().unwrap()),
            cred_helpers: t.get("cred_helpers").map_or_else(Vec::new, |map| map.as_object().unwrap().iter().map(cred_helper).collect()),
            mirror: text(t, "mirror").map(|url| mirror(t, url)),
            ..Target::at(kind, RemotePath::parse(text(t, "path").unwrap_or(consumer(kind).default_path)).unwrap())
        };
        let curls = match input.get("curl") {
            None => vec![None],
            Some(list) => list.as_array().unwrap().iter().map(|v| v.as_str().map(|v| CurlVersion::parse(v).unwrap())).collect(),
        };
        let conf = input.get("conf").map_or_else(Vec::new, |conf| {
            conf.as_object().unwrap().iter().map(|(path, content)| (path.clone(), content.as_str().unwrap().as_bytes().to_vec().into())).collect()
        });
        let there = input.get("there").map_or_else(Vec::new, |t| t.as_array().unwrap().iter().map(|p| p.as_str().unwrap().to_string()).collect());
        let facts = NodeFacts { conf, there, ..NodeFacts::default() };
        let flag = |key: &str| input.get(key).is_some_and(|v| v.as_bool().unwrap());
        let options = MergeOptions { replace_invalid: flag("replace_invalid"), drop_bad_entries: flag("drop_bad_entries") };
        Case { name, dir, target, logins, curls, facts, options }
    }

    fn lines(&self, file: &str) -> Option<Vec<String>> {
        fs::read_to_string(self.dir.join(file)).ok().map(|t| t.lines().map(str::to_string).collect())
    }

    /// Demands one message for each line of the file, each holding its line, and no password in any.
    #[track_caller]
    fn expect_messages(&self, file: &str, messages: &[String]) {
        if let Some(want) = self.lines(file) {
            assert_eq!(want.len(), messages.len(), "{}: {file}: {messages:#?}", self.name);
            for (want, got) in want.iter().zip(messages) {
                assert!(got.contains(want.as_str()), "{}: {file}: {want:?} is not in {got:?}", self.name);
            }
        }
        // Passwords that are common words or letters stand in messages of their own right.
        for login in self.logins.iter().filter(|l| l.password.expose().len() > 5 && l.password.expose() != "machine") {
            assert!(messages.iter().all(|m| !m.contains(login.password.expose())), "{}: a password is told", self.name);
        }
    }

    fn run(&self) {
        let row = consumer(self.target.kind);
        let logins: Vec<&Login> = self.logins.iter().collect();
        let problems = (row.check)(&self.target, &logins);
        if self.dir.join("check").exists() {
            self.expect_messages("check", &problems);
            assert!(!self.dir.join("after").exists() && !self.dir.join("refused").exists(), "{}: refused at check, so nothing else can be demanded", self.name);
            return;
        }
        assert_eq!(problems, Vec::<String>::new(), "{}", self.name);
        let wants_curl = (row.wants)(&self.target, &logins).curl;
        assert!(!self.curls.contains(&None) || !wants_curl || self.dir.join("refused").exists(), "{}: curl is wanted, so it is known", self.name);
        for curl in &self.curls {
            let facts = NodeFacts { curl: *curl, ..self.facts.clone() };
            self.run_files(&facts, &logins);
        }
    }

    /// Demands that the file's entries are what was meant, and that taking ours out again leaves exactly the others.
    fn expect_entries(&self, spec: &FileSpec, file: &[u8], logins: &[&Login], facts: &NodeFacts) {
        let (row, what) = (consumer(self.target.kind), format!("{} {}", self.name, spec.path));
        let keys = |login: &Login| (row.keys)(&login.registry, &login.auth_hosts);
        let ours: Vec<String> = logins.iter().flat_map(|l| keys(l)).chain(self.target.mirror.iter().map(ToString::to_string)).collect();
        let entries = (row.entries)(spec, file, facts).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert!(entries.iter().all(|e| logins.iter().all(|l| !(row.is_alias)(&e.key, &l.registry))), "{what}: an alias of ours is left");
        for (login, key) in logins.iter().filter(|_| spec.secret).flat_map(|l| keys(l).into_iter().map(move |key| (l, key))) {
            let entry = entries.iter().find(|e| e.key == key).unwrap_or_else(|| panic!("{what}: no entry {key}"));
            let account = entry.login.as_ref().unwrap_or_else(|| panic!("{what}: {key} holds no login"));
            assert_eq!((account.username.as_str(), &entry.note), (login.username.as_str(), &None), "{what}: {key}");
            // A service account's JSON may be written in another form of the same value.
            let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
            assert!(value(account.password.expose()) == value(login.password.expose()), "{what}: {key} has another password");
        }
        let removed = (row.remove)(&Removal { spec, existing: file, gone: &ours, facts }).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(removed.diff.is_empty(), spec.secret && ours.is_empty(), "{what}: what is removed");
        let rest = removed.content.map_or_else(Vec::new, |left| (row.entries)(spec, &left, facts).unwrap_or_else(|why| panic!("{what}: what is left: {why}")));
        let left = |entries: Vec<Entry>| entries.into_iter().map(|e| e.key).filter(|key| !ours.contains(key)).collect::<Vec<_>>();
        assert_eq!(rest.iter().filter(|e| ours.contains(&e.key)).count(), 0, "{what}: ours are left");
        assert_eq!(left(rest), left(entries), "{what}: the others");
    }

    fn run_files(&self, facts: &NodeFacts, logins: &[&Login]) {
        let row = consumer(self.target.kind);
        let mut outcomes = 0;
        for spec in (row.files)(&self.target) {
            let (before, after) = (self.dir.join("before").join(spec.path.file_name()), self.dir.join("after").join(spec.path.file_name()));
            let existing = fs::read(before).ok();
            let m = Merge { target: &self.target, spec: &spec, logins, existing: existing.as_deref(), facts, options: self.options };
            let what = format!("{} {} with curl {:?}", self.name, spec.path, facts.curl);
            let merged = match (row.merge)(&m) {
                Err(why) => {
                    assert!(self.dir.join("refused").exists(), "{what}: refused: {why}");
                    self.expect_messages("refused", &[why]);
                    outcomes += 1;
                    continue;
                }
                Ok(merged) => merged,
            };
            assert!(!self.dir.join("refused").exists(), "{what}: was not refused");
            for (file, messages) in [("diff", &merged.diff), ("notes", &merged.notes)] {
                self.expect_messages(file, messages);
                self.expect_messages(&format!("{file}.{}", spec.path.file_name()), messages);
            }
            assert_eq!(merged.write.is_none(), merged.diff.is_empty(), "{what}: a diff exactly when something is written");
            assert_eq!(merged.backup, self.options.replace_invalid && merged.write.is_some(), "{what}: backup");
            match fs::read(after) {
                Ok(want) => {
                    let got = merged.write.unwrap_or_else(|| panic!("{what}: nothing is written"));
                    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&want), "{what}");
                    assert_eq!((row.read_back)(&m, &got), Ok(()), "{what}: read back");
                    let again = (row.merge)(&Merge { existing: Some(&got), ..m }).unwrap();
                    assert!(again.write.is_none() && again.diff.is_empty() && !again.backup, "{what}: a second time changes {:?}", again.diff);
                    self.expect_entries(&spec, &got, logins, facts);
                    outcomes += 1;
                }
                Err(_) if self.dir.join("unchanged").exists() && existing.is_some() => {
                    assert!(merged.write.is_none(), "{what}: is written though unchanged: {:?}", merged.diff);
                    assert_eq!((row.read_back)(&m, existing.as_deref().unwrap()), Ok(()), "{what}: read back");
                    outcomes += 1;
                }
                Err(_) => {}
            }
        }
        assert!(outcomes > 0, "{}: the case demands nothing", self.name);
    }
}

fn cred_helper((registry, helper): (&String, &Value)) -> CredHelper {
    CredHelper { registry: Registry::parse(registry).unwrap().0, helper: helper.as_str().unwrap().to_string() }
}

fn login(value: &Value) -> Login {
    Login {
        name: text(value, "name").unwrap_or("one").to_string(),
        registry: Registry::parse(text(value, "registry").unwrap()).unwrap().0,
        username: Username::parse(text(value, "username").unwrap()).unwrap(),
        password: Secret::new(text(value, "password").unwrap().to_string()),
        auth_hosts: value.get("auth_hosts").map_or_else(Vec::new, |h| h.as_array().unwrap().iter().map(|h| h.as_str().unwrap().to_string()).collect()),
        expires: None,
    }
}

/// The mirror of a docker-mirror target.
fn mirror(target: &Value, url: &str) -> Mirror {
    let mut mirror = Mirror::parse(url, Registry::parse(text(target, "for").unwrap_or("docker.io")).unwrap().0).unwrap();
    if let Some(runtimes) = target.get("runtimes") {
        mirror.runtimes = runtimes.as_array().unwrap().iter().map(|r| Runtime::parse(r.as_str().unwrap()).unwrap()).collect();
    }
    mirror
}

/// Runs every folder of a format; `least` keeps an empty or misplaced folder from passing.
fn run(kind: TargetKind, least: usize) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(kind.name());
    let mut cases: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= least, "{} holds only {} cases", dir.display(), cases.len());
    for case in cases {
        Case::read(kind, case).run();
    }
}

#[test]
fn docker() {
    run(TargetKind::Docker, 66);
}

#[test]
fn podman() {
    run(TargetKind::Podman, 34);
}

#[test]
fn apptainer() {
    run(TargetKind::Apptainer, 11);
}

#[test]
fn helm() {
    run(TargetKind::Helm, 11);
}

#[test]
fn kubelet() {
    run(TargetKind::Kubelet, 10);
}

#[test]
fn crio() {
    run(TargetKind::Crio, 8);
}

#[test]
fn enroot() {
    run(TargetKind::Enroot, 70);
}

#[test]
fn singularity() {
    run(TargetKind::Singularity, 37);
}

#[test]
fn k3s() {
    run(TargetKind::K3s, 39);
}

#[test]
fn rke2() {
    run(TargetKind::Rke2, 2);
}

#[test]
fn containerd() {
    run(TargetKind::Containerd, 16);
}

#[test]
fn docker_mirror() {
    run(TargetKind::DockerMirror, 17);
}
