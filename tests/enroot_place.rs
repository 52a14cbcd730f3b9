//! `enroot: path: auto` on nodes whose enroot.conf names the directory, hides it or is not there.

#[path = "common/bed.rs"]
mod bed;
#[path = "fleet/embedded.rs"]
mod embedded;
#[path = "common/hosts.rs"]
mod hosts;

use std::fs;

use bed::{Bed, PASSWORD};
use embedded::Fault;
use hosts::{At, told};
use regprov::model::{Change, Host, Target, TargetKind};

const AUTO: At = (TargetKind::Enroot, Target::AUTO);
const DOCKER: At = (TargetKind::Docker, "/root/.docker/config.json");
const NAMED: At = (TargetKind::Enroot, "/etc/enroot/.credentials");

fn host(bed: &Bed, i: usize, targets: &[At]) -> Host {
    let wanted = hosts::host("x", &bed.dir.path().join(format!("n{i}")), targets).targets;
    Host { targets: wanted, ..bed.host(i) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_lies_where_the_node_says_or_fails_alone() {
    let bed = Bed::new(&[Fault::None; 4]).await;
    let conf = |i: usize, name: &str, text: &str| {
        let file = bed.dir.path().join(format!("n{i}/etc/enroot")).join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    conf(1, "enroot.conf", "ENROOT_CONFIG_PATH /etc/enroot\n");
    conf(1, "enroot.conf.d/50-site.conf", "ENROOT_CONFIG_PATH ${HOME}/.enroot\n");
    conf(2, "enroot.conf", "ENROOT_CONFIG_PATH /run/enroot/$(id -u)\n");
    conf(3, "enroot.conf", "ENROOT_CONFIG_PATH /etc/enroot\n");
    let fleet = || vec![host(&bed, 0, &[AUTO]), host(&bed, 1, &[DOCKER, AUTO]), host(&bed, 2, &[DOCKER, AUTO]), host(&bed, 3, &[AUTO, NAMED])];
    let (report, _) = bed.push(fleet()).await;
    let short = |path: &str| path.replace(bed.dir.path().to_str().unwrap(), "");
    let rows: Vec<Vec<(String, Change)>> = report.hosts.iter().map(|h| h.files.iter().map(|f| (short(&f.path), f.change)).collect()).collect();
    let file = |path: &str, change| (path.to_string(), change);
    assert_eq!(rows[0], [file("/n0/root/.config/enroot/.credentials", Change::Created)], "{}", told(&report.hosts[0]));
    assert_eq!(rows[1], [file("/n1/root/.docker/config.json", Change::Created), file("/n1/root/.enroot/.credentials", Change::Created)]);
    assert_eq!(rows[2], [file("/n2/root/.docker/config.json", Change::Created), file("auto", Change::Failed)]);
    let why = report.hosts[2].files[1].reason.as_deref().unwrap();
    assert!(why.contains("name the file with `path:` instead of `auto`"), "{why}");
    assert_eq!(rows[3], [file("auto", Change::Failed), file("/n3/etc/enroot/.credentials", Change::Created)]);
    assert!(report.hosts[3].files[0].reason.as_deref().unwrap().contains("where another target of this host lies"));
    for written in ["n0/root/.config/enroot/.credentials", "n1/root/.enroot/.credentials", "n3/etc/enroot/.credentials"] {
        assert!(fs::read_to_string(bed.dir.path().join(written)).unwrap().contains(PASSWORD), "{written}");
    }
    assert!(!bed.dir.path().join("n1/etc/enroot/.credentials").exists());

    let (again, _) = bed.push(fleet()).await;
    assert_eq!(again.hosts[..2].iter().map(told).collect::<Vec<_>>(), ["unchanged", "unchanged"]);
    let notes = again.hosts[1].files[1].reason.as_deref().unwrap();
    assert!(notes.starts_with("root only:"), "read by enroot, though not as a job's user: {notes}");
}
