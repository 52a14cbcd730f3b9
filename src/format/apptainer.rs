//! The `docker-config.json` of Apptainer and SingularityCE, which serves several registries (apptainer
//! `internal/pkg/util/ociauth`, SingularityCE `internal/pkg/ociauth`): Docker's document, read by Docker's code. Where that code refuses the
//! file, they ask the registry without a login and say nothing.
//!
//! Each program has a file of its own in a user's home, so a default target is two files. A `path:` elsewhere is one file for every user: stubs
//! in /etc/profile.d and an environment file for systemd name it in APPTAINER_AUTH_FILE (Apptainer 1.4.0 and later) and SINGULARITY_AUTHFILE
//! (SingularityCE 4.1.0 and later). They hold no secret and are wholly ours.

use super::auths::{self, Dialect, Helpers, alias_for_docker, bad_for_docker};
use super::shell::{plain_or, quote_csh, quote_env, quote_sh};
use super::{Consumer, FileSpec, Merge, Merged, Removed, merge_whole};
use crate::model::{FileMode, RemotePath, Target, TargetKind};

/// Apptainer's row in the table.
pub(super) const CONSUMER: Consumer = Consumer {
    kind: TargetKind::Apptainer,
    default_path: "/root/.apptainer/docker-config.json",
    one_login: false,
    directory: false,
    in_home: true,
    logins: true,
    restart: &[],
    files,
    check: auths::check,
    wants: auths::wants,
    merge,
    read_back,
    keys: |registry, _| vec![registry.docker_key().to_string()],
    is_alias: alias_for_docker,
    entries: |spec, bytes, _| if spec.secret { auths::entries(&DIALECT, spec, bytes) } else { Ok(Vec::new()) },
    remove: |r| match r.spec.secret {
        true => auths::remove(&DIALECT, r),
        false => Ok(Removed { content: None, diff: vec![format!("- {}", r.spec.part)] }),
    },
};

const DIALECT: Dialect = Dialect {
    name: "apptainer",
    key: |registry| registry.docker_key().to_string(),
    is_alias: alias_for_docker,
    helpers: Helpers::Docker,
    bad: bad_for_docker,
    empty: None,
    paths: false,
};

/// The variables that name the file: Apptainer's, SingularityCE's.
const VARIABLES: [&str; 2] = ["APPTAINER_AUTH_FILE", "SINGULARITY_AUTHFILE"];
/// Where both programs look in a home.
const IN_HOME: [&str; 2] = [".apptainer", ".singularity"];
const FILE_NAME: &str = "docker-config.json";

const SH: &str = "sh stub";
const CSH: &str = "csh stub";
const ENV: &str = "env";

/// The files with secrets first: what names them never points to what is not there yet.
fn files(target: &Target) -> Vec<FileSpec> {
    let mut files = auths::files(target);
    let dir = target.path.parent();
    if target.path.file_name() == FILE_NAME && IN_HOME.contains(&dir.file_name()) {
        let home = dir.parent();
        let spec = files.remove(0);
        let parts = [("apptainer", IN_HOME[0]), ("singularity", IN_HOME[1])];
        return parts.into_iter().map(|(part, dir)| FileSpec { part, path: home.join(dir).join(FILE_NAME), ..spec.clone() }).collect();
    }
    if is_shared(target) {
        // What names it lies beside it, and is for all to read.
        files[0].dir_mode = FileMode::public(0o755);
        let profile = |name| RemotePath::parse("/etc/profile.d").expect("a constant path that is absolute and plain").join(name);
        let stub = |part, path| FileSpec { part, path, mode: FileMode::public(0o644), secret: false, at_start: false, dir_mode: FileMode::public(0o755) };
        files.push(stub(ENV, dir.join("apptainer.env")));
        files.push(stub(SH, profile("regprov-apptainer.sh")));
        files.push(stub(CSH, profile("regprov-apptainer.csh")));
    }
    files
}

/// Whether it is one file for every user, and not one of a user's own.
fn is_shared(target: &Target) -> bool {
    target.user.is_none() && !target.path.as_str().starts_with("/root/")
}

fn merge(m: &Merge<'_>) -> Result<Merged, String> {
    if !m.spec.secret {
        return Ok(merge_whole(m.existing, stub(m), m.spec.part));
    }
    let mut merged = auths::merge(&DIALECT, m)?;
    if m.spec.part.is_empty() && is_shared(m.target) && m.target.mode.bits() & 0o040 == 0 && m.target.owner.is_none() {
        merged.notes.push("root only: apptainer reads it as the user who runs it; for users set `group:`".into());
    }
    Ok(merged)
}

/// What names the shared file. A user who may not read it keeps what is in the home.
fn stub(m: &Merge<'_>) -> String {
    const NO_SECRET: &str = "# Written by regprov. Holds no secret: the logins lie in the file that it names.\n";
    let file = m.target.path.as_str();
    let lines = |line: &dyn Fn(&str) -> String| VARIABLES.map(line).concat();
    match m.spec.part {
        SH => {
            let path = plain_or(file, quote_sh);
            format!("{NO_SECRET}if [ -r {path} ]; then\n{}fi\n", lines(&|name| format!("  export {name}={path}\n")))
        }
        CSH => {
            let path = plain_or(file, quote_csh);
            format!("{NO_SECRET}if ( -r {path} ) then\n{}endif\n", lines(&|name| format!("  setenv {name} {path}\n")))
        }
        _ => format!("{NO_SECRET}{}", lines(&|name| format!("{name}={}\n", quote_env(file).as_str()))),
    }
}

fn read_back(m: &Merge<'_>, bytes: &[u8]) -> Result<(), String> {
    match m.spec.secret {
        true => auths::read_back(&DIALECT, m, bytes),
        false if bytes == stub(m).as_bytes() => Ok(()),
        false => Err(format!("{} does not hold what was written", m.spec.path)),
    }
}
