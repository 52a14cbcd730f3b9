//! What we make of `ssh -G`, held against what ssh itself does with the same configuration: the key files that it looks for.

#[path = "common/peers.rs"]
mod peers;

use std::fs;
use std::process::Command;

use peers::need;
use regprov::transport::ssh::config::{Answer, Tokens, parse};

#[test]
#[ignore = "needs ssh"]
fn key_files_are_those_that_ssh_looks_for() {
    let Some(ssh) = need("ssh") else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    // ssh names its key files once it is connected; then the server leaves. The thread ends with the test.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let common = format!("HostName 127.0.0.1\nPort {}\n", server.local_addr().unwrap().port());
    std::thread::spawn(move || server.incoming().for_each(drop));
    fs::write(file("more"), "Host inc*\n  IdentityFile ~/included-%n\n").unwrap();
    let include = format!("Include {}\nHost *\n {common}", file("more"));
    for (host, config) in [
        ("plain", format!("Host *\n {common} IdentityFile /k/a\n")),
        ("several", format!("Host *\n {common} IdentityFile /k/a\n IdentityFile ~/b\n IdentityFile /k/c\n")),
        ("tokens", format!("Host *\n {common} User u\n IdentityFile ~/%r_%h_%p_%n_%%\n IdentityFile %d/x-%u-%i-%L\n IdentityFile /c/%C\n")),
        ("env", format!("Host *\n {common} IdentityFile ${{WHERE}}/x\n")),
        ("alias", format!("Host *\n {common} HostKeyAlias other\n IdentityFile /k/%k\n")),
        ("included", include),
        ("not-me", format!("Host * !not-me\n IdentityFile /k/others\nHost not-me\n {common} IdentityFile /k/mine\n")),
        ("exec", format!("Match exec \"test %n = exec\"\n IdentityFile /k/exec\nHost *\n {common}")),
        ("final", format!("Host *\n {common}Match final host 127.0.0.1\n IdentityFile /k/final\n")),
        ("user", format!("Host *\n {common} User bob\nMatch user bob\n IdentityFile /k/bob\n")),
        ("nothing", format!("Host *\n {common}")),
    ] {
        fs::write(file("config"), config).unwrap();
        let run = |args: &[&str]| {
            let mut command = Command::new(&ssh);
            command.args(["-F", &file("config"), "-o", "BatchMode=yes"]).args(args).env("WHERE", "/from/env");
            command.output().unwrap()
        };
        let told = run(&["-v", host, "true"]);
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        let looked: Vec<&str> = told.lines().filter_map(|l| l.strip_prefix("debug1: identity file ")?.split_once(" type ")).map(|(f, _)| f).collect();
        let looked: Vec<&str> = looked.into_iter().filter(|f| !f.ends_with("-cert")).collect();
        assert!(!looked.is_empty(), "{host}: {told}");

        let answer = parse(&String::from_utf8_lossy(&run(&["-G", host]).stdout), &Answer::default());
        let passwd = answer.user_known_hosts.as_ref().unwrap()[0].strip_suffix("/.ssh/known_hosts").unwrap().to_string();
        let me = parse(&String::from_utf8_lossy(&Command::new(&ssh).args(["-F", "none", "-G", "x"]).output().unwrap().stdout), &Answer::default());
        let uid = String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
        let tokens = Tokens {
            home: passwd,
            uid: uid.trim().to_string(),
            local_user: me.user.unwrap(),
            local_host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string(),
            name: host.to_string(),
            host: answer.host_name.clone().unwrap(),
            port: answer.port.unwrap().to_string(),
            user: answer.user.clone().unwrap(),
            host_key_alias: answer.host_key_alias.clone().unwrap_or_else(|| host.to_string()),
            jump: String::new(),
        };
        let ours: Vec<String> =
            answer.identity_files.unwrap().iter().map(|f| tokens.expand(f, &|name| (name == "WHERE").then(|| "/from/env".to_string())).unwrap()).collect();
        assert_eq!(ours, looked, "{host}");
    }
}
