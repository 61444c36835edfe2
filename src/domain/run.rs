//! Runs: the state of one execution, which is the fold of its events. [`Run::apply`] is the only
//! mutator; the live engine and recovery both use it, and an event that does not fit is an error that
//! names both.

use std::collections::BTreeMap;
use std::fmt;

use super::bracket::{HostState, Phase, StepCounts};
use super::event::{Event, EventKind, Way};
use super::name::{HostName, RunId};
use super::outcome::{End, FailureKind, RunOutcome, Verdict};
use super::plan::{Kind, Plan};

/// One execution of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub id: RunId,
    pub plan: Plan,
    pub started: bool,
    /// Index of the batch that is under way; `None` before the first.
    pub batch: Option<usize>,
    pub hosts: BTreeMap<HostName, HostState>,
    pub stopped: Option<String>,
    pub cancel: Option<Cancel>,
    pub outcome: Option<RunOutcome>,
}

/// An operator's wish to stop.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    pub by: String,
    /// End running steps, too.
    pub now: bool,
}

/// An event that does not fit the state: a bug, or a journal that was tampered with.
#[derive(Debug, PartialEq)]
pub struct IllegalEvent {
    pub event: String,
    pub state: String,
}

impl fmt::Display for IllegalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event {} does not fit the state {}", self.event, self.state)
    }
}

impl std::error::Error for IllegalEvent {}

impl Run {
    /// A run of `plan` to which nothing has happened yet.
    pub fn new(id: RunId, plan: Plan) -> Run {
        let idle = HostState {
            phase: Phase::Waiting,
            owed: false,
            foreign: false,
            changed: false,
            previous: None,
            failure: None,
            checks: vec![],
        };
        let hosts = plan.hosts.keys().map(|name| (name.clone(), idle.clone())).collect();
        Run { id, plan, started: false, batch: None, hosts, stopped: None, cancel: None, outcome: None }
    }

    /// The run that these events made.
    pub fn replay<'a>(
        id: RunId,
        plan: Plan,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Run, IllegalEvent> {
        let mut run = Run::new(id, plan);
        for event in events {
            run.apply(event)?;
        }
        Ok(run)
    }

    /// Hosts that failed in any way, for the budget.
    pub fn failures(&self) -> usize {
        self.hosts.values().filter(|host| counts(host)).count()
    }

    /// True once no further host may begin.
    pub fn is_halted(&self) -> bool {
        self.stopped.is_some() || self.cancel.is_some()
    }

    /// The hosts of the batch that is under way.
    pub fn batch_hosts(&self) -> &[HostName] {
        self.batch.and_then(|at| self.plan.batches.get(at)).map_or(&[], Vec::as_slice)
    }

    /// Takes one event in. On error the run is as it was before.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.check(&event.kind)?;
        match &event.kind {
            EventKind::RunStarted { .. } => self.started = true,
            EventKind::BatchStarted { batch, .. } => self.batch = Some(*batch),
            EventKind::Stopped { why } => self.stopped = Some(why.clone()),
            EventKind::CancelRequested { by, now, .. } => {
                let now = *now || self.cancel.as_ref().is_some_and(|cancel| cancel.now);
                self.cancel = Some(Cancel { by: by.clone(), now });
            }
            EventKind::RunEnded { outcome } => self.outcome = Some(*outcome),
            kind => {
                for name in kind.hosts() {
                    let steps = self.steps_of(name);
                    if let Some(host) = self.hosts.get_mut(name) {
                        host.apply(name, event, steps);
                    }
                }
            }
        }
        Ok(())
    }

    /// Numbers of steps, forward and back.
    fn steps_of(&self, name: &HostName) -> StepCounts {
        let host = self.plan.hosts.get(name);
        let step = |way: Way, at: usize| {
            host.and_then(|host| if way == Way::Back { host.rollback.get(at) } else { host.steps.get(at) })
        };
        let (way, at) = match self.hosts.get(name).map(|host| &host.phase) {
            Some(Phase::Working { way, step, .. }) => (*way, *step),
            _ => (Way::Forward, 0),
        };
        StepCounts {
            forward: host.map_or(0, |host| host.steps.len()),
            back: host.map_or(0, |host| host.rollback.len()),
            retries: step(way, at).map_or(0, |step| step.retries),
            delay: step(way, at).map_or_else(Default::default, |step| step.delay),
            warn_only: step(way, at).is_some_and(|step| step.warn_only),
            drains: host.is_some_and(|host| host.balancer.is_some()),
            gated: host.is_some_and(|host| !host.checks.is_empty()),
            held: host.is_some_and(|host| host.held),
        }
    }

    fn check(&self, kind: &EventKind) -> Result<(), IllegalEvent> {
        let fits = match kind {
            EventKind::RunStarted { .. } => !self.started,
            EventKind::BatchStarted { batch, .. } => {
                self.is_open()
                    && *batch == self.batch.map_or(0, |at| at + 1)
                    && *batch < self.plan.batches.len()
            }
            EventKind::Stopped { .. } | EventKind::CancelRequested { .. } => self.is_open(),
            EventKind::RunEnded { .. } => {
                self.is_open() && self.hosts.values().all(|host| matches!(host.phase, Phase::Settled { .. }))
            }
            kind => {
                self.is_open()
                    && !kind.hosts().is_empty()
                    && kind
                        .hosts()
                        .iter()
                        .all(|name| self.hosts.get(name).is_some_and(|host| host.fits(kind)))
            }
        };
        if fits { Ok(()) } else { Err(self.illegal(kind)) }
    }

    fn is_open(&self) -> bool {
        self.started && self.outcome.is_none()
    }

    fn illegal(&self, kind: &EventKind) -> IllegalEvent {
        let phases: Vec<String> = kind
            .hosts()
            .iter()
            .map(|name| format!("{name}: {:?}", self.hosts.get(name).map(|host| &host.phase)))
            .collect();
        let state = format!(
            "of run {} (started {}, batch {:?}, outcome {:?}) {}",
            self.id,
            self.started,
            self.batch,
            self.outcome,
            phases.join(", ")
        );
        IllegalEvent { event: format!("{kind:?}"), state }
    }

    /// How the run ended, folded from its hosts.
    pub fn fold_outcome(&self) -> RunOutcome {
        let ends = || self.hosts.values().filter_map(|host| host.end());
        if self.plan.kind == Kind::Check && self.cancel.is_none() {
            return RunOutcome::Checked(Verdict::worst(self.hosts.values().map(verdict_of)));
        }
        let half_done = |end: End| self.plan.has_bracket() && end == End::Failed;
        if ends().any(|end| end.needs_person() || half_done(end)) {
            return RunOutcome::NeedsPerson;
        }
        if self.cancel.is_some() {
            return RunOutcome::Cancelled;
        }
        let failures: Vec<FailureKind> = self
            .hosts
            .values()
            .filter(|host| counts(host))
            .filter_map(|host| host.failure.as_ref())
            .map(|failure| failure.kind)
            .collect();
        match failures[..] {
            [] => RunOutcome::Done,
            _ if failures.iter().all(|kind| *kind == FailureKind::Unreachable) => RunOutcome::Unreachable,
            _ => RunOutcome::Failed,
        }
    }
}

fn counts(host: &HostState) -> bool {
    host.failure.as_ref().is_some_and(|failure| failure.kind != FailureKind::Cancelled)
}

/// The verdict that a host contributes to a check run: its worst, or unknown when it could not be asked.
fn verdict_of(host: &HostState) -> Verdict {
    match host.end() {
        Some(End::Unknown | End::NotStarted) | None => {
            Verdict::worst(host.checks.iter().map(|result| result.verdict).chain([Verdict::Unknown]))
        }
        Some(_) => Verdict::worst(host.checks.iter().map(|result| result.verdict)),
    }
}
