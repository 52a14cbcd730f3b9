//! Hosts from a real Slurm: a slurmctld that this test starts, asked through sinfo by the program itself.

#[path = "common/peers.rs"]
mod peers;
#[path = "slurm/slurm.rs"]
mod slurm;

use std::fs;
use std::path::Path;
use std::process::Output;

use peers::need;
use serde_json::Value;
use slurm::Slurm;

/// `regprov hosts --json` on an inventory with this source.
fn hosts(slurm: &Slurm, dir: &Path, source: &str) -> Output {
    let file = dir.join("inventory.yml");
    fs::write(&file, format!("version: 1\ngroups:\n  nodes:\n    hosts: [{source}]\n")).unwrap();
    slurm.command(env!("CARGO_BIN_EXE_regprov")).args(["hosts", "--json"]).arg(&file).env_remove("CI").output().unwrap()
}

#[track_caller]
fn check(slurm: &Slurm, dir: &Path, source: &str, want: &[&str]) {
    let output = hosts(slurm, dir, source);
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown = document["hosts"].as_array().unwrap().iter().map(|h| match h["skip"].as_str() {
        Some(why) => format!("{} {why}", h["host"].as_str().unwrap()),
        None => h["host"].as_str().unwrap().to_string(),
    });
    assert_eq!(shown.collect::<Vec<_>>(), want, "{source}");
}

#[test]
#[ignore = "needs slurmctld and sinfo (Debian packages slurmctld, slurm-client)"]
fn nodes_come_from_slurm_and_those_that_are_down_are_skipped() {
    let (Some(slurmctld), Some(_), Some(_)) = (need("slurmctld"), need("sinfo"), need("scontrol")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let slurm = Slurm::start(dir.path(), &slurmctld);
    slurm.scontrol(&["update", "nodename=gpu02", "state=drain", "reason=bad DIMM | slot 3"]);
    slurm.scontrol(&["update", "nodename=gpu03", "state=down", "reason=no power"]);
    slurm.scontrol(&["update", "nodename=cpu2", "state=fail", "reason=disk"]);

    let drained = "gpu02 drained: bad DIMM | slot 3";
    let down = "gpu03 down: no power";
    check(&slurm, dir.path(), "{slurm: gpu}", &["gpu01", drained, down, "gpu04"]);
    check(&slurm, dir.path(), "{slurm: {partition: [gpu, batch]}}", &["cpu1", "cpu2 fail: disk", "cpu3", "gpu01", drained, down, "gpu04"]);
    check(&slurm, dir.path(), "{slurm: {partition: quiet}}", &["cpu3"]);
    // A state that is asked for is not skipped.
    check(&slurm, dir.path(), "{slurm: {partition: gpu, state: drained}}", &["gpu02", down]);
    // Names and sources in one list keep their order.
    check(&slurm, dir.path(), "login1, {slurm: {partition: gpu, state: [drain, down]}}, 'x[1-2]'", &["login1", "gpu02", "gpu03", "x1", "x2"]);

    let refused = hosts(&slurm, dir.path(), "{slurm: gpus}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("inventory.yml:4:14: slurm source of group `nodes`: Slurm has no partition `gpus`") && said.contains("did you mean `gpu`?"),
        "{said}"
    );
}
