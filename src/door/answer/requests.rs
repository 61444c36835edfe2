//! Requests to runs under way, and repeating runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asked::{Asked, Ended};
use crate::domain::ask::access::{Granted, authorize};
use crate::domain::ask::adhoc::AdHoc;
use crate::domain::ask::command::{Ask, Command};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::End;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::Inventory;
use crate::domain::plan::adhoc::run_again;
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::event::EventKind;
use crate::domain::run::request::RunRequest;
use crate::domain::run::run::Run;
use crate::domain::task::task::StepBody;
use crate::port::StoredRun;
use crate::present::json;

impl Asked<'_> {
    /// Sends the request to the run, and prints what follows.
    pub(super) async fn ask(
        &mut self,
        granted: &Granted,
        id: RunId,
        request: RunRequest,
    ) -> Result<u8, Ended> {
        self.stored(granted, id).await?;
        self.desk.engine.ask(granted, id, request).await?;
        if self.json {
            return self.say(&json::line("granted", BTreeMap::from([("run", id)]))).await;
        }
        let what = match request {
            RunRequest::Cancel { now: true } => "no further host starts, and running steps are being ended",
            RunRequest::Cancel { now: false } => "no further host starts; hosts in their bracket finish it",
            RunRequest::Pause | RunRequest::Suspend => {
                "paused: no further host starts; hosts in their bracket finish it"
            }
            RunRequest::Resume => "continues",
            RunRequest::Approve => "approved; it continues",
        };
        self.say(&format!("run {id}: {what}; see: watch {id}\n")).await
    }

    /// Repeats a run on the hosts that failed or never started.
    pub(super) async fn retry(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        id: RunId,
    ) -> Result<u8, Ended> {
        let stored = self.stored(granted, id).await?;
        let command = again(&stored)?;
        // To repeat a run takes the right to its own command, too.
        let now = self.ports().hosts.clock.now();
        let own = authorize(granted.person(), command.clone(), now).map_err(|denied| denied.refusal)?;
        let own = own.recorded(granted.row());
        // Both rights have their groups.
        let inventory = Arc::new(inventory.visible_to(own.operator().groups.as_ref()));
        let mut plan = self.plan(&inventory, &command).await?;
        let first = stored.plan.repeats.unwrap_or(stored.plan.title);
        plan.title.0 = format!("retry {id}: {}", first.0);
        plan.repeats = Some(first);
        self.run(&own, plan, &command).await
    }
}

/// The command that repeats the run on the remaining hosts.
fn again(stored: &StoredRun) -> Result<Command, Refusal> {
    let id = stored.id;
    let run = Run::replay(id, stored.plan.clone(), &stored.events)
        .map_err(|illegal| Refusal::internal(format!("run {id}: {illegal}")))?;
    if run.outcome().is_none() {
        let why = format!("run {id} is under way");
        return Err(Refusal::new(Cause::Busy, why).hint(format!("see: watch {id}")));
    }
    let done = |end: Option<End>| matches!(end, Some(End::Released | End::Unchanged | End::Done));
    let left: Vec<&HostName> =
        run.hosts().iter().filter(|(_, host)| !done(host.end())).map(|(name, _)| name).collect();
    if left.is_empty() {
        let why = format!("run {id} left no host to try again");
        return Err(Refusal::rule(why).hint(format!("see: show {id}")));
    }
    let selector = left.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",");
    let Plan { kind, params, .. } = &stored.plan;
    let was_dry_run = |hint: String| Refusal::rule(format!("run {id} was a dry run")).hint(hint);
    match kind {
        // Each host had its own parameters: the releases that are good now may be different.
        RunKind::Release { .. } if stored.plan.goes_back => {
            Ok(Command::Rollback { selector, to: stored.plan.back_to.clone() })
        }
        RunKind::Release { task } | RunKind::Task { task } => {
            // The word for a hidden value must never reach a host, whatever the parameter is by now.
            if let Some(name) = stored.plan.hidden_params().next() {
                let why =
                    format!("run {id} was given the secret parameter `{name}`, and its value was not kept");
                return Err(Refusal::rule(why).hint(format!("try: {task} {selector} ... {name}=VALUE")));
            }
            let (tags, force) = (stored.plan.tags.clone(), stored.plan.forced);
            let ask = Ask { tags, force, ..Ask::new(task, &selector, params) };
            Ok(Command::Task { ask, check: false })
        }
        RunKind::Run => {
            let step = stored.plan.hosts.values().find_map(|host| host.steps.first());
            // The script of a run is kept, and its standard input is empty.
            if step.is_some_and(|step| matches!(step.body, StepBody::Run { .. })) {
                may_repeat_input(stored, &selector)?;
            }
            match step.and_then(|step| run_again(step, &selector)) {
                // Its answer is bytes, which `retry` does not print.
                Some(Command::AdHoc(AdHoc::Fetch(asked))) => {
                    let why = format!("run {id} fetched a file");
                    Err(Refusal::rule(why).hint(format!("try: {}", asked.title())))
                }
                Some(command) => Ok(command),
                None => Err(Refusal::internal(format!("run {id} has no command"))),
            }
        }
        RunKind::DryRun { task } => Err(was_dry_run(format!("try: plan --diff {task} {selector}"))),
        RunKind::Check => Err(was_dry_run(format!("try: check {selector}"))),
        RunKind::Facts => Err(was_dry_run(format!("try: facts {selector}"))),
        RunKind::Drain | RunKind::Enable => {
            let why = format!("run {id} moved hosts in or out of rotation");
            Err(Refusal::rule(why).hint(format!("try: balancer enable {selector}")))
        }
    }
}

/// A command that gets other input, or none, does something else.
fn may_repeat_input(stored: &StoredRun, selector: &str) -> Result<(), Refusal> {
    let id = stored.id;
    let had_input = |kind: &EventKind| matches!(kind, EventKind::RunEnded { had_input: true, .. });
    if stored.events.iter().any(|event| had_input(&event.kind)) {
        let why = format!("run {id} was given input, which is not kept");
        return Err(Refusal::rule(why).hint(format!("try: run {selector} -- ... <INPUT")));
    }
    if stored.events.iter().any(|event| matches!(event.kind, EventKind::Recovered { .. })) {
        let why = format!(
            "rollcall restarted during run {id}, so it does not know whether the run was given input"
        );
        return Err(Refusal::rule(why).hint(format!("try: run {selector} -- ...")));
    }
    Ok(())
}
