//! `help`: all commands and the tasks, one command, or one task; and words that nothing of this is called.

use std::sync::Arc;

use super::asked::{Asked, Ended};
use crate::domain::ask::command::{Params, Topic};
use crate::domain::ask::help::unknown_word;
use crate::domain::base::refusal::Refusal;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::inventory::selector::select;
use crate::domain::task::task::Task;
use crate::present::help::{self, Example};

impl Asked<'_> {
    pub(super) async fn help(&mut self, inventory: &Arc<Inventory>, topic: &Topic) -> Result<u8, Ended> {
        let text = match topic {
            Topic::Command(text) => text.clone(),
            Topic::All(text) => text.clone() + &self.list_of_tasks(inventory).await?,
            Topic::Name(name) => self.help_of_task(inventory, name).await?,
        };
        self.say(&text).await
    }

    /// Words that begin as a task does: if there is such a task, they are wrong.
    pub(super) async fn misread(
        &mut self,
        inventory: &Arc<Inventory>,
        word: &str,
        why: &str,
    ) -> Result<u8, Ended> {
        let known = self.tasks_of(inventory).await?;
        let refusal = match known.iter().any(|task| task == word) {
            true => Refusal::usage(why).hint(format!("see: help {word}")),
            false => unknown_word(word, known.iter().map(String::as_str)),
        };
        Err(refusal.into())
    }

    /// The names of the tasks that the operator may know of, and that work on a host they may see.
    pub(super) async fn tasks_of(&self, inventory: &Arc<Inventory>) -> Result<Vec<String>, Refusal> {
        let (config, inventory) = (self.config.clone(), inventory.clone());
        let operator = self.granted.operator().clone();
        let find = move || {
            let known = config.tasks.values().filter(|task| operator.knows_task(&task.name));
            let reachable = known.filter(|task| first_host(task, &inventory).is_some());
            reachable.map(|task| task.name.clone()).collect()
        };
        self.work(find).await
    }

    async fn list_of_tasks(&self, inventory: &Arc<Inventory>) -> Result<String, Refusal> {
        let names = self.tasks_of(inventory).await?;
        let tasks: Vec<&Task> = names.iter().filter_map(|name| self.config.tasks.get(name)).collect();
        let may_act = tasks.iter().any(|task| self.granted.operator().may_run(&task.name));
        Ok(help::tasks(&tasks, may_act))
    }

    async fn help_of_task(&self, inventory: &Arc<Inventory>, name: &str) -> Result<String, Ended> {
        let known = self.tasks_of(inventory).await?;
        let task = self.config.tasks.get(name).filter(|_| known.iter().any(|known| known == name));
        let Some(task) = task else {
            return Err(unknown_word(name, known.iter().map(String::as_str)).into());
        };
        let selector = first_host(task, inventory).unwrap_or_else(|| "SELECTOR".into());
        let past = self.last_params(inventory, name).await?;
        let may_act = self.granted.operator().may_run(name);
        Ok(help::task(task, &Example { selector, past, may_act }))
    }

    /// The parameters of the last release by this task: values that were right once.
    async fn last_params(&self, inventory: &Inventory, task: &str) -> Result<Params, Ended> {
        let taken = self.ports().store.taken().await?;
        let seen = taken.into_iter().filter(|(host, _)| inventory.host(host).is_some());
        let releases = seen.filter_map(|(_, history)| history.into_iter().next());
        let own = releases.filter(|taken| taken.release.task == task);
        Ok(own.max_by_key(|taken| taken.run).map(|taken| taken.release.params).unwrap_or_default())
    }
}

/// The top-level group of the first host that a task works on, if there is one.
fn first_host(task: &Task, inventory: &Inventory) -> Option<String> {
    let names = select(inventory, task.hosts.as_deref().unwrap_or("all")).ok()?;
    inventory.host(names.first()?).map(|host| host.file().to_string())
}
