//! Asks the ssh program what its configuration says of a host (`ssh -G`): nothing else reads Match, Include and tokens as it does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::command::NOT_FOR_OTHERS;
use super::config::{Answer, Speech, parse, speech};
use crate::model::text::sanitize;

/// What ssh reads for all users.
const GLOBAL: &str = "/etc/ssh/ssh_config";
/// Programs at once; each takes 4 ms of CPU, or what a `Match exec` takes.
const AT_ONCE: usize = 8;
/// How long one may take; a `Match exec` may ask the network.
const DEADLINE: Duration = Duration::from_secs(20);
/// How deep files include one another before we stop looking (ssh itself stops at 16).
const INCLUDES_MAX: usize = 16;
/// A user name that nobody has: it comes back where no User line spoke.
const NOBODY: &str = "regprov-nobody-said";
/// The name that stands for all hosts.
const ANY: &str = "regprov-any-host";

/// What is asked: the host's name, and what the inventory or a flag has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The name in the inventory, or as a jump host is named.
    pub name: String,
    /// The address, for HostName.
    pub address: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Whether ssh_config's ProxyJump and ProxyCommand are overruled.
    pub has_way: bool,
}

/// The user's and the machine's ssh_config, as the ssh program reads them.
pub struct SshConfig {
    files: Files,
    /// What ssh says without any configuration.
    defaults: Answer,
    /// What holds for every host, where no file tells hosts apart.
    for_all: Option<Answer>,
    answers: BTreeMap<Question, Answer>,
}

/// Which files are read.
enum Files {
    /// ssh's own choice.
    Usual,
    /// These instead of ssh's own choice; a file that is not there says nothing.
    Given(Vec<PathBuf>),
    /// None, since there is no ssh.
    Absent,
}

impl SshConfig {
    /// Without any ssh_config.
    pub fn none() -> Self {
        SshConfig { files: Files::Absent, defaults: Answer::default(), for_all: Some(Answer::default()), answers: BTreeMap::new() }
    }

    /// The configuration of whoever has this home; or that of one file (ssh's `-F`).
    ///
    /// # Errors
    /// What ssh says against it.
    pub async fn load(home: Option<&Path>, only: Option<&Path>) -> Result<Self, String> {
        let any = Question { name: ANY.to_string(), ..Question::default() };
        let defaults = match run(Some(Path::new("none")), None, &any, None).await {
            Ok(text) => parse(&text, &Answer::default()),
            Err(Refusal::NoProgram) if only.is_some() => return Err("--ssh-config needs the ssh program, which is not there".to_string()),
            Err(Refusal::NoProgram) => return Ok(Self::none()),
            Err(Refusal::Says(why)) => return Err(why),
        };
        let user = home.map(|h| h.join(".ssh/config"));
        // ssh goes by the passwd entry, and regprov by HOME, as for keys and known_hosts.
        let passwd_home = defaults.user_known_hosts.as_ref().and_then(|f| f.first()).and_then(|f| f.strip_suffix("/.ssh/known_hosts"));
        let files = match (only, home) {
            (Some(file), _) => Files::Given(vec![std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf())]),
            (None, Some(home)) if passwd_home.is_some_and(|p| Path::new(p) == home) => Files::Usual,
            (None, _) => Files::Given(user.iter().cloned().chain([PathBuf::from(GLOBAL)]).collect()),
        };
        if let Some(file) = only.filter(|f| !f.is_file()) {
            return Err(format!("{}: there is no such file", file.display()));
        }
        let read = match &files {
            Files::Given(files) => files.clone(),
            _ => user.into_iter().chain([PathBuf::from(GLOBAL)]).collect(),
        };
        let mut config = SshConfig { files, defaults, for_all: None, answers: BTreeMap::new() };
        if read.iter().all(|f| says_the_same_of_all(f, 0)) {
            let mut answer = config.ask(&any).await?;
            answer.host_name = answer.host_name.filter(|h| h != ANY);
            config.for_all = Some(answer);
        }
        Ok(config)
    }

    /// Whether ssh must be asked for each host, which takes some milliseconds each.
    pub fn asks_for_each(&self) -> bool {
        self.for_all.is_none() && !matches!(self.files, Files::Absent)
    }

    /// Asks, each question once, several at a time.
    ///
    /// # Errors
    /// What ssh says against it, with the first host that it concerns.
    pub async fn ask_all(&mut self, questions: BTreeSet<Question>) -> Result<(), String> {
        let open: Vec<Question> = questions.into_iter().filter(|q| !self.answers.contains_key(q)).collect();
        if let Some(answer) = &self.for_all {
            self.answers.extend(open.into_iter().map(|q| (q, answer.clone())));
            return Ok(());
        }
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let shared = Arc::new(SshConfig { files: self.files.again(), defaults: self.defaults.clone(), for_all: None, answers: BTreeMap::new() });
        let mut asking = JoinSet::new();
        for question in open {
            let (turns, shared) = (turns.clone(), shared.clone());
            asking.spawn(async move {
                let _turn = turns.acquire().await;
                let answer = shared.ask(&question).await;
                (question, answer)
            });
        }
        let mut failed = BTreeMap::new();
        while let Some(ended) = asking.join_next().await {
            match ended {
                Ok((question, Ok(answer))) => drop(self.answers.insert(question, answer)),
                Ok((question, Err(why))) => drop(failed.insert(question, why)),
                Err(_) => return Err("asking ssh for its configuration failed".to_string()),
            }
        }
        match failed.into_iter().next() {
            Some((question, why)) => Err(format!("host {}: {why}", question.name)),
            None => Ok(()),
        }
    }

    /// What was answered to a question that was asked.
    pub fn answer(&self, question: &Question) -> &Answer {
        self.answers.get(question).unwrap_or(&self.defaults)
    }

    /// Our own user name, as ssh knows it.
    pub fn local_user(&self) -> Option<&str> {
        self.defaults.user.as_deref()
    }

    /// One host. `ssh -G` prints our own name where no User line spoke; where that may be so, it is asked again with a last line that
    /// says another, and what comes of that decides. Then nobody but us decides on the user: root.
    async fn ask(&self, question: &Question) -> Result<Answer, String> {
        let answer = self.ask_ssh(question, None).await?;
        if question.user.is_some() || answer.user.as_deref() == Some("root") || answer.user != self.defaults.user {
            return Ok(answer);
        }
        match self.ask_ssh(question, Some(NOBODY)).await {
            Ok(again) if again.user.as_deref() == Some(NOBODY) => {}
            _ => return Ok(answer),
        }
        self.ask_ssh(&Question { user: Some("root".to_string()), ..question.clone() }, None).await
    }

    async fn ask_ssh(&self, question: &Question, last_user: Option<&str>) -> Result<Answer, String> {
        let usual;
        let files = match &self.files {
            Files::Absent => return Ok(Answer::default()),
            Files::Usual if last_user.is_none() => None,
            Files::Usual => {
                let home = self.defaults.user_known_hosts.as_ref().and_then(|f| f.first()).and_then(|f| f.strip_suffix("known_hosts"));
                usual = [PathBuf::from(home.unwrap_or_default()).join("config"), PathBuf::from(GLOBAL)];
                Some(&usual[..])
            }
            Files::Given(files) => Some(&files[..]),
        };
        let text = match files {
            None => run(None, None, question, None).await,
            // As it stands, so that what ssh says against it names its lines.
            Some([only]) if last_user.is_none() => run(Some(only), None, question, None).await,
            Some(files) => run(Some(Path::new("/dev/stdin")), Some(files), question, last_user).await,
        };
        match text {
            Ok(text) => Ok(parse(&text, &self.defaults)),
            Err(Refusal::NoProgram) => Err("the ssh program has gone".to_string()),
            Err(Refusal::Says(why)) => Err(why),
        }
    }
}

impl Files {
    fn again(&self) -> Files {
        match self {
            Files::Usual => Files::Usual,
            Files::Given(files) => Files::Given(files.clone()),
            Files::Absent => Files::Absent,
        }
    }
}

enum Refusal {
    NoProgram,
    Says(String),
}

/// Runs `ssh -G`. With `files` its configuration is a file that includes these and, last, says `last_user`; a relative Include of the
/// machine's file is then looked for in ~/.ssh, which no distribution's file has.
async fn run(config: Option<&Path>, files: Option<&[PathBuf]>, question: &Question, last_user: Option<&str>) -> Result<String, Refusal> {
    let says = |why: String| Refusal::Says(format!("`ssh -G {}`: {why}", question.name));
    let mut command = Command::new("ssh");
    command.args(["-G", "-T", "-v"]).env_remove(NOT_FOR_OTHERS).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(config) = config {
        command.arg("-F").arg(config);
    }
    if let Some(files) = files {
        command.stdin(wrapper(files, last_user).map_err(|e| says(super::io_reason(&e)))?);
    }
    if let Some(address) = &question.address {
        command.arg("-o").arg(format!("HostName={}", address.replace('%', "%%")));
    }
    if let Some(user) = &question.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = question.port {
        command.arg("-p").arg(port.to_string());
    }
    if question.has_way {
        command.args(["-o", "ProxyJump=none"]);
    }
    command.arg("--").arg(&question.name);
    let out = match tokio::time::timeout(DEADLINE, command.output()).await {
        Err(_) => return Err(says(format!("no answer within {} s", DEADLINE.as_secs()))),
        Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => return Err(Refusal::NoProgram),
        Ok(Err(e)) => return Err(says(super::io_reason(&e))),
        Ok(Ok(out)) => out,
    };
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    if !out.status.success() {
        let words: Vec<&str> = told.lines().filter(|l| !l.starts_with("debug1: ") && !l.starts_with("OpenSSH_")).collect();
        return Err(says(sanitize(&words.join(" "))));
    }
    for line in told.lines().filter_map(|l| l.strip_prefix("debug1: ")).filter(|l| l.contains(": Applying options for ")) {
        tracing::info!(host = %question.name, "{}", sanitize(line));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A file without a name that includes others. ssh opens it more than once (`Match final`), so that a pipe would not do.
fn wrapper(files: &[PathBuf], last_user: Option<&str>) -> io::Result<Stdio> {
    use std::io::Write as _;
    let mut text = Vec::new();
    for file in files {
        use std::os::unix::ffi::OsStrExt as _;
        let path = file.as_os_str().as_bytes();
        if path.iter().any(|b| b"\"\\*?[]\n".contains(b)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} cannot be included: its name has a wildcard or a quote", file.display())));
        }
        text.extend_from_slice(b"Include \"");
        text.extend_from_slice(path);
        text.extend_from_slice(b"\"\n");
    }
    if let Some(user) = last_user {
        text.extend_from_slice(format!("Match all\nUser {user}\n").as_bytes());
    }
    // SAFETY: the name is a C string, and the flags are none; the descriptor is ours alone.
    let mut file = unsafe {
        use std::os::fd::FromRawFd as _;
        let descriptor = libc::memfd_create(c"ssh_config".as_ptr(), libc::MFD_CLOEXEC);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        std::fs::File::from_raw_fd(descriptor)
    };
    file.write_all(&text)?;
    Ok(file.into())
}

/// Whether a configuration file, and those that it includes, tell no hosts apart. What cannot be looked at may.
fn says_the_same_of_all(file: &Path, depth: usize) -> bool {
    let text = match std::fs::read(file) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(e) => return e.kind() == io::ErrorKind::NotFound,
    };
    let Speech::ForAll(included) = speech(&text) else { return false };
    depth < INCLUDES_MAX
        && included.iter().all(|pattern| {
            // ~/.ssh or /etc/ssh, whichever the file itself lies in.
            if pattern.starts_with('~') || (!pattern.starts_with('/') && depth > 0) {
                return false;
            }
            let path = file.parent().unwrap_or(Path::new("/")).join(pattern);
            let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else { return false };
            match name.strip_prefix('*') {
                None if name.contains(['*', '?', '[']) => false,
                None => says_the_same_of_all(&path, depth + 1),
                Some(end) if end.contains(['*', '?', '[']) || dir.to_string_lossy().contains(['*', '?', '[']) => false,
                Some(end) => match std::fs::read_dir(dir) {
                    Ok(entries) => {
                        entries.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(end)).all(|e| says_the_same_of_all(&e.path(), depth + 1))
                    }
                    Err(e) => e.kind() == io::ErrorKind::NotFound,
                },
            }
        })
}
