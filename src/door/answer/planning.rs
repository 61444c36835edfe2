//! The plans of commands, by what is true now.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::asked::{Asked, Ended};
use crate::config::FilesDir;
use crate::domain::ask::adhoc::{AdHoc, CopyAsk, FetchAsk};
use crate::domain::ask::command::{Ask, Command, Params};
use crate::domain::ask::run_ask::RunAsk;
use crate::domain::base::refusal::Refusal;
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::domain::plan::adhoc::{plan_check, plan_copy, plan_facts, plan_fetch, plan_rotation, plan_run};
use crate::domain::plan::plan::{Plan, RunKind, World};
use crate::domain::plan::planner::{plan_dry_run, plan_rollback, plan_task};
use crate::domain::run::record::Debt;
use crate::present::table;

impl Asked<'_> {
    /// Plans the run of a command.
    pub(super) async fn plan(&mut self, visible: &Arc<Inventory>, command: &Command) -> Result<Plan, Ended> {
        let planned = self.plan_expecting(visible, command, Vec::new()).await?;
        let files: BTreeSet<&str> = match &planned {
            Ok(plan) => plan.hosts.keys().filter_map(|name| visible.host(name)).map(Host::file).collect(),
            // A missing name may be in a group whose script failed.
            Err(_) => visible.groups.keys().map(String::as_str).collect(),
        };
        self.warn_of_old_inventory(&files).await?;
        Ok(planned?)
    }

    /// The plan as it would be if the artifacts with these digests were kept. This reads files to upload, so it does not run
    /// on the executor. Nothing is printed.
    pub(super) async fn plan_expecting(
        &self,
        visible: &Arc<Inventory>,
        command: &Command,
        expected: Vec<String>,
    ) -> Result<Result<Plan, Refusal>, Refusal> {
        let store = &self.ports().store;
        let (owed, off): (Vec<Debt>, Vec<Debt>) = store.debts().await?.into_iter().partition(Debt::is_open);
        let those = |debts: Vec<Debt>| debts.into_iter().map(|debt| debt.host).collect();
        let (owed, written_off) = (those(owed), those(off));
        let (taken, marks) = (store.taken().await?, store.marks().await?);
        let (config, inventory, command) = (self.config.clone(), visible.clone(), command.clone());
        let artifacts = self.desk.artifacts.folder().to_path_buf();
        let planning = self.work(move || {
            let world = World {
                inventory: &inventory,
                tasks: &config.tasks,
                checks: &config.checks,
                files: &FilesDir::new(&config.root).with_artifacts(artifacts, expected),
                facts: &config.facts,
                files_root: config.root.join("files"),
                taken,
                marks,
                owed,
                written_off,
            };
            plan_command(&world, &command)
        });
        planning.await
    }

    /// Warns of groups whose script failed: they may be outdated.
    async fn warn_of_old_inventory(&mut self, files: &BTreeSet<&str>) -> Result<(), Ended> {
        let now = self.ports().hosts.clock.now();
        let config = self.config.clone();
        for one in config.scripted.iter().filter(|one| files.contains(one.group.as_str())) {
            if let Some(trouble) = &one.trouble {
                let line = table::old_inventory(&one.group, one.at, trouble, now);
                self.terminal.err(&format!("rollcall: {line}\n")).await?;
            }
        }
        Ok(())
    }
}

/// What a command plans before anything else, if it plans at all. `Retry` plans the command that it repeats.
pub(super) enum Planned<'c> {
    Task(&'c Ask),
    DryRun(&'c Ask),
    Check(&'c str, Option<&'c str>, &'c Params),
    Run(&'c RunAsk),
    Copy(&'c CopyAsk),
    Fetch(&'c FetchAsk),
    Facts(&'c str),
    Rollback(&'c str, Option<&'c str>),
    Rotation(&'c str, RunKind, &'c str),
    Again,
}

pub(super) fn planned(command: &Command) -> Option<Planned<'_>> {
    Some(match command {
        Command::Plan { ask, diff: false } | Command::Task { ask, check: false } => Planned::Task(ask),
        Command::Plan { ask, diff: true } | Command::Task { ask, check: true } => Planned::DryRun(ask),
        Command::Check { selector, name, params, .. } => Planned::Check(selector, name.as_deref(), params),
        Command::Run(asked) => Planned::Run(asked),
        Command::AdHoc(AdHoc::Copy(asked)) => Planned::Copy(asked),
        Command::AdHoc(AdHoc::Fetch(asked)) => Planned::Fetch(asked),
        Command::Facts { selector, .. } => Planned::Facts(selector),
        Command::Rollback { selector, to } | Command::PlanRollback { selector, to } => {
            Planned::Rollback(selector, to.as_deref())
        }
        Command::Drain { selector, reason } => Planned::Rotation(selector, RunKind::Drain, reason),
        Command::Enable { selector } => Planned::Rotation(selector, RunKind::Enable, ""),
        Command::Retry { .. } => Planned::Again,
        Command::Help { .. }
        | Command::Version
        | Command::Misread { .. }
        | Command::Whoami
        | Command::Doctor { .. }
        | Command::Connection(_)
        | Command::Rights(_)
        | Command::Hosts { .. }
        | Command::Board(_)
        | Command::Logs(_)
        | Command::Runs { .. }
        | Command::AdHoc(AdHoc::Ping { .. } | AdHoc::Nodes(_) | AdHoc::Last { .. })
        | Command::Show { .. }
        | Command::Output { .. }
        | Command::Watch { .. }
        | Command::Events { .. }
        | Command::Artifacts { .. }
        | Command::Cancel { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Approve { .. }
        | Command::Queue
        | Command::Leases
        | Command::Freezes
        | Command::Lock { .. }
        | Command::Unlock { .. }
        | Command::Hold { .. }
        | Command::Freeze { .. }
        | Command::FreezeEnd { .. }
        | Command::Debts
        | Command::Settle { .. }
        | Command::Releases { .. }
        | Command::Mark { .. }
        | Command::Status { .. }
        | Command::History { .. }
        | Command::Why { .. }
        | Command::Downtimes
        | Command::Downtime { .. }
        | Command::DowntimeEnd { .. }
        | Command::Ack { .. }
        | Command::Reload
        | Command::Enroll { .. }
        | Command::HostKeys(_)
        | Command::Sudoers { .. }
        | Command::BalancerStatus { .. }
        | Command::NotifyList
        | Command::Record(_)
        | Command::NotifyTest { .. }
        | Command::Metrics => return None,
    })
}

fn plan_command(world: &World<'_>, command: &Command) -> Result<Plan, Refusal> {
    match planned(command) {
        Some(Planned::Task(ask)) => plan_task(world, ask),
        Some(Planned::DryRun(ask)) => plan_dry_run(world, ask),
        Some(Planned::Check(selector, name, params)) => plan_check(world, selector, name, params),
        Some(Planned::Run(asked)) => plan_run(world, asked),
        Some(Planned::Copy(asked)) => plan_copy(world, asked),
        Some(Planned::Fetch(asked)) => plan_fetch(world, asked),
        Some(Planned::Facts(selector)) => plan_facts(world, selector),
        Some(Planned::Rollback(selector, to)) => plan_rollback(world, selector, to),
        Some(Planned::Rotation(selector, kind, reason)) => plan_rotation(world, selector, kind, reason),
        Some(Planned::Again) | None => {
            Err(Refusal::internal(format!("{command:?} is no command that is planned")))
        }
    }
}
