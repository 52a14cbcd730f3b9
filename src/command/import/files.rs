//! `import docker-config`, `import podman`, `import enroot` and `import k8s-secret`: which file, and what reads it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::helper;
use super::source::Source;
use crate::error::{Error, Result};
use crate::import::auths::{Answer, Program};
use crate::import::{Found, auths, enroot, kubernetes};
use crate::ui;

/// Docker's file: the one that is named, else `$DOCKER_CONFIG/config.json`, else that below the home (docker/cli `cli/config/config.go`).
pub(super) fn docker(file: Option<&Path>, ask_helpers: bool) -> Result<(Found, Source)> {
    let default = variable("DOCKER_CONFIG").map(|dir| dir.join("config.json")).or_else(|| in_home(".docker/config.json"));
    let (source, text) = Source::read(&named_or(file, default.into_iter().collect())?)?;
    let found = auths::read(Program::Docker, text.as_bytes(), &mut asker(ask_helpers)).map_err(|why| source.wrong(&why))?;
    Ok((found, source))
}

/// podman's file: the one that is named, else the first of those that podman looks into (containers/image `pkg/docker/config/config.go`
/// getAuthFilePaths) that is there.
pub(super) fn podman(file: Option<&Path>, ask_helpers: bool) -> Result<(Found, Source)> {
    let runtime = variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let home = config_home().map(|dir| dir.join("containers/auth.json"));
    let default = [variable("REGISTRY_AUTH_FILE"), runtime, home].into_iter().flatten().collect();
    let (source, text) = Source::read(&named_or(file, default)?)?;
    let found = auths::read(Program::Podman, text.as_bytes(), &mut asker(ask_helpers)).map_err(|why| source.wrong(&why))?;
    Ok((found, source))
}

/// enroot's file: the one that is named, else `$ENROOT_CONFIG_PATH/.credentials`, else that below the home (enroot `src/docker.sh`).
pub(super) fn enroot(file: Option<&Path>) -> Result<(Found, Source)> {
    let dir = variable("ENROOT_CONFIG_PATH").or_else(|| config_home().map(|dir| dir.join("enroot")));
    let default = dir.map(|dir| dir.join(".credentials"));
    let (source, text) = Source::read(&named_or(file, default.into_iter().collect())?)?;
    let found = enroot::read(text.as_bytes()).map_err(|why| source.wrong(&why))?;
    Ok((found, source))
}

/// Pull Secrets of a file.
pub(super) fn kubernetes(file: &Path) -> Result<(Found, Source)> {
    let (source, text) = Source::read(file)?;
    let found = kubernetes::read(&text).map_err(|why| source.wrong(&why))?;
    Ok((found, source))
}

/// Asks helpers when that is allowed.
fn asker(allowed: bool) -> impl FnMut(&crate::model::HelperName, &str) -> Answer {
    move |name, server| if allowed { helper::ask(name, server) } else { Answer::NotAsked }
}

/// The file that is named, else the first of the usual places where one is; the others that are there too are named.
fn named_or(file: Option<&Path>, places: Vec<PathBuf>) -> Result<PathBuf> {
    if let Some(file) = file {
        return Ok(file.to_path_buf());
    }
    let shown = |paths: &[&PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    let there: Vec<&PathBuf> = places.iter().filter(|p| p.symlink_metadata().is_ok()).collect();
    match there[..] {
        [] if places.is_empty() => Err(Error::usage("HOME does not say where the file is").hint("name it")),
        [] => Err(Error::usage(format!("there is no file at {}", shown(&places.iter().collect::<Vec<_>>()))).hint("name the file")),
        [first] => Ok(first.clone()),
        [first, ref others @ ..] => {
            ui::note(&format!("{} is read; {} is there too, and can be imported by its name", first.display(), shown(others)));
            Ok(first.clone())
        }
    }
}

fn config_home() -> Option<PathBuf> {
    variable("XDG_CONFIG_HOME").or_else(|| in_home(".config"))
}

fn in_home(path: &str) -> Option<PathBuf> {
    variable("HOME").map(|home| home.join(path))
}

/// A variable that names something; an empty one counts as none.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from)
}
