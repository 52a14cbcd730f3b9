//! Which login each program on a node would use for a registry, and why: the files that it looks into, in its order and by its rules.
//!
//! Pure: [`paths`] says which files of the node are needed, [`explain`] reads them. One row a program in its table; how a file is read
//! is its [consumer's](crate::format::Consumer) affair, which of its entries a program takes is told here.

mod containers;
mod docker;
mod kubernetes;
mod singularity;

use crate::format::{Account, Entries, Entry, FileSpec, NodeFacts, consumer};
use crate::model::sight::{Access, Answer, Sight, Step, Verdict};
use crate::model::{FileMode, Host, LoginEntry, Registry, RemotePath, StatKind, Target, TargetKind};

/// A program that pulls images or charts.
struct Program {
    /// Its name.
    name: &'static str,
    /// The names of its binaries; one of them is enough.
    binaries: &'static [&'static str],
    /// Whether it runs as a service of the node, and reads root's files whoever asks.
    service: bool,
    /// The files that it may look into, as far as can be told from what was seen; the last component may hold `*`.
    paths: fn(&Sight) -> Vec<String>,
    /// What it would do.
    answer: fn(&mut Look<'_>) -> Verdict,
}

static PROGRAMS: &[Program] = &[
    docker::DOCKER,
    docker::NERDCTL,
    containers::PODMAN,
    docker::ENROOT,
    singularity::APPTAINER,
    singularity::SINGULARITY,
    docker::HELM,
    kubernetes::KUBELET,
    containers::CRIO,
    kubernetes::K3S,
    kubernetes::RKE2,
    kubernetes::CONTAINERD,
];

/// Where programs usually lie.
const BINARY_DIRS: [&str; 6] = ["/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin", "/opt/bin", "/var/lib/rancher/rke2/bin"];

/// What is asked about.
pub struct Question<'a> {
    /// The registry; a path narrows the entries of programs that know paths.
    pub registry: &'a Registry,
    /// The host as the inventory has it.
    pub host: &'a Host,
    /// The logins of the inventory.
    pub logins: &'a [LoginEntry],
}

/// The files of a node that [`explain`] needs, and where the binaries may lie, as far as can be told from what was seen.
pub fn paths(host: &Host, sight: &Sight) -> Vec<String> {
    let mut paths: Vec<String> = PROGRAMS.iter().flat_map(|p| (p.paths)(sight)).collect();
    paths.extend(PROGRAMS.iter().flat_map(|p| p.binaries).flat_map(|b| BINARY_DIRS.iter().map(move |dir| format!("{dir}/{b}"))));
    paths.extend(host.targets.iter().flat_map(|t| places(t, sight)));
    // What no path of ours can be is nothing that the node is asked for.
    paths.retain(|path| RemotePath::parse(&path.replace('*', "x")).is_ok());
    paths.sort();
    paths.dedup();
    paths
}

/// What each program would do, in the order of the table.
pub fn explain(question: &Question<'_>, sight: &Sight) -> Vec<Answer> {
    PROGRAMS.iter().filter(|p| !p.service || sight.who.uid == 0).map(|program| answer(program, question, sight)).collect()
}

/// The targets of the host whose files this user's programs could read, and none of them looks into: only a variable or a flag leads there.
pub fn unread(question: &Question<'_>, sight: &Sight, answers: &[Answer]) -> Vec<String> {
    let looked = |place: &String| answers.iter().flat_map(|a| &a.steps).any(|step| step.file == *place);
    let of_user = |t: &&Target| t.user.as_deref().unwrap_or("root") == sight.who.name && !t.logins.is_empty();
    let targets = question.host.targets.iter().filter(of_user).filter(|t| !places(t, sight).iter().any(looked));
    targets.map(|t| format!("{} {}", t.kind, t.shown_path())).collect()
}

fn answer(program: &Program, question: &Question<'_>, sight: &Sight) -> Answer {
    let installed = program.binaries.iter().any(|b| BINARY_DIRS.iter().any(|dir| sight.stats.contains_key(&format!("{dir}/{b}"))));
    let mut look = Look { question, sight, steps: Vec::new(), notes: Vec::new() };
    let verdict = (program.answer)(&mut look);
    // A configuration that was not read would have been taken for none.
    for path in &sight.unread {
        if (program.paths)(sight).contains(path) && look.steps.iter().all(|step| step.file != *path) {
            look.notes.push(format!("{path} could not be read, and may change this; log in as root, or with `become: true`"));
        }
    }
    Answer { program: program.name, installed, verdict, steps: look.steps, notes: look.notes }
}

/// A program's way through the files.
struct Look<'a> {
    question: &'a Question<'a>,
    sight: &'a Sight,
    steps: Vec<Step>,
    notes: Vec<String>,
}

/// What there is at a path, for the user whose program looks.
enum There<'a> {
    /// Nothing.
    Absent,
    /// Something that they cannot read as a file, and why.
    Unreadable(String),
    /// A file with this content.
    File(&'a [u8]),
}

impl<'a> Look<'a> {
    fn registry(&self) -> &'a Registry {
        self.question.registry
    }

    fn there(&mut self, file: &str) -> There<'a> {
        if self.sight.unread.contains(file) {
            return There::Unreadable("regprov may not read it; log in as root, or with `become: true`".to_string());
        }
        let Some(stat) = self.sight.stats.get(file) else { return There::Absent };
        let name = &self.sight.who.name;
        match self.sight.access(file) {
            Access::No(at) if at == file => {
                return There::Unreadable(format!("{name} cannot read it (mode {}, owner {})", FileMode::public(stat.mode), stat.uid));
            }
            Access::No(at) => return There::Unreadable(format!("{name} cannot read it: {at} lets nobody else through")),
            Access::Group(gid) => self.note(format!("{file} counts only if {name} is in group {gid}, which is not looked up")),
            Access::Yes => {}
        }
        match (&stat.kind, self.sight.files.get(file)) {
            (StatKind::File, Some(content)) => There::File(content),
            (StatKind::File, None) => There::Unreadable("is over 1 MiB, which regprov does not read".to_string()),
            _ => There::Unreadable("is no regular file".to_string()),
        }
    }

    /// The entries of a file as the consumer of this kind reads it.
    fn entries(&self, kind: TargetKind, part: &'static str, file: &str, content: &[u8]) -> Entries {
        let path = RemotePath::parse(file)?;
        let mode = FileMode::public(0o600);
        let spec = FileSpec { part, path, mode, secret: true, at_start: false, dir_mode: mode };
        (consumer(kind).entries)(&spec, content, &NodeFacts { curl: self.sight.curl, ..NodeFacts::default() })
    }

    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Notes what was found in a file.
    fn step(&mut self, file: &str, found: impl Into<String>) {
        let ours = self.question.host.targets.iter().any(|t| places(t, self.sight).iter().any(|p| p == file));
        self.steps.push(Step { file: file.to_string(), found: found.into(), ours });
    }

    /// A file that ends the search: the program gives up there.
    fn fails(&mut self, file: &str, why: String) -> Verdict {
        self.step(file, "stops it");
        Verdict::Fails { file: file.to_string(), why }
    }

    /// The verdict for an entry that the program takes: its login, or what stands in its place.
    fn takes(&mut self, file: &str, entry: &Entry) -> Verdict {
        match (&entry.note, &entry.login) {
            (Some(what), _) => {
                self.step(file, format!("entry {}: {what}", entry.key));
                Verdict::Indirect { file: file.to_string(), entry: entry.key.clone(), what: what.clone() }
            }
            (None, Some(account)) => self.sends(file, &entry.key, account),
            (None, None) => {
                self.step(file, format!("entry {} holds no login", entry.key));
                Verdict::Anonymous
            }
        }
    }

    fn sends(&mut self, file: &str, entry: &str, account: &Account) -> Verdict {
        self.step(file, format!("entry {entry} of {}: used", account.username));
        let login = self.login(file, account);
        Verdict::Sends { file: file.to_string(), entry: entry.to_string(), username: account.username.clone(), login }
    }

    fn no_entry(&mut self, file: &str) -> Verdict {
        self.step(file, format!("no entry for {}", self.registry()));
        Verdict::Anonymous
    }

    /// The inventory's login that this account in this file is meant to be.
    fn login(&self, file: &str, account: &Account) -> Option<String> {
        let target = self.question.host.targets.iter().find(|t| places(t, self.sight).iter().any(|p| p == file))?;
        let meant = |l: &&LoginEntry| {
            target.logins.contains(&l.name) && l.registry.authority() == self.registry().authority() && l.username.as_str() == account.username
        };
        self.question.logins.iter().find(meant).map(|l| l.name.clone())
    }
}

/// Where a target's files lie for this user, without the host's `root:`; those in the home of another user are none of theirs.
fn places(target: &Target, sight: &Sight) -> Vec<String> {
    let who = &sight.who;
    if target.is_auto() {
        let is_mine = target.user.as_deref().unwrap_or("root") == who.name;
        return docker::credentials(sight).filter(|_| is_mine).into_iter().collect();
    }
    let files = (consumer(target.kind).files)(target).into_iter();
    let place = |file: FileSpec| match Target::below_home(&file.path) {
        Some(rest) => (target.user.as_deref() == Some(who.name.as_str())).then(|| who.in_home(rest)),
        None => Some(file.path.to_string()),
    };
    files.filter_map(place).collect()
}
