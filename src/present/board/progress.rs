//! How far a run is: what each host does and since when, folded from its events.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::mark::Mark;
use crate::domain::base::name::HostName;
use crate::domain::plan::plan::Plan;
use crate::domain::run::bracket::HostState;
use crate::domain::run::event::{BracketDirection, Change, Event, EventKind};
use crate::domain::run::phase::{Phase, RotationChecks};
use crate::domain::run::run::Run;

const WAITS: &str = "wait for room";
const CHECKS: &str = "checks";
const FOREIGN: &str = "another process keeps it out of rotation";

/// The work of hosts, by their events.
#[derive(Clone, Debug, Default)]
pub struct RunProgress {
    pub title: String,
    pub started_at: Option<Timestamp>,
    /// Hosts leave rotation in this run, or are asked about it: in other runs none is "in rotation again".
    has_rotation: bool,
    work: BTreeMap<HostName, Work>,
}

/// What a host is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Work {
    action: String,
    since: Timestamp,
}

/// The state of one host, with what it does or why it ended so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostProgress {
    pub mark: Mark,
    pub action: String,
    pub since: Option<Timestamp>,
}

/// Hosts with the same state, action and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub mark: Mark,
    pub action: String,
    /// The longest time that one of them has been at it.
    pub since: Option<Timestamp>,
    pub hosts: Vec<HostName>,
}

impl RunProgress {
    /// Adds an event.
    pub fn take(&mut self, event: &Event) {
        let at = event.at;
        self.has_rotation |= matches!(
            event.kind,
            EventKind::ObserveStarted { .. }
                | EventKind::DrainStarted { .. }
                | EventKind::EnableStarted { .. }
        );
        match &event.kind {
            EventKind::RunStarted { title, .. } => {
                self.title.clone_from(title);
                self.started_at = Some(at);
            }
            EventKind::ObserveStarted { host } => self.begins(host, "connect", at),
            EventKind::DrainStarted { hosts, .. } => {
                // Those that wait for room are asked about again and again.
                let fresh: Vec<&HostName> = hosts.iter().filter(|host| !self.does(host, WAITS)).collect();
                fresh.into_iter().for_each(|host| self.begins(host, "drain", at));
            }
            EventKind::DrainEnded { change: Change::Done { kept, .. }, .. } => {
                kept.iter().for_each(|host| self.begins(host, WAITS, at));
            }
            EventKind::RedrainStarted { hosts, .. } => {
                hosts.iter().for_each(|host| self.begins(host, "drain again", at));
            }
            EventKind::StepStarted { host, way, name, .. } => match way {
                BracketDirection::Back => self.begins(host, &format!("rollback: {name}"), at),
                BracketDirection::Forward | BracketDirection::Return | BracketDirection::Stay => {
                    self.begins(host, name, at)
                }
            },
            EventKind::ChecksStarted { host, .. } => self.begins(host, CHECKS, at),
            EventKind::SnapshotStarted { hosts, .. } => {
                hosts.iter().for_each(|host| self.begins(host, CHECKS, at));
            }
            EventKind::EnableStarted { hosts, .. } => {
                hosts.iter().for_each(|host| self.begins(host, "enable", at));
            }
            EventKind::HostSettled { host, .. } => _ = self.work.remove(host),
            EventKind::BatchStarted { .. }
            | EventKind::Observed { .. }
            | EventKind::ObserveFailed { .. }
            | EventKind::DrainEnded { .. }
            | EventKind::StepEnded { .. }
            | EventKind::StepSkipped { .. }
            | EventKind::ChecksEnded { .. }
            | EventKind::SnapshotEnded { .. }
            | EventKind::RollbackStarted { .. }
            | EventKind::EnableEnded { .. }
            | EventKind::DrainForgotten { .. }
            | EventKind::RedrainEnded { .. }
            | EventKind::Stopped { .. }
            | EventKind::Paused(..)
            | EventKind::Resumed { .. }
            | EventKind::Approved { .. }
            | EventKind::Recovered { .. }
            | EventKind::DebtSettled { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::HookStarted { .. }
            | EventKind::HookEnded { .. }
            | EventKind::RunEnded { .. } => {}
        }
    }

    fn begins(&mut self, host: &HostName, action: &str, at: Timestamp) {
        let work = self.work.entry(host.clone()).or_insert_with(|| Work { action: String::new(), since: at });
        if work.action != action {
            *work = Work { action: action.into(), since: at };
        }
    }

    /// The hosts of the run, folded: first those that need a person.
    pub fn rows(&self, run: &Run) -> Vec<Row> {
        let mut rows: BTreeMap<(Mark, String), Row> = BTreeMap::new();
        for (host, state) in run.hosts() {
            let HostProgress { mark, action, since } = self.of(host, state);
            let row = rows.entry((mark, action.clone())).or_insert_with(|| Row {
                mark,
                action,
                since,
                hosts: vec![],
            });
            row.since = row.since.min(since).or(since);
            row.hosts.push(host.clone());
        }
        rows.into_values().collect()
    }

    /// What a host of the run is doing, or has ended as.
    pub fn of(&self, host: &HostName, state: &HostState) -> HostProgress {
        let (mark, action, since) = match state.phase() {
            Phase::Settled { end, why } => (Mark::of(*end), why.clone(), None),
            Phase::Waiting => (Mark::NotStarted, String::new(), None),
            Phase::Failed { failure, .. } => (Mark::Failed, failure.why.clone(), None),
            Phase::Serving { .. } if state.is_foreign() => (Mark::Held, FOREIGN.into(), None),
            // Those of the schedule do not count as work: they go on until the last batch is through.
            Phase::Serving { roll, .. } if self.has_rotation && *roll != Some(RotationChecks::Running) => {
                (Mark::Serving, String::new(), None)
            }
            _ => self.work_of(host),
        };
        // Reasons of hosts that are well differ, and tell nothing.
        let action = if mark.is_problem() || mark == Mark::Running { action } else { String::new() };
        HostProgress { mark, action, since }
    }

    fn does(&self, host: &HostName, action: &str) -> bool {
        self.work.get(host).is_some_and(|work| work.action == action)
    }

    fn work_of(&self, host: &HostName) -> (Mark, String, Option<Timestamp>) {
        match self.work.get(host) {
            Some(work) => (Mark::Running, work.action.clone(), Some(work.since)),
            None => (Mark::Running, String::new(), None),
        }
    }
}

/// How many hosts are in each state, in the order of boards.
pub fn counts(rows: &[Row]) -> Vec<(Mark, usize)> {
    let mut counts: BTreeMap<Mark, usize> = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(row.mark).or_default() += row.hosts.len());
    counts.into_iter().collect()
}

/// The hosts that the run is finished with, or only watches until the others are.
pub fn finished(run: &Run) -> usize {
    let is_probed = |host: &&HostState| {
        // After a bracket these are the last checks of hosts that are back in rotation.
        !run.plan().has_bracket()
            && matches!(host.phase(), Phase::Serving { roll: Some(RotationChecks::Running), .. })
    };
    run.hosts().values().filter(|host| run.is_through(host) && !is_probed(host)).count()
}

/// The failures that count against the budget, and how many are allowed; `None` for runs without a budget.
pub fn failures(plan: &Plan, run: &Run) -> Option<(usize, usize)> {
    let allowed = plan.has_bracket().then(|| plan.rollout.max_failures.allowed(run.hosts().len()))?;
    Some((run.failures(), allowed))
}
