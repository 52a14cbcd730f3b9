//! Apptainer and SingularityCE: a pair of variables for every registry, else a file that a variable names, else one in the home.

use super::docker::{DOCKER_FILE, by_docker};
use super::{Look, Program, There};
use crate::format::{FileSpec, apptainer_auth_file, consumer};
use crate::model::sight::{Sight, Verdict};
use crate::model::{RemotePath, Target, TargetKind};

/// apptainer `cmd/internal/cli/build.go` makeOCICredentials, `internal/pkg/util/ociauth`, `pkg/syfs`.
pub(super) const APPTAINER: Program = Program {
    name: "apptainer",
    binaries: &["apptainer"],
    service: false,
    paths: |sight| paths(sight, &OF_APPTAINER),
    answer: |look| answer(look, &OF_APPTAINER),
};

/// SingularityCE `cmd/internal/cli/singularity.go`, `internal/pkg/ociauth`.
pub(super) const SINGULARITY: Program = Program {
    name: "singularity",
    binaries: &["singularity"],
    service: false,
    paths: |sight| paths(sight, &OF_SINGULARITY),
    answer: |look| answer(look, &OF_SINGULARITY),
};

/// What sets the two apart.
struct Kind {
    /// The prefixes of its pair of variables, the first one set wins.
    prefixes: &'static [&'static str],
    /// The variable that names its file.
    variable: &'static str,
    /// Its file in a home.
    file: &'static str,
    /// Whether Docker's file stands in for its own where that is not there.
    falls_back: bool,
}

const OF_APPTAINER: Kind =
    Kind { prefixes: &["APPTAINER", "SINGULARITY"], variable: "APPTAINER_AUTH_FILE", file: ".apptainer/docker-config.json", falls_back: true };
const OF_SINGULARITY: Kind = Kind { prefixes: &["SINGULARITY"], variable: "SINGULARITY_AUTHFILE", file: ".singularity/docker-config.json", falls_back: false };

/// Our stubs, which login shells read.
const PAIR_STUB: &str = "/etc/profile.d/regprov-singularity.sh";
const FILE_STUB: &str = "/etc/profile.d/regprov-apptainer.sh";
/// The directory of the pair where the stub names no other.
const PAIR_DIR: &str = "/etc/regprov";

fn paths(sight: &Sight, kind: &Kind) -> Vec<String> {
    let named = [pair_file(sight).map(|spec| spec.path.to_string()), named_file(sight, kind)];
    let home = [kind.file, DOCKER_FILE].map(|rest| sight.who.in_home(rest));
    [PAIR_STUB, FILE_STUB].map(str::to_string).into_iter().chain(home).chain(named.into_iter().flatten()).collect()
}

/// The file with the pair that the stub sources: the one that a target in that directory would write.
fn pair_file(sight: &Sight) -> Option<FileSpec> {
    let stub = std::str::from_utf8(sight.files.get(PAIR_STUB)?).ok()?;
    // `[ -r FILE ] && . FILE`
    let named = stub.lines().find_map(|l| l.split_once("&& . ")).map(|(_, file)| file.trim().trim_matches('\''));
    let dir = named.and_then(|file| file.rsplit_once('/')).map_or(PAIR_DIR, |(dir, _)| dir);
    let target = Target::at(TargetKind::Singularity, RemotePath::parse(dir).ok()?);
    (consumer(TargetKind::Singularity).files)(&target).into_iter().find(|spec| spec.secret && spec.part == "sh")
}

fn named_file(sight: &Sight, kind: &Kind) -> Option<String> {
    apptainer_auth_file(sight.files.get(FILE_STUB)?, kind.variable)
}

fn answer(look: &mut Look<'_>, kind: &Kind) -> Verdict {
    if let Some(verdict) = pair(look, kind) {
        return verdict;
    }
    if let Some(file) = named_file(look.sight, kind) {
        look.step(FILE_STUB, format!("sets {} to {file} in login shells", kind.variable));
        // The stub sets the variable for those who may read the file.
        match look.there(&file) {
            There::File(content) => return in_file(look, &file, content),
            There::Absent => look.step(&file, "no such file, so that the variable is not set"),
            There::Unreadable(why) => look.step(&file, format!("{why}, so that the variable is not set")),
        }
    } else {
        look.note(format!("{}_DOCKER_USERNAME and _PASSWORD, {} and --authfile come before the file", kind.prefixes[0], kind.variable));
    }
    let file = look.sight.who.in_home(kind.file);
    match look.there(&file) {
        There::File(content) => in_file(look, &file, content),
        There::Unreadable(why) => {
            look.step(&file, why);
            Verdict::Anonymous
        }
        There::Absent => {
            look.step(&file, "no such file");
            let docker = look.sight.who.in_home(DOCKER_FILE);
            match kind.falls_back.then(|| look.there(&docker)) {
                None => Verdict::Anonymous,
                Some(There::File(content)) => {
                    look.note("Apptainer before 1.3.0 does not go on to Docker's file");
                    in_file(look, &docker, content)
                }
                Some(There::Absent) => {
                    look.step(&docker, "no such file");
                    Verdict::Anonymous
                }
                Some(There::Unreadable(why)) => {
                    look.step(&docker, why);
                    Verdict::Anonymous
                }
            }
        }
    }
}

/// The pair of variables, which is sent to every registry; `None` where login shells of this user set none.
fn pair(look: &mut Look<'_>, kind: &Kind) -> Option<Verdict> {
    let spec = pair_file(look.sight)?;
    let file = spec.path.to_string();
    look.step(PAIR_STUB, format!("has login shells read {file}"));
    let content = match look.there(&file) {
        There::File(content) => content,
        There::Absent => {
            look.step(&file, "no such file, so that no variable is set");
            return None;
        }
        There::Unreadable(why) => {
            look.step(&file, format!("{why}, so that no variable is set"));
            return None;
        }
    };
    let entries = match look.entries(TargetKind::Singularity, "sh", &file, content) {
        Ok(entries) => entries,
        Err(why) => return Some(look.fails(&file, why)),
    };
    let entry = kind.prefixes.iter().find_map(|prefix| entries.iter().find(|e| e.key == *prefix))?;
    look.note("these variables are sent to every registry, whatever it is; outside of login shells the files of the home count");
    Some(look.takes(&file, entry))
}

/// docker/cli's code on the file, first with the repository (go-containerregistry `pkg/authn`), then with the registry; a file that it refuses
/// counts as none, and nothing is said.
fn in_file(look: &mut Look<'_>, file: &str, content: &[u8]) -> Verdict {
    let entries = match look.entries(TargetKind::Apptainer, "", file, content) {
        Ok(entries) => entries,
        Err(why) => {
            look.step(file, format!("is not read: {why}"));
            return Verdict::Anonymous;
        }
    };
    let whole = look.registry().to_string();
    if let Some(entry) = entries.iter().find(|e| look.registry().path().is_some() && e.key == whole) {
        return look.takes(file, entry);
    }
    by_docker(look, file, content, &entries, look.registry().docker_key())
}
