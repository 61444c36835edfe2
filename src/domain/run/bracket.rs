//! One host in a run: its phase in the bracket, its debt, and the table of legal transitions.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::event::{Change, Event, EventKind, Stage, Way};
use super::health::Health;
pub use super::phase::{Crowded, Forgotten, Phase, Roll, Route};
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::{End, Failure, FailureKind, Outcome, Verdict};
use crate::domain::check::check::{CheckResult, UnknownIs};
use crate::domain::task::result::{Answered, skipped};
use crate::domain::value::template::Vars;

/// Attempts to enable a host before the run holds it. The retries bridge a balancer host that is
/// unreachable for a moment.
pub const ENABLE_TRIES: u32 = 4;

/// The pause before the second attempt; each further pause is four times as long.
const ENABLE_PAUSE: Duration = Duration::from_secs(2);

/// How long a host waits for room before rollcall asks the balancer again: other runs and operators
/// make room, too, and no event of this run reports that.
const CROWDED_PAUSE: Duration = Duration::from_secs(10);

/// One host in a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostState {
    pub phase: Phase,
    /// The debt: this run has drained it, or may have, and has not enabled it yet.
    pub owed: bool,
    /// It was already drained by another run or person.
    pub foreign: bool,
    /// A step changed the host, or may have.
    pub changed: bool,
    /// The target of the link before the run; a rollback leads back to it.
    pub previous: Option<String>,
    /// The first failure; it counts against the budget.
    pub failure: Option<Failure>,
    pub checks: Vec<CheckResult>,
    /// Why its gate was inconclusive; an operator is asked how to continue.
    pub inconclusive: Option<String>,
    /// Its health since it returned to rotation.
    pub health: Health,
    /// Attempts to enable it that failed.
    pub enable_tries: u32,
    /// One of these attempts may have enabled it without confirmation.
    pub maybe_back: bool,
    /// The balancer sent requests to it while it was in its bracket: it has to be drained again.
    pub forgotten: Forgotten,
    /// Its drain was refused because too few hosts would have been left in service.
    pub crowded: Option<Crowded>,
    /// The results of the forward steps that have started, by index.
    pub did: BTreeMap<usize, Did>,
    /// The results that steps have registered, by name.
    pub results: Vars,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    pub changed: bool,
    /// It has changed something, or may have.
    pub touched: bool,
    /// The next step may start.
    pub good: bool,
}

impl HostState {
    /// How it ended; `None` while it is under way.
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
            (E::DrainStarted { .. }, P::Ready { .. }) => true,
            (E::DrainEnded { .. }, P::Draining { .. }) => true,
            (E::DrainForgotten { .. }, phase) => {
                self.owed && phase.stays_out() && self.forgotten == Forgotten::No
            }
            (E::RedrainStarted { .. }, _) => self.owed && self.forgotten == Forgotten::Seen,
            (E::RedrainEnded { .. }, _) => self.forgotten == Forgotten::Redraining,
            (
                E::StepStarted { way, step, attempt, .. },
                P::Working { way: w, step: s, attempt: a, running: false, .. },
            ) => (way, step, attempt) == (w, s, a),
            (E::StepStarted { way: Way::Forward, step: 0, attempt: 1, .. }, P::Waiting | P::Ready { .. }) => {
                true
            }
            (E::StepSkipped { way: Way::Forward, step: 0, .. }, P::Waiting | P::Ready { .. }) => true,
            (
                E::StepSkipped { way, step, .. },
                P::Working { way: w, step: s, attempt: 1, running: false, .. },
            ) => (way, step) == (w, s),
            (
                E::StepEnded { way, step, attempt, .. },
                P::Working { way: w, step: s, attempt: a, running: true, .. },
            ) => (way, step, attempt) == (w, s, a),
            (
                E::RollbackStarted { .. },
                P::Failed { way: Way::Forward, .. }
                | P::Working { way: Way::Forward, running: false, .. }
                | P::Serving { way: Way::Forward, roll: None },
            ) => true,
            (E::ChecksStarted { stage: Stage::Gate, .. }, P::Gating { running: false, .. }) => true,
            (E::ChecksEnded { stage: Stage::Gate, .. }, P::Gating { running: true, .. }) => true,
            (E::EnableStarted { .. }, _) if self.forgotten != Forgotten::No => false,
            (E::EnableStarted { .. }, P::Verified { .. }) => self.owed,
            // Drained but untouched: it may be enabled as it is.
            (E::EnableStarted { .. }, P::Working { .. } | P::Failed { way: Way::Forward, .. }) => {
                self.owed && self.is_untouched()
            }
            (E::EnableEnded { .. }, P::Enabling { .. }) => true,
            (E::ChecksStarted { stage: Stage::Watch, .. }, P::Serving { way: Way::Forward, roll: None }) => {
                true
            }
            (E::ChecksEnded { stage: Stage::Watch, .. }, P::Serving { roll: Some(Roll::Watching), .. }) => {
                true
            }
            (E::ChecksStarted { stage: Stage::Roll, .. }, P::Serving { roll: None, .. } | P::Waiting) => {
                !self.owed
            }
            (E::ChecksEnded { stage: Stage::Roll, .. }, P::Serving { roll: Some(Roll::Running), .. }) => true,
            (E::HostSettled { .. }, P::Settled { .. }) => false,
            (E::HostSettled { end, .. }, _) => self.may_end(*end),
            _ => false,
        }
    }

    /// An end state must agree with the debt; otherwise the event is refused.
    fn may_end(&self, end: End) -> bool {
        match end {
            End::Released | End::Unchanged | End::RolledBack | End::Failing | End::NotStarted | End::Done => {
                !self.owed
            }
            End::Held | End::Unknown | End::Failed => true,
        }
    }

    /// Applies an event that fits.
    pub fn apply(&mut self, name: &HostName, event: &Event, steps: &Route<'_>) {
        match &event.kind {
            EventKind::ObserveStarted { .. } => self.phase = Phase::Observing,
            EventKind::Observed { previous, in_rotation, .. } => {
                self.previous = previous.clone();
                let stays = steps.is_there(previous.as_deref()) && *in_rotation != Some(false);
                self.phase = match stays {
                    true => self.gate(Way::Stay, steps),
                    false => self.begin(Way::Forward, steps),
                };
            }
            EventKind::ObserveFailed { failure, .. } => {
                self.phase = Phase::Ending { end: End::NotStarted, why: failure.why.clone() };
                self.fail(failure.clone());
            }
            EventKind::DrainStarted { .. } => {
                self.owed = true;
                self.phase = Phase::Draining { way: self.way() };
            }
            EventKind::DrainEnded { change, .. } => self.drained(name, event.at, change, steps),
            EventKind::DrainForgotten { .. } => self.forgotten = Forgotten::Seen,
            EventKind::RedrainStarted { .. } => self.forgotten = Forgotten::Redraining,
            EventKind::RedrainEnded { change, .. } => self.redrained(name, change),
            EventKind::StepStarted { way, step, attempt, .. } => {
                self.step_started(*way, *step, *attempt);
            }
            EventKind::StepEnded { way, step, name, attempt, outcome, stdout, stderr, code, .. } => {
                self.register(&Answered { outcome, stdout, stderr, code: *code }, steps);
                self.step_ended((*way, *step, *attempt), name, outcome, event.at, steps);
            }
            EventKind::StepSkipped { way, step, name, why, failed, .. } => {
                self.step_skipped((*way, *step), name, why, *failed, steps);
            }
            EventKind::ChecksStarted { stage: Stage::Gate, .. } => {
                if let Phase::Gating { running, .. } = &mut self.phase {
                    *running = true;
                }
            }
            EventKind::ChecksStarted { stage: Stage::Watch, .. } => {
                self.phase = Phase::Serving { way: self.way(), roll: Some(Roll::Watching) };
            }
            EventKind::ChecksStarted { stage: Stage::Roll, .. } => {
                self.phase = Phase::Serving { way: self.way(), roll: Some(Roll::Running) };
            }
            EventKind::ChecksEnded { stage, results, .. } => self.checked(*stage, results, event.at, steps),
            EventKind::SnapshotEnded { hosts, results, .. } => self.compared(name, hosts, results),
            EventKind::RollbackStarted { .. } => {
                let in_rotation = matches!(self.phase, Phase::Serving { .. });
                self.phase = match in_rotation {
                    true => self.begin(Way::Back, steps),
                    false => self.step_due(Way::Back, 0, steps),
                };
            }
            EventKind::EnableStarted { .. } => {
                let way = if self.is_untouched() { Way::Return } else { self.way() };
                self.phase = Phase::Enabling { way };
            }
            EventKind::EnableEnded { change, .. } => self.enabled(name, event.at, change),
            EventKind::HostSettled { end, why, .. } => {
                self.phase = Phase::Settled { end: *end, why: why.clone() }
            }
            _ => {}
        }
        let arrived = self.phase == Phase::Serving { way: Way::Forward, roll: None };
        if arrived && !self.health.has_begun() {
            self.health.begin(event.at, steps.rollout);
        }
    }

    /// The way that the host is on.
    pub fn way(&self) -> Way {
        match self.phase {
            Phase::Ready { way }
            | Phase::Draining { way }
            | Phase::Working { way, .. }
            | Phase::Failed { way, .. }
            | Phase::Gating { way, .. }
            | Phase::Verified { way, .. }
            | Phase::Enabling { way }
            | Phase::Serving { way, .. } => way,
            _ => Way::Forward,
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn drained(&mut self, name: &HostName, at: Timestamp, change: &Change, steps: &Route<'_>) {
        let way = self.way();
        match change {
            Change::Done { kept, .. } if kept.contains(name) => {
                self.owed = false;
                let since = self.crowded.map_or(at, |crowded| crowded.since);
                self.crowded = Some(Crowded { since, retry_at: at.checked_add(CROWDED_PAUSE).unwrap_or(at) });
                self.phase = Phase::Ready { way };
            }
            Change::Done { foreign, .. } => {
                self.foreign = foreign.contains(name);
                self.owed = !self.foreign;
                self.crowded = None;
                self.phase = self.step_due(way, 0, steps);
            }
            Change::Refused { why } => {
                self.owed = false;
                self.fail(Failure { kind: FailureKind::Balancer, why: why.clone() });
                // On its way back it is still in rotation, with the new release.
                let end = if way == Way::Back { End::Failing } else { End::NotStarted };
                self.phase = Phase::Ending { end, why: why.clone() };
            }
            // It may be drained, and is certainly untouched: enabling it shows whether it is in rotation.
            Change::Unknown { why } => {
                self.fail(Failure { kind: FailureKind::Balancer, why: why.clone() });
                self.phase = match steps.held || way == Way::Back {
                    true => Phase::Ending { end: End::Unknown, why: why.clone() },
                    false => Phase::Verified { way: Way::Return, not_before: None },
                };
            }
        }
    }

    /// The second drain after the balancer forgot the first. If it fails, the host serves within its bracket:
    /// that is reported and counts as a failure. The bracket continues, since stopping would not help.
    fn redrained(&mut self, name: &HostName, change: &Change) {
        self.forgotten = Forgotten::No;
        let why = match change {
            Change::Refused { why } | Change::Unknown { why } => why.as_str(),
            Change::Done { kept, .. } if kept.contains(name) => "too few would be left in service",
            Change::Done { .. } => return,
        };
        let why =
            format!("the balancer sends it requests in its bracket, and cannot take it out again: {why}");
        self.fail(Failure { kind: FailureKind::Balancer, why });
    }

    /// True while no step has changed the host or can have.
    pub fn is_untouched(&self) -> bool {
        let running = matches!(self.phase, Phase::Working { running: true, .. });
        let beginning = matches!(
            self.phase,
            Phase::Working { way: Way::Forward, .. }
                | Phase::Failed { way: Way::Forward, .. }
                | Phase::Verified { way: Way::Return, .. }
        );
        beginning && !running && !self.changed
    }

    fn register(&mut self, answered: &Answered<'_>, steps: &Route<'_>) {
        let Some(register) = steps.register else { return };
        let value = if steps.looks { answered.facts() } else { answered.value() };
        self.results.insert(register.into(), value);
    }

    fn step_started(&mut self, way: Way, step: usize, attempt: u32) {
        if way == Way::Forward {
            self.did.entry(step).or_default();
        }
        self.phase = Phase::Working { way, step, attempt, running: true, not_before: None };
    }

    fn step_ended(
        &mut self,
        at: (Way, usize, u32),
        name: &str,
        outcome: &Outcome,
        when: Timestamp,
        steps: &Route<'_>,
    ) {
        let (way, step, attempt) = at;
        let certainly_nothing = matches!(outcome, Outcome::Unchanged | Outcome::NotStarted { .. });
        self.changed |= !certainly_nothing;
        if way == Way::Forward {
            let did = self.did.entry(step).or_default();
            did.changed |= outcome.has_changed();
            did.touched |= !certainly_nothing;
            did.good = outcome.is_good();
        }
        let failure = outcome.failure(name);
        if failure.is_none() {
            self.phase = self.step_due(way, step + 1, steps);
            return;
        }
        // A lost step is retried only if it is repeatable; a cancelled one is not retried.
        let again = match outcome {
            Outcome::Cancelled => 0,
            Outcome::Lost { .. } if steps.repeatable => steps.retries.max(1),
            Outcome::Lost { .. } => 0,
            // The host was unreachable for a moment, or rollcall ended before the step started.
            Outcome::NotStarted { .. } => steps.retries_unbegun,
            _ => steps.retries,
        };
        if attempt <= again {
            let not_before = when.checked_add(steps.delay).ok();
            self.phase = Phase::Working { way, step, attempt: attempt + 1, running: false, not_before };
            return;
        }
        let ended = matches!(outcome, Outcome::Cancelled | Outcome::Lost { .. });
        if steps.warn_only && !ended {
            self.did.entry(step).and_modify(|did| did.good |= way == Way::Forward);
            self.phase = self.step_due(way, step + 1, steps);
            return;
        }
        if let (Way::Back, Outcome::Lost { .. }, Some(failure)) = (way, outcome, &failure) {
            self.phase =
                Phase::Ending { end: End::Unknown, why: format!("during its rollback: {}", failure.why) };
            return;
        }
        if let Some(failure) = failure {
            self.fail(failure.clone());
            self.phase = Phase::Failed { way, failure };
        }
    }

    fn step_skipped(&mut self, at: (Way, usize), name: &str, why: &str, failed: bool, steps: &Route<'_>) {
        let (way, step) = at;
        if failed {
            let failure = Failure { kind: FailureKind::Step, why: format!("step `{name}`: {why}") };
            self.fail(failure.clone());
            self.phase = Phase::Failed { way, failure };
            return;
        }
        if let Some(register) = steps.register {
            self.results.entry(register.into()).or_insert_with(skipped);
        }
        self.phase = self.step_due(way, step + 1, steps);
    }

    fn checked(&mut self, stage: Stage, results: &[CheckResult], at: Timestamp, steps: &Route<'_>) {
        self.checks = results.to_vec();
        let way = self.way();
        let bad = results.iter().find(|result| !result.verdict.passes());
        // The host only seemed to be on the release: it goes through its bracket.
        if way == Way::Stay && stage == Stage::Gate && bad.is_some() {
            self.phase = self.begin(Way::Forward, steps);
            return;
        }
        let worst = Verdict::worst(results.iter().map(|result| result.verdict));
        if stage == Stage::Gate && self.gate_is_open(worst, results, steps) {
            return;
        }
        let counts = stage != Stage::Watch || self.health.looked(at, worst, steps.rollout);
        let failure = bad.filter(|_| counts).map(|bad| {
            let why = format!("check `{}` is {}: {}", bad.check, bad.verdict.word(), bad.text);
            Failure { kind: FailureKind::Check, why }
        });
        failure.iter().for_each(|failure| self.fail(failure.clone()));
        self.phase = match (stage, failure) {
            (Stage::Watch, _) => Phase::Serving { way, roll: None },
            (Stage::Roll, _) => Phase::Serving { way, roll: Some(Roll::Done) },
            (Stage::Gate, None) => self.verified(way),
            (Stage::Gate, Some(failure)) => Phase::Failed { way, failure },
        };
    }

    /// Handles a gate that is inconclusive without a fault, as the rollout says: the host passes, or waits for an
    /// operator. Returns true when the gate needs no further handling.
    fn gate_is_open(&mut self, worst: Verdict, results: &[CheckResult], steps: &Route<'_>) -> bool {
        let way = self.way();
        match (worst, steps.rollout.unknown_is) {
            (Verdict::Unknown, UnknownIs::Warning) => self.phase = self.verified(way),
            (Verdict::Unknown, UnknownIs::Unknown) if !steps.halted => {
                let silent = results.iter().find(|result| result.verdict == Verdict::Unknown);
                let why = silent
                    .map_or_else(String::new, |silent| format!("check `{}`: {}", silent.check, silent.text));
                self.inconclusive = Some(why);
                self.phase = Phase::Gating { way, running: false };
            }
            _ => return false,
        }
        true
    }

    /// Records the result of a comparison with other hosts; `results` has the order of `hosts`.
    fn compared(&mut self, name: &HostName, hosts: &[HostName], results: &[CheckResult]) {
        let Some((_, result)) = hosts.iter().zip(results).find(|(host, _)| *host == name) else { return };
        self.checks.push(result.clone());
        if !result.verdict.passes() {
            let why = format!("check `{}` is {}: {}", result.check, result.verdict.word(), result.text);
            self.fail(Failure { kind: FailureKind::Check, why });
        }
    }

    fn enabled(&mut self, name: &HostName, at: Timestamp, change: &Change) {
        let way = self.way();
        match change {
            Change::Done { foreign, .. } if foreign.contains(name) => {
                self.not_taken_back(End::Held, "somebody else has taken it out meanwhile, and it is left so");
            }
            Change::Done { .. } => {
                self.owed = false;
                self.forgotten = Forgotten::No;
                self.phase = Phase::Serving { way, roll: None };
            }
            Change::Refused { .. } | Change::Unknown { .. } if self.enable_tries + 1 < ENABLE_TRIES => {
                let pause = ENABLE_PAUSE * 4u32.pow(self.enable_tries);
                self.enable_tries += 1;
                self.maybe_back |= matches!(change, Change::Unknown { .. });
                self.phase = Phase::Verified { way, not_before: at.checked_add(pause).ok() };
            }
            // The host is where the drain left it, which may be unknown.
            Change::Refused { why } if self.drain_is_unknown() || self.maybe_back => {
                self.not_taken_back(End::Unknown, why)
            }
            Change::Refused { why } => self.not_taken_back(End::Held, why),
            Change::Unknown { why } => self.not_taken_back(End::Unknown, why),
        }
    }

    /// Until this point only a drain with an unknown result sets a balancer failure on a host that continues.
    fn drain_is_unknown(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Balancer)
    }

    fn not_taken_back(&mut self, end: End, why: &str) {
        self.fail(Failure { kind: FailureKind::Balancer, why: why.into() });
        self.phase = Phase::Ending { end, why: format!("the balancer did not take it back: {why}") };
    }

    /// The first phase of a way: hosts behind a balancer are drained first.
    fn begin(&self, way: Way, steps: &Route<'_>) -> Phase {
        if steps.drains { Phase::Ready { way } } else { self.step_due(way, 0, steps) }
    }

    fn step_due(&self, way: Way, step: usize, steps: &Route<'_>) -> Phase {
        let last = if way == Way::Back { steps.back } else { steps.forward };
        if step < last {
            return Phase::Working { way, step, attempt: 1, running: false, not_before: None };
        }
        self.gate(way, steps)
    }

    fn gate(&self, way: Way, steps: &Route<'_>) -> Phase {
        if way != Way::Back && !steps.gated {
            return self.verified(way);
        }
        Phase::Gating { way, running: false }
    }

    /// Due to be enabled, or in rotation if it was never drained.
    fn verified(&self, way: Way) -> Phase {
        match self.owed {
            true => Phase::Verified { way, not_before: None },
            false => Phase::Serving { way, roll: None },
        }
    }
}
