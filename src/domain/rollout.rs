//! Every decision of a run. [`decide`] is a pure function of the run and the time: it says which
//! events come next and which effect each of them announces. The engine appends the events, applies
//! them, publishes them, and only then acts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::bracket::{HostState, Phase, Roll};
use super::event::{EventKind, Stage, Way};
use super::name::{HostName, count};
use super::outcome::{End, FailureKind, Verdict};
use super::plan::{HostPlan, Kind};
use super::run::Run;
use super::task::{OnFailure, Step, StepBody};
use super::template;

/// One event to write, and what to do once it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub event: EventKind,
    pub effect: Option<Effect>,
}

/// What the engine does in the world. Each effect reports back with exactly one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Observe { host: HostName },
    Drain { balancer: String, hosts: Vec<HostName> },
    Step { host: HostName, way: Way, step: usize, attempt: u32 },
    Checks { host: HostName, stage: Stage },
    Enable { balancer: String, hosts: Vec<HostName> },
}

/// What [`decide`] came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    pub decisions: Vec<Decision>,
    /// Ask again at this time, even if nothing was reported.
    pub wake_at: Option<Timestamp>,
}

/// What comes next. Decisions are made in rounds: ask again after they were applied, until there are
/// none. Whatever is under way is part of the run's state, so nothing is decided twice.
pub fn decide(run: &Run, now: Timestamp) -> Decided {
    if !run.started || run.outcome.is_some() {
        return Decided::default();
    }
    if let Some(stop) = spend_budget(run) {
        return round(vec![stop]);
    }
    let moves = host_moves(run, now);
    if !moves.is_empty() {
        return round(moves);
    }
    let moves = [drains(run), enables(run)].concat();
    if !moves.is_empty() {
        return round(moves);
    }
    if let Some(next) = next_batch(run).or_else(|| end(run)) {
        return round(vec![next]);
    }
    Decided { decisions: vec![], wake_at: next_wake(run) }
}

fn round(decisions: Vec<Decision>) -> Decided {
    Decided { decisions, wake_at: None }
}

fn only(event: EventKind) -> Option<Decision> {
    Some(Decision { event, effect: None })
}

/// The budget is looked at before anything else, so that no host begins once it is spent.
fn spend_budget(run: &Run) -> Option<Decision> {
    let allowed = run.plan.rollout.max_failures.allowed(run.hosts.len());
    let failed = run.failures();
    if run.stopped.is_some() || failed <= allowed {
        return None;
    }
    only(EventKind::Stopped {
        why: format!("{} failed, {allowed} may (max_failures)", count(failed, "host")),
    })
}

/// The next event of each host whose turn it is. What is the same for all is looked up once: this runs
/// after every report.
fn host_moves(run: &Run, now: Timestamp) -> Vec<Decision> {
    let batch: BTreeSet<&HostName> = run.batch_hosts().iter().collect();
    let over = is_over(run);
    // Both maps have the same keys in the same order.
    let hosts = run.hosts.iter().zip(run.plan.hosts.values());
    let moves = hosts.filter_map(|((name, host), plan)| {
        Turn { run, now, name, host, plan, in_batch: batch.contains(name), over }.next()
    });
    moves.collect()
}

/// One host at one moment, with what its next event depends on.
struct Turn<'a> {
    run: &'a Run,
    now: Timestamp,
    name: &'a HostName,
    host: &'a HostState,
    plan: &'a HostPlan,
    /// It belongs to the batch that is under way.
    in_batch: bool,
    /// No host will begin any more, and none is in its bracket.
    over: bool,
}

impl Turn<'_> {
    fn next(&self) -> Option<Decision> {
        match &self.host.phase {
            Phase::Waiting => self.begin(),
            Phase::Ready if self.run.is_halted() => self.settle(End::NotStarted, self.halted_why()),
            Phase::Working { running: false, .. } => self.work(),
            Phase::Failed { way } => self.after_failure(*way),
            Phase::Ending { end, why } => self.settle(*end, why.clone()),
            Phase::Gating { running: false, .. } => self.check(Stage::Gate),
            Phase::Serving { way, roll } => self.serve(*way, *roll),
            Phase::Ready
            | Phase::Observing
            | Phase::Draining
            | Phase::Working { .. }
            | Phase::Gating { .. }
            | Phase::Verified { .. }
            | Phase::Enabling { .. }
            | Phase::Settled { .. } => None,
        }
    }

    fn begin(&self) -> Option<Decision> {
        if self.run.is_halted() {
            return self.settle(End::NotStarted, self.halted_why());
        }
        if !self.in_batch {
            return None;
        }
        let host = self.name;
        match self.run.plan.kind {
            Kind::Release { .. } => Some(Decision {
                event: EventKind::ObserveStarted { host: host.clone() },
                effect: Some(Effect::Observe { host: host.clone() }),
            }),
            Kind::Check => self.check(Stage::Roll),
            Kind::Task { .. } | Kind::Run => self.step(Way::Forward, 0, 1),
        }
    }

    fn halted_why(&self) -> String {
        match (&self.run.cancel, &self.run.stopped) {
            (Some(cancel), _) => format!("cancelled by {}", cancel.by),
            (None, Some(why)) => format!("the run was stopped before its turn: {why}"),
            (None, None) => String::new(),
        }
    }

    /// What went wrong with it, or else why the run was halted.
    fn reason(&self) -> String {
        self.host.failure.as_ref().map_or_else(|| self.halted_why(), |failure| failure.why.clone())
    }

    fn work(&self) -> Option<Decision> {
        let Phase::Working { way, step, attempt, not_before, .. } = self.host.phase else { return None };
        let run = self.run;
        let cancelled_now = run.cancel.as_ref().is_some_and(|cancel| cancel.now || !run.plan.has_bracket());
        if way == Way::Forward && run.is_halted() && self.host.is_untouched() {
            return self.put_back();
        }
        if way == Way::Forward && cancelled_now {
            return self.give_up(self.halted_why());
        }
        if not_before.is_some_and(|time| time > self.now) {
            return None;
        }
        self.step(way, step, attempt)
    }

    /// Nothing was done to it: it goes back as it was, or never left.
    fn put_back(&self) -> Option<Decision> {
        match &self.plan.balancer {
            Some(_) if self.host.owed && self.plan.held => {
                self.settle(End::Held, format!("an earlier run holds it; {}", self.reason()))
            }
            // Others that want the same are not waited for: this happens when a run is halted.
            Some(seat) if self.host.owed => Some(enable(&seat.balancer, vec![self.name.clone()])),
            _ => self.settle(End::NotStarted, self.reason()),
        }
    }

    fn step(&self, way: Way, step: usize, attempt: u32) -> Option<Decision> {
        let steps = if way == Way::Back { &self.plan.rollback } else { &self.plan.steps };
        let (host, name) = (self.name.clone(), steps.get(step)?.name.clone());
        Some(Decision {
            event: EventKind::StepStarted { host: host.clone(), way, step, name, attempt },
            effect: Some(Effect::Step { host, way, step, attempt }),
        })
    }

    fn check(&self, stage: Stage) -> Option<Decision> {
        let host = self.name;
        Some(Decision {
            event: EventKind::ChecksStarted { host: host.clone(), stage },
            effect: Some(Effect::Checks { host: host.clone(), stage }),
        })
    }

    fn settle(&self, end: End, why: String) -> Option<Decision> {
        only(EventKind::HostSettled { host: self.name.clone(), end, why })
    }

    /// A step or a gate failed.
    fn after_failure(&self, way: Way) -> Option<Decision> {
        let failure = self.host.failure.as_ref()?;
        if way == Way::Back {
            let end = if self.host.owed { End::Held } else { End::Failed };
            return self.settle(end, format!("the rollback failed, too, after {}", failure.why));
        }
        match failure.kind {
            FailureKind::Lost => self.settle(End::Unknown, failure.why.clone()),
            FailureKind::Unreachable if self.host.is_untouched() => self.put_back(),
            FailureKind::Unreachable => self.settle(out_of_rotation(self.host), failure.why.clone()),
            _ => self.give_up(failure.why.clone()),
        }
    }

    /// What was begun will not be finished: back to the release before, or out of rotation.
    fn give_up(&self, why: String) -> Option<Decision> {
        if !self.run.plan.has_bracket() || self.run.plan.rollout.on_failure == OnFailure::Stop {
            return self.settle(out_of_rotation(self.host), why);
        }
        match no_way_back(self.host, self.plan) {
            Some(obstacle) => {
                self.settle(out_of_rotation(self.host), format!("{why}; not rolled back: {obstacle}"))
            }
            None => only(EventKind::RollbackStarted { host: self.name.clone(), why }),
        }
    }

    /// In rotation: what is left is to check it again after the last batch, and to say how it ended.
    fn serve(&self, way: Way, roll: Option<Roll>) -> Option<Decision> {
        match (way, roll) {
            (_, Some(Roll::Running)) => None,
            (Way::Back, _) if self.host.owed || self.host.foreign => self.settle(End::Held, self.reason()),
            (Way::Back, _) => self.settle(End::RolledBack, self.reason()),
            (Way::Return, _) => self.settle(End::NotStarted, self.reason()),
            (Way::Forward, None) if !self.run.plan.has_bracket() => self.settle(End::Done, String::new()),
            (Way::Forward, None) if !self.over => None,
            (Way::Forward, None) if !self.plan.checks.is_empty() => self.check(Stage::Roll),
            (Way::Forward, _) => self.settle_forward(),
        }
    }

    fn settle_forward(&self) -> Option<Decision> {
        let worst = Verdict::worst(self.host.checks.iter().map(|result| result.verdict));
        let why = self.host.failure.as_ref().map_or_else(String::new, |failure| failure.why.clone());
        let end = match (&self.run.plan.kind, worst) {
            (Kind::Check, Verdict::Critical) => End::Failed,
            (Kind::Check, Verdict::Unknown) => End::Unknown,
            (Kind::Check, _) => End::Done,
            _ if self.host.foreign => {
                let why = "it was out of rotation before the run, by somebody else, and was left so";
                return self.settle(End::Held, why.into());
            }
            // On the new release and in rotation, as far as that was proven; how it is now is not known.
            (_, Verdict::Unknown) => {
                return self
                    .settle(End::Unknown, format!("it took the release over and is in rotation, but {why}"));
            }
            (_, verdict) if !verdict.passes() => End::Failing,
            _ if self.host.changed => End::Released,
            _ => End::Unchanged,
        };
        self.settle(end, why)
    }
}

fn out_of_rotation(host: &HostState) -> End {
    if host.owed || host.foreign { End::Held } else { End::Failed }
}

/// Why a host cannot be rolled back: the target has to be known before the step back begins.
fn no_way_back(host: &HostState, plan: &HostPlan) -> Option<&'static str> {
    if plan.rollback.is_empty() {
        return Some("the task has no [[rollback]] steps");
    }
    let speaks_of_previous = |step: &Step| {
        step.templates()
            .iter()
            .any(|(_, text)| template::names_used(text).iter().any(|name| name == "previous"))
    };
    let leads_back_here = |step: &Step| match &step.body {
        StepBody::Link { from, .. } => host.previous.as_ref() == Some(from),
        _ => false,
    };
    if plan.steps.iter().any(leads_back_here) {
        return Some("it was on this release before the run began");
    }
    if host.previous.is_none() && plan.rollback.iter().any(speaks_of_previous) {
        return Some("there is no release before this one on it");
    }
    None
}

/// True once no host will begin any more and none is in its bracket.
fn is_over(run: &Run) -> bool {
    let last = run.batch.is_some_and(|at| at + 1 == run.plan.batches.len());
    let through = |host: &HostState| matches!(host.phase, Phase::Serving { .. } | Phase::Settled { .. });
    (last || run.is_halted()) && run.hosts.values().all(through)
}

/// All hosts of a batch that stand behind one balancer are drained in one change, once each of them
/// has been reached or given up.
fn drains(run: &Run) -> Vec<Decision> {
    let undecided = |name: &&HostName| {
        run.hosts.get(*name).is_some_and(|host| matches!(host.phase, Phase::Waiting | Phase::Observing))
    };
    if run.batch_hosts().iter().any(|name| undecided(&name)) {
        return Vec::new();
    }
    let by_balancer = by_balancer(run, |host| host.phase == Phase::Ready);
    by_balancer
        .into_iter()
        .map(|(balancer, hosts)| Decision {
            event: EventKind::DrainStarted { balancer: balancer.clone(), hosts: hosts.clone() },
            effect: Some(Effect::Drain { balancer, hosts }),
        })
        .collect()
}

/// Hosts that are verified go back together; those that come while a change is under way wait for
/// the next one.
fn enables(run: &Run) -> Vec<Decision> {
    let busy = by_balancer(run, |host| matches!(host.phase, Phase::Enabling { .. }));
    let ready = by_balancer(run, |host| matches!(host.phase, Phase::Verified { .. }));
    ready
        .into_iter()
        .filter(|(name, _)| !busy.contains_key(name))
        .map(|(name, hosts)| enable(&name, hosts))
        .collect()
}

fn enable(balancer: &str, hosts: Vec<HostName>) -> Decision {
    Decision {
        event: EventKind::EnableStarted { balancer: balancer.into(), hosts: hosts.clone() },
        effect: Some(Effect::Enable { balancer: balancer.into(), hosts }),
    }
}

fn by_balancer(run: &Run, wanted: impl Fn(&HostState) -> bool) -> BTreeMap<String, Vec<HostName>> {
    let mut found: BTreeMap<String, Vec<HostName>> = BTreeMap::new();
    for (name, _) in run.hosts.iter().filter(|(_, host)| wanted(host)) {
        if let Some(seat) = run.plan.hosts.get(name).and_then(|plan| plan.balancer.as_ref()) {
            found.entry(seat.balancer.clone()).or_default().push(name.clone());
        }
    }
    found
}

fn next_batch(run: &Run) -> Option<Decision> {
    let through = |name: &HostName| {
        run.hosts
            .get(name)
            .is_some_and(|host| matches!(host.phase, Phase::Serving { .. } | Phase::Settled { .. }))
    };
    if run.is_halted() || !run.batch_hosts().iter().all(through) {
        return None;
    }
    let batch = run.batch.map_or(0, |at| at + 1);
    let hosts = run.plan.batches.get(batch)?.clone();
    only(EventKind::BatchStarted { batch, hosts })
}

fn end(run: &Run) -> Option<Decision> {
    let settled = run.hosts.values().all(|host| matches!(host.phase, Phase::Settled { .. }));
    if !settled {
        return None;
    }
    only(EventKind::RunEnded { outcome: run.fold_outcome() })
}

fn next_wake(run: &Run) -> Option<Timestamp> {
    let time = |host: &HostState| match host.phase {
        Phase::Working { running: false, not_before, .. } => not_before,
        _ => None,
    };
    run.hosts.values().filter_map(time).min()
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
