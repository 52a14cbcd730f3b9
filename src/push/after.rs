//! What is done on a host once its files have been read back: lines for its log, restarts, the pull test.

use super::host::{HostRun, run_as};
use super::job::{Item, items, shown};
use super::pull::{self, Answer, Challenge, Proof};
use super::tasks::Tasks;
use crate::format::helper;
use crate::model::text::{printable, sanitize};
use crate::model::{Change, Image, Login, ServiceUnit, Stage};
use crate::node::protocol::{NOT_RUNNING, Task};
use crate::transport::{Connector, Session, Trouble};

/// The longest line for a node's log, in characters; syslog cuts at a kibibyte (RFC 3164, 4.1).
const LOG_LINE_CHARS_MAX: usize = 900;

impl<C: Connector> HostRun<'_, C> {
    /// Does all of it, with the rights of root's files. Where the files did not all get their turn (not `well`), what changed is still told to
    /// the log, and nothing else is done.
    pub(super) async fn afterwards(&self, session: &mut C::Session, mut well: bool) -> Result<(), Trouble> {
        let options = &self.push.options;
        let (mut lines, mut services, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for (i, item) in items(self.host, &self.push.logins, 0).iter().enumerate() {
            let (change, path) = self.change(i, item);
            well &= change != Change::Failed;
            if options.check || !change.is_change() {
                continue;
            }
            if self.host.syslog {
                let registries = item.logins.iter().filter(|_| item.spec.secret).map(|l| l.registry.to_string()).collect::<Vec<_>>().join(", ");
                let registries = if registries.is_empty() { registries } else { format!(": {registries}") };
                told.push((item.target.kind.name(), path.clone()));
                let id = &options.inventory_id;
                lines.push(printable(&format!("{} {path} ({}){registries} by inventory {id}", change.name(), item.target.kind), LOG_LINE_CHARS_MAX));
            }
            if item.target.restart && item.spec.at_start && !services.contains(&item.consumer.restart) {
                services.push(item.consumer.restart);
            }
        }
        for ((kind, path), done) in &self.progress().held {
            well &= done.change != Change::Failed;
            if !options.check && self.host.syslog && done.change.is_change() && !told.contains(&(kind, path.clone())) {
                lines.push(printable(&format!("{} {path} ({kind}) by inventory {}", done.change.name(), options.inventory_id), LOG_LINE_CHARS_MAX));
            }
        }
        services.retain(|_| well);
        let image = options.pull_test.as_ref().filter(|_| well);
        if lines.is_empty() && services.is_empty() && image.is_none() {
            return Ok(());
        }
        let run_as = run_as(self.host, &self.push.connector.login(self.host), None)?;
        let mut tasks = Tasks::new(session, run_as, options.command, self.clock);
        if !lines.is_empty() {
            self.log(&mut tasks, &lines).await;
        }
        self.progress().stage = Some(Stage::Restart);
        for service in services {
            self.restart(&mut tasks, service).await?;
        }
        if let Some(image) = image {
            self.progress().stage = Some(Stage::PullTest);
            let logins = self.host.targets.iter().flat_map(|t| &t.logins).filter_map(|l| self.push.logins.get(l));
            let login = logins.filter(|l| is_for(l, image)).max_by_key(|l| l.registry.path().map_or(0, str::len));
            // The node's curl may be anything, and say what it was told.
            let unsaid = |why: String| login.map_or_else(|| why.clone(), |login| helper::redacted(&why, login));
            let granted = pull_test(&mut tasks, image, login).await;
            let granted = granted.map_err(|why| Trouble::new(Stage::PullTest, format!("{image}: {}", unsaid(why))))?;
            self.note(format!("pull test of {image}: {granted}"));
        }
        Ok(())
    }

    /// What became of a file that the host shall have, and its path as reports show it.
    fn change(&self, i: usize, item: &Item<'_>) -> (Change, String) {
        let progress = self.progress();
        let path = progress.shown.get(&i).cloned().unwrap_or_else(|| shown(self.host, item.target, &item.spec.path));
        let place = (item.target.kind.name(), path);
        let done = progress.held.get(&place).or_else(|| progress.done.get(&i));
        (done.map_or(Change::Unchanged, |done| done.change), place.1)
    }

    fn note(&self, note: String) {
        self.progress().notes.push(note);
    }

    /// A node without a log is one without these lines; its files are what they are.
    async fn log<S: Session>(&self, tasks: &mut Tasks<'_, S>, lines: &[String]) {
        let why = match tasks.run(&Task::Log, &lines.join("\n")).await {
            Ok(ran) if ran.status == 0 => return,
            Ok(ran) if ran.status == 127 => "there is no logger on the node".to_string(),
            Ok(ran) => format!("logger failed (exit status {}); it said: {}", ran.status, sanitize(String::from_utf8_lossy(&ran.err).trim())),
            Err(why) => format!("logger: {why}"),
        };
        self.note(format!("its changes are not in the system log: {why}"));
    }

    /// Restarts a service that goes by one of these names there.
    async fn restart<S: Session>(&self, tasks: &mut Tasks<'_, S>, service: &[ServiceUnit]) -> Result<(), Trouble> {
        let names = service.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        if self.host.root.as_str() != "/" {
            self.note(format!("{names} is not restarted: the files belong to an image below `root:`"));
            return Ok(());
        }
        for unit in service {
            let failed = |why: String| Trouble::new(Stage::Restart, format!("{unit} was not restarted, so that it may still use the old login: {why}"));
            let ran = tasks.run(&Task::Restart(*unit), "").await.map_err(failed)?;
            match ran.status {
                0 => {
                    self.note(format!("{unit} was {}", if *unit == ServiceUnit::Docker { "reloaded" } else { "restarted" }));
                    return Ok(());
                }
                NOT_RUNNING => {}
                status => return Err(failed(format!("exit status {status}; it said: {}", sanitize(String::from_utf8_lossy(&ran.err).trim())))),
            }
        }
        self.note(format!("{names} does not run there, and was not restarted"));
        Ok(())
    }
}

/// Whether a login is for this image: for its registry, or for a path there that the repository lies below.
fn is_for(login: &Login, image: &Image) -> bool {
    let below = |path: &str| image.repository().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    login.registry.authority() == image.registry().authority() && login.registry.path().is_none_or(below)
}

/// Asks the registry for the image with the node's curl. `Ok` says what was granted, `Err` why nothing was.
async fn pull_test<S: Session>(tasks: &mut Tasks<'_, S>, image: &Image, login: Option<&Login>) -> Result<String, String> {
    // curl ends by itself before the node would end it.
    let seconds = tasks.seconds().saturating_sub(1).max(1);
    let registry = image.registry();
    let granted = login.map_or("granted, without a login (none of this host is for that registry)".to_string(), |l| format!("granted to login \"{}\"", l.name));
    let mut first = Err(String::new());
    let mut scheme = "https";
    for one in pull::schemes(registry) {
        scheme = one;
        let ran = tasks.run(&Task::Curl, &pull::ask_challenge(registry, scheme, seconds)).await?;
        first = pull::answer(&ran).map(|Answer { status, text }| (status, pull::challenge(text)));
        if first.is_ok() || pull::met_a_certificate(&ran) {
            break;
        }
    }
    let proof = match first? {
        (200, _) => Proof::None,
        (401, Some(Challenge::Basic)) => login.map_or(Proof::None, Proof::Basic),
        (401, Some(Challenge::Bearer { realm, service })) => {
            pull::check_realm(&realm, registry, scheme, login)?;
            let ran = tasks.run(&Task::Curl, &pull::ask_token(&realm, service.as_deref(), image, login, seconds)).await?;
            match pull::answer(&ran)? {
                Answer { status: 200, text } => Proof::Bearer(pull::token(text).ok_or("the token server answered with something else than a token")?),
                Answer { status, .. } => return Err(pull::refusal(status, false, login)),
            }
        }
        (401, None) => return Err("the registry refuses (401) and does not say how it wants to be asked".to_string()),
        (status, _) => return Err(pull::refusal(status, false, login)),
    };
    let ran = tasks.run(&Task::Curl, &pull::ask_manifest(image, scheme, &proof, seconds)).await?;
    match (pull::answer(&ran)?.status, proof) {
        (200, Proof::None) if login.is_some() => Ok("granted; the registry asks for no login".to_string()),
        (200, _) => Ok(granted),
        (status, _) => Err(pull::refusal(status, true, login)),
    }
}
