//! A small Slurm of our own: its configuration, and a slurmctld without slurmd and munge that answers sinfo and scontrol on loopback.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long slurmctld may take to answer.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Writes slurm.conf for a controller on this port.
pub(crate) fn conf(dir: &Path, port: u16) -> PathBuf {
    let path = dir.join("slurm.conf");
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = name.trim().split('.').next().unwrap().to_string();
    let dir = dir.display();
    let text = format!(
        "ClusterName=test\nSlurmctldHost={name}(127.0.0.1)\nSlurmctldPort={port}\nSlurmdPort=1\nAuthType=auth/none\nCredType=cred/none\nSlurmUser={user}\
         StateSaveLocation={dir}\nSlurmdSpoolDir={dir}\nSlurmctldPidFile={dir}/ctld.pid\nSlurmctldLogFile={dir}/ctld.log\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
         NodeName=gpu[01-04] NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\nNodeName=cpu[1-3] NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n\
         PartitionName=batch Nodes=cpu[1-3],gpu01 Default=YES State=UP\nPartitionName=gpu Nodes=gpu[01-04] State=UP\n\
         PartitionName=quiet Nodes=cpu3 Hidden=YES State=UP\n"
    );
    fs::write(&path, text).unwrap();
    path
}

/// A running slurmctld.
pub(crate) struct Slurm {
    pub(crate) conf: PathBuf,
    controller: Child,
}

impl Slurm {
    pub(crate) fn start(dir: &Path, slurmctld: &Path) -> Slurm {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let conf = conf(dir, port);
        let out = fs::File::create(dir.join("ctld.out")).unwrap();
        let mut command = Command::new(slurmctld);
        command.args(["-D", "-c", "-f"]).arg(&conf).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let mut slurm = Slurm { conf, controller: command.spawn().unwrap() };
        let start = Instant::now();
        while !slurm.command("sinfo").arg("--noheader").output().unwrap().status.success() {
            let log = || fs::read_to_string(dir.join("ctld.out")).unwrap_or_default();
            assert!(slurm.controller.try_wait().unwrap().is_none(), "slurmctld ended: {}", log());
            assert!(start.elapsed() < START_DEADLINE, "slurmctld does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        slurm
    }

    /// A command that talks to it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", &self.conf);
        command
    }

    /// `scontrol` with these arguments.
    #[track_caller]
    pub(crate) fn scontrol(&self, args: &[&str]) {
        let output = self.command("scontrol").args(args).output().unwrap();
        assert!(output.status.success(), "scontrol {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = self.controller.kill();
        let _ = self.controller.wait();
    }
}
