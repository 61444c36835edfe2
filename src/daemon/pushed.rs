//! What a push does to the configuration in force, and what a fetch records before it.

use super::delivery::{Accepted, Question, Serving};
use super::repository::Repository;
use super::root::Root;
use crate::domain::ask::audit::{Caller, ConfigCause};
use crate::domain::ask::command::GitService;
use crate::domain::base::configuration::short;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::door::GitWire;

impl Root {
    /// The directory as a repository.
    pub(super) fn repository(&self) -> Repository {
        Repository::new(&self.current.borrow().settings.store, &self.path)
    }

    /// Serves a client of git to its end; words for it.
    pub(super) async fn serve(
        &self,
        service: GitService,
        by: &Caller,
        wire: GitWire,
    ) -> Result<String, Refusal> {
        let repository = self.repository();
        if service == GitService::Fetch {
            self.record_directory(&repository, true).await?;
            Serving::start(&repository, service, wire)?.end().await;
            return Ok(String::new());
        }
        let Ok(_only_one) = self.pushing.try_lock() else {
            let why = "another push is under way";
            return Err(Refusal::new(Cause::Busy, why).hint("try: again when it has ended"));
        };
        self.record_directory(&repository, false).await?;
        self.receive(&repository, by, Serving::start(&repository, service, wire)?).await
    }

    /// Commits what the directory has and the branch does not. Without a branch, a first push decides what is in it.
    async fn record_directory(&self, repository: &Repository, also_first: bool) -> Result<(), Refusal> {
        let _one_at_a_time = self.reloading.lock().await;
        let recording = {
            let repository = repository.clone();
            move || {
                repository.create()?;
                if let Err(why) = repository.catch_up() {
                    tracing::warn!("{why}");
                }
                match also_first || repository.tip()?.is_some() {
                    true => repository.record("rollcall", "The directory as it was found"),
                    false => Ok(()),
                }
            }
        };
        on_a_thread(recording).await
    }

    async fn receive(
        &self,
        repository: &Repository,
        by: &Caller,
        mut serving: Serving,
    ) -> Result<String, Refusal> {
        let Some(question) = serving.question().await? else {
            // The client had nothing to push, or git has refused it by itself and said so.
            serving.end().await;
            return Ok(String::new());
        };
        let done = self.decide(repository, by, (question, &mut serving)).await;
        serving.end().await;
        done
    }

    /// From the verdict to the reload, nothing else of rollcall changes the directory; the client is not waited for.
    async fn decide(
        &self,
        repository: &Repository,
        by: &Caller,
        (question, serving): (Question, &mut Serving),
    ) -> Result<String, Refusal> {
        let _one_at_a_time = self.reloading.lock().await;
        let (name, config) = (short(&question.new).to_string(), self.current.borrow().clone());
        let judging = {
            let repository = repository.clone();
            move || Ok(question.judge(&repository, &config))
        };
        let judged: Result<(Accepted, String), String> =
            on_a_thread(judging).await.unwrap_or_else(|why| Err(why.to_string()));
        let verdict = judged.as_ref().map(|(_, said)| said.clone()).map_err(Clone::clone);
        if let Err(why) = serving.answer(&verdict) {
            // Without a verdict, the hook would wait.
            serving.stop().await;
            return Err(why);
        }
        let (accepted, _) = judged.map_err(|why| {
            let first = why.lines().next().unwrap_or_default().to_string();
            Refusal::rule(format!("the push of commit {name} was refused: {first}"))
        })?;
        serving.ended().await;
        self.put_in_place(repository, by, accepted).await
    }

    async fn put_in_place(
        &self,
        repository: &Repository,
        by: &Caller,
        accepted: Accepted,
    ) -> Result<String, Refusal> {
        let name = short(&accepted.new).to_string();
        let placing = {
            let repository = repository.clone();
            move || accepted.place(&repository)
        };
        on_a_thread(placing).await.map_err(|why| why.about(format!("commit {name}")))?;
        let reloaded = self.reload_locked(by, ConfigCause::Push).await;
        let said = reloaded.map_err(|why| {
            Refusal::usage(format!("commit {name} is in the directory, but nothing was taken over:\n{why}"))
        })?;
        Ok(format!("commit {name}: {said}"))
    }

    /// Commits a change that rollcall made for an operator, if clients use the repository.
    pub(super) async fn record_change(&self, author: &str, what: &str) {
        let (repository, name, what) = (self.repository(), author.to_string(), what.to_string());
        let recording = move || match repository.exists() && repository.tip()?.is_some() {
            true => repository.record(&name, &what),
            false => Ok(()),
        };
        if let Err(why) = on_a_thread(recording).await {
            tracing::warn!(%why, "the change is in the directory, and the next fetch commits it");
        }
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::internal(error.to_string()))?.map_err(Refusal::internal)
}
