//! Credential helpers of files with `helper: store`: asked before the files are merged, and handed what they do not have.

use zeroize::Zeroizing;

use super::host::{ATTEMPTS_MAX, Link, PartRun};
use super::job::Item;
use super::observe::{Seen, facts};
use super::shared::Sharing;
use super::tasks::Tasks;
use crate::format::helper::{self, Answer, Held, Question};
use crate::model::{HelperPolicy, Login, Observed, Stage};
use crate::node::protocol::{HelperVerb, Nonce, Task};
use crate::plan::{self, Located};
use crate::transport::{Connector, Trouble};

impl<C: Connector> PartRun<'_, C> {
    /// Looks which helpers stand before our logins, and sees to it that each has its own; what came of it is kept at the items. It takes
    /// a look of its own, and only where a target has `helper: store`. `greeted` is the nonce of a program that runs already.
    pub(super) async fn hand_over(&self, session: &mut C::Session, greeted: &mut Option<Nonce>) -> Result<(), Trouble> {
        if self.items.iter().all(|item| item.target.helper != HelperPolicy::Store) {
            return Ok(());
        }
        let (deadline, clock) = (self.options().command, &**self.run.clock);
        let mut link = Link { session: &mut *session, nonce: Nonce::random(), greeted: false, deadline, clock };
        match greeted.take() {
            Some(nonce) => (link.nonce, link.greeted) = (nonce, true),
            None => {
                self.at(Stage::Start);
                link.start(&self.run_as).await?;
            }
        }
        self.at(Stage::Observe);
        let mut seen = self.observe(&mut link, None, &mut Sharing::new(None, &self.host.name)).await?;
        for _ in 1..ATTEMPTS_MAX {
            if seen.reply.torn {
                seen = self.observe(&mut link, None, &mut Sharing::new(None, &self.host.name)).await?;
            }
        }
        let asked: Vec<(&Item<'_>, Vec<Question>)> = self.items.iter().map(|item| (item, self.questions(item, &seen))).filter(|(_, q)| !q.is_empty()).collect();
        if asked.is_empty() {
            *greeted = Some(link.nonce);
            return Ok(());
        }
        let mut tasks = Tasks::new(session, self.run_as.clone(), deadline, clock);
        for (item, questions) in asked {
            let answers = self.answers(&mut tasks, item, questions, &seen).await;
            item.answered(answers);
        }
        Ok(())
    }

    /// The file of an item as it was seen.
    fn existing(&self, item: &Item<'_>, seen: &Seen) -> Option<Zeroizing<Vec<u8>>> {
        let uid = seen.reply.me.map(|(uid, _)| uid)?;
        match plan::locate(&item.wanted, &self.host.root, uid, seen) {
            Located::At { observed: Observed::File(file), .. } => Some(file.content),
            _ => None,
        }
    }

    /// What a file cannot be asked about is for its merge to tell.
    fn questions(&self, item: &Item<'_>, seen: &Seen) -> Vec<Question> {
        let facts = facts(self.host, item, &seen.reply);
        let existing = self.existing(item, seen);
        helper::questions(&item.merge(existing.as_deref().map(Vec::as_slice), &facts, self.options().merge)).unwrap_or_default()
    }

    /// Asks for everything, and hands over what is missing, unless the file would be refused all the same.
    async fn answers(&self, tasks: &mut Tasks<'_, C::Session>, item: &Item<'_>, questions: Vec<Question>, seen: &Seen) -> Vec<Answer> {
        let mut answers = Vec::new();
        for question in questions {
            let held = match self.login(&question) {
                _ if self.host.root.as_str() != "/" => Held::Failed(format!("{} belongs to an image below `root:`, where nothing is run", question.helper)),
                Some(login) => self.get(tasks, &question, login).await,
                None => continue,
            };
            answers.push(Answer { question, held });
        }
        let mut facts = facts(self.host, item, &seen.reply);
        facts.helpers = answers.clone();
        let existing = self.existing(item, seen);
        let merges = (item.consumer.merge)(&item.merge(existing.as_deref().map(Vec::as_slice), &facts, self.options().merge)).is_ok();
        if self.options().check || !merges || answers.iter().all(|a| a.held != Held::Other) {
            return answers;
        }
        self.at(Stage::Replace);
        self.progress().sent = true;
        (self.run.sent)();
        for answer in answers.iter_mut().filter(|a| a.held == Held::Other) {
            if let Some(login) = self.login(&answer.question) {
                answer.held = self.store(tasks, &answer.question, login).await;
            }
        }
        self.progress().sent = false;
        answers
    }

    fn login(&self, question: &Question) -> Option<&Login> {
        self.run.push.logins.get(&question.login)
    }

    async fn get(&self, tasks: &mut Tasks<'_, C::Session>, question: &Question, login: &Login) -> Held {
        let task = Task::Helper { verb: HelperVerb::Get, name: &question.helper, home: &self.home };
        match tasks.run(&task, &question.server).await {
            Ok(ran) => helper::held(question, login, ran.status, &ran.out, &ran.err),
            Err(why) => Held::Failed(format!("{} get: {why}", question.helper)),
        }
    }

    /// Hands the login over, and looks whether it is there.
    async fn store(&self, tasks: &mut Tasks<'_, C::Session>, question: &Question, login: &Login) -> Held {
        let task = Task::Helper { verb: HelperVerb::Store, name: &question.helper, home: &self.home };
        match tasks.run(&task, &helper::to_store(question, login)).await {
            Ok(ran) if ran.status == 0 => match self.get(tasks, question, login).await {
                Held::Same => Held::Stored,
                Held::Failed(why) => Held::Failed(why),
                _ => Held::Failed(format!("{} took the login, and then had another one or none", question.helper)),
            },
            Ok(ran) => helper::failed(question, login, "store", ran.status, &ran.out, &ran.err),
            Err(why) => Held::Failed(format!("{} store: {why}", question.helper)),
        }
    }
}
