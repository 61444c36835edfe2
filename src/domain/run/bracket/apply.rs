//! What each event changes on a host in a run. One total match refuses an event that does not fit, or applies it.

use jiff::Timestamp;

use super::{Gate, HostState, Phase, RotationChecks, Route, Tries, Unfit, must};
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::{End, Failure, FailureKind, Outcome, Verdict};
use crate::domain::check::check::{CheckResult, UnknownIs};
use crate::domain::run::event::{BracketDirection, Event, EventKind, Stage};
use crate::domain::run::health::Health;
use crate::domain::task::result::{Answered, skipped};

impl HostState {
    /// The state after an event. An event that does not fit is refused.
    pub(in crate::domain::run) fn after(
        &self,
        name: &HostName,
        event: &Event,
        steps: &Route<'_>,
    ) -> Result<HostState, Unfit> {
        let mut next = self.clone();
        next.advance(name, event, steps)?;
        next.arrive(event.at, steps);
        Ok(next)
    }

    /// On refusal the state is void; [`HostState::after`] drops it.
    fn advance(&mut self, name: &HostName, event: &Event, steps: &Route<'_>) -> Result<(), Unfit> {
        use EventKind as E;
        match &event.kind {
            E::ObserveStarted { .. } => self.observe_started(),
            E::Observed { previous, in_rotation, .. } => {
                self.observed(previous.as_deref(), *in_rotation, steps)
            }
            E::ObserveFailed { failure, .. } => self.observe_failed(failure),
            E::DrainStarted { .. } => self.drain_started(),
            E::DrainEnded { change, .. } => self.drain_ended(name, event.at, change, steps),
            E::DrainForgotten { .. } => self.drain_forgotten(),
            E::RedrainStarted { .. } => self.redrain_started(),
            E::RedrainEnded { change, .. } => self.redrain_ended(name, change),
            E::StepStarted { way, step, attempt, .. } => self.step_started(*way, *step, *attempt),
            E::StepEnded { way, step, name, attempt, outcome, stdout, stderr, code, .. } => {
                self.must_run(*way, *step, *attempt)?;
                self.register(&Answered { outcome, stdout, stderr, code: *code }, steps);
                self.step_ended((*way, *step, *attempt), name, outcome, event.at, steps);
                Ok(())
            }
            E::StepSkipped { way, step, name, why, failed, .. } => {
                self.must_be_due(*way, *step)?;
                self.step_skipped((*way, *step), name, why, *failed, steps);
                Ok(())
            }
            E::ChecksStarted { stage, .. } => self.checks_started(*stage),
            E::ChecksEnded { stage, results, .. } => self.checks_ended(*stage, results, event.at, steps),
            E::RollbackStarted { .. } => self.rollback_started(steps),
            E::EnableStarted { .. } => self.enable_started(),
            E::EnableEnded { change, .. } => self.enable_ended(name, event.at, change),
            E::HostSettled { end, why, .. } => self.settle(*end, why),
            // These change the run, and no host by itself.
            E::RunStarted { .. }
            | E::BatchStarted { .. }
            | E::SnapshotStarted { .. }
            | E::SnapshotEnded { .. }
            | E::Stopped { .. }
            | E::Paused(_)
            | E::Resumed { .. }
            | E::Approved { .. }
            | E::Recovered { .. }
            | E::DebtSettled { .. }
            | E::CancelRequested { .. }
            | E::HookStarted { .. }
            | E::HookEnded { .. }
            | E::RunEnded { .. } => Err(Unfit),
        }
    }

    /// Its health counts from the moment in which it is in rotation with the new release.
    fn arrive(&mut self, at: Timestamp, steps: &Route<'_>) {
        if let Phase::Serving { way: BracketDirection::Forward, roll: None, health } = &mut self.phase
            && !health.has_begun()
        {
            health.begin(at, steps.rollout);
        }
    }

    fn observe_started(&mut self) -> Result<(), Unfit> {
        must(self.phase == Phase::Waiting)?;
        self.phase = Phase::Observing;
        Ok(())
    }

    fn observed(
        &mut self,
        previous: Option<&str>,
        in_rotation: Option<bool>,
        steps: &Route<'_>,
    ) -> Result<(), Unfit> {
        must(self.phase == Phase::Observing)?;
        self.previous = previous.map(str::to_string);
        let stays = steps.is_there(previous) && in_rotation != Some(false);
        self.phase = match stays {
            true => self.gate(BracketDirection::Stay, steps),
            false => self.begin(BracketDirection::Forward, steps),
        };
        Ok(())
    }

    fn observe_failed(&mut self, failure: &Failure) -> Result<(), Unfit> {
        must(self.phase == Phase::Observing)?;
        self.phase = Phase::Ending { end: End::NotStarted, why: failure.why.clone() };
        self.fail(failure.clone());
        Ok(())
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn register(&mut self, answered: &Answered<'_>, steps: &Route<'_>) {
        let Some(register) = steps.register else { return };
        let value = if steps.gathers { answered.facts() } else { answered.value() };
        self.results.insert(register.into(), value);
    }

    fn step_started(&mut self, way: BracketDirection, step: usize, attempt: u32) -> Result<(), Unfit> {
        must(match self.phase {
            Phase::Working { way: w, step: s, attempt: a, running: false, .. } => {
                (way, step, attempt) == (w, s, a)
            }
            Phase::Waiting | Phase::Ready { .. } => (way, step, attempt) == (BracketDirection::Forward, 0, 1),
            _ => false,
        })?;
        if way == BracketDirection::Forward {
            self.did.entry(step).or_default();
        }
        self.phase = Phase::Working { way, step, attempt, running: true, not_before: None };
        Ok(())
    }

    /// The end of an attempt fits only while this very attempt runs.
    fn must_run(&self, way: BracketDirection, step: usize, attempt: u32) -> Result<(), Unfit> {
        must(match self.phase {
            Phase::Working { way: w, step: s, attempt: a, running: true, .. } => {
                (way, step, attempt) == (w, s, a)
            }
            _ => false,
        })
    }

    /// A step is skipped only before its first attempt.
    fn must_be_due(&self, way: BracketDirection, step: usize) -> Result<(), Unfit> {
        must(match self.phase {
            Phase::Working { way: w, step: s, attempt: 1, running: false, .. } => (way, step) == (w, s),
            Phase::Waiting | Phase::Ready { .. } => (way, step) == (BracketDirection::Forward, 0),
            _ => false,
        })
    }

    fn step_ended(
        &mut self,
        at: (BracketDirection, usize, u32),
        name: &str,
        outcome: &Outcome,
        when: Timestamp,
        steps: &Route<'_>,
    ) {
        let (way, step, attempt) = at;
        let certainly_nothing = matches!(outcome, Outcome::Unchanged | Outcome::NotStarted { .. });
        self.changed |= !certainly_nothing;
        if way == BracketDirection::Forward {
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
            self.did.entry(step).and_modify(|did| did.good |= way == BracketDirection::Forward);
            self.phase = self.step_due(way, step + 1, steps);
            return;
        }
        if let (BracketDirection::Back, Outcome::Lost { .. }, Some(failure)) = (way, outcome, &failure) {
            self.phase =
                Phase::Ending { end: End::Unknown, why: format!("during its rollback: {}", failure.why) };
            return;
        }
        if let Some(failure) = failure {
            self.fail(failure.clone());
            self.phase = Phase::Failed { way, failure };
        }
    }

    fn step_skipped(
        &mut self,
        at: (BracketDirection, usize),
        name: &str,
        why: &str,
        failed: bool,
        steps: &Route<'_>,
    ) {
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

    fn checks_started(&mut self, stage: Stage) -> Result<(), Unfit> {
        let (way, owed) = (self.way(), self.is_owed());
        self.phase = match (stage, &self.phase) {
            (Stage::Gate, Phase::Gating { gate: Gate::Due | Gate::Inconclusive(_), .. }) => {
                Phase::Gating { way, gate: Gate::Running }
            }
            (Stage::Watch, Phase::Serving { way: BracketDirection::Forward, roll: None, health }) => {
                Phase::Serving { way, roll: Some(RotationChecks::Watching), health: health.clone() }
            }
            (Stage::Roll, Phase::Serving { roll: None, health, .. }) if !owed => {
                Phase::Serving { way, roll: Some(RotationChecks::Running), health: health.clone() }
            }
            (Stage::Roll, Phase::Waiting) if !owed => {
                Phase::Serving { way, roll: Some(RotationChecks::Running), health: Health::default() }
            }
            (Stage::Gate | Stage::Watch | Stage::Roll, _) => return Err(Unfit),
        };
        Ok(())
    }

    fn checks_ended(
        &mut self,
        stage: Stage,
        results: &[CheckResult],
        at: Timestamp,
        steps: &Route<'_>,
    ) -> Result<(), Unfit> {
        match (stage, &self.phase) {
            (Stage::Gate, Phase::Gating { way, gate: Gate::Running }) => {
                self.gate_ended(*way, results, steps);
                if let Phase::Verified { gated_at, .. } = &mut self.phase {
                    *gated_at = Some(at);
                }
            }
            (Stage::Watch, Phase::Serving { way, roll: Some(RotationChecks::Watching), health }) => {
                let (way, mut health) = (*way, health.clone());
                let worst = Verdict::worst(results.iter().map(|result| result.verdict));
                let fails = health.looked(at, worst, steps.rollout);
                let failure = failure_of(results).filter(|_| fails);
                failure.into_iter().for_each(|failure| self.fail(failure));
                self.phase = Phase::Serving { way, roll: None, health };
            }
            (Stage::Roll, Phase::Serving { way, roll: Some(RotationChecks::Running), health }) => {
                self.phase =
                    Phase::Serving { way: *way, roll: Some(RotationChecks::Done), health: health.clone() };
                failure_of(results).into_iter().for_each(|failure| self.fail(failure));
            }
            (Stage::Gate | Stage::Watch | Stage::Roll, _) => return Err(Unfit),
        }
        self.checks = results.to_vec();
        Ok(())
    }

    fn gate_ended(&mut self, way: BracketDirection, results: &[CheckResult], steps: &Route<'_>) {
        let failure = failure_of(results);
        let worst = Verdict::worst(results.iter().map(|result| result.verdict));
        self.phase = match (failure, steps.rollout.unknown_is) {
            // The host only seemed to be on the release: it goes through its bracket.
            (Some(_), _) if way == BracketDirection::Stay => self.begin(BracketDirection::Forward, steps),
            (_, UnknownIs::Warning) if worst == Verdict::Unknown => self.verified(way),
            // Inconclusive without a fault: an operator is asked, unless the results so far are final.
            (_, UnknownIs::Unknown) if worst == Verdict::Unknown && !steps.halted => {
                let silent = results.iter().find(|result| result.verdict == Verdict::Unknown);
                let why = silent
                    .map_or_else(String::new, |silent| format!("check `{}`: {}", silent.check, silent.text));
                Phase::Gating { way, gate: Gate::Inconclusive(why) }
            }
            (None, _) => self.verified(way),
            (Some(failure), _) => {
                self.fail(failure.clone());
                Phase::Failed { way, failure }
            }
        };
    }

    /// An operator has answered: an inconclusive gate is due again.
    pub(in crate::domain::run) fn gate_again(&mut self) {
        if let Phase::Gating { gate: gate @ Gate::Inconclusive(_), .. } = &mut self.phase {
            *gate = Gate::Due;
        }
    }

    /// Records the result of a comparison with other hosts.
    pub(in crate::domain::run) fn compared(&mut self, result: &CheckResult) {
        self.checks.push(result.clone());
        failure_of(std::slice::from_ref(result)).into_iter().for_each(|failure| self.fail(failure));
    }

    fn rollback_started(&mut self, steps: &Route<'_>) -> Result<(), Unfit> {
        self.phase = match self.phase {
            Phase::Serving { way: BracketDirection::Forward, roll: None, .. } => {
                self.begin(BracketDirection::Back, steps)
            }
            Phase::Failed { way: BracketDirection::Forward, .. }
            | Phase::Working { way: BracketDirection::Forward, running: false, .. } => {
                self.step_due(BracketDirection::Back, 0, steps)
            }
            _ => return Err(Unfit),
        };
        Ok(())
    }

    fn settle(&mut self, end: End, why: &str) -> Result<(), Unfit> {
        must(self.settled().is_none() && self.may_end(end))?;
        self.phase = Phase::Settled { end, why: why.into() };
        Ok(())
    }

    /// An end state must agree with the debt; otherwise the event is refused.
    fn may_end(&self, end: End) -> bool {
        match end {
            End::Released | End::Unchanged | End::RolledBack | End::Failing | End::NotStarted | End::Done => {
                !self.is_owed()
            }
            End::Held | End::Unknown | End::Failed => true,
        }
    }

    /// The first phase of a way: hosts behind a balancer are drained first.
    fn begin(&self, way: BracketDirection, steps: &Route<'_>) -> Phase {
        if steps.drains { Phase::Ready { way, crowded: None } } else { self.step_due(way, 0, steps) }
    }

    pub(super) fn step_due(&self, way: BracketDirection, step: usize, steps: &Route<'_>) -> Phase {
        let last = if way == BracketDirection::Back { steps.back } else { steps.forward };
        if step < last {
            return Phase::Working { way, step, attempt: 1, running: false, not_before: None };
        }
        self.gate(way, steps)
    }

    fn gate(&self, way: BracketDirection, steps: &Route<'_>) -> Phase {
        if way != BracketDirection::Back && !steps.gated {
            return self.verified(way);
        }
        Phase::Gating { way, gate: Gate::Due }
    }

    /// Due to be enabled, or in rotation if it was never drained.
    fn verified(&self, way: BracketDirection) -> Phase {
        match self.is_owed() {
            true => Phase::Verified { way, tries: Tries::default(), not_before: None, gated_at: None },
            false => Phase::Serving { way, roll: None, health: Health::default() },
        }
    }
}

/// The failure of the first check that did not pass.
fn failure_of(results: &[CheckResult]) -> Option<Failure> {
    let bad = results.iter().find(|result| !result.verdict.passes())?;
    let why = format!("check `{}` is {}: {}", bad.check, bad.verdict.word(), bad.text);
    Some(Failure { kind: FailureKind::Check, why })
}
