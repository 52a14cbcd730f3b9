//! `import deepops` on a configuration of DeepOps' layout whose logins real ansible-vault sealed.

// What a test says goes to whoever reads its output.
#![allow(clippy::print_stdout)]

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/peers.rs"]
mod peers;
#[path = "common/terminal.rs"]
mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fleet::{Ran, Site, walk};
use peers::need;
use serde_json::Value;
use terminal::converse;

/// The password that must be nowhere but in the vault.
const PLANTED: &str = "plantedSecret7391";
/// That of ansible-vault.
const VAULT_PASSWORD: &str = "correct horse 5512";

const INVENTORY: &str = "\
[all]
login01    ansible_host=10.0.1.1
gpu01      ansible_host=10.0.2.1
gpu02      ansible_host=10.0.2.2 ansible_port=2222

[kube_node]

[slurm-master]
login01

[slurm-node]
gpu[01:02]

[slurm-metric:children]
slurm-master

[slurm-cluster:children]
slurm-master
slurm-node
slurm-metric

[all:vars]
ansible_user=ubuntu
ansible_ssh_private_key_file='~/.ssh/id_rsa'
ansible_ssh_common_args='-o ProxyJump=ubuntu@10.0.0.1 -o ConnectTimeout=30'
";

fn logins(password: &str) -> String {
    format!(
        "docker_login_registries:\n- registry: docker.io\n  username: acme\n  password: 'hub-token'\n  email: docker@example.org\n- registry: nvcr.io\n  \
         username: '$oauthtoken'\n  password: {password}\n"
    )
}

/// A configuration in a folder of its own, with an identity; nothing of this machine's reaches it.
struct Deepops {
    site: Site,
    recipient: String,
}

impl Deepops {
    /// With this text as config/docker-login.yml. `None` without ansible-vault.
    #[track_caller]
    fn new(docker_login: &str) -> Option<Self> {
        need("ansible-vault")?;
        let site = Site { dir: tempfile::Builder::new().prefix("deepops").tempdir().unwrap() };
        for sub in ["home/.ansible", "tmp", "config/group_vars"] {
            fs::create_dir_all(site.path(sub)).unwrap();
        }
        let private = |name: &str, text: &str| {
            fs::write(site.path(name), text).unwrap();
            fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o644)).unwrap();
        };
        private("config/inventory", INVENTORY);
        private("config/group_vars/all.yml", "docker_install: yes\n");
        private("config/docker-login.yml", docker_login);
        private("pw", &format!("{VAULT_PASSWORD}\n"));
        site.run(&["vault", "keygen"]).ended(0, &[]);
        let identity = fs::read_to_string(site.path("home/.config/regprov/identity.txt")).unwrap();
        let recipient = identity.lines().find_map(|l| l.split_once("age1")).map(|(_, rest)| format!("age1{}", rest.trim())).unwrap();
        Some(Deepops { site, recipient })
    }

    /// Ansible's program with these arguments and input; what it printed.
    #[track_caller]
    fn ansible(&self, program: &str, args: &[&str], input: &str) -> String {
        use std::io::Write as _;
        let mut command = Command::new(need(program).unwrap());
        command.args(args).current_dir(self.site.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.site.path("home"));
        let mut child = command.env("LC_ALL", "C.UTF-8").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.site.path(name)).unwrap()
    }

    #[track_caller]
    fn encrypt(&self, how: &[&str]) {
        self.ansible("ansible-vault", &[&["encrypt"], how, &["config/docker-login.yml"]].concat(), "");
        assert!(self.read("config/docker-login.yml").starts_with("$ANSIBLE_VAULT;1."));
    }

    fn import(&self, more: &[&str]) -> Ran {
        self.site.run(&[&["import", "deepops", "-r", &self.recipient, "--yes"], more].concat())
    }

    /// Demands that the import made what it should, and that it works.
    #[track_caller]
    fn made(&self, ran: Ran, password: &str) {
        ran.ended(0, &["hub    docker.io  acme", "ngc    nvcr.io    $oauthtoken", "`email` of entry 1: the role does not read it", "group `kube_node`"]);
        let shown = self.site.run(&["vault", "show", "vault.yml", "--reveal"]).ended(0, &[]).stdout;
        assert!(shown.contains("hub-token") && shown.contains(password), "{shown}");
        let hosts = self.site.run(&["hosts", "inventory.yml", "--json"]).ended(0, &[]);
        let hosts: Value = serde_json::from_str(&hosts.stdout).unwrap();
        assert_eq!(hosts["hosts"].as_array().unwrap().len(), 3, "{hosts}");
        self.site.run(&["lint", "inventory.yml"]).ended(0, &["0 errors"]);
    }

    /// Demands that ours and Ansible's inventory have the same hosts in the same groups, at the same addresses. Returns how many groups.
    #[track_caller]
    fn agrees_with_ansible(&self) -> usize {
        let theirs: Value = serde_json::from_str(&self.ansible("ansible-inventory", &["-i", "config/inventory", "--list"], "")).unwrap();
        let hosts = |limit: &str| -> BTreeMap<String, String> {
            let ran = self.site.run(&["hosts", "inventory.yml", "--json", "--limit", limit]).ended(0, &[]);
            let document: Value = serde_json::from_str(&ran.stdout).unwrap();
            document["hosts"].as_array().unwrap().iter().map(|h| (h["host"].as_str().unwrap().to_string(), h.to_string())).collect()
        };
        let members = |group: &str| -> BTreeSet<String> {
            let mut found = BTreeSet::new();
            let mut groups = vec![group.to_string()];
            while let Some(group) = groups.pop() {
                let names = |key: &str| theirs[&group][key].as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_string()).collect::<Vec<_>>();
                found.extend(names("hosts"));
                groups.extend(names("children"));
            }
            found
        };
        let with_hosts: Vec<&String> =
            theirs.as_object().unwrap().keys().filter(|g| !["_meta", "ungrouped"].contains(&g.as_str()) && !members(g).is_empty()).collect();
        for group in &with_hosts {
            assert_eq!(hosts(group).into_keys().collect::<BTreeSet<_>>(), members(group), "{group}");
        }
        for (host, row) in hosts("all") {
            let vars = &theirs["_meta"]["hostvars"][&host];
            let (address, user) = (vars["ansible_host"].as_str().unwrap(), vars["ansible_user"].as_str().unwrap());
            assert!(row.contains(&format!("\"{address}\"")) && row.contains(&format!("\"{user}\"")), "{row}");
            assert_eq!(row.contains("2222"), vars["ansible_port"] == 2222, "{row}");
        }
        with_hosts.len()
    }

    /// Demands that nothing was made.
    #[track_caller]
    fn made_nothing(&self) {
        for name in ["inventory.yml", "vault.yml"] {
            assert!(!self.site.path(name).exists(), "{name} is there");
        }
    }
}

/// A file that is sealed as a whole, in both formats, and one with sealed values; the password from a file, a program, the environment.
#[test]
#[ignore = "needs ansible-vault"]
fn what_ansible_vault_sealed_becomes_a_vault_of_ours() {
    let Some(whole) = Deepops::new(&logins(PLANTED)) else { return };
    whole.encrypt(&["--vault-password-file", "pw"]);
    whole.made(whole.import(&["--vault-password-file", "pw"]), PLANTED);
    whole.import(&["--vault-password-file", "pw"]).ended(2, &["inventory.yml is there already and is not overwritten"]);

    let labelled = Deepops::new(&logins(PLANTED)).unwrap();
    labelled.encrypt(&["--vault-id", "prod@pw", "--encrypt-vault-id", "prod"]);
    assert!(labelled.read("config/docker-login.yml").starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"));
    fs::write(labelled.site.path("other"), "another\n").unwrap();
    // The label's own comes first; without it all are tried.
    labelled.made(labelled.import(&["--vault-id", "dev@other", "--vault-id", "prod@pw"]), PLANTED);

    let windows = Deepops::new(&logins(PLANTED)).unwrap();
    windows.encrypt(&["--vault-password-file", "pw"]);
    let text = windows.read("config/docker-login.yml").replace('\n', "\r\n");
    fs::write(windows.site.path("config/docker-login.yml"), text).unwrap();
    let mut command = windows.site.command(&["import", "deepops", "-r", &windows.recipient, "--yes"]);
    windows.made(command.env("ANSIBLE_VAULT_PASSWORD_FILE", "pw").output().unwrap().into(), PLANTED);

    let commanded = Deepops::new(&logins(PLANTED)).unwrap();
    commanded.encrypt(&["--vault-password-file", "pw"]);
    commanded.made(commanded.import(&["--vault-password-command", "cat 'pw'"]), PLANTED);

    let inline = Deepops::new("").unwrap();
    let sealed =
        inline.ansible("ansible-vault", &["encrypt_string", "--vault-id", "prod@pw", "--encrypt-vault-id", "prod", "--stdin-name", "password"], PLANTED);
    let value = sealed.strip_prefix("password: ").unwrap();
    fs::write(inline.site.path("config/docker-login.yml"), logins(value)).unwrap();
    assert!(inline.read("config/docker-login.yml").contains("  password: !vault |\n          $ANSIBLE_VAULT;1.2;AES256;prod\n"));
    fs::write(inline.site.path("print-client"), format!("#!/bin/sh\n[ \"$*\" = '--vault-id prod' ] && printf '{VAULT_PASSWORD}\\n'\n")).unwrap();
    fs::set_permissions(inline.site.path("print-client"), fs::Permissions::from_mode(0o755)).unwrap();
    inline.made(inline.import(&["--vault-id", "prod@print-client"]), PLANTED);
}

#[test]
#[ignore = "needs ansible-vault and script"]
fn passwords_are_asked_for_by_their_labels() {
    let Some(deepops) = Deepops::new(&logins(PLANTED)) else { return };
    deepops.encrypt(&["--vault-id", "prod@pw", "--encrypt-vault-id", "prod"]);
    let args = ["import", "deepops", "-r", &deepops.recipient];
    let answer = format!("{VAULT_PASSWORD}\n");
    let Some(ran) = converse(&deepops.site, &args, &[("Vault password (prod): ", "wrong\n")]) else { return };
    ran.ended(5, &["config/docker-login.yml does not open: the vault password is another one"]);
    deepops.made_nothing();
    let question = "make inventory.yml, and seal 2 logins into vault.yml? [y/N] ";
    converse(&deepops.site, &args, &[("Vault password (prod): ", &answer), (question, "n\n")]).unwrap().ended(2, &["you did not say yes"]);
    deepops.made_nothing();
    let ran = converse(&deepops.site, &args, &[("Vault password (prod): ", &answer), (question, "y\n")]).unwrap();
    assert!(!ran.stdout.contains(VAULT_PASSWORD), "{}", ran.stdout);
    deepops.made(ran, PLANTED);
    // Nobody is there to ask.
    let none = Deepops::new(&logins(PLANTED)).unwrap();
    none.encrypt(&["--vault-password-file", "pw"]);
    let mut command = Command::new(need("setsid").unwrap());
    command.arg("-w").arg(env!("CARGO_BIN_EXE_regprov")).args(["import", "deepops", "-r", &none.recipient, "--yes"]).current_dir(none.site.dir.path());
    let ran: Ran = command.env_clear().env("HOME", none.site.path("home")).stdin(Stdio::null()).output().unwrap().into();
    ran.ended(5, &["Vault password is needed, and there is no terminal to ask on", "--vault-password-file FILE"]);
    none.made_nothing();
}

#[test]
#[ignore = "needs ansible-vault"]
fn what_does_not_open_makes_nothing() {
    let Some(deepops) = Deepops::new(&logins(PLANTED)) else { return };
    deepops.encrypt(&["--vault-password-file", "pw"]);
    let sealed = deepops.read("config/docker-login.yml");
    let put = |name: &str, text: &str, mode: u32| {
        fs::write(deepops.site.path(name), text).unwrap();
        fs::set_permissions(deepops.site.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    put("wrong", "another\n", 0o600);
    put("empty", " \n", 0o600);
    put("fails", "#!/bin/sh\necho no key here >&2\nexit 3\n", 0o755);
    put("foreign", "#!/bin/sh\necho x\n", 0o777);
    for (file, code, want) in [
        ("wrong", 5, "config/docker-login.yml does not open: the vault password is another one, or the text was changed"),
        ("empty", 5, "vault password file empty gives an empty password"),
        ("fails", 5, "failed (exit status: 3)"),
        ("foreign", 2, "vault password file foreign is a program, and everybody can write foreign (mode 0777)"),
        ("nowhere", 5, "vault password file nowhere is not there"),
    ] {
        deepops.import(&["--vault-password-file", file]).ended(code, &[want]);
        deepops.made_nothing();
    }
    let half = sealed.len() / 2;
    for (text, want) in [
        (sealed[..half].to_string(), "is damaged"),
        (sealed.replace("1.1;AES256", "1.0;AES"), "version 1.0, cipher AES; regprov reads versions 1.1 and 1.2"),
        (
            format!("{}{}", sealed.trim_end().strip_suffix(|c: char| c.is_ascii_hexdigit()).unwrap(), if sealed.trim_end().ends_with('0') { "1" } else { "0" }),
            "config/docker-login.yml",
        ),
    ] {
        put("config/docker-login.yml", &text, 0o600);
        deepops.import(&["--vault-password-file", "pw"]).ended(5, &[want]);
        deepops.made_nothing();
    }
    put("config/docker-login.yml", &sealed, 0o600);
    deepops.made(deepops.import(&["--vault-password-file", "pw"]), PLANTED);
}

/// Who is in which group, and how each is reached: by our reading of what was made, and by Ansible's of its own.
#[test]
#[ignore = "needs ansible-vault and ansible-inventory"]
fn hosts_and_groups_are_ansible_s() {
    let Some(deepops) = Deepops::new(&logins(PLANTED)) else { return };
    if need("ansible-inventory").is_none() {
        return;
    }
    deepops.encrypt(&["--vault-password-file", "pw"]);
    deepops.made(deepops.import(&["--vault-password-file", "pw"]), PLANTED);
    assert_eq!(deepops.agrees_with_ansible(), 5);
}

/// DeepOps' own example, from a checkout of NVIDIA/deepops in the directory that `REGPROV_DEEPOPS` names: its hosts, and the logins of its role's
/// defaults, are only uncommented.
#[test]
#[ignore = "needs ansible-vault, ansible-inventory, and a checkout of DeepOps in REGPROV_DEEPOPS"]
fn deepops_own_example_is_imported() {
    let Some(checkout) = std::env::var_os("REGPROV_DEEPOPS").map(PathBuf::from) else {
        println!("skipped: needs a checkout of DeepOps in REGPROV_DEEPOPS");
        return;
    };
    if need("ansible-inventory").is_none() {
        return;
    }
    let read = |name: &str| fs::read_to_string(checkout.join(name)).unwrap();
    let uncommented = |text: &str, is_example: &dyn Fn(&str) -> bool| -> String {
        text.lines().map(|line| format!("{}\n", line.strip_prefix('#').filter(|rest| is_example(rest)).unwrap_or(line))).collect()
    };
    let starts = |words: &'static [&'static str]| move |line: &str| words.iter().any(|word| line.starts_with(word));
    let role = uncommented(&read("roles/docker-login/defaults/main.yml"), &starts(&["docker_login_registries:", "- ", "  "]));
    let Some(deepops) = Deepops::new(&role) else { return };
    let copied = Command::new("cp").arg("-rT").arg(checkout.join("config.example")).arg(deepops.site.path("config")).status().unwrap();
    assert!(copied.success());
    let hosts = uncommented(&read("config.example/inventory"), &starts(&["mgmt", "login", "gpu", "ansible_"]));
    fs::write(deepops.site.path("config/inventory"), hosts).unwrap();
    // What others can write must not bring a ProxyCommand, which the example has.
    assert!(Command::new("chmod").args(["-R", "go-w"]).arg(deepops.site.path("config")).status().unwrap().success());
    deepops.encrypt(&["--vault-password-file", "pw"]);
    let told = [
        "hub    docker.io  myuser",
        "ngc    nvcr.io    $oauthtoken",
        "`email` of entry 1",
        "`docker_login_reauth`",
        "the role stores it under the key `docker.io`",
        "`ProxyCommand`                  `proxy_command`             6",
    ];
    deepops.import(&["--vault-password-file", "pw"]).ended(0, &told);
    let shown = deepops.site.run(&["vault", "show", "vault.yml", "--reveal"]).ended(0, &[]).stdout;
    assert_eq!(shown.matches("mypassword").count(), 2, "{shown}");
    assert!(deepops.agrees_with_ansible() >= 10);
    deepops.site.run(&["lint", "inventory.yml"]).ended(0, &["nothing found in 2 logins and 6 hosts"]);
}

/// Nothing that is told, at any level, and no file but the vault of which nobody has the key holds a password. The same search finds one
/// that is there.
#[test]
#[ignore = "needs ansible-vault"]
fn no_password_is_told_or_left_behind() {
    let Some(deepops) = Deepops::new(&logins(PLANTED)) else { return };
    deepops.encrypt(&["--vault-password-file", "pw"]);
    let holds = |text: &str| [PLANTED, "hub-token", VAULT_PASSWORD].into_iter().find(|secret| text.contains(secret));
    let run = |args: &[&str]| -> Ran {
        let mut command = deepops.site.command(&[args, &["-vvv"]].concat());
        command.env("RUST_LOG", "trace").output().unwrap().into()
    };
    let import = ["import", "deepops", "--vault-password-file", "pw", "-r", &deepops.recipient];
    for (more, code) in [(&["--check"][..], 0), (&["--yes", "--group", "nobody"], 2), (&["--yes"], 0)] {
        let ran = run(&[&import, more].concat()).ended(code, &[]);
        assert_eq!(holds(&ran.all()), None, "{}", ran.all());
    }
    let mut files = Vec::new();
    walk(deepops.site.dir.path(), &mut |path, meta| {
        if meta.is_file() && !path.ends_with("pw") {
            files.push(path.to_path_buf());
        }
    });
    assert!(files.iter().any(|f| f.ends_with("vault.yml")), "{files:?}");
    for file in &files {
        assert_eq!(holds(&String::from_utf8_lossy(&fs::read(file).unwrap())), None, "{}", file.display());
    }
    // The control: the password is there to be found.
    assert_eq!(holds(&run(&["vault", "show", "vault.yml", "--reveal"]).all()), Some(PLANTED));
    assert_eq!(holds(&deepops.read("pw")), Some(VAULT_PASSWORD));
}
