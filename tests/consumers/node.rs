//! The node: a root of its own, with the programs of this machine (or of another tree) and nothing of its files. The test enters
//! it, so that what `regprov apply` writes lies where the consumers look by default: in `/root`, `/etc` and `/run`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

use super::embedded::{self, Fault, Fleet};
use super::peers::need;
use super::rig::{Auth, Rig};

/// Where the root is made. What is mounted there is seen by this test alone.
const ROOT: &str = "/mnt";

/// What programs need of `/etc`. Nothing of it speaks of registries.
const ETC: [&str; 15] = [
    "alternatives",
    "apptainer",
    "bash.bashrc",
    "containers",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "os-release",
    "passwd",
    "profile",
    "protocols",
    "services",
    "singularity",
    "subuid",
];

/// A node and the registries around it.
pub(crate) struct Node {
    pub(crate) rig: Rig,
    fleet: Fleet,
    /// `PATH` of its programs.
    path: String,
    /// What lies there from the machine beside its system: wherever the checkout is, be it `/tmp`.
    bound: Vec<PathBuf>,
    // Ends the servers' tasks.
    _runtime: tokio::runtime::Runtime,
}

/// A login of the inventory.
#[derive(Clone, Copy)]
pub(crate) struct Login {
    pub(crate) name: &'static str,
    pub(crate) registry: &'static str,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
}

/// What a program said, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) good: bool,
    pub(crate) said: String,
}

impl Node {
    /// Starts the registries and enters the root. `tree` is where its programs come from; `programs` are those of this machine that
    /// it has too, should they lie elsewhere. `None` where something that is needed is not there.
    pub(crate) fn enter(tree: &Path, programs: &[PathBuf]) -> Option<Node> {
        let (mount, cp) = (need("mount")?, need("cp")?);
        let call = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
        let root = Path::new(ROOT);
        call(Command::new(&mount).args(["-t", "tmpfs", "-o", "mode=0755", "tmpfs", ROOT]));
        let bind = |from: &Path, to: &Path| {
            if from.is_dir() {
                fs::create_dir_all(to).unwrap();
            } else {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::write(to, "").unwrap();
            }
            call(Command::new(&mount).arg("--rbind").arg(from).arg(to));
        };
        for name in ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            match (fs::read_link(tree.join(name)), tree.join(name).is_dir()) {
                (Ok(link), _) => std::os::unix::fs::symlink(link, root.join(name)).unwrap(),
                (Err(_), true) => bind(&tree.join(name), &root.join(name)),
                (Err(_), false) => {}
            }
        }
        for name in ["/proc", "/dev", "/sys"] {
            bind(Path::new(name), &root.join(&name[1..]));
        }
        // podman's locks lie there, and would be those of the machine.
        call(Command::new(&mount).args(["-t", "tmpfs", "tmpfs"]).arg(root.join("dev/shm")));
        // Programs with what lies around them: their libraries, their Python.
        let outside: Vec<&Path> =
            programs.iter().filter(|p| ["/usr", "/bin", "/sbin"].iter().all(|dir| !p.starts_with(dir))).filter_map(|p| p.parent()).collect();
        let bound: Vec<PathBuf> =
            outside.iter().filter_map(|dir| dir.parent()).chain([Path::new(env!("CARGO_BIN_EXE_regprov"))]).map(Path::to_path_buf).collect();
        for path in &bound {
            bind(path, &root.join(path.strip_prefix("/").unwrap()));
        }
        let path = outside.iter().map(|dir| format!("{}:", dir.display())).collect::<String>() + "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
        for (dir, mode) in [
            ("root", 0o700),
            ("etc/profile.d", 0o755),
            ("run", 0o755),
            ("home", 0o755),
            ("tmp", 0o1777),
            ("var/tmp", 0o1777),
            ("var/lib", 0o755),
            ("rig", 0o755),
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
            fs::set_permissions(root.join(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
        for name in ETC.iter().map(|name| tree.join("etc").join(name)).filter(|path| path.exists()) {
            call(Command::new(&cp).arg("-dR").arg(name).arg(root.join("etc")));
        }
        if tree.join("var/lib/apptainer").exists() {
            call(Command::new(&cp).arg("-dR").arg(tree.join("var/lib/apptainer")).arg(root.join("var/lib")));
        }
        let rig = Rig::start(&root.join("rig"))?;
        fs::create_dir_all(root.join("etc/ssl/certs")).unwrap();
        for (file, text) in
            [("ssl/certs/ca-certificates.crt", rig.ca.as_str()), ("nsswitch.conf", "hosts: files\npasswd: files\ngroup: files\n"), ("resolv.conf", "")]
        {
            fs::write(root.join("etc").join(file), text).unwrap();
        }
        std::os::unix::fs::chroot(root).unwrap();
        std::env::set_current_dir("/").unwrap();
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[9; 32]));
        fs::write("/rig/id", key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions("/rig/id", fs::Permissions::from_mode(0o600)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let fleet = runtime.block_on(embedded::start(key.public_key().clone(), &[Fault::None])).unwrap();
        Some(Node { rig, fleet, path, bound, _runtime: runtime })
    }

    /// Makes the names those of registries of this kind.
    pub(crate) fn names(&self, auth: Auth) {
        fs::write("/etc/hosts", Rig::hosts(auth)).unwrap();
    }

    /// Takes away everything that `apply` and the consumers left.
    pub(crate) fn clear(&self) {
        for dir in ["/root", "/run", "/tmp", "/var/tmp", "/var/lib", "/etc/regprov", "/etc/enroot", "/etc/crio", "/etc/profile.d"] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.file_name() != "apptainer") {
                if self.bound.iter().any(|path| path.starts_with(entry.path())) {
                    continue;
                }
                let gone = if entry.file_type().unwrap().is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
                gone.unwrap();
            }
        }
    }

    /// Runs the real `apply` over SSH with these logins, and expects this exit code.
    #[track_caller]
    pub(crate) fn apply(&self, targets: &str, logins: &[Login], code: i32) -> String {
        let names: Vec<&str> = logins.iter().map(|l| l.name).collect();
        let logins = logins.iter().map(|l| format!("  {}: {{registry: '{}', username: '{}', password: '{}'}}", l.name, l.registry, l.user, l.password));
        let logins: Vec<String> = logins.collect();
        let inventory = format!(
            "version: 1\ngroups: {{g: {{hosts: [n], logins: [{}], targets: [{targets}]}}}}\n\
             hosts: {{n: {{address: 127.0.0.1, port: {}, host_key: \"{}\"}}}}\nlogins: {{\n{}\n  }}\n",
            names.join(", "),
            self.fleet.nodes[0].port(),
            self.fleet.host_key_line(),
            logins.join(",\n"),
        );
        fs::write("/rig/inventory.yml", inventory).unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_regprov"))
            .args(["apply", "inventory.yml", "--allow-plaintext", "--ssh-key", "id"])
            .current_dir("/rig")
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("HOME", "/rig")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert_eq!(out.status.code(), Some(code), "{said}");
        said
    }

    /// Runs a script as root of the node, in a login shell of its own, with these variables and no others.
    pub(crate) fn run(&self, script: &str, variables: &[(&str, &str)]) -> Ran {
        let out = Command::new("/bin/bash")
            .arg("--login")
            // Profiles set PATH anew.
            .args(["-c", &format!("export PATH={}\n{script}", self.path)])
            .current_dir("/tmp")
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("HOME", "/root"), ("LANG", "C.UTF-8")])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran { good: out.status.success(), said: String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned() }
    }
}
