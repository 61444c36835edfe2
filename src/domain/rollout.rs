//! Every decision of a run. [`decide`] is a pure function of the run and the time: it says which
//! events come next and which effect each of them announces. The engine appends the events, applies
//! them, publishes them, and only then acts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::bracket::{HostState, Phase, Roll};
use super::event::{EventKind, Stage, Way};
use super::name::{HostName, count};
use super::outcome::{End, FailureKind, Verdict};
use super::plan::{HostPlan, Kind};
use super::run::Run;
use super::task::{OnFailure, Step};
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
    let moves: Vec<Decision> = run.hosts.keys().filter_map(|name| move_host(run, name, now)).collect();
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

/// The next event of one host, if it is its turn.
fn move_host(run: &Run, name: &HostName, now: Timestamp) -> Option<Decision> {
    let host = run.hosts.get(name)?;
    let plan = run.plan.hosts.get(name)?;
    match &host.phase {
        Phase::Waiting => begin(run, name),
        Phase::Ready if run.is_halted() => settle(name, End::NotStarted, halted_why(run)),
        Phase::Working { running: false, .. } => work(run, name, host, plan, now),
        Phase::Failed { way } => after_failure(run, name, host, plan, *way),
        Phase::Ending { end, why } => settle(name, *end, why.clone()),
        Phase::Gating { running: false, .. } => check(name, Stage::Gate),
        Phase::Serving { way, roll } => serve(run, name, host, plan, *way, *roll),
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

fn begin(run: &Run, name: &HostName) -> Option<Decision> {
    if run.is_halted() {
        return settle(name, End::NotStarted, halted_why(run));
    }
    if !run.batch_hosts().contains(name) {
        return None;
    }
    match run.plan.kind {
        Kind::Release { .. } => Some(Decision {
            event: EventKind::ObserveStarted { host: name.clone() },
            effect: Some(Effect::Observe { host: name.clone() }),
        }),
        Kind::Check => check(name, Stage::Roll),
        Kind::Task { .. } | Kind::Run => step(run, name, Way::Forward, 0, 1),
    }
}

fn halted_why(run: &Run) -> String {
    match (&run.cancel, &run.stopped) {
        (Some(cancel), _) => format!("cancelled by {}", cancel.by),
        (None, Some(why)) => format!("the run was stopped before its turn: {why}"),
        (None, None) => String::new(),
    }
}

fn work(run: &Run, name: &HostName, host: &HostState, plan: &HostPlan, now: Timestamp) -> Option<Decision> {
    let Phase::Working { way, step: at, attempt, not_before, .. } = host.phase else { return None };
    let cancelled_now = run.cancel.as_ref().is_some_and(|cancel| cancel.now || !run.plan.has_bracket());
    if way == Way::Forward && run.is_halted() && host.is_untouched() {
        return put_back(run, name, host, plan);
    }
    if way == Way::Forward && cancelled_now {
        return give_up(run, name, host, plan, halted_why(run));
    }
    if not_before.is_some_and(|time| time > now) {
        return None;
    }
    step(run, name, way, at, attempt)
}

/// Nothing was done to it: it goes back as it was, or never left.
fn put_back(run: &Run, name: &HostName, host: &HostState, plan: &HostPlan) -> Option<Decision> {
    let why = host.failure.as_ref().map_or_else(|| halted_why(run), |failure| failure.why.clone());
    match &plan.balancer {
        Some(seat) if host.owed => {
            // Others that want the same are not waited for: this happens when a run is halted.
            Some(enable(&seat.balancer, vec![name.clone()]))
        }
        _ => settle(name, End::NotStarted, why),
    }
}

fn step(run: &Run, name: &HostName, way: Way, at: usize, attempt: u32) -> Option<Decision> {
    let plan = run.plan.hosts.get(name)?;
    let steps = if way == Way::Back { &plan.rollback } else { &plan.steps };
    let event = EventKind::StepStarted {
        host: name.clone(),
        way,
        step: at,
        name: steps.get(at)?.name.clone(),
        attempt,
    };
    Some(Decision { event, effect: Some(Effect::Step { host: name.clone(), way, step: at, attempt }) })
}

fn check(name: &HostName, stage: Stage) -> Option<Decision> {
    Some(Decision {
        event: EventKind::ChecksStarted { host: name.clone(), stage },
        effect: Some(Effect::Checks { host: name.clone(), stage }),
    })
}

fn settle(name: &HostName, end: End, why: String) -> Option<Decision> {
    only(EventKind::HostSettled { host: name.clone(), end, why })
}

/// A step or a gate failed.
fn after_failure(
    run: &Run,
    name: &HostName,
    host: &HostState,
    plan: &HostPlan,
    way: Way,
) -> Option<Decision> {
    let failure = host.failure.as_ref()?;
    if way == Way::Back {
        let end = if host.owed { End::Held } else { End::Failed };
        return settle(name, end, format!("the rollback failed, too, after {}", failure.why));
    }
    match failure.kind {
        FailureKind::Lost => settle(name, End::Unknown, failure.why.clone()),
        FailureKind::Unreachable if host.is_untouched() => put_back(run, name, host, plan),
        FailureKind::Unreachable => settle(name, out_of_rotation(host), failure.why.clone()),
        _ => give_up(run, name, host, plan, failure.why.clone()),
    }
}

/// What was begun will not be finished: back to the release before, or out of rotation.
fn give_up(run: &Run, name: &HostName, host: &HostState, plan: &HostPlan, why: String) -> Option<Decision> {
    if !run.plan.has_bracket() || run.plan.rollout.on_failure == OnFailure::Stop {
        return settle(name, out_of_rotation(host), why);
    }
    match no_way_back(host, plan) {
        Some(obstacle) => settle(name, out_of_rotation(host), format!("{why}; not rolled back: {obstacle}")),
        None => only(EventKind::RollbackStarted { host: name.clone(), why }),
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
    if host.previous.is_none() && plan.rollback.iter().any(speaks_of_previous) {
        return Some("there is no release before this one on it");
    }
    None
}

/// In rotation: what is left is to check it again after the last batch, and to say how it ended.
fn serve(
    run: &Run,
    name: &HostName,
    host: &HostState,
    plan: &HostPlan,
    way: Way,
    roll: Option<Roll>,
) -> Option<Decision> {
    let reason = || host.failure.as_ref().map_or_else(String::new, |failure| failure.why.clone());
    match (way, roll) {
        (_, Some(Roll::Running)) => None,
        (Way::Back, _) if host.owed || host.foreign => settle(name, End::Held, reason()),
        (Way::Back, _) => settle(name, End::RolledBack, reason()),
        (Way::Return, _) => {
            let why = if host.failure.is_some() { reason() } else { halted_why(run) };
            settle(name, End::NotStarted, why)
        }
        (Way::Forward, None) if !run.plan.has_bracket() => settle(name, End::Done, String::new()),
        (Way::Forward, None) if !is_over(run) => None,
        (Way::Forward, None) if !plan.checks.is_empty() => check(name, Stage::Roll),
        (Way::Forward, _) => settle_forward(run, name, host),
    }
}

fn settle_forward(run: &Run, name: &HostName, host: &HostState) -> Option<Decision> {
    let worst = Verdict::worst(host.checks.iter().map(|result| result.verdict));
    let why = host.failure.as_ref().map_or_else(String::new, |failure| failure.why.clone());
    let end = match (&run.plan.kind, worst) {
        (Kind::Check, Verdict::Critical) => End::Failed,
        (Kind::Check, Verdict::Unknown) => End::Unknown,
        (Kind::Check, _) => End::Done,
        _ if host.foreign => {
            let why = "it was out of rotation before the run, by somebody else, and was left so".into();
            return settle(name, End::Held, why);
        }
        (_, verdict) if !verdict.passes() => End::Failing,
        _ if host.changed => End::Released,
        _ => End::Unchanged,
    };
    settle(name, end, why)
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
