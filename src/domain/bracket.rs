//! One host in a run: where it is in its bracket, what is owed for it, and the table of transitions.

use std::time::Duration;

use jiff::Timestamp;

use super::check::CheckResult;
use super::event::{Change, Event, EventKind, Stage, Way};
use super::name::HostName;
use super::outcome::{End, Failure, FailureKind, Outcome};

/// One host in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct HostState {
    pub phase: Phase,
    /// Taken out, or perhaps taken out, by this run, and not put back yet: the debt.
    pub owed: bool,
    /// Somebody else had taken it out before.
    pub foreign: bool,
    /// A step changed something, or may have.
    pub changed: bool,
    /// What the link pointed to before: where a rollback leads.
    pub previous: Option<String>,
    /// The first thing that went wrong; it counts against the budget.
    pub failure: Option<Failure>,
    pub checks: Vec<CheckResult>,
}

/// Where a host is in its bracket.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    Waiting,
    Observing,
    /// Wants to be drained, or, without a balancer, to begin.
    Ready,
    Draining,
    /// Step `step` is due, not before `not_before`; `running` once its intent is written.
    Working {
        way: Way,
        step: usize,
        attempt: u32,
        running: bool,
        not_before: Option<Timestamp>,
    },
    /// A step or the gate failed on this way; what to do about it is to be decided.
    Failed {
        way: Way,
    },
    /// Nothing more can be done to it in this run: it is to be settled like this.
    Ending {
        end: End,
        why: String,
    },
    /// The last step is done; the gate is due or running.
    Gating {
        way: Way,
        running: bool,
    },
    /// Wants to be enabled.
    Verified {
        way: Way,
    },
    Enabling {
        way: Way,
    },
    /// Back in rotation; the checks after the last batch are due (`None`), running, or done.
    Serving {
        way: Way,
        roll: Option<Roll>,
    },
    Settled {
        end: End,
        why: String,
    },
}

/// The checks after the last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roll {
    Running,
    Done,
}

/// What a transition has to know of the host's plan.
pub struct StepCounts {
    pub forward: usize,
    pub back: usize,
    pub retries: u32,
    pub delay: Duration,
    pub warn_only: bool,
    pub drains: bool,
    pub gated: bool,
    /// An earlier run holds it.
    pub held: bool,
}

impl HostState {
    /// Where it ended; `None` while it is under way.
    pub fn end(&self) -> Option<End> {
        match self.phase {
            Phase::Settled { end, .. } => Some(end),
            _ => None,
        }
    }

    /// The table of legal transitions.
    pub fn fits(&self, kind: &EventKind) -> bool {
        use EventKind as E;
        use Phase as P;
        match (kind, &self.phase) {
            (E::ObserveStarted { .. }, P::Waiting) => true,
            (E::Observed { .. } | E::ObserveFailed { .. }, P::Observing) => true,
            (E::DrainStarted { .. }, P::Ready) => true,
            (E::DrainEnded { .. }, P::Draining) => true,
            (
                E::StepStarted { way, step, attempt, .. },
                P::Working { way: w, step: s, attempt: a, running: false, .. },
            ) => (way, step, attempt) == (w, s, a),
            (E::StepStarted { way: Way::Forward, step: 0, attempt: 1, .. }, P::Waiting | P::Ready) => true,
            (
                E::StepEnded { way, step, attempt, .. },
                P::Working { way: w, step: s, attempt: a, running: true, .. },
            ) => (way, step, attempt) == (w, s, a),
            (
                E::RollbackStarted { .. },
                P::Failed { way: Way::Forward } | P::Working { way: Way::Forward, running: false, .. },
            ) => true,
            (E::ChecksStarted { stage: Stage::Gate, .. }, P::Gating { running: false, .. }) => true,
            (E::ChecksEnded { stage: Stage::Gate, .. }, P::Gating { running: true, .. }) => true,
            (E::EnableStarted { .. }, P::Verified { .. }) => self.owed,
            // Drained, and nothing done to it yet: it may be put back as it is.
            (E::EnableStarted { .. }, P::Working { .. } | P::Failed { way: Way::Forward }) => {
                self.owed && self.is_untouched()
            }
            (E::EnableEnded { .. }, P::Enabling { .. }) => true,
            (E::ChecksStarted { stage: Stage::Roll, .. }, P::Serving { roll: None, .. } | P::Waiting) => {
                !self.owed
            }
            (E::ChecksEnded { stage: Stage::Roll, .. }, P::Serving { roll: Some(Roll::Running), .. }) => true,
            (E::HostSettled { .. }, P::Settled { .. }) => false,
            (E::HostSettled { end, .. }, _) => self.may_end(*end),
            _ => false,
        }
    }

    /// What an end state claims must agree with the debt: the claim is refused otherwise.
    fn may_end(&self, end: End) -> bool {
        match end {
            End::Released | End::Unchanged | End::RolledBack | End::Failing | End::NotStarted | End::Done => {
                !self.owed
            }
            End::Held | End::Unknown | End::Failed => true,
        }
    }

    /// Takes in an event that fits.
    pub fn apply(&mut self, name: &HostName, event: &Event, steps: StepCounts) {
        match &event.kind {
            EventKind::ObserveStarted { .. } => self.phase = Phase::Observing,
            EventKind::Observed { previous, .. } => {
                self.previous = previous.clone();
                self.phase = if steps.drains { Phase::Ready } else { self.step_due(Way::Forward, 0, &steps) };
            }
            EventKind::ObserveFailed { failure, .. } => {
                self.phase = Phase::Ending { end: End::NotStarted, why: failure.why.clone() };
                self.fail(failure.clone());
            }
            EventKind::DrainStarted { .. } => {
                self.owed = true;
                self.phase = Phase::Draining;
            }
            EventKind::DrainEnded { change, .. } => self.drained(name, change, steps),
            EventKind::StepStarted { way, step, attempt, .. } => {
                self.phase = Phase::Working {
                    way: *way,
                    step: *step,
                    attempt: *attempt,
                    running: true,
                    not_before: None,
                };
            }
            EventKind::StepEnded { way, step, name, attempt, outcome, .. } => {
                self.step_ended((*way, *step, *attempt), name, outcome, event.at, steps);
            }
            EventKind::ChecksStarted { stage: Stage::Gate, .. } => {
                if let Phase::Gating { running, .. } = &mut self.phase {
                    *running = true;
                }
            }
            EventKind::ChecksStarted { stage: Stage::Roll, .. } => {
                self.phase = Phase::Serving { way: self.way(), roll: Some(Roll::Running) };
            }
            EventKind::ChecksEnded { stage, results, .. } => self.checked(*stage, results),
            EventKind::RollbackStarted { .. } => {
                self.phase = match steps.back {
                    0 => Phase::Gating { way: Way::Back, running: false },
                    _ => Phase::Working {
                        way: Way::Back,
                        step: 0,
                        attempt: 1,
                        running: false,
                        not_before: None,
                    },
                };
            }
            EventKind::EnableStarted { .. } => {
                let way = if self.is_untouched() { Way::Return } else { self.way() };
                self.phase = Phase::Enabling { way };
            }
            EventKind::EnableEnded { change, .. } => self.enabled(name, change),
            EventKind::HostSettled { end, why, .. } => {
                self.phase = Phase::Settled { end: *end, why: why.clone() }
            }
            _ => {}
        }
    }

    fn way(&self) -> Way {
        match self.phase {
            Phase::Working { way, .. }
            | Phase::Failed { way }
            | Phase::Gating { way, .. }
            | Phase::Verified { way }
            | Phase::Enabling { way }
            | Phase::Serving { way, .. } => way,
            _ => Way::Forward,
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn drained(&mut self, name: &HostName, change: &Change, steps: StepCounts) {
        match change {
            Change::Done { foreign, .. } => {
                self.foreign = foreign.contains(name);
                self.owed = !self.foreign;
                self.phase = self.step_due(Way::Forward, 0, &steps);
            }
            Change::Refused { why } => {
                self.owed = false;
                self.fail(Failure { kind: FailureKind::Balancer, why: why.clone() });
                self.phase = Phase::Ending { end: End::NotStarted, why: why.clone() };
            }
            // Perhaps drained, certainly untouched: put back, which says whether it is in rotation.
            Change::Unknown { why } => {
                self.fail(Failure { kind: FailureKind::Balancer, why: why.clone() });
                self.phase = match steps.held {
                    true => Phase::Ending { end: End::Unknown, why: why.clone() },
                    false => Phase::Verified { way: Way::Return },
                };
            }
        }
    }

    /// True while no step has done anything, or can have.
    pub fn is_untouched(&self) -> bool {
        let running = matches!(self.phase, Phase::Working { running: true, .. });
        let beginning = matches!(
            self.phase,
            Phase::Working { way: Way::Forward, .. }
                | Phase::Failed { way: Way::Forward }
                | Phase::Verified { way: Way::Return }
        );
        beginning && !running && !self.changed
    }

    fn step_ended(
        &mut self,
        at: (Way, usize, u32),
        name: &str,
        outcome: &Outcome,
        when: Timestamp,
        steps: StepCounts,
    ) {
        let (way, step, attempt) = at;
        let certainly_nothing = matches!(outcome, Outcome::Unchanged | Outcome::NotStarted { .. });
        self.changed |= !certainly_nothing;
        let failure = outcome.failure(name);
        let ended = matches!(outcome, Outcome::Cancelled | Outcome::Lost { .. });
        if failure.is_none() || (steps.warn_only && !ended) {
            self.phase = self.step_due(way, step + 1, &steps);
            return;
        }
        if let (Way::Back, Outcome::Lost { .. }, Some(failure)) = (way, outcome, &failure) {
            self.phase =
                Phase::Ending { end: End::Unknown, why: format!("during its rollback: {}", failure.why) };
            return;
        }
        // What was lost is never run again, and what was cancelled is not wanted.
        if attempt <= steps.retries && !ended {
            let not_before = when.checked_add(steps.delay).ok();
            self.phase = Phase::Working { way, step, attempt: attempt + 1, running: false, not_before };
            return;
        }
        if let Some(failure) = failure {
            self.fail(failure);
        }
        self.phase = Phase::Failed { way };
    }

    fn checked(&mut self, stage: Stage, results: &[CheckResult]) {
        self.checks = results.to_vec();
        let way = self.way();
        let bad = results.iter().find(|result| !result.verdict.passes());
        if let Some(bad) = bad {
            let why = format!("check `{}` is {}: {}", bad.check, bad.verdict.word(), bad.text);
            self.fail(Failure { kind: FailureKind::Check, why });
        }
        self.phase = match (stage, bad) {
            (Stage::Roll, _) => Phase::Serving { way, roll: Some(Roll::Done) },
            (Stage::Gate, None) => self.verified(way),
            (Stage::Gate, Some(_)) => Phase::Failed { way },
        };
    }

    fn enabled(&mut self, name: &HostName, change: &Change) {
        let way = self.way();
        match change {
            Change::Done { foreign, .. } if foreign.contains(name) => {
                self.not_taken_back(End::Held, "somebody else has taken it out meanwhile, and it is left so");
            }
            Change::Done { .. } => {
                self.owed = false;
                self.phase = Phase::Serving { way, roll: None };
            }
            // It is where the drain left it, and that may not be known.
            Change::Refused { why } if self.drain_is_unknown() => self.not_taken_back(End::Unknown, why),
            Change::Refused { why } => self.not_taken_back(End::Held, why),
            Change::Unknown { why } => self.not_taken_back(End::Unknown, why),
        }
    }

    /// Nothing that the balancer says before this fails a host that goes on, but an unknown drain.
    fn drain_is_unknown(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Balancer)
    }

    fn not_taken_back(&mut self, end: End, why: &str) {
        self.fail(Failure { kind: FailureKind::Balancer, why: why.into() });
        self.phase = Phase::Ending { end, why: format!("the balancer did not take it back: {why}") };
    }

    fn step_due(&self, way: Way, step: usize, steps: &StepCounts) -> Phase {
        let last = if way == Way::Back { steps.back } else { steps.forward };
        if step < last {
            return Phase::Working { way, step, attempt: 1, running: false, not_before: None };
        }
        if way == Way::Forward && !steps.gated {
            return self.verified(way);
        }
        Phase::Gating { way, running: false }
    }

    /// Wants its way back into rotation, or is where it was all along.
    fn verified(&self, way: Way) -> Phase {
        if self.owed { Phase::Verified { way } } else { Phase::Serving { way, roll: None } }
    }
}
