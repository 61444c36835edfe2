//! The next event of one host: the rules of the bracket, as a pure function of its state, its plan and
//! the state of the whole run.

use std::time::Duration;

use jiff::Timestamp;

use super::bracket::{Forgotten, Gate, HostState, Phase, RotationChecks};
use super::decision::{Decision, Effect};
use super::event::{BracketDirection, EventKind, Pause, PausedUntil, Stage};
use super::health::Health;
use super::leave::{Leave, leave};
use super::phase::steps_of;
use super::run::Run;
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::{End, Failure, FailureKind, Verdict};
use crate::domain::plan::plan::{HostPlan, RunKind};
use crate::domain::task::step::Step;
use crate::domain::value::template;

/// How long a host waits for room before it is drained for its rollback.
const WAY_BACK_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long a host whose gate has passed waits for others of its balancer whose gates are running: then one change of the
/// balancer does for all. A change of a real balancer takes two to three times as long.
pub(super) const GATHER_LIMIT: Duration = Duration::from_millis(100);

/// One host at one moment, with all that its next event depends on.
pub(super) struct Turn<'a> {
    pub(super) run: &'a Run,
    pub(super) now: Timestamp,
    pub(super) name: &'a HostName,
    pub(super) host: &'a HostState,
    pub(super) plan: &'a HostPlan,
    /// It belongs to the batch that is under way.
    pub(super) in_batch: bool,
    /// No further host will start, and none is in its bracket.
    pub(super) over: bool,
}

/// What a host does next.
pub(super) enum Next {
    Decision(Box<Decision>),
    /// It waits for other hosts at the step with this identity.
    WaitsAt(String),
    Nothing,
}

impl From<Option<Decision>> for Next {
    fn from(decision: Option<Decision>) -> Next {
        decision.map_or(Next::Nothing, |decision| Next::Decision(Box::new(decision)))
    }
}

impl<'a> Turn<'a> {
    /// The turn of one host at this moment.
    pub(super) fn of(run: &'a Run, name: &'a HostName, now: Timestamp, over: bool) -> Option<Turn<'a>> {
        let (host, plan) = (run.host(name)?, run.plan().hosts.get(name)?);
        Some(Turn { run, now, name, host, plan, in_batch: run.is_in_batch(name), over })
    }

    /// The next decision for this host, if one is due.
    pub(super) fn next(&self) -> Next {
        match self.host.phase() {
            Phase::Waiting => self.begin(),
            Phase::Working { running: false, .. } => self.work(),
            _ => self.decision().into(),
        }
    }

    fn decision(&self) -> Option<Decision> {
        match self.host.phase() {
            Phase::Ready { way: BracketDirection::Forward, .. } if self.run.is_halted() => {
                self.settle(End::NotStarted, self.halted_why())
            }
            Phase::Ready { .. } if self.host.crowded().is_some() => self.crowded(),
            Phase::Failed { way, failure } => self.after_failure(*way, failure),
            Phase::Ending { end, why } => self.settle(*end, why.clone()),
            Phase::Gating { gate: Gate::Due, .. } => self.gate(),
            Phase::Gating { gate: Gate::Inconclusive(why), .. } => self.ask_about_gate(why),
            Phase::Verified { .. } | Phase::Serving { .. } if self.run.plan().kind == RunKind::Drain => {
                self.stay_out()
            }
            Phase::Serving { way, roll, health } => self.serve(*way, *roll, health),
            Phase::Waiting
            | Phase::Ready { .. }
            | Phase::Observing
            | Phase::Draining { .. }
            | Phase::Working { .. }
            | Phase::Gating { .. }
            | Phase::Verified { .. }
            | Phase::Enabling { .. }
            | Phase::Settled { .. } => None,
        }
    }

    /// When to decide again, if nothing is reported until then.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        match *self.host.phase() {
            Phase::Working { running: false, not_before, .. } => not_before,
            Phase::Verified { not_before, gated_at, .. } => {
                let gathered = gated_at.and_then(|time| time.checked_add(GATHER_LIMIT).ok());
                [not_before, gathered].into_iter().flatten().filter(|time| *time > self.now).min()
            }
            Phase::Ready { .. } => {
                let times = [self.host.crowded().map(|crowded| crowded.retry_at), self.way_back_ends_at()];
                times.into_iter().flatten().filter(|time| *time > self.now).min()
            }
            _ => self.next_probe(),
        }
    }

    /// When the next check of a host in rotation is due while others are under way.
    fn next_probe(&self) -> Option<Timestamp> {
        let Phase::Serving { way: BracketDirection::Forward, roll: None, health } = self.host.phase() else {
            return None;
        };
        if self.over || self.run.is_halted() || !self.run.plan().has_bracket() {
            return None;
        }
        // While the run waits for an operator, checks would fill the journal: the next one follows the answer.
        let waits = self.run.pause().is_some_and(|pause| !matches!(pause.until, PausedUntil::Time(_)));
        if waits && health.healthy {
            return None;
        }
        health.next_probe(&self.run.plan().rollout, !self.plan.checks.is_empty())
    }

    /// No room: a drain by an operator reports that, and a rollback that cannot start ends.
    fn crowded(&self) -> Option<Decision> {
        let why = "too few would be left in service without it (min_in_service)".to_string();
        let way_back_is_closed = self.way_back_ends_at().is_some_and(|time| time <= self.now);
        match self.run.plan().kind {
            RunKind::Drain => self.settle(End::NotStarted, why),
            _ if way_back_is_closed => self.settle(End::Failing, format!("not rolled back: {why}")),
            _ => None,
        }
    }

    /// Until when a host that waits for room may still begin its rollback.
    fn way_back_ends_at(&self) -> Option<Timestamp> {
        let crowded = self.host.crowded().filter(|_| self.host.way() == BracketDirection::Back)?;
        crowded.since.checked_add(WAY_BACK_LIMIT).ok()
    }

    /// The host stays out of rotation, as the operator requested.
    fn stay_out(&self) -> Option<Decision> {
        match self.host.is_foreign() {
            true => self.settle(End::Held, "another process had taken it out of rotation before".into()),
            false => {
                let reason = self.run.plan().because.as_ref();
                let reason = reason.map_or_else(String::new, |reason| format!(" because {reason}"));
                self.settle(End::Held, format!("taken out by {}{reason}", self.run.asked().by))
            }
        }
    }

    fn begin(&self) -> Next {
        if self.run.is_halted() {
            return self.settle(End::NotStarted, self.halted_why()).into();
        }
        if !self.in_batch || self.run.pause().is_some() {
            return Next::Nothing;
        }
        let host = self.name;
        match self.run.plan().kind {
            RunKind::Release { .. } => Some(Decision {
                event: EventKind::ObserveStarted { host: host.clone() },
                effect: Some(Effect::Observe { host: host.clone() }),
            })
            .into(),
            RunKind::Check => Some(Decision::checks(host, Stage::Roll)).into(),
            RunKind::Drain | RunKind::Enable => Next::Nothing,
            // A loop over an empty list leaves no steps.
            _ if self.plan.steps.is_empty() => self.settle(End::Done, "it has no steps here".into()).into(),
            RunKind::Task { .. } | RunKind::Run | RunKind::Facts | RunKind::DryRun { .. } => {
                self.step(BracketDirection::Forward, 0, 1)
            }
        }
    }

    fn halted_why(&self) -> String {
        match (self.run.cancel(), self.run.stopped()) {
            (Some(cancel), _) => format!("cancelled by {}", cancel.by),
            (None, Some(why)) => format!("the run was stopped before its turn: {why}"),
            (None, None) => String::new(),
        }
    }

    /// Why the host failed, or else why the run was halted.
    fn reason(&self) -> String {
        self.host.failure().map_or_else(|| self.halted_why(), |failure| failure.why.clone())
    }

    fn work(&self) -> Next {
        let Phase::Working { way, step, attempt, not_before, .. } = *self.host.phase() else {
            return Next::Nothing;
        };
        let run = self.run;
        let cancelled_now = run.cancel().is_some_and(|cancel| cancel.now || !run.plan().has_bracket());
        if way == BracketDirection::Forward && run.is_halted() && self.host.is_untouched() {
            return self.put_back().into();
        }
        if way == BracketDirection::Forward && (cancelled_now || run.rolls_back()) {
            return self.give_up(self.halted_why()).into();
        }
        if not_before.is_some_and(|time| time > self.now) {
            return Next::Nothing;
        }
        self.step(way, step, attempt)
    }

    /// The host is untouched: it is enabled, or was never drained.
    fn put_back(&self) -> Option<Decision> {
        match &self.plan.balancer {
            Some(_) if self.host.is_owed() && self.plan.held => {
                self.settle(End::Held, format!("an earlier run holds it; {}", self.reason()))
            }
            // A second drain is running or due: enable after it.
            Some(_) if self.host.forgotten() != Forgotten::No => None,
            // The enable does not wait for other hosts: the run is halted.
            Some(seat) if self.host.is_owed() => {
                Some(Decision::enable(&seat.balancer, vec![self.name.clone()]))
            }
            _ => self.settle(End::NotStarted, self.reason()),
        }
    }

    fn step(&self, way: BracketDirection, at: usize, attempt: u32) -> Next {
        let Some(step) = steps_of(self.plan, way).get(at) else { return Next::Nothing };
        let (host, name) = (self.name.clone(), step.name.clone());
        let skipped = |why: String, failed: bool| {
            let (host, name) = (host.clone(), name.clone());
            Decision::only(EventKind::StepSkipped { host, way, step: at, name, why, failed }).into()
        };
        match leave(self.run, self.name, way, at, attempt) {
            Leave::Go => {}
            Leave::Wait => return Next::WaitsAt(step.identity().to_string()),
            Leave::Skip(why) => return skipped(why, false),
            Leave::Fail(why) => return skipped(why, true),
            Leave::Ask(text) => return self.ask(step, &text).into(),
        }
        Some(Decision {
            event: EventKind::StepStarted { host: host.clone(), way, step: at, name, attempt },
            effect: Some(Effect::Step { host, way, step: at, attempt }),
        })
        .into()
    }

    /// The run waits for an operator's answer; hosts in their bracket continue up to the same question.
    fn ask(&self, step: &Step, text: &str) -> Option<Decision> {
        let why = format!("step `{}` on {}: {text}", step.name, self.name);
        let (by, key, until) = ("rollcall".to_string(), String::new(), PausedUntil::Approved);
        Decision::only(EventKind::Paused(Pause { why, by, key, until, step: Some(step.identity().into()) }))
    }

    fn settle(&self, end: End, why: String) -> Option<Decision> {
        Decision::only(EventKind::HostSettled { host: self.name.clone(), end, why })
    }

    /// A step or a gate failed.
    fn after_failure(&self, way: BracketDirection, failure: &Failure) -> Option<Decision> {
        if way == BracketDirection::Back {
            let end = if self.host.is_owed() { End::Held } else { End::Failed };
            return self.settle(end, format!("the rollback failed, too, after {}", failure.why));
        }
        match failure.kind {
            FailureKind::Lost => self.settle(End::Unknown, failure.why.clone()),
            FailureKind::Unreachable if self.host.is_untouched() => self.put_back(),
            FailureKind::Unreachable => self.settle(out_of_rotation(self.host), failure.why.clone()),
            _ => self.give_up(failure.why.clone()),
        }
    }

    /// The bracket is abandoned: the host goes back to the release before, or stays out of rotation.
    fn give_up(&self, why: String) -> Option<Decision> {
        if !self.run.plan().has_bracket() || !self.rolls_back() {
            return self.settle(out_of_rotation(self.host), why);
        }
        match can_go_back(self.host, self.plan) {
            Err(obstacle) => {
                self.settle(out_of_rotation(self.host), format!("{why}; not rolled back: {obstacle}"))
            }
            Ok(()) => Decision::only(EventKind::RollbackStarted { host: self.name.clone(), why }),
        }
    }

    fn rolls_back(&self) -> bool {
        self.run.rolls_back() || self.run.plan().rollout.on_failure.rolls_back()
    }

    /// In rotation: the host is checked until the last batch is through, checked once more, and settled.
    fn serve(
        &self,
        way: BracketDirection,
        roll: Option<RotationChecks>,
        health: &Health,
    ) -> Option<Decision> {
        match (way, roll) {
            (_, Some(RotationChecks::Running | RotationChecks::Watching)) => None,
            (BracketDirection::Back, _) if self.host.is_owed() || self.host.is_foreign() => {
                self.settle(End::Held, self.reason())
            }
            (BracketDirection::Back, _) => self.settle(End::RolledBack, self.reason()),
            (BracketDirection::Return, _) if self.run.plan().kind == RunKind::Enable => {
                self.settle(End::Done, String::new())
            }
            (BracketDirection::Return, _) => self.settle(End::NotStarted, self.reason()),
            (BracketDirection::Forward | BracketDirection::Stay, Some(RotationChecks::Done))
                if self.run.is_to_be_compared(self.name) =>
            {
                None
            }
            (BracketDirection::Forward | BracketDirection::Stay, Some(RotationChecks::Done)) => {
                self.settle_forward()
            }
            (_, None) if !self.run.plan().has_bracket() => self.settle(End::Done, String::new()),
            (_, None) if health.failed && self.rolls_back() && self.is_free_to_go_back() => {
                Decision::only(EventKind::RollbackStarted { host: self.name.clone(), why: self.reason() })
            }
            (_, None) if !self.over => {
                let due = self.next_probe().is_some_and(|time| time <= self.now);
                due.then(|| Decision::checks(self.name, Stage::Watch))
            }
            (_, None) if !self.plan.checks.is_empty() => Some(Decision::checks(self.name, Stage::Roll)),
            (_, None) if self.run.is_to_be_compared(self.name) => None,
            (_, None) => self.settle_forward(),
        }
    }

    /// An inconclusive gate: an operator is asked. A halted run repeats the gate once and accepts its result.
    fn ask_about_gate(&self, why: &str) -> Option<Decision> {
        if self.run.is_halted() {
            return self.gate();
        }
        if self.run.pause().is_some() {
            return None;
        }
        let why = format!("the gate of {} is inconclusive: {why}", self.name);
        let (by, key, until) = ("rollcall".to_string(), String::new(), PausedUntil::Resumed);
        Decision::only(EventKind::Paused(Pause { why, by, key, until, step: None }))
    }

    fn gate(&self) -> Option<Decision> {
        Some(Decision::checks(self.name, Stage::Gate))
    }

    fn is_free_to_go_back(&self) -> bool {
        self.run.cancel().is_none() && can_go_back(self.host, self.plan).is_ok()
    }

    fn settle_forward(&self) -> Option<Decision> {
        let worst = Verdict::worst(self.host.checks().iter().map(|result| result.verdict));
        let why = self.host.failure().map_or_else(String::new, |failure| failure.why.clone());
        let end = match (&self.run.plan().kind, worst) {
            (RunKind::Check, Verdict::Critical) => End::Failed,
            (RunKind::Check, Verdict::Unknown) => End::Unknown,
            (RunKind::Check, _) => End::Done,
            _ if self.host.is_foreign() => {
                let why = "another process had taken it out of rotation before the run, and it was left so";
                return self.settle(End::Held, why.into());
            }
            // On the new release and proven to be in rotation; its present health is unknown.
            (_, Verdict::Unknown) => {
                return self
                    .settle(End::Unknown, format!("it took the release over and is in rotation, but {why}"));
            }
            (_, verdict) if !verdict.passes() => End::Failing,
            _ if self.host.changed() => End::Released,
            _ if self.host.way() == BracketDirection::Stay => {
                return self.settle(End::Unchanged, "it was on this release already".into());
            }
            _ => End::Unchanged,
        };
        self.settle(end, why)
    }
}

fn out_of_rotation(host: &HostState) -> End {
    if host.is_owed() || host.is_foreign() { End::Held } else { End::Failed }
}

/// Whether a host can be rolled back, or why not: the target must be known before the first rollback step starts.
pub(super) fn can_go_back(host: &HostState, plan: &HostPlan) -> Result<(), &'static str> {
    if plan.rollback.is_empty() {
        return Err("the task has no [[rollback]] steps");
    }
    if plan.held && plan.checks_back.is_empty() {
        return Err("an earlier run holds it, and no check could confirm the release before");
    }
    let speaks_of_previous = |step: &Step| {
        step.templates()
            .into_iter()
            .any(|(_, text)| template::names_used(&text).iter().any(|name| name == "previous"))
    };
    let leads_back_here =
        |step: &Step| step.body.link().is_some_and(|(from, _)| host.previous() == Some(&*from));
    if plan.steps.iter().any(leads_back_here) {
        return Err("it was on this release before the run began");
    }
    if host.previous().is_none() && plan.rollback.iter().any(speaks_of_previous) {
        return Err("there is no release before this one on it");
    }
    Ok(())
}
