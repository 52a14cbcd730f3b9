//! Passwords that come anew for each run (`password_command:`, `password_file:`), through the program itself: who has them, when, and when not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;

const PASSWORD: &str = "planted-Secret_9x7";

/// A folder with `i.yml` for one host, which is a folder `node` of this machine, and `vault.yml` with the logins.
struct Site(tempfile::TempDir);

impl Site {
    /// `login` are the lines of login `it`, without their indentation.
    fn new(login: &str) -> Self {
        let site = Site(tempfile::tempdir().unwrap());
        for dir in ["node/root", "node/var/lib", "home"] {
            fs::create_dir_all(site.path(dir)).unwrap();
            fs::set_permissions(site.path(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        site.login(login);
        let host = format!("here: {{connection: local, root: {}}}", site.path("node").display());
        site.write(
            "i.yml",
            &format!("version: 1\nid: site\nvault: vault.yml\ngroups:\n  g: {{hosts: here, logins: [it], targets: [docker]}}\nhosts:\n  {host}\n"),
            0o644,
        );
        site
    }

    fn login(&self, lines: &str) {
        let lines: String = lines.lines().map(|l| format!("    {l}\n")).collect();
        self.write("vault.yml", &format!("version: 1\nlogins:\n  it:\n    registry: registry.example.org\n    username: alice\n{lines}"), 0o644);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A program for sh that first says that it was run.
    fn program(&self, name: &str, script: &str) {
        self.write(name, &format!("#!/bin/sh\necho x >>runs\n{script}\n"), 0o755);
    }

    /// How often programs were run since this was asked.
    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count();
        let _ = fs::remove_file(self.path("runs"));
        runs
    }

    /// A line for bash, in which `regprov` is the program under test.
    fn run(&self, line: &str) -> (i32, String, String) {
        let regprov = Path::new(env!("CARGO_BIN_EXE_regprov")).parent().unwrap();
        let mut command = Command::new("setsid");
        command.args(["-w", "bash", "-uc", line]).current_dir(&self.0).env_clear().stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", regprov.display())).env("HOME", self.path("home"));
        let out = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    /// Runs it, demands the exit code and words of what it says, and that nothing of the password is said.
    #[track_caller]
    fn ends(&self, line: &str, code: i32, words: &[&str]) {
        let (got, out, err) = self.run(line);
        assert_eq!(got, code, "{line}: {out}{err}");
        let all = format!("{out}{err}");
        for word in words {
            assert!(all.contains(word), "{line}: no {word:?} in {all}");
        }
        assert!(!all.contains(PASSWORD) && !all.contains("planted"), "{line}: {all}");
    }

    /// The password that the node has.
    fn on_node(&self) -> String {
        let file: serde_json::Value = serde_json::from_str(&fs::read_to_string(self.path("node/root/.docker/config.json")).unwrap()).unwrap();
        let auth = file["auths"]["registry.example.org"]["auth"].as_str().unwrap().to_string();
        let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(auth).unwrap()).unwrap();
        text.strip_prefix("alice:").unwrap().to_string()
    }
}

const APPLY: &str = "regprov apply i.yml";

#[test]
fn a_password_is_had_once_for_each_run_and_written() {
    let site = Site::new("password_command: [./token, it is]\nexpires: 2099-01-01");
    site.program("token", "printf '%s %s %s\\r\\n' \"$1\" \"$(wc -l <runs)\" \"$REGPROV_X\"");
    // Two hosts and two targets: one password.
    let text = fs::read_to_string(site.path("i.yml")).unwrap();
    let other = format!("  too: {{connection: local, root: {}}}\n", site.path("other").display());
    for dir in ["other/root", "other/var/lib"] {
        fs::create_dir_all(site.path(dir)).unwrap();
    }
    site.write("i.yml", &(text.replace("hosts: here", "hosts: [here, too]").replace("[docker]", "[docker, enroot]") + &other), 0o644);
    site.ends(&format!("export REGPROV_X=no; {APPLY} --check"), 0, &["would be changed: here,too (2)"]);
    assert_eq!(site.runs(), 1, "a check has it too");
    site.ends(&format!("export REGPROV_X=no; {APPLY}"), 0, &["changed: here,too (2)"]);
    assert_eq!((site.on_node().as_str(), site.runs()), ("it is 1 ", 1));
    let files = ["node", "other"].map(|node| fs::read(site.path(node).join("root/.docker/config.json")).unwrap());
    assert_eq!(files[0], files[1]);
    // Another password for another run.
    site.program("token", &format!("echo {PASSWORD}"));
    site.ends(APPLY, 0, &["changed: here,too (2)"]);
    assert_eq!((site.on_node().as_str(), site.runs()), (PASSWORD, 1));
    site.ends(APPLY, 0, &["unchanged: here,too (2)"]);
    // Its registry is not there, so that this proves nothing but who was asked.
    site.runs();
    let (_, out, err) = site.run("regprov verify i.yml");
    assert!(out.contains("registry.example.org") && !out.contains(PASSWORD), "{out}{err}");
    assert_eq!(site.runs(), 1);
    // What is not wanted on the chosen hosts is not had.
    site.runs();
    site.write("i.yml", &fs::read_to_string(site.path("i.yml")).unwrap().replace("logins: [it]", "logins: []"), 0o644);
    site.ends(&format!("{APPLY} --prune"), 0, &["changed: here,too (2)"]);
    assert_eq!(site.runs(), 0);
}

#[test]
fn who_only_looks_runs_nothing() {
    let site = Site::new("password_command: [./token]");
    site.program("token", &format!("echo {PASSWORD}"));
    site.ends(APPLY, 0, &["changed: here"]);
    assert_eq!(site.runs(), 1);
    for (line, code, words) in [
        ("regprov hosts i.yml", 0, &["here"][..]),
        ("regprov lint i.yml", 0, &["nothing found"]),
        ("regprov expiry i.yml", 0, &["unknown"]),
        ("regprov explain i.yml here registry.example.org", 0, &[]),
        ("regprov ping i.yml", 0, &[]),
        ("regprov status i.yml", 0, &["passwords were not compared for it: they come anew for each run", "same: here"]),
        ("regprov status i.yml --identity none.txt", 0, &["passwords were not compared for it"]),
        (
            "regprov rotate start i.yml it --no-verify",
            2,
            &["vault.yml:3:3: the password of login `it` comes from `password_command`", "no vault holds one to rotate"],
        ),
        ("regprov vault show vault.yml", 0, &["nobody: password_command"]),
        ("regprov vault show vault.yml --reveal --identity-command ./id", 0, &["nobody: password_command"]),
        ("regprov vault list vault.yml --json", 0, &["\"password\": \"command\""]),
        (
            "regprov vault get vault.yml it --identity-command ./id | cat",
            0,
            &["the password of login `it` is not in this file: it comes from `password_command`"],
        ),
        ("regprov remove i.yml --all --check", 0, &[]),
    ] {
        site.write("id", "#!/bin/sh\necho AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0\n", 0o755);
        site.ends(line, code, words);
        assert_eq!(site.runs(), 0, "{line}");
    }
    // The vault commands that write leave it alone.
    let text = fs::read_to_string(site.path("vault.yml"))
        .unwrap()
        .replace("version: 1\n", "version: 1\nrecipients: [age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj]\n");
    site.write("vault.yml", &text, 0o644);
    site.ends(
        "echo new | regprov vault set vault.yml it",
        2,
        &["login `it` takes its password from `password_command`", "nothing was written", "take `password_command` out of it first"],
    );
    assert_eq!(fs::read_to_string(site.path("vault.yml")).unwrap(), text);
    site.ends("echo new | regprov vault set vault.yml other --registry quay.io --username bob", 0, &["login `other` for quay.io is sealed"]);
    site.ends("regprov vault rename vault.yml it that", 0, &[]);
    site.ends("regprov vault unset vault.yml other", 0, &[]);
    let after = fs::read_to_string(site.path("vault.yml")).unwrap();
    let body = after.split("\nvault_id").next().unwrap();
    assert_eq!(body.trim_end(), text.replace("  it:", "  that:").trim_end());
    assert_eq!(site.runs(), 0);
}

#[test]
fn what_a_command_does_wrong_is_told_and_nothing_is_written() {
    let site = Site::new("password_command: [./token]");
    for (script, code, words) in [
        (
            "echo nobody is logged in >&2; echo planted; exit 3",
            5,
            &["vault.yml:3:3: the password of login `it`: `./token` failed (exit status: 3); it said: nobody is logged in"][..],
        ),
        ("kill -9 $$", 5, &["failed (signal: 9"]),
        ("true", 5, &["what `./token` printed: password is empty"]),
        ("echo", 5, &["password is empty"]),
        ("printf 'planted\\000x'", 5, &["password contains a NUL byte"]),
        ("printf 'planted\\377'", 5, &["what `./token` printed is not UTF-8"]),
        ("head -c 65537 /dev/zero", 5, &["is longer than 64 KiB"]),
        ("head -c 70000 /dev/zero", 5, &["`./token` printed more than 65538 bytes"]),
        ("read x && echo planted", 5, &["`./token` failed (exit status: 1)"]),
    ] {
        site.program("token", script);
        site.ends(APPLY, code, words);
        assert!(!site.path("node/root/.docker").exists(), "{script}");
    }
    site.login("password_command: [no-such-program-anywhere]");
    site.ends(APPLY, 5, &["`no-such-program-anywhere` cannot be run: it is not in PATH", "without a shell"]);
    // A token that says that it has ended.
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"exp":1600000000}"#);
    site.login("password_command: [./token]");
    site.program("token", &format!("echo eyJhbGciOiJub25lIn0.{payload}.x"));
    site.ends(APPLY, 2, &["login `it` for registry.example.org has expired", "as its password says"]);
    // One that ends soon is no news: it does each time.
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{soon}}}"#));
    site.program("token", &format!("echo eyJhbGciOiJub25lIn0.{payload}.x"));
    let (code, out, err) = site.run(APPLY);
    assert!(code == 0 && !err.contains("expires soon"), "{out}{err}");
}

#[test]
#[ignore = "needs half a minute"]
fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let site = Site::new("password_command: [./token]");
    site.program("token", "echo waiting >&2; sleep 600 & echo $! >pid; wait");
    let start = Instant::now();
    site.ends(APPLY, 5, &["`./token` did not end within 30 s and was killed; it said: waiting"]);
    assert!(start.elapsed() > Duration::from_secs(29) && start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    let pid = fs::read_to_string(site.path("pid")).unwrap();
    // The signal was sent; the kernel takes its time.
    let stat = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let is_gone = |stat: &str| stat.is_empty() || stat.rsplit(')').next().unwrap().trim_start().starts_with('Z');
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_gone(&stat()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(is_gone(&stat()), "{}", stat());
}

#[test]
fn a_file_holds_it() {
    let site = Site::new("password_file: secrets/token");
    site.write("secrets/token", &format!("{PASSWORD}\n"), 0o600);
    site.write("home/token", "from home", 0o400);
    for (login, password) in [
        ("password_file: secrets/token".to_string(), PASSWORD),
        ("password_file: ~/token".to_string(), "from home"),
        (format!("password_file: {}", site.path("secrets/token").display()), PASSWORD),
    ] {
        site.login(&login);
        let _ = fs::remove_dir_all(site.path("node/root/.docker"));
        site.ends(APPLY, 0, &["changed: here"]);
        assert_eq!(site.on_node(), password, "{login}");
    }
    // It is looked for beside the file that names it, wherever the program is run.
    site.login("password_file: secrets/token");
    let _ = fs::remove_dir_all(site.path("node/root/.docker"));
    site.ends("cd home && regprov apply ../i.yml", 0, &["changed: here"]);
    // A pipe passes, and a person who is slow with it.
    site.login("password_file: pipe");
    assert!(Command::new("mkfifo").arg(site.path("pipe")).status().unwrap().success());
    let _ = fs::remove_dir_all(site.path("node/root/.docker"));
    site.ends(&format!("(sleep 1; echo {PASSWORD} >pipe) & {APPLY}"), 0, &["changed: here"]);
    assert_eq!(site.on_node(), PASSWORD);

    fs::create_dir(site.path("folder")).unwrap();
    site.write("open", PASSWORD, 0o644);
    site.write("group", PASSWORD, 0o640);
    site.write("empty", "\n", 0o600);
    for (path, words) in [
        ("none", &["cannot be read: there is no such file"][..]),
        ("folder", &["folder is neither a file nor a pipe"]),
        ("/dev/zero", &["/dev/zero is neither a file nor a pipe"]),
        ("open", &["open can be read or changed by others (mode 0644)", "chmod 600"]),
        ("group", &["group can be read or changed by others (mode 0640)"]),
        ("empty", &["password is empty"]),
    ] {
        site.login(&format!("password_file: {path}"));
        site.ends(APPLY, 5, &[&["vault.yml:3:3: the password of login `it`: "], words].concat());
    }
}

/// Who could have written what names a program or a file could have anything of ours sent to a registry or host of theirs.
#[test]
fn files_of_others_have_nothing_run_and_nothing_read() {
    let site = Site::new("password_command: [./token]");
    site.program("token", &format!("echo {PASSWORD}"));
    site.write("inside", PASSWORD, 0o600);
    site.write("home/outside", PASSWORD, 0o600);
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), PASSWORD).unwrap();
    std::os::unix::fs::symlink(outside.path(), site.path("link")).unwrap();
    site.write(".git/config", PASSWORD, 0o600);
    let far = format!("password_file: {}", outside.path().display());
    let inside = "password_file: inside".to_string();
    for (login, environment, mode, refused) in [
        ("password_command: [./token]".to_string(), "CI=false", 0o644, None),
        ("password_command: [./token]".to_string(), "CI=true", 0o644, Some("runs a program, and CI is set")),
        ("password_command: [./token]".to_string(), "CI=", 0o664, Some("runs a program, and its group can write vault.yml")),
        ("password_command: [./token]".to_string(), "CI=", 0o646, Some("everybody can write")),
        (inside.clone(), "CI=true", 0o644, None),
        (inside, "CI=", 0o664, Some("reads a file, and its group can write vault.yml")),
        (far.clone(), "CI=", 0o644, None),
        (far, "CI=true", 0o644, Some("reads a file, and CI is set, and it is no file of the repository")),
        ("password_file: link".to_string(), "CI=true", 0o644, Some("no file of the repository")),
        ("password_file: .git/config".to_string(), "CI=true", 0o644, Some("no file of the repository")),
        ("password_file: /proc/self/environ".to_string(), "CI=true", 0o644, Some("no file of the repository")),
        // Descriptors have no path; the one of a pipe is what a job hands over a key with.
        ("password_file: /dev/stdin".to_string(), "CI=true", 0o644, Some("it is a descriptor of a process")),
        ("password_file: /proc/self/fd/7".to_string(), "CI=true", 0o644, Some("it is a descriptor of a process")),
        ("password_file: inside/../home/../../../proc/self/environ".to_string(), "CI=true", 0o644, Some("Not a directory")),
    ] {
        site.login(&login);
        fs::set_permissions(site.path("vault.yml"), fs::Permissions::from_mode(mode)).unwrap();
        let line = format!("export {environment}; exec 7< <(echo {PASSWORD}) 0< <(echo {PASSWORD}); {APPLY}");
        let _ = fs::remove_dir_all(site.path("node/root/.docker"));
        match refused {
            None => site.ends(&line, 0, &["changed: here"]),
            Some(words) => {
                site.ends(&line, 2, &["vault.yml:3:3: `password_", words, "--allow-commands"]);
                assert_eq!(site.runs(), 0, "{login}");
                // Who looks needs no leave; who gives it runs it.
                site.ends(&format!("export {environment}; regprov hosts i.yml; regprov lint i.yml"), 0, &[]);
                if !login.contains("/proc/") {
                    site.ends(&format!("{line} --allow-commands"), 0, &["changed: here"]);
                }
            }
        }
        site.runs();
    }
    // A folder in which others can put another vault in its place.
    site.login("password_command: [./token]");
    for (mode, code) in [(0o777, 2), (0o775, 2), (0o1777, 0), (0o755, 0)] {
        fs::set_permissions(site.0.path(), fs::Permissions::from_mode(mode)).unwrap();
        let said = if code == 0 { "here" } else { "--allow-commands" };
        site.ends(&format!("export CI=; {APPLY}"), code, &[said]);
        assert_eq!(site.runs(), usize::from(code == 0), "{mode:o}");
    }
}

#[test]
fn a_wrong_login_is_refused_before_anything_is_had() {
    let site = Site::new("");
    site.program("token", &format!("echo {PASSWORD}"));
    for (lines, words) in [
        ("password_command: [./token]\npassword_file: x", "login `it` has both `password_command` and `password_file`"),
        ("password: x\npassword_command: [./token]", "has both `password` and `password_command`"),
        ("password_command: ./token", "`password_command` of login `it` must be a list, not text"),
        ("password_command: []", "names no program"),
        ("password_command: ['']", "names no program"),
        ("password_command: [a, 1]", "must be text, not a number"),
        ("password_file: ''", "is no path"),
        ("password_file: ~bob/x", "is no path"),
        ("password_file: [x]", "`password_file` of login `it` must be text"),
        ("password_command: [./token]\nfingerprint: x", "`fingerprint` goes with a sealed password"),
        ("password_command: [./token]\nauth_hosts: [https://x]", "auth host `https://x` is no host name"),
        ("password: x\nauth_hosts: [auth.example.org]", "`auth_hosts` goes with `password_command` and `password_file` alone"),
        ("password_command:", "login `it` has no password"),
        ("pasword_command: [x]", "did you mean `password_command`?"),
    ] {
        site.login(lines);
        site.ends(APPLY, 2, &["vault.yml:", words]);
        assert_eq!(site.runs(), 0, "{lines}");
    }
    // The auth hosts beside a command go where those in a seal would.
    site.login("password_command: [./token]\nauth_hosts: [auth.example.org]");
    let text = fs::read_to_string(site.path("i.yml")).unwrap().replace("[docker]", "[{enroot: {path: /root/creds}}]");
    site.write("i.yml", &text, 0o644);
    site.ends(APPLY, 0, &["changed: here"]);
    let creds = fs::read_to_string(site.path("node/root/creds")).unwrap();
    assert!(creds.contains("machine auth.example.org login alice password ") && creds.contains("machine registry.example.org "), "{creds}");
}

#[test]
fn a_registry_of_amazon_without_either_is_a_warning() {
    let site = Site::new("");
    site.program("token", "echo x");
    for (host, login, warned) in [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "password: x", true),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "password: x", true),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "password: x\n    expires: 2099-01-01", false),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "password_command: [./token]", false),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "password_file: token", false),
        ("public.ecr.aws", "password: x", false),
        ("dkr.ecr.example.org", "password: x", false),
    ] {
        let vault = format!("version: 1\nlogins:\n  it:\n    registry: {host}\n    username: AWS\n    {login}\n");
        site.write("vault.yml", &vault, 0o644);
        let (_, out, err) = site.run("regprov lint i.yml --allow-plaintext");
        assert_eq!(out.contains("ecr-without-expiry"), warned, "{host} {login}: {out}{err}");
        assert_eq!(out.contains("password_command: [aws, ecr, get-login-password]"), warned, "{out}");
    }
}
