//! What each host of a run has gone through, one state for each part of its plan: taken out, steps, checks, put back.

use std::collections::BTreeMap;

use super::mark::Mark;
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Verdict;
use crate::domain::check::check::CheckResult;
use crate::domain::plan::plan::{HostPlan, Plan};
use crate::domain::run::event::{BracketDirection, Change, Event, EventKind};

/// The parts of hosts, folded from events.
#[derive(Clone, Debug, Default)]
pub struct Strips(BTreeMap<HostName, Strip>);

/// The parts of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    drain: Option<Mark>,
    steps: Vec<Mark>,
    checks: Option<Mark>,
    enable: Option<Mark>,
    /// Rollback steps, as they come.
    back: Vec<Mark>,
}

impl Strips {
    /// Nothing has started.
    pub fn new(plan: &Plan) -> Strips {
        Strips(plan.hosts.iter().map(|(name, host)| (name.clone(), Strip::new(plan, host))).collect())
    }

    /// The states of a host, in the order of its plan.
    pub fn of(&self, host: &HostName) -> Vec<Mark> {
        self.0.get(host).map(Strip::marks).unwrap_or_default()
    }

    /// Adds an event.
    pub fn take(&mut self, event: &Event) {
        match &event.kind {
            EventKind::DrainStarted { hosts, .. } | EventKind::RedrainStarted { hosts, .. } => {
                self.each(hosts, |strip| strip.drain = Some(Mark::Running));
            }
            EventKind::DrainEnded { hosts, change, .. } | EventKind::RedrainEnded { hosts, change, .. } => {
                self.changed(hosts, change, |strip, mark| strip.drain = Some(mark));
            }
            EventKind::EnableStarted { hosts, .. } => {
                self.each(hosts, |strip| strip.enable = Some(Mark::Running));
            }
            EventKind::EnableEnded { hosts, change, .. } => {
                self.changed(hosts, change, |strip, mark| strip.enable = Some(mark));
            }
            EventKind::StepStarted { host, way, step, .. } => self.step(host, (*way, *step), Mark::Running),
            EventKind::StepEnded { host, way, step, outcome, .. } => {
                self.step(host, (*way, *step), Mark::of_outcome(outcome));
            }
            EventKind::StepSkipped { host, way, step, failed, .. } => {
                self.step(host, (*way, *step), if *failed { Mark::Failed } else { Mark::Skipped });
            }
            EventKind::ChecksStarted { host, .. } => self.checks(host, Mark::Running),
            EventKind::ChecksEnded { host, results, .. } => self.checks(host, worst(results)),
            EventKind::SnapshotStarted { hosts, .. } => {
                hosts.iter().for_each(|host| self.checks(host, Mark::Running));
            }
            EventKind::SnapshotEnded { hosts, results, .. } => {
                for (host, result) in hosts.iter().zip(results) {
                    self.checks(host, Mark::of_verdict(Some(result.verdict)));
                }
            }
            EventKind::RunStarted { .. }
            | EventKind::BatchStarted { .. }
            | EventKind::ObserveStarted { .. }
            | EventKind::Observed { .. }
            | EventKind::ObserveFailed { .. }
            | EventKind::RollbackStarted { .. }
            | EventKind::HostSettled { .. }
            | EventKind::DrainForgotten { .. }
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

    fn each(&mut self, hosts: &[HostName], change: impl Fn(&mut Strip)) {
        hosts.iter().for_each(|host| _ = self.0.get_mut(host).map(&change));
    }

    fn changed(&mut self, hosts: &[HostName], change: &Change, set: impl Fn(&mut Strip, Mark)) {
        for host in hosts {
            let mark = match change {
                Change::Done { kept, .. } if kept.contains(host) => Mark::Waiting,
                Change::Done { .. } => Mark::Ok,
                Change::Refused { .. } => Mark::Failed,
                Change::Unknown { .. } => Mark::Unknown,
            };
            self.0.get_mut(host).into_iter().for_each(|strip| set(strip, mark));
        }
    }

    fn checks(&mut self, host: &HostName, mark: Mark) {
        self.0.get_mut(host).into_iter().for_each(|strip| strip.checks = Some(mark));
    }

    fn step(&mut self, host: &HostName, (way, step): (BracketDirection, usize), mark: Mark) {
        let Some(strip) = self.0.get_mut(host) else { return };
        let marks = if way == BracketDirection::Back { &mut strip.back } else { &mut strip.steps };
        // The events of a plan fit it; a rollback is added step by step.
        if marks.len() <= step && way == BracketDirection::Back {
            marks.resize(step + 1, Mark::Skipped);
        }
        marks.get_mut(step).into_iter().for_each(|place| *place = mark);
    }
}

fn worst(results: &[CheckResult]) -> Mark {
    Mark::of_verdict(Some(Verdict::worst(results.iter().map(|result| result.verdict))))
}

impl Strip {
    fn new(plan: &Plan, host: &HostPlan) -> Strip {
        let part = |is_there: bool| is_there.then_some(Mark::NotStarted);
        let turns = plan.has_bracket() && host.balancer.is_some();
        Strip {
            drain: part(turns),
            steps: vec![Mark::NotStarted; host.steps.len()],
            checks: part(!host.checks.is_empty()),
            enable: part(turns),
            back: Vec::new(),
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let parts = [self.drain].into_iter().flatten().chain(self.steps.iter().copied());
        parts.chain(self.back.iter().copied()).chain(self.checks).chain(self.enable).collect()
    }
}

/// The same states in words, for those who cannot see a strip: `4 of 14 done`.
pub fn strip_words(marks: &[Mark]) -> String {
    let is_over = |mark: &&Mark| !matches!(mark, Mark::NotStarted | Mark::Running | Mark::Waiting);
    let done = marks.iter().filter(is_over).count();
    let first = marks.iter().find(|mark| mark.is_problem());
    let problem = first.map(|mark| format!(", one {}", mark.word())).unwrap_or_default();
    format!("{done} of {} done{problem}", marks.len())
}
