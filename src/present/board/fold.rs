//! A run as the boards know it: its state, and what its pages need besides, folded from its events one by one.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::mark::Mark;
use super::progress::RunProgress;
use super::strip::Strips;
use crate::domain::ask::view::StepNumber;
use crate::domain::base::answer::{Answer, OwnNames};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{Outcome, seconds};
use crate::domain::base::output::Output;
use crate::domain::plan::plan::Plan;
use crate::domain::run::event::{BracketDirection, Event, EventKind};
use crate::domain::run::run::{IllegalEvent, Run};

/// A run at an event.
#[derive(Clone, Debug)]
pub struct RunFold {
    pub run: Run,
    pub progress: RunProgress,
    pub strips: Strips,
    pub by: String,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The number of the last event; 0 before the first.
    pub seq: u64,
    /// The time of the last event.
    pub last_at: Option<Timestamp>,
    /// The first attempt that failed.
    pub first_failure: Option<(HostName, usize)>,
    attempts: BTreeMap<HostName, Vec<Attempt>>,
}

/// One attempt of a step on a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub name: String,
    pub way: BracketDirection,
    /// The place of the step in the plan of the host.
    pub step: usize,
    pub attempt: u32,
    pub started_at: Timestamp,
    pub mark: Mark,
    /// Why it failed, or was skipped.
    pub why: String,
    pub took_ms: Option<u64>,
    /// Lines that are in the journal.
    pub lines: usize,
    /// Bytes that are not in the journal.
    pub left_out: u64,
    pub printed: Printed,
}

impl Attempt {
    /// An attempt of which nothing is known but its beginning.
    fn begun(name: &str, (way, step): (BracketDirection, usize), at: Timestamp) -> Attempt {
        Attempt {
            name: name.into(),
            way,
            step,
            attempt: 0,
            started_at: at,
            mark: Mark::Running,
            why: String::new(),
            took_ms: None,
            lines: 0,
            left_out: 0,
            printed: Printed::Nothing,
        }
    }
}

/// What is known of all that an attempt printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Printed {
    /// It has not run, or has not ended.
    Nothing,
    All(Answer),
    /// The journal has its start and its end alone.
    InFile,
    /// Some of it is missing, and why.
    Unknown(String),
}

/// Why an output that a host has not kept is not whole.
pub const NOT_KEPT: &str = "the host has not kept all of it";

impl RunFold {
    /// Before its first event.
    pub fn new(id: RunId, plan: Plan) -> RunFold {
        RunFold {
            strips: Strips::new(&plan),
            run: Run::new(id, plan),
            progress: RunProgress::default(),
            by: String::new(),
            ended_at: None,
            seq: 0,
            last_at: None,
            first_failure: None,
            attempts: BTreeMap::new(),
        }
    }

    /// Adds an event.
    pub fn take(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.run.apply(event)?;
        self.progress.take(event);
        self.strips.take(event);
        (self.seq, self.last_at) = (event.seq, Some(event.at));
        match &event.kind {
            EventKind::RunStarted { by, .. } => self.by.clone_from(by),
            EventKind::RunEnded { .. } => self.ended_at = Some(event.at),
            EventKind::StepStarted { host, way, step, name, attempt } => {
                let begun = Attempt { attempt: *attempt, ..Attempt::begun(name, (*way, *step), event.at) };
                self.attempts.entry(host.clone()).or_default().push(begun);
            }
            EventKind::StepEnded { host, name, outcome, stdout, stderr, took_ms, .. } => {
                let failure = outcome.failure(name);
                let printed = self.printed((host, outcome), [stdout, stderr]);
                let Some(attempts) = self.attempts.get_mut(host) else { return Ok(()) };
                let number = attempts.len();
                let Some(last) = attempts.last_mut() else { return Ok(()) };
                last.mark = Mark::of_outcome(outcome);
                last.why = failure.map(|failure| failure.why).unwrap_or_default();
                last.took_ms = Some(*took_ms);
                last.lines = lines(stdout) + lines(stderr);
                last.left_out = stdout.left_out + stderr.left_out;
                last.printed = printed;
                if last.mark.is_problem() && self.first_failure.is_none() {
                    self.first_failure = Some((host.clone(), number));
                }
            }
            EventKind::StepSkipped { host, way, step, name, why, failed } => {
                let mark = if *failed { Mark::Failed } else { Mark::Skipped };
                let skipped =
                    Attempt { mark, why: why.clone(), ..Attempt::begun(name, (*way, *step), event.at) };
                self.attempts.entry(host.clone()).or_default().push(skipped);
            }
            EventKind::BatchStarted { .. }
            | EventKind::ObserveStarted { .. }
            | EventKind::Observed { .. }
            | EventKind::ObserveFailed { .. }
            | EventKind::DrainStarted { .. }
            | EventKind::DrainEnded { .. }
            | EventKind::ChecksStarted { .. }
            | EventKind::ChecksEnded { .. }
            | EventKind::SnapshotStarted { .. }
            | EventKind::SnapshotEnded { .. }
            | EventKind::RollbackStarted { .. }
            | EventKind::EnableStarted { .. }
            | EventKind::EnableEnded { .. }
            | EventKind::HostSettled { .. }
            | EventKind::DrainForgotten { .. }
            | EventKind::RedrainStarted { .. }
            | EventKind::RedrainEnded { .. }
            | EventKind::Stopped { .. }
            | EventKind::Paused(..)
            | EventKind::Resumed { .. }
            | EventKind::Approved { .. }
            | EventKind::Recovered { .. }
            | EventKind::DebtSettled { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::HookStarted { .. }
            | EventKind::HookEnded { .. } => {}
        }
        Ok(())
    }

    fn printed(&self, (host, outcome): (&HostName, &Outcome), [out, err]: [&Output; 2]) -> Printed {
        match outcome {
            Outcome::NotStarted { .. } => Printed::Nothing,
            Outcome::Lost { why } => Printed::Unknown(format!("contact was lost: {why}")),
            _ if out.left_out + err.left_out > 0 => Printed::InFile,
            _ => match Answer::of(&self.names(host), out, err) {
                Some(answer) => Printed::All(answer),
                None => Printed::Unknown(NOT_KEPT.into()),
            },
        }
    }

    /// The names that a host may print of itself.
    pub fn names(&self, host: &HostName) -> OwnNames {
        let address = self.run.plan().hosts.get(host).map_or("", |host| host.endpoint.address.as_str());
        OwnNames::new(host, address)
    }

    /// The run after these events.
    pub fn replay<'a>(
        id: RunId,
        plan: Plan,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<RunFold, IllegalEvent> {
        let mut fold = RunFold::new(id, plan);
        events.into_iter().try_for_each(|event| fold.take(event))?;
        Ok(fold)
    }

    /// What was done on a host, in its order.
    pub fn attempts(&self, host: &HostName) -> &[Attempt] {
        self.attempts.get(host).map_or(&[], Vec::as_slice)
    }

    /// The present time of a run: that of its end, once it has one.
    pub fn time(&self, now: Timestamp) -> Timestamp {
        self.ended_at.unwrap_or(now)
    }
}

fn lines(output: &Output) -> usize {
    output.text.lines().count()
}

impl Attempt {
    /// The number of the step, as `output` takes it: from 1, in the order of the plan; `b1` for those of the rollback.
    pub fn number(&self) -> StepNumber {
        StepNumber { is_back: self.way == BracketDirection::Back, number: self.step + 1 }
    }

    /// The name of the step, with what is special about this attempt.
    pub fn words(&self) -> String {
        let back = if self.way == BracketDirection::Back { "rollback: " } else { "" };
        let attempt = if self.attempt > 1 { format!(" (attempt {})", self.attempt) } else { String::new() };
        format!("{back}{}{attempt}", self.name)
    }

    /// False for a step that was skipped, or failed before it started.
    pub fn has_run(&self) -> bool {
        self.attempt > 0
    }

    /// How long it took.
    pub fn took(&self) -> String {
        self.took_ms.map(seconds).unwrap_or_default()
    }
}
