//! Nodes in this process (`fleet/embedded.rs`) whose files are folders, and both ways to them: `push_all` from here, and the
//! program itself with an inventory of them.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use regprov::format::MergeOptions;
use regprov::model::{Host, HostKeyPin, Pace, Report, TargetKind};
use regprov::push::{Push, PushOptions, push_all};
use regprov::transport::ssh::auth::Keys;
use regprov::transport::ssh::keyring::KeySources;
use regprov::transport::ssh::known_hosts::KnownHosts;
use regprov::transport::ssh::{Deadlines, Ssh};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use tokio::sync::{mpsc, watch};

use super::embedded::{self, Fault, Fleet};
use super::hosts::{At, host, logins};

const DOCKER: At = (TargetKind::Docker, "/root/.docker/config.json");
const SINGULARITY: At = (TargetKind::Singularity, "/etc/regprov");

pub(crate) const PASSWORD: &str = "planted-Secret_9x7";
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Bed {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) key: PathBuf,
    pub(crate) fleet: Fleet,
    /// Whether programs may outlive the test.
    pub(crate) busy: bool,
}

impl Drop for Bed {
    /// A program whose connection was cut may still be writing, and would make the folder again.
    fn drop(&mut self) {
        let start = Instant::now();
        while start.elapsed() < SECOND * 3 {
            let _ = fs::remove_dir_all(self.dir.path());
            std::thread::sleep(Duration::from_millis(if self.busy { 50 } else { 0 }));
            if !self.dir.path().exists() {
                break;
            }
        }
    }
}

impl Bed {
    pub(crate) async fn new(faults: &[Fault]) -> Self {
        let dir = tempfile::Builder::new().prefix("bed").tempdir().unwrap();
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[5; 32]));
        let file = dir.path().join("id");
        fs::write(&file, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        let fleet = embedded::start(key.public_key().clone(), faults).await.unwrap();
        for i in 0..faults.len() {
            for sub in ["root", "etc/profile.d", "var/lib"] {
                fs::create_dir_all(dir.path().join(format!("n{i}")).join(sub)).unwrap();
            }
        }
        let busy = faults.iter().any(|f| *f != Fault::None);
        Bed { dir, key: file, fleet, busy }
    }

    pub(crate) fn host(&self, i: usize) -> Host {
        let key = self.fleet.host_key_line();
        let (algorithm, base64) = key.split_once(' ').unwrap();
        Host {
            address: Some("127.0.0.1".into()),
            port: Some(self.fleet.nodes[i].port()),
            host_keys: vec![HostKeyPin { algorithm: algorithm.into(), base64: base64.into() }],
            ..host(&format!("n{i}"), &self.dir.path().join(format!("n{i}")), &[DOCKER, SINGULARITY])
        }
    }

    /// Writes `inventory.yml`, for the program itself: all nodes, as [`host`](Self::host) has them, with this password.
    pub(crate) fn inventory(&self, password: &str) {
        let hosts = (0..self.fleet.nodes.len()).map(|i| {
            let (port, root) = (self.fleet.nodes[i].port(), self.dir.path().join(format!("n{i}")));
            format!("  n{i}: {{port: {port}, root: {}}}\n", root.display())
        });
        let text = format!(
            "version: 1\ndefaults: {{address: 127.0.0.1, host_key: {}}}\ngroups:\n  all-nodes: {{hosts: 'n[0-{}]', logins: [hub], targets: [docker, singularity]}}\n\
             hosts:\n{}logins:\n  hub: {{registry: docker.io, username: alice, password: {password:?}}}\n",
            self.fleet.host_key_line(),
            self.fleet.nodes.len() - 1,
            hosts.collect::<String>()
        );
        fs::write(self.dir.path().join("inventory.yml"), text).unwrap();
    }

    /// `regprov apply inventory.yml` with flags.
    pub(crate) fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regprov"));
        command.args(["apply", "inventory.yml", "--allow-plaintext", "--ssh-key"]).arg(&self.key).args(flags);
        command.current_dir(self.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path().join("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs that to its end: exit code, stdout, stderr.
    pub(crate) fn run(&self, flags: &[&str]) -> (i32, String, String) {
        let out = self.command(flags).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().expect("no signal ends it"), text(out.stdout), text(out.stderr))
    }

    pub(crate) fn docker_file(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("n{i}/root/.docker/config.json"))
    }

    pub(crate) async fn push(&self, hosts: Vec<Host>) -> (Report, Duration) {
        self.push_at(Pace::default(), hosts).await
    }

    pub(crate) async fn push_at(&self, pace: Pace, hosts: Vec<Host>) -> (Report, Duration) {
        let keys = Arc::new(Keys::load(&KeySources::only(std::slice::from_ref(&self.key)), &mut |_| None).await.unwrap());
        let deadlines = Deadlines { resolve: SECOND, connect: SECOND, handshake: SECOND, authenticate: SECOND };
        let options = PushOptions {
            forks: 50,
            pace,
            check: false,
            merge: MergeOptions::default(),
            inventory_id: "test".into(),
            pull_test: None,
            command: SECOND * 3,
            host: SECOND * 8,
        };
        let push = Arc::new(Push { connector: Ssh::direct(&hosts, keys, KnownHosts::default(), deadlines), logins: logins(PASSWORD), options });
        let (_keep, stop) = watch::channel(false);
        let start = Instant::now();
        let report = push_all(push, hosts, stop, mpsc::unbounded_channel().0).await;
        (report, start.elapsed())
    }
}
